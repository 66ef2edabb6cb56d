/* SPDX-License-Identifier: Apache-2.0 */
/* Stages, channels, buffers and parts of a schedule. */
#include "sched/plan_int.h"

#include "base/checked.h"
#include "sched/iter_int.h"

/* ---- who is who in a stage ---- */

uint32_t sched_position_of(const struct sched *s, enum sched_scope scope, uint32_t rank)
{
    switch (scope) {
    case SCHED_INTRA:
        return s->g->index[rank];
    case SCHED_INTER:
        return s->g->node[rank];
    default:
        return rank;
    }
}

uint32_t sched_rank_at(const struct sched_where *w, uint32_t position)
{
    const struct topo_group *g = w->s->g;

    switch (w->st->scope) {
    case SCHED_INTRA:
        return g->at[(size_t)g->node[w->rank] * g->per_node + position];
    case SCHED_INTER:
        return g->at[(size_t)position * g->per_node + g->index[w->rank]];
    default:
        return position;
    }
}

bool sched_is_net(const struct sched_where *w, uint32_t position)
{
    const struct topo_group *g = w->s->g;

    return g->node[sched_rank_at(w, position)] != g->node[w->rank];
}

uint64_t sched_peers(const struct sched_where *w)
{
    return w->s->n - 1;
}

uint32_t sched_peer_ahead(const struct sched_where *w, uint64_t i)
{
    return (uint32_t)((w->me + i + 1) % w->s->n);
}

uint32_t sched_peer_behind(const struct sched_where *w, uint64_t i)
{
    return (uint32_t)((w->me + w->s->n - i - 1) % w->s->n);
}

/* ---- layouts that the group does not have ---- */

/* n positions in their own order, each its own chip. */
static NRT_STATUS layout_plain(struct sched *s, uint32_t n, unsigned channels)
{
    uint32_t *id = arena_calloc(&s->mem, n, sizeof(*id));
    uint32_t *zero = arena_calloc(&s->mem, n, sizeof(*zero));
    uint16_t *label = arena_calloc(&s->mem, n, sizeof(*label));
    uint32_t *order = arena_calloc(&s->mem, (size_t)n * channels, sizeof(*order));
    uint32_t *place = arena_calloc(&s->mem, (size_t)n * channels, sizeof(*place));

    if (!id || !zero || !label || !order || !place)
        return NRT_RESOURCE;
    for (uint32_t i = 0; i < n; i++) {
        id[i] = i;
        label[i] = (uint16_t)i;
    }
    for (unsigned c = 0; c < channels; c++)
        for (uint32_t i = 0; i < n; i++)
            order[(size_t)c * n + i] = place[(size_t)c * n + i] = i;
    s->own = (struct topo_layout){.n = n,
                                  .chips = n,
                                  .chip_ranks = 1,
                                  .chip = id,
                                  .local = zero,
                                  .at = id,
                                  .label = label, /* RDH: used when n is a power of two */
                                  .labelled = label,
                                  .channels = channels,
                                  .order = order,
                                  .place = place};
    return NRT_SUCCESS;
}

static NRT_STATUS layout_flat(struct sched *s)
{
    const struct topo_group *g = s->g;
    NRT_STATUS st = layout_plain(s, s->n, g->flat_channels);

    if (st)
        return st;
    uint32_t *order = (uint32_t *)s->own.order, *place = (uint32_t *)s->own.place;

    for (unsigned c = 0; c < g->flat_channels; c++)
        for (uint32_t q = 0; q < s->n; q++) {
            uint32_t r = topo_group_flat_at(g, c, q);

            order[(size_t)c * s->n + q] = r;
            place[(size_t)c * s->n + r] = q;
        }
    return NRT_SUCCESS;
}

/* ---- which algorithm runs a stage ---- */

static bool is_vector(enum sched_op op) /* all_gather, reduce_scatter, all_reduce, barrier */
{
    return op == SCHED_ALL_GATHER || op == SCHED_REDUCE_SCATTER || op == SCHED_ALL_REDUCE ||
           op == SCHED_BARRIER;
}

