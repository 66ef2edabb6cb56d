/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"
#include "seed.h"

uint64_t rnd_next(struct rnd *r)
{
    return draw_next(&r->z);
}

uint32_t rnd_below(struct rnd *r, uint32_t n)
{
    return (uint32_t)((rnd_next(r) >> 32) * n >> 32);
}

struct rnd rnd_start(void)
{
    return (struct rnd){seed_take_new()};
}

static uint8_t any_dtype(struct rnd *r)
{
    return (uint8_t)(1 + rnd_below(r, DT_COUNT - 1));
}

static int32_t edge32(struct rnd *r)
{
    static const int32_t edges[] = {0, 1, -1, INT32_MAX, INT32_MIN, 16, -16, 255};

    return rnd_below(r, 2) ? edges[rnd_below(r, 8)] : (int32_t)rnd_next(r);
}

static int64_t edge64(struct rnd *r)
{
    int64_t v = rnd_below(r, 2) ? edge32(r) : (int64_t)rnd_next(r);

    return v == INT64_MIN ? 0 : v;
}

static uint8_t reg_or_none(struct rnd *r)
{
    return rnd_below(r, 2) ? ISA_NO_REG : (uint8_t)rnd_below(r, ISA_REGS);
}

static void tensor(struct rnd *r, struct isa_tensor *t, unsigned mems)
{
    *t = (struct isa_tensor){.mem = (uint8_t)(1 + rnd_below(r, mems)),
                             .dtype = any_dtype(r),
                             .part = (uint8_t)rnd_below(r, 256),
                             .nparts = (uint8_t)rnd_below(r, 256),
                             .offset = (uint32_t)edge32(r),
                             .ndim = (uint8_t)(1 + rnd_below(r, 4)),
                             .off_reg = reg_or_none(r)};
    for (unsigned k = 0; k < t->ndim; k++)
        t->dim[k] =
            (struct isa_dim){(int16_t)rnd_next(r), (uint16_t)(rnd_below(r, 4) ? rnd_next(r) : 1)};
    if (t->off_reg != ISA_NO_REG)
        t->off_mul = edge32(r);
}

static void hbm(struct rnd *r, struct isa_hbm *h, bool rows)
{
    *h = (struct isa_hbm){.var_id = (uint32_t)edge32(r),
                          .dtype = any_dtype(r),
                          .ndim = (uint8_t)(1 + rnd_below(r, 4)),
                          .off_reg = rows ? ISA_NO_REG : reg_or_none(r),
                          .offset = edge64(r)};
    for (unsigned k = 0; k < h->ndim; k++) {
        h->step[k] = edge64(r);
        h->num[k] = (uint32_t)edge32(r);
    }
    if (rows || h->off_reg != ISA_NO_REG)
        h->off_mul = edge32(r);
    if (rnd_below(r, 2)) {
        h->bound_first = rnd_next(r) >> 1;
        h->bound_bytes = rnd_next(r) >> 1;
    }
}

static void scalar(struct rnd *r, struct isa_scalar *s, unsigned flags)
{
    uint32_t v = (uint32_t)edge32(r);

    memset(s, 0, sizeof(*s));
    switch (rnd_below(r, 5)) {
    case 0:
        if (flags & ISA_SF_OPT)
            return;
        /* fall through */
    case 1:
        s->kind = flags & ISA_SF_BITS ? ISA_SC_I32 : ISA_SC_F32;
        s->v = v;
        return;
    case 2:
        s->kind = ISA_SC_I32;
        s->v = v;
        return;
    case 3:
        s->kind = ISA_SC_REG;
        s->v = rnd_below(r, ISA_REGS);
        return;
    default:
        *s = (struct isa_scalar){ISA_SC_TILE, (uint8_t)(1 + rnd_below(r, 2)), any_dtype(r),
                                 (uint8_t)rnd_below(r, 128), v};
    }
}

static void pattern(struct rnd *r, struct isa_pattern *p)
{
    *p = (struct isa_pattern){.offset = edge32(r),
                              .off_reg = reg_or_none(r),
                              .ndim = (uint8_t)(1 + rnd_below(r, 4)),
                              .channel_multiplier = edge32(r)};
    for (unsigned k = 0; k < p->ndim; k++) {
        p->step[k] = edge32(r);
        p->num[k] = (uint16_t)rnd_next(r);
    }
}

