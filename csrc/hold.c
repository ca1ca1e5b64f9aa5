/*
 * hold.c - a batch waits for those who are about to commit again.
 *
 * Threads that commit in a loop come back soon after a flush has sent them home.  If the next
 * batch sets out without them they wait for the whole of it and then for their own, and the
 * threads fall into two halves that take flushes in turn.  So with nothing in flight the filling
 * batch waits until as many commits have joined it as were sent home, and at most for the time of
 * one flush, which is what those who come back would lose otherwise.
 *
 * It waits only where that has proved right: each time it is noted whether they came back in time.
 */
#include "log.h"

#include "sys.h"

/* Held while the last times went well: one miss takes as many hits to make up for, so that more
 * than four in five are hits where a batch is held. */
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

void pd_hold_begin(struct pd_log *log, uint32_t sent, uint64_t flush_ns)
{
    struct pd_hold *hold = &log->hold;
    const uint64_t now = pd_sys_now_ns();
    if (hold->away && now > hold->back_by_ns)
        note(hold, false);
    hold->away = sent;
    hold->back_by_ns = now + (flush_ns < longest_ns ? flush_ns : longest_ns);
    /* Where each batch takes one commit there is nobody to wait for. */
    const bool holds = hold->trust >= TRUST_ENOUGH && log->acked_seq == log->filling_seq &&
                       pd_log_is_durable_target(log) && log->target != PD_TARGET_EACH &&
                       flush_ns >= shortest_ns;
    hold->until_ns = holds ? hold->back_by_ns : 0;
    hold->callers = pd_group_filling(log)->callers + sent;
}

void pd_hold_came_back(struct pd_log *log)
{
    struct pd_hold *hold = &log->hold;
    if (!hold->away)
        return;
    hold->away--;
    if (!hold->away)
        note(hold, pd_sys_now_ns() <= hold->back_by_ns);
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
