/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of ranges, for emit.c. */
#ifndef SCHED_SPACE_INT_H
#define SCHED_SPACE_INT_H

#include "sched/sched_int.h"

/* A part of a range that is contiguous in every buffer. Offsets are elements. */
struct sched_piece {
    uint64_t rel; /* from the beginning of the range */
    uint64_t len;
    uint32_t tensor;
    uint64_t big;   /* in the N-fold side of the tensor, or in the whole vector's tensor */
    uint64_t small; /* in the other side */
    uint64_t hold;  /* in SITE_HOLD: the channel's parts of the chunks of all nodes */
};

struct sched_pieces {
    const struct sched_where *w;
    struct sched_range r;
    struct sched_span span, channel; /* of a block: this slice's part, this channel's part */
    uint64_t at;
    uint32_t tensor;
};

void sched_pieces_begin(struct sched_pieces *p, const struct sched_where *w, struct sched_range r);
bool sched_pieces_next(struct sched_pieces *p, struct sched_piece *ret);

#endif
