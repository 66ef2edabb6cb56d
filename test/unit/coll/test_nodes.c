/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives between nodes: named instances, each with its ranks, and links over loopback. Every
 * operation by every algorithm between nodes against plain loops (cases.h), ranks as threads and as
 * processes.
 *
 *     test_coll_nodes [all]      OPENNRT_SEED replays what is drawn
 *
 * `all`: every number of nodes and ranks four times, and KangaRing inside. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cases.h"
#include "coll/coll_int.h"
#include "draw.h"
#include "proves.h"
#include "ranks.h"
#include "runner.h"
#include "seed.h"
#include "ways.h"

static uint64_t seed;

/* What ran, by operation and way: filled by rank 0, in the page that all ranks share. */
struct tally {
    uint16_t ran[SCHED_OP_COUNT][WAYS];
    uint16_t types[SCHED_OP_COUNT]; /* a bit for each */
};

/* What a sweep is told: the types come in turn, over all sweeps of a kind. */
struct sweep_arg {
    uint64_t salt;
    unsigned turn[SCHED_OP_COUNT];
};

static struct op_case case_of(enum sched_op op, unsigned way, uint64_t salt, uint32_t n)
{
    struct op_case c = case_draw(salt, n);

    c.op = op;
    c.tensors = op == SCHED_BARRIER ? 0 : op < SCHED_PERMUTE ? 1 + (uint32_t)(salt / 64 % 3) : 1;
    c.in_place = op < SCHED_ALL_GATHER_V && c.in_place;
    c.variant = SCHED_STAGED;
    (void)way_set(&c, way);
    return c;
}

static NRT_STATUS way_run(struct rank *r, const struct op_case *c, uint64_t salt, bool *ret_ran,
                          struct err *err)
{
    struct case_kit k;
    NRT_STATUS st;

    *err = (struct err){0};
    st = case_open(r, &k, c, err);

    *ret_ran = k.s != NULL; /* else the algorithm does not have it, on all ranks */
    for (unsigned i = 0; i < 2 && !st; i++)
        st = case_run_once(r, &k, salt + 1000 * i, err);
    case_close(&k);
    rank_memory_free(r);
    return *ret_ran ? st : NRT_SUCCESS;
}

/* Sizes of one rank's share, bytes: those of the specification's list that are small. */
static uint64_t small_count(uint64_t salt, const struct op_case *c, uint32_t n)
{
    static const uint64_t bytes[] = {0, 1, 7, 1024, 40000};
    uint64_t count = bytes[draw_mix(salt) % 5] / dtype_size(c->dtype);

    return c->op == SCHED_ALL_TO_ALL ? count * n : count;
}

static const char *every_way(struct rank *r)
{
    static _Thread_local struct err err;
    const struct sweep_arg *arg = r->arg;
    uint64_t salt = arg->salt;
    struct tally *t = ranks_shared(r);

    for (unsigned op = 0; op < SCHED_OP_COUNT; op++) {
        unsigned turn = arg->turn[op];

        for (unsigned way = 0; way < WAYS; way++, salt += 64) {
            struct op_case c = case_of((enum sched_op)op, way, salt, r->n);
            bool ran;

            if (way == SCHED_HIER)
                continue; /* all its pairs follow */
            c.dtype = (enum dtype)(CASE_TYPE_FIRST + turn % CASE_TYPES);
            if (!case_sum_is_exact(c.dtype, r->n))
                c.reduce = KERNEL_COMBINE_MAX;
            for (uint32_t i = 0; i < c.tensors; i++)
                c.counts[i] = small_count(salt + 40 + i, &c, r->n);
            if (way_run(r, &c, salt, &ran, &err))
                return err.text;
            turn += ran;
            if (r->me == 0 && ran) {
                t->ran[op][way]++;
                t->types[op] |= (uint16_t)(1u << (c.dtype - CASE_TYPE_FIRST));
            }
        }
    }
    return NULL;
}

