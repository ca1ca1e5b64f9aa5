/* histogram.h - counts of durations in buckets of 6 % width, in fixed memory. */
#ifndef PD_HISTOGRAM_H
#define PD_HISTOGRAM_H

#include <stdint.h>

enum { PD_HISTOGRAM_STEPS = 16, PD_HISTOGRAM_BUCKETS = 64 * PD_HISTOGRAM_STEPS };

struct pd_histogram {
    uint64_t total;
    uint64_t count[PD_HISTOGRAM_BUCKETS];
};

void pd_histogram_add(struct pd_histogram *histogram, uint64_t value);
/* The value that the given share of the values does not exceed; 0 if there are none. */
uint64_t pd_histogram_quantile(const struct pd_histogram *histogram, double share);

#endif
