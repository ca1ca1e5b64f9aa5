/* buffer.c - aligned memory. */
#include "buffer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int pd_buffer_reserve(struct pd_buffer *buffer, size_t size, size_t used)
{
    assert(used <= buffer->capacity);
    if (size <= buffer->capacity)
        return 0;
    size_t capacity = buffer->capacity ? buffer->capacity : PD_BUFFER_ALIGN;
    while (capacity < size) {
        if (capacity > SIZE_MAX / 2)
            return -ENOMEM;
        capacity *= 2;
    }
    void *bytes = aligned_alloc(PD_BUFFER_ALIGN, capacity);
    if (!bytes)
        return -ENOMEM;
    if (used)
        memcpy(bytes, buffer->bytes, used);
    free(buffer->bytes);
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return 0;
}

void pd_buffer_free(struct pd_buffer *buffer)
{
    free(buffer->bytes);
    buffer->bytes = NULL;
    buffer->capacity = 0;
}
