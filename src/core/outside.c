/* SPDX-License-Identifier: Apache-2.0 */
/* Where a run meets what lies outside the core (struct core_outside): engines start operations
 * there, their ends come back as signals that raise semaphores. The core decides nothing about
 * them except two things: an engine that waits is no local hang while something is outstanding, and
 * a run whose outside does nothing for longer than the limit has failed. */
#include "core/exec.h"
#include "run/run.h"

/* Steps that the outside may do between two looks at the engines, and signals taken then. */
#define STEPS   64u
#define SIGNALS 64u

/* ---- load ---- */

static NRT_STATUS range_use(struct core_program *p, uint32_t op, uint32_t var, uint64_t off,
                            uint64_t size, struct err *err)
{
    const struct neff_subgraph *sg = p->sg;

    if (var >= sg->var_count || sg->vars[var].type == NEFF_VAR_STATE_BUFFER ||
        !range_ok(off, size, sg->vars[var].size))
        return err_set(err, NRT_INVALID, "collective %u: not a range of a variable in HBM", op);
    program_use_var(p, var);
    return NRT_SUCCESS;
}

static NRT_STATUS ranges_use(struct core_program *p, uint32_t op, const struct neff_coll_range *r,
                             uint32_t count, struct err *err)
{
    uint64_t elem = dtype_size(p->sg->colls[op].dtype);
    NRT_STATUS st = NRT_SUCCESS;

    for (uint32_t i = 0; i < count && st == NRT_SUCCESS; i++) {
        if (r[i].partitions == 0)
            st = range_use(p, op, r[i].var, r[i].off, r[i].size, err);
        else if (!neff_tile_inside(&r[i], elem, p->core->kc.sbuf_bytes))
            st = err_set(err, NRT_INVALID, "collective %u: a tile outside SBUF", op);
    }
    return st;
}

NRT_STATUS outside_lower(struct core_program *p, const struct isa_seq *s, struct core_op *op,
                         struct err *err)
{
    uint32_t index = (uint32_t)s->imm;
    const struct neff_coll *c;
    NRT_STATUS st;

    if (index >= p->sg->coll_count || s->first > ISA_SEMAPHORES)
        return err_set(err, NRT_INVALID, "no collective %u, or no such semaphore", index);
    c = &p->sg->colls[index];
    st = ranges_use(p, index, c->in, c->in_count, err);
    if (st == NRT_SUCCESS)
        st = ranges_use(p, index, c->out, c->out_count, err);
    if (st == NRT_SUCCESS && c->metadata_var != NEFF_NONE)
        st = range_use(p, index, c->metadata_var, c->metadata_off, 0, err);
    if (st != NRT_SUCCESS)
        return st;
    op->kind = OP_COLLECTIVE;
    op->target = index;
    op->sub = (uint8_t)c->stream;
    op->imm = (int32_t)s->first - 1;
    if (op->imm >= 0)
        program_use_sem(p, (unsigned)op->imm);
    return NRT_SUCCESS;
}

/* ---- triggers ---- */

bool outside_trigger(struct core_exec *x, unsigned core, unsigned engine, const struct core_op *op)
{
    const struct core_binding *b = x->run->binding[core];
    struct core_engine *e = &x->core[core]->engine[engine];
    struct core_trigger t = {.core = (uint8_t)core,
                             .engine = (uint8_t)engine,
                             .record = e->pc,
                             .op = op->target,
                             .stream = op->sub,
                             .serial = x->serial,
                             .semaphore = (int16_t)op->imm,
                             .ps = e->clock_ps + op->cost_ps,
                             .recorded = WATCHED(x->events != NULL),
                             .sg = b->program->sg,
                             .binding = b};
    NRT_STATUS st = x->outside->trigger(x->outside->arg, &t, &x->report->err);

    e->full = st == NRT_QUEUE_FULL;
    if (e->full) {
        x->full |= 1u << (core * 8 + engine);
        return false;
    }
    if (st != NRT_SUCCESS) {
        exec_fail(x, CORE_END_OUTSIDE, st, core, engine);
        return false;
    }
    record_event(x, TIME_EV_COLL, TIME_UNIT(core, engine), t.stream, 0, (int32_t)op->target,
                 x->serial);
    if (x->check != NULL)
        check_coll_start(x, x->check, &t);
    x->serial++;
    (void)outside_take(x); /* it may have ended at once: then nobody has to stop and wait for it */
    return true;
}

/* ---- signals ---- */

static void record_ps(struct core_exec *x, enum time_event_kind kind, unsigned unit,
                      uint32_t serial, uint64_t ps)
{
    struct time_events *ev = x->events;
    uint64_t dropped = ev->dropped;

    record_event(x, kind, unit, 0, 0, (int32_t)(uint32_t)ps, serial);
    if (ev->dropped == dropped)
        ev->ev[ev->count - 1].extra = (uint32_t)(ps >> 32);
}

/* Somebody records the run. */
static void signal_record(struct core_exec *x, const struct core_signal *s)
{
    const struct core_trigger *t = s->of;
    unsigned unit = TIME_UNIT(t->core, t->engine);

    record_ps(x, TIME_EV_COLL_ARRIVAL, unit, t->serial, s->arrival_ps);
    record_ps(x, TIME_EV_COLL_LASTS, unit, t->serial, s->lasts_ps);
    record_ps(x, TIME_EV_COLL_ENGINES, unit, t->serial, s->engines_ps);
    record_ps(x, TIME_EV_COLL_PACKET, unit, t->serial, s->packet_ps);
    record_event(x, TIME_EV_XFER_DONE, unit, 0, 0, 0, t->serial);
    if (t->semaphore >= 0)
        record_event(x, TIME_EV_XFER_UPDATE, unit, (unsigned)t->semaphore, ISA_UPD_INC, 1,
                     t->serial);
}

