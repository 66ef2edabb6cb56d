/* SPDX-License-Identifier: Apache-2.0 */
/* How two cores find each other: listening, calling, proving the key, matching callers with
 * accepts. A stranger costs a descriptor and MSG_JOIN_MAX bytes at most, and there are never more
 * of them than half_open_max: the oldest goes first.
 *
 * Order. A sender calls the next time only when its last call to the same core has been welcomed,
 * and who has been welcomed stands in line there: so the k-th connect meets the k-th accept. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/base.h"
#include "base/fd.h"
#include "base/log.h"
#include "device/device.h"
#include "net/pair_int.h"

#define ACCEPTS     16 /* connections taken per event */
#define BACKOFF_MIN 10u
#define BACKOFF_MAX 250u

static in_port_t *port_at(struct addr *a)
{
    return a->sa.ss_family == AF_INET6 ? &((struct sockaddr_in6 *)&a->sa)->sin6_port
                                       : &((struct sockaddr_in *)&a->sa)->sin_port;
}

static uint16_t port_of(const struct addr *a)
{
    struct addr copy = *a;

    return ntohs(*port_at(&copy));
}

/* --- lines -------------------------------------------------------------------------------------
 */

void line_watch(struct net_pairs *s, struct line *k)
{
    bool stream = k->pair != NULL && k->pair->send && k->pair->busy != NULL;
    bool want = k->phase == LINE_DIALLING || conn_pending(&k->c) || stream;

    if (!k->dead && want != k->write_watched && source_watch(&s->s, k->c.fd, &k->src, false, want))
        k->write_watched = want;
}

static void line_unlink(struct line **list, struct line *k)
{
    while (*list != NULL && *list != k)
        list = &(*list)->next;
    if (*list == k)
        *list = k->next;
    k->next = NULL;
}

static void line_append(struct line **list, struct line *k)
{
    while (*list != NULL)
        list = &(*list)->next;
    *list = k;
}

void line_kill(struct net_pairs *s, struct line *k)
{
    if (k->dead)
        return;
    if (k->phase == LINE_HALF) {
        line_unlink(&s->half, k);
        s->half_count--;
    } else if (k->phase == LINE_CALL) {
        line_unlink(&k->to->calls, k);
    }
    if (k->pair != NULL)
        k->pair->line = NULL;
    k->dead = true;
    conn_fini(&k->c);
    k->next = s->dead;
    s->dead = k;
}

void lines_sweep(struct net_pairs *s)
{
    while (s->dead != NULL) {
        struct line *k = s->dead;

        s->dead = k->next;
        mem_free(k);
    }
}

void line_send(struct net_pairs *s, struct line *k, struct frame *f)
{
    if (k->dead) {
        frame_drop(f);
        return;
    }
    if (conn_send(&k->c, f))
        line_watch(s, k);
    else if (k->phase == LINE_PAIRED)
        pair_fail(k->pair, NRT_FAILURE, "out of memory for a message to %s", k->pair->name);
    else
        line_kill(s, k);
}

/* A new line over fd, which is taken over; NULL: memory or descriptors. */
static struct line *line_new(struct net_pairs *s, int fd, enum line_phase phase)
{
    struct line *k = mem_zalloc(sizeof(*k));

    if (k == NULL || !source_watch(&s->s, fd, &k->src, true, phase == LINE_DIALLING)) {
        mem_free(k);
        close(fd);
        return NULL;
    }
    k->src.kind = SOURCE_CONN;
    k->phase = phase;
    k->write_watched = phase == LINE_DIALLING;
    conn_tune(fd, s->s.cfg.dead_ms);
    conn_init(&k->c, fd, MSG_JOIN_MAX);
    return k;
}

static bool line_addresses(struct line *k)
{
    k->peer.len = sizeof(k->peer.sa);
    k->here.len = sizeof(k->here.sa);
    if (getpeername(k->c.fd, (struct sockaddr *)&k->peer.sa, &k->peer.len) != 0 ||
        getsockname(k->c.fd, (struct sockaddr *)&k->here.sa, &k->here.len) != 0)
        return false;
    addr_text(&k->peer, k->peer_text);
    return true;
}

static void keep_home(struct line *k, const struct msg_home *h)
{
    k->pid = h->pid;
    k->slot = h->slot;
    k->serial = h->serial;
    msg_text_copy(k->host, sizeof(k->host), &h->host);
}

