/* sys_posix_wait.c - threads, and what they wait for, on Linux and macOS. */
#if defined(__linux__)
#define _GNU_SOURCE
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE
#endif

#include "sys.h"

#include <signal.h>
#include <time.h>

#if defined(__linux__)
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const uint64_t second_ns = 1000000000u;

static struct timespec span_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / second_ns), .tv_nsec = (long)(ns % second_ns)};
}

int pd_sys_thread_start(pthread_t *thread, void *(*run)(void *), void *context)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(thread, NULL, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

void pd_sys_cond_init(pthread_cond_t *cond)
{
#if defined(__APPLE__)
    pthread_cond_init(cond, NULL);
#else
    /* The monotonic clock, so that a wait does not stretch when somebody sets the time. */
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
#endif
}

bool pd_sys_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t ns)
{
#if defined(__APPLE__)
    struct timespec span = span_of(ns);
    return pthread_cond_timedwait_relative_np(cond, mutex, &span) == 0;
#else
    struct timespec when = span_of(pd_sys_now_ns() + ns);
    return pthread_cond_timedwait(cond, mutex, &when) == 0;
#endif
}

#if defined(__linux__)
void pd_sys_word_wait(uint32_t *word, uint32_t seen, uint64_t ns)
{
    struct timespec span = span_of(ns);
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, &span, NULL, 0);
}

void pd_sys_word_wake(uint32_t *word, bool all)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, all ? INT_MAX : 1, NULL, NULL, 0);
}
#else
/* Words share a few conditions by their address: a thread may be woken for another word's sake. */
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

void pd_sys_word_wait(uint32_t *word, uint32_t seen, uint64_t ns)
{
    struct room *room = room_of(word);
    pthread_mutex_lock(&room->mutex);
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen)
        (void)pd_sys_cond_wait(&room->cond, &room->mutex, ns);
    pthread_mutex_unlock(&room->mutex);
}

void pd_sys_word_wake(uint32_t *word, bool all)
{
    (void)all; /* the one that is meant may be any of those in the room */
    struct room *room = room_of(word);
    pthread_mutex_lock(&room->mutex);
    pthread_cond_broadcast(&room->cond);
    pthread_mutex_unlock(&room->mutex);
}
#endif
