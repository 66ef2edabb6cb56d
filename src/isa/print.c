/* SPDX-License-Identifier: Apache-2.0 */
/* Records to text. A record whose bytes the text form cannot give back exactly (unknown opcodes,
 * bytes set where a format has none) is printed as `raw` with all its bytes. */
#include "isa/asm.h"
#include "isa/isa_int.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static bool zero(const void *p, size_t n)
{
    const uint8_t *b = p;

    return n == 0 || (b[0] == 0 && memcmp(b, b + 1, n - 1) == 0);
}

/* ---- what the text form can say ---- */

static bool reg_or_none(unsigned r)
{
    return r < ISA_REGS || r == ISA_NO_REG;
}

static bool tensor_ok(const struct isa_tensor *t)
{
    if ((t->mem != ISA_SBUF && t->mem != ISA_PSUM) || dtype_size((enum dtype)t->dtype) == 0 ||
        t->ndim < 1 || t->ndim > 4 || t->pad || t->index || !reg_or_none(t->off_reg) ||
        (t->off_reg == ISA_NO_REG && t->off_mul))
        return false;
    for (unsigned k = t->ndim; k < 4; k++)
        if (t->dim[k].num || t->dim[k].step)
            return false;
    return true;
}

static bool hbm_ok(const struct isa_hbm *h, bool rows)
{
    if (dtype_size((enum dtype)h->dtype) == 0 || h->ndim < 1 || h->ndim > 4 || h->pad || h->pad2 ||
        !reg_or_none(h->off_reg) || (rows && h->off_reg != ISA_NO_REG) ||
        (!rows && h->off_reg == ISA_NO_REG && h->off_mul))
        return false;
    if (h->bound_first > INT64_MAX || h->bound_bytes > INT64_MAX || h->offset == INT64_MIN)
        return false;
    for (unsigned k = 0; k < 4; k++)
        if ((k >= h->ndim && (h->num[k] || h->step[k])) || h->step[k] == INT64_MIN)
            return false;
    return true;
}

static bool scalar_ok(const struct isa_scalar *s, bool bits)
{
    switch (s->kind) {
    case ISA_SC_NONE:
        return zero(s, sizeof(*s));
    case ISA_SC_F32:
    case ISA_SC_I32:
        return !s->mem && !s->dtype && !s->part && !(bits && s->kind == ISA_SC_F32);
    case ISA_SC_REG:
        return !s->mem && !s->dtype && !s->part && s->v < ISA_REGS;
    case ISA_SC_TILE:
        return (s->mem == ISA_SBUF || s->mem == ISA_PSUM) && s->part < 128 &&
               dtype_size((enum dtype)s->dtype) != 0;
    default:
        return false;
    }
}

static bool pattern_ok(const struct isa_pattern *p)
{
    if (p->ndim < 1 || p->ndim > 4 || p->pad[0] || p->pad[1] || !reg_or_none(p->off_reg))
        return false;
    for (unsigned k = p->ndim; k < 4; k++)
        if (p->step[k] || p->num[k])
            return false;
    return true;
}

static bool header_ok(const struct isa_record *r)
{
    if (r->version != ISA_VERSION || r->engine >= ISA_ENGINES || r->pad[0] || r->pad[1] ||
        r->nwaits > 4 || r->nupdates > 4)
        return false;
    for (unsigned k = 0; k < 4; k++) {
        const struct isa_wait *w = &r->wait[k];
        const struct isa_update *u = &r->update[k];
        bool event = w->kind >= ISA_WAIT_EVENT_SET;
        bool value = u->kind >= ISA_UPD_ADD && u->kind <= ISA_UPD_WRITE;

        if (k >= r->nwaits
                ? !zero(w, sizeof(*w))
                : w->kind < ISA_WAIT_SEM_GE || w->kind > ISA_WAIT_EVENT_CLEAR || w->pad ||
                      !reg_or_none(w->reg) || ((event || w->reg != ISA_NO_REG) && w->value) ||
                      (event && w->reg != ISA_NO_REG))
            return false;
        if (k >= r->nupdates
                ? !zero(u, sizeof(*u))
                : u->kind < ISA_UPD_INC || u->kind > ISA_UPD_EVENT_CLEAR || u->flags & ~3 ||
                      !reg_or_none(u->reg) || ((!value || u->reg != ISA_NO_REG) && u->value) ||
                      (!value && u->reg != ISA_NO_REG))
            return false;
    }
    return true;
}

