/* SPDX-License-Identifier: Apache-2.0 */
/* The NeuronLink fabric of one node: chips, links, routes and cycles. docs/spec/collectives.md
 * sections 4 and 6.3.
 *
 * A node is what NeuronLink holds together: one server, or the servers of an UltraServer that run
 * as one. Its chips are numbered server * devices per server + device. A directed link has an id,
 * so that whoever counts traffic keeps one array of topo_fabric_links() entries. A switch has no
 * links between devices; there the link from a chip up to the switch and the one down to it count.
 *
 * Pure: constant tables and arithmetic. Chip numbers passed in must be below topo_fabric_chips();
 * that is checked where a function can report errors, and asserted in the others. */
#ifndef TOPO_FABRIC_H
#define TOPO_FABRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "topo/topo.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TOPO_MAX_CHIPS    144 /* of one fabric: trn3-gen2-ultraserver */
#define TOPO_MAX_PORTS    6   /* links of one chip */
#define TOPO_MAX_HOPS     6   /* of a route: 2 + 2 + 2 in an UltraServer, 6 in the ring of 12 */
#define TOPO_MAX_CHANNELS 4   /* directed cycles */

struct topo_fabric {
    const struct topo_instance *type;
    uint16_t servers; /* joined by NeuronLink */
};

/* The fabric of `servers` servers of a type: 1; 2 or 4 of trn2-ultraserver; up to all of a switched
 * UltraServer. NRT_INVALID: no type, or not that many (the text names both). */
NRT_STATUS topo_fabric_init(struct topo_fabric *ret, const struct topo_instance *type,
                            unsigned servers, struct err *err);

static inline unsigned topo_fabric_chips(const struct topo_fabric *f)
{
    return (unsigned)f->servers * f->type->device_count;
}

/* Ids of directed links are below this; not every id below it is a link. */
static inline unsigned topo_fabric_links(const struct topo_fabric *f)
{
    return topo_fabric_chips(f) * TOPO_MAX_PORTS;
}

/* Links that a message passes at least; 0 for a chip and itself, 1 for any two chips of a switch.
 */
unsigned topo_distance(const struct topo_fabric *f, unsigned from, unsigned to);

/* One link apart. */
static inline bool topo_linked(const struct topo_fabric *f, unsigned a, unsigned b)
{
    return topo_distance(f, a, b) == 1;
}

/* The chips one link away, in published order, then those of the previous and the next server (once
 * if they are one); on a switch all others in ascending order. Returns how many. */
unsigned topo_neighbours(const struct topo_fabric *f, unsigned chip,
                         uint16_t ret_chips[TOPO_MAX_CHIPS]);

/* The way of a message: chips[0] is the source, chips[hops] the target; links[] are the directed
 * links it uses in order: one a hop, except on a switch: up, then down. */
struct topo_route {
    uint8_t hops, link_count;
    uint16_t chips[TOPO_MAX_HOPS + 1];
    uint16_t links[TOPO_MAX_HOPS];
};

/* Along the row to the target's column, along the column, then from server to server; each the
 * shorter way round, and halfway round in +1 direction when row + column of the source device (its
 * index, on a ring) is even, else in -1 direction. Nothing for a chip and itself. */
void topo_route(const struct topo_fabric *f, unsigned from, unsigned to, struct topo_route *ret);

/* One message from one chip to another. */
struct topo_flow {
    uint16_t from, to;
};

/* Routes of the flows over each directed link: load[topo_fabric_links(f)] is overwritten. Returns
 * the largest. */
uint32_t topo_load(const struct topo_fabric *f, const struct topo_flow *flows, size_t count,
                   uint32_t *load);

/* The directed cycles on which rings run: order[c] visits each chip of a set once, and its last
 * chip hands to its first. Channel 1 is channel 0 reversed, 3 is 2 reversed. `linked`: each of
 * these steps is one link, and then no two channels share a directed link. */
struct topo_cycles {
    uint16_t chips;   /* in each order */
    uint8_t channels; /* 1, 2 or 4 */
    bool linked;
    uint16_t order[TOPO_MAX_CHANNELS][TOPO_MAX_CHIPS];
};

/* The cycles for a set of chips given in list order, no chip twice (section 4):
 * - one server of a torus, two neighbouring ones of an UltraServer, or all four: the two cycles
 *   without a common link, 4 channels;
 * - a switch: the list order (1 channel for one or two chips, else 2);
 * - up to 16 others: the visiting order with least sum of distances, then least longest hop, then
 *   lexicographically first, from the lowest chip on. Where a Hamiltonian cycle of links exists
 *   this is the first one: 2 channels. Otherwise, and for one or two chips: 1 channel.
 * - more than 16, in part of an UltraServer: server by server, every second one backwards; 2
 *   channels if all steps are links, else 1 (ours).
 * NRT_INVALID: no chips, one outside the fabric, one twice. NRT_RESOURCE: memory (1 MiB at most,
 * for the search). *ret is written on success only. */
NRT_STATUS topo_cycles_find(const struct topo_fabric *f, const uint16_t *chips, unsigned count,
                            struct topo_cycles *ret, struct err *err);

/* Labels for recursive doubling (section 6.5): label[i] of chips[i], a permutation of 0 ..
 * count - 1, count a power of two. In a torus the routing id, with gray(server) above it, when the
 * bits of the set's ids that vary are log2 count (packed from low to high): then every flip of one
 * bit is one link, and true is returned. Else the place in the list and false. */
bool topo_labels(const struct topo_fabric *f, const uint16_t *chips, unsigned count,
                 uint16_t *ret_label);

#ifdef __cplusplus
}
#endif
#endif
