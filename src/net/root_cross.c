/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that wait for each other crosswise. Waiting alone is no mistake, however long it takes: a
 * peer may be compiling. But a rank that waits in an operation enters no other one, so when ranks
 * that each operation misses wait in another of them, none will ever end.
 *
 * Found by taking away what can end: a rank is free unless it waits in an operation that cannot
 * end; an operation can end when all ranks that it misses are free. What remains is stuck. A
 * program that calls from several threads of one rank may look so for a moment, hence the time. */
#include <stdio.h>

#include "base/mem.h"
#include "net/root_op_int.h"

/* Whether rank waits in an operation that stays; *ret: the first. */
static bool rank_held(const struct root_ops *o, uint32_t rank, const struct root_op **ret)
{
    for (const struct root_op *op = o->head; op != NULL; op = op->next)
        for (uint32_t i = 0; op->stays && i < op->n; i++)
            if (op->waits[i] && op->ranks[i] == rank) {
                *ret = op;
                return true;
            }
    return false;
}

/* Index of the first rank that op misses and that waits elsewhere; n: none. */
static uint32_t held_index(const struct root_ops *o, const struct root_op *op,
                           const struct root_op **ret_where)
{
    uint32_t i = 0;

    while (i < op->n && (op->in[i] || !rank_held(o, op->ranks[i], ret_where)))
        i++;
    return i;
}

static bool waited_for(const struct root_op *op)
{
    for (uint32_t i = 0; i < op->n; i++)
        if (op->waits[i])
            return true;
    return false;
}

static bool stuck_find(struct root_ops *o)
{
    const struct root_op *where;
    bool changed = true, any = false;

    for (struct root_op *op = o->head; op != NULL; op = op->next)
        op->stays = !op->failed && waited_for(op);
    while (changed) {
        changed = any = false;
        for (struct root_op *op = o->head; op != NULL; op = op->next) {
            if (!op->stays)
                continue;
            op->stays = held_index(o, op, &where) < op->n;
            changed = changed || !op->stays;
            any = any || op->stays;
        }
    }
    return any;
}

static const char *call_of(const struct root_op *op)
{
    return op->call[0] ? op->call : "an operation";
}

/* Who waits for whom: from a rank that waits in op, along the ranks that are missing. */
static uint32_t stuck_text(const struct root_ops *o, struct root_op *op)
{
    const struct root_op *at = op, *next = op;
    uint32_t rank, culprit = NET_NO_RANK, i = 0;
    size_t n = 0;

    while (!op->waits[i])
        i++;
    rank = op->ranks[i];
    for (unsigned hops = 0; hops < 3 && n < sizeof(op->text); hops++) {
        uint32_t missing = at->ranks[held_index(o, at, &next)];

        n += (size_t)snprintf(op->text + n, sizeof(op->text) - n,
                              "%srank %u waits in %s for rank %u", hops ? ", " : "", rank,
                              call_of(at), missing);
        if (hops == 0)
            culprit = missing;
        rank = missing;
        at = next;
        if (at == op)
            break;
    }
    if (n < sizeof(op->text))
        snprintf(op->text + n, sizeof(op->text) - n,
                 ": all ranks must make their calls in the same order");
    return culprit;
}

void root_cross_check(struct root_ops *o, uint64_t now)
{
    bool any = stuck_find(o), over = false;

    for (struct root_op *op = o->head; op != NULL; op = op->next) {
        if (!any || !op->stays)
            op->stuck = 0;
        else if (op->stuck == 0)
            op->stuck = now;
        over = over || (op->stuck != 0 && now - op->stuck >= o->cross_ns);
    }
    if (!over)
        return;
    /* Those that became stuck later by waiting for these end with them: all texts first, while
     * everything stays. */
    for (struct root_op *op = o->head; op != NULL; op = op->next)
        if (op->stays)
            op->culprit = stuck_text(o, op);
    for (struct root_op *op = o->head; op != NULL; op = op->next)
        if (op->stays)
            root_op_fail(o, op, NRT_TIMEOUT, op->culprit);
}
