/* recover.c - judge a directory of segments; changes nothing in it. */
#include "recover.h"

#include "error.h"
#include "io.h"
#include "scan.h"
#include "segment.h"
#include "sys.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

int pd_segments_add(struct pd_segment_list *list, uint64_t number, uint64_t base_lsn)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        struct pd_segment_entry *entries = realloc(list->entries, capacity * sizeof *entries);
        if (!entries)
            return -ENOMEM;
        list->entries = entries;
        list->capacity = capacity;
    }
    list->entries[list->count++] = (struct pd_segment_entry){number, base_lsn};
    return 0;
}

void pd_segments_free(struct pd_segment_list *list)
{
    free(list->entries);
    *list = (struct pd_segment_list){0};
}

void pd_recovery_free(struct pd_recovery *recovery)
{
    pd_segments_free(&recovery->segments);
    pd_segments_free(&recovery->retired);
}

static int add_if_segment(void *context, const char *name)
{
    uint64_t number = pd_segment_number(name);
    return number ? pd_segments_add(context, number, 0) : 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = ((const struct pd_segment_entry *)a)->number;
    uint64_t y = ((const struct pd_segment_entry *)b)->number;
    return (x > y) - (x < y);
}

int pd_segments_list(int dir, struct pd_segment_list *out)
{
    *out = (struct pd_segment_list){0};
    int rc = pd_sys->list(dir, add_if_segment, out);
    if (rc == 0 && out->count)
        qsort(out->entries, out->count, sizeof *out->entries, by_number);
    return rc;
}

static int settle_segment(int dir, uint64_t number, bool last, struct pd_error *error)
{
    char name[PD_NAME_BYTES];
    pd_segment_name(number, name);
    int fd = pd_io_open(dir, name, O_RDONLY, 0);
    int rc = fd;
    if (fd >= 0) {
        rc = pd_io_sync_file(fd);
        /* Where a write or a flush has failed, Linux keeps the pages, calls them clean and the
         * next sync a success: what is read has to be what the medium holds.  Only the last
         * segment can have failed, for a log that has goes on in no other. */
        if (rc == 0 && last)
            pd_sys_drop_cache(fd);
        (void)pd_io_close(fd);
    }
    return rc < 0 ? pd_error_os(error, rc, "syncing a segment before reading it", name) : 0;
}

static int settle_all(int dir, const struct pd_segment_list *list, struct pd_error *error)
{
    for (size_t i = 0; i < list->count; i++) {
        int rc = settle_segment(dir, list->entries[i].number, i + 1 == list->count, error);
        if (rc < 0)
            return rc;
    }
    int rc = pd_io_sync_dir(dir);
    return rc < 0 ? pd_error_os(error, rc, "syncing the directory", "") : 0;
}

int pd_refuse_header(int verdict, uint64_t number, uint64_t lsn, struct pd_error *error)
{
    char name[PD_NAME_BYTES];
    pd_segment_name(number, name);
    if (verdict < 0)
        return pd_error_os(error, verdict, "opening a segment for reading", name);
    if (verdict == PD_HEADER_NEWER)
        return pd_error_set(error, PD_ERROR_VERSION, ENOTSUP, "reading the log", name,
                            "written by a newer version of the format");
    return pd_error_corrupt(error, name, 0, lsn, 0, "no valid segment header");
}

int pd_refuse_read(int rc, uint64_t number, struct pd_error *error)
{
    char name[PD_NAME_BYTES];
    pd_segment_name(number, name);
    return pd_error_os(error, rc, "reading a segment", name);
}

int pd_recover_beyond(struct pd_scan *scan, struct pd_scan_beyond *out, struct pd_error *error)
{
    if (scan->size < scan->header.size) {
        char name[PD_NAME_BYTES];
        pd_segment_name(scan->number, name);
        return pd_error_corrupt(error, name, scan->size, scan->at.next_lsn, 0,
                                "the file is shorter than its header says");
    }
    const int rc = pd_scan_look_beyond(scan, out);
    return rc < 0 ? pd_refuse_read(rc, scan->number, error) : rc;
}

static int begin(struct pd_scan *scan, int dir, uint64_t number, struct pd_error *error)
{
    int verdict = pd_scan_begin(scan, dir, number);
    return verdict == PD_HEADER_VALID ? 0 : pd_refuse_header(verdict, number, 0, error);
}

/* Walk a segment up to limit, where its batches end as far as anybody knows. */
static int walk(struct pd_scan *scan, uint64_t limit, struct pd_recovery *out,
                struct pd_error *error)
{
    int rc = 0;
    struct pd_batch_header batch;
    const uint8_t *payload;
    while (scan->at.offset < limit && (rc = pd_scan_next(scan, &batch, &payload)) > 0)
        if (batch.oldest_lsn > out->oldest_lsn)
            out->oldest_lsn = batch.oldest_lsn;
    return rc < 0 ? pd_refuse_read(rc, scan->number, error) : 0;
}

