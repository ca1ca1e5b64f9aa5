/*
 * replace_many.c - many replacements that share their syncs.
 *
 *     find every target - for each window of items: write them all, then sync them all -
 *     rename in the order given - sync each directory once
 *
 * The gain is in the middle and at the end: a filesystem that is asked to sync several files at
 * once commits its journal once for all of them, and a directory of many names is synced once.
 * Nothing is renamed before everything is synced, so that a failure up to there publishes nothing.
 *
 * Descriptors are bounded by `budget`: that many files are open in a window (new ones while they
 * are written, old ones while they are replaced), and as many directories are held.  A directory
 * beyond that is opened anew for each step, by the path of the item, and must then still be the
 * same one.
 */
#include "replace.h"

#include "error.h"
#include "io.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    BUDGET_MAX = 128,
    BUDGET_MIN = 4,
    /* Names are made under the directory's lock, for which more threads only spin. */
    STAGERS = 4
};

struct directory {
    dev_t device;
    ino_t inode;
    int fd;        /* held, or -1 */
    size_t leader; /* the item that is renamed last here */
    char token[PD_TOKEN_SIZE];
    bool changed; /* something was renamed in it */
};

struct item {
    struct pd_stage stage;
    size_t directory;
    int old; /* the file that was replaced, held until its window is over, or -1 */
};

struct batch {
    const struct pd_replace_item *wanted;
    const struct pd_replace_options *options;
    struct item *items;
    size_t count;
    struct directory *directories;
    size_t directories_count;
    size_t *order; /* of staging: the leaders first */
    size_t window; /* where the present window begins: in order, and later in items */
    size_t budget;
};

/* How many descriptors a batch may take, three times over: an eighth of what the process has. */
static size_t find_budget(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur / 8 >= BUDGET_MAX)
        return BUDGET_MAX;
    size_t budget = (size_t)limit.rlim_cur / 8;
    return budget > BUDGET_MIN ? budget : BUDGET_MIN;
}

static bool is_leader(const struct batch *batch, size_t index)
{
    return batch->directories[batch->items[index].directory].leader == index;
}

/* Find the directory among those known, the last one first: neighbours are usual. */
static struct directory *known_directory(struct batch *batch, const struct stat *stat)
{
    for (size_t i = batch->directories_count; i-- > 0;)
        if (batch->directories[i].inode == stat->st_ino &&
            batch->directories[i].device == stat->st_dev)
            return &batch->directories[i];
    return NULL;
}

/* Enter the directory of an item that has just been found, and take its descriptor over. */
static int adopt_directory(struct batch *batch, size_t index, struct pd_error *error)
{
    struct item *item = &batch->items[index];
    struct pd_place *target = &item->stage.target;
    struct stat stat;
    int rc;
    PD_RETRY(rc, pd_sys->stat(target->dir, &stat));
    if (rc < 0)
        return pd_error_os(error, rc, "looking at the directory", "");
    struct directory *directory = known_directory(batch, &stat);
    if (!directory) {
        directory = &batch->directories[batch->directories_count];
        *directory = (struct directory){.device = stat.st_dev, .inode = stat.st_ino, .fd = -1};
        rc = pd_temp_token(directory->token, error);
        if (rc < 0)
            return rc;
        if (batch->directories_count++ < batch->budget) {
            directory->fd = target->dir;
            target->dir = -1;
        }
    }
    directory->leader = index;
    item->directory = (size_t)(directory - batch->directories);
    pd_place_release(target);
    return 0;
}

static int find_all(struct batch *batch, size_t *failed, struct pd_error *error)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct pd_stage *stage = &batch->items[i].stage;
        *failed = i;
        int rc = pd_place_find(&stage->target, batch->wanted[i].path, batch->options, error);
        if (rc >= 0)
            rc = adopt_directory(batch, i, error);
        if (rc < 0) {
            pd_place_release(&stage->target);
            return rc;
        }
    }
    size_t leaders = 0, others = batch->directories_count;
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = &batch->items[i];
        bool leads = is_leader(batch, i);
        pd_temp_member_name(item->stage.temp, batch->directories[item->directory].token,
                            leads ? 0 : (uint32_t)i + 1);
        const size_t place = leads ? leaders++ : others++;
        /* Each directory has one leader, so the others end where the items do. */
        assert(place < batch->count);
        batch->order[place] = i;
    }
    return 0;
}

