/* fault.h - what the faulty table and the recorder know of each other. */
#ifndef PD_FAULT_H
#define PD_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Choose the table anew after the recorder was switched on or off. */
void pd_fault_retable(void);
bool pd_recording(void);
/* Note an event and return its number; 0 if nothing is being recorded. */
uint64_t pd_record(int call, int64_t a, int64_t b, uint64_t c, const void *data, size_t size);

#endif
