/* SPDX-License-Identifier: Apache-2.0 */
/* Every operation by every algorithm and variant with every type on tensors of 1 MiB - 4 and of
 * 16 MiB, ranks of one node and of several, threads and processes, against the definition (bulk.h).
 *
 *     test_coll_large                              OPENNRT_SEED draws
 *     test_coll_large threads|processes NODES      all of them on so many nodes
 *
 * The ordinary run draws where, and takes every way there with one type each. A size is that of the
 * larger side of the operation, in bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bulk.h"
#include "draw.h"
#include "runner.h"
#include "seed.h"
#include "ways.h"

#define SMALLER ((UINT64_C(1) << 20) - 4)
#define LARGER  (UINT64_C(16) << 20)

static uint64_t seed;
static bool every; /* type and shape */
static enum ranks_kind kind;
static uint32_t nodes;

/* What ran, counted by rank 0 in the page that all ranks share: a bit for each type. */
struct tally {
    uint16_t types[SCHED_OP_COUNT][WAYS][SCHED_INLINE];
    uint32_t cases;
};

struct large {
    uint64_t bytes;
    uint64_t salt;
};

static struct op_case case_of(enum sched_op op, enum sched_variant variant, unsigned type,
                              uint64_t bytes, uint64_t salt, uint32_t n)
{
    struct op_case c = {.op = op,
                        .variant = variant,
                        .dtype = (enum dtype)(CASE_TYPE_FIRST + type),
                        .reduce = (enum kernel_combine)(draw_mix(salt) % 3),
                        .tensors = 1,
                        .in_place = !sched_op_varies(op) && draw_mix(salt + 1) % 2,
                        .salt = salt};
    uint64_t count = bytes / dtype_size(c.dtype);

    if (!case_sum_is_exact(c.dtype, n))
        c.reduce = KERNEL_COMBINE_MAX;
    c.block = (uint32_t)(count / n);
    if (op == SCHED_ALL_GATHER || op == SCHED_REDUCE_SCATTER)
        count /= n;
    if (op == SCHED_ALL_TO_ALL)
        count -= count % n;
    c.counts[0] = count;
    return c;
}

/* The first wrong value that this rank has found. It goes on, since the others do. */
static _Thread_local struct err wrong;

static void wrong_note(const struct op_case *c, unsigned way, const struct err *err)
{
    char name[64];

    if (!wrong.status)
        (void)err_set(&wrong, NRT_FAILURE, "%s by %s, %s, %s: %s", sched_op_name(c->op),
                      way_name(way, name, sizeof(name)), sched_variant_name(c->variant),
                      dtype_name(c->dtype), err->text);
}

/* What a plan has had for its channels comes back with its communicator. */
static NRT_STATUS comm_renew(struct rank *r, struct err *err)
{
    coll_comm_close(r->comm);
    r->comm = NULL;
    return ranks_comm_open(r, &r->comm, err);
}

/* *ret_ran: the way has the operation, on all ranks. */
static NRT_STATUS large_run(struct rank *r, const struct op_case *c, unsigned way, struct bulk *b,
                            bool *ret_ran, struct err *err)
{
    struct case_kit k;
    NRT_STATUS st;

    *err = (struct err){0};
    st = case_open(r, &k, c, err);
    *ret_ran = k.s != NULL;
    if (!st) {
        st = bulk_run_once(r, &k, b, c->salt, err);
        if (st == NRT_FAILURE) {
            wrong_note(c, way, err);
            st = NRT_SUCCESS;
        }
    }
    case_close(&k);
    rank_memory_free(r);
    if (!*ret_ran)
        return NRT_SUCCESS;
    return st ? st : comm_renew(r, err);
}

/* One way with all types, or with one. */
static NRT_STATUS types_run(struct rank *r, enum sched_op op, unsigned way,
                            enum sched_variant variant, uint64_t salt, struct bulk *b,
                            struct err *err)
{
    const struct large *l = r->arg;
    struct tally *t = ranks_shared(r);
    unsigned first = every ? 0 : (unsigned)(draw_mix(salt + 60) % CASE_TYPES);

    for (unsigned type = first; type < (every ? CASE_TYPES : first + 1); type++, salt += 2) {
        struct op_case c = case_of(op, variant, type, l->bytes, salt, r->n);
        bool ran;
        NRT_STATUS st;

        if (!way_set(&c, way))
            return NRT_SUCCESS;
        st = large_run(r, &c, way, b, &ran, err);
        if (st)
            return st;
        if (!ran)
            return NRT_SUCCESS; /* with no type */
        if (r->me == 0) {
            t->types[op][way][variant] |= (uint16_t)(1u << type);
            t->cases++;
        }
    }
    return NRT_SUCCESS;
}

