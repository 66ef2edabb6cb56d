/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the net room: pairs from the inside.
 *
 * Two locks. lock: everything but the inbox; held by progress, listen and leave. inbox_lock: what
 * other threads have started and progress has not seen yet; held for a few instructions, so that
 * starting a transfer never waits for a copy. Whether a pair or a transfer is over is one atomic
 * word each, stored with release after everything that its reader then looks at. */
#ifndef NET_PAIR_INT_H
#define NET_PAIR_INT_H

#include <stdatomic.h>

#include "net/net_int.h"
#include "net/pair.h"

#define PAIR_PIECE (1u << 20) /* bytes moved by one pair before the others have their turn */

/* --- connections -------------------------------------------------------------------------------
 */

enum line_phase {
    LINE_HALF,     /* came in, has not proved itself */
    LINE_CALL,     /* has, and waits for an accept */
    LINE_DIALLING, /* ours, the kernel connects */
    LINE_GREETED,  /* ours, waits for the challenge */
    LINE_CALLING,  /* ours, has sent its call */
    LINE_QUEUED,   /* ours, has been welcomed, waits for an accept there */
    LINE_PAIRED
};

struct line {
    struct source src; /* first: the epoll set carries its address */
    struct line *next; /* in the list of its phase; oldest first */
    enum line_phase phase;
    struct conn c;
    struct addr peer, here;
    char peer_text[ADDR_TEXT_MAX];
    uint8_t nonce[MSG_NONCE], their_nonce[MSG_NONCE];
    uint64_t deadline;     /* to prove itself */
    struct pair_core *to;  /* HALF: that it came to; CALL: that it calls */
    struct net_pair *pair; /* NULL: came in and is not paired */
    uint32_t from, port;   /* CALL: the caller's core and bootstrap port */
    uint32_t pid;          /* the other end, from its call or answer */
    uint64_t serial;
    char host[NET_HOST_MAX];
    bool keyed, write_watched, bye, dead;
};

/* --- pairs and transfers -----------------------------------------------------------------------
 */

enum pair_state { PAIR_MEETING, PAIR_CONNECTED, PAIR_FAILED };

struct net_pair {
    struct net_pairs *set;
    struct net_pair *next;    /* of the core, or of the inbox */
    _Atomic int state;        /* enum pair_state */
    _Atomic uint32_t pending; /* transfers not freed */
    struct err failure;       /* fixed when state is PAIR_FAILED */
    bool send, more;          /* more: pair_move has something to do */
    uint32_t core, peer_core;
    struct addr peer;              /* its host, with its bootstrap port */
    bool peer_here;                /* that is an address of this host */
    char name[ADDR_TEXT_MAX + 96]; /* "logical core 3 of 10.0.0.2", for messages */
    struct line *line;
    uint64_t limit_at; /* MEETING: when it has taken too long; UINT64_MAX: never */
    uint64_t retry_at; /* MEETING, sender: next attempt */
    unsigned backoff_ms;
    int last_error; /* of the last attempt; 0: none */
    /* CONNECTED */
    uint64_t moved_at;                   /* last time that anything moved */
    uint64_t started;                    /* transfers so far: index of the next */
    struct net_transfer *first, **last;  /* not over, in order */
    struct net_transfer *fresh;          /* first that the peer has not been told of; NULL: none */
    struct net_transfer *busy;           /* whose bytes go over the connection, or are read, now */
    uint64_t told;                       /* receiver: WANTs sent; sender: HAVEs sent */
    uint64_t ended;                      /* index of `first` */
    uint64_t wants;                      /* sender: WANTs that have come; receiver: HAVEs */
    uint64_t want[NET_PAIR_PENDING_MAX]; /* sender: their sizes, by index */
    struct pair_share *share;            /* NULL: ends do not talk through memory */
    bool share_heard;                    /* the other end has said where its page is */
    struct pair_fabric *fabric;          /* NULL: bytes go over the connection */
    bool fabric_heard;                   /* the other end's offer has come */
    unsigned kept_due; /* sender: KEPTs to be sent, the last of them index kept_next - 1 */
    uint64_t kept_next;
};

enum transfer_state { TRANSFER_RUNS, TRANSFER_DONE, TRANSFER_FAILED };

struct net_transfer {
    struct net_pair *pair;
    struct net_transfer *next; /* of the pair, or of the inbox */
    _Atomic int state;         /* enum transfer_state */
    struct err failure;
    struct net_pair_memory m;
    uint64_t index, size; /* size: of the message */
    uint64_t at;          /* bytes moved */
    bool reads;           /* receiver: from the peer's HBM, at from */
    bool all;             /* every byte has moved; waits for the other end's word */
    bool fabric;          /* it goes over libfabric */
    bool acked;           /* sender, fabric: the receiver has it before the provider has said so */
    uint64_t from;
};

