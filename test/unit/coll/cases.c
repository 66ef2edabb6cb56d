/* SPDX-License-Identifier: Apache-2.0 */
#include "cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"

/* ---- drawing ---- */

/* Operations that have one algorithm only get it most of the time: else few of them would run. */
static void draw_way(struct op_case *c, uint64_t salt)
{
    c->alg = (enum sched_alg)(draw_mix(salt + 1) % SCHED_ALG_COUNT);
    c->variant = (enum sched_variant)(draw_mix(salt + 2) % SCHED_VARIANT_COUNT);
    c->intra = (enum sched_alg)(draw_mix(salt + 21) % SCHED_HIER);
    c->inter = (enum sched_alg)(draw_mix(salt + 22) % SCHED_HIER);
    if (draw_mix(salt + 8) % 4 == 0)
        return;
    if (c->op == SCHED_PERMUTE || c->op == SCHED_SENDRECV)
        c->alg = SCHED_PAIRS, c->variant = SCHED_STAGED;
    else if (sched_op_varies(c->op))
        c->alg = SCHED_MESH, c->variant = SCHED_STAGED;
    else if (c->op == SCHED_ALL_TO_ALL || c->op == SCHED_BARRIER)
        c->alg = SCHED_MESH;
}

bool case_sum_is_exact(enum dtype t, uint32_t n)
{
    return !(t >= DT_FP8_E3 && t <= DT_FP8_E5) || n <= 4;
}

struct op_case case_draw(uint64_t salt, uint32_t n)
{
    static const uint64_t sizes[] = {0, 1, 7, 14, 15, 64, 100, 1000, 4099, 70001};
    struct op_case c = {.op = (enum sched_op)(draw_mix(salt) % SCHED_OP_COUNT),
                        .dtype = (enum dtype)(CASE_TYPE_FIRST + draw_mix(salt + 3) % CASE_TYPES),
                        .reduce = (enum kernel_combine)(draw_mix(salt + 4) % 3),
                        .tensors = 1 + (uint32_t)(draw_mix(salt + 5) % CASE_TENSORS),
                        .in_place = draw_mix(salt + 6) % 2,
                        .chunk_bytes = draw_mix(salt + 20) % 2 ? 4096 : 0,
                        .salt = salt};
    unsigned among = 10;

    draw_way(&c, salt);
    if (c.variant == SCHED_INLINE || draw_mix(salt + 7) % 2)
        among = 6;
    for (unsigned t = 0; t < CASE_TENSORS; t++) {
        c.counts[t] = sizes[draw_mix(salt + 10 + t) % among];
        if (c.op == SCHED_ALL_TO_ALL)
            c.counts[t] *= n;
    }
    if (!case_sum_is_exact(c.dtype, n))
        c.reduce = KERNEL_COMBINE_MAX;
    if (c.op == SCHED_SENDRECV || c.op == SCHED_PERMUTE || sched_op_varies(c.op))
        c.tensors = 1;
    if (sched_op_varies(c.op))
        c.in_place = false;
    if (c.op == SCHED_BARRIER)
        c.tensors = 0;
    return c;
}

uint32_t case_block(const struct op_case *c)
{
    return c->block ? c->block : 1 + (uint32_t)(c->counts[0] % 5000);
}

/* Rows of n * n: counts, source places, target places. Blocks lie in slots of `most` elements, in
 * an order that differs from rank to rank; some are empty. */
static bool table_make(struct case_kit *k, uint32_t n)
{
    uint32_t most = case_block(&k->c);
    size_t cells = (size_t)n * n;

    k->table = malloc(3 * cells * sizeof(*k->table));
    if (!k->table)
        return false;
    for (uint32_t s = 0; s < n; s++)
        for (uint32_t d = 0; d < n; d++) {
            uint64_t draw = draw_mix(k->c.salt ^ (uint64_t)s << 32 ^ d);

            k->table[s * n + d] = draw % 4 ? (uint32_t)(draw >> 8) % (most + 1) : 0;
            if (k->c.op == SCHED_REDUCE_SCATTER_V && s > 0)
                k->table[s * n + d] = k->table[d]; /* terms of one sum are equally long */
            k->table[cells + s * n + d] = (s + d) % n * most;
            k->table[2 * cells + (size_t)d * n + s] = (s + 2 * d) % n * most;
        }
    return true;
}

/* Neighbours swap, who is left over sends to itself; or only the first two take part. */
static bool pairs_make(struct case_kit *k, uint32_t n)
{
    k->pair_count = draw_mix(k->c.salt + 30) % 3 || n < 2 ? n : 2;
    k->pairs = malloc(n * sizeof(*k->pairs));
    for (uint32_t i = 0; k->pairs && i < n; i++)
        k->pairs[i] = (struct topo_pair){i, (i ^ 1) < n ? i ^ 1 : i};
    return k->pairs != NULL;
}

bool case_pair_source(const struct case_kit *k, uint32_t n, uint32_t r, uint32_t *ret)
{
    *ret = (r ^ 1) < n ? r ^ 1 : r;
    return r < k->pair_count;
}

