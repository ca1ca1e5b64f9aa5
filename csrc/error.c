/* error.c - fill in a struct pd_error. */
#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int pd_error_set(struct pd_error *error, int kind, int code, const char *op, const char *name,
                 const char *why)
{
    if (error) {
        memset(error, 0, sizeof *error);
        error->kind = kind;
        error->code = code;
        snprintf(error->op, sizeof error->op, "%s", op);
        snprintf(error->name, sizeof error->name, "%s", name);
        snprintf(error->why, sizeof error->why, "%s", why);
    }
    return -code;
}

int pd_error_os(struct pd_error *error, int rc, const char *op, const char *name)
{
    return pd_error_set(error, PD_ERROR_OS, -rc, op, name, "");
}

int pd_error_corrupt(struct pd_error *error, const char *name, uint64_t offset, uint64_t first_lsn,
                     uint64_t last_lsn, const char *why)
{
    pd_error_set(error, PD_ERROR_CORRUPT, EBADMSG, "reading the log", name, why);
    if (error) {
        error->offset = offset;
        error->first_lsn = first_lsn;
        error->last_lsn = last_lsn;
    }
    return -EBADMSG;
}
