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

void live_start(struct core *c, const struct core_run *run)
{
    struct device_live_page *p = c->live;
    uint64_t now = run->start_ns != 0 ? run->start_ns : run_now_ns();

    STORE(p->since_us, now / 1000);
    STORE(p->neff, run->neff);
    STORE(p->op_seq, LOAD(p->op_seq) + 1);
    STORE(p->beat, LOAD(p->beat) + 1);
}

void live_engine(struct core *c, unsigned engine)
{
    struct device_live_engine *l = &c->live->engine[engine];
    const struct core_engine *e = &c->engine[engine];

    STORE(l->pc, e->pc);
    STORE(l->ended, e->ended);
    STORE(l->retired, e->retired);
    if (e->stalled && e->nconds > 0) {
        const struct core_cond *w = &e->conds[0];

        STORE(l->wait_kind, DEVICE_WAIT_SEMAPHORE);
        STORE(l->wait_id, w->index);
        STORE(l->wait_value, w->reg != ISA_NO_REG ? (int32_t)e->regs[w->reg] : w->value);
        STORE(l->wait_have, core_semaphore(c, w->index));
    } else {
        STORE(l->wait_kind, DEVICE_WAIT_NOTHING);
    }
    STORE(c->live->beat, LOAD(c->live->beat) + 1);
}

void live_end(struct core *c)
{
    struct device_live_page *p = c->live;
    uint64_t retired = 0;

    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        retired += c->engine[e].present ? c->engine[e].retired : 0;
        if (c->engine[e].present)
            live_engine(c, e);
    }
    for (unsigned i = 0; i < ISA_EVENTS / 32; i++)
        STORE(p->events[i], (uint32_t)(c->events[i / 2] >> (i % 2 * 32)));
    STORE(p->retired, LOAD(p->retired) + retired);
    STORE(p->neff, DEVICE_NONE);
    STORE(p->op_done, LOAD(p->op_done) + 1);
}
