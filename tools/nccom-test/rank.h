/* SPDX-License-Identifier: Apache-2.0 */
/* nccom-test: what a rank does, and where it leaves its figures for the process that started it. */
#ifndef NCCOM_RANK_H
#define NCCOM_RANK_H

#include <pthread.h>

#include "job.h"
#include "nrt/nrt.h"

/* In memory that the ranks of a node share with their node: one for each local rank. */
struct cc_seat {
    uint32_t met;   /* it has loaded, and so met all others: atomic, as is */
    uint32_t execs; /* how many are done */
    uint64_t hash[CC_STREAMS_MAX][CC_LISTS_MAX]; /* of outputs, per list of groups */
};

/* What two ranks of one process share: the outputs that the first has allocated. */
struct cc_couple {
    pthread_barrier_t ready;
    nrt_tensor_t **outputs;
};

struct cc_rank_context {
    const struct cc_job *job;
    const struct cc_case *cases;
    uint32_t rank; /* of the job */
    int32_t vnc;   /* of the process */
    struct cc_seat *seat;
    uint64_t *start, *end;    /* [execs], ns of the monotonic clock: of measured executions */
    struct cc_couple *couple; /* NULL: outputs of its own */
    bool first;               /* of the couple */
    const char *save_dir;     /* where tensors go that are wrong; made when needed */
};

/* nrt_init is done. Says on stderr what went wrong. */
bool cc_rank_run(struct cc_rank_context *x);

#endif
