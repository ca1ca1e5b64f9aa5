/*
 * fault_darwin.c - a table of system calls that imitates macOS, for tests.
 *
 * The decisions are those of sys_posix_darwin.c, the same code that runs on a Mac; here the calls
 * beneath them are stood in for by what this platform has.  Each is noted by its name, so that a
 * test can assert which were made and in what order, and can be refused with any errno.
 */
#include "fault.h"

#include "pydurable.h"
#include "sys_meta.h"
#include "sys_posix.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { NOTES_BYTES = 1 << 16 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char notes[NOTES_BYTES];
static size_t noted;
static int refusals[PD_DARWIN_COUNT];

static const char *const names[PD_DARWIN_COUNT] = {
    [PD_DARWIN_OPENAT] = "openat",
    [PD_DARWIN_CLOSE] = "close",
    [PD_DARWIN_FSYNC] = "fsync",
    [PD_DARWIN_FULLFSYNC] = "F_FULLFSYNC",
    [PD_DARWIN_BARRIERFSYNC] = "F_BARRIERFSYNC",
    [PD_DARWIN_NOCACHE] = "F_NOCACHE",
    [PD_DARWIN_RDAHEAD] = "F_RDAHEAD",
    [PD_DARWIN_PREALLOCATE_CONTIGUOUS] = "F_PREALLOCATE F_ALLOCATECONTIG",
    [PD_DARWIN_PREALLOCATE_ALL] = "F_PREALLOCATE F_ALLOCATEALL",
    [PD_DARWIN_FTRUNCATE] = "ftruncate",
    [PD_DARWIN_RENAME_EXCL] = "renameatx_np RENAME_EXCL",
};

/* Note a call, with its size if it has one: 0, or the -errno that it is to be refused with. */
static int arrive(int call, int64_t size)
{
    pthread_mutex_lock(&mutex);
    const size_t room = sizeof notes - noted;
    const int length =
        size < 0 ? snprintf(notes + noted, room, "%s\n", names[call])
                 : snprintf(notes + noted, room, "%s %lld\n", names[call], (long long)size);
    if (length > 0 && (size_t)length < room)
        noted += (size_t)length;
    const int code = refusals[call];
    pthread_mutex_unlock(&mutex);
    return -code;
}

static int like_openat(int dir, const char *name, int flags, mode_t mode)
{
    const int rc = arrive(PD_DARWIN_OPENAT, -1);
    return rc < 0 ? rc : pd_sys_posix.open(dir, name, flags, 0, mode);
}

static int like_close(int fd)
{
    const int rc = arrive(PD_DARWIN_CLOSE, -1);
    const int closed = pd_sys_posix.close(fd);
    return rc < 0 ? rc : closed;
}

static int like_fsync(int fd)
{
    const int rc = arrive(PD_DARWIN_FSYNC, -1);
    return rc < 0 ? rc : pd_sys_posix.fsync(fd);
}

static int like_fullfsync(int fd)
{
    const int rc = arrive(PD_DARWIN_FULLFSYNC, -1);
    return rc < 0 ? rc : pd_sys_posix.fsync(fd);
}

static int like_barrierfsync(int fd)
{
    const int rc = arrive(PD_DARWIN_BARRIERFSYNC, -1);
    return rc < 0 ? rc : pd_sys_posix.fsync(fd);
}

static int like_nocache(int fd)
{
    (void)fd;
    return arrive(PD_DARWIN_NOCACHE, -1);
}

static int like_rdahead(int fd)
{
    (void)fd;
    return arrive(PD_DARWIN_RDAHEAD, -1);
}

static int like_preallocate(int fd, bool contiguous, int64_t bytes)
{
    (void)fd; /* the end of the file stays where it is, and a sparse file serves as well */
    return arrive(contiguous ? PD_DARWIN_PREALLOCATE_CONTIGUOUS : PD_DARWIN_PREALLOCATE_ALL, bytes);
}

static int like_ftruncate(int fd, int64_t size)
{
    const int rc = arrive(PD_DARWIN_FTRUNCATE, size);
    return rc < 0 ? rc : pd_sys_posix.truncate(fd, size);
}

static int like_fstypename(int fd, char *out, size_t size)
{
    (void)fd;
    snprintf(out, size, "apfs");
    return 0;
}

static int like_rename_excl(int from_dir, const char *from, int to_dir, const char *to)
{
    const int rc = arrive(PD_DARWIN_RENAME_EXCL, -1);
    return rc < 0 ? rc : pd_sys_posix_meta.move_new(from_dir, from, to_dir, to);
}

static const struct pd_darwin imitation = {
    .passage_flag = 0,
    .openat = like_openat,
    .close = like_close,
    .fsync = like_fsync,
    .fullfsync = like_fullfsync,
    .barrierfsync = like_barrierfsync,
    .nocache = like_nocache,
    .rdahead = like_rdahead,
    .preallocate = like_preallocate,
    .ftruncate = like_ftruncate,
    .fstat = NULL, /* the platform's own: see pd_darwin_imitate */
    .fstypename = like_fstypename,
    .rename_excl = like_rename_excl,
};

static struct pd_darwin calls;
static struct pd_sys table;
static struct pd_sys_meta meta;

static void build(void)
{
    calls = imitation;
    calls.fstat = pd_sys_posix.stat;
    meta = pd_sys_posix_meta;
    meta.move_new = pd_darwin_move_new;
    meta.direct = pd_darwin_direct;
    meta.writeback = pd_darwin_writeback;
    meta.hold = pd_darwin_hold;
    table = pd_sys_posix;
    table.open = pd_darwin_open;
    table.fsync = like_fsync; /* the same call on both; here it is noted */
    table.fdatasync = pd_darwin_fdatasync;
    table.fullfsync = pd_darwin_fullfsync;
    table.barrier = pd_darwin_barrier;
    table.allocate = pd_darwin_allocate;
    table.kind = &pd_darwin_kind;
    table.meta = &meta;
}

void pd_darwin_imitate(bool on)
{
    static const struct pd_darwin *host;
    static bool imitating;
    if (on == imitating)
        return;
    imitating = on;
    if (on) {
        build();
        host = pd_darwin;
    }
    pthread_mutex_lock(&mutex);
    noted = 0;
    memset(refusals, 0, sizeof refusals);
    pthread_mutex_unlock(&mutex);
    pd_darwin = on ? &calls : host;
    pd_sys_base = on ? &table : &pd_sys_posix;
    pd_fault_retable();
}

void pd_darwin_refuse(int call, int code)
{
    pthread_mutex_lock(&mutex);
    if (call >= 0 && call < PD_DARWIN_COUNT)
        refusals[call] = code;
    pthread_mutex_unlock(&mutex);
}

uint64_t pd_darwin_take_notes(char *out, uint64_t size)
{
    pthread_mutex_lock(&mutex);
    const size_t n = size < noted ? (size_t)size : noted;
    memcpy(out, notes, n);
    noted = 0;
    pthread_mutex_unlock(&mutex);
    return n;
}
