/* SPDX-License-Identifier: Apache-2.0 */
/* How links part. Some providers keep messages that nobody waits for yet, deliver what comes after
 * them, and lose them when the sender closes. So who leaves says farewell to everybody it has had
 * to do with, and how many messages that follows; a peer answers when it has received as many.
 *
 * These are messages of no bytes on a channel of their own, whose stamp is what they say. The
 * number is told modulo OWN_COUNT; fewer are ever on their way. */
#include <time.h>

#include "base/base.h"
#include "base/log.h"
#include "net/link_int.h"
#include "run/run.h"

enum { OWN_FAREWELL, OWN_ANSWER };
#define FAREWELL_NS UINT64_C(5000000000)
#define ANSWER_NS   UINT64_C(200000000)
#define PAUSE_NS    50000 /* between two looks at the answers */

void link_own_heard(struct net_link *l, const struct fabric_completion *c)
{
    uint32_t from = (uint32_t)(c->tag >> 48);

    if (c->error != 0 || from >= l->world)
        return;
    if ((c->tag & 1) == OWN_ANSWER) {
        l->peers[from].answered = true;
        return;
    }
    l->peers[from].leaving = true;
    l->peers[from].told = (c->tag & TAG_STAMP) >> 1;
    l->peers[from].owed = l->owes = true;
}

void link_own_receive(struct net_link *l)
{
    struct net_request *r = link_request_new(l);
    int ignored;

    if (r == NULL)
        return;
    r->peer = NET_NO_RANK;
    r->own = true;
    r->owned = false;
    r->in_provider = fabric_recv(l->f, link_tag(0, OWN_CHANNEL, 0), TAG_RANK | TAG_STAMP,
                                 l->nothing, 0, NULL, r, &ignored) == FABRIC_OK;
    link_request_free_if_over(l, r);
}

/* False: no room now. */
static bool own_say(struct net_link *l, uint32_t peer, unsigned what)
{
    uint16_t stamp = (uint16_t)(l->peers[peer].sent % OWN_COUNT << 1 | what);
    struct net_request *r = link_request_new(l);
    enum fabric_result how;
    int ignored;

    if (r == NULL)
        return false;
    r->peer = peer;
    r->own = r->send = true;
    r->owned = false;
    how = fabric_send(l->f, l->peers[peer].at, link_tag(l->rank, OWN_CHANNEL, stamp), l->nothing, 0,
                      NULL, r, &ignored);
    r->in_provider = how == FABRIC_OK;
    link_request_free_if_over(l, r);
    return how != FABRIC_AGAIN;
}

void link_answers_give(struct net_link *l)
{
    l->owes = false;
    for (uint32_t i = 0; i < l->world; i++) {
        struct link_peer *p = &l->peers[i];

        if (p->owed && (l->leaves || p->received % OWN_COUNT == p->told))
            p->owed = !own_say(l, i, OWN_ANSWER);
        l->owes = l->owes || p->owed;
    }
}

/* A peer closes as soon as it has answered, and some providers lose what nobody has received from
 * an endpoint that closes: from here on each message that may come, a farewell and an answer of
 * each peer, finds its own receive. */
static void last_words_expect(struct net_link *l)
{
    for (uint32_t i = 0; i < l->world && !l->stopped; i++)
        for (unsigned words = 0; words < 2 && l->peers[i].talked && !l->peers[i].lost; words++)
            link_own_receive(l);
}

/* What this rank has sent may still be on its way, or wait at a peer for its receive: closing the
 * endpoint now would lose it. */
void link_farewell(struct net_link *l)
{
    uint64_t start = run_now_ns(), end = start + FAREWELL_NS;
    struct timespec pause = {.tv_nsec = PAUSE_NS};
    bool *said = mem_calloc(l->world, sizeof(*said)), waits = said != NULL;

    pthread_mutex_lock(&l->lock);
    l->leaves = true;
    last_words_expect(l);
    while (waits && !l->hurry && !l->stopped && !l->job_lost) {
        if (run_now_ns() >= end) {
            LOGW(l->log, LOG_NRT, "net_link",
                 "rank %u closes its endpoint before every peer has answered its farewell: what it "
                 "sent last may be lost",
                 l->rank);
            break;
        }
        waits = false;
        for (uint32_t i = 0; i < l->world; i++) {
            struct link_peer *p = &l->peers[i];

            if (!p->talked || p->lost)
                continue;
            if (p->leaving) { /* wants nothing but its answer, if it is still there */
                waits = waits || (p->owed && run_now_ns() < start + ANSWER_NS);
                continue;
            }
            said[i] = said[i] || own_say(l, i, OWN_FAREWELL);
            waits = waits || !said[i] || !p->answered;
        }
        if (link_progress_locked(l, FABRIC_BATCH) == 0 && waits) {
            pthread_mutex_unlock(&l->lock);
            nanosleep(&pause, NULL);
            pthread_mutex_lock(&l->lock);
        }
    }
    pthread_mutex_unlock(&l->lock);
    mem_free(said);
}
