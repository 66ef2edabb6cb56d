/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of compute records, by the table of slots: in its order or by name. */
#include "isa/asm_int.h"

#include <string.h>

struct args {
    const struct isa_slot *slots;
    uint64_t set;    /* bit per slot */
    bool pending[3]; /* plain numbers whose kind depends on the operators */
    struct val num[3];
    unsigned parts[3]; /* partitions of a named [P,1] operand, 0 */
};

static bool scalar_tile(struct as *as, struct isa_scalar *s, struct args *a, unsigned k)
{
    struct ref r;

    if (!asm_ref(as, &r))
        return false;
    if (r.mem == ISA_HBM || r.off_reg >= 0)
        return asm_fail(as, "a [P,1] tile at a fixed address is expected");
    for (unsigned d = 0; d < r.nd; d++)
        if (r.num[d] != 1)
            return asm_fail(as, "a [P,1] tile is expected");
    if (r.off < 0 || r.off > UINT32_MAX || r.part > 127)
        return asm_fail(as, "the tile is outside a partition");
    *s = (struct isa_scalar){ISA_SC_TILE, r.mem, r.dtype, (uint8_t)r.part, (uint32_t)r.off};
    a->parts[k] = r.scalar_form ? 0 : r.nparts;
    return true;
}

static uint32_t f32_bits(double f)
{
    float v = (float)f;
    uint32_t u;

    memcpy(&u, &v, 4);
    return u;
}

/* i32(n), f32(x), bits(n) */
static bool scalar_call(struct as *as, struct isa_scalar *s, bool *ret_done)
{
    const struct tok *t = asm_peek(as);
    bool i = tok_is_word(t, "i32"), b = tok_is_word(t, "bits"), f = tok_is_word(t, "f32");
    int64_t n;
    double d;

    *ret_done = false;
    if ((!i && !b && !f) || asm_peek2(as)->kind != TK_PUNCT || asm_peek2(as)->p != '(')
        return true;
    asm_next(as);
    asm_next(as);
    if (f) {
        if (!asm_number(as, &d))
            return false;
        *s = (struct isa_scalar){.kind = ISA_SC_F32, .v = f32_bits(d)};
    } else {
        if (!asm_int_range(as, "constant", b ? 0 : INT32_MIN, b ? UINT32_MAX : INT32_MAX, &n))
            return false;
        *s = (struct isa_scalar){.kind = b ? ISA_SC_F32 : ISA_SC_I32, .v = (uint32_t)n};
    }
    *ret_done = true;
    return asm_want(as, ')');
}

static bool scalar(struct as *as, const struct isa_slot *slot, struct isa_record *r, struct args *a)
{
    struct isa_scalar *s = &r->body.c.s[slot->index];
    struct val v;
    bool done;

    if (asm_ref_starts(as))
        return scalar_tile(as, s, a, slot->index);
    if (!scalar_call(as, s, &done))
        return false;
    if (done)
        return true;
    if (!asm_expr(as, &v))
        return false;
    if (v.kind == VAL_REG) {
        if (v.i || v.mul != 1)
            return asm_fail(as, "a plain register is expected");
        *s = (struct isa_scalar){.kind = ISA_SC_REG, .v = v.reg};
        return true;
    }
    a->pending[slot->index] = true;
    a->num[slot->index] = v;
    return true;
}

static bool pattern_dims(struct as *as, struct isa_pattern *p)
{
    int64_t step[4], num[4];
    unsigned n = 0;

    if (!asm_want(as, '['))
        return false;
    do {
        if (n == 4)
            return asm_fail(as, "more than 4 pattern dimensions");
        if (!asm_want(as, '[') || !asm_int_range(as, "step", INT32_MIN, INT32_MAX, &step[n]) ||
            !asm_want(as, ',') || !asm_int_range(as, "num", 0, UINT16_MAX, &num[n]) ||
            !asm_want(as, ']'))
            return false;
        n++;
    } while (asm_take(as, ','));
    p->ndim = (uint8_t)n;
    for (unsigned k = 0; k < n; k++) {
        p->step[k] = (int32_t)step[n - 1 - k];
        p->num[k] = (uint16_t)num[n - 1 - k];
    }
    return asm_want(as, ']');
}

static bool pattern_offset(struct as *as, struct isa_pattern *p)
{
    struct val v;

    if (!asm_expr(as, &v))
        return false;
    if (v.kind == VAL_FLOAT || v.i < INT32_MIN || v.i > INT32_MAX ||
        (v.kind == VAL_REG && v.mul != 1))
        return asm_fail(as, "an offset is a 32-bit integer, a register, or their sum");
    p->offset = (int32_t)v.i;
    p->off_reg = v.kind == VAL_REG ? v.reg : ISA_NO_REG;
    return true;
}

