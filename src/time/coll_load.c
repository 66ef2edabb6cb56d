/* SPDX-License-Identifier: Apache-2.0 */
/* Who shares links and interfaces: see coll_int.h. The ranks of the first node stand for those of
 * every node, since groups are symmetric. */
#include <string.h>

#include "time/coll_int.h"

struct phase_load {
    uint32_t *links; /* [runs][links of the fabric]: transfers */
    size_t cap;      /* elements of links */
    uint32_t runs;
    uint32_t senders, chip_senders; /* ranks and channels that send over the network: of the node,
                                     * of the first one's chip */
    uint32_t chip;
};

struct load {
    const struct sched *s; /* the one that was asked about */
    const struct topo_group *g;
    uint32_t links;
    struct phase_load phase[LOAD_PHASES];
    uint32_t *runs;     /* [role][channel][phase]: runs of the representative */
    uint32_t *channels; /* [role]: on which it moves data */
};

static uint32_t chip_of(const struct topo_group *g, uint32_t rank)
{
    return topo_world_place(&g->world, g->rank[rank]).chip;
}

uint32_t load_run(struct load_place *p, unsigned phase, uint32_t chip)
{
    if (p->run[phase] == 0 || p->chip[phase] != chip) {
        p->run[phase]++;
        p->chip[phase] = chip;
    }
    return p->run[phase] - 1;
}

/* ---- counting ---- */

static bool runs_grow(struct load *l, struct phase_load *p, uint32_t runs)
{
    size_t have = (size_t)p->runs * l->links;

    if (runs <= p->runs)
        return true;
    if (!mem_grow((void **)&p->links, &p->cap, (size_t)runs * l->links, sizeof(*p->links)))
        return false;
    memset(p->links + have, 0, ((size_t)runs * l->links - have) * sizeof(*p->links));
    p->runs = runs;
    return true;
}

/* The first chip but its own that a step writes to. */
static bool far_chip(const struct topo_group *g, uint32_t rank, const struct sched_step *step,
                     uint32_t *ret_chip)
{
    uint32_t own = chip_of(g, rank);

    for (unsigned i = 0; i < step->ndst; i++) {
        *ret_chip = chip_of(g, step->dst[i].rank);
        if (*ret_chip != own)
            return true;
    }
    return false;
}

static bool writes_out(uint32_t rank, const struct sched_step *step)
{
    for (unsigned i = 0; i < step->ndst; i++)
        if (step->dst[i].rank != rank)
            return true;
    return false;
}

static bool transfer_count(struct load *l, uint32_t rank, const struct sched_step *step,
                           struct load_place *place)
{
    struct phase_load *p = &l->phase[step->phase];
    struct topo_route route;
    uint32_t chip, before = place->run[step->phase], run;

    if (!far_chip(l->g, rank, step, &chip))
        return true;
    run = load_run(place, step->phase, chip);
    if (place->run[step->phase] == before)
        return true; /* the run was counted with its first transfer */
    if (!runs_grow(l, p, run + 1))
        return false;
    topo_route(&l->g->world.fabric, chip_of(l->g, rank), chip, &route);
    for (unsigned i = 0; i < route.link_count; i++)
        p->links[(size_t)run * l->links + route.links[i]]++;
    return true;
}

static void sender_count(struct load *l, uint32_t rank, unsigned phase, uint32_t *sent)
{
    struct phase_load *p = &l->phase[phase];
    uint32_t chip = chip_of(l->g, rank);

    if (*sent >> phase & 1)
        return;
    *sent |= UINT32_C(1) << phase;
    if (p->senders++ == 0)
        p->chip = chip;
    p->chip_senders += chip == p->chip;
}

/* Walk one rank; of a representative the runs are kept. counted: it belongs to the first node. */
static NRT_STATUS rank_walk(struct load *l, const struct sched *tiny, uint32_t rank, bool counted)
{
    uint32_t role = sched_role(l->s, rank), channels = sched_channels(l->s);
    bool keeps = sched_role_rank(l->s, role) == rank;

    for (uint32_t c = 0; c < channels; c++) {
        struct load_place place = {{0}, {0}};
        const struct sched_step *step;
        struct sched_iter *it;
        bool moves = false, ok = true;
        uint32_t sent = 0;
        NRT_STATUS st = sched_iter_create(tiny, rank, c, &it);

        while (!st && ok && (step = sched_iter_next(it))) {
            bool net = step->kind == SCHED_NET_SEND;
            uint32_t chip;

            if (step->kind != SCHED_COPY && step->kind != SCHED_REDUCE && !net)
                continue;
            moves |= step->count > 0;
            if (net && counted)
                sender_count(l, rank, step->phase, &sent);
            else if (!net && counted)
                ok = transfer_count(l, rank, step, &place);
            else if (!net && far_chip(l->g, rank, step, &chip))
                (void)load_run(&place, step->phase, chip);
            if (ok && step->count > 0 && (net || writes_out(rank, step)))
                (void)sched_iter_skip(it); /* the rest adds no run and no sender */
        }
        if (!st) {
            st = ok ? sched_iter_status(it) : NRT_RESOURCE;
            sched_iter_destroy(it);
        }
        if (st)
            return st;
        if (!keeps)
            continue;
        l->channels[role] += moves;
        memcpy(l->runs + ((size_t)role * channels + c) * LOAD_PHASES, place.run, sizeof(place.run));
    }
    return NRT_SUCCESS;
}

