/*
 * async.h - commits for one who must not wait: an event loop.
 *
 * A loop submits requests and goes on; two threads of the core take them in the order in which
 * they came, accept them into the log's batches like any committing thread, and ring a bell (a
 * descriptor that the loop watches) when the oldest request that the loop has not taken back is
 * finished.  The log knows nothing of all this: a request is a commit by another thread.
 *
 * While one thread waits for its flush the other may lead the second lane; accepting is the one
 * thing that they do in turn, so that records keep the order of the requests.
 */
#ifndef PD_ASYNC_H
#define PD_ASYNC_H

#include "pydurable.h"

#include <pthread.h>

struct pd_request;

struct pd_async {
    struct pd_log *log;
    int bell[2]; /* the end that is watched, the end that is rung; the same for an eventfd */

    pthread_mutex_t mutex;
    pthread_cond_t work; /* a request can be accepted, or the end has come */
    bool accepting;      /* a thread is about that: the others leave the next request alone */
    bool stopping;
    bool rung;                          /* and not heard yet */
    struct pd_request *oldest, *newest; /* those that were submitted and not taken back */
    struct pd_request *todo;            /* the first of them that nobody has begun with */

    pthread_t workers[PD_ASYNC_WORKERS];
    int worker_count;
};

#endif
