/* SPDX-License-Identifier: Apache-2.0 */
/* Waits, updates, branches, queue completions, hangs and timeouts (docs/spec/neuroncore.md 6). */
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "proves.h"

static struct fx F;

static int setup(void **state)
{
    fx_init(&F, 1, ISA_V3);
    return 0;
}

static int teardown(void **state)
{
    fx_fini(&F);
    return 0;
}

static void empty_program_ends(void **state)
{
    fx_end(&F, 0, ISA_SP);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(F.report.end, CORE_END_DONE);
    assert_int_equal(F.report.stats.records, 1);
}

static void registers_branches_loops(void **state)
{
    fx_move(&F, 0, ISA_SP, 1, 0);
    fx_move(&F, 0, ISA_SP, 2, 0);
    fx_alu(&F, 0, ISA_SP, ISA_REG_ADD, 2, 2, 1, 0);
    fx_alu(&F, 0, ISA_SP, ISA_REG_ADD, 1, 1, ISA_NO_REG, 1);
    fx_branch(&F, 0, ISA_SP, ISA_BR_LT, 1, ISA_NO_REG, 100000, 2);
    fx_end(&F, 0, ISA_SP);
    fx_prepare(&F);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
        assert_int_equal(core_register(F.c[0].core, ISA_SP, 1), 100000);
        assert_int_equal(core_register(F.c[0].core, ISA_SP, 2), 4999950000u & 0xffffffffu);
        assert_int_equal(F.report.stats.records, 2 + 3 * 100000 + 1);
    }
}

static void alu_operators_follow_the_page(void **state)
{
    static const struct {
        unsigned op;
        uint32_t a, b, want;
    } cases[] = {
        {ISA_REG_ADD, 0xffffffffu, 2, 1},
        {ISA_REG_SUB, 1, 2, 0xffffffffu},
        {ISA_REG_MUL, 0x10001u, 0x10001u, 0x20001u},
        {ISA_REG_AND, 0xf0f0u, 0xff00u, 0xf000u},
        {ISA_REG_OR, 0xf0f0u, 0xff00u, 0xfff0u},
        {ISA_REG_XOR, 0xf0f0u, 0xff00u, 0x0ff0u},
        {ISA_REG_SHL, 1, 31, 0x80000000u},
        {ISA_REG_SHL, 1, 32, 0},
        {ISA_REG_SHR, 0x80000000u, 31, 1},
        {ISA_REG_SHR, 0x80000000u, 40, 0},
        {ISA_REG_SAR, 0x80000000u, 4, 0xf8000000u},
        {ISA_REG_SAR, 0x80000000u, 32, 0xffffffffu},
        {ISA_REG_SAR, 0x40000000u, 99, 0},
        {ISA_REG_MIN, 0xffffffffu, 1, 0xffffffffu},
        {ISA_REG_MAX, 0xffffffffu, 1, 1},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fx_clear(&F);
        fx_move(&F, 0, ISA_PE, 5, (int32_t)cases[i].a);
        fx_move(&F, 0, ISA_PE, 6, (int32_t)cases[i].b);
        fx_alu(&F, 0, ISA_PE, cases[i].op, 7, 5, 6, 0);
        fx_alu(&F, 0, ISA_PE, cases[i].op, 8, 5, ISA_NO_REG, (int32_t)cases[i].b);
        fx_end(&F, 0, ISA_PE);
        fx_prepare(&F);
        assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
        assert_int_equal(core_register(F.c[0].core, ISA_PE, 7), cases[i].want);
        assert_int_equal(core_register(F.c[0].core, ISA_PE, 8), cases[i].want);
    }
}

