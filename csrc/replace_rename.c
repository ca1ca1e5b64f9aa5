/* replace_rename.c - durable renames, and the syncs by themselves. */
#define _XOPEN_SOURCE 700
#define _DARWIN_C_SOURCE /* O_NOFOLLOW, which macOS takes for an extension of its own */

#include "replace.h"

#include "error.h"
#include "io.h"

#include <errno.h>
#include <fcntl.h>

bool pd_is_unsupported(int rc)
{
    return rc == -ENOSYS || rc == -EINVAL || rc == -ENOTSUP || rc == -EOPNOTSUPP;
}

int pd_move(int from_dir, const char *from, int to_dir, const char *to, bool overwrite, bool *moved)
{
    int rc;
    if (overwrite)
        PD_RETRY(rc, pd_sys->meta->move(from_dir, from, to_dir, to));
    else
        PD_RETRY(rc, pd_sys->meta->move_new(from_dir, from, to_dir, to));
    *moved = rc >= 0;
    if (overwrite || !pd_is_unsupported(rc))
        return rc;
    /* link(2) never overwrites either.  For a moment the file has both names. */
    PD_RETRY(rc, pd_sys->meta->link(from_dir, from, to_dir, to));
    *moved = rc >= 0;
    if (rc >= 0)
        PD_RETRY(rc, pd_sys->unlink(from_dir, from));
    return rc;
}

int pd_directory_sync(int dir, const char *name, struct pd_error *error)
{
    int rc = pd_io_sync_dir(dir);
    if (rc >= 0)
        return 0;
    return pd_error_set(error, PD_ERROR_NOT_DURABLE, -rc, "syncing the directory", name,
                        "the change is in place, but a crash may undo it");
}

/* Force out what is about to get a new name, so that the name never leads to an empty file. */
static int sync_source(int dir, const char *name, struct pd_error *error)
{
    static const char *const syncing = "syncing the file before its rename";
    struct stat stat;
    int rc;
    PD_RETRY(rc, pd_sys->meta->look(dir, name, &stat));
    if (rc < 0)
        return pd_error_os(error, rc, "looking at the source", name);
    /* The others (a symlink, a FIFO, a device) have nothing to sync but their name. */
    if (!S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode))
        return 0;
    int fd;
    PD_RETRY(fd, pd_sys->open(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, 0));
    if (fd < 0)
        return pd_error_os(error, fd, syncing, name);
    rc = pd_io_sync_file(fd);
    pd_io_close(fd);
    return rc < 0 ? pd_error_os(error, rc, syncing, name) : 0;
}

/* What a rename has two of. */
struct end {
    int dir;
    char name[PD_NAME_SIZE];
};

/* Whether both names are in one directory, which then needs one sync: 1, 0 or -errno. */
static int is_same_directory(const struct end *a, const struct end *b)
{
    struct stat first, second;
    int rc;
    PD_RETRY(rc, pd_sys->stat(a->dir, &first));
    if (rc < 0)
        return rc;
    PD_RETRY(rc, pd_sys->stat(b->dir, &second));
    if (rc < 0)
        return rc;
    return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

/* Sync where the file is now before where it was: a crash between the two must not lose it. */
static int sync_ends(const struct end *from, const struct end *to, bool same,
                     struct pd_error *error)
{
    int rc = pd_directory_sync(to->dir, to->name, error);
    if (rc < 0 || same)
        return rc;
    return pd_directory_sync(from->dir, from->name, error);
}

static int rename_between(const struct end *from, const struct end *to, bool overwrite,
                          struct pd_error *error)
{
    int same = is_same_directory(from, to);
    int rc = same < 0 ? pd_error_os(error, same, "looking at the directory", "")
                      : pd_directory_can_sync(to->dir, error);
    if (rc >= 0 && !same)
        rc = pd_directory_can_sync(from->dir, error);
    if (rc >= 0)
        rc = sync_source(from->dir, from->name, error);
    if (rc < 0)
        return rc;
    bool moved = false;
    rc = pd_move(from->dir, from->name, to->dir, to->name, overwrite, &moved);
    if (!moved)
        return pd_error_os(error, rc, "renaming", from->name);
    if (rc >= 0)
        return sync_ends(from, to, same, error);
    sync_ends(from, to, same, NULL);
    return pd_error_set(error, PD_ERROR_NOT_DURABLE, -rc, "removing the old name", from->name,
                        "the new name is made, and the old one is there still");
}

int pd_rename(const char *from, const char *to, bool overwrite, struct pd_error *error)
{
    struct end source, goal;
    source.dir = pd_place_parent(from, -1, true, source.name, sizeof source.name, error);
    if (source.dir < 0)
        return source.dir;
    goal.dir = pd_place_parent(to, -1, true, goal.name, sizeof goal.name, error);
    int rc = goal.dir;
    if (rc >= 0) {
        rc = rename_between(&source, &goal, overwrite, error);
        pd_io_close(goal.dir);
    }
    pd_io_close(source.dir);
    return rc;
}

int pd_sync_file(int fd)
{
    return pd_io_sync_file(fd);
}

int pd_sync_data(int fd)
{
    /* Where only F_FULLFSYNC reaches the medium there is no cheaper call that does. */
    return pd_sys_needs_fullfsync() ? pd_io_sync_file(fd) : pd_io_sync(fd, PD_SYNC_FDATASYNC);
}

int pd_sync_directory(const char *path, struct pd_error *error)
{
    int fd = pd_io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return pd_error_os(error, fd, "opening the directory", "");
    int rc = pd_io_sync_dir(fd);
    pd_io_close(fd);
    return rc < 0 ? pd_error_os(error, rc, "syncing the directory", "") : 0;
}
