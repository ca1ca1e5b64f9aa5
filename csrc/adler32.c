/* adler32.c - Adler-32, as RFC 1950 gives it. */
#include "adler32.h"

/* So many bytes can be summed before the second sum has to be reduced to stay within 32 bits. */
enum { SPAN = 5552 };

uint32_t pd_adler32(uint32_t start, const void *data, size_t size)
{
    const uint8_t *at = data;
    uint32_t first = start & 0xffff;
    uint32_t second = start >> 16;
    while (size > 0) {
        const size_t span = size < SPAN ? size : SPAN;
        for (size_t i = 0; i < span; i++) {
            first += at[i];
            second += first;
        }
        first %= PD_ADLER32_BASE;
        second %= PD_ADLER32_BASE;
        at += span;
        size -= span;
    }
    return second << 16 | first;
}
