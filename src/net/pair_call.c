/* SPDX-License-Identifier: Apache-2.0 */
/* The sender's side of meeting: addresses, dialling, proving the key; and the time limits of both.
 *
 * Order. A sender calls the next time only when its last call to the same core has been welcomed,
 * and who has been welcomed stands in line there: so the k-th connect meets the k-th accept. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/fd.h"
#include "net/pair_int.h"

#define BACKOFF_MIN 10u
#define BACKOFF_MAX 250u

/* --- calling -----------------------------------------------------------------------------------
 */

void call_later(struct net_pair *p, int error)
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

    addr_port_set(&to, (uint16_t)(addr_port(&to) + p->peer_core));
    if (fd < 0 || (connect(fd, (struct sockaddr *)&to.sa, to.len) != 0 && errno != EINPROGRESS)) {
        int error = errno;

        if (fd >= 0)
            close(fd);
        call_later(p, error);
        return;
    }
    p->line = line_new(p->set, fd, LINE_DIALLING);
    if (p->line == NULL) {
        call_later(p, ENOMEM);
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
            (q->line == NULL || q->line->phase < LINE_QUEUED))
            return true;
    }
    return false;
}

struct call_sign {
    const struct net_pairs *s;
    const struct line *k;
};

static bool sign_call(void *arg, const uint8_t *body, size_t size, uint8_t mac[MSG_MAC])
{
    const struct call_sign *w = arg;

    return pairs_call_proof(w->s, w->k->their_nonce, body, size, mac);
}

void call_challenged(struct net_pairs *s, struct line *k, const struct msg_challenge *c)
{
    struct net_pair *p = k->pair;
    struct call_sign arg = {.s = s, .k = k};
    struct msg m = {.type = MSG_CALL,
                    .u.call = {.from = p->core,
                               .to = p->peer_core,
                               .port = s->cfg.port,
                               .nonce = k->nonce,
                               .home = pairs_home(s)}};

    memcpy(k->their_nonce, c->nonce, MSG_NONCE);
    k->keyed = memcmp(c->key_id, s->s.key.id, MSG_KEY_ID) == 0;
    if (!k->keyed && (c->source != MSG_KEY_FILE || !line_unkeyed_ok(s, k))) {
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
        line_unkeyed_warn(s, k);
    m.u.call.unkeyed = !k->keyed;
    k->phase = LINE_CALLING;
    line_send(s, k, msg_build(&m, k->keyed ? sign_call : NULL, &arg));
}

void call_welcomed(struct net_pairs *s, struct line *k, const struct msg_welcome *w)
{
    const uint8_t body[1] = {w->keyed};
    uint8_t mac[MSG_MAC];

    if (k->keyed &&
        (!w->keyed || !pairs_welcome_proof(s, k->their_nonce, k->nonce, body, sizeof(body), mac) ||
         !key_mac_equal(mac, w->mac))) {
        pair_fail(k->pair, NRT_FAILURE, "who answers for %s does not have the key (%s)",
                  k->pair->name, s->s.key.from);
        return;
    }
    k->phase = LINE_QUEUED;
}

void call_rejected(struct line *k, const struct msg_reject *m)
{
    char text[MSG_TEXT_MAX];

    msg_text_copy(text, sizeof(text), &m->text);
    if (m->again)
        call_later(k->pair, EBUSY);
    else
        pair_fail(k->pair, NRT_FAILURE, "%s refused: %s", k->pair->name, text);
}

/* Whether the kernel has connected. */
bool call_dialled(struct line *k)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(k->c.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error != 0) {
        call_later(k->pair, error);
        return false;
    }
    if (!line_addresses(k))
        return false; /* still under way */
    k->phase = LINE_GREETED;
    k->pair->last_error = 0;
    return true;
}

/* --- addresses ---------------------------------------------------------------------------------
 */

/* Whether this host has the address: only then can a socket be bound to it. */
static bool addr_here(const struct addr *a)
{
    struct addr any = *a;
    int fd = fd_keep(socket(any.sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    bool here;

    addr_port_set(&any, 0);
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
    base = addr_port(&p->peer);
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
    if (p->line != NULL && p->line->phase == LINE_PAIRED)
        pair_fail(p, NRT_TIMEOUT, "%s has met this end and said nothing more for %llu ms", p->name,
                  ms);
    else if (!p->send)
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
