/* SPDX-License-Identifier: Apache-2.0 */
/* reduce_scatter_v as a full mesh (spec section 6.7): every rank adds up its block of all inputs in
 * the order of ranks. Inside a node it reads them where they lie; from other nodes they come as one
 * message each, into a place of their own in its TEMP.
 *
 * Nobody but the rank itself uses its TEMP, so that a plan needs no memory of others: it is made in
 * the middle of an execution. In place is the exception: there the inputs are moved to TEMP, out of
 * the way of the sums. */
#include "sched/sched_int.h"

/* Blocks of other nodes are at most this long, and lie this far apart in TEMP. */
static uint64_t place_elems(const struct sched *s)
{
    uint64_t u = 64 / s->req.elem_size, longest = 0;

    for (uint32_t to = 0; to < s->n; to++) {
        uint64_t count = sched_v_count(s, 0, to); /* as of every other rank */

        longest = count > longest ? count : longest;
    }
    return (longest + u - 1) / u * u;
}

static uint64_t places_elems(const struct sched *s)
{
    return s->g->nodes > 1 ? s->n * place_elems(s) : 0;
}

static void sum_needs(const struct sched *s, const struct sched_stage *st, uint64_t *slot,
                      uint64_t *temp)
{
    (void)st;
    *slot = 0;
    *temp = places_elems(s) + (s->req.in_place ? s->req.in_elems : 0);
}

static uint64_t sum_len(const struct sched_where *w, uint32_t of)
{
    return sched_v_count(w->s, 0, of);
}

/* Where the whole input of a rank lies. */
static struct sched_ref input_of(const struct sched_where *w, uint32_t rank)
{
    if (w->s->req.in_place)
        return (struct sched_ref){SCHED_TEMP, 0, rank, w->st->temp_at + places_elems(w->s), 0};
    return (struct sched_ref){SCHED_IN, 0, rank, 0, 0};
}

static struct sched_ref block_of(const struct sched_where *w, uint32_t from, uint32_t to)
{
    struct sched_ref ref = input_of(w, from);

    ref.off += sched_v_source(w->s, from, to);
    return ref;
}

/* Where a block from another node comes to me. */
static struct sched_ref place_of(const struct sched_where *w, uint32_t from)
{
    return (struct sched_ref){SCHED_TEMP, 0, w->me, w->st->temp_at + from * place_elems(w->s), 0};
}

static uint64_t save_count(const struct sched_where *w)
{
    return w->s->req.in_place ? 1 : 0;
}

static void sum_save(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    (void)i;
    sched_emit_block(it, (struct sched_ref){SCHED_IN, 0, w->me, 0, 0}, input_of(w, w->me),
                     w->s->req.in_elems);
}

/* My input may be read: a signal inside the node. Between nodes my receives are posted. */
static void sum_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t from = sched_peer_behind(w, i);

    if (sched_is_net(w, from))
        sched_emit_block_post(it, place_of(w, from), from, sum_len(w, w->me));
    else
        sched_emit_signal(it, w, SCHED_SEM_IN_READY, from);
}

static void sum_send(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t to = sched_peer_ahead(w, i);

    if (sched_is_net(w, to))
        sched_emit_block_send(it, block_of(w, w->me, to), to, sum_len(w, to));
}

static void sum_receive(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t from = sched_peer_behind(w, i);

    if (sched_is_net(w, from))
        sched_emit_arrive_block(it, w, from);
    else
        sched_emit_wait(it, w, SCHED_SEM_IN_READY, from);
}

static void sum_add(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct sched_ref src[SCHED_REFS_MAX], out = {SCHED_OUT, 0, w->me, 0, 0};
    uint32_t n = w->s->n, count = 0;

    (void)i;
    for (uint32_t r = 0; r < n; r++) {
        src[count++] = sched_is_net(w, r) ? place_of(w, r) : block_of(w, r, w->me);
        if (count < SCHED_REFS_MAX && r + 1 < n)
            continue;
        sched_emit_block_reduce(it, src, count, out, sum_len(w, w->me));
        src[0] = out; /* the sum so far */
        count = 1;
    }
}

static void sum_done(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t to = sched_peer_ahead(w, i);

    if (!sched_is_net(w, to))
        sched_emit_signal(it, w, SCHED_SEM_IN_DONE, to);
}

static void sum_close(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t to = sched_peer_ahead(w, i);

    if (sched_is_net(w, to))
        sched_emit_sent(it, w, to);
    else
        sched_emit_wait(it, w, SCHED_SEM_IN_DONE, to);
}

const struct sched_algorithm sched_sum_v = {
    .name = "sum_v",
    .needs = sum_needs,
    .phases = {{"sum save", save_count, sum_save},
               {"sum open", sched_peers, sum_open},
               {"sum send", sched_peers, sum_send},
               {"sum receive", sched_peers, sum_receive},
               {"sum add", NULL, sum_add},
               {"sum done", sched_peers, sum_done},
               {"sum close", sched_peers, sum_close}},
};
