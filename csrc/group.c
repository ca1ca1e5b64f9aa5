/* group.c - group commit: log.h says how batches move. */
#include "log.h"

#include "error.h"
#include "sys.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct pd_slot *pd_group_filling(struct pd_log *log)
{
    return &log->slots[log->filling_seq % PD_SLOTS];
}

bool pd_group_has_content(const struct pd_slot *slot)
{
    return slot->count > 0 || slot->flags != 0;
}

bool pd_log_is_durable_target(const struct pd_log *log)
{
    return log->target >= PD_TARGET_GROUP;
}

bool pd_group_can_lead(struct pd_log *log)
{
    return !log->poisoned && !log->rotating && !pd_group_filling(log)->led &&
           log->filling_seq - log->acked_seq < log->lanes;
}

bool pd_group_is_due(struct pd_log *log)
{
    return pd_group_can_lead(log) &&
           (log->acked_seq == log->filling_seq || pd_group_filling(log)->callers >= log->expected);
}

int pd_group_usable(const struct pd_log *log)
{
    if (log->forked)
        return -ECHILD;
    if (log->poisoned)
        return -log->poison.code;
    return log->closed ? -EBADF : 0;
}

void pd_log_poison(struct pd_log *log, const struct pd_error *error)
{
    if (log->poisoned)
        return;
    log->poison = *error;
    log->poison.kind = PD_ERROR_POISONED;
    log->poisoned = true;
    pd_ring_stop(log);
    for (int i = 0; i < PD_SLOTS; i++)
        pd_wait_wake(&log->slots[i], true);
    pthread_cond_broadcast(&log->room);
    pthread_cond_broadcast(&log->quiet);
    pd_keeper_wake(log);
}

/* Poison after a failed operation on the active segment. */
static void poison_segment(struct pd_log *log, int rc, const char *op)
{
    char name[PD_NAME_BYTES];
    pd_segment_name(log->segment.number, name);
    struct pd_error error;
    pd_error_os(&error, rc, op, name);
    pd_log_poison(log, &error);
}

/* Acknowledge, in order, the batches that have landed.  Returns a bit for each slot whose threads
 * are to be woken. */
static unsigned settle(struct pd_log *log)
{
    unsigned woken = 0;
    while (!log->poisoned && log->acked_seq < log->filling_seq) {
        const unsigned index = (unsigned)(log->acked_seq % PD_SLOTS);
        struct pd_slot *slot = &log->slots[index];
        if (!slot->landed)
            break;
        log->written_lsn = slot->first_lsn + slot->count - 1;
        __atomic_store_n(&log->acked_seq, log->acked_seq + 1, __ATOMIC_RELEASE);
        log->expected = slot->callers;
        /* Those that wait find their batch acknowledged and leave the count alone. */
        if (slot->waiters)
            woken |= 1u << index;
        slot->waiters = 0;
        slot->landed = false;
        if (slot->buffer.capacity > 2 * log->batch_limit)
            pd_buffer_free(&slot->buffer);
    }
    if (pd_log_is_durable_target(log) && log->written_lsn > log->durable_lsn) {
        __atomic_store_n(&log->durable_lsn, log->written_lsn, __ATOMIC_RELEASE);
        pd_lock_publish(&log->lock, log->written_lsn);
    }
    pthread_cond_broadcast(&log->quiet);
    return woken;
}

/* Wake whoever can make use of a free lane: NULL, or a slot of which one thread is to wake. */
static struct pd_slot *hand_over(struct pd_log *log)
{
    struct pd_slot *slot = pd_group_filling(log);
    if (!pd_group_has_content(slot) || !pd_group_is_due(log))
        return NULL;
    if (slot->waiters)
        return slot;
    pd_keeper_wake(log);
    return NULL;
}

/* Acknowledge what can be, and wake those concerned without the mutex: a thread that is woken
 * under it would only go back to sleep until it is free. */
static void settle_and_wake(struct pd_log *log)
{
    const unsigned woken = settle(log);
    struct pd_slot *next = hand_over(log);
    if (!woken && !next)
        return;
    pthread_mutex_unlock(&log->mutex);
    if (next)
        pd_wait_wake(next, false);
    for (unsigned i = 0; i < PD_SLOTS; i++)
        if (woken & 1u << i)
            pd_wait_wake(&log->slots[i], true);
    pthread_mutex_lock(&log->mutex);
}

/* Wait until the keeper's zeros cannot land on top of what [begin, end) is about to hold. */
static void wait_for_zeros(struct pd_log *log, const struct pd_slot *slot)
{
    while (log->zero_begin < log->zero_end && !log->poisoned &&
           log->write_offset + slot->used + log->block_bytes > log->zero_begin &&
           log->write_offset < log->zero_end) {
        log->zero_off = true;
        pthread_cond_wait(&log->quiet, &log->mutex);
    }
}

