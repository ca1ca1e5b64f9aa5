/* group.c - group commit: log.h says how batches move. */
#include "log.h"

#include "error.h"
#include "sys.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* How often a batch that found the disk full is tried again. */
static const uint64_t retry_pause_ns = 100000000;

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
    return !log->poisoned && !log->rotating && !log->writing && !pd_group_filling(log)->led &&
           log->filling_seq - log->acked_seq < log->lanes;
}

bool pd_group_is_next(struct pd_log *log)
{
    return pd_group_can_lead(log) &&
           (log->acked_seq == log->filling_seq || pd_group_filling(log)->callers * 2 >= log->crowd);
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
        pd_wait_wake(&log->slots[i], PD_WAKE_ALL);
    pthread_cond_broadcast(&log->room);
    pthread_cond_broadcast(&log->quiet);
    pd_keeper_wake(log);
}

void pd_log_poison_file(struct pd_log *log, int rc, const char *op)
{
    char name[PD_NAME_BYTES];
    log->sink->name(log, name);
    struct pd_error error;
    pd_error_os(&error, rc, op, name);
    pd_log_poison(log, &error);
}

/* Acknowledge, in order, the batches that have landed.  Says for each slot how many threads are to
 * be woken, and returns whether there are any. */
static bool settle(struct pd_log *log, uint64_t flush_ns, uint32_t waiters[PD_SLOTS])
{
    bool any = false;
    uint32_t sent = 0;
    while (!log->poisoned && log->acked_seq < log->filling_seq) {
        const uint64_t index = log->acked_seq % PD_SLOTS;
        struct pd_slot *slot = &log->slots[index];
        if (!slot->landed)
            break;
        log->written_lsn = slot->first_lsn + slot->count - 1;
        __atomic_store_n(&log->acked_seq, log->acked_seq + 1, __ATOMIC_RELEASE);
        sent += slot->callers;
        /* Those that wait find their batch acknowledged and leave the count alone. */
        waiters[index] = slot->waiters;
        any = any || slot->waiters;
        slot->waiters = 0;
        slot->landed = false;
        pd_ring_settle(log, slot);
        if (slot->buffer.capacity > 2 * log->batch_limit)
            pd_buffer_free(&slot->buffer);
    }
    if (sent)
        pd_hold_begin(log, sent, flush_ns);
    if (pd_log_is_durable_target(log) && log->written_lsn > log->durable_lsn) {
        __atomic_store_n(&log->durable_lsn, log->written_lsn, __ATOMIC_RELEASE);
        log->sink->publish(log);
    }
    pthread_cond_broadcast(&log->quiet);
    return any;
}

/* Wake whoever can make use of a free lane: NULL, or a slot of which one thread is to wake. */
static struct pd_slot *hand_over(struct pd_log *log)
{
    struct pd_slot *slot = pd_group_filling(log);
    if (!pd_group_has_content(slot) || !pd_group_is_next(log))
        return NULL;
    if (slot->waiters)
        return slot;
    pd_keeper_wake(log);
    return NULL;
}

/* Acknowledge what can be, and wake those concerned without the mutex: a thread that is woken
 * under it would only go back to sleep until it is free. */
static void settle_and_wake(struct pd_log *log, uint64_t flush_ns)
{
    uint32_t waiters[PD_SLOTS] = {0};
    const bool any = settle(log, flush_ns, waiters);
    struct pd_slot *next = hand_over(log);
    if (!any && !next)
        return;
    pthread_mutex_unlock(&log->mutex);
    if (next)
        pd_wait_hand_over(next);
    for (unsigned i = 0; i < PD_SLOTS; i++)
        if (waiters[i])
            pd_wait_release(&log->slots[i], waiters[i]);
    pthread_mutex_lock(&log->mutex);
}

/* Give the filling batch its place and its header, and begin the next one.  False after poison. */
static bool seal(struct pd_log *log, struct pd_slot *slot)
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
    log->sink->await(log, slot);
    slot->led = false;
    if (log->poisoned)
        return false;
    log->sink->seal(log, slot);
    slot->seq = log->filling_seq;
    if (!log->sink->ordered)
        pd_ring_note(log, slot);
    log->last_seal_ns = pd_sys_now_ns();
    log->stats.batches++;
    log->stats.written_bytes += slot->size;
    log->filling_seq++;
    pd_hold_end(log);
    struct pd_slot *next = pd_group_filling(log);
    next->used = 0;
    next->count = next->flags = next->payload_crc = next->callers = 0;
    next->ring_end = 0;
    next->first_lsn = log->next_lsn;
    /* Where a batch takes one commit, one thread of those that wait can go on, not all of them. */
    if (log->target == PD_TARGET_EACH)
        pthread_cond_signal(&log->room);
    else
        pthread_cond_broadcast(&log->room);
    pd_keeper_notice_write(log);
    return true;
}

/* The batch stays sealed until there is room for it: nothing of it is in the file. */
static void hold(struct pd_log *log, struct pd_slot *slot, uint32_t lane, int rc)
{
    char name[PD_NAME_BYTES];
    log->sink->name(log, name);
    pd_error_os(&log->full, rc, log->sink->writing, name);
    log->held = slot;
    log->held_lane = lane;
    log->retry_ns = pd_sys_now_ns() + retry_pause_ns;
    for (int i = 0; i < PD_SLOTS; i++)
        pd_wait_wake(&log->slots[i], PD_WAKE_ALL);
    pthread_cond_broadcast(&log->room);
    pd_keeper_wake(log);
}

