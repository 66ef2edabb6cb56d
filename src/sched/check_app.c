/* SPDX-License-Identifier: Apache-2.0 */
/* The application around the operations: it fills inputs, scribbles over outputs, and afterwards
 * compares every element with the definition of the operation (docs/spec/collectives.md 2). It acts
 * at the end of its own rank's streams and at no other moment, as a careless program would. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "check_int.h"
#include "topo/group.h"

uint64_t chk_tensor_elems(const struct chk *c, enum sched_buf buf, uint32_t tensor)
{
    const struct sched_request *req = c->req;

    if (sched_op_varies(req->op))
        return buf == SCHED_IN ? req->in_elems : req->out_elems;
    if ((req->op == SCHED_ALL_GATHER && buf == SCHED_OUT) ||
        (req->op == SCHED_REDUCE_SCATTER && buf == SCHED_IN))
        return req->counts[tensor] * c->ranks;
    return req->counts[tensor];
}

struct chk_mem *chk_tensor_mem(struct chk *c, enum sched_buf buf, uint32_t rank, uint32_t tensor,
                               uint64_t *off)
{
    struct chk_mem *both = &c->tensor[((size_t)rank * c->req->tensors + tensor) * 2];

    if (!c->req->in_place)
        return &both[buf == SCHED_OUT];
    if ((c->req->op == SCHED_ALL_GATHER && buf == SCHED_IN) ||
        (c->req->op == SCHED_REDUCE_SCATTER && buf == SCHED_OUT))
        *off += c->req->counts[tensor] * rank;
    return &both[1];
}

/* Where the block of source s lies in the output of rank d; in a reduction all lie on each other.
 */
static uint64_t landing(const struct sched_request *req, uint32_t ranks, uint32_t s, uint32_t d)
{
    if (req->op == SCHED_REDUCE_SCATTER_V)
        return 0;
    return req->recv_displ ? req->recv_displ[(size_t)d * ranks + s] : req->out_elems / ranks * s;
}

static NRT_STATUS tables_check(const struct sched_request *req, uint32_t ranks, struct err *err)
{
    uint32_t columns = req->op == SCHED_ALL_GATHER_V ? 1 : ranks;

    if (!req->send_count || !req->send_displ || req->tensors != 1)
        return err_set(err, NRT_INVALID, "%s: one tensor, send_count and send_displ are needed",
                       sched_op_name(req->op));
    for (uint32_t s = 0; s < ranks; s++)
        for (uint32_t d = 0; d < ranks; d++) {
            size_t from = (size_t)s * ranks + (columns == 1 ? 0 : d);
            uint64_t count = req->send_count[from];
            uint64_t at = landing(req, ranks, s, d);

            if (!range_ok(req->send_displ[from], count, req->in_elems) ||
                !range_ok(at, count, req->out_elems))
                return err_set(err, NRT_INVALID,
                               "%s: what rank %u sends to rank %u leaves a tensor",
                               sched_op_name(req->op), s, d);
        }
    return NRT_SUCCESS;
}

NRT_STATUS chk_request_check(const struct sched_request *req, uint32_t ranks, struct err *err)
{
    if ((unsigned)req->op >= SCHED_OP_COUNT)
        return err_set(err, NRT_INVALID, "unknown operation %u", (unsigned)req->op);
    if (req->tensors > SCHED_TENSORS_MAX || req->elem_size == 0 ||
        (req->tensors == 0) != (req->op == SCHED_BARRIER))
        return err_set(err, NRT_INVALID, "%s: %u tensors of %u-byte elements",
                       sched_op_name(req->op), req->tensors, req->elem_size);
    if (sched_op_varies(req->op))
        return tables_check(req, ranks, err);
    for (uint32_t t = 0; t < req->tensors; t++) {
        uint64_t bytes;

        if (!req->counts || u64_mul_over(req->counts[t], (uint64_t)ranks * req->elem_size, &bytes))
            return err_set(err, NRT_INVALID, "tensor %u: no count, or one too large", t);
        if (req->op == SCHED_ALL_TO_ALL && req->counts[t] % ranks)
            return err_set(err, NRT_INVALID, "tensor %u: %llu elements are no multiple of %u ranks",
                           t, (unsigned long long)req->counts[t], ranks);
    }
    for (uint32_t i = 0; req->op == SCHED_PERMUTE && i < req->pair_count; i++)
        if (!req->pairs || req->pairs[i].source >= ranks || req->pairs[i].target >= ranks)
            return err_set(err, NRT_INVALID, "pair %u names a rank outside the group", i);
    return NRT_SUCCESS;
}

/* ---- before ---- */

/* What the application put at a place of a buffer, and up to where that run goes. */
struct initial {
    enum chk_leaf leaf;
    uint64_t off, end;
};

