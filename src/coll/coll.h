/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives: communicators, and the execution of schedules (sched/sched.h) on the HBM that the
 * ranks of a node share, and over the network between nodes. docs/modules/coll.md explains;
 * docs/spec/collectives.md is the specification.
 *
 * A communicator has an area in the HBM of each member: counters that the others raise, lines for
 * small payloads, what its rank is doing, and a bell for a rank that sleeps. Peers read and write
 * tensors, channel buffers and areas of each other directly, under a lease (decision 4). Members on
 * other nodes are reached by the rank's link (net/link.h); whoever makes progress of an operation
 * makes progress of the link.
 *
 * A plan is a schedule compiled for one rank: steps with their memory resolved, except the peers'
 * tensors, whose addresses they publish at the start of every operation. A plan runs any number of
 * times; one operation of a communicator at a time, in the same order on all members.
 *
 * Threads: a communicator and its plans belong to one thread at a time. Ranks may be threads of one
 * process or processes; nothing here is global.
 *
 * Errors: who knows first logs once. A failed operation breaks the communicator on every member:
 * all later operations return the first failure; close it and open a new one. */
#ifndef COLL_COLL_H
#define COLL_COLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/err.h"
#include "kernel/kernel.h"
#include "sched/sched.h"
#include "sched/tune.h"

