/* test_batch.c - headers come back as they were put, and nothing else passes for one. */
#include "batch.h"
#include "check.h"

#include <string.h>

static struct pd_segment_header segment_example(void)
{
    struct pd_segment_header header = {
        .version = PD_FORMAT_VERSION,
        .block_bytes = 512,
        .flags = 4 | PD_SEGMENT_PREZERO,
        .number = 0x0102030405060708u,
        .base_lsn = 0x1112131415161718u,
        .salt = 0x2122232425262728u,
        .size = 64u << 20,
        .prev_number = 0x0102030405060707u,
        .prev_end_lsn = 0x1112131415161717u,
        .prev_end_offset = 0x4142434445464748u,
        .prev_checksum = 0x51525354u,
        .oldest_lsn = 0x0162636465666768u,
        .durable_lsn = 0x7172737475767778u,
    };
    for (int i = 0; i < 16; i++)
        header.uuid[i] = (uint8_t)(0xa0 + i);
    return header;
}

static struct pd_batch_header batch_example(void)
{
    return (struct pd_batch_header){
        .salt = 0x2122232425262728u,
        .first_lsn = 1000,
        .durable_lsn = 998,
        .oldest_lsn = 17,
        .payload_bytes = 0x01020304u,
        .count = 5,
        .payload_crc = 0x31323334u,
        .prev_checksum = 0x41424344u,
        .flags = PD_BATCH_WATERMARK | PD_BATCH_CLOSE,
    };
}

static void segment_round_trip(void)
{
    const struct pd_segment_header in = segment_example();
    struct pd_segment_header out;
    memset(&out, 0x5a, sizeof out);
    uint8_t bytes[PD_HEADER_BYTES];
    memset(bytes, 0xff, sizeof bytes);
    pd_segment_encode(&in, bytes);
    CHECK_EQUAL(pd_segment_decode(bytes, &out), PD_HEADER_VALID);
    CHECK_EQUAL(out.version, in.version);
    CHECK_EQUAL(out.block_bytes, in.block_bytes);
    CHECK_EQUAL(out.flags, in.flags);
    CHECK(memcmp(out.uuid, in.uuid, sizeof in.uuid) == 0);
    CHECK_EQUAL(out.number, in.number);
    CHECK_EQUAL(out.base_lsn, in.base_lsn);
    CHECK_EQUAL(out.salt, in.salt);
    CHECK_EQUAL(out.size, in.size);
    CHECK_EQUAL(out.prev_number, in.prev_number);
    CHECK_EQUAL(out.prev_end_lsn, in.prev_end_lsn);
    CHECK_EQUAL(out.prev_end_offset, in.prev_end_offset);
    CHECK_EQUAL(out.prev_checksum, in.prev_checksum);
    CHECK_EQUAL(out.oldest_lsn, in.oldest_lsn);
    CHECK_EQUAL(out.durable_lsn, in.durable_lsn);
}

/* The offsets are those of the drawing in batch.h: another program reads by them. */
static void fields_lie_where_drawn(void)
{
    const struct pd_segment_header segment = segment_example();
    uint8_t bytes[PD_HEADER_BYTES];
    pd_segment_encode(&segment, bytes);
    CHECK(memcmp(bytes, "PDURSEG1", 8) == 0);
    CHECK_EQUAL(pd_get32(bytes + 8), segment.version);
    CHECK_EQUAL(pd_get32(bytes + 16), segment.block_bytes);
    CHECK_EQUAL(pd_get64(bytes + 40), segment.number);
    CHECK_EQUAL(pd_get64(bytes + 64), segment.size);
    CHECK_EQUAL(pd_get32(bytes + 96), segment.prev_checksum);
    CHECK_EQUAL(pd_get64(bytes + 112), segment.durable_lsn);
    struct pd_batch_header batch = batch_example();
    uint8_t head[PD_BATCH_BYTES];
    pd_batch_encode(&batch, 8192, head);
    CHECK(memcmp(head, "PDB1", 4) == 0);
    CHECK_EQUAL(pd_get32(head + 4), batch.checksum);
    CHECK_EQUAL(pd_get64(head + 16), batch.first_lsn);
    CHECK_EQUAL(pd_get32(head + 40), batch.payload_bytes);
    CHECK_EQUAL(pd_get32(head + 56), batch.flags);
    CHECK_EQUAL(pd_get32(head + 60), 0);
    CHECK_EQUAL(head[40], 0x04); /* little-endian */
}

static void segment_flips(void)
{
    const struct pd_segment_header in = segment_example();
    uint8_t bytes[PD_HEADER_BYTES];
    pd_segment_encode(&in, bytes);
    struct pd_segment_header out;
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK_EQUAL(pd_segment_decode(bytes, &out), PD_HEADER_INVALID);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void newer_version(void)
{
    struct pd_segment_header header = segment_example();
    header.version = PD_FORMAT_VERSION + 1;
    uint8_t bytes[PD_HEADER_BYTES];
    pd_segment_encode(&header, bytes);
    CHECK_EQUAL(pd_segment_decode(bytes, &header), PD_HEADER_NEWER);
}

static int verdict_on(struct pd_segment_header header)
{
    uint8_t bytes[PD_HEADER_BYTES];
    pd_segment_encode(&header, bytes);
    return (int)pd_segment_decode(bytes, &header);
}

static void insane_segments(void)
{
    static const uint32_t blocks[] = {0, 1, 4, 7, 12, 8192, 0x80000000u};
    struct pd_segment_header header;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        header = segment_example();
        header.block_bytes = blocks[i];
        CHECK_EQUAL(verdict_on(header), PD_HEADER_INVALID);
    }
    header = segment_example();
    header.number = 0;
    CHECK_EQUAL(verdict_on(header), PD_HEADER_INVALID);
    header = segment_example();
    header.base_lsn = 0;
    CHECK_EQUAL(verdict_on(header), PD_HEADER_INVALID);
    header = segment_example();
    header.prev_end_lsn++;
    CHECK_EQUAL(verdict_on(header), PD_HEADER_INVALID);
    header = segment_example();
    header.oldest_lsn = header.base_lsn + 1; /* nothing can be kept from there on yet */
    CHECK_EQUAL(verdict_on(header), PD_HEADER_INVALID);
    header = segment_example();
    header.size = PD_DATA_OFFSET;
    CHECK_EQUAL(verdict_on(header), PD_HEADER_INVALID);
    header = segment_example();
    header.prev_number = header.number;
    CHECK_EQUAL(verdict_on(header), PD_HEADER_INVALID);
}