static NRT_STATUS cannot(const struct sched *s, struct err *err, const char *why)
{
    return err_set(err, NRT_FAILURE, "%s by %s (%s): %s", sched_op_name(s->req.op),
                   sched_alg_name(s->req.alg), sched_variant_name(s->req.variant), why);
}

/* RDH between nodes when their number is no power of two (section 7). */
static const struct sched_algorithm *rdh_for(const struct sched_stage *st, bool net)
{
    if (!net || is_pow2_u64(st->shape->n))
        return &sched_rdh;
    return st->scatter && st->gather ? &sched_fold : &sched_bruck;
}

static NRT_STATUS stage_algorithm(const struct sched *s, struct sched_stage *st, enum sched_alg alg,
                                  bool net, struct err *err)
{
    switch (alg) {
    case SCHED_RING:
        st->algorithm = &sched_ring;
        break;
    case SCHED_MESH:
        st->algorithm = &sched_mesh;
        break;
    case SCHED_MESH_ONE:
        st->algorithm = &sched_mesh_one;
        st->undivided = true;
        break;
    case SCHED_KANGARING:
        if (net)
            return cannot(s, err, "KangaRing runs inside a node");
        st->algorithm = &sched_kangaring;
        break;
    case SCHED_RDH:
        st->algorithm = rdh_for(st, net);
        break;
    default:
        return cannot(s, err, "no such stage");
    }
    if (st->shape->n == 1)
        st->algorithm = &sched_alone;
    return st->algorithm->check ? st->algorithm->check(s, st, err) : NRT_SUCCESS;
}

/* ---- stages ---- */

static struct sched_stage *stage_add(struct sched *s, enum sched_scope scope,
                                     const struct topo_layout *shape)
{
    struct sched_stage *st = &s->stage[s->stages++];

    *st = (struct sched_stage){.scope = scope,
                               .shape = shape,
                               .scatter = s->req.op != SCHED_ALL_GATHER,
                               .gather = s->req.op != SCHED_REDUCE_SCATTER,
                               .source = SITE_IN,
                               .result = SITE_OUT};
    return st;
}

static NRT_STATUS plan_hier(struct sched *s, struct err *err)
{
    struct sched_stage *first, *second, *third;
    NRT_STATUS st = layout_plain(s, s->g->nodes, 1);

    if (st)
        return err_set(err, st, "no memory for a schedule");
    switch (s->req.op) {
    case SCHED_ALL_GATHER:
        first = stage_add(s, SCHED_INTER, &s->own);
        second = stage_add(s, SCHED_INTRA, &s->g->layout);
        second->source = SITE_OUT;
        st = stage_algorithm(s, first, s->req.inter, true, err);
        return st ? st : stage_algorithm(s, second, s->req.intra, false, err);
    case SCHED_REDUCE_SCATTER:
        first = stage_add(s, SCHED_INTRA, &s->g->layout);
        first->result = SITE_HOLD;
        second = stage_add(s, SCHED_INTER, &s->own);
        second->source = SITE_HOLD;
        st = stage_algorithm(s, first, s->req.intra, false, err);
        return st ? st : stage_algorithm(s, second, s->req.inter, true, err);
    default:
        first = stage_add(s, SCHED_INTRA, &s->g->layout);
        first->gather = false;
        second = stage_add(s, SCHED_INTER, &s->own);
        second->source = SITE_OUT;
        third = stage_add(s, SCHED_INTRA, &s->g->layout);
        third->scatter = false;
        third->source = SITE_OUT;
        st = stage_algorithm(s, first, s->req.intra, false, err);
        if (!st)
            st = stage_algorithm(s, second, s->req.inter, true, err);
        return st ? st : stage_algorithm(s, third, s->req.intra, false, err);
    }
}

