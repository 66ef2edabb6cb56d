/* SPDX-License-Identifier: Apache-2.0 */
/* A rank's side of the bootstrap: connect (and again, until the root is there), prove, wait for the
 * roster; later take results and bad news. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/net_int.h"

#define BACKOFF_FIRST_MS 10u
#define BACKOFF_MAX_MS   1000u
/* A root that is not there yet is no news for so long. */
#define COMPLAIN_MS 3000u

static struct log *lg(const struct net_job *j)
{
    return j->s.cfg.log;
}

/* --- connecting --------------------------------------------------------------------------------
 */

static void watch(struct net_job *j)
{
    struct member *m = &j->m;
    bool want = conn_pending(&m->c) || m->state == MEMBER_CONNECTING;

    if (m->c.fd < 0 || want == m->write_watched)
        return;
    if (source_watch(&j->s, m->c.fd, &m->src, false, want))
        m->write_watched = want;
}

bool member_offer(struct net_job *j, struct frame *f)
{
    if (!conn_send(&j->m.c, f))
        return false;
    watch(j);
    return true;
}

void member_send(struct net_job *j, struct frame *f)
{
    if (!member_offer(j, f))
        job_fail(j, false, NRT_RESOURCE, NET_NO_RANK, "out of memory for a message to the root");
}

static void retry_line(struct net_job *j, uint64_t now)
{
    struct member *m = &j->m;

    if (!m->complained && now - m->start >= COMPLAIN_MS * NSEC_PER_MS) {
        m->complained = true;
        LOGE(lg(j), LOG_NRT, "net_job",
             "Connect to %s failed - retrying (rank %u of %u, NEURON_RT_ROOT_COMM_ID=%s: %s). "
             "Start rank 0 on that host, or correct the variable",
             j->s.root_text, j->s.cfg.rank, j->s.cfg.world, j->s.cfg.root, strerror(m->last_error));
        m->next_line = now + j->s.cfg.retry_ms * NSEC_PER_MS;
    } else if (now >= m->next_line) {
        m->next_line = now + j->s.cfg.retry_ms * NSEC_PER_MS;
        LOGW(lg(j), LOG_NRT, "net_job", "Connect to %s failed - retrying (rank %u: %s)",
             j->s.root_text, j->s.cfg.rank, strerror(m->last_error));
    }
}

static void attempt_failed(struct net_job *j, int error)
{
    struct member *m = &j->m;
    uint64_t now = setup_now(&j->s);

    source_forget(&j->s, m->c.fd);
    conn_fini(&m->c);
    m->write_watched = false;
    m->last_error = error;
    m->state = MEMBER_CONNECT;
    if (error == ENETUNREACH || error == EAFNOSUPPORT) {
        job_fail(j, false, NRT_INVALID, j->s.cfg.rank,
                 "No interface found in the same subnet as remote address %s (rank %u, "
                 "NEURON_RT_ROOT_COMM_ID=%s: %s): name an address of rank 0's host that this host "
                 "can reach",
                 j->s.root_text, j->s.cfg.rank, j->s.cfg.root, strerror(error));
        return;
    }
    m->retry_at = now + m->backoff_ms * NSEC_PER_MS;
    m->backoff_ms = m->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : m->backoff_ms * 2;
    retry_line(j, now);
}

