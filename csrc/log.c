/* log.c - calls on an open log: each takes the mutex, hands over to the parts, and gives it back.
 */
#include "log.h"

#include "error.h"
#include "sys.h"
#include "turn.h"

#include <errno.h>
#include <string.h>

/* How often a close looks whether the last call has ended. */
static const uint64_t leave_poll_ns = 1000000;

int pd_log_enter(struct pd_log *log)
{
    pd_turn_give();
    /* In a child the mutex may be held by a thread that does not exist here. */
    if (log->forked)
        return -ECHILD;
    pthread_mutex_lock(&log->mutex);
    int rc = pd_group_usable(log);
    if (rc == 0 && log->closing)
        rc = -EBADF;
    if (rc < 0)
        pthread_mutex_unlock(&log->mutex);
    else
        (void)__atomic_fetch_add(&log->users, 1, __ATOMIC_RELAXED);
    return rc;
}

void pd_log_leave(struct pd_log *log)
{
    (void)__atomic_fetch_sub(&log->users, 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&log->mutex);
}

/* A commit that asks for what can never be had. */
static int refuse_size(struct pd_log *log)
{
    return pd_error_set(&log->refusal, PD_ERROR_OS, EMSGSIZE, "committing a record", "",
                        "larger than the file can take");
}

/* Accept, with the log entered: PD_DONE with the ticket, PD_FULL, or -errno. */
static int accept_entered(struct pd_log *log, const void *data, size_t size, uint32_t count,
                          uint64_t ring_tail, struct pd_ticket *ticket)
{
    const size_t frame = size + (count ? 0 : log->sink->frame_bytes);
    if (frame > pd_log_max_record(log) + log->sink->frame_bytes)
        return refuse_size(log);
    int rc = pd_ring_drain(log, ring_tail);
    if (rc == PD_DONE)
        rc = pd_group_make_room(log, frame);
    if (rc == PD_DONE)
        rc = pd_group_accept(log, data, size, count);
    if (rc == PD_DONE) {
        pd_group_filling(log)->callers++;
        pd_hold_came_back(log);
        *ticket = (struct pd_ticket){log->next_lsn - 1, log->filling_seq};
    }
    return rc;
}

int pd_log_commit(struct pd_log *log, const void *data, size_t size, uint32_t count,
                  uint64_t ring_tail, struct pd_ticket *ticket)
{
    int rc = pd_log_enter(log);
    if (rc < 0)
        return rc;
    rc = accept_entered(log, data, size, count, ring_tail, ticket);
    if (rc == PD_DONE)
        return pd_group_wait_and_leave(log, ticket->seq, true);
    pd_log_leave(log);
    return rc;
}

int pd_log_accept(struct pd_log *log, const void *data, size_t size, uint32_t count,
                  uint64_t ring_tail, struct pd_ticket *ticket)
{
    int rc = pd_log_enter(log);
    if (rc < 0)
        return rc;
    rc = accept_entered(log, data, size, count, ring_tail, ticket);
    pd_log_leave(log);
    return rc;
}

static int wait_on(struct pd_log *log, const struct pd_ticket *ticket, bool takes_turn)
{
    if (log->forked)
        return -ECHILD;
    pthread_mutex_lock(&log->mutex);
    (void)__atomic_fetch_add(&log->users, 1, __ATOMIC_RELAXED);
    return pd_group_wait_and_leave(log, ticket->seq, takes_turn);
}

int pd_log_wait(struct pd_log *log, const struct pd_ticket *ticket)
{
    return wait_on(log, ticket, true);
}

int pd_log_await(struct pd_log *log, const struct pd_ticket *ticket)
{
    return wait_on(log, ticket, false);
}

struct pd_ticket pd_log_last_ticket(struct pd_log *log)
{
    const bool filling = pd_group_has_content(pd_group_filling(log));
    return (struct pd_ticket){log->next_lsn - 1, log->filling_seq - (filling ? 0 : 1)};
}

int pd_log_flush(struct pd_log *log, uint64_t ring_tail, struct pd_ticket *ticket)
{
    int rc = pd_log_enter(log);
    if (rc < 0)
        return rc;
    rc = pd_ring_drain(log, ring_tail);
    if (rc == PD_DONE) {
        *ticket = pd_log_last_ticket(log);
        rc = pd_group_wait(log, ticket->seq);
    }
    pd_log_leave(log);
    return rc;
}

int pd_log_sync(struct pd_log *log, uint64_t ring_tail, struct pd_ticket *ticket)
{
    int rc = pd_log_enter(log);
    if (rc < 0)
        return rc;
    rc = pd_ring_drain(log, ring_tail);
    /* A call that goes on where another stopped keeps its aim, or it would chase new records. */
    if (rc == PD_DONE && ticket->seq == 0)
        *ticket = pd_log_last_ticket(log);
    if (rc == PD_DONE)
        rc = pd_group_wait(log, ticket->seq);
    if (rc == PD_DONE && log->durable_lsn < ticket->lsn)
        rc = pd_group_sync_written(log);
    pd_log_leave(log);
    return rc;
}

