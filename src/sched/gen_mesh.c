/* SPDX-License-Identifier: Apache-2.0 */
/* Mesh in two steps (spec section 6.3; between nodes section 7, where every rank is its own chip)
 * and in one (6.4).
 *
 * D chips of L ranks; I am (d, l). A reduce_scatter sends one partial per chip to every rank: the
 * ranks of a chip share out the destinations, each reduces the L inputs of its chip and writes the
 * sum to slot d of the destination, which reduces its D slots. An all_gather carries the L chunks
 * of a chip to every other chip once, and there from rank to rank. */
#include "sched/sched_int.h"

#define MESH_SLOTS 2 /* per source chip, so that a round may begin before the last is read */
#define MESH_MAX   SCHED_MESH_MAX

struct mesh {
    uint32_t chips, per_chip; /* D, L */
    uint32_t d, l;
};

static struct mesh mesh_of(const struct sched_where *w)
{
    const struct topo_layout *shape = w->st->shape;

    return (struct mesh){shape->chips, shape->chip_ranks, shape->chip[w->me], shape->local[w->me]};
}

static uint32_t at(const struct sched_where *w, uint32_t chip, uint32_t local)
{
    return w->st->shape->at[(size_t)chip * w->st->shape->chip_ranks + local];
}

static NRT_STATUS mesh_check(const struct sched *s, const struct sched_stage *st, struct err *err)
{
    (void)s;
    if (st->shape->chips > MESH_MAX || st->shape->chip_ranks > MESH_MAX)
        return err_set(err, NRT_FAILURE, "%u chips; a mesh ends at %u", st->shape->chips, MESH_MAX);
    return NRT_SUCCESS;
}

/* ---- signals between the ranks of a chip ---- */

static void signal_chip(const struct sched_where *w, const struct mesh *m, enum sched_sem sem,
                        uint32_t locals, struct sched_iter *it)
{
    for (uint32_t l = 0; l < locals; l++)
        if (l != m->l)
            sched_emit_signal(it, w, sem, at(w, m->d, l));
}

static void wait_chip(const struct sched_where *w, const struct mesh *m, enum sched_sem sem,
                      uint32_t locals, struct sched_iter *it)
{
    for (uint32_t l = 0; l < locals; l++)
        if (l != m->l)
            sched_emit_wait(it, w, sem, at(w, m->d, l));
}

/* ---- reduce_scatter ---- */

/* The rank of chip `chip` that reduces for (d, l), k = (d - chip) mod D chips away. */
static uint32_t reducer_of(const struct sched_where *w, const struct mesh *m, uint32_t chip,
                           uint32_t d, uint32_t l)
{
    uint32_t k = (d + m->chips - chip) % m->chips;

    return k == 0 ? at(w, chip, l) : at(w, chip, (k - 1 + l) % m->per_chip);
}

/* The slots of source chip `chip` at any rank. */
static struct sched_link mesh_link(const struct sched_where *w, uint32_t peer, uint32_t chip,
                                   uint32_t peer_chip)
{
    uint64_t ce = w->s->chunk_elems;

    return (struct sched_link){.peer = peer,
                               .slots = MESH_SLOTS,
                               .slot_elems = ce,
                               .slot_at = w->st->slot_at + chip * MESH_SLOTS * ce,
                               .temp_at = w->st->temp_at + peer_chip * MESH_SLOTS * ce};
}

static uint64_t scatter_open_count(const struct sched_where *w)
{
    return w->st->scatter ? 1 : 0;
}

/* My input may be read; receives of the first rounds. */
static void scatter_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct mesh m = mesh_of(w);
    uint64_t rounds = sched_rounds(w, 1);

    (void)i;
    signal_chip(w, &m, SCHED_SEM_IN_READY, m.per_chip, it);
    for (uint64_t round = 0; round < rounds && round < MESH_SLOTS; round++)
        for (uint32_t k = 1; k < m.chips; k++) {
            uint32_t chip = (m.d + m.chips - k) % m.chips;
            struct sched_link link = mesh_link(w, reducer_of(w, &m, chip, m.d, m.l), chip, 0);

            sched_emit_post(it, w, &link, sched_range_len(sched_slice(w, w->me, round, 1, 0)));
        }
    wait_chip(w, &m, SCHED_SEM_IN_READY, m.per_chip, it);
}

/* Per round: D sends (the first into my own slot), then my own reduction. */
static uint64_t scatter_count(const struct sched_where *w)
{
    return w->st->scatter ? sched_rounds(w, 1) * (w->st->shape->chips + 1u) : 0;
}

