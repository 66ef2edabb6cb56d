/* SPDX-License-Identifier: Apache-2.0 */
/* What each opcode is: engines, generations, milestones, and the slots of its body. */
#include "isa/isa_int.h"

#include <string.h>

#define PE   (1u << ISA_PE)
#define DVE  (1u << ISA_DVE)
#define ACT  (1u << ISA_ACT)
#define POOL (1u << ISA_POOL)
#define SP   (1u << ISA_SP)
#define ALL  (PE | DVE | ACT | POOL | SP)
#define V2UP 7u
#define V3UP 6u
#define V4UP 4u

#define F(field) offsetof(struct isa_compute, field)
#define IN(i, n)                                     \
    {                                                \
        ISA_SLOT_TENSOR, i, 0, 0, F(t) + 32 * (i), n \
    }
#define INO(i, n)                                             \
    {                                                         \
        ISA_SLOT_TENSOR, i, ISA_SF_OPT, 0, F(t) + 32 * (i), n \
    }
#define OUT(i, n)                                             \
    {                                                         \
        ISA_SLOT_TENSOR, i, ISA_SF_OUT, 0, F(t) + 32 * (i), n \
    }
#define OUTO(i, n)                                                         \
    {                                                                      \
        ISA_SLOT_TENSOR, i, ISA_SF_OUT | ISA_SF_OPT, 0, F(t) + 32 * (i), n \
    }
#define SC(i, n)                                    \
    {                                               \
        ISA_SLOT_SCALAR, i, 0, 0, F(s) + 8 * (i), n \
    }
#define SCO(i, n)                                            \
    {                                                        \
        ISA_SLOT_SCALAR, i, ISA_SF_OPT, 0, F(s) + 8 * (i), n \
    }
#define BITS(i, n, f)                                               \
    {                                                               \
        ISA_SLOT_SCALAR, i, ISA_SF_BITS | (f), 0, F(s) + 8 * (i), n \
    }
#define ALU(field, n)                      \
    {                                      \
        ISA_SLOT_ALU, 0, 0, 0, F(field), n \
    }
#define ALUO(field, n, d)                           \
    {                                               \
        ISA_SLOT_ALU, 0, ISA_SF_OPT, d, F(field), n \
    }
#define AFN                                 \
    {                                       \
        ISA_SLOT_ACT, 0, 0, 0, F(act), "op" \
    }
#define RC(d)                                                      \
    {                                                              \
        ISA_SLOT_RC, 0, ISA_SF_OPT, d, F(reduce_cmd), "reduce_cmd" \
    }
#define FLAG(field)                                       \
    {                                                     \
        ISA_SLOT_FLAG, 0, ISA_SF_OPT, 0, F(field), #field \
    }
#define U8(field, d)                                    \
    {                                                   \
        ISA_SLOT_U8, 0, ISA_SF_OPT, d, F(field), #field \
    }
#define REV(i)                                                       \
    {                                                                \
        ISA_SLOT_REVERSE, i, ISA_SF_OPT, 0, F(reverse), "reverse" #i \
    }
#define X32(kind_, field, n)                                \
    {                                                       \
        ISA_SLOT_##kind_, 0, ISA_SF_OPT, 0, F(x.v.field), n \
    }
#define PE_TILE   U8(pe_row, 0), U8(pe_col, 0), U8(pe_rows, 0), U8(pe_cols, 0)
#define REDUCE(d) ALUO(reduce_op, "reduce_op", ISA_ALU_NONE), RC(d)
#define S(...)    ((const struct isa_slot[]){__VA_ARGS__, {ISA_SLOT_END, 0, 0, 0, 0, NULL}})

