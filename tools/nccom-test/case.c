/* SPDX-License-Identifier: Apache-2.0 */
/* From a size to elements. A size that does not fit is rounded up, except for alltoall, which says
 * so; counts of the variable-size forms are ratios, scaled to the size and rounded up to eight
 * elements, as the published sample shows. */
#include "case.h"

#include <string.h>

#include "base/checked.h"
#include "base/mem.h"

#define ROUND 8u /* elements to which a scaled count is rounded up */

double cc_bus_factor(enum cc_op op, uint32_t n)
{
    double r = n;

    switch (op) {
    case CC_ALL_REDUCE:
        return 2 * (r - 1) / r;
    case CC_SENDRECV:
    case CC_PERMUTE:
        return 1;
    default:
        return (r - 1) / r;
    }
}

bool cc_rank_place(const struct cc_grouping *g, uint32_t rank, uint32_t *ret_group,
                   uint32_t *ret_position)
{
    for (uint32_t i = 0; i < g->groups * g->size; i++)
        if (g->ranks[i] == rank) {
            *ret_group = i / g->size;
            *ret_position = i % g->size;
            return true;
        }
    return false;
}

static uint64_t bytes_of(const struct cc_case *c, const uint64_t *elems)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < c->parts; i++)
        sum += elems[i];
    return sum * dtype_size(c->dtype);
}

uint64_t cc_case_in_bytes(const struct cc_case *c)
{
    return bytes_of(c, c->in);
}

uint64_t cc_case_out_bytes(const struct cc_case *c)
{
    return bytes_of(c, c->out);
}

/* ---- operations with one count ---- */

/* elems: of the smaller side (all_gather, reduce_scatter) or of both. Coalesced: the ratio splits
 * it at floor(elems * sum(first i) / sum(all)). */
static void parts_make(struct cc_case *c, const struct cc_stream *s, uint64_t elems)
{
    uint64_t total = 0, upto = 0, from = 0;

    c->parts = s->parts > 0 ? s->parts : 1;
    for (unsigned i = 0; i < s->parts; i++)
        total += s->ratio[i];
    for (unsigned i = 0; i < c->parts; i++) {
        uint64_t to = elems;

        if (s->parts > 0) { /* elems * upto / total, without a product of 128 bits */
            upto += s->ratio[i];
            to = elems / total * upto + elems % total * upto / total;
        }
        c->in[i] = c->out[i] = to - from;
        from = to;
        if (c->op == CC_ALL_GATHER)
            c->out[i] *= c->n;
        else if (c->op == CC_REDUCE_SCATTER)
            c->in[i] *= c->n;
    }
}

/* alltoall: each tensor is a multiple of the group. */
static NRT_STATUS all_to_all_make(struct cc_case *c, const struct cc_stream *s, uint64_t size,
                                  struct err *err)
{
    uint64_t each = dtype_size(c->dtype), unit = c->n * each;

    if (size % unit != 0)
        return err_set(err, NRT_INVALID,
                       "alltoall: %llu bytes are not a multiple of %u ranks of %llu bytes (%s)",
                       (unsigned long long)size, c->n, (unsigned long long)each, s->dtype_name);
    parts_make(c, s, size / unit); /* split block by block */
    for (unsigned i = 0; i < c->parts; i++)
        c->in[i] = c->out[i] = c->in[i] * c->n;
    c->bytes = size;
    return NRT_SUCCESS;
}

static NRT_STATUS fixed_make(struct cc_case *c, const struct cc_stream *s, uint64_t size,
                             struct err *err)
{
    uint64_t unit = dtype_size(c->dtype), elems;

    if (c->op == CC_ALL_TO_ALL)
        return all_to_all_make(c, s, size, err);
    if (c->op == CC_ALL_GATHER || c->op == CC_REDUCE_SCATTER)
        unit *= c->n;
    elems = size / unit + (size % unit != 0);
    if (u64_mul_over(elems, unit, &c->bytes))
        return err_set(err, NRT_INVALID, "%llu bytes are too many", (unsigned long long)size);
    parts_make(c, s, elems);
    return s->sb2sb ? cc_tiles_make(&c->tiles, s, c->in[0], c->out[0], c->n, err) : NRT_SUCCESS;
}

