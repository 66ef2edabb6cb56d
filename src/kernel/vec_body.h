/* SPDX-License-Identifier: Apache-2.0 */
/* The loops of struct k_vec in plain C, included once per instruction set by vec_<name>.c, which
 * sets VEC_BYTES (0: scalar sums) and the compiler's flags. The same expressions give the same bits
 * everywhere because contraction is off; only sums and products of many terms differ in order. */

#include <math.h>
#include <string.h>
#if VEC_BYTES > 0
#include <immintrin.h>
#endif

#include "kernel/vec_act.h"

#ifdef __clang__
#define VEC_LOOP _Pragma("clang loop vectorize(assume_safety)")
#else
#define VEC_LOOP _Pragma("GCC ivdep")
#endif
#if VEC_BYTES == 32 && !defined(__clang__)
#define PAIR_LOOP VEC_LOOP _Pragma("GCC unroll 4")
#else
#define PAIR_LOOP VEC_LOOP
#endif

#if VEC_BYTES > 0
typedef float vf __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(VEC_BYTES)));
#define VN ((size_t)VEC_BYTES / 4)
#endif

/* ---- conversions ----------------------------------------------------------------------------- */

static inline uint32_t v_bits(float v)
{
    uint32_t u;

    memcpy(&u, &v, sizeof(u));
    return u;
}

static inline float v_float(uint32_t u)
{
    float v;

    memcpy(&v, &u, sizeof(v));
    return v;
}

#define LOAD_INT(name, type)                                           \
    static void load_##name(float *out, const void *src, size_t n)     \
    {                                                                  \
        const type *in = src;                                          \
        VEC_LOOP for (size_t i = 0; i < n; i++) out[i] = (float)in[i]; \
    }
LOAD_INT(u8, uint8_t)
LOAD_INT(i8, int8_t)
LOAD_INT(u16, uint16_t)
LOAD_INT(i16, int16_t)
LOAD_INT(i32, int32_t)
LOAD_INT(u32, uint32_t)

static void load_bool(float *out, const void *src, size_t n)
{
    const uint8_t *in = src;

    VEC_LOOP for (size_t i = 0; i < n; i++) out[i] = in[i] != 0 ? 1.0f : 0.0f;
}

static void load_f32(float *out, const void *src, size_t n)
{
    memmove(out, src, n * sizeof(*out));
}

static void load_bf16(float *out, const void *src, size_t n)
{
    const uint16_t *in = src;

    VEC_LOOP for (size_t i = 0; i < n; i++)
    {
        uint32_t u = (uint32_t)in[i] << 16;

        u |= (u & 0x7FFFFFFF) > 0x7F800000 ? 0x00400000 : 0;
        out[i] = v_float(u);
    }
}

/* A small float with e exponent and m mantissa bits, IEEE-like (fn: one NaN, no inf): its magnitude
 * bits placed at fp32's mantissa and scaled by a power of two give the value, subnormals too. */
#define LOAD_SMALL(name, type, e, m, bias, fn)                                                    \
    static void load_##name(float *out, const void *src, size_t n)                                \
    {                                                                                             \
        const type *in = src;                                                                     \
        VEC_LOOP for (size_t i = 0; i < n; i++)                                                   \
        {                                                                                         \
            uint32_t c = in[i], a = c & ((1u << (e + m)) - 1);                                    \
            uint32_t top = ((1u << e) - 1) << m;                                                  \
            uint32_t s = c >> (e + m) << 31;                                                      \
            uint32_t u = v_bits(v_float(a << (23 - m)) * v_float((254u - bias) << 23));           \
            uint32_t x =                                                                          \
                fn ? 0x7FC00000                                                                   \
                   : 0x7F800000 | (a & ((1u << m) - 1)) << (23 - m) | (a > top ? 0x00400000 : 0); \
            u = (fn ? a == (1u << (e + m)) - 1 : a >= top) ? x : u;                               \
            out[i] = v_float(u | s);                                                              \
        }                                                                                         \
    }
LOAD_SMALL(f16, uint16_t, 5, 10, 15, false)
LOAD_SMALL(e3, uint8_t, 3, 4, 3, false)
LOAD_SMALL(e4, uint8_t, 4, 3, 7, false)
LOAD_SMALL(e5, uint8_t, 5, 2, 15, false)
LOAD_SMALL(e4fn, uint8_t, 4, 3, 7, true)

