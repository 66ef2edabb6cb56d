/* SPDX-License-Identifier: Apache-2.0 */
/* Executions of one model with one pair of sets that are under way at once, more of them than a
 * model keeps bindings for: each has all that the sets hold, and none of what they held before. */
#include <setjmp.h>
#include <stdarg.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "async_held.h"
#include "runner.h"

#define MANY 18

static struct held held;

struct caller {
    pthread_t thread;
    NRT_STATUS status;
};

static void *executes(void *arg)
{
    struct caller *c = arg;

    c->status = nrt_execute(held.m, held.io.in, held.io.out);
    return NULL;
}

/* MANY executions; none goes on before all have begun. */
static void execute_at_once(void)
{
    struct caller c[MANY];

    held_close(&held);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(pthread_create(&c[i].thread, NULL, executes, &c[i]), 0);
    while (__atomic_load_n(&held.gate.reached, __ATOMIC_ACQUIRE) < MANY)
        sched_yield();
    held_open(&held);
    for (unsigned i = 0; i < MANY; i++) {
        pthread_join(c[i].thread, NULL);
        assert_int_equal(c[i].status, NRT_SUCCESS);
    }
    held_none(&held);
}

static void completed(nrt_tensor_t *t, uint64_t times)
{
    assert_ok(nrt_tensor_check_output_completion(t, 0, times));
    assert_int_equal(nrt_tensor_check_output_completion(t, 0, times + 1), NRT_TIMEOUT);
}

/* y = -(x + k); the first two floats of x are the gate's address. */
static void y_is(nrt_tensor_t *y, float x, float k)
{
    for (unsigned i = 2; i < 16; i++)
        assert_true(get_float(y, i) == -(x + k));
}

static void fill(nrt_tensor_t *t, float value)
{
    float v[16];

    for (unsigned i = 0; i < 16; i++)
        v[i] = value;
    put_floats(t, v, 16);
}

static void they_follow_the_sets(void **state)
{
    static float mine[16];
    nrt_tensor_t *x, *k, *first, *second, *other;

    held_init(&held, CPU_NODE, 0);
    x = held.io.t[0];
    k = held.io.t[1];
    first = held.io.t[2];
    fill(x, 3);
    fill(k, 4);
    execute_at_once();
    y_is(first, 3, 4);
    completed(first, MANY);

    /* another output of that name */
    assert_ok(nrt_tensor_allocate(VIRT, 0, 64, "y", &second));
    assert_ok(nrt_add_tensor_to_tensor_set(held.io.out, "y", second));
    fill(k, 5);
    execute_at_once();
    y_is(second, 3, 5);
    completed(second, MANY);
    y_is(first, 3, 4);
    completed(first, MANY);

    /* other storage of an input */
    for (unsigned i = 0; i < 16; i++)
        mine[i] = 6;
    assert_ok(nrt_tensor_attach_buffer(k, mine, sizeof(mine)));
    execute_at_once();
    y_is(second, 3, 6);
    completed(second, 2 * MANY);

    /* an input freed, and another one in its place */
    nrt_tensor_free(&k);
    held.io.t[1] = NULL;
    assert_int_equal(nrt_execute(held.m, held.io.in, held.io.out), NRT_EXEC_BAD_INPUT);
    api_log_clear();
    assert_ok(nrt_tensor_allocate(VIRT, 0, 64, "k", &other));
    assert_ok(nrt_add_tensor_to_tensor_set(held.io.in, "k", other));
    fill(other, 7);
    execute_at_once();
    y_is(second, 3, 7);
    completed(second, 3 * MANY);
    completed(first, MANY);

    nrt_tensor_free(&other);
    nrt_tensor_free(&second);
    held_fini(&held);
}

/* One that is under way keeps what it began with, whatever becomes of the sets meanwhile. */
static void one_under_way_keeps_its_tensors(void **state)
{
    nrt_tensor_t *x, *y;
    struct caller c;

    held_init(&held, CPU_NODE, 0);
    fill(held.io.t[0], 3);
    fill(held.io.t[1], 4);
    held_none(&held);
    assert_ok(nrt_execute(held.m, held.io.in, held.io.out)); /* bound: the next one finds it */
    held_close(&held);
    assert_int_equal(pthread_create(&c.thread, NULL, executes, &c), 0);
    held_reach(&held);

    assert_ok(nrt_tensor_allocate(VIRT, 0, 64, "x", &x));
    assert_ok(nrt_tensor_allocate(VIRT, 0, 64, "y", &y));
    assert_ok(nrt_add_tensor_to_tensor_set(held.io.in, "x", x));
    assert_ok(nrt_add_tensor_to_tensor_set(held.io.out, "y", y));
    fill(x, 8);
    assert_ok(nrt_tensor_memset(x, 0, 0, 8)); /* no gate */
    for (unsigned i = 0; i < MANY; i++)
        assert_ok(nrt_execute(held.m, held.io.in, held.io.out));
    y_is(y, 8, 4);
    completed(y, MANY);
    completed(held.io.t[2], 1);

    held_open(&held);
    pthread_join(c.thread, NULL);
    assert_int_equal(c.status, NRT_SUCCESS);
    y_is(held.io.t[2], 3, 4);
    completed(held.io.t[2], 2);
    completed(y, MANY);
    nrt_tensor_free(&x);
    nrt_tensor_free(&y);
    held_fini(&held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(they_follow_the_sets),
                                       cmocka_unit_test(one_under_way_keeps_its_tensors)};

    runner_watchdog(120);
    return cmocka_run_group_tests(tests, models_setup, models_teardown);
}
