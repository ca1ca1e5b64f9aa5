/* test_turns.c - coming home in turns: each is woken by another thread, and none by a clock. */
#include "check.h"
#include "scratch.h"
#include "sys.h"
#include "turn.h"

#include <pthread.h>

enum { THREADS = 96, ROUNDS = 60, SIZE = 64, SEGMENT = 256 * 1024 };

/* A wait that nobody ends lasts this long here, where it would be over after a tenth of a second.
 */
static const uint64_t patience_ns = 20000000000u;

static const struct pd_sys_kind *true_kind;
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

static void wait_patiently(uint32_t *word, uint32_t seen, uint64_t ns)
{
    (void)ns;
    const uint64_t begun = pd_sys_now_ns();
    true_kind->word_wait(word, seen, patience_ns);
    CHECK(pd_sys_now_ns() - begun < patience_ns);
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

static void all_are_woken(void)
{
    const struct pd_sys *true_base = pd_sys_base;
    true_kind = true_base->kind;
    struct pd_sys_kind patient_kind = *true_kind;
    struct pd_sys patient = *true_base;
    patient_kind.word_wait = wait_patiently;
    patient.kind = &patient_kind;
    pd_sys_base = &patient;
    pd_turns_use(true);
    shared = scratch_open("turns", PD_TARGET_GROUP, SEGMENT);
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        void *(*run)(void *) = i % 8 == 7 ? sync_beside : commit_in_turn;
        CHECK_EQUAL(pthread_create(&threads[i], NULL, run, (void *)i), 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    scratch_close(shared);
    struct pd_report report;
    struct pd_error error;
    CHECK_EQUAL(pd_log_verify("turns", &report, &error), 0);
    CHECK_EQUAL(report.records, THREADS / 8 * 7 * ROUNDS);
    pd_turns_use(false);
    pd_sys_base = true_base;
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
    {"a turn that is never given back ends by itself", a_turn_that_is_kept_ends},
    {NULL, NULL},
};
