/* rotate.c - go over to the next segment, and give old ones up. */
#include "log.h"

#include "error.h"
#include "sys.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* The spare to activate: the keeper's, or one made now.  Called without the mutex. */
static int find_spare(struct pd_log *log, uint64_t *serial, bool *zeroed, struct pd_error *error)
{
    pthread_mutex_lock(&log->mutex);
    while (log->spare == PD_SPARE_PREPARING)
        pthread_cond_wait(&log->quiet, &log->mutex);
    const bool ready = log->spare == PD_SPARE_READY;
    if (!ready)
        log->spare_serial++;
    *serial = log->spare_serial;
    *zeroed = ready && log->spare_zeroed;
    pthread_mutex_unlock(&log->mutex);
    if (ready)
        return 0;
    int rc = pd_segment_prepare(log->dir, *serial, &log->shape, error);
    if (rc == 0) {
        pthread_mutex_lock(&log->mutex);
        log->spare = PD_SPARE_READY;
        log->spare_zeroed = false;
        log->stats.segments_created++;
        pthread_mutex_unlock(&log->mutex);
    }
    return rc;
}

int pd_log_start_segment(struct pd_log *log, uint64_t serial, bool zeroed, struct pd_error *error)
{
    struct pd_segment_header header = {
        .version = PD_FORMAT_VERSION,
        .block_bytes = log->block_bytes,
        .flags = (uint32_t)log->method | (log->shape.prezero ? PD_SEGMENT_PREZERO : 0) |
                 (uint32_t)log->measured << PD_SEGMENT_MEASURED_SHIFT,
        .number = log->segment.number + 1,
        .base_lsn = log->next_lsn,
        .size = log->segment_bytes,
        .prev_number = log->segment.number,
        .prev_end_lsn = log->next_lsn - 1,
        .prev_end_offset = log->segment.number ? log->write_offset : 0,
        .prev_checksum = log->chain,
        .oldest_lsn = log->oldest_lsn,
        .durable_lsn = log->next_lsn - 1,
    };
    memcpy(header.uuid, log->uuid, sizeof header.uuid);
    int rc = pd_sys->random(&header.salt, sizeof header.salt);
    if (rc < 0)
        return pd_error_os(error, rc, "drawing a salt", "");
    rc = pd_segment_activate(log->dir, serial, &header, error);
    struct pd_segment_files files = PD_NO_FILES;
    if (rc == 0)
        rc = pd_segment_open_files(log->dir, header.number, log->method, log->target, log->lanes,
                                   &files, error);
    if (rc == 0 && (rc = pd_segments_add(&log->segments, header.number, header.base_lsn)) < 0)
        pd_error_os(error, rc, "activating a segment", "");
    if (rc < 0) {
        (void)pd_segment_close_files(&files);
        return rc;
    }
    /* What close reports of the old descriptors is no news: every byte through them is synced. */
    (void)pd_segment_close_files(&log->files);
    log->files = files;
    log->segment = header;
    log->write_offset = PD_DATA_OFFSET;
    log->zero_off = zeroed || !log->shape.prezero || !pd_log_is_durable_target(log);
    log->zeroed_to = PD_DATA_OFFSET + PD_PREPARED_ZEROS;
    return 0;
}

/* Wait until nothing touches the active segment.  Returns false after poison. */
static bool drain(struct pd_log *log)
{
    while (!log->poisoned && (log->acked_seq != log->filling_seq || log->syncing || log->retiring ||
                              log->zero_begin < log->zero_end))
        pthread_cond_wait(&log->quiet, &log->mutex);
    return !log->poisoned;
}

int pd_log_rotate(struct pd_log *log)
{
    assert(!log->rotating && !pd_group_has_content(pd_group_filling(log)));
    log->rotating = true;
    int rc = drain(log) ? 0 : -log->poison.code;
    /* The successor will say where this segment ends, so that end has to be durable first. */
    if (rc == 0 && !pd_log_is_durable_target(log))
        rc = pd_group_sync_now(log);
    if (rc == 0) {
        uint64_t serial = 0;
        bool zeroed = false;
        struct pd_error error;
        pthread_mutex_unlock(&log->mutex);
        rc = find_spare(log, &serial, &zeroed, &error);
        const bool prepared = rc == 0;
        if (prepared)
            rc = pd_log_start_segment(log, serial, zeroed, &error);
        pthread_mutex_lock(&log->mutex);
        if (rc == 0) {
            log->spare = PD_SPARE_NONE;
            log->spare_retry_ns = 0;
        } else if (prepared) {
            pd_log_poison(log, &error);
        } else {
            /* Nothing was accepted and nothing was lost: the log is as healthy as before. */
            log->refusal = error;
        }
    }
    log->rotating = false;
    pthread_cond_broadcast(&log->room);
    pthread_cond_broadcast(&log->quiet);
    return rc;
}

