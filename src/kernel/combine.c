/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise combination of several buffers, for the reductions of collectives: one pass over
 * memory, in blocks that stay in the first-level cache. docs/spec/collectives.md 5.2: sources left
 * to right, floats in fp32 and rounded once at the write, integers in their own width, wrapping. */
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "kernel/kernel.h"
#include "kernel/kernel_int.h"

#define BLOCK KERNEL_PAIR_MAX /* elements */

/* ---- integers ---- */

#define COMBINE_INT(name, type, wide)                                                      \
    static void combine_##name(enum kernel_combine op, type *acc, const type *x, size_t n) \
    {                                                                                      \
        switch (op) {                                                                      \
        case KERNEL_COMBINE_SUM:                                                           \
            for (size_t i = 0; i < n; i++)                                                 \
                acc[i] = (type)((wide)acc[i] + (wide)x[i]);                                \
            break;                                                                         \
        case KERNEL_COMBINE_MIN:                                                           \
            for (size_t i = 0; i < n; i++)                                                 \
                acc[i] = x[i] < acc[i] ? x[i] : acc[i];                                    \
            break;                                                                         \
        default:                                                                           \
            for (size_t i = 0; i < n; i++)                                                 \
                acc[i] = x[i] > acc[i] ? x[i] : acc[i];                                    \
            break;                                                                         \
        }                                                                                  \
    }
COMBINE_INT(u8, uint8_t, uint32_t)
COMBINE_INT(i8, int8_t, uint32_t)
COMBINE_INT(u16, uint16_t, uint32_t)
COMBINE_INT(i16, int16_t, uint32_t)
COMBINE_INT(u32, uint32_t, uint32_t)
COMBINE_INT(i32, int32_t, uint32_t)
COMBINE_INT(u64, uint64_t, uint64_t)
COMBINE_INT(i64, int64_t, uint64_t)

static void combine_int(enum dtype t, enum kernel_combine op, void *acc, const void *x, size_t n)
{
    switch (t) {
    case DT_UINT8:
        combine_u8(op, acc, x, n);
        break;
    case DT_INT8:
        combine_i8(op, acc, x, n);
        break;
    case DT_UINT16:
        combine_u16(op, acc, x, n);
        break;
    case DT_INT16:
        combine_i16(op, acc, x, n);
        break;
    case DT_UINT32:
        combine_u32(op, acc, x, n);
        break;
    case DT_INT32:
        combine_i32(op, acc, x, n);
        break;
    case DT_UINT64:
        combine_u64(op, acc, x, n);
        break;
    default:
        combine_i64(op, acc, x, n);
        break;
    }
}

/* ---- floats ---- */

static enum isa_alu alu_of(enum kernel_combine op)
{
    static const enum isa_alu alus[] = {ISA_ALU_ADD, ISA_ALU_MIN, ISA_ALU_MAX};

    return alus[op];
}

static bool is_f32(enum dtype t)
{
    return t == DT_FP32 || t == DT_FP32R;
}

/* Sources [off, off + n), two at least, of floats into dst, which may be one of the sources at the
 * same place. */
static void combine_block(const struct k_vec *v, enum dtype t, enum kernel_combine op,
                          const void *const *src, unsigned nsrc, size_t off, size_t n, void *dst)
{
    float acc[BLOCK], x[BLOCK];
    size_t at = off * dtype_size(t);
    void (*bin)(float *, const float *, const float *, size_t) = v->bin[alu_of(op)];

    if (is_f32(t)) {
        float *out = nsrc == 2 ? dst : acc; /* dst may be a later source */

        bin(out, (const float *)src[0] + off, (const float *)src[1] + off, n);
        for (unsigned i = 2; i < nsrc; i++)
            bin(i + 1 < nsrc ? acc : dst, acc, (const float *)src[i] + off, n);
        return;
    }
    kernel_load_f32(acc, t, (const uint8_t *)src[0] + at, n);
    for (unsigned i = 1; i < nsrc; i++) {
        kernel_load_f32(x, t, (const uint8_t *)src[i] + at, n);
        bin(acc, acc, x, n);
    }
    kernel_store_f32(t, dst, acc, n, NULL);
}

static void combine_block_int(enum dtype t, enum kernel_combine op, const void *const *src,
                              unsigned nsrc, size_t off, size_t n, void *dst)
{
    uint64_t acc[BLOCK];
    size_t at = off * dtype_size(t), bytes = n * dtype_size(t);

    memcpy(acc, (const uint8_t *)src[0] + at, bytes);
    for (unsigned i = 1; i < nsrc; i++)
        combine_int(t, op, acc, (const uint8_t *)src[i] + at, n);
    memcpy(dst, acc, bytes);
}

bool kernel_combine_can(enum dtype t)
{
    enum dtype_kind kind = dtype_kind(t);

    return (kind == DTK_INT || kind == DTK_UINT || kind == DTK_FLOAT) && t != DT_FP8_E8M0;
}

/* Elements [off, off + n) of the result to `to`. */
static void combine_some(const struct k_vec *v, enum dtype t, enum kernel_combine op,
                         const void *const *src, unsigned nsrc, size_t off, size_t n, void *to)
{
    size_t size = dtype_size(t);

    if (nsrc == 1)
        memmove(to, (const uint8_t *)src[0] + off * size, n * size);
    else if (dtype_is_float(t))
        combine_block(v, t, op, src, nsrc, off, n, to);
    else
        combine_block_int(t, op, src, nsrc, off, n, to);
}

