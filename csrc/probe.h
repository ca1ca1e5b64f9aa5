/* probe.h - which method is fastest on this filesystem: measured, not believed. */
#ifndef PD_PROBE_H
#define PD_PROBE_H

#include "pydurable.h"

struct pd_probe {
    int method;
    bool prezero; /* with this method into zero-written space, and not into allocated space */
};

/* Measure for at most about a quarter of a second in files that have no name. */
int pd_probe(int dir, struct pd_probe *out, struct pd_error *error);
/* The block size that batches need under a method: 0 if the filesystem cannot do it. */
uint32_t pd_probe_block_bytes(int dir_or_file, int method);

#endif
