/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for an operation, and what to say when it does not end. */
#include <inttypes.h>
#include <stdio.h>

#include "coll/coll_int.h"

#define ROUNDS        60                  /* of polls, while the ranks that run fit the CPUs */
#define CROWD_POLLS   64                  /* between two counts of the CPUs */
#define LOOK_NS       UINT64_C(100000000) /* a sleeper looks at its peers this often */
#define PROGRESS      256                 /* budget of one call */
#define SILENT_YIELDS 2                   /* before a waiter says what it waits for */
/* A poll of the network is a system call or two: fewer of them take as long. What comes over the
 * network rings no bell, so a sleeper with an operation between nodes looks again soon, and later
 * and later. */
#define NET_SPINS    32
#define NET_DOZE_MIN UINT64_C(50000)
#define NET_DOZE_MAX UINT64_C(2000000)

/* Ranks that have not entered the operation yet do not run in the instance, and want a CPU. */
bool coll_crowded(const struct coll_comm *c)
{
    return c->crowded || device_runnable(c->cfg.in) > c->cpus;
}

static unsigned spins(const struct coll_comm *c)
{
    return coll_net_busy(c) ? NET_SPINS : c->tuning.patience[coll_crowded(c)].spins;
}

/* ---- what is going on ---- */

#define WAIT_LINE UINT64_C(1) << 62

/* 1, whether for a line, channel, counter, whom. */
static uint64_t wait_pack(const struct plan_step *step, uint32_t channel)
{
    return UINT64_C(1) << 63 | (step->kind == SCHED_TAKE ? WAIT_LINE : 0) |
           (uint64_t)channel << 40 | (uint64_t)step->sem << 32 | step->peer;
}

static uint32_t wait_value(const struct coll_comm *c, const struct plan_step *step)
{
    if (step->kind == SCHED_TAKE)
        return (uint32_t)coll_lines_of(step->count * c->run->plan->elem) - 1;
    return c->base[coll_counter_at(c, step->peer, c->run->blocked_channel, step->sem)] +
           step->value;
}

/* Whether what a rank of my node waits for is there. It does not move because it is not run. */
static bool wait_is_over(const struct coll_comm *c, uint32_t rank)
{
    struct coll_area *a = c->peers[rank].area;
    uint64_t wait = atomic_load_explicit(&a->publish.wait, memory_order_relaxed);
    uint32_t value = atomic_load_explicit(&a->publish.wait_for, memory_order_relaxed);
    uint64_t seq = atomic_load_explicit(&a->publish.started, memory_order_relaxed);
    uint32_t peer = (uint32_t)wait, channel = wait >> 40 & 255, sem = wait >> 32 & 255;

    if (peer >= c->n || channel >= c->channels || sem >= SCHED_SEM_COUNT)
        return false;
    if (wait & WAIT_LINE)
        return value < COLL_LINES &&
               atomic_load_explicit(
                   &coll_area_lines(a, c->n, c->channels, seq & 1, peer)[value].seq,
                   memory_order_relaxed) == (uint32_t)seq;
    return (int32_t)(atomic_load_explicit(&coll_area_counters(a, c->n, channel, peer)->c.sem[sem],
                                          memory_order_relaxed) -
                     value) >= 0;
}

static void publish_wait(struct coll_comm *c, bool waiting)
{
    struct coll_publish *pub = &c->peers[c->me].area->publish;
    const struct plan_step *step = c->run->blocked;

    c->run->told = waiting && step;
    atomic_store_explicit(&pub->steps, c->run->steps, memory_order_relaxed);
    if (waiting && step) {
        atomic_store_explicit(&pub->wait_for, wait_value(c, step), memory_order_relaxed);
        atomic_store_explicit(&pub->wait, wait_pack(step, c->run->blocked_channel),
                              memory_order_relaxed);
    } else {
        /* release: who sees that I do not wait any more sees the failure that ended it */
        atomic_store_explicit(&pub->wait, 0, memory_order_release);
    }
    if (!c->run->plan || (!waiting && c->status)) /* what ended while it waited keeps its record */
        return;
    device_flight_stand(&c->flying, c->run->steps,
                        waiting && step && step->peer < c->n
                            ? device_flight_wait(step->sem, c->cfg.group->rank[step->peer])
                            : 0);
}

void coll_wait_over(struct coll_comm *c)
{
    publish_wait(c, false);
}

