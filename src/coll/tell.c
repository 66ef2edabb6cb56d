/* SPDX-License-Identifier: Apache-2.0 */
/* What ranks of different nodes tell each other about their communicator: that they are there, when
 * it opens; where the ranks of a node stand, while one of them waits for long, or finds that
 * somebody does something else; that it has failed. A rank talks to those with its index on the
 * other nodes. What it learns of a failure it writes into the areas of its node, where the others
 * find it, so everybody learns of it even if some ranks have stopped.
 *
 * The bytes, and what is checked of those that come, are in tell_msg.c. */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "coll/tell_int.h"

#define TELL_NS UINT64_C(100000000) /* longest time spent on telling of a failure */
/* Longest wait for an answer: a peer on a busy host gets its CPU late. */
#define ASK_NS   UINT64_C(2000000000)
#define HELLO_NS UINT64_C(100000) /* between two looks while the communicator opens */

/* Messages to the counterparts on all other nodes, at most one under way to each: a node that takes
 * nothing any more keeps none from the others. */
struct tell_out {
    uint8_t *msg;                  /* the newest */
    uint8_t *buf;                  /* [nodes]: those under way */
    size_t size;                   /* of one */
    struct net_request **requests; /* [nodes] */
    bool *due;                     /* [nodes]: not posted yet */
    uint32_t left;                 /* nodes that one is under way to */
    uint32_t reached;              /* messages that have arrived since the newest was made */
};

struct tell_greeting {
    bool wanted; /* coll_tell_greet waits for it */
    bool heard, sent;
    uint32_t refused; /* 1 + the rank for whose sake it does not come */
    struct net_request *request;
};

struct coll_tell {
    uint32_t channel, nodes, node, index;
    uint32_t *others; /* [nodes]: the counterparts, nodes - 1 of them */
    struct net_wire wire;
    size_t size; /* of the longest message */
    uint8_t *in;
    struct net_request *receive; /* NULL: to be posted */
    struct tell_out state, failure, ask;
    bool *asked;                    /* [nodes]: waits for a TELL_STATE */
    uint32_t asks;                  /* of them that do */
    char why[COLL_WHY_MAX + 1];     /* of the failure that was heard of first with a reason */
    uint32_t why_of;                /* the culprit of that */
    struct coll_said *said;         /* [n] */
    uint64_t *heard;                /* [n]: when said came, of the communicator's clock; 0: never */
    struct tell_head hello;         /* what everybody is greeted with, */
    struct tell_head refusal;       /* or, where there is no memory for that, told instead */
    struct tell_greeting *greeting; /* [n] */
};

/* ---- sending ---- */

static uint32_t counterpart(const struct coll_comm *c, uint32_t node)
{
    const struct topo_group *g = c->cfg.group;

    return g->at[node * g->per_node + c->net->tell->index];
}

static NRT_STATUS out_make(struct coll_tell *t, struct tell_out *o)
{
    o->msg = mem_zalloc(t->size);
    o->buf = mem_calloc(t->nodes, t->size);
    o->requests = mem_calloc(t->nodes, sizeof(struct net_request *));
    o->due = mem_calloc(t->nodes, sizeof(*o->due));
    return o->msg && o->buf && o->requests && o->due ? NRT_SUCCESS : NRT_RESOURCE;
}

/* What others are told of a rank of my node: one that a signal has stopped does not take back that
 * it waits, and waits for nobody. */
static void said_here(const struct coll_comm *c, uint32_t rank, struct coll_said *ret)
{
    (void)coll_said_by(c, rank, ret);
    if (rank != c->me && device_slot_stopped(c->cfg.in, c->peers[rank].slot))
        ret->wait = 0;
}

/* A message with how the ranks of this node stand. */
static void out_begin(struct coll_comm *c, struct tell_out *o, struct tell_head head)
{
    struct coll_tell *t = c->net->tell;
    const struct topo_group *g = c->cfg.group;

    head.count = g->per_node;
    memcpy(o->msg, &head, sizeof(head));
    for (uint32_t y = 0; y < g->per_node; y++) {
        struct coll_said said;

        said_here(c, g->at[t->node * g->per_node + y], &said);
        tell_msg_say(o->msg, y, &said);
    }
    o->size = tell_msg_size(g, (enum tell_kind)head.kind);
    o->reached = 0;
}