static const struct isa_slot *const op_slots[ISA_OP_LIMIT] = {
    [ISA_OP_PRINT] = S(IN(1, "src"), X32(U32, n, "id")),
    [ISA_OP_SENDRECV] =
        S(OUT(0, "dst"), IN(1, "src"), X32(U32, n, "pipe"), X32(U32, count, "peer")),
    [ISA_OP_NC_MATMUL] = S(OUT(0, "dst"), IN(1, "stationary"), IN(2, "moving"), FLAG(acc),
                           FLAG(transpose), U8(perf_mode, 0), PE_TILE),
    [ISA_OP_NC_MATMUL_MX] = S(OUT(0, "dst"), IN(1, "stationary"), IN(2, "moving"),
                              IN(3, "stationary_scale"), IN(4, "moving_scale"), FLAG(acc), PE_TILE),
    [ISA_OP_NC_TRANSPOSE] = S(OUT(0, "dst"), IN(1, "data")),
    [ISA_OP_TENSOR_COPY] = S(OUT(0, "dst"), IN(1, "src")),
    [ISA_OP_TENSOR_COPY_PREDICATED] = S(OUT(0, "dst"), IN(1, "predicate"), INO(2, "src"),
                                        BITS(0, "value", ISA_SF_OPT), FLAG(reverse_pred)),
    [ISA_OP_MEMSET] = S(OUT(0, "dst"), BITS(0, "value", 0)),
    [ISA_OP_TENSOR_TENSOR] = S(OUT(0, "dst"), IN(1, "data1"), IN(2, "data2"), ALU(op0, "op")),
    [ISA_OP_TENSOR_SCALAR] = S(OUT(0, "dst"), IN(1, "data"), ALU(op0, "op0"), SCO(0, "operand0"),
                               REV(0), ALUO(op1, "op1", ISA_ALU_NONE), SCO(1, "operand1"), REV(1)),
    [ISA_OP_SCALAR_TENSOR_TENSOR] =
        S(OUT(0, "dst"), IN(1, "data"), ALU(op0, "op0"), SCO(0, "operand0"), REV(0),
          ALU(op1, "op1"), IN(2, "operand1"), REV(1)),
    [ISA_OP_ACTIVATION] = S(OUT(0, "dst"), IN(1, "data"), AFN, SCO(0, "scale"), SCO(1, "bias"),
                            REDUCE(ISA_RC_IDLE), OUTO(2, "reduce_res")),
    [ISA_OP_ACTIVATION_REDUCE] =
        S(OUT(0, "dst"), IN(1, "data"), AFN, SCO(0, "scale"), SCO(1, "bias"),
          ALUO(reduce_op, "reduce_op", ISA_ALU_ADD), RC(ISA_RC_RESET_REDUCE), OUT(2, "reduce_res")),
    [ISA_OP_ACTIVATE2] =
        S(OUT(0, "dst"), IN(1, "data"), AFN, ALUO(op0, "op0", ISA_ALU_BYPASS), SCO(0, "imm0"),
          REV(0), ALUO(op1, "op1", ISA_ALU_BYPASS), SCO(1, "imm1"), REV(1), SCO(2, "relu_param"),
          REDUCE(ISA_RC_IDLE), OUTO(2, "reduce_res")),
    [ISA_OP_EXPONENTIAL] = S(OUT(0, "dst"), IN(1, "src"), SCO(0, "max_value"),
                             SCO(1, "reduce_init"), RC(ISA_RC_IDLE), OUTO(2, "reduce_res")),
    [ISA_OP_RECIPROCAL] = S(OUT(0, "dst"), IN(1, "data")),
    [ISA_OP_DROPOUT] = S(OUT(0, "dst"), IN(1, "data"), SC(0, "prob")),
    [ISA_OP_NC_STREAM_SHUFFLE] =
        S(OUT(0, "dst"), IN(1, "src"), {ISA_SLOT_MASK, 0, 0, 0, F(x), "mask"}),
    [ISA_OP_QUANTIZE_MX] = S(OUT(0, "dst"), IN(1, "src"), OUT(2, "dst_scale")),
    [ISA_OP_TENSOR_REDUCE] =
        S(OUT(0, "dst"), IN(1, "data"), ALU(op0, "op"), U8(naxes, 1), FLAG(negate)),
    [ISA_OP_TENSOR_PARTITION_REDUCE] = S(OUT(0, "dst"), IN(1, "data"), ALU(op0, "op")),
    [ISA_OP_TENSOR_SCALAR_REDUCE] =
        S(OUT(0, "dst"), IN(1, "data"), ALU(op0, "op0"), SCO(0, "operand0"),
          ALU(reduce_op, "reduce_op"), RC(ISA_RC_RESET_REDUCE), SCO(1, "reduce_init"),
          OUTO(2, "reduce_res"), FLAG(negate)),
    [ISA_OP_TENSOR_SCALAR_CUMULATIVE] =
        S(OUT(0, "dst"), IN(1, "src"), ALU(op0, "op0"), SC(0, "imm0"), REV(0), ALU(op1, "op1"),
          SCO(1, "imm1"), RC(ISA_RC_RESET_REDUCE)),
    [ISA_OP_TENSOR_TENSOR_SCAN] = S(OUT(0, "dst"), IN(1, "data0"), IN(2, "data1"), SC(0, "initial"),
                                    ALU(op0, "op0"), REV(0), ALU(op1, "op1"), REV(1)),
    [ISA_OP_AFFINE_SELECT] = S(OUT(0, "dst"), IN(1, "on_true"), SC(0, "on_false"), ALU(cmp0, "cmp"),
                               {ISA_SLOT_PATTERN, 0, 0, 0, F(x), "pattern"}),
    [ISA_OP_RANGE_SELECT] =
        S(OUT(0, "dst"), IN(1, "on_true"), SC(0, "bound0"), SC(1, "bound1"), ALU(cmp0, "cmp0"),
          ALU(cmp1, "cmp1"), SCO(2, "range_start"), ALUO(reduce_op, "reduce_op", ISA_ALU_MAX),
          RC(ISA_RC_RESET_REDUCE), OUTO(2, "reduce_res")),
    [ISA_OP_SELECT_REDUCE] =
        S(OUT(0, "dst"), IN(1, "predicate"), IN(2, "on_true"), SC(0, "on_false"),
          FLAG(reverse_pred), REDUCE(ISA_RC_IDLE), OUTO(3, "reduce_res")),
    [ISA_OP_MAX8] = S(OUT(0, "dst"), IN(1, "src")),
    [ISA_OP_NC_FIND_INDEX8] = S(OUT(0, "dst"), IN(1, "data"), IN(2, "vals")),
    [ISA_OP_NC_MATCH_REPLACE8] =
        S(OUT(0, "dst"), IN(1, "data"), IN(2, "vals"), SC(0, "imm"), OUTO(3, "dst_idx")),
    [ISA_OP_TOPK] = S(OUT(0, "dst_val"), OUT(1, "dst_idx"), IN(2, "src"), X32(U32, n, "k"),
                      X32(U32, count, "n")),
    [ISA_OP_NONZERO_WITH_COUNT] =
        S(OUT(0, "dst"), IN(1, "src"), X32(I32, index_offset, "index_offset"),
          X32(I32, padding_val, "padding_val")),
    [ISA_OP_LOCAL_GATHER] = S(OUT(0, "dst"), IN(1, "src"), IN(2, "index"),
                              X32(U32, n, "num_elem_per_idx"), X32(U32, count, "num_valid")),
    [ISA_OP_NC_N_GATHER] = S(OUT(0, "dst"), IN(1, "data"), IN(2, "indices")),
    [ISA_OP_SEQUENCE_BOUNDS] = S(OUT(0, "dst"), IN(1, "segment_ids")),
    [ISA_OP_BN_STATS] = S(OUT(0, "dst"), IN(1, "data")),
    [ISA_OP_BN_AGGR] = S(OUT(0, "dst"), IN(1, "data")),
    [ISA_OP_IOTA] = S(OUT(0, "dst"), {ISA_SLOT_PATTERN, 0, 0, 0, F(x), "pattern"}),
    [ISA_OP_RNG] = S(OUT(0, "dst")),
    [ISA_OP_RAND2] = S(OUT(0, "dst"), SC(0, "min"), SC(1, "max")),
    [ISA_OP_SET_RNG_SEED] = S(IN(1, "src")),
    [ISA_OP_RAND_SET_STATE] = S(IN(1, "src")),
    [ISA_OP_RAND_GET_STATE] = S(OUT(0, "dst")),
};

