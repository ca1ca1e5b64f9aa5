/* verify.c - say what recovery would find, and change nothing. */
#include "error.h"
#include "io.h"
#include "lock.h"
#include "recover.h"

#include <errno.h>
#include <string.h>

/* While a writer truncates and rotates, what was listed may be gone when it is opened. */
enum { TRIES = 5 };

static void fill_report(const struct pd_recovery *found, bool alive, struct pd_report *report)
{
    *report = (struct pd_report){
        .oldest_lsn = found->oldest_lsn,
        .next_lsn = found->next_lsn,
        .segments = found->segments.count,
        .batches = found->batches,
        .records = found->records,
        .bytes = found->bytes,
        .torn_bytes = found->torn_end - found->end_offset,
        .torn_offset = found->end_offset,
        .torn_segment = found->last.number,
        .clean = found->clean,
        .writer_alive = alive,
        .method = (int)(found->last.flags & PD_SEGMENT_METHOD_MASK),
        .block_bytes = found->last.block_bytes,
    };
    memcpy(report->uuid, found->last.uuid, sizeof report->uuid);
}

/* Whether a writer has the log open; -errno. */
static int writer_alive(int dir, struct pd_error *error)
{
    struct pd_lock watch;
    int rc = pd_lock_watch(&watch, dir);
    if (rc == -ENOENT)
        return 0;
    if (rc == 0) {
        rc = pd_lock_writer_alive(&watch);
        pd_lock_release(&watch);
    }
    return rc < 0 ? pd_error_os(error, rc, "asking for a writer", "LOCK") : rc;
}

int pd_log_verify(const char *path, struct pd_report *report, struct pd_error *error)
{
    int dir = pd_io_open_dir(path);
    if (dir < 0)
        return pd_error_os(error, dir, "opening the log's directory", "");
    int alive = 0, rc = -EAGAIN;
    for (int i = 0; i < TRIES && rc < 0; i++) {
        alive = writer_alive(dir, error);
        if (alive < 0) {
            rc = alive;
            break;
        }
        struct pd_recovery found;
        rc = pd_recover(dir, false, &found, error);
        if (rc == 0)
            fill_report(&found, alive, report);
        pd_recovery_free(&found);
        if (!alive)
            break;
    }
    (void)pd_io_close(dir);
    return rc;
}
