/* SPDX-License-Identifier: Apache-2.0 */
/* Transfers and instructions that may be put off and run row by row (core/rows.c) against a model
 * that runs every step at once, whole, in program order. Tiles overlap, lie on different partitions
 * and are overwritten before they were read, in part or in whole; HBM patterns repeat, overlap and
 * meet each other's destinations: whatever the runtime puts off or spares, memory must end the
 * same. */
#include "fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "run/run.h"

#define COLUMNS       160  /* floats of a partition that steps touch */
#define WIDE          5120 /* the same where instructions begin to be put off without a transfer */
#define LARGE         2048 /* floats of a tile that does so: 1 MiB on 128 partitions */
#define PITCH         192 /* floats from row to row where transfers move column blocks of a matrix */
#define MATRIX        (ISA_PARTITIONS * PITCH)
#define HBM           (6 * MATRIX) /* floats of the variable */
#define STEPS         40
#define PROGRAMS      600
#define WIDE_PROGRAMS 12

enum step_kind { IN, OUT, BINARY, SCALAR, TILE_SCALAR, SCALED, REDUCE, FOLD, COPY, MEMSET, KINDS };

static struct fx F;
static unsigned V;
static unsigned columns;         /* COLUMNS or WIDE */
static struct run_pool *threads; /* NULL: one host thread; else steps are transfers and copies */
static float sbuf[ISA_PARTITIONS][WIDE], hbm[HBM];

static int setup(void **state)
{
    (void)state;
    fx_init(&F, 1, ISA_V3);
    V = fx_var(&F, 0, NEFF_VAR_TMP_BUF, sizeof(hbm));
    fx_queue(&F, 0, NEFF_QUEUE_DATA, 1, ISA_SP);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fx_fini(&F);
    return 0;
}

struct tile {
    unsigned part, rows, column, n;
    bool backwards; /* element i lies n - 1 - i columns on */
};

static const struct {
    uint8_t part, rows;
} PARTS[] = {{0, 128}, {0, 128}, {0, 128}, {0, 64}, {64, 64}, {32, 32}, {96, 32}};

static struct tile draw_tile(struct fx_rng *r, unsigned n)
{
    unsigned p = fx_below(r, sizeof(PARTS) / sizeof(PARTS[0]));

    return (struct tile){PARTS[p].part, PARTS[p].rows, 16 * fx_below(r, (columns - n) / 16 + 1), n,
                         false};
}

/* Floats of a row of what an instruction writes. */
static unsigned draw_width(struct fx_rng *r)
{
    return columns == WIDE && fx_below(r, 4) != 0 ? LARGE : 16u << fx_below(r, 4);
}

/* Another tile for the same instruction: mostly on the same partitions, often the same. */
static struct tile draw_other(struct fx_rng *r, const struct tile *t)
{
    struct tile o = *t;

    if (fx_below(r, 2))
        o.column = 16 * fx_below(r, (columns - t->n) / 16 + 1);
    if (t->rows == 32 && fx_below(r, 2))
        o.part = 32 * fx_below(r, 4);
    o.backwards = fx_below(r, 8) == 0;
    return o;
}

static struct isa_tensor operand(const struct tile *t)
{
    unsigned first = t->backwards ? t->column + t->n - 1 : t->column;
    struct isa_tensor ret = fx_tile(ISA_SBUF, DT_FP32, t->part, t->rows, first * 4, t->n);

    if (t->backwards)
        ret.dim[0].step = -1;
    return ret;
}

static float *cell(const struct tile *t, unsigned k, unsigned i)
{
    return &sbuf[t->part + k][t->column + (t->backwards ? t->n - 1 - i : i)];
}

static float apply(unsigned op, float x, float y)
{
    return op == ISA_ALU_ADD        ? x + y
           : op == ISA_ALU_SUBTRACT ? x - y
           : op == ISA_ALU_MULTIPLY ? x * y
           : x > y                  ? x
                                    : y;
}

