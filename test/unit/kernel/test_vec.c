/* SPDX-License-Identifier: Apache-2.0 */
/* The vector loops against the element-wise definitions in base and against the portable table. */
#include "common.h"

#define N 1021 /* a prime: every loop has a tail */

static const struct k_vec *tables[3];
static unsigned n_tables;

static bool same_f32(float a, float b)
{
    return (isnan(a) && isnan(b)) || bits_of(a) == bits_of(b);
}

static bool same_cell(enum dtype t, const void *a, const void *b)
{
    size_t size = dtype_size(t);
    float x, y;

    if (memcmp(a, b, size) == 0)
        return true;
    if (!dtype_is_float(t))
        return false;
    x = dtype_load(t, a);
    y = dtype_load(t, b);
    return isnan(x) && isnan(y);
}

static void loads(void **state)
{
    static uint8_t in[65536 * 8];
    static float out[65536];

    (void)state;
    for (unsigned v = 0; v < n_tables; v++)
        for (unsigned t = 1; t < DT_COUNT; t++) {
            size_t size = dtype_size((enum dtype)t);
            uint32_t n = size == 1 ? 256 : 65536;

            for (uint32_t i = 0; i < n; i++) {
                uint64_t code = size <= 2 ? i : (uint64_t)rnd() << 32 | rnd();

                if (size == 4 && i % 2 == 0) {
                    float f = any_f32();

                    memcpy(&code, &f, sizeof(f));
                }
                memcpy(in + i * size, &code, size);
            }
            tables[v]->load[t](out, in, n);
            for (uint32_t i = 0; i < n; i++)
                if (!same_f32(out[i], dtype_load((enum dtype)t, in + i * size)))
                    fail_msg("%s: load %s of element %u gives %a", tables[v]->name,
                             dtype_name((enum dtype)t), i, (double)out[i]);
        }
}

static void stores(void **state)
{
    static float in[65536];
    static uint8_t out[65536 * 8];

    (void)state;
    for (unsigned v = 0; v < n_tables; v++)
        for (unsigned t = 1; t < DT_COUNT; t++) {
            size_t size = dtype_size((enum dtype)t);

            if (dtype_kind((enum dtype)t) == DTK_PACKED)
                continue;
            for (uint32_t i = 0; i < 65536; i++)
                in[i] = any_f32();
            tables[v]->store[t](out, in, 65536);
            for (uint32_t i = 0; i < 65536; i++) {
                uint8_t want[8];

                dtype_store((enum dtype)t, want, in[i]);
                if (!same_cell((enum dtype)t, out + i * size, want))
                    fail_msg("%s: store %s of %a", tables[v]->name, dtype_name((enum dtype)t),
                             (double)in[i]);
            }
        }
}

/* The definitions of 3.1, once more and one at a time. */
static float alu(unsigned op, float x, float y)
{
    switch (op) {
    case ISA_ALU_BYPASS:
        return x;
    case ISA_ALU_ADD:
        return x + y;
    case ISA_ALU_SUBTRACT:
        return x - y;
    case ISA_ALU_MULTIPLY:
        return x * y;
    case ISA_ALU_MAX:
        return isnan(x) || isnan(y) ? NAN : fmaxf(x, y);
    case ISA_ALU_MIN:
        return isnan(x) || isnan(y) ? NAN : fminf(x, y);
    case ISA_ALU_EQ:
        return x == y;
    case ISA_ALU_NE:
        return !(x == y);
    case ISA_ALU_GE:
        return isgreaterequal(x, y);
    case ISA_ALU_GT:
        return isgreater(x, y);
    case ISA_ALU_LE:
        return islessequal(x, y);
    case ISA_ALU_LT:
        return isless(x, y);
    case ISA_ALU_LOGICAL_AND:
        return !(x == 0) && !(y == 0);
    case ISA_ALU_LOGICAL_OR:
        return !(x == 0) || !(y == 0);
    case ISA_ALU_LOGICAL_XOR:
        return !(x == 0) != !(y == 0);
    case ISA_ALU_LOGICAL_NOT:
        return x == 0;
    case ISA_ALU_ABS_MAX:
        return isgreater(fabsf(x), fabsf(y)) ? x : y;
    case ISA_ALU_ABS_MIN:
        return isless(fabsf(x), fabsf(y)) ? x : y;
    case ISA_ALU_ABS:
        return fabsf(x);
    case ISA_ALU_SQUARE:
        return x * x;
    case ISA_ALU_RELU:
        return isnan(x) ? NAN : fmaxf(x, 0.0f);
    case ISA_ALU_RECIPROCAL:
        return 1 / x;
    default:
        return NAN;
    }
}