static bool compute_ok(const struct isa_record *r)
{
    const struct isa_slot *s = isa_op_slots(r->opcode);
    uint64_t mask[31], w;
    unsigned rev = 0;

    isa_op_used_mask(r->opcode, mask);
    for (unsigned i = 0; i < 31; i++) {
        memcpy(&w, r->body.raw + 8 * i, 8);
        if (w & ~mask[i])
            return false;
    }
    for (; s->kind != ISA_SLOT_END; s++) {
        unsigned b = r->body.raw[s->off];
        const struct isa_tensor *t = &r->body.c.t[s->index < 5 ? s->index : 0];
        bool opt = s->flags & ISA_SF_OPT, ok = true;

        switch ((enum isa_slot_kind)s->kind) {
        case ISA_SLOT_TENSOR:
            ok = t->mem == ISA_MEM_NONE ? opt && zero(t, sizeof(*t)) : tensor_ok(t);
            break;
        case ISA_SLOT_SCALAR:
            ok = scalar_ok(&r->body.c.s[s->index], s->flags & ISA_SF_BITS) &&
                 (opt || r->body.c.s[s->index].kind != ISA_SC_NONE);
            break;
        case ISA_SLOT_ALU:
            ok = b < ISA_ALU_COUNT && (opt || b);
            break;
        case ISA_SLOT_ACT:
            ok = b < ISA_ACT_COUNT;
            break;
        case ISA_SLOT_RC:
            ok = b < ISA_RC_COUNT;
            break;
        case ISA_SLOT_FLAG:
            ok = b <= 1;
            break;
        case ISA_SLOT_REVERSE:
            rev |= 1u << s->index;
            break;
        case ISA_SLOT_PATTERN:
            ok = pattern_ok(&r->body.c.x.pattern);
            break;
        case ISA_SLOT_U8:
        case ISA_SLOT_MASK:
        case ISA_SLOT_I32:
        case ISA_SLOT_U32:
        case ISA_SLOT_END:
            break;
        }
        if (!ok)
            return false;
    }
    return (r->body.c.reverse & ~rev) == 0;
}

static bool rb_ok(const struct isa_seq *s)
{
    return reg_or_none(s->rb) && (s->rb == ISA_NO_REG || s->imm == 0);
}

static bool place_ok(const struct isa_seq *s)
{
    if (s->place_mem == ISA_HBM)
        return hbm_ok(&s->place.hbm, false);
    return s->place_mem == ISA_SBUF && s->place.tile.mem == ISA_SBUF && tensor_ok(&s->place.tile) &&
           zero((const uint8_t *)&s->place + sizeof(struct isa_tensor),
                sizeof(s->place) - sizeof(struct isa_tensor));
}

static bool seq_ok(const struct isa_record *r)
{
    const struct isa_seq *s = &r->body.s;
    struct isa_seq want = {0};
    bool ok = true;

    switch (r->opcode) {
    case ISA_OP_REG_MOVE:
        ok = s->rd < ISA_REGS && rb_ok(s);
        want.rd = s->rd;
        want.rb = s->rb;
        want.imm = s->imm;
        break;
    case ISA_OP_REG_ALU:
        ok = s->op < ISA_REG_OP_COUNT && s->rd < ISA_REGS && s->ra < ISA_REGS && rb_ok(s);
        want.op = s->op;
        want.rd = s->rd;
        want.ra = s->ra;
        want.rb = s->rb;
        want.imm = s->imm;
        break;
    case ISA_OP_REG_LOAD:
    case ISA_OP_REG_STORE:
        ok = s->rd < ISA_REGS && s->ra < ISA_REGS && place_ok(s);
        want.rd = r->opcode == ISA_OP_REG_LOAD ? s->rd : 0;
        want.ra = r->opcode == ISA_OP_REG_STORE ? s->ra : 0;
        want.place_mem = s->place_mem;
        want.place = s->place;
        break;
    case ISA_OP_BRANCH:
        ok = s->op < ISA_BR_COUNT &&
             (s->op == ISA_BR_ALWAYS ? !s->ra && !s->rb && !s->imm : s->ra < ISA_REGS && rb_ok(s));
        want.op = s->op;
        want.ra = s->ra;
        want.rb = s->rb;
        want.imm = s->imm;
        want.target = s->target;
        break;
    case ISA_OP_SEM_RANGE_CLEAR:
        ok = s->first < ISA_SEMAPHORES;
        want.first = s->first;
        want.count = s->count;
        break;
    case ISA_OP_CORE_BARRIER:
        ok = s->first < ISA_SEMAPHORES;
        want.first = s->first;
        break;
    case ISA_OP_TRIGGER_COLLECTIVE:
        ok = s->first <= ISA_SEMAPHORES && s->imm >= 0;
        want.first = s->first;
        want.imm = s->imm;
        break;
    default: /* DMA_TRIGGER */
        want.imm = s->imm;
        break;
    }
    return ok && memcmp(s, &want, sizeof(want)) == 0 &&
           zero(r->body.raw + sizeof(*s), sizeof(r->body) - sizeof(*s));
}

