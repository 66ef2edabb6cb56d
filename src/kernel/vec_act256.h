/* SPDX-License-Identifier: Apache-2.0 */
/* exp and the largest or smallest element with AVX2 instructions that plain C does not reach: a
 * table in a register, maxima that pass NaN. The formulas are those of vec_act512.h, with a table
 * half as large. */

/* Bits of 2^(j/8), less the j << 20 that a shifted n brings. */
static const _Alignas(32) uint32_t EXP_STEPS[8] = {0x3F800000, 0x3F7B95C2, 0x3F7837F0, 0x3F75FED7,
                                                   0x3F7504F3, 0x3F75672A, 0x3F7744FD, 0x3F7AC0C7};
#define EXP_PLAIN 87.0f /* below it in magnitude, e^x is a normal number */

/* e^x for |x| <= EXP_PLAIN: x = n ln(2) / 8 + r, e^x = 2^(n/8) (1 + r + r^2 q(r)); q is linear,
 * fitted for equal error (2^-25.2 of the result). */
static inline __m256 e256_plain(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(F_MAGIC);
    __m256 t = _mm256_fmadd_ps(x, _mm256_set1_ps(0x1.715476p+3f), magic);
    __m256 n = _mm256_sub_ps(t, magic), r, q;
    __m256i bits = _mm256_castps_si256(t); /* n in the low ones */
    __m256i step = _mm256_permutevar8x32_epi32(
        _mm256_load_si256((const __m256i *)(const void *)EXP_STEPS), bits);
    __m256 power = _mm256_castsi256_ps(_mm256_add_epi32(step, _mm256_slli_epi32(bits, 20)));

    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.62e400p-4f), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.7f7d1cp-23f), r);
    q = _mm256_fmadd_ps(_mm256_set1_ps(0.16666858f), r, _mm256_set1_ps(0.5000645f));
    q = _mm256_fmadd_ps(_mm256_mul_ps(r, r), q, r);
    return _mm256_fmadd_ps(power, q, power);
}

/* Where e^x is not a normal number. */
static inline __m256 exp_rare(__m256 x)
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MAX));

    return _mm256_cmp_ps(_mm256_and_ps(x, magnitude), _mm256_set1_ps(EXP_PLAIN), _CMP_NLE_UQ);
}

#define EXP_VECTORS 4 /* worked on side by side, so that none waits for its own steps */

/* x[i] = e^x[i], whatever it is. */
static inline void exp_vectors(__m256 x[EXP_VECTORS])
{
    __m256 any = _mm256_setzero_ps();

    for (int i = 0; i < EXP_VECTORS; i++)
        any = _mm256_or_ps(any, exp_rare(x[i]));
    if (__builtin_expect(_mm256_movemask_ps(any) != 0, 0)) {
        for (int i = 0; i < EXP_VECTORS; i++) {
            __m256 rare = exp_rare(x[i]);
            float slow[8];

            _mm256_storeu_ps(slow, x[i]);
            for (int j = 0; j < 8; j++)
                slow[j] = f_exp(slow[j]);
            x[i] = _mm256_blendv_ps(e256_plain(x[i]), _mm256_loadu_ps(slow), rare);
        }
        return;
    }
    for (int i = 0; i < EXP_VECTORS; i++)
        x[i] = e256_plain(x[i]);
}

/* 1 for x * 1: the bits are the same, and a multiplication is a ninth of the work. */
static inline __m256 affine256(__m256 x, __m256 scale, __m256 bias, bool scaled)
{
    return _mm256_add_ps(scaled ? _mm256_mul_ps(x, scale) : x, bias);
}

/* out = e^(in * scale + bias) for fewer elements than one step takes; returns acc + the sum of out.
 */
