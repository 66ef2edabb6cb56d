/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a pair over libfabric, as those of collectives: an endpoint for each pair, which
 * needs no thread. The sender is rank 0 of a world of two, the receiver rank 1. The connection
 * stays what it was: who wants and has what, and whether the other end lives.
 *
 * A message is cut into pieces of the same size on both sides, of which a few are under way; order
 * is the provider's. Memory belongs to the provider while a piece is under way, so what has failed
 * is dropped and waited for before it is released. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "device/device.h"
#include "net/link.h"
#include "net/pair_int.h"

#define PIECE     (UINT64_C(1) << 19)
#define WINDOW    32u /* pieces under way */
#define CHANNEL   1u
#define BUDGET    16u
#define SETTLE_NS UINT64_C(200000000) /* then the endpoint is given up */

_Static_assert(MSG_ADDRESS_MAX == NET_ADDRESS_MAX, "an address fits its message");

struct pair_fabric {
    struct net_link *link;
    struct net_wire wire;
    bool agreed;
    struct net_memory *memory;           /* of the message under way; NULL also: needs none */
    bool registered;                     /* memory has been asked for */
    uint64_t posted, over;               /* pieces of it */
    struct net_request *request[WINDOW]; /* by piece, modulo WINDOW */
};

/* --- agreeing ----------------------------------------------------------------------------------
 */

static void fall_back(struct net_pair *p, const char *why)
{
    struct net_pairs *s = p->set;

    if (!s->warned_fabric)
        LOGW(s->s.cfg.log, LOG_NRT, "nrt_async_sendrecv",
             "messages with %s go over TCP and not over libfabric: %s", p->name, why);
    s->warned_fabric = true;
}

static void fabric_open_for(struct net_pair *p)
{
    struct addr there = p->line->peer;
    char text[ADDR_TEXT_MAX];
    struct net_link_config cfg = {
        .rank = p->send ? 0 : 1, .world = 2, .root = text, .by_hand = true};
    struct pair_fabric *f = mem_zalloc(sizeof(*f));
    struct err why = {0};

    addr_unwrap(&there); /* a listener for both families says so of IPv4 */
    addr_text(&there, text);
    if (f == NULL || net_link_open(&cfg, &f->link, &why) != NRT_SUCCESS) {
        fall_back(p, f == NULL ? "out of memory" : why.text);
        mem_free(f);
        return;
    }
    f->wire = net_link_wire(f->link);
    p->fabric = f;
}

void pair_fabric_offer(struct net_pair *p)
{
    uint8_t address[NET_ADDRESS_MAX];
    struct msg m = {.type = MSG_FABRIC, .u.fabric.provider = msg_text_of("")};

    if (p->set->cfg.fabric)
        fabric_open_for(p);
    if (p->fabric != NULL)
        m.u.fabric = (struct msg_fabric){
            .provider = msg_text_of(net_link_provider(p->fabric->link)),
            .address = {.p = address, .n = (uint32_t)net_link_address(p->fabric->link, address)}};
    line_send(p->set, p->line, msg_build(&m, NULL, NULL));
}

bool pair_fabric_offered(struct net_pair *p, const struct msg_fabric *m)
{
    char provider[MSG_PROVIDER_MAX], text[128];
    struct err why = {0};

    /* before the first HAVE: told are a sender's, wants a receiver's */
    if (p->line->serial == device_instance_serial(p->set->cfg.in) || p->fabric_heard ||
        (p->send ? p->told : p->wants) > 0)
        return false;
    p->fabric_heard = true;
    if (p->fabric == NULL)
        return true;
    msg_text_copy(provider, sizeof(provider), &m->provider);
    if (strcmp(provider, net_link_provider(p->fabric->link)) != 0) {
        snprintf(text, sizeof(text), "it has provider %s, and this end %s",
                 provider[0] != '\0' ? provider : "none", net_link_provider(p->fabric->link));
        fall_back(p, text);
        pair_fabric_end(p);
    } else if (net_link_peer(p->fabric->link, p->send ? 1 : 0, m->address.p, m->address.n, &why) !=
               NRT_SUCCESS) {
        fall_back(p, why.text);
        pair_fabric_end(p);
    } else {
        p->fabric->agreed = true;
        LOGI(p->set->s.cfg.log, LOG_NRT, "nrt_async_sendrecv",
             "messages with %s go over libfabric provider %s", p->name, provider);
    }
    return true;
}