/* Give the filling batch its place and its header, and begin the next one.  Returns the bytes to
 * write, padding included, or 0 after poison. */
static size_t seal(struct pd_log *log, struct pd_slot *slot, uint64_t *offset)
{
    slot->led = true;
    if (log->commit_delay_ns && slot->count && log->target != PD_TARGET_EACH) {
        uint64_t until = pd_sys_now_ns() + log->commit_delay_ns;
        for (uint64_t now;
             !log->poisoned && slot->used < log->batch_limit && (now = pd_sys_now_ns()) < until;) {
            pd_wait_sleep(log, slot, until - now);
            pthread_mutex_lock(&log->mutex);
        }
    }
    wait_for_zeros(log, slot);
    slot->led = false;
    if (log->poisoned)
        return 0;
    struct pd_batch_header header = {
        .salt = log->segment.salt,
        .first_lsn = slot->first_lsn,
        .durable_lsn = log->durable_lsn,
        .oldest_lsn = log->oldest_lsn,
        .payload_bytes = (uint32_t)(slot->used - PD_BATCH_BYTES),
        .count = slot->count,
        .payload_crc = slot->payload_crc,
        .prev_checksum = log->chain,
        .flags = slot->flags,
    };
    size_t size = (size_t)pd_align_up(slot->used, log->block_bytes);
    assert(log->write_offset + size <= log->segment_bytes && size <= slot->buffer.capacity);
    log->chain = pd_batch_encode(&header, log->write_offset, slot->buffer.bytes);
    memset(slot->buffer.bytes + slot->used, 0, size - slot->used);
    *offset = log->write_offset;
    log->write_offset += size;
    log->marked = slot->count == 0;
    log->last_seal_ns = pd_sys_now_ns();
    log->stats.batches++;
    log->stats.written_bytes += size;
    log->filling_seq++;
    struct pd_slot *next = pd_group_filling(log);
    next->used = 0;
    next->count = next->flags = next->payload_crc = next->callers = 0;
    next->first_lsn = log->next_lsn;
    /* Where a batch takes one commit, one thread of those that wait can go on, not all of them. */
    if (log->target == PD_TARGET_EACH)
        pthread_cond_signal(&log->room);
    else
        pthread_cond_broadcast(&log->room);
    pd_keeper_notice_write(log);
    return size;
}

void pd_group_lead(struct pd_log *log)
{
    struct pd_slot *slot = pd_group_filling(log);
    assert(pd_group_can_lead(log) && pd_group_has_content(slot));
    uint64_t offset;
    size_t size = seal(log, slot, &offset);
    if (size == 0)
        return;
    const uint32_t lane = log->lane_busy[0] ? 1 : 0;
    assert(lane < log->lanes && !log->lane_busy[lane]);
    log->lane_busy[lane] = true;
    const int fd = log->files.lane[lane];
    const bool flushes = pd_log_is_durable_target(log);
    const uint64_t begun = log->last_seal_ns;
    pthread_mutex_unlock(&log->mutex);

    int rc = pd_io_write(fd, slot->buffer.bytes, size, offset);
    const bool written = rc == 0;
    if (written && flushes)
        rc = pd_io_sync(fd, log->data_sync);
    const uint64_t ended = pd_sys_now_ns();

    pthread_mutex_lock(&log->mutex);
    log->lane_busy[lane] = false;
    if (flushes) {
        log->stats.flushes++;
        pd_histogram_add(&log->flush_times, ended - begun);
    } else if (!log->unsynced_ns) {
        log->unsynced_ns = ended;
        if (log->keeper_parked)
            pd_keeper_wake(log);
    }
    if (rc < 0)
        poison_segment(log, rc, written ? "syncing a segment" : "writing to a segment");
    else
        slot->landed = true;
    settle_and_wake(log);
}

/* Whether a frame may join the filling batch, apart from the segment's end. */
static bool fits_batch(struct pd_log *log, const struct pd_slot *slot, size_t frame_bytes)
{
    if (!pd_group_has_content(slot))
        /* What is larger than a whole batch has to be alone: memory stays bounded by it. */
        return frame_bytes <= log->batch_limit || log->acked_seq == log->filling_seq;
    return slot->used + frame_bytes <= log->batch_limit && log->target != PD_TARGET_EACH;
}

static bool fits_segment(struct pd_log *log, const struct pd_slot *slot, size_t frame_bytes,
                         bool closing)
{
    size_t used = slot->used ? slot->used : PD_BATCH_BYTES;
    /* One block stays free for the closing batch alone, so that closing needs no new segment. */
    uint64_t reserve = closing ? 0 : pd_align_up(PD_BATCH_BYTES, log->block_bytes);
    return log->write_offset + pd_align_up(used + frame_bytes, log->block_bytes) + reserve <=
           log->segment_bytes;
}