/* ---- operations with tables ---- */

/* x * elems / total, rounded up to ROUND; false: beyond 32 bits. */
static bool scaled(uint64_t x, uint64_t elems, uint64_t total, uint64_t *ret)
{
    uint64_t v;

    /* x <= total for a count, displacements may be larger: x < 2^31, elems < 2^32 */
    if (elems > UINT32_MAX || u64_mul_over(x, elems, &v))
        return false;
    v = v / total + (v % total != 0);
    *ret = (v + ROUND - 1) / ROUND * ROUND;
    return *ret <= INT32_MAX;
}

struct segment {
    uint32_t index;
    uint64_t displ, count;
};

static void segments_sort(struct segment *s, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) { /* lists are short, and mostly in order */
        struct segment x = s[i];
        uint32_t k = i;

        for (; k > 0 && s[k - 1].displ > x.displ; k--)
            s[k] = s[k - 1];
        s[k] = x;
    }
}

/* Scale counts and displacements of one list: what lay one behind the other still does, and a gap
 * is scaled like a count; what overlapped keeps its own scaled start. */
static NRT_STATUS list_scale(const uint32_t *count, const uint32_t *displ, uint32_t n,
                             uint64_t elems, uint64_t total, uint32_t *to_count, uint32_t *to_displ,
                             struct err *err)
{
    struct segment *s = mem_calloc(n, sizeof(*s));
    uint64_t end = 0, new_end = 0, v = 0, start = 0;
    bool ok = true;

    if (s == NULL)
        return err_set(err, NRT_RESOURCE, "out of host memory");
    for (uint32_t i = 0; i < n; i++)
        s[i] = (struct segment){i, displ[i], count[i]};
    segments_sort(s, n);
    for (uint32_t i = 0; i < n && ok; i++) {
        ok = scaled(s[i].count, elems, total, &v);
        if (ok && s[i].displ >= end) {
            ok = scaled(s[i].displ - end, elems, total, &start);
            start += new_end;
        } else if (ok) {
            ok = scaled(s[i].displ, elems, total, &start);
        }
        ok = ok && start + v <= INT32_MAX;
        if (!ok)
            break;
        to_count[s[i].index] = (uint32_t)v;
        to_displ[s[i].index] = (uint32_t)start;
        if (s[i].displ + s[i].count > end)
            end = s[i].displ + s[i].count;
        if (start + v > new_end)
            new_end = start + v;
    }
    mem_free(s);
    return ok ? NRT_SUCCESS : err_set(err, NRT_INVALID, "counts beyond 2^31 elements");
}

static const struct cc_counts_entry *entry_of(const struct cc_metadata *m, uint32_t rank)
{
    return &m->entry[m->count == 1 ? 0 : rank];
}

/* Lengths: one entry, or one for each rank; all_gatherv sends one block. */
static NRT_STATUS metadata_fits(const struct cc_case *c, const struct cc_metadata *m,
                                struct err *err)
{
    uint32_t sends = c->op == CC_ALL_GATHER_V ? 1 : c->n;

    if (m->count != 1 && m->count != c->ranks)
        return err_set(err, NRT_INVALID, "metadata: %u entries, not 1 or %u", m->count, c->ranks);
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->entry[i].sends != sends)
            return err_set(err, NRT_INVALID, "metadata: entry %u: %u send_counts, not %u", i,
                           m->entry[i].sends, sends);
        if (m->entry[i].receives != 0 && m->entry[i].receives != c->n)
            return err_set(err, NRT_INVALID, "metadata: entry %u: %u recv_counts, not %u", i,
                           m->entry[i].receives, c->n);
    }
    return NRT_SUCCESS;
}

/* What receivers say must be what senders send: rank at position p of each group, from s. */
static NRT_STATUS receives_match(const struct cc_case *c, const struct cc_metadata *m,
                                 const struct cc_grouping *g, struct err *err)
{
    for (uint32_t i = 0; i < g->groups * g->size; i++) {
        const struct cc_counts_entry *e = entry_of(m, g->ranks[i]);
        const uint32_t *group = &g->ranks[i / g->size * g->size];
        uint32_t column = c->op == CC_ALL_GATHER_V ? 0 : i % g->size;

        for (uint32_t s = 0; e->receives != 0 && s < g->size; s++) {
            uint32_t sent = entry_of(m, group[s])->send_count[column];

            if (e->recv_count[s] != sent)
                return err_set(err, NRT_INVALID,
                               "metadata: rank %u receives %u from rank %u, which sends %u",
                               g->ranks[i], e->recv_count[s], group[s], sent);
        }
    }
    return NRT_SUCCESS;
}

