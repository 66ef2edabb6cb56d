/* SPDX-License-Identifier: Apache-2.0 */
/* The collectives of a model on one rank: who takes part in each entry, with which communicator,
 * and the plan that carries it out. All ranks of a model walk their tables in the same order, and
 * so meet in the same order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "coll/world_int.h"

/* What is known of one entry before its communicator exists. */
struct draft {
    struct coll_entry *e;
    uint32_t core, index;  /* subgraph and number in its table */
    const uint32_t *ranks; /* of the group, as the meet counts them */
    uint32_t n, me;
    uint64_t signature;
    bool wanted; /* its communicator is among the maker's */
};

struct maker {
    struct coll_world *w;
    struct coll_rank *r;
    const struct coll_table_config *cfg;
    struct coll_table *t;
    struct draft *drafts;
    size_t count;
    struct agree_comm *comms; /* that this rank's entries want */
    size_t comm_count, comm_cap;
    struct arena scratch;
    struct err *err;
};

static NRT_STATUS no_memory(struct maker *m)
{
    return err_set(m->err, NRT_RESOURCE, "no memory for the collectives of a model");
}

static NRT_STATUS entry_fail(struct maker *m, const struct draft *d, NRT_STATUS st,
                             const char *text)
{
    return err_set(m->err, st, "%s: [%u]: %s", m->cfg->neff->graphs[d->core].coll_member, d->index,
                   text);
}

/* ---- who takes part ---- */

/* Rank `model` of the model as the meet counts. */
static uint32_t meet_rank(const struct maker *m, uint32_t model)
{
    return m->cfg->count == 1 ? 0 : m->r->id - m->cfg->rank + model;
}

static NRT_STATUS members_set(struct maker *m, struct draft *d, const uint32_t *ranks, uint32_t n)
{
    uint32_t *copy = arena_calloc(&m->t->mem, n, sizeof(*copy));

    if (!copy)
        return no_memory(m);
    d->me = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        copy[i] = meet_rank(m, ranks[i]);
        if (ranks[i] == m->cfg->rank)
            d->me = i;
    }
    d->ranks = copy;
    d->n = n;
    return NRT_SUCCESS;
}

/* The ranks of the pairs, each once, ascending. */
static NRT_STATUS members_of_pairs(struct maker *m, struct draft *d)
{
    const struct neff_coll *c = d->e->c;
    uint32_t *list = mem_calloc((size_t)c->pair_count * 2, sizeof(*list)), n = 0;
    NRT_STATUS st;

    if (!list)
        return no_memory(m);
    for (uint32_t i = 0; i < 2 * c->pair_count; i++) {
        uint32_t rank = c->pairs[i / 2][i % 2], at = n;

        while (at > 0 && list[at - 1] >= rank)
            at--;
        if (at < n && list[at] == rank)
            continue;
        memmove(list + at + 1, list + at, (n - at) * sizeof(*list));
        list[at] = rank;
        n++;
    }
    st = members_set(m, d, list, n);
    mem_free(list);
    return st;
}

/* The group that this rank is in; none: it takes no part. */
static NRT_STATUS members_find(struct maker *m, struct draft *d)
{
    const struct neff_coll *c = d->e->c;

    d->me = UINT32_MAX;
    if (c->group_count == 0)
        return members_of_pairs(m, d);
    for (uint32_t g = 0; g < c->group_count && d->me == UINT32_MAX; g++) {
        NRT_STATUS st = NRT_SUCCESS;

        for (uint32_t i = 0; i < c->groups[g].rank_count; i++)
            if (c->groups[g].ranks[i] == m->cfg->rank)
                st = members_set(m, d, c->groups[g].ranks, c->groups[g].rank_count);
        if (st)
            return st;
    }
    return NRT_SUCCESS;
}

/* ---- what tells entries apart ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        h = (h ^ (uint8_t)(v >> 8 * i)) * UINT64_C(1099511628211);
    return h;
}

/* Send and receive are the two ends of one operation. */
static unsigned op_kind(enum neff_coll_op op)
{
    return op == NEFF_COLL_RECV ? NEFF_COLL_SEND : op;
}

/* Both sides are the same memory (5.3: the smaller side lies in the larger at this rank's place).
 */
