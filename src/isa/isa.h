/* SPDX-License-Identifier: Apache-2.0 */
/* The open encoding of NeuronCore instructions: one fixed-size record per nki.isa function or
 * machine operation. Semantics: docs/spec/neuroncore.md; bytes and text form: docs/isa.md. The
 * binary form that Neuron compilers emit is unpublished and is not this one.
 *
 * All integers are little-endian. Bytes that a record's format does not use are zero; the checker
 * refuses others. Numbers of opcodes and enumerators never change; new ones are appended. */
#ifndef ISA_ISA_H
#define ISA_ISA_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/dtype.h"
#include "base/strbuf.h"

#define ISA_NAME            "opennrt" /* def.json isa.name */
#define ISA_VERSION         1         /* def.json isa.version and isa_record.version */
#define ISA_PARTITIONS      128
#define ISA_REGS            64
#define ISA_SEMAPHORES      256
#define ISA_EVENTS          256
#define ISA_NO_REG          0xff
#define ISA_PSUM_BYTES      16384 /* per partition, every generation */
#define ISA_PSUM_BANK       2048
#define ISA_SBUF_MAP_STRIDE 262144 /* partition stride of the address map (neuroncore.md 1.2) */

enum isa_gen { ISA_V2 = 2, ISA_V3 = 3, ISA_V4 = 4 };
/* An architecture by its name, "trn1", "inf2", "trn2" or "trn3", of n bytes; NULL: another name. */
struct isa_arch {
    const char *name;
    enum isa_gen gen;
};
const struct isa_arch *isa_arch_find(const char *name, size_t n);
/* Bytes of one SBUF partition: 192, 224, 256 KiB; 0 for an unknown generation. */
uint32_t isa_sbuf_bytes(enum isa_gen gen);

enum isa_engine { ISA_PE = 0, ISA_DVE, ISA_ACT, ISA_POOL, ISA_SP, ISA_ENGINES };

/* Opcode numbers. The X-list is the one place that names them: X(NAME, number, "text", format).
 * Formats: N none, C compute (body.c), S sequencer (body.s), D dynamic DMA (body.d). */
