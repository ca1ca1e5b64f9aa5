/*
 * salvage.c - what a dead process had stored into its ring and not brought into its file.
 *
 * The ring is emptied by the machinery that its owner used, which moves its head as batches reach
 * the file.  So a salvage may itself be killed at any point, and be begun anew.
 */
#define _POSIX_C_SOURCE 200809L
#define _DARWIN_C_SOURCE /* O_NOFOLLOW, which macOS takes for an extension of its own */

#include "log.h"

#include "adler32.h"
#include "error.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES_MAX = 1 << 28 };

/* The ring at path, locked and mapped: 1, 0 if there is nothing to be had, -errno. */
static int attach(struct pd_log *log, const char *path)
{
    log->ring_path = strdup(path);
    if (!log->ring_path)
        return -ENOMEM;
    PD_RETRY(log->ring_fd, pd_sys->open(AT_FDCWD, path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0, 0));
    if (log->ring_fd < 0)
        return log->ring_fd == -ENOENT ? 0 : log->ring_fd;
    int rc = pd_io_lock(log->ring_fd, PD_LOCK_EXCLUSIVE);
    if (rc < 0)
        return rc == -EWOULDBLOCK ? 0 : rc; /* its owner lives */
    struct stat st;
    rc = pd_sys->stat(log->ring_fd, &st);
    if (rc < 0)
        return rc;
    const uint64_t bytes = (uint64_t)st.st_size - PD_RING_PAGE;
    if (st.st_nlink == 0 || !S_ISREG(st.st_mode) || st.st_size <= PD_RING_PAGE ||
        bytes % (PD_RING_CHUNKS * PD_RING_PAGE) || bytes / PD_RING_CHUNKS > CHUNK_BYTES_MAX)
        return 0;
    rc = pd_ring_map(log, bytes / PD_RING_CHUNKS);
    return rc < 0 ? rc : 1;
}

/* Whether the ring is of an earlier run of the machine: a power cut took what its file had not got,
 * and what became of the file since nobody knows. */
static bool is_of_another_boot(const struct pd_log *log)
{
    const struct pd_ring_page *page = log->ring_page;
    uint8_t boot[sizeof page->boot];
    return page->magic == pd_ring_magic && pd_sys_boot_id(boot) == 0 &&
           memcmp(boot, page->boot, sizeof boot) != 0;
}

/* Whether the page is of this target and this version, and makes sense. */
static bool is_ours(const struct pd_log *log)
{
    const struct pd_ring_page *page = log->ring_page;
    const uint32_t kind = log->dir >= 0 ? PD_RING_OF_LOG : PD_RING_OF_FILE;
    return page->magic == pd_ring_magic && page->version == PD_RING_VERSION &&
           page->chunks == PD_RING_CHUNKS && page->chunk_bytes == log->ring_chunk &&
           page->kind == kind && page->cleared >= PD_RING_CHUNKS &&
           page->head / log->ring_chunk < page->cleared &&
           page->head / log->ring_chunk + PD_RING_CHUNKS >= page->cleared &&
           (kind == PD_RING_OF_FILE || memcmp(page->uuid, log->uuid, sizeof page->uuid) == 0);
}

/* The length of the whole frame at a position, 0 if there is none. */
static uint64_t frame_bytes(const struct pd_log *log, uint64_t at)
{
    const uint64_t rest = log->ring_chunk - at % log->ring_chunk;
    const uint8_t *frame = log->ring + at % (PD_RING_CHUNKS * log->ring_chunk);
    if (rest < PD_RING_FRAME_BYTES || pd_get64(frame) == 0)
        return 0;
    const uint64_t size = pd_get32(frame);
    if (size > rest - PD_RING_FRAME_BYTES)
        return 0;
    const uint32_t sum =
        pd_adler32(log->ring_page->salt, frame + PD_RING_FRAME_BYTES, (size_t)size);
    return sum == pd_get32(frame + 4) ? PD_RING_FRAME_BYTES + size : 0;
}

/* Where the frames from the head on end.  What was left half stored is taken away, so that the
 * chunk ends there. */
static uint64_t find_tail(struct pd_log *log, uint64_t *records)
{
    const uint64_t chunk = log->ring_chunk;
    uint64_t tail = log->ring_page->head;
    for (uint64_t n = tail / chunk; n < log->ring_page->cleared; n++) {
        uint64_t at = n == tail / chunk ? tail : n * chunk;
        for (uint64_t size; at < (n + 1) * chunk && (size = frame_bytes(log, at)) > 0;) {
            tail = at += size;
            (*records)++;
        }
        if ((n + 1) * chunk - at >= PD_RING_FRAME_BYTES)
            memset(log->ring + at % (PD_RING_CHUNKS * chunk), 0, PD_RING_FRAME_BYTES);
    }
    return tail;
}

