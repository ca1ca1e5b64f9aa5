/* fault.h - what the parts of the faulty table and the recorder know of each other. */
#ifndef PD_FAULT_H
#define PD_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pd_fault_rule {
    uint64_t calls; /* a bit for each call that it concerns */
    int mode, code; /* mode is -1 where no rule applies */
    uint64_t nth;   /* how many matching calls until it applies; 1 is the next */
    uint64_t times; /* how often it still applies; 0 is for ever */
    uint64_t space; /* PD_FAULT_FULL: bytes by which files may still grow */
    uint64_t hits;  /* how often it has applied */
    int number;     /* of the rule, 0 if there is none */
    bool on;
};

/* Count the call, and find the rule that applies to it. */
struct pd_fault_rule pd_fault_arrive(int call);
/* The call's result after the rule has had its say. */
int64_t pd_fault_leave(struct pd_fault_rule rule, int64_t result);

/* How many of the size bytes that are to be written at offset have room on the medium: their
 * number, or -ENOSPC if none has. */
ssize_t pd_fault_room(int fd, int64_t offset, size_t size);
/* Whether all of a file's first size bytes have room; they are taken if so. */
bool pd_fault_has_room(int fd, int64_t size);
/* Half of what a read or write was asked to move, in whole blocks if that was whole blocks: so do
 * kernels with O_DIRECT. */
size_t pd_fault_half(size_t size);

/* Return from a table entry that is to fail without doing anything. */
#define PD_FAULT_REFUSE(rule)                                                                      \
    if ((rule).mode == PD_FAULT_ERROR)                                                             \
    return -(rule).code

/* The faulty table itself. */
extern const struct pd_sys pd_fault_sys;

/* Choose the table anew after the recorder was switched on or off. */
void pd_fault_retable(void);
bool pd_recording(void);
/* Note an event and return its number; 0 if nothing is being recorded. */
uint64_t pd_record(int call, int64_t a, int64_t b, uint64_t c, const void *data, size_t size);

#endif
