/* SPDX-License-Identifier: Apache-2.0 */
/* The busiest activation functions with AVX-512 instructions that plain C does not reach: scaling
 * by a power of two, maxima that pass NaN. The formulas are those of vec_fast.h. */

#include <immintrin.h>

/* e^x for x <= 89; below -104 gives 0, NaN stays. */
static inline __m512 e512(__m512 x)
{
    const __m512 magic = _mm512_set1_ps(0x1.8p23f);
    __m512 t, n, r, p;

    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x); /* a NaN second operand is the result */
    t = _mm512_fmadd_ps(x, _mm512_set1_ps(0x1.715476p+0f), magic);
    n = _mm512_sub_ps(t, magic);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e400p-1f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
    p = _mm512_fmadd_ps(_mm512_set1_ps(0.00139483879f), r, _mm512_set1_ps(0.00836775824f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.0416662507f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.166665331f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

static inline __mmask16 first(size_t n)
{
    return n >= 16 ? (__mmask16)0xFFFF : (__mmask16)((1u << n) - 1);
}

#include "kernel/vec_table512.h"

/* Bits of 2^(j/16), less the j << 19 that a shifted n brings. */
static const _Alignas(64) uint32_t EXP_STEPS[16] = {
    0x3F800000, 0x3F7DAAC3, 0x3F7B95C2, 0x3F79C3D3, 0x3F7837F0, 0x3F76F532, 0x3F75FED7, 0x3F75583F,
    0x3F7504F3, 0x3F7508A4, 0x3F75672A, 0x3F76248C, 0x3F7744FD, 0x3F78CCDF, 0x3F7AC0C7, 0x3F7D257D};
#define EXP_PLAIN 87.0f /* below it in magnitude, e^x is a normal number */

/* e^x for |x| <= EXP_PLAIN: x = n ln(2) / 16 + r, e^x = 2^(n/16) (1 + r + r^2 q(r)). Fewer
 * multiplications than e512, and these are what exp waits for. */
static inline __m512 e512_plain(__m512 x)
{
    const __m512 magic = _mm512_set1_ps(0x1.8p23f);
    __m512 t = _mm512_fmadd_ps(x, _mm512_set1_ps(0x1.715476p+4f), magic);
    __m512 n = _mm512_sub_ps(t, magic), r, q;
    __m512i bits = _mm512_castps_si512(t); /* n in the low ones */
    __m512i step = _mm512_permutexvar_epi32(bits, _mm512_load_si512(EXP_STEPS));
    __m512 power = _mm512_castsi512_ps(_mm512_add_epi32(step, _mm512_slli_epi32(bits, 19)));

    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e400p-5f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-24f), r);
    q = _mm512_fmadd_ps(_mm512_set1_ps(0.166670248f), r, _mm512_set1_ps(0.500016212f));
    q = _mm512_fmadd_ps(_mm512_mul_ps(r, r), q, r);
    return _mm512_fmadd_ps(power, q, power);
}

#define EXP_VECTORS 4 /* worked on side by side, so that none waits for its own steps */

/* x[i] = e^x[i], whatever it is. */
static inline void exp_vectors(__m512 x[EXP_VECTORS])
{
    const __m512 plain = _mm512_set1_ps(EXP_PLAIN);
    __mmask16 rare[EXP_VECTORS];
    unsigned any = 0;

    for (int i = 0; i < EXP_VECTORS; i++) {
        rare[i] = _mm512_cmp_ps_mask(_mm512_abs_ps(x[i]), plain, _CMP_NLE_UQ);
        any |= rare[i];
    }
    if (__builtin_expect(any != 0, 0)) {
        for (int i = 0; i < EXP_VECTORS; i++) {
            __m512 slow = e512(_mm512_min_ps(_mm512_set1_ps(89.0f), x[i]));

            x[i] = _mm512_mask_mov_ps(e512_plain(x[i]), rare[i], slow);
        }
        return;
    }
    for (int i = 0; i < EXP_VECTORS; i++)
        x[i] = e512_plain(x[i]);
}

