/* open.c - from a path to a log that takes commits, and back. */
#define _POSIX_C_SOURCE 200809L

#include "log.h"

#include "error.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

int pd_log_sync_parent(const char *path)
{
    char *parent = strdup(path);
    if (!parent)
        return -ENOMEM;
    size_t end = strlen(parent);
    while (end > 1 && parent[end - 1] == '/')
        end--;
    while (end > 0 && parent[end - 1] != '/')
        end--;
    while (end > 1 && parent[end - 1] == '/')
        end--;
    parent[end] = '\0';
    int fd = pd_io_open_dir(end ? parent : ".");
    free(parent);
    if (fd < 0)
        return fd;
    int rc = pd_io_sync_dir(fd);
    int closed = pd_io_close(fd);
    return rc < 0 ? rc : closed;
}

static int open_directory(const char *path, bool create, struct pd_error *error)
{
    if (create) {
        int rc = pd_sys->mkdir(path, 0777);
        if (rc < 0 && rc != -EEXIST)
            return pd_error_os(error, rc, "creating the log's directory", "");
    }
    int fd = pd_io_open_dir(path);
    return fd < 0 ? pd_error_os(error, fd, "opening the log's directory", "") : fd;
}

/* What an earlier writer left half made.  One name at a time: a listing is not to be changed
 * under its reader. */
static int find_leftover(void *context, const char *name)
{
    if (!pd_segment_is_leftover(name) || strlen(name) >= PD_NAME_BYTES)
        return 0;
    strcpy(context, name);
    return -EEXIST;
}

static int remove_leftovers(int dir, struct pd_error *error)
{
    for (;;) {
        char name[PD_NAME_BYTES];
        int rc = pd_sys->list(dir, find_leftover, name);
        if (rc == 0)
            return 0;
        if (rc != -EEXIST)
            return pd_error_os(error, rc, "listing the log", "");
        rc = pd_sys->unlink(dir, name);
        if (rc < 0)
            return pd_error_os(error, rc, "removing a leftover", name);
    }
}

static void remove_retired(int dir, const struct pd_segment_list *retired)
{
    /* Only space is at stake: whoever opens the log next tries again. */
    for (size_t i = 0; i < retired->count; i++)
        (void)pd_segment_retire(dir, retired->entries[i].number, false, 0, NULL);
}

static int start_first_or_next(struct pd_log *log, struct pd_error *error)
{
    const uint64_t serial = ++log->spare_serial;
    int rc = pd_segment_prepare(log->dir, serial, &log->shape, error);
    if (rc == 0) {
        log->stats.segments_created++;
        rc = pd_log_start_segment(log, serial, false, error);
    }
    return rc;
}

static int create_log(struct pd_log *log, const char *path, const struct pd_log_options *options,
                      struct pd_error *error)
{
    /* Also if the directory was there: whoever made it may have been killed before this. */
    int rc = pd_log_sync_parent(path);
    if (rc < 0)
        return pd_error_os(error, rc, "syncing the parent directory", "");
    rc = pd_method_choose(log, options, NULL, error);
    if (rc < 0)
        return rc;
    rc = pd_sys->random(log->uuid, sizeof log->uuid);
    if (rc < 0)
        return pd_error_os(error, rc, "drawing a uuid", "");
    log->next_lsn = log->oldest_lsn = 1;
    return start_first_or_next(log, error);
}

/* Whether appending may go on in the segment that recovery found last. */
static bool can_continue(const struct pd_log *log, const struct pd_recovery *found)
{
    /* Nothing is ever appended after a torn place: only a closing batch ends a segment so that
     * it is certain what lies behind it. */
    return found->clean && found->torn_end == found->end_offset &&
           found->last.block_bytes == log->block_bytes && found->last.size == log->segment_bytes &&
           (int)(found->last.flags & PD_SEGMENT_METHOD_MASK) == log->method;
}

/* Give back the space behind a segment's end, now that its successor says where that is. */
static void trim(const struct pd_log *log, const struct pd_recovery *found)
{
    char name[PD_NAME_BYTES];
    pd_segment_name(found->last.number, name);
    int fd = pd_io_open(log->dir, name, O_RDWR, 0);
    if (fd < 0)
        return;
    (void)pd_sys->truncate(fd, (int64_t)found->end_offset);
    (void)pd_io_close(fd);
}

static int adopt(struct pd_log *log, const struct pd_log_options *options,
                 struct pd_recovery *found, struct pd_error *error)
{
    memcpy(log->uuid, found->last.uuid, sizeof log->uuid);
    log->next_lsn = found->next_lsn;
    log->oldest_lsn = found->oldest_lsn;
    log->chain = found->chain;
    log->segment = found->last;
    log->write_offset = found->end_offset;
    log->torn_bytes = found->torn_end - found->end_offset;
    log->segments = found->segments;
    found->segments = (struct pd_segment_list){0};
    int rc = pd_method_choose(log, options, &found->last, error);
    if (rc < 0)
        return rc;
    if (can_continue(log, found)) {
        log->zeroed_to = log->write_offset;
        log->zero_off = !log->shape.prezero || !pd_log_is_durable_target(log);
        return pd_segment_open_files(log->dir, log->segment.number, log->method, log->target,
                                     log->lanes, &log->files, error);
    }
    rc = start_first_or_next(log, error);
    if (rc == 0)
        trim(log, found);
    return rc;
}

/* How many segments there are, or -errno. */
static int64_t count_segments(int dir, struct pd_error *error)
{
    struct pd_segment_list present;
    int rc = pd_segments_list(dir, &present);
    const int64_t count = (int64_t)present.count;
    pd_segments_free(&present);
    return rc < 0 ? pd_error_os(error, rc, "listing the log", "") : count;
}

