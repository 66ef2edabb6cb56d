/* SPDX-License-Identifier: Apache-2.0 */
/* Random programs of several engines, transfers, semaphores and loops against an interpreter that
 * runs their steps one by one in the order they were drawn. The program is free of races by
 * construction (each step waits for every earlier step it conflicts with), so any order of
 * execution must give the interpreter's memory; the race check must be silent, the replay must find
 * an order in device time. Then a wait is dropped: a program that the race check still calls clean
 * must still compute the same. */
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runner.h"

#define REGIONS 12  /* 0..5 SBUF tiles, 6..11 in HBM */
#define WORDS   512 /* 32 rows of 16 */
#define STEPS   40
#define QUEUES  3
#define EVENTS  100000

enum step_kind { COPY_DMA, MAX_DMA, MEMSET, XOR, MOVE, REGISTER, KINDS };

struct step {
    enum step_kind kind;
    unsigned engine;         /* that executes or triggers it */
    unsigned queue;          /* DMA */
    unsigned dst, a, b;      /* regions; REGISTER: dst and a in HBM */
    unsigned word_a, word_b; /* REGISTER */
    int32_t value;
    uint32_t engine_count, queue_count; /* completions of its engine or queue set, with this one */
};

static struct fx F;
static unsigned V; /* the HBM variable */
static uint32_t model[REGIONS][WORDS];
static const unsigned queue_engine[QUEUES] = {ISA_SP, ISA_ACT, ISA_POOL};
static const unsigned queue_num[QUEUES] = {16, 3, 1};

static int setup(void **state)
{
    fx_init(&F, 1, ISA_V3);
    V = fx_var(&F, 0, NEFF_VAR_TMP_BUF, 6 * WORDS * 4);
    for (unsigned q = 1; q < QUEUES; q++)
        fx_queue(&F, 0, NEFF_QUEUE_DATA, queue_num[q], (int)queue_engine[q]);
    F.c[0].queues[0].owner = ISA_SP;
    return 0;
}

static int teardown(void **state)
{
    fx_fini(&F);
    return 0;
}

/* ---- where regions lie ---- */

static bool on_chip(unsigned region)
{
    return region < 6;
}
static unsigned part(unsigned region)
{
    return region % 4 * 32;
}
static uint32_t column(unsigned region)
{
    return 128 * region;
}

static uint8_t *row(unsigned region, unsigned r)
{
    if (on_chip(region))
        return fx_sbuf(&F, 0, part(region) + r, column(region));
    return (uint8_t *)F.c[0].mem[V] + (size_t)(region - 6) * WORDS * 4 + (size_t)r * 64;
}

static struct neff_access region_access(unsigned region, enum dtype t)
{
    int64_t steps[] = {1, on_chip(region) ? (int64_t)NEFF_SBUF_STRIDE : 64};
    uint64_t sizes[] = {64, 32};

    if (on_chip(region))
        return fx_access(0, part(region) * (uint64_t)NEFF_SBUF_STRIDE + column(region), 2, steps,
                         sizes, t);
    return fx_access(V, (uint64_t)(region - 6) * WORDS * 4, 2, steps, sizes, t);
}

static struct isa_tensor region_tile(unsigned region)
{
    return fx_tile(ISA_SBUF, DT_INT32, part(region), 32, column(region), 16);
}

/* ---- the interpreter ---- */

static uint32_t max_fp32(uint32_t a, uint32_t b)
{
    float x = dtype_load(DT_UINT32, &a), y = dtype_load(DT_UINT32, &b);
    uint32_t r;

    dtype_store(DT_UINT32, &r, x > y ? x : y);
    return r;
}

static void interpret(const struct step *s)
{
    for (unsigned i = 0; i < WORDS; i++) {
        switch (s->kind) {
        case COPY_DMA:
        case MOVE:
            model[s->dst][i] = model[s->a][i];
            break;
        case MAX_DMA:
            model[s->dst][i] = max_fp32(model[s->a][i], model[s->b][i]);
            break;
        case MEMSET:
            model[s->dst][i] = (uint32_t)s->value;
            break;
        case XOR:
            model[s->dst][i] = model[s->a][i] ^ model[s->b][i];
            break;
        default:
            model[s->dst][s->word_b] = model[s->a][s->word_a] + (uint32_t)s->value;
            return;
        }
    }
}

/* ---- drawing a program ---- */