static bool dyn_side_ok(unsigned mem, const union isa_place *p, bool rows)
{
    if (mem == ISA_HBM)
        return hbm_ok(&p->hbm, rows);
    return mem == ISA_SBUF && !rows && p->tile.mem == ISA_SBUF && tensor_ok(&p->tile) &&
           zero((const uint8_t *)p + sizeof(struct isa_tensor),
                sizeof(*p) - sizeof(struct isa_tensor));
}

static bool dyn_ok(const struct isa_record *r)
{
    const struct isa_dyn *d = &r->body.d;

    return d->index_side <= 2 && dyn_side_ok(d->src_mem, &d->src, d->index_side == 1) &&
           dyn_side_ok(d->dst_mem, &d->dst, d->index_side == 2) && d->op < ISA_DYN_OP_COUNT &&
           d->mode < ISA_DGE_COUNT && reg_or_none(d->oob_reg) && d->oob <= 1 &&
           !(d->oob && d->oob_reg != ISA_NO_REG) && d->pad == 0 && d->semaphore >= -1 &&
           d->semaphore < ISA_SEMAPHORES &&
           (d->index_side ? d->index.mem == ISA_SBUF && tensor_ok(&d->index)
                          : zero(&d->index, sizeof(d->index))) &&
           zero(d->pad2, sizeof(d->pad2)) &&
           zero(r->body.raw + sizeof(*d), sizeof(r->body) - sizeof(*d));
}

static bool sayable(const struct isa_record *r)
{
    const struct isa_op_info *info = isa_op_info(r->opcode);

    if (!info || !header_ok(r))
        return false;
    switch (info->format) {
    case ISA_FMT_NONE:
        return zero(&r->body, sizeof(r->body));
    case ISA_FMT_COMPUTE:
        return compute_ok(r);
    case ISA_FMT_SEQ:
        return seq_ok(r);
    case ISA_FMT_DYN:
        return dyn_ok(r);
    }
    return false;
}

/* ---- printing ---- */

static void put_tensor(struct strbuf *b, const struct isa_tensor *t)
{
    strbuf_printf(b, "%s.%s(%u:%u, %u", t->mem == ISA_SBUF ? "sbuf" : "psum",
                  dtype_name((enum dtype)t->dtype), t->part, t->part + t->nparts, t->offset);
    for (unsigned k = t->ndim; k-- > 0;)
        strbuf_printf(b, ", [%d,%u]", t->dim[k].step, t->dim[k].num);
    if (t->off_reg != ISA_NO_REG)
        strbuf_printf(b, ", +r%u*%d", t->off_reg, t->off_mul);
    strbuf_put(b, ")");
}

static void put_hbm(struct strbuf *b, const struct isa_hbm *h, const struct isa_tensor *index)
{
    strbuf_printf(b, "hbm.%s(%u, %" PRId64, dtype_name((enum dtype)h->dtype), h->var_id, h->offset);
    for (unsigned k = h->ndim; k-- > 0;)
        strbuf_printf(b, ", [%" PRId64 ",%u]", h->step[k], h->num[k]);
    if (h->off_reg != ISA_NO_REG)
        strbuf_printf(b, ", +r%u*%d", h->off_reg, h->off_mul);
    if (index) {
        strbuf_put(b, ", @");
        put_tensor(b, index);
        strbuf_printf(b, "*%d", h->off_mul);
    }
    if (h->bound_first || h->bound_bytes)
        strbuf_printf(b, ", bound(%" PRIu64 ", %" PRIu64 ")", h->bound_first, h->bound_bytes);
    strbuf_put(b, ")");
}

