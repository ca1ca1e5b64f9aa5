/* test_crc32c.c - the checksums against published values, and its two implementations against each
 * other. */
#include "adler32.h"
#include "check.h"
#include "pydurable.h"

#include <string.h>

typedef uint32_t (*crc_function)(uint32_t, const void *, size_t);

static const crc_function both[] = {pd_crc32c, pd_crc32c_portable};

/* RFC 3720, B.4, and the check value of the catalogue of CRCs. */
static void published_vectors(void)
{
    static const uint8_t read_pdu[48] = {
        0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
        0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    };
    uint8_t zeros[32] = {0}, ones[32], ascending[32], descending[32];
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++) {
        ascending[i] = (uint8_t)i;
        descending[i] = (uint8_t)(31 - i);
    }
    for (size_t i = 0; i < 2; i++) {
        CHECK_EQUAL(both[i](0, zeros, 32), 0x8a9136aau);
        CHECK_EQUAL(both[i](0, ones, 32), 0x62a8ab43u);
        CHECK_EQUAL(both[i](0, ascending, 32), 0x46dd794eu);
        CHECK_EQUAL(both[i](0, descending, 32), 0x113fdb5cu);
        CHECK_EQUAL(both[i](0, read_pdu, 48), 0xd9963a56u);
        CHECK_EQUAL(both[i](0, "123456789", 9), 0xe3069283u);
        CHECK_EQUAL(both[i](0, "", 0), 0);
    }
}

static uint8_t noise[5000];

static void fill_noise(void)
{
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof noise; i++) {
        state = state * 1664525u + 1013904223u;
        noise[i] = (uint8_t)(state >> 24);
    }
}

/* One bit at a time, as the polynomial defines it: independent of every table. */
static uint32_t by_definition(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static void every_length_and_alignment(void)
{
    fill_noise();
    for (size_t offset = 0; offset < 16; offset++)
        for (size_t size = 0; size < 300; size++) {
            const uint32_t expected = by_definition(noise + offset, size);
            CHECK_EQUAL(pd_crc32c(0, noise + offset, size), expected);
            CHECK_EQUAL(pd_crc32c_portable(0, noise + offset, size), expected);
        }
    for (size_t size = 1000; size <= sizeof noise - 16; size += 321)
        CHECK_EQUAL(pd_crc32c(0, noise + 3, size), by_definition(noise + 3, size));
}

static void continued_in_pieces(void)
{
    fill_noise();
    const uint32_t whole = by_definition(noise, sizeof noise);
    for (size_t cut = 0; cut <= sizeof noise; cut += 7)
        for (size_t i = 0; i < 2; i++) {
            uint32_t crc = both[i](0, noise, cut);
            CHECK_EQUAL(both[i](crc, noise + cut, sizeof noise - cut), whole);
        }
}

/* RFC 1950, 8.2: two sums, each reduced with every byte. */
static uint32_t adler_by_definition(uint32_t start, const uint8_t *data, size_t size)
{
    uint32_t first = start & 0xffff, second = start >> 16;
    for (size_t i = 0; i < size; i++) {
        first = (first + data[i]) % PD_ADLER32_BASE;
        second = (second + first) % PD_ADLER32_BASE;
    }
    return second << 16 | first;
}

static void adler_of_every_start(void)
{
    static uint8_t ones[20000];
    memset(ones, 0xff, sizeof ones);
    fill_noise();
    CHECK_EQUAL(pd_adler32(1, "Wikipedia", 9), 0x11e60398u);
    CHECK_EQUAL(pd_adler32(77, "", 0), 77);
    static const uint32_t starts[] = {1, 0xfff0fff0u, 0x00010000u, 0x12345678u};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        for (size_t size = 1; size <= sizeof noise; size += 333) {
            const uint32_t expected = adler_by_definition(starts[i], noise, size);
            CHECK_EQUAL(pd_adler32(starts[i], noise, size), expected);
            CHECK_EQUAL(pd_adler32(starts[i], ones, 4 * size),
                        adler_by_definition(starts[i], ones, 4 * size));
        }
}

const struct test crc32c_tests[] = {
    {"both implementations give the published checksums", published_vectors},
    {"both agree with the definition for every length and alignment", every_length_and_alignment},
    {"a checksum continued in pieces is that of the whole", continued_in_pieces},
    {"Adler-32 is what its definition gives, from every start", adler_of_every_start},
    {NULL, NULL},
};
