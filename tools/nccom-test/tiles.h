/* SPDX-License-Identifier: Apache-2.0 */
/* nccom-test --sb2sb: how the tensors of an operation lie in SBUF (docs/spec/collectives.md 2 and
 * 16.1). Pure. */
#ifndef NCCOM_TILES_H
#define NCCOM_TILES_H

#include "options.h"

#define CC_PARTITIONS 128u

/* rows x cols elements: row p in partition p * row_step, element i at i * step elements. */
struct cc_tile {
    uint64_t rows, cols, row_step, step;
};

/* Both tensors of an operation. The larger side of all_gather and reduce_scatter is made of n
 * blocks, each of the smaller side's rows and columns, `across` of them one below the other before
 * the next ones follow to the right. In HBM each tensor is its tile, row by row. */
struct cc_tiles {
    bool used; /* false: HBM only */
    struct cc_tile in, out;
    uint64_t across;
};

/* Shapes for tensors of so many elements; n: ranks of a group. NRT_INVALID: those asked for do not
 * fit. */
NRT_STATUS cc_tiles_make(struct cc_tiles *t, const struct cc_stream *s, uint64_t in, uint64_t out,
                         uint32_t n, struct err *err);

/* Bytes of a partition that a tile takes, from a multiple of 64 to the next. */
uint64_t cc_tile_bytes(const struct cc_tile *t, enum dtype dtype);

/* Element i of the larger side: its block and its element there; and back. */
void cc_tiles_block(const struct cc_tiles *t, uint64_t i, uint64_t *ret_block, uint64_t *ret_i);
uint64_t cc_tiles_element(const struct cc_tiles *t, uint64_t block, uint64_t i);

#endif
