/* SPDX-License-Identifier: Apache-2.0 */
/* Random schedules over all queues of two cores, by eight callers, against a sequential model: each
 * queue carries out exactly what it accepted, in the order of its numbers, once; a request is
 * complete when it has run and been dropped; failures reach the tracker, all of them and only they;
 * handles tell; nothing stays open.
 *
 *     test_queue_soak [requests]      the seed is printed; OPENNRT_SEED replays it */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "draw.h"
#include "must.h"
#include "queue/queue.h"
#include "runner.h"
#include "seed.h"

#define CORES   2u
#define QUEUES  (CORES * 8)
#define CALLERS 8u

/* One queue as it should be. ran is written by the thread that works on the queue; everybody else
 * reads it after the completion of a request. */
struct line {
    uint32_t core;
    enum queue_kind kind;
    unsigned queue;
    uint64_t unit;               /* upper bits of its sequences */
    uint64_t ran;                /* requests carried out */
    _Atomic uint64_t accepted;   /* by all callers */
    _Atomic uint64_t carried[4]; /* sum of values, of squares, by callers; then by the queue */
};

struct job {
    struct line *line;
    uint64_t value;
    uint32_t spins;
    NRT_STATUS status;
};

static struct queue_set *s;
static struct line lines[QUEUES];
static uint64_t seed, per_caller;
static _Atomic uint64_t told_of;

static NRT_STATUS job_run(void *arg)
{
    struct job *j = arg;

    for (volatile uint32_t i = 0; i < j->spins; i++)
        ;
    j->line->ran++; /* the thread sanitizer sees two at a time */
    return j->status;
}

static void job_drop(void *arg)
{
    struct job *j = arg;

    atomic_fetch_add(&j->line->carried[2], j->value);
    atomic_fetch_add(&j->line->carried[3], j->value * j->value);
}

static void job_told(void *arg, uint64_t seq, NRT_STATUS status)
{
    struct job *j = arg;

    /* numbers of a queue go up by one */
    MUST((seq >> 48) == j->line->unit);
    MUST((seq & QUEUE_NUM_MAX) == j->line->ran);
    MUST(status == j->status);
    atomic_fetch_add(&told_of, 1);
}

static const struct queue_ops ops = {.run = job_run, .drop = job_drop, .told = job_told};

struct caller {
    pthread_t thread;
    unsigned number;
    uint64_t failures, full;
};

static void check_list(struct queue_tracker *t, uint64_t want)
{
    const struct queue_error *list;
    size_t count;

    MUST(queue_tracker_list(t, &list, &count) == NRT_SUCCESS);
    MUST(count == want);
    for (size_t i = 0; i < count; i++)
        MUST(list[i].status == NRT_EXEC_OOB || list[i].status == NRT_EXEC_BAD_INPUT);
}

static void wait_for(uint64_t seq, uint64_t *rng)
{
    struct pollfd p = {.events = POLLIN};
    bool done;

    MUST(queue_completed(s, seq, &done) == NRT_SUCCESS);
    if (draw_next(rng) % 2) {
        MUST(queue_notice_fd(s, seq, &p.fd, NULL) == NRT_SUCCESS);
        if (draw_next(rng) % 4)
            MUST(poll(&p, 1, -1) == 1);
        close(p.fd);
    }
    do
        MUST(queue_completed(s, seq, &done) == NRT_SUCCESS);
    while (!done && sched_yield() == 0);
}

