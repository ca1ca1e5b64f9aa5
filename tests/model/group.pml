/*
 * group.pml - the group commit of csrc/group.c and csrc/wait.c as a model for spin.
 *
 * Three committers, two lanes, every interleaving.  What the mutex guards is one atomic step; the
 * write, the flush, the waits and the wakes lie outside, as they do in C.  There are no timeouts: a
 * wake-up that is lost is a deadlock here, where in C it would cost a tenth of a second.
 *
 * Checked: whoever is told that a record is durable finds its batch and all before it flushed, and
 * everybody is told in the end.  With one of these names defined the model is broken on purpose:
 * ACK_BEFORE_FLUSH, ACK_OUT_OF_ORDER, LOST_WAKE_UP.
 */
#define COMMITTERS 3
#define ROUNDS 2
#define LANES 2
#define BATCHES 8 /* more than can be written: one for each commit, and the one that fills */

byte filling = 1, acked = 1; /* numbers of batches, as filling_seq and acked_seq */
byte in_flight = 0;
byte expected = 0;
byte callers[BATCHES], waiters[BATCHES], word[BATCHES];
bool landed[BATCHES], flushed[BATCHES];
byte told = 0;

#define DUE (in_flight < LANES && filling - acked < LANES && \
             (acked == filling || callers[filling] >= expected))

/* Acknowledge in order, then say whom to wake: those of acknowledged batches, and one who fills. */
inline settle(woken_from, next)
{
    woken_from = acked;
    do
#ifdef ACK_OUT_OF_ORDER
    :: acked < filling && (landed[acked] || (acked + 1 < filling && landed[acked + 1])) ->
#else
    :: acked < filling && landed[acked] ->
#endif
        expected = callers[acked];
        acked++
    :: else -> break
    od;
    next = 0;
    if
    :: callers[filling] > 0 && DUE && waiters[filling] > 0 -> next = filling
    :: else
    fi
}

proctype committer()
{
    byte round = 0, mine, seen, from, to, next;
    bool leads;
again:
    atomic {
        mine = filling;
        callers[mine]++
    }
look:
    atomic {
        leads = false;
        if
        :: acked > mine -> goto done
        :: acked <= mine && mine == filling && DUE ->
            leads = true;
            filling++;
            in_flight++
        :: else ->
            waiters[mine]++;
            seen = word[mine]
        fi
    }
    if
    :: leads ->
        skip; /* the write */
#ifdef ACK_BEFORE_FLUSH
        atomic { landed[mine] = true; settle(from, next); to = acked };
        flushed[mine] = true;
        atomic { in_flight--; settle(seen, next); to = acked };
#else
        flushed[mine] = true;
        atomic { landed[mine] = true; in_flight--; settle(from, next); to = acked };
#endif
        /* The mutex is not held: wakes come one by one. */
        if
        :: next > 0 -> word[next]++
        :: else
        fi;
        do
        :: from < to ->
#ifndef LOST_WAKE_UP
            word[from]++;
#endif
            from++
        :: else -> break
        od;
        goto look
    :: else ->
        word[mine] != seen; /* the futex */
        atomic {
            if
            :: acked > mine -> goto done
            :: else -> waiters[mine]--
            fi
        };
        goto look
    fi;
done:
    atomic {
        next = 1;
        do
        :: next <= mine -> assert(flushed[next]); next++
        :: else -> break
        od;
        told++;
        round++
    }
    if
    :: round < ROUNDS -> goto again
    :: else
    fi
}

init {
    atomic {
        byte i = 0;
        do
        :: i < COMMITTERS -> run committer(); i++
        :: else -> break
        od
    }
    told == COMMITTERS * ROUNDS
}