static void put_f32(struct strbuf *b, uint32_t u)
{
    char text[32];
    float f;

    memcpy(&f, &u, 4);
    if (isnan(f)) {
        strbuf_printf(b, "bits(0x%08x)", u);
        return;
    }
    snprintf(text, sizeof(text), "%.9g", (double)f);
    strbuf_put(b, text);
    if (!strpbrk(text, ".einf"))
        strbuf_put(b, ".0");
}

static void put_scalar(struct strbuf *b, const struct isa_scalar *s, bool bit_op)
{
    switch (s->kind) {
    case ISA_SC_F32:
        if (bit_op) {
            strbuf_printf(b, "bits(0x%08x)", s->v);
            break;
        }
        put_f32(b, s->v);
        break;
    case ISA_SC_I32:
        strbuf_printf(b, "i32(%d)", (int32_t)s->v);
        break;
    case ISA_SC_REG:
        strbuf_printf(b, "r%u", s->v);
        break;
    default:
        strbuf_printf(b, "%s.%s(%u, %u)", s->mem == ISA_SBUF ? "sbuf" : "psum",
                      dtype_name((enum dtype)s->dtype), s->part, s->v);
        break;
    }
}

static void put_pattern(struct strbuf *b, const struct isa_pattern *p)
{
    strbuf_put(b, "pattern=[");
    for (unsigned k = p->ndim; k-- > 0;)
        strbuf_printf(b, "[%d,%u]%s", p->step[k], p->num[k], k ? ", " : "]");
    if (p->off_reg != ISA_NO_REG)
        strbuf_printf(b, ", offset=r%u+%d", p->off_reg, p->offset);
    else if (p->offset)
        strbuf_printf(b, ", offset=%d", p->offset);
    if (p->channel_multiplier)
        strbuf_printf(b, ", channel_multiplier=%d", p->channel_multiplier);
}

static void put_mask(struct strbuf *b, const uint8_t *m)
{
    strbuf_put(b, "mask=[");
    for (unsigned k = 0; k < 32; k++)
        strbuf_printf(b, "%s%u", k ? "," : "", m[k]);
    strbuf_put(b, "]");
}

static const char *enum_name(const struct isa_slot *s, unsigned v)
{
    if (s->kind == ISA_SLOT_ACT)
        return isa_act_name(v);
    if (s->kind == ISA_SLOT_RC)
        return isa_rc_name(v);
    return v ? isa_alu_name(v) : "none";
}

/* One operand, with its separator; nothing when it is left out. Leading required tensors go without
 * their names. */
static void put_slot(struct strbuf *b, const struct isa_record *r, const struct isa_slot *s,
                     bool *plain)
{
    const struct isa_compute *c = &r->body.c;
    const uint8_t *at = r->body.raw + s->off;
    bool bit_op = isa_alu_is_bit(c->op0) || isa_alu_is_bit(c->op1);
    const char *sep = b->len && b->s[b->len - 1] == ' ' ? "" : ", ";
    int32_t w;

    if (s->kind != ISA_SLOT_TENSOR || (s->flags & ISA_SF_OPT))
        *plain = false;
    switch ((enum isa_slot_kind)s->kind) {
    case ISA_SLOT_TENSOR:
        if (c->t[s->index].mem == ISA_MEM_NONE)
            return;
        strbuf_put(b, sep);
        if (!*plain)
            strbuf_printf(b, "%s=", s->name);
        put_tensor(b, &c->t[s->index]);
        return;
    case ISA_SLOT_SCALAR:
        if (c->s[s->index].kind == ISA_SC_NONE)
            return;
        strbuf_printf(b, "%s%s=", sep, s->name);
        put_scalar(b, &c->s[s->index], bit_op);
        return;
    case ISA_SLOT_ALU:
    case ISA_SLOT_ACT:
    case ISA_SLOT_RC:
        if (!(s->flags & ISA_SF_OPT) || *at != s->def)
            strbuf_printf(b, "%s%s=%s", sep, s->name, enum_name(s, *at));
        return;
    case ISA_SLOT_FLAG:
        if (*at)
            strbuf_printf(b, "%s%s", sep, s->name);
        return;
    case ISA_SLOT_REVERSE:
        if (*at >> s->index & 1)
            strbuf_printf(b, "%s%s", sep, s->name);
        return;
    case ISA_SLOT_U8:
        if (*at != s->def)
            strbuf_printf(b, "%s%s=%u", sep, s->name, *at);
        return;
    case ISA_SLOT_PATTERN:
        strbuf_put(b, sep);
        put_pattern(b, &c->x.pattern);
        return;
    case ISA_SLOT_MASK:
        strbuf_put(b, sep);
        put_mask(b, c->x.mask);
        return;
    case ISA_SLOT_I32:
    case ISA_SLOT_U32:
        memcpy(&w, at, 4);
        if (w && s->kind == ISA_SLOT_I32)
            strbuf_printf(b, "%s%s=%d", sep, s->name, w);
        else if (w)
            strbuf_printf(b, "%s%s=%u", sep, s->name, (uint32_t)w);
        return;
    case ISA_SLOT_END:
        return;
    }
}

