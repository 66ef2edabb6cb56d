/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix microkernels: out[m][n] (+)= sum over k of stationary[k][m] * moving[k][n]. Both sides are
 * packed into cells: a cell is an fp32 value, or two bf16 values of neighbouring rows of k. */
#ifndef KERNEL_MM_H
#define KERNEL_MM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MM_MR    6   /* rows of a microtile */
#define MM_WIDTH 64  /* columns of a block: what a caller hands to a kernel at most */
#define MM_DEPTH 256 /* rows of cells that one pass sums in registers, at most */
#define MM_SEGS  64  /* segments of a pass, at most */

/* One packed stationary tile: panels of rows m0 .. m0 + mr - 1 (mr from mm_block_rows), each
 * [depth][mr] cells, one after the other. */
struct mm_seg {
    const float *panels;
    const uint8_t *x; /* moving cells that it meets: depth rows, x_stride bytes apart */
    size_t x_stride;
    size_t x_strip; /* from strip to strip of columns: in place as long as a strip */
    float *cells;   /* of all segments or none: where the block packs them (mm_packs) */
    uint32_t depth; /* rows of cells */
};

/* Rows that a later pass packs: fetched towards the cache while this one computes its last columns,
 * for they lie far apart, where hardware does not look ahead. */
struct mm_fetch {
    const uint8_t *p;
    size_t stride;
    uint32_t rows;
    uint32_t bytes; /* of a row */
};

/* One pass over a block of columns: out (+)= the sum over all segments. */
struct mm_block {
    const struct mm_seg *seg;
    uint32_t segs;
    uint8_t *out; /* fp32; row m at out + m * out_stride */
    size_t out_stride;
    uint32_t m;
    uint32_t vecs; /* columns: vecs vectors of the kernel's width, at most MM_WIDTH in all */
    bool acc;      /* sums start from out: cutting a sum into passes changes no bit */
    const struct mm_fetch *fetch;
    uint32_t fetches;
};

struct mm_kernel {
    const char *name;
    uint32_t lanes;  /* fp32 columns of a vector */
    uint32_t strip;  /* columns of a microtile: packed moving cells lie in strips of so many, each
                        depth rows, which divide MM_WIDTH */
    uint32_t near;   /* rows that one pass sums where a strip of them is to stay in the first-level
                        cache; 0: never there */
    uint32_t blocks; /* of MM_WIDTH columns that such passes take one after the other: the panels
                       come from afar once for all of them */
    bool pairs;      /* a cell holds bf16 rows 2k and 2k + 1 */
    void (*run)(const struct mm_block *b);
    /* k rows of n elements (fp32, or bf16 with pairs), stride bytes apart, into rows of strips that
     * are depth rows long. n is at most MM_WIDTH where that is more than one row. */
    void (*pack)(float *cells, const uint8_t *x, size_t stride, uint32_t k, uint32_t n,
                 uint32_t depth);
};

/* Rows of the microtile that starts at row m0 of m. */
static inline uint32_t mm_block_rows(uint32_t m, uint32_t m0)
{
    uint32_t left = m - m0;

    /* 8 = 4 + 4 and not 6 + 2: short tiles do not keep the multipliers busy */
    return left == 8 ? 4 : left >= MM_MR ? MM_MR : left;
}

/* Whether a block of m rows and n columns can pack fp32 moving cells on its way: its first tiles
 * read them where they lie and store what they have read, the others read that. */
static inline bool mm_packs(uint32_t m, uint32_t n)
{
    return n == MM_WIDTH && m >= MM_MR && mm_block_rows(m, 0) == MM_MR;
}

extern const struct mm_kernel mm_avx2, mm_avx512, mm_avx512_bf16;

#endif