/* dst = f(a, b) with all inputs read before; b NULL: the scalar, or column s of each partition. */
static void model_binary(unsigned op, const struct tile *d, const struct tile *a,
                         const struct tile *b, float scalar, const struct tile *s)
{
    for (unsigned k = 0; k < d->rows; k++) {
        float v[LARGE];

        for (unsigned i = 0; i < d->n; i++)
            v[i] = apply(op, *cell(a, k, i),
                         b   ? *cell(b, k, i)
                         : s ? sbuf[s->part + k][s->column]
                             : scalar);
        for (unsigned i = 0; i < d->n; i++)
            *cell(d, k, i) = v[i];
    }
}

/* d = a * scalar op b, the same way. */
static void model_scaled(unsigned op, const struct tile *d, const struct tile *a,
                         const struct tile *b, float scalar)
{
    for (unsigned k = 0; k < d->rows; k++) {
        float v[LARGE];

        for (unsigned i = 0; i < d->n; i++)
            v[i] = apply(op, apply(ISA_ALU_MULTIPLY, *cell(a, k, i), scalar), *cell(b, k, i));
        for (unsigned i = 0; i < d->n; i++)
            *cell(d, k, i) = v[i];
    }
}

static void model_copy(const struct tile *d, const struct tile *a)
{
    for (unsigned k = 0; k < d->rows; k++) {
        float v[LARGE];

        for (unsigned i = 0; i < d->n; i++)
            v[i] = *cell(a, k, i);
        for (unsigned i = 0; i < d->n; i++)
            *cell(d, k, i) = v[i];
    }
}

/* Rows of t and of the variable, which begin at float `at`, step apart. */
static void put_transfer(enum step_kind kind, unsigned id, const struct tile *t, unsigned at,
                         unsigned step)
{
    int64_t on_chip[] = {1, NEFF_SBUF_STRIDE}, off_chip[] = {1, 4 * (int64_t)step};
    uint64_t sizes[] = {4 * t->n, t->rows};
    struct neff_access chip = fx_access(0, t->part * (uint64_t)NEFF_SBUF_STRIDE + t->column * 4, 2,
                                        on_chip, sizes, DT_FP32);
    struct neff_access far = fx_access(V, 4 * at, 2, off_chip, sizes, DT_FP32);
    struct neff_desc *d =
        fx_desc(&F, NEFF_OP_COPY, kind == IN ? chip : far, kind == IN ? &far : &chip, 1);

    fx_group(&F, 0, ISA_SP, id, 1, d, 1)->semaphore = 0;
    for (unsigned k = 0; k < t->rows; k++) {
        float *on = &sbuf[t->part + k][t->column], *off = &hbm[at + k * step];

        memcpy(kind == IN ? on : off, kind == IN ? off : on, t->n * sizeof(*on));
    }
}

/* last: a tile of a step before; the transfer often takes it, or puts something in its place. */
static void step_transfer(struct fx_rng *r, enum step_kind kind, unsigned id, struct tile *last)
{
    static const unsigned widths[] = {16, 32, 64, 64};
    bool again = fx_below(r, 2) != 0 && last->n < LARGE;
    struct tile t = draw_tile(r, widths[fx_below(r, 4)]), o = t;
    unsigned step, at;

    if (again) {
        t = *last;
        if (fx_below(r, 4) == 0) {
            t.part = o.part;
            t.rows = o.rows;
        }
    }
    step = fx_below(r, 4) == 0 ? 16 * fx_below(r, 3)
           : fx_below(r, 2)    ? PITCH
                               : t.n + 16 * fx_below(r, 3);
    at = step == PITCH && fx_below(r, 8) != 0
             ? MATRIX * fx_below(r, HBM / MATRIX) + 16 * fx_below(r, (PITCH - t.n) / 16 + 1)
             : fx_below(r, HBM - step * (t.rows - 1) - t.n);
    put_transfer(kind, id, &t, at, step);
    if (fx_below(r, 2))
        *last = t;
}

/* d = a op scalar, and the largest of it into one column, often one of the tile near. */
static void step_fold(struct fx_rng *r, struct isa_compute *c, const struct tile *d,
                      const struct tile *a, float scalar, const struct tile *near)
{
    struct tile m = draw_other(r, d);

    if (fx_below(r, 2))
        m.column = near->column + fx_below(r, near->n);
    m.n = 1;
    m.backwards = false;
    c->reduce_op = ISA_ALU_MAX;
    c->reduce_cmd = ISA_RC_RESET_REDUCE;
    c->t[2] = operand(&m);
    c->s[0].kind = ISA_SC_F32;
    memcpy(&c->s[0].v, &scalar, 4);
    for (unsigned k = 0; k < d->rows; k++) {
        float v[LARGE], max = -INFINITY;

        for (unsigned i = 0; i < d->n; i++)
            v[i] = apply(c->op0, *cell(a, k, i), scalar);
        for (unsigned i = 0; i < d->n; i++) {
            *cell(d, k, i) = v[i];
            max = v[i] > max ? v[i] : max;
        }
        *cell(&m, k, 0) = max;
    }
}

