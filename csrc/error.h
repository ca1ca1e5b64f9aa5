/* error.h - fill in a struct pd_error. */
#ifndef PD_ERROR_H
#define PD_ERROR_H

#include "pydurable.h"

/* Describe a failure of the given kind; returns -code, so that callers can return it at once.
 * error may be NULL.  name is the file within the directory, or "". */
int pd_error_set(struct pd_error *error, int kind, int code, const char *op, const char *name,
                 const char *why);
/* A failed system call: rc is its -errno, and is returned. */
int pd_error_os(struct pd_error *error, int rc, const char *op, const char *name);
/* Acknowledged data is gone or damaged: returns -EBADMSG. */
int pd_error_corrupt(struct pd_error *error, const char *name, uint64_t offset, uint64_t first_lsn,
                     uint64_t last_lsn, const char *why);

#endif
