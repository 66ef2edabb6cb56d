/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the net room: messages of the bootstrap, keys, addresses, connections, the root. */
#ifndef NET_NET_INT_H
#define NET_NET_INT_H

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "net/job.h"

#define NSEC_PER_MS 1000000ull

/* --- messages (msg.c, pure) --------------------------------------------------------------------
 *
 * A frame is a head of 12 bytes (magic, type, protocol, bytes of the body) and a body. Numbers are
 * little-endian; a text is a 16-bit length and printable ASCII; bytes are a 32-bit length and
 * bytes. */

#define MSG_MAGIC    0x42524e4fu /* "ONRB" */
#define MSG_PROTOCOL 2u
#define MSG_HEAD     12u
#define MSG_NONCE    32u
#define MSG_MAC      32u
#define MSG_KEY_ID   8u
#define MSG_TEXT_MAX 512u
/* Nobody who has not joined may send more than a join. */
#define MSG_JOIN_MAX    (NET_BLOB_MAX + 4 * (NET_TEXT_MAX + 2) + 256u)
#define MSG_MAX         (NET_TOTAL_MAX + 64u + 4u * NET_WORLD_MAX)
#define MSG_MISSING_MAX 16u /* ranks named in one "waiting" */

enum msg_type {
    MSG_CHALLENGE = 1, /* root: prove that you have the key */
    MSG_JOIN,          /* member: who I am, and the proof */
    MSG_REJECT,        /* root: you cannot join, and why */
    MSG_WELCOME,       /* root: you are in, and my proof */
    MSG_ROSTER,        /* root: everybody is in: who and with which blob */
    MSG_WAITING,       /* root: these are missing */
    MSG_OP,            /* member: I enter an operation, with my part */
    MSG_RESULT,        /* root: everybody's parts */
    MSG_FAIL,          /* root: an operation, or the whole job, has failed */
    MSG_BYE,           /* either: I leave in order */
    /* Pairs (pair.h); they use CHALLENGE, REJECT, WELCOME, FAIL and BYE, too. */
    MSG_CALL,   /* sender: who calls whom, and the proof */
    MSG_PAIRED, /* receiver: an accept has been found for you */
    MSG_WANT,   /* receiver: memory for your next message */
    MSG_HAVE,   /* sender: the message, or where it is */
    MSG_GOT,    /* receiver: I have it */
    MSG_KEPT,   /* sender: it was mine while you read it */
    MSG_FABRIC, /* either, first: my address on the network of the bytes */
    MSG_SHARE,  /* either, first: where my page lies in the instance's memory */
    MSG_LOOK,   /* either: look at my page, you said that you sleep */
    MSG_ENDED,  /* receiver, before it goes: how a message ended; its page says so no longer */
    MSG_TYPE_END
};

enum msg_key_source { MSG_KEY_FILE, MSG_KEY_GIVEN, MSG_KEY_SOURCE_END };

struct msg_text {
    const char *s; /* not terminated */
    uint16_t n;
};

struct msg_bytes {
    const uint8_t *p;
    uint32_t n;
};

struct msg_challenge {
    uint8_t source; /* enum msg_key_source */
    const uint8_t *key_id, *nonce;
    struct msg_text version;
};

struct msg_join {
    uint32_t rank, world, pid;
    uint8_t unkeyed; /* 1: this member cannot prove anything, mac is zeros */
    const uint8_t *nonce;
    struct msg_text version, host, node, instance;
    struct msg_bytes blob;
    const uint8_t *mac; /* last in the body; covers what precedes it in the frame's body */
    struct msg_bytes signed_part;
};

struct msg_reject {
    uint32_t status;
    uint8_t again; /* 1: not your fault, connect again */
    struct msg_text text;
};

struct msg_welcome {
    uint8_t keyed;
    const uint8_t *mac;
};

struct msg_member {
    uint32_t pid;
    struct msg_text host, node, instance;
    struct msg_bytes blob;
};

struct msg_roster {
    uint32_t world;
    uint64_t cluster_id, epoch;
    uint8_t keyed;
    struct msg_bytes members; /* world of them, checked: msg_roster_next */
};

