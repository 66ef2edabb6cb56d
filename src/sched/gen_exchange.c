/* SPDX-License-Identifier: Apache-2.0 */
/* Operations in which ranks hand blocks to each other: all_to_all as a full mesh and with the
 * blocks of a chip combined (spec section 6.6), the variable forms (2.1), permute and send/recv
 * (2.2).
 *
 * Blocks go straight into the outputs. In place, the input is copied to TEMP first and sent from
 * there. */
#include "sched/sched_int.h"

/* ---- a block from one rank to another; positions are ranks here ---- */

static struct sched_ref block_source(const struct sched_where *w, uint32_t to)
{
    const struct sched *s = w->s;
    uint64_t off = sched_v_source(s, w->me, to);

    if (s->req.in_place)
        return (struct sched_ref){SCHED_TEMP, 0, w->me, w->st->temp_at + off, 0};
    return (struct sched_ref){SCHED_IN, 0, w->me, off, 0};
}

static struct sched_ref block_target(const struct sched_where *w, uint32_t from, uint32_t to)
{
    return (struct sched_ref){SCHED_OUT, 0, to, sched_v_target(w->s, from, to), 0};
}

/* The input's block for `to`: chunk `to`, read where it lies or in TEMP. */
static struct sched_place chunk_source(const struct sched_where *w, uint32_t to)
{
    struct sched_place src = {.site = SITE_IN, .position = w->me, .slot_of = to + 1};

    if (w->s->req.in_place)
        src = (struct sched_place){.site = SITE_TEMP,
                                   .position = w->me,
                                   .off = w->st->temp_at + to * sched_chunk_len(w, to)};
    return src;
}

/* Chunk `me` of the output of `to`. */
static struct sched_place chunk_target(const struct sched_where *w, uint32_t to)
{
    return (struct sched_place){.site = SITE_OUT, .position = to, .slot_of = w->me + 1};
}

static void block_copy(const struct sched_where *w, uint32_t to, struct sched_iter *it)
{
    struct sched_place dst = chunk_target(w, to);

    if (sched_op_varies(w->s->req.op))
        sched_emit_block(it, block_source(w, to), block_target(w, w->me, to),
                         sched_v_count(w->s, w->me, to));
    else
        sched_emit_copy(it, w, sched_chunk(w, to), chunk_source(w, to), &dst, 1);
}

/* ---- the full mesh ---- */

static uint64_t save_count(const struct sched_where *w)
{
    return w->s->req.in_place ? 1 : 0;
}

static void save(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    const struct sched *s = w->s;

    (void)i;
    if (sched_op_varies(s->req.op)) {
        sched_emit_block(it, (struct sched_ref){SCHED_IN, 0, w->me, 0, 0},
                         (struct sched_ref){SCHED_TEMP, 0, w->me, w->st->temp_at, 0},
                         s->req.in_elems);
        return;
    }
    for (uint32_t q = 0; q < s->n; q++) {
        struct sched_place src = {.site = SITE_IN, .position = w->me, .slot_of = q + 1};
        struct sched_place dst = chunk_source(w, q);

        sched_emit_copy(it, w, sched_chunk(w, q), src, &dst, 1);
    }
}

/* My output may be written: a signal inside the node, posted receives between nodes. */
static void exchange_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t from = sched_peer_behind(w, i);

    if (!sched_is_net(w, from))
        sched_emit_signal(it, w, SCHED_SEM_OUT_READY, from);
    else if (sched_op_varies(w->s->req.op))
        sched_emit_block_post(it, block_target(w, from, w->me), from,
                              sched_v_count(w->s, from, w->me));
    else
        sched_emit_post_out(it, w, from, sched_chunk(w, from));
}

static uint64_t everybody(const struct sched_where *w)
{
    return w->s->n;
}

