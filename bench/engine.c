/*
 * engine.c - pydurable's engine, linked into a program without Python, driven by C threads.
 *
 * usage: engine METHOD LANES THREADS RECORD_BYTES WARM_SECONDS SECONDS LOG TIMES
 *
 * METHOD is the name that Log(method=...) takes; the target is "group".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "pydurable.h"

enum { MAX_THREADS = 4096 };
static const uint64_t SEGMENT_BYTES = 64u << 20;
static const uint64_t MAX_PENDING_BYTES = 8u << 20;

/* In the order of enum pd_method. */
static const char *const method_names[] = {
    "auto", "fdatasync", "fsync", "dsync", "direct", "direct+dsync", "fullfsync", "barrier",
};

struct committer {
    pthread_t thread;
    struct pd_log *log;
    const void *record;
    size_t record_bytes;
    pthread_barrier_t *barrier;
    struct sampler *sampler;
};

static int method_named(const char *name)
{
    for (size_t i = 0; i < sizeof method_names / sizeof *method_names; i++) {
        if (strcmp(method_names[i], name) == 0) {
            return (int)i;
        }
    }
    errno = EINVAL;
    die(name);
}

static void commit(const struct committer *self)
{
    struct pd_ticket ticket;
    int rc;
    do {
        rc = pd_log_commit(self->log, self->record, self->record_bytes, 0, 0, &ticket);
    } while (rc == PD_FULL);
    while (rc == PD_WAITING) {
        rc = pd_log_wait(self->log, &ticket);
    }
    if (rc < 0) {
        errno = -rc;
        die("commit");
    }
}

static void *commit_until_over(void *argument)
{
    struct committer *self = argument;
    pthread_barrier_wait(self->barrier);
    sampler_start(self->sampler);
    do {
        commit(self);
    } while (sampler_lap(self->sampler));
    return NULL;
}

static struct pd_log *open_log(const char *path, const char *method, int lanes)
{
    struct pd_log_options options = {
        .target = PD_TARGET_GROUP,
        .method = method_named(method),
        .create = true,
        .lanes = (uint32_t)lanes,
        .interval_ns = 1000000000u,
        .segment_bytes = SEGMENT_BYTES,
        .max_pending_bytes = MAX_PENDING_BYTES,
    };
    struct pd_log *log = NULL;
    struct pd_error error;
    int rc = pd_log_open(path, &options, &log, &error);
    if (rc < 0) {
        fprintf(stderr, "%s: %s (%s)\n", error.op, strerror(-rc), error.why);
        exit(1);
    }
    return log;
}

int main(int argc, char **argv)
{
    int threads = argc == 9 ? atoi(argv[3]) : 0;
    if (threads < 1 || threads > MAX_THREADS) {
        errno = EINVAL;
        die("engine");
    }
    struct pd_log *log = open_log(argv[7], argv[1], atoi(argv[2]));
    size_t record_bytes = (size_t)atol(argv[4]);
    uint8_t *record = malloc(record_bytes);
    struct committer *committers = calloc((size_t)threads, sizeof *committers);
    struct sampler *samplers = calloc((size_t)threads, sizeof *samplers);
    if (!record || !committers || !samplers) {
        die("malloc");
    }
    memset(record, 'x', record_bytes);

    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++) {
        committers[i] = (struct committer){.log = log,
                                           .record = record,
                                           .record_bytes = record_bytes,
                                           .barrier = &barrier,
                                           .sampler = &samplers[i]};
        if (pthread_create(&committers[i].thread, NULL, commit_until_over, &committers[i]) != 0) {
            die("pthread_create");
        }
    }
    pthread_barrier_wait(&barrier);
    measure_begin(atof(argv[5]), atof(argv[6]));
    for (int i = 0; i < threads; i++) {
        pthread_join(committers[i].thread, NULL);
    }
    samplers_report(samplers, (size_t)threads, argv[8]);
    int rc = pd_log_close(log, 0);
    pd_log_free(log);
    free(samplers);
    free(committers);
    free(record);
    return rc < 0;
}
