/* SPDX-License-Identifier: Apache-2.0 */
/* The check of one engine's program at load: header, waits, updates, control flow, the operands'
 * common rules, and the initialised state of PSUM cells. The bytes come from a file: hostile. */
#include "isa/isa_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

NRT_STATUS isa_check_fail(struct isa_check *c, const char *fmt, ...)
{
    const struct isa_op_info *info = isa_op_info(c->r->opcode);
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return err_set(c->err, NRT_INVALID, "record %zu: %s: %.400s", c->record,
                   info ? info->name : "?", text);
}

void isa_check_warn(struct isa_check *c, const char *fmt, ...)
{
    const struct isa_op_info *info = isa_op_info(c->r->opcode);
    char text[ERR_TEXT_MAX];
    va_list ap;

    if (!c->sink)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    diag_warn(c->sink, "record %zu: %s: %.400s", c->record, info ? info->name : "?", text);
}

bool isa_start_ok(unsigned part, unsigned nparts)
{
    if (nparts > 64)
        return part == 0;
    if (nparts > 32)
        return part == 0 || part == 64;
    return part == 0 || part == 32 || part == 64 || part == 96;
}

static bool dtype_operand_ok(const struct isa_check *c, unsigned t)
{
    size_t size = dtype_size((enum dtype)t);

    if (size != 1 && size != 2 && size != 4)
        return false;
    return t < DT_FP8_E4FN || c->env->gen >= ISA_V4;
}

static NRT_STATUS check_dims(struct isa_check *c, const struct isa_tensor *t, const char *name,
                             unsigned flags)
{
    uint64_t n = 1, most = t->mem == ISA_PSUM ? 4096 : 65536;

    if (t->ndim < 1 || t->ndim > 4)
        return isa_check_fail(c, "%s.ndim %u is not 1 to 4", name, t->ndim);
    for (unsigned k = 0; k < 4; k++) {
        if (k >= t->ndim && (t->dim[k].num || t->dim[k].step))
            return isa_check_fail(c, "%s.dim[%u] is not zero, ndim is %u", name, k, t->ndim);
        if (k < t->ndim && t->dim[k].num == 0)
            return isa_check_fail(c, "%s.dim[%u].num is 0", name, k);
        if (k < t->ndim)
            n *= t->dim[k].num; /* at most 2^64 - 2^50 */
    }
    if (n > most && !(flags & ISA_CT_DMA))
        return isa_check_fail(c, "%s has %llu elements in a partition, at most %llu", name,
                              (unsigned long long)n, (unsigned long long)most);
    return NRT_SUCCESS;
}

NRT_STATUS isa_check_tensor(struct isa_check *c, const struct isa_tensor *t, const char *name,
                            unsigned flags)
{
    uint32_t room = t->mem == ISA_PSUM ? ISA_PSUM_BYTES : c->sbuf_bytes;
    NRT_STATUS st;

    if (t->mem != ISA_SBUF && (t->mem != ISA_PSUM || (flags & ISA_CT_DMA)))
        return isa_check_fail(c, "%s.mem %u is not allowed here", name, t->mem);
    if (!dtype_operand_ok(c, t->dtype))
        return isa_check_fail(c, "%s.dtype 0x%x is not a tile type of generation v%u", name,
                              t->dtype, c->env->gen);
    if (t->nparts < 1 || t->nparts > ISA_PARTITIONS || t->part + t->nparts > ISA_PARTITIONS)
        return isa_check_fail(c, "%s partitions %u..%u are outside 0..127", name, t->part,
                              t->part + t->nparts - 1);
    if (!(flags & ISA_CT_DMA) && !isa_start_ok(t->part, t->nparts))
        return isa_check_fail(c, "%s.part %u cannot start %u partitions", name, t->part, t->nparts);
    st = check_dims(c, t, name, flags);
    if (st != NRT_SUCCESS)
        return st;

    if (t->offset % dtype_size((enum dtype)t->dtype))
        return isa_check_fail(c, "%s.offset %u is not a multiple of the element size", name,
                              t->offset);
    if (t->off_reg != ISA_NO_REG && t->off_reg >= ISA_REGS)
        return isa_check_fail(c, "%s.off_reg %u is no register", name, t->off_reg);
    if (t->off_reg == ISA_NO_REG && t->off_mul)
        return isa_check_fail(c, "%s.off_mul %d without a register", name, t->off_mul);
    if (t->pad)
        return isa_check_fail(c, "%s.pad %u is not zero", name, t->pad);
    if (t->index)
        return isa_check_fail(c, "%s.index %u: tensor indirection is %s", name, t->index,
                              c->env->gen >= ISA_V4 ? "known but not executable"
                                                    : "not in this generation");
    if (t->off_reg == ISA_NO_REG) {
        int64_t lo, hi;

        isa_tensor_extent(t, &lo, &hi);
        if (lo < 0 || hi > room)
            return isa_check_fail(c, "%s bytes [%lld,%lld) are outside a partition of %u", name,
                                  (long long)lo, (long long)hi, room);
    }
    if ((flags & ISA_CT_OUT) && !(flags & ISA_CT_DMA) && isa_tensor_overlaps(t))
        return isa_check_fail(c, "%s writes a byte twice", name);
    return NRT_SUCCESS;
}

