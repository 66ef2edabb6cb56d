/* SPDX-License-Identifier: Apache-2.0 */
/* Transfers of a pair. The receiver tells in advance what it wants (WANT), so that nothing is sent
 * that has no place; the sender answers each with the bytes, or, inside one instance, with the
 * device address where they are (HAVE), and keeps them until the receiver says that it has them
 * (GOT).
 *
 * Reading the sender's HBM directly: nobody but the owner of memory ever writes it, so a death on
 * either side cannot hurt a third process that gets the memory next. What a receiver reads while
 * the sender dies may be another's; it counts only when the sender has said, after the reading,
 * that it still had it (KEPT). */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/base.h"
#include "device/device.h"
#include "net/pair_int.h"

#define TURN_NS UINT64_C(200000) /* of one pair, while others wait for theirs */
/* What is shorter arrives sooner with its announcement. */
#define FABRIC_LEAST (UINT64_C(256) << 10)

/* --- ends --------------------------------------------------------------------------------------
 */

static void memory_release(struct net_transfer *t)
{
    if (t->m.release != NULL)
        t->m.release(t->m.arg);
    t->m.release = NULL;
}

/* The first transfer of the pair is over. From the store on it belongs to whoever tests it. */
void pair_first_over(struct net_pair *p, NRT_STATUS status, const char *why)
{
    struct net_transfer *t = p->first;

    p->first = t->next;
    if (p->first == NULL)
        p->last = &p->first;
    if (p->fresh == t)
        p->fresh = t->next;
    if (p->busy == t)
        p->busy = NULL;
    p->ended++;
    memory_release(t);
    if (status != NRT_SUCCESS)
        err_set(&t->failure, status, "%s", why);
    atomic_store_explicit(&t->state, status == NRT_SUCCESS ? TRANSFER_DONE : TRANSFER_FAILED,
                          memory_order_release);
}

void pair_fail(struct net_pair *p, NRT_STATUS status, const char *fmt, ...)
{
    struct msg m = {.type = MSG_FAIL,
                    .u.fail = {.whole_job = 1, .status = (uint32_t)status, .culprit = p->core}};
    va_list ap;

    if (atomic_load_explicit(&p->state, memory_order_relaxed) == PAIR_FAILED)
        return;
    va_start(ap, fmt);
    err_vset(&p->failure, status, fmt, ap);
    va_end(ap);
    if (p->line != NULL) {
        bool inside = p->send && p->busy != NULL && !p->busy->fabric;

        /* In the middle of a message only the end of the stream can be said. */
        if (p->line->phase == LINE_PAIRED && !p->line->bye && !inside) {
            pair_share_farewell(p);
            m.u.fail.text = msg_text_of(p->failure.text);
            (void)conn_send(&p->line->c, msg_build(&m, NULL, NULL));
        }
        line_kill(p->set, p->line);
    }
    pair_fabric_end(p);
    pair_share_end(p);
    p->busy = NULL;
    while (p->first != NULL)
        pair_first_over(p, status, p->failure.text);
    atomic_store_explicit(&p->state, PAIR_FAILED, memory_order_release);
}

void pair_protocol_fail(struct net_pair *p, const char *what)
{
    pair_fail(p, NRT_FAILURE, "%s (host %s, pid %u) broke the protocol: %s", p->name, p->line->host,
              p->line->pid, what);
}

static bool same_instance(const struct net_pair *p)
{
    return p->line->serial == device_instance_serial(p->set->cfg.in);
}

void pair_paired(struct net_pair *p, struct line *k)
{
    k->phase = LINE_PAIRED;
    p->line = k;
    snprintf(p->name + strlen(p->name), sizeof(p->name) - strlen(p->name), " (host %.40s, pid %u)",
             k->host, k->pid);
    p->moved_at = pairs_now(p->set);
}

/* The receiver says first that they have met. */
void pair_offer(struct net_pair *p)
{
    if (!same_instance(p))
        pair_fabric_offer(p);
    else if (pair_share_offer(p))
        return; /* connected when the other end has answered */
    if (p->line != NULL)
        atomic_store_explicit(&p->state, PAIR_CONNECTED, memory_order_release);
}

/* --- sending -----------------------------------------------------------------------------------
 */

static void say_transfer(struct net_pair *p, enum msg_type type, uint64_t index, uint64_t size,
                         enum msg_how how, uint64_t addr)
{
    struct msg m = {
        .type = type,
        .u.transfer = {.index = index, .size = size, .how = (uint8_t)how, .addr = addr}};

