/*
 * group.pml - the group commit of csrc/group.c and csrc/wait.c as a model for spin.
 *
 * Three committers, two lanes, every interleaving.  What the mutex guards is one atomic step; the
 * write, the flush, the waits and the wakes lie outside, as they do in C.  Nobody looks again by
 * himself after a tenth of a second: a wake-up that is lost is a deadlock here.
 *
 * A batch may be held for those who were just sent home (csrc/hold.c).  Whether it is, and when that
 * is over, is anybody's guess; but one has to sleep no longer than that, to notice.
 *
 * Checked: whoever is told that a record is durable finds its batch and all before it flushed, and
 * everybody is told in the end.  With one of these names defined the model is broken on purpose:
 * ACK_BEFORE_FLUSH, ACK_OUT_OF_ORDER, LOST_WAKE_UP, NOBODY_WATCHES, TWO_LOOKS.
 */
#define COMMITTERS 3
#define ROUNDS 2
#define LANES 2
#define BATCHES 8 /* more than can be written: one for each commit, and the one that fills */

byte filling = 1, acked = 1; /* numbers of batches, as filling_seq and acked_seq */
byte in_flight = 0;
byte crowd = 0; /* how many seem to commit at a time */
byte callers[BATCHES], waiters[BATCHES], word[BATCHES];
bool landed[BATCHES], flushed[BATCHES];
byte told = 0;
bool armed = false;    /* the filling batch will be held from its first commit on */
bool held = false;     /* it is, and the time is not over */
byte enough = 0;       /* or until so many commits travel in it */
byte watched = 0;      /* the batch that one of those who wait for it watches */

#define NEXT (in_flight < LANES && filling - acked < LANES && \
              (acked == filling || callers[filling] * 2 >= crowd))
#define HOLD_LASTS (held && callers[filling] < enough)

/* Acknowledge in order, then say whom to wake: those of acknowledged batches, and one who fills. */
inline settle(woken_from, next)
{
    woken_from = acked;
    enough = 0;
    do
#ifdef ACK_OUT_OF_ORDER
    :: acked < filling && (landed[acked] || (acked + 1 < filling && landed[acked + 1])) ->
#else
    :: acked < filling && landed[acked] ->
#endif
        enough = enough + callers[acked];
        acked++
    :: else -> break
    od;
    if
    :: enough > 0 ->
        crowd = enough;
        next = acked;
        do
        :: next <= filling -> crowd = crowd + callers[next]; next++
        :: else -> break
        od
    :: else
    fi;
    held = false;
    armed = false;
    if
    :: enough > 0 && acked == filling ->
        enough = enough + callers[filling];
        if
        :: callers[filling] > 0 -> held = true
        :: else -> armed = true
        fi
    :: true
    fi;
    next = 0;
    if
    :: callers[filling] > 0 && NEXT && waiters[filling] > 0 -> next = filling
    :: else
    fi
}

proctype committer()
{
    byte round = 0, mine, seen, from, to, next;
    bool leads, watches;
again:
    atomic {
        mine = filling;
        callers[mine]++;
        held = held || armed;
        armed = false
    }
look:
    atomic {
        leads = false;
        if
        :: held -> held = false /* the time is over */
        :: true
        fi;
        if
        :: acked > mine -> goto done
        :: acked <= mine && mine == filling && NEXT && !HOLD_LASTS ->
            leads = true;
            held = false;
            armed = false;
            filling++;
            in_flight++
        :: else ->
            waiters[mine]++;
            seen = word[mine];
#ifdef TWO_LOOKS
            held = false; /* the time is over between two looks at the clock */
#endif
            watches = mine == filling && NEXT && HOLD_LASTS && watched != mine;
#ifdef NOBODY_WATCHES
            watches = false;
#endif
            if
            :: watches -> watched = mine
            :: else
            fi
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
        atomic { from = 0; to = 0; next = 0; seen = 0 };
        goto look
    :: else ->
        /* The futex; who watches wakes when the time is over, at the latest. */
        atomic {
            word[mine] != seen || watches;
            if
            :: word[mine] == seen && mine == filling -> held = false
            :: else
            fi;
            if
            :: acked > mine -> watches = false; seen = 0; goto done
            :: else ->
                waiters[mine]--;
                seen = 0;
                if
                :: watches && watched == mine -> watched = 0
                :: else
                fi;
                watches = false
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
        next = 0;
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
