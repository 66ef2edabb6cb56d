/* SPDX-License-Identifier: Apache-2.0 */
/* What sorting, gathering, statistics and generators ask of their operands (neuroncore.md 4.5, 4.6,
 * 4.7 and 4.9). */
#include "isa/rules_int.h"

static NRT_STATUS sort_data(struct isa_check *c, unsigned k)
{
    const struct isa_tensor *t = T(c, k);

    if (packed(t->dtype))
        return isa_rule_bad_dtype(c, k);
    if (count(t) < 8 || count(t) > 16384)
        return isa_check_fail(c, "%s has %llu elements in a partition, not 8 to 16384",
                              isa_rule_slot_name(c, k), (unsigned long long)count(t));
    return NRT_SUCCESS;
}

static NRT_STATUS three_dims(struct isa_check *c, unsigned k)
{
    if (T(c, k)->ndim > 3)
        return isa_check_fail(c, "%s has %u dimensions, at most 3", isa_rule_slot_name(c, k),
                              T(c, k)->ndim);
    return NRT_SUCCESS;
}

NRT_STATUS isa_rule_max8(struct isa_check *c)
{
    NRT_STATUS st = isa_rule_same_parts(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = sort_data(c, 1);
    if (st == NRT_SUCCESS)
        st = three_dims(c, 1);
    if (st == NRT_SUCCESS)
        st = isa_rule_no_packed(c);
    return st != NRT_SUCCESS ? st : isa_rule_want_count(c, 0, 8);
}

static NRT_STATUS vals8(struct isa_check *c)
{
    NRT_STATUS st = sort_data(c, 1);

    if (st == NRT_SUCCESS)
        st = isa_rule_same_parts(c, 1, 2);
    if (st == NRT_SUCCESS)
        st = isa_rule_want_count(c, 2, 8);
    if (st == NRT_SUCCESS)
        st = three_dims(c, 2);
    if (st == NRT_SUCCESS)
        st = isa_rule_no_packed(c);
    return st != NRT_SUCCESS ? st : isa_rule_one_psum(c, 1, 2);
}

static bool index_out_dtype(unsigned t)
{
    return t == DT_UINT16 || t == DT_UINT32;
}

NRT_STATUS isa_rule_find_index8(struct isa_check *c)
{
    NRT_STATUS st = vals8(c);

    if (st == NRT_SUCCESS)
        st = three_dims(c, 1);
    if (st == NRT_SUCCESS)
        st = isa_rule_same_parts(c, 0, 1);
    if (st == NRT_SUCCESS)
        st = isa_rule_want_count(c, 0, 8);
    if (st == NRT_SUCCESS && !index_out_dtype(T(c, 0)->dtype))
        st = isa_rule_bad_dtype(c, 0);
    return st;
}

NRT_STATUS isa_rule_match_replace8(struct isa_check *c)
{
    NRT_STATUS st = vals8(c);

    if (st == NRT_SUCCESS)
        st = isa_rule_same_shape(c, 0, 1);
    if (st == NRT_SUCCESS && T(c, 3)->mem) {
        st = isa_rule_same_parts(c, 3, 1);
        if (st == NRT_SUCCESS)
            st = isa_rule_want_count(c, 3, 8);
        if (st == NRT_SUCCESS && !index_out_dtype(T(c, 3)->dtype))
            st = isa_rule_bad_dtype(c, 3);
    }
    if (st == NRT_SUCCESS && BODY(c)->s[0].kind != ISA_SC_F32 && BODY(c)->s[0].kind != ISA_SC_REG)
        return isa_check_fail(c, "imm must be an fp32 constant");
    return st;
}

NRT_STATUS isa_rule_n_gather(struct isa_check *c)
{
    NRT_STATUS st = isa_rule_same_dtype(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = isa_rule_same_shape(c, 0, 2);
    if (st == NRT_SUCCESS)
        st = isa_rule_same_parts(c, 0, 1);
    if (st == NRT_SUCCESS && T(c, 2)->dtype != DT_UINT32)
        st = isa_rule_bad_dtype(c, 2);
    return st;
}

NRT_STATUS isa_rule_bn(struct isa_check *c)
{
    bool stats = c->r->opcode == ISA_OP_BN_STATS;
    NRT_STATUS st = isa_rule_same_parts(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = isa_rule_no_packed(c);
    if (st != NRT_SUCCESS)
        return st;
    if (stats && count(T(c, 1)) > 512)
        return isa_check_fail(c, "data has %llu elements in a partition, at most 512",
                              (unsigned long long)count(T(c, 1)));
    if (!stats && count(T(c, 1)) % 3)
        return isa_check_fail(c, "data has %llu elements in a partition, not triples",
                              (unsigned long long)count(T(c, 1)));
    return isa_rule_want_count(c, 0, stats ? 6 : 2);
}

NRT_STATUS isa_rule_rng(struct isa_check *c)
{
    if (!dtype_is_int((enum dtype)T(c, 0)->dtype))
        return isa_rule_bad_dtype(c, 0);
    if (c->engine == ISA_POOL && c->env->gen < ISA_V3)
        return isa_check_fail(c, "pool of v2 has no generator");
    return NRT_SUCCESS;
}

NRT_STATUS isa_rule_seed(struct isa_check *c)
{
    if (dtype_size((enum dtype)T(c, 1)->dtype) != 4)
        return isa_rule_bad_dtype(c, 1);
    if (T(c, 1)->nparts != 1)
        return isa_check_fail(c, "src has %u partitions, not 1", T(c, 1)->nparts);
    return isa_rule_want_count(c, 1, 1);
}
