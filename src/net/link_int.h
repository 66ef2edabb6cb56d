/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the net room: a link from the inside, for its files: requests, peers and progress
 * (link.c), the endpoint and the peers' addresses (endpoint.c), messages that come too early
 * (early.c), and how links part (farewell.c). */
#ifndef NET_LINK_INT_H
#define NET_LINK_INT_H

#include <pthread.h>

#include "net/fabric_int.h"
#include "net/link.h"

/* Tag: who sends, on which channel, and what it is part of. The latter is compared when a message
 * has come, not to find its receive: a difference is a mistake to report. */
#define TAG_STAMP UINT64_C(0xffff)
#define TAG_RANK  (TAG_STAMP << 48)

static inline uint64_t link_tag(uint32_t rank, uint32_t channel, uint16_t stamp)
{
    return (uint64_t)rank << 48 | (uint64_t)channel << 16 | stamp;
}

/* The last channel is the links' own (farewell.c). */
#define OWN_CHANNEL UINT32_MAX
#define OWN_COUNT   0x8000u /* messages are told of modulo this */

/* Longer than any message of a communicator: its entries have at most 512 KiB. */
#define LINK_MESSAGE_MAX (UINT64_C(1) << 19)

struct net_request {
    uint8_t provider[FABRIC_CONTEXT]; /* first: completions carry its address */
    struct net_request *next;         /* in the free list, or among those under way */
    struct net_request **at;          /* where the previous one points, while under way */
    uint32_t peer, size;              /* bytes posted, then moved */
    uint16_t stamp;
    bool send, in_provider, owned;
    bool own; /* the link's, without an owner: of OWN_CHANNEL, or what forgets or takes messages */
    bool forgets;
    bool again;             /* it was cancelled for the sake of a message that is here already */
    bool waits;             /* for room to be posted again, since that was another one's */
    struct link_take *take; /* what it takes messages for; NULL: it does not */
    uint32_t channel;       /* of an owner's; forgets: the first of its communicator's */
    uint8_t *data;          /* of an owner's receive */
    const struct fabric_memory *memory;
    bool done;
    struct err failure;
};

#define FAREWELL_NS UINT64_C(5000000000) /* where net_link_config says nothing else */

/* Why messages fail: this rank's endpoint has gone, or the peer's. */
#define LINK_STOP_TEXT  "the endpoint was closed, because a peer stopped in the middle of a message"
#define LINK_MOVED_TEXT "it has another endpoint since the communicator was opened"

struct link_peer {
    uint64_t at;      /* the provider's name for it */
    uint8_t *address; /* what it has told; NULL: nothing yet */
    size_t address_size;
    uint32_t oldest; /* number of the first communicator that uses its endpoint */
    bool known, lost;
    char *why;               /* it is lost; NULL: the link's reason */
    bool talked;             /* something was posted for it */
    bool leaving, answered;  /* it has said farewell; it has answered ours */
    bool owed;               /* an answer */
    bool gone;               /* a farewell could not be delivered */
    uint32_t sent, received; /* messages, not the links' own */
    uint32_t told;           /* with its farewell: what it has sent, modulo OWN_COUNT */
};

/* A message that came before its receive. */
struct early_message {
    struct early_message *next;
    uint64_t tag;
    size_t size;
    bool truncated; /* it was longer than LINK_MESSAGE_MAX */
    uint8_t data[];
};

/* Where a message of one peer is taken to. */
struct link_take {
    struct link_take *next;
    uint8_t *buf; /* LINK_MESSAGE_MAX */
    struct fabric_memory *memory;
    struct net_request *r; /* the receive; NULL: it is over */
    uint32_t peer;         /* NET_NO_RANK: one whose endpoint has gone meanwhile */
    bool cancelled;
    bool moved; /* a try's: its peer has another endpoint */
};

struct link_early {
    struct early_message *first, *last; /* oldest first */
    size_t bytes;                       /* that all take */
    struct link_take *takes; /* under way: the first may be a try, the others are in the middle of a
                                message */
    struct link_take *spare; /* at most one, with its buffer */
    bool trying;             /* the first is */
    uint32_t peer;           /* who was tried last */
    uint32_t empty;    /* tries since a message was taken, or since nothing had come for long */
    uint64_t quiet_ns; /* since when nothing has come; 0: it has since the last look */
    unsigned expected; /* who waits for a message from anybody (net_link_expect) */
};

/* A communicator that is held, or the one that comes next. */
struct link_group {
    struct link_group *next;
    uint32_t number;
    uint32_t lacks; /* a message of this rank; NET_NO_RANK: none */
};

struct net_link {
    pthread_mutex_t lock;
    struct fabric *f;
    struct log *log;
    uint32_t rank, world;
    struct addr local; /* of the interface that leads to the root */
    uint8_t address[NET_ADDRESS_MAX];
    size_t address_size;
    struct link_peer *peers; /* world */
    struct net_request *free, *busy;
    uint8_t nothing[8]; /* where messages of no bytes go to */
    uint8_t *forgotten; /* where messages go that nobody will read; NULL: none yet */
    struct fabric_memory *forgotten_memory;
    struct link_early early;
    struct net_job *job;
    bool lost;              /* all peers are, */
    char why[ERR_TEXT_MAX]; /* and that is why */
    bool stopped;           /* the endpoint is closed, until the next communicator */
    uint32_t endpoints;     /* how many it has had */
    uint32_t oldest;        /* number of the first communicator that uses the endpoint */
    bool hurry;             /* no farewell */
    uint64_t farewell_ns;   /* limit of one */
    bool leaves;            /* says farewell itself: it receives nothing more */
    bool owes;              /* some peer is owed an answer */
    bool waits;             /* some request may wait for room */
    uint32_t group_free;    /* lowest number of a communicator that was never held */
    struct link_group *groups;
    struct link_group coming; /* nobody can be greeted by a later one before this one is held */
    bool holes;               /* a communicator may lack a message */
    unsigned since_look;      /* progress calls since the job was looked at */
    struct net_link_counters counters;

