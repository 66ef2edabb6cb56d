/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged programs: bytes of records and fields of descriptors, groups, queues and variables change
 * at random; whatever the loader still accepts runs, with guard bytes around every variable. The
 * sanitizers and the guards say whether it stayed inside. */
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runner.h"

static struct fx F;
static unsigned IN, OUT, DYN;

static struct isa_record *dyn(unsigned op, unsigned index_side)
{
    struct isa_record *r = fx_rec(&F, 0, ISA_POOL, ISA_OP_DMA_DYN);

    r->body.d.op = (uint8_t)op;
    r->body.d.mode = ISA_DGE_SW;
    r->body.d.oob_reg = ISA_NO_REG;
    r->body.d.oob = ISA_OOB_SKIP;
    r->body.d.queue = (uint16_t)DYN;
    r->body.d.semaphore = 9;
    r->body.d.src_mem = ISA_HBM;
    r->body.d.src.hbm = (struct isa_hbm){.var_id = IN,
                                         .dtype = DT_FP16,
                                         .ndim = 2,
                                         .off_reg = index_side ? ISA_NO_REG : 3,
                                         .off_mul = 16,
                                         .step = {1, index_side ? 0 : 16},
                                         .num = {16, 32}};
    r->body.d.dst_mem = ISA_SBUF;
    r->body.d.dst.tile = fx_tile(ISA_SBUF, DT_FP16, 0, 32, 512, 16);
    if (op == ISA_DYN_TRANSPOSE)
        r->body.d.dst.tile = fx_tile(ISA_SBUF, DT_FP16, 0, 16, 512, 32);
    r->body.d.index_side = (uint8_t)index_side;
    if (index_side)
        r->body.d.index = fx_tile(ISA_SBUF, DT_INT32, 0, 32, 64, 1);
    return r;
}

static void program(struct fx_rng *rng)
{
    int64_t steps[] = {1, NEFF_SBUF_STRIDE, 64, -64};
    uint64_t sizes[] = {64, 16, 2, 2};
    struct neff_access sb = fx_access(0, 4096, 4, steps, sizes, DT_FP32);
    struct neff_access flat = fx_flat(IN, 0, 4096), from[3];
    struct neff_desc *d;
    struct isa_record *r;

    flat.dtype = DT_FP32;
    for (unsigned op = 0; op < NEFF_OP_COUNT; op++) {
        unsigned n = op >= NEFF_OP_ADD && op <= NEFF_OP_MAX ? 3 : 1;

        for (unsigned i = 0; i < n; i++)
            from[i] = i == 1 ? sb : flat;
        d = fx_desc(&F, op, op & 1 ? sb : fx_flat(OUT, 0, 4096), from, n);
        d->to.dtype = DT_FP32;
        d->transpose_element_size = 4;
        d->transpose_shape[0] = 32;
        d->transpose_shape[1] = 32;
        d->transpose_shape[2] = d->transpose_shape[3] = 1;
        fx_group(&F, 0, ISA_SP, op, 0, d, 1)->semaphore = 1;
        fx_trigger(&F, 0, ISA_SP, (int32_t)op);
    }
    fx_end(&F, 0, ISA_SP);
    fx_move(&F, 0, ISA_POOL, 3, (int32_t)fx_below(rng, 8));
    dyn(ISA_DYN_COPY, 0);
    dyn(ISA_DYN_COPY, 1);
    dyn(ISA_DYN_ADD, 1);
    dyn(ISA_DYN_TRANSPOSE, fx_below(rng, 2));
    r = fx_rec(&F, 0, ISA_POOL, ISA_OP_REG_LOAD);
    r->body.s.rd = 3;
    r->body.s.place_mem = ISA_HBM;
    r->body.s.place.hbm = (struct isa_hbm){
        .var_id = IN, .dtype = DT_INT16, .ndim = 1, .off_reg = 3, .off_mul = 2, .num = {1}};
    fx_branch(&F, 0, ISA_POOL, ISA_BR_LT, 3, ISA_NO_REG, 4, 1);
    fx_end(&F, 0, ISA_POOL);
    r = fx_rec(&F, 0, ISA_DVE, ISA_OP_TENSOR_TENSOR);
    r->body.c.t[0] = fx_tile(ISA_SBUF, DT_FP32, 0, 64, 0, 64);
    r->body.c.t[1] = fx_tile(ISA_SBUF, DT_BF16, 0, 64, 1024, 64);
    r->body.c.t[2] = fx_tile(ISA_PSUM, DT_FP32, 64, 64, 0, 64);
    r->body.c.op0 = ISA_ALU_ADD;
    fx_end(&F, 0, ISA_DVE);
    r = fx_rec(&F, 0, ISA_PE, ISA_OP_NC_MATMUL);
    r->body.c.t[0] = fx_tile(ISA_PSUM, DT_FP32, 0, 32, 0, 64);
    r->body.c.t[1] = fx_tile(ISA_SBUF, DT_BF16, 0, 64, 0, 32);
    r->body.c.t[2] = fx_tile(ISA_SBUF, DT_BF16, 0, 64, 256, 64);
    fx_end(&F, 0, ISA_PE);
}