static void scatter_send(const struct sched_where *w, const struct mesh *m, uint64_t round,
                         uint32_t k, struct sched_iter *it)
{
    struct sched_place src[MESH_MAX], own = sched_place_of(SITE_SLOT, w->me);
    uint32_t d = (m->d + k) % m->chips;
    uint32_t l = k == 0 ? m->l : (m->l + m->per_chip - (k - 1) % m->per_chip) % m->per_chip;
    uint32_t to = at(w, d, l);
    struct sched_range range = sched_slice(w, to, round, 1, 0);
    struct sched_link link = mesh_link(w, to, m->d, d);

    for (uint32_t i = 0; i < m->per_chip; i++)
        src[i] = sched_place_of(w->st->source, at(w, m->d, i));
    if (k > 0) {
        sched_emit_send(it, w, &link, range, src, m->per_chip);
    } else if (m->per_chip > 1) { /* alone on the chip, the input itself is the partial */
        own.off = link.slot_at + round % MESH_SLOTS * link.slot_elems;
        sched_emit_reduce(it, w, range, src, m->per_chip, &own, 1);
    }
}

static void scatter_reduce(const struct sched_where *w, const struct mesh *m, uint64_t round,
                           struct sched_iter *it)
{
    struct sched_range range = sched_slice(w, w->me, round, 1, 0);
    struct sched_place src[MESH_MAX], dst = sched_place_of(w->st->result, w->me);
    uint64_t rounds = sched_rounds(w, 1);

    for (uint32_t k = 0; k < m->chips; k++) { /* in the order in which they are sent */
        uint32_t chip = (m->d + m->chips - k) % m->chips;
        struct sched_link link = mesh_link(w, reducer_of(w, m, chip, m->d, m->l), chip, 0);

        if (k > 0) {
            src[chip] = sched_emit_arrive(it, w, &link);
        } else if (m->per_chip > 1) {
            src[chip] = sched_place_of(SITE_SLOT, w->me);
            src[chip].off = link.slot_at + round % MESH_SLOTS * link.slot_elems;
        } else {
            src[chip] = sched_place_of(w->st->source, w->me);
        }
    }
    sched_emit_reduce(it, w, range, src, m->chips, &dst, 1);
    for (uint32_t k = 1; k < m->chips; k++) {
        uint32_t chip = (m->d + m->chips - k) % m->chips;
        struct sched_link link = mesh_link(w, reducer_of(w, m, chip, m->d, m->l), chip, 0);

        sched_emit_release(it, w, &link);
        if (round + MESH_SLOTS < rounds)
            sched_emit_post(it, w, &link,
                            sched_range_len(sched_slice(w, w->me, round + MESH_SLOTS, 1, 0)));
    }
}

static void scatter_step(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct mesh m = mesh_of(w);
    uint32_t k = (uint32_t)(i % (m.chips + 1u));
    uint64_t round = i / (m.chips + 1u);

    if (k < m.chips)
        scatter_send(w, &m, round, k, it);
    else
        scatter_reduce(w, &m, round, it);
}

static void scatter_close(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct mesh m = mesh_of(w);

    (void)i;
    signal_chip(w, &m, SCHED_SEM_IN_DONE, m.per_chip, it);
    wait_chip(w, &m, SCHED_SEM_IN_DONE, m.per_chip, it);
    for (uint32_t k = 1; k < m.chips; k++)
        sched_emit_sent(it, w, at(w, (m.d + k) % m.chips, m.l));
}

/* ---- all_gather ---- */

/* Local ranks that carry chunks to other chips: those with a k, 1 <= k < D, (k - 1) mod L = l. */
static uint32_t carriers(const struct mesh *m)
{
    return m->per_chip < m->chips - 1 ? m->per_chip : m->chips - 1;
}

static uint64_t gather_open_count(const struct sched_where *w)
{
    return w->st->gather ? 1 : 0;
}

static void gather_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct mesh m = mesh_of(w);

    (void)i;
    signal_chip(w, &m, SCHED_SEM_OUT_READY, m.per_chip, it);
    signal_chip(w, &m, SCHED_SEM_IN_READY, carriers(&m), it);
    for (uint32_t k = m.l + 1; k < m.chips; k += m.per_chip) {
        uint32_t from = at(w, (m.d + m.chips - k) % m.chips, m.l);

        if (!sched_is_net(w, from))
            sched_emit_signal(it, w, SCHED_SEM_OUT_READY, from);
        sched_emit_post_out(it, w, from, sched_chunk(w, from));
    }
    wait_chip(w, &m, SCHED_SEM_OUT_READY, m.per_chip, it);
    if (m.l < carriers(&m))
        wait_chip(w, &m, SCHED_SEM_IN_READY, m.per_chip, it);
}

