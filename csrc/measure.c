/* measure.c - how long writers that work at once wait for their bytes to be forced out. */
#include "storage.h"

#include "error.h"
#include "io.h"
#include "sys.h"
#include "trial.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct writer {
    struct pd_trial trial;
    const uint8_t *data;
    uint32_t bytes;
    uint64_t end; /* on the clock */
    uint64_t *times;
    uint64_t capacity;
    uint64_t count;
    int rc;
    bool started;
    pthread_t thread;
};

enum { STEPS_MIN = 3, BYTES_MAX = 64 * 1024 };

static void *work(void *context)
{
    struct writer *writer = context;
    while (writer->count < writer->capacity) {
        if (writer->count >= STEPS_MIN && pd_sys_now_ns() > writer->end)
            break;
        writer->rc = pd_trial_step(&writer->trial, writer->data, writer->bytes,
                                   &writer->times[writer->count]);
        if (writer->rc < 0)
            break;
        writer->count++;
    }
    return NULL;
}

static int run(struct writer *writers, const struct pd_measure_options *options)
{
    int rc = 0;
    const uint64_t end = pd_sys_now_ns() + options->budget_ns;
    for (uint32_t i = 0; i < options->writers; i++) {
        writers[i].end = end;
        int started = rc < 0 ? rc : pd_sys_thread_start(&writers[i].thread, work, &writers[i]);
        writers[i].started = started >= 0;
        if (rc == 0 && started < 0)
            rc = started;
    }
    for (uint32_t i = 0; i < options->writers; i++) {
        if (writers[i].started)
            pthread_join(writers[i].thread, NULL);
        if (rc == 0)
            rc = writers[i].rc;
    }
    return rc;
}

/* Bring the times of all writers together at the front. */
static int64_t gathered(const struct writer *writers, uint32_t n, uint64_t *times)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint64_t at = 0; at < writers[i].count; at++)
            times[total++] = writers[i].times[at];
    return (int64_t)total;
}

static int64_t measure(int dir, const struct pd_measure_options *options, uint64_t *times,
                       uint64_t capacity)
{
    const uint32_t n = options->writers;
    uint8_t *zeros = pd_trial_zeros();
    struct writer *writers = calloc(n, sizeof *writers);
    int rc = zeros && writers ? 0 : -ENOMEM;
    for (uint32_t i = 0; writers && i < n; i++)
        writers[i].trial.fd = -1;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        writers[i].data = zeros;
        writers[i].bytes = options->bytes;
        writers[i].capacity = capacity / n;
        writers[i].times = times + i * (capacity / n);
        rc = pd_trial_open(dir, (int)i, options->way, options->space, zeros, &writers[i].trial);
        if (rc == 0 && writers[i].trial.fd < 0)
            rc = -ENOTSUP;
    }
    if (rc == 0)
        rc = run(writers, options);
    for (uint32_t i = 0; writers && i < n; i++)
        (void)pd_trial_close(&writers[i].trial);
    int64_t count = rc < 0 ? rc : gathered(writers, n, times);
    free(writers);
    free(zeros);
    return count;
}

int64_t pd_measure(const char *path, const struct pd_measure_options *options, uint64_t *times,
                   uint64_t capacity, struct pd_error *error)
{
    if (options->writers == 0 || options->writers > PD_MEASURE_WRITERS_MAX ||
        options->bytes > BYTES_MAX || capacity < options->writers)
        return pd_error_os(error, -EINVAL, "measuring", "");
    int dir = pd_io_open_dir(path);
    if (dir < 0)
        return pd_error_os(error, dir, "opening the directory to measure in", "");
    int64_t count = measure(dir, options, times, capacity);
    int closed = pd_io_close(dir);
    if (count >= 0 && closed < 0)
        count = closed;
    return count < 0 ? pd_error_os(error, (int)count, "measuring", "") : count;
}