static void count(const struct pd_scan *scan, struct pd_recovery *out)
{
    out->batches += scan->batches;
    out->records += scan->records;
    out->bytes += scan->bytes;
}

/* Decide what the place is where the last segment's walk ended: 0 if it is the log's end, 1 if a
 * writer that is at work has put a batch there meanwhile. */
static int judge_tail(struct pd_scan *scan, struct pd_recovery *out, struct pd_error *error)
{
    char name[PD_NAME_BYTES];
    pd_segment_name(scan->number, name);
    struct pd_scan_beyond beyond = {.end = scan->at.offset};
    int rc = pd_recover_beyond(scan, &beyond, error);
    if (rc < 0)
        return rc;
    out->torn_end = beyond.end;
    if (!beyond.covers)
        return 0;
    const struct pd_scan_place place = scan->at;
    struct pd_batch_header batch;
    const uint8_t *payload;
    rc = pd_scan_next(scan, &batch, &payload);
    if (rc != 0)
        return rc < 0 ? pd_refuse_read(rc, scan->number, error) : 1;
    return pd_error_corrupt(error, name, place.offset, place.next_lsn, beyond.last_lsn,
                            "a later batch says that these records were durable");
}

static int walk_last(int dir, uint64_t number, struct pd_recovery *out, struct pd_error *error)
{
    struct pd_scan scan;
    int rc = begin(&scan, dir, number, error);
    if (rc < 0)
        return rc;
    /* Its end borders on space that was never written, which is not to be drawn into the cache. */
    pd_sys_no_readahead(scan.fd);
    do {
        rc = walk(&scan, UINT64_MAX, out, error);
        if (rc == 0)
            rc = judge_tail(&scan, out, error);
    } while (rc > 0);
    out->last = scan.header;
    out->end_offset = scan.at.offset;
    out->next_lsn = scan.at.next_lsn;
    out->chain = scan.at.chain;
    out->clean = scan.batches > 0 && (scan.last.flags & PD_BATCH_CLOSE) != 0;
    count(&scan, out);
    pd_scan_end(&scan);
    return rc;
}

/* Walk a segment that has a successor, which must find it as its header says. */
static int walk_earlier(int dir, uint64_t number, const struct pd_segment_header *next,
                        struct pd_recovery *out, struct pd_error *error)
{
    char name[PD_NAME_BYTES];
    pd_segment_name(next->number, name);
    if (next->prev_number != number || next->number != number + 1)
        return pd_error_corrupt(error, name, 0, 0, next->base_lsn - 1,
                                "the segment before it is missing");
    struct pd_scan scan;
    int rc = begin(&scan, dir, number, error);
    if (rc < 0)
        return rc;
    rc = walk(&scan, next->prev_end_offset, out, error);
    count(&scan, out);
    const struct pd_scan_place at = scan.at;
    const bool same_log = memcmp(next->uuid, scan.header.uuid, sizeof next->uuid) == 0;
    pd_scan_end(&scan);
    if (rc < 0)
        return rc;
    if (!same_log)
        return pd_error_corrupt(error, name, 0, at.next_lsn, 0, "a segment of another log");
    if (next->prev_end_offset == at.offset && next->prev_checksum == at.chain &&
        next->base_lsn == at.next_lsn)
        return 0;
    pd_segment_name(number, name);
    return pd_error_corrupt(error, name, at.offset, at.next_lsn, next->base_lsn - 1,
                            "it does not end as its successor says");
}

/* Walking is bound by memory and the CRC, and segments do not depend on one another once their
 * headers are known: a few threads share them. */
struct walk {
    int dir;
    const struct pd_segment_entry *entries;
    const struct pd_segment_header *headers;
    struct pd_recovery *parts;
    struct pd_error *errors;
    int *results;
    size_t end;
    size_t next; /* the next segment to take, atomically */
};

enum { WALKERS_MOST = 4 };

static void *walk_some(void *context)
{
    struct walk *walk = context;
    for (;;) {
        const size_t i = __atomic_fetch_add(&walk->next, 1, __ATOMIC_RELAXED);
        if (i >= walk->end)
            return NULL;
        walk->results[i] = walk_earlier(walk->dir, walk->entries[i].number, &walk->headers[i + 1],
                                        &walk->parts[i], &walk->errors[i]);
    }
}

/* Walk the segments [first, last), all of which have a successor; the first failure in their
 * order wins. */
