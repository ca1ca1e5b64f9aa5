/* sys_posix_boot.c - which run of the machine this is, on Linux and macOS. */
#if defined(__APPLE__)
#define _DARWIN_C_SOURCE
#else
#define _POSIX_C_SOURCE 200809L
#endif

#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

enum { UUID_TEXT = 36 };

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int parse(const char text[UUID_TEXT], uint8_t out[16])
{
    int digits = 0;
    memset(out, 0, 16);
    for (int i = 0; i < UUID_TEXT && digits < 32; i++) {
        const int value = hex(text[i]);
        if (value < 0 && text[i] != '-')
            return -EINVAL;
        if (value >= 0) {
            out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | value);
            digits++;
        }
    }
    return digits == 32 ? 0 : -EINVAL;
}

int pd_sys_boot_id(uint8_t out[16])
{
    char text[UUID_TEXT + 1] = {0};
#if defined(__APPLE__)
    size_t size = sizeof text;
    if (sysctlbyname("kern.bootsessionuuid", text, &size, NULL, 0) < 0)
        return -errno;
#else
    const int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    const ssize_t n = read(fd, text, UUID_TEXT);
    close(fd);
    if (n != UUID_TEXT)
        return -EIO;
#endif
    return parse(text, out);
}
