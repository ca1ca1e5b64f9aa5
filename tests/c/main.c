/* main.c - run one suite in a scratch directory: c_tests SUITE DIRECTORY. */
#define _POSIX_C_SOURCE 200809L

#include "check.h"

#include <string.h>
#include <unistd.h>

static const struct suite {
    const char *name;
    const struct test *tests;
} suites[] = {
    {"crc32c", crc32c_tests}, {"batch", batch_tests},     {"memory", memory_tests},
    {"io", io_tests},         {"recover", recover_tests}, {"stress", stress_tests},
    {"darwin", darwin_tests}, {"async", async_tests},     {"bell", bell_tests},
    {"turns", turns_tests},   {"hold", hold_tests},       {"sync", sync_tests},
};

int main(int argc, char **argv)
{
    if (argc != 3 || chdir(argv[2]) < 0) {
        fprintf(stderr, "usage: %s SUITE DIRECTORY\n", argv[0]);
        return 2;
    }
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) {
        if (strcmp(suites[i].name, argv[1]) != 0)
            continue;
        for (const struct test *test = suites[i].tests; test->claim; test++) {
            printf("%s\n", test->claim);
            fflush(stdout);
            test->run();
        }
        return 0;
    }
    fprintf(stderr, "no suite is called %s\n", argv[1]);
    return 2;
}