static void operators(void **state)
{
    static const uint8_t exact[] = {
        ISA_ALU_BYPASS,     ISA_ALU_ADD,         ISA_ALU_SUBTRACT,    ISA_ALU_MULTIPLY,
        ISA_ALU_MAX,        ISA_ALU_MIN,         ISA_ALU_EQ,          ISA_ALU_NE,
        ISA_ALU_GE,         ISA_ALU_GT,          ISA_ALU_LE,          ISA_ALU_LT,
        ISA_ALU_LOGICAL_OR, ISA_ALU_LOGICAL_AND, ISA_ALU_LOGICAL_XOR, ISA_ALU_LOGICAL_NOT,
        ISA_ALU_ABS_MAX,    ISA_ALU_ABS_MIN,     ISA_ALU_ABS,         ISA_ALU_SQUARE,
        ISA_ALU_RELU,       ISA_ALU_RECIPROCAL};
    static float x[N], y[N], out[3][N];

    (void)state;
    for (unsigned v = 0; v < n_tables; v++)
        for (unsigned k = 0; k < sizeof(exact); k++)
            for (unsigned rep = 0; rep < 20; rep++) {
                unsigned op = exact[k];
                float s = any_f32();

                for (unsigned i = 0; i < N; i++) {
                    x[i] = any_f32();
                    y[i] = below(4) ? any_f32() : x[i];
                }
                tables[v]->bin[op](out[0], x, y, N);
                tables[v]->bin_s[op](out[1], x, s, N);
                tables[v]->bin_r[op](out[2], y, s, N);
                for (unsigned i = 0; i < N; i++) {
                    float want[3] = {alu(op, x[i], y[i]), alu(op, x[i], s), alu(op, s, y[i])};

                    for (unsigned j = 0; j < 3; j++)
                        if (!same_f32(out[j][i], want[j]) &&
                            !(out[j][i] == 0 && want[j] == 0 && /* of +-0 either */
                              (op == ISA_ALU_MAX || op == ISA_ALU_MIN || op == ISA_ALU_RELU)))
                            fail_msg("%s: operator %u form %u of %a, %a (scalar %a) gives %a",
                                     tables[v]->name, op, j, (double)x[i], (double)y[i], (double)s,
                                     (double)out[j][i]);
                }
            }
}

/* Two operators in one loop: each rounds on its own. */
static void assert_pairs(unsigned v, const float *x, float s, const float *y, float t)
{
    static const unsigned ops[] = {ISA_ALU_ADD, ISA_ALU_SUBTRACT, ISA_ALU_MULTIPLY};
    static float a[N], b[N];

    for (unsigned p = 0; p < 3; p++)
        for (unsigned q = 0; q < 3; q++) {
            unsigned i0 = k_pair_index(ops[p]), i1 = k_pair_index(ops[q]);

            tables[v]->pair[i0][i1](a, x, s, y, N);
            tables[v]->pair_s[i0][i1](b, x, s, t, N);
            for (unsigned i = 0; i < N; i++) {
                volatile float first = alu(ops[p], x[i], s);

                assert_true(same_f32(a[i], alu(ops[q], first, y[i])));
                assert_true(same_f32(b[i], alu(ops[q], first, t)));
            }
        }
}

/* Any number of operations in one pass: the bits of as many passes, also onto one of the inputs. */
static void chain_equals_passes(void **state)
{
    static const unsigned ops[] = {ISA_ALU_ADD, ISA_ALU_SUBTRACT, ISA_ALU_MULTIPLY};
    static float x[N], y[8][N], want[N], got[N + 1];

    (void)state;
    for (unsigned v = 0; v < n_tables; v++)
        for (unsigned rep = 0; rep < 300; rep++) {
            struct k_stage stage[8];
            unsigned n = rep < 150 ? rep : below(N + 1), count = below(9), onto = below(10);

            for (unsigned i = 0; i < n; i++)
                want[i] = x[i] = any_f32();
            for (unsigned k = 0; k < count; k++) {
                unsigned op = ops[below(3)];

                stage[k] = (struct k_stage){.op = (uint8_t)k_pair_index(op),
                                            .each = below(2) != 0,
                                            .s = any_f32(),
                                            .y = y[k]};
                for (unsigned i = 0; i < n; i++) {
                    y[k][i] = any_f32();
                    want[i] = alu(op, want[i], stage[k].each ? y[k][i] : stage[k].s);
                }
            }
            got[n] = 5;
            if (onto < count && n < N) { /* in place of a y */
                memcpy(got, y[onto], n * sizeof(*got));
                stage[onto].y = got;
                tables[v]->chain(got, x, stage, count, n);
            } else if (onto == 8) { /* of x */
                memcpy(got, x, n * sizeof(*got));
                tables[v]->chain(got, got, stage, count, n);
            } else {
                tables[v]->chain(got, x, stage, count, n);
            }
            for (unsigned i = 0; i < n; i++)
                if (!same_f32(got[i], want[i]))
                    fail_msg("%s: element %u of %u after %u operations is %a, not %a",
                             tables[v]->name, i, n, count, (double)got[i], (double)want[i]);
            assert_true(got[n] == 5);
        }
}