/* Step 1: my own chunk, then the chunks of my chip to the chips that are mine to serve. */
static uint64_t gather_carry_count(const struct sched_where *w)
{
    return w->st->gather ? w->st->shape->chips : 0;
}

static void gather_carry(const struct sched_where *w, uint64_t k, struct sched_iter *it)
{
    struct mesh m = mesh_of(w);
    enum sched_site site = sched_gather_site(w->st);
    struct sched_place out = sched_place_of(SITE_OUT, w->me);

    if (k == 0) {
        if (site != SITE_OUT && !w->s->req.in_place)
            sched_emit_copy(it, w, sched_chunk(w, w->me), sched_place_of(site, w->me), &out, 1);
        return;
    }
    if ((k - 1) % m.per_chip != m.l)
        return;
    uint32_t to = at(w, (uint32_t)((m.d + k) % m.chips), m.l);

    if (sched_is_net(w, to)) { /* one rank a chip */
        sched_emit_deliver(it, w, to, sched_chunk(w, w->me), sched_place_of(site, w->me), NULL);
        return;
    }
    out.position = to;
    sched_emit_wait(it, w, SCHED_SEM_OUT_READY, to);
    for (uint32_t l = 0; l < m.per_chip; l++) {
        uint32_t owner = at(w, m.d, l);

        sched_emit_copy(it, w, sched_chunk(w, owner), sched_place_of(site, owner), &out, 1);
    }
    sched_emit_signal(it, w, SCHED_SEM_RECV, to);
}

/* Step 2: what arrived at me, and my own chunk, to the other ranks of my chip. */
static void spread(const struct sched_where *w, const struct mesh *m, uint32_t q,
                   struct sched_iter *it)
{
    struct sched_place dst[MESH_MAX];
    unsigned ndst = 0;

    for (uint32_t l = 0; l < m->per_chip; l++)
        if (l != m->l)
            dst[ndst++] = sched_place_of(SITE_OUT, at(w, m->d, l));
    if (ndst > 0)
        sched_emit_copy(it, w, sched_chunk(w, q), sched_place_of(SITE_OUT, w->me), dst, ndst);
}

static void gather_spread(const struct sched_where *w, uint64_t k, struct sched_iter *it)
{
    struct mesh m = mesh_of(w);
    uint32_t chip = (uint32_t)((m.d + m.chips - k) % m.chips), from = at(w, chip, m.l);

    if (k == 0) {
        spread(w, &m, w->me, it);
        return;
    }
    if ((k - 1) % m.per_chip != m.l)
        return;
    sched_emit_arrive_out(it, w, from, sched_chunk(w, from));
    for (uint32_t l = 0; l < m.per_chip; l++)
        spread(w, &m, at(w, chip, l), it);
}

static void gather_close(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct mesh m = mesh_of(w);

    (void)i;
    signal_chip(w, &m, SCHED_SEM_RECV, m.per_chip, it);
    if (m.l < carriers(&m))
        signal_chip(w, &m, SCHED_SEM_IN_DONE, m.per_chip, it);
    wait_chip(w, &m, SCHED_SEM_RECV, m.per_chip, it);
    wait_chip(w, &m, SCHED_SEM_IN_DONE, carriers(&m), it);
    for (uint32_t k = 1; k < m.chips; k++)
        sched_emit_sent(it, w, at(w, (m.d + k) % m.chips, m.l));
}

static void mesh_needs(const struct sched *s, const struct sched_stage *st, uint64_t *slot,
                       uint64_t *temp)
{
    *slot = st->scatter ? st->shape->chips * MESH_SLOTS * s->chunk_elems : 0;
    *temp = s->g->nodes > 1 ? *slot : 0;
}

static uint32_t mesh_key(const struct sched_where *w)
{
    struct mesh m = mesh_of(w);

    return m.l + m.per_chip * (w->st->scatter ? sched_key_source(m.d) : 0);
}

