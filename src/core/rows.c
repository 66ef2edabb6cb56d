/* SPDX-License-Identifier: Apache-2.0 */
/* Row by row: transfers from HBM into SBUF, the instructions that work on what they brought, and
 * the transfers of their results back are put off and then run together, a few partitions at a
 * time, so that every byte between them is read from a near cache. So are instructions in a row
 * whose operands are too large to stay in one. All signals, clocks and
 * counts happen at their usual time; only bytes move late. Nobody can tell (decision 7): what may
 * be put off cannot fail and touches, for its row k, one partition of SBUF and PSUM and its lane's
 * registers, so rows of different partitions cannot disturb each other; the HBM sides of one chain
 * do not overlap where one is written; and whatever else looks at memory, or ends the run, first
 * runs what was put off. Runs that signal other ranks put nothing off.
 *
 * Bytes that the chain itself overwrites later need not be in SBUF meanwhile. A transfer of such
 * bytes into SBUF is spared: the instructions up to that one read them in HBM. And where such bytes
 * are an instruction's result that a transfer takes to HBM, the instruction writes them there
 * itself. What the chain leaves in SBUF is what it would leave otherwise. */
#include "core/exec.h"

#include <stdlib.h>

#include "run/run.h"

/* Bytes of one operand that a step of the chain may cover. Some such stay in the second-level
 * cache; fewer would fit the first one, but entering an op takes as long as some hundred bytes.
 * Twice as many are slower (docs/benchmarks.md). */
#define STEP_BYTES 131072u

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

/* Rows [first, end) of an op and of those that are one pass with it. */
static void op_run(const struct core_rows *r, const struct core_row_entry *e, unsigned first,
                   unsigned end)
{
    struct kernel_part part[KERNEL_JOINED];
    struct kernel_core *kc = &r->where.core->kc;
    unsigned n = KERNEL_JOINED;

    if (e->before == NULL) {
        kernel_run_rows(e->op, kc, first, end, e->elsewhere.tiles != 0 ? &e->elsewhere : NULL);
        return;
    }
    for (; e != NULL; e = e->before)
        part[--n] = (struct kernel_part){e->op, e->elsewhere.tiles != 0 ? &e->elsewhere : NULL};
    kernel_run_rows_joined(part + n, KERNEL_JOINED - n, kc, first, end);
}

/* Steps of an entry that lie in partitions [lo, hi) run now. */
static void entry_run(const struct core_rows *r, const struct core_row_entry *e, unsigned lo,
                      unsigned hi)
{
    unsigned first = lo > e->part ? lo - e->part : 0, end = hi > e->part ? hi - e->part : 0;

    if (end > e->rows)
        end = e->rows;
    if (first >= end || e->spared)
        return;
    if (e->op != NULL)
        op_run(r, e, first, end);
    else
        dma_plan_run_rows(e->plan, &r->where, first, end);
}

/* ---- bytes that need not be in SBUF ---- */

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

/* Bytes that lie in HBM as well as in SBUF, as the chain goes on. */
struct twin {
    unsigned part, rows;
    struct kernel_range at; /* in SBUF; lo rises as they are overwritten */
    uint8_t *row0;          /* of byte lo in HBM */
    int64_t step;
};

/* False if ops could not use the bytes in HBM. */
static bool twin_make(const struct core_rows *r, const struct core_row_entry *e, struct twin *ret)
{
    const struct dma_plan *plan = e->plan;
    const struct dma_side *far = plan->to.sbuf ? &plan->from[0] : &plan->to;
    const struct dma_nest_dim *rows = &plan->nest->dim[plan->nest->ndim - 1];

    *ret = (struct twin){e->part, e->rows, plan_range(r, plan),
                         r->where.b->var[far->var].host + far->off,
                         plan->to.sbuf ? rows->src : rows->dst};
    /* Where rows that are written overlap, HBM does not hold all of SBUF's bytes. */
    if (!plan->to.sbuf && llabs(ret->step) < ret->at.hi - ret->at.lo)
        return false;
    return ret->at.whole && ((uintptr_t)ret->row0 | (uintptr_t)ret->step) % 4 == 0;
}

/* Entry e writes range o: false if it leaves bytes that are still wanted after others. */
static bool overwrite(struct twin *t, const struct core_row_entry *e, const struct kernel_range *o)
{
    uint32_t hi = o->hi < t->at.hi ? o->hi : t->at.hi;

    if (!o->whole || o->lo > t->at.lo || e->part > t->part || e->part + e->rows < t->part + t->rows)
        return false;
    t->row0 += hi - t->at.lo;
    t->at.lo = hi;
    return true;
}

