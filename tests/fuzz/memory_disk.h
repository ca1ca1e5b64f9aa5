/*
 * memory_disk.h - a directory of files in memory behind the core's table of system calls.
 *
 * For tests that need very many logs: nothing reaches the operating system.  One directory, whose
 * path may be anything; each file has the bytes that a running system sees and, for tests that cut
 * the power, those that syncs have made durable.
 */
#ifndef MEMORY_DISK_H
#define MEMORY_DISK_H

#include "sys.h"

enum { MEMORY_FILES_MAX = 32, MEMORY_NAME_BYTES = 40 };

struct memory_file {
    char name[MEMORY_NAME_BYTES]; /* "" once the name is gone */
    uint8_t *data;
    uint64_t size, capacity;
    uint8_t *durable; /* what completed syncs cover; as long as it was at the last of them */
    uint64_t durable_size, durable_capacity;
};

extern const struct pd_sys memory_disk;
extern struct memory_file memory_files[MEMORY_FILES_MAX];

/* Called before a write and between the two halves of a sync, NULL for nothing: where a test may
 * let other threads run. */
extern void (*memory_disk_pause)(void);
/* Take effect of a sync; wrong only in a test of the tests. */
extern bool memory_disk_loses_syncs;

/* Forget every file. */
void memory_disk_clear(void);
struct memory_file *memory_disk_find(const char *name);
/* A file of that many zero bytes; NULL if there is no room for one more. */
struct memory_file *memory_disk_make(const char *name, uint64_t size);
void memory_disk_resize(struct memory_file *file, uint64_t size);

#endif
