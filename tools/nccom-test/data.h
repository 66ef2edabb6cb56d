/* SPDX-License-Identifier: Apache-2.0 */
/* nccom-test: inputs, golden outputs and their comparison (docs/spec/collectives.md 16.5). Every
 * element is a pure function of seed, rank, operation, tensor and index, so each rank computes the
 * golden output by itself, from the definition of the operation. Pure. */
#ifndef NCCOM_DATA_H
#define NCCOM_DATA_H

#include "case.h"

/* Outputs begin with this in every byte when results are checked: who never wrote is seen. */
#define CC_POISON 0xa5

/* Which data: the inputs of one operation of a stream. */
struct cc_data {
    const struct cc_case *c;
    const struct cc_grouping *groups;
    const struct cc_pairing *pairs; /* permute, sendrecv; else NULL */
    enum cc_check check;            /* OFF: zeros */
    uint64_t seed;
    uint32_t stream, op; /* op: its buffers; 0 where all operations share them */
};

/* Elements [first, first + n) of the input of a rank, tensor `part`. */
void cc_data_input(const struct cc_data *d, uint32_t rank, unsigned part, uint64_t first,
                   uint64_t n, void *to);

/* One golden element. */
struct cc_golden {
    bool written; /* false: no operation writes it, the poison stays */
    double value; /* what the definition gives, in double (integers: the residue) */
    double slack; /* how far a result may be from it: 0 where nothing is rounded */
};
/* Element i of the output of a rank in a group, tensor `part`. */
struct cc_golden cc_data_golden(const struct cc_data *d, uint32_t rank, unsigned part, uint64_t i);
/* The same as bytes of the data type: [first, first + n). */
void cc_data_golden_bytes(const struct cc_data *d, uint32_t rank, unsigned part, uint64_t first,
                          uint64_t n, void *to);

struct cc_mismatch {
    uint64_t count; /* elements that are wrong */
    uint64_t first; /* index of the first of them */
    double got, want, slack;
};
/* Compares elements [first, first + n) of an output, adding to *m. */
void cc_data_compare(const struct cc_data *d, uint32_t rank, unsigned part, uint64_t first,
                     uint64_t n, const void *bytes, struct cc_mismatch *m);

/* FNV-1a over 64-bit words, for the comparison between ranks; begin with CC_HASH. */
#define CC_HASH UINT64_C(0xcbf29ce484222325)
uint64_t cc_hash(uint64_t h, const void *bytes, size_t size);

#endif
