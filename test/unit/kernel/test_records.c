/* SPDX-License-Identifier: Apache-2.0 */
/* Records through kernel_lower: the implementation chosen for this host against the portable one on
 * the same random memory. What the instructions mean is test/oracle's business. */
#include "common.h"

#include "base/fault.h"
#include "run/run.h"
#include "runner.h"

#define WINDOW 6000 /* bytes of every partition that records use */

struct bench_core {
    struct kernel_core kc;
    uint32_t regs[ISA_REGS];
};

static struct bench_core portable, fast;

static void core_up(struct bench_core *c, enum isa_gen gen)
{
    struct err err = {0};

    assert_int_equal(kernel_core_init(&c->kc, gen, 7, &err), NRT_SUCCESS);
    memset(c->regs, 0, sizeof(c->regs));
}

static uint8_t *row_of(const struct bench_core *c, unsigned mem, unsigned p)
{
    return mem == ISA_PSUM ? c->kc.psum + p * c->kc.psum_stride
                           : c->kc.sbuf + p * c->kc.sbuf_stride;
}

/* The same random bytes in both cores; floats where fp32 cells lie, so that values are sensible. */
static void fill_both(void)
{
    for (unsigned mem = ISA_SBUF; mem <= ISA_PSUM; mem++)
        for (unsigned p = 0; p < ISA_PARTITIONS; p++) {
            uint8_t *a = row_of(&portable, mem, p);

            for (unsigned i = 0; i < WINDOW; i += 4) {
                uint32_t v = below(3) ? bits_of(any_f32()) : rnd();

                memcpy(a + i, &v, sizeof(v));
            }
            memcpy(row_of(&fast, mem, p), a, WINDOW);
        }
}

/* A pattern of n elements whose addresses do not repeat, at a random place of the window. */
static struct isa_tensor tile(unsigned mem, enum dtype dt, unsigned part, unsigned nparts,
                              unsigned n)
{
    struct isa_tensor t = {.mem = (uint8_t)mem,
                           .dtype = (uint8_t)dt,
                           .part = (uint8_t)part,
                           .nparts = (uint8_t)nparts,
                           .off_reg = ISA_NO_REG};
    unsigned size = (unsigned)dtype_size(dt), left = n, reach = 1 + (below(3) == 0 ? below(2) : 0);
    int lo = 0, hi = 0;

    do {
        unsigned num = t.ndim == 3 || below(2) ? left : 1;
        int step;

        if (num == left && t.ndim < 3 && left % 2 == 0 && below(2))
            num = left / 2;
        step = (int)(reach + (below(3) == 0 ? below(3) : 0));
        if (below(4) == 0)
            step = -step;
        t.dim[t.ndim].step = (int16_t)step;
        t.dim[t.ndim++].num = (uint16_t)num;
        if (step < 0)
            lo += step * ((int)num - 1);
        else
            hi += step * ((int)num - 1);
        reach = (unsigned)(hi - lo) + 1;
        left /= num;
    } while (left > 1);
    t.offset = (uint32_t)(-lo) * size;
    t.offset += below((WINDOW - (uint32_t)(hi - lo + 1) * size) / size) * size;
    return t;
}

static unsigned some_start(unsigned nparts)
{
    return nparts > 64 ? 0 : nparts > 32 ? 64 * below(2) : 32 * below(4);
}

static const enum dtype types[] = {DT_FP32, DT_BF16,  DT_FP16,  DT_FP8_E4, DT_FP8_E5, DT_FP8_E3,
                                   DT_INT8, DT_UINT8, DT_INT16, DT_UINT16, DT_INT32,  DT_UINT32,
                                   DT_FP32, DT_FP32,  DT_TF32,  DT_BOOL};

static enum dtype some_type(void)
{
    return types[below(sizeof(types) / sizeof(types[0]))];
}

static struct isa_scalar some_scalar(unsigned nparts)
{
    struct isa_scalar s = {.kind = ISA_SC_F32, .v = bits_of(any_f32())};

    if (below(2)) {
        s = (struct isa_scalar){.kind = ISA_SC_TILE,
                                .mem = ISA_SBUF,
                                .dtype = DT_FP32,
                                .part = (uint8_t)some_start(nparts),
                                .v = below(WINDOW / 4) * 4};
    }
    return s;
}

/* Run the records on a core; fused: as one op where kernel_lower likes. */
static NRT_STATUS run_on(struct bench_core *c, const struct isa_record *r, unsigned n,
                         enum kernel_math math, unsigned max, struct err *err)
{
    struct arena arena = {0};
    NRT_STATUS st = NRT_SUCCESS;