/* What an instruction writes: often what a step before wrote, now and then the same columns of
 * other partitions. */
static struct tile draw_result(struct fx_rng *r, const struct tile *last)
{
    struct tile d = *last;

    if (fx_below(r, 2))
        return draw_tile(r, draw_width(r));
    if (d.rows < ISA_PARTITIONS && fx_below(r, 4) == 0)
        d.part = ISA_PARTITIONS - d.rows - d.part;
    return d;
}

static struct isa_record *step_compute(struct fx_rng *r, enum step_kind kind, struct tile *last)
{
    static const unsigned ops[] = {ISA_ALU_ADD, ISA_ALU_SUBTRACT, ISA_ALU_MAX};
    static const unsigned codes[KINDS] = {
        [BINARY] = ISA_OP_TENSOR_TENSOR,      [SCALAR] = ISA_OP_TENSOR_SCALAR,
        [TILE_SCALAR] = ISA_OP_TENSOR_SCALAR, [SCALED] = ISA_OP_SCALAR_TENSOR_TENSOR,
        [REDUCE] = ISA_OP_TENSOR_REDUCE,      [FOLD] = ISA_OP_TENSOR_SCALAR_REDUCE,
        [COPY] = ISA_OP_TENSOR_COPY,          [MEMSET] = ISA_OP_MEMSET};
    struct tile d = draw_result(r, last), a = draw_other(r, &d);
    struct tile b = draw_other(r, &d), s = draw_other(r, &d);
    struct isa_record *rec = fx_rec(&F, 0, ISA_DVE, codes[kind]);
    struct isa_compute *c = &rec->body.c;
    unsigned op = ops[fx_below(r, 3)];
    float scalar = (float)(int)fx_below(r, 16) - 8;

    c->op0 = kind == MEMSET || kind == COPY ? 0 : (uint8_t)op;
    c->op1 = ISA_ALU_NONE;
    c->t[0] = operand(&d);
    c->t[1] = operand(&a);
    if (kind == BINARY) {
        c->t[2] = operand(&b);
        model_binary(op, &d, &a, &b, 0, NULL);
    } else if (kind == SCALAR) {
        c->s[0].kind = ISA_SC_F32;
        memcpy(&c->s[0].v, &scalar, 4);
        model_binary(op, &d, &a, NULL, scalar, NULL);
    } else if (kind == TILE_SCALAR) {
        /* Outside dst: what a row reads must not depend on what it writes. */
        s.column = d.column >= 16 ? d.column - 16 : d.column + d.n;
        c->s[0] =
            (struct isa_scalar){ISA_SC_TILE, ISA_SBUF, DT_FP32, (uint8_t)s.part, s.column * 4};
        model_binary(op, &d, &a, NULL, 0, &s);
    } else if (kind == SCALED) {
        scalar =
            fx_below(r, 2) ? 0.5f : 2; /* no zero of the other sign, which a maximum may drop */
        c->op0 = ISA_ALU_MULTIPLY;
        c->op1 = (uint8_t)op;
        c->t[2] = operand(&b);
        c->s[0].kind = ISA_SC_F32;
        memcpy(&c->s[0].v, &scalar, 4);
        model_scaled(op, &d, &a, &b, scalar);
    } else if (kind == REDUCE) {
        c->op0 = ISA_ALU_MAX;
        c->naxes = 1;
        d.n = 1;
        c->t[0] = operand(&d);
        for (unsigned k = 0; k < d.rows; k++) {
            float v = *cell(&a, k, 0);

            for (unsigned i = 1; i < a.n; i++)
                v = apply(ISA_ALU_MAX, v, *cell(&a, k, i));
            *cell(&d, k, 0) = v;
        }
    } else if (kind == FOLD) {
        step_fold(r, c, &d, &a, scalar, last);
    } else if (kind == COPY) {
        model_copy(&d, &a);
    } else {
        memset(&c->t[1], 0, sizeof(c->t[1]));
        c->s[0].kind = ISA_SC_I32; /* bits */
        memcpy(&c->s[0].v, &scalar, 4);
        for (unsigned k = 0; k < d.rows; k++)
            for (unsigned i = 0; i < d.n; i++)
                *cell(&d, k, i) = scalar;
    }
    if (fx_below(r, 3))
        *last = d;
    return rec;
}

