/* SPDX-License-Identifier: Apache-2.0 */
/* KangaRing: spec section 6.2. Positions of a cycle hold m ranks each; on every channel one of
 * them, the primary, moves all data and the others, its pouch, only say when their tensors may be
 * touched. A block is the m chunks of a position. Hops as in ring.c: P - 1 sends and a closing hop
 * for the reduce_scatter, then the same for the all_gather, which begins by reading the finished
 * chunks in the outputs of the members. */
#include "sched/sched_int.h"

#define KANGA_MEMBERS_MAX 4

struct kanga {
    const uint32_t *path; /* [positions][members] */
    uint32_t members, positions;
    uint32_t at, primary; /* my position, index of the primary in each position */
    bool leads;           /* I am the primary */
    uint32_t slices, scatter_hops, hops;
};

static struct kanga kanga_of(const struct sched_where *w)
{
    const struct topo_layout *l = w->st->shape;
    uint32_t c = w->channel % l->channels;
    struct kanga k = {.path = l->kanga + (size_t)c * l->n,
                      .members = l->members,
                      .positions = l->positions,
                      .slices = w->s->req.slices};

    k.primary = c % k.members;
    for (uint32_t i = 0; i < l->n; i++)
        if (k.path[i] == w->me) {
            k.at = i / k.members;
            k.leads = i % k.members == k.primary;
        }
    k.scatter_hops = w->st->scatter ? k.positions : 0;
    k.hops = k.scatter_hops + (w->st->gather ? k.positions : 0);
    return k;
}

/* Member i of the position `back` places behind mine. */
static uint32_t member(const struct kanga *k, uint32_t back, uint32_t i)
{
    uint32_t q = (k->at + k->positions - back % k->positions) % k->positions;

    return k->path[q * k->members + i];
}

static uint32_t next_primary(const struct kanga *k)
{
    return member(k, k->positions - 1, k->primary);
}

static struct sched_link link_to(const struct sched_where *w, const struct kanga *k, uint32_t peer)
{
    return (struct sched_link){.peer = peer,
                               .slots = w->s->req.slots,
                               .slot_elems = k->members * w->s->chunk_elems,
                               .slot_at = w->st->slot_at};
}

static NRT_STATUS kanga_check(const struct sched *s, const struct sched_stage *st, struct err *err)
{
    (void)s;
    if (st->shape->members == 0 || !st->shape->kanga)
        return err_set(err, NRT_FAILURE,
                       "KangaRing needs whole chips of pairs, and two positions at least");
    return NRT_SUCCESS;
}

static void kanga_needs(const struct sched *s, const struct sched_stage *st, uint64_t *slot,
                        uint64_t *temp)
{
    *slot = st->scatter ? s->req.slots * st->shape->members * s->chunk_elems : 0;
    *temp = 0;
}

/* ---- handshakes ---- */

static void kanga_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct kanga k = kanga_of(w);

    (void)i;
    if (!k.leads) { /* for my output as well */
        sched_emit_signal(it, w, SCHED_SEM_IN_READY, member(&k, 0, k.primary));
        return;
    }
    if (w->st->gather)
        sched_emit_signal(it, w, SCHED_SEM_OUT_READY, member(&k, 1, k.primary));
    for (uint32_t j = 0; j < k.members; j++)
        if (j != k.primary)
            sched_emit_wait(it, w, SCHED_SEM_IN_READY, member(&k, 0, j));
    if (w->st->gather)
        sched_emit_wait(it, w, SCHED_SEM_OUT_READY, next_primary(&k));
}

static void kanga_close(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct kanga k = kanga_of(w);

    (void)i;
    if (!k.leads) {
        sched_emit_wait(it, w, SCHED_SEM_OUT_DONE, member(&k, 0, k.primary));
        return;
    }
    for (uint32_t j = 0; j < k.members; j++)
        if (j != k.primary)
            sched_emit_signal(it, w, SCHED_SEM_OUT_DONE, member(&k, 0, j));
}

/* ---- hops of the primary ---- */

/* Reduce the members' chunk i of a block behind the partial (if any) to dst. */
static void reduce_chunk(const struct sched_where *w, const struct kanga *k,
                         struct sched_range range, const struct sched_place *partial,
                         struct sched_place dst, struct sched_iter *it)
{
    struct sched_place src[KANGA_MEMBERS_MAX + 1];
    unsigned n = 0;

