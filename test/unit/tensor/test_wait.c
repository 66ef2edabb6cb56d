/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for completions of a tensor is counted while it waits, however it ends, and only then
 * do completions post: an execution whose outputs nobody waits for makes no system call. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "run/run.h"
#include "tensor/tensor.h"

static bool alive = true;

static bool live(void *arg)
{
    return alive;
}

static void warn(void *arg)
{
}

static const struct tensor_wait_ops ops = {.live = live, .warn = warn};

static uint32_t waiters(struct tensor *t)
{
    return __atomic_load_n(&t->waiters, __ATOMIC_SEQ_CST);
}

static void *wait_thread(void *arg)
{
    return tensor_wait(arg, -1, 1, &ops) == NRT_SUCCESS ? arg : NULL;
}

static void completions_post_to_waiters_only(void **state)
{
    struct tensor t = {0};
    uint32_t before = run_word_load(&t.done);
    pthread_t thread[2];
    void *ended;

    tensor_complete(&t);
    assert_int_equal(run_word_load(&t.done), before);
    tensor_reset(&t);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, wait_thread, &t), 0);
    while (waiters(&t) != 2)
        sched_yield();
    tensor_complete(&t);
    assert_int_not_equal(run_word_load(&t.done), before);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(thread[i], &ended);
        assert_ptr_equal(ended, &t);
    }
    assert_int_equal(waiters(&t), 0);
    before = run_word_load(&t.done);
    tensor_complete(&t);
    assert_int_equal(run_word_load(&t.done), before);
    (void)state;
}

static void whoever_gives_up_is_not_counted_any_more(void **state)
{
    struct tensor t = {0};

    assert_int_equal(tensor_wait(&t, 0, 1, &ops), NRT_TIMEOUT);
    assert_int_equal(tensor_wait(&t, 1, 1, &ops), NRT_TIMEOUT);
    assert_int_equal(waiters(&t), 0);
    alive = false; /* the tensor's handle has gone */
    assert_int_equal(tensor_wait(&t, -1, 1, &ops), NRT_INVALID_HANDLE);
    assert_int_equal(waiters(&t), 0);
    (void)state;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(completions_post_to_waiters_only),
        cmocka_unit_test(whoever_gives_up_is_not_counted_any_more),
    };

    return cmocka_run_group_tests_name("tensor-wait", tests, NULL, NULL);
}