bool pair_fabric_agreed(const struct net_pair *p)
{
    return p->fabric != NULL && p->fabric->agreed;
}

bool pair_fabric_busy(const struct net_pair *p)
{
    return p->busy != NULL && p->busy->fabric;
}

/* --- moving ------------------------------------------------------------------------------------
 */

static uint64_t pieces(const struct net_transfer *t)
{
    return t->size / PIECE + (t->size % PIECE != 0);
}

static uint32_t piece_size(const struct net_transfer *t, uint64_t piece)
{
    uint64_t left = t->size - piece * PIECE;

    return (uint32_t)(left < PIECE ? left : PIECE);
}

/* Posts what there is room for; false: the pair has failed. */
static bool post_some(struct net_pair *p)
{
    struct pair_fabric *f = p->fabric;
    struct net_transfer *t = p->busy;
    struct err why = {0};

    if (!f->registered &&
        net_memory_register(f->link, t->m.p, t->size, &f->memory, &why) != NRT_SUCCESS) {
        pair_fail(p, NRT_FAILURE, "%s", why.text);
        return false;
    }
    f->registered = true;
    while (f->posted < pieces(t) && f->posted - f->over < WINDOW) {
        struct net_entry e = {.data = (uint8_t *)t->m.p + f->posted * PIECE,
                              .memory = f->memory,
                              .size = piece_size(t, f->posted),
                              .peer = p->send ? 1 : 0};
        enum net_posted how = f->wire.post(f->wire.arg, p->send, CHANNEL, &e, e.size,
                                           &f->request[f->posted % WINDOW], &why);

        if (how == NET_FAILED) {
            pair_fail(p, NRT_FAILURE, "a message with %s: %s", p->name, why.text);
            return false;
        }
        if (how == NET_AGAIN)
            break;
        f->posted++;
    }
    return true;
}

/* Whether the oldest piece is over; false also: the pair has failed. */
static bool piece_over(struct net_pair *p)
{
    struct pair_fabric *f = p->fabric;
    uint32_t expected = piece_size(p->busy, f->over), size = 0;
    struct err why = {0};
    bool done = false;
    NRT_STATUS st;

    if (f->over == f->posted)
        return false;
    st = f->wire.test(f->wire.arg, f->request[f->over % WINDOW], &done, &size, &why);
    if (st == NRT_SUCCESS && !done)
        return false;
    if (st == NRT_SUCCESS && size != expected)
        st = err_set(&why, NRT_FAILURE, "a piece of %u bytes where %u belong", size, expected);
    f->over++; /* it is no request any more */
    if (st != NRT_SUCCESS) {
        pair_fail(p, NRT_FAILURE, "a message with %s: %s", p->name, why.text);
        return false;
    }
    p->busy->at += expected;
    p->moved_at = pairs_now(p->set);
    return true;
}

bool pair_fabric_move(struct net_pair *p, bool *ret_all)
{
    struct pair_fabric *f = p->fabric;
    uint64_t before = f->posted + f->over;

    *ret_all = false;
    (void)net_link_progress(f->link, BUDGET);
    if (!post_some(p))
        return false;
    while (piece_over(p))
        continue;
    if (p->fabric == NULL) /* failed */
        return false;
    if (f->over == pieces(p->busy)) {
        net_memory_release(f->link, f->memory);
        f->memory = NULL;
        f->registered = false;
        f->posted = f->over = 0;
        *ret_all = true;
        return true;
    }
    return f->posted + f->over != before;
}

void pair_fabric_end(struct net_pair *p)
{
    struct pair_fabric *f = p->fabric;

    if (f == NULL)
        return;
    for (; f->over < f->posted; f->over++)
        f->wire.drop(f->wire.arg, f->request[f->over % WINDOW]);
    net_link_settle(f->link, SETTLE_NS);
    net_memory_release(f->link, f->memory);
    net_link_close(f->link);
    mem_free(f);
    p->fabric = NULL;
}
