/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dtype.h"

#include <math.h>
#include <string.h>

/* A binary floating-point format narrower than fp32. Codes below the sign are one ascending line of
 * values: zero, subnormals, normals, then inf and NaN (IEEE-like) or NaN alone (fn). */
struct fmt {
    uint8_t exp_bits, man_bits;
    int8_t bias;
    bool fn; /* no infinity: the last code is NaN, everything below it is finite */
};

static const struct fmt FMT_BF16 = {8, 7, 127, false};
static const struct fmt FMT_FP16 = {5, 10, 15, false};
static const struct fmt FMT_TF32 = {8, 10, 127, false};
static const struct fmt FMT_E3 = {3, 4, 3, false};
static const struct fmt FMT_E4 = {4, 3, 7, false};
static const struct fmt FMT_E5 = {5, 2, 15, false};
static const struct fmt FMT_E4FN = {4, 3, 7, true};

struct dtype_info {
    const char *name; /* as in NEFF files where they have one, else the NKI spelling */
    const char *nki, *shorty;
    uint8_t size;
    enum dtype_kind kind;
};

static const struct dtype_info INFO[DT_COUNT] = {
    [DT_INVALID] = {"invalid", NULL, NULL, 0, DTK_NONE},
    [DT_UINT64] = {"uint64", NULL, "u64", 8, DTK_UINT},
    [DT_INT8] = {"int8", NULL, "i8", 1, DTK_INT},
    [DT_UINT8] = {"uint8", NULL, "u8", 1, DTK_UINT},
    [DT_INT16] = {"int16", NULL, "i16", 2, DTK_INT},
    [DT_UINT16] = {"uint16", NULL, "u16", 2, DTK_UINT},
    [DT_BF16] = {"bfloat16", NULL, "bf16", 2, DTK_FLOAT},
    [DT_FP16] = {"float16", NULL, "f16", 2, DTK_FLOAT},
    [DT_INT32] = {"int32", NULL, "i32", 4, DTK_INT},
    [DT_UINT32] = {"uint32", NULL, "u32", 4, DTK_UINT},
    [DT_FP32] = {"float32", NULL, "f32", 4, DTK_FLOAT},
    [DT_FP32R] = {"float32r", NULL, "f32r", 4, DTK_FLOAT},
    [DT_INT64] = {"int64", NULL, "i64", 8, DTK_INT},
    [DT_FP8_E3] = {"float8e3", "float8_e3m4", "f8e3", 1, DTK_FLOAT},
    [DT_FP8_E4] = {"float8e4", "float8_e4m3", "f8e4", 1, DTK_FLOAT},
    [DT_FP8_E5] = {"float8e5", "float8_e5m2", "f8e5", 1, DTK_FLOAT},
    [DT_BOOL] = {"bool", "bool_", NULL, 1, DTK_BOOL},
    [DT_TF32] = {"tfloat32", NULL, "tf32", 4, DTK_FLOAT},
    [DT_FP8_E4FN] = {"float8_e4m3fn", NULL, "f8e4fn", 1, DTK_FLOAT},
    [DT_FP8_E8M0] = {"float8_e8m0fnu", NULL, "f8e8m0", 1, DTK_FLOAT},
    [DT_FP8_E5_X4] = {"float8_e5m2_x4", NULL, "f8e5x4", 4, DTK_PACKED},
    [DT_FP8_E4FN_X4] = {"float8_e4m3fn_x4", NULL, "f8e4fnx4", 4, DTK_PACKED},
    [DT_FP4_E2M1_X4] = {"float4_e2m1fn_x4", NULL, "f4e2m1x4", 2, DTK_PACKED},
};

static const struct dtype_info *info_of(enum dtype t)
{
    return (unsigned)t < DT_COUNT ? &INFO[t] : &INFO[DT_INVALID];
}

size_t dtype_size(enum dtype t)
{
    return info_of(t)->size;
}

enum dtype_kind dtype_kind(enum dtype t)
{
    return info_of(t)->kind;
}

const char *dtype_name(enum dtype t)
{
    return info_of(t)->name;
}

static bool same(const char *a, const char *b)
{
    return a != NULL && strcmp(a, b) == 0;
}

enum dtype dtype_from_name(const char *name)
{
    for (unsigned t = DT_INVALID + 1; t < DT_COUNT; t++) {
        const struct dtype_info *d = &INFO[t];

        if (same(d->name, name) || same(d->nki, name) || same(d->shorty, name))
            return (enum dtype)t;
    }
    return DT_INVALID;
}

static uint32_t bits_of(float v)
{
    uint32_t u;

    memcpy(&u, &v, sizeof(u));
    return u;
}

static float float_of(uint32_t u)
{
    float v;

    memcpy(&v, &u, sizeof(v));
    return v;
}

