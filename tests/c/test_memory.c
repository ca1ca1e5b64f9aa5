/* test_memory.c - buffers that grow, and the histogram of durations. */
#include "buffer.h"
#include "check.h"
#include "histogram.h"

#include <errno.h>
#include <string.h>

static void buffer_grows(void)
{
    struct pd_buffer buffer = {NULL, 0};
    CHECK_EQUAL(pd_buffer_reserve(&buffer, 1, 0), 0);
    CHECK(buffer.capacity >= 1);
    CHECK_EQUAL((uintptr_t)buffer.bytes % PD_BUFFER_ALIGN, 0);
    for (size_t used = 1; used < 1000000; used = used * 3 + 1) {
        CHECK_EQUAL(pd_buffer_reserve(&buffer, used, used < 2 ? 0 : (used - 1) / 3), 0);
        CHECK_EQUAL((uintptr_t)buffer.bytes % PD_BUFFER_ALIGN, 0);
        for (size_t i = 0; i < (used - 1) / 3 && used > 1; i++)
            CHECK_EQUAL(buffer.bytes[i], i % 251);
        for (size_t i = 0; i < used; i++)
            buffer.bytes[i] = (uint8_t)(i % 251);
    }
    pd_buffer_free(&buffer);
    CHECK(buffer.bytes == NULL && buffer.capacity == 0);
}

static void buffer_refuses(void)
{
    struct pd_buffer buffer = {NULL, 0};
    CHECK_EQUAL(pd_buffer_reserve(&buffer, 10, 0), 0);
    memcpy(buffer.bytes, "keep", 5);
    const size_t capacity = buffer.capacity;
    CHECK_EQUAL(pd_buffer_reserve(&buffer, SIZE_MAX - 10, 5), -ENOMEM);
    CHECK_EQUAL(buffer.capacity, capacity);
    CHECK(strcmp((const char *)buffer.bytes, "keep") == 0);
    pd_buffer_free(&buffer);
}

/* Each value alone: what comes back is not below it, and above it by less than a sixteenth. */
static void histogram_resolution(void)
{
    static struct pd_histogram histogram;
    for (uint64_t value = 0; value < UINT64_MAX / 3; value = value * 2 + value / 7 + 1) {
        memset(&histogram, 0, sizeof histogram);
        pd_histogram_add(&histogram, value);
        const uint64_t got = pd_histogram_quantile(&histogram, 0.5);
        CHECK(got >= value);
        CHECK(got - value <= value / 16);
    }
    memset(&histogram, 0, sizeof histogram);
    pd_histogram_add(&histogram, UINT64_MAX);
    CHECK(pd_histogram_quantile(&histogram, 0.5) == UINT64_MAX);
}

static void histogram_quantiles(void)
{
    static struct pd_histogram histogram;
    CHECK_EQUAL(pd_histogram_quantile(&histogram, 0.99), 0);
    for (uint64_t value = 1; value <= 1000; value++)
        pd_histogram_add(&histogram, 1000 * value);
    static const double shares[] = {0.001, 0.25, 0.5, 0.99, 0.999};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        const double exact = 1000000.0 * shares[i];
        const double got = (double)pd_histogram_quantile(&histogram, shares[i]);
        CHECK(got >= exact && got <= exact * 1.07 + 1100);
    }
}

const struct test memory_tests[] = {
    {"a buffer that grows stays aligned and keeps what it held", buffer_grows},
    {"a buffer that cannot grow is as it was", buffer_refuses},
    {"the histogram keeps a value to a sixteenth", histogram_resolution},
    {"quantiles are those of the values", histogram_quantiles},
    {NULL, NULL},
};