/* How many segments at the front hold only records below lsn. */
static size_t count_below(const struct pd_log *log, uint64_t lsn)
{
    size_t n = 0;
    while (n + 1 < log->segments.count && log->segments.entries[n + 1].base_lsn <= lsn)
        n++;
    return n;
}

/* Take n segments at the front away, one of them as the spare if there is none.  The mutex
 * is held on entry and on return; retiring keeps rotation away meanwhile. */
static int retire(struct pd_log *log, size_t n)
{
    struct pd_error error;
    const bool recycle = log->spare == PD_SPARE_NONE;
    const uint64_t serial = recycle ? ++log->spare_serial : 0;
    if (recycle)
        log->spare = PD_SPARE_PREPARING;
    pthread_mutex_unlock(&log->mutex);
    int rc = 0;
    size_t done = 0;
    bool recycled = false;
    while (done < n && rc == 0) {
        const uint64_t number = log->segments.entries[done].number;
        const bool reuse =
            recycle && !recycled && pd_segment_is_whole(log->dir, number, log->segment_bytes);
        rc = pd_segment_retire(log->dir, number, reuse, serial, &error);
        if (rc == 0) {
            recycled = recycled || reuse;
            done++;
        }
    }
    const int synced = done > 0 ? pd_io_sync_dir(log->dir) : 0;
    pthread_mutex_lock(&log->mutex);
    log->segments.count -= done;
    memmove(log->segments.entries, log->segments.entries + done,
            log->segments.count * sizeof *log->segments.entries);
    recycled = recycled && synced == 0;
    if (recycle)
        log->spare = recycled ? PD_SPARE_READY : PD_SPARE_NONE;
    if (recycled) {
        log->spare_zeroed = true;
        log->stats.segments_recycled++;
    }
    if (synced < 0) {
        pd_error_os(&error, synced, "syncing the directory", "");
        pd_log_poison(log, &error);
        return synced;
    }
    if (rc < 0)
        log->refusal = error;
    return rc;
}

static void wait_for_changes_of_segments(struct pd_log *log)
{
    while ((log->rotating || log->retiring) && !log->poisoned)
        pthread_cond_wait(&log->quiet, &log->mutex);
}

/* Give up what lies below lsn; the mutex is held, and truncating keeps others away. */
static int truncate_before(struct pd_log *log, uint64_t lsn)
{
    const uint64_t before = log->oldest_lsn;
    log->oldest_lsn = lsn;
    /* First the new beginning is durable in a batch; a missing segment below it is normal only
     * then. */
    int rc = pd_group_mark(log, PD_BATCH_WATERMARK);
    if (rc == 0 && !pd_log_is_durable_target(log))
        rc = pd_group_sync_written(log);
    if (rc == 0)
        pd_lock_describe(&log->lock, log->uuid, lsn);
    wait_for_changes_of_segments(log);
    if (rc == 0)
        rc = pd_group_usable(log);
    else
        log->oldest_lsn = before; /* so that the call can be repeated */
    const size_t n = rc == 0 ? count_below(log, lsn) : 0;
    if (n > 0) {
        log->retiring = true;
        rc = retire(log, n);
        log->retiring = false;
        pthread_cond_broadcast(&log->quiet);
    }
    return rc;
}

int pd_log_truncate_before(struct pd_log *log, uint64_t lsn)
{
    int rc = pd_log_enter(log);
    if (rc < 0)
        return rc;
    /* One at a time: who asks for less than another is doing returns once that is durable. */
    while (log->truncating && !log->poisoned)
        pthread_cond_wait(&log->quiet, &log->mutex);
    log->truncating = true;
    /* Rotation reads the oldest LSN without the mutex. */
    wait_for_changes_of_segments(log);
    if (lsn > log->next_lsn)
        rc = pd_error_set(&log->refusal, PD_ERROR_OS, EINVAL, "truncating the log", "",
                          "the LSN has not been written yet");
    else if (lsn > log->oldest_lsn || (lsn == log->oldest_lsn && count_below(log, lsn) > 0))
        rc = truncate_before(log, lsn);
    log->truncating = false;
    pthread_cond_broadcast(&log->quiet);
    pd_log_leave(log);
    return rc;
}
