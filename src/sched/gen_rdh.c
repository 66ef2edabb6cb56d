/* SPDX-License-Identifier: Apache-2.0 */
/* RDH, recursive halving and doubling: spec section 6.5 inside a node (units are the chips of the
 * group, exchanged along axes of their labels, with a step on the chip before and after), section 7
 * between nodes (units are ranks), and the fold that brings an all_reduce over any number of nodes
 * to a power of two.
 *
 * D units, a power of two; I am (v, l). A unit u stands for `width` chunks: one, or two after a
 * fold in which my neighbour left its own to me. In the halving, after k steps I hold the partial
 * sums of the units that agree with v in the bits of those steps; in the doubling, I hold the
 * chunks of the units that differ from v in the bits of those steps only. Partial sums live in
 * TEMP, unit u at (u * width + i) * chunk_elems, and arrive in slots. */
#include "sched/sched_int.h"

#include "base/checked.h"

#define RDH_LOCALS_MAX 128
#define RDH_SLOTS      2

struct rdh {
    uint32_t units, per_chip, steps; /* D, L, log2 D */
    uint32_t v, l;
    uint32_t folded;  /* e: pairs of ranks that became one unit; 0 without a fold */
    bool idle;        /* folded away: only the fold's first and last step */
    bool low_first;   /* the doubling begins with the lowest bit (between nodes) */
    bool reads_input; /* no sum before the first exchange: it reads the inputs themselves */
    uint32_t width;
    uint64_t ce;
};

static struct rdh rdh_of(const struct sched_where *w)
{
    const struct topo_layout *shape = w->st->shape;
    struct rdh r = {.units = shape->chips,
                    .per_chip = shape->chip_ranks,
                    .l = shape->local[w->me],
                    .width = 1,
                    .low_first = w->s->g->nodes > 1 && w->st->scope != SCHED_INTRA,
                    .ce = w->s->chunk_elems};

    if (is_pow2_u64(r.units)) {
        r.v = shape->label[shape->chip[w->me]];
        r.reads_input = r.per_chip == 1;
    } else {
        uint32_t q = 1;

        while (q * 2 <= r.units)
            q *= 2;
        r.folded = r.units - q;
        r.units = q;
        r.width = 2;
        r.idle = w->me < 2 * r.folded && w->me % 2 == 0;
        r.v = w->me < 2 * r.folded ? w->me / 2 : w->me - r.folded;
    }
    while (1u << r.steps < r.units)
        r.steps++;
    return r;
}

/* Positions of units and their chunks. */
static uint32_t peer_at(const struct sched_where *w, const struct rdh *r, uint32_t u)
{
    const struct topo_layout *shape = w->st->shape;

    if (r->folded)
        return u < r->folded ? 2 * u + 1 : u + r->folded;
    return shape->at[(size_t)shape->labelled[u] * r->per_chip + r->l];
}

static uint32_t unit_chunks(const struct rdh *r, uint32_t u)
{
    return u < r->folded ? 2 : 1;
}

static uint32_t unit_chunk(const struct sched_where *w, const struct rdh *r, uint32_t u, uint32_t i)
{
    if (r->folded)
        return u < r->folded ? 2 * u + i : u + r->folded;
    return peer_at(w, r, u);
}

/* Bit of exchange k of the halving; the doubling takes them in the other order. */
static uint32_t halving_bit(const struct rdh *r, uint32_t k)
{
    return r->low_first ? r->steps - 1 - k : k;
}

static uint32_t halving_mask(const struct rdh *r, uint32_t k) /* bits of the first k exchanges */
{
    uint32_t all = r->units - 1, low = (1u << k) - 1;

    return r->low_first ? all & ~(all >> k) : low;
}

/* Number j of the units that agree with v in the bits of mask: j's bits in the free places. */
static uint32_t spread(uint32_t v, uint32_t mask, uint32_t units, uint32_t j)
{
    uint32_t u = v & mask;

    for (uint32_t bit = 1; bit < units; bit <<= 1)
        if (!(mask & bit)) {
            u |= j & 1 ? bit : 0;
            j >>= 1;
        }
    return u;
}

static struct sched_place sum_at(const struct sched_where *w, const struct rdh *r, uint32_t u,
                                 uint32_t i)
{
    return sched_place_in(SITE_TEMP, w->me, w->st->temp_at + ((uint64_t)u * r->width + i) * r->ce);
}

