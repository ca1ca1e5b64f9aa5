/* test_turns.c - coming home in turns: each is woken by another thread, and none by a clock. */
#include "check.h"
#include "log.h"
#include "patience.h"
#include "scratch.h"
#include "sys.h"
#include "turn.h"

#include <pthread.h>

enum { THREADS = 128, ROUNDS = 60, TIMES = 5, SIZE = 64, SEGMENT = 256 * 1024 };

static struct pd_log *shared;

/* Barriers are not everywhere. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t arrived;
} meeting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

/* Nobody commits again, and so wakes the next ones, before all have come home. */
static void wait_for_all(uint64_t round)
{
    pthread_mutex_lock(&meeting.mutex);
    if (++meeting.arrived == (round + 1) * THREADS)
        pthread_cond_broadcast(&meeting.changed);
    while (meeting.arrived < (round + 1) * THREADS)
        pthread_cond_wait(&meeting.changed, &meeting.mutex);
    pthread_mutex_unlock(&meeting.mutex);
}

static void *commit_in_turn(void *context)
{
    for (uint64_t i = 0; i < ROUNDS; i++) {
        (void)scratch_commit(shared, (uint64_t)(uintptr_t)context << 32 | i, SIZE);
        wait_for_all(i);
    }
    return NULL;
}

/* Waits beside the others, and takes no turn when it goes. */
static void *sync_beside(void *context)
{
    (void)context;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct pd_ticket ticket = {0, 0};
        int rc;
        while ((rc = pd_log_sync(shared, 0, &ticket)) == PD_FULL || rc == PD_WAITING)
            ;
        CHECK_EQUAL(rc, PD_DONE);
        wait_for_all(i);
    }
    return NULL;
}

/* A log on which threads take turns, and of which no wait may end by itself. */
static void begin_patiently(const char *path)
{
    pd_turns_use(true);
    shared = patience_open(path, SEGMENT);
}

static void end_patiently(void)
{
    patience_close(shared);
    pd_turns_use(false);
}

static void all_are_woken(void)
{
    begin_patiently("turns");
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        void *(*run)(void *) = i % 8 == 7 ? sync_beside : commit_in_turn;
        CHECK_EQUAL(pthread_create(&threads[i], NULL, run, (void *)i), 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    end_patiently();
    struct pd_report report;
    struct pd_error error;
    CHECK_EQUAL(pd_log_verify("turns", &report, &error), 0);
    CHECK_EQUAL(report.records, THREADS / 8 * 7 * ROUNDS);
}

static void *wait_for_batch(void *seq)
{
    pthread_mutex_lock(&shared->mutex);
    (void)__atomic_fetch_add(&shared->users, 1, __ATOMIC_RELAXED);
    CHECK_EQUAL(pd_group_wait_and_leave(shared, (uint64_t)(uintptr_t)seq, true), PD_DONE);
    return NULL;
}

/* Two batches are acknowledged at once.  While those of the first go home the many of the second
 * are awake, so that nobody is woken; the last to go is of the second. */
static void leave_two_batches(void)
{
    begin_patiently("two batches");
    const uint32_t crowd = 4 * pd_turn_portion();
    pthread_t threads[THREADS];
    CHECK(crowd > 0);
    pthread_mutex_lock(&shared->mutex);
    const uint64_t begin = shared->acked_seq;
    struct pd_slot *slot = &shared->slots[begin % PD_SLOTS];
    shared->filling_seq = begin + 2;
    pthread_mutex_unlock(&shared->mutex);
    for (uint32_t i = 0; i < crowd; i++)
        CHECK_EQUAL(pthread_create(&threads[i], NULL, wait_for_batch, (void *)(uintptr_t)begin), 0);

    pthread_mutex_lock(&shared->mutex);
    while (slot->waiters < crowd) {
        pthread_mutex_unlock(&shared->mutex);
        pd_sys_yield();
        pthread_mutex_lock(&shared->mutex);
    }
    __atomic_store_n(&shared->acked_seq, begin + 2, __ATOMIC_RELEASE);
    __atomic_store_n(&shared->crowd, 2, __ATOMIC_RELAXED);
    slot->waiters = 0;
    pthread_mutex_unlock(&shared->mutex);
    (void)__atomic_fetch_add(&shared->awake, THREADS, __ATOMIC_RELAXED);
    pd_wait_release(slot, crowd);
    while (__atomic_load_n(&shared->users, __ATOMIC_ACQUIRE) > crowd / 2)
        pd_sys_yield();
    (void)__atomic_fetch_sub(&shared->awake, THREADS, __ATOMIC_RELAXED);
    wait_for_batch((void *)(uintptr_t)(begin + 1));

    for (uint32_t i = 0; i < crowd; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    pthread_mutex_lock(&shared->mutex);
    shared->acked_seq = shared->filling_seq = begin;
    pthread_mutex_unlock(&shared->mutex);
    end_patiently();
}

/* Who is about to sleep when the others are woken does not, and may wake all: not each time. */
static void the_last_wakes_another_batch(void)
{
    for (int i = 0; i < TIMES; i++)
        leave_two_batches();
}

static void *take_and_keep(void *context)
{
    (void)context;
    pd_turn_take();
    return NULL;
}

/* A thread may end without giving its turn back; whoever waits for one goes on all the same. */
static void a_turn_that_is_kept_ends(void)
{
    pthread_t thread;
    pd_turns_use(true);
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(pthread_create(&thread, NULL, take_and_keep, NULL), 0);
        CHECK_EQUAL(pthread_join(thread, NULL), 0);
        pd_turn_take();
        pd_turn_give();
        pd_turn_give();
    }
    pd_turns_use(false);
    CHECK_EQUAL(pd_turn_portion(), 0);
}

const struct test turns_tests[] = {
    {"of a crowd that is woken in portions nobody is left behind", all_are_woken},
    {"the last to go home wakes those of another batch", the_last_wakes_another_batch},
    {"a turn that is never given back ends by itself", a_turn_that_is_kept_ends},
    {NULL, NULL},
};