static struct msg_home own_home(const struct net_pairs *s)
{
    return (struct msg_home){.pid = (uint32_t)getpid(),
                             .slot = device_slot(s->cfg.in),
                             .serial = device_instance_serial(s->cfg.in),
                             .host = msg_text_of(s->host)};
}

/* Whether who does not have our key may come all the same. */
static bool unkeyed_ok(const struct net_pairs *s, const struct line *k)
{
    if (s->s.key.source != MSG_KEY_FILE)
        return false;
    if (s->s.cfg.unkeyed == NET_UNKEYED_OTHER_HOSTS)
        return !addr_same_host(&k->peer, &k->here);
    return s->s.cfg.unkeyed == NET_UNKEYED_ALWAYS;
}

static void unkeyed_warn(struct net_pairs *s, const struct line *k)
{
    if (s->warned_unkeyed)
        return;
    s->warned_unkeyed = true;
    LOGW(s->s.cfg.log, LOG_NRT, "nrt_async_sendrecv",
         "send and receive with %s is not authenticated: it does not have the key of %s. Set "
         "OPENNRT_JOB_KEY to the same secret text on both sides",
         k->peer_text, s->s.key.from);
}

/* --- strangers and callers ---------------------------------------------------------------------
 */

/* Logged at every power of two, so that a flood does not fill the disk. */
static void stranger(struct net_pairs *s, struct line *k, const char *why)
{
    s->strangers++;
    if (is_pow2_u64(s->strangers))
        LOGW(s->s.cfg.log, LOG_NRT, "nrt_async_sendrecv",
             "connection %llu at the bootstrap port that is no sender, from %s: %s",
             (unsigned long long)s->strangers, k->peer_text, why);
    line_kill(s, k);
}

static void refuse(struct net_pairs *s, struct line *k, bool again, const char *why)
{
    struct msg m = {.type = MSG_REJECT,
                    .u.reject = {.status = NRT_FAILURE, .again = again, .text = msg_text_of(why)}};

    line_send(s, k, msg_build(&m, NULL, NULL));
    if (!k->dead)
        stranger(s, k, why);
}

static bool call_proof(const struct net_pairs *s, const struct line *k, const struct msg_call *m,
                       uint8_t mac[MSG_MAC])
{
    const struct key_part parts[] = {{k->nonce, MSG_NONCE}, {m->signed_part.p, m->signed_part.n}};

    return key_mac(&s->s.key, "opennrt call", parts, 2, mac);
}

struct welcome_sign {
    const struct net_pairs *s;
    const struct line *k;
};

static bool welcome_proof(const struct net_pairs *s, const uint8_t *receiver, const uint8_t *sender,
                          const uint8_t *body, size_t size, uint8_t mac[MSG_MAC])
{
    const struct key_part parts[] = {{receiver, MSG_NONCE}, {sender, MSG_NONCE}, {body, size}};

    return key_mac(&s->s.key, "opennrt call welcome", parts, 3, mac);
}

static bool sign_welcome(void *arg, const uint8_t *body, size_t size, uint8_t mac[MSG_MAC])
{
    const struct welcome_sign *w = arg;

    return welcome_proof(w->s, w->k->nonce, w->k->their_nonce, body, size, mac);
}

static unsigned calls_waiting(const struct pair_core *c)
{
    unsigned n = 0;

    for (const struct line *k = c->calls; k != NULL; k = k->next)
        n++;
    return n;
}

static void got_call(struct net_pairs *s, struct line *k, const struct msg_call *m)
{
    struct welcome_sign arg = {.s = s, .k = k};
    struct msg w = {.type = MSG_WELCOME, .u.welcome = {.keyed = !m->unkeyed}};
    struct pair_core *c = k->to;
    uint8_t mac[MSG_MAC];

    if (m->unkeyed ? !unkeyed_ok(s, k) : !call_proof(s, k, m, mac) || !key_mac_equal(mac, m->mac)) {
        refuse(
            s, k, false,
            "the sender does not have the receiver's key: set OPENNRT_JOB_KEY to the same secret "
            "text on both sides");
        return;
    }
    if (m->to != c->core) {
        refuse(s, k, false, "another logical core listens here");
        return;
    }
    if (calls_waiting(c) >= NET_PAIR_CALLS_MAX) {
        refuse(s, k, true, "too many senders wait for an accept");
        return;
    }
    if (m->unkeyed)
        unkeyed_warn(s, k);
    line_unlink(&s->half, k);
    s->half_count--;
    k->phase = LINE_CALL;
    k->from = m->from;
    k->port = m->port;
    k->keyed = !m->unkeyed;
    keep_home(k, &m->home);
    memcpy(k->their_nonce, m->nonce, MSG_NONCE);
    line_append(&c->calls, k);
    line_send(s, k, msg_build(&w, k->keyed ? sign_welcome : NULL, &arg));
    core_match(c);
}

