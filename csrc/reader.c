/*
 * reader.c - records in order, without a lock, also while a writer is at work.
 *
 * While a writer is alive a reader stops at the durable LSN that the writer publishes.  Once there
 * is none, the log ends where recovery would end it.
 */
#include "error.h"
#include "io.h"
#include "lock.h"
#include "recover.h"
#include "scan.h"
#include "segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* As many records as one call returns at most: bounds memory and how long the call takes. */
enum { CHUNK_RECORDS = 16384, CHUNK_BATCHES = 4096 };

/* How often a reader lists the log anew before it believes that there is none. */
enum { LISTINGS = 100 };

struct pd_reader {
    int dir;
    struct pd_lock watch; /* fd -1 if the log never had a writer here */
    bool scanning;
    struct pd_scan scan;
    uint64_t next_lsn; /* the next record to deliver */
    uint64_t judged;   /* the offset whose end was found to be a good one */
    /* A batch of which the last chunk could not take every record; it stays in the window. */
    struct pd_part {
        struct pd_batch_header batch;
        const uint8_t *payload;
        uint32_t index; /* the next record */
        size_t at;      /* and where it is */
    } part;
    uint64_t *begins, *ends;
};

static void end_scan(struct pd_reader *reader)
{
    if (reader->scanning)
        pd_scan_end(&reader->scan);
    reader->scanning = false;
}

/* The oldest record that is kept, as far as the lock file knows: 0 if it speaks of another log. */
static uint64_t oldest_known(const struct pd_reader *reader)
{
    return reader->watch.fd < 0 ? 0 : pd_lock_oldest(&reader->watch, reader->scan.header.uuid);
}

/* The records below lsn are not there.  Was that truncation (0), or damage?  Recovery has to read
 * the log to tell, so it is asked only when the lock file cannot say. */
static int judge_missing(const struct pd_reader *reader, uint64_t lsn, struct pd_error *error)
{
    if (oldest_known(reader) >= lsn)
        return 0;
    struct pd_recovery found;
    const int rc = pd_recover(reader->dir, false, &found, error);
    pd_recovery_free(&found);
    /* A writer at work may have truncated under recovery's eyes. */
    return oldest_known(reader) >= lsn ? 0 : rc;
}

/* What comes next was taken away: by truncation, unless that is damage. */
static int gone(struct pd_reader *reader, struct pd_error *error)
{
    int rc = judge_missing(reader, reader->scan.at.next_lsn + 1, error);
    if (rc < 0)
        return rc;
    rc = pd_error_set(error, PD_ERROR_GONE, ESTALE, "reading the log", "",
                      "truncate_before has overtaken the reader");
    if (error)
        error->first_lsn = reader->next_lsn;
    return rc;
}

/* Begin with the oldest record that is kept, if the wanted one was truncated away. */
static int skip_truncated(struct pd_reader *reader, struct pd_error *error)
{
    const uint64_t base = reader->scan.header.base_lsn;
    int rc = base > reader->next_lsn ? judge_missing(reader, base, error) : 0;
    if (rc < 0)
        return rc;
    const uint64_t oldest = oldest_known(reader);
    const uint64_t first = base > oldest ? base : oldest;
    if (first > reader->next_lsn)
        reader->next_lsn = first;
    return 1;
}

/* Begin at the last listed segment whose first record is not above the wanted one: 1, or 0 if it
 * is gone or there is none. */
static int begin_in(struct pd_reader *reader, const struct pd_segment_list *list,
                    struct pd_error *error)
{
    for (size_t i = list->count; i > 0; i--) {
        const uint64_t number = list->entries[i - 1].number;
        int verdict = pd_scan_begin(&reader->scan, reader->dir, number);
        if (verdict == -ENOENT)
            continue; /* retired since it was listed */
        if (verdict != PD_HEADER_VALID)
            return pd_refuse_header(verdict, number, reader->next_lsn, error);
        if (reader->scan.header.base_lsn <= reader->next_lsn || i == 1) {
            reader->scanning = true;
            return skip_truncated(reader, error);
        }
        pd_scan_end(&reader->scan);
    }
    return 0;
}

/* Begin with the wanted record or the oldest one that is kept: 1, or 0 if there is no segment. */
static int find_start(struct pd_reader *reader, struct pd_error *error)
{
    int rc = 0;
    bool listed = true;
    /* A writer that truncates may have taken away the very segments that were listed. */
    for (int i = 0; i < LISTINGS && rc == 0 && listed; i++) {
        struct pd_segment_list list;
        rc = pd_segments_list(reader->dir, &list);
        listed = list.count > 0;
        rc =
            rc < 0 ? pd_error_os(error, rc, "listing the log", "") : begin_in(reader, &list, error);
        pd_segments_free(&list);
    }
    return rc;
}

