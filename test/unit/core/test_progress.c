/* SPDX-License-Identifier: Apache-2.0 */
/* Executions in parts, and what lies outside the core: a table of functions played by the test,
 * with a clock of its own. */
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OPS_MAX 64

static struct fx F;

/* The outside: operations end in the order in which they were started, each after `steps` steps of
 * progress; ending copies `in` to `out` when the operation has ranges. */
static struct outside {
    struct core_trigger ops[OPS_MAX]; /* accepted and not taken, oldest first */
    unsigned count, room;
    uint64_t steps, done; /* steps of the oldest operation */
    bool stuck;           /* no operation ever ends */
    NRT_STATUS refuse;    /* status of trigger, when not NRT_SUCCESS */
    struct core_signal end;
    struct core_trigger taken; /* of the last signal */
    unsigned triggers, full, abandons, waits;
    uint64_t now, beat, wait_limit, wait_takes;
    bool beating; /* every wait moves beat */
} O;

static NRT_STATUS o_trigger(void *arg, const struct core_trigger *t, struct err *err)
{
    struct outside *o = arg;

    if (o->refuse != NRT_SUCCESS)
        return err_set(err, o->refuse, "no such group");
    if (o->count == o->room) {
        o->full++;
        return NRT_QUEUE_FULL;
    }
    o->triggers++;
    o->ops[o->count++] = *t;
    return NRT_SUCCESS;
}

static uint64_t o_progress(void *arg, uint64_t budget)
{
    struct outside *o = arg;
    uint64_t n = 0;

    for (; n < budget && !o->stuck && o->count > 0 && o->done < o->steps; n++)
        o->done++;
    return n;
}

static bool o_take(void *arg, struct core_signal *ret)
{
    struct outside *o = arg;
    const struct neff_coll *c;

    if (o->count == 0 || o->stuck || o->done < o->steps)
        return false;
    c = &o->ops[0].sg->colls[o->ops[0].op];
    for (uint32_t i = 0; i < c->in_count && c->out[i].partitions == 0; i++) {
        uint64_t size;
        uint8_t *in = core_binding_get(o->ops[0].binding, c->in[i].var, &size);
        uint8_t *out = core_binding_get(o->ops[0].binding, c->out[i].var, &size);

        memcpy(out + c->out[i].off, in + c->in[i].off, c->in[i].size);
    }
    *ret = o->end;
    o->taken = o->ops[0];
    ret->of = &o->taken;
    memmove(o->ops, o->ops + 1, --o->count * sizeof(o->ops[0]));
    o->done = 0;
    return true;
}

static bool o_outstanding(void *arg)
{
    return ((struct outside *)arg)->count > 0;
}

static uint64_t o_beat(void *arg)
{
    return ((struct outside *)arg)->beat;
}

static void o_wait(void *arg, uint64_t limit_ns)
{
    struct outside *o = arg;

    o->waits++;
    o->wait_limit = limit_ns;
    o->now += o->wait_takes;
    o->beat += o->beating;
}

static void o_abandon(void *arg, const char *why)
{
    struct outside *o = arg;

    assert_true(why[0] != '\0');
    o->abandons++;
    o->count = 0;
    o->done = 0;
}

static uint64_t o_now(void *arg)
{
    return ((struct outside *)arg)->now;
}

static const struct core_outside table = {.arg = &O,
                                          .trigger = o_trigger,
                                          .progress = o_progress,
                                          .take = o_take,
                                          .outstanding = o_outstanding,
                                          .beat = o_beat,
                                          .wait = o_wait,
                                          .abandon = o_abandon};

/* Collective 0 has no tensors, 1 copies variable 1 to variable 2, 2 does so on another stream. */
static struct neff_coll_range in_range, out_range;
static struct neff_coll colls[3];

