/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel pool. A job is published by posting `go`; each worker runs its static share and counts
 * itself out of `left`, and the last one posts `done`. One job at a time: `busy` is a try-lock.
 *
 * Publication: the caller writes the job, sets `left`, then posts `go` (release); a worker loads
 * `go` (acquire) before it reads the job. Completion: each worker's decrement of `left` is acq_rel,
 * so the last one's post of `done` carries what all of them wrote to the caller. */
#include "run/run.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define LINE 64

struct run_pool {
    /* Written by the caller that holds busy, read by workers between go and done. */
    void (*fn)(void *arg, unsigned part);
    void *arg;
    unsigned n_parts;

    unsigned threads; /* of the partition, caller included; fixed */
    unsigned started; /* workers that run, at most threads - 1; written by the holder of busy */
    pthread_t *workers;
    uint32_t next_id; /* handed to workers as they start */
    uint32_t busy;    /* atomic try-lock */
    uint32_t active;  /* atomic: executions that are under way */
    uint32_t quit;    /* atomic */
    unsigned cpus;

    char pad0[LINE];
    struct run_word go;
    char pad1[LINE];
    struct run_word done;
    uint32_t left; /* atomic: workers that have not finished the job */
    char pad2[LINE];
};

struct run_pool *run_pool_new(unsigned threads)
{
    struct run_pool *pool = mem_zalloc(sizeof(*pool));

    if (pool == NULL)
        return NULL;
    pool->cpus = run_cpu_count();
    pool->threads = threads != 0 ? threads : pool->cpus;
    if (pool->threads > RUN_CPUS_MAX)
        pool->threads = RUN_CPUS_MAX;
    pool->workers = mem_calloc(pool->threads, sizeof(*pool->workers));
    if (pool->workers == NULL) {
        mem_free(pool);
        return NULL;
    }
    return pool;
}

static void share_run(const struct run_pool *pool, unsigned t, unsigned threads)
{
    uint64_t n = pool->n_parts;
    unsigned first = (unsigned)(n * t / threads), last = (unsigned)(n * (t + 1) / threads);

    for (unsigned p = first; p < last; p++)
        pool->fn(pool->arg, p);
}

/* Spinning workers would only take the CPUs from ranks that have work. */
static uint32_t pool_runnable(void *arg)
{
    const struct run_pool *pool = arg;

    return pool->threads;
}

static void *worker(void *arg)
{
    struct run_pool *pool = arg;
    unsigned id = __atomic_add_fetch(&pool->next_id, 1, __ATOMIC_RELAXED);
    struct run_policy p = {
        .runnable = pool_runnable, .arg = pool, .cpus = pool->cpus, .sleep_ms = 3600000};
    uint32_t seen = 0;

    for (;;) {
        p.spin_us = __atomic_load_n(&pool->active, __ATOMIC_RELAXED) ? RUN_SPIN_US : RUN_NO_SPIN;
        run_wait(&pool->go, seen, RUN_FOREVER, &p);
        seen = run_word_load(&pool->go);
        if (__atomic_load_n(&pool->quit, __ATOMIC_ACQUIRE))
            return NULL;
        share_run(pool, id, pool->threads);
        if (__atomic_sub_fetch(&pool->left, 1, __ATOMIC_ACQ_REL) == 0)
            run_word_post(&pool->done);
    }
}

/* Called with busy held. Workers start with the first job; all must run, or the partition would not
 * be the one that was promised. False: the system gives no thread; the caller runs everything. */
static bool workers_start(struct run_pool *pool)
{
    while (pool->started < pool->threads - 1) {
        if (run_thread_start(&pool->workers[pool->started], worker, pool, "nrt-pool", NULL) !=
            NRT_SUCCESS)
            return false;
        pool->started++;
    }
    return true;
}

void run_pool_free(struct run_pool *pool)
{
    if (pool == NULL)
        return;
    __atomic_store_n(&pool->quit, 1, __ATOMIC_RELEASE);
    run_word_post(&pool->go);
    for (unsigned i = 0; i < pool->started; i++)
        pthread_join(pool->workers[i], NULL);
    mem_free(pool->workers);
    mem_free(pool);
}

unsigned run_pool_size(const struct run_pool *pool)
{
    return pool != NULL ? pool->threads : 1;
}

void run_pool_begin(struct run_pool *pool)
{
    if (pool != NULL)
        __atomic_fetch_add(&pool->active, 1, __ATOMIC_RELAXED);
}

void run_pool_end(struct run_pool *pool)
{
    if (pool != NULL)
        __atomic_fetch_sub(&pool->active, 1, __ATOMIC_RELAXED);
}

static bool busy_take(struct run_pool *pool)
{
    uint32_t zero = 0;

    return __atomic_compare_exchange_n(&pool->busy, &zero, 1, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

void run_pool_for(struct run_pool *pool, unsigned n_parts, void (*fn)(void *arg, unsigned part),
                  void *arg)
{
    uint32_t done_seen;

    if (pool == NULL || pool->threads == 1 || n_parts <= 1 || !busy_take(pool)) {
        for (unsigned p = 0; p < n_parts; p++)
            fn(arg, p);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    pool->n_parts = n_parts;
    if (!workers_start(pool)) {
        share_run(pool, 0, 1);
    } else {
        struct run_policy p = {
            .runnable = pool_runnable, .arg = pool, .cpus = pool->cpus, .sleep_ms = 3600000};

        done_seen = run_word_load(&pool->done);
        __atomic_store_n(&pool->left, pool->threads - 1, __ATOMIC_RELAXED);
        run_word_post(&pool->go);
        share_run(pool, 0, pool->threads);
        run_wait(&pool->done, done_seen, RUN_FOREVER, &p);
    }
    __atomic_store_n(&pool->busy, 0, __ATOMIC_RELEASE);
}
