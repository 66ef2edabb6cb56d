/* SPDX-License-Identifier: Apache-2.0 */
/* The iterator: parts in order, bodies one at a time, and the numbers that run on between them. */
#include <string.h>

#include "sched/iter_int.h"

/* ---- numbers per peer ---- */

static struct sched_peer *peer_find(struct sched_iter *it, uint32_t rank)
{
    uint32_t at = rank * 2654435761u & (it->peer_cap - 1);

    while (it->peers[at].used && it->peers[at].rank != rank)
        at = (at + 1) & (it->peer_cap - 1);
    return &it->peers[at];
}

static bool peers_grow(struct sched_iter *it)
{
    uint32_t old_cap = it->peer_cap;
    struct sched_peer *old = it->peers;

    it->peers = mem_calloc((size_t)old_cap * 2, sizeof(*it->peers));
    if (!it->peers) {
        it->peers = old;
        it->status = NRT_RESOURCE;
        return false;
    }
    it->peer_cap = old_cap * 2;
    for (uint32_t i = 0; i < old_cap; i++)
        if (old[i].used)
            *peer_find(it, old[i].rank) = old[i];
    mem_free(old);
    return true;
}

struct sched_peer *sched_iter_peer(struct sched_iter *it, uint32_t rank)
{
    struct sched_peer *p = peer_find(it, rank);

    if (p->used)
        return p;
    if ((it->peer_count + 1) * 2 > it->peer_cap) {
        if (!peers_grow(it))
            return &it->spare;
        p = peer_find(it, rank);
    }
    *p = (struct sched_peer){.used = true, .rank = rank};
    it->peer_count++;
    return p;
}

/* ---- steps ---- */

struct sched_step *sched_iter_push(struct sched_iter *it, enum sched_kind kind)
{
    if (it->count == it->cap) {
        size_t cap = it->cap ? it->cap * 2 : 16;
        struct sched_step *steps = mem_realloc(it->steps, cap * sizeof(*steps));

        if (!steps) {
            it->status = NRT_RESOURCE;
            return &it->waste;
        }
        it->steps = steps;
        it->cap = cap;
    }
    struct sched_step *step = &it->steps[it->count++];

    /* Refs beyond nsrc and ndst are never read: a step is large, so they are not cleared. */
    step->kind = (uint8_t)kind;
    step->sem = 0;
    step->nsrc = step->ndst = 0;
    step->phase = it->w.phase;
    step->peer = it->w.rank;
    step->value = 0;
    step->repeat = 1;
    step->count = 0;
    return step;
}

/* Counters that nobody waits for to the end: say what the operation adds to them. */
static void emit_totals(struct sched_iter *it)
{
    for (uint32_t i = 0; i < it->peer_cap; i++) {
        struct sched_peer *p = &it->peers[i];

        if (!p->used || p->slots_out == 0)
            continue;
        struct sched_step *step = sched_iter_push(it, SCHED_EXPECT);

        step->sem = SCHED_SEM_CREDIT;
        step->peer = p->rank;
        step->value = p->slots_out;
    }
}

static void part_open(struct sched_iter *it)
{
    const struct sched *s = it->s;
    const struct sched_part *part = &s->parts[it->part];
    const struct sched_stage *st = &s->stage[part->stage];

    it->w.st = st;
    it->w.slice = part->slice;
    it->w.phase = (uint16_t)(part->stage * SCHED_PHASES_MAX + part->phase);
    it->w.me = sched_position_of(s, st->scope, it->w.rank);
    it->phase = &st->algorithm->phases[part->phase];
    it->i = 0;
    it->n = it->phase->count ? it->phase->count(&it->w) : 1;
}

/* The next body that emits something. False at the end. */
static bool refill(struct sched_iter *it)
{
    it->count = it->pos = 0;
    while (it->count == 0) {
        if (it->status)
            return false;
        if (it->part == it->s->part_count) {
            if (it->totals)
                return false;
            it->totals = true;
            emit_totals(it);
            return it->count != 0;
        }
        if (it->i == it->n) {
            if (++it->part < it->s->part_count)
                part_open(it);
            continue;
        }
        it->phase->body(&it->w, it->i++, it);
    }
    return it->status == NRT_SUCCESS;
}

NRT_STATUS sched_iter_create(const struct sched *s, uint32_t rank, uint32_t channel,
                             struct sched_iter **ret)
{
    struct sched_iter *it = mem_zalloc(sizeof(*it));

    if (!it)
        return NRT_RESOURCE;
    it->s = s;
    it->w = (struct sched_where){.s = s, .rank = rank, .channel = channel};
    it->peer_cap = 16;
    it->peers = mem_calloc(it->peer_cap, sizeof(*it->peers));
    if (!it->peers) {
        mem_free(it);
        return NRT_RESOURCE;
    }
    sched_iter_rewind(it);
    *ret = it;
    return NRT_SUCCESS;
}

void sched_iter_destroy(struct sched_iter *it)
{
    if (!it)
        return;
    mem_free(it->peers);
    mem_free(it->steps);
    mem_free(it);
}

void sched_iter_rewind(struct sched_iter *it)
{
    memset(it->peers, 0, it->peer_cap * sizeof(*it->peers));
    it->peer_count = 0;
    it->part = 0;
    it->totals = false;
    it->status = NRT_SUCCESS;
    it->count = it->pos = 0;
    it->i = it->n = 0;
    if (it->s->part_count)
        part_open(it);
}

const struct sched_step *sched_iter_next(struct sched_iter *it)
{
    if (it->pos == it->count && !refill(it))
        return NULL;
    return &it->steps[it->pos++];
}

NRT_STATUS sched_iter_status(const struct sched_iter *it)
{
    return it->status;
}
