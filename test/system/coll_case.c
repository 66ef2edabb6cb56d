/* SPDX-License-Identifier: Apache-2.0 */
#include "coll_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"

#define UNTOUCHED  0xa5
#define MAX_GROUPS 16u /* of a NEFF (docs/spec/neff.md) */

static uint64_t draw(uint64_t *state, uint64_t below)
{
    *state = draw_mix(*state + 1);
    return *state % below;
}

/* ---- drawing ---- */

static const enum dtype dtypes[] = {DT_FP32,  DT_BF16,   DT_FP16,   DT_INT32, DT_UINT32,
                                    DT_INT64, DT_UINT64, DT_UINT16, DT_INT16, DT_UINT8,
                                    DT_INT8,  DT_FP8_E3, DT_FP8_E4, DT_FP8_E5};

static void groups_draw(struct case_op *op, unsigned ranks, uint64_t *s)
{
    op->group_size = 1 + (unsigned)draw(s, ranks);
    op->groups = 1 + (unsigned)draw(s, ranks / op->group_size);
    for (unsigned i = 0; i < ranks; i++) { /* a random order: another order is another group */
        unsigned at = (unsigned)draw(s, i + 1);

        op->rank[i] = op->rank[at];
        op->rank[at] = i;
    }
}

static struct case_op op_draw(unsigned ranks, uint64_t *s)
{
    static const uint64_t counts[] = {1, 3, 7, 16, 63, 200, 1025, 5000, 40003};
    struct case_op op = {.kind = (enum case_kind)draw(s, CASE_KINDS),
                         .dtype = dtypes[draw(s, sizeof(dtypes) / sizeof(dtypes[0]))],
                         .reduce = (unsigned)draw(s, 3),
                         .stream = (unsigned)draw(s, 2),
                         .in_place = draw(s, 3) == 0,
                         .rows4 = draw(s, 2),
                         .chained = draw(s, 2)};

    groups_draw(&op, ranks, s);
    op.tensors = op.kind <= CASE_ALL_TO_ALL ? 1 + (unsigned)draw(s, CASE_TENSORS) : 1;
    for (unsigned t = 0; t < op.tensors; t++)
        op.count[t] = counts[draw(s, sizeof(counts) / sizeof(counts[0]))];
    /* two or three bits of mantissa hold no sum of more than four small values */
    if (op.dtype >= DT_FP8_E3 && op.dtype <= DT_FP8_E5 && op.group_size > 4)
        op.reduce = 2;
    return op;
}

struct coll_case case_draw(uint64_t seed, unsigned ranks)
{
    struct coll_case c = {.seed = seed, .ranks = ranks};
    uint64_t s = draw_mix(seed ^ ranks);
    unsigned room = MAX_GROUPS;

    c.ops = 1 + (unsigned)draw(&s, CASE_OPS);
    for (unsigned i = 0; i < c.ops; i++) {
        c.op[i] = op_draw(ranks, &s);
        room -= c.ops - 1 - i; /* each operation that follows has one at least */
        if (c.op[i].groups > room)
            c.op[i].groups = room;
        room += c.ops - 1 - i - c.op[i].groups;
    }
    return c;
}

/* ---- who and how much ---- */

static int place_of(const struct case_op *op, unsigned rank, unsigned *ret_group)
{
    for (unsigned i = 0; i < op->group_size * op->groups; i++)
        if (op->rank[i] == rank) {
            *ret_group = i / op->group_size;
            return (int)(i % op->group_size);
        }
    return -1;
}

static uint64_t in_elems(const struct case_op *op, unsigned t)
{
    switch (op->kind) {
    case CASE_REDUCE_SCATTER:
    case CASE_ALL_TO_ALL:
    case CASE_ALL_TO_ALL_V:
    case CASE_REDUCE_SCATTER_V:
        return op->count[t] * op->group_size;
    default:
        return op->count[t];
    }
}

static uint64_t out_elems(const struct case_op *op, unsigned t)
{
    switch (op->kind) {
    case CASE_ALL_GATHER:
    case CASE_ALL_TO_ALL:
    case CASE_ALL_GATHER_V:
    case CASE_ALL_TO_ALL_V:
        return op->count[t] * op->group_size;
    default:
        return op->count[t];
    }
}

