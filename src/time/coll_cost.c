/* SPDX-License-Identifier: Apache-2.0 */
/* What one step of a collective costs. A transfer takes the time of its slowest resource:
 *   engines   bytes read, over the engines of its channel; a duplicated write reads once for two
 *             destinations, a reduction reads each source
 *   HBM       bytes read and written together: ranks touch each other's memory, but as much of it
 *             as others touch theirs
 *   links     the bytes of all transfers that share the most crowded link of the way */
#include <math.h>

#include "time/coll_int.h"

double cost_rate(struct costs *c, enum time_rate rate, double free)
{
    double v = c->rates->value[rate];

    if (!isnan(v))
        return v;
    c->unknown |= UINT32_C(1) << rate;
    return free;
}

static struct topo_place place_of(const struct topo_group *g, uint32_t rank)
{
    return topo_world_place(&g->world, g->rank[rank]);
}

/* Of a rank of a node, by its place there. */
static unsigned die_of(const struct costs *c, uint32_t y)
{
    return c->g->layout.core[y] * c->rates->dies / topo_world_chip_cores(&c->g->world);
}

/* Ranks of a chip that a hop of the cycle goes on by; 0: there is no cycle in a node. */
static unsigned cycle_stride(const struct costs *c)
{
    const struct sched_request *req = sched_request_of(c->s);

    switch (req->alg == SCHED_HIER ? req->intra : req->alg) {
    case SCHED_RING:
    case SCHED_FLAT_RING:
    case SCHED_PAIRS:
        return 1;
    case SCHED_KANGARING:
        return c->g->layout.members;
    default:
        return 0;
    }
}

/* One rank is walked for all that do the same, but of the hops of a cycle some stay on a die, some
 * go to the other and some to the next chip: the part of a chip's that go to the other. */
static double crossing_hops(const struct costs *c, uint32_t chip, unsigned stride)
{
    const struct topo_layout *l = &c->g->layout;
    const uint32_t *at = &l->at[(size_t)chip * l->chip_ranks];
    unsigned hops = 0, crossing = 0;

    for (uint32_t i = 0; i < l->chip_ranks; i += stride, hops++)
        if (i + stride < l->chip_ranks || l->chips == 1)
            crossing += die_of(c, at[i]) != die_of(c, at[(i + stride) % l->chip_ranks]);
    return (double)crossing / hops;
}

/* How much of the way to the other die a signal between two ranks of a chip has. */
static double die_way(const struct costs *c, uint32_t from, uint32_t to)
{
    const struct topo_layout *l = &c->g->layout;
    uint32_t a = c->g->index[from], b = c->g->index[to];
    unsigned stride = cycle_stride(c), apart;

    if (c->rates->dies < 2)
        return 0;
    apart = l->local[a] > l->local[b] ? l->local[a] - l->local[b] : l->local[b] - l->local[a];
    if (stride && apart == stride)
        return crossing_hops(c, l->chip[a], stride);
    return die_of(c, a) != die_of(c, b);
}

double cost_way(struct costs *c, uint32_t from, uint32_t to)
{
    struct topo_place a = place_of(c->g, from), b = place_of(c->g, to);

    if (a.node != b.node)
        return 0;
    if (a.chip == b.chip) {
        double part = die_way(c, from, to);

        return part > 0 ? part * cost_rate(c, TIME_RATE_DIE, 0) : 0;
    }
    return topo_distance(&c->g->world.fabric, a.chip, b.chip) * cost_rate(c, TIME_RATE_HOP, 0);
}

static void worse(double *ns, enum time_part *part, double other, enum time_part blame)
{
    if (other > *ns) {
        *ns = other;
        *part = blame;
    }
}

/* The part of a rank's engines that one channel uses: in an exchange one part for every axis, at
 * most all, shared by the channels. */
static double engines_part(struct costs *c, uint32_t rank, const struct sched_step *step)
{
    double part = cost_rate(c, TIME_RATE_CYCLE, 1);
    unsigned axes = 1;

    switch (sched_phase_traffic(c->s, step->phase)) {
    case SCHED_TRAFFIC_CYCLE:
        return part;
    case SCHED_TRAFFIC_MESH:
        part = cost_rate(c, TIME_RATE_MESH, 1);
        break;
    case SCHED_TRAFFIC_AXES:
        while (2u << axes <= c->g->layout.chips)
            axes++;
        part *= axes;
        break;
    }
    return (part < 1 ? part : 1) / load_channels(c->load, rank);
}

