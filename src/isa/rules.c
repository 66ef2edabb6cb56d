/* SPDX-License-Identifier: Apache-2.0 */
/* What single functions ask of their operands (neuroncore.md 1.6, 2.4, 3 and 4). */
#include "isa/isa_int.h"

/* Shorthands for the record under check. */
#define BODY(c) (&(c)->r->body.c)
#define T(c, k) (&(c)->r->body.c.t[k])

static const char *dname(unsigned t)
{
    return dtype_name((enum dtype)t);
}

static uint64_t count(const struct isa_tensor *t)
{
    return isa_tensor_count(t);
}

static const char *slot_name(const struct isa_check *c, unsigned k)
{
    const struct isa_slot *s = isa_op_slots(c->r->opcode);

    for (; s->kind != ISA_SLOT_END; s++)
        if (s->kind == ISA_SLOT_TENSOR && s->index == k)
            return s->name;
    return "?";
}

static NRT_STATUS same_parts(struct isa_check *c, unsigned a, unsigned b)
{
    if (T(c, a)->nparts == T(c, b)->nparts)
        return NRT_SUCCESS;
    return isa_check_fail(c, "%s has %u partitions, %s %u", slot_name(c, a), T(c, a)->nparts,
                          slot_name(c, b), T(c, b)->nparts);
}

static NRT_STATUS same_count(struct isa_check *c, unsigned a, unsigned b)
{
    if (count(T(c, a)) == count(T(c, b)))
        return NRT_SUCCESS;
    return isa_check_fail(c, "%s has %llu elements in a partition, %s %llu", slot_name(c, a),
                          (unsigned long long)count(T(c, a)), slot_name(c, b),
                          (unsigned long long)count(T(c, b)));
}

static NRT_STATUS same_shape(struct isa_check *c, unsigned a, unsigned b)
{
    NRT_STATUS st = same_parts(c, a, b);

    return st != NRT_SUCCESS ? st : same_count(c, a, b);
}

static NRT_STATUS same_dtype(struct isa_check *c, unsigned a, unsigned b)
{
    if (T(c, a)->dtype == T(c, b)->dtype)
        return NRT_SUCCESS;
    return isa_check_fail(c, "%s is %s, %s %s", slot_name(c, a), dname(T(c, a)->dtype),
                          slot_name(c, b), dname(T(c, b)->dtype));
}

static NRT_STATUS want_count(struct isa_check *c, unsigned k, uint64_t n)
{
    if (count(T(c, k)) == n)
        return NRT_SUCCESS;
    return isa_check_fail(c, "%s has %llu elements in a partition, not %llu", slot_name(c, k),
                          (unsigned long long)count(T(c, k)), (unsigned long long)n);
}

static NRT_STATUS bad_dtype(struct isa_check *c, unsigned k)
{
    return isa_check_fail(c, "%s cannot be %s", slot_name(c, k), dname(T(c, k)->dtype));
}

static bool packed(unsigned t)
{
    return dtype_kind((enum dtype)t) == DTK_PACKED;
}

/* Arithmetic cannot read or write packed cells. */
static NRT_STATUS no_packed(struct isa_check *c)
{
    for (unsigned k = 0; k < 5; k++)
        if (T(c, k)->mem && packed(T(c, k)->dtype))
            return bad_dtype(c, k);
    return NRT_SUCCESS;
}

/* A DVE record reads at most one tensor from PSUM. */
static NRT_STATUS one_psum(struct isa_check *c, unsigned a, unsigned b)
{
    if (T(c, a)->mem == ISA_PSUM && T(c, b)->mem == ISA_PSUM)
        return isa_check_fail(c, "%s and %s are both in PSUM", slot_name(c, a), slot_name(c, b));
    return NRT_SUCCESS;
}

/* ---- ALU operators -----------------------------------------------------------------------------
 */

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

static bool in_set(unsigned op, uint64_t set)
{
    return set >> op & 1;
}
#define SET1(a)          (1ull << ISA_ALU_##a)
#define SET2(a, b)       (SET1(a) | SET1(b))
#define SET4(a, b, x, y) (SET2(a, b) | SET2(x, y))