static void draw(struct fx_rng *r, struct step *s)
{
    static const unsigned movers[] = {ISA_DVE, ISA_ACT, ISA_POOL};

    memset(s, 0, sizeof(*s));
    s->kind = (enum step_kind)fx_below(r, KINDS);
    s->value = (int32_t)fx_rand(r);
    switch (s->kind) {
    case COPY_DMA:
    case MAX_DMA:
        s->queue = fx_below(r, QUEUES);
        s->engine = queue_engine[s->queue];
        s->dst = fx_below(r, REGIONS);
        do
            s->a = fx_below(r, REGIONS);
        while (s->a == s->dst);
        do
            s->b = fx_below(r, REGIONS);
        while (s->b == s->dst);
        break;
    case REGISTER:
        s->engine = fx_below(r, ISA_ENGINES);
        s->dst = 6 + fx_below(r, 6);
        s->a = 6 + fx_below(r, 6);
        s->word_a = fx_below(r, WORDS);
        s->word_b = fx_below(r, WORDS);
        break;
    default:
        s->engine = s->kind == XOR ? ISA_DVE : movers[fx_below(r, s->kind == MEMSET ? 1 : 3)];
        if (s->kind == MEMSET && fx_below(r, 2))
            s->engine = ISA_POOL;
        s->dst = fx_below(r, 6);
        s->a = fx_below(r, 6);
        s->b = fx_below(r, 6);
    }
}

static bool is_dma(const struct step *s)
{
    return s->kind <= MAX_DMA;
}
static bool reads(const struct step *s, unsigned region)
{
    if (s->kind == MEMSET)
        return false;
    return s->a == region || ((s->kind == MAX_DMA || s->kind == XOR) && s->b == region);
}
static bool conflict(const struct step *a, const struct step *b)
{
    return a->dst == b->dst || reads(a, b->dst) || reads(b, a->dst);
}

/* Highest value that step n must see in each semaphore: 0..4 engines, 10.. queue sets. */
static void needs(const struct step *steps, unsigned n, int32_t want[16])
{
    const struct step *s = &steps[n];

    memset(want, 0, 16 * sizeof(want[0]));
    for (unsigned i = 0; i < n; i++) {
        const struct step *t = &steps[i];

        if (!conflict(s, t))
            continue;
        if (is_dma(t)) {
            if (!is_dma(s) || s->queue != t->queue)
                want[10 + t->queue] = (int32_t)(t->queue_count * queue_num[t->queue]);
        } else if (t->engine != s->engine) {
            want[t->engine] = (int32_t)t->engine_count;
        }
    }
}

/* drop: number of the wait to leave out, counted over the program; returns how many there are. */
static unsigned emit_waits(unsigned engine, const int32_t want[16], unsigned at, unsigned drop)
{
    struct isa_record *r = NULL;

    for (unsigned i = 0; i < 16; i++) {
        if (want[i] == 0 || at++ == drop)
            continue;
        if (r == NULL || r->nwaits == 4)
            r = fx_rec(&F, 0, engine, ISA_OP_NOP);
        fx_wait(r, ISA_WAIT_SEM_GE, i, want[i]);
    }
    return at;
}

static void emit_place(struct isa_record *r, unsigned region, unsigned word)
{
    r->body.s.place_mem = ISA_HBM;
    r->body.s.place.hbm = (struct isa_hbm){.var_id = V,
                                           .dtype = DT_UINT32,
                                           .ndim = 1,
                                           .off_reg = ISA_NO_REG,
                                           .offset = (int64_t)((region - 6) * WORDS + word) * 4,
                                           .num = {1}};
}

