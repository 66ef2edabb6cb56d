/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the rules of single functions: what the files share. */
#ifndef ISA_RULES_INT_H
#define ISA_RULES_INT_H

#include "isa/isa_int.h"

/* Shorthands for the record under check. */
#define BODY(c) (&(c)->r->body.c)
#define T(c, k) (&(c)->r->body.c.t[k])

/* Sets of ALU operators. */
#define SET1(a)          (1ull << ISA_ALU_##a)
#define SET2(a, b)       (SET1(a) | SET1(b))
#define SET4(a, b, x, y) (SET2(a, b) | SET2(x, y))

static inline const char *dname(unsigned t)
{
    return dtype_name((enum dtype)t);
}

static inline bool packed(unsigned t)
{
    return dtype_kind((enum dtype)t) == DTK_PACKED;
}

/* Elements in a partition. */
static inline uint64_t count(const struct isa_tensor *t)
{
    return isa_tensor_count(t);
}

/* What the text form calls t[k]. */
const char *isa_rule_slot_name(const struct isa_check *c, unsigned k);

/* Each question is NRT_SUCCESS, or NRT_INVALID with the text in c->err. Names in the texts are
 * those of the operands. */

/* Of two tensors t[a] and t[b]: partitions, elements in a partition, both, element type. */
NRT_STATUS isa_rule_same_parts(struct isa_check *c, unsigned a, unsigned b);
NRT_STATUS isa_rule_same_count(struct isa_check *c, unsigned a, unsigned b);
NRT_STATUS isa_rule_same_shape(struct isa_check *c, unsigned a, unsigned b);
NRT_STATUS isa_rule_same_dtype(struct isa_check *c, unsigned a, unsigned b);
/* t[k] has n elements in a partition. */
NRT_STATUS isa_rule_want_count(struct isa_check *c, unsigned k, uint64_t n);
/* Always refuses: the type of t[k]. */
NRT_STATUS isa_rule_bad_dtype(struct isa_check *c, unsigned k);
/* No tensor is of a packed type: arithmetic cannot read or write those cells. */
NRT_STATUS isa_rule_no_packed(struct isa_check *c);
/* Of t[a] and t[b] at most one is in PSUM. */
NRT_STATUS isa_rule_one_psum(struct isa_check *c, unsigned a, unsigned b);
/* t[1] and t[2] have the shape of t[0], and at most one of them is in PSUM. */
NRT_STATUS isa_rule_two_inputs(struct isa_check *c);
/* op is one of the set. */
NRT_STATUS isa_rule_want_op(struct isa_check *c, const char *name, unsigned op, uint64_t set);
/* All operators are arithmetic or all are bit operators, and the tensors fit; *ret_bits: which. */
NRT_STATUS isa_rule_alu_family(struct isa_check *c, unsigned op0, unsigned op1, bool *ret_bits);
/* s[k], the operand of op, is there if op takes one, and of a fitting type. */
NRT_STATUS isa_rule_alu_operand(struct isa_check *c, unsigned k, const char *name, unsigned op,
                                bool bits);
/* The two above for op0, op1 and operand0. */
NRT_STATUS isa_rule_scalar_ops(struct isa_check *c, bool *ret_bits);
/* s[k] is absent, an fp32 constant, a register or a float32 tile. */
NRT_STATUS isa_rule_fp32_scalar(struct isa_check *c, unsigned k, const char *name);
/* t[k], the read-out of the accumulator registers, is absent or [P,1]. */
NRT_STATUS isa_rule_reduce_res(struct isa_check *c, unsigned k);

/* s[0], when it is bits of dst's type, fits that type. */
NRT_STATUS isa_rule_const_bits(struct isa_check *c);

/* The functions. */
NRT_STATUS isa_rule_matmul(struct isa_check *c);
NRT_STATUS isa_rule_transpose(struct isa_check *c);
NRT_STATUS isa_rule_copy(struct isa_check *c);
NRT_STATUS isa_rule_copy_predicated(struct isa_check *c);
NRT_STATUS isa_rule_tensor_tensor(struct isa_check *c);
NRT_STATUS isa_rule_tensor_scalar(struct isa_check *c);
NRT_STATUS isa_rule_stt(struct isa_check *c);
NRT_STATUS isa_rule_activation(struct isa_check *c);
NRT_STATUS isa_rule_dropout(struct isa_check *c);
NRT_STATUS isa_rule_shuffle(struct isa_check *c);
NRT_STATUS isa_rule_reduce(struct isa_check *c);
NRT_STATUS isa_rule_partition_reduce(struct isa_check *c);
NRT_STATUS isa_rule_scalar_reduce(struct isa_check *c);
NRT_STATUS isa_rule_affine(struct isa_check *c);
NRT_STATUS isa_rule_range(struct isa_check *c);
NRT_STATUS isa_rule_select_reduce(struct isa_check *c);
NRT_STATUS isa_rule_max8(struct isa_check *c);
NRT_STATUS isa_rule_find_index8(struct isa_check *c);
NRT_STATUS isa_rule_match_replace8(struct isa_check *c);
NRT_STATUS isa_rule_n_gather(struct isa_check *c);
NRT_STATUS isa_rule_bn(struct isa_check *c);
NRT_STATUS isa_rule_rng(struct isa_check *c);
NRT_STATUS isa_rule_seed(struct isa_check *c);

#endif
