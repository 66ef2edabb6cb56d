/* SPDX-License-Identifier: Apache-2.0 */
/* The transfers of a run: pending ones by queue set, their completion. */
#include "core/exec.h"

/* Device time of a transfer that may start at ready: one after the other within a queue set. */
static uint64_t xfer_clock(struct core *c, const struct dma_group *g, uint64_t ready)
{
    uint64_t *ps = &c->queues[g->queue].clock_ps;

    if (*ps < ready)
        *ps = ready;
    *ps += g->max_ps;
    return *ps;
}

static void check_signals(struct core_exec *x, unsigned core, const struct dma_group *g)
{
    if (g->sem >= 0)
        check_xfer_signal(x->check, core, g->queue, core, false, (unsigned)g->sem,
                          sem_load(x->core[core], (unsigned)g->sem));
    for (uint32_t i = 0; i < g->nremote; i++)
        check_xfer_signal(x->check, core, g->queue, 1 - core, false, g->remote[i],
                          sem_load(x->core[1 - core], g->remote[i]));
    if (g->event >= 0)
        check_xfer_signal(x->check, core, g->queue, core, true, (unsigned)g->event, 1);
}

/* The bytes have moved: signals, in the order of neuroncore.md 6.4. */
static void xfer_done(struct core_exec *x, unsigned core, unsigned engine,
                      const struct dma_group *g, uint32_t serial, uint64_t bytes, uint64_t ps)
{
    unsigned unit = TIME_UNIT(core, engine);

    x->st.transfers++;
    x->st.dma_bytes += bytes;
    record_event(x, TIME_EV_XFER_DONE, unit, 0, 0, 0, serial);
    if (g->sem >= 0) {
        record_event(x, TIME_EV_XFER_UPDATE, unit, (unsigned)g->sem, ISA_UPD_ADD, (int32_t)g->inc,
                     serial);
        sem_add(x, core, (unsigned)g->sem, (int32_t)g->inc, ps);
    }
    for (uint32_t i = 0; i < g->nremote; i++) {
        record_event(x, TIME_EV_XFER_UPDATE, unit, g->remote[i], ISA_UPD_ADD | TIME_OP_PEER,
                     (int32_t)g->inc, serial);
        sem_add(x, 1 - core, g->remote[i], (int32_t)g->inc, ps);
    }
    if (g->event >= 0) {
        record_event(x, TIME_EV_XFER_UPDATE, unit, (unsigned)g->event, ISA_UPD_EVENT_SET, 0,
                     serial);
        event_put(x, core, (unsigned)g->event, true, ps);
    }
    if (x->check != NULL)
        check_signals(x, core, g);
}

void exec_pending_reset(struct core_exec *x)
{
    for (unsigned i = 0; i < CORE_PENDING; i++)
        x->pending[i].next = i + 1 < CORE_PENDING ? (uint16_t)(i + 1) : CORE_NOBODY;
    x->free = 0;
    x->npending = 0;
    x->top = NULL;
}

static void queue_unlist(struct core_exec *x, struct core_queue *q)
{
    if (q->above != NULL)
        q->above->below = q->below;
    else
        x->top = q->below;
    if (q->below != NULL)
        q->below->above = q->above;
}

static void queue_put_on_top(struct core_exec *x, struct core_queue *q)
{
    q->above = NULL;
    q->below = x->top;
    if (x->top != NULL)
        x->top->above = q;
    x->top = q;
}

/* The oldest transfer of a queue set that has one. */
void xfer_run_oldest(struct core_exec *x, struct core_queue *q)
{
    uint16_t slot = q->oldest;
    uint32_t access = 0;
    struct core_pending *w = &x->pending[slot];
    struct core *c = x->core[w->core];
    const struct core_binding *b = x->run->binding[w->core];
    const struct dma_group *g = &b->program->groups[w->group];
    struct dma_where where = {c, b, 0, 0};
    uint64_t ps = xfer_clock(c, g, w->ready_ps);

    if (x->check != NULL)
        access = check_xfer_start(x->check, w->core, w->engine, w->record, g->queue, slot);
    for (uint32_t i = 0; i < g->count; i++) {
        const struct dma_plan *plan = &b->program->plans[g->first + i];

        if (x->check != NULL)
            check_plan(x, x->check, access, plan, &where);
        if (!rows_put_plan(x, plan, &where) && dma_plan_run(plan, &where))
            c->kc.nan_count++;
    }
    q->oldest = w->next;
    if (q->oldest == CORE_NOBODY)
        queue_unlist(x, q);
    w->next = x->free;
    x->free = slot;
    x->npending--;
    live_ring_tail(c, g->queue);
    xfer_done(x, w->core, w->engine, g, w->serial, g->bytes, ps);
    if (ps > x->limit_ps)
        exec_fail(x, CORE_END_TIMEOUT, NRT_TIMEOUT, w->core, w->engine);
}

