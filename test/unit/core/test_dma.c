/* SPDX-License-Identifier: Apache-2.0 */
/* Static transfers against an oracle that walks elements one by one with the address formula of the
 * page (docs/spec/neff.md 7.2, neuroncore.md 1.2, 5.2 to 5.4). Every case compares all memory that
 * the transfer could reach, not only what it should have written. */
#include "fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proves.h"

#define VAR_BYTES 8192u
#define WIN       4096u /* bytes of each partition used by sources, and by destinations after them */
#define ELEMENTS  600u

static struct fx F;
static unsigned SRC, DST;
static uint8_t *want_sbuf; /* [128][2 * WIN] */
static uint8_t *want_src, *want_dst;

static int setup(void **state)
{
    fx_init(&F, 1, ISA_V3);
    SRC = fx_var(&F, 0, NEFF_VAR_INPUT, VAR_BYTES);
    DST = fx_var(&F, 0, NEFF_VAR_OUTPUT, VAR_BYTES);
    want_sbuf = malloc(128 * 2 * WIN);
    want_src = malloc(VAR_BYTES);
    want_dst = malloc(VAR_BYTES);
    return 0;
}

static int teardown(void **state)
{
    fx_fini(&F);
    free(want_sbuf);
    free(want_src);
    free(want_dst);
    return 0;
}

/* ---- oracle ---- */

/* Offset in the variable of byte b of the pattern, in pattern order. */
static int64_t offset_of(const struct neff_access *a, uint64_t b)
{
    int64_t off = (int64_t)a->off;

    for (unsigned i = 0; i < a->ndim; i++) {
        off += (int64_t)(b % a->sizes[i]) * a->steps[i];
        b /= a->sizes[i];
    }
    return off;
}

static uint8_t *memory_at(const struct neff_access *a, uint64_t b)
{
    int64_t off = offset_of(a, b);

    if (a->var == 0)
        return fx_sbuf(&F, 0, (unsigned)(off / NEFF_SBUF_STRIDE),
                       (uint32_t)(off % NEFF_SBUF_STRIDE));
    return (uint8_t *)F.c[0].mem[a->var] + off;
}

static uint8_t *want_at(const struct neff_access *a, uint64_t b)
{
    int64_t off = offset_of(a, b);

    if (a->var == 0) {
        assert_true(off % NEFF_SBUF_STRIDE < 2 * WIN);
        return want_sbuf + off / NEFF_SBUF_STRIDE * 2 * WIN + off % NEFF_SBUF_STRIDE;
    }
    return (a->var == SRC ? want_src : want_dst) + off;
}

static void element_load(const struct neff_access *a, uint64_t k, uint8_t *ret)
{
    size_t es = dtype_size((enum dtype)a->dtype);

    for (size_t i = 0; i < es; i++)
        ret[i] = *memory_at(a, k * es + i);
}

static float element_f32(const struct neff_access *a, uint64_t k)
{
    uint8_t raw[8];

    element_load(a, k, raw);
    return dtype_load((enum dtype)a->dtype, raw);
}

static float pick(float a, float b, bool max)
{
    if (isnan(a) || isnan(b))
        return NAN;
    return max ? (a > b ? a : b) : (a < b ? a : b);
}

static float fold(const struct neff_desc *d, uint64_t k)
{
    volatile float acc = 0, term;
    bool first = true;

    if (d->has_constant) {
        acc = (float)d->constant;
        first = false;
    }
    for (unsigned i = 0; i < d->from_count; i++) {
        term = element_f32(&d->from[i], k);
        if (d->op == NEFF_OP_FMA)
            term = term * d->scale[i];
        if (first)
            acc = term;
        else if (d->op == NEFF_OP_MIN || d->op == NEFF_OP_MAX)
            acc = pick(acc, term, d->op == NEFF_OP_MAX);
        else
            acc = acc + term;
        first = false;
    }
    return acc;
}

