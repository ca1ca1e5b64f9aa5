/* patience.h - waits that nobody ends stand out: they end after a tenth of a second, and here not.
 */
#ifndef PATIENCE_H
#define PATIENCE_H

#include "pydurable.h"

#include <stdint.h>

/* A log on which a thread that waits for its batch fails the test unless another one wakes it, or
 * it waits for a moment only, of its own accord.  One at a time, and until it is closed. */
struct pd_log *patience_open(const char *path, uint64_t segment_bytes);
void patience_close(struct pd_log *log);
/* How many waits there were since it was opened. */
uint64_t patience_waits(void);

#endif