static bool out_under_way(const struct tell_out *o, uint32_t node)
{
    return o->due[node] || o->requests[node] != NULL;
}

/* The newest is for this node, too. */
static void out_add(struct coll_tell *t, struct tell_out *o, uint32_t node)
{
    if (node == t->node || out_under_way(o, node))
        return;
    memcpy(o->buf + node * t->size, o->msg, o->size);
    o->due[node] = true;
    o->left++;
}

static void out_add_all(struct coll_tell *t, struct tell_out *o)
{
    for (uint32_t x = 0; x < t->nodes; x++)
        out_add(t, o, x);
}

/* A node that cannot be told is done with: its ranks find out by themselves. */
static void out_progress(struct coll_comm *c, struct tell_out *o)
{
    struct coll_tell *t = c->net->tell;

    for (uint32_t x = 0; x < t->nodes && o->left; x++) {
        struct err ignored = {0};
        bool over = false;
        uint32_t size;

        if (o->due[x]) {
            struct net_entry e = {.data = o->buf + x * t->size,
                                  .size = (uint32_t)o->size,
                                  .peer = c->cfg.group->rank[counterpart(c, x)]};
            enum net_posted how =
                t->wire.post(t->wire.arg, true, t->channel, &e, e.size, &o->requests[x], &ignored);

            o->due[x] = how == NET_AGAIN;
            over = how == NET_FAILED;
        }
        if (o->requests[x]) {
            NRT_STATUS st = t->wire.test(t->wire.arg, o->requests[x], &over, &size, &ignored);

            over = over || st;
            o->reached += over && !st;
            if (over)
                o->requests[x] = NULL;
        }
        o->left -= over;
    }
}

void coll_tell_state(struct coll_comm *c)
{
    struct coll_tell *t = c->net->tell;

    pthread_mutex_lock(&c->net->lock);
    out_begin(c, &t->state, tell_head_make(TELL_STATE, c->me));
    out_add_all(t, &t->state);
    out_progress(c, &t->state);
    pthread_mutex_unlock(&c->net->lock);
}

/* What was on its way to who asks may be older than the question. */
static void state_answer(struct coll_comm *c)
{
    struct coll_tell *t = c->net->tell;

    for (uint32_t x = 0; t->asks && x < t->nodes; x++) {
        if (!t->asked[x] || out_under_way(&t->state, x))
            continue;
        t->asked[x] = false;
        t->asks--;
        out_begin(c, &t->state, tell_head_make(TELL_STATE, c->me));
        out_add(t, &t->state, x);
    }
}

void coll_tell_failure(struct coll_comm *c)
{
    struct tell_out *o = &c->net->tell->failure;
    struct tell_head head = tell_head_make(TELL_FAILURE, c->me);
    uint64_t end = run_now_ns() + TELL_NS;
    char why[COLL_WHY_MAX + 1];

    head.failure = atomic_load_explicit(&c->peers[c->me].area->failure, memory_order_relaxed);
    out_begin(c, o, head);                             /* used by this thread only */
    coll_why_find(c, (uint32_t)head.failure - 1, why); /* another of my node may have been first */
    tell_msg_say_why(c->cfg.group, o->msg, why);
    out_add_all(c->net->tell, o);
    do {
        pthread_mutex_lock(&c->net->lock);
        out_progress(c, o);
        pthread_mutex_unlock(&c->net->lock);
        (void)net_link_progress(c->cfg.link, 16);
    } while (o->left && run_now_ns() < end);
}

/* ---- receiving ---- */

static void heard_state(struct coll_comm *c, const struct tell_head *h)
{
    const struct topo_group *g = c->cfg.group;
    struct coll_tell *t = c->net->tell;

    for (uint32_t y = 0; y < h->count; y++) {
        uint32_t r = g->at[g->node[h->rank] * g->per_node + y];

        t->said[r] = tell_msg_said(t->in, y);
        t->heard[r] = c->cfg.now(c->cfg.now_arg);
    }
}

/* What a look at the messages has found. */
struct tell_news {
    unsigned count;   /* messages */
    uint64_t failure; /* as in coll_area; 0: none */
    struct err lost;  /* the link was lost, or somebody talks nonsense */
};

