/* SPDX-License-Identifier: Apache-2.0 */
/* A profile names a transfer by its number on the core. The loader numbers them by engine: first
 * the groups of the engine's file by id and place, then the engine's dynamic transfers in the order
 * of its program. The same walk over the NEFF finds what each number moves; where its bytes or
 * queue are not those of the profile, it is not the program that was executed, and nothing is known
 * of it. */
#include "viewer/scratch.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define FROM_MAX 16 /* of a descriptor */

/* A side of a transfer: a variable of the scratchpad. */
struct touch {
    uint32_t xfer, var;
    uint64_t written, read;
};

/* A core's transfers. */
struct core_map {
    const struct neff_subgraph *sg;
    struct touch *touches; /* by xfer */
    size_t count, cap;
    struct viewer_scratch_use *use; /* per variable, of one execution; from_ps > to_ps: none */
};

struct tracker {
    const struct viewer_model *m;
    struct viewer_scratch *s;
    struct core_map core[TIME_CORES];
    bool failed; /* no memory */
};

static void add(uint64_t *sum, uint64_t v)
{
    if (__builtin_add_overflow(*sum, v, sum))
        *sum = UINT64_MAX;
}

/* ---- what each transfer touches ---- */

static bool is_scratch(const struct neff_subgraph *sg, uint32_t var)
{
    return var < sg->var_count &&
           (sg->vars[var].type == NEFF_VAR_TMP_BUF || sg->vars[var].type == NEFF_VAR_VIRTUAL);
}

static void touch_add(struct tracker *t, struct core_map *c, uint32_t xfer, uint32_t var,
                      uint64_t written, uint64_t read)
{
    if (t->failed || !is_scratch(c->sg, var))
        return;
    /* A transfer of many descriptors mostly stays in its variable. */
    if (c->count > 0 && c->touches[c->count - 1].xfer == xfer &&
        c->touches[c->count - 1].var == var) {
        add(&c->touches[c->count - 1].written, written);
        add(&c->touches[c->count - 1].read, read);
        return;
    }
    t->failed = !mem_grow((void **)&c->touches, &c->cap, c->count + 1, sizeof(*c->touches));
    if (!t->failed)
        c->touches[c->count++] = (struct touch){xfer, var, written, read};
}

struct group_order {
    uint32_t id, index;
};

