/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the kernel room: resolved operands, row loops, and the table of vector loops. */
#ifndef KERNEL_KERNEL_INT_H
#define KERNEL_KERNEL_INT_H

#include "kernel/kernel.h"
#include "base/mem.h"

#define K_CHUNK     2048  /* elements that one pass over a row handles while they stay in cache */
#define K_MAX_ELEMS 65536 /* elements of a pattern in one partition (neuroncore.md 1.5) */
#define K_BUFS      5
#define K_BUF_BYTES ((size_t)K_MAX_ELEMS * 4)
#define K_RAW_BYTES ((size_t)K_MAX_ELEMS * 8)
/* Scratch of a core: work buffers, then the matrix kernels' packing area. */
#define K_SCRATCH_PACK  (K_BUFS * K_BUF_BYTES + 2 * K_RAW_BYTES)
#define K_PACK_BYTES    ((size_t)8 << 20)
#define K_SCRATCH_BYTES (K_SCRATCH_PACK + K_PACK_BYTES)

/* ---- vector loops ---------------------------------------------------------------------------- */

/* Operators of which two can be one loop: add, subtract, multiply. */
#define K_PAIRS 3
static inline unsigned k_pair_index(unsigned op)
{
    return op == ISA_ALU_ADD        ? 0
           : op == ISA_ALU_SUBTRACT ? 1
           : op == ISA_ALU_MULTIPLY ? 2
                                    : K_PAIRS;
}

/* One operation of several on the same elements: x op s, or x op y[i]. */
struct k_stage {
    uint8_t op; /* k_pair_index */
    bool each;  /* y */
    float s;
    const float *y;
};

/* Loops over contiguous fp32 buffers. out may be one of the inputs (same address), never overlap
 * them otherwise. Every table gives the same bits for the exact class. */
struct k_vec {
    const char *name;
    void (*load[DT_COUNT])(float *out, const void *in, size_t n);
    void (*store[DT_COUNT])(void *out, const float *in, size_t n);
    void (*bin[ISA_ALU_COUNT])(float *out, const float *x, const float *y, size_t n);
    void (*bin_s[ISA_ALU_COUNT])(float *out, const float *x, float y, size_t n); /* x op scalar */
    void (*bin_r[ISA_ALU_COUNT])(float *out, const float *y, float x, size_t n); /* scalar op y */
    /* (x op0 s) op1 y, each rounded, y a buffer or a scalar; by k_pair_index of op0 and op1 */
    void (*pair[K_PAIRS][K_PAIRS])(float *out, const float *x, float s, const float *y, size_t n);
    void (*pair_s[K_PAIRS][K_PAIRS])(float *out, const float *x, float s, float y, size_t n);
    /* All stages one after the other, each rounded. out may also be one of the y. */
    void (*chain)(float *out, const float *x, const struct k_stage *stage, unsigned count,
                  size_t n);
    /* out = in * scale + bias, each rounded */
    void (*affine)(float *out, const float *in, float scale, float bias, size_t n);
    void (*act[ISA_ACT_COUNT])(float *out, const float *in, float param, size_t n);
    /* exp and its sum in one pass: out = e^(in * scale + bias), returns acc + sum; or NULL */
    float (*exp_sum)(float *out, const float *in, float scale, float bias, size_t n, float acc);
    /* acc op in[0] op in[1] ...; NULL where the operator does not reduce */
    float (*fold[ISA_ALU_COUNT])(float acc, const float *in, size_t n);
    /* Of the even and of the odd elements: sum, and sum of (in[i] - mean)^2. */
    void (*sum2)(const float *in, size_t n, float out[2]);
    void (*sqdev2)(const float *in, size_t n, const float mean[2], float out[2]);
    /* acc[i] += scale * in[i], product and sum rounded on their own */
    void (*fma)(float *acc, float scale, const float *in, size_t n);
    /* whether a NaN is in in[0..n) */
    bool (*has_nan)(const float *in, size_t n);
};

extern const struct k_vec k_vec_portable;
#if defined(__x86_64__)
extern const struct k_vec k_vec_avx2, k_vec_avx512;
#endif
/* The table for this host (EXACT: the portable one). */
const struct k_vec *k_vec_choose(enum kernel_math math);

/* ---- stores around the caches (copy.c) ------------------------------------------------------- */

/* n bytes to dst[i] + at for every i; src is none of these. Not ordered before anything until
 * k_around_end. */