static void emit_step(const struct step *s, unsigned n)
{
    struct neff_access from[2] = {region_access(s->a, DT_UINT32), region_access(s->b, DT_UINT32)};
    struct isa_record *r;

    switch (s->kind) {
    case COPY_DMA:
    case MAX_DMA:
        fx_group(&F, 0, s->engine, n, s->queue,
                 fx_desc(&F, s->kind == COPY_DMA ? NEFF_OP_COPY : NEFF_OP_MAX,
                         region_access(s->dst, DT_UINT32), from, s->kind == COPY_DMA ? 1 : 2),
                 1)
            ->semaphore = 10 + s->queue;
        fx_trigger(&F, 0, s->engine, (int32_t)n);
        return; /* its queue set signals */
    case REGISTER:
        r = fx_rec(&F, 0, s->engine, ISA_OP_REG_LOAD);
        r->body.s.rd = 3;
        emit_place(r, s->a, s->word_a);
        fx_alu(&F, 0, s->engine, ISA_REG_ADD, 4, 3, ISA_NO_REG, s->value);
        r = fx_rec(&F, 0, s->engine, ISA_OP_REG_STORE);
        r->body.s.ra = 4;
        emit_place(r, s->dst, s->word_b);
        break;
    case MEMSET:
        r = fx_rec(&F, 0, s->engine, ISA_OP_MEMSET);
        r->body.c.t[0] = region_tile(s->dst);
        r->body.c.s[0] = (struct isa_scalar){.kind = ISA_SC_I32, .v = (uint32_t)s->value};
        break;
    case XOR:
        r = fx_rec(&F, 0, s->engine, ISA_OP_TENSOR_TENSOR);
        r->body.c.t[0] = region_tile(s->dst);
        r->body.c.t[1] = region_tile(s->a);
        r->body.c.t[2] = region_tile(s->b);
        r->body.c.op0 = ISA_ALU_BIT_XOR;
        break;
    default:
        r = fx_rec(&F, 0, s->engine, ISA_OP_TENSOR_COPY);
        r->body.c.t[0] = region_tile(s->dst);
        r->body.c.t[1] = region_tile(s->a);
        break;
    }
    fx_update(r, ISA_UPD_INC, s->engine, 0, 0);
}

/* End of an iteration: SP waits for all, clears the counts, lets all go on. */
static void emit_iteration(const int32_t totals[16], int32_t iterations)
{
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        struct isa_record *r;

        fx_alu(&F, 0, e, ISA_REG_ADD, 10, 10, ISA_NO_REG, 4);
        fx_alu(&F, 0, e, ISA_REG_ADD, 11, 11, ISA_NO_REG, 1);
        if (e == ISA_SP) {
            emit_waits(e, totals, 0, UINT32_MAX);
            r = fx_rec(&F, 0, e, ISA_OP_SEM_RANGE_CLEAR);
            fx_wait_reg(r, ISA_WAIT_SEM_GE, 200, 10);
            r->body.s.first = 0;
            r->body.s.count = 16;
            fx_update(r, ISA_UPD_INC, 201, 0, 0);
        } else {
            fx_update(fx_rec(&F, 0, e, ISA_OP_NOP), ISA_UPD_INC, 200, 0, 0);
            fx_wait_reg(fx_rec(&F, 0, e, ISA_OP_NOP), ISA_WAIT_SEM_GE, 201, 11);
        }
        fx_branch(&F, 0, e, ISA_BR_LT, 11, ISA_NO_REG, iterations, 0);
        fx_end(&F, 0, e);
    }
}

static unsigned build(struct step *steps, unsigned n, int32_t iterations, unsigned drop)
{
    uint32_t engines[ISA_ENGINES] = {0}, queues[QUEUES] = {0};
    int32_t want[16], totals[16] = {0};
    unsigned waits = 0;

    fx_clear(&F);
    for (unsigned i = 0; i < n; i++) {
        if (is_dma(&steps[i]))
            steps[i].queue_count = ++queues[steps[i].queue];
        else
            steps[i].engine_count = ++engines[steps[i].engine];
        needs(steps, i, want);
        waits = emit_waits(steps[i].engine, want, waits, drop);
        emit_step(&steps[i], i);
    }
    for (unsigned q = 0; q < QUEUES; q++)
        totals[10 + q] = (int32_t)(queues[q] * queue_num[q]);
    emit_iteration(totals, iterations);
    fx_prepare(&F);
    return waits;
}

static void fill(struct fx_rng *r)
{
    for (unsigned g = 0; g < REGIONS; g++)
        for (unsigned i = 0; i < WORDS; i++) {
            model[g][i] = fx_rand(r);
            memcpy(row(g, i / 16) + i % 16 * 4, &model[g][i], 4);
        }
}

static bool same_as_model(void)
{
    for (unsigned g = 0; g < REGIONS; g++)
        for (unsigned i = 0; i < 32; i++)
            if (memcmp(row(g, i), &model[g][i * 16], 64) != 0)
                return false;
    return true;
}

static void interpret_all(const struct step *steps, unsigned count, int32_t iterations)
{
    for (int32_t i = 0; i < iterations; i++)
        for (unsigned s = 0; s < count; s++)
            interpret(&steps[s]);
}

