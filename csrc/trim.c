/*
 * trim.c - cut what a crash may have left at the end of a file of lines.
 *
 * After a power cut a file may be longer than what was written of it: in part, or as zero bytes,
 * where its size reached the medium and its data did not.
 */
#define _POSIX_C_SOURCE 200809L

#include "trim.h"

#include "error.h"
#include "io.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { CHUNK = 64 << 10 };

/* The offset behind the last newline before end, 0 if there is none. */
static int64_t find_line_end(int fd, int64_t end)
{
    uint8_t chunk[CHUNK];
    while (end > 0) {
        const int64_t begin = end > CHUNK ? end - CHUNK : 0;
        const ssize_t n = pd_io_read(fd, chunk, (size_t)(end - begin), (uint64_t)begin);
        if (n < 0)
            return n;
        for (ssize_t i = n; i > 0; i--)
            if (chunk[i - 1] == '\n')
                return begin + i;
        end = begin;
    }
    return 0;
}

static int64_t trim(int fd)
{
    struct stat st;
    int rc = pd_sys->stat(fd, &st);
    if (rc < 0)
        return rc;
    const int64_t end = find_line_end(fd, st.st_size);
    if (end < 0 || end == st.st_size)
        return end < 0 ? end : 0;
    rc = pd_sys->truncate(fd, end);
    if (rc == 0)
        rc = pd_io_sync_file(fd);
    return rc < 0 ? rc : st.st_size - end;
}

int64_t pd_trim_locked(int fd, struct pd_error *error)
{
    int64_t cut = pd_io_lock(fd, PD_LOCK_WAIT);
    if (cut == 0) {
        cut = trim(fd);
        const int unlocked = pd_io_lock(fd, PD_LOCK_FREE);
        if (cut >= 0 && unlocked < 0)
            cut = unlocked;
    }
    return cut < 0 ? pd_error_os(error, (int)cut, "cutting a partial line", "") : cut;
}

int64_t pd_file_trim(const char *path, struct pd_error *error)
{
    const int fd = pd_io_open(AT_FDCWD, path, O_RDWR | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0)
        return pd_error_os(error, fd, "cutting a partial line", "");
    struct stat st;
    const int rc = pd_sys->stat(fd, &st);
    int64_t cut;
    if (rc < 0 || !S_ISREG(st.st_mode))
        cut = pd_error_set(error, PD_ERROR_OS, rc < 0 ? -rc : EINVAL, "cutting a partial line", "",
                           rc < 0 ? "" : "it is no regular file");
    else
        cut = pd_trim_locked(fd, error);
    const int closed = pd_io_close(fd);
    return cut >= 0 && closed < 0 ? pd_error_os(error, closed, "cutting a partial line", "") : cut;
}