static NRT_STATUS want_op(struct isa_check *c, const char *name, unsigned op, uint64_t set)
{
    if (in_set(op, set))
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
static NRT_STATUS alu_family(struct isa_check *c, unsigned op0, unsigned op1, bool *ret_bits)
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
        return no_packed(c);
    if (c->engine != ISA_DVE && c->r->opcode != ISA_OP_TENSOR_PARTITION_REDUCE)
        return isa_check_fail(c, "bit operators belong to dve");
    for (unsigned k = 0; k < 3; k++)
        if (T(c, k)->mem && (!dtype_is_int((enum dtype)T(c, k)->dtype) ||
                             dtype_size((enum dtype)T(c, k)->dtype) != size))
            return isa_check_fail(c, "%s is %s: bit operators want integers of one size",
                                  slot_name(c, k), dname(T(c, k)->dtype));
    return NRT_SUCCESS;
}

/* The scalar operand s[k] of operator op. */
static NRT_STATUS alu_operand(struct isa_check *c, unsigned k, const char *name, unsigned op,
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
static NRT_STATUS fp32_scalar(struct isa_check *c, unsigned k, const char *name)
{
    const struct isa_scalar *s = &BODY(c)->s[k];

    if (s->kind == ISA_SC_I32)
        return isa_check_fail(c, "%s is an integer, not fp32", name);
    if (s->kind == ISA_SC_TILE && s->dtype != DT_FP32)
        return isa_check_fail(c, "%s tile is %s, not float32", name, dname(s->dtype));
    return NRT_SUCCESS;
}

/* The [P,1] read-out of an accumulator register. */
static NRT_STATUS reduce_res(struct isa_check *c, unsigned k)
{
    NRT_STATUS st;

    if (T(c, k)->mem == ISA_MEM_NONE)
        return NRT_SUCCESS;
    st = same_parts(c, k, 0);
    return st != NRT_SUCCESS ? st : want_count(c, k, 1);
}

/* ---- PE ----------------------------------------------------------------------------------------
 */

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

static NRT_STATUS rule_matmul(struct isa_check *c)
{
    const struct isa_tensor *dst = T(c, 0), *st = T(c, 1), *mv = T(c, 2);
    bool v4 = c->env->gen >= ISA_V4;
    uint64_t most = !v4 ? 512 : dst->dtype == DT_BF16 ? 8192 : 4096;
    NRT_STATUS s = same_parts(c, 1, 2);

    if (s != NRT_SUCCESS)
        return s;
    if (BODY(c)->perf_mode || BODY(c)->transpose)
        return isa_check_fail(c, "%s is known but not executable",
                              BODY(c)->transpose ? "transpose" : "perf_mode");
    if (st->part != mv->part)
        return isa_check_fail(c, "stationary starts at partition %u, moving at %u", st->part,
                              mv->part);
    if (dst->dtype != DT_FP32 && !(v4 && dst->dtype == DT_BF16))
        return bad_dtype(c, 0);
    for (unsigned k = 1; k <= 2; k++)
        if (!matmul_dtype(c, T(c, k)->dtype))
            return bad_dtype(c, k);
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
    s = same_count(c, 0, 2);
    if (s == NRT_SUCCESS)
        s = one_bank(c);
    return s != NRT_SUCCESS ? s : pe_tile(c);
}

static NRT_STATUS transpose_dve(struct isa_check *c)
{
    const struct isa_tensor *dst = T(c, 0), *src = T(c, 1);
    uint64_t n = count(src), dn = count(dst);

    if (dst->dtype != src->dtype)
        return same_dtype(c, 0, 1);
    if (src->nparts <= 32 && n <= 32) {
        if (dst->nparts == n && dn == src->nparts)
            return NRT_SUCCESS;
        return isa_check_fail(c, "dst is %u x %llu, the transpose of data %llu x %u", dst->nparts,
                              (unsigned long long)dn, (unsigned long long)n, src->nparts);
    }
    if (src->nparts % 32 || n % 32)
        return isa_check_fail(c, "data %u x %llu is neither at most 32 x 32 nor whole blocks",
                              src->nparts, (unsigned long long)n);
    return same_shape(c, 0, 1);
}

static NRT_STATUS rule_transpose(struct isa_check *c)
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
            return bad_dtype(c, 1);
        if (dst->dtype != DT_FP32 && dst->dtype != src->dtype)
            return bad_dtype(c, 0);
    } else if (size == 1) {
        if (!dtype_is_int((enum dtype)dst->dtype) || dtype_size((enum dtype)dst->dtype) != 2)
            return isa_check_fail(c, "dst is %s, one-byte data need a 2-byte integer",
                                  dname(dst->dtype));
    } else if (dst->dtype != src->dtype) {
        return same_dtype(c, 0, 1);
    }
    return one_bank(c);
}