/* Op e: what it reads of the bytes it is to read in HBM. False if they must be in SBUF. */
static bool pass_op(struct twin *t, const struct core_row_entry *e, struct kernel_elsewhere *ret)
{
    bool inside = e->part >= t->part && e->part + e->rows <= t->part + t->rows;
    struct kernel_range o, written = {0};

    for (unsigned i = 0; kernel_op_operand(e->op, i, &o); i++) {
        if (!meets(&o, &t->at))
            continue;
        if ((e->op->row_writes >> i & 1) != 0) {
            if (i != 0)
                return false;
            written = o; /* after all reads */
            continue;
        }
        if (i >= KERNEL_TILES || !inside || o.lo < t->at.lo || o.hi > t->at.hi)
            return false;
        ret->tiles |= 1u << i;
        ret->tile[i].row0 = t->row0 + (e->part - t->part) * t->step + (o.lo - t->at.lo);
        ret->tile[i].step = t->step;
    }
    return !written.sbuf || overwrite(t, e, &written);
}

static bool pass_plan(const struct core_rows *r, struct twin *t, const struct core_row_entry *e)
{
    struct kernel_range o = plan_range(r, e->plan);

    return !meets(&o, &t->at) || (e->plan->to.sbuf && overwrite(t, e, &o));
}

/* If the entries after number i overwrite all of t and none but ops reads it before: true, and
 * these read it in HBM. */
static bool twin_suffices(struct core_rows *r, struct twin *t, unsigned i, unsigned count)
{
    struct kernel_elsewhere elsewhere[CORE_ROWS];
    unsigned end = i + 1;

    for (; t->at.lo < t->at.hi; end++) {
        struct core_row_entry *later = &r->entry[end];

        if (end == count)
            return false;
        elsewhere[end] = later->elsewhere;
        if (later->op != NULL ? !pass_op(t, later, &elsewhere[end]) : !pass_plan(r, t, later))
            return false;
    }
    for (unsigned k = i + 1; k < end; k++)
        r->entry[k].elsewhere = elsewhere[k];
    return true;
}

/* The op before entry i whose result, all of it and nothing else, lies at t, and which nothing
 * between them reads or writes; or NULL. */
static struct core_row_entry *writer(struct core_rows *r, const struct twin *t, unsigned i)
{
    while (i-- > 0) {
        struct core_row_entry *e = &r->entry[i];
        struct kernel_range o;
        bool touches = false, all = false, more = false;

        if (e->op == NULL) {
            o = plan_range(r, e->plan);
            if (meets(&o, &t->at))
                return NULL;
            continue;
        }
        for (unsigned k = 0; kernel_op_operand(e->op, k, &o); k++) {
            if (!meets(&o, &t->at))
                continue;
            touches = true;
            if (k == 0)
                all = o.whole && o.lo == t->at.lo && o.hi == t->at.hi;
            else
                more |= (e->op->row_writes >> k & 1) != 0;
        }
        if (touches)
            return all && !more && e->part == t->part && e->rows == t->rows ? e : NULL;
    }
    return NULL;
}

/* Spare entry i, a transfer, if nobody would miss it. */
static void spare(struct core_rows *r, unsigned i, unsigned count)
{
    struct core_row_entry *e = &r->entry[i], *from = NULL;
    struct twin t;
    uint8_t *row0;

    if (!twin_make(r, e, &t))
        return;
    row0 = t.row0;
    if ((!e->plan->to.sbuf && (from = writer(r, &t, i)) == NULL) || !twin_suffices(r, &t, i, count))
        return;
    e->spared = true;
    if (from == NULL)
        return;
    from->elsewhere.tiles |= 1;
    from->elsewhere.tile[0].row0 = row0;
    from->elsewhere.tile[0].step = t.step;
}

/* Whether nobody in the chain reads what others bring, so that row by row is of no use. */
static bool unrelated(const struct core_rows *r, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct kernel_range in, out;

        if (r->entry[i].plan == NULL)
            return false;
        if (r->entry[i].plan->to.sbuf)
            continue;
        out = plan_range(r, r->entry[i].plan);
        for (unsigned k = 0; k < i; k++) {
            in = plan_range(r, r->entry[k].plan);
            if (r->entry[k].plan->to.sbuf && meets(&in, &out))
                return false;
        }
    }
    return true;
}

/* Whether every op shares itself out between host threads, as large transfers do: row by row is one
 * thread's work. */
static bool shared_out(const struct core_rows *r, unsigned count)
{
    if (run_pool_size(r->where.core->kc.pool) == 1)
        return false;
    for (unsigned i = 0; i < count; i++) {
        const struct kernel_op *op = r->entry[i].op;

        if (op != NULL && (!op->shares || (uint64_t)op->rows * op->row_bytes < RUN_SHARE_BYTES))
            return false;
    }
    return true;
}

/* ---- ops that are one pass ---- */

/* Op e is to run with the op at from, the last one before it that is not spared, if it takes over
 * that one's result; what is spared between them moves nothing. */
static void join(struct core_row_entry *from, struct core_row_entry *e)
{
    unsigned length = 1;

    if (from == NULL || from->op == NULL || (from->elsewhere.tiles & 1) != 0 ||
        (e->elsewhere.tiles & 2) != 0 || !kernel_op_joins(from->op, e->op))
        return;
    for (const struct core_row_entry *b = from; b != NULL; b = b->before)
        length++;
    if (length > KERNEL_JOINED)
        return;
    e->before = from;
    from->spared = true;
}

