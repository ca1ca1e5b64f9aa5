/* test_stress.c - many threads on one log, for what a thread sanitizer and asserts can find. */
#include "batch.h"
#include "check.h"
#include "scratch.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { THREADS = 8, ROUNDS = 400, SIZE = 200, SEGMENT = 64 * 1024 };

static struct stress {
    struct pd_log *log;
    uint64_t highest[THREADS]; /* the last LSN that each thread was told is durable */
    bool closes;               /* the log is closed while the threads commit */
} stress;

/* A record that says who wrote it and which of its own it is: LSNs are not known beforehand. */
static void make_record(uint8_t out[SIZE], uint32_t thread, uint32_t serial)
{
    scratch_fill(out, (uint64_t)thread << 32 | serial, SIZE);
}

/* Commit what is at data; returns the last LSN, or 0 once the log takes no more. */
static uint64_t commit(const void *data, size_t size, uint32_t count)
{
    struct pd_ticket ticket = {0, 0};
    int rc;
    while ((rc = pd_log_commit(stress.log, data, size, count, 0, &ticket)) == PD_FULL)
        ;
    rc = scratch_finish(stress.log, rc, &ticket);
    if (stress.closes && rc == -EBADF)
        return 0;
    CHECK_EQUAL(rc, PD_DONE);
    struct pd_log_info info;
    if (!stress.closes) {
        pd_log_info(stress.log, &info);
        CHECK(info.durable_lsn >= ticket.lsn);
    }
    return ticket.lsn;
}

static void *committer(void *context)
{
    const uint32_t self = (uint32_t)(uintptr_t)context;
    for (uint32_t serial = 0; serial < ROUNDS; serial++) {
        uint8_t data[2 * (PD_FRAME_BYTES + SIZE)];
        uint64_t lsn;
        if (serial % 5 == 3) {
            /* Two at once: the second begins where the first ends. */
            for (uint32_t i = 0; i < 2; i++) {
                pd_put32(data + i * (PD_FRAME_BYTES + SIZE), SIZE);
                make_record(data + i * (PD_FRAME_BYTES + SIZE) + PD_FRAME_BYTES, self, serial + i);
            }
            lsn = commit(data, sizeof data, 2);
            serial++;
        } else {
            make_record(data, self, serial);
            lsn = commit(data, SIZE, 0);
        }
        if (lsn == 0)
            break;
        CHECK(lsn > stress.highest[self]);
        stress.highest[self] = lsn;
    }
    return NULL;
}

/* Sync, look and truncate while the others commit. */
static void *meddler(void *context)
{
    (void)context;
    struct pd_log_info info;
    int i = 0;
    do {
        struct pd_ticket ticket = {0, 0};
        struct pd_stats stats;
        int rc;
        while ((rc = pd_log_sync(stress.log, 0, &ticket)) == PD_FULL || rc == PD_WAITING)
            ;
        CHECK_EQUAL(rc, PD_DONE);
        pd_log_info(stress.log, &info);
        CHECK(info.durable_lsn >= ticket.lsn);
        CHECK(info.oldest_lsn <= info.next_lsn && info.durable_lsn < info.next_lsn);
        pd_log_stats(stress.log, &stats);
        CHECK(stats.commits <= info.next_lsn + THREADS * ROUNDS);
        if (++i % 3 == 0 && info.durable_lsn > 500)
            CHECK_EQUAL(pd_log_truncate_before(stress.log, info.durable_lsn - 500), 0);
    } while (info.next_lsn <= THREADS * ROUNDS);
    return NULL;
}

/* Follow the log while it is written: dense LSNs, each thread's records in its own order. */
static uint64_t read_all(const char *path, uint64_t *oldest)
{
    uint32_t next[THREADS] = {0};
    bool seen[THREADS] = {false};
    struct pd_reader *reader;
    struct pd_error error;
    CHECK_EQUAL(pd_reader_open(path, 1, &reader, &error), 0);
    struct pd_chunk chunk;
    uint64_t lsn = 0;
    int rc;
    while ((rc = pd_reader_next(reader, &chunk, &error)) > 0)
        for (uint32_t i = 0; i < chunk.count; i++) {
            if (lsn == 0)
                *oldest = lsn = chunk.first_lsn;
            else
                lsn++;
            CHECK_EQUAL(chunk.first_lsn + i, lsn);
            CHECK_EQUAL(chunk.ends[i] - chunk.begins[i], SIZE);
            const uint8_t *data = chunk.bytes + chunk.begins[i];
            const uint32_t thread = pd_get32(data + 4), serial = pd_get32(data);
            CHECK(thread < THREADS);
            CHECK(!seen[thread] || serial == next[thread]);
            scratch_expect(data, (uint64_t)thread << 32 | serial, SIZE);
            seen[thread] = true;
            next[thread] = serial + 1;
        }
    CHECK_EQUAL(rc, 0);
    pd_reader_close(reader);
    return lsn;
}

static void start_threads(pthread_t threads[THREADS])
{
    memset(stress.highest, 0, sizeof stress.highest);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, committer, (void *)i), 0);
}

static uint64_t join_threads(pthread_t threads[THREADS])
{
    uint64_t highest = 0;
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
        if (stress.highest[i] > highest)
            highest = stress.highest[i];
    }
    return highest;
}

static void everything_at_once(void)
{
    pthread_t threads[THREADS], other;
    stress.closes = false;
    stress.log = scratch_open("stress", PD_TARGET_GROUP, SEGMENT);
    start_threads(threads);
    CHECK_EQUAL(pthread_create(&other, NULL, meddler, NULL), 0);
    CHECK_EQUAL(join_threads(threads), THREADS * ROUNDS);
    CHECK_EQUAL(pthread_join(other, NULL), 0);
    scratch_close(stress.log);
    uint64_t oldest = 1;
    CHECK_EQUAL(read_all("stress", &oldest), THREADS * ROUNDS);
}

static void close_in_between(void)
{
    for (int round = 0; round < 5; round++) {
        char path[32];
        snprintf(path, sizeof path, "close%d", round);
        pthread_t threads[THREADS];
        stress.closes = true;
        stress.log = scratch_open(path, PD_TARGET_GROUP, SEGMENT);
        start_threads(threads);
        struct pd_log_info info;
        do
            pd_log_info(stress.log, &info);
        while (info.next_lsn <= (uint64_t)(100 * round));
        CHECK_EQUAL(pd_log_close(stress.log, 0), 0);
        const uint64_t highest = join_threads(threads);
        pd_log_free(stress.log);
        uint64_t oldest = 1;
        /* What was acknowledged is there; what was refused is not, as closing was clean. */
        CHECK_EQUAL(read_all(path, &oldest), highest);
    }
}

const struct test stress_tests[] = {
    {"eight threads commit while one syncs and truncates, over many segments", everything_at_once},
    {"closing while eight threads commit keeps what was acknowledged and nothing else",
     close_in_between},
    {NULL, NULL},
};
