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

static int host_look(int dir, const char *name, struct stat *out)
{
    return pd_posix_result(fstatat(dir, name, out, AT_SYMLINK_NOFOLLOW));
}

static int host_writable(int dir, const char *name)
{
    return pd_posix_result(faccessat(dir, name, W_OK, AT_EACCESS));
}

static ssize_t host_read_link(int dir, const char *name, char *out, size_t size)
{
    return size_result(readlinkat(dir, name, out, size));
}

static int host_move(int from_dir, const char *from, int to_dir, const char *to)
{
    return pd_posix_result(renameat(from_dir, from, to_dir, to));
}

static int host_link(int from_dir, const char *from, int to_dir, const char *to)
{
    return pd_posix_result(linkat(from_dir, from, to_dir, to, 0));
}

static int host_chown(int fd, uid_t uid, gid_t gid)
{
    return pd_posix_result(fchown(fd, uid, gid));
}

static int host_chmod(int fd, mode_t mode)
{
    return pd_posix_result(fchmod(fd, mode));
}

#if defined(__APPLE__)

static ssize_t host_xattr_list(int fd, char *names, size_t size)
{
    return size_result(flistxattr(fd, names, size, 0));
}

static ssize_t host_xattr_get(int fd, const char *name, void *value, size_t size)
{
    return size_result(fgetxattr(fd, name, value, size, 0, 0));
}

static int host_xattr_set(int fd, const char *name, const void *value, size_t size)
{
    return pd_posix_result(fsetxattr(fd, name, value, size, 0, 0));
}

static int host_acl_copy(int from, int to)
{
    return pd_posix_result(fcopyfile(from, to, NULL, COPYFILE_ACL));
}

#else

static ssize_t host_xattr_list(int fd, char *names, size_t size)
{
    return size_result(flistxattr(fd, names, size));
}

static ssize_t host_xattr_get(int fd, const char *name, void *value, size_t size)
{
    return size_result(fgetxattr(fd, name, value, size));
}

static int host_xattr_set(int fd, const char *name, const void *value, size_t size)
{
    return pd_posix_result(fsetxattr(fd, name, value, size, 0));
}

static int host_acl_copy(int from, int to)
{
    (void)from;
    if (fremovexattr(to, "system.posix_acl_access") == 0 || errno == ENODATA || errno == ENOTSUP)
        return 0;
    return -errno;
}

#endif

static int host_duplicate(int fd)
{
    return pd_posix_result(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

const struct pd_sys_meta pd_sys_posix_meta = {
    .look = host_look,
    .writable = host_writable,
    .read_link = host_read_link,
    .move = host_move,
    .move_new = PD_HOST(move_new),
    .link = host_link,
    .chown = host_chown,
    .chmod = host_chmod,
    .xattr_list = host_xattr_list,
    .xattr_get = host_xattr_get,
    .xattr_set = host_xattr_set,
    .acl_copy = host_acl_copy,
    .direct = PD_HOST(direct),
    .writeback = PD_HOST(writeback),
    .duplicate = host_duplicate,
    .hold = PD_HOST(hold),
};
