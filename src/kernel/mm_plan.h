/* SPDX-License-Identifier: Apache-2.0 */
/* In which order the matmuls of one op are computed. They arrive in program order; the plan sorts
 * them so that what several need is packed once:
 *
 *     set    records that may be computed in any order, but for those into the same place
 *     team   groups of a set that read the same moving tiles: these are packed once for all
 *     group  records that accumulate into the same place, in program order
 *
 * Sets follow each other, and so do the teams of a set, the groups of a team and the items of a
 * group. A stationary tile of a set that several of its records use is packed once. */
#ifndef KERNEL_MM_PLAN_H
#define KERNEL_MM_PLAN_H

#include "kernel/kernel_int.h"
#include "kernel/mm.h"

#define MM_RECORDS MM_SEGS /* records of one op at most: a pass may sum all of them */
/* Bytes of a set's packed stationary tiles: no fewer than one tile has (256 rows of 128 cells). */
#define MM_STATIONARY ((size_t)4 << 20)

struct mm_item {
    const struct k_rec *rec;
    uint32_t panels; /* where the stationary tile lies among the packed ones, in cells */
    bool packs;      /* the first one of the set to use it */
};

struct mm_group {
    uint16_t first, count; /* items */
};

struct mm_team {
    uint16_t first, count; /* groups */
};

struct mm_set {
    uint16_t first, count; /* teams */
    uint16_t item, items;  /* of all its groups */
};

struct mm_plan {
    struct mm_item *item;
    struct mm_group *group;
    struct mm_team *team;
    struct mm_set *set;
    uint32_t items, groups, teams, sets;
};

/* Rows of k, and of the cells that they make. */
static inline uint32_t mm_rows(const struct k_rec *rec)
{
    return rec->t[1].nparts * (rec->perf_mode == 1 ? 2u : 1u);
}

uint32_t mm_depth(const struct k_rec *rec);

/* The plan for the chain that starts at rec (at most MM_RECORDS, linked by next, all with a
 * microkernel), made in the arena; NULL: out of memory. Records with register offsets are alone in
 * their op. */
const struct mm_plan *mm_plan_make(const struct k_rec *rec, struct arena *arena);

#endif
