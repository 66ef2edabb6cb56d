/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the net room: what the transport needs of a network library. All that knows libfabric
 * and its providers is in fabric.c. One thread at a time per endpoint. */
#ifndef NET_FABRIC_INT_H
#define NET_FABRIC_INT_H

#include "net/net_int.h"

struct fabric;
struct fabric_memory;

#define FABRIC_CONTEXT  64 /* bytes at the start of a request that belong to the provider */
#define FABRIC_BATCH    16
#define FABRIC_PROBE_MS 20

enum fabric_result { FABRIC_OK, FABRIC_DONE /* sent and over */, FABRIC_AGAIN, FABRIC_FAILED };

struct fabric_completion {
    void *context;
    size_t size;    /* of a received message */
    uint64_t tag;   /* of a received message */
    int error;      /* 0, or errno of the operation */
    bool truncated; /* the message was longer than the buffer */
};

/* Picks a provider and opens an endpoint on the interface that has this local address. Fills
 * why_not with one line about every provider passed over. */
NRT_STATUS fabric_open(const struct addr *local, const char *only, char *why_not, size_t why_size,
                       struct fabric **ret, struct err *err);
void fabric_close(struct fabric *f);
/* The endpoint alone: nothing is moved any more, and nothing completes. Only close or retire may
 * follow, and unregister. */
void fabric_stop(struct fabric *f);
/* Stops it; what is left of it goes with the last memory that is registered with it. */
void fabric_retire(struct fabric *f);
const char *fabric_provider(const struct fabric *f);
NRT_STATUS fabric_address(struct fabric *f, uint8_t buf[256], size_t *ret_size, struct err *err);
NRT_STATUS fabric_peer(struct fabric *f, const void *address, size_t size, uint64_t *ret,
                       struct err *err);
NRT_STATUS fabric_register(struct fabric *f, void *p, size_t size, struct fabric_memory **ret,
                           struct err *err);
void fabric_unregister(struct fabric_memory *m);
/* context: FABRIC_CONTEXT bytes that stay until the completion. *ret_error: errno of a failure. */
enum fabric_result fabric_send(struct fabric *f, uint64_t peer, uint64_t tag, const void *p,
                               size_t size, const struct fabric_memory *m, void *context,
                               int *ret_error);
/* A message of no bytes, which completes when it is on its way, or with an error where nobody is
 * there to take it. */
enum fabric_result fabric_tell(struct fabric *f, uint64_t peer, uint64_t tag, void *context,
                               int *ret_error);
/* Whether nobody listens at the peer's address any more, as far as its host says so within
 * FABRIC_PROBE_MS. Providers over TCP only say again and again that there is no connection yet. */
bool fabric_refused(struct fabric *f, uint64_t peer);
/* ignore: bits of the tag that may be anything. */
enum fabric_result fabric_recv(struct fabric *f, uint64_t tag, uint64_t ignore, void *p,
                               size_t size, const struct fabric_memory *m, void *context,
                               int *ret_error);
void fabric_cancel(struct fabric *f, void *context);
/* At most FABRIC_BATCH completions; negative: errno of a broken queue. */
int fabric_poll(struct fabric *f, struct fabric_completion *out);

#endif
