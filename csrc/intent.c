/* intent.c - what is being written to a plain file: see intent.h. */
#define _POSIX_C_SOURCE 200809L
#define _DARWIN_C_SOURCE /* O_NOFOLLOW, which macOS takes for an extension of its own */

#include "intent.h"

#include "log.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Two hexadecimal numbers and what stands around them. */
enum { NAME_BYTES = 48 };

/* Who sweeps up pages holds an exclusive lock for an instant. */
enum { TRIES = 1000, TRY_NS = 1000000 };

static int open_page(const char *path, int flags)
{
    int fd;
    PD_RETRY(fd, pd_sys->open(AT_FDCWD, path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | flags, 0, 0600));
    return fd;
}

/* Only what this user made, and nobody else may write to, is believed. */
static bool is_own(const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_uid == geteuid() && !(st->st_mode & 077);
}

static void let_go(struct pd_intent *intent, bool removes)
{
    if (intent->page)
        pd_sys_unmap(intent->page, PD_INTENT_BYTES);
    if (intent->fd >= 0) {
        if (removes)
            (void)pd_sys->unlink(AT_FDCWD, intent->path);
        (void)pd_io_close(intent->fd);
    }
    free(intent->path);
    *intent = (struct pd_intent)PD_NO_INTENT;
}

/* Map the page; one that is new, of another file that had the inode before, or of an earlier run of
 * the machine, says nothing yet. */
static int map_page(struct pd_intent *intent, int target)
{
    uint8_t boot[sizeof intent->page->boot];
    int rc = pd_sys_boot_id(boot);
    if (rc < 0)
        return rc;
    struct pd_intent_page *page = pd_sys->map(intent->fd, PD_INTENT_BYTES, true, &rc);
    if (!page)
        return rc;
    const uint64_t born = pd_sys_born(target);
    if (page->magic != pd_intent_magic || page->born != born ||
        memcmp(page->boot, boot, sizeof boot) != 0) {
        memset(page, 0, sizeof *page);
        memcpy(page->boot, boot, sizeof boot);
        page->born = born;
        __atomic_store_n(&page->magic, pd_intent_magic, __ATOMIC_SEQ_CST);
    }
    intent->page = page;
    return 0;
}

static int use_page(struct pd_intent *intent, int target, bool makes)
{
    struct stat st;
    intent->fd = open_page(intent->path, makes ? O_CREAT | O_EXCL : 0);
    /* A symbolic link is none of ours either. */
    if (intent->fd == -ELOOP || intent->fd == -ENOTDIR)
        return -ENOENT;
    if (intent->fd < 0)
        return intent->fd;
    int rc = pd_io_lock(intent->fd, PD_LOCK_SHARED);
    if (rc == 0)
        rc = pd_sys->stat(intent->fd, &st);
    if (rc == 0 && !is_own(&st))
        rc = -ENOENT;
    if (rc == 0 && st.st_nlink == 0)
        rc = -EWOULDBLOCK; /* just swept up */
    /* Also if its maker was killed before this. */
    if (rc == 0 && st.st_size < PD_INTENT_BYTES)
        rc = pd_ring_reserve(intent->fd, PD_INTENT_BYTES);
    return rc == 0 ? map_page(intent, target) : rc;
}

/* The page at one place: 0, -ENOENT if there is none, -EWOULDBLOCK to try again, or -errno. */
static int attach(struct pd_intent *intent, const char *place, int target, bool makes)
{
    struct stat st;
    if (!place || !*place)
        return -ENOENT;
    int rc = pd_sys->stat(target, &st);
    if (rc < 0)
        return rc;
    const size_t bytes = strlen(place) + NAME_BYTES;
    intent->path = malloc(bytes);
    if (!intent->path)
        return -ENOMEM;
    (void)snprintf(intent->path, bytes, "%s%" PRIx64 "-%" PRIx64 ".intent", place,
                   (uint64_t)st.st_dev, (uint64_t)st.st_ino);
    rc = use_page(intent, target, makes);
    if (rc < 0)
        let_go(intent, makes);
    return rc;
}

/* One that is in use is the right one, wherever it lies; a new one goes to the first good place. */
static int find_or_make(struct pd_intent *intent, const struct pd_file *file, int target)
{
    int rc = -ENOENT;
    for (int i = 0; i < PD_FILE_PLACES && rc == -ENOENT; i++)
        rc = attach(intent, file->places[i], target, false);
    if (rc != -ENOENT)
        return rc;
    for (int i = 0; i < PD_FILE_PLACES && rc < 0 && rc != -EWOULDBLOCK; i++)
        rc = attach(intent, file->places[i], target, true);
    return rc;
}

