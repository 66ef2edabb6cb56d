/* SPDX-License-Identifier: Apache-2.0 */
/* Whole programs: the row softmax of neuroncore.md 8.1, dynamic transfers against an oracle, two
 * cores with peer signals and barriers. */
#include "fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proves.h"

static struct fx F;

static int setup(void **state)
{
    fx_init(&F, 1, ISA_V3);
    return 0;
}

static int setup_lnc2(void **state)
{
    fx_init(&F, 2, ISA_V3);
    return 0;
}

static int teardown(void **state)
{
    fx_fini(&F);
    return 0;
}

/* ---- softmax ---- */

static struct neff_access rows_sbuf(uint32_t off, uint64_t bytes, uint64_t rows)
{
    int64_t steps[] = {1, NEFF_SBUF_STRIDE};
    uint64_t sizes[] = {bytes, rows};

    return fx_access(0, off, 2, steps, sizes, DT_UINT8);
}

static void softmax_program(unsigned x, unsigned y)
{
    struct neff_access sb_in = rows_sbuf(0, 2048, 128), sb_out = rows_sbuf(2048, 2048, 128);
    struct neff_access in = fx_flat(x, 0, 128 * 2048);
    struct isa_tensor X = fx_tile(ISA_SBUF, DT_FP32, 0, 128, 0, 512);
    struct isa_tensor E = fx_tile(ISA_SBUF, DT_FP32, 0, 128, 2048, 512);
    struct isa_tensor nmax = fx_tile(ISA_SBUF, DT_FP32, 0, 128, 4096, 1);
    struct isa_tensor sum = fx_tile(ISA_SBUF, DT_FP32, 0, 128, 4100, 1);
    struct isa_tensor rinv = fx_tile(ISA_SBUF, DT_FP32, 0, 128, 4104, 1);
    struct isa_record *r;

    fx_group(&F, 0, ISA_SP, 0, 0, fx_desc(&F, NEFF_OP_COPY, sb_in, &in, 1), 1)->semaphore = 1;
    fx_group(&F, 0, ISA_SP, 1, 0, fx_desc(&F, NEFF_OP_COPY, fx_flat(y, 0, 128 * 2048), &sb_out, 1),
             1)
        ->semaphore = 2;
    fx_trigger(&F, 0, ISA_SP, 0);
    fx_wait(fx_trigger(&F, 0, ISA_SP, 1), ISA_WAIT_SEM_GE, 10, 2);
    fx_wait(fx_rec(&F, 0, ISA_SP, ISA_OP_END), ISA_WAIT_SEM_GE, 2, 16);

    r = fx_rec(&F, 0, ISA_DVE, ISA_OP_TENSOR_REDUCE);
    fx_wait(r, ISA_WAIT_SEM_GE, 1, 16);
    r->body.c.t[0] = nmax;
    r->body.c.t[1] = X;
    r->body.c.op0 = ISA_ALU_MAX;
    r->body.c.naxes = 1;
    r->body.c.negate = 1;
    fx_update(r, ISA_UPD_INC, 10, 0, 0);
    r = fx_rec(&F, 0, ISA_DVE, ISA_OP_RECIPROCAL);
    fx_wait(r, ISA_WAIT_SEM_GE, 11, 1);
    r->body.c.t[0] = rinv;
    r->body.c.t[1] = sum;
    r = fx_rec(&F, 0, ISA_DVE, ISA_OP_TENSOR_SCALAR);
    r->body.c.t[0] = E;
    r->body.c.t[1] = E;
    r->body.c.s[0] =
        (struct isa_scalar){.kind = ISA_SC_TILE, .mem = ISA_SBUF, .dtype = DT_FP32, .v = 4104};
    r->body.c.op0 = ISA_ALU_MULTIPLY;
    fx_update(r, ISA_UPD_INC, 10, 0, 0);
    fx_end(&F, 0, ISA_DVE);

    r = fx_rec(&F, 0, ISA_ACT, ISA_OP_ACTIVATION);
    fx_wait(r, ISA_WAIT_SEM_GE, 10, 1);
    r->body.c.t[0] = E;
    r->body.c.t[1] = X;
    r->body.c.t[2] = sum;
    r->body.c.s[1] =
        (struct isa_scalar){.kind = ISA_SC_TILE, .mem = ISA_SBUF, .dtype = DT_FP32, .v = 4096};
    r->body.c.act = ISA_ACT_EXP;
    r->body.c.reduce_op = ISA_ALU_ADD;
    r->body.c.reduce_cmd = ISA_RC_RESET_REDUCE;
    fx_update(r, ISA_UPD_INC, 11, 0, 0);
    fx_end(&F, 0, ISA_ACT);
}

