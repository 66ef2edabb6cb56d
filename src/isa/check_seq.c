/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of sequencer records and of dynamic transfers. */
#include "isa/isa_int.h"

#include <string.h>

#include "base/checked.h"

static bool bytes_zero(const void *p, size_t n)
{
    const uint8_t *b = p;

    for (size_t i = 0; i < n; i++)
        if (b[i])
            return false;
    return true;
}

/* Size of the variable, UINT64_MAX when variables are not checked. */
static NRT_STATUS var_size(struct isa_check *c, uint32_t id, const char *name, uint64_t *ret)
{
    *ret = UINT64_MAX;
    if (!c->env->var_ids || isa_ids_find(&c->vars, id, ret))
        return NRT_SUCCESS;
    return isa_check_fail(c, "%s.var_id %u is not declared", name, id);
}

/* Byte range of the static pattern; rows: the slowest dimension is replaced by a vector offset. */
static bool hbm_extent(const struct isa_hbm *h, bool rows, int64_t *ret_lo, int64_t *ret_hi)
{
    int64_t size = (int64_t)dtype_size((enum dtype)h->dtype), lo = 0, hi = 0, d;

    for (unsigned k = 0; k < h->ndim - (rows ? 1u : 0u); k++) {
        if (i64_mul_over((int64_t)h->num[k] - 1, h->step[k], &d) ||
            i64_add_over(d < 0 ? lo : hi, d, d < 0 ? &lo : &hi))
            return false;
    }
    return !i64_mul_over(lo, size, &lo) && !i64_mul_over(hi, size, &hi) &&
           !i64_add_over(lo, h->offset, ret_lo) && !i64_add_over(hi, h->offset, &hi) &&
           !i64_add_over(hi, size, ret_hi);
}

static NRT_STATUS check_hbm(struct isa_check *c, const struct isa_hbm *h, const char *name,
                            bool rows)
{
    uint64_t size, first = h->bound_first, bytes = h->bound_bytes, n = 1;
    int64_t lo, hi;
    NRT_STATUS st = var_size(c, h->var_id, name, &size);

    if (st != NRT_SUCCESS)
        return st;
    if (dtype_size((enum dtype)h->dtype) == 0)
        return isa_check_fail(c, "%s.dtype 0x%x is unknown", name, h->dtype);
    if (h->ndim < 1 || h->ndim > 4)
        return isa_check_fail(c, "%s.ndim %u is not 1 to 4", name, h->ndim);
    for (unsigned k = 0; k < 4; k++) {
        if (k >= h->ndim && (h->num[k] || h->step[k]))
            return isa_check_fail(c, "%s.dim[%u] is not zero, ndim is %u", name, k, h->ndim);
        if (k < h->ndim && (h->num[k] == 0 || u64_mul_over(n, h->num[k], &n)))
            return isa_check_fail(c, "%s.num[%u] %u is not possible", name, k, h->num[k]);
    }
    if (h->pad || h->pad2)
        return isa_check_fail(c, "%s padding is not zero", name);
    if (h->off_reg != ISA_NO_REG && (h->off_reg >= ISA_REGS || rows))
        return isa_check_fail(c, "%s.off_reg %u is not allowed", name, h->off_reg);
    if (h->off_reg == ISA_NO_REG && !rows && h->off_mul)
        return isa_check_fail(c, "%s.off_mul %d without a register", name, h->off_mul);
    if (bytes == 0 && first)
        return isa_check_fail(c, "%s.bound_first %llu without bound_bytes", name,
                              (unsigned long long)first);
    if (bytes == 0)
        bytes = size;
    if (!range_ok(first, bytes, size))
        return isa_check_fail(c, "%s bounds [%llu,+%llu) are outside a variable of %llu bytes",
                              name, (unsigned long long)first, (unsigned long long)bytes,
                              (unsigned long long)size);
    if (!hbm_extent(h, rows, &lo, &hi))
        return isa_check_fail(c, "%s access pattern overflows", name);
    if (h->off_reg == ISA_NO_REG && !rows &&
        (lo < 0 || (uint64_t)lo < first || (uint64_t)hi - first > bytes))
        return isa_check_fail(c, "%s access [%lld,%lld) outside variable %u of %llu bytes", name,
                              (long long)lo, (long long)hi, h->var_id, (unsigned long long)bytes);
    return NRT_SUCCESS;
}

