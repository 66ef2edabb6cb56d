/* SPDX-License-Identifier: Apache-2.0 */
/* Vector clocks of OPENNRT_CHECK: updates release a strand's clock into a semaphore or event, waits
 * take it from there. */
#include "core/check_int.h"

#include <string.h>

void check_join(struct clock *to, const struct clock *from)
{
    for (unsigned i = 0; i < STRANDS; i++)
        if (to->at[i] < from->at[i])
            to->at[i] = from->at[i];
}

unsigned check_strand(unsigned core, unsigned engine)
{
    return core * ISA_ENGINES + engine;
}

static bool is_event(unsigned wait_kind)
{
    return wait_kind == ISA_WAIT_EVENT_SET || wait_kind == ISA_WAIT_EVENT_CLEAR;
}

static bool value_holds(unsigned kind, int32_t have, int32_t want)
{
    switch (kind) {
    case ISA_WAIT_SEM_GE:
        return have >= want;
    case ISA_WAIT_SEM_EQ:
        return have == want;
    default:
        return have == (kind == ISA_WAIT_EVENT_SET);
    }
}

/* A wait that holds: its strand now follows the update that made it hold, the first of the latest
 * run of values for which it does. */
void check_wait(struct core_check *k, unsigned core, unsigned engine, const struct core_cond *w,
                int32_t want)
{
    const struct history *h = is_event(w->kind) ? k->event[core][w->index] : k->sem[core][w->index];
    uint64_t i, oldest;

    if (h == NULL || h->count == 0)
        return;
    oldest = h->count > HISTORY ? h->count - HISTORY : 0;
    i = h->count;
    while (i > oldest && !value_holds(w->kind, h->past[(i - 1) % HISTORY].value, want))
        i--;
    while (i > oldest && value_holds(w->kind, h->past[(i - 1) % HISTORY].value, want))
        i--;
    if (i == h->count || (i == 0 && value_holds(w->kind, 0, want)))
        return; /* the initial value was enough */
    check_join(&k->strand[check_strand(core, engine)], &h->past[i % HISTORY].vc);
}

void check_release(struct core_check *k, unsigned strand, unsigned to, bool event, unsigned index,
                   int32_t value, bool assign)
{
    struct history **h = event ? &k->event[to][index] : &k->sem[to][index];
    struct past *p;

    if (*h == NULL)
        *h = mem_zalloc(sizeof(**h));
    if (*h == NULL) {
        k->no_memory = true;
        return;
    }
    p = &(*h)->past[(*h)->count % HISTORY];
    if ((*h)->count == 0 || assign)
        memset(&p->vc, 0, sizeof(p->vc));
    else
        p->vc = (*h)->past[((*h)->count - 1) % HISTORY].vc;
    check_join(&p->vc, &k->strand[strand]);
    p->value = value;
    (*h)->count++;
    k->strand[strand].at[strand]++;
}

void check_update(struct core_check *k, unsigned core, unsigned engine, unsigned to, unsigned kind,
                  unsigned index, int32_t value)
{
    bool event = kind == ISA_UPD_EVENT_SET || kind == ISA_UPD_EVENT_CLEAR;

    check_release(k, check_strand(core, engine), to, event, index, value,
                  event || kind == ISA_UPD_WRITE);
}
