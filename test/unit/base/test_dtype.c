/* SPDX-License-Identifier: Apache-2.0 */
/* Conversions against gen_vectors.py (exact rational arithmetic on the definition of each format).
 */
#include "base/dtype.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/checked.h"
#include "dtype_vectors.h"
#include "proves.h"
#include "seed.h"

static float f_of(uint32_t bits)
{
    float v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static uint32_t bits_of(float v)
{
    uint32_t u;

    memcpy(&u, &v, sizeof(u));
    return u;
}

static uint64_t rng_state;

static uint32_t rnd(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (uint32_t)(rng_state >> 16);
}

static int setup_seed(void **state)
{
    rng_state = draw_mix(seed_take_new()) | 1; /* it stays at 0 */
    return 0;
}

static void check_load(enum dtype t, const uint32_t *want, uint32_t codes, unsigned sign_bit)
{
    for (uint32_t c = 0; c < codes; c++) {
        for (uint32_t sign = 0; sign < 2; sign++) {
            uint32_t cell = c | sign << sign_bit, got;
            uint8_t p[4];

            memcpy(p, &cell, sizeof(p));
            got = bits_of(dtype_load(t, p));
            if (want[c] == 0x7FC00000u) {
                if (!isnan(f_of(got)))
                    fail_msg("%s code 0x%x: 0x%x is no NaN", dtype_name(t), cell, got);
            } else if (got != (want[c] | sign << 31)) {
                fail_msg("%s code 0x%x: 0x%x, want 0x%x", dtype_name(t), cell, got,
                         want[c] | sign << 31);
            }
        }
    }
}

static void load_every_code_matches_definition(void **state)
{
    check_load(DT_FP8_E3, LOAD_DT_FP8_E3, 128, 7);
    check_load(DT_FP8_E4, LOAD_DT_FP8_E4, 128, 7);
    check_load(DT_FP8_E5, LOAD_DT_FP8_E5, 128, 7);
    check_load(DT_FP8_E4FN, LOAD_DT_FP8_E4FN, 128, 7);
    check_load(DT_FP16, LOAD_DT_FP16, 32768, 15);
    for (uint32_t c = 0; c < 65536; c++) { /* bf16 is the upper half of fp32 */
        uint16_t h = (uint16_t)c;
        float v = dtype_load(DT_BF16, &h);

        if (isnan(f_of(c << 16)))
            assert_true(isnan(v));
        else
            assert_int_equal(bits_of(v), c << 16);
    }
    for (uint32_t c = 0; c < 255; c++) {
        uint8_t b = (uint8_t)c;

        assert_true(dtype_load(DT_FP8_E8M0, &b) == ldexpf(1.0f, (int)c - 127));
    }
    assert_true(isnan(dtype_load(DT_FP8_E8M0, "\xff")));
}

static uint32_t store_bits(enum dtype t, float v)
{
    uint32_t cell = 0;

    dtype_store(t, &cell, v);
    return t == DT_TF32 ? cell >> 13 : cell;
}

static void store_matches_exact_rounding(void **state)
{
    for (size_t i = 0; i < sizeof(STORE) / sizeof(STORE[0]); i++) {
        uint32_t got = store_bits(STORE[i].t, f_of(STORE[i].bits));

        if (got != STORE[i].code)
            fail_msg("%s of 0x%x: 0x%x, want 0x%x", dtype_name(STORE[i].t), STORE[i].bits, got,
                     STORE[i].code);
    }
    assert_int_equal(store_bits(DT_FP8_E4, 247.99f), 0x77); /* 240 */
    assert_int_equal(store_bits(DT_FP8_E4, 248.0f), 0x78);  /* inf from here on */
    assert_int_equal(store_bits(DT_FP8_E4FN, 464.0f), 0x7E);
    assert_int_equal(store_bits(DT_FP8_E4FN, 480.0f), 0x7F);
    assert_int_equal(store_bits(DT_FP16, -3.4028235e38f), 0xFC00);
}

static void store_then_load_keeps_every_code(void **state)
{
    static const struct {
        enum dtype t;
        uint32_t codes;
    } types[] = {{DT_FP8_E3, 256},   {DT_FP8_E4, 256}, {DT_FP8_E5, 256}, {DT_FP8_E4FN, 256},
                 {DT_FP8_E8M0, 256}, {DT_FP16, 65536}, {DT_BF16, 65536}};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        for (uint32_t c = 0; c < types[i].codes; c++) {
            uint32_t back = 0, sr = 0;
            float v = dtype_load(types[i].t, &c);

            dtype_store(types[i].t, &back, v);
            dtype_store_sr(types[i].t, &sr, v, 0); /* the draw most eager to round up */
            if (isnan(v)) {
                assert_true(isnan(dtype_load(types[i].t, &back)));
                assert_true(isnan(dtype_load(types[i].t, &sr)));
            } else {
                assert_int_equal(back, c);
                assert_int_equal(sr, c);
            }
        }
    }
}

