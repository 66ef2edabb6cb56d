/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_combine against one element at a time: floats summed in fp32 left to right and rounded
 * once, integers in their own width. Random types, sizes, numbers of buffers, and destinations that
 * are sources. */
#include "common.h"

#include "base/mem.h"
#include "kernel/kernel.h"

#define MOST 3000

static const enum dtype types[] = {DT_UINT8,  DT_INT8,   DT_UINT16, DT_INT16,   DT_UINT32, DT_INT32,
                                   DT_UINT64, DT_INT64,  DT_BF16,   DT_FP16,    DT_FP32,   DT_FP32R,
                                   DT_FP8_E3, DT_FP8_E4, DT_FP8_E5, DT_FP8_E4FN};

static uint64_t int_of(enum dtype t, const uint8_t *p)
{
    uint64_t v = 0;
    size_t size = dtype_size(t);

    memcpy(&v, p, size);
    if (dtype_kind(t) == DTK_INT && size < 8 && v >> (8 * size - 1))
        v |= ~UINT64_C(0) << 8 * size;
    return v;
}

static bool less(enum dtype t, uint64_t a, uint64_t b)
{
    return dtype_kind(t) == DTK_INT ? (int64_t)a < (int64_t)b : a < b;
}

static void want_int(enum dtype t, enum kernel_combine op, uint8_t *const *src, unsigned nsrc,
                     size_t i, uint8_t *ret)
{
    size_t size = dtype_size(t);
    uint64_t acc = int_of(t, src[0] + i * size);

    for (unsigned s = 1; s < nsrc; s++) {
        uint64_t x = int_of(t, src[s] + i * size);

        if (op == KERNEL_COMBINE_SUM)
            acc += x;
        else if (op == KERNEL_COMBINE_MIN ? less(t, x, acc) : less(t, acc, x))
            acc = x;
    }
    memcpy(ret, &acc, size);
}

static void want_float(enum dtype t, enum kernel_combine op, uint8_t *const *src, unsigned nsrc,
                       size_t i, uint8_t *ret)
{
    size_t size = dtype_size(t);
    float acc = dtype_load(t, src[0] + i * size);

    for (unsigned s = 1; s < nsrc; s++) {
        float x = dtype_load(t, src[s] + i * size);

        if (op == KERNEL_COMBINE_SUM)
            acc += x;
        else if (op == KERNEL_COMBINE_MIN ? x < acc : x > acc)
            acc = x;
    }
    dtype_store(t, ret, acc);
}

static void fill(enum dtype t, uint8_t *p, size_t n)
{
    size_t size = dtype_size(t);

    for (size_t i = 0; i < n; i++) {
        uint64_t bits = (uint64_t)rnd() << 32 | rnd();

        /* no NaN and no infinity: which of several NaNs comes out is not defined */
        if (dtype_is_float(t))
            dtype_store(t, p + i * size, (float)(int32_t)below(2001) / 16.0f - 60.0f);
        else
            memcpy(p + i * size, &bits, size);
    }
}

static void against_one_at_a_time(void **state)
{
    uint8_t *buf[8], *want = malloc(MOST * 8);

    for (unsigned b = 0; b < 8; b++)
        buf[b] = mem_aligned(64, MOST * 8 + 64);
    for (unsigned k = 0; k < 1500; k++) {
        enum dtype t = types[below(sizeof(types) / sizeof(types[0]))];
        enum kernel_combine op = (enum kernel_combine)below(3);
        unsigned nsrc = 1 + below(5), ndst = 1 + below(3);
        size_t size = dtype_size(t), n = below(4) ? below(70) : below(MOST);
        /* around the caches, whole lines and others go different ways */
        enum kernel_stores stores = below(2) ? KERNEL_STORES_AROUND : KERNEL_STORES_THROUGH;
        size_t shift = below(2) ? below(64 / (unsigned)size) * size : 0;

        if (below(3) == 0)
            n = n / 64 * 64;
        const void *src[5];
        void *dst[3];

        for (unsigned s = 0; s < nsrc; s++) {
            fill(t, buf[s], n);
            src[s] = buf[s];
        }
        for (size_t i = 0; i < n; i++)
            (dtype_is_float(t) ? want_float : want_int)(t, op, buf, nsrc, i, want + i * size);
        for (unsigned d = 0; d < ndst; d++)
            dst[d] = buf[5 + d] + shift;
        if (below(2)) /* in place: one of the sources */
            dst[0] = buf[below(nsrc)];
        assert_true(kernel_combine_can(t));
        kernel_combine(t, op, src, nsrc, dst, ndst, n, stores);
        for (unsigned d = 0; d < ndst; d++)
            if (memcmp(dst[d], want, n * size) != 0)
                fail_msg("%s, %u sources, destination %u of %u, %zu elements, %s", dtype_name(t),
                         nsrc, d, ndst, n, stores ? "around" : "through");
    }
    for (unsigned b = 0; b < 8; b++)
        mem_free(buf[b]);
    free(want);
    assert_false(kernel_combine_can(DT_BOOL));
    assert_false(kernel_combine_can(DT_FP8_E8M0));
    assert_false(kernel_combine_can(DT_FP4_E2M1_X4));
    (void)state;
}

/* The commonest reduction has loops of its own, by lines: sums of fp32 to several destinations, of
 * every length up to three lines. One destination is a source; nothing behind the others changes.
 */
static void sums_of_every_length(void **state)
{
    uint8_t src[2][64 * 4], dst[64 * 4], want[64 * 4];

    for (size_t n = 0; n <= 48; n++) {
        fill(DT_FP32, src[0], 64);
        fill(DT_FP32, src[1], 64);
        fill(DT_FP32, want, 64);
        memcpy(dst, want, sizeof(dst));
        for (size_t i = 0; i < n; i++)
            want_float(DT_FP32, KERNEL_COMBINE_SUM, (uint8_t *[]){src[0], src[1]}, 2, i,
                       want + i * 4);
        kernel_combine(DT_FP32, KERNEL_COMBINE_SUM, (const void *[]){src[0], src[1]}, 2,
                       (void *[]){dst, src[1]}, 2, n, KERNEL_STORES_THROUGH);
        assert_memory_equal(dst, want, sizeof(dst));
        assert_memory_equal(src[1], want, n * 4);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_one_at_a_time),
                                       cmocka_unit_test(sums_of_every_length)};

    seed_from_env();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
