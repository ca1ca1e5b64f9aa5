/* trim.h - cut what a crash may have left at the end of a file of lines. */
#ifndef PD_TRIM_H
#define PD_TRIM_H

#include "pydurable_append.h"

/* Cut what follows the last newline, and force that out, under the lock that appending takes: how
 * many bytes were cut, or -errno. */
int64_t pd_trim_locked(int fd, struct pd_error *error);

#endif