static float exp_sum_rest(float *out, const float *in, float scale, float bias, size_t n, float acc)
{
    float all[8 * EXP_VECTORS] = {0};
    __m256 x[EXP_VECTORS];

    memcpy(all, in, n * sizeof(*all));
    for (int j = 0; j < EXP_VECTORS; j++)
        x[j] = affine256(_mm256_loadu_ps(all + 8 * j), _mm256_set1_ps(scale), _mm256_set1_ps(bias),
                         true);
    exp_vectors(x);
    for (int j = 0; j < EXP_VECTORS; j++)
        _mm256_storeu_ps(all + 8 * j, x[j]);
    memcpy(out, all, n * sizeof(*all));
    return fold_add(acc, all, n);
}

/* The same for any number. */
static inline float exp_sum_loop(float *out, const float *in, float scale, float bias, size_t n,
                                 float acc, bool scaled)
{
    const __m256 s = _mm256_set1_ps(scale), b = _mm256_set1_ps(bias);
    __m256 x[EXP_VECTORS];
    vf sum[EXP_VECTORS] = {{0}};
    float pair[2];
    size_t i = 0;

    for (; i + 8 * EXP_VECTORS <= n; i += 8 * EXP_VECTORS) {
        for (int j = 0; j < EXP_VECTORS; j++)
            x[j] = affine256(_mm256_loadu_ps(in + i + 8 * j), s, b, scaled);
        exp_vectors(x);
        for (int j = 0; j < EXP_VECTORS; j++) {
            _mm256_storeu_ps(out + i + 8 * j, x[j]);
            sum[j] += (vf)x[j];
        }
    }
    fold_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]), pair);
    acc += pair[0] + pair[1];
    if (i == n)
        return acc;
    return exp_sum_rest(out + i, in + i, scale, bias, n - i, acc);
}

static float exp_sum(float *out, const float *in, float scale, float bias, size_t n, float acc)
{
    return scale == 1.0f ? exp_sum_loop(out, in, scale, bias, n, acc, false)
                         : exp_sum_loop(out, in, scale, bias, n, acc, true);
}

static void exp_256(float *out, const float *in, float param, size_t n)
{
    (void)param;
    exp_sum(out, in, 1.0f, 0.0f, n, 0.0f);
}

/* Largest or smallest of acc and in; NaN if one of them is. */
#define FOLD256(name)                                                                              \
    static float name##_256(float acc, const float *in, size_t n)                                  \
    {                                                                                              \
        __m256 a[4], x[4], nan = _mm256_setzero_ps();                                              \
        float best[4];                                                                             \
        size_t i = 0;                                                                              \
                                                                                                   \
        if (n < 32)                                                                                \
            return fold_##name(acc, in, n);                                                        \
        for (int j = 0; j < 4; j++)                                                                \
            a[j] = _mm256_set1_ps(acc);                                                            \
        for (; i + 32 <= n; i += 32) {                                                             \
            for (int j = 0; j < 4; j++) {                                                          \
                x[j] = _mm256_loadu_ps(in + i + 8 * j);                                            \
                a[j] = _mm256_##name##_ps(a[j], x[j]);                                             \
            }                                                                                      \
            nan = _mm256_or_ps(nan, _mm256_cmp_ps(x[0], x[1], _CMP_UNORD_Q));                      \
            nan = _mm256_or_ps(nan, _mm256_cmp_ps(x[2], x[3], _CMP_UNORD_Q));                      \
        }                                                                                          \
        if (_mm256_movemask_ps(nan) != 0)                                                          \
            return (float)NAN;                                                                     \
        a[0] = _mm256_##name##_ps(_mm256_##name##_ps(a[0], a[1]), _mm256_##name##_ps(a[2], a[3])); \
        _mm_storeu_ps(                                                                             \
            best, _mm_##name##_ps(_mm256_castps256_ps128(a[0]), _mm256_extractf128_ps(a[0], 1)));  \
        return fold_##name(fold_##name(acc, best, 4), in + i, n - i);                              \
    }
FOLD256(max)
FOLD256(min)