/* Out of place pos counts in buf; in place in the memory that both share. */
static struct initial initial_at(const struct chk *c, enum sched_buf buf, uint32_t rank,
                                 uint32_t tensor, uint64_t pos)
{
    uint64_t in = chk_tensor_elems(c, SCHED_IN, tensor);
    uint64_t from = c->req->op == SCHED_ALL_GATHER ? in * rank : 0;

    if (!c->req->in_place)
        return (struct initial){buf == SCHED_IN ? CHK_INPUT : CHK_STALE, pos, UINT64_MAX};
    if (pos < from)
        return (struct initial){CHK_STALE, pos, from};
    if (pos < from + in)
        return (struct initial){CHK_INPUT, pos - from, from + in};
    return (struct initial){CHK_STALE, pos, UINT64_MAX};
}

static bool fill_one(struct chk *c, const struct chk_seq *s, enum sched_buf buf, uint32_t tensor,
                     uint32_t operation)
{
    uint64_t off = 0, pos = 0;
    struct chk_mem *m =
        &c->tensor[((size_t)s->rank * c->req->tensors + tensor) * 2 + (buf == SCHED_OUT)];
    struct chk_who who = chk_who_is(c, s);
    struct chk_found found;
    enum chk_clash clash;

    c->made.count = 0;
    while (pos < m->elems) {
        struct initial w = initial_at(c, buf, s->rank, tensor, pos);
        uint64_t end = w.end < m->elems ? w.end : m->elems;
        uint32_t value = chk_value_leaf(&c->values, w.leaf, operation, s->rank, tensor);

        if (value == CHK_NOTHING || !chk_runs_add(&c->made, end - pos, value, w.off))
            return chk_no_memory(c);
        pos = end;
    }
    clash = chk_mem_write(m, off, m->elems, &who, (struct chk_access){s->id, s->epoch}, &c->made,
                          &found);
    return chk_clash_report(c, s, clash, (struct chk_spot){buf, s->rank, tensor, 0}, 0, &found);
}

bool chk_app_fill(struct chk *c, uint32_t rank, uint32_t operation)
{
    const struct chk_seq *s = &c->seq[(size_t)rank * c->channels];

    for (uint32_t t = 0; t < c->req->tensors; t++)
        if ((!c->req->in_place && !fill_one(c, s, SCHED_IN, t, operation)) ||
            !fill_one(c, s, SCHED_OUT, t, operation))
            return false;
    return true;
}

/* ---- after ---- */

enum want_kind { WANT_KEPT, WANT_COPY, WANT_SUM };

struct want { /* what a range of a buffer shall hold */
    uint64_t begin, len;
    enum want_kind kind;
    uint32_t rank; /* WANT_COPY: of the input */
    uint64_t off;  /* of the input */
};

struct wants {
    struct want *want;
    size_t count, cap;
};

static bool want_add(struct wants *w, uint64_t begin, uint64_t len, enum want_kind kind,
                     uint32_t rank, uint64_t off)
{
    if (len == 0)
        return true;
    if (!mem_grow((void **)&w->want, &w->cap, w->count + 1, sizeof(*w->want)))
        return false;
    w->want[w->count++] = (struct want){begin, len, kind, rank, off};
    return true;
}

/* What source s sends to rank r in a variable form. */
static bool want_variable(struct wants *w, const struct sched_request *req, uint32_t ranks,
                          uint32_t s, uint32_t r)
{
    size_t i = (size_t)s * ranks + (req->op == SCHED_ALL_GATHER_V ? 0 : r);

    return want_add(w, landing(req, ranks, s, r), req->send_count[i], WANT_COPY, s,
                    req->send_displ[i]);
}

static bool want_permuted(struct wants *w, const struct sched_request *req, uint32_t r,
                          uint64_t elems)
{
    for (uint32_t i = 0; i < req->pair_count; i++)
        if (req->pairs[i].target == r)
            return want_add(w, 0, elems, WANT_COPY, req->pairs[i].source, 0);
    return true;
}

/* The definition of the operation: what the output of rank r holds where it is written. */
static bool wants_define(struct wants *w, const struct chk *c, uint32_t r, uint32_t tensor)
{
    const struct sched_request *req = c->req;
    uint32_t n = c->ranks;
    uint64_t out = chk_tensor_elems(c, SCHED_OUT, tensor);
    bool ok = true;

    switch (req->op) {
    case SCHED_ALL_GATHER:
        for (uint32_t j = 0; j < n && ok; j++)
            ok = want_add(w, out / n * j, out / n, WANT_COPY, j, 0);
        return ok;
    case SCHED_REDUCE_SCATTER:
        return want_add(w, 0, out, WANT_SUM, 0, out * r);
    case SCHED_ALL_REDUCE:
        return want_add(w, 0, out, WANT_SUM, 0, 0);
    case SCHED_ALL_TO_ALL:
        for (uint32_t j = 0; j < n && ok; j++)
            ok = want_add(w, out / n * j, out / n, WANT_COPY, j, out / n * r);
        return ok;
    case SCHED_PERMUTE:
        return want_permuted(w, req, r, out);
    case SCHED_SENDRECV:
        return want_add(w, 0, out, WANT_COPY, (r + n - 1) % n, 0);
    case SCHED_ALL_GATHER_V:
    case SCHED_ALL_TO_ALL_V:
        for (uint32_t j = 0; j < n && ok; j++)
            ok = want_variable(w, req, n, j, r);
        return ok;
    case SCHED_REDUCE_SCATTER_V: /* every rank: its own block for r, of the same length */
        return want_add(w, 0, req->send_count[r], WANT_SUM, 0, 0);
    case SCHED_BARRIER:
    case SCHED_OP_COUNT:
        break;
    }
    return true;
}

