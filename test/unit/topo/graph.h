/* SPDX-License-Identifier: Apache-2.0 */
/* A fabric as a plain graph: an oracle that knows only which chips are linked. It takes the
 * devices' links from the published table and the servers' from the page (device d of server n is
 * linked to device d of servers n-1 and n+1), and finds distances by breadth-first search. */
#ifndef TEST_TOPO_GRAPH_H
#define TEST_TOPO_GRAPH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topo/fabric.h"
#include "seed.h"

struct graph {
    unsigned n;
    bool linked[TOPO_MAX_CHIPS][TOPO_MAX_CHIPS];
    uint8_t dist[TOPO_MAX_CHIPS][TOPO_MAX_CHIPS];
};

static inline void graph_search(struct graph *g, unsigned from)
{
    unsigned queue[TOPO_MAX_CHIPS], head = 0, tail = 0;

    memset(g->dist[from], 0xff, sizeof(g->dist[from]));
    g->dist[from][from] = 0;
    queue[tail++] = from;
    while (head < tail) {
        unsigned v = queue[head++];

        for (unsigned u = 0; u < g->n; u++) {
            if (g->linked[v][u] && g->dist[from][u] == 0xff) {
                g->dist[from][u] = (uint8_t)(g->dist[from][v] + 1);
                queue[tail++] = u;
            }
        }
    }
}

static inline struct graph *graph_create(const char *type, unsigned servers)
{
    const struct topo_instance *t = topo_instance_find(type);
    struct graph *g = calloc(1, sizeof(*g));
    unsigned d = t->device_count;

    g->n = d * servers;
    for (unsigned v = 0; v < g->n; v++) {
        const struct topo_device *dev = &t->devices[v % d];

        if (strcmp(t->family, "Trn3") == 0) {
            for (unsigned u = 0; u < g->n; u++)
                g->linked[v][u] = u != v;
            continue;
        }
        for (unsigned i = 0; i < dev->connected_count; i++)
            g->linked[v][v - v % d + dev->connected[i]] = true;
        if (servers > 1) {
            g->linked[v][(v + d) % g->n] = true;
            g->linked[v][(v + g->n - d) % g->n] = true;
        }
    }
    for (unsigned v = 0; v < g->n; v++)
        graph_search(g, v);
    return g;
}

struct rng {
    uint64_t s;
};

static inline struct rng rng_start(uint64_t otherwise)
{
    uint64_t seed = seed_take(otherwise);

    return (struct rng){seed ? seed : 1};
}

static inline uint64_t rng_next(struct rng *r)
{
    r->s ^= r->s << 13;
    r->s ^= r->s >> 7;
    r->s ^= r->s << 17;
    return r->s * UINT64_C(0x2545f4914f6cdd1d);
}

static inline unsigned rng_below(struct rng *r, unsigned n)
{
    return (unsigned)((rng_next(r) >> 33) % n);
}

#endif
