/* into_segments.c - where the batches of a log go: into segments of a fixed size. */
#include "log.h"

#include <assert.h>
#include <string.h>

static void name_of(const struct pd_log *log, char out[PD_NAME_BYTES])
{
    pd_segment_name(log->segment.number, out);
}

static uint64_t max_record(const struct pd_log *log)
{
    const uint64_t reserve = pd_align_up(PD_BATCH_BYTES, log->block_bytes);
    return log->segment_bytes - PD_DATA_OFFSET - reserve - PD_BATCH_BYTES - PD_FRAME_BYTES;
}

static bool fits(const struct pd_log *log, const struct pd_slot *slot, size_t frame_bytes,
                 bool closing)
{
    size_t used = slot->used ? slot->used : PD_BATCH_BYTES;
    /* One block stays free for the closing batch alone, so that closing needs no new segment. */
    uint64_t reserve = closing ? 0 : pd_align_up(PD_BATCH_BYTES, log->block_bytes);
    return log->write_offset + pd_align_up(used + frame_bytes, log->block_bytes) + reserve <=
           log->segment_bytes;
}

/* Wait until the keeper's zeros cannot land on top of what the batch is about to hold. */
static void await_zeros(struct pd_log *log, const struct pd_slot *slot)
{
    while (log->zero_begin < log->zero_end && !log->poisoned &&
           log->write_offset + slot->used + log->block_bytes > log->zero_begin &&
           log->write_offset < log->zero_end) {
        log->zero_off = true;
        pthread_cond_wait(&log->quiet, &log->mutex);
    }
}

static void seal(struct pd_log *log, struct pd_slot *slot)
{
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
    slot->offset = log->write_offset;
    slot->size = (size_t)pd_align_up(slot->used, log->block_bytes);
    assert(slot->offset + slot->size <= log->segment_bytes && slot->size <= slot->buffer.capacity);
    log->chain = pd_batch_encode(&header, slot->offset, slot->buffer.bytes);
    memset(slot->buffer.bytes + slot->used, 0, slot->size - slot->used);
    log->write_offset += slot->size;
    log->marked = slot->count == 0;
}

static int write_batch(struct pd_log *log, int fd, struct pd_slot *slot)
{
    size_t done;
    return pd_group_write(log, fd, slot, &done);
}

static void publish(struct pd_log *log)
{
    pd_lock_publish(&log->lock, log->durable_lsn);
}

const struct pd_sink pd_into_segments = {
    .header_bytes = PD_BATCH_BYTES,
    .frame_bytes = PD_FRAME_BYTES,
    .marks = true,
    .writing = "writing to a segment",
    .syncing = "syncing a segment",
    .name = name_of,
    .max_record = max_record,
    .fits = fits,
    .extend = pd_log_rotate,
    .await = await_zeros,
    .seal = seal,
    .write = write_batch,
    .publish = publish,
};