static int want_compare(const void *a, const void *b)
{
    const struct want *x = a, *y = b;

    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Sort, and say of the gaps up to elems that they are kept. Where two wants overlap the request has
 * no meaning; the later one is then found wrong. */
static bool wants_complete(struct wants *w, uint64_t elems)
{
    size_t n = w->count;
    uint64_t at = 0;
    bool ok = true;

    if (n)
        qsort(w->want, n, sizeof(*w->want), want_compare);
    for (size_t i = 0; i < n && ok; i++) {
        uint64_t begin = w->want[i].begin, end = begin + w->want[i].len;

        if (begin > at)
            ok = want_add(w, at, begin - at, WANT_KEPT, 0, 0);
        if (end > at)
            at = end;
    }
    if (ok && at < elems)
        ok = want_add(w, at, elems - at, WANT_KEPT, 0, 0);
    if (ok && w->count)
        qsort(w->want, w->count, sizeof(*w->want), want_compare);
    return ok;
}

struct look { /* one range of a buffer being compared */
    struct chk *c;
    const struct chk_seq *s;
    enum sched_buf buf;
    uint32_t tensor, operation;
    uint64_t base;  /* of the range in memory; in place KEPT counts from there */
    uint64_t first; /* place of the range in the buffer, for messages */
    enum sched_flaw kept_flaw;
};

static bool look_wrong(const struct look *l, enum sched_flaw flaw, uint64_t pos,
                       const struct chk_run *have, const char *should)
{
    char is[160];
    struct chk_spot spot = {l->buf, l->s->rank, l->tensor, l->first + pos};

    chk_value_text(&l->c->values, have->value, have->off, is, sizeof(is));
    return chk_fail(l->c, l->s, flaw, &spot, "holds %s instead of %s", is, should);
}

static bool look_sum(const struct look *l, uint64_t pos, const struct chk_run *have, uint64_t off,
                     uint64_t *len)
{
    struct chk *c = l->c;
    char text[160] = "", should[200];
    size_t n = (size_t)l->operation * c->req->tensors + l->tensor;
    struct chk_sum sum = {c->ranks, l->operation, l->tensor, off, NULL, c->ranks};
    struct chk_same *same;

    if (c->req->op == SCHED_REDUCE_SCATTER_V)
        sum.starts = c->req->send_displ + l->s->rank;
    snprintf(should, sizeof(should), "the reduction of element %llu of all ranks%s",
             (unsigned long long)off, sum.starts ? "' blocks" : "");
    if (!sum.starts && have->off != off)
        return look_wrong(l, SCHED_FLAW_RESULT, pos, have, should);
    if (!chk_value_complete(&c->values, have->value, have->off, &sum, text, sizeof(text))) {
        struct chk_spot spot = {l->buf, l->s->rank, l->tensor, l->first + pos};

        if (!text[0])
            return chk_no_memory(c);
        return chk_fail(c, l->s, SCHED_FLAW_RESULT, &spot, "holds %s instead of %s", text, should);
    }
    if (c->req->op != SCHED_ALL_REDUCE)
        return true;
    if (c->done[l->operation] == 0) { /* the first rank sets the standard */
        if (!mem_grow((void **)&c->standard[n].range, &c->standard[n].cap, c->standard[n].count + 1,
                      sizeof(*c->standard[n].range)))
            return chk_no_memory(c);
        c->standard[n].range[c->standard[n].count++] =
            (struct chk_same){pos, pos + *len, have->value};
        return true;
    }
    same = c->standard[n].range;
    while (same->end <= pos)
        same++;
    if (same->value != have->value) {
        struct chk_spot spot = {l->buf, l->s->rank, l->tensor, l->first + pos};

        return chk_fail(c, l->s, SCHED_FLAW_RESULT, &spot,
                        "is added up in another order than at the rank that finished first");
    }
    if (*len > same->end - pos)
        *len = same->end - pos;
    return true;
}

/* Compare the elements from pos on, at most *len of one run and one want; *len: how many it was. */
static bool look_at(const struct look *l, const struct want *w, uint64_t pos,
                    const struct chk_run *have, uint64_t *len)
{
    struct chk *c = l->c;
    uint32_t rank = w->rank;
    enum chk_leaf leaf = CHK_INPUT;
    uint64_t off = w->off + (pos - w->begin);
    char should[160];
    uint32_t value;

    if (w->kind == WANT_SUM)
        return look_sum(l, pos, have, off, len);
    if (w->kind == WANT_KEPT) {
        struct initial kept = initial_at(c, l->buf, l->s->rank, l->tensor, l->base + pos);

        if (kept.end - (l->base + pos) < *len)
            *len = kept.end - (l->base + pos);
        rank = l->s->rank;
        leaf = kept.leaf;
        off = kept.off;
    }
    value = chk_value_leaf(&c->values, leaf, l->operation, rank, l->tensor);
    if (value == CHK_NOTHING)
        return chk_no_memory(c);
    if (have->value == value && have->off == off)
        return true;
    chk_value_text(&c->values, value, off, should, sizeof(should));
    return look_wrong(l, w->kind == WANT_KEPT ? l->kept_flaw : SCHED_FLAW_RESULT, pos, have,
                      should);
}

/* Read len elements of m from l->base on and compare them with the wants, which cover them. */
static bool look_over(struct look *l, struct chk_mem *m, uint64_t len, const struct wants *w)
{
    struct chk *c = l->c;
    struct chk_who who = chk_who_is(c, l->s);
    struct chk_runs *runs = &c->made;
    struct chk_found found;
    enum chk_clash clash;
    uint64_t pos = 0, used = 0;
    size_t run = 0, want = 0;

    clash = chk_mem_read(m, l->base, len, &who, (struct chk_access){l->s->id, l->s->epoch}, runs,
                         &found);
    if (!chk_clash_report(c, l->s, clash,
                          (struct chk_spot){l->buf, l->s->rank, l->tensor, l->first}, l->base,
                          &found))
        return false;
    while (pos < len) {
        struct chk_run have = {runs->run[run].len - used, runs->run[run].off + used,
                               runs->run[run].value};
        const struct want *x = &w->want[want];
        uint64_t n = x->begin + x->len - pos;

        if (n > have.len)
            n = have.len;
        if (!look_at(l, x, pos, &have, &n))
            return false;
        pos += n;
        used += n;
        if (used == runs->run[run].len) {
            run++;
            used = 0;
        }
        while (want < w->count && w->want[want].begin + w->want[want].len <= pos)
            want++;
    }
    return true;
}

/* A range that must be as it was. */
static bool look_kept(struct look *l, struct chk_mem *m, uint64_t begin, uint64_t end)
{
    struct want kept = {0, end - begin, WANT_KEPT, 0, 0};
    struct wants w = {&kept, 1, 1};

    l->base = l->first = begin;
    return begin >= end || look_over(l, m, end - begin, &w);
}

static bool look_tensor(struct chk *c, const struct chk_seq *s, uint32_t tensor, uint32_t operation)
{
    uint64_t out = chk_tensor_elems(c, SCHED_OUT, tensor), base = 0, in_base = 0;
    struct chk_mem *m = chk_tensor_mem(c, SCHED_OUT, s->rank, tensor, &base);
    struct look l = {c, s, SCHED_OUT, tensor, operation, base, 0, SCHED_FLAW_OUTSIDE};
    struct wants w = {0};
    bool ok;

    if (!wants_define(&w, c, s->rank, tensor) || !wants_complete(&w, out)) {
        mem_free(w.want);
        return chk_no_memory(c);
    }
    ok = out == 0 || look_over(&l, m, out, &w);
    mem_free(w.want);
    l.buf = SCHED_IN;
    l.kept_flaw = SCHED_FLAW_INPUT;
    if (!c->req->in_place) {
        m = chk_tensor_mem(c, SCHED_IN, s->rank, tensor, &in_base);
        return ok && look_kept(&l, m, 0, m->elems);
    }
    return ok && look_kept(&l, m, 0, base) && look_kept(&l, m, base + out, m->elems);
}

bool chk_app_look(struct chk *c, uint32_t rank, uint32_t operation)
{
    const struct chk_seq *s = &c->seq[(size_t)rank * c->channels];

    for (uint32_t t = 0; t < c->req->tensors; t++)
        if (!look_tensor(c, s, t, operation))
            return false;
    for (uint32_t r = 0; c->req->op == SCHED_BARRIER && r < c->ranks; r++)
        if (r != rank && chk_clock_get(s->clock, r * c->channels) < c->rank[r].entered[operation])
            return chk_fail(c, s, SCHED_FLAW_BARRIER, NULL, "may leave before rank %u has entered",
                            r);
    return true;
}
