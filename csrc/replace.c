/* replace.c - the public calls that replace one file. */
#include "replace.h"

#include "error.h"

#include <errno.h>
#include <stdlib.h>

static int stage_begin(struct pd_stage *stage, const char *path,
                       const struct pd_replace_options *options, struct pd_error *error)
{
    pd_stage_init(stage, options);
    char token[PD_TOKEN_SIZE];
    int rc = pd_place_find(&stage->target, path, options, error);
    if (rc >= 0)
        rc = pd_temp_token(token, error);
    if (rc < 0)
        return rc;
    pd_temp_name(stage->temp, token);
    return pd_stage_create(stage, error);
}

static int stage_finish(struct pd_stage *stage, struct pd_error *error)
{
    int rc = pd_stage_seal(stage, error);
    if (rc >= 0)
        rc = pd_stage_sync(stage, true, error);
    if (rc >= 0)
        rc = pd_stage_swap(stage, error);
    if (!stage->swapped || stage->options.durability != PD_DURABLE_FULL)
        return rc;
    /* Also after a failure that came behind the swap: the sync is still worth having. */
    int sync_rc = pd_directory_sync(stage->target.dir, stage->target.name, rc < 0 ? NULL : error);
    return rc < 0 ? rc : sync_rc;
}

static void stage_over(struct pd_stage *stage)
{
    pd_stage_end(stage);
    pd_place_release(&stage->target);
}

int pd_replace(const char *path, const void *data, uint64_t size,
               const struct pd_replace_options *options, struct pd_error *error)
{
    struct pd_stage stage;
    int rc = stage_begin(&stage, path, options, error);
    if (rc >= 0)
        rc = pd_stage_write(&stage, data, size, error);
    if (rc >= 0)
        rc = stage_finish(&stage, error);
    stage_over(&stage);
    return rc;
}

int pd_stage_open(const char *path, const struct pd_replace_options *options, struct pd_stage **out,
                  struct pd_error *error)
{
    struct pd_stage *stage = malloc(sizeof *stage);
    if (!stage)
        return pd_error_os(error, -ENOMEM, "opening a temporary file", "");
    int rc = stage_begin(stage, path, options, error);
    if (rc < 0) {
        stage_over(stage);
        free(stage);
        return rc;
    }
    *out = stage;
    return 0;
}

int pd_stage_fd(const struct pd_stage *stage)
{
    return stage->fd;
}

bool pd_stage_is_direct(const struct pd_stage *stage)
{
    return stage->alignment != 0;
}

int pd_stage_commit(struct pd_stage *stage, struct pd_error *error)
{
    if (stage->pid != pd_sys_pid())
        return pd_error_set(error, PD_ERROR_FORKED, EPERM, "replacing the file", stage->target.name,
                            "it was opened by the parent of this process");
    int rc = stage_finish(stage, error);
    stage_over(stage);
    return rc;
}

void pd_stage_free(struct pd_stage *stage)
{
    stage_over(stage);
    free(stage);
}
