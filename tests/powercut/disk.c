/*
 * disk.c - a disk that remembers everything: a FUSE filesystem with three files.
 *
 *   disk     the image.  Every write and every flush goes into the log, with its begin and its end.
 *   ack      what is written here goes into the log as it is: promises, between the disk's writes.
 *   control  orders: how the disk is to fail from now on (see obey).
 *
 *     disk MOUNTPOINT IMAGE LOG
 *
 * prints a line once it is mounted and serves until it is unmounted.  The log is a sequence of
 * struct entry, each followed by its bytes.  A write ends before it is answered: a flush covers
 * the writes that had ended when it began, and promises them when it has ended itself.
 *
 * The kernel sends what the loop device asks for straight here and several at a time (direct I/O
 * with parallel writes, no write-back cache), and some requests take longer than others, so that
 * a flush does meet writes in flight.
 */
#define FUSE_USE_VERSION 312
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOT = FUSE_ROOT_ID, DISK, ACK, CONTROL, LAST = CONTROL };
enum { WRITE_BEGIN, WRITE_END, FLUSH_BEGIN, FLUSH_END, MARK, ORDER };
enum { WRITE_MAX = 1 << 20, NEEDLE_MAX = 64, UNDO_MAX = 64 };

struct entry {
    uint32_t kind;
    uint32_t size;   /* bytes that follow */
    uint64_t id;     /* the same at the begin and at the end of a request */
    uint64_t offset; /* of a write */
    int64_t result;  /* at an end: 0 or -errno */
};

/* What a write of the needle has replaced since the last flush that succeeded. */
struct undo {
    uint64_t offset;
    size_t size;
    char *data;
};

static const char *const names[] = {[DISK] = "disk", [ACK] = "ack", [CONTROL] = "control"};

static struct {
    int image;
    uint64_t image_bytes;
    FILE *log;
    pthread_mutex_t mutex; /* guards all below, and the order of log and image */
    uint64_t next_id;
    uint64_t dice;
    unsigned delay_us; /* the longest that a request is held back */
    unsigned flush_us; /* how long a flush takes at the least */
    unsigned failing_writes;
    unsigned failing_flushes;
    size_t needle_size; /* only writes that hold these bytes are concerned; 0: any */
    char needle[NEEDLE_MAX];
    struct undo undo[UNDO_MAX]; /* while flushes are to drop what holds the needle */
    size_t undo_count;
    bool deaf; /* flushes are answered at once and do nothing */
} disk = {.mutex = PTHREAD_MUTEX_INITIALIZER, .dice = 88172645463325252u, .delay_us = 200};

static void give_up(const char *what)
{
    perror(what);
    _exit(1);
}

/* The mutex is held. */
static void record(uint32_t kind, uint64_t id, uint64_t offset, int64_t result, const void *data,
                   size_t size)
{
    struct entry entry = {kind, (uint32_t)size, id, offset, result};
    if (fwrite(&entry, sizeof entry, 1, disk.log) != 1 ||
        (size && fwrite(data, size, 1, disk.log) != 1))
        give_up("writing the log");
}

/* How long this request is held back: half of them not at all.  The mutex is held. */
static unsigned roll_delay(void)
{
    disk.dice ^= disk.dice << 13;
    disk.dice ^= disk.dice >> 7;
    disk.dice ^= disk.dice << 17;
    return disk.delay_us && disk.dice & 1 ? (unsigned)(disk.dice >> 8) % disk.delay_us : 0;
}

static bool holds_needle(const void *data, size_t size)
{
    return !disk.needle_size || memmem(data, size, disk.needle, disk.needle_size);
}

/* The mutex is held. */
static void put(const char *data, size_t size, uint64_t offset)
{
    if (pwrite(disk.image, data, size, (off_t)offset) != (ssize_t)size)
        give_up("writing the image");
}

/* Remember what a write is about to replace, if a flush is to drop it.  The mutex is held. */
static void prepare_undo(const char *data, size_t size, uint64_t offset)
{
    if (!disk.failing_flushes || !disk.needle_size || !holds_needle(data, size) ||
        disk.undo_count == UNDO_MAX)
        return;
    struct undo *undo = &disk.undo[disk.undo_count++];
    *undo = (struct undo){offset, size, malloc(size)};
    if (!undo->data || pread(disk.image, undo->data, size, (off_t)offset) != (ssize_t)size)
        give_up("reading the image");
}

/* A flush has failed: the disk forgets those writes.  That is logged as writes of what was there
 * before.  The mutex is held. */