struct pair_core {
    struct source src;
    struct pair_core *next;
    struct net_pairs *set;
    uint32_t core;
    int listen_fd;
    struct net_pair *pairs; /* in the order of opening */
    struct line *calls;     /* oldest first */
};

struct net_pairs {
    pthread_mutex_t lock, inbox_lock;
    struct net_setup s; /* key, clock, log, epoll set: what the bootstrap's helpers take */
    struct net_pairs_config cfg;
    int wake_fd;
    struct source wake_src;
    struct pair_core *cores;
    struct line *half, *dead;
    unsigned half_count;
    uint64_t strangers;
    bool warned_unkeyed, warned_fabric;
    struct pair_share *kept;  /* of pairs that are no more */
    struct net_pair *watched; /* with a page and transfers under way */
    _Atomic uint32_t looks;   /* of threads that test transfers, which were not over */
    uint32_t looks_seen;      /* by the thread */
    uint64_t nap_ns;          /* its last one */
    bool dozing;              /* nobody looks: the thread waits for descriptors, others must tell */
    bool far_looked;          /* since the thread did: somebody, at a pair without a page */
    bool far_more;            /* some pair without a page could go on at once */
    bool naps_deaf;           /* the thread's nap leaves the descriptors to those who look */
    unsigned fruitless;       /* looks while it does */
    unsigned vain;            /* looks in a row that found nothing */
    bool fabric_busy;         /* some pair has bytes on their way over libfabric */
    uint64_t fabric_moved;    /* when any of them did last */
    char host[NET_HOST_MAX];
    struct net_pair *new_pairs, **new_pairs_last;             /* inbox_lock */
    struct net_transfer *new_transfers, **new_transfers_last; /* inbox_lock */
    bool threaded;
    pthread_t thread;
    _Atomic bool stop;
    _Atomic unsigned others; /* threads that wait for lock, which progress then gives away */
};

static inline uint64_t pairs_now(const struct net_pairs *s)
{
    return setup_now(&s->s);
}

struct pair_core *pairs_core(const struct net_pairs *s, uint32_t core);

/* --- pair_line.c: connections that have not found their pair, and proofs ------------------------
 */

/* A new line over fd, which is taken over; NULL: memory or descriptors. */
struct line *line_new(struct net_pairs *s, int fd, enum line_phase phase);
bool line_addresses(struct line *k); /* fills them in; false: it is not connected */
void line_append(struct line **list, struct line *k);
void line_unlink(struct line **list, struct line *k);
void line_event(struct net_pairs *s, struct line *k);
/* Sends; a message that cannot be kept ends the connection. Takes over one reference of f. */
void line_send(struct net_pairs *s, struct line *k, struct frame *f);
void line_watch(struct net_pairs *s, struct line *k);
/* Closes it; it is freed at the end of progress. */
void line_kill(struct net_pairs *s, struct line *k);
void lines_sweep(struct net_pairs *s);

void line_home_keep(struct line *k, const struct msg_home *h);
struct msg_home pairs_home(const struct net_pairs *s);
/* Whether who does not have our key may come all the same. */
bool line_unkeyed_ok(const struct net_pairs *s, const struct line *k);
void line_unkeyed_warn(struct net_pairs *s, const struct line *k);
/* The proof of a call, over its signed part and the receiver's nonce, and that of the welcome;
 * false: libcrypto cannot. */
bool pairs_call_proof(const struct net_pairs *s, const uint8_t *receiver, const uint8_t *body,
                      size_t size, uint8_t mac[MSG_MAC]);
bool pairs_welcome_proof(const struct net_pairs *s, const uint8_t *receiver, const uint8_t *sender,
                         const uint8_t *body, size_t size, uint8_t mac[MSG_MAC]);

/* --- pair_listen.c: the receiver's side ----------------------------------------------------------
 */

NRT_STATUS core_listen(struct pair_core *c, struct err *err);
void core_accept(struct pair_core *c);
void line_called(struct net_pairs *s, struct line *k, const struct msg_call *m);
/* One that is no sender: counted, logged now and then, closed. */
void line_stranger(struct net_pairs *s, struct line *k, const char *why);
/* Joins accepts and callers that fit each other. */
void core_match(struct pair_core *c);
/* Ends what came in for a core and is not paired. */
void core_hang_up(struct pair_core *c);
void half_tick(struct net_pairs *s, uint64_t now); /* who came in and took too long */

