/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out at every allocation, host threads, two cores at work at once, and programs
 * of the size that the project promises to load. */
#include "fixture.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "run/run.h"
#include "runner.h"

/* A matmul group of 4 records between two loads and a store, with a dynamic transfer. */
static void program(struct fx *f, unsigned in, unsigned out, unsigned q)
{
    int64_t steps[] = {1, NEFF_SBUF_STRIDE};
    uint64_t sizes[] = {4096, 128};
    struct neff_access sb = fx_access(0, 0, 2, steps, sizes, DT_UINT8);
    struct neff_access from = fx_flat(in, 0, 128 * 4096), sb_out;
    struct isa_record *r;

    fx_group(f, 0, ISA_SP, 0, 0, fx_desc(f, NEFF_OP_COPY, sb, &from, 1), 1)->semaphore = 1;
    sizes[0] = 2048;
    sb_out = fx_access(0, 8192, 2, steps, sizes, DT_UINT8);
    fx_group(f, 0, ISA_SP, 1, 0, fx_desc(f, NEFF_OP_COPY, fx_flat(out, 0, 128 * 2048), &sb_out, 1),
             1);
    fx_trigger(f, 0, ISA_SP, 0);
    fx_wait(fx_trigger(f, 0, ISA_SP, 1), ISA_WAIT_SEM_GE, 3, 1);
    fx_end(f, 0, ISA_SP);
    for (unsigned k = 0; k < 4; k++) {
        r = fx_rec(f, 0, ISA_PE, ISA_OP_NC_MATMUL);
        if (k == 0)
            fx_wait(r, ISA_WAIT_SEM_GE, 1, 16);
        r->body.c.t[0] = fx_tile(ISA_PSUM, DT_FP32, 0, 128, 0, 512);
        r->body.c.t[1] = fx_tile(ISA_SBUF, DT_FP32, 0, 128, 512 * k, 128);
        r->body.c.t[2] = fx_tile(ISA_SBUF, DT_FP32, 0, 128, 2048, 512);
        r->body.c.acc = k > 0;
        if (k == 3)
            fx_update(r, ISA_UPD_INC, 2, 0, 0);
    }
    fx_end(f, 0, ISA_PE);
    r = fx_rec(f, 0, ISA_DVE, ISA_OP_TENSOR_COPY);
    fx_wait(r, ISA_WAIT_SEM_GE, 2, 1);
    r->body.c.t[0] = fx_tile(ISA_SBUF, DT_FP32, 0, 128, 8192, 512);
    r->body.c.t[1] = fx_tile(ISA_PSUM, DT_FP32, 0, 128, 0, 512);
    fx_update(r, ISA_UPD_INC, 3, 0, 0);
    fx_end(f, 0, ISA_DVE);
    r = fx_rec(f, 0, ISA_POOL, ISA_OP_DMA_DYN);
    r->body.d.mode = ISA_DGE_SW;
    r->body.d.oob_reg = ISA_NO_REG;
    r->body.d.queue = (uint16_t)q;
    r->body.d.semaphore = -1;
    r->body.d.src_mem = ISA_HBM;
    r->body.d.src.hbm = (struct isa_hbm){.var_id = in,
                                         .dtype = DT_UINT32,
                                         .ndim = 1,
                                         .off_reg = 5,
                                         .off_mul = 1,
                                         .step = {1},
                                         .num = {16}};
    r->body.d.dst_mem = ISA_SBUF;
    r->body.d.dst.tile = fx_tile(ISA_SBUF, DT_UINT32, 0, 1, 65536, 16);
    fx_end(f, 0, ISA_POOL);
}

static void fill(struct fx *f, unsigned in)
{
    struct fx_rng r = {7};
    float *m = f->c[0].mem[in];

    for (unsigned i = 0; i < 128 * 1024; i++)
        m[i] = (float)(int)fx_below(&r, 2001) / 1000.0f - 1.0f;
}

/* Every allocation of create, program and binding fails once: the status says so and the next try
 * works. Leaks are the sanitizer's to see. */
static void memory_runs_out_everywhere(void **state)
{
    struct core_config cfg = {.gen = ISA_V3};
    struct fx f;
    unsigned in, out, q;
    uint64_t n = 0;

    fx_init(&f, 1, ISA_V3);
    in = fx_var(&f, 0, NEFF_VAR_INPUT, 128 * 4096);
    out = fx_var(&f, 0, NEFF_VAR_OUTPUT, 128 * 2048);
    q = fx_queue(&f, 0, NEFF_QUEUE_DYNAMIC, 16, -1);
    f.opt.checks = CORE_CHECK_RACE;
    program(&f, in, out, q);
    for (;; n++) {
        struct err err = {0};
        struct core *c = NULL;
        NRT_STATUS st;

        fault_arm(FAULT_ALLOC, n + 1);
        st = core_create(&cfg, &c, &err);
        if (st == NRT_SUCCESS) {
            core_destroy(c);
            fault_disarm();
            break;
        }
        fault_disarm();
        assert_int_equal(st, NRT_RESOURCE);
        assert_true(err.text[0] != '\0');
    }
    assert_true(n >= 2);
    for (n = 0;; n++) {
        struct err err = {0};
        NRT_STATUS st;

        fault_arm(FAULT_ALLOC, n + 1);
        st = fx_prepare_status(&f, &err);
        fault_disarm();
        if (st == NRT_SUCCESS)
            break;
        assert_int_equal(st, NRT_RESOURCE);
        assert_true(err.text[0] != '\0');
        core_program_destroy(f.c[0].program);
        f.c[0].program = NULL;
        assert_null(f.c[0].binding);
    }
    assert_true(n > 20);
    fill(&f, in);
    assert_int_equal(fx_run(&f, 0), NRT_SUCCESS);
    fx_fini(&f);
}

