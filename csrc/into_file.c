/*
 * into_file.c - where the batches of a plain file go: to its end, whole.
 *
 * Several processes may append to one file, so each takes an flock for its write.  Under it the end
 * of the file is known: what a failed write left of a batch is cut off again, so that nothing but
 * whole batches follow each other and a batch that found the disk full can be written later.  What
 * a process that was killed in its write left of one is cut off by whoever gets the lock next.
 */
#define _POSIX_C_SOURCE 200809L

#include "log.h"

#include "sys.h"

#include <assert.h>
#include <errno.h>

/* The largest record: more than this write(2) does not take in one piece. */
static const uint64_t record_max = (uint64_t)1 << 30;

static void name_of(const struct pd_log *log, char out[PD_NAME_BYTES])
{
    (void)log;
    out[0] = '\0'; /* the path alone */
}

static uint64_t max_record(const struct pd_log *log)
{
    (void)log;
    return record_max;
}

static bool fits(const struct pd_log *log, const struct pd_slot *slot, size_t frame_bytes,
                 bool closing)
{
    (void)log;
    (void)closing;
    return slot->used + frame_bytes <= record_max;
}

static int extend(struct pd_log *log)
{
    (void)log;
    assert(!"an empty batch takes every record");
    return -EMSGSIZE;
}

static void await_nothing(struct pd_log *log, const struct pd_slot *slot)
{
    (void)log;
    (void)slot;
}

static void seal(struct pd_log *log, struct pd_slot *slot)
{
    (void)log;
    slot->size = slot->used;
}

/* Cut off what was written of a batch, unless somebody who takes no lock has written behind it. */
static int take_back(struct pd_log *log, int fd, const struct pd_slot *slot, size_t done, int rc)
{
    struct stat st;
    if (done > 0) {
        const int64_t end = (int64_t)slot->offset;
        if (pd_sys->stat(fd, &st) < 0)
            return -EIO;
        if (st.st_size != end + (int64_t)done)
            rc = -EIO;
        else if (pd_sys->truncate(fd, end) < 0)
            return -EIO; /* the intent stays: the next one may be able to */
    }
    pd_intent_end(log);
    return rc;
}

/* Under the flock. */
static int write_locked(struct pd_log *log, int fd, struct pd_slot *slot)
{
    struct stat st;
    int rc = pd_intent_repair(&log->intent, log->files.sync);
    if (rc < 0)
        return rc;
    rc = pd_sys->stat(fd, &st);
    if (rc < 0)
        return rc;
    size_t done;
    slot->offset = (uint64_t)st.st_size;
    /* Should this process be killed now, the next one knows what may be there of the batch, and
     * after that its ring knows whether the batch is there. */
    pd_intent_begin(log, slot);
    pd_ring_note(log, slot);
    rc = pd_group_write(log, fd, slot, &done);
    if (rc == 0) {
        pd_intent_end(log);
        return 0;
    }
    pd_ring_forget_note(log, slot);
    return take_back(log, fd, slot, done, rc);
}

static int write_batch(struct pd_log *log, int fd, struct pd_slot *slot)
{
    int rc = pd_io_lock(log->files.sync, PD_LOCK_WAIT);
    if (rc < 0)
        return rc;
    rc = write_locked(log, fd, slot);
    const int unlocked = pd_io_lock(log->files.sync, PD_LOCK_FREE);
    return rc < 0 ? rc : unlocked;
}

static void publish(struct pd_log *log)
{
    (void)log; /* nobody reads a plain file through this library */
}

const struct pd_sink pd_into_file = {
    .ordered = true,
    .writing = "writing to the file",
    .syncing = "syncing the file",
    .name = name_of,
    .max_record = max_record,
    .fits = fits,
    .extend = extend,
    .await = await_nothing,
    .seal = seal,
    .write = write_batch,
    .publish = publish,
};
