/* sys_posix.c - the system calls of Linux and macOS.  See sys_posix.h for who knows what. */
#if defined(__linux__)
#define _GNU_SOURCE
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE
#endif

#include "sys_posix.h"

#include "sys_meta.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

const struct pd_sys *pd_sys = &pd_sys_posix;
const struct pd_sys *pd_sys_base = &pd_sys_posix;

static int host_close(int fd)
{
    return pd_posix_result(close(fd));
}

static ssize_t host_read(int fd, void *data, size_t size, int64_t offset)
{
    ssize_t n = pread(fd, data, size, (off_t)offset);
    return n < 0 ? -errno : n;
}

static ssize_t host_write(int fd, const void *data, size_t size, int64_t offset)
{
    ssize_t n = pwrite(fd, data, size, (off_t)offset);
    return n < 0 ? -errno : n;
}

static int host_fsync(int fd)
{
    return pd_posix_result(fsync(fd));
}

static int host_truncate(int fd, int64_t size)
{
    return pd_posix_result(ftruncate(fd, (off_t)size));
}

static int64_t host_seek(int fd, int64_t offset, int what)
{
    off_t at = lseek(fd, (off_t)offset, what == PD_SEEK_DATA ? SEEK_DATA : SEEK_HOLE);
    return at < 0 ? -(int64_t)errno : (int64_t)at;
}

static int host_stat(int fd, struct stat *out)
{
    return pd_posix_result(fstat(fd, out));
}

static int host_rename(int dir, const char *from, const char *to)
{
    return pd_posix_result(renameat(dir, from, dir, to));
}

static int host_unlink(int dir, const char *name)
{
    return pd_posix_result(unlinkat(dir, name, 0));
}

static int host_mkdir(const char *path, mode_t mode)
{
    return pd_posix_result(mkdir(path, mode));
}

static int host_lock(int fd, int how)
{
    static const int operation[] = {LOCK_UN, LOCK_SH | LOCK_NB, LOCK_EX | LOCK_NB, LOCK_EX};
    return pd_posix_result(flock(fd, operation[how]));
}

static void *host_map(int fd, size_t size, bool writable, int *error)
{
    int protection = PROT_READ | (writable ? PROT_WRITE : 0);
    void *address = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
    if (address != MAP_FAILED)
        return address;
    *error = -errno;
    return NULL;
}

static int host_list(int dir, pd_sys_visit visit, void *context)
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
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else reads this stream. */
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

static int host_random(void *data, size_t size)
{
    /* getentropy gives up to 256 bytes whole or fails; nothing here asks for more. */
    return pd_posix_result(getentropy(data, size));
}

const struct pd_sys pd_sys_posix = {
    .open = PD_HOST(open),
    .close = host_close,
    .read = host_read,
    .write = host_write,
    .fsync = host_fsync,
    .fdatasync = PD_HOST(fdatasync),
    .fullfsync = PD_HOST(fullfsync),
    .barrier = PD_HOST(barrier),
    .allocate = PD_HOST(allocate),
    .truncate = host_truncate,
    .seek = host_seek,
    .stat = host_stat,
    .rename = host_rename,
    .unlink = host_unlink,
    .mkdir = host_mkdir,
    .lock = host_lock,
    .map = host_map,
    .list = host_list,
    .random = host_random,
    .kind = &PD_HOST(kind),
    .meta = &pd_sys_posix_meta,
};

uint32_t pd_sys_direct_align(int fd)
{
    return pd_sys_base->kind->direct_align(fd);
}

int pd_sys_filesystem(int fd)
{
    return pd_sys_base->kind->filesystem(fd);
}

void pd_sys_no_readahead(int fd)
{
    pd_sys_base->kind->no_readahead(fd);
}

void pd_sys_drop_cache(int fd)
{
    pd_sys_base->kind->drop_cache(fd);
}

bool pd_sys_has_turns(int fd)
{
    return pd_sys_base->kind->has_turns(fd);
}

int pd_sys_take_turn(int fd)
{
    return pd_sys_base->kind->take_turn(fd);
}

void pd_sys_end_turn(int fd)
{
    pd_sys_base->kind->end_turn(fd);
}

bool pd_sys_needs_fullfsync(void)
{
    return pd_sys_base->kind->needs_fullfsync;
}

void pd_sys_word_wait(uint32_t *word, uint32_t seen, uint64_t ns)
{
    pd_sys_base->kind->word_wait(word, seen, ns);
}

void pd_sys_word_wake(uint32_t *word, uint32_t count)
{
    pd_sys_base->kind->word_wake(word, count);
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
