/* file.c - from a path to a plain file that takes commits; going over to a new file. */
#define _POSIX_C_SOURCE 200809L

#include "log.h"

#include "error.h"
#include "sys.h"
#include "trim.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static const char sharing[] = "sharing the file with other processes";

static int open_one(const struct pd_log *log, int access, int extra)
{
    const int flags = access | O_CREAT | O_APPEND | O_NOCTTY | O_NONBLOCK;
    int fd;
    PD_RETRY(fd, pd_sys->open(AT_FDCWD, log->file.path, flags, extra, log->file.mode));
    return fd;
}

/* The same file under another description: the name may have moved on since. */
static int check_same(int fd, const struct stat *first)
{
    struct stat st;
    int rc = pd_sys->stat(fd, &st);
    if (rc < 0)
        return rc;
    return st.st_dev == first->st_dev && st.st_ino == first->st_ino ? 0 : -ESTALE;
}

static int open_lanes(const struct pd_log *log, struct pd_segment_files *files)
{
    const struct pd_io_method io = pd_io_method(log->method, log->target);
    struct stat first;
    assert(log->lanes <= PD_LANES_MAX);
    int rc = files->sync = open_one(log, O_RDWR, 0);
    /* What may be written and not read is good enough. */
    if (rc == -EACCES)
        rc = files->sync = open_one(log, O_WRONLY, 0);
    if (rc >= 0)
        rc = pd_sys->stat(files->sync, &first);
    if (rc >= 0 && !S_ISREG(first.st_mode))
        rc = -EINVAL;
    for (uint32_t i = 0; i < log->lanes && rc >= 0; i++) {
        rc = files->lane[i] = open_one(log, O_WRONLY, io.extra);
        if (rc >= 0)
            rc = check_same(rc, &first);
    }
    if (rc < 0)
        return rc;
    files->turns = pd_sys_has_turns(files->sync);
    return 0;
}

int pd_file_open_all(struct pd_log *log, struct pd_segment_files *files, struct pd_error *error)
{
    static const char op[] = "opening the file to append to";
    int rc;
    do {
        *files = (struct pd_segment_files)PD_NO_FILES;
        rc = open_lanes(log, files);
        if (rc < 0)
            (void)pd_segment_close_files(files);
        /* Somebody rotated it at this moment: once more, and it is the new one. */
    } while (rc == -ESTALE);
    if (rc == -EINVAL)
        return pd_error_set(error, PD_ERROR_OS, EINVAL, op, "", "it is no regular file");
    if (rc < 0)
        return pd_error_os(error, rc, op, "");
    /* Where a write has failed before, Linux keeps the page and calls it clean.  On ext4 its block
     * may still count as unwritten, and a further write into that page would not change that:
     * after a power cut what it holds would be zeros (docs/powercut.md).  Read it afresh. */
    pd_sys_drop_cache(files->sync);
    /* Under "none" too: a later sync promises the bytes, and so the name that leads to them. */
    rc = pd_log_sync_parent(log->file.path);
    if (rc < 0) {
        (void)pd_segment_close_files(files);
        return pd_error_os(error, rc, "syncing the parent directory", "");
    }
    return 0;
}

/* What "auto" stands for.  A growing file has nothing to gain from O_DIRECT, and with O_DSYNC no
 * write could begin while the one before is forced out. */
static int choose_method(int asked)
{
    if (asked != PD_METHOD_AUTO)
        return asked;
    return pd_sys_needs_fullfsync() ? PD_METHOD_FULLFSYNC : PD_METHOD_FDATASYNC;
}

static void set_options(struct pd_log *log, const struct pd_file_options *options)
{
    log->target = options->target;
    log->method = choose_method(options->method);
    log->lanes = options->lanes;
    log->interval_ns = options->interval_ns;
    log->commit_delay_ns = options->commit_delay_ns;
    log->refuses_full = options->refuses_full;
    log->file.mode = (mode_t)options->mode;
    log->block_bytes = 1;
    log->zero_off = true;
    log->next_lsn = log->oldest_lsn = 1;
    (void)pd_method_use(log);
}

