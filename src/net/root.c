/* SPDX-License-Identifier: Apache-2.0 */
/* The root: listens, asks who comes for a proof that it has the key, keeps the connections of those
 * who joined, and tells everybody about everybody. Strangers cost at most half_open_max descriptors
 * and MSG_JOIN_MAX bytes each: when there are more, the oldest goes, so that a silent crowd never
 * keeps a rank out. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/net_int.h"

#define ACCEPTS 16 /* connections taken per event */

enum root_state { ROOT_JOINING, ROOT_RUNNING, ROOT_FAILED };

struct root_conn {
    struct source src;
    struct root_conn *next;
    struct conn c;
    struct addr peer, here;
    char peer_text[ADDR_TEXT_MAX];
    uint8_t nonce[MSG_NONCE];
    uint64_t deadline; /* to join */
    uint32_t rank;     /* NET_NO_RANK: has not joined */
    bool write_watched, bye, dead;
};

struct root {
    const struct net_setup *s;
    enum root_state state;
    struct source listen_src;
    int listen_fd;
    struct root_conn *half, *dead; /* oldest first; to be freed at the end of progress */
    unsigned half_count;
    struct root_conn **conns; /* world; NULL: not there */
    struct net_rank *ranks;   /* world; who has joined, kept for messages */
    bool *left;
    uint32_t joined;
    bool all_keyed, warned_unkeyed;
    uint64_t strangers;
    uint64_t next_report, next_retry, cluster_id;
    char why[MSG_TEXT_MAX]; /* of the failure */
    NRT_STATUS why_status;
    bool untold; /* some rank could not be told, so the root has logged it */
    struct root_ops ops;
};

/* --- small things ------------------------------------------------------------------------------
 */

static struct log *lg(const struct root *r)
{
    return r->s->cfg.log;
}

static void conn_watch(struct root *r, struct root_conn *k)
{
    bool want = conn_pending(&k->c);

    if (k->dead || want == k->write_watched)
        return;
    if (source_watch(r->s, k->c.fd, &k->src, false, want))
        k->write_watched = want;
}

