/* replace_keep.c - what the new file takes over from the old one. */
#define _XOPEN_SOURCE 700
#define _DARWIN_C_SOURCE /* O_NOFOLLOW, which macOS takes for an extension of its own */

#include "replace.h"

#include "error.h"
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { VALUE_MAX = 64 << 20 }; /* a bound; Linux ends at 64 KiB, macOS has none */

static const char *const keeping = "keeping the file's attributes";

/* What all passes over and strict does not: the system says that this may not be kept here. */
static bool is_refusal(int rc)
{
    return rc == -EPERM || rc == -EACCES || rc == -ENOTSUP || rc == -EOPNOTSUPP || rc == -ENOSYS;
}

/* These vouch for the old content, and would be a lie about the new. */
static bool is_bound_to_content(const char *name)
{
    return strcmp(name, "security.capability") == 0 || strcmp(name, "security.ima") == 0 ||
           strcmp(name, "security.evm") == 0;
}

static bool carries_mode(const struct pd_place *target, const struct pd_replace_options *options)
{
    return options->permissions >= 0 || (options->preserve != PD_PRESERVE_NONE && target->file);
}

mode_t pd_keep_first_mode(const struct pd_place *target, const struct pd_replace_options *options)
{
    return carries_mode(target, options) ? 0600 : 0666;
}

static int lost(struct pd_error *error, int code, const char *name, const char *why)
{
    return pd_error_set(error, PD_ERROR_OS, code, keeping, name, why);
}

int pd_keep_check(const struct pd_place *target, const struct pd_replace_options *options,
                  struct pd_error *error)
{
    if (options->preserve != PD_PRESERVE_STRICT || !target->file)
        return 0;
    if (target->stat.st_nlink > 1)
        return lost(error, EMLINK, target->name,
                    "preserve=\"strict\": the file's other hard links would keep the old content");
    if ((target->stat.st_mode & (S_ISUID | S_ISGID)) && options->permissions < 0)
        return lost(error, EPERM, target->name,
                    "preserve=\"strict\": set-id bits are never passed on to new content");
    return 0;
}

static int keep_owner(const struct stat *from, int fd, bool strict)
{
    struct stat now;
    int rc;
    PD_RETRY(rc, pd_sys->stat(fd, &now));
    if (rc < 0)
        return rc;
    uid_t uid = from->st_uid == now.st_uid ? (uid_t)-1 : from->st_uid;
    gid_t gid = from->st_gid == now.st_gid ? (gid_t)-1 : from->st_gid;
    if (uid == (uid_t)-1 && gid == (gid_t)-1)
        return 0;
    PD_RETRY(rc, pd_sys->meta->chown(fd, uid, gid));
    if (strict || !is_refusal(rc))
        return rc;
    /* Not the owner then, but a group that the user is in. */
    if (gid != (gid_t)-1)
        PD_RETRY(rc, pd_sys->meta->chown(fd, (uid_t)-1, gid));
    return is_refusal(rc) ? 0 : rc;
}

/* All the names of a file's attributes, however many: their size or -errno. */
static ssize_t list(int fd, struct pd_buffer *names)
{
    for (;;) {
        ssize_t n;
        PD_RETRY(n, pd_sys->meta->xattr_list(fd, (char *)names->bytes, names->capacity));
        if (n != -ERANGE || names->capacity >= VALUE_MAX)
            return n;
        int rc = pd_buffer_reserve(names, names->capacity * 2, 0);
        if (rc < 0)
            return rc;
    }
}

static ssize_t get(int fd, const char *name, struct pd_buffer *value)
{
    for (;;) {
        ssize_t n;
        PD_RETRY(n, pd_sys->meta->xattr_get(fd, name, value->bytes, value->capacity));
        if (n != -ERANGE || value->capacity >= VALUE_MAX)
            return n;
        int rc = pd_buffer_reserve(value, value->capacity * 2, 0);
        if (rc < 0)
            return rc;
    }
}

