/* storage.h - what storage is like: what the kernel tells of a path, and trying ways of writing. */
#ifndef PD_STORAGE_H
#define PD_STORAGE_H

#include "pydurable.h"

/* cffi: begin */
/* What statx(2) tells of a path: for reports. */
struct pd_path_facts {
    uint64_t mount; /* the number in /proc/self/mountinfo, 0 if the kernel does not say */
    uint32_t dio_mem_align;
    uint32_t dio_offset_align;
    uint32_t atomic_min; /* bytes; both 0 where atomic writes are not supported */
    uint32_t atomic_max;
    bool direct; /* whether the alignments are known; both 0 where direct I/O is not supported */
    bool atomic; /* whether the limits of atomic writes are known */
};

int pd_path_facts(const char *path, struct pd_path_facts *out);

/* Trying ways of writing out: in files without a name, which are gone when the call returns. */
enum pd_way {
    PD_WAY_FDATASYNC = 0,
    PD_WAY_FSYNC = 1,
    PD_WAY_DSYNC = 2,
    PD_WAY_SYNC = 3,
    PD_WAY_DIRECT_FDATASYNC = 4,
    PD_WAY_DIRECT_FSYNC = 5,
    PD_WAY_DIRECT_DSYNC = 6,
    PD_WAY_DIRECT_SYNC = 7,
    PD_WAY_FULLFSYNC = 8,
    PD_WAY_BARRIER = 9
};

enum pd_space {
    PD_SPACE_APPEND = 0,    /* at the end of a growing file */
    PD_SPACE_ALLOCATED = 1, /* allocated and never written */
    PD_SPACE_ZEROED = 2     /* written before, with zeros */
};

#define PD_PROBE_LINES_MAX 8
#define PD_MEASURE_WRITERS_MAX 64

struct pd_probe_line {
    int method; /* enum pd_method */
    int space;  /* enum pd_space */
    uint32_t count;
    uint64_t median_ns;
};

struct pd_probe_report {
    int method; /* the one that "auto" takes */
    bool prezero;
    uint32_t count; /* of lines; 0 where there is nothing to choose */
    struct pd_probe_line lines[8];
    uint64_t spent_ns;
};

/* Choose as a new log in the directory would, or a file that is appended to. */
int pd_probe_path(const char *path, bool appending, struct pd_probe_report *out,
                  struct pd_error *error);

struct pd_measure_options {
    int way;          /* enum pd_way */
    int space;        /* enum pd_space */
    uint32_t writers; /* threads, each with a file of its own */
    uint32_t bytes;   /* of each write, at most 64 KiB; rounded up to a block */
    uint64_t budget_ns;
};

/* Write over and over in the directory until the time is over; how long each write and sync took,
 * in no order.  Returns how many there are, or -errno: -ENOTSUP where the filesystem or the
 * platform has no such way. */
int64_t pd_measure(const char *path, const struct pd_measure_options *options, uint64_t *times,
                   uint64_t capacity, struct pd_error *error);
/* cffi: end */

#endif
