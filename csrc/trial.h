/* trial.h - one way of writing tried out on a file of its own, which has no name. */
#ifndef PD_TRIAL_H
#define PD_TRIAL_H

#include "storage.h"

enum { PD_TRIAL_FILE_BYTES = 512 * 1024 };

struct pd_trial {
    int fd;         /* -1 where the filesystem refuses this way of writing */
    int data_sync;  /* enum pd_io_sync */
    int space;      /* enum pd_space */
    uint32_t block; /* what a write is rounded up to */
    uint64_t offset;
    uint64_t end; /* where a write begins anew from the start */
};

/* The block size that writes through a descriptor with these flags (PD_OPEN_*) need: 0 if the
 * filesystem cannot do it. */
uint32_t pd_trial_block_bytes(int fd, int extra);
/* Make a file for one way (enum pd_way) into one kind of space, and force out what that took.
 * zeros holds PD_TRIAL_FILE_BYTES of them, aligned.  Returns 0, also for a way that is refused,
 * or -errno. */
int pd_trial_open(int dir, int serial, int way, int space, const uint8_t *zeros,
                  struct pd_trial *trial);
/* Write so many bytes, rounded up to a block, and force them out: 0 or -errno, and how long it
 * took.
 */
int pd_trial_step(struct pd_trial *trial, const uint8_t *data, uint32_t bytes, uint64_t *ns);
int pd_trial_close(struct pd_trial *trial);
/* PD_TRIAL_FILE_BYTES of zeros, aligned, for free(); NULL without memory. */
uint8_t *pd_trial_zeros(void);

#endif