static int recover_and_adopt(struct pd_log *log, const struct pd_log_options *options,
                             struct pd_error *error)
{
    struct pd_recovery found;
    int rc = pd_recover(log->dir, true, &found, error);
    if (rc == 0) {
        remove_retired(log->dir, &found.retired);
        rc = adopt(log, options, &found, error);
    }
    pd_recovery_free(&found);
    return rc;
}

static int load(struct pd_log *log, const char *path, const struct pd_log_options *options,
                struct pd_error *error)
{
    int64_t count = count_segments(log->dir, error);
    if (count < 0)
        return (int)count;
    /* Before the lock, so that a look at a directory that is no log leaves nothing behind. */
    if (count == 0 && !options->create)
        return pd_error_set(error, PD_ERROR_OS, ENOENT, "opening the log", "",
                            "there is no log in this directory");
    int rc = pd_lock_take(&log->lock, log->dir, error);
    if (rc == 0)
        rc = remove_leftovers(log->dir, error);
    if (rc < 0)
        return rc;
    /* Once more under the lock: another writer may have made the log in between. */
    count = count_segments(log->dir, error);
    if (count < 0)
        return (int)count;
    return count > 0 ? recover_and_adopt(log, options, error)
                     : create_log(log, path, options, error);
}

struct pd_log *pd_log_new(const struct pd_sink *sink, struct pd_error *error)
{
    struct pd_log *log = calloc(1, sizeof *log);
    if (!log) {
        pd_error_os(error, -ENOMEM, "opening the log", "");
        return NULL;
    }
    log->sink = sink;
    log->dir = log->lock.fd = log->ring_fd = -1;
    log->files = (struct pd_segment_files)PD_NO_FILES;
    log->intent = (struct pd_intent)PD_NO_INTENT;
    pthread_mutex_init(&log->mutex, NULL);
    pd_sys_cond_init(&log->room);
    pd_sys_cond_init(&log->quiet);
    pd_sys_cond_init(&log->keeper_wake);
    return log;
}

static void set_options(struct pd_log *log, const struct pd_log_options *options)
{
    log->target = options->target;
    log->lanes = options->lanes;
    log->interval_ns = options->interval_ns;
    log->commit_delay_ns = options->commit_delay_ns;
    log->segment_bytes = options->segment_bytes;
}

/* What the parts need once the active segment is known. */
int pd_log_start_serving(struct pd_log *log, uint64_t max_pending_bytes, struct pd_error *error)
{
    /* Two batches in flight, one filling, and the ring: a quarter for each. */
    log->batch_limit = (size_t)(max_pending_bytes / 4);
    log->written_lsn = log->durable_lsn = log->next_lsn - 1;
    log->acked_seq = log->filling_seq = 1;
    pd_group_filling(log)->first_lsn = log->next_lsn;
    int rc = pd_fork_register(log);
    if (rc == 0)
        rc = pd_keeper_start(log);
    return rc < 0 ? pd_error_os(error, rc, "starting the log", "") : 0;
}

int pd_log_open(const char *path, const struct pd_log_options *options, struct pd_log **out,
                struct pd_error *error)
{
    struct pd_log *log = pd_log_new(&pd_into_segments, error);
    if (!log)
        return -ENOMEM;
    set_options(log, options);
    int rc = log->dir = open_directory(path, options->create, error);
    if (rc >= 0)
        rc = load(log, path, options, error);
    if (rc == 0)
        rc = pd_log_start_serving(log, options->max_pending_bytes, error);
    if (rc == 0) {
        pd_lock_describe(&log->lock, log->uuid, log->oldest_lsn);
        pd_lock_publish(&log->lock, log->durable_lsn);
    }
    if (rc < 0) {
        (void)pd_log_release(log);
        pd_log_free(log);
        return rc;
    }
    *out = log;
    return 0;
}

/* Give everything back but the struct itself; nobody is inside a call any more. */
int pd_log_release(struct pd_log *log)
{
    pd_fork_forget(log);
    if (log->ring)
        pd_ring_release(log, !pd_ring_is_empty(log));
    pd_intent_close(&log->intent, log->files.sync);
    int rc = pd_segment_close_files(&log->files);
    /* A spare has no use without a writer. */
    if (log->spare == PD_SPARE_READY)
        (void)remove_leftovers(log->dir, NULL);
    pd_lock_release(&log->lock);
    if (log->dir >= 0)
        (void)pd_io_close(log->dir);
    log->dir = -1;
    pd_segments_free(&log->segments);
    for (int i = 0; i < PD_SLOTS; i++)
        pd_buffer_free(&log->slots[i].buffer);
    if (rc < 0) {
        pd_error_os(&log->poison, rc, "closing the file", "");
        log->poison.kind = PD_ERROR_POISONED;
        log->poisoned = true;
    }
    return rc;
}

void pd_log_free(struct pd_log *log)
{
    /* In a child the mutex and the conditions may be in use by threads that are not there. */
    if (!log->forked) {
        pthread_mutex_destroy(&log->mutex);
        pthread_cond_destroy(&log->room);
        pthread_cond_destroy(&log->quiet);
        pthread_cond_destroy(&log->keeper_wake);
    }
    free(log->ring_words);
    free(log->ring_path);
    free(log->file.path);
    for (int i = 0; i < PD_FILE_PLACES; i++)
        free(log->file.places[i]);
    free(log->intent.path);
    free(log);
}
