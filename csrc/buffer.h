/* buffer.h - memory that direct I/O can write from: aligned, and grown on demand. */
#ifndef PD_BUFFER_H
#define PD_BUFFER_H

#include <stddef.h>
#include <stdint.h>

enum { PD_BUFFER_ALIGN = 4096 };

struct pd_buffer {
    uint8_t *bytes;
    size_t capacity;
};

/* Make room for size bytes and keep the first used of what is there: 0 or -ENOMEM, in which case
 * the buffer is as it was. */
int pd_buffer_reserve(struct pd_buffer *buffer, size_t size, size_t used);
void pd_buffer_free(struct pd_buffer *buffer);

#endif
