/* SPDX-License-Identifier: Apache-2.0 */
/* What the core shows of itself to other processes and to whoever reads after its death: relaxed
 * stores into the live page, at the start and end of runs and when an engine stops to wait. */
#include "core/core_int.h"

#include <stdatomic.h>

#include "device/device.h"
#include "run/run.h"

#define STORE(field, v) atomic_store_explicit(&(field), (v), memory_order_relaxed)
#define LOAD(field)     atomic_load_explicit(&(field), memory_order_relaxed)

static_assert(DEVICE_SEMS == ISA_SEMAPHORES, "one live slot per semaphore");
static_assert(sizeof(_Atomic int32_t) == sizeof(int32_t), "semaphores are plain words");

/* The semaphores of a core with a live page are the page's: always current for a reader. The core
 * accesses them with __atomic builtins only. */
int32_t *live_semaphores(struct device_live_page *live)
{
    return (int32_t *)(void *)live->sems;
}

/* Index of the core in its run. */
static unsigned index_of(const struct core *c, const struct core_run *run)
{
    return run->count > 1 && run->program[1]->core == c;
}

/* Where whoever reads the page finds what the program counters count. */
static void live_program(struct core *c, const struct core_run *run)
{
    struct device_live_page *p = c->live;
    unsigned i = index_of(c, run);

    STORE(p->last_neff, run->neff);
    STORE(p->code_addr, run->code_addr[i]);
    STORE(p->code_bytes, run->code_bytes[i]);
}

void live_start(struct core *c, const struct core_run *run)
{
    struct device_live_page *p = c->live;
    uint64_t now = run->start_ns != 0 ? run->start_ns : run_now_ns();

    STORE(p->since_us, now / 1000);
    STORE(p->neff, run->neff);
    c->shown = run->program[index_of(c, run)];
    if (LOAD(p->last_neff) != run->neff)
        live_program(c, run);
    STORE(p->op_seq, LOAD(p->op_seq) + 1);
    STORE(p->beat, LOAD(p->beat) + 1);
}

/* The first condition of a stalled engine that does not hold. False: there is none. */
static bool live_wait(struct core *c, const struct core_engine *e, struct device_live_engine *l)
{
    for (unsigned i = 0; e->stalled && i < e->nconds; i++) {
        const struct core_cond *w = &e->conds[i];
        int32_t want = w->reg != ISA_NO_REG ? (int32_t)e->regs[w->reg] : w->value;
        bool least = w->kind == ISA_WAIT_SEM_GE, sem = least || w->kind == ISA_WAIT_SEM_EQ;
        int32_t have = sem ? core_semaphore(c, w->index) : core_event(c, w->index);

        if (!sem)
            want = w->kind == ISA_WAIT_EVENT_SET;
        if (least ? have >= want : have == want)
            continue;
        STORE(l->wait_kind, !sem    ? DEVICE_WAIT_EVENT
                            : least ? DEVICE_WAIT_SEMAPHORE
                                    : DEVICE_WAIT_SEMAPHORE_EQUAL);
        STORE(l->wait_id, w->index);
        STORE(l->wait_value, want);
        STORE(l->wait_have, have);
        STORE(l->since_us, e->since_ns / 1000);
        return true;
    }
    return false;
}

void live_engine(struct core *c, unsigned engine)
{
    struct device_live_engine *l = &c->live->engine[engine];
    const struct core_engine *e = &c->engine[engine];

    STORE(l->pc, e->pc);
    STORE(l->opcode, c->shown->code[engine].opcodes[e->pc]);
    STORE(l->ended, e->ended);
    STORE(l->retired, e->retired);
    if (!live_wait(c, e, l))
        STORE(l->wait_kind, DEVICE_WAIT_NOTHING);
    STORE(c->live->beat, LOAD(c->live->beat) + 1);
}

/* Queue sets past the page's rings are not shown. */
void live_rings_clear(struct core *c, uint32_t queues)
{
    for (uint32_t q = 0; q < queues && q < DEVICE_RINGS; q++) {
        STORE(c->live->ring_head[q], 0);
        STORE(c->live->ring_tail[q], 0);
    }
}

void live_ring_head(struct core *c, uint32_t queue)
{
    if (c->live != NULL && queue < DEVICE_RINGS)
        STORE(c->live->ring_head[queue], LOAD(c->live->ring_head[queue]) + 1);
}

void live_ring_tail(struct core *c, uint32_t queue)
{
    if (c->live != NULL && queue < DEVICE_RINGS)
        STORE(c->live->ring_tail[queue], LOAD(c->live->ring_tail[queue]) + 1);
}

/* Most runs set none, and the page shows none. */
static void live_events(struct core *c)
{
    bool none = (c->events[0] | c->events[1] | c->events[2] | c->events[3]) == 0;

    if (none && c->no_events)
        return;
    for (unsigned i = 0; i < ISA_EVENTS / 32; i++)
        STORE(c->live->events[i], (uint32_t)(c->events[i / 2] >> (i % 2 * 32)));
    c->no_events = none;
}

void live_end(struct core *c)
{
    struct device_live_page *p = c->live;
    uint64_t retired = 0;

    for (uint32_t left = c->engines; left != 0; left &= left - 1) {
        unsigned e = (unsigned)__builtin_ctz(left);

        retired += c->engine[e].retired;
        if (!c->engine[e].ended) /* else its last turn has shown it */
            live_engine(c, e);
    }
    live_events(c);
    STORE(p->retired, LOAD(p->retired) + retired);
    STORE(p->neff, DEVICE_NONE);
    STORE(p->op_done, LOAD(p->op_done) + 1);
}