static void join_all(struct core_rows *r, unsigned count)
{
    struct core_row_entry *last = NULL;

    for (unsigned i = 0; i < count; i++) {
        struct core_row_entry *e = &r->entry[i];

        if (e->spared)
            continue;
        if (e->op != NULL)
            join(last, e);
        last = e;
    }
}

/* All rows of an entry, by all host threads if they are many bytes. */
static void entry_run_whole(const struct core_rows *r, const struct core_row_entry *e)
{
    if (e->op != NULL)
        entry_run(r, e, r->first, r->end);
    else if (!e->spared)
        dma_plan_run(e->plan, &r->where);
}

void rows_run(struct core_exec *x)
{
    struct core_rows *r = &x->rows;
    unsigned count = r->count, step;

    r->count = 0;
    for (unsigned i = 0; i < count; i++)
        if (r->entry[i].plan != NULL)
            spare(r, i, count);
    join_all(r, count);
    if (unrelated(r, count) || shared_out(r, count)) {
        for (unsigned i = 0; i < count; i++)
            entry_run_whole(r, &r->entry[i]);
        return;
    }
    step = r->row_bytes >= STEP_BYTES ? 1 : STEP_BYTES / r->row_bytes;
    if (count == 1) /* nothing to go round with */
        step = r->end - r->first;
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

/* Whether anything may be put off in this run. */
static bool may_put(const struct core_exec *x, const struct core *core)
{
    return x->count == 1 && x->outside == NULL && x->check == NULL && !core->kc.check_nan;
}

bool rows_put_kernel(struct core_exec *x, const struct kernel_op *op)
{
    struct core_rows *r = &x->rows;
    struct core *core = x->core[0];

    if (op->rows == 0) {
        rows_flush(x);
        return false;
    }
    if (r->count == CORE_ROWS)
        rows_flush(x);
    if (r->count == 0) {
        /* Host threads share large copies out, which rows put off are not. */
        if (!rows_begins(op) || !may_put(x, core) || run_pool_size(core->kc.pool) > 1)
            return false;
        r->where = (struct dma_where){.core = core};
    }
    append(r, (struct core_row_entry){.op = op, .part = op->part, .rows = op->rows}, op->row_bytes);
    return true;
}

/* The bytes of a plan in HBM: those of row k in [lo + k * step, + width). */
struct far_side {
    const uint8_t *lo, *hi; /* of all rows */
    int64_t step, width;
};

static struct far_side far_side(const struct dma_plan *plan, const struct core_binding *b)
{
    const struct dma_side *s = plan->to.sbuf ? &plan->from[0] : &plan->to;
    const struct dma_nest_dim *rows = &plan->nest->dim[plan->nest->ndim - 1];
    int64_t step = plan->to.sbuf ? rows->src : rows->dst;
    const uint8_t *host = b->var[s->var].host;

    return (struct far_side){host + s->lo, host + s->hi, step,
                             s->hi - s->lo - step * (plan->rows - 1)};
}

/* Whether no byte belongs to both. Rows of one step, as those of column blocks of a matrix, may lie
 * between each other's. */
static bool apart(const struct far_side *a, const struct far_side *b)
{
    int64_t shift;

    if (a->hi <= b->lo || b->hi <= a->lo)
        return true;
    if (a->step != b->step || a->step <= 0)
        return false;
    shift = (b->lo - a->lo) % a->step;
    if (shift < 0)
        shift += a->step;
    return shift >= a->width && shift + b->width <= a->step;
}

/* Whether the plan may join the chain: of HBM sides, none that is written meets another. */
static bool joins(const struct core_rows *r, const struct dma_plan *plan,
                  const struct dma_where *where)
{
    struct far_side f = far_side(plan, where->b), o;

    for (unsigned i = 0; i < r->count; i++) {
        const struct dma_plan *p = r->entry[i].plan;

        if (p == NULL || (p->to.sbuf && plan->to.sbuf))
            continue;
        o = far_side(p, where->b);
        if (!apart(&f, &o))
            return false;
    }
    return true;
}

/* Whether a chain may begin with this transfer. A chain goes on with any plan of
 * the same run that has rows. */
static bool starts(const struct core_exec *x, const struct dma_plan *plan,
                   const struct dma_where *where)
{
    return plan->rows > 0 && plan->to.sbuf && may_put(x, where->core);
}

bool rows_put_plan(struct core_exec *x, const struct dma_plan *plan, const struct dma_where *where)
{
    struct core_rows *r = &x->rows;

    if (plan->rows == 0 || r->count == CORE_ROWS || !joins(r, plan, where))
        rows_flush(x);
    if (r->count == 0 && !starts(x, plan, where))
        return false;
    r->where = *where;
    append(r, (struct core_row_entry){.plan = plan, .part = plan->part, .rows = plan->rows},
           plan->row_bytes);
    return true;
}
