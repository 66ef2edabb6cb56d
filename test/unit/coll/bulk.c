/* SPDX-License-Identifier: Apache-2.0 */
#include "bulk.h"

#include <stdlib.h>
#include <string.h>

#include "draw.h"

#define LINE    16381 /* elements, a prime */
#define LARGEST (2 * RANKS_MAX)

struct bulk {
    uint32_t n;
    uint8_t *
        digit; /* [n + 1][LINE]: of every rank, 0 to 2; and what the last reduction makes of them */
    uint8_t *cells; /* the same in the type of the case */
    enum dtype dtype;
    enum kernel_combine reduce;
};

struct bulk *bulk_create(uint32_t n, uint64_t seed)
{
    struct bulk *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->n = n;
    b->digit = malloc((size_t)(n + 1) * LINE);
    b->cells = malloc((size_t)(n + 1) * LINE * 8);
    if (!b->digit || !b->cells) {
        bulk_destroy(b);
        return NULL;
    }
    for (size_t i = 0; i < (size_t)n * LINE; i++)
        b->digit[i] = (uint8_t)(draw_mix(seed ^ draw_mix(i)) % 3);
    return b;
}

void bulk_destroy(struct bulk *b)
{
    if (b) {
        free(b->digit);
        free(b->cells);
    }
    free(b);
}

static uint8_t combined(enum kernel_combine op, uint8_t a, uint8_t b)
{
    if (op == KERNEL_COMBINE_SUM)
        return (uint8_t)(a + b);
    return (op == KERNEL_COMBINE_MIN) == (b < a) ? b : a;
}

static void lines_make(struct bulk *b, enum dtype t, enum kernel_combine reduce)
{
    uint8_t *last = b->digit + (size_t)b->n * LINE, code[LARGEST + 1][8];
    size_t size = dtype_size(t);

    if (b->dtype == t && b->reduce == reduce)
        return;
    b->dtype = t;
    b->reduce = reduce;
    memcpy(last, b->digit, LINE);
    for (uint32_t r = 1; r < b->n; r++)
        for (size_t i = 0; i < LINE; i++)
            last[i] = combined(reduce, last[i], b->digit[r * LINE + i]);
    for (unsigned v = 0; v <= LARGEST; v++)
        dtype_store(t, code[v], (float)v);
    for (size_t i = 0; i < (size_t)(b->n + 1) * LINE; i++)
        memcpy(b->cells + i * size, code[b->digit[i]], size);
}

/* Where element i of an input stands in the line. */
static size_t place(uint64_t salt, uint64_t i)
{
    return (size_t)((i + draw_mix(salt + i / LINE) % LINE) % LINE);
}

/* A piece of an input, from element `from`: where its values stand, and how many of `count` do. */
static const uint8_t *piece(const struct bulk *b, uint32_t line, uint64_t salt, uint64_t from,
                            uint64_t *count)
{
    size_t at = place(salt, from);
    uint64_t room = LINE - at, turn = LINE - from % LINE;

    *count = *count < room ? *count : room;
    *count = *count < turn ? *count : turn;
    return b->cells + ((size_t)line * LINE + at) * dtype_size(b->dtype);
}

static void fill(const struct bulk *b, uint32_t line, uint64_t salt, uint8_t *to, uint64_t count)
{
    size_t size = dtype_size(b->dtype);

    for (uint64_t at = 0, some; at < count; at += some) {
        const uint8_t *values;

        some = count - at;
        values = piece(b, line, salt, at, &some);
        memcpy(to + at * size, values, (size_t)some * size);
    }
}

/* ---- what must come ---- */

struct look {
    const struct bulk *b;
    const struct case_kit *k;
    const uint8_t *out;
    uint64_t salt, wrong; /* the first element that is; UINT64_MAX: none */
};

static void differ(struct look *l, uint64_t i, const uint8_t *want, uint64_t count)
{
    size_t size = dtype_size(l->b->dtype);
    const uint8_t *have = l->out + i * size;
    uint64_t k = 0;

    if (memcmp(have, want, (size_t)count * size) == 0)
        return;
    while (memcmp(have + k * size, want + k * size, size) == 0)
        k++;
    l->wrong = l->wrong < i + k ? l->wrong : i + k;
}

