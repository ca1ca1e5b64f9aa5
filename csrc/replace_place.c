/* replace_place.c - find the file that a path means, and refuse what must not be replaced. */
#define _XOPEN_SOURCE 700

#include "replace.h"

#include "error.h"
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum {
    PATH_SIZE = 4096, /* PATH_MAX of Linux; macOS has a shorter one */
    HOPS_MAX = 40,    /* as many symlinks as Linux follows (path_resolution(7)) */
    DEVICES_MAX = 16
};

static const char *const looking = "looking at the target";

static int refuse(struct pd_error *error, int code, const char *name, const char *why)
{
    return pd_error_set(error, PD_ERROR_OS, code, looking, name, why);
}

/* Split into the directory and the last component. */
static int split(const char *path, char *dir, char *name, size_t name_size)
{
    size_t size = strlen(path);
    if (size == 0)
        return -ENOENT;
    if (size >= PATH_SIZE)
        return -ENAMETOOLONG;
    const char *slash = strrchr(path, '/');
    const char *last = slash ? slash + 1 : path;
    /* What can only be a directory, as open(2) with O_CREAT says it. */
    if (*last == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
        return -EISDIR;
    size_t last_size = strlen(last);
    if (last_size >= name_size)
        return -ENAMETOOLONG;
    memcpy(name, last, last_size + 1);
    if (!slash) {
        strcpy(dir, ".");
    } else {
        size_t dir_size = slash == path ? 1 : (size_t)(slash - path);
        memcpy(dir, path, dir_size);
        dir[dir_size] = '\0';
    }
    return 0;
}

int pd_place_parent(const char *path, int base, bool must_sync, char *name, size_t name_size,
                    struct pd_error *error)
{
    char dir[PATH_SIZE];
    int rc = split(path, dir, name, name_size);
    if (rc < 0)
        return pd_error_os(error, rc, looking, "");
    int start = base < 0 ? AT_FDCWD : base;
    int fd;
    PD_RETRY(fd, pd_sys->open(start, dir, O_RDONLY | O_DIRECTORY, 0, 0));
    /* A directory without the read permission serves all but its own sync. */
    if (fd == -EACCES && !must_sync)
        PD_RETRY(fd, pd_sys->open(start, dir, O_DIRECTORY, PD_OPEN_PASSAGE, 0));
    if (fd == -EACCES && must_sync)
        return pd_error_set(error, PD_ERROR_OS, EACCES, "opening the directory", "",
                            "a directory that cannot be read cannot be synced: "
                            "durability=\"data\" does without");
    return fd < 0 ? pd_error_os(error, fd, "opening the directory", "") : fd;
}

/*
 * The kernel follows a symlink in a sticky, world-writable directory only for the link's owner,
 * or where the link belongs to the directory's owner (proc_sys_fs(5), protected_symlinks).  It is
 * not the kernel that follows the link here, so the rule is repeated.
 */
static int may_follow(int dir, const struct stat *link)
{
    struct stat parent;
    int rc;
    PD_RETRY(rc, pd_sys->stat(dir, &parent));
    if (rc < 0)
        return rc;
    bool shared = (parent.st_mode & S_ISVTX) && (parent.st_mode & S_IWOTH);
    if (!shared || link->st_uid == geteuid() || link->st_uid == parent.st_uid)
        return 0;
    return -EACCES;
}

/* Go one symlink further: path becomes what the link says. */
static int follow(int dir, const char *name, const struct stat *link, char *path)
{
    int rc = may_follow(dir, link);
    if (rc < 0)
        return rc;
    ssize_t n;
    PD_RETRY(n, pd_sys->meta->read_link(dir, name, path, PATH_SIZE));
    if (n < 0)
        return (int)n;
    if (n >= PATH_SIZE)
        return -ENAMETOOLONG;
    path[n] = '\0';
    return 0;
}

/* Descend to the last component, through symlinks if they are to be followed. */
static int descend(struct pd_place *target, const char *start,
                   const struct pd_replace_options *options, struct pd_error *error)
{
    bool must_sync = options->durability == PD_DURABLE_FULL;
    char path[PATH_SIZE];
    const char *at = start;
    for (int hop = 0; hop <= HOPS_MAX; hop++) {
        int base = target->dir >= 0 ? target->dir : options->dir;
        int dir = pd_place_parent(at, base, must_sync, target->name, sizeof target->name, error);
        pd_place_release(target);
        if (dir < 0)
            return dir;
        target->dir = dir;
        int rc;
        PD_RETRY(rc, pd_sys->meta->look(dir, target->name, &target->stat));
        target->exists = rc >= 0;
        if (rc == -ENOENT)
            return 0;
        if (rc < 0)
            return pd_error_os(error, rc, looking, target->name);
        if (!S_ISLNK(target->stat.st_mode) || !options->follow)
            return 0;
        rc = follow(dir, target->name, &target->stat, path);
        if (rc < 0)
            return pd_error_os(error, rc, "following a symlink", target->name);
        at = path;
    }
    return pd_error_os(error, -ELOOP, "following a symlink", target->name);
}

int pd_place_resolve(struct pd_place *target, const char *path,
                     const struct pd_replace_options *options, struct pd_error *error)
{
    *target = (struct pd_place){.dir = -1};
    int rc = descend(target, path, options, error);
    if (rc < 0)
        pd_place_release(target);
    return rc;
}

static int refuse_wrong(struct pd_place *target, const struct pd_replace_options *options,
                        struct pd_error *error)
{
    if (!target->exists)
        return 0;
    mode_t mode = target->stat.st_mode;
    target->file = S_ISREG(mode);
    if (S_ISDIR(mode))
        return refuse(error, EISDIR, target->name, "");
    if (!target->file && !S_ISLNK(mode))
        return refuse(error, EINVAL, target->name,
                      "a FIFO, device or socket has no content to replace: open it instead");
    if (!options->overwrite)
        return refuse(error, EEXIST, target->name, "");
    if (!target->file)
        return 0;
    /* rename(2) does not ask whether the file may be written, but its owner meant it. */
    int rc;
    PD_RETRY(rc, pd_sys->meta->writable(target->dir, target->name));
    /* Gone since it was looked at: then there is nothing to refuse. */
    if (rc == -ENOENT)
        target->exists = target->file = false;
    else if (rc < 0)
        return pd_error_os(error, rc, looking, target->name);
    return 0;
}

int pd_directory_can_sync(int dir, struct pd_error *error)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static dev_t devices[DEVICES_MAX];
    static unsigned known;
    struct stat stat;
    int rc;
    PD_RETRY(rc, pd_sys->stat(dir, &stat));
    if (rc < 0)
        return pd_error_os(error, rc, "looking at the directory", "");
    pthread_mutex_lock(&mutex);
    bool found = false;
    for (unsigned i = 0; i < known && i < DEVICES_MAX; i++)
        found = found || devices[i] == stat.st_dev;
    pthread_mutex_unlock(&mutex);
    if (found)
        return 0;
    rc = pd_io_sync_dir(dir);
    if (rc < 0)
        return pd_error_set(error, PD_ERROR_OS, -rc, "trying to sync the directory", "",
                            pd_is_unsupported(rc) ? "this filesystem cannot sync directories: "
                                                    "durability=\"data\" does without"
                                                  : "");
    pthread_mutex_lock(&mutex);
    devices[known++ % DEVICES_MAX] = stat.st_dev;
    pthread_mutex_unlock(&mutex);
    return 0;
}

int pd_place_find(struct pd_place *target, const char *path,
                  const struct pd_replace_options *options, struct pd_error *error)
{
    int rc = pd_place_resolve(target, path, options, error);
    if (rc >= 0)
        rc = refuse_wrong(target, options, error);
    if (rc >= 0)
        rc = pd_keep_check(target, options, error);
    if (rc >= 0 && options->durability == PD_DURABLE_FULL)
        rc = pd_directory_can_sync(target->dir, error);
    if (rc < 0)
        pd_place_release(target);
    return rc;
}

void pd_place_release(struct pd_place *target)
{
    /* A directory that was only read from has nothing to report when it is closed. */
    if (target->dir >= 0)
        pd_io_close(target->dir);
    target->dir = -1;
}