int pd_file_open(const char *path, const struct pd_file_options *options, struct pd_log **out,
                 struct pd_error *error)
{
    struct pd_log *log = pd_log_new(&pd_into_file, error);
    if (!log)
        return -ENOMEM;
    set_options(log, options);
    log->file.path = strdup(path);
    int rc = log->file.path ? pd_file_open_all(log, &log->files, error)
                            : pd_error_os(error, -ENOMEM, "opening the file", "");
    if (rc == 0 && options->trim) {
        const int64_t cut = pd_trim_locked(log->files.sync, error);
        rc = cut < 0 ? (int)cut : 0;
    }
    if (rc == 0)
        rc = pd_log_start_serving(log, options->max_pending_bytes, error);
    if (rc < 0) {
        (void)pd_log_release(log);
        pd_log_free(log);
        return rc;
    }
    *out = log;
    return 0;
}

int pd_file_fd(struct pd_log *log)
{
    if (log->forked)
        return -1;
    pthread_mutex_lock(&log->mutex);
    const int fd = log->files.sync;
    pthread_mutex_unlock(&log->mutex);
    return fd;
}

int pd_file_share(struct pd_log *log, const char *shared, const char *beside,
                  struct pd_error *error)
{
    log->file.places[0] = strdup(shared);
    log->file.places[1] = strdup(beside);
    const int rc = log->file.places[0] && log->file.places[1]
                       ? pd_intent_open(&log->intent, &log->file, log->files.sync)
                       : -ENOMEM;
    return rc < 0 ? pd_error_os(error, rc, sharing, "") : 0;
}

/* What the path names now. */
static int open_next(struct pd_log *log, struct pd_segment_files *files, struct pd_intent *intent,
                     struct pd_error *error)
{
    *intent = (struct pd_intent)PD_NO_INTENT;
    int rc = pd_file_open_all(log, files, error);
    if (rc < 0 || !log->intent.page)
        return rc;
    rc = pd_intent_open(intent, &log->file, files->sync);
    if (rc == 0)
        return 0;
    (void)pd_segment_close_files(files);
    return pd_error_os(error, rc, sharing, "");
}

/* Go over to what the path names now.  The mutex is held on entry and on return; rotating keeps
 * everybody else away from the descriptors, and what was accepted goes to the new file. */
static int swap_files(struct pd_log *log)
{
    while (!log->poisoned && (log->acked_seq != log->filling_seq || log->syncing))
        pthread_cond_wait(&log->quiet, &log->mutex);
    int rc = log->poisoned ? -log->poison.code : 0;
    /* No later sync reaches what the old file holds. */
    if (rc == 0 && log->written_lsn > log->durable_lsn)
        rc = pd_group_sync_now(log);
    if (rc < 0)
        return rc;
    struct pd_segment_files files;
    struct pd_intent intent;
    struct pd_error error;
    pthread_mutex_unlock(&log->mutex);
    rc = open_next(log, &files, &intent, &error);
    pthread_mutex_lock(&log->mutex);
    if (rc < 0) {
        log->refusal = error;
        return rc;
    }
    struct pd_segment_files old = log->files;
    struct pd_intent old_intent = log->intent;
    log->files = files;
    log->intent = intent;
    pd_ring_move(log);
    pthread_mutex_unlock(&log->mutex);
    pd_intent_close(&old_intent, old.sync);
    /* What close reports of the old descriptors is no news: all that matters is synced. */
    (void)pd_segment_close_files(&old);
    pthread_mutex_lock(&log->mutex);
    return 0;
}

int pd_file_reopen(struct pd_log *log, uint64_t ring_tail, struct pd_ticket *ticket)
{
    int rc = pd_log_enter(log);
    if (rc < 0)
        return rc;
    if (ticket->seq == 0) {
        rc = pd_ring_drain(log, ring_tail);
        if (rc == PD_DONE)
            *ticket = pd_log_last_ticket(log);
    }
    if (rc == PD_DONE)
        rc = pd_group_wait(log, ticket->seq);
    while (rc == PD_DONE && log->rotating && !log->poisoned)
        pthread_cond_wait(&log->quiet, &log->mutex);
    /* A batch that waits for space keeps the file busy until there is some. */
    if (rc == PD_DONE && log->held)
        rc = PD_WAITING;
    if (rc == PD_DONE) {
        log->rotating = true;
        rc = swap_files(log);
        log->rotating = false;
        pthread_cond_broadcast(&log->room);
        pthread_cond_broadcast(&log->quiet);
        pd_keeper_wake(log);
    }
    pd_log_leave(log);
    return rc;
}

int pd_boot_id(uint8_t *id)
{
    return pd_sys_boot_id(id);
}

uint64_t pd_file_born(int fd)
{
    return pd_sys_born(fd);
}
