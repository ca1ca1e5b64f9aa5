/*
 * segment.h - the files of a log: prepared as spares, activated, retired.
 *
 *   prepare.tmp            being made; removed when the log opens
 *   spare.<serial>         allocated, without meaning; removed when the log opens
 *   <number in hex>.seg    a segment: its header was durable before the name was
 *
 * Because a name ending in .seg appears only after the header is on stable storage, such a file
 * without a valid header is damage and never a creation that was cut short.
 */
#ifndef PD_SEGMENT_H
#define PD_SEGMENT_H

#include "batch.h"
#include "pydurable.h"

enum { PD_NAME_BYTES = 32, PD_LANES_MAX = 2 };

/* What a new segment must get from the filesystem. */
struct pd_segment_shape {
    uint64_t size;
    bool prezero; /* writing zeros ahead pays on this filesystem */
};

/* How much of a prepared file is zero-written at once, behind the headers. */
enum { PD_PREPARED_ZEROS = 256 * 1024 };

/* The descriptors of the active segment.  Each concurrent syncer has an open file description of
 * its own: the kernel reports a writeback error once to each description (errseq_t), so two syncs
 * that share one could let the wrong batch pass as durable. */
struct pd_segment_files {
    int lane[PD_LANES_MAX];
    int sync;   /* explicit and interval syncs */
    int zero;   /* zeros ahead of the writer */
    bool turns; /* pd_sys_has_turns says so of it */
};

void pd_segment_name(uint64_t number, char out[PD_NAME_BYTES]);
/* The number in a segment's name, 0 if it is not one. */
uint64_t pd_segment_number(const char *name);
void pd_spare_name(uint64_t serial, char out[PD_NAME_BYTES]);
/* Whether the name is a leftover that opening the log removes. */
bool pd_segment_is_leftover(const char *name);

/* Make a file that can become a segment, under the spare's name. */
int pd_segment_prepare(int dir, uint64_t serial, const struct pd_segment_shape *shape,
                       struct pd_error *error);
/* Turn the spare into the segment that header describes, durably, name and all. */
int pd_segment_activate(int dir, uint64_t serial, const struct pd_segment_header *header,
                        struct pd_error *error);
/* Whether the segment's file is as long as a new one would be.  One that recovery has trimmed, or
 * that was made for another size, is not. */
bool pd_segment_is_whole(int dir, uint64_t number, uint64_t size);
/* Take the segment's name away: it becomes the spare, or goes if recycle is false.  The caller
 * syncs the directory before it uses the spare: else a power cut could bring the old name back
 * with another segment's bytes behind it. */
int pd_segment_retire(int dir, uint64_t number, bool recycle, uint64_t serial,
                      struct pd_error *error);
/* Read and check the header of an open segment file: PD_HEADER_* or -errno. */
int pd_segment_read_header(int fd, struct pd_segment_header *header);

int pd_segment_open_files(int dir, uint64_t number, int method, int target, uint32_t lanes,
                          struct pd_segment_files *files, struct pd_error *error);
/* Close what is open and return the first failure. */
int pd_segment_close_files(struct pd_segment_files *files);
#define PD_NO_FILES {{-1, -1}, -1, -1, false}

/* Write zeros over [begin, end) and force them out, as pd_io_sync_often does. */
int pd_segment_zero(int fd, uint64_t begin, uint64_t end, int data_sync, bool turns);

#endif
