/* test_io.c - whole transfers and syncs over system calls that stop short, are interrupted or
 * fail. */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "io.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* What the scripted table does: every call that moves bytes takes part. */
static struct script {
    size_t most;     /* bytes that one call moves at most */
    int interrupts;  /* that many calls end with EINTR first */
    int every_other; /* and from then on every second one, if set */
    int fail_at;     /* the call of that number fails with code (0 is a result too) */
    int code;
    int calls;
} script;

static bool scripted(int *result)
{
    script.calls++;
    if (script.interrupts > 0) {
        script.interrupts--;
        *result = -EINTR;
        return true;
    }
    if (script.every_other && script.calls % 2) {
        *result = -EINTR;
        return true;
    }
    if (script.calls == script.fail_at) {
        *result = -script.code;
        return true;
    }
    return false;
}

static ssize_t scripted_write(int fd, const void *data, size_t size, int64_t offset)
{
    int result;
    if (scripted(&result))
        return result;
    return pd_sys_posix.write(fd, data, size < script.most ? size : script.most, offset);
}

static ssize_t scripted_read(int fd, void *data, size_t size, int64_t offset)
{
    int result;
    if (scripted(&result))
        return result;
    return pd_sys_posix.read(fd, data, size < script.most ? size : script.most, offset);
}

static int scripted_fsync(int fd)
{
    int result;
    return scripted(&result) ? result : pd_sys_posix.fsync(fd);
}

static int scripted_fdatasync(int fd)
{
    int result;
    return scripted(&result) ? result : pd_sys_posix.fdatasync(fd);
}

static int scripted_close(int fd)
{
    int result = 0;
    const bool said = scripted(&result);
    const int rc = pd_sys_posix.close(fd);
    return said ? result : rc;
}

static int scripted_open(int dir, const char *name, int flags, int extra, mode_t mode)
{
    int result;
    return scripted(&result) ? result : pd_sys_posix.open(dir, name, flags, extra, mode);
}

static struct pd_sys table;

static void begin(struct script wanted)
{
    table = pd_sys_posix;
    table.open = scripted_open;
    table.close = scripted_close;
    table.read = scripted_read;
    table.write = scripted_write;
    table.fsync = scripted_fsync;
    table.fdatasync = scripted_fdatasync;
    script = wanted;
    pd_sys = &table;
}

static void end(void)
{
    pd_sys = &pd_sys_posix;
}

static int open_scratch(void)
{
    const int fd = pd_io_open(AT_FDCWD, "io", O_RDWR | O_CREAT | O_TRUNC, 0);
    CHECK(fd >= 0);
    return fd;
}

static void whole_transfers(void)
{
    static uint8_t data[10000], back[sizeof data + 1];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i % 253);
    static const size_t steps[] = {1, 7, 4096, 9999, sizeof data};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const int fd = open_scratch();
        begin((struct script){.most = steps[i], .interrupts = 3, .every_other = 1});
        CHECK_EQUAL(pd_io_write(fd, data, sizeof data, 123), 0);
        memset(back, 0xee, sizeof back);
        CHECK_EQUAL(pd_io_read(fd, back, sizeof data, 123), sizeof data);
        end();
        CHECK(memcmp(data, back, sizeof data) == 0);
        CHECK_EQUAL(back[sizeof data], 0xee);
        CHECK_EQUAL(pd_io_close(fd), 0);
    }
}

static void end_of_file(void)
{
    uint8_t back[100];
    const int fd = open_scratch();
    CHECK_EQUAL(pd_io_write(fd, "0123456789", 10, 0), 0);
    begin((struct script){.most = 3});
    CHECK_EQUAL(pd_io_read(fd, back, sizeof back, 0), 10);
    CHECK_EQUAL(pd_io_read(fd, back, sizeof back, 4), 6);
    CHECK_EQUAL(pd_io_read(fd, back, sizeof back, 10), 0);
    CHECK_EQUAL(pd_io_read(fd, back, sizeof back, 1000), 0);
    end();
    CHECK(memcmp(back, "456789", 6) == 0);
    CHECK_EQUAL(pd_io_close(fd), 0);
}

static void nothing_written(void)
{
    const int fd = open_scratch();
    begin((struct script){.most = 4, .fail_at = 2, .code = 0});
    CHECK_EQUAL(pd_io_write(fd, "0123456789", 10, 0), -EIO);
    CHECK_EQUAL(script.calls, 2);
    end();
    CHECK_EQUAL(pd_io_close(fd), 0);
}

