/* SPDX-License-Identifier: Apache-2.0 */
/* What exists per pair of ranks: counters, lines, wires and flows, made when first named. Of N * N
 * pairs a schedule uses few, so they are found by hash. */
#include <string.h>

#include "base/mem.h"
#include "check_int.h"

static uint32_t *map_slot(struct chk_map *m, uint64_t key)
{
    size_t i = (size_t)((key * 0x9e3779b97f4a7c15u) >> 20) & (m->cap - 1);

    while (m->index[i] && m->key[i] != key)
        i = (i + 1) & (m->cap - 1);
    m->key[i] = key;
    return &m->index[i];
}

static bool map_room(struct chk_map *m)
{
    struct chk_map next = {.cap = m->cap ? m->cap * 2 : 64, .count = m->count};

    if (m->cap && m->count * 2 < m->cap)
        return true;
    next.key = mem_calloc(next.cap, sizeof(*next.key));
    next.index = mem_calloc(next.cap, sizeof(*next.index));
    if (!next.key || !next.index) {
        mem_free(next.key);
        mem_free(next.index);
        return false;
    }
    for (size_t i = 0; i < m->cap; i++)
        if (m->index[i])
            *map_slot(&next, m->key[i]) = m->index[i];
    mem_free(m->key);
    mem_free(m->index);
    *m = next;
    return true;
}

void chk_map_fini(struct chk_map *m)
{
    mem_free(m->key);
    mem_free(m->index);
}

/* The element of a growing array that belongs to a key; *ret_new: just added, zeroed. */
void *chk_map_element(struct chk_map *m, uint64_t key, void **array, size_t *count, size_t *cap,
                      size_t size, bool *ret_new)
{
    uint32_t *slot;

    *ret_new = false;
    if (!map_room(m))
        return NULL;
    slot = map_slot(m, key);
    if (*slot == 0) {
        if (!mem_grow(array, cap, *count + 1, size))
            return NULL;
        memset((char *)*array + *count * size, 0, size);
        *slot = (uint32_t)++ * count;
        m->count++;
        *ret_new = true;
    }
    return (char *)*array + (size_t)(*slot - 1) * size;
}

uint64_t chk_pair_key(const struct chk *c, uint32_t to, uint32_t from, unsigned sem,
                      uint32_t channel)
{
    return (((uint64_t)to * c->ranks + from) * SCHED_SEM_COUNT + sem) * c->channels + channel;
}

struct chk_counter *chk_counter_get(struct chk *c, uint32_t to, uint32_t from, unsigned sem,
                                    uint32_t channel)
{
    bool fresh;
    struct chk_counter *n = chk_map_element(&c->counter_of, chk_pair_key(c, to, from, sem, channel),
                                            (void **)&c->counter, &c->counter_count,
                                            &c->counter_cap, sizeof(*n), &fresh);

    if (n && fresh) {
        n->to = to;
        n->from = from;
        n->sem = (uint8_t)sem;
        n->channel = (uint16_t)channel;
        n->next = c->rank[to].counters;
        c->rank[to].counters = (uint32_t)(n - c->counter) + 1;
    }
    return n;
}

struct chk_line *chk_line_get(struct chk *c, uint32_t to, uint32_t from, uint32_t channel)
{
    bool fresh;
    struct chk_line *n =
        chk_map_element(&c->line_of, chk_pair_key(c, to, from, 0, channel), (void **)&c->line,
                        &c->line_count, &c->line_cap, sizeof(*n), &fresh);

    if (n && fresh) {
        uint64_t elems = c->source->buffer_elems(c->source->ctx, SCHED_LINE, to, channel);

        n->to = to;
        n->from = from;
        n->channel = channel;
        n->set = mem_calloc(2, sizeof(*n->set));
        if (!n->set || !chk_mem_init(&n->set[0], elems) || !chk_mem_init(&n->set[1], elems))
            return NULL;
    }
    return n;
}

struct chk_wire *chk_wire_get(struct chk *c, uint32_t from, uint32_t to, uint32_t channel)
{
    bool fresh;
    struct chk_wire *n =
        chk_map_element(&c->wire_of, chk_pair_key(c, to, from, 0, channel), (void **)&c->wire,
                        &c->wire_count, &c->wire_cap, sizeof(*n), &fresh);

    if (n && fresh) {
        n->from = from;
        n->to = to;
        n->channel = channel;
    }
    return n;
}