    for (unsigned i = 0; i < n && st == NRT_SUCCESS;) {
        struct kernel_op op;

        st = kernel_lower(r + i, n - i < max ? n - i : max, &c->kc, math, &arena, &op, err);
        if (st != NRT_SUCCESS)
            break;
        assert_true(op.consumed >= 1 && op.consumed <= n - i && op.consumed <= max);
        st = op.fn(&op, &c->kc, c->regs, err);
        i += op.consumed;
    }
    arena_fini(&arena);
    return st;
}

/* Cells of t equal in both cores up to the bits of a NaN; then make them equal. */
static void compare_tile(const struct isa_record *rec, const struct isa_tensor *t)
{
    struct arena arena = {0};
    struct isa_record probe = {.opcode = ISA_OP_MEMSET};
    struct k_rec *a, *b;
    struct err err = {0};
    size_t size = dtype_size((enum dtype)t->dtype);

    if (t->mem == ISA_MEM_NONE)
        return;
    probe.body.c.t[0] = *t;
    assert_int_equal(k_rec_new(&probe, &portable.kc, KERNEL_MATH_EXACT, 1, &arena, &a, &err), 0);
    assert_int_equal(k_rec_new(&probe, &fast.kc, KERNEL_MATH_EXACT, 1, &arena, &b, &err), 0);
    for (unsigned p = 0; p < t->nparts; p++)
        for (uint32_t i = 0; i < a->t[0].n; i++) {
            uint8_t *x = k_elem(&a->t[0], a->t[0].row + p * k_stride(&portable.kc, t->mem), i);
            uint8_t *y = k_elem(&b->t[0], b->t[0].row + p * k_stride(&fast.kc, t->mem), i);

            if (memcmp(x, y, size) != 0) {
                float fx = dtype_load((enum dtype)t->dtype, x);
                float fy = dtype_load((enum dtype)t->dtype, y);

                if (!(dtype_is_float((enum dtype)t->dtype) && isnan(fx) && isnan(fy)) &&
                    !(fx == 0 && fy == 0 && dtype_is_float((enum dtype)t->dtype)))
                    fail_msg("opcode 0x%02x op %u/%u: partition %u element %u: portable %a, "
                             "chosen %a",
                             rec->opcode, rec->body.c.op0, rec->body.c.op1, p, i, (double)fx,
                             (double)fy);
                memcpy(y, x, size);
            }
        }
    arena_fini(&arena);
}

static void compare_memory(void)
{
    for (unsigned mem = ISA_SBUF; mem <= ISA_PSUM; mem++)
        for (unsigned p = 0; p < ISA_PARTITIONS; p++)
            assert_memory_equal(row_of(&portable, mem, p), row_of(&fast, mem, p), WINDOW);
}

static unsigned arithmetic_op(void)
{
    static const uint8_t ops[] = {
        ISA_ALU_ADD,        ISA_ALU_SUBTRACT,    ISA_ALU_MULTIPLY,    ISA_ALU_MAX,
        ISA_ALU_MIN,        ISA_ALU_EQ,          ISA_ALU_NE,          ISA_ALU_GE,
        ISA_ALU_GT,         ISA_ALU_LE,          ISA_ALU_LT,          ISA_ALU_LOGICAL_AND,
        ISA_ALU_LOGICAL_OR, ISA_ALU_LOGICAL_XOR, ISA_ALU_LOGICAL_NOT, ISA_ALU_ABS_MAX,
        ISA_ALU_ABS_MIN,    ISA_ALU_ABS,         ISA_ALU_SQUARE,      ISA_ALU_RELU,
        ISA_ALU_RSQRT,      ISA_ALU_RECIPROCAL,  ISA_ALU_BYPASS};

    return ops[below(sizeof(ops))];
}

/* One random record of the exact class; patterns may overlap in any way. */
static struct isa_record exact_record(void)
{
    static const uint8_t codes[] = {ISA_OP_TENSOR_COPY,   ISA_OP_TENSOR_TENSOR,
                                    ISA_OP_TENSOR_SCALAR, ISA_OP_SCALAR_TENSOR_TENSOR,
                                    ISA_OP_RECIPROCAL,    ISA_OP_MEMSET,
                                    ISA_OP_ACTIVATION,    ISA_OP_MAX8,
                                    ISA_OP_TENSOR_REDUCE, ISA_OP_TENSOR_COPY_PREDICATED};
    struct isa_record r = {.opcode = codes[below(sizeof(codes))], .version = ISA_VERSION};
    struct isa_compute *c = &r.body.c;
    unsigned nparts = below(3) ? 1 + below(32) : 1 + below(128), n = 1 + below(below(4) ? 60 : 300);