/* The whole that counts are parts of: all_gatherv what a group gathers, alltoallv what the busiest
 * rank sends. */
static uint64_t counts_total(const struct cc_case *c, const struct cc_metadata *m,
                             const struct cc_grouping *g)
{
    uint64_t most = 0;

    for (uint32_t k = 0; k < g->groups; k++) {
        uint64_t group = 0;

        for (uint32_t p = 0; p < g->size; p++) {
            const struct cc_counts_entry *e = entry_of(m, g->ranks[k * g->size + p]);
            uint64_t sum = 0;

            for (uint32_t d = 0; d < e->sends; d++)
                sum += e->send_count[d];
            group = c->op == CC_ALL_GATHER_V ? group + sum : sum > group ? sum : group;
        }
        most = group > most ? group : most;
    }
    return most;
}

/* The senders' rows of one rank. Without metadata: equal blocks, one behind the other. */
static NRT_STATUS send_rows(struct cc_case *c, const struct cc_metadata *m, uint32_t rank,
                            uint64_t elems, uint64_t total, struct err *err)
{
    uint32_t *count = c->tables.send_count + (size_t)rank * c->n;
    uint32_t *displ = c->tables.send_displ + (size_t)rank * c->n;
    uint64_t block;

    if (m != NULL && m->count > 0) {
        const struct cc_counts_entry *e = entry_of(m, rank);

        return list_scale(e->send_count, e->send_displ, e->sends, elems, total, count, displ, err);
    }
    if (!scaled(1, elems, c->n, &block) || block * c->n > INT32_MAX)
        return err_set(err, NRT_INVALID, "counts beyond 2^31 elements");
    for (uint32_t d = 0; d < c->n; d++) {
        count[d] = (uint32_t)block;
        displ[d] = c->op == CC_ALL_TO_ALL_V ? (uint32_t)block * d : 0;
    }
    return NRT_SUCCESS;
}

/* Where blocks land: as the receivers say, else block s at s times the largest. */
static NRT_STATUS receive_rows(struct cc_case *c, const struct cc_metadata *m,
                               const struct cc_grouping *g, uint64_t elems, uint64_t total,
                               struct err *err)
{
    struct cc_tables *t = &c->tables;
    uint64_t most = 0, out = 0;
    NRT_STATUS st = NRT_SUCCESS;

    for (uint32_t i = 0; i < g->groups * g->size; i++)
        for (uint32_t s = 0; s < g->size; s++) {
            uint32_t column = c->op == CC_ALL_GATHER_V ? 0 : i % g->size;
            uint32_t from = g->ranks[i / g->size * g->size + s];
            uint32_t n = t->send_count[(size_t)from * c->n + column];

            t->recv_count[(size_t)g->ranks[i] * c->n + s] = n;
            most = n > most ? n : most;
        }
    if (u64_mul_over(most, c->n, &out) || out > INT32_MAX)
        return err_set(err, NRT_INVALID, "counts beyond 2^31 elements");
    for (uint32_t i = 0; i < g->groups * g->size && st == NRT_SUCCESS; i++) {
        size_t row = (size_t)g->ranks[i] * c->n;
        const struct cc_counts_entry *e =
            m != NULL && m->count > 0 ? entry_of(m, g->ranks[i]) : NULL;

        for (uint32_t s = 0; s < c->n; s++)
            t->recv_displ[row + s] = (uint32_t)(most * s);
        if (e == NULL || e->receives == 0)
            continue;
        st = list_scale(e->recv_count, e->recv_displ, c->n, elems, total, t->recv_count + row,
                        t->recv_displ + row, err);
        for (uint32_t s = 0; s < c->n && st == NRT_SUCCESS; s++) {
            t->has_recv_displ |= t->recv_displ[row + s] != most * s;
            if (t->recv_displ[row + s] + t->recv_count[row + s] > out)
                out = t->recv_displ[row + s] + t->recv_count[row + s];
        }
    }
    /* without row 3 source s lands at s * (out / n) */
    c->out[0] = t->has_recv_displ ? out : most * c->n;
    return st;
}

