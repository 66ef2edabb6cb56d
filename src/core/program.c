/* SPDX-License-Identifier: Apache-2.0 */
/* From a subgraph to a program: its tables and descriptors; lower.c has the records. Everything is
 * linear in records and descriptors. */
#include "core/core_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/broken.h"

/* ---- small things ---- */

NRT_STATUS program_no_memory(struct err *err)
{
    return err_set(err, NRT_RESOURCE, "out of memory preparing a program");
}

static int by_id(const void *a, const void *b)
{
    const struct core_var_index *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

uint32_t program_var(const struct core_program *p, uint32_t var_id)
{
    struct core_var_index key = {.id = var_id};
    const struct core_var_index *at =
        bsearch(&key, p->var_index, p->sg->var_count, sizeof(key), by_id);

    return at != NULL ? at->index : NEFF_NONE;
}

void program_use_var(struct core_program *p, uint32_t var)
{
    if (!p->var_used[var]) {
        p->var_used[var] = true;
        p->nvar_used++;
    }
}

void program_use_sem(struct core_program *p, unsigned sem)
{
    p->sems_used[sem / 64] |= UINT64_C(1) << sem % 64;
}

NRT_STATUS program_add_plan(struct core_program *p, const struct dma_plan *plan, struct err *err)
{
    if (p->nplans >= UINT32_MAX ||
        !mem_grow((void **)&p->plans, &p->cap_plans, p->nplans + 1, sizeof(p->plans[0])))
        return program_no_memory(err);
    p->plans[p->nplans++] = *plan;
    return NRT_SUCCESS;
}

/* Only one engine triggers a queue set: its owner, or without owner any one (neuroncore.md 6.4). */
static NRT_STATUS queue_take(struct core_program *p, uint32_t queue, unsigned engine,
                             struct err *err)
{
    const struct neff_queue *q = &p->sg->queues[queue];
    int owner = q->owner >= 0 ? q->owner : p->queue_engine[queue];

    if (owner >= 0 && owner != (int)engine)
        return err_set(err, NRT_INVALID, "queue %s of engine %s is triggered by %s", q->name,
                       isa_engine_name((unsigned)owner), isa_engine_name(engine));
    p->queue_engine[queue] = (int8_t)engine;
    return NRT_SUCCESS;
}

/* What a packet takes; generated descriptors are not affected by the setting. */
static uint64_t packet_ps(const struct core_program *p, enum core_descriptors by)
{
    uint64_t bytes = CORE_DMA_PACKET;

    if ((by == CORE_PREBUILT || BROKEN(OVL)) && p->opt.dma_packet > bytes)
        bytes = p->opt.dma_packet;
    return time_dma_ps(p->core->kc.gen, TIME_DMA_COPY, bytes);
}

NRT_STATUS program_add_group(struct core_program *p, struct dma_group *g, unsigned engine,
                             const uint64_t *split_ps, enum core_descriptors by, struct err *err)
{
    uint64_t *ps = arena_calloc(&p->arena, g->inc, sizeof(ps[0]));
    NRT_STATUS st = queue_take(p, g->queue, engine, err);

    if (st != NRT_SUCCESS)
        return st;
    if (ps == NULL || p->ngroups >= INT32_MAX ||
        !mem_grow((void **)&p->groups, &p->cap_groups, p->ngroups + 1, sizeof(p->groups[0])) ||
        !mem_grow((void **)&p->xfers, &p->cap_xfers, p->ngroups + 1, sizeof(p->xfers[0])))
        return program_no_memory(err);
    g->max_ps = 0;
    for (uint32_t e = 0; e < g->inc; e++) {
        ps[e] = split_ps[e];
        if (ps[e] > g->max_ps)
            g->max_ps = ps[e];
    }
    if (by == CORE_DGE_HW)
        g->max_ps += time_dma_hwdge_ps(p->core->kc.gen);
    p->xfers[p->ngroups] = (struct time_xfer){.queue = g->queue,
                                              .first_engine = p->queue_first[g->queue],
                                              .engines = g->inc,
                                              .hwdge = by == CORE_DGE_HW,
                                              .bytes = g->bytes,
                                              .engine_ps = ps,
                                              .packet_ps = packet_ps(p, by)};
    p->groups[p->ngroups++] = *g;
    return NRT_SUCCESS;
}

/* ---- tables of the subgraph ---- */

static int by_name(const void *a, const void *b)
{
    const struct neff_queue *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static NRT_STATUS make_tables(struct core_program *p, struct err *err)
{
    const struct neff_subgraph *sg = p->sg;
    const struct neff_queue **sorted;
    uint32_t engine = 0;

    p->var_index = arena_calloc(&p->arena, sg->var_count + 1, sizeof(p->var_index[0]));
    p->queue_engine = arena_calloc(&p->arena, sg->queue_count + 1, sizeof(p->queue_engine[0]));
    p->queue_sorted = arena_calloc(&p->arena, sg->queue_count + 1, sizeof(p->queue_sorted[0]));
    p->queue_first = arena_calloc(&p->arena, sg->queue_count + 1, sizeof(p->queue_first[0]));
    sorted = arena_calloc(&p->arena, sg->queue_count + 1, sizeof(sorted[0]));
    if (p->var_index == NULL || p->queue_engine == NULL || p->queue_sorted == NULL ||
        p->queue_first == NULL || sorted == NULL)
        return program_no_memory(err);
    for (uint32_t i = 0; i < sg->var_count; i++) {
        if (sg->vars[i].type != NEFF_VAR_STATE_BUFFER && sg->vars[i].size > (uint64_t)CORE_VAR_MAX)
            return err_set(err, NRT_INVALID, "variable %s is too large", sg->vars[i].name);
        p->var_index[i] = (struct core_var_index){sg->vars[i].var_id, i};
    }
    qsort(p->var_index, sg->var_count, sizeof(p->var_index[0]), by_id);
    for (uint32_t i = 0; i < sg->queue_count; i++) {
        const struct neff_queue *q = &sg->queues[i];

        if (q->num_queues < 1 || q->num_queues > NEFF_MAX_QUEUES)
            return err_set(err, NRT_INVALID, "queue %s: num_queues %u out of range", q->name,
                           q->num_queues);
        p->queue_engine[i] = -1;
        p->queue_first[i] = engine % TIME_DMA_ENGINES; /* sets that fit side by side do not meet */
        engine += q->num_queues;
        sorted[i] = q;
    }
    qsort(sorted, sg->queue_count, sizeof(sorted[0]), by_name);
    for (uint32_t i = 0; i < sg->queue_count; i++)
        p->queue_sorted[i] = (uint32_t)(sorted[i] - sg->queues);
    return NRT_SUCCESS;
}

/* What isa_check_program wants to know; arrays in the arena. */
static NRT_STATUS make_env(struct core_program *p, struct isa_check_env *env, struct err *err)
{
    const struct neff_subgraph *sg = p->sg;
    int64_t *ids = arena_calloc(&p->arena, sg->var_count + 1, sizeof(ids[0]));
    uint64_t *sizes = arena_calloc(&p->arena, sg->var_count + 1, sizeof(sizes[0]));
    bool *dynamic = arena_calloc(&p->arena, sg->queue_count + 1, sizeof(dynamic[0]));
    size_t n = 0, tables = 0;
    int64_t *dge;

    if (ids == NULL || sizes == NULL || dynamic == NULL)
        return program_no_memory(err);
    for (uint32_t i = 0; i < sg->var_count; i++) {
        ids[i] = sg->vars[i].var_id;
        sizes[i] = sg->vars[i].size;
        if (sg->vars[i].type == NEFF_VAR_DGE_TABLE) {
            tables++;
            n += sg->vars[i].list_count;
        }
    }
    dge = arena_calloc(&p->arena, n + 1, sizeof(dge[0]));
    if (dge == NULL)
        return program_no_memory(err);
    n = 0;
    for (uint32_t i = 0; i < sg->var_count; i++)
        for (uint32_t k = 0; sg->vars[i].type == NEFF_VAR_DGE_TABLE && k < sg->vars[i].list_count;
             k++)
            dge[n++] = sg->vars[sg->vars[i].list[k]].var_id;
    for (uint32_t i = 0; i < sg->queue_count; i++) {
        enum neff_queue_type type = sg->queues[p->queue_sorted[i]].type;

        dynamic[i] = type == NEFF_QUEUE_DYNAMIC || type == NEFF_QUEUE_EMBEDDING_UPDATE;
    }
    *env = (struct isa_check_env){.gen = p->core->kc.gen,
                                  .lnc = p->opt.lnc,
                                  .var_ids = ids,
                                  .var_sizes = sizes,
                                  .n_vars = sg->var_count,
                                  .n_queues = sg->queue_count,
                                  .queue_dynamic = dynamic,
                                  .dge_ids = tables > 0 ? dge : NULL,
                                  .n_dge_ids = n,
                                  .n_collectives = sg->coll_count,
                                  .collectives = p->opt.outside != NULL};
    return NRT_SUCCESS;
}

/* ---- descriptors ---- */

static int by_trigger(const void *a, const void *b)
{
    const struct core_trig *x = a, *y = b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static NRT_STATUS lower_group(struct core_program *p, unsigned engine, uint32_t index,
                              struct err *err)
{
    const struct neff_engine_code *ec = &p->sg->engines[engine];
    const struct neff_dma_group *ng = &ec->groups[index];
    uint64_t split[NEFF_MAX_QUEUES] = {0};
    struct dma_group g = {.first = (uint32_t)p->nplans, .sem = -1, .event = -1};
    const struct neff_queue *q;
    uint32_t sem = ng->semaphore;
    NRT_STATUS st;

    if (ng->queue >= p->sg->queue_count)
        return err_set(err, NRT_INVALID, "%s: dma[%u]: unknown queue", ec->json_member, index);
    q = &p->sg->queues[ng->queue];
    g.queue = ng->queue;
    g.inc = q->num_queues;
    g.count = ng->desc_count;
    if (sem == NEFF_NONE && ng->event == NEFF_NONE)
        sem = q->semaphore;
    if ((sem != NEFF_NONE && sem >= ISA_SEMAPHORES) ||
        (ng->event != NEFF_NONE && ng->event >= ISA_EVENTS))
        return err_set(err, NRT_INVALID, "%s: dma[%u]: invalid semaphore or event", ec->json_member,
                       index);
    if (sem != NEFF_NONE) {
        g.sem = (int16_t)sem;
        program_use_sem(p, sem);
    }
    if (ng->event != NEFF_NONE)
        g.event = (int16_t)ng->event;
    g.remote = ng->remote_semaphores;
    g.nremote = ng->remote_semaphore_count;
    for (uint32_t i = 0; i < g.nremote; i++) {
        if (g.remote[i] >= ISA_SEMAPHORES || p->opt.lnc < 2)
            return err_set(err, NRT_INVALID, "%s: dma[%u]: remote_semaphores needs LNC size 2",
                           ec->json_member, index);
        program_use_sem(p, g.remote[i]);
        p->uses_peer = true;
    }
    for (uint32_t i = 0; i < ng->desc_count; i++) {
        struct err e = {0};
        struct dma_plan plan;

        st = dma_plan_static(p, &ng->descs[i], &plan, &e);
        if (st != NRT_SUCCESS)
            return err_set(err, st, "%s: dma[%u].desc[%u]: %s", ec->json_member, index, i, e.text);
        st = program_add_plan(p, &plan, err);
        if (st != NRT_SUCCESS)
            return st;
        dma_plan_split(p, &plan, q->num_queues, split);
        g.bytes += plan.bytes;
    }
    p->descriptors += ng->desc_count;
    return program_add_group(p, &g, engine, split, CORE_PREBUILT, err);
}

/* Room for all of an engine's plans and groups at once: growing step by step copies them several
 * times, mostly into pages that the kernel has to give first. */
static bool reserve(struct core_program *p, const struct neff_engine_code *ec)
{
    size_t plans = p->nplans, groups = p->ngroups + ec->group_count;

    for (uint32_t i = 0; i < ec->group_count; i++)
        plans += ec->groups[i].desc_count;
    return mem_grow((void **)&p->plans, &p->cap_plans, plans, sizeof(p->plans[0])) &&
           mem_grow((void **)&p->groups, &p->cap_groups, groups, sizeof(p->groups[0])) &&
           mem_grow((void **)&p->xfers, &p->cap_xfers, groups, sizeof(p->xfers[0]));
}

NRT_STATUS program_groups(struct core_program *p, unsigned engine, struct core_trig *t,
                          struct err *err)
{
    const struct neff_engine_code *ec = &p->sg->engines[engine];
    NRT_STATUS st;

    if (!reserve(p, ec))
        return program_no_memory(err);
    for (uint32_t i = 0; i < ec->group_count; i++)
        t[i] = (struct core_trig){.id = ec->groups[i].id, .index = i};
    qsort(t, ec->group_count, sizeof(t[0]), by_trigger);
    for (uint32_t i = 0; i < ec->group_count; i++) {
        t[i].group = (uint32_t)p->ngroups;
        st = lower_group(p, engine, t[i].index, err);
        if (st != NRT_SUCCESS)
            return st;
    }
    return NRT_SUCCESS;
}

/* ---- the program ---- */

static void make_time(struct core_program *p)
{
    p->time.gen = p->core->kc.gen;
    p->dma_start_ps = time_dma_start_ps(p->core->kc.gen);
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        p->time.cost[e] = p->code[e].cost;
        p->time.dependent[e] = p->code[e].dependent;
        p->time.count[e] = p->code[e].count;
    }
    p->time.xfers = p->xfers;
    p->time.xfer_count = (uint32_t)p->ngroups;
}

static NRT_STATUS walker_prepare(struct core_program *p, struct err *err)
{
    const struct neff_subgraph *sg = p->sg;
    struct isa_check_env env;
    NRT_STATUS st = make_tables(p, err);

    if (st == NRT_SUCCESS)
        st = make_env(p, &env, err);
    for (unsigned e = 0; e < ISA_ENGINES && st == NRT_SUCCESS; e++)
        if (sg->engines[e].present)
            st = program_engine(p, e, &env, err);
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        p->engines |= (p->code[e].count != 0 ? 1u : 0u) << e;
    if (st == NRT_SUCCESS)
        st = core_queues_grow(p->core, sg->queue_count, err);
    if (st == NRT_SUCCESS && p->opt.checks != 0)
        st = check_create(p, err);
    if (st == NRT_SUCCESS)
        make_time(p);
    return st;
}

static void walker_discard(struct core_program *p)
{
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        mem_free(p->code[e].ops);
        mem_free(p->code[e].opcodes);
        mem_free(p->code[e].cost);
        mem_free(p->code[e].dependent);
        mem_free(p->code[e].records);
    }
    mem_free(p->kops);
    mem_free(p->waits);
    mem_free(p->updates);
    mem_free(p->plans);
    mem_free(p->groups);
    mem_free(p->xfers);
    mem_free(p->dyns);
    mem_free(p->places);
    check_destroy(p->check);
}

static void walker_info(const struct core_program *p, struct core_program_info *ret)
{
    *ret = (struct core_program_info){
        .records = p->records,
        .descriptors = p->descriptors,
        .transfers = p->ngroups,
        .uses_peer = p->uses_peer,
        .host_bytes = sizeof(*p) + p->arena.used_bytes + p->cap_kops * sizeof(p->kops[0]) +
                      p->cap_waits * sizeof(p->waits[0]) + p->cap_updates * sizeof(p->updates[0]) +
                      p->cap_plans * sizeof(p->plans[0]) + p->cap_groups * sizeof(p->groups[0]) +
                      p->cap_xfers * sizeof(p->xfers[0]) + p->cap_dyns * sizeof(p->dyns[0]) +
                      p->cap_places * sizeof(p->places[0]) +
                      p->records * (sizeof(struct core_op) + sizeof(struct time_cost) + 3)};
}

const struct core_backend core_walker = {
    .name = "walker",
    .prepare = walker_prepare,
    .discard = walker_discard,
    .info = walker_info,
    .start = loop_start,
    .run = loop_run,
    .wait = outside_wait,
    .finish = loop_finish,
};
