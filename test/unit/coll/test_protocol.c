/* SPDX-License-Identifier: Apache-2.0 */
/* What ranks do with each other's areas, looked at from inside: what the soak and the models cannot
 * see one by one. Every check here was broken once to see its test fail. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cases.h"
#include "coll/coll_int.h"
#include "ranks.h"
#include "runner.h"

#define NO_TIMEOUT_MS 3600000              /* the watchdog ends the test before */
#define SHORT_NS      UINT64_C(2000000000) /* where it has to be reached: others do nothing more */
#define LOOKS         5                    /* the same, where they do */
#define GUARD         65536

static const struct op_case ring = {
    .op = SCHED_ALL_REDUCE, .alg = SCHED_RING, .dtype = DT_FP32, .tensors = 1, .counts = {5000}};

static void must(enum ranks_kind kind, uint32_t n, uint64_t timeout_ms,
                 const char *(*body)(struct rank *r), void *arg)
{
    const char *text = ranks_run(kind, n, timeout_ms, body, arg);

    if (text)
        fail_msg("%s", text);
}

/* ---- bells ---- */

static uint64_t raised_by_me(struct rank *r, uint32_t peer)
{
    struct coll_comm *c = r->comm;
    struct coll_area *a = c->peers[peer].area;
    uint64_t sum = 0;

    for (uint32_t ch = 0; ch < c->channels; ch++)
        for (unsigned s = 0; s < SCHED_SEM_COUNT; s++)
            sum += atomic_load(&coll_area_counters(a, c->n, ch, r->me)->c.sem[s]);
    for (unsigned set = 0; set < COLL_LINE_SETS; set++)
        for (unsigned l = 0; l < COLL_LINES; l++)
            sum += atomic_load(&coll_area_lines(a, c->n, c->channels, set, r->me)[l].seq);
    return sum;
}

/* What rank 1 shows of being raised and rung by me. */
struct heard {
    uint64_t raised;
    uint32_t bell;
};

static struct heard heard_now(struct rank *r)
{
    return (struct heard){raised_by_me(r, 1), run_word_load(&r->comm->peers[1].area->bell)};
}

/* Whether the bell has rung exactly if something was raised since. */
static bool rung_rightly(struct rank *r, struct heard before, unsigned *rung)
{
    struct heard now = heard_now(r);

    *rung += now.bell != before.bell;
    return (now.raised != before.raised) == (now.bell != before.bell);
}

/* Rank 1 sleeps, as far as its area says. A call of rank 0 that raised something has rung when it
 * returns, whether or not there is more to do; one that raised nothing does not ring. */
