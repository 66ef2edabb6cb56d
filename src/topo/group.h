/* SPDX-License-Identifier: Apache-2.0 */
/* Worlds and groups: where the ranks of a job sit, and what a list of them looks like to the
 * algorithms. docs/spec/collectives.md sections 1 to 4, 6, 9.
 *
 * Four kinds of numbers, each with one meaning:
 *   world rank   a process's (or thread's) logical NeuronCore in the job
 *   r            position in the group's list, 0 .. n-1: what schedules call a rank
 *   (x, y)       node of the group and index within the node; r = at[x * per_node + y]
 *   chip, core   chip of the node's fabric (fabric.h), logical core on that chip
 * y means the same (chip, core) on every node: groups are symmetric.
 *
 * Memory grows with n, never with its square. Pure; a group is read only once made, and may be
 * shared by threads. */
#ifndef TOPO_GROUP_H
#define TOPO_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "topo/fabric.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TOPO_MAX_RANKS       (1u << 20) /* of a world (ours) */
#define TOPO_MAX_STREAMS     4          /* NEC_MAX_STREAM_N */
#define TOPO_KANGARING_RANKS 256        /* NEC_KANGARING_MAX_NUM_RANKS */

/* ---- worlds ---- */

struct topo_place {
    uint32_t node;
    uint16_t chip; /* of the node's fabric */
    uint16_t core; /* logical, on that chip */
};

/* The ranks of a job. Rank r sits on server r / server_ranks (servers are numbered through the
 * nodes), on its logical core r % server_ranks; unless places says otherwise. */
struct topo_world {
    struct topo_fabric fabric; /* of every node */
    uint8_t lnc;
    uint32_t nodes;
    uint32_t server_ranks;
    uint32_t ranks;
    const struct topo_place *places; /* borrowed; [ranks], or NULL */
};

/* A world of `nodes` nodes with `server_ranks` ranks on each server (0: one on every logical core).
 * NRT_INVALID (the text names the value): LNC not of this type, no node, more ranks than logical
 * cores, more than TOPO_MAX_RANKS; more than one node of inf2, which has no network (section 10).
 */
NRT_STATUS topo_world_init(struct topo_world *ret, const struct topo_fabric *fabric, unsigned lnc,
                           uint32_t nodes, uint32_t server_ranks, struct err *err);

/* Put the ranks on given places instead (NEURON_RT_VISIBLE_CORES). places is borrowed for the
 * world's life and that of its groups. NRT_INVALID: a place outside the world (the text names the
 * rank). Two ranks on one core are found when a group holds both. */
NRT_STATUS topo_world_set_places(struct topo_world *w, const struct topo_place *places,
                                 uint32_t ranks, struct err *err);

/* Logical cores of one chip. */
static inline unsigned topo_world_chip_cores(const struct topo_world *w)
{
    return w->fabric.type->cores_per_device / w->lnc;
}

/* Where a rank sits; world_rank < w->ranks. */
struct topo_place topo_world_place(const struct topo_world *w, uint32_t world_rank);

/* ---- what selection needs (sched/select.h): the shape of a group in a few numbers ---- */

struct topo_dims {
    uint32_t ranks;        /* N = nodes * per_node */
    uint32_t nodes;        /* X */
    uint32_t per_node;     /* Y */
    uint32_t chips;        /* D, in a node */
    uint32_t chip_ranks;   /* L; 0 when chips differ */
    bool uniform;          /* the same L on every chip */
    bool whole_chips;      /* all logical cores of each of its chips */
    bool whole_nodes;      /* all logical cores of its nodes */
    uint8_t members;       /* m of KangaRing: 2, or 4 at LNC 1 on chips of eight cores */
    bool flat;             /* the Flat Ring is possible: see topo_group.flat_channels */
    uint32_t net_bytes_us; /* w: one rank's share of the network, bytes per microsecond */
};

/* The sub-groups of a hierarchical operation: the ranks of one node; those with one y. */
struct topo_dims topo_dims_intra(struct topo_dims d);
struct topo_dims topo_dims_inter(struct topo_dims d);

/* Section 6.2: every chip whole, m divides L, at least two positions, at most 256 ranks, one node.
 */
bool topo_dims_kangaring(const struct topo_dims *d);

/* ---- groups ---- */

