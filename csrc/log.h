/*
 * log.h - the state of an open log, and the parts that work on it.
 *
 *   open.c      from a path to a log that takes commits, and back
 *   log.c       the calls: each takes the mutex and hands over to the parts
 *   group.c     accept records, fill batches, lead, acknowledge in order
 *   into_segments.c  where the batches of a log go: what a segment takes, and how
 *   into_file.c      where those of a plain file go
 *   file.c      from a path to a plain file that takes commits
 *   sync.c      force out what is written, without a batch
 *   wait.c      how committing threads wait for their batch, and leave
 *   rotate.c    go over to the next segment; truncate_before
 *   keeper.c    the background thread: spares, zeros ahead, interval syncs, idle watermarks
 *   salvage.c   records that a dead process appended
 *   intent.c    what is being written to a plain file, and what a dead process left of it
 *   ring.c      records that were appended without a system call
 *   fork.c      what becomes of a log in a child process
 *
 * A batch has a sequence number.  Batch filling_seq collects records; those from acked_seq up to
 * it are in flight, at most one a lane.  Batches are sealed in order, land in any order and are
 * acknowledged in order.  A thread that finds a lane free leads the filling batch itself: alone on
 * the log it never waits for another thread.
 *
 * One mutex guards everything below that is not marked otherwise.  It is never held across a
 * system call on a file.
 */
#ifndef PD_LOG_H
#define PD_LOG_H

#include "buffer.h"
#include "histogram.h"
#include "intent.h"
#include "io.h"
#include "lock.h"
#include "pydurable_append.h"
#include "recover.h"
#include "ring.h"
#include "segment.h"

#include <pthread.h>

enum { PD_SLOTS = PD_LANES_MAX + 1, PD_FILE_PLACES = 2 };

/* A wait in C ends after this long, so that Python can look after its signals. */
enum { PD_WAIT_SLICE_NS = 100000000 };

struct pd_log;

/* One batch, from its first record to its acknowledgement. */
struct pd_slot {
    struct pd_buffer buffer; /* room for the header, then frames */
    size_t used;             /* bytes of it, header included */
    uint64_t seq;            /* its number, once it is sealed */
    uint64_t first_lsn;
    uint32_t count;
    uint32_t flags;
    uint32_t payload_crc;
    uint32_t callers;  /* commits that travel in it */
    uint64_t ring_end; /* once it is in the file, the ring is consumed up to here; 0 if not by it */
    uint32_t waiters;  /* threads in C that wait for this batch */
    uint64_t offset;   /* where it goes, once it is sealed */
    size_t size;       /* bytes to write, padding included, once it is sealed */
    bool led;          /* some thread has undertaken to seal it */
    bool landed;       /* written, and synced if the target asks for it */
    uint32_t wake; /* a word to wait on: changed, atomically, for whoever waits for this batch */
    uint32_t released; /* threads whose batch is acknowledged, and that are to be woken; atomic */
};

/* Whether the filling batch waits for those who were sent home last, and whether that pays. */
struct pd_hold {
    uint32_t away;       /* how many of them have not committed again */
    uint32_t callers;    /* they, and those who were there already: so many would travel together */
    uint32_t trust;      /* the more, the oftener they came in time */
    uint64_t first_ns;   /* when the first of all these was there; 0 if nobody is */
    uint64_t worth_ns;   /* how long it pays to wait for the last one, from then on */
    uint64_t back_by_ns; /* when they were away for so long that nobody knows when they come */
    bool armed;          /* the batch will be held once the first is there */
    uint64_t until_ns;   /* it is held until then, or until all travel in it; 0 if it is not held */
    uint64_t watched;    /* of which batch + 1 a thread sleeps no longer than that */
};

/* Where batches go: the segments of a log, or a plain file.  Everything else about group commit is
 * the same for both. */
struct pd_sink {
    size_t header_bytes; /* of a batch, before its first record */
    size_t frame_bytes;  /* before each record */
    bool ordered;        /* writes go one after the other, and only their flushes overlap */
    bool marks;          /* a batch without a record says how far the log is durable */
    const char *writing; /* what is being done, for errors */
    const char *syncing;
    /* The file's name, for errors. */
    void (*name)(const struct pd_log *log, char out[PD_NAME_BYTES]);
    uint64_t (*max_record)(const struct pd_log *log);
    /* Whether a frame of this size may join the slot's batch and still find its place. */
    bool (*fits)(const struct pd_log *log, const struct pd_slot *slot, size_t frame_bytes,
                 bool closing);
    /* Make a place, where nothing fits although the batch is empty; the mutex is let go of. */
    int (*extend)(struct pd_log *log);
    /* Wait until nothing stands in the way of the batch; the mutex may be let go of. */
    void (*await)(struct pd_log *log, const struct pd_slot *slot);
    /* Give the batch its place, its size and its header; the mutex is held. */
    void (*seal)(struct pd_log *log, struct pd_slot *slot);
    /* Write it; without the mutex.  -ENOSPC and -EDQUOT from an ordered sink say that nothing of it
     * is in the file, so that it may be written later. */
    int (*write)(struct pd_log *log, int fd, struct pd_slot *slot);
    /* Tell other processes how far it is durable; the mutex is held. */
    void (*publish)(struct pd_log *log);
};

