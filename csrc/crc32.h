/* crc32.h - the checksum that Python's zlib.crc32 computes, for the frames of a ring. */
#ifndef PD_CRC32_H
#define PD_CRC32_H

#include <stddef.h>
#include <stdint.h>

uint32_t pd_crc32(uint32_t crc, const void *data, size_t size);

#endif