/* Bytes per ns of all engines of a rank. */
static double engines_rate(struct costs *c)
{
    return cost_rate(c, TIME_RATE_ENGINE_GBPS, INFINITY) * cost_rate(c, TIME_RATE_ENGINES, 1) *
           c->g->world.lnc;
}

static double bytes_of(const struct costs *c, const struct sched_step *step)
{
    return (double)step->count * step->repeat * sched_request_of(c->s)->elem_size;
}

static unsigned reads_of(const struct sched_step *step)
{
    return step->kind == SCHED_REDUCE ? step->nsrc : (step->ndst + 1) / 2;
}

double cost_engines(struct costs *c, const struct sched_step *step)
{
    double ns = bytes_of(c, step) * reads_of(step) / engines_rate(c);

    return step->kind == SCHED_REDUCE ? ns / cost_rate(c, TIME_RATE_REDUCE, 1) : ns;
}

/* Bytes per ns of one HBM for one channel of one rank. */
static double hbm_rate(struct costs *c, uint32_t rank)
{
    const struct topo_instance *t = c->g->world.fabric.type;
    unsigned cores = t->cores_per_device / t->hbms_per_device / c->g->world.lnc; /* ranks on it */
    unsigned ranks = cores ? cores : 1;

    if (c->g->dims.chip_ranks && c->g->dims.chip_ranks < ranks)
        ranks = c->g->dims.chip_ranks;
    return cost_rate(c, TIME_RATE_HBM_GBPS, INFINITY) * cost_rate(c, TIME_RATE_HBM, 1) / ranks /
           load_channels(c->load, rank);
}

static double links_ns(struct costs *c, uint32_t rank, uint32_t channel, struct load_place *place,
                       const struct sched_step *step, double bytes)
{
    const struct topo_fabric *f = &c->g->world.fabric;
    unsigned own = place_of(c->g, rank).chip;

    for (unsigned i = 0; i < step->ndst; i++) {
        unsigned chip = place_of(c->g, step->dst[i].rank).chip;
        bool servers = chip / f->type->device_count != own / f->type->device_count;
        struct topo_route route;
        uint32_t share;
        double rate;

        if (chip == own)
            continue;
        topo_route(f, own, chip, &route);
        share = load_links(c->load, rank, channel, step->phase, load_run(place, step->phase, chip),
                           &route);
        rate = cost_rate(c, servers ? TIME_RATE_SERVER_LINK_GBPS : TIME_RATE_LINK_GBPS, INFINITY) *
               cost_rate(c, TIME_RATE_LINK, 1);
        return bytes / rate * share;
    }
    return 0;
}

double cost_transfer(struct costs *c, uint32_t rank, uint32_t channel, struct load_place *place,
                     const struct sched_step *step, enum time_part *ret_part)
{
    double bytes = bytes_of(c, step), ns;

    *ret_part = TIME_PART_DMA;
    if (bytes <= 0)
        return 0;
    ns = cost_engines(c, step) / engines_part(c, rank, step);
    worse(&ns, ret_part, bytes * (reads_of(step) + step->ndst) / hbm_rate(c, rank), TIME_PART_HBM);
    worse(&ns, ret_part, links_ns(c, rank, channel, place, step, bytes), TIME_PART_LINK);
    return ns;
}

double cost_signal(struct costs *c, const struct sched_step *step)
{
    double ns = cost_rate(c, TIME_RATE_SIGNAL, 0);

    if (sched_phase_traffic(c->s, step->phase) == SCHED_TRAFFIC_CYCLE)
        ns += cost_rate(c, TIME_RATE_CYCLE_HOP, 0);
    return ns;
}

double cost_send(struct costs *c, const struct sched_step *step)
{
    const struct topo_instance *t = c->g->world.fabric.type;
    double bytes = (double)step->count * sched_request_of(c->s)->elem_size;
    unsigned nics = t->nic_count ? t->nic_count : 1;
    unsigned servers = c->g->world.fabric.servers;
    double chip = t->nic_count > t->device_count ? (double)t->nic_count / t->device_count : 1;
    double part = (double)nics * servers / load_senders(c->load, step->phase);

    chip /= load_chip_senders(c->load, step->phase);
    part = part < chip ? part : chip;
    return bytes / (cost_rate(c, TIME_RATE_NIC_GBPS, INFINITY) * cost_rate(c, TIME_RATE_NIC, 1) *
                    (part < 1 ? part : 1));
}
