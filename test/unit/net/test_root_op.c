/* SPDX-License-Identifier: Apache-2.0 */
/* Operations at the root. Failed ones are kept for members that have not entered them: as many as
 * they may be, and only as long as somebody may still come. And what becomes of one for which host
 * memory is missing. No connection, no clock: the root's callbacks are the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/fault.h"
#include "net/net_int.h"

#define WORLD 3

static struct {
    struct root_ops ops;
    bool left[WORLD], no_room[WORLD];
    unsigned told[WORLD];    /* failures */
    unsigned results[WORLD]; /* of operations */
    unsigned reports[WORLD]; /* of who is missing */
    bool may_end;            /* the job */
    NRT_STATUS ended;
    uint32_t culprit;
    char text[MSG_TEXT_MAX];
} t;

static void send_(void *arg, uint32_t rank, struct frame *f)
{
    struct err err = {0};
    struct msg m;

    (void)arg;
    assert_true(rank < WORLD && f != NULL);
    assert_int_equal(msg_parse(f->bytes, f->len, &m, &err), NRT_SUCCESS);
    if (m.type == MSG_FAIL) {
        t.told[rank]++;
        msg_text_copy(t.text, sizeof(t.text), &m.u.fail.text);
    }
    t.results[rank] += m.type == MSG_RESULT;
    t.reports[rank] += m.type == MSG_WAITING;
    frame_drop(f);
}

static void job_over(void *arg, NRT_STATUS status, uint32_t culprit, const char *text)
{
    (void)arg;
    t.ended = status;
    t.culprit = culprit;
    if (t.may_end)
        return;
    fail_msg("the job is over: status %d, rank %u: %s", status, culprit, text);
}

static bool reserve(void *arg, uint32_t rank)
{
    (void)arg;
    return !t.no_room[rank];
}

static bool idle(void *arg, uint32_t rank)
{
    (void)arg;
    (void)rank;
    return true;
}

static bool has_left(void *arg, uint32_t rank)
{
    (void)arg;
    return t.left[rank];
}

static int setup(void **state)
{
    memset(&t, 0, sizeof(t));
    t.ops = (struct root_ops){.world = WORLD,
                              .report_ns = 1000,
                              .cross_ns = 1000000,
                              .send = send_,
                              .reserve = reserve,
                              .fail = job_over,
                              .idle = idle,
                              .left = has_left};
    (void)state;
    return 0;
}

static int teardown(void **state)
{
    root_op_free_all(&t.ops);
    assert_int_equal(t.ops.failed, 0);
    (void)state;
    return 0;
}

/* A rank enters operation 0 of a group of all with so many bytes. */
static void enter(uint32_t rank, uint32_t group, uint32_t bytes, uint32_t limit_ms, uint64_t now)
{
    static const uint8_t part[64];
    struct msg_op m = {.group = group,
                       .kind = NET_OP_GATHER,
                       .limit_ms = limit_ms,
                       .part = {.p = part, .n = bytes}};

    root_op_enter(&t.ops, rank, &m, now);
}

/* Ranks 0 and 1 differ: both are told, rank 2 is awaited. */
static void fail_one(uint32_t group)
{
    enter(0, group, 8, 0, 1);
    enter(1, group, 16, 0, 1);
}

static void as_many_are_kept_as_may_be(void **state)
{
    for (uint32_t g = 0; g < ROOT_FAILED_MAX + 100; g++) {
        fail_one(g);
        assert_int_equal(t.ops.failed, g < ROOT_FAILED_MAX ? g + 1 : ROOT_FAILED_MAX);
    }
    assert_int_equal(t.told[2], 0);
    /* the newest and the oldest of those that are kept */
    enter(2, ROOT_FAILED_MAX + 99, 8, 0, 1);
    enter(2, 100, 8, 0, 1);
    assert_int_equal(t.told[2], 2);
    assert_non_null(strstr(t.text, "rank 0 gave 8 bytes, rank 1 gave 16"));
    assert_int_equal(t.ops.failed, ROOT_FAILED_MAX - 2); /* all have entered them now */
    /* one that was forgotten: its own limit ends it */
    enter(2, 99, 8, 5, 1);
    assert_int_equal(t.told[2], 2);
    root_op_report(&t.ops, 1 + 5 * NSEC_PER_MS);
    assert_int_equal(t.told[2], 3);
    assert_non_null(strstr(t.text, "not entered by ranks 0, 1 within 5 ms"));
    (void)state;
}