/* ---- the connectors of the halving ---- */

static uint64_t sums_elems(const struct rdh *r)
{
    return (uint64_t)r->units * r->width * r->ce;
}

/* Exchange k moves half of what is held: D / 2^(k+1) units. */
static struct sched_link halving_link(const struct sched_where *w, const struct rdh *r, uint32_t k)
{
    uint64_t before = r->units - (r->units >> k), unit = r->width * r->ce * RDH_SLOTS;
    uint32_t peer = peer_at(w, r, r->v ^ 1u << halving_bit(r, k));

    return (struct sched_link){.peer = peer,
                               .slots = RDH_SLOTS,
                               .slot_elems = (uint64_t)(r->units >> (k + 1)) * r->width * r->ce,
                               .slot_at = w->st->slot_at + before * unit,
                               .temp_at = w->st->temp_at + sums_elems(r) + before * unit};
}

static struct sched_link fold_link(const struct sched_where *w, const struct rdh *r)
{
    uint64_t halving = (uint64_t)(r->units - 1) * r->width * r->ce * RDH_SLOTS;

    return (struct sched_link){.peer = w->me ^ 1u,
                               .slots = RDH_SLOTS,
                               .slot_elems = w->st->shape->n * r->ce,
                               .slot_at = w->st->slot_at + halving,
                               .temp_at = w->st->temp_at + sums_elems(r) + halving};
}

static void rdh_needs(const struct sched *s, const struct sched_stage *st, uint64_t *slot,
                      uint64_t *temp)
{
    struct sched_where w = {.s = s, .st = st};
    struct rdh r = rdh_of(&w);
    uint64_t links;

    *slot = *temp = 0;
    if (!st->scatter)
        return;
    links = (uint64_t)(r.units - 1) * r.width * r.ce * RDH_SLOTS;
    if (r.folded)
        links += RDH_SLOTS * st->shape->n * r.ce;
    *slot = links;
    *temp = sums_elems(&r) + (r.low_first ? links : 0);
}

static NRT_STATUS rdh_check(const struct sched *s, const struct sched_stage *st, struct err *err)
{
    (void)s;
    if (!is_pow2_u64(st->shape->chips) || !st->shape->label || !st->shape->labelled)
        return err_set(err, NRT_FAILURE, "RDH over %u chips; it needs a power of two, all equal",
                       st->shape->chips);
    if (st->shape->chip_ranks > RDH_LOCALS_MAX)
        return err_set(err, NRT_FAILURE, "%u ranks on a chip; RDH ends at %u",
                       st->shape->chip_ranks, RDH_LOCALS_MAX);
    return NRT_SUCCESS;
}

/* ---- signals between the ranks of a chip ---- */

static uint32_t local_at(const struct sched_where *w, uint32_t l)
{
    const struct topo_layout *shape = w->st->shape;

    return shape->at[(size_t)shape->chip[w->me] * shape->chip_ranks + l];
}

static void chip_sync(const struct sched_where *w, const struct rdh *r, enum sched_sem sem,
                      bool wait, struct sched_iter *it)
{
    for (uint32_t l = 0; l < r->per_chip; l++) {
        if (l == r->l)
            continue;
        if (wait)
            sched_emit_wait(it, w, sem, local_at(w, l));
        else
            sched_emit_signal(it, w, sem, local_at(w, l));
    }
}

/* ---- reduce_scatter ---- */

static uint64_t scatter_once(const struct sched_where *w)
{
    return w->st->scatter ? 1 : 0;
}

static uint64_t held_len(const struct sched_where *w, const struct rdh *r, uint32_t mask,
                         uint32_t v, uint64_t round)
{
    uint64_t len = 0;

    for (uint32_t j = 0; j < r->units >> __builtin_popcount(mask); j++) {
        uint32_t u = spread(v, mask, r->units, j);

        for (uint32_t i = 0; i < unit_chunks(r, u); i++)
            len += sched_range_len(sched_slice(w, unit_chunk(w, r, u, i), round, 1, 0));
    }
    return len;
}

static uint64_t vector_len(const struct sched_where *w, uint64_t round)
{
    uint64_t len = 0;

    for (uint32_t q = 0; q < w->st->shape->n; q++)
        len += sched_range_len(sched_slice(w, q, round, 1, 0));
    return len;
}

