/* SPDX-License-Identifier: Apache-2.0 */
/* What single functions ask of their operands (neuroncore.md 1.6, 2.4, 3 and 4): the questions that
 * many of them ask, and which function is answered for where. */
#include "isa/rules_int.h"

const char *isa_rule_slot_name(const struct isa_check *c, unsigned k)
{
    const struct isa_slot *s = isa_op_slots(c->r->opcode);

    for (; s->kind != ISA_SLOT_END; s++)
        if (s->kind == ISA_SLOT_TENSOR && s->index == k)
            return s->name;
    return "?";
}

NRT_STATUS isa_rule_same_parts(struct isa_check *c, unsigned a, unsigned b)
{
    if (T(c, a)->nparts == T(c, b)->nparts)
        return NRT_SUCCESS;
    return isa_check_fail(c, "%s has %u partitions, %s %u", isa_rule_slot_name(c, a),
                          T(c, a)->nparts, isa_rule_slot_name(c, b), T(c, b)->nparts);
}

NRT_STATUS isa_rule_same_count(struct isa_check *c, unsigned a, unsigned b)
{
    if (count(T(c, a)) == count(T(c, b)))
        return NRT_SUCCESS;
    return isa_check_fail(c, "%s has %llu elements in a partition, %s %llu",
                          isa_rule_slot_name(c, a), (unsigned long long)count(T(c, a)),
                          isa_rule_slot_name(c, b), (unsigned long long)count(T(c, b)));
}

NRT_STATUS isa_rule_same_shape(struct isa_check *c, unsigned a, unsigned b)
{
    NRT_STATUS st = isa_rule_same_parts(c, a, b);

    return st != NRT_SUCCESS ? st : isa_rule_same_count(c, a, b);
}

NRT_STATUS isa_rule_same_dtype(struct isa_check *c, unsigned a, unsigned b)
{
    if (T(c, a)->dtype == T(c, b)->dtype)
        return NRT_SUCCESS;
    return isa_check_fail(c, "%s is %s, %s %s", isa_rule_slot_name(c, a), dname(T(c, a)->dtype),
                          isa_rule_slot_name(c, b), dname(T(c, b)->dtype));
}

NRT_STATUS isa_rule_want_count(struct isa_check *c, unsigned k, uint64_t n)
{
    if (count(T(c, k)) == n)
        return NRT_SUCCESS;
    return isa_check_fail(c, "%s has %llu elements in a partition, not %llu",
                          isa_rule_slot_name(c, k), (unsigned long long)count(T(c, k)),
                          (unsigned long long)n);
}

NRT_STATUS isa_rule_bad_dtype(struct isa_check *c, unsigned k)
{
    return isa_check_fail(c, "%s cannot be %s", isa_rule_slot_name(c, k), dname(T(c, k)->dtype));
}

/* Arithmetic cannot read or write packed cells. */
NRT_STATUS isa_rule_no_packed(struct isa_check *c)
{
    for (unsigned k = 0; k < 5; k++)
        if (T(c, k)->mem && packed(T(c, k)->dtype))
            return isa_rule_bad_dtype(c, k);
    return NRT_SUCCESS;
}

/* A DVE record reads at most one tensor from PSUM. */
NRT_STATUS isa_rule_one_psum(struct isa_check *c, unsigned a, unsigned b)
{
    if (T(c, a)->mem == ISA_PSUM && T(c, b)->mem == ISA_PSUM)
        return isa_check_fail(c, "%s and %s are both in PSUM", isa_rule_slot_name(c, a),
                              isa_rule_slot_name(c, b));
    return NRT_SUCCESS;
}

NRT_STATUS isa_rule_two_inputs(struct isa_check *c)
{
    NRT_STATUS st = isa_rule_same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = isa_rule_same_shape(c, 0, 2);
    return st == NRT_SUCCESS ? isa_rule_one_psum(c, 1, 2) : st;
}

/* ---- ALU operators ---- */

NRT_STATUS isa_rule_want_op(struct isa_check *c, const char *name, unsigned op, uint64_t set)
{
    if (set >> op & 1)
        return NRT_SUCCESS;
    return isa_check_fail(c, "%s cannot be %s", name, op ? isa_alu_name(op) : "none");
}