/* Source element of destination element k of a transpose. */
static uint64_t transposed(const struct neff_desc *d, uint64_t k)
{
    static const unsigned perm[5][4] = {{0}, {0}, {1, 0}, {2, 1, 0}, {3, 1, 2, 0}};
    unsigned rank = 4;
    uint64_t idx[4] = {0}, at = 0;

    while (rank > 2 && d->transpose_shape[rank - 1] == 1)
        rank--;
    for (unsigned i = rank; i-- > 0;) {
        unsigned axis = perm[rank][i];

        idx[axis] = k % d->transpose_shape[axis];
        k /= d->transpose_shape[axis];
    }
    for (unsigned i = 0; i < rank; i++)
        at = at * d->transpose_shape[i] + idx[i];
    return at;
}

static void oracle(const struct neff_desc *d)
{
    const struct neff_access *to = &d->to;
    size_t es = dtype_size((enum dtype)to->dtype);
    uint64_t bytes = 1;

    for (unsigned p = 0; p < 128; p++)
        memcpy(want_sbuf + (size_t)p * 2 * WIN, fx_sbuf(&F, 0, p, 0), 2 * WIN);
    memcpy(want_src, F.c[0].mem[SRC], VAR_BYTES);
    memcpy(want_dst, F.c[0].mem[DST], VAR_BYTES);
    for (unsigned i = 0; i < to->ndim; i++)
        bytes *= to->sizes[i];
    if (d->op == NEFF_OP_TRANSPOSE)
        es = d->transpose_element_size;
    for (uint64_t k = 0; k < bytes / es; k++) {
        uint8_t raw[8];

        if (d->op == NEFF_OP_TRANSPOSE) {
            uint64_t s = transposed(d, k);

            for (size_t i = 0; i < es; i++)
                raw[i] = *memory_at(&d->from[0], s * es + i);
        } else if (d->op == NEFF_OP_COPY && d->from[0].dtype == to->dtype) {
            element_load(&d->from[0], k, raw);
        } else if (d->op == NEFF_OP_COPY || d->op == NEFF_OP_CAST) {
            if (d->from[0].dtype == to->dtype)
                element_load(&d->from[0], k, raw);
            else
                dtype_store((enum dtype)to->dtype, raw, element_f32(&d->from[0], k));
        } else {
            dtype_store((enum dtype)to->dtype, raw, fold(d, k));
        }
        for (size_t i = 0; i < es; i++)
            *want_at(to, k * es + i) = raw[i];
    }
}

/* Bytes that differ must be two NaNs of a float destination, or (min, max) two zeros. */
static bool alike(const struct neff_desc *d, uint64_t k)
{
    const struct neff_access *to = &d->to;
    size_t es = dtype_size((enum dtype)to->dtype);
    uint8_t got[8], want[8];
    float g, w;

    for (size_t i = 0; i < es; i++) {
        got[i] = *memory_at(to, k * es + i);
        want[i] = *want_at(to, k * es + i);
    }
    if (memcmp(got, want, es) == 0)
        return true;
    if (d->from[0].dtype == to->dtype && d->from_count == 1 && d->op <= NEFF_OP_CAST)
        return false;
    if (d->op == NEFF_OP_TRANSPOSE || !dtype_is_float((enum dtype)to->dtype))
        return false;
    g = dtype_load((enum dtype)to->dtype, got);
    w = dtype_load((enum dtype)to->dtype, want);
    if ((isnan(g) && isnan(w)) ||
        ((d->op == NEFF_OP_MIN || d->op == NEFF_OP_MAX) && g == 0 && w == 0)) {
        for (size_t i = 0; i < es; i++)
            *want_at(to, k * es + i) = got[i];
        return true;
    }
    print_message("got %a (0x%02x%02x), want %a (0x%02x%02x)\n", (double)g, got[1], got[0],
                  (double)w, want[1], want[0]);
    return false;
}