static void put_rb(struct strbuf *b, const struct isa_seq *s)
{
    if (s->rb == ISA_NO_REG)
        strbuf_printf(b, "%d", s->imm);
    else
        strbuf_printf(b, "r%u", s->rb);
}

static void put_place(struct strbuf *b, const struct isa_seq *s)
{
    if (s->place_mem == ISA_HBM)
        put_hbm(b, &s->place.hbm, NULL);
    else
        put_tensor(b, &s->place.tile);
}

static void put_seq(struct strbuf *b, const struct isa_record *r)
{
    const struct isa_seq *s = &r->body.s;

    switch (r->opcode) {
    case ISA_OP_REG_MOVE:
        strbuf_printf(b, "r%u = ", s->rd);
        put_rb(b, s);
        break;
    case ISA_OP_REG_ALU:
        strbuf_printf(b, "r%u = r%u %s ", s->rd, s->ra, isa_reg_op_name(s->op));
        put_rb(b, s);
        break;
    case ISA_OP_REG_LOAD:
        strbuf_printf(b, "r%u = load(", s->rd);
        put_place(b, s);
        strbuf_put(b, ")");
        break;
    case ISA_OP_REG_STORE:
        strbuf_put(b, "store ");
        put_place(b, s);
        strbuf_printf(b, ", r%u", s->ra);
        break;
    case ISA_OP_BRANCH:
        if (s->op != ISA_BR_ALWAYS) {
            strbuf_printf(b, "if r%u %s ", s->ra, isa_cond_name(s->op));
            put_rb(b, s);
            strbuf_put(b, " ");
        }
        strbuf_printf(b, "goto @%u", s->target);
        break;
    case ISA_OP_SEM_RANGE_CLEAR:
        strbuf_printf(b, "sem_range_clear %u, %u", s->first, s->count);
        break;
    case ISA_OP_CORE_BARRIER:
        strbuf_printf(b, "core_barrier $S[%u]", s->first);
        break;
    case ISA_OP_TRIGGER_COLLECTIVE:
        strbuf_printf(b, "trigger_collective %d", s->imm);
        if (s->first)
            strbuf_printf(b, ", $S[%u]", s->first - 1);
        break;
    default:
        strbuf_printf(b, "dma_trigger %d", s->imm);
        break;
    }
}

static void put_dyn(struct strbuf *b, const struct isa_record *r)
{
    static const char *const ops[] = {"copy", "transpose", "add"};
    const struct isa_dyn *d = &r->body.d;

    strbuf_put(b, "dma_dyn ");
    if (d->dst_mem == ISA_HBM)
        put_hbm(b, &d->dst.hbm, d->index_side == 2 ? &d->index : NULL);
    else
        put_tensor(b, &d->dst.tile);
    strbuf_put(b, ", ");
    if (d->src_mem == ISA_HBM)
        put_hbm(b, &d->src.hbm, d->index_side == 1 ? &d->index : NULL);
    else
        put_tensor(b, &d->src.tile);
    strbuf_printf(b, ", queue=%u, mode=%s", d->queue, d->mode == ISA_DGE_HW ? "hwdge" : "swdge");
    if (d->op)
        strbuf_printf(b, ", op=%s", ops[d->op]);
    if (d->oob_reg != ISA_NO_REG)
        strbuf_printf(b, ", oob=r%u", d->oob_reg);
    else if (d->oob)
        strbuf_put(b, ", oob=skip");
    if (d->semaphore >= 0)
        strbuf_printf(b, ", sem=$S[%d]", d->semaphore);
}