/* Have the item's directory open, in stage->target.dir. */
static int enter(struct batch *batch, size_t index, struct pd_error *error)
{
    struct item *item = &batch->items[index];
    const struct directory *directory = &batch->directories[item->directory];
    if (directory->fd >= 0) {
        item->stage.target.dir = directory->fd;
        return 0;
    }
    struct pd_place again;
    int rc = pd_place_resolve(&again, batch->wanted[index].path, batch->options, error);
    if (rc < 0)
        return rc;
    struct stat stat;
    PD_RETRY(rc, pd_sys->stat(again.dir, &stat));
    if (rc >= 0 && (stat.st_dev != directory->device || stat.st_ino != directory->inode ||
                    strcmp(again.name, item->stage.target.name) != 0))
        rc = -ESTALE;
    if (rc < 0) {
        pd_place_release(&again);
        return pd_error_set(error, PD_ERROR_OS, -rc, "finding the directory again",
                            item->stage.target.name, "it was moved or replaced meanwhile");
    }
    item->stage.target.dir = again.dir;
    return 0;
}

static void leave(struct batch *batch, size_t index)
{
    struct item *item = &batch->items[index];
    if (batch->directories[item->directory].fd < 0)
        pd_place_release(&item->stage.target);
    item->stage.target.dir = -1;
}

static int write_item(struct batch *batch, size_t index, struct pd_error *error)
{
    const struct pd_replace_item *wanted = &batch->wanted[index];
    struct pd_stage *stage = &batch->items[index].stage;
    int rc = pd_stage_create(stage, error);
    if (rc >= 0)
        rc = pd_stage_write(stage, wanted->data, wanted->size, error);
    if (rc >= 0)
        rc = pd_stage_seal(stage, error);
    /* The disk may begin while the other files are still being written, and a journal then has the
     * blocks of all of them in the transaction that the first sync commits. */
    return rc < 0 ? rc : pd_stage_start_writeback(stage, error);
}

static int stage_work(void *context, size_t offset, struct pd_error *error)
{
    struct batch *batch = context;
    size_t index = batch->order[batch->window + offset];
    int rc = enter(batch, index, error);
    if (rc >= 0)
        rc = write_item(batch, index, error);
    leave(batch, index);
    return rc;
}

static int sync_work(void *context, size_t offset, struct pd_error *error)
{
    struct batch *batch = context;
    size_t index = batch->order[batch->window + offset];
    const struct item *item = &batch->items[index];
    /* A leader's lock stands for its whole directory until the last rename. */
    bool guarded = is_leader(batch, index) && batch->directories[item->directory].fd >= 0;
    return pd_stage_sync(&batch->items[index].stage, guarded, error);
}

/* How many items the window has that begins at batch->window. */
static size_t window_size(const struct batch *batch)
{
    const size_t rest = batch->count - batch->window;
    return rest < batch->budget ? rest : batch->budget;
}

static int stage_all(struct batch *batch, uint32_t workers, size_t *failed, struct pd_error *error)
{
    const size_t most = STAGERS * batch->directories_count;
    const uint32_t stagers = workers < most ? workers : (uint32_t)most;
    for (batch->window = 0; batch->window < batch->count; batch->window += batch->budget) {
        size_t size = window_size(batch);
        size_t at = 0;
        int rc = pd_parallel(size, stagers, stage_work, batch, &at, error);
        if (rc >= 0)
            rc = pd_parallel(size, workers, sync_work, batch, &at, error);
        if (rc < 0) {
            *failed = batch->order[batch->window + at];
            return rc;
        }
    }
    return 0;
}

static int swap_item(struct batch *batch, size_t index, struct pd_error *error)
{
    struct item *item = &batch->items[index];
    const struct pd_place *target = &item->stage.target;
    int rc = enter(batch, index, error);
    if (rc >= 0 && target->exists)
        PD_RETRY(item->old, pd_sys->meta->hold(target->dir, target->name));
    if (rc >= 0)
        rc = pd_stage_swap(&item->stage, error);
    leave(batch, index);
    return rc;
}

/* Let go of an old file, which is what frees it. */
static int free_work(void *context, size_t offset, struct pd_error *error)
{
    (void)error;
    struct batch *batch = context;
    struct item *item = &batch->items[batch->window + offset];
    if (item->old >= 0)
        pd_io_close(item->old);
    item->old = -1;
    return 0;
}