static NRT_STATUS check_reg(struct isa_check *c, unsigned reg, const char *name)
{
    if (reg >= ISA_REGS)
        return isa_check_fail(c, "%s %u is no register", name, reg);
    return NRT_SUCCESS;
}

/* rb or imm */
static NRT_STATUS check_rb(struct isa_check *c)
{
    const struct isa_seq *s = &c->r->body.s;

    if (s->rb == ISA_NO_REG)
        return NRT_SUCCESS;
    if (s->imm)
        return isa_check_fail(c, "imm %d beside register rb %u", s->imm, s->rb);
    return check_reg(c, s->rb, "rb");
}

static NRT_STATUS check_place(struct isa_check *c)
{
    const struct isa_seq *s = &c->r->body.s;
    unsigned dt;
    NRT_STATUS st;

    if (s->place_mem == ISA_SBUF) {
        const struct isa_tensor *t = &s->place.tile;

        if (t->mem != ISA_SBUF)
            return isa_check_fail(c, "place.mem %u, place_mem 1", t->mem);
        st = isa_check_tensor(c, t, "place", ISA_CT_DMA);
        if (st != NRT_SUCCESS)
            return st;
        if (t->nparts != 1 || isa_tensor_count(t) != 1)
            return isa_check_fail(c, "place has %llu elements, not 1",
                                  (unsigned long long)(t->nparts * isa_tensor_count(t)));
        if (!bytes_zero((const uint8_t *)&s->place + sizeof(*t), sizeof(s->place) - sizeof(*t)))
            return isa_check_fail(c, "bytes after place are not zero");
        dt = t->dtype;
    } else if (s->place_mem == ISA_HBM) {
        const struct isa_hbm *h = &s->place.hbm;

        st = check_hbm(c, h, "place", false);
        if (st != NRT_SUCCESS)
            return st;
        for (unsigned k = 0; k < h->ndim; k++)
            if (h->num[k] != 1)
                return isa_check_fail(c, "place.num[%u] is %u, not 1", k, h->num[k]);
        dt = h->dtype;
    } else {
        return isa_check_fail(c, "place_mem %u is neither SBUF nor HBM", s->place_mem);
    }
    if (dtype_size((enum dtype)dt) > 4 ||
        (dtype_size((enum dtype)dt) < 4 && !dtype_is_int((enum dtype)dt) && dt != DT_BOOL))
        return isa_check_fail(c, "place.dtype %s does not fit a register",
                              dtype_name((enum dtype)dt));
    return NRT_SUCCESS;
}

static NRT_STATUS check_branch(struct isa_check *c)
{
    const struct isa_seq *s = &c->r->body.s;
    NRT_STATUS st = NRT_SUCCESS;

    if (s->op >= ISA_BR_COUNT)
        return isa_check_fail(c, "op %u is no comparison", s->op);
    if (s->target >= c->n_records)
        return isa_check_fail(c, "target %u leaves a program of %zu records", s->target,
                              c->n_records);
    if (s->op == ISA_BR_ALWAYS) {
        if (s->ra || s->rb || s->imm)
            return isa_check_fail(c, "operands of an unconditional branch are not zero");
        return NRT_SUCCESS;
    }
    st = check_reg(c, s->ra, "ra");
    return st != NRT_SUCCESS ? st : check_rb(c);
}

