/* verify.c - say what recovery would find, and change nothing. */
#include "error.h"
#include "io.h"
#include "lock.h"
#include "recover.h"

#include <errno.h>
#include <string.h>

/* While a writer truncates and rotates, what was listed may be gone when it is opened, or be the
 * file of another segment: a look that fails counts only if nothing was truncated meanwhile. */
enum { TRIES = 5, TRIES_MOST = 1000 };

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

/* One look at the log.  Returns what recovery found, and whether a failure may be a writer's doing
 * in *live and *moved. */
static int look(int dir, const struct pd_lock *watch, bool *live, bool *moved,
                struct pd_report *report, struct pd_error *error)
{
    const uint64_t before = *live ? pd_lock_truncations(watch) : 0;
    const int alive = *live ? pd_lock_writer_alive(watch) : 0;
    if (alive < 0)
        return pd_error_os(error, alive, "asking for a writer", "LOCK");
    struct pd_recovery found;
    const int rc = pd_recover(dir, false, &found, error);
    if (rc == 0)
        fill_report(&found, alive, report);
    pd_recovery_free(&found);
    *moved = *live && pd_lock_truncations(watch) != before;
    *live = alive > 0;
    return rc;
}

int pd_log_verify(const char *path, struct pd_report *report, struct pd_error *error)
{
    int dir = pd_io_open_dir(path);
    if (dir < 0)
        return pd_error_os(error, dir, "opening the log's directory", "");
    struct pd_lock watch;
    int rc = pd_lock_watch(&watch, dir);
    if (rc < 0 && rc != -ENOENT) {
        pd_error_os(error, rc, "asking for a writer", "LOCK");
    } else {
        bool live = rc == 0, moved = false;
        int still = 0, tries = 0;
        do {
            rc = look(dir, &watch, &live, &moved, report, error);
            still = moved ? 0 : still + 1;
        } while (rc < 0 && live && still < TRIES && ++tries < TRIES_MOST);
        pd_lock_release(&watch);
    }
    (void)pd_io_close(dir);
    return rc;
}
