/* program.c - run the steps that program.h lists. */
#include "program.h"

#include "batch.h"
#include "memory_disk.h"
#include "pydurable.h"
#include "segment.h"

#include <string.h>

enum { STEPS_MAX = 96, BATCHES_MAX = 48, SEGMENTS_MAX = 8, BLOCK = 64, SIZE_MOST = 24576 };

struct input {
    const uint8_t *bytes;
    size_t size, at;
};

/* The writer: the segment it is in, and where the batches of each segment begin. */
static struct writer {
    struct program *program;
    struct pd_segment_header header;
    struct memory_file *file;
    uint64_t offset, next_lsn, oldest_lsn;
    uint32_t chain;
    uint64_t starts[SEGMENTS_MAX + 1][BATCHES_MAX];
    uint32_t batches[SEGMENTS_MAX + 1];
} writer;

static uint64_t take(struct input *in, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= in->at < in->size ? (uint64_t)in->bytes[in->at++] << 8 * i : 0;
    return value;
}

uint8_t program_byte(uint64_t lsn, size_t at)
{
    return (uint8_t)(lsn * 131 + at * 7 + 1);
}

static struct memory_file *segment(uint64_t number)
{
    char name[PD_NAME_BYTES];
    pd_segment_name(number, name);
    return memory_disk_find(name);
}

static void begin_segment(uint64_t size)
{
    struct pd_segment_header *header = &writer.header;
    if (header->number == SEGMENTS_MAX)
        return;
    *header = (struct pd_segment_header){
        .version = PD_FORMAT_VERSION,
        .block_bytes = BLOCK,
        .flags = PD_METHOD_FDATASYNC,
        .uuid = {1, 2, 3, 4},
        .number = header->number + 1,
        .base_lsn = writer.next_lsn,
        .salt = 0x1122334455667788u + header->number,
        .size = PD_DATA_OFFSET + BLOCK * (4 + size % 252),
        .prev_number = header->number,
        .prev_end_lsn = writer.next_lsn - 1,
        .prev_end_offset = header->number ? writer.offset : 0,
        .prev_checksum = writer.chain,
        .oldest_lsn = writer.oldest_lsn,
        .durable_lsn = writer.next_lsn - 1,
    };
    char name[PD_NAME_BYTES];
    pd_segment_name(header->number, name);
    writer.file = memory_disk_make(name, header->size);
    pd_segment_encode(header, writer.file->data);
    memcpy(writer.file->data + PD_HEADER_PLACE, writer.file->data, PD_HEADER_BYTES);
    writer.offset = PD_DATA_OFFSET;
}

static void append(uint32_t records, uint32_t bytes, uint64_t lag, uint32_t flags)
{
    const size_t payload = records * (PD_FRAME_BYTES + (size_t)bytes);
    const size_t size = (size_t)pd_align_up(PD_BATCH_BYTES + payload, BLOCK);
    struct program *program = writer.program;
    const uint64_t number = writer.header.number;
    if (writer.offset + size > writer.header.size || writer.batches[number] == BATCHES_MAX ||
        writer.next_lsn + records >= PROGRAM_RECORDS_MAX)
        return;
    uint8_t *at = writer.file->data + writer.offset, *frame = at + PD_BATCH_BYTES;
    for (uint32_t i = 0; i < records; i++) {
        const uint64_t lsn = writer.next_lsn + i;
        pd_put32(frame, bytes);
        frame += PD_FRAME_BYTES;
        for (size_t place = 0; place < bytes; place++)
            *frame++ = program_byte(lsn, place);
        program->sizes[lsn] = (uint16_t)bytes;
    }
    const uint64_t before = writer.next_lsn - 1;
    struct pd_batch_header header = {
        .salt = writer.header.salt,
        .first_lsn = writer.next_lsn,
        .durable_lsn = lag < before ? before - lag : 0,
        .oldest_lsn = writer.oldest_lsn,
        .payload_bytes = (uint32_t)payload,
        .count = records,
        .payload_crc = pd_crc32c(0, at + PD_BATCH_BYTES, payload),
        .prev_checksum = writer.chain,
        .flags = flags,
    };
    writer.chain = pd_batch_encode(&header, writer.offset, at);
    writer.starts[number][writer.batches[number]++] = writer.offset;
    writer.offset += size;
    writer.next_lsn += records;
    program->written = writer.next_lsn - 1;
}

