/* SPDX-License-Identifier: Apache-2.0 */
/* Row by row: a transfer from HBM into SBUF, the instructions that work on what it brought, and the
 * transfer of their result back are put off and then run together, a few partitions at a time, so
 * that every byte between them is read from the first-level cache. All signals, clocks and counts
 * happen at their usual time; only bytes move late. Nobody can tell (decision 7): what may be put
 * off cannot fail and touches, for its row k, one partition of SBUF and PSUM and its lane's
 * registers, so rows of different partitions cannot disturb each other; the HBM sides of one chain
 * do not overlap where one is written; and whatever else looks at memory, or ends the run, first
 * runs what was put off. Runs that signal other ranks put nothing off. A transfer whose bytes are
 * all overwritten later in the chain is spared: the instructions up to that one read the bytes in
 * HBM. */
#include "core/exec.h"

/* Bytes of one operand that a step of the chain may cover: two such fill the first-level cache. */
#define STEP_BYTES 16384u

/* Partitions of a plan's SBUF side, if its outermost loop goes from partition to partition and the
 * others stay inside one. */
void dma_plan_find_rows(const struct core *core, struct dma_plan *plan)
{
    const struct dma_nest *n = plan->nest;
    bool in = plan->to.sbuf;
    int64_t stride = (int64_t)core->kc.sbuf_stride, at = in ? plan->to.off : plan->from[0].off;
    int64_t in_row = (int64_t)(n->unit - 1), step;

    plan->rows = 0;
    if (in == plan->from[0].sbuf || n->ndim == 0)
        return;
    for (unsigned i = 0; i + 1 < n->ndim; i++) {
        step = in ? n->dim[i].dst : n->dim[i].src;
        if (step < 0)
            return;
        in_row += step * (int64_t)(n->dim[i].n - 1);
    }
    step = in ? n->dim[n->ndim - 1].dst : n->dim[n->ndim - 1].src;
    if (step != stride || at % stride + in_row >= stride)
        return;
    plan->part = (uint8_t)(at / stride);
    plan->rows = (uint8_t)n->dim[n->ndim - 1].n; /* side_map_sbuf: inside the 128 partitions */
    plan->row_bytes = plan->bytes / plan->rows;
}

/* Steps of an entry that lie in partitions [lo, hi) run now. */
static void entry_run(const struct core_rows *r, const struct core_row_entry *e, unsigned lo,
                      unsigned hi)
{
    unsigned first = lo > e->part ? lo - e->part : 0, end = hi > e->part ? hi - e->part : 0;

    if (end > e->rows)
        end = e->rows;
    if (first >= end)
        return;
    if (e->op != NULL)
        kernel_run_rows(e->op, &r->where.core->kc, first, end,
                        e->source.tiles != 0 ? &e->source : NULL);
    else if (!e->spared)
        dma_plan_run_rows(e->plan, &r->where, first, end);
}

/* ---- sparing transfers ---- */

/* Where a plan's rows lie in their partitions. */
static struct kernel_range plan_range(const struct core_rows *r, const struct dma_plan *plan)
{
    const struct dma_nest *n = plan->nest;
    bool in = plan->to.sbuf;
    int64_t at = (in ? plan->to.off : plan->from[0].off) % (int64_t)r->where.core->kc.sbuf_stride;
    int64_t hi = at + (int64_t)n->unit;

    for (unsigned i = 0; i + 1 < n->ndim; i++)
        hi += (in ? n->dim[i].dst : n->dim[i].src) * (int64_t)(n->dim[i].n - 1);
    return (struct kernel_range){true, n->ndim == 1, (uint32_t)at, (uint32_t)hi};
}

static bool meets(const struct kernel_range *a, const struct kernel_range *b)
{
    return a->sbuf && b->sbuf && a->lo < b->hi && b->lo < a->hi;
}

/* A transfer that may be spared, as the chain goes on after it. */
struct spare {
    unsigned part, rows;
    struct kernel_range at; /* of its bytes in SBUF; lo rises as they are overwritten */
    const uint8_t *row0;    /* of byte lo in HBM */
    int64_t step;
};

/* Entry e writes range o: false if it leaves bytes that are still wanted after others. */
static bool overwrite(struct spare *s, const struct core_row_entry *e, const struct kernel_range *o)
{
    uint32_t hi = o->hi < s->at.hi ? o->hi : s->at.hi;

    if (!o->whole || o->lo > s->at.lo || e->part > s->part || e->part + e->rows < s->part + s->rows)
        return false;
    s->row0 += hi - s->at.lo;
    s->at.lo = hi;
    return true;
}

/* Op e: what it reads of the transfer's bytes becomes a source. False if the transfer must run. */
static bool spare_op(struct spare *s, const struct core_row_entry *e, struct kernel_source *ret)
{
    bool inside = e->part >= s->part && e->part + e->rows <= s->part + s->rows;
    struct kernel_range o, written = {0};

    for (unsigned i = 0; kernel_op_operand(e->op, i, &o); i++) {
        if (!meets(&o, &s->at))
            continue;
        if ((e->op->row_writes >> i & 1) != 0) {
            if (i != 0)
                return false;
            written = o; /* after all reads */
            continue;
        }
        if (i >= KERNEL_TILES || !inside || o.lo < s->at.lo || o.hi > s->at.hi)
            return false;
        ret->tiles |= 1u << i;
        ret->tile[i].row0 = s->row0 + (e->part - s->part) * s->step + (o.lo - s->at.lo);
        ret->tile[i].step = s->step;
    }
    return !written.sbuf || overwrite(s, e, &written);
}