static bool varies(const struct case_op *op)
{
    return op->kind == CASE_ALL_GATHER_V || op->kind == CASE_ALL_TO_ALL_V ||
           op->kind == CASE_REDUCE_SCATTER_V;
}

static bool one_variable(const struct case_op *op)
{
    return op->kind == CASE_ALL_REDUCE && op->in_place;
}

/* What member `from` of a variable-size form sends to member `to`, and where it stands at `from`
 * and lands at `to`: reversed slots where the receiver says so. */
static uint64_t v_count(const struct coll_case *c, unsigned k, unsigned from, unsigned to)
{
    const struct case_op *op = &c->op[k];

    if (op->kind == CASE_ALL_GATHER_V)
        to = 0;
    if (op->kind == CASE_REDUCE_SCATTER_V) /* terms of one sum are equally long */
        from = 0;
    return draw_mix(c->seed ^ draw_mix((uint64_t)k << 32 | from << 16 | to)) % (op->count[0] + 1);
}

static uint64_t v_displ(const struct coll_case *c, unsigned k, unsigned from, unsigned to)
{
    uint64_t slot = c->op[k].count[0], room = slot - v_count(c, k, from, to);

    switch (c->op[k].kind) {
    case CASE_ALL_GATHER_V:
        return room;
    case CASE_REDUCE_SCATTER_V: /* another place at every rank */
        return to * slot + room * from / c->op[k].group_size;
    default:
        return to * slot;
    }
}

static uint64_t v_target(const struct case_op *op, unsigned from)
{
    return (op->rows4 ? op->group_size - 1 - from : from) * op->count[0];
}

/* ---- the NEFF ---- */

static const char *const kind_names[CASE_KINDS] = {
    "all_gather", "reduce_scatter", "all_reduce",   "all_to_all",       "permute",
    "send",       "all_gather_v",   "all_to_all_v", "reduce_scatter_v", "barrier"};

static void op_declare(struct neff_build *b, const struct case_op *op, unsigned k)
{
    static const char *const reduces[] = {"add", "min", "max"};
    struct neff_build_coll_range in[CASE_TENSORS], out[CASE_TENSORS];
    struct neff_build_coll_group groups[CASE_RANKS];
    uint32_t pairs[CASE_RANKS][2];
    const char *dtype = dtype_name(op->dtype);
    unsigned es = (unsigned)dtype_size(op->dtype), n = op->group_size;
    bool paired = op->kind == CASE_PERMUTE || op->kind == CASE_SEND;
    struct neff_build_coll coll = {.op = kind_names[op->kind],
                                   .stream = op->stream,
                                   .groups = groups,
                                   .group_count = paired ? 0 : op->groups};
    char name[24];

    for (unsigned g = 0; g < op->groups; g++)
        groups[g] = (struct neff_build_coll_group){op->rank + g * n, n};
    for (unsigned t = 0; t < op->tensors && op->kind != CASE_BARRIER; t++) {
        uint64_t ni = in_elems(op, t), no = out_elems(op, t);

        snprintf(name, sizeof(name), "o%u_%u", k, t);
        out[t] = (struct neff_build_coll_range){neff_build_output(b, 0, name, dtype, 1, &no), 0,
                                                no * es};
        snprintf(name, sizeof(name), "i%u_%u", k, t);
        in[t] = one_variable(op) ? out[t]
                                 : (struct neff_build_coll_range){
                                       neff_build_input(b, 0, name, dtype, 1, &ni), 0, ni * es};
    }
    if (op->kind != CASE_BARRIER) {
        coll.dtype = dtype;
        coll.in = in;
        coll.out = out;
        coll.in_count = coll.out_count = op->tensors;
    }
    if (op->kind == CASE_ALL_REDUCE || op->kind == CASE_REDUCE_SCATTER ||
        op->kind == CASE_REDUCE_SCATTER_V)
        coll.reduce = reduces[op->reduce];
    if (varies(op)) {
        snprintf(name, sizeof(name), "m%u", k);
        coll.has_metadata = true;
        coll.metadata_var =
            neff_build_input(b, 0, name, "uint32", 2, (uint64_t[]){op->rows4 ? 4 : 3, n});
    }
    for (unsigned i = 0; paired && i < n; i++) { /* a cycle of the first group; send: a chain */
        pairs[i][0] = op->rank[i];
        pairs[i][1] = op->rank[(i + 1) % n];
    }
    coll.pairs = pairs;
    coll.pair_count = op->kind == CASE_PERMUTE ? n : op->kind == CASE_SEND && n > 1 ? n - 1 : 0;
    if (op->kind == CASE_SEND && n == 1)
        coll.pair_count = 1; /* to itself */
    if ((int)k != neff_build_collective(b, 0, &coll)) {
        fprintf(stderr, "coll_case: %s\n", neff_build_error(b));
        abort();
    }
}