/* out = e^(in * scale + bias); returns acc + the sum of out. */
static float exp_sum(float *out, const float *in, float scale, float bias, size_t n, float acc)
{
    const __m512 s = _mm512_set1_ps(scale), b = _mm512_set1_ps(bias);
    __m512 sum[EXP_VECTORS] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                               _mm512_setzero_ps()};
    __m512 x[EXP_VECTORS];
    size_t i = 0;

    for (; i + 16 * EXP_VECTORS <= n; i += 16 * EXP_VECTORS) {
        for (int j = 0; j < EXP_VECTORS; j++)
            x[j] = _mm512_add_ps(_mm512_mul_ps(_mm512_loadu_ps(in + i + 16 * j), s), b);
        exp_vectors(x);
        for (int j = 0; j < EXP_VECTORS; j++) {
            _mm512_storeu_ps(out + i + 16 * j, x[j]);
            sum[j] = _mm512_add_ps(sum[j], x[j]);
        }
    }
    if (i < n) {
        __mmask16 m[EXP_VECTORS];

        for (int j = 0; j < EXP_VECTORS; j++) {
            m[j] = n - i > 16u * j ? first(n - i - 16u * j) : 0;
            x[j] = _mm512_maskz_loadu_ps(m[j], in + i + 16 * j);
            x[j] = _mm512_maskz_add_ps(m[j], _mm512_mul_ps(x[j], s), b);
        }
        exp_vectors(x);
        for (int j = 0; j < EXP_VECTORS; j++) {
            _mm512_mask_storeu_ps(out + i + 16 * j, m[j], x[j]);
            sum[j] = _mm512_mask_add_ps(sum[j], m[j], sum[j], x[j]);
        }
    }
    sum[0] = _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3]));
    return acc + _mm512_reduce_add_ps(sum[0]);
}

static void exp_512(float *out, const float *in, float param, size_t n)
{
    (void)param;
    exp_sum(out, in, 1.0f, 0.0f, n, 0.0f);
}

/* sigma(x), results below 2^-126 less exact than the rest. */
static inline __m512 sigma512(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512 e = e512(_mm512_or_ps(x, _mm512_set1_ps(-0.0f)));
    __mmask16 neg = _mm512_movepi32_mask(_mm512_castps_si512(x));

    return _mm512_div_ps(_mm512_mask_mov_ps(one, neg, e), _mm512_add_ps(one, e));
}

/* x times gate, 0 at -inf. */
static inline __m512 gate512(__m512 x, __m512 gate)
{
    __mmask16 low = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-1e30f), _CMP_LT_OQ);

    return _mm512_maskz_mul_ps((__mmask16)~low, x, gate);
}

#define LOOP512(name, expr)                                                    \
    static void name##_512(float *out, const float *in, float param, size_t n) \
    {                                                                          \
        (void)param;                                                           \
        for (size_t i = 0; i < n; i += 16) {                                   \
            __mmask16 m = first(n - i);                                        \
            __m512 x = _mm512_maskz_loadu_ps(m, in + i);                       \
                                                                               \
            _mm512_mask_storeu_ps(out + i, m, (expr));                         \
        }                                                                      \
    }

static inline __m512 gelu_tanh512(__m512 x)
{
    __m512 u = _mm512_mul_ps(x, x);

    u = _mm512_fmadd_ps(u, _mm512_set1_ps(0.071354814f), _mm512_set1_ps(1.5957691f));
    return gate512(x, sigma512(_mm512_mul_ps(u, x)));
}
LOOP512(silu, gate512(x, sigma512(x)))
LOOP512(gelu_sigmoid, gate512(x, sigma512(_mm512_mul_ps(x, _mm512_set1_ps(1.702f)))))
LOOP512(gelu_tanh, gelu_tanh512(x))

/* Largest or smallest of acc and in; NaN if one of them is. */
#define FOLD512(name, op)                                                              \
    static float name##_512(float acc, const float *in, size_t n)                      \
    {                                                                                  \
        __m512 a = _mm512_set1_ps(acc), b = a, c = a, d = a;                           \
        __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);                        \
        size_t i = 0;                                                                  \
                                                                                       \
        for (; i + 64 <= n; i += 64) {                                                 \
            __m512 x = _mm512_loadu_ps(in + i), y = _mm512_loadu_ps(in + i + 16);      \
            __m512 z = _mm512_loadu_ps(in + i + 32), w = _mm512_loadu_ps(in + i + 48); \
                                                                                       \
            a = op(a, x);                                                              \
            b = op(b, y);                                                              \
            c = op(c, z);                                                              \
            d = op(d, w);                                                              \
            nan |= _mm512_cmp_ps_mask(x, y, _CMP_UNORD_Q);                             \
            nan |= _mm512_cmp_ps_mask(z, w, _CMP_UNORD_Q);                             \
        }                                                                              \
        for (; i < n; i += 16) {                                                       \
            __mmask16 m = first(n - i);                                                \
            __m512 x = _mm512_mask_loadu_ps(a, m, in + i);                             \
                                                                                       \
            nan |= _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);                             \
            a = op(a, x);                                                              \
        }                                                                              \
        a = op(op(a, b), op(c, d));                                                    \
        return nan != 0 ? (float)NAN : _mm512_reduce_##name##_ps(a);                   \
    }
FOLD512(max, _mm512_max_ps)
FOLD512(min, _mm512_min_ps)
