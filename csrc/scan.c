/* scan.c - the walk that scan.h describes. */
#include "scan.h"

#include "io.h"
#include "pydurable.h"
#include "segment.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* How much is read at once: large enough to hide the call, small enough to stay in the cache. */
enum { WINDOW = 256 * 1024 };

static int begin_once(struct pd_scan *scan, int dir, uint64_t number)
{
    memset(scan, 0, sizeof *scan);
    char name[PD_NAME_BYTES];
    pd_segment_name(number, name);
    scan->fd = pd_io_open(dir, name, O_RDONLY, 0);
    if (scan->fd < 0)
        return scan->fd;
    scan->number = number;
    struct stat st;
    int rc = pd_sys->stat(scan->fd, &st);
    if (rc == 0)
        rc = pd_segment_read_header(scan->fd, &scan->header);
    if (rc == PD_HEADER_VALID && scan->header.number != number)
        rc = PD_HEADER_INVALID;
    if (rc == PD_HEADER_VALID) {
        scan->size =
            (uint64_t)st.st_size < scan->header.size ? (uint64_t)st.st_size : scan->header.size;
        scan->at = (struct pd_scan_place){PD_DATA_OFFSET, scan->header.base_lsn,
                                          scan->header.prev_checksum};
        return rc;
    }
    pd_scan_end(scan);
    return rc;
}

int pd_scan_begin(struct pd_scan *scan, int dir, uint64_t number)
{
    int rc = begin_once(scan, dir, number);
    /* A file that a writer recycles loses its name before it gets another header: a second look
     * finds no such file, unless the header is damaged. */
    return rc == PD_HEADER_INVALID ? begin_once(scan, dir, number) : rc;
}

void pd_scan_end(struct pd_scan *scan)
{
    pd_buffer_free(&scan->window);
    if (scan->fd >= 0)
        (void)pd_io_close(scan->fd);
    scan->fd = -1;
}

void pd_scan_refresh(struct pd_scan *scan)
{
    scan->window_bytes = 0;
}

/* How many bytes of the window lie at and after offset. */
static size_t windowed(const struct pd_scan *scan, uint64_t offset)
{
    if (offset < scan->window_offset || offset > scan->window_offset + scan->window_bytes)
        return 0;
    return scan->window_bytes - (size_t)(offset - scan->window_offset);
}

static const uint8_t *window_at(const struct pd_scan *scan, uint64_t offset)
{
    return scan->window.bytes + (offset - scan->window_offset);
}

/* Have size bytes at offset in the window: 1, 0 if the file ends before, or -errno. */
static int want(struct pd_scan *scan, uint64_t offset, size_t size)
{
    const size_t kept = windowed(scan, offset);
    if (kept >= size)
        return 1;
    if (offset > scan->size || size > scan->size - offset)
        return 0;
    /* What was read already moves to the front and is not read again. */
    if (kept)
        memmove(scan->window.bytes, window_at(scan, offset), kept);
    scan->window_offset = offset;
    scan->window_bytes = kept;
    size_t whole = size > WINDOW ? size : WINDOW;
    if (whole > scan->size - offset)
        whole = (size_t)(scan->size - offset);
    int rc = pd_buffer_reserve(&scan->window, whole, kept);
    if (rc < 0)
        return rc;
    ssize_t n = pd_io_read(scan->fd, scan->window.bytes + kept, whole - kept, offset + kept);
    if (n < 0)
        return (int)n;
    scan->window_bytes = kept + (size_t)n;
    return scan->window_bytes >= size;
}

static bool follows(const struct pd_scan *scan, const struct pd_batch_header *batch)
{
    return batch->first_lsn == scan->at.next_lsn && batch->prev_checksum == scan->at.chain &&
           batch->payload_bytes <= scan->size - scan->at.offset - PD_BATCH_BYTES;
}

static bool payload_valid(const struct pd_batch_header *batch, const uint8_t *payload)
{
    return pd_crc32c(0, payload, batch->payload_bytes) == batch->payload_crc &&
           pd_frames_valid(payload, batch->payload_bytes, batch->count);
}

