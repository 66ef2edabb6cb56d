/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of a group that must not take for ever: with a limit, entered crosswise by ranks that
 * wait for each other, left by a member, skipped by one. The clock is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "net_support.h"
#include "proves.h"
#include "runner.h"

#define MS UINT64_C(1000000)

static struct {
    struct ranks r;
    struct clock clock;
    struct net_group *all[4];  /* group 0: the world */
    struct net_group *pair[4]; /* group 7: ranks 1, 2 */
} t;

static int setup(void **state)
{
    static const uint32_t pair[] = {1, 2};

    memset(&t, 0, sizeof(t));
    t.clock.ns = 1;
    ranks_setup(&t.r, 4);
    t.r.cfg.now = clock_now;
    t.r.cfg.now_arg = &t.clock;
    t.r.cfg.cross_ms = 5000;
    ranks_join(&t.r);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(net_group_open(t.r.job[i], 0, NULL, 4, &t.all[i], NULL), NRT_SUCCESS);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(net_group_open(t.r.job[pair[i]], 7, pair, 2, &t.pair[pair[i]], NULL),
                         NRT_SUCCESS);
    (void)state;
    return 0;
}

static int teardown(void **state)
{
    ranks_teardown(&t.r);
    (void)state;
    return 0;
}

static void pass_ms(uint64_t ms)
{
    t.clock.ns += ms * MS;
    ranks_steps(&t.r, 10);
}

static void enter(struct net_group *g, const char *call, uint32_t limit_ms, bool leaves)
{
    struct net_op_terms terms = {.call = call, .limit_ms = limit_ms, .leaves = leaves};

    assert_int_equal(net_op_enter(g, NET_OP_GATHER_V, "x", 1, &terms, NULL), NRT_SUCCESS);
    ranks_steps(&t.r, 10);
}

static void expect_under_way(struct net_group *g)
{
    bool done;

    assert_int_equal(net_op_test(g, &done, NULL), NRT_SUCCESS);
    assert_false(done);
}

static bool is_over(void *arg)
{
    bool done;

    return net_op_test(arg, &done, NULL) != NRT_SUCCESS || done;
}

static void expect_end(struct net_group *g, NRT_STATUS want, const char *text)
{
    struct err err = {0};
    bool done;

    ranks_until(&t.r, is_over, g);
    assert_int_equal(net_op_test(g, &done, &err), want);
    if (text && !strstr(err.text, text))
        fail_msg("\"%s\" instead of \"%s\"", err.text, text);
}

static void a_limit_ends_it_for_everybody(void **state)
{
    enter(t.all[0], "load", 0, false);
    pass_ms(1000);
    enter(t.all[2], "load", 3000, false); /* counts from the first one on */
    enter(t.all[3], "load", 9000, false);
    pass_ms(1900);
    expect_under_way(t.all[2]);
    pass_ms(200);
    for (unsigned i = 0; i < 4; i++)
        if (i != 1)
            expect_end(t.all[i], NRT_TIMEOUT,
                       "load, all_gather #0 of group 0: not entered by ranks 1 within 3000 ms");
    enter(t.all[1], "load", 0, false); /* who comes later learns it, too */
    expect_end(t.all[1], NRT_TIMEOUT, "not entered by ranks 1 within 3000 ms");
    for (unsigned i = 0; i < 4; i++) /* and the next one is everybody's next */
        enter(t.all[i], "load", 3000, false);
    for (unsigned i = 0; i < 4; i++)
        expect_end(t.all[i], NRT_SUCCESS, NULL);
    (void)state;
}

static void without_a_limit_it_goes_on(void **state)
{
    enter(t.all[0], "load", 0, false);
    enter(t.all[1], "load", 0, false);
    enter(t.all[2], "load", 0, false);
    for (unsigned i = 0; i < 100; i++)
        pass_ms(100000);
    expect_under_way(t.all[0]);
    PROVES("inter-004");
    enter(t.all[3], "load", 0, false);
    expect_end(t.all[0], NRT_SUCCESS, NULL);
    (void)state;
}

static void two_calls_in_opposite_order(void **state)
{
    enter(t.all[0], "nrt_barrier", 0, false);
    enter(t.all[1], "nrt_barrier", 0, false);
    enter(t.all[3], "nrt_barrier", 0, false);
    pass_ms(60000); /* nobody is stuck: rank 2 may be anywhere */
    expect_under_way(t.all[0]);
    enter(t.pair[2], "load", 0, false);
    pass_ms(300);
    pass_ms(4600);
    expect_under_way(t.all[1]);
    pass_ms(600);
    expect_end(t.pair[2], NRT_TIMEOUT, "rank 2 waits in load for rank 1, rank 1 waits in");
    for (unsigned i = 0; i < 4; i++)
        if (i != 2)
            expect_end(t.all[i], NRT_TIMEOUT, "in nrt_barrier for rank 2, rank 2 waits in load");
    enter(t.pair[1], "load", 0, false); /* what both do next, if they go on */
    enter(t.all[2], "nrt_barrier", 0, false);
    expect_end(t.pair[1], NRT_TIMEOUT, "load for rank 1");
    expect_end(t.all[2], NRT_TIMEOUT, "nrt_barrier for rank 2");
    enter(t.pair[1], "load", 0, false);
    enter(t.pair[2], "load", 0, false);
    expect_end(t.pair[1], NRT_SUCCESS, NULL);
    expect_end(t.pair[2], NRT_SUCCESS, NULL);
    (void)state;
}

/* Rank 2 told the pair something and went on: it waits in the barrier only. */
static void who_leaves_does_not_wait(void **state)
{
    enter(t.pair[2], "load", 0, true);
    enter(t.all[0], "nrt_barrier", 0, false);
    enter(t.all[2], "nrt_barrier", 0, false);
    enter(t.all[3], "nrt_barrier", 0, false);
    pass_ms(60000);
    expect_under_way(t.all[0]);
    enter(t.pair[1], "load", 0, false);
    expect_end(t.pair[1], NRT_SUCCESS, NULL);
    enter(t.all[1], "nrt_barrier", 0, false);
    expect_end(t.all[2], NRT_SUCCESS, NULL);
    (void)state;
}

static void who_cannot_enter_skips(void **state)
{
    enter(t.pair[1], "load", 1000, false);
    net_op_skip(t.pair[2]);
    pass_ms(1100);
    expect_end(t.pair[1], NRT_TIMEOUT, "not entered by ranks 2");
    enter(t.pair[1], "load", 1000, false);
    enter(t.pair[2], "load", 1000, false);
    expect_end(t.pair[1], NRT_SUCCESS, NULL);
    expect_end(t.pair[2], NRT_SUCCESS, NULL);
    (void)state;
}

static void long_names_are_cut(void **state)
{
    char name[100];

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    enter(t.pair[1], name, 1000, false);
    pass_ms(1100);
    name[47] = '\0';
    expect_end(t.pair[1], NRT_TIMEOUT, name);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_limit_ends_it_for_everybody, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_limit_it_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(two_calls_in_opposite_order, setup, teardown),
        cmocka_unit_test_setup_teardown(who_leaves_does_not_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(who_cannot_enter_skips, setup, teardown),
        cmocka_unit_test_setup_teardown(long_names_are_cut, setup, teardown),
    };

    runner_watchdog(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
