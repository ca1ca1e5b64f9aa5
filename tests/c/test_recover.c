/* test_recover.c - the walk over a segment, and recovery of what a log left. */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "io.h"
#include "recover.h"
#include "scan.h"
#include "scratch.h"
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static void make_log(const char *path, int records)
{
    struct pd_log *log = scratch_open(path, PD_TARGET_GROUP, 64 * 1024);
    for (int i = 1; i <= records; i++)
        CHECK_EQUAL(scratch_commit(log, (uint64_t)i, 100), i);
    scratch_close(log);
}

/* Change one byte of a segment. */
static void damage(int dir, uint64_t number, uint64_t offset)
{
    char name[PD_NAME_BYTES];
    pd_segment_name(number, name);
    const int fd = pd_io_open(dir, name, O_RDWR, 0);
    CHECK(fd >= 0);
    uint8_t byte;
    CHECK_EQUAL(pd_io_read(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    CHECK_EQUAL(pd_io_write(fd, &byte, 1, offset), 0);
    CHECK_EQUAL(pd_io_close(fd), 0);
}

static int open_dir(const char *path)
{
    const int dir = pd_io_open_dir(path);
    CHECK(dir >= 0);
    return dir;
}

static void walk(void)
{
    make_log("walk", 10);
    const int dir = open_dir("walk");
    struct pd_scan scan;
    CHECK_EQUAL(pd_scan_begin(&scan, dir, 1), PD_HEADER_VALID);
    struct pd_batch_header batch;
    const uint8_t *payload;
    uint64_t lsn = 1;
    int rc;
    while ((rc = pd_scan_next(&scan, &batch, &payload)) > 0) {
        CHECK_EQUAL(batch.first_lsn, lsn);
        CHECK_EQUAL(batch.durable_lsn, lsn - 1);
        size_t at = 0;
        for (uint32_t i = 0; i < batch.count; i++, lsn++) {
            CHECK_EQUAL(pd_get32(payload + at), 100);
            scratch_expect(payload + at + PD_FRAME_BYTES, lsn, 100);
            at += PD_FRAME_BYTES + 100;
        }
        CHECK_EQUAL(at, batch.payload_bytes);
    }
    CHECK_EQUAL(rc, 0);
    CHECK_EQUAL(lsn, 11);
    CHECK_EQUAL(scan.records, 10);
    CHECK_EQUAL(scan.bytes, 1000);
    CHECK(scan.last.flags & PD_BATCH_CLOSE);
    struct pd_scan_beyond beyond;
    CHECK_EQUAL(pd_scan_look_beyond(&scan, &beyond), 0);
    CHECK_EQUAL(beyond.end, scan.at.offset);
    CHECK(!beyond.covers);
    pd_scan_end(&scan);
    CHECK_EQUAL(pd_scan_begin(&scan, dir, 2), -ENOENT);
    CHECK_EQUAL(pd_io_close(dir), 0);
}

static void clean_log(void)
{
    make_log("clean", 2000); /* several segments */
    const int dir = open_dir("clean");
    for (int settle = 0; settle < 2; settle++) {
        struct pd_recovery found;
        struct pd_error error;
        CHECK_EQUAL(pd_recover(dir, settle, &found, &error), 0);
        CHECK(found.clean);
        CHECK_EQUAL(found.next_lsn, 2001);
        CHECK_EQUAL(found.oldest_lsn, 1);
        CHECK_EQUAL(found.records, 2000);
        CHECK_EQUAL(found.bytes, 200000);
        CHECK_EQUAL(found.torn_end, found.end_offset);
        CHECK(found.segments.count > 3);
        CHECK_EQUAL(found.retired.count, 0);
        pd_recovery_free(&found);
    }
    CHECK_EQUAL(pd_io_close(dir), 0);
}

static void damaged_middle(void)
{
    make_log("middle", 2000);
    const int dir = open_dir("middle");
    damage(dir, 2, 20000);
    struct pd_recovery found;
    struct pd_error error;
    memset(&error, 0, sizeof error);
    CHECK_EQUAL(pd_recover(dir, false, &found, &error), -EBADMSG);
    CHECK_EQUAL(error.kind, PD_ERROR_CORRUPT);
    CHECK(strcmp(error.name, "0000000000000002.seg") == 0);
    CHECK(error.offset >= PD_DATA_OFFSET && error.offset <= 20000);
    CHECK(error.first_lsn > 1 && error.first_lsn <= error.last_lsn && error.last_lsn < 2000);
    pd_recovery_free(&found);
    struct pd_log *log;
    const struct pd_log_options options = scratch_options(PD_TARGET_GROUP, 64 * 1024);
    CHECK_EQUAL(pd_log_open("middle", &options, &log, &error), -EBADMSG);
    CHECK_EQUAL(pd_log_repair("middle", &error), 0);
    log = scratch_open("middle", PD_TARGET_GROUP, 64 * 1024);
    struct pd_log_info info;
    pd_log_info(log, &info);
    CHECK(info.next_lsn > 1 && info.next_lsn < 2000);
    CHECK_EQUAL(scratch_commit(log, info.next_lsn, 100), info.next_lsn);
    scratch_close(log);
    CHECK_EQUAL(scratch_count("middle", 100), info.next_lsn);
    CHECK_EQUAL(pd_io_close(dir), 0);
}

static void torn_tail(void)
{
    make_log("torn", 10);
    const int dir = open_dir("torn");
    struct pd_recovery found;
    struct pd_error error;
    CHECK_EQUAL(pd_recover(dir, false, &found, &error), 0);
    /* The closing batch is the last thing written, and says that all before it was durable; so
     * damage to itself is a tail that nobody was told about. */
    const uint64_t end = found.end_offset;
    pd_recovery_free(&found);
    damage(dir, 1, end - 1);
    CHECK_EQUAL(pd_recover(dir, false, &found, &error), 0);
    CHECK(!found.clean);
    CHECK_EQUAL(found.next_lsn, 11);
    CHECK(found.end_offset < end);
    pd_recovery_free(&found);
    struct pd_log *log = scratch_open("torn", PD_TARGET_GROUP, 64 * 1024);
    CHECK_EQUAL(scratch_commit(log, 11, 100), 11);
    scratch_close(log);
    /* Nothing is appended behind a torn place. */
    CHECK_EQUAL(pd_recover(dir, false, &found, &error), 0);
    CHECK_EQUAL(found.segments.count, 2);
    CHECK_EQUAL(found.next_lsn, 12);
    pd_recovery_free(&found);
    CHECK_EQUAL(scratch_count("torn", 100), 11);
    CHECK_EQUAL(pd_io_close(dir), 0);
}

static void names(void)
{
    char name[PD_NAME_BYTES];
    static const uint64_t numbers[] = {1, 255, 0x123456789abcdef0u, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        pd_segment_name(numbers[i], name);
        CHECK(pd_segment_number(name) == numbers[i]);
        CHECK(!pd_segment_is_leftover(name));
        pd_spare_name(numbers[i], name);
        CHECK_EQUAL(pd_segment_number(name), 0);
        CHECK(pd_segment_is_leftover(name));
    }
    static const char *const others[] = {"",
                                         "LOCK",
                                         "1.seg",
                                         "000000000000000g.seg",
                                         "0000000000000001.seg.bak",
                                         "0000000000000001_seg",
                                         "000000000000000A.seg",
                                         "00000000000000001.seg"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        CHECK_EQUAL(pd_segment_number(others[i]), 0);
        CHECK(!pd_segment_is_leftover(others[i]));
    }
    CHECK(pd_segment_is_leftover("prepare.tmp"));
}

const struct test recover_tests[] = {
    {"a walk gives each batch once, in order, and stops at the end", walk},
    {"recovery finds all records of a closed log, with or without settling it", clean_log},
    {"damage before the last segment is an error that says where; repair keeps the rest",
     damaged_middle},
    {"a torn tail ends the log, and a new segment goes on behind it", torn_tail},
    {"only a segment's exact name is one", names},
    {NULL, NULL},
};
