/* sys_posix_meta.c - names and attributes on Linux and macOS; see sys_meta.h. */
#if defined(__linux__)
#define _GNU_SOURCE
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE
#endif

#include "sys_meta.h"

#include "sys_posix.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/xattr.h>
#include <unistd.h>

#if defined(__APPLE__)
#include <copyfile.h>
#endif

static ssize_t size_result(ssize_t value)
{
    return value < 0 ? -errno : value;
}

static int posix_look(int dir, const char *name, struct stat *out)
{
    return pd_posix_result(fstatat(dir, name, out, AT_SYMLINK_NOFOLLOW));
}

static int posix_writable(int dir, const char *name)
{
    return pd_posix_result(faccessat(dir, name, W_OK, AT_EACCESS));
}

static ssize_t posix_read_link(int dir, const char *name, char *out, size_t size)
{
    return size_result(readlinkat(dir, name, out, size));
}

static int posix_move(int from_dir, const char *from, int to_dir, const char *to)
{
    return pd_posix_result(renameat(from_dir, from, to_dir, to));
}

static int posix_link(int from_dir, const char *from, int to_dir, const char *to)
{
    return pd_posix_result(linkat(from_dir, from, to_dir, to, 0));
}

static int posix_chown(int fd, uid_t uid, gid_t gid)
{
    return pd_posix_result(fchown(fd, uid, gid));
}

static int posix_chmod(int fd, mode_t mode)
{
    return pd_posix_result(fchmod(fd, mode));
}

#if defined(__APPLE__)

static ssize_t posix_xattr_list(int fd, char *names, size_t size)
{
    return size_result(flistxattr(fd, names, size, 0));
}

static ssize_t posix_xattr_get(int fd, const char *name, void *value, size_t size)
{
    return size_result(fgetxattr(fd, name, value, size, 0, 0));
}

static int posix_xattr_set(int fd, const char *name, const void *value, size_t size)
{
    return pd_posix_result(fsetxattr(fd, name, value, size, 0, 0));
}

static int posix_acl_copy(int from, int to)
{
    return pd_posix_result(fcopyfile(from, to, NULL, COPYFILE_ACL));
}

#else

static ssize_t posix_xattr_list(int fd, char *names, size_t size)
{
    return size_result(flistxattr(fd, names, size));
}

static ssize_t posix_xattr_get(int fd, const char *name, void *value, size_t size)
{
    return size_result(fgetxattr(fd, name, value, size));
}

static int posix_xattr_set(int fd, const char *name, const void *value, size_t size)
{
    return pd_posix_result(fsetxattr(fd, name, value, size, 0));
}

static int posix_acl_copy(int from, int to)
{
    (void)from;
    if (fremovexattr(to, "system.posix_acl_access") == 0 || errno == ENODATA || errno == ENOTSUP)
        return 0;
    return -errno;
}

#endif

static int posix_duplicate(int fd)
{
    return pd_posix_result(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

const struct pd_sys_meta pd_sys_posix_meta = {
    .look = posix_look,
    .writable = posix_writable,
    .read_link = posix_read_link,
    .move = posix_move,
    .move_new = PD_HOST(move_new),
    .link = posix_link,
    .chown = posix_chown,
    .chmod = posix_chmod,
    .xattr_list = posix_xattr_list,
    .xattr_get = posix_xattr_get,
    .xattr_set = posix_xattr_set,
    .acl_copy = posix_acl_copy,
    .direct = PD_HOST(direct),
    .writeback = PD_HOST(writeback),
    .duplicate = posix_duplicate,
};