static int setup(void **state)
{
    memset(&O, 0, sizeof(O));
    O.room = OPS_MAX;
    fx_init(&F, 1, ISA_V3);
    fx_var(&F, 0, NEFF_VAR_INPUT, 4096);
    fx_var(&F, 0, NEFF_VAR_OUTPUT, 4096);
    colls[0] = (struct neff_coll){.op = NEFF_COLL_BARRIER, .metadata_var = NEFF_NONE};
    colls[1] = (struct neff_coll){.op = NEFF_COLL_ALL_REDUCE,
                                  .dtype = DT_FP32,
                                  .stream = 1,
                                  .in_count = 1,
                                  .out_count = 1,
                                  .in = &in_range,
                                  .out = &out_range,
                                  .metadata_var = NEFF_NONE};
    in_range = (struct neff_coll_range){.var = 1, .off = 64, .size = 128};
    out_range = (struct neff_coll_range){.var = 2, .off = 0, .size = 128};
    colls[2] = colls[1];
    colls[2].stream = 2;
    F.c[0].sg.colls = colls;
    F.c[0].sg.coll_count = 3;
    F.opt.outside = &table;
    F.run.now_ns = o_now;
    F.run.now_arg = &O;
    return 0;
}

static int teardown(void **state)
{
    fx_fini(&F);
    return 0;
}

/* sem: 256 and above: none. */
static struct isa_record *collective(unsigned engine, int32_t op, unsigned sem)
{
    struct isa_record *r = fx_rec(&F, 0, engine, ISA_OP_TRIGGER_COLLECTIVE);

    r->body.s.imm = op;
    r->body.s.first = (uint16_t)(sem < ISA_SEMAPHORES ? sem + 1 : 0);
    return r;
}

/* Act starts collective `op`; dve ends when semaphore 5 was raised. */
static void simple_program(int32_t op)
{
    fx_wait(fx_rec(&F, 0, ISA_DVE, ISA_OP_END), ISA_WAIT_SEM_GE, 5, 1);
    collective(ISA_ACT, op, 5);
    fx_end(&F, 0, ISA_ACT);
    fx_prepare(&F);
}

/* ---- executions in parts ---- */

static void idle_core_has_nothing_to_do(void **state)
{
    uint64_t did = 7;

    assert_int_equal(core_progress(F.c[0].core, 100, &did), CORE_STEP_IDLE);
    assert_int_equal(did, 0);
    assert_int_equal(core_finish(F.c[0].core), NRT_FAILURE);
    core_wait(F.c[0].core);
    assert_int_equal(O.waits, 0);
}

static void budget_bounds_the_work(void **state)
{
    struct core_report second;
    uint64_t did = 0;

    fx_branch(&F, 0, ISA_POOL, ISA_BR_ALWAYS, 0, 0, 0, 0);
    fx_prepare(&F);
    assert_int_equal(fx_start(&F, 0), NRT_SUCCESS);
    for (uint64_t budget = 1; budget < 20000; budget = budget * 3 + 1) {
        assert_int_equal(core_progress(F.c[0].core, budget, &did), CORE_STEP_BUDGET);
        assert_int_equal(did, budget);
    }
    assert_int_equal(core_progress(F.c[0].core, 0, &did), CORE_STEP_BUDGET);
    assert_int_equal(did, 1); /* at least something */
    assert_int_equal(core_start(&F.run, &second), NRT_FAILURE);
    assert_string_equal(second.err.text, "the core runs already");
    assert_int_equal(fx_finish(&F), NRT_FAILURE); /* abandoned */
    assert_int_equal(F.report.end, CORE_END_CANCELLED);
    assert_int_equal(F.report.err.status, NRT_FAILURE);
    /* the core accepts the next execution */
    fx_clear(&F);
    fx_end(&F, 0, ISA_SP);
    fx_prepare(&F);
    assert_int_equal(fx_start(&F, 0), NRT_SUCCESS);
    assert_int_equal(core_progress(F.c[0].core, 100, &did), CORE_STEP_DONE);
    assert_int_equal(core_progress(F.c[0].core, 100, &did), CORE_STEP_DONE);
    assert_int_equal(did, 0);
    assert_int_equal(fx_finish(&F), NRT_SUCCESS);
    assert_int_equal(core_progress(F.c[0].core, 100, NULL), CORE_STEP_IDLE);
}

/* ---- operations outside ---- */