static void row_softmax_is_softmax(void **state)
{
    unsigned x = fx_var(&F, 0, NEFF_VAR_INPUT, 128 * 2048);
    unsigned y = fx_var(&F, 0, NEFF_VAR_OUTPUT, 128 * 2048);
    struct fx_rng rng = {fx_seed()};
    float *in = F.c[0].mem[x], *out = F.c[0].mem[y];

    for (unsigned i = 0; i < 128 * 512; i++)
        in[i] = (float)((int)fx_below(&rng, 20000) - 10000) / 1000.0f;
    softmax_program(x, y);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 1000000000), NRT_SUCCESS);
    for (unsigned p = 0; p < 128; p++) {
        double max = -INFINITY, sum = 0;

        for (unsigned i = 0; i < 512; i++)
            max = fmax(max, in[p * 512 + i]);
        for (unsigned i = 0; i < 512; i++)
            sum += exp(in[p * 512 + i] - max);
        for (unsigned i = 0; i < 512; i++) {
            double want = exp(in[p * 512 + i] - max) / sum;

            assert_true(fabs(out[p * 512 + i] - want) <= 2e-5 * want);
        }
    }
    assert_int_equal(F.report.stats.records, 9);
    assert_int_equal(F.report.stats.dma_bytes, 2 * 128 * 2048);
}

/* ---- dynamic transfers ---- */

static struct isa_hbm hbm(unsigned var, enum dtype t, int64_t off, uint32_t cols, uint32_t rows,
                          int64_t row_step)
{
    struct isa_hbm h = {.var_id = var,
                        .dtype = (uint8_t)t,
                        .ndim = 2,
                        .off_reg = ISA_NO_REG,
                        .offset = off,
                        .step = {1, row_step},
                        .num = {cols, rows}};

    return h;
}

static struct isa_record *dyn(unsigned engine, unsigned op, unsigned mode, unsigned queue)
{
    struct isa_record *r = fx_rec(&F, 0, engine, ISA_OP_DMA_DYN);

    r->body.d.op = (uint8_t)op;
    r->body.d.mode = (uint8_t)mode;
    r->body.d.oob_reg = ISA_NO_REG;
    r->body.d.queue = (uint16_t)queue;
    r->body.d.semaphore = -1;
    return r;
}

static void put_index(unsigned part, uint32_t off, int32_t v)
{
    memcpy(fx_sbuf(&F, 0, part, off), &v, 4);
}