static void exact_class_equals_portable(void **state)
{
    static float x[N], y[N], a[N], b[N];

    (void)state;
    for (unsigned v = 0; v < n_tables; v++)
        for (unsigned rep = 0; rep < 50; rep++) {
            float s = any_f32(), t = any_f32();

            for (unsigned i = 0; i < N; i++)
                x[i] = any_f32(), y[i] = any_f32();
            tables[v]->affine(a, x, s, t, N);
            for (unsigned i = 0; i < N; i++) {
                volatile float p = x[i] * s; /* rounded on its own */

                assert_true(same_f32(a[i], p + t));
            }
            assert_pairs(v, x, s, y, t);
            memcpy(a, y, sizeof(a));
            tables[v]->fma(a, s, x, N);
            for (unsigned i = 0; i < N; i++) {
                volatile float p = x[i] * s;

                assert_true(same_f32(a[i], y[i] + p));
            }
            for (unsigned f = 0; f < ISA_ACT_COUNT; f++) {
                if (f > ISA_ACT_SQUARE && f != ISA_ACT_RELU && f != ISA_ACT_PRELU &&
                    f < ISA_ACT_SQRT)
                    continue;
                tables[v]->act[f](a, x, s, N);
                k_vec_portable.act[f](b, x, s, N);
                for (unsigned i = 0; i < N; i++)
                    if (!same_f32(a[i], b[i]))
                        fail_msg("%s: function %u of %a gives %a, not %a", tables[v]->name, f,
                                 (double)x[i], (double)a[i], (double)b[i]);
            }
        }
}

static void folds(void **state)
{
    static float x[N];

    (void)state;
    for (unsigned v = 0; v < n_tables; v++)
        for (unsigned rep = 0; rep < 200; rep++) {
            unsigned n = below(N);
            double sum = 3, size = 3;
            float max = -1, min = 1, got;

            for (unsigned i = 0; i < n; i++) {
                x[i] = (float)(int32_t)rnd() / 0x1p28f;
                sum += (double)x[i];
                size += fabs((double)x[i]);
                max = fmaxf(max, x[i]);
                min = fminf(min, x[i]);
            }
            got = tables[v]->fold[ISA_ALU_ADD](3.0f, x, n);
            assert_true(fabs((double)got - sum) <= (n + 1) * 0x1p-23 * size);
            got = tables[v]->fold[ISA_ALU_SUBTRACT](3.0f, x, n);
            assert_true(fabs((double)got - (6 - sum)) <= (n + 1) * 0x1p-23 * size);
            assert_true(tables[v]->fold[ISA_ALU_MAX](-1.0f, x, n) == max);
            assert_true(tables[v]->fold[ISA_ALU_MIN](1.0f, x, n) == min);
            if (n > 0) {
                x[below(n)] = NAN;
                assert_true(isnan(tables[v]->fold[ISA_ALU_MAX](-1.0f, x, n)));
                assert_true(isnan(tables[v]->fold[ISA_ALU_MIN](-1.0f, x, n)));
                assert_true(tables[v]->has_nan(x, n));
            }
        }
}

/* Sums of the even and of the odd elements, and of their squared distances from given means: each
 * term is rounded once or twice, each sum at most once per term. */
