/* sys_posix.c - the system calls of Linux and macOS.  The only file that knows the platform. */
#if defined(__linux__)
#define _GNU_SOURCE
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE
#endif

#include "sys.h"
#include "sys_meta.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/magic.h>
#include <sys/random.h>
#include <sys/vfs.h>
#else
#include <sys/mount.h>
#include <sys/random.h>
#endif

#if defined(__linux__) && defined(__GLIBC__)
#include <linux/stat.h>
#include <sys/syscall.h>
#endif

const struct pd_sys *pd_sys = &pd_sys_posix;

static int result(int value)
{
    return value < 0 ? -errno : value;
}

static int posix_open(int dir, const char *name, int flags, int extra, mode_t mode)
{
    flags |= O_CLOEXEC;
#if defined(O_DIRECT)
    if (extra & PD_OPEN_DIRECT)
        flags |= O_DIRECT;
#endif
    if (extra & PD_OPEN_DSYNC)
        flags |= O_DSYNC;
#if defined(O_PATH)
    if (extra & PD_OPEN_PASSAGE)
        flags |= O_PATH;
#elif defined(O_SEARCH)
    if (extra & PD_OPEN_PASSAGE)
        flags |= O_SEARCH;
#endif
    int fd = openat(dir, name, flags, mode);
#if defined(F_NOCACHE)
    if (fd >= 0 && (extra & PD_OPEN_DIRECT) && fcntl(fd, F_NOCACHE, 1) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
#endif
    return result(fd);
}

static int posix_close(int fd)
{
    return result(close(fd));
}

static ssize_t posix_read(int fd, void *data, size_t size, int64_t offset)
{
    ssize_t n = pread(fd, data, size, (off_t)offset);
    return n < 0 ? -errno : n;
}

static ssize_t posix_write(int fd, const void *data, size_t size, int64_t offset)
{
    ssize_t n = pwrite(fd, data, size, (off_t)offset);
    return n < 0 ? -errno : n;
}

static int posix_fsync(int fd)
{
    return result(fsync(fd));
}

static int posix_fdatasync(int fd)
{
#if defined(__APPLE__)
    /* fdatasync exists on macOS but is no documented interface; fsync is, and hands the data to
     * the drive just the same. */
    return result(fsync(fd));
#else
    return result(fdatasync(fd));
#endif
}

static int posix_fullfsync(int fd)
{
#if defined(F_FULLFSYNC)
    return result(fcntl(fd, F_FULLFSYNC));
#else
    (void)fd;
    return -ENOTSUP;
#endif
}

static int posix_barrier(int fd)
{
#if defined(F_BARRIERFSYNC)
    return result(fcntl(fd, F_BARRIERFSYNC));
#else
    (void)fd;
    return -ENOTSUP;
#endif
}

static int posix_allocate(int fd, int64_t size)
{
#if defined(__linux__)
    /* fallocate and not posix_fallocate: glibc's emulation would write to each block behind our
     * back where the filesystem cannot allocate. */
    return result(fallocate(fd, 0, 0, (off_t)size));
#elif defined(F_PREALLOCATE)
    fstore_t store = {.fst_flags = F_ALLOCATECONTIG,
                      .fst_posmode = F_PEOFPOSMODE,
                      .fst_offset = 0,
                      .fst_length = (off_t)size};
    if (fcntl(fd, F_PREALLOCATE, &store) < 0) {
        store.fst_flags = F_ALLOCATEALL;
        if (fcntl(fd, F_PREALLOCATE, &store) < 0)
            return -errno;
    }
    /* F_PREALLOCATE reserves space past the end of the file and does not move the end. */
    return result(ftruncate(fd, (off_t)size));
#else
    (void)fd;
    (void)size;
    return -EOPNOTSUPP;
#endif
}

static int posix_truncate(int fd, int64_t size)
{
    return result(ftruncate(fd, (off_t)size));
}

static int64_t posix_seek(int fd, int64_t offset, int what)
{
    off_t at = lseek(fd, (off_t)offset, what == PD_SEEK_DATA ? SEEK_DATA : SEEK_HOLE);
    return at < 0 ? -(int64_t)errno : (int64_t)at;
}

static int posix_stat(int fd, struct stat *out)
{
    return result(fstat(fd, out));
}

static int posix_rename(int dir, const char *from, const char *to)
{
    return result(renameat(dir, from, dir, to));
}

static int posix_unlink(int dir, const char *name)
{
    return result(unlinkat(dir, name, 0));
}

static int posix_mkdir(const char *path, mode_t mode)
{
    return result(mkdir(path, mode));
}

static int posix_lock(int fd, int how)
{
    static const int operation[] = {LOCK_UN, LOCK_SH | LOCK_NB, LOCK_EX | LOCK_NB};
    return result(flock(fd, operation[how]));
}

static void *posix_map(int fd, size_t size, bool writable, int *error)
{
    int protection = PROT_READ | (writable ? PROT_WRITE : 0);
    void *address = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
    if (address != MAP_FAILED)
        return address;
    *error = -errno;
    return NULL;
}

static int posix_list(int dir, pd_sys_visit visit, void *context)
{
    /* A descriptor of its own: fdopendir takes the one it is given, and its position with it. */
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *stream = fdopendir(fd);
    if (!stream) {
        int error = errno;
        close(fd);
        return -error;
    }
    int rc = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (!entry) {
            rc = -errno;
            break;
        }
        rc = visit(context, entry->d_name);
        if (rc < 0)
            break;
    }
    closedir(stream);
    return rc;
}

