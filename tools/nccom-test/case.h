/* SPDX-License-Identifier: Apache-2.0 */
/* nccom-test: one operation of one size, resolved: elements of every tensor, tables of counts, what
 * is printed (docs/spec/collectives.md 16.1, 16.2, 16.4). Pure. */
#ifndef NCCOM_CASE_H
#define NCCOM_CASE_H

#include "options.h"
#include "sets.h"
#include "tiles.h"

/* Of every rank r to or from position p of its group, at [r * n + p], elements; all_gatherv sends
 * what stands in column 0. Row 3 of the operation's table only where it is asked for. */
struct cc_tables {
    uint32_t *send_count, *send_displ, *recv_count, *recv_displ;
    bool has_recv_displ;
};

struct cc_case {
    enum cc_op op;
    enum dtype dtype;
    uint32_t ranks, n;                            /* of the job, of a group */
    uint64_t bytes, count;                        /* as printed: size(B), count(elems) */
    unsigned parts;                               /* coalesced tensors, at least 1 */
    uint64_t in[CC_PARTS_MAX], out[CC_PARTS_MAX]; /* elements of a rank */
    struct cc_tables tables;                      /* variable-size forms */
    struct cc_tiles tiles;                        /* --sb2sb */
};

/* size: bytes asked for. meta: NULL or count 0: equal counts. NRT_INVALID: the size does not fit
 * (alltoall), or the counts do not; NRT_RESOURCE. */
NRT_STATUS cc_case_make(struct cc_case *c, const struct cc_stream *s, uint64_t size,
                        const struct cc_groups *groups, const struct cc_metadata *meta,
                        uint32_t ranks, struct err *err);
void cc_case_fini(struct cc_case *c);
uint64_t cc_case_in_bytes(const struct cc_case *c); /* of a rank, all tensors */
uint64_t cc_case_out_bytes(const struct cc_case *c);

/* Where a rank sits in a grouping: *ret_group and *ret_position; false: in no group. */
bool cc_rank_place(const struct cc_grouping *g, uint32_t rank, uint32_t *ret_group,
                   uint32_t *ret_position);

/* Factor from algbw to busbw for groups of n ranks. */
double cc_bus_factor(enum cc_op op, uint32_t n);

#endif