static int walk_earlier_all(struct walk *walk, size_t first, size_t last, struct pd_recovery *out,
                            struct pd_error *error)
{
    walk->next = first;
    walk->end = last;
    pthread_t threads[WALKERS_MOST - 1];
    size_t wanted = last - first < WALKERS_MOST ? last - first : WALKERS_MOST;
    if (wanted > pd_sys_cores())
        wanted = pd_sys_cores();
    size_t started = 0;
    /* Without a thread the work takes longer, and that is all. */
    while (started + 1 < wanted && pd_sys_thread_start(&threads[started], walk_some, walk) == 0)
        started++;
    (void)walk_some(walk);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = first; i < last; i++) {
        if (walk->results[i] < 0) {
            if (error)
                *error = walk->errors[i];
            return walk->results[i];
        }
        out->batches += walk->parts[i].batches;
        out->records += walk->parts[i].records;
        out->bytes += walk->parts[i].bytes;
    }
    return 0;
}

/* Read the header of every segment into headers, and learn the oldest LSN they speak of. */
static int read_headers(int dir, struct pd_segment_list *list, struct pd_segment_header *headers,
                        struct pd_recovery *out, struct pd_error *error)
{
    for (size_t i = 0; i < list->count; i++) {
        struct pd_scan scan;
        int rc = begin(&scan, dir, list->entries[i].number, error);
        if (rc < 0)
            return rc;
        headers[i] = scan.header;
        list->entries[i].base_lsn = scan.header.base_lsn;
        if (scan.header.oldest_lsn > out->oldest_lsn)
            out->oldest_lsn = scan.header.oldest_lsn;
        pd_scan_end(&scan);
    }
    return 0;
}

/* How many segments at the front truncation has given up: all their records are below oldest. */
static size_t count_retired(const struct pd_segment_list *all, uint64_t oldest)
{
    size_t first = 0;
    while (first + 1 < all->count && all->entries[first + 1].base_lsn <= oldest)
        first++;
    return first;
}

static int walk_kept(int dir, const struct pd_segment_list *all,
                     const struct pd_segment_header *headers, struct pd_recovery *out,
                     struct pd_error *error)
{
    size_t first = count_retired(all, out->oldest_lsn);
    assert(first < all->count);
    int rc = 0;
    for (size_t i = 0; i < all->count && rc == 0; i++)
        rc = pd_segments_add(i < first ? &out->retired : &out->segments, all->entries[i].number,
                             all->entries[i].base_lsn);
    if (rc < 0)
        return pd_error_os(error, rc, "listing the log", "");
    if (headers[first].base_lsn > out->oldest_lsn) {
        char name[PD_NAME_BYTES];
        pd_segment_name(headers[first].number, name);
        return pd_error_corrupt(error, name, 0, out->oldest_lsn, headers[first].base_lsn - 1,
                                "the segments before it are missing");
    }
    struct walk walk = {
        .dir = dir,
        .entries = all->entries,
        .headers = headers,
        .parts = calloc(all->count, sizeof *walk.parts),
        .errors = calloc(all->count, sizeof *walk.errors),
        .results = calloc(all->count, sizeof *walk.results),
    };
    if (walk.parts && walk.errors && walk.results)
        rc = walk_earlier_all(&walk, first, all->count - 1, out, error);
    else
        rc = pd_error_os(error, -ENOMEM, "opening the log", "");
    free(walk.parts);
    free(walk.errors);
    free(walk.results);
    return rc;
}

static int recover_listed(int dir, bool settle, struct pd_segment_list *all,
                          struct pd_recovery *out, struct pd_error *error)
{
    if (all->count == 0)
        return pd_error_os(error, -ENOENT, "opening the log", "");
    int rc = settle ? settle_all(dir, all, error) : 0;
    if (rc < 0)
        return rc;
    assert(all->count > 0); /* settling syncs segments and lists none anew */
    struct pd_segment_header *headers = calloc(all->count, sizeof *headers);
    if (!headers)
        return pd_error_os(error, -ENOMEM, "opening the log", "");
    rc = read_headers(dir, all, headers, out, error);
    /* The last segment comes first: only its batches know the latest truncation. */
    if (rc == 0)
        rc = walk_last(dir, all->entries[all->count - 1].number, out, error);
    if (rc == 0)
        rc = walk_kept(dir, all, headers, out, error);
    free(headers);
    return rc;
}

int pd_recover(int dir, bool settle, struct pd_recovery *out, struct pd_error *error)
{
    *out = (struct pd_recovery){.oldest_lsn = 1};
    struct pd_segment_list all;
    int rc = pd_segments_list(dir, &all);
    if (rc < 0)
        pd_error_os(error, rc, "listing the log", "");
    else
        rc = recover_listed(dir, settle, &all, out, error);
    pd_segments_free(&all);
    return rc;
}
