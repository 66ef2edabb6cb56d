/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of an execution (decision 8): engines run one after the other, each until it waits;
 * transfers run when no engine can. The order depends on program and inputs only: of the engines
 * that can go on, the one with the lowest number (core 0 before core 1; pe, dve, act, pool, sp);
 * of the queue sets with pending transfers, the one triggered last
 * (what an engine has just made ready is still in the cache), its oldest transfer. Nothing here
 * allocates or makes a system call. */
#include "core/exec.h"

#include <string.h>

#include "base/broken.h"

#define TURN 4096 /* records an engine runs before the others are looked at */

void exec_fail(struct core_exec *x, enum core_end end, NRT_STATUS status, unsigned core,
               unsigned engine)
{
    if (x->status != NRT_SUCCESS)
        return;
    x->status = status;
    x->end = end;
    x->fail_core = core;
    x->fail_engine = engine;
}

/* ---- sequencer records ---- */

static uint32_t alu(unsigned op, uint32_t a, uint32_t b)
{
    switch (op) {
    case ISA_REG_ADD:
        return a + b;
    case ISA_REG_SUB:
        return a - b;
    case ISA_REG_MUL:
        return a * b;
    case ISA_REG_AND:
        return a & b;
    case ISA_REG_OR:
        return a | b;
    case ISA_REG_XOR:
        return a ^ b;
    case ISA_REG_SHL:
        return b < 32 ? a << b : 0;
    case ISA_REG_SHR:
        return b < 32 ? a >> b : 0;
    case ISA_REG_SAR:
        return (uint32_t)((int32_t)a >> (b < 32 ? b : 31));
    case ISA_REG_MIN:
        return (int32_t)a < (int32_t)b ? a : b;
    case ISA_REG_MAX:
        return (int32_t)a > (int32_t)b ? a : b;
    default:
        return 0;
    }
}

static bool branch_taken(unsigned cond, int32_t a, int32_t b)
{
    switch (cond) {
    case ISA_BR_LT:
        return a < b;
    case ISA_BR_LE:
        return a <= b;
    case ISA_BR_EQ:
        return a == b;
    case ISA_BR_NE:
        return a != b;
    case ISA_BR_GE:
        return a >= b;
    case ISA_BR_GT:
        return a > b;
    default:
        return true;
    }
}

static bool load_store(struct core_exec *x, unsigned core, unsigned engine,
                       const struct core_op *op)
{
    struct core *c = x->core[core];
    struct core_engine *e = &c->engine[engine];
    const struct core_binding *b = x->run->binding[core];
    const struct core_place *pl = &b->program->places[op->target];
    uint8_t *at = place_resolve(pl, c, b, e->regs, &x->report->err);
    uint32_t v = 0;

    if (at == NULL) {
        exec_fail(x, CORE_END_OOB, NRT_EXEC_OOB, core, engine);
        return false;
    }
    if (x->check != NULL)
        check_bytes(x, x->check, core, engine, at, pl->at.esize, op->kind == OP_STORE);
    if (op->kind == OP_STORE) { /* the low bytes */
        memcpy(at, &e->regs[op->ra], pl->at.esize);
        return true;
    }
    memcpy(&v, at, pl->at.esize);
    if (dtype_kind((enum dtype)pl->dtype) == DTK_INT && pl->at.esize < 4) {
        unsigned shift = 32 - 8u * pl->at.esize;

        v = (uint32_t)((int32_t)(v << shift) >> shift);
    }
    e->regs[op->rd] = v;
    return true;
}

/* ---- an engine's turn ---- */

static void record_start(struct core_exec *x, const struct core_program *p, unsigned core,
                         unsigned engine, const struct core_op *op)
{
    const struct core_engine *e = &x->core[core]->engine[engine];
    unsigned unit = TIME_UNIT(core, engine);

    for (unsigned i = 0; i < op->nwaits; i++) {
        const struct core_cond *w = &p->waits[op->waits + i];

        record_event(x, TIME_EV_WAIT, unit, w->index, w->kind,
                     w->reg != ISA_NO_REG ? (int32_t)e->regs[w->reg] : w->value, 0);
    }
    for (uint32_t i = e->pc; i < op->next || i == e->pc; i++)
        record_event(x, TIME_EV_RECORD, unit, 0, op->kind == OP_END, p->code[engine].opcodes[i], i);
}

/* What the record does, between its read and its complete updates. False: the engine cannot go on
 * now (barrier) or the run failed. */
