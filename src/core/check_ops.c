/* SPDX-License-Identifier: Apache-2.0 */
/* What records, transfers and collectives touch, told to OPENNRT_CHECK's shadow memory. */
#include "core/check_int.h"

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
            check_touch(x, k, id, row + at, run * (uint64_t)es, write);
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
    uint32_t id = check_access_new(k, check_strand(core, engine), core, engine, record, false);

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
    uint32_t id = check_access_new(k, check_strand(core, engine), core, engine,
                                   x->core[core]->engine[engine].pc, false);

    if (id != 0)
        check_touch(x, k, id, p, n, write);
}

/* ---- transfers ---- */

/* The pending entry keeps what the trigger knew. */
void check_trigger(struct core_check *k, unsigned core, unsigned engine, uint32_t slot)
{
    unsigned s = check_strand(core, engine);

    k->pending[slot] = k->strand[s];
    k->strand[s].at[s]++;
}

/* A transfer begins on its queue set's strand; slot: of its pending entry, or CORE_PENDING for one
 * that its engine runs now. Returns the access id for check_plan, 0 when memory is out. */
uint32_t check_xfer_start(struct core_check *k, unsigned core, unsigned engine, uint32_t record,
                          uint32_t queue, uint32_t slot)
{
    unsigned s = k->queue0[core] + queue, es = check_strand(core, engine);

    check_join(&k->strand[s], slot < CORE_PENDING ? &k->pending[slot] : &k->strand[es]);
    if (slot >= CORE_PENDING)
        k->strand[es].at[es]++;
    k->strand[s].at[s]++;
    return check_access_new(k, s, core, engine, record, true);
}

void check_xfer_signal(struct core_check *k, unsigned core, uint32_t queue, unsigned to, bool event,
                       unsigned index, int32_t value)
{
    check_release(k, k->queue0[core] + queue, to, event, index, value, event);
}

static void touch_side(const struct core_exec *x, struct core_check *k, uint32_t id,
                       const struct dma_side *s, const struct dma_where *w, int64_t shift,
                       bool write)
{
    struct dma_iter it;

    dma_iter_init(&it, s, w, shift);
    for (uint64_t left = dma_side_count(s); left > 0; left -= it.run) {
        check_touch(x, k, id, it.p, it.run, write);
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

static void touch_rows(const struct core_exec *x, struct core_check *k, uint32_t id,
                       const struct core_binding *b, const struct neff_coll_range *r, uint64_t elem,
                       bool write)
{
    const struct kernel_core *kc = &b->program->core->kc;
    uint64_t row = r->size / r->partitions, run = r->step == elem ? row : elem;

    for (uint32_t p = 0; p < r->partitions; p++) {
        uint8_t *at = kc->sbuf +
                      (r->off / NEFF_SBUF_STRIDE + p * r->partition_step) * kc->sbuf_stride +
                      r->off % NEFF_SBUF_STRIDE;

        for (uint64_t i = 0; i < row / run; i++)
            check_touch(x, k, id, at + i * r->step, run, write);
    }
}

static void touch_ranges(const struct core_exec *x, struct core_check *k, uint32_t id,
                         const struct core_binding *b, const struct neff_coll *c, bool write)
{
    const struct neff_coll_range *r = write ? c->out : c->in;
    uint32_t count = write ? c->out_count : c->in_count;

    for (uint32_t i = 0; id != 0 && i < count; i++)
        if (r[i].partitions > 0)
            touch_rows(x, k, id, b, &r[i], dtype_size(c->dtype), write);
        else
            check_touch(x, k, id, b->var[r[i].var].host + r[i].off, r[i].size, write);
}

/* An engine starts an operation on its stream's strand: it may read and write from now on. */
void check_coll_start(const struct core_exec *x, struct core_check *k, const struct core_trigger *t)
{
    const struct neff_coll *c = &t->sg->colls[t->op];
    unsigned s = k->stream0[t->core] + c->stream % STREAMS, es = check_strand(t->core, t->engine);
    uint32_t id;

    check_join(&k->strand[s], &k->strand[es]);
    k->strand[es].at[es]++;
    k->strand[s].at[s]++;
    id = check_access_new(k, s, t->core, t->engine, t->record, true);
    touch_ranges(x, k, id, t->binding, c, false);
    touch_ranges(x, k, id, t->binding, c, true);
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
    check_release(k, s, t->core, false, (unsigned)t->semaphore, value, false);
    now.at[s]++;
    k->strand[s] = now;
}
