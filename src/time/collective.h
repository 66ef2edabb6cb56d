/* SPDX-License-Identifier: Apache-2.0 */
/* Device time of a collective operation, from its schedule: docs/predict.md,
 * docs/spec/collectives.md 3, 12 and 17. One function for whoever predicts and for whoever records
 * an execution.
 *
 * The steps of one rank of each role (sched.h) are walked over the topology. A sequencer stops at
 * waits only; transfers queue behind each other, and take the time of their slowest resource: the
 * DMA engines of the channel, the HBM that they touch, the most crowded link of their route, the
 * network interface. A wait ends when the signal has come that the peer's role sends. Costs that
 * nobody has published or measured are left out and named: the time is then a lower bound.
 *
 * Pure. Times are nanoseconds in double precision; the same request gives the same bits. */
#ifndef TIME_COLLECTIVE_H
#define TIME_COLLECTIVE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "sched/sched.h"
#include "sched/select.h"
#include "topo/fabric.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- rates ---- */

enum time_rate {
    /* data/coll_times.json, in its order */
    TIME_RATE_LAUNCH,                             /* ns */
    TIME_RATE_ISSUE,                              /* ns */
    TIME_RATE_DMA_START,                          /* ns */
    TIME_RATE_RESTART,                            /* ns */
    TIME_RATE_SIGNAL,                             /* ns */
    TIME_RATE_CYCLE_HOP,                          /* ns */
    TIME_RATE_HOP,                                /* ns */
    TIME_RATE_DIE,                                /* ns */
    TIME_RATE_NET,                                /* ns */
    TIME_RATE_CYCLE,                              /* part of a rank's engines */
    TIME_RATE_MESH,                               /* part of a rank's engines */
    TIME_RATE_REDUCE,                             /* efficiency */
    TIME_RATE_HBM,                                /* efficiency */
    TIME_RATE_LINK,                               /* efficiency */
    TIME_RATE_NIC,                                /* efficiency */
    TIME_RATE_FITTED_END,                         /* the rest is published: data/instances.json */
    TIME_RATE_ENGINE_GBPS = TIME_RATE_FITTED_END, /* one DMA engine */
    TIME_RATE_ENGINES,                            /* of a physical core */
    TIME_RATE_HBM_GBPS,                           /* of one HBM */
    TIME_RATE_LINK_GBPS,                          /* one way, inside a server */
    TIME_RATE_SERVER_LINK_GBPS, /* one way, between the servers of an UltraServer */
    TIME_RATE_NIC_GBPS,         /* one interface, one way */
    TIME_RATE_COUNT
};
static_assert(TIME_RATE_COUNT <= 32, "sets of rates are 32 bits");

/* What a type of instance costs; NAN: unknown. */
struct time_rates {
    double value[TIME_RATE_COUNT];
    double spread; /* predictions of this generation were within a factor of this of two thirds of
                    * the measurements that nothing was fitted to, with the stalls that some of
                    * them have in them; NAN: no measurement */
    unsigned dies; /* of a chip, each with as many of its cores; 0 is 1 */
};
void time_rates_find(const struct topo_group *g, struct time_rates *ret);
const char *time_rate_name(enum time_rate rate); /* "launch_ns", ..., "nic_gbps"; never NULL */
/* The reverse; TIME_RATE_COUNT for unknown names. */
enum time_rate time_rate_from_name(const char *name);

/* ---- times ---- */

/* What the time of the last rank consists of, along the chain of waits that led to its end. */
enum time_part {
    TIME_PART_LAUNCH,  /* start and completion */
    TIME_PART_ISSUE,   /* sequencers */
    TIME_PART_LATENCY, /* of transfers and signals */
    TIME_PART_DMA,     /* engines */
    TIME_PART_HBM,
    TIME_PART_LINK,
    TIME_PART_NET_LATENCY,
    TIME_PART_NIC,
    TIME_PART_COUNT
};
const char *time_part_name(enum time_part part); /* "launch", ..., "network"; never NULL */