/* group MSG_GROUP_JOIN: the joining itself. */
#define MSG_GROUP_JOIN UINT32_MAX
struct msg_waiting {
    uint32_t group, seq;
    uint32_t missing; /* how many in all */
    uint32_t n;       /* how many are listed */
    struct msg_bytes ranks;
};

#define MSG_CALL_MAX 48u /* of the name of a call, with NUL */
struct msg_op {
    uint32_t group, seq;
    uint8_t kind;
    uint8_t leaves;         /* 1: the member does not wait for the others */
    uint32_t limit_ms;      /* 0: none */
    struct msg_text call;   /* may be empty */
    uint32_t n;             /* members; 0: the world */
    struct msg_bytes ranks; /* n numbers of 32 bits */
    struct msg_bytes part;
};

struct msg_result {
    uint32_t group, seq, n;
    struct msg_bytes sizes; /* n numbers of 32 bits, whose sum is parts.n */
    struct msg_bytes parts;
};

struct msg_fail {
    uint8_t whole_job;
    uint32_t group, seq; /* of the operation, when not the whole job */
    uint32_t status, culprit;
    struct msg_text text;
};

/* Who a process is, and whose memory it can read: that of the instance that it is attached to. */
struct msg_home {
    uint32_t pid;
    uint64_t serial; /* of the instance */
    struct msg_text host;
};

struct msg_call {
    uint32_t from, to; /* cores */
    uint32_t port;     /* the caller's bootstrap port */
    uint8_t unkeyed;
    const uint8_t *nonce;
    struct msg_home home;
    const uint8_t *mac; /* as in a join */
    struct msg_bytes signed_part;
};

enum msg_how {
    MSG_HOW_STREAM,   /* the bytes follow the frame */
    MSG_HOW_DEVICE,   /* read them at this device address */
    MSG_HOW_TOO_LONG, /* not sent: longer than what is wanted */
    MSG_HOW_FABRIC,   /* they come over libfabric */
    MSG_HOW_END
};

#define MSG_PROVIDER_MAX 32u  /* of a provider's name, with NUL */
#define MSG_ADDRESS_MAX  256u /* NET_ADDRESS_MAX */
struct msg_fabric {
    struct msg_text provider; /* empty: no libfabric here */
    struct msg_bytes address;
};

struct msg_share {
    uint64_t addr, generation; /* device address and its extent; generation 0: none */
    uint32_t extent;
};

struct msg_transfer { /* WANT, HAVE, ENDED; GOT and KEPT have the index only */
    uint64_t index;   /* of the message in its pair, from 0 */
    uint64_t size;
    uint8_t how;   /* enum msg_how; HAVE only */
    uint64_t addr; /* with MSG_HOW_DEVICE */
};

/* One message; views point into the frame. */
struct msg {
    enum msg_type type;
    union {
        struct msg_challenge challenge;
        struct msg_join join;
        struct msg_reject reject;
        struct msg_welcome welcome;
        struct msg_roster roster;
        struct msg_waiting waiting;
        struct msg_op op;
        struct msg_result result;
        struct msg_fail fail;
        struct msg_call call;
        struct msg_home paired;
        struct msg_transfer transfer;
        struct msg_fabric fabric;
        struct msg_share share;
    } u;
};

/* Total size of the frame that begins at p, of which size bytes are there: 0 in *ret_total when the
 * head is not complete. NRT_INVALID: not a frame of ours, another protocol (text says both), or
 * larger than limit. */
NRT_STATUS msg_frame_size(const uint8_t *p, size_t size, size_t limit, size_t *ret_total,
                          struct err *err);
/* Parses one complete frame. NRT_INVALID: whatever is wrong, named. Nothing in *ret points outside
 * the frame, every count fits its bytes, every text is printable. */
NRT_STATUS msg_parse(const uint8_t *p, size_t size, struct msg *ret, struct err *err);
/* The next member of a checked roster; false at its end. *at starts at 0. */
bool msg_roster_next(const struct msg_roster *r, uint32_t *at, struct msg_member *ret);
uint32_t msg_u32_at(const struct msg_bytes *b, uint32_t i);
void msg_u32_put(uint8_t *p, uint32_t v);
/* Copies a text, cut to fit, with a NUL. */
void msg_text_copy(char *buf, size_t size, const struct msg_text *t);
struct msg_text msg_text_of(const char *s);