/* Embedding lookup: rows of a table by an index tile, converted to another type on the way. */
static void gather_rows(void **state)
{
    enum { ROWS = 100, COLS = 24, T = 64 };
    unsigned tab = fx_var(&F, 0, NEFF_VAR_FILE, ROWS * COLS * 4);
    unsigned q = fx_queue(&F, 0, NEFF_QUEUE_DYNAMIC, 8, ISA_POOL);
    struct fx_rng rng = {fx_seed()};
    float *table = F.c[0].mem[tab];
    struct isa_record *r;

    for (unsigned i = 0; i < ROWS * COLS; i++)
        table[i] = (float)(int)fx_below(&rng, 1000) - 500.0f;
    for (unsigned pass = 0; pass < 4; pass++) { /* in range; skip; error; negative, skip */
        int32_t idx[T];
        bool bad = false;

        for (unsigned t = 0; t < T; t++) {
            idx[t] = (int32_t)fx_below(&rng, ROWS);
            if (pass > 0 && t % 7 == 3) {
                idx[t] = pass == 3 ? -1 - (int32_t)fx_below(&rng, 5) : ROWS + (int32_t)(t % 3);
                bad = true;
            }
            put_index(32 + t, 8192, idx[t]);
            memset(fx_sbuf(&F, 0, t, 256), 0x5a, COLS * 2);
        }
        r = dyn(ISA_POOL, ISA_DYN_COPY, ISA_DGE_SW, q);
        r->body.d.src_mem = ISA_HBM;
        r->body.d.src.hbm = hbm(tab, DT_FP32, 0, COLS, T, 0);
        r->body.d.src.hbm.off_mul = COLS;
        r->body.d.dst_mem = ISA_SBUF;
        r->body.d.dst.tile = fx_tile(ISA_SBUF, DT_BF16, 0, T, 256, COLS);
        r->body.d.index_side = 1;
        r->body.d.index = fx_tile(ISA_SBUF, DT_INT32, 32, T, 8192, 1);
        r->body.d.oob = pass == 2 ? ISA_OOB_ERROR : ISA_OOB_SKIP;
        r->body.d.semaphore = 4;
        fx_wait(fx_rec(&F, 0, ISA_POOL, ISA_OP_END), ISA_WAIT_SEM_GE, 4, 8);
        fx_prepare(&F);
        assert_int_equal(fx_run(&F, 0), pass == 2 ? NRT_EXEC_OOB : NRT_SUCCESS);
        if (pass == 2) {
            assert_int_equal(F.report.end, CORE_END_OOB);
            assert_true(F.report.dynamic_dma);
            assert_int_equal(F.report.record, 0);
            assert_int_equal(F.report.engine, ISA_POOL);
            assert_non_null(strstr(F.report.err.text, "pool record 0 dma_dyn: index 10"));
        }
        for (unsigned t = 0; t < T; t++) {
            uint16_t got[COLS];

            memcpy(got, fx_sbuf(&F, 0, t, 256), sizeof(got));
            for (unsigned c = 0; c < COLS; c++) {
                bool moved = idx[t] >= 0 && idx[t] < ROWS && (pass != 2 || t < 3);

                assert_int_equal(got[c],
                                 moved ? f32_to_bf16(table[idx[t] * COLS + (int)c]) : 0x5a5a);
            }
        }
        assert_true((F.report.stats.skipped > 0) == (bad && pass != 2));
        fx_clear(&F);
    }
}

/* A negative index is out of bounds even where its row would lie inside the variable. */
static void negative_index_before_the_offset(void **state)
{
    unsigned tab = fx_var(&F, 0, NEFF_VAR_FILE, 32 * 4);
    unsigned q = fx_queue(&F, 0, NEFF_QUEUE_DYNAMIC, 1, ISA_POOL);
    struct isa_record *r = dyn(ISA_POOL, ISA_DYN_COPY, ISA_DGE_SW, q);
    uint32_t *m = F.c[0].mem[tab], got[2];

    m[15] = 15;
    m[17] = 17;
    put_index(0, 0, -1);
    put_index(1, 0, 1);
    memset(fx_sbuf(&F, 0, 0, 64), 0, 4);
    r->body.d.src_mem = ISA_HBM;
    r->body.d.src.hbm = hbm(tab, DT_UINT32, 16 * 4, 1, 2, 0);
    r->body.d.src.hbm.off_mul = 1;
    r->body.d.dst_mem = ISA_SBUF;
    r->body.d.dst.tile = fx_tile(ISA_SBUF, DT_UINT32, 0, 2, 64, 1);
    r->body.d.index_side = 1;
    r->body.d.index = fx_tile(ISA_SBUF, DT_INT32, 0, 2, 0, 1);
    r->body.d.oob = ISA_OOB_SKIP;
    fx_end(&F, 0, ISA_POOL);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    memcpy(&got[0], fx_sbuf(&F, 0, 0, 64), 4);
    memcpy(&got[1], fx_sbuf(&F, 0, 1, 64), 4);
    assert_int_equal(got[0], 0);
    assert_int_equal(got[1], 17);
    assert_int_equal(F.report.stats.skipped, 1);
}