static void statistics(void **state)
{
    static float x[N + 1];

    (void)state;
    for (unsigned v = 0; v < n_tables; v++)
        for (unsigned rep = 0; rep < 300; rep++) {
            unsigned n = rep < 150 ? rep : below(N), at = below(2); /* also off a vector's edge */
            float got[2], mean[2] = {(float)(int32_t)rnd() / 0x1p29f, (float)below(9)};
            double sum[2] = {0, 0}, size[2] = {0, 0}, dev[2] = {0, 0};

            for (unsigned i = 0; i < n; i++) {
                double d;

                x[at + i] = (float)(int32_t)rnd() / 0x1p28f;
                d = (double)(x[at + i] - mean[i & 1]);
                sum[i & 1] += (double)x[at + i];
                size[i & 1] += fabs((double)x[at + i]);
                dev[i & 1] += d * d;
            }
            tables[v]->sum2(x + at, n, got);
            for (unsigned h = 0; h < 2; h++)
                assert_true(fabs((double)got[h] - sum[h]) <= (n + 1) * 0x1p-24 * size[h]);
            tables[v]->sqdev2(x + at, n, mean, got);
            for (unsigned h = 0; h < 2; h++)
                assert_true(fabs((double)got[h] - dev[h]) <= (n + 3) * 0x1p-24 * dev[h]);
            if (n > 0) {
                unsigned bad = below(n);

                x[at + bad] = NAN;
                tables[v]->sum2(x + at, n, got);
                assert_true(isnan(got[bad & 1]) && !isnan(got[~bad & 1]));
                tables[v]->sqdev2(x + at, n, mean, got);
                assert_true(isnan(got[bad & 1]) && !isnan(got[~bad & 1]));
            }
        }
}

/* Distance from a double in units of the fp32 result's last place. */
static double ulps(float got, double want)
{
    double w = fabs(want) > 0x1p-126 ? fabs(want) : 0x1p-126;

    return fabs((double)got - want) / ldexp(1.0, ilogb(w) - 23);
}

static double g_want(unsigned f, double x)
{
    double s = 1 / (1 + exp(-x));

    switch (f) {
    case ISA_ACT_SIGMOID:
        return s;
    case ISA_ACT_TANH:
        return tanh(x);
    case ISA_ACT_ERF:
        return erf(x);
    case ISA_ACT_EXP:
        return exp(x);
    case ISA_ACT_LOG:
        return log(x);
    case ISA_ACT_SIN:
        return sin(x);
    case ISA_ACT_ARCTAN:
        return atan(x);
    case ISA_ACT_SILU:
        return x * s;
    case ISA_ACT_GELU:
        return x * 0.5 * erfc(-x * sqrt(0.5));
    case ISA_ACT_GELU_APPRX_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ISA_ACT_GELU_APPRX_SIGMOID:
        return x / (1 + exp(-1.702 * x));
    case ISA_ACT_SOFTPLUS:
        return x > 30 ? x : log1p(exp(x));
    case ISA_ACT_MISH:
        return x * tanh(x > 30 ? x : log1p(exp(x)));
    case ISA_ACT_ERF_DX:
        return 2 / sqrt(M_PI) * exp(-x * x);
    default:
        return NAN;
    }
}

/* A result does not depend on what stands beside it: rows are cut as it suits the caches. */
static void assert_alone(unsigned v, unsigned f, const float *x, const float *out)
{
    unsigned i = below(N), n = 1 + below(N - i);
    static float part[N];

    tables[v]->act[f](part, x + i, 0.0f, n);
    assert_memory_equal(part, out + i, n * sizeof(*part));
}

static void functions(void **state)
{
    static float x[N], out[N];

    (void)state;
    for (unsigned v = 0; v < n_tables; v++)
        for (unsigned f = 0; f < ISA_ACT_COUNT; f++) {
            bool tight = f == ISA_ACT_SIGMOID || f == ISA_ACT_TANH || f == ISA_ACT_ERF ||
                         f == ISA_ACT_EXP || f == ISA_ACT_LOG || f == ISA_ACT_SIN ||
                         f == ISA_ACT_ARCTAN;

            if (isnan(g_want(f, 1.0)))
                continue;
            for (unsigned rep = 0; rep < 200; rep++) {
                float wide = rep % 4 == 0   ? f == ISA_ACT_EXP ? 110.0f : 90.0f
                             : rep % 4 == 1 ? 8.0f
                             : rep % 4 == 2 ? 1.0f
                                            : 0.01f;

                for (unsigned i = 0; i < N; i++)
                    x[i] = (float)(int32_t)rnd() / 0x1p31f * wide;
                if (f == ISA_ACT_LOG)
                    for (unsigned i = 0; i < N; i++)
                        x[i] = fabsf(x[i]);
                tables[v]->act[f](out, x, 0.0f, N);
                assert_alone(v, f, x, out);
                for (unsigned i = 0; i < N; i++) {
                    double want = g_want(f, (double)x[i]);

                    if (ulps(out[i], want) > (tight ? 2 : 4) &&
                        (tight || fabs((double)out[i] - want) > 0x1p-22) &&
                        !(isinf(out[i]) && fabs(want) > (double)FLT_MAX))
                        fail_msg("%s: function %u of %a gives %a, not %a (%g ulp)", tables[v]->name,
                                 f, (double)x[i], (double)out[i], want, ulps(out[i], want));
                }
            }
        }
}