static void hear(struct coll_comm *c, size_t size, struct tell_news *news)
{
    struct coll_tell *t = c->net->tell;
    struct tell_head h;
    bool *asked;

    if (tell_msg_read(c->cfg.group, c->me, t->in, size, &h, &news->lost))
        return;
    heard_state(c, &h);
    if (h.kind == TELL_HELLO && h.failure) {
        t->greeting[h.rank].refused = 1 + (h.failure <= c->n ? (uint32_t)h.failure - 1 : h.rank);
    } else if (h.kind == TELL_HELLO) {
        t->greeting[h.rank].heard = true;
    } else if (h.kind == TELL_FAILURE) {
        news->failure = h.failure;
        if (!t->why[0]) { /* the first one counts */
            t->why_of = (uint32_t)h.failure - 1;
            tell_msg_why(c->cfg.group, t->in, t->why);
        }
    } else if (h.kind == TELL_ASK) {
        asked = &t->asked[c->cfg.group->node[h.rank]];
        t->asks += !*asked;
        *asked = true;
    }
}

static bool receive_post(struct coll_comm *c, struct err *err)
{
    struct coll_tell *t = c->net->tell;
    struct net_entry e = {.data = t->in, .size = (uint32_t)t->size, .peer = NET_NO_RANK};

    return t->wire.post(t->wire.arg, false, t->channel, &e, e.size, &t->receive, err) != NET_FAILED;
}

static void look(struct coll_comm *c, struct tell_news *news)
{
    struct coll_tell *t = c->net->tell;
    uint32_t size = 0;
    bool done = false;

    state_answer(c);
    if (t->state.left)
        out_progress(c, &t->state);
    if (t->receive && t->wire.test(t->wire.arg, t->receive, &done, &size, &news->lost)) {
        t->receive = NULL;
        return;
    }
    if (!done && t->receive)
        return;
    t->receive = NULL;
    news->count = done;
    if (done)
        hear(c, size, news);
    if (!c->status && !news->failure && !news->lost.status)
        (void)receive_post(c, &news->lost);
}

static struct tell_news look_locked(struct coll_comm *c)
{
    struct tell_news news = {0};

    pthread_mutex_lock(&c->net->lock);
    look(c, &news);
    pthread_mutex_unlock(&c->net->lock);
    return news;
}

unsigned coll_tell_progress(struct coll_comm *c)
{
    struct tell_news news = look_locked(c);

    if (news.failure)
        coll_failure_take(c, news.failure);
    if (news.lost.status)
        coll_net_fail(c, c->n, &news.lost, "");
    return news.count + (news.lost.status != NRT_SUCCESS);
}

/* Two ranks that find out at the same time ask each other, and neither waits for the answer: the
 * question says how the other one stands, as does the message about the failure. */
void coll_tell_ask(struct coll_comm *c, uint32_t rank)
{
    struct tell_out *o = &c->net->tell->ask;
    uint64_t end = run_now_ns() + ASK_NS;
    struct tell_news news = {0};
    struct coll_op theirs;
    bool nobody = false;

    out_begin(c, o, tell_head_make(TELL_ASK, c->me)); /* used by this thread only */
    out_add_all(c->net->tell, o);
    while (!coll_op_differs(c, rank, &theirs) && !nobody && !news.failure && !news.lost.status &&
           run_now_ns() < end) {
        pthread_mutex_lock(&c->net->lock);
        out_progress(c, o);
        nobody = o->left == 0 && o->reached == 0;
        pthread_mutex_unlock(&c->net->lock);
        (void)net_link_progress(c->cfg.link, 16);
        news = look_locked(c);
    }
    if (news.failure)
        coll_failure_take(c, news.failure);
}

/* What coll_tell_progress does, by a load, whose thread is not that of the operations: a failure is
 * left in my area, where that one finds it. */
static unsigned progress_of_load(struct coll_comm *c, struct err *err)
{
    struct tell_news news = look_locked(c);
    uint64_t none = 0;

    if (news.lost.status == NRT_RESOURCE)
        *err = news.lost;
    else if (news.lost.status)
        news.failure =
            (uint64_t)NRT_NETWORK_PROXY_FAILURE << 32 | (coll_net_culprit(c, c->n) + UINT64_C(1));
    if (news.failure)
        atomic_compare_exchange_strong(&c->peers[c->me].area->failure, &none, news.failure);
    return news.count;
}