static const char *large_body(struct rank *r)
{
    static _Thread_local struct err err;
    uint64_t salt = ((const struct large *)r->arg)->salt;
    struct bulk *b = bulk_create(r->n, salt);
    NRT_STATUS st = NRT_SUCCESS;

    if (!b)
        return "no memory for the values";
    for (unsigned op = 0; op < SCHED_OP_COUNT && !st; op++)
        for (unsigned way = 0; way < WAYS && op != SCHED_BARRIER && !st; way++)
            for (unsigned v = 0; v < SCHED_INLINE && !st; v++, salt += 64)
                st = types_run(r, (enum sched_op)op, way, (enum sched_variant)v, salt, b, &err);
    bulk_destroy(b);
    return st ? err.text : wrong.status ? wrong.text : NULL;
}

/* ---- where ---- */

/* Tensors and buffers of the widest case, of all ranks. */
static bool room_for(uint32_t n, uint64_t bytes)
{
    char what[64];

    snprintf(what, sizeof(what), "%u ranks with %llu bytes", n, (unsigned long long)bytes);
    return ranks_have_room(6 * bytes * n, what);
}

static void way_demand(const struct tally *t, const struct ranks_nodes *w, enum sched_op op,
                       unsigned way, enum sched_variant v)
{
    unsigned have = t->types[op][way][v], all = (1u << CASE_TYPES) - 1;
    char name[64];

    if (have ? !every || have == all : !way_must_run(op, way, v, w->nodes, w->per_node))
        return;
    fail_msg("%s by %s, %s, on %u nodes of %u ranks: types %04x only", sched_op_name(op),
             way_name(way, name, sizeof(name)), sched_variant_name(v), w->nodes, w->per_node, have);
}

static void large_at(enum ranks_kind as, uint32_t node_count, uint32_t per_node, uint64_t bytes)
{
    struct ranks_nodes w = {.nodes = node_count, .per_node = per_node};
    struct large l = {
        bytes, draw_mix(seed + node_count * 1000 + per_node * 10 + as * 2 + (bytes == LARGER))};
    struct tally t;
    const char *text;

    if (!room_for(node_count * per_node, bytes))
        return;
    text = ranks_run_nodes(as, &w, 120000, large_body, &l);
    memcpy(&t, ranks_shared_last(), sizeof(t));
    if (text)
        fail_msg("%u nodes of %u ranks, %llu bytes, seed %llu: %s", node_count, per_node,
                 (unsigned long long)bytes, (unsigned long long)seed, text);
    for (unsigned op = 0; op < SCHED_OP_COUNT; op++)
        for (unsigned way = 0; way < WAYS && op != SCHED_BARRIER; way++)
            for (unsigned v = 0; v < SCHED_INLINE; v++)
                way_demand(&t, &w, (enum sched_op)op, way, (enum sched_variant)v);
    print_message("%u nodes of %u ranks, %s, %llu bytes: %u cases\n", node_count, per_node,
                  as == RANKS_THREADS ? "threads" : "processes", (unsigned long long)bytes,
                  t.cases);
}

static const uint32_t in_a_node[] = {2, 3, 4, 5, 8, 16}, of_a_node[] = {1, 2, 4};

static void every_shape(void **state)
{
    const uint32_t *per = nodes == 1 ? in_a_node : of_a_node;

    for (unsigned i = 0; i < (nodes == 1 ? 6 : 3); i++)
        for (unsigned large = 0; large < 2; large++)
            large_at(kind, nodes, per[i], large ? LARGER : SMALLER);
    (void)state;
}

/* One of each, of those that take a moment: in an emulator two ranks. */
static void drawn_shapes(void **state)
{
    uint64_t d = draw_mix(seed);

    (void)state;
    if (runner_emulated()) {
        large_at((enum ranks_kind)(d % 2), 1, 2, SMALLER);
        large_at((enum ranks_kind)(d / 16 % 2), 2, 1, SMALLER);
        large_at((enum ranks_kind)(d / 256 % 2), 2, 1, LARGER);
        return;
    }
    large_at((enum ranks_kind)(d % 2), 1, in_a_node[d / 2 % 5], SMALLER);
    large_at((enum ranks_kind)(d / 16 % 2), 1, in_a_node[d / 32 % 3], LARGER);
    large_at((enum ranks_kind)(d / 128 % 2), 2 + d / 256 % 2, of_a_node[d / 1024 % 2], SMALLER);
    large_at((enum ranks_kind)(d / 4096 % 2), 2, 1, LARGER);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest whole[] = {cmocka_unit_test(every_shape)},
                            some[] = {cmocka_unit_test(drawn_shapes)};

    if (!ranks_have_emulator_room())
        return RUNNER_SKIP;
    seed = seed_take(7);
    if (argc == 3) {
        every = true;
        kind = strcmp(argv[1], "threads") == 0 ? RANKS_THREADS : RANKS_PROCESSES;
        nodes = (uint32_t)atoi(argv[2]);
    }
    return every ? cmocka_run_group_tests(whole, NULL, NULL)
                 : cmocka_run_group_tests(some, NULL, NULL);
}