extern const struct pd_sink pd_into_segments, pd_into_file;

/* What a plain file needs beside the engine. */
struct pd_file {
    char *path;
    mode_t mode;
    char *places[PD_FILE_PLACES]; /* what the path of its intent begins with, best first */
};

enum pd_spare_state { PD_SPARE_NONE, PD_SPARE_PREPARING, PD_SPARE_READY };

struct pd_log {
    /* Fixed while the log is open. */
    const struct pd_sink *sink;
    struct pd_file file; /* of a plain file */
    struct pd_intent intent;
    int dir;
    int target;
    int method;
    int measured;        /* the method found to be the fastest here, 0 if none was looked for */
    int data_sync;       /* enum pd_io_sync: what a lane calls after its write */
    int file_sync;       /* what an explicit sync calls */
    bool writes_through; /* a lane's write syncs as well: O_DSYNC */
    uint32_t lanes;
    uint32_t block_bytes;
    uint64_t interval_ns;
    uint64_t commit_delay_ns;
    uint64_t segment_bytes;
    size_t batch_limit; /* a batch takes no further record beyond it */
    bool refuses_full;  /* who finds the disk full gets ENOSPC, and does not wait for room */
    struct pd_segment_shape shape;
    uint8_t uuid[16];
    uint64_t torn_bytes;

    pthread_mutex_t mutex;
    pthread_cond_t room;  /* the filling batch may take records again */
    pthread_cond_t quiet; /* something that was in flight has ended */
    bool closing;
    bool closed;
    uint32_t users; /* threads inside a call; atomic */

    /* Batches. */
    struct pd_slot slots[PD_SLOTS];
    uint64_t acked_seq; /* read without the mutex by those who wait, atomically */
    uint64_t filling_seq;
    bool lane_busy[PD_LANES_MAX];
    bool writing;         /* an ordered sink is at its one write */
    struct pd_slot *held; /* a sealed batch that found the disk full */
    uint32_t held_lane;
    uint64_t retry_ns;    /* when to try it again */
    struct pd_error full; /* what it met */
    uint32_t crowd; /* how many seem to commit at a time; written under the mutex, atomically */
    struct pd_hold hold;
    uint32_t awake; /* threads that wait for their turn to go home; atomic */
    uint64_t next_lsn;
    uint64_t written_lsn;
    uint64_t durable_lsn; /* read without the mutex, atomically */
    uint64_t oldest_lsn;
    uint32_t chain;        /* checksum of the last sealed batch */
    bool marked;           /* the last sealed batch is a watermark */
    uint64_t last_seal_ns; /* when it was sealed */

    /* The active segment. */
    struct pd_segment_header segment;
    struct pd_segment_files files;
    struct pd_segment_list segments;
    uint64_t write_offset;
    bool rotating;
    bool truncating;      /* a truncation is under way */
    bool retiring;        /* segments are being taken away */
    bool syncing;         /* an explicit sync is under way */
    uint64_t unsynced_ns; /* since when something written is not synced, 0 if nothing */
    uint64_t zeroed_to;   /* the file is zero-written up to here, or behind the writer */
    uint64_t zero_begin;  /* what the keeper is writing zeros to; empty if it is not */
    uint64_t zero_end;
    bool zero_off; /* the writer has caught up with the zeros: they cannot pay here */

    /* The next segment. */
    int spare;
    bool spare_zeroed; /* recycled: every block of it was written before */
    uint64_t spare_serial;
    uint64_t spare_retry_ns;

    pthread_t keeper;
    pthread_cond_t keeper_wake;
    bool keeper_runs;
    bool keeper_waits;
    bool keeper_parked; /* waits without an end: has to be woken for whatever is due later */
    bool keeper_stop;

    struct pd_lock lock;
    bool poisoned;
    struct pd_error poison;
    struct pd_error refusal; /* why the last call failed, if not by poison */

