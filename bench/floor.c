/*
 * floor.c - the floor of the benchmark: one thread that puts records on disk and does nothing
 * else.  Nothing that commits one record at a time can be faster on this path.
 *
 * usage: floor METHOD RECORD_BYTES BLOCK_BYTES ZEROED FILE WARM_SECONDS SECONDS TIMES
 *        floor METHOD RECORD_BYTES BLOCK_BYTES ZEROED FILE
 *
 * The second puts one on disk for each byte that it reads, and then says so with a byte.
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

struct target {
    const struct method *method;
    int fd;
    uint8_t *bytes;
    size_t size;
    off_t offset;
};

static void put(struct target *to)
{
    if (to->offset + (off_t)to->size > FILE_BYTES) {
        to->offset = 0;
    }
    if (pwrite(to->fd, to->bytes, to->size, to->offset) != (ssize_t)to->size) {
        die("pwrite");
    }
    if (to->method->sync && to->method->sync(to->fd) != 0) {
        die("sync");
    }
    to->offset += (off_t)to->size;
}

static void put_all_the_time(struct target *to, char **times)
{
    struct sampler sampler;
    sampler_start(&sampler);
    measure_begin(atof(times[0]), atof(times[1]));
    do {
        put(to);
    } while (sampler_lap(&sampler));
    samplers_report(&sampler, 1, times[2]);
}

static void put_when_asked(struct target *to)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) == 1) {
        put(to);
        if (write(STDOUT_FILENO, &byte, 1) != 1) {
            die("answer");
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 6 && argc != 9) {
        errno = EINVAL;
        die("floor");
    }
    const struct method *method = method_named(argv[1]);
    size_t record = (size_t)atol(argv[2]);
    size_t block = (size_t)atol(argv[3]);
    size_t size = (FRAMING_BYTES + record + block - 1) / block * block;
    const char *path = argv[5];
    if (atoi(argv[4])) {
        fill_with_zeros(path);
    }
    int fd = open(path, O_WRONLY | O_CREAT | method->flags, 0644);
    if (fd < 0) {
        die(path);
    }
    struct target to = {method, fd, aligned(size), size, 0};
    memset(to.bytes, 'x', FRAMING_BYTES + record);
    if (argc == 9) {
        put_all_the_time(&to, argv + 6);
    } else {
        put_when_asked(&to);
    }
    free(to.bytes);
    return close(fd) == 0 ? 0 : 1;
}