static NRT_STATUS check_waits(struct isa_check *c)
{
    const struct isa_record *r = c->r;
    static const struct isa_wait none;

    if (r->nwaits > 4)
        return isa_check_fail(c, "nwaits %u is above 4", r->nwaits);
    for (unsigned k = 0; k < 4; k++) {
        const struct isa_wait *w = &r->wait[k];

        if (k >= r->nwaits) {
            if (memcmp(w, &none, sizeof(none)) != 0)
                return isa_check_fail(c, "wait[%u] is not zero, nwaits is %u", k, r->nwaits);
            continue;
        }
        if (w->kind < ISA_WAIT_SEM_GE || w->kind > ISA_WAIT_EVENT_CLEAR)
            return isa_check_fail(c, "wait[%u].kind %u is unknown", k, w->kind);
        if (w->pad)
            return isa_check_fail(c, "wait[%u].pad %u is not zero", k, w->pad);
        if (w->reg != ISA_NO_REG && (w->reg >= ISA_REGS || w->kind >= ISA_WAIT_EVENT_SET))
            return isa_check_fail(c, "wait[%u].reg %u is not allowed", k, w->reg);
        if ((w->reg != ISA_NO_REG || w->kind >= ISA_WAIT_EVENT_SET) && w->value)
            return isa_check_fail(c, "wait[%u].value %d is not used and not zero", k, w->value);
    }
    return NRT_SUCCESS;
}

static NRT_STATUS check_updates(struct isa_check *c)
{
    const struct isa_record *r = c->r;
    static const struct isa_update none;

    if (r->nupdates > 4)
        return isa_check_fail(c, "nupdates %u is above 4", r->nupdates);
    for (unsigned k = 0; k < 4; k++) {
        const struct isa_update *u = &r->update[k];
        bool value = u->kind >= ISA_UPD_ADD && u->kind <= ISA_UPD_WRITE;

        if (k >= r->nupdates) {
            if (memcmp(u, &none, sizeof(none)) != 0)
                return isa_check_fail(c, "update[%u] is not zero, nupdates is %u", k, r->nupdates);
            continue;
        }
        if (u->kind < ISA_UPD_INC || u->kind > ISA_UPD_EVENT_CLEAR)
            return isa_check_fail(c, "update[%u].kind %u is unknown", k, u->kind);
        if (u->flags & ~(ISA_UPD_AT_READ | ISA_UPD_PEER))
            return isa_check_fail(c, "update[%u].flags 0x%x is unknown", k, u->flags);
        if ((u->flags & ISA_UPD_PEER) && c->env->lnc != 2)
            return isa_check_fail(c, "update[%u] names the peer, logical core size is %u", k,
                                  c->env->lnc);
        if (u->reg != ISA_NO_REG && (u->reg >= ISA_REGS || !value))
            return isa_check_fail(c, "update[%u].reg %u is not allowed", k, u->reg);
        if ((u->reg != ISA_NO_REG || !value) && u->value)
            return isa_check_fail(c, "update[%u].value %d is not used and not zero", k, u->value);
    }
    return NRT_SUCCESS;
}