static void attempt(struct net_job *j)
{
    struct member *m = &j->m;
    const struct addr *a = &j->s.root_addr;
    int fd = fd_keep(socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int rc;

    m->attempts++;
    if (fd < 0) {
        attempt_failed(j, errno);
        return;
    }
    conn_tune(fd, j->s.cfg.dead_ms);
    conn_init(&m->c, fd, MSG_MAX);
    rc = connect(fd, (const struct sockaddr *)&a->sa, a->len);
    if (rc != 0 && errno != EINPROGRESS && errno != EINTR) {
        attempt_failed(j, errno);
        return;
    }
    m->state = MEMBER_CONNECTING;
    m->attempt_end = setup_now(&j->s) + j->s.cfg.handshake_ms * NSEC_PER_MS;
    m->write_watched = true;
    if (!source_watch(&j->s, fd, &m->src, true, true))
        attempt_failed(j, errno);
}

static bool connected(struct net_job *j)
{
    struct member *m = &j->m;
    struct sockaddr_storage peer;
    socklen_t len = sizeof(int), peer_len = sizeof(peer);
    int error = 0;

    if (getsockopt(m->c.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error != 0) {
        attempt_failed(j, error);
        return false;
    }
    if (getpeername(m->c.fd, (struct sockaddr *)&peer, &peer_len) != 0)
        return false; /* still under way */
    m->state = MEMBER_GREET;
    return true;
}

/* --- proving -----------------------------------------------------------------------------------
 */

static bool same_host(const struct net_job *j)
{
    struct addr peer = {.len = sizeof(peer.sa)}, here = {.len = sizeof(here.sa)};

    if (getpeername(j->m.c.fd, (struct sockaddr *)&peer.sa, &peer.len) != 0 ||
        getsockname(j->m.c.fd, (struct sockaddr *)&here.sa, &here.len) != 0)
        return true;
    return addr_same_host(&peer, &here);
}

static bool unkeyed_allowed(const struct net_job *j, const struct msg_challenge *c)
{
    if (c->source != MSG_KEY_FILE || j->s.key.source != MSG_KEY_FILE)
        return false;
    if (j->s.cfg.unkeyed == NET_UNKEYED_OTHER_HOSTS)
        return !same_host(j);
    return j->s.cfg.unkeyed == NET_UNKEYED_ALWAYS;
}

static bool sign_join(void *arg, const uint8_t *body, size_t size, uint8_t mac[MSG_MAC])
{
    const struct net_job *j = arg;
    const struct key_part parts[] = {{j->m.root_nonce, MSG_NONCE}, {body, size}};

    return key_mac(&j->s.key, "opennrt join", parts, 2, mac);
}

static void send_join(struct net_job *j)
{
    const struct net_job_config *cfg = &j->s.cfg;
    struct msg m = {.type = MSG_JOIN,
                    .u.join = {.rank = cfg->rank,
                               .world = cfg->world,
                               .pid = (uint32_t)getpid(),
                               .unkeyed = !j->m.keyed,
                               .nonce = j->m.nonce,
                               .version = msg_text_of(cfg->version),
                               .host = msg_text_of(cfg->host),
                               .node = msg_text_of(cfg->node),
                               .instance = msg_text_of(cfg->instance),
                               .blob = {.p = cfg->blob, .n = (uint32_t)cfg->blob_size}}};

    j->m.state = MEMBER_PROVE;
    member_send(j, msg_build(&m, j->m.keyed ? sign_join : NULL, j));
}

static void got_challenge(struct net_job *j, const struct msg_challenge *c)
{
    struct member *m = &j->m;

    memcpy(m->root_nonce, c->nonce, MSG_NONCE);
    if (!key_random(m->nonce, MSG_NONCE)) {
        job_fail(j, false, NRT_FAILURE, NET_NO_RANK, "libcrypto has no entropy for a nonce");
        return;
    }
    m->keyed = memcmp(c->key_id, j->s.key.id, MSG_KEY_ID) == 0;
    if (!m->keyed && !unkeyed_allowed(j, c)) {
        job_fail(
            j, false, NRT_INVALID, j->s.cfg.rank,
            "rank %u (%s) and rank 0 (%s) do not have the same key: set OPENNRT_JOB_KEY to the "
            "same secret text on every rank",
            j->s.cfg.rank, j->s.key.from,
            c->source == MSG_KEY_GIVEN ? "OPENNRT_JOB_KEY" : "its own key file");
        return;
    }
    if (!m->keyed)
        LOGW(lg(j), LOG_NRT, "net_job",
             "this job is not authenticated: rank %u does not have the key file of rank 0 at %s. "
             "Set OPENNRT_JOB_KEY to the same secret text on every rank",
             j->s.cfg.rank, j->s.root_text);
    send_join(j);
}

static void got_welcome(struct net_job *j, const struct msg_welcome *w)
{
    struct member *m = &j->m;
    const uint8_t body[1] = {w->keyed};
    const struct key_part parts[] = {
        {m->root_nonce, MSG_NONCE}, {m->nonce, MSG_NONCE}, {body, sizeof(body)}};
    uint8_t mac[MSG_MAC];

    if (m->keyed && (!w->keyed || !key_mac(&j->s.key, "opennrt welcome", parts, 3, mac) ||
                     !key_mac_equal(mac, w->mac))) {
        job_fail(
            j, false, NRT_INVALID, 0,
            "who answers at %s (NEURON_RT_ROOT_COMM_ID of rank %u) does not have the job's key "
            "(%s): it is not rank 0 of this job",
            j->s.root_text, j->s.cfg.rank, j->s.key.from);
        return;
    }
    m->state = MEMBER_JOINED;
    m->joined = true;
    m->next_line = setup_now(&j->s) + j->s.cfg.retry_ms * NSEC_PER_MS;
}

/* --- the roster --------------------------------------------------------------------------------
 */

static void keep_member(struct net_rank *r, const struct msg_member *m, uint8_t **blobs)
{
    msg_text_copy(r->host, sizeof(r->host), &m->host);
    msg_text_copy(r->node, sizeof(r->node), &m->node);
    msg_text_copy(r->instance, sizeof(r->instance), &m->instance);
    r->pid = m->pid;
    r->blob = *blobs;
    r->blob_size = m->blob.n;
    if (m->blob.n > 0)
        memcpy(*blobs, m->blob.p, m->blob.n);
    *blobs += (m->blob.n + 15u) & ~15u; /* each starts aligned */
}

static void got_roster(struct net_job *j, const struct msg_roster *m)
{
    struct msg_member who;
    uint32_t at = 0, n = 0;
    size_t bytes = 16;
    uint8_t *p;

    if (m->world != j->s.cfg.world) {
        job_fail(j, false, NRT_FAILURE, 0, "rank 0 sent a roster of %u ranks to a job of %u",
                 m->world, j->s.cfg.world);
        return;
    }
    while (msg_roster_next(m, &at, &who))
        bytes += (who.blob.n + 15u) & ~15u;
    j->ranks = mem_calloc(m->world, sizeof(*j->ranks));
    j->blobs = mem_aligned(16, bytes);
    if (j->ranks == NULL || j->blobs == NULL) {
        job_fail(j, false, NRT_RESOURCE, NET_NO_RANK, "out of memory for %u ranks", m->world);
        return;
    }
    p = j->blobs;
    for (at = 0; n < m->world && msg_roster_next(m, &at, &who); n++)
        keep_member(&j->ranks[n], &who, &p);
    j->cluster_id = m->cluster_id;
    j->epoch = m->epoch;
    j->keyed = m->keyed;
    j->m.state = MEMBER_RUNNING;
    j->running = true;
    LOGI(lg(j), LOG_NRT, "net_job", "rank %u of %u joined at %s%s", j->s.cfg.rank, j->s.cfg.world,
         j->s.root_text, j->keyed ? "" : " (not authenticated)");
}

/* --- messages ----------------------------------------------------------------------------------
 */

static void got_bad_news(struct net_job *j, const struct msg_fail *m)
{
    char text[MSG_TEXT_MAX];

    if (!m->whole_job) {
        group_failed(j, m);
        return;
    }
    msg_text_copy(text, sizeof(text), &m->text);
    job_fail(j, false, wire_status(m->status), m->culprit, "%s", text);
}

static void got_waiting(struct net_job *j, const struct msg_waiting *m)
{
    struct waiting *w = &j->m.waiting;

    if (m->group != MSG_GROUP_JOIN) {
        group_waiting(j, m);
        return;
    }
    w->when = setup_now(&j->s);
    w->missing = m->missing;
    w->n = m->n;
    for (uint32_t i = 0; i < m->n; i++)
        w->ranks[i] = msg_u32_at(&m->ranks, i);
}

static void got_reject(struct net_job *j, const struct msg_reject *m)
{
    char text[MSG_TEXT_MAX];

    msg_text_copy(text, sizeof(text), &m->text);
    job_fail(j, false, wire_status(m->status), j->s.cfg.rank, "rank 0 at %s refused rank %u: %s",
             j->s.root_text, j->s.cfg.rank, text);
}

static void got_bye(struct net_job *j)
{
    j->left = j->failure.status == NRT_SUCCESS;
    job_fail(j, j->m.state == MEMBER_RUNNING, NRT_FAILURE, 0, "rank 0 has left the job");
}

/* False: not a message for this state. */
static bool handle(struct net_job *j, const struct msg *m)
{
    enum member_state st = j->m.state;

    if (m->type == MSG_REJECT && (st == MEMBER_GREET || st == MEMBER_PROVE))
        got_reject(j, &m->u.reject);
    else if (m->type == MSG_CHALLENGE && st == MEMBER_GREET)
        got_challenge(j, &m->u.challenge);
    else if (m->type == MSG_WELCOME && st == MEMBER_PROVE)
        got_welcome(j, &m->u.welcome);
    else if (st < MEMBER_JOINED)
        return false;
    else if (m->type == MSG_ROSTER && st == MEMBER_JOINED)
        got_roster(j, &m->u.roster);
    else if (m->type == MSG_WAITING)
        got_waiting(j, &m->u.waiting);
    else if (m->type == MSG_FAIL)
        got_bad_news(j, &m->u.fail);
    else if (m->type == MSG_RESULT && st == MEMBER_RUNNING)
        group_result(j, &m->u.result);
    else if (m->type == MSG_BYE)
        got_bye(j);
    else
        return false;
    return true;
}

static void bad_message(struct net_job *j, const char *why)
{
    if (j->m.state < MEMBER_JOINED)
        job_fail(
            j, false, NRT_INVALID, j->s.cfg.rank,
            "what listens at %s (NEURON_RT_ROOT_COMM_ID of rank %u) is not rank 0 of this job: "
            "%s",
            j->s.root_text, j->s.cfg.rank, why);
    else
        job_fail(j, false, NRT_FAILURE, 0, "rank 0 at %s sent nonsense: %s", j->s.root_text, why);
}

static void ended(struct net_job *j)
{
    struct member *m = &j->m;
    int error = m->c.error;

    if (m->state < MEMBER_JOINED && !m->local) {
        /* Dropped to make room for others, or the root is starting again: once more. */
        attempt_failed(j, error != 0 ? error : ECONNRESET);
        return;
    }
    job_fail(j, false, NRT_FAILURE, 0,
             "RX, connection closed by remote peer: rank 0 (%s%s%s) has died or was cut off (%s); "
             "restart the job",
             j->s.root_text, j->ranks != NULL ? ", host " : "",
             j->ranks != NULL ? j->ranks[0].host : "",
             error != 0 ? strerror(error) : "end of stream");
}

void member_event(struct net_job *j)
{
    struct member *m = &j->m;
    struct err why = {0};
    struct msg msg;
    bool have = true;

    if (m->state == MEMBER_FAILED || m->state == MEMBER_CONNECT)
        return;
    if (m->state == MEMBER_CONNECTING && !connected(j))
        return;
    conn_flush(&m->c);
    if (conn_read(&m->c, &why) != NRT_SUCCESS) {
        job_fail(j, false, why.status, NET_NO_RANK, "%s", why.text);
        return;
    }
    while (have && m->state != MEMBER_FAILED) {
        if (conn_next(&m->c, &msg, &have, &why) != NRT_SUCCESS)
            bad_message(j, why.text);
        else if (have && !handle(j, &msg))
            bad_message(j, "a message out of turn");
    }
    if (m->state == MEMBER_FAILED)
        return;
    if (m->c.ended)
        ended(j);
    else
        watch(j);
}

/* --- timers ------------------------------------------------------------------------------------
 */

static void join_limit(struct net_job *j)
{
    const struct net_job_config *cfg = &j->s.cfg;
    const struct waiting *w = &j->m.waiting;
    unsigned sec = (unsigned)(cfg->join_limit_ms / 1000);
    char list[160];

    if (j->m.state <= MEMBER_CONNECTING) {
        job_fail(j, false, NRT_TIMEOUT, 0,
                 "rank %u could not reach rank 0 at NEURON_RT_ROOT_COMM_ID=%s in %u s (%s): start "
                 "rank 0 on that host, or correct the variable",
                 cfg->rank, cfg->root, sec, strerror(j->m.last_error));
    } else if (w->when == 0 || w->n == 0) {
        job_fail(j, false, NRT_TIMEOUT, 0,
                 "rank 0 at NEURON_RT_ROOT_COMM_ID=%s did not answer rank %u in %u s: see what it "
                 "does",
                 cfg->root, cfg->rank, sec);
    } else {
        ranks_text(list, sizeof(list), w->ranks, w->n, w->missing);
        job_fail(j, false, NRT_TIMEOUT, w->ranks[0],
                 "after %u s these ranks of %u have not joined: %s. Start them with "
                 "NEURON_RT_ROOT_COMM_ID=%s",
                 sec, cfg->world, list, cfg->root);
    }
}

static void joined_line(struct net_job *j, uint64_t now)
{
    const struct waiting *w = &j->m.waiting;
    char list[160];

    if (now < j->m.next_line)
        return;
    j->m.next_line = now + j->s.cfg.retry_ms * NSEC_PER_MS;
    ranks_text(list, sizeof(list), w->ranks, w->n, w->missing);
    LOGW(lg(j), LOG_NRT, "net_job",
         "Timeout waiting for RX (waited %u sec) - retrying (rank %u, ranks missing: %s)",
         (unsigned)(j->s.cfg.retry_ms / 1000), j->s.cfg.rank, w->when != 0 ? list : "not known");
}

void member_tick(struct net_job *j)
{
    struct member *m = &j->m;
    uint64_t now = setup_now(&j->s);

    if (m->state >= MEMBER_RUNNING)
        return;
    if (j->s.cfg.join_limit_ms != 0 && now - m->start >= j->s.cfg.join_limit_ms * NSEC_PER_MS)
        join_limit(j);
    else if (m->state == MEMBER_CONNECT && now >= m->retry_at)
        attempt(j);
    else if (m->state == MEMBER_CONNECTING && now >= m->attempt_end)
        attempt_failed(j, ETIMEDOUT);
    else if (m->state >= MEMBER_GREET)
        joined_line(j, now);
}

uint64_t member_next_timer(const struct net_job *j)
{
    const struct member *m = &j->m;
    uint64_t next = UINT64_MAX, end;

    if (m->state >= MEMBER_RUNNING)
        return UINT64_MAX;
    if (j->s.cfg.join_limit_ms != 0)
        next = m->start + j->s.cfg.join_limit_ms * NSEC_PER_MS;
    end = m->state == MEMBER_CONNECT      ? m->retry_at
          : m->state == MEMBER_CONNECTING ? m->attempt_end
                                          : m->next_line;
    return end < next ? end : next;
}

/* --- making and ending -------------------------------------------------------------------------
 */

NRT_STATUS member_open(struct net_job *j, int local_fd, struct err *err)
{
    struct member *m = &j->m;
    uint64_t now = setup_now(&j->s);

    m->src.kind = SOURCE_MEMBER;
    m->start = now;
    m->backoff_ms = BACKOFF_FIRST_MS;
    m->retry_at = now;
    m->next_line = now + j->s.cfg.retry_ms * NSEC_PER_MS;
    conn_init(&m->c, -1, MSG_MAX);
    if (local_fd < 0)
        return NRT_SUCCESS;
    m->local = true;
    m->state = MEMBER_GREET;
    conn_tune(local_fd, j->s.cfg.dead_ms);
    conn_init(&m->c, local_fd, MSG_MAX);
    if (!source_watch(&j->s, local_fd, &m->src, true, false))
        return err_set(err, NRT_RESOURCE, "cannot watch a socket: %s", strerror(errno));
    return NRT_SUCCESS;
}

void member_close(struct net_job *j)
{
    conn_fini(&j->m.c);
}