/* A register offset of an engine operand that leaves the partition ends the execution. */
static void engine_operand_out_of_bounds(void **state)
{
    struct isa_record *r;

    for (int pass = 0; pass < 2; pass++) {
        fx_move(&F, 0, ISA_DVE, 7, pass == 0 ? 57343 : 57344); /* words of a partition of v3 */
        r = fx_rec(&F, 0, ISA_DVE, ISA_OP_MEMSET);
        r->body.c.t[0] = fx_tile(ISA_SBUF, DT_UINT32, 0, 128, 0, 1);
        r->body.c.t[0].off_reg = 7;
        r->body.c.t[0].off_mul = 1;
        r->body.c.s[0] = (struct isa_scalar){.kind = ISA_SC_I32, .v = 9};
        fx_end(&F, 0, ISA_DVE);
        fx_prepare(&F);
        assert_int_equal(fx_run(&F, 0), pass == 0 ? NRT_SUCCESS : NRT_EXEC_OOB);
        if (pass == 1) {
            assert_int_equal(F.report.end, CORE_END_OOB);
            assert_int_equal(F.report.engine, ISA_DVE);
            assert_int_equal(F.report.record, 1);
            assert_false(F.report.dynamic_dma);
            assert_non_null(strstr(F.report.err.text, "dve record 1 memset: "));
        }
        fx_clear(&F);
    }
}

/* Scatter with read-modify-write, duplicate indices in index order; uint32 indices. */
static void scatter_add(void **state)
{
    enum { ROWS = 16, COLS = 5, T = 32 };
    unsigned out = fx_var(&F, 0, NEFF_VAR_TMP_BUF, ROWS * COLS * 4);
    unsigned q = fx_queue(&F, 0, NEFF_QUEUE_DYNAMIC, 16, -1);
    struct fx_rng rng = {fx_seed()};
    float want[ROWS * COLS], *got = F.c[0].mem[out];
    struct isa_record *r;

    for (unsigned i = 0; i < ROWS * COLS; i++)
        want[i] = got[i] = (float)fx_below(&rng, 100);
    for (unsigned t = 0; t < T; t++) {
        int32_t idx = (int32_t)fx_below(&rng, ROWS);

        put_index(t, 4, idx);
        for (unsigned c = 0; c < COLS; c++) {
            float v = (float)fx_below(&rng, 100);

            memcpy(fx_sbuf(&F, 0, t, 64 + 4 * c), &v, 4);
            want[idx * COLS + (int)c] += v;
        }
    }
    r = dyn(ISA_POOL, ISA_DYN_ADD, ISA_DGE_SW, q);
    r->body.d.src_mem = ISA_SBUF;
    r->body.d.src.tile = fx_tile(ISA_SBUF, DT_FP32, 0, T, 64, COLS);
    r->body.d.dst_mem = ISA_HBM;
    r->body.d.dst.hbm = hbm(out, DT_FP32, 0, COLS, T, 0);
    r->body.d.dst.hbm.off_mul = COLS;
    r->body.d.index_side = 2;
    r->body.d.index = fx_tile(ISA_SBUF, DT_UINT32, 0, T, 4, 1);
    fx_end(&F, 0, ISA_POOL);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_memory_equal(got, want, sizeof(want));
}