/* ---- the shortest message that leaves no part empty ---- */

static NRT_STATUS tiny_make(const struct sched *s, struct sched **ret, struct err *err)
{
    struct sched_request req = *sched_request_of(s);
    uint64_t counts[SCHED_TENSORS_MAX], chunk;

    *ret = NULL;
    if (req.op > SCHED_ALL_TO_ALL)
        return NRT_SUCCESS; /* few steps, whatever the size */
    chunk = (uint64_t)64 / req.elem_size * sched_channels(s) * (req.pipeline ? req.pipeline : 1) *
            (req.slices ? req.slices : 1);
    for (uint32_t t = 0; t < req.tensors; t++)
        counts[t] = req.op == SCHED_ALL_GATHER || req.op == SCHED_REDUCE_SCATTER
                        ? chunk
                        : chunk * sched_ranks(s);
    req.counts = counts;
    return sched_create(&req, ret, err);
}

NRT_STATUS load_make(const struct sched *s, struct load **ret, struct err *err)
{
    const struct topo_group *g = sched_request_of(s)->group;
    uint32_t roles = sched_role_count(s);
    struct load *l = mem_zalloc(sizeof(*l));
    struct sched *tiny = NULL;
    NRT_STATUS st;

    if (!l)
        return err_set(err, NRT_RESOURCE, "no memory for device time");
    *l = (struct load){.s = s, .g = g, .links = topo_fabric_links(&g->world.fabric)};
    l->runs = mem_calloc((size_t)roles * sched_channels(s) * LOAD_PHASES, sizeof(*l->runs));
    l->channels = mem_calloc(roles, sizeof(*l->channels));
    st = l->runs && l->channels ? tiny_make(s, &tiny, err) : NRT_RESOURCE;
    for (uint32_t r = 0; r < sched_ranks(s) && !st; r++) {
        bool first = g->node[r] == 0;

        if (first || sched_role_rank(s, sched_role(s, r)) == r)
            st = rank_walk(l, tiny ? tiny : s, r, first);
    }
    sched_destroy(tiny);
    if (st) {
        load_free(l);
        return st == NRT_RESOURCE ? err_set(err, st, "no memory for device time") : st;
    }
    *ret = l;
    return NRT_SUCCESS;
}

void load_free(struct load *l)
{
    if (!l)
        return;
    for (unsigned p = 0; p < LOAD_PHASES; p++)
        mem_free(l->phase[p].links);
    mem_free(l->runs);
    mem_free(l->channels);
    mem_free(l);
}

/* ---- answers ---- */

uint32_t load_links(const struct load *l, uint32_t rank, uint32_t channel, unsigned phase,
                    uint32_t run, const struct topo_route *route)
{
    const struct phase_load *p = &l->phase[phase];
    size_t sequencer = (size_t)sched_role(l->s, rank) * sched_channels(l->s) + channel;
    uint32_t runs = l->runs[sequencer * LOAD_PHASES + phase], most = 1;

    if (runs > 0)
        run %= runs;
    if (run >= p->runs)
        return 1;
    for (unsigned i = 0; i < route->link_count; i++) {
        uint32_t n = p->links[(size_t)run * l->links + route->links[i]];

        most = n > most ? n : most;
    }
    return most;
}

uint32_t load_senders(const struct load *l, unsigned phase)
{
    return l->phase[phase].senders ? l->phase[phase].senders : 1;
}

uint32_t load_chip_senders(const struct load *l, unsigned phase)
{
    return l->phase[phase].chip_senders ? l->phase[phase].chip_senders : 1;
}

uint32_t load_channels(const struct load *l, uint32_t rank)
{
    uint32_t n = l->channels[sched_role(l->s, rank)];

    return n ? n : 1;
}