/* It is in the operation, whose end is no business of its any more. */
static void who_leaves_hears_nothing_of_who_is_missing(void **state)
{
    struct msg_op m = {.group = 7, .kind = NET_OP_GATHER_V, .leaves = 1};

    root_op_enter(&t.ops, 0, &m, 1);
    m.leaves = 0;
    root_op_enter(&t.ops, 1, &m, 1);
    for (uint64_t now = 1001; now < 10000; now += 1000)
        root_op_report(&t.ops, now);
    assert_int_equal(t.reports[0], 0);
    assert_true(t.reports[1] > 0);
    root_op_enter(&t.ops, 2, &m, 10000);
    assert_int_equal(t.results[1], 1);
    assert_int_equal(t.results[2], 1);
    (void)state;
}

static void nothing_is_kept_for_who_has_left(void **state)
{
    for (uint32_t g = 0; g < 10; g++)
        fail_one(g);
    assert_int_equal(t.ops.failed, 10);
    t.left[2] = true;
    root_op_left(&t.ops, 2);
    assert_int_equal(t.ops.failed, 0);
    assert_null(t.ops.head);
    /* what fails from now on is over at once */
    fail_one(10);
    assert_int_equal(t.ops.failed, 0);
    assert_int_equal(t.told[0], 11);
    (void)state;
}

/* Failures by time are bounded, too, however many come at once. */
static void many_run_out_of_time_at_once(void **state)
{
    for (uint32_t g = 0; g < ROOT_FAILED_MAX + 7; g++)
        enter(0, g, 8, 5, 1);
    assert_int_equal(t.ops.failed, 0);
    root_op_report(&t.ops, 1 + 5 * NSEC_PER_MS);
    assert_int_equal(t.told[0], ROOT_FAILED_MAX + 7);
    assert_int_equal(t.ops.failed, ROOT_FAILED_MAX);
    (void)state;
}

static unsigned results(void)
{
    return t.results[0] + t.results[1] + t.results[2];
}

/* All hear that all is well, or none: the job ends before the first is told. */
static void without_room_for_one_nobody_is_told_the_result(void **state)
{
    t.may_end = true;
    for (uint32_t poor = 0; poor < WORLD; poor++) {
        t.no_room[poor] = true;
        for (uint32_t r = 0; r < WORLD; r++)
            enter(r, poor, 8, 0, 1);
        assert_int_equal(t.ended, NRT_RESOURCE);
        assert_int_equal(results(), 0);
        t.no_room[poor] = false;
        t.ended = NRT_SUCCESS;
    }
    for (uint32_t r = 0; r < WORLD; r++)
        enter(r, WORLD, 8, 0, 1);
    assert_int_equal(t.ended, NRT_SUCCESS);
    assert_int_equal(results(), WORLD);
    (void)state;
}

/* Memory that the root lacks is the root's fault, not that of the rank that has entered. */
static void no_memory_for_an_operation_is_blamed_on_nobody_else(void **state)
{
    uint64_t count = 1;

    t.may_end = true;
    for (uint64_t nth = 1; nth <= count; nth++) {
        fault_count_start();
        if (nth > 1)
            fault_arm(FAULT_ALLOC, nth - 1);
        for (uint32_t r = 0; r < WORLD && !t.ended; r++)
            enter(r, (uint32_t)nth, 8, 0, 1);
        count = nth == 1 ? fault_count(FAULT_ALLOC) + 1 : count;
        fault_disarm();
        assert_int_equal(t.ended, nth > 1 ? NRT_RESOURCE : NRT_SUCCESS);
        assert_int_equal(t.culprit, 0);
        assert_int_equal(results(), WORLD);
        t.ended = NRT_SUCCESS;
        root_op_free_all(&t.ops);
    }
    assert_true(count > 8);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(as_many_are_kept_as_may_be, setup, teardown),
        cmocka_unit_test_setup_teardown(who_leaves_hears_nothing_of_who_is_missing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_is_kept_for_who_has_left, setup, teardown),
        cmocka_unit_test_setup_teardown(many_run_out_of_time_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(without_room_for_one_nobody_is_told_the_result, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(no_memory_for_an_operation_is_blamed_on_nobody_else, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