/* Operations that speak to everybody or to pairs, over the whole group. */
static NRT_STATUS plan_exchange(struct sched *s, struct err *err)
{
    enum sched_op op = s->req.op;
    struct sched_stage *st;

    if (op == SCHED_PERMUTE || op == SCHED_SENDRECV) {
        if (s->req.alg != SCHED_PAIRS || s->req.variant != SCHED_STAGED)
            return cannot(s, err, "pairs are one step (pairs, staged)");
    } else if (s->req.alg != SCHED_MESH && s->req.alg != SCHED_MESH_TWO) {
        return cannot(s, err, "it is a mesh operation");
    } else if (s->req.alg == SCHED_MESH_TWO && op != SCHED_ALL_TO_ALL) {
        return cannot(s, err, "only all_to_all combines the blocks of a chip");
    } else if (s->req.variant != SCHED_STAGED) {
        return cannot(s, err, "blocks are written where they are used already");
    }
    if (s->req.alg == SCHED_MESH_TWO && s->g->nodes > 1)
        return cannot(s, err, "chips are combined inside a node");
    if (s->req.alg == SCHED_MESH_TWO) {
        st = stage_add(s, SCHED_GROUP, &s->g->layout);
    } else {
        if (layout_plain(s, s->n, 1))
            return err_set(err, NRT_RESOURCE, "no memory for a schedule");
        st = stage_add(s, SCHED_GROUP, &s->own);
    }
    st->scatter = st->gather = false;
    if (s->req.alg == SCHED_PAIRS)
        st->algorithm = &sched_pairs;
    else if (s->req.alg == SCHED_MESH_TWO)
        st->algorithm = &sched_combine;
    else
        st->algorithm = op == SCHED_REDUCE_SCATTER_V ? &sched_sum_v : &sched_exchange;
    return st->algorithm->check ? st->algorithm->check(s, st, err) : NRT_SUCCESS;
}

/* Variants for ranks that see each other's memory. */
static NRT_STATUS plan_near(struct sched *s, struct err *err)
{
    struct sched_stage *st;
    bool inlined = s->req.variant == SCHED_INLINE;

    if (s->g->nodes > 1)
        return cannot(s, err, "ranks of several nodes do not share memory");
    if (s->req.alg != SCHED_MESH)
        return cannot(s, err, "this variant is a mesh");
    st = stage_add(s, SCHED_GROUP, &s->g->layout);
    st->algorithm = inlined ? &sched_inline : &sched_direct;
    st->undivided = inlined && st->scatter && st->gather;
    if (s->n == 1)
        st->algorithm = &sched_alone;
    return st->algorithm->check ? st->algorithm->check(s, st, err) : NRT_SUCCESS;
}

static NRT_STATUS plan_stages(struct sched *s, struct err *err)
{
    const struct topo_group *g = s->g;
    bool several = g->nodes > 1 && g->per_node > 1;

    if (!is_vector(s->req.op))
        return plan_exchange(s, err);
    if (s->req.variant != SCHED_STAGED)
        return plan_near(s, err);
    if (s->req.alg == SCHED_HIER) {
        if (!several)
            return cannot(s, err, "it needs several nodes with several ranks each");
        return plan_hier(s, err);
    }
    if (s->req.alg == SCHED_FLAT_RING) {
        if (g->flat_channels == 0)
            return cannot(s, err, "the group offers no flat ring");
        if (layout_flat(s))
            return err_set(err, NRT_RESOURCE, "no memory for a schedule");
        return stage_algorithm(s, stage_add(s, SCHED_GROUP, &s->own), SCHED_RING, true, err);
    }
    if (several)
        return cannot(s, err, "several nodes with several ranks each need hier or flat_ring");
    if (g->nodes == 1)
        return stage_algorithm(s, stage_add(s, SCHED_GROUP, &g->layout), s->req.alg, false, err);
    if (layout_plain(s, s->n, 1))
        return err_set(err, NRT_RESOURCE, "no memory for a schedule");
    return stage_algorithm(s, stage_add(s, SCHED_GROUP, &s->own), s->req.alg, true, err);
}

/* ---- channels and buffers ---- */

