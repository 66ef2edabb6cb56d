/* SPDX-License-Identifier: Apache-2.0 */
#include "driven_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "draw.h"
#include "models.h"

/* ---- drawing ---- */

static void shuffle(uint32_t *list, unsigned n, uint64_t *state)
{
    for (unsigned i = 0; i < n; i++)
        list[i] = i;
    for (unsigned i = n; i > 1; i--) {
        unsigned k = (unsigned)(draw_next(state) % i);
        uint32_t t = list[i - 1];

        list[i - 1] = list[k];
        list[k] = t;
    }
}

struct driven_case driven_draw(uint64_t seed, unsigned ranks)
{
    static const nrt_op_type_t ops[] = {NRT_OP_ADD, NRT_OP_MAX, NRT_OP_MIN};
    static const uint64_t sizes[] = {0, 1, 2, 7, 64, 1000, 4099, 70000};
    struct driven_case c = {.seed = seed, .ranks = ranks};
    uint64_t s = seed;

    c.cc_op = (nrt_cc_op_type_t)(draw_next(&s) % 3);
    c.dtype = (enum dtype)(DT_UINT64 + draw_next(&s) % DT_FP8_E5);
    c.op = ops[draw_next(&s) % 3];
    c.elems = sizes[draw_next(&s) % 8];
    c.n = 1 + (unsigned)(draw_next(&s) % ranks);
    shuffle(c.group, ranks, &s);
    for (unsigned i = 0; i < ranks; i++)
        c.place[i] = (uint8_t)(draw_next(&s) % DRIVEN_PLACES);
    return c;
}

/* ---- values ---- */

/* What a rank gives: sums of eight ranks stay exact in the narrowest float. */
static float given(const struct driven_case *c, unsigned rank, uint64_t i)
{
    uint64_t s = c->seed * 31 + rank * UINT64_C(1000003) + i;
    bool sums = c->cc_op != NRT_CC_ALLGATHER && c->op == NRT_OP_ADD;

    return (float)(draw_next(&s) % (sums ? 2 : 8));
}

static uint64_t in_elems(const struct driven_case *c)
{
    return c->cc_op == NRT_CC_REDUCESCATTER ? c->elems * c->n : c->elems;
}

static uint64_t out_elems(const struct driven_case *c)
{
    return c->cc_op == NRT_CC_ALLGATHER ? c->elems * c->n : c->elems;
}

/* Element i of the output of this rank. */
static float wanted(const struct driven_run *r, uint64_t i)
{
    const struct driven_case *c = r->c;
    uint64_t at = c->cc_op == NRT_CC_REDUCESCATTER ? r->me * c->elems + i : i;
    float v;

    if (c->cc_op == NRT_CC_ALLGATHER)
        return given(c, r->group[i / c->elems], i % c->elems);
    v = given(c, r->group[0], at);
    for (unsigned k = 1; k < c->n; k++) {
        float w = given(c, r->group[k], at);

        v = c->op == NRT_OP_ADD ? v + w : (c->op == NRT_OP_MAX) == (w > v) ? w : v;
    }
    return v;
}

/* ---- tensors ---- */

static nrt_tensor_t *slice(nrt_tensor_t *t, uint64_t off, uint64_t size)
{
    nrt_tensor_t *s;

    assert_ok(nrt_tensor_allocate_slice(t, off, size, NULL, &s));
    return s;
}

static void fill(const struct driven_run *r)
{
    const struct driven_case *c = r->c;
    size_t elem = dtype_size(c->dtype);
    uint64_t part = in_elems(c) / r->ins;
    uint8_t *bytes = malloc(part * elem + 1);

    assert_non_null(bytes);
    for (unsigned k = 0; k < r->ins; k++) {
        for (uint64_t i = 0; i < part; i++)
            dtype_store(c->dtype, bytes + i * elem, given(c, r->rank, k * part + i));
        assert_ok(nrt_tensor_write(r->in[k], bytes, 0, part * elem));
    }
    free(bytes);
}

static void sides_overlapping(struct driven_run *r)
{
    const struct driven_case *c = r->c;
    uint64_t elem = dtype_size(c->dtype), in = in_elems(c), out = out_elems(c);
    uint64_t place = c->elems * r->me, a = 0, b = 0;

    if (c->place[r->rank] == DRIVEN_SHIFTED)
        b = 1;
    else if (c->cc_op == NRT_CC_ALLGATHER)
        a = place;
    else if (c->cc_op == NRT_CC_REDUCESCATTER)
        b = place;
    r->whole = device_tensor((int)r->vnc, (in + out + 1) * elem);
    r->in[r->ins++] = slice(r->whole, a * elem, in * elem);
    r->out[r->outs++] = slice(r->whole, b * elem, out * elem);
}

