/* SPDX-License-Identifier: Apache-2.0 */
/* What the groups of a job do: barriers and gathers, members that fail them, ranks as threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fault.h"
#include "net_support.h"
#include "run/run.h"
#include "runner.h"
#include "seed.h"

static uint32_t random_state;

static uint32_t random_next(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

static void random_seed(void)
{
    random_state = (uint32_t)seed_take_new();
}

/* --- operations --------------------------------------------------------------------------------
 */

static void open_groups(struct ranks *r, struct net_group **g, uint32_t id, const uint32_t *ranks,
                        uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rank = ranks != NULL ? ranks[i] : i;

        assert_int_equal(net_group_open(r->job[rank], id, ranks, n, &g[i], NULL), NRT_SUCCESS);
        assert_int_equal(net_group_size(g[i]), n);
    }
}

struct groups {
    struct net_group **g;
    uint32_t n;
};

static bool all_done(void *arg)
{
    const struct groups *s = arg;

    for (uint32_t i = 0; i < s->n; i++) {
        struct err err = {0};
        bool done;

        if (net_op_test(s->g[i], &done, &err) != NRT_SUCCESS)
            fail_msg("member %u: %s", i, err.text);
        if (!done)
            return false;
    }
    return true;
}

static uint8_t byte_of(uint32_t rank, size_t at, uint32_t round)
{
    return (uint8_t)(rank * 37 + at * 11 + at / 251 + round * 101);
}

static void gather_round(struct ranks *r, struct net_group **g, const uint32_t *ranks, uint32_t n,
                         uint32_t round)
{
    enum net_op kind = random_next() % 2 ? NET_OP_GATHER : NET_OP_GATHER_V;
    size_t most = random_next() % 4 ? random_next() % 100 : random_next() % 300000;
    size_t size[RANKS_MAX];
    struct groups s = {.g = g, .n = n};

    for (uint32_t i = 0; i < n; i++) {
        uint8_t *data = malloc(most + 1);

        size[i] = kind == NET_OP_GATHER ? most : random_next() % (most + 1);
        for (size_t k = 0; k < size[i]; k++)
            data[k] = byte_of(ranks[i], k, round);
        assert_int_equal(net_op_start(g[i], kind, data, size[i], NULL), NRT_SUCCESS);
        free(data); /* it was copied */
    }
    ranks_until(r, all_done, &s);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < n; k++) {
            size_t got;
            const uint8_t *p = net_op_part(g[i], k, &got);

            assert_int_equal(got, size[k]);
            for (size_t b = 0; b < got; b++)
                assert_int_equal(p[b], byte_of(ranks[k], b, round));
        }
    }
}

static void random_groups_gather(void **state)
{
    struct ranks r;

    random_seed();
    ranks_setup(&r, 7);
    ranks_join(&r);
    for (uint32_t id = 1; id <= 12; id++) {
        struct net_group *g[RANKS_MAX];
        uint32_t order[7], n = 1 + random_next() % 7;

        for (uint32_t i = 0; i < 7; i++)
            order[i] = i;
        for (uint32_t i = 6; i > 0; i--) {
            uint32_t k = random_next() % (i + 1), t = order[i];

            order[i] = order[k];
            order[k] = t;
        }
        open_groups(&r, g, id, order, n);
        for (uint32_t round = 0; round < 6; round++)
            gather_round(&r, g, order, n, round);
        for (uint32_t i = 0; i < n; i++)
            net_group_close(g[i]);
    }
    ranks_teardown(&r);
}