static void compute(struct rnd *r, struct isa_record *rec)
{
    for (const struct isa_slot *s = isa_op_slots(rec->opcode); s->kind != ISA_SLOT_END; s++) {
        uint8_t *at = rec->body.raw + s->off;
        bool opt = s->flags & ISA_SF_OPT;
        uint32_t w = (uint32_t)edge32(r);

        switch ((enum isa_slot_kind)s->kind) {
        case ISA_SLOT_TENSOR:
            if (!opt || rnd_below(r, 2))
                tensor(r, &rec->body.c.t[s->index], 2);
            break;
        case ISA_SLOT_SCALAR:
            scalar(r, &rec->body.c.s[s->index], s->flags);
            break;
        case ISA_SLOT_ALU:
            *at =
                (uint8_t)(opt ? rnd_below(r, ISA_ALU_COUNT) : 1 + rnd_below(r, ISA_ALU_COUNT - 1));
            break;
        case ISA_SLOT_ACT:
            *at = (uint8_t)rnd_below(r, ISA_ACT_COUNT);
            break;
        case ISA_SLOT_RC:
            *at = (uint8_t)rnd_below(r, ISA_RC_COUNT);
            break;
        case ISA_SLOT_FLAG:
            *at = (uint8_t)rnd_below(r, 2);
            break;
        case ISA_SLOT_U8:
            *at = (uint8_t)rnd_next(r);
            break;
        case ISA_SLOT_REVERSE:
            *at |= (uint8_t)(rnd_below(r, 2) << s->index);
            break;
        case ISA_SLOT_PATTERN:
            pattern(r, &rec->body.c.x.pattern);
            break;
        case ISA_SLOT_MASK:
            for (unsigned k = 0; k < 32; k++)
                at[k] = (uint8_t)rnd_next(r);
            break;
        case ISA_SLOT_I32:
        case ISA_SLOT_U32:
            memcpy(at, &w, 4);
            break;
        case ISA_SLOT_END:
            break;
        }
    }
}

static void rb_or_imm(struct rnd *r, struct isa_seq *s)
{
    s->rb = reg_or_none(r);
    s->imm = s->rb == ISA_NO_REG ? edge32(r) : 0;
}

static void seq(struct rnd *r, struct isa_record *rec)
{
    struct isa_seq *s = &rec->body.s;
    uint8_t reg = (uint8_t)rnd_below(r, ISA_REGS);

    switch (rec->opcode) {
    case ISA_OP_REG_MOVE:
        s->rd = reg;
        rb_or_imm(r, s);
        break;
    case ISA_OP_REG_ALU:
        s->op = (uint8_t)rnd_below(r, ISA_REG_OP_COUNT);
        s->rd = reg;
        s->ra = (uint8_t)rnd_below(r, ISA_REGS);
        rb_or_imm(r, s);
        break;
    case ISA_OP_REG_LOAD:
    case ISA_OP_REG_STORE:
        *(rec->opcode == ISA_OP_REG_LOAD ? &s->rd : &s->ra) = reg;
        s->place_mem = rnd_below(r, 2) ? ISA_SBUF : ISA_HBM;
        if (s->place_mem == ISA_SBUF)
            tensor(r, &s->place.tile, 1);
        else
            hbm(r, &s->place.hbm, false);
        break;
    case ISA_OP_BRANCH:
        s->op = (uint8_t)rnd_below(r, ISA_BR_COUNT);
        s->target = rnd_below(r, UINT32_MAX);
        if (s->op != ISA_BR_ALWAYS) {
            s->ra = reg;
            rb_or_imm(r, s);
        }
        break;
    case ISA_OP_SEM_RANGE_CLEAR:
        s->first = (uint16_t)rnd_below(r, 256);
        s->count = (uint16_t)rnd_next(r);
        break;
    case ISA_OP_CORE_BARRIER:
        s->first = (uint16_t)rnd_below(r, 256);
        break;
    case ISA_OP_TRIGGER_COLLECTIVE:
        s->imm = edge32(r) & INT32_MAX;
        s->first = (uint16_t)rnd_below(r, 257);
        break;
    default:
        s->imm = edge32(r);
        break;
    }
}

