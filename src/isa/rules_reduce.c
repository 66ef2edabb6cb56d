/* SPDX-License-Identifier: Apache-2.0 */
/* What reductions and selections ask of their operands (neuroncore.md 4.3 and 4.4). */
#include "isa/rules_int.h"

static bool alu_reduces(unsigned op)
{
    switch (op) {
    case ISA_ALU_ADD:
    case ISA_ALU_SUBTRACT:
    case ISA_ALU_MULTIPLY:
    case ISA_ALU_MAX:
    case ISA_ALU_MIN:
    case ISA_ALU_LOGICAL_AND:
    case ISA_ALU_LOGICAL_OR:
    case ISA_ALU_LOGICAL_XOR:
    case ISA_ALU_BIT_AND:
    case ISA_ALU_BIT_OR:
    case ISA_ALU_BIT_XOR:
        return true;
    default:
        return false;
    }
}

NRT_STATUS isa_rule_reduce(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    const struct isa_tensor *dst = T(c, 0), *src = T(c, 1);
    uint64_t outer = 1;
    bool bits;
    NRT_STATUS st = isa_rule_same_parts(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = isa_rule_alu_family(c, b->op0, ISA_ALU_NONE, &bits);
    if (st != NRT_SUCCESS)
        return st;
    if (!alu_reduces(b->op0))
        return isa_check_fail(c, "op cannot be %s", isa_alu_name(b->op0));
    if (b->negate && bits)
        return isa_check_fail(c, "negate with a bit operator");
    if (b->naxes < 1 || b->naxes > src->ndim)
        return isa_check_fail(c, "naxes %u, data has %u dimensions", b->naxes, src->ndim);
    for (unsigned k = b->naxes; k < src->ndim; k++)
        outer *= src->dim[k].num;
    if (count(dst) != outer)
        return isa_check_fail(c, "dst has %llu elements in a partition, not %llu",
                              (unsigned long long)count(dst), (unsigned long long)outer);
    return NRT_SUCCESS;
}

NRT_STATUS isa_rule_partition_reduce(struct isa_check *c)
{
    bool bits;
    NRT_STATUS st =
        isa_rule_want_op(c, "op", BODY(c)->op0, SET1(ADD) | SET4(AVERAGE, MAX, BIT_OR, BIT_AND));

    if (st == NRT_SUCCESS)
        st = isa_rule_alu_family(c, BODY(c)->op0, ISA_ALU_NONE, &bits);
    if (st != NRT_SUCCESS)
        return st;
    if (T(c, 0)->nparts != 1)
        return isa_check_fail(c, "dst has %u partitions, not 1", T(c, 0)->nparts);
    return isa_rule_same_count(c, 0, 1);
}

NRT_STATUS isa_rule_scalar_reduce(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    bool bits;
    NRT_STATUS st = isa_rule_same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = isa_rule_scalar_ops(c, &bits);
    if (st != NRT_SUCCESS)
        return st;
    if (bits)
        return isa_check_fail(c, "op0 must be arithmetic");
    st = isa_rule_want_op(c, "reduce_op", b->reduce_op, SET4(ADD, MULTIPLY, MAX, MIN));
    if (st == NRT_SUCCESS)
        st = isa_rule_fp32_scalar(c, 1, "reduce_init");
    return st != NRT_SUCCESS ? st : isa_rule_reduce_res(c, 2);
}

NRT_STATUS isa_rule_affine(struct isa_check *c)
{
    NRT_STATUS st = isa_rule_same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = isa_rule_no_packed(c);
    if (st != NRT_SUCCESS)
        return st;
    if (BODY(c)->s[0].kind != ISA_SC_F32)
        return isa_check_fail(c, "on_false must be an fp32 constant");
    if (!isa_alu_is_cmp(BODY(c)->cmp0))
        return isa_check_fail(c, "cmp cannot be %s", isa_alu_name(BODY(c)->cmp0));
    return NRT_SUCCESS;
}

NRT_STATUS isa_rule_range(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    uint64_t cmps = SET4(LT, LE, GT, GE) | SET1(EQ);
    NRT_STATUS st = isa_rule_same_shape(c, 0, 1);
    float start;

    if (st == NRT_SUCCESS)
        st = isa_rule_want_op(c, "cmp0", b->cmp0, cmps);
    if (st == NRT_SUCCESS)
        st = isa_rule_want_op(c, "cmp1", b->cmp1, cmps);
    if (st == NRT_SUCCESS)
        st = isa_rule_want_op(c, "reduce_op", b->reduce_op, SET1(MAX));
    if (st == NRT_SUCCESS)
        st = isa_rule_no_packed(c);
    if (st != NRT_SUCCESS)
        return st;
    if (!dtype_is_float((enum dtype)T(c, 1)->dtype))
        return isa_rule_bad_dtype(c, 1);
    for (unsigned k = 0; k < 2; k++)
        if (b->s[k].kind != ISA_SC_TILE || b->s[k].dtype != DT_FP32)
            return isa_check_fail(c, "bound%u must be a float32 tile", k);
    if (b->s[2].kind == ISA_SC_I32 || b->s[2].kind == ISA_SC_TILE)
        return isa_check_fail(c, "range_start must be fp32");
    if (b->s[2].kind == ISA_SC_F32) {
        start = dtype_load(DT_FP32, &b->s[2].v);
        if (!((double)start + (double)(count(T(c, 1)) - 1) < 16777216.0))
            return isa_check_fail(c, "range_start %g plus the index reaches 2^24", (double)start);
    }
    if (b->reduce_cmd == ISA_RC_LOAD_REDUCE)
        return isa_check_fail(c, "reduce_cmd cannot be load_reduce");
    return isa_rule_reduce_res(c, 2);
}

NRT_STATUS isa_rule_select_reduce(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    unsigned p = T(c, 1)->dtype, v = T(c, 2)->dtype;
    NRT_STATUS st = isa_rule_two_inputs(c);

    if (st == NRT_SUCCESS)
        st = isa_rule_no_packed(c);
    if (st != NRT_SUCCESS)
        return st;
    if (p != DT_UINT8 && p != DT_INT8 && p != DT_UINT16 && p != DT_INT16)
        return isa_rule_bad_dtype(c, 1);
    if (v == DT_TF32 || v == DT_INT32 || v == DT_UINT32)
        return isa_rule_bad_dtype(c, 2);
    if (b->reduce_cmd == ISA_RC_LOAD_REDUCE)
        return isa_check_fail(c, "reduce_cmd cannot be load_reduce");
    if (b->reduce_op != ISA_ALU_MAX && (b->reduce_op || b->reduce_cmd != ISA_RC_IDLE))
        return isa_check_fail(c, "reduce_op must be maximum");
    st = isa_rule_fp32_scalar(c, 0, "on_false");
    return st != NRT_SUCCESS ? st : isa_rule_reduce_res(c, 3);
}
