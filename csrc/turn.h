/*
 * turn.h - threads on their way back to an interpreter take turns.
 *
 * Whoever comes back from a wait takes the interpreter's lock first.  When one flush sends many
 * threads home, all but one find it taken, go to sleep a second time, and are woken one by one,
 * mostly on a core that has gone idle meanwhile.  So a thread that leaves the core takes a turn,
 * and gives it back when it comes again, which is when the lock is free; those behind it stay awake
 * for a moment, yield to whoever has something to do, and never sleep over the lock.
 *
 * A turn is a courtesy and not a lock.  It ends by itself, for its holder may have other things to
 * do than to come again, and who has waited too long for one goes without.
 */
#ifndef PD_TURN_H
#define PD_TURN_H

#include <stdint.h>

/* How many threads are woken for their turns at once, and how many may be awake when more are
 * woken; 0 where nobody takes turns. */
uint32_t pd_turn_portion(void);
/* Wait for a turn and take it. */
void pd_turn_take(void);
/* Give it back, if this thread has one. */
void pd_turn_give(void);

#endif
