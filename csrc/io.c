/* io.c - loops around the system calls: see io.h for what each promises. */
#define _POSIX_C_SOURCE 200809L

#include "io.h"

#include "sys.h"

#include <errno.h>
#include <fcntl.h>

/* Linux moves at most 0x7ffff000 bytes in one call (write(2)); macOS refuses more than INT_MAX.
 * One GiB stays below both and keeps direct transfers aligned. */
static const size_t transfer_max = (size_t)1 << 30;

struct pd_io_method pd_io_method(int method, int target)
{
    struct pd_io_method io = {0, PD_SYNC_FDATASYNC};
    switch (method) {
    case PD_METHOD_FSYNC:
        io.data_sync = PD_SYNC_FSYNC;
        break;
    case PD_METHOD_DSYNC:
        io = (struct pd_io_method){PD_OPEN_DSYNC, PD_SYNC_NOTHING};
        break;
    case PD_METHOD_DIRECT:
        io.extra = PD_OPEN_DIRECT;
        break;
    case PD_METHOD_DIRECT_DSYNC:
        io = (struct pd_io_method){PD_OPEN_DIRECT | PD_OPEN_DSYNC, PD_SYNC_NOTHING};
        break;
    case PD_METHOD_FULLFSYNC:
        io.data_sync = PD_SYNC_FULL;
        break;
    case PD_METHOD_BARRIER:
        io.data_sync = PD_SYNC_BARRIER;
        break;
    default:
        break;
    }
    const bool waits = target == PD_TARGET_GROUP || target == PD_TARGET_EACH;
    if (pd_sys_needs_fullfsync() && (waits || target == PD_TARGET_PARANOID))
        io.data_sync = PD_SYNC_FULL; /* nothing else keeps the promise of these targets */
    else if (target == PD_TARGET_PARANOID)
        io.data_sync = PD_SYNC_FSYNC;
    return io;
}

int pd_io_write_counted(int fd, const void *data, size_t size, uint64_t offset, size_t *done)
{
    const uint8_t *at = data;
    *done = 0;
    while (*done < size) {
        const size_t rest = size - *done;
        ssize_t n = pd_sys->write(fd, at + *done, rest < transfer_max ? rest : transfer_max,
                                  (int64_t)(offset + *done));
        if (n == -EINTR)
            continue;
        if (n < 0)
            return (int)n;
        if (n == 0)
            return -EIO;
        *done += (size_t)n;
    }
    return 0;
}

int pd_io_write(int fd, const void *data, size_t size, uint64_t offset)
{
    size_t done;
    return pd_io_write_counted(fd, data, size, offset, &done);
}

int pd_io_lock(int fd, int how)
{
    int rc;
    PD_RETRY(rc, pd_sys->lock(fd, how));
    return rc;
}

ssize_t pd_io_read(int fd, void *data, size_t size, uint64_t offset)
{
    uint8_t *at = data;
    size_t done = 0;
    while (done < size) {
        size_t rest = size - done;
        ssize_t n = pd_sys->read(fd, at + done, rest < transfer_max ? rest : transfer_max,
                                 (int64_t)(offset + done));
        if (n == -EINTR)
            continue;
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int pd_io_allocate(int fd, uint64_t size)
{
    int rc;
    PD_RETRY(rc, pd_sys->allocate(fd, (int64_t)size));
    return rc;
}

/* Whether the turn has to be given back. */
static bool take_turn(int fd, bool turns)
{
    int turn = 0;
    if (turns)
        PD_RETRY(turn, pd_sys_take_turn(fd));
    return turn > 0;
}

static int sync_once(int fd, int data_sync)
{
    switch (data_sync) {
    case PD_SYNC_FSYNC:
        return pd_sys->fsync(fd);
    case PD_SYNC_FULL:
        return pd_sys->fullfsync(fd);
    case PD_SYNC_BARRIER:
        return pd_sys->barrier(fd);
    default:
        return pd_sys->fdatasync(fd);
    }
}

int pd_io_sync(int fd, int data_sync)
{
    return data_sync == PD_SYNC_NOTHING ? 0 : pd_io_sync_often(fd, data_sync, pd_sys_has_turns(fd));
}

int pd_io_sync_often(int fd, int data_sync, bool turns)
{
    if (data_sync == PD_SYNC_NOTHING)
        return 0;
    const bool turn = take_turn(fd, turns);
    /* EINTR comes before the flush has begun to report on pages, so that it alone may be
     * repeated. */
    int rc;
    PD_RETRY(rc, sync_once(fd, data_sync));
    if (turn)
        pd_sys_end_turn(fd);
    return rc;
}

int pd_io_write_through(int fd, const void *data, size_t size, uint64_t offset, bool turns,
                        size_t *done)
{
    const bool turn = take_turn(fd, turns);
    const int rc = pd_io_write_counted(fd, data, size, offset, done);
    if (turn)
        pd_sys_end_turn(fd);
    return rc;
}

bool pd_io_sync_unsupported(int rc)
{
    /* What F_FULLFSYNC says on filesystems without it; the second and third are a server's. */
    return rc == -ENOTSUP || rc == -EINVAL || rc == -ENOTTY;
}

int pd_io_sync_file(int fd)
{
    if (pd_sys_needs_fullfsync()) {
        int rc = pd_io_sync(fd, PD_SYNC_FULL);
        /* Only what says "not here" falls back; an error of the disk stays an error. */
        if (!pd_io_sync_unsupported(rc))
            return rc;
    }
    return pd_io_sync(fd, PD_SYNC_FSYNC);
}

int pd_io_sync_dir(int fd)
{
    return pd_io_sync_file(fd);
}

int pd_io_open(int dir, const char *name, int flags, int extra)
{
    int fd;
    PD_RETRY(fd, pd_sys->open(dir, name, flags, extra, 0666));
    return fd;
}

int pd_io_open_dir(const char *path)
{
    return pd_io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
}

int pd_io_close(int fd)
{
    int rc = pd_sys->close(fd);
    return rc == -EINTR ? 0 : rc;
}
