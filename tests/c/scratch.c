/* scratch.c - see scratch.h. */
#include "scratch.h"

#include "check.h"

#include <string.h>

struct pd_log_options scratch_options(int target, uint64_t segment_bytes)
{
    return (struct pd_log_options){
        .target = target,
        .method = PD_METHOD_FDATASYNC,
        .create = true,
        .lanes = 2,
        .interval_ns = 10000000,
        .segment_bytes = segment_bytes,
        .max_pending_bytes = 256 * 1024,
    };
}

struct pd_log *scratch_open(const char *path, int target, uint64_t segment_bytes)
{
    const struct pd_log_options options = scratch_options(target, segment_bytes);
    struct pd_log *log = NULL;
    struct pd_error error;
    memset(&error, 0, sizeof error);
    if (pd_log_open(path, &options, &log, &error) < 0) {
        fprintf(stderr, "%s %s: %s %s\n", error.op, error.name, strerror(error.code), error.why);
        exit(1);
    }
    return log;
}

void scratch_close(struct pd_log *log)
{
    CHECK_EQUAL(pd_log_close(log, 0), 0);
    pd_log_free(log);
}

void scratch_fill(uint8_t *out, uint64_t seed, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(seed * 31 + i);
    for (size_t i = 0; i < 8 && i < size; i++)
        out[i] = (uint8_t)(seed >> (8 * i));
}

void scratch_expect(const uint8_t *data, uint64_t seed, size_t size)
{
    uint8_t wanted[4096];
    CHECK(size <= sizeof wanted);
    scratch_fill(wanted, seed, size);
    CHECK(memcmp(data, wanted, size) == 0);
}

int scratch_finish(struct pd_log *log, int progress, struct pd_ticket *ticket)
{
    while (progress == PD_WAITING)
        progress = pd_log_wait(log, ticket);
    return progress;
}

uint64_t scratch_commit(struct pd_log *log, uint64_t seed, size_t size)
{
    uint8_t data[4096];
    CHECK(size <= sizeof data);
    scratch_fill(data, seed, size);
    struct pd_ticket ticket = {0, 0};
    int rc;
    while ((rc = pd_log_commit(log, data, size, 0, 0, &ticket)) == PD_FULL)
        ;
    CHECK_EQUAL(scratch_finish(log, rc, &ticket), PD_DONE);
    return ticket.lsn;
}

uint64_t scratch_count(const char *path, size_t size)
{
    struct pd_reader *reader;
    struct pd_error error;
    CHECK_EQUAL(pd_reader_open(path, 1, &reader, &error), 0);
    struct pd_chunk chunk;
    uint64_t records = 0;
    int rc;
    while ((rc = pd_reader_next(reader, &chunk, &error)) > 0)
        for (uint32_t i = 0; i < chunk.count; i++) {
            records++;
            CHECK_EQUAL(chunk.first_lsn + i, records);
            CHECK_EQUAL(chunk.ends[i] - chunk.begins[i], size);
            scratch_expect(chunk.bytes + chunk.begins[i], records, size);
        }
    CHECK_EQUAL(rc, 0);
    pd_reader_close(reader);
    return records;
}