static void collective_is_refused_without_a_table(void **state)
{
    struct err err = {0};

    F.opt.outside = NULL;
    collective(ISA_ACT, 0, 5);
    fx_end(&F, 0, ISA_ACT);
    assert_int_equal(fx_prepare_status(&F, &err), NRT_INVALID);
    assert_string_equal(err.text, "Unsupported hardware operator code 13 found in neff. (record 0: "
                                  "trigger_collective is known but not executable)");
}

static void range_outside_its_variable_is_refused(void **state)
{
    struct err err = {0};

    in_range.size = 4096;
    collective(ISA_ACT, 1, 5);
    fx_end(&F, 0, ISA_ACT);
    assert_int_equal(fx_prepare_status(&F, &err), NRT_INVALID);
    assert_string_equal(err.text, "act record 0: collective 1: not a range of a variable in HBM");
}

static void tile_outside_sbuf_is_refused(void **state)
{
    struct err err = {0};

    in_range = (struct neff_coll_range){.off = 8,
                                        .size = 4 * (uint64_t)isa_sbuf_bytes(ISA_V3),
                                        .partitions = 4,
                                        .partition_step = 1,
                                        .step = 4};
    collective(ISA_ACT, 1, 5);
    fx_end(&F, 0, ISA_ACT);
    assert_int_equal(fx_prepare_status(&F, &err), NRT_INVALID);
    assert_string_equal(err.text, "act record 0: collective 1: a tile outside SBUF");
    fx_clear(&F);
    in_range.off = 0;
    collective(ISA_ACT, 1, 5);
    fx_end(&F, 0, ISA_ACT);
    assert_int_equal(fx_prepare_status(&F, &err), NRT_SUCCESS);
}

static void signal_raises_the_semaphore(void **state)
{
    const struct core_trigger *t = &O.ops[0];
    uint64_t did;

    memset(F.c[0].mem[1], 0x5c, 4096);
    O.steps = 3;
    O.stuck = true;
    simple_program(1);
    assert_int_equal(fx_start(&F, 0), NRT_SUCCESS);
    assert_int_equal(core_progress(F.c[0].core, 1000, &did), CORE_STEP_OUTSIDE);
    assert_true(did > 0);
    assert_int_equal(O.count, 1);
    assert_int_equal(t->core, 0);
    assert_int_equal(t->engine, ISA_ACT);
    assert_int_equal(t->record, 0);
    assert_int_equal(t->op, 1);
    assert_int_equal(t->semaphore, 5);
    assert_ptr_equal(t->sg, &F.c[0].sg);
    assert_ptr_equal(t->binding, F.c[0].binding);
    assert_int_equal(core_progress(F.c[0].core, 1000, &did), CORE_STEP_OUTSIDE);
    assert_int_equal(did, 0);
    assert_int_equal(core_semaphore(F.c[0].core, 5), 0);
    O.stuck = false;
    assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_DONE);
    assert_int_equal(fx_finish(&F), NRT_SUCCESS);
    assert_int_equal(core_semaphore(F.c[0].core, 5), 1);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(((uint8_t *)F.c[0].mem[2])[i], i < 128 ? 0x5c : 0);
    assert_int_equal(O.abandons, 0);
}

/* An operation that raises nothing still belongs to the execution. */
static void run_ends_after_its_operations(void **state)
{
    O.steps = 1000;
    collective(ISA_ACT, 0, ISA_SEMAPHORES);
    fx_end(&F, 0, ISA_ACT);
    fx_prepare(&F);
    O.end.arrival_ps = 5000000000u; /* 5 ms */
    O.end.lasts_ps = 2000000000u;
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(O.triggers, 1);
    assert_int_equal(O.count, 0);
    assert_int_equal(O.abandons, 0);
    assert_int_equal(F.report.stats.device_ns, 7000000);
}

