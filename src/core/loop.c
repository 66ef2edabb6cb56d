/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of an execution (decision 8): engines run one after the other, each until it waits;
 * transfers run when no engine can. The order depends on program and inputs only: of the engines
 * that can go on, the one with the lowest number (core 0 before core 1; pe, dve, act, pool, sp);
 * of the queue sets with pending transfers, the one triggered last
 * (what an engine has just made ready is still in the cache), its oldest transfer. Nothing here
 * allocates or makes a system call. */
#include "core/exec.h"

#include <string.h>

#define TURN         4096 /* records an engine runs before the others are looked at */
#define REGS_AT_ONCE 8
#define OUTSIDE      64 /* and before the outside may work, which no order depends on */

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

/* ---- the execution ---- */

/* In pieces that a compiler writes as stores: for all of them at once GCC takes rep stos, which
 * needs longer to begin than an execution of nothing has for ten other things. */
static void regs_clear(struct core_engine *en)
{
#pragma GCC unroll 8
    for (unsigned r = 0; r < ISA_REGS; r += REGS_AT_ONCE)
        memset(en->regs + r, 0, REGS_AT_ONCE * sizeof(en->regs[0]));
}

static void engine_start(struct core_engine *en)
{
    en->pc = 0;
    en->ended = en->stalled = en->granted = en->barrier = en->full = false;
    en->nconds = 0;
    en->clock_ps = 0;
    en->retired = 0;
    regs_clear(en);
}

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
    if (c->engines != p->engines)
        for (unsigned e = 0; e < ISA_ENGINES; e++)
            c->engine[e].present = (p->engines >> e & 1) != 0;
    c->engines = p->engines;
    for (uint32_t left = p->engines; left != 0; left &= left - 1)
        engine_start(&c->engine[__builtin_ctz(left)]);
    x->ready |= p->engines << core * 8;
    kernel_core_start(&c->kc);
    c->kc.stochastic_rounding = p->opt.stochastic_rounding;
    c->kc.check_nan = p->opt.check_nan;
    c->kc.saturate_ocp = p->opt.saturate_ocp;
    if (p->opt.stochastic_rounding && (!c->sr_seeded || c->sr_seed != p->opt.sr_seed))
        core_seed_sr(c, p->opt.sr_seed);
    if (c->live != NULL) {
        live_rings_clear(c, p->sg->queue_count);
        live_start(c, x->run);
    }
}

NRT_STATUS loop_start(const struct core_run *run, struct core_report *report)
{
    struct core_exec *x = run->program[0]->core->exec;

    x->run = run;
    x->report = report;
    x->count = run->count;
    x->ready = x->later = x->full = 0;
    x->ended = false;
    x->turn_left = 0;
    x->outside_ps = 0;
    memset(x->stream_ps, 0, sizeof(x->stream_ps));
    x->stalls = false;
    x->moment_ns = run->start_ns;
    x->moment_left = run->start_ns != 0 ? EXEC_MOMENTS : 0;
    x->moment_work = 0;
    x->serial = 0;
    if (x->npending != 0) /* a failed run left some */
        exec_pending_reset(x);
    x->status = NRT_SUCCESS;
    x->end = CORE_END_DONE;
    x->fail_dynamic = x->fail_embedding = false;
    x->events = run->events;
    x->limit_ps = run->timeout_ns == 0 || run->timeout_ns > UINT64_MAX / 1000
                      ? UINT64_MAX
                      : run->timeout_ns * 1000;
    memset(&x->st, 0, sizeof(x->st));
    memset(x->sems_used, 0, sizeof(x->sems_used));
    for (unsigned i = 0; i < run->count; i++) {
        const struct core_program *p = run->program[i];

        x->core[i] = p->core;
        for (unsigned w = 0; w < 4; w++)
            x->sems_used[w] |= p->sems_used[w];
    }
    x->outside = run->program[0]->opt.outside;
    x->check = run->program[0]->check;
    x->looked = x->check != NULL || WATCHED(x->events != NULL);
    if (x->check != NULL && !check_start(x->check, x))
        return err_set(&report->err, NRT_RESOURCE, "out of memory for checks");
    if (__builtin_expect(run->fault != NULL, 0) && !fault_begin(x))
        return err_set(&report->err, NRT_RESOURCE, "out of memory for a fault on demand");
    x->dma_start_ps = run->program[0]->dma_start_ps;
    for (unsigned i = 0; i < run->count; i++)
        start_core(x, i);
    return NRT_SUCCESS;
}

static bool cancelled(const struct core_run *run)
{
    return run->cancel != NULL && __atomic_load_n(run->cancel, __ATOMIC_RELAXED) != 0;
}

/* ---- progress ---- */

/* The turn of the lowest engine that can go on, or the rest of one that a budget cut: what comes
 * next must not depend on budgets. */
