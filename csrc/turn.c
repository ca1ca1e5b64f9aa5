/* turn.c - the one turn of the process: it is about a lock of which the process has one. */
#include "turn.h"

#include "pydurable.h"
#include "sys.h"

/* A thread that commits again comes back within 10 us; one that does not is waited for this long,
 * and the others go on for the lock as they would have without turns. */
static const uint64_t turn_ns = 100000;
/* Hundreds of threads have had their turns within this; it bounds the wait where cores are short.
 */
static const uint64_t patience_ns = 4000000;
/* Each core needs somebody who is ready when a thread goes back to sleep; who is ready and has a
 * core for itself wastes it. */
enum { AWAKE_ON_ALL_CORES = 32, PORTION_MIN = 2 };

/* Where other programs want the cores, to yield is to wait for their slices, and there is no idle
 * core that a thread could be woken on: no turns for a while.  It is so when more than one yield in
 * seven takes this long; on a machine of its own it is one in twenty, beside one busy program one
 * in five. */
static const uint64_t slice_ns = 2000000;
static const uint64_t rest_ns = 50000000;
enum { LONG_YIELD = 6, CROWDED = 96 };

static int32_t crowding;    /* LONG_YIELD more for each long yield, 1 less for others; atomic */
static uint64_t resumes_ns; /* no turns before that; atomic */
static uint32_t portion;    /* atomic */
static uint64_t ends_ns;    /* of the turn that somebody has, 0 if nobody; atomic */
static _Thread_local uint64_t own_ends_ns; /* of the turn that this thread took */

void pd_turns_use(bool use)
{
    const uint32_t share = AWAKE_ON_ALL_CORES / (uint32_t)pd_sys_cores();
    const uint32_t used = share > PORTION_MIN ? share : PORTION_MIN;
    __atomic_store_n(&resumes_ns, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&portion, use ? used : 0, __ATOMIC_RELAXED);
}

uint32_t pd_turn_portion(void)
{
    const uint32_t used = __atomic_load_n(&portion, __ATOMIC_RELAXED);
    return used && pd_sys_now_ns() > __atomic_load_n(&resumes_ns, __ATOMIC_RELAXED) ? used : 0;
}

/* Let others have the core; false if too many of them want it. */
static bool yield(uint64_t *now)
{
    const uint64_t before = *now;
    pd_sys_yield();
    *now = pd_sys_now_ns();
    if (*now - before < slice_ns) {
        if (__atomic_load_n(&crowding, __ATOMIC_RELAXED) > 0)
            (void)__atomic_fetch_sub(&crowding, 1, __ATOMIC_RELAXED);
        return true;
    }
    if (__atomic_add_fetch(&crowding, LONG_YIELD, __ATOMIC_RELAXED) < CROWDED)
        return true;
    __atomic_store_n(&crowding, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&resumes_ns, *now + rest_ns, __ATOMIC_RELAXED);
    return false;
}

void pd_turn_take(void)
{
    uint64_t now = pd_sys_now_ns();
    const uint64_t begun = now;
    do {
        uint64_t ends = __atomic_load_n(&ends_ns, __ATOMIC_RELAXED);
        if (ends <= now && __atomic_compare_exchange_n(&ends_ns, &ends, now + turn_ns, false,
                                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            own_ends_ns = now + turn_ns;
            return;
        }
    } while (yield(&now) && now - begun < patience_ns);
}

void pd_turn_give(void)
{
    uint64_t ends = own_ends_ns;
    if (!ends)
        return;
    own_ends_ns = 0;
    /* Unless it has ended and is somebody else's now. */
    (void)__atomic_compare_exchange_n(&ends_ns, &ends, 0, false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED);
}
