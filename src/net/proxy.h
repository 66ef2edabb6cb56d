/* SPDX-License-Identifier: Apache-2.0 */
/* The network proxy of one connector, in one direction: a state machine over an index that the
 * device writes and counters that it waits on. The rules are docs/spec/collectives.md 11.3, one
 * line of the table per side. It never blocks; whoever serves the connectors calls net_proxy_step
 * on each in turn. What moves the bytes is a struct net_wire, so that a test can be the network.
 *
 * Threads: one at a time per proxy. The index and the counters are shared with the device. */
#ifndef NET_PROXY_H
#define NET_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#ifdef __cplusplus
#define NET_ATOMIC(type) type /* the layout only: C++ code does not touch these fields */
extern "C" {
#else
#define NET_ATOMIC(type) _Atomic type
#endif

struct log;
struct net_proxy;
struct net_request;
struct net_memory;

#define NET_FOLDS       16u
#define NET_INDEX_READY UINT32_MAX /* what the device writes to begin an operation */
#define NET_OUTSTANDING 128u
#define NET_STALL_NS    10000000000ull /* without progress: a warning */

/* The page that device and proxy share: one index per fold, each in a cache line of 128 bytes. Only
 * fold 0 is used. All zeros is a valid start.
 * Synchronization: the device stores with release what the proxy loads with acquire, and back. */
struct net_page {
    struct {
        NET_ATOMIC(uint32_t) index;
        uint8_t pad[124];
    } fold[NET_FOLDS];
};

/* One transfer of an operation, recorded at load. */
struct net_entry {
    void *data;                      /* sender: what to send; receiver: where to put it */
    const struct net_memory *memory; /* its registration; NULL where the provider needs none */
    uint32_t size;
    uint32_t peer;
    uint16_t stamp; /* what the message is part of: the two sides must say the same */
    bool dynamic;   /* the size is only the most: a receiver stores what came in *size_now, a sender
                       takes the size from there */
    uint32_t *size_now; /* with dynamic; must not be NULL then */
};

enum net_posted { NET_POSTED, NET_AGAIN, NET_FAILED };

/* What moves bytes. Requests end in any order; messages of one peer and channel arrive in the order
 * in which they were sent. */
struct net_wire {
    void *arg;
    /* Starts a transfer. NET_AGAIN: no room now, ask later. NET_FAILED: err. */
    enum net_posted (*post)(void *arg, bool send, uint32_t channel, const struct net_entry *e,
                            uint32_t size, struct net_request **ret, struct err *err);
    /* Whether it is over; *ret_size what was moved. Once it has said true or has failed, the
     * request is gone. */
    NRT_STATUS(*test)
    (void *arg, struct net_request *r, bool *ret_done, uint32_t *ret_size, struct err *err);
    /* The proxy gives up on it. */
    void (*drop)(void *arg, struct net_request *r);
};

struct net_proxy_config {
    bool send;
    uint32_t channel;      /* the same on both sides of a connector */
    struct net_page *page; /* not NULL */
    /* What the proxy adds to: the handshake semaphore, and send_complete or recv_complete. They may
     * be one and the same. */
    NET_ATOMIC(uint32_t) * handshake, *complete;
    void (*raised)(void *arg); /* after adding, to wake a sleeper; may be NULL */
    void *raised_arg;
    struct net_wire wire;
    struct log *log;            /* may be NULL */
    bool quiet;                 /* failures are not logged: whoever asks for the state does */
    uint64_t (*now)(void *arg); /* nanoseconds; NULL: the monotonic clock */
    void *now_arg;
    uint32_t outstanding; /* most unreported entries; 0: NET_OUTSTANDING, which is also the most */
    const char *name;     /* for messages; copied, at most 63 characters */
};

struct net_proxy_counters {
    uint64_t ops, posts, reports, bytes;
    uint64_t steps, idle_steps; /* idle: nothing changed */
    uint64_t stalls;            /* times that the wire had no room */
    uint64_t warnings, errors;
};

/* NRT_INVALID, NRT_RESOURCE. */
NRT_STATUS net_proxy_open(const struct net_proxy_config *cfg, struct net_proxy **ret,
                          struct err *err);
void net_proxy_close(struct net_proxy *p); /* drops what is under way. NULL is fine */

/* Appends an operation of n entries (n < 2^31; the array must live until it is over, or until
 * close). It begins when those before are over and the device is ready. NRT_INVALID, NRT_RESOURCE
 * (never when none is pending). */
NRT_STATUS net_proxy_add(struct net_proxy *p, const struct net_entry *entries, uint32_t n,
                         struct err *err);
uint32_t net_proxy_pending(const struct net_proxy *p); /* operations added and not over */

/* Does what can be done now; returns how many things were. 0 forever after a failure. */
unsigned net_proxy_step(struct net_proxy *p);
/* NRT_SUCCESS, or why it has stopped: NRT_NETWORK_PROXY_FAILURE with the peer's rank. Logged once.
 */
NRT_STATUS net_proxy_state(const struct net_proxy *p, struct err *err);
/* Where it stands, for reports: entries of the operation, posted, reported. */
void net_proxy_position(const struct net_proxy *p, uint32_t *ret_n, uint32_t *ret_posted,
                        uint32_t *ret_reported);
void net_proxy_count(const struct net_proxy *p, struct net_proxy_counters *ret);

#ifdef __cplusplus
}
#endif

#endif
