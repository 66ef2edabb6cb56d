/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver's side of meeting: listening, strangers, callers, matching them with accepts. A
 * stranger costs a descriptor and MSG_JOIN_MAX bytes at most, and there are never more of them than
 * half_open_max: the oldest goes first. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/pair_int.h"

#define ACCEPTS 16 /* connections taken per event */

/* --- strangers and callers ---------------------------------------------------------------------
 */

/* Logged at every power of two, so that a flood does not fill the disk. */
void line_stranger(struct net_pairs *s, struct line *k, const char *why)
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
        line_stranger(s, k, why);
}

struct welcome_sign {
    const struct net_pairs *s;
    const struct line *k;
};

static bool sign_welcome(void *arg, const uint8_t *body, size_t size, uint8_t mac[MSG_MAC])
{
    const struct welcome_sign *w = arg;

    return pairs_welcome_proof(w->s, w->k->nonce, w->k->their_nonce, body, size, mac);
}

static unsigned calls_waiting(const struct pair_core *c)
{
    unsigned n = 0;

    for (const struct line *k = c->calls; k != NULL; k = k->next)
        n++;
    return n;
}

void line_called(struct net_pairs *s, struct line *k, const struct msg_call *m)
{
    struct welcome_sign arg = {.s = s, .k = k};
    struct msg w = {.type = MSG_WELCOME, .u.welcome = {.keyed = !m->unkeyed}};
    struct pair_core *c = k->to;
    uint8_t mac[MSG_MAC];

    if (m->unkeyed ? !line_unkeyed_ok(s, k)
                   : !pairs_call_proof(s, k->nonce, m->signed_part.p, m->signed_part.n, mac) ||
                         !key_mac_equal(mac, m->mac)) {
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
        line_unkeyed_warn(s, k);
    line_unlink(&s->half, k);
    s->half_count--;
    k->phase = LINE_CALL;
    k->from = m->from;
    k->port = m->port;
    k->keyed = !m->unkeyed;
    line_home_keep(k, &m->home);
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
            line_stranger(s, s->half, "no descriptor is left, and it has had the longest time");
            continue;
        }
        if (fd < 0)
            return;
        if (s->half_count >= s->s.cfg.half_open_max)
            line_stranger(s, s->half,
                          "too many have not called, and it has had the longest time to");
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

/* --- matching ----------------------------------------------------------------------------------
 */

static bool addr_equal_host(const struct addr *a, const struct addr *b)
{
    /* addr_same_host takes loopback for equal to anything: both ways, then. */
    return addr_same_host(a, b) && addr_same_host(b, a);
}

static bool call_fits(const struct net_pair *p, const struct line *k)
{
    if (k->from != p->peer_core || k->port != addr_port(&p->peer))
        return false;
    if (p->peer_here)
        return addr_same_host(&k->peer, &k->here);
    return addr_equal_host(&k->peer, &p->peer);
}

void core_match(struct pair_core *c)
{
    struct net_pairs *s = c->set;

    for (struct net_pair *p = c->pairs; p != NULL; p = p->next) {
        struct msg m = {.type = MSG_PAIRED, .u.paired = pairs_home(s)};
        struct line *k = c->calls;

        if (p->send || p->line != NULL ||
            atomic_load_explicit(&p->state, memory_order_relaxed) != PAIR_MEETING)
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
        if (p->line != NULL)
            pair_offer(p);
    }
}

/* --- ends --------------------------------------------------------------------------------------
 */

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
        line_stranger(s, s->half, "it said nothing sensible in time");
}
