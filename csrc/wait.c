/*
 * wait.c - how committing threads wait for their batch.
 *
 * Each slot has a word that changes whenever somebody who waits for its batch is to look again.
 * Most of them find their batch acknowledged and go home without touching the mutex.
 */
#include "log.h"

#include "sys.h"

void pd_wait_wake(struct pd_slot *slot, bool all)
{
    (void)__atomic_fetch_add(&slot->wake, 1, __ATOMIC_RELEASE);
    pd_sys_word_wake(&slot->wake, all);
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
        if (seq == log->filling_seq && pd_group_is_due(log)) {
            pd_group_lead(log);
            continue;
        }
        const uint64_t now = pd_sys_now_ns();
        if (!until)
            until = now + PD_WAIT_SLICE_NS;
        else if (now >= until)
            return PD_WAITING;
        slot->waiters++;
        pd_wait_sleep(log, slot, until - now);
        if (__atomic_load_n(&log->acked_seq, __ATOMIC_ACQUIRE) > seq) {
            *held = false;
            return PD_DONE;
        }
        pthread_mutex_lock(&log->mutex);
        if (log->acked_seq <= seq)
            slot->waiters--;
    }
}

int pd_group_wait(struct pd_log *log, uint64_t seq)
{
    bool held;
    int rc = wait_for(log, seq, &held);
    if (!held)
        pthread_mutex_lock(&log->mutex);
    return rc;
}

int pd_group_wait_and_leave(struct pd_log *log, uint64_t seq)
{
    bool held;
    int rc = wait_for(log, seq, &held);
    (void)__atomic_fetch_sub(&log->users, 1, __ATOMIC_RELEASE);
    if (held)
        pthread_mutex_unlock(&log->mutex);
    return rc;
}
