/* SPDX-License-Identifier: Apache-2.0 */
/* What matmuls and transposes ask of their operands (neuroncore.md 1.6, 2.4 and 4.1). */
#include "isa/rules_int.h"

static bool matmul_dtype(const struct isa_check *c, unsigned t)
{
    switch (t) {
    case DT_BF16:
    case DT_FP16:
    case DT_FP32:
    case DT_FP32R:
    case DT_TF32:
    case DT_FP8_E3:
    case DT_FP8_E4:
    case DT_FP8_E5:
        return true;
    case DT_FP8_E4FN:
        return c->env->gen >= ISA_V4;
    default:
        return false;
    }
}

static bool wide(unsigned t)
{
    return t == DT_FP32 || t == DT_FP32R || t == DT_TF32;
}

static NRT_STATUS pe_tile(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    unsigned least = c->env->gen >= ISA_V3 ? 32 : 64;

    if (!b->pe_rows && !b->pe_cols && !b->pe_row && !b->pe_col)
        return NRT_SUCCESS;
    if ((b->pe_rows != 32 && b->pe_rows != 64 && b->pe_rows != 128) || b->pe_rows < least)
        return isa_check_fail(c, "pe_rows %u is not possible", b->pe_rows);
    if ((b->pe_cols != 32 && b->pe_cols != 64 && b->pe_cols != 128) || b->pe_cols < least)
        return isa_check_fail(c, "pe_cols %u is not possible", b->pe_cols);
    if (b->pe_row % b->pe_rows || b->pe_row + b->pe_rows > 128)
        return isa_check_fail(c, "pe_row %u is no place for %u rows", b->pe_row, b->pe_rows);
    if (b->pe_col % b->pe_cols || b->pe_col + b->pe_cols > 128)
        return isa_check_fail(c, "pe_col %u is no place for %u columns", b->pe_col, b->pe_cols);
    if (T(c, 1)->nparts > b->pe_rows)
        return isa_check_fail(c, "%u rows in a tile of %u", T(c, 1)->nparts, b->pe_rows);
    if (count(T(c, 1)) > b->pe_cols)
        return isa_check_fail(c, "%llu columns in a tile of %u", (unsigned long long)count(T(c, 1)),
                              b->pe_cols);
    return NRT_SUCCESS;
}

/* v2 and v3: what one record writes in a partition lies in one bank. */
static NRT_STATUS one_bank(struct isa_check *c)
{
    int64_t lo, hi;

    if (c->env->gen >= ISA_V4 || T(c, 0)->off_reg != ISA_NO_REG)
        return NRT_SUCCESS;
    isa_tensor_extent(T(c, 0), &lo, &hi);
    if (lo / ISA_PSUM_BANK != (hi - 1) / ISA_PSUM_BANK)
        return isa_check_fail(c, "dst bytes [%lld,%lld) are not in one PSUM bank", (long long)lo,
                              (long long)hi);
    return NRT_SUCCESS;
}

NRT_STATUS isa_rule_matmul(struct isa_check *c)
{
    const struct isa_tensor *dst = T(c, 0), *st = T(c, 1), *mv = T(c, 2);
    bool v4 = c->env->gen >= ISA_V4;
    uint64_t most = !v4 ? 512 : dst->dtype == DT_BF16 ? 8192 : 4096;
    NRT_STATUS s = isa_rule_same_parts(c, 1, 2);

    if (s != NRT_SUCCESS)
        return s;
    if (BODY(c)->perf_mode || BODY(c)->transpose)
        return isa_check_fail(c, "%s is known but not executable",
                              BODY(c)->transpose ? "transpose" : "perf_mode");
    if (st->part != mv->part)
        return isa_check_fail(c, "stationary starts at partition %u, moving at %u", st->part,
                              mv->part);
    if (dst->dtype != DT_FP32 && !(v4 && dst->dtype == DT_BF16))
        return isa_rule_bad_dtype(c, 0);
    for (unsigned k = 1; k <= 2; k++)
        if (!matmul_dtype(c, T(c, k)->dtype))
            return isa_rule_bad_dtype(c, k);
    if (wide(st->dtype) != wide(mv->dtype) ||
        (st->dtype == DT_FP8_E4 && mv->dtype == DT_FP8_E4FN) ||
        (st->dtype == DT_FP8_E4FN && mv->dtype == DT_FP8_E4))
        return isa_check_fail(c, "stationary %s and moving %s do not pair", dname(st->dtype),
                              dname(mv->dtype));
    if (count(st) > 128)
        return isa_check_fail(c, "stationary has %llu elements in a partition, at most 128",
                              (unsigned long long)count(st));
    if (count(mv) > most)
        return isa_check_fail(c, "moving has %llu elements in a partition, at most %llu",
                              (unsigned long long)count(mv), (unsigned long long)most);
    if (dst->nparts != count(st))
        return isa_check_fail(c, "dst has %u partitions, stationary %llu columns", dst->nparts,
                              (unsigned long long)count(st));
    s = isa_rule_same_count(c, 0, 2);
    if (s == NRT_SUCCESS)
        s = one_bank(c);
    return s != NRT_SUCCESS ? s : pe_tile(c);
}

static NRT_STATUS transpose_dve(struct isa_check *c)
{
    const struct isa_tensor *dst = T(c, 0), *src = T(c, 1);
    uint64_t n = count(src), dn = count(dst);

    if (dst->dtype != src->dtype)
        return isa_rule_same_dtype(c, 0, 1);
    if (src->nparts <= 32 && n <= 32) {
        if (dst->nparts == n && dn == src->nparts)
            return NRT_SUCCESS;
        return isa_check_fail(c, "dst is %u x %llu, the transpose of data %llu x %u", dst->nparts,
                              (unsigned long long)dn, (unsigned long long)n, src->nparts);
    }
    if (src->nparts % 32 || n % 32)
        return isa_check_fail(c, "data %u x %llu is neither at most 32 x 32 nor whole blocks",
                              src->nparts, (unsigned long long)n);
    return isa_rule_same_shape(c, 0, 1);
}

NRT_STATUS isa_rule_transpose(struct isa_check *c)
{
    const struct isa_tensor *dst = T(c, 0), *src = T(c, 1);
    size_t size = dtype_size((enum dtype)src->dtype);

    if (c->engine == ISA_DVE)
        return transpose_dve(c);
    if (count(src) > 128)
        return isa_check_fail(c, "data has %llu elements in a partition, at most 128",
                              (unsigned long long)count(src));
    if (dst->nparts != count(src) || count(dst) != src->nparts)
        return isa_check_fail(c, "dst is %u x %llu, the transpose of data %llu x %u", dst->nparts,
                              (unsigned long long)count(dst), (unsigned long long)count(src),
                              src->nparts);
    if (c->env->gen == ISA_V2) {
        if (!matmul_dtype(c, src->dtype))
            return isa_rule_bad_dtype(c, 1);
        if (dst->dtype != DT_FP32 && dst->dtype != src->dtype)
            return isa_rule_bad_dtype(c, 0);
    } else if (size == 1) {
        if (!dtype_is_int((enum dtype)dst->dtype) || dtype_size((enum dtype)dst->dtype) != 2)
            return isa_check_fail(c, "dst is %s, one-byte data need a 2-byte integer",
                                  dname(dst->dtype));
    } else if (dst->dtype != src->dtype) {
        return isa_rule_same_dtype(c, 0, 1);
    }
    return one_bank(c);
}
