/* sys_posix_linux.c - the calls that Linux does its own way; see sys_posix.h. */
#if defined(__linux__)
#define _GNU_SOURCE
#endif

#include "sys_posix.h"

#if !defined(__APPLE__)

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#if defined(__GLIBC__)
#include <linux/stat.h>
#endif

int pd_linux_open(int dir, const char *name, int flags, int extra, mode_t mode)
{
    flags |= O_CLOEXEC;
    if (extra & PD_OPEN_DIRECT)
        flags |= O_DIRECT;
    if (extra & PD_OPEN_DSYNC)
        flags |= O_DSYNC;
    if (extra & PD_OPEN_PASSAGE)
        flags |= O_PATH;
    if (extra & PD_OPEN_SYNC)
        flags |= O_SYNC;
    if (extra & PD_OPEN_UNNAMED)
        flags |= O_TMPFILE;
    return pd_posix_result(openat(dir, name, flags, mode));
}

int pd_linux_fdatasync(int fd)
{
    return pd_posix_result(fdatasync(fd));
}

int pd_linux_fullfsync(int fd)
{
    (void)fd;
    return -ENOTSUP;
}

int pd_linux_barrier(int fd)
{
    (void)fd;
    return -ENOTSUP;
}

int pd_linux_allocate(int fd, int64_t size)
{
    /* fallocate and not posix_fallocate: glibc's emulation would write to each block behind our
     * back where the filesystem cannot allocate. */
    return pd_posix_result(fallocate(fd, 0, 0, (off_t)size));
}

int pd_linux_move_new(int from_dir, const char *from, int to_dir, const char *to)
{
#if defined(SYS_renameat2)
    /* The bare call: musl has had no wrapper for it, and RENAME_NOREPLACE is 1 by the ABI. */
    const unsigned noreplace = 1;
    return pd_posix_result((int)syscall(SYS_renameat2, from_dir, from, to_dir, to, noreplace));
#else
    (void)from_dir;
    (void)from;
    (void)to_dir;
    (void)to;
    return -ENOSYS;
#endif
}

int pd_linux_direct(int fd)
{
    /* Set on the open file and not in open(2): with O_CREAT the file may have been made by the
     * time the kernel finds that the filesystem has no direct I/O. */
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : pd_posix_result(fcntl(fd, F_SETFL, flags | O_DIRECT));
}

int pd_linux_writeback(int fd)
{
    return pd_posix_result(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
}

int pd_linux_hold(int dir, const char *name)
{
    /* ext2, 3 and 4 free a file in the call that takes its last name; without a journal they even
     * wait there for its discard.  Nowhere else: NFS moves a file that somebody holds out of the
     * way before it renames another one over it, so that for a moment the name leads nowhere. */
    struct statfs fs;
    if (fstatfs(dir, &fs) < 0)
        return -errno;
    if (fs.f_type != EXT4_SUPER_MAGIC)
        return -ENOTSUP;
    return pd_posix_result(openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

static uint32_t direct_align(int fd)
{
#if defined(STATX_DIOALIGN) && defined(SYS_statx)
    struct statx sx;
    memset(&sx, 0, sizeof sx);
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
        (sx.stx_mask & STATX_DIOALIGN))
        return sx.stx_dio_offset_align;
#else
    (void)fd;
#endif
    return 4096; /* the kernel cannot say (before 6.1): what every disk takes */
}

static int filesystem(int fd)
{
    const unsigned zfs = 0x2FC12FC1; /* not in linux/magic.h: ZFS lives outside the kernel tree */
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return PD_FS_PLAIN;
    unsigned type = (unsigned)fs.f_type;
    if (type == TMPFS_MAGIC || type == RAMFS_MAGIC)
        return PD_FS_VOLATILE;
    if (type == BTRFS_SUPER_MAGIC || type == zfs)
        return PD_FS_COPY_ON_WRITE;
    return PD_FS_PLAIN;
}

static void no_readahead(int fd)
{
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
}

static void drop_cache(int fd)
{
    /* Pages that are dirty or under way would stay (posix_fadvise(2)): this follows a sync. */
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void word_wait(uint32_t *word, uint32_t seen, uint64_t ns)
{
    const uint64_t second_ns = 1000000000u;
    struct timespec span = {.tv_sec = (time_t)(ns / second_ns), .tv_nsec = (long)(ns % second_ns)};
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, &span, NULL, 0);
}

static void word_wake(uint32_t *word, uint32_t count)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

const struct pd_sys_kind pd_linux_kind = {
    .needs_fullfsync = false,
    .direct_align = direct_align,
    .filesystem = filesystem,
    .no_readahead = no_readahead,
    .drop_cache = drop_cache,
    .has_turns = pd_btrfs_has_turns,
    .take_turn = pd_btrfs_take_turn,
    .end_turn = pd_btrfs_end_turn,
    .word_wait = word_wait,
    .word_wake = word_wake,
};

#endif
