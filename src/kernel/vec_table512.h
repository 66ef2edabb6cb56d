/* SPDX-License-Identifier: Apache-2.0 */
/* tanh and gelu with AVX-512 from a table: |x| falls into one of 32 cells, and a polynomial of
 * degree four in the distance from the cell's left edge does the rest. |x| + 5/8 is what is cut
 * after three bits of fraction: cells are 1/16 wide near 0, where the result must be right relative
 * to itself, and grow with |x| as the functions flatten. Each coefficient is looked up in two
 * registers, so there is no division, no exponential and no memory access. Coefficients: fitted for
 * equal error on Chebyshev nodes of the cell, each rounded to fp32 before the lower ones were
 * fitted again; the constant is the value at the edge. Entry of a cell: the low five bits of its
 * number. */

#include <immintrin.h>

struct table512 {
    _Alignas(64) float c[5][32];
};

/* tanh a, relative error below 2^-24 (before rounding); 1 in the last cell, where a is cut to 9.25.
 */
static const struct table512 tanh_cells = {{
    {8.798267e-01f, 9.253462e-01f,  9.5404524e-01f, 9.7187275e-01f, 9.82845e-01f,   9.8955977e-01f,
     9.936546e-01f, 9.9614656e-01f, 9.97661e-01f,   9.991389e-01f,  9.9968314e-01f, 9.998834e-01f,
     9.999571e-01f, 9.999842e-01f,  9.999942e-01f,  9.9999785e-01f, 9.999992e-01f,  9.999999e-01f,
     0.0f,          6.2418748e-02f, 1.24353e-01f,   1.853332e-01f,  2.4491866e-01f, 3.0270973e-01f,
     3.583574e-01f, 4.6211717e-01f, 5.545997e-01f,  6.3514894e-01f, 7.039056e-01f,  7.615942e-01f,
     8.093011e-01f, 8.4828365e-01f},
    {2.2590286e-01f, 1.4373712e-01f, 8.979907e-02f,  5.5462208e-02f, 3.401737e-02f,  2.0768434e-02f,
     1.2653351e-02f, 7.6882537e-03f, 4.670423e-03f,  1.7206778e-03f, 6.325673e-04f,  2.3331033e-04f,
     8.7345805e-05f, 3.2594817e-05f, 1.0162576e-05f, 4.9199666e-06f, 1.2289246e-06f, 6.166482e-07f,
     1.0f,           9.961033e-01f,  9.845377e-01f,  9.656476e-01f,  9.400164e-01f,  9.083672e-01f,
     8.7157965e-01f, 7.864464e-01f,  6.9242513e-01f, 5.965891e-01f,  5.045231e-01f,  4.1996983e-01f,
     3.450302e-01f,  2.8041294e-01f},
    {-1.9873841e-01f, -1.3303952e-01f, -8.567064e-02f,  -5.3859346e-02f, -3.344844e-02f,
     -2.048208e-02f,  -1.2620005e-02f, -7.5813257e-03f, -4.6239854e-03f, -1.705875e-03f,
     -6.201014e-04f,  -2.3368135e-04f, -1.0102054e-04f, -4.1759027e-05f, 2.8490633e-06f,
     -1.0717969e-05f, 1.7101951e-07f,  -2.219461e-06f,  5.943474e-06f,   -6.2112566e-02f,
     -1.2253718e-01f, -1.7862612e-01f, -2.3034754e-01f, -2.7500042e-01f, -3.123242e-01f,
     -3.6340594e-01f, -3.843002e-01f,  -3.7909544e-01f, -3.5541993e-01f, -3.1969872e-01f,
     -2.7919084e-01f, -2.3780541e-01f},
    {9.976105e-02f,  7.519842e-02f,   5.1495172e-02f,  3.336685e-02f,   2.1428589e-02f,
     1.2821249e-02f, 8.506748e-03f,   4.4971546e-03f,  2.8658414e-03f,  1.0594627e-03f,
     3.6363275e-04f, 1.5131288e-04f,  1.0372246e-04f,  5.283396e-05f,   -3.8736787e-05f,
     2.3334074e-05f, -1.8543351e-06f, 3.3308381e-06f,  -3.3391094e-01f, -3.3032644e-01f,
     -3.105475e-01f, -2.9800496e-01f, -2.5407216e-01f, -2.1894942e-01f, -1.7880856e-01f,
     -9.392757e-02f, -1.3211888e-02f, 4.504781e-02f,   8.638187e-02f,   1.02326564e-01f,
     1.1085465e-01f, 1.0771732e-01f},
    {-2.4013638e-02f,  -2.4384305e-02f, -1.8554373e-02f, -1.2397093e-02f, -8.682654e-03f,
     -4.460877e-03f,   -3.995728e-03f,  -1.0369632e-03f, -9.532457e-04f,  -3.532159e-04f,
     -1.02766266e-04f, -5.5298853e-05f, -6.8335285e-05f, -3.9800037e-05f, 4.3473297e-05f,
     -2.1553757e-05f,  1.1333282e-06f,  -1.6357156e-06f, 1.5964897e-02f,  7.0362665e-02f,
     6.9966465e-02f,   1.9689624e-01f,  1.2232455e-01f,  1.5681183e-01f,  1.7041172e-01f,
     1.5743959e-01f,   1.0887709e-01f,  7.535371e-02f,   3.2299887e-02f,  2.5077518e-02f,
     -1.4740244e-03f,  -1.3245829e-02f},
}};

