/* segment.c - the life of a segment file; segment.h says what each step promises. */
#include "segment.h"

#include "buffer.h"
#include "error.h"
#include "io.h"
#include "sys.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char prepare_name[] = "prepare.tmp";
static const char spare_prefix[] = "spare.";
static const char segment_suffix[] = ".seg";

enum { NUMBER_DIGITS = 16, ZERO_CHUNK = 256 * 1024 };

void pd_segment_name(uint64_t number, char out[PD_NAME_BYTES])
{
    snprintf(out, PD_NAME_BYTES, "%016llx%s", (unsigned long long)number, segment_suffix);
}

void pd_spare_name(uint64_t serial, char out[PD_NAME_BYTES])
{
    snprintf(out, PD_NAME_BYTES, "%s%016llx", spare_prefix, (unsigned long long)serial);
}

uint64_t pd_segment_number(const char *name)
{
    if (strlen(name) != NUMBER_DIGITS + sizeof segment_suffix - 1 ||
        strspn(name, "0123456789abcdef") != NUMBER_DIGITS ||
        strcmp(name + NUMBER_DIGITS, segment_suffix) != 0)
        return 0;
    return strtoull(name, NULL, 16);
}

bool pd_segment_is_leftover(const char *name)
{
    return strcmp(name, prepare_name) == 0 ||
           strncmp(name, spare_prefix, sizeof spare_prefix - 1) == 0;
}

/* A buffer of zeros that direct I/O accepts; NULL when there is no memory. */
static uint8_t *new_zeros(size_t size)
{
    uint8_t *zeros = aligned_alloc(PD_BUFFER_ALIGN, size);
    if (zeros)
        memset(zeros, 0, size);
    return zeros;
}

static int write_zeros(int fd, uint64_t begin, uint64_t end)
{
    uint8_t *zeros = new_zeros(ZERO_CHUNK);
    if (!zeros)
        return -ENOMEM;
    int rc = 0;
    while (begin < end && rc == 0) {
        size_t size = end - begin < ZERO_CHUNK ? (size_t)(end - begin) : ZERO_CHUNK;
        rc = pd_io_write(fd, zeros, size, begin);
        begin += size;
    }
    free(zeros);
    return rc;
}

int pd_segment_zero(int fd, uint64_t begin, uint64_t end, int data_sync, bool turns)
{
    int rc = write_zeros(fd, begin, end);
    return rc < 0 ? rc : pd_io_sync_often(fd, data_sync, turns);
}

/* Give the file its size and its space, so that no later write can run out of it. */
static int allocate(int fd, const struct pd_segment_shape *shape)
{
    int rc = pd_io_allocate(fd, shape->size);
    if (rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EINVAL)
        return write_zeros(fd, 0, shape->size);
    if (rc < 0 || !shape->prezero)
        return rc;
    uint64_t end = PD_DATA_OFFSET + PD_PREPARED_ZEROS;
    return write_zeros(fd, 0, end < shape->size ? end : shape->size);
}

int pd_segment_prepare(int dir, uint64_t serial, const struct pd_segment_shape *shape,
                       struct pd_error *error)
{
    static const char op[] = "preparing the next segment";
    int fd = pd_io_open(dir, prepare_name, O_RDWR | O_CREAT | O_TRUNC, 0);
    if (fd < 0)
        return pd_error_os(error, fd, op, prepare_name);
    int rc = allocate(fd, shape);
    if (rc == 0)
        rc = pd_io_sync_file(fd);
    int closed = pd_io_close(fd);
    if (rc == 0)
        rc = closed;
    char spare[PD_NAME_BYTES];
    pd_spare_name(serial, spare);
    if (rc == 0)
        rc = pd_sys->rename(dir, prepare_name, spare);
    if (rc < 0) {
        pd_error_os(error, rc, op, prepare_name);
        /* Give the space back; should this fail too, opening the log removes the file. */
        (void)pd_sys->unlink(dir, prepare_name);
    }
    return rc;
}