static void compare(const struct neff_desc *d, unsigned n)
{
    uint64_t bytes = 1;

    for (unsigned i = 0; i < d->to.ndim; i++)
        bytes *= d->to.sizes[i];
    if (d->op != NEFF_OP_TRANSPOSE)
        for (uint64_t k = 0; k < bytes / dtype_size((enum dtype)d->to.dtype); k++)
            if (!alike(d, k)) {
                for (unsigned i = 0; i <= d->from_count; i++) {
                    const struct neff_access *a = i < d->from_count ? &d->from[i] : &d->to;

                    print_message("var %u off %lld %s", a->var, (long long)a->off,
                                  dtype_name((enum dtype)a->dtype));
                    for (unsigned j = 0; j < a->ndim; j++)
                        print_message(" [%lld x %llu]", (long long)a->steps[j],
                                      (unsigned long long)a->sizes[j]);
                    print_message("\n");
                }
                fail_msg("case %u op %s: element %llu of type %s", n,
                         neff_op_name((enum neff_op)d->op), (unsigned long long)k,
                         dtype_name((enum dtype)d->to.dtype));
            }
    for (unsigned p = 0; p < 128; p++)
        if (memcmp(want_sbuf + (size_t)p * 2 * WIN, fx_sbuf(&F, 0, p, 0), 2 * WIN) != 0)
            fail_msg("case %u op %s: partition %u", n, neff_op_name((enum neff_op)d->op), p);
    assert_memory_equal(want_src, F.c[0].mem[SRC], VAR_BYTES);
    assert_memory_equal(want_dst, F.c[0].mem[DST], VAR_BYTES);
}

/* ---- random patterns ---- */

static unsigned random_count(struct fx_rng *r)
{
    static const unsigned counts[] = {1,  2,  3,  4,  5,  6,   8,   12, 16,
                                      24, 30, 36, 64, 96, 128, 256, 480};

    return counts[fx_below(r, sizeof(counts) / sizeof(counts[0]))];
}

/* Split n into ndim factors in random order. */
static void factors(struct fx_rng *r, uint64_t n, unsigned ndim, uint64_t *ret)
{
    for (unsigned i = 0; i < ndim; i++)
        ret[i] = 1;
    for (uint64_t p = 2; n > 1;) {
        if (n % p != 0) {
            p++;
            continue;
        }
        ret[fx_below(r, ndim)] *= p;
        n /= p;
    }
}

/* A pattern of n elements of type t in SRC, DST or SBUF (sources below WIN, destinations above).
 * False: the random steps did not fit. */
static bool random_access(struct fx_rng *r, bool dst, uint64_t n, enum dtype t,
                          struct neff_access *a)
{
    size_t es = dtype_size(t);
    bool sbuf = fx_below(r, 2) != 0;
    int64_t plo = 0, phi = 0, blo = 0, bhi = 0, base = dst ? WIN : 0;
    uint64_t f[4];

    memset(a, 0, sizeof(*a));
    a->ndim = (uint8_t)(1 + fx_below(r, 4));
    a->dtype = (uint8_t)t;
    a->var = sbuf ? 0 : dst ? DST : SRC;
    factors(r, n, a->ndim, f);
    for (unsigned i = 0; i < a->ndim; i++) {
        int64_t dp = 0, db, run = 1;

        a->sizes[i] = i == 0 ? f[0] * es : f[i];
        for (unsigned k = 0; k < i; k++)
            run *= (int64_t)a->sizes[k];
        switch (fx_below(r, 6)) {
        case 0:
            db = dst && fx_below(r, 4) != 0 ? run : 0; /* broadcast; repeated writes sometimes */
            break;
        case 1:
            db = -run;
            break;
        case 2:
            db = (int64_t)fx_below(r, 200) - 100;
            break;
        default:
            db = run;
        }
        if (i == 0)
            db = fx_below(r, 8) != 0 ? 1 : fx_below(r, 2) != 0 ? -1 : 2;
        else if (sbuf && fx_below(r, 2) != 0) {
            dp = (int64_t)fx_below(r, 5) - 2;
            if (fx_below(r, 2) != 0)
                db = 0;
        }
        a->steps[i] = dp * (int64_t)NEFF_SBUF_STRIDE + db;
        *(dp < 0 ? &plo : &phi) += dp * (int64_t)(a->sizes[i] - 1);
        *(db < 0 ? &blo : &bhi) += db * (int64_t)(a->sizes[i] - 1);
    }
    int64_t room = sbuf ? WIN : VAR_BYTES;