/* What a rank of my node says of its operations of this parity. Between two of them, or when it
 * began one meanwhile, the mark belongs to none. */
static struct coll_op op_said(const struct coll_publish *pub, unsigned i)
{
    struct coll_op op = {.mark = atomic_load_explicit(&pub->op[i].mark, memory_order_acquire),
                         .what = atomic_load_explicit(&pub->op[i].what, memory_order_relaxed),
                         .how = atomic_load_explicit(&pub->op[i].how, memory_order_relaxed)};

    atomic_thread_fence(memory_order_acquire); /* see publish */
    if (atomic_load_explicit(&pub->op[i].mark, memory_order_relaxed) != op.mark)
        op.mark = COLL_MARK_NONE(i);
    return op;
}

bool coll_said_by(const struct coll_comm *c, uint32_t rank, struct coll_said *ret)
{
    struct coll_publish *pub;

    if (!coll_near(c, rank))
        return coll_told(c, rank, ret) != 0;
    pub = &c->peers[rank].area->publish;
    *ret = (struct coll_said){
        .started = atomic_load_explicit(&pub->started, memory_order_acquire), /* see publish */
        .ended = atomic_load_explicit(&pub->ended, memory_order_relaxed),
        .steps = atomic_load_explicit(&pub->steps, memory_order_relaxed),
        .wait = atomic_load_explicit(&pub->wait, memory_order_relaxed),
    };
    for (unsigned i = 0; i < 2; i++)
        ret->op[i] = op_said(pub, i);
    return true;
}

void coll_comm_view(struct coll_comm *c, uint32_t rank, struct coll_view *ret)
{
    struct coll_said said;
    uint64_t what;
    bool live = true;

    (void)coll_said_by(c, rank, &said);
    what = said.op[said.started & 1].what;
    if (coll_near(c, rank) && rank != c->me)
        (void)device_lease_look(c->cfg.in, c->lease, &c->peers[rank].slot, 1, &live, NULL);
    *ret = (struct coll_view){
        .rank = rank,
        .live = live,
        .started = said.started,
        .ended = said.ended,
        .op = (uint8_t)(what >> 60),
        .alg = (uint8_t)(what >> 56 & 15),
        .dtype = (uint8_t)(what >> 48),
        .bytes = what & ((UINT64_C(1) << 48) - 1),
        .steps = said.steps,
        .waits = said.wait != 0,
        .sem = (uint8_t)(said.wait >> 32),
        .waits_for = (uint32_t)said.wait,
    };
}

/* A number that changes when any member does anything. */
static uint64_t pulse(struct coll_comm *c)
{
    uint64_t sum = 0;

    for (uint32_t r = 0; r < c->n; r++) {
        struct coll_said said;

        (void)coll_said_by(c, r, &said);
        sum = ((sum * 31 + said.started) * 31 + said.ended) * 31 + said.steps;
    }
    return sum;
}

/* Whether what is known of a rank of another node is from before anything moved last: whoever still
 * waits there has told so again since. */
static bool told_before(const struct coll_comm *c, uint32_t rank)
{
    struct coll_said said;

    return !coll_near(c, rank) && coll_told(c, rank, &said) <= c->watch.since;
}

/* Whether a rank of my node does not go on though nobody keeps it waiting: a stopped one still says
 * that it waits. */
static bool stands_still(const struct coll_comm *c, uint32_t rank)
{
    return wait_is_over(c, rank) || device_slot_stopped(c->cfg.in, c->peers[rank].slot);
}

/* From me along "waits for" to the first rank that waits for nobody, or has what it waits for, or
 * is stopped, or of which nothing new is known, or that is seen twice. Some may wait in an earlier
 * operation than mine. */
static uint32_t root_of(struct coll_comm *c)
{
    uint32_t at = c->me;

    for (uint32_t hops = 0; hops < c->n; hops++) {
        struct coll_view v;

        coll_comm_view(c, at, &v);
        if (!v.waits || v.started > c->seq || v.ended >= v.started || v.waits_for >= c->n)
            break;
        if (at != c->me && coll_near(c, at) && stands_still(c, at))
            break;
        if (told_before(c, at))
            break;
        at = v.waits_for;
    }
    return at;
}

