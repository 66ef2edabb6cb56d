/* SPDX-License-Identifier: Apache-2.0 */
/* The graph of the naive proof: what is before what, and whether accesses of a cell are ordered. */
#include "naive_int.h"

#include <stdlib.h>
#include <string.h>

#define NODES    6000
#define ACCESSES 400000

/* A node: a step that was executed, the application of a rank between two operations, the network
 * reading or writing a message. Edges lead from earlier nodes to later ones, so the set of all that
 * is before a node is known when it is made. */
static uint64_t before[NODES][NODES / 64 + 1];
static unsigned nodes;

static struct access {
    uint32_t node, next;
    bool write;
} access[ACCESSES];
static uint32_t first_access[NAIVE_CELLS], accesses;

void naive_graph_clear(void)
{
    nodes = accesses = 0;
    memset(first_access, 0, sizeof(first_access));
}

uint32_t naive_node_new(uint32_t after)
{
    if (nodes == NODES)
        abort();
    memset(before[nodes], 0, sizeof(before[nodes]));
    if (after != UINT32_MAX) {
        memcpy(before[nodes], before[after], sizeof(before[nodes]));
        before[nodes][after / 64] |= (uint64_t)1 << (after % 64);
    }
    return nodes++;
}

void naive_node_drop(void)
{
    nodes--;
}

void naive_edge(uint32_t from, uint32_t to)
{
    for (unsigned i = 0; i <= NODES / 64; i++)
        before[to][i] |= before[from][i];
    before[to][from / 64] |= (uint64_t)1 << (from % 64);
}

bool naive_is_before(uint32_t a, uint32_t b)
{
    return before[b][a / 64] >> (a % 64) & 1;
}

bool naive_touch(uint32_t c, uint32_t node, bool write)
{
    for (uint32_t i = first_access[c]; i; i = access[i].next)
        if (access[i].node != node && (write || access[i].write) &&
            !naive_is_before(access[i].node, node))
            return naive_bad("unordered accesses of a cell", access[i].node, node);
    if (++accesses == ACCESSES)
        abort();
    access[accesses] = (struct access){node, first_access[c], write};
    first_access[c] = accesses;
    return true;
}