void k_around_copy(void *const *dst, unsigned ndst, size_t at, const void *src, size_t n);
void k_around_end(void);

/* ---- operands -------------------------------------------------------------------------------- */

struct mm_kernel;

struct k_dim {
    int32_t step; /* bytes */
    uint32_t num;
};

/* A tensor operand with its static part resolved to host memory. Dimensions are merged where one
 * continues the other, and those of one element are dropped. */
struct k_tile {
    uint8_t *row;    /* first element of the first partition, without the dynamic offset */
    int64_t off_mul; /* elements per unit of the register */
    int32_t lo, hi;  /* bytes touched around row: [lo, hi) */
    uint32_t offset; /* of row in its partition */
    uint32_t n;      /* elements per partition; 0: operand absent */
    uint8_t mem, dtype, esize, ndim;
    uint8_t part, nparts, off_reg;
    bool contig; /* elements adjacent and ascending */
    struct k_dim dim[4];
};

struct k_scalar {
    uint8_t kind, dtype, mem, reg, part;
    uint32_t bits; /* F32, I32; TILE: byte in the partition */
    uint8_t *row;  /* TILE */
};

/* A lowered record. Allocated in the arena with as many tiles as the opcode uses. */
struct k_rec {
    const struct k_vec *vec;
    const struct mm_kernel *mm; /* nc_matmul; NULL: portable */
    const struct k_rec *next;   /* nc_matmul: the next record of the same op */
    uint8_t opcode, engine, gen, ntiles;
    uint8_t op0, op1, reduce_op, reduce_cmd;
    uint8_t reverse, act, negate, acc;
    uint8_t reverse_pred, cmp0, cmp1, perf_mode;
    uint8_t transpose, raw; /* raw: bits move, no arithmetic */
    bool dynamic;           /* some tile has an offset register */
    bool copy;      /* dst overlaps an input otherwise than element by element: read all first */
    uint32_t inner; /* elements folded into one (tensor_reduce) */
    uint32_t nrows; /* partitions of the row loop */
    uint8_t pair0, pair1; /* k_pair_index of op0 and op1; pair0 is K_PAIRS where they are no pair */
    struct k_scalar s[3];
    union {
        struct isa_pattern pattern;
        uint8_t mask[32];
    } x;
    struct k_tile t[];
};

/* One execution of a record. */
struct k_run {
    const struct k_rec *rec;
    const struct k_vec *vec;
    struct kernel_core *kc;
    const uint32_t *regs;
    uint8_t *row[5]; /* first partition of each tile, dynamic offset included */
    size_t stride[5];
    float *buf[K_BUFS];
    void *raw, *raw2;
    uint32_t chunk;
    bool copy;
    uint32_t first, end; /* rows to run */
    uint32_t k;          /* current row */
    uint32_t pos;        /* first element of the current chunk */
    float sf[3];         /* scalar operands of the current row */
    bool nan;            /* a NaN was generated */
};

size_t k_stride(const struct kernel_core *kc, uint8_t mem);

/* Resolve the tiles and scalars of a compute record into a k_rec made in the arena. NRT_INVALID
 * (text names the operand) when an operand leaves its memory, has too many elements or an unknown
 * type: nothing that a checked program does, but nothing that may write outside either. */
NRT_STATUS k_rec_new(const struct isa_record *r, struct kernel_core *kc, enum kernel_math math,
                     unsigned ntiles, struct arena *arena, struct k_rec **ret, struct err *err);

/* Start a run: dynamic offsets are read once, checked and applied (NRT_EXEC_OOB). */
NRT_STATUS k_run_begin(struct k_run *r, const struct kernel_op *op, struct kernel_core *kc,
                       const uint32_t *regs, struct err *err);
/* The same for one record of an op that covers several. */
NRT_STATUS k_run_start(struct k_run *r, const struct k_rec *rec, struct kernel_core *kc,
                       const uint32_t *regs, struct err *err);
/* End it: counts the instruction if it generated a NaN. */
void k_run_end(struct k_run *r);

static inline uint8_t *k_row(const struct k_run *r, unsigned tile, unsigned k)
{
    return r->row[tile] + k * r->stride[tile];
}

/* Elements [start, start + n) of the pattern, moved between memory and a packed buffer. */
void k_gather(const struct k_tile *t, const uint8_t *row, uint32_t start, uint32_t n, void *out);
void k_scatter(const struct k_tile *t, uint8_t *row, uint32_t start, uint32_t n, const void *in);
/* One element's address. */
uint8_t *k_elem(const struct k_tile *t, uint8_t *row, uint32_t i);