static int posix_random(void *data, size_t size)
{
    /* getentropy gives up to 256 bytes whole or fails; nothing here asks for more. */
    return result(getentropy(data, size));
}

const struct pd_sys pd_sys_posix = {
    .open = posix_open,
    .close = posix_close,
    .read = posix_read,
    .write = posix_write,
    .fsync = posix_fsync,
    .fdatasync = posix_fdatasync,
    .fullfsync = posix_fullfsync,
    .barrier = posix_barrier,
    .allocate = posix_allocate,
    .truncate = posix_truncate,
    .seek = posix_seek,
    .stat = posix_stat,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .mkdir = posix_mkdir,
    .lock = posix_lock,
    .map = posix_map,
    .list = posix_list,
    .random = posix_random,
    .meta = &pd_sys_posix_meta,
};

uint32_t pd_sys_direct_align(int fd)
{
#if defined(__APPLE__)
    (void)fd;
    return 4096; /* F_NOCACHE takes any offset; whole pages keep the cache out of it */
#elif defined(STATX_DIOALIGN) && defined(SYS_statx)
    struct statx sx;
    memset(&sx, 0, sizeof sx);
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
        (sx.stx_mask & STATX_DIOALIGN))
        return sx.stx_dio_offset_align;
    return 4096; /* the kernel cannot say (before 6.1): what every disk takes */
#else
    (void)fd;
    return 4096;
#endif
}

int pd_sys_filesystem(int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return PD_FS_PLAIN;
#if defined(__linux__)
    const unsigned zfs = 0x2FC12FC1; /* not in linux/magic.h: ZFS lives outside the kernel tree */
    unsigned type = (unsigned)fs.f_type;
    if (type == TMPFS_MAGIC || type == RAMFS_MAGIC)
        return PD_FS_VOLATILE;
    if (type == BTRFS_SUPER_MAGIC || type == zfs)
        return PD_FS_COPY_ON_WRITE;
#else
    if (strcmp(fs.f_fstypename, "apfs") == 0)
        return PD_FS_COPY_ON_WRITE;
#endif
    return PD_FS_PLAIN;
}

void pd_sys_no_readahead(int fd)
{
#if defined(POSIX_FADV_RANDOM)
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
#elif defined(F_RDAHEAD)
    (void)fcntl(fd, F_RDAHEAD, 0);
#endif
}

bool pd_sys_needs_fullfsync(void)
{
#if defined(F_FULLFSYNC)
    return true;
#else
    return false;
#endif
}

void pd_sys_unmap(void *address, size_t size)
{
    munmap(address, size);
}

int64_t pd_sys_pid(void)
{
    return (int64_t)getpid();
}

size_t pd_sys_cores(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : (size_t)cores;
}

uint64_t pd_sys_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void pd_sys_sleep_ns(uint64_t ns)
{
    struct timespec rest = {.tv_sec = (time_t)(ns / 1000000000u),
                            .tv_nsec = (long)(ns % 1000000000u)};
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
        ;
}