static void combine_through(const struct k_vec *v, enum dtype t, enum kernel_combine op,
                            const void *const *src, unsigned nsrc, void *const *dst, unsigned ndst,
                            size_t off, size_t n)
{
    size_t at = off * dtype_size(t), bytes = n * dtype_size(t);
    uint8_t *first = (uint8_t *)dst[0] + at;

    combine_some(v, t, op, src, nsrc, off, n, first);
    for (unsigned i = 1; i < ndst; i++)
        memcpy((uint8_t *)dst[i] + at, first, bytes);
}

#ifdef __SSE2__
#define LINE 64u

/* The commonest reduction, sums of fp32, from memory to memory in one loop, each sum to all
 * destinations: a block in between makes reading and writing alternate, which costs a third of what
 * memory can do. A destination may be a source. */
__attribute__((target("avx512f"))) static void sum_around512(const void *const *src, unsigned nsrc,
                                                             void *const *dst, unsigned ndst,
                                                             size_t at, size_t bytes)
{
    for (size_t i = at; i < at + bytes; i += LINE) {
        __m512 v = _mm512_loadu_ps((const uint8_t *)src[0] + i);

        for (unsigned s = 1; s < nsrc; s++)
            v = _mm512_add_ps(v, _mm512_loadu_ps((const uint8_t *)src[s] + i));
        for (unsigned d = 0; d < ndst; d++)
            _mm512_stream_ps((float *)(void *)((uint8_t *)dst[d] + i), v);
    }
}

/* One line of it, or its first elements, through the caches. */
__attribute__((target("avx512f"), always_inline)) static inline void sum_line512(
    const void *const *src, unsigned nsrc, void *const *dst, unsigned ndst, size_t i, __mmask16 m)
{
    __m512 v = _mm512_maskz_loadu_ps(m, (const float *)src[0] + i);

    for (unsigned s = 1; s < nsrc; s++)
        v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, (const float *)src[s] + i));
    for (unsigned d = 0; d < ndst; d++)
        _mm512_mask_storeu_ps((float *)dst[d] + i, m, v);
}

__attribute__((target("avx512f"))) static void sum_through512(const void *const *src, unsigned nsrc,
                                                              void *const *dst, unsigned ndst,
                                                              size_t n)
{
    const size_t step = LINE / sizeof(float);
    size_t i = 0;

    for (; i + step <= n; i += step)
        sum_line512(src, nsrc, dst, ndst, i, (__mmask16)-1);
    if (i < n)
        sum_line512(src, nsrc, dst, ndst, i, (__mmask16)((1u << (n - i)) - 1));
}

static bool lines_all(void *const *dst, unsigned ndst, size_t at, size_t bytes)
{
    bool lines = bytes % 64 == 0;

    for (unsigned d = 0; d < ndst; d++)
        lines = lines && ((uintptr_t)dst[d] + at) % 64 == 0;
    return lines;
}
#endif

static bool is_one_of(const void *p, void *const *dst, unsigned ndst)
{
    for (unsigned i = 0; i < ndst; i++)
        if (dst[i] == p)
            return true;
    return false;
}

static void combine_around(const struct k_vec *v, enum dtype t, enum kernel_combine op,
                           const void *const *src, unsigned nsrc, void *const *dst, unsigned ndst,
                           size_t off, size_t n)
{
    size_t at = off * dtype_size(t), bytes = n * dtype_size(t);
    _Alignas(64) uint64_t block[BLOCK];
    const void *result = block;

#ifdef __SSE2__
    if (is_f32(t) && op == KERNEL_COMBINE_SUM && nsrc > 1 && lines_all(dst, ndst, at, bytes) &&
        __builtin_cpu_supports("avx512f")) {
        sum_around512(src, nsrc, dst, ndst, at, bytes);
        return;
    }
#endif
    if (nsrc == 1 && !is_one_of(src[0], dst, ndst))
        result = (const uint8_t *)src[0] + at;
    else
        combine_some(v, t, op, src, nsrc, off, n, block);
    k_around_copy(dst, ndst, at, result, bytes);
}

kernel_pair_fn *kernel_combine_pair(enum dtype t, enum kernel_combine op)
{
    return is_f32(t) ? k_vec_choose(KERNEL_MATH_FAST)->bin[alu_of(op)] : NULL;
}

void kernel_combine(enum dtype t, enum kernel_combine op, const void *const *src, unsigned nsrc,
                    void *const *dst, unsigned ndst, size_t n, enum kernel_stores stores)
{
    bool around = stores == KERNEL_STORES_AROUND;
    const struct k_vec *v;

    if (n <= BLOCK && nsrc == 1 && ndst == 1 && !around) {
        memmove(dst[0], src[0], n * dtype_size(t));
        return;
    }
#ifdef __SSE2__
    if (nsrc > 1 && ndst > 1 && !around && is_f32(t) && op == KERNEL_COMBINE_SUM &&
        __builtin_cpu_supports("avx512f")) {
        sum_through512(src, nsrc, dst, ndst, n);
        return;
    }
#endif
    v = k_vec_choose(KERNEL_MATH_FAST);
    if (n <= BLOCK && nsrc == 2 && ndst == 1 && !around && is_f32(t)) { /* small ones are many */
        v->bin[alu_of(op)](dst[0], src[0], src[1], n);
        return;
    }
    for (size_t off = 0; off < n; off += BLOCK)
        (around ? combine_around : combine_through)(v, t, op, src, nsrc, dst, ndst, off,
                                                    n - off < BLOCK ? n - off : BLOCK);
    if (around)
        k_around_end();
}