void xfer_trigger(struct core_exec *x, unsigned core, unsigned engine, const struct core_op *op,
                  uint64_t ps)
{
    const struct core_program *p = x->run->program[core];
    struct core *c = x->core[core];

    for (int32_t i = 0; i < op->imm; i++) {
        struct core_queue *q = &c->queues[p->groups[op->target + (uint32_t)i].queue];
        struct core_pending *w;
        uint16_t slot;

        if (x->free == CORE_NOBODY) /* no entry left: data may move at any time */
            xfer_run_oldest(x, x->top);
        slot = x->free;
        w = &x->pending[slot];
        x->free = w->next;
        x->npending++;
        if (x->check != NULL)
            check_trigger(x->check, core, engine, slot);
        if (q->oldest == CORE_NOBODY) {
            q->oldest = slot;
            queue_put_on_top(x, q);
        } else {
            x->pending[q->newest].next = slot;
            if (x->top != q) {
                queue_unlist(x, q);
                queue_put_on_top(x, q);
            }
        }
        q->newest = slot;
        live_ring_head(c, p->groups[op->target + (uint32_t)i].queue);
        *w = (struct core_pending){.group = op->target + (uint32_t)i,
                                   .serial = x->serial++,
                                   .core = (uint8_t)core,
                                   .engine = (uint8_t)engine,
                                   .next = CORE_NOBODY,
                                   .record = c->engine[engine].pc,
                                   .ready_ps = ps + x->dma_start_ps};
        record_event(x, TIME_EV_XFER, TIME_UNIT(core, engine), 0, 0, (int32_t)w->group, w->serial);
    }
}

/* A dynamic transfer moves its data at once, after the earlier ones of its queue set: its indices
 * are read when the record starts. */
bool xfer_dynamic(struct core_exec *x, unsigned core, unsigned engine, const struct core_op *op,
                  uint64_t ps)
{
    const struct core_program *p = x->run->program[core];
    const struct core_dyn *d = &p->dyns[op->target];
    const struct dma_group *g = &p->groups[d->group];
    struct core_queue *q = &x->core[core]->queues[g->queue];
    uint32_t serial = x->serial++, access = 0;
    uint64_t bytes, done;
    NRT_STATUS st;

    while (q->oldest != CORE_NOBODY)
        xfer_run_oldest(x, q);
    rows_flush(x);
    record_event(x, TIME_EV_XFER, TIME_UNIT(core, engine), 0, 0, (int32_t)d->group, serial);
    if (x->check != NULL) {
        for (uint32_t r = 0; d->index_side != 0 && r < d->rows; r++)
            check_bytes(x, x->check, core, engine,
                        x->core[core]->kc.sbuf + d->index_off + r * x->core[core]->kc.sbuf_stride,
                        4, false);
        access = check_xfer_start(x->check, core, engine, x->core[core]->engine[engine].pc,
                                  g->queue, CORE_PENDING);
    }
    live_ring_head(x->core[core], g->queue);
    st = dyn_run(x, core, engine, d, access, &bytes, &x->report->err);
    if (st != NRT_SUCCESS) {
        x->fail_dynamic = true;
        x->fail_embedding = p->sg->queues[g->queue].type == NEFF_QUEUE_EMBEDDING_UPDATE;
        exec_fail(x, st == NRT_EXEC_OOB ? CORE_END_OOB : CORE_END_FAULT, st, core, engine);
        return false;
    }
    live_ring_tail(x->core[core], g->queue);
    done = xfer_clock(x->core[core], g, ps + x->dma_start_ps);
    xfer_done(x, core, engine, g, serial, bytes, done);
    return true;
}