/* A frame to send, shared by several connections. Synchronization: the job's lock. */
struct frame {
    uint32_t refs;
    size_t len;
    uint8_t bytes[];
};
void frame_drop(struct frame *f); /* NULL is fine */

/* A frame with one reference; NULL: memory, or sign failed. For JOIN, CALL and WELCOME sign is
 * called with the part of the body that precedes the proof, and writes the proof; NULL: zeros. */
typedef bool msg_sign(void *arg, const uint8_t *body, size_t size, uint8_t mac[MSG_MAC]);
struct frame *msg_build(const struct msg *m, msg_sign *sign, void *arg);
/* A roster and a result are built from what the root holds. A result is a frame of so many bytes, 4
 * for every member, and what they gave. */
#define MSG_RESULT_HEAD (MSG_HEAD + 16u)
struct frame *msg_build_roster(const struct msg_roster *head, const struct net_rank *ranks);
struct frame *msg_build_result(uint32_t group, uint32_t seq, uint32_t n,
                               const struct msg_bytes *parts);

/* --- addresses (addr.c) ------------------------------------------------------------------------
 */

struct addr {
    struct sockaddr_storage sa;
    socklen_t len;
};
#define ADDR_TEXT_MAX 64
/* "1.2.3.4:5", "[::1]:5", "[fe80::1%eth0]:5" or "name:5"; the port is not 0. NRT_INVALID with the
 * documented text. Pure but for names, which it looks up. */
NRT_STATUS addr_parse(const char *text, struct addr *ret, struct err *err);
void addr_text(const struct addr *a, char buf[ADDR_TEXT_MAX]); /* as above */
uint16_t addr_port(const struct addr *a);                      /* of an IPv4 or IPv6 address */
void addr_port_set(struct addr *a, uint16_t port);
void addr_unwrap(struct addr *a); /* IPv4 in IPv6 becomes IPv4; others stay */
/* Whether the two ends of a connection are on one host: loopback, or the same address. */
bool addr_same_host(const struct addr *a, const struct addr *b);

/* --- keys (key.c) ------------------------------------------------------------------------------
 */

struct key {
    uint8_t bytes[32];
    uint8_t id[MSG_KEY_ID];
    enum msg_key_source source;
    char from[160]; /* the variable or the path, for messages */
};
/* The key of the configuration: the text given, else the user's key file, which is made when it is
 * not there. NRT_INVALID: the text is empty, or the file is not the user's own or malformed (names
 * the path and the fix). NRT_FAILURE: no folder to keep it in. */
NRT_STATUS key_load(const struct net_job_config *cfg, struct key *ret, struct err *err);
/* HMAC-SHA256 over label (with its NUL) and the parts; false: libcrypto cannot. */
struct key_part {
    const void *p;
    size_t n;
};
bool key_mac(const struct key *k, const char *label, const struct key_part *parts, unsigned n,
             uint8_t mac[MSG_MAC]);
bool key_mac_equal(const uint8_t *a, const uint8_t *b); /* in constant time */
bool key_random(void *buf, size_t size);                /* false: no entropy */

/* --- connections (conn.c) ----------------------------------------------------------------------
 */

struct conn_out {
    struct conn_out *next;
    struct frame *f;
};

/* A stream of frames over a non-blocking socket. Synchronization: the job's lock. */
struct conn {
    int fd; /* -1: closed */
    uint8_t *in;
    size_t in_len, in_cap, in_used; /* in_used: the frame handed out last, dropped at next */
    size_t limit;                   /* largest frame that the other side may send now */
    struct conn_out *out, *out_last;
    struct conn_out *spare; /* for a frame that may not lack memory; NULL: none */
    size_t out_sent;        /* bytes of the first frame */
    int error;              /* errno of the end; 0: still open, or an orderly end */
    bool ended;             /* nothing more will be read */
};

void conn_init(struct conn *c, int fd, size_t limit);
void conn_fini(struct conn *c);
/* Queues and tries to send; takes over the caller's reference. A failure shows in c->ended. False:
 * memory (f NULL counts). */
