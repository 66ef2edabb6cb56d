/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of one compute record on the memories of one physical core. Portable C is the
 * definition; vector versions are chosen when a record is lowered. Semantics:
 * docs/spec/neuroncore.md sections 2 to 4; classes exact and bounded: decision 7 of the design.
 *
 * Life: core allocates a struct kernel_core, lowers every checked record once into a struct
 * kernel_op (private memory), then runs ops in program order. Ops never look at the record again.
 */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#include "base/err.h"
#include "isa/isa.h"

struct run_pool; /* run room; NULL = single-threaded */

/* Marsaglia XORWOW (neuroncore.md 4.9). */
struct kernel_rng {
    uint32_t x, y, z, w, v, d;
};

/* On-chip state of one physical core. One thread at a time. */
struct kernel_core {
    enum isa_gen gen;
    uint8_t *sbuf;       /* 128 rows; row p at sbuf + p * sbuf_stride */
    size_t sbuf_stride;  /* real size + an odd number of cache lines */
    uint32_t sbuf_bytes; /* usable bytes of a row */
    uint8_t *psum;
    size_t psum_stride;
    float act_acc[128], dve_acc[128];
    bool acc_used;                                    /* since they were last cleared */
    struct kernel_rng dve_rng[128][4], pool_rng[128]; /* v4 DVE uses all four */
    struct kernel_rng sr_rng[ISA_ENGINES][128];       /* stochastic rounding, one stream per lane */
    bool stochastic_rounding;
    bool check_nan; /* count instructions that generate a NaN (neuroncore.md 2.5) */
    uint64_t nan_count;
    bool saturate_ocp;
    struct run_pool *pool;
    size_t mm_near; /* bytes of moving cells that products take through the first-level cache
                       (kernels.md) */
    void *scratch;  /* packing buffers of the matrix kernels, owned by kernel */
    size_t scratch_size;
    uint32_t row_first, row_end; /* rows that an op covers now: all but inside kernel_run_rows */
    const struct kernel_elsewhere *elsewhere; /* the same: operands that lie there, or NULL */
};

/* Allocate the memories (mem_alloc; SBUF mapped lazily, huge pages advised), fill with zeros, seed
 * the generators as by s = 0 and the SR streams from sr_seed. NRT_RESOURCE when memory is out. */
NRT_STATUS kernel_core_init(struct kernel_core *kc, enum isa_gen gen, uint32_t sr_seed,
                            struct err *err);
void kernel_core_fini(struct kernel_core *kc);
/* Before an execution: accumulator registers to 0, nan_count 0 (memories and generators stay). */
void kernel_core_start(struct kernel_core *kc);

/* Which implementation kernel_lower may choose. EXACT is OPENNRT_MATH=exact: portable only. */
enum kernel_math { KERNEL_MATH_FAST, KERNEL_MATH_EXACT };

struct kernel_op;
/* regs: the 64 registers of the issuing engine. Returns NRT_SUCCESS, or NRT_EXEC_OOB / NRT_INVALID
 * with err filled (dynamic address or index out of range); nothing is written then. */
typedef NRT_STATUS (*kernel_fn)(const struct kernel_op *op, struct kernel_core *kc,
                                const uint32_t *regs, struct err *err);

/* A lowered record: fixed size so that a program is one array. `priv` is laid out by the kernel
 * that `fn` names (resolved row offsets, counts, kernels for loads and stores); large constants go
 * to the arena given to kernel_lower. */
struct kernel_op {
    kernel_fn fn;
    uint64_t flops;    /* model FLOPs of the record, for counters */
    uint32_t consumed; /* records this op covers: 1, or a run of matmuls of one group */
    uint32_t row_bytes;
    /* rows > 0: the op cannot fail, and its row k touches nothing but partition part + k of SBUF
     * and PSUM and that lane's registers, so rows may run apart and in any order. row_bytes: of its
     * largest operand in a partition. */
    uint8_t part, rows;
    uint8_t row_writes; /* bit per operand that is written */
    bool shares;        /* all rows at once, if they are many bytes, keep all host threads busy */
    bool joins;         /* element-wise, and may be one pass with others (kernel_op_joins) */
    uint64_t priv[4];
};
static_assert(sizeof(struct kernel_op) == 64, "a program has one for each record: a cache line");

/* Lower records[0] (format compute, already passed isa_check_program) for the core kc. May cover
 * records[1..max-1] too when nothing can observe the middle: no waits after the first record of the
 * run, no updates before its last, no branch target inside (the caller passes max accordingly, 1 to
 * forbid). NRT_INVALID when a record is not executable. Resolves addresses against kc: valid as
 * long as kc is. */
struct arena;
NRT_STATUS kernel_lower(const struct isa_record *records, uint32_t max, struct kernel_core *kc,
                        enum kernel_math math, struct arena *arena, struct kernel_op *ret_op,
                        struct err *err);

/* Where an operand of an op that has rows lies in a partition. */
struct kernel_range {
    bool sbuf;       /* else PSUM */
    bool whole;      /* every byte of [lo, hi) belongs to it */
    uint32_t lo, hi; /* bytes */
};
/* Operand i: the tiles (0 is the destination), then the scalars in tiles. False past the last one;
 * hi is 0 for one that is absent. */