/* ---- element-wise
 * -------------------------------------------------------------------------------*/

static NRT_STATUS rule_copy(struct isa_check *c)
{
    if (c->engine == ISA_ACT && c->env->gen == ISA_V2)
        return isa_check_fail(c, "act of v2 has no copy; use activation");
    if (T(c, 0)->dtype != T(c, 1)->dtype) {
        NRT_STATUS st = no_packed(c);

        if (st != NRT_SUCCESS)
            return st;
    }
    return same_shape(c, 0, 1);
}

/* Constant bits wider than the type would be lost. */
static NRT_STATUS const_bits(struct isa_check *c)
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

static NRT_STATUS rule_copy_predicated(struct isa_check *c)
{
    bool tile = T(c, 2)->mem != ISA_MEM_NONE, value = BODY(c)->s[0].kind != ISA_SC_NONE;
    NRT_STATUS st = same_shape(c, 1, 0);

    if (tile == value)
        return isa_check_fail(
            c, "%s", tile ? "src and value are both given" : "neither src nor value is given");
    if (T(c, 1)->dtype != DT_UINT8 && T(c, 1)->dtype != DT_UINT16 && T(c, 1)->dtype != DT_UINT32)
        return bad_dtype(c, 1);
    if (st == NRT_SUCCESS && tile)
        st = same_dtype(c, 0, 2);
    if (st == NRT_SUCCESS && tile)
        st = same_shape(c, 0, 2);
    if (st == NRT_SUCCESS && tile)
        st = one_psum(c, 1, 2);
    return st != NRT_SUCCESS ? st : const_bits(c);
}

static NRT_STATUS rule_tensor_tensor(struct isa_check *c)
{
    unsigned op = BODY(c)->op0;
    bool bits;
    NRT_STATUS st = same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = same_shape(c, 0, 2);
    if (st == NRT_SUCCESS)
        st = one_psum(c, 1, 2);
    if (st == NRT_SUCCESS)
        st = alu_family(c, op, ISA_ALU_NONE, &bits);
    if (st != NRT_SUCCESS)
        return st;
    if (isa_alu_is_unary(op) || op == ISA_ALU_AVERAGE)
        return isa_check_fail(c, "op cannot be %s", isa_alu_name(op));
    return NRT_SUCCESS;
}

static NRT_STATUS scalar_ops(struct isa_check *c, bool *ret_bits)
{
    const struct isa_compute *b = BODY(c);
    NRT_STATUS st = alu_family(c, b->op0, b->op1, ret_bits);

    if (st != NRT_SUCCESS)
        return st;
    if (b->op0 == ISA_ALU_AVERAGE || b->op1 == ISA_ALU_AVERAGE)
        return isa_check_fail(c, "operator average reduces partitions only");
    return alu_operand(c, 0, "operand0", b->op0, *ret_bits);
}

