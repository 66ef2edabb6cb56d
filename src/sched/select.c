/* SPDX-License-Identifier: Apache-2.0 */
/* The selection table, its eligibility rules, and hierarchical choices stage by stage. */
#include "sched/select.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "sched/sched_int.h"

#define KB UINT64_C(1024)
#define MB (KB * 1024)

#define OP(op)      (1u << SCHED_##op)
#define OPS_REDUCE  (OP(ALL_REDUCE) | OP(BARRIER))
#define OPS_CHUNKED (OP(ALL_GATHER) | OP(REDUCE_SCATTER) | OPS_REDUCE)
#define OPS_BLOCKS  (OP(ALL_TO_ALL) | OP(ALL_TO_ALL_V) | OP(ALL_GATHER_V) | OP(REDUCE_SCATTER_V))
#define OPS_PAIRS   (OP(PERMUTE) | OP(SENDRECV))
#define OPS_ALL     (OPS_CHUNKED | OPS_BLOCKS | OPS_PAIRS)

/* Latency of a network hop, microseconds (section 1). */
#define NET_HOP_US 15

#define NEED(x)   SCHED_NEED_##x
#define BETWEEN   (NEED(NODES) | NEED(ONE_EACH))
#define TWO_LEVEL (NEED(NODES) | NEED(MANY_EACH))

/* Section 10. Where the page says "below", size_max is one less. */
static const struct sched_rule table[] = {
    {.row = "0", .ops = OPS_CHUNKED | OPS_BLOCKS, .needs = NEED(ONE_RANK), .alg = SCHED_MESH},
    {.row = "1", .ops = OPS_PAIRS, .alg = SCHED_PAIRS},
    {.row = "2", .ops = OPS_BLOCKS, .alg = SCHED_MESH},
    {.row = "3a", .ops = OPS_CHUNKED, .needs = NEED(HOST) | TWO_LEVEL, .alg = SCHED_HIER},
    {.row = "3b", .ops = OPS_CHUNKED, .needs = NEED(HOST), .alg = SCHED_RING},
    {.row = "4",
     .ops = OPS_REDUCE,
     .needs = BETWEEN | NEED(FEW_BYTES),
     .nodes_max = 16,
     .size_max = MB,
     .alg = SCHED_MESH_ONE},
    {.row = "5",
     .ops = OPS_CHUNKED,
     .needs = BETWEEN,
     .nodes_max = 8,
     .size_max = MB - 1,
     .alg = SCHED_MESH},
    {.row = "6",
     .ops = OPS_CHUNKED,
     .needs = BETWEEN | NEED(NODES_POW2),
     .size_per_node = 16 * MB,
     .alg = SCHED_RDH},
    /* In groups that are no power of two these are the fold, Bruck and its mirror. */
    {.row = "7", .ops = OPS_CHUNKED, .needs = BETWEEN, .size_per_node = 16 * MB, .alg = SCHED_RDH},
    {.row = "8", .ops = OPS_CHUNKED, .needs = BETWEEN, .alg = SCHED_RING},
    {.row = "9",
     .ops = OPS_CHUNKED,
     .needs = TWO_LEVEL,
     .size_min = 256 * MB,
     .alg = SCHED_FLAT_RING},
    {.row = "10", .ops = OPS_CHUNKED, .needs = TWO_LEVEL, .alg = SCHED_HIER},
    {.row = "11", .ops = OPS_REDUCE, .ranks_max = 16, .size_max = 16 * KB, .alg = SCHED_MESH_ONE},
    {.row = "12a",
     .ops = OPS_CHUNKED,
     .needs = NEED(ONE_CHIP),
     .size_max = 256 * KB - 1,
     .alg = SCHED_MESH},
    {.row = "12b", .ops = OPS_CHUNKED, .needs = NEED(CHIPS), .size_max = MB - 1, .alg = SCHED_MESH},
    {.row = "13a",
     .ops = OPS_CHUNKED,
     .needs = NEED(ONE_CHIP),
     .size_max = 64 * MB,
     .alg = SCHED_RDH},
    {.row = "13b",
     .ops = OPS_CHUNKED,
     .needs = NEED(CHIPS),
     .ranks_max = 16,
     .size_max = 16 * MB,
     .alg = SCHED_RDH},
    {.row = "13c",
     .ops = OPS_CHUNKED,
     .needs = NEED(CHIPS),
     .ranks_min = 17,
     .size_max = 56 * MB,
     .alg = SCHED_RDH},
    {.row = "14", .ops = OPS_CHUNKED, .alg = SCHED_KANGARING},
    {.row = "15", .ops = OPS_CHUNKED, .alg = SCHED_RING},
};
_Static_assert(sizeof(table) / sizeof(table[0]) < SCHED_RULES_MAX, "room to prefer one more");

