/* fault_meta.c - the part of the faulty table that deals in names and attributes. */
#include "fault.h"

#include "pydurable.h"
#include "sys.h"
#include "sys_meta.h"

#include <string.h>

/* Note a change that has two names: the descriptors of the directories, then both names. */
static void record_pair(int call, int from_dir, const char *from, int to_dir, const char *to)
{
    char both[2048];
    size_t split = strlen(from) + 1, size = split + strlen(to);
    if (size > sizeof both)
        return;
    memcpy(both, from, split);
    memcpy(both + split, to, size - split);
    pd_record(call, from_dir, to_dir, 0, both, size);
}

static int fault_look(int dir, const char *name, struct stat *out)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_LOOK);
    PD_FAULT_REFUSE(rule);
    return (int)pd_fault_leave(rule, pd_sys_base->meta->look(dir, name, out));
}

static int fault_writable(int dir, const char *name)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_WRITABLE);
    PD_FAULT_REFUSE(rule);
    return (int)pd_fault_leave(rule, pd_sys_base->meta->writable(dir, name));
}

static ssize_t fault_read_link(int dir, const char *name, char *out, size_t size)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_READ_LINK);
    PD_FAULT_REFUSE(rule);
    return (ssize_t)pd_fault_leave(rule, pd_sys_base->meta->read_link(dir, name, out, size));
}

static int fault_move(int from_dir, const char *from, int to_dir, const char *to)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_MOVE);
    PD_FAULT_REFUSE(rule);
    int rc = pd_sys_base->meta->move(from_dir, from, to_dir, to);
    if (rc >= 0)
        record_pair(PD_CALL_MOVE, from_dir, from, to_dir, to);
    return (int)pd_fault_leave(rule, rc);
}

static int fault_move_new(int from_dir, const char *from, int to_dir, const char *to)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_MOVE_NEW);
    PD_FAULT_REFUSE(rule);
    int rc = pd_sys_base->meta->move_new(from_dir, from, to_dir, to);
    if (rc >= 0)
        record_pair(PD_CALL_MOVE_NEW, from_dir, from, to_dir, to);
    return (int)pd_fault_leave(rule, rc);
}

static int fault_link(int from_dir, const char *from, int to_dir, const char *to)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_LINK);
    PD_FAULT_REFUSE(rule);
    int rc = pd_sys_base->meta->link(from_dir, from, to_dir, to);
    if (rc >= 0)
        record_pair(PD_CALL_LINK, from_dir, from, to_dir, to);
    return (int)pd_fault_leave(rule, rc);
}

static int fault_chown(int fd, uid_t uid, gid_t gid)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_CHOWN);
    PD_FAULT_REFUSE(rule);
    return (int)pd_fault_leave(rule, pd_sys_base->meta->chown(fd, uid, gid));
}

static int fault_chmod(int fd, mode_t mode)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_CHMOD);
    PD_FAULT_REFUSE(rule);
    return (int)pd_fault_leave(rule, pd_sys_base->meta->chmod(fd, mode));
}

static ssize_t fault_xattr_list(int fd, char *names, size_t size)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_XATTR_LIST);
    PD_FAULT_REFUSE(rule);
    return (ssize_t)pd_fault_leave(rule, pd_sys_base->meta->xattr_list(fd, names, size));
}

static ssize_t fault_xattr_get(int fd, const char *name, void *value, size_t size)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_XATTR_GET);
    PD_FAULT_REFUSE(rule);
    return (ssize_t)pd_fault_leave(rule, pd_sys_base->meta->xattr_get(fd, name, value, size));
}

static int fault_xattr_set(int fd, const char *name, const void *value, size_t size)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_XATTR_SET);
    PD_FAULT_REFUSE(rule);
    return (int)pd_fault_leave(rule, pd_sys_base->meta->xattr_set(fd, name, value, size));
}

static int fault_acl_copy(int from, int to)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_ACL_COPY);
    PD_FAULT_REFUSE(rule);
    return (int)pd_fault_leave(rule, pd_sys_base->meta->acl_copy(from, to));
}

static int fault_direct(int fd)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_DIRECT);
    PD_FAULT_REFUSE(rule);
    return (int)pd_fault_leave(rule, pd_sys_base->meta->direct(fd));
}

static int fault_writeback(int fd)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_WRITEBACK);
    PD_FAULT_REFUSE(rule);
    return (int)pd_fault_leave(rule, pd_sys_base->meta->writeback(fd));
}

static int fault_duplicate(int fd)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_DUPLICATE);
    PD_FAULT_REFUSE(rule);
    return pd_sys_base->meta->duplicate(fd);
}

static int fault_hold(int dir, const char *name)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_HOLD);
    PD_FAULT_REFUSE(rule);
    return pd_sys_base->meta->hold(dir, name);
}

const struct pd_sys_meta pd_fault_meta = {
    .look = fault_look,
    .writable = fault_writable,
    .read_link = fault_read_link,
    .move = fault_move,
    .move_new = fault_move_new,
    .link = fault_link,
    .chown = fault_chown,
    .chmod = fault_chmod,
    .xattr_list = fault_xattr_list,
    .xattr_get = fault_xattr_get,
    .xattr_set = fault_xattr_set,
    .acl_copy = fault_acl_copy,
    .direct = fault_direct,
    .writeback = fault_writeback,
    .duplicate = fault_duplicate,
    .hold = fault_hold,
};