/* A scalar offset moves the whole pattern; outside its bounds nothing moves. */
static void scalar_offset(void **state)
{
    enum { N = 64 };
    unsigned v = fx_var(&F, 0, NEFF_VAR_INPUT, N * 4);
    unsigned q = fx_queue(&F, 0, NEFF_QUEUE_DYNAMIC, 16, ISA_SP);
    uint32_t *m = F.c[0].mem[v], got[8];

    for (unsigned i = 0; i < N; i++)
        m[i] = i * 3 + 1;
    for (int pass = 0; pass < 12; pass++) {
        static const int32_t reg[] = {0, 1, 7, 5, -1, 8, 100000, INT32_MIN, INT32_MAX, 2, 3, 6};
        bool bounded = pass >= 9; /* bounds: elements 16 to 47 */
        bool ok = bounded ? reg[pass] * 8 >= 16 && reg[pass] * 8 + 8 <= 48
                          : reg[pass] >= 0 && reg[pass] < 8;
        struct isa_record *r;

        for (unsigned skip = 0; skip < 2; skip++) {
            memset(fx_sbuf(&F, 0, 3, 0), 0, 32);
            fx_move(&F, 0, ISA_SP, 9, reg[pass]);
            fx_move(&F, 0, ISA_SP, 10, (int32_t)skip);
            r = dyn(ISA_SP, ISA_DYN_COPY, ISA_DGE_HW, q);
            r->body.d.src_mem = ISA_HBM;
            r->body.d.src.hbm = hbm(v, DT_UINT32, 0, 8, 1, 0);
            r->body.d.src.hbm.off_reg = 9;
            r->body.d.src.hbm.off_mul = 8;
            if (bounded) {
                r->body.d.src.hbm.bound_first = 16 * 4;
                r->body.d.src.hbm.bound_bytes = 32 * 4;
            }
            r->body.d.dst_mem = ISA_SBUF;
            r->body.d.dst.tile = fx_tile(ISA_SBUF, DT_UINT32, 3, 1, 0, 8);
            r->body.d.oob_reg = 10;
            fx_end(&F, 0, ISA_SP);
            fx_prepare(&F);
            assert_int_equal(fx_run(&F, 0), ok || skip ? NRT_SUCCESS : NRT_EXEC_OOB);
            memcpy(got, fx_sbuf(&F, 0, 3, 0), 32);
            for (unsigned i = 0; i < 8; i++)
                assert_int_equal(got[i], ok ? ((unsigned)reg[pass] * 8 + i) * 3 + 1 : 0);
            assert_int_equal(F.report.stats.skipped, ok || !skip ? 0 : 1);
            fx_clear(&F);
        }
    }
}

/* Packets of prebuilt rings are as large as asked for, 4 KiB at least; those of descriptors that a
 * DGE makes are not affected. */
static void packets_of_rings(void **state)
{
    static const uint64_t asked[] = {0, 1000, 4096, 65536, 1 << 20};
    unsigned v = fx_var(&F, 0, NEFF_VAR_INPUT, 4096);
    unsigned sw = fx_queue(&F, 0, NEFF_QUEUE_DYNAMIC, 16, ISA_POOL);
    unsigned hw = fx_queue(&F, 0, NEFF_QUEUE_DYNAMIC, 16, ISA_SP);

    for (unsigned i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        static const unsigned engine[] = {ISA_POOL, ISA_SP};
        uint64_t bytes = asked[i] > 4096 ? asked[i] : 4096;
        const struct time_program *tp;
        struct neff_access from = fx_flat(v, 0, 64);

        fx_group(&F, 0, ISA_ACT, 7, 0, fx_desc(&F, NEFF_OP_COPY, fx_flat(v, 64, 64), &from, 1), 1)
            ->semaphore = 1;
        fx_trigger(&F, 0, ISA_ACT, 7);
        fx_end(&F, 0, ISA_ACT);
        for (unsigned k = 0; k < 2; k++) {
            struct isa_record *r =
                dyn(engine[k], ISA_DYN_COPY, k ? ISA_DGE_HW : ISA_DGE_SW, k ? hw : sw);

            r->body.d.src_mem = ISA_HBM;
            r->body.d.src.hbm = hbm(v, DT_UINT32, 0, 8, 1, 0);
            r->body.d.dst_mem = ISA_SBUF;
            r->body.d.dst.tile = fx_tile(ISA_SBUF, DT_UINT32, 3 + k, 1, 0, 8);
            fx_end(&F, 0, engine[k]);
        }
        F.opt.dma_packet = asked[i];
        fx_prepare(&F);
        tp = core_program_time(F.c[0].program);
        assert_int_equal(tp->xfer_count, 3);
        for (unsigned k = 0; k < 3; k++) {
            uint64_t want = tp->xfers[k].queue == 0 ? bytes : 4096;

            assert_int_equal(tp->xfers[k].packet_ps, time_dma_ps(F.gen, TIME_DMA_COPY, want));
        }
        if (bytes > 4096) /* the two generated ones stayed as they were */
            PROVES("ovl-009");
        fx_clear(&F);
        F.opt.dma_packet = 0;
    }
}