static void put_waits(struct strbuf *b, const struct isa_record *r)
{
    for (unsigned k = 0; k < r->nwaits; k++) {
        const struct isa_wait *w = &r->wait[k];

        strbuf_put(b, k ? ", " : "wait ");
        if (w->kind >= ISA_WAIT_EVENT_SET) {
            strbuf_printf(b, "%s$E[%u]", w->kind == ISA_WAIT_EVENT_CLEAR ? "!" : "", w->index);
            continue;
        }
        strbuf_printf(b, "$S[%u]%s", w->index, w->kind == ISA_WAIT_SEM_GE ? ">=" : "==");
        if (w->reg != ISA_NO_REG)
            strbuf_printf(b, "r%u", w->reg);
        else
            strbuf_printf(b, "%d", w->value);
    }
    if (r->nwaits)
        strbuf_put(b, ": ");
}

static void put_updates(struct strbuf *b, const struct isa_record *r)
{
    static const char *const signs[] = {[ISA_UPD_INC] = "++",
                                        [ISA_UPD_DEC] = "--",
                                        [ISA_UPD_ADD] = "+=",
                                        [ISA_UPD_SUB] = "-=",
                                        [ISA_UPD_WRITE] = "="};

    for (unsigned k = 0; k < r->nupdates; k++) {
        const struct isa_update *u = &r->update[k];

        strbuf_put(b, k ? ", " : " -> ");
        if (u->flags & ISA_UPD_PEER)
            strbuf_put(b, "peer ");
        if (u->kind >= ISA_UPD_EVENT_SET) {
            strbuf_printf(b, "$E[%u]=%d", u->index, u->kind == ISA_UPD_EVENT_SET);
        } else {
            strbuf_printf(b, "$S[%u]%s", u->index, signs[u->kind]);
            if (u->kind >= ISA_UPD_ADD && u->reg != ISA_NO_REG)
                strbuf_printf(b, "r%u", u->reg);
            else if (u->kind >= ISA_UPD_ADD)
                strbuf_printf(b, "%d", u->value);
        }
        if (u->flags & ISA_UPD_AT_READ)
            strbuf_put(b, "@read");
    }
}

static void put_raw(struct strbuf *b, const struct isa_record *r)
{
    const uint8_t *bytes = (const uint8_t *)r;

    strbuf_put(b, "raw \"");
    for (size_t i = 0; i < sizeof(*r); i++)
        strbuf_printf(b, "%02x", bytes[i]);
    strbuf_put(b, "\"");
}

void isa_print_record(const struct isa_record *r, struct strbuf *out)
{
    const struct isa_op_info *info = isa_op_info(r->opcode);
    bool plain = true;

    if (!sayable(r)) {
        put_raw(out, r);
        return;
    }
    put_waits(out, r);
    switch (info->format) {
    case ISA_FMT_NONE:
        strbuf_put(out, info->name);
        break;
    case ISA_FMT_COMPUTE:
        strbuf_printf(out, "%s ", info->name);
        for (const struct isa_slot *s = isa_op_slots(r->opcode); s->kind != ISA_SLOT_END; s++)
            put_slot(out, r, s, &plain);
        break;
    case ISA_FMT_SEQ:
        put_seq(out, r);
        break;
    case ISA_FMT_DYN:
        put_dyn(out, r);
        break;
    }
    put_updates(out, r);
}

void isa_print_program(const struct isa_record *r, size_t n, enum isa_engine engine,
                       struct strbuf *out)
{
    uint8_t *landing = mem_zalloc(n / 8 + 1);

    if (!landing) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (r[i].opcode == ISA_OP_BRANCH && r[i].body.s.target < n)
            landing[r[i].body.s.target / 8] |= (uint8_t)(1 << r[i].body.s.target % 8);
    strbuf_printf(out, "%s:\n", isa_engine_name(engine));
    for (size_t i = 0; i < n && !out->failed; i++) {
        if (landing[i / 8] >> i % 8 & 1)
            strbuf_printf(out, "; @%zu\n", i);
        strbuf_put(out, "    ");
        if (r[i].engine == engine)
            isa_print_record(&r[i], out);
        else
            put_raw(out, &r[i]);
        strbuf_put(out, "\n");
    }
    mem_free(landing);
}
