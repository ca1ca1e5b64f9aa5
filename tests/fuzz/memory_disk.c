/* memory_disk.c - files in memory: see memory_disk.h. */
#define _GNU_SOURCE

#include "memory_disk.h"

#include "sys_meta.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { DESCRIPTORS = 256, FIRST_DESCRIPTOR = 100000, DIRECTORY = -1, FREE = -2 };

struct memory_file memory_files[MEMORY_FILES_MAX];

static int open_files[DESCRIPTORS]; /* index of a file, DIRECTORY or FREE */
static bool ready;

void memory_disk_resize(struct memory_file *file, uint64_t size)
{
    if (size > file->capacity) {
        uint8_t *larger = realloc(file->data, size);
        if (!larger)
            abort();
        file->data = larger;
        file->capacity = size;
    }
    if (size > file->size)
        memset(file->data + file->size, 0, size - file->size);
    file->size = size;
}

void memory_disk_clear(void)
{
    for (int i = 0; i < MEMORY_FILES_MAX; i++) {
        memory_files[i].name[0] = '\0';
        memory_files[i].size = 0;
    }
    for (int i = 0; i < DESCRIPTORS; i++)
        open_files[i] = FREE;
    ready = true;
}

struct memory_file *memory_disk_find(const char *name)
{
    for (int i = 0; i < MEMORY_FILES_MAX; i++)
        if (memory_files[i].name[0] && strcmp(memory_files[i].name, name) == 0)
            return &memory_files[i];
    return NULL;
}

static bool is_open(int index)
{
    for (int i = 0; i < DESCRIPTORS; i++)
        if (open_files[i] == index)
            return true;
    return false;
}

struct memory_file *memory_disk_make(const char *name, uint64_t size)
{
    if (strlen(name) >= MEMORY_NAME_BYTES)
        return NULL;
    for (int i = 0; i < MEMORY_FILES_MAX; i++) {
        struct memory_file *file = &memory_files[i];
        if (file->name[0] || is_open(i))
            continue;
        strcpy(file->name, name);
        file->size = 0;
        memory_disk_resize(file, size);
        return file;
    }
    return NULL;
}

static int take_descriptor(int what)
{
    assert(ready);
    for (int i = 0; i < DESCRIPTORS; i++)
        if (open_files[i] == FREE) {
            open_files[i] = what;
            return FIRST_DESCRIPTOR + i;
        }
    return -EMFILE;
}

static struct memory_file *file_of(int fd)
{
    const int index = open_files[fd - FIRST_DESCRIPTOR];
    assert(index >= 0);
    return &memory_files[index];
}

static int memory_open(int dir, const char *name, int flags, int extra, mode_t mode)
{
    (void)dir;
    (void)extra;
    (void)mode;
    if (flags & O_DIRECTORY)
        return take_descriptor(DIRECTORY);
    struct memory_file *file = memory_disk_find(name);
    if (file && (flags & O_EXCL))
        return -EEXIST;
    if (!file && !(flags & O_CREAT))
        return -ENOENT;
    if (!file && !(file = memory_disk_make(name, 0)))
        return -ENOSPC;
    if (flags & O_TRUNC)
        memory_disk_resize(file, 0);
    return take_descriptor((int)(file - memory_files));
}

static int memory_close(int fd)
{
    assert(open_files[fd - FIRST_DESCRIPTOR] != FREE);
    open_files[fd - FIRST_DESCRIPTOR] = FREE;
    return 0;
}

static ssize_t memory_read(int fd, void *data, size_t size, int64_t offset)
{
    const struct memory_file *file = file_of(fd);
    if ((uint64_t)offset >= file->size)
        return 0;
    if (size > file->size - (uint64_t)offset)
        size = (size_t)(file->size - (uint64_t)offset);
    memcpy(data, file->data + offset, size);
    return (ssize_t)size;
}

static ssize_t memory_write(int fd, const void *data, size_t size, int64_t offset)
{
    struct memory_file *file = file_of(fd);
    if ((uint64_t)offset + size > file->size)
        memory_disk_resize(file, (uint64_t)offset + size);
    memcpy(file->data + offset, data, size);
    return (ssize_t)size;
}

static int memory_sync(int fd)
{
    (void)fd;
    return 0;
}

static int memory_no_sync(int fd)
{
    (void)fd;
    return -ENOTSUP;
}

static int memory_allocate(int fd, int64_t size)
{
    struct memory_file *file = file_of(fd);
    if ((uint64_t)size > file->size)
        memory_disk_resize(file, (uint64_t)size);
    return 0;
}

static int memory_truncate(int fd, int64_t size)
{
    memory_disk_resize(file_of(fd), (uint64_t)size);
    return 0;
}

static int64_t memory_seek(int fd, int64_t offset, int what)
{
    const struct memory_file *file = file_of(fd);
    if ((uint64_t)offset >= file->size)
        return -ENXIO;
    return what == PD_SEEK_DATA ? offset : (int64_t)file->size;
}

static int memory_stat(int fd, struct stat *out)
{
    memset(out, 0, sizeof *out);
    out->st_size = (off_t)file_of(fd)->size;
    return 0;
}

static int memory_unlink(int dir, const char *name)
{
    (void)dir;
    struct memory_file *file = memory_disk_find(name);
    if (!file)
        return -ENOENT;
    file->name[0] = '\0';
    return 0;
}

static int memory_rename(int dir, const char *from, const char *to)
{
    struct memory_file *file = memory_disk_find(from);
    if (!file)
        return -ENOENT;
    if (strcmp(from, to) != 0)
        (void)memory_unlink(dir, to);
    strcpy(file->name, to);
    return 0;
}

static int memory_mkdir(const char *path, mode_t mode)
{
    (void)path;
    (void)mode;
    return -EEXIST;
}

static int memory_lock(int fd, int how)
{
    (void)fd;
    (void)how;
    return 0;
}

static void *memory_map(int fd, size_t size, bool writable, int *error)
{
    (void)fd;
    (void)writable;
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED)
        return page;
    *error = -errno;
    return NULL;
}

static int memory_list(int dir, pd_sys_visit visit, void *context)
{
    (void)dir;
    for (int i = 0; i < MEMORY_FILES_MAX; i++) {
        const int rc = memory_files[i].name[0] ? visit(context, memory_files[i].name) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The same each time, so that a run can be repeated. */
static int memory_random(void *data, size_t size)
{
    static uint8_t next;
    memset(data, 0x5a, size);
    ((uint8_t *)data)[0] = ++next;
    return 0;
}

const struct pd_sys memory_disk = {
    .open = memory_open,
    .close = memory_close,
    .read = memory_read,
    .write = memory_write,
    .fsync = memory_sync,
    .fdatasync = memory_sync,
    .fullfsync = memory_no_sync,
    .barrier = memory_no_sync,
    .allocate = memory_allocate,
    .truncate = memory_truncate,
    .seek = memory_seek,
    .stat = memory_stat,
    .rename = memory_rename,
    .unlink = memory_unlink,
    .mkdir = memory_mkdir,
    .lock = memory_lock,
    .map = memory_map,
    .list = memory_list,
    .random = memory_random,
    .meta = &pd_sys_posix_meta,
};
