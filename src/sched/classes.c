/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of ranks: those whose steps are equal up to the names of ranks and chunks, the order of
 * the operands of a reduction, and how neighbouring moves are joined to repetitions. Each algorithm
 * tells by a key which positions of a stage do the same; a rank's class is the row of its keys.
 * Where chunks differ in length every position is its own. The keys are checked against the steps
 * themselves by test_classes. */
#include "sched/plan_int.h"

#include <string.h>

#include "sched/iter_int.h"

struct class_key {
    uint32_t stage[SCHED_STAGES_MAX];
};

uint32_t sched_key_same(const struct sched_where *w)
{
    (void)w;
    return 0;
}

uint32_t sched_key_source(uint32_t i)
{
    return i < SCHED_REFS_MAX ? 0 : 1 + (i - SCHED_REFS_MAX) / (SCHED_REFS_MAX - 1);
}

static bool even_chunks(const struct sched_where *w)
{
    uint32_t n = w->st->shape->n;

    if (w->st->undivided)
        return true;
    for (uint32_t slice = 0; slice < w->s->slices; slice++)
        for (uint32_t c = 0; c < w->s->channels; c++) {
            struct sched_where at = *w;

            at.slice = slice;
            at.channel = c;
            /* cut: all parts are equal when the first and the last are */
            if (sched_chunk_len(&at, 0) != sched_chunk_len(&at, n - 1))
                return false;
        }
    return true;
}

static struct class_key key_of(const struct sched *s, uint32_t rank, const bool *even)
{
    struct class_key key = {{0}};

    for (uint32_t i = 0; i < s->stages; i++) {
        const struct sched_stage *st = &s->stage[i];
        struct sched_where w = {.s = s, .st = st, .rank = rank};

        w.me = sched_position_of(s, st->scope, rank);
        if (!even[i] || !st->algorithm->key)
            key.stage[i] = w.me + 1;
        else
            key.stage[i] = st->algorithm->key(&w) | UINT32_C(1) << 31;
    }
    return key;
}

/* The lengths of a stage's chunks are the same on all ranks, but for the sections of a hierarchical
 * all_reduce: then every local index is looked at. */
static bool stage_even(const struct sched *s, uint32_t stage)
{
    struct sched_where w = {.s = s, .st = &s->stage[stage]};
    uint64_t len = 0;

    for (uint32_t y = 0; y < (w.st->scope == SCHED_INTER ? s->g->per_node : 1); y++) {
        w.rank = w.st->scope == SCHED_INTER ? s->g->at[y] : 0;
        if (!even_chunks(&w))
            return false;
        if (y > 0 && sched_chunk_len(&w, 0) != len)
            return false;
        len = sched_chunk_len(&w, 0);
    }
    return true;
}

static uint32_t key_hash(const struct class_key *key)
{
    uint32_t h = 2166136261u;

    for (unsigned i = 0; i < SCHED_STAGES_MAX; i++)
        h = (h ^ key->stage[i]) * 16777619u;
    return h ^ h >> 15;
}

/* Number the ranks by their keys: number[r] and the first rank of each number. Open addressing over
 * the representatives; returns how many there are. */
static uint32_t ranks_number(const struct sched *s, const bool *even, struct class_key *keys,
                             uint32_t *table, uint32_t cap, uint32_t *number, uint32_t *first)
{
    uint32_t count = 0;

    memset(table, 0, cap * sizeof(*table));
    for (uint32_t r = 0; r < s->n; r++) {
        struct class_key key = key_of(s, r, even);
        uint32_t at = key_hash(&key) & (cap - 1);

        while (table[at] && memcmp(&keys[table[at] - 1], &key, sizeof(key)) != 0)
            at = (at + 1) & (cap - 1);
        if (!table[at]) {
            keys[count] = key;
            first[count] = r;
            table[at] = ++count;
        }
        number[r] = table[at] - 1;
    }
    return count;
}

/* Roles are the classes that would be if all chunks were equally long. */
static NRT_STATUS roles_fill(struct sched *s, const bool *even, struct class_key *keys,
                             uint32_t *table, uint32_t cap)
{
    static const bool all[SCHED_STAGES_MAX] = {true, true, true};
    bool same = true;

    for (uint32_t i = 0; i < s->stages; i++)
        same &= even[i];
    if (same) {
        s->roles = s->classes;
        s->role_rank = s->class_rank;
        s->role_count = s->class_count;
        return NRT_SUCCESS;
    }
    s->roles = arena_calloc(&s->mem, s->n, sizeof(*s->roles));
    s->role_rank = arena_calloc(&s->mem, s->n, sizeof(*s->role_rank));
    if (!s->roles || !s->role_rank)
        return NRT_RESOURCE;
    s->role_count = ranks_number(s, all, keys, table, cap, s->roles, s->role_rank);
    return NRT_SUCCESS;
}

NRT_STATUS sched_classify(struct sched *s, struct err *err)
{
    bool even[SCHED_STAGES_MAX] = {false};
    NRT_STATUS st = NRT_RESOURCE;
    struct class_key *keys;
    uint32_t cap = 16, *table;

    while (cap < 2 * s->n)
        cap *= 2;
    keys = mem_calloc(s->n, sizeof(*keys));
    table = mem_calloc(cap, sizeof(*table));
    s->classes = arena_calloc(&s->mem, s->n, sizeof(*s->classes));
    s->class_rank = arena_calloc(&s->mem, s->n, sizeof(*s->class_rank));
    s->class_size = arena_calloc(&s->mem, s->n, sizeof(*s->class_size));
    if (keys && table && s->classes && s->class_rank && s->class_size) {
        for (uint32_t i = 0; i < s->stages; i++)
            even[i] = stage_even(s, i);
        s->class_count = ranks_number(s, even, keys, table, cap, s->classes, s->class_rank);
        for (uint32_t r = 0; r < s->n; r++)
            s->class_size[s->classes[r]]++;
        st = roles_fill(s, even, keys, table, cap);
    }
    mem_free(keys);
    mem_free(table);
    return st ? err_set(err, st, "no memory for a schedule") : NRT_SUCCESS;
}
