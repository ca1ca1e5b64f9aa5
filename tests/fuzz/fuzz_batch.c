/*
 * fuzz_batch.c - decoding of batch headers, segment headers and records, from any bytes.
 *
 * The first byte says whether checksums are made right first; the next eight are the offset.
 */
#include "fuzz.h"

#include "batch.h"
#include "pydurable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char fuzz_verdict[FUZZ_VERDICT_BYTES];
volatile uint32_t fuzz_sink;

enum { BEFORE = 9 };

static bool batch(const uint8_t *data, uint64_t offset, bool right)
{
    uint8_t in[PD_BATCH_BYTES], place[8], again[PD_BATCH_BYTES];
    memcpy(in, data, sizeof in);
    if (right) {
        pd_put32(in, pd_batch_magic);
        pd_put64(place, offset);
        pd_put32(in + 4, 0);
        pd_put32(in + 4, pd_crc32c(pd_crc32c(0, in, sizeof in), place, sizeof place));
    }
    struct pd_batch_header header;
    const bool valid = pd_batch_decode(in, pd_get64(in + 8), offset, &header);
    if (!valid)
        return false;
    REQUIRE(header.first_lsn > 0 && header.durable_lsn < header.first_lsn);
    REQUIRE(!pd_batch_decode(in, header.salt + 1, offset, &header));
    REQUIRE(!pd_batch_decode(in, header.salt, offset + 1, &header));
    const uint32_t checksum = header.checksum;
    if (pd_get32(in + 60) == 0) {
        REQUIRE(pd_batch_encode(&header, offset, again) == checksum);
        REQUIRE(memcmp(in, again, sizeof in) == 0);
    }
    return true;
}

static bool segment(const uint8_t *data, bool right)
{
    uint8_t in[PD_HEADER_BYTES], again[PD_HEADER_BYTES];
    memcpy(in, data, sizeof in);
    if (right) {
        memcpy(in, "PDURSEG1", 8);
        pd_put32(in + 12, 0);
        pd_put32(in + 12, pd_crc32c(0, in, sizeof in));
    }
    struct pd_segment_header header;
    if (pd_segment_decode(in, &header) != PD_HEADER_VALID)
        return false;
    REQUIRE(header.size > PD_DATA_OFFSET && header.number > header.prev_number);
    REQUIRE(header.block_bytes >= PD_BLOCK_MIN && header.block_bytes <= PD_BLOCK_MAX);
    if (pd_get32(in + 100) == 0 && pd_get64(in + 120) == 0) {
        pd_segment_encode(&header, again);
        REQUIRE(memcmp(in, again, sizeof in) == 0);
    }
    return true;
}

/* The records that the lengths in the payload describe, walked in the plainest way. */
static bool frames_plainly(const uint8_t *data, size_t size, uint32_t count)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (at + 4 > size)
            return false;
        at += 4 + (uint64_t)(data[at] + 256u * data[at + 1] + 65536u * data[at + 2] +
                             16777216u * data[at + 3]);
        if (at > size)
            return false;
    }
    return at == size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    snprintf(fuzz_verdict, sizeof fuzz_verdict, "short");
    if (size < BEFORE + PD_HEADER_BYTES)
        return 0;
    const uint64_t offset = pd_get64(data + 1);
    const uint8_t *bytes = data + BEFORE;
    const bool right = (data[0] & 1) != 0;
    const bool is_batch = batch(bytes, offset, right), is_segment = segment(bytes, right);
    const uint32_t count = data[0] >> 1;
    /* At the end of an allocation of exactly that size, for the sanitizer. */
    const size_t rest = size - BEFORE;
    uint8_t *copy = malloc(rest);
    REQUIRE(copy != NULL);
    memcpy(copy, bytes, rest);
    const bool frames = pd_frames_valid(copy, rest, count);
    REQUIRE(frames == frames_plainly(copy, rest, count));
    free(copy);
    snprintf(fuzz_verdict, sizeof fuzz_verdict, "batch %d segment %d frames %d", is_batch,
             is_segment, frames);
    return 0;
}