    uint8_t *ring; /* NULL if appended records go to the operating system at once */
    struct pd_ring_page *ring_page;
    uint64_t ring_chunk;  /* bytes */
    uint64_t ring_copied; /* the position up to which records were accepted into batches */
    uint64_t ring_tail;   /* the largest that was passed */
    uint64_t *ring_words; /* PD_RING_STOP and PD_RING_CLEARED, where Python finds them */
    char *ring_path;
    int ring_fd;

    struct pd_stats stats;
    struct pd_histogram flush_times;

    struct pd_log *next_open, **link; /* fork.c's list */
    bool forked;                      /* this process is a child of the one that opened it */
};

/* Whether append has to ask why it may not, and below which activation chunks may be used. */
enum { PD_RING_STOP, PD_RING_CLEARED };

/* group.c; the mutex is held in all of them. */
struct pd_slot *pd_group_filling(struct pd_log *log);
bool pd_group_has_content(const struct pd_slot *slot);
bool pd_group_can_lead(struct pd_log *log);
/* Whether it should be led, now or after a hold.  With nothing in flight, always.  Beside a batch
 * in flight it is better to wait for those whom the last acknowledgement released and who are about
 * to commit again: two full batches in turn, and not a batch of one beside a batch of many. */
bool pd_group_is_next(struct pd_log *log);
void pd_group_lead(struct pd_log *log);
/* Write the batch that found the disk full once more; there is one, and nobody is at it. */
void pd_group_retry(struct pd_log *log);
/* Why a call ends while a batch is held: -ENOSPC or the like where it should, 0 where it waits. */
int pd_group_refuses_full(struct pd_log *log);
/* PD_DONE once the filling batch can take a frame of this size, PD_FULL after a slice of waiting.
 */
int pd_group_make_room(struct pd_log *log, size_t frame_bytes);
/* Add frames; there is room.  -ENOMEM, and nothing is added, or 0. */
int pd_group_accept(struct pd_log *log, const void *data, size_t size, uint32_t count);
/* Write a batch that says how far the log is durable, and wait for it. */
int pd_group_mark(struct pd_log *log, uint32_t flags);
/* sync.c: force out what is written, once nobody else does and no rotation is under way. */
int pd_group_sync_written(struct pd_log *log);
/* The same at once: for the rotation itself, after it has drained the log. */
int pd_group_sync_now(struct pd_log *log);
/* Write a sealed batch through a lane; *done says how much of it, also after a failure. */
int pd_group_write(const struct pd_log *log, int fd, const struct pd_slot *slot, size_t *done);
int pd_group_usable(const struct pd_log *log);
void pd_log_poison(struct pd_log *log, const struct pd_error *error);
/* The same after a failed operation on the file. */
void pd_log_poison_file(struct pd_log *log, int rc, const char *op);
bool pd_log_is_durable_target(const struct pd_log *log);

/* log.c: begin and end a call on the log.  enter takes the mutex and returns 0, or returns the
 * reason why the log takes no calls, without the mutex. */
int pd_log_enter(struct pd_log *log);
void pd_log_leave(struct pd_log *log);
uint64_t pd_log_max_record(const struct pd_log *log);
/* The first half of pd_log_commit: PD_DONE once the records are accepted, without the wait. */
int pd_log_accept(struct pd_log *log, const void *data, size_t size, uint32_t count,
                  uint64_t ring_tail, struct pd_ticket *ticket);
/* The second half, for threads of the core, which go back to no interpreter. */
int pd_log_await(struct pd_log *log, const struct pd_ticket *ticket);
/* The last record, and the last batch that anything was accepted into; the mutex is held. */
struct pd_ticket pd_log_last_ticket(struct pd_log *log);

/* open.c: a log with nothing open, and its threads' part; give back everything but the struct,
 * which returns the first failure of a close. */
struct pd_log *pd_log_new(const struct pd_sink *sink, struct pd_error *error);
int pd_log_start_serving(struct pd_log *log, uint64_t max_pending_bytes, struct pd_error *error);
int pd_log_release(struct pd_log *log);
/* Sync the directory that holds path, so that path itself survives. */
int pd_log_sync_parent(const char *path);

/* file.c: open the path on each lane, and once more. */
int pd_file_open_all(struct pd_log *log, struct pd_segment_files *files, struct pd_error *error);