static NRT_STATUS rule_tensor_scalar(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    bool bits;
    NRT_STATUS st = same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = scalar_ops(c, &bits);
    if (st == NRT_SUCCESS)
        st = alu_operand(c, 1, "operand1", b->op1, bits);
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

static NRT_STATUS rule_stt(struct isa_check *c)
{
    bool bits;
    NRT_STATUS st = same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = same_shape(c, 0, 2);
    if (st == NRT_SUCCESS)
        st = one_psum(c, 1, 2);
    if (st == NRT_SUCCESS)
        st = scalar_ops(c, &bits);
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
    return fp32_scalar(c, 0, "scale");
}

static NRT_STATUS rule_activation(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    NRT_STATUS st = same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = no_packed(c);
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
    return reduce_res(c, 2);
}

static NRT_STATUS rule_dropout(struct isa_check *c)
{
    const struct isa_scalar *p = &BODY(c)->s[0];
    NRT_STATUS st = same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = same_dtype(c, 0, 1);
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

static NRT_STATUS rule_shuffle(struct isa_check *c)
{
    const struct isa_tensor *dst = T(c, 0), *src = T(c, 1);
    const uint8_t *mask = BODY(c)->x.mask;
    unsigned most = dst->nparts > src->nparts ? dst->nparts : src->nparts;
    NRT_STATUS st = same_dtype(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = same_count(c, 0, 1);
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

/* ---- reductions
 * ---------------------------------------------------------------------------------*/

static NRT_STATUS rule_reduce(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    const struct isa_tensor *dst = T(c, 0), *src = T(c, 1);
    uint64_t outer = 1;
    bool bits;
    NRT_STATUS st = same_parts(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = alu_family(c, b->op0, ISA_ALU_NONE, &bits);
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

static NRT_STATUS rule_partition_reduce(struct isa_check *c)
{
    bool bits;
    NRT_STATUS st = want_op(c, "op", BODY(c)->op0, SET1(ADD) | SET4(AVERAGE, MAX, BIT_OR, BIT_AND));

    if (st == NRT_SUCCESS)
        st = alu_family(c, BODY(c)->op0, ISA_ALU_NONE, &bits);
    if (st != NRT_SUCCESS)
        return st;
    if (T(c, 0)->nparts != 1)
        return isa_check_fail(c, "dst has %u partitions, not 1", T(c, 0)->nparts);
    return same_count(c, 0, 1);
}

static NRT_STATUS rule_scalar_reduce(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    bool bits;
    NRT_STATUS st = same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = scalar_ops(c, &bits);
    if (st != NRT_SUCCESS)
        return st;
    if (bits)
        return isa_check_fail(c, "op0 must be arithmetic");
    st = want_op(c, "reduce_op", b->reduce_op, SET4(ADD, MULTIPLY, MAX, MIN));
    if (st == NRT_SUCCESS)
        st = fp32_scalar(c, 1, "reduce_init");
    return st != NRT_SUCCESS ? st : reduce_res(c, 2);
}

/* ---- selection
 * ----------------------------------------------------------------------------------*/

static NRT_STATUS rule_affine(struct isa_check *c)
{
    NRT_STATUS st = same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = no_packed(c);
    if (st != NRT_SUCCESS)
        return st;
    if (BODY(c)->s[0].kind != ISA_SC_F32)
        return isa_check_fail(c, "on_false must be an fp32 constant");
    if (!isa_alu_is_cmp(BODY(c)->cmp0))
        return isa_check_fail(c, "cmp cannot be %s", isa_alu_name(BODY(c)->cmp0));
    return NRT_SUCCESS;
}

static NRT_STATUS rule_range(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    uint64_t cmps = SET4(LT, LE, GT, GE) | SET1(EQ);
    NRT_STATUS st = same_shape(c, 0, 1);
    float start;

    if (st == NRT_SUCCESS)
        st = want_op(c, "cmp0", b->cmp0, cmps);
    if (st == NRT_SUCCESS)
        st = want_op(c, "cmp1", b->cmp1, cmps);
    if (st == NRT_SUCCESS)
        st = want_op(c, "reduce_op", b->reduce_op, SET1(MAX));
    if (st == NRT_SUCCESS)
        st = no_packed(c);
    if (st != NRT_SUCCESS)
        return st;
    if (!dtype_is_float((enum dtype)T(c, 1)->dtype))
        return bad_dtype(c, 1);
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
    return reduce_res(c, 2);
}

static NRT_STATUS rule_select_reduce(struct isa_check *c)
{
    const struct isa_compute *b = BODY(c);
    unsigned p = T(c, 1)->dtype, v = T(c, 2)->dtype;
    NRT_STATUS st = same_shape(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = same_shape(c, 0, 2);
    if (st == NRT_SUCCESS)
        st = one_psum(c, 1, 2);
    if (st == NRT_SUCCESS)
        st = no_packed(c);
    if (st != NRT_SUCCESS)
        return st;
    if (p != DT_UINT8 && p != DT_INT8 && p != DT_UINT16 && p != DT_INT16)
        return bad_dtype(c, 1);
    if (v == DT_TF32 || v == DT_INT32 || v == DT_UINT32)
        return bad_dtype(c, 2);
    if (b->reduce_cmd == ISA_RC_LOAD_REDUCE)
        return isa_check_fail(c, "reduce_cmd cannot be load_reduce");
    if (b->reduce_op != ISA_ALU_MAX && (b->reduce_op || b->reduce_cmd != ISA_RC_IDLE))
        return isa_check_fail(c, "reduce_op must be maximum");
    st = fp32_scalar(c, 0, "on_false");
    return st != NRT_SUCCESS ? st : reduce_res(c, 3);
}

/* ---- index, sort, gather -----------------------------------------------------------------------
 */

static NRT_STATUS sort_data(struct isa_check *c, unsigned k)
{
    const struct isa_tensor *t = T(c, k);

    if (packed(t->dtype))
        return bad_dtype(c, k);
    if (count(t) < 8 || count(t) > 16384)
        return isa_check_fail(c, "%s has %llu elements in a partition, not 8 to 16384",
                              slot_name(c, k), (unsigned long long)count(t));
    return NRT_SUCCESS;
}

static NRT_STATUS three_dims(struct isa_check *c, unsigned k)
{
    if (T(c, k)->ndim > 3)
        return isa_check_fail(c, "%s has %u dimensions, at most 3", slot_name(c, k), T(c, k)->ndim);
    return NRT_SUCCESS;
}

static NRT_STATUS rule_max8(struct isa_check *c)
{
    NRT_STATUS st = same_parts(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = sort_data(c, 1);
    if (st == NRT_SUCCESS)
        st = three_dims(c, 1);
    if (st == NRT_SUCCESS)
        st = no_packed(c);
    return st != NRT_SUCCESS ? st : want_count(c, 0, 8);
}

static NRT_STATUS vals8(struct isa_check *c)
{
    NRT_STATUS st = sort_data(c, 1);

    if (st == NRT_SUCCESS)
        st = same_parts(c, 1, 2);
    if (st == NRT_SUCCESS)
        st = want_count(c, 2, 8);
    if (st == NRT_SUCCESS)
        st = three_dims(c, 2);
    if (st == NRT_SUCCESS)
        st = no_packed(c);
    return st != NRT_SUCCESS ? st : one_psum(c, 1, 2);
}

static bool index_out_dtype(unsigned t)
{
    return t == DT_UINT16 || t == DT_UINT32;
}

static NRT_STATUS rule_find_index8(struct isa_check *c)
{
    NRT_STATUS st = vals8(c);

    if (st == NRT_SUCCESS)
        st = three_dims(c, 1);
    if (st == NRT_SUCCESS)
        st = same_parts(c, 0, 1);
    if (st == NRT_SUCCESS)
        st = want_count(c, 0, 8);
    if (st == NRT_SUCCESS && !index_out_dtype(T(c, 0)->dtype))
        st = bad_dtype(c, 0);
    return st;
}

static NRT_STATUS rule_match_replace8(struct isa_check *c)
{
    NRT_STATUS st = vals8(c);

    if (st == NRT_SUCCESS)
        st = same_shape(c, 0, 1);
    if (st == NRT_SUCCESS && T(c, 3)->mem) {
        st = same_parts(c, 3, 1);
        if (st == NRT_SUCCESS)
            st = want_count(c, 3, 8);
        if (st == NRT_SUCCESS && !index_out_dtype(T(c, 3)->dtype))
            st = bad_dtype(c, 3);
    }
    if (st == NRT_SUCCESS && BODY(c)->s[0].kind != ISA_SC_F32 && BODY(c)->s[0].kind != ISA_SC_REG)
        return isa_check_fail(c, "imm must be an fp32 constant");
    return st;
}

static NRT_STATUS rule_n_gather(struct isa_check *c)
{
    NRT_STATUS st = same_dtype(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = same_shape(c, 0, 2);
    if (st == NRT_SUCCESS)
        st = same_parts(c, 0, 1);
    if (st == NRT_SUCCESS && T(c, 2)->dtype != DT_UINT32)
        st = bad_dtype(c, 2);
    return st;
}

/* ---- statistics, constants, random numbers
 * ------------------------------------------------------*/

static NRT_STATUS rule_bn(struct isa_check *c)
{
    bool stats = c->r->opcode == ISA_OP_BN_STATS;
    NRT_STATUS st = same_parts(c, 0, 1);

    if (st == NRT_SUCCESS)
        st = no_packed(c);
    if (st != NRT_SUCCESS)
        return st;
    if (stats && count(T(c, 1)) > 512)
        return isa_check_fail(c, "data has %llu elements in a partition, at most 512",
                              (unsigned long long)count(T(c, 1)));
    if (!stats && count(T(c, 1)) % 3)
        return isa_check_fail(c, "data has %llu elements in a partition, not triples",
                              (unsigned long long)count(T(c, 1)));
    return want_count(c, 0, stats ? 6 : 2);
}

static NRT_STATUS rule_rng(struct isa_check *c)
{
    if (!dtype_is_int((enum dtype)T(c, 0)->dtype))
        return bad_dtype(c, 0);
    if (c->engine == ISA_POOL && c->env->gen < ISA_V3)
        return isa_check_fail(c, "pool of v2 has no generator");
    return NRT_SUCCESS;
}

static NRT_STATUS rule_seed(struct isa_check *c)
{
    if (dtype_size((enum dtype)T(c, 1)->dtype) != 4)
        return bad_dtype(c, 1);
    if (T(c, 1)->nparts != 1)
        return isa_check_fail(c, "src has %u partitions, not 1", T(c, 1)->nparts);
    return want_count(c, 1, 1);
}

NRT_STATUS isa_check_rules(struct isa_check *c)
{
    NRT_STATUS st;

    switch (c->r->opcode) {
    case ISA_OP_NC_MATMUL:
        return rule_matmul(c);
    case ISA_OP_NC_TRANSPOSE:
        return rule_transpose(c);
    case ISA_OP_TENSOR_COPY:
        return rule_copy(c);
    case ISA_OP_TENSOR_COPY_PREDICATED:
        return rule_copy_predicated(c);
    case ISA_OP_MEMSET:
        return const_bits(c);
    case ISA_OP_TENSOR_TENSOR:
        return rule_tensor_tensor(c);
    case ISA_OP_TENSOR_SCALAR:
        return rule_tensor_scalar(c);
    case ISA_OP_SCALAR_TENSOR_TENSOR:
        return rule_stt(c);
    case ISA_OP_ACTIVATION:
    case ISA_OP_ACTIVATION_REDUCE:
        return rule_activation(c);
    case ISA_OP_RECIPROCAL:
        st = same_shape(c, 0, 1);
        return st != NRT_SUCCESS ? st : no_packed(c);
    case ISA_OP_DROPOUT:
        return rule_dropout(c);
    case ISA_OP_NC_STREAM_SHUFFLE:
        return rule_shuffle(c);
    case ISA_OP_TENSOR_REDUCE:
        return rule_reduce(c);
    case ISA_OP_TENSOR_PARTITION_REDUCE:
        return rule_partition_reduce(c);
    case ISA_OP_TENSOR_SCALAR_REDUCE:
        return rule_scalar_reduce(c);
    case ISA_OP_AFFINE_SELECT:
        return rule_affine(c);
    case ISA_OP_RANGE_SELECT:
        return rule_range(c);
    case ISA_OP_SELECT_REDUCE:
        return rule_select_reduce(c);
    case ISA_OP_MAX8:
        return rule_max8(c);
    case ISA_OP_NC_FIND_INDEX8:
        return rule_find_index8(c);
    case ISA_OP_NC_MATCH_REPLACE8:
        return rule_match_replace8(c);
    case ISA_OP_NC_N_GATHER:
        return rule_n_gather(c);
    case ISA_OP_BN_STATS:
    case ISA_OP_BN_AGGR:
        return rule_bn(c);
    case ISA_OP_IOTA:
        return no_packed(c);
    case ISA_OP_RNG:
        return rule_rng(c);
    case ISA_OP_SET_RNG_SEED:
        return rule_seed(c);
    default:
        return isa_check_fail(c, "no rules");
    }
}