NRT_STATUS isa_check_seq(struct isa_check *c)
{
    const struct isa_seq *s = &c->r->body.s;
    struct isa_seq rest = *s; /* what no rule below looks at must be zero */
    NRT_STATUS st = NRT_SUCCESS;

    switch (c->r->opcode) {
    case ISA_OP_REG_MOVE:
        st = check_reg(c, s->rd, "rd");
        if (st == NRT_SUCCESS)
            st = check_rb(c);
        rest.rd = rest.rb = 0;
        rest.imm = 0;
        break;
    case ISA_OP_REG_ALU:
        if (s->op >= ISA_REG_OP_COUNT)
            return isa_check_fail(c, "op %u is unknown", s->op);
        st = check_reg(c, s->rd, "rd");
        if (st == NRT_SUCCESS)
            st = check_reg(c, s->ra, "ra");
        if (st == NRT_SUCCESS)
            st = check_rb(c);
        rest.op = rest.rd = rest.ra = rest.rb = 0;
        rest.imm = 0;
        break;
    case ISA_OP_REG_LOAD:
    case ISA_OP_REG_STORE:
        st = check_reg(c, c->r->opcode == ISA_OP_REG_LOAD ? s->rd : s->ra,
                       c->r->opcode == ISA_OP_REG_LOAD ? "rd" : "ra");
        if (st == NRT_SUCCESS)
            st = check_place(c);
        if (c->r->opcode == ISA_OP_REG_LOAD)
            rest.rd = 0;
        else
            rest.ra = 0;
        rest.place_mem = 0;
        memset(&rest.place, 0, sizeof(rest.place));
        break;
    case ISA_OP_BRANCH:
        st = check_branch(c);
        rest.op = rest.ra = rest.rb = 0;
        rest.imm = 0;
        rest.target = 0;
        break;
    case ISA_OP_DMA_TRIGGER:
        if (c->env->dma_ids && !isa_ids_find(&c->dmas, s->imm, NULL))
            return isa_check_fail(c, "dma id %d is not in the engine's JSON", s->imm);
        rest.imm = 0;
        break;
    case ISA_OP_SEM_RANGE_CLEAR:
        if (s->count == 0 || !range_ok(s->first, s->count, ISA_SEMAPHORES))
            return isa_check_fail(c, "semaphores %u..+%u are outside 0..255", s->first, s->count);
        rest.first = rest.count = 0;
        break;
    case ISA_OP_CORE_BARRIER:
        if (c->env->lnc != 2)
            return isa_check_fail(c, "logical core size is %u, not 2", c->env->lnc);
        if (s->first >= ISA_SEMAPHORES)
            return isa_check_fail(c, "semaphore %u is outside 0..255", s->first);
        rest.first = 0;
        break;
    case ISA_OP_TRIGGER_COLLECTIVE:
        if (s->imm < 0 || (size_t)s->imm >= c->env->n_collectives)
            return isa_check_fail(c, "collective %d is not in the table", s->imm);
        if (s->first > ISA_SEMAPHORES)
            return isa_check_fail(c, "semaphore %d is outside 0..255", s->first - 1);
        rest.imm = 0;
        rest.first = 0;
        break;
    default:
        return NRT_FAILURE;
    }
    if (st != NRT_SUCCESS)
        return st;
    if (!bytes_zero(&rest, sizeof(rest)) ||
        !bytes_zero(c->r->body.raw + sizeof(*s), sizeof(c->r->body) - sizeof(*s)))
        return isa_check_fail(c, "a byte that it does not use is not zero");
    return NRT_SUCCESS;
}

/* ---- dynamic transfers ---- */

struct side {
    const char *name;
    unsigned mem;
    const union isa_place *p;
    bool rows; /* takes the vector offset */
    /* found */
    unsigned dtype;
    bool dynamic;
    uint64_t count; /* elements */
    uint64_t lead;  /* of the slowest dimension */
};