/* Run again with the same data, cut into other budgets: the same events in the same order. */
static void same_in_parts(struct fx_rng *r, struct fx_rng data, unsigned n)
{
    static struct time_event first[EVENTS];
    size_t count = F.events.count;
    NRT_STATUS status = F.report.status;
    uint64_t records = F.report.stats.records;

    memcpy(first, F.ev, count * sizeof(first[0]));
    F.budget = 1 + fx_below(r, 1u << fx_below(r, 14));
    fill(&data);
    assert_int_equal(fx_run(&F, 10000000000u), status);
    F.budget = 0;
    assert_int_equal(F.report.stats.records, records);
    if (F.events.count != count || memcmp(first, F.ev, count * sizeof(first[0])) != 0)
        fail_msg("program %u runs in another order when it is cut", n);
}

static void random_programs(void **state)
{
    struct fx_rng r = {fx_seed()}, data;
    unsigned found = 0, wrong = 0;

    fx_record_events(&F, EVENTS);
    for (unsigned n = 0; n < runner_rounds(300); n++) {
        struct step steps[STEPS];
        int32_t iterations = 1 + (int32_t)fx_below(&r, 3);
        unsigned count = 1 + fx_below(&r, STEPS), waits;
        const struct time_program *tp;
        struct time_report rep;
        struct err err = {0};

        for (unsigned i = 0; i < count; i++)
            draw(&r, &steps[i]);
        F.opt.checks = n % 3 == 0 ? CORE_CHECK_RACE : 0;
        waits = build(steps, count, iterations, UINT32_MAX);
        data = r;
        fill(&r);
        if (fx_run(&F, 10000000000u) != NRT_SUCCESS)
            fail_msg("program %u: %s\n%s", n, F.report.err.text, F.text);
        interpret_all(steps, count, iterations);
        if (!same_as_model())
            fail_msg("program %u differs from the interpreter", n);
        tp = core_program_time(F.c[0].program);
        assert_int_equal(time_replay(&tp, 1, &F.events, NULL, &rep, &err), NRT_SUCCESS);
        assert_int_equal(rep.forced, 0);
        assert_int_equal(F.events.dropped, 0);
        for (unsigned e = 0; e < ISA_ENGINES; e++)
            assert_true(rep.busy_ps[0][e] + rep.wait_ps[0][e] <= rep.total_ps);
        same_in_parts(&r, data, n);
        interpret_all(steps, count, iterations);
        if (!same_as_model())
            fail_msg("program %u in parts differs from the interpreter", n);
        if (waits == 0)
            continue;
        /* the same with one wait less */
        F.opt.checks = CORE_CHECK_RACE;
        build(steps, count, iterations, fx_below(&r, waits));
        fill(&r);
        fx_run(&F, 10000000000u);
        assert_true(F.report.end == CORE_END_DONE || F.report.end == CORE_END_CHECK);
        found += F.report.end == CORE_END_CHECK;
        interpret_all(steps, count, iterations);
        if (!same_as_model()) {
            wrong++;
            if (F.report.end != CORE_END_CHECK)
                fail_msg("program %u: a race changed the result and was not found", n);
            assert_non_null(strstr(F.report.err.text, "race: "));
        }
        same_in_parts(&r, r, n);
    }
    print_message("%u races found, %u changed the result\n", found, wrong);
    assert_true(found > runner_rounds(20));
    assert_true(wrong > 0 || runner_emulated()); /* some 35 of 300, of fewer perhaps none */
}

/* ---- the checks' words
 * ------------------------------------------------------------------------------------- */

static void race_names_the_pair(void **state)
{
    static const struct neff_debug_record dbg[] = {{.file = "k.nasm", .line = 7}};
    struct isa_record *r = fx_rec(&F, 0, ISA_DVE, ISA_OP_MEMSET);

    r->body.c.t[0] = region_tile(1);
    r->body.c.s[0] = (struct isa_scalar){.kind = ISA_SC_I32, .v = 1};
    fx_end(&F, 0, ISA_DVE);
    r = fx_rec(&F, 0, ISA_ACT, ISA_OP_TENSOR_COPY);
    r->body.c.t[0] = region_tile(2);
    r->body.c.t[1] = region_tile(1);
    fx_end(&F, 0, ISA_ACT);
    F.c[0].sg.engines[ISA_ACT].debug = dbg;
    F.c[0].sg.engines[ISA_ACT].debug_count = 1;
    F.opt.checks = CORE_CHECK_RACE;
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_EXEC_COMPLETED_WITH_ERR);
    assert_int_equal(F.report.end, CORE_END_CHECK);
    assert_string_equal(
        F.report.err.text,
        "race: dve record 0 memset writes and act record 0 tensor_copy (k.nasm:7) "
        "reads SBUF partition 32 byte 128, and nothing orders them (2048 racing and "
        "0 uninitialised byte accesses)");
}