/* --- pair_call.c: the sender's side, and the time limits of both ---------------------------------
 */

/* NRT_FAILURE: ip is no address. */
NRT_STATUS pair_address(struct net_pair *p, const char *ip, uint16_t port, struct err *err);
/* Pairs that have not met: attempts that are due, limits. */
void core_tick(struct pair_core *c, uint64_t now);
/* When core_tick has something to do; UINT64_MAX: never. */
uint64_t core_next_timer(const struct pair_core *c);
bool call_dialled(struct line *k);              /* whether the kernel has connected */
void call_later(struct net_pair *p, int error); /* hangs up; the next attempt comes */
void call_challenged(struct net_pairs *s, struct line *k, const struct msg_challenge *c);
void call_welcomed(struct net_pairs *s, struct line *k, const struct msg_welcome *w);
void call_rejected(struct line *k, const struct msg_reject *m);

/* --- pair_share.c: transfers inside an instance --------------------------------------------------
 */

/* The pair has met, and both ends are on one instance: gets a page, and a sender its staging
 * memory, and tells the other end. False: there is no room, and both talk over the connection. */
bool pair_share_offer(struct net_pair *p);
/* The other end's page, or that it has none. False: it lies nowhere. */
bool pair_share_offered(struct net_pair *p, const struct msg_share *m);
/* Tells of a transfer that has just been added. */
void pair_share_post(struct net_pair *p, const struct net_transfer *t);
/* One piece of work; false: there was none, or the pair has failed. */
bool pair_share_move(struct net_pair *p);
/* Of a sender: what the other end has got by now is over. */
void pair_share_settle(struct net_pair *p);
/* pair_share_move for all pairs with transfers under way. */
bool pairs_share_look(struct net_pairs *s);
/* Nobody looks from now on: the other end must tell. True: look once more, there is something. */
bool pair_share_doze(struct net_pair *p);
void pair_share_rouse(struct net_pair *p);                  /* somebody does again */
struct net_pair *pair_share_next(const struct net_pair *p); /* of the set's watched ones */
void pair_share_ended(struct net_pair *p, const struct msg_transfer *m);
/* What the page says and the other end may not have seen, over the connection. */
void pair_share_farewell(struct net_pair *p);
void pair_share_end(struct net_pair *p);
/* Gives back memory of pairs that have ended, if that could not be done then. last: the set ends,
 * and what still cannot be given back goes with the process's slot. */
void pairs_share_free(struct net_pairs *s, bool last);

/* --- pair_fabric.c: bytes over libfabric ---------------------------------------------------------
 */

/* The pair has met: opens an endpoint for it, and tells the other end. What cannot be had is logged
 * once, and bytes go over the connection. */
void pair_fabric_offer(struct net_pair *p);
/* The other end's offer. False: it does not belong there. */
bool pair_fabric_offered(struct net_pair *p, const struct msg_fabric *m);
/* Whether both ends have it. */
bool pair_fabric_agreed(const struct net_pair *p);
/* Whether the provider must be asked again and again, since no descriptor tells of it. */
bool pair_fabric_busy(const struct net_pair *p);
/* Moves bytes of p->busy. *ret_all: all of them have moved. False: nothing moved; the pair may have
 * failed. */
bool pair_fabric_move(struct net_pair *p, bool *ret_all);
/* Nothing of the pair's memory is touched by the provider any more; the endpoint is closed. */
void pair_fabric_end(struct net_pair *p);

/* --- pair_move.c: transfers ---------------------------------------------------------------------
 */

/* The first transfer of the pair is over. */
void pair_first_over(struct net_pair *p, NRT_STATUS status, const char *why);
void pair_protocol_fail(struct net_pair *p, const char *what);
/* It is over: everything under way fails with the status, the peer is told, the line goes. */
void pair_fail(struct net_pair *p, NRT_STATUS status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void pair_paired(struct net_pair *p, struct line *k);
/* Afterwards: how bytes will travel. It is connected, or will be when the other end has answered.
 */
void pair_offer(struct net_pair *p);
void pair_add(struct net_pair *p, struct net_transfer *t);
/* A line of a pair can be read or written. */
void pair_event(struct net_pair *p);
/* Moves what can move now without waiting, for a turn; p->more: it could go on at once. */
void pair_move(struct net_pair *p);
void pair_tick(struct net_pair *p, uint64_t now);
/* When pair_tick has something to do; UINT64_MAX: never. */
uint64_t pair_next_timer(const struct net_pair *p);

#endif
