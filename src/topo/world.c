/* SPDX-License-Identifier: Apache-2.0 */
/* Where the ranks of a job sit, and the CC-cores that work for them. */
#include "topo/group.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

NRT_STATUS topo_world_init(struct topo_world *ret, const struct topo_fabric *fabric, unsigned lnc,
                           uint32_t nodes, uint32_t server_ranks, struct err *err)
{
    const struct topo_instance *t = fabric->type;

    if (!topo_lnc_ok(t, lnc))
        return err_set(err, NRT_INVALID, "LNC %u: %s has LNC 1 to %u", lnc, t->name, t->lnc_max);
    if (!nodes || (nodes > 1 && BROKEN(INTER)))
        return err_set(err, NRT_INVALID, "a world of no nodes");
    if (nodes > 1 && strcmp(t->family, "Inf2") == 0)
        return err_set(err, NRT_INVALID, "%" PRIu32 " nodes: collectives on %s stay in one node",
                       nodes, t->name);
    if (server_ranks > topo_vnc_count(t, lnc))
        return err_set(err, NRT_INVALID,
                       "%" PRIu32 " ranks on a server: %s has %u logical cores at LNC %u",
                       server_ranks, t->name, topo_vnc_count(t, lnc), lnc);
    if (!server_ranks)
        server_ranks = topo_vnc_count(t, lnc);
    if (nodes > TOPO_MAX_RANKS / (server_ranks * fabric->servers))
        return err_set(err, NRT_INVALID,
                       "%" PRIu32 " nodes of %" PRIu32 " ranks: a world has at most %u ranks",
                       nodes, server_ranks * fabric->servers, TOPO_MAX_RANKS);
    *ret = (struct topo_world){.fabric = *fabric,
                               .lnc = (uint8_t)lnc,
                               .nodes = nodes,
                               .server_ranks = server_ranks,
                               .ranks = nodes * fabric->servers * server_ranks};
    return NRT_SUCCESS;
}

NRT_STATUS topo_world_set_places(struct topo_world *w, const struct topo_place *places,
                                 uint32_t ranks, struct err *err)
{
    unsigned chips = topo_fabric_chips(&w->fabric), cores = topo_world_chip_cores(w);

    if (!ranks || ranks > TOPO_MAX_RANKS)
        return err_set(err, NRT_INVALID, "a world of %" PRIu32 " ranks: 1 to %u are possible",
                       ranks, TOPO_MAX_RANKS);
    for (uint32_t r = 0; r < ranks; r++) {
        const struct topo_place *p = &places[r];

        if (p->node >= w->nodes || p->chip >= chips || p->core >= cores)
            return err_set(err, NRT_INVALID,
                           "rank %" PRIu32 " on node %" PRIu32
                           ", chip %u, core %u: there are %" PRIu32
                           " nodes of %u chips of %u cores",
                           r, p->node, p->chip, p->core, w->nodes, chips, cores);
    }
    w->places = places;
    w->ranks = ranks;
    return NRT_SUCCESS;
}

struct topo_place topo_world_place(const struct topo_world *w, uint32_t world_rank)
{
    assert(world_rank < w->ranks);
    if (w->places)
        return w->places[world_rank];

    uint32_t server = world_rank / w->server_ranks, core = world_rank % w->server_ranks;
    unsigned cores = topo_world_chip_cores(w), servers = w->fabric.servers;

    return (struct topo_place){
        .node = server / servers,
        .chip = (uint16_t)(server % servers * w->fabric.type->device_count + core / cores),
        .core = (uint16_t)(core % cores)};
}

NRT_STATUS topo_cc_cores(const struct topo_instance *type, unsigned lnc, unsigned core,
                         unsigned streams, unsigned stream, struct topo_cc *ret, struct err *err)
{
    unsigned count = type->cc_cores * lnc,
             most = count < TOPO_MAX_STREAMS ? count : TOPO_MAX_STREAMS;
    unsigned shared = count - streams + 1; /* cores of stream 0: its own and the surplus */

    if (!topo_lnc_ok(type, lnc) || core >= type->cores_per_device / lnc)
        return err_set(err, NRT_INVALID, "core %u at LNC %u: %s has no such logical core", core,
                       lnc, type->name);
    if (!streams || streams > most || BROKEN(OVL))
        return err_set(err, NRT_INVALID,
                       "%u streams: a rank of %s has %u CC-cores at LNC %u and at most %u streams",
                       streams, type->name, count, lnc, most);
    if (stream >= streams)
        return err_set(err, NRT_INVALID, "stream %u of %u", stream, streams);
    *ret = stream == 0 ? (struct topo_cc){(uint16_t)(core * count), (uint16_t)shared}
                       : (struct topo_cc){(uint16_t)(core * count + shared + stream - 1), 1};
    return NRT_SUCCESS;
}