/* engines, milestone, executable today, generations, tensor roles */
#define M(e, m, x, g, rd, wr) e, m, x, g, rd, wr
#define ROWS(Y)                                                \
    Y(NOP, M(ALL, 1, true, V2UP, 0, 0))                        \
    Y(SEM_RANGE_CLEAR, M(ALL, 1, true, V2UP, 0, 0))            \
    Y(DRAIN, M(ALL, 1, true, V2UP, 0, 0))                      \
    Y(END, M(ALL, 1, true, V2UP, 0, 0))                        \
    Y(REG_MOVE, M(ALL, 1, true, V2UP, 0, 0))                   \
    Y(REG_ALU, M(ALL, 1, true, V2UP, 0, 0))                    \
    Y(REG_LOAD, M(ALL, 1, true, V2UP, 0, 0))                   \
    Y(REG_STORE, M(ALL, 1, true, V2UP, 0, 0))                  \
    Y(BRANCH, M(ALL, 1, true, V2UP, 0, 0))                     \
    Y(DMA_TRIGGER, M(ALL, 1, true, V2UP, 0, 0))                \
    Y(DMA_DYN, M(POOL | SP | ACT, 1, true, V2UP, 0, 0))        \
    Y(CORE_BARRIER, M(ALL, 2, true, V3UP, 0, 0))               \
    Y(TRIGGER_COLLECTIVE, M(ALL, 2, false, V2UP, 0, 0))        \
    Y(PRINT, M(POOL, 2, true, V2UP, 2, 0))                     \
    Y(SENDRECV, M(ALL, 2, false, V3UP, 2, 1))                  \
    Y(NC_MATMUL, M(PE, 1, true, V2UP, 6, 1))                   \
    Y(NC_MATMUL_MX, M(PE, 3, false, V4UP, 30, 1))              \
    Y(NC_TRANSPOSE, M(PE | DVE, 1, true, V2UP, 2, 1))          \
    Y(TENSOR_COPY, M(DVE | ACT | POOL, 1, true, V2UP, 2, 1))   \
    Y(TENSOR_COPY_PREDICATED, M(DVE, 1, true, V2UP, 6, 1))     \
    Y(MEMSET, M(DVE | POOL, 1, true, V2UP, 0, 1))              \
    Y(TENSOR_TENSOR, M(DVE | POOL, 1, true, V2UP, 6, 1))       \
    Y(TENSOR_SCALAR, M(DVE | ACT | POOL, 1, true, V2UP, 2, 1)) \
    Y(SCALAR_TENSOR_TENSOR, M(DVE, 1, true, V2UP, 6, 1))       \
    Y(ACTIVATION, M(ACT, 1, true, V2UP, 2, 5))                 \
    Y(ACTIVATION_REDUCE, M(ACT, 1, true, V2UP, 2, 5))          \
    Y(ACTIVATE2, M(ACT, 3, false, V4UP, 2, 5))                 \
    Y(EXPONENTIAL, M(DVE, 3, false, V4UP, 2, 5))               \
    Y(RECIPROCAL, M(DVE, 1, true, V2UP, 2, 1))                 \
    Y(DROPOUT, M(DVE, 1, true, V2UP, 2, 1))                    \
    Y(NC_STREAM_SHUFFLE, M(DVE, 1, true, V2UP, 2, 1))          \
    Y(QUANTIZE_MX, M(DVE, 3, false, V4UP, 2, 5))               \
    Y(TENSOR_REDUCE, M(DVE, 1, true, V2UP, 2, 1))              \
    Y(TENSOR_PARTITION_REDUCE, M(POOL, 1, true, V2UP, 2, 1))   \
    Y(TENSOR_SCALAR_REDUCE, M(DVE, 1, true, V2UP, 2, 5))       \
    Y(TENSOR_SCALAR_CUMULATIVE, M(DVE, 2, false, V2UP, 2, 1))  \
    Y(TENSOR_TENSOR_SCAN, M(DVE, 2, false, V2UP, 6, 1))        \
    Y(AFFINE_SELECT, M(POOL, 1, true, V2UP, 2, 1))             \
    Y(RANGE_SELECT, M(DVE, 1, true, V3UP, 2, 5))               \
    Y(SELECT_REDUCE, M(DVE, 1, true, V2UP, 6, 9))              \
    Y(MAX8, M(DVE, 1, true, V2UP, 2, 1))                       \
    Y(NC_FIND_INDEX8, M(DVE, 1, true, V2UP, 6, 1))             \
    Y(NC_MATCH_REPLACE8, M(DVE, 1, true, V2UP, 6, 9))          \
    Y(TOPK, M(POOL, 3, false, V4UP, 4, 3))                     \
    Y(NONZERO_WITH_COUNT, M(POOL, 2, false, V3UP, 2, 1))       \
    Y(LOCAL_GATHER, M(POOL, 2, false, V2UP, 6, 1))             \
    Y(NC_N_GATHER, M(POOL, 1, true, V2UP, 6, 1))               \
    Y(SEQUENCE_BOUNDS, M(POOL, 2, false, V2UP, 2, 1))          \
    Y(BN_STATS, M(DVE, 1, true, V2UP, 2, 1))                   \
    Y(BN_AGGR, M(DVE, 1, true, V2UP, 2, 1))                    \
    Y(IOTA, M(POOL, 1, true, V2UP, 0, 1))                      \
    Y(RNG, M(DVE | POOL, 1, true, V2UP, 0, 1))                 \
    Y(RAND2, M(DVE, 3, false, V4UP, 0, 1))                     \
    Y(SET_RNG_SEED, M(DVE, 1, true, V2UP, 2, 0))               \
    Y(RAND_SET_STATE, M(DVE | POOL, 2, false, V3UP, 2, 0))     \
    Y(RAND_GET_STATE, M(DVE | POOL, 2, false, V3UP, 0, 1))

