/* sys_posix_wait.c - threads, and what they wait for, on Linux and macOS. */
#if defined(__linux__)
#define _GNU_SOURCE
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE
#endif

#include "sys.h"

#include <sched.h>
#include <signal.h>
#include <time.h>

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

void pd_sys_yield(void)
{
    (void)sched_yield();
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
