/* test_sync.c - the syncs of a file take turns where they have to, and what that asks of others. */
#include "check.h"
#include "log.h"
#include "pydurable_append.h"
#include "scratch.h"
#include "sys.h"

enum { COMMITS = 20, SIZE = 64, SEGMENT = 256 * 1024 };

static const struct pd_sys *true_base;
static struct pd_sys base;
static struct pd_sys_kind kind;
static bool turns;
static uint64_t asked, taken, ended;

static uint64_t count_of(uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static bool ask(int fd)
{
    CHECK(fd >= 0);
    (void)__atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED);
    return turns;
}

static int take(int fd)
{
    CHECK(fd >= 0);
    (void)__atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED);
    return 1;
}

static void end(int fd)
{
    CHECK(fd >= 0);
    (void)__atomic_fetch_add(&ended, 1, __ATOMIC_RELAXED);
}

static void begin_watching(bool has_turns)
{
    true_base = pd_sys_base;
    kind = *true_base->kind;
    kind.has_turns = ask;
    kind.take_turn = take;
    kind.end_turn = end;
    base = *true_base;
    base.kind = &kind;
    pd_sys_base = &base;
    turns = has_turns;
}

static struct pd_log *open_log(const char *path, int target, int method)
{
    struct pd_log_options options = scratch_options(target, SEGMENT);
    struct pd_log *log = NULL;
    struct pd_error error;
    options.method = method;
    CHECK_EQUAL(pd_log_open(path, &options, &log, &error), 0);
    return log;
}

static struct pd_log *open_file(const char *path)
{
    const struct pd_file_options options = {.target = PD_TARGET_GROUP,
                                            .method = PD_METHOD_FDATASYNC,
                                            .lanes = 2,
                                            .mode = 0600,
                                            .interval_ns = 10000000,
                                            .max_pending_bytes = 256 * 1024};
    struct pd_log *log = NULL;
    struct pd_error error;
    CHECK_EQUAL(pd_file_open(path, &options, &log, &error), 0);
    return log;
}

/* Commit alone, and sync: so many syncs of the file at the least, and more where the keeper forces
 * out zeros. */
static void watch(struct pd_log *log, uint64_t syncs)
{
    const uint64_t asked_before = count_of(&asked), taken_before = count_of(&taken);
    for (uint64_t i = 0; i < COMMITS; i++)
        (void)scratch_commit(log, i, SIZE);
    struct pd_ticket ticket = {0, 0};
    CHECK_EQUAL(pd_log_sync(log, 0, &ticket), PD_DONE);
    CHECK_EQUAL(count_of(&asked), asked_before);
    const uint64_t took = count_of(&taken) - taken_before;
    if (turns)
        CHECK(took >= syncs);
    else
        CHECK_EQUAL(took, 0);
    scratch_close(log);
    CHECK_EQUAL(count_of(&ended), count_of(&taken));
}

static void nobody_asks_twice(void)
{
    static const char *const paths[] = {"none", "turns"};
    static const char *const through[] = {"none through", "turns through"};
    static const char *const cached[] = {"none cached", "turns cached"};
    static const char *const plain[] = {"none.txt", "turns.txt"};
    for (int i = 0; i < 2; i++) {
        begin_watching(i == 1);
        watch(open_log(paths[i], PD_TARGET_GROUP, PD_METHOD_FDATASYNC), COMMITS);
        watch(open_log(through[i], PD_TARGET_GROUP, PD_METHOD_DSYNC), COMMITS);
        watch(open_log(cached[i], PD_TARGET_NONE, PD_METHOD_FDATASYNC), 1);
        watch(open_file(plain[i]), COMMITS);
        pd_sys_base = true_base;
    }
}

const struct test sync_tests[] = {
    {"an open file is asked once whether its syncs take turns, and then all of them do",
     nobody_asks_twice},
    {NULL, NULL},
};
