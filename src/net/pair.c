/* SPDX-License-Identifier: Apache-2.0 */
/* A set of pairs: the inbox, progress, the thread, making and ending. */
#include "net/pair.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/base.h"
#include "base/fd.h"
#include "device/device.h"
#include "net/pair_int.h"
#include "run/run.h"

#define EVENTS 32
/* The thread looks at the clock so often, whatever the timers say. */
#define SLEEP_MAX_NS   UINT64_C(250000000)
#define FABRIC_NAP_MIN UINT64_C(10000)
#define FABRIC_NAP_MAX UINT64_C(1000000)
/* Of the thread while others look. */
#define NAP_MIN            UINT64_C(100000)
#define NAP_MAX            UINT64_C(1000000)
#define FRUITLESS          16u  /* looks before it need not doze any more */
#define LOOKS_IN_VAIN      64u  /* before a look gives its CPU away */
#define LOOKS_PER_PROGRESS 256u /* in memory for one at the descriptors, which is a system call */

struct pair_core *pairs_core(const struct net_pairs *s, uint32_t core)
{
    struct pair_core *c = s->cores;

    while (c != NULL && c->core != core)
        c = c->next;
    return c;
}

static void wake(struct net_pairs *s)
{
    const uint64_t one = 1;

    if (write(s->wake_fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: it is awake already */
}

/* For others than progress, which gives the lock away when somebody waits for it. */
static void pairs_lock(struct net_pairs *s)
{
    atomic_fetch_add_explicit(&s->others, 1, memory_order_relaxed);
    pthread_mutex_lock(&s->lock);
    atomic_fetch_sub_explicit(&s->others, 1, memory_order_relaxed);
}

/* --- progress ----------------------------------------------------------------------------------
 */

static void take_pairs(struct net_pairs *s, struct net_pair *p)
{
    while (p != NULL) {
        struct net_pair *next = p->next, **at;
        struct pair_core *c = pairs_core(s, p->core);

        p->next = NULL;
        if (c == NULL) { /* it left meanwhile */
            pair_fail(p, NRT_FAILURE, "logical core %u was closed", p->core);
        } else {
            for (at = &c->pairs; *at != NULL; at = &(*at)->next)
                ;
            *at = p;
            core_match(c);
        }
        p = next;
    }
}

static unsigned inbox_take(struct net_pairs *s)
{
    struct net_pair *pairs;
    struct net_transfer *t;
    unsigned n = 0;

    pthread_mutex_lock(&s->inbox_lock);
    pairs = s->new_pairs;
    t = s->new_transfers;
    s->new_pairs = NULL;
    s->new_pairs_last = &s->new_pairs;
    s->new_transfers = NULL;
    s->new_transfers_last = &s->new_transfers;
    pthread_mutex_unlock(&s->inbox_lock);
    take_pairs(s, pairs);
    for (; t != NULL; n++) {
        struct net_transfer *next = t->next;

        pair_add(t->pair, t);
        t = next;
    }
    return n;
}

static void source_event(struct net_pairs *s, struct source *src)
{
    uint64_t count;

    if (src->kind == SOURCE_LISTEN)
        core_accept((struct pair_core *)src);
    else if (src->kind == SOURCE_CONN)
        line_event(s, (struct line *)src);
    else
        while (read(s->wake_fd, &count, sizeof(count)) < 0 && errno == EINTR)
            ;
}

/* Timers, and pairs that could go on at once; whether one still could. */
static bool tick(struct net_pairs *s, unsigned *done)
{
    uint64_t now = pairs_now(s);
    bool more = false;

    half_tick(s, now);
    s->fabric_busy = s->far_more = false;
    for (struct pair_core *c = s->cores; c != NULL; c = c->next) {
        core_tick(c, now);
        for (struct net_pair *p = c->pairs; p != NULL; p = p->next) {
            if (p->share != NULL && !p->more && pair_share_move(p))
                p->more = true;
            if (p->more || pair_fabric_busy(p)) {
                pair_move(p);
                ++*done;
            }
            pair_tick(p, now);
            more |= p->more;
            s->far_more |= p->more && p->share == NULL;
            if (pair_fabric_busy(p)) {
                s->fabric_busy = true;
                if (p->moved_at > s->fabric_moved)
                    s->fabric_moved = p->moved_at;
            }
        }
    }
    return more;
}

/* *ret_more: there is work that no descriptor tells of. */
static unsigned progress_locked(struct net_pairs *s, unsigned budget, bool *ret_more)
{
    struct epoll_event events[EVENTS];
    unsigned done = 0;
    int n;

    do {
        done += inbox_take(s);
        n = epoll_wait(s->s.epoll_fd, events, EVENTS, 0);
        for (int i = 0; i < n; i++)
            source_event(s, events[i].data.ptr);
        if (n > 0)
            done += (unsigned)n;
        *ret_more = tick(s, &done);
        lines_sweep(s);
    } while ((n > 0 || *ret_more) && done < budget &&
             atomic_load_explicit(&s->others, memory_order_relaxed) == 0);
    return done;
}

unsigned net_pairs_progress(struct net_pairs *s, unsigned budget)
{
    unsigned done;
    bool more;

    if (pthread_mutex_trylock(&s->lock) != 0)
        return 0;
    done = progress_locked(s, budget, &more);
    pthread_mutex_unlock(&s->lock);
    return done;
}

static uint64_t next_timer(const struct net_pairs *s)
{
    uint64_t at = s->half != NULL ? s->half->deadline : UINT64_MAX, other;

    for (const struct pair_core *c = s->cores; c != NULL; c = c->next) {
        other = core_next_timer(c);
        at = other < at ? other : at;
        for (const struct net_pair *p = c->pairs; p != NULL; p = p->next) {
            other = pair_next_timer(p);
            at = other < at ? other : at;
        }
    }
    return at;
}

/* --- looking, dozing -----------------------------------------------------------------------------
 *
 * While threads of the program test transfers again and again, they are the progress: the set's own
 * thread naps, and looks whether they still do. When they have not for a nap it takes over, and
 * dozes on the descriptors: from then on other ends must tell, which costs them a system call and
 * this process a switch. A thread that looks in vain for some time while it dozes ends that. */

/* Somebody looks. */
static void rouse(struct net_pairs *s)
{
    s->dozing = false;
    s->fruitless = 0;
    for (struct net_pair *p = s->watched; p != NULL; p = pair_share_next(p))
        pair_share_rouse(p);
}

/* Nobody does. True: there is something to do. */
static bool doze(struct net_pairs *s)
{
    bool more = false;

    s->dozing = true;
    s->fruitless = 0;
    for (struct net_pair *p = s->watched; p != NULL; p = pair_share_next(p))
        more |= pair_share_doze(p);
    return more;
}

/* By the thread, after progress: whether somebody has looked since the last time. *more: there is
 * something to do at once, which is for whoever looks to do. Who looks at pairs inside the instance
 * only leaves the other ones, and the descriptors, to the thread. */
static bool looked_at(struct net_pairs *s, bool *more)
{
    uint32_t looks = atomic_load_explicit(&s->looks, memory_order_relaxed);
    bool looked = looks != s->looks_seen;

    s->looks_seen = looks;
    s->naps_deaf = looked && s->far_looked;
    s->far_looked = false;
    if (!looked) {
        *more |= doze(s);
        s->nap_ns = 0;
        return false;
    }
    if (s->dozing)
        rouse(s);
    *more = s->far_more && !s->naps_deaf;
    s->nap_ns = s->nap_ns * 2 < NAP_MIN   ? NAP_MIN
                : s->nap_ns * 2 > NAP_MAX ? NAP_MAX
                                          : s->nap_ns * 2;
    return true;
}

/* A transfer has been looked at and is not over: makes progress, unless another thread does. */
static void look(struct net_pair *p)
{
    struct net_pairs *s = p->set;
    uint32_t looks = atomic_fetch_add_explicit(&s->looks, 1, memory_order_relaxed);
    bool more = false, moved, idle, needed, far;

    if (s->cfg.by_hand)
        return;
    if (atomic_load_explicit(&s->others, memory_order_relaxed) > 0 ||
        pthread_mutex_trylock(&s->lock) != 0) {
        sched_yield();
        return;
    }
    far = p->share == NULL;
    s->far_looked |= far;
    if (far || looks % LOOKS_PER_PROGRESS == 0)
        moved = progress_locked(s, 1, &more) > 0;
    else
        more = moved = pairs_share_look(s);
    s->vain = moved ? 0 : s->vain + 1;
    idle = s->vain > LOOKS_IN_VAIN;
    /* No descriptor wakes the thread for the rest, and nobody may look again. */
    needed = s->dozing && (more || s->fabric_busy);
    if (s->dozing && ++s->fruitless == FRUITLESS) {
        rouse(s);
        needed = true; /* it naps from now on */
    }
    pthread_mutex_unlock(&s->lock);
    if (needed)
        wake(s);
    if (idle)
        sched_yield(); /* whoever it waits for may want this CPU */
}

/* No descriptor tells when the provider has something: while bytes are on their way the thread
 * naps, and longer and longer when none have come for a while. It does not poll: who waits for the
 * transfer does, and a thread that wakes is let in before one that polls. */
static uint64_t sleep_most(const struct net_pairs *s, uint64_t now)
{
    uint64_t idle = now > s->fabric_moved ? (now - s->fabric_moved) / 8 : 0;

    if (!s->fabric_busy)
        return SLEEP_MAX_NS;
    return idle < FABRIC_NAP_MIN ? FABRIC_NAP_MIN : idle > FABRIC_NAP_MAX ? FABRIC_NAP_MAX : idle;
}

static void *thread_main(void *arg)
{
    struct net_pairs *s = arg;

    (void)prctl(PR_SET_TIMERSLACK, 1000ul); /* naps last as long as they say */
    while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
        struct pollfd fd = {.fd = s->s.epoll_fd, .events = POLLIN};
        uint64_t now, timer, ns;
        struct timespec ts;
        bool more;

        pairs_lock(s);
        progress_locked(s, EVENTS, &more);
        now = pairs_now(s);
        timer = next_timer(s);
        ns = sleep_most(s, now);
        if (looked_at(s, &more)) {
            if (s->naps_deaf)
                fd.fd = s->wake_fd;
            ns = ns < s->nap_ns ? ns : s->nap_ns;
        }
        pthread_mutex_unlock(&s->lock);
        if (atomic_load_explicit(&s->others, memory_order_relaxed) > 0)
            sched_yield();
        if (timer <= now)
            ns = 0;
        else if (timer - now < ns)
            ns = timer - now;
        ts.tv_sec = 0;
        ts.tv_nsec = (long)ns;
        if (!more)
            ppoll(&fd, 1, &ts, NULL);
    }
    return NULL;
}

/* --- cores -------------------------------------------------------------------------------------
 */

static void core_free(struct pair_core *c)
{
    source_forget(&c->set->s, c->listen_fd);
    if (c->listen_fd >= 0)
        close(c->listen_fd);
    mem_free(c);
}

NRT_STATUS net_pairs_listen(struct net_pairs *s, uint32_t core, struct err *err)
{
    struct pair_core *c = mem_zalloc(sizeof(*c));
    NRT_STATUS st;

    if (c == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for logical core %u", core);
    c->set = s;
    c->core = core;
    c->listen_fd = -1;
    pairs_lock(s);
    st = pairs_core(s, core) != NULL
             ? err_set(err, NRT_FAILURE, "logical core %u is in use already", core)
             : core_listen(c, err);
    if (st == NRT_SUCCESS) {
        c->next = s->cores;
        s->cores = c;
    } else {
        core_free(c);
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}

static void pair_leave(struct net_pair *p, struct net_pairs_left *ret)
{
    struct msg bye = {.type = MSG_BYE};
    int state;

    pair_share_settle(p);
    state = atomic_load_explicit(&p->state, memory_order_relaxed);
    if (state == PAIR_MEETING)
        ret->unconnected++;
    for (const struct net_transfer *t = p->first; t != NULL; t = t->next)
        ret->in_flight++;
    if (state == PAIR_CONNECTED && p->first == NULL) {
        pair_share_farewell(p);
        line_send(p->set, p->line, msg_build(&bye, NULL, NULL));
        if (p->line != NULL)
            p->line->bye = true;
    }
    pair_fail(p, NRT_FAILURE, "logical core %u was closed", p->core);
}

static void core_leave(struct net_pairs *s, struct pair_core **at, struct net_pairs_left *ret)
{
    struct pair_core *c = *at;

    while (c->pairs != NULL) {
        struct net_pair *p = c->pairs;

        c->pairs = p->next;
        p->next = NULL;
        pair_leave(p, ret);
    }
    core_hang_up(c);
    *at = c->next;
    core_free(c);
    lines_sweep(s);
}

void net_pairs_leave(struct net_pairs *s, uint32_t core, struct net_pairs_left *ret)
{
    struct pair_core **at = &s->cores;

    *ret = (struct net_pairs_left){0};
    pairs_lock(s);
    inbox_take(s);
    while (*at != NULL && (*at)->core != core)
        at = &(*at)->next;
    if (*at != NULL)
        core_leave(s, at, ret);
    pthread_mutex_unlock(&s->lock);
}

/* --- pairs and transfers -----------------------------------------------------------------------
 */

NRT_STATUS net_pair_open(struct net_pairs *s, bool send, const char *ip, uint32_t peer_core,
                         uint32_t core, struct net_pair **ret, struct err *err)
{
    struct net_pair *p = mem_zalloc(sizeof(*p));
    NRT_STATUS st;

    if (p == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for a communicator");
    p->set = s;
    p->send = send;
    p->core = core;
    p->peer_core = peer_core;
    p->last = &p->first;
    p->limit_at = s->cfg.limit_ns == 0 ? UINT64_MAX : pairs_now(s) + s->cfg.limit_ns;
    st = pair_address(p, ip, s->cfg.port, err);
    if (st != NRT_SUCCESS) {
        mem_free(p);
        return st;
    }
    pthread_mutex_lock(&s->inbox_lock);
    *s->new_pairs_last = p;
    s->new_pairs_last = &p->next;
    pthread_mutex_unlock(&s->inbox_lock);
    wake(s);
    *ret = p;
    return NRT_SUCCESS;
}

NRT_STATUS net_pair_state(const struct net_pair *p, bool *ret_done, struct err *err)
{
    int state = atomic_load_explicit(&p->state, memory_order_acquire);

    if (state == PAIR_FAILED)
        return err_set(err, p->failure.status, "%s", p->failure.text);
    *ret_done = state == PAIR_CONNECTED;
    return NRT_SUCCESS;
}

void net_pair_free(struct net_pair *p)
{
    mem_free(p);
}

/* Takes what is new out of the inbox at once, if nobody makes progress now. */
static void announce(struct net_pairs *s, struct net_pair *p)
{
    bool needed = true;

    if (!s->cfg.by_hand && atomic_load_explicit(&s->others, memory_order_relaxed) == 0 &&
        pthread_mutex_trylock(&s->lock) == 0) {
        inbox_take(s);
        if (p->share == NULL && !p->send && p->more)
            pair_move(p);
        needed = s->dozing && p->more;
        pthread_mutex_unlock(&s->lock);
    }
    if (needed)
        wake(s);
}

NRT_STATUS net_transfer_start(struct net_pair *p, const struct net_pair_memory *m,
                              struct net_transfer **ret, struct err *err)
{
    struct net_pairs *s = p->set;
    struct net_transfer *t;
    bool done = false;

    if (net_pair_state(p, &done, err) != NRT_SUCCESS)
        return NRT_FAILURE;
    if (!done)
        return err_set(err, NRT_FAILURE, "the communicator is not connected");
    if (atomic_fetch_add_explicit(&p->pending, 1, memory_order_relaxed) >= NET_PAIR_PENDING_MAX) {
        atomic_fetch_sub_explicit(&p->pending, 1, memory_order_relaxed);
        return err_set(err, NRT_RESOURCE,
                       "%u requests of this communicator have not been tested to their end",
                       NET_PAIR_PENDING_MAX);
    }
    t = mem_zalloc(sizeof(*t));
    if (t == NULL) {
        atomic_fetch_sub_explicit(&p->pending, 1, memory_order_relaxed);
        return err_set(err, NRT_RESOURCE, "out of memory for a request");
    }
    t->pair = p;
    t->m = *m;
    pthread_mutex_lock(&s->inbox_lock);
    *s->new_transfers_last = t;
    s->new_transfers_last = &t->next;
    pthread_mutex_unlock(&s->inbox_lock);
    *ret = t;
    announce(s, p);
    return NRT_SUCCESS;
}

NRT_STATUS net_transfer_test(const struct net_transfer *t, bool *ret_done, uint64_t *ret_size,
                             struct err *err)
{
    int state = atomic_load_explicit(&t->state, memory_order_acquire);

    if (state == TRANSFER_RUNS) {
        look(t->pair);
        state = atomic_load_explicit(&t->state, memory_order_acquire);
    }
    if (state == TRANSFER_FAILED)
        return err_set(err, t->failure.status, "%s", t->failure.text);
    *ret_done = state == TRANSFER_DONE;
    if (*ret_done)
        *ret_size = t->size;
    return NRT_SUCCESS;
}

void net_transfer_free(struct net_transfer *t)
{
    if (t == NULL)
        return;
    atomic_fetch_sub_explicit(&t->pair->pending, 1, memory_order_relaxed);
    mem_free(t);
}

/* --- making and ending -------------------------------------------------------------------------
 */

/* What the helpers of the bootstrap need of a job's configuration. */
static void setup_fill(struct net_pairs *s, const struct net_pairs_config *cfg)
{
    struct net_job_config *c = &s->s.cfg;
    char host[256] = "localhost";

    s->cfg = *cfg;
    s->cfg.key = NULL;
    memset(s->cfg.key_dirs, 0, sizeof(s->cfg.key_dirs));
    c->unkeyed = cfg->unkeyed;
    c->log = cfg->log;
    c->now = cfg->now;
    c->now_arg = cfg->now_arg;
    c->handshake_ms = cfg->handshake_ms != 0 ? cfg->handshake_ms : 10000;
    c->half_open_max = cfg->half_open_max != 0 ? cfg->half_open_max : 64;
    c->dead_ms = 20000;
    if (gethostname(host, sizeof(host) - 1) != 0)
        snprintf(host, sizeof(host), "localhost");
    for (size_t i = 0; i < sizeof(s->host) - 1 && host[i] != '\0'; i++)
        s->host[i] = host[i] >= 0x20 && host[i] <= 0x7e ? host[i] : '?';
}

static NRT_STATUS descriptors_open(struct net_pairs *s, struct err *err)
{
    s->s.epoll_fd = fd_keep(epoll_create1(EPOLL_CLOEXEC));
    s->wake_fd = fd_keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    s->wake_src.kind = SOURCE_WAKE;
    if (s->s.epoll_fd < 0 || s->wake_fd < 0 ||
        !source_watch(&s->s, s->wake_fd, &s->wake_src, true, false))
        return err_set(err, NRT_RESOURCE, "no descriptor for send and receive: %s",
                       strerror(errno));
    return NRT_SUCCESS;
}

static NRT_STATUS pairs_start(struct net_pairs *s, const struct net_pairs_config *cfg,
                              struct err *err)
{
    struct net_job_config kc = {.key = cfg->key,
                                .key_dirs = {cfg->key_dirs[0], cfg->key_dirs[1], cfg->key_dirs[2]}};
    NRT_STATUS st = key_load(&kc, &s->s.key, err);

    if (st == NRT_SUCCESS)
        st = descriptors_open(s, err);
    if (st != NRT_SUCCESS || cfg->by_hand)
        return st;
    st = run_thread_start(&s->thread, thread_main, s, "nrt-sendrecv", err);
    s->threaded = st == NRT_SUCCESS;
    if (s->threaded)
        run_thread_keep(s->thread, &cfg->cpus);
    return st;
}

NRT_STATUS net_pairs_open(const struct net_pairs_config *cfg, struct net_pairs **ret,
                          struct err *err)
{
    struct net_pairs *s = mem_zalloc(sizeof(*s));
    NRT_STATUS st;

    *ret = NULL;
    if (s == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for send and receive");
    s->s.epoll_fd = s->wake_fd = -1;
    s->new_pairs_last = &s->new_pairs;
    s->new_transfers_last = &s->new_transfers;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->inbox_lock, NULL);
    setup_fill(s, cfg);
    st = pairs_start(s, cfg, err);
    if (st != NRT_SUCCESS)
        net_pairs_close(s);
    else
        *ret = s;
    return st;
}

void net_pairs_close(struct net_pairs *s)
{
    struct net_pairs_left left = {0};

    if (s == NULL)
        return;
    if (s->threaded) {
        atomic_store_explicit(&s->stop, true, memory_order_release);
        wake(s);
        pthread_join(s->thread, NULL);
    }
    inbox_take(s);
    while (s->cores != NULL)
        core_leave(s, &s->cores, &left);
    pairs_share_free(s, true);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    if (s->s.epoll_fd >= 0)
        close(s->s.epoll_fd);
    explicit_bzero(&s->s.key, sizeof(s->s.key));
    pthread_mutex_destroy(&s->inbox_lock);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

/* --- fork --------------------------------------------------------------------------------------
 */

void net_pairs_fork_begin(struct net_pairs *s)
{
    pairs_lock(s);
}

void net_pairs_fork_end(struct net_pairs *s)
{
    pthread_mutex_unlock(&s->lock);
}

static void lines_close(const struct line *k)
{
    for (; k != NULL; k = k->next)
        close(k->c.fd);
}

/* Nothing but close: the epoll set is the parent's, too, so what it watches must not be changed. */
void net_pairs_fork_child(struct net_pairs *s)
{
    for (const struct pair_core *c = s->cores; c != NULL; c = c->next) {
        close(c->listen_fd);
        lines_close(c->calls);
        for (const struct net_pair *p = c->pairs; p != NULL; p = p->next) {
            if (p->line != NULL)
                close(p->line->c.fd);
        }
    }
    lines_close(s->half);
    close(s->wake_fd);
    close(s->s.epoll_fd);
}
