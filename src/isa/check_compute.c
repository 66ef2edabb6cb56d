/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that every compute record shares: which bytes may be set, operands' memories, scalars, and
 * the enumerators. What single functions ask for is in rules.c. */
#include "isa/isa_int.h"

#include <string.h>

static NRT_STATUS check_memory(struct isa_check *c, const struct isa_tensor *t, const char *name,
                               bool out)
{
    if (t->mem == ISA_PSUM && c->engine == ISA_POOL)
        return isa_check_fail(c, "%s in PSUM: pool reaches SBUF only", name);
    if (c->engine == ISA_PE && out && t->mem != ISA_PSUM)
        return isa_check_fail(c, "%s: pe writes PSUM only", name);
    if (c->engine == ISA_PE && !out && t->mem != ISA_SBUF)
        return isa_check_fail(c, "%s: pe reads SBUF only", name);
    return NRT_SUCCESS;
}

static NRT_STATUS check_tensor_slot(struct isa_check *c, const struct isa_slot *s)
{
    const struct isa_tensor *t = &c->r->body.c.t[s->index];
    static const struct isa_tensor none;
    bool out = s->flags & ISA_SF_OUT;
    NRT_STATUS st;

    if (t->mem == ISA_MEM_NONE) {
        if (!(s->flags & ISA_SF_OPT))
            return isa_check_fail(c, "%s is missing", s->name);
        if (memcmp(t, &none, sizeof(none)) != 0)
            return isa_check_fail(c, "%s is absent and not zero", s->name);
        return NRT_SUCCESS;
    }
    st = isa_check_tensor(c, t, s->name, out ? ISA_CT_OUT : 0);
    return st != NRT_SUCCESS ? st : check_memory(c, t, s->name, out);
}

/* The partitions that a [P,1] tile must have: those of the first input, else of the output. */
static unsigned lanes(const struct isa_compute *b)
{
    return b->t[1].mem ? b->t[1].nparts : b->t[0].nparts;
}

static NRT_STATUS check_scalar_tile(struct isa_check *c, const struct isa_scalar *s,
                                    const char *name)
{
    struct isa_tensor t = {.mem = s->mem,
                           .dtype = s->dtype,
                           .part = s->part,
                           .nparts = (uint8_t)lanes(&c->r->body.c),
                           .offset = s->v,
                           .dim = {{1, 1}},
                           .ndim = 1,
                           .off_reg = ISA_NO_REG};
    NRT_STATUS st = isa_check_tensor(c, &t, name, 0);

    return st != NRT_SUCCESS ? st : check_memory(c, &t, name, false);
}

static NRT_STATUS check_scalar_slot(struct isa_check *c, const struct isa_slot *slot)
{
    const struct isa_scalar *s = &c->r->body.c.s[slot->index];

    if (s->kind > ISA_SC_TILE)
        return isa_check_fail(c, "%s.kind %u is unknown", slot->name, s->kind);
    if (s->kind == ISA_SC_TILE) {
        if (slot->flags & ISA_SF_BITS)
            return isa_check_fail(c, "%s must be a constant", slot->name);
        return check_scalar_tile(c, s, slot->name);
    }
    if (s->mem || s->dtype || s->part || (s->kind == ISA_SC_NONE && s->v))
        return isa_check_fail(c, "%s has a tile's fields and is none", slot->name);
    if (s->kind == ISA_SC_NONE && !(slot->flags & ISA_SF_OPT))
        return isa_check_fail(c, "%s is missing", slot->name);
    if (s->kind == ISA_SC_REG && s->v >= ISA_REGS)
        return isa_check_fail(c, "%s register %u is no register", slot->name, s->v);
    if (s->kind == ISA_SC_F32 && (slot->flags & ISA_SF_BITS))
        return isa_check_fail(c, "%s must carry bits, not fp32", slot->name);
    return NRT_SUCCESS;
}

