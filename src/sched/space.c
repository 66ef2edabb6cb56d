/* SPDX-License-Identifier: Apache-2.0 */
/* Where chunks lie: from ranges of a stage's chunk to pieces of tensors.
 *
 * Each tensor t of an all_gather or reduce_scatter has N chunks of counts[t] elements; the chunks
 * of all tensors with one number form one chunk, one behind the other. An all_reduce joins its
 * tensors to one vector and cuts that. A stage of a hierarchical operation moves sets: inside a
 * node, chunk q of the stage holds the chunks (x, q) of all nodes x. Channel and pipeline slice
 * take the same part of every chunk before anything else is cut (spec section 5.1), so that the
 * data of different channels and slices never meet. */
#include "sched/space_int.h"

static bool whole_vector(const struct sched *s) /* one vector, cut; not N chunks given */
{
    return s->req.op == SCHED_ALL_REDUCE || s->req.op == SCHED_BARRIER;
}

struct sched_span sched_cut(uint64_t elems, uint32_t elem_size, uint32_t n, uint32_t i)
{
    uint64_t u = elem_size < 64 ? 64 / elem_size : 1;
    uint64_t part = elems / n + (elems % n != 0);
    uint64_t q = (part / u + (part % u != 0)) * u;
    struct sched_span ret;

    /* i * q <= elems + n * u, far from overflow for the sizes that sched_create admits */
    ret.begin = (uint64_t)i * q < elems ? (uint64_t)i * q : elems;
    ret.end = ((uint64_t)i + 1) * q < elems ? ((uint64_t)i + 1) * q : elems;
    return ret;
}

struct sched_span sched_span_cut(struct sched_span s, uint32_t elem_size, uint32_t n, uint32_t i)
{
    struct sched_span part = sched_cut(sched_span_len(s), elem_size, n, i);

    return (struct sched_span){s.begin + part.begin, s.begin + part.end};
}

static struct sched_span channel_part(const struct sched_where *w, struct sched_span span)
{
    const struct sched *s = w->s;

    span = sched_span_cut(span, s->req.elem_size, s->channels, w->channel);
    return sched_span_cut(span, s->req.elem_size, s->slices, w->slice);
}

/* Section of the vector that the ranks with local index y reduce, and of it this channel's part. */
static struct sched_span section(const struct sched_where *w, uint32_t y)
{
    const struct sched *s = w->s;

    return channel_part(w,
                        sched_cut(s->prefix[s->req.tensors], s->req.elem_size, s->g->per_node, y));
}

/* The part of one block that this channel and slice move: all blocks of a chunk have the same. */
static struct sched_span block_span(const struct sched_where *w, uint32_t q)
{
    const struct sched *s = w->s;
    struct sched_span all = {0, s->prefix[s->req.tensors]};

    if (!whole_vector(s))
        return channel_part(w, all);
    switch (w->st->scope) {
    case SCHED_INTRA:
        return section(w, q);
    case SCHED_INTER:
        if (w->st->undivided)
            return section(w, s->g->index[w->rank]);
        return sched_span_cut(section(w, s->g->index[w->rank]), s->req.elem_size, s->g->nodes, q);
    default:
        if (w->st->undivided)
            return channel_part(w, all);
        return channel_part(w, sched_cut(all.end, s->req.elem_size, s->n, q));
    }
}

static uint32_t block_count(const struct sched_where *w)
{
    return w->st->scope == SCHED_INTRA && !whole_vector(w->s) ? w->s->g->nodes : 1;
}

uint64_t sched_chunk_len(const struct sched_where *w, uint32_t q)
{
    return block_count(w) * sched_span_len(block_span(w, q));
}

uint64_t sched_hold_elems(const struct sched_where *w)
{
    const struct sched *s = w->s;
    struct sched_span all = {0, s->prefix[s->req.tensors]};

    /* channel 0 has the longest part */
    return s->g->nodes * sched_span_len(sched_span_cut(all, s->req.elem_size, s->channels, 0));
}

