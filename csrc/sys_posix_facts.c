/* sys_posix_facts.c - what statx(2) tells of a path beyond stat(2): and when a file was made. */
#if defined(__linux__)
#define _GNU_SOURCE
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE
#endif

#include "storage.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

/* struct statx as linux/stat.h draws it, by offsets: the headers that are compiled against are
 * often older than the kernel that answers. */
enum {
    STATX_BYTES = 256,
    AT_MASK = 0x00,
    AT_BORN_S = 0x50,
    AT_BORN_NS = 0x58,
    AT_MOUNT = 0x90,
    AT_DIO_MEM = 0x98,
    AT_DIO_OFFSET = 0x9c,
    AT_ATOMIC_MIN = 0xa8,
    AT_ATOMIC_MAX = 0xac
};
enum { ASK_BORN = 0x800, ASK_MOUNT = 0x1000, ASK_DIO = 0x2000, ASK_ATOMIC = 0x10000 };

static uint32_t word(const unsigned char *bytes, size_t at)
{
    uint32_t value;
    memcpy(&value, bytes + at, sizeof value);
    return value;
}
#endif

int pd_path_facts(const char *path, struct pd_path_facts *out)
{
    memset(out, 0, sizeof *out);
#if defined(SYS_statx)
    unsigned char answer[STATX_BYTES] = {0};
    if (syscall(SYS_statx, AT_FDCWD, path, 0, ASK_MOUNT | ASK_DIO | ASK_ATOMIC, answer) < 0)
        return -errno;
    const uint32_t known = word(answer, AT_MASK);
    if (known & ASK_MOUNT)
        memcpy(&out->mount, answer + AT_MOUNT, sizeof out->mount);
    out->direct = (known & ASK_DIO) != 0;
    if (out->direct) {
        out->dio_mem_align = word(answer, AT_DIO_MEM);
        out->dio_offset_align = word(answer, AT_DIO_OFFSET);
    }
    out->atomic = (known & ASK_ATOMIC) != 0;
    if (out->atomic) {
        out->atomic_min = word(answer, AT_ATOMIC_MIN);
        out->atomic_max = word(answer, AT_ATOMIC_MAX);
    }
    return 0;
#else
    (void)path;
    return -ENOSYS;
#endif
}

uint64_t pd_sys_born(int fd)
{
#if defined(__APPLE__)
    struct stat st;
    if (fstat(fd, &st) < 0)
        return 0;
    return (uint64_t)st.st_birthtimespec.tv_sec * 1000000000u +
           (uint64_t)st.st_birthtimespec.tv_nsec;
#elif defined(SYS_statx)
    unsigned char answer[STATX_BYTES] = {0};
    uint64_t seconds;
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, ASK_BORN, answer) < 0 ||
        !(word(answer, AT_MASK) & ASK_BORN))
        return 0;
    memcpy(&seconds, answer + AT_BORN_S, sizeof seconds);
    return seconds * 1000000000u + word(answer, AT_BORN_NS);
#else
    (void)fd;
    return 0;
#endif
}
