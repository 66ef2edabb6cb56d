/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of pairs, from the first byte until they have found their pair, on either side; and
 * the proofs that both sides give. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/fd.h"
#include "base/log.h"
#include "device/device.h"
#include "net/pair_int.h"

/* --- lines -------------------------------------------------------------------------------------
 */

void line_watch(struct net_pairs *s, struct line *k)
{
    bool stream = k->pair != NULL && k->pair->send && k->pair->busy != NULL;
    bool want = k->phase == LINE_DIALLING || conn_pending(&k->c) || stream;

    if (!k->dead && want != k->write_watched && source_watch(&s->s, k->c.fd, &k->src, false, want))
        k->write_watched = want;
}

void line_unlink(struct line **list, struct line *k)
{
    while (*list != NULL && *list != k)
        list = &(*list)->next;
    if (*list == k)
        *list = k->next;
    k->next = NULL;
}

void line_append(struct line **list, struct line *k)
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
    source_forget(&s->s, k->c.fd);
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
struct line *line_new(struct net_pairs *s, int fd, enum line_phase phase)
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

bool line_addresses(struct line *k)
{
    k->peer.len = sizeof(k->peer.sa);
    k->here.len = sizeof(k->here.sa);
    if (getpeername(k->c.fd, (struct sockaddr *)&k->peer.sa, &k->peer.len) != 0 ||
        getsockname(k->c.fd, (struct sockaddr *)&k->here.sa, &k->here.len) != 0)
        return false;
    addr_text(&k->peer, k->peer_text);
    return true;
}

void line_home_keep(struct line *k, const struct msg_home *h)
{
    k->pid = h->pid;
    k->serial = h->serial;
    msg_text_copy(k->host, sizeof(k->host), &h->host);
}

struct msg_home pairs_home(const struct net_pairs *s)
{
    return (struct msg_home){.pid = (uint32_t)getpid(),
                             .serial = device_instance_serial(s->cfg.in),
                             .host = msg_text_of(s->host)};
}

/* Whether who does not have our key may come all the same. */
bool line_unkeyed_ok(const struct net_pairs *s, const struct line *k)
{
    if (s->s.key.source != MSG_KEY_FILE)
        return false;
    if (s->s.cfg.unkeyed == NET_UNKEYED_OTHER_HOSTS)
        return !addr_same_host(&k->peer, &k->here);
    return s->s.cfg.unkeyed == NET_UNKEYED_ALWAYS;
}

void line_unkeyed_warn(struct net_pairs *s, const struct line *k)
{
    if (s->warned_unkeyed)
        return;
    s->warned_unkeyed = true;
    LOGW(s->s.cfg.log, LOG_NRT, "nrt_async_sendrecv",
         "send and receive with %s is not authenticated: it does not have the key of %s. Set "
         "OPENNRT_JOB_KEY to the same secret text on both sides",
         k->peer_text, s->s.key.from);
}

/* --- proofs ------------------------------------------------------------------------------------
 */

bool pairs_call_proof(const struct net_pairs *s, const uint8_t *receiver, const uint8_t *body,
                      size_t size, uint8_t mac[MSG_MAC])
{
    const struct key_part parts[] = {{receiver, MSG_NONCE}, {body, size}};

    return key_mac(&s->s.key, "opennrt call", parts, 2, mac);
}

bool pairs_welcome_proof(const struct net_pairs *s, const uint8_t *receiver, const uint8_t *sender,
                         const uint8_t *body, size_t size, uint8_t mac[MSG_MAC])
{
    const struct key_part parts[] = {{receiver, MSG_NONCE}, {sender, MSG_NONCE}, {body, size}};

    return key_mac(&s->s.key, "opennrt call welcome", parts, 3, mac);
}

/* --- messages before a pair is one -------------------------------------------------------------
 */

/* False: not a message for this phase. */
static bool handle(struct net_pairs *s, struct line *k, const struct msg *m)
{
    if (k->phase == LINE_HALF && m->type == MSG_CALL)
        line_called(s, k, &m->u.call);
    else if (k->phase == LINE_GREETED && m->type == MSG_CHALLENGE)
        call_challenged(s, k, &m->u.challenge);
    else if (k->phase == LINE_CALLING && m->type == MSG_WELCOME)
        call_welcomed(s, k, &m->u.welcome);
    else if ((k->phase == LINE_GREETED || k->phase == LINE_CALLING) && m->type == MSG_REJECT)
        call_rejected(k, &m->u.reject);
    else if (k->phase == LINE_QUEUED && m->type == MSG_PAIRED) {
        line_home_keep(k, &m->u.paired);
        pair_paired(k->pair, k);
        pair_offer(k->pair);
    } else
        return false;
    return true;
}

static void bad(struct net_pairs *s, struct line *k, const char *why)
{
    if (k->pair == NULL)
        line_stranger(s, k, why);
    else
        pair_fail(k->pair, NRT_FAILURE, "who answers for %s is no receiver: %s", k->pair->name,
                  why);
}

static void ended(struct net_pairs *s, struct line *k)
{
    if (k->pair != NULL)
        call_later(k->pair, k->c.error != 0 ? k->c.error : ECONNRESET);
    else if (k->phase == LINE_HALF)
        line_stranger(s, k, "it went without calling");
    else
        line_kill(s, k); /* a sender that has given up */
}

/* One with a pair that is connected is the pair's business. */
void line_event(struct net_pairs *s, struct line *k)
{
    bool have = true;
    struct err why = {0};
    struct msg m;

    if (k->dead || (k->phase == LINE_DIALLING && !call_dialled(k)))
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
