/*
 * intent.h - the page on which the processes that append to one file say what they are writing.
 *
 * A process that is killed in the middle of a write(2) leaves a part of its batch.  It had the
 * flock that all of them take, so nobody has written behind that part until somebody else gets the
 * flock, who finds here what was under way, and cuts the part off before anything else.
 *
 * There is one page for each file and user, in the folder of the rings or beside the file.  It is
 * made, removed and looked for under the file's flock, and whoever uses it holds a shared lock on
 * it, so that the last one knows that it is the last.  What killed processes leave of pages is
 * swept up by those who open other files.
 */
#ifndef PD_INTENT_H
#define PD_INTENT_H

#include <stdint.h>

enum { PD_INTENT_BYTES = 4096, PD_INTENT_BEGIN_BYTES = 64, PD_INTENT_RING_BYTES = 2048 };

/* In the byte order of the machine, which it never leaves. */
struct pd_intent_page {
    uint64_t magic;
    uint8_t boot[16];
    uint64_t born;   /* when the file was made, for inodes are used again; 0 if unknown */
    uint64_t size;   /* of the batch that is being written; 0 if none is */
    uint64_t offset; /* where it begins */
    uint64_t note;   /* where the ring of its writer speaks of it */
    uint8_t begin[PD_INTENT_BEGIN_BYTES]; /* its first bytes */
    char ring[PD_INTENT_RING_BYTES];      /* the path of that ring; "" if none of it is in one */
};

struct pd_intent {
    struct pd_intent_page *page; /* NULL if there is none */
    char *path;
    int fd;
};

#define PD_NO_INTENT {.fd = -1}

static const uint64_t pd_intent_magic = 0x31544e4944524450u; /* "PDRDINT1" */

struct pd_file;
struct pd_log;
struct pd_slot;

/* The page of the file that is open as target, made if need be: 0 or -errno.  What a dead process
 * left of a batch is cut off. */
int pd_intent_open(struct pd_intent *intent, const struct pd_file *file, int target);
/* Let go of it; the last user removes it. */
void pd_intent_close(struct pd_intent *intent, int target);
/* In a child of the owner: let go of it without a trace. */
void pd_intent_abandon(struct pd_intent *intent);

/* The target's flock is held in all of these. */
/* Cut off what a dead process left of a batch, and let its ring know that none of it is there. */
int pd_intent_repair(struct pd_intent *intent, int target);
/* The slot's batch is about to be written to its offset. */
void pd_intent_begin(const struct pd_log *log, const struct pd_slot *slot);
/* It is in the file, or nothing of it is. */
void pd_intent_end(const struct pd_log *log);

#endif