    if (bhi - blo >= room || phi - plo >= 128)
        return false;
    a->off = (uint64_t)((sbuf ? base : 0) - blo + fx_below(r, (uint32_t)(room - (bhi - blo))));
    if (sbuf)
        a->off += NEFF_SBUF_STRIDE * (uint64_t)(-plo + fx_below(r, (uint32_t)(128 - (phi - plo))));
    return true;
}

static struct neff_access pattern(struct fx_rng *r, bool dst, uint64_t n, enum dtype t)
{
    struct neff_access a;

    while (!random_access(r, dst, n, t, &a))
        ;
    return a;
}

/* A destination that writes no byte twice: where two NaNs may differ in their bits, an overlap
 * would mix them. Overlaps are covered by copies. */
static struct neff_access once(struct fx_rng *r, uint64_t n, enum dtype t)
{
    static uint8_t seen[128 * 2 * WIN];

    for (;;) {
        struct neff_access a = pattern(r, true, n, t);
        uint8_t *base = a.var == 0 ? want_sbuf : want_dst;
        bool twice = false;

        memset(seen, 0, sizeof(seen));
        for (uint64_t b = 0; b < n * dtype_size(t); b++)
            twice |= seen[want_at(&a, b) - base]++ != 0;
        if (!twice)
            return a;
    }
}

static const enum dtype types[] = {DT_FP8_E3, DT_FP8_E4, DT_FP8_E5, DT_FP16,   DT_FP32,
                                   DT_FP32R,  DT_BF16,   DT_UINT8,  DT_UINT16, DT_UINT32,
                                   DT_UINT64, DT_INT8,   DT_INT16,  DT_INT32,  DT_INT64};
#define TYPES (sizeof(types) / sizeof(types[0]))

static void fill_random(struct fx_rng *r)
{
    uint32_t *m = F.c[0].mem[SRC];

    for (unsigned i = 0; i < VAR_BYTES / 4; i++)
        m[i] = fx_rand(r) ^ fx_rand(r) << 16;
    for (unsigned p = 0; p < 128; p++) {
        uint32_t *row = (uint32_t *)(void *)fx_sbuf(&F, 0, p, 0);

        for (unsigned i = 0; i < WIN / 4; i++)
            row[i] = fx_rand(r) ^ fx_rand(r) << 16;
    }
}

static void run_case(struct fx_rng *r, struct neff_desc *d, unsigned n)
{
    fx_group(&F, 0, ISA_SP, 0, 0, d, 1)->semaphore = 1;
    fx_trigger(&F, 0, ISA_SP, 0);
    fx_wait(fx_rec(&F, 0, ISA_SP, ISA_OP_END), ISA_WAIT_SEM_GE, 1, 16);
    fx_prepare(&F);
    oracle(d);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    compare(d, n);
    fx_clear(&F);
}

static void copies(void **state)
{
    struct fx_rng r = {fx_seed()};

    for (unsigned n = 0; n < 1500; n++) {
        uint64_t count = random_count(&r);
        enum dtype t = fx_below(&r, 2) ? DT_UINT8 : types[fx_below(&r, TYPES)];
        struct neff_access from = pattern(&r, false, count, t);

        if (n % 100 == 0)
            fill_random(&r);
        run_case(&r, fx_desc(&F, NEFF_OP_COPY, pattern(&r, true, count, t), &from, 1), n);
    }
    PROVES("neff-084");
    PROVES("neff-085");
    PROVES("neff-086");
    PROVES("neff-087");
    PROVES("neff-088");
    PROVES("neff-098");
    PROVES("neff-120");
}