static bool challenge(struct net_pairs *s, struct line *k)
{
    struct msg m = {.type = MSG_CHALLENGE,
                    .u.challenge = {.source = (uint8_t)s->s.key.source,
                                    .key_id = s->s.key.id,
                                    .nonce = k->nonce,
                                    .version = msg_text_of(OPENNRT_VERSION)}};

    if (!key_random(k->nonce, MSG_NONCE))
        return false;
    line_send(s, k, msg_build(&m, NULL, NULL));
    return true;
}

static void half_add(struct pair_core *c, int fd)
{
    struct net_pairs *s = c->set;
    struct line *k = line_new(s, fd, LINE_HALF);

    if (k == NULL)
        return;
    k->to = c;
    k->deadline = pairs_now(s) + s->s.cfg.handshake_ms * NSEC_PER_MS;
    line_append(&s->half, k);
    s->half_count++;
    if (!line_addresses(k) || !challenge(s, k))
        line_kill(s, k);
}

void core_accept(struct pair_core *c)
{
    struct net_pairs *s = c->set;

    for (unsigned n = 0; n < ACCEPTS; n++) {
        int fd = fd_keep(accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));

        if (fd < 0 && (errno == EMFILE || errno == ENFILE) && s->half != NULL) {
            stranger(s, s->half, "no descriptor is left, and it has had the longest time");
            continue;
        }
        if (fd < 0)
            return;
        if (s->half_count >= s->s.cfg.half_open_max)
            stranger(s, s->half, "too many have not called, and it has had the longest time to");
        half_add(c, fd);
    }
}

static NRT_STATUS cannot_listen(const struct pair_core *c, const char *what, int error,
                                struct err *err)
{
    const char *fix = "";

    if (error == EADDRINUSE)
        fix = ": another process uses this port; choose another "
              "NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT";
    else if (error == EACCES)
        fix = ": this user may not use this port; choose "
              "NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT above 1023";
    return err_set(err, NRT_FAILURE, "logical core %u cannot %s port %u (%u + %u): %s%s", c->core,
                   what, c->set->cfg.port + c->core, c->set->cfg.port, c->core, strerror(error),
                   fix);
}