/* The API offers some operators on some engines only (3.1): worth a word, computed all the same. */
static void warn_engine(struct isa_check *c, unsigned op)
{
    static const uint8_t dve = 1u << ISA_DVE, act = 1u << ISA_ACT, pool = 1u << ISA_POOL;
    unsigned e = dve;

    if (!c->sink || op == ISA_ALU_NONE)
        return;
    switch (op) {
    case ISA_ALU_ADD:
    case ISA_ALU_MULTIPLY:
        e = dve | pool | act;
        break;
    case ISA_ALU_POWER:
    case ISA_ALU_AVERAGE:
        e = pool;
        break;
    case ISA_ALU_RSQRT:
        e = pool | act;
        break;
    case ISA_ALU_ABS:
    case ISA_ALU_SQUARE:
    case ISA_ALU_RELU:
    case ISA_ALU_RECIPROCAL:
        e = dve | act;
        break;
    case ISA_ALU_BYPASS:
        e = dve | act | pool;
        break;
    default:
        break;
    }
    if (!(e & (1u << c->engine)))
        isa_check_warn(c, "operator %s is not offered on %s", isa_alu_name(op),
                       isa_engine_name(c->engine));
}

/* In one record all operators are arithmetic or all are bit operators; bit operators want integer
 * tiles of one size. */
NRT_STATUS isa_rule_alu_family(struct isa_check *c, unsigned op0, unsigned op1, bool *ret_bits)
{
    bool bits = isa_alu_is_bit(op0);
    size_t size = dtype_size((enum dtype)T(c, 1)->dtype);

    *ret_bits = bits;
    if (op1 && op1 != ISA_ALU_BYPASS && isa_alu_is_bit(op1) != bits && op0 != ISA_ALU_BYPASS)
        return isa_check_fail(c, "%s and %s: one is a bit operator, one is not", isa_alu_name(op0),
                              isa_alu_name(op1));
    if (op0 == ISA_ALU_BYPASS && isa_alu_is_bit(op1))
        *ret_bits = bits = true;
    warn_engine(c, op0);
    warn_engine(c, op1);
    if (!bits)
        return isa_rule_no_packed(c);
    if (c->engine != ISA_DVE && c->r->opcode != ISA_OP_TENSOR_PARTITION_REDUCE)
        return isa_check_fail(c, "bit operators belong to dve");
    for (unsigned k = 0; k < 3; k++)
        if (T(c, k)->mem && (!dtype_is_int((enum dtype)T(c, k)->dtype) ||
                             dtype_size((enum dtype)T(c, k)->dtype) != size))
            return isa_check_fail(c, "%s is %s: bit operators want integers of one size",
                                  isa_rule_slot_name(c, k), dname(T(c, k)->dtype));
    return NRT_SUCCESS;
}

/* The scalar operand s[k] of operator op. */
NRT_STATUS isa_rule_alu_operand(struct isa_check *c, unsigned k, const char *name, unsigned op,
                                bool bits)
{
    const struct isa_scalar *s = &BODY(c)->s[k];

    if (op == ISA_ALU_NONE || isa_alu_is_unary(op)) {
        if (s->kind == ISA_SC_NONE)
            return NRT_SUCCESS;
        if (op != ISA_ALU_NONE && (s->kind == ISA_SC_F32 || s->kind == ISA_SC_I32) && s->v == 0)
            return NRT_SUCCESS;
        return isa_check_fail(c, "%s with operator %s, which takes none", name,
                              op ? isa_alu_name(op) : "none");
    }
    if (s->kind == ISA_SC_NONE)
        return isa_check_fail(c, "%s is missing", name);
    if (s->kind == ISA_SC_I32 && !bits)
        return isa_check_fail(c, "%s is an integer, arithmetic wants fp32", name);
    if (s->kind == ISA_SC_F32 && bits)
        return isa_check_fail(c, "%s is fp32, bit operators want an integer", name);
    if (s->kind == ISA_SC_TILE && !bits && s->dtype != DT_FP32)
        return isa_check_fail(c, "%s tile is %s, not float32", name, dname(s->dtype));
    if (s->kind == ISA_SC_TILE && bits &&
        (!dtype_is_int((enum dtype)s->dtype) ||
         dtype_size((enum dtype)s->dtype) != dtype_size((enum dtype)T(c, 1)->dtype)))
        return isa_check_fail(c, "%s tile is %s: bit operators want integers of one size", name,
                              dname(s->dtype));
    return NRT_SUCCESS;
}

