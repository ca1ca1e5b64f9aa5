/* probe.c - time a few commits under each method, interleaved, and take the fastest median. */
#include "probe.h"

#include "batch.h"
#include "error.h"
#include "io.h"
#include "sys.h"
#include "trial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_MAX = 96, ROUNDS_MIN = 3, ROUNDS_CHECK = 12, RECORD_BYTES = 128 };

/* For setting up and measuring; a round that has begun is finished. */
static const uint64_t budget_ns = 200000000;

/* A slower method is taken only for a gain beyond the noise: the first named packs densest. */
static const double margin = 0.97;
/* How far ahead the best has to be before the rest of the rounds is not worth their time. */
static const double clear = 0.85;

struct candidate {
    int method;
    int way;
    int space;
    struct pd_trial trial;
    uint64_t times[ROUNDS_MAX];
    uint32_t count;
};

/* In the order of preference: what comes first needs no zeros, or packs more densely. */
static const struct candidate for_log[] = {
    {.method = PD_METHOD_FDATASYNC, .way = PD_WAY_FDATASYNC, .space = PD_SPACE_ALLOCATED},
    {.method = PD_METHOD_FDATASYNC, .way = PD_WAY_FDATASYNC, .space = PD_SPACE_ZEROED},
    {.method = PD_METHOD_DIRECT, .way = PD_WAY_DIRECT_FDATASYNC, .space = PD_SPACE_ZEROED},
    {.method = PD_METHOD_DIRECT_DSYNC, .way = PD_WAY_DIRECT_DSYNC, .space = PD_SPACE_ZEROED},
    {.method = PD_METHOD_DSYNC, .way = PD_WAY_DSYNC, .space = PD_SPACE_ZEROED},
    {.method = PD_METHOD_DIRECT, .way = PD_WAY_DIRECT_FDATASYNC, .space = PD_SPACE_ALLOCATED},
    {.method = PD_METHOD_DIRECT_DSYNC, .way = PD_WAY_DIRECT_DSYNC, .space = PD_SPACE_ALLOCATED},
    {.method = PD_METHOD_DSYNC, .way = PD_WAY_DSYNC, .space = PD_SPACE_ALLOCATED},
};
static const struct candidate for_append[] = {
    {.method = PD_METHOD_FDATASYNC, .way = PD_WAY_FDATASYNC, .space = PD_SPACE_APPEND},
    {.method = PD_METHOD_DSYNC, .way = PD_WAY_DSYNC, .space = PD_SPACE_APPEND},
};

uint32_t pd_probe_block_bytes(int file, int method)
{
    return pd_trial_block_bytes(file, pd_io_method(method, PD_TARGET_GROUP).extra);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t median(struct candidate *candidate)
{
    if (candidate->count == 0)
        return UINT64_MAX;
    qsort(candidate->times, candidate->count, sizeof *candidate->times, compare);
    return candidate->times[candidate->count / 2];
}

static uint64_t best_of(struct candidate *candidates, size_t n)
{
    uint64_t best = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        uint64_t time = median(&candidates[i]);
        if (time < best)
            best = time;
    }
    return best;
}

/* Whether one stands out from all others. */
static bool is_decided(struct candidate *candidates, size_t n)
{
    const double best = (double)best_of(candidates, n);
    size_t near = 0;
    for (size_t i = 0; i < n; i++)
        near += (double)median(&candidates[i]) * clear < best;
    return near <= 1;
}

static int measure(struct candidate *candidates, size_t n, const uint8_t *data, uint64_t end)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        if (round >= ROUNDS_MIN && pd_sys_now_ns() > end)
            break;
        if (round >= ROUNDS_CHECK && round % ROUNDS_CHECK == 0 && is_decided(candidates, n))
            break;
        for (size_t i = 0; i < n; i++) {
            struct candidate *one = &candidates[i];
            if (one->trial.fd < 0)
                continue;
            int rc = pd_trial_step(&one->trial, data, RECORD_BYTES, &one->times[one->count]);
            if (rc < 0)
                return rc;
            one->count++;
        }
    }
    return 0;
}

static void choose(struct candidate *candidates, size_t n, struct pd_probe *out)
{
    const double best = (double)best_of(candidates, n);
    for (size_t i = 0; i < n; i++) {
        struct candidate *one = &candidates[i];
        if (one->count && (double)median(one) * margin <= best) {
            out->method = one->method;
            out->prezero = one->space == PD_SPACE_ZEROED;
            return;
        }
    }
}

static int run(int dir, struct candidate *candidates, size_t n, struct pd_probe *out)
{
    const uint64_t end = pd_sys_now_ns() + budget_ns;
    uint8_t *zeros = pd_trial_zeros();
    int rc = zeros ? 0 : -ENOMEM;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = pd_trial_open(dir, (int)i, candidates[i].way, candidates[i].space, zeros,
                           &candidates[i].trial);
    if (rc == 0)
        rc = measure(candidates, n, zeros, end);
    for (size_t i = 0; i < n; i++)
        (void)pd_trial_close(&candidates[i].trial);
    free(zeros);
    if (rc == 0)
        choose(candidates, n, out);
    return rc;
}

/* What is known without measuring: whether there is nothing to choose. */
static bool is_settled(int dir, struct pd_probe *out)
{
    *out = (struct pd_probe){PD_METHOD_FDATASYNC, false};
    /* Only F_FULLFSYNC reaches the medium on macOS. */
    if (pd_sys_needs_fullfsync())
        out->method = PD_METHOD_FULLFSYNC;
    return pd_sys_needs_fullfsync() || pd_sys_filesystem(dir) == PD_FS_VOLATILE;
}

static size_t load(const struct candidate *from, size_t n, struct candidate *to)
{
    memcpy(to, from, n * sizeof *from);
    for (size_t i = 0; i < n; i++)
        to[i].trial.fd = -1;
    return n;
}

int pd_probe(int dir, struct pd_probe *out, struct pd_error *error)
{
    if (is_settled(dir, out))
        return 0;
    struct candidate candidates[PD_PROBE_LINES_MAX];
    size_t n = load(for_log, sizeof for_log / sizeof *for_log, candidates);
    int rc = run(dir, candidates, n, out);
    return rc < 0 ? pd_error_os(error, rc, "measuring the methods", "") : 0;
}

int pd_probe_path(const char *path, bool appending, struct pd_probe_report *out,
                  struct pd_error *error)
{
    memset(out, 0, sizeof *out);
    int dir = pd_io_open_dir(path);
    if (dir < 0)
        return pd_error_os(error, dir, "opening the directory to measure in", "");
    struct candidate candidates[PD_PROBE_LINES_MAX];
    size_t n = appending ? load(for_append, sizeof for_append / sizeof *for_append, candidates)
                         : load(for_log, sizeof for_log / sizeof *for_log, candidates);
    struct pd_probe chosen;
    const uint64_t begun = pd_sys_now_ns();
    int rc = 0;
    if (!is_settled(dir, &chosen)) {
        rc = run(dir, candidates, n, &chosen);
        for (size_t i = 0; rc == 0 && i < n; i++)
            if (candidates[i].count)
                out->lines[out->count++] =
                    (struct pd_probe_line){candidates[i].method, candidates[i].space,
                                           candidates[i].count, median(&candidates[i])};
    }
    out->spent_ns = pd_sys_now_ns() - begun;
    out->method = chosen.method;
    out->prezero = chosen.prezero;
    int closed = pd_io_close(dir);
    if (rc == 0)
        rc = closed;
    return rc < 0 ? pd_error_os(error, rc, "measuring the methods", "") : 0;
}
