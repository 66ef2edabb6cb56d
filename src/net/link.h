/* SPDX-License-Identifier: Apache-2.0 */
/* Transport between nodes: one endpoint per rank over libfabric, registered memory, messages by
 * peer and channel. The provider is the first of efa, tcp with native RDM, net, tcp;ofi_rxm that
 * works here; the log says which, and why not the others. libfabric is loaded at the first
 * net_link_open.
 *
 * A channel is a number of 32 bits that the two ends of a message give alike: a communicator has 64
 * of them, which begin at its net_link_group number times 64.
 *
 * Threads: a link has one lock; progress of a second thread returns at once. A thread of `servers`,
 * which may serve other links, too, makes progress, of the watched job too, while nobody else does:
 * what is under way ends even if the program computes. It looks once a millisecond while there is
 * work, ten times a second otherwise. A link by hand has none. */
#ifndef NET_LINK_H
#define NET_LINK_H

#include "net/job.h"
#include "net/proxy.h"
#include "net/servers.h"
#include "run/run.h"

#ifdef __cplusplus
extern "C" {
#endif

struct net_link;

#define NET_ADDRESS_MAX 256

struct net_link_config {
    uint32_t rank, world;
    const char *root; /* NEURON_RT_ROOT_COMM_ID: the interface is the one that leads there; NULL:
                         loopback */
    const char *provider; /* only this one; NULL: the first that works */
    bool by_hand;         /* no thread: whoever calls net_link_progress; closing waits for nobody */
    struct run_cpus cpus; /* of the thread that serves it, if this link is the one that starts it;
                             none: its creator's */
    /* Whose threads serve it; it outlives the link. NULL: one of its own. */
    struct net_servers *servers;
    uint64_t farewell_ns; /* limit of a net_link_close; 0: five seconds */
    struct log *log;      /* may be NULL */
};

struct net_link_counters {
    uint64_t sends, recvs, bytes_sent, bytes_received;
    uint64_t polls, idle_polls; /* of the completion queue */
    uint64_t stalls;            /* the provider had no room */
    uint64_t errors;
};

/* NRT_FAILURE: no libfabric or no provider (the documented text, and why each is not there);
 * NRT_INVALID: root; NRT_RESOURCE. Logs. */
NRT_STATUS net_link_open(const struct net_link_config *cfg, struct net_link **ret, struct err *err);
/* Says farewell to the ranks that it has had to do with, and waits until they have everything that
 * was sent to them or say farewell, too; not for those that are lost or cannot be reached any more,
 * and no longer than the limit. Then cancels what is under way. NULL is fine. */
void net_link_close(struct net_link *l);
/* Something has failed: closing does not wait for anybody. */
void net_link_give_up(struct net_link *l);
const char *net_link_provider(const struct net_link *l);

/* This end's address, for the job's blob or the members of a communicator; at most NET_ADDRESS_MAX
 * bytes. It changes with net_link_renew only. */
size_t net_link_address(struct net_link *l, uint8_t buf[NET_ADDRESS_MAX]);
/* Where a rank is: bytes that its net_link_address gave. The same again changes nothing. Others
 * say that it has a new endpoint: what is under way with it fails, and so does what communicators
 * post that were held before. NRT_INVALID; NRT_RESOURCE; NRT_NETWORK_PROXY_FAILURE: this link's
 * endpoint is closed. */
NRT_STATUS net_link_peer(struct net_link *l, uint32_t rank, const void *address, size_t size,
                         struct err *err);
/* Before a communicator is opened: a new endpoint of the same provider, where net_link_settle had
 * to close the last one; else nothing. Its peers have to be told of again, and to be told. What was
 * posted before, or is posted for communicators that were held before, fails. NRT_FAILURE,
 * NRT_RESOURCE: there is none, and the link stays closed. Logs. */
NRT_STATUS net_link_renew(struct net_link *l, struct err *err);
/* Watches a job and makes progress of it, now and then: when it has lost a rank, everything under
 * way fails with the job's words. Rank 0 leaving in order is no loss. The job must outlive the
 * link. */
void net_link_watch(struct net_link *l, struct net_job *job);
/* Looks at the job now. */
void net_link_look(struct net_link *l);
/* The same for one rank, or for all with NET_NO_RANK, told directly. why is copied; the first one
 * of a rank stays. */
void net_link_lose(struct net_link *l, uint32_t rank, const char *why);

/* Memory that messages come from and go to; HBM ranges. *ret may be NULL on success: the provider
 * needs no registration. NRT_RESOURCE. */
NRT_STATUS net_memory_register(struct net_link *l, void *p, size_t size, struct net_memory **ret,
                               struct err *err);
void net_memory_release(struct net_link *l, struct net_memory *m); /* NULL is fine */

/* Numbers of communicators, so that no two that share a pair of ranks share a channel: members tell
 * each other the lowest number that their link has free, take the largest of them, and hold it.
 * Communicators of one link are made one after the other. */
#define NET_LINK_GROUP_CHANNELS 64u
#define NET_LINK_GROUP_MAX      (UINT32_MAX / NET_LINK_GROUP_CHANNELS)
uint32_t net_link_group_free(struct net_link *l);
/* And all below it. Until it is dropped. NRT_RESOURCE. */
NRT_STATUS net_link_group_hold(struct net_link *l, uint32_t number, struct err *err);
/* False: its messages fail, because the endpoint for which it was held is closed, or this rank has
 * lost one of them. */
bool net_link_group_serves(struct net_link *l, uint32_t number);

/* Nobody here receives on the communicator's channels any more, nor ever will: what still comes is
 * taken and forgotten, so that no peer that leaves waits for somebody to read it. */
void net_link_group_drop(struct net_link *l, uint32_t number);

/* The wire of proxies. A receive from NET_NO_RANK takes a message from anybody. Test gives
 * NRT_NETWORK_PROXY_FAILURE for a lost peer, a message longer than what was posted for it, or an
 * error of the provider; NRT_RESOURCE for a receive of a communicator of which this rank has lost a
 * message for want of memory: its sends, and other communicators, go on. */
struct net_wire net_link_wire(struct net_link *l);

/* After requests were dropped: until the provider has let go of their memory. One that it still
 * holds after limit_ns (a message half way, from a peer that has stopped) costs the endpoint: it is
 * closed, and everything on this link fails until net_link_renew. Either way nobody reads or writes
 * that memory any more. */
void net_link_settle(struct net_link *l, uint64_t limit_ns);

/* Somebody waits for a message from anybody, as a greeting of a peer, until he says that he does no
 * more: what stands before it is taken, as for receives from one peer. */
void net_link_expect(struct net_link *l, bool waits);
/* A message of the rank has come, whoever it was for, or none will come. */
bool net_link_heard(struct net_link *l, uint32_t rank);

/* Takes completions from the provider: at most budget; returns how many. Never blocks. */
unsigned net_link_progress(struct net_link *l, unsigned budget);
void net_link_count(struct net_link *l, struct net_link_counters *ret);

#ifdef __cplusplus
}
#endif

#endif
