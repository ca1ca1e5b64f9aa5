/*
 * sys_meta.h - the part of the table of system calls that deals in names and attributes.
 *
 * The log needs none of these; replacing a file does.  They follow the rules of sys.h: a value
 * >= 0 or -errno, and no retries.
 */
#ifndef PD_SYS_META_H
#define PD_SYS_META_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct pd_sys_meta {
    int (*look)(int dir, const char *name, struct stat *out); /* of a symlink: the link itself */
    int (*writable)(int dir, const char *name); /* may the effective user write: 0 or -EACCES... */
    ssize_t (*read_link)(int dir, const char *name, char *out, size_t size);
    int (*move)(int from_dir, const char *from, int to_dir, const char *to);
    /* The same, but -EEXIST if there is a file already; -ENOSYS, -EINVAL or -ENOTSUP where the
     * kernel or the filesystem has no such call. */
    int (*move_new)(int from_dir, const char *from, int to_dir, const char *to);
    int (*link)(int from_dir, const char *from, int to_dir, const char *to);
    int (*chown)(int fd, uid_t uid, gid_t gid); /* -1 leaves a half as it is */
    int (*chmod)(int fd, mode_t mode);
    /* Extended attributes, all of them on open files; -ERANGE if size is too small. */
    ssize_t (*xattr_list)(int fd, char *names, size_t size);
    ssize_t (*xattr_get)(int fd, const char *name, void *value, size_t size);
    int (*xattr_set)(int fd, const char *name, const void *value, size_t size);
    /* Give to the ACL that from has, or none.  Where an ACL is an extended attribute (Linux) this
     * only takes away the one that to has inherited: the other is copied with the attributes. */
    int (*acl_copy)(int from, int to);
    int (*direct)(int fd);    /* past the page cache from here on; -EINVAL where it cannot */
    int (*writeback)(int fd); /* start writing dirty pages out, without waiting */
    int (*duplicate)(int fd);
    /* A descriptor that keeps a file from being freed with its last name, where that takes the
     * filesystem long enough to be worth it; -ENOTSUP elsewhere. */
    int (*hold)(int dir, const char *name);
};

extern const struct pd_sys_meta pd_sys_posix_meta;
extern const struct pd_sys_meta pd_fault_meta;

#endif