static void sides_apart(struct driven_run *r)
{
    const struct driven_case *c = r->c;
    uint64_t elem = dtype_size(c->dtype);
    bool lists = c->place[r->rank] == DRIVEN_LISTS;
    unsigned ins = lists && c->cc_op == NRT_CC_REDUCESCATTER ? c->n : 1;
    unsigned outs = lists && c->cc_op == NRT_CC_ALLGATHER ? c->n : 1;

    while (r->ins < ins)
        r->in[r->ins++] = device_tensor((int)r->vnc, in_elems(c) / ins * elem);
    while (r->outs < outs)
        r->out[r->outs++] = device_tensor((int)r->vnc, out_elems(c) / outs * elem);
}

void driven_make(struct driven_run *r, const struct driven_case *c, unsigned rank, unsigned vnc)
{
    unsigned at = 0;

    memset(r, 0, sizeof(*r));
    r->c = c;
    r->rank = rank;
    r->vnc = vnc;
    while (c->group[at] != rank)
        at++;
    r->idle = at / c->n >= c->ranks / c->n;
    if (r->idle)
        return;
    r->me = at % c->n;
    memcpy(r->group, c->group + at / c->n * c->n, c->n * sizeof(*r->group));
    if (c->place[rank] == DRIVEN_IN_PLACE || c->place[rank] == DRIVEN_SHIFTED)
        sides_overlapping(r);
    else
        sides_apart(r);
    fill(r);
}

void driven_free(struct driven_run *r)
{
    for (unsigned i = 0; i < r->ins; i++)
        nrt_tensor_free(&r->in[i]);
    for (unsigned i = 0; i < r->outs; i++)
        nrt_tensor_free(&r->out[i]);
    nrt_tensor_free(&r->whole);
}

/* ---- running ---- */

NRT_STATUS driven_prepare(const struct driven_run *r, nrt_cc_context_t **ret)
{
    uint32_t group[DRIVEN_RANKS];
    nrt_tensor_t *in[DRIVEN_RANKS], *out[DRIVEN_RANKS];
    nrt_cc_comm_t comm = {.replica_group = group,
                          .rank = r->me,
                          .rank_n = r->c->n,
                          .ctx_device_id = r->rank,
                          .ctx_device_count = r->c->ranks,
                          .vnc = r->vnc};
    nrt_tensor_list_t ins = {in, r->ins}, outs = {out, r->outs};

    /* lists that do not outlive the call */
    memcpy(group, r->group, sizeof(group));
    memcpy(in, r->in, sizeof(in));
    memcpy(out, r->out, sizeof(out));
    return nrta_cc_prepare(&comm, &ins, &outs, (nrt_dtype_t)r->c->dtype, r->c->op, r->c->cc_op,
                           ret);
}

void driven_schedule(struct driven_run *r, nrta_error_tracker_t *t)
{
    nrt_cc_context_t *ctx = NULL;

    if (r->idle)
        return;
    assert_ok(driven_prepare(r, &ctx));
    assert_ok(nrta_cc_schedule(&ctx, 0, t, &r->seq));
    assert_null(ctx);
}

/* The first element of a side that is not what it should be, or its length. */
static uint64_t differs(const struct driven_run *r, nrt_tensor_t *const *t, unsigned n,
                        uint64_t elems, bool out)
{
    size_t elem = dtype_size(r->c->dtype);
    uint64_t part = elems / n, at = elems;
    uint8_t *bytes = malloc(part * elem + 1);
    uint8_t want[8];

    assert_non_null(bytes);
    for (unsigned k = 0; k < n && at == elems; k++) {
        assert_ok(nrt_tensor_read(t[k], bytes, 0, part * elem));
        for (uint64_t i = 0; i < part && at == elems; i++) {
            uint64_t e = k * part + i;

            dtype_store(r->c->dtype, want, out ? wanted(r, e) : given(r->c, r->rank, e));
            if (memcmp(want, bytes + i * elem, elem) != 0)
                at = e;
        }
    }
    free(bytes);
    return at;
}

const char *driven_compare(const struct driven_run *r)
{
    static _Thread_local char text[160];
    const struct driven_case *c = r->c;
    uint64_t in, out;

    if (r->idle)
        return NULL;
    in = r->whole ? in_elems(c) : differs(r, r->in, r->ins, in_elems(c), false);
    out = differs(r, r->out, r->outs, out_elems(c), true);
    if (in == in_elems(c) && out == out_elems(c))
        return NULL;
    snprintf(text, sizeof(text),
             "seed %llu: rank %u of %u: operation %d of %llu %s: element %llu of its %s",
             (unsigned long long)c->seed, r->rank, c->ranks, (int)c->cc_op,
             (unsigned long long)c->elems, dtype_name(c->dtype),
             (unsigned long long)(out < out_elems(c) ? out : in),
             out < out_elems(c) ? "output is wrong" : "input has changed");
    return text;
}
