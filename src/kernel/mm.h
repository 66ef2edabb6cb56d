/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix microkernels: out[m][n] (+)= sum over k of stationary[k][m] * moving[k][n]. */
#ifndef KERNEL_MM_H
#define KERNEL_MM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MM_MR     6   /* rows of a microtile */
#define MM_WIDTH  64  /* columns of a block: what a caller hands to a kernel at most */
#define MM_SEGS   1   /* records whose sums one pass joins: more is slower (docs/kernels.md) */
#define MM_K_MAX  256 /* rows of all segments */
#define MM_PANELS ((size_t)MM_K_MAX * (128 + MM_MR) * 4) /* bytes of a packed stationary tile */
#define MM_BLOCK  ((size_t)MM_K_MAX * MM_WIDTH * 4)      /* bytes of a packed moving block */

/* Bytes that a later block reads: fetched towards the cache while this one computes. */
struct mm_prefetch {
    const uint8_t *p; /* NULL: nothing */
    size_t stride;
    uint32_t rows, bytes; /* of a row */
};

/* Rows of the moving side: row k at x + k * stride. */
struct mm_seg {
    const uint8_t *x;
    size_t stride;
    uint32_t k;
};

/* One block of columns. The stationary side is packed into panels: rows m0 .. m0 + mr - 1 (mr from
 * mm_block_rows) as [k][mr] over the k of all segments, one panel after the other. */
struct mm_block {
    const float *panels;
    struct mm_seg seg[MM_SEGS];
    uint32_t segs;
    uint32_t k;   /* of all segments */
    uint8_t *out; /* row m at out + m * out_stride */
    size_t out_stride;
    uint32_t m;
    uint32_t vecs; /* columns: vecs vectors of the kernel's width, at most MM_WIDTH in all */
    bool acc;
    struct mm_prefetch next[MM_SEGS + 1];
};

struct mm_kernel {
    const char *name;
    uint32_t lanes; /* fp32 columns of a vector */
    bool pairs;     /* bf16: cells hold rows 2k and 2k + 1; k counts pairs */
    void (*run)(const struct mm_block *b);
    /* pairs only: two rows of n bf16 elements (hi NULL: zeros) into n cells */
    void (*interleave)(uint32_t *out, const uint16_t *lo, const uint16_t *hi, uint32_t n);
};

/* Rows of the microtile that starts at row m0 of m. */
static inline uint32_t mm_block_rows(uint32_t m, uint32_t m0)
{
    uint32_t left = m - m0;

    /* 8 = 4 + 4 and not 6 + 2: short tiles do not keep the multipliers busy */
    return left == 8 ? 4 : left >= MM_MR ? MM_MR : left;
}

extern const struct mm_kernel mm_avx2, mm_avx512, mm_avx512_bf16;

#endif