enum {
#define X(name, num, text, fmt) FMT_##name = ISA_FMT_##fmt##_,
#define ISA_FMT_N_              ISA_FMT_NONE
#define ISA_FMT_C_              ISA_FMT_COMPUTE
#define ISA_FMT_S_              ISA_FMT_SEQ
#define ISA_FMT_D_              ISA_FMT_DYN
    ISA_OPCODES(X)
#undef X
};
#define X(name, num, text, fmt) static const char name_##name[] = text;
ISA_OPCODES(X)
#undef X

static const struct isa_op_info op_infos[ISA_OP_LIMIT] = {
#define Y(name, ...) [ISA_OP_##name] = {name_##name, (enum isa_format)FMT_##name, __VA_ARGS__},
    ROWS(Y)
#undef Y
};

const struct isa_op_info *isa_op_info(unsigned opcode)
{
    if (opcode >= ISA_OP_LIMIT || !op_infos[opcode].name)
        return NULL;
    return &op_infos[opcode];
}

const struct isa_slot *isa_op_slots(unsigned opcode)
{
    return opcode < ISA_OP_LIMIT ? op_slots[opcode] : NULL;
}

void isa_op_used_mask(unsigned opcode, uint64_t ret_mask[31])
{
    static const uint8_t sizes[] = {
        [ISA_SLOT_TENSOR] = sizeof(struct isa_tensor),
        [ISA_SLOT_SCALAR] = sizeof(struct isa_scalar),
        [ISA_SLOT_PATTERN] = sizeof(struct isa_pattern),
        [ISA_SLOT_MASK] = 32,
        [ISA_SLOT_I32] = 4,
        [ISA_SLOT_U32] = 4,
    };
    const struct isa_slot *s = isa_op_slots(opcode);
    uint8_t *bytes = (uint8_t *)ret_mask;

    memset(bytes, 0, 248);
    for (; s && s->kind != ISA_SLOT_END; s++) {
        size_t n = s->kind < sizeof(sizes) ? sizes[s->kind] : 0;

        memset(bytes + s->off, 0xff, n ? n : 1);
    }
}