/* Whether what comes next has been truncated away, and its file may be something else by now. */
static bool overtaken(const struct pd_reader *reader)
{
    return oldest_known(reader) > reader->scan.at.next_lsn;
}

/* Go over to the segment after the current one if there is one that takes up here: 1, 0 if there
 * is none, or -errno. */
static int try_successor(struct pd_reader *reader, struct pd_error *error)
{
    const struct pd_scan *scan = &reader->scan;
    struct pd_scan next;
    const uint64_t number = scan->number + 1;
    int verdict = pd_scan_begin(&next, reader->dir, number);
    if (verdict == -ENOENT)
        return 0;
    if (verdict != PD_HEADER_VALID)
        return overtaken(reader) ? gone(reader, error)
                                 : pd_refuse_header(verdict, number, scan->at.next_lsn, error);
    if (next.header.prev_end_offset != scan->at.offset ||
        next.header.prev_checksum != scan->at.chain || next.header.base_lsn != scan->at.next_lsn) {
        pd_scan_end(&next);
        if (overtaken(reader))
            return gone(reader, error);
        char name[PD_NAME_BYTES];
        pd_segment_name(scan->number, name);
        return pd_error_corrupt(error, name, scan->at.offset, scan->at.next_lsn,
                                next.header.base_lsn - 1, "it does not end as its successor says");
    }
    end_scan(reader);
    reader->scan = next;
    reader->scanning = true;
    reader->judged = 0;
    return 1;
}

/* There is no successor.  Was the file under the scan given up: an error; has a successor come
 * up meanwhile: 1; or is there none yet: 0. */
static int look_for_truncation(struct pd_reader *reader, struct pd_error *error)
{
    struct pd_segment_header header;
    int verdict = pd_segment_read_header(reader->scan.fd, &header);
    if (verdict < 0)
        return pd_refuse_read(verdict, reader->scan.number, error);
    if (verdict != PD_HEADER_VALID || header.salt != reader->scan.header.salt)
        return gone(reader, error);
    struct pd_segment_list list;
    int rc = pd_segments_list(reader->dir, &list);
    bool successor = false, later = false;
    for (size_t i = 0; i < list.count; i++) {
        successor = successor || list.entries[i].number == reader->scan.number + 1;
        later = later || list.entries[i].number > reader->scan.number + 1;
    }
    pd_segments_free(&list);
    if (rc < 0)
        return pd_error_os(error, rc, "listing the log", "");
    if (successor)
        return 1;
    return later ? gone(reader, error) : 0;
}

/* Nothing valid follows and no segment takes over.  Is that the end (0), has a writer put a batch
 * there since (1), or is it damage? */
static int judge_end(struct pd_reader *reader, uint64_t limit, struct pd_error *error)
{
    struct pd_scan *scan = &reader->scan;
    if (reader->judged == scan->at.offset && limit == UINT64_MAX)
        return 0;
    char name[PD_NAME_BYTES];
    pd_segment_name(scan->number, name);
    struct pd_scan_beyond beyond;
    int rc = pd_recover_beyond(scan, &beyond, error);
    if (rc < 0)
        return rc;
    /* A writer that is alive may call records durable that no later batch speaks of yet. */
    if (!beyond.covers && limit == UINT64_MAX) {
        reader->judged = scan->at.offset;
        return 0;
    }
    const struct pd_scan_place place = scan->at;
    struct pd_batch_header batch;
    const uint8_t *payload;
    rc = pd_scan_next(scan, &batch, &payload);
    scan->at = place;
    if (rc != 0)
        return rc < 0 ? pd_refuse_read(rc, scan->number, error) : 1;
    return pd_error_corrupt(error, name, place.offset, place.next_lsn,
                            beyond.covers ? beyond.last_lsn : limit,
                            "records that were durable cannot be read");
}

/* How far a reader may go now. */
static int readable_limit(const struct pd_reader *reader, uint64_t *limit, struct pd_error *error)
{
    *limit = UINT64_MAX;
    if (reader->watch.fd < 0)
        return 0;
    *limit = pd_lock_durable(&reader->watch);
    int alive = pd_lock_writer_alive(&reader->watch);
    if (alive < 0)
        return pd_error_os(error, alive, "asking for a writer", "LOCK");
    if (!alive)
        *limit = UINT64_MAX;
    return 0;
}

/* Note where the records of the batch at hand lie, from the wanted one on, as far as the chunk has
 * room: whether that was all of them. */
