/* histogram.c - sixteen linear steps within each power of two. */
#include "histogram.h"

static unsigned bucket_of(uint64_t value)
{
    if (value < PD_HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned log2 = 63u - (unsigned)__builtin_clzll(value);
    return (log2 - 3) * PD_HISTOGRAM_STEPS +
           (unsigned)((value >> (log2 - 4)) & (PD_HISTOGRAM_STEPS - 1));
}

/* The largest value of the bucket, so that a quantile is never understated. */
static uint64_t top_of(unsigned bucket)
{
    if (bucket < PD_HISTOGRAM_STEPS)
        return bucket;
    unsigned log2 = bucket / PD_HISTOGRAM_STEPS + 3;
    uint64_t step = bucket % PD_HISTOGRAM_STEPS;
    return ((PD_HISTOGRAM_STEPS + step + 1) << (log2 - 4)) - 1;
}

void pd_histogram_add(struct pd_histogram *histogram, uint64_t value)
{
    histogram->count[bucket_of(value)]++;
    histogram->total++;
}

uint64_t pd_histogram_quantile(const struct pd_histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->total);
    uint64_t seen = 0;
    for (unsigned i = 0; i < PD_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->count[i];
        if (histogram->count[i] && seen > wanted)
            return top_of(i);
    }
    return 0;
}