/* a Phi(-a), absolute error below 2^-24; 0 in the last cells. */
static const struct table512 gelu_cells = {{
    {1.16277866e-01f,
     8.463208e-02f,
     5.699318e-02f,
     3.5685778e-02f,
     2.0839378e-02f,
     1.1372677e-02f,
     5.807895e-03f,
     2.7782042e-03f,
     1.2456398e-03f,
     2.0658536e-04f,
     2.6563355e-05f,
     2.6522061e-06f,
     2.0581597e-07f,
     1.2421023e-08f,
     0.0f,
     0.0f,
     0.0f,
     0.0f,
     0.0f,
     2.9692646e-02f,
     5.628272e-02f,
     7.980643e-02f,
     1.0032342e-01f,
     1.1791571e-01f,
     1.3268633e-01f,
     1.5426877e-01f,
     1.6624096e-01f,
     1.6997051e-01f,
     1.6693859e-01f,
     1.5865526e-01f,
     1.4658134e-01f,
     1.3206221e-01f},
    {-1.2857665e-01f,
     -1.2104535e-01f,
     -9.85804e-02f,
     -7.186586e-02f,
     -4.7684982e-02f,
     -2.9069018e-02f,
     -1.6374476e-02f,
     -8.555343e-03f,
     -4.1537695e-03f,
     -7.935083e-04f,
     -1.15301744e-04f,
     -1.2821336e-05f,
     -1.095356e-06f,
     -7.209041e-08f,
     0.0f,
     0.0f,
     0.0f,
     0.0f,
     5.0e-01f,
     4.501969e-01f,
     4.007823e-01f,
     3.521367e-01f,
     3.046278e-01f,
     2.5860232e-01f,
     2.1438625e-01f,
     1.3250495e-01f,
     6.0884207e-02f,
     7.7497214e-04f,
     -4.7261894e-02f,
     -8.331569e-02f,
     -1.0806783e-01f,
     -1.2266015e-01f},
    {-8.457202e-03f,
     3.420377e-02f,
     5.2223098e-02f,
     5.255652e-02f,
     4.3319926e-02f,
     3.1134339e-02f,
     2.0045303e-02f,
     1.1727585e-02f,
     6.229483e-03f,
     1.3936003e-03f,
     2.3029532e-04f,
     2.8532893e-05f,
     2.6747814e-06f,
     1.908765e-07f,
     0.0f,
     0.0f,
     0.0f,
     0.0f,
     -3.9894238e-01f,
     -3.973711e-01f,
     -3.9276367e-01f,
     -3.851559e-01f,
     -3.7467858e-01f,
     -3.6140907e-01f,
     -3.4579045e-01f,
     -3.0807748e-01f,
     -2.6405635e-01f,
     -2.1648389e-01f,
     -1.6789427e-01f,
     -1.2098733e-01f,
     -7.7760614e-02f,
     -4.001459e-02f},
    {7.4728616e-02f,
     3.828553e-02f,
     9.25487e-03f,
     -8.585245e-03f,
     -1.6033368e-02f,
     -1.6344683e-02f,
     -1.3100148e-02f,
     -8.990117e-03f,
     -5.161094e-03f,
     -1.3582698e-03f,
     -2.5318997e-04f,
     -3.449068e-05f,
     -3.4938828e-06f,
     -2.6606247e-07f,
     0.0f,
     0.0f,
     0.0f,
     0.0f,
     6.9200864e-06f,
     1.6210629e-02f,
     3.336265e-02f,
     5.0031934e-02f,
     6.589523e-02f,
     7.805e-02f,
     9.1059335e-02f,
     1.1064149e-01f,
     1.23622574e-01f,
     1.3026138e-01f,
     1.2843971e-01f,
     1.21243946e-01f,
     1.08299494e-01f,
     9.359316e-02f},
    {-3.601658e-02f,
     -2.9062353e-02f,
     -1.8143645e-02f,
     -7.83063e-03f,
     -6.243704e-04f,
     3.0613688e-03f,
     4.0412596e-03f,
     3.5250033e-03f,
     2.0103985e-03f,
     6.1022886e-04f,
     1.2513045e-04f,
     1.8294799e-05f,
     1.9591905e-06f,
     1.5611671e-07f,
     0.0f,
     0.0f,
     0.0f,
     0.0f,
     6.636696e-02f,
     6.8396375e-02f,
     5.94137e-02f,
     4.860666e-02f,
     3.651072e-02f,
     4.446464e-02f,
     3.7993267e-02f,
     2.7365414e-02f,
     1.4183421e-02f,
     -2.6941183e-03f,
     -1.2713963e-02f,
     -2.391296e-02f,
     -2.9280571e-02f,
     -3.8505517e-02f},
}};