    line_send(p->set, p->line, msg_build(&m, NULL, NULL));
}

static bool connected(const struct net_pair *p)
{
    return atomic_load_explicit(&p->state, memory_order_relaxed) == PAIR_CONNECTED;
}

/* Or it has met the other end and waits for its page. */
static bool moving(const struct net_pair *p)
{
    return atomic_load_explicit(&p->state, memory_order_relaxed) != PAIR_FAILED;
}

/* A transfer that the receiver has no room for: it fails on both sides, and what follows does not.
 * Those before it end first, since transfers end in order. */
static void too_long(struct net_pair *p, struct net_transfer *t)
{
    char why[ERR_TEXT_MAX];

    if (p->first != t)
        return;
    snprintf(why, sizeof(why), "%" PRIu64 " bytes were sent where %s wants at most %" PRIu64,
             t->size, p->name, p->want[t->index % NET_PAIR_PENDING_MAX]);
    p->told++;
    say_transfer(p, MSG_HAVE, t->index, t->size, MSG_HOW_TOO_LONG, 0);
    if (connected(p))
        pair_first_over(p, NRT_FAILURE, why);
}

/* Whether the receiver may still be taking a message over libfabric. */
static bool fabric_before(const struct net_pair *p, const struct net_transfer *t)
{
    const struct net_transfer *q = p->first;

    while (q != t && !q->fabric)
        q = q->next;
    return q != t;
}

/* The next transfer that the receiver wants is announced; true when something was done. */
static bool announce(struct net_pair *p)
{
    struct net_transfer *t = p->fresh;
    enum msg_how how = MSG_HOW_STREAM;

    if (t == NULL || t->index >= p->wants)
        return false;
    if (t->size > p->want[t->index % NET_PAIR_PENDING_MAX]) {
        uint64_t told = p->told;

        too_long(p, t);
        return connected(p) && p->told != told;
    }
    if (t->m.device && t->size > 0 && same_instance(p))
        how = MSG_HOW_DEVICE;
    else if (pair_fabric_agreed(p) && t->size >= FABRIC_LEAST)
        how = MSG_HOW_FABRIC;
    else if (fabric_before(p, t))
        return false; /* the receiver takes bytes from one place at a time */
    p->fresh = t->next;
    p->told++;
    t->all = t->size == 0;
    t->fabric = how == MSG_HOW_FABRIC;
    if (how != MSG_HOW_DEVICE && !t->all)
        p->busy = t;
    say_transfer(p, MSG_HAVE, t->index, t->size, how, t->m.addr);
    return connected(p);
}

/* Bytes of the message under way; false: no more can go now. */
static bool stream(struct net_pair *p)
{
    struct net_transfer *t = p->busy;
    uint64_t left = t->size - t->at;
    size_t n;

    if (conn_pending(&p->line->c))
        conn_flush(&p->line->c);
    n = conn_give(&p->line->c, (uint8_t *)t->m.p + t->at, left < PAIR_PIECE ? left : PAIR_PIECE);
    t->at += n;
    if (n > 0)
        p->moved_at = pairs_now(p->set);
    if (t->at == t->size && !conn_pending(&p->line->c)) {
        t->all = true;
        p->busy = NULL;
        return true;
    }
    return n > 0;
}

/* The same over libfabric. */
static bool send_fabric(struct net_pair *p)
{
    struct net_transfer *t = p->busy;
    bool all, moved = pair_fabric_move(p, &all);

    if (!connected(p) || !all)
        return moved;
    t->all = true;
    p->busy = NULL;
    if (t->acked)
        pair_first_over(p, NRT_SUCCESS, NULL);
    return true;
}

static void say_kept(struct net_pair *p)
{
    for (; p->kept_due > 0 && connected(p); p->kept_due--)
        say_transfer(p, MSG_KEPT, p->kept_next - p->kept_due, 0, MSG_HOW_STREAM, 0);
}

static bool send_some(struct net_pair *p)
{
    if (p->busy != NULL)
        return p->busy->fabric ? send_fabric(p) : stream(p);
    say_kept(p);
    return connected(p) && announce(p);
}

static void got_want(struct net_pair *p, const struct msg_transfer *m)
{
    if (m->index != p->wants || m->index >= p->ended + NET_PAIR_PENDING_MAX) {
        pair_protocol_fail(p, "it wants messages out of order, or too many");
        return;
    }
    p->want[m->index % NET_PAIR_PENDING_MAX] = m->size;
    p->wants++;
}

