/* SPDX-License-Identifier: Apache-2.0 */
/* Every operation by every algorithm and variant with every type of nrt_dtype_t on ranks of one
 * node, threads and processes, against plain loops (cases.h).
 *
 *     test_coll_every [all]      OPENNRT_SEED replays what is drawn
 *
 * The ordinary run takes every way with every small size, types and reductions in turn; `all` takes
 * all of their combinations, and the large sizes with every way and number of ranks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cases.h"
#include "draw.h"
#include "runner.h"
#include "seed.h"

static uint64_t seed;
static bool all;

/* What ran, counted by rank 0 in the page that all ranks share. */
struct tally {
    uint16_t types[SCHED_OP_COUNT][SCHED_ALG_COUNT][SCHED_VARIANT_COUNT]; /* a bit for each */
    uint32_t cases;
};

/* ---- cases ---- */

static bool adds_up(enum sched_op op)
{
    return op == SCHED_REDUCE_SCATTER || op == SCHED_ALL_REDUCE || op == SCHED_REDUCE_SCATTER_V;
}

static struct op_case case_of(enum sched_op op, enum sched_alg alg, enum sched_variant variant,
                              uint64_t salt)
{
    return (struct op_case){.op = op,
                            .alg = alg,
                            .variant = variant,
                            .in_place = !sched_op_varies(op) && draw_mix(salt) % 2,
                            .tensors = op == SCHED_BARRIER ? 0
                                       : op < SCHED_PERMUTE
                                           ? 1 + (uint32_t)(draw_mix(salt + 1) % CASE_TENSORS)
                                           : 1,
                            .chunk_bytes = draw_mix(salt + 2) % 2 ? 4096 : 0,
                            .salt = salt};
}

/* The first wrong value that this rank has found. It goes on, since the others do. */
static _Thread_local struct err wrong;

/* *ret_ran: the algorithm has the operation, on all ranks. */
static NRT_STATUS case_try(struct rank *r, const struct op_case *c, uint64_t salt, bool *ret_ran,
                           struct err *err)
{
    struct case_kit k;
    NRT_STATUS st;

    *err = (struct err){0};
    st = case_open(r, &k, c, err);
    *ret_ran = k.s != NULL;
    for (unsigned i = 0; i < 2 && !st; i++) {
        st = case_run_once(r, &k, salt + 1000 * i, err);
        if (st != NRT_FAILURE)
            continue;
        if (!wrong.status)
            wrong = *err;
        st = NRT_SUCCESS;
    }
    case_close(&k);
    rank_memory_free(r);
    return *ret_ran ? st : NRT_SUCCESS;
}

static NRT_STATUS case_count(struct rank *r, const struct op_case *c, uint64_t salt,
                             struct err *err)
{
    struct tally *t = ranks_shared(r);
    bool ran;
    NRT_STATUS st = case_try(r, c, salt, &ran, err);

    if (ran && r->me == 0) {
        t->types[c->op][c->alg][c->variant] |= (uint16_t)(1u << (c->dtype - CASE_TYPE_FIRST));
        t->cases++;
    }
    return st;
}

/* Small sizes: none, one, seven elements, 1 KiB; of each tensor another one. */
static NRT_STATUS small_run(struct rank *r, struct op_case c, unsigned size, struct err *err)
{
    for (uint32_t t = 0; t < CASE_TENSORS; t++) {
        uint64_t counts[] = {0, 1, 7, 1024 / dtype_size(c.dtype)};

        c.counts[t] = counts[(size + t) % 4];
        if (c.op == SCHED_ALL_TO_ALL)
            c.counts[t] *= r->n;
    }
    return case_count(r, &c, c.salt, err);
}

