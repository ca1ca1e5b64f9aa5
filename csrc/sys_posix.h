/*
 * sys_posix.h - what the files of the platform layer share among themselves.
 *
 * sys_posix*.c are the only files that know the platform.  Where Linux and macOS differ each has
 * a function of its own: pd_linux_* in sys_posix_linux.c, which is not compiled for macOS, and
 * pd_darwin_* in sys_posix_darwin.c, which is compiled everywhere.  The latter decide what macOS
 * needs, in which order, and reach the system through struct pd_darwin alone, so that a test can
 * run the same decisions on Linux (fault_darwin.c).
 */
#ifndef PD_SYS_POSIX_H
#define PD_SYS_POSIX_H

#include "sys.h"

#include <errno.h>

static inline int pd_posix_result(int value)
{
    return value < 0 ? -errno : value;
}

/* The raw calls that only macOS has, or that it wants in another order: >= 0 or -errno. */
struct pd_darwin {
    int passage_flag; /* O_SEARCH, or what stands for it */
    int (*openat)(int dir, const char *name, int flags, mode_t mode);
    int (*close)(int fd);
    int (*fsync)(int fd);
    int (*fullfsync)(int fd);                                   /* F_FULLFSYNC */
    int (*barrierfsync)(int fd);                                /* F_BARRIERFSYNC */
    int (*nocache)(int fd);                                     /* F_NOCACHE, on */
    int (*rdahead)(int fd);                                     /* F_RDAHEAD, off */
    int (*preallocate)(int fd, bool contiguous, int64_t bytes); /* F_PREALLOCATE, past the end */
    int (*ftruncate)(int fd, int64_t size);
    int (*fstat)(int fd, struct stat *out);
    int (*fstypename)(int fd, char *out, size_t size);
    int (*rename_excl)(int from_dir, const char *from, int to_dir, const char *to);
};

extern const struct pd_darwin *pd_darwin; /* in force; NULL where nothing imitates macOS */
extern const struct pd_sys_kind pd_darwin_kind;

int pd_darwin_open(int dir, const char *name, int flags, int extra, mode_t mode);
int pd_darwin_fdatasync(int fd);
int pd_darwin_fullfsync(int fd);
int pd_darwin_barrier(int fd);
int pd_darwin_allocate(int fd, int64_t size);
int pd_darwin_move_new(int from_dir, const char *from, int to_dir, const char *to);
int pd_darwin_direct(int fd);
int pd_darwin_writeback(int fd);
int pd_darwin_hold(int dir, const char *name);

extern const struct pd_sys_kind pd_linux_kind;

int pd_linux_open(int dir, const char *name, int flags, int extra, mode_t mode);
int pd_linux_fdatasync(int fd);
int pd_linux_fullfsync(int fd);
int pd_linux_barrier(int fd);
int pd_linux_allocate(int fd, int64_t size);
int pd_linux_move_new(int from_dir, const char *from, int to_dir, const char *to);
int pd_linux_direct(int fd);
int pd_linux_writeback(int fd);
int pd_linux_hold(int dir, const char *name);

/* Turns at syncing a file of btrfs (sys_posix_btrfs.c). */
bool pd_btrfs_has_turns(int fd);
int pd_btrfs_take_turn(int fd);
void pd_btrfs_end_turn(int fd);

/* Waiting for words without futexes (sys_posix_rooms.c). */
void pd_rooms_wait(uint32_t *word, uint32_t seen, uint64_t ns);
void pd_rooms_wake(uint32_t *word, uint32_t count);

#if defined(__APPLE__)
#define PD_HOST(name) pd_darwin_##name
#else
#define PD_HOST(name) pd_linux_##name
#endif

#endif
