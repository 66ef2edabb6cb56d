/* SPDX-License-Identifier: Apache-2.0 */
/* Threads: the state that a caller gets back, what ours start with, and the CPUs that they keep. */
#include "run/run.h"

#include <errno.h>
#include <fenv.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/fault.h"

/* --- The caller's state ------------------------------------------------------------------------
 */

static volatile float tiny = 1e-40f, one = 1.0f, third = 3.0f, huge = 1e38f;

static void caller_gets_its_floating_point_mode_back(void **state)
{
    struct run_caller c;
    float nearest;
    fenv_t env;

    fegetenv(&env);
    fesetround(FE_TONEAREST);
    nearest = one / third;
    fesetround(FE_DOWNWARD);
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040); /* FTZ, DAZ */
    assert_true(tiny * one == 0.0f);
#endif
    feraiseexcept(FE_INVALID);
    run_caller_enter(&c);
    assert_int_equal(fegetround(), FE_TONEAREST);
    assert_true(one / third == nearest);
    assert_true(tiny * one != 0.0f); /* subnormals are kept */
    huge = huge * huge;              /* raises overflow */
    run_caller_leave(&c);
    assert_int_equal(fegetround(), FE_DOWNWARD);
    assert_true(one / third < nearest);
#if defined(__x86_64__)
    assert_true(tiny * one == 0.0f);
#endif
    assert_true(fetestexcept(FE_INVALID));
    assert_false(fetestexcept(FE_OVERFLOW));
    fesetenv(&env);
}

/* Whose mode is ours already: only the flags differ. */
static void caller_gets_its_exception_flags_back(void **state)
{
    struct run_caller c;
    fenv_t env;

    (void)state;
    fegetenv(&env);
    fesetenv(FE_DFL_ENV);
    for (int raised = 0; raised <= FE_INVALID; raised += FE_INVALID) {
        feclearexcept(FE_ALL_EXCEPT);
        feraiseexcept(raised);
        run_caller_enter(&c);
        run_caller_leave(&c);
        assert_int_equal(fetestexcept(FE_ALL_EXCEPT), raised);
        run_caller_enter(&c);
        feraiseexcept(FE_DIVBYZERO);
        run_caller_leave(&c);
        assert_int_equal(fetestexcept(FE_ALL_EXCEPT), raised);
        run_caller_enter(&c);
        feclearexcept(FE_ALL_EXCEPT);
        run_caller_leave(&c);
        assert_int_equal(fetestexcept(FE_ALL_EXCEPT), raised);
    }
    fesetenv(&env);
}

static void caller_is_not_cancelled_inside(void **state)
{
    struct run_caller outer, inner;
    int old;

    run_caller_enter(&outer);
    run_caller_enter(&inner);
    run_caller_leave(&inner);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    assert_int_equal(old, PTHREAD_CANCEL_DISABLE);
    run_caller_leave(&outer);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
    assert_int_equal(old, PTHREAD_CANCEL_ENABLE);
}

/* --- Threads -----------------------------------------------------------------------------------
 */

static void *thread_look(void *arg)
{
    sigset_t *mask = arg;

    pthread_sigmask(SIG_BLOCK, NULL, mask);
    return (void *)(size_t)(fegetround() == FE_TONEAREST);
}

static void threads_block_signals_and_compute_in_our_mode(void **state)
{
    sigset_t inside, before, after;
    pthread_t t;
    void *ret;

    pthread_sigmask(SIG_BLOCK, NULL, &before);
    fesetround(FE_DOWNWARD);
    assert_int_equal(run_thread_start(&t, thread_look, &inside, "a name that is too long", NULL),
                     NRT_SUCCESS);
    pthread_join(t, &ret);
    fesetround(FE_TONEAREST);
    assert_non_null(ret);
    for (int s = 1; s < 32; s++) {
        if (s != SIGKILL && s != SIGSTOP)
            assert_true(sigismember(&inside, s));
    }
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    for (int s = 1; s < 32; s++)
        assert_int_equal(sigismember(&before, s), sigismember(&after, s));
}

static void thread_start_reports_failed_memory(void **state)
{
    struct err err = {.status = NRT_SUCCESS};
    pthread_t t;

    fault_arm(FAULT_ALLOC, 1);
    assert_int_equal(run_thread_start(&t, thread_look, NULL, NULL, &err), NRT_RESOURCE);
    fault_disarm();
    assert_true(err.text[0] != '\0');
}