/* met: the types that each operation has had. */
static void sweep(enum ranks_kind kind, const struct ranks_nodes *w, struct sweep_arg *arg,
                  uint16_t met[SCHED_OP_COUNT])
{
    struct tally t;
    char name[64];
    unsigned n = 0;
    const char *text;

    arg->salt = draw_mix(seed + w->nodes * 16 + w->per_node + kind);
    text = ranks_run_nodes(kind, w, 120000, every_way, arg);
    memcpy(&t, ranks_shared_last(), sizeof(t));
    if (text)
        fail_msg("%u nodes of %u ranks, seed %llu: %s", w->nodes, w->per_node,
                 (unsigned long long)seed, text);
    for (unsigned op = 0; op < SCHED_OP_COUNT; op++)
        for (unsigned way = 0; way < WAYS; way++) {
            n += t.ran[op][way];
            arg->turn[op] += t.ran[op][way];
            if (t.ran[op][way] == 0 &&
                way_must_run((enum sched_op)op, way, SCHED_STAGED, w->nodes, w->per_node))
                fail_msg("%s by %s did not run on %u nodes of %u ranks",
                         sched_op_name((enum sched_op)op), way_name(way, name, sizeof(name)),
                         w->nodes, w->per_node);
        }
    for (unsigned op = 0; op < SCHED_OP_COUNT; op++)
        met[op] |= t.types[op];
    print_message("%u nodes of %u ranks: %u operations by their algorithms\n", w->nodes,
                  w->per_node, n);
}

/* In an emulator, which is slow and keeps hundreds of MiB for each process, jobs are small. */
static uint32_t most_ranks(enum ranks_kind kind)
{
    if (runner_emulated())
        return 4;
    return kind == RANKS_THREADS && runner_little_room() ? 8 : RANKS_MAX;
}

/* 2, 3 and 4 nodes of 1, 2 and 4 ranks; over them every type of those that have many ways. */
static void every_shape_of(enum ranks_kind kind)
{
    uint16_t met[SCHED_OP_COUNT] = {0};
    struct sweep_arg arg = {0};

    for (uint32_t nodes = 2; nodes <= 4; nodes++)
        for (uint32_t per = 1; per <= 4; per *= 2)
            if (nodes * per <= most_ranks(kind))
                sweep(kind, &(struct ranks_nodes){.nodes = nodes, .per_node = per}, &arg, met);
    for (unsigned op = 0; op <= SCHED_ALL_REDUCE; op++)
        if (met[op] != (1u << CASE_TYPES) - 1)
            fail_msg("%s: types %04x only", sched_op_name((enum sched_op)op), met[op]);
}

static void ways_as_threads(void **state)
{
    every_shape_of(RANKS_THREADS);
    /* sweep fails where one of them has not run, or has computed something else */
    PROVES("inter-010");
    PROVES("inter-011");
    PROVES("inter-012");
    PROVES("inter-013");
    PROVES("inter-014");
    PROVES("inter-015");
    PROVES("inter-016");
    (void)state;
}

static void ways_as_processes(void **state)
{
    every_shape_of(RANKS_PROCESSES);
    (void)state;
}

/* KangaRing needs two whole chips of each node. */
static void kangaring_inside(void **state)
{
    struct ranks_nodes w = {.nodes = 2, .per_node = 8};
    uint16_t met[SCHED_OP_COUNT] = {0};
    struct sweep_arg arg = {0};

    sweep(RANKS_PROCESSES, &w, &arg, met);
    (void)state;
}

static void every_shape(void **state)
{
    uint64_t first = seed;

    for (; seed < first + 4; seed++)
        for (int kind = RANKS_THREADS; kind <= RANKS_PROCESSES; kind++)
            every_shape_of((enum ranks_kind)kind);
    seed = first;
    (void)state;
}

/* ---- the list of the group in any order, and sizes ---- */

static const char *drawn(struct rank *r)
{
    static _Thread_local struct err err;
    uint64_t salt = *(uint64_t *)r->arg;
    NRT_STATUS st = NRT_SUCCESS;

    for (unsigned i = 0; i < (runner_emulated() ? 20 : 60) && !st; i++)
        st = case_run(r, salt + i * 64, &err);
    return st ? err.text : NULL;
}

static void groups_in_any_order(void **state)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t salt = draw_mix(seed + 100 + i);
        struct ranks_nodes w = {
            .nodes = 2 + salt % 3, .per_node = 1u << salt / 16 % 3, .shuffle = salt | 1};
        const char *text;

        if (w.nodes * w.per_node > most_ranks(RANKS_PROCESSES))
            w.per_node = 1;
        text = ranks_run_nodes(i % 2 ? RANKS_PROCESSES : RANKS_THREADS, &w, 120000, drawn, &salt);
        if (text)
            fail_msg("%u nodes of %u ranks, seed %llu: %s", w.nodes, w.per_node,
                     (unsigned long long)seed, text);
    }
    (void)state;
}

/* The Flat Ring needs whole nodes of Trainium with several interfaces each: 64 ranks. Over the
 * table's size it is what runs there; here by name, on sizes that a test can afford. */