#define LOAD_SLOW(name, dt, size)                                      \
    static void load_##name(float *out, const void *in, size_t n)      \
    {                                                                  \
        for (size_t i = 0; i < n; i++)                                 \
            out[i] = dtype_load(dt, (const uint8_t *)in + i * (size)); \
    }                                                                  \
    static void store_##name(void *out, const float *in, size_t n)     \
    {                                                                  \
        for (size_t i = 0; i < n; i++)                                 \
            dtype_store(dt, (uint8_t *)out + i * (size), in[i]);       \
    }
LOAD_SLOW(u64, DT_UINT64, 8)
LOAD_SLOW(i64, DT_INT64, 8)
LOAD_SLOW(e8m0, DT_FP8_E8M0, 1)
/* Packed types have no value of their own: NaN in, nothing out. */
LOAD_SLOW(x4, DT_FP8_E5_X4, 4)
LOAD_SLOW(x2, DT_FP4_E2M1_X4, 2)

/* Limits as in dtype.c: lo is the minimum, hi the maximum plus one, both exact. */
#define STORE_INT(name, type, via, lo, hi, min, max)                \
    static void store_##name(void *dst, const float *in, size_t n)  \
    {                                                               \
        type *out = dst;                                            \
        VEC_LOOP for (size_t i = 0; i < n; i++)                     \
        {                                                           \
            float r = rintf(in[i]);                                 \
            bool over = r >= (hi), under = r <= (lo), bad = r != r; \
            via x = (via)((over | under | bad) ? 0.0f : r);         \
            x = over ? (via)(max) : under ? (via)(min) : x;         \
            out[i] = (type)x;                                       \
        }                                                           \
    }
STORE_INT(u8, uint8_t, int32_t, 0.0f, 0x1p8f, 0, UINT8_MAX)
STORE_INT(i8, int8_t, int32_t, -0x1p7f, 0x1p7f, INT8_MIN, INT8_MAX)
STORE_INT(u16, uint16_t, int32_t, 0.0f, 0x1p16f, 0, UINT16_MAX)
STORE_INT(i16, int16_t, int32_t, -0x1p15f, 0x1p15f, INT16_MIN, INT16_MAX)
STORE_INT(i32, int32_t, int32_t, -0x1p31f, 0x1p31f, INT32_MIN, INT32_MAX)
STORE_INT(u32, uint32_t, uint32_t, 0.0f, 0x1p32f, 0, UINT32_MAX)

static void store_bool(void *dst, const float *in, size_t n)
{
    uint8_t *out = dst;

    VEC_LOOP for (size_t i = 0; i < n; i++) out[i] = in[i] == 0.0f ? 0 : 1;
}

static void store_f32(void *out, const float *in, size_t n)
{
    memmove(out, in, n * sizeof(*in));
}

static void store_bf16(void *dst, const float *in, size_t n)
{
    uint16_t *out = dst;

    VEC_LOOP for (size_t i = 0; i < n; i++)
    {
        uint32_t u = v_bits(in[i]);
        uint32_t r = (u + 0x7FFF + (u >> 16 & 1)) >> 16;

        out[i] = (uint16_t)((u & 0x7FFFFFFF) > 0x7F800000 ? u >> 16 | 0x40 : r);
    }
}

static void store_tf32(void *dst, const float *in, size_t n)
{
    uint32_t *out = dst;

    VEC_LOOP for (size_t i = 0; i < n; i++)
    {
        uint32_t u = v_bits(in[i]);
        uint32_t r = (u + 0xFFF + (u >> 13 & 1)) & ~0x1FFFu;

        out[i] = (u & 0x7FFFFFFF) > 0x7F800000 ? (u & 0x80000000) | 0x7FC00000 : r;
    }
}

/* fp32 to a small float, to nearest even: normals by integer rounding, values below the smallest
 * normal by adding a power of two whose last place is the target's. */
