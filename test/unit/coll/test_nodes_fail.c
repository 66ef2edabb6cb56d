/* SPDX-License-Identifier: Apache-2.0 */
/* Failures of collectives between nodes: what every rank says where ranks do different operations,
 * do not come, give up, or are stopped. Two nodes of one or two ranks, links over loopback. */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fault.h"
#include "cases.h"
#include "coll/coll_int.h"
#include "net/link_int.h"
#include "proves.h"
#include "ranks.h"
#include "runner.h"

static const struct op_case two_level_reduce = {.op = SCHED_ALL_REDUCE,
                                                .alg = SCHED_HIER,
                                                .intra = SCHED_RING,
                                                .inter = SCHED_RING,
                                                .dtype = DT_FP32,
                                                .tensors = 1,
                                                .counts = {3000}};

/* On two nodes. arg: the body's. */
static void on_two_nodes(enum ranks_kind kind, uint32_t per_node, uint64_t limit_ms,
                         const char *(*body)(struct rank *r), void *arg)
{
    struct ranks_nodes w = {.nodes = 2, .per_node = per_node};
    const char *text = ranks_run_nodes(kind, &w, limit_ms, body, arg);

    if (text)
        fail_msg("%s", text);
}

/* The ranks of the first node do an operation of the same size that is another one: every rank says
 * what it had announced, and what the other node had. */
struct mismatch {
    struct op_case here, there;
    const char *text_here, *text_there;
    uint32_t deaf; /* 1 + the rank that hears of the failure before it has heard of anything else */
};

static const struct mismatch mismatches[] = {
    {{.op = SCHED_ALL_REDUCE, .alg = SCHED_MESH, .dtype = DT_FP32, .tensors = 1, .counts = {3000}},
     {.op = SCHED_ALL_REDUCE,
      .alg = SCHED_MESH,
      .dtype = DT_FP32,
      .reduce = KERNEL_COMBINE_MAX,
      .tensors = 1,
      .counts = {3000}},
     "all_reduce (sum) by mesh (staged) of 12000 bytes of float32",
     "all_reduce (max) by mesh (staged) of 12000 bytes of float32"},
    {{.op = SCHED_ALL_TO_ALL, .alg = SCHED_MESH, .dtype = DT_FP32, .tensors = 1, .counts = {4000}},
     {.op = SCHED_ALL_TO_ALL, .alg = SCHED_MESH, .dtype = DT_INT32, .tensors = 1, .counts = {4000}},
     "all_to_all by mesh (staged) of 16000 bytes of float32",
     "all_to_all by mesh (staged) of 16000 bytes of int32"},
};

static const char *mismatch_body(struct rank *r)
{
    static _Thread_local struct err err;
    const struct mismatch *m = r->arg;
    struct case_kit a, b, *mine = r->group->node[r->me] == 0 ? &b : &a;

    err = (struct err){0};
    if (case_open(r, &a, &m->here, &err) || case_open(r, &b, &m->there, &err))
        return err.text;
    if (coll_begin(mine->plan, mine->ts.in_addr, mine->ts.out_addr, &err))
        return err.text;
    ranks_barrier(r); /* who has not begun has announced nothing */
    while (m->deaf == r->me + 1 && !coll_failed_elsewhere(r->comm))
        sched_yield();
    (void)coll_wait(r->comm, &err);
    ranks_barrier(r);
    case_close(&a);
    case_close(&b);
    if (err.status != NRT_NETWORK_PROXY_FAILURE)
        return "the difference was not found";
    if (strstr(err.text, "in \"\"")) /* who has waited for no step names none */
        return err.text;
    if (!strstr(err.text, "does another operation") && !strstr(err.text, "was stopped: rank"))
        return err.text;
    return strstr(err.text, m->text_here) && strstr(err.text, m->text_there) ? NULL : err.text;
}

static void another_operation(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        struct mismatch m = mismatches[i];

        on_two_nodes(RANKS_THREADS, 1 + i, 120000, mismatch_body, &m);
        on_two_nodes(RANKS_PROCESSES, 1 + i, 120000, mismatch_body, &m);
    }
    PROVES("inter-025"); /* the status of every rank */
    PROVES("api-154");
    (void)state;
}

/* Rank 1 of another node is asked which operation it does, and does nothing: rank 0 gives up
 * asking, and nobody has failed. */