static void full_stream_lets_the_engine_wait(void **state)
{
    O.room = 2;
    O.steps = 5;
    fx_move(&F, 0, ISA_ACT, 1, 0);
    fx_update(collective(ISA_ACT, 0, 5), ISA_UPD_INC, 6, 0, ISA_UPD_AT_READ);
    fx_update(fx_rec(&F, 0, ISA_ACT, ISA_OP_NOP), ISA_UPD_INC, 7, 0, 0);
    fx_alu(&F, 0, ISA_ACT, ISA_REG_ADD, 1, 1, ISA_NO_REG, 1);
    fx_branch(&F, 0, ISA_ACT, ISA_BR_LT, 1, ISA_NO_REG, 10, 1);
    fx_end(&F, 0, ISA_ACT);
    fx_prepare(&F);
    fx_record_events(&F, 1000);
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(O.triggers, 10);
    assert_true(O.full >= 8 && O.full <= 10);
    for (unsigned s = 5; s < 8; s++) /* each update once, however often it tried */
        assert_int_equal(core_semaphore(F.c[0].core, s), 10);
    assert_int_equal(F.report.stats.records, 1 + 4 * 10 + 1);
    /* no room and nothing that could make some */
    O.room = 0;
    assert_int_equal(fx_run(&F, 0), NRT_TIMEOUT);
    assert_int_equal(F.report.end, CORE_END_HANG);
    assert_string_equal(F.report.err.text,
                        "act record 1 trigger_collective waits for room in the stream of its "
                        "collective, which nothing can change any more");
}

static void engine_that_nobody_will_wake_hangs_at_once(void **state)
{
    fx_wait(fx_rec(&F, 0, ISA_DVE, ISA_OP_END), ISA_WAIT_SEM_GE, 5, 2);
    collective(ISA_ACT, 0, 5);
    fx_end(&F, 0, ISA_ACT);
    fx_prepare(&F);
    O.steps = 10;
    assert_int_equal(fx_run(&F, 1000000000), NRT_TIMEOUT);
    assert_int_equal(F.report.end, CORE_END_HANG);
    assert_int_equal(O.waits, 0);
    assert_int_equal(F.report.engines[0][ISA_DVE].value, 1);
}

static void failed_operation_ends_the_run(void **state)
{
    O.steps = 1;
    O.end.status = NRT_EXEC_HW_ERR_COLLECTIVES;
    O.end.text = "rank 3 left the group";
    collective(ISA_ACT, 0, 5);
    collective(ISA_ACT, 0, 5);
    fx_end(&F, 0, ISA_ACT);
    fx_prepare(&F);
    assert_int_equal(fx_run(&F, 0), NRT_EXEC_HW_ERR_COLLECTIVES);
    assert_int_equal(F.report.end, CORE_END_OUTSIDE);
    assert_string_equal(F.report.err.text, "act record 2 end: rank 3 left the group");
    assert_int_equal(O.abandons, 1); /* the second one */
    /* one that cannot start */
    memset(&O.end, 0, sizeof(O.end));
    O.refuse = NRT_INVALID;
    assert_int_equal(fx_run(&F, 0), NRT_INVALID);
    assert_int_equal(F.report.end, CORE_END_OUTSIDE);
    assert_string_equal(F.report.err.text, "act record 0 trigger_collective: no such group");
    assert_int_equal(O.abandons, 1); /* nothing was outstanding */
}

static void signal_out_of_range_is_refused(void **state)
{
    static const struct core_trigger bad[] = {
        {.core = 1}, {.engine = ISA_ENGINES}, {.semaphore = ISA_SEMAPHORES}};

    simple_program(0);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(fx_start(&F, 0), NRT_SUCCESS);
        O.stuck = true;
        assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_OUTSIDE);
        O.stuck = false;
        O.ops[0].core = bad[i].core;
        O.ops[0].engine = bad[i].engine;
        O.ops[0].semaphore = bad[i].semaphore;
        assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_FAILED);
        assert_int_equal(fx_finish(&F), NRT_FAILURE);
        assert_int_equal(F.report.end, CORE_END_OUTSIDE);
    }
}

static void unfinished_run_abandons_its_operations(void **state)
{
    simple_program(0);
    O.stuck = true;
    assert_int_equal(fx_start(&F, 0), NRT_SUCCESS);
    assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_OUTSIDE);
    assert_int_equal(fx_finish(&F), NRT_FAILURE);
    assert_int_equal(F.report.end, CORE_END_CANCELLED);
    assert_int_equal(O.abandons, 1);
    O.stuck = false;
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(O.abandons, 1);
}