#define ISA_OPCODES(X)                                               \
    /* machine records */                                            \
    X(NOP, 0x01, "nop", N)                                           \
    X(SEM_RANGE_CLEAR, 0x02, "sem_range_clear", S)                   \
    X(DRAIN, 0x03, "drain", N)                                       \
    X(END, 0x04, "end", N)                                           \
    X(REG_MOVE, 0x05, "register_move", S)                            \
    X(REG_ALU, 0x06, "register_alu", S)                              \
    X(REG_LOAD, 0x07, "register_load", S)                            \
    X(REG_STORE, 0x08, "register_store", S)                          \
    X(BRANCH, 0x09, "branch", S)                                     \
    X(DMA_TRIGGER, 0x0a, "dma_trigger", S)                           \
    X(DMA_DYN, 0x0b, "dma_dyn", D)                                   \
    X(CORE_BARRIER, 0x0c, "core_barrier", S)                         \
    X(TRIGGER_COLLECTIVE, 0x0d, "trigger_collective", S)             \
    X(PRINT, 0x0e, "device_print", C)                                \
    X(SENDRECV, 0x0f, "sendrecv", C)                                 \
    /* PE */                                                         \
    X(NC_MATMUL, 0x20, "nc_matmul", C)                               \
    X(NC_MATMUL_MX, 0x21, "nc_matmul_mx", C)                         \
    X(NC_TRANSPOSE, 0x22, "nc_transpose", C)                         \
    /* element-wise */                                               \
    X(TENSOR_COPY, 0x30, "tensor_copy", C)                           \
    X(TENSOR_COPY_PREDICATED, 0x31, "tensor_copy_predicated", C)     \
    X(MEMSET, 0x32, "memset", C)                                     \
    X(TENSOR_TENSOR, 0x33, "tensor_tensor", C)                       \
    X(TENSOR_SCALAR, 0x34, "tensor_scalar", C)                       \
    X(SCALAR_TENSOR_TENSOR, 0x35, "scalar_tensor_tensor", C)         \
    X(ACTIVATION, 0x36, "activation", C)                             \
    X(ACTIVATION_REDUCE, 0x37, "activation_reduce", C)               \
    X(ACTIVATE2, 0x38, "activate2", C)                               \
    X(EXPONENTIAL, 0x39, "exponential", C)                           \
    X(RECIPROCAL, 0x3a, "reciprocal", C)                             \
    X(DROPOUT, 0x3b, "dropout", C)                                   \
    X(NC_STREAM_SHUFFLE, 0x3c, "nc_stream_shuffle", C)               \
    X(QUANTIZE_MX, 0x3d, "quantize_mx", C)                           \
    /* scans and reductions */                                       \
    X(TENSOR_REDUCE, 0x40, "tensor_reduce", C)                       \
    X(TENSOR_PARTITION_REDUCE, 0x41, "tensor_partition_reduce", C)   \
    X(TENSOR_SCALAR_REDUCE, 0x42, "tensor_scalar_reduce", C)         \
    X(TENSOR_SCALAR_CUMULATIVE, 0x43, "tensor_scalar_cumulative", C) \
    X(TENSOR_TENSOR_SCAN, 0x44, "tensor_tensor_scan", C)             \
    /* selection */                                                  \
    X(AFFINE_SELECT, 0x48, "affine_select", C)                       \
    X(RANGE_SELECT, 0x49, "range_select", C)                         \
    X(SELECT_REDUCE, 0x4a, "select_reduce", C)                       \
    /* index, sort, gather */                                        \
    X(MAX8, 0x50, "max8", C)                                         \
    X(NC_FIND_INDEX8, 0x51, "nc_find_index8", C)                     \
    X(NC_MATCH_REPLACE8, 0x52, "nc_match_replace8", C)               \
    X(TOPK, 0x53, "topk", C)                                         \
    X(NONZERO_WITH_COUNT, 0x54, "nonzero_with_count", C)             \
    X(LOCAL_GATHER, 0x55, "local_gather", C)                         \
    X(NC_N_GATHER, 0x56, "nc_n_gather", C)                           \
    X(SEQUENCE_BOUNDS, 0x57, "sequence_bounds", C)                   \
    /* statistics, constants */                                      \
    X(BN_STATS, 0x58, "bn_stats", C)                                 \
    X(BN_AGGR, 0x59, "bn_aggr", C)                                   \
    X(IOTA, 0x5a, "iota", C)                                         \
    /* random numbers */                                             \
    X(RNG, 0x60, "rng", C)                                           \
    X(RAND2, 0x61, "rand2", C)                                       \
    X(SET_RNG_SEED, 0x62, "set_rng_seed", C)                         \
    X(RAND_SET_STATE, 0x63, "rand_set_state", C)                     \
    X(RAND_GET_STATE, 0x64, "rand_get_state", C)

enum isa_opcode {
    ISA_OP_INVALID = 0,
#define X(name, num, text, fmt) ISA_OP_##name = num,
    ISA_OPCODES(X)
#undef X
        ISA_OP_LIMIT = 0x80
};

