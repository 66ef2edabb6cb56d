/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives of a process: which rank each of its logical cores is, the communicators that its
 * models share, and the streams through which their programs start operations.
 * docs/modules/coll.md explains; docs/spec/collectives.md 2, 3 and 14 and neff.md 7.3 are the
 * facts.
 *
 *   coll_world          one per session
 *     rank              one per logical core: its global communicator (id and world size), its
 *                       streams, the communicators of its models
 *       coll_table      one per model that is loaded on the core: its collectives, ready to run
 *
 * A communicator belongs to a list of ranks in its order and to a stream: the same ranks in another
 * order, or on another stream, are another one. Models with the same list share it, and the plans
 * of operations that are the same in all but their tensors.
 *
 * vnc counts from the first logical core that the process owns.
 *
 * Threads: any, for joining, the barrier, and making and destroying tables. Joining, the barrier
 * and making tables block until the other ranks come; of one core loads go one after the other, and
 * so do barriers. Nothing else waits for one that waits: a barrier runs while a load waits, a table
 * is destroyed, another one's model executes. Different cores do not wait for each other.
 * A core's table of functions (coll_world_outside) belongs to the thread that drives the core.
 *
 * Errors: who knows first logs once. */
#ifndef COLL_WORLD_H
#define COLL_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/dtype.h"
#include "core/core.h"
#include "kernel/kernel.h"
#include "neff/neff.h"
#include "sched/sched.h"
#include "time/collective.h"
#include "topo/group.h"