static int make_room(struct pd_log *log, size_t frame_bytes, bool closing)
{
    /* What no segment can hold would go through one segment after the other without an end. */
    assert(frame_bytes <= PD_FRAME_BYTES + pd_log_max_record(log));
    uint64_t until = 0;
    for (;;) {
        int rc = pd_group_usable(log);
        if (rc < 0)
            return rc;
        struct pd_slot *slot = pd_group_filling(log);
        const bool content = pd_group_has_content(slot);
        if (!log->rotating) {
            const bool in_segment = fits_segment(log, slot, frame_bytes, closing);
            if (in_segment && fits_batch(log, slot, frame_bytes))
                return PD_DONE;
            if (content && pd_group_can_lead(log)) {
                pd_group_lead(log);
                continue;
            }
            if (!in_segment && !content) {
                rc = pd_log_rotate(log);
                if (rc < 0)
                    return rc;
                continue;
            }
        }
        const uint64_t now = pd_sys_now_ns();
        if (!until)
            until = now + PD_WAIT_SLICE_NS;
        else if (now >= until)
            return PD_FULL;
        /* A record larger than a batch waits for the lanes to empty, others for the next batch. */
        pthread_cond_t *cond =
            !log->rotating && !content && frame_bytes > log->batch_limit ? &log->quiet : &log->room;
        (void)pd_sys_cond_wait(cond, &log->mutex, until - now);
    }
}

int pd_group_make_room(struct pd_log *log, size_t frame_bytes)
{
    return make_room(log, frame_bytes, false);
}

int pd_group_accept(struct pd_log *log, const void *data, size_t size, uint32_t count)
{
    struct pd_slot *slot = pd_group_filling(log);
    const size_t begin = slot->used ? slot->used : PD_BATCH_BYTES;
    const size_t prefix = count ? 0 : PD_FRAME_BYTES;
    const size_t end = begin + prefix + size;
    int rc =
        pd_buffer_reserve(&slot->buffer, (size_t)pd_align_up(end, log->block_bytes), slot->used);
    if (rc < 0)
        return pd_error_os(&log->refusal, rc, "accepting a record", "");
    uint8_t *at = slot->buffer.bytes + begin;
    if (prefix)
        pd_put32(at, (uint32_t)size);
    memcpy(at + prefix, data, size);
    slot->payload_crc = pd_crc32c(slot->payload_crc, at, prefix + size);
    slot->used = end;
    const uint32_t records = count ? count : 1;
    slot->count += records;
    log->next_lsn += records;
    log->stats.commits += records;
    log->stats.payload_bytes += size + prefix - (uint64_t)records * PD_FRAME_BYTES;
    return 0;
}

/* Make the filling batch one that is written even without a record. */
static int accept_mark(struct pd_log *log, uint32_t flags)
{
    struct pd_slot *slot = pd_group_filling(log);
    if (!slot->used) {
        size_t size = (size_t)pd_align_up(PD_BATCH_BYTES, log->block_bytes);
        int rc = pd_buffer_reserve(&slot->buffer, size, 0);
        if (rc < 0)
            return pd_error_os(&log->refusal, rc, "writing a watermark", "");
        slot->used = PD_BATCH_BYTES;
    }
    slot->flags |= flags;
    return 0;
}

int pd_group_mark(struct pd_log *log, uint32_t flags)
{
    int rc;
    while ((rc = make_room(log, 0, (flags & PD_BATCH_CLOSE) != 0)) == PD_FULL)
        ;
    if (rc < 0)
        return rc;
    rc = accept_mark(log, flags);
    if (rc < 0)
        return rc;
    const uint64_t seq = log->filling_seq;
    while ((rc = pd_group_wait(log, seq)) == PD_WAITING)
        ;
    return rc;
}

int pd_group_sync_written(struct pd_log *log)
{
    /* A rotation ends by closing the descriptor that would be synced here. */
    while ((log->syncing || log->rotating) && !log->poisoned)
        (void)pd_sys_cond_wait(&log->quiet, &log->mutex, PD_WAIT_SLICE_NS);
    return log->poisoned ? -log->poison.code : pd_group_sync_now(log);
}

int pd_group_sync_now(struct pd_log *log)
{
    assert(!log->syncing);
    const uint64_t target = log->written_lsn;
    const int fd = log->files.sync;
    log->syncing = true;
    log->unsynced_ns = 0;
    pthread_mutex_unlock(&log->mutex);
    const int rc = pd_io_sync(fd, log->file_sync);
    pthread_mutex_lock(&log->mutex);
    log->syncing = false;
    log->stats.flushes++;
    if (rc < 0) {
        poison_segment(log, rc, "syncing a segment");
    } else if (target > log->durable_lsn) {
        __atomic_store_n(&log->durable_lsn, target, __ATOMIC_RELEASE);
        pd_lock_publish(&log->lock, target);
    }
    pthread_cond_broadcast(&log->quiet);
    return rc;
}