static void exchange_send(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t to = (uint32_t)((w->me + i) % w->s->n);

    if (i == 0) {
        block_copy(w, to, it);
    } else if (!sched_is_net(w, to)) {
        sched_emit_wait(it, w, SCHED_SEM_OUT_READY, to);
        block_copy(w, to, it);
        sched_emit_signal(it, w, SCHED_SEM_RECV, to);
    } else if (sched_op_varies(w->s->req.op)) {
        sched_emit_block_send(it, block_source(w, to), to, sched_v_count(w->s, w->me, to));
    } else {
        sched_emit_deliver(it, w, to, sched_chunk(w, to), chunk_source(w, to), NULL);
    }
}

static void exchange_receive(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t from = sched_peer_behind(w, i);

    if (sched_op_varies(w->s->req.op) && sched_is_net(w, from))
        sched_emit_arrive_block(it, w, from);
    else
        sched_emit_arrive_out(it, w, from, sched_chunk(w, from));
}

static void exchange_sent(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    sched_emit_sent(it, w, sched_peer_ahead(w, i));
}

static uint64_t input_elems(const struct sched *s)
{
    return sched_op_varies(s->req.op) ? s->req.in_elems : s->n * s->prefix[s->req.tensors];
}

static void exchange_needs(const struct sched *s, const struct sched_stage *st, uint64_t *slot,
                           uint64_t *temp)
{
    (void)st;
    *slot = 0;
    *temp = s->req.in_place ? input_elems(s) : 0;
}

/* Where the ranks of my node follow each other, my place among them says which of my peers are on
 * other nodes. */
static uint32_t exchange_key(const struct sched_where *w)
{
    const struct topo_group *g = w->s->g;
    const uint32_t *node = &g->at[(size_t)g->node[w->me] * g->per_node];
    uint32_t place = w->me - node[0];

    if (sched_op_varies(w->s->req.op))
        return w->me;
    for (uint32_t y = 0; y < g->per_node; y++)
        if (node[y] != node[0] + y)
            return g->per_node + w->me;
    return place;
}

const struct sched_algorithm sched_exchange = {
    .name = "exchange",
    .key = exchange_key,
    .needs = exchange_needs,
    .phases = {{"save", save_count, save},
               {"open", sched_peers, exchange_open},
               {"send", everybody, exchange_send},
               {"receive", sched_peers, exchange_receive},
               {"sent", sched_peers, exchange_sent}},
};

/* ---- two steps, over D chips of L ranks: the L * L blocks for a chip travel together ----
 *
 * Rank (d, e), e = (k - 1) mod L, carries the blocks for chip d' = d + k: it reads the L blocks for
 * that chip in each local input and writes them, ordered [l][l'], to the region of chip d in the
 * slots of (d', e), which hands block [l][l'] to (d', l'). */

struct combine {
    const struct topo_layout *shape;
    uint32_t chips, per_chip, d, l;
    uint64_t block, rounds; /* elements of a slot's block; rounds */
};

static struct combine combine_of(const struct sched_where *w)
{
    const struct topo_layout *shape = w->st->shape;

    return (struct combine){shape,
                            shape->chips,
                            shape->chip_ranks,
                            shape->chip[w->me],
                            shape->local[w->me],
                            w->s->chunk_elems,
                            sched_rounds(w, 1)};
}

static uint32_t at(const struct combine *c, uint32_t chip, uint32_t local)
{
    return c->shape->at[(size_t)chip * c->per_chip + local];
}

/* Region of source chip `chip` at a rank: one transfer of L * L blocks, twice for overlap. */
static struct sched_link region(const struct sched_where *w, const struct combine *c, uint32_t peer,
                                uint32_t chip)
{
    uint64_t elems = (uint64_t)c->per_chip * c->per_chip * c->block;

    return (struct sched_link){.peer = peer,
                               .slots = 2,
                               .slot_elems = elems,
                               .slot_at = w->st->slot_at + chip * 2 * elems};
}

static NRT_STATUS combine_check(const struct sched *s, const struct sched_stage *st,
                                struct err *err)
{
    (void)s;
    if (st->shape->chips < 2 || st->shape->chip_ranks < 2)
        return err_set(err, NRT_FAILURE,
                       "%u chips of %u ranks; combining needs two of two at least",
                       st->shape->chips, st->shape->chip_ranks);
    return NRT_SUCCESS;
}