static const char *flat_ring(struct rank *r)
{
    static const enum sched_op ops[] = {SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER, SCHED_ALL_REDUCE};
    static _Thread_local struct err err;
    uint64_t salt = *(uint64_t *)r->arg;

    for (unsigned i = 0; i < 6; i++, salt += 64) {
        struct op_case c = case_of(ops[i % 3], SCHED_FLAT_RING, salt, r->n);
        bool ran;

        c.tensors = 1;
        c.counts[0] = i < 3 ? 1 + draw_mix(salt) % 7 : 64 * 3 + draw_mix(salt) % 900;
        if (way_run(r, &c, salt, &ran, &err))
            return err.text;
        if (!ran)
            return "the flat ring did not run";
    }
    return NULL;
}

static void flat_ring_on_two_nodes_of_trn1(void **state)
{
    struct ranks_nodes w = {.nodes = 2, .per_node = 32, .type = "trn1.32xlarge"};
    uint64_t salt = draw_mix(seed + 300);
    const char *text;

    if (runner_emulator_lacks(__func__, "64 ranks are more than it has memory for"))
        skip();
    if (runner_little_room()) {
        print_message("NOT RUN: 64 ranks of one process need more address space than there is\n");
        skip();
    }
    text = ranks_run_nodes(RANKS_THREADS, &w, 120000, flat_ring, &salt);
    if (text)
        fail_msg("seed %llu: %s", (unsigned long long)seed, text);
    PROVES("inter-017");
    (void)state;
}

/* A load makes plans of a communicator, with peers that it has not had, while another thread runs
 * its operations. */
struct planner {
    pthread_t thread;
    struct rank *r;
    uint64_t salt;
    struct err err;
    NRT_STATUS st;
};

static void *planner_thread(void *arg)
{
    static const enum sched_alg algs[] = {SCHED_RDH, SCHED_MESH, SCHED_RING};
    struct planner *p = arg;

    for (unsigned i = 0; i < 12 && !p->st; i++) {
        struct op_case c = case_of(SCHED_ALL_GATHER, algs[i % 3], p->salt + 64 * i, p->r->n);
        struct case_kit k;

        c.tensors = 1;
        c.counts[0] = 100 + i;
        p->st = case_open(p->r, &k, &c, &p->err);
        case_close(&k);
    }
    return NULL;
}

static const char *plans_meanwhile(struct rank *r)
{
    static _Thread_local struct planner p;
    static _Thread_local struct err err;
    struct op_case c = case_of(SCHED_ALL_REDUCE, SCHED_RING, 5, r->n);
    struct case_kit k;
    NRT_STATUS st;

    c.tensors = 1;
    c.counts[0] = 500;
    err = (struct err){0};
    st = case_open(r, &k, &c, &err);
    p = (struct planner){.r = r, .salt = *(uint64_t *)r->arg};
    if (!st && pthread_create(&p.thread, NULL, planner_thread, &p))
        return "no thread";
    for (unsigned i = 0; i < 60 && !st; i++)
        st = case_run_once(r, &k, 1000 * i, &err);
    pthread_join(p.thread, NULL);
    case_close(&k);
    return st ? err.text : p.st ? p.err.text : NULL;
}

static void plans_are_made_while_operations_run(void **state)
{
    struct ranks_nodes w = {.nodes = 4, .per_node = 1};
    uint64_t salt = draw_mix(seed + 400);
    const char *text = ranks_run_nodes(RANKS_THREADS, &w, 120000, plans_meanwhile, &salt);

    if (text)
        fail_msg("seed %llu: %s", (unsigned long long)seed, text);
    (void)state;
}

/* Ranks that have greeted all others make a plan alone one after the other, each while the others
 * do nothing. */
static const char *plans_in_turn(struct rank *r)
{
    static _Thread_local struct err err;
    struct op_case c = case_of(SCHED_ALL_TO_ALL_V, SCHED_MESH, *(uint64_t *)r->arg, r->n);
    struct case_kit k;
    NRT_STATUS st;

    c.alone = true;
    err = (struct err){0};
    st = coll_comm_greet(r->comm, &err);
    for (uint32_t turn = 0; turn < r->n; turn++) {
        ranks_barrier(r);
        if (turn == r->me && !st)
            st = case_open(r, &k, &c, &err);
    }
    ranks_barrier(r);
    if (!st)
        st = case_run_once(r, &k, 1, &err);
    if (st)
        return err.text;
    case_close(&k);
    return NULL;
}

