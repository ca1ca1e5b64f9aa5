/* sys_posix_rooms.c - waiting for a word where there are no futexes.
 *
 * Words share a few conditions by their address: a thread may be woken for another word's sake. */
#include "sys_posix.h"

enum { ROOMS = 16 };

static struct room {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
} rooms[ROOMS];
static pthread_once_t rooms_once = PTHREAD_ONCE_INIT;

static void make_rooms(void)
{
    for (int i = 0; i < ROOMS; i++) {
        pthread_mutex_init(&rooms[i].mutex, NULL);
        pd_sys_cond_init(&rooms[i].cond);
    }
}

static struct room *room_of(const uint32_t *word)
{
    pthread_once(&rooms_once, make_rooms);
    return &rooms[((uintptr_t)word >> 6) % ROOMS];
}

void pd_rooms_wait(uint32_t *word, uint32_t seen, uint64_t ns)
{
    struct room *room = room_of(word);
    pthread_mutex_lock(&room->mutex);
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen)
        (void)pd_sys_cond_wait(&room->cond, &room->mutex, ns);
    pthread_mutex_unlock(&room->mutex);
}

void pd_rooms_wake(uint32_t *word, uint32_t count)
{
    (void)count; /* those that are meant may be any of those in the room */
    struct room *room = room_of(word);
    pthread_mutex_lock(&room->mutex);
    pthread_cond_broadcast(&room->cond);
    pthread_mutex_unlock(&room->mutex);
}

void pd_sys_after_fork(void)
{
    /* Whoever held a mutex in the parent does not exist here. */
    make_rooms();
}