static bool all_zero(const void *p, size_t n)
{
    const uint8_t *b = p;

    return n == 0 || (b[0] == 0 && memcmp(b, b + 1, n - 1) == 0);
}

static NRT_STATUS check_header(struct isa_check *c)
{
    const struct isa_record *r = c->r;
    const struct isa_op_info *info = isa_op_info(r->opcode);

    if (r->version != ISA_VERSION)
        return err_set(c->err, NRT_INVALID, "record %zu: version %u, this encoding has %u",
                       c->record, r->version, ISA_VERSION);
    if (!info)
        return err_set(c->err, NRT_INVALID,
                       "Unsupported hardware operator code %u found in neff. (record %zu)",
                       r->opcode, c->record);
    if (r->engine != c->engine)
        return isa_check_fail(c, "engine %u stands in the program of engine %u", r->engine,
                              c->engine);
    if (!info->executable && !(r->opcode == ISA_OP_TRIGGER_COLLECTIVE && c->env->collectives))
        return err_set(c->err, NRT_INVALID,
                       "Unsupported hardware operator code %u found in neff. "
                       "(record %zu: %s is known but not executable)",
                       r->opcode, c->record, info->name);
    if (!(info->engines & (1u << c->engine)))
        return isa_check_fail(c, "engine %s cannot execute it", isa_engine_name(c->engine));
    if (!(info->gens & (1u << (c->env->gen - 2))))
        return isa_check_fail(c, "generation v%u does not have it", c->env->gen);
    if (r->pad[0] || r->pad[1])
        return isa_check_fail(c, "header padding is not zero");
    return NRT_SUCCESS;
}

static NRT_STATUS check_record(struct isa_check *c)
{
    NRT_STATUS st = check_header(c);

    if (st == NRT_SUCCESS)
        st = check_waits(c);
    if (st == NRT_SUCCESS)
        st = check_updates(c);
    if (st != NRT_SUCCESS)
        return st;

    switch (isa_op_info(c->r->opcode)->format) {
    case ISA_FMT_NONE:
        if (!all_zero(c->r->body.raw, sizeof(c->r->body)))
            return isa_check_fail(c, "the body is not zero");
        return NRT_SUCCESS;
    case ISA_FMT_COMPUTE:
        return isa_check_compute(c);
    case ISA_FMT_SEQ:
        return isa_check_seq(c);
    case ISA_FMT_DYN:
        return isa_check_dyn(c);
    }
    return NRT_FAILURE;
}

/* ---- PSUM cells that an overwriting matmul has reached (neuroncore.md 2.4) ------------------ */

#define CELLS      (ISA_PSUM_BYTES / 4)
#define SEEN_SLOTS 64

struct cells {
    uint64_t init[CELLS][2];            /* bit p: cell of partition p */
    struct isa_tensor seen[SEEN_SLOTS]; /* patterns whose cells are all initialised */
};

/* Visit the cells of a static PSUM pattern; mark them, or report the first one not marked. */
static bool cells_walk(struct cells *cs, const struct isa_tensor *t, bool mark, unsigned *ret_cell)
{
    uint64_t m[2] = {0, 0};
    unsigned n[4];
    int64_t size = (int64_t)dtype_size((enum dtype)t->dtype);

    for (unsigned p = t->part; p < t->part + t->nparts; p++)
        m[p / 64] |= 1ull << (p % 64);
    for (unsigned k = 0; k < 4; k++)
        n[k] = k < t->ndim ? t->dim[k].num : 1;
    for (unsigned i3 = 0; i3 < n[3]; i3++)
        for (unsigned i2 = 0; i2 < n[2]; i2++)
            for (unsigned i1 = 0; i1 < n[1]; i1++)
                for (unsigned i0 = 0; i0 < n[0]; i0++) {
                    int64_t at =
                        t->offset +
                        size * ((int64_t)i0 * t->dim[0].step + (int64_t)i1 * t->dim[1].step +
                                (int64_t)i2 * t->dim[2].step + (int64_t)i3 * t->dim[3].step);
                    uint64_t *cell = cs->init[at / 4];

                    if (mark) {
                        cell[0] |= m[0];
                        cell[1] |= m[1];
                    } else if ((m[0] & ~cell[0]) || (m[1] & ~cell[1])) {
                        *ret_cell = (unsigned)at;
                        return false;
                    }
                }
    return true;
}

