/* async.c - async.h says how requests move. */
#include "async.h"

#include "error.h"
#include "log.h"
#include "sys.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pd_request {
    struct pd_request *next;
    struct pd_result result;
    bool finished;
    bool sync; /* everything accepted before is to be durable, whatever the target */
    uint32_t count;
    uint64_t ring_tail;
    size_t size;
    uint8_t data[];
};

/* Accept what the request holds: PD_DONE with the ticket, or -errno. */
static int accept(struct pd_log *log, const struct pd_request *request, struct pd_ticket *ticket)
{
    /* What a sync is to cover has been accepted: requests come in turn.  Nothing is what a plain
     * file is given by empty records. */
    if (request->size == 0)
        return PD_DONE;
    int rc;
    do
        rc = pd_log_accept(log, request->data, request->size, request->count, request->ring_tail,
                           ticket);
    while (rc == PD_FULL);
    return rc;
}

static int finish(struct pd_log *log, const struct pd_request *request, struct pd_ticket *ticket)
{
    int rc = PD_WAITING;
    if (request->sync) {
        while (rc == PD_WAITING || rc == PD_FULL)
            rc = pd_log_sync(log, request->ring_tail, ticket);
        return rc;
    }
    if (request->size == 0)
        while ((rc = pd_log_flush(log, request->ring_tail, ticket)) == PD_FULL)
            ;
    while (rc == PD_WAITING)
        rc = pd_log_await(log, ticket);
    return rc;
}

static void serve(struct pd_async *async, struct pd_request *request)
{
    struct pd_ticket ticket = {0, 0};
    int rc = accept(async->log, request, &ticket);
    pthread_mutex_lock(&async->mutex);
    async->accepting = false;
    if (async->todo)
        pthread_cond_signal(&async->work);
    pthread_mutex_unlock(&async->mutex);
    if (rc >= 0)
        rc = finish(async->log, request, &ticket);
    request->result.code = rc;
    request->result.last_lsn = ticket.lsn;
    if (rc < 0) {
        pd_log_error(async->log, &request->result.error);
    } else if (request->sync) {
        struct pd_log_info info;
        pd_log_info(async->log, &info);
        request->result.last_lsn = info.durable_lsn;
    }
    pthread_mutex_lock(&async->mutex);
    request->finished = true;
    const bool rings = async->oldest->finished && !async->rung;
    async->rung = async->rung || rings;
    pthread_mutex_unlock(&async->mutex);
    if (rings)
        pd_sys_bell_ring(async->bell[1]);
}

static void *run(void *context)
{
    struct pd_async *async = context;
    pthread_mutex_lock(&async->mutex);
    for (;;) {
        while (async->todo ? async->accepting : !async->stopping)
            pthread_cond_wait(&async->work, &async->mutex);
        struct pd_request *request = async->todo;
        if (!request)
            break;
        async->todo = request->next;
        async->accepting = true;
        pthread_mutex_unlock(&async->mutex);
        serve(async, request);
        pthread_mutex_lock(&async->mutex);
    }
    pthread_mutex_unlock(&async->mutex);
    return NULL;
}

int pd_async_open(struct pd_log *log, struct pd_async **out, struct pd_error *error)
{
    int rc = pd_log_enter(log);
    if (rc < 0) {
        pd_log_error(log, error);
        return rc;
    }
    pd_log_leave(log);
    struct pd_async *async = calloc(1, sizeof *async);
    if (!async)
        return pd_error_os(error, -ENOMEM, "starting asynchronous commits", "");
    async->log = log;
    pthread_mutex_init(&async->mutex, NULL);
    pd_sys_cond_init(&async->work);
    async->bell[0] = async->bell[1] = -1;
    rc = pd_sys_bell_open(async->bell);
    while (rc == 0 && async->worker_count < PD_ASYNC_WORKERS) {
        rc = pd_sys_thread_start(&async->workers[async->worker_count], run, async);
        async->worker_count += rc == 0;
    }
    if (rc < 0) {
        pd_error_os(error, rc, "starting asynchronous commits", "");
        pd_async_close(async);
        pd_async_free(async);
        return rc;
    }
    *out = async;
    return 0;
}

int pd_async_fd(const struct pd_async *async)
{
    return async->bell[0];
}

static int submit(struct pd_async *async, struct pd_request *request)
{
    if (async->log->forked) {
        free(request);
        return -ECHILD;
    }
    pthread_mutex_lock(&async->mutex);
    const bool refused = async->stopping;
    if (!refused) {
        if (async->newest)
            async->newest->next = request;
        else
            async->oldest = request;
        async->newest = request;
        if (!async->todo)
            async->todo = request;
        pthread_cond_signal(&async->work);
    }
    pthread_mutex_unlock(&async->mutex);
    if (refused)
        free(request);
    return refused ? -EBADF : 0;
}

/* Put the records one after the other, each behind its length if the log frames them. */
static void make_frames(uint8_t *out, size_t frame_bytes, const uint8_t *data,
                        const uint32_t *sizes, uint32_t count)
{
    assert(frame_bytes == 0 || frame_bytes == PD_FRAME_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        if (frame_bytes)
            pd_put32(out, sizes[i]);
        memcpy(out + frame_bytes, data, sizes[i]);
        out += frame_bytes + sizes[i];
        data += sizes[i];
    }
}

int pd_async_submit(struct pd_async *async, const void *data, size_t size, const uint32_t *sizes,
                    uint32_t count, uint64_t ring_tail)
{
    const size_t frame_bytes = async->log->sink->frame_bytes;
    const size_t framed = size + count * frame_bytes;
    struct pd_request *request = malloc(sizeof *request + framed);
    if (!request)
        return -ENOMEM;
    *request = (struct pd_request){.count = count, .ring_tail = ring_tail, .size = framed};
    make_frames(request->data, frame_bytes, data, sizes, count);
    return submit(async, request);
}

int pd_async_sync(struct pd_async *async, uint64_t ring_tail)
{
    struct pd_request *request = calloc(1, sizeof *request);
    if (!request)
        return -ENOMEM;
    request->sync = true;
    request->ring_tail = ring_tail;
    return submit(async, request);
}

bool pd_async_take(struct pd_async *async, struct pd_result *result)
{
    if (async->log->forked)
        return false;
    pthread_mutex_lock(&async->mutex);
    struct pd_request *request = async->oldest;
    const bool finished = request && request->finished;
    if (finished) {
        async->oldest = request->next;
        if (!request->next)
            async->newest = NULL;
        *result = request->result;
    }
    /* It goes on ringing for who does not take all that there is.  And a worker rings after it has
     * let go of the mutex: by then its result may be taken, and nobody would expect the ring. */
    if (!(async->oldest && async->oldest->finished)) {
        pd_sys_bell_clear(async->bell[0]);
        async->rung = false;
    }
    pthread_mutex_unlock(&async->mutex);
    if (finished)
        free(request);
    return finished;
}

void pd_async_close(struct pd_async *async)
{
    if (async->log->forked)
        return;
    pthread_mutex_lock(&async->mutex);
    async->stopping = true;
    pthread_cond_broadcast(&async->work);
    pthread_mutex_unlock(&async->mutex);
    while (async->worker_count > 0)
        pthread_join(async->workers[--async->worker_count], NULL);
}

void pd_async_free(struct pd_async *async)
{
    pd_sys_bell_close(async->bell);
    for (struct pd_request *request = async->oldest, *next; request; request = next) {
        next = request->next;
        free(request);
    }
    if (!async->log->forked) {
        pthread_mutex_destroy(&async->mutex);
        pthread_cond_destroy(&async->work);
    }
    free(async);
}