static void conn_kill(struct root *r, struct root_conn *k);
static void root_fail(struct root *r, NRT_STATUS status, uint32_t culprit, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Where a rank is cut off without a word, the root's log is the only one that says why. */
static void failure_log(struct root *r)
{
    if (!r->untold)
        LOGE(lg(r), LOG_NRT, "net_root", "%s (there is no memory to tell all ranks)", r->why);
    r->untold = true;
}

/* Takes over one reference. A message that cannot be kept is not silently lost: the job ends with
 * it, and where even that cannot be said the connection goes, which the other side sees. */
static void send_to(struct root *r, struct root_conn *k, struct frame *f)
{
    if (k == NULL || k->dead) {
        frame_drop(f);
        return;
    }
    if (conn_send(&k->c, f)) {
        conn_watch(r, k);
        return;
    }
    if (k->rank != NET_NO_RANK && r->state == ROOT_FAILED)
        failure_log(r);
    if (k->rank == NET_NO_RANK || r->state == ROOT_FAILED)
        conn_kill(r, k);
    else
        root_fail(r, NRT_RESOURCE, 0, "the root is out of memory for a message to rank %u",
                  k->rank);
}

static void half_remove(struct root *r, struct root_conn *k)
{
    struct root_conn **at = &r->half;

    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    k->next = NULL;
    r->half_count--;
}

/* Out of the lists and closed; freed at the end of progress, because events may still name it. */
static void conn_kill(struct root *r, struct root_conn *k)
{
    if (k->dead)
        return;
    if (k->rank == NET_NO_RANK)
        half_remove(r, k);
    else
        r->conns[k->rank] = NULL;
    k->dead = true;
    source_forget(r->s, k->c.fd);
    conn_fini(&k->c);
    k->next = r->dead;
    r->dead = k;
}

static void broadcast(struct root *r, struct frame *f)
{
    for (uint32_t i = 0; f != NULL && i < r->s->cfg.world; i++) {
        if (r->conns[i] != NULL) {
            f->refs++;
            send_to(r, r->conns[i], f);
        }
    }
    frame_drop(f);
}

/* The end of the job: everybody is told, and who comes later, too. The members log; the root only
 * where it cannot tell them. */
static void root_fail(struct root *r, NRT_STATUS status, uint32_t culprit, const char *fmt, ...)
{
    struct msg m = {.type = MSG_FAIL,
                    .u.fail = {.whole_job = 1, .status = (uint32_t)status, .culprit = culprit}};
    struct frame *f;
    va_list ap;

    if (r->state == ROOT_FAILED)
        return;
    r->state = ROOT_FAILED;
    r->why_status = status;
    va_start(ap, fmt);
    vsnprintf(r->why, sizeof(r->why), fmt, ap);
    va_end(ap);
    m.u.fail.text = msg_text_of(r->why);
    f = msg_build(&m, NULL, NULL);
    if (f == NULL)
        failure_log(r);
    for (uint32_t i = 0; f == NULL && i < r->s->cfg.world; i++) {
        if (r->conns[i] != NULL) /* there is no memory for words */
            conn_kill(r, r->conns[i]);
    }
    broadcast(r, f);
}

static void rank_name(const struct root *r, uint32_t rank, char *buf, size_t size)
{
    snprintf(buf, size, "rank %u (host %s, pid %u)", rank, r->ranks[rank].host, r->ranks[rank].pid);
}

/* --- callbacks of the operations ---------------------------------------------------------------
 */

static void ops_send(void *arg, uint32_t rank, struct frame *f)
{
    struct root *r = arg;

    send_to(r, r->conns[rank], f);
}

static bool ops_reserve(void *arg, uint32_t rank)
{
    struct root *r = arg;
    struct root_conn *k = r->conns[rank];

    return k == NULL || k->dead || conn_reserve_out(&k->c);
}

static void ops_fail(void *arg, NRT_STATUS status, uint32_t culprit, const char *text)
{
    struct root *r = arg;
    char name[NET_HOST_MAX + 40];

    rank_name(r, culprit, name, sizeof(name));
    root_fail(r, status, culprit, "%s: %s", name, text);
}

static bool ops_idle(void *arg, uint32_t rank)
{
    const struct root *r = arg;

    return r->conns[rank] != NULL && !conn_pending(&r->conns[rank]->c);
}

static bool ops_left(void *arg, uint32_t rank)
{
    const struct root *r = arg;

    return r->left[rank];
}

/* --- strangers and refusals --------------------------------------------------------------------
 */

/* Logged at every power of two, so that a flood does not fill the disk. */
static void stranger(struct root *r, const struct root_conn *k, const char *why)
{
    r->strangers++;
    if (is_pow2_u64(r->strangers))
        LOGW(lg(r), LOG_NRT, "net_root",
             "connection %llu at %s that is none of this job, from %s: %s",
             (unsigned long long)r->strangers, r->s->root_text, k->peer_text, why);
}

/* Sends the reason and closes. trusted: the fault is one of this job's own ranks, so the job as it
 * was started cannot work, and everybody is told before any timeout. */
static void refuse(struct root *r, struct root_conn *k, bool trusted, NRT_STATUS status,
                   uint32_t culprit, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
static void refuse(struct root *r, struct root_conn *k, bool trusted, NRT_STATUS status,
                   uint32_t culprit, const char *fmt, ...)
{
    char text[MSG_TEXT_MAX];
    struct msg m = {.type = MSG_REJECT, .u.reject = {.status = (uint32_t)status}};
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    m.u.reject.text = msg_text_of(text);
    send_to(r, k, msg_build(&m, NULL, NULL));
    conn_kill(r, k);
    if (!trusted)
        stranger(r, k, text);
    else if (r->state == ROOT_JOINING)
        root_fail(r, status, culprit, "%s", text);
    else
        LOGE(lg(r), LOG_NRT, "net_root", "refused at %s: %s", r->s->root_text, text);
}

/* --- joining -----------------------------------------------------------------------------------
 */

static bool unkeyed_allowed(const struct root *r, const struct root_conn *k)
{
    if (r->s->key.source != MSG_KEY_FILE)
        return false;
    if (r->s->cfg.unkeyed == NET_UNKEYED_OTHER_HOSTS)
        return !addr_same_host(&k->peer, &k->here);
    return r->s->cfg.unkeyed == NET_UNKEYED_ALWAYS;
}

static bool proof_ok(const struct root *r, const struct root_conn *k, const struct msg_join *m)
{
    const struct key_part parts[] = {{k->nonce, MSG_NONCE}, {m->signed_part.p, m->signed_part.n}};
    uint8_t mac[MSG_MAC];

    return key_mac(&r->s->key, "opennrt join", parts, 2, mac) && key_mac_equal(mac, m->mac);
}

/* Whether the newcomer may join as what it says it is; refuses it otherwise. */
static bool join_ok(struct root *r, struct root_conn *k, const struct msg_join *m, bool trusted)
{
    const struct net_job_config *cfg = &r->s->cfg;
    char version[NET_TEXT_MAX], host[NET_HOST_MAX];

    msg_text_copy(version, sizeof(version), &m->version);
    msg_text_copy(host, sizeof(host), &m->host);
    if (strcmp(version, cfg->version) != 0) {
        refuse(r, k, trusted, NRT_INVALID, m->rank,
               "rank %u (host %s, pid %u) runs version %s, rank 0 runs version %s: all ranks must "
               "run the same version of the runtime",
               m->rank, host, m->pid, version, cfg->version);
    } else if (m->world != cfg->world) {
        refuse(r, k, trusted, NRT_INVALID, m->rank,
               "rank %u (host %s, pid %u) says that the job has %u ranks, rank 0 says %u: give "
               "every rank the same world size (g_device_count)",
               m->rank, host, m->pid, m->world, cfg->world);
    } else if (m->rank >= cfg->world) {
        refuse(r, k, trusted, NRT_INVALID, m->rank,
               "rank %u (host %s, pid %u) is not below the world size %u: give every process its "
               "own rank (g_device_id) from 0",
               m->rank, host, m->pid, cfg->world);
    } else if (r->state == ROOT_FAILED) {
        refuse(r, k, false, r->why_status, m->rank, "the job has failed: %s", r->why);
    } else if (r->conns[m->rank] != NULL || r->left[m->rank]) {
        refuse(r, k, trusted, NRT_INVALID, m->rank,
               "two processes are rank %u: host %s pid %u and host %s pid %u: give every process "
               "its own rank (g_device_id), and every job its own NEURON_RT_ROOT_COMM_ID",
               m->rank, r->ranks[m->rank].host, r->ranks[m->rank].pid, host, m->pid);
    } else {
        return true;
    }
    return false;
}

struct welcome_sign {
    const struct root *r;
    const struct root_conn *k;
    const uint8_t *nonce;
};

static bool sign_welcome(void *arg, const uint8_t *body, size_t size, uint8_t mac[MSG_MAC])
{
    const struct welcome_sign *w = arg;
    const struct key_part parts[] = {{w->k->nonce, MSG_NONCE}, {w->nonce, MSG_NONCE}, {body, size}};

    return key_mac(&w->r->s->key, "opennrt welcome", parts, 3, mac);
}

static bool rank_keep(struct net_rank *ret, const struct msg_join *m)
{
    uint8_t *blob = mem_alloc(m->blob.n > 0 ? m->blob.n : 1);

    if (blob == NULL)
        return false;
    mem_free((void *)ret->blob);
    if (m->blob.n > 0)
        memcpy(blob, m->blob.p, m->blob.n);
    msg_text_copy(ret->host, sizeof(ret->host), &m->host);
    msg_text_copy(ret->node, sizeof(ret->node), &m->node);
    msg_text_copy(ret->instance, sizeof(ret->instance), &m->instance);
    ret->pid = m->pid;
    ret->blob = blob;
    ret->blob_size = m->blob.n;
    return true;
}

static void everybody_is_there(struct root *r)
{
    struct msg_roster head = {.world = r->s->cfg.world,
                              .cluster_id = r->cluster_id,
                              .epoch = (uint64_t)time(NULL),
                              .keyed = r->all_keyed};
    struct frame *f = msg_build_roster(&head, r->ranks);

    if (f == NULL) {
        root_fail(r, NRT_RESOURCE, 0, "the root has no memory to tell everybody about everybody");
        return;
    }
    r->state = ROOT_RUNNING;
    broadcast(r, f);
}

static void unkeyed_warn(struct root *r, const struct root_conn *k, const struct msg_join *m)
{
    r->all_keyed = false;
    if (r->warned_unkeyed)
        return;
    r->warned_unkeyed = true;
    LOGW(lg(r), LOG_NRT, "net_root",
         "this job is not authenticated: rank %u at %s does not have the key file of rank 0 (%s). "
         "Whoever can reach %s could join. Set OPENNRT_JOB_KEY to the same secret text on every "
         "rank",
         m->rank, k->peer_text, r->s->key.from, r->s->root_text);
}

static void join(struct root *r, struct root_conn *k, const struct msg_join *m)
{
    struct welcome_sign arg = {.r = r, .k = k, .nonce = m->nonce};
    struct msg w = {.type = MSG_WELCOME, .u.welcome = {.keyed = !m->unkeyed}};
    struct frame *f;

    if (m->unkeyed ? !unkeyed_allowed(r, k) : !proof_ok(r, k, m)) {
        refuse(r, k, false, NRT_INVALID, m->rank,
               "rank %u does not have the key of rank 0 (%s there): set OPENNRT_JOB_KEY to the "
               "same secret text on every rank",
               m->rank, r->s->key.source == MSG_KEY_GIVEN ? "OPENNRT_JOB_KEY" : "a key file");
        return;
    }
    if (!join_ok(r, k, m, !m->unkeyed))
        return;
    f = msg_build(&w, m->unkeyed ? NULL : sign_welcome, &arg);
    if (f == NULL || !conn_reserve_out(&k->c) || !rank_keep(&r->ranks[m->rank], m)) {
        frame_drop(f);
        refuse(r, k, true, NRT_RESOURCE, 0, "the root is out of memory");
        return;
    }
    if (m->unkeyed)
        unkeyed_warn(r, k, m);
    half_remove(r, k);
    k->rank = m->rank;
    k->c.limit = MSG_MAX;
    r->conns[k->rank] = k;
    r->joined++;
    send_to(r, k, f);
    if (r->joined == r->s->cfg.world)
        everybody_is_there(r);
}

/* --- connections -------------------------------------------------------------------------------
 */

static bool challenge(struct root *r, struct root_conn *k)
{
    struct msg m = {.type = MSG_CHALLENGE,
                    .u.challenge = {.source = (uint8_t)r->s->key.source,
                                    .key_id = r->s->key.id,
                                    .nonce = k->nonce,
                                    .version = msg_text_of(r->s->cfg.version)}};

    if (!key_random(k->nonce, sizeof(k->nonce)))
        return false;
    send_to(r, k, msg_build(&m, NULL, NULL));
    return !k->dead;
}

/* Takes over fd. local: rank 0's own. */
static bool conn_add(struct root *r, int fd, bool local)
{
    struct root_conn *k = mem_zalloc(sizeof(*k)), **at = &r->half;

    if (k == NULL || !source_watch(r->s, fd, &k->src, true, false)) {
        mem_free(k);
        close(fd);
        return false;
    }
    k->src.kind = SOURCE_CONN;
    conn_tune(fd, r->s->cfg.dead_ms);
    conn_init(&k->c, fd, MSG_JOIN_MAX);
    k->rank = NET_NO_RANK;
    k->deadline = local ? UINT64_MAX : setup_now(r->s) + r->s->cfg.handshake_ms * NSEC_PER_MS;
    k->peer.len = sizeof(k->peer.sa);
    k->here.len = sizeof(k->here.sa);
    if (getpeername(fd, (struct sockaddr *)&k->peer.sa, &k->peer.len) != 0 ||
        getsockname(fd, (struct sockaddr *)&k->here.sa, &k->here.len) != 0)
        k->peer.sa.ss_family = AF_UNIX; /* gone already: the read will see it */
    addr_text(&k->peer, k->peer_text);
    while (*at != NULL)
        at = &(*at)->next;
    *at = k;
    r->half_count++;
    if (challenge(r, k))
        return true;
    conn_kill(r, k);
    return false;
}

/* The one that has had the longest time to join; NULL: none. */
static struct root_conn *half_oldest(const struct root *r)
{
    struct root_conn *k = r->half;

    while (k != NULL && k->deadline == UINT64_MAX)
        k = k->next;
    return k;
}

static void half_evict(struct root *r, const char *why)
{
    struct root_conn *k = half_oldest(r);

    if (k == NULL)
        return;
    stranger(r, k, why);
    conn_kill(r, k);
}

static unsigned accept_some(struct root *r)
{
    unsigned n = 0;

    for (; n < ACCEPTS; n++) {
        int fd = fd_keep(accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));

        if (fd < 0 && (errno == EMFILE || errno == ENFILE) && half_oldest(r) != NULL) {
            half_evict(r, "no descriptor is left, and it has had the longest time to join");
            continue;
        }
        if (fd < 0)
            break;
        if (r->half_count >= r->s->cfg.half_open_max)
            half_evict(r, "too many have not joined, and it has had the longest time to");
        conn_add(r, fd, false);
    }
    return n;
}

/* A joined rank's connection has ended without a goodbye. */
static void lost(struct root *r, struct root_conn *k)
{
    uint32_t rank = k->rank;
    int error = k->c.error;
    char name[NET_HOST_MAX + 40];

    rank_name(r, rank, name, sizeof(name));
    conn_kill(r, k);
    if (r->state == ROOT_JOINING && !r->all_keyed) {
        /* In a job without a key a stranger could come and go; the rank itself may still come. */
        r->joined--;
        LOGW(lg(r), LOG_NRT, "net_root", "%s went away before everybody had joined", name);
        return;
    }
    root_fail(r, NRT_FAILURE, rank,
              "RX, connection closed by remote peer: %s has died or was cut off (%s); restart the "
              "job",
              name, error != 0 ? strerror(error) : "end of stream");
}

static void ended(struct root *r, struct root_conn *k)
{
    uint32_t rank = k->rank;

    if (rank == NET_NO_RANK) {
        stranger(r, k, "it went without joining");
        conn_kill(r, k);
        return;
    }
    if (!k->bye) {
        lost(r, k);
        return;
    }
    conn_kill(r, k);
    if (r->state == ROOT_JOINING) {
        r->joined--; /* it gave up waiting; it may come back */
        return;
    }
    r->left[rank] = true;
    root_op_left(&r->ops, rank);
}

static void handle(struct root *r, struct root_conn *k, const struct msg *m)
{
    if (k->rank == NET_NO_RANK) {
        if (m->type == MSG_JOIN) {
            join(r, k, &m->u.join);
        } else {
            stranger(r, k, "it does not begin by joining");
            conn_kill(r, k);
        }
        return;
    }
    switch (m->type) {
    case MSG_OP:
        if (r->state == ROOT_RUNNING)
            root_op_enter(&r->ops, k->rank, &m->u.op, setup_now(r->s));
        break;
    case MSG_BYE:
        k->bye = true;
        break;
    default:
        ops_fail(r, NRT_INVALID, k->rank, "sent a message that only the root sends");
        break;
    }
}

/* What came cannot be read: the other side's fault, but for memory, which the root itself lacks. */
static void bad_message(struct root *r, struct root_conn *k, const struct err *why)
{
    bool poor = why->status == NRT_RESOURCE;

    if (poor && k->rank == NET_NO_RANK) {
        LOGW(lg(r), LOG_NRT, "net_root",
             "the root is out of memory for a connection from %s and closes it", k->peer_text);
        conn_kill(r, k);
    } else if (poor) {
        root_fail(r, NRT_RESOURCE, 0, "the root is out of memory for a message of rank %u",
                  k->rank);
        conn_kill(r, k);
    } else if (k->rank == NET_NO_RANK) {
        stranger(r, k, why->text);
        conn_kill(r, k);
    } else {
        ops_fail(r, why->status, k->rank, why->text);
        conn_kill(r, k);
    }
}

static unsigned conn_event(struct root *r, struct root_conn *k)
{
    unsigned n = 0;
    struct err why = {0};
    struct msg m;
    bool have = true;

    conn_flush(&k->c);
    if (conn_read(&k->c, &why) != NRT_SUCCESS) {
        bad_message(r, k, &why);
        return 1;
    }
    while (!k->dead && have) {
        if (conn_next(&k->c, &m, &have, &why) != NRT_SUCCESS) {
            bad_message(r, k, &why);
            return n + 1;
        }
        if (have) {
            handle(r, k, &m);
            n++;
        }
    }
    if (!k->dead && k->c.ended)
        ended(r, k);
    conn_watch(r, k);
    return n + 1;
}

unsigned root_event(struct root *r, struct source *src)
{
    struct root_conn *k = (struct root_conn *)src;

    if (src->kind == SOURCE_LISTEN)
        return accept_some(r);
    return k->dead ? 0 : conn_event(r, k);
}

/* --- timers ------------------------------------------------------------------------------------
 */

static uint32_t missing(const struct root *r, uint32_t list[MSG_MISSING_MAX], uint32_t *ret_all)
{
    uint32_t n = 0;

    *ret_all = 0;
    for (uint32_t i = 0; i < r->s->cfg.world; i++) {
        if (r->conns[i] != NULL)
            continue;
        if (n < MSG_MISSING_MAX)
            list[n++] = i;
        ++*ret_all;
    }
    return n;
}

static void join_report(struct root *r, uint64_t now)
{
    uint32_t list[MSG_MISSING_MAX];
    uint8_t ranks[4 * MSG_MISSING_MAX];
    char text[160];
    struct msg m = {.type = MSG_WAITING, .u.waiting = {.group = MSG_GROUP_JOIN}};
    struct msg_waiting *w = &m.u.waiting;
    struct frame *f;

    w->n = missing(r, list, &w->missing);
    if (now >= r->next_retry) {
        r->next_retry = now + r->s->cfg.retry_ms * NSEC_PER_MS;
        ranks_text(text, sizeof(text), list, w->n, w->missing);
        LOGW(lg(r), LOG_NRT, "net_root",
             "Timeout waiting for incoming connection (waited %u sec) - retrying (at %s, ranks "
             "missing: %s)",
             (unsigned)(r->s->cfg.retry_ms / 1000), r->s->root_text, text);
    }
    if (now < r->next_report)
        return;
    r->next_report = now + r->s->cfg.report_ms * NSEC_PER_MS;
    for (uint32_t i = 0; i < w->n; i++)
        msg_u32_put(ranks + 4 * (size_t)i, list[i]);
    w->ranks = (struct msg_bytes){.p = ranks, .n = 4 * w->n};
    f = msg_build(&m, NULL, NULL);
    for (uint32_t i = 0; f != NULL && i < r->s->cfg.world; i++) {
        /* without memory it waits for its next turn, as op_report does */
        if (ops_idle(r, i) && ops_reserve(r, i)) {
            f->refs++;
            send_to(r, r->conns[i], f);
        }
    }
    frame_drop(f);
}

void root_tick(struct root *r)
{
    uint64_t now = setup_now(r->s);

    while (half_oldest(r) != NULL && now >= half_oldest(r)->deadline)
        half_evict(r, "it said nothing sensible in time");
    if (r->state == ROOT_JOINING && r->joined < r->s->cfg.world)
        join_report(r, now);
    if (r->state == ROOT_RUNNING)
        root_op_report(&r->ops, now);
    while (r->dead != NULL) {
        struct root_conn *k = r->dead;

        r->dead = k->next;
        mem_free(k);
    }
}

uint64_t root_next_timer(const struct root *r)
{
    const struct root_conn *oldest = half_oldest(r);
    uint64_t next = oldest != NULL ? oldest->deadline : UINT64_MAX, other = UINT64_MAX;

    if (r->state == ROOT_JOINING)
        other = r->next_report < r->next_retry ? r->next_report : r->next_retry;
    else if (r->state == ROOT_RUNNING)
        other = root_op_next_report(&r->ops);
    return other < next ? other : next;
}

/* --- making and ending -------------------------------------------------------------------------
 */

static NRT_STATUS cannot_listen(const struct root *r, const char *what, int error, struct err *err)
{
    const char *fix = "choose another address";

    if (error == EADDRINUSE)
        fix = "another job or another rank 0 uses this port: choose another port";
    else if (error == EADDRNOTAVAIL)
        fix = "this is no address of this host: name an address of the host where rank 0 runs, or "
              "run rank 0 there";
    else if (error == EACCES)
        fix = "this user may not use this port: choose one above 1023";
    return err_set(err, error == EADDRNOTAVAIL ? NRT_INVALID : NRT_FAILURE,
                   "rank 0 cannot %s at NEURON_RT_ROOT_COMM_ID=%s: %s; %s", what, r->s->cfg.root,
                   strerror(error), fix);
}

static NRT_STATUS listen_at(struct root *r, struct err *err)
{
    const struct addr *a = &r->s->root_addr;
    int one = 1;

    r->listen_fd = fd_keep(socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (r->listen_fd < 0)
        return cannot_listen(r, "open a socket", errno, err);
    setsockopt(r->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(r->listen_fd, (const struct sockaddr *)&a->sa, a->len) != 0)
        return cannot_listen(r, "listen", errno, err);
    if (listen(r->listen_fd, SOMAXCONN) != 0)
        return cannot_listen(r, "listen", errno, err);
    r->listen_src.kind = SOURCE_LISTEN;
    if (!source_watch(r->s, r->listen_fd, &r->listen_src, true, false))
        return cannot_listen(r, "watch", errno, err);
    return NRT_SUCCESS;
}

NRT_STATUS root_open(const struct net_setup *s, int local_fd, struct root **ret, struct err *err)
{
    struct root *r = mem_zalloc(sizeof(*r));
    uint64_t now = setup_now(s);
    NRT_STATUS st = NRT_SUCCESS;

    *ret = r;
    if (r != NULL) {
        r->s = s;
        r->listen_fd = -1;
        r->all_keyed = true;
        r->next_report = now + s->cfg.report_ms * NSEC_PER_MS;
        r->next_retry = now + s->cfg.retry_ms * NSEC_PER_MS;
        r->ops = (struct root_ops){.world = s->cfg.world,
                                   .report_ns = s->cfg.report_ms * NSEC_PER_MS,
                                   .cross_ns = s->cfg.cross_ms * NSEC_PER_MS,
                                   .arg = r,
                                   .send = ops_send,
                                   .reserve = ops_reserve,
                                   .fail = ops_fail,
                                   .idle = ops_idle,
                                   .left = ops_left};
        r->conns = mem_calloc(s->cfg.world, sizeof(struct root_conn *));
        r->ranks = mem_calloc(s->cfg.world, sizeof(*r->ranks));
        r->left = mem_calloc(s->cfg.world, sizeof(*r->left));
    }
    if (r == NULL || r->conns == NULL || r->ranks == NULL || r->left == NULL)
        st = err_set(err, NRT_RESOURCE, "out of memory for a job of %u ranks", s->cfg.world);
    else if (!key_random(&r->cluster_id, sizeof(r->cluster_id)))
        st = err_set(err, NRT_FAILURE, "libcrypto has no entropy for the job's id");
    else if (s->cfg.world > 1)
        st = listen_at(r, err);
    if (st != NRT_SUCCESS) {
        close(local_fd);
        return st;
    }
    if (!conn_add(r, local_fd, true))
        return err_set(err, NRT_RESOURCE, "rank 0 cannot make its own connection");
    return NRT_SUCCESS;
}

bool root_flushed(const struct root *r)
{
    for (uint32_t i = 0; i < r->s->cfg.world; i++) {
        if (r->conns[i] != NULL && conn_pending(&r->conns[i]->c))
            return false;
    }
    return true;
}

void root_bye(struct root *r, const struct err *why, uint32_t culprit)
{
    struct msg m = {.type = MSG_BYE};

    if (why->status != NRT_SUCCESS)
        root_fail(r, why->status, culprit, "%s", why->text);
    else
        broadcast(r, msg_build(&m, NULL, NULL));
}

void root_close(struct root *r)
{
    if (r == NULL)
        return;
    root_op_free_all(&r->ops);
    while (r->half != NULL)
        conn_kill(r, r->half);
    for (uint32_t i = 0; r->conns != NULL && i < r->s->cfg.world; i++) {
        if (r->conns[i] != NULL)
            conn_kill(r, r->conns[i]);
    }
    while (r->dead != NULL) {
        struct root_conn *k = r->dead;

        r->dead = k->next;
        mem_free(k);
    }
    for (uint32_t i = 0; r->ranks != NULL && i < r->s->cfg.world; i++)
        mem_free((void *)r->ranks[i].blob);
    mem_free(r->conns);
    mem_free(r->ranks);
    mem_free(r->left);
    if (r->listen_fd >= 0)
        close(r->listen_fd);
    mem_free(r);
}