/* Operations of stream 0 are started by SP, those of stream 1 by ACT. */
struct bytes case_neff(const struct coll_case *c)
{
    struct neff_build *b = neff_build_create("case");
    struct prog p[2];
    int started[2] = {0, 0};

    prog_init(&p[0], ISA_SP);
    prog_init(&p[1], ISA_ACT);
    for (unsigned k = 0; k < c->ops; k++) {
        unsigned s = c->op[k].stream;
        struct isa_record *r = prog_op(&p[s], ISA_OP_TRIGGER_COLLECTIVE);

        op_declare(b, &c->op[k], k);
        r->body.s.imm = (int32_t)k;
        r->body.s.first = (uint16_t)(1 + 10 + s);
        if (c->op[k].chained && started[s])
            prog_wait(&p[s], 10 + s, started[s]);
        started[s]++;
    }
    for (unsigned s = 0; s < 2; s++) {
        prog_op(&p[s], ISA_OP_NOP);
        prog_wait(&p[s], 10 + s, started[s]);
        prog_done(&p[s], b, 0);
    }
    return neff_finish(b, NULL);
}

/* ---- values ---- */

static float value(const struct coll_case *c, unsigned k, unsigned rank, unsigned t, uint64_t i)
{
    return (float)(draw_mix(c->seed ^ draw_mix((uint64_t)k << 56 | (uint64_t)rank << 48 |
                                               (uint64_t)t << 40 | i)) %
                   3);
}

/* Of element i of the block for `me`, which begins elsewhere at every rank in the variable form. */
static float reduced(const struct coll_case *c, unsigned k, const uint32_t *group, unsigned me,
                     unsigned t, uint64_t i)
{
    const struct case_op *op = &c->op[k];
    float acc = 0;

    for (unsigned r = 0; r < op->group_size; r++) {
        uint64_t at = op->kind == CASE_REDUCE_SCATTER_V ? v_displ(c, k, r, me) + i : i;
        float v = value(c, k, group[r], t, at);

        if (r == 0) {
            acc = v;
            continue;
        }

        acc = op->reduce == 0 ? acc + v : (op->reduce == 1) == (v < acc) ? v : acc;
    }
    return acc;
}

/* Element i of output t; false: whatever was there stays. */
static bool expected(const struct coll_case *c, unsigned k, const uint32_t *group, unsigned me,
                     unsigned t, uint64_t i, float *ret)
{
    const struct case_op *op = &c->op[k];
    uint64_t n = op->count[t], block = i / n, at = i % n;
    unsigned from;

    switch (op->kind) {
    case CASE_ALL_GATHER:
        *ret = value(c, k, group[block], t, at);
        return true;
    case CASE_REDUCE_SCATTER:
        *ret = reduced(c, k, group, me, t, me * n + i);
        return true;
    case CASE_ALL_REDUCE:
        *ret = reduced(c, k, group, me, t, i);
        return true;
    case CASE_ALL_TO_ALL:
        *ret = value(c, k, group[block], t, me * n + at);
        return true;
    case CASE_PERMUTE:
        *ret = value(c, k, group[(me + op->group_size - 1) % op->group_size], t, i);
        return true;
    case CASE_SEND:
        if (me == 0 && op->group_size > 1)
            return false;
        *ret = value(c, k, group[me ? me - 1 : 0], t, i);
        return true;
    case CASE_ALL_GATHER_V:
    case CASE_ALL_TO_ALL_V:
        from = op->rows4 ? op->group_size - 1 - (unsigned)block : (unsigned)block;
        if (at >= v_count(c, k, from, me))
            return false;
        *ret = value(c, k, group[from], t, v_displ(c, k, from, me) + at);
        return true;
    case CASE_REDUCE_SCATTER_V:
        if (i >= v_count(c, k, 0, me))
            return false;
        *ret = reduced(c, k, group, me, t, i);
        return true;
    default:
        return false;
    }
}

