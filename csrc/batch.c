/* batch.c - encode and decode what batch.h draws. */
#include "batch.h"

#include "pydurable.h"

#include <assert.h>
#include <string.h>

static const uint64_t segment_magic = 0x3147455352554450u; /* "PDURSEG1" */

uint64_t pd_align_up(uint64_t value, uint64_t block)
{
    assert(block && (block & (block - 1)) == 0);
    return (value + block - 1) & ~(block - 1);
}

/* The CRC of a header whose checksum field, at the given place, counts as zero. */
static uint32_t header_crc(const uint8_t *in, size_t size, size_t field)
{
    static const uint8_t zero[4];
    uint32_t crc = pd_crc32c(0, in, field);
    crc = pd_crc32c(crc, zero, sizeof zero);
    return pd_crc32c(crc, in + field + 4, size - field - 4);
}

void pd_segment_encode(const struct pd_segment_header *header, uint8_t out[PD_HEADER_BYTES])
{
    memset(out, 0, PD_HEADER_BYTES);
    pd_put64(out, segment_magic);
    pd_put32(out + 8, header->version);
    pd_put32(out + 16, header->block_bytes);
    pd_put32(out + 20, header->flags);
    memcpy(out + 24, header->uuid, 16);
    pd_put64(out + 40, header->number);
    pd_put64(out + 48, header->base_lsn);
    pd_put64(out + 56, header->salt);
    pd_put64(out + 64, header->size);
    pd_put64(out + 72, header->prev_number);
    pd_put64(out + 80, header->prev_end_lsn);
    pd_put64(out + 88, header->prev_end_offset);
    pd_put32(out + 96, header->prev_checksum);
    pd_put64(out + 104, header->oldest_lsn);
    pd_put64(out + 112, header->durable_lsn);
    pd_put32(out + 12, header_crc(out, PD_HEADER_BYTES, 12));
}

/* What no writer of this version produces, however right the checksum is. */
static bool segment_sane(const struct pd_segment_header *header)
{
    uint32_t block = header->block_bytes;
    return block >= PD_BLOCK_MIN && block <= PD_BLOCK_MAX && (block & (block - 1)) == 0 &&
           header->number > 0 && header->base_lsn > 0 &&
           header->prev_end_lsn == header->base_lsn - 1 && header->oldest_lsn <= header->base_lsn &&
           header->size > PD_DATA_OFFSET && header->size <= UINT32_MAX &&
           header->prev_number < header->number;
}

enum pd_header_verdict pd_segment_decode(const uint8_t in[PD_HEADER_BYTES],
                                         struct pd_segment_header *header)
{
    if (pd_get64(in) != segment_magic || pd_get32(in + 12) != header_crc(in, PD_HEADER_BYTES, 12))
        return PD_HEADER_INVALID;
    header->version = pd_get32(in + 8);
    if (header->version > PD_FORMAT_VERSION)
        return PD_HEADER_NEWER;
    header->block_bytes = pd_get32(in + 16);
    header->flags = pd_get32(in + 20);
    memcpy(header->uuid, in + 24, 16);
    header->number = pd_get64(in + 40);
    header->base_lsn = pd_get64(in + 48);
    header->salt = pd_get64(in + 56);
    header->size = pd_get64(in + 64);
    header->prev_number = pd_get64(in + 72);
    header->prev_end_lsn = pd_get64(in + 80);
    header->prev_end_offset = pd_get64(in + 88);
    header->prev_checksum = pd_get32(in + 96);
    header->oldest_lsn = pd_get64(in + 104);
    header->durable_lsn = pd_get64(in + 112);
    return segment_sane(header) ? PD_HEADER_VALID : PD_HEADER_INVALID;
}

static uint32_t batch_checksum(const uint8_t in[PD_BATCH_BYTES], uint64_t offset)
{
    uint8_t place[8];
    pd_put64(place, offset);
    return pd_crc32c(header_crc(in, PD_BATCH_BYTES, 4), place, sizeof place);
}

uint32_t pd_batch_encode(struct pd_batch_header *header, uint64_t offset,
                         uint8_t out[PD_BATCH_BYTES])
{
    memset(out, 0, PD_BATCH_BYTES);
    pd_put32(out, pd_batch_magic);
    pd_put64(out + 8, header->salt);
    pd_put64(out + 16, header->first_lsn);
    pd_put64(out + 24, header->durable_lsn);
    pd_put64(out + 32, header->oldest_lsn);
    pd_put32(out + 40, header->payload_bytes);
    pd_put32(out + 44, header->count);
    pd_put32(out + 48, header->payload_crc);
    pd_put32(out + 52, header->prev_checksum);
    pd_put32(out + 56, header->flags);
    header->checksum = batch_checksum(out, offset);
    pd_put32(out + 4, header->checksum);
    return header->checksum;
}

bool pd_batch_decode(const uint8_t in[PD_BATCH_BYTES], uint64_t salt, uint64_t offset,
                     struct pd_batch_header *header)
{
    if (!pd_batch_begins(in) || pd_get64(in + 8) != salt)
        return false;
    header->checksum = pd_get32(in + 4);
    if (header->checksum != batch_checksum(in, offset))
        return false;
    header->salt = salt;
    header->first_lsn = pd_get64(in + 16);
    header->durable_lsn = pd_get64(in + 24);
    header->oldest_lsn = pd_get64(in + 32);
    header->payload_bytes = pd_get32(in + 40);
    header->count = pd_get32(in + 44);
    header->payload_crc = pd_get32(in + 48);
    header->prev_checksum = pd_get32(in + 52);
    header->flags = pd_get32(in + 56);
    return header->first_lsn > 0 && header->durable_lsn < header->first_lsn &&
           header->first_lsn <= UINT64_MAX - header->count &&
           header->oldest_lsn <= header->first_lsn + header->count;
}

bool pd_frames_valid(const uint8_t *frames, size_t size, uint32_t count)
{
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (size - at < PD_FRAME_BYTES)
            return false;
        size_t length = pd_get32(frames + at);
        at += PD_FRAME_BYTES;
        if (size - at < length)
            return false;
        at += length;
    }
    return at == size;
}