/* A value that an == wait names passes by while nobody runs: it is not missed. */
static void passing_value_is_not_missed(void **state)
{
    struct isa_record *r = fx_rec(&F, 0, ISA_PE, ISA_OP_NOP);

    fx_wait(r, ISA_WAIT_SEM_EQ, 7, 2);
    fx_end(&F, 0, ISA_PE);
    for (int i = 0; i < 5; i++)
        fx_update(fx_rec(&F, 0, ISA_DVE, ISA_OP_NOP), ISA_UPD_INC, 7, 0, 0);
    fx_end(&F, 0, ISA_DVE);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(core_semaphore(F.c[0].core, 7), 5);
}

static void all_update_kinds(void **state)
{
    struct isa_record *r = fx_rec(&F, 0, ISA_PE, ISA_OP_NOP);

    fx_update(r, ISA_UPD_INC, 0, 0, 0);
    fx_update(r, ISA_UPD_DEC, 1, 0, ISA_UPD_AT_READ);
    fx_update(r, ISA_UPD_ADD, 2, 40, 0);
    fx_update(r, ISA_UPD_SUB, 3, 50, 0);
    r = fx_rec(&F, 0, ISA_PE, ISA_OP_NOP);
    fx_update(r, ISA_UPD_WRITE, 4, INT32_MAX, 0);
    fx_update(r, ISA_UPD_INC, 4, 0, 0); /* wraps */
    fx_update(r, ISA_UPD_EVENT_SET, 200, 0, 0);
    fx_update(r, ISA_UPD_EVENT_SET, 200, 0, 0); /* double set */
    r = fx_rec(&F, 0, ISA_PE, ISA_OP_NOP);
    fx_update(r, ISA_UPD_EVENT_CLEAR, 9, 0, 0); /* double clear */
    r->update[0].reg = ISA_NO_REG;
    fx_end(&F, 0, ISA_PE);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(core_semaphore(F.c[0].core, 0), 1);
    assert_int_equal(core_semaphore(F.c[0].core, 1), -1);
    assert_int_equal(core_semaphore(F.c[0].core, 2), 40);
    assert_int_equal(core_semaphore(F.c[0].core, 3), -50);
    assert_int_equal(core_semaphore(F.c[0].core, 4), INT32_MIN);
    assert_true(core_event(F.c[0].core, 200));
    assert_int_equal(F.report.stats.sem_errors, 1);
    assert_int_equal(F.report.stats.event_errors, 2);
    /* the next execution starts from zero */
    fx_clear(&F);
    fx_end(&F, 0, ISA_SP);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(core_semaphore(F.c[0].core, i), 0);
    assert_false(core_event(F.c[0].core, 200));
}

static void range_clear_and_register_values(void **state)
{
    struct isa_record *r;

    fx_move(&F, 0, ISA_ACT, 3, 17);
    r = fx_rec(&F, 0, ISA_ACT, ISA_OP_NOP);
    fx_update(r, ISA_UPD_ADD, 10, 0, 0);
    r->update[0].reg = 3;
    fx_update(r, ISA_UPD_INC, 11, 0, 0);
    fx_update(r, ISA_UPD_INC, 12, 0, 0);
    r = fx_rec(&F, 0, ISA_ACT, ISA_OP_NOP);
    fx_wait_reg(r, ISA_WAIT_SEM_GE, 10, 3);
    r = fx_rec(&F, 0, ISA_ACT, ISA_OP_SEM_RANGE_CLEAR);
    r->body.s.first = 11;
    r->body.s.count = 2;
    fx_end(&F, 0, ISA_ACT);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(core_semaphore(F.c[0].core, 10), 17);
    assert_int_equal(core_semaphore(F.c[0].core, 11), 0);
    assert_int_equal(core_semaphore(F.c[0].core, 12), 0);
}