static NRT_STATUS all_run(struct rank *r, struct op_case c, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    for (unsigned type = 0; type < CASE_TYPES && !st; type++)
        for (unsigned reduce = 0; reduce < (adds_up(c.op) ? 3 : 1) && !st; reduce++)
            for (unsigned size = 0; size < 4 && !st; size++, c.salt += 64) {
                c.dtype = (enum dtype)(CASE_TYPE_FIRST + type);
                c.reduce = (enum kernel_combine)reduce;
                if (c.reduce == KERNEL_COMBINE_SUM && !case_sum_is_exact(c.dtype, r->n))
                    continue;
                st = small_run(r, c, size, err);
            }
    return st;
}

/* The types in turn: `turn` is another one for every way and number of ranks. */
static NRT_STATUS turn_run(struct rank *r, struct op_case c, unsigned turn, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    for (unsigned size = 0; size < 4 && !st; size++, c.salt += 64) {
        c.dtype = (enum dtype)(CASE_TYPE_FIRST + (turn * 4 + size) % CASE_TYPES);
        c.reduce = (enum kernel_combine)((turn + size) % 3);
        if (!case_sum_is_exact(c.dtype, r->n))
            c.reduce = KERNEL_COMBINE_MAX;
        st = small_run(r, c, size, err);
    }
    return st;
}

static const char *every_way(struct rank *r)
{
    static _Thread_local struct err err;
    uint64_t salt = *(uint64_t *)r->arg;
    unsigned turn = (unsigned)(draw_mix(salt) % CASE_TYPES);

    for (unsigned op = 0; op < SCHED_OP_COUNT; op++)
        for (unsigned alg = 0; alg < SCHED_ALG_COUNT; alg++)
            for (unsigned variant = 0; variant < SCHED_VARIANT_COUNT; variant++, salt += 1u << 16) {
                struct op_case c = case_of((enum sched_op)op, (enum sched_alg)alg,
                                           (enum sched_variant)variant, salt);

                if (all ? all_run(r, c, &err) : turn_run(r, c, turn++, &err))
                    return err.text;
            }
    return wrong.status ? wrong.text : NULL;
}

/* ---- what must have run ---- */

/* The first n logical cores of a trn2.48xlarge: four to a chip. */
static bool must_run(enum sched_op op, enum sched_alg alg, enum sched_variant variant, uint32_t n)
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

static void sweep(enum ranks_kind kind, const uint32_t *counts, unsigned runs)
{
    uint16_t met[SCHED_OP_COUNT] = {0};

    for (unsigned i = 0; i < runs; i++) {
        uint64_t salt = draw_mix(seed + 16 * i + kind);
        const char *text = ranks_run(kind, counts[i], 120000, every_way, &salt);
        struct tally t;

        memcpy(&t, ranks_shared_last(), sizeof(t));
        if (text)
            fail_msg("%u ranks, seed %llu: %s", counts[i], (unsigned long long)seed, text);
        for (unsigned op = 0; op < SCHED_OP_COUNT; op++)
            for (unsigned alg = 0; alg < SCHED_ALG_COUNT; alg++)
                for (unsigned v = 0; v < SCHED_VARIANT_COUNT; v++) {
                    met[op] |= t.types[op][alg][v];
                    if (!t.types[op][alg][v] && must_run((enum sched_op)op, (enum sched_alg)alg,
                                                         (enum sched_variant)v, counts[i]))
                        fail_msg("%s by %s, %s, did not run on %u ranks",
                                 sched_op_name((enum sched_op)op),
                                 sched_alg_name((enum sched_alg)alg),
                                 sched_variant_name((enum sched_variant)v), counts[i]);
                }
        print_message("%u ranks: %u cases\n", counts[i], t.cases);
    }
    for (unsigned op = 0; op < SCHED_OP_COUNT; op++)
        if ((all || op <= SCHED_ALL_REDUCE) && met[op] != (1u << CASE_TYPES) - 1)
            fail_msg("%s: types %04x only", sched_op_name((enum sched_op)op), met[op]);
}