    struct net_servers *servers, *own_servers; /* own: of this link alone, or NULL */
    struct net_server *server;                 /* whose thread serves it; NULL: nobody does */
    /* Of its last turn: polls and posts that there had been, and turns without a post since. */
    uint64_t served_polls, served_posts;
    unsigned idle_turns;
};

/* Does what a waiter does, where nobody has waited since the last turn; whether there may be work.
 * Without the lock, by the thread of its server. */
bool link_serve(struct net_link *l);

/* servers.c. Join: from now on a thread of the set serves the link: one that has room, or a new one
 * on these CPUs. NRT_RESOURCE. Leave: no thread does any more; without the link's lock. Wake:
 * something was posted; with the link's lock, NULL is fine. */
NRT_STATUS server_join(struct net_servers *s, struct net_link *l, const struct run_cpus *cpus,
                       struct net_server **ret, struct err *err);
void server_leave(struct net_servers *s, struct net_server *v, struct net_link *l);
void server_wake(struct net_server *v);

/* All with the link's lock held, except where it says so. */

/* NULL: out of memory. It belongs to the caller, and is among those under way. */
struct net_request *link_request_new(struct net_link *l);
/* Neither the provider nor the owner has it any more: it is gone. */
void link_request_free_if_over(struct net_link *l, struct net_request *r);
/* Its owner finds it failed at the next test. Without effect on one that is done. */
void link_request_fail(struct net_link *l, struct net_request *r, NRT_STATUS st, const char *why);
unsigned link_progress_locked(struct net_link *l, unsigned budget);
/* A request of the link's own, which nobody owns; NULL: out of memory. */
struct net_request *link_own_new(struct net_link *l, uint32_t peer);

/* loss.c. Everything under way with the rank, or with every rank (NET_NO_RANK), fails, and all that
 * will be posted; the first reason of a peer counts. */
void link_lose_locked(struct net_link *l, uint32_t rank, const char *why);
/* This rank has had no memory for the message: what its communicator receives fails from here on
 * with NRT_RESOURCE, which blames nobody else. */
void link_message_lose(struct net_link *l, uint64_t tag);
/* Whether a loss is in the way of a message; err: which. */
NRT_STATUS link_loss_find(const struct net_link *l, bool send, uint32_t channel, uint32_t rank,
                          struct err *err);
/* A communicator is held (NRT_RESOURCE), or is not any more. */
NRT_STATUS link_group_add(struct net_link *l, uint32_t number, struct err *err);
void link_group_remove(struct net_link *l, uint32_t number);
/* A rank of which a message is missing there; NET_NO_RANK: none is. */
uint32_t link_group_lacks(const struct net_link *l, uint32_t number);
/* When the link is closed: reasons and communicators. */
void link_losses_free(struct net_link *l);

/* The first endpoint, of a link that has none. Without the lock, as the next. NRT_INVALID: root;
 * NRT_FAILURE; NRT_RESOURCE. */
NRT_STATUS link_endpoint_open(struct net_link *l, const char *root, const char *provider,
                              struct err *err);
/* And the end of the last one, with all that the link has for its own messages. */
void link_endpoint_close(struct net_link *l);

/* A turn in which nothing has come: takes the message at the head of a connection, if something is
 * under way and nothing has come for long. */
void link_early_turn(struct net_link *l);
/* Before a receive from the peer, or from anybody (NET_NO_RANK), is posted: ends a try that would
 * get its message, unless it is in the middle of one. */
void link_early_end(struct net_link *l, uint32_t peer);
/* Whether a message of this peer is half taken. */
bool link_early_half(const struct net_link *l, uint32_t peer);
/* A receive that takes is over; whether it took a message. */
bool link_early_over(struct net_link *l, struct net_request *r, const struct fabric_completion *c);
/* Sets a message aside that has come before its receive. */
void link_early_keep(struct net_link *l, const uint8_t *data, const struct fabric_completion *c);
/* The peer has another endpoint: what is half taken will not come. A try stays the peer's until it
 * is known to be half taken. */
void link_early_moved(struct net_link *l, uint32_t peer);
/* The endpoint has been stopped: nothing is under way. */
void link_early_stop(struct net_link *l);
/* The memory of all takes is the endpoint's no more. */
void link_early_unregister(struct net_link *l);
/* Takes the oldest that a receive with this tag would get out of the queue, or NULL; the caller
 * frees it. */
struct early_message *link_early_find(struct net_link *l, uint64_t tag, uint64_t ignore);
/* Forgets those of a communicator that is closed. */
void link_early_drop(struct net_link *l, uint32_t number);
/* After the endpoint has been closed: what is left, and the buffers. */
void link_early_free(struct net_link *l);

/* One more receive for what peers' links say to this one. Without any, farewells stay unanswered:
 * nothing else is hurt. */
void link_own_receive(struct net_link *l);
/* A message on OWN_CHANNEL. */
void link_own_heard(struct net_link *l, const struct fabric_completion *c);
/* One of the link's own requests is over. */
void link_own_over(struct net_link *l, const struct net_request *r,
                   const struct fabric_completion *c);
/* Answers to farewells that are due. */
void link_answers_give(struct net_link *l);
/* Before the endpoint is closed: until every peer has what was sent to it, or is gone; for
 * farewell_ns at most. Without the lock. */
void link_farewell(struct net_link *l);

#endif