static NRT_STATUS check_side(struct isa_check *c, struct side *sd)
{
    NRT_STATUS st;

    if (sd->mem == ISA_SBUF) {
        const struct isa_tensor *t = &sd->p->tile;

        if (t->mem != ISA_SBUF)
            return isa_check_fail(c, "%s.mem %u, %s_mem 1", sd->name, t->mem, sd->name);
        if (sd->rows)
            return isa_check_fail(c, "%s in SBUF cannot take a vector offset", sd->name);
        st = isa_check_tensor(c, t, sd->name, ISA_CT_DMA);
        if (st != NRT_SUCCESS)
            return st;
        if (!bytes_zero((const uint8_t *)sd->p + sizeof(*t), sizeof(*sd->p) - sizeof(*t)))
            return isa_check_fail(c, "bytes after %s are not zero", sd->name);
        sd->dtype = t->dtype;
        sd->dynamic = t->off_reg != ISA_NO_REG;
        sd->count = t->nparts * isa_tensor_count(t);
        sd->lead = t->nparts;
        return NRT_SUCCESS;
    }
    if (sd->mem != ISA_HBM)
        return isa_check_fail(c, "%s_mem %u is neither SBUF nor HBM", sd->name, sd->mem);
    st = check_hbm(c, &sd->p->hbm, sd->name, sd->rows);
    if (st != NRT_SUCCESS)
        return st;
    if (c->env->dge_ids && !isa_ids_find(&c->dges, sd->p->hbm.var_id, NULL))
        return isa_check_fail(c, "%s.var_id %u is not in the dge-table", sd->name,
                              sd->p->hbm.var_id);
    sd->dtype = sd->p->hbm.dtype;
    sd->dynamic = sd->p->hbm.off_reg != ISA_NO_REG;
    sd->count = 1;
    for (unsigned k = 0; k < sd->p->hbm.ndim; k++)
        sd->count *= sd->p->hbm.num[k];
    sd->lead = sd->p->hbm.num[sd->p->hbm.ndim - 1];
    return NRT_SUCCESS;
}

static NRT_STATUS check_index(struct isa_check *c, const struct side *sd)
{
    const struct isa_tensor *t = &c->r->body.d.index;
    NRT_STATUS st = isa_check_tensor(c, t, "index", ISA_CT_DMA);

    if (st != NRT_SUCCESS)
        return st;
    if (t->dtype != DT_INT32 && t->dtype != DT_UINT32)
        return isa_check_fail(c, "index.dtype %s is neither int32 nor uint32",
                              dtype_name((enum dtype)t->dtype));
    if (isa_tensor_count(t) != 1)
        return isa_check_fail(c, "index has %llu elements in a partition, not 1",
                              (unsigned long long)isa_tensor_count(t));
    if (sd->p->hbm.step[sd->p->hbm.ndim - 1])
        return isa_check_fail(c, "%s: the step of the indexed dimension is not 0", sd->name);
    if (sd->lead != t->nparts)
        return isa_check_fail(c, "%s has %llu rows, index %u", sd->name,
                              (unsigned long long)sd->lead, t->nparts);
    return NRT_SUCCESS;
}

static NRT_STATUS check_mode(struct isa_check *c, const struct side *src, const struct side *dst)
{
    const struct isa_dyn *d = &c->r->body.d;

    if (d->mode == ISA_DGE_SW) {
        if (c->engine != ISA_POOL)
            return isa_check_fail(c, "swdge belongs to pool, not to %s",
                                  isa_engine_name(c->engine));
    } else if (d->mode == ISA_DGE_HW) {
        if (c->engine != ISA_SP && c->engine != ISA_ACT)
            return isa_check_fail(c, "hwdge belongs to sp and act, not to %s",
                                  isa_engine_name(c->engine));
        if (c->env->gen < ISA_V3)
            return isa_check_fail(c, "hwdge is not in generation v%u", c->env->gen);
        if (d->op != ISA_DYN_COPY && d->op != ISA_DYN_TRANSPOSE)
            return isa_check_fail(c, "hwdge cannot execute op %u", d->op);
        if (src->dtype != dst->dtype)
            return isa_check_fail(c, "hwdge cannot convert %s to %s",
                                  dtype_name((enum dtype)src->dtype),
                                  dtype_name((enum dtype)dst->dtype));
        if (d->index_side)
            return isa_check_fail(c, "hwdge takes no vector offset");
    } else {
        return isa_check_fail(c, "mode %u is unknown", d->mode);
    }
    return NRT_SUCCESS;
}

/* dst = src[idx].T (neuroncore.md 5.4). */
static NRT_STATUS check_indirect_transpose(struct isa_check *c, const struct isa_dyn *d)
{
    const struct isa_hbm *h = &d->src.hbm;

    if (d->index_side != 1)
        return isa_check_fail(c, "the vector offset of a transpose is one of src");
    if (c->env->gen < ISA_V3)
        return isa_check_fail(c, "indirect transpose needs generation 3");
    if (dtype_size((enum dtype)h->dtype) != 2)
        return isa_check_fail(c, "indirect transpose moves elements of 2 bytes");
    if (h->ndim < 2 || h->num[0] > ISA_PARTITIONS || h->num[h->ndim - 1] % 16 != 0)
        return isa_check_fail(c,
                              "src: indirect transpose needs rows in multiples of 16 and at most "
                              "128 columns");
    if (h->ndim == 4 && h->num[1] != 1 && h->num[2] != 1)
        return isa_check_fail(c, "src: indirect transpose of 4 dimensions needs a middle one of 1");
    return NRT_SUCCESS;
}