static const char *bell_body(struct rank *r)
{
    static const struct op_case cases[] = {
        {SCHED_ALL_REDUCE, SCHED_RING, .dtype = DT_FP32, .tensors = 1, .counts = {5000}},
        {SCHED_ALL_REDUCE, SCHED_MESH, SCHED_INLINE, .dtype = DT_FP32, .tensors = 1,
         .counts = {30}},
    };
    struct coll_area *peer = r->comm->peers[1].area;
    const char *bad = NULL;
    unsigned rung = 0;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct case_kit k;
        struct err err = {0};

        if (case_open(r, &k, &cases[i], &err))
            return "the plan was not made";
        if (r->me == 0) {
            struct heard before = heard_now(r);
            enum coll_state state;

            atomic_store(&peer->sleeping, 1);
            if (coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
                return "the operation did not begin";
            if (!rung_rightly(r, before, &rung))
                bad = "bell and signals do not go together at the beginning";
            do {
                before = heard_now(r);
                state = coll_progress(r->comm, 1);
                if (!rung_rightly(r, before, &rung))
                    bad = "bell and signals do not go together";
            } while (state == COLL_MOVED);
            atomic_store(&peer->sleeping, 0);
        }
        ranks_barrier(r);
        if (r->me != 0 && coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
            return "the operation did not begin";
        if (coll_wait(r->comm, &err))
            return "the operation did not end";
        case_close(&k);
    }
    return r->me == 0 && rung < 2 ? "nobody was ever rung" : bad;
}

static void whoever_raises_rings(void **state)
{
    must(RANKS_THREADS, 2, NO_TIMEOUT_MS, bell_body, NULL);
    (void)state;
}

/* ---- what a rank shows ---- */

/* Steps show while a rank works, and the same rank that has what it waits for, and does not move,
 * is the one to name: rank 1 falls silent right after it has said that it waits. */
static const char *silent_body(struct rank *r)
{
    struct case_kit k;
    struct coll_view v;
    struct err err = {0};
    const char *bad = NULL;
    uint64_t steps = 0;

    if (case_open(r, &k, &ring, &err) || coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
        return "the operation did not begin";
    if (r->me == 1) {
        while (coll_progress(r->comm, 1) == COLL_MOVED) {
            coll_comm_view(r->comm, 1, &v);
            if (v.steps <= steps)
                bad = "steps do not show";
            steps = v.steps;
        }
        (void)coll_doze(&r->comm, 1, 0);
        coll_comm_view(r->comm, 1, &v);
        if (!v.waits)
            bad = "it does not say that it waits";
        ranks_out(r, 1);
        ranks_barrier(r); /* now the others come */
    } else {
        ranks_barrier(r);
        ranks_limit(r, LOOKS);
        if (coll_wait(r->comm, &err) != NRT_EXEC_HW_ERR_COLLECTIVES)
            bad = "no failure although rank 1 is silent";
        else if (!strstr(err.text, "rank 1 has had") && !strstr(err.text, "rank 1 failed"))
            bad = "the silent rank is not named";
        ranks_out(r, r->me);
    }
    ranks_barrier(r);
    case_close(&k);
    return bad;
}

static void a_rank_that_falls_silent_is_named(void **state)
{
    for (uint32_t n = 3; n <= 5; n++) /* chains of waits that end at several places */
        must(RANKS_THREADS, n, NO_TIMEOUT_MS, silent_body, NULL);
    (void)state;
}

static bool says_that_it_waits(struct rank *r)
{
    struct device_flight_view v;
    struct coll_said said;

    (void)coll_said_by(r->comm, r->me, &said);
    return said.wait != 0 || !device_flight_read(&device_live(r->in, r->core)->flights, 0, &v) ||
           v.waits;
}

/* Rank 0 has said that it waits, and is looked at by hand from then on: the look at which it moves
 * takes that back. */
static const char *taken_back_body(struct rank *r)
{
    struct case_kit k;
    struct err err = {0};
    enum coll_state state;
    const char *bad = NULL;

    if (case_open(r, &k, &ring, &err))
        return "the plan was not made";
    if (r->me == 0) {
        if (coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
            return "the operation did not begin";
        while (coll_progress(r->comm, 1) == COLL_MOVED) {
        }
        (void)coll_doze(&r->comm, 1, 0);
        if (!says_that_it_waits(r))
            bad = "it does not say that it waits";
    }
    ranks_barrier(r);
    if (r->me != 0 && coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
        return "the operation did not begin";
    while (r->me == 0 && (state = coll_progress(r->comm, 1)) != COLL_DONE) {
        if (state == COLL_FAILED)
            return "the operation failed";
        if (state == COLL_MOVED && says_that_it_waits(r))
            bad = "it has moved and says that it waits";
        (void)sched_yield();
    }
    if (coll_wait(r->comm, &err))
        return "the operation failed";
    if (r->me == 0 && says_that_it_waits(r))
        bad = "it has ended and says that it waits";
    ranks_barrier(r);
    case_close(&k);
    return bad;
}

static void a_wait_is_taken_back_by_the_look_that_moves(void **state)
{
    must(RANKS_THREADS, 3, NO_TIMEOUT_MS, taken_back_body, NULL);
    (void)state;
}

/* Rank 0 waits for a rank that is still in the operation before and waits there for the third,
 * which is silent: the third is the one to name. What the other two show is written for them. */
static const char *earlier_body(struct rank *r)
{
    struct coll_comm *c = r->comm;
    struct case_kit k;
    struct coll_view v;
    struct err err = {0};
    const char *bad = NULL;
    char want[80];

    if (case_open(r, &k, &ring, &err) || coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err) ||
        coll_wait(c, &err))
        return "the operation did not end";
    ranks_barrier(r);
    if (r->me == 0) {
        uint32_t late, silent;

        if (coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
            return "the operation did not begin";
        while (coll_progress(c, 1) == COLL_MOVED) {
        }
        (void)coll_doze(&c, 1, 0);
        coll_comm_view(c, 0, &v);
        late = v.waits_for;
        silent = 3 - late;
        for (uint32_t i = 1; i < 3; i++)
            atomic_store(&c->peers[i].area->publish.ended, 0);
        atomic_store(&c->peers[late].area->publish.wait_for,
                     atomic_load(&coll_area_counters(c->peers[late].area, 3, 0, silent)->c.sem[0]) +
                         1);
        atomic_store(&c->peers[late].area->publish.wait, UINT64_C(1) << 63 | silent);
        snprintf(want, sizeof(want),
                 "rank %u has not begun it: its last is all_reduce number 1 (under way)", silent);
        c->cfg.timeout_ns = SHORT_NS;
        if (coll_wait(c, &err) != NRT_EXEC_HW_ERR_COLLECTIVES)
            bad = "no failure although nobody moves";
        else if (!strstr(err.text, want))
            bad = "the silent rank is not named";
    }
    ranks_barrier(r);
    case_close(&k);
    return bad;
}

static void waits_are_followed_through_earlier_operations(void **state)
{
    must(RANKS_THREADS, 3, NO_TIMEOUT_MS, earlier_body, NULL);
    (void)state;
}

/* ---- who is gone ---- */

/* Found by looking, not by the timeout, which would come in an hour. */
static const char *dying_body(struct rank *r)
{
    struct case_kit k;
    struct err err = {0};

    if (case_open(r, &k, &ring, &err))
        return "the plan was not made";
    for (unsigned i = 0; i < 1000000 && !err.status; i++) {
        if (coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
            break;
        if (r->me == 1 && i == 5)
            ranks_die(r);
        (void)coll_wait(r->comm, &err);
    }
    case_close(&k);
    if (r->me == 1)
        return NULL;
    if (err.status != NRT_EXEC_HW_ERR_COLLECTIVES || !strstr(err.text, "rank 1"))
        return "the dead rank is not named";
    return strstr(err.text, "rank 1 has died or left after ") ||
                   strstr(err.text, "was stopped: rank 1 failed") /* by who saw it first */
               ? NULL
               : "what became of the dead rank is not said";
}

static void the_dead_are_seen_long_before_the_timeout(void **state)
{
    must(RANKS_PROCESSES, 3, NO_TIMEOUT_MS, dying_body, NULL);
    (void)state;
}

/* A failure that a rank hears of between two operations: after which one, and what that was. */
static const char *between_body(struct rank *r)
{
    struct case_kit k;
    struct err err = {0};
    const char *bad = NULL;

    if (case_open(r, &k, &ring, &err) || coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err) ||
        coll_wait(r->comm, &err))
        return "the operation did not end";
    ranks_barrier(r);
    if (r->me == 1)
        (void)coll_fail(r->comm, NRT_EXEC_HW_ERR_COLLECTIVES, 1, "on demand");
    ranks_barrier(r);
    if (coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err) != NRT_EXEC_HW_ERR_COLLECTIVES)
        bad = "an operation begins after a failure";
    else if (r->me == 0 && !strstr(err.text, "after operation 1 (all_reduce by ring), rank 0, was "
                                             "stopped: rank 1 failed"))
        bad = "the operation before the failure is not named";
    else if (r->me == 0 && !strstr(err.text, "rank 1 failed: on demand"))
        bad = "the cause is not named";
    ranks_barrier(r);
    case_close(&k);
    return bad;
}

static void a_failure_between_operations_names_the_one_before(void **state)
{
    must(RANKS_THREADS, 2, NO_TIMEOUT_MS, between_body, NULL);
    (void)state;
}

/* ---- different operations ---- */

struct pair {
    struct op_case a, b; /* rank 0 does b */
};

#define REDUCE(alg, variant, dtype, n)                     \
    {                                                      \
        SCHED_ALL_REDUCE, alg, variant, 0, 0, dtype, 0, 1, \
        {                                                  \
            n                                              \
        }                                                  \
    }

static const struct pair pairs[] = {
    /* counters: size, type, operator, operation */
    {REDUCE(SCHED_RING, SCHED_STAGED, DT_FP32, 5000),
     REDUCE(SCHED_RING, SCHED_STAGED, DT_FP32, 4000)},
    {REDUCE(SCHED_RING, SCHED_STAGED, DT_FP32, 5000),
     REDUCE(SCHED_RING, SCHED_STAGED, DT_INT32, 5000)},
    {REDUCE(SCHED_RING, SCHED_STAGED, DT_FP32, 5000),
     {SCHED_ALL_REDUCE, SCHED_RING, .dtype = DT_FP32, .reduce = KERNEL_COMBINE_MAX, .tensors = 1,
      .counts = {5000}}},
    {REDUCE(SCHED_MESH, SCHED_DIRECT, DT_FP32, 50000),
     REDUCE(SCHED_MESH, SCHED_DIRECT, DT_FP32, 4000)},
    /* lines: size, type */
    {REDUCE(SCHED_MESH, SCHED_INLINE, DT_FP32, 30), REDUCE(SCHED_MESH, SCHED_INLINE, DT_FP32, 20)},
    {REDUCE(SCHED_MESH, SCHED_INLINE, DT_FP32, 30), REDUCE(SCHED_MESH, SCHED_INLINE, DT_INT32, 30)},
    /* one sends lines, the others raise counters */
    {REDUCE(SCHED_MESH, SCHED_INLINE, DT_FP32, 30), REDUCE(SCHED_RING, SCHED_STAGED, DT_FP32, 30)},
    {REDUCE(SCHED_RING, SCHED_STAGED, DT_FP32, 30), REDUCE(SCHED_MESH, SCHED_INLINE, DT_FP32, 30)},
};

static bool untouched(const uint8_t *p, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        if (p[i] != 0xa5)
            return false;
    return true;
}

/* A case as messages name it. */
static void case_text(const struct op_case *c, char *text, size_t size)
{
    static const char *const reduce[] = {"sum", "min", "max"};

    snprintf(text, size, "%s (%s) by %s (%s) of %llu bytes of %s", sched_op_name(c->op),
             reduce[c->reduce], sched_alg_name(c->alg), sched_variant_name(c->variant),
             (unsigned long long)(c->counts[0] * dtype_size(c->dtype)), dtype_name(c->dtype));
}

static bool both_sides(const struct err *err, const struct pair *p)
{
    char a[120], b[120];

    case_text(&p->a, a, sizeof(a));
    case_text(&p->b, b, sizeof(b));
    return strstr(err->text, a) && strstr(err->text, b);
}

/* Found when the ranks meet, before any memory that is not of the operation is touched: what lies
 * between and behind the tensors stays as it is. */
static const char *different_body(struct rank *r)
{
    const struct pair *p = r->arg;
    _Atomic uint32_t *found = ranks_shared(r);
    struct case_kit a, b, *mine = r->me == 0 ? &b : &a, *other = r->me == 0 ? &a : &b;
    const uint8_t *guard[3];
    uint64_t addr;
    struct err err = {0};

    guard[0] = rank_memory(r, GUARD, &addr);
    if (case_open(r, &a, &p->a, &err))
        return "plan a was not made";
    guard[1] = rank_memory(r, GUARD, &addr);
    if (case_open(r, &b, &p->b, &err))
        return "plan b was not made";
    guard[2] = rank_memory(r, GUARD, &addr);
    if (!coll_begin(mine->plan, mine->ts.in_addr, mine->ts.out_addr, &err))
        (void)coll_wait(r->comm, &err);
    if (strstr(err.text, "but another operation"))
        atomic_fetch_add(found, 1);
    ranks_barrier(r);
    if (err.status != NRT_EXEC_HW_ERR_COLLECTIVES || atomic_load(found) == 0)
        return "the difference was not found";
    if (!both_sides(&err, p) && !strstr(err.text, "before its first operation"))
        return "a rank does not say what each side had announced";
    for (unsigned i = 0; i < 3; i++)
        if (!untouched(guard[i], GUARD))
            return "memory beside the tensors has changed";
    if (!untouched(other->ts.out[0], other->ts.out_len[0] * 4) ||
        !untouched(other->ts.in[0], other->ts.in_len[0] * 4))
        return "tensors of another operation have changed";
    case_close(&a);
    case_close(&b);
    return NULL;
}

static void different_operations_are_found_when_ranks_meet(void **state)
{
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct pair p = pairs[i];
        const char *text = ranks_run(RANKS_THREADS, 3, NO_TIMEOUT_MS, different_body, &p);

        if (text)
            fail_msg("pair %zu: %s", i, text);
    }
    (void)state;
}

/* ---- memory ---- */

/* Tensors freed between operations are free at once, while the communicator is open; freed during
 * one they stay in the account until it is closed. */
static const char *account_body(struct rank *r)
{
    struct device_usage u;
    struct case_kit k;
    struct err err = {0};

    if (case_open(r, &k, &ring, &err) || case_run_once(r, &k, 1, &err))
        return "the operation did not end";
    ranks_barrier(r);
    rank_memory_free(r);
    if (device_usage_core(r->in, r->core, &u) || u.bytes[DEVICE_CAT_TENSOR] != 0)
        return "tensors freed between operations are still in use";
    case_close(&k);
    ranks_barrier(r);
    if (case_open(r, &k, &ring, &err) || coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
        return "the operation did not begin";
    ranks_barrier(r);
    rank_memory_free(r);
    if (device_usage_core(r->in, r->core, &u) || u.bytes[DEVICE_CAT_TENSOR] == 0)
        return "tensors freed during an operation have a new owner";
    if (coll_wait(r->comm, &err))
        return "the operation did not end";
    case_close(&k);
    return NULL;
}

static void tensors_are_exposed_during_operations_only(void **state)
{
    must(RANKS_THREADS, 3, NO_TIMEOUT_MS, account_body, NULL);
    (void)state;
}

/* A plan remembers the tensors of its last operations by their addresses; other tensors that have
 * come to lie there are leased like any others. */
static const char *again_body(struct rank *r)
{
    struct device_usage u;
    struct case_kit k;
    struct err err = {0};
    uint64_t in, out;

    if (case_open(r, &k, &ring, &err))
        return "the plan was not made";
    for (unsigned i = 0; i < 4; i++) {
        rank_memory_free(r);
        (void)rank_memory(r, k.ts.in_len[0] * 4, &in);
        (void)rank_memory(r, k.ts.out_len[0] * 4, &out);
        if (i > 0 && (in != k.ts.in_addr[0] || out != k.ts.out_addr[0]))
            return "the tensors lie elsewhere";
        k.ts.in_addr[0] = in;
        k.ts.out_addr[0] = out;
        if (coll_begin(k.plan, &in, &out, &err))
            return "the operation did not begin";
        ranks_barrier(r);
        if (i == 3)
            rank_memory_free(r);
        if (coll_wait(r->comm, &err))
            return "the operation did not end";
        ranks_barrier(r);
    }
    if (device_usage_core(r->in, r->core, &u) || u.bytes[DEVICE_CAT_TENSOR] == 0)
        return "tensors freed during an operation have a new owner";
    case_close(&k);
    return NULL;
}

static void tensors_that_lie_where_others_were_are_leased_too(void **state)
{
    must(RANKS_PROCESSES, 2, NO_TIMEOUT_MS, again_body, NULL);
    (void)state;
}

/* Memory of somebody else, or none, is refused before anything has begun. */
static const char *foreign_body(struct rank *r)
{
    struct case_kit k;
    struct err err = {0};
    uint64_t mine, *addr = ranks_shared(r);

    (void)rank_memory(r, 20000, &mine);
    addr[r->me] = mine;
    if (case_open(r, &k, &ring, &err))
        return "the plan was not made";
    ranks_barrier(r);
    if (coll_begin(k.plan, &addr[1 - r->me], k.ts.out_addr, &err) != NRT_INVALID)
        return "a tensor of another process was accepted";
    mine = DEVICE_ADDR(0, UINT64_C(1) << 33);
    if (coll_begin(k.plan, &mine, k.ts.out_addr, &err) != NRT_INVALID)
        return "memory that nobody has allocated was accepted";
    if (case_run_once(r, &k, 1, &err))
        return "the operation afterwards did not end";
    case_close(&k);
    return NULL;
}

static void only_tensors_of_the_caller_are_accepted(void **state)
{
    must(RANKS_PROCESSES, 2, NO_TIMEOUT_MS, foreign_body, NULL);
    (void)state;
}

/* ---- what ranks say of their operations ---- */

static const struct op_case sums[2] = {
    {.op = SCHED_ALL_REDUCE, .alg = SCHED_MESH, .dtype = DT_FP32, .tensors = 1, .counts = {16}},
    {.op = SCHED_ALL_REDUCE, .alg = SCHED_MESH, .dtype = DT_INT32, .tensors = 1, .counts = {64}}};

/* A rank that is ahead or behind does other operations, and is not taken for one that differs; nor
 * is one that is just changing what it says. What rank 1 says is written for it. */
static const char *overtaken_body(struct rank *r)
{
    struct coll_comm *c = r->comm;
    struct case_kit k[2];
    struct err err = {0};
    struct coll_op theirs;
    const char *bad = NULL;

    if (case_open(r, &k[0], &sums[0], &err) || case_open(r, &k[1], &sums[1], &err))
        return "the plan was not made";
    if (r->me == 0) {
        struct coll_publish *pub = &c->peers[1].area->publish;
        uint64_t other;
        unsigned i;

        if (coll_begin(k[0].plan, k[0].ts.in_addr, k[0].ts.out_addr, &err))
            return "the operation did not begin";
        i = c->seq & 1;
        other = k[1].plan->signature;
        for (int ahead = -2; ahead <= 2; ahead += 1)
            if (ahead != 0 &&
                !coll_same_operation(c, 1, (uint64_t)(uint32_t)(c->seq + ahead) << 32 | other))
                bad = "a rank that is ahead or behind is taken for one that differs";
        atomic_store(&pub->op[i].what, k[1].plan->said.what);
        atomic_store(&pub->op[i].how, k[1].plan->said.how);
        atomic_store(&pub->op[i].mark, COLL_MARK_NONE(i));
        if (coll_op_differs(c, 1, &theirs))
            bad = "a rank that is changing what it says is taken for one that differs";
        atomic_store(&pub->op[i].mark, (c->seq + 2) << 32 | other);
        if (coll_op_differs(c, 1, &theirs))
            bad = "what a rank says of a later operation is taken for this one's";
        if (!bad && c->status)
            bad = "the communicator has failed";
        atomic_store(&pub->op[i].mark, c->seq << 32 | other);
        if (!coll_op_differs(c, 1, &theirs) || theirs.what != k[1].plan->said.what)
            bad = "a difference is not seen";
        if (coll_same_operation(c, 1, c->seq << 32 | other) || !c->status)
            bad = "the communicator goes on after a difference";
    }
    ranks_barrier(r);
    case_close(&k[0]);
    case_close(&k[1]);
    return bad;
}

static void who_is_ahead_or_behind_does_not_differ(void **state)
{
    must(RANKS_THREADS, 2, NO_TIMEOUT_MS, overtaken_body, NULL);
    (void)state;
}

/* ---- who refuses a plan ---- */

#define REFUSES 1u /* the rank */

/* Nobody is taken for one that refuses, the first rank neither, before anybody has been asked, nor
 * when a plan has been made since. */
static const char *refuser_body(struct rank *r)
{
    struct coll_comm *c = r->comm;
    struct case_kit k = {0};
    struct err err = {0};
    NRT_STATUS st = NRT_FAILURE;
    const char *bad = NULL; /* all go on to the end: the others wait for them */

    if (coll_plan_refuser(c) != r->me)
        bad = "somebody has refused before anybody was asked";
    if (r->me == REFUSES)
        coll_plan_refuse(c);
    else
        st = case_open(r, &k, &ring, &err);
    case_close(&k);
    if (st != NRT_FAILURE)
        bad = "a plan was made that a rank has refused";
    if (coll_plan_refuser(c) != REFUSES)
        bad = "another one is named than has refused";
    if (case_open(r, &k, &ring, &err))
        bad = "the plan was not made";
    if (coll_plan_refuser(c) != r->me)
        bad = "somebody has refused a plan that was made";
    case_close(&k);
    return bad;
}

static void who_refuses_a_plan_is_known_by_what_it_says(void **state)
{
    must(RANKS_THREADS, 3, NO_TIMEOUT_MS, refuser_body, NULL);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_raises_rings),
        cmocka_unit_test(a_rank_that_falls_silent_is_named),
        cmocka_unit_test(a_wait_is_taken_back_by_the_look_that_moves),
        cmocka_unit_test(waits_are_followed_through_earlier_operations),
        cmocka_unit_test(the_dead_are_seen_long_before_the_timeout),
        cmocka_unit_test(a_failure_between_operations_names_the_one_before),
        cmocka_unit_test(different_operations_are_found_when_ranks_meet),
        cmocka_unit_test(who_is_ahead_or_behind_does_not_differ),
        cmocka_unit_test(who_refuses_a_plan_is_known_by_what_it_says),
        cmocka_unit_test(tensors_are_exposed_during_operations_only),
        cmocka_unit_test(tensors_that_lie_where_others_were_are_leased_too),
        cmocka_unit_test(only_tensors_of_the_caller_are_accepted),
    };

    if (!ranks_have_emulator_room())
        return RUNNER_SKIP;
    runner_watchdog(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
