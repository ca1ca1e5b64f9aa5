/* test_hold.c - a batch waits for those who come back, where they do, and for nobody else. */
#include "check.h"
#include "log.h"
#include "patience.h"
#include "scratch.h"
#include "sys.h"

enum { THREADS = 8, ROUNDS = 30, SIZE = 64, SEGMENT = 256 * 1024, TRIES = 20, MOMENTS = 4000 };

static const uint64_t flush_ns = 25000000, hold_ns = 20000000;

static struct pd_log *shared;
static uint64_t first_seq = UINT64_MAX; /* while that is not known; atomic */
static const struct pd_sys *true_table;

static int sync_slowly(int fd)
{
    pd_sys_sleep_ns(flush_ns);
    return true_table->fdatasync(fd);
}

static void *commit_in_a_loop(void *context)
{
    for (uint64_t i = 0; i < ROUNDS; i++)
        (void)scratch_commit(shared, (uint64_t)(uintptr_t)context << 32 | i, SIZE);
    return NULL;
}

/* How many batches it takes. */
static uint64_t commit_together(void)
{
    struct pd_stats before, after;
    pthread_t threads[THREADS];
    pd_log_stats(shared, &before);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, commit_in_a_loop, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    pd_log_stats(shared, &after);
    CHECK_EQUAL(after.commits - before.commits, THREADS * ROUNDS);
    return after.batches - before.batches;
}

/* Twice that many where the threads fall into two halves.  They may be late on a busy machine, and
 * the first batches of all are not held. */
static void a_loop_fills_batches(void)
{
    true_table = pd_sys;
    struct pd_sys slow = *true_table;
    slow.fdatasync = sync_slowly;
    pd_sys = &slow; /* before there is a keeper, and until there is none */
    shared = scratch_open("loop", PD_TARGET_GROUP, SEGMENT);
    bool together = false;
    for (int i = 0; i < TRIES && !together; i++)
        together = commit_together() <= ROUNDS * 5 / 4;
    CHECK(together);
    scratch_close(shared);
    pd_sys = true_table;
}

/* Whether the next batch is led, beside one in flight, when so many travel in it. */
static bool is_led_with(uint32_t callers)
{
    pd_group_filling(shared)->callers = callers;
    return pd_group_is_next(shared);
}

/* During the first flush five join the next batch, and one is under way: six commit at a time.
 * Where each batch takes one commit that is no reason to wait. */
static int sync_beside_others(int fd)
{
    const uint64_t first = __atomic_load_n(&first_seq, __ATOMIC_ACQUIRE);
    if (first == UINT64_MAX)
        return true_table->fdatasync(fd);
    pthread_mutex_lock(&shared->mutex);
    const bool in_flight = shared->acked_seq != shared->filling_seq;
    if (in_flight && shared->acked_seq == first) {
        pd_group_filling(shared)->callers = 5;
    } else if (in_flight && shared->acked_seq == first + 1) {
        const bool alone = shared->target == PD_TARGET_EACH;
        CHECK_EQUAL(shared->crowd, alone ? 1 : 6);
        CHECK_EQUAL(is_led_with(1), alone);
        CHECK_EQUAL(is_led_with(2), alone);
        CHECK(is_led_with(3));
        CHECK(!is_led_with(0));
    }
    pthread_mutex_unlock(&shared->mutex);
    return true_table->fdatasync(fd);
}

static void commit_beside_others(const char *path, int target)
{
    true_table = pd_sys;
    struct pd_sys table = *true_table;
    table.fdatasync = sync_beside_others;
    pd_sys = &table;
    shared = scratch_open(path, target, SEGMENT);
    pthread_mutex_lock(&shared->mutex);
    __atomic_store_n(&first_seq, shared->filling_seq, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&shared->mutex);
    (void)scratch_commit(shared, 1, SIZE);
    pthread_mutex_lock(&shared->mutex);
    pd_group_filling(shared)->callers = 0;
    pthread_mutex_unlock(&shared->mutex);
    (void)scratch_commit(shared, 2, SIZE);
    CHECK(shared->acked_seq >= first_seq + 2); /* and more where it was idle for a moment */
    CHECK_EQUAL(shared->crowd, 1);
    __atomic_store_n(&first_seq, UINT64_MAX, __ATOMIC_RELEASE);
    scratch_close(shared);
    pd_sys = true_table;
}