#define STORE_SMALL(name, type, e, m, bias, fn)                                     \
    static void store_##name(void *dst, const float *in, size_t n)                  \
    {                                                                               \
        type *out = dst;                                                            \
        const uint32_t past = fn ? (1u << (e + m)) - 1 : ((1u << e) - 1) << m;      \
        const uint32_t magic = (uint32_t)(127 + 1 - bias - m + 23) << 23;           \
        VEC_LOOP for (size_t i = 0; i < n; i++)                                     \
        {                                                                           \
            uint32_t u = v_bits(in[i]), a = u & 0x7FFFFFFF, s = u >> 31 << (e + m); \
            uint32_t r = a + ((1u << (22 - m)) - 1) + (a >> (23 - m) & 1);          \
            uint32_t norm = (r >> (23 - m)) - ((127u - bias) << m);                 \
            uint32_t sub = v_bits(v_float(a) + v_float(magic)) - magic;             \
            uint32_t c = a < (uint32_t)(128 - bias) << 23 ? sub : norm;             \
            c = c < past ? c : past;                                                \
            c = a > 0x7F800000 ? past | (fn ? 0 : 1u << (m - 1)) : c;               \
            c = a == 0x7F800000 ? past : c;                                         \
            out[i] = (type)(c | s);                                                 \
        }                                                                           \
    }
STORE_SMALL(f16, uint16_t, 5, 10, 15, false)
STORE_SMALL(e3, uint8_t, 3, 4, 3, false)
STORE_SMALL(e4, uint8_t, 4, 3, 7, false)
STORE_SMALL(e5, uint8_t, 5, 2, 15, false)
STORE_SMALL(e4fn, uint8_t, 4, 3, 7, true)

/* ---- ALU operators --------------------------------------------------------------------------- */

#define BIN(name, expr)                                                            \
    static void bin_##name(float *out, const float *px, const float *py, size_t n) \
    {                                                                              \
        VEC_LOOP for (size_t i = 0; i < n; i++)                                    \
        {                                                                          \
            float x = px[i], y = py[i];                                            \
            (void)y;                                                               \
            out[i] = (expr);                                                       \
        }                                                                          \
    }                                                                              \
    static void bins_##name(float *out, const float *px, float y, size_t n)        \
    {                                                                              \
        (void)y;                                                                   \
        VEC_LOOP for (size_t i = 0; i < n; i++)                                    \
        {                                                                          \
            float x = px[i];                                                       \
            out[i] = (expr);                                                       \
        }                                                                          \
    }                                                                              \
    static void binr_##name(float *out, const float *py, float x, size_t n)        \
    {                                                                              \
        VEC_LOOP for (size_t i = 0; i < n; i++)                                    \
        {                                                                          \
            float y = py[i];                                                       \
            (void)y;                                                               \
            out[i] = (expr);                                                       \
        }                                                                          \
    }
#define ONE(c) ((c) ? 1.0f : 0.0f)
BIN(bypass, x)
BIN(add, x + y)
BIN(sub, x - y)
BIN(mul, x *y)
BIN(max, ((x > y) | (x != x)) ? x : y)
BIN(min, ((x < y) | (x != x)) ? x : y)
BIN(eq, ONE(x == y))
BIN(ne, ONE(x != y))
BIN(ge, ONE(x >= y))
BIN(gt, ONE(x > y))
BIN(le, ONE(x <= y))
BIN(lt, ONE(x < y))
BIN(land, ONE((x != 0.0f) & (y != 0.0f)))
BIN(lor, ONE((x != 0.0f) | (y != 0.0f)))
BIN(lxor, ONE((x != 0.0f) ^ (y != 0.0f)))
BIN(lnot, ONE(x == 0.0f))
BIN(absmax, fabsf(x) > fabsf(y) ? x : y)
BIN(absmin, fabsf(x) < fabsf(y) ? x : y)
BIN(abs, fabsf(x))
BIN(square, x *x)
BIN(relu, ((x > 0.0f) | (x != x)) ? x : 0.0f)
BIN(rsqrt, 1.0f / sqrtf(x))
BIN(recip, 1.0f / x)
BIN(power, (float)pow((double)x, (double)y))

/* Two operators in one pass: (x op0 s) op1 y, and the same with a scalar for y. The pass is what
 * takes the time, not the arithmetic. */
