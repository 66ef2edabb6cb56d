/* SPDX-License-Identifier: Apache-2.0 */
/* The pages of a pair whose ends are on one instance: what one end writes and the other reads, in
 * the instance's memory. docs/sendrecv.md has the layout in words.
 *
 * Each end has one page in the HBM of its core, and writes no other. So a death on either side
 * cannot hurt a third process that gets the memory next. What is read from a page counts only if
 * afterwards the page, and the memory that it names, is still the extent that it was: the extents'
 * table says so in two loads. Everything in a peer's page is loaded once, checked, then used.
 *
 * No count is needed to see what is new: entry i of a ring has number i + 1 once it is written, and
 * it is written again only by a transfer that cannot start before the other end is done with i. */
#ifndef NET_PAIR_SHARE_H
#define NET_PAIR_SHARE_H

#include <stdatomic.h>
#include <stdint.h>

#include "device/device.h"
#include "net/pair_int.h"

#define SHARE_LINE  64
#define SHARE_STAGE (UINT32_C(256) << 10) /* bytes of a sender's staging memory */
#define SHARE_TAKEN UINT64_MAX            /* share_got.room: the receiver has the message */

enum share_how {
    SHARE_DEVICE, /* read it there */
    SHARE_STAGED, /* it comes piece by piece through the sender's staging memory */
    SHARE_HOW_END
};

/* A message, by its sender. */
struct share_have {
    _Alignas(SHARE_LINE) _Atomic uint64_t number; /* index + 1, last */
    _Atomic uint64_t size;
    _Atomic uint64_t addr, generation; /* where, and the extent in which that lies */
    _Atomic uint32_t extent, how;      /* enum share_how */
    _Atomic uint64_t put;              /* SHARE_STAGED: bytes put so far; grows */
};

/* How a message ended, by its receiver. */
struct share_got {
    _Atomic uint64_t number; /* index + 1, last */
    _Atomic uint64_t room;   /* SHARE_TAKEN, or the bytes that would have fitted */
};

struct share_page {
    _Alignas(SHARE_LINE) _Atomic uint64_t wants; /* receiver: receives that have started */
    _Atomic uint64_t taken;                      /* receiver: bytes read, over all messages */
    /* Read after each word to the other end, and rarely written. */
    _Alignas(SHARE_LINE) _Atomic uint32_t asleep; /* nobody looks: say MSG_LOOK */
    _Atomic uint32_t closed;                      /* nothing that is read from now on counts */
    union {
        struct share_have have[NET_PAIR_PENDING_MAX]; /* sender; by index, modulo their number */
        struct share_got got[NET_PAIR_PENDING_MAX];   /* receiver */
    } ring;
};

_Static_assert(sizeof(struct share_page) == 2 * SHARE_LINE + NET_PAIR_PENDING_MAX * SHARE_LINE,
               "as docs/sendrecv.md says");

/* One end's side of it. Synchronization: the set's lock. */
struct pair_share {
    bool agreed;
    struct device_extent mine; /* the page */
    struct share_page *own;
    const struct share_page *other;
    uint64_t generation; /* of the other's page, and its extent */
    uint32_t extent;
    struct net_pair *next; /* that is watched, of the set */
    bool watched;
    bool gone;    /* the other's memory has another owner: the connection will say why */
    bool talking; /* the farewell has been said */
    struct pair_share *next_kept; /* of a pair that is no more */
    /* Sender */
    struct device_extent stage;
    uint8_t *stage_at;
    uint64_t base;         /* its `taken` when the message that is staged began */
    uint64_t wants, taken; /* as seen last */
    /* Receiver: of the message under way */
    uint64_t source_generation;
    uint32_t source_extent;
};

static inline bool share_connected(const struct net_pair *p)
{
    return atomic_load_explicit(&p->state, memory_order_relaxed) == PAIR_CONNECTED;
}

/* Tests: after every store that the other end can see. */
static inline void share_point(const struct net_pair *p)
{
    const struct net_pairs_config *cfg = &p->set->cfg;

    if (cfg->store_point != NULL)
        cfg->store_point(cfg->store_point_arg);
}

/* Whether the other's page is still the one that it told of. */
static inline bool share_page_is(const struct net_pair *p)
{
    const struct pair_share *h = p->share;

    return device_extent_is(p->set->cfg.in, h->extent, h->generation);
}

/* After something was written: wakes the other end if it sleeps. The pair may fail. */
void share_tell(struct net_pair *p);

#endif