    r.engine = r.opcode == ISA_OP_ACTIVATION ? ISA_ACT : ISA_DVE;
    if (r.opcode == ISA_OP_MAX8)
        n += 8;
    for (unsigned i = 0; i < 3; i++)
        c->t[i] = tile(below(4) ? ISA_SBUF : ISA_PSUM, some_type(), some_start(nparts), nparts, n);
    if (below(4) == 0) { /* in place */
        uint8_t dt = c->t[0].dtype;

        c->t[1] = c->t[0];
        if (dtype_size((enum dtype)dt) == 4)
            c->t[1].dtype = DT_FP32;
    }
    c->op0 = (uint8_t)arithmetic_op();
    c->op1 = below(2) ? (uint8_t)arithmetic_op() : ISA_ALU_NONE;
    c->reverse = (uint8_t)below(4);
    c->s[0] = some_scalar(nparts);
    c->s[1] = some_scalar(nparts);
    switch (r.opcode) {
    case ISA_OP_ACTIVATION:
        c->act = (uint8_t[]){ISA_ACT_COPY, ISA_ACT_SQUARE, ISA_ACT_RELU,
                             ISA_ACT_SIGN, ISA_ACT_ABS,    ISA_ACT_SQRT}[below(6)];
        memset(&c->t[2], 0, sizeof(c->t[2]));
        break;
    case ISA_OP_MAX8:
        c->t[0] = tile(ISA_SBUF, some_type(), some_start(nparts), nparts, 8);
        break;
    case ISA_OP_TENSOR_REDUCE:
        c->op0 = below(2) ? ISA_ALU_MAX : ISA_ALU_MIN;
        c->naxes = (uint8_t)(1 + below(c->t[1].ndim));
        n = 1;
        for (unsigned d = c->naxes; d < c->t[1].ndim; d++)
            n *= c->t[1].dim[d].num;
        c->t[0] = tile(ISA_SBUF, some_type(), some_start(nparts), nparts, n);
        c->negate = (uint8_t)below(2);
        break;
    case ISA_OP_TENSOR_COPY_PREDICATED:
        c->t[2].dtype = c->t[0].dtype;
        c->t[2] = tile(ISA_SBUF, (enum dtype)c->t[0].dtype, some_start(nparts), nparts, n);
        c->t[1] = tile(ISA_SBUF, below(2) ? DT_UINT8 : DT_UINT16, some_start(nparts), nparts, n);
        break;
    case ISA_OP_MEMSET:
        c->s[0] = (struct isa_scalar){.kind = ISA_SC_I32, .v = rnd()};
        break;
    default:
        break;
    }
    return r;
}

static void exact_records(void **state)
{
    (void)state;
    fill_both();
    for (unsigned i = 0; i < runner_rounds(4000); i++) {
        struct isa_record r = exact_record();
        struct err e1 = {0}, e2 = {0};
        NRT_STATUS a, b;

        if (i % 500 == 0)
            fill_both();
        a = run_on(&portable, &r, 1, KERNEL_MATH_EXACT, 1, &e1);
        b = run_on(&fast, &r, 1, KERNEL_MATH_FAST, 1, &e2);
        if (a != NRT_SUCCESS)
            fail_msg("opcode 0x%02x: %s", r.opcode, e1.text);
        assert_int_equal(a, b);
        compare_tile(&r, &r.body.c.t[0]);
    }
    compare_memory();
}

/* ---- matmul ---------------------------------------------------------------------------------- */

static struct isa_tensor plain(unsigned mem, enum dtype dt, unsigned nparts, uint32_t offset,
                               unsigned n)
{
    struct isa_tensor t = {.mem = (uint8_t)mem,
                           .dtype = (uint8_t)dt,
                           .nparts = (uint8_t)nparts,
                           .offset = offset,
                           .ndim = 1,
                           .off_reg = ISA_NO_REG};

    t.dim[0].step = 1;
    t.dim[0].num = (uint16_t)n;
    return t;
}

static void fill_numbers(struct bench_core *c, const struct isa_tensor *t)
{
    size_t size = dtype_size((enum dtype)t->dtype);
    int last = t->dim[0].step * (t->dim[0].num - 1);

    for (unsigned p = 0; p < t->nparts; p++)
        for (int i = 0; i <= last; i++)
            dtype_store((enum dtype)t->dtype,
                        row_of(c, t->mem, t->part + p) + t->offset + (size_t)i * size,
                        (float)((int)below(129) - 64) / 16);
}

static float cell(const struct bench_core *c, const struct isa_tensor *t, unsigned p, unsigned i)
{
    size_t size = dtype_size((enum dtype)t->dtype);

    return dtype_load((enum dtype)t->dtype, row_of(c, t->mem, t->part + p) + t->offset +
                                                i * (size_t)t->dim[0].step * size);
}

/* A run of matmuls into one or several places, in one op or several, on one thread or more,
 * through the first-level cache or not. */
