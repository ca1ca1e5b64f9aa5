/*
 * crc32c.c - CRC-32C (Castagnoli, polynomial 0x1EDC6F41, reflected 0x82F63B78; RFC 3720 B.4).
 *
 * The hardware instruction has a latency of three cycles and a throughput of one, so three
 * independent streams keep it busy.  Their results are joined with tables that advance a CRC over
 * a fixed number of zero bytes, which is a linear map over GF(2) and thus four table look-ups.
 */
#include "pydurable.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <nmmintrin.h>
#if defined(__clang__) && __clang_major__ >= 14
/* The instruction has been a feature of its own since then, and is not implied in an attribute. */
#define PD_CRC_TARGET __attribute__((target("sse4.2,crc32")))
#else
#define PD_CRC_TARGET __attribute__((target("sse4.2")))
#endif
#define PD_CRC_STEP8(crc, word) ((uint32_t)_mm_crc32_u64((crc), (word)))
#define PD_CRC_STEP1(crc, byte) _mm_crc32_u8((crc), (byte))
#define PD_CRC_HARDWARE 1
#elif defined(__aarch64__)
#include <arm_acle.h>
#if defined(__linux__)
#include <sys/auxv.h>
#define PD_CRC_TARGET __attribute__((target("+crc")))
#else
#define PD_CRC_TARGET /* every arm64 Mac has the instruction and its compiler assumes it */
#endif
#define PD_CRC_STEP8(crc, word) __crc32cd((crc), (word))
#define PD_CRC_STEP1(crc, byte) __crc32cb((crc), (byte))
#define PD_CRC_HARDWARE 1
#endif

enum { LONG_RUN = 4096, SHORT_RUN = 256 };

static uint32_t byte_table[8][256];
#if defined(PD_CRC_HARDWARE)
static uint32_t long_shift[4][256];
static uint32_t short_shift[4][256];
static bool hardware;
#endif
static pthread_once_t once = PTHREAD_ONCE_INIT;

#if defined(PD_CRC_HARDWARE)
static uint32_t shift(uint32_t table[4][256], uint32_t crc)
{
    return table[0][crc & 0xff] ^ table[1][(crc >> 8) & 0xff] ^ table[2][(crc >> 16) & 0xff] ^
           table[3][crc >> 24];
}

/* The map is linear, so each byte's table comes from the images of its eight bits. */
static void make_shift(uint32_t table[4][256], size_t zeros)
{
    for (int byte = 0; byte < 4; byte++) {
        for (int bit = 0; bit < 8; bit++) {
            uint32_t crc = 1u << (8 * byte + bit);
            for (size_t i = 0; i < zeros; i++)
                crc = byte_table[0][crc & 0xff] ^ (crc >> 8);
            table[byte][1u << bit] = crc;
        }
        for (unsigned value = 1; value < 256; value++) {
            unsigned low = value & (~value + 1);
            if (value != low)
                table[byte][value] = table[byte][value ^ low] ^ table[byte][low];
        }
    }
}

static bool detect(void)
{
#if defined(__x86_64__)
    /* Not __builtin_cpu_supports, which leans on a part of the compiler's library that not every
     * toolchain links with. */
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_2);
#elif defined(__linux__)
    const unsigned long hwcap_crc32 = 1ul << 7; /* HWCAP_CRC32 of asm/hwcap.h */
    return (getauxval(AT_HWCAP) & hwcap_crc32) != 0;
#else
    return true;
#endif
}
#endif

static void prepare(void)
{
    for (unsigned value = 0; value < 256; value++) {
        uint32_t crc = value;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
        byte_table[0][value] = crc;
    }
    for (int row = 1; row < 8; row++)
        for (unsigned value = 0; value < 256; value++) {
            uint32_t before = byte_table[row - 1][value];
            byte_table[row][value] = byte_table[0][before & 0xff] ^ (before >> 8);
        }
#if defined(PD_CRC_HARDWARE)
    make_shift(long_shift, LONG_RUN);
    make_shift(short_shift, SHORT_RUN);
    hardware = detect();
#endif
}

static uint64_t load64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

uint32_t pd_crc32c_portable(uint32_t crc, const void *data, size_t size)
{
    pthread_once(&once, prepare);
    const uint8_t *at = data;
    crc = ~crc;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word = load64(at) ^ crc;
        crc = byte_table[7][word & 0xff] ^ byte_table[6][(word >> 8) & 0xff] ^
              byte_table[5][(word >> 16) & 0xff] ^ byte_table[4][(word >> 24) & 0xff] ^
              byte_table[3][(word >> 32) & 0xff] ^ byte_table[2][(word >> 40) & 0xff] ^
              byte_table[1][(word >> 48) & 0xff] ^ byte_table[0][word >> 56];
    }
    for (; size > 0; at++, size--)
        crc = byte_table[0][(crc ^ *at) & 0xff] ^ (crc >> 8);
    return ~crc;
}

#if defined(PD_CRC_HARDWARE)
/* Three neighbouring runs of the same length, joined; leaves *at behind them. */
PD_CRC_TARGET static uint32_t three_runs(uint32_t crc, const uint8_t **at, size_t run,
                                         uint32_t table[4][256])
{
    const uint8_t *a = *at, *b = a + run, *c = b + run;
    uint32_t crc_b = 0, crc_c = 0;
    for (size_t i = 0; i < run; i += 8) {
        crc = PD_CRC_STEP8(crc, load64(a + i));
        crc_b = PD_CRC_STEP8(crc_b, load64(b + i));
        crc_c = PD_CRC_STEP8(crc_c, load64(c + i));
    }
    *at = c + run;
    return shift(table, shift(table, crc) ^ crc_b) ^ crc_c;
}

PD_CRC_TARGET static uint32_t crc_hardware(uint32_t crc, const uint8_t *at, size_t size)
{
    crc = ~crc;
    for (; size >= 3 * LONG_RUN; size -= 3 * LONG_RUN)
        crc = three_runs(crc, &at, LONG_RUN, long_shift);
    for (; size >= 3 * SHORT_RUN; size -= 3 * SHORT_RUN)
        crc = three_runs(crc, &at, SHORT_RUN, short_shift);
    for (; size >= 8; at += 8, size -= 8)
        crc = PD_CRC_STEP8(crc, load64(at));
    for (; size > 0; at++, size--)
        crc = PD_CRC_STEP1(crc, *at);
    return ~crc;
}
#endif

bool pd_crc32c_is_hardware(void)
{
    pthread_once(&once, prepare);
#if defined(PD_CRC_HARDWARE)
    return hardware;
#else
    return false;
#endif
}

uint32_t pd_crc32c(uint32_t crc, const void *data, size_t size)
{
#if defined(PD_CRC_HARDWARE)
    if (pd_crc32c_is_hardware())
        return crc_hardware(crc, data, size);
#endif
    return pd_crc32c_portable(crc, data, size);
}
