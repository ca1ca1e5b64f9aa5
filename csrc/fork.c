/*
 * fork.c - what becomes of a log in a child process.
 *
 * A child shares the parent's descriptors and with them the lock, but none of its threads, and
 * finds mutexes in whatever state they were.  So in the child every log is cut off before anything
 * else runs: its descriptors are closed and its mapping is undone, which leaves the parent's lock
 * alone and lets it end with the parent, and each later call is refused.
 */
#include "log.h"

#include "sys.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct pd_log *logs;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int installed;

static void before_fork(void)
{
    pthread_mutex_lock(&mutex);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&mutex);
}

static void close_quietly(int *fd)
{
    /* Not through the table in force: a test's faulty one has a mutex of its own. */
    if (*fd >= 0)
        (void)pd_sys_posix.close(*fd);
    *fd = -1;
}

static void after_fork_in_child(void)
{
    for (struct pd_log *log = logs; log; log = log->next_open) {
        log->forked = true;
        pd_ring_abandon(log);
        pd_intent_abandon(&log->intent);
        for (int i = 0; i < PD_LANES_MAX; i++)
            close_quietly(&log->files.lane[i]);
        close_quietly(&log->files.sync);
        close_quietly(&log->files.zero);
        pd_lock_abandon(&log->lock);
        close_quietly(&log->dir);
    }
    logs = NULL;
    pd_sys_after_fork();
    pthread_mutex_unlock(&mutex);
}

static void install(void)
{
    installed = -pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

int pd_fork_register(struct pd_log *log)
{
    pthread_once(&once, install);
    if (installed < 0)
        return installed;
    pthread_mutex_lock(&mutex);
    log->next_open = logs;
    log->link = &logs;
    if (logs)
        logs->link = &log->next_open;
    logs = log;
    pthread_mutex_unlock(&mutex);
    return 0;
}

void pd_fork_forget(struct pd_log *log)
{
    pthread_mutex_lock(&mutex);
    if (log->link) {
        *log->link = log->next_open;
        if (log->next_open)
            log->next_open->link = log->link;
        log->link = NULL;
    }
    pthread_mutex_unlock(&mutex);
}