static bool in_place(const struct draft *d)
{
    const struct neff_coll *c = d->e->c;

    if (d->e->tiles) /* their copies differ */
        return false;
    for (uint32_t i = 0; i < c->in_count; i++) {
        const struct neff_coll_range *in = &c->in[i], *out = &c->out[i];
        uint64_t in_off = in->off, out_off = out->off;

        if (c->op == NEFF_COLL_ALL_GATHER)
            out_off += d->me * in->size;
        if (c->op == NEFF_COLL_REDUCE_SCATTER)
            in_off += d->me * out->size;
        if (in->var != out->var || in_off != out_off)
            return false;
    }
    return c->in_count > 0 && d->e->kind == ENTRY_FIXED && op_kind(c->op) != NEFF_COLL_SEND;
}

static uint64_t signature_of(const struct maker *m, const struct draft *d)
{
    const struct coll_entry *e = d->e;
    const struct neff_coll *c = e->c;
    uint64_t h = UINT64_C(14695981039346656037);

    h = mix(h, op_kind(c->op));
    h = mix(h, (uint64_t)c->reduce << 32 | c->dtype);
    h = mix(h, (uint64_t)c->in_count << 32 | c->out_count);
    for (uint32_t i = 0; i < c->in_count; i++)
        h = mix(mix(h, c->in[i].size), c->out[i].size);
    if (c->metadata_var != NEFF_NONE)
        h = mix(h, varies_rows(c, &m->cfg->neff->graphs[d->core], d->n));
    for (uint32_t i = 0; i < c->pair_count; i++)
        h = mix(h, (uint64_t)c->pairs[i][0] << 32 | c->pairs[i][1]);
    for (const char *p = c->algorithm; p && *p; p++)
        h = mix(h, (uint8_t)*p);
    return (h & ~SHARED_IN_PLACE) | (in_place(d) ? SHARED_IN_PLACE : 0);
}

/* The same in words. */
static void words_make(const struct neff_coll *c, struct agree_words *ret)
{
    static const char *const reduce[] = {"", " (add)", " (min)", " (max)"};
    uint64_t in = 0, out = 0;
    const char *type = dtype_name(c->dtype);

    for (uint32_t i = 0; i < c->in_count; i++)
        in += c->in[i].size;
    for (uint32_t i = 0; i < c->out_count; i++)
        out += c->out[i].size;
    snprintf(ret->text, sizeof(ret->text), "%s%s of %s, %llu to %llu bytes%s%s",
             neff_coll_op_name(c->op), reduce[c->reduce], type ? type : "no type",
             (unsigned long long)in, (unsigned long long)out, c->algorithm ? " by " : "",
             c->algorithm ? c->algorithm : "");
}

/* ---- plans ---- */

static NRT_STATUS pairs_find(struct maker *m, const struct draft *d, struct topo_pair **ret,
                             uint32_t *ret_count)
{
    const struct neff_coll *c = d->e->c;
    struct topo_pair *pairs = mem_calloc(c->pair_count, sizeof(*pairs));
    uint32_t n = 0;

    if (!pairs)
        return no_memory(m);
    for (uint32_t i = 0; i < c->pair_count; i++) {
        uint32_t ends[2], found = 0;

        for (unsigned k = 0; k < 2; k++)
            for (uint32_t r = 0; r < d->n; r++)
                if (d->ranks[r] == meet_rank(m, c->pairs[i][k])) {
                    ends[k] = r;
                    found++;
                }
        if (found == 1) {
            mem_free(pairs);
            return entry_fail(m, d, NRT_INVALID, "a pair leaves its group");
        }
        if (found == 2)
            pairs[n++] = (struct topo_pair){ends[0], ends[1]};
    }
    *ret = pairs;
    *ret_count = n;
    return NRT_SUCCESS;
}

enum sched_op coll_sched_op(enum neff_coll_op op)
{
    static const enum sched_op ops[NEFF_COLL_OP_COUNT] = {
        [NEFF_COLL_ALL_GATHER] = SCHED_ALL_GATHER,
        [NEFF_COLL_REDUCE_SCATTER] = SCHED_REDUCE_SCATTER,
        [NEFF_COLL_ALL_REDUCE] = SCHED_ALL_REDUCE,
        [NEFF_COLL_ALL_TO_ALL] = SCHED_ALL_TO_ALL,
        [NEFF_COLL_ALL_GATHER_V] = SCHED_ALL_GATHER_V,
        [NEFF_COLL_ALL_TO_ALL_V] = SCHED_ALL_TO_ALL_V,
        [NEFF_COLL_REDUCE_SCATTER_V] = SCHED_REDUCE_SCATTER_V,
        [NEFF_COLL_PERMUTE] = SCHED_PERMUTE,
        [NEFF_COLL_SEND] = SCHED_ALL_TO_ALL_V,
        [NEFF_COLL_RECV] = SCHED_ALL_TO_ALL_V,
        [NEFF_COLL_BARRIER] = SCHED_BARRIER};