/* The ranks of one node, numbered y = 0 .. n-1. All arrays belong to the group. */
struct topo_layout {
    uint32_t n; /* Y */
    /* Mesh and RDH numbering (6.3): chip d = 0 .. chips-1 and its ranks l = 0 .. chip_ranks-1, in
     * list order; at[d * chip_ranks + l] = y. Where chips differ in size each rank counts as a
     * chip: chips = n, chip_ranks = 1. */
    uint32_t chips, chip_ranks;
    const uint32_t *chip, *local; /* [n]: d and l of y */
    const uint32_t *at;           /* [chips * chip_ranks] */
    const uint16_t *chip_id;      /* [chips]: chip of the fabric */
    const uint16_t *core;         /* [n]: logical core on its chip */
    /* RDH (6.5): label of chip d, and the reverse; NULL unless chips is a power of two and the
     * chips are equal. label_linked: every flip of one bit is one link. */
    const uint16_t *label;    /* [chips] */
    const uint16_t *labelled; /* [chips]: chip with that label */
    bool label_linked;
    /* Rings (6.1): order[c * n + i] = y at place i of the cycle of channel c, place[c * n + y] = i.
     * The ranks of a chip follow each other by ascending core; a reversed channel reverses all. */
    unsigned channels; /* 1, 2 or 4 */
    bool linked;       /* every step between chips of the cycle is one link */
    const uint32_t *order, *place;
    /* KangaRing (6.2): kanga[c * n + q * members + i] = y of member i of position q, q < positions,
     * on channel c, whose primary is member c % members. members = 0 and NULL: not eligible. */
    unsigned members;
    uint32_t positions;
    const uint32_t *kanga;
};

struct topo_group {
    struct topo_world world;
    struct topo_dims dims;
    uint32_t n, nodes, per_node;  /* N, X, Y */
    const uint32_t *rank;         /* [n]: world rank of r */
    const uint32_t *node, *index; /* [n]: x and y of r */
    const uint32_t *at;           /* [nodes * per_node]: r of (x, y) */
    const uint32_t *node_id;      /* [nodes]: node of the world; x numbers them by first place */
    struct topo_layout layout;    /* of every node */
    /* Flat Ring (9): channels, one per network interface of a node; 0 unless type, whole nodes,
     * and more than one of them allow it. */
    unsigned flat_channels;
    uint16_t flat_cycle[TOPO_MAX_DEVICES]; /* h: chips of the fabric */
    uint8_t flat_start[TOPO_MAX_DEVICES];  /* [flat_channels]: i_c, place in h of channel c */
    struct arena mem;
};

/* Describe a list of world ranks (copied; NULL: the whole world in order, n ignored). y follows the
 * list on the first node; on the others it follows that node's (chip, core). NRT_INVALID, with a
 * text that names the positions: an empty list, "outside the world", "twice", two ranks "on one
 * core", nodes with different numbers of ranks, or with other local cores ("not symmetric").
 * NRT_RESOURCE: memory. On failure *ret is zero and needs no fini. */
NRT_STATUS topo_group_init(struct topo_group *ret, const struct topo_world *w,
                           const uint32_t *world_ranks, uint32_t n, struct err *err);
void topo_group_fini(struct topo_group *g); /* zeroed is fine */

/* Section 9: r at position q of channel c of the Flat Ring, and the reverse. c < flat_channels. */
uint32_t topo_group_flat_at(const struct topo_group *g, unsigned c, uint32_t q);
uint32_t topo_group_flat_place(const struct topo_group *g, unsigned c, uint32_t r);

/* Replica groups of one operation: lists one after another in ranks, sizes[i] long each. Every list
 * must be non-empty, every rank below world_ranks and in one list only. NRT_INVALID (the text names
 * list and rank), NRT_RESOURCE. */
NRT_STATUS topo_replicas_check(const uint32_t *ranks, const uint32_t *sizes, uint32_t lists,
                               uint32_t world_ranks, struct err *err);

struct topo_pair { /* positions r in the group */
    uint32_t source, target;
};

/* Section 2.2: no rank twice source or twice target, sources are the targets, and in cycles of
 * three and more neighbours sit on one chip, on linked chips, or on different nodes with one y. A
 * self pair and a cycle of two are accepted. NRT_INVALID (the text names the pair), NRT_RESOURCE.
 */
NRT_STATUS topo_pairs_check(const struct topo_group *g, const struct topo_pair *pairs,
                            uint32_t count, struct err *err);

/* ---- CC-cores (section 3) ---- */

/* The sequencers of collectives that a stream of one rank uses: ids first .. first + count - 1 of
 * its chip. */
struct topo_cc {
    uint16_t first, count;
};

/* Of the rank on logical core `core` of its chip, when it has `streams` streams: each gets one, the
 * surplus goes to stream 0. NRT_INVALID: more streams than CC-cores or than TOPO_MAX_STREAMS, none,
 * or no such stream. */
NRT_STATUS topo_cc_cores(const struct topo_instance *type, unsigned lnc, unsigned core,
                         unsigned streams, unsigned stream, struct topo_cc *ret, struct err *err);

/* The one that runs a channel. */
static inline unsigned topo_cc_of_channel(struct topo_cc cc, unsigned channel)
{
    return cc.first + channel % cc.count;
}

#ifdef __cplusplus
}
#endif
#endif
