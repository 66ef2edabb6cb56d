/* SPDX-License-Identifier: Apache-2.0 */
/* From what an operation asks for to its schedule: the documented table chooses the algorithm, the
 * communicator's table of means (sched/tune.h) what stands for it on this host; an algorithm asked
 * for by name is run as documented, staged. */
#ifndef COLL_CHOOSE_H
#define COLL_CHOOSE_H

#include "base/dtype.h"
#include "base/err.h"
#include "coll/coll.h"
#include "kernel/kernel.h"
#include "sched/sched.h"
#include "time/collective.h"
#include "topo/group.h"

struct coll_wish {
    enum sched_op op;
    enum dtype dtype; /* ignored by a barrier */
    enum kernel_combine reduce;
    bool in_place;
    bool host; /* driven by the host: the table knows other algorithms then */
    uint32_t tensors;
    const uint64_t *counts; /* as sched_request has them */
    const struct topo_pair *pairs;
    uint32_t pair_count;
    /* the variable-size forms, as sched_request has them: the caller's, for the schedule's life */
    const uint32_t *send_count, *send_displ, *recv_displ;
    uint64_t in_elems, out_elems;
    const char *algorithm; /* forced; NULL: the table's */
};

/* NRT_INVALID: no such algorithm, or it cannot do this; and the errors of sched_create. */
NRT_STATUS coll_choose(const struct coll_comm *c, const struct coll_wish *w, struct sched **ret,
                       struct err *err);
/* How long the operation lasts on devices: of the staged schedule by the documented table's
 * algorithm, whatever carries it out on this host. ret_moves, unless NULL: what this rank moves
 * meanwhile; the caller's, also on failure. The errors of coll_choose. */
NRT_STATUS coll_choose_time(const struct coll_comm *c, const struct coll_wish *w,
                            struct time_collective *ret, struct time_moves *ret_moves,
                            struct err *err);

#endif