    return ops[op];
}

enum kernel_combine coll_combine(enum neff_coll_reduce r)
{
    return r == NEFF_REDUCE_MIN   ? KERNEL_COMBINE_MIN
           : r == NEFF_REDUCE_MAX ? KERNEL_COMBINE_MAX
                                  : KERNEL_COMBINE_SUM;
}

/* What an entry takes on devices, for records of device time and the log. That it is not known is
 * no reason to fail. */
static void time_find(struct maker *m, const struct draft *d, const struct coll_wish *wish)
{
    struct coll_entry *e = d->e;
    struct time_collective t;
    struct strbuf unknown = {0};
    struct err err = {0};

    if (!m->cfg->device_time)
        return;
    if (coll_choose_time(e->comm->comm, wish, &t, m->cfg->moves ? &e->moves : NULL, &err) !=
        NRT_SUCCESS) {
        LOGW(m->w->cfg.log, LOG_NRT, "device_time", "%s: [%u]: no device time: %s",
             m->cfg->neff->graphs[d->core].coll_member, d->index, err.text);
        return;
    }
    e->lasts_ps = time_ps_of_ns(t.ns);
    e->engines_ps = time_ps_of_ns(t.engines_ns);
    e->packet_ps = m->cfg->packet_ps[e->stream];
    for (int i = 0; i < TIME_RATE_COUNT; i++)
        if (t.unknown >> i & 1)
            strbuf_printf(&unknown, "%s %s", unknown.s ? "," : "; at least, not known:",
                          time_rate_name((enum time_rate)i));
    LOGI(m->w->cfg.log, LOG_NRT, "device_time",
         "%s: [%u]: %s of %u ranks lasts %.3f us, mostly %s%s",
         m->cfg->neff->graphs[d->core].coll_member, d->index, sched_op_name(wish->op), d->n,
         t.ns / 1e3, time_part_name(t.bottleneck), unknown.s ? unknown.s : "");
    strbuf_fini(&unknown);
}

/* Send and receive are pairs that need not close: full mesh with counts that are known now. */
static NRT_STATUS pairs_plan(struct maker *m, struct draft *d, struct coll_wish *wish,
                             struct err *err)
{
    size_t cells = (size_t)d->n * d->n;
    uint32_t *count = mem_calloc(cells, sizeof(*count)), *zero = mem_calloc(cells, sizeof(*zero));
    NRT_STATUS st;

    wish->in_elems = wish->out_elems = wish->counts[0];
    wish->tensors = 0;
    if (!count || !zero) {
        st = no_memory(m);
        coll_comm_set_unfit(d->e->comm->comm);
    } else if (wish->in_elems > UINT32_MAX) {
        st = err_set(err, NRT_INVALID, "more than 2^32 - 1 elements");
    } else {
        for (uint32_t i = 0; i < wish->pair_count; i++)
            count[(size_t)wish->pairs[i].source * d->n + wish->pairs[i].target] =
                (uint32_t)wish->in_elems;
        wish->send_count = count;
        wish->send_displ = wish->recv_displ = zero;
        wish->pair_count = 0;
        st = shared_plan_get(d->e->comm, wish, &d->e->plan, err);
        if (!st)
            time_find(m, d, wish);
    }
    mem_free(count);
    mem_free(zero);
    return st;
}

static NRT_STATUS plan_find(struct maker *m, struct draft *d)
{
    struct coll_entry *e = d->e;
    const struct neff_coll *c = e->c;
    uint64_t counts[SCHED_TENSORS_MAX];
    struct topo_pair *pairs = NULL;
    struct coll_wish wish = {.op = coll_sched_op(c->op),
                             .dtype = c->dtype,
                             .reduce = coll_combine(c->reduce),
                             .in_place = e->in_place,
                             .tensors = c->in_count,
                             .counts = counts,
                             .algorithm = c->algorithm};
    struct err why = {0};
    NRT_STATUS st = NRT_SUCCESS;

    for (uint32_t i = 0; i < c->in_count; i++)
        counts[i] = (c->op == NEFF_COLL_REDUCE_SCATTER ? c->out[i].size : c->in[i].size) /
                    dtype_size(c->dtype);
    if (c->pair_count)
        st = pairs_find(m, d, &pairs, &wish.pair_count);
    if (st == NRT_RESOURCE) /* of this rank alone: the others hear of it with their next plan */
        coll_comm_set_unfit(e->comm->comm);
    wish.pairs = pairs;
    if (!st) {
        if (e->kind == ENTRY_VARIES)
            st = varies_make(e, &m->cfg->neff->graphs[d->core], &why);
        else if (op_kind(c->op) == NEFF_COLL_SEND)
            st = pairs_plan(m, d, &wish, &why);
        else
            st = shared_plan_get(e->comm, &wish, &e->plan, &why);
        if (!st && e->kind == ENTRY_FIXED && op_kind(c->op) != NEFF_COLL_SEND)
            time_find(m, d, &wish);
        if (st)
            (void)entry_fail(m, d, st, why.text);
    }
    mem_free(pairs);
    return st;
}