/* A number that likes borders. */
static uint64_t odd_number(struct fx_rng *r)
{
    uint64_t v = (uint64_t)fx_rand(r) << 32 | fx_rand(r);

    switch (fx_below(r, 6)) {
    case 0:
        return fx_below(r, 4);
    case 1:
        return UINT64_MAX - fx_below(r, 4);
    case 2:
        return UINT64_C(1) << fx_below(r, 64);
    case 3:
        return v & 0xffff;
    case 4:
        return (uint64_t)(fx_below(r, 130) * UINT64_C(262144)) + fx_below(r, 9) - 4;
    default:
        return v;
    }
}

static void damage_desc(struct fx_rng *r, struct neff_desc *d)
{
    struct neff_access *a = fx_below(r, 2) ? &d->to : (struct neff_access *)(uintptr_t)d->from;
    unsigned k = fx_below(r, 4);

    switch (fx_below(r, 9)) {
    case 0:
        a->var = fx_below(r, 5);
        break;
    case 1:
        a->ndim = (uint8_t)fx_below(r, 6);
        break;
    case 2:
        a->off = odd_number(r);
        break;
    case 3:
        a->steps[k] = (int64_t)odd_number(r);
        break;
    case 4:
        a->sizes[k] = fx_below(r, 3) ? fx_below(r, 100) : odd_number(r);
        break;
    case 5:
        a->dtype = (uint8_t)fx_below(r, DT_COUNT + 1);
        break;
    case 6:
        d->op = (uint8_t)fx_below(r, NEFF_OP_COUNT + 1);
        break;
    case 7:
        d->transpose_shape[k] = (uint32_t)odd_number(r);
        break;
    default:
        d->transpose_element_size = (uint32_t)odd_number(r);
    }
}

static void damage_record(struct fx_rng *r)
{
    struct fx_engine *e = &F.c[0].e[fx_below(r, ISA_ENGINES)];
    struct isa_record *rec;

    if (e->count == 0)
        return;
    rec = &e->rec[fx_below(r, e->count)];
    for (unsigned n = 1 + fx_below(r, 3); n > 0; n--) {
        uint8_t *at = (uint8_t *)rec + fx_below(r, sizeof(*rec));

        switch (fx_below(r, 3)) {
        case 0:
            *at = (uint8_t)fx_rand(r);
            break;
        case 1:
            *at ^= (uint8_t)(1u << fx_below(r, 8));
            break;
        default:
            *at = (uint8_t)(fx_below(r, 2) ? 0xff : fx_below(r, 6));
        }
    }
}

static void damaged_programs_stay_inside(void **state)
{
    struct fx_rng r = {fx_seed()};
    unsigned ran = 0, refused = 0, programs = runner_rounds(3000);

    fx_init(&F, 1, ISA_V3);
    IN = fx_var(&F, 0, NEFF_VAR_INPUT, 4096);
    OUT = fx_var(&F, 0, NEFF_VAR_TMP_BUF, 4096);
    DYN = fx_queue(&F, 0, NEFF_QUEUE_DYNAMIC, 16, -1);
    for (unsigned n = 0; n < programs; n++) {
        struct err err = {0};

        program(&r);
        for (unsigned i = 0; i < 4096; i++)
            ((uint8_t *)F.c[0].mem[IN])[i] = (uint8_t)(fx_rand(&r) & (i & 64 ? 0xff : 3));
        for (unsigned p = 0; p < 32; p++)
            *fx_sbuf(&F, 0, p, 64) = (uint8_t)fx_below(&r, 140);
        for (unsigned k = fx_below(&r, 3); k > 0; k--)
            damage_record(&r);
        if (fx_below(&r, 2)) {
            struct fx_engine *e = &F.c[0].e[ISA_SP];

            damage_desc(&r,
                        (struct neff_desc *)(uintptr_t)e->groups[fx_below(&r, e->ngroups)].descs);
        }
        F.opt.checks = n % 16 == 0 ? CORE_CHECK_RACE | CORE_CHECK_UNINIT : 0;
        if (fx_prepare_status(&F, &err) == NRT_SUCCESS) {
            fx_run(&F, 3000000);
            ran++;
        } else {
            assert_true(err.text[0] != '\0');
            refused++;
        }
        fx_clear(&F); /* looks at the guards */
    }
    print_message("%u ran, %u refused\n", ran, refused);
    assert_true(ran > programs / 6 && refused > programs / 6);
    fx_fini(&F);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(damaged_programs_stay_inside)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
