/* SPDX-License-Identifier: Apache-2.0 */
/* bf16 products with AVX512-BF16: two rows of k at once; subnormal inputs count as 0. */
#include "kernel/mm.h"

#include <immintrin.h>
#include <string.h>

#define V            __m512
#define MM_LANES     16
#define MM_NR        4
#define ZERO()       _mm512_setzero_ps()
#define LOADU(p)     _mm512_loadu_ps(p)
#define STOREU(p, v) _mm512_storeu_ps(p, v)
#define BCAST(p)     _mm512_set1_ps(*(p))
#define MADD(s, x, c) \
    _mm512_dpbf16_ps(c, (__m512bh)_mm512_castps_si512(s), (__m512bh)_mm512_castps_si512(x))
#define ADD _mm512_add_ps
#include "kernel/mm_body.h"

/* Elements 0 .. 15 of two vectors in turns. */
static const uint16_t PICK[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                  8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};

static void interleave(uint32_t *out, const uint16_t *lo, const uint16_t *hi, uint32_t n)
{
    const __m512i low = _mm512_loadu_si512(PICK);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    uint32_t i = 0;

    for (; i + 32 <= n; i += 32) {
        __m512i a = _mm512_loadu_si512(lo + i);
        __m512i b = hi == NULL ? _mm512_setzero_si512() : _mm512_loadu_si512(hi + i);

        _mm512_storeu_si512(out + i, _mm512_permutex2var_epi16(a, low, b));
        _mm512_storeu_si512(out + i + 16, _mm512_permutex2var_epi16(a, high, b));
    }
    for (; i < n; i++)
        out[i] = lo[i] | (hi == NULL ? 0 : (uint32_t)hi[i] << 16);
}

const struct mm_kernel mm_avx512_bf16 = {
    .name = "avx512_bf16", .lanes = MM_LANES, .pairs = true, .run = run, .interleave = interleave};
