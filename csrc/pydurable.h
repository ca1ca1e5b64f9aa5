/*
 * pydurable.h - the public C interface of the durable log.
 *
 * Functions return a value >= 0, or -errno.  Where a struct pd_error is passed it is filled in
 * when the return value is negative, and says what was being done and to which file.
 *
 * What lies between the two marker comments is also the cffi declaration of pydurable._core.
 */
#ifndef PYDURABLE_H
#define PYDURABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* cffi: begin */
/* How much loss is acceptable.  The names are those of Log(sync=...). */
enum pd_target {
    PD_TARGET_NONE = 0,     /* commit waits until the operating system has the record */
    PD_TARGET_INTERVAL = 1, /* the same, and a background sync each interval */
    PD_TARGET_GROUP = 2,    /* commit waits until durable; commits share flushes */
    PD_TARGET_EACH = 3,     /* every commit has a flush of its own */
    PD_TARGET_PARANOID = 4  /* O_DIRECT, O_DSYNC and fsync for every batch */
};

/* The way in which bytes are forced out.  The names are those of Log(method=...). */
enum pd_method {
    PD_METHOD_AUTO = 0,
    PD_METHOD_FDATASYNC = 1,
    PD_METHOD_FSYNC = 2,
    PD_METHOD_DSYNC = 3,        /* O_DSYNC */
    PD_METHOD_DIRECT = 4,       /* O_DIRECT, then fdatasync */
    PD_METHOD_DIRECT_DSYNC = 5, /* O_DIRECT | O_DSYNC */
    PD_METHOD_FULLFSYNC = 6,    /* macOS: fcntl(F_FULLFSYNC) */
    PD_METHOD_BARRIER = 7       /* macOS: fcntl(F_BARRIERFSYNC): order, not durability */
};

enum pd_error_kind {
    PD_ERROR_OS = 0,   /* a system call failed; the log is as healthy as before */
    PD_ERROR_POISONED, /* an earlier write or sync failed; nothing more is accepted */
    PD_ERROR_LOCKED,   /* another writer holds the directory; pid says which, 0 if unknown */
    PD_ERROR_CORRUPT,  /* acknowledged data is gone or damaged */
    PD_ERROR_VERSION,  /* written by a newer version of the format */
    PD_ERROR_CLOSED,
    PD_ERROR_FORKED,     /* opened by the parent of this process */
    PD_ERROR_GONE,       /* a reader was overtaken by truncate_before */
    PD_ERROR_NOT_DURABLE /* a file was replaced, but what followed its rename failed */
};

struct pd_error {
    int kind;           /* enum pd_error_kind */
    int code;           /* the errno, positive */
    char op[48];        /* what was being done */
    char name[160];     /* the file inside the log's directory, or "" for the directory */
    char why[160];      /* one clause more, or "" */
    uint64_t offset;    /* PD_ERROR_CORRUPT: where in the file */
    uint64_t first_lsn; /* PD_ERROR_CORRUPT: the records that are gone, both ends included; */
    uint64_t last_lsn;  /* 0 where the end is not known */
    int64_t pid;        /* PD_ERROR_LOCKED */
};

struct pd_log_options {
    int target;               /* enum pd_target */
    int method;               /* enum pd_method */
    bool create;              /* make the directory and an empty log if there is none */
    uint32_t lanes;           /* batches in flight at once, 1 or 2 */
    uint64_t interval_ns;     /* of PD_TARGET_INTERVAL, and of the idle watermark */
    uint64_t commit_delay_ns; /* how long a leader waits for company */
    uint64_t segment_bytes;
    uint64_t max_pending_bytes;
};

/* Where a record stands: its number, and the batch that it travels in. */
struct pd_ticket {
    uint64_t lsn;
    uint64_t seq;
};

struct pd_log_info {
    int target;
    int method;
    uint32_t block_bytes;
    uint64_t oldest_lsn;
    uint64_t durable_lsn;
    uint64_t written_lsn;
    uint64_t next_lsn;
    uint64_t segment_bytes;
    uint64_t max_record_bytes;
    uint64_t torn_bytes; /* bytes of a torn tail that recovery left behind when the log opened */
};