static bool spare_plan(const struct core_rows *r, struct spare *s, const struct core_row_entry *e)
{
    struct kernel_range o = plan_range(r, e->plan);

    return !meets(&o, &s->at) || (e->plan->to.sbuf && overwrite(s, e, &o));
}

/* Spare entry i if later ones overwrite all it brings and only ops read that before. */
static void spare(struct core_rows *r, unsigned i, unsigned count)
{
    struct core_row_entry *e = &r->entry[i];
    const struct dma_side *from = &e->plan->from[0];
    struct kernel_source source[CORE_ROWS];
    struct spare s = {e->part, e->rows, plan_range(r, e->plan),
                      r->where.b->var[from->var].host + from->off,
                      e->plan->nest->dim[e->plan->nest->ndim - 1].src};
    unsigned end = i + 1;

    if (!s.at.whole || ((uintptr_t)s.row0 | (uintptr_t)s.step) % 4 != 0)
        return;
    for (; s.at.lo < s.at.hi; end++) {
        struct core_row_entry *later = &r->entry[end];

        if (end == count)
            return;
        source[end] = later->source;
        if (later->op != NULL ? !spare_op(&s, later, &source[end]) : !spare_plan(r, &s, later))
            return;
    }
    e->spared = true;
    for (unsigned k = i + 1; k < end; k++)
        r->entry[k].source = source[k];
}

/* Whether nobody in the chain reads what others bring, so that row by row is of no use. Only the
 * last entry can be a transfer back. */
static bool unrelated(const struct core_rows *r, unsigned count)
{
    const struct dma_plan *last = r->entry[count - 1].plan;
    struct kernel_range in, out;

    for (unsigned i = 0; i < count; i++)
        if (r->entry[i].plan == NULL)
            return false;
    if (last->to.sbuf)
        return true;
    out = plan_range(r, last);
    for (unsigned i = 0; i + 1 < count; i++) {
        in = plan_range(r, r->entry[i].plan);
        if (meets(&in, &out))
            return false;
    }
    return true;
}

void rows_flush(struct core_exec *x)
{
    struct core_rows *r = &x->rows;
    unsigned count = r->count, step;

    if (count == 0)
        return;
    r->count = 0;
    for (unsigned i = 0; i + 1 < count; i++)
        if (r->entry[i].plan != NULL && r->entry[i].plan->to.sbuf)
            spare(r, i, count);
    if (unrelated(r, count)) { /* large ones are shared out between host threads */
        for (unsigned i = 0; i < count; i++)
            if (!r->entry[i].spared)
                dma_plan_run(r->entry[i].plan, &r->where);
        return;
    }
    step = r->row_bytes >= STEP_BYTES ? 1 : STEP_BYTES / r->row_bytes;
    for (unsigned lo = r->first; lo < r->end; lo += step) {
        unsigned hi = lo + step < r->end ? lo + step : r->end;

        for (unsigned i = 0; i < count; i++)
            entry_run(r, &r->entry[i], lo, hi);
    }
}

static void append(struct core_rows *r, struct core_row_entry e, uint64_t row_bytes)
{
    if (r->count == 0) {
        r->first = e.part;
        r->end = e.part + e.rows;
        r->row_bytes = 1;
    }
    if (e.part < r->first)
        r->first = e.part;
    if (e.part + e.rows > r->end)
        r->end = e.part + e.rows;
    if (row_bytes > r->row_bytes)
        r->row_bytes = row_bytes < STEP_BYTES ? (uint32_t)row_bytes : STEP_BYTES;
    r->entry[r->count++] = e;
}

bool rows_put_kernel(struct core_exec *x, const struct kernel_op *op)
{
    struct core_rows *r = &x->rows;

    if (op->rows == 0) {
        rows_flush(x);
        return false;
    }
    if (r->count == CORE_ROWS)
        rows_flush(x);
    if (r->count == 0) /* without a transfer there is nothing to gain */
        return false;
    append(r, (struct core_row_entry){.op = op, .part = op->part, .rows = op->rows}, op->row_bytes);
    return true;
}

/* Whether an HBM destination meets a source that the chain has yet to read. */
static bool overwrites(const struct core_rows *r, const struct dma_plan *plan)
{
    const struct core_binding *b = r->where.b;
    const uint8_t *lo = b->var[plan->to.var].host + plan->to.lo;
    const uint8_t *hi = b->var[plan->to.var].host + plan->to.hi;

    for (unsigned i = 0; i < r->count; i++) {
        const struct dma_side *s;
        const uint8_t *host;

        if (r->entry[i].plan == NULL)
            continue;
        s = &r->entry[i].plan->from[0];
        host = b->var[s->var].host;
        if (lo < host + s->hi && host + s->lo < hi)
            return true;
    }
    return false;
}

/* Whether a chain may begin with this transfer. A chain goes on with any plan of
 * the same run that has rows. */
static bool starts(const struct core_exec *x, const struct dma_plan *plan,
                   const struct dma_where *where)
{
    return plan->rows > 0 && plan->to.sbuf && x->count == 1 && x->outside == NULL &&
           x->check == NULL && !where->core->kc.check_nan;
}

bool rows_put_plan(struct core_exec *x, const struct dma_plan *plan, const struct dma_where *where)
{
    struct core_rows *r = &x->rows;
    bool in = plan->to.sbuf;

    if (plan->rows == 0 || r->count == CORE_ROWS || (!in && r->count > 0 && overwrites(r, plan)))
        rows_flush(x);
    if (r->count == 0 && !starts(x, plan, where))
        return false;
    r->where = *where;
    append(r, (struct core_row_entry){.plan = plan, .part = plan->part, .rows = plan->rows},
           plan->row_bytes);
    if (!in) /* the result leaves: nothing follows that would find it in the cache */
        rows_flush(x);
    return true;
}
