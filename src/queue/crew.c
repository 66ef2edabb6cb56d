/* SPDX-License-Identifier: Apache-2.0 */
/* The threads of a core, its hands. The first starts with the first request and carries out
 * whatever comes, queue by queue. While it does something that may last, requests of other queues
 * call up another hand, since what it does may wait for them; so there are as many hands as units
 * that had to work at the same time. Hands sleep when there is nothing to do; only the first one
 * spins for a moment before.
 *
 * A hand is a seeker (counted in core.seekers: it will look at all queues before it sleeps), or
 * carries out something that may last, or is in core.asleep, or has been taken out of there by
 * somebody who makes it a seeker and then rings its bell.
 *
 * A copy lasts, but ends by itself: its hand stays a seeker. Where as many hands are at work as
 * there are CPUs, one more would only share a CPU with an execution, which then takes as much
 * longer while the other CPU has nothing to do; so none is called up. */
#include <inttypes.h>
#include <stdio.h>

#include "base/broken.h"
#include "queue/queue_int.h"

#define BATCH   16u /* requests of one queue before the others are looked at */
#define SPIN_US 50u

static _Thread_local struct queue_hand *me;

bool queue_worker_of(uint32_t *ret_core)
{
    if (!me)
        return false;
    *ret_core = me->core->index;
    return true;
}

void queue_forget(void)
{
    me = NULL;
}

/* ---- calling a hand ---- */

static void *hand_main(void *arg);

/* Under the core's lock. */
static NRT_STATUS hand_start(struct queue_core *c, struct err *err)
{
    uint32_t n = atomic_load_explicit(&c->hand_count, memory_order_relaxed);
    struct run_cpus cpus;
    char name[16];
    NRT_STATUS status;

    snprintf(name, sizeof(name), "nrt-core%" PRIu32, c->index);
    atomic_fetch_add(&c->seekers, 1);
    status = run_thread_start(&c->hand[n].thread, hand_main, &c->hand[n], name, err);
    if (status != NRT_SUCCESS) {
        atomic_fetch_sub(&c->seekers, 1);
        return status;
    }
    if (c->set->cpus && c->set->cpus(c->set->cpus_arg, c->index, &cpus))
        run_thread_keep(c->hand[n].thread, &cpus);
    atomic_store_explicit(&c->hand_count, n + 1, memory_order_release);
    return NRT_SUCCESS;
}

/* Whether a request that nobody is at needs a hand that is not a seeker yet. */
static bool hand_wanted(const struct queue_core *c)
{
    uint32_t seekers = atomic_load(&c->seekers);

    return seekers == 0 || (seekers <= atomic_load(&c->copying) && atomic_load(&c->busy) < c->cpus);
}

/* All hands have something that may last. Without another one it takes longer, and nothing else:
 * the first thread was there before the first request. */
static void hand_add(struct queue_core *c)
{
    struct err err = {0};

    if (BROKEN(OVL))
        return;
    pthread_mutex_lock(&c->lock);
    if (!atomic_load(&c->ending) && hand_wanted(c) && atomic_load(&c->asleep) == 0 &&
        atomic_load(&c->hand_count) < QUEUE_ALL && hand_start(c, &err) != NRT_SUCCESS)
        LOGW(c->set->log, LOG_NRT, "queue_push", "requests of core %" PRIu32 " do not overlap: %s",
             c->index, err.text);
    pthread_mutex_unlock(&c->lock);
}

static void call_one(struct queue_core *c)
{
    uint32_t bits = atomic_load(&c->asleep);

    while (bits) {
        uint32_t bit = bits & -bits; /* the first one spins, if any does */

        if (atomic_compare_exchange_weak(&c->asleep, &bits, bits & ~bit)) {
            QUEUE_STEP();
            atomic_fetch_add(&c->seekers, 1);
            run_word_post(&c->hand[__builtin_ctz(bit)].bell);
            return;
        }
    }
    if (__builtin_expect(atomic_load(&c->hand_count) < QUEUE_ALL, 0))
        hand_add(c);
}

void queue_crew_call(struct queue *q)
{
    struct queue_core *c = q->core;

    if (atomic_load(&q->claimed) || !hand_wanted(c))
        return; /* whoever it is looks here before it sleeps */
    call_one(c);
}