static inline bool k_is_f32(uint8_t dtype)
{
    return dtype == DT_FP32 || dtype == DT_FP32R;
}

/* Elements of tile i, row k as fp32: a pointer into memory when they lie there as such and nothing
 * forbids it, else buf. */
const float *k_convert_in(const struct k_run *r, unsigned i, unsigned k, uint32_t start, uint32_t n,
                          float *buf);
static inline const float *k_read(const struct k_run *r, unsigned i, unsigned k, uint32_t start,
                                  uint32_t n, float *buf)
{
    const struct k_tile *t = &r->rec->t[i];

    if (t->contig && !r->copy && (k_is_f32(t->dtype) || t->dtype == DT_TF32))
        return (const float *)(const void *)k_row(r, i, k) + start;
    return k_convert_in(r, i, k, start, n, buf);
}

/* Where results for tile i may be computed: memory itself or buf. */
static inline float *k_out(const struct k_run *r, unsigned i, unsigned k, uint32_t start,
                           float *buf)
{
    const struct k_tile *t = &r->rec->t[i];

    if (t->contig && k_is_f32(t->dtype) && !r->copy && !r->kc->check_nan)
        return (float *)(void *)k_row(r, i, k) + start;
    return buf;
}

/* Convert and store; nothing to do when src is the memory itself. */
void k_convert_out(const struct k_run *r, unsigned i, unsigned k, uint32_t start, uint32_t n,
                   const float *src);
static inline void k_write(const struct k_run *r, unsigned i, unsigned k, uint32_t start,
                           uint32_t n, const float *src)
{
    const struct k_tile *t = &r->rec->t[i];
    const uint8_t *to = k_row(r, i, k) + (size_t)start * t->esize;

    if (!t->contig || (const uint8_t *)(const void *)src != to)
        k_convert_out(r, i, k, start, n, src);
}
/* Scalar operand as fp32, and as integer bits. */
float k_scalar_f32(const struct k_run *r, unsigned i, unsigned k);
uint32_t k_scalar_bits(const struct k_run *r, unsigned i, unsigned k);

/* Whether v becomes a NaN in the type. */
bool k_nan_in(enum dtype t, float v);

/* Set r->nan if out[i] is NaN in tile 0's type while no in[j][i] and no scalar was. */
void k_nan_note(struct k_run *r, const float *out, const float *const *in, unsigned nin,
                uint32_t n);

/* Run fn over all rows in chunks: tiles first .. first+nin-1 are read, tile 0 written. */
typedef void (*k_ew_fn)(struct k_run *r, const float *const *in, float *out, uint32_t n);
void k_elementwise(struct k_run *r, unsigned first, unsigned nin, bool check_nan, k_ew_fn fn);

/* Pack n fp32 values into cells of tile i's type, with the roundings in force, at `to`. */
void k_encode(const struct k_run *r, unsigned i, unsigned k, uint32_t n, const float *src,
              void *to);

/* One operator on cells of size bytes, zero-extended; the result is cut by the caller. sgn: max,
 * min and comparisons take the cells as signed. */
uint64_t k_int_op(unsigned op, uint64_t x, uint64_t y, unsigned size, bool sgn);
uint64_t k_cell(const uint8_t *p, unsigned size);

/* Accumulator registers (neuroncore.md 3.3). */
float k_identity(unsigned op);
bool k_folds(unsigned cmd);
/* Register value before the elements of this instruction. */
float k_acc_start(unsigned cmd, unsigned op, float reg, float init);

/* The DVE register of one row while an instruction folds into it. k_fold_end stores it and writes
 * tile res (if present); arithmetic: a NaN there may count as generated. */
struct k_fold {
    float *reg, acc;
    unsigned op;
    bool nan; /* a NaN went in */
};
void k_fold_begin(struct k_run *r, struct k_fold *f, unsigned op, unsigned lane, float init);
void k_fold_chunk(struct k_run *r, struct k_fold *f, const float *out, const float *in, uint32_t n);
void k_fold_end(struct k_run *r, struct k_fold *f, unsigned res, bool negate, bool arithmetic);

/* Affine patterns: elements (0: none or too many), their sums without offset, offset of row k. */
uint32_t k_pattern_count(const struct isa_pattern *p);
void k_pattern_fill(const struct isa_pattern *p, uint32_t *out);
uint32_t k_pattern_base(const struct k_run *r, unsigned k);