static void describe(struct coll_comm *c, uint32_t rank, char *text, size_t size)
{
    struct coll_said said;
    struct coll_view v;

    coll_comm_view(c, rank, &v);
    if (!coll_said_by(c, rank, &said))
        snprintf(text, size, "rank %u has not told where it stands", rank);
    else if (!v.live && v.started >= c->seq)
        snprintf(text, size, "rank %u has died or left after %" PRIu64 " steps", rank, v.steps);
    else if (v.started == 0)
        snprintf(text, size, "rank %u has not begun any operation", rank);
    else if (v.started < c->seq)
        snprintf(text, size, "rank %u has not begun it: its last is %s number %" PRIu64 " (%s)",
                 rank, sched_op_name((enum sched_op)v.op), v.started,
                 v.ended == v.started ? "ended" : "under way");
    else if (coll_near(c, rank) && device_slot_stopped(c->cfg.in, c->peers[rank].slot))
        snprintf(text, size, "rank %u has been stopped by a signal after %" PRIu64 " steps", rank,
                 v.steps);
    else if (v.waits && coll_near(c, rank) && rank != c->me && wait_is_over(c, rank))
        snprintf(text, size,
                 "rank %u has had %s of rank %u for long and does not go on: it has been stopped, "
                 "or its host is too busy",
                 rank, sched_sem_name((enum sched_sem)v.sem), v.waits_for);
    else if (v.waits && v.waits_for < c->n)
        snprintf(text, size, "rank %u waits for %s of rank %u after %" PRIu64 " steps", rank,
                 sched_sem_name((enum sched_sem)v.sem), v.waits_for, v.steps);
    else
        snprintf(text, size, "rank %u stopped after %" PRIu64 " steps", rank, v.steps);
}

void coll_where(const struct coll_comm *c, char *text, size_t size)
{
    const struct coll_plan *p = c->run->plan;
    const struct plan_step *step = c->run->blocked;
    struct coll_said said = {0};

    if (!p && c->seq == 0) {
        snprintf(text, size, "before its first operation, rank %u", c->me);
    } else if (!p) { /* a failure that is met between two */
        (void)coll_said_by(c, c->me, &said);
        snprintf(text, size, "after operation %" PRIu64 " (%s by %s), rank %u", c->seq,
                 sched_op_name((enum sched_op)(said.op[c->seq & 1].what >> 60)),
                 sched_alg_name((enum sched_alg)(said.op[c->seq & 1].what >> 56 & 15)), c->me);
    } else {
        /* without a step that it has waited for there is no phase to tell */
        snprintf(text, size,
                 "operation %" PRIu64 " (%s by %s), rank %u%s%s%s after %" PRIu64 " steps", c->seq,
                 sched_op_name(sched_request_of(p->s)->op),
                 sched_alg_name(sched_request_of(p->s)->alg), c->me, step ? " in \"" : "",
                 step ? sched_phase_name(p->s, step->phase) : "", step ? "\"" : "", c->run->steps);
    }
}

static NRT_STATUS give_up(struct coll_comm *c, uint32_t culprit, const char *why)
{
    const struct plan_step *step = c->run->blocked;
    char where[COLL_WHERE_MAX], text[200];

    coll_where(c, where, sizeof(where));
    describe(c, culprit, text, sizeof(text));
    return coll_fail(c, NRT_EXEC_HW_ERR_COLLECTIVES, culprit, "%s: %s waits for %s of rank %u; %s",
                     why, where, step ? sched_sem_name((enum sched_sem)step->sem) : "nothing",
                     step ? step->peer : c->me, text);
}

void coll_circle_fail(struct coll_comm *c)
{
    (void)give_up(c, root_of(c), "the ranks wait for each other");
}

/* ---- sleeping ---- */

/* What ranks of other nodes have told, which finds operations whose messages never meet. */
static NRT_STATUS look_afar(struct coll_comm *c)
{
    struct coll_op theirs;

    for (uint32_t r = 0; c->net && r < c->n; r++)
        if (!coll_near(c, r) && coll_op_differs(c, r, &theirs)) {
            coll_differ_fail(c, r, theirs.mark);
            return c->status;
        }
    return NRT_SUCCESS;
}

/* The lease knows who is gone; the slot alone would not, since a new process may have it by now. A
 * rank that is gone is missed only if it had not ended this operation: who has ended it may leave
 * while others still work. */
