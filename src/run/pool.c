/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel pool. A job is published by storing its serial in `claim` and posting `go`; whoever
 * has time, the caller included, claims the parts one by one, and who finishes the last one posts
 * `done`, unless that is the caller. So a job never waits for a worker that the host does not run:
 * the caller then does it all. What a part computes does not depend on who runs it. One job at a
 * time: `busy` is a try-lock.
 *
 * Publication: the caller writes the job, then stores `claim` (release); a successful claim
 * (acquire) happens before the job is read, and the job cannot end before a claimed part has.
 * Completion: each increment of `finished` is acq_rel, so the last one's post of `done` carries
 * what all of them wrote to the caller. */
#include "run/run.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define LINE 64

struct run_pool {
    /* Written by the caller that holds busy, read by who claimed a part. */
    void (*fn)(void *arg, unsigned part);
    void *arg;

    unsigned threads; /* caller included; fixed */
    unsigned started; /* atomic: workers that run, at most threads - 1; written by who holds busy */
    pthread_t *workers;
    uint32_t busy;   /* atomic try-lock */
    uint32_t active; /* atomic: executions that are under way */
    uint32_t quit;   /* atomic */
    unsigned cpus;
    struct run_cpus keep; /* of the workers; none: their creator's */

    char pad0[LINE];
    struct run_word go;
    char pad1[LINE];
    struct run_word done;
    char pad2[LINE];
    uint64_t claim;    /* atomic: CLAIM_WORD of the job and of the next part */
    uint32_t finished; /* atomic: parts that are done */
    char pad3[LINE];
};

/* serial of the job, parts in all, next part to be claimed */
#define CLAIM_PART_BITS 16
#define CLAIM_PARTS_MAX ((1u << CLAIM_PART_BITS) - 1)
#define CLAIM_WORD(serial, n, next) \
    ((uint64_t)(serial) << (2 * CLAIM_PART_BITS) | (uint64_t)(n) << CLAIM_PART_BITS | (next))
#define CLAIM_SERIAL(w) ((uint32_t)((w) >> (2 * CLAIM_PART_BITS)))
#define CLAIM_N(w)      ((uint32_t)((w) >> CLAIM_PART_BITS) & CLAIM_PARTS_MAX)
#define CLAIM_NEXT(w)   ((uint32_t)(w)&CLAIM_PARTS_MAX)

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

void run_pool_keep(struct run_pool *pool, const struct run_cpus *cpus)
{
    pool->keep = cpus != NULL ? *cpus : (struct run_cpus){{0}};
}

/* Run parts of the published job until none is left to claim. True: this thread finished the last
 * one. */
static bool parts_run(struct run_pool *pool)
{
    uint64_t w = __atomic_load_n(&pool->claim, __ATOMIC_ACQUIRE);
    bool last = false;

    while (CLAIM_NEXT(w) < CLAIM_N(w)) {
        if (!__atomic_compare_exchange_n(&pool->claim, &w, w + 1, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE))
            continue;
        pool->fn(pool->arg, CLAIM_NEXT(w));
        last = __atomic_add_fetch(&pool->finished, 1, __ATOMIC_ACQ_REL) == CLAIM_N(w);
        w = __atomic_load_n(&pool->claim, __ATOMIC_ACQUIRE);
    }
    return last;
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
    struct run_policy p = {
        .runnable = pool_runnable, .arg = pool, .cpus = pool->cpus, .sleep_ms = 3600000};
    uint32_t seen = 0;

    for (;;) {
        p.spin_us = __atomic_load_n(&pool->active, __ATOMIC_RELAXED) ? RUN_SPIN_US : RUN_NO_SPIN;
        run_wait(&pool->go, seen, RUN_FOREVER, &p);
        seen = run_word_load(&pool->go);
        if (__atomic_load_n(&pool->quit, __ATOMIC_ACQUIRE))
            return NULL;
        if (parts_run(pool))
            run_word_post(&pool->done);
    }
}

/* Called with busy held. Workers start with the first job; when the system gives no thread, those
 * that run and the caller do the work. */
static void workers_start(struct run_pool *pool)
{
    while (pool->started < pool->threads - 1) {
        if (run_thread_start(&pool->workers[pool->started], worker, pool, "nrt-pool", NULL) !=
            NRT_SUCCESS)
            return;
        run_thread_keep(pool->workers[pool->started], &pool->keep);
        __atomic_store_n(&pool->started, pool->started + 1, __ATOMIC_RELAXED);
    }
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

bool run_pool_started(const struct run_pool *pool)
{
    return pool != NULL && __atomic_load_n(&pool->started, __ATOMIC_RELAXED) != 0;
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
    uint32_t done_seen, serial;

    if (pool == NULL || pool->threads == 1 || n_parts <= 1 || n_parts > CLAIM_PARTS_MAX ||
        !busy_take(pool)) {
        for (unsigned p = 0; p < n_parts; p++)
            fn(arg, p);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    workers_start(pool);
    done_seen = run_word_load(&pool->done);
    serial = CLAIM_SERIAL(__atomic_load_n(&pool->claim, __ATOMIC_RELAXED)) + 1;
    __atomic_store_n(&pool->finished, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&pool->claim, CLAIM_WORD(serial, n_parts, 0), __ATOMIC_RELEASE);
    run_word_post(&pool->go);
    if (!parts_run(pool)) {
        struct run_policy p = {
            .runnable = pool_runnable, .arg = pool, .cpus = pool->cpus, .sleep_ms = 3600000};

        run_wait(&pool->done, done_seen, RUN_FOREVER, &p);
    }
    __atomic_store_n(&pool->busy, 0, __ATOMIC_RELEASE);
}