/* dst[c, w] = src[idx[w], c] in 2-byte elements, and the static form. */
static void indexed_transpose(void **state)
{
    enum { ROWS = 40, COLS = 48, T = 32 };
    unsigned v = fx_var(&F, 0, NEFF_VAR_INPUT, ROWS * COLS * 2);
    unsigned q = fx_queue(&F, 0, NEFF_QUEUE_DYNAMIC, 16, ISA_POOL);
    struct fx_rng rng = {fx_seed()};
    uint16_t *src = F.c[0].mem[v];
    uint32_t idx[T];
    struct isa_record *r;

    for (unsigned i = 0; i < ROWS * COLS; i++)
        src[i] = (uint16_t)fx_rand(&rng);
    for (unsigned t = 0; t < T; t++) {
        idx[t] = fx_below(&rng, ROWS);
        put_index(t, 0, (int32_t)idx[t]);
    }
    for (unsigned indexed = 0; indexed < 2; indexed++) {
        r = dyn(ISA_POOL, ISA_DYN_TRANSPOSE, ISA_DGE_SW, q);
        r->body.d.src_mem = ISA_HBM;
        r->body.d.src.hbm = hbm(v, DT_BF16, 0, COLS, T, indexed ? 0 : COLS);
        r->body.d.dst_mem = ISA_SBUF;
        r->body.d.dst.tile = fx_tile(ISA_SBUF, DT_BF16, 0, COLS, 4096, T);
        if (indexed) {
            r->body.d.src.hbm.off_mul = COLS;
            r->body.d.index_side = 1;
            r->body.d.index = fx_tile(ISA_SBUF, DT_UINT32, 0, T, 0, 1);
        }
        fx_end(&F, 0, ISA_POOL);
        fx_prepare(&F);
        assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
        for (unsigned c = 0; c < COLS; c++)
            for (unsigned t = 0; t < T; t++) {
                uint16_t got;

                memcpy(&got, fx_sbuf(&F, 0, c, 4096 + 2 * t), 2);
                assert_int_equal(got, src[(indexed ? idx[t] : t) * COLS + c]);
            }
        fx_clear(&F);
    }
}