#define PAIR(name, expr)                                                                     \
    static void pair_##name(float *out, const float *px, float s, const float *py, size_t n) \
    {                                                                                        \
        PAIR_LOOP for (size_t i = 0; i < n; i++)                                             \
        {                                                                                    \
            float x = px[i], y = py[i];                                                      \
            out[i] = (expr);                                                                 \
        }                                                                                    \
    }                                                                                        \
    static void pairs_##name(float *out, const float *px, float s, float y, size_t n)        \
    {                                                                                        \
        PAIR_LOOP for (size_t i = 0; i < n; i++)                                             \
        {                                                                                    \
            float x = px[i];                                                                 \
            out[i] = (expr);                                                                 \
        }                                                                                    \
    }
PAIR(add_add, (x + s) + y)
PAIR(add_sub, (x + s) - y)
PAIR(add_mul, (x + s) * y)
PAIR(sub_add, (x - s) + y)
PAIR(sub_sub, (x - s) - y)
PAIR(sub_mul, (x - s) * y)
PAIR(mul_add, x *s + y)
PAIR(mul_sub, x *s - y)
PAIR(mul_mul, (x * s) * y)

/* ---- stages ---- */

#define STAGE_KIND(op, each) ((op)*2u + (each))
#define STAGE_BLOCK          64u /* elements that go through all stages at once */

/* n <= STAGE_BLOCK elements from element at on. */
static void chain_block(float *out, const float *x, const struct k_stage *stage, unsigned count,
                        size_t at, size_t n)
{
    float v[STAGE_BLOCK];

    memcpy(v, x + at, n * sizeof(*v));
    for (unsigned k = 0; k < count; k++) {
        const float s = stage[k].s, *y = stage[k].y;

        switch (STAGE_KIND(stage[k].op, stage[k].each)) {
        case STAGE_KIND(0, 0):
            bins_add(v, v, s, n);
            break;
        case STAGE_KIND(0, 1):
            bin_add(v, v, y + at, n);
            break;
        case STAGE_KIND(1, 0):
            bins_sub(v, v, s, n);
            break;
        case STAGE_KIND(1, 1):
            bin_sub(v, v, y + at, n);
            break;
        case STAGE_KIND(2, 0):
            bins_mul(v, v, s, n);
            break;
        default:
            bin_mul(v, v, y + at, n);
        }
    }
    memcpy(out + at, v, n * sizeof(*v));
}

#if VEC_BYTES > 0
/* Eight vectors at a time stay in registers from the first stage to the last. */
#define EIGHT(step)    step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7)
#define CHAIN_LOAD(j)  v##j = *(const vf *)(x + i + j * VN);
#define CHAIN_STORE(j) *(vf *)(out + i + j * VN) = v##j;
#define CHAIN_ADD_S(j) v##j = v##j + s;
#define CHAIN_SUB_S(j) v##j = v##j - s;
#define CHAIN_MUL_S(j) v##j = v##j * s;
#define CHAIN_ADD_Y(j) v##j = v##j + *(const vf *)(y + j * VN);
#define CHAIN_SUB_Y(j) v##j = v##j - *(const vf *)(y + j * VN);
#define CHAIN_MUL_Y(j) v##j = v##j * *(const vf *)(y + j * VN);

static size_t chain_vectors(float *out, const float *x, const struct k_stage *stage, unsigned count,
                            size_t n)
{
    size_t i = 0;

    for (; i + 8 * VN <= n; i += 8 * VN) {
        vf v0, v1, v2, v3, v4, v5, v6, v7;

        EIGHT(CHAIN_LOAD)
        for (unsigned k = 0; k < count; k++) {
            const vf s = stage[k].s - (vf){0};
            const float *y = stage[k].y + i;

            switch (STAGE_KIND(stage[k].op, stage[k].each)) {
            case STAGE_KIND(0, 0):
                EIGHT(CHAIN_ADD_S)
                break;
            case STAGE_KIND(0, 1):
                EIGHT(CHAIN_ADD_Y)
                break;
            case STAGE_KIND(1, 0):
                EIGHT(CHAIN_SUB_S)
                break;
            case STAGE_KIND(1, 1):
                EIGHT(CHAIN_SUB_Y)
                break;
            case STAGE_KIND(2, 0):
                EIGHT(CHAIN_MUL_S)
                break;
            default:
                EIGHT(CHAIN_MUL_Y)
            }
        }
        EIGHT(CHAIN_STORE)
    }
    return i;
}
#endif

