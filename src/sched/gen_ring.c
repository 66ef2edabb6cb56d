/* SPDX-License-Identifier: Apache-2.0 */
/* Ring: spec section 6.1, and 9 for the flat form. All indices are places of the channel's cycle;
 * chunk k is that of the position at place k. Partial sums travel down the cycle through slots of
 * the next rank, finished chunks from output to output.
 *
 * One operation is a row of hops, the same for every round and slice:
 *     scatter   hop 0 sends my part of chunk r - 1, hops 1 .. n-2 add mine to what arrives and send
 *               on, hop n-1 adds mine to the last and has chunk r
 *     gather    hop 0 writes chunk r to the next rank's output (in an all_reduce this is hop n-1 of
 *               the scatter), hops 1 .. n-2 hand on what arrived, hop n-1 receives the last. */
#include "sched/sched_int.h"

struct ring {
    uint32_t n, at;    /* places; mine */
    uint32_t up, down; /* positions of my neighbours */
    uint32_t slices;
    uint32_t scatter_hops; /* 0 .. scatter_hops: sends and the closing hop */
    uint32_t hops;
};

static struct ring ring_of(const struct sched_where *w)
{
    const struct topo_layout *l = w->st->shape;
    uint32_t c = w->channel % l->channels;
    const uint32_t *order = l->order + (size_t)c * l->n;
    struct ring r = {.n = l->n, .at = l->place[(size_t)c * l->n + w->me]};

    r.up = order[(r.at + r.n - 1) % r.n];
    r.down = order[(r.at + 1) % r.n];
    r.slices = w->s->req.slices;
    r.scatter_hops = w->st->scatter ? r.n - 1 : 0;
    r.hops = w->st->scatter ? (w->st->gather ? 2 * r.n - 1 : r.n) : r.n;
    return r;
}

/* The chunk at `back` places behind mine. */
static uint32_t chunk_behind(const struct sched_where *w, const struct ring *r, uint32_t back)
{
    const struct topo_layout *l = w->st->shape;

    return l
        ->order[(size_t)(w->channel % l->channels) * l->n + (r->at + r->n - back % r->n) % r->n];
}

static struct sched_link link_to(const struct sched_where *w, uint32_t peer)
{
    const struct sched *s = w->s;

    return (struct sched_link){peer, s->req.slots, s->chunk_elems, w->st->slot_at, w->st->temp_at};
}

/* ---- arrivals, numbered in order: what the receives between nodes are posted for ---- */

static uint64_t arrivals(const struct sched_where *w, const struct ring *r)
{
    return sched_rounds(w, r->slices) * (r->hops - 1) * r->slices;
}

/* Post the receive of arrival t: in every hop but the first one transfer arrives per slice. */
static void post_arrival(const struct sched_where *w, const struct ring *r, uint64_t t,
                         struct sched_iter *it)
{
    uint32_t slice = (uint32_t)(t % r->slices);
    uint32_t hop = (uint32_t)(t / r->slices % (r->hops - 1)) + 1;
    uint64_t round = t / r->slices / (r->hops - 1);
    struct sched_link up = link_to(w, r->up);
    struct sched_range range;

    if (hop <= r->scatter_hops) {
        range = sched_slice(w, chunk_behind(w, r, hop + 1), round, r->slices, slice);
        sched_emit_post(it, w, &up, sched_range_len(range));
    } else {
        range = sched_slice(w, chunk_behind(w, r, hop - r->scatter_hops), round, r->slices, slice);
        sched_emit_post_out(it, w, r->up, range);
    }
}

static uint64_t ring_open_count(const struct sched_where *w)
{
    struct ring r = ring_of(w);
    uint64_t ahead = w->s->req.slots, all = arrivals(w, &r);

    return 1 + (sched_is_net(w, r.up) ? (ahead < all ? ahead : all) : 0);
}

static void ring_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct ring r = ring_of(w);

    if (i > 0) {
        post_arrival(w, &r, i - 1, it);
        return;
    }
    if (w->st->gather && !sched_is_net(w, r.up))
        sched_emit_signal(it, w, SCHED_SEM_OUT_READY, r.up);
    if (w->st->gather && !sched_is_net(w, r.down))
        sched_emit_wait(it, w, SCHED_SEM_OUT_READY, r.down);
}

static void post_next(const struct sched_where *w, const struct ring *r, uint64_t arrival,
                      struct sched_iter *it)
{
    if (sched_is_net(w, r->up) && arrival + w->s->req.slots < arrivals(w, r))
        post_arrival(w, r, arrival + w->s->req.slots, it);
}

/* ---- hops ---- */

