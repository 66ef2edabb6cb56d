/* SPDX-License-Identifier: Apache-2.0 */
#include "ways.h"

#include <stdio.h>

bool way_set(struct op_case *c, unsigned way)
{
    c->alg = way < SCHED_ALG_COUNT ? (enum sched_alg)way : SCHED_HIER;
    if (way >= SCHED_ALG_COUNT) {
        c->intra = (enum sched_alg)((way - SCHED_ALG_COUNT) / SCHED_HIER);
        c->inter = (enum sched_alg)((way - SCHED_ALG_COUNT) % SCHED_HIER);
    }
    return way != SCHED_HIER;
}

const char *way_name(unsigned way, char *buf, size_t size)
{
    if (way < SCHED_ALG_COUNT)
        return sched_alg_name((enum sched_alg)way);
    way -= SCHED_ALG_COUNT;
    snprintf(buf, size, "hier %s x %s", sched_alg_name((enum sched_alg)(way / SCHED_HIER)),
             sched_alg_name((enum sched_alg)(way % SCHED_HIER)));
    return buf;
}

/* Four cores to a chip. */
static bool in_a_node(enum sched_op op, unsigned alg, enum sched_variant variant, uint32_t n)
{
    bool even = n <= 4 || n % 4 == 0; /* as many ranks on every chip */

    if (op == SCHED_PERMUTE || op == SCHED_SENDRECV)
        return alg == SCHED_PAIRS && variant == SCHED_STAGED;
    if (op == SCHED_ALL_TO_ALL)
        return variant == SCHED_STAGED &&
               (alg == SCHED_MESH || (alg == SCHED_MESH_TWO && n > 4 && even));
    if (sched_op_varies(op) || variant != SCHED_STAGED)
        return alg == SCHED_MESH && (!sched_op_varies(op) || variant == SCHED_STAGED);
    return alg == SCHED_RING || alg == SCHED_MESH || (alg == SCHED_RDH && even) ||
           (alg == SCHED_KANGARING && n > 4 && even) ||
           (alg == SCHED_MESH_ONE && (op == SCHED_ALL_REDUCE || op == SCHED_BARRIER));
}

static bool between_nodes(enum sched_op op, unsigned way, uint32_t per_node)
{
    bool reduces = op == SCHED_REDUCE_SCATTER || op == SCHED_ALL_REDUCE;

    if (op == SCHED_PERMUTE || op == SCHED_SENDRECV)
        return way == SCHED_PAIRS;
    if (op == SCHED_ALL_TO_ALL || sched_op_varies(op))
        return way == SCHED_MESH;
    if (op != SCHED_ALL_GATHER && !reduces)
        return false;
    if (per_node == 1)
        return way == SCHED_RING || way == SCHED_MESH || way == SCHED_RDH ||
               (way == SCHED_MESH_ONE && op == SCHED_ALL_REDUCE);
    if (way < SCHED_ALG_COUNT)
        return false;
    way -= SCHED_ALG_COUNT;
    return (way / SCHED_HIER == SCHED_RING || way / SCHED_HIER == SCHED_MESH ||
            way / SCHED_HIER == SCHED_RDH ||
            (way / SCHED_HIER == SCHED_KANGARING && per_node == 8)) &&
           (way % SCHED_HIER == SCHED_RING || way % SCHED_HIER == SCHED_MESH ||
            way % SCHED_HIER == SCHED_RDH);
}

bool way_must_run(enum sched_op op, unsigned way, enum sched_variant variant, uint32_t nodes,
                  uint32_t per_node)
{
    return nodes == 1 ? in_a_node(op, way, variant, per_node)
                      : variant == SCHED_STAGED && between_nodes(op, way, per_node);
}