/* ---- what must come ---- */

static float value(uint64_t salt, uint32_t r, uint32_t t, uint64_t i)
{
    return (float)(draw_mix(salt ^ draw_mix((uint64_t)r << 40 | (uint64_t)t << 32 | i)) % 3);
}

static float combine(enum kernel_combine op, float a, float b)
{
    if (op == KERNEL_COMBINE_SUM)
        return a + b;
    if (op == KERNEL_COMBINE_MIN)
        return b < a ? b : a;
    return b > a ? b : a;
}

static float reduced(const struct op_case *c, uint64_t salt, uint32_t n, uint32_t t, uint64_t i)
{
    float acc = value(salt, 0, t, i);

    for (uint32_t r = 1; r < n; r++)
        acc = combine(c->reduce, acc, value(salt, r, t, i));
    return acc;
}

/* Element i of the output of rank r in a variable form; false: nobody writes it. */
static bool placed(const struct case_kit *k, uint64_t salt, uint32_t n, uint32_t r, uint64_t i,
                   float *want)
{
    size_t cells = (size_t)n * n;

    for (uint32_t s = 0; s < n; s++) {
        uint32_t col = k->c.op == SCHED_ALL_GATHER_V ? 0 : r;
        uint64_t at = k->table[2 * cells + (size_t)r * n + s];

        if (i < at || i - at >= k->table[(size_t)s * n + col])
            continue;
        *want = value(salt, s, 0, k->table[cells + (size_t)s * n + col] + i - at);
        return true;
    }
    return false;
}

/* Element i of the blocks for rank r, which stand in another place at every rank. */
static float summed(const struct case_kit *k, uint64_t salt, uint32_t n, uint32_t r, uint64_t i)
{
    const uint32_t *at = k->table + (size_t)n * n + r;
    float acc = value(salt, 0, 0, at[0] + i);

    for (uint32_t s = 1; s < n; s++)
        acc = combine(k->c.reduce, acc, value(salt, s, 0, at[(size_t)s * n] + i));
    return acc;
}

/* False: the operation does not write the element. */
static bool expected(const struct case_kit *k, uint64_t salt, uint32_t n, uint32_t r, uint32_t t,
                     uint64_t i, float *want)
{
    const struct op_case *c = &k->c;
    uint64_t count = c->counts[t];

    switch (c->op) {
    case SCHED_ALL_GATHER:
        *want = value(salt, (uint32_t)(i / count), t, i % count);
        return true;
    case SCHED_REDUCE_SCATTER:
        *want = reduced(c, salt, n, t, r * count + i);
        return true;
    case SCHED_ALL_REDUCE:
        *want = reduced(c, salt, n, t, i);
        return true;
    case SCHED_ALL_TO_ALL:
        count /= n;
        *want = value(salt, (uint32_t)(i / count), t, r * count + i % count);
        return true;
    case SCHED_PERMUTE:
        if (!case_pair_source(k, n, r, &r))
            return false;
        *want = value(salt, r, t, i);
        return true;
    case SCHED_SENDRECV:
        *want = value(salt, (r + n - 1) % n, t, i);
        return true;
    case SCHED_REDUCE_SCATTER_V:
        *want = summed(k, salt, n, r, i);
        return i < k->table[r];
    default:
        return placed(k, salt, n, r, i, want);
    }
}

/* ---- one rank ---- */

static void tensors_make(struct rank *r, struct case_kit *k)
{
    const struct op_case *c = &k->c;
    struct tensors *ts = &k->ts;
    size_t size = dtype_size(c->dtype);

    for (uint32_t t = 0; t < c->tensors; t++) {
        ts->in_len[t] = sched_tensor_elems(k->s, SCHED_IN, r->me, t);
        ts->out_len[t] = sched_tensor_elems(k->s, SCHED_OUT, r->me, t);
        if (c->in_place && c->op == SCHED_ALL_GATHER) {
            ts->out[t] = rank_memory(r, ts->out_len[t] * size, &ts->out_addr[t]);
            ts->in[t] = ts->out[t] + r->me * ts->in_len[t] * size;
            ts->in_addr[t] = ts->out_addr[t] + r->me * ts->in_len[t] * size;
            continue;
        }
        ts->in[t] = rank_memory(r, ts->in_len[t] * size, &ts->in_addr[t]);
        if (c->in_place) {
            uint64_t at = c->op == SCHED_REDUCE_SCATTER ? r->me * ts->out_len[t] * size : 0;

            ts->out[t] = ts->in[t] + at;
            ts->out_addr[t] = ts->in_addr[t] + at;
        } else {
            ts->out[t] = rank_memory(r, ts->out_len[t] * size, &ts->out_addr[t]);
        }
    }
}