static void a_second_lane_is_for_half_of_all(void)
{
    commit_beside_others("half", PD_TARGET_GROUP);
    commit_beside_others("half, each", PD_TARGET_EACH);
}

/* So many were sent home and are back; whether the next batch is held for others. */
static bool come_back(struct pd_log *log, uint32_t count)
{
    pd_hold_begin(log, count, hold_ns);
    for (uint32_t i = 0; i < count; i++)
        pd_hold_came_back(log);
    pd_hold_begin(log, 2, hold_ns);
    pd_hold_came_back(log);
    return pd_hold_lasts_ns(log) > 0;
}

/* Hold the filling batch for so many who are on their way.  On a busy machine the time may be over
 * before anybody can look. */
static void hold_for(struct pd_log *log, uint32_t count)
{
    bool held = false;
    for (int i = 0; i < 1000 && !held; i++) {
        (void)come_back(log, 3);
        pd_hold_begin(log, count, hold_ns);
        CHECK(pd_group_filling(log)->callers > 0 || !pd_hold_lasts_ns(log)); /* for nobody? */
        pd_hold_came_back(log);
        held = pd_hold_lasts_ns(log) > 0;
    }
    CHECK(held);
}

/* One was back long ago, and the other has not come yet, or has come now. */
static void be_late(struct pd_log *log, bool comes)
{
    pd_hold_begin(log, 2, hold_ns);
    pd_hold_came_back(log);
    log->hold.first_ns = 1;
    if (comes)
        pd_hold_came_back(log);
}

/* Hold for nobody who was trusted before. */
static void lose_trust(struct pd_log *log, bool comes)
{
    for (int i = 0; i < 3; i++)
        be_late(log, comes);
    pd_hold_begin(log, 2, hold_ns);
    pd_hold_came_back(log);
    CHECK_EQUAL(pd_hold_lasts_ns(log), 0);
}

static void only_who_comes_back_is_waited_for(void)
{
    struct pd_log *log = scratch_open("trust", PD_TARGET_GROUP, SEGMENT);
    pthread_mutex_lock(&log->mutex);
    CHECK(!come_back(log, 3));

    /* Who has come in the meantime travels with them; when enough have joined nobody waits. */
    pd_group_filling(log)->callers = 2;
    hold_for(log, 3);
    CHECK_EQUAL(log->hold.callers, 5);
    pd_group_filling(log)->callers = 5;
    CHECK_EQUAL(pd_hold_lasts_ns(log), 0);
    pd_group_filling(log)->callers = 0;

    hold_for(log, 3);
    pd_hold_end(log);
    CHECK_EQUAL(pd_hold_lasts_ns(log), 0);
    hold_for(log, 3);
    pd_hold_begin(log, 3, UINT64_MAX / 2); /* a flush that takes for ever */
    pd_hold_came_back(log);
    CHECK(pd_hold_lasts_ns(log) <= hold_ns);
    pd_hold_begin(log, 3, 1000); /* one of a microsecond */
    pd_hold_came_back(log);
    CHECK_EQUAL(pd_hold_lasts_ns(log), 0);

    hold_for(log, 3);
    lose_trust(log, false);
    hold_for(log, 3);
    lose_trust(log, true);

    /* Two that come in time are worth half a flush; the first may stay away for a whole one. */
    hold_for(log, 2);
    CHECK_EQUAL(log->hold.worth_ns, hold_ns / 2);
    pd_hold_begin(log, 2, hold_ns);
    log->hold.back_by_ns = 1;
    pd_hold_came_back(log);
    CHECK_EQUAL(pd_hold_lasts_ns(log), 0);

    /* Nobody can be late alone, and nobody is trusted for that. */
    lose_trust(log, false);
    for (int i = 0; i < 100; i++) {
        pd_hold_begin(log, 1, hold_ns);
        pd_hold_came_back(log);
    }
    CHECK(log->hold.trust < 8);
    log->hold.away = 0;
    pthread_mutex_unlock(&log->mutex);
    scratch_close(log);
}

