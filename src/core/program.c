/* SPDX-License-Identifier: Apache-2.0 */
/* From a subgraph to a program: check, lower records, translate descriptors. Everything here is
 * linear in records and descriptors. */
#include "core/core_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/broken.h"

/* Records offered to kernel_lower at once. */
#define RUN_MAX 1024u

/* ---- small things ---- */

static NRT_STATUS no_memory(struct err *err)
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
        return no_memory(err);
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

NRT_STATUS program_add_group(struct core_program *p, struct dma_group *g, unsigned engine,
                             const uint64_t *split_ps, bool hwdge, struct err *err)
{
    uint64_t *ps = arena_calloc(&p->arena, g->inc, sizeof(ps[0]));
    NRT_STATUS st = queue_take(p, g->queue, engine, err);

    if (st != NRT_SUCCESS)
        return st;
    if (ps == NULL || p->ngroups >= INT32_MAX ||
        !mem_grow((void **)&p->groups, &p->cap_groups, p->ngroups + 1, sizeof(p->groups[0])) ||
        !mem_grow((void **)&p->xfers, &p->cap_xfers, p->ngroups + 1, sizeof(p->xfers[0])))
        return no_memory(err);
    g->max_ps = 0;
    for (uint32_t e = 0; e < g->inc; e++) {
        ps[e] = split_ps[e];
        if (ps[e] > g->max_ps)
            g->max_ps = ps[e];
    }
    if (hwdge)
        g->max_ps += time_dma_hwdge_ps(p->core->kc.gen);
    p->xfers[p->ngroups] = (struct time_xfer){.queue = g->queue,
                                              .first_engine = p->queue_first[g->queue],
                                              .engines = g->inc,
                                              .hwdge = hwdge,
                                              .engine_ps = ps};
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
    p->var_used = arena_calloc(&p->arena, sg->var_count + 1, sizeof(p->var_used[0]));
    p->queue_engine = arena_calloc(&p->arena, sg->queue_count + 1, sizeof(p->queue_engine[0]));
    p->queue_sorted = arena_calloc(&p->arena, sg->queue_count + 1, sizeof(p->queue_sorted[0]));
    p->queue_first = arena_calloc(&p->arena, sg->queue_count + 1, sizeof(p->queue_first[0]));
    sorted = arena_calloc(&p->arena, sg->queue_count + 1, sizeof(sorted[0]));
    if (p->var_index == NULL || p->var_used == NULL || p->queue_engine == NULL ||
        p->queue_sorted == NULL || p->queue_first == NULL || sorted == NULL)
        return no_memory(err);
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
        return no_memory(err);
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
        return no_memory(err);
    n = 0;
    for (uint32_t i = 0; i < sg->var_count; i++)
        for (uint32_t k = 0; sg->vars[i].type == NEFF_VAR_DGE_TABLE && k < sg->vars[i].list_count;
             k++)
            dge[n++] = sg->vars[sg->vars[i].list[k]].var_id;
    for (uint32_t i = 0; i < sg->queue_count; i++)
        dynamic[i] = sg->queues[p->queue_sorted[i]].type == NEFF_QUEUE_DYNAMIC;
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

/* Groups of one engine by id: those that one trigger starts lie together. */
struct trigger {
    uint32_t id, index; /* index: position in the file, keeps equal ids in order */
    uint32_t group;     /* first in p->groups, after translation */
};

static int by_trigger(const void *a, const void *b)
{
    const struct trigger *x = a, *y = b;

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
    return program_add_group(p, &g, engine, split, false, err);
}

static NRT_STATUS lower_groups(struct core_program *p, unsigned engine, struct trigger *t,
                               struct err *err)
{
    const struct neff_engine_code *ec = &p->sg->engines[engine];
    NRT_STATUS st;

    for (uint32_t i = 0; i < ec->group_count; i++)
        t[i] = (struct trigger){.id = ec->groups[i].id, .index = i};
    qsort(t, ec->group_count, sizeof(t[0]), by_trigger);
    for (uint32_t i = 0; i < ec->group_count; i++) {
        t[i].group = (uint32_t)p->ngroups;
        st = lower_group(p, engine, t[i].index, err);
        if (st != NRT_SUCCESS)
            return st;
    }
    return NRT_SUCCESS;
}

/* Groups with this id: first position in t and how many. */
static uint32_t find_trigger(const struct trigger *t, uint32_t n, int64_t id, uint32_t *ret_count)
{
    uint32_t lo = 0, hi = n, end;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if ((int64_t)t[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (end = lo; end < n && (int64_t)t[end].id == id; end++)
        ;
    *ret_count = end - lo;
    return lo;
}

/* ---- records ---- */

struct lowering {
    unsigned engine;
    const struct isa_record *rec;
    uint32_t count;
    const uint32_t *run_end; /* one past the last record that a kernel op may cover from here */
    const struct trigger *trig;
    uint32_t ntrig;
};

static NRT_STATUS lower_sync(struct core_program *p, const struct isa_record *first,
                             const struct isa_record *last, struct core_op *op, struct err *err)
{
    if (!mem_grow((void **)&p->waits, &p->cap_waits, p->nwaits + 4, sizeof(p->waits[0])) ||
        !mem_grow((void **)&p->updates, &p->cap_updates, p->nupdates + 4, sizeof(p->updates[0])))
        return no_memory(err);
    if (first->nwaits > 4 || last->nupdates > 4)
        return err_set(err, NRT_INVALID, "invalid waits or updates");
    op->waits = (uint32_t)p->nwaits;
    op->updates = (uint32_t)p->nupdates;
    for (unsigned i = 0; i < first->nwaits; i++) {
        const struct isa_wait *w = &first->wait[i];

        p->waits[p->nwaits++] = (struct core_cond){w->kind, w->index, w->reg, 0, w->value};
        op->nwaits++;
        if (w->kind == ISA_WAIT_SEM_GE || w->kind == ISA_WAIT_SEM_EQ)
            program_use_sem(p, w->index); /* its waiters are cleared with it */
    }
    for (unsigned pass = 0; pass < 2; pass++) { /* those at read first */
        for (unsigned i = 0; i < last->nupdates; i++) {
            const struct isa_update *u = &last->update[i];
            bool at_read = (u->flags & ISA_UPD_AT_READ) != 0;

            if (at_read != (pass == 0))
                continue;
            p->updates[p->nupdates++] = (struct core_upd){u->kind, u->index, u->reg,
                                                          (u->flags & ISA_UPD_PEER) != 0, u->value};
            if (at_read)
                op->nread++;
            else
                op->ncomplete++;
            if (u->flags & ISA_UPD_PEER)
                p->uses_peer = true;
            if (u->kind != ISA_UPD_EVENT_SET && u->kind != ISA_UPD_EVENT_CLEAR)
                program_use_sem(p, u->index);
        }
    }
    return NRT_SUCCESS;
}

static NRT_STATUS lower_compute(struct core_program *p, const struct lowering *l, uint32_t i,
                                struct core_op *op, struct err *err)
{
    uint32_t max = l->run_end[i] - i;
    struct kernel_op *k;
    NRT_STATUS st;

    if (!mem_grow((void **)&p->kops, &p->cap_kops, p->nkops + 1, sizeof(p->kops[0])))
        return no_memory(err);
    k = &p->kops[p->nkops];
    memset(k, 0, sizeof(*k));
    st = kernel_lower(&l->rec[i], max < RUN_MAX ? max : RUN_MAX, &p->core->kc, p->opt.math,
                      &p->arena, k, err);
    if (st != NRT_SUCCESS)
        return st;
    if (k->fn == NULL || k->consumed < 1 || k->consumed > max)
        return err_set(err, NRT_FAILURE, "kernel covers %u of %u records", k->consumed, max);
    op->kind = OP_KERNEL;
    op->target = (uint32_t)p->nkops++;
    op->next = i + k->consumed;
    return NRT_SUCCESS;
}

static NRT_STATUS lower_seq(struct core_program *p, const struct lowering *l,
                            const struct isa_record *r, struct core_op *op, struct err *err)
{
    const struct isa_seq *s = &r->body.s;
    uint32_t first, n;

    op->sub = s->op;
    op->rd = s->rd;
    op->ra = s->ra;
    op->rb = s->rb;
    op->imm = s->imm;
    switch (r->opcode) {
    case ISA_OP_REG_MOVE:
        op->kind = OP_MOVE;
        break;
    case ISA_OP_REG_ALU:
        op->kind = OP_ALU;
        break;
    case ISA_OP_REG_LOAD:
        op->kind = OP_LOAD;
        return place_lower(p, s, &op->target, err);
    case ISA_OP_REG_STORE:
        op->kind = OP_STORE;
        return place_lower(p, s, &op->target, err);
    case ISA_OP_BRANCH:
        op->kind = OP_BRANCH;
        op->target = s->target;
        if (s->target >= l->count)
            return err_set(err, NRT_INVALID, "branch target %u outside the program", s->target);
        break;
    case ISA_OP_DMA_TRIGGER:
        op->kind = OP_TRIGGER;
        first = find_trigger(l->trig, l->ntrig, s->imm, &n);
        if (n == 0)
            return err_set(err, NRT_INVALID, "no dma group with id %d", s->imm);
        op->target = l->trig[first].group;
        op->imm = (int32_t)n;
        break;
    case ISA_OP_CORE_BARRIER:
        op->kind = OP_BARRIER;
        if (s->first >= ISA_SEMAPHORES || p->opt.lnc < 2)
            return err_set(err, NRT_INVALID, "core_barrier needs LNC size 2 and a semaphore");
        op->target = s->first;
        program_use_sem(p, s->first);
        p->uses_peer = true;
        break;
    case ISA_OP_SEM_RANGE_CLEAR:
        op->kind = OP_RANGE_CLEAR;
        if (s->first + s->count > ISA_SEMAPHORES)
            return err_set(err, NRT_INVALID, "semaphore range out of range");
        op->target = s->first;
        op->imm = s->count;
        break;
    case ISA_OP_TRIGGER_COLLECTIVE:
        if (p->opt.outside != NULL)
            return outside_lower(p, s, op, err);
        /* fall through */
    default:
        return err_set(err, NRT_INVALID, "Unsupported hardware operator code %u found in neff.",
                       r->opcode);
    }
    if ((op->rd >= ISA_REGS && (op->kind == OP_MOVE || op->kind == OP_ALU)) ||
        (op->ra >= ISA_REGS && (op->kind == OP_ALU || op->kind == OP_BRANCH)) ||
        (op->rb >= ISA_REGS && op->rb != ISA_NO_REG))
        return err_set(err, NRT_INVALID, "invalid register");
    return NRT_SUCCESS;
}

static NRT_STATUS lower_record(struct core_program *p, const struct lowering *l, uint32_t i,
                               struct core_op *op, struct err *err)
{
    const struct isa_record *r = &l->rec[i];
    const struct isa_op_info *info = isa_op_info(r->opcode);
    NRT_STATUS st = NRT_SUCCESS;

    *op = (struct core_op){.next = i + 1};
    if (info == NULL || r->opcode == ISA_OP_SENDRECV || r->opcode == ISA_OP_PRINT)
        return err_set(err, NRT_INVALID, "Unsupported hardware operator code %u found in neff.",
                       r->opcode);
    switch (info->format) {
    case ISA_FMT_NONE:
        op->kind = r->opcode == ISA_OP_END ? OP_END : OP_NOP; /* DRAIN: nothing is in flight */
        break;
    case ISA_FMT_COMPUTE:
        st = lower_compute(p, l, i, op, err);
        break;
    case ISA_FMT_SEQ:
        st = lower_seq(p, l, r, op, err);
        break;
    case ISA_FMT_DYN:
        op->kind = OP_DYN;
        st = dyn_lower(p, l->engine, r, &op->target, err);
        break;
    }
    if (st != NRT_SUCCESS)
        return st;
    return lower_sync(p, r, &l->rec[op->next - 1], op, err);
}

/* run_end[i]: matmuls after i that nothing can observe one by one (design decision 7). */
static void find_runs(const struct isa_record *rec, uint32_t n, uint32_t *run_end,
                      const uint8_t *is_target)
{
    for (uint32_t i = n; i-- > 0;) {
        bool joins = i + 1 < n && rec[i].opcode == ISA_OP_NC_MATMUL &&
                     rec[i + 1].opcode == ISA_OP_NC_MATMUL && rec[i].nupdates == 0 &&
                     rec[i + 1].nwaits == 0 && !is_target[i + 1];

        run_end[i] = joins ? run_end[i + 1] : i + 1;
    }
}

/* Room for all kernel ops at once: they are large, and growing would copy them. */
static bool reserve_ops(struct core_program *p, const struct lowering *l)
{
    size_t n = 0;

    for (uint32_t i = 0; i < l->count; i++) {
        const struct isa_op_info *info = isa_op_info(l->rec[i].opcode);

        n += info != NULL && info->format == ISA_FMT_COMPUTE;
    }
    return mem_grow((void **)&p->kops, &p->cap_kops, p->nkops + n, sizeof(p->kops[0]));
}

static NRT_STATUS lower_records(struct core_program *p, struct lowering *l, struct err *err)
{
    struct core_code *code = &p->code[l->engine];
    uint8_t *is_target = mem_zalloc(l->count + 1);
    uint32_t *run_end = mem_calloc(l->count + 1, sizeof(run_end[0]));
    NRT_STATUS st = NRT_SUCCESS;

    if (is_target == NULL || run_end == NULL) {
        st = no_memory(err);
        goto out;
    }
    for (uint32_t i = 0; i < l->count; i++)
        if (l->rec[i].opcode == ISA_OP_BRANCH && l->rec[i].body.s.target < l->count)
            is_target[l->rec[i].body.s.target] = 1;
    if (!reserve_ops(p, l)) {
        st = no_memory(err);
        goto out;
    }
    find_runs(l->rec, l->count, run_end, is_target);
    l->run_end = run_end;
    for (uint32_t i = 0; i < l->count && st == NRT_SUCCESS;) {
        struct err e = {0};

        st = lower_record(p, l, i, &code->ops[i], &e);
        if (st != NRT_SUCCESS) {
            err_set(err, st, "%s record %u: %s", isa_engine_name(l->engine), i, e.text);
            break;
        }
        for (uint32_t k = i + 1; k < code->ops[i].next; k++)
            code->ops[k] = (struct core_op){.kind = OP_COVERED, .next = k + 1};
        i = code->ops[i].next;
    }
    for (uint32_t i = 0; i < l->count && st == NRT_SUCCESS; i++) {
        code->opcodes[i] = l->rec[i].opcode;
        code->cost[i] = time_cost_record(&l->rec[i], p->core->kc.gen);
        code->dependent[i] = i > 0 && code->cost[i].dependent_ps != 0 &&
                             time_record_dependent(&l->rec[i - 1], &l->rec[i]);
        code->ops[i].cost_ps =
            code->cost[i].ps + (code->dependent[i] ? code->cost[i].dependent_ps : 0);
    }
    if (st == NRT_SUCCESS && code->ops[l->count - 1].kind != OP_END &&
        !(code->ops[l->count - 1].kind == OP_BRANCH &&
          code->ops[l->count - 1].sub == ISA_BR_ALWAYS))
        st = err_set(err, NRT_INVALID, "%s: the last record can fall through",
                     isa_engine_name(l->engine));
out:
    mem_free(is_target);
    mem_free(run_end);
    return st;
}

/* Covered matmuls cost what they would alone: their time belongs to the op that covers them. */
static void cost_runs(struct core_code *code)
{
    for (uint32_t i = 0; i < code->count; i = code->ops[i].next) {
        uint64_t sum = code->ops[i].cost_ps;

        for (uint32_t k = i + 1; k < code->ops[i].next; k++)
            sum += code->ops[k].cost_ps;
        code->ops[i].cost_ps = sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
    }
}

/* The check of the isa room, with the member and the source line in front of what it says. */
static NRT_STATUS check_code(struct core_program *p, unsigned engine, struct isa_check_env *env,
                             struct err *err)
{
    const struct neff_engine_code *ec = &p->sg->engines[engine];
    struct err local = {0};
    const struct neff_debug_record *d = NULL;
    unsigned long i;
    NRT_STATUS st = isa_check_program(ec->instr, ec->instr_bytes, (enum isa_engine)engine, env,
                                      p->opt.sink, &local);

    if (st == NRT_SUCCESS)
        return st;
    if (strncmp(local.text, "Unsupported hardware", 20) == 0) /* as published */
        return err_set(err, st, "%s", local.text);
    if (sscanf(local.text, "record %lu", &i) == 1 && i < ec->debug_count && ec->debug[i].file)
        d = &ec->debug[i];
    if (d != NULL)
        return err_set(err, st, "%s: %.80s:%u: %.300s", ec->instr_member, d->file, d->line,
                       local.text);
    return err_set(err, st, "%s: %.380s", ec->instr_member, local.text);
}

static NRT_STATUS lower_engine(struct core_program *p, unsigned engine, struct isa_check_env *env,
                               struct err *err)
{
    const struct neff_engine_code *ec = &p->sg->engines[engine];
    struct core_code *code = &p->code[engine];
    struct trigger *trig = mem_calloc(ec->group_count + 1, sizeof(trig[0]));
    int64_t *ids = mem_calloc(ec->group_count + 1, sizeof(ids[0]));
    struct lowering l = {.engine = engine, .trig = trig, .ntrig = ec->group_count};
    struct isa_record *copy = NULL;
    NRT_STATUS st;

    if (trig == NULL || ids == NULL) {
        st = no_memory(err);
        goto out;
    }
    for (uint32_t i = 0; i < ec->group_count; i++)
        ids[i] = ec->groups[i].id;
    env->dma_ids = ids;
    env->n_dma_ids = ec->group_count;
    st = check_code(p, engine, env, err);
    if (st == NRT_SUCCESS)
        st = lower_groups(p, engine, trig, err);
    if (st != NRT_SUCCESS)
        goto out;
    if (ec->instr_bytes == 0 || ec->instr_bytes / sizeof(*copy) > INT32_MAX) {
        st = err_set(err, NRT_INVALID, "%s: invalid size of the program", isa_engine_name(engine));
        goto out;
    }
    l.count = (uint32_t)(ec->instr_bytes / sizeof(*copy));
    l.rec = (const struct isa_record *)(const void *)ec->instr;
    if ((uintptr_t)ec->instr % _Alignof(struct isa_record) != 0 || p->opt.checks != 0) {
        copy = mem_calloc(l.count, sizeof(*copy));
        if (copy == NULL) {
            st = no_memory(err);
            goto out;
        }
        memcpy(copy, ec->instr, l.count * sizeof(*copy));
        l.rec = copy;
    }
    code->count = l.count;
    code->ops = mem_calloc(l.count, sizeof(code->ops[0]));
    code->opcodes = mem_calloc(l.count, sizeof(code->opcodes[0]));
    code->cost = mem_calloc(l.count, sizeof(code->cost[0]));
    code->dependent = mem_calloc(l.count, sizeof(code->dependent[0]));
    if (code->ops == NULL || code->opcodes == NULL || code->cost == NULL ||
        code->dependent == NULL) {
        st = no_memory(err);
        goto out;
    }
    st = lower_records(p, &l, err);
    if (st != NRT_SUCCESS)
        goto out;
    cost_runs(code);
    p->records += l.count;
    if (p->opt.checks != 0) {
        code->records = copy;
        copy = NULL;
    }
out:
    mem_free(copy);
    mem_free(trig);
    mem_free(ids);
    return st;
}

/* ---- the program ---- */

static void make_time(struct core_program *p)
{
    p->time.gen = p->core->kc.gen;
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        p->time.cost[e] = p->code[e].cost;
        p->time.dependent[e] = p->code[e].dependent;
        p->time.count[e] = p->code[e].count;
    }
    p->time.xfers = p->xfers;
    p->time.xfer_count = (uint32_t)p->ngroups;
}

NRT_STATUS core_program_create(struct core *core, const struct neff_subgraph *sg,
                               const struct core_options *opt, struct core_program **ret,
                               struct err *err)
{
    struct core_program *p = mem_zalloc(sizeof(*p));
    struct isa_check_env env;
    NRT_STATUS st;

    if (p == NULL)
        return no_memory(err);
    if (BROKEN(NEFF)) {
        mem_free(p);
        return err_set(err, NRT_FAILURE, "broken on purpose");
    }
    p->core = core;
    p->sg = sg;
    p->opt = *opt;
    if (p->opt.lnc == 0)
        p->opt.lnc = 1;
    st = make_tables(p, err);
    if (st == NRT_SUCCESS)
        st = make_env(p, &env, err);
    for (unsigned e = 0; e < ISA_ENGINES && st == NRT_SUCCESS; e++)
        if (sg->engines[e].present)
            st = lower_engine(p, e, &env, err);
    if (st == NRT_SUCCESS)
        st = core_queues_grow(core, sg->queue_count, err);
    if (st == NRT_SUCCESS && p->opt.checks != 0)
        st = check_create(p, err);
    if (st != NRT_SUCCESS) {
        core_program_destroy(p);
        return st;
    }
    make_time(p);
    p->opt.sink = NULL;
    *ret = p;
    return NRT_SUCCESS;
}

void core_program_destroy(struct core_program *p)
{
    if (p == NULL)
        return;
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
    arena_fini(&p->arena);
    mem_free(p);
}

void core_program_info(const struct core_program *p, struct core_program_info *ret)
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

const struct time_program *core_program_time(const struct core_program *p)
{
    return &p->time;
}

/* ---- bindings ---- */

NRT_STATUS core_binding_create(const struct core_program *p, struct core_binding **ret,
                               struct err *err)
{
    struct core_binding *b =
        mem_zalloc(sizeof(*b) + (p->sg->var_count + (size_t)1) * sizeof(b->var[0]));

    if (b == NULL)
        return no_memory(err);
    b->program = p;
    b->missing = p->nvar_used;
    *ret = b;
    return NRT_SUCCESS;
}

void core_binding_destroy(struct core_binding *b)
{
    mem_free(b);
}

NRT_STATUS core_binding_set(struct core_binding *b, uint32_t var, void *host, uint64_t size,
                            struct err *err)
{
    const struct neff_subgraph *sg = b->program->sg;

    if (var >= sg->var_count || host == NULL)
        return err_set(err, NRT_INVALID, "no such variable or no address");
    if (size < sg->vars[var].size)
        return err_set(err, NRT_INVALID, "variable %s has %llu bytes, %llu bound",
                       sg->vars[var].name, (unsigned long long)sg->vars[var].size,
                       (unsigned long long)size);
    if (b->var[var].host == NULL && b->program->var_used[var])
        b->missing--;
    b->var[var] = (struct core_addr){host, size};
    return NRT_SUCCESS;
}

void core_binding_copy(struct core_binding *b, const struct core_binding *from)
{
    memcpy(b->var, from->var, b->program->sg->var_count * sizeof(b->var[0]));
    b->missing = from->missing;
}

void *core_binding_get(const struct core_binding *b, uint32_t var, uint64_t *ret_size)
{
    if (var >= b->program->sg->var_count)
        return NULL;
    *ret_size = b->var[var].size;
    return b->var[var].host;
}

NRT_STATUS core_binding_check(const struct core_binding *b, struct err *err)
{
    const struct neff_subgraph *sg = b->program->sg;

    for (uint32_t i = 0; b->missing > 0 && i < sg->var_count; i++)
        if (b->program->var_used[i] && b->var[i].host == NULL)
            return err_set(err, NRT_INVALID, "variable %s has no address", sg->vars[i].name);
    return NRT_SUCCESS;
}
