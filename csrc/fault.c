/*
 * fault.c - a table of system calls that counts, fails, delays and records, for tests.
 *
 * It stands in front of the platform's table only while a fault, a count or a recording is on;
 * fault_rules.c decides what befalls a call.
 */
#include "fault.h"

#include "pydurable.h"
#include "sys.h"
#include "sys_meta.h"

#include <errno.h>
#include <string.h>

static int fault_open(int dir, const char *name, int flags, int extra, mode_t mode)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_OPEN);
    PD_FAULT_REFUSE(rule);
    int fd = pd_sys_base->open(dir, name, flags, extra, mode);
    if (fd >= 0)
        pd_record(PD_CALL_OPEN, fd, dir,
                  (uint64_t)(unsigned)flags | (uint64_t)(unsigned)extra << 32, name, strlen(name));
    return fd;
}

static int fault_close(int fd)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_CLOSE);
    pd_record(PD_CALL_CLOSE, fd, 0, 0, NULL, 0);
    /* As close(2) on Linux: the descriptor is gone, whatever is reported. */
    int rc = pd_sys_base->close(fd);
    return rule.mode == PD_FAULT_ERROR ? -rule.code : (int)pd_fault_leave(rule, rc);
}

static ssize_t fault_read(int fd, void *data, size_t size, int64_t offset)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_READ);
    PD_FAULT_REFUSE(rule);
    if (rule.mode == PD_FAULT_SHORT)
        size = pd_fault_half(size);
    return (ssize_t)pd_fault_leave(rule, pd_sys_base->read(fd, data, size, offset));
}

/* From its beginning on some of a write may be on the medium; a sync covers it once it has ended.
 * So both moments are recorded, here and for a sync. */
static ssize_t fault_write(int fd, const void *data, size_t size, int64_t offset)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_WRITE);
    PD_FAULT_REFUSE(rule);
    if (rule.mode == PD_FAULT_SHORT)
        size = pd_fault_half(size);
    const ssize_t room = pd_fault_room(fd, offset, size);
    if (room < 0)
        return room;
    size = (size_t)room;
    uint64_t begun = pd_record(PD_CALL_WRITE, fd, offset, 0, data, size);
    ssize_t n = pd_sys_base->write(fd, data, size, offset);
    pd_record(PD_CALL_WRITE, fd, n, begun, NULL, 0);
    return (ssize_t)pd_fault_leave(rule, n);
}

static int faulted_sync(int call, int fd, int (*sync)(int))
{
    struct pd_fault_rule rule = pd_fault_arrive(call);
    PD_FAULT_REFUSE(rule);
    uint64_t begun = pd_record(call, fd, 0, 0, NULL, 0);
    int rc = sync(fd);
    if (rc >= 0)
        pd_record(call, fd, 1, begun, NULL, 0);
    return (int)pd_fault_leave(rule, rc);
}

static int fault_fsync(int fd)
{
    return faulted_sync(PD_CALL_FSYNC, fd, pd_sys_base->fsync);
}

static int fault_fdatasync(int fd)
{
    return faulted_sync(PD_CALL_FDATASYNC, fd, pd_sys_base->fdatasync);
}

static int fault_fullfsync(int fd)
{
    return faulted_sync(PD_CALL_FULLFSYNC, fd, pd_sys_base->fullfsync);
}

static int fault_barrier(int fd)
{
    return faulted_sync(PD_CALL_BARRIER, fd, pd_sys_base->barrier);
}

static int fault_allocate(int fd, int64_t size)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_ALLOCATE);
    PD_FAULT_REFUSE(rule);
    if (!pd_fault_has_room(fd, size))
        return -ENOSPC;
    int rc = pd_sys_base->allocate(fd, size);
    if (rc >= 0)
        pd_record(PD_CALL_ALLOCATE, fd, size, 0, NULL, 0);
    return (int)pd_fault_leave(rule, rc);
}

static int fault_truncate(int fd, int64_t size)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_TRUNCATE);
    PD_FAULT_REFUSE(rule);
    int rc = pd_sys_base->truncate(fd, size);
    if (rc >= 0)
        pd_record(PD_CALL_TRUNCATE, fd, size, 0, NULL, 0);
    return (int)pd_fault_leave(rule, rc);
}

static int64_t fault_seek(int fd, int64_t offset, int what)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_SEEK);
    PD_FAULT_REFUSE(rule);
    return pd_fault_leave(rule, pd_sys_base->seek(fd, offset, what));
}

static int fault_stat(int fd, struct stat *out)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_STAT);
    PD_FAULT_REFUSE(rule);
    return (int)pd_fault_leave(rule, pd_sys_base->stat(fd, out));
}

static int fault_rename(int dir, const char *from, const char *to)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_RENAME);
    PD_FAULT_REFUSE(rule);
    int rc = pd_sys_base->rename(dir, from, to);
    if (rc >= 0) {
        char both[512];
        size_t split = strlen(from) + 1, size = split + strlen(to);
        if (size <= sizeof both) {
            memcpy(both, from, split);
            memcpy(both + split, to, size - split);
            pd_record(PD_CALL_RENAME, dir, 0, 0, both, size);
        }
    }
    return (int)pd_fault_leave(rule, rc);
}

static int fault_unlink(int dir, const char *name)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_UNLINK);
    PD_FAULT_REFUSE(rule);
    int rc = pd_sys_base->unlink(dir, name);
    if (rc >= 0)
        pd_record(PD_CALL_UNLINK, dir, 0, 0, name, strlen(name));
    return (int)pd_fault_leave(rule, rc);
}

static int fault_mkdir(const char *path, mode_t mode)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_MKDIR);
    PD_FAULT_REFUSE(rule);
    int rc = pd_sys_base->mkdir(path, mode);
    if (rc >= 0)
        pd_record(PD_CALL_MKDIR, 0, 0, 0, path, strlen(path));
    return (int)pd_fault_leave(rule, rc);
}

static int fault_lock(int fd, int how)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_LOCK);
    PD_FAULT_REFUSE(rule);
    return (int)pd_fault_leave(rule, pd_sys_base->lock(fd, how));
}

static void *fault_map(int fd, size_t size, bool writable, int *error)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_MAP);
    if (rule.mode == PD_FAULT_ERROR) {
        *error = -rule.code;
        return NULL;
    }
    return pd_sys_base->map(fd, size, writable, error);
}

static int fault_list(int dir, pd_sys_visit visit, void *context)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_LIST);
    PD_FAULT_REFUSE(rule);
    return (int)pd_fault_leave(rule, pd_sys_base->list(dir, visit, context));
}

static int fault_random(void *data, size_t size)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_RANDOM);
    PD_FAULT_REFUSE(rule);
    return (int)pd_fault_leave(rule, pd_sys_base->random(data, size));
}

const struct pd_sys pd_fault_sys = {
    .open = fault_open,
    .close = fault_close,
    .read = fault_read,
    .write = fault_write,
    .fsync = fault_fsync,
    .fdatasync = fault_fdatasync,
    .fullfsync = fault_fullfsync,
    .barrier = fault_barrier,
    .allocate = fault_allocate,
    .truncate = fault_truncate,
    .seek = fault_seek,
    .stat = fault_stat,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .mkdir = fault_mkdir,
    .lock = fault_lock,
    .map = fault_map,
    .list = fault_list,
    .random = fault_random,
    .meta = &pd_fault_meta,
};