uint64_t coll_told(const struct coll_comm *c, uint32_t rank, struct coll_said *ret)
{
    uint64_t heard;

    pthread_mutex_lock(&c->net->lock);
    *ret = c->net->tell->said[rank];
    heard = c->net->tell->heard[rank];
    pthread_mutex_unlock(&c->net->lock);
    return heard;
}

void coll_told_why(const struct coll_comm *c, uint32_t culprit, char text[COLL_WHY_MAX + 1])
{
    const struct coll_tell *t = c->net->tell;

    text[0] = '\0';
    pthread_mutex_lock(&c->net->lock);
    if (t->why_of == culprit)
        memcpy(text, t->why, sizeof(t->why));
    pthread_mutex_unlock(&c->net->lock);
}

/* ---- opening and closing ---- */

/* True when this rank has greeted r and been greeted. The lower rank is the first to speak: some
 * providers connect at the first message, and get lost when both sides do so at once. */
static bool greet_step(struct coll_comm *c, uint32_t r, struct err *err)
{
    const uint32_t *world = c->cfg.group->rank;
    struct coll_tell *t = c->net->tell;
    struct tell_greeting *g = &t->greeting[r];
    struct net_entry e = {.data = &t->hello, .size = sizeof(t->hello), .peer = world[r]};
    bool over = false;
    uint32_t size;

    if (!g->sent && (g->heard || world[c->me] < world[r]))
        g->sent =
            t->wire.post(t->wire.arg, true, t->channel, &e, e.size, &g->request, err) == NET_POSTED;
    if (g->request && (t->wire.test(t->wire.arg, g->request, &over, &size, err) || over))
        g->request = NULL;
    return g->sent && g->heard && !g->request;
}

/* The refusal goes as a greeting would, the lower rank first, and nobody who cannot be told is told
 * again. True: it is over, or the rank does not wait for a greeting of this one. */
static bool refusal_step(struct coll_comm *c, uint32_t r)
{
    uint32_t world = c->cfg.group->rank[r];
    struct coll_tell *t = c->net->tell;
    struct tell_greeting *g = &t->greeting[r];
    struct net_entry e = {.data = &t->refusal, .size = sizeof(t->refusal), .peer = world};
    struct err ignored = {0};
    bool over = false;
    uint32_t size;

    if (!g->wanted || g->refused)
        return true;
    if (!g->sent && (c->cfg.group->rank[c->me] < world || net_link_heard(c->cfg.link, world)))
        g->sent = t->wire.post(t->wire.arg, true, t->channel, &e, e.size, &g->request, &ignored) !=
                  NET_AGAIN;
    if (g->request && (t->wire.test(t->wire.arg, g->request, &over, &size, &ignored) || over))
        g->request = NULL;
    return g->sent && !g->request;
}

/* Whether all that are wanted have been greeted; else *ret is one that has not. */
static bool greet_all(struct coll_comm *c, uint32_t *ret, struct err *err)
{
    struct coll_tell *t = c->net->tell;
    bool all = true;

    pthread_mutex_lock(&c->net->lock);
    for (uint32_t r = 0; r < c->n && !err->status; r++) {
        if (!t->greeting[r].wanted)
            continue;
        if (t->greeting[r].refused) {
            err_set(err, NRT_FAILURE, "rank %u has no memory to greet the others",
                    coll_job_rank(c, t->greeting[r].refused - 1));
            break;
        }
        t->greeting[r].wanted = !greet_step(c, r, err);
        if (t->greeting[r].wanted && all)
            *ret = r;
        all = all && !t->greeting[r].wanted;
    }
    pthread_mutex_unlock(&c->net->lock);
    return all && !err->status;
}

/* The communicator has failed: here, or because another rank has said so. */
static NRT_STATUS greet_stop(const struct coll_comm *c, uint64_t failure, uint32_t rank,
                             struct err *err)
{
    uint32_t culprit = (uint32_t)failure - 1;
    NRT_STATUS st = c->status ? c->status : (NRT_STATUS)(failure >> 32);
    char why[COLL_WHY_MAX + 1];