static bool execute(struct core_exec *x, unsigned core, unsigned engine, const struct core_op *op,
                    uint32_t *ret_next)
{
    struct core *c = x->core[core];
    struct core_engine *e = &c->engine[engine];
    const struct core_program *p = x->run->program[core];
    uint32_t b = op->rb != ISA_NO_REG ? e->regs[op->rb & (ISA_REGS - 1)] : (uint32_t)op->imm;
    NRT_STATUS st;

    switch ((enum core_op_kind)op->kind) {
    case OP_KERNEL: {
        const struct kernel_op *k = &p->kops[op->target];

        st = k->fn(k, &c->kc, e->regs, &x->report->err);
        if (st != NRT_SUCCESS) {
            exec_fail(x, st == NRT_EXEC_OOB ? CORE_END_OOB : CORE_END_FAULT, st, core, engine);
            return false;
        }
        x->st.flops += k->flops;
        if (x->check != NULL)
            for (uint32_t i = e->pc; i < op->next; i++)
                check_compute(x, x->check, core, engine, i);
        break;
    }
    case OP_MOVE:
        e->regs[op->rd] = b;
        break;
    case OP_ALU:
        e->regs[op->rd] = alu(op->sub, e->regs[op->ra], b);
        break;
    case OP_LOAD:
    case OP_STORE:
        return load_store(x, core, engine, op);
    case OP_BRANCH:
        if (op->sub == ISA_BR_ALWAYS || branch_taken(op->sub, (int32_t)e->regs[op->ra], (int32_t)b))
            *ret_next = op->target;
        break;
    case OP_TRIGGER:
        xfer_trigger(x, core, engine, op, e->clock_ps + op->cost_ps);
        break;
    case OP_DYN:
        return xfer_dynamic(x, core, engine, op, e->clock_ps + op->cost_ps);
    case OP_RANGE_CLEAR:
        for (int32_t i = 0; i < op->imm; i++) {
            sem_set(x, core, op->target + (uint32_t)i, 0, e->clock_ps);
            if (x->check != NULL)
                check_update(x->check, core, engine, core, ISA_UPD_WRITE, op->target + (uint32_t)i,
                             0);
        }
        break;
    case OP_NOP:
    case OP_END:
    case OP_BARRIER:
    case OP_COVERED:
        break;
    }
    return true;
}

/* CORE_BARRIER(s): `$S[s]++ peer`, then wait `$S[s]>=1`, then `$S[s]--`. True when it is through.
 */
static bool barrier(struct core_exec *x, unsigned core, unsigned engine, const struct core_op *op)
{
    struct core_engine *e = &x->core[core]->engine[engine];
    unsigned unit = TIME_UNIT(core, engine);

    if (!e->barrier) {
        e->barrier = true;
        e->barrier_cond =
            (struct core_cond){ISA_WAIT_SEM_GE, (uint8_t)op->target, ISA_NO_REG, 0, 1};
        e->conds = &e->barrier_cond;
        e->nconds = 1;
        record_event(x, TIME_EV_READ, unit, op->target, ISA_UPD_INC | TIME_OP_PEER, 1, 0);
        sem_add(x, 1 - core, op->target, 1, e->clock_ps);
        if (x->check != NULL)
            check_update(x->check, core, engine, 1 - core, ISA_UPD_INC, op->target,
                         sem_load(x->core[1 - core], op->target));
    }
    if (!e->granted && !conds_hold(x->core[core], e)) {
        exec_stall(x, core, engine);
        return false;
    }
    e->granted = false;
    e->barrier = false;
    if (x->check != NULL)
        check_wait(x->check, core, engine, &e->barrier_cond, 1);
    record_event(x, TIME_EV_WAIT, unit, op->target, ISA_WAIT_SEM_GE | TIME_OP_LATE, 1, 0);
    record_event(x, TIME_EV_COMPLETE, unit, op->target, ISA_UPD_DEC, 1, 0);
    sem_sub(x, core, op->target, 1, e->clock_ps);
    return true;
}

static void check_waits(struct core_exec *x, unsigned core, unsigned engine,
                        const struct core_op *op)
{
    const uint32_t *regs = x->core[core]->engine[engine].regs;

    for (unsigned i = 0; i < op->nwaits; i++) {
        const struct core_cond *w = &x->run->program[core]->waits[op->waits + i];

        check_wait(x->check, core, engine, w,
                   w->reg != ISA_NO_REG ? (int32_t)regs[w->reg] : w->value);
    }
}

