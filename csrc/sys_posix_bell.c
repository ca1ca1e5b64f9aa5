/* sys_posix_bell.c - a descriptor that an event loop can watch, on Linux and macOS. */
#if defined(__linux__)
#define _GNU_SOURCE
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE
#endif

#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/eventfd.h>
#endif

int pd_sys_bell_open(int bell[2])
{
#if defined(__linux__)
    bell[0] = bell[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return bell[0] < 0 ? -errno : 0;
#else
    if (pipe(bell) < 0)
        return -errno;
    for (int i = 0; i < 2; i++)
        if (fcntl(bell[i], F_SETFD, FD_CLOEXEC) < 0 || fcntl(bell[i], F_SETFL, O_NONBLOCK) < 0) {
            const int error = errno;
            pd_sys_bell_close(bell);
            return -error;
        }
    return 0;
#endif
}

void pd_sys_bell_ring(int end)
{
    /* An eventfd takes eight bytes.  A full pipe is readable already. */
    const uint64_t one = 1;
    while (write(end, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void pd_sys_bell_clear(int end)
{
    uint64_t count;
    while (read(end, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

void pd_sys_bell_close(int bell[2])
{
    if (bell[0] >= 0)
        (void)close(bell[0]);
    if (bell[1] >= 0 && bell[1] != bell[0])
        (void)close(bell[1]);
    bell[0] = bell[1] = -1;
}