static void got_got(struct net_pair *p, const struct msg_transfer *m)
{
    struct net_transfer *t = p->first;

    if (t == NULL || m->index != t->index || m->index >= p->told || t->acked ||
        (t == p->busy && !t->fabric)) {
        pair_protocol_fail(p, "it has what was not sent");
        return;
    }
    if (t == p->busy) { /* the provider has not said yet that it is sent */
        t->acked = true;
        return;
    }
    if (!t->all) { /* it was read in place */
        p->kept_due++;
        p->kept_next = t->index + 1;
        t->at = t->size;
        if (p->busy == NULL)
            say_kept(p);
        if (!connected(p))
            return;
    }
    pair_first_over(p, NRT_SUCCESS, NULL);
}

/* --- receiving ---------------------------------------------------------------------------------
 */

static void announce_wants(struct net_pair *p)
{
    while (connected(p) && p->fresh != NULL) {
        struct net_transfer *t = p->fresh;

        p->fresh = t->next;
        p->told++;
        say_transfer(p, MSG_WANT, t->index, t->m.size, MSG_HOW_STREAM, 0);
    }
}

static struct net_transfer *transfer_at(const struct net_pair *p, uint64_t index)
{
    struct net_transfer *t = p->first;

    while (t != NULL && t->index != index)
        t = t->next;
    return t;
}

/* Those at the head that nothing is missing of. */
static void receives_end(struct net_pair *p)
{
    while (p->first != NULL && p->first->all && !p->first->reads)
        pair_first_over(p, NRT_SUCCESS, NULL);
}

/* Messages over libfabric may be announced while one before them is under way. */
static void fabric_next(struct net_pair *p)
{
    struct net_transfer *t = p->first;

    while (t != NULL && (t->all || !t->fabric))
        t = t->all ? t->next : NULL;
    p->busy = t;
}

/* All bytes are here. Read in place, they count when the sender has confirmed. */
static void received(struct net_pair *p)
{
    struct net_transfer *t = p->busy;

    p->busy = NULL;
    t->all = true;
    say_transfer(p, MSG_GOT, t->index, 0, MSG_HOW_STREAM, 0);
    if (connected(p))
        receives_end(p);
}

/* The next of them; one without bytes is over at once. */
static void fabric_begin(struct net_pair *p)
{
    do {
        fabric_next(p);
        if (p->busy != NULL && p->busy->size == 0)
            received(p);
        else
            break;
    } while (connected(p));
}

static void got_have(struct net_pair *p, const struct msg_transfer *m)
{
    struct net_transfer *t = transfer_at(p, p->wants);
    char why[ERR_TEXT_MAX];

    /* wants counts HAVEs here: each is the answer to one WANT */
    if (t == NULL || m->index != p->wants || m->index >= p->told) {
        pair_protocol_fail(p, "it sent what nobody wants");
        return;
    }
    p->wants++;
    if (m->how == MSG_HOW_TOO_LONG) {
        if (t != p->first || m->size <= t->m.size) {
            pair_protocol_fail(p, "it gave up a message that would have been possible");
            return;
        }
        snprintf(why, sizeof(why), "%s sent %" PRIu64 " bytes where %" PRIu64 " fit", p->name,
                 m->size, t->m.size);
        pair_first_over(p, NRT_FAILURE, why);
        return;
    }
    if (m->size > t->m.size || (m->how == MSG_HOW_DEVICE && !same_instance(p)) ||
        (m->how == MSG_HOW_FABRIC ? !pair_fabric_agreed(p) : pair_fabric_busy(p))) {
        pair_protocol_fail(p, "it sent more than fits, or by a way that was not agreed");
        return;
    }
    t->size = m->size;
    if (m->how == MSG_HOW_FABRIC) {
        t->fabric = true;
        if (p->busy == NULL)
            fabric_begin(p);
        return;
    }
    t->reads = m->how == MSG_HOW_DEVICE && m->size > 0;
    t->from = m->addr;
    p->busy = t;
    if (t->size == 0)
        received(p);
}

static void got_kept(struct net_pair *p, const struct msg_transfer *m)
{
    struct net_transfer *t = p->first;

    if (t == NULL || t->index != m->index || !t->reads || !t->all) {
        pair_protocol_fail(p, "it kept what was not read");
        return;
    }
    pair_first_over(p, NRT_SUCCESS, NULL);
    receives_end(p); /* in order: what came over the connection has waited for it */
}