static NRT_STATUS tables_alloc(struct cc_case *c, struct err *err)
{
    struct cc_tables *t = &c->tables;
    size_t n = (size_t)c->ranks * c->n;

    t->send_count = mem_calloc(n, sizeof(uint32_t));
    t->send_displ = mem_calloc(n, sizeof(uint32_t));
    t->recv_count = mem_calloc(n, sizeof(uint32_t));
    t->recv_displ = mem_calloc(n, sizeof(uint32_t));
    return t->send_count && t->send_displ && t->recv_count && t->recv_displ
               ? NRT_SUCCESS
               : err_set(err, NRT_RESOURCE, "out of host memory");
}

/* What is printed: all_gatherv what a group gathers, alltoallv what the busiest rank sends. */
static void varying_size(struct cc_case *c, const struct cc_grouping *g)
{
    const struct cc_tables *t = &c->tables;

    for (uint32_t i = 0; i < g->groups * g->size; i++) {
        const uint32_t *count = c->op == CC_ALL_GATHER_V ? t->recv_count : t->send_count;
        size_t row = (size_t)g->ranks[i] * c->n;
        uint64_t sum = 0, end = 0;

        for (uint32_t d = 0; d < c->n; d++) {
            sum += count[row + d];
            if (c->op == CC_ALL_TO_ALL_V || d == 0)
                end = t->send_displ[row + d] + (uint64_t)t->send_count[row + d];
            c->in[0] = end > c->in[0] ? end : c->in[0];
        }
        c->count = sum > c->count ? sum : c->count;
    }
    c->bytes = c->count * dtype_size(c->dtype);
}

static NRT_STATUS varying_make(struct cc_case *c, const struct cc_stream *s, uint64_t size,
                               const struct cc_groups *groups, const struct cc_metadata *m,
                               struct err *err)
{
    const struct cc_grouping *g = &groups->list[0];
    uint64_t each = dtype_size(c->dtype), elems = size / each + (size % each != 0), total = c->n;
    bool given = m != NULL && m->count > 0;
    NRT_STATUS st;

    if (groups->count != 1)
        return err_set(err, NRT_INVALID, "%s: groups of one operation only", cc_op_name(c->op));
    st = given ? metadata_fits(c, m, err) : NRT_SUCCESS;
    if (st == NRT_SUCCESS && given)
        st = receives_match(c, m, g, err);
    if (st == NRT_SUCCESS && given) {
        total = counts_total(c, m, g);
        if (total == 0)
            st = err_set(err, NRT_INVALID, "metadata: all counts are 0");
    }
    if (st == NRT_SUCCESS)
        st = tables_alloc(c, err);
    for (uint32_t i = 0; i < g->groups * g->size && st == NRT_SUCCESS; i++)
        st = send_rows(c, m, g->ranks[i], elems, total, err);
    if (st == NRT_SUCCESS)
        st = receive_rows(c, m, g, elems, total, err);
    c->parts = 1;
    if (st == NRT_SUCCESS)
        varying_size(c, g);
    return st;
}

NRT_STATUS cc_case_make(struct cc_case *c, const struct cc_stream *s, uint64_t size,
                        const struct cc_groups *groups, const struct cc_metadata *meta,
                        uint32_t ranks, struct err *err)
{
    NRT_STATUS st;

    memset(c, 0, sizeof(*c));
    c->op = s->op;
    c->dtype = s->dtype;
    c->ranks = ranks;
    c->n = groups->list[0].size;
    if (cc_op_varies(c->op))
        st = varying_make(c, s, size, groups, meta, err);
    else
        st = fixed_make(c, s, size, err);
    if (st != NRT_SUCCESS)
        cc_case_fini(c);
    else
        c->count = c->bytes / dtype_size(c->dtype);
    return st;
}

void cc_case_fini(struct cc_case *c)
{
    mem_free(c->tables.send_count);
    mem_free(c->tables.send_displ);
    mem_free(c->tables.recv_count);
    mem_free(c->tables.recv_displ);
    memset(c, 0, sizeof(*c));
}
