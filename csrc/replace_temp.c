/* replace_temp.c - temporary files: hidden, of unguessable names, locked while they are written. */
#define _XOPEN_SOURCE 700
#define _DARWIN_C_SOURCE /* O_NOFOLLOW, which macOS takes for an extension of its own */

#include "replace.h"

#include "error.h"
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

enum {
    TOKEN_BYTES = 16,
    LOCK_TRIES = 50, /* a millisecond apart */
};

int pd_temp_token(char token[PD_TOKEN_SIZE], struct pd_error *error)
{
    uint8_t bytes[TOKEN_BYTES];
    int rc;
    PD_RETRY(rc, pd_sys->random(bytes, sizeof bytes));
    if (rc < 0)
        return pd_error_os(error, rc, "choosing a name for a temporary file", "");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(token + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

void pd_temp_name(char name[PD_TEMP_SIZE], const char *token)
{
    snprintf(name, PD_TEMP_SIZE, ".pydurable-%s.tmp", token);
}

void pd_temp_member_name(char name[PD_TEMP_SIZE], const char *token, uint32_t member)
{
    snprintf(name, PD_TEMP_SIZE, ".pydurable-%s-%08x.tmp", token, member);
}

static bool cannot_lock(int rc)
{
    return rc == -ENOLCK || pd_is_unsupported(rc);
}

/* Say that the file is alive.  Only find_stale() looks at the lock; a filesystem without locks
 * makes it depend on the age alone, which is no reason not to write. */
static int lock(int fd)
{
    int rc = 0;
    for (int i = 0; i < LOCK_TRIES; i++) {
        PD_RETRY(rc, pd_sys->lock(fd, PD_LOCK_EXCLUSIVE));
        if (rc != -EWOULDBLOCK)
            break;
        /* Somebody is just finding out whether the file is stale. */
        pd_sys_sleep_ns(1000000);
    }
    return cannot_lock(rc) || rc == -EWOULDBLOCK ? 0 : rc;
}

int pd_temp_create(int dir, const char *name, mode_t mode, struct pd_error *error)
{
    static const char *const creating = "creating a temporary file";
    int fd;
    PD_RETRY(fd, pd_sys->open(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0, mode));
    if (fd < 0)
        return pd_error_os(error, fd, creating, name);
    int rc = lock(fd);
    if (rc >= 0)
        return fd;
    pd_io_close(fd);
    pd_sys->unlink(dir, name);
    return pd_error_os(error, rc, creating, name);
}