static void drop_writes(void)
{
    while (disk.undo_count > 0) {
        struct undo *undo = &disk.undo[--disk.undo_count];
        const uint64_t id = disk.next_id++;
        record(WRITE_BEGIN, id, undo->offset, 0, undo->data, undo->size);
        put(undo->data, undo->size, undo->offset);
        record(WRITE_END, id, undo->offset, 0, NULL, 0);
        free(undo->data);
    }
}

static int write_disk(const char *data, size_t size, uint64_t offset)
{
    if (offset > disk.image_bytes || size > disk.image_bytes - offset)
        return -EIO;
    pthread_mutex_lock(&disk.mutex);
    const uint64_t id = disk.next_id++;
    const int result = disk.failing_writes && holds_needle(data, size) ? -EIO : 0;
    record(WRITE_BEGIN, id, offset, 0, data, size);
    if (result < 0) {
        disk.failing_writes--;
    } else {
        prepare_undo(data, size, offset);
        put(data, size, offset);
    }
    const unsigned delay = roll_delay();
    pthread_mutex_unlock(&disk.mutex);
    if (delay)
        usleep(delay);
    pthread_mutex_lock(&disk.mutex);
    record(WRITE_END, id, offset, result, NULL, 0);
    pthread_mutex_unlock(&disk.mutex);
    return result;
}

static int flush_disk(void)
{
    pthread_mutex_lock(&disk.mutex);
    if (disk.deaf) {
        pthread_mutex_unlock(&disk.mutex);
        return 0;
    }
    const uint64_t id = disk.next_id++;
    /* With a needle: the flush that would make those writes durable. */
    const bool fails = disk.failing_flushes && (!disk.needle_size || disk.undo_count);
    record(FLUSH_BEGIN, id, 0, 0, NULL, 0);
    if (fails) {
        disk.failing_flushes--;
        drop_writes();
    }
    const unsigned delay = disk.flush_us + roll_delay();
    pthread_mutex_unlock(&disk.mutex);
    if (delay)
        usleep(delay);
    pthread_mutex_lock(&disk.mutex);
    record(FLUSH_END, id, 0, fails ? -EIO : 0, NULL, 0);
    pthread_mutex_unlock(&disk.mutex);
    return fails ? -EIO : 0;
}

/* The bytes at the end of an order.  The mutex is held. */
static int take_needle(const char *data, size_t size)
{
    if (size > NEEDLE_MAX)
        return -EINVAL;
    disk.needle_size = size;
    memcpy(disk.needle, data, size);
    return 0;
}

/*
 * "fail-writes N [BYTES]": the next N writes, or those of them that hold the bytes, fail with EIO
 * and change nothing.  "fail-flushes N [BYTES]": the next N flushes fail with EIO; with bytes,
 * those before which they were written, and such writes are forgotten.  "slow-flushes N": each
 * flush takes N microseconds at the least.  "deaf": flushes do nothing from now on.  "calm":
 * nothing fails and nothing is held back any more.
 */
static int obey(const char *data, size_t size)
{
    char order[2 * NEEDLE_MAX] = "";
    if (size >= sizeof order)
        return -EINVAL;
    memcpy(order, data, size);
    unsigned number;
    int at = 0;
    int result = 0;
    pthread_mutex_lock(&disk.mutex);
    record(ORDER, 0, 0, 0, data, size);
    if (strcmp(order, "calm") == 0) {
        disk.delay_us = disk.flush_us = disk.failing_writes = disk.failing_flushes = 0;
        disk.deaf = false;
    } else if (strcmp(order, "deaf") == 0) {
        disk.deaf = true;
    } else if (sscanf(order, "slow-flushes %u", &number) == 1) {
        disk.flush_us = number;
    } else if (sscanf(order, "fail-flushes %u %n", &number, &at) == 1) {
        disk.failing_flushes = number;
        result = take_needle(order + at, size - (size_t)at);
    } else if (sscanf(order, "fail-writes %u %n", &number, &at) == 1) {
        disk.failing_writes = number;
        result = take_needle(order + at, size - (size_t)at);
    } else {
        result = -EINVAL;
    }
    pthread_mutex_unlock(&disk.mutex);
    return result;
}

static bool describe(fuse_ino_t ino, struct stat *out)
{
    if (ino < ROOT || ino > LAST)
        return false;
    *out = (struct stat){.st_ino = ino, .st_nlink = 1, .st_blksize = 4096};
    out->st_mode = ino == ROOT ? S_IFDIR | 0755 : S_IFREG | 0644;
    out->st_size = ino == DISK ? (off_t)disk.image_bytes : 0;
    return true;
}

