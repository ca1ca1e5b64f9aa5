/*
 * ring.h - the bytes of a ring: a file that outlives its process.
 *
 * Python stores appended records into it through a shared mapping, under the GIL, with one call
 * that makes no system call and gives the GIL to nobody.  What is in it when the process dies is
 * still there: the page cache keeps it.
 *
 *      0             chunk_bytes                    chunks * chunk_bytes
 *      +-------------+-------------+-- - - --+-------------+
 *      | chunk 0     | chunk 1     |         | header page |
 *      +-------------+-------------+-- - - --+-------------+
 *
 *   frame: u32 length, u32 Adler-32 of the data with the ring's salt as its start, data.
 *   Eight zero bytes, or the end of the chunk, end the frames of a chunk; what was consumed is
 *   zeroed before it is used again.  So a frame that a kill left half stored ends the walk.
 *
 * A position counts bytes since the ring began, whole chunks for those that are full: position p
 * lies in chunk (p / chunk_bytes) % chunks.  Chunks are used in turn; the n-th use of any chunk is
 * called activation n.
 */
#ifndef PD_RING_H
#define PD_RING_H

#include <stdint.h>

enum {
    PD_RING_PAGE = 4096,
    PD_RING_FRAME_BYTES = 8,
    PD_RING_CHUNKS = 4,
    PD_RING_NOTES = 4,
    PD_RING_PATH_BYTES = 2048,
    PD_RING_VERSION = 1
};

/* What a batch says of itself before it is written. */
struct pd_ring_note {
    uint64_t last_lsn; /* a log's: of its last record; 0 while the note is being made */
    uint64_t ring_end; /* the ring is consumed up to here once the batch is in the file */
    uint64_t offset;   /* a plain file's: where the batch begins, and how long it is; */
    uint64_t size;     /* 0 while the note is being made */
    uint32_t crc;      /* CRC32C of the batch */
    uint32_t zero;
};

/* In the byte order of the machine: a ring never leaves it. */
struct pd_ring_page {
    uint64_t magic;
    uint32_t version;
    uint32_t chunks;
    uint64_t chunk_bytes;
    uint32_t salt;
    uint32_t kind; /* PD_RING_OF_* */
    uint8_t boot[16];
    uint64_t pid;
    uint64_t device; /* of the target, or of the log's directory */
    uint64_t inode;
    uint8_t uuid[16]; /* of a log */
    uint64_t born;    /* when the target was made, for inodes are used again; 0 if unknown */
    uint64_t stop;    /* nonzero once append has to ask why it may not */
    uint64_t head;    /* the position up to which everything is in the file */
    uint64_t cleared; /* activations below it may be used: their chunks are zeroed */
    struct pd_ring_note notes[PD_RING_NOTES];
    char path[PD_RING_PATH_BYTES]; /* of the target, absolute */
};

enum { PD_RING_OF_LOG = 1, PD_RING_OF_FILE = 2 };

static const uint64_t pd_ring_magic = 0x31474e4952445550u; /* "PUDRING1" */

#endif