/* hold.c; the mutex is held in all of them. */
/* So many commits were sent home, by a flush that took so long. */
void pd_hold_begin(struct pd_log *log, uint32_t sent, uint64_t flush_ns);
/* A commit has joined the filling batch. */
void pd_hold_came_back(struct pd_log *log);
/* How much longer the filling batch is held; 0 if it is not. */
uint64_t pd_hold_lasts_ns(struct pd_log *log);
/* Somebody waits for more than a commit, or the batch has set out. */
void pd_hold_end(struct pd_log *log);
/* Of those who wait for a batch that is held, one sleeps no longer than that, to look after it
 * then; whether it is this one. */
bool pd_hold_watch(struct pd_log *log, uint64_t seq);
/* It sleeps no longer, and may go. */
void pd_hold_unwatch(struct pd_log *log, uint64_t seq);

/* wait.c; the mutex is held on entry, and on return unless it says otherwise. */
/* PD_DONE once batch seq is acknowledged, PD_WAITING after a slice.  No batch is held for it. */
int pd_group_wait(struct pd_log *log, uint64_t seq);
/* The same as the end of a call: leaves the log and lets go of the mutex.  Who goes back to an
 * interpreter takes a turn. */
int pd_group_wait_and_leave(struct pd_log *log, uint64_t seq, bool takes_turn);
/* Let so many who wait for a slot's batch look again; with or without the mutex. */
void pd_wait_wake(struct pd_slot *slot, uint32_t count);
/* Wake one who waits for a slot's batch, to lead it; without the mutex. */
void pd_wait_hand_over(struct pd_slot *slot);
/* Wake, sooner or later, all who waited for a batch that is acknowledged; without the mutex. */
void pd_wait_release(struct pd_slot *slot, uint32_t waiters);
/* Sleep until the slot's word changes or the time is over.  The mutex is not held on return. */
void pd_wait_sleep(struct pd_log *log, struct pd_slot *slot, uint64_t ns);

/* method.c: settle method, block size and shape, while nobody else knows the log yet.  remembered
 * is the header of its last segment, NULL for a new log. */
int pd_method_choose(struct pd_log *log, const struct pd_log_options *options,
                     const struct pd_segment_header *remembered, struct pd_error *error);

/* Write and sync from now on as the method and the target say; how files are opened for that. */
struct pd_io_method pd_method_use(struct pd_log *log);

/* rotate.c; the mutex is held on entry and on return. */
int pd_log_rotate(struct pd_log *log);
/* Activate the spare as the segment after prev and open it; the mutex is not needed because
 * rotating is set or nobody else knows the log yet. */
int pd_log_start_segment(struct pd_log *log, uint64_t serial, bool zeroed, struct pd_error *error);

/* keeper.c; the mutex is held in pd_keeper_wake and pd_keeper_notice_write alone. */
int pd_keeper_start(struct pd_log *log);
void pd_keeper_stop(struct pd_log *log);
void pd_keeper_wake(struct pd_log *log);
/* A batch was sealed: wake the keeper if that gives it something to do. */
void pd_keeper_notice_write(struct pd_log *log);

/* ring.c; the mutex is held in drain, settle and consume. */
/* Give a file that is to be mapped its space. */
int pd_ring_reserve(int fd, uint64_t bytes);
/* Map the file that is open as the ring. */
int pd_ring_map(struct pd_log *log, uint64_t chunk_bytes);
/* All before this position is in the file: remember it, and let chunks be used again. */
void pd_ring_consume(struct pd_log *log, uint64_t position);
/* The target is another file from now on. */
void pd_ring_move(struct pd_log *log);
/* Accept what the ring holds up to tail. */
int pd_ring_drain(struct pd_log *log, uint64_t tail);
/* A batch is in the file, or (NULL) perhaps nothing is on its way: move the head. */
void pd_ring_settle(struct pd_log *log, const struct pd_slot *landed);
/* Say in the ring what the slot's batch, which is about to be written, takes out of it. */
void pd_ring_note(struct pd_log *log, const struct pd_slot *slot);
/* Where in the ring's file that is. */
uint64_t pd_ring_note_place(const struct pd_log *log, const struct pd_slot *slot);
/* Nothing of that batch is in the file after all. */
void pd_ring_forget_note(struct pd_log *log, const struct pd_slot *slot);
void pd_ring_stop(struct pd_log *log);
/* Whether everything that was stored has reached the file. */
bool pd_ring_is_empty(const struct pd_log *log);
/* Give the file back; what is kept will be found as a dead process's. */
void pd_ring_release(struct pd_log *log, bool keep);
/* In a child of the owner: let go of it without a trace. */
void pd_ring_abandon(struct pd_log *log);

/* fork.c */
int pd_fork_register(struct pd_log *log);
void pd_fork_forget(struct pd_log *log);

#endif