static NRT_STATUS check_dyn_op(struct isa_check *c, const struct side *src, const struct side *dst)
{
    const struct isa_dyn *d = &c->r->body.d;

    if (d->op >= ISA_DYN_OP_COUNT)
        return isa_check_fail(c, "op %u is unknown", d->op);
    if (src->count != dst->count)
        return isa_check_fail(c, "%llu elements to %llu", (unsigned long long)src->count,
                              (unsigned long long)dst->count);
    if (dtype_kind((enum dtype)src->dtype) == DTK_PACKED && src->dtype != dst->dtype)
        return isa_check_fail(c, "packed types cannot be converted");
    if (d->op == ISA_DYN_TRANSPOSE) {
        if (src->dtype != dst->dtype)
            return isa_check_fail(c, "a transpose cannot convert");
        if (d->index_side)
            return check_indirect_transpose(c, d);
    }
    if (d->op == ISA_DYN_ADD && !d->index_side)
        return isa_check_fail(c, "add needs a vector offset");
    return NRT_SUCCESS;
}

NRT_STATUS isa_check_dyn(struct isa_check *c)
{
    const struct isa_dyn *d = &c->r->body.d;
    struct side src = {.name = "src", .mem = d->src_mem, .p = &d->src, .rows = d->index_side == 1};
    struct side dst = {.name = "dst", .mem = d->dst_mem, .p = &d->dst, .rows = d->index_side == 2};
    NRT_STATUS st;

    if (d->index_side > 2)
        return isa_check_fail(c, "index_side %u is unknown", d->index_side);
    st = check_side(c, &src);
    if (st == NRT_SUCCESS)
        st = check_side(c, &dst);
    if (st == NRT_SUCCESS)
        st = check_mode(c, &src, &dst);
    if (st == NRT_SUCCESS)
        st = check_dyn_op(c, &src, &dst);
    if (st == NRT_SUCCESS && d->index_side)
        st = check_index(c, d->index_side == 1 ? &src : &dst);
    if (st != NRT_SUCCESS)
        return st;

    if (!d->index_side && !bytes_zero(&d->index, sizeof(d->index)))
        return isa_check_fail(c, "index is not zero, no side takes it");
    if (src.dynamic + dst.dynamic + (d->index_side != 0) > 1)
        return isa_check_fail(c, "more than one offset");
    if (d->oob_reg != ISA_NO_REG && (d->oob_reg >= ISA_REGS || d->oob))
        return isa_check_fail(c, "oob_reg %u with oob %u", d->oob_reg, d->oob);
    if (d->oob > ISA_OOB_SKIP)
        return isa_check_fail(c, "oob %u is unknown", d->oob);
    if ((d->oob || d->oob_reg != ISA_NO_REG) && !src.dynamic && !dst.dynamic && !d->index_side)
        return isa_check_fail(c, "oob skip without an offset");
    if (d->queue >= c->env->n_queues)
        return isa_check_fail(c, "queue %u, the subgraph has %zu", d->queue, c->env->n_queues);
    if (c->env->queue_dynamic && !c->env->queue_dynamic[d->queue])
        return isa_check_fail(c, "queue %u is not of type dynamic or embedding_update", d->queue);
    if (d->semaphore < -1 || d->semaphore >= ISA_SEMAPHORES)
        return isa_check_fail(c, "semaphore %d is outside 0..255", d->semaphore);
    if (d->pad || !bytes_zero(d->pad2, sizeof(d->pad2)) ||
        !bytes_zero(c->r->body.raw + sizeof(*d), sizeof(c->r->body) - sizeof(*d)))
        return isa_check_fail(c, "padding is not zero");
    return NRT_SUCCESS;
}
