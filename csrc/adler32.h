/*
 * adler32.h - the checksum that Python's zlib.adler32 computes (RFC 1950), for the frames of a
 * ring.
 *
 * A frame that a kill left half stored has zeros in place of some of its bytes.  The sum of up to
 * 256 missing bytes cannot be a multiple of the base, so that none of them goes unnoticed; of a
 * larger piece both sums would have to agree.  In Python it takes less than half the time of a
 * CRC, on the path where that counts.
 */
#ifndef PD_ADLER32_H
#define PD_ADLER32_H

#include <stddef.h>
#include <stdint.h>

enum { PD_ADLER32_BASE = 65521 };

/* Both halves of start, the sum so far, are below the base. */
uint32_t pd_adler32(uint32_t start, const void *data, size_t size);

#endif