/* A plan that nobody is asked about, with memory for its buffers if it has any. */
static NRT_STATUS alone_make(struct rank *r, struct case_kit *k, struct err *err)
{
    uint64_t size = sched_buffer_elems(k->s, SCHED_TEMP, r->me, 0) * dtype_size(k->c.dtype);
    NRT_STATUS st = size ? coll_buffers_alloc(r->comm, size, &k->own, err) : NRT_SUCCESS;

    return st ? st
              : coll_plan_create_alone(r->comm, k->s, k->c.dtype, k->c.reduce, &k->own, &k->plan,
                                       err);
}

NRT_STATUS case_open(struct rank *r, struct case_kit *k, const struct op_case *c, struct err *err)
{
    uint64_t slot = (uint64_t)case_block(c) * r->n;
    struct sched_request req;
    NRT_STATUS st;

    *k = (struct case_kit){.c = *c, .in = r->in};
    if ((sched_op_varies(c->op) && !table_make(k, r->n)) ||
        (c->op == SCHED_PERMUTE && !pairs_make(k, r->n)))
        return err_set(err, NRT_RESOURCE, "no memory for a case");
    req = (struct sched_request){.op = c->op,
                                 .alg = c->alg,
                                 .variant = c->variant,
                                 .intra = c->intra,
                                 .inter = c->inter,
                                 .group = r->group,
                                 .tensors = c->tensors,
                                 .counts = c->counts,
                                 .elem_size = (uint32_t)dtype_size(c->dtype),
                                 .in_place = c->in_place,
                                 .chunk_bytes = c->chunk_bytes,
                                 .in_elems = slot,
                                 .out_elems = slot,
                                 .pairs = k->pairs,
                                 .pair_count = k->pair_count};
    if (k->table) {
        req.send_count = k->table;
        req.send_displ = k->table + (size_t)r->n * r->n;
        req.recv_displ = k->table + 2 * (size_t)r->n * r->n;
    }
    if (c->tuned)
        coll_request_tune(r->comm, &req);
    st = sched_create(&req, &k->s, err);
    if (!st)
        st = c->alone ? alone_make(r, k, err)
                      : coll_plan_create(r->comm, k->s, c->dtype, c->reduce, &k->plan, err);
    if (!st)
        tensors_make(r, k);
    return st;
}

void case_close(struct case_kit *k)
{
    struct err ignored = {0};

    coll_plan_destroy(k->plan);
    if (k->own.size)
        (void)device_free(k->in, &k->own, &ignored);
    sched_destroy(k->s);
    free(k->table);
    free(k->pairs);
}

void case_fill(struct rank *r, struct case_kit *k, uint64_t salt)
{
    const struct tensors *ts = &k->ts;
    size_t size = dtype_size(k->c.dtype);

    for (uint32_t t = 0; t < k->c.tensors; t++) {
        if (!k->c.in_place)
            memset(ts->out[t], 0xa5, ts->out_len[t] * size);
        for (uint64_t i = 0; i < ts->in_len[t]; i++)
            dtype_store(k->c.dtype, ts->in[t] + i * size, value(salt, r->me, t, i));
    }
}

bool case_check(struct rank *r, const struct case_kit *k, uint64_t salt, struct err *err)
{
    const struct tensors *ts = &k->ts;
    size_t size = dtype_size(k->c.dtype);
    uint8_t untouched[8];

    memset(untouched, 0xa5, sizeof(untouched));
    for (uint32_t t = 0; t < k->c.tensors; t++)
        for (uint64_t i = 0; i < ts->out_len[t]; i++) {
            const uint8_t *at = ts->out[t] + i * size;
            float want = 0, have = dtype_load(k->c.dtype, at);
            bool written = expected(k, salt, r->n, r->me, t, i, &want);

            if (written ? have == want : k->c.in_place || memcmp(at, untouched, size) == 0)
                continue;
            (void)err_set(
                err, NRT_FAILURE, "%s by %s, %s, %s: tensor %u element %llu is %g, not %g",
                sched_op_name(k->c.op), sched_alg_name(k->c.alg), sched_variant_name(k->c.variant),
                dtype_name(k->c.dtype), t, (unsigned long long)i, (double)have, (double)want);
            return false;
        }
    return true;
}

NRT_STATUS case_run_once(struct rank *r, struct case_kit *k, uint64_t salt, struct err *err)
{
    NRT_STATUS st;

    case_fill(r, k, salt);
    st = coll_begin(k->plan, k->ts.in_addr, k->ts.out_addr, err);
    if (!st)
        st = coll_wait(r->comm, err);
    if (!st && !case_check(r, k, salt, err))
        st = NRT_FAILURE;
    return st;
}

NRT_STATUS case_run(struct rank *r, uint64_t salt, struct err *err)
{
    struct op_case c = case_draw(salt, r->n);
    struct case_kit k;
    NRT_STATUS st;
    bool can;

    *err = (struct err){0};
    st = case_open(r, &k, &c, err);
    can = st != NRT_FAILURE;
    for (unsigned i = 0; i < 3 && !st; i++)
        st = case_run_once(r, &k, salt + 1000 * i, err);
    case_close(&k);
    rank_memory_free(r);
    return can ? st : NRT_SUCCESS;
}
