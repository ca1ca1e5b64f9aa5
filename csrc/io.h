/*
 * io.h - whole reads and writes, and syncs, on top of the table of system calls.
 *
 * Here EINTR and short transfers end.  A sync is never retried after an error: the kernel may
 * have dropped the dirty pages, and a second fsync would report success for data that is lost
 * (fsync(2); "PostgreSQL's fsync() surprise", LWN 2018).
 */
#ifndef PD_IO_H
#define PD_IO_H

#include "pydurable.h"

/* How a method opens the file and what it calls after a write. */
struct pd_io_method {
    int extra;     /* PD_OPEN_* */
    int data_sync; /* enum pd_io_sync */
};

enum pd_io_sync {
    PD_SYNC_NOTHING,
    PD_SYNC_FDATASYNC,
    PD_SYNC_FSYNC,
    PD_SYNC_FULL,
    PD_SYNC_BARRIER
};

/* How the bytes of a file are written and forced out under a method and a target.  Where only
 * F_FULLFSYNC reaches the medium every target that waits ends in it, whatever the method. */
struct pd_io_method pd_io_method(int method, int target);

/* All of data at offset: 0 or -errno.  A write that moves nothing is -EIO. */
int pd_io_write(int fd, const void *data, size_t size, uint64_t offset);
/* The same, and *done says how much was written, also after a failure. */
int pd_io_write_counted(int fd, const void *data, size_t size, uint64_t offset, size_t *done);
/* The same to a descriptor whose writes sync, in its turn as any sync; turns as pd_sys_has_turns
 * said. */
int pd_io_write_through(int fd, const void *data, size_t size, uint64_t offset, bool turns,
                        size_t *done);
/* Until the call was not interrupted. */
#define PD_RETRY(rc, call)                                                                         \
    do                                                                                             \
        (rc) = (call);                                                                             \
    while ((rc) == -EINTR)

/* Take a lock, PD_LOCK_* of sys.h, retrying EINTR: 0 or -errno. */
int pd_io_lock(int fd, int how);
/* As many bytes as there are, up to size: their number or -errno. */
ssize_t pd_io_read(int fd, void *data, size_t size, uint64_t offset);
/* Space for the file's first size bytes: 0 or -errno. */
int pd_io_allocate(int fd, uint64_t size);
/* Force the file's data out in the given way: 0 or -errno, never tried twice. */
int pd_io_sync(int fd, int data_sync);
/* The same for who has asked pd_sys_has_turns before, which is a call of its own, and need not be
 * asked twice about an open file. */
int pd_io_sync_often(int fd, int data_sync, bool turns);
/* Whether a sync was refused because the filesystem has no such call, and not for the disk's sake.
 */
bool pd_io_sync_unsupported(int rc);
/* Force out a file with all its metadata, as strongly as the platform can. */
int pd_io_sync_file(int fd);
/* Force out a directory, so that names made, moved or removed in it survive. */
int pd_io_sync_dir(int fd);
/* Open relative to dir, retrying EINTR: a descriptor or -errno. */
int pd_io_open(int dir, const char *name, int flags, int extra);
/* Open a directory by path, relative to the working directory: a descriptor or -errno. */
int pd_io_open_dir(const char *path);
/* Close, never twice: after EINTR the descriptor is gone on Linux (close(2)). */
int pd_io_close(int fd);

#endif
