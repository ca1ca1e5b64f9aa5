/*
 * repair.c - end a damaged log at its last good record, so that it opens again.
 *
 * The longest run of records from the first readable segment on is kept.  What lies behind it is
 * removed, highest segment first, and only then does a new segment record where the run ends: a
 * repair that is cut short leaves a log that is still damaged, and can be repeated.
 */
#include "error.h"
#include "io.h"
#include "lock.h"
#include "recover.h"
#include "scan.h"
#include "segment.h"
#include "sys.h"

#include <errno.h>
#include <string.h>

struct run {
    struct pd_segment_header first, last;
    struct pd_scan_place end;
    uint64_t oldest_lsn;
    bool found;
};

/* Take the segment into the run if it continues it: 1, 0 if it does not, or -errno. */
static int extend(int dir, uint64_t number, struct run *run, struct pd_error *error)
{
    struct pd_scan scan;
    int verdict = pd_scan_begin(&scan, dir, number);
    if (verdict < 0 || verdict == PD_HEADER_NEWER)
        return pd_refuse_header(verdict, number, 0, error);
    if (verdict == PD_HEADER_INVALID)
        return 0;
    const struct pd_segment_header *header = &scan.header;
    const bool continues =
        !run->found ||
        (header->prev_number == run->last.number && header->base_lsn == run->end.next_lsn &&
         header->prev_end_offset == run->end.offset && header->prev_checksum == run->end.chain &&
         memcmp(header->uuid, run->last.uuid, sizeof header->uuid) == 0);
    int rc = 0;
    if (continues) {
        struct pd_batch_header batch;
        const uint8_t *payload;
        while ((rc = pd_scan_next(&scan, &batch, &payload)) > 0)
            if (batch.oldest_lsn > run->oldest_lsn)
                run->oldest_lsn = batch.oldest_lsn;
        if (!run->found)
            run->first = *header;
        run->last = *header;
        run->end = scan.at;
        run->found = true;
    }
    pd_scan_end(&scan);
    return rc < 0 ? pd_refuse_read(rc, number, error) : continues;
}

/* Walk from the first readable segment to the end of the run: the index behind it, or -errno. */
static int64_t find_run(int dir, const struct pd_segment_list *list, struct run *run,
                        struct pd_error *error)
{
    int64_t behind = 0;
    for (size_t i = 0; i < list->count; i++) {
        const uint64_t number = list->entries[i].number;
        struct run before = *run;
        int rc = extend(dir, number, run, error);
        if (rc < 0)
            return rc;
        if (rc == 0 && before.found)
            break;
        if (rc > 0)
            behind = (int64_t)i + 1;
    }
    return behind;
}

static int remove_behind(int dir, const struct pd_segment_list *list, size_t behind,
                         struct pd_error *error)
{
    int rc = 0;
    for (size_t i = list->count; i > behind && rc == 0; i--)
        rc = pd_segment_retire(dir, list->entries[i - 1].number, false, 0, error);
    if (rc == 0 && (rc = pd_io_sync_dir(dir)) < 0)
        pd_error_os(error, rc, "syncing the directory", "");
    return rc;
}

/* A new last segment that says where the run ends and where the log now begins. */
static int seal_run(int dir, const struct run *run, struct pd_error *error)
{
    struct pd_segment_header header = run->last;
    header.number = run->last.number + 1;
    header.base_lsn = run->end.next_lsn;
    header.prev_number = run->last.number;
    header.prev_end_lsn = run->end.next_lsn - 1;
    header.prev_end_offset = run->end.offset;
    header.prev_checksum = run->end.chain;
    header.durable_lsn = run->end.next_lsn - 1;
    header.oldest_lsn =
        run->oldest_lsn > run->first.base_lsn ? run->oldest_lsn : run->first.base_lsn;
    int rc = pd_sys->random(&header.salt, sizeof header.salt);
    if (rc < 0)
        return pd_error_os(error, rc, "drawing a salt", "");
    const struct pd_segment_shape shape = {header.size, (header.flags & PD_SEGMENT_PREZERO) != 0};
    rc = pd_segment_prepare(dir, 0, &shape, error);
    return rc < 0 ? rc : pd_segment_activate(dir, 0, &header, error);
}

static int repair(int dir, struct pd_error *error)
{
    struct pd_segment_list list;
    int rc = pd_segments_list(dir, &list);
    if (rc < 0)
        pd_error_os(error, rc, "listing the log", "");
    else if (list.count == 0)
        rc = pd_error_os(error, -ENOENT, "opening the log", "");
    struct run run = {.oldest_lsn = 1};
    int64_t behind = rc < 0 ? rc : find_run(dir, &list, &run, error);
    if (behind < 0) {
        rc = (int)behind;
    } else if (!run.found) {
        rc = pd_error_corrupt(error, "", 0, 0, 0, "no segment has a valid header");
    } else {
        rc = remove_behind(dir, &list, (size_t)behind, error);
        if (rc == 0)
            rc = seal_run(dir, &run, error);
    }
    pd_segments_free(&list);
    return rc;
}

int pd_log_repair(const char *path, struct pd_error *error)
{
    int dir = pd_io_open_dir(path);
    if (dir < 0)
        return pd_error_os(error, dir, "opening the log's directory", "");
    struct pd_lock lock = {.fd = -1};
    int rc = pd_lock_take(&lock, dir, error);
    if (rc == 0)
        rc = repair(dir, error);
    pd_lock_release(&lock);
    (void)pd_io_close(dir);
    return rc;
}