static bool deliver(struct pd_reader *reader, struct pd_chunk *chunk)
{
    struct pd_part *part = &reader->part;
    const uint64_t origin = (uint64_t)(part->payload - chunk->bytes);
    for (; part->index < part->batch.count && chunk->count < CHUNK_RECORDS; part->index++) {
        const size_t length = pd_get32(part->payload + part->at);
        part->at += PD_FRAME_BYTES;
        if (part->batch.first_lsn + part->index >= reader->next_lsn) {
            if (chunk->count == 0)
                chunk->first_lsn = reader->next_lsn;
            reader->begins[chunk->count] = origin + part->at;
            reader->ends[chunk->count] = origin + part->at + length;
            chunk->count++;
            reader->next_lsn++;
        }
        part->at += length;
    }
    return part->index == part->batch.count;
}

/* Fill the chunk from the batches that lie in one window. */
static int fill(struct pd_reader *reader, uint64_t limit, struct pd_chunk *chunk,
                struct pd_error *error)
{
    struct pd_scan *scan = &reader->scan;
    struct pd_part *part = &reader->part;
    chunk->bytes = scan->window.bytes;
    bool whole = part->index == part->batch.count || deliver(reader, chunk);
    for (int i = 0; whole && i < CHUNK_BATCHES; i++) {
        if (chunk->count > 0 && !pd_scan_in_window(scan))
            break;
        const struct pd_scan_place place = scan->at;
        int rc = pd_scan_next(scan, &part->batch, &part->payload);
        part->index = part->batch.count;
        if (rc < 0)
            return pd_refuse_read(rc, scan->number, error);
        if (rc == 0)
            break;
        if (part->batch.count && part->batch.first_lsn + part->batch.count - 1 > limit) {
            scan->at = place;
            break;
        }
        part->index = 0;
        part->at = 0;
        chunk->bytes = scan->window.bytes;
        whole = deliver(reader, chunk);
    }
    return (int)chunk->count;
}

/* The window holds nothing more for us: 1 if there may be more now, 0 if not yet, -errno. */
static int go_on(struct pd_reader *reader, uint64_t limit, struct pd_error *error)
{
    if (reader->scan.at.next_lsn > limit)
        return 0;
    int rc = try_successor(reader, error);
    if (rc == 0)
        rc = look_for_truncation(reader, error);
    return rc == 0 ? judge_end(reader, limit, error) : rc;
}

int pd_reader_next(struct pd_reader *reader, struct pd_chunk *chunk, struct pd_error *error)
{
    *chunk = (struct pd_chunk){.begins = reader->begins, .ends = reader->ends};
    uint64_t limit;
    int rc = readable_limit(reader, &limit, error);
    bool fresh = false; /* whether the window was read after the limit was */
    while (rc >= 0) {
        const uint64_t before = reader->scan.at.offset;
        rc = fill(reader, limit, chunk, error);
        if (rc != 0)
            break;
        if (reader->scan.at.offset != before)
            continue; /* batches without a record for us */
        if (fresh && (rc = go_on(reader, limit, error)) <= 0)
            break;
        pd_scan_refresh(&reader->scan);
        fresh = true;
    }
    return rc;
}

int pd_reader_open(const char *path, uint64_t start_lsn, struct pd_reader **out,
                   struct pd_error *error)
{
    struct pd_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return pd_error_os(error, -ENOMEM, "opening the log", "");
    reader->watch.fd = -1;
    reader->next_lsn = start_lsn ? start_lsn : 1;
    reader->begins = calloc(CHUNK_RECORDS, sizeof *reader->begins);
    reader->ends = calloc(CHUNK_RECORDS, sizeof *reader->ends);
    int rc = reader->dir = pd_io_open_dir(path);
    if (rc < 0)
        pd_error_os(error, rc, "opening the log's directory", "");
    else if (!reader->begins || !reader->ends)
        rc = pd_error_os(error, -ENOMEM, "opening the log", "");
    else if ((rc = pd_lock_watch(&reader->watch, reader->dir)) < 0 && rc != -ENOENT)
        pd_error_os(error, rc, "opening the lock file", "LOCK");
    else if ((rc = find_start(reader, error)) == 0)
        rc = pd_error_set(error, PD_ERROR_OS, ENOENT, "opening the log", "",
                          "there is no log in this directory");
    if (rc < 0) {
        pd_reader_close(reader);
        return rc;
    }
    *out = reader;
    return 0;
}

void pd_reader_close(struct pd_reader *reader)
{
    end_scan(reader);
    pd_lock_release(&reader->watch);
    if (reader->dir >= 0)
        (void)pd_io_close(reader->dir);
    free(reader->begins);
    free(reader->ends);
    free(reader);
}
