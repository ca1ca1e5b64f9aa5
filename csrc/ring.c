/*
 * ring.c - the ring into which Python stores appended records without a system call.
 *
 * The tail belongs to Python, which moves it under the GIL and passes it with each call; the head
 * belongs to the log.  Both count bytes since the ring began, and a position is their remainder.
 * A frame lies in one piece: where it would cross the end, a length of all ones, or fewer than
 * four bytes of room, says that it begins at the front again.
 */
#include "log.h"

#include "error.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_BYTES = 64 };

static const uint32_t wrapped = UINT32_MAX;

int pd_ring_open(struct pd_log *log, uint64_t size)
{
    assert(size && (size & (size - 1)) == 0);
    log->ring = malloc((size_t)size);
    log->ring_words = aligned_alloc(WORDS_BYTES, WORDS_BYTES);
    if (!log->ring || !log->ring_words)
        return -ENOMEM;
    memset(log->ring_words, 0, WORDS_BYTES);
    log->ring_size = size;
    return 0;
}

void pd_ring_close(struct pd_log *log)
{
    free(log->ring);
    free(log->ring_words);
    log->ring = NULL;
    log->ring_words = NULL;
}

void pd_ring_stop(struct pd_log *log)
{
    if (log->ring_words)
        __atomic_store_n(&log->ring_words[PD_RING_STOP], 1, __ATOMIC_RELEASE);
}

int pd_ring_drain(struct pd_log *log, uint64_t tail)
{
    uint64_t head = log->ring_words[PD_RING_HEAD];
    int rc = PD_DONE;
    while (head < tail && rc == PD_DONE) {
        const uint64_t at = head & (log->ring_size - 1);
        const uint64_t to_end = log->ring_size - at;
        const uint32_t length = to_end < PD_FRAME_BYTES ? wrapped : pd_get32(log->ring + at);
        if (length == wrapped) {
            head += to_end;
        } else {
            const size_t frame = PD_FRAME_BYTES + (size_t)length;
            assert(frame <= to_end && head + frame <= tail);
            rc = pd_group_make_room(log, frame);
            /* Making room may have let go of the mutex, and another thread have drained. */
            if (log->ring_words[PD_RING_HEAD] > head) {
                head = log->ring_words[PD_RING_HEAD];
                continue;
            }
            if (rc == PD_DONE)
                rc = pd_group_accept(log, log->ring + at, frame, 1);
            if (rc != PD_DONE)
                break;
            head += frame;
        }
        __atomic_store_n(&log->ring_words[PD_RING_HEAD], head, __ATOMIC_RELEASE);
    }
    return rc;
}