static void *caller_main(void *arg)
{
    struct caller *c = arg;
    uint64_t rng = seed + c->number, last[QUEUES] = {0};
    struct queue_tracker *t = queue_tracker_create(0);

    MUST(t);
    for (uint64_t i = 0; i < per_caller; i++) {
        uint64_t r = draw_next(&rng), seq;
        struct line *l = &lines[r % QUEUES];
        struct job j = {.line = l, .value = r, .spins = (r >> 8) % 64 ? 0 : 2000};
        struct queue_request q = {
            .ops = &ops, .tracker = t, .lasts = (r >> 16) % 4 == 0, .copies = (r >> 18) % 2 == 0};
        NRT_STATUS status;

        if ((r >> 20) % 50 == 0)
            j.status = (r >> 30) % 2 ? NRT_EXEC_OOB : NRT_EXEC_BAD_INPUT;
        while ((status = queue_push(s, l->core, l->kind, l->queue, &q, &j, sizeof(j), QUEUE_DEPTH,
                                    &seq, NULL)) == NRT_QUEUE_FULL) {
            c->full++;
            sched_yield();
        }
        MUST(status == NRT_SUCCESS);
        MUST((seq & QUEUE_NUM_MAX) > last[l - lines]); /* mine are in my order */
        last[l - lines] = seq & QUEUE_NUM_MAX;
        c->failures += j.status != NRT_SUCCESS;
        atomic_fetch_add(&l->accepted, 1);
        atomic_fetch_add(&l->carried[0], j.value);
        atomic_fetch_add(&l->carried[1], j.value * j.value);
        if ((r >> 40) % 200 == 0)
            wait_for(seq, &rng);
        if ((r >> 50) % 4000 == 0)
            fault_arm(FAULT_QUEUE, 1 + (r >> 56)); /* somebody stops somewhere */
    }
    for (unsigned i = 0; i < QUEUES; i++)
        if (last[i])
            wait_for(lines[i].unit << 48 | last[i], &rng);
    check_list(t, c->failures);
    queue_tracker_unref(t);
    return NULL;
}

static void lines_init(void)
{
    unsigned n = 0;

    for (uint32_t core = 0; core < CORES; core++)
        for (unsigned k = 0; k < QUEUE_KINDS; k++)
            for (unsigned q = 0; q < queue_count((enum queue_kind)k); q++) {
                uint64_t at;

                lines[n].core = core;
                lines[n].kind = (enum queue_kind)k;
                lines[n].queue = q;
                MUST(queue_last(s, core, (enum queue_kind)k, q, &at) == NRT_SUCCESS);
                lines[n++].unit = at >> 48;
            }
    MUST(n == QUEUES);
}

int main(int argc, char **argv)
{
    struct queue_config cfg = {.cores = CORES};
    struct caller c[CALLERS] = {0};
    uint64_t total = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000, sum = 0, full = 0, failed = 0;
    unsigned fds = runner_open_fds();

    seed = seed_take_new();
    runner_watchdog(total > 100000 ? 1100 : 110);
    per_caller = total / CALLERS;
    MUST(queue_set_create(&cfg, &s, NULL) == NRT_SUCCESS);
    lines_init();
    for (unsigned i = 0; i < CALLERS; i++) {
        c[i].number = i;
        MUST(pthread_create(&c[i].thread, NULL, caller_main, &c[i]) == 0);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        pthread_join(c[i].thread, NULL);
        full += c[i].full;
        failed += c[i].failures;
    }
    fault_disarm();
    queue_set_stop(s);
    for (unsigned i = 0; i < QUEUES; i++) {
        uint64_t at;

        MUST(lines[i].ran == atomic_load(&lines[i].accepted));
        MUST(atomic_load(&lines[i].carried[0]) == atomic_load(&lines[i].carried[2]));
        MUST(atomic_load(&lines[i].carried[1]) == atomic_load(&lines[i].carried[3]));
        MUST(queue_last(s, lines[i].core, lines[i].kind, lines[i].queue, &at) == NRT_SUCCESS);
        MUST((at & QUEUE_NUM_MAX) == lines[i].ran);
        sum += lines[i].ran;
    }
    MUST(sum == per_caller * CALLERS);
    MUST(atomic_load(&told_of) == sum);
    queue_set_destroy(s);
    MUST(runner_open_fds() == fds);
    printf("%llu requests, %llu failed, %llu times full\n", (unsigned long long)sum,
           (unsigned long long)failed, (unsigned long long)full);
    return 0;
}
