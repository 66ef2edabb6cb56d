/* SPDX-License-Identifier: Apache-2.0 */
/* Pairs: one-way connections between two logical cores, made by a sender that connects and a
 * receiver that accepts, with ordered transfers of memory over them. What nrt_async_sendrecv.h is
 * made of; docs/sendrecv.md explains, docs/spec/api.md 6 is the specification.
 *
 * A core listens at the bootstrap port plus its number. Who connects is challenged for the job's
 * key, as in the bootstrap of a job (job.h), and kept until an accept asks for it. The k-th connect
 * of a core to another one meets the k-th accept there. Inside one instance the receiver reads the
 * sender's HBM directly; between instances bytes travel over libfabric, if the configuration says
 * so and both ends have the same provider; everything else travels over the connection.
 *
 * Progress: one thread per set of pairs, which sleeps when there is nothing to do, or, where the
 * configuration says so, whoever calls net_pairs_progress.
 *
 * Threads: any thread may call any function; freeing an object is for one thread, with nobody else
 * using it. A forked child must not use a set of its parent: net_pairs_fork_*.
 *
 * Errors: nothing here logs but what comes from strangers; the first failure of a pair or a
 * transfer stays with it and is what its test returns. */
#ifndef NET_PAIR_H
#define NET_PAIR_H

#include "net/job.h"
#include "run/run.h"

#ifdef __cplusplus
extern "C" {
#endif

struct device_instance;
struct net_pairs;
struct net_pair;
struct net_transfer;

#define NET_PAIR_PENDING_MAX 128u /* transfers of a pair that have not been tested to their end */
#define NET_PAIR_CALLS_MAX   64u  /* senders of a core that no accept has asked for */

/* Zero-initialise and set what matters; strings are copied. */
struct net_pairs_config {
    struct device_instance *in; /* whose memory is read directly; must outlive the set */
    uint16_t port;              /* core c listens at port + c */
    uint64_t limit_ns; /* to connect, and without anything moving in a pair that has transfers; 0:
                          none */
    const char *key;   /* these three as in struct net_job_config */
    const char *key_dirs[3];
    enum net_unkeyed unkeyed;
    struct run_cpus cpus; /* of the thread; none: its creator's */
    struct log *log;      /* may be NULL */
    uint64_t handshake_ms;
    unsigned half_open_max;
    bool share;   /* ends inside the instance talk through its memory, where both say so */
    bool fabric;  /* bytes between instances go over libfabric, where both ends have it */
    bool by_hand; /* no thread: net_pairs_progress */
    uint64_t (*now)(void *arg); /* nanoseconds; NULL: the monotonic clock */
    void *now_arg;
    /* Tests: called after every store that the other end of a pair can see (kill tests). NULL in
     * production. */
    void (*store_point)(void *arg);
    void *store_point_arg;
};

/* NRT_INVALID, NRT_FAILURE: the key; NRT_RESOURCE: memory, descriptors, the thread. */
NRT_STATUS net_pairs_open(const struct net_pairs_config *cfg, struct net_pairs **ret,
                          struct err *err);
/* Leaves all cores. Transfers and pairs must have been freed, or be freed after it without having
 * been used. NULL is fine. */
void net_pairs_close(struct net_pairs *s);
/* Around a fork, for pthread_atfork: nothing changes from begin on, until end in the parent; in the
 * child, the copies of the set's descriptors are closed, so that peers see the parent's end, and
 * the set is never touched again. */
void net_pairs_fork_begin(struct net_pairs *s);
void net_pairs_fork_end(struct net_pairs *s);
void net_pairs_fork_child(struct net_pairs *s);
/* Bounded work, returns how much was done. Never blocks; returns at once while another thread is in
 * it. */
unsigned net_pairs_progress(struct net_pairs *s, unsigned budget);

/* Listens for a core. NRT_FAILURE: the port is taken, or cannot be used (names it and the fix), or
 * the core listens already. */
NRT_STATUS net_pairs_listen(struct net_pairs *s, uint32_t core, struct err *err);
/* What a core left behind. */
struct net_pairs_left {
    uint32_t unconnected; /* pairs that had not met their peer, and had not failed */
    uint32_t in_flight;   /* transfers that were not over */
};
/* Ends the core's pairs and transfers, which all have failed now if they were not over: no memory
 * of theirs is touched any more. The other ends are told. */
void net_pairs_leave(struct net_pairs *s, uint32_t core, struct net_pairs_left *ret);

/* A new pair of a core that listens; starts to look for its peer and returns at once. ip: an IPv4
 * or IPv6 address, by which the peer's host is reached, and for a receiver also the one that it
 * calls from; "<ipv4>:<port>" and "[<ipv6>]:<port>" name a bootstrap port that is not this
 * process's own. NRT_FAILURE: not an address, or the core does not listen; NRT_RESOURCE: memory. */
NRT_STATUS net_pair_open(struct net_pairs *s, bool send, const char *ip, uint32_t peer_core,
                         uint32_t core, struct net_pair **ret, struct err *err);
/* *ret_done: whether it is connected. NRT_TIMEOUT: not within the limit (names the peer and what
 * happened last); NRT_FAILURE: the peer refused, has closed or died. */
NRT_STATUS net_pair_state(const struct net_pair *p, bool *ret_done, struct err *err);
/* After net_pairs_leave of its core, and after its transfers were freed. NULL is fine. */
void net_pair_free(struct net_pair *p);

/* Memory of a transfer. release is called once, by any thread, when the memory is not used any
 * more. */
struct net_pair_memory {
    void *p; /* in this process; may be NULL when size is 0 */
    uint64_t size;
    bool device; /* of the instance's HBM: addr is its device address, and it stays allocated
                    until release, in the extent described by the other two */
    uint64_t addr, generation;
    uint32_t extent;
    void (*release)(void *arg);
    void *arg;
};

/* The pair's next message: sent from, or received into, the memory. Transfers of a pair end in the
 * order in which they were started. NRT_RESOURCE: NET_PAIR_PENDING_MAX are there, or memory;
 * NRT_FAILURE: the pair has failed, or is not connected. The memory is the caller's again then, and
 * release is not called. */
NRT_STATUS net_transfer_start(struct net_pair *p, const struct net_pair_memory *m,
                              struct net_transfer **ret, struct err *err);
/* *ret_done: over; *ret_size: bytes moved. NRT_TIMEOUT: nothing moved for the limit; NRT_FAILURE:
 * the peer has died, closed, or sent more than fits. */
NRT_STATUS net_transfer_test(const struct net_transfer *t, bool *ret_done, uint64_t *ret_size,
                             struct err *err);
/* When net_transfer_test has said that it is over, or has failed, or after net_pairs_leave. NULL is
 * fine. */
void net_transfer_free(struct net_transfer *t);

#ifdef __cplusplus
}
#endif

#endif