struct time_collective {
    double ns;
    double part_ns[TIME_PART_COUNT]; /* their sum is ns */
    /* What each DMA engine of a rank has to do, were the transfers of the rank that has most of
     * them spread evenly over all; at most ns. */
    double engines_ns;
    enum time_part bottleneck; /* the largest of them */
    uint32_t unknown;  /* bit 1 << enum time_rate: costs that were needed and are not known */
    uint32_t roles;    /* ranks walked */
    uint32_t loose;    /* waits that no signal of the role answers: 0 unless roles are unequal */
    uint64_t steps;    /* of these ranks */
    uint64_t repeated; /* of these steps: gone over at once, like others before them */
};

/* Nanoseconds of a model as picoseconds of a record; what is too long to count is UINT64_MAX. */
static inline uint64_t time_ps_of_ns(double ns)
{
    return ns < 1e15 ? (uint64_t)(ns * 1e3) : UINT64_MAX;
}

/* How long the operation lasts from the moment when its last rank has come. rates: NULL takes those
 * of the group's instance type. NRT_INVALID: not a staged schedule (the others are ours; nothing is
 * known of them on devices). NRT_RESOURCE: memory. */
NRT_STATUS time_collective(const struct sched *s, const struct time_rates *rates,
                           struct time_collective *ret, struct err *err);

/* ---- what one rank moves, for timelines ---- */

/* A copy, a reduction or a message. It is to another chip of the node where route has hops, and to
 * another node where `net` says so. */
struct time_move {
    uint64_t start_ps, end_ps; /* since the last rank has come: on its queue, or the interface */
    uint64_t bytes;            /* written to one of its destinations */
    const char *phase;         /* sched_phase_name */
    uint32_t channel;
    uint32_t peer; /* rank of the world that it is written to: of several the farthest */
    uint32_t node; /* where that is */
    uint8_t kind;  /* enum sched_kind: COPY, REDUCE, NET_SEND */
    bool net;
    struct topo_route route;
};

#define TIME_MOVES_MAX 16384u /* of one operation */

struct time_moves {
    struct time_move *move; /* of one channel in their order */
    size_t count, cap;
    uint64_t left_out; /* behind the most that are kept */
    uint64_t total_ps; /* how long the operation lasts */
};

/* time_collective, and what `rank` moves meanwhile: the times are those of its role, the names its
 * own. *ret_moves is filled, and the caller's to free, also when this fails; zero before. */
NRT_STATUS time_collective_moves(const struct sched *s, const struct time_rates *rates,
                                 uint32_t rank, struct time_collective *ret,
                                 struct time_moves *ret_moves, struct err *err);
void time_moves_fini(struct time_moves *m); /* zeroed is fine */

/* ---- predictions ---- */

/* An operation before its schedule: what nccom-test is asked for. */
struct time_question {
    enum sched_op op; /* not the variable forms */
    const struct topo_group *group;
    uint64_t size;                 /* bytes: the larger side of the operation at one rank */
    uint32_t elem_size;            /* bytes; size is rounded up to what the operation can cut */
    const enum sched_alg *alg;     /* NULL: the one that the documented table chooses */
    const struct topo_pair *pairs; /* permute */
    uint32_t pair_count;
    const struct time_rates *rates; /* NULL: those of the instance type */
};

struct time_answer {
    struct time_collective time;
    struct sched_choice choice;
    uint64_t size;          /* rounded */
    double low_ns, high_ns; /* error bar; NAN: nothing was measured, or a cost is not known */
    double algbw, busbw;    /* GB/s, decimal; section 16.2 */
};

/* NRT_FAILURE: the algorithm that was asked for cannot do this. The errors of sched_select,
 * sched_create and time_collective. */
NRT_STATUS time_predict(const struct time_question *q, struct time_answer *ret, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