static void one_and_two_threads_agree(void **state)
{
    struct run_pool *pool = run_pool_new(2);
    float *result[2] = {NULL, NULL};

    assert_non_null(pool);
    for (unsigned t = 0; t < 2; t++) {
        struct fx f;
        unsigned in, out, q;

        fx_init(&f, 1, ISA_V3);
        core_kernel(f.c[0].core)->pool = t == 1 ? pool : NULL;
        in = fx_var(&f, 0, NEFF_VAR_INPUT, 128 * 4096);
        out = fx_var(&f, 0, NEFF_VAR_OUTPUT, 128 * 2048);
        q = fx_queue(&f, 0, NEFF_QUEUE_DYNAMIC, 16, -1);
        program(&f, in, out, q);
        fill(&f, in);
        fx_prepare(&f);
        run_pool_begin(pool);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(fx_run(&f, 0), NRT_SUCCESS);
        run_pool_end(pool);
        result[t] = malloc(128 * 2048);
        assert_non_null(result[t]);
        memcpy(result[t], f.c[0].mem[out], 128 * 2048);
        fx_fini(&f);
    }
    assert_memory_equal(result[0], result[1], 128 * 2048);
    free(result[0]);
    free(result[1]);
    run_pool_free(pool);
}

#define COPY_ROW   4096u
#define COPY_BYTES (128 * COPY_ROW)

/* 128 rows in HBM, each of blocks: one after the other, rows within blocks, or rows that overlap.
 */
static struct neff_access copy_side(struct fx_rng *r, unsigned var, unsigned layout)
{
    uint64_t run = 512u << fx_below(r, 4), sizes[3] = {run, COPY_ROW / run, 128};
    int64_t steps[3] = {1, (int64_t)run, COPY_ROW};

    if (layout == 1) {
        steps[1] = 128 * (int64_t)run;
        steps[2] = (int64_t)run;
    } else if (layout == 2) {
        steps[2] = 1 + (int64_t)fx_below(r, COPY_ROW - 1);
    }
    return fx_access(var, 0, 3, steps, sizes, DT_UINT8);
}

static uint64_t copy_offset(const struct neff_access *a, uint64_t row, uint64_t at)
{
    return row * (uint64_t)a->steps[2] + at / a->sizes[0] * (uint64_t)a->steps[1] +
           at % a->sizes[0];
}

/* Transfers that are large enough to be shared out bring the bytes that the pattern names, the last
 * ones where it names a place twice. */
static void large_copies_over_host_threads(void **state)
{
    static uint8_t want[COPY_BYTES];
    struct fx_rng r = {fx_seed()};
    struct run_pool *pool = run_pool_new(3);
    struct neff_access sbuf =
        fx_access(0, 0, 2, (int64_t[]){1, NEFF_SBUF_STRIDE}, (uint64_t[]){COPY_ROW, 128}, DT_UINT8);
    unsigned var, queue;
    struct fx f;

    assert_non_null(pool);
    fx_init(&f, 1, ISA_V3);
    core_kernel(f.c[0].core)->pool = pool;
    var = fx_var(&f, 0, NEFF_VAR_INPUT, COPY_BYTES);
    queue = fx_queue(&f, 0, NEFF_QUEUE_IN, 16, ISA_SP);
    run_pool_begin(pool);
    for (unsigned n = 0; n < runner_rounds(60); n++) {
        bool load = n % 2 == 0;
        struct neff_access hbm = copy_side(&r, var, n / 2 % 3);
        uint8_t *mem = f.c[0].mem[var];

        for (uint32_t i = 0; i < COPY_BYTES; i++)
            mem[i] = (uint8_t)fx_rand(&r);
        for (unsigned p = 0; p < 128; p++)
            for (unsigned i = 0; i < COPY_ROW; i++)
                *fx_sbuf(&f, 0, p, i) = (uint8_t)fx_rand(&r);
        memcpy(want, mem, COPY_BYTES);
        for (unsigned p = 0; p < 128; p++)
            for (unsigned i = 0; i < COPY_ROW; i++)
                if (load)
                    want[p * COPY_ROW + i] = mem[copy_offset(&hbm, p, i)];
                else
                    want[copy_offset(&hbm, p, i)] = *fx_sbuf(&f, 0, p, i);
        fx_group(&f, 0, ISA_SP, 0, queue,
                 fx_desc(&f, NEFF_OP_COPY, load ? sbuf : hbm, load ? &hbm : &sbuf, 1), 1)
            ->semaphore = 1;
        fx_trigger(&f, 0, ISA_SP, 0);
        fx_wait(fx_rec(&f, 0, ISA_SP, ISA_OP_END), ISA_WAIT_SEM_GE, 1, 16);
        fx_prepare(&f);
        assert_int_equal(fx_run(&f, 0), NRT_SUCCESS);
        for (unsigned p = 0; p < 128; p++)
            assert_memory_equal(load ? fx_sbuf(&f, 0, p, 0) : mem + p * COPY_ROW,
                                want + p * COPY_ROW, COPY_ROW);
        fx_clear(&f);
    }
    run_pool_end(pool);
    fx_fini(&f);
    run_pool_free(pool);
}

