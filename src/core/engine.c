/* SPDX-License-Identifier: Apache-2.0 */
/* One engine's turn: its records, one after the other, until it waits. What the sequencer does
 * itself is here; kernels, transfers and signals are called. */
#include "core/exec.h"

#include <string.h>

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

/* False: the run failed. */
static bool show(struct core_exec *x, unsigned core, unsigned engine, const struct core_op *op)
{
    struct core *c = x->core[core];
    const struct kernel_op *k = &x->run->program[core]->kops[op->target];
    struct core_print p = {.core = core, .engine = engine, .record = c->engine[engine].pc};
    NRT_STATUS st;

    rows_flush(x);
    if (x->check != NULL)
        check_compute(x, x->check, core, engine, p.record);
    if (x->run->printer == NULL)
        return true;
    st = k->fn(k, &c->kc, c->engine[engine].regs, &x->report->err);
    if (st != NRT_SUCCESS) {
        exec_fail(x, st == NRT_EXEC_OOB ? CORE_END_OOB : CORE_END_FAULT, st, core, engine);
        return false;
    }
    p.tile = kernel_print_get(k);
    x->run->printer->print(x->run->printer->arg, &p);
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
static inline bool execute(struct core_exec *x, struct core *c, const struct core_program *p,
                           unsigned core, unsigned engine, const struct core_op *op,
                           uint32_t *ret_next)
{
    struct core_engine *e = &c->engine[engine];
    uint32_t b = op->rb != ISA_NO_REG ? e->regs[op->rb & (ISA_REGS - 1)] : (uint32_t)op->imm;
    NRT_STATUS st;

    switch ((enum core_op_kind)op->kind) {
    case OP_KERNEL: {
        const struct kernel_op *k = &p->kops[op->target];

        if ((x->rows.count != 0 || rows_begins(k)) && rows_put_kernel(x, k)) {
            x->st.flops += k->flops;
            break;
        }
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
    case OP_PRINT:
        return show(x, core, engine, op);
    case OP_MOVE:
        e->regs[op->rd] = b;
        break;
    case OP_ALU:
        e->regs[op->rd] = alu(op->sub, e->regs[op->ra], b);
        break;
    case OP_LOAD:
    case OP_STORE:
        rows_flush(x);
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
    case OP_FAULT:
        fault_strike(x, core, engine);
        return false;
    case OP_NOP:
    case OP_END:
    case OP_COVERED:
    case OP_BARRIER:
    case OP_COLLECTIVE:
        break;
    }
    return true;
}

/* CORE_BARRIER(s): `$S[s]++ peer`, then wait `$S[s]>=1`, then `$S[s]--`. True when it is through.
 */
static __attribute__((noinline)) bool barrier(struct core_exec *x, unsigned core, unsigned engine,
                                              const struct core_op *op)
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

/* A record begins, and somebody looks. */
static __attribute__((cold, noinline)) void look(struct core_exec *x, unsigned core,
                                                 unsigned engine, const struct core_op *op)
{
    if (x->check != NULL)
        check_waits(x, core, engine, op);
    if (WATCHED(x->events != NULL))
        record_start(x, x->run->program[core], core, engine, op);
}

/* The part of the records that can wait in their middle. */
static bool middle(struct core_exec *x, unsigned core, unsigned engine, const struct core_op *op)
{
    return op->kind == OP_BARRIER ? barrier(x, core, engine, op)
                                  : outside_trigger(x, core, engine, op);
}

uint32_t exec_turn(struct core_exec *x, unsigned core, unsigned engine, uint32_t max,
                   bool *ret_more)
{
    struct core *c = x->core[core];
    struct core_engine *e = &c->engine[engine];
    const struct core_program *p = x->run->program[core];
    const struct core_op *ops = p->code[engine].ops;
    uint32_t n;

    *ret_more = false;
    for (n = 0; n < max; n++) {
        const struct core_op *op = &ops[e->pc];
        uint32_t next = op->next;

        if (!e->barrier && !e->full) {
            if (op->nwaits != 0 && !e->granted) {
                e->conds = &p->waits[op->waits];
                e->nconds = op->nwaits;
                if (!conds_hold(c, e)) {
                    exec_stall(x, core, engine);
                    return n + 1;
                }
            }
            e->granted = false;
            if (__builtin_expect(x->looked, 0))
                look(x, core, engine, op);
            if (!execute(x, c, p, core, engine, op, &next))
                return n + 1;
            if (op->nread != 0)
                exec_fire(x, core, engine, &p->updates[op->updates], op->nread, TIME_EV_READ,
                          e->clock_ps);
        }
        if (op->kind >= OP_BARRIER && !middle(x, core, engine, op))
            return n + 1;
        e->clock_ps += op->cost_ps;
        e->retired += op->next - e->pc;
        if (op->ncomplete != 0)
            exec_fire(x, core, engine, &p->updates[op->updates + op->nread], op->ncomplete,
                      TIME_EV_COMPLETE, e->clock_ps);
        if (op->kind == OP_END) {
            e->ended = true;
            return n + 1;
        }
        e->pc = next;
        if (x->status != NRT_SUCCESS)
            return n + 1;
    }
    *ret_more = true;
    return n;
}