uint32_t isa_sbuf_bytes(enum isa_gen gen)
{
    switch (gen) {
    case ISA_V2:
        return 192 * 1024;
    case ISA_V3:
        return 224 * 1024;
    case ISA_V4:
        return 256 * 1024;
    }
    return 0;
}

static const char *const engine_names[ISA_ENGINES] = {"pe", "dve", "act", "pool", "sp"};
static const char *const alu_names[ISA_ALU_COUNT] = {
    NULL,         "bypass",      "add",        "subtract",      "multiply",    "maximum",
    "minimum",    "equal",       "not_equal",  "greater_equal", "greater",     "less_equal",
    "less",       "logical_and", "logical_or", "logical_xor",   "logical_not", "power",
    "abs_max",    "abs_min",     "abs",        "square",        "relu",        "rsqrt",
    "reciprocal", "average",     "invert",     "bitwise_and",   "bitwise_or",  "bitwise_xor",
    "left_shift", "right_shift"};
static const char *const act_names[ISA_ACT_COUNT] = {"copy",
                                                     "square",
                                                     "sigmoid",
                                                     "relu",
                                                     "prelu",
                                                     "gelu",
                                                     "gelu_dx",
                                                     "gelu_apprx_tanh",
                                                     "gelu_apprx_sigmoid",
                                                     "gelu_apprx_sigmoid_dx",
                                                     "silu",
                                                     "silu_dx",
                                                     "tanh",
                                                     "softplus",
                                                     "mish",
                                                     "erf",
                                                     "erf_dx",
                                                     "exp",
                                                     "log",
                                                     "sin",
                                                     "arctan",
                                                     "sqrt",
                                                     "rsqrt",
                                                     "reciprocal",
                                                     "sign",
                                                     "abs"};