/* Elements `at` and so on of the output are those of an input from `from`. */
static void look_block(struct look *l, uint64_t at, uint32_t line, uint64_t from, uint64_t count)
{
    for (uint64_t i = 0, some; i < count; i += some) {
        const uint8_t *want;

        some = count - i;
        want = piece(l->b, line, l->salt, from + i, &some);
        differ(l, at + i, want, some);
    }
}

/* Nobody writes them. */
static void look_untouched(struct look *l, uint64_t at, uint64_t count)
{
    size_t size = dtype_size(l->b->dtype);

    for (size_t i = (size_t)at * size; i < (size_t)(at + count) * size; i++)
        if (l->out[i] != 0xa5) {
            l->wrong = l->wrong < i / size ? l->wrong : i / size;
            return;
        }
}

/* Blocks of a variable form stand in slots of their own. */
static void look_blocks(struct look *l, uint32_t me)
{
    uint32_t n = l->b->n, most = case_block(&l->k->c);
    size_t cells = (size_t)n * n;

    for (uint32_t s = 0; s < n; s++) {
        size_t k = (size_t)s * n + (l->k->c.op == SCHED_ALL_GATHER_V ? 0 : me);
        uint64_t at = l->k->table[2 * cells + (size_t)me * n + s];

        look_block(l, at, s, l->k->table[cells + k], l->k->table[k]);
        look_untouched(l, at + l->k->table[k], most - l->k->table[k]);
    }
}

/* The blocks of a sum stand in another place at every rank. */
static void look_sums(struct look *l, uint32_t me)
{
    const struct bulk *b = l->b;
    uint32_t n = b->n;
    const uint32_t *at = l->k->table + (size_t)n * n + me;
    uint64_t count = l->k->table[me];
    uint8_t want[8];

    for (uint64_t i = 0; i < count; i++) {
        uint8_t v = b->digit[place(l->salt, at[0] + i)];

        for (uint32_t s = 1; s < n; s++)
            v = combined(l->k->c.reduce, v,
                         b->digit[(size_t)s * LINE + place(l->salt, at[(size_t)s * n] + i)]);
        dtype_store(b->dtype, want, (float)v);
        differ(l, i, want, 1);
    }
    look_untouched(l, count, l->k->ts.out_len[0] - count);
}

static void look(struct look *l, uint32_t me)
{
    const struct op_case *c = &l->k->c;
    uint32_t n = l->b->n, from;
    uint64_t count = c->counts[0];

    switch (c->op) {
    case SCHED_ALL_GATHER:
        for (uint32_t s = 0; s < n; s++)
            look_block(l, s * count, s, 0, count);
        return;
    case SCHED_REDUCE_SCATTER:
        look_block(l, 0, n, me * count, count);
        return;
    case SCHED_ALL_REDUCE:
        look_block(l, 0, n, 0, count);
        return;
    case SCHED_ALL_TO_ALL:
        count /= n;
        for (uint32_t s = 0; s < n; s++)
            look_block(l, s * count, s, me * count, count);
        return;
    case SCHED_PERMUTE:
        if (case_pair_source(l->k, n, me, &from))
            look_block(l, 0, from, 0, count);
        else if (!c->in_place)
            look_untouched(l, 0, count);
        return;
    case SCHED_SENDRECV:
        look_block(l, 0, (me + n - 1) % n, 0, count);
        return;
    case SCHED_REDUCE_SCATTER_V:
        look_sums(l, me);
        return;
    default:
        look_blocks(l, me);
        return;
    }
}

NRT_STATUS bulk_run_once(struct rank *r, struct case_kit *k, struct bulk *b, uint64_t salt,
                         struct err *err)
{
    struct look l = {.b = b, .k = k, .out = k->ts.out[0], .salt = salt, .wrong = UINT64_MAX};
    size_t size = dtype_size(k->c.dtype);
    NRT_STATUS st;

    lines_make(b, k->c.dtype, k->c.reduce);
    if (!k->c.in_place)
        memset(k->ts.out[0], 0xa5, (size_t)k->ts.out_len[0] * size);
    fill(b, r->me, salt, k->ts.in[0], k->ts.in_len[0]);
    st = coll_begin(k->plan, k->ts.in_addr, k->ts.out_addr, err);
    if (!st)
        st = coll_wait(r->comm, err);
    if (st)
        return st;
    look(&l, r->me);
    return l.wrong == UINT64_MAX
               ? NRT_SUCCESS
               : err_set(err, NRT_FAILURE, "element %llu of %llu is wrong",
                         (unsigned long long)l.wrong, (unsigned long long)k->ts.out_len[0]);
}