static void chain(float *out, const float *x, const struct k_stage *stage, unsigned count, size_t n)
{
    size_t i = 0;

#if VEC_BYTES > 0
    i = chain_vectors(out, x, stage, count, n);
#endif
    for (; i < n; i += STAGE_BLOCK)
        chain_block(out, x, stage, count, i, n - i < STAGE_BLOCK ? n - i : STAGE_BLOCK);
}

static void affine(float *out, const float *in, float scale, float bias, size_t n)
{
    VEC_LOOP for (size_t i = 0; i < n; i++)
    {
        float t = in[i] * scale;

        out[i] = t + bias;
    }
}

static void fma_(float *acc, float scale, const float *in, size_t n)
{
    VEC_LOOP for (size_t i = 0; i < n; i++)
    {
        float t = in[i] * scale;

        acc[i] = acc[i] + t;
    }
}

/* ---- folds ----------------------------------------------------------------------------------- */

#if VEC_BYTES > 0

static inline vf v_sel(vi m, vf a, vf b)
{
    return (vf)((m & (vi)a) | (~m & (vi)b));
}

/* Four vector accumulators, then lanes, then the tail. */
#define FOLD(name, start, vexpr, sexpr)                                                    \
    static __attribute__((unused)) float fold_##name(float acc, const float *in, size_t n) \
    {                                                                                      \
        size_t i = 0;                                                                      \
        if (n >= 4 * VN) {                                                                 \
            vf a[4];                                                                       \
            float x, y;                                                                    \
            for (unsigned j = 0; j < 4; j++)                                               \
                a[j] = *(const vf *)(in + j * VN);                                         \
            for (i = 4 * VN; i + 4 * VN <= n; i += 4 * VN)                                 \
                for (unsigned j = 0; j < 4; j++) {                                         \
                    vf vx = a[j], vy = *(const vf *)(in + i + j * VN);                     \
                    a[j] = (vexpr);                                                        \
                }                                                                          \
            for (unsigned j = 1; j < 4; j++) {                                             \
                vf vx = a[0], vy = a[j];                                                   \
                a[0] = (vexpr);                                                            \
            }                                                                              \
            x = a[0][0];                                                                   \
            for (unsigned j = 1; j < VN; j++) {                                            \
                y = a[0][j];                                                               \
                x = (sexpr);                                                               \
            }                                                                              \
            y = x;                                                                         \
            x = acc;                                                                       \
            acc = (sexpr);                                                                 \
        }                                                                                  \
        for (; i < n; i++) {                                                               \
            float x = acc, y = in[i];                                                      \
            acc = (sexpr);                                                                 \
        }                                                                                  \
        return acc;                                                                        \
    }
#else
#define FOLD(name, start, vexpr, sexpr)                                                    \
    static __attribute__((unused)) float fold_##name(float acc, const float *in, size_t n) \
    {                                                                                      \
        for (size_t i = 0; i < n; i++) {                                                   \
            float x = acc, y = in[i];                                                      \
            acc = (sexpr);                                                                 \
        }                                                                                  \
        return acc;                                                                        \
    }
#endif
FOLD(add, 0.0f, vx + vy, x + y)
FOLD(mul, 1.0f, vx *vy, x *y)
FOLD(max, x, v_sel((vx > vy) | (vx != vx), vx, vy), ((x > y) | (x != x)) ? x : y)
FOLD(min, x, v_sel((vx < vy) | (vx != vx), vx, vy), ((x < y) | (x != x)) ? x : y)

/* Not associative, or rare: in order. */
#define FOLD_SEQ(name, expr)                                                               \
    static __attribute__((unused)) float fold_##name(float acc, const float *in, size_t n) \
    {                                                                                      \
        for (size_t i = 0; i < n; i++) {                                                   \
            float x = acc, y = in[i];                                                      \
            acc = (expr);                                                                  \
        }                                                                                  \
        return acc;                                                                        \
    }
FOLD_SEQ(absmax, fabsf(x) > fabsf(y) ? x : y)
FOLD_SEQ(absmin, fabsf(x) < fabsf(y) ? x : y)
FOLD_SEQ(land, ONE((x != 0.0f) & (y != 0.0f)))
FOLD_SEQ(lor, ONE((x != 0.0f) | (y != 0.0f)))
FOLD_SEQ(lxor, ONE((x != 0.0f) ^ (y != 0.0f)))