/* One socket for both families, or IPv4 alone where there is no IPv6. */
static int listener(uint16_t port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    int off = 0, one = 1, rc, error;
    int fd = fd_keep(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    bool v6 = fd >= 0;

    if (!v6)
        fd = fd_keep(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (v6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    rc = v6 ? bind(fd, (struct sockaddr *)&six, sizeof(six))
            : bind(fd, (struct sockaddr *)&four, sizeof(four));
    if (rc == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

NRT_STATUS core_listen(struct pair_core *c, struct err *err)
{
    uint32_t port = c->set->cfg.port + c->core;

    if (c->core > 65535 || port > 65535)
        return err_set(err, NRT_FAILURE,
                       "logical core %u would listen at port %u (%u + %u), which does not exist: "
                       "choose a smaller NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT",
                       c->core, port, c->set->cfg.port, c->core);
    c->src.kind = SOURCE_LISTEN;
    c->listen_fd = listener((uint16_t)port);
    if (c->listen_fd < 0)
        return cannot_listen(c, "listen at", errno, err);
    if (!source_watch(&c->set->s, c->listen_fd, &c->src, true, false))
        return cannot_listen(c, "watch", errno, err);
    return NRT_SUCCESS;
}

/* --- calling -----------------------------------------------------------------------------------
 */

static void again_later(struct net_pair *p, int error)
{
    p->last_error = error;
    p->backoff_ms = p->backoff_ms == 0                ? BACKOFF_MIN
                    : p->backoff_ms * 2 > BACKOFF_MAX ? BACKOFF_MAX
                                                      : p->backoff_ms * 2;
    p->retry_at = pairs_now(p->set) + p->backoff_ms * NSEC_PER_MS;
    if (p->line != NULL)
        line_kill(p->set, p->line);
}

static void dial(struct net_pair *p)
{
    struct addr to = p->peer;
    int fd = fd_keep(socket(to.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));

    *port_at(&to) = htons((uint16_t)(port_of(&to) + p->peer_core));
    if (fd < 0 || (connect(fd, (struct sockaddr *)&to.sa, to.len) != 0 && errno != EINPROGRESS)) {
        int error = errno;

        if (fd >= 0)
            close(fd);
        again_later(p, error);
        return;
    }
    p->line = line_new(p->set, fd, LINE_DIALLING);
    if (p->line == NULL) {
        again_later(p, ENOMEM);
        return;
    }
    p->line->pair = p;
}

/* Whether an earlier pair to the same core has not yet found its place in the line there. */
static bool turn_is_another(const struct pair_core *c, const struct net_pair *p)
{
    for (const struct net_pair *q = c->pairs; q != p; q = q->next) {
        if (q->send && atomic_load_explicit(&q->state, memory_order_relaxed) == PAIR_MEETING &&
            q->peer_core == p->peer_core && q->peer.len == p->peer.len &&
            memcmp(&q->peer.sa, &p->peer.sa, p->peer.len) == 0 &&
            (q->line == NULL || q->line->phase != LINE_QUEUED))
            return true;
    }
    return false;
}

static bool sign_call(void *arg, const uint8_t *body, size_t size, uint8_t mac[MSG_MAC])
{
    const struct welcome_sign *w = arg;
    const struct key_part parts[] = {{w->k->their_nonce, MSG_NONCE}, {body, size}};

    return key_mac(&w->s->s.key, "opennrt call", parts, 2, mac);
}

static void got_challenge(struct net_pairs *s, struct line *k, const struct msg_challenge *c)
{
    struct net_pair *p = k->pair;
    struct welcome_sign arg = {.s = s, .k = k};
    struct msg m = {.type = MSG_CALL,
                    .u.call = {.from = p->core,
                               .to = p->peer_core,
                               .port = s->cfg.port,
                               .nonce = k->nonce,
                               .home = own_home(s)}};

    memcpy(k->their_nonce, c->nonce, MSG_NONCE);
    k->keyed = memcmp(c->key_id, s->s.key.id, MSG_KEY_ID) == 0;
    if (!k->keyed && (c->source != MSG_KEY_FILE || !unkeyed_ok(s, k))) {
        pair_fail(p, NRT_FAILURE,
                  "%s (%s) does not have the key of this process (%s): set OPENNRT_JOB_KEY to the "
                  "same secret text on both sides",
                  p->name, c->source == MSG_KEY_GIVEN ? "OPENNRT_JOB_KEY" : "its own key file",
                  s->s.key.from);
        return;
    }
    if (!key_random(k->nonce, MSG_NONCE)) {
        pair_fail(p, NRT_FAILURE, "libcrypto has no entropy for a nonce");
        return;
    }
    if (!k->keyed)
        unkeyed_warn(s, k);
    m.u.call.unkeyed = !k->keyed;
    k->phase = LINE_CALLING;
    line_send(s, k, msg_build(&m, k->keyed ? sign_call : NULL, &arg));
}

static void got_welcome(struct net_pairs *s, struct line *k, const struct msg_welcome *w)
{
    const uint8_t body[1] = {w->keyed};
    uint8_t mac[MSG_MAC];

    if (k->keyed &&
        (!w->keyed || !welcome_proof(s, k->their_nonce, k->nonce, body, sizeof(body), mac) ||
         !key_mac_equal(mac, w->mac))) {
        pair_fail(k->pair, NRT_FAILURE, "who answers for %s does not have the key (%s)",
                  k->pair->name, s->s.key.from);
        return;
    }
    k->phase = LINE_QUEUED;
}

static void got_reject(struct line *k, const struct msg_reject *m)
{
    char text[MSG_TEXT_MAX];

    msg_text_copy(text, sizeof(text), &m->text);
    if (m->again)
        again_later(k->pair, EBUSY);
    else
        pair_fail(k->pair, NRT_FAILURE, "%s refused: %s", k->pair->name, text);
}

/* --- messages before a pair is one -------------------------------------------------------------
 */

/* False: not a message for this phase. */
static bool handle(struct net_pairs *s, struct line *k, const struct msg *m)
{
    if (k->phase == LINE_HALF && m->type == MSG_CALL)
        got_call(s, k, &m->u.call);
    else if (k->phase == LINE_GREETED && m->type == MSG_CHALLENGE)
        got_challenge(s, k, &m->u.challenge);
    else if (k->phase == LINE_CALLING && m->type == MSG_WELCOME)
        got_welcome(s, k, &m->u.welcome);
    else if ((k->phase == LINE_GREETED || k->phase == LINE_CALLING) && m->type == MSG_REJECT)
        got_reject(k, &m->u.reject);
    else if (k->phase == LINE_QUEUED && m->type == MSG_PAIRED) {
        keep_home(k, &m->u.paired);
        pair_paired(k->pair, k);
    } else
        return false;
    return true;
}

static void bad(struct net_pairs *s, struct line *k, const char *why)
{
    if (k->pair == NULL)
        stranger(s, k, why);
    else
        pair_fail(k->pair, NRT_FAILURE, "who answers for %s is no receiver: %s", k->pair->name,
                  why);
}

static void ended(struct net_pairs *s, struct line *k)
{
    if (k->pair != NULL)
        again_later(k->pair, k->c.error != 0 ? k->c.error : ECONNRESET);
    else if (k->phase == LINE_HALF)
        stranger(s, k, "it went without calling");
    else
        line_kill(s, k); /* a sender that has given up */
}

/* Whether the kernel has connected. */
static bool dialled(struct line *k)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(k->c.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error != 0) {
        again_later(k->pair, error);
        return false;
    }
    if (!line_addresses(k))
        return false; /* still under way */
    k->phase = LINE_GREETED;
    k->pair->last_error = 0;
    return true;
}

/* One with a pair that is connected is the pair's business. */
void line_event(struct net_pairs *s, struct line *k)
{
    bool have = true;
    struct err why = {0};
    struct msg m;

    if (k->dead || (k->phase == LINE_DIALLING && !dialled(k)))
        return;
    if (k->phase == LINE_PAIRED) {
        pair_event(k->pair);
        return;
    }
    conn_flush(&k->c);
    if (conn_read(&k->c, &why) != NRT_SUCCESS) {
        bad(s, k, why.text);
        return;
    }
    while (!k->dead && k->phase != LINE_PAIRED && have) {
        if (conn_next(&k->c, &m, &have, &why) != NRT_SUCCESS)
            bad(s, k, why.text);
        else if (have && !handle(s, k, &m))
            bad(s, k, "it sent a message that does not belong there");
    }
    if (!k->dead && k->phase != LINE_PAIRED && k->c.ended)
        ended(s, k);
    line_watch(s, k);
    if (!k->dead && k->phase == LINE_PAIRED)
        pair_event(k->pair); /* what came with the last message */
}

/* --- matching ----------------------------------------------------------------------------------
 */

static bool addr_equal_host(const struct addr *a, const struct addr *b)
{
    /* addr_same_host takes loopback for equal to anything: both ways, then. */
    return addr_same_host(a, b) && addr_same_host(b, a);
}

static bool call_fits(const struct net_pair *p, const struct line *k)
{
    if (k->from != p->peer_core || k->port != port_of(&p->peer))
        return false;
    if (p->peer_here)
        return addr_same_host(&k->peer, &k->here);
    return addr_equal_host(&k->peer, &p->peer);
}

void core_match(struct pair_core *c)
{
    struct net_pairs *s = c->set;

    for (struct net_pair *p = c->pairs; p != NULL; p = p->next) {
        struct msg m = {.type = MSG_PAIRED, .u.paired = own_home(s)};
        struct line *k = c->calls;

        if (p->send || atomic_load_explicit(&p->state, memory_order_relaxed) != PAIR_MEETING)
            continue;
        while (k != NULL && !call_fits(p, k))
            k = k->next;
        if (k == NULL)
            continue;
        line_unlink(&c->calls, k);
        k->phase = LINE_PAIRED;
        k->pair = p;
        pair_paired(p, k);
        line_send(s, k, msg_build(&m, NULL, NULL));
    }
}

/* Whether this host has the address: only then can a socket be bound to it. */
static bool addr_here(const struct addr *a)
{
    struct addr any = *a;
    int fd = fd_keep(socket(any.sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    bool here;

    *port_at(&any) = 0;
    here = fd >= 0 && bind(fd, (struct sockaddr *)&any.sa, any.len) == 0;
    if (fd >= 0)
        close(fd);
    return here;
}

/* The address alone, without brackets, zone and port; whether it is one is not looked at. */
static bool host_part(const char *ip, char host[ADDR_TEXT_MAX], bool *ret_port)
{
    size_t n = strlen(ip);
    const char *colon = strchr(ip, ':');

    if (n == 0 || n >= ADDR_TEXT_MAX)
        return false;
    *ret_port = ip[0] == '[' || (colon != NULL && strchr(colon + 1, ':') == NULL);
    if (ip[0] == '[')
        n = strcspn(++ip, "]%");
    else
        n = *ret_port ? (size_t)(colon - ip) : strcspn(ip, "%");
    snprintf(host, ADDR_TEXT_MAX, "%.*s", (int)n, ip);
    return true;
}

NRT_STATUS pair_address(struct net_pair *p, const char *ip, uint16_t port, struct err *err)
{
    char host[ADDR_TEXT_MAX] = "", text[ADDR_TEXT_MAX + 16];
    struct in6_addr number;
    bool has_port = false, four, six;
    uint32_t base;

    four = host_part(ip, host, &has_port) && inet_pton(AF_INET, host, &number) == 1;
    six = !four && inet_pton(AF_INET6, host, &number) == 1;
    if (has_port)
        snprintf(text, sizeof(text), "%s", ip);
    else
        snprintf(text, sizeof(text), six ? "[%s]:%u" : "%s:%u", ip, port);
    if ((!four && !six) || addr_parse(text, &p->peer, NULL) != NRT_SUCCESS)
        return err_set(err, NRT_FAILURE,
                       "peer_ip \"%.60s\" is no address: give the IPv4 or IPv6 address of the "
                       "peer's host",
                       ip);
    base = port_of(&p->peer);
    if (p->peer_core > 65535 || base + p->peer_core > 65535)
        return err_set(err, NRT_FAILURE, "logical core %u of %s would listen at port %u + %u",
                       p->peer_core, ip, base, p->peer_core);
    p->peer_here = addr_here(&p->peer);
    snprintf(p->name, sizeof(p->name), "logical core %u of %s", p->peer_core, ip);
    return NRT_SUCCESS;
}

/* --- timers ------------------------------------------------------------------------------------
 */

static void too_long(struct pair_core *c, struct net_pair *p)
{
    unsigned long long ms = p->set->cfg.limit_ns / NSEC_PER_MS;
    char other[120] = "";

    if (c->calls != NULL)
        snprintf(other, sizeof(other), " (logical core %u at %s, port %u, has, and waits)",
                 c->calls->from, c->calls->peer_text, c->calls->port);
    if (!p->send)
        pair_fail(p, NRT_TIMEOUT,
                  "%s has not connected within %llu ms%s: it must call "
                  "nrt_async_sendrecv_connect for logical core %u",
                  p->name, ms, other, p->core);
    else if (p->line != NULL && p->line->phase == LINE_QUEUED)
        pair_fail(p, NRT_TIMEOUT,
                  "%s (host %s) has not accepted within %llu ms: it must call "
                  "nrt_async_sendrecv_accept for logical core %u of this host",
                  p->name, p->line->peer_text, ms, p->core);
    else
        pair_fail(p, NRT_TIMEOUT, "%s could not be reached within %llu ms: %s", p->name, ms,
                  p->last_error != 0 ? strerror(p->last_error) : "no answer");
}

void core_tick(struct pair_core *c, uint64_t now)
{
    for (struct net_pair *p = c->pairs; p != NULL; p = p->next) {
        if (atomic_load_explicit(&p->state, memory_order_relaxed) != PAIR_MEETING)
            continue;
        if (now >= p->limit_at)
            too_long(c, p);
        else if (p->send && p->line == NULL && now >= p->retry_at && !turn_is_another(c, p))
            dial(p);
    }
}

uint64_t core_next_timer(const struct pair_core *c)
{
    uint64_t at = UINT64_MAX;

    for (const struct net_pair *p = c->pairs; p != NULL; p = p->next) {
        if (atomic_load_explicit(&p->state, memory_order_relaxed) != PAIR_MEETING)
            continue;
        if (p->limit_at < at)
            at = p->limit_at;
        if (p->send && p->line == NULL && p->retry_at < at && !turn_is_another(c, p))
            at = p->retry_at;
    }
    return at;
}

void core_hang_up(struct pair_core *c)
{
    struct line *k = c->set->half, *next;

    while (c->calls != NULL)
        line_kill(c->set, c->calls);
    for (; k != NULL; k = next) {
        next = k->next;
        if (k->to == c)
            line_kill(c->set, k);
    }
}

void half_tick(struct net_pairs *s, uint64_t now)
{
    while (s->half != NULL && now >= s->half->deadline)
        stranger(s, s->half, "it said nothing sensible in time");
}
