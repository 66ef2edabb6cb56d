/* SPDX-License-Identifier: Apache-2.0 */
/* Every operation by every algorithm and variant with every type of nrt_dtype_t on ranks of one
 * node, threads and processes, against plain loops (cases.h).
 *
 *     test_coll_every [all]      OPENNRT_SEED replays what is drawn
 *
 * Small sizes; the large ones are test_large's. The ordinary run takes every way with every size,
 * types and reductions in turn; `all` takes all of their combinations. */
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
#include "ways.h"

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

/* In an emulator the numbers of ranks end at 8. */
#define RUNS (runner_emulated() ? 5 : 6)

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
                    if (!t.types[op][alg][v] &&
                        way_must_run((enum sched_op)op, alg, (enum sched_variant)v, 1, counts[i]))
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

    sweep(RANKS_THREADS, counts, runner_little_room() ? 3 : RUNS);
    (void)state;
}

static void processes(void **state)
{
    static const uint32_t counts[] = {2, 3, 4, 5, 8, 16};

    sweep(RANKS_PROCESSES, counts, RUNS);
    (void)state;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads),
        cmocka_unit_test(processes),
    };

    if (!ranks_have_emulator_room())
        return RUNNER_SKIP;
    all = argc > 1 && strcmp(argv[1], "all") == 0;
    seed = seed_take(7);
    runner_watchdog(all ? 7200 : 280);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