/* x0 - x1 - x2 ... = x0 - (x1 + x2 + ...), a sum like the others. */
static float fold_sub(float acc, const float *in, size_t n)
{
#if VEC_BYTES > 0
    return n == 0 ? acc : acc - fold_add(0.0f, in, n);
#else
    for (size_t i = 0; i < n; i++)
        acc -= in[i];
    return acc;
#endif
}

/* ---- statistics of the even and of the odd elements --------------------------------------------
 */

#if VEC_BYTES > 0
#define SUMS \
    8 /* that go side by side: an addition takes three or four steps, two may begin in each */
#ifdef __clang__
#define SUMS_LOOP _Pragma("clang loop unroll(full)")
#else
#define SUMS_LOOP _Pragma("GCC unroll 8")
#endif

/* A vector of sums into one of even and one of odd elements, by halves: lane after lane takes as
 * long as hundreds of elements. */
static inline void fold_lanes(vf sum, float s[2])
{
    __m256 w;
    __m128 q;

#if VEC_BYTES == 64
    w = _mm256_add_ps(_mm512_castps512_ps256((__m512)sum), _mm512_extractf32x8_ps((__m512)sum, 1));
#else
    w = (__m256)sum;
#endif
    q = _mm_add_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    memcpy(s, &q, 2 * sizeof(*s));
}

static inline vf fold_sums(const vf a[SUMS])
{
    return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
}

static inline vf v_fma(vf x, vf y, vf z)
{
#if VEC_BYTES == 64
    return (vf)_mm512_fmadd_ps((__m512)x, (__m512)y, (__m512)z);
#else
    return (vf)_mm256_fmadd_ps((__m256)x, (__m256)y, (__m256)z);
#endif
}
#endif

static void sum2(const float *in, size_t n, float out[2])
{
    float s[2] = {0.0f, 0.0f};
    size_t i = 0;

#if VEC_BYTES > 0
    vf a[SUMS] = {{0}};

    for (; i + SUMS * VN <= n; i += SUMS * VN)
        SUMS_LOOP for (unsigned j = 0; j < SUMS; j++) a[j] += *(const vf *)(in + i + j * VN);
    for (; i + VN <= n; i += VN)
        a[0] += *(const vf *)(in + i);
    fold_lanes(fold_sums(a), s);
#endif
    for (; i < n; i++)
        s[i & 1] += in[i];
    out[0] = s[0];
    out[1] = s[1];
}

static void sqdev2(const float *in, size_t n, const float mean[2], float out[2])
{
    float s[2] = {0.0f, 0.0f};
    size_t i = 0;

#if VEC_BYTES > 0
    vf a[SUMS] = {{0}}, m, x;

    for (unsigned j = 0; j < VN; j++)
        m[j] = mean[j & 1];
    for (; i + SUMS * VN <= n; i += SUMS * VN)
        SUMS_LOOP for (unsigned j = 0; j < SUMS; j++)
        {
            x = *(const vf *)(in + i + j * VN) - m;
            a[j] = v_fma(x, x, a[j]);
        }
    for (; i + VN <= n; i += VN) {
        x = *(const vf *)(in + i) - m;
        a[0] = v_fma(x, x, a[0]);
    }
    fold_lanes(fold_sums(a), s);
#endif
    for (; i < n; i++) {
        float d = in[i] - mean[i & 1];

        s[i & 1] += d * d;
    }
    out[0] = s[0];
    out[1] = s[1];
}

static bool has_nan(const float *in, size_t n)
{
    uint32_t any = 0;

    for (size_t i = 0; i < n; i++)
        any |= in[i] != in[i];
    return any != 0;
}

/* ---- exact activation functions -------------------------------------------------------------- */

#define ACT(name, expr)                                                        \
    static void act_##name(float *out, const float *in, float param, size_t n) \
    {                                                                          \
        (void)param;                                                           \
        VEC_LOOP for (size_t i = 0; i < n; i++)                                \
        {                                                                      \
            float x = in[i];                                                   \
            out[i] = (expr);                                                   \
        }                                                                      \
    }
ACT(square, x *x)
ACT(relu, ((x > 0.0f) | (x != x)) ? x : 0.0f)
ACT(prelu, x >= 0.0f ? x : param * x)
ACT(sqrt, sqrtf(x))
ACT(rsqrt, 1.0f / sqrtf(x))
ACT(recip, 1.0f / x)
ACT(sign, x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x == 0.0f ? 0.0f : x)
ACT(abs, fabsf(x))