static void some_targets_hold_nothing(void)
{
    static const int targets[] = {PD_TARGET_NONE, PD_TARGET_INTERVAL, PD_TARGET_EACH};
    static const char *const paths[] = {"none", "interval", "each"};
    for (int i = 0; i < 3; i++) {
        struct pd_log *log = scratch_open(paths[i], targets[i], SEGMENT);
        pthread_mutex_lock(&log->mutex);
        for (int n = 0; n < 100; n++)
            CHECK(!come_back(log, 3));
        pthread_mutex_unlock(&log->mutex);
        scratch_close(log);
    }
}

/* For some who do not come. */
static void hold_in_vain(struct pd_log *log)
{
    pthread_mutex_lock(&log->mutex);
    hold_for(log, 5);
    pthread_mutex_unlock(&log->mutex);
}

static void who_waits_in_vain_goes_alone(void)
{
    struct pd_log *log = patience_open("alone", SEGMENT);
    for (uint64_t i = 0; i < 10; i++) {
        hold_in_vain(log);
        (void)scratch_commit(log, i, SIZE);
    }
    patience_close(log);
}

/* Whoever finds the batch held either watches it or leads it, also where the hold ends at that very
 * moment, which comes some microseconds after the mutex is free. */
static void a_hold_may_end_at_any_moment(void)
{
    struct pd_log *log = patience_open("moment", SEGMENT);
    for (uint64_t i = 0; i < MOMENTS; i++) {
        pthread_mutex_lock(&log->mutex);
        log->hold.away = 0; /* what comes now is not the first */
        log->hold.callers = 5;
        log->hold.until_ns = pd_sys_now_ns() + i % 1000 * 8;
        pthread_mutex_unlock(&log->mutex);
        (void)scratch_commit(log, i, SIZE);
    }
    patience_close(log);
}

/* Unless the keeper is awake, and takes the batch before the sync can. */
static void a_sync_is_not_held(void)
{
    struct pd_log *log = patience_open("sync", SEGMENT);
    int at_once = 0;
    for (int i = 0; i < TRIES; i++) {
        hold_in_vain(log);
        const uint64_t waits = patience_waits();
        struct pd_ticket accepted, ticket = {0, 0};
        CHECK_EQUAL(pd_log_accept(log, "accepted", 8, 0, 0, &accepted), PD_DONE);
        CHECK_EQUAL(pd_log_sync(log, 0, &ticket), PD_DONE);
        CHECK_EQUAL(ticket.lsn, accepted.lsn);
        at_once += patience_waits() == waits;
    }
    CHECK(at_once > 0);
    patience_close(log);
}

const struct test hold_tests[] = {
    {"those who commit in a loop travel together", a_loop_fills_batches},
    {"a batch is held for those who come back in time, and for no others",
     only_who_comes_back_is_waited_for},
    {"where no commit waits for the disk, or for others, no batch is held",
     some_targets_hold_nothing},
    {"a batch that is held in vain sets out when the time is over", who_waits_in_vain_goes_alone},
    {"a hold that ends at any moment leaves nobody behind", a_hold_may_end_at_any_moment},
    {"a sync does not wait for those who may come back", a_sync_is_not_held},
    {"a second lane is led for half of those who commit, and for no fewer",
     a_second_lane_is_for_half_of_all},
    {NULL, NULL},
};