#ifdef __cplusplus
extern "C" {
#endif

struct log;
struct device_instance;
struct device_extent; /* device/device.h */
struct net_link;
struct net_job;
struct coll_comm;
struct coll_plan;

/* How the members learn each other's addresses: every member gives `size` bytes and gets those of
 * all, in the order of the group. Blocks until all have called. The bootstrap of a job does it in
 * production, a table of the test in tests. */
struct coll_exchange {
    void *arg;
    NRT_STATUS (*all_gather)(void *arg, const void *mine, size_t size, void *all, struct err *err);
    /* Gives bytes to the next exchange and does not wait for it: a rank that has no memory to
     * receive tells the others so. NULL: it cannot, and they wait until the exchange's limit. */
    void (*leave)(void *arg, const void *mine, size_t size);
};

#define COLL_TIMEOUT_NS (UINT64_C(30) * 1000 * 1000 * 1000) /* NEURON_RT_EXEC_TIMEOUT's default */

struct coll_config {
    struct device_instance *in;
    const struct topo_group *group; /* borrowed for the communicator's life */
    uint32_t rank;                  /* mine: position in the group */
    uint32_t core;                  /* my physical core: areas and buffers lie on its HBM */
    struct coll_exchange exchange;
    /* When the group spans nodes: this rank's link, which knows the addresses of all members by
     * their world rank (topo_group.rank) and watches `job`; it outlives the communicator. */
    struct net_link *link;
    struct net_job *job; /* names who was lost; may be NULL */
    /* How this host carries operations out; copied. NULL, or where the members of a node have
     * different ones: the fixed table. */
    const struct sched_tuning *tuning;
    /* Where flight records go when the communicator fails: a path with %d %c %p %t %l %i as in
     * docs/spec/behaviour.md 16. NULL or "": nowhere. */
    const char *flight_dir;
    /* Why this rank cannot be a member, known before: the others are told. NULL: it can. */
    const struct err *unfit;
    bool driven;         /* by the host: its device memory is counted as XT CC */
    uint64_t timeout_ns; /* without anything moving at a rank that I wait for; 0: the default */
    struct log *log;     /* may be NULL */
    uint64_t (*now)(void *arg); /* ns; NULL: the monotonic clock */
    void *now_arg;
};

/* Collective: every member calls it. NRT_INVALID: the group spans nodes and there is no link, or
 * the members do not fit each other; NRT_RESOURCE: memory of device or host; NRT_TIMEOUT,
 * NRT_NETWORK_PROXY_FAILURE: a member on another node does not answer or cannot be reached;
 * NRT_FAILURE: another member has failed, err names it; or what the exchange returned. A member
 * that fails takes part in the exchanges until all know. Logs. */
NRT_STATUS coll_comm_open(const struct coll_config *cfg, struct coll_comm **ret, struct err *err);
/* Not collective: the area stays where it is, under lease, until all live members have left. What
 * the network still has of it is taken back, which takes up to two seconds when a peer has stopped
 * in the middle of a message. */
void coll_comm_close(struct coll_comm *comm); /* NULL is fine */
const struct topo_group *coll_comm_group(const struct coll_comm *comm);
/* NRT_SUCCESS, or why the communicator is broken. Any thread. */
NRT_STATUS coll_comm_status(const struct coll_comm *comm);
/* Whether it may be used again: nor has the rank's link lost the endpoint that it was opened with,
 * which the next operation would find out. Any thread. */
bool coll_comm_works(const struct coll_comm *comm);

/* Algorithm and variant of a request for this communicator, whose algorithm the documented table
 * chose, become what stands for them here (sched/tune.h): the same on all members. Not for an
 * algorithm that somebody asked for by name. */
void coll_request_tune(const struct coll_comm *comm, struct sched_request *req);

/* Collective: compile the schedule for my rank and share channel buffers. s is borrowed for the
 * plan's life; its group is the communicator's. dtype: of the elements (its size is the request's
 * elem_size). A communicator that is broken, or breaks meanwhile, takes plans too: members that
 * learn of it at different times still meet here; coll_begin refuses. NRT_INVALID: dtype and size
 * differ, or the members' plans do; NRT_RESOURCE. Logs. */
NRT_STATUS coll_plan_create(struct coll_comm *comm, const struct sched *s, enum dtype dtype,
                            enum kernel_combine reduce, struct coll_plan **ret, struct err *err);
/* A member whose coll_plan_create has failed after all had met, or that failed by itself where no
 * plan was to be made: the others do not know it yet. Its next coll_plan_create tells them, and
 * fails on all. */
bool coll_comm_unfit(const struct coll_comm *comm);
void coll_comm_set_unfit(struct coll_comm *comm);
/* Instead of coll_plan_create, by a member that has no schedule: it fails on all. */
void coll_plan_refuse(struct coll_comm *comm);
/* Which member has refused, or could not greet, where coll_plan_create says NRT_FAILURE: its
 * position. Where nobody has: of the one that the job has lost, or this one's. */
uint32_t coll_plan_refuser(const struct coll_comm *comm);
/* The same without asking the others, who make it too: between operations, for schedules in which
 * nobody uses another's channel buffers (NRT_INVALID for others). own: memory for mine, from
 * coll_buffers_alloc, the caller's, to be kept until the plan is destroyed; NULL: there are none.
 * That members make different plans, they find when they execute. */
NRT_STATUS coll_plan_create_alone(struct coll_comm *comm, const struct sched *s, enum dtype dtype,
                                  enum kernel_combine reduce, const struct device_extent *own,
                                  struct coll_plan **ret, struct err *err);
/* Device memory for it, accounted as that of collectives; freed by device_free. NRT_RESOURCE. */
NRT_STATUS coll_buffers_alloc(struct coll_comm *comm, uint64_t size, struct device_extent *ret,
                              struct err *err);
bool coll_sched_has_buffers(const struct sched *s); /* of channels, at any rank */
/* Collective: every member greets all members on other nodes, so that a plan made alone later, in
 * the middle of operations, waits for nobody: members make theirs in different orders. Nothing to
 * do on one node. NRT_RESOURCE; NRT_TIMEOUT, NRT_NETWORK_PROXY_FAILURE: one of them cannot be
 * reached, or the communicator has failed. Does not log. */
NRT_STATUS coll_comm_greet(struct coll_comm *comm, struct err *err);
void coll_plan_destroy(struct coll_plan *plan); /* no operation of it under way; NULL is fine */
uint64_t coll_plan_steps(const struct coll_plan *plan); /* of this rank, all channels */

/* Begin an operation on tensors given by device addresses, one per coalesced tensor. Their ranges
 * must hold what sched_tensor_elems says; they are mapped and backed here. Other members need not
 * have begun. NRT_INVALID, NRT_RESOURCE: nothing has begun; else the communicator's failure. */
NRT_STATUS coll_begin(struct coll_plan *plan, const uint64_t *in, const uint64_t *out,
                      struct err *err);

/* Device time, in picoseconds of this rank's run, at which it enters the operation that begins
 * next: said before coll_begin, so that the members of its node know it before they can end. */
void coll_enter(struct coll_comm *comm, uint64_t ps);
/* When the last other member of my node entered the operation that ended here last, among those
 * that said so and have not begun the fourth after it; 0: none. */
uint64_t coll_arrival(const struct coll_comm *comm);

enum coll_state {
    COLL_DONE,    /* the operation has ended here: inputs may be written, outputs read */
    COLL_MOVED,   /* something was done; there may be more */
    COLL_BLOCKED, /* waits for a peer */
    COLL_FAILED,  /* coll_comm_status tells; err was filled and logged once */
};
/* Bounded work on the operation under way: about `budget` steps or as many slices (sched/tune.h),
 * and on the link. Never blocks, except that a failure takes up to 200 ms to tell other nodes and
 * to take back memory from the network, and writes flight records to files. DONE also when none is
 * under way. */
enum coll_state coll_progress(struct coll_comm *comm, unsigned budget);
/* Until done: spins, yields and sleeps as run/run.h does, watching peers. NRT_SUCCESS;
 * NRT_EXEC_HW_ERR_COLLECTIVES: a member died, does something else, or nothing moved for the
 * timeout; NRT_NETWORK_PROXY_FAILURE: a member on another node was lost, or sends what was not
 * expected. The log names it. */
NRT_STATUS coll_wait(struct coll_comm *comm, struct err *err);

/* What the owner of a core did last, when its process has died in an operation and nobody of its
 * node may be left to write it: for device_config.on_dead. A file as a communicator's, in the
 * same folder (`dir` as flight_dir); none where there is one, or no operation was under
 * way. */
void coll_flight_dead(struct device_instance *in, uint32_t core, int pid, const char *dir,
                      struct log *log);

/* What a rank does, for tools and messages: read from its area, which nobody trusts; of a rank on
 * another node, what that node said last (while it waits for long). */
struct coll_view {
    uint32_t rank;
    bool live; /* its process, and it has not closed the communicator; true for ranks of other
                  nodes, which tell what they do */
    uint64_t started; /* operations begun and ended by it */
    uint64_t ended;
    uint8_t op, alg; /* of the last one begun: enum sched_op, enum sched_alg */
    uint8_t dtype;
    uint64_t bytes;     /* its larger tensors */
    uint64_t steps;     /* of it executed so far */
    bool waits;         /* and then: for which counter of whom */
    uint8_t sem;        /* enum sched_sem */
    uint32_t waits_for; /* position */
};
void coll_comm_view(struct coll_comm *comm, uint32_t rank, struct coll_view *ret);

#ifdef __cplusplus
}
#endif
#endif