static void act_copy(float *out, const float *in, float param, size_t n)
{
    (void)param;
    if (out != in)
        memmove(out, in, n * sizeof(*out));
}

/* ---- the other activation functions ---------------------------------------------------------- */

#if VEC_BYTES > 0
#include "kernel/vec_fast.h"
#define SOFT(name) fast_##name
#else
#define SOFT(name) k_act_##name
#endif
#if VEC_BYTES == 64
#include "kernel/vec_act512.h"
#define BEST(name) name##_512
#define BEST_EXP   exp_512
#define BEST_MAX   max_512
#define BEST_MIN   min_512
#define EXP_SUM    exp_sum
#elif VEC_BYTES == 32
#include "kernel/vec_act256.h"
#define BEST(name) SOFT(name)
#define BEST_EXP   exp_256
#define BEST_MAX   max_256
#define BEST_MIN   min_256
#define EXP_SUM    exp_sum
#else
#define BEST(name) SOFT(name)
#define BEST_EXP   k_act_exp
#define BEST_MAX   fold_max
#define BEST_MIN   fold_min
#define EXP_SUM    NULL
#endif

/* ---- the table ------------------------------------------------------------------------------- */

#define BIN_TABLE(pre)                                                                             \
    {                                                                                              \
        [ISA_ALU_BYPASS] = pre##bypass, [ISA_ALU_ADD] = pre##add, [ISA_ALU_SUBTRACT] = pre##sub,   \
        [ISA_ALU_MULTIPLY] = pre##mul, [ISA_ALU_MAX] = pre##max, [ISA_ALU_MIN] = pre##min,         \
        [ISA_ALU_EQ] = pre##eq, [ISA_ALU_NE] = pre##ne, [ISA_ALU_GE] = pre##ge,                    \
        [ISA_ALU_GT] = pre##gt, [ISA_ALU_LE] = pre##le, [ISA_ALU_LT] = pre##lt,                    \
        [ISA_ALU_LOGICAL_AND] = pre##land, [ISA_ALU_LOGICAL_OR] = pre##lor,                        \
        [ISA_ALU_LOGICAL_XOR] = pre##lxor, [ISA_ALU_LOGICAL_NOT] = pre##lnot,                      \
        [ISA_ALU_POWER] = pre##power, [ISA_ALU_ABS_MAX] = pre##absmax,                             \
        [ISA_ALU_ABS_MIN] = pre##absmin, [ISA_ALU_ABS] = pre##abs, [ISA_ALU_SQUARE] = pre##square, \
        [ISA_ALU_RELU] = pre##relu, [ISA_ALU_RSQRT] = pre##rsqrt,                                  \
        [ISA_ALU_RECIPROCAL] = pre##recip,                                                         \
    }