static void post_round(const struct sched_where *w, const struct rdh *r, uint64_t round,
                       struct sched_iter *it)
{
    struct sched_link link;

    if (round >= sched_rounds(w, 1) || r->idle)
        return;
    if (w->me < 2 * r->folded) {
        link = fold_link(w, r);
        sched_emit_post(it, w, &link, vector_len(w, round));
    }
    for (uint32_t k = 0; k < r->steps; k++) {
        link = halving_link(w, r, k);
        sched_emit_post(it, w, &link, held_len(w, r, halving_mask(r, k + 1), r->v, round));
    }
}

static void scatter_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct rdh r = rdh_of(w);

    (void)i;
    for (uint64_t round = 0; round < RDH_SLOTS; round++)
        post_round(w, &r, round, it);
    chip_sync(w, &r, SCHED_SEM_IN_READY, false, it);
    chip_sync(w, &r, SCHED_SEM_IN_READY, true, it);
}

/* Where the sum of chunk i of unit u lies before exchange k, and after the last one. */
static struct sched_place before_exchange(const struct sched_where *w, const struct rdh *r,
                                          uint32_t k, uint32_t u, uint32_t i)
{
    if (k == 0 && r->reads_input)
        return sched_place_of(w->st->source, w->me);
    return sum_at(w, r, u, i);
}

static struct sched_place after_exchange(const struct sched_where *w, const struct rdh *r,
                                         uint32_t k, uint32_t u, uint32_t i)
{
    if (k == r->steps)
        return sched_place_of(w->st->result, w->me);
    return sum_at(w, r, u, i);
}

/* On the chip: the sums of the chunks for (u, l) over its ranks. */
static void scatter_chip(const struct sched_where *w, const struct rdh *r, uint64_t round,
                         struct sched_iter *it)
{
    struct sched_place src[RDH_LOCALS_MAX], dst;

    for (uint32_t u = 0; u < r->units; u++) {
        uint32_t q = unit_chunk(w, r, u, 0);

        for (uint32_t l = 0; l < r->per_chip; l++)
            src[l] = sched_place_of(w->st->source, local_at(w, l));
        dst = after_exchange(w, r, 0, u, 0);
        sched_emit_reduce(it, w, sched_slice(w, q, round, 1, 0), src, r->per_chip, &dst, 1);
    }
}

/* Even ranks below 2e hand their vector to their neighbour, which adds its own: even first. */
static void fold(const struct sched_where *w, const struct rdh *r, uint64_t round,
                 struct sched_iter *it)
{
    struct sched_link link = fold_link(w, r);
    struct sched_place own = sched_place_of(w->st->source, w->me), from, to;

    if (w->me >= 2 * r->folded) {
        for (uint32_t u = 0; u < r->units; u++)
            for (uint32_t i = 0; i < unit_chunks(r, u); i++) {
                to = sum_at(w, r, u, i);
                sched_emit_copy(it, w, sched_slice(w, unit_chunk(w, r, u, i), round, 1, 0), own,
                                &to, 1);
            }
        return;
    }
    from = r->idle ? sched_emit_acquire(it, w, &link) : sched_emit_arrive(it, w, &link);
    for (uint32_t u = 0; u < r->units; u++)
        for (uint32_t i = 0; i < unit_chunks(r, u); i++) {
            struct sched_range range = sched_slice(w, unit_chunk(w, r, u, i), round, 1, 0);
            struct sched_place both[2] = {from, own};

            to = sum_at(w, r, u, i);
            if (r->idle)
                sched_emit_copy(it, w, range, own, &from, 1);
            else
                sched_emit_reduce(it, w, range, both, 2, &to, 1);
            from.off += sched_range_len(range);
        }
    if (r->idle)
        sched_emit_commit(it, w, &link, vector_len(w, round));
    else
        sched_emit_release(it, w, &link);
}

/* Exchange k: send the held units whose bit differs, add what arrives to the others. The side whose
 * bit is 0 comes first in the sum. */
static void halve(const struct sched_where *w, const struct rdh *r, uint32_t k, uint64_t round,
                  struct sched_iter *it)
{
    uint32_t bit = 1u << halving_bit(r, k), mask = halving_mask(r, k) | bit;
    uint32_t units = r->units >> (k + 1);
    struct sched_link link = halving_link(w, r, k);
    struct sched_place to = sched_emit_acquire(it, w, &link), from;
    uint64_t len = 0;