/* ALU operators (neuroncore.md 3.1). */
enum isa_alu {
    ISA_ALU_NONE = 0,
    ISA_ALU_BYPASS,
    ISA_ALU_ADD,
    ISA_ALU_SUBTRACT,
    ISA_ALU_MULTIPLY,
    ISA_ALU_MAX,
    ISA_ALU_MIN,
    ISA_ALU_EQ,
    ISA_ALU_NE,
    ISA_ALU_GE,
    ISA_ALU_GT,
    ISA_ALU_LE,
    ISA_ALU_LT,
    ISA_ALU_LOGICAL_AND,
    ISA_ALU_LOGICAL_OR,
    ISA_ALU_LOGICAL_XOR,
    ISA_ALU_LOGICAL_NOT,
    ISA_ALU_POWER,
    ISA_ALU_ABS_MAX,
    ISA_ALU_ABS_MIN,
    ISA_ALU_ABS,
    ISA_ALU_SQUARE,
    ISA_ALU_RELU,
    ISA_ALU_RSQRT,
    ISA_ALU_RECIPROCAL,
    ISA_ALU_AVERAGE,
    /* bit operators */
    ISA_ALU_INVERT,
    ISA_ALU_BIT_AND,
    ISA_ALU_BIT_OR,
    ISA_ALU_BIT_XOR,
    ISA_ALU_SHL,
    ISA_ALU_SHR,
    ISA_ALU_COUNT
};
static inline bool isa_alu_is_bit(unsigned op)
{
    return op >= ISA_ALU_INVERT && op <= ISA_ALU_SHR;
}

/* Activation functions (neuroncore.md 3.2), in the order of its table. */
enum isa_act {
    ISA_ACT_COPY = 0,
    ISA_ACT_SQUARE,
    ISA_ACT_SIGMOID,
    ISA_ACT_RELU,
    ISA_ACT_PRELU,
    ISA_ACT_GELU,
    ISA_ACT_GELU_DX,
    ISA_ACT_GELU_APPRX_TANH,
    ISA_ACT_GELU_APPRX_SIGMOID,
    ISA_ACT_GELU_APPRX_SIGMOID_DX,
    ISA_ACT_SILU,
    ISA_ACT_SILU_DX,
    ISA_ACT_TANH,
    ISA_ACT_SOFTPLUS,
    ISA_ACT_MISH,
    ISA_ACT_ERF,
    ISA_ACT_ERF_DX,
    ISA_ACT_EXP,
    ISA_ACT_LOG,
    ISA_ACT_SIN,
    ISA_ACT_ARCTAN,
    ISA_ACT_SQRT,
    ISA_ACT_RSQRT,
    ISA_ACT_RECIPROCAL,
    ISA_ACT_SIGN,
    ISA_ACT_ABS,
    ISA_ACT_COUNT
};

enum isa_reduce_cmd {
    ISA_RC_IDLE = 0,
    ISA_RC_RESET,
    ISA_RC_REDUCE,
    ISA_RC_RESET_REDUCE,
    ISA_RC_LOAD_REDUCE,
    ISA_RC_COUNT
};

enum isa_mem { ISA_MEM_NONE = 0, ISA_SBUF = 1, ISA_PSUM = 2, ISA_HBM = 3 };

/* A tensor operand in SBUF or PSUM. Element (i3,i2,i1,i0) of partition part + p lies at byte
 * offset + size(dtype) * (sum dim[k].step * i_k [+ reg[off_reg] * off_mul]); dim[0] is the fastest.
 */
struct isa_dim {
    int16_t step; /* elements */
    uint16_t num;
};
struct isa_tensor {
    uint8_t mem;           /* enum isa_mem: ISA_MEM_NONE = operand absent (all zero) */
    uint8_t dtype;         /* enum dtype */
    uint8_t part;          /* start partition */
    uint8_t nparts;        /* 1..128 */
    uint32_t offset;       /* bytes in the partition */
    struct isa_dim dim[4]; /* ndim used, the rest zero */
    uint8_t ndim;          /* 1..4 */
    uint8_t
        off_reg;   /* register whose signed value times off_mul elements is added, or ISA_NO_REG */
    uint8_t index; /* v4 indirection: 1 + number of the operand that indexes this one; 0 none */
    uint8_t pad;
    int32_t off_mul;
};
static_assert(sizeof(struct isa_tensor) == 32, "isa_tensor is 32 bytes");