static bool is_matmul(const struct isa_record *r)
{
    return r->opcode == ISA_OP_NC_MATMUL || r->opcode == ISA_OP_NC_MATMUL_MX;
}

/* Programs with branches or dynamic PSUM addresses are left to the check at run time. */
static bool acc_checkable(const struct isa_record *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (r[i].opcode == ISA_OP_BRANCH ||
            (is_matmul(&r[i]) && r[i].body.c.t[0].off_reg != ISA_NO_REG))
            return false;
    return true;
}

static NRT_STATUS check_acc(struct isa_check *c, const struct isa_record *r, size_t n)
{
    struct cells *cs;
    bool any = false;
    NRT_STATUS st = NRT_SUCCESS;

    for (size_t i = 0; i < n && !any; i++)
        any = is_matmul(&r[i]) && r[i].body.c.acc;
    if (!any || !acc_checkable(r, n))
        return NRT_SUCCESS;
    cs = mem_zalloc(sizeof(*cs));
    if (!cs)
        return err_set(c->err, NRT_RESOURCE, "out of memory checking the PE program");

    for (size_t i = 0; i < n && st == NRT_SUCCESS; i++) {
        const struct isa_tensor *t = &r[i].body.c.t[0];
        struct isa_tensor *seen;
        unsigned at = 0;

        if (!is_matmul(&r[i]) || r[i].body.c.transpose)
            continue;
        seen = &cs->seen[(t->offset / 512 + t->part + t->nparts) % SEEN_SLOTS];
        if (memcmp(seen, t, sizeof(*t)) == 0)
            continue;
        c->r = &r[i];
        c->record = i;
        if (!r[i].body.c.acc) {
            cells_walk(cs, t, true, &at);
        } else if (!cells_walk(cs, t, false, &at)) {
            if (c->env->gen < ISA_V4)
                st = isa_check_fail(c, "acc on PSUM byte %u that no overwriting matmul has reached",
                                    at);
            else
                isa_check_warn(c, "acc on PSUM byte %u that no overwriting matmul has reached", at);
            continue;
        }
        *seen = *t;
    }
    mem_free(cs);
    return st;
}

/* After `idle` a DVE register is unspecified: a fold on top of it deserves a word. */
static void warn_idle_reduce(struct isa_check *c, const struct isa_record *r, size_t n)
{
    bool idle = false;

    if (!c->sink || c->engine != ISA_DVE)
        return;
    for (size_t i = 0; i < n; i++) {
        unsigned rc = r[i].body.c.reduce_cmd;

        switch (r[i].opcode) {
        case ISA_OP_EXPONENTIAL:
        case ISA_OP_RANGE_SELECT:
        case ISA_OP_SELECT_REDUCE:
        case ISA_OP_TENSOR_SCALAR_REDUCE:
        case ISA_OP_TENSOR_SCALAR_CUMULATIVE:
            c->r = &r[i];
            c->record = i;
            if (rc == ISA_RC_REDUCE && idle)
                isa_check_warn(c, "reduce after idle folds onto an unspecified register");
            idle = rc == ISA_RC_IDLE;
            break;
        case ISA_OP_BRANCH:
            idle = false;
            break;
        default:
            break;
        }
    }
}