struct pd_stats {
    uint64_t commits;       /* records accepted */
    uint64_t batches;       /* batches written */
    uint64_t flushes;       /* syncs of file data that were asked for */
    uint64_t payload_bytes; /* bytes of records, without framing */
    uint64_t written_bytes; /* bytes handed to the file, padding included */
    uint64_t segments_created;
    uint64_t segments_recycled;
    uint64_t flush_p50_ns; /* time from the write of a batch to the end of its flush */
    uint64_t flush_p99_ns;
    uint64_t flush_p999_ns;
    uint64_t buffer_bytes; /* memory held for batches and for the ring */
};

/* What the functions that may wait return besides -errno. */
enum pd_progress {
    PD_DONE = 0,
    PD_WAITING = 1, /* accepted, not yet there: call pd_log_wait with the ticket */
    PD_FULL = 2     /* not accepted yet: call again */
};

struct pd_log;

int pd_log_open(const char *path, const struct pd_log_options *options, struct pd_log **out,
                struct pd_error *error);
/* The log's state, which never fails. */
void pd_log_info(struct pd_log *log, struct pd_log_info *info);
void pd_log_stats(struct pd_log *log, struct pd_stats *stats);
/* Why the log refused the last call: the poison if there is one. */
void pd_log_error(struct pd_log *log, struct pd_error *error);

/* Accept what the ring holds up to ring_tail, then these records (count 0: data is one record;
 * otherwise data is count frames of a little-endian u32 length and the bytes), all or nothing,
 * and wait until the target is reached.  ticket->lsn is the last of them. */
int pd_log_commit(struct pd_log *log, const void *data, size_t size, uint32_t count,
                  uint64_t ring_tail, struct pd_ticket *ticket);
/* Wait on for what an earlier call accepted. */
int pd_log_wait(struct pd_log *log, const struct pd_ticket *ticket);
/* Whether threads that come back from pd_log_commit and pd_log_wait do so one after the other: it
 * pays where all of them need one lock next, as in an interpreter. */
void pd_turns_use(bool use);
/* Hand what the ring holds up to ring_tail to the file and wait until the target is reached. */
int pd_log_flush(struct pd_log *log, uint64_t ring_tail, struct pd_ticket *ticket);
/* The same, and wait until everything accepted before is durable, whatever the target. */
int pd_log_sync(struct pd_log *log, uint64_t ring_tail, struct pd_ticket *ticket);
/* Forget the records below lsn: durably first, then retire the segments that hold nothing else. */
int pd_log_truncate_before(struct pd_log *log, uint64_t lsn);
/* Flush, write the closing batch, give the lock back.  The memory stays until pd_log_free. */
int pd_log_close(struct pd_log *log, uint64_t ring_tail);
void pd_log_free(struct pd_log *log);

/* Committing from an event loop, which must not wait: submit, and take the results back, in the
 * order of submitting, when the descriptor becomes readable.  One for each loop and log. */
#define PD_ASYNC_WORKERS 2

struct pd_async;

struct pd_result {
    int code;          /* PD_DONE or -errno */
    uint64_t last_lsn; /* of the request's records */
    struct pd_error error;
};

int pd_async_open(struct pd_log *log, struct pd_async **out, struct pd_error *error);
int pd_async_fd(const struct pd_async *async);
/* Commit records that stand one after the other, as one batch; they are copied.  0 or -errno. */
int pd_async_submit(struct pd_async *async, const void *data, size_t size, const uint32_t *sizes,
                    uint32_t count, uint64_t ring_tail);
/* As pd_log_sync. */
int pd_async_sync(struct pd_async *async, uint64_t ring_tail);
/* The result of the oldest request, if it is finished.  Hears the bell as well. */
bool pd_async_take(struct pd_async *async, struct pd_result *result);
/* Finish what was submitted, and take nothing more; results can still be taken. */
void pd_async_close(struct pd_async *async);
/* After the close, and before the log is freed. */
void pd_async_free(struct pd_async *async);

/* Reading: without a lock, also while a writer is at work. */
struct pd_reader;

struct pd_chunk {
    const uint8_t *bytes; /* valid until the next call */
    uint64_t first_lsn;
    uint32_t count;
    const uint64_t *ends; /* where each record ends in bytes; it begins 4 after the last end */
    const uint64_t *begins;
};

int pd_reader_open(const char *path, uint64_t start_lsn, struct pd_reader **out,
                   struct pd_error *error);
/* The next records: how many, 0 if there are none (yet), or -errno. */
int pd_reader_next(struct pd_reader *reader, struct pd_chunk *chunk, struct pd_error *error);
void pd_reader_close(struct pd_reader *reader);