/* register_load and register_store: every type, sign, HBM and SBUF, bounds. */
static void register_load_store(void **state)
{
    static const struct {
        enum dtype t;
        uint32_t want;
    } cases[] = {{DT_UINT8, 0x000000f1}, {DT_INT8, 0xfffffff1},   {DT_UINT16, 0x0000c2f1},
                 {DT_INT16, 0xffffc2f1}, {DT_UINT32, 0xa4b3c2f1}, {DT_INT32, 0xa4b3c2f1},
                 {DT_FP32, 0xa4b3c2f1}};
    unsigned v = fx_var(&F, 0, NEFF_VAR_TMP_BUF, 64);
    static const uint8_t bytes[4] = {0xf1, 0xc2, 0xb3, 0xa4};

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (unsigned sbuf = 0; sbuf < 2; sbuf++) {
            unsigned es = (unsigned)dtype_size(cases[i].t);
            uint8_t *at = sbuf ? fx_sbuf(&F, 0, 5, 128) : F.c[0].mem[v];

            memset(at, 0, 64);
            memcpy(at + 8, bytes, 4);
            fx_move(&F, 0, ISA_ACT, 2, (int32_t)(8 / es));
            for (unsigned store = 0; store < 2; store++) {
                struct isa_record *r =
                    fx_rec(&F, 0, ISA_ACT, store ? ISA_OP_REG_STORE : ISA_OP_REG_LOAD);

                r->body.s.rd = store ? 0 : 1;
                r->body.s.ra = store ? 1 : 0;
                r->body.s.place_mem = sbuf ? ISA_SBUF : ISA_HBM;
                if (sbuf) {
                    r->body.s.place.tile = fx_tile(ISA_SBUF, cases[i].t, 5, 1, 128 + 16 * store, 1);
                    r->body.s.place.tile.off_reg = 2;
                    r->body.s.place.tile.off_mul = 1;
                } else {
                    r->body.s.place.hbm = (struct isa_hbm){.var_id = v,
                                                           .dtype = (uint8_t)cases[i].t,
                                                           .ndim = 1,
                                                           .off_reg = 2,
                                                           .off_mul = 1,
                                                           .offset = 16 * store,
                                                           .num = {1}};
                }
            }
            fx_end(&F, 0, ISA_ACT);
            fx_prepare(&F);
            assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
            assert_int_equal(core_register(F.c[0].core, ISA_ACT, 1), cases[i].want);
            for (unsigned k = 0; k < 8; k++)
                assert_int_equal(at[24 + k], k < es ? bytes[k] : 0);
            fx_clear(&F);
        }
    }
    for (int k = 0; k < 4; k++) { /* outside */
        static const int32_t reg[] = {16, -1, INT32_MAX, INT32_MIN};
        struct isa_record *r;

        fx_move(&F, 0, ISA_SP, 2, reg[k]);
        r = fx_rec(&F, 0, ISA_SP, ISA_OP_REG_LOAD);
        r->body.s.place_mem = ISA_HBM;
        r->body.s.place.hbm = (struct isa_hbm){
            .var_id = v, .dtype = DT_UINT32, .ndim = 1, .off_reg = 2, .off_mul = 1, .num = {1}};
        fx_end(&F, 0, ISA_SP);
        fx_prepare(&F);
        assert_int_equal(fx_run(&F, 0), NRT_EXEC_OOB);
        assert_int_equal(F.report.end, CORE_END_OOB);
        assert_false(F.report.dynamic_dma);
        fx_clear(&F);
    }
}

/* ---- two cores ---- */

static void peer_and_remote_signals(void **state)
{
    struct isa_record *r;
    unsigned a = fx_var(&F, 0, NEFF_VAR_INPUT, 64);
    struct neff_access from = fx_flat(a, 0, 64);
    static const uint32_t remote[] = {50, 51};
    struct neff_dma_group *g;

    g = fx_group(&F, 0, ISA_SP, 0, 0, fx_desc(&F, NEFF_OP_COPY, fx_flat(a, 0, 64), &from, 1), 1);
    g->remote_semaphores = remote;
    g->remote_semaphore_count = 2;
    fx_trigger(&F, 0, ISA_SP, 0);
    r = fx_rec(&F, 0, ISA_SP, ISA_OP_NOP);
    fx_update(r, ISA_UPD_ADD, 8, 5, ISA_UPD_PEER);
    fx_update(r, ISA_UPD_EVENT_SET, 3, 0, ISA_UPD_PEER);
    fx_wait(fx_rec(&F, 0, ISA_SP, ISA_OP_END), ISA_WAIT_SEM_EQ, 9, -1);
    r = fx_rec(&F, 1, ISA_PE, ISA_OP_NOP);
    fx_wait(r, ISA_WAIT_SEM_GE, 8, 5);
    fx_wait(r, ISA_WAIT_SEM_GE, 50, 16);
    fx_wait(r, ISA_WAIT_SEM_GE, 51, 16);
    fx_wait(r, ISA_WAIT_EVENT_SET, 3, 0);
    fx_update(r, ISA_UPD_DEC, 9, 0, ISA_UPD_PEER);
    fx_end(&F, 1, ISA_PE);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(core_semaphore(F.c[1].core, 50), 16);
    PROVES("neff-082");
    assert_int_equal(core_semaphore(F.c[0].core, 50), 0);
    assert_int_equal(core_semaphore(F.c[0].core, 9), -1);
    assert_true(core_event(F.c[1].core, 3) && !core_event(F.c[0].core, 3));
}

