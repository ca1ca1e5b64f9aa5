/*
 * program.h - an input of the fuzzer as a small program that writes a log and then damages it.
 *
 * A byte chooses a step, the bytes after it are what the step needs; what is missing is zero.
 * Writing steps produce exactly what a writer would; damaging steps change what is there, some of
 * them with checksums that are right again.  So a mutation of an input is another valid log with
 * other damage, and almost none is spent on noise that the first checksum refuses.
 *
 *    0  append a batch         records, bytes of each, how far durable_lsn lags behind
 *    1  begin a new segment    size
 *    2  append a watermark     how far durable_lsn lags behind
 *    3  append a closing batch
 *    4  truncate               how many records to keep: the next batches say so
 *    5  flip                   segment, offset (2), mask
 *    6  zero                   segment, offset (2), length (2)
 *    7  copy                   from segment, offset (2), to segment, offset (2), length (2)
 *    8  change the size        segment, size (2)
 *    9  delete                 segment
 *   10  rename                 segment, number
 *   11  double                 segment, number
 *   12  write                  segment, offset (2), length, the bytes
 *   13  forge a batch header   segment, batch, field, value (4)
 *   14  forge a header         segment, field, value (4)
 *   15  forge a payload        segment, batch, offset, mask
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROGRAM_RECORDS_MAX = 512 };

/* What the program wrote, for checks of what is read back. */
struct program {
    uint64_t written;                     /* the last LSN; 1 is the first */
    uint16_t sizes[PROGRAM_RECORDS_MAX];  /* of the record with that LSN */
    bool damaged;                         /* a damaging step was taken */
    bool forged;                          /* and one that a checksum does not show */
};

/* Make the memory disk's files what the input says. */
void program_run(const uint8_t *input, size_t size, struct program *out);
/* The byte at a place in a record. */
uint8_t program_byte(uint64_t lsn, size_t at);

#endif
