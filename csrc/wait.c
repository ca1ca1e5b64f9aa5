/*
 * wait.c - how committing threads wait for their batch.
 *
 * Each slot has a word that changes whenever somebody who waits for its batch is to look again.
 * Most of them find their batch acknowledged and go home without touching the mutex.  Where they
 * take turns at that, they are woken in portions: who is awake and waits costs a core.
 */
#include "log.h"

#include "sys.h"
#include "turn.h"

void pd_wait_wake(struct pd_slot *slot, uint32_t count)
{
    (void)__atomic_fetch_add(&slot->wake, 1, __ATOMIC_RELEASE);
    pd_sys_word_wake(&slot->wake, count);
}

/* Wake some of those whose batch is acknowledged, and return how many more may be woken.  Only
 * those who began to sleep before that can be asleep, and who has slept longest is woken first.  A
 * thread that is passed over all the same looks by itself when its slice is over. */
static uint32_t release_some(struct pd_slot *slot, uint32_t count)
{
    uint32_t left = __atomic_load_n(&slot->released, __ATOMIC_RELAXED);
    while (left > 0) {
        const uint32_t now = left < count ? left : count;
        if (__atomic_compare_exchange_n(&slot->released, &left, left - now, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            pd_sys_word_wake(&slot->wake, now);
            return count - now;
        }
    }
    return count;
}

void pd_wait_release(struct pd_slot *slot, uint32_t waiters)
{
    const uint32_t portion = pd_turn_portion();
    if (!portion) {
        pd_wait_wake(slot, PD_WAKE_ALL);
        return;
    }
    (void)__atomic_fetch_add(&slot->wake, 1, __ATOMIC_RELEASE);
    (void)__atomic_fetch_add(&slot->released, waiters, __ATOMIC_RELAXED);
    (void)release_some(slot, 2 * portion);
}

void pd_wait_hand_over(struct pd_slot *slot)
{
    /* Whoever is still to be released from an earlier batch of this slot has slept longer, and
     * would be woken in place of the one that is meant. */
    const uint32_t left = __atomic_exchange_n(&slot->released, 0, __ATOMIC_RELAXED);
    pd_wait_wake(slot, left + 1);
}

/* On the way out, without the mutex: whoever goes wakes others, so that all are woken in the end.
 * The last to go may be of another batch than those who are left: it looks at all slots, from its
 * own on. */
static void go_home(struct pd_log *log, uint64_t seq, bool takes_turn)
{
    const uint32_t portion = pd_turn_portion();
    if (portion && takes_turn) {
        (void)__atomic_fetch_add(&log->awake, 1, __ATOMIC_RELAXED);
        pd_turn_take();
        (void)__atomic_fetch_sub(&log->awake, 1, __ATOMIC_RELAXED);
    }
    if (portion && __atomic_load_n(&log->awake, __ATOMIC_RELAXED) > portion)
        return;
    uint32_t count = portion ? portion : PD_WAKE_ALL;
    for (unsigned i = 0; i < PD_SLOTS && count > 0; i++)
        count = release_some(&log->slots[(seq + i) % PD_SLOTS], count);
}

void pd_wait_sleep(struct pd_log *log, struct pd_slot *slot, uint64_t ns)
{
    const uint32_t seen = __atomic_load_n(&slot->wake, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&log->mutex);
    pd_sys_word_wait(&slot->wake, seen, ns);
}

/* *held says on return whether the mutex is held; it always is on entry. */
static int wait_for(struct pd_log *log, uint64_t seq, bool *held)
{
    uint64_t until = 0;
    *held = true;
    for (;;) {
        if (log->acked_seq > seq)
            return PD_DONE;
        if (log->poisoned)
            return -log->poison.code;
        const int refused = pd_group_refuses_full(log);
        if (refused < 0)
            return refused;
        struct pd_slot *slot = &log->slots[seq % PD_SLOTS];
        const bool next = seq == log->filling_seq && pd_group_is_next(log);
        /* Asked once: between two looks at the clock the hold could end without a watch. */
        const uint64_t hold_ns = next ? pd_hold_lasts_ns(log) : 0;
        if (next && !hold_ns) {
            pd_group_lead(log);
            continue;
        }
        const uint64_t now = pd_sys_now_ns();
        if (!until)
            until = now + PD_WAIT_SLICE_NS;
        else if (now >= until)
            return PD_WAITING;
        slot->waiters++;
        const bool watches = hold_ns && pd_hold_watch(log, seq);
        pd_wait_sleep(log, slot, watches && hold_ns < until - now ? hold_ns : until - now);
        if (__atomic_load_n(&log->acked_seq, __ATOMIC_ACQUIRE) > seq) {
            *held = false;
            return PD_DONE;
        }
        pthread_mutex_lock(&log->mutex);
        if (log->acked_seq <= seq)
            slot->waiters--;
        if (watches)
            pd_hold_unwatch(log, seq);
    }
}

int pd_group_wait(struct pd_log *log, uint64_t seq)
{
    bool held;
    pd_hold_end(log);
    int rc = wait_for(log, seq, &held);
    if (!held) {
        go_home(log, seq, false);
        pthread_mutex_lock(&log->mutex);
    }
    return rc;
}

int pd_group_wait_and_leave(struct pd_log *log, uint64_t seq, bool takes_turn)
{
    bool held;
    int rc = wait_for(log, seq, &held);
    if (held)
        pthread_mutex_unlock(&log->mutex);
    /* Who led a batch of its own goes home alone. */
    if (!held || __atomic_load_n(&log->crowd, __ATOMIC_RELAXED) > 1)
        go_home(log, seq, takes_turn);
    (void)__atomic_fetch_sub(&log->users, 1, __ATOMIC_RELEASE);
    return rc;
}
