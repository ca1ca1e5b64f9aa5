/*
 * scan.h - walk the batches of one segment in order, with bounded memory.
 *
 * Recovery, verify and readers share this one walk, so that they cannot disagree about what a
 * valid batch is: right place, salt and checksum, the next LSN, the right predecessor, a payload
 * with the right CRC that is exactly its records.
 */
#ifndef PD_SCAN_H
#define PD_SCAN_H

#include "batch.h"
#include "buffer.h"

#include <sys/types.h>

struct pd_scan {
    int fd;
    uint64_t number;
    struct pd_segment_header header;
    uint64_t size; /* of the file */
    struct pd_buffer window;
    uint64_t window_offset;
    size_t window_bytes;
    /* Where the walk stands; what a caller saves to step back. */
    struct pd_scan_place {
        uint64_t offset;
        uint64_t next_lsn;
        uint32_t chain; /* checksum of the last batch */
    } at;
    struct pd_batch_header last; /* the last batch that was valid; count what it says only if */
    uint64_t batches;            /* there was one */
    uint64_t records;
    uint64_t bytes;
};

/* Open segment number of dir and read its header: PD_HEADER_* or -errno.  On PD_HEADER_VALID and
 * only then pd_scan_end is due. */
int pd_scan_begin(struct pd_scan *scan, int dir, uint64_t number);
/* 1 and the batch, its payload inside the window; 0 where no valid batch follows; -errno. */
int pd_scan_next(struct pd_scan *scan, struct pd_batch_header *batch, const uint8_t **payload);
/* Whether the next batch lies in the window as a whole, so that earlier payloads stay where they
 * are. */
bool pd_scan_in_window(const struct pd_scan *scan);
/* Forget what was read ahead: a writer may have changed it since. */
void pd_scan_refresh(struct pd_scan *scan);
void pd_scan_end(struct pd_scan *scan);

/* What lies beyond the place where the walk ended. */
struct pd_scan_beyond {
    uint64_t end;      /* where traces of batches of this segment end; the walk's end if none */
    bool covers;       /* one says that records after the walk's end were durable */
    uint64_t last_lsn; /* and up to which */
    uint64_t offset;   /* where that one is */
};
int pd_scan_look_beyond(struct pd_scan *scan, struct pd_scan_beyond *out);

#endif