    if (st != NRT_EXEC_HW_ERR_COLLECTIVES || culprit >= c->n)
        return err_set(err, c->status ? c->status : NRT_NETWORK_PROXY_FAILURE,
                       "the communicator of rank %u has failed while it greets rank %u", c->me,
                       rank);
    coll_why_find(c, culprit, why);
    return err_set(err, c->status ? c->status : NRT_FAILURE,
                   "rank %u cannot be a member of the communicator%s%s", coll_job_rank(c, culprit),
                   why[0] ? ": " : "", why);
}

/* Who has lacked memory for a greeting, of those that are waited for; or this rank, which does not
 * hear. n: nobody. */
static uint32_t greet_culprit(struct coll_comm *c, NRT_STATUS st)
{
    const struct coll_tell *t = c->net->tell;
    uint32_t culprit = st == NRT_RESOURCE ? c->me : c->n;

    pthread_mutex_lock(&c->net->lock);
    for (uint32_t r = 0; r < c->n && culprit == c->n; r++)
        if (t->greeting[r].wanted && t->greeting[r].refused)
            culprit = t->greeting[r].refused - 1;
    pthread_mutex_unlock(&c->net->lock);
    return culprit;
}

static bool refused_all(struct coll_comm *c)
{
    bool all = true;

    pthread_mutex_lock(&c->net->lock);
    for (uint32_t r = 0; r < c->n; r++)
        all = refusal_step(c, r) && all;
    pthread_mutex_unlock(&c->net->lock);
    return all;
}

/* Tells those that wait for this rank's greeting that it does not come, for the culprit's sake;
 * whom that keeps from greeting others tells them. What lies at the heads of the connections is
 * still taken: it says who has spoken, and whether the communicator has failed, for which nobody
 * waits any more. */
static void greet_refuse(struct coll_comm *c, uint32_t culprit, uint64_t end)
{
    const _Atomic uint64_t *failure = &c->peers[c->me].area->failure;
    struct coll_tell *t = c->net->tell;
    struct run_word never = {0};
    struct err ignored = {0};

    c->refuser = culprit;
    t->refusal = t->hello;
    t->refusal.failure = culprit + UINT64_C(1);
    while (!refused_all(c) && !c->status && !atomic_load_explicit(failure, memory_order_relaxed) &&
           c->cfg.now(c->cfg.now_arg) < end)
        if (net_link_progress(c->cfg.link, 16) + progress_of_load(c, &ignored) == 0)
            (void)run_wait(&never, 0, HELLO_NS, NULL);
}

static NRT_STATUS greet_wait(struct coll_comm *c, uint64_t end, struct err *err)
{
    struct run_word never = {0};
    uint32_t rank = c->me;

    while (!greet_all(c, &rank, err)) {
        uint64_t failure;

        if (err->status)
            return err->status;
        if (net_link_progress(c->cfg.link, 16) + progress_of_load(c, err) == 0)
            (void)run_wait(&never, 0, HELLO_NS, NULL);
        failure = atomic_load_explicit(&c->peers[c->me].area->failure, memory_order_relaxed);
        if (!err->status && (c->status || failure))
            return greet_stop(c, failure, rank, err);
        if (!err->status && c->cfg.now(c->cfg.now_arg) >= end)
            return err_set(err, NRT_TIMEOUT,
                           "rank %u has not heard from rank %u (world rank %u) for %" PRIu64
                           " ms, to which it has a link of provider %s",
                           c->me, rank, c->cfg.group->rank[rank], c->greet_ns / 1000000,
                           net_link_provider(c->cfg.link));
    }
    return NRT_SUCCESS;
}

void coll_tell_want(struct coll_comm *c, uint32_t rank)
{
    pthread_mutex_lock(&c->net->lock);
    c->net->tell->greeting[rank].wanted = true;
    pthread_mutex_unlock(&c->net->lock);
}

/* A peer may have begun an operation of another communicator, which this rank begins after the
 * load: its greeting comes behind that operation's messages. refuses: those that this rank cannot
 * greet are told; else the caller tells all members that the communicator has failed. */
static NRT_STATUS greet(struct coll_comm *c, bool refuses, struct err *err)
{
    uint64_t end = c->cfg.now(c->cfg.now_arg) + c->greet_ns;
    uint32_t culprit = c->n;
    NRT_STATUS st;

    net_link_expect(c->cfg.link, true);
    st = greet_wait(c, end, err);
    if (st && refuses)
        culprit = greet_culprit(c, st);
    if (culprit < c->n)
        greet_refuse(c, culprit, end);
    net_link_expect(c->cfg.link, false);
    pthread_mutex_lock(&c->net->lock);
    for (uint32_t r = 0; r < c->n; r++)
        c->net->tell->greeting[r].wanted = false;
    pthread_mutex_unlock(&c->net->lock);
    return st;
}

