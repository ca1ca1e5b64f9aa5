/*
 * measure.h - how the C programs of the benchmark keep time, the same way as bench/worker.py.
 *
 * Each committing thread owns a sampler.  The rate is that of the commits which ended while the
 * window was open; the latencies are those of the commits which began in it.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sampler {
    uint64_t *times_ns; /* of each commit that counted */
    size_t count;
    size_t room;
    uint64_t first_ns; /* when the first of them began */
    uint64_t now_ns;   /* when the last one ended */
};

/* Print what and errno, and end the process. */
_Noreturn void die(const char *what);
/* Let everything begin that many seconds from now and last that long. */
void measure_begin(double warm_seconds, double seconds);
void sampler_start(struct sampler *sampler);
/* Note the end of a commit and the start of the next one; false when the time is over. */
bool sampler_lap(struct sampler *sampler);
/* Print the commits per second of all of them and write their times to the file. */
void samplers_report(struct sampler *samplers, size_t count, const char *path);

#endif
