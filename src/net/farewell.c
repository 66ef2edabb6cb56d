/* SPDX-License-Identifier: Apache-2.0 */
/* How links part. Some providers keep messages that nobody waits for yet, deliver what comes after
 * them, and lose them when the sender closes. So who leaves says farewell to everybody it has had
 * to do with, and how many messages that follows; a peer answers when it has received as many.
 *
 * These are messages of no bytes on a channel of their own, whose stamp is what they say. The
 * number is told modulo OWN_COUNT; fewer are ever on their way.
 *
 * A peer that does not answer is waited for only while it may still read: what comes for a
 * communicator that it has closed, its link takes and forgets; if it is dead, the job says so, or
 * the provider cannot deliver one of the farewells, which are repeated, or its host refuses a
 * connection. */
#include <time.h>

#include "base/base.h"
#include "base/log.h"
#include "net/link_int.h"
#include "run/run.h"

enum { OWN_FAREWELL, OWN_ANSWER };
#define ANSWER_NS UINT64_C(200000000)
#define AGAIN_NS  UINT64_C(100000000) /* between two farewells to one peer */
#define PAUSE_NS  50000               /* between two looks at the answers */

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

struct net_request *link_own_new(struct net_link *l, uint32_t peer)
{
    struct net_request *r = link_request_new(l);

    if (r == NULL)
        return NULL;
    r->peer = peer;
    r->own = true;
    r->owned = false;
    return r;
}

void link_own_receive(struct net_link *l)
{
    struct net_request *r = link_own_new(l, NET_NO_RANK);
    int ignored;

    if (r == NULL)
        return;
    r->in_provider = fabric_recv(l->f, link_tag(0, OWN_CHANNEL, 0), TAG_RANK | TAG_STAMP,
                                 l->nothing, 0, NULL, r, &ignored) == FABRIC_OK;
    link_request_free_if_over(l, r);
}

/* False: no room now. */
static bool own_say(struct net_link *l, uint32_t peer, unsigned what)
{
    uint16_t stamp = (uint16_t)(l->peers[peer].sent % OWN_COUNT << 1 | what);
    struct net_request *r = link_own_new(l, peer);
    enum fabric_result how;
    int ignored;

    if (r == NULL)
        return false;
    r->send = true;
    how = fabric_tell(l->f, l->peers[peer].at, link_tag(l->rank, OWN_CHANNEL, stamp), r, &ignored);
    r->in_provider = how == FABRIC_OK;
    l->peers[peer].gone = l->peers[peer].gone || how == FABRIC_FAILED;
    link_request_free_if_over(l, r);
    return how != FABRIC_AGAIN;
}

/* --- what nobody will read ----------------------------------------------------------------------
 */

/* One receive for whatever comes to a communicator that was closed. Without it, who sent that waits
 * for the limit when it leaves: nothing else is hurt. */
static void forget(struct net_link *l, uint32_t channel)
{
    struct net_request *r = link_own_new(l, NET_NO_RANK);
    uint64_t any_channel = (uint64_t)(NET_LINK_GROUP_CHANNELS - 1) << 16;
    int ignored;

    if (r == NULL)
        return;
    r->forgets = true;
    r->channel = channel;
    r->in_provider =
        fabric_recv(l->f, link_tag(0, channel, 0), TAG_RANK | TAG_STAMP | any_channel, l->forgotten,
                    LINK_MESSAGE_MAX, l->forgotten_memory, r, &ignored) == FABRIC_OK;
    link_request_free_if_over(l, r);
}

void net_link_group_drop(struct net_link *l, uint32_t number)
{
    struct err ignored = {0};

    pthread_mutex_lock(&l->lock);
    link_early_drop(l, number);
    link_group_remove(l, number);
    if (l->forgotten == NULL && !l->stopped) {
        l->forgotten = mem_alloc(LINK_MESSAGE_MAX);
        if (l->forgotten != NULL &&
            fabric_register(l->f, l->forgotten, LINK_MESSAGE_MAX, &l->forgotten_memory, &ignored) !=
                NRT_SUCCESS) {
            mem_free(l->forgotten);
            l->forgotten = NULL;
        }
    }
    if (l->forgotten != NULL && !l->stopped)
        forget(l, number * NET_LINK_GROUP_CHANNELS);
    pthread_mutex_unlock(&l->lock);
}

void link_own_over(struct net_link *l, const struct net_request *r,
                   const struct fabric_completion *c)
{
    if (r->send) {
        l->peers[r->peer].gone = l->peers[r->peer].gone || c->error != 0;
    } else if (r->forgets) {
        if (c->error == 0 || c->truncated)
            forget(l, r->channel);
    } else {
        link_own_heard(l, c);
        if (c->error == 0)
            link_own_receive(l);
    }
}

/* --- farewells ----------------------------------------------------------------------------------
 */

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

/* Says farewell to those that have not heard it; whether somebody is still waited for. */
static bool farewells_say(struct net_link *l, bool *said, uint64_t start)
{
    bool waits = false;

    for (uint32_t i = 0; i < l->world; i++) {
        struct link_peer *p = &l->peers[i];

        if (!p->talked || p->lost || p->gone)
            continue;
        if (p->leaving) { /* wants nothing but its answer, if it is still there */
            waits = waits || (p->owed && run_now_ns() < start + ANSWER_NS);
            continue;
        }
        said[i] = said[i] || own_say(l, i, OWN_FAREWELL);
        waits = waits || !said[i] || !p->answered;
    }
    return waits;
}

/* Those that have not answered hear it once more, which fails if they are dead; those for which
 * there has been no connection meanwhile may not be there at all. */
static void farewells_repeat(struct net_link *l, bool *said)
{
    for (uint32_t i = 0; i < l->world; i++) {
        struct link_peer *p = &l->peers[i];

        if (p->talked && !p->lost && !p->gone && !p->leaving && !said[i])
            p->gone = fabric_refused(l->f, p->at);
        said[i] = false;
    }
}

/* What this rank has sent may still be on its way, or wait at a peer for its receive: closing the
 * endpoint now would lose it. */
void link_farewell(struct net_link *l)
{
    uint64_t start = run_now_ns(), end = start + l->farewell_ns, again = start + AGAIN_NS;
    struct timespec pause = {.tv_nsec = PAUSE_NS};
    bool *said = mem_calloc(l->world, sizeof(*said)), waits = said != NULL;

    pthread_mutex_lock(&l->lock);
    l->leaves = true;
    last_words_expect(l);
    while (waits && !l->hurry && !l->stopped && !l->lost) {
        uint64_t now = run_now_ns();

        if (now >= end) {
            LOGW(l->log, LOG_NRT, "net_link",
                 "rank %u closes its endpoint before every peer has answered its farewell: what it "
                 "sent last may be lost",
                 l->rank);
            break;
        }
        if (now >= again) {
            farewells_repeat(l, said);
            again = now + AGAIN_NS;
        }
        waits = farewells_say(l, said, start);
        if (link_progress_locked(l, FABRIC_BATCH) == 0 && waits) {
            pthread_mutex_unlock(&l->lock);
            nanosleep(&pause, NULL);
            pthread_mutex_lock(&l->lock);
        }
    }
    pthread_mutex_unlock(&l->lock);
    mem_free(said);
}
