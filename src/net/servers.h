/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that serve links while nobody waits on them: one for each link, or for several
 * (NEURON_RT_RANKS_PER_NETWORK_PROXY). */
#ifndef NET_SERVERS_H
#define NET_SERVERS_H

#include "base/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct net_servers;

/* links: that one thread serves, at least 1. Threads ("nrt-net") start with the first of their
 * links, on the CPUs that it names, and end with the last. Any thread may open and close links.
 * NRT_RESOURCE. */
NRT_STATUS net_servers_create(unsigned links, struct net_servers **ret, struct err *err);
void net_servers_destroy(struct net_servers *s); /* when all its links are closed; NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
