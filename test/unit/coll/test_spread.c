/* SPDX-License-Identifier: Apache-2.0 */
/* Where ranks that wait go: from one CPU to another that has two fewer, until no CPU has; and the
 * threads that run ranks have the CPUs that they had. The rule is held against a search of all
 * CPUs, and carried out for any distribution of ranks. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coll/coll_int.h"
#include "cases.h"
#include "draw.h"
#include "ranks.h"
#include "seed.h"

#define CASES      300
#define RANKS_MOST 64u
#define RANKS      4
#define OPERATIONS 500

/* ---- the rule ---- */

static bool may(const struct run_cpus *cpus, uint32_t cpu)
{
    return cpus->bits[cpu / 64] >> cpu % 64 & 1;
}

static uint16_t least(const uint16_t *count, const struct run_cpus *cpus)
{
    uint16_t n = UINT16_MAX;

    for (uint32_t i = 0; i < RUN_CPUS_MAX; i++)
        if (may(cpus, i) && count[i] < n)
            n = count[i];
    return n;
}

static uint16_t most(const uint16_t *count)
{
    uint16_t n = 0;

    for (uint32_t i = 0; i < RUN_CPUS_MAX; i++)
        if (count[i] > n)
            n = count[i];
    return n;
}

static uint32_t drawn(uint64_t *state)
{
    return (uint32_t)(draw_mix(++*state) >> 32);
}

/* Ranks anywhere on some CPUs go one after the other, each as the rule says for its CPU. */
static void settle(uint64_t seed)
{
    uint32_t cpus[RANKS_MOST], at[RANKS_MOST], n = 1 + drawn(&seed) % RANKS_MOST,
                                               some = 1 + drawn(&seed) % RANKS_MOST, moves = 0;
    uint16_t count[RUN_CPUS_MAX] = {0};
    struct run_cpus allowed = {{0}};

    for (uint32_t i = 0; i < some; i++) {
        cpus[i] = drawn(&seed) % RUN_CPUS_MAX;
        allowed.bits[cpus[i] / 64] |= UINT64_C(1) << cpus[i] % 64;
    }
    for (uint32_t r = 0; r < n; r++) {
        at[r] = cpus[drawn(&seed) % some];
        count[at[r]]++;
    }
    for (uint32_t r = 0, quiet = 0; quiet < n; r = (r + 1) % n) {
        uint32_t to = coll_spread_to(count, at[r], &allowed);
        uint16_t fewest = least(count, &allowed);

        if (count[at[r]] < fewest + 2) {
            assert_int_equal(to, COLL_STAY);
            quiet++;
            continue;
        }
        assert_true(to < RUN_CPUS_MAX && may(&allowed, to));
        assert_int_equal(count[to], fewest);
        count[at[r]]--;
        count[at[r] = to]++;
        quiet = 0;
        assert_true(++moves <= n); /* none goes twice */
    }
    assert_true(most(count) <= least(count, &allowed) + 1);
}

static void ranks_settle(void **state)
{
    uint64_t seed = seed_take_new();

    for (unsigned i = 0; i < CASES; i++)
        settle(seed + (uint64_t)i * 1000003);
    (void)state;
}

/* A CPU that the thread may not use attracts nobody. */
static void only_where_it_may(void **state)
{
    uint16_t count[RUN_CPUS_MAX] = {[5] = 9, [6] = 8};
    struct run_cpus allowed = {{UINT64_C(3) << 5}};

    assert_int_equal(coll_spread_to(count, 5, &allowed), COLL_STAY);
    count[6] = 7;
    assert_int_equal(coll_spread_to(count, 5, &allowed), 6);
    (void)state;
}

/* ---- the threads ---- */

static const char *body(struct rank *r)
{
    const struct op_case c = {.op = SCHED_ALL_REDUCE,
                              .alg = SCHED_MESH_ONE,
                              .dtype = DT_FP32,
                              .reduce = KERNEL_COMBINE_SUM,
                              .tensors = 1,
                              .counts = {4},
                              .tuned = true};
    cpu_set_t before, after;
    struct case_kit k;
    struct err err = {0};
    uint32_t cpu;

    if (case_open(r, &k, &c, &err))
        return "no plan";
    if (sched_getaffinity(0, sizeof(before), &before) != 0)
        return "no mask";
    case_fill(r, &k, 1);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        if (coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err) || coll_wait(r->comm, &err))
            return "failed";
        for (unsigned n = 0; n < 4; n++) /* what a rank that waits does, whatever the host */
            coll_yield(r->comm);
    }
    ranks_barrier(r);
    if (!case_check(r, &k, 1, &err))
        return "a wrong sum";
    case_close(&k);
    if (sched_getaffinity(0, sizeof(after), &after) != 0 || !CPU_EQUAL(&before, &after))
        return "another mask";
    cpu = atomic_load(&r->comm->peers[r->comm->me].area->publish.cpu);
    return cpu > 0 && cpu <= CPU_SETSIZE && CPU_ISSET(cpu - 1, &before) ? NULL
                                                                        : "a CPU out of the mask";
}

static void masks_stay(void **state)
{
    const char *text = ranks_run(RANKS_PROCESSES, RANKS, 90000, body, NULL);

    if (!text)
        text = ranks_run(RANKS_THREADS, RANKS, 90000, body, NULL);
    if (text)
        fail_msg("%s", text);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_settle),
        cmocka_unit_test(only_where_it_may),
        cmocka_unit_test(masks_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