static void cancel_reaches_a_waiting_run(void **state)
{
    int cancel = 0;

    F.run.cancel = &cancel;
    simple_program(0);
    O.stuck = true;
    assert_int_equal(fx_start(&F, 0), NRT_SUCCESS);
    assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_OUTSIDE);
    cancel = 1;
    assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_FAILED);
    assert_int_equal(fx_finish(&F), NRT_FAILURE);
    assert_int_equal(F.report.end, CORE_END_CANCELLED);
    assert_int_equal(O.abandons, 1);
}

/* ---- the limit of wall time ---- */

static void slow_host_is_no_hang(void **state)
{
    simple_program(0);
    O.steps = 1;
    O.stuck = true;
    O.now = 12345;
    assert_int_equal(fx_start(&F, 1000), NRT_SUCCESS);
    assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_OUTSIDE);
    /* a rank that it waits for goes on: each time just before the limit */
    for (unsigned i = 0; i < 100; i++) {
        O.now += 999;
        assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_OUTSIDE);
        O.beat++;
        O.now += 500;
        assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_OUTSIDE);
    }
    core_wait(F.c[0].core);
    assert_int_equal(O.wait_limit, 1000);
    O.now += 400;
    core_wait(F.c[0].core);
    assert_int_equal(O.wait_limit, 600);
    O.now += 599;
    assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_OUTSIDE);
    O.now += 1;
    assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_FAILED);
    assert_int_equal(fx_finish(&F), NRT_TIMEOUT);
    assert_int_equal(F.report.end, CORE_END_STALL);
    assert_int_equal(F.report.engine, ISA_DVE);
    assert_string_equal(F.report.err.text,
                        "dve record 0 end waits for semaphore 5 >= 1, value 0, and what it waits "
                        "for did nothing for 0 ms");
    assert_int_equal(O.abandons, 1);
}

/* Work of the core itself, however short, starts the wait again. */
static void own_work_counts_as_progress(void **state)
{
    fx_wait(fx_rec(&F, 0, ISA_DVE, ISA_OP_END), ISA_WAIT_SEM_GE, 5, 2);
    collective(ISA_ACT, 0, 5);
    collective(ISA_ACT, 0, 5);
    fx_end(&F, 0, ISA_ACT);
    fx_prepare(&F);
    O.steps = 1;
    O.stuck = true;
    assert_int_equal(fx_start(&F, 1000), NRT_SUCCESS);
    assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_OUTSIDE);
    O.now = 900;
    O.stuck = false; /* the first ends */
    O.done = 1;
    O.steps = 2;
    O.done = 2;
    assert_int_equal(core_progress(F.c[0].core, 1, NULL), CORE_STEP_BUDGET);
    assert_int_equal(O.count, 1);
    O.stuck = true;
    assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_OUTSIDE);
    O.now = 1800;
    assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_OUTSIDE);
    O.now = 1900;
    assert_int_equal(core_progress(F.c[0].core, 1000, NULL), CORE_STEP_FAILED);
    assert_int_equal(fx_finish(&F), NRT_TIMEOUT);
    assert_int_equal(F.report.end, CORE_END_STALL);
}

static void blocking_run_waits_and_stalls(void **state)
{
    simple_program(0);
    O.stuck = true;
    O.wait_takes = 300;
    assert_int_equal(fx_run(&F, 1000), NRT_TIMEOUT);
    assert_int_equal(F.report.end, CORE_END_STALL);
    assert_int_equal(O.waits, 4);
    assert_int_equal(O.wait_limit, 100);
    assert_int_equal(O.abandons, 1);
    /* without a limit it would wait for ever: let it end by a signal */
    O.stuck = false;
    O.steps = 500;
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
}

/* ---- device time ---- */