static int by_id(const void *a, const void *b)
{
    const struct group_order *x = a, *y = b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Whether the profile's transfer is this one. */
static bool is_same(const struct tracker *t, unsigned core, uint32_t xfer, uint32_t queue,
                    uint64_t bytes)
{
    const struct ntff_xfer *x = viewer_xfer(t->m, core, xfer, NULL);

    return x && x->queue == queue && x->bytes == bytes;
}

static void group_add(struct tracker *t, unsigned core, uint32_t xfer,
                      const struct neff_dma_group *g)
{
    struct core_map *c = &t->core[core];
    uint64_t bytes = 0;

    for (uint32_t d = 0; d < g->desc_count; d++)
        add(&bytes, neff_access_bytes(&g->descs[d].to));
    if (!is_same(t, core, xfer, g->queue, bytes))
        return;
    for (uint32_t d = 0; d < g->desc_count; d++) {
        const struct neff_desc *desc = &g->descs[d];

        touch_add(t, c, xfer, desc->to.var, neff_access_bytes(&desc->to), 0);
        for (unsigned k = 0; k < desc->from_count && k < FROM_MAX; k++)
            touch_add(t, c, xfer, desc->from[k].var, 0, neff_access_bytes(&desc->from[k]));
    }
}

static uint32_t var_find(const struct neff_subgraph *sg, uint32_t id)
{
    for (uint32_t i = 0; i < sg->var_count; i++)
        if (sg->vars[i].var_id == (int64_t)id)
            return i;
    return sg->var_count;
}

static uint64_t place_bytes(const struct isa_hbm *h)
{
    uint64_t n = dtype_size((enum dtype)h->dtype);

    for (unsigned d = 0; d < h->ndim && d < 4; d++)
        if (__builtin_mul_overflow(n, (uint64_t)h->num[d], &n))
            return UINT64_MAX;
    return n;
}

static void dynamic_add(struct tracker *t, unsigned core, uint32_t xfer, const struct isa_dyn *r)
{
    struct core_map *c = &t->core[core];

    if (!viewer_xfer(t->m, core, xfer, NULL))
        return;
    if (r->dst_mem == ISA_HBM)
        touch_add(t, c, xfer, var_find(c->sg, r->dst.hbm.var_id), place_bytes(&r->dst.hbm), 0);
    if (r->src_mem == ISA_HBM)
        touch_add(t, c, xfer, var_find(c->sg, r->src.hbm.var_id), 0, place_bytes(&r->src.hbm));
}

/* The engine's transfers, from number *next on. */
static void engine_add(struct tracker *t, unsigned core, const struct neff_engine_code *code,
                       uint32_t *next)
{
    struct group_order *order = mem_calloc((size_t)code->group_count + 1, sizeof(*order));
    uint64_t records = code->instr_bytes / sizeof(struct isa_record);

    t->failed = t->failed || !order;
    if (!order)
        return;
    for (uint32_t i = 0; i < code->group_count; i++)
        order[i] = (struct group_order){code->groups[i].id, i};
    qsort(order, code->group_count, sizeof(*order), by_id);
    for (uint32_t i = 0; i < code->group_count; i++)
        group_add(t, core, (*next)++, &code->groups[order[i].index]);
    mem_free(order);
    for (uint64_t i = 0; i < records; i++) {
        const struct isa_op_info *op;
        struct isa_record r;

        memcpy(&r, code->instr + i * sizeof(r), sizeof(r));
        op = isa_op_info(r.opcode);
        if (op && op->format == ISA_FMT_DYN)
            dynamic_add(t, core, (*next)++, &r.body.d);
    }
}

static void core_init(struct tracker *t, unsigned core)
{
    struct core_map *c = &t->core[core];
    uint32_t next = 0;

    c->sg = viewer_subgraph(t->m, core);
    if (!c->sg || !c->sg->isa_name || strcmp(c->sg->isa_name, NEFF_ISA_NAME) != 0) {
        c->sg = NULL;
        return;
    }
    c->use = mem_calloc((size_t)c->sg->var_count + 1, sizeof(*c->use));
    t->failed = t->failed || !c->use;
    for (unsigned e = 0; e < NEFF_ENGINE_COUNT && !t->failed; e++)
        if (c->sg->engines[e].present)
            engine_add(t, core, &c->sg->engines[e], &next);
}

/* ---- an execution ---- */

static void use_add(struct core_map *c, uint32_t var, const struct ntff_event *e, uint64_t written,
                    uint64_t read)
{
    struct viewer_scratch_use *u = &c->use[var];

    if (e->start_ps < u->from_ps)
        u->from_ps = e->start_ps;
    if (e->end_ps > u->to_ps)
        u->to_ps = e->end_ps;
    u->var = &c->sg->vars[var];
    add(&u->written, written);
    add(&u->read, read);
}

static size_t touch_first(const struct core_map *c, uint32_t xfer)
{
    size_t low = 0, high = c->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (c->touches[mid].xfer < xfer)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void xfer_take(struct core_map *c, const struct ntff_event *e)
{
    uint32_t xfer = (uint32_t)e->value;

    for (size_t i = touch_first(c, xfer); i < c->count && c->touches[i].xfer == xfer; i++)
        use_add(c, c->touches[i].var, e, c->touches[i].written, c->touches[i].read);
}

static void coll_take(struct core_map *c, const struct ntff_event *e)
{
    const struct neff_coll *coll;

    if ((uint32_t)e->value >= c->sg->coll_count)
        return;
    coll = &c->sg->colls[e->value];
    for (uint32_t i = 0; i < coll->in_count; i++)
        if (is_scratch(c->sg, coll->in[i].var))
            use_add(c, coll->in[i].var, e, 0, coll->in[i].size);
    for (uint32_t i = 0; i < coll->out_count; i++)
        if (is_scratch(c->sg, coll->out[i].var))
            use_add(c, coll->out[i].var, e, coll->out[i].size, 0);
}

struct edge {
    uint64_t ps, bytes;
    bool begins;
};

/* Ends before starts: what is over makes room for what begins. */
static int by_time(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;

    if (x->ps != y->ps)
        return x->ps < y->ps ? -1 : 1;
    return (int)x->begins - (int)y->begins;
}

static void step_add(struct tracker *t, const struct viewer_scratch_step *step)
{
    struct viewer_scratch *s = t->s;

    if (t->failed || step->from_ps == step->to_ps)
        return;
    if (step->bytes > s->peak_bytes) {
        s->peak_bytes = step->bytes;
        s->peak_ps = step->from_ps;
    }
    t->failed = !mem_grow((void **)&s->steps, &s->step_cap, s->step_count + 1, sizeof(*s->steps));
    if (!t->failed)
        s->steps[s->step_count++] = *step;
}

/* Steps of the uses from first on, all of one core and execution that lasts from base to end. */
static void steps_add(struct tracker *t, size_t first, uint64_t run, uint32_t core, uint64_t base,
                      uint64_t end)
{
    const struct viewer_scratch_use *uses = t->s->uses;
    size_t count = t->s->use_count - first, edges = 0;
    struct edge *edge = mem_calloc(2 * count + 1, sizeof(*edge));
    struct viewer_scratch_step step = {run, core, base, base, 0};

    t->failed = t->failed || !edge;
    for (size_t i = first; !t->failed && i < t->s->use_count; i++) {
        edge[edges++] = (struct edge){uses[i].from_ps, uses[i].var->size, true};
        edge[edges++] = (struct edge){uses[i].to_ps, uses[i].var->size, false};
    }
    if (edges > 1)
        qsort(edge, edges, sizeof(*edge), by_time);
    for (size_t i = 0; i < edges; i++) {
        step.to_ps = edge[i].ps;
        step_add(t, &step);
        step.from_ps = edge[i].ps;
        step.bytes = edge[i].begins ? step.bytes + edge[i].bytes : step.bytes - edge[i].bytes;
    }
    step.to_ps = end > step.from_ps ? end : step.from_ps;
    step_add(t, &step);
    mem_free(edge);
}

static void uses_end(struct tracker *t, struct core_map *c, uint32_t core, uint64_t run,
                     uint64_t base, uint64_t total)
{
    struct viewer_scratch *s = t->s;
    size_t first = s->use_count;

    for (uint32_t v = 0; v < c->sg->var_count && !t->failed; v++) {
        struct viewer_scratch_use u = c->use[v];

        if (u.from_ps >= u.to_ps)
            continue;
        u.run = run;
        u.core = core;
        add(&u.from_ps, base);
        add(&u.to_ps, base);
        t->failed = !mem_grow((void **)&s->uses, &s->use_cap, s->use_count + 1, sizeof(*s->uses));
        if (!t->failed)
            s->uses[s->use_count++] = u;
    }
    add(&total, base);
    steps_add(t, first, run, core, base, total);
}

static void exec_add(struct tracker *t, const struct ntff_exec *e, uint64_t base)
{
    const struct ntff_event *ev = t->m->n->events + e->first_event;

    for (unsigned core = 0; core < TIME_CORES && !t->failed; core++) {
        struct core_map *c = &t->core[core];

        if (!c->sg)
            continue;
        for (uint32_t v = 0; v < c->sg->var_count; v++)
            c->use[v] = (struct viewer_scratch_use){.from_ps = UINT64_MAX};
        for (uint64_t i = 0; i < e->events; i++) {
            if (ev[i].unit >> 3 != core)
                continue;
            if (ev[i].kind == TIME_EV_XFER)
                xfer_take(c, &ev[i]);
            else if (ev[i].kind == TIME_EV_COLL)
                coll_take(c, &ev[i]);
        }
        uses_end(t, c, core, e->run, base, e->total_ps);
    }
}

NRT_STATUS viewer_scratch_make(struct viewer_scratch *ret, const struct viewer_model *m,
                               struct err *err)
{
    struct tracker t = {.m = m, .s = ret};
    uint64_t base = 0;

    *ret = (struct viewer_scratch){0};
    for (unsigned c = 0; c < TIME_CORES && c < m->m->cores; c++)
        core_init(&t, c);
    for (const struct ntff_exec *e = viewer_exec_first(m); !t.failed && e;
         e = viewer_exec_next(m, e)) {
        exec_add(&t, e, base);
        add(&base, e->total_ps);
    }
    for (unsigned c = 0; c < TIME_CORES; c++) {
        mem_free(t.core[c].touches);
        mem_free(t.core[c].use);
    }
    return t.failed ? err_set(err, NRT_RESOURCE, "no memory for the use of a scratchpad")
                    : NRT_SUCCESS;
}

void viewer_scratch_fini(struct viewer_scratch *s)
{
    mem_free(s->uses);
    mem_free(s->steps);
    *s = (struct viewer_scratch){0};
}