    if (partial)
        src[n++] = *partial;
    for (uint32_t j = 0; j < k->members; j++)
        src[n++] = sched_place_of(w->st->source, member(k, 0, j));
    sched_emit_reduce(it, w, range, src, n, &dst, 1);
}

static void scatter_hop(const struct sched_where *w, const struct kanga *k, uint32_t hop,
                        uint64_t round, uint32_t slice, struct sched_iter *it)
{
    struct sched_link up = link_to(w, k, member(k, 1, k->primary));
    struct sched_link down = link_to(w, k, next_primary(k));
    bool last = hop == k->positions - 1;
    struct sched_place from = {0}, to = {0}, dst;
    uint64_t len = 0;

    if (hop > 0)
        from = sched_emit_arrive(it, w, &up);
    if (!last)
        to = sched_emit_acquire(it, w, &down);
    for (uint32_t j = 0; j < k->members; j++) {
        uint32_t q = member(k, hop + 1, j);
        struct sched_range range = sched_slice(w, q, round, k->slices, slice);

        dst = last ? sched_place_of(w->st->result, q) : to;
        reduce_chunk(w, k, range, hop > 0 ? &from : NULL, dst, it);
        from.off += w->s->chunk_elems;
        to.off += w->s->chunk_elems;
        len += sched_range_len(range);
    }
    if (!last)
        sched_emit_commit(it, w, &down, len);
    if (hop > 0)
        sched_emit_release(it, w, &up);
}

/* Destinations of a chunk whose bytes lie at `owner`: the members but the owner, the next primary.
 */
static unsigned gather_targets(const struct kanga *k, uint32_t owner, bool own_too, bool next,
                               struct sched_place dst[KANGA_MEMBERS_MAX + 1])
{
    unsigned n = 0;

    for (uint32_t j = 0; j < k->members; j++)
        if (own_too || member(k, 0, j) != owner)
            dst[n++] = sched_place_of(SITE_OUT, member(k, 0, j));
    if (next)
        dst[n++] = sched_place_of(SITE_OUT, next_primary(k));
    return n;
}

static void gather_hop(const struct sched_where *w, const struct kanga *k, uint32_t hop,
                       uint64_t round, uint32_t slice, struct sched_iter *it)
{
    enum sched_site site = hop == 0 ? sched_gather_site(w->st) : SITE_OUT;
    bool own_too = site == SITE_IN && !w->s->req.in_place, next = hop < k->positions - 1;
    struct sched_place dst[KANGA_MEMBERS_MAX + 1];

    if (hop > 0)
        sched_emit_wait(it, w, SCHED_SEM_RECV, member(k, 1, k->primary));
    for (uint32_t j = 0; j < k->members; j++) {
        uint32_t q = member(k, hop, j), owner = hop == 0 ? q : w->me;
        unsigned n = gather_targets(k, owner, own_too, next, dst);

        sched_emit_copy(it, w, sched_slice(w, q, round, k->slices, slice),
                        sched_place_of(site, owner), dst, n);
    }
    if (next)
        sched_emit_signal(it, w, SCHED_SEM_RECV, next_primary(k));
}

static uint64_t kanga_count(const struct sched_where *w)
{
    struct kanga k = kanga_of(w);

    return k.leads ? sched_rounds(w, k.slices) * k.hops * k.slices : 0;
}

static void kanga_hop(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct kanga k = kanga_of(w);
    uint32_t slice = (uint32_t)(i % k.slices), hop = (uint32_t)(i / k.slices % k.hops);
    uint64_t round = i / k.slices / k.hops;

    if (hop < k.scatter_hops)
        scatter_hop(w, &k, hop, round, slice, it);
    else
        gather_hop(w, &k, hop - k.scatter_hops, round, slice, it);
}

/* Which of the channels' cycles it leads. */
static uint32_t kanga_key(const struct sched_where *w)
{
    uint32_t key = 0;

    for (uint32_t c = 0; c < w->s->channels; c++) {
        struct sched_where at = *w;

        at.channel = c;
        key = key << 1 | kanga_of(&at).leads;
    }
    return key;
}

const struct sched_algorithm sched_kangaring = {
    .name = "kangaring",
    .key = kanga_key,
    .check = kanga_check,
    .needs = kanga_needs,
    .phases = {{"kangaring open", NULL, kanga_open},
               {"kangaring hop", kanga_count, kanga_hop},
               {"kangaring close", NULL, kanga_close}},
};