/* The part of a file that a step means; NULL if there is no such file or part. */
static uint8_t *part(uint64_t number, uint64_t offset, uint64_t *length)
{
    struct memory_file *file = segment(number);
    if (!file || offset >= file->size)
        return NULL;
    if (*length > file->size - offset)
        *length = file->size - offset;
    return file->data + offset;
}

static void flip(struct input *in)
{
    const uint64_t number = take(in, 1), offset = take(in, 2), mask = take(in, 1);
    uint64_t one = 1;
    uint8_t *at = part(number, offset, &one);
    if (at)
        *at ^= (uint8_t)mask;
}

static void zero(struct input *in)
{
    const uint64_t number = take(in, 1), offset = take(in, 2);
    uint64_t length = take(in, 2);
    uint8_t *at = part(number, offset, &length);
    if (at)
        memset(at, 0, length);
}

static void copy(struct input *in)
{
    const uint64_t from = take(in, 1), from_offset = take(in, 2), to = take(in, 1);
    const uint64_t to_offset = take(in, 2);
    uint64_t length = take(in, 2);
    uint8_t *source = part(from, from_offset, &length), *target = part(to, to_offset, &length);
    if (source && target)
        memmove(target, source, length);
}

static void change_size(struct input *in)
{
    struct memory_file *file = segment(take(in, 1));
    const uint64_t size = take(in, 2);
    if (file && size <= SIZE_MOST)
        memory_disk_resize(file, size);
}

static void delete(struct input *in)
{
    struct memory_file *file = segment(take(in, 1));
    if (file)
        file->name[0] = '\0';
}

static void rename_segment(struct input *in, bool keep)
{
    struct memory_file *file = segment(take(in, 1));
    const uint64_t number = take(in, 1);
    if (!file || number == 0 || segment(number) == file)
        return;
    char name[PD_NAME_BYTES];
    pd_segment_name(number, name);
    if (segment(number))
        segment(number)->name[0] = '\0';
    if (keep) {
        struct memory_file *twin = memory_disk_make(name, file->size);
        if (twin)
            memcpy(twin->data, file->data, file->size);
    } else {
        strcpy(file->name, name);
    }
}

static void write_bytes(struct input *in)
{
    const uint64_t number = take(in, 1), offset = take(in, 2);
    uint64_t length = take(in, 1);
    uint8_t *at = part(number, offset, &length);
    for (uint64_t i = 0; at && i < length; i++)
        at[i] = (uint8_t)take(in, 1);
}

/* Where a batch of a segment begins, NULL if it does not lie in the file as a whole. */
static uint8_t *batch_at(struct input *in, uint64_t *offset)
{
    const uint64_t number = take(in, 1) % (SEGMENTS_MAX + 1), index = take(in, 1);
    if (!writer.batches[number])
        return NULL;
    *offset = writer.starts[number][index % writer.batches[number]];
    uint64_t length = PD_BATCH_BYTES;
    uint8_t *at = part(number, *offset, &length);
    return length == PD_BATCH_BYTES ? at : NULL;
}

/* Values that lie near some bound, or anything. */
static uint64_t forged_value(struct input *in)
{
    const uint64_t raw = take(in, 4);
    switch (raw & 3) {
    case 0:
        return raw >> 2;
    case 1:
        return UINT64_MAX - (raw >> 2);
    case 2:
        return UINT32_MAX - (raw >> 2);
    default:
        return (uint64_t)1 << (raw >> 2 & 63);
    }
}

static void seal_batch(uint8_t *at, uint64_t offset)
{
    uint8_t place[8];
    pd_put64(place, offset);
    pd_put32(at + 4, 0);
    pd_put32(at + 4, pd_crc32c(pd_crc32c(0, at, PD_BATCH_BYTES), place, sizeof place));
}

static void forge_batch(struct input *in)
{
    static const uint8_t fields[] = {16, 24, 32, 40, 44, 48, 52, 56, 60, 8};
    uint64_t offset;
    uint8_t *at = batch_at(in, &offset);
    const uint8_t field = fields[take(in, 1) % sizeof fields];
    const uint64_t value = forged_value(in);
    if (!at)
        return;
    if (field >= 40)
        pd_put32(at + field, (uint32_t)value);
    else
        pd_put64(at + field, value);
    seal_batch(at, offset);
}

