/*
 * sys_posix_btrfs.c - turns at syncing a file of btrfs, which those who sync it take.
 *
 * A sync that finds the file in the log tree already returns at once, although the part of the log
 * tree that holds it may still be on its way to the disk on behalf of another sync of the same file
 * (docs/powercut.md says when).  So no sync begins before the one before it has ended.
 *
 * The turn is a lock of an open file description (F_OFD_SETLK in fcntl(2)) on one byte where no
 * file reaches, so that it excludes threads, each with a descriptor of its own, as well as
 * processes, ends with its process, and leaves flock(2) to those who write.
 * pydurable/_directory_lock.py spares the byte.
 */
#if defined(__linux__)
#define _GNU_SOURCE
#endif

#include "sys_posix.h"

#if !defined(__APPLE__)

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

static struct flock place_of(short type)
{
    return (struct flock){.l_type = type,
                          .l_whence = SEEK_SET,
                          .l_start = (off_t)1 << (8 * sizeof(off_t) - 2),
                          .l_len = 1};
}

/* Whether somebody has locked more than the turn: a program that holds the whole file, perhaps for
 * as long as it runs. */
static bool is_held_whole(int fd, struct flock turn)
{
    const off_t place = turn.l_start;
    return fcntl(fd, F_OFD_GETLK, &turn) == 0 && turn.l_type != F_UNLCK &&
           (turn.l_start != place || turn.l_len != 1);
}

bool pd_btrfs_has_turns(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == BTRFS_SUPER_MAGIC;
}

int pd_btrfs_take_turn(int fd)
{
    struct flock turn = place_of(F_WRLCK);
    int rc = fcntl(fd, F_OFD_SETLK, &turn);
    if (rc < 0 && errno == EBADF) {
        /* Open for reading alone, it can at least wait for those who write, and they for it. */
        turn.l_type = F_RDLCK;
        rc = fcntl(fd, F_OFD_SETLK, &turn);
    }
    if (rc < 0 && (errno == EAGAIN || errno == EACCES)) {
        if (is_held_whole(fd, turn))
            return 0;
        rc = fcntl(fd, F_OFD_SETLKW, &turn);
    }
    if (rc < 0)
        return errno == EINTR ? -EINTR : 0;
    return 1;
}

void pd_btrfs_end_turn(int fd)
{
    struct flock turn = place_of(F_UNLCK);
    (void)fcntl(fd, F_OFD_SETLK, &turn);
}

#endif
