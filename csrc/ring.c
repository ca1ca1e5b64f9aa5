/*
 * ring.c - the ring into which Python stores appended records without a system call: ring.h draws
 * its bytes.
 *
 * The tail belongs to Python, which passes it with each call; that call also orders the stores
 * before it, and nothing beyond a tail that was passed is read.  The head follows what has reached
 * the file, so that what lies between the two is what a dead process leaves to be appended.
 */
#define _POSIX_C_SOURCE 200809L
#define _DARWIN_C_SOURCE /* O_NOFOLLOW, which macOS takes for an extension of its own */

#include "ring.h"

#include "adler32.h"
#include "error.h"
#include "log.h"
#include "sys.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_BYTES = 64 };

static uint8_t *frame_at(const struct pd_log *log, uint64_t position)
{
    return log->ring + position % (PD_RING_CHUNKS * log->ring_chunk);
}

/* Whether no further frame lies in the chunk of this position. */
static bool chunk_ends(const struct pd_log *log, uint64_t position)
{
    const uint64_t rest = log->ring_chunk - position % log->ring_chunk;
    return rest < PD_RING_FRAME_BYTES || pd_get64(frame_at(log, position)) == 0;
}

/* Go over to the next chunk where a tail that was passed says that this one is full. */
static uint64_t skip_ends(const struct pd_log *log, uint64_t position)
{
    for (;;) {
        const uint64_t end = (position / log->ring_chunk + 1) * log->ring_chunk;
        if (end > log->ring_tail || !chunk_ends(log, position))
            return position;
        position = end;
    }
}

void pd_ring_consume(struct pd_log *log, uint64_t position)
{
    struct pd_ring_page *page = log->ring_page;
    if (position <= page->head)
        return;
    __atomic_store_n(&page->head, position, __ATOMIC_RELEASE);
    uint64_t cleared = page->cleared;
    while (cleared - PD_RING_CHUNKS < position / log->ring_chunk) {
        memset(frame_at(log, cleared * log->ring_chunk), 0, (size_t)log->ring_chunk);
        cleared++;
    }
    __atomic_store_n(&page->cleared, cleared, __ATOMIC_RELEASE);
    if (log->ring_words)
        __atomic_store_n(&log->ring_words[PD_RING_CLEARED], cleared, __ATOMIC_RELEASE);
}

void pd_ring_settle(struct pd_log *log, const struct pd_slot *landed)
{
    if (!log->ring)
        return;
    if (landed && landed->ring_end)
        pd_ring_consume(log, landed->ring_end);
    if (log->acked_seq == log->filling_seq && !pd_group_has_content(pd_group_filling(log)))
        pd_ring_consume(log, log->ring_copied);
}

void pd_ring_note(struct pd_log *log, const struct pd_slot *slot)
{
    if (!log->ring || !slot->ring_end)
        return;
    struct pd_ring_note *note = &log->ring_page->notes[slot->seq % PD_RING_NOTES];
    __atomic_store_n(&note->last_lsn, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&note->size, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&note->ring_end, slot->ring_end, __ATOMIC_SEQ_CST);
    if (log->sink->ordered) {
        note->crc = pd_crc32c(0, slot->buffer.bytes, slot->size);
        __atomic_store_n(&note->offset, slot->offset, __ATOMIC_SEQ_CST);
        __atomic_store_n(&note->size, slot->size, __ATOMIC_SEQ_CST);
    } else {
        __atomic_store_n(&note->last_lsn, slot->first_lsn + slot->count - 1, __ATOMIC_SEQ_CST);
    }
}

uint64_t pd_ring_note_place(const struct pd_log *log, const struct pd_slot *slot)
{
    return PD_RING_CHUNKS * log->ring_chunk + offsetof(struct pd_ring_page, notes) +
           slot->seq % PD_RING_NOTES * sizeof(struct pd_ring_note);
}

void pd_ring_forget_note(struct pd_log *log, const struct pd_slot *slot)
{
    if (log->ring && slot->ring_end)
        __atomic_store_n(&log->ring_page->notes[slot->seq % PD_RING_NOTES].size, 0,
                         __ATOMIC_SEQ_CST);
}

