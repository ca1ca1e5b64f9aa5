/* method.c - settle how a log's bytes are forced out: as asked for, as remembered, or as measured.
 */
#include "log.h"

#include "error.h"
#include "io.h"
#include "probe.h"
#include "sys.h"

#include <errno.h>

static int probe(struct pd_log *log, struct pd_error *error)
{
    struct pd_probe best;
    int rc = pd_probe(log->dir, &best, error);
    if (rc < 0)
        return rc;
    log->method = log->measured = best.method;
    log->shape.prezero = best.prezero;
    return 0;
}

/* Whether what was measured still holds.  A log may have been made on another platform, where
 * another call reaches the medium: on macOS F_FULLFSYNC alone, elsewhere never. */
static bool is_at_home(int measured)
{
    return measured && (measured == PD_METHOD_FULLFSYNC) == pd_sys_needs_fullfsync();
}

/* What "auto" stands for: what was measured, now or when the log was made. */
static int choose_automatically(struct pd_log *log, struct pd_error *error)
{
    /* Who does not wait for the disk has nothing to gain from O_DIRECT or O_DSYNC. */
    if (!pd_log_is_durable_target(log)) {
        log->method = pd_sys_needs_fullfsync() ? PD_METHOD_FULLFSYNC : PD_METHOD_FDATASYNC;
        return 0;
    }
    log->method = log->measured;
    return is_at_home(log->measured) ? 0 : probe(log, error);
}

/* Find out once, here, whether the filesystem has the call that the method relies on.  Later a
 * refusal could not be told from a failure, and a commit must not change its meaning under way. */
static int try_sync(struct pd_log *log, int asked, struct pd_error *error)
{
    if (log->data_sync != PD_SYNC_FULL && log->data_sync != PD_SYNC_BARRIER)
        return 0;
    const int rc = pd_io_sync(log->lock.fd, log->data_sync);
    if (rc >= 0)
        return 0;
    if (!pd_io_sync_unsupported(rc))
        return pd_error_os(error, rc, "trying the method", "LOCK");
    const bool named = asked == PD_METHOD_FULLFSYNC || asked == PD_METHOD_BARRIER;
    if (!named && log->target != PD_TARGET_PARANOID) {
        if (log->method == PD_METHOD_FULLFSYNC)
            log->method = PD_METHOD_FSYNC;
        log->data_sync = log->file_sync = PD_SYNC_FSYNC;
        return 0;
    }
    return pd_error_set(error, PD_ERROR_OS, ENOTSUP, "choosing the method", "",
                        log->data_sync == PD_SYNC_FULL
                            ? "this filesystem does not support F_FULLFSYNC"
                            : "this filesystem does not support F_BARRIERFSYNC");
}

struct pd_io_method pd_method_use(struct pd_log *log)
{
    const struct pd_io_method io = pd_io_method(log->method, log->target);
    log->data_sync = io.data_sync;
    log->writes_through = (io.extra & PD_OPEN_DSYNC) != 0;
    log->file_sync = io.data_sync == PD_SYNC_NOTHING ? PD_SYNC_FDATASYNC : io.data_sync;
    return io;
}

int pd_method_choose(struct pd_log *log, const struct pd_log_options *options,
                     const struct pd_segment_header *remembered, struct pd_error *error)
{
    const bool automatic = options->method == PD_METHOD_AUTO;
    log->shape = (struct pd_segment_shape){options->segment_bytes,
                                           pd_sys_filesystem(log->dir) == PD_FS_PLAIN};
    if (remembered) {
        log->shape.prezero = (remembered->flags & PD_SEGMENT_PREZERO) != 0;
        log->measured = (int)(remembered->flags >> PD_SEGMENT_MEASURED_SHIFT) & 0xff;
    }
    log->method = options->method;
    int rc = automatic ? choose_automatically(log, error) : 0;
    log->block_bytes = pd_probe_block_bytes(log->lock.fd, log->method);
    /* The log may have moved to a filesystem that cannot do what it remembers. */
    if (rc == 0 && log->block_bytes == 0 && automatic) {
        rc = probe(log, error);
        log->block_bytes = pd_probe_block_bytes(log->lock.fd, log->method);
    }
    if (rc < 0)
        return rc;
    if (log->block_bytes == 0)
        return pd_error_set(error, PD_ERROR_OS, EINVAL, "choosing the method", "",
                            "this filesystem does not support O_DIRECT");
    const struct pd_io_method io = pd_method_use(log);
    if (io.data_sync == PD_SYNC_FULL && io.extra == 0)
        log->method = PD_METHOD_FULLFSYNC; /* whatever it is called elsewhere */
    return try_sync(log, options->method, error);
}
