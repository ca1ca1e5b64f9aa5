/*
 * memory_disk.h - a directory of files in memory behind the core's table of system calls.
 *
 * For tests that need very many logs: nothing reaches the operating system.  One directory, whose
 * path may be anything; a sync has nothing to do.
 */
#ifndef MEMORY_DISK_H
#define MEMORY_DISK_H

#include "sys.h"

enum { MEMORY_FILES_MAX = 32, MEMORY_NAME_BYTES = 40 };

struct memory_file {
    char name[MEMORY_NAME_BYTES]; /* "" once the name is gone */
    uint8_t *data;
    uint64_t size, capacity;
};

extern const struct pd_sys memory_disk;
extern struct memory_file memory_files[MEMORY_FILES_MAX];

/* Forget every file. */
void memory_disk_clear(void);
struct memory_file *memory_disk_find(const char *name);
/* A file of that many zero bytes; NULL if there is no room for one more. */
struct memory_file *memory_disk_make(const char *name, uint64_t size);
void memory_disk_resize(struct memory_file *file, uint64_t size);

#endif