/* The upper neighbour is taken exactly for draws below the fraction of the gap. */
static void store_sr_threshold_is_the_fraction(void **state)
{
    static const struct {
        enum dtype t;
        unsigned sign_bit;
        uint32_t inf;
    } types[] = {{DT_FP8_E3, 7, 0x70},  {DT_FP8_E4, 7, 0x78},  {DT_FP8_E5, 7, 0x7C},
                 {DT_FP16, 15, 0x7C00}, {DT_BF16, 15, 0x7F80}, {DT_FP8_E4FN, 7, 0x7F}};

    for (int n = 0; n < 200000; n++) {
        unsigned i = rnd() % (sizeof(types) / sizeof(types[0]));
        uint32_t code = rnd() % (types[i].inf - 1), up = code + 1, sign = rnd() & 1;
        double lo = dtype_load(types[i].t, &code), hi = dtype_load(types[i].t, &up);
        float v = (float)(lo + (hi - lo) * (rnd() % 65536) / 65536.0);
        double frac;
        uint32_t threshold, got;

        if (!(v >= lo && v < hi))
            continue;
        frac = floor((v - lo) / (hi - lo) * 4294967296.0);
        threshold = (uint32_t)frac;
        if (sign)
            v = -v;
        for (int k = 0; k < 4; k++) {
            uint32_t u = k == 0 ? threshold : k == 1 ? threshold - 1 : k == 2 ? rnd() : 0xFFFFFFFF;

            got = 0;
            dtype_store_sr(types[i].t, &got, v, u);
            if (got != ((code + (u < threshold)) | sign << types[i].sign_bit))
                fail_msg("%s of %a with draw 0x%x: 0x%x", dtype_name(types[i].t), v, u, got);
        }
    }
}

/* Integer conversion written without floating-point rounding: halves and parity on the exact value.
 */
static __int128 round_even(float v)
{
    double d = v, whole = trunc(d), rest = fabs(d - whole);
    __int128 n = (__int128)whole;
    int step = d < 0 ? -1 : 1;

    if (rest > 0.5 || (rest == 0.5 && (n & 1)))
        n += step;
    return n;
}

static const struct {
    enum dtype t;
    __int128 min, max;
} INTS[] = {
    {DT_INT8, INT8_MIN, INT8_MAX},    {DT_UINT8, 0, UINT8_MAX},
    {DT_INT16, INT16_MIN, INT16_MAX}, {DT_UINT16, 0, UINT16_MAX},
    {DT_INT32, INT32_MIN, INT32_MAX}, {DT_UINT32, 0, UINT32_MAX},
    {DT_INT64, INT64_MIN, INT64_MAX}, {DT_UINT64, 0, UINT64_MAX},
};

static __int128 int_cell(enum dtype t, const void *p)
{
    uint64_t u = 0;
    size_t n = dtype_size(t);

    memcpy(&u, p, n);
    if (dtype_kind(t) == DTK_INT && (u >> (n * 8 - 1) & 1))
        return (__int128)u - ((__int128)1 << (n * 8));
    return u;
}

static void check_int_store(float v)
{
    for (size_t i = 0; i < sizeof(INTS) / sizeof(INTS[0]); i++) {
        uint64_t cell = 0x5555555555555555u;
        __int128 want;

        if (isnan(v))
            want = 0;
        else if (v >= 1e30f)
            want = INTS[i].max;
        else if (v <= -1e30f)
            want = INTS[i].min;
        else
            want = round_even(v);
        want = want < INTS[i].min ? INTS[i].min : want > INTS[i].max ? INTS[i].max : want;
        dtype_store(INTS[i].t, &cell, v);
        if (int_cell(INTS[i].t, &cell) != want)
            fail_msg("%s of %a is wrong", dtype_name(INTS[i].t), v);
    }
}