#ifdef __cplusplus
extern "C" {
#endif

struct log;
struct trace;
struct device_instance;
struct coll_world;
struct coll_table;

struct coll_world_config {
    struct device_instance *in; /* borrowed; the cores are claimed */
    struct log *log;            /* borrowed, may be NULL */
    uint32_t first_vnc;         /* over the instance */
    uint32_t vnc_count;         /* owned logical cores */
    struct diag_sink sink;      /* warnings about variables */
    struct trace *trace;        /* borrowed: where events of operations go; NULL: nowhere */
};
NRT_STATUS coll_world_create(const struct coll_world_config *cfg, struct coll_world **ret,
                             struct err *err);
/* After all tables; nobody is in a call. NULL is fine. */
void coll_world_destroy(struct coll_world *w);

/* Make the global communicator of a logical core: rank id of count. Again with the same numbers:
 * nothing happens. Blocks until all ranks have come. NRT_INVALID: vnc or id out of range, or the
 * core is another rank already; and the errors of coll_meet_open. */
NRT_STATUS coll_world_join(struct coll_world *w, uint32_t vnc, uint32_t id, uint32_t count,
                           struct err *err);
/* Whether the core has one, and then which rank it is. */
bool coll_world_joined(struct coll_world *w, uint32_t vnc, uint32_t *ret_id, uint32_t *ret_count);
/* Whether the ranks of a world of `count` of which the core is one meet in this process: no root is
 * given (NEURON_RT_ROOT_COMM_ID), and the process has as many cores. */
bool coll_world_within(struct coll_world *w, uint32_t vnc, uint32_t count);
/* Over the global communicator of a joined core; call: the name of the caller, for messages. Waits
 * without limit, but for ranks that wait for each other crosswise. Every rank gives `size` bytes
 * (the same on all); all has room for count times that, in rank order. A barrier is size 0.
 * NRT_INVALID: not joined, or sizes differ; NRT_FAILURE: a rank has died or left; NRT_TIMEOUT:
 * crosswise; NRT_RESOURCE. */
NRT_STATUS coll_world_gather(struct coll_world *w, uint32_t vnc, const char *call, const void *mine,
                             size_t size, void *all, struct err *err);

/* The ranks of a model (rank, count: as in coll_table_config) tell each other, before its tables,
 * whether they can load it. why NULL: this one can, and waits for the others; NRT_FAILURE: one
 * cannot, err names it and says why. Else this one cannot: it tells the others and does not wait
 * (its status is NRT_SUCCESS, or why they could not be told); a core that has not joined joins
 * first. NRT_INVALID: the model's ranks are not among the global ones; and as
 * coll_world_gather. */
NRT_STATUS coll_world_ready(struct coll_world *w, uint32_t vnc, uint32_t rank, uint32_t count,
                            const char *why, struct err *err);

/* What the core gives to core_program_create: one table per logical core. */
const struct core_outside *coll_world_outside(struct coll_world *w, uint32_t vnc);

#define COLL_DMA_PACKET 65536 /* default, and the most: bytes of a packet of a stream */

struct coll_table_config {
    uint32_t vnc;
    const struct neff *neff; /* checked for `count` ranks; borrowed for the table's life */
    /* The model's rank and world size. 1: the core alone. Else the core has joined a world of at
     * least that many; rank i of the model is the global rank that is i ranks after the one that is
     * rank 0: the ranks of a model follow each other. */
    uint32_t rank, count;
    bool device_time; /* how long operations last on devices is wanted: their signals carry it */
    uint64_t
        packet_ps[TOPO_MAX_STREAMS]; /* then: what a packet of a stream takes on a DMA engine */
    bool moves;                      /* then: what operations move when is wanted, too */
};
/* Make ready all collectives of a model; collective over the model's ranks, of which all are there
 * (coll_world_ready): a rank that fails tells the others, here or in coll_table_confirm, and within
 * the limit of loads (30 s or NEURON_RT_EXEC_TIMEOUT, if that is longer; or OPENNRT_JOIN_TIMEOUT).
 * NRT_INVALID: more streams than the core has CC-cores, an operation that cannot be carried out
 * (the text names member and entry), or, on all ranks, their tables differ; NRT_RESOURCE;
 * NRT_FAILURE: a rank has died, or cannot load the model for the reason that err tells;
 * NRT_TIMEOUT: a rank does not come, err names it. */
NRT_STATUS coll_table_create(struct coll_world *w, const struct coll_table_config *cfg,
                             struct coll_table **ret, struct err *err);
/* The end of a load, collective over the ranks that coll_world_ready has found ready: how it went
 * on each. err carries a failure of this rank, of its table or anything else, or none. t: its
 * table, or NULL. NRT_FAILURE: another rank has failed, err tells which and why, and the table can
 * only be destroyed. A rank that cannot take what the others say (NRT_RESOURCE) is not known to
 * them to have failed: they find it missing when they execute. */
NRT_STATUS coll_table_confirm(struct coll_world *w, const struct coll_table_config *cfg,
                              struct coll_table *t, struct err *err);
/* Not collective; no execution of the model is under way. NULL is fine. */
void coll_table_destroy(struct coll_table *t);

/* The next run of the core is of this model: called by the thread that drives the core, before
 * core_start. timeout_ns: of that run (0: none). */
void coll_table_use(struct coll_table *t, uint64_t timeout_ns);
/* The run has failed, for a reason of its own (a line of text): members that wait for operations
 * which it has not begun, or will, are told now, and not by their limit. Their communicators are
 * broken, unless all members have dropped alike what is left, behind an operation whose counts do
 * not fit. What it has begun at least once is taken for begun. By the thread that drives the core,
 * after core_finish. */
void coll_table_failed(struct coll_table *t, const char *why);
/* Why the collectives of the model cannot be executed any more: what broke one of its
 * communicators. NRT_SUCCESS: nothing did. By the thread that drives the core. */
NRT_STATUS coll_table_status(const struct coll_table *t, struct err *err);

/* What an operation of this rank (an entry of the table of subgraph `core`) moves when, by device
 * time. NULL: not wanted, not known before it runs, or nothing. Lives as long as the table. */
const struct time_moves *coll_table_moves(const struct coll_table *t, unsigned core,
                                          uint32_t entry);

/* Which operation of its model the core was in when its run failed: entry of the collectives table
 * of subgraph `core`, of how many. False: none. */
struct coll_suspect {
    unsigned core;
    uint32_t op, count;
};
bool coll_table_suspect(const struct coll_table *t, struct coll_suspect *ret);

/* ---- operations that the host drives ---- */

struct coll_driven {
    const uint32_t *group; /* n global ranks, each once, in their order */
    uint32_t n, me;        /* group[me] is this one */
    enum sched_op op;      /* SCHED_ALL_GATHER, SCHED_ALL_REDUCE, SCHED_REDUCE_SCATTER */
    enum dtype dtype;
    enum kernel_combine reduce;
    uint64_t elems; /* of the smaller side */
    /* Device addresses: one for a side, or, for the side that is n times the other, one for each of
     * its n blocks. In memory of this process on the HBM of the core, at multiples of the element.
     * Sides may overlap: inputs are what they were at the beginning. */
    const uint64_t *in, *out;
    uint32_t in_count, out_count;
};

/* Whether the core has joined, and `count` ranks, of which it is `rank`, are among the global ones:
 * *ret_first is the first of them. NRT_INVALID. */
NRT_STATUS coll_world_drive_check(struct coll_world *w, uint32_t vnc, uint32_t rank, uint32_t count,
                                  uint32_t *ret_first, struct err *err);
/* Carry an operation out, beside whatever program the core runs; collective over the group. One at
 * a time of a core (there is no lock), in the same order on all members of a group. The first one
 * of a group opens its communicator: until all have come it waits as a load does. NRT_INVALID, as
 * above; NRT_RESOURCE; NRT_TIMEOUT: the members do not all come, NRT_FAILURE: one has died or
 * cannot open it; NRT_EXEC_HW_ERR_COLLECTIVES and NRT_NETWORK_PROXY_FAILURE as coll_wait, now or
 * before. */
NRT_STATUS coll_world_drive(struct coll_world *w, uint32_t vnc, const struct coll_driven *d,
                            struct err *err);

#ifdef __cplusplus
}
#endif
#endif