static void threads(void **state)
{
    static const uint32_t counts[] = {2, 3, 4, 5, 8, 16};

    sweep(RANKS_THREADS, counts, runner_little_room() ? 3 : 6);
    (void)state;
}

static void processes(void **state)
{
    static const uint32_t counts[] = {2, 3, 4, 5, 8, 16};

    sweep(RANKS_PROCESSES, counts, 6);
    (void)state;
}

/* ---- large sizes ---- */

struct large {
    uint64_t bytes; /* of the larger side of an operation at one rank */
    uint64_t salt;
};

/* A variable form has tables of at most 5,000 elements a block: not these sizes. */
static const char *large_body(struct rank *r)
{
    static const enum dtype types[] = {DT_FP32, DT_BF16, DT_INT64, DT_UINT8};
    static _Thread_local struct err err;
    const struct large *l = r->arg;
    uint64_t salt = l->salt;

    for (unsigned op = 0; op <= SCHED_SENDRECV; op++)
        for (unsigned alg = 0; alg < SCHED_ALG_COUNT; alg++)
            for (unsigned v = 0; v < SCHED_INLINE; v++, salt += 64) {
                struct op_case c =
                    case_of((enum sched_op)op, (enum sched_alg)alg, (enum sched_variant)v, salt);

                c.tensors = 1;
                c.chunk_bytes = 0;
                c.dtype = all ? types[draw_mix(salt + 3) % 4] : DT_FP32;
                c.counts[0] = l->bytes / dtype_size(c.dtype);
                if (op == SCHED_ALL_GATHER || op == SCHED_REDUCE_SCATTER)
                    c.counts[0] /= r->n;
                if (op == SCHED_ALL_TO_ALL)
                    c.counts[0] -= c.counts[0] % r->n;
                if (case_count(r, &c, salt, &err))
                    return err.text;
            }
    return wrong.status ? wrong.text : NULL;
}

static void large_sizes(void **state)
{
    static const struct {
        uint32_t n;
        uint64_t bytes;
        bool ordinary;
    } runs[] = {
        {2, 16u << 20, true},       {3, (1u << 20) - 4, true},   {2, (1u << 20) - 4, false},
        {3, 16u << 20, false},      {4, (1u << 20) - 4, false},  {4, 16u << 20, false},
        {5, (1u << 20) - 4, false}, {5, 16u << 20, false},       {8, (1u << 20) - 4, false},
        {8, 16u << 20, false},      {16, (1u << 20) - 4, false}, {16, 16u << 20, false},
    };

    for (unsigned i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        struct large l = {runs[i].bytes, draw_mix(seed + 200 + i)};
        struct tally t;
        const char *text;

        if (!all && !runs[i].ordinary)
            continue;
        text = ranks_run(RANKS_PROCESSES, runs[i].n, 120000, large_body, &l);
        memcpy(&t, ranks_shared_last(), sizeof(t));
        if (text)
            fail_msg("%u ranks, %llu bytes, seed %llu: %s", runs[i].n,
                     (unsigned long long)runs[i].bytes, (unsigned long long)seed, text);
        assert_true(t.types[SCHED_ALL_REDUCE][SCHED_RING][SCHED_STAGED] &&
                    t.types[SCHED_ALL_REDUCE][SCHED_MESH][SCHED_DIRECT]);
        print_message("%u ranks, %llu bytes: %u cases\n", runs[i].n,
                      (unsigned long long)runs[i].bytes, t.cases);
    }
    (void)state;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads),
        cmocka_unit_test(processes),
        cmocka_unit_test(large_sizes),
    };

    if (runner_emulated()) {
        printf("NOT RUN: the emulator keeps a gigabyte of tables for every HBM that a rank maps\n");
        return RUNNER_SKIP;
    }
    all = argc > 1 && strcmp(argv[1], "all") == 0;
    seed = seed_take(7);
    runner_watchdog(all ? 7200 : 280);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