static void first_failure(void)
{
    uint8_t back[10];
    static const int codes[] = {EIO, ENOSPC, EDQUOT, EBADF};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        const int fd = open_scratch();
        begin((struct script){.most = 4, .fail_at = 2, .code = codes[i]});
        CHECK_EQUAL(pd_io_write(fd, "0123456789", 10, 0), -codes[i]);
        CHECK_EQUAL(script.calls, 2);
        end();
        CHECK_EQUAL(pd_io_write(fd, "0123456789", 10, 0), 0);
        begin((struct script){.most = 4, .fail_at = 3, .code = codes[i]});
        CHECK_EQUAL(pd_io_read(fd, back, 10, 0), -codes[i]);
        end();
        CHECK_EQUAL(pd_io_close(fd), 0);
    }
}

static void sync_once(void)
{
    static const int ways[] = {PD_SYNC_FDATASYNC, PD_SYNC_FSYNC};
    static const int codes[] = {EIO, ENOSPC, EDQUOT, EROFS};
    const int fd = open_scratch();
    for (size_t way = 0; way < 2; way++)
        for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
            begin((struct script){.fail_at = 1, .code = codes[i]});
            CHECK_EQUAL(pd_io_sync(fd, ways[way]), -codes[i]);
            CHECK_EQUAL(script.calls, 1);
            end();
        }
    begin((struct script){.interrupts = 2});
    CHECK_EQUAL(pd_io_sync(fd, PD_SYNC_FDATASYNC), 0);
    CHECK_EQUAL(script.calls, 3);
    script = (struct script){.fail_at = 1, .code = EIO};
    CHECK_EQUAL(pd_io_sync(fd, PD_SYNC_NOTHING), 0);
    CHECK_EQUAL(script.calls, 0);
    CHECK_EQUAL(pd_io_sync_file(fd), -EIO);
    end();
    CHECK_EQUAL(pd_io_close(fd), 0);
}

static void close_once(void)
{
    int fd = open_scratch();
    begin((struct script){.interrupts = 1});
    CHECK_EQUAL(pd_io_close(fd), 0);
    CHECK_EQUAL(script.calls, 1);
    end();
    fd = open_scratch();
    begin((struct script){.fail_at = 1, .code = EIO});
    CHECK_EQUAL(pd_io_close(fd), -EIO);
    CHECK_EQUAL(script.calls, 1);
    end();
    begin((struct script){.interrupts = 2});
    fd = pd_io_open(AT_FDCWD, "io", O_RDWR, 0);
    CHECK(fd >= 0);
    CHECK_EQUAL(script.calls, 3);
    end();
    CHECK_EQUAL(pd_io_close(fd), 0);
}

/* What each method does for a commit; paranoid adds an fsync to all of them. */
static void methods(void)
{
    static const struct {
        int method, extra, data_sync;
    } wanted[] = {
        {PD_METHOD_FDATASYNC, 0, PD_SYNC_FDATASYNC},
        {PD_METHOD_FSYNC, 0, PD_SYNC_FSYNC},
        {PD_METHOD_DSYNC, PD_OPEN_DSYNC, PD_SYNC_NOTHING},
        {PD_METHOD_DIRECT, PD_OPEN_DIRECT, PD_SYNC_FDATASYNC},
        {PD_METHOD_DIRECT_DSYNC, PD_OPEN_DIRECT | PD_OPEN_DSYNC, PD_SYNC_NOTHING},
        {PD_METHOD_FULLFSYNC, 0, PD_SYNC_FULL},
        {PD_METHOD_BARRIER, 0, PD_SYNC_BARRIER},
    };
    const int paranoid = pd_sys_needs_fullfsync() ? PD_SYNC_FULL : PD_SYNC_FSYNC;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct pd_io_method io = pd_io_method(wanted[i].method, PD_TARGET_GROUP);
        CHECK_EQUAL(io.extra, wanted[i].extra);
        CHECK_EQUAL(io.data_sync, pd_sys_needs_fullfsync() ? PD_SYNC_FULL : wanted[i].data_sync);
        io = pd_io_method(wanted[i].method, PD_TARGET_PARANOID);
        CHECK_EQUAL(io.extra, wanted[i].extra);
        CHECK_EQUAL(io.data_sync, paranoid);
    }
}

const struct test io_tests[] = {
    {"short and interrupted transfers end up whole", whole_transfers},
    {"a read stops at the end of the file", end_of_file},
    {"a write that moves nothing is EIO, and is not repeated", nothing_written},
    {"the first failure of a transfer ends it with its errno", first_failure},
    {"a failed sync is never tried again; an interrupted one is", sync_once},
    {"close is called once, open until it is not interrupted", close_once},
    {"each method opens and syncs as its name says", methods},
    {NULL, NULL},
};
