/* SPDX-License-Identifier: Apache-2.0 */
/* What a core's DMA queue sets were left with, as lines of a core dump. */
#include "core/core_int.h"

#include "base/plain.h"
#include "device/device.h"

#define LINE_MAX 512

static void put_side(struct plain *p, const struct core_program *prog, const char *name,
                     const struct dma_side *s)
{
    plain_put(p, " ");
    plain_put(p, name);
    plain_put(p, "=");
    plain_quoted(p, s->sbuf                        ? "sbuf"
                    : s->var < prog->sg->var_count ? prog->sg->vars[s->var].name
                                                   : "?");
    plain_put(p, " ");
    plain_put(p, name);
    plain_put(p, "_at=");
    plain_i64(p, s->off);
}

static void put_transfer(struct plain *p, const struct core_program *prog,
                         const struct core_pending *w)
{
    const struct dma_group *g = &prog->groups[w->group];

    plain_put(p, "transfer queue=");
    plain_quoted(p, prog->sg->queues[g->queue].name);
    plain_put(p, " engine=");
    plain_put(p, isa_engine_name(w->engine));
    plain_put(p, " record=");
    plain_u64(p, w->record, 0);
    if (g->sem >= 0) {
        plain_put(p, " semaphore=");
        plain_i64(p, g->sem);
        plain_put(p, " adds=");
        plain_u64(p, g->inc, 0);
    }
    plain_put(p, " bytes=");
    plain_u64(p, g->bytes, 0);
    plain_put(p, " copies=");
    plain_u64(p, g->count, 0);
    if (g->count > 0) {
        const struct dma_plan *plan = &prog->plans[g->first];

        put_side(p, prog, "to", &plan->to);
        if (plan->nfrom > 0)
            put_side(p, prog, "from", &plan->from[0]);
    }
}

static void ring_line(struct plain *p, const struct core_program *prog, uint32_t q)
{
    const struct device_live_page *live = prog->core->live;
    const struct neff_queue *nq = &prog->sg->queues[q];

    plain_put(p, "ring queue=");
    plain_quoted(p, nq->name);
    plain_put(p, " number=");
    plain_u64(p, q, 0);
    if (nq->owner >= 0) {
        plain_put(p, " engine=");
        plain_put(p, neff_engine_key((enum neff_engine)nq->owner));
    }
    if (live != NULL && q < DEVICE_RINGS) {
        plain_put(p, " head=");
        plain_u64(p, __atomic_load_n((const uint32_t *)&live->ring_head[q], __ATOMIC_RELAXED), 0);
        plain_put(p, " tail=");
        plain_u64(p, __atomic_load_n((const uint32_t *)&live->ring_tail[q], __ATOMIC_RELAXED), 0);
    }
}

void core_dump_rings(const struct core *first, const struct core_program *program, unsigned max,
                     void (*line)(void *arg, const char *text), void *arg)
{
    const struct core_exec *x = first->exec;
    char text[LINE_MAX];
    struct plain p;

    if (program->backend != &core_walker)
        return;
    for (uint32_t q = 0; q < program->sg->queue_count; q++) {
        const struct core_queue *queue = &program->core->queues[q];

        plain_init(&p, text, sizeof(text));
        ring_line(&p, program, q);
        line(arg, text);
        for (uint16_t slot = queue->oldest; slot < CORE_PENDING && max > 0; max--) {
            plain_init(&p, text, sizeof(text));
            put_transfer(&p, program, &x->pending[slot]);
            line(arg, text);
            slot = x->pending[slot].next;
        }
    }
}