static int write_header(int fd, const struct pd_segment_header *header)
{
    uint8_t *pages = new_zeros(PD_DATA_OFFSET);
    if (!pages)
        return -ENOMEM;
    pd_segment_encode(header, pages);
    memcpy(pages + PD_HEADER_PLACE, pages, PD_HEADER_BYTES);
    int rc = pd_io_write(fd, pages, PD_DATA_OFFSET, 0);
    free(pages);
    return rc < 0 ? rc : pd_io_sync_file(fd);
}

int pd_segment_activate(int dir, uint64_t serial, const struct pd_segment_header *header,
                        struct pd_error *error)
{
    static const char op[] = "activating a segment";
    char spare[PD_NAME_BYTES], name[PD_NAME_BYTES];
    pd_spare_name(serial, spare);
    pd_segment_name(header->number, name);
    int fd = pd_io_open(dir, spare, O_RDWR, 0);
    if (fd < 0)
        return pd_error_os(error, fd, op, spare);
    int rc = write_header(fd, header);
    int closed = pd_io_close(fd);
    if (rc == 0)
        rc = closed;
    if (rc < 0)
        return pd_error_os(error, rc, op, spare);
    rc = pd_sys->rename(dir, spare, name);
    if (rc == 0)
        rc = pd_io_sync_dir(dir);
    return rc < 0 ? pd_error_os(error, rc, op, name) : 0;
}

bool pd_segment_is_whole(int dir, uint64_t number, uint64_t size)
{
    char name[PD_NAME_BYTES];
    pd_segment_name(number, name);
    int fd = pd_io_open(dir, name, O_RDONLY, 0);
    if (fd < 0)
        return false;
    struct stat st;
    int rc = pd_sys->stat(fd, &st);
    (void)pd_io_close(fd);
    return rc == 0 && (uint64_t)st.st_size == size;
}

int pd_segment_retire(int dir, uint64_t number, bool recycle, uint64_t serial,
                      struct pd_error *error)
{
    char name[PD_NAME_BYTES], spare[PD_NAME_BYTES];
    pd_segment_name(number, name);
    pd_spare_name(serial, spare);
    int rc = recycle ? pd_sys->rename(dir, name, spare) : pd_sys->unlink(dir, name);
    return rc < 0 ? pd_error_os(error, rc, "retiring a segment", name) : 0;
}

int pd_segment_read_header(int fd, struct pd_segment_header *header)
{
    int verdict = PD_HEADER_INVALID;
    for (uint64_t place = 0; place < PD_DATA_OFFSET && verdict == PD_HEADER_INVALID;
         place += PD_HEADER_PLACE) {
        uint8_t bytes[PD_HEADER_BYTES];
        ssize_t n = pd_io_read(fd, bytes, sizeof bytes, place);
        if (n < 0)
            return (int)n;
        if (n == sizeof bytes)
            verdict = (int)pd_segment_decode(bytes, header);
    }
    return verdict;
}

int pd_segment_open_files(int dir, uint64_t number, int method, int target, uint32_t lanes,
                          struct pd_segment_files *files, struct pd_error *error)
{
    assert(lanes >= 1 && lanes <= PD_LANES_MAX);
    struct pd_io_method io = pd_io_method(method, target);
    char name[PD_NAME_BYTES];
    pd_segment_name(number, name);
    *files = (struct pd_segment_files)PD_NO_FILES;
    int rc = 0;
    for (uint32_t i = 0; i < lanes && rc >= 0; i++)
        rc = files->lane[i] = pd_io_open(dir, name, O_RDWR, io.extra);
    if (rc >= 0)
        rc = files->sync = pd_io_open(dir, name, O_RDWR, 0);
    if (rc >= 0)
        rc = files->zero = pd_io_open(dir, name, O_RDWR, io.extra & PD_OPEN_DIRECT);
    if (rc >= 0) {
        files->turns = pd_sys_has_turns(files->sync);
        return 0;
    }
    pd_error_os(error, rc, "opening a segment for writing", name);
    (void)pd_segment_close_files(files);
    return rc;
}

int pd_segment_close_files(struct pd_segment_files *files)
{
    int *fds[] = {&files->lane[0], &files->lane[1], &files->sync, &files->zero};
    int first = 0;
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (*fds[i] < 0)
            continue;
        int rc = pd_io_close(*fds[i]);
        *fds[i] = -1;
        if (first == 0)
            first = rc;
    }
    return first;
}