/* What a look at a whole log finds. */
struct pd_report {
    uint64_t oldest_lsn;
    uint64_t next_lsn;
    uint64_t segments;
    uint64_t batches;
    uint64_t records;
    uint64_t bytes;      /* of records */
    uint64_t torn_bytes; /* from the torn place to the last byte that is not zero; 0 if none */
    uint64_t torn_offset;
    uint64_t torn_segment;
    bool clean; /* the log was closed */
    bool writer_alive;
    uint8_t uuid[16];
    int method;
    uint32_t block_bytes;
};

int pd_log_verify(const char *path, struct pd_report *report, struct pd_error *error);
/* End the log where its last good record is and remove what lies behind.  The caller has copied
 * the log before. */
int pd_log_repair(const char *path, struct pd_error *error);

uint32_t pd_crc32c(uint32_t crc, const void *data, size_t size);
uint32_t pd_crc32c_portable(uint32_t crc, const void *data, size_t size);
bool pd_crc32c_is_hardware(void);

/* Replacing files.  At every instant a name shows its whole old or its whole new content; the
 * names are those of replace(durability=..., preserve=...). */
enum pd_durability {
    PD_DURABLE_NONE = 0, /* atomic for readers, nothing promised after a crash */
    PD_DURABLE_DATA = 1, /* after a crash old or new, and whole */
    PD_DURABLE_FULL = 2  /* new once the call has returned */
};

enum pd_preserve {
    PD_PRESERVE_NONE = 0,
    PD_PRESERVE_MODE = 1,  /* the permission bits, 0777 of them */
    PD_PRESERVE_ALL = 2,   /* and owner, ACL, extended attributes, as far as permitted */
    PD_PRESERVE_STRICT = 3 /* all of these, or an error before anything is replaced */
};

struct pd_replace_options {
    int durability;  /* enum pd_durability */
    int preserve;    /* enum pd_preserve */
    int permissions; /* the mode to set, -1 for the one that preserve says */
    int dir;         /* where relative paths start, -1 for the working directory */
    bool overwrite;
    bool follow; /* a symlink as the last component means the file that it leads to */
    bool direct; /* write past the page cache, where the filesystem can */
};

struct pd_replace_item {
    const char *path;
    const void *data;
    uint64_t size;
};

struct pd_replace_outcome {
    uint64_t replaced; /* how many of the items, from the first on, show their new content */
    uint64_t failed;   /* the item that the error is about; their number if about none */
    bool staged;       /* all was staged and synced: what failed is a rename, or came after it */
};

int pd_replace(const char *path, const void *data, uint64_t size,
               const struct pd_replace_options *options, struct pd_error *error);
/* Stage all, sync all, rename in order, sync each directory once.  Nothing is renamed before
 * everything is staged and synced. */
int pd_replace_many(const struct pd_replace_item *items, uint64_t count,
                    const struct pd_replace_options *options, uint32_t workers,
                    struct pd_replace_outcome *outcome, struct pd_error *error);

/* A replacement in the making: a temporary file beside its target. */
struct pd_stage;

int pd_stage_open(const char *path, const struct pd_replace_options *options, struct pd_stage **out,
                  struct pd_error *error);
int pd_stage_fd(const struct pd_stage *stage);
bool pd_stage_is_direct(const struct pd_stage *stage);
/* Append, by way of aligned memory if the stage is direct. */
int pd_stage_write(struct pd_stage *stage, const void *data, uint64_t size, struct pd_error *error);
/* Write anywhere, for a caller who keeps the position; not for a direct stage. */
int pd_stage_write_at(struct pd_stage *stage, const void *data, uint64_t size, uint64_t offset,
                      struct pd_error *error);
/* Publish.  Whatever comes back, the stage is over; free it. */
int pd_stage_commit(struct pd_stage *stage, struct pd_error *error);
/* Free it, and take the temporary file away unless it was published. */
void pd_stage_free(struct pd_stage *stage);

/* Sync the file, rename it, sync both directories. */
int pd_rename(const char *from, const char *to, bool overwrite, struct pd_error *error);
/* The strongest sync that the platform has: of a file and its metadata, of what it takes to read
 * its data, of a directory. */
int pd_sync_file(int fd);
int pd_sync_data(int fd);
int pd_sync_directory(const char *path, struct pd_error *error);

