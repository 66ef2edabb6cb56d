/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces for DMA and other callers outside the instruction kernels. */
#include "kernel/kernel_int.h"

#include <math.h>
#include <string.h>

#define CONVERT_CHUNK 1024
#define ALIGN_CHUNK   128

/* The vector loops want elements at multiples of their size; descriptors may place them anywhere,
 * so those pass through an aligned piece. */
static bool misaligned(const void *p, size_t size)
{
    return size != 0 && (uintptr_t)p % size != 0;
}

void kernel_load_f32(float *dst, enum dtype st, const void *src, size_t n)
{
    const struct k_vec *v = k_vec_choose(KERNEL_MATH_FAST);
    size_t size = dtype_size(st);
    uint64_t piece[ALIGN_CHUNK];

    if (!misaligned(src, size)) {
        v->load[st](dst, src, n);
        return;
    }
    for (size_t i = 0; i < n; i += ALIGN_CHUNK) {
        size_t m = n - i < ALIGN_CHUNK ? n - i : ALIGN_CHUNK;

        memcpy(piece, (const uint8_t *)src + i * size, m * size);
        v->load[st](dst + i, piece, m);
    }
}

static void store_nearest(enum dtype dt, void *dst, const float *src, size_t n)
{
    const struct k_vec *v = k_vec_choose(KERNEL_MATH_FAST);
    size_t size = dtype_size(dt);
    uint64_t piece[ALIGN_CHUNK];

    if (!misaligned(dst, size)) {
        v->store[dt](dst, src, n);
        return;
    }
    for (size_t i = 0; i < n; i += ALIGN_CHUNK) {
        size_t m = n - i < ALIGN_CHUNK ? n - i : ALIGN_CHUNK;

        v->store[dt](piece, src + i, m);
        memcpy((uint8_t *)dst + i * size, piece, m * size);
    }
}

void kernel_store_f32(enum dtype dt, void *dst, const float *src, size_t n, struct kernel_rng *sr)
{
    size_t size = dtype_size(dt);

    if (sr == NULL || !dtype_is_float(dt) || dt == DT_FP32 || dt == DT_FP32R) {
        store_nearest(dt, dst, src, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        dtype_store_sr(dt, (uint8_t *)dst + i * size, src[i], kernel_rng_next(sr));
}

bool kernel_convert(enum dtype dt, void *dst, enum dtype st, const void *src, size_t n,
                    struct kernel_rng *sr)
{
    size_t ss = dtype_size(st), ds = dtype_size(dt);
    float buf[CONVERT_CHUNK];
    bool nan = false;

    if (dt == st) {
        memmove(dst, src, n * ss);
        return false;
    }
    for (size_t i = 0; i < n; i += CONVERT_CHUNK) {
        size_t m = n - i < CONVERT_CHUNK ? n - i : CONVERT_CHUNK;

        kernel_load_f32(buf, st, (const uint8_t *)src + i * ss, m);
        if (dt == DT_FP8_E4FN || dt == DT_FP8_E8M0)
            for (size_t j = 0; j < m && !nan; j++)
                nan = !isnan(buf[j]) && k_nan_in(dt, buf[j]);
        kernel_store_f32(dt, (uint8_t *)dst + i * ds, buf, m, sr);
    }
    return nan;
}

void kernel_fold_f32(unsigned alu, float *acc, const float *src, size_t n)
{
    const struct k_vec *v = k_vec_choose(KERNEL_MATH_FAST);

    if (alu < ISA_ALU_COUNT && v->bin[alu] != NULL)
        v->bin[alu](acc, acc, src, n);
}

void kernel_fma_f32(float *acc, float scale, const float *src, size_t n)
{
    k_vec_choose(KERNEL_MATH_FAST)->fma(acc, scale, src, n);
}