static void collective_takes_device_time(void **state)
{
    const struct time_program *tp;
    struct time_report rep;
    struct err err = {0};
    uint64_t end_ps;

    fx_record_events(&F, 100);
    simple_program(0);
    O.end.lasts_ps = 7000000;
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    tp = core_program_time(F.c[0].program);
    assert_int_equal(time_replay(&tp, 1, &F.events, NULL, &rep, &err), NRT_SUCCESS);
    assert_int_equal(rep.forced, 0);
    end_ps = tp->cost[ISA_DVE][0].ps;
    assert_int_equal(rep.total_ps, tp->cost[ISA_ACT][0].ps + 7000000 + end_ps);
    assert_int_equal(F.report.stats.device_ns, rep.total_ps / 1000);
    /* the others come later: more than 32 bits of picoseconds */
    O.end.arrival_ps = 9000000000000u;
    assert_int_equal(fx_run(&F, 0), NRT_SUCCESS);
    assert_int_equal(time_replay(&tp, 1, &F.events, NULL, &rep, &err), NRT_SUCCESS);
    assert_int_equal(rep.total_ps, 9000000000000u + 7000000 + end_ps);
    assert_int_equal(F.report.stats.device_ns, rep.total_ps / 1000);
    /* and that counts for the limit */
    assert_int_equal(fx_run(&F, 8000000000u), NRT_TIMEOUT);
    assert_int_equal(F.report.end, CORE_END_TIMEOUT);
    /* each run begins at 0 */
    O.end.arrival_ps = 0;
    assert_int_equal(fx_run(&F, 8000000000u), NRT_SUCCESS);
    assert_int_equal(F.report.stats.device_ns, (tp->cost[ISA_ACT][0].ps + 7000000 + end_ps) / 1000);
}

/* ---- checks ---- */

/* Dve loads the first word of variable 2, after semaphore 5 has reached `after`. */
static void load_result(int32_t after)
{
    struct isa_record *r = fx_rec(&F, 0, ISA_DVE, ISA_OP_REG_LOAD);

    r->body.s.rd = 1;
    r->body.s.place_mem = ISA_HBM;
    r->body.s.place.hbm = (struct isa_hbm){
        .var_id = 2, .dtype = DT_UINT32, .ndim = 1, .off_reg = ISA_NO_REG, .num = {1}};
    if (after > 0)
        fx_wait(r, ISA_WAIT_SEM_GE, 5, after);
    fx_end(&F, 0, ISA_DVE);
}

/* What the check says of two operations and the load, or "". */
static const char *checked(int32_t first, int32_t second, int32_t after)
{
    fx_clear(&F);
    collective(ISA_ACT, first, 5);
    collective(ISA_ACT, second, 5);
    fx_end(&F, 0, ISA_ACT);
    load_result(after);
    fx_prepare(&F);
    fx_run(&F, 0);
    assert_true(F.report.end == CORE_END_CHECK || F.report.end == CORE_END_DONE);
    return F.report.end == CORE_END_CHECK ? F.report.err.text : "";
}

static void race_with_a_collective_is_found(void **state)
{
    F.opt.checks = CORE_CHECK_RACE;
    O.steps = 1;
    assert_string_equal(checked(1, 0, 1), "");
    assert_string_equal(checked(1, 1, 2), ""); /* one stream: in order */
    assert_string_equal(checked(1, 0, 0),
                        "race: dve record 0 register_load reads and transfer of act record 0 "
                        "trigger_collective writes v2 byte 0, and nothing orders them (4 racing "
                        "and 0 uninitialised byte accesses)");
    /* the first has ended, the second of its stream may write already */
    assert_string_equal(checked(1, 1, 1),
                        "race: transfer of act record 1 trigger_collective writes and dve record "
                        "0 register_load reads v2 byte 0, and nothing orders them (4 racing and 0 "
                        "uninitialised byte accesses)");
    /* two streams are not in order */
    assert_string_equal(checked(1, 2, 2),
                        "race: transfer of act record 0 trigger_collective writes and transfer of "
                        "act record 1 trigger_collective writes v2 byte 0, and nothing orders "
                        "them (128 racing and 0 uninitialised byte accesses)");
}

/* Dve loads the first word of a partition of SBUF while a collective writes every second element of
 * two rows, three partitions apart. */