int pd_intent_open(struct pd_intent *intent, const struct pd_file *file, int target)
{
    *intent = (struct pd_intent)PD_NO_INTENT;
    int rc = pd_io_lock(target, PD_LOCK_WAIT);
    if (rc < 0)
        return rc;
    for (int i = 0; i < TRIES; i++) {
        rc = find_or_make(intent, file, target);
        if (rc != -EWOULDBLOCK)
            break;
        pd_sys_sleep_ns(TRY_NS);
    }
    if (rc == 0)
        rc = pd_intent_repair(intent, target);
    const int unlocked = pd_io_lock(target, PD_LOCK_FREE);
    if (rc == 0)
        rc = unlocked;
    if (rc < 0)
        let_go(intent, false);
    return rc;
}

void pd_intent_close(struct pd_intent *intent, int target)
{
    if (!intent->page)
        return;
    const bool locked = pd_io_lock(target, PD_LOCK_WAIT) == 0;
    /* What cannot be mended now stays for the next one who opens the file. */
    const bool removes = locked && pd_intent_repair(intent, target) == 0 &&
                         pd_io_lock(intent->fd, PD_LOCK_EXCLUSIVE) == 0;
    let_go(intent, removes);
    if (locked)
        (void)pd_io_lock(target, PD_LOCK_FREE);
}

void pd_intent_abandon(struct pd_intent *intent)
{
    if (intent->page)
        pd_sys_unmap(intent->page, PD_INTENT_BYTES);
    /* Not through the table in force: a test's faulty one has a mutex of its own. */
    if (intent->fd >= 0)
        (void)pd_sys_posix.close(intent->fd);
    intent->page = NULL;
    intent->fd = -1;
}

/* Whether what stands in the file begins as the batch does.  If not it is no part of the batch:
 * the number of the file may have been given to another since, and somebody without the flock may
 * have emptied and filled it. */
static int begins_alike(const struct pd_intent_page *page, int target, uint64_t end)
{
    uint8_t found[PD_INTENT_BEGIN_BYTES];
    const uint64_t part = end - page->offset;
    const size_t known = part < sizeof found ? (size_t)part : sizeof found;
    const ssize_t got = pd_io_read(target, found, known, page->offset);
    if (got == -EBADF)
        return 1; /* a file that may be written and not read */
    if (got < 0)
        return (int)got;
    return (size_t)got == known && memcmp(found, page->begin, known) == 0;
}

/* Nothing of the batch is in the file.  Its ring must not take the same bytes of another process,
 * at the same place, for it.  Whoever empties the ring looks at the notes under the same flock. */
static void forget_note(const struct pd_intent_page *page)
{
    struct pd_ring_note note;
    static const uint64_t none;
    if (!page->ring[0] || !memchr(page->ring, '\0', sizeof page->ring))
        return;
    const int fd = open_page(page->ring, 0);
    if (fd < 0)
        return;
    if (pd_io_read(fd, &note, sizeof note, page->note) == (ssize_t)sizeof note &&
        note.offset == page->offset && note.size == page->size)
        (void)pd_io_write(fd, &none, sizeof none, page->note + offsetof(struct pd_ring_note, size));
    (void)pd_io_close(fd);
}

int pd_intent_repair(struct pd_intent *intent, int target)
{
    struct pd_intent_page *page = intent->page;
    if (!page || __atomic_load_n(&page->size, __ATOMIC_SEQ_CST) == 0)
        return 0;
    struct stat st;
    int rc = pd_sys->stat(target, &st);
    if (rc < 0)
        return rc;
    const uint64_t end = (uint64_t)st.st_size;
    if (end > page->offset && end - page->offset < page->size) {
        rc = begins_alike(page, target, end);
        if (rc > 0)
            rc = pd_sys->truncate(target, (int64_t)page->offset);
        /* What may only be appended to (chattr +a) keeps the part. */
        if (rc < 0 && rc != -EPERM)
            return rc;
    }
    if (end < page->offset || end - page->offset < page->size)
        forget_note(page);
    __atomic_store_n(&page->size, 0, __ATOMIC_SEQ_CST);
    return 0;
}

void pd_intent_begin(const struct pd_log *log, const struct pd_slot *slot)
{
    struct pd_intent_page *page = log->intent.page;
    if (!page)
        return;
    const size_t begin = slot->size < sizeof page->begin ? slot->size : sizeof page->begin;
    memcpy(page->begin, slot->buffer.bytes, begin);
    page->offset = slot->offset;
    page->ring[0] = '\0';
    if (log->ring && slot->ring_end && strlen(log->ring_path) < sizeof page->ring) {
        strcpy(page->ring, log->ring_path);
        page->note = pd_ring_note_place(log, slot);
    }
    __atomic_store_n(&page->size, slot->size, __ATOMIC_SEQ_CST);
}

void pd_intent_end(const struct pd_log *log)
{
    if (log->intent.page)
        __atomic_store_n(&log->intent.page->size, 0, __ATOMIC_SEQ_CST);
}