static uint32_t channels_offered(const struct sched *s)
{
    enum sched_alg alg = s->req.alg == SCHED_HIER ? s->req.intra : s->req.alg;

    if (s->req.variant != SCHED_STAGED)
        return 1;
    if (alg == SCHED_FLAT_RING)
        return s->g->flat_channels;
    if (alg == SCHED_RING || alg == SCHED_KANGARING)
        return s->g->nodes > 1 && s->g->per_node == 1 ? 1 : s->g->layout.channels;
    return 1; /* "Mesh uses one channel" (nec.h) */
}

static NRT_STATUS plan_channels(struct sched *s, struct err *err)
{
    uint32_t offered = channels_offered(s);

    if (s->req.channels > offered)
        return err_set(err, NRT_INVALID, "channels %u: %s over this group has %u", s->req.channels,
                       sched_alg_name(s->req.alg), offered);
    s->channels = s->req.channels ? s->req.channels : offered;
    s->req.channels = s->channels;
    return NRT_SUCCESS;
}

/* No slot is larger than the longest range that it will hold. */
static void plan_chunk(struct sched *s)
{
    uint64_t u = 64 / s->req.elem_size, longest = 1;

    for (uint32_t i = 0; i < s->stages; i++) {
        struct sched_where w = {.s = s, .st = &s->stage[i]};
        uint64_t len = sched_chunk_len_max(&w);

        longest = len > longest ? len : longest;
    }
    longest = (longest + u - 1) / u * u;
    s->chunk_elems = s->req.chunk_bytes / s->req.elem_size;
    if (s->chunk_elems > longest)
        s->chunk_elems = longest;
}

static uint64_t region_add(const struct sched *s, uint64_t *total, uint64_t elems)
{
    uint64_t u = 64 / s->req.elem_size, at = *total;

    *total += (elems + u - 1) / u * u;
    return at;
}

static void plan_buffers(struct sched *s)
{
    struct sched_where w = {.s = s};

    for (uint32_t i = 0; i < s->stages; i++) {
        struct sched_stage *st = &s->stage[i];
        uint64_t slot = 0, temp = 0;

        if (st->algorithm->needs)
            st->algorithm->needs(s, st, &slot, &temp);
        st->slot_at = region_add(s, &s->slot_elems, slot);
        st->temp_at = region_add(s, &s->temp_elems, temp);
    }
    if (s->stages == 2 && s->stage[0].result == SITE_HOLD)
        s->hold_at = region_add(s, &s->temp_elems, sched_hold_elems(&w));
    if (s->req.variant == SCHED_INLINE)
        s->line_elems = s->prefix[s->req.tensors];
    if (s->n > SCHED_REFS_MAX) /* lines are reduced whole, all else in slices of a chunk */
        s->chain_at = region_add(s, &s->temp_elems,
                                 s->line_elems > s->chunk_elems ? s->line_elems : s->chunk_elems);
}

/* ---- parts ---- */

static void parts_of_stage(struct sched *s, uint32_t stage, uint32_t slice)
{
    const struct sched_phase *phases = s->stage[stage].algorithm->phases;

    for (unsigned p = 0; phases[p].body; p++)
        s->parts[s->part_count++] =
            (struct sched_part){(uint8_t)stage, (uint8_t)p, (uint16_t)slice};
}

/* Slice i passes stage t while slice i + 1 passes stage t - 1 (section 8). */
static NRT_STATUS plan_parts(struct sched *s)
{
    s->parts =
        arena_calloc(&s->mem, (size_t)s->stages * s->slices * SCHED_PHASES_MAX, sizeof(*s->parts));
    if (!s->parts)
        return NRT_RESOURCE;
    for (uint32_t tick = 0; tick < s->slices + s->stages - 1; tick++)
        for (uint32_t stage = s->stages; stage-- > 0;)
            if (tick >= stage && tick - stage < s->slices)
                parts_of_stage(s, stage, tick - stage);
    return NRT_SUCCESS;
}

NRT_STATUS sched_plan(struct sched *s, struct err *err)
{
    NRT_STATUS st = plan_stages(s, err);

    if (!st)
        st = plan_channels(s, err);
    if (st)
        return st;
    plan_chunk(s);
    plan_buffers(s);
    st = plan_parts(s);
    return st ? err_set(err, st, "no memory for a schedule") : NRT_SUCCESS;
}
