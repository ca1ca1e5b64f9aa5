/* measure.c - samples of commits, and the window in which they count: see measure.h. */
#define _GNU_SOURCE
#include "measure.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROOM_AT_FIRST = 1 << 16 };

static _Atomic uint64_t begin_ns = UINT64_MAX;
static _Atomic uint64_t end_ns = UINT64_MAX;

void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void measure_begin(double warm_seconds, double seconds)
{
    uint64_t begin = now_ns() + (uint64_t)(warm_seconds * 1e9);
    atomic_store(&end_ns, begin + (uint64_t)(seconds * 1e9));
    atomic_store(&begin_ns, begin);
}

void sampler_start(struct sampler *sampler)
{
    *sampler = (struct sampler){.room = ROOM_AT_FIRST};
    sampler->times_ns = malloc(sampler->room * sizeof *sampler->times_ns);
    if (!sampler->times_ns) {
        die("malloc");
    }
    sampler->now_ns = now_ns();
}

bool sampler_lap(struct sampler *sampler)
{
    uint64_t before = sampler->now_ns;
    sampler->now_ns = now_ns();
    if (before < atomic_load_explicit(&begin_ns, memory_order_relaxed)) {
        return true;
    }
    if (sampler->count == 0) {
        sampler->first_ns = before;
    }
    if (sampler->count == sampler->room) {
        sampler->room *= 2;
        sampler->times_ns = realloc(sampler->times_ns, sampler->room * sizeof *sampler->times_ns);
        if (!sampler->times_ns) {
            die("realloc");
        }
    }
    sampler->times_ns[sampler->count++] = sampler->now_ns - before;
    return sampler->now_ns < atomic_load_explicit(&end_ns, memory_order_relaxed);
}

void samplers_report(struct sampler *samplers, size_t count, const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file) {
        die(path);
    }
    size_t commits = 0;
    for (size_t i = 0; i < count; i++) {
        struct sampler *sampler = &samplers[i];
        /* The commit that ended at first_ns counts, the one that outlasted the end does not. */
        commits += sampler->first_ns < end_ns ? sampler->count : 0;
        if (fwrite(sampler->times_ns, sizeof *sampler->times_ns, sampler->count, file) !=
            sampler->count) {
            die(path);
        }
        free(sampler->times_ns);
    }
    if (fclose(file) != 0) {
        die(path);
    }
    printf("%.3f\n", (double)commits * 1e9 / (double)(end_ns - begin_ns));
}