static void dyn(struct rnd *r, struct isa_record *rec)
{
    struct isa_dyn *d = &rec->body.d;

    d->index_side = (uint8_t)rnd_below(r, 3);
    d->src_mem = d->index_side == 1 || rnd_below(r, 2) ? ISA_HBM : ISA_SBUF;
    d->dst_mem = d->index_side == 2 || rnd_below(r, 2) ? ISA_HBM : ISA_SBUF;
    if (d->src_mem == ISA_HBM)
        hbm(r, &d->src.hbm, d->index_side == 1);
    else
        tensor(r, &d->src.tile, 1);
    if (d->dst_mem == ISA_HBM)
        hbm(r, &d->dst.hbm, d->index_side == 2);
    else
        tensor(r, &d->dst.tile, 1);
    if (d->index_side)
        tensor(r, &d->index, 1);
    d->op = (uint8_t)rnd_below(r, ISA_DYN_OP_COUNT);
    d->mode = (uint8_t)rnd_below(r, ISA_DGE_COUNT);
    d->oob_reg = reg_or_none(r);
    d->oob = d->oob_reg == ISA_NO_REG ? (uint8_t)rnd_below(r, 2) : 0;
    d->queue = (uint16_t)rnd_next(r);
    d->semaphore = (int16_t)((int)rnd_below(r, 257) - 1);
}

static void header(struct rnd *r, struct isa_record *rec)
{
    rec->nwaits = (uint8_t)rnd_below(r, 5);
    rec->nupdates = (uint8_t)rnd_below(r, 5);
    for (unsigned k = 0; k < rec->nwaits; k++) {
        struct isa_wait *w = &rec->wait[k];

        w->kind = (uint8_t)(1 + rnd_below(r, 4));
        w->index = (uint8_t)rnd_next(r);
        w->reg = w->kind >= ISA_WAIT_EVENT_SET ? ISA_NO_REG : reg_or_none(r);
        if (w->kind < ISA_WAIT_EVENT_SET && w->reg == ISA_NO_REG)
            w->value = edge32(r);
    }
    for (unsigned k = 0; k < rec->nupdates; k++) {
        struct isa_update *u = &rec->update[k];
        bool value;

        u->kind = (uint8_t)(1 + rnd_below(r, 7));
        value = u->kind >= ISA_UPD_ADD && u->kind <= ISA_UPD_WRITE;
        u->index = (uint8_t)rnd_next(r);
        u->flags = (uint8_t)rnd_below(r, 4);
        u->reg = value ? reg_or_none(r) : ISA_NO_REG;
        if (value && u->reg == ISA_NO_REG)
            u->value = edge32(r);
    }
}

void record_random(struct rnd *r, struct isa_record *ret)
{
    const struct isa_op_info *info;

    memset(ret, 0, sizeof(*ret));
    do
        ret->opcode = (uint16_t)rnd_below(r, ISA_OP_LIMIT);
    while (!(info = isa_op_info(ret->opcode)));
    ret->version = ISA_VERSION;
    ret->engine = (uint8_t)rnd_below(r, ISA_ENGINES);
    header(r, ret);
    if (info->format == ISA_FMT_COMPUTE)
        compute(r, ret);
    else if (info->format == ISA_FMT_SEQ)
        seq(r, ret);
    else if (info->format == ISA_FMT_DYN)
        dyn(r, ret);
}

struct isa_asm_result *asm_of(const char *text)
{
    struct isa_asm_opts o = {.file = "t", .no_check = true};
    struct isa_asm_result *res;
    struct err err = {0};

    if (isa_asm(text, strlen(text), &o, NULL, &res, &err) != NRT_SUCCESS)
        fail_msg("%s\n%s", err.text, text);
    return res;
}

struct isa_record record_of(const char *preamble, const char *text, unsigned *ret_engine)
{
    static char all[8192];
    struct isa_asm_result *res;
    struct isa_record r = {0};
    bool found = false;

    assert_true(snprintf(all, sizeof(all), "%s\n%s\n", preamble, text) < (int)sizeof(all));
    res = asm_of(all);
    for (unsigned e = 0; e < ISA_ENGINES && !found; e++)
        if (res->core[0].engine[e].n) {
            r = res->core[0].engine[e].records[0];
            *ret_engine = e;
            found = true;
        }
    assert_true(found);
    isa_asm_free(res);
    return r;
}