static void matmul_runs(void **state)
{
    static const enum dtype ins[] = {DT_FP32, DT_BF16, DT_FP16, DT_FP8_E4, DT_FP8_E5, DT_TF32};

    size_t near = fast.kc.mm_near;

    (void)state;
    for (unsigned rep = 0; rep < 60; rep++) {
        unsigned k = 1 + below(128), m = 1 + below(128), n = 1 + below(below(2) ? 40 : 512);
        unsigned runs = 1 + below(5), pools = 1 + below(3);
        enum dtype dx = ins[below(6)],
                   ds = dx == DT_FP32 || dx == DT_TF32 ? DT_FP32 : ins[below(4) + 1];
        struct isa_record r[5];
        double weight = 0;
        float got[4][16];
        unsigned at_m[16], at_n[16];
        struct err err = {0};

        memset(r, 0, sizeof(r));
        for (unsigned i = 0; i < runs; i++) {
            struct isa_compute *c = &r[i].body.c;

            r[i].opcode = ISA_OP_NC_MATMUL;
            r[i].engine = ISA_PE;
            c->t[1] = plain(ISA_SBUF, ds, k, below(2) ? 0 : 512 * i, m);
            c->t[2] = plain(ISA_SBUF, dx, k, 8192 + 2304 * i, n);
            if (below(4) == 0)
                c->t[2].dim[0].step = 2;
            c->t[0] = plain(ISA_PSUM, DT_FP32, m, 0, n);
            c->acc = i > 0;
        }
        for (unsigned i = 0; i < runs; i++) {
            fill_numbers(&portable, &r[i].body.c.t[1]);
            fill_numbers(&portable, &r[i].body.c.t[2]);
        }
        for (unsigned p = 0; p < k; p++)
            memcpy(row_of(&fast, ISA_SBUF, p), row_of(&portable, ISA_SBUF, p), 32768);
        assert_int_equal(run_on(&portable, r, runs, KERNEL_MATH_EXACT, 1, &err), NRT_SUCCESS);
        for (unsigned j = 0; j < 16; j++)
            at_m[j] = below(m), at_n[j] = below(n);
        for (unsigned way = 0; way < 4; way++) {
            fast.kc.mm_near = way >= 2 ? SIZE_MAX : 0;
            fast.kc.pool = way % 2 == 1 && pools > 1 ? run_pool_new(pools) : NULL;
            run_pool_begin(fast.kc.pool);
            assert_int_equal(
                run_on(&fast, r, runs, KERNEL_MATH_FAST, way % 2 == 1 ? runs : 1, &err),
                NRT_SUCCESS);
            run_pool_end(fast.kc.pool);
            run_pool_free(fast.kc.pool);
            fast.kc.pool = NULL;
            for (unsigned j = 0; j < 16; j++)
                got[way][j] = cell(&fast, &r[0].body.c.t[0], at_m[j], at_n[j]);
        }
        for (unsigned j = 0; j < 16; j++) {
            double sum = 0;

            weight = 0;
            for (unsigned i = 0; i < runs; i++)
                for (unsigned p = 0; p < k; p++) {
                    double t = (double)cell(&portable, &r[i].body.c.t[1], p, at_m[j]) *
                               (double)cell(&portable, &r[i].body.c.t[2], p, at_n[j]);

                    sum += t;
                    weight += fabs(t);
                }
            /* threads, fusing and caches change no bit */
            for (unsigned way = 1; way < 4; way++)
                assert_true(bits_of(got[0][j]) == bits_of(got[way][j]));
            if (fabs((double)got[0][j] - sum) > runs * (k + 1) * 0x1p-23 * weight)
                fail_msg("k %u m %u n %u runs %u: %g, exact %g", k, m, n, runs, (double)got[0][j],
                         sum);
            assert_true(fabs((double)cell(&portable, &r[0].body.c.t[0], at_m[j], at_n[j]) - sum) <=
                        runs * (k + 1) * 0x1p-23 * weight);
        }
    }
    fast.kc.mm_near = near;
}

#define PLAN_RECORDS 24
#define PLAN_CELLS   1024 /* of a PSUM partition */

/* Records in any order into places that are equal, apart or overlap, from tiles that are used more
 * than once; sums are exact in fp32, so that every cell has one right value. */
static unsigned plan_records(struct isa_record *r)
{
    static const unsigned places[] = {0, 1024, 2048, 3072, 64, 1100};
    enum dtype dt = below(2) ? DT_BF16 : DT_FP32;
    unsigned k = 1 + below(128), m = 1 + below(128), n = 1 + below(256);
    unsigned count = 2 + below(PLAN_RECORDS - 1), spread = 1 + below(6);

    memset(r, 0, PLAN_RECORDS * sizeof(*r));
    for (unsigned i = 0; i < count; i++) {
        struct isa_compute *c = &r[i].body.c;
        unsigned rows = below(8) ? k : 1 + below(128);

        r[i].opcode = ISA_OP_NC_MATMUL;
        r[i].engine = ISA_PE;
        c->t[1] = plain(ISA_SBUF, dt, rows, 512 * below(3), m);
        c->t[2] = plain(ISA_SBUF, dt, rows, 8192 + 1024 * below(3), below(8) ? n : 1 + below(256));
        c->t[0] = plain(ISA_PSUM, DT_FP32, m, places[below(spread)], c->t[2].dim[0].num);
        c->acc = below(5) > 0;
    }
    return count;
}