/* Repeated barriers: core 1 reads what core 0 wrote before, round by round. */
static void barriers_order_two_cores(void **state)
{
    enum { ROUNDS = 50 };
    unsigned v = fx_var(&F, 0, NEFF_VAR_TMP_BUF, 4), w;
    struct isa_record *r;

    w = fx_var(&F, 1, NEFF_VAR_TMP_BUF, 4);
    free((uint8_t *)F.c[1].mem[w] - 64); /* the same memory on both cores */
    F.c[1].mem[w] = F.c[0].mem[v];
    for (unsigned c = 0; c < 2; c++) {
        fx_move(&F, c, ISA_POOL, 1, 0);                            /* round */
        fx_alu(&F, c, ISA_POOL, ISA_REG_ADD, 1, 1, ISA_NO_REG, 1); /* 1: */
        r = fx_rec(&F, c, ISA_POOL, c == 0 ? ISA_OP_REG_STORE : ISA_OP_NOP);
        if (c == 0) {
            r->body.s.ra = 1;
            r->body.s.place_mem = ISA_HBM;
            r->body.s.place.hbm = (struct isa_hbm){
                .var_id = v, .dtype = DT_UINT32, .ndim = 1, .off_reg = ISA_NO_REG, .num = {1}};
        }
        fx_rec(&F, c, ISA_POOL, ISA_OP_CORE_BARRIER)->body.s.first = 77;
        r = fx_rec(&F, c, ISA_POOL, c == 1 ? ISA_OP_REG_LOAD : ISA_OP_NOP);
        if (c == 1) {
            r->body.s.rd = 5;
            r->body.s.place_mem = ISA_HBM;
            r->body.s.place.hbm = (struct isa_hbm){
                .var_id = w, .dtype = DT_UINT32, .ndim = 1, .off_reg = ISA_NO_REG, .num = {1}};
        }
        fx_alu(&F, c, ISA_POOL, ISA_REG_ADD, 6, 6, 5, 0);
        fx_rec(&F, c, ISA_POOL, ISA_OP_CORE_BARRIER)->body.s.first = 78;
        fx_branch(&F, c, ISA_POOL, ISA_BR_LT, 1, ISA_NO_REG, ROUNDS, 1);
        fx_end(&F, c, ISA_POOL);
    }
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(core_register(F.c[1].core, ISA_POOL, 6), ROUNDS * (ROUNDS + 1) / 2);
    assert_int_equal(core_semaphore(F.c[0].core, 77), 0);
    assert_int_equal(core_semaphore(F.c[1].core, 78), 0);
}

static void lone_barrier_hangs(void **state)
{
    fx_rec(&F, 0, ISA_POOL, ISA_OP_CORE_BARRIER)->body.s.first = 77;
    fx_end(&F, 0, ISA_POOL);
    fx_end(&F, 1, ISA_POOL);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_TIMEOUT);
    assert_int_equal(F.report.end, CORE_END_HANG);
    assert_true(F.report.engines[0][ISA_POOL].barrier);
    assert_string_equal(F.report.err.text,
                        "core 0 pool record 0 core_barrier in a core barrier waits for semaphore "
                        "77 >= 1, value 0, which nothing can change any more");
}

int main(void)
{
#define T(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
#define T2(f) cmocka_unit_test_setup_teardown(f, setup_lnc2, teardown)
    const struct CMUnitTest tests[] = {
        T(row_softmax_is_softmax),
        T(gather_rows),
        T(negative_index_before_the_offset),
        T(engine_operand_out_of_bounds),
        T(scatter_add),
        T(scalar_offset),
        T(packets_of_rings),
        T(indexed_transpose),
        T(register_load_store),
        T2(peer_and_remote_signals),
        T2(barriers_order_two_cores),
        T2(lone_barrier_hangs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