static void store_integer_rounds_even_and_saturates(void **state)
{
    static const float edges[] = {
        0.0f,     -0.0f,          0.5f,           1.5f,           2.5f,     -0.5f,     -1.5f,
        127.5f,   127.4f,         128.0f,         -128.5f,        -128.6f,  255.5f,    254.5f,
        32767.5f, 65535.5f,       0x1p31f,        -0x1p31f,       0x1p32f,  0x1p63f,   -0x1p63f,
        0x1p64f,  0x1.fffffep30f, 0x1.fffffep62f, 0x1.fffffep63f, INFINITY, -INFINITY, NAN,
        3.4e38f,  -3.4e38f,       1e-45f};

    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
        check_int_store(edges[i]);
    for (int i = 0; i < 200000; i++) {
        check_int_store(f_of(rnd()));
        check_int_store((float)(int)(rnd() % 200001) / 2.0f - 50000.0f);
    }
}

/* The nearest fp32 of an integer, found by trying the neighbours in exact arithmetic. */
static bool nearest_ok(__int128 x, float f)
{
    float lo = nextafterf(f, -INFINITY), hi = nextafterf(f, INFINITY);
    __int128 d = x - (__int128)f, dl = x - (__int128)lo, dh = x - (__int128)hi;

    d = d < 0 ? -d : d;
    dl = dl < 0 ? -dl : dl;
    dh = dh < 0 ? -dh : dh;
    if (d > dl || d > dh)
        return false;
    return (d < dl && d < dh) || (bits_of(f) & 1) == 0;
}

static void load_integer_is_nearest(void **state)
{
    for (int n = 0; n < 100000; n++) {
        uint64_t cell = ((uint64_t)rnd() << 32 | rnd()) >> (rnd() % 64);

        for (size_t i = 0; i < sizeof(INTS) / sizeof(INTS[0]); i++) {
            __int128 x = int_cell(INTS[i].t, &cell);
            float f = dtype_load(INTS[i].t, &cell);

            if (dtype_size(INTS[i].t) <= 2)
                assert_true((__int128)f == x);
            else if (x > 16777216 || x < -16777216)
                assert_true(nearest_ok(x, f));
            else
                assert_true((__int128)f == x);
        }
    }
}

static void store_special_values(void **state)
{
    uint8_t b;
    uint32_t w;

    dtype_store(DT_BOOL, &b, NAN);
    assert_int_equal(b, 1);
    dtype_store(DT_BOOL, &b, -0.0f);
    assert_int_equal(b, 0);
    dtype_store(DT_BOOL, &b, 0.25f);
    assert_int_equal(b, 1);
    b = 7;
    assert_true(dtype_load(DT_BOOL, &b) == 1.0f);
    for (enum dtype t = DT_INVALID + 1; t < DT_COUNT; t++) {
        if (dtype_kind(t) != DTK_FLOAT)
            continue;
        w = 0;
        dtype_store(t, &w, NAN);
        assert_true(isnan(dtype_load(t, &w)));
        w = 0;
        dtype_store(t, &w, -NAN);
        assert_true(isnan(dtype_load(t, &w)));
    }
    w = 0x12345678;
    dtype_store(DT_FP8_E5_X4, &w, 1.0f);
    assert_int_equal(w, 0x12345678);
    assert_true(isnan(dtype_load(DT_FP8_E5_X4, &w)));
    dtype_store(DT_FP32R, &w, f_of(0x00000001));
    assert_int_equal(w, 1);
    dtype_store(DT_FP8_E8M0, &b, 1.4f);
    assert_int_equal(b, 127);
    dtype_store(DT_FP8_E8M0, &b, 1.5f);
    assert_int_equal(b, 128);
    dtype_store(DT_FP8_E8M0, &b, 3.0f);
    assert_int_equal(b, 128);
    dtype_store(DT_FP8_E8M0, &b, -1.0f);
    assert_int_equal(b, 255);
    dtype_store(DT_FP8_E8M0, &b, INFINITY);
    assert_int_equal(b, 254);
}