static void plan_model(const struct isa_record *r, unsigned count, float (*psum)[PLAN_CELLS])
{
    for (unsigned i = 0; i < count; i++) {
        const struct isa_compute *c = &r[i].body.c;

        for (unsigned m = 0; m < c->t[0].nparts; m++)
            for (unsigned n = 0; n < c->t[0].dim[0].num; n++) {
                float *out = &psum[m][c->t[0].offset / 4 + n];
                float sum = c->acc ? *out : 0;

                for (unsigned k = 0; k < c->t[1].nparts; k++)
                    sum += cell(&fast, &c->t[1], k, m) * cell(&fast, &c->t[2], k, n);
                *out = sum;
            }
    }
}

/* The sums of an op that was reordered, on one thread or more, are those of its program. */
static void matmul_plans(void **state)
{
    static float start[ISA_PARTITIONS][PLAN_CELLS], want[ISA_PARTITIONS][PLAN_CELLS];
    size_t near = fast.kc.mm_near;

    (void)state;
    for (unsigned rep = 0; rep < runner_rounds(40); rep++) {
        struct isa_record r[PLAN_RECORDS];
        unsigned count = plan_records(r);
        struct err err = {0};

        fast.kc.mm_near = rep % 2 == 1 ? SIZE_MAX : 0;
        for (unsigned i = 0; i < count; i++) {
            fill_numbers(&fast, &r[i].body.c.t[1]);
            fill_numbers(&fast, &r[i].body.c.t[2]);
        }
        for (unsigned p = 0; p < ISA_PARTITIONS; p++)
            for (unsigned i = 0; i < PLAN_CELLS; i++)
                start[p][i] = (float)((int)below(129) - 64) / 16;
        memcpy(want, start, sizeof(want));
        plan_model(r, count, want);
        for (unsigned threads = 0; threads < 4; threads++) { /* 0: one by one */
            fast.kc.pool = threads > 1 ? run_pool_new(threads) : NULL;
            run_pool_begin(fast.kc.pool);
            for (unsigned p = 0; p < ISA_PARTITIONS; p++)
                memcpy(row_of(&fast, ISA_PSUM, p), start[p], sizeof(start[p]));
            assert_int_equal(
                run_on(&fast, r, count, KERNEL_MATH_FAST, threads > 0 ? count : 1, &err),
                NRT_SUCCESS);
            run_pool_end(fast.kc.pool);
            run_pool_free(fast.kc.pool);
            fast.kc.pool = NULL;
            for (unsigned p = 0; p < ISA_PARTITIONS; p++)
                assert_memory_equal(row_of(&fast, ISA_PSUM, p), want[p], sizeof(want[p]));
        }
    }
    fast.kc.mm_near = near;
}

/* Every number of rows, so that tiles of every height meet, in columns of one strip, several and a
 * part of one, through the first-level cache or not; nothing beside the result changes. */
static void matmul_rows(void **state)
{
    static float start[ISA_PARTITIONS][PLAN_CELLS], want[ISA_PARTITIONS][PLAN_CELLS];
    static const unsigned widths[] = {16, 64, 72, 128, 200};
    size_t near = fast.kc.mm_near;

    (void)state;
    for (unsigned m = 1; m <= ISA_PARTITIONS; m++) {
        unsigned k = 1 + below(24), n = widths[below(5)];
        struct isa_record r[3];
        struct err err = {0};

        memset(r, 0, sizeof(r));
        for (unsigned i = 0; i < 3; i++) { /* records of one pass */
            struct isa_compute *c = &r[i].body.c;

            r[i].opcode = ISA_OP_NC_MATMUL;
            r[i].engine = ISA_PE;
            c->t[1] = plain(ISA_SBUF, DT_FP32, k, 512 * i, m);
            c->t[2] = plain(ISA_SBUF, DT_FP32, k, 8192 + 1024 * i, n);
            c->t[0] = plain(ISA_PSUM, DT_FP32, m, 64, n);
            c->acc = i > 0 || below(2) > 0;
            fill_numbers(&fast, &c->t[1]);
            fill_numbers(&fast, &c->t[2]);
        }
        for (unsigned p = 0; p < ISA_PARTITIONS; p++)
            for (unsigned i = 0; i < PLAN_CELLS; i++)
                start[p][i] = (float)((int)below(129) - 64) / 16;
        memcpy(want, start, sizeof(want));
        plan_model(r, 3, want);
        for (unsigned way = 0; way < 2; way++) {
            fast.kc.mm_near = way == 1 ? SIZE_MAX : 0;
            for (unsigned p = 0; p < ISA_PARTITIONS; p++)
                memcpy(row_of(&fast, ISA_PSUM, p), start[p], sizeof(start[p]));
            assert_int_equal(run_on(&fast, r, 3, KERNEL_MATH_FAST, 3, &err), NRT_SUCCESS);
            for (unsigned p = 0; p < ISA_PARTITIONS; p++)
                assert_memory_equal(row_of(&fast, ISA_PSUM, p), want[p], sizeof(want[p]));
        }
    }
    fast.kc.mm_near = near;
}

