/* patience.c - see patience.h. */
#include "patience.h"

#include "check.h"
#include "scratch.h"
#include "sys.h"

static const uint64_t patience_ns = 20000000000u;
/* Nobody holds a batch for longer. */
static const uint64_t moment_ns = 20000000u;

static const struct pd_sys *true_base;
static struct pd_sys patient;
static struct pd_sys_kind patient_kind;
static uint64_t waits;

static void wait_patiently(uint32_t *word, uint32_t seen, uint64_t ns)
{
    (void)__atomic_fetch_add(&waits, 1, __ATOMIC_RELAXED);
    if (ns <= moment_ns) {
        true_base->kind->word_wait(word, seen, ns);
        return;
    }
    const uint64_t begun = pd_sys_now_ns();
    true_base->kind->word_wait(word, seen, patience_ns);
    CHECK(pd_sys_now_ns() - begun < patience_ns);
}

struct pd_log *patience_open(const char *path, uint64_t segment_bytes)
{
    true_base = pd_sys_base;
    patient_kind = *true_base->kind;
    patient_kind.word_wait = wait_patiently;
    patient = *true_base;
    patient.kind = &patient_kind;
    pd_sys_base = &patient;
    __atomic_store_n(&waits, 0, __ATOMIC_RELAXED);
    return scratch_open(path, PD_TARGET_GROUP, segment_bytes);
}

void patience_close(struct pd_log *log)
{
    scratch_close(log);
    pd_sys_base = true_base;
}

uint64_t patience_waits(void)
{
    return __atomic_load_n(&waits, __ATOMIC_RELAXED);
}
