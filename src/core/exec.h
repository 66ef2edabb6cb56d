/* SPDX-License-Identifier: Apache-2.0 */
/* Private to core/: what loop.c, sync.c and xfer.c share while a run goes on. */
#ifndef CORE_EXEC_H
#define CORE_EXEC_H

#include "base/watched.h"
#include "core/core_int.h"
#include "run/run.h"

static inline void record_event(struct core_exec *x, enum time_event_kind kind, unsigned unit,
                                unsigned index, unsigned op, int32_t value, uint32_t id)
{
    struct time_events *ev = x->events;

    if (!WATCHED(ev != NULL))
        return;
    if (ev->count == ev->cap) {
        ev->dropped++;
        return;
    }
    ev->ev[ev->count++] = (struct time_event){.kind = (uint8_t)kind,
                                              .unit = (uint8_t)unit,
                                              .index = (uint8_t)index,
                                              .op = (uint8_t)op,
                                              .value = value,
                                              .id = id,
                                              .extra = 0};
}

static inline int32_t sem_load(const struct core *c, unsigned i)
{
    return __atomic_load_n(&c->sem[i], __ATOMIC_RELAXED);
}

static inline bool event_get(const struct core *c, unsigned i)
{
    return (c->events[i / 64] >> i % 64 & 1) != 0;
}

static inline bool cond_holds(const struct core *c, const struct core_engine *e,
                              const struct core_cond *w)
{
    int32_t want = w->reg != ISA_NO_REG ? (int32_t)e->regs[w->reg] : w->value;

    switch (w->kind) {
    case ISA_WAIT_SEM_GE:
        return sem_load(c, w->index) >= want;
    case ISA_WAIT_SEM_EQ:
        return sem_load(c, w->index) == want;
    case ISA_WAIT_EVENT_SET:
        return event_get(c, w->index);
    case ISA_WAIT_EVENT_CLEAR:
        return !event_get(c, w->index);
    default:
        return true;
    }
}

static inline bool conds_hold(const struct core *c, const struct core_engine *e)
{
    for (unsigned i = 0; i < e->nconds; i++)
        if (!cond_holds(c, e, &e->conds[i]))
            return false;
    return true;
}

/* loop.c: the first failure ends the run. */
void exec_fail(struct core_exec *x, enum core_end end, NRT_STATUS status, unsigned core,
               unsigned engine);

/* engine.c: run at most max records, until the engine waits, ends or fails. *ret_more: it did none
 * of these. Returns how many records it looked at. */
uint32_t exec_turn(struct core_exec *x, unsigned core, unsigned engine, uint32_t max,
                   bool *ret_more);

/* outside.c: the calls into the table of core_outside. All but trigger need x->outside. */
/* OP_COLLECTIVE; false: the engine cannot go on now, or the run failed. */
bool outside_trigger(struct core_exec *x, unsigned core, unsigned engine, const struct core_op *op);
uint64_t outside_progress(struct core_exec *x, uint64_t budget); /* steps done */
bool outside_poll(struct core_exec *x);
uint64_t outside_take(struct core_exec *x); /* signals taken */
/* The core can do nothing by itself and nothing came: true when that has lasted for the wall-time
 * limit, and the run has failed. */
bool outside_stalls(struct core_exec *x);
void outside_end(struct core_exec *x); /* of the run */

static inline uint64_t exec_now_ns(const struct core_run *run)
{
    return run->now_ns != NULL ? run->now_ns(run->now_arg) : run_now_ns();
}

#define EXEC_MOMENTS 16u /* waits that begin, for which one look at the clock does: exec_stall */

/* sync.c. ps: device time of the change. */
void exec_stall(struct core_exec *x, unsigned core, unsigned engine);
void sem_add(struct core_exec *x, unsigned core, unsigned i, int32_t delta, uint64_t ps);
void sem_sub(struct core_exec *x, unsigned core, unsigned i, int32_t delta, uint64_t ps);
void sem_set(struct core_exec *x, unsigned core, unsigned i, int32_t v, uint64_t ps);
void event_put(struct core_exec *x, unsigned core, unsigned i, bool set, uint64_t ps);
/* n updates of an engine, in their order. */
void exec_fire(struct core_exec *x, unsigned core, unsigned engine, const struct core_upd *u,
               unsigned n, enum time_event_kind kind, uint64_t ps);

/* xfer.c */
void xfer_run_oldest(struct core_exec *x, struct core_queue *q);
void xfer_trigger(struct core_exec *x, unsigned core, unsigned engine, const struct core_op *op,
                  uint64_t ps);
/* DMA_DYN; false: the run failed. */
bool xfer_dynamic(struct core_exec *x, unsigned core, unsigned engine, const struct core_op *op,
                  uint64_t ps);

/* rows.c. Put: true if the op or plan was put off; false if the caller must run it now, before
 * which what was put off earlier has run, as far as it matters. */
bool rows_put_kernel(struct core_exec *x, const struct kernel_op *op);
/* Whether an op is worth putting off though no transfer has been: its largest operand would push
 * out of the second-level cache what the next op may want of it. */
#define ROWS_BEGIN_BYTES (1u << 20)
static inline bool rows_begins(const struct kernel_op *op)
{
    return op->rows * op->row_bytes >= ROWS_BEGIN_BYTES;
}
bool rows_put_plan(struct core_exec *x, const struct dma_plan *plan, const struct dma_where *where);
/* Run all that was put off. */
void rows_run(struct core_exec *x);
static inline void rows_flush(struct core_exec *x)
{
    if (x->rows.count != 0)
        rows_run(x);
}

#endif
