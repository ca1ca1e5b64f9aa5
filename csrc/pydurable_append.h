/*
 * pydurable_append.h - the public C interface of plain files, and of the ring for appended records.
 *
 * What lies between the two marker comments is also part of the cffi declaration of
 * pydurable._core.
 */
#ifndef PYDURABLE_APPEND_H
#define PYDURABLE_APPEND_H

#include "pydurable.h"

/* cffi: begin */
struct pd_file_options {
    int target; /* enum pd_target */
    int method; /* enum pd_method */
    uint32_t lanes;
    uint64_t interval_ns;
    uint64_t commit_delay_ns;
    uint64_t max_pending_bytes;
    uint32_t mode;     /* of a file that is made, before the umask */
    bool trim;         /* cut what follows the last newline first */
    bool refuses_full; /* a full disk ends calls with ENOSPC; otherwise they wait for room */
};

/* A plain file to append to, with no framing and no lock: several processes may do so.  All calls
 * on an open log but truncate_before work on it; LSNs count the records since it was opened. */
int pd_file_open(const char *path, const struct pd_file_options *options, struct pd_log **out,
                 struct pd_error *error);
/* Finish with the file that is open, and open what its path names now.  ticket->seq is 0 at first;
 * PD_WAITING and PD_FULL ask to be called again. */
int pd_file_reopen(struct pd_log *log, uint64_t ring_tail, struct pd_ticket *ticket);
/* Say on a page what is being written, so that whoever comes after a death in the middle of a write
 * cuts the part off.  The page's path begins as shared or as beside does, whichever works first;
 * shared may be "".  Before anybody else uses the file. */
int pd_file_share(struct pd_log *log, const char *shared, const char *beside,
                  struct pd_error *error);
/* The descriptor, which belongs to the log; -1 once it is closed. */
int pd_file_fd(struct pd_log *log);
/* Cut what follows the last newline of a file, and zero bytes there, durably: how many bytes. */
int64_t pd_file_trim(const char *path, struct pd_error *error);
/* The last page of a ring's file: its size, what it begins with, and where the target's path is. */
void pd_ring_layout(uint64_t *page_bytes, uint64_t *magic, uint64_t *path_offset);
/* Which run of the machine this is: sixteen bytes. */
int pd_boot_id(uint8_t *id);
/* When a file was made; 0 where the filesystem does not say. */
uint64_t pd_file_born(int fd);
/* Append what a dead process left in the ring at path, and remove it: how many records.  Before the
 * log has a ring of its own, and before anybody else uses it.  A ring whose process lives, or that
 * is no ring of this log's or file's, is left alone. */
int64_t pd_log_salvage(struct pd_log *log, const char *path, struct pd_error *error);
/* Make the ring that appended records are stored into without a system call, at path, for the
 * target at an absolute path; bytes is a multiple of four pages. */
int pd_log_make_ring(struct pd_log *log, const char *path, const char *target, uint64_t bytes,
                     struct pd_error *error);

struct pd_ring_view {
    int fd;         /* -1 if there is none */
    uint8_t *bytes; /* the chunks; until the log is closed, and in the process that opened it */
    uint32_t chunks;
    uint64_t chunk_bytes;
    uint32_t salt;
    uint64_t *words; /* [0] is nonzero once append has to ask why it may not; the chunks of
                        activations below [1] may be used */
};

void pd_log_ring(struct pd_log *log, struct pd_ring_view *view);
/* cffi: end */

#endif