static uint64_t turn(struct core_exec *x, uint64_t budget)
{
    unsigned u;
    uint32_t did;
    struct core *c;
    bool more;

    if (x->turn_left == 0) {
        x->turn_unit = (uint8_t)__builtin_ctz(x->ready);
        x->turn_left = TURN;
        x->ready &= x->ready - 1;
    }
    u = x->turn_unit;
    c = x->core[u / 8];
    did =
        exec_turn(x, u / 8, u % 8, x->turn_left < budget ? x->turn_left : (uint32_t)budget, &more);
    x->turn_left = more ? x->turn_left - did : 0;
    if (more && x->turn_left == 0)
        x->later |= 1u << u;
    if (c->engine[u % 8].clock_ps > x->limit_ps)
        exec_fail(x, CORE_END_TIMEOUT, NRT_TIMEOUT, u / 8, u % 8);
    if (c->live != NULL)
        live_engine(c, u % 8);
    return did;
}

/* No engine can go on: signals from outside, then one transfer, then the engines that had used up
 * their turn. Returns what it did; 0: nothing is left to do here. */
static uint64_t round_end(struct core_exec *x)
{
    uint64_t did = 0;

    if (cancelled(x->run)) {
        exec_fail(x, CORE_END_CANCELLED, NRT_FAILURE, 0, 0);
        return 0;
    }
    if (x->outside != NULL)
        did = outside_take(x);
    if (x->top != NULL && x->status == NRT_SUCCESS) {
        xfer_run_oldest(x, x->top);
        did++;
    }
    x->ready |= x->later;
    x->later = 0;
    return did;
}

/* Nothing moves any more: did everybody end? The end is decided here; core_finish reports it. */
static enum core_step settle(struct core_exec *x)
{
    uint64_t nan = 0, ps = 0;

    rows_flush(x);
    for (unsigned i = 0; i < x->count; i++) {
        struct core *c = x->core[i];

        nan += c->kc.nan_count;
        for (uint32_t engines = c->engines; engines != 0; engines &= engines - 1) {
            unsigned e = (unsigned)__builtin_ctz(engines);

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
    if (x->outside != NULL && x->status != NRT_SUCCESS) /* else nothing is outstanding: advance */
        outside_end(x);
    x->st.nan_count = nan;
    x->st.device_ns = (ps > x->outside_ps ? ps : x->outside_ps) / 1000;
    if (x->check != NULL && x->status == NRT_SUCCESS) {
        NRT_STATUS st = check_finish(x->check, &x->report->err);

        if (st != NRT_SUCCESS)
            exec_fail(x, CORE_END_CHECK, st, 0, 0);
    }
    if (x->status == NRT_SUCCESS && nan > 0)
        x->status = NRT_EXEC_COMPLETED_WITH_NUM_ERR;
    x->ended = true;
    return x->end == CORE_END_DONE ? CORE_STEP_DONE : CORE_STEP_FAILED;
}

static enum core_step advance(struct core_exec *x, uint64_t *left)
{
    for (;;) {
        uint64_t did;

        while ((x->ready | x->turn_left) != 0) {
            if (*left == 0)
                return CORE_STEP_BUDGET;
            did = turn(x, x->outside != NULL && *left > OUTSIDE ? OUTSIDE : *left);
            *left -= did;
            if (x->status != NRT_SUCCESS)
                return settle(x);
            if (x->outside != NULL && (x->ready | x->turn_left) != 0)
                (void)outside_progress(x, *left);
        }
        if (*left == 0)
            return CORE_STEP_BUDGET;
        did = round_end(x);
        *left -= did < *left ? did : *left;
        if (x->status != NRT_SUCCESS)
            return settle(x);
        if (did != 0 || x->ready != 0)
            continue;
        if (x->outside == NULL || !x->outside->outstanding(x->outside->arg))
            return settle(x);
        did = outside_progress(x, *left);
        if (did == 0 && outside_poll(x))
            did = 1;
        if (did == 0)
            return CORE_STEP_OUTSIDE;
        *left -= did < *left ? did : *left;
    }
}

enum core_step loop_run(struct core *core, uint64_t budget, uint64_t *ret_did)
{
    struct core_exec *x = core->exec;
    uint64_t left = budget;
    enum core_step step;

    if (x->ended)
        return x->end == CORE_END_DONE ? CORE_STEP_DONE : CORE_STEP_FAILED;
    if (cancelled(x->run)) {
        exec_fail(x, CORE_END_CANCELLED, NRT_FAILURE, 0, 0);
        return settle(x);
    }
    /* busy engines do not keep the outside from working, once they have started something */
    if (x->outside != NULL && x->serial != 0 && outside_progress(x, left) != 0)
        x->stalls = false;
    step = advance(x, &left);
    rows_flush(x); /* nothing stays put off between two steps */
    if (left != budget)
        x->stalls = false;
    if (step < CORE_STEP_DONE)
        x->moment_left = 0; /* until it goes on, time may pass */
    if (step == CORE_STEP_OUTSIDE && outside_stalls(x))
        step = settle(x);
    *ret_did = budget - left;
    return step;
}

NRT_STATUS loop_finish(struct core *core)
{
    struct core_exec *x = core->exec;
    struct core_report *report = x->report;

    if (!x->ended) {
        exec_fail(x, CORE_END_CANCELLED, NRT_FAILURE, 0, 0);
        settle(x);
    }
    report->status = x->status;
    report->end = x->end;
    report->stats = x->st;
    if (x->end != CORE_END_DONE)
        report_fill(x);
    if (__builtin_expect(x->run->fault != NULL, 0))
        fault_end(x);
    return report->status;
}
