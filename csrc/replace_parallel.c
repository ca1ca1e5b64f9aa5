/* replace_parallel.c - the same work for many items, in a few threads. */
#include "replace.h"

#include <string.h>

enum { WORKERS_MAX = 64 };

struct crew {
    pthread_mutex_t mutex;
    size_t next, count;
    pd_work work;
    void *context;
    int rc; /* of the first failure */
    size_t failed;
    struct pd_error error;
};

static void *labour(void *argument)
{
    struct crew *crew = argument;
    struct pd_error error;
    memset(&error, 0, sizeof error);
    pthread_mutex_lock(&crew->mutex);
    while (crew->rc >= 0 && crew->next < crew->count) {
        size_t index = crew->next++;
        pthread_mutex_unlock(&crew->mutex);
        int rc = crew->work(crew->context, index, &error);
        pthread_mutex_lock(&crew->mutex);
        if (rc < 0 && crew->rc >= 0) {
            crew->rc = rc;
            crew->failed = index;
            crew->error = error;
        }
    }
    pthread_mutex_unlock(&crew->mutex);
    return NULL;
}

int pd_parallel(size_t count, uint32_t workers, pd_work work, void *context, size_t *failed,
                struct pd_error *error)
{
    struct crew crew = {
        .mutex = PTHREAD_MUTEX_INITIALIZER, .count = count, .work = work, .context = context};
    pthread_t threads[WORKERS_MAX];
    size_t started = 0;
    size_t wanted = workers < count ? workers : count;
    /* The caller is a worker too, and the only one if the system has no threads to give. */
    while (started + 1 < wanted && started < WORKERS_MAX &&
           pd_sys_thread_start(&threads[started], labour, &crew) == 0)
        started++;
    labour(&crew);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&crew.mutex);
    if (crew.rc < 0) {
        *failed = crew.failed;
        if (error)
            *error = crew.error;
    }
    return crew.rc;
}