static void names_and_sizes(void **state)
{
    static const struct {
        const char *name;
        enum dtype t;
        size_t size;
    } want[] = {{"uint64", DT_UINT64, 8},
                {"int8", DT_INT8, 1},
                {"uint8", DT_UINT8, 1},
                {"int16", DT_INT16, 2},
                {"uint16", DT_UINT16, 2},
                {"bfloat16", DT_BF16, 2},
                {"float16", DT_FP16, 2},
                {"int32", DT_INT32, 4},
                {"uint32", DT_UINT32, 4},
                {"float32", DT_FP32, 4},
                {"float32r", DT_FP32R, 4},
                {"int64", DT_INT64, 8},
                {"float8e3", DT_FP8_E3, 1},
                {"float8e4", DT_FP8_E4, 1},
                {"float8e5", DT_FP8_E5, 1},
                {"bool", DT_BOOL, 1},
                {"tfloat32", DT_TF32, 4},
                {"float8_e4m3fn", DT_FP8_E4FN, 1},
                {"float8_e8m0fnu", DT_FP8_E8M0, 1},
                {"float8_e5m2_x4", DT_FP8_E5_X4, 4},
                {"float8_e4m3fn_x4", DT_FP8_E4FN_X4, 4},
                {"float4_e2m1fn_x4", DT_FP4_E2M1_X4, 2}};

    assert_int_equal(sizeof(want) / sizeof(want[0]), DT_COUNT - 1);
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_int_equal(dtype_from_name(want[i].name), want[i].t);
        assert_string_equal(dtype_name(want[i].t), want[i].name);
        assert_int_equal(dtype_size(want[i].t), want[i].size);
    }
    assert_int_equal(dtype_from_name("float8_e4m3"), DT_FP8_E4);
    assert_int_equal(dtype_from_name("float8_e5m2"), DT_FP8_E5);
    assert_int_equal(dtype_from_name("f32"), DT_FP32);
    assert_int_equal(dtype_from_name("u8"), DT_UINT8);
    assert_int_equal(dtype_from_name("invalid"), DT_INVALID);
    assert_int_equal(dtype_from_name(""), DT_INVALID);
    assert_int_equal(dtype_size((enum dtype)77), 0);
    assert_string_equal(dtype_name((enum dtype)77), "invalid");
    /* The codes of nrt_dtype_t. */
    assert_int_equal(DT_FP32, 0xA);
    assert_int_equal(DT_FP8_E5, 0xF);
    assert_int_equal(DT_UINT64, 0x1);
}

static void checked_math_catches_overflow(void **state)
{
    uint64_t u;
    int64_t i;

    assert_true(u64_add_over(UINT64_MAX, 1, &u));
    assert_false(u64_add_over(UINT64_MAX, 0, &u));
    assert_true(u64_mul_over(1ull << 32, 1ull << 32, &u));
    assert_true(i64_add_over(INT64_MAX, 1, &i));
    assert_true(i64_mul_over(INT64_MIN, -1, &i));
    assert_true(range_ok(0, 0, 0));
    assert_true(range_ok(4, 4, 8));
    assert_false(range_ok(4, 5, 8));
    assert_false(range_ok(9, 0, 8));
    assert_false(range_ok(1, UINT64_MAX, 8));
    assert_true(ranges_meet(4, 4, 7, 1));
    assert_true(ranges_meet(5, 1, 4, 4));
    assert_false(ranges_meet(4, 4, 8, 4));
    assert_false(ranges_meet(8, 4, 4, 4));
    assert_true(u64_align_up_over(UINT64_MAX - 2, 64, &u));
    assert_false(u64_align_up_over(65, 64, &u));
    assert_int_equal(u, 128);
    assert_false(is_pow2_u64(0));
    assert_true(is_pow2_u64(1ull << 63));
    assert_false(is_pow2_u64(6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_every_code_matches_definition),
        cmocka_unit_test(store_matches_exact_rounding),
        cmocka_unit_test(store_then_load_keeps_every_code),
        cmocka_unit_test(store_sr_threshold_is_the_fraction),
        cmocka_unit_test(store_integer_rounds_even_and_saturates),
        cmocka_unit_test(load_integer_is_nearest),
        cmocka_unit_test(store_special_values),
        cmocka_unit_test(names_and_sizes),
        cmocka_unit_test(checked_math_catches_overflow),
    };

    return cmocka_run_group_tests_name("dtype", tests, setup_seed, NULL);
}
