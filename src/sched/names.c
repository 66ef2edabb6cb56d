/* SPDX-License-Identifier: Apache-2.0 */
/* Names of everything that texts, tools and messages show. */
#include <string.h>

#include "sched/sched_int.h"

#define NAME_OF(table, i) \
    ((size_t)(i) < sizeof(table) / sizeof((table)[0]) ? (table)[i] : "unknown")

static const char *const op_names[SCHED_OP_COUNT] = {
    [SCHED_ALL_GATHER] = "all_gather",     [SCHED_REDUCE_SCATTER] = "reduce_scatter",
    [SCHED_ALL_REDUCE] = "all_reduce",     [SCHED_ALL_TO_ALL] = "all_to_all",
    [SCHED_PERMUTE] = "permute",           [SCHED_SENDRECV] = "sendrecv",
    [SCHED_BARRIER] = "barrier",           [SCHED_ALL_GATHER_V] = "all_gather_v",
    [SCHED_ALL_TO_ALL_V] = "all_to_all_v", [SCHED_REDUCE_SCATTER_V] = "reduce_scatter_v",
};

static const struct {
    const char *name, *printed; /* nccom-test --show-algorithm */
} alg_names[SCHED_ALG_COUNT] = {
    [SCHED_RING] = {"ring", "ring"},
    [SCHED_MESH] = {"mesh", "mesh"},
    [SCHED_MESH_ONE] = {"mesh_one", "mesh"},
    [SCHED_MESH_TWO] = {"mesh_two", "mesh"},
    [SCHED_KANGARING] = {"kangaring", "kangaring"},
    [SCHED_RDH] = {"rdh", "rdh"},
    [SCHED_HIER] = {"hier", "hier"},
    [SCHED_FLAT_RING] = {"flat_ring", "ring"},
    [SCHED_PAIRS] = {"pairs", "ring"},
};

static const char *const variant_names[SCHED_VARIANT_COUNT] = {"staged", "direct", "inline"};
static const char *const buf_names[SCHED_BUF_COUNT] = {"in", "out", "slot", "temp", "line"};
static const char *const kind_names[SCHED_KIND_COUNT] = {
    "wait", "signal", "expect", "copy", "reduce", "put", "take", "net_send", "net_recv",
};
static const char *const sem_names[SCHED_SEM_COUNT] = {
    "recv", "credit", "out_ready", "in_ready", "out_done", "in_done", "sync", "sent", "arrived",
};

const char *sched_op_name(enum sched_op op)
{
    return NAME_OF(op_names, op);
}

const char *sched_alg_name(enum sched_alg alg)
{
    return (unsigned)alg < SCHED_ALG_COUNT ? alg_names[alg].name : "unknown";
}

const char *sched_alg_printed(enum sched_alg alg)
{
    return (unsigned)alg < SCHED_ALG_COUNT ? alg_names[alg].printed : "unknown";
}

const char *sched_variant_name(enum sched_variant variant)
{
    return NAME_OF(variant_names, variant);
}

const char *sched_buf_name(enum sched_buf buf)
{
    return NAME_OF(buf_names, buf);
}

const char *sched_kind_name(enum sched_kind kind)
{
    return NAME_OF(kind_names, kind);
}

const char *sched_sem_name(enum sched_sem sem)
{
    return NAME_OF(sem_names, sem);
}

const char *sched_phase_name(const struct sched *s, unsigned phase)
{
    unsigned stage = phase / SCHED_PHASES_MAX;

    if (stage >= s->stages)
        return "unknown";
    return s->stage[stage].algorithm->phases[phase % SCHED_PHASES_MAX].name;
}

enum sched_traffic sched_phase_traffic(const struct sched *s, unsigned phase)
{
    unsigned stage = phase / SCHED_PHASES_MAX;
    const struct sched_algorithm *a = stage < s->stages ? s->stage[stage].algorithm : NULL;

    if (a == &sched_ring || a == &sched_kangaring || a == &sched_pairs)
        return SCHED_TRAFFIC_CYCLE;
    return a == &sched_rdh || a == &sched_fold || a == &sched_bruck ? SCHED_TRAFFIC_AXES
                                                                    : SCHED_TRAFFIC_MESH;
}

enum sched_op sched_op_from_name(const char *name)
{
    for (int i = 0; i < SCHED_OP_COUNT; i++)
        if (strcmp(op_names[i], name) == 0)
            return (enum sched_op)i;
    return SCHED_OP_COUNT;
}

enum sched_alg sched_alg_from_name(const char *name)
{
    for (int i = 0; i < SCHED_ALG_COUNT; i++)
        if (strcmp(alg_names[i].name, name) == 0)
            return (enum sched_alg)i;
    return SCHED_ALG_COUNT;
}

enum sched_variant sched_variant_from_name(const char *name)
{
    for (int i = 0; i < SCHED_VARIANT_COUNT; i++)
        if (strcmp(variant_names[i], name) == 0)
            return (enum sched_variant)i;
    return SCHED_VARIANT_COUNT;
}
