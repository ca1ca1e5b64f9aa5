/* fault.h - what the parts of the faulty table and the recorder know of each other. */
#ifndef PD_FAULT_H
#define PD_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pd_fault_rule {
    int call, mode, code; /* mode is -1 where no rule applies */
    uint64_t nth;         /* how many matching calls until it applies; 1 is the next */
    uint64_t times;       /* how often it still applies; 0 is for ever */
    bool on;
};

/* Count the call, and find the rule that applies to it. */
struct pd_fault_rule pd_fault_arrive(int call);
/* The call's result after the rule has had its say. */
int64_t pd_fault_leave(struct pd_fault_rule rule, int64_t result);

/* Return from a table entry that is to fail without doing anything. */
#define PD_FAULT_REFUSE(rule)                                                                      \
    if ((rule).mode == PD_FAULT_ERROR)                                                             \
    return -(rule).code

/* Choose the table anew after the recorder was switched on or off. */
void pd_fault_retable(void);
bool pd_recording(void);
/* Note an event and return its number; 0 if nothing is being recorded. */
uint64_t pd_record(int call, int64_t a, int64_t b, uint64_t c, const void *data, size_t size);

#endif