/* Run records until the engine waits, ends, fails, or its turn is over. */
static void engine_turn(struct core_exec *x, unsigned core, unsigned engine)
{
    struct core *c = x->core[core];
    struct core_engine *e = &c->engine[engine];
    const struct core_program *p = x->run->program[core];
    const struct core_op *ops = p->code[engine].ops;

    for (unsigned n = 0; n < TURN; n++) {
        const struct core_op *op = &ops[e->pc];
        uint32_t next = op->next;

        if (!e->barrier) {
            if (op->nwaits != 0 && !e->granted) {
                e->conds = &p->waits[op->waits];
                e->nconds = op->nwaits;
                if (!conds_hold(c, e)) {
                    exec_stall(x, core, engine);
                    return;
                }
            }
            e->granted = false;
            if (__builtin_expect(x->check != NULL, 0))
                check_waits(x, core, engine, op);
            if (__builtin_expect(x->events != NULL, 0))
                record_start(x, p, core, engine, op);
            if (!execute(x, core, engine, op, &next))
                return;
            if (op->nread != 0)
                exec_fire(x, core, engine, &p->updates[op->updates], op->nread, TIME_EV_READ,
                          e->clock_ps);
        }
        if (op->kind == OP_BARRIER && !barrier(x, core, engine, op))
            return;
        e->clock_ps += op->cost_ps;
        e->retired += op->next - e->pc;
        if (op->ncomplete != 0)
            exec_fire(x, core, engine, &p->updates[op->updates + op->nread], op->ncomplete,
                      TIME_EV_COMPLETE, e->clock_ps);
        if (op->kind == OP_END) {
            e->ended = true;
            return;
        }
        e->pc = next;
        if (x->status != NRT_SUCCESS)
            return;
    }
    x->later |= 1u << (core * 8 + engine);
}

/* ---- the execution ---- */

static void start_core(struct core_exec *x, unsigned core)
{
    struct core *c = x->core[core];
    const struct core_program *p = x->run->program[core];

    for (unsigned w = 0; w < 4; w++) {
        for (uint64_t left = c->dirty[w]; left != 0; left &= left - 1) {
            unsigned i = w * 64 + (unsigned)__builtin_ctzll(left);

            __atomic_store_n(&c->sem[i], 0, __ATOMIC_RELAXED);
            c->sem_waiters[i] = 0;
        }
        c->dirty[w] = x->sems_used[w];
        if (c->events[w] != 0)
            c->events[w] = 0;
    }
    if (c->waiting_events) {
        memset(c->event_waiters, 0, sizeof(c->event_waiters));
        c->waiting_events = false;
    }
    for (unsigned q = 0; q < p->sg->queue_count; q++)
        c->queues[q] = (struct core_queue){.oldest = CORE_NOBODY};
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        struct core_engine *en = &c->engine[e];

        en->present = p->code[e].count != 0;
        if (!en->present)
            continue;
        en->pc = 0;
        en->ended = en->stalled = en->granted = en->barrier = false;
        en->nconds = 0;
        en->clock_ps = 0;
        en->retired = 0;
        memset(en->regs, 0, sizeof(en->regs));
        x->ready |= 1u << (core * 8 + e);
    }
    kernel_core_start(&c->kc);
    c->kc.stochastic_rounding = p->opt.stochastic_rounding;
    c->kc.check_nan = p->opt.check_nan;
    c->kc.saturate_ocp = p->opt.saturate_ocp;
    if (p->opt.stochastic_rounding && (!c->sr_seeded || c->sr_seed != p->opt.sr_seed))
        core_seed_sr(c, p->opt.sr_seed);
    if (c->live != NULL)
        live_start(c, x->run->neff);
}