enum isa_scalar_kind { ISA_SC_NONE = 0, ISA_SC_F32, ISA_SC_I32, ISA_SC_REG, ISA_SC_TILE };
/* A scalar operand: constant, register, or [P,1] tile (partition k of it meets partition k). */
struct isa_scalar {
    uint8_t kind;
    uint8_t mem;   /* TILE: ISA_SBUF or ISA_PSUM */
    uint8_t dtype; /* TILE: enum dtype */
    uint8_t part;  /* TILE: start partition */
    uint32_t v;    /* F32: bits; I32: two's complement; REG: number; TILE: byte offset */
};
static_assert(sizeof(struct isa_scalar) == 8, "isa_scalar is 8 bytes");

enum isa_wait_kind {
    ISA_WAIT_NONE = 0,
    ISA_WAIT_SEM_GE,
    ISA_WAIT_SEM_EQ,
    ISA_WAIT_EVENT_SET,
    ISA_WAIT_EVENT_CLEAR
};
/* Entries past nwaits and nupdates are all zero bytes. An entry in use has reg ISA_NO_REG wherever
 * no register is named (events, ++ and -- too), and value 0 where it is not used. */
struct isa_wait {
    uint8_t kind, index; /* semaphore or event number */
    uint8_t reg;         /* register that holds the value, or ISA_NO_REG: then value */
    uint8_t pad;
    int32_t value;
};
enum isa_update_kind {
    ISA_UPD_NONE = 0,
    ISA_UPD_INC,
    ISA_UPD_DEC,
    ISA_UPD_ADD,
    ISA_UPD_SUB,
    ISA_UPD_WRITE,
    ISA_UPD_EVENT_SET,
    ISA_UPD_EVENT_CLEAR
};
#define ISA_UPD_AT_READ 1 /* flags: fires when the inputs are read; default: at completion */
#define ISA_UPD_PEER    2 /* flags: on the other physical core of the logical core (LNC 2) */
struct isa_update {
    uint8_t kind, index;
    uint8_t reg; /* for add, sub, write; or ISA_NO_REG: then value */
    uint8_t flags;
    int32_t value;
};

/* iota and affine_select: offset + p * channel_multiplier + sum step_k * i_k, int32 arithmetic. */
struct isa_pattern {
    int32_t offset;
    uint8_t off_reg; /* added to offset, or ISA_NO_REG */
    uint8_t ndim, pad[2];
    int32_t channel_multiplier;
    int32_t step[4]; /* [0] fastest */
    uint16_t num[4];
};
static_assert(sizeof(struct isa_pattern) == 36, "isa_pattern is 36 bytes");