static const char *const rc_names[ISA_RC_COUNT] = {"idle", "reset", "reduce", "reset_reduce",
                                                   "load_reduce"};
static const char *const reg_op_names[ISA_REG_OP_COUNT] = {"+",  "-",  "*",   "&",   "|",  "^",
                                                           "<<", ">>", ">>>", "min", "max"};
static const char *const cond_names[ISA_BR_COUNT] = {"always", "<", "<=", "==", "!=", ">=", ">"};

static const struct {
    const char *name;
    uint8_t op;
} alu_aliases[] = {{"mul", ISA_ALU_MULTIPLY}, {"sub", ISA_ALU_SUBTRACT}, {"max", ISA_ALU_MAX},
                   {"min", ISA_ALU_MIN},      {"eq", ISA_ALU_EQ},        {"ne", ISA_ALU_NE},
                   {"ge", ISA_ALU_GE},        {"gt", ISA_ALU_GT},        {"le", ISA_ALU_LE},
                   {"lt", ISA_ALU_LT},        {"pow", ISA_ALU_POWER},    {"shl", ISA_ALU_SHL},
                   {"shr", ISA_ALU_SHR}};

static bool name_is(const char *a, const char *s, size_t len)
{
    return a && strlen(a) == len && memcmp(a, s, len) == 0;
}

static int name_find(const char *const *names, unsigned n, const char *s, size_t len)
{
    for (unsigned i = 0; i < n; i++)
        if (name_is(names[i], s, len))
            return (int)i;
    return -1;
}

const struct isa_arch *isa_arch_find(const char *name, size_t n)
{
    static const struct isa_arch archs[] = {
        {"trn1", ISA_V2}, {"inf2", ISA_V2}, {"trn2", ISA_V3}, {"trn3", ISA_V4}};

    for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++)
        if (name_is(archs[i].name, name, n))
            return &archs[i];
    return NULL;
}

const char *isa_engine_name(unsigned engine)
{
    return engine < ISA_ENGINES ? engine_names[engine] : NULL;
}

const char *isa_alu_name(unsigned op)
{
    return op < ISA_ALU_COUNT ? alu_names[op] : NULL;
}

const char *isa_act_name(unsigned act)
{
    return act < ISA_ACT_COUNT ? act_names[act] : NULL;
}

const char *isa_rc_name(unsigned rc)
{
    return rc < ISA_RC_COUNT ? rc_names[rc] : NULL;
}

const char *isa_reg_op_name(unsigned op)
{
    return op < ISA_REG_OP_COUNT ? reg_op_names[op] : NULL;
}

const char *isa_cond_name(unsigned op)
{
    return op < ISA_BR_COUNT ? cond_names[op] : NULL;
}

unsigned isa_opcode_from_name(const char *name, size_t len)
{
    for (unsigned i = 1; i < ISA_OP_LIMIT; i++)
        if (name_is(op_infos[i].name, name, len))
            return i;
    return 0;
}

unsigned isa_alu_from_name(const char *name, size_t len)
{
    int i = name_find(alu_names, ISA_ALU_COUNT, name, len);

    if (i > 0)
        return (unsigned)i;
    for (size_t k = 0; k < sizeof(alu_aliases) / sizeof(alu_aliases[0]); k++)
        if (name_is(alu_aliases[k].name, name, len))
            return alu_aliases[k].op;
    return 0;
}

int isa_act_from_name(const char *name, size_t len)
{
    return name_find(act_names, ISA_ACT_COUNT, name, len);
}

int isa_rc_from_name(const char *name, size_t len)
{
    return name_find(rc_names, ISA_RC_COUNT, name, len);
}

bool isa_alu_is_cmp(unsigned op)
{
    return op >= ISA_ALU_EQ && op <= ISA_ALU_LT;
}

bool isa_alu_is_unary(unsigned op)
{
    switch (op) {
    case ISA_ALU_BYPASS:
    case ISA_ALU_LOGICAL_NOT:
    case ISA_ALU_ABS:
    case ISA_ALU_SQUARE:
    case ISA_ALU_RELU:
    case ISA_ALU_RSQRT:
    case ISA_ALU_RECIPROCAL:
    case ISA_ALU_INVERT:
        return true;
    default:
        return false;
    }
}
