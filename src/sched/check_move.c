/* SPDX-License-Identifier: Apache-2.0 */
/* Steps that move data: their operands, found and checked, and what becomes of the values. */
#include "base/checked.h"
#include "check_int.h"

/* ---- steps: what they touch ---- */

uint32_t chk_node_of(const struct chk *c, uint32_t rank)
{
    return c->source->node ? c->source->node(c->source->ctx, rank) : 0;
}

/* Whether [off, off + count), moved by stride for every repetition, stays in [0, limit). */
static bool operand_inside(const struct sched_ref *ref, const struct sched_step *st, uint64_t limit)
{
    int64_t far, last;

    if (ref->off > (uint64_t)INT64_MAX || !range_ok(ref->off, st->count, limit))
        return false;
    if (i64_mul_over(ref->stride, (int64_t)st->repeat - 1, &far) ||
        i64_add_over((int64_t)ref->off, far, &last) || last < 0)
        return false;
    return range_ok((uint64_t)last, st->count, limit);
}

static bool line_operand(struct chk *c, const struct chk_seq *s, const struct sched_ref *ref,
                         struct chk_operand *ret, uint64_t *limit)
{
    struct chk_line *line = chk_line_get(c, ref->rank, ref->tensor, s->channel);

    if (!line)
        return chk_no_memory(c);
    ret->mem = &line->set[c->rank[s->rank].operation & 1];
    *limit = ret->mem->elems;
    return true;
}

static void channel_operand(struct chk *c, const struct chk_seq *s, const struct sched_ref *ref,
                            struct chk_operand *ret, uint64_t *limit)
{
    size_t i = ((size_t)ref->rank * c->channels + s->channel) * 2 + (ref->buf == SCHED_TEMP);

    ret->mem = &c->channel[i];
    *limit = ret->mem->elems;
}

static bool ref_valid(const struct chk *c, const struct chk_seq *s, const struct sched_ref *ref)
{
    switch (ref->buf) {
    case SCHED_IN:
    case SCHED_OUT:
        return ref->rank < c->ranks && (s->step->count == 0 || ref->tensor < c->req->tensors);
    case SCHED_SLOT:
    case SCHED_TEMP:
        return ref->rank < c->ranks;
    case SCHED_LINE:
        return ref->rank < c->ranks && ref->tensor < c->ranks;
    default:
        return false;
    }
}

bool chk_operand_find(struct chk *c, const struct chk_seq *s, const struct sched_ref *ref,
                      struct chk_operand *ret)
{
    const struct sched_step *st = s->step;
    uint64_t limit = 0;
    struct chk_spot spot = {(enum sched_buf)ref->buf, ref->rank, ref->tensor, ref->off};

    if (!ref_valid(c, s, ref))
        return chk_fail(c, s, SCHED_FLAW_STEP, NULL, "names buffer %u of rank %u, tensor %u",
                        ref->buf, ref->rank, ref->tensor);
    if (chk_node_of(c, ref->rank) != chk_node_of(c, s->rank))
        return chk_fail(c, s, SCHED_FLAW_NODE, &spot, "is on another node");
    *ret = (struct chk_operand){.off = ref->off, .stride = ref->stride};
    if (st->count == 0)
        return true; /* moves nothing, wherever it is */
    if (ref->buf == SCHED_LINE) {
        if (!line_operand(c, s, ref, ret, &limit))
            return false;
    } else if (ref->buf == SCHED_SLOT || ref->buf == SCHED_TEMP) {
        channel_operand(c, s, ref, ret, &limit);
    } else {
        limit = chk_tensor_elems(c, (enum sched_buf)ref->buf, ref->tensor);
        ret->mem = chk_tensor_mem(c, (enum sched_buf)ref->buf, ref->rank, ref->tensor, &ret->off);
    }
    ret->shift = ret->off - ref->off;
    if (!operand_inside(ref, st, limit))
        return chk_fail(c, s, SCHED_FLAW_BOUNDS, &spot,
                        "and the %llu after it, %u times, leave the buffer of %llu elements",
                        (unsigned long long)st->count - 1, st->repeat, (unsigned long long)limit);
    return true;
}

static bool operands_find(struct chk *c, const struct chk_seq *s, struct chk_operand *src,
                          struct chk_operand *dst)
{
    for (unsigned i = 0; i < s->step->nsrc; i++)
        if (!chk_operand_find(c, s, &s->step->src[i], &src[i]))
            return false;
    for (unsigned i = 0; i < s->step->ndst; i++)
        if (!chk_operand_find(c, s, &s->step->dst[i], &dst[i]))
            return false;
    return true;
}

struct chk_spot chk_ref_spot(const struct sched_ref *ref)
{
    return (struct chk_spot){(enum sched_buf)ref->buf, ref->rank, ref->tensor, ref->off};
}

static bool operands_overlap(const struct chk_operand *a, const struct chk_operand *b,
                             uint64_t count)
{
    return a->mem == b->mem && a->off < b->off + count && b->off < a->off + count;
}

/* A destination may be exactly a source (an accumulation), nothing else may overlap. */
static bool overlap_check(struct chk *c, const struct chk_seq *s, const struct chk_operand *src,
                          const struct chk_operand *dst)
{
    const struct sched_step *st = s->step;

    for (unsigned d = 0; d < st->ndst; d++) {
        struct chk_spot spot = chk_ref_spot(&st->dst[d]);

        spot.element = dst[d].off - dst[d].shift;
        for (unsigned e = 0; e < d; e++)
            if (operands_overlap(&dst[d], &dst[e], st->count))
                return chk_fail(c, s, SCHED_FLAW_OVERLAP, &spot, "is written twice by one step");
        for (unsigned k = 0; k < st->nsrc; k++)
            if (operands_overlap(&dst[d], &src[k], st->count) && dst[d].off != src[k].off)
                return chk_fail(c, s, SCHED_FLAW_OVERLAP, &spot,
                                "begins a destination that overlaps a source");
    }
    return true;
}