/* ---- running ---- */

static _Thread_local char said[256];

static const char *say(const struct coll_case *c, unsigned k, unsigned rank, const char *what)
{
    const struct case_op *op = &c->op[k];

    snprintf(said, sizeof(said),
             "seed %llu, %u ranks: operation %u (%s of %s, %u tensors of %llu..., group of %u, "
             "stream %u%s) at rank %u: %s",
             (unsigned long long)c->seed, c->ranks, k, kind_names[op->kind], dtype_name(op->dtype),
             op->tensors, (unsigned long long)op->count[0], op->group_size, op->stream,
             op->in_place ? ", in place" : "", rank, what);
    return said;
}

struct tensors {
    nrt_tensor_t *t[2 * CASE_OPS * CASE_TENSORS + CASE_OPS];
    unsigned n;
    nrt_tensor_set_t *in, *out;
};

static nrt_tensor_t *add(struct tensors *x, bool input, const char *name, int vnc, size_t size)
{
    nrt_tensor_t **t = &x->t[x->n];

    if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, vnc, size, name, t) != NRT_SUCCESS ||
        nrt_add_tensor_to_tensor_set(input ? x->in : x->out, name, *t) != NRT_SUCCESS)
        abort();
    x->n++;
    return *t;
}

static void fill(const struct coll_case *c, unsigned k, unsigned rank, unsigned t, nrt_tensor_t *to)
{
    const struct case_op *op = &c->op[k];
    size_t es = dtype_size(op->dtype);
    uint64_t n = in_elems(op, t);
    uint8_t *host = malloc(n * es);

    memset(host, 0, n * es);
    for (uint64_t i = 0; i < n; i++) {
        float v = value(c, k, rank, t, i);

        if (es == 8)
            *(uint64_t *)(void *)(host + 8 * i) = (uint64_t)v;
        else
            dtype_store(op->dtype, host + i * es, v);
    }
    if (nrt_tensor_write(to, host, 0, n * es) != NRT_SUCCESS)
        abort();
    free(host);
}

static void fill_counts(const struct coll_case *c, unsigned k, unsigned rank, nrt_tensor_t *to)
{
    const struct case_op *op = &c->op[k];
    unsigned n = op->group_size, group, rows = op->rows4 ? 4 : 3;
    int me = place_of(op, rank, &group);
    uint32_t table[4][CASE_RANKS], host[4 * CASE_RANKS] = {0};

    memset(table, 0xff, sizeof(table));
    for (unsigned i = 0; me >= 0 && i < n; i++) {
        table[0][i] = (uint32_t)v_count(c, k, (unsigned)me, i);
        table[1][i] = (uint32_t)v_displ(c, k, (unsigned)me, i);
        table[3][i] = (uint32_t)v_target(op, i);
    }
    for (unsigned r = 0; r < rows; r++)
        memcpy(host + r * n, table[r], n * sizeof(host[0]));
    if (nrt_tensor_write(to, host, 0, (size_t)rows * n * sizeof(host[0])) != NRT_SUCCESS)
        abort();
}

static const char *compare(const struct coll_case *c, unsigned k, unsigned rank, unsigned t,
                           nrt_tensor_t *from)
{
    const struct case_op *op = &c->op[k];
    size_t es = dtype_size(op->dtype);
    uint64_t n = out_elems(op, t), wrong = 0;
    unsigned group = 0;
    int me = place_of(op, rank, &group);
    const char *ret = NULL;
    uint8_t *host = malloc(n * es), want[8];

    if ((op->kind == CASE_PERMUTE || op->kind == CASE_SEND) && group != 0)
        me = -1;
    if (nrt_tensor_read(from, host, 0, n * es) != NRT_SUCCESS)
        abort();
    for (uint64_t i = 0; i < n && !ret; i++) {
        float v = 0;
        char text[96];

        memset(want, 0, sizeof(want));
        if (me < 0 || !expected(c, k, op->rank + group * op->group_size, (unsigned)me, t, i, &v)) {
            if (one_variable(op)) /* its input */
                v = value(c, k, rank, t, i);
            else
                memset(want, UNTOUCHED, sizeof(want));
        }
        if (want[0] != UNTOUCHED) {
            if (es == 8)
                *(uint64_t *)(void *)want = (uint64_t)v;
            else
                dtype_store(op->dtype, want, v);
        }
        if (memcmp(want, host + i * es, es) == 0)
            continue;
        wrong++;
        snprintf(text, sizeof(text), "output %u element %llu is wrong (%g expected)", t,
                 (unsigned long long)i, (double)v);
        ret = say(c, k, rank, text);
    }
    free(host);
    return ret;
}

