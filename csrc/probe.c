/* probe.c - time a few commits under each method, interleaved, and take the fastest median. */
#include "probe.h"

#include "batch.h"
#include "buffer.h"
#include "error.h"
#include "io.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_MAX = 24, ROUNDS_MIN = 3, FILE_BYTES = 1 << 20, RECORD_BYTES = 128 };

static const uint64_t budget_ns = 200000000;

/* A slower method is taken only for a gain beyond the noise: the first named packs densest. */
static const double margin = 0.95;

struct candidate {
    int method;
    bool fresh; /* into space that is allocated but was never written */
    int fd;
    uint32_t block;
    uint64_t offset;
    uint64_t times[ROUNDS_MAX];
    int count;
};

uint32_t pd_probe_block_bytes(int file, int method)
{
    if (!(pd_io_method(method, PD_TARGET_GROUP).extra & PD_OPEN_DIRECT))
        return PD_BLOCK_MIN;
    uint32_t align = pd_sys_direct_align(file);
    if (align == 0 || align > PD_BLOCK_MAX)
        return 0;
    return align < 512 ? 512 : align;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t median(struct candidate *candidate)
{
    if (candidate->count == 0)
        return UINT64_MAX;
    qsort(candidate->times, (size_t)candidate->count, sizeof *candidate->times, compare);
    return candidate->times[candidate->count / 2];
}

/* One commit, as the log would do it. */
static int step(struct candidate *candidate, const uint8_t *data)
{
    size_t size = (size_t)pd_align_up(RECORD_BYTES, candidate->block);
    if (candidate->offset + size > FILE_BYTES)
        candidate->offset = candidate->fresh ? FILE_BYTES : 0;
    struct pd_io_method io = pd_io_method(candidate->method, PD_TARGET_GROUP);
    uint64_t begun = pd_sys_now_ns();
    int rc = pd_io_write(candidate->fd, data, size, candidate->offset);
    if (rc == 0)
        rc = pd_io_sync(candidate->fd, io.data_sync);
    candidate->times[candidate->count] = pd_sys_now_ns() - begun;
    candidate->offset += size;
    if (rc == 0)
        candidate->count++;
    return rc;
}

/* A file of its own for the candidate, so that none pays for the metadata of another. */
static int set_up(int dir, int serial, struct candidate *candidate, const uint8_t *zeros)
{
    char name[32];
    snprintf(name, sizeof name, "probe.%d", serial);
    int fd = pd_io_open(dir, name, O_RDWR | O_CREAT | O_TRUNC, 0);
    if (fd < 0)
        return fd;
    struct pd_io_method io = pd_io_method(candidate->method, PD_TARGET_GROUP);
    candidate->block = pd_probe_block_bytes(fd, candidate->method);
    int rc = pd_io_allocate(fd, 2 * FILE_BYTES);
    if (rc == -EOPNOTSUPP)
        rc = 0;
    if (rc == 0 && !candidate->fresh)
        rc = pd_io_write(fd, zeros, FILE_BYTES, 0);
    if (rc == 0)
        rc = pd_io_sync_file(fd);
    if (rc == 0 && candidate->block) {
        candidate->fd = pd_io_open(dir, name, O_RDWR, io.extra);
        /* A method that the filesystem refuses is simply not a candidate. */
        if (candidate->fd == -EINVAL || candidate->fd == -EOPNOTSUPP)
            candidate->fd = -1;
        else if (candidate->fd < 0)
            rc = candidate->fd;
    }
    int unlinked = pd_sys->unlink(dir, name);
    if (rc == 0)
        rc = unlinked;
    int closed = pd_io_close(fd);
    return rc < 0 ? rc : closed;
}

static int measure(struct candidate *candidates, size_t n, const uint8_t *data)
{
    const uint64_t end = pd_sys_now_ns() + budget_ns;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        if (round >= ROUNDS_MIN && pd_sys_now_ns() > end)
            break;
        for (size_t i = 0; i < n; i++) {
            if (candidates[i].fd < 0)
                continue;
            int rc = step(&candidates[i], data);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static void choose(struct candidate *candidates, size_t n, struct pd_probe *out)
{
    const uint64_t fresh = median(&candidates[0]);
    uint64_t best = median(&candidates[1]);
    out->method = candidates[1].method;
    out->prezero = (double)best < margin * (double)fresh;
    for (size_t i = 2; i < n; i++) {
        uint64_t time = median(&candidates[i]);
        if (time != UINT64_MAX && (double)time < margin * (double)best) {
            best = time;
            out->method = candidates[i].method;
        }
    }
}

int pd_probe(int dir, struct pd_probe *out, struct pd_error *error)
{
    if (pd_sys_filesystem(dir) == PD_FS_VOLATILE) {
        *out = (struct pd_probe){PD_METHOD_FDATASYNC, false};
        return 0;
    }
    if (pd_sys_needs_fullfsync()) {
        /* Only F_FULLFSYNC reaches the medium on macOS: there is nothing to choose. */
        *out = (struct pd_probe){PD_METHOD_FULLFSYNC, false};
        return 0;
    }
    /* The same method into fresh space comes first: it says whether zeros pay. */
    struct candidate candidates[] = {
        {.method = PD_METHOD_FDATASYNC, .fresh = true, .fd = -1},
        {.method = PD_METHOD_FDATASYNC, .fd = -1},
        {.method = PD_METHOD_DIRECT, .fd = -1},
        {.method = PD_METHOD_DIRECT_DSYNC, .fd = -1},
        {.method = PD_METHOD_DSYNC, .fd = -1},
    };
    const size_t n = sizeof candidates / sizeof *candidates;
    uint8_t *zeros = aligned_alloc(PD_BUFFER_ALIGN, FILE_BYTES);
    int rc = zeros ? 0 : -ENOMEM;
    if (zeros)
        memset(zeros, 0, FILE_BYTES);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = set_up(dir, (int)i, &candidates[i], zeros);
    if (rc == 0)
        rc = measure(candidates, n, zeros);
    for (size_t i = 0; i < n; i++)
        if (candidates[i].fd >= 0)
            (void)pd_io_close(candidates[i].fd);
    free(zeros);
    if (rc < 0)
        return pd_error_os(error, rc, "measuring the methods", "");
    choose(candidates, n, out);
    return 0;
}