/* The operands of body.c by function; text and checker read the same table (table.c).
 *
 *   function                  t[]                            s[]                   other fields
 *   nc_matmul                 dst stationary moving                                acc transpose
 *                                                                         perf_mode pe_*
 *   nc_matmul_mx              dst stationary moving stat_scale mov_scale           acc pe_*
 *   nc_transpose              dst data
 *   tensor_copy               dst src
 *   tensor_copy_predicated    dst predicate [src]            value                 reverse_pred
 *   memset                    dst                            value
 *   tensor_tensor             dst data1 data2                                      op0
 *   tensor_scalar             dst data                       operand0 operand1     op0 op1 reverse
 *   scalar_tensor_tensor      dst data operand1              operand0              op0 op1 reverse
 *   activation                dst data [reduce_res]          scale bias            act reduce_op
 *                                                                         reduce_cmd
 *   activation_reduce         dst data reduce_res            scale bias            the same
 *   activate2                 dst data [reduce_res]          imm0 imm1 relu_param  op0 op1 reverse
 *                                                                 act reduce_op reduce_cmd
 *   exponential               dst src [reduce_res]           max_value reduce_init reduce_cmd
 *   reciprocal                dst data
 *   dropout                   dst data                       prob
 *   nc_stream_shuffle         dst src                                              x.mask
 *   quantize_mx               dst src dst_scale
 *   tensor_reduce             dst data                                             op0 naxes negate
 *   tensor_partition_reduce   dst data                                             op0
 *   tensor_scalar_reduce      dst data [reduce_res]          operand0 reduce_init  op0 reduce_op
 *                                                         reduce_cmd negate (of reduce_res)
 *   tensor_scalar_cumulative  dst src                        imm0 imm1             op0 op1 reverse
 *                                                                         reduce_cmd
 *   tensor_tensor_scan        dst data0 data1                initial               op0 op1 reverse
 *   affine_select             dst on_true                    on_false              cmp0 x.pattern
 *   range_select              dst on_true [reduce_res]       bound0 bound1 range_start
 *                                                         cmp0 cmp1 reduce_op reduce_cmd
 *   select_reduce             dst predicate on_true [reduce_res]  on_false         reverse_pred
 *                                                         reduce_op reduce_cmd
 *   max8                      dst src
 *   nc_find_index8            dst data vals
 *   nc_match_replace8         dst data vals [dst_idx]        imm
 *   topk                      dst_val dst_idx src                                  x.v.n (K)
 *                                                                         x.v.count (n)
 *   nonzero_with_count        dst src                              x.v.index_offset x.v.padding_val
 *   local_gather              dst src index     x.v.n (num_elem_per_idx) x.v.count (num_valid)
 *   nc_n_gather               dst data indices
 *   sequence_bounds           dst segment_ids
 *   bn_stats, bn_aggr         dst data
 *   iota                      dst                                                  x.pattern
 *   rng, rand_get_state       dst
 *   rand2                     dst                            min max
 *   set_rng_seed, rand_set_state  (absent) src
 *   sendrecv                  dst src                        x.v.n (pipe id) x.v.count (peer rank)
 *   device_print              (absent) src                                         x.v.n (print id)
 *
 * t[0] is always the destination; operands in brackets may be absent. A scalar that is absent
 * (ISA_SC_NONE) has its default of neuroncore.md 4: scale 1, bias, range_start, reduce_init,
 * relu_param, max_value 0; the others are required. memset's and tensor_copy_predicated's value is
 * ISA_SC_I32: the bits of the constant in dst's type, in the low bytes. activation_reduce carries
 * reduce_op ADD and reduce_cmd RESET_REDUCE. */
struct isa_compute {
    struct isa_tensor t[5];
    struct isa_scalar s[3];
    uint8_t op0, op1;              /* enum isa_alu */
    uint8_t reduce_op, reduce_cmd; /* enum isa_alu, enum isa_reduce_cmd */
    uint8_t reverse;               /* bit 0: op0 reversed, bit 1: op1 reversed */
    uint8_t act;                   /* enum isa_act */
    uint8_t naxes;                 /* tensor_reduce: trailing (fastest) dimensions reduced, 1..4 */
    uint8_t negate;
    uint8_t acc, transpose, perf_mode; /* nc_matmul; perf_mode 1 = double_row */
    uint8_t reverse_pred;
    uint8_t cmp0, cmp1;                       /* enum isa_alu comparisons */
    uint8_t pe_row, pe_col, pe_rows, pe_cols; /* tile position and size; all 0 = whole array */
    uint8_t pad[2];
    union {
        struct isa_pattern pattern;
        uint8_t mask[32];
        struct {
            int32_t index_offset, padding_val;
            uint32_t n, count;
        } v;
        uint8_t raw[44];
    } x;
};
static_assert(sizeof(struct isa_compute) == 248, "isa_compute is 248 bytes");

/* An operand in HBM: a variable of def.json. Steps in elements; dim 0 the fastest. */
struct isa_hbm {
    uint32_t var_id;
    uint8_t dtype, ndim;
    uint8_t off_reg; /* reg * off_mul elements are added; ISA_NO_REG none */
    uint8_t pad;
    int64_t offset; /* bytes in the variable */
    int64_t step[4];
    uint32_t num[4];
    int32_t off_mul;
    uint32_t pad2;
    uint64_t bound_first, bound_bytes; /* bound_bytes 0: the whole variable */
};
static_assert(sizeof(struct isa_hbm) == 88, "isa_hbm is 88 bytes");