static void reads_tile(unsigned engine, unsigned dst)
{
    struct isa_record *r = fx_rec(&F, 0, engine, ISA_OP_TENSOR_COPY);

    r->body.c.t[0] = region_tile(dst);
    r->body.c.t[1] = region_tile(1);
    fx_update(r, ISA_UPD_INC, engine, 0, 0);
}

/* A tile that two engines and two queue sets read, in no order; a fifth writes it and waits for all
 * of them but one (READERS_N: for all). */
enum { READERS_N = 4 };

static void written_after_all_but(unsigned missing)
{
    static const unsigned done[READERS_N] = {ISA_ACT, ISA_POOL, 10, 11};
    struct isa_record *r;

    fx_clear(&F);
    for (unsigned q = 0; q < 2; q++) {
        struct neff_access from = region_access(1, DT_UINT32);

        fx_group(&F, 0, queue_engine[q], q, q,
                 fx_desc(&F, NEFF_OP_COPY, region_access(6 + q, DT_UINT32), &from, 1), 1)
            ->semaphore = 10 + q;
        fx_trigger(&F, 0, queue_engine[q], (int32_t)q);
    }
    reads_tile(ISA_ACT, 2);
    reads_tile(ISA_POOL, 3);
    r = fx_rec(&F, 0, ISA_DVE, ISA_OP_NOP);
    for (unsigned i = 0; i < READERS_N; i++)
        if (i != missing)
            fx_wait(r, ISA_WAIT_SEM_GE, done[i], i < 2 ? 1 : (int32_t)queue_num[i - 2]);
    r = fx_rec(&F, 0, ISA_DVE, ISA_OP_MEMSET);
    r->body.c.t[0] = region_tile(1);
    r->body.c.s[0] = (struct isa_scalar){.kind = ISA_SC_I32, .v = 1};
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        fx_end(&F, 0, e);
    fx_prepare(&F);
}

/* Of many unordered reads each is remembered, however late the one comes that does not wait for it.
 */
static void no_reader_is_forgotten(void **state)
{
    static const char *const who[READERS_N] = {
        "act record 1 tensor_copy reads", "pool record 0 tensor_copy reads",
        "transfer of sp record 0 dma_trigger reads", "transfer of act record 0 dma_trigger reads"};

    F.opt.checks = CORE_CHECK_RACE;
    for (unsigned missing = 0; missing < READERS_N; missing++) {
        written_after_all_but(missing);
        if (fx_run(&F, 0) != NRT_EXEC_COMPLETED_WITH_ERR ||
            !strstr(F.report.err.text, who[missing]))
            fail_msg("without a wait for \"%s\": %s", who[missing], F.report.err.text);
        assert_non_null(strstr(F.report.err.text, "(2048 racing and "));
    }
    written_after_all_but(READERS_N);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    (void)state;
}

static void uninitialised_read_is_named(void **state)
{
    struct neff_access from = region_access(7, DT_UINT8);

    F.opt.checks = CORE_CHECK_UNINIT;
    fx_group(&F, 0, ISA_SP, 0, 0, fx_desc(&F, NEFF_OP_COPY, region_access(0, DT_UINT8), &from, 1),
             1);
    fx_trigger(&F, 0, ISA_SP, 0);
    fx_end(&F, 0, ISA_SP);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_EXEC_COMPLETED_WITH_ERR);
    assert_string_equal(
        F.report.err.text,
        "uninitialised read: transfer of sp record 0 dma_trigger reads v1 byte 2048, "
        "which nothing wrote (0 racing and 2048 uninitialised byte accesses)");
    fx_clear(&F);
    F.c[0].vars[V].type = NEFF_VAR_INPUT; /* the host wrote it */
    fx_group(&F, 0, ISA_SP, 0, 0, fx_desc(&F, NEFF_OP_COPY, region_access(0, DT_UINT8), &from, 1),
             1);
    fx_trigger(&F, 0, ISA_SP, 0);
    fx_end(&F, 0, ISA_SP);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(random_programs),
        T(race_names_the_pair),
        T(no_reader_is_forgotten),
        T(uninitialised_read_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