static const char *compare_counts(const struct coll_case *c, unsigned k, unsigned rank,
                                  nrt_tensor_t *from)
{
    const struct case_op *op = &c->op[k];
    unsigned n = op->group_size, group;
    int me = place_of(op, rank, &group);
    uint32_t row[CASE_RANKS];

    if (nrt_tensor_read(from, row, 2 * n * sizeof(row[0]), n * sizeof(row[0])) != NRT_SUCCESS)
        abort();
    for (unsigned i = 0; i < n; i++)
        if (row[i] != (me < 0 ? UINT32_MAX : (uint32_t)v_count(c, k, i, (unsigned)me)))
            return say(c, k, rank, "a received count is wrong");
    return NULL;
}

const char *case_run(const struct coll_case *c, unsigned rank, int vnc, nrt_model_t *m,
                     unsigned times)
{
    struct tensors x = {.n = 0};
    nrt_tensor_t *in[CASE_OPS][CASE_TENSORS], *out[CASE_OPS][CASE_TENSORS], *meta[CASE_OPS];
    const char *ret = NULL;
    char name[24];

    if (nrt_allocate_tensor_set(&x.in) != NRT_SUCCESS ||
        nrt_allocate_tensor_set(&x.out) != NRT_SUCCESS)
        abort();
    for (unsigned k = 0; k < c->ops; k++)
        for (unsigned t = 0; c->op[k].kind != CASE_BARRIER && t < c->op[k].tensors; t++) {
            const struct case_op *op = &c->op[k];
            size_t es = dtype_size(op->dtype);

            snprintf(name, sizeof(name), "o%u_%u", k, t);
            out[k][t] = add(&x, false, name, vnc, out_elems(op, t) * es);
            snprintf(name, sizeof(name), "i%u_%u", k, t);
            in[k][t] =
                one_variable(op) ? out[k][t] : add(&x, true, name, vnc, in_elems(op, t) * es);
            snprintf(name, sizeof(name), "m%u", k);
            if (varies(op))
                meta[k] =
                    add(&x, true, name, vnc, (size_t)(op->rows4 ? 4 : 3) * op->group_size * 4);
        }
    for (unsigned i = 0; i < times && !ret; i++) {
        NRT_STATUS st;

        for (unsigned k = 0; k < c->ops; k++)
            for (unsigned t = 0; c->op[k].kind != CASE_BARRIER && t < c->op[k].tensors; t++) {
                if (nrt_tensor_memset(out[k][t], 0, UNTOUCHED, nrt_tensor_get_size(out[k][t])) !=
                    NRT_SUCCESS)
                    abort();
                fill(c, k, rank, t, in[k][t]);
                if (varies(&c->op[k]))
                    fill_counts(c, k, rank, meta[k]);
            }
        st = nrt_execute(m, x.in, x.out);
        if (st != NRT_SUCCESS) {
            snprintf(said, sizeof(said), "seed %llu, %u ranks: rank %u: nrt_execute gives %d",
                     (unsigned long long)c->seed, c->ranks, rank, (int)st);
            ret = said;
        }
        for (unsigned k = 0; k < c->ops && !ret; k++) {
            for (unsigned t = 0; c->op[k].kind != CASE_BARRIER && t < c->op[k].tensors && !ret; t++)
                ret = compare(c, k, rank, t, out[k][t]);
            if (!ret && varies(&c->op[k]))
                ret = compare_counts(c, k, rank, meta[k]);
        }
    }
    nrt_destroy_tensor_set(&x.in);
    nrt_destroy_tensor_set(&x.out);
    for (unsigned i = 0; i < x.n; i++)
        nrt_tensor_free(&x.t[i]);
    return ret;
}
