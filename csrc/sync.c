/* sync.c - force out what is written: for sync(), each interval, and at the end of a file. */
#include "log.h"

#include "sys.h"

#include <assert.h>

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
    const bool turns = log->files.turns;
    log->syncing = true;
    log->unsynced_ns = 0;
    pthread_mutex_unlock(&log->mutex);
    const int rc = pd_io_sync_often(fd, log->file_sync, turns);
    pthread_mutex_lock(&log->mutex);
    log->syncing = false;
    log->stats.flushes++;
    if (rc < 0) {
        pd_log_poison_file(log, rc, log->sink->syncing);
    } else if (target > log->durable_lsn) {
        __atomic_store_n(&log->durable_lsn, target, __ATOMIC_RELEASE);
        log->sink->publish(log);
    }
    pthread_cond_broadcast(&log->quiet);
    return rc;
}