/* Reads a piece of the sender's memory. */
static void read_some(struct net_pair *p)
{
    struct net_transfer *t = p->busy;
    uint64_t left = t->size - t->at, n = left < PAIR_PIECE ? left : PAIR_PIECE, from;
    struct err why = {0};
    void *src;

    if (t->from > UINT64_MAX - t->at) {
        pair_protocol_fail(p, "its message is at no address");
        return;
    }
    from = t->from + t->at;
    if (device_map(p->set->cfg.in, from, n, DEVICE_READ, &src, &why) != NRT_SUCCESS) {
        pair_fail(p, NRT_FAILURE, "a message of %s cannot be read: %s", p->name, why.text);
        return;
    }
    memcpy((uint8_t *)t->m.p + t->at, src, n);
    t->at += n;
    p->moved_at = pairs_now(p->set);
    if (t->at == t->size)
        received(p);
}

/* Bytes of a message that comes over the connection; false: no more are there now. */
static bool take_some(struct net_pair *p)
{
    struct net_transfer *t = p->busy;
    uint64_t left = t->size - t->at;
    size_t n =
        conn_take(&p->line->c, (uint8_t *)t->m.p + t->at, left < PAIR_PIECE ? left : PAIR_PIECE);

    t->at += n;
    if (n > 0)
        p->moved_at = pairs_now(p->set);
    if (t->at == t->size)
        received(p);
    return n > 0;
}

static bool take_fabric(struct net_pair *p)
{
    bool all, moved = pair_fabric_move(p, &all);

    if (!connected(p) || !all)
        return moved;
    received(p);
    if (connected(p))
        fabric_begin(p);
    return true;
}

/* --- messages ----------------------------------------------------------------------------------
 */

static void got_fail(struct net_pair *p, const struct msg_fail *m)
{
    char text[MSG_TEXT_MAX];

    msg_text_copy(text, sizeof(text), &m->text);
    p->line->bye = true;
    pair_fail(p, NRT_FAILURE, "%s gave up: %s", p->name, text);
}

/* The other end says where its page is, once, before anything that belongs to a transfer. */
static void got_share(struct net_pair *p, const struct msg_share *m)
{
    if (!same_instance(p) || p->share_heard || (p->send ? p->told : p->wants) > 0 ||
        !pair_share_offered(p, m)) {
        pair_protocol_fail(p, "its page is nowhere, or comes too late");
        return;
    }
    p->share_heard = true;
    atomic_store_explicit(&p->state, PAIR_CONNECTED, memory_order_release);
}

/* Of two ends that talk through memory. What is not said is done by looking. */
static void handle_shared(struct net_pair *p, const struct msg *m)
{
    if (m->type == MSG_SHARE)
        got_share(p, &m->u.share);
    else if (p->send && m->type == MSG_ENDED && connected(p))
        pair_share_ended(p, &m->u.transfer);
    else if (m->type != MSG_LOOK || !connected(p))
        pair_protocol_fail(p, "a message that does not belong there");
}

static void handle(struct net_pair *p, const struct msg *m)
{
    p->moved_at = pairs_now(p->set);
    if (m->type == MSG_FAIL) {
        got_fail(p, &m->u.fail);
    } else if (m->type == MSG_BYE) {
        p->line->bye = true;
        pair_fail(p, NRT_FAILURE, "%s has closed its side", p->name);
    } else if (p->share != NULL) {
        handle_shared(p, m);
    } else if (m->type == MSG_SHARE) {
        got_share(p, &m->u.share);
    } else if (m->type == MSG_FABRIC) {
        if (!pair_fabric_offered(p, &m->u.fabric))
            pair_protocol_fail(p, "it tells its address on the network too late");
    } else if (p->send && m->type == MSG_WANT) {
        got_want(p, &m->u.transfer);
    } else if (p->send && m->type == MSG_GOT) {
        got_got(p, &m->u.transfer);
    } else if (!p->send && m->type == MSG_HAVE) {
        got_have(p, &m->u.transfer);
    } else if (!p->send && m->type == MSG_KEPT) {
        got_kept(p, &m->u.transfer);
    } else {
        pair_protocol_fail(p, "a message that does not belong there");
    }
}

