/*
 * fuzz_recovery.c - recovery, verify and reading over whatever a program leaves on the disk.
 *
 * Built with -fsanitize=fuzzer this is the fuzzer; with replay.c, which has a main, it replays a
 * corpus and prints a verdict for each input, to be compared with an independent parser.
 */
#include "fuzz.h"

#include "memory_disk.h"
#include "program.h"
#include "pydurable.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char fuzz_verdict[FUZZ_VERDICT_BYTES];
volatile uint32_t fuzz_sink;

/* Without a forgery nothing comes back that was not written. */
static void check_record(const struct program *program, uint64_t lsn, const uint8_t *data,
                         size_t size)
{
    REQUIRE(lsn <= program->written && size == program->sizes[lsn]);
    for (size_t i = 0; i < size; i++)
        REQUIRE(data[i] == program_byte(lsn, i));
}

/* Read from start on: the LSN after the last record, 0 if there is none; *rc as it ended. */
static uint64_t read_from(const struct program *program, uint64_t start, uint64_t *first, int *rc)
{
    struct pd_reader *reader;
    struct pd_error error;
    uint64_t next = *first = 0;
    *rc = pd_reader_open("log", start, &reader, &error);
    if (*rc < 0)
        return 0;
    struct pd_chunk chunk;
    while ((*rc = pd_reader_next(reader, &chunk, &error)) > 0)
        for (uint32_t i = 0; i < chunk.count; i++) {
            const uint64_t lsn = chunk.first_lsn + i;
            REQUIRE(next == 0 || lsn == next);
            REQUIRE(chunk.begins[i] <= chunk.ends[i]);
            if (!*first)
                *first = lsn;
            next = lsn + 1;
            const uint8_t *data = chunk.bytes + chunk.begins[i];
            const size_t size = (size_t)(chunk.ends[i] - chunk.begins[i]);
            if (!program->forged)
                check_record(program, lsn, data, size);
            /* Touch every byte, for the sanitizer. */
            fuzz_sink = pd_crc32c_portable(fuzz_sink, data, size);
        }
    pd_reader_close(reader);
    return next;
}

static void say(int rc, const struct pd_report *report, const struct pd_error *error)
{
    if (rc == 0)
        snprintf(fuzz_verdict, sizeof fuzz_verdict, "sound %llu %llu %llu %llu %llu %llu %llu %llu %d",
                 (unsigned long long)report->oldest_lsn, (unsigned long long)report->next_lsn,
                 (unsigned long long)report->segments, (unsigned long long)report->records,
                 (unsigned long long)report->bytes, (unsigned long long)report->torn_segment,
                 (unsigned long long)report->torn_offset, (unsigned long long)report->torn_bytes,
                 report->clean);
    else
        snprintf(fuzz_verdict, sizeof fuzz_verdict, "%s",
                 error->kind == PD_ERROR_CORRUPT   ? "damaged"
                 : error->kind == PD_ERROR_VERSION ? "newer"
                                                   : "none");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct program program;
    pd_sys = &memory_disk;
    program_run(data, size, &program);
    struct pd_report report;
    struct pd_error error = {0};
    const int rc = pd_log_verify("log", &report, &error);
    REQUIRE(rc <= 0 && (rc == 0 || error.kind == PD_ERROR_CORRUPT ||
                        error.kind == PD_ERROR_VERSION || error.code == ENOENT));
    say(rc, &report, &error);
    REQUIRE(program.damaged || rc == 0);
    int read_rc;
    uint64_t first;
    (void)read_from(&program, 1, &first, &read_rc);
    if (rc == 0 && !program.forged) {
        /* A sound log is read from the oldest record that is kept to its last. */
        const uint64_t next = read_from(&program, report.oldest_lsn, &first, &read_rc);
        REQUIRE(read_rc == 0);
        REQUIRE(next == 0 ? report.oldest_lsn >= report.next_lsn
                          : first == report.oldest_lsn && next == report.next_lsn);
    }
    REQUIRE(program.damaged || report.next_lsn == program.written + 1);
    return 0;
}
