/* replace_stage.c - one replacement, step by step. */
#include "replace.h"

#include "error.h"
#include "io.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Direct writes are as large as this, which keeps the device busy and the memory small. */
static const size_t direct_bytes = (size_t)4 << 20;

/* The disk is told to begin after as much as this.  Through windows of 4 to 16 MiB a GiB took three
 * quarters of the time that it takes when all of it is left to fsync, on ext4. */
static const size_t window_bytes = (size_t)8 << 20;

static const char *const writing = "writing a temporary file";

void pd_stage_init(struct pd_stage *stage, const struct pd_replace_options *options)
{
    *stage = (struct pd_stage){.options = *options, .fd = -1, .guard = -1, .pid = pd_sys_pid()};
    stage->target.dir = -1;
}

/* Turn direct I/O on, or leave it where the filesystem has none. */
static int go_direct(struct pd_stage *stage, struct pd_error *error)
{
    uint32_t alignment = pd_sys_direct_align(stage->fd);
    if (alignment == 0 || direct_bytes % alignment != 0)
        return 0;
    int rc;
    PD_RETRY(rc, pd_sys->meta->direct(stage->fd));
    if (pd_is_unsupported(rc))
        return 0;
    if (rc >= 0)
        rc = pd_buffer_reserve(&stage->buffer, direct_bytes, 0);
    if (rc < 0)
        return pd_error_os(error, rc, "opening a temporary file for direct I/O", stage->temp);
    stage->alignment = alignment;
    return 0;
}

int pd_stage_create(struct pd_stage *stage, struct pd_error *error)
{
    assert(stage->target.dir >= 0 && stage->fd < 0 && !stage->created);
    mode_t mode = pd_keep_first_mode(&stage->target, &stage->options);
    int fd = pd_temp_create(stage->target.dir, stage->temp, mode, error);
    if (fd < 0)
        return fd;
    stage->fd = fd;
    stage->created = true;
    return stage->options.direct ? go_direct(stage, error) : 0;
}

int pd_stage_start_writeback(struct pd_stage *stage, struct pd_error *error)
{
    stage->unstarted = 0;
    if (stage->options.durability == PD_DURABLE_NONE || stage->alignment)
        return 0;
    int rc;
    PD_RETRY(rc, pd_sys->meta->writeback(stage->fd));
    /* Only what says "not here" may be passed over.  ext4 throws pages away for which it finds no
     * block, and tells whoever made it write them out; a later fsync would not hear of it. */
    if (rc >= 0 || pd_is_unsupported(rc))
        return 0;
    return pd_error_os(error, rc, writing, stage->temp);
}

static int write_at(struct pd_stage *stage, const uint8_t *data, size_t size, uint64_t offset,
                    struct pd_error *error)
{
    while (size > 0) {
        const size_t n = size < window_bytes ? size : window_bytes;
        int rc = pd_io_write(stage->fd, data, n, offset);
        if (rc < 0)
            return pd_error_os(error, rc, writing, stage->temp);
        stage->unstarted += n;
        if (stage->unstarted >= window_bytes)
            rc = pd_stage_start_writeback(stage, error);
        if (rc < 0)
            return rc;
        data += n;
        size -= n;
        offset += n;
    }
    return 0;
}

int pd_stage_write_at(struct pd_stage *stage, const void *data, uint64_t size, uint64_t offset,
                      struct pd_error *error)
{
    assert(stage->fd >= 0 && !stage->alignment);
    return write_at(stage, data, (size_t)size, offset, error);
}

static int put(struct pd_stage *stage, const void *data, size_t size, struct pd_error *error)
{
    int rc = write_at(stage, data, size, stage->written, error);
    if (rc >= 0)
        stage->written += size;
    return rc;
}

static bool is_aligned(const struct pd_stage *stage, const uint8_t *data)
{
    uintptr_t alignment =
        stage->alignment > PD_BUFFER_ALIGN ? stage->alignment : (uintptr_t)PD_BUFFER_ALIGN;
    return (uintptr_t)data % alignment == 0;
}