    for (uint32_t j = 0; j < units; j++) {
        uint32_t u = spread(r->v ^ bit, mask, r->units, j);

        for (uint32_t i = 0; i < unit_chunks(r, u); i++) {
            struct sched_range range = sched_slice(w, unit_chunk(w, r, u, i), round, 1, 0);

            sched_emit_copy(it, w, range, before_exchange(w, r, k, u, i), &to, 1);
            to.off += sched_range_len(range);
            len += sched_range_len(range);
        }
    }
    sched_emit_commit(it, w, &link, len);
    from = sched_emit_arrive(it, w, &link);
    for (uint32_t j = 0; j < units; j++) {
        uint32_t u = spread(r->v, mask, r->units, j);

        for (uint32_t i = 0; i < unit_chunks(r, u); i++) {
            struct sched_range range = sched_slice(w, unit_chunk(w, r, u, i), round, 1, 0);
            struct sched_place own = before_exchange(w, r, k, u, i);
            struct sched_place dst = after_exchange(w, r, k + 1, u, i);
            struct sched_place both[2] = {r->v & bit ? from : own, r->v & bit ? own : from};

            sched_emit_reduce(it, w, range, both, 2, &dst, 1);
            from.off += sched_range_len(range);
        }
    }
    sched_emit_release(it, w, &link);
}

/* Per round: the step on the chip or the fold, then the exchanges. */
static uint64_t scatter_count(const struct sched_where *w)
{
    return w->st->scatter ? sched_rounds(w, 1) * (rdh_of(w).steps + 1u) : 0;
}

static void scatter_step(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct rdh r = rdh_of(w);
    uint32_t k = (uint32_t)(i % (r.steps + 1u));
    uint64_t round = i / (r.steps + 1u);

    if (k > 0 && !r.idle)
        halve(w, &r, k - 1, round, it);
    else if (k == 0 && r.folded)
        fold(w, &r, round, it);
    else if (k == 0 && r.per_chip > 1)
        scatter_chip(w, &r, round, it);
    if (k == r.steps)
        post_round(w, &r, round + RDH_SLOTS, it);
}

static void scatter_close(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct rdh r = rdh_of(w);

    (void)i;
    chip_sync(w, &r, SCHED_SEM_IN_DONE, false, it);
    chip_sync(w, &r, SCHED_SEM_IN_DONE, true, it);
    if (r.idle)
        sched_emit_sent(it, w, w->me ^ 1u);
    for (uint32_t k = 0; k < r.steps && !r.idle; k++)
        sched_emit_sent(it, w, peer_at(w, &r, r.v ^ 1u << halving_bit(&r, k)));
}

/* ---- all_gather ---- */

/* The chunks that the unit v holds after k exchanges of the doubling. */
struct held {
    const struct sched_where *w;
    struct rdh r;
    uint32_t v, mask; /* bits in which they agree with v */
};

/* Ascending by unit; a folded unit gives its two chunks, an unfolded one its chunk once. */
static uint32_t held_chunk(const void *arg, uint32_t j)
{
    const struct held *h = arg;

    if (!h->r.folded)
        return unit_chunk(h->w, &h->r, spread(h->v, h->mask, h->r.units, j), 0);
    for (uint32_t n = 0;; n++) {
        uint32_t u = spread(h->v, h->mask, h->r.units, n), chunks = unit_chunks(&h->r, u);

        if (j < chunks)
            return unit_chunk(h->w, &h->r, u, j);
        j -= chunks;
    }
}

static struct sched_set held_set(struct held *h, const struct sched_where *w, const struct rdh *r,
                                 uint32_t v, uint32_t k)
{
    uint32_t count = 0;

    *h = (struct held){w, *r, v, halving_mask(r, r->steps - k)};
    for (uint32_t j = 0; j < 1u << k; j++)
        count += unit_chunks(r, spread(v, h->mask, r->units, j));
    return (struct sched_set){held_chunk, h, count};
}

static uint32_t doubling_peer(const struct sched_where *w, const struct rdh *r, uint32_t k)
{
    return peer_at(w, r, r->v ^ 1u << halving_bit(r, r->steps - 1 - k));
}