static const char *asked_body(struct rank *r)
{
    struct op_case op = mismatches[0].here;
    struct err err = {0};
    struct case_kit k;

    if (case_open(r, &k, &op, &err))
        return "the plan was not made";
    if (r->me == 0) {
        if (coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
            return "the operation did not begin";
        coll_tell_ask(r->comm, 1);
    }
    ranks_barrier(r);
    if (r->me != 0 && coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
        return "the operation did not begin";
    if (coll_wait(r->comm, &err))
        return "the operation failed";
    ranks_barrier(r);
    case_close(&k);
    return NULL;
}

static void who_asks_a_silent_rank_gives_up(void **state)
{
    on_two_nodes(RANKS_THREADS, 1, 120000, asked_body, NULL);
    (void)state;
}

/* A rank that its node mate tells of the failure, before its own counterpart has told it anything,
 * says what both do all the same. */
static void another_operation_that_the_mate_has_found(void **state)
{
    for (uint32_t deaf = 1; deaf <= 4; deaf++) {
        struct mismatch m = mismatches[1];

        m.deaf = deaf;
        print_message("rank %u hears of it first\n", deaf - 1);
        on_two_nodes(RANKS_THREADS, 2, 120000, mismatch_body, &m);
    }
    (void)state;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Whoever gives up says last whom it misses, and how that one stands; the others say who it is. */
static bool names_rank_3(const char *text)
{
    static const char *const ends[] = {"; rank 3 has not begun any operation",
                                       "; rank 3 has not told where it stands",
                                       ", was stopped: rank 3 failed"};

    return ends_with(text, ends[0]) || ends_with(text, ends[1]) || ends_with(text, ends[2]);
}

/* Rank 3 of two nodes does not come: rank 1 waits for it over the network, the others wait for
 * ranks that wait. Which of them gives up: the body's argument; 3: whoever is first. */
static const char *absent_body(struct rank *r)
{
    uint32_t who = *(const uint32_t *)r->arg;
    static _Thread_local struct err err;
    const char *text = NULL;
    struct case_kit k;

    err = (struct err){0};
    if (case_open(r, &k, &two_level_reduce, &err))
        return err.text;
    ranks_out(r, 3);
    if (r->me != 3) {
        NRT_STATUS st;

        /* in which they tell each other eight times where they stand, or the others four times */
        ranks_limit(r, who == 3 || r->me == who ? 40 : 80);
        st = case_run_once(r, &k, 1, &err);
        ranks_out(r, r->me);

        if (st != NRT_EXEC_HW_ERR_COLLECTIVES)
            text = "not the documented status";
        else if (!names_rank_3(err.text))
            text = err.text;
    }
    ranks_barrier(r); /* rank 3 lives until the others have given up */
    case_close(&k);
    return text;
}

static void absent_rank(void **state)
{
    for (uint32_t who = 0; who <= 3; who++)
        on_two_nodes(RANKS_THREADS, 2, 120000, absent_body, &who);
    (void)state;
}

/* Whether the rank has said of itself, or of another rank that has told of it, that it waits for
 * `whom` in an operation. */
static bool waits_for(const struct rank *r, uint32_t rank, uint32_t whom)
{
    struct coll_said said = {0};

    return coll_said_by(r->comm, rank, &said) && said.wait && (uint32_t)said.wait == whom;
}

/* Until the rank is known to wait for `whom`. */
static NRT_STATUS doze_until_waits(struct rank *r, uint32_t rank, uint32_t whom)
{
    while (!waits_for(r, rank, whom))
        if (coll_doze(&r->comm, 1, 1000000) == COLL_FAILED)
            return coll_comm_status(r->comm);
    return NRT_SUCCESS;
}

/* Rank 2 tells rank 0 that it waits for rank 3, which comes only then. */
static NRT_STATUS told_first(struct rank *r, struct case_kit *k, struct err *err)
{
    _Atomic uint32_t *told = ranks_shared(r);
    NRT_STATUS st = NRT_SUCCESS;

    while (r->me == 3 && !atomic_load(told))
        sched_yield();
    if (coll_begin(k->plan, k->ts.in_addr, k->ts.out_addr, err))
        return err->status;
    if (r->me == 0 || r->me == 2)
        st = doze_until_waits(r, 2, 3);
    if (r->me == 2 && !st)
        coll_tell_state(r->comm);
    if (r->me == 0)
        atomic_store(told, 1);
    return coll_wait(r->comm, err);
}

/* Rank 2 does not come, and rank 0 finds out: its limit is short once it waits for rank 2. That of
 * rank 3, which waits for rank 2 as well, is so only afterwards. */
static const char *told_second(struct rank *r, struct case_kit *k, struct err *err)
{
    _Atomic uint32_t *told = ranks_shared(r);

    if (r->me == 2)
        return NULL;
    if (coll_begin(k->plan, k->ts.in_addr, k->ts.out_addr, err))
        return err->text;
    if (r->me == 0)
        (void)doze_until_waits(r, 0, 2);
    while (r->me == 3 && atomic_load(told) < 2)
        if (coll_doze(&r->comm, 1, 1000000) == COLL_FAILED)
            break;
    if (r->me == 0 || r->me == 3)
        r->comm->cfg.timeout_ns = UINT64_C(2000000000);
    (void)coll_wait(r->comm, err);
    if (r->me == 0)
        atomic_store(told, 2);
    return strstr(err->text, r->me == 0 ? "; rank 2 has not begun it" : "rank 2 ") ? NULL
                                                                                   : err->text;
}

/* What rank 2 has told in the first operation is old in the second one, to which it does not come:
 * it is the one to name, and not whom it waited for. */
static const char *told_before_body(struct rank *r)
{
    static _Thread_local struct err err;
    const char *text = NULL;
    struct case_kit k;

    err = (struct err){0};
    if (case_open(r, &k, &two_level_reduce, &err) || told_first(r, &k, &err)) {
        text = err.text;
        atomic_store((_Atomic uint32_t *)ranks_shared(r), 1); /* rank 3 waits no longer */
    }
    ranks_barrier(r);
    if (!text)
        text = told_second(r, &k, &err);
    ranks_barrier(r); /* rank 2 lives until the others have given up */
    case_close(&k);
    return text;
}

static void what_was_told_before_the_standstill_names_nobody(void **state)
{
    on_two_nodes(RANKS_THREADS, 2, 120000, told_before_body, NULL);
    (void)state;
}

/* Rank 3 gives up before it begins its operation: the others, of its node and of the other one, are
 * told at once, and why. The limit is longer than any test may take. */
static const char *gives_up_body(struct rank *r)
{
    static _Thread_local struct err err;
    struct case_kit k;

    err = (struct err){0};
    if (case_open(r, &k, &two_level_reduce, &err))
        return err.text;
    if (r->me == 3)
        (void)coll_fail(r->comm, NRT_EXEC_HW_ERR_COLLECTIVES, 3, "its own reason, \x7f of %d", 7);
    else
        (void)case_run_once(r, &k, 1, &err);
    ranks_barrier(r);
    case_close(&k);
    if (r->me == 3)
        return NULL;
    if (err.status != NRT_EXEC_HW_ERR_COLLECTIVES)
        return "not the documented status";
    return strstr(err.text, "was stopped: rank 3 failed: its own reason, ? of 7") ? NULL : err.text;
}

static void a_rank_that_gives_up_says_why(void **state)
{
    on_two_nodes(RANKS_THREADS, 2, 3600000, gives_up_body, NULL);
    on_two_nodes(RANKS_PROCESSES, 2, 3600000, gives_up_body, NULL);
    (void)state;
}

/* Rank 3 shows that it waits for rank 2, and is stopped by a signal. Rank 2, on its node, says for
 * it that it waits for nobody. */
struct stop_page {
    _Atomic pid_t stopped; /* 0: not yet */
    _Atomic uint32_t heard;
};

static const char *stops_waiting(struct rank *r, struct stop_page *page, struct case_kit *k)
{
    static struct err err;
    struct coll_area *mine = r->comm->peers[r->me].area;

    case_fill(r, k, 1);
    if (coll_begin(k->plan, k->ts.in_addr, k->ts.out_addr, &err))
        return err.text;
    while (atomic_load(&mine->publish.wait) == 0)
        (void)coll_doze(&r->comm, 1, 1000000);
    atomic_store(&page->stopped, getpid());
    raise(SIGSTOP);
    return coll_wait(r->comm, &err) || !case_check(r, k, 1, &err) ? err.text : NULL;
}

static void tells_progress(struct rank *r)
{
    (void)net_link_progress(r->link, 16);
    (void)coll_tell_progress(r->comm);
}

static const char *stopped_said_body(struct rank *r)
{
    static struct err err;
    struct stop_page *page = ranks_shared(r);
    struct coll_said said = {0};
    struct case_kit k;
    const char *text = NULL;

    if (case_open(r, &k, &two_level_reduce, &err))
        return err.text;
    if (r->me == 3) {
        text = stops_waiting(r, page, &k);
    } else if (r->me == 2) {
        while (!atomic_load(&page->stopped) || !device_slot_stopped(r->in, r->comm->peers[3].slot))
            sched_yield();
        coll_tell_state(r->comm);
        while (!atomic_load(&page->heard))
            tells_progress(r);
        kill(atomic_load(&page->stopped), SIGCONT);
    } else if (r->me == 0) {
        while (!coll_said_by(r->comm, 3, &said))
            tells_progress(r);
        if (said.started != 1 || said.wait != 0)
            text = "what a stopped rank waited for is still told";
        atomic_store(&page->heard, 1);
    }
    if (r->me != 3 && case_run_once(r, &k, 1, &err))
        text = err.text;
    ranks_barrier(r);
    case_close(&k);
    return text;
}

static void a_stopped_rank_waits_for_nobody(void **state)
{
    on_two_nodes(RANKS_PROCESSES, 2, 3600000, stopped_said_body, NULL);
    (void)state;
}

/* Of a communicator that there is not. */
#define UNASKED_CHANNEL (900 * NET_LINK_GROUP_CHANNELS)

/* Rank 0 waits for rank 1 of the other node, which does not come, and sleeps: between two looks at
 * the others, for which it has slept 100 ms in all, it polls the network a few times a sleep, which
 * is 2 ms long when the wait has lasted a while. Who did not sleep would poll a million times. */
#define SLEEPER_LOOKS 24
#define SLEEPER_POLLS 1000

struct sleeper {
    struct rank *rank;
    unsigned looks;
    uint64_t polls[SLEEPER_LOOKS];
};

static uint64_t sleeper_now(void *arg)
{
    struct sleeper *s = arg;
    struct net_link_counters c;

    net_link_count(s->rank->link, &c);
    if (s->looks < SLEEPER_LOOKS)
        s->polls[s->looks++] = c.polls;
    return s->looks < SLEEPER_LOOKS ? 1 : UINT64_MAX / 2; /* then the limit is over */
}

static const char *sleeper_body(struct rank *r)
{
    static _Thread_local struct err err;
    struct sleeper s = {.rank = r};
    static char text[96];
    struct op_case op = mismatches[0].here;
    struct case_kit k;
    uint64_t most = 0;

    err = (struct err){0};
    if (case_open(r, &k, &op, &err))
        return err.text;
    if (r->me == 0) {
        r->comm->cfg.now = sleeper_now;
        r->comm->cfg.now_arg = &s;
        (void)case_run_once(r, &k, 1, &err);
    }
    ranks_barrier(r);
    case_close(&k);
    for (unsigned i = SLEEPER_LOOKS / 2; i < s.looks; i++)
        if (s.polls[i] - s.polls[i - 1] > most)
            most = s.polls[i] - s.polls[i - 1];
    if (r->me != 0 || (s.looks == SLEEPER_LOOKS && most <= SLEEPER_POLLS))
        return NULL;
    snprintf(text, sizeof(text), "%u looks, up to %llu polls between two", s.looks,
             (unsigned long long)most);
    return text;
}

static void who_waits_for_another_node_sleeps(void **state)
{
    const struct ranks_nodes w = {.nodes = 2, .per_node = 1, .by_hand = true};
    const char *text = ranks_run_nodes(RANKS_PROCESSES, &w, 3600000, sleeper_body, NULL);

    if (text)
        fail_msg("%s", text);
    (void)state;
}

/* Rank 2 gives up, and its word to rank 0 stands behind messages that rank 0 never asks for, while
 * rank 0 waits for nothing but rank 1 of its own node, which does not come. */
static const char *word_behind_body(struct rank *r)
{
    enum { UNASKED = 12, SIZE = 3000 };
    static _Thread_local struct err err;
    static uint8_t bytes[SIZE];
    struct net_entry e = {.data = bytes, .size = SIZE, .peer = 0};
    struct net_wire wire = net_link_wire(r->link);
    struct net_request *s[UNASKED] = {0};
    struct case_kit k;

    err = (struct err){0};
    if (case_open(r, &k, &two_level_reduce, &err))
        return err.text;
    for (unsigned i = 0; i < UNASKED && r->me == 2 && !err.status; i++)
        while (wire.post(wire.arg, true, UNASKED_CHANNEL, &e, SIZE, &s[i], &err) == NET_AGAIN)
            (void)net_link_progress(r->link, 16);
    if (r->me == 2 && !err.status)
        (void)coll_fail(r->comm, NRT_EXEC_HW_ERR_COLLECTIVES, 2, "its own reason");
    if (r->me == 0)
        (void)case_run_once(r, &k, 1, &err);
    ranks_barrier(r);
    for (unsigned i = 0; i < UNASKED && s[i]; i++)
        wire.drop(wire.arg, s[i]);
    case_close(&k);
    if (r->me != 0)
        return err.status ? err.text : NULL;
    return strstr(err.text, "was stopped: rank 2 failed: its own reason") ? NULL : err.text;
}

static void a_word_behind_what_nobody_asked_for_is_heard(void **state)
{
    on_two_nodes(RANKS_PROCESSES, 2, 3600000, word_behind_body, NULL);
    (void)state;
}

/* ---- a plan of a rank that has no memory ---- */

/* With its offer a member has all that it lacks said. */
static NRT_STATUS offer(void *arg, const void *mine, size_t size, void *all, struct err *err)
{
    const struct coll_exchange *inner = arg;

    fault_disarm();
    return inner->all_gather(inner->arg, mine, size, all, err);
}

/* One plan. The poor rank lacks its allocation number `hit` (0: none), if it asks for so many
 * before its offer. What is wrong, or NULL; *ret_made: the plan was made on all. */
static const char *poor_plan(struct rank *r, const struct sched *s, uint64_t hit, bool *ret_made)
{
    uint32_t poor = *(const uint32_t *)r->arg;
    NRT_STATUS *of_poor = ranks_shared(r), st;
    static _Thread_local struct err err;
    struct coll_plan *plan = NULL;
    char text[64];

    err = (struct err){0};
    ranks_barrier(r);
    if (hit && r->me == poor)
        fault_arm(FAULT_ALLOC, hit);
    st = coll_plan_create(r->comm, s, DT_FP32, KERNEL_COMBINE_SUM, &plan, &err);
    fault_disarm();
    if (r->me == poor)
        *of_poor = st;
    ranks_barrier(r);
    coll_plan_destroy(plan);
    *ret_made = *of_poor == NRT_SUCCESS;
    snprintf(text, sizeof(text), "rank %u has no memory for", poor);
    if (*ret_made)
        return st == NRT_SUCCESS ? NULL : err.text;
    if (r->me == poor)
        return st == NRT_RESOURCE ? NULL : err.text;
    return st == NRT_FAILURE && strstr(err.text, text) ? NULL : "one has failed, another has not";
}

/* Its first plan greets the ranks of the other node that are not its counterparts. */
static const char *poor_body(struct rank *r)
{
    const uint64_t counts = 4000;
    struct sched_request req = {.op = SCHED_ALL_TO_ALL,
                                .alg = SCHED_MESH,
                                .group = r->group,
                                .tensors = 1,
                                .counts = &counts,
                                .elem_size = 4};
    struct coll_exchange inner = r->comm->cfg.exchange;
    struct err err = {0};
    const char *bad = NULL;
    struct sched *s;
    uint64_t hit = 1;

    if (sched_create(&req, &s, &err))
        return "no schedule";
    r->comm->cfg.exchange = (struct coll_exchange){.arg = &inner, .all_gather = offer};
    r->comm->greet_ns = RUNNER_WAIT_MS * UINT64_C(1000000); /* who waits for it fails the test */
    for (bool made = false; !bad && !made; hit++)
        bad = poor_plan(r, s, hit, &made);
    sched_destroy(s);
    return bad || hit > 5 ? bad : "nothing has failed";
}

static void a_rank_without_memory_for_a_plan_keeps_nobody_waiting(void **state)
{
    const struct ranks_nodes w = {.nodes = 2, .per_node = 2, .by_hand = true};

    for (uint32_t poor = 0; poor < 4; poor++) {
        const char *text = ranks_run_nodes(RANKS_PROCESSES, &w, 3600000, poor_body, &poor);

        if (text)
            fail_msg("%s", text);
    }
    (void)state;
}

/* ---- greetings of a rank that has no memory ---- */

struct greets {
    struct rank *rank;
    uint32_t poor;
    struct coll_exchange inner;
};

/* The offers are there. From now on the poor rank lacks a message of the communicator, as where it
 * has had no memory for it; nobody greets before. */
static NRT_STATUS offered(void *arg, const void *mine, size_t size, void *all, struct err *err)
{
    struct greets *g = arg;
    struct rank *r = g->rank;
    NRT_STATUS st = g->inner.all_gather(g->inner.arg, mine, size, all, err);
    uint32_t mate = (r->me + r->group->per_node) % r->n; /* on another node */

    pthread_mutex_lock(&r->link->lock);
    if (r->me == g->poor)
        link_message_lose(r->link, link_tag(mate, r->comm->net->first_channel, 0));
    pthread_mutex_unlock(&r->link->lock);
    ranks_barrier(r);
    return st;
}

/* Ranks of different nodes and indices have not greeted each other before. The lower one begins, so
 * one above the poor one may have its greeting already; one below it has not. */
static const char *greeting_right(const struct rank *r, uint32_t poor, NRT_STATUS st,
                                  const struct err *err)
{
    const struct topo_group *g = r->group;
    bool waits =
        r->me < poor && g->node[r->me] != g->node[poor] && g->index[r->me] != g->index[poor];
    char text[64];

    snprintf(text, sizeof(text), "rank %u has no memory to greet the others", poor);
    if (st == NRT_SUCCESS)
        return r->me == poor || waits ? "it has not been told" : NULL;
    if (st != (r->me == poor ? NRT_RESOURCE : NRT_FAILURE))
        return "another status";
    if (r->me != poor && strcmp(err->text, text) != 0)
        return err->text;
    return coll_plan_refuser(r->comm) == poor ? NULL : "another one is to blame";
}

/* A plan for which all have something to greet, with this in the place of the exchange of offers.
 */
static NRT_STATUS greets_plan(struct rank *r, uint32_t poor, const struct coll_exchange *ex,
                              struct err *err)
{
    const uint64_t counts = 1000 * r->n;
    struct sched_request req = {.op = SCHED_ALL_TO_ALL,
                                .alg = SCHED_MESH,
                                .group = r->group,
                                .tensors = 1,
                                .counts = &counts,
                                .elem_size = 4};
    struct greets g = {.rank = r, .poor = poor, .inner = r->comm->cfg.exchange};
    struct coll_plan *plan = NULL;
    struct sched *s;
    NRT_STATUS st = sched_create(&req, &s, err);

    if (st)
        return st;
    r->comm->cfg.exchange = *ex;
    r->comm->cfg.exchange.arg = &g;
    st = coll_plan_create(r->comm, s, DT_FP32, KERNEL_COMBINE_SUM, &plan, err);
    coll_plan_destroy(plan);
    sched_destroy(s);
    r->comm->cfg.exchange = g.inner;
    return st;
}

static const char *greeter_body(struct rank *r)
{
    const struct coll_exchange ex = {.all_gather = offered};
    uint32_t poor = *(const uint32_t *)r->arg;
    static _Thread_local struct err err;
    NRT_STATUS st;

    err = (struct err){0};
    st = greets_plan(r, poor, &ex, &err);
    ranks_barrier(r);
    return greeting_right(r, poor, st, &err);
}

/* Of three nodes some wait for the poor rank, and others for those. */
static void a_rank_without_memory_for_a_greeting_keeps_nobody_waiting(void **state)
{
    for (uint32_t nodes = 2; nodes <= 3; nodes++)
        for (uint32_t poor = 0; poor < 2 * nodes; poor++) {
            const struct ranks_nodes w = {.nodes = nodes, .per_node = 2};
            const char *text = ranks_run_nodes(RANKS_PROCESSES, &w, 3600000, greeter_body, &poor);

            if (text)
                fail_msg("rank %u of %u nodes: %s", poor, nodes, text);
        }
    (void)state;
}

/* Where the communicator has failed meanwhile nobody greets any more: the poor rank 3, to which
 * rank 0 would be the first to speak, does not wait for that. */
static NRT_STATUS offered_and_failed(void *arg, const void *mine, size_t size, void *all,
                                     struct err *err)
{
    struct greets *g = arg;
    struct rank *r = g->rank;
    NRT_STATUS st = offered(arg, mine, size, all, err);

    if (st || r->me == g->poor)
        return st;
    (void)coll_fail(r->comm, NRT_EXEC_HW_ERR_COLLECTIVES, r->me, "its own reason");
    return err_set(err, NRT_FAILURE, "it does not greet");
}

static const char *ungreeted_body(struct rank *r)
{
    const struct coll_exchange ex = {.all_gather = offered_and_failed};
    static _Thread_local struct err err;
    NRT_STATUS st;

    err = (struct err){0};
    st = greets_plan(r, 3, &ex, &err);
    ranks_barrier(r);
    return st == (r->me == 3 ? NRT_RESOURCE : NRT_FAILURE) ? NULL : err.text;
}

static void a_rank_without_memory_for_a_greeting_does_not_wait_for_a_failed_one(void **state)
{
    on_two_nodes(RANKS_PROCESSES, 2, 3600000, ungreeted_body, NULL);
    (void)state;
}

/* Rank 0, which would be the first to speak to the poor rank 3, says nothing before that one is
 * through. */
static NRT_STATUS offered_and_silent(void *arg, const void *mine, size_t size, void *all,
                                     struct err *err)
{
    struct greets *g = arg;
    const _Atomic uint32_t *through = ranks_shared(g->rank);
    NRT_STATUS st = offered(arg, mine, size, all, err);

    while (g->rank->me == 0 && !atomic_load(through))
        sched_yield();
    return st;
}

/* As driven.c does: who has no plan breaks the communicator, and who has one hears of that in the
 * operation. */
static const char *driven_body(struct rank *r)
{
    const struct coll_exchange ex = {.all_gather = offered_and_silent};
    _Atomic uint32_t *through = ranks_shared(r);
    static _Thread_local struct err err;
    NRT_STATUS st;

    err = (struct err){0};
    r->comm->cfg.driven = true;
    st = greets_plan(r, 3, &ex, &err);
    if (st && !coll_failed_elsewhere(r->comm))
        (void)coll_fail(r->comm, NRT_EXEC_HW_ERR_COLLECTIVES, r->me, "%s", err.text);
    if (r->me == 3)
        atomic_store(through, 1);
    while (!coll_failed_elsewhere(r->comm))
        tells_progress(r);
    ranks_barrier(r);
    if (r->me == 3)
        return st == NRT_RESOURCE ? NULL : err.text;
    if (r->me == 0 && (st != NRT_FAILURE || !strstr(err.text, "rank 3 cannot be a member")))
        return st ? err.text : "it has not been told";
    return NULL;
}

static void what_the_host_drives_tells_it_without_a_greeting(void **state)
{
    on_two_nodes(RANKS_PROCESSES, 2, 3600000, driven_body, NULL);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_operation),
        cmocka_unit_test(another_operation_that_the_mate_has_found),
        cmocka_unit_test(who_asks_a_silent_rank_gives_up),
        cmocka_unit_test(absent_rank),
        cmocka_unit_test(who_waits_for_another_node_sleeps),
        cmocka_unit_test(what_was_told_before_the_standstill_names_nobody),
        cmocka_unit_test(a_rank_that_gives_up_says_why),
        cmocka_unit_test(a_stopped_rank_waits_for_nobody),
        cmocka_unit_test(a_word_behind_what_nobody_asked_for_is_heard),
        cmocka_unit_test(a_rank_without_memory_for_a_plan_keeps_nobody_waiting),
        cmocka_unit_test(a_rank_without_memory_for_a_greeting_keeps_nobody_waiting),
        cmocka_unit_test(a_rank_without_memory_for_a_greeting_does_not_wait_for_a_failed_one),
        cmocka_unit_test(what_the_host_drives_tells_it_without_a_greeting),
    };

    if (!ranks_have_emulator_room())
        return RUNNER_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
