/* patience.h - waits that nobody ends stand out: they end after a tenth of a second, and here not.
 */
#ifndef PATIENCE_H
#define PATIENCE_H

#include <stdint.h>

/* From now on a thread that waits for its batch fails the test unless another one wakes it, or it
 * waits for a moment only, of its own accord. */
void patience_begin(void);
void patience_end(void);
/* How many waits there were since it began. */
uint64_t patience_waits(void);

#endif
