/*
 * check.h - the whole harness of the C tests: a claim that stops the run where it does not hold.
 *
 * Each file of tests is a suite; main.c knows the suites.  A suite runs in the scratch directory
 * that main was given and removes nothing: the directory is thrown away as a whole.
 */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct test {
    const char *claim;
    void (*run)(void);
};

/* Unlike assert it stays on in every build, and prints both sides of a comparison. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define CHECK_EQUAL(left, right)                                                                   \
    do {                                                                                           \
        const int64_t left_value = (int64_t)(left), right_value = (int64_t)(right);                \
        if (left_value != right_value) {                                                           \
            fprintf(stderr, "%s:%d: %s is %" PRId64 ", %s is %" PRId64 "\n", __FILE__, __LINE__,   \
                    #left, left_value, #right, right_value);                                       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* The suites; each ends with an entry whose claim is NULL. */
extern const struct test crc32c_tests[];
extern const struct test batch_tests[];
extern const struct test memory_tests[];
extern const struct test io_tests[];
extern const struct test recover_tests[];
extern const struct test stress_tests[];
extern const struct test async_tests[];
extern const struct test darwin_tests[];
extern const struct test bell_tests[];
extern const struct test turns_tests[];
extern const struct test hold_tests[];
extern const struct test sync_tests[];

#endif
