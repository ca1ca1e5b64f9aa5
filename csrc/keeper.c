/*
 * keeper.c - the one background thread of an open log.
 *
 * Nothing waits for it in the ordinary case: it prepares what would otherwise have to be done at
 * the moment a commit needs it, and sees to what no committing thread is there to do.
 */
#include "log.h"

#include "error.h"
#include "sys.h"

#include <errno.h>

enum { ZERO_AHEAD_MOST = 8 << 20, ZERO_CHUNK = 1 << 20 };

/* After a failure to prepare a spare, the disk gets this long to recover. */
static const uint64_t spare_pause_ns = 1000000000u;

/* As good as for ever, and still within what a timespec takes. */
static const uint64_t parked_ns = 3600000000000u;

void pd_keeper_wake(struct pd_log *log)
{
    if (log->keeper_waits) {
        log->keeper_waits = false;
        pthread_cond_signal(&log->keeper_wake);
    }
}

/* A batch whose threads have all gone back to Python while no lane was free. */
static bool has_orphan(struct pd_log *log)
{
    const struct pd_slot *slot = pd_group_filling(log);
    return pd_group_has_content(slot) && slot->waiters == 0 && pd_group_can_lead(log);
}

/* How far ahead of the writer zeros pay: the more it writes, the further.  A log that is opened
 * and left alone costs nothing. */
static uint64_t zeros_ahead(const struct pd_log *log)
{
    const uint64_t ahead = 4 * log->stats.written_bytes;
    return ahead < ZERO_AHEAD_MOST ? ahead : ZERO_AHEAD_MOST;
}

/* Where zeros are to be written next. */
static uint64_t zeros_begin(const struct pd_log *log)
{
    uint64_t begin = log->zeroed_to > log->write_offset ? log->zeroed_to : log->write_offset;
    return pd_align_up(begin, PD_BLOCK_MAX);
}

static bool wants_zeros(const struct pd_log *log)
{
    /* First whether the segment is being changed, which happens without the mutex. */
    if (log->rotating || log->zero_off || !log->sink->marks)
        return false;
    const uint64_t begin = zeros_begin(log);
    return begin < log->segment_bytes && begin < log->write_offset + zeros_ahead(log) / 2;
}

/* Write zeros up to the window's end, chunk by chunk, as long as the writer stays behind. */
static void write_zeros(struct pd_log *log)
{
    const uint64_t end = log->write_offset + zeros_ahead(log);
    while (!log->keeper_stop && !log->poisoned && !log->rotating && !log->zero_off) {
        const uint64_t begin = zeros_begin(log);
        if (begin >= log->segment_bytes || begin >= end)
            break;
        const uint64_t rest = log->segment_bytes - begin;
        log->zero_begin = begin;
        log->zero_end = begin + (rest < ZERO_CHUNK ? rest : ZERO_CHUNK);
        const int fd = log->files.zero;
        const bool turns = log->files.turns;
        const uint64_t stop = log->zero_end;
        pthread_mutex_unlock(&log->mutex);
        int rc = pd_segment_zero(fd, begin, stop, log->file_sync, turns);
        pthread_mutex_lock(&log->mutex);
        log->zero_begin = log->zero_end = 0;
        log->zeroed_to = stop;
        pthread_cond_broadcast(&log->quiet);
        if (rc == -ENOMEM || rc == -ENOSPC) {
            /* A copy-on-write filesystem may need space here; the log does without zeros. */
            log->zero_off = true;
        } else if (rc < 0) {
            char name[PD_NAME_BYTES];
            pd_segment_name(log->segment.number, name);
            struct pd_error error;
            pd_error_os(&error, rc, "writing zeros ahead", name);
            pd_log_poison(log, &error);
        }
    }
}

static bool wants_spare(const struct pd_log *log, uint64_t now)
{
    return log->sink->marks && log->spare == PD_SPARE_NONE && !log->rotating &&
           now >= log->spare_retry_ns && log->write_offset > log->segment_bytes / 2;
}

static void prepare_spare(struct pd_log *log)
{
    const uint64_t serial = ++log->spare_serial;
    log->spare = PD_SPARE_PREPARING;
    pthread_mutex_unlock(&log->mutex);
    struct pd_error error;
    int rc = pd_segment_prepare(log->dir, serial, &log->shape, &error);
    pthread_mutex_lock(&log->mutex);
    log->spare = rc == 0 ? PD_SPARE_READY : PD_SPARE_NONE;
    log->spare_zeroed = false;
    /* Who needs the segment tries again and gets the error. */
    if (rc == 0)
        log->stats.segments_created++;
    else
        log->spare_retry_ns = pd_sys_now_ns() + spare_pause_ns;
    pthread_cond_broadcast(&log->quiet);
}

void pd_keeper_notice_write(struct pd_log *log)
{
    /* Committing threads come by here with each batch: a wake-up has to be worth its price. */
    if (log->keeper_parked || wants_zeros(log) || wants_spare(log, log->last_seal_ns))
        pd_keeper_wake(log);
}

/* When the next thing is due that only time brings about; 0 if nothing is. */
static uint64_t next_deadline(const struct pd_log *log)
{
    if (log->held)
        return log->retry_ns;
    if (log->target == PD_TARGET_INTERVAL)
        return log->unsynced_ns ? log->unsynced_ns + log->interval_ns : 0;
    if (log->sink->marks && pd_log_is_durable_target(log) && !log->marked && log->last_seal_ns)
        return log->last_seal_ns + log->interval_ns;
    return 0;
}

/* What is due: try again, force out what was written, or say in a batch that all of it was
 * durable. */
static void keep_deadline(struct pd_log *log)
{
    if (log->held)
        pd_group_retry(log);
    else if (log->target == PD_TARGET_INTERVAL)
        (void)pd_group_sync_written(log);
    else if (log->acked_seq != log->filling_seq || pd_group_has_content(pd_group_filling(log)) ||
             pd_group_mark(log, PD_BATCH_WATERMARK) < 0)
        /* Not idle after all, or no room for the mark: look again after an interval. */
        log->last_seal_ns = pd_sys_now_ns();
}

static void *run(void *context)
{
    struct pd_log *log = context;
    pthread_mutex_lock(&log->mutex);
    while (!log->keeper_stop && !log->poisoned) {
        const uint64_t now = pd_sys_now_ns();
        const uint64_t deadline = next_deadline(log);
        if (has_orphan(log)) {
            pd_group_lead(log);
        } else if (wants_zeros(log)) {
            write_zeros(log);
        } else if (wants_spare(log, now)) {
            prepare_spare(log);
        } else if (deadline && now >= deadline && !log->rotating) {
            keep_deadline(log);
        } else {
            log->keeper_waits = true;
            log->keeper_parked = deadline <= now;
            (void)pd_sys_cond_wait(&log->keeper_wake, &log->mutex,
                                   log->keeper_parked ? parked_ns : deadline - now);
            log->keeper_waits = log->keeper_parked = false;
        }
    }
    pthread_mutex_unlock(&log->mutex);
    return NULL;
}

int pd_keeper_start(struct pd_log *log)
{
    int rc = pd_sys_thread_start(&log->keeper, run, log);
    log->keeper_runs = rc == 0;
    return rc;
}

void pd_keeper_stop(struct pd_log *log)
{
    pthread_mutex_lock(&log->mutex);
    const bool runs = log->keeper_runs;
    log->keeper_runs = false;
    log->keeper_stop = true;
    pd_keeper_wake(log);
    pthread_mutex_unlock(&log->mutex);
    if (runs)
        pthread_join(log->keeper, NULL);
}