/* ---- families: one lowering function each --------------------------------------------------- */
struct k_lower {
    const struct isa_record *r;
    uint32_t max;
    struct kernel_core *kc;
    enum kernel_math math;
    struct arena *arena;
    struct kernel_op *op;
    struct err *err;
};
typedef NRT_STATUS (*k_lower_fn)(struct k_lower *l);

NRT_STATUS k_lower_memset(struct k_lower *l);
NRT_STATUS k_lower_tensor_copy(struct k_lower *l);
NRT_STATUS k_lower_copy_predicated(struct k_lower *l);
NRT_STATUS k_lower_tensor_tensor(struct k_lower *l);
NRT_STATUS k_lower_tensor_scalar(struct k_lower *l);
NRT_STATUS k_lower_scalar_tensor_tensor(struct k_lower *l);
NRT_STATUS k_lower_reciprocal(struct k_lower *l);
NRT_STATUS k_lower_activation(struct k_lower *l);
NRT_STATUS k_lower_matmul(struct k_lower *l);
NRT_STATUS k_lower_transpose(struct k_lower *l);
NRT_STATUS k_lower_shuffle(struct k_lower *l);
NRT_STATUS k_lower_tensor_reduce(struct k_lower *l);
NRT_STATUS k_lower_partition_reduce(struct k_lower *l);
NRT_STATUS k_lower_scalar_reduce(struct k_lower *l);
NRT_STATUS k_lower_affine_select(struct k_lower *l);
NRT_STATUS k_lower_range_select(struct k_lower *l);
NRT_STATUS k_lower_select_reduce(struct k_lower *l);
NRT_STATUS k_lower_max8(struct k_lower *l);
NRT_STATUS k_lower_find_index8(struct k_lower *l);
NRT_STATUS k_lower_match_replace8(struct k_lower *l);
NRT_STATUS k_lower_n_gather(struct k_lower *l);
NRT_STATUS k_lower_bn_stats(struct k_lower *l);
NRT_STATUS k_lower_bn_aggr(struct k_lower *l);
NRT_STATUS k_lower_iota(struct k_lower *l);
NRT_STATUS k_lower_dropout(struct k_lower *l);
NRT_STATUS k_lower_rng(struct k_lower *l);
NRT_STATUS k_lower_set_rng_seed(struct k_lower *l);

/* nc_matmul by definition, and through the microkernel of its record. */
NRT_STATUS k_run_matmul(const struct kernel_op *op, struct kernel_core *kc, const uint32_t *regs,
                        struct err *err);
NRT_STATUS k_run_matmul_fast(const struct kernel_op *op, struct kernel_core *kc,
                             const uint32_t *regs, struct err *err);
struct mm_kernel;
const struct mm_kernel *k_mm_choose(const struct k_rec *rec, enum kernel_math math);

NRT_STATUS k_lower_print(struct k_lower *l);

/* k_rec_new for l, stored as the op's private part with fn. */
struct k_rec *k_lower_rec(struct k_lower *l, unsigned ntiles, kernel_fn fn, NRT_STATUS *ret_st);
/* Equal counts and partitions of two present tiles, else NRT_INVALID. */
NRT_STATUS k_same_shape(struct k_lower *l, const struct k_rec *rec, unsigned a, unsigned b);
/* The fold of this record: command, operator, reduce_res of one element. */
NRT_STATUS k_check_fold(struct k_lower *l, const struct k_rec *rec, unsigned op, unsigned res);
/* x.pattern has as many elements as dst and a legal register. */
NRT_STATUS k_check_pattern(struct k_lower *l, const struct k_rec *rec);
/* Tiles 0 .. n-1 are integers of one size, as bit operators want. */
NRT_STATUS k_bit_types(struct k_lower *l, const struct k_rec *rec, unsigned n);
/* Give the op its rows (kernel.h) if its operands allow: for kernels that loop from k_run.first to
 * k_run.end and keep nothing from one row to the next. writes: bit per tile that is written. */
void k_offer_rows(struct k_lower *l, const struct k_rec *rec, unsigned writes);
/* Say whether the op, which has its rows, may be one pass with others of its kind. */
void k_offer_join(struct k_lower *l, struct k_rec *rec);
/* Ops cover all their rows again. */
void k_rows_all(struct kernel_core *kc);
/* An operator that the fp32 loops know. */
bool k_float_op(const struct k_vec *v, unsigned op);
NRT_STATUS k_refuse(struct k_lower *l, const char *what, unsigned value);

#endif