/* Faults for tests, put between the core and the operating system. */
enum pd_call {
    PD_CALL_ANY = 0,
    PD_CALL_OPEN,
    PD_CALL_CLOSE,
    PD_CALL_READ,
    PD_CALL_WRITE,
    PD_CALL_FSYNC,
    PD_CALL_FDATASYNC,
    PD_CALL_FULLFSYNC,
    PD_CALL_BARRIER,
    PD_CALL_ALLOCATE,
    PD_CALL_TRUNCATE,
    PD_CALL_SEEK,
    PD_CALL_STAT,
    PD_CALL_RENAME,
    PD_CALL_UNLINK,
    PD_CALL_MKDIR,
    PD_CALL_LOCK,
    PD_CALL_MAP,
    PD_CALL_LIST,
    PD_CALL_RANDOM,
    PD_CALL_LOOK,
    PD_CALL_WRITABLE,
    PD_CALL_READ_LINK,
    PD_CALL_MOVE,
    PD_CALL_MOVE_NEW,
    PD_CALL_LINK,
    PD_CALL_CHOWN,
    PD_CALL_CHMOD,
    PD_CALL_XATTR_LIST,
    PD_CALL_XATTR_GET,
    PD_CALL_XATTR_SET,
    PD_CALL_ACL_COPY,
    PD_CALL_DIRECT,
    PD_CALL_WRITEBACK,
    PD_CALL_DUPLICATE,
    PD_CALL_HOLD,
    PD_CALL_COUNT
};

enum pd_fault_mode {
    PD_FAULT_ERROR = 0,      /* the call fails with code and does nothing */
    PD_FAULT_SHORT = 1,      /* a read or write moves half of what it was asked to */
    PD_FAULT_DELAY = 2,      /* the call works, code milliseconds late */
    PD_FAULT_AFTERWARDS = 3, /* the call works and then reports code */
    PD_FAULT_FULL = 4        /* files grow by that many bytes in all, then there is ENOSPC */
};

/* From the nth matching call on (1 is the next), the given number of times (0: for ever). */
void pd_fault_set(int call, int mode, int code, uint64_t nth, uint64_t times);
/* The same for a set of calls, a bit for each: a number by which to take the fault away again, or
 * -ENOSPC if there are too many.  amount is the errno, the milliseconds or the bytes. */
int pd_fault_add(uint64_t which, int mode, int64_t amount, uint64_t nth, uint64_t times);
/* Take it away, if it is still there: how often it has struck. */
uint64_t pd_fault_remove(int number);
uint64_t pd_fault_hits(int number);
void pd_fault_clear(void);
/* How often a call was made since pd_fault_clear, PD_CALL_ANY for all of them together; counting
 * runs while a fault or a recording is set, or after pd_fault_count(true). */
void pd_fault_count(bool on);
uint64_t pd_fault_calls(int call);
/* Record every call that changes a file, in order, for a simulated power cut. */
void pd_record_start(void);
void pd_record_mark(uint64_t value);
uint64_t pd_record_size(void);
void pd_record_copy(void *out, uint64_t size);
void pd_record_stop(void);

/* Calls that macOS has or makes differently; PD_DARWIN_PREALLOCATE_*: F_PREALLOCATE with that
 * flag. */
enum pd_darwin_call {
    PD_DARWIN_OPENAT = 0,
    PD_DARWIN_CLOSE,
    PD_DARWIN_FSYNC,
    PD_DARWIN_FULLFSYNC,
    PD_DARWIN_BARRIERFSYNC,
    PD_DARWIN_NOCACHE,
    PD_DARWIN_RDAHEAD,
    PD_DARWIN_PREALLOCATE_CONTIGUOUS,
    PD_DARWIN_PREALLOCATE_ALL,
    PD_DARWIN_FTRUNCATE,
    PD_DARWIN_RENAME_EXCL,
    PD_DARWIN_COUNT
};

/* For tests: decide as on macOS, over calls that imitate those of macOS.  Switch while no log or
 * stage is open. */
void pd_darwin_imitate(bool on);
/* Refuse an imitated call with an errno from now on, 0: no more. */
void pd_darwin_refuse(int call, int code);
/* What was called since the last time, one line each; at most 64 KiB are kept. */
uint64_t pd_darwin_take_notes(char *out, uint64_t size);
/* cffi: end */

#endif
