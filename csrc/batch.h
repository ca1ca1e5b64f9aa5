/*
 * batch.h - the bytes on disk.  Pure encoding and decoding: no system call, no state.
 *
 * Everything is little-endian and all padding is zero.  A segment is a file of fixed size:
 *
 *      0          4096        8192
 *      +----------+-----------+---------+---------+---------+------------------
 *      | header   | header    | batch   | batch   | batch   | zeros, or stale
 *      |          | (again)   |         |         |         | batches of another salt
 *      +----------+-----------+---------+---------+---------+------------------
 *
 *   segment header, 128 bytes, the same in both places
 *        0  u64  magic "PDURSEG1"
 *        8  u32  version
 *       12  u32  CRC-32C of these 128 bytes with this field zero
 *       16  u32  block size: batches begin and end on its multiples
 *       20  u32  flags: bits 0-7 method, bit 8 writing zeros ahead pays here, bits 16-23 the
 *                method that was measured to be the fastest, 0 if none was
 *       24  u8x16 uuid of the log
 *       40  u64  number of the segment
 *       48  u64  base LSN: that of its first record
 *       56  u64  salt, random for each activation
 *       64  u64  size of the file
 *       72  u64  number of the previous segment, 0 if there is none
 *       80  u64  LSN of the last record of the previous segment (always base - 1)
 *       88  u64  offset at which the previous segment's batches end
 *       96  u32  checksum of the previous segment's last batch
 *      100  u32  zero
 *      104  u64  oldest LSN still kept
 *      112  u64  LSN up to which the log was durable
 *      120  u64  zero
 *
 *   batch: 64 bytes of header, then records, then zeros up to the block size
 *        0  u32  magic "PDB1"
 *        4  u32  checksum: CRC-32C of these 64 bytes with this field zero, and then of the
 *                batch's offset in the file as u64, so that a batch counts only where it was put
 *        8  u64  salt of the segment
 *       16  u64  LSN of its first record (of the next one, if it has none)
 *       24  u64  durable LSN when this batch was sealed
 *       32  u64  oldest LSN still kept
 *       40  u32  payload bytes
 *       44  u32  record count
 *       48  u32  CRC-32C of the payload
 *       52  u32  checksum of the previous batch
 *       56  u32  flags: 1 WATERMARK, 2 CLOSE
 *       60  u32  zero
 *
 *   record: u32 length, then that many bytes; no padding between records
 */
#ifndef PD_BATCH_H
#define PD_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PD_FORMAT_VERSION = 1,
    PD_HEADER_BYTES = 128,
    PD_HEADER_PLACE = 4096, /* each copy has a page of its own */
    PD_DATA_OFFSET = 8192,
    PD_BATCH_BYTES = 64,
    PD_FRAME_BYTES = 4,
    PD_BLOCK_MIN = 8,
    PD_BLOCK_MAX = 4096
};

enum { PD_SEGMENT_METHOD_MASK = 0xff, PD_SEGMENT_PREZERO = 0x100, PD_SEGMENT_MEASURED_SHIFT = 16 };
enum { PD_BATCH_WATERMARK = 1, PD_BATCH_CLOSE = 2 };

struct pd_segment_header {
    uint32_t version;
    uint32_t block_bytes;
    uint32_t flags;
    uint8_t uuid[16];
    uint64_t number;
    uint64_t base_lsn;
    uint64_t salt;
    uint64_t size;
    uint64_t prev_number;
    uint64_t prev_end_lsn;
    uint64_t prev_end_offset;
    uint32_t prev_checksum;
    uint64_t oldest_lsn;
    uint64_t durable_lsn;
};

struct pd_batch_header {
    uint32_t checksum;
    uint64_t salt;
    uint64_t first_lsn;
    uint64_t durable_lsn;
    uint64_t oldest_lsn;
    uint32_t payload_bytes;
    uint32_t count;
    uint32_t payload_crc;
    uint32_t prev_checksum;
    uint32_t flags;
};

enum pd_header_verdict { PD_HEADER_VALID, PD_HEADER_INVALID, PD_HEADER_NEWER };

void pd_segment_encode(const struct pd_segment_header *header, uint8_t out[PD_HEADER_BYTES]);
enum pd_header_verdict pd_segment_decode(const uint8_t in[PD_HEADER_BYTES],
                                         struct pd_segment_header *header);

/* Encode and return the checksum, which is also stored in the header. */
uint32_t pd_batch_encode(struct pd_batch_header *header, uint64_t offset,
                         uint8_t out[PD_BATCH_BYTES]);
/* Whether these are the bytes of a batch header of this segment at this offset. */
bool pd_batch_decode(const uint8_t in[PD_BATCH_BYTES], uint64_t salt, uint64_t offset,
                     struct pd_batch_header *header);
/* Whether size bytes are exactly count records, each with its length. */
bool pd_frames_valid(const uint8_t *frames, size_t size, uint32_t count);

/* Little-endian, whatever the machine is: compilers turn these into single moves. */
static inline void pd_put32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static inline uint32_t pd_get32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static inline void pd_put64(uint8_t *out, uint64_t value)
{
    pd_put32(out, (uint32_t)value);
    pd_put32(out + 4, (uint32_t)(value >> 32));
}

static inline uint64_t pd_get64(const uint8_t *in)
{
    return pd_get32(in) | (uint64_t)pd_get32(in + 4) << 32;
}

static const uint32_t pd_batch_magic = 0x31424450u; /* "PDB1" */

/* Whether a batch may begin here: cheap, for scans that ask it of every block. */
static inline bool pd_batch_begins(const uint8_t *in)
{
    return pd_get32(in) == pd_batch_magic;
}

/* Round up to a multiple of block, which is a power of two. */
uint64_t pd_align_up(uint64_t value, uint64_t block);

#endif