bool conn_send(struct conn *c, struct frame *f);
/* What must not lack memory once it is due: the next frame that is sent, and one of at most so many
 * bytes that comes. Under the job's lock; and conn_reserve_in moves what was read, so no message of
 * conn_next may be in hand. False: memory. */
bool conn_reserve_out(struct conn *c);
bool conn_reserve_in(struct conn *c, size_t frame);
void conn_flush(struct conn *c);
static inline bool conn_pending(const struct conn *c)
{
    return c->out != NULL;
}
/* Reads the socket once. NRT_RESOURCE: memory. The end of the stream shows in c->ended. */
NRT_STATUS conn_read(struct conn *c, struct err *err);
/* The next message among the bytes read: *ret_have false when it is not complete. Views are valid
 * until the next call. NRT_INVALID: not a message. */
NRT_STATUS conn_next(struct conn *c, struct msg *ret, bool *ret_have, struct err *err);
/* What every socket of ours needs: non-blocking, close on exec, no delay, dead peers noticed. */
void conn_tune(int fd, uint64_t dead_ms);
/* Bytes outside frames, between two of them: moves at most n now and returns how many. take reads
 * what follows the last message of conn_next; give writes, when nothing is queued. The end of the
 * stream shows in c->ended. */
size_t conn_take(struct conn *c, void *p, size_t n);
size_t conn_give(struct conn *c, const void *p, size_t n);

/* --- the root (root.c) -------------------------------------------------------------------------
 */

struct root;

/* What the job and its root share. */
struct net_setup {
    struct net_job_config cfg; /* defaults filled in, strings owned by the job */
    struct key key;
    struct addr root_addr;
    char root_text[ADDR_TEXT_MAX];
    int epoll_fd;
};
uint64_t setup_now(const struct net_setup *s);

/* What an event of the job's epoll set belongs to; first in every object that is in the set. */
enum source_kind { SOURCE_MEMBER, SOURCE_WAKE, SOURCE_LISTEN, SOURCE_CONN };
struct source {
    enum source_kind kind;
};
/* Adds or changes; false: errno. */
bool source_watch(const struct net_setup *s, int fd, struct source *src, bool add, bool want_write);
/* Before fd is closed and its source goes: a child that was just forked has it open, too, and while
 * one does, the set would tell of a source that is no more. */
void source_forget(const struct net_setup *s, int fd);

/* Listens at the root address (when the world has more than one rank), and takes local_fd, one end
 * of a socket pair, as the connection of rank 0. Logs what is wrong. */
NRT_STATUS root_open(const struct net_setup *s, int local_fd, struct root **ret, struct err *err);
/* An event of a source of the root's; returns messages handled. */
unsigned root_event(struct root *r, struct source *src);
/* Timers and garbage, at the end of every progress. */
void root_tick(struct root *r);
uint64_t root_next_timer(const struct root *r); /* time of the next, UINT64_MAX: none */
bool root_flushed(const struct root *r);
/* Tells everybody that rank 0 leaves: in order, or why it cannot stay. */
void root_bye(struct root *r, const struct err *why, uint32_t culprit);
void root_close(struct root *r);

/* --- operations at the root (root_op.c) --------------------------------------------------------
 */

struct root_op;

/* Failed operations that are kept for members that have not entered them. Who comes later than so
 * many failures enters a new one, for which nobody else comes: its own limit ends that. */
#define ROOT_FAILED_MAX 4096u

/* The operations that not all members have entered, and what they need from the root. */
struct root_ops {
    struct root_op *head; /* newest first */
    uint32_t failed;      /* of them; at most ROOT_FAILED_MAX */
    uint32_t world;
    uint64_t report_ns, cross_ns;
    void *arg;
    void (*send)(void *arg, uint32_t rank, struct frame *f); /* takes over one reference */
    /* The next send to this rank lacks no memory; false: it would. */
    bool (*reserve)(void *arg, uint32_t rank);
    /* A member broke the protocol, or memory is out: the job is over. */
    void (*fail)(void *arg, NRT_STATUS status, uint32_t culprit, const char *text);
    bool (*idle)(void *arg, uint32_t rank); /* nothing is queued for it, so a report may go */
    bool (*left)(void *arg, uint32_t rank);
};
void root_op_enter(struct root_ops *o, uint32_t rank, const struct msg_op *op, uint64_t now);
/* Fails the operations that wait for a rank which has left in order, and forgets failed ones for
 * which nobody is left. */