static NRT_STATUS check_pattern(struct isa_check *c)
{
    const struct isa_pattern *p = &c->r->body.c.x.pattern;
    uint64_t n = 1;

    if (p->ndim < 1 || p->ndim > 4)
        return isa_check_fail(c, "pattern.ndim %u is not 1 to 4", p->ndim);
    if (p->off_reg != ISA_NO_REG && p->off_reg >= ISA_REGS)
        return isa_check_fail(c, "pattern.off_reg %u is no register", p->off_reg);
    if (p->pad[0] || p->pad[1])
        return isa_check_fail(c, "pattern padding is not zero");
    for (unsigned k = 0; k < 4; k++) {
        if (k >= p->ndim && (p->num[k] || p->step[k]))
            return isa_check_fail(c, "pattern dimension %u is not zero, ndim is %u", k, p->ndim);
        if (k < p->ndim && p->num[k] == 0)
            return isa_check_fail(c, "pattern.num[%u] is 0", k);
        if (k < p->ndim)
            n *= p->num[k];
    }
    if (n != isa_tensor_count(&c->r->body.c.t[0]))
        return isa_check_fail(c, "pattern has %llu elements, dst %llu", (unsigned long long)n,
                              (unsigned long long)isa_tensor_count(&c->r->body.c.t[0]));
    return NRT_SUCCESS;
}

static NRT_STATUS check_slot(struct isa_check *c, const struct isa_slot *s)
{
    unsigned v = ((const uint8_t *)&c->r->body.c)[s->off];
    const uint8_t *mask = c->r->body.c.x.mask;

    switch ((enum isa_slot_kind)s->kind) {
    case ISA_SLOT_TENSOR:
        return check_tensor_slot(c, s);
    case ISA_SLOT_SCALAR:
        return check_scalar_slot(c, s);
    case ISA_SLOT_PATTERN:
        return check_pattern(c);
    case ISA_SLOT_ALU:
        if (v >= ISA_ALU_COUNT || (v == 0 && !(s->flags & ISA_SF_OPT)))
            return isa_check_fail(c, "%s %u is no operator", s->name, v);
        return NRT_SUCCESS;
    case ISA_SLOT_ACT:
        if (v >= ISA_ACT_COUNT)
            return isa_check_fail(c, "%s %u is no function", s->name, v);
        return NRT_SUCCESS;
    case ISA_SLOT_RC:
        if (v >= ISA_RC_COUNT)
            return isa_check_fail(c, "%s %u is unknown", s->name, v);
        return NRT_SUCCESS;
    case ISA_SLOT_FLAG:
        if (v > 1)
            return isa_check_fail(c, "%s %u is neither 0 nor 1", s->name, v);
        return NRT_SUCCESS;
    case ISA_SLOT_MASK:
        for (unsigned i = 0; i < 32; i++)
            if (mask[i] > 31 && mask[i] != 255)
                return isa_check_fail(c, "mask[%u] %u is neither 0 to 31 nor 255", i, mask[i]);
        return NRT_SUCCESS;
    case ISA_SLOT_REVERSE: /* bits without a slot are refused below */
    case ISA_SLOT_U8:
    case ISA_SLOT_I32:
    case ISA_SLOT_U32:
    case ISA_SLOT_END:
        return NRT_SUCCESS;
    }
    return NRT_FAILURE;
}

static NRT_STATUS check_unused(struct isa_check *c, const struct isa_slot *slots)
{
    unsigned bits = 0;

    if (c->mask_op != c->r->opcode) {
        isa_op_used_mask(c->r->opcode, c->mask);
        c->mask_op = c->r->opcode;
    }
    for (unsigned i = 0; i < 31; i++) {
        uint64_t w;

        memcpy(&w, c->r->body.raw + 8 * i, 8);
        if (w & ~c->mask[i])
            return isa_check_fail(
                c, "a byte that it does not use, near %u of the body, is not zero", 8 * i);
    }
    for (; slots->kind != ISA_SLOT_END; slots++)
        if (slots->kind == ISA_SLOT_REVERSE)
            bits |= 1u << slots->index;
    if (c->r->body.c.reverse & ~bits)
        return isa_check_fail(c, "reverse 0x%x is not allowed", c->r->body.c.reverse);
    return NRT_SUCCESS;
}

NRT_STATUS isa_check_compute(struct isa_check *c)
{
    const struct isa_slot *slots = isa_op_slots(c->r->opcode);
    NRT_STATUS st = check_unused(c, slots);

    for (const struct isa_slot *s = slots; st == NRT_SUCCESS && s->kind != ISA_SLOT_END; s++)
        st = check_slot(c, s);
    return st != NRT_SUCCESS ? st : isa_check_rules(c);
}