void pd_ring_move(struct pd_log *log)
{
    struct stat st;
    if (!log->ring || pd_sys->stat(log->files.sync, &st) < 0)
        return;
    /* Everything noted is in the old file, and consumed. */
    memset(log->ring_page->notes, 0, sizeof log->ring_page->notes);
    __atomic_store_n(&log->ring_page->device, (uint64_t)st.st_dev, __ATOMIC_SEQ_CST);
    __atomic_store_n(&log->ring_page->inode, (uint64_t)st.st_ino, __ATOMIC_SEQ_CST);
    __atomic_store_n(&log->ring_page->born, pd_sys_born(log->files.sync), __ATOMIC_SEQ_CST);
}

void pd_ring_stop(struct pd_log *log)
{
    if (log->ring_words)
        __atomic_store_n(&log->ring_words[PD_RING_STOP], 1, __ATOMIC_RELEASE);
}

int pd_ring_drain(struct pd_log *log, uint64_t tail)
{
    if (!log->ring)
        return PD_DONE;
    if (tail > log->ring_tail)
        log->ring_tail = tail;
    int rc = PD_DONE;
    while (rc == PD_DONE) {
        const uint64_t at = log->ring_copied = skip_ends(log, log->ring_copied);
        if (at >= tail)
            break;
        const uint8_t *frame = frame_at(log, at);
        const uint32_t length = pd_get32(frame);
        const uint64_t end = at + PD_RING_FRAME_BYTES + length;
        assert(at / log->ring_chunk == (end - 1) / log->ring_chunk && end <= tail);
        rc = pd_group_make_room(log, log->sink->frame_bytes + length);
        /* Making room may have let go of the mutex, and another thread have drained. */
        if (log->ring_copied != at)
            continue;
        if (rc == PD_DONE)
            rc = pd_group_accept(log, frame + PD_RING_FRAME_BYTES, length, 0);
        if (rc == PD_DONE) {
            log->ring_copied = skip_ends(log, end);
            pd_group_filling(log)->ring_end = log->ring_copied;
        }
    }
    pd_ring_settle(log, NULL);
    return rc;
}

bool pd_ring_is_empty(const struct pd_log *log)
{
    const struct pd_ring_page *page = log->ring_page;
    return page->head == log->ring_copied && chunk_ends(log, log->ring_copied);
}

/* Real space: a store into a mapping that finds none is no error but a SIGBUS (mmap(2)).  Memory
 * filesystems reserve pages in fallocate; elsewhere written blocks are what is certain. */
int pd_ring_reserve(int fd, uint64_t bytes)
{
    int rc = pd_io_allocate(fd, bytes);
    if ((rc < 0 && rc != -EOPNOTSUPP) || pd_sys_filesystem(fd) == PD_FS_VOLATILE)
        return rc;
    /* btrfs and ZFS want new blocks for every store.  APFS wants them only where a snapshot shares
     * the old ones, and has no memory filesystem beside it. */
    if (pd_sys_filesystem(fd) == PD_FS_COPY_ON_WRITE && !pd_sys_needs_fullfsync())
        return -EOPNOTSUPP;
    uint8_t zeros[PD_RING_PAGE] = {0};
    rc = 0;
    for (uint64_t at = 0; at < bytes && rc == 0; at += sizeof zeros)
        rc = pd_io_write(fd, zeros, sizeof zeros, at);
    return rc;
}

int pd_ring_map(struct pd_log *log, uint64_t chunk_bytes)
{
    int rc = 0;
    const uint64_t bytes = PD_RING_CHUNKS * chunk_bytes;
    log->ring = pd_sys->map(log->ring_fd, (size_t)bytes + PD_RING_PAGE, true, &rc);
    if (!log->ring)
        return rc;
    log->ring_chunk = chunk_bytes;
    log->ring_page = (struct pd_ring_page *)(void *)(log->ring + bytes);
    return 0;
}

/* Touch every page now, or the first store into each takes a fault: with lines of 100 bytes one in
 * forty, which would be the 99th percentile of appending. */
static void map_pages(struct pd_log *log)
{
    memset(log->ring, 0, (size_t)(PD_RING_CHUNKS * log->ring_chunk));
}