static void combine_needs(const struct sched *s, const struct sched_stage *st, uint64_t *slot,
                          uint64_t *temp)
{
    const struct topo_layout *l = st->shape;

    *slot = (uint64_t)l->chips * 2 * l->chip_ranks * l->chip_ranks * s->chunk_elems;
    *temp = s->req.in_place ? input_elems(s) : 0;
}

static void combine_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct combine c = combine_of(w);

    (void)i;
    for (uint32_t l = 0; l < c.per_chip; l++)
        if (l != c.l) {
            sched_emit_signal(it, w, SCHED_SEM_IN_READY, at(&c, c.d, l));
            sched_emit_signal(it, w, SCHED_SEM_OUT_READY, at(&c, c.d, l));
        }
    for (uint32_t l = 0; l < c.per_chip; l++)
        if (l != c.l) {
            sched_emit_wait(it, w, SCHED_SEM_IN_READY, at(&c, c.d, l));
            sched_emit_wait(it, w, SCHED_SEM_OUT_READY, at(&c, c.d, l));
        }
}

/* The block of rank `from` for rank `to`: where it is read. */
static struct sched_place combine_source(const struct sched_where *w, uint32_t from, uint32_t to)
{
    struct sched_place src = {.site = SITE_IN, .position = from, .slot_of = to + 1};

    if (w->s->req.in_place)
        src = (struct sched_place){.site = SITE_TEMP,
                                   .position = from,
                                   .off = w->st->temp_at + to * sched_chunk_len(w, to)};
    return src;
}

/* Blocks inside the chip. */
static uint64_t combine_locals(const struct sched_where *w)
{
    return w->st->shape->chip_ranks;
}

static void combine_local(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct combine c = combine_of(w);
    uint32_t to = at(&c, c.d, (uint32_t)((c.l + i) % c.per_chip));
    struct sched_place dst = {.site = SITE_OUT, .position = to, .slot_of = w->me + 1};

    sched_emit_copy(it, w, sched_chunk(w, to), combine_source(w, w->me, to), &dst, 1);
}

/* Per round: k = 1 .. D-1 out, then k = 1 .. D-1 in. */
static uint64_t combine_count(const struct sched_where *w)
{
    struct combine c = combine_of(w);

    return c.rounds * 2 * (c.chips - 1);
}

static void combine_out(const struct sched_where *w, const struct combine *c, uint64_t round,
                        uint32_t k, struct sched_iter *it)
{
    uint32_t chip = (c->d + k) % c->chips, len = 0;
    struct sched_link link = region(w, c, at(c, chip, c->l), c->d);
    struct sched_place to = sched_emit_acquire(it, w, &link), dst = to;
    struct sched_place src;

    for (uint32_t l = 0; l < c->per_chip; l++)
        for (uint32_t t = 0; t < c->per_chip; t++) {
            uint32_t from = at(c, c->d, l), target = at(c, chip, t);
            struct sched_range range = sched_slice(w, target, round, 1, 0);

            src = combine_source(w, from, target);
            if (src.site == SITE_TEMP)
                src.off += range.begin;
            dst.off = to.off + ((uint64_t)l * c->per_chip + t) * c->block;
            sched_emit_copy(it, w, range, src, &dst, 1);
            len += (uint32_t)sched_range_len(range);
        }
    sched_emit_commit(it, w, &link, len);
}

static void combine_in(const struct sched_where *w, const struct combine *c, uint64_t round,
                       uint32_t k, struct sched_iter *it)
{
    uint32_t chip = (c->d + c->chips - k) % c->chips;
    struct sched_link link = region(w, c, at(c, chip, c->l), chip);
    struct sched_place from = sched_emit_arrive(it, w, &link), src = from;

    for (uint32_t l = 0; l < c->per_chip; l++)
        for (uint32_t t = 0; t < c->per_chip; t++) {
            uint32_t origin = at(c, chip, l), to = at(c, c->d, t);
            struct sched_place dst = {.site = SITE_OUT, .position = to, .slot_of = origin + 1};

            src.off = from.off + ((uint64_t)l * c->per_chip + t) * c->block;
            sched_emit_copy(it, w, sched_slice(w, to, round, 1, 0), src, &dst, 1);
        }
    sched_emit_release(it, w, &link);
}

