/* fuzz.h - what the targets of the fuzzer and the program that replays a corpus share. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* A claim: one that does not hold ends the program. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum { FUZZ_VERDICT_BYTES = 256 };

/* Judge one input; a claim that does not hold aborts.  The name is libFuzzer's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the last input amounted to, in one line. */
extern char fuzz_verdict[FUZZ_VERDICT_BYTES];
/* Takes what must be read although nobody wants it. */
extern volatile uint32_t fuzz_sink;

#endif
