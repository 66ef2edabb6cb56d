/* SPDX-License-Identifier: Apache-2.0 */
/* bf16 products with AVX512-BF16: two rows of k at once; subnormal inputs count as 0. */
#include "kernel/mm.h"

#include <immintrin.h>

#define V            __m512
#define MM_LANES     16
#define MM_NR        4
#define MM_PAIRS     1
#define ZERO()       _mm512_setzero_ps()
#define LOADU(p)     _mm512_loadu_ps(p)
#define STOREU(p, v) _mm512_storeu_ps(p, v)
#define BCAST(p)     _mm512_set1_ps(*(p))
#define MADD(c, s, x) \
    ((c) = _mm512_dpbf16_ps(c, (__m512bh)_mm512_castps_si512(s), (__m512bh)_mm512_castps_si512(x)))
#include "kernel/mm_body.h"

/* Elements 0 .. 15 of two vectors in turns. */
static const uint16_t PICK[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                  8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};

static inline __mmask32 first(uint32_t n)
{
    return n >= 32 ? UINT32_MAX : (1u << n) - 1;
}

/* Two rows of n elements (hi NULL: zeros) into n cells. */
static inline void interleave(uint8_t *cells, const uint16_t *lo, const uint16_t *hi, uint32_t n,
                              __m512i low, __m512i high)
{
    for (uint32_t i = 0; i < n; i += 32) {
        __mmask32 some = first(n - i);
        __m512i a = _mm512_maskz_loadu_epi16(some, lo + i), b = _mm512_setzero_si512();

        if (hi != NULL)
            b = _mm512_maskz_loadu_epi16(some, hi + i);
        _mm512_mask_storeu_epi32(cells + (size_t)i * 4, (__mmask16)some,
                                 _mm512_permutex2var_epi16(a, low, b));
        _mm512_mask_storeu_epi32(cells + (size_t)i * 4 + 64, (__mmask16)(some >> 16),
                                 _mm512_permutex2var_epi16(a, high, b));
    }
}

static void pack(float *cells, const uint8_t *x, size_t stride, uint32_t k, uint32_t n,
                 uint32_t depth)
{
    const __m512i low = _mm512_loadu_si512(PICK);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    uint8_t *out = (uint8_t *)cells;

    (void)depth; /* several rows are one strip */
    for (; k > 0; out += MM_WIDTH * 4) {
        const uint16_t *lo = (const uint16_t *)(const void *)x;

        if (k == 1) {
            interleave(out, lo, NULL, n, low, high);
            return;
        }
        interleave(out, lo, (const uint16_t *)(const void *)(x + stride), n, low, high);
        k -= 2;
        x += 2 * stride;
    }
}

const struct mm_kernel mm_avx512_bf16 = {.name = "avx512_bf16",
                                         .lanes = MM_LANES,
                                         .strip = STRIP,
                                         .pairs = true,
                                         .run = run,
                                         .pack = pack};