/* A cut has parts of one length, then at most one shorter, then empty ones. */
uint32_t sched_chunks_equal(const struct sched_where *w)
{
    const struct sched *s = w->s;
    uint64_t elems = s->prefix[s->req.tensors], part;
    uint32_t n = w->st->shape->n;

    if (!whole_vector(s) || w->st->undivided || elems == 0)
        return n;
    if (w->st->scope == SCHED_INTER)
        elems = sched_span_len(section(w, s->g->index[w->rank]));
    part = sched_span_len(sched_cut(elems, s->req.elem_size, n, 0));
    return part == 0 || elems / part >= n ? n : (uint32_t)(elems / part);
}

/* A channel's share of the shorter chunk may be longer than that of the others. */
uint64_t sched_chunk_len_max(const struct sched_where *w)
{
    uint32_t equal = sched_chunks_equal(w);
    uint64_t max = sched_chunk_len(w, 0), len;

    if (equal == w->st->shape->n)
        return max;
    len = sched_chunk_len(w, equal);
    return len > max ? len : max;
}

void sched_pieces_begin(struct sched_pieces *p, const struct sched_where *w, struct sched_range r)
{
    const struct sched *s = w->s;
    struct sched_span all = {0, s->prefix[s->req.tensors]};

    *p = (struct sched_pieces){.w = w, .r = r, .at = r.begin, .span = block_span(w, r.q)};
    if (!whole_vector(s))
        p->channel = sched_span_cut(all, s->req.elem_size, s->channels, w->channel);
}

/* The number of the chunk that block `block` of stage chunk q is. */
static uint32_t block_chunk(const struct sched_where *w, uint32_t q, uint32_t block)
{
    const struct sched *s = w->s;

    switch (w->st->scope) {
    case SCHED_INTRA:
        return s->g->at[block * s->g->per_node + q];
    case SCHED_INTER:
        return s->g->at[q * s->g->per_node + s->g->index[w->rank]];
    default:
        return q;
    }
}

bool sched_pieces_next(struct sched_pieces *p, struct sched_piece *ret)
{
    const struct sched *s = p->w->s;
    uint64_t len = sched_span_len(p->span), end;

    if (p->at >= p->r.end)
        return false;
    uint32_t block = (uint32_t)(p->at / len);
    uint64_t v = p->span.begin + p->at % len; /* in the block's chunk, or in the vector */

    while (v >= s->prefix[p->tensor + 1] || v < s->prefix[p->tensor])
        p->tensor = v < s->prefix[p->tensor] ? 0 : p->tensor + 1;
    end = s->prefix[p->tensor + 1] < p->span.end ? s->prefix[p->tensor + 1] : p->span.end;
    ret->rel = p->at - p->r.begin;
    ret->len = end - v < p->r.end - p->at ? end - v : p->r.end - p->at;
    ret->tensor = p->tensor;
    ret->small = v - s->prefix[p->tensor];
    ret->big = ret->small;
    ret->hold = 0;
    if (!whole_vector(s)) {
        uint32_t chunk = block_chunk(p->w, p->r.q, block);

        ret->big += (uint64_t)chunk * s->counts[p->tensor];
        ret->hold = s->g->node[chunk] * sched_span_len(p->channel) + v - p->channel.begin;
    }
    p->at += ret->len;
    return true;
}

struct sched_range sched_chunk(const struct sched_where *w, uint32_t q)
{
    return (struct sched_range){q, 0, sched_chunk_len(w, q)};
}

uint64_t sched_rounds(const struct sched_where *w, uint32_t slices)
{
    uint64_t per_round = w->s->chunk_elems * slices, len = sched_chunk_len_max(w);

    return len == 0 ? 1 : (len - 1) / per_round + 1;
}

struct sched_range sched_slice(const struct sched_where *w, uint32_t q, uint64_t round,
                               uint32_t slices, uint32_t i)
{
    uint64_t per_round = w->s->chunk_elems * slices, len = sched_chunk_len(w, q);
    struct sched_span span;

    span.begin = round * per_round < len ? round * per_round : len;
    span.end = len - span.begin < per_round ? len : span.begin + per_round;
    span = sched_span_cut(span, w->s->req.elem_size, slices, i);
    return (struct sched_range){q, span.begin, span.end};
}
