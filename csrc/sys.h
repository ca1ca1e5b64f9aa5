/*
 * sys.h - the table of system calls: the one seam between the core and the platform.
 *
 * Every call that touches a file goes through the table, so that a test can make any of them
 * fail, run short or be recorded (fault.h).  An entry returns a value >= 0 or -errno and knows
 * nothing of retries: that is the business of io.h.  Threads and clocks are not in the table;
 * their few differences between platforms are the functions at the end.
 */
#ifndef PD_SYS_H
#define PD_SYS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Flags of sys->open beyond those of <fcntl.h>; the platform file translates them. */
enum {
    PD_OPEN_DIRECT = 1,  /* O_DIRECT, or F_NOCACHE where there is no such flag */
    PD_OPEN_DSYNC = 2,   /* O_DSYNC */
    PD_OPEN_PASSAGE = 4, /* a directory only to pass through, which need not be readable */
    PD_OPEN_SYNC = 8,    /* O_SYNC */
    PD_OPEN_UNNAMED = 16 /* a new file without a name; -EOPNOTSUPP where there are none */
};

/* What sys->seek looks for. */
enum { PD_SEEK_DATA = 0, PD_SEEK_HOLE = 1 };

/* How sys->lock takes the whole file; the names of flock(2).  PD_LOCK_WAIT is exclusive, and waits
 * until nobody else holds it. */
enum { PD_LOCK_FREE = 0, PD_LOCK_SHARED = 1, PD_LOCK_EXCLUSIVE = 2, PD_LOCK_WAIT = 3 };

/* What a filesystem is, as far as the log treats kinds differently. */
enum {
    PD_FS_PLAIN = 0,
    PD_FS_COPY_ON_WRITE = 1, /* writing zeros ahead gains nothing: btrfs, ZFS */
    PD_FS_VOLATILE = 2       /* lives in memory: tmpfs, ramfs */
};

/* Called with each name of a directory; a negative return ends the listing with that value. */
typedef int (*pd_sys_visit)(void *context, const char *name);

struct pd_sys_meta;

/* What a platform is like, beyond its calls; asked through the functions below of the same name. */
struct pd_sys_kind {
    bool needs_fullfsync;
    uint32_t (*direct_align)(int fd);
    int (*filesystem)(int fd);
    void (*no_readahead)(int fd);
    void (*drop_cache)(int fd);
    bool (*has_turns)(int fd);
    int (*take_turn)(int fd);
    void (*end_turn)(int fd);
    void (*word_wait)(uint32_t *word, uint32_t seen, uint64_t ns);
    void (*word_wake)(uint32_t *word, uint32_t count);
};

struct pd_sys {
    int (*open)(int dir, const char *name, int flags, int extra, mode_t mode);
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *data, size_t size, int64_t offset);
    ssize_t (*write)(int fd, const void *data, size_t size, int64_t offset);
    int (*fsync)(int fd);
    int (*fdatasync)(int fd);
    int (*fullfsync)(int fd);              /* -ENOTSUP where there is no such call */
    int (*barrier)(int fd);                /* -ENOTSUP where there is no such call */
    int (*allocate)(int fd, int64_t size); /* space for the file's first size bytes */
    int (*truncate)(int fd, int64_t size);
    int64_t (*seek)(int fd, int64_t offset, int what); /* -ENXIO past the last data */
    int (*stat)(int fd, struct stat *out);
    int (*rename)(int dir, const char *from, const char *to);
    int (*unlink)(int dir, const char *name);
    int (*mkdir)(const char *path, mode_t mode);
    int (*lock)(int fd, int how); /* PD_LOCK_*; -EWOULDBLOCK if held elsewhere, unless it waits */
    void *(*map)(int fd, size_t size, bool writable, int *error); /* NULL and *error on failure */
    int (*list)(int dir, pd_sys_visit visit, void *context);
    int (*random)(void *data, size_t size);
    const struct pd_sys_kind *kind; /* of pd_sys_base alone: a table in front of it may have none */
    const struct pd_sys_meta *meta; /* names and attributes: sys_meta.h */
};

extern const struct pd_sys pd_sys_posix;
extern const struct pd_sys *pd_sys;      /* the table in force */
extern const struct pd_sys *pd_sys_base; /* the platform's, or one that imitates another */

/* The offset alignment that direct I/O wants on this file, 0 if direct I/O is not supported. */
uint32_t pd_sys_direct_align(int fd);
int pd_sys_filesystem(int fd);
/* Read from this descriptor what is asked for, and nothing ahead of it. */
void pd_sys_no_readahead(int fd);
/* Let later reads of a file that is synced come from the medium and not from the page cache. */
void pd_sys_drop_cache(int fd);
/*
 * Whether the syncs of an open file have to come one after another, of threads and of processes,
 * because one can return before the data are on the medium while another one is at it (btrfs).  It
 * asks the filesystem, perhaps over a network.
 */
bool pd_sys_has_turns(int fd);
/* Before and after a sync of such a file.  1: pd_sys_end_turn has to follow.  0: nobody can wait
 * here.  -EINTR: once more. */
int pd_sys_take_turn(int fd);
void pd_sys_end_turn(int fd);
/* Whether a flush to the medium takes F_FULLFSYNC here (macOS), rather than fdatasync. */
bool pd_sys_needs_fullfsync(void);
void pd_sys_unmap(void *address, size_t size);
int64_t pd_sys_pid(void);
/* What is the same for every process until the machine starts anew: 0 or -errno. */
int pd_sys_boot_id(uint8_t out[16]);
/* When a file was made, in nanoseconds of the clock; 0 where the filesystem does not say. */
uint64_t pd_sys_born(int fd);
size_t pd_sys_cores(void);    /* that are online, 1 at the least */
uint64_t pd_sys_now_ns(void); /* monotonic */
void pd_sys_sleep_ns(uint64_t ns);
void pd_sys_yield(void); /* let another thread have this core, if one wants it */
/* Start a thread that takes no signals: they belong to the program's own threads. */
int pd_sys_thread_start(pthread_t *thread, void *(*run)(void *), void *context);
void pd_sys_cond_init(pthread_cond_t *cond);
/* Wait at most ns; true if woken, false when the time is over.  May wake for no reason. */
bool pd_sys_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t ns);

/* Wait while *word still has the value that was seen, at most ns; may return for no reason.  Who
 * changes the word wakes so many of those that wait, the first ones first, or more.  Unlike a
 * condition this takes no mutex on the way out, for which a crowd of woken threads would queue. */
void pd_sys_word_wait(uint32_t *word, uint32_t seen, uint64_t ns);
#define PD_WAKE_ALL INT32_MAX
void pd_sys_word_wake(uint32_t *word, uint32_t count);
/* In a child process: free what threads of the parent held of the above. */
void pd_sys_after_fork(void);

/* A descriptor that an event loop can watch: readable from ring to clear.  The first end is
 * watched and cleared, the second one rung; both are the same where there are eventfds. */
int pd_sys_bell_open(int bell[2]);
void pd_sys_bell_ring(int end);
void pd_sys_bell_clear(int end);
void pd_sys_bell_close(int bell[2]);

#endif