/* Whether the batch that a note speaks of is in the file. */
static int look_for(const struct pd_log *log, const struct pd_ring_note *note)
{
    struct stat st;
    const int rc = pd_sys->stat(log->files.sync, &st);
    if (rc < 0)
        return rc;
    const uint64_t end = (uint64_t)st.st_size;
    if (end < note->offset || end - note->offset < note->size)
        return 0;
    uint8_t *bytes = malloc((size_t)note->size);
    if (!bytes)
        return -ENOMEM;
    const ssize_t n = pd_io_read(log->files.sync, bytes, (size_t)note->size, note->offset);
    const bool there =
        n == (ssize_t)note->size && pd_crc32c(0, bytes, (size_t)note->size) == note->crc;
    free(bytes);
    return n < 0 ? (int)n : there;
}

/* Move the head over what is in the file although the dead process did not come to say so. */
static int reconcile(struct pd_log *log, bool same_file)
{
    struct pd_ring_page *page = log->ring_page;
    const struct pd_ring_note *last = NULL;
    uint64_t head = page->head;
    for (int i = 0; i < PD_RING_NOTES; i++) {
        const struct pd_ring_note *note = &page->notes[i];
        if (note->ring_end <= page->head || note->ring_end / log->ring_chunk > page->cleared)
            continue;
        if (page->kind == PD_RING_OF_LOG) {
            if (note->last_lsn && note->last_lsn < log->next_lsn && note->ring_end > head)
                head = note->ring_end;
        } else if (note->size && (!last || note->ring_end > last->ring_end)) {
            last = note;
        }
    }
    /* Batches are written one after the other: all but the last that was begun have ended. */
    for (int i = 0; last && i < PD_RING_NOTES; i++)
        if (page->notes[i].size && page->notes[i].ring_end < last->ring_end &&
            page->notes[i].ring_end > head)
            head = page->notes[i].ring_end;
    if (last && same_file) {
        const int found = look_for(log, last);
        if (found < 0)
            return found;
        if (found > 0)
            head = last->ring_end;
    }
    pd_ring_consume(log, head);
    memset(page->notes, 0, sizeof page->notes);
    return 0;
}

/* Bring everything up to tail into the file, and wait for what the target promises. */
static int empty(struct pd_log *log, uint64_t tail)
{
    struct pd_ticket ticket = {0};
    log->ring_copied = log->ring_page->head;
    log->ring_tail = 0;
    int rc;
    while ((rc = pd_log_flush(log, tail, &ticket)) == PD_FULL)
        ;
    while (rc == PD_WAITING)
        rc = pd_log_await(log, &ticket);
    return rc;
}

/* Under the lock that appending takes: nobody is in the middle of a write. */
static int reconcile_locked(struct pd_log *log, bool same_file)
{
    if (log->dir >= 0)
        return reconcile(log, true);
    int rc = pd_io_lock(log->files.sync, PD_LOCK_WAIT);
    if (rc < 0)
        return rc;
    rc = pd_intent_repair(&log->intent, log->files.sync);
    if (rc == 0)
        rc = reconcile(log, same_file);
    const int unlocked = pd_io_lock(log->files.sync, PD_LOCK_FREE);
    return rc < 0 ? rc : unlocked;
}

static bool is_same_file(const struct pd_log *log)
{
    struct stat st;
    return log->dir >= 0 || (pd_sys->stat(log->files.sync, &st) == 0 &&
                             (uint64_t)st.st_dev == log->ring_page->device &&
                             (uint64_t)st.st_ino == log->ring_page->inode);
}

int64_t pd_log_salvage(struct pd_log *log, const char *path, struct pd_error *error)
{
    uint64_t records = 0;
    bool keep = true;
    int rc = attach(log, path);
    if (rc > 0 && is_of_another_boot(log)) {
        keep = false;
    } else if (rc > 0 && is_ours(log)) {
        rc = reconcile_locked(log, is_same_file(log));
        const uint64_t tail = rc == 0 ? find_tail(log, &records) : 0;
        if (rc == 0 && records)
            rc = empty(log, tail);
        keep = rc < 0;
    }
    pd_ring_release(log, keep);
    log->ring_copied = log->ring_tail = 0;
    if (rc < 0)
        return pd_error_os(error, rc, "recovering a dead process's appended records", "");
    return (int64_t)records;
}