static void casts(void **state)
{
    static const char *const ids[TYPES] = {"neff-105", "neff-106", "neff-107", "neff-108",
                                           "neff-109", "neff-110", "neff-111", "neff-112",
                                           "neff-113", "neff-114", "neff-115", "neff-116",
                                           "neff-117", "neff-118", "neff-119"};
    struct fx_rng r = {fx_seed()};

    for (unsigned n = 0; n < TYPES * TYPES * 8; n++) {
        enum dtype st = types[n / TYPES % TYPES], dt = types[n % TYPES];
        uint64_t count = random_count(&r);
        struct neff_access from = pattern(&r, false, count, st);

        if (n % 100 == 0)
            fill_random(&r);
        run_case(
            &r, fx_desc(&F, n & 1 ? NEFF_OP_CAST : NEFF_OP_COPY, once(&r, count, dt), &from, 1), n);
    }
    for (unsigned i = 0; i < TYPES; i++)
        PROVES(ids[i]);
    PROVES("neff-089");
    PROVES("neff-099");
}

static void arithmetic(void **state)
{
    static const struct {
        unsigned op;
        const char *id;
    } ops[] = {{NEFF_OP_ADD, "neff-100"},
               {NEFF_OP_FMA, "neff-101"},
               {NEFF_OP_MIN, "neff-102"},
               {NEFF_OP_MAX, "neff-103"}};
    struct fx_rng r = {fx_seed()};

    for (unsigned o = 0; o < 4; o++) {
        for (unsigned n = 0; n < 500; n++) {
            struct neff_access from[16];
            uint64_t count = n % 97 == 0 ? 2880 / 3 : random_count(&r);
            unsigned k = n % 50 == 0 ? 16 : 1 + fx_below(&r, 4);
            enum dtype dt = types[fx_below(&r, TYPES)];
            struct neff_desc *d;

            for (unsigned i = 0; i < k; i++)
                from[i] = pattern(&r, false, count, types[fx_below(&r, TYPES)]);
            if (n % 100 == 0)
                fill_random(&r);
            d = fx_desc(&F, ops[o].op, once(&r, count, dt), from, k);
            for (unsigned i = 0; d->scale != NULL && i < k; i++)
                ((float *)(uintptr_t)d->scale)[i] = (float)((int)fx_below(&r, 4000) - 2000) / 64.0f;
            if (ops[o].op >= NEFF_OP_MIN && fx_below(&r, 2)) {
                d->has_constant = 1;
                d->constant_dtype = DT_INT32;
                d->constant = (double)(int32_t)fx_rand(&r);
            }
            run_case(&r, d, n);
        }
        PROVES(ops[o].id);
    }
    PROVES("neff-091");
    PROVES("neff-092");
    PROVES("neff-093");
    PROVES("neff-094");
    PROVES("neff-095");
}

static void transposes(void **state)
{
    static const enum dtype of_size[] = {DT_UINT8, DT_UINT16, DT_UINT32, DT_UINT64};
    struct fx_rng r = {fx_seed()};

    for (unsigned n = 0; n < 1000; n++) {
        unsigned log = fx_below(&r, 4), rank = 2 + fx_below(&r, 3);
        enum dtype t = of_size[log];
        uint64_t count = random_count(&r), f[4];
        struct neff_access from = pattern(&r, false, count, t);
        struct neff_desc *d = fx_desc(&F, NEFF_OP_TRANSPOSE, pattern(&r, true, count, t), &from, 1);

        factors(&r, count, rank, f);
        for (unsigned i = 0; i < 4; i++)
            d->transpose_shape[i] = i < rank ? (uint32_t)f[i] : 1;
        d->transpose_element_size = 1u << log;
        if (n % 100 == 0)
            fill_random(&r);
        run_case(&r, d, n);
    }
    PROVES("neff-096");
    PROVES("neff-097");
    PROVES("neff-104");
    PROVES("neff-090");
}

