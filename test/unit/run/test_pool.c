/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that share the parts of a job: each part runs once, on as many threads as there are, also
 * for several callers, within a part, and where threads cannot start. */
#include "run/run.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/fault.h"
#include "runner.h"

#define PARTS_MAX 1000

struct job {
    struct run_pool *pool;
    unsigned hits[PARTS_MAX]; /* plain: every part is run by one thread, once */
    unsigned nested;
};

static void part(void *arg, unsigned p)
{
    struct job *j = arg;

    j->hits[p]++;
}

static void pool_runs_every_part_once(void **state)
{
    static struct job j;

    for (unsigned threads = 1; threads <= 5; threads++) {
        struct run_pool *pool = run_pool_new(threads);

        assert_int_equal(run_pool_size(pool), threads);
        run_pool_begin(pool);
        for (unsigned n = 0; n < 40; n++) {
            memset(&j, 0, sizeof(j));
            run_pool_for(pool, n, part, &j);
            for (unsigned p = 0; p < PARTS_MAX; p++)
                assert_int_equal(j.hits[p], p < n);
        }
        run_pool_end(pool);
        run_pool_free(pool);
    }
    memset(&j, 0, sizeof(j));
    run_pool_for(NULL, 7, part, &j);
    assert_int_equal(j.hits[6], 1);
    assert_int_equal(run_pool_size(NULL), 1);
    run_pool_begin(NULL);
    run_pool_end(NULL);
    run_pool_free(NULL);
    run_pool_free(run_pool_new(0)); /* never used: no thread was started */
}

struct meeting {
    uint32_t arrived; /* atomic */
    pthread_t who[2];
};

/* Each part waits for the other: only two threads at once can end this. */
static void meeting_part(void *arg, unsigned p)
{
    struct meeting *m = arg;

    m->who[p] = pthread_self();
    __atomic_add_fetch(&m->arrived, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&m->arrived, __ATOMIC_ACQUIRE) < 2)
        sched_yield();
}

static void pool_shares_the_parts_of_a_job(void **state)
{
    struct run_pool *pool = run_pool_new(2);

    for (int i = 0; i < 50; i++) {
        struct meeting m = {0};

        run_pool_for(pool, 2, meeting_part, &m);
        assert_false(pthread_equal(m.who[0], m.who[1]));
    }
    run_pool_free(pool);
}

/* As meeting_part; the one that is not the caller's says where its thread may run. */
struct kept {
    struct meeting m;
    pthread_t caller;
    cpu_set_t cpus;
};

static void kept_part(void *arg, unsigned p)
{
    struct kept *k = arg;

    if (!pthread_equal(pthread_self(), k->caller))
        sched_getaffinity(0, sizeof(k->cpus), &k->cpus);
    meeting_part(&k->m, p);
}

static void pool_keeps_its_workers_where_they_belong(void **state)
{
    struct run_pool *pool = run_pool_new(2);
    struct kept k = {.caller = pthread_self()};
    struct run_cpus alone = {{0}};
    int last = runner_last_cpu();

    alone.bits[last / 64] = UINT64_C(1) << last % 64;
    run_pool_keep(pool, NULL); /* anywhere */
    run_pool_keep(pool, &alone);
    run_pool_for(pool, 2, kept_part, &k);
    assert_int_equal(CPU_COUNT(&k.cpus), 1);
    assert_true(CPU_ISSET(last, &k.cpus));
    run_pool_free(pool);
    (void)state;
}

static void nested_part(void *arg, unsigned p)
{
    struct job *j = arg;

    __atomic_fetch_add(&j->nested, 1, __ATOMIC_RELAXED);
}

static void part_that_calls(void *arg, unsigned p)
{
    struct job *j = arg;

    run_pool_for(j->pool, 10, nested_part, j);
}

static void pool_in_a_part_runs_inline(void **state)
{
    static struct job j;

    j.pool = run_pool_new(3);
    run_pool_for(j.pool, 8, part_that_calls, &j);
    assert_int_equal(j.nested, 80);
    run_pool_free(j.pool);
}

struct stress {
    struct run_pool *pool;
    bool bad;
};

static void *stress_caller(void *arg)
{
    struct stress *s = arg;
    struct job *j = calloc(1, sizeof(*j));

    for (unsigned n = 0; n < 3000; n++) {
        unsigned parts = n % 20;

        run_pool_begin(s->pool);
        run_pool_for(s->pool, parts, part, j);
        run_pool_end(s->pool);
        for (unsigned p = 0; p < parts; p++) {
            if (j->hits[p] != 1)
                s->bad = true;
            j->hits[p] = 0;
        }
    }
    free(j);
    return NULL;
}

static void pool_shared_by_several_callers(void **state)
{
    struct stress s[3];
    struct run_pool *pool = run_pool_new(3);
    pthread_t t[3];

    for (int i = 0; i < 3; i++) {
        s[i] = (struct stress){.pool = pool};
        assert_int_equal(run_thread_start(&t[i], stress_caller, &s[i], NULL, NULL), NRT_SUCCESS);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
        assert_false(s[i].bad);
    }
    run_pool_free(pool);
}

static void pool_without_memory_for_threads_still_works(void **state)
{
    static struct job j;
    struct run_pool *pool;

    fault_arm(FAULT_ALLOC, 1);
    assert_null(run_pool_new(4));
    fault_arm(FAULT_ALLOC, 2);
    assert_null(run_pool_new(4));
    fault_disarm();
    pool = run_pool_new(4);
    fault_arm(FAULT_ALLOC, 2); /* the second worker cannot start */
    memset(&j, 0, sizeof(j));
    run_pool_for(pool, 30, part, &j);
    fault_disarm();
    for (unsigned p = 0; p < 30; p++)
        assert_int_equal(j.hits[p], 1);
    memset(&j, 0, sizeof(j));
    run_pool_for(pool, 30, part, &j);
    for (unsigned p = 0; p < 30; p++)
        assert_int_equal(j.hits[p], 1);
    run_pool_free(pool);
}

static void *small_stack_caller(void *arg)
{
    static struct job j;

    j.pool = arg;
    run_pool_for(j.pool, 100, part, &j);
    return NULL;
}

static void pool_needs_little_of_the_callers_stack(void **state)
{
    struct run_pool *pool = run_pool_new(2);
    pthread_attr_t attr;
    pthread_t t;

    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstacksize(&attr, 128 * 1024), 0);
    assert_int_equal(pthread_create(&t, &attr, small_stack_caller, pool), 0);
    pthread_join(t, NULL);
    pthread_attr_destroy(&attr);
    run_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_runs_every_part_once),
        cmocka_unit_test(pool_shares_the_parts_of_a_job),
        cmocka_unit_test(pool_keeps_its_workers_where_they_belong),
        cmocka_unit_test(pool_in_a_part_runs_inline),
        cmocka_unit_test(pool_shared_by_several_callers),
        cmocka_unit_test(pool_without_memory_for_threads_still_works),
        cmocka_unit_test(pool_needs_little_of_the_callers_stack),
    };

    runner_watchdog(240);
    return cmocka_run_group_tests_name("run-pool", tests, NULL, NULL);
}