/* Code to fp32; exact for every format of the table. */
static float fmt_load(const struct fmt *f, uint32_t code)
{
    uint32_t sign = code >> (f->exp_bits + f->man_bits) & 1;
    uint32_t exp = code >> f->man_bits & ((1u << f->exp_bits) - 1);
    uint32_t man = code & ((1u << f->man_bits) - 1);
    uint32_t top = (1u << f->exp_bits) - 1;
    uint32_t out;

    if (f->fn && exp == top && man == (1u << f->man_bits) - 1) {
        out = 0x7FC00000;
    } else if (!f->fn && exp == top) {
        out = 0x7F800000 | man << (23 - f->man_bits);
        if (man != 0)
            out |= 0x00400000; /* quiet */
    } else if (exp != 0) {
        out = (uint32_t)((int)exp - f->bias + 127) << 23 | man << (23 - f->man_bits);
    } else if (f->bias == 127) {
        out = man << (23 - f->man_bits); /* fp32 has the same subnormals and more */
    } else {
        /* man * 2^(1 - bias - man_bits), a normal fp32 */
        out = bits_of((float)man * float_of((uint32_t)(1 - f->bias - f->man_bits + 127) << 23));
    }
    return float_of(out | sign << 31);
}

/* fp32 to code. Without sr: round to nearest, ties to even. With sr: the neighbour larger in
 * magnitude when the discarded fraction of the gap, as 32-bit fixed point, exceeds u, so a value
 * that the format holds never moves. Past the largest finite value: inf (fn: NaN). */
static uint32_t fmt_store(const struct fmt *f, float v, bool sr, uint32_t u)
{
    uint32_t bits = bits_of(v), abs = bits & 0x7FFFFFFF;
    uint32_t sign = (bits >> 31) << (f->exp_bits + f->man_bits);
    uint32_t past = f->fn ? (1u << (f->exp_bits + f->man_bits)) - 1 /* the NaN */
                          : ((1u << f->exp_bits) - 1) << f->man_bits /* the inf */;
    uint32_t man, code;
    uint64_t fixed; /* man in units of the target's gap, 32 fraction bits */
    int exp, emin = 1 - f->bias, e, shift;

    if (abs > 0x7F800000)
        return sign | past | (f->fn ? 0 : 1u << (f->man_bits - 1));
    if (abs == 0x7F800000)
        return sign | past;
    /* v = man * 2^(exp - 23) */
    exp = (int)(abs >> 23);
    man = abs & 0x7FFFFF;
    if (exp != 0)
        man |= 0x800000;
    else
        exp = 1;
    exp -= 127;
    /* The gap at v is 2^(e - man_bits). */
    e = exp > emin ? exp : emin;
    shift = e - exp + 23 - f->man_bits; /* >= 13 */
    fixed = shift < 64 ? (uint64_t)man << 32 >> shift : 0;
    if (!sr && shift > 32 && shift < 64 && ((uint64_t)man << 32 & ((1ull << shift) - 1)) != 0)
        fixed |= 1; /* sticky: keeps "just above a tie" apart from a tie */
    code = (uint32_t)(fixed >> 32);
    if (sr)
        code += (uint32_t)fixed > u;
    else
        code += (uint32_t)fixed > 0x80000000u || ((uint32_t)fixed == 0x80000000u && (code & 1));
    code += (uint32_t)(e - emin) << f->man_bits;
    return sign | (code < past ? code : past);
}

static const struct fmt *fmt_of(enum dtype t)
{
    switch (t) {
    case DT_BF16:
        return &FMT_BF16;
    case DT_FP16:
        return &FMT_FP16;
    case DT_TF32:
        return &FMT_TF32;
    case DT_FP8_E3:
        return &FMT_E3;
    case DT_FP8_E4:
        return &FMT_E4;
    case DT_FP8_E5:
        return &FMT_E5;
    case DT_FP8_E4FN:
        return &FMT_E4FN;
    default:
        return NULL;
    }
}

float bf16_to_f32(uint16_t v)
{
    uint32_t u = (uint32_t)v << 16;

    if ((u & 0x7FFFFFFF) > 0x7F800000)
        u |= 0x00400000;
    return float_of(u);
}