#define PAIR_TABLE(pre)                                                                         \
    {                                                                                           \
        {pre##add_add, pre##add_sub, pre##add_mul}, {pre##sub_add, pre##sub_sub, pre##sub_mul}, \
            {pre##mul_add, pre##mul_sub, pre##mul_mul},                                         \
    }

#define VEC_TABLE_BODY(label)                                                                     \
    .name = label,                                                                                \
    .load = {[DT_UINT64] = load_u64,    [DT_INT64] = load_i64,    [DT_UINT8] = load_u8,           \
             [DT_INT8] = load_i8,       [DT_UINT16] = load_u16,   [DT_INT16] = load_i16,          \
             [DT_UINT32] = load_u32,    [DT_INT32] = load_i32,    [DT_BF16] = load_bf16,          \
             [DT_FP16] = load_f16,      [DT_FP32] = load_f32,     [DT_FP32R] = load_f32,          \
             [DT_TF32] = load_f32,      [DT_BOOL] = load_bool,    [DT_FP8_E3] = load_e3,          \
             [DT_FP8_E4] = load_e4,     [DT_FP8_E5] = load_e5,    [DT_FP8_E4FN] = load_e4fn,      \
             [DT_FP8_E8M0] = load_e8m0, [DT_FP8_E5_X4] = load_x4, [DT_FP8_E4FN_X4] = load_x4,     \
             [DT_FP4_E2M1_X4] = load_x2},                                                         \
    .store = {[DT_UINT64] = store_u64,    [DT_INT64] = store_i64,    [DT_UINT8] = store_u8,       \
              [DT_INT8] = store_i8,       [DT_UINT16] = store_u16,   [DT_INT16] = store_i16,      \
              [DT_UINT32] = store_u32,    [DT_INT32] = store_i32,    [DT_BF16] = store_bf16,      \
              [DT_FP16] = store_f16,      [DT_FP32] = store_f32,     [DT_FP32R] = store_f32,      \
              [DT_TF32] = store_tf32,     [DT_BOOL] = store_bool,    [DT_FP8_E3] = store_e3,      \
              [DT_FP8_E4] = store_e4,     [DT_FP8_E5] = store_e5,    [DT_FP8_E4FN] = store_e4fn,  \
              [DT_FP8_E8M0] = store_e8m0, [DT_FP8_E5_X4] = store_x4, [DT_FP8_E4FN_X4] = store_x4, \
              [DT_FP4_E2M1_X4] = store_x2},                                                       \
    .bin = BIN_TABLE(bin_), .bin_s = BIN_TABLE(bins_), .bin_r = BIN_TABLE(binr_),                 \
    .pair = PAIR_TABLE(pair_), .pair_s = PAIR_TABLE(pairs_), .chain = chain, .affine = affine,    \
    .fma = fma_, .sum2 = sum2, .sqdev2 = sqdev2, .has_nan = has_nan, .exp_sum = EXP_SUM,          \
    .fold = {[ISA_ALU_ADD] = fold_add,        [ISA_ALU_SUBTRACT] = fold_sub,                      \
             [ISA_ALU_MULTIPLY] = fold_mul,   [ISA_ALU_MAX] = BEST_MAX,                           \
             [ISA_ALU_MIN] = BEST_MIN,        [ISA_ALU_ABS_MAX] = fold_absmax,                    \
             [ISA_ALU_ABS_MIN] = fold_absmin, [ISA_ALU_LOGICAL_AND] = fold_land,                  \
             [ISA_ALU_LOGICAL_OR] = fold_lor, [ISA_ALU_LOGICAL_XOR] = fold_lxor},                 \
    .act = {[ISA_ACT_COPY] = act_copy,                                                            \
            [ISA_ACT_SQUARE] = act_square,                                                        \
            [ISA_ACT_RELU] = act_relu,                                                            \
            [ISA_ACT_PRELU] = act_prelu,                                                          \
            [ISA_ACT_SQRT] = act_sqrt,                                                            \
            [ISA_ACT_RSQRT] = act_rsqrt,                                                          \
            [ISA_ACT_RECIPROCAL] = act_recip,                                                     \
            [ISA_ACT_SIGN] = act_sign,                                                            \
            [ISA_ACT_ABS] = act_abs,                                                              \
            [ISA_ACT_SIGMOID] = SOFT(sigmoid),                                                    \
            [ISA_ACT_GELU] = BEST(gelu),                                                          \
            [ISA_ACT_GELU_DX] = k_act_gelu_dx,                                                    \
            [ISA_ACT_GELU_APPRX_TANH] = BEST(gelu_tanh),                                          \
            [ISA_ACT_GELU_APPRX_SIGMOID] = BEST(gelu_sigmoid),                                    \
            [ISA_ACT_GELU_APPRX_SIGMOID_DX] = k_act_gelu_sigmoid_dx,                              \
            [ISA_ACT_SILU] = BEST(silu),                                                          \
            [ISA_ACT_SILU_DX] = k_act_silu_dx,                                                    \
            [ISA_ACT_TANH] = BEST(tanh),                                                          \
            [ISA_ACT_SOFTPLUS] = SOFT(softplus),                                                  \
            [ISA_ACT_MISH] = SOFT(mish),                                                          \
            [ISA_ACT_ERF] = SOFT(erf),                                                            \
            [ISA_ACT_ERF_DX] = SOFT(erf_dx),                                                      \
            [ISA_ACT_EXP] = BEST_EXP,                                                             \
            [ISA_ACT_LOG] = k_act_log,                                                            \
            [ISA_ACT_SIN] = k_act_sin,                                                            \
            [ISA_ACT_ARCTAN] = k_act_arctan}
