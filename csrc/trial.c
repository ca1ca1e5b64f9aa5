/* trial.c - what the probe and the doctor's measurements have in common. */
#include "trial.h"

#include "batch.h"
#include "buffer.h"
#include "io.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int extra;
    int data_sync;
} ways[] = {
    [PD_WAY_FDATASYNC] = {0, PD_SYNC_FDATASYNC},
    [PD_WAY_FSYNC] = {0, PD_SYNC_FSYNC},
    [PD_WAY_DSYNC] = {PD_OPEN_DSYNC, PD_SYNC_NOTHING},
    [PD_WAY_SYNC] = {PD_OPEN_SYNC, PD_SYNC_NOTHING},
    [PD_WAY_DIRECT_FDATASYNC] = {PD_OPEN_DIRECT, PD_SYNC_FDATASYNC},
    [PD_WAY_DIRECT_FSYNC] = {PD_OPEN_DIRECT, PD_SYNC_FSYNC},
    [PD_WAY_DIRECT_DSYNC] = {PD_OPEN_DIRECT | PD_OPEN_DSYNC, PD_SYNC_NOTHING},
    [PD_WAY_DIRECT_SYNC] = {PD_OPEN_DIRECT | PD_OPEN_SYNC, PD_SYNC_NOTHING},
    [PD_WAY_FULLFSYNC] = {0, PD_SYNC_FULL},
    [PD_WAY_BARRIER] = {0, PD_SYNC_BARRIER},
};

uint8_t *pd_trial_zeros(void)
{
    uint8_t *zeros = aligned_alloc(PD_BUFFER_ALIGN, PD_TRIAL_FILE_BYTES);
    if (zeros)
        memset(zeros, 0, PD_TRIAL_FILE_BYTES);
    return zeros;
}

/* A file that goes with its last descriptor, whatever becomes of this process.  Where there are no
 * files without a name it loses its name at once. */
static int open_nameless(int dir, int serial, int extra)
{
    int fd = pd_io_open(dir, ".", O_RDWR, extra | PD_OPEN_UNNAMED);
    if (fd != -EOPNOTSUPP && fd != -ENOTSUP && fd != -EISDIR && fd != -ENOENT)
        return fd;
    char name[32];
    snprintf(name, sizeof name, "probe.%d", serial);
    fd = pd_io_open(dir, name, O_RDWR | O_CREAT | O_TRUNC, extra);
    /* O_DIRECT may be refused after the file was made (open(2)): the name goes in any case. */
    int rc = pd_sys->unlink(dir, name);
    if (fd >= 0 && rc < 0) {
        (void)pd_io_close(fd);
        return rc;
    }
    return fd;
}

uint32_t pd_trial_block_bytes(int fd, int extra)
{
    if (!(extra & PD_OPEN_DIRECT))
        return PD_BLOCK_MIN;
    uint32_t align = pd_sys_direct_align(fd);
    if (align == 0 || align > PD_BLOCK_MAX)
        return 0;
    return align < 512 ? 512 : align;
}

static int prepare(const struct pd_trial *trial, const uint8_t *zeros)
{
    int rc = 0;
    if (trial->space != PD_SPACE_APPEND) {
        rc = pd_io_allocate(trial->fd, 2 * PD_TRIAL_FILE_BYTES);
        if (rc == -EOPNOTSUPP)
            rc = 0;
    }
    if (rc == 0 && trial->space == PD_SPACE_ZEROED)
        rc = pd_io_write(trial->fd, zeros, PD_TRIAL_FILE_BYTES, 0);
    return rc == 0 ? pd_io_sync_file(trial->fd) : rc;
}

int pd_trial_open(int dir, int serial, int way, int space, const uint8_t *zeros,
                  struct pd_trial *trial)
{
    *trial = (struct pd_trial){.fd = -1, .data_sync = ways[way].data_sync, .space = space};
    trial->end = space == PD_SPACE_APPEND ? UINT64_MAX : PD_TRIAL_FILE_BYTES;
    int fd = open_nameless(dir, serial, ways[way].extra);
    /* A way that the filesystem refuses is simply not one. */
    if (fd == -EINVAL || fd == -EOPNOTSUPP)
        return 0;
    if (fd < 0)
        return fd;
    trial->fd = fd;
    trial->block = pd_trial_block_bytes(fd, ways[way].extra);
    int rc = trial->block ? prepare(trial, zeros) : 0;
    if (rc == 0 && trial->block && trial->data_sync != PD_SYNC_NOTHING) {
        rc = pd_io_sync(fd, trial->data_sync);
        if (rc == -ENOTSUP || rc == -EINVAL || rc == -ENOTTY) {
            trial->block = 0; /* no such call here */
            rc = 0;
        }
    }
    if (rc == 0 && trial->block)
        return 0;
    int closed = pd_trial_close(trial);
    return rc < 0 ? rc : closed;
}

int pd_trial_step(struct pd_trial *trial, const uint8_t *data, uint32_t bytes, uint64_t *ns)
{
    const size_t size = (size_t)pd_align_up(bytes, trial->block);
    if (trial->offset + size > trial->end)
        trial->offset = 0;
    const uint64_t begun = pd_sys_now_ns();
    int rc = pd_io_write(trial->fd, data, size, trial->offset);
    if (rc == 0)
        rc = pd_io_sync(trial->fd, trial->data_sync);
    *ns = pd_sys_now_ns() - begun;
    trial->offset += size;
    return rc;
}

int pd_trial_close(struct pd_trial *trial)
{
    if (trial->fd < 0)
        return 0;
    int rc = pd_io_close(trial->fd);
    trial->fd = -1;
    return rc;
}