void sched_rules_default(struct sched_rules *ret)
{
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->rule, table, sizeof(table));
    ret->count = sizeof(table) / sizeof(table[0]);
}

struct sched_rule *sched_rules_find(struct sched_rules *rules, const char *row)
{
    for (unsigned i = 0; i < rules->count; i++) {
        if (strcmp(rules->rule[i].row, row) == 0)
            return &rules->rule[i];
    }
    return NULL;
}

bool sched_rules_prefer(struct sched_rules *rules, enum sched_alg alg)
{
    if (rules->count == SCHED_RULES_MAX)
        return false;
    memmove(rules->rule + 1, rules->rule, rules->count * sizeof(rules->rule[0]));
    rules->rule[0] = (struct sched_rule){.row = "set", .ops = OPS_ALL, .alg = alg};
    rules->count++;
    return true;
}

/* ---- what can be done ---- */

static uint32_t algorithm_ops(enum sched_alg alg)
{
    switch (alg) {
    case SCHED_PAIRS:
        return OPS_PAIRS;
    case SCHED_MESH:
        return OPS_CHUNKED | OPS_BLOCKS;
    case SCHED_MESH_TWO:
        return OP(ALL_TO_ALL);
    case SCHED_MESH_ONE:
        return OPS_REDUCE;
    case SCHED_RING:
    case SCHED_KANGARING:
    case SCHED_RDH:
    case SCHED_HIER:
    case SCHED_FLAT_RING:
        return OPS_CHUNKED;
    case SCHED_ALG_COUNT:
        break;
    }
    return 0;
}

/* As gen_mesh.c counts them: chips of one node, else ranks. */
static bool mesh_fits(const struct topo_dims *d)
{
    return (d->nodes == 1 && d->uniform ? d->chips : d->ranks) <= SCHED_MESH_MAX;
}

bool sched_alg_can(enum sched_alg alg, enum sched_op op, const struct topo_dims *d)
{
    bool one_level = d->nodes == 1 || d->per_node == 1;

    if (!(algorithm_ops(alg) >> op & 1))
        return false;
    switch (alg) {
    case SCHED_PAIRS:
        return true;
    case SCHED_MESH:
        return OPS_BLOCKS >> op & 1 || (one_level && mesh_fits(d));
    case SCHED_MESH_TWO:
        return d->nodes == 1 && d->uniform && d->chips > 1 && d->chip_ranks > 1;
    case SCHED_MESH_ONE:
        return one_level && d->ranks <= SCHED_MESH_MAX;
    case SCHED_RING:
        return one_level && d->ranks > 1;
    case SCHED_KANGARING:
        return topo_dims_kangaring(d);
    case SCHED_RDH:
        return one_level && (d->nodes > 1 || (d->uniform && is_pow2_u64(d->chips)));
    case SCHED_HIER:
        return !one_level;
    case SCHED_FLAT_RING:
        return d->flat;
    case SCHED_ALG_COUNT:
        break;
    }
    return false;
}

/* ---- what applies ---- */

/* Row 4: size / w < hop + 2 size / (X w), without fractions. */
static bool few_bytes(const struct topo_dims *d, uint64_t size)
{
    uint64_t x = d->nodes, extra;

    if (u64_mul_over((x - 1) * (x > 1 ? x - 2 : 0), size, &extra))
        return false;
    return extra < NET_HOP_US * x * d->net_bytes_us;
}

