/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for an operation, and what to say when it does not end. */
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

#include "coll/coll_int.h"

#define SPINS    2000 /* polls before the CPUs are counted, and again and again while they fit */
#define YIELDS   16
#define LOOK_NS  UINT64_C(100000000) /* a sleeper looks at its peers this often */
#define PROGRESS 256                 /* budget of one call */

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static enum coll_state poll_some(struct coll_comm *c, unsigned polls)
{
    enum coll_state state = COLL_BLOCKED;

    for (unsigned i = 0; i < polls && state == COLL_BLOCKED; i++) {
        state = coll_progress(c, PROGRESS);
        if (state == COLL_BLOCKED)
            relax();
    }
    return state;
}

/* ---- what is going on ---- */

static uint64_t wait_pack(const struct plan_step *step)
{
    return UINT64_C(1) << 63 | (uint64_t)step->sem << 32 | step->peer;
}

static void publish_wait(struct coll_comm *c, bool waiting)
{
    struct coll_publish *pub = &c->peers[c->me].area->publish;
    const struct plan_step *step = c->run->blocked;

    atomic_store_explicit(&pub->steps, c->run->steps, memory_order_relaxed);
    atomic_store_explicit(&pub->wait, waiting && step ? wait_pack(step) : 0, memory_order_relaxed);
}

void coll_comm_view(struct coll_comm *c, uint32_t rank, struct coll_view *ret)
{
    struct coll_publish *pub = &c->peers[rank].area->publish;
    uint64_t what = atomic_load_explicit(&pub->what, memory_order_relaxed);
    uint64_t wait = atomic_load_explicit(&pub->wait, memory_order_relaxed);

    *ret = (struct coll_view){
        .rank = rank,
        .live = rank == c->me || device_lease_member(c->cfg.in, c->lease, c->peers[rank].slot),
        .started = atomic_load_explicit(&pub->started, memory_order_relaxed),
        .ended = atomic_load_explicit(&pub->ended, memory_order_relaxed),
        .op = (uint8_t)(what >> 60),
        .alg = (uint8_t)(what >> 56 & 15),
        .dtype = (uint8_t)(what >> 48),
        .bytes = what & ((UINT64_C(1) << 48) - 1),
        .steps = atomic_load_explicit(&pub->steps, memory_order_relaxed),
        .waits = wait != 0,
        .sem = (uint8_t)(wait >> 32),
        .waits_for = (uint32_t)wait,
    };
}

/* A number that changes when any member does anything. */
static uint64_t pulse(struct coll_comm *c)
{
    uint64_t sum = 0;

    for (uint32_t r = 0; r < c->n; r++) {
        struct coll_publish *pub = &c->peers[r].area->publish;

        sum = sum * 31 + atomic_load_explicit(&pub->started, memory_order_relaxed);
        sum = sum * 31 + atomic_load_explicit(&pub->ended, memory_order_relaxed);
        sum = sum * 31 + atomic_load_explicit(&pub->steps, memory_order_relaxed);
    }
    return sum;
}

/* From me along "waits for" to the first rank that waits for nobody, or is seen twice. */
static uint32_t root_of(struct coll_comm *c)
{
    uint32_t at = c->me;

    for (uint32_t hops = 0; hops < c->n; hops++) {
        struct coll_view v;

        coll_comm_view(c, at, &v);
        if (!v.waits || v.started != c->seq || v.waits_for >= c->n)
            break;
        at = v.waits_for;
    }
    return at;
}

static void describe(struct coll_comm *c, uint32_t rank, char *text, size_t size)
{
    struct coll_view v;

    coll_comm_view(c, rank, &v);
    if (v.started == 0)
        snprintf(text, size, "rank %u has not begun any operation", rank);
    else if (v.started < c->seq)
        snprintf(text, size, "rank %u has not begun it: its last is %s number %" PRIu64 " (%s)",
                 rank, sched_op_name((enum sched_op)v.op), v.started,
                 v.ended == v.started ? "ended" : "under way");
    else if (v.waits && v.waits_for < c->n)
        snprintf(text, size, "rank %u waits for %s of rank %u after %" PRIu64 " steps", rank,
                 sched_sem_name((enum sched_sem)v.sem), v.waits_for, v.steps);
    else
        snprintf(text, size, "rank %u stopped after %" PRIu64 " steps", rank, v.steps);
}

