/*
 * sys_posix_darwin.c - what macOS needs, and in which order; see sys_posix.h.
 *
 * Nothing above the last section depends on the compiler's target.
 */
#if defined(__linux__)
#define _GNU_SOURCE
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE
#endif

#include "sys_posix.h"

#include <fcntl.h>
#include <string.h>

/* F_NOCACHE takes any offset; whole pages keep the cache out of it. */
static const uint32_t page_bytes = 4096;

int pd_darwin_open(int dir, const char *name, int flags, int extra, mode_t mode)
{
    if (extra & PD_OPEN_UNNAMED)
        return -EOPNOTSUPP;
    flags |= O_CLOEXEC;
    if (extra & PD_OPEN_SYNC)
        flags |= O_SYNC;
    if (extra & PD_OPEN_DSYNC)
        flags |= O_DSYNC;
    if (extra & PD_OPEN_PASSAGE)
        flags |= pd_darwin->passage_flag;
    int fd = pd_darwin->openat(dir, name, flags, mode);
    if (fd < 0 || !(extra & PD_OPEN_DIRECT))
        return fd;
    /* There is no O_DIRECT: the open file is told. */
    int rc = pd_darwin->nocache(fd);
    if (rc >= 0)
        return fd;
    (void)pd_darwin->close(fd);
    return rc;
}

int pd_darwin_fdatasync(int fd)
{
    /* fdatasync is there to be linked with but is no documented interface; fsync is, and hands
     * the data to the drive just the same.  Neither empties the drive's own cache (fsync(2)). */
    return pd_darwin->fsync(fd);
}

int pd_darwin_fullfsync(int fd)
{
    return pd_darwin->fullfsync(fd);
}

int pd_darwin_barrier(int fd)
{
    return pd_darwin->barrierfsync(fd);
}

int pd_darwin_allocate(int fd, int64_t size)
{
    struct stat st;
    int rc = pd_darwin->fstat(fd, &st);
    if (rc < 0)
        return rc;
    /* F_PREALLOCATE counts from the physical end of the file: what is there is not asked for
     * again, or a file that is used anew would grow with each use. */
    const int64_t held = (int64_t)st.st_blocks * 512;
    if (held < size) {
        rc = pd_darwin->preallocate(fd, true, size - held);
        if (rc < 0)
            rc = pd_darwin->preallocate(fd, false, size - held);
        /* Two numbers on macOS, and callers look for the second. */
        if (rc == -ENOTSUP)
            rc = -EOPNOTSUPP;
        if (rc < 0)
            return rc;
    }
    /* The end of the file has not moved, and moves only outwards, as with fallocate(2). */
    return st.st_size < size ? pd_darwin->ftruncate(fd, size) : 0;
}

int pd_darwin_move_new(int from_dir, const char *from, int to_dir, const char *to)
{
    return pd_darwin->rename_excl(from_dir, from, to_dir, to);
}

int pd_darwin_direct(int fd)
{
    return pd_darwin->nocache(fd);
}

int pd_darwin_hold(int dir, const char *name)
{
    (void)dir;
    (void)name;
    return -ENOTSUP;
}

int pd_darwin_writeback(int fd)
{
    (void)fd; /* a hint that macOS has no call for */
    return 0;
}

static uint32_t direct_align(int fd)
{
    (void)fd;
    return page_bytes;
}

static int filesystem(int fd)
{
    char name[32];
    if (pd_darwin->fstypename(fd, name, sizeof name) < 0)
        return PD_FS_PLAIN;
    return strcmp(name, "apfs") == 0 ? PD_FS_COPY_ON_WRITE : PD_FS_PLAIN;
}

static void no_readahead(int fd)
{
    (void)pd_darwin->rdahead(fd);
}

static void drop_cache(int fd)
{
    (void)fd; /* there is no such call for a file that is not mapped */
}

static bool has_turns(int fd)
{
    (void)fd; /* nobody here has to wait for another */
    return false;
}

static int take_turn(int fd)
{
    (void)fd;
    return 0;
}

static void end_turn(int fd)
{
    (void)fd;
}

const struct pd_sys_kind pd_darwin_kind = {
    .needs_fullfsync = true,
    .direct_align = direct_align,
    .filesystem = filesystem,
    .no_readahead = no_readahead,
    .drop_cache = drop_cache,
    .has_turns = has_turns,
    .take_turn = take_turn,
    .end_turn = end_turn,
    .word_wait = pd_rooms_wait,
    .word_wake = pd_rooms_wake,
};

/* The calls themselves. */
#if !defined(__APPLE__)
const struct pd_darwin *pd_darwin;
#else

#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

static int real_openat(int dir, const char *name, int flags, mode_t mode)
{
    return pd_posix_result(openat(dir, name, flags, mode));
}

static int real_close(int fd)
{
    return pd_posix_result(close(fd));
}

static int real_fsync(int fd)
{
    return pd_posix_result(fsync(fd));
}

static int real_fullfsync(int fd)
{
    return pd_posix_result(fcntl(fd, F_FULLFSYNC));
}

static int real_barrierfsync(int fd)
{
    return pd_posix_result(fcntl(fd, F_BARRIERFSYNC));
}

static int real_nocache(int fd)
{
    return pd_posix_result(fcntl(fd, F_NOCACHE, 1));
}

static int real_rdahead(int fd)
{
    return pd_posix_result(fcntl(fd, F_RDAHEAD, 0));
}

static int real_preallocate(int fd, bool contiguous, int64_t bytes)
{
    /* All or nothing in both cases: a part of the space would be found out by a later write. */
    fstore_t store = {.fst_flags = F_ALLOCATEALL | (contiguous ? F_ALLOCATECONTIG : 0u),
                      .fst_posmode = F_PEOFPOSMODE,
                      .fst_offset = 0,
                      .fst_length = (off_t)bytes};
    return pd_posix_result(fcntl(fd, F_PREALLOCATE, &store));
}

static int real_ftruncate(int fd, int64_t size)
{
    return pd_posix_result(ftruncate(fd, (off_t)size));
}

static int real_fstat(int fd, struct stat *out)
{
    return pd_posix_result(fstat(fd, out));
}

static int real_fstypename(int fd, char *out, size_t size)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return -errno;
    snprintf(out, size, "%s", fs.f_fstypename);
    return 0;
}

static int real_rename_excl(int from_dir, const char *from, int to_dir, const char *to)
{
    return pd_posix_result(renameatx_np(from_dir, from, to_dir, to, RENAME_EXCL));
}

#if !defined(O_SEARCH)
#define O_SEARCH 0 /* before macOS 11: a directory to pass through has to be readable */
#endif

static const struct pd_darwin real = {
    .passage_flag = O_SEARCH,
    .openat = real_openat,
    .close = real_close,
    .fsync = real_fsync,
    .fullfsync = real_fullfsync,
    .barrierfsync = real_barrierfsync,
    .nocache = real_nocache,
    .rdahead = real_rdahead,
    .preallocate = real_preallocate,
    .ftruncate = real_ftruncate,
    .fstat = real_fstat,
    .fstypename = real_fstypename,
    .rename_excl = real_rename_excl,
};
const struct pd_darwin *pd_darwin = &real;

#endif
