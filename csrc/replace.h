/*
 * replace.h - how a file is replaced, for the parts of that: the public calls are in pydurable.h.
 *
 *     place    resolve the path, hold its directory, refuse what cannot be replaced
 *     temp     a hidden, locked file of a fresh name in that directory
 *     (write)
 *     keep     owner, ACL, extended attributes, mode
 *     sync     the file, on the descriptor that wrote it; then close it
 *     swap     rename over the target
 *     sync     the directory
 *
 * Everything before the swap can be taken back, and is if something fails.
 */
#ifndef PD_REPLACE_H
#define PD_REPLACE_H

#include "buffer.h"
#include "pydurable.h"
#include "sys.h"
#include "sys_meta.h"

enum {
    PD_NAME_SIZE = 768, /* 255 bytes on Linux; on macOS 255 characters of up to three bytes */
    PD_TEMP_SIZE = 64,
    PD_TOKEN_SIZE = 33
};

/* Whether the failure says that there is no such call here, rather than that it went wrong. */
bool pd_is_unsupported(int rc);

struct pd_place {
    int dir;          /* the directory, held open; -1 if not */
    bool exists;      /* a regular file has the name now (with follow unset: or a symlink) */
    bool file;        /* it is a regular file, whose attributes can be kept */
    struct stat stat; /* what has the name */
    char name[PD_NAME_SIZE];
};

/* Find what path leads to and refuse what must not or cannot be replaced.  Creates nothing. */
int pd_place_find(struct pd_place *target, const char *path,
                  const struct pd_replace_options *options, struct pd_error *error);
/* The first half of that: the directory and the name, without refusing anything. */
int pd_place_resolve(struct pd_place *target, const char *path,
                     const struct pd_replace_options *options, struct pd_error *error);
void pd_place_release(struct pd_place *target);
/* Open the directory part of path and copy the last component out: a descriptor or -errno. */
int pd_place_parent(const char *path, int base, bool must_sync, char *name, size_t name_size,
                    struct pd_error *error);
/* Whether names in this directory can be made durable, found out before they are changed. */
int pd_directory_can_sync(int dir, struct pd_error *error);

/* The mode to create the temporary file with: tight where a mode is carried over later. */
mode_t pd_keep_first_mode(const struct pd_place *target, const struct pd_replace_options *options);
/* What strict can refuse before anything is created. */
int pd_keep_check(const struct pd_place *target, const struct pd_replace_options *options,
                  struct pd_error *error);
/* Give the new file what the old one has to pass on. */
int pd_keep_apply(const struct pd_place *target, int fd, const struct pd_replace_options *options,
                  struct pd_error *error);

/*
 * Names of temporary files, of which pydurable/stale.py knows the form:
 *     .pydurable-<32 hex digits>.tmp
 *     .pydurable-<32 hex digits>-<8 hex digits>.tmp     a member of a batch
 * Each is locked while its writer lives.  A large batch cannot keep all its files open; its
 * leader, the member 00000000, is locked as long as any other member exists.
 */
int pd_temp_token(char token[PD_TOKEN_SIZE], struct pd_error *error);
void pd_temp_name(char name[PD_TEMP_SIZE], const char *token);
void pd_temp_member_name(char name[PD_TEMP_SIZE], const char *token, uint32_t member);
/* Create and lock: a descriptor or -errno. */
int pd_temp_create(int dir, const char *name, mode_t mode, struct pd_error *error);

struct pd_stage {
    struct pd_replace_options options;
    struct pd_place target;
    char temp[PD_TEMP_SIZE];
    int fd;    /* the temporary file while it is written, -1 before and after */
    int guard; /* a second descriptor that keeps the lock over the close, -1 if there is none */
    bool created, swapped;
    int64_t pid;        /* who made it: after fork it is not the child's to remove */
    uint32_t alignment; /* of direct writes, 0 if they go through the page cache */
    struct pd_buffer buffer;
    size_t pending;   /* bytes waiting in the buffer */
    uint64_t written; /* bytes in the file */
    size_t unstarted; /* bytes written since the disk was last told to begin */
};

/* The steps of a stage whose target has been found, in this order. */
void pd_stage_init(struct pd_stage *stage, const struct pd_replace_options *options);
int pd_stage_create(struct pd_stage *stage, struct pd_error *error);
/* Have the disk begin with what is written, without waiting for it. */
int pd_stage_start_writeback(struct pd_stage *stage, struct pd_error *error);
int pd_stage_seal(struct pd_stage *stage, struct pd_error *error); /* the last bytes; attributes */
int pd_stage_sync(struct pd_stage *stage, bool guarded, struct pd_error *error); /* and close */
/* Publish.  May fail after the swap, then with PD_ERROR_NOT_DURABLE: see stage->swapped. */
int pd_stage_swap(struct pd_stage *stage, struct pd_error *error);
/* Close what is open and take the temporary file away, unless it was swapped. */
void pd_stage_end(struct pd_stage *stage);

/* Rename, or -EEXIST if there is such a file already and it is not to be overwritten.  *moved
 * says whether the new name stands, also where the call fails afterwards. */
int pd_move(int from_dir, const char *from, int to_dir, const char *to, bool overwrite,
            bool *moved);
/* Sync a directory after a change of its names: PD_ERROR_NOT_DURABLE if that fails. */
int pd_directory_sync(int dir, const char *name, struct pd_error *error);

/* Run work for 0 to count - 1 in up to workers threads.  The first failure ends it and is
 * returned; *failed is then the number that it belongs to. */
typedef int (*pd_work)(void *context, size_t index, struct pd_error *error);
int pd_parallel(size_t count, uint32_t workers, pd_work work, void *context, size_t *failed,
                struct pd_error *error);

#endif