static void forge_header(struct input *in)
{
    static const uint8_t fields[] = {40, 48, 56, 64, 72, 80, 88, 104, 112, 120, 24, 8, 16, 20, 96};
    const uint64_t number = take(in, 1);
    const uint8_t field = fields[take(in, 1) % sizeof fields];
    const uint64_t value = forged_value(in);
    uint64_t length = PD_HEADER_PLACE + PD_HEADER_BYTES;
    uint8_t *at = part(number, 0, &length);
    if (!at || length < PD_HEADER_PLACE + PD_HEADER_BYTES)
        return;
    if (field == 8 || field == 16 || field == 20 || field == 96)
        pd_put32(at + field, (uint32_t)value);
    else
        pd_put64(at + field, value);
    pd_put32(at + 12, 0);
    pd_put32(at + 12, pd_crc32c(0, at, PD_HEADER_BYTES));
    memcpy(at + PD_HEADER_PLACE, at, PD_HEADER_BYTES);
}

static void forge_payload(struct input *in)
{
    uint64_t offset;
    uint8_t *at = batch_at(in, &offset);
    const uint64_t place = take(in, 1), mask = take(in, 1);
    if (!at)
        return;
    const uint32_t size = pd_get32(at + 40);
    /* Batches were written whole into files of their size, but either may have been changed. */
    if (size == 0 || size > SIZE_MOST - PD_BATCH_BYTES)
        return;
    uint64_t length = (uint64_t)size + PD_BATCH_BYTES;
    for (uint64_t number = 1; number <= SEGMENTS_MAX; number++) {
        uint64_t whole = length;
        if (part(number, offset, &whole) != at || whole < length)
            continue;
        at[PD_BATCH_BYTES + place % size] ^= (uint8_t)mask;
        pd_put32(at + 48, pd_crc32c(0, at + PD_BATCH_BYTES, size));
        seal_batch(at, offset);
    }
}

static void write_step(uint64_t step, struct input *in)
{
    switch (step) {
    case 0: {
        const uint32_t records = (uint32_t)take(in, 1) % 8 + 1, bytes = (uint32_t)take(in, 1);
        append(records, bytes, take(in, 1), 0);
        break;
    }
    case 1:
        begin_segment(take(in, 1));
        break;
    case 2:
        append(0, 0, take(in, 1), PD_BATCH_WATERMARK);
        break;
    case 3:
        append(0, 0, 0, PD_BATCH_WATERMARK | PD_BATCH_CLOSE);
        break;
    default: {
        const uint64_t keep = take(in, 1);
        if (writer.next_lsn > keep && writer.next_lsn - keep > writer.oldest_lsn)
            writer.oldest_lsn = writer.next_lsn - keep;
    }
    }
}

static void damage_step(uint64_t step, struct input *in)
{
    switch (step) {
    case 5:
        flip(in);
        break;
    case 6:
        zero(in);
        break;
    case 7:
        copy(in);
        break;
    case 8:
        change_size(in);
        break;
    case 9:
        delete(in);
        break;
    case 10:
    case 11:
        rename_segment(in, step == 11);
        break;
    case 12:
        write_bytes(in);
        break;
    case 13:
        forge_batch(in);
        break;
    case 14:
        forge_header(in);
        break;
    default:
        forge_payload(in);
    }
}

void program_run(const uint8_t *input, size_t size, struct program *out)
{
    memory_disk_clear();
    memset(out, 0, sizeof *out);
    memset(&writer, 0, sizeof writer);
    writer.program = out;
    writer.next_lsn = writer.oldest_lsn = 1;
    struct input in = {input, size, 0};
    begin_segment(take(&in, 1));
    for (int i = 0; i < STEPS_MAX && in.at < in.size; i++) {
        const uint64_t step = take(&in, 1) & 15;
        if (step < 5) {
            write_step(step, &in);
            continue;
        }
        out->damaged = true;
        out->forged = out->forged || step >= 12;
        damage_step(step, &in);
    }
}