/* Copy one attribute as far as that is permitted: 0 or -errno. */
static int keep_xattr(int from, int to, const char *name, bool strict, struct pd_buffer *value)
{
    if (is_bound_to_content(name))
        return strict ? -EPERM : 0;
    ssize_t n = get(from, name, value);
    if (n == -ENODATA)
        return 0; /* removed since it was listed */
    int rc = n < 0 ? (int)n : 0;
    if (rc >= 0)
        PD_RETRY(rc, pd_sys->meta->xattr_set(to, name, value->bytes, (size_t)n));
    return !strict && is_refusal(rc) ? 0 : rc;
}

/* Copy all attributes.  On failure *culprit is the one that failed, if it was one. */
static int keep_xattrs(int from, int to, bool strict, struct pd_buffer *names,
                       struct pd_buffer *value, const char **culprit)
{
    int rc = pd_buffer_reserve(names, PD_BUFFER_ALIGN, 0);
    if (rc >= 0)
        rc = pd_buffer_reserve(value, PD_BUFFER_ALIGN, 0);
    if (rc < 0)
        return rc;
    ssize_t size = list(from, names);
    if (size == -ENOTSUP || size == -EOPNOTSUPP)
        return 0; /* no attributes on this filesystem */
    if (size < 0)
        return (int)size;
    for (size_t at = 0; at < (size_t)size;) {
        const char *name = (const char *)names->bytes + at;
        rc = keep_xattr(from, to, name, strict, value);
        if (rc < 0) {
            *culprit = name;
            return rc;
        }
        at += strlen(name) + 1;
    }
    return 0;
}

static int keep_acl_and_xattrs(int from, int to, bool strict, const char *file,
                               struct pd_error *error)
{
    int rc;
    PD_RETRY(rc, pd_sys->meta->acl_copy(from, to));
    if (!strict && is_refusal(rc))
        rc = 0;
    if (rc < 0)
        return pd_error_set(error, PD_ERROR_OS, -rc, keeping, file, "its ACL");
    struct pd_buffer names = {0}, value = {0};
    const char *culprit = "";
    rc = keep_xattrs(from, to, strict, &names, &value, &culprit);
    if (rc < 0)
        pd_error_set(error, PD_ERROR_OS, -rc, keeping, file, culprit);
    pd_buffer_free(&names);
    pd_buffer_free(&value);
    return rc;
}

static int keep_all(const struct pd_place *target, int fd, bool strict, struct pd_error *error)
{
    int rc = keep_owner(&target->stat, fd, strict);
    if (rc < 0)
        return pd_error_set(error, PD_ERROR_OS, -rc, keeping, target->name, "its owner and group");
    /* O_NONBLOCK: should the name have become a FIFO, the open does not wait for a writer. */
    int from;
    PD_RETRY(from,
             pd_sys->open(target->dir, target->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, 0));
    /* Gone meanwhile, or not ours to read: nothing to copy, which only strict minds. */
    if (!strict && (from == -ENOENT || is_refusal(from)))
        return 0;
    if (from < 0)
        return pd_error_set(error, PD_ERROR_OS, -from, keeping, target->name,
                            "its extended attributes cannot be read");
    rc = keep_acl_and_xattrs(from, fd, strict, target->name, error);
    pd_io_close(from);
    return rc;
}

int pd_keep_apply(const struct pd_place *target, int fd, const struct pd_replace_options *options,
                  struct pd_error *error)
{
    int rc = 0;
    if (options->preserve >= PD_PRESERVE_ALL && target->file)
        rc = keep_all(target, fd, options->preserve == PD_PRESERVE_STRICT, error);
    if (rc < 0 || !carries_mode(target, options))
        return rc;
    /* The mode last: a change of the owner or of the ACL changes mode bits as well. */
    mode_t mode = options->permissions >= 0 ? (mode_t)options->permissions
                                            : (mode_t)(target->stat.st_mode & 0777);
    PD_RETRY(rc, pd_sys->meta->chmod(fd, mode));
    return rc < 0 ? pd_error_set(error, PD_ERROR_OS, -rc, keeping, target->name, "its mode") : 0;
}