static bool mask_list(struct as *as, uint8_t *mask)
{
    int64_t n;

    if (!asm_is(as, '[')) {
        if (!asm_int_range(as, "mask entry", 0, 255, &n))
            return false;
        memset(mask, (int)n, 32);
        return true;
    }
    asm_next(as);
    for (unsigned k = 0; k < 32; k++) {
        if ((k && !asm_want(as, ',')) || !asm_int_range(as, "mask entry", 0, 255, &n))
            return false;
        mask[k] = (uint8_t)n;
    }
    return asm_want(as, ']');
}

static bool word_slot(struct as *as, const struct isa_slot *s, uint8_t *byte)
{
    const struct tok *t = asm_peek(as);
    int v = -1;

    if (t->kind == TK_IDENT && s->kind == ISA_SLOT_ALU) {
        v = (int)isa_alu_from_name(t->s, t->len);
        if (v == 0)
            v = tok_is_word(t, "none") ? 0 : -1;
    } else if (t->kind == TK_IDENT && s->kind == ISA_SLOT_ACT) {
        v = isa_act_from_name(t->s, t->len);
    } else if (t->kind == TK_IDENT) {
        v = isa_rc_from_name(t->s, t->len);
    }
    if (v < 0)
        return asm_fail(as, "%.*s is no %s", (int)(t->kind == TK_IDENT ? t->len : 1), t->s,
                        s->kind == ISA_SLOT_ACT  ? "activation function"
                        : s->kind == ISA_SLOT_RC ? "reduce command"
                                                 : "operator");
    asm_next(as);
    *byte = (uint8_t)v;
    return true;
}

static bool slot_value(struct as *as, const struct isa_slot *s, struct isa_record *r,
                       struct args *a)
{
    uint8_t *at = r->body.raw + s->off;
    struct ref ref;
    int64_t n;

    switch ((enum isa_slot_kind)s->kind) {
    case ISA_SLOT_TENSOR:
        return asm_ref(as, &ref) && asm_ref_tensor(as, &ref, &r->body.c.t[s->index]);
    case ISA_SLOT_SCALAR:
        return scalar(as, s, r, a);
    case ISA_SLOT_ALU:
    case ISA_SLOT_ACT:
    case ISA_SLOT_RC:
        return word_slot(as, s, at);
    case ISA_SLOT_FLAG:
    case ISA_SLOT_REVERSE:
        if (!asm_int_range(as, s->name, 0, 1, &n))
            return false;
        *at = s->kind == ISA_SLOT_FLAG ? (uint8_t)n : (uint8_t)(*at | n << s->index);
        return true;
    case ISA_SLOT_U8:
        if (strcmp(s->name, "perf_mode") == 0 && asm_take_word(as, "double_row")) {
            *at = 1;
            return true;
        }
        if (!asm_int_range(as, s->name, 0, 255, &n))
            return false;
        *at = (uint8_t)n;
        return true;
    case ISA_SLOT_PATTERN:
        return pattern_dims(as, &r->body.c.x.pattern);
    case ISA_SLOT_MASK:
        return mask_list(as, at);
    case ISA_SLOT_I32:
    case ISA_SLOT_U32: {
        uint32_t w;

        if (!asm_int_range(as, s->name, s->kind == ISA_SLOT_I32 ? INT32_MIN : 0,
                           s->kind == ISA_SLOT_I32 ? INT32_MAX : UINT32_MAX, &n))
            return false;
        w = (uint32_t)n;
        memcpy(at, &w, 4);
        return true;
    }
    case ISA_SLOT_END:
        break;
    }
    return false;
}

static bool is_flag(const struct isa_slot *s)
{
    return s->kind == ISA_SLOT_FLAG || s->kind == ISA_SLOT_REVERSE;
}

static const struct isa_slot *slot_by_word(const struct isa_slot *s, const struct tok *t)
{
    for (; s->kind != ISA_SLOT_END; s++)
        if (tok_is_word(t, s->name))
            return s;
    return NULL;
}

static bool has_pattern(const struct isa_slot *s)
{
    for (; s->kind != ISA_SLOT_END; s++)
        if (s->kind == ISA_SLOT_PATTERN)
            return true;
    return false;
}

static bool keyword_arg(struct as *as, struct isa_record *r, struct args *a)
{
    const struct tok *t = asm_next(as);
    const struct isa_slot *s = slot_by_word(a->slots, t);
    int64_t n;

    asm_next(as); /* = */
    if (!s && has_pattern(a->slots)) {
        if (tok_is_word(t, "offset"))
            return pattern_offset(as, &r->body.c.x.pattern);
        if (tok_is_word(t, "channel_multiplier")) {
            if (!asm_int_range(as, "channel_multiplier", INT32_MIN, INT32_MAX, &n))
                return false;
            r->body.c.x.pattern.channel_multiplier = (int32_t)n;
            return true;
        }
    }
    if (!s)
        return asm_fail(as, "%s has no operand %.*s", isa_op_info(r->opcode)->name, (int)t->len,
                        t->s);
    if (a->set >> (s - a->slots) & 1)
        return asm_fail(as, "%s is given twice", s->name);
    a->set |= 1ull << (s - a->slots);
    return slot_value(as, s, r, a);
}