static void hang_is_reported_at_once(void **state)
{
    static const struct neff_debug_record dbg[] = {
        {.file = "attn.nasm", .line = 11}, {.file = "attn.nasm", .line = 12, .label = "loop"}};
    struct isa_record *r;

    fx_update(fx_rec(&F, 0, ISA_DVE, ISA_OP_NOP), ISA_UPD_INC, 45, 0, 0);
    r = fx_rec(&F, 0, ISA_DVE, ISA_OP_END);
    fx_wait(r, ISA_WAIT_SEM_GE, 45, 16);
    F.c[0].sg.engines[ISA_DVE].debug = dbg;
    F.c[0].sg.engines[ISA_DVE].debug_count = 2;
    fx_end(&F, 0, ISA_SP);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_TIMEOUT);
    assert_int_equal(F.report.end, CORE_END_HANG);
    const struct core_engine_state *s = &F.report.engines[0][ISA_DVE];

    assert_true(s->present && s->stalled && !s->ended);
    assert_int_equal(s->record, 1);
    assert_int_equal(s->wait_kind, ISA_WAIT_SEM_GE);
    assert_int_equal(s->wait_index, 45);
    assert_int_equal(s->wanted, 16);
    assert_int_equal(s->value, 1);
    assert_int_equal(s->line, 12);
    assert_true(F.report.engines[0][ISA_SP].ended);
    assert_string_equal(F.report.err.text,
                        "dve record 1 end (attn.nasm:12 loop) waits for semaphore 45 >= 16, value "
                        "1, which nothing can change any more");
    assert_string_equal(F.text, "dve record 1 end (attn.nasm:12 loop) waits for semaphore 45 >= "
                                "16, value 1\nsp record 0 end ended\nsemaphores 45:1\n");
    /* and the core accepts the next execution */
    fx_clear(&F);
    F.c[0].sg.engines[ISA_DVE].debug_count = 0;
    fx_update(fx_rec(&F, 0, ISA_SP, ISA_OP_NOP), ISA_UPD_ADD, 45, 20, 0);
    fx_end(&F, 0, ISA_SP);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
}

static void endless_loop_ends_by_device_time(void **state)
{
    fx_branch(&F, 0, ISA_POOL, ISA_BR_ALWAYS, 0, 0, 0, 0);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 1000000), NRT_TIMEOUT); /* 1 ms of device time */
    assert_int_equal(F.report.end, CORE_END_TIMEOUT);
    /* a branch is 64 cycles of 1.2 GHz; the loop looks every 4096 records */
    assert_true(F.report.stats.records >= 1000000 * 12 / 640 &&
                F.report.stats.records < 1000000 * 12 / 640 + 2 * 4096);
    assert_true(F.report.stats.device_ns >= 1000000);
}

/* An engine that polls memory does not keep the one that writes it from running. */
static void polling_engine_does_not_starve_others(void **state)
{
    unsigned v = fx_var(&F, 0, NEFF_VAR_TMP_BUF, 64);
    struct isa_record *r = fx_rec(&F, 0, ISA_PE, ISA_OP_REG_LOAD);

    r->body.s.rd = 1;
    r->body.s.place_mem = ISA_HBM;
    r->body.s.place.hbm = (struct isa_hbm){
        .var_id = v, .dtype = DT_UINT32, .ndim = 1, .off_reg = ISA_NO_REG, .num = {1}};
    fx_branch(&F, 0, ISA_PE, ISA_BR_EQ, 1, ISA_NO_REG, 0, 0);
    fx_end(&F, 0, ISA_PE);
    fx_move(&F, 0, ISA_SP, 2, 77);
    r = fx_rec(&F, 0, ISA_SP, ISA_OP_REG_STORE);
    r->body.s.ra = 2;
    r->body.s.place_mem = ISA_HBM;
    r->body.s.place.hbm = (struct isa_hbm){
        .var_id = v, .dtype = DT_UINT32, .ndim = 1, .off_reg = ISA_NO_REG, .num = {1}};
    fx_end(&F, 0, ISA_SP);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 1000000000), NRT_SUCCESS);
    assert_int_equal(core_register(F.c[0].core, ISA_PE, 1), 77);
}