static void signal_apply(struct core_exec *x, const struct core_signal *s)
{
    const struct core_trigger *t = s->of;
    uint64_t ps = t->ps;

    if (t->core >= x->count || t->engine >= ISA_ENGINES || t->semaphore >= ISA_SEMAPHORES ||
        t->stream >= TOPO_MAX_STREAMS) {
        err_set(&x->report->err, NRT_FAILURE, "a signal for core %u engine %u semaphore %d",
                t->core, t->engine, t->semaphore);
        exec_fail(x, CORE_END_OUTSIDE, NRT_FAILURE, 0, 0);
        return;
    }
    if (s->status != NRT_SUCCESS) {
        err_set(&x->report->err, s->status, "%s",
                s->text != NULL ? s->text : "an operation outside failed");
        exec_fail(x, CORE_END_OUTSIDE, s->status, t->core, t->engine);
        return;
    }
    if (ps < s->arrival_ps)
        ps = s->arrival_ps;
    if (ps < x->stream_ps[t->stream])
        ps = x->stream_ps[t->stream]; /* the one before has ended */
    if (u64_add_over(ps, s->lasts_ps, &ps))
        ps = UINT64_MAX;
    x->stream_ps[t->stream] = ps;
    if (x->outside_ps < ps)
        x->outside_ps = ps;
    if (WATCHED(x->events != NULL))
        signal_record(x, s);
    if (t->semaphore >= 0) {
        sem_add(x, t->core, (unsigned)t->semaphore, 1, ps);
        if (x->check != NULL)
            check_coll_signal(x->check, t, sem_load(x->core[t->core], (unsigned)t->semaphore));
    }
    if (ps > x->limit_ps)
        exec_fail(x, CORE_END_TIMEOUT, NRT_TIMEOUT, t->core, t->engine);
}

static bool may_take(const struct core_outside *o)
{
    return o->signals == NULL || *o->signals != 0;
}

uint64_t outside_take(struct core_exec *x)
{
    struct core_signal s;
    uint64_t n = 0;

    while (n < SIGNALS && x->status == NRT_SUCCESS && may_take(x->outside) &&
           x->outside->take(x->outside->arg, &s)) {
        signal_apply(x, &s);
        n++;
    }
    if (n > 0) { /* there may be room in a stream */
        x->ready |= x->full;
        x->full = 0;
    }
    return n;
}

uint64_t outside_progress(struct core_exec *x, uint64_t budget)
{
    return x->outside->progress(x->outside->arg, budget < STEPS ? budget : STEPS);
}

bool outside_poll(struct core_exec *x)
{
    return x->outside->poll != NULL && x->outside->poll(x->outside->arg);
}

/* ---- the end ---- */

/* The engine to name: the first that waits, else (all ended, an operation did not) the first. */
static void blame(const struct core_exec *x, unsigned *ret_core, unsigned *ret_engine)
{
    bool found = false;

    *ret_core = *ret_engine = 0;
    for (unsigned u = 0; u < x->count * 8; u++) {
        const struct core_engine *e = &x->core[u / 8]->engine[u % 8];

        if (u % 8 >= ISA_ENGINES || !e->present || (found && e->ended))
            continue;
        *ret_core = u / 8;
        *ret_engine = u % 8;
        if (!e->ended)
            return;
        found = true;
    }
}

bool outside_stalls(struct core_exec *x)
{
    const struct core_outside *o = x->outside;
    uint64_t now, beat;
    unsigned core, engine;

    if (x->run->timeout_ns == 0)
        return false;
    now = exec_now_ns(x->run);
    beat = o->beat != NULL ? o->beat(o->arg) : 0;
    if (!x->stalls || beat != x->stall_beat) {
        x->stalls = true;
        x->stall_beat = beat;
        x->stall_since = now;
        return false;
    }
    if (now - x->stall_since < x->run->timeout_ns)
        return false;
    blame(x, &core, &engine);
    exec_fail(x, CORE_END_STALL, NRT_TIMEOUT, core, engine);
    return true;
}

void outside_wait(struct core *core)
{
    const struct core_exec *x = core->exec;
    uint64_t limit = UINT64_MAX, now;

    if (x->ended || x->outside == NULL || x->outside->wait == NULL)
        return;
    if (x->stalls) {
        now = exec_now_ns(x->run) - x->stall_since;
        limit = now < x->run->timeout_ns ? x->run->timeout_ns - now : 0;
    }
    x->outside->wait(x->outside->arg, limit);
}

/* For what lies outside, before the report is made. */
static const char *end_text(enum core_end end)
{
    switch (end) {
    case CORE_END_HANG:
        return "nothing outstanding can wake an engine that waits";
    case CORE_END_TIMEOUT:
        return "its device time is over";
    case CORE_END_OOB:
        return "an access out of bounds";
    case CORE_END_CANCELLED:
        return "it was cancelled";
    case CORE_END_STALL:
        return "what it waits for did nothing for the time that it has";
    default:
        return "it has failed";
    }
}

void outside_end(struct core_exec *x)
{
    const char *why = x->report->err.text;

    if (x->outside->outstanding(x->outside->arg))
        x->outside->abandon(x->outside->arg, why[0] != '\0' ? why : end_text(x->end));
}
