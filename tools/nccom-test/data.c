/* SPDX-License-Identifier: Apache-2.0 */
/* The definition of each operation, element by element: slow and plain, because it is the oracle.
 */
#include "data.h"

#include <math.h>
#include <string.h>

/* ---- inputs ---- */

static uint64_t mix(uint64_t x) /* splitmix64 */
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t key(const struct cc_data *d, uint32_t rank, unsigned part)
{
    return mix(mix(d->seed ^ (uint64_t)rank << 32) ^ (uint64_t)d->stream << 48 ^
               (uint64_t)d->op << 16 ^ part);
}

/* Integers over all of their range; floats in steps of 1/64 within (-1, 1), which every type but
 * fp8 holds exactly. */
static void element_store(const struct cc_data *d, uint64_t k, uint64_t i, uint8_t *to)
{
    size_t each = dtype_size(d->c->dtype);
    uint64_t bits = mix(k + i);

    if (d->check == CC_CHECK_OFF)
        memset(to, 0, each);
    else if (dtype_is_float(d->c->dtype))
        dtype_store(d->c->dtype, to,
                    d->check == CC_CHECK_ALL_ONES ? 1.0f : (float)((int)(bits % 127) - 63) / 64.0f);
    else {
        if (d->check == CC_CHECK_ALL_ONES)
            bits = 1;
        memcpy(to, &bits, each);
    }
}

void cc_data_input(const struct cc_data *d, uint32_t rank, unsigned part, uint64_t first,
                   uint64_t n, void *to)
{
    size_t each = dtype_size(d->c->dtype);
    uint64_t k = key(d, rank, part);

    for (uint64_t i = 0; i < n; i++)
        element_store(d, k, first + i, (uint8_t *)to + i * each);
}

/* The value of a cell: floats as they are, integers as the residue modulo 2^bits. */
static double cell_value(enum dtype t, const void *cell)
{
    uint64_t bits = 0;

    if (dtype_is_float(t))
        return (double)dtype_load(t, cell);
    memcpy(&bits, cell, dtype_size(t));
    return (double)bits;
}

static double input_value(const struct cc_data *d, uint32_t rank, unsigned part, uint64_t i)
{
    uint8_t cell[8];

    element_store(d, key(d, rank, part), i, cell);
    return cell_value(d->c->dtype, cell);
}

/* ---- golden ---- */

/* Unit roundoff, and half the smallest number. */
static void roundoff(enum dtype t, double *ret_unit, double *ret_tiny)
{
    switch (t) {
    case DT_FP32:
        *ret_unit = ldexp(1, -24);
        *ret_tiny = ldexp(1, -150);
        break;
    case DT_FP16:
        *ret_unit = ldexp(1, -11);
        *ret_tiny = ldexp(1, -25);
        break;
    case DT_BF16:
        *ret_unit = ldexp(1, -8);
        *ret_tiny = ldexp(1, -134);
        break;
    default: /* fp8e4 */
        *ret_unit = ldexp(1, -4);
        *ret_tiny = ldexp(1, -10);
        break;
    }
}

/* The sum over the group. However an algorithm brackets it, at most n roundings happen, each by at
 * most the unit of what is there, so the result is within ((1 + u)^n - 1) sum |x| of it. */
static struct cc_golden sum(const struct cc_data *d, const uint32_t *group, unsigned part,
                            uint64_t i)
{
    struct cc_golden g = {.written = true};
    double absolute = 0, unit, tiny;

    for (uint32_t r = 0; r < d->c->n; r++) {
        double v = input_value(d, group[r], part, i);

        g.value += v;
        absolute += fabs(v);
    }
    if (!dtype_is_float(d->c->dtype)) {
        g.value = fmod(g.value, ldexp(1, (int)dtype_size(d->c->dtype) * 8));
        return g;
    }
    if (d->c->n == 1)
        return g;
    roundoff(d->c->dtype, &unit, &tiny);
    g.slack = (pow(1 + unit, d->c->n) - 1) * absolute + d->c->n * tiny;
    return g;
}

static struct cc_golden copy(const struct cc_data *d, uint32_t from, unsigned part, uint64_t i)
{
    return (struct cc_golden){.written = true, .value = input_value(d, from, part, i)};
}

/* Where a rank sits, found once for many elements. */
struct seat {
    bool in;               /* it takes part */
    uint32_t rank, p;      /* position in the group */
    const uint32_t *group; /* NULL: pairs, and then from whom */
    uint32_t from;
};

static struct seat seat_of(const struct cc_data *d, uint32_t rank)
{
    struct seat s = {.rank = rank};
    uint32_t g = 0;