const struct sched_algorithm sched_mesh = {
    .name = "mesh",
    .key = mesh_key,
    .check = mesh_check,
    .needs = mesh_needs,
    .phases = {{"mesh rs open", scatter_open_count, scatter_open},
               {"mesh rs", scatter_count, scatter_step},
               {"mesh rs close", scatter_open_count, scatter_close},
               {"mesh ag open", gather_open_count, gather_open},
               {"mesh ag carry", gather_carry_count, gather_carry},
               {"mesh ag spread", gather_carry_count, gather_spread},
               {"mesh ag close", gather_open_count, gather_close}},
};

/* ---- one step ---- */

/* The slots of writer at any rank: ranks take the place of chips. */
static struct sched_link one_link(const struct sched_where *w, uint32_t peer, uint32_t writer)
{
    return mesh_link(w, peer, writer, peer);
}

static NRT_STATUS one_check(const struct sched *s, const struct sched_stage *st, struct err *err)
{
    if (!st->scatter || !st->gather)
        return err_set(err, NRT_FAILURE, "a single-step mesh is an all_reduce");
    if (st->shape->n > MESH_MAX)
        return err_set(err, NRT_FAILURE, "%u ranks; a mesh ends at %u", st->shape->n, MESH_MAX);
    (void)s;
    return NRT_SUCCESS;
}

static void one_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t n = w->st->shape->n;
    uint64_t rounds = sched_rounds(w, 1);

    (void)i;
    for (uint64_t round = 0; round < rounds && round < MESH_SLOTS; round++)
        for (uint32_t k = 1; k < n; k++) {
            uint32_t from = (w->me + n - k) % n;
            struct sched_link link = one_link(w, from, from);

            sched_emit_post(it, w, &link, sched_range_len(sched_slice(w, 0, round, 1, 0)));
        }
}

static uint64_t one_count(const struct sched_where *w)
{
    return sched_rounds(w, 1) * w->st->shape->n;
}

static void one_reduce(const struct sched_where *w, uint64_t round, struct sched_iter *it)
{
    struct sched_range range = sched_slice(w, 0, round, 1, 0);
    struct sched_place src[MESH_MAX], out = sched_place_of(SITE_OUT, w->me);
    uint32_t n = w->st->shape->n;
    uint64_t rounds = sched_rounds(w, 1);

    src[w->me] = sched_place_of(w->st->source, w->me);
    for (uint32_t k = 1; k < n; k++) { /* in the order in which they are sent */
        uint32_t p = (w->me + n - k) % n;
        struct sched_link link = one_link(w, p, p);

        src[p] = sched_emit_arrive(it, w, &link);
    }
    sched_emit_reduce(it, w, range, src, n, &out, 1);
    for (uint32_t k = 1; k < n; k++) {
        uint32_t p = (w->me + n - k) % n;
        struct sched_link link = one_link(w, p, p);

        sched_emit_release(it, w, &link);
        if (round + MESH_SLOTS < rounds)
            sched_emit_post(it, w, &link,
                            sched_range_len(sched_slice(w, 0, round + MESH_SLOTS, 1, 0)));
    }
}

/* Per round: a send to every peer, then the reduction. In place is safe: my sends are complete
 * (between nodes: waited for) before my output is written. */
static void one_step(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t n = w->st->shape->n, k = (uint32_t)(i % n) + 1;
    uint64_t round = i / n;
    struct sched_place own = sched_place_of(w->st->source, w->me);

    if (k < n) {
        uint32_t to = (w->me + k) % n;
        struct sched_link link = one_link(w, to, w->me);

        sched_emit_send(it, w, &link, sched_slice(w, 0, round, 1, 0), &own, 1);
        return;
    }
    if (w->s->req.in_place || w->st->source == SITE_OUT)
        for (uint32_t p = 1; p < n; p++)
            sched_emit_sent(it, w, (w->me + p) % n);
    one_reduce(w, round, it);
}

static void one_close(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t n = w->st->shape->n;

    (void)i;
    for (uint32_t p = 1; p < n; p++)
        sched_emit_sent(it, w, (w->me + p) % n);
}

static void one_needs(const struct sched *s, const struct sched_stage *st, uint64_t *slot,
                      uint64_t *temp)
{
    *slot = (uint64_t)st->shape->n * MESH_SLOTS * s->chunk_elems;
    *temp = s->g->nodes > 1 ? *slot : 0;
}

static uint32_t one_key(const struct sched_where *w)
{
    return sched_key_source(w->me);
}

const struct sched_algorithm sched_mesh_one = {
    .name = "mesh_one",
    .key = one_key,
    .check = one_check,
    .needs = one_needs,
    .phases = {{"mesh one open", NULL, one_open},
               {"mesh one", one_count, one_step},
               {"mesh one close", NULL, one_close}},
};