/* Through the aligned buffer, or straight from the caller's memory if that is aligned too. */
static int put_direct(struct pd_stage *stage, const uint8_t *data, size_t size,
                      struct pd_error *error)
{
    while (size > 0) {
        size_t n;
        int rc = 0;
        if (stage->pending == 0 && size >= direct_bytes && is_aligned(stage, data)) {
            n = direct_bytes;
            rc = put(stage, data, n, error);
        } else {
            size_t room = direct_bytes - stage->pending;
            n = size < room ? size : room;
            memcpy(stage->buffer.bytes + stage->pending, data, n);
            stage->pending += n;
            if (stage->pending == direct_bytes) {
                rc = put(stage, stage->buffer.bytes, direct_bytes, error);
                stage->pending = 0;
            }
        }
        if (rc < 0)
            return rc;
        data += n;
        size -= n;
    }
    return 0;
}

int pd_stage_write(struct pd_stage *stage, const void *data, uint64_t size, struct pd_error *error)
{
    assert(stage->fd >= 0);
    if (stage->alignment)
        return put_direct(stage, data, (size_t)size, error);
    return put(stage, data, (size_t)size, error);
}

/* The last bytes of a direct file: padded to whole blocks, and the padding cut off again. */
static int put_tail(struct pd_stage *stage, struct pd_error *error)
{
    if (stage->pending == 0)
        return 0;
    uint64_t end = stage->written + stage->pending;
    size_t padded = (stage->pending + stage->alignment - 1) / stage->alignment * stage->alignment;
    memset(stage->buffer.bytes + stage->pending, 0, padded - stage->pending);
    stage->pending = 0;
    int rc = put(stage, stage->buffer.bytes, padded, error);
    if (rc < 0 || stage->written == end)
        return rc;
    PD_RETRY(rc, pd_sys->truncate(stage->fd, (int64_t)end));
    return rc < 0 ? pd_error_os(error, rc, writing, stage->temp) : 0;
}

int pd_stage_seal(struct pd_stage *stage, struct pd_error *error)
{
    int rc = put_tail(stage, error);
    return rc < 0 ? rc : pd_keep_apply(&stage->target, stage->fd, &stage->options, error);
}

int pd_stage_sync(struct pd_stage *stage, bool guarded, struct pd_error *error)
{
    int rc = 0;
    if (stage->options.durability != PD_DURABLE_NONE)
        rc = pd_io_sync_file(stage->fd);
    if (rc < 0)
        return pd_error_os(error, rc, "syncing a temporary file", stage->temp);
    if (guarded) {
        /* A lock goes with the last descriptor of an open file (flock(2)); the close below is
         * checked because some filesystems report a lost write only there (close(2)). */
        PD_RETRY(stage->guard, pd_sys->meta->duplicate(stage->fd));
        if (stage->guard < 0)
            return pd_error_os(error, stage->guard, "locking a temporary file", stage->temp);
    }
    rc = pd_io_close(stage->fd);
    stage->fd = -1;
    return rc < 0 ? pd_error_os(error, rc, "closing a temporary file", stage->temp) : 0;
}

int pd_stage_swap(struct pd_stage *stage, struct pd_error *error)
{
    static const char *const replacing = "replacing the file";
    const struct pd_place *target = &stage->target;
    int rc = pd_move(target->dir, stage->temp, target->dir, target->name, stage->options.overwrite,
                     &stage->swapped);
    if (rc >= 0)
        return 0;
    if (stage->swapped)
        return pd_error_set(error, PD_ERROR_NOT_DURABLE, -rc, "removing a temporary name",
                            target->name, "the file was made, and has a second name still");
    return pd_error_set(error, PD_ERROR_OS, -rc, replacing, target->name,
                        rc == -EBUSY ? "the name is a mount point (as of a file bound into a "
                                       "container), which no rename can replace"
                                     : "");
}

void pd_stage_end(struct pd_stage *stage)
{
    /* Called after the outcome is known: nothing that fails here changes it. */
    if (stage->fd >= 0)
        pd_io_close(stage->fd);
    stage->fd = -1;
    if (stage->created && !stage->swapped && stage->pid == pd_sys_pid() && stage->target.dir >= 0)
        pd_sys->unlink(stage->target.dir, stage->temp);
    stage->created = false;
    /* After the unlink, so that the name is never there without its lock. */
    if (stage->guard >= 0)
        pd_io_close(stage->guard);
    stage->guard = -1;
    pd_buffer_free(&stage->buffer);
}
