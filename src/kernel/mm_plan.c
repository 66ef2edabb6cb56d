/* SPDX-License-Identifier: Apache-2.0 */
/* The order of the matmuls of one op: mm_plan.h. Pure: records in, plan out. */
#include "kernel/mm_plan.h"

#include <string.h>

/* A set that is being collected, records in program order. */
struct draft {
    const struct k_rec *rec[MM_RECORDS];
    uint32_t panels[MM_RECORDS];
    bool packs[MM_RECORDS];
    uint16_t group[MM_RECORDS]; /* of a record */
    uint16_t first[MM_RECORDS]; /* record of a group */
    uint32_t count, groups, cells;
};

uint32_t mm_depth(const struct k_rec *rec)
{
    uint32_t k = mm_rows(rec);

    return rec->mm->pairs ? (k + 1) / 2 : k;
}

static uint32_t cells_of(const struct k_rec *rec)
{
    return mm_depth(rec) * rec->t[0].nparts;
}

/* The same elements: tiles of adjacent ones are told by place, type and count. */
static bool same(const struct k_tile *a, const struct k_tile *b)
{
    return a->row == b->row && a->dtype == b->dtype && a->n == b->n && a->nparts == b->nparts;
}

static bool apart(const struct k_tile *a, const struct k_tile *b)
{
    return a->mem != b->mem || a->part >= b->part + b->nparts || b->part >= a->part + a->nparts ||
           (int64_t)a->offset + a->hi <= (int64_t)b->offset + b->lo ||
           (int64_t)b->offset + b->hi <= (int64_t)a->offset + a->lo;
}

/* Records whose places are known and simple enough to be compared. */
static bool plain(const struct k_rec *rec)
{
    return !rec->dynamic && rec->perf_mode == 0 && rec->t[0].contig && rec->t[1].contig &&
           rec->t[2].contig && rec->t[1].mem != rec->t[0].mem && rec->t[2].mem != rec->t[0].mem;
}

/* The group of the draft that rec continues, or a new one; false: rec has to wait for the draft. */
static bool find_group(const struct draft *d, const struct k_rec *rec, uint16_t *ret)
{
    for (uint32_t g = 0; g < d->groups; g++) {
        const struct k_rec *of = d->rec[d->first[g]];

        if (same(&of->t[0], &rec->t[0])) {
            *ret = (uint16_t)g;
            return rec->acc;
        }
        if (!apart(&of->t[0], &rec->t[0]))
            return false;
    }
    *ret = (uint16_t)d->groups;
    return true;
}

static void find_panels(struct draft *d, const struct k_rec *rec)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (same(&d->rec[i]->t[1], &rec->t[1])) {
            d->panels[d->count] = d->panels[i];
            return;
        }
    d->panels[d->count] = d->cells;
    d->packs[d->count] = true;
    d->cells += cells_of(rec);
}

static bool draft_add(struct draft *d, const struct k_rec *rec)
{
    uint16_t group = 0;

    if (d->count > 0 &&
        (!plain(d->rec[0]) || !plain(rec) || rec->mm != d->rec[0]->mm ||
         !find_group(d, rec, &group) || d->cells + cells_of(rec) > MM_STATIONARY / sizeof(float)))
        return false;
    d->packs[d->count] = false;
    find_panels(d, rec);
    if (group == d->groups)
        d->first[d->groups++] = (uint16_t)d->count;
    d->group[d->count] = group;
    d->rec[d->count++] = rec;
    return true;
}

static void put_group(struct mm_plan *p, const struct draft *d, uint32_t group)
{
    struct mm_group *g = &p->group[p->groups++];

    g->first = (uint16_t)p->items;
    for (uint32_t i = d->first[group]; i < d->count; i++)
        if (d->group[i] == group)
            p->item[p->items++] = (struct mm_item){d->rec[i], d->panels[i], d->packs[i]};
    g->count = (uint16_t)(p->items - g->first);
}

/* Whether the group of the draft reads what the placed group reads, into cells of the same type. */
static bool same_moving(const struct mm_plan *p, const struct mm_group *g, const struct draft *d,
                        uint32_t group)
{
    uint32_t n = 0;

    if (p->item[g->first].rec->t[0].dtype != d->rec[d->first[group]]->t[0].dtype)
        return false;
    for (uint32_t i = d->first[group]; i < d->count; i++) {
        if (d->group[i] != group)
            continue;
        if (n == g->count || !same(&p->item[g->first + n].rec->t[2], &d->rec[i]->t[2]))
            return false;
        n++;
    }
    return n == g->count;
}

static void draft_put(struct mm_plan *p, const struct draft *d)
{
    bool done[MM_RECORDS] = {false};
    struct mm_set *set = &p->set[p->sets++];

    set->first = (uint16_t)p->teams;
    set->item = (uint16_t)p->items;
    for (uint32_t g = 0; g < d->groups; g++) {
        struct mm_team *team = &p->team[p->teams];
        const struct mm_group *lead = &p->group[p->groups];

        if (done[g])
            continue;
        team->first = (uint16_t)p->groups;
        put_group(p, d, g);
        for (uint32_t h = g + 1; h < d->groups; h++)
            if (!done[h] && same_moving(p, lead, d, h)) {
                done[h] = true;
                put_group(p, d, h);
            }
        team->count = (uint16_t)(p->groups - team->first);
        p->teams++;
    }
    set->count = (uint16_t)(p->teams - set->first);
    set->items = (uint16_t)(p->items - set->item);
}

/* A plan of the size that it needs. */
static const struct mm_plan *keep(const struct mm_plan *p, struct arena *arena)
{
    size_t items = p->items * sizeof(p->item[0]), groups = p->groups * sizeof(p->group[0]);
    size_t teams = p->teams * sizeof(p->team[0]), sets = p->sets * sizeof(p->set[0]);
    struct mm_plan *k = arena_alloc(arena, sizeof(*k) + items + groups + teams + sets);

    if (k == NULL)
        return NULL;
    *k = *p;
    k->item = (struct mm_item *)(k + 1);
    k->group = (struct mm_group *)(k->item + p->items);
    k->team = (struct mm_team *)(k->group + p->groups);
    k->set = (struct mm_set *)(k->team + p->teams);
    memcpy(k->item, p->item, items);
    memcpy(k->group, p->group, groups);
    memcpy(k->team, p->team, teams);
    memcpy(k->set, p->set, sets);
    return k;
}

const struct mm_plan *mm_plan_make(const struct k_rec *rec, struct arena *arena)
{
    struct mm_item item[MM_RECORDS];
    struct mm_group group[MM_RECORDS];
    struct mm_team team[MM_RECORDS];
    struct mm_set set[MM_RECORDS];
    struct mm_plan p = {.item = item, .group = group, .team = team, .set = set};
    struct draft d;

    d.count = d.groups = d.cells = 0;
    for (; rec != NULL; rec = rec->next) {
        if (draft_add(&d, rec))
            continue;
        draft_put(&p, &d);
        d.count = d.groups = d.cells = 0;
        draft_add(&d, rec);
    }
    draft_put(&p, &d);
    return keep(&p, arena);
}
