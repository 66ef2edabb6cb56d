/* SPDX-License-Identifier: Apache-2.0 */
/* What element-wise functions ask of their operands (neuroncore.md 4.2). */
#include "isa/rules_int.h"

NRT_STATUS isa_rule_copy(struct isa_check *c)
{
    if (c->engine == ISA_ACT && c->env->gen == ISA_V2)
        return isa_check_fail(c, "act of v2 has no copy; use activation");
    if (T(c, 0)->dtype != T(c, 1)->dtype) {
        NRT_STATUS st = isa_rule_no_packed(c);

        if (st != NRT_SUCCESS)
            return st;
    }
    return isa_rule_same_shape(c, 0, 1);
}

/* Constant bits wider than the type would be lost. */
NRT_STATUS isa_rule_const_bits(struct isa_check *c)
{
    const struct isa_scalar *s = &BODY(c)->s[0];
    size_t size = dtype_size((enum dtype)T(c, 0)->dtype);

    if (s->kind != ISA_SC_I32)
        return NRT_SUCCESS;
    if (size < 4 && s->v >> (8 * size))
        return isa_check_fail(c, "value 0x%x is wider than %s", s->v, dname(T(c, 0)->dtype));
    if (packed(T(c, 0)->dtype) && s->v)
        return isa_check_fail(c, "value 0x%x: packed types accept only 0", s->v);
    return NRT_SUCCESS;
}

NRT_STATUS isa_rule_copy_predicated(struct isa_check *c)
{
    bool tile = T(c, 2)->mem != ISA_MEM_NONE, value = BODY(c)->s[0].kind != ISA_SC_NONE;
    NRT_STATUS st = isa_rule_same_shape(c, 1, 0);

    if (tile == value)
        return isa_check_fail(
            c, "%s", tile ? "src and value are both given" : "neither src nor value is given");
    if (T(c, 1)->dtype != DT_UINT8 && T(c, 1)->dtype != DT_UINT16 && T(c, 1)->dtype != DT_UINT32)
        return isa_rule_bad_dtype(c, 1);
    if (st == NRT_SUCCESS && tile)
        st = isa_rule_same_dtype(c, 0, 2);
    if (st == NRT_SUCCESS && tile)
        st = isa_rule_same_shape(c, 0, 2);
    if (st == NRT_SUCCESS && tile)
        st = isa_rule_one_psum(c, 1, 2);
    return st != NRT_SUCCESS ? st : isa_rule_const_bits(c);
}

NRT_STATUS isa_rule_tensor_tensor(struct isa_check *c)
{
    unsigned op = BODY(c)->op0;
    bool bits;
    NRT_STATUS st = isa_rule_two_inputs(c);

    if (st == NRT_SUCCESS)
        st = isa_rule_alu_family(c, op, ISA_ALU_NONE, &bits);
    if (st != NRT_SUCCESS)
        return st;
    if (isa_alu_is_unary(op) || op == ISA_ALU_AVERAGE)
        return isa_check_fail(c, "op cannot be %s", isa_alu_name(op));
    return NRT_SUCCESS;
}

NRT_STATUS isa_rule_tensor_scalar(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    bool bits;
    NRT_STATUS st = isa_rule_same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = isa_rule_scalar_ops(c, &bits);
    if (st == NRT_SUCCESS)
        st = isa_rule_alu_operand(c, 1, "operand1", b->op1, bits);
    if (st != NRT_SUCCESS)
        return st;
    if (c->engine == ISA_ACT && c->env->gen == ISA_V2)
        return isa_check_fail(c, "act of v2 has no tensor_scalar");
    if (c->engine == ISA_ACT && c->env->gen == ISA_V3 &&
        !(b->op0 == ISA_ALU_MULTIPLY && (b->op1 == ISA_ALU_ADD || !b->op1)) &&
        !(b->op0 == ISA_ALU_ADD && !b->op1))
        return isa_check_fail(c, "act of v3 executes multiply, add, or multiply then add");
    return NRT_SUCCESS;
}