static void on_init(void *context, struct fuse_conn_info *connection)
{
    (void)context;
    connection->want &= ~(unsigned)FUSE_CAP_WRITEBACK_CACHE;
    connection->max_write = WRITE_MAX;
    connection->max_background = 64;
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = {.attr_timeout = 1, .entry_timeout = 1};
    for (fuse_ino_t ino = DISK; parent == ROOT && ino <= LAST; ino++) {
        if (strcmp(name, names[ino]) != 0)
            continue;
        entry.ino = ino;
        describe(ino, &entry.attr);
        fuse_reply_entry(request, &entry);
        return;
    }
    fuse_reply_err(request, ENOENT);
}

static void on_getattr(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *file)
{
    (void)file;
    struct stat attributes;
    if (describe(ino, &attributes))
        fuse_reply_attr(request, &attributes, 1);
    else
        fuse_reply_err(request, ENOENT);
}

/* Opening with O_TRUNC asks for this; nothing changes. */
static void on_setattr(fuse_req_t request, fuse_ino_t ino, struct stat *wanted, int which,
                       struct fuse_file_info *file)
{
    (void)wanted;
    (void)which;
    on_getattr(request, ino, file);
}

static void on_open(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *file)
{
    (void)file;
    /* Older libraries have no name for parallel direct writes, so the answer is made by hand. */
    const struct fuse_open_out answer = {
        .fh = ino, .open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES};
    fuse_reply_buf(request, (const char *)&answer, sizeof answer);
}

static void on_read(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *file)
{
    (void)file;
    if (ino != DISK) {
        fuse_reply_buf(request, NULL, 0);
        return;
    }
    char *data = malloc(size);
    ssize_t n = data ? pread(disk.image, data, size, offset) : -1;
    if (n < 0)
        fuse_reply_err(request, EIO);
    else
        fuse_reply_buf(request, data, (size_t)n);
    free(data);
}

static void on_write(fuse_req_t request, fuse_ino_t ino, const char *data, size_t size,
                     off_t offset, struct fuse_file_info *file)
{
    (void)file;
    int result = 0;
    if (ino == DISK) {
        result = write_disk(data, size, (uint64_t)offset);
    } else if (ino == CONTROL) {
        result = obey(data, size);
    } else {
        pthread_mutex_lock(&disk.mutex);
        record(MARK, 0, 0, 0, data, size);
        pthread_mutex_unlock(&disk.mutex);
    }
    if (result < 0)
        fuse_reply_err(request, -result);
    else
        fuse_reply_write(request, size);
}

/* Without this call the kernel would report every flush as a success and send none. */
static void on_fsync(fuse_req_t request, fuse_ino_t ino, int data_only, struct fuse_file_info *file)
{
    (void)data_only;
    (void)file;
    fuse_reply_err(request, ino == DISK ? -flush_disk() : 0);
}

static const struct fuse_lowlevel_ops operations = {
    .init = on_init,
    .lookup = on_lookup,
    .getattr = on_getattr,
    .setattr = on_setattr,
    .open = on_open,
    .read = on_read,
    .write = on_write,
    .fsync = on_fsync,
};

static int serve(const char *name, const char *mountpoint)
{
    char *arguments[] = {(char *)name, (char *)"-o", (char *)"fsname=remembering-disk"};
    struct fuse_args given = FUSE_ARGS_INIT(3, arguments);
    struct fuse_session *session = fuse_session_new(&given, &operations, sizeof operations, NULL);
    if (!session || fuse_session_mount(session, mountpoint) != 0)
        return 1;
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    fuse_loop_cfg_set_clone_fd(config, 0);
    fuse_loop_cfg_set_max_threads(config, 64);
    fuse_loop_cfg_set_idle_threads(config, 64);
    puts("mounted");
    fflush(stdout);
    int rc = fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    return rc == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s MOUNTPOINT IMAGE LOG\n", argv[0]);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    disk.image = open(argv[2], O_RDWR | O_CLOEXEC);
    struct stat attributes;
    if (disk.image < 0 || fstat(disk.image, &attributes) < 0)
        give_up(argv[2]);
    disk.image_bytes = (uint64_t)attributes.st_size;
    disk.log = fopen(argv[3], "wbe");
    if (!disk.log)
        give_up(argv[3]);
    int rc = serve(argv[0], argv[1]);
    if (fclose(disk.log) != 0)
        give_up(argv[3]);
    return rc;
}