/* ---- entries ---- */

static NRT_STATUS entry_check(struct maker *m, const struct draft *d)
{
    const struct neff_coll *c = d->e->c;

    if (c->in_count > SCHED_TENSORS_MAX)
        return entry_fail(m, d, NRT_INVALID, "more than 64 coalesced tensors");
    if (c->metadata_var != NEFF_NONE && c->metadata_off % sizeof(uint32_t) != 0)
        return entry_fail(m, d, NRT_INVALID, "the metadata are not at a multiple of 4 bytes");
    if (c->op == NEFF_COLL_PERMUTE && c->reduce != NEFF_REDUCE_NONE)
        return entry_fail(m, d, NRT_INVALID, "a permute that reduces cannot be executed");
    return NRT_SUCCESS;
}

static NRT_STATUS entry_draft(struct maker *m, struct draft *d, uint32_t core, uint32_t index)
{
    struct coll_entry *e = &m->t->entry[core][index];
    NRT_STATUS st;

    e->c = &m->cfg->neff->graphs[core].colls[index];
    e->stream = (uint8_t)e->c->stream;
    e->inputs = e->c->in_count;
    e->outputs = e->c->out_count;
    e->host = arena_calloc(&m->t->mem, (size_t)e->inputs + e->outputs, sizeof(*e->host));
    e->addr = arena_calloc(&m->t->mem, (size_t)e->inputs + e->outputs, sizeof(*e->addr));
    e->copy = arena_calloc(&m->t->mem, (size_t)e->inputs + e->outputs, sizeof(*e->copy));
    e->tiles = e->inputs > 0 && e->c->in[0].partitions > 0;
    if (!e->host || !e->addr || !e->copy)
        return no_memory(m);
    *d = (struct draft){.e = e, .core = core, .index = index};
    st = entry_check(m, d);
    if (!st)
        st = members_find(m, d);
    if (st || d->me == UINT32_MAX)
        return st;
    e->kind = e->c->metadata_var != NEFF_NONE ? ENTRY_VARIES : ENTRY_FIXED;
    d->signature = signature_of(m, d);
    return NRT_SUCCESS;
}

static bool same_comm(const struct draft *a, const struct draft *b)
{
    return a->e->kind != ENTRY_IDLE && b->e->kind != ENTRY_IDLE && a->n == b->n &&
           a->e->stream == b->e->stream &&
           memcmp(a->ranks, b->ranks, a->n * sizeof(*a->ranks)) == 0;
}

/* A communicator that the table wants: that of the first entry that has none yet. */
static NRT_STATUS comm_want(struct maker *m, size_t first)
{
    const struct draft *head = &m->drafts[first];
    struct agree_comm c = {
        .n = head->n, .me = head->me, .stream = head->e->stream, .ranks = head->ranks};
    uint32_t *graph = arena_calloc(&m->scratch, m->count, sizeof(*graph));
    uint32_t *entry = arena_calloc(&m->scratch, m->count, sizeof(*entry));
    struct agree_words *words = arena_calloc(&m->scratch, m->count, sizeof(*words));

    c.signature = arena_calloc(&m->scratch, m->count, sizeof(*c.signature));
    if (!graph || !entry || !words || !c.signature ||
        !mem_grow((void **)&m->comms, &m->comm_cap, m->comm_count + 1, sizeof(*m->comms)))
        return no_memory(m);
    for (size_t i = first; i < m->count; i++) {
        struct draft *d = &m->drafts[i];

        if (!same_comm(head, d))
            continue;
        d->wanted = true;
        graph[c.count] = d->core;
        entry[c.count] = d->index;
        words_make(d->e->c, &words[c.count]);
        c.signature[c.count++] = d->signature;
    }
    c.graph = graph;
    c.entry = entry;
    c.words = words;
    m->comms[m->comm_count++] = c;
    return NRT_SUCCESS;
}