/* ---- steps: what they move ---- */

bool chk_operand_read(struct chk *c, const struct chk_seq *s, const struct sched_ref *ref,
                      const struct chk_operand *o, struct chk_access as, struct chk_runs *runs)
{
    struct chk_who who = chk_who_is(c, s);
    struct chk_found found;
    enum chk_clash clash = chk_mem_read(o->mem, o->off, s->step->count, &who, as, runs, &found);
    struct chk_spot spot = chk_ref_spot(ref);

    spot.element = 0;
    return clash == CHK_FINE || chk_clash_report(c, s, clash, spot, o->shift, &found);
}

bool chk_operand_write(struct chk *c, const struct chk_seq *s, const struct sched_ref *ref,
                       const struct chk_operand *o, struct chk_access as,
                       const struct chk_runs *runs)
{
    struct chk_who who = chk_who_is(c, s);
    struct chk_found found;
    enum chk_clash clash = chk_mem_write(o->mem, o->off, s->step->count, &who, as, runs, &found);
    struct chk_spot spot = chk_ref_spot(ref);

    spot.element = 0;
    return clash == CHK_FINE || chk_clash_report(c, s, clash, spot, o->shift, &found);
}

/* c->made: the reduction of what was read from n sources. */
static bool runs_reduce(struct chk *c, unsigned n, uint64_t count)
{
    struct chk_term term[SCHED_REFS_MAX];
    size_t at[SCHED_REFS_MAX] = {0};
    uint64_t used[SCHED_REFS_MAX] = {0}, pos = 0;

    c->made.count = 0;
    while (pos < count) {
        uint64_t len = count - pos;
        uint32_t value;

        for (unsigned k = 0; k < n; k++) {
            const struct chk_run *r = &c->read[k].run[at[k]];

            term[k] = (struct chk_term){r->value, r->off + used[k]};
            if (r->len - used[k] < len)
                len = r->len - used[k];
        }
        value = chk_value_reduce(&c->values, term, n);
        if (value == CHK_NOTHING || !chk_runs_add(&c->made, len, value, term[0].off))
            return chk_no_memory(c);
        for (unsigned k = 0; k < n; k++) {
            used[k] += len;
            if (used[k] == c->read[k].run[at[k]].len) {
                used[k] = 0;
                at[k]++;
            }
        }
        pos += len;
    }
    return true;
}

static bool flow_add(struct chk *c, uint32_t channel, uint32_t from, uint32_t to, uint64_t elems)
{
    bool fresh;
    struct sched_flow *f;

    if (from == to || elems == 0)
        return true;
    f = chk_map_element(&c->flow_of, chk_pair_key(c, to, from, 0, channel),
                        (void **)&c->counts.flow, &c->counts.flow_count, &c->flow_cap, sizeof(*f),
                        &fresh);
    if (!f)
        return chk_no_memory(c);
    f->channel = channel;
    f->from = from;
    f->to = to;
    f->elems += elems;
    return true;
}

bool chk_step_count(struct chk *c, const struct chk_seq *s)
{
    const struct sched_step *st = s->step;
    struct sched_rank_counts *n = &c->counts.rank[s->rank];
    uint64_t elems = st->count * st->repeat;

    n->reads += elems * st->nsrc * (st->kind == SCHED_COPY ? (st->ndst + 1u) / 2 : 1);
    n->writes += elems * st->ndst;
    for (unsigned d = 0; d < st->ndst; d++) {
        if (st->dst[d].rank != s->rank)
            n->sent_bytes += elems * c->req->elem_size;
        for (unsigned k = 0; k < st->nsrc; k++)
            if (!flow_add(c, s->channel, st->src[k].rank, st->dst[d].rank, elems))
                return false;
    }
    if (st->kind == SCHED_NET_SEND) {
        n->sent_bytes += elems * c->req->elem_size;
        n->net_bytes += elems * c->req->elem_size;
        return flow_add(c, s->channel, s->rank, st->peer, elems);
    }
    return true;
}

/* COPY, REDUCE, PUT. */
bool chk_step_move(struct chk *c, struct chk_seq *s)
{
    const struct sched_step *st = s->step;
    struct chk_operand src[SCHED_REFS_MAX], dst[SCHED_REFS_MAX];
    struct chk_access mine = {s->id, s->epoch};

    if (!operands_find(c, s, src, dst))
        return false;
    for (uint32_t i = 0; st->count && i < st->repeat; i++) {
        if (!overlap_check(c, s, src, dst))
            return false;
        for (unsigned k = 0; k < st->nsrc; k++)
            if (!chk_operand_read(c, s, &st->src[k], &src[k], mine, &c->read[k]))
                return false;
        if (!runs_reduce(c, st->nsrc, st->count))
            return false;
        for (unsigned d = 0; d < st->ndst; d++)
            if (!chk_operand_write(c, s, &st->dst[d], &dst[d], mine, &c->made))
                return false;
        for (unsigned k = 0; k < st->nsrc; k++)
            src[k].off += (uint64_t)src[k].stride;
        for (unsigned d = 0; d < st->ndst; d++)
            dst[d].off += (uint64_t)dst[d].stride;
    }
    s->now++;
    return true;
}
