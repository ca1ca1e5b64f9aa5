/* test_darwin.c - what a log on macOS relies on and Linux does not use: space that is counted from
 * the end of a file, and waiting without futexes. */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "io.h"
#include "pydurable.h"
#include "sys.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>

enum { WAITERS = 8, ROUNDS = 500, BLOCK = 4096 };

static char notes[1 << 16];

static void expect_notes(const char *wanted)
{
    const uint64_t size = pd_darwin_take_notes(notes, sizeof notes - 1);
    notes[size] = '\0';
    if (strcmp(notes, wanted) != 0) {
        fprintf(stderr, "called:\n%swanted:\n%s", notes, wanted);
        exit(1);
    }
}

static void space(void)
{
    pd_darwin_imitate(true);
    const int fd = pd_io_open(AT_FDCWD, "space", O_RDWR | O_CREAT | O_TRUNC, 0);
    CHECK(fd >= 0);
    static const uint8_t block[2 * BLOCK] = {1};
    CHECK_EQUAL(pd_io_write(fd, block, sizeof block, 0), 0);
    CHECK_EQUAL(pd_io_sync_file(fd), 0); /* some filesystems count blocks once they are written */
    struct stat st;
    CHECK_EQUAL(pd_sys->stat(fd, &st), 0);
    expect_notes("openat\nF_FULLFSYNC\n");

    /* Only what is missing is asked for. */
    const int64_t size = 64 * BLOCK, held = (int64_t)st.st_blocks * 512;
    CHECK(held > 0 && held < size);
    CHECK_EQUAL(pd_io_allocate(fd, (uint64_t)size), 0);
    char wanted[128];
    snprintf(wanted, sizeof wanted,
             "F_PREALLOCATE F_ALLOCATECONTIG %" PRId64 "\nftruncate %" PRId64 "\n", size - held,
             size);
    expect_notes(wanted);

    /* What is there already is neither asked for nor cut off. */
    CHECK_EQUAL(pd_io_allocate(fd, BLOCK), 0);
    expect_notes("");
    CHECK_EQUAL(pd_sys->stat(fd, &st), 0);
    CHECK_EQUAL(st.st_size, size);
    CHECK_EQUAL(pd_io_close(fd), 0);
    pd_darwin_imitate(false);
}

static uint32_t word, passed;
static const uint64_t patience_ns = 60000000000u;

static void *waiter(void *context)
{
    (void)context;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == round) {
            const uint64_t begun = pd_sys_now_ns();
            pd_sys_word_wait(&word, round, patience_ns);
            CHECK(pd_sys_now_ns() - begun < patience_ns);
        }
        __atomic_add_fetch(&passed, 1, __ATOMIC_ACQ_REL);
        while (__atomic_load_n(&passed, __ATOMIC_ACQUIRE) < (round + 1) * WAITERS)
            pd_sys_sleep_ns(1000);
    }
    return NULL;
}

/* A lost wake-up would be a wait of a minute in one of the rounds. */
static void rooms(void)
{
    pd_darwin_imitate(true);
    word = passed = 0;
    pthread_t threads[WAITERS];
    for (int i = 0; i < WAITERS; i++)
        CHECK_EQUAL(pd_sys_thread_start(&threads[i], waiter, NULL), 0);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        __atomic_store_n(&word, round + 1, __ATOMIC_RELEASE);
        pd_sys_word_wake(&word, WAITERS);
        while (__atomic_load_n(&passed, __ATOMIC_ACQUIRE) < (round + 1) * WAITERS)
            pd_sys_sleep_ns(1000);
    }
    for (int i = 0; i < WAITERS; i++)
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    pd_darwin_imitate(false);
}

/* The threads of the stress suite, whose waits are then those of macOS. */
static void stress(void)
{
    pd_darwin_imitate(true);
    for (const struct test *test = stress_tests; test->claim; test++)
        test->run();
    pd_darwin_imitate(false);
}

const struct test darwin_tests[] = {
    {"space is asked for from the end of the file on, and nothing is cut off", space},
    {"a word without futexes wakes all who wait, each time", rooms},
    {"the stress suite holds with what macOS has", stress},
    {NULL, NULL},
};