bool kernel_op_operand(const struct kernel_op *op, unsigned i, struct kernel_range *ret);
#define KERNEL_TILES 3 /* tiles of an op that has rows; further operands are scalars */

/* Other memory, at a multiple of four bytes, that stands for tiles of an op: the lowest byte of row
 * k lies at row0 + k * step, the others as they would in the partition. */
struct kernel_elsewhere {
    uint32_t tiles; /* bit per tile */
    struct {
        uint8_t *row0;
        int64_t step;
    } tile[KERNEL_TILES];
};

/* Rows [first, end) of an op that has rows; first <= end <= op->rows. Whoever runs all rows once
 * has run the op. elsewhere: operands that do not lie where the op says, or NULL. */
void kernel_run_rows(const struct kernel_op *op, struct kernel_core *kc, uint32_t first,
                     uint32_t end, const struct kernel_elsewhere *elsewhere);

/* Whether b, which runs next after a, overwrites a's result and reads it nowhere else than where it
 * puts its own: the rows of both may then run as one pass. */
bool kernel_op_joins(const struct kernel_op *a, const struct kernel_op *b);
#define KERNEL_JOINED 4 /* ops of one pass at most */
struct kernel_part {
    const struct kernel_op *op;
    const struct kernel_elsewhere *elsewhere; /* of all but what joins them, or NULL */
};
/* The same rows of count ops of which each joins the one before it. */
void kernel_run_rows_joined(const struct kernel_part *part, unsigned count, struct kernel_core *kc,
                            uint32_t first, uint32_t end);

/* What a lowered device_print has gathered when it has run: the tile's elements, partition by
 * partition, with their shape, outermost dimension first. Valid as long as the op's arena. */
struct kernel_print {
    const void *data;
    uint64_t bytes;
    enum dtype dtype;
    uint32_t id; /* of the record */
    unsigned ndim;
    uint64_t shape[5];
};
const struct kernel_print *kernel_print_get(const struct kernel_op *op);

/* ---- pieces that DMA uses -------------------------------------------------------------------- */

/* Convert n contiguous elements src (type st) to dst (type dt) by the compute rule source -> fp32
 * -> destination; equal types move bytes. Exact class. sr: one stream for stochastic rounding or
 * NULL. The buffers may be any alignment and must not overlap unless equal. Returns true if a NaN
 * was generated (never for a copy). */
bool kernel_convert(enum dtype dt, void *dst, enum dtype st, const void *src, size_t n,
                    struct kernel_rng *sr);
/* n elements to and from fp32 work buffers. */
void kernel_load_f32(float *dst, enum dtype st, const void *src, size_t n);
void kernel_store_f32(enum dtype dt, void *dst, const float *src, size_t n, struct kernel_rng *sr);
/* acc[i] = acc[i] op src[i]: ISA_ALU_ADD, MAX, MIN; ISA_ALU_MULTIPLY with scale for fma is
 * kernel_fma_f32: acc[i] += scale * src[i], product and sum rounded on their own. */
void kernel_fold_f32(unsigned alu, float *acc, const float *src, size_t n);
void kernel_fma_f32(float *acc, float scale, const float *src, size_t n);

/* Combination of buffers for collectives: dst[d][i] = src[0][i] op src[1][i] op ..., left to right,
 * for i < n and every d. Floats in fp32, rounded once at the write; integers in their own width,
 * sums wrap (collectives.md 5.2). At least one source and destination; a destination may be one of
 * the sources (the same address), else they do not overlap. Elements lie at multiples of their
 * size. One source of any type is copied. */
enum kernel_combine { KERNEL_COMBINE_SUM, KERNEL_COMBINE_MIN, KERNEL_COMBINE_MAX };
/* How destinations are written: through the caches, or around them, which pays where they are too
 * large to be found there by whoever reads next. Around is a wish: a host without such stores
 * writes through. Either way the writes are complete before any later release store. */
enum kernel_stores { KERNEL_STORES_THROUGH, KERNEL_STORES_AROUND };
bool kernel_combine_can(enum dtype t); /* integers and floats; not packed types, bool and e8m0 */
void kernel_combine(enum dtype t, enum kernel_combine op, const void *const *src, unsigned nsrc,
                    void *const *dst, unsigned ndst, size_t n, enum kernel_stores stores);

/* A reduction of two sources of few elements, at most KERNEL_PAIR_MAX, into one destination, with
 * what there is to choose chosen before. NULL: kernel_combine does it, through the caches. */
#define KERNEL_PAIR_MAX 1024
typedef void kernel_pair_fn(float *dst, const float *a, const float *b, size_t n);
kernel_pair_fn *kernel_combine_pair(enum dtype t, enum kernel_combine op);

/* Copy with the store kind measured best for the size (bytes may not overlap). */
void kernel_copy(void *dst, const void *src, size_t n);

uint32_t kernel_rng_next(struct kernel_rng *r);
void kernel_rng_seed(struct kernel_rng *r, uint64_t z); /* splitmix64 start (neuroncore.md 4.9) */

/* What the host offers, for messages and the doctor: "avx512_bf16", "avx512", "avx2", "neon",
 * "portable". */
const char *kernel_host_name(void);

#endif