static NRT_STATUS start(struct core_exec *x, const struct core_run *run, struct core_report *report)
{
    x->run = run;
    x->report = report;
    x->count = run->count;
    x->ready = x->later = 0;
    x->serial = 0;
    if (x->npending != 0) /* a failed run left some */
        exec_pending_reset(x);
    x->status = NRT_SUCCESS;
    x->end = CORE_END_DONE;
    x->fail_dynamic = false;
    x->events = run->events;
    x->limit_ps = run->timeout_ns == 0 || run->timeout_ns > UINT64_MAX / 1000
                      ? UINT64_MAX
                      : run->timeout_ns * 1000;
    memset(&x->st, 0, sizeof(x->st));
    memset(x->sems_used, 0, sizeof(x->sems_used));
    for (unsigned i = 0; i < run->count; i++) {
        const struct core_program *p = run->program[i];

        x->core[i] = p->core;
        if (run->binding[i]->program != p || run->binding[i]->missing != 0)
            return core_binding_check(run->binding[i], &report->err) != NRT_SUCCESS
                       ? NRT_INVALID
                       : err_set(&report->err, NRT_INVALID, "binding of another program");
        if (p->uses_peer && run->count != 2)
            return err_set(&report->err, NRT_INVALID,
                           "the program signals a second core that does not run");
        for (unsigned w = 0; w < 4; w++)
            x->sems_used[w] |= p->sems_used[w];
    }
    x->dma_start_ps = time_dma_start_ps(run->program[0]->core->kc.gen);
    for (unsigned i = 0; i < run->count; i++)
        start_core(x, i);
    x->check = run->program[0]->check;
    if (x->check != NULL && !check_start(x->check, x))
        return err_set(&report->err, NRT_RESOURCE, "out of memory for checks");
    return NRT_SUCCESS;
}

static bool cancelled(const struct core_run *run)
{
    return run->cancel != NULL && __atomic_load_n(run->cancel, __ATOMIC_RELAXED) != 0;
}

static void loop(struct core_exec *x)
{
    for (;;) {
        while (x->ready != 0 && x->status == NRT_SUCCESS) {
            unsigned u = (unsigned)__builtin_ctz(x->ready);
            struct core *c = x->core[u / 8];

            x->ready &= x->ready - 1;
            engine_turn(x, u / 8, u % 8);
            if (c->engine[u % 8].clock_ps > x->limit_ps)
                exec_fail(x, CORE_END_TIMEOUT, NRT_TIMEOUT, u / 8, u % 8);
            if (c->live != NULL)
                live_engine(c, u % 8);
        }
        if (x->status != NRT_SUCCESS)
            return;
        if (cancelled(x->run)) {
            exec_fail(x, CORE_END_CANCELLED, NRT_FAILURE, 0, 0);
            return;
        }
        if (x->top != NULL) {
            xfer_run_oldest(x, x->top);
        } else if (x->later == 0) {
            return;
        }
        x->ready |= x->later;
        x->later = 0;
    }
}

/* Nothing moves any more: did everybody end? */
static void finish(struct core_exec *x)
{
    uint64_t nan = 0, ps = 0;

    for (unsigned i = 0; i < x->count; i++) {
        struct core *c = x->core[i];

        nan += c->kc.nan_count;
        for (unsigned e = 0; e < ISA_ENGINES; e++) {
            if (!c->engine[e].present)
                continue;
            x->st.records += c->engine[e].retired;
            if (c->engine[e].clock_ps > ps)
                ps = c->engine[e].clock_ps;
            if (!c->engine[e].ended)
                exec_fail(x, CORE_END_HANG, NRT_TIMEOUT, i, e);
        }
        for (uint32_t q = 0; q < x->run->program[i]->sg->queue_count; q++)
            if (c->queues[q].clock_ps > ps)
                ps = c->queues[q].clock_ps;
        if (c->live != NULL)
            live_end(c);
    }
    x->st.nan_count = nan;
    x->st.device_ns = ps / 1000;
    if (x->check != NULL && x->status == NRT_SUCCESS) {
        NRT_STATUS st = check_finish(x->check, &x->report->err);

        if (st != NRT_SUCCESS)
            exec_fail(x, CORE_END_CHECK, st, 0, 0);
    }
    if (x->status == NRT_SUCCESS && nan > 0)
        x->status = NRT_EXEC_COMPLETED_WITH_NUM_ERR;
}

NRT_STATUS core_run(const struct core_run *run, struct core_report *report)
{
    struct core_exec *x = run->program[0]->core->exec;
    NRT_STATUS st;

    report->err.status = NRT_SUCCESS;
    report->err.text[0] = '\0';
    st = BROKEN(PERF) ? NRT_FAILURE : start(x, run, report);
    if (st != NRT_SUCCESS) {
        memset(&report->stats, 0, sizeof(report->stats));
        report->status = st;
        report->end = CORE_END_FAULT;
        report->count = 0;
        report->core = report->engine = 0;
        report->record = 0;
        report->dynamic_dma = false;
        report->pending_transfers = 0;
        return st;
    }
    loop(x);
    finish(x);
    report->status = x->status;
    report->end = x->end;
    report->stats = x->st;
    if (x->end != CORE_END_DONE)
        report_fill(x);
    return x->status;
}