uint16_t f32_to_bf16(float v)
{
    uint32_t u = bits_of(v);

    if ((u & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

float fp16_to_f32(uint16_t v)
{
    return fmt_load(&FMT_FP16, v);
}

uint16_t f32_to_fp16(float v)
{
    return (uint16_t)fmt_store(&FMT_FP16, v, false, 0);
}

/* 2^(c - 127); 255 is NaN. */
static float e8m0_load(uint8_t c)
{
    if (c == 255)
        return float_of(0x7FC00000);
    return c == 0 ? float_of(0x00400000) : float_of((uint32_t)c << 23);
}

/* Nearest power of two, ties to the even code, clamped to the range; NaN and negatives are NaN. */
static uint8_t e8m0_store(float v)
{
    uint32_t u = bits_of(v), c;

    if ((u & 0x7FFFFFFF) > 0x7F800000 || (u >> 31 && u != 0x80000000))
        return 255;
    u &= 0x7FFFFFFF;
    if (u < 0x00800000)
        return u > 0x00600000; /* between 2^-127 (code 0) and 2^-126 (code 1) */
    c = u >> 23;
    c += (u & 0x7FFFFF) > 0x400000 || ((u & 0x7FFFFF) == 0x400000 && (c & 1));
    return (uint8_t)(c > 254 ? 254 : c);
}

#define LOAD_AS(type)               \
    do {                            \
        type x_;                    \
        memcpy(&x_, p, sizeof(x_)); \
        return (float)x_;           \
    } while (0)

float dtype_load(enum dtype t, const void *p)
{
    uint16_t h;
    uint8_t b;

    switch (t) {
    case DT_UINT64:
        LOAD_AS(uint64_t);
    case DT_INT8:
        LOAD_AS(int8_t);
    case DT_UINT8:
        LOAD_AS(uint8_t);
    case DT_INT16:
        LOAD_AS(int16_t);
    case DT_UINT16:
        LOAD_AS(uint16_t);
    case DT_INT32:
        LOAD_AS(int32_t);
    case DT_UINT32:
        LOAD_AS(uint32_t);
    case DT_INT64:
        LOAD_AS(int64_t);
    case DT_FP32:
    case DT_FP32R:
    case DT_TF32:
        LOAD_AS(float);
    case DT_BF16:
        memcpy(&h, p, sizeof(h));
        return bf16_to_f32(h);
    case DT_FP16:
        memcpy(&h, p, sizeof(h));
        return fmt_load(&FMT_FP16, h);
    case DT_BOOL:
        memcpy(&b, p, sizeof(b));
        return b != 0;
    case DT_FP8_E3:
    case DT_FP8_E4:
    case DT_FP8_E5:
    case DT_FP8_E4FN:
        memcpy(&b, p, sizeof(b));
        return fmt_load(fmt_of(t), b);
    case DT_FP8_E8M0:
        memcpy(&b, p, sizeof(b));
        return e8m0_load(b);
    case DT_INVALID:
    case DT_FP8_E5_X4:
    case DT_FP8_E4FN_X4:
    case DT_FP4_E2M1_X4:
    case DT_COUNT:
        break;
    }
    return float_of(0x7FC00000);
}

/* Limits are exact: LO is the type's minimum, HI2 is its maximum plus one, both powers of two. */
#define STORE_AS(type, LO, HI2, MIN, MAX)                                           \
    do {                                                                            \
        float r_ = rintf(v);                                                        \
        type x_ = r_ >= (HI2) ? (MAX) : r_ <= (LO) ? (MIN) : v != v ? 0 : (type)r_; \
        memcpy(p, &x_, sizeof(x_));                                                 \
        return;                                                                     \
    } while (0)

static void store(enum dtype t, void *p, float v, bool sr, uint32_t u)
{
    const struct fmt *f = fmt_of(t);

    if (f != NULL) {
        uint32_t code = fmt_store(f, v, sr, u);
        uint16_t h = (uint16_t)code;
        uint8_t b = (uint8_t)code;

        if (t == DT_TF32) {
            code <<= 13; /* the cell is fp32 with the low 13 bits 0 */
            memcpy(p, &code, sizeof(code));
        } else if (INFO[t].size == 2) {
            memcpy(p, &h, sizeof(h));
        } else {
            memcpy(p, &b, sizeof(b));
        }
        return;
    }
    switch (t) {
    case DT_UINT64:
        STORE_AS(uint64_t, 0.0f, 0x1p64f, 0, UINT64_MAX);
    case DT_INT8:
        STORE_AS(int8_t, -0x1p7f, 0x1p7f, INT8_MIN, INT8_MAX);
    case DT_UINT8:
        STORE_AS(uint8_t, 0.0f, 0x1p8f, 0, UINT8_MAX);
    case DT_INT16:
        STORE_AS(int16_t, -0x1p15f, 0x1p15f, INT16_MIN, INT16_MAX);
    case DT_UINT16:
        STORE_AS(uint16_t, 0.0f, 0x1p16f, 0, UINT16_MAX);
    case DT_INT32:
        STORE_AS(int32_t, -0x1p31f, 0x1p31f, INT32_MIN, INT32_MAX);
    case DT_UINT32:
        STORE_AS(uint32_t, 0.0f, 0x1p32f, 0, UINT32_MAX);
    case DT_INT64:
        STORE_AS(int64_t, -0x1p63f, 0x1p63f, INT64_MIN, INT64_MAX);
    case DT_FP32:
    case DT_FP32R:
        memcpy(p, &v, sizeof(v));
        return;
    case DT_BOOL:
        *(uint8_t *)p = !(v == 0.0f);
        return;
    case DT_FP8_E8M0:
        *(uint8_t *)p = e8m0_store(v);
        return;
    default:
        return;
    }
}

void dtype_store(enum dtype t, void *p, float v)
{
    store(t, p, v, false, 0);
}

void dtype_store_sr(enum dtype t, void *p, float v, uint32_t u)
{
    store(t, p, v, true, u);
}
