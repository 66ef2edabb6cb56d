/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives on shared HBM, ranks as threads and as processes, against plain loops (cases.h); and
 * how they end when a rank dies, does not come or does something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "cases.h"
#include "coll/coll_int.h"
#include "draw.h"
#include "proves.h"
#include "ranks.h"
#include "runner.h"
#include "seed.h"

static uint64_t seed;

struct sweep {
    uint64_t salt;
    unsigned cases;
};

static const char *sweep_body(struct rank *r)
{
    static _Thread_local struct err err;
    const struct sweep *s = r->arg;
    NRT_STATUS st = NRT_SUCCESS;

    for (unsigned i = 0; i < s->cases && !st; i++)
        st = case_run(r, s->salt + i * 64, &err);
    return st ? err.text : NULL;
}

static void sweep(enum ranks_kind kind, const uint32_t *counts, unsigned n, unsigned cases)
{
    for (unsigned i = 0; i < n; i++) {
        struct sweep s = {draw_mix(seed + i + kind), cases};
        const char *text = ranks_run(kind, counts[i], 120000, sweep_body, &s);

        if (text)
            fail_msg("%u ranks, seed %llu: %s", counts[i], (unsigned long long)seed, text);
    }
}

/* Every rank maps the HBMs it touches for itself. */
static void threads(void **state)
{
    static const uint32_t counts[] = {2, 3, 4, 1, 5, 8, 16};

    sweep(RANKS_THREADS, counts, runner_little_room() ? 3 : 7, runner_rounds(60));
    (void)state;
}

static void processes(void **state)
{
    static const uint32_t counts[] = {2, 3, 4, 8, 16};

    sweep(RANKS_PROCESSES, counts, 5, runner_rounds(60));
    (void)state;
}

static void many_ranks_on_few_cpus(void **state)
{
    static const uint32_t many = 64, fewer = 8; /* an emulator keeps tables for each of them */

    sweep(RANKS_PROCESSES, runner_emulated() ? &fewer : &many, 1, 12);
    (void)state;
}

/* ---- failures ---- */

static const struct op_case ring_reduce = {
    .op = SCHED_ALL_REDUCE, .alg = SCHED_RING, .dtype = DT_FP32, .tensors = 1, .counts = {5000}};

/* Rank 1 is killed after a few operations, somewhere in one: all others end with the documented
 * status and name it. */