static uint32_t needs_met(const struct sched_question *q)
{
    const struct topo_dims *d = &q->dims;
    const struct {
        bool met;
        enum sched_need need;
    } all[] = {
        {d->ranks == 1, NEED(ONE_RANK)},
        {q->host, NEED(HOST)},
        {d->nodes > 1, NEED(NODES)},
        {d->per_node == 1, NEED(ONE_EACH)},
        {d->per_node > 1, NEED(MANY_EACH)},
        {is_pow2_u64(d->nodes), NEED(NODES_POW2)},
        {d->chips == 1, NEED(ONE_CHIP)},
        {d->chips > 1, NEED(CHIPS)},
        {few_bytes(d, q->size), NEED(FEW_BYTES)},
    };
    uint32_t met = 0;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        met |= all[i].met ? all[i].need : 0;
    return met;
}

static bool rule_applies(const struct sched_rule *r, const struct sched_question *q)
{
    const struct topo_dims *d = &q->dims;
    uint64_t limit;

    if (!(r->ops >> q->op & 1) || (r->needs & ~needs_met(q)))
        return false;
    if (d->ranks < r->ranks_min || (r->ranks_max && d->ranks > r->ranks_max) ||
        (r->nodes_max && d->nodes > r->nodes_max))
        return false;
    if (q->size < r->size_min || (r->size_max && q->size > r->size_max))
        return false;
    if (r->size_per_node && !u64_mul_over(d->nodes, r->size_per_node, &limit) && q->size >= limit)
        return false;
    return sched_alg_can(r->alg, q->op, d);
}

/* ---- the answer ---- */

static const struct sched_rule *rule_find(const struct sched_rules *rules,
                                          const struct sched_question *q, struct err *err)
{
    for (unsigned i = 0; i < rules->count; i++) {
        if (rule_applies(&rules->rule[i], q))
            return &rules->rule[i];
    }
    err_set(err, NRT_INVALID,
            "no algorithm for %s of %" PRIu64 " bytes on %" PRIu32 " nodes of %" PRIu32 " ranks",
            sched_op_name(q->op), q->size, q->dims.nodes, q->dims.per_node);
    return NULL;
}

/* The stages of a hierarchical operation (section 8): inside a node the whole of the larger side,
 * between nodes the share of one rank. */
static NRT_STATUS select_stages(const struct sched_rules *rules, const struct sched_question *q,
                                struct sched_choice *c, struct err *err)
{
    struct sched_question intra = *q, inter = *q;
    const struct sched_rule *in, *between;

    /* An all_reduce is a reduce_scatter, then its mirror, inside a node. */
    if (OPS_REDUCE >> q->op & 1)
        intra.op = SCHED_REDUCE_SCATTER;
    intra.dims = topo_dims_intra(q->dims);
    inter.dims = topo_dims_inter(q->dims);
    inter.size = q->size / q->dims.per_node + (q->size % q->dims.per_node != 0);
    in = rule_find(rules, &intra, err);
    between = in ? rule_find(rules, &inter, err) : NULL;
    if (!between)
        return NRT_INVALID;
    c->intra = in->alg;
    c->inter = between->alg;
    memcpy(c->intra_row, in->row, sizeof(c->intra_row));
    memcpy(c->inter_row, between->row, sizeof(c->inter_row));
    return NRT_SUCCESS;
}

NRT_STATUS sched_select(const struct sched_rules *rules, const struct sched_question *q,
                        struct sched_choice *ret, struct err *err)
{
    const struct sched_rule *rule = rule_find(rules, q, err);
    struct sched_choice c = {.host = q->host};

    if (!rule)
        return NRT_INVALID;
    c.alg = rule->alg;
    memcpy(c.row, rule->row, sizeof(c.row));
    if (c.alg == SCHED_HIER) {
        NRT_STATUS st = select_stages(rules, q, &c, err);

        if (st != NRT_SUCCESS)
            return st;
    }
    *ret = c;
    return NRT_SUCCESS;
}

const char *sched_choice_printed(const struct sched_choice *c)
{
    return sched_alg_printed(c->host && c->alg == SCHED_HIER ? c->intra : c->alg);
}