/* Rename in order up to the first failure; *replaced counts.  The old files are not freed between
 * the renames, one by one, but window by window in all threads: that waits for the disk too. */
static int swap_all(struct batch *batch, uint32_t workers, size_t *replaced, size_t *failed,
                    struct pd_error *error)
{
    int rc = 0;
    for (batch->window = 0; rc >= 0 && batch->window < batch->count;) {
        const size_t size = window_size(batch);
        for (size_t i = batch->window; rc >= 0 && i < batch->window + size; i++) {
            struct item *item = &batch->items[i];
            *failed = i;
            rc = swap_item(batch, i, error);
            if (item->stage.swapped) {
                batch->directories[item->directory].changed = true;
                *replaced = i + 1;
            }
        }
        size_t at;
        (void)pd_parallel(size, workers, free_work, batch, &at, NULL);
        batch->window += size;
    }
    return rc;
}

static int sync_directory_work(void *context, size_t index, struct pd_error *error)
{
    struct batch *batch = context;
    const struct directory *directory = &batch->directories[index];
    if (!directory->changed)
        return 0;
    int rc = enter(batch, directory->leader, error);
    if (rc < 0) {
        if (error)
            error->kind = PD_ERROR_NOT_DURABLE;
        return rc;
    }
    const struct pd_place *target = &batch->items[directory->leader].stage.target;
    rc = pd_directory_sync(target->dir, target->name, error);
    leave(batch, directory->leader);
    return rc;
}

static void end_all(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct pd_stage *stage = &batch->items[i].stage;
        if (stage->created && !stage->swapped && enter(batch, i, NULL) >= 0) {
            pd_stage_end(stage);
            leave(batch, i);
        } else {
            pd_stage_end(stage);
        }
    }
    for (size_t i = 0; i < batch->directories_count; i++)
        if (batch->directories[i].fd >= 0)
            pd_io_close(batch->directories[i].fd);
}

/* Make the renames durable, also those that came before one that failed.  *failed becomes an item
 * in the directory that could not be synced. */
static int sync_directories(struct batch *batch, uint32_t workers, size_t replaced, size_t *failed,
                            struct pd_error *error)
{
    if (!replaced || batch->options->durability != PD_DURABLE_FULL)
        return 0;
    size_t at = 0;
    const int rc =
        pd_parallel(batch->directories_count, workers, sync_directory_work, batch, &at, error);
    if (rc < 0)
        *failed = batch->directories[at].leader;
    return rc;
}

static int run(struct batch *batch, uint32_t workers, struct pd_replace_outcome *outcome,
               struct pd_error *error)
{
    size_t failed = 0, replaced = 0;
    int rc = find_all(batch, &failed, error);
    if (rc >= 0)
        rc = stage_all(batch, workers, &failed, error);
    outcome->staged = rc >= 0;
    if (rc >= 0)
        rc = swap_all(batch, workers, &replaced, &failed, error);
    size_t unsynced = batch->count;
    int sync_rc = sync_directories(batch, workers, replaced, &unsynced, rc < 0 ? NULL : error);
    outcome->replaced = replaced;
    outcome->failed = rc < 0 ? failed : unsynced;
    end_all(batch);
    return rc < 0 ? rc : sync_rc;
}

int pd_replace_many(const struct pd_replace_item *items, uint64_t count,
                    const struct pd_replace_options *options, uint32_t workers,
                    struct pd_replace_outcome *outcome, struct pd_error *error)
{
    *outcome = (struct pd_replace_outcome){0};
    if (count == 0)
        return 0;
    struct batch batch = {
        .wanted = items, .options = options, .count = (size_t)count, .budget = find_budget()};
    batch.items = calloc(batch.count, sizeof *batch.items);
    batch.directories = calloc(batch.count, sizeof *batch.directories);
    batch.order = calloc(batch.count, sizeof *batch.order);
    int rc = batch.items && batch.directories && batch.order ? 0 : -ENOMEM;
    if (rc < 0) {
        pd_error_os(error, rc, "preparing to replace many files", "");
    } else {
        for (size_t i = 0; i < batch.count; i++) {
            pd_stage_init(&batch.items[i].stage, options);
            batch.items[i].old = -1;
        }
        rc = run(&batch, workers, outcome, error);
    }
    free(batch.items);
    free(batch.directories);
    free(batch.order);
    return rc;
}