union isa_place {
    struct isa_tensor tile;
    struct isa_hbm hbm;
};

enum isa_reg_op {
    ISA_REG_ADD = 0,
    ISA_REG_SUB,
    ISA_REG_MUL,
    ISA_REG_AND,
    ISA_REG_OR,
    ISA_REG_XOR,
    ISA_REG_SHL,
    ISA_REG_SHR,
    ISA_REG_SAR,
    ISA_REG_MIN,
    ISA_REG_MAX,
    ISA_REG_OP_COUNT
};
enum isa_cond {
    ISA_BR_ALWAYS = 0,
    ISA_BR_LT,
    ISA_BR_LE,
    ISA_BR_EQ,
    ISA_BR_NE,
    ISA_BR_GE,
    ISA_BR_GT,
    ISA_BR_COUNT
};

/* Sequencer records; fields that a record does not list are zero.
 *   register_move   rd <- reg rb or imm              register_alu    rd <- ra op (rb or imm)
 *   register_load   rd <- element at place           register_store  element at place <- ra
 *   branch          if ra op (rb or imm) goto record target; op ALWAYS: ra, rb, imm are zero
 *   dma_trigger     imm = block id of the engine's JSON
 *   sem_range_clear semaphores first .. first + count - 1 become 0
 *   core_barrier    first = semaphore
 *   trigger_collective  imm = index in the collectives table, first = 1 + semaphore to raise or 0
 * rb is ISA_NO_REG when imm is meant, and imm is 0 when rb is a register. */
struct isa_seq {
    uint8_t op;         /* enum isa_reg_op or enum isa_cond */
    uint8_t rd, ra, rb; /* rb ISA_NO_REG: imm instead */
    int32_t imm;
    uint32_t target;
    uint16_t first, count;
    uint8_t place_mem; /* enum isa_mem: which member of place is meant */
    uint8_t pad[7];
    union isa_place place; /* exactly one element */
};

enum isa_dyn_op { ISA_DYN_COPY = 0, ISA_DYN_TRANSPOSE, ISA_DYN_ADD, ISA_DYN_OP_COUNT };
enum isa_dyn_mode { ISA_DGE_SW = 0, ISA_DGE_HW, ISA_DGE_COUNT };
enum isa_oob { ISA_OOB_ERROR = 0, ISA_OOB_SKIP = 1 };

/* A dynamic transfer (neuroncore.md 5.5, 6.4): element k of src in pattern order goes to element k
 * of dst (a tile: partition slowest). At most one side carries an offset: a register in its operand
 * (off_reg, off_mul), or the vector index below on an HBM side. With a vector index the HBM operand
 * has off_reg ISA_NO_REG; row w of its slowest dimension (dim[ndim - 1], num = index.nparts) starts
 * at offset + idx[w] * off_mul elements, and the step of that dimension is not used (0).
 * transpose: the shape is that of src, slowest first (a tile: partitions, then its dimensions),
 * axes by its rank as in 5.4. SBUF tiles may start at any partition here. */
struct isa_dyn {
    union isa_place src, dst;
    uint8_t src_mem, dst_mem; /* enum isa_mem: ISA_SBUF or ISA_HBM */
    uint8_t op, mode;         /* enum isa_dyn_op, enum isa_dyn_mode */
    uint8_t index_side;       /* 0 none, 1 src, 2 dst takes the vector offset */
    uint8_t oob_reg;          /* register with the mode, or ISA_NO_REG: oob */
    uint8_t oob;              /* enum isa_oob */
    uint8_t pad;
    uint16_t queue;    /* number of the queue set in def.json order of names (sorted bytewise) */
    int16_t semaphore; /* raised by num_queues at completion; -1 none */
    struct isa_tensor index; /* SBUF tile [rows, 1] of int32 or uint32 */
    uint8_t pad2[4];
};