int pd_scan_next(struct pd_scan *scan, struct pd_batch_header *batch, const uint8_t **payload)
{
    uint64_t offset = scan->at.offset;
    int rc = want(scan, offset, PD_BATCH_BYTES);
    if (rc <= 0)
        return rc;
    if (!pd_batch_decode(window_at(scan, offset), scan->header.salt, offset, batch) ||
        !follows(scan, batch))
        return 0;
    rc = want(scan, offset, PD_BATCH_BYTES + (size_t)batch->payload_bytes);
    if (rc <= 0)
        return rc;
    *payload = window_at(scan, offset) + PD_BATCH_BYTES;
    if (!payload_valid(batch, *payload))
        return 0;
    scan->at.offset =
        pd_align_up(offset + PD_BATCH_BYTES + batch->payload_bytes, scan->header.block_bytes);
    scan->at.next_lsn += batch->count;
    scan->at.chain = batch->checksum;
    scan->last = *batch;
    scan->batches++;
    scan->records += batch->count;
    scan->bytes += batch->payload_bytes - (uint64_t)batch->count * PD_FRAME_BYTES;
    return 1;
}

bool pd_scan_in_window(const struct pd_scan *scan)
{
    uint64_t offset = scan->at.offset;
    struct pd_batch_header batch;
    return windowed(scan, offset) >= PD_BATCH_BYTES &&
           pd_batch_decode(window_at(scan, offset), scan->header.salt, offset, &batch) &&
           windowed(scan, offset) >= PD_BATCH_BYTES + (size_t)batch.payload_bytes;
}

/* Judge what may be a batch header at offset. */
static void judge(const struct pd_scan *scan, const uint8_t *bytes, uint64_t offset,
                  struct pd_scan_beyond *out)
{
    struct pd_batch_header batch;
    if (!pd_batch_begins(bytes) || !pd_batch_decode(bytes, scan->header.salt, offset, &batch))
        return;
    uint64_t end = offset + PD_BATCH_BYTES + batch.payload_bytes;
    if (end > out->end)
        out->end = end < scan->header.size ? end : scan->header.size;
    /* A damaged place may itself be a batch whose header still says which records it held. */
    if (batch.durable_lsn >= scan->at.next_lsn && batch.durable_lsn >= out->last_lsn) {
        out->covers = true;
        out->last_lsn = batch.durable_lsn;
        out->offset = offset;
    }
}

/* Judge the blocks from offset up to end, behind which there is nothing but zeros: 0 or -errno. */
static int judge_stretch(struct pd_scan *scan, uint64_t offset, uint64_t end,
                         struct pd_scan_beyond *out)
{
    const uint64_t block = scan->header.block_bytes;
    const uint64_t size = scan->size;
    scan->size = end; /* so that the window ends there, too */
    int rc;
    while ((rc = want(scan, offset, PD_BATCH_BYTES)) > 0)
        for (; windowed(scan, offset) >= PD_BATCH_BYTES; offset += block)
            judge(scan, window_at(scan, offset), offset, out);
    for (; rc == 0 && offset < end && want(scan, offset, (size_t)(end - offset)) > 0;
         offset += block) {
        uint8_t bytes[PD_BATCH_BYTES] = {0};
        memcpy(bytes, window_at(scan, offset), (size_t)(end - offset));
        judge(scan, bytes, offset, out);
    }
    scan->size = size;
    return rc;
}

int pd_scan_look_beyond(struct pd_scan *scan, struct pd_scan_beyond *out)
{
    const uint64_t block = scan->header.block_bytes;
    uint64_t offset = scan->at.offset;
    *out = (struct pd_scan_beyond){.end = offset};
    pd_scan_refresh(scan);
    /* Space that was never written reads as zeros and need not be read at all; a filesystem that
     * cannot tell is read to the end.  Without readahead: pages that it brings in count as data
     * the next time. */
    pd_sys_no_readahead(scan->fd);
    while (offset + PD_BATCH_BYTES <= scan->size) {
        const int64_t data = pd_sys->seek(scan->fd, (int64_t)offset, PD_SEEK_DATA);
        if (data == -ENXIO)
            break;
        if (data > (int64_t)offset)
            offset = (uint64_t)data & ~(block - 1);
        const int64_t hole = pd_sys->seek(scan->fd, (int64_t)offset, PD_SEEK_HOLE);
        uint64_t end = hole > (int64_t)offset ? (uint64_t)hole : scan->size;
        end = end < scan->size ? end : scan->size;
        const int rc = judge_stretch(scan, offset, end, out);
        if (rc < 0)
            return rc;
        offset = pd_align_up(end, block);
    }
    pd_scan_refresh(scan);
    return 0;
}