static const char *killed_body(struct rank *r)
{
    struct case_kit k;
    struct err err = {0};

    if (case_open(r, &k, &ring_reduce, &err))
        return "the plan was not made";
    for (unsigned i = 0; i < 1000000; i++) {
        if (coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
            break;
        if (r->me == 1 && i == 20) {
            (void)coll_progress(r->comm, 3);
            ranks_die(r);
        }
        if (coll_wait(r->comm, &err))
            break;
    }
    case_close(&k);
    if (err.status != NRT_EXEC_HW_ERR_COLLECTIVES)
        return "not the documented status";
    if (!strstr(err.text, "rank 1"))
        return "the message does not name the dead rank";
    return NULL;
}

static void killed_rank(void **state)
{
    for (uint32_t n = 2; n <= 5; n += 3) {
        const char *text = ranks_run(RANKS_PROCESSES, n, 120000, killed_body, NULL);

        if (text)
            fail_msg("%s", text);
    }
    (void)state;
}

/* Who gave up, in which operation, where in it, waiting for which counter of whom, and what the
 * absent one did last; who was told before it gave up itself says where it was and why. */
static bool stuck_text(const char *text)
{
    static const char op[] = "operation 1 (all_reduce by ring), rank ";
    const char *at = strstr(text, op);

    if (!at || !strstr(at, " in \"") || !strstr(at, "\" after "))
        return false;
    if (strstr(text, "nothing moves any more: ") == text)
        return strstr(at, " steps waits for ") &&
               strstr(at, "; rank 2 has not begun any operation");
    return at == text && strstr(at, " steps, was stopped: rank 2 failed");
}

static const char *absent_body(struct rank *r)
{
    struct case_kit k;
    const char *text = NULL;
    struct err err = {0};

    if (case_open(r, &k, &ring_reduce, &err))
        return "the plan was not made";
    if (r->me != 2 && coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
        text = "the operation did not begin";
    ranks_barrier(r); /* who has not begun is absent, too */
    ranks_limit(r, 5);
    ranks_out(r, 2);
    if (r->me != 2 && !text) {
        if (coll_wait(r->comm, &err) != NRT_EXEC_HW_ERR_COLLECTIVES)
            text = "no failure without rank 2";
        else if (!stuck_text(err.text))
            text = "the message does not say where which rank waits for whom";
    }
    ranks_out(r, r->me);
    ranks_barrier(r); /* rank 2 lives until the others have given up */
    case_close(&k);
    return text;
}

static void absent_rank(void **state)
{
    const char *text = ranks_run(RANKS_THREADS, 4, 120000, absent_body, NULL);

    if (text)
        fail_msg("%s", text);
    (void)state;
}

/* The plans are made alike; at run time rank 0 runs the other one. */
static const char *mismatch_body(struct rank *r)
{
    struct op_case other = ring_reduce;
    struct case_kit a, b, *mine = r->me == 0 ? &b : &a;
    struct err err = {0};

    other.counts[0] = 4000;
    if (case_open(r, &a, &ring_reduce, &err) || case_open(r, &b, &other, &err))
        return "the plans were not made";
    if (!coll_begin(mine->plan, mine->ts.in_addr, mine->ts.out_addr, &err))
        (void)coll_wait(r->comm, &err);
    ranks_barrier(r);
    case_close(&a);
    case_close(&b);
    if (err.status != NRT_EXEC_HW_ERR_COLLECTIVES)
        return "the difference was not found";
    if (!strstr(err.text, " of the communicator is all_reduce (sum) by ring (staged) of ") &&
        !strstr(err.text, ", was stopped: rank "))
        return "the message does not say who differs, or where the rank was";
    return NULL;
}

static void different_operations(void **state)
{
    const char *text = ranks_run(RANKS_THREADS, 3, 120000, mismatch_body, NULL);

    if (text)
        fail_msg("%s", text);
    (void)state;
}

static const char *plan_mismatch_body(struct rank *r)
{
    static const struct op_case cases[] = {
        {SCHED_ALL_REDUCE, SCHED_RING, .dtype = DT_FP32, .tensors = 1, .counts = {5000}},
        {SCHED_PERMUTE, SCHED_PAIRS, .dtype = DT_FP32, .tensors = 1, .counts = {50}},
        {SCHED_ALL_TO_ALL_V, SCHED_MESH, .dtype = DT_FP32, .tensors = 1, .counts = {50}},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct op_case c = cases[i];
        struct case_kit k;
        struct err err = {0};

        c.counts[0] += i == 0 && r->me == 1;
        c.salt = i > 0 && r->me == 1; /* other pairs, another table */
        if (case_open(r, &k, &c, &err) != NRT_INVALID || !strstr(err.text, "they differ in"))
            return "plans that differ were accepted";
        if (i == 0 && (!strstr(err.text, "of 20000 bytes") || !strstr(err.text, "of 20004 bytes")))
            return "a rank does not say what each side plans";
        case_close(&k);
    }
    return NULL;
}

static void different_plans(void **state)
{
    const char *text = ranks_run(RANKS_THREADS, 3, 120000, plan_mismatch_body, NULL);

    if (text)
        fail_msg("%s", text);
    (void)state;
}

/* A body that returns before the others have met it fails the run, and holds up nobody. */
static const char *leaves_early(struct rank *r)
{
    if (r->me == 1)
        return *(const char *const *)r->arg;
    ranks_barrier(r);
    return "it was met";
}

static void a_rank_that_is_over_holds_up_nobody(void **state)
{
    for (int kind = RANKS_THREADS; kind <= RANKS_PROCESSES; kind++) {
        const char *why = "its own reason";
        const char *text = ranks_run((enum ranks_kind)kind, 3, 3600000, leaves_early, &why);

        assert_string_equal(text, "rank 1: its own reason");
        why = NULL;
        text = ranks_run((enum ranks_kind)kind, 3, 3600000, leaves_early, &why);
        assert_non_null(text);
        assert_non_null(strstr(text, " waits at the table for a rank that is over"));
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads),
        cmocka_unit_test(processes),
        cmocka_unit_test(killed_rank),
        cmocka_unit_test(absent_rank),
        cmocka_unit_test(different_operations),
        cmocka_unit_test(different_plans),
        cmocka_unit_test(many_ranks_on_few_cpus),
        cmocka_unit_test(a_rank_that_is_over_holds_up_nobody),
    };

    if (!ranks_have_emulator_room())
        return RUNNER_SKIP;
    seed = seed_take(7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