static void a_plan_alone_waits_for_nobody(void **state)
{
    struct ranks_nodes w = {.nodes = 2, .per_node = 2};
    uint64_t salt = draw_mix(seed + 500);
    const char *text = ranks_run_nodes(RANKS_PROCESSES, &w, 120000, plans_in_turn, &salt);

    if (text)
        fail_msg("seed %llu: %s", (unsigned long long)seed, text);
    (void)state;
}

/* Memory that a plan made alone was given is its owner's: freed, it is free at once, though the
 * communicator goes on. */
static const char *plans_come_and_go(struct rank *r)
{
    static _Thread_local struct err err;
    struct op_case c = case_of(SCHED_REDUCE_SCATTER_V, SCHED_MESH, *(uint64_t *)r->arg, r->n);
    struct device_usage before, after;
    NRT_STATUS st;

    c.alone = true;
    c.counts[0] = 4000;
    err = (struct err){0};
    st = coll_comm_greet(r->comm, &err);
    for (unsigned i = 0; i < 4 && !st; i++) {
        struct case_kit k;

        if (device_usage_core(r->in, r->core, &before))
            return "no account";
        st = case_open(r, &k, &c, &err);
        if (!st && k.own.size == 0)
            return "there are no buffers";
        if (!st)
            st = case_run_once(r, &k, i, &err);
        rank_memory_free(r);
        case_close(&k);
        if (!st && (device_usage_core(r->in, r->core, &after) ||
                    after.bytes[DEVICE_CAT_COLL] != before.bytes[DEVICE_CAT_COLL]))
            return "a plan's memory is not free";
    }
    return st ? err.text : NULL;
}

static void plans_made_alone_leave_nothing(void **state)
{
    struct ranks_nodes w = {.nodes = 2, .per_node = 2};
    uint64_t salt = draw_mix(seed + 600);
    const char *text = ranks_run_nodes(RANKS_PROCESSES, &w, 120000, plans_come_and_go, &salt);

    if (text)
        fail_msg("seed %llu: %s", (unsigned long long)seed, text);
    (void)state;
}

struct big {
    struct op_case c;
    uint64_t bytes;
};

static const char *one_big(struct rank *r)
{
    static _Thread_local struct err err;
    struct big b = *(struct big *)r->arg;
    bool ran;

    b.c.counts[0] = b.bytes / dtype_size(b.c.dtype);
    err = (struct err){0};
    if (way_run(r, &b.c, b.bytes, &ran, &err))
        return err.text;
    return ran ? NULL : "it did not run";
}

static void large_sizes(void **state)
{
    static const uint64_t bytes[] = {(1u << 20) - 4, 16u << 20};
    static const struct {
        struct ranks_nodes where;
        struct op_case c;
    } runs[] = {
        {{.nodes = 2, .per_node = 1}, {.alg = SCHED_RING, .dtype = DT_FP32}},
        {{.nodes = 2, .per_node = 1}, {.alg = SCHED_MESH_ONE, .dtype = DT_FP32}},
        {{.nodes = 3, .per_node = 1}, {.alg = SCHED_MESH, .dtype = DT_INT32}},
        {{.nodes = 3, .per_node = 1}, {.alg = SCHED_RDH, .dtype = DT_BF16}},
        {{.nodes = 2, .per_node = 2},
         {.alg = SCHED_HIER, .intra = SCHED_MESH, .inter = SCHED_RING, .dtype = DT_FP32}},
    };

    for (unsigned i = 0; i < 2 * sizeof(runs) / sizeof(runs[0]); i++) {
        struct big b = {.c = runs[i / 2].c, .bytes = bytes[i % 2]};
        const char *text;

        if (runner_emulated() && b.bytes > bytes[0])
            continue; /* minutes; test_large has them there, which compares whole pieces */
        b.c.op = SCHED_ALL_REDUCE;
        b.c.tensors = 1;
        text = ranks_run_nodes(RANKS_PROCESSES, &runs[i / 2].where, 60000, one_big, &b);
        if (text)
            fail_msg("%llu bytes: %s", (unsigned long long)b.bytes, text);
    }
    (void)state;
}

/* ---- two communicators on one link ---- */

static const struct op_case small_reduce = {
    .op = SCHED_ALL_REDUCE, .alg = SCHED_MESH, .dtype = DT_FP32, .tensors = 1, .counts = {3000}};

/* Operations of both are under way at once, begun in the other order on the other rank. One that
 * closes leaves the link to the other. */