/* An ordered write has ended: the next may begin while this one is forced out.  Without the mutex.
 */
static void pass_on(struct pd_log *log)
{
    pthread_mutex_lock(&log->mutex);
    log->writing = false;
    struct pd_slot *next = hand_over(log);
    pthread_mutex_unlock(&log->mutex);
    if (next)
        pd_wait_hand_over(next);
}

int pd_group_write(const struct pd_log *log, int fd, const struct pd_slot *slot, size_t *done)
{
    const void *bytes = slot->buffer.bytes;
    return log->writes_through
               ? pd_io_write_through(fd, bytes, slot->size, slot->offset, log->files.turns, done)
               : pd_io_write_counted(fd, bytes, slot->size, slot->offset, done);
}

/* Write a sealed batch and force it out as the target says. */
static void put(struct pd_log *log, struct pd_slot *slot, uint32_t lane)
{
    const int fd = log->files.lane[lane];
    const bool flushes = pd_log_is_durable_target(log);
    const uint64_t begun = log->last_seal_ns;
    pthread_mutex_unlock(&log->mutex);

    int rc = log->sink->write(log, fd, slot);
    const bool written = rc == 0;
    if (written && flushes && log->sink->ordered)
        pass_on(log);
    if (written && flushes)
        rc = pd_io_sync_often(fd, log->data_sync, log->files.turns);
    const uint64_t ended = pd_sys_now_ns();

    pthread_mutex_lock(&log->mutex);
    if (!written && log->sink->ordered && (rc == -ENOSPC || rc == -EDQUOT)) {
        hold(log, slot, lane, rc);
        return;
    }
    log->lane_busy[lane] = false;
    if (!written || !flushes)
        log->writing = false;
    if (flushes) {
        log->stats.flushes++;
        pd_histogram_add(&log->flush_times, ended - begun);
    } else if (!log->unsynced_ns) {
        log->unsynced_ns = ended;
        if (log->keeper_parked)
            pd_keeper_wake(log);
    }
    if (rc < 0)
        pd_log_poison_file(log, rc, written ? log->sink->syncing : log->sink->writing);
    else
        slot->landed = true;
    settle_and_wake(log, ended - begun);
}

void pd_group_lead(struct pd_log *log)
{
    struct pd_slot *slot = pd_group_filling(log);
    assert(pd_group_can_lead(log) && pd_group_has_content(slot));
    if (!seal(log, slot))
        return;
    const uint32_t lane = log->lane_busy[0] ? 1 : 0;
    assert(lane < log->lanes && !log->lane_busy[lane]);
    log->lane_busy[lane] = true;
    log->writing = log->sink->ordered;
    put(log, slot, lane);
}

void pd_group_retry(struct pd_log *log)
{
    struct pd_slot *slot = log->held;
    log->held = NULL;
    put(log, slot, log->held_lane);
}

int pd_group_refuses_full(struct pd_log *log)
{
    if (!log->held || !(log->refuses_full || log->closing))
        return 0;
    log->refusal = log->full;
    return -log->full.code;
}

/* Whether a frame may join the filling batch, apart from the segment's end. */
static bool fits_batch(struct pd_log *log, const struct pd_slot *slot, size_t frame_bytes)
{
    if (!pd_group_has_content(slot))
        /* What is larger than a whole batch has to be alone: memory stays bounded by it. */
        return frame_bytes <= log->batch_limit || log->acked_seq == log->filling_seq;
    return slot->used + frame_bytes <= log->batch_limit && log->target != PD_TARGET_EACH;
}

static int make_room(struct pd_log *log, size_t frame_bytes, bool closing)
{
    /* What no segment can hold would go through one segment after the other without an end. */
    assert(frame_bytes <= log->sink->frame_bytes + pd_log_max_record(log));
    uint64_t until = 0;
    /* Who is going to be refused looks first whether that is still so. */
    if (log->held && log->refuses_full)
        pd_group_retry(log);
    for (;;) {
        int rc = pd_group_usable(log);
        if (rc < 0)
            return rc;
        rc = pd_group_refuses_full(log);
        if (rc < 0)
            return rc;
        struct pd_slot *slot = pd_group_filling(log);
        const bool content = pd_group_has_content(slot);
        if (!log->rotating) {
            const bool in_place = log->sink->fits(log, slot, frame_bytes, closing);
            if (in_place && fits_batch(log, slot, frame_bytes))
                return PD_DONE;
            if (content && pd_group_can_lead(log)) {
                pd_group_lead(log);
                continue;
            }
            if (!in_place && !content) {
                rc = log->sink->extend(log);
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
    const size_t begin = slot->used ? slot->used : log->sink->header_bytes;
    const size_t prefix = count ? 0 : log->sink->frame_bytes;
    const size_t end = begin + prefix + size;
    int rc =
        pd_buffer_reserve(&slot->buffer, (size_t)pd_align_up(end, log->block_bytes), slot->used);
    if (rc < 0)
        return pd_error_os(&log->refusal, rc, "accepting a record", "");
    uint8_t *at = slot->buffer.bytes + begin;
    if (prefix)
        pd_put32(at, (uint32_t)size);
    memcpy(at + prefix, data, size);
    if (log->sink->header_bytes)
        slot->payload_crc = pd_crc32c(slot->payload_crc, at, prefix + size);
    slot->used = end;
    const uint32_t records = count ? count : 1;
    slot->count += records;
    log->next_lsn += records;
    log->stats.commits += records;
    log->stats.payload_bytes += size + prefix - (uint64_t)records * log->sink->frame_bytes;
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
