/* SPDX-License-Identifier: Apache-2.0 */
/* Long rows of equal bodies: a ring of 65,536 ranks has as many hops, and all but the first and
 * last few do the same to the next rank with a chunk of the same length. Who counts routes looks at
 * one of them; who has walked some goes over the rest by what these have counted. */
#include <string.h>

#include "sched/iter_int.h"

bool sched_iter_skip(struct sched_iter *it)
{
    if (!it->phase || !it->phase->one_way)
        return false;
    it->i = it->n;
    it->pos = it->count;
    return true;
}

bool sched_iter_body(const struct sched_iter *it, struct sched_body *ret)
{
    if (it->pos != it->count || it->part == it->s->part_count || !it->phase->one_way)
        return false;
    *ret = (struct sched_body){.part = it->part, .number = it->i};
    return true;
}

NRT_STATUS sched_iter_clone(const struct sched_iter *it, struct sched_iter **ret)
{
    struct sched_iter *copy = mem_alloc(sizeof(*copy));
    struct sched_peer *peers = mem_calloc(it->peer_cap, sizeof(*peers));

    if (!copy || !peers) {
        mem_free(copy);
        mem_free(peers);
        return NRT_RESOURCE;
    }
    *copy = *it;
    copy->peers = peers;
    memcpy(peers, it->peers, it->peer_cap * sizeof(*peers));
    copy->steps = NULL; /* between two bodies there are none */
    copy->count = copy->pos = copy->cap = 0;
    *ret = copy;
    return NRT_SUCCESS;
}

uint64_t sched_iter_alike(const struct sched_iter *it)
{
    return it->phase->alike && it->i < it->n ? it->phase->alike(&it->w, it->i) : 0;
}

/* ---- going over them ---- */

static uint32_t counted_on(uint32_t now, uint32_t before, uint64_t times)
{
    return now + (uint32_t)(times * (now - before));
}

/* Slots are used in turn: only whole turns leave the numbers kept for each in their places. */
static bool whole_turns(const struct sched_iter *it, const struct sched_iter *before)
{
    for (uint32_t i = 0; i < it->peer_cap; i++) {
        const struct sched_peer *p = &it->peers[i], *b = &before->peers[i];

        if (p->used != b->used || p->rank != b->rank || p->credit_waited != b->credit_waited ||
            (p->temp_out - b->temp_out) % it->s->req.slots != 0)
            return false;
    }
    return true;
}

static void peer_repeat(struct sched_peer *p, const struct sched_peer *b, uint64_t times)
{
    for (unsigned k = 0; k < SCHED_SEM_COUNT; k++)
        p->waits[k] = counted_on(p->waits[k], b->waits[k], times);
    for (unsigned k = 0; k < SCHED_SLOTS_MAX; k++)
        p->temp_messages[k] = counted_on(p->temp_messages[k], b->temp_messages[k], times);
    p->slots_out = counted_on(p->slots_out, b->slots_out, times);
    p->slots_in = counted_on(p->slots_in, b->slots_in, times);
    p->slots_freed = counted_on(p->slots_freed, b->slots_freed, times);
    p->slots_posted = counted_on(p->slots_posted, b->slots_posted, times);
    p->temp_out = counted_on(p->temp_out, b->temp_out, times);
    p->messages_out = counted_on(p->messages_out, b->messages_out, times);
    p->messages_in = counted_on(p->messages_in, b->messages_in, times);
}

bool sched_iter_repeats(const struct sched_iter *it, const struct sched_iter *before)
{
    return it->part == before->part && it->peer_cap == before->peer_cap && whole_turns(it, before);
}

void sched_iter_repeat(struct sched_iter *it, const struct sched_iter *before, uint64_t times)
{
    for (uint32_t i = 0; i < it->peer_cap; i++)
        if (it->peers[i].used)
            peer_repeat(&it->peers[i], &before->peers[i], times);
    it->i += times * (it->i - before->i);
}
