/* fault_rules.c - which fault befalls which call, and the counts of all calls. */
#include "fault.h"

#include "pydurable.h"
#include "sys.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { RULES_MAX = 32, DELAY_STEP_NS = 1000000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct pd_fault_rule rules[RULES_MAX];
static uint64_t calls[PD_CALL_COUNT];
static bool counting;

/* A call matches the rule: whether it is one of those that the rule hits. */
static bool apply(struct pd_fault_rule *rule)
{
    if (rule->nth > 1) {
        rule->nth--;
        return false;
    }
    if (rule->times == 1)
        rule->on = false;
    if (rule->times)
        rule->times--;
    rule->hits++;
    return true;
}

static bool is_set(int number)
{
    bool found = false;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < RULES_MAX; i++)
        found = found || rules[i].number == number;
    pthread_mutex_unlock(&mutex);
    return found;
}

/* The call comes late: when the time is over, or the rule is taken back. */
static void delay(const struct pd_fault_rule *rule)
{
    const uint64_t until = pd_sys_now_ns() + (uint64_t)rule->code * 1000000u;
    while (pd_sys_now_ns() < until && is_set(rule->number))
        pd_sys_sleep_ns(DELAY_STEP_NS);
}

struct pd_fault_rule pd_fault_arrive(int call)
{
    struct pd_fault_rule found = {.mode = -1};
    pthread_mutex_lock(&mutex);
    calls[PD_CALL_ANY]++;
    calls[call]++;
    for (int i = 0; i < RULES_MAX; i++) {
        struct pd_fault_rule *rule = &rules[i];
        if (rule->on && rule->mode != PD_FAULT_FULL && (rule->calls & UINT64_C(1) << call) &&
            apply(rule) && found.mode < 0)
            found = *rule;
    }
    pthread_mutex_unlock(&mutex);
    if (found.mode == PD_FAULT_DELAY)
        delay(&found);
    return found;
}

/* Take the space by which a file is to grow from the rule: how much there was. */
static uint64_t take_space(struct pd_fault_rule *rule, uint64_t growth, bool all)
{
    uint64_t had = rule->space < growth ? (all ? 0 : rule->space) : growth;
    if (had < growth)
        rule->hits++;
    rule->space -= had;
    return had;
}

/* Grow a file to end: to where there is space for, which is its size or less if there is none. */
static int64_t grow(int fd, int64_t end, bool all)
{
    struct stat st;
    int64_t reached = end;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < RULES_MAX; i++) {
        struct pd_fault_rule *rule = &rules[i];
        if (!rule->on || rule->mode != PD_FAULT_FULL || pd_sys_base->stat(fd, &st) < 0 ||
            reached <= st.st_size)
            continue;
        reached = st.st_size + (int64_t)take_space(rule, (uint64_t)(reached - st.st_size), all);
    }
    pthread_mutex_unlock(&mutex);
    return reached;
}

ssize_t pd_fault_room(int fd, int64_t offset, size_t size)
{
    const int64_t end = grow(fd, offset + (int64_t)size, false);
    return end > offset || size == 0 ? (ssize_t)(end - offset) : -ENOSPC;
}

bool pd_fault_has_room(int fd, int64_t size)
{
    return grow(fd, size, true) >= size;
}

size_t pd_fault_half(size_t size)
{
    const size_t block = size % 4096 == 0 ? 4096 : size % 512 == 0 ? 512 : 1;
    const size_t half = size / 2 / block * block;
    return half ? half : size;
}

int64_t pd_fault_leave(struct pd_fault_rule rule, int64_t result)
{
    return rule.mode == PD_FAULT_AFTERWARDS && result >= 0 ? -rule.code : result;
}

/* Put the faulty table in front, or take it away once nothing needs it. */
static void choose_table(void)
{
    bool wanted = counting || pd_recording();
    for (int i = 0; i < RULES_MAX; i++)
        wanted = wanted || rules[i].on;
    __atomic_store_n(&pd_sys, wanted ? &pd_fault_sys : pd_sys_base, __ATOMIC_SEQ_CST);
}

void pd_fault_retable(void)
{
    pthread_mutex_lock(&mutex);
    choose_table();
    pthread_mutex_unlock(&mutex);
}

/* A place for one more rule: a free one, or that of a rule which has nothing left to do. */
static struct pd_fault_rule *free_rule(void)
{
    for (int i = 0; i < RULES_MAX; i++)
        if (!rules[i].number)
            return &rules[i];
    for (int i = 0; i < RULES_MAX; i++)
        if (!rules[i].on)
            return &rules[i];
    return NULL;
}

int pd_fault_add(uint64_t which, int mode, int64_t amount, uint64_t nth, uint64_t times)
{
    static int last;
    int number = -ENOSPC;
    pthread_mutex_lock(&mutex);
    struct pd_fault_rule *rule = free_rule();
    if (rule) {
        number = ++last;
        *rule = (struct pd_fault_rule){.calls = which,
                                       .mode = mode,
                                       .code = mode == PD_FAULT_FULL ? ENOSPC : (int)amount,
                                       .nth = nth,
                                       .times = times,
                                       .space = mode == PD_FAULT_FULL ? (uint64_t)amount : 0,
                                       .number = number,
                                       .on = true};
    }
    choose_table();
    pthread_mutex_unlock(&mutex);
    return number;
}

void pd_fault_set(int call, int mode, int code, uint64_t nth, uint64_t times)
{
    const uint64_t which = call == PD_CALL_ANY ? UINT64_MAX : UINT64_C(1) << call;
    (void)pd_fault_add(which, mode, code, nth, times);
}

uint64_t pd_fault_remove(int number)
{
    uint64_t hits = 0;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < RULES_MAX; i++)
        if (rules[i].number == number) {
            hits = rules[i].hits;
            rules[i] = (struct pd_fault_rule){0};
        }
    choose_table();
    pthread_mutex_unlock(&mutex);
    return hits;
}

uint64_t pd_fault_hits(int number)
{
    uint64_t hits = 0;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < RULES_MAX; i++)
        if (rules[i].number == number)
            hits = rules[i].hits;
    pthread_mutex_unlock(&mutex);
    return hits;
}

void pd_fault_clear(void)
{
    pthread_mutex_lock(&mutex);
    memset(rules, 0, sizeof rules);
    memset(calls, 0, sizeof calls);
    counting = false;
    choose_table();
    pthread_mutex_unlock(&mutex);
}

void pd_fault_count(bool on)
{
    pthread_mutex_lock(&mutex);
    counting = on;
    choose_table();
    pthread_mutex_unlock(&mutex);
}

uint64_t pd_fault_calls(int call)
{
    pthread_mutex_lock(&mutex);
    uint64_t n = call >= 0 && call < PD_CALL_COUNT ? calls[call] : 0;
    pthread_mutex_unlock(&mutex);
    return n;
}