/* Steps that mix partitions and bytes so that no linear host pattern follows. */
static void irregular_patterns(void **state)
{
    int64_t steps[] = {1, 62144, 200000};
    uint64_t sizes[] = {64, 2, 2};
    struct neff_access to = fx_access(0, 0, 3, steps, sizes, DT_UINT8), from = fx_flat(SRC, 0, 256);
    struct fx_rng r = {fx_seed()};
    const uint32_t at[][2] = {{0, 0}, {0, 62144}, {0, 200000}, {1, 0}};
    struct err err = {0};

    fill_random(&r);
    fx_group(&F, 0, ISA_SP, 0, 0, fx_desc(&F, NEFF_OP_COPY, to, &from, 1), 1);
    fx_trigger(&F, 0, ISA_SP, 0);
    fx_end(&F, 0, ISA_SP);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    for (unsigned i = 0; i < 4; i++)
        assert_memory_equal(fx_sbuf(&F, 0, at[i][0], at[i][1]), (uint8_t *)F.c[0].mem[SRC] + 64 * i,
                            64);
    fx_clear(&F);
    to.steps[1] = 62145; /* 262145 + 63 is in partition 1; 229376 - 63 is too far */
    to.steps[2] = 229376 - 63;
    fx_group(&F, 0, ISA_SP, 0, 0, fx_desc(&F, NEFF_OP_COPY, to, &from, 1), 1);
    fx_trigger(&F, 0, ISA_SP, 0);
    fx_end(&F, 0, ISA_SP);
    assert_int_equal(fx_prepare_status(&F, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, "SP.json: dma[0].desc[0]: access"));
}

/* What would leave memory is refused even if the container's checks had missed it. */
static void out_of_range_is_refused(void **state)
{
    static const struct {
        unsigned var;
        uint64_t off, size0, size1;
        int64_t step0, step1;
    } bad[] = {
        {1, VAR_BYTES, 1, 1, 1, 0},    {1, 0, VAR_BYTES + 1, 1, 1, 0},
        {1, 10, 12, 1, -1, 0},         {1, 0, 2, 2, 1, INT64_MAX},
        {1, 0, 2, 3, 1, INT64_MIN},    {1, UINT64_MAX, 1, 1, 1, 0},
        {1, 0, UINT64_MAX, 2, 0, 0},   {1, 0, UINT64_MAX / 2, 3, 0, 0},
        {0, 229376, 1, 1, 1, 0},       {0, 229375, 2, 1, 1, 0},
        {0, 0, 4, 129, 1, 262144},     {0, 127 * 262144ull, 4, 2, 1, 262144},
        {0, 262144, 4, 2, 1, -262145}, {0, 0, 4, 2, 1, INT64_MAX - 10},
        {77, 0, 1, 1, 1, 0},
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t steps[] = {bad[i].step0, bad[i].step1};
        uint64_t sizes[] = {bad[i].size0, bad[i].size1};
        struct neff_access a = fx_access(bad[i].var, bad[i].off, 2, steps, sizes, DT_UINT8);
        struct err err = {0};

        for (unsigned side = 0; side < 2; side++) {
            struct neff_access ok = a;

            ok.var = DST;
            ok.off = 0;
            ok.steps[0] = ok.steps[1] = 0;
            fx_group(&F, 0, ISA_SP, 0, 0,
                     fx_desc(&F, NEFF_OP_COPY, side ? a : ok, side ? &ok : &a, 1), 1);
            fx_trigger(&F, 0, ISA_SP, 0);
            fx_end(&F, 0, ISA_SP);
            if (fx_prepare_status(&F, &err) != NRT_INVALID)
                fail_msg("case %u side %u was accepted", i, side);
            fx_clear(&F);
        }
    }
}

/* Stochastic rounding of a cast: only the two neighbours, in the right proportion. */
static void stochastic_rounding(void **state)
{
    enum { N = 2048 };
    float *src = F.c[0].mem[SRC];
    uint16_t *dst = F.c[0].mem[DST];
    struct neff_access from = fx_flat(SRC, 0, N * 4), to = fx_flat(DST, 0, N * 2);
    unsigned up = 0;

    for (unsigned i = 0; i < N; i++)
        src[i] = 1.0f + 0.25f / 128; /* a quarter of the way to the next bf16 */
    from.dtype = DT_FP32;
    to.dtype = DT_BF16;
    F.opt.stochastic_rounding = true;
    fx_group(&F, 0, ISA_SP, 0, 0, fx_desc(&F, NEFF_OP_CAST, to, &from, 1), 1);
    fx_trigger(&F, 0, ISA_SP, 0);
    fx_end(&F, 0, ISA_SP);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    for (unsigned i = 0; i < N; i++) {
        assert_true(dst[i] == 0x3f80 || dst[i] == 0x3f81);
        up += dst[i] == 0x3f81;
    }
    /* binomial, p = 1/4: mean 512, standard deviation 19.6; five of them either way */
    assert_in_range(up, 512 - 98, 512 + 98);
}