/* DMA: completion raises the semaphore by num_queues and sets the event; queue default semaphore;
 * one trigger starts all groups of its id. */
static void transfers_signal(void **state)
{
    unsigned a = fx_var(&F, 0, NEFF_VAR_INPUT, 4096), b = fx_var(&F, 0, NEFF_VAR_OUTPUT, 4096);
    unsigned q = fx_queue(&F, 0, NEFF_QUEUE_OUT, 3, ISA_SP);
    struct neff_access from = fx_flat(a, 0, 4096);
    struct isa_record *r;

    for (unsigned i = 0; i < 4096; i++)
        ((uint8_t *)F.c[0].mem[a])[i] = (uint8_t)(i * 7);
    F.c[0].queues[q].semaphore = 99;
    fx_group(&F, 0, ISA_SP, 5, 0, fx_desc(&F, NEFF_OP_COPY, fx_flat(b, 0, 4096), &from, 1), 1)
        ->semaphore = 30;
    from = fx_flat(a, 0, 0);
    fx_group(&F, 0, ISA_SP, 5, q, fx_desc(&F, NEFF_OP_COPY, fx_flat(b, 0, 0), &from, 1), 1);
    fx_group(&F, 0, ISA_SP, 6, q, fx_desc(&F, NEFF_OP_COPY, fx_flat(b, 0, 0), &from, 1), 1)->event =
        12;
    fx_trigger(&F, 0, ISA_SP, 5);
    r = fx_trigger(&F, 0, ISA_SP, 6);
    fx_wait(r, ISA_WAIT_SEM_GE, 30, 16);
    fx_wait(r, ISA_WAIT_SEM_EQ, 99, 3);
    r = fx_rec(&F, 0, ISA_SP, ISA_OP_END);
    fx_wait(r, ISA_WAIT_EVENT_SET, 12, 0);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(core_semaphore(F.c[0].core, 30), 16);
    PROVES("neff-081");
    assert_int_equal(core_semaphore(F.c[0].core, 99), 3);
    assert_true(core_event(F.c[0].core, 12));
    PROVES("neff-080");
    assert_memory_equal(F.c[0].mem[a], F.c[0].mem[b], 4096);
    PROVES("neff-083");
    assert_int_equal(F.report.stats.transfers, 3);
    assert_int_equal(F.report.stats.dma_bytes, 4096);
}

static void wrong_owner_is_refused(void **state)
{
    unsigned a = fx_var(&F, 0, NEFF_VAR_INPUT, 64);
    unsigned q = fx_queue(&F, 0, NEFF_QUEUE_DATA, 1, ISA_SP);
    struct neff_access from = fx_flat(a, 0, 64);
    struct err err = {0};

    fx_group(&F, 0, ISA_ACT, 1, q, fx_desc(&F, NEFF_OP_COPY, fx_flat(a, 0, 64), &from, 1), 1);
    fx_trigger(&F, 0, ISA_ACT, 1);
    fx_end(&F, 0, ISA_ACT);
    assert_int_equal(fx_prepare_status(&F, &err), NRT_INVALID);
    assert_string_equal(err.text, "queue q1 of engine sp is triggered by act");
}

/* More triggers than the ring of pending transfers holds. */
static void many_transfers_in_flight(void **state)
{
    unsigned a = fx_var(&F, 0, NEFF_VAR_INPUT, 4000), b = fx_var(&F, 0, NEFF_VAR_OUTPUT, 4000);
    struct isa_record *r;

    for (uint32_t i = 0; i < 1000; i++) {
        struct neff_access from = fx_flat(a, i * 4, 4);

        memcpy((uint8_t *)F.c[0].mem[a] + (size_t)i * 4, &i, 4);
        fx_group(&F, 0, ISA_SP, i, 0, fx_desc(&F, NEFF_OP_COPY, fx_flat(b, i * 4, 4), &from, 1), 1)
            ->semaphore = 1;
        fx_trigger(&F, 0, ISA_SP, (int32_t)i);
    }
    r = fx_rec(&F, 0, ISA_SP, ISA_OP_END);
    fx_wait(r, ISA_WAIT_SEM_GE, 1, 16000);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_memory_equal(F.c[0].mem[a], F.c[0].mem[b], 4000);
}

