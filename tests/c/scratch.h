/* scratch.h - logs for the C tests: every record can be told from its LSN. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include "pydurable.h"

struct pd_log_options scratch_options(int target, uint64_t segment_bytes);
struct pd_log *scratch_open(const char *path, int target, uint64_t segment_bytes);
void scratch_close(struct pd_log *log);

/* Commit one record whose content is that of seed; return its LSN. */
uint64_t scratch_commit(struct pd_log *log, uint64_t seed, size_t size);
void scratch_fill(uint8_t *out, uint64_t seed, size_t size);
void scratch_expect(const uint8_t *data, uint64_t seed, size_t size);
/* Wait on until a call has done what it was asked for; 0 or -errno. */
int scratch_finish(struct pd_log *log, int progress, struct pd_ticket *ticket);

/* Read the log and check that each record is the one of its LSN: how many there are. */
uint64_t scratch_count(const char *path, size_t size);

#endif