#define TABLE_SHIFT 0.625f
#define TABLE_END   9.25f /* in the last cell, but not beyond */

struct regs512 {
    __m512 lo[5], hi[5];
};

static inline struct regs512 table512_load(const struct table512 *t)
{
    struct regs512 r;

    for (int i = 0; i < 5; i++) {
        r.lo[i] = _mm512_load_ps(t->c[i]);
        r.hi[i] = _mm512_load_ps(t->c[i] + 16);
    }
    return r;
}

#define TABLE_VECTORS 4 /* worked on side by side, so that none waits for its own steps */

/* a[i] = the table's function of |x[i]| cut to TABLE_END; NaN stays. */
static inline void table512_at(const struct regs512 *t, const __m512 x[TABLE_VECTORS],
                               __m512 ret[TABLE_VECTORS])
{
    const __m512 shift = _mm512_set1_ps(TABLE_SHIFT), end = _mm512_set1_ps(TABLE_END);
    __m512i u[TABLE_VECTORS], cell[TABLE_VECTORS];
    __m512 d[TABLE_VECTORS];

    for (int i = 0; i < TABLE_VECTORS; i++) {
        d[i] = _mm512_min_ps(end, _mm512_abs_ps(x[i])); /* a NaN second one stays */
        u[i] = _mm512_castps_si512(_mm512_add_ps(d[i], shift));
    }
    for (int i = 0; i < TABLE_VECTORS; i++) {
        __m512i edge = _mm512_and_si512(u[i], _mm512_set1_epi32((int)0xFFF00000));

        cell[i] = _mm512_srli_epi32(u[i], 20);
        d[i] = _mm512_sub_ps(d[i], _mm512_sub_ps(_mm512_castsi512_ps(edge), shift));
        ret[i] = _mm512_permutex2var_ps(t->lo[4], cell[i], t->hi[4]);
    }
    for (int c = 3; c >= 0; c--)
        for (int i = 0; i < TABLE_VECTORS; i++)
            ret[i] =
                _mm512_fmadd_ps(ret[i], d[i], _mm512_permutex2var_ps(t->lo[c], cell[i], t->hi[c]));
}

static inline __m512 tanh512(__m512 x, __m512 of_abs)
{
    const __m512i sign = _mm512_set1_epi32(INT32_MIN), y = _mm512_castps_si512(of_abs);

    /* of_abs | (x & sign) */
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(y, _mm512_castps_si512(x), sign, 0xF8));
}

/* x Phi(x) = max(x, 0) - |x| Phi(-|x|) */
static inline __m512 gelu512(__m512 x, __m512 of_abs)
{
    return _mm512_sub_ps(_mm512_max_ps(_mm512_setzero_ps(), x), of_abs);
}

#define TABLE_LOOP512(name)                                                           \
    static void name##_512(float *out, const float *in, float param, size_t n)        \
    {                                                                                 \
        const struct regs512 t = table512_load(&name##_cells);                        \
        __m512 x[TABLE_VECTORS], y[TABLE_VECTORS];                                    \
        size_t i = 0;                                                                 \
                                                                                      \
        (void)param;                                                                  \
        for (; i + 16 * TABLE_VECTORS <= n; i += 16 * TABLE_VECTORS) {                \
            for (int j = 0; j < TABLE_VECTORS; j++)                                   \
                x[j] = _mm512_loadu_ps(in + i + 16 * j);                              \
            table512_at(&t, x, y);                                                    \
            for (int j = 0; j < TABLE_VECTORS; j++)                                   \
                _mm512_storeu_ps(out + i + 16 * j, name##512(x[j], y[j]));            \
        }                                                                             \
        if (i < n) {                                                                  \
            __mmask16 m[TABLE_VECTORS];                                               \
                                                                                      \
            for (int j = 0; j < TABLE_VECTORS; j++) {                                 \
                m[j] = n - i > 16u * j ? first(n - i - 16u * j) : 0;                  \
                x[j] = _mm512_maskz_loadu_ps(m[j], in + i + 16 * j);                  \
            }                                                                         \
            table512_at(&t, x, y);                                                    \
            for (int j = 0; j < TABLE_VECTORS; j++)                                   \
                _mm512_mask_storeu_ps(out + i + 16 * j, m[j], name##512(x[j], y[j])); \
        }                                                                             \
    }
TABLE_LOOP512(tanh)
TABLE_LOOP512(gelu)