static void cancel_ends_a_run(void **state)
{
    int cancel = 1;
    struct core_run run = {.count = 1, .cancel = &cancel};

    fx_branch(&F, 0, ISA_POOL, ISA_BR_ALWAYS, 0, 0, 0, 0);
    fx_prepare(&F);
    run.program[0] = F.c[0].program;
    run.binding[0] = F.c[0].binding;
    assert_int_equal(core_run(&run, &F.report), NRT_FAILURE);
    assert_int_equal(F.report.end, CORE_END_CANCELLED);
}

/* Two engines that wake each other without end: neither ever uses up its turn. */
static void cancel_ends_engines_that_wake_each_other(void **state)
{
    int cancel = 0;

    for (unsigned e = ISA_PE; e <= ISA_DVE; e++) {
        struct isa_record *r = fx_rec(&F, 0, e, ISA_OP_NOP);

        fx_wait(r, ISA_WAIT_SEM_EQ, 3, e == ISA_PE ? 0 : 1);
        fx_update(r, e == ISA_PE ? ISA_UPD_INC : ISA_UPD_DEC, 3, 0, 0);
        fx_branch(&F, 0, e, ISA_BR_ALWAYS, 0, 0, 0, 0);
    }
    fx_prepare(&F);
    F.run.cancel = &cancel;
    assert_int_equal(fx_start(&F, 0), NRT_SUCCESS);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(core_progress(F.c[0].core, 10000, NULL), CORE_STEP_BUDGET);
    cancel = 1;
    assert_int_equal(core_progress(F.c[0].core, 10000, NULL), CORE_STEP_FAILED);
    assert_int_equal(fx_finish(&F), NRT_FAILURE);
    assert_int_equal(F.report.end, CORE_END_CANCELLED);
}

static void unbound_variable_is_refused(void **state)
{
    unsigned a = fx_var(&F, 0, NEFF_VAR_INPUT, 64);
    struct neff_access from = fx_flat(a, 0, 64);
    struct core_run run = {.count = 1};
    struct err err = {0};

    fx_group(&F, 0, ISA_SP, 1, 0, fx_desc(&F, NEFF_OP_COPY, fx_flat(a, 0, 64), &from, 1), 1);
    fx_trigger(&F, 0, ISA_SP, 1);
    fx_end(&F, 0, ISA_SP);
    fx_prepare(&F);
    core_binding_destroy(F.c[0].binding);
    F.c[0].binding = NULL;
    assert_int_equal(core_binding_create(F.c[0].program, &F.c[0].binding, &err), NRT_SUCCESS);
    run.program[0] = F.c[0].program;
    run.binding[0] = F.c[0].binding;
    assert_int_equal(core_run(&run, &F.report), NRT_INVALID);
    assert_string_equal(F.report.err.text, "variable v1 has no address");
    assert_int_equal(core_binding_set(F.c[0].binding, a, F.c[0].mem[a], 63, &err), NRT_INVALID);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(empty_program_ends),
        T(registers_branches_loops),
        T(alu_operators_follow_the_page),
        T(passing_value_is_not_missed),
        T(all_update_kinds),
        T(range_clear_and_register_values),
        T(hang_is_reported_at_once),
        T(endless_loop_ends_by_device_time),
        T(polling_engine_does_not_starve_others),
        T(transfers_signal),
        T(wrong_owner_is_refused),
        T(many_transfers_in_flight),
        T(cancel_ends_a_run),
        T(cancel_ends_engines_that_wake_each_other),
        T(unbound_variable_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
