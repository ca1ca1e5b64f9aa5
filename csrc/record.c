/*
 * record.c - an ordered record of everything that changes a file, for simulated power cuts.
 *
 * Events stand one after another in memory: u32 call, u32 size of data, i64 a, i64 b, u64 c, u64
 * number of the event, then the data.  Numbers start at 1 and say in which order things happened.
 *
 *   call              a    b         c                                data
 *   open              fd   dir fd    flags, PD_OPEN_* in bits 32 on   name
 *   close             fd
 *   write, begun      fd   offset    0                                what is written
 *   write, ended      fd   bytes     number of its beginning
 *   a sync, begun     fd   0         0
 *   a sync, ended     fd   1         number of its beginning
 *   allocate,
 *   truncate          fd   size
 *   rename            dir                                             from, a zero byte, to
 *   move, move_new,
 *   link              dir  to dir                                     from, a zero byte, to
 *   unlink            dir                                             name
 *   mkdir                                                             path
 *   a mark (PD_CALL_COUNT)        its value
 *
 * A sync that fails has no end; a write that fails ends with a negative number of bytes.
 */
#include "fault.h"

#include "pydurable.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct event {
    uint32_t call, size;
    int64_t a, b;
    uint64_t c, number;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *events;
static size_t used, capacity;
static uint64_t count;
static bool on;

bool pd_recording(void)
{
    return __atomic_load_n(&on, __ATOMIC_SEQ_CST);
}

static bool reserve(size_t size)
{
    if (used + size <= capacity)
        return true;
    size_t wanted = (used + size) * 2;
    uint8_t *larger = realloc(events, wanted);
    if (!larger)
        return false;
    events = larger;
    capacity = wanted;
    return true;
}

uint64_t pd_record(int call, int64_t a, int64_t b, uint64_t c, const void *data, size_t size)
{
    if (!pd_recording())
        return 0;
    pthread_mutex_lock(&mutex);
    struct event event = {(uint32_t)call, (uint32_t)size, a, b, c, ++count};
    if (reserve(sizeof event + size)) {
        memcpy(events + used, &event, sizeof event);
        if (size)
            memcpy(events + used + sizeof event, data, size);
        used += sizeof event + size;
    }
    pthread_mutex_unlock(&mutex);
    return event.number;
}

void pd_record_start(void)
{
    pthread_mutex_lock(&mutex);
    used = 0;
    count = 0;
    __atomic_store_n(&on, true, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&mutex);
    pd_fault_retable();
}

void pd_record_mark(uint64_t value)
{
    pd_record(PD_CALL_COUNT, 0, 0, value, NULL, 0);
}

uint64_t pd_record_size(void)
{
    pthread_mutex_lock(&mutex);
    uint64_t size = used;
    pthread_mutex_unlock(&mutex);
    return size;
}

void pd_record_copy(void *out, uint64_t size)
{
    pthread_mutex_lock(&mutex);
    memcpy(out, events, size < used ? (size_t)size : used);
    pthread_mutex_unlock(&mutex);
}

void pd_record_stop(void)
{
    pthread_mutex_lock(&mutex);
    __atomic_store_n(&on, false, __ATOMIC_SEQ_CST);
    free(events);
    events = NULL;
    used = capacity = 0;
    pthread_mutex_unlock(&mutex);
    pd_fault_retable();
}
