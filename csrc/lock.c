/* lock.c - one writer at a time, and how far it has got. */
#include "lock.h"

#include "batch.h"
#include "error.h"
#include "io.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>

static const char lock_name[] = "LOCK";
static const uint64_t lock_magic = 0x314b434f4c445550u; /* "PUDLOCK1" */

enum { LOCK_BYTES = 4096 };
enum { WORD_MAGIC, WORD_PID, WORD_DURABLE, WORD_OLDEST, WORD_UUID_LOW, WORD_UUID_HIGH };

/* A reader that asks whether a writer is alive holds a shared lock for an instant, which must not
 * turn a writer away, even if the machine has taken the processor from the reader just then.  Who
 * meets a writer as often as that does not wait any longer. */
enum { TRIES = 10000, TRIES_WRITER = 40, TRY_NS = 1000000 };

static int map_page(struct pd_lock *lock, bool writable)
{
    int rc = 0;
    lock->words = pd_sys->map(lock->fd, LOCK_BYTES, writable, &rc);
    return rc;
}

static uint64_t load(const struct pd_lock *lock, int word)
{
    return __atomic_load_n(&lock->words[word], __ATOMIC_ACQUIRE);
}

static void store(struct pd_lock *lock, int word, uint64_t value)
{
    __atomic_store_n(&lock->words[word], value, __ATOMIC_RELEASE);
}

/* Give the page its block before it is mapped: a store that finds the disk full is no error but a
 * SIGBUS (mmap(2)).  What an earlier writer left in it stays, for readers may be looking. */
static int materialize(int fd)
{
    uint8_t page[LOCK_BYTES] = {0};
    ssize_t n = pd_io_read(fd, page, sizeof page, 0);
    return n < 0 ? (int)n : pd_io_write(fd, page, sizeof page, 0);
}

static int take_exclusive(const struct pd_lock *lock)
{
    int rc = 0;
    int writers = 0;
    for (int tries = 0; tries < TRIES && writers < TRIES_WRITER; tries++) {
        rc = pd_io_lock(lock->fd, PD_LOCK_EXCLUSIVE);
        if (rc != -EWOULDBLOCK)
            break;
        writers += pd_lock_writer_alive(lock) > 0;
        pd_sys_sleep_ns(TRY_NS);
    }
    return rc;
}

/* Who holds the lock, as far as the page says. */
static int refuse(struct pd_lock *lock, struct pd_error *error)
{
    pd_error_set(error, PD_ERROR_LOCKED, EWOULDBLOCK, "locking the log", lock_name,
                 "another writer has it open");
    struct stat st;
    if (error && pd_sys->stat(lock->fd, &st) == 0 && st.st_size >= LOCK_BYTES &&
        map_page(lock, false) == 0 && load(lock, WORD_MAGIC) == lock_magic)
        error->pid = (int64_t)load(lock, WORD_PID);
    return -EWOULDBLOCK;
}

int pd_lock_take(struct pd_lock *lock, int dir, struct pd_error *error)
{
    static const char op[] = "locking the log";
    lock->words = NULL;
    lock->fd = pd_io_open(dir, lock_name, O_RDWR | O_CREAT, 0);
    if (lock->fd < 0)
        return pd_error_os(error, lock->fd, op, lock_name);
    int rc = take_exclusive(lock);
    if (rc == -EWOULDBLOCK) {
        refuse(lock, error);
    } else {
        if (rc == 0)
            rc = materialize(lock->fd);
        if (rc == 0)
            rc = map_page(lock, true);
        if (rc < 0)
            pd_error_os(error, rc, op, lock_name);
    }
    if (rc < 0) {
        pd_lock_release(lock);
        return rc;
    }
    store(lock, WORD_PID, (uint64_t)pd_sys_pid());
    store(lock, WORD_DURABLE, 0);
    store(lock, WORD_MAGIC, lock_magic);
    return 0;
}

void pd_lock_describe(struct pd_lock *lock, const uint8_t uuid[16], uint64_t oldest_lsn)
{
    store(lock, WORD_OLDEST, oldest_lsn);
    store(lock, WORD_UUID_LOW, pd_get64(uuid));
    store(lock, WORD_UUID_HIGH, pd_get64(uuid + 8));
}

void pd_lock_publish(struct pd_lock *lock, uint64_t durable_lsn)
{
    store(lock, WORD_DURABLE, durable_lsn);
}

void pd_lock_release(struct pd_lock *lock)
{
    if (lock->words)
        pd_sys_unmap(lock->words, LOCK_BYTES);
    if (lock->fd >= 0)
        (void)pd_io_close(lock->fd);
    *lock = (struct pd_lock){.fd = -1};
}

void pd_lock_abandon(struct pd_lock *lock)
{
    if (lock->words)
        pd_sys_unmap(lock->words, LOCK_BYTES);
    /* Not through the table in force: a test's faulty one has a mutex of its own. */
    if (lock->fd >= 0)
        (void)pd_sys_posix.close(lock->fd);
    *lock = (struct pd_lock){.fd = -1};
}

int pd_lock_watch(struct pd_lock *lock, int dir)
{
    lock->words = NULL;
    lock->fd = pd_io_open(dir, lock_name, O_RDONLY, 0);
    if (lock->fd < 0)
        return lock->fd;
    struct stat st;
    int rc = pd_sys->stat(lock->fd, &st);
    if (rc == 0)
        rc = st.st_size < LOCK_BYTES ? -ENOENT : map_page(lock, false);
    if (rc < 0)
        pd_lock_release(lock);
    return rc;
}

int pd_lock_writer_alive(const struct pd_lock *lock)
{
    const int rc = pd_io_lock(lock->fd, PD_LOCK_SHARED);
    if (rc == -EWOULDBLOCK)
        return 1;
    if (rc == 0)
        (void)pd_sys->lock(lock->fd, PD_LOCK_FREE);
    return rc;
}

uint64_t pd_lock_durable(const struct pd_lock *lock)
{
    return load(lock, WORD_MAGIC) == lock_magic ? load(lock, WORD_DURABLE) : 0;
}

uint64_t pd_lock_truncations(const struct pd_lock *lock)
{
    return load(lock, WORD_OLDEST);
}

uint64_t pd_lock_oldest(const struct pd_lock *lock, const uint8_t uuid[16])
{
    const bool same = load(lock, WORD_MAGIC) == lock_magic &&
                      load(lock, WORD_UUID_LOW) == pd_get64(uuid) &&
                      load(lock, WORD_UUID_HIGH) == pd_get64(uuid + 8);
    return same ? load(lock, WORD_OLDEST) : 0;
}