static bool one_arg(struct as *as, struct isa_record *r, struct args *a)
{
    const struct tok *t = asm_peek(as), *t2 = asm_peek2(as);
    const struct isa_slot *s;

    if (t->kind == TK_IDENT && t2->kind == TK_PUNCT && t2->p == '=')
        return keyword_arg(as, r, a);
    s = t->kind == TK_IDENT ? slot_by_word(a->slots, t) : NULL;
    if (s && is_flag(s)) {
        uint8_t *at = r->body.raw + s->off;

        asm_next(as);
        *at |= (uint8_t)(s->kind == ISA_SLOT_FLAG ? 1 : 1 << s->index);
        a->set |= 1ull << (s - a->slots);
        return true;
    }
    for (s = a->slots; s->kind != ISA_SLOT_END; s++)
        if (!is_flag(s) && !(a->set >> (s - a->slots) & 1))
            break;
    if (s->kind == ISA_SLOT_END)
        return asm_fail(as, "%s has no further operand", isa_op_info(r->opcode)->name);
    a->set |= 1ull << (s - a->slots);
    return slot_value(as, s, r, a);
}

/* The bits of a number in dst's type. */
static bool const_bits(struct as *as, const struct val *v, unsigned dtype, uint32_t *ret)
{
    enum dtype t = (enum dtype)dtype;
    size_t size = dtype_size(t);
    uint8_t cell[8] = {0};

    if (size == 0 || size > 4)
        return asm_fail(as, "no constant of type %s", dtype_name(t));
    if (dtype_is_int(t)) {
        int64_t lo = dtype_kind(t) == DTK_INT ? -((int64_t)1 << (8 * size - 1)) : 0;
        int64_t hi = dtype_kind(t) == DTK_INT ? -lo - 1 : ((int64_t)1 << 8 * size) - 1;

        if (v->kind != VAL_INT || v->i < lo || v->i > hi)
            return asm_fail(as, "the constant is no %s", dtype_name(t));
        *ret = (uint32_t)(v->i & hi) | (v->i < 0 ? 1u << (8 * size - 1) : 0);
        return true;
    }
    dtype_store(t, cell, (float)(v->kind == VAL_INT ? (double)v->i : v->f));
    memcpy(ret, cell, 4);
    return true;
}

static bool finish_scalars(struct as *as, struct isa_record *r, const struct args *a)
{
    const struct isa_compute *b = &r->body.c;
    unsigned lanes = b->t[1].mem ? b->t[1].nparts : b->t[0].nparts;
    bool bits = isa_alu_is_bit(b->op0) || isa_alu_is_bit(b->op1);

    for (const struct isa_slot *s = a->slots; s->kind != ISA_SLOT_END; s++) {
        struct isa_scalar *out;
        const struct val *v;

        if (s->kind != ISA_SLOT_SCALAR)
            continue;
        out = &r->body.c.s[s->index];
        v = &a->num[s->index];
        if (a->parts[s->index] && a->parts[s->index] != lanes)
            return asm_fail(as, "%s has %u partitions, the record %u", s->name, a->parts[s->index],
                            lanes);
        if (!a->pending[s->index])
            continue;
        if (s->flags & ISA_SF_BITS) {
            out->kind = ISA_SC_I32;
            if (!const_bits(as, v, b->t[0].dtype, &out->v))
                return false;
        } else if (bits) {
            if (v->kind != VAL_INT || v->i < INT32_MIN || v->i > UINT32_MAX)
                return asm_fail(as, "%s: a bit operator wants a 32-bit integer", s->name);
            out->kind = ISA_SC_I32;
            out->v = (uint32_t)v->i;
        } else {
            out->kind = ISA_SC_F32;
            out->v = f32_bits(v->kind == VAL_INT ? (double)v->i : v->f);
        }
    }
    return true;
}

bool asm_compute(struct as *as, struct isa_record *r)
{
    struct args a = {.slots = isa_op_slots(r->opcode)};

    if (has_pattern(a.slots))
        r->body.c.x.pattern.off_reg = ISA_NO_REG;
    if (!asm_at_end(as))
        do {
            if (!one_arg(as, r, &a))
                return false;
        } while (asm_take(as, ','));
    for (const struct isa_slot *s = a.slots; s->kind != ISA_SLOT_END; s++) {
        if (a.set >> (s - a.slots) & 1)
            continue;
        if (!(s->flags & ISA_SF_OPT))
            return asm_fail(as, "%s: %s is missing", isa_op_info(r->opcode)->name, s->name);
        if (s->kind == ISA_SLOT_ALU || s->kind == ISA_SLOT_RC || s->kind == ISA_SLOT_U8)
            r->body.raw[s->off] = s->def;
    }
    return finish_scalars(as, r, &a);
}
