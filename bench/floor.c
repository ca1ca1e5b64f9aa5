/*
 * floor.c - the floor of the benchmark: one thread that puts records on disk and does nothing
 * else.  Nothing that commits one record at a time can be faster on this path.
 *
 * usage: floor METHOD RECORD_BYTES BLOCK_BYTES ZEROED WARM_SECONDS SECONDS FILE TIMES
 *
 * Each write is as long as the log's: a 64-byte header, a 4-byte length and the record, rounded
 * up to the block.  With ZEROED 1 the file's space was written with zeros before the clock
 * starts, with 0 the file grows.  A full file starts over, as a recycled segment does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "measure.h"

enum { FILE_BYTES = 64 << 20, CHUNK_BYTES = 1 << 20, FRAMING_BYTES = 64 + 4, ALIGN = 4096 };

struct method {
    const char *name;
    int flags;
    int (*sync)(int);
};

static const struct method methods[] = {
    {"fdatasync", 0, fdatasync},
    {"fsync", 0, fsync},
    {"dsync", O_DSYNC, NULL},
    {"direct", O_DIRECT, fdatasync},
    {"direct+dsync", O_DIRECT | O_DSYNC, NULL},
};

static const struct method *method_named(const char *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(methods[i].name, name) == 0) {
            return &methods[i];
        }
    }
    errno = EINVAL;
    die(name);
}

static void *aligned(size_t size)
{
    void *bytes = NULL;
    if (posix_memalign(&bytes, ALIGN, size) != 0) {
        die("posix_memalign");
    }
    memset(bytes, 0, size);
    return bytes;
}

static void fill_with_zeros(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) {
        die(path);
    }
    void *zeros = aligned(CHUNK_BYTES);
    for (int done = 0; done < FILE_BYTES; done += CHUNK_BYTES) {
        if (write(fd, zeros, CHUNK_BYTES) != CHUNK_BYTES) {
            die("write zeros");
        }
    }
    free(zeros);
    if (fsync(fd) != 0 || close(fd) != 0) {
        die("fsync zeros");
    }
}

int main(int argc, char **argv)
{
    if (argc != 9) {
        errno = EINVAL;
        die("floor");
    }
    const struct method *method = method_named(argv[1]);
    size_t record = (size_t)atol(argv[2]);
    size_t block = (size_t)atol(argv[3]);
    size_t size = (FRAMING_BYTES + record + block - 1) / block * block;
    const char *path = argv[7];
    if (atoi(argv[4])) {
        fill_with_zeros(path);
    }
    int fd = open(path, O_WRONLY | O_CREAT | method->flags, 0644);
    if (fd < 0) {
        die(path);
    }
    uint8_t *bytes = aligned(size);
    memset(bytes, 'x', FRAMING_BYTES + record);

    struct sampler sampler;
    off_t offset = 0;
    sampler_start(&sampler);
    measure_begin(atof(argv[5]), atof(argv[6]));
    do {
        if (offset + (off_t)size > FILE_BYTES) {
            offset = 0;
        }
        if (pwrite(fd, bytes, size, offset) != (ssize_t)size) {
            die("pwrite");
        }
        if (method->sync && method->sync(fd) != 0) {
            die("sync");
        }
        offset += (off_t)size;
    } while (sampler_lap(&sampler));
    samplers_report(&sampler, 1, argv[8]);
    free(bytes);
    return close(fd) == 0 ? 0 : 1;
}