/* One instruction: 320 bytes. */
struct isa_record {
    uint16_t opcode;
    uint8_t version; /* ISA_VERSION */
    uint8_t engine;  /* enum isa_engine, equal to that of the program it stands in */
    uint8_t nwaits, nupdates;
    uint8_t pad[2];
    struct isa_wait wait[4];
    struct isa_update update[4];
    union {
        struct isa_compute c;
        struct isa_seq s;
        struct isa_dyn d;
        uint8_t raw[248];
    } body;
};
static_assert(sizeof(struct isa_seq) <= 248, "isa_seq fits the body");
static_assert(sizeof(struct isa_dyn) <= 248, "isa_dyn fits the body");
static_assert(sizeof(struct isa_record) == 320, "isa_record is 320 bytes");
static_assert(offsetof(struct isa_record, body) == 72, "body at 72");

enum isa_format { ISA_FMT_NONE, ISA_FMT_COMPUTE, ISA_FMT_SEQ, ISA_FMT_DYN };

struct isa_op_info {
    const char *name;
    enum isa_format format;
    uint8_t engines;       /* bit per enum isa_engine that may execute it */
    uint8_t milestone;     /* 1, 2, 3 */
    bool executable;       /* the software core runs it today */
    uint8_t gens;          /* bit per generation: 1 << (gen - 2) */
    uint8_t reads, writes; /* compute: bit k = t[k] is an input / an output when present */
};
/* NULL for a number that is no opcode. */
const struct isa_op_info *isa_op_info(unsigned opcode);
const char *isa_engine_name(unsigned engine); /* "pe" "dve" "act" "pool" "sp"; NULL */
const char *isa_alu_name(unsigned op);        /* NULL when unknown */
const char *isa_act_name(unsigned act);

/* Operand helpers. */
uint64_t isa_tensor_count(const struct isa_tensor *t); /* elements per partition */
/* Lowest and one-past-highest byte of the static pattern in the partition (may be negative before
 * the range check). */
void isa_tensor_extent(const struct isa_tensor *t, int64_t *ret_lo, int64_t *ret_hi);
/* Bit k set: operand t[k] is read / written (accumulating destinations are both). */
unsigned isa_reads(const struct isa_record *r);
unsigned isa_writes(const struct isa_record *r);

/* What the checker must know of the place where a program will run. */
struct isa_check_env {
    enum isa_gen gen;
    unsigned lnc;
    const int64_t *var_ids; /* n_vars: ids that HBM operands may name; NULL: not checked */
    const uint64_t *var_sizes;
    size_t n_vars;
    const int64_t *dma_ids; /* block ids of this engine's JSON; NULL: not checked */
    size_t n_dma_ids;
    size_t n_queues;           /* queue sets of the subgraph */
    const bool *queue_dynamic; /* per queue set: its type is dynamic or embedding_update */
    const int64_t *dge_ids;    /* variables a dynamic transfer may name; NULL: any */
    size_t n_dge_ids;
    size_t n_collectives;
    bool collectives; /* somebody executes them: trigger_collective is accepted */
};

/* Check one engine's program (every rule marked "refused" in neuroncore.md that a record or the
 * program shows): bytes from a NEFF, untrusted. The error text names the record number, field and
 * value, and for an opcode that is known but not executable, the opcode (status NRT_INVALID, text
 * "Unsupported hardware operator code <n> found in neff." as published, with the name). */
NRT_STATUS isa_check_program(const void *bytes, size_t size, enum isa_engine engine,
                             const struct isa_check_env *env, const struct diag_sink *sink,
                             struct err *err);
/* Whether bytes look like our encoding at all (size multiple, version, known opcode). */
bool isa_looks_ours(const void *bytes, size_t size);

/* One record as a line of the text form, without names: stable, round-trips through isa_asm. */
void isa_print_record(const struct isa_record *r, struct strbuf *out);

#endif
