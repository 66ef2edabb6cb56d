/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of what a program asks for: replica groups and the pairs of a permute. */
#include "topo/group.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define NONE UINT32_MAX

NRT_STATUS topo_replicas_check(const uint32_t *ranks, const uint32_t *sizes, uint32_t lists,
                               uint32_t world_ranks, struct err *err)
{
    /* list_of[rank] - 1; 0: in none */
    uint32_t *list_of = mem_calloc(world_ranks ? world_ranks : 1, sizeof(*list_of));
    NRT_STATUS st = NRT_SUCCESS;

    if (!list_of)
        return err_set(err, NRT_RESOURCE, "no memory to check %" PRIu32 " replica groups", lists);
    if (!lists)
        st = err_set(err, NRT_INVALID, "no replica groups");
    for (uint32_t i = 0; i < lists && st == NRT_SUCCESS; i++) {
        if (!sizes[i])
            st = err_set(err, NRT_INVALID, "replica group %" PRIu32 " is empty", i);
        for (uint32_t k = 0; k < sizes[i] && st == NRT_SUCCESS; k++) {
            uint32_t rank = *ranks++;

            if (rank >= world_ranks)
                st = err_set(err, NRT_INVALID,
                             "replica group %" PRIu32 ": rank %" PRIu32
                             " outside the world of %" PRIu32,
                             i, rank, world_ranks);
            else if (list_of[rank])
                st = err_set(err, NRT_INVALID,
                             "rank %" PRIu32 " in replica groups %" PRIu32 " and %" PRIu32, rank,
                             list_of[rank] - 1, i);
            else
                list_of[rank] = i + 1;
        }
    }
    mem_free(list_of);
    return st;
}

/* ---- pairs ---- */

static bool ranks_adjacent(const struct topo_group *g, uint32_t a, uint32_t b)
{
    struct topo_place p = topo_world_place(&g->world, g->rank[a]);
    struct topo_place q = topo_world_place(&g->world, g->rank[b]);

    if (p.node != q.node)
        return p.chip == q.chip && p.core == q.core;
    return p.chip == q.chip || topo_linked(&g->world.fabric, p.chip, q.chip);
}

/* Enter one pair into the map of targets. */
static NRT_STATUS pair_enter(const struct topo_group *g, const struct topo_pair *p,
                             uint32_t *target_of, uint32_t *source_of, struct err *err)
{
    if (p->source >= g->n || p->target >= g->n)
        return err_set(err, NRT_INVALID,
                       "pair [%" PRIu32 ",%" PRIu32 "] outside a group of %" PRIu32 " ranks",
                       p->source, p->target, g->n);
    if (target_of[p->source] != NONE)
        return err_set(err, NRT_INVALID,
                       "pair [%" PRIu32 ",%" PRIu32 "]: %" PRIu32 " already sends to %" PRIu32,
                       p->source, p->target, p->source, target_of[p->source]);
    if (source_of[p->target] != NONE)
        return err_set(err, NRT_INVALID,
                       "pair [%" PRIu32 ",%" PRIu32 "]: %" PRIu32 " already receives from %" PRIu32,
                       p->source, p->target, p->target, source_of[p->target]);
    target_of[p->source] = p->target;
    source_of[p->target] = p->source;
    return NRT_SUCCESS;
}

static NRT_STATUS pair_check(const struct topo_group *g, const struct topo_pair *p,
                             const uint32_t *target_of, struct err *err)
{
    if (target_of[p->target] == NONE)
        return err_set(err, NRT_INVALID,
                       "pair [%" PRIu32 ",%" PRIu32 "]: %" PRIu32
                       " sends to nobody, so no ring closes",
                       p->source, p->target, p->target);
    /* A self pair and a cycle of two may be anywhere. */
    if (p->source == p->target || target_of[p->target] == p->source)
        return NRT_SUCCESS;
    if (!ranks_adjacent(g, p->source, p->target))
        return err_set(err, NRT_INVALID,
                       "pair [%" PRIu32 ",%" PRIu32 "]: ranks %" PRIu32 " and %" PRIu32
                       " are not adjacent",
                       p->source, p->target, g->rank[p->source], g->rank[p->target]);
    return NRT_SUCCESS;
}

NRT_STATUS topo_pairs_check(const struct topo_group *g, const struct topo_pair *pairs,
                            uint32_t count, struct err *err)
{
    uint32_t *map = mem_calloc(g->n, 2 * sizeof(*map));
    NRT_STATUS st = NRT_SUCCESS;

    if (!map)
        return err_set(err, NRT_RESOURCE, "no memory to check %" PRIu32 " pairs", count);
    memset(map, 0xff, 2 * sizeof(*map) * g->n);
    for (uint32_t i = 0; i < count && st == NRT_SUCCESS; i++)
        st = pair_enter(g, &pairs[i], map, map + g->n, err);
    for (uint32_t i = 0; i < count && st == NRT_SUCCESS; i++)
        st = pair_check(g, &pairs[i], map, err);
    mem_free(map);
    return st;
}