static const char *tile_checked(unsigned part, unsigned byte)
{
    struct isa_record *r;

    fx_clear(&F);
    out_range = (struct neff_coll_range){.off = 5 * NEFF_SBUF_STRIDE + 64,
                                         .size = 128,
                                         .partitions = 2,
                                         .partition_step = 3,
                                         .step = 8};
    collective(ISA_ACT, 1, 5);
    fx_end(&F, 0, ISA_ACT);
    r = fx_rec(&F, 0, ISA_DVE, ISA_OP_REG_LOAD);
    r->body.s.rd = 1;
    r->body.s.place_mem = ISA_SBUF;
    r->body.s.place.tile = fx_tile(ISA_SBUF, DT_UINT32, part, 1, byte, 1);
    fx_end(&F, 0, ISA_DVE);
    fx_prepare(&F);
    fx_run(&F, 0);
    assert_true(F.report.end == CORE_END_CHECK || F.report.end == CORE_END_DONE);
    return F.report.end == CORE_END_CHECK ? F.report.err.text : "";
}

static void race_with_a_tile_is_found(void **state)
{
    F.opt.checks = CORE_CHECK_RACE;
    O.steps = 1;
    assert_string_equal(tile_checked(8, 64 + 15 * 8),
                        "race: dve record 0 register_load reads and transfer of act record 0 "
                        "trigger_collective writes SBUF partition 8 byte 184, and nothing orders "
                        "them (4 racing and 0 uninitialised byte accesses)");
    assert_string_equal(tile_checked(8, 64 + 15 * 8 + 4), ""); /* behind the last element */
    assert_string_equal(tile_checked(8, 64 + 4), "");          /* between elements */
    assert_string_equal(tile_checked(6, 64), "");              /* between rows */
}

/* Dve waits from the beginning for what never comes, act from the end of a collective. */
static void engines_tell_since_when_they_wait(void **state)
{
    fx_wait(fx_rec(&F, 0, ISA_DVE, ISA_OP_END), ISA_WAIT_SEM_GE, 7, 1);
    collective(ISA_ACT, 0, 5);
    fx_wait(fx_rec(&F, 0, ISA_ACT, ISA_OP_NOP), ISA_WAIT_SEM_GE, 5, 1);
    fx_wait(fx_rec(&F, 0, ISA_ACT, ISA_OP_END), ISA_WAIT_SEM_GE, 7, 1);
    fx_prepare(&F);
    O.stuck = true;
    O.now = 1000;
    assert_int_equal(fx_start(&F, UINT64_MAX / 2), NRT_SUCCESS);
    assert_int_equal(core_progress(F.c[0].core, 100, NULL), CORE_STEP_OUTSIDE);
    O.stuck = false;
    O.now = 5000000;
    assert_int_equal(core_progress(F.c[0].core, 100, NULL), CORE_STEP_FAILED);
    O.now = 9000000;
    assert_int_equal(fx_finish(&F), NRT_TIMEOUT);
    assert_int_equal(F.report.end, CORE_END_HANG);
    assert_int_equal(F.report.engines[0][ISA_DVE].since_ns, 1000);
    assert_int_equal(F.report.engines[0][ISA_ACT].since_ns, 5000000);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(idle_core_has_nothing_to_do),
        T(budget_bounds_the_work),
        T(collective_is_refused_without_a_table),
        T(range_outside_its_variable_is_refused),
        T(signal_raises_the_semaphore),
        T(run_ends_after_its_operations),
        T(full_stream_lets_the_engine_wait),
        T(engine_that_nobody_will_wake_hangs_at_once),
        T(failed_operation_ends_the_run),
        T(signal_out_of_range_is_refused),
        T(unfinished_run_abandons_its_operations),
        T(cancel_reaches_a_waiting_run),
        T(slow_host_is_no_hang),
        T(own_work_counts_as_progress),
        T(blocking_run_waits_and_stalls),
        T(collective_takes_device_time),
        T(race_with_a_collective_is_found),
        T(tile_outside_sbuf_is_refused),
        T(race_with_a_tile_is_found),
        T(engines_tell_since_when_they_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
