/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives between nodes: named instances, each with its ranks, and links over loopback. Every
 * operation by every algorithm between nodes against plain loops (cases.h), ranks as threads and as
 * processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/log.h"
#include "cases.h"
#include "proves.h"
#include "ranks.h"
#include "runner.h"

static uint64_t seed;

struct shape {
    uint32_t nodes, per_node;
};

/* What ran, by operation and way: filled by rank 0, in the page that all ranks share. */
#define WAYS (SCHED_ALG_COUNT + SCHED_HIER * SCHED_HIER)
struct tally {
    uint16_t ran[SCHED_OP_COUNT][WAYS];
};

static const char *way_name(unsigned way, char *buf, size_t size)
{
    if (way < SCHED_ALG_COUNT)
        return sched_alg_name((enum sched_alg)way);
    way -= SCHED_ALG_COUNT;
    snprintf(buf, size, "hier %s x %s", sched_alg_name((enum sched_alg)(way / SCHED_HIER)),
             sched_alg_name((enum sched_alg)(way % SCHED_HIER)));
    return buf;
}

static struct op_case case_of(enum sched_op op, unsigned way, uint64_t salt, uint32_t n)
{
    struct op_case c = case_draw(salt, n);

    c.op = op;
    c.tensors = op == SCHED_BARRIER ? 0 : op < SCHED_PERMUTE ? 1 + (uint32_t)(salt / 64 % 3) : 1;
    c.in_place = op < SCHED_ALL_GATHER_V && c.in_place;
    c.variant = SCHED_STAGED;
    c.alg = way < SCHED_ALG_COUNT ? (enum sched_alg)way : SCHED_HIER;
    if (way >= SCHED_ALG_COUNT) {
        c.intra = (enum sched_alg)((way - SCHED_ALG_COUNT) / SCHED_HIER);
        c.inter = (enum sched_alg)((way - SCHED_ALG_COUNT) % SCHED_HIER);
    }
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
    uint64_t count = bytes[case_mix(salt) % 5] / dtype_size(c->dtype);

    return c->op == SCHED_ALL_TO_ALL ? count * n : count;
}

static const char *every_way(struct rank *r)
{
    static _Thread_local struct err err;
    uint64_t salt = *(uint64_t *)r->arg;
    struct tally *t = ranks_shared(r);

    for (unsigned op = 0; op < SCHED_OP_COUNT; op++)
        for (unsigned way = 0; way < WAYS; way++, salt += 64) {
            struct op_case c = case_of((enum sched_op)op, way, salt, r->n);
            bool ran;

            if (way == SCHED_HIER)
                continue; /* all its pairs follow */
            for (uint32_t i = 0; i < c.tensors; i++)
                c.counts[i] = small_count(salt + 40 + i, &c, r->n);
            if (way_run(r, &c, salt, &ran, &err))
                return err.text;
            if (r->me == 0 && ran)
                t->ran[op][way]++;
        }
    return NULL;
}

/* What must have run on nodes of one rank, and of several. */
static bool must_run(enum sched_op op, unsigned way, uint32_t nodes, uint32_t per_node)
{
    bool reduces = op == SCHED_REDUCE_SCATTER || op == SCHED_ALL_REDUCE;

    if (op == SCHED_PERMUTE || op == SCHED_SENDRECV)
        return way == SCHED_PAIRS;
    if (op == SCHED_ALL_TO_ALL || op == SCHED_ALL_TO_ALL_V || op == SCHED_ALL_GATHER_V)
        return way == SCHED_MESH;
    if (op != SCHED_ALL_GATHER && !reduces)
        return false;
    if (per_node == 1)
        return way == SCHED_RING || way == SCHED_MESH || way == SCHED_RDH ||
               (way == SCHED_MESH_ONE && op == SCHED_ALL_REDUCE);
    if (way < SCHED_ALG_COUNT)
        return false;
    way -= SCHED_ALG_COUNT;
    return (way / SCHED_HIER == SCHED_RING || way / SCHED_HIER == SCHED_MESH) &&
           (way % SCHED_HIER == SCHED_RING || way % SCHED_HIER == SCHED_MESH ||
            way % SCHED_HIER == SCHED_RDH) &&
           nodes > 1;
}

static void sweep(enum ranks_kind kind, struct shape sh)
{
    uint64_t salt = case_mix(seed + sh.nodes * 16 + sh.per_node + kind);
    struct tally t = {0};
    char name[64];
    unsigned n = 0;
    const char *text = ranks_run_nodes(kind, sh.nodes, sh.per_node, NULL, 20000, every_way, &salt);

    memcpy(&t, ranks_shared_last(), sizeof(t));
    if (text)
        fail_msg("%u nodes of %u ranks, seed %llu: %s", sh.nodes, sh.per_node,
                 (unsigned long long)seed, text);
    for (unsigned op = 0; op < SCHED_OP_COUNT; op++)
        for (unsigned way = 0; way < WAYS; way++) {
            n += t.ran[op][way];
            if (t.ran[op][way] == 0 && must_run((enum sched_op)op, way, sh.nodes, sh.per_node))
                fail_msg("%s by %s did not run on %u nodes of %u ranks",
                         sched_op_name((enum sched_op)op), way_name(way, name, sizeof(name)),
                         sh.nodes, sh.per_node);
        }
    print_message("%u nodes of %u ranks: %u operations by their algorithms\n", sh.nodes,
                  sh.per_node, n);
}

static void ways_as_threads(void **state)
{
    static const struct shape shapes[] = {{2, 1}, {3, 1}, {4, 1}, {2, 2}, {3, 2}, {2, 4}};

    for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        sweep(RANKS_THREADS, shapes[i]);
    (void)state;
}

static void ways_as_processes(void **state)
{
    static const struct shape shapes[] = {{2, 1}, {3, 1}, {4, 2}, {2, 4}};

    for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        sweep(RANKS_PROCESSES, shapes[i]);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ways_as_threads),
        cmocka_unit_test(ways_as_processes),
    };
    const char *env = getenv("OPENNRT_SEED");

    seed = env ? strtoull(env, NULL, 0) : 7;
    printf("seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