static void a_barrier_holds_until_the_last(void **state)
{
    struct net_group *g[5];
    struct ranks r;
    struct groups s = {.g = g, .n = 5};

    random_seed();
    ranks_setup(&r, 5);
    ranks_join(&r);
    open_groups(&r, g, 0, NULL, 5);
    for (int round = 0; round < 40; round++) {
        uint32_t last = random_next() % 5;

        for (uint32_t i = 0; i < 5; i++) {
            bool done;

            if (i == last)
                continue;
            assert_int_equal(net_op_start(g[i], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
            ranks_steps(&r, 3);
            assert_int_equal(net_op_test(g[i], &done, NULL), NRT_SUCCESS);
            assert_false(done);
        }
        assert_int_equal(net_op_start(g[last], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
        ranks_until(&r, all_done, &s);
    }
    ranks_teardown(&r);
}

static bool all_over(void *arg)
{
    const struct groups *s = arg;

    for (uint32_t i = 0; i < s->n; i++) {
        bool done;

        if (net_op_test(s->g[i], &done, NULL) == NRT_SUCCESS && !done)
            return false;
    }
    return true;
}

static void expect_op(struct net_group *g, NRT_STATUS want, const char *text)
{
    struct err err = {0};
    bool done;

    assert_int_equal(net_op_test(g, &done, &err), want);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
}

static void members_that_disagree_are_named(void **state)
{
    static const uint32_t straight[] = {0, 1, 2}, turned[] = {1, 0, 2};
    struct net_group *g[3], *h[3];
    struct groups s = {.g = g, .n = 3}, hs = {.g = h, .n = 3};
    struct ranks r;

    ranks_setup(&r, 3);
    ranks_join(&r);
    open_groups(&r, g, 4, NULL, 3);
    /* another size */
    assert_int_equal(net_op_start(g[0], NET_OP_GATHER, "12345678", 8, NULL), NRT_SUCCESS);
    ranks_steps(&r, 10);
    assert_int_equal(net_op_start(g[2], NET_OP_GATHER, "1234", 4, NULL), NRT_SUCCESS);
    ranks_steps(&r, 10);
    assert_int_equal(net_op_start(g[1], NET_OP_GATHER, "12345678", 8, NULL), NRT_SUCCESS);
    ranks_until(&r, all_over, &s);
    for (int i = 0; i < 3; i++)
        expect_op(g[i], NRT_INVALID,
                  "all_gather #0 of group 4: rank 0 gave 8 bytes, rank 2 gave 4");
    /* another operation */
    assert_int_equal(net_op_start(g[1], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
    ranks_steps(&r, 10);
    assert_int_equal(net_op_start(g[0], NET_OP_GATHER, "1", 1, NULL), NRT_SUCCESS);
    assert_int_equal(net_op_start(g[2], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
    ranks_until(&r, all_over, &s);
    for (int i = 0; i < 3; i++)
        expect_op(g[i], NRT_INVALID,
                  "rank 1 entered barrier #1 of group 4, rank 0 entered all_gather #1 of group 4");
    /* and the group goes on */
    for (int i = 0; i < 3; i++)
        assert_int_equal(net_op_start(g[i], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
    ranks_until(&r, all_done, &s);
    /* another order of the same ranks */
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(net_group_open(r.job[i], 5, i == 2 ? turned : straight, 3, &h[i], NULL),
                         NRT_SUCCESS);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(net_op_start(h[i], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
        ranks_steps(&r, 10);
    }
    ranks_until(&r, all_over, &hs);
    for (int i = 0; i < 3; i++)
        expect_op(h[i], NRT_INVALID, "ranks 0 and 2 name other members, or another order");
    ranks_teardown(&r);
}

static void wrong_groups_and_operations_are_refused(void **state)
{
    static const uint32_t twice[] = {0, 1, 1}, outside[] = {0, 7}, without[] = {1};
    struct net_group *g[2], *none;
    struct ranks r;

    ranks_setup(&r, 2);
    assert_int_equal(ranks_open(&r, 0, NULL), NRT_SUCCESS);
    assert_int_equal(net_group_open(r.job[0], 0, NULL, 2, &g[0], NULL), NRT_SUCCESS);
    assert_int_equal(net_op_start(g[0], NET_OP_BARRIER, NULL, 0, NULL), NRT_INVALID);
    net_group_close(g[0]);
    ranks_join(&r);
    assert_int_equal(net_group_open(r.job[0], 1, twice, 3, &none, NULL), NRT_INVALID);
    assert_int_equal(net_group_open(r.job[0], 1, outside, 2, &none, NULL), NRT_INVALID);
    assert_int_equal(net_group_open(r.job[0], 1, without, 1, &none, NULL), NRT_INVALID);
    open_groups(&r, g, 1, NULL, 2);
    assert_int_equal(net_group_open(r.job[0], 1, NULL, 2, &none, NULL), NRT_INVALID);
    assert_int_equal(net_op_start(g[0], NET_OP_BARRIER, "x", 1, NULL), NRT_INVALID);
    assert_int_equal(net_op_start(g[0], (enum net_op)9, NULL, 0, NULL), NRT_INVALID);
    assert_int_equal(net_op_start(g[0], NET_OP_GATHER, "x", (size_t)NET_PART_MAX + 1, NULL),
                     NRT_INVALID);
    assert_int_equal(net_op_start(g[0], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
    assert_int_equal(net_op_start(g[0], NET_OP_BARRIER, NULL, 0, NULL), NRT_INVALID);
    ranks_teardown(&r);
}

static void a_late_member_is_named(void **state)
{
    struct clock clock = {.ns = 1};
    struct net_group *g[4];
    struct groups s = {.g = g, .n = 4};
    struct ranks r;
    struct err err = {0};

    ranks_setup(&r, 4);
    r.cfg.now = clock_now;
    r.cfg.now_arg = &clock;
    ranks_join(&r);
    open_groups(&r, g, 0, NULL, 4);
    assert_int_equal(net_op_start(g[0], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
    assert_int_equal(net_op_start(g[2], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
    ranks_steps(&r, 10);
    clock.ns += 1000000000ull;
    ranks_steps(&r, 10);
    assert_int_equal(net_op_wait(g[2], 0, &err), NRT_TIMEOUT);
    assert_string_equal(
        err.text, "rank 2 waited 1000 ms in barrier #0 of group 0: not entered by ranks 1, 3");
    for (int i = 0; i < 12; i++) {
        clock.ns += 10000000000ull;
        ranks_steps(&r, 10);
    }
    assert_int_equal(log_tap_find(&r.tap, "Timeout waiting for RX (waited 120 sec) - retrying"), 2);
    /* A root that makes no progress is what is missing. */
    clock.ns += 10000000000ull;
    net_job_progress(r.job[2], 16);
    memset(&err, 0, sizeof(err));
    assert_int_equal(net_op_wait(g[2], 0, &err), NRT_TIMEOUT);
    assert_non_null(strstr(err.text, "rank 0 does not answer"));
    /* After the timeout it is still under way, and ends when the others come. */
    assert_int_equal(net_op_start(g[1], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
    assert_int_equal(net_op_start(g[3], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
    ranks_until(&r, all_done, &s);
    ranks_teardown(&r);
}

static void a_member_that_left_is_named(void **state)
{
    struct net_group *g[3];
    struct groups s = {.g = g, .n = 2};
    struct ranks r;
    bool joined;

    ranks_setup(&r, 3);
    ranks_join(&r);
    open_groups(&r, g, 0, NULL, 3);
    assert_int_equal(net_op_start(g[0], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
    ranks_steps(&r, 10);
    net_job_close(r.job[2]);
    r.job[2] = NULL;
    assert_int_equal(net_op_start(g[1], NET_OP_BARRIER, NULL, 0, NULL), NRT_SUCCESS);
    ranks_until(&r, all_over, &s);
    for (int i = 0; i < 2; i++)
        expect_op(g[i], NRT_FAILURE, "barrier #0 of group 0: rank 2 has left the job");
    assert_int_equal(net_job_state(r.job[1], &joined, NULL), NRT_SUCCESS);
    /* the root leaves: nothing more can be done, and no error is logged before something is */
    log_tap_clear(&r.tap);
    net_job_close(r.job[0]);
    r.job[0] = NULL;
    ranks_steps(&r, 10);
    assert_int_equal(log_tap_count(&r.tap, LOG_ERROR), 0);
    assert_int_equal(net_op_start(g[1], NET_OP_BARRIER, NULL, 0, NULL), NRT_FAILURE);
    ranks_expect_failure(&r, 1, NRT_FAILURE, "rank 0 has left the job");
    ranks_teardown(&r);
}

/* --- threads -----------------------------------------------------------------------------------
 */

#define THREADS 4
#define ROUNDS  200

struct shared {
    struct ranks r;
    _Atomic uint32_t entered;
    _Atomic bool stop;
};

struct one_rank {
    struct shared *s;
    uint32_t rank;
    const char *what;
};

static void *rank_thread(void *arg)
{
    struct one_rank *o = arg;
    struct net_job *job = o->s->r.job[o->rank];
    struct net_group *g;

    if (net_job_wait(job, NET_NO_LIMIT, NULL) != NRT_SUCCESS ||
        net_group_open(job, 9, NULL, THREADS, &g, NULL) != NRT_SUCCESS)
        return "join";
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t mine = round * THREADS + o->rank;

        o->s->entered++;
        if (net_op_start(g, NET_OP_GATHER, &mine, sizeof(mine), NULL) != NRT_SUCCESS ||
            net_op_wait(g, NET_NO_LIMIT, NULL) != NRT_SUCCESS)
            return "gather";
        if (o->s->entered < (round + 1) * THREADS)
            return "left before the last had entered";
        for (uint32_t i = 0; i < THREADS; i++) {
            size_t size;
            const void *p = net_op_part(g, i, &size);
            uint32_t want = round * THREADS + i;

            if (size != sizeof(want) || memcmp(p, &want, size) != 0)
                return "a wrong part";
        }
    }
    return NULL;
}

/* Takes away from the waiters what they wait for; they must wake all the same. */
static void *proxy_thread(void *arg)
{
    struct shared *s = arg;

    while (!s->stop) {
        for (uint32_t i = 0; i < THREADS; i++)
            net_job_progress(s->r.job[i], 4);
    }
    return NULL;
}

static void ranks_as_threads(void **state)
{
    for (int with_proxy = 0; with_proxy < 2; with_proxy++) {
        static struct shared s;
        struct one_rank o[THREADS];
        pthread_t t[THREADS], proxy;

        ranks_setup(&s.r, THREADS);
        s.entered = 0;
        s.stop = false;
        for (uint32_t i = 0; i < THREADS; i++)
            assert_int_equal(ranks_open(&s.r, i, NULL), NRT_SUCCESS);
        if (with_proxy)
            assert_int_equal(run_thread_start(&proxy, proxy_thread, &s, "proxy", NULL),
                             NRT_SUCCESS);
        for (uint32_t i = 0; i < THREADS; i++) {
            o[i] = (struct one_rank){.s = &s, .rank = i};
            assert_int_equal(run_thread_start(&t[i], rank_thread, &o[i], "rank", NULL),
                             NRT_SUCCESS);
        }
        for (uint32_t i = 0; i < THREADS; i++) {
            void *why;

            pthread_join(t[i], &why);
            if (why != NULL)
                fail_msg("rank %u: %s", i, (const char *)why);
        }
        s.stop = true;
        if (with_proxy)
            pthread_join(proxy, NULL);
        ranks_teardown(&s.r);
    }
}

struct waiter {
    struct net_group *g;
    NRT_STATUS st;
};

static void *wait_thread(void *arg)
{
    struct waiter *w = arg;

    w->st = net_op_start(w->g, NET_OP_BARRIER, NULL, 0, NULL);
    if (w->st == NRT_SUCCESS)
        w->st = net_op_wait(w->g, NET_NO_LIMIT, NULL);
    return NULL;
}

/* Several threads wait in one job, each for a group of its own, which end in any order. */
static void many_waiters_in_one_job(void **state)
{
    enum { N = 6 };
    struct net_group *mine[N], *theirs[N];
    struct waiter w[N];
    pthread_t t[N];
    struct ranks r;

    random_seed();
    ranks_setup(&r, 2);
    ranks_join(&r);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(net_group_open(r.job[1], i, NULL, 2, &mine[i], NULL), NRT_SUCCESS);
        assert_int_equal(net_group_open(r.job[0], i, NULL, 2, &theirs[i], NULL), NRT_SUCCESS);
    }
    for (int round = 0; round < 50; round++) {
        struct groups s = {.g = theirs, .n = N};
        uint32_t first = random_next() % N;

        for (uint32_t i = 0; i < N; i++) {
            w[i] = (struct waiter){.g = mine[i]};
            assert_int_equal(run_thread_start(&t[i], wait_thread, &w[i], "w", NULL), NRT_SUCCESS);
        }
        for (uint32_t i = 0; i < N; i++)
            assert_int_equal(net_op_start(theirs[(first + i) % N], NET_OP_BARRIER, NULL, 0, NULL),
                             NRT_SUCCESS);
        while (!all_done(&s))
            net_job_progress(r.job[0], 16);
        for (uint32_t i = 0; i < N; i++) {
            pthread_join(t[i], NULL);
            assert_int_equal(w[i].st, NRT_SUCCESS);
        }
    }
    ranks_teardown(&r);
}

/* --- without memory ----------------------------------------------------------------------------
 */

/* Whether both have the result, or know that there is none. */
static bool both_over(void *arg)
{
    const struct groups *s = arg;
    unsigned over = 0;

    for (uint32_t i = 0; i < s->n; i++) {
        bool done;

        over += net_op_test(s->g[i], &done, NULL) != NRT_SUCCESS || done;
    }
    return over == s->n;
}

/* Two ranks gather; once both have entered, the nth allocation fails, or all from there on. Returns
 * how many there were. What the log must not say, whoever it is that lacks memory, is that it is a
 * rank's fault, or a stranger's. */
static uint64_t gather_without_memory(uint64_t nth, bool all, unsigned *ret_read,
                                      unsigned *ret_untold)
{
    static const uint8_t data[300000];
    const struct fault_chance always = {.of32 = FAULT_ALWAYS};
    struct net_group *g[2];
    struct groups s = {.g = g, .n = 2};
    uint64_t count;
    unsigned untold;
    struct ranks r;

    ranks_setup(&r, 2);
    ranks_join(&r);
    open_groups(&r, g, 1, NULL, 2);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(net_op_start(g[i], NET_OP_GATHER, data, sizeof(data), NULL), NRT_SUCCESS);
    if (nth == 0)
        fault_count_start();
    else if (all)
        fault_arm_many(FAULT_ALLOC, nth, 0, &always);
    else
        fault_arm(FAULT_ALLOC, nth);
    ranks_until(&r, both_over, &s);
    count = nth == 0 ? fault_count(FAULT_ALLOC) : 0;
    fault_disarm();
    assert_int_equal(log_tap_find(&r.tap, "): out of memory"), 0);
    assert_int_equal(log_tap_find(&r.tap, "none of this job"), 0);
    *ret_read += log_tap_find(&r.tap, "the root is out of memory for a message of rank ") > 0;
    untold = log_tap_find(&r.tap, "there is no memory to tell all ranks");
    assert_true(untold <= 1);
    *ret_untold += untold;
    ranks_teardown(&r);
    return count;
}

static void the_root_says_that_it_lacks_memory(void **state)
{
    unsigned read = 0, untold = 0;
    uint64_t hits = gather_without_memory(0, false, &read, &untold);

    assert_true(hits > 2 && read == 0 && untold == 0);
    for (uint64_t nth = 1; nth <= hits; nth++) {
        gather_without_memory(nth, false, &read, &untold);
        gather_without_memory(nth, true, &read, &untold);
    }
    print_message("%u allocations: %u for messages of ranks, %u times somebody was not told\n",
                  (unsigned)hits, read, untold);
    assert_true(read > 0 && untold > 0);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_groups_gather),
        cmocka_unit_test(a_barrier_holds_until_the_last),
        cmocka_unit_test(members_that_disagree_are_named),
        cmocka_unit_test(wrong_groups_and_operations_are_refused),
        cmocka_unit_test(a_late_member_is_named),
        cmocka_unit_test(a_member_that_left_is_named),
        cmocka_unit_test(the_root_says_that_it_lacks_memory),
        cmocka_unit_test(ranks_as_threads),
        cmocka_unit_test(many_waiters_in_one_job),
    };

    runner_watchdog(240);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