static NRT_STATUS look_around(struct coll_comm *c)
{
    if (device_lease_look(c->cfg.in, c->lease, c->near_slot, c->near_count, c->near_live, NULL))
        return NRT_SUCCESS; /* nobody can tell now; the next look, or the timeout */
    for (uint32_t i = 0; i < c->near_count; i++) {
        uint32_t r = c->near[i];

        if (r == c->me)
            continue;
        /* who sends lines and who raises counters never meet each other's signatures */
        if (!coll_same_operation(
                c, r,
                atomic_load_explicit(&c->peers[r].area->publish.op[c->seq & 1].mark,
                                     memory_order_relaxed)))
            return c->status;
        if (c->near_live[i])
            continue;
        /* acquire: what it did before it ended is seen before it is judged */
        if (atomic_load_explicit(&c->peers[r].area->publish.ended, memory_order_acquire) >= c->seq)
            continue;
        uint64_t word = atomic_load_explicit(&c->peers[r].area->failure, memory_order_relaxed);

        if (!word)
            return give_up(c, r, "a rank is gone");
        coll_failure_take(c, word); /* it has left because of that, faster than I was told */
        return c->status;
    }
    return NRT_SUCCESS;
}

/* The first of them that is not blocked, or n. */
static unsigned first_moving(struct coll_comm *const *c, unsigned n, enum coll_state *ret)
{
    unsigned i = 0;

    while (i < n && (*ret = coll_progress(c[i], PROGRESS)) == COLL_BLOCKED)
        i++;
    return i;
}

/* One sleep of at most limit_ns on the bells of all, unless something can be done after all.
 * Returns which of them moved, or n. */
static unsigned sleep_once(struct coll_comm *const *c, unsigned n, uint64_t limit_ns,
                           enum coll_state *ret)
{
    struct run_word *bell[COLL_DOZE_MAX];
    uint32_t seen[COLL_DOZE_MAX];
    unsigned moving;

    for (unsigned i = 0; i < n; i++) {
        struct coll_area *mine = c[i]->peers[c[i]->me].area;

        bell[i] = &mine->bell;
        seen[i] = run_word_load(&mine->bell);
        atomic_store_explicit(&mine->sleeping, 1, memory_order_relaxed);
    }
    atomic_thread_fence(memory_order_seq_cst); /* see coll_bells_ring */
    moving = first_moving(c, n, ret);
    if (moving == n) {
        for (unsigned i = 0; i < n; i++)
            publish_wait(c[i], true);
        device_runnable_add(c[0]->cfg.in, -1);
        (void)run_wait_any(bell, seen, n, limit_ns);
        device_runnable_add(c[0]->cfg.in, 1);
    }
    for (unsigned i = 0; i < n; i++)
        atomic_store_explicit(&c[i]->peers[c[i]->me].area->sleeping, 0, memory_order_relaxed);
    return moving == n ? first_moving(c, n, ret) : moving;
}

/* ---- before a sleep ---- */

/* Where many want the CPU a few yields may last longer than others wait before they judge, so who
 * is not through after the first ones says what it waits for. */
static void yield_and_tell(struct coll_comm *const *c, unsigned n, unsigned yielded)
{
    if (yielded == SILENT_YIELDS)
        for (unsigned i = 0; i < n; i++)
            publish_wait(c[i], true);
    coll_yield(c[0]);
}

/* crowd_ends: not for longer than the ranks that run fit the CPUs. */
static uint32_t look_often(struct coll_comm *c, unsigned polls, bool crowd_ends, coll_look_fn *look,
                           void *arg)
{
    uint32_t moved = 0;

    for (unsigned i = 1; i <= polls && !moved; i++) {
        moved = look(arg);
        if (!moved)
            run_relax();
        if (crowd_ends && i % CROWD_POLLS == 0 && coll_crowded(c))
            break;
    }
    return moved;
}

uint32_t coll_spin(struct coll_comm *const *c, unsigned n, unsigned polls, coll_look_fn *look,
                   void *arg)
{
    unsigned yielded = 0, yields;
    uint32_t moved = 0;

    for (unsigned i = 0; i < ROUNDS && !moved && !coll_crowded(c[0]); i++) {
        moved = look_often(c[0], polls, true, look, arg);
        if (!moved)
            yield_and_tell(c, n, yielded++); /* to the peer, if both were put on one CPU */
    }
    yields = c[0]->tuning.patience[coll_crowded(c[0])].yields;
    for (unsigned i = 0; i < yields && !moved; i++) {
        yield_and_tell(c, n, yielded++);
        moved = look(arg);
    }
    return moved;
}