static void batch_round_trip(void)
{
    struct pd_batch_header in = batch_example(), out;
    uint8_t bytes[PD_BATCH_BYTES];
    const uint32_t checksum = pd_batch_encode(&in, 12288, bytes);
    CHECK(pd_batch_begins(bytes));
    CHECK(pd_batch_decode(bytes, in.salt, 12288, &out));
    CHECK_EQUAL(out.checksum, checksum);
    CHECK_EQUAL(in.checksum, checksum);
    CHECK_EQUAL(out.salt, in.salt);
    CHECK_EQUAL(out.first_lsn, in.first_lsn);
    CHECK_EQUAL(out.durable_lsn, in.durable_lsn);
    CHECK_EQUAL(out.oldest_lsn, in.oldest_lsn);
    CHECK_EQUAL(out.payload_bytes, in.payload_bytes);
    CHECK_EQUAL(out.count, in.count);
    CHECK_EQUAL(out.payload_crc, in.payload_crc);
    CHECK_EQUAL(out.prev_checksum, in.prev_checksum);
    CHECK_EQUAL(out.flags, in.flags);
}

static void batch_elsewhere(void)
{
    struct pd_batch_header header = batch_example();
    const uint64_t salt = header.salt;
    uint8_t bytes[PD_BATCH_BYTES];
    pd_batch_encode(&header, 8192, bytes);
    CHECK(pd_batch_decode(bytes, salt, 8192, &header));
    CHECK(!pd_batch_decode(bytes, salt, 8200, &header));
    CHECK(!pd_batch_decode(bytes, salt + 1, 8192, &header));
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(!pd_batch_decode(bytes, salt, 8192, &header));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static bool decodes(struct pd_batch_header header)
{
    uint8_t bytes[PD_BATCH_BYTES];
    pd_batch_encode(&header, 8192, bytes);
    return pd_batch_decode(bytes, header.salt, 8192, &header);
}

static void insane_batches(void)
{
    struct pd_batch_header header = batch_example();
    header.durable_lsn = header.first_lsn; /* no batch is durable before it is written */
    CHECK(!decodes(header));
    header = batch_example();
    header.first_lsn = header.durable_lsn = 0;
    CHECK(!decodes(header));
    header = batch_example();
    header.oldest_lsn = header.first_lsn + header.count;
    CHECK(decodes(header));
    header.oldest_lsn++;
    CHECK(!decodes(header));
    header = batch_example();
    header.first_lsn = UINT64_MAX - 1; /* its last LSN would overflow */
    CHECK(!decodes(header));
}

static void frames(void)
{
    uint8_t bytes[32] = {0};
    pd_put32(bytes, 3);
    memcpy(bytes + 4, "abc", 3);
    pd_put32(bytes + 7, 0);
    pd_put32(bytes + 11, 5);
    memcpy(bytes + 15, "defgh", 5);
    CHECK(pd_frames_valid(bytes, 20, 3));
    CHECK(pd_frames_valid(bytes, 0, 0));
    CHECK(!pd_frames_valid(bytes, 20, 2));
    CHECK(!pd_frames_valid(bytes, 20, 4));
    CHECK(!pd_frames_valid(bytes, 21, 3));
    CHECK(!pd_frames_valid(bytes, 20, UINT32_MAX));
    for (size_t size = 0; size < 20; size++)
        CHECK(!pd_frames_valid(bytes, size, 3));
    pd_put32(bytes + 11, UINT32_MAX);
    CHECK(!pd_frames_valid(bytes, 20, 3));
}

static void alignment(void)
{
    for (uint64_t block = 1; block <= 4096; block *= 2)
        for (uint64_t value = 0; value < 10000; value += 37) {
            const uint64_t up = pd_align_up(value, block);
            CHECK(up >= value && up - value < block && up % block == 0);
        }
}

const struct test batch_tests[] = {
    {"a segment header comes back as it was put", segment_round_trip},
    {"fields lie where batch.h draws them, little-endian", fields_lie_where_drawn},
    {"any flipped bit of a segment header is noticed", segment_flips},
    {"a newer version is told from damage", newer_version},
    {"a segment header that makes no sense is invalid in spite of its checksum", insane_segments},
    {"a batch header comes back as it was put", batch_round_trip},
    {"a batch counts only at its offset, under its salt and unchanged", batch_elsewhere},
    {"a batch header that makes no sense is invalid in spite of its checksum", insane_batches},
    {"frames are valid only if they fill the payload exactly", frames},
    {"aligning goes up to the next multiple and no further", alignment},
    {NULL, NULL},
};