static NRT_STATUS give_up(struct coll_comm *c, uint32_t culprit, const char *why)
{
    const struct coll_plan *p = c->run->plan;
    const struct plan_step *step = c->run->blocked;
    char text[160];

    describe(c, culprit, text, sizeof(text));
    return coll_fail(c, NRT_EXEC_HW_ERR_COLLECTIVES, culprit,
                     "%s: operation %" PRIu64 " (%s by %s), rank %u waits for %s of rank %u in "
                     "\"%s\" after %" PRIu64 " steps; %s",
                     why, c->seq, sched_op_name(sched_request_of(p->s)->op),
                     sched_alg_name(sched_request_of(p->s)->alg), c->me,
                     step ? sched_sem_name((enum sched_sem)step->sem) : "nothing",
                     step ? step->peer : c->me, step ? sched_phase_name(p->s, step->phase) : "",
                     c->run->steps, text);
}

/* ---- sleeping ---- */

/* The lease knows who is gone; the slot alone would not, since a new process may have it by now. A
 * rank that is gone is missed only if it had not ended this operation: who has ended it may leave
 * while others still work. */
static NRT_STATUS look_around(struct coll_comm *c)
{
    for (uint32_t r = 0; r < c->n; r++) {
        struct coll_publish *pub = &c->peers[r].area->publish;

        if (r == c->me || device_lease_member(c->cfg.in, c->lease, c->peers[r].slot))
            continue;
        /* acquire: what it did before it ended is seen before it is judged */
        if (atomic_load_explicit(&pub->ended, memory_order_acquire) < c->seq)
            return give_up(c, r, "a rank is gone");
    }
    return NRT_SUCCESS;
}

/* One sleep of at most LOOK_NS, unless something can be done after all. */
static enum coll_state doze(struct coll_comm *c)
{
    struct coll_area *mine = c->peers[c->me].area;
    static const struct run_policy asleep = {.spin_us = RUN_NO_SPIN, .sleep_ms = 100};
    uint32_t seen = run_word_load(&mine->bell);
    enum coll_state state;

    atomic_store_explicit(&mine->sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* see coll_bells_ring */
    state = coll_progress(c, PROGRESS);
    if (state == COLL_BLOCKED) {
        publish_wait(c, true);
        device_runnable_add(c->cfg.in, -1);
        (void)run_wait(&mine->bell, seen, LOOK_NS, &asleep);
        device_runnable_add(c->cfg.in, 1);
    }
    atomic_store_explicit(&mine->sleeping, 0, memory_order_relaxed);
    return state == COLL_BLOCKED ? coll_progress(c, PROGRESS) : state;
}

static enum coll_state spin_and_yield(struct coll_comm *c)
{
    unsigned cpus = run_cpu_count();
    enum coll_state state = COLL_BLOCKED;

    for (unsigned i = 0; i < 50 && state == COLL_BLOCKED; i++) {
        if (cpus < 2 || device_runnable(c->cfg.in) > cpus)
            break;
        state = poll_some(c, SPINS);
    }
    for (unsigned i = 0; i < YIELDS && state == COLL_BLOCKED; i++) {
        sched_yield();
        state = coll_progress(c, PROGRESS);
    }
    return state;
}

/* Blocked: until something moves. */
static enum coll_state wait_moved(struct coll_comm *c)
{
    uint64_t since = 0, last = 0;
    enum coll_state state = spin_and_yield(c);

    while (state == COLL_BLOCKED) {
        uint64_t now = c->cfg.now(c->cfg.now_arg), beat;

        state = doze(c);
        if (state != COLL_BLOCKED)
            break;
        beat = pulse(c);
        if (since == 0 || beat != last) {
            since = now;
            last = beat;
        }
        if (look_around(c))
            return COLL_FAILED;
        if (c->cfg.now(c->cfg.now_arg) - since >= c->cfg.timeout_ns) {
            give_up(c, root_of(c), "nothing moves any more");
            return COLL_FAILED;
        }
    }
    publish_wait(c, false);
    return state;
}

NRT_STATUS coll_wait(struct coll_comm *c, struct err *err)
{
    enum coll_state state = coll_progress(c, PROGRESS);

    while (state == COLL_MOVED || state == COLL_BLOCKED) {
        if (state == COLL_BLOCKED)
            state = poll_some(c, SPINS);
        if (state == COLL_BLOCKED)
            state = wait_moved(c);
        else if (state == COLL_MOVED)
            state = coll_progress(c, PROGRESS);
    }
    if (state == COLL_FAILED)
        return err_set(err, c->status, "%s", c->err.text);
    return NRT_SUCCESS;
}