    if (d->c->op != CC_PERMUTE && d->c->op != CC_SENDRECV) {
        s.in = cc_rank_place(d->groups, rank, &g, &s.p);
        s.group = d->groups->ranks + (size_t)g * d->c->n;
        return s;
    }
    for (uint32_t k = 0; k < d->pairs->count && !s.in; k++) {
        s.in = d->pairs->pair[k][1] == rank;
        s.from = d->pairs->pair[k][0];
    }
    return s;
}

/* Blocks of the variable forms: the one that covers i, if any. */
static struct cc_golden varying(const struct cc_data *d, const struct seat *s, uint64_t i)
{
    const struct cc_tables *t = &d->c->tables;
    size_t row = (size_t)s->rank * d->c->n;

    for (uint32_t k = 0; k < d->c->n; k++) {
        uint64_t at = t->recv_displ[row + k], n = t->recv_count[row + k];
        size_t from = (size_t)s->group[k] * d->c->n + (d->c->op == CC_ALL_GATHER_V ? 0 : s->p);

        if (i >= at && i < at + n)
            return copy(d, s->group[k], 0, t->send_displ[from] + (i - at));
    }
    return (struct cc_golden){.written = false};
}

static struct cc_golden element(const struct cc_data *d, const struct seat *s, unsigned part,
                                uint64_t i)
{
    const struct cc_case *c = d->c;
    uint64_t block;

    if (!s->in)
        return (struct cc_golden){.written = false};
    switch (c->op) {
    case CC_PERMUTE:
    case CC_SENDRECV:
        return copy(d, s->from, part, i);
    case CC_ALL_REDUCE:
        return sum(d, s->group, part, i);
    case CC_REDUCE_SCATTER:
        return sum(d, s->group, part,
                   c->tiles.used ? cc_tiles_element(&c->tiles, s->p, i) : s->p * c->out[part] + i);
    case CC_ALL_GATHER:
        block = i / c->in[part];
        i %= c->in[part];
        if (c->tiles.used)
            cc_tiles_block(&c->tiles, block * c->in[part] + i, &block, &i);
        return copy(d, s->group[block], part, i);
    case CC_ALL_TO_ALL:
        block = c->in[part] / c->n;
        return copy(d, s->group[i / block], part, s->p * block + i % block);
    default:
        return varying(d, s, i);
    }
}

struct cc_golden cc_data_golden(const struct cc_data *d, uint32_t rank, unsigned part, uint64_t i)
{
    struct seat s = seat_of(d, rank);

    return element(d, &s, part, i);
}

static void golden_store(enum dtype t, const struct cc_golden *g, uint8_t *to)
{
    uint64_t bits;

    if (!g->written) {
        memset(to, CC_POISON, dtype_size(t));
    } else if (dtype_is_float(t)) {
        dtype_store(t, to, (float)g->value);
    } else {
        bits = (uint64_t)g->value;
        memcpy(to, &bits, dtype_size(t));
    }
}

void cc_data_golden_bytes(const struct cc_data *d, uint32_t rank, unsigned part, uint64_t first,
                          uint64_t n, void *to)
{
    size_t each = dtype_size(d->c->dtype);
    struct seat s = seat_of(d, rank);

    for (uint64_t i = 0; i < n; i++) {
        struct cc_golden g = element(d, &s, part, first + i);

        golden_store(d->c->dtype, &g, (uint8_t *)to + i * each);
    }
}

/* ---- comparison ---- */

/* A copy, an integer or a cell that nobody wrote must be the same bits. */
static bool same(enum dtype t, const struct cc_golden *g, const uint8_t *cell)
{
    uint8_t want[8];

    if (g->written && g->slack > 0)
        return fabs((double)dtype_load(t, cell) - g->value) <= g->slack; /* false for NaN */
    golden_store(t, g, want);
    return memcmp(want, cell, dtype_size(t)) == 0;
}

void cc_data_compare(const struct cc_data *d, uint32_t rank, unsigned part, uint64_t first,
                     uint64_t n, const void *bytes, struct cc_mismatch *m)
{
    enum dtype t = d->c->dtype;
    size_t each = dtype_size(t);
    struct seat s = seat_of(d, rank);

    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *cell = (const uint8_t *)bytes + i * each;
        struct cc_golden g = element(d, &s, part, first + i);

        if (same(t, &g, cell))
            continue;
        if (m->count++ == 0) {
            m->first = first + i;
            m->got = cell_value(t, cell);
            m->want = g.value;
            m->slack = g.slack;
        }
    }
}

uint64_t cc_hash(uint64_t h, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    uint64_t w;

    for (; size >= 8; size -= 8, p += 8) {
        memcpy(&w, p, 8);
        h = (h ^ w) * UINT64_C(0x100000001b3);
        h ^= h >> 29;
    }
    w = 0;
    memcpy(&w, p, size);
    return (h ^ w ^ (uint64_t)size << 56) * UINT64_C(0x100000001b3);
}