static void cpu_lists(void **state)
{
    static const char *const bad[] = {"",     ",",   "1,",     "-1", "3-1", "1-",    "a",
                                      "1024", "1 2", "0-1024", " ",  "1, ", "0- 1 2"};
    struct run_cpus c;

    assert_true(run_cpus_parse("40-47,88-95", &c));
    for (unsigned i = 0; i < RUN_CPUS_MAX; i++)
        assert_int_equal(c.bits[i / 64] >> (i % 64) & 1,
                         (i >= 40 && i <= 47) || (i >= 88 && i <= 95));
    /* blanks around integers are allowed */
    assert_true(run_cpus_parse(" 40 - 47,\t88-95 ", &c));
    assert_int_equal(c.bits[0], UINT64_C(0xff) << 40);
    assert_int_equal(c.bits[1], UINT64_C(0xff) << (88 - 64));
    assert_true(run_cpus_parse("0,1023", &c));
    assert_int_equal(c.bits[15] >> 63, 1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(run_cpus_parse(bad[i], &c));
    assert_true(run_cpu_count() >= 1);
}

static void threads_can_be_pinned(void **state)
{
    cpu_set_t all, now;
    struct run_cpus c = {{0}};
    unsigned last = 0;

    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    for (unsigned i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all))
            last = i;
    }
    c.bits[last / 64] = 1ull << (last % 64);
    assert_true(run_thread_pin(pthread_self(), &c));
    assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
    assert_int_equal(CPU_COUNT(&now), 1);
    assert_true(CPU_ISSET(last, &now));
    assert_int_equal(run_cpu_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
    memset(&c, 0, sizeof(c));
    assert_false(run_thread_pin(pthread_self(), &c));
    assert_true(errno != 0);
}

/* Wherever a thread goes by itself, its mask is as before; out of the mask it does not go. */
static void threads_move_within_their_mask(void **state)
{
    cpu_set_t all, now;
    struct run_cpus c = {{0}};
    unsigned first = CPU_SETSIZE;

    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    for (unsigned i = 0; i < CPU_SETSIZE; i++) {
        assert_int_equal(run_cpu_move(i), CPU_ISSET(i, &all) != 0);
        if (CPU_ISSET(i, &all) && first == CPU_SETSIZE)
            first = i;
        assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
        assert_true(CPU_EQUAL(&now, &all));
    }
    assert_false(run_cpu_move(CPU_SETSIZE));
    assert_false(run_cpu_move(UINT_MAX));
    c.bits[first / 64] = UINT64_C(1) << first % 64;
    assert_true(run_thread_pin(pthread_self(), &c));
    assert_true(run_cpu_move(first));
    assert_int_equal(run_cpu_now(), first);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

static void what_is_allowed_has_the_mask(void **state)
{
    struct run_cpus before, only = {{0}}, mine, allowed;
    cpu_set_t all;
    unsigned first = 0;

    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    run_cpus_mine(&before);
    while (!CPU_ISSET(first, &all))
        first++;
    only.bits[first / 64] = UINT64_C(1) << first % 64;
    assert_true(run_thread_pin(pthread_self(), &only));
    run_cpus_allowed(&allowed);
    for (unsigned w = 0; w < RUN_CPUS_MAX / 64; w++)
        assert_true((before.bits[w] & ~allowed.bits[w]) == 0);
    run_cpus_mine(&mine);
    assert_memory_equal(&mine, &only, sizeof(only));
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(caller_gets_its_floating_point_mode_back),
        cmocka_unit_test(caller_gets_its_exception_flags_back),
        cmocka_unit_test(caller_is_not_cancelled_inside),
        cmocka_unit_test(threads_block_signals_and_compute_in_our_mode),
        cmocka_unit_test(thread_start_reports_failed_memory),
        cmocka_unit_test(cpu_lists),
        cmocka_unit_test(threads_can_be_pinned),
        cmocka_unit_test(threads_move_within_their_mask),
        cmocka_unit_test(what_is_allowed_has_the_mask),
    };

    return cmocka_run_group_tests_name("run-threads", tests, NULL, NULL);
}
