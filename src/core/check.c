/* SPDX-License-Identifier: Apache-2.0 */
/* OPENNRT_CHECK=race,uninit: what no order of execution can hide. Every engine and every queue set
 * is a strand with a vector clock; updates release it into the semaphore or event, waits take it
 * from there. A shadow cell per byte remembers the last write and up to two reads; two accesses of
 * different strands, one of them a write, with no path of signals between them are a race. A byte
 * that nothing wrote and that is no input or constant is uninitialised. Slow, and it allocates: for
 * finding bugs only.
 *
 * A wait takes what was released up to the update that first made it hold, not what came later.
 * Limits: that history goes HISTORY updates back; of more than two unordered reads of a byte, two
 * are remembered. Neither makes a false report. */
#include "core/core_int.h"

#include <string.h>

#define STRANDS  128 /* engines of both cores, then queue sets, then streams of collectives */
#define STREAMS  4   /* per core */
#define COLLS    64  /* collectives under way whose trigger is remembered */
#define ENGINE0  (2 * ISA_ENGINES)
#define BEFORE   1u /* access id: host or an earlier execution */
#define FIRST_ID 2u

#define HISTORY 64 /* updates of a semaphore or event that are remembered */

struct clock {
    uint32_t at[STRANDS];
};

/* What a semaphore (or event, values 0 and 1) had after each update, and who had led to it. Before
 * the first one: 0 and nobody. */
struct history {
    uint64_t count;
    struct past {
        int32_t value;
        struct clock vc;
    } past[HISTORY]; /* of update i: past[i % HISTORY] */
};

struct cell {
    uint32_t write, read[2]; /* access ids, 0: none */
};

struct access {
    uint32_t clock;
    uint32_t record; /* transfers: that of the trigger */
    uint16_t strand;
    uint8_t core, engine;
    bool dma;
};

struct region {
    uint8_t *base;
    uint64_t size;
    struct cell *cells;
    unsigned core;
    uint8_t mem;     /* ISA_SBUF, ISA_PSUM, ISA_HBM */
    uint64_t stride; /* on chip: host bytes per partition */
};

struct core_check {
    unsigned what; /* CORE_CHECK_* */
    struct region *regions;
    size_t nregions, cap_regions;
    struct access *acc; /* id - FIRST_ID */
    size_t nacc, cap_acc;
    uint32_t first_of_run; /* ids below it are of earlier executions */
    uint64_t runs;
    unsigned nstrands;
    unsigned queue0[CORE_MAX];  /* strand of queue set 0 */
    unsigned stream0[CORE_MAX]; /* of stream 0 */
    struct {
        uint32_t serial;
        struct clock vc;
    } colls[COLLS]; /* by serial: the stream as the operation began */
    struct clock strand[STRANDS];
    struct history *sem[CORE_MAX][ISA_SEMAPHORES], *event[CORE_MAX][ISA_EVENTS]; /* on demand */
    struct clock pending[CORE_PENDING]; /* of the trigger */
    uint64_t races, uninit;
    bool no_memory;
    struct err first;
};

/* ---- life ---- */