/* Each step waits for the one before it. */
static void draw_program(struct fx_rng *r)
{
    static const uint8_t often[] = {IN,     IN,          IN,     OUT,    OUT,    BINARY, BINARY,
                                    SCALAR, TILE_SCALAR, SCALED, SCALED, REDUCE, FOLD,   COPY};
    static const uint8_t copies[] = {IN, IN, OUT, OUT, COPY, COPY};
    struct tile last = draw_tile(r, 64);

    for (unsigned i = 0; i < STEPS; i++) {
        enum step_kind kind = fx_below(r, 30) == 0 ? MEMSET
                              : threads != NULL
                                  ? (enum step_kind)copies[fx_below(r, sizeof(copies))]
                                  : (enum step_kind)often[fx_below(r, sizeof(often))];
        struct isa_record *rec;

        if (kind == IN || kind == OUT) {
            step_transfer(r, kind, i, &last);
            rec = fx_trigger(&F, 0, ISA_SP, (int32_t)i);
        } else {
            rec = step_compute(r, kind, &last);
            fx_update(rec, ISA_UPD_INC, 0, 0, 0);
        }
        fx_wait(rec, ISA_WAIT_SEM_GE, 0, (int32_t)i);
    }
    fx_end(&F, 0, ISA_SP);
    fx_end(&F, 0, ISA_DVE);
}

static void compare(unsigned programs)
{
    struct fx_rng r = {fx_seed()};
    size_t row = columns * sizeof(sbuf[0][0]);

    for (unsigned n = 0; n < programs; n++) {
        fx_clear(&F);
        for (unsigned p = 0; p < ISA_PARTITIONS; p++) {
            for (unsigned i = 0; i < columns; i++)
                sbuf[p][i] = (float)(int)fx_below(&r, 1000);
            memcpy(fx_sbuf(&F, 0, p, 0), sbuf[p], row);
        }
        for (unsigned i = 0; i < HBM; i++)
            hbm[i] = (float)(int)fx_below(&r, 1000);
        memcpy(F.c[0].mem[V], hbm, sizeof(hbm));
        draw_program(&r);
        fx_prepare(&F);
        if (fx_run(&F, 0) != NRT_SUCCESS)
            fail_msg("program %u: %s", n, F.text);
        for (unsigned p = 0; p < ISA_PARTITIONS; p++)
            if (memcmp(fx_sbuf(&F, 0, p, 0), sbuf[p], row) != 0)
                fail_msg("program %u: partition %u differs from the model", n, p);
        if (memcmp(F.c[0].mem[V], hbm, sizeof(hbm)) != 0)
            fail_msg("program %u: HBM differs from the model", n);
    }
}

static void chains(void **state)
{
    (void)state;
    columns = COLUMNS;
    compare(PROGRAMS);
}

/* Instructions too large for a near cache are put off without a transfer before them. */
static void large_instructions(void **state)
{
    (void)state;
    columns = WIDE;
    compare(WIDE_PROGRAMS);
}

/* Large copies may be shared out between host threads, and with them what was put off before: that
 * shows in no value. Whether the second thread gets a part is the host's affair. */
static void copies_of_two_threads(void **state)
{
    (void)state;
    threads = run_pool_new(2);
    assert_non_null(threads);
    core_kernel(F.c[0].core)->pool = threads;
    run_pool_begin(threads);
    columns = WIDE;
    compare(WIDE_PROGRAMS);
    run_pool_end(threads);
    core_kernel(F.c[0].core)->pool = NULL;
    run_pool_free(threads);
    threads = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chains, setup, teardown),
        cmocka_unit_test_setup_teardown(large_instructions, setup, teardown),
        cmocka_unit_test_setup_teardown(copies_of_two_threads, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
