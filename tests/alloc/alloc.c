/*
 * alloc.c - every allocation of the core fails, one after another.
 *
 * Linked with --wrap, so that the core's calls come here.  A life of a log and of a file is lived
 * once to count its allocations and then once for each, which fails: each call either does its work
 * or returns -ENOMEM, what was acknowledged is there afterwards, and nothing allocated is left.
 */
#include "check.h"
#include "pydurable.h"
#include "scratch.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum { RECORDS = 40, SIZE = 9000, SEGMENT = 64 * 1024 };

static long made, live, fails_at;

static bool refuse(void)
{
    return __atomic_add_fetch(&made, 1, __ATOMIC_SEQ_CST) ==
           __atomic_load_n(&fails_at, __ATOMIC_SEQ_CST);
}

static void *counted(void *memory)
{
    if (memory)
        __atomic_add_fetch(&live, 1, __ATOMIC_SEQ_CST);
    return memory;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *memory);

void *__wrap_malloc(size_t size)
{
    return refuse() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refuse() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (refuse())
        return NULL;
    void *larger = __real_realloc(memory, size);
    return memory ? larger : counted(larger);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return refuse() ? NULL : counted(__real_aligned_alloc(alignment, size));
}

char *__wrap_strdup(const char *text)
{
    return refuse() ? NULL : counted(__real_strdup(text));
}

void __wrap_free(void *memory)
{
    if (memory)
        __atomic_sub_fetch(&live, 1, __ATOMIC_SEQ_CST);
    __real_free(memory);
}

/* A call has failed for want of memory, if it has failed. */
static bool worked(int rc)
{
    CHECK(rc >= 0 || rc == -ENOMEM);
    return rc >= 0;
}

/* Open, commit over several segments, close: how many records were acknowledged. */
static uint64_t write_log(const char *path)
{
    static uint8_t data[SIZE];
    const struct pd_log_options options = scratch_options(PD_TARGET_GROUP, SEGMENT);
    struct pd_log *log;
    struct pd_error error = {0};
    uint64_t acknowledged = 0;
    if (!worked(pd_log_open(path, &options, &log, &error)))
        return 0;
    for (uint64_t i = 0; i < RECORDS; i++) {
        struct pd_ticket ticket = {0, 0};
        int rc;
        while ((rc = pd_log_commit(log, data, sizeof data, 0, 0, &ticket)) == PD_FULL)
            ;
        if (rc == PD_WAITING)
            rc = scratch_finish(log, rc, &ticket);
        if (worked(rc))
            acknowledged = ticket.lsn;
    }
    (void)worked(pd_log_close(log, 0));
    pd_log_free(log);
    return acknowledged;
}

/* Read all there is; the number of records, or 0 if memory was too short for that. */
static uint64_t count_records(const char *path)
{
    struct pd_reader *reader;
    struct pd_error error = {0};
    struct pd_chunk chunk;
    uint64_t count = 0;
    if (!worked(pd_reader_open(path, 1, &reader, &error)))
        return 0;
    int rc;
    while ((rc = pd_reader_next(reader, &chunk, &error)) > 0)
        count += chunk.count;
    const bool whole = worked(rc);
    pd_reader_close(reader);
    return whole ? count : 0;
}

static uint64_t live_once(const char *path, const char *file)
{
    const uint64_t acknowledged = write_log(path);
    struct pd_report report;
    struct pd_error error = {0};
    if (acknowledged) {
        (void)count_records(path);
        (void)worked(pd_log_verify(path, &report, &error));
    }
    const struct pd_replace_options options = {
        .durability = PD_DURABLE_FULL, .permissions = -1, .dir = -1, .overwrite = true};
    const struct pd_replace_item item = {file, "new", 3};
    struct pd_replace_outcome outcome;
    (void)worked(pd_replace(file, "new", 3, &options, &error));
    (void)worked(pd_replace_many(&item, 1, &options, 1, &outcome, &error));
    return acknowledged;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    char path[4096], file[4096];
    snprintf(file, sizeof file, "%s/file", argv[1]);
    long allocations = 0;
    for (long nth = 0; nth <= allocations; nth++) {
        snprintf(path, sizeof path, "%s/log%ld", argv[1], nth);
        made = 0;
        fails_at = nth;
        const uint64_t acknowledged = live_once(path, file);
        if (nth == 0) {
            CHECK_EQUAL(acknowledged, RECORDS);
            allocations = made;
        }
        fails_at = 0;
        CHECK_EQUAL(live, 0);
        if (acknowledged)
            CHECK(count_records(path) >= acknowledged);
        CHECK_EQUAL(live, 0);
    }
    printf("%ld\n", allocations);
    return 0;
}