uint64_t pd_log_max_record(const struct pd_log *log)
{
    return log->sink->max_record(log);
}

void pd_log_info(struct pd_log *log, struct pd_log_info *info)
{
    const bool forked = log->forked;
    if (!forked)
        pthread_mutex_lock(&log->mutex);
    *info = (struct pd_log_info){
        .target = log->target,
        .method = log->method,
        .block_bytes = log->block_bytes,
        .oldest_lsn = log->oldest_lsn,
        .durable_lsn = log->durable_lsn,
        .written_lsn = log->written_lsn,
        .next_lsn = log->next_lsn,
        .segment_bytes = log->segment_bytes,
        .max_record_bytes = pd_log_max_record(log),
        .torn_bytes = log->torn_bytes,
    };
    if (!forked)
        pthread_mutex_unlock(&log->mutex);
}

void pd_log_stats(struct pd_log *log, struct pd_stats *stats)
{
    const bool forked = log->forked;
    if (!forked)
        pthread_mutex_lock(&log->mutex);
    *stats = log->stats;
    stats->flush_p50_ns = pd_histogram_quantile(&log->flush_times, 0.5);
    stats->flush_p99_ns = pd_histogram_quantile(&log->flush_times, 0.99);
    stats->flush_p999_ns = pd_histogram_quantile(&log->flush_times, 0.999);
    stats->buffer_bytes = log->ring ? PD_RING_CHUNKS * log->ring_chunk : 0;
    for (int i = 0; i < PD_SLOTS; i++)
        stats->buffer_bytes += log->slots[i].buffer.capacity;
    if (!forked)
        pthread_mutex_unlock(&log->mutex);
}

void pd_log_error(struct pd_log *log, struct pd_error *error)
{
    if (log->forked) {
        pd_error_set(error, PD_ERROR_FORKED, ECHILD, "using the log", "",
                     "it was opened by the parent of this process");
        return;
    }
    pthread_mutex_lock(&log->mutex);
    if (log->poisoned)
        *error = log->poison;
    else if (log->closing || log->closed)
        pd_error_set(error, PD_ERROR_CLOSED, EBADF, "using the log", "", "it is closed");
    else
        *error = log->refusal;
    pthread_mutex_unlock(&log->mutex);
}

void pd_log_ring(struct pd_log *log, struct pd_ring_view *view)
{
    *view = (struct pd_ring_view){
        .fd = log->ring_fd,
        .bytes = log->ring,
        .chunks = PD_RING_CHUNKS,
        .chunk_bytes = log->ring_chunk,
        .salt = log->ring_page ? log->ring_page->salt : 0,
        .words = log->ring_words,
    };
}

/* Write what was accepted and the closing batch; the mutex is held, closing is set. */
static int finish(struct pd_log *log, uint64_t ring_tail)
{
    int rc;
    if (log->held)
        pd_group_retry(log);
    while ((rc = pd_ring_drain(log, ring_tail)) == PD_FULL)
        ;
    const struct pd_ticket last = pd_log_last_ticket(log);
    while (rc == PD_DONE && (rc = pd_group_wait(log, last.seq)) == PD_WAITING)
        ;
    /* Under "interval" closing is one more moment at which everything is forced out; "none"
     * leaves that to the operating system to the end. */
    if (rc == PD_DONE && log->target == PD_TARGET_INTERVAL)
        rc = pd_group_sync_written(log);
    if (rc == PD_DONE && log->sink->marks)
        rc = pd_group_mark(log, PD_BATCH_WATERMARK | PD_BATCH_CLOSE);
    if (rc == PD_DONE && log->sink->marks && log->target == PD_TARGET_INTERVAL)
        rc = pd_group_sync_written(log);
    return rc;
}

int pd_log_close(struct pd_log *log, uint64_t ring_tail)
{
    if (log->forked)
        return 0;
    pthread_mutex_lock(&log->mutex);
    if (log->closing) {
        pthread_mutex_unlock(&log->mutex);
        return 0;
    }
    log->closing = true;
    pd_ring_stop(log);
    /* Those who are inside a call finish it; nobody enters any more.  Some leave without the
     * mutex, and so without a word: look again soon. */
    while (__atomic_load_n(&log->users, __ATOMIC_ACQUIRE) > 0)
        (void)pd_sys_cond_wait(&log->quiet, &log->mutex, leave_poll_ns);
    pthread_mutex_unlock(&log->mutex);
    /* Before the closing batch, after which the keeper must not write another. */
    pd_keeper_stop(log);
    pthread_mutex_lock(&log->mutex);
    int rc = log->poisoned ? -log->poison.code : finish(log, ring_tail);
    /* What was appended and found no room will never be written: there is nobody to try again. */
    if (rc < 0)
        pd_log_poison(log, &log->refusal);
    log->closed = true;
    pthread_mutex_unlock(&log->mutex);
    int released = pd_log_release(log);
    return rc < 0 ? rc : released;
}