static int id_cmp(const void *a, const void *b)
{
    const struct isa_id *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

bool isa_ids_find(const struct isa_ids *ids, int64_t id, uint64_t *ret_value)
{
    size_t lo = 0, hi = ids->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (ids->v[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == ids->n || ids->v[lo].id != id)
        return false;
    if (ret_value)
        *ret_value = ids->v[lo].value;
    return true;
}

static bool ids_make(struct isa_ids *ret, const int64_t *ids, const uint64_t *values, size_t n)
{
    if (!ids || n == 0)
        return true;
    ret->v = mem_calloc(n, sizeof(*ret->v));
    if (!ret->v)
        return false;
    ret->n = n;
    for (size_t i = 0; i < n; i++)
        ret->v[i] = (struct isa_id){ids[i], values ? values[i] : UINT64_MAX};
    qsort(ret->v, n, sizeof(*ret->v), id_cmp);
    return true;
}

bool isa_looks_ours(const void *bytes, size_t size)
{
    const uint8_t *b = bytes;
    size_t n = size / sizeof(struct isa_record);

    if (size == 0 || size % sizeof(struct isa_record))
        return false;
    for (size_t i = 0; i < n && i < 64; i++, b += sizeof(struct isa_record))
        if (b[1] != 0 || b[0] == 0 || b[0] >= ISA_OP_LIMIT || b[2] != ISA_VERSION ||
            b[3] >= ISA_ENGINES)
            return false;
    return true;
}

NRT_STATUS isa_check_program(const void *bytes, size_t size, enum isa_engine engine,
                             const struct isa_check_env *env, const struct diag_sink *sink,
                             struct err *err)
{
    const struct isa_record *r = bytes;
    void *copy = NULL;
    size_t n = size / sizeof(*r);
    NRT_STATUS st = NRT_SUCCESS;
    struct isa_check c = {.env = env,
                          .engine = engine,
                          .n_records = n,
                          .sink = sink,
                          .err = err,
                          .sbuf_bytes = isa_sbuf_bytes(env->gen)};

    if (!c.sbuf_bytes || (unsigned)engine >= ISA_ENGINES)
        return err_set(err, NRT_INVALID, "unknown generation %u or engine %u", env->gen, engine);
    if (size == 0)
        return err_set(err, NRT_INVALID, "the program of engine %s is empty",
                       isa_engine_name(engine));
    if (size % sizeof(*r))
        return err_set(err, NRT_INVALID, "program size %zu is not a multiple of %zu", size,
                       sizeof(*r));
    if (n > INT32_MAX)
        return err_set(err, NRT_INVALID, "a program of %zu records is too long", n);
    if (!ids_make(&c.vars, env->var_ids, env->var_sizes, env->n_vars) ||
        !ids_make(&c.dmas, env->dma_ids, NULL, env->n_dma_ids) ||
        !ids_make(&c.dges, env->dge_ids, NULL, env->n_dge_ids)) {
        st = err_set(err, NRT_RESOURCE, "out of memory checking a program");
        goto out;
    }
    if ((uintptr_t)bytes % _Alignof(struct isa_record)) {
        copy = mem_alloc(size);
        if (!copy) {
            st = err_set(err, NRT_RESOURCE, "out of memory checking a program");
            goto out;
        }
        r = memcpy(copy, bytes, size);
    }

    for (size_t i = 0; i < n && st == NRT_SUCCESS; i++) {
        c.r = &r[i];
        c.record = i;
        st = check_record(&c);
    }
    if (st == NRT_SUCCESS && r[n - 1].opcode != ISA_OP_END &&
        !(r[n - 1].opcode == ISA_OP_BRANCH && r[n - 1].body.s.op == ISA_BR_ALWAYS))
        st = isa_check_fail(&c, "the last record can fall through the end of the program");
    if (st == NRT_SUCCESS && engine == ISA_PE)
        st = check_acc(&c, r, n);
    if (st == NRT_SUCCESS)
        warn_idle_reduce(&c, r, n);
out:
    mem_free(c.vars.v);
    mem_free(c.dmas.v);
    mem_free(c.dges.v);
    mem_free(copy);
    return st;
}