static const char *crossed(struct rank *r)
{
    static _Thread_local struct err err;
    struct rank other = *r;
    struct case_kit k[2];
    struct rank *rs[2] = {r, &other};

    err = (struct err){0};
    other.memory = NULL;
    other.memory_count = other.memory_cap = 0;
    if (ranks_comm_open(&other, &other.comm, &err) || case_open(r, &k[0], &small_reduce, &err) ||
        case_open(&other, &k[1], &small_reduce, &err))
        return err.text;
    for (unsigned i = 0; i < 200; i++) {
        unsigned first = (r->me + i) % 2;

        for (unsigned j = 0; j < 2; j++)
            case_fill(rs[j], &k[j], i * 2 + j);
        for (unsigned j = 0; j < 2; j++) {
            struct case_kit *kit = &k[first ^ j];

            if (coll_begin(kit->plan, kit->ts.in_addr, kit->ts.out_addr, &err))
                return err.text;
            (void)coll_progress(rs[first ^ j]->comm, 100);
        }
        for (unsigned j = 0; j < 2; j++)
            while (coll_progress(rs[0]->comm, 100) != COLL_DONE ||
                   coll_progress(rs[1]->comm, 100) != COLL_DONE)
                if (coll_comm_status(rs[0]->comm) || coll_comm_status(rs[1]->comm))
                    return "an operation failed";
        for (unsigned j = 0; j < 2; j++)
            if (!case_check(rs[j], &k[j], i * 2 + j, &err))
                return err.text;
    }
    case_close(&k[1]);
    rank_memory_free(&other);
    coll_comm_close(other.comm);
    for (unsigned i = 0; i < 20; i++)
        if (case_run_once(r, &k[0], i, &err))
            return err.text;
    case_close(&k[0]);
    return NULL;
}

static void two_communicators(void **state)
{
    struct ranks_nodes w = {.nodes = 2, .per_node = 1};
    const char *text = ranks_run_nodes(RANKS_PROCESSES, &w, 120000, crossed, NULL);

    if (text)
        fail_msg("%s", text);
    (void)state;
}

/* Rank 1 has begun an operation of one communicator, which rank 0 begins when it has opened another
 * one: what rank 1 has sent for it is not in the way of the greetings. */
static const char *one_behind(struct rank *r)
{
    static _Thread_local struct err err;
    struct rank other = *r;
    struct case_kit k;

    err = (struct err){0};
    other.memory = NULL;
    other.memory_count = other.memory_cap = 0;
    if (case_open(r, &k, &small_reduce, &err))
        return err.text;
    case_fill(r, &k, 7);
    if (r->me == 1 && coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
        return err.text;
    for (unsigned i = 0; r->me == 1 && i < 1000; i++)
        (void)coll_progress(r->comm, 100);
    ranks_barrier(r);
    if (ranks_comm_open(&other, &other.comm, &err))
        return err.text;
    if (r->me == 0 && coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
        return err.text;
    if (coll_wait(r->comm, &err) || !case_check(r, &k, 7, &err))
        return err.text;
    case_close(&k);
    coll_comm_close(other.comm);
    return NULL;
}

static void an_operation_does_not_hold_up_greetings(void **state)
{
    struct ranks_nodes w = {.nodes = 2, .per_node = 1};
    const char *text = ranks_run_nodes(RANKS_PROCESSES, &w, 120000, one_behind, NULL);

    if (text)
        fail_msg("%s", text);
    (void)state;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest all[] = {cmocka_unit_test(every_shape),
                                     cmocka_unit_test(kangaring_inside)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ways_as_threads),
        cmocka_unit_test(ways_as_processes),
        cmocka_unit_test(groups_in_any_order),
        cmocka_unit_test(large_sizes),
        cmocka_unit_test(two_communicators),
        cmocka_unit_test(an_operation_does_not_hold_up_greetings),
        cmocka_unit_test(flat_ring_on_two_nodes_of_trn1),
        cmocka_unit_test(plans_are_made_while_operations_run),
        cmocka_unit_test(a_plan_alone_waits_for_nobody),
        cmocka_unit_test(plans_made_alone_leave_nothing),
    };

    if (!ranks_have_emulator_room())
        return RUNNER_SKIP;
    seed = seed_take(7);
    return argc > 1 && strcmp(argv[1], "all") == 0 ? cmocka_run_group_tests(all, NULL, NULL)
                                                   : cmocka_run_group_tests(tests, NULL, NULL);
}