/* One message, if there is one and it may be looked at; false: nothing. */
static bool message_some(struct net_pair *p)
{
    struct err why = {0};
    struct msg m;
    bool have;

    if (conn_next(&p->line->c, &m, &have, &why) != NRT_SUCCESS) {
        pair_protocol_fail(p, why.text);
        return false;
    }
    if (have)
        handle(p, &m);
    return have && moving(p);
}

static void lost(struct net_pair *p)
{
    int error = p->line->c.error;

    pair_share_settle(p); /* it may have said in its page that it has them */
    if (p->line == NULL)
        return;
    pair_fail(p, NRT_FAILURE,
              "RX, connection closed by remote peer: %s has died or was cut off (%s)", p->name,
              error != 0 ? strerror(error) : "end of stream");
}

/* Input: bytes of a message under way, else messages. */
static bool input_some(struct net_pair *p)
{
    if (p->share != NULL) {
        bool moved = message_some(p);

        return moving(p) && ((connected(p) && p->share != NULL && pair_share_move(p)) || moved);
    }
    if (!p->send && pair_fabric_busy(p)) {
        bool moved = take_fabric(p);

        return connected(p) && (message_some(p) || moved);
    }
    if (!p->send && p->busy != NULL && !p->busy->reads)
        return take_some(p);
    if (!p->send && p->busy != NULL) {
        read_some(p);
        return connected(p);
    }
    return message_some(p);
}

/* True: there may be more. */
static bool move_once(struct net_pair *p)
{
    bool more = input_some(p);

    if (p->share != NULL)
        return more && moving(p);
    if (connected(p) && p->send)
        more |= send_some(p);
    else if (connected(p))
        announce_wants(p);
    return more && moving(p);
}

void pair_move(struct net_pair *p)
{
    uint64_t end = pairs_now(p->set) + TURN_NS;

    p->more = moving(p);
    while (p->more && pairs_now(p->set) < end)
        p->more = move_once(p);
    if (!moving(p))
        return;
    if (!p->more && p->line->c.ended)
        lost(p);
    else
        line_watch(p->set, p->line);
}

void pair_event(struct net_pair *p)
{
    bool reading = !p->send && p->busy != NULL && !p->busy->fabric && p->share == NULL;
    struct err why = {0};

    conn_flush(&p->line->c);
    /* The buffer takes messages only; bytes go to where they belong, and while the sender's memory
     * is read nothing needs to be heard. */
    if (!reading && conn_read(&p->line->c, &why) != NRT_SUCCESS) {
        pair_fail(p, NRT_FAILURE, "%s", why.text);
        return;
    }
    pair_move(p);
}

/* --- new transfers and time --------------------------------------------------------------------
 */

void pair_add(struct net_pair *p, struct net_transfer *t)
{
    t->index = p->started++;
    t->size = t->m.size;
    t->next = NULL;
    if (p->first == NULL)
        p->moved_at = pairs_now(p->set);
    *p->last = t;
    p->last = &t->next;
    if (connected(p) && p->share != NULL) {
        pair_share_post(p, t);
    } else {
        if (p->fresh == NULL)
            p->fresh = t;
        p->more = true;
    }
    if (!connected(p)) {
        while (p->first != NULL)
            pair_first_over(p, NRT_FAILURE, p->failure.text);
    }
}

void pair_tick(struct net_pair *p, uint64_t now)
{
    uint64_t limit = p->set->cfg.limit_ns;

    if (!connected(p))
        return;
    /* now may be a little older than the last movement */
    if (limit != 0 && p->first != NULL && now > p->moved_at && now - p->moved_at >= limit)
        pair_fail(p, NRT_TIMEOUT,
                  "nothing moved for %llu ms in %s message %" PRIu64 " of %" PRIu64
                  " bytes %s %s: %s",
                  (unsigned long long)(limit / NSEC_PER_MS), p->send ? "sending" : "receiving",
                  p->first->index, p->first->size, p->send ? "to" : "from", p->name,
                  p->send ? (p->wants > p->first->index ? "it does not take it"
                                                        : "it has not called recv_tensor")
                          : (p->wants > p->first->index ? "the rest does not come"
                                                        : "it has not called send_tensor"));
}

uint64_t pair_next_timer(const struct net_pair *p)
{
    uint64_t limit = p->set->cfg.limit_ns;

    return connected(p) && limit != 0 && p->first != NULL ? p->moved_at + limit : UINT64_MAX;
}