static uint64_t gather_once(const struct sched_where *w)
{
    return w->st->gather ? 1 : 0;
}

static uint32_t chunk_number(const void *arg, uint32_t j)
{
    (void)arg;
    return j;
}

static void gather_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct rdh r = rdh_of(w);
    struct sched_set all = {chunk_number, NULL, w->st->shape->n};
    struct held h;

    (void)i;
    if (r.idle) {
        sched_emit_post_set(it, w, w->me ^ 1u, &all);
        return;
    }
    for (uint32_t k = 0; k < r.steps; k++) {
        uint32_t peer = doubling_peer(w, &r, k);
        struct sched_set set = held_set(&h, w, &r, r.v ^ 1u << halving_bit(&r, r.steps - 1 - k), k);

        if (!sched_is_net(w, peer))
            sched_emit_signal(it, w, SCHED_SEM_OUT_READY, peer);
        sched_emit_post_set(it, w, peer, &set);
    }
    chip_sync(w, &r, SCHED_SEM_OUT_READY, false, it);
}

static uint64_t gather_count(const struct sched_where *w)
{
    return w->st->gather ? rdh_of(w).steps + 1u : 0;
}

static void gather_step(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct rdh r = rdh_of(w);
    enum sched_site site = sched_gather_site(w->st);
    struct sched_place out = sched_place_of(SITE_OUT, w->me);
    uint32_t k = (uint32_t)i - 1, peer;
    struct sched_set set;
    struct held h;

    if (r.idle)
        return;
    if (i == 0) {
        if (site != SITE_OUT && !w->s->req.in_place)
            sched_emit_copy(it, w, sched_chunk(w, w->me), sched_place_of(site, w->me), &out, 1);
        return;
    }
    peer = doubling_peer(w, &r, k);
    if (!sched_is_net(w, peer))
        sched_emit_wait(it, w, SCHED_SEM_OUT_READY, peer);
    set = held_set(&h, w, &r, r.v, k);
    sched_emit_deliver_set(it, w, peer, &set);
    set = held_set(&h, w, &r, r.v ^ 1u << halving_bit(&r, r.steps - 1 - k), k);
    sched_emit_arrive_set(it, w, peer, &set);
}

/* To the ranks of the chip, or back to the one that was folded away. */
static void gather_close(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct rdh r = rdh_of(w);
    struct sched_set all = {chunk_number, NULL, w->st->shape->n};
    struct sched_set own;
    struct held h;

    (void)i;
    if (r.idle) {
        sched_emit_arrive_set(it, w, w->me ^ 1u, &all);
        return;
    }
    own = held_set(&h, w, &r, r.v, r.steps);
    chip_sync(w, &r, SCHED_SEM_OUT_READY, true, it);
    for (uint32_t l = 0; l < r.per_chip; l++)
        if (l != r.l)
            sched_emit_deliver_set(it, w, local_at(w, l), &own);
    chip_sync(w, &r, SCHED_SEM_RECV, true, it);
    if (w->me < 2 * r.folded)
        sched_emit_deliver_set(it, w, w->me ^ 1u, &all);
    for (uint32_t k = 0; k < r.steps; k++)
        sched_emit_sent(it, w, doubling_peer(w, &r, k));
    if (w->me < 2 * r.folded)
        sched_emit_sent(it, w, w->me ^ 1u);
}

#define RDH_PHASES                                                                            \
    {                                                                                         \
        {"rdh rs open", scatter_once, scatter_open}, {"rdh rs", scatter_count, scatter_step}, \
            {"rdh rs close", scatter_once, scatter_close},                                    \
            {"rdh ag open", gather_once, gather_open}, {"rdh ag", gather_count, gather_step}, \
        {                                                                                     \
            "rdh ag close", gather_once, gather_close                                         \
        }                                                                                     \
    }

const struct sched_algorithm sched_rdh = {.name = "rdh",
                                          .check = rdh_check,
                                          .needs = rdh_needs,
                                          .key = sched_key_same,
                                          .phases = RDH_PHASES};

/* The same over a number of nodes that is no power of two: an all_reduce only. */
const struct sched_algorithm sched_fold = {
    .name = "rdh fold", .needs = rdh_needs, .phases = RDH_PHASES};
