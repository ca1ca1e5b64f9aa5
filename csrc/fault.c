/*
 * fault.c - a table of system calls that counts, fails, delays and records, for tests.
 *
 * It stands in front of the platform's table only while a fault, a count or a recording is on.
 */
#include "fault.h"

#include "pydurable.h"
#include "sys.h"
#include "sys_meta.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { RULES_MAX = 16 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct pd_fault_rule rules[RULES_MAX];
static uint64_t calls[PD_CALL_COUNT];
static bool counting;

struct pd_fault_rule pd_fault_arrive(int call)
{
    struct pd_fault_rule found = {.mode = -1};
    pthread_mutex_lock(&mutex);
    calls[PD_CALL_ANY]++;
    calls[call]++;
    for (int i = 0; i < RULES_MAX; i++) {
        struct pd_fault_rule *rule = &rules[i];
        if (!rule->on || (rule->call != PD_CALL_ANY && rule->call != call))
            continue;
        if (rule->nth > 1) {
            rule->nth--;
            continue;
        }
        if (rule->times && --rule->times == 0)
            rule->on = false;
        if (found.mode < 0)
            found = *rule;
    }
    pthread_mutex_unlock(&mutex);
    if (found.mode == PD_FAULT_DELAY)
        pd_sys_sleep_ns((uint64_t)found.code * 1000000u);
    return found;
}

int64_t pd_fault_leave(struct pd_fault_rule rule, int64_t result)
{
    return rule.mode == PD_FAULT_AFTERWARDS && result >= 0 ? -rule.code : result;
}

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
    if (rule.mode == PD_FAULT_SHORT && size > 1)
        size /= 2;
    return (ssize_t)pd_fault_leave(rule, pd_sys_base->read(fd, data, size, offset));
}

/* From its beginning on some of a write may be on the medium; a sync covers it once it has ended.
 * So both moments are recorded, here and for a sync. */
static ssize_t fault_write(int fd, const void *data, size_t size, int64_t offset)
{
    struct pd_fault_rule rule = pd_fault_arrive(PD_CALL_WRITE);
    PD_FAULT_REFUSE(rule);
    if (rule.mode == PD_FAULT_SHORT && size > 1)
        size /= 2;
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

static const struct pd_sys faulty = {
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

/* Put the faulty table in front, or take it away once nothing needs it. */
static void choose_table(void)
{
    bool wanted = counting || pd_recording();
    for (int i = 0; i < RULES_MAX; i++)
        wanted = wanted || rules[i].on;
    __atomic_store_n(&pd_sys, wanted ? &faulty : pd_sys_base, __ATOMIC_SEQ_CST);
}

void pd_fault_retable(void)
{
    pthread_mutex_lock(&mutex);
    choose_table();
    pthread_mutex_unlock(&mutex);
}

void pd_fault_set(int call, int mode, int code, uint64_t nth, uint64_t times)
{
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < RULES_MAX; i++)
        if (!rules[i].on) {
            rules[i] = (struct pd_fault_rule){call, mode, code, nth, times, true};
            break;
        }
    choose_table();
    pthread_mutex_unlock(&mutex);
}

void pd_fault_clear(void)
{
    pthread_mutex_lock(&mutex);
    memset(rules, 0, sizeof rules);
    memset(calls, 0, sizeof calls);
    counting = false;
    choose_table();
    pthread_mutex_unlock(&mutex);
}

void pd_fault_count(bool on)
{
    pthread_mutex_lock(&mutex);
    counting = on;
    choose_table();
    pthread_mutex_unlock(&mutex);
}

uint64_t pd_fault_calls(int call)
{
    pthread_mutex_lock(&mutex);
    uint64_t n = call >= 0 && call < PD_CALL_COUNT ? calls[call] : 0;
    pthread_mutex_unlock(&mutex);
    return n;
}