NRT_STATUS isa_rule_stt(struct isa_check *c)
{
    bool bits;
    NRT_STATUS st = isa_rule_two_inputs(c);

    if (st == NRT_SUCCESS)
        st = isa_rule_scalar_ops(c, &bits);
    if (st != NRT_SUCCESS)
        return st;
    if (bits)
        return isa_check_fail(c, "op0 and op1 must be arithmetic");
    if (isa_alu_is_unary(BODY(c)->op1) && BODY(c)->op1 != ISA_ALU_BYPASS)
        return isa_check_fail(c, "op1 cannot be %s", isa_alu_name(BODY(c)->op1));
    return NRT_SUCCESS;
}

static NRT_STATUS act_operands(struct isa_check *c)
{
    const struct isa_scalar *bias = &BODY(c)->s[1];

    if (bias->kind == ISA_SC_I32)
        return isa_check_fail(c, "bias is an integer, not fp32");
    if (bias->kind == ISA_SC_TILE && (bias->dtype == DT_TF32 || packed(bias->dtype)))
        return isa_check_fail(c, "bias tile cannot be %s", dname(bias->dtype));
    if (c->env->gen == ISA_V2 && bias->kind != ISA_SC_NONE && bias->kind != ISA_SC_TILE &&
        !(bias->kind == ISA_SC_F32 && bias->v == 0))
        return isa_check_fail(c, "bias of v2 is a tile, not a constant");
    if (c->env->gen == ISA_V2 && BODY(c)->act == ISA_ACT_RECIPROCAL && bias->kind == ISA_SC_TILE)
        return isa_check_fail(c, "reciprocal of v2 takes no bias");
    return isa_rule_fp32_scalar(c, 0, "scale");
}

NRT_STATUS isa_rule_activation(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    NRT_STATUS st = isa_rule_same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = isa_rule_no_packed(c);
    if (st == NRT_SUCCESS)
        st = act_operands(c);
    if (st != NRT_SUCCESS)
        return st;
    if (b->act == ISA_ACT_PRELU)
        return isa_check_fail(c, "op prelu needs activate2");
    if (c->r->opcode == ISA_OP_ACTIVATION_REDUCE &&
        (b->reduce_op != ISA_ALU_ADD || b->reduce_cmd != ISA_RC_RESET_REDUCE))
        return isa_check_fail(c, "reduce_op must be add and reduce_cmd reset_reduce");
    if (b->reduce_cmd == ISA_RC_LOAD_REDUCE)
        return isa_check_fail(c, "reduce_cmd cannot be load_reduce");
    if (b->reduce_op != ISA_ALU_ADD && (b->reduce_op || b->reduce_cmd != ISA_RC_IDLE))
        return isa_check_fail(c, "reduce_op must be add");
    return isa_rule_reduce_res(c, 2);
}

NRT_STATUS isa_rule_dropout(struct isa_check *c)
{
    const struct isa_scalar *p = &BODY(c)->s[0];
    NRT_STATUS st = isa_rule_same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = isa_rule_same_dtype(c, 0, 1);
    if (st != NRT_SUCCESS)
        return st;
    if (p->kind == ISA_SC_I32)
        return isa_check_fail(c, "prob is an integer, not fp32");
    if (p->kind == ISA_SC_TILE &&
        (!dtype_is_float((enum dtype)p->dtype) ||
         (dtype_is_int((enum dtype)T(c, 1)->dtype) && p->dtype != DT_FP32)))
        return isa_check_fail(c, "prob tile cannot be %s", dname(p->dtype));
    return NRT_SUCCESS;
}

NRT_STATUS isa_rule_shuffle(struct isa_check *c)
{
    const struct isa_tensor *dst = T(c, 0), *src = T(c, 1);
    const uint8_t *mask = BODY(c)->x.mask;
    unsigned most = dst->nparts > src->nparts ? dst->nparts : src->nparts;
    NRT_STATUS st = isa_rule_same_dtype(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = isa_rule_same_count(c, 0, 1);
    if (st != NRT_SUCCESS)
        return st;
    most = (most + 31) / 32 * 32;
    if (!isa_start_ok(dst->part, most) || !isa_start_ok(src->part, most))
        return isa_check_fail(c, "%u partitions cannot start at %u and %u", most, src->part,
                              dst->part);
    for (unsigned p = 0; p < dst->nparts; p++) {
        unsigned m = mask[p % 32];

        if (m != 255 && p / 32 * 32 + m >= src->nparts)
            return isa_check_fail(c, "mask[%u] %u names no partition of src in quadrant %u", p % 32,
                                  m, p / 32);
    }
    return NRT_SUCCESS;
}