/* An fp32 constant, register or [P,1] fp32 tile. */
NRT_STATUS isa_rule_fp32_scalar(struct isa_check *c, unsigned k, const char *name)
{
    const struct isa_scalar *s = &BODY(c)->s[k];

    if (s->kind == ISA_SC_I32)
        return isa_check_fail(c, "%s is an integer, not fp32", name);
    if (s->kind == ISA_SC_TILE && s->dtype != DT_FP32)
        return isa_check_fail(c, "%s tile is %s, not float32", name, dname(s->dtype));
    return NRT_SUCCESS;
}

/* The [P,1] read-out of an accumulator register. */
NRT_STATUS isa_rule_reduce_res(struct isa_check *c, unsigned k)
{
    NRT_STATUS st;

    if (T(c, k)->mem == ISA_MEM_NONE)
        return NRT_SUCCESS;
    st = isa_rule_same_parts(c, k, 0);
    return st != NRT_SUCCESS ? st : isa_rule_want_count(c, k, 1);
}

NRT_STATUS isa_rule_scalar_ops(struct isa_check *c, bool *ret_bits)
{
    const struct isa_compute *b = BODY(c);
    NRT_STATUS st = isa_rule_alu_family(c, b->op0, b->op1, ret_bits);

    if (st != NRT_SUCCESS)
        return st;
    if (b->op0 == ISA_ALU_AVERAGE || b->op1 == ISA_ALU_AVERAGE)
        return isa_check_fail(c, "operator average reduces partitions only");
    return isa_rule_alu_operand(c, 0, "operand0", b->op0, *ret_bits);
}

/* ---- by function ---- */

NRT_STATUS isa_check_rules(struct isa_check *c)
{
    NRT_STATUS st;

    switch (c->r->opcode) {
    case ISA_OP_NC_MATMUL:
        return isa_rule_matmul(c);
    case ISA_OP_NC_TRANSPOSE:
        return isa_rule_transpose(c);
    case ISA_OP_TENSOR_COPY:
        return isa_rule_copy(c);
    case ISA_OP_TENSOR_COPY_PREDICATED:
        return isa_rule_copy_predicated(c);
    case ISA_OP_MEMSET:
        return isa_rule_const_bits(c);
    case ISA_OP_TENSOR_TENSOR:
        return isa_rule_tensor_tensor(c);
    case ISA_OP_TENSOR_SCALAR:
        return isa_rule_tensor_scalar(c);
    case ISA_OP_SCALAR_TENSOR_TENSOR:
        return isa_rule_stt(c);
    case ISA_OP_ACTIVATION:
    case ISA_OP_ACTIVATION_REDUCE:
        return isa_rule_activation(c);
    case ISA_OP_RECIPROCAL:
        st = isa_rule_same_shape(c, 0, 1);
        return st != NRT_SUCCESS ? st : isa_rule_no_packed(c);
    case ISA_OP_DROPOUT:
        return isa_rule_dropout(c);
    case ISA_OP_NC_STREAM_SHUFFLE:
        return isa_rule_shuffle(c);
    case ISA_OP_TENSOR_REDUCE:
        return isa_rule_reduce(c);
    case ISA_OP_TENSOR_PARTITION_REDUCE:
        return isa_rule_partition_reduce(c);
    case ISA_OP_TENSOR_SCALAR_REDUCE:
        return isa_rule_scalar_reduce(c);
    case ISA_OP_AFFINE_SELECT:
        return isa_rule_affine(c);
    case ISA_OP_RANGE_SELECT:
        return isa_rule_range(c);
    case ISA_OP_SELECT_REDUCE:
        return isa_rule_select_reduce(c);
    case ISA_OP_MAX8:
        return isa_rule_max8(c);
    case ISA_OP_NC_FIND_INDEX8:
        return isa_rule_find_index8(c);
    case ISA_OP_NC_MATCH_REPLACE8:
        return isa_rule_match_replace8(c);
    case ISA_OP_NC_N_GATHER:
        return isa_rule_n_gather(c);
    case ISA_OP_BN_STATS:
    case ISA_OP_BN_AGGR:
        return isa_rule_bn(c);
    case ISA_OP_IOTA:
        return isa_rule_no_packed(c);
    case ISA_OP_RNG:
        return isa_rule_rng(c);
    case ISA_OP_SET_RNG_SEED:
        return isa_rule_seed(c);
    case ISA_OP_PRINT:
        return isa_rule_no_packed(c);
    default:
        return isa_check_fail(c, "no rules");
    }
}