/* In one pass: the elements that affine and exp give one after the other, and their sum. */
static void exp_and_its_sum(void **state)
{
    static float x[N], y[N], out[N];

    (void)state;
    for (unsigned v = 0; v < n_tables; v++)
        for (unsigned rep = 0; tables[v]->exp_sum != NULL && rep < 400; rep++) {
            unsigned n = rep < 100 ? rep : below(N);
            float scale = rep % 2 ? 1.0f : (float)(int32_t)rnd() / 0x1p30f, got;
            float bias = (float)(int32_t)rnd() / 0x1p29f;
            double sum = 3;

            for (unsigned i = 0; i < n; i++)
                x[i] = (float)(int32_t)rnd() / (rep % 4 < 2 ? 0x1p28f : 0x1p24f);
            tables[v]->affine(y, x, scale, bias, n);
            tables[v]->act[ISA_ACT_EXP](y, y, 0.0f, n);
            memcpy(out, x, sizeof(out));
            got = tables[v]->exp_sum(out, out, scale, bias, n, 3.0f); /* in place */
            assert_memory_equal(out, y, n * sizeof(*y));
            assert_memory_equal(out + n, x + n, (N - n) * sizeof(*x));
            for (unsigned i = 0; i < n; i++)
                sum += (double)y[i];
            assert_true(fabs((double)got - sum) <= (n + 1) * 0x1p-23 * sum ||
                        (isinf(got) && sum > (double)FLT_MAX));
        }
}

/* Limits and NaN of every function (3.2). */
static void function_limits(void **state)
{
    static const struct {
        uint8_t f;
        float at_minf, at_inf;
    } rows[] = {{ISA_ACT_SIGMOID, 0, 1},
                {ISA_ACT_TANH, -1, 1},
                {ISA_ACT_ERF, -1, 1},
                {ISA_ACT_EXP, 0, INFINITY},
                {ISA_ACT_GELU, 0, INFINITY},
                {ISA_ACT_GELU_APPRX_TANH, 0, INFINITY},
                {ISA_ACT_SILU, 0, INFINITY},
                {ISA_ACT_GELU_APPRX_SIGMOID, 0, INFINITY},
                {ISA_ACT_MISH, 0, INFINITY},
                {ISA_ACT_SOFTPLUS, 0, INFINITY},
                {ISA_ACT_GELU_DX, 0, 1},
                {ISA_ACT_SILU_DX, 0, 1},
                {ISA_ACT_ERF_DX, 0, 0},
                {ISA_ACT_GELU_APPRX_SIGMOID_DX, 0, 1},
                {ISA_ACT_RELU, 0, INFINITY},
                {ISA_ACT_SIGN, -1, 1},
                {ISA_ACT_ABS, INFINITY, INFINITY}};
    float in[3] = {-INFINITY, INFINITY, NAN}, out[3];

    (void)state;
    for (unsigned v = 0; v < n_tables; v++)
        for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            tables[v]->act[rows[i].f](out, in, 0.0f, 3);
            if (out[0] != rows[i].at_minf || out[1] != rows[i].at_inf || !isnan(out[2]))
                fail_msg("%s: function %u has limits %g, %g", tables[v]->name, rows[i].f,
                         (double)out[0], (double)out[1]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads),
        cmocka_unit_test(stores),
        cmocka_unit_test(operators),
        cmocka_unit_test(exact_class_equals_portable),
        cmocka_unit_test(chain_equals_passes),
        cmocka_unit_test(folds),
        cmocka_unit_test(statistics),
        cmocka_unit_test(functions),
        cmocka_unit_test(exp_and_its_sum),
        cmocka_unit_test(function_limits),
    };

    seed_from_env();
    tables[n_tables++] = &k_vec_portable;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        tables[n_tables++] = &k_vec_avx2;
    if (k_vec_choose(KERNEL_MATH_FAST) == &k_vec_avx512)
        tables[n_tables++] = &k_vec_avx512;
#endif
    return cmocka_run_group_tests_name("kernel vectors", tests, NULL, NULL);
}