static int by_order(const void *a, const void *b)
{
    const struct agree_comm *x = a, *y = b;

    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

static struct draft *draft_of(struct maker *m, const struct agree_comm *c, size_t i)
{
    struct draft *d = m->drafts;

    while (d->core != c->graph[i] || d->index != c->entry[i])
        d++;
    return d;
}

/* The plans of all entries that use it. A rank that fails goes on until the others know, which is
 * when they all make the next plan. */
static NRT_STATUS plans_make(struct maker *m, const struct agree_comm *c, struct shared_comm *sc)
{
    NRT_STATUS st = NRT_SUCCESS;

    for (size_t i = 0; i < c->count && (!st || coll_comm_unfit(sc->comm)); i++) {
        struct draft *d = draft_of(m, c, i);
        NRT_STATUS made;

        d->e->comm = sc;
        d->e->in_place = c->signature[i] & SHARED_IN_PLACE;
        made = plan_find(m, d);
        m->r->heard = m->r->heard || (!st && made == NRT_FAILURE);
        st = st ? st : made;
    }
    return st;
}

/* One communicator with its plans. Of a load that has failed only this: its members are told. */
static NRT_STATUS comm_make(struct maker *m, const struct agree_comm *c)
{
    struct shared_want want = {.alone = m->cfg->count == 1,
                               .failed = m->err->status != NRT_SUCCESS,
                               .n = c->n,
                               .me = c->me,
                               .stream = c->stream,
                               .ranks = c->ranks};
    struct shared_comm *sc = NULL;
    struct err why = {0};
    NRT_STATUS st;

    if (!mem_grow((void **)&m->t->comms, &m->t->comm_cap, m->t->comm_count + 1,
                  sizeof(*m->t->comms))) {
        (void)no_memory(m);
        want.failed = true;
    }
    st = shared_comm_get(m->r, &want, &sc, &why);
    if (st) {
        m->r->heard = m->r->heard || (!want.failed && st == NRT_FAILURE);
        (void)err_set(m->err, st, "%s", why.text);
    } else {
        m->t->comms[m->t->comm_count++] = sc;
        st = plans_make(m, c, sc);
    }
    shared_comm_part(m->r, &want);
    return st;
}

/* ---- tables ---- */

static NRT_STATUS streams_check(struct maker *m)
{
    const struct device_instance *in = m->w->cfg.in;
    const struct topo_instance *type = device_topo(in);
    unsigned streams = 0;
    struct topo_cc cc;

    for (size_t i = 0; i < m->count; i++)
        if (m->drafts[i].e->stream >= streams)
            streams = m->drafts[i].e->stream + 1u;
    if (streams == 0)
        return NRT_SUCCESS;
    return topo_cc_cores(type, device_lnc(in), m->r->core % type->cores_per_device / device_lnc(in),
                         streams, 0, &cc, m->err);
}

/* The table as far as this rank makes it by itself. */
static NRT_STATUS table_draft(struct maker *m)
{
    const struct neff *neff = m->cfg->neff;
    NRT_STATUS st = NRT_SUCCESS;

    for (uint32_t c = 0; c < neff->graph_count; c++) {
        m->t->count[c] = neff->graphs[c].coll_count;
        m->t->entry[c] = arena_calloc(&m->t->mem, m->t->count[c], sizeof(*m->t->entry[c]));
        if (!m->t->entry[c])
            return no_memory(m);
        m->count += m->t->count[c];
    }
    m->drafts = mem_calloc(m->count, sizeof(*m->drafts));
    if (!m->drafts)
        return no_memory(m);
    m->count = 0;
    for (uint32_t c = 0; c < neff->graph_count; c++)
        for (uint32_t i = 0; i < m->t->count[c] && !st; i++)
            st = entry_draft(m, &m->drafts[m->count++], c, i);
    if (!st)
        st = streams_check(m);
    for (size_t i = 0; i < m->count && !st; i++)
        if (m->drafts[i].e->kind != ENTRY_IDLE && !m->drafts[i].wanted)
            st = comm_want(m, i);
    return st;
}

/* With the others. Whatever fails, every exchange that the others enter is entered. */
static NRT_STATUS table_meet(struct maker *m)
{
    bool alone = m->cfg->count == 1;
    const uint32_t *model = alone ? NULL : model_ranks(m->r, m->cfg->rank);

    if (!alone)
        (void)agree_tables(m->r, model, m->cfg->count, m->cfg->neff, m->comms, m->comm_count,
                           m->err);
    if (m->err->status) /* all know */
        return m->err->status;
    if (m->comm_count)
        qsort(m->comms, m->comm_count, sizeof(*m->comms), by_order);
    for (size_t i = 0; i < m->comm_count; i++)
        (void)comm_make(m, &m->comms[i]);
    return m->err->status;
}

NRT_STATUS model_ranks_check(const struct coll_rank *r, uint32_t rank, uint32_t count,
                             struct err *err)
{
    if (count == 1)
        return NRT_SUCCESS;
    if (!r->meet)
        return err_set(err, NRT_INVALID, "logical core %u has no global communicator", r->vnc);
    if (r->id < rank || r->id - rank + (uint64_t)count > r->count)
        return err_set(err, NRT_INVALID,
                       "rank %u of a world of %u does not fit global rank %u of %u: the ranks of a "
                       "model follow each other in the global communicator, which is made for the "
                       "largest world (nrt_build_global_comm)",
                       rank, count, r->id, r->count);
    return NRT_SUCCESS;
}

NRT_STATUS coll_table_create(struct coll_world *w, const struct coll_table_config *cfg,
                             struct coll_table **ret, struct err *err)
{
    struct maker m = {.w = w, .r = &w->ranks[cfg->vnc], .cfg = cfg, .err = err};
    NRT_STATUS st;

    st = model_ranks_check(m.r, cfg->rank, cfg->count, err);
    if (st) /* on all ranks */
        return st;
    m.t = mem_zalloc(sizeof(*m.t));
    if (m.t)
        m.t->rank = m.r;
    pthread_mutex_lock(&m.r->loading);
    m.r->heard = false;
    (void)(m.t ? table_draft(&m) : no_memory(&m));
    st = table_meet(&m);
    pthread_mutex_unlock(&m.r->loading);
    mem_free(m.drafts);
    mem_free(m.comms);
    arena_fini(&m.scratch);
    if (st) {
        coll_table_destroy(m.t);
        return st;
    }
    *ret = m.t;
    return NRT_SUCCESS;
}

NRT_STATUS coll_table_confirm(struct coll_world *w, const struct coll_table_config *cfg,
                              struct coll_table *t, struct err *err)
{
    struct coll_rank *r = &w->ranks[cfg->vnc];

    if (cfg->count > 1) {
        pthread_mutex_lock(&r->loading);
        (void)agree_done(r, model_ranks(r, cfg->rank), cfg->count, err);
        pthread_mutex_unlock(&r->loading);
    }
    if (t && !err->status)
        t->confirmed = true;
    return err->status;
}

static void entry_fini(struct coll_rank *r, struct coll_entry *e)
{
    struct err ignored = {0};

    for (uint32_t i = 0; e->copy && i < e->inputs + e->outputs; i++)
        if (e->copy[i].size)
            (void)device_free(r->w->cfg.in, &e->copy[i], &ignored);
    varies_free(e->varies);
    time_moves_fini(&e->moves);
}

void coll_table_destroy(struct coll_table *t)
{
    struct coll_rank *r;

    if (!t)
        return;
    r = t->rank;
    for (unsigned c = 0; c < CORE_MAX; c++)
        for (uint32_t i = 0; t->entry[c] && i < t->count[c]; i++)
            entry_fini(r, &t->entry[c][i]);
    while (t->comm_count) {
        struct shared_comm *c = t->comms[--t->comm_count];

        if (!t->confirmed)
            shared_comm_retire(c);
        shared_comm_put(c);
    }
    mem_free(t->comms);
    arena_fini(&t->mem);
    mem_free(t);
}

const struct time_moves *coll_table_moves(const struct coll_table *t, unsigned core, uint32_t entry)
{
    const struct coll_entry *e;

    if (core >= CORE_MAX || entry >= t->count[core])
        return NULL;
    e = &t->entry[core][entry];
    return e->moves.count > 0 ? &e->moves : NULL;
}

NRT_STATUS coll_table_status(const struct coll_table *t, struct err *err)
{
    for (size_t i = 0; i < t->comm_count; i++) {
        NRT_STATUS st = coll_comm_status(t->comms[i]->comm);

        if (st)
            return err_set(err, st, "a communicator of %u ranks is broken by an operation before",
                           t->comms[i]->n);
    }
    return NRT_SUCCESS;
}
