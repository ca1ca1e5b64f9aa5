/*
 * hold.c - a batch waits for those who are about to commit again.
 *
 * Threads that commit in a loop come back one after the other, soon after a flush has sent them
 * home.  If the next batch sets out with the first of them, the others wait for the whole of its
 * flush and then for their own, and the threads fall into halves that take flushes in turn.  So
 * with nothing in flight the filling batch waits, from its first commit on, until as many have
 * joined as were sent home.
 *
 * Of n threads each that is there loses what the batch waits for the last one, and each but the
 * first saves what is left of the flush that it would have missed.  Both together come out even
 * where from the first to the last it is (n - 1) / n of a flush; a batch waits no longer.  And it
 * waits only where that has proved right: each time it is noted whether they came back in time.
 */
#include "log.h"

#include "sys.h"

/* Held while the last times went well: one miss takes four hits to make up for, so that more than
 * four in five are hits where a batch is held. */
enum { TRUST_MOST = 16, TRUST_ENOUGH = 8, MISS = 4 };

/* A shorter wait would take as long: timers have a slack of 50 us.  Threads that stay away for
 * longer have something else to do. */
static const uint64_t shortest_ns = 50000;
static const uint64_t longest_ns = 20000000;

static void note(struct pd_hold *hold, bool in_time)
{
    if (!in_time)
        hold->trust = hold->trust > MISS ? hold->trust - MISS : 0;
    else if (hold->trust < TRUST_MOST)
        hold->trust++;
}

/* How many seem to commit at a time: those who were sent home now, and those who are not yet.
 * Where each batch takes one commit they do not wait for one another. */
static uint32_t count_crowd(const struct pd_log *log, uint32_t sent)
{
    if (log->target == PD_TARGET_EACH)
        return 1;
    for (uint64_t seq = log->acked_seq; seq <= log->filling_seq; seq++)
        sent += log->slots[seq % PD_SLOTS].callers;
    return sent;
}

/* The first of those that are to travel together is there. */
static void start(struct pd_hold *hold, uint64_t now)
{
    hold->first_ns = now;
    hold->until_ns = hold->armed ? now + hold->worth_ns : 0;
    hold->armed = false;
}

void pd_hold_begin(struct pd_log *log, uint32_t sent, uint64_t flush_ns)
{
    struct pd_hold *hold = &log->hold;
    const uint64_t now = pd_sys_now_ns();
    const uint32_t present = pd_group_filling(log)->callers;
    const uint32_t all = present + sent;
    __atomic_store_n(&log->crowd, count_crowd(log, sent), __ATOMIC_RELAXED);
    if (hold->away && hold->first_ns && now > hold->first_ns + hold->worth_ns)
        note(hold, false);
    hold->away = sent;
    hold->callers = all;
    hold->worth_ns = (flush_ns < longest_ns ? flush_ns : longest_ns) / all * (all - 1);
    hold->back_by_ns = now + flush_ns;
    /* Where each batch takes one commit there is nobody to wait for. */
    hold->armed = hold->trust >= TRUST_ENOUGH && log->acked_seq == log->filling_seq &&
                  pd_log_is_durable_target(log) && log->target != PD_TARGET_EACH &&
                  hold->worth_ns >= shortest_ns;
    hold->first_ns = hold->until_ns = 0;
    if (present)
        start(hold, now);
}

void pd_hold_came_back(struct pd_log *log)
{
    struct pd_hold *hold = &log->hold;
    if (!hold->away)
        return;
    hold->away--;
    if (hold->first_ns && hold->away)
        return;
    const uint64_t now = pd_sys_now_ns();
    hold->armed = hold->armed && now <= hold->back_by_ns;
    if (!hold->first_ns)
        start(hold, now);
    /* One that comes back alone proves nothing. */
    if (!hold->away && hold->callers > 1)
        note(hold, now <= hold->first_ns + hold->worth_ns);
}

uint64_t pd_hold_lasts_ns(struct pd_log *log)
{
    const struct pd_hold *hold = &log->hold;
    if (!hold->until_ns || pd_group_filling(log)->callers >= hold->callers)
        return 0;
    const uint64_t now = pd_sys_now_ns();
    return now < hold->until_ns ? hold->until_ns - now : 0;
}

void pd_hold_end(struct pd_log *log)
{
    log->hold.armed = false;
    log->hold.until_ns = 0;
}

bool pd_hold_watch(struct pd_log *log, uint64_t seq)
{
    if (log->hold.watched == seq + 1)
        return false;
    log->hold.watched = seq + 1;
    return true;
}

void pd_hold_unwatch(struct pd_log *log, uint64_t seq)
{
    if (log->hold.watched == seq + 1)
        log->hold.watched = 0;
}
