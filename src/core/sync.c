/* SPDX-License-Identifier: Apache-2.0 */
/* Semaphores and events of a run: updates, and the engines that wait for them. */
#include "core/exec.h"

#define MOMENT_WORK (1u << 20) /* flops and bytes, for which one look at the clock does */

/* The host's time, or shortly before: a look at the clock for each of an engine's many short waits
 * would cost as much as the wait. */
static uint64_t exec_moment(struct core_exec *x)
{
    uint64_t work = x->st.flops + x->st.dma_bytes;

    if (x->moment_left == 0 || work - x->moment_work >= MOMENT_WORK) {
        x->moment_ns = exec_now_ns(x->run);
        x->moment_left = EXEC_MOMENTS;
        x->moment_work = work;
    }
    x->moment_left--;
    return x->moment_ns;
}

/* The engine waits: it is a waiter of every name its conditions mention, and each change of one of
 * them tests all conditions at that moment, so that a value that passes is not missed. */
void exec_stall(struct core_exec *x, unsigned core, unsigned engine)
{
    struct core *c = x->core[core];
    struct core_engine *e = &c->engine[engine];
    uint16_t bit = (uint16_t)(1u << (core * 8 + engine));

    for (unsigned i = 0; i < e->nconds; i++) {
        const struct core_cond *w = &e->conds[i];

        if (w->kind == ISA_WAIT_SEM_GE || w->kind == ISA_WAIT_SEM_EQ)
            c->sem_waiters[w->index] |= bit;
        else {
            c->event_waiters[w->index] |= bit;
            c->waiting_events = true;
        }
    }
    e->stalled = true;
    e->since_ns = exec_moment(x);
}

static void unstall(struct core *c, struct core_engine *e, uint16_t bit)
{
    for (unsigned i = 0; i < e->nconds; i++) {
        const struct core_cond *w = &e->conds[i];

        if (w->kind == ISA_WAIT_SEM_GE || w->kind == ISA_WAIT_SEM_EQ)
            c->sem_waiters[w->index] &= (uint16_t)~bit;
        else
            c->event_waiters[w->index] &= (uint16_t)~bit;
    }
    e->stalled = false;
}

/* Something that `waiters` look at changed at device time ps. */
static void wake(struct core_exec *x, uint16_t waiters, uint64_t ps)
{
    while (waiters != 0) {
        unsigned u = (unsigned)__builtin_ctz(waiters);
        struct core *c = x->core[u / 8];
        struct core_engine *e = &c->engine[u % 8];
        uint16_t bit = (uint16_t)(1u << u);

        waiters &= (uint16_t)~bit;
        if (!conds_hold(c, e))
            continue;
        unstall(c, e, bit);
        e->granted = true;
        if (e->clock_ps < ps)
            e->clock_ps = ps;
        x->ready |= bit;
    }
}

void sem_add(struct core_exec *x, unsigned core, unsigned i, int32_t delta, uint64_t ps)
{
    struct core *c = x->core[core];
    int32_t v;

    if (__builtin_add_overflow(sem_load(c, i), delta, &v))
        x->st.sem_errors++; /* v is the wrapped value */
    __atomic_store_n(&c->sem[i], v, __ATOMIC_RELAXED);
    if (c->sem_waiters[i] != 0)
        wake(x, c->sem_waiters[i], ps);
}

void sem_sub(struct core_exec *x, unsigned core, unsigned i, int32_t delta, uint64_t ps)
{
    struct core *c = x->core[core];
    int32_t v;

    if (__builtin_sub_overflow(sem_load(c, i), delta, &v))
        x->st.sem_errors++;
    __atomic_store_n(&c->sem[i], v, __ATOMIC_RELAXED);
    if (c->sem_waiters[i] != 0)
        wake(x, c->sem_waiters[i], ps);
}

void sem_set(struct core_exec *x, unsigned core, unsigned i, int32_t v, uint64_t ps)
{
    struct core *c = x->core[core];

    __atomic_store_n(&c->sem[i], v, __ATOMIC_RELAXED);
    if (c->sem_waiters[i] != 0)
        wake(x, c->sem_waiters[i], ps);
}

void event_put(struct core_exec *x, unsigned core, unsigned i, bool set, uint64_t ps)
{
    struct core *c = x->core[core];

    if (event_get(c, i) == set)
        x->st.event_errors++; /* double set or double clear */
    if (set)
        c->events[i / 64] |= UINT64_C(1) << i % 64;
    else
        c->events[i / 64] &= ~(UINT64_C(1) << i % 64);
    if (c->event_waiters[i] != 0)
        wake(x, c->event_waiters[i], ps);
}

void exec_fire(struct core_exec *x, unsigned core, unsigned engine, const struct core_upd *u,
               unsigned n, enum time_event_kind kind, uint64_t ps)
{
    const uint32_t *regs = x->core[core]->engine[engine].regs;

    for (; n > 0; n--, u++) {
        int32_t v = u->reg != ISA_NO_REG ? (int32_t)regs[u->reg] : u->value;
        unsigned to = u->peer ? 1 - core : core;

        record_event(x, kind, TIME_UNIT(core, engine), u->index,
                     u->kind | (u->peer ? TIME_OP_PEER : 0u), v, 0);
        switch (u->kind) {
        case ISA_UPD_INC:
            sem_add(x, to, u->index, 1, ps);
            break;
        case ISA_UPD_DEC:
            sem_sub(x, to, u->index, 1, ps);
            break;
        case ISA_UPD_ADD:
            sem_add(x, to, u->index, v, ps);
            break;
        case ISA_UPD_SUB:
            sem_sub(x, to, u->index, v, ps);
            break;
        case ISA_UPD_WRITE:
            sem_set(x, to, u->index, v, ps);
            break;
        case ISA_UPD_EVENT_SET:
            event_put(x, to, u->index, true, ps);
            break;
        case ISA_UPD_EVENT_CLEAR:
            event_put(x, to, u->index, false, ps);
            break;
        default:
            break;
        }
        if (x->check != NULL)
            check_update(x->check, core, engine, to, u->kind, u->index,
                         u->kind == ISA_UPD_EVENT_SET || u->kind == ISA_UPD_EVENT_CLEAR
                             ? u->kind == ISA_UPD_EVENT_SET
                             : sem_load(x->core[to], u->index));
    }
}