/* The seed of a load starts the streams; executions after it go on in them. */
static void stochastic_rounding_follows_the_seed(void **state)
{
    enum { N = 512 };
    static const uint32_t seeds[] = {5, 5, 6};
    uint16_t first[3][N], second[N];

    for (unsigned k = 0; k < 3; k++) {
        struct neff_access from, to;
        float *src;

        fx_fini(&F);
        fx_init(&F, 1, ISA_V3);
        SRC = fx_var(&F, 0, NEFF_VAR_INPUT, VAR_BYTES);
        DST = fx_var(&F, 0, NEFF_VAR_OUTPUT, VAR_BYTES);
        src = F.c[0].mem[SRC];
        from = fx_flat(SRC, 0, N * 4);
        to = fx_flat(DST, 0, N * 2);
        for (unsigned i = 0; i < N; i++)
            src[i] = 1.0f + 0.5f / 128;
        from.dtype = DT_FP32;
        to.dtype = DT_BF16;
        F.opt.stochastic_rounding = true;
        F.opt.sr_seed = seeds[k];
        fx_group(&F, 0, ISA_SP, 0, 0, fx_desc(&F, NEFF_OP_CAST, to, &from, 1), 1);
        fx_trigger(&F, 0, ISA_SP, 0);
        fx_end(&F, 0, ISA_SP);
        fx_prepare(&F);
        assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
        memcpy(first[k], F.c[0].mem[DST], sizeof(second));
        assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
        memcpy(second, F.c[0].mem[DST], sizeof(second));
        assert_true(memcmp(first[k], second, sizeof(second)) != 0);
    }
    assert_memory_equal(first[0], first[1], sizeof(first[0]));
    assert_true(memcmp(first[0], first[2], sizeof(first[0])) != 0);
}

/* NaNs that dma_compute generates end the execution with the documented status. */
static void generated_nan_is_reported(void **state)
{
    float *src = F.c[0].mem[SRC];
    struct neff_access from[2] = {fx_flat(SRC, 0, 16), fx_flat(SRC, 16, 16)};
    struct neff_access to = fx_flat(DST, 0, 16);

    from[0].dtype = from[1].dtype = to.dtype = DT_FP32;
    F.opt.check_nan = true;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < 8; i++)
            src[i] = 1;
        src[1] = INFINITY;
        src[5] = pass == 0 ? -INFINITY : NAN; /* inf - inf generates one; NaN in only carries it */
        fx_group(&F, 0, ISA_SP, 0, 0, fx_desc(&F, NEFF_OP_ADD, to, from, 2), 1);
        fx_trigger(&F, 0, ISA_SP, 0);
        fx_end(&F, 0, ISA_SP);
        fx_prepare(&F);
        assert_int_equal(fx_run(&F, 0), pass == 0 ? NRT_EXEC_COMPLETED_WITH_NUM_ERR : NRT_SUCCESS);
        assert_int_equal(F.report.stats.nan_count, pass == 0 ? 1 : 0);
        assert_int_equal(F.report.end, CORE_END_DONE);
        assert_true(isnan(((float *)F.c[0].mem[DST])[1]));
        fx_clear(&F);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(copies),
        T(casts),
        T(arithmetic),
        T(transposes),
        T(irregular_patterns),
        T(out_of_range_is_refused),
        T(stochastic_rounding),
        T(stochastic_rounding_follows_the_seed),
        T(generated_nan_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