void root_op_left(struct root_ops *o, uint32_t rank);
/* Tells members of operations that have waited who is missing; fails those whose time is over. */
void root_op_report(struct root_ops *o, uint64_t now);
uint64_t root_op_next_report(const struct root_ops *o); /* UINT64_MAX: none */
void root_op_free_all(struct root_ops *o);
/* "barrier #3 of group 0". */
void op_text(char *buf, size_t size, unsigned kind, uint32_t group, uint32_t seq);
/* "1, 5, 7 and 12 more". */
void ranks_text(char *buf, size_t size, const uint32_t *ranks, uint32_t listed, uint32_t all);

/* --- a member (member.c) and its job (job.c, group.c) ------------------------------------------
 */

enum member_state {
    MEMBER_CONNECT, /* between attempts */
    MEMBER_CONNECTING,
    MEMBER_GREET, /* waits for the challenge */
    MEMBER_PROVE, /* has sent its join */
    MEMBER_JOINED,
    MEMBER_RUNNING,
    MEMBER_FAILED
};

/* What the root said about who is missing. */
struct waiting {
    uint64_t when; /* 0: nothing yet */
    uint32_t seq, missing, n;
    uint32_t ranks[MSG_MISSING_MAX];
};

/* One rank's end of its connection to the root. */
struct member {
    struct source src;
    struct conn c;
    enum member_state state;
    bool write_watched, local, keyed;
    bool joined; /* has been welcomed: says goodbye, even after a failure */
    uint8_t nonce[MSG_NONCE], root_nonce[MSG_NONCE];
    uint64_t start, retry_at, attempt_end; /* of connecting */
    unsigned backoff_ms, attempts;
    bool complained;
    int last_error;     /* errno of the last attempt */
    uint64_t next_line; /* of the documented "retrying" lines */
    struct waiting waiting;
};

/* Synchronization: lock protects everything but what is fixed at open: setup, and ranks once the
 * job runs. sleeping: a thread is in poll, with the lock free; others wait on changed. */
struct net_job {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool sleeping;
    struct net_setup s;
    char *kept[5]; /* the strings of the configuration */
    void *kept_blob;
    struct root *root; /* rank 0 only */
    struct member m;
    struct source wake_src;
    int wake_fd;
    struct net_group *groups;
    struct net_rank *ranks; /* world; NULL before everybody has joined */
    uint8_t *blobs;         /* what ranks point into */
    _Atomic bool running;   /* the above may be read without the lock */
    uint64_t cluster_id, epoch;
    bool keyed;
    struct err failure; /* status NRT_SUCCESS: none */
    uint32_t culprit;
    bool left; /* rank 0 has said goodbye, and that was the first failure */
};

NRT_STATUS member_open(struct net_job *j, int local_fd, struct err *err); /* local_fd -1: TCP */
void member_event(struct net_job *j);
void member_tick(struct net_job *j);
uint64_t member_next_timer(const struct net_job *j);
void member_send(struct net_job *j, struct frame *f);  /* takes over one reference */
bool member_offer(struct net_job *j, struct frame *f); /* so, but false and no more: no memory */
void member_close(struct net_job *j);

/* The job is over; the first reason stays. Logs it, unless quiet. The lock is held. */
void job_fail(struct net_job *j, bool quiet, NRT_STATUS status, uint32_t culprit, const char *fmt,
              ...) __attribute__((format(printf, 5, 6)));
unsigned job_progress_locked(struct net_job *j, unsigned budget);
/* Makes progress until done(arg) or the time has come, which gives false. The lock is held. */
bool job_wait_locked(struct net_job *j, bool (*done)(void *arg), void *arg, uint64_t limit_ns);

void group_result(struct net_job *j, const struct msg_result *m);
void group_failed(struct net_job *j, const struct msg_fail *m);
void group_waiting(struct net_job *j, const struct msg_waiting *m);
void group_tick(struct net_job *j, uint64_t now);
void group_free_all(struct net_job *j);
/* The status that a message carries; NRT_FAILURE for one that is none of ours. */
NRT_STATUS wire_status(uint32_t v);

#endif