static void scatter_hop(const struct sched_where *w, const struct ring *r, uint32_t hop,
                        uint64_t round, uint32_t slice, uint64_t arrival, struct sched_iter *it)
{
    struct sched_link up = link_to(w, r->up), down = link_to(w, r->down);
    struct sched_range range = sched_slice(w, chunk_behind(w, r, hop + 1), round, r->slices, slice);
    struct sched_place src[2] = {{.site = SITE_NONE}, {.site = w->st->source, .position = w->me}};
    struct sched_place dst = {.site = w->st->result, .position = w->me};

    if (hop == 0) {
        sched_emit_send(it, w, &down, range, &src[1], 1);
        return;
    }
    src[0] = sched_emit_arrive(it, w, &up);
    if (hop < r->scatter_hops) {
        sched_emit_send(it, w, &down, range, src, 2);
    } else if (!w->st->gather || sched_is_net(w, r->down)) {
        sched_emit_reduce(it, w, range, src, 2, &dst, 1);
        if (w->st->gather)
            sched_emit_deliver(it, w, r->down, range, dst, NULL);
    } else {
        struct sched_place both[2] = {dst, {.site = SITE_OUT, .position = r->down}};

        sched_emit_reduce(it, w, range, src, 2, both, 2);
        sched_emit_signal(it, w, SCHED_SEM_RECV, r->down);
    }
    sched_emit_release(it, w, &up);
    post_next(w, r, arrival, it);
}

static void gather_hop(const struct sched_where *w, const struct ring *r, uint32_t hop,
                       uint64_t round, uint32_t slice, uint64_t arrival, struct sched_iter *it)
{
    struct sched_range range = sched_slice(w, chunk_behind(w, r, hop), round, r->slices, slice);
    struct sched_place out = {SITE_OUT, w->me, 0, 0},
                       own = {.site = w->st->source, .position = w->me};
    bool placed = w->s->req.in_place || own.site == SITE_OUT;

    if (hop == 0) {
        sched_emit_deliver(it, w, r->down, range, own, placed ? NULL : &out);
        return;
    }
    sched_emit_arrive_out(it, w, r->up, range);
    post_next(w, r, arrival, it);
    if (hop < r->n - 1)
        sched_emit_deliver(it, w, r->down, range, out, NULL);
}

static uint64_t ring_hops_count(const struct sched_where *w)
{
    struct ring r = ring_of(w);

    return sched_rounds(w, r.slices) * r.hops * r.slices;
}

static void ring_hop(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct ring r = ring_of(w);
    uint32_t slice = (uint32_t)(i % r.slices), hop = (uint32_t)(i / r.slices % r.hops);
    uint64_t round = i / r.slices / r.hops;
    uint64_t arrival = (round * (r.hops - 1) + hop - 1) * r.slices + slice; /* of hops above 0 */

    if (w->st->scatter && hop <= r.scatter_hops)
        scatter_hop(w, &r, hop, round, slice, arrival, it);
    else
        gather_hop(w, &r, hop - r.scatter_hops, round, slice, arrival, it);
}

/* Hops between the first and the last of the scatter, or of the gather, are alike where they send
 * chunks of one length, and post receives of such: these are for hops ahead. */
static uint64_t ring_alike(const struct sched_where *w, uint64_t i)
{
    struct ring r = ring_of(w);
    uint32_t equal = sched_chunks_equal(w), hop = (uint32_t)(i / r.slices % r.hops), at = hop;
    bool scatter = hop < r.scatter_hops;
    uint32_t end = scatter ? r.scatter_hops : r.hops - 1;
    uint32_t ahead = w->s->req.slots / r.slices + 2;

    if (hop == 0 || i % r.slices != 0 || (w->st->scatter && hop == r.scatter_hops) ||
        w->s->req.tensors > 1) /* whose borders cut chunks into pieces */
        return 0;
    while (at < end && chunk_behind(w, &r, scatter ? at + 1 : at - r.scatter_hops) < equal)
        at++;
    return at - hop > ahead ? (uint64_t)(at - hop - ahead) * r.slices : 0;
}

static void ring_close(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct ring r = ring_of(w);

    (void)i;
    sched_emit_sent(it, w, r.down);
}

static void ring_needs(const struct sched *s, const struct sched_stage *st, uint64_t *slot,
                       uint64_t *temp)
{
    *slot = st->scatter ? s->req.slots * s->chunk_elems : 0;
    *temp = st->scatter ? s->req.slots * s->chunk_elems : 0;
}

static uint32_t ring_key(const struct sched_where *w)
{
    uint32_t key = 0;

    for (uint32_t c = 0; c < w->s->channels; c++) {
        struct sched_where at = *w;
        struct ring r;

        at.channel = c;
        r = ring_of(&at);
        key = key << 2 | (uint32_t)sched_is_net(&at, r.up) << 1 | sched_is_net(&at, r.down);
    }
    return key & INT32_MAX;
}

const struct sched_algorithm sched_ring = {
    .name = "ring",
    .key = ring_key,
    .needs = ring_needs,
    .phases = {{"ring open", ring_open_count, ring_open},
               {"ring hop", ring_hops_count, ring_hop, true, ring_alike},
               {"ring close", NULL, ring_close}},
};