NRT_STATUS check_create(struct core_program *p, struct err *err)
{
    p->check = mem_zalloc(sizeof(*p->check));
    if (p->check == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for checks");
    p->check->what = p->opt.checks;
    return NRT_SUCCESS;
}

static void regions_free(struct core_check *k, unsigned kind_mask)
{
    size_t n = 0;

    for (size_t i = 0; i < k->nregions; i++) {
        if (kind_mask >> k->regions[i].mem & 1)
            mem_free(k->regions[i].cells);
        else
            k->regions[n++] = k->regions[i];
    }
    k->nregions = n;
}

void check_destroy(struct core_check *k)
{
    if (k == NULL)
        return;
    regions_free(k, ~0u);
    for (unsigned c = 0; c < CORE_MAX; c++)
        for (unsigned i = 0; i < ISA_SEMAPHORES; i++) {
            mem_free(k->sem[c][i]);
            mem_free(k->event[c][i]);
        }
    mem_free(k->regions);
    mem_free(k->acc);
    mem_free(k);
}

static bool region_add(struct core_check *k, struct region r)
{
    if (!mem_grow((void **)&k->regions, &k->cap_regions, k->nregions + 1, sizeof(k->regions[0])))
        return false;
    r.cells = mem_calloc(r.size + 1, sizeof(r.cells[0]));
    if (r.cells == NULL)
        return false;
    k->regions[k->nregions++] = r;
    return true;
}

/* The variables' memory; ranges that touch or overlap become one region (inputs bound as outputs,
 * scratchpads, both cores' views of one HBM). */
static bool add_hbm(struct core_check *k, const struct core_exec *x)
{
    for (unsigned c = 0; c < x->count; c++) {
        const struct core_program *p = x->run->program[c];

        for (uint32_t v = 0; v < p->sg->var_count; v++) {
            struct region r = {.base = x->run->binding[c]->var[v].host,
                               .size = p->sg->vars[v].size,
                               .core = c,
                               .mem = ISA_HBM};

            if (!p->var_used[v] || r.size == 0)
                continue;
            for (size_t i = 0; i < k->nregions; i++) {
                struct region *o = &k->regions[i];
                uint8_t *end = r.base + r.size;

                if (o->mem != ISA_HBM || end < o->base || r.base > o->base + o->size)
                    continue;
                if (o->base + o->size > end)
                    end = o->base + o->size;
                if (o->base < r.base)
                    r.base = o->base;
                r.size = (uint64_t)(end - r.base);
                mem_free(o->cells);
                *o = k->regions[--k->nregions];
                i = (size_t)-1; /* the larger one may touch others */
            }
            if (!region_add(k, r))
                return false;
        }
    }
    return true;
}

bool check_start(struct core_check *k, const struct core_exec *x)
{
    regions_free(k, 1u << ISA_HBM); /* bindings change; on-chip memory keeps what it held */
    if (k->nregions == 0) {
        for (unsigned c = 0; c < x->count; c++) {
            const struct kernel_core *kc = &x->core[c]->kc;
            struct region s = {.base = kc->sbuf,
                               .size = ISA_PARTITIONS * kc->sbuf_stride,
                               .core = c,
                               .mem = ISA_SBUF,
                               .stride = kc->sbuf_stride};
            struct region m = {.base = kc->psum,
                               .size = ISA_PARTITIONS * kc->psum_stride,
                               .core = c,
                               .mem = ISA_PSUM,
                               .stride = kc->psum_stride};

            if (!region_add(k, s) || !region_add(k, m))
                return false;
        }
    }
    if (!add_hbm(k, x))
        return false;
    if (k->nacc > UINT32_MAX / 2) { /* ids run out: forget what is old */
        regions_free(k, ~0u);
        k->nacc = 0;
        return check_start(k, x);
    }
    k->first_of_run = (uint32_t)k->nacc + FIRST_ID;
    k->runs++;
    k->nstrands = ENGINE0;
    for (unsigned c = 0; c < x->count; c++) {
        k->queue0[c] = k->nstrands;
        k->nstrands += x->run->program[c]->sg->queue_count;
        k->stream0[c] = k->nstrands;
        k->nstrands += x->run->program[c]->sg->coll_count > 0 ? STREAMS : 0;
    }
    memset(k->strand, 0, sizeof(k->strand));
    for (unsigned c = 0; c < CORE_MAX; c++)
        for (unsigned i = 0; i < ISA_SEMAPHORES; i++) {
            if (k->sem[c][i] != NULL)
                k->sem[c][i]->count = 0;
            if (k->event[c][i] != NULL)
                k->event[c][i]->count = 0;
        }
    for (unsigned s = 0; s < STRANDS; s++)
        k->strand[s].at[s] = 1;
    k->races = k->uninit = 0;
    k->no_memory = false;
    k->first.status = NRT_SUCCESS;
    return k->nstrands <= STRANDS;
}

/* ---- shadow ---- */

static struct region *region_of(struct core_check *k, const uint8_t *p)
{
    for (size_t i = 0; i < k->nregions; i++) {
        struct region *r = &k->regions[i];

        if (p >= r->base && p < r->base + r->size)
            return r;
    }
    return NULL;
}

/* Whether the host filled the byte before the execution: inputs, constants, address cells, and what
 * an earlier execution may have left in the NEFF's own memory. */
static bool host_wrote(const struct core_exec *x, const struct core_check *k,
                       const struct region *r, const uint8_t *p)
{
    if (r->mem != ISA_HBM)
        return false;
    for (unsigned c = 0; c < x->count; c++) {
        const struct core_program *pr = x->run->program[c];

        for (uint32_t v = 0; v < pr->sg->var_count; v++) {
            const uint8_t *h = x->run->binding[c]->var[v].host;
            enum neff_var_type t = pr->sg->vars[v].type;

            if (pr->var_used[v] && p >= h && p < h + pr->sg->vars[v].size &&
                (k->runs > 1 || (t != NEFF_VAR_TMP_BUF && t != NEFF_VAR_VIRTUAL)))
                return true;
        }
    }
    return false;
}

static void put_where(const struct core_exec *x, const struct access *a, struct strbuf *b)
{
    const struct core_program *p = x->run->program[a->core];
    const struct neff_engine_code *ec = &p->sg->engines[a->engine];
    const struct isa_op_info *info = isa_op_info(p->code[a->engine].opcodes[a->record]);

    if (x->count > 1)
        strbuf_printf(b, "core %u ", a->core);
    strbuf_printf(b, "%s%s record %u %s", a->dma ? "transfer of " : "", isa_engine_name(a->engine),
                  a->record, info != NULL ? info->name : "?");
    if (a->record < ec->debug_count && ec->debug[a->record].file != NULL)
        strbuf_printf(b, " (%s:%u)", ec->debug[a->record].file, ec->debug[a->record].line);
}

/* The byte in words of the program. */
static void put_byte(const struct core_exec *x, const struct region *r, const uint8_t *p,
                     struct strbuf *b)
{
    if (r->mem != ISA_HBM) {
        strbuf_printf(b, "%s partition %llu byte %llu", r->mem == ISA_SBUF ? "SBUF" : "PSUM",
                      (unsigned long long)((uint64_t)(p - r->base) / r->stride),
                      (unsigned long long)((uint64_t)(p - r->base) % r->stride));
        return;
    }
    for (unsigned c = 0; c < x->count; c++) {
        const struct core_program *pr = x->run->program[c];

        for (uint32_t v = 0; v < pr->sg->var_count; v++) {
            const uint8_t *h = x->run->binding[c]->var[v].host;

            if (pr->var_used[v] && p >= h && p < h + pr->sg->vars[v].size) {
                strbuf_printf(b, "%s byte %llu", pr->sg->vars[v].name, (unsigned long long)(p - h));
                return;
            }
        }
    }
}

static void report(const struct core_exec *x, struct core_check *k, const struct region *r,
                   const uint8_t *p, const struct access *first, bool first_writes,
                   const struct access *second, bool second_writes)
{
    struct strbuf b = {0};

    if (k->first.status != NRT_SUCCESS)
        return;
    if (first == NULL) {
        strbuf_put(&b, "uninitialised read: ");
        put_where(x, second, &b);
        strbuf_put(&b, " reads ");
        put_byte(x, r, p, &b);
        strbuf_put(&b, ", which nothing wrote");
    } else {
        strbuf_put(&b, "race: ");
        put_where(x, first, &b);
        strbuf_put(&b, first_writes ? " writes and " : " reads and ");
        put_where(x, second, &b);
        strbuf_put(&b, second_writes ? " writes " : " reads ");
        put_byte(x, r, p, &b);
        strbuf_put(&b, ", and nothing orders them");
    }
    err_set(&k->first, NRT_EXEC_COMPLETED_WITH_ERR, "%s", b.s != NULL ? b.s : "");
    strbuf_fini(&b);
}

/* Whether access id happened before everything the strand does now. */
static bool ordered(const struct core_check *k, uint32_t id, unsigned strand)
{
    const struct access *a;

    if (id < k->first_of_run)
        return true; /* none, the host, or an earlier execution */
    a = &k->acc[id - FIRST_ID];
    return a->clock <= k->strand[strand].at[a->strand];
}

/* One access of n bytes at p. id: the access under way. */
static void touch(const struct core_exec *x, struct core_check *k, uint32_t id, const uint8_t *p,
                  uint64_t n, bool write)
{
    struct region *r = region_of(k, p);
    const struct access *me = &k->acc[id - FIRST_ID];
    bool race = (k->what & CORE_CHECK_RACE) != 0;

    if (r == NULL)
        return;
    for (uint64_t i = 0; i < n; i++) {
        struct cell *c = &r->cells[p - r->base + (int64_t)i];

        if (race && c->write != id && !ordered(k, c->write, me->strand)) {
            k->races++;
            report(x, k, r, p + i, &k->acc[c->write - FIRST_ID], true, me, write);
        }
        if (!write) {
            if (c->write == 0 && (k->what & CORE_CHECK_UNINIT) != 0) {
                if (!host_wrote(x, k, r, p + i)) {
                    k->uninit++;
                    report(x, k, r, p + i, NULL, false, me, false);
                }
                c->write = BEFORE; /* once per byte */
            }
            if (c->read[0] == id)
                continue;
            if (!ordered(k, c->read[0], me->strand))
                c->read[1] = c->read[0];
            c->read[0] = id;
            continue;
        }
        for (unsigned s = 0; race && s < 2; s++)
            if (c->read[s] != id && !ordered(k, c->read[s], me->strand)) {
                k->races++;
                report(x, k, r, p + i, &k->acc[c->read[s] - FIRST_ID], false, me, true);
            }
        c->write = id;
        c->read[0] = c->read[1] = 0;
    }
}

static uint32_t access_new(struct core_check *k, unsigned strand, unsigned core, unsigned engine,
                           uint32_t record, bool dma)
{
    if (!mem_grow((void **)&k->acc, &k->cap_acc, k->nacc + 1, sizeof(k->acc[0]))) {
        k->no_memory = true;
        return 0;
    }
    k->acc[k->nacc] = (struct access){.clock = k->strand[strand].at[strand],
                                      .record = record,
                                      .strand = (uint16_t)strand,
                                      .core = (uint8_t)core,
                                      .engine = (uint8_t)engine,
                                      .dma = dma};
    return (uint32_t)k->nacc++ + FIRST_ID;
}

/* ---- clocks ---- */

static void join(struct clock *to, const struct clock *from)
{
    for (unsigned i = 0; i < STRANDS; i++)
        if (to->at[i] < from->at[i])
            to->at[i] = from->at[i];
}

static unsigned engine_strand(unsigned core, unsigned engine)
{
    return core * ISA_ENGINES + engine;
}

static bool is_event(unsigned wait_kind)
{
    return wait_kind == ISA_WAIT_EVENT_SET || wait_kind == ISA_WAIT_EVENT_CLEAR;
}

static bool value_holds(unsigned kind, int32_t have, int32_t want)
{
    switch (kind) {
    case ISA_WAIT_SEM_GE:
        return have >= want;
    case ISA_WAIT_SEM_EQ:
        return have == want;
    default:
        return have == (kind == ISA_WAIT_EVENT_SET);
    }
}

/* A wait that holds: its strand now follows the update that made it hold, the first of the latest
 * run of values for which it does. */
void check_wait(struct core_check *k, unsigned core, unsigned engine, const struct core_cond *w,
                int32_t want)
{
    const struct history *h = is_event(w->kind) ? k->event[core][w->index] : k->sem[core][w->index];
    uint64_t i, oldest;

    if (h == NULL || h->count == 0)
        return;
    oldest = h->count > HISTORY ? h->count - HISTORY : 0;
    i = h->count;
    while (i > oldest && !value_holds(w->kind, h->past[(i - 1) % HISTORY].value, want))
        i--;
    while (i > oldest && value_holds(w->kind, h->past[(i - 1) % HISTORY].value, want))
        i--;
    if (i == h->count || (i == 0 && value_holds(w->kind, 0, want)))
        return; /* the initial value was enough */
    join(&k->strand[engine_strand(core, engine)], &h->past[i % HISTORY].vc);
}

/* The strand changed a name of core `to`, which now has this value. assign: whatever led to the old
 * value no longer counts. */
static void release(struct core_check *k, unsigned strand, unsigned to, bool event, unsigned index,
                    int32_t value, bool assign)
{
    struct history **h = event ? &k->event[to][index] : &k->sem[to][index];
    struct past *p;

    if (*h == NULL)
        *h = mem_zalloc(sizeof(**h));
    if (*h == NULL) {
        k->no_memory = true;
        return;
    }
    p = &(*h)->past[(*h)->count % HISTORY];
    if ((*h)->count == 0 || assign)
        memset(&p->vc, 0, sizeof(p->vc));
    else
        p->vc = (*h)->past[((*h)->count - 1) % HISTORY].vc;
    join(&p->vc, &k->strand[strand]);
    p->value = value;
    (*h)->count++;
    k->strand[strand].at[strand]++;
}

void check_update(struct core_check *k, unsigned core, unsigned engine, unsigned to, unsigned kind,
                  unsigned index, int32_t value)
{
    bool event = kind == ISA_UPD_EVENT_SET || kind == ISA_UPD_EVENT_CLEAR;

    release(k, engine_strand(core, engine), to, event, index, value,
            event || kind == ISA_UPD_WRITE);
}

/* ---- accesses ---- */

static void touch_tile(const struct core_exec *x, struct core_check *k, uint32_t id, unsigned core,
                       const struct isa_tensor *t, const uint32_t *regs, bool write)
{
    const struct kernel_core *kc = &x->core[core]->kc;
    int64_t es = (int64_t)dtype_size((enum dtype)t->dtype), off = t->offset;
    bool psum = t->mem == ISA_PSUM;
    uint64_t run = 1;
    unsigned first = 0;

    if (t->off_reg != ISA_NO_REG)
        off += (int64_t)(int32_t)regs[t->off_reg] * t->off_mul * es;
    while (first < t->ndim && (t->dim[first].num == 1 || t->dim[first].step == (int64_t)run))
        run *= t->dim[first++].num;
    for (unsigned p = 0; p < t->nparts; p++) {
        uint32_t idx[4] = {0};
        const uint8_t *row = psum ? kc->psum + (t->part + p) * kc->psum_stride
                                  : kc->sbuf + (t->part + p) * kc->sbuf_stride;

        for (;;) {
            int64_t at = off;
            unsigned i;

            for (i = first; i < t->ndim; i++)
                at += (int64_t)idx[i] * t->dim[i].step * es;
            touch(x, k, id, row + at, run * (uint64_t)es, write);
            for (i = first; i < t->ndim && ++idx[i] == t->dim[i].num; i++)
                idx[i] = 0;
            if (i == t->ndim)
                break;
        }
    }
}

static void touch_scalars(const struct core_exec *x, struct core_check *k, uint32_t id,
                          unsigned core, const struct isa_compute *c)
{
    const struct isa_tensor *like = c->t[0].mem != ISA_MEM_NONE ? &c->t[0] : &c->t[1];

    for (unsigned i = 0; i < 3; i++) {
        const struct isa_scalar *s = &c->s[i];
        struct isa_tensor t = {.mem = s->mem,
                               .dtype = s->dtype,
                               .part = s->part,
                               .nparts = like->nparts,
                               .offset = s->v,
                               .ndim = 1,
                               .off_reg = ISA_NO_REG};

        t.dim[0] = (struct isa_dim){1, 1};
        if (s->kind == ISA_SC_TILE)
            touch_tile(x, k, id, core, &t, NULL, false);
    }
}

/* A compute record that ran without a fault. */
void check_compute(const struct core_exec *x, struct core_check *k, unsigned core, unsigned engine,
                   uint32_t record)
{
    const struct isa_record *r = &x->run->program[core]->code[engine].records[record];
    const uint32_t *regs = x->core[core]->engine[engine].regs;
    unsigned reads = isa_reads(r), writes = isa_writes(r);
    uint32_t id = access_new(k, engine_strand(core, engine), core, engine, record, false);

    if (id == 0)
        return;
    for (unsigned i = 0; i < 5; i++)
        if (reads >> i & 1)
            touch_tile(x, k, id, core, &r->body.c.t[i], regs, false);
    touch_scalars(x, k, id, core, &r->body.c);
    for (unsigned i = 0; i < 5; i++)
        if (writes >> i & 1)
            touch_tile(x, k, id, core, &r->body.c.t[i], regs, true);
}

/* One element of a sequencer record, or the index tile's elements. */
void check_bytes(const struct core_exec *x, struct core_check *k, unsigned core, unsigned engine,
                 const uint8_t *p, uint64_t n, bool write)
{
    uint32_t id = access_new(k, engine_strand(core, engine), core, engine,
                             x->core[core]->engine[engine].pc, false);

    if (id != 0)
        touch(x, k, id, p, n, write);
}

/* ---- transfers ---- */

/* The pending entry keeps what the trigger knew. */
void check_trigger(struct core_check *k, unsigned core, unsigned engine, uint32_t slot)
{
    unsigned s = engine_strand(core, engine);

    k->pending[slot] = k->strand[s];
    k->strand[s].at[s]++;
}

/* A transfer begins on its queue set's strand; slot: of its pending entry, or CORE_PENDING for one
 * that its engine runs now. Returns the access id for check_plan, 0 when memory is out. */
uint32_t check_xfer_start(struct core_check *k, unsigned core, unsigned engine, uint32_t record,
                          uint32_t queue, uint32_t slot)
{
    unsigned s = k->queue0[core] + queue, es = engine_strand(core, engine);

    join(&k->strand[s], slot < CORE_PENDING ? &k->pending[slot] : &k->strand[es]);
    if (slot >= CORE_PENDING)
        k->strand[es].at[es]++;
    k->strand[s].at[s]++;
    return access_new(k, s, core, engine, record, true);
}

void check_xfer_signal(struct core_check *k, unsigned core, uint32_t queue, unsigned to, bool event,
                       unsigned index, int32_t value)
{
    release(k, k->queue0[core] + queue, to, event, index, value, event);
}

static void touch_side(const struct core_exec *x, struct core_check *k, uint32_t id,
                       const struct dma_side *s, const struct dma_where *w, int64_t shift,
                       bool write)
{
    struct dma_iter it;

    dma_iter_init(&it, s, w, shift);
    for (uint64_t left = dma_side_count(s); left > 0; left -= it.run) {
        touch(x, k, id, it.p, it.run, write);
        dma_iter_next(&it);
    }
}

void check_plan(const struct core_exec *x, struct core_check *k, uint32_t id,
                const struct dma_plan *plan, const struct dma_where *w)
{
    if (id == 0 || plan->kind == PLAN_NOTHING)
        return;
    for (unsigned i = 0; i < plan->nfrom; i++)
        touch_side(x, k, id, &plan->from[i], w, i == 0 ? w->src_shift : w->dst_shift, false);
    touch_side(x, k, id, &plan->to, w, w->dst_shift, true);
}

/* ---- collectives ---- */

static void touch_ranges(const struct core_exec *x, struct core_check *k, uint32_t id,
                         const struct core_binding *b, const struct neff_coll_range *r,
                         uint32_t count, bool write)
{
    for (uint32_t i = 0; id != 0 && i < count; i++)
        touch(x, k, id, b->var[r[i].var].host + r[i].off, r[i].size, write);
}

/* An engine starts an operation on its stream's strand: it may read and write from now on. */
void check_coll_start(const struct core_exec *x, struct core_check *k, const struct core_trigger *t)
{
    const struct neff_coll *c = &t->sg->colls[t->op];
    unsigned s = k->stream0[t->core] + c->stream % STREAMS, es = engine_strand(t->core, t->engine);
    uint32_t id;

    join(&k->strand[s], &k->strand[es]);
    k->strand[es].at[es]++;
    k->strand[s].at[s]++;
    id = access_new(k, s, t->core, t->engine, t->record, true);
    touch_ranges(x, k, id, t->binding, c->in, c->in_count, false);
    touch_ranges(x, k, id, t->binding, c->out, c->out_count, true);
    k->colls[t->serial % COLLS].serial = t->serial;
    k->colls[t->serial % COLLS].vc = k->strand[s];
}

/* It has ended and raised its semaphore: who waits for that follows it, not what its stream began
 * since. */
void check_coll_signal(struct core_check *k, const struct core_trigger *t, int32_t value)
{
    unsigned s = k->stream0[t->core] + t->sg->colls[t->op].stream % STREAMS;
    struct clock now = k->strand[s];

    if (k->colls[t->serial % COLLS].serial == t->serial)
        k->strand[s] = k->colls[t->serial % COLLS].vc;
    release(k, s, t->core, false, (unsigned)t->semaphore, value, false);
    now.at[s]++;
    k->strand[s] = now;
}

/* ---- the end ---- */

NRT_STATUS check_finish(struct core_check *k, struct err *err)
{
    if (k->no_memory)
        return err_set(err, NRT_RESOURCE, "out of memory for checks");
    if (k->races == 0 && k->uninit == 0)
        return NRT_SUCCESS;
    return err_set(err, NRT_EXEC_COMPLETED_WITH_ERR,
                   "%s (%llu racing and %llu uninitialised byte accesses)", k->first.text,
                   (unsigned long long)k->races, (unsigned long long)k->uninit);
}