static int describe(struct pd_log *log, const char *target)
{
    struct pd_ring_page *page = log->ring_page;
    struct stat st;
    const int fd = log->dir >= 0 ? log->dir : log->files.sync;
    int rc = pd_sys->stat(fd, &st);
    if (rc == 0)
        rc = pd_sys->random(&page->salt, sizeof page->salt);
    if (rc == 0)
        rc = pd_sys_boot_id(page->boot);
    if (rc < 0)
        return rc;
    /* A sum of Adler-32 to begin with; not zero, so that no frame begins with eight zero bytes. */
    page->salt = (page->salt >> 16) % PD_ADLER32_BASE << 16 |
                 (1 + (page->salt & 0xffff) % (PD_ADLER32_BASE - 1));
    page->version = PD_RING_VERSION;
    page->chunks = PD_RING_CHUNKS;
    page->chunk_bytes = log->ring_chunk;
    page->kind = log->dir >= 0 ? PD_RING_OF_LOG : PD_RING_OF_FILE;
    page->pid = (uint64_t)pd_sys_pid();
    page->device = (uint64_t)st.st_dev;
    page->inode = (uint64_t)st.st_ino;
    page->born = pd_sys_born(fd);
    memcpy(page->uuid, log->uuid, sizeof page->uuid);
    if (strlen(target) >= sizeof page->path)
        return -ENAMETOOLONG;
    strcpy(page->path, target);
    page->cleared = log->ring_words[PD_RING_CLEARED] = PD_RING_CHUNKS;
    /* Last, so that who finds it finds all of it. */
    __atomic_store_n(&page->magic, pd_ring_magic, __ATOMIC_RELEASE);
    return 0;
}

static int make(struct pd_log *log, const char *path, const char *target, uint64_t bytes)
{
    log->ring_path = strdup(path);
    if (!log->ring_path)
        return -ENOMEM;
    PD_RETRY(log->ring_fd,
             pd_sys->open(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0, 0600));
    if (log->ring_fd < 0)
        return log->ring_fd;
    /* Whoever finds it locked knows that its process lives. */
    int rc = pd_io_lock(log->ring_fd, PD_LOCK_EXCLUSIVE);
    if (rc == 0)
        rc = pd_ring_reserve(log->ring_fd, bytes + PD_RING_PAGE);
    if (rc == 0)
        rc = pd_ring_map(log, bytes / PD_RING_CHUNKS);
    if (rc == 0)
        map_pages(log);
    return rc == 0 ? describe(log, target) : rc;
}

int pd_log_make_ring(struct pd_log *log, const char *path, const char *target, uint64_t bytes,
                     struct pd_error *error)
{
    if (!log->ring_words)
        log->ring_words = aligned_alloc(WORDS_BYTES, WORDS_BYTES);
    int rc = log->ring_words ? 0 : -ENOMEM;
    if (rc == 0) {
        memset(log->ring_words, 0, WORDS_BYTES);
        rc = make(log, path, target, bytes);
    }
    if (rc == 0)
        return 0;
    pd_ring_release(log, false);
    return pd_error_os(error, rc, "making the ring of appended records", "");
}

void pd_ring_release(struct pd_log *log, bool keep)
{
    if (log->ring)
        pd_sys_unmap(log->ring, (size_t)(PD_RING_CHUNKS * log->ring_chunk) + PD_RING_PAGE);
    log->ring = NULL;
    log->ring_page = NULL;
    if (log->ring_fd >= 0) {
        /* Before its lock is given back: nobody is to take it for a dead process's. */
        if (!keep)
            (void)pd_sys->unlink(AT_FDCWD, log->ring_path);
        (void)pd_io_close(log->ring_fd);
    }
    log->ring_fd = -1;
    free(log->ring_path);
    log->ring_path = NULL;
}

void pd_ring_abandon(struct pd_log *log)
{
    pd_ring_stop(log);
    if (log->ring)
        pd_sys_unmap(log->ring, (size_t)(PD_RING_CHUNKS * log->ring_chunk) + PD_RING_PAGE);
    log->ring = NULL;
    log->ring_page = NULL;
    /* Not through the table in force: a test's faulty one has a mutex of its own. */
    if (log->ring_fd >= 0)
        (void)pd_sys_posix.close(log->ring_fd);
    log->ring_fd = -1;
}

void pd_ring_layout(uint64_t *page_bytes, uint64_t *magic, uint64_t *path_offset)
{
    *page_bytes = PD_RING_PAGE;
    *magic = pd_ring_magic;
    *path_offset = offsetof(struct pd_ring_page, path);
}
