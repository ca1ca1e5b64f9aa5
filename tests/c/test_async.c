/* test_async.c - requests of several loops at once, for what a thread sanitizer can find. */
#define _POSIX_C_SOURCE 200809L

#include "async.h"
#include "check.h"
#include "scratch.h"
#include "sys.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

enum { LOOPS = 3, REQUESTS = 300, RECORDS = 4, SIZE = 60, SEGMENT = 64 * 1024 };

struct loop {
    struct pd_async *async;
    int submitted, taken;
    uint64_t last_lsn; /* of the last commit that was told */
};

static bool is_sync(int request)
{
    return request % 50 == 49;
}

/* Take results until so many are left; waits for the bell like an event loop. */
static void take(struct loop *loop, int left)
{
    struct pd_result result;
    while (loop->submitted - loop->taken > left) {
        struct pollfd bell = {.fd = pd_async_fd(loop->async), .events = POLLIN};
        CHECK_EQUAL(poll(&bell, 1, 60000), 1);
        for (; pd_async_take(loop->async, &result); loop->taken++) {
            CHECK_EQUAL(result.code, PD_DONE);
            CHECK(result.last_lsn >= loop->last_lsn);
            /* A sync tells what is durable by then, which may be more. */
            if (!is_sync(loop->taken))
                loop->last_lsn = result.last_lsn;
        }
    }
}

static void *event_loop(void *context)
{
    struct pd_log *log = context;
    struct loop loop = {0};
    struct pd_error error;
    CHECK_EQUAL(pd_async_open(log, &loop.async, &error), 0);
    uint8_t data[RECORDS * SIZE];
    const uint32_t sizes[RECORDS] = {SIZE, 0, 2 * SIZE, SIZE};
    memset(data, 'a', sizeof data);
    while (loop.submitted < REQUESTS) {
        const int rc = is_sync(loop.submitted)
                           ? pd_async_sync(loop.async, 0)
                           : pd_async_submit(loop.async, data, sizeof data, sizes, RECORDS, 0);
        CHECK_EQUAL(rc, 0);
        take(&loop, loop.submitted++ % 7);
    }
    take(&loop, 0);
    struct pd_log_info info;
    pd_log_info(log, &info);
    CHECK(info.durable_lsn >= loop.last_lsn);
    pd_async_close(loop.async);
    CHECK_EQUAL(pd_async_sync(loop.async, 0), -EBADF);
    pd_async_free(loop.async);
    return NULL;
}

static void loops_at_once(void)
{
    struct pd_log *log = scratch_open("loops", PD_TARGET_GROUP, SEGMENT);
    pthread_t threads[LOOPS];
    for (int i = 0; i < LOOPS; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, event_loop, log), 0);
    for (int i = 0; i < LOOPS; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    struct pd_log_info info;
    pd_log_info(log, &info);
    CHECK_EQUAL(info.next_lsn - 1, (uint64_t)LOOPS * (REQUESTS - REQUESTS / 50) * RECORDS);
    CHECK_EQUAL(info.durable_lsn, info.next_lsn - 1);
    scratch_close(log);
}

/* A close finishes what was submitted, and what nobody takes is given back with the rest. */
static void close_with_results(void)
{
    struct pd_log *log = scratch_open("left", PD_TARGET_GROUP, SEGMENT);
    struct pd_async *async;
    struct pd_error error;
    const uint32_t size = 5;
    CHECK_EQUAL(pd_async_open(log, &async, &error), 0);
    for (int i = 0; i < 40; i++)
        CHECK_EQUAL(pd_async_submit(async, "bytes", size, &size, 1, 0), 0);
    pd_async_close(async);
    struct pd_result result;
    for (uint64_t lsn = 1; lsn <= 20; lsn++) {
        CHECK(pd_async_take(async, &result));
        CHECK_EQUAL(result.last_lsn, lsn);
        /* Who takes one at a time hears of the next. */
        struct pollfd bell = {.fd = pd_async_fd(async), .events = POLLIN};
        CHECK_EQUAL(poll(&bell, 1, 0), 1);
    }
    pd_async_free(async);
    struct pd_log_info info;
    pd_log_info(log, &info);
    CHECK_EQUAL(info.durable_lsn, 40);
    scratch_close(log);
}

/* A worker that rings late, when its result has been taken, does not keep the loop awake for ever.
 */
static void late_ring(void)
{
    struct pd_log *log = scratch_open("late", PD_TARGET_GROUP, SEGMENT);
    struct pd_async *async;
    struct pd_error error;
    struct pd_result result;
    CHECK_EQUAL(pd_async_open(log, &async, &error), 0);
    pd_sys_bell_ring(async->bell[1]);
    struct pollfd bell = {.fd = pd_async_fd(async), .events = POLLIN};
    CHECK_EQUAL(poll(&bell, 1, 0), 1);
    CHECK(!pd_async_take(async, &result));
    CHECK_EQUAL(poll(&bell, 1, 0), 0);
    pd_async_close(async);
    pd_async_free(async);
    scratch_close(log);
}

const struct test async_tests[] = {
    {"a ring that comes late is heard once", late_ring},
    {"three loops submit and take results, over many segments", loops_at_once},
    {"closing finishes what was submitted", close_with_results},
    {NULL, NULL},
};
