/*
 * recover.h - what a directory of segments amounts to: the records, or the proof of damage.
 *
 * Every segment but the last must be exactly what its successor says of it.  The last one is
 * walked to the first invalid batch.  A later batch that says records from there on were durable,
 * or a missing or damaged segment, means that acknowledged data is gone: an error, never a
 * shorter log.  Otherwise a torn tail that nobody was told about ends the log.
 */
#ifndef PD_RECOVER_H
#define PD_RECOVER_H

#include "batch.h"
#include "pydurable.h"
#include "scan.h"

/* One segment as far as keeping and retiring it goes. */
struct pd_segment_entry {
    uint64_t number;
    uint64_t base_lsn;
};

struct pd_segment_list {
    struct pd_segment_entry *entries; /* in the order of their numbers */
    size_t count;
    size_t capacity;
};

struct pd_recovery {
    struct pd_segment_list segments; /* those that hold kept records, and the last */
    struct pd_segment_list retired;  /* wholly below the oldest LSN: to be removed */
    struct pd_segment_header last;
    uint64_t end_offset; /* in the last segment */
    uint64_t torn_end;   /* where traces of unfinished batches end; end_offset if none */
    uint64_t next_lsn;
    uint64_t oldest_lsn;
    uint32_t chain;
    bool clean; /* ended by a closing batch */
    uint64_t batches, records, bytes;
};

/* Numbers of the segments in dir, in order.  The caller frees the list, also after failure. */
int pd_segments_list(int dir, struct pd_segment_list *out);
int pd_segments_add(struct pd_segment_list *list, uint64_t number, uint64_t base_lsn);
void pd_segments_free(struct pd_segment_list *list);

/* The error for what pd_scan_begin returned when that is not PD_HEADER_VALID. */
int pd_refuse_header(int verdict, uint64_t number, uint64_t lsn, struct pd_error *error);
/* The error for a failed read of a segment. */
int pd_refuse_read(int rc, uint64_t number, struct pd_error *error);
/* Look at what lies beyond the place where the walk through a segment ended. */
int pd_recover_beyond(struct pd_scan *scan, struct pd_scan_beyond *out, struct pd_error *error);

/* Read everything.  With settle, sync each segment and the directory before trusting them: what
 * a killed writer left in the page cache is not on the disk yet.  -ENOENT if there is no segment.
 * The caller frees the result, also after failure, when it tells how far the good part goes. */
int pd_recover(int dir, bool settle, struct pd_recovery *out, struct pd_error *error);
void pd_recovery_free(struct pd_recovery *recovery);

#endif
