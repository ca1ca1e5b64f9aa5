/* test_bell.c - the bell of systems without eventfd: a pipe, compiled here under other names. */
#define _GNU_SOURCE

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define pd_sys_bell_open piped_bell_open
#define pd_sys_bell_ring piped_bell_ring
#define pd_sys_bell_clear piped_bell_clear
#define pd_sys_bell_close piped_bell_close
#include "sys.h"

enum { CALLS = 4, MORE_THAN_A_PIPE_HOLDS = 1 << 14 };

static int calls, refused, made[2];

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int noted_pipe(int ends[2])
{
    const int rc = pipe(ends);
    made[0] = ends[0];
    made[1] = ends[1];
    return rc;
}

static int counted_fcntl(int fd, int command, int argument)
{
    CHECK(calls < CALLS);
    if (calls++ == refused) {
        errno = ENOLCK;
        return -1;
    }
    return fcntl(fd, command, argument);
}

#undef __linux__
#define pipe noted_pipe
#define fcntl counted_fcntl
#include "sys_posix_bell.c"
#undef fcntl

static void refusal(void)
{
    for (refused = 0; refused < CALLS; refused++) {
        int bell[2] = {-1, -1};
        calls = 0;
        CHECK_EQUAL(piped_bell_open(bell), -ENOLCK);
        CHECK_EQUAL(bell[0], -1);
        CHECK_EQUAL(bell[1], -1);
        CHECK(!is_open(made[0]));
        CHECK(!is_open(made[1]));
    }
}

static void ringing(void)
{
    int bell[2];
    calls = 0;
    refused = CALLS;
    CHECK_EQUAL(piped_bell_open(bell), 0);
    for (int i = 0; i < 2; i++) {
        CHECK(fcntl(bell[i], F_GETFD) & FD_CLOEXEC);
        CHECK(fcntl(bell[i], F_GETFL) & O_NONBLOCK);
    }
    piped_bell_ring(bell[1]);
    piped_bell_clear(bell[0]);
    char byte;
    CHECK_EQUAL(read(bell[0], &byte, 1), -1);
    CHECK_EQUAL(errno, EAGAIN);
    piped_bell_clear(bell[0]);
    for (int i = 0; i < MORE_THAN_A_PIPE_HOLDS; i++)
        piped_bell_ring(bell[1]);
    CHECK_EQUAL(read(bell[0], &byte, 1), 1);
    piped_bell_close(bell);
    CHECK(!is_open(made[0]));
    CHECK(!is_open(made[1]));
}

const struct test bell_tests[] = {
    {"a pipe that cannot be made what it has to be is closed, whichever call fails", refusal},
    {"a pipe rings, is cleared, and waits neither empty nor full", ringing},
    {NULL, NULL},
};