static void combine_step(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct combine c = combine_of(w);
    uint32_t steps = 2 * (c.chips - 1), j = (uint32_t)(i % steps);
    uint32_t k = j % (c.chips - 1) + 1;

    if ((k - 1) % c.per_chip != c.l)
        return;
    if (j < c.chips - 1)
        combine_out(w, &c, i / steps, k, it);
    else
        combine_in(w, &c, i / steps, k, it);
}

static void combine_close(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct combine c = combine_of(w);

    (void)i;
    for (uint32_t l = 0; l < c.per_chip; l++)
        if (l != c.l)
            sched_emit_signal(it, w, SCHED_SEM_OUT_DONE, at(&c, c.d, l));
    for (uint32_t l = 0; l < c.per_chip; l++)
        if (l != c.l)
            sched_emit_wait(it, w, SCHED_SEM_OUT_DONE, at(&c, c.d, l));
}

const struct sched_algorithm sched_combine = {
    .name = "combine",
    .check = combine_check,
    .needs = combine_needs,
    .phases = {{"save", save_count, save},
               {"combine open", NULL, combine_open},
               {"combine chip", combine_locals, combine_local},
               {"combine", combine_count, combine_step},
               {"combine close", NULL, combine_close}},
};

/* ---- pairs ---- */

static void pairs_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t from = w->s->origin[w->me];

    (void)i;
    if (from == SCHED_NOBODY || from == w->me)
        return;
    if (sched_is_net(w, from))
        sched_emit_post_out(it, w, from, sched_chunk(w, 0));
    else
        sched_emit_signal(it, w, SCHED_SEM_OUT_READY, from);
}

static void pairs_move(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t to = w->s->target[w->me], from = w->s->origin[w->me];
    struct sched_place src = {.site = SITE_IN, .position = w->me};
    struct sched_place out = {.site = SITE_OUT, .position = w->me};
    bool saved = w->s->req.in_place && to != w->me;

    (void)i;
    if (to == w->me) {
        if (!w->s->req.in_place)
            sched_emit_copy(it, w, sched_chunk(w, 0), src, &out, 1);
        return;
    }
    if (to != SCHED_NOBODY) {
        if (saved)
            src = (struct sched_place){.site = SITE_TEMP, .position = w->me, .off = w->st->temp_at};
        if (!sched_is_net(w, to))
            sched_emit_wait(it, w, SCHED_SEM_OUT_READY, to);
        sched_emit_deliver(it, w, to, sched_chunk(w, 0), src, NULL);
    }
    if (from != SCHED_NOBODY)
        sched_emit_arrive_out(it, w, from, sched_chunk(w, 0));
    if (to != SCHED_NOBODY)
        sched_emit_sent(it, w, to);
}

/* In place, what I send is saved before anybody may write my output. */
static void pairs_save(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct sched_place dst = {.site = SITE_TEMP, .position = w->me, .off = w->st->temp_at};
    uint32_t to = w->s->target[w->me];

    (void)i;
    if (to != SCHED_NOBODY && to != w->me)
        sched_emit_copy(it, w, sched_chunk(w, 0),
                        (struct sched_place){.site = SITE_IN, .position = w->me}, &dst, 1);
}

static void pairs_needs(const struct sched *s, const struct sched_stage *st, uint64_t *slot,
                        uint64_t *temp)
{
    (void)st;
    *slot = 0;
    *temp = s->req.in_place ? s->prefix[s->req.tensors] : 0;
}

const struct sched_algorithm sched_pairs = {
    .name = "pairs",
    .needs = pairs_needs,
    .phases = {{"save", save_count, pairs_save},
               {"pairs open", NULL, pairs_open},
               {"pairs move", NULL, pairs_move}},
};