NRT_STATUS queue_crew_begin(struct queue_core *c, struct err *err)
{
    NRT_STATUS status = NRT_SUCCESS;

    pthread_mutex_lock(&c->lock);
    if (atomic_load(&c->ending))
        status = err_set(err, NRT_CLOSED, "the runtime is closed");
    else if (atomic_load(&c->hand_count) == 0)
        status = hand_start(c, err);
    pthread_mutex_unlock(&c->lock);
    return status;
}

/* ---- a hand ---- */

/* Whether some queue has work that nobody is at. */
static bool work_left(const struct queue_core *c)
{
    for (unsigned i = 0; i < QUEUE_ALL; i++)
        if (queue_has_work(&c->q[i]) && !atomic_load(&c->q[i].claimed))
            return true;
    return false;
}

/* A claimed queue that has work, the one at *cursor last; NULL: there is none. */
static struct queue *claim(struct queue_core *c, unsigned *cursor)
{
    for (unsigned i = 1; i <= QUEUE_ALL; i++) {
        unsigned at = (*cursor + i) % QUEUE_ALL;
        struct queue *q = &c->q[at];

        while (queue_has_work(q)) {
            uint32_t none = 0;

            if (!atomic_compare_exchange_strong(&q->claimed, &none, 1))
                break; /* that thread will look again */
            QUEUE_STEP();
            if (queue_has_work(q)) {
                *cursor = at;
                return q;
            }
            /* It was carried out in between. Meanwhile a caller may have relied on us. */
            atomic_store(&q->claimed, 0);
        }
    }
    return NULL;
}

/* The hand is about to do something that may last. */
static void last_begin(struct queue_core *c, bool copies)
{
    atomic_fetch_add(&c->busy, 1);
    if (copies)
        atomic_fetch_add(&c->copying, 1);
    else
        atomic_fetch_sub(&c->seekers, 1);
    QUEUE_STEP();
    if (hand_wanted(c) && work_left(c))
        call_one(c);
}

static void last_end(struct queue_core *c, bool copies)
{
    if (copies)
        atomic_fetch_sub(&c->copying, 1);
    else
        atomic_fetch_add(&c->seekers, 1);
    atomic_fetch_sub(&c->busy, 1);
}

static void work(struct queue *q)
{
    struct queue_core *c = q->core;
    bool lasts = false, copies = false;

    /* After a copy the other queues are looked at: their requests may have waited for its end. */
    for (unsigned n = 0; n < BATCH && !copies && queue_has_work(q); n++) {
        const struct queue_request *next = queue_next(q);

        if (!lasts && next->lasts) {
            lasts = true;
            copies = next->copies;
            last_begin(c, copies);
        }
        queue_run_next(q);
    }
    if (lasts)
        last_end(c, copies);
    QUEUE_STEP();
    atomic_store(&q->claimed, 0);
}

static void hand_sleep(struct queue_hand *h)
{
    const struct run_policy policy = {.spin_us = h->number == 0 ? SPIN_US : RUN_NO_SPIN};
    struct queue_core *c = h->core;
    uint32_t seen = run_word_load(&h->bell), bit = UINT32_C(1) << h->number;

    atomic_fetch_or(&c->asleep, bit);
    QUEUE_STEP();
    atomic_fetch_sub(&c->seekers, 1);
    QUEUE_STEP();
    /* Who has taken the bit away has made this a seeker and rings. */
    if ((work_left(c) || atomic_load(&c->ending)) && (atomic_fetch_and(&c->asleep, ~bit) & bit)) {
        atomic_fetch_add(&c->seekers, 1);
        return;
    }
    while (run_word_load(&h->bell) == seen)
        run_wait(&h->bell, seen, RUN_FOREVER, &policy);
}

static void *hand_main(void *arg)
{
    struct queue_hand *h = arg;
    unsigned cursor = QUEUE_ALL - 1;

    me = h;
    while (!atomic_load(&h->core->ending)) {
        struct queue *q = claim(h->core, &cursor);

        if (q)
            work(q);
        else
            hand_sleep(h);
    }
    return NULL;
}

void queue_crew_end(struct queue_core *c)
{
    uint32_t n;

    pthread_mutex_lock(&c->lock); /* nobody starts one any more */
    n = atomic_load(&c->hand_count);
    atomic_store(&c->ending, 1);
    for (uint32_t i = 0; i < n; i++)
        run_word_post(&c->hand[i].bell);
    pthread_mutex_unlock(&c->lock);
    for (uint32_t i = 0; i < n; i++)
        pthread_join(c->hand[i].thread, NULL);
}