/* Logical cores are independent: two run at the same time on two threads (for the thread
 * sanitizer). */
static void *drive(void *arg)
{
    struct fx *f = arg;
    struct core_run run = {.count = 1};
    NRT_STATUS st = NRT_SUCCESS;

    run.program[0] = f->c[0].program;
    run.binding[0] = f->c[0].binding;
    for (unsigned i = 0; i < 20 && st == NRT_SUCCESS; i++)
        st = core_run(&run, &f->report);
    return NULL;
}

static void two_cores_at_once(void **state)
{
    static struct fx f[2];
    unsigned in = 0, out = 0, q;
    pthread_t t;

    for (unsigned i = 0; i < 2; i++) {
        fx_init(&f[i], 1, ISA_V3);
        in = fx_var(&f[i], 0, NEFF_VAR_INPUT, 128 * 4096);
        out = fx_var(&f[i], 0, NEFF_VAR_OUTPUT, 128 * 2048);
        q = fx_queue(&f[i], 0, NEFF_QUEUE_DYNAMIC, 16, -1);
        program(&f[i], in, out, q);
        fill(&f[i], in);
        fx_prepare(&f[i]);
    }
    assert_int_equal(pthread_create(&t, NULL, drive, &f[1]), 0);
    drive(&f[0]);
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_int_equal(f[0].report.status, NRT_SUCCESS);
    assert_int_equal(f[1].report.status, NRT_SUCCESS);
    assert_memory_equal(f[0].c[0].mem[out], f[1].c[0].mem[out], 128 * 2048);
    for (unsigned i = 0; i < 2; i++)
        fx_fini(&f[i]);
}

/* A program of every record and of every descriptor that differ in their numbers: what preparing
 * costs is bounded by counting allocations of memory, not by a clock. */
static void large_programs_load(void **state)
{
    struct core_program_info small, large;
    struct fx f;
    unsigned a;

    fx_init(&f, 1, ISA_V3);
    a = fx_var(&f, 0, NEFF_VAR_TMP_BUF, 1 << 20);
    for (unsigned pass = 0; pass < 2; pass++) {
        uint32_t n = pass == 0 ? 1000 : 20000;

        for (uint32_t i = 0; i < n; i++) {
            struct neff_access from = fx_flat(a, i % 1000 * 64, 64);

            fx_group(&f, 0, ISA_SP, i, 0,
                     fx_desc(&f, NEFF_OP_COPY, fx_flat(a, 65536 + i % 1000 * 64, 64), &from, 1), 1)
                ->semaphore = 1;
            fx_wait(fx_trigger(&f, 0, ISA_SP, (int32_t)i), ISA_WAIT_SEM_GE, 1, (int32_t)i * 16);
            fx_alu(&f, 0, ISA_DVE, ISA_REG_ADD, 1, 1, ISA_NO_REG, 1);
        }
        fx_wait(fx_rec(&f, 0, ISA_SP, ISA_OP_END), ISA_WAIT_SEM_GE, 1, (int32_t)n * 16);
        fx_end(&f, 0, ISA_DVE);
        fx_prepare(&f);
        core_program_info(f.c[0].program, pass == 0 ? &small : &large);
        assert_int_equal(fx_run(&f, 0), NRT_SUCCESS);
        assert_int_equal(f.report.stats.records, 2 * n + 2);
        fx_clear(&f);
    }
    assert_int_equal(large.descriptors, 20000);
    /* linear, doubling arrays aside */
    assert_true(large.host_bytes / 20000 < 2 * small.host_bytes / 1000);
    fx_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_runs_out_everywhere),
        cmocka_unit_test(one_and_two_threads_agree),
        cmocka_unit_test(large_copies_over_host_threads),
        cmocka_unit_test(two_cores_at_once),
        cmocka_unit_test(large_programs_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