NRT_STATUS coll_tell_greet(struct coll_comm *c, struct err *err)
{
    return greet(c, !c->cfg.driven, err);
}

NRT_STATUS coll_tell_open(struct coll_comm *c, uint32_t channel, struct err *err)
{
    const struct topo_group *g = c->cfg.group;
    struct coll_tell *t = mem_zalloc(sizeof(*t));
    uint32_t count = 0;

    c->net->tell = t;
    if (!t)
        return err_set(err, NRT_RESOURCE, "no memory for a communicator");
    t->channel = channel;
    t->nodes = g->nodes;
    t->node = g->node[c->me];
    t->index = g->index[c->me];
    t->wire = net_link_wire(c->cfg.link);
    t->size = tell_msg_size(g, TELL_FAILURE);
    t->in = mem_zalloc(t->size);
    t->said = mem_calloc(c->n, sizeof(*t->said));
    t->heard = mem_calloc(c->n, sizeof(*t->heard));
    t->hello = tell_head_make(TELL_HELLO, c->me);
    t->greeting = mem_calloc(c->n, sizeof(*t->greeting));
    t->asked = mem_calloc(t->nodes, sizeof(*t->asked));
    t->others = mem_calloc(t->nodes, sizeof(*t->others));
    if (out_make(t, &t->state) || out_make(t, &t->failure) || out_make(t, &t->ask) || !t->in ||
        !t->said || !t->heard || !t->greeting || !t->asked || !t->others)
        return err_set(err, NRT_RESOURCE, "no memory for a communicator");
    for (uint32_t x = 0; x < t->nodes; x++)
        if (x != t->node)
            t->others[count++] = counterpart(c, x);
    return NRT_SUCCESS;
}

/* They wait for the greeting of a rank that fails in here, and would until their limit. */
NRT_STATUS coll_tell_meet(struct coll_comm *c, struct err *err)
{
    uint64_t none = 0, mine = (uint64_t)NRT_EXEC_HW_ERR_COLLECTIVES << 32 | (c->me + UINT64_C(1));
    const struct coll_tell *t = c->net->tell;
    NRT_STATUS st;

    for (uint32_t i = 0; i < t->nodes - 1; i++)
        coll_tell_want(c, t->others[i]);
    st = greet(c, false, err);
    if (st == NRT_RESOURCE) {
        atomic_compare_exchange_strong(&c->peers[c->me].area->failure, &none, mine);
        coll_tell_failure(c);
    }
    return st;
}

static void out_drop(struct coll_tell *t, struct tell_out *o)
{
    for (uint32_t x = 0; o->requests && x < t->nodes; x++)
        if (o->requests[x]) {
            t->wire.drop(t->wire.arg, o->requests[x]);
            o->requests[x] = NULL;
        }
}

void coll_tell_drop(struct coll_comm *c)
{
    struct coll_tell *t = c->net->tell;

    if (!t)
        return;
    if (t->receive)
        t->wire.drop(t->wire.arg, t->receive);
    t->receive = NULL;
    out_drop(t, &t->state);
    out_drop(t, &t->failure);
    out_drop(t, &t->ask);
    for (uint32_t r = 0; t->greeting && r < c->n; r++)
        if (t->greeting[r].request) {
            t->wire.drop(t->wire.arg, t->greeting[r].request);
            t->greeting[r].request = NULL;
        }
}

static void out_free(struct tell_out *o)
{
    mem_free(o->msg);
    mem_free(o->buf);
    mem_free(o->requests);
    mem_free(o->due);
}

void coll_tell_free(struct coll_comm *c)
{
    struct coll_tell *t = c->net->tell;

    if (!t)
        return;
    out_free(&t->state);
    out_free(&t->failure);
    out_free(&t->ask);
    mem_free(t->in);
    mem_free(t->said);
    mem_free(t->heard);
    mem_free(t->greeting);
    mem_free(t->asked);
    mem_free(t->others);
    mem_free(t);
}
