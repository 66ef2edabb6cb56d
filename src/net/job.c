/* SPDX-License-Identifier: Apache-2.0 */
/* A job: one epoll set over the member's connection and, in the process of rank 0, the root's; one
 * lock; waiting. */
#include "net/job.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/settings.h"
#include "net/net_int.h"
#include "run/run.h"

#define EVENTS 16
/* A sleeper looks at the clock so often, whatever the timers say. */
#define SLEEP_MAX_NS 250000000ull

uint64_t setup_now(const struct net_setup *s)
{
    return s->cfg.now != NULL ? s->cfg.now(s->cfg.now_arg) : run_now_ns();
}

bool source_watch(const struct net_setup *s, int fd, struct source *src, bool add, bool want_write)
{
    struct epoll_event e = {.events = EPOLLIN | (want_write ? EPOLLOUT : 0), .data.ptr = src};

    return epoll_ctl(s->epoll_fd, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e) == 0;
}

void source_forget(const struct net_setup *s, int fd)
{
    if (fd >= 0)
        epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

NRT_STATUS wire_status(uint32_t v)
{
    NRT_STATUS st = (NRT_STATUS)v;

    return st == NRT_INVALID || st == NRT_TIMEOUT || st == NRT_RESOURCE ? st : NRT_FAILURE;
}

void job_fail(struct net_job *j, bool quiet, NRT_STATUS status, uint32_t culprit, const char *fmt,
              ...)
{
    va_list ap;

    if (j->failure.status != NRT_SUCCESS)
        return;
    va_start(ap, fmt);
    err_vset(&j->failure, status, fmt, ap);
    va_end(ap);
    j->culprit = culprit;
    j->m.state = MEMBER_FAILED;
    source_forget(&j->s, j->m.c.fd);
    if (j->m.c.fd >= 0 && status == NRT_RESOURCE)
        shutdown(j->m.c.fd, SHUT_RDWR); /* the others cannot know it otherwise */
    if (!quiet)
        LOGE(j->s.cfg.log, LOG_NRT, "net_job", "%s", j->failure.text);
}

/* --- progress and waiting ----------------------------------------------------------------------
 */

static uint64_t next_timer(const struct net_job *j)
{
    uint64_t a = member_next_timer(j), b = j->root != NULL ? root_next_timer(j->root) : UINT64_MAX;

    return a < b ? a : b;
}

static void wake_drain(struct net_job *j)
{
    uint64_t count;

    while (read(j->wake_fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
}

static unsigned source_event(struct net_job *j, struct source *src)
{
    switch (src->kind) {
    case SOURCE_MEMBER:
        member_event(j);
        return 1;
    case SOURCE_WAKE:
        wake_drain(j);
        return 0;
    default:
        return root_event(j->root, src);
    }
}

/* The one who sleeps in poll may be waiting for what this thread has just received. */
static void tell_others(struct net_job *j)
{
    const uint64_t one = 1;

    pthread_cond_broadcast(&j->changed);
    if (j->sleeping && write(j->wake_fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: it is awake already */
}

unsigned job_progress_locked(struct net_job *j, unsigned budget)
{
    struct epoll_event events[EVENTS];
    unsigned done = 0;
    int n;

    do {
        n = epoll_wait(j->s.epoll_fd, events, EVENTS, 0);
        for (int i = 0; i < n; i++)
            done += source_event(j, events[i].data.ptr);
        member_tick(j);
        group_tick(j, setup_now(&j->s));
        if (j->root != NULL)
            root_tick(j->root);
    } while (n == EVENTS && done < budget);
    if (done > 0)
        tell_others(j);
    return done;
}

unsigned net_job_progress(struct net_job *j, unsigned budget)
{
    unsigned done;

    if (pthread_mutex_trylock(&j->lock) != 0)
        return 0;
    done = job_progress_locked(j, budget);
    pthread_mutex_unlock(&j->lock);
    return done;
}

static void timespec_of(uint64_t ns, struct timespec *ret)
{
    ret->tv_sec = (time_t)(ns / 1000000000u);
    ret->tv_nsec = (long)(ns % 1000000000u);
}

/* Sleeps until an event, a timer or limit_ns, in poll if nobody else is there already. */
static void job_sleep(struct net_job *j, uint64_t limit_ns)
{
    uint64_t now = setup_now(&j->s), timer = next_timer(j), ns = SLEEP_MAX_NS;
    struct pollfd p = {.fd = j->s.epoll_fd, .events = POLLIN};
    struct timespec ts;

    if (limit_ns < ns)
        ns = limit_ns;
    if (timer != UINT64_MAX && (timer <= now || timer - now < ns))
        ns = timer <= now ? 0 : timer - now;
    if (j->sleeping) {
        timespec_of(run_now_ns() + ns, &ts);
        pthread_cond_timedwait(&j->changed, &j->lock, &ts);
        return;
    }
    j->sleeping = true;
    pthread_mutex_unlock(&j->lock);
    timespec_of(ns, &ts);
    ppoll(&p, 1, &ts, NULL);
    pthread_mutex_lock(&j->lock);
    j->sleeping = false;
    pthread_cond_broadcast(&j->changed); /* somebody else may have to take over */
}

bool job_wait_locked(struct net_job *j, bool (*done)(void *arg), void *arg, uint64_t limit_ns)
{
    uint64_t start = setup_now(&j->s), spent;

    for (;;) {
        while (job_progress_locked(j, EVENTS) > 0 && !done(arg))
            ;
        if (done(arg))
            return true;
        spent = setup_now(&j->s) - start;
        if (spent >= limit_ns)
            return false;
        job_sleep(j, limit_ns - spent);
    }
}

/* --- state -------------------------------------------------------------------------------------
 */

static NRT_STATUS state_locked(const struct net_job *j, bool *ret_joined, struct err *err)
{
    *ret_joined = j->running;
    if (j->failure.status != NRT_SUCCESS)
        return err_set(err, j->failure.status, "%s", j->failure.text);
    return NRT_SUCCESS;
}

NRT_STATUS net_job_state(struct net_job *j, bool *ret_joined, struct err *err)
{
    NRT_STATUS st;

    pthread_mutex_lock(&j->lock);
    st = state_locked(j, ret_joined, err);
    pthread_mutex_unlock(&j->lock);
    return st;
}

static bool joined_or_failed(void *arg)
{
    const struct net_job *j = arg;

    return j->running || j->failure.status != NRT_SUCCESS;
}

NRT_STATUS net_job_wait(struct net_job *j, uint64_t limit_ns, struct err *err)
{
    bool joined;
    NRT_STATUS st;

    pthread_mutex_lock(&j->lock);
    job_wait_locked(j, joined_or_failed, j, limit_ns);
    st = state_locked(j, &joined, err);
    pthread_mutex_unlock(&j->lock);
    if (st == NRT_SUCCESS && !joined)
        st = err_set(err, NRT_TIMEOUT, "rank %u still waits for the others", j->s.cfg.rank);
    return st;
}

int net_job_fd(const struct net_job *j)
{
    return j->s.epoll_fd;
}

uint32_t net_job_rank(const struct net_job *j)
{
    return j->s.cfg.rank;
}

uint32_t net_job_world(const struct net_job *j)
{
    return j->s.cfg.world;
}

uint64_t net_job_cluster_id(const struct net_job *j)
{
    return j->running ? j->cluster_id : 0;
}

uint64_t net_job_epoch(const struct net_job *j)
{
    return j->running ? j->epoch : 0;
}

bool net_job_authenticated(const struct net_job *j)
{
    return j->running && j->keyed;
}

const struct net_rank *net_job_member(const struct net_job *j, uint32_t rank)
{
    return j->running && rank < j->s.cfg.world ? &j->ranks[rank] : NULL;
}

bool net_job_left(struct net_job *j)
{
    bool left;

    pthread_mutex_lock(&j->lock);
    left = j->left;
    pthread_mutex_unlock(&j->lock);
    return left;
}

void net_job_give_up(struct net_job *j, const char *why)
{
    pthread_mutex_lock(&j->lock);
    job_fail(j, false, NRT_RESOURCE, NET_NO_RANK, "%s", why);
    pthread_mutex_unlock(&j->lock);
}

uint32_t net_job_culprit(struct net_job *j)
{
    uint32_t culprit;

    pthread_mutex_lock(&j->lock);
    culprit = j->culprit;
    pthread_mutex_unlock(&j->lock);
    return culprit;
}

/* --- configuration -----------------------------------------------------------------------------
 */

void net_job_config_env(struct net_job_config *cfg, const struct diag_sink *sink)
{
    cfg->root = settings_str("NEURON_RT_ROOT_COMM_ID", NULL);
    cfg->key = settings_str("OPENNRT_JOB_KEY", NULL);
    cfg->join_limit_ms =
        (uint64_t)settings_int("OPENNRT_JOIN_TIMEOUT", 0, 0, INT32_MAX, sink) * 1000;
    cfg->cross_ms = (uint64_t)settings_int("NEURON_RT_EXEC_TIMEOUT", 30, 0, INT32_MAX, sink) * 1000;
    if (cfg->cross_ms == 0) /* no limit */
        cfg->cross_ms = UINT64_MAX / NSEC_PER_MS;
}

static void default_ms(uint64_t *ms, uint64_t value)
{
    if (*ms == 0)
        *ms = value;
}

/* NULL, with the job as it is, when memory is out. */
static const char *keep(struct net_job *j, const char *s, const char *def)
{
    char *copy = mem_strdup(s != NULL ? s : def);

    for (unsigned i = 0; i < sizeof(j->kept) / sizeof(j->kept[0]); i++) {
        if (j->kept[i] == NULL) {
            j->kept[i] = copy;
            break;
        }
    }
    return copy;
}

static bool config_keep(struct net_job *j, const struct net_job_config *cfg)
{
    struct net_job_config *c = &j->s.cfg;
    char host[256] = "localhost";
    void *blob = mem_alloc(cfg->blob_size > 0 ? cfg->blob_size : 1);

    *c = *cfg;
    if (gethostname(host, sizeof(host) - 1) != 0)
        snprintf(host, sizeof(host), "localhost");
    if (blob != NULL && cfg->blob_size > 0)
        memcpy(blob, cfg->blob, cfg->blob_size);
    c->blob = j->kept_blob = blob;
    c->root = keep(j, cfg->root, "(none)");
    c->version = keep(j, cfg->version, OPENNRT_VERSION);
    c->host = keep(j, cfg->host, host);
    c->node = keep(j, cfg->node != NULL ? cfg->node : cfg->host, host);
    c->instance = keep(j, cfg->instance, "default");
    c->key = NULL;
    memset(c->key_dirs, 0, sizeof(c->key_dirs));
    default_ms(&c->retry_ms, 120000);
    default_ms(&c->handshake_ms, 10000);
    default_ms(&c->report_ms, 200);
    default_ms(&c->close_ms, 2000);
    default_ms(&c->dead_ms, 20000);
    default_ms(&c->cross_ms, 30000);
    if (c->half_open_max == 0)
        c->half_open_max = 64;
    return blob != NULL && c->root && c->version && c->host && c->node && c->instance;
}

static NRT_STATUS text_check(const char *what, const char *s, size_t max, uint32_t rank,
                             struct err *err)
{
    if (strlen(s) >= max)
        return err_set(err, NRT_INVALID,
                       "%s of rank %u, %.80s, has %zu characters, at most %zu are allowed: shorten "
                       "it",
                       what, rank, s, strlen(s), max - 1);
    for (; *s != '\0'; s++) {
        if (*s < 0x20 || *s > 0x7e)
            return err_set(err, NRT_INVALID, "%s of rank %u has a character that is not ASCII",
                           what, rank);
    }
    return NRT_SUCCESS;
}

static NRT_STATUS config_check(const struct net_job_config *cfg, struct err *err)
{
    NRT_STATUS st;

    if (cfg->world == 0 || cfg->world > NET_WORLD_MAX || cfg->rank >= cfg->world)
        return err_set(err, NRT_INVALID,
                       "rank %u of a world of %u: ranks (g_device_id) go from 0 to the world size "
                       "(g_device_count, at most %u) minus 1",
                       cfg->rank, cfg->world, NET_WORLD_MAX);
    if (cfg->blob_size > NET_BLOB_MAX)
        return err_set(err, NRT_INVALID, "rank %u: a blob of %zu bytes, at most %u are allowed",
                       cfg->rank, cfg->blob_size, NET_BLOB_MAX);
    st = text_check("the host name", cfg->host, NET_HOST_MAX, cfg->rank, err);
    if (st == NRT_SUCCESS)
        st = text_check("the node name", cfg->node, NET_TEXT_MAX, cfg->rank, err);
    if (st == NRT_SUCCESS)
        st = text_check("the instance name", cfg->instance, NET_TEXT_MAX, cfg->rank, err);
    if (st == NRT_SUCCESS)
        st = text_check("the version", cfg->version, NET_TEXT_MAX, cfg->rank, err);
    return st;
}

static NRT_STATUS root_find(struct net_job *j, const char *root, struct err *err)
{
    struct err why = {0};

    if (j->s.cfg.world == 1 && root == NULL) {
        snprintf(j->s.root_text, sizeof(j->s.root_text), "this process");
        return NRT_SUCCESS;
    }
    if (root == NULL)
        return err_set(err, NRT_INVALID,
                       "rank %u of %u: NEURON_RT_ROOT_COMM_ID is not set: set it to <ip>:<port> of "
                       "rank 0's host on every rank",
                       j->s.cfg.rank, j->s.cfg.world);
    if (addr_parse(root, &j->s.root_addr, &why) != NRT_SUCCESS)
        return err_set(err, why.status, "%s: NEURON_RT_ROOT_COMM_ID of rank %u", why.text,
                       j->s.cfg.rank);
    addr_text(&j->s.root_addr, j->s.root_text);
    return NRT_SUCCESS;
}

/* --- making and ending -------------------------------------------------------------------------
 */

static NRT_STATUS descriptors_open(struct net_job *j, struct err *err)
{
    j->s.epoll_fd = fd_keep(epoll_create1(EPOLL_CLOEXEC));
    j->wake_fd = fd_keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    j->wake_src.kind = SOURCE_WAKE;
    if (j->s.epoll_fd < 0 || j->wake_fd < 0 ||
        !source_watch(&j->s, j->wake_fd, &j->wake_src, true, false))
        return err_set(err, NRT_RESOURCE, "rank %u: no descriptor for the job: %s", j->s.cfg.rank,
                       strerror(errno));
    return NRT_SUCCESS;
}

static NRT_STATUS ends_open(struct net_job *j, struct err *err)
{
    int pair[2];
    NRT_STATUS st;

    if (j->s.cfg.rank != 0)
        return member_open(j, -1, err);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return err_set(err, NRT_RESOURCE, "rank 0: no descriptor for the job: %s", strerror(errno));
    pair[0] = fd_keep(pair[0]);
    pair[1] = fd_keep(pair[1]);
    if (pair[0] < 0 || pair[1] < 0) {
        close(pair[0] < 0 ? pair[1] : pair[0]);
        return err_set(err, NRT_RESOURCE, "rank 0: no descriptor for the job");
    }
    st = root_open(&j->s, pair[0], &j->root, err);
    if (st != NRT_SUCCESS) {
        close(pair[1]);
        return st;
    }
    return member_open(j, pair[1], err);
}

static void job_free(struct net_job *j)
{
    group_free_all(j);
    member_close(j);
    root_close(j->root);
    if (j->wake_fd >= 0)
        close(j->wake_fd);
    if (j->s.epoll_fd >= 0)
        close(j->s.epoll_fd);
    for (unsigned i = 0; i < sizeof(j->kept) / sizeof(j->kept[0]); i++)
        mem_free(j->kept[i]);
    mem_free(j->kept_blob);
    mem_free(j->ranks);
    mem_free(j->blobs);
    explicit_bzero(&j->s.key, sizeof(j->s.key));
    pthread_cond_destroy(&j->changed);
    pthread_mutex_destroy(&j->lock);
    mem_free(j);
}

static NRT_STATUS job_start(struct net_job *j, const struct net_job_config *cfg, struct err *err)
{
    NRT_STATUS st;

    if (!config_keep(j, cfg))
        return err_set(err, NRT_RESOURCE, "out of memory for a job");
    st = config_check(&j->s.cfg, err);
    if (st == NRT_SUCCESS)
        st = root_find(j, cfg->root, err);
    if (st == NRT_SUCCESS)
        st = key_load(cfg, &j->s.key, err);
    if (st == NRT_SUCCESS)
        st = descriptors_open(j, err);
    if (st == NRT_SUCCESS)
        st = ends_open(j, err);
    return st;
}

NRT_STATUS net_job_open(const struct net_job_config *cfg, struct net_job **ret, struct err *err)
{
    struct net_job *j = mem_zalloc(sizeof(*j));
    struct err why = {0};
    pthread_condattr_t attr;
    NRT_STATUS st;

    *ret = NULL;
    if (j == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for a job");
    j->s.epoll_fd = j->wake_fd = j->m.c.fd = -1;
    j->culprit = NET_NO_RANK;
    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&j->changed, &attr);
    pthread_condattr_destroy(&attr);
    st = job_start(j, cfg, &why);
    if (st != NRT_SUCCESS) {
        LOGE(cfg->log, LOG_NRT, "net_job", "%s", why.text);
        job_free(j);
        return err_set(err, st, "%s", why.text);
    }
    *ret = j;
    return NRT_SUCCESS;
}

static bool flushed(void *arg)
{
    const struct net_job *j = arg;

    return !conn_pending(&j->m.c) && (j->root == NULL || root_flushed(j->root));
}

static void say_bye(struct net_job *j)
{
    struct msg m = {.type = MSG_BYE};

    if (j->m.joined)
        conn_send(&j->m.c, msg_build(&m, NULL, NULL));
    if (j->root != NULL)
        root_bye(j->root, &j->failure, j->culprit);
}

void net_job_close(struct net_job *j)
{
    if (j == NULL)
        return;
    pthread_mutex_lock(&j->lock);
    say_bye(j);
    job_wait_locked(j, flushed, j, j->s.cfg.close_ms * NSEC_PER_MS);
    pthread_mutex_unlock(&j->lock);
    job_free(j);
}
