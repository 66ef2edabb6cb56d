/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that can never end, found by taking away what can: a rank is free unless it waits in
 * an operation that cannot end; an operation can end when all ranks that it misses are free. */
#include "net/cross.h"

#include <stdio.h>

static uint32_t rank_at(const struct net_cross *op, uint32_t i)
{
    return op->ranks ? op->ranks[i] : i;
}

/* The first stuck operation in which rank waits; NULL: it is free. */
static const struct net_cross *held_in(const struct net_cross *list, uint32_t rank)
{
    for (const struct net_cross *op = list; op; op = op->next)
        for (uint32_t i = 0; op->stuck && i < op->n; i++)
            if (op->waits[i] && rank_at(op, i) == rank)
                return op;
    return NULL;
}

/* Index of the first rank that op misses and that is not free; n: none. */
static uint32_t held_index(const struct net_cross *list, const struct net_cross *op)
{
    uint32_t i = 0;

    while (i < op->n && (op->in[i] || !held_in(list, rank_at(op, i))))
        i++;
    return i;
}

static bool waited_for(const struct net_cross *op)
{
    for (uint32_t i = 0; i < op->n; i++)
        if (op->waits[i])
            return true;
    return false;
}

bool net_cross_look(struct net_cross *list, uint64_t now, uint64_t limit_ns)
{
    bool changed = true, over = false;

    for (struct net_cross *op = list; op; op = op->next)
        op->stuck = waited_for(op);
    while (changed) {
        changed = false;
        for (struct net_cross *op = list; op; op = op->next)
            if (op->stuck && held_index(list, op) == op->n) {
                op->stuck = false;
                changed = true;
            }
    }
    for (struct net_cross *op = list; op; op = op->next) {
        if (!op->stuck)
            op->since = 0;
        else if (op->since == 0)
            op->since = now;
        over = over || (op->stuck && now - op->since >= limit_ns);
    }
    return over;
}

uint32_t net_cross_text(const struct net_cross *list, const struct net_cross *op, char *text,
                        size_t size)
{
    const struct net_cross *at = op;
    uint32_t rank, culprit = 0, i = 0;
    size_t n = 0;

    while (!op->waits[i])
        i++;
    rank = rank_at(op, i);
    for (unsigned hop = 0; hop < 3 && n < size && (hop == 0 || at != op); hop++) {
        uint32_t missing = rank_at(at, held_index(list, at));

        n += (size_t)snprintf(text + n, size - n, "%srank %u waits in %s for rank %u",
                              hop ? ", " : "", rank, at->call[0] ? at->call : "an operation",
                              missing);
        if (hop == 0)
            culprit = missing;
        rank = missing;
        at = held_in(list, rank);
    }
    if (n < size)
        snprintf(text + n, size - n, ": all ranks must make their calls in the same order");
    return culprit;
}