struct look_alone {
    struct coll_comm *c;
    enum coll_state state;
};

static uint32_t look_alone(void *arg)
{
    struct look_alone *l = arg;

    l->state = coll_progress(l->c, PROGRESS);
    return l->state != COLL_BLOCKED;
}

/* ---- looking at the others ---- */

/* The limit is over. A rank that does not wait may have been told of a failure before this one:
 * then that is what stopped it, and the rank is not the culprit. */
static NRT_STATUS nothing_moves(struct coll_comm *c)
{
    uint32_t root = root_of(c);
    uint64_t word = 0;

    atomic_thread_fence(memory_order_acquire); /* see publish_wait */
    if (coll_near(c, root))
        word = atomic_load_explicit(&c->peers[root].area->failure, memory_order_relaxed);
    if (word)
        coll_failure_take(c, word);
    if (word || coll_failed_elsewhere(c))
        return c->status;
    return give_up(c, root, "nothing moves any more");
}

/* One look at everybody, after sleeping for LOOK_NS in all. */
static NRT_STATUS watch_look(struct coll_comm *c)
{
    uint64_t now = c->cfg.now(c->cfg.now_arg), beat = pulse(c);
    struct coll_watch *w = &c->watch;

    if (w->since == 0 || beat != w->pulse) {
        w->told = w->since ? w->told : now;
        w->since = now;
        w->pulse = beat;
    }
    if (c->net) {
        net_link_look(c->cfg.link);
        coll_net_expect(c, true);
        if (now - w->told >= c->cfg.timeout_ns / 8) {
            coll_tell_state(c);
            w->told = now;
        }
    }
    if (look_around(c) || look_afar(c))
        return c->status;
    if (now - w->since < c->cfg.timeout_ns)
        return NRT_SUCCESS;
    return nothing_moves(c);
}

/* How long one sleep may be: what comes over the network rings no bell. */
static uint64_t nap_next(struct coll_comm *c)
{
    struct coll_watch *w = &c->watch;
    uint64_t nap = w->nap > NET_DOZE_MIN ? w->nap : NET_DOZE_MIN;

    if (!coll_net_busy(c))
        return LOOK_NS;
    w->nap = nap * 2 < NET_DOZE_MAX ? nap * 2 : NET_DOZE_MAX;
    return nap;
}

enum coll_state coll_doze(struct coll_comm *const *c, unsigned n, uint64_t limit_ns)
{
    uint64_t start = run_now_ns(), slept;
    enum coll_state state = COLL_BLOCKED;
    unsigned moved;

    for (unsigned i = 0; i < n; i++) {
        uint64_t nap = nap_next(c[i]);

        limit_ns = nap < limit_ns ? nap : limit_ns;
    }
    moved = sleep_once(c, n, limit_ns, &state);
    slept = run_now_ns() - start;
    if (moved < n)
        c[moved]->watch.nap = c[moved]->watch.slept = 0;
    for (unsigned i = 0; i < n; i++) {
        if (i == moved || (c[i]->watch.slept += slept) < LOOK_NS)
            continue;
        c[i]->watch.slept = 0;
        if (watch_look(c[i]))
            return COLL_FAILED;
    }
    return state;
}

/* Blocked: until something moves. A rank that is alone on its CPU polls; one that others wait for
 * the CPU of lets them have it, which costs a hundredth of what a sleep and a wake do. */
static enum coll_state wait_moved(struct coll_comm *c)
{
    struct look_alone l = {c, COLL_BLOCKED};

    if (coll_crowded(c) && look_often(c, spins(c), false, look_alone, &l))
        return l.state;
    (void)coll_spin(&c, 1, spins(c), look_alone, &l);
    while (l.state == COLL_BLOCKED)
        l.state = coll_doze(&c, 1, LOOK_NS);
    return l.state;
}

NRT_STATUS coll_wait(struct coll_comm *c, struct err *err)
{
    enum coll_state state = coll_progress(c, PROGRESS);

    while (state == COLL_MOVED || state == COLL_BLOCKED) {
        if (state == COLL_BLOCKED)
            state = wait_moved(c);
        else
            state = coll_progress(c, PROGRESS);
    }
    if (state == COLL_FAILED)
        return err_set(err, c->status, "%s", c->err.text);
    return NRT_SUCCESS;
}
