/*
 * lock.h - the file LOCK of a log's directory: one writer, and the durable LSN for readers.
 *
 * The writer holds it with flock and maps its first page.  Readers never hold it for longer than
 * it takes to see whether somebody else does.
 */
#ifndef PD_LOCK_H
#define PD_LOCK_H

#include "pydurable.h"

struct pd_lock {
    int fd;
    uint64_t *words; /* the mapped page */
};

/* Become the writer: 0, or PD_ERROR_LOCKED with the holder's pid. */
int pd_lock_take(struct pd_lock *lock, int dir, struct pd_error *error);
/* Tell readers which log this is, and between which LSNs they may read. */
void pd_lock_describe(struct pd_lock *lock, const uint8_t uuid[16], uint64_t oldest_lsn);
void pd_lock_publish(struct pd_lock *lock, uint64_t durable_lsn);
void pd_lock_release(struct pd_lock *lock);
/* In a child of the holder: let go of the shared lock without ending it.  A mapping keeps it as a
 * descriptor does. */
void pd_lock_abandon(struct pd_lock *lock);

/* A reader's view.  A log that never had a writer on this machine gives -ENOENT. */
int pd_lock_watch(struct pd_lock *lock, int dir);
/* Whether some process, this one included, has the log open for writing; -errno. */
int pd_lock_writer_alive(const struct pd_lock *lock);
uint64_t pd_lock_durable(const struct pd_lock *lock);
/* What changes with each truncation, whichever log the page speaks of. */
uint64_t pd_lock_truncations(const struct pd_lock *lock);
/* The oldest LSN that the last writer of this log kept; 0 if the page speaks of another log. */
uint64_t pd_lock_oldest(const struct pd_lock *lock, const uint8_t uuid[16]);

#endif