/* Waits, updates and registers keep records apart. */
static void matmul_run_ends(void **state)
{
    struct isa_record r[4];
    struct kernel_op op;
    struct arena arena = {0};
    struct err err = {0};

    (void)state;
    memset(r, 0, sizeof(r));
    for (unsigned i = 0; i < 4; i++) {
        r[i].opcode = ISA_OP_NC_MATMUL;
        r[i].engine = ISA_PE;
        r[i].body.c.t[0] = plain(ISA_PSUM, DT_FP32, 8, 0, 8);
        r[i].body.c.t[1] = plain(ISA_SBUF, DT_FP32, 8, 0, 8);
        r[i].body.c.t[2] = plain(ISA_SBUF, DT_FP32, 8, 64, 8);
    }
    r[2].nwaits = 1;
    assert_int_equal(kernel_lower(r, 4, &fast.kc, KERNEL_MATH_FAST, &arena, &op, &err), 0);
    assert_int_equal(op.consumed, 2);
    assert_int_equal(op.flops, 2 * 2 * 8 * 8 * 8);
    assert_int_equal(kernel_lower(r, 1, &fast.kc, KERNEL_MATH_FAST, &arena, &op, &err), 0);
    assert_int_equal(op.consumed, 1);
    r[2].nwaits = 0;
    r[0].nupdates = 1;
    assert_int_equal(kernel_lower(r, 4, &fast.kc, KERNEL_MATH_FAST, &arena, &op, &err), 0);
    assert_int_equal(op.consumed, 1);
    r[0].nupdates = 0;
    r[1].body.c.t[2].off_reg = 3;
    assert_int_equal(kernel_lower(r, 4, &fast.kc, KERNEL_MATH_FAST, &arena, &op, &err), 0);
    assert_int_equal(op.consumed, 1);
    arena_fini(&arena);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void dynamic_offsets(void **state)
{
    struct isa_record r = {.opcode = ISA_OP_TENSOR_COPY, .engine = ISA_DVE};
    struct isa_compute *c = &r.body.c;
    struct err err = {0};

    (void)state;
    fill_both();
    c->t[0] = plain(ISA_SBUF, DT_INT32, 4, 0, 16);
    c->t[1] = plain(ISA_SBUF, DT_INT32, 4, 1024, 16);
    c->t[1].off_reg = 5;
    c->t[1].off_mul = 16;
    fast.regs[5] = (uint32_t)-3;
    assert_int_equal(run_on(&fast, &r, 1, KERNEL_MATH_FAST, 1, &err), NRT_SUCCESS);
    assert_memory_equal(row_of(&fast, ISA_SBUF, 3), row_of(&portable, ISA_SBUF, 3) + 1024 - 192,
                        64);
    memcpy(row_of(&portable, ISA_SBUF, 0), row_of(&fast, ISA_SBUF, 0), WINDOW);
    for (unsigned bad = 0; bad < 4; bad++) {
        /* one element before the partition, one past it, and values whose product is huge */
        int32_t v = bad == 0   ? -17
                    : bad == 1 ? (int32_t)(fast.kc.sbuf_bytes / 64) - 16
                    : bad == 2 ? INT32_MAX
                               : INT32_MIN;
        char number[16];

        memset(&err, 0, sizeof(err));
        fast.regs[5] = (uint32_t)v;
        c->t[1].off_mul = bad < 2 ? 16 : INT32_MIN;
        snprintf(number, sizeof(number), "%d", v);
        assert_int_equal(run_on(&fast, &r, 1, KERNEL_MATH_FAST, 1, &err), NRT_EXEC_OOB);
        assert_non_null(strstr(err.text, "operand 1"));
        assert_non_null(strstr(err.text, number));
        assert_memory_equal(row_of(&fast, ISA_SBUF, 0), row_of(&portable, ISA_SBUF, 0), WINDOW);
    }
}

static void gather_out_of_range(void **state)
{
    struct isa_record r = {.opcode = ISA_OP_NC_N_GATHER, .engine = ISA_POOL};
    struct isa_compute *c = &r.body.c;
    uint32_t idx[4] = {0, 3, 1, 4};
    struct err err = {0};

    (void)state;
    fill_both();
    c->t[0] = plain(ISA_SBUF, DT_FP32, 2, 0, 4);
    c->t[1] = plain(ISA_SBUF, DT_FP32, 2, 64, 4);
    c->t[2] = plain(ISA_SBUF, DT_UINT32, 2, 128, 4);
    memset(row_of(&fast, ISA_SBUF, 0) + 128, 0, 16);
    memcpy(row_of(&fast, ISA_SBUF, 1) + 128, idx, sizeof(idx));
    assert_int_equal(run_on(&fast, &r, 1, KERNEL_MATH_FAST, 1, &err), NRT_EXEC_OOB);
    assert_non_null(strstr(err.text, "indices"));
    assert_non_null(strstr(err.text, "is 4"));
    assert_memory_equal(row_of(&fast, ISA_SBUF, 0), row_of(&portable, ISA_SBUF, 0), 16);
}

/* Records that the checker would refuse must not reach memory outside the operands' own. */
static void refusals(void **state)
{
    struct isa_record good = {.opcode = ISA_OP_TENSOR_TENSOR, .engine = ISA_DVE}, r;
    struct isa_compute *c = &good.body.c;
    struct arena arena = {0};
    struct kernel_op op;

    (void)state;
    c->op0 = ISA_ALU_ADD;
    for (unsigned i = 0; i < 3; i++)
        c->t[i] = plain(ISA_SBUF, DT_FP32, 4, 64 * i, 16);
    for (unsigned bad = 0; bad < 9; bad++) {
        struct err err = {0};

        r = good;
        c = &r.body.c;
        switch (bad) {
        case 0:
            break;
        case 1:
            c->t[0].offset = fast.kc.sbuf_bytes - 60;
            break;
        case 2:
            c->t[1].dim[0].step = -1;
            c->t[1].offset = 56;
            break;
        case 3:
            c->t[2].dim[0].num = 15;
            break;
        case 4:
            c->t[1].part = 126;
            break;
        case 5:
            c->t[1].dtype = DT_COUNT;
            break;
        case 6:
            c->t[2].nparts = 3;
            break;
        case 7:
            c->op0 = ISA_ALU_COUNT;
            break;
        default:
            memset(&c->t[2], 0, sizeof(c->t[2]));
        }
        assert_int_equal(kernel_lower(&r, 1, &fast.kc, KERNEL_MATH_FAST, &arena, &op, &err),
                         bad == 0 ? NRT_SUCCESS : NRT_INVALID);
        assert_int_equal(err.text[0] != 0, bad != 0);
    }
    arena_fini(&arena);
}

/* ---- NaN detection, stochastic rounding, pieces ------------------------------------------------
 */

static void nan_counts(void **state)
{
    struct isa_record r = {.opcode = ISA_OP_TENSOR_TENSOR, .engine = ISA_DVE};
    struct isa_compute *c = &r.body.c;
    float v[2] = {INFINITY, 1.0f};
    struct err err = {0};

    (void)state;
    c->op0 = ISA_ALU_SUBTRACT;
    c->t[0] = plain(ISA_SBUF, DT_FP32, 1, 0, 2);
    c->t[1] = plain(ISA_SBUF, DT_FP32, 1, 64, 2);
    c->t[2] = plain(ISA_SBUF, DT_FP32, 1, 64, 2);
    kernel_core_start(&fast.kc);
    memcpy(row_of(&fast, ISA_SBUF, 0) + 64, v, sizeof(v));
    assert_int_equal(run_on(&fast, &r, 1, KERNEL_MATH_FAST, 1, &err), NRT_SUCCESS);
    assert_int_equal(fast.kc.nan_count, 0); /* off by default */
    fast.kc.check_nan = true;
    assert_int_equal(run_on(&fast, &r, 1, KERNEL_MATH_FAST, 1, &err), NRT_SUCCESS);
    assert_int_equal(fast.kc.nan_count, 1); /* inf - inf */
    v[0] = NAN;
    memcpy(row_of(&fast, ISA_SBUF, 0) + 64, v, sizeof(v));
    assert_int_equal(run_on(&fast, &r, 1, KERNEL_MATH_FAST, 1, &err), NRT_SUCCESS);
    assert_int_equal(fast.kc.nan_count, 1); /* it came in */
    v[0] = INFINITY;
    memcpy(row_of(&fast, ISA_SBUF, 0) + 64, v, sizeof(v));
    c->t[0].dtype = DT_INT32; /* no NaN is written */
    assert_int_equal(run_on(&fast, &r, 1, KERNEL_MATH_FAST, 1, &err), NRT_SUCCESS);
    assert_int_equal(fast.kc.nan_count, 1);
    fast.kc.check_nan = false;
}

static void stochastic_rounding(void **state)
{
    struct isa_record r = {.opcode = ISA_OP_TENSOR_COPY, .engine = ISA_DVE};
    struct isa_compute *c = &r.body.c;
    float in[1024];
    unsigned up = 0;
    struct err err = {0};

    (void)state;
    for (unsigned i = 0; i < 1024; i++)
        in[i] = i % 2 ? 1.0f : 1.0f + 0x1p-9f; /* a quarter of the way to the next bf16 */
    memcpy(row_of(&fast, ISA_SBUF, 40), in, sizeof(in));
    c->t[0] = plain(ISA_SBUF, DT_BF16, 1, 8192, 1024);
    c->t[1] = plain(ISA_SBUF, DT_FP32, 1, 0, 1024);
    c->t[0].part = c->t[1].part = 40;
    fast.kc.stochastic_rounding = true;
    kernel_rng_seed(&fast.kc.sr_rng[ISA_DVE][40], 11);
    assert_int_equal(run_on(&fast, &r, 1, KERNEL_MATH_FAST, 1, &err), NRT_SUCCESS);
    fast.kc.stochastic_rounding = false;
    for (unsigned i = 0; i < 1024; i++) {
        float v = dtype_load(DT_BF16, row_of(&fast, ISA_SBUF, 40) + 8192 + 2 * i);

        assert_true(v == 1.0f || (i % 2 == 0 && v == 1.0f + 0x1p-7f));
        up += v != 1.0f;
    }
    assert_in_range(up, 80, 180); /* 128 expected of 512, deviation 10 */
}

static void copies(void **state)
{
    size_t max = 56u << 20;
    uint8_t *src = mem_alloc(max), *dst = mem_alloc(max + 64);

    (void)state;
    for (size_t i = 0; i < max; i += 4) {
        uint32_t v = rnd();

        memcpy(src + i, &v, sizeof(v));
    }
    memset(dst, 0xEE, max + 64);
    for (unsigned rep = 0; rep < 60; rep++) {
        size_t n = rep < 30 ? below(300) : rep < 57 ? below(3u << 20) : max - below(1000);
        size_t off = below(64);

        memset(dst, 0xEE, off + n + 1);
        kernel_copy(dst + off, src, n);
        assert_memory_equal(dst + off, src, n);
        assert_true(dst[off + n] == 0xEE && (off == 0 || dst[off - 1] == 0xEE));
    }
    mem_free(src);
    mem_free(dst);
}

/* The first copies of a size class go each way in turns; this class no other test copies in. */
static void copies_go_each_way(void **state)
{
    size_t max = 6u << 20;
    uint8_t *src = mem_alloc(max), *dst = mem_alloc(max + 64);

    (void)state;
    for (size_t i = 0; i < max; i += 4) {
        uint32_t v = rnd();

        memcpy(src + i, &v, sizeof(v));
    }
    for (unsigned rep = 0; rep < 15; rep++) {
        size_t n = max - below(1u << 20), off = below(64);

        memset(dst, 0xEE, max + 64);
        kernel_copy(dst + off, src, n);
        assert_memory_equal(dst + off, src, n);
        assert_true(dst[off + n] == 0xEE && (off == 0 || dst[off - 1] == 0xEE));
    }
    mem_free(src);
    mem_free(dst);
}

static void init_failures(void **state)
{
    struct kernel_core kc;
    struct err err = {0};

    (void)state;
    assert_int_equal(kernel_core_init(&kc, (enum isa_gen)9, 0, &err), NRT_INVALID);
    for (unsigned nth = 1; nth <= 3; nth++) {
        memset(&err, 0, sizeof(err));
        fault_arm(FAULT_MMAP, nth);
        assert_int_equal(kernel_core_init(&kc, ISA_V3, 0, &err), NRT_RESOURCE);
        fault_disarm();
        assert_null(kc.sbuf);
    }
}

static int up(void **state)
{
    (void)state;
    core_up(&portable, ISA_V3);
    core_up(&fast, ISA_V3);
    return 0;
}

static int down(void **state)
{
    (void)state;
    kernel_core_fini(&portable.kc);
    kernel_core_fini(&fast.kc);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_records),
        cmocka_unit_test(matmul_runs),
        cmocka_unit_test(matmul_plans),
        cmocka_unit_test(matmul_rows),
        cmocka_unit_test(matmul_run_ends),
        cmocka_unit_test(dynamic_offsets),
        cmocka_unit_test(gather_out_of_range),
        cmocka_unit_test(refusals),
        cmocka_unit_test(nan_counts),
        cmocka_unit_test(stochastic_rounding),
        cmocka_unit_test(copies),
        cmocka_unit_test(copies_go_each_way),
        cmocka_unit_test(init_failures),
    };

    seed_from_env();
    printf("host: %s\n", kernel_host_name());
    return cmocka_run_group_tests_name("kernel records", tests, up, down);
}
