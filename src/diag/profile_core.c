/* SPDX-License-Identifier: Apache-2.0 */
/* The records of the cores. The events themselves are host memory; the profile buffers that the
 * documentation has in HBM are taken there for the account. */
#include "diag/profile_int.h"

#include "base/mem.h"

void profiler_core_drop(struct profiler *p, struct core_record *c)
{
    while (c->have > 0)
        device_free(p->cfg.in, &c->ext[--c->have], NULL);
    mem_free(c->rec.ev);
    time_keeper_drop(&c->times);
    profile_doc_free(c->kept);
    c->rec = (struct time_events){0};
    c->kept = NULL;
    c->seen = false;
}

static NRT_STATUS buffers_make(struct profiler *p, uint32_t vnc, struct err *err)
{
    struct core_record *c = &p->cores[vnc];

    for (; c->have < BUF_COUNT; c->have++) {
        struct device_alloc a = {.core = device_vnc_core(p->cfg.in, p->cfg.first_vnc + vnc),
                                 .neff = DEVICE_NONE,
                                 .cat = DEVICE_CAT_PROFILER,
                                 .size = p->room[c->have],
                                 .name = "profile"};
        NRT_STATUS status = device_alloc(p->cfg.in, &a, &c->ext[c->have], err);

        if (status != NRT_SUCCESS) {
            profiler_core_drop(p, c);
            return status;
        }
    }
    c->rec.cap = p->room[BUF_EVENT] / sizeof(*c->rec.ev);
    c->rec.ev = mem_calloc(c->rec.cap, sizeof(*c->rec.ev)); /* the host backs what is written */
    if (c->rec.ev)
        return NRT_SUCCESS;
    profiler_core_drop(p, c);
    return err_set(err, NRT_RESOURCE, "no host memory for a profile's events");
}

void profiler_cores_give(struct profiler *p, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        if (--p->cores[i].users > 0)
            continue;
        model_core_hold(p->cfg.host, i);
        pthread_mutex_lock(&p->lock);
        profiler_core_drop(p, &p->cores[i]);
        pthread_mutex_unlock(&p->lock);
        model_core_release(p->cfg.host, i);
    }
    if (--p->users == 0)
        model_host_watch(p->cfg.host, NULL);
}

/* One more who wants the records of these cores; change is held. */
NRT_STATUS profiler_cores_take(struct profiler *p, uint32_t first, uint32_t count, struct err *err)
{
    NRT_STATUS status = NRT_SUCCESS;
    uint32_t n = 0;

    for (; n < count && status == NRT_SUCCESS; n++) {
        uint32_t i = first + n;

        if (p->cores[i].users++ > 0)
            continue;
        pthread_mutex_lock(
            &p->lock); /* a run under way has begun without them, and does not look */
        status = buffers_make(p, i, err);
        pthread_mutex_unlock(&p->lock);
    }
    if (p->users++ == 0 && status == NRT_SUCCESS)
        model_host_watch(p->cfg.host, &p->watch);
    if (status != NRT_SUCCESS)
        profiler_cores_give(p, first, n);
    return status;
}

void profiler_room(const struct profiler *p, struct profile_room *ret)
{
    *ret = (struct profile_room){.events = p->room[BUF_EVENT],
                                 .transfers = p->room[BUF_DMA],
                                 .collectives = p->room[BUF_CC_EVENT]};
}
