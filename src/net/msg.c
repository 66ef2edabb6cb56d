/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the bootstrap: bytes in, description out, and back. Pure. Whatever comes from the
 * network passes here first; nothing else looks at raw bytes. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "net/net_int.h"

/* --- reading -----------------------------------------------------------------------------------
 */

struct reader {
    const uint8_t *p;
    size_t n; /* bytes left */
    bool bad; /* something did not fit, or was not allowed */
};

static const uint8_t *take(struct reader *r, size_t n)
{
    const uint8_t *p = r->p;

    if (r->bad || n > r->n) {
        r->bad = true;
        return NULL;
    }
    r->p += n;
    r->n -= n;
    return p;
}

static uint64_t le_get(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;

    while (n--)
        v = v << 8 | p[n];
    return v;
}

static uint64_t get_num(struct reader *r, unsigned n)
{
    const uint8_t *p = take(r, n);

    return p == NULL ? 0 : le_get(p, n);
}

static uint8_t get_flag(struct reader *r)
{
    uint64_t v = get_num(r, 1);

    if (v > 1)
        r->bad = true;
    return (uint8_t)v;
}

/* Texts end up in logs and terminals: printable ASCII only. */
static struct msg_text get_text(struct reader *r, uint16_t max)
{
    struct msg_text t = {.n = (uint16_t)get_num(r, 2)};

    t.s = (const char *)take(r, t.n);
    if (t.s == NULL || t.n > max) {
        r->bad = true;
        return (struct msg_text){.s = ""};
    }
    for (unsigned i = 0; i < t.n; i++) {
        if (t.s[i] < 0x20 || t.s[i] > 0x7e)
            r->bad = true;
    }
    return t;
}

static struct msg_bytes get_bytes(struct reader *r, uint32_t max)
{
    struct msg_bytes b = {.n = (uint32_t)get_num(r, 4)};

    if (b.n > max)
        r->bad = true;
    b.p = take(r, b.n);
    if (b.p == NULL)
        b.n = 0;
    return b;
}

static struct msg_bytes get_u32s(struct reader *r, uint32_t n)
{
    struct msg_bytes b = {.n = n * 4};

    b.p = n > NET_WORLD_MAX ? NULL : take(r, (size_t)n * 4);
    if (b.p == NULL) {
        r->bad = true;
        b.n = 0;
    }
    return b;
}

uint32_t msg_u32_at(const struct msg_bytes *b, uint32_t i)
{
    return (uint32_t)le_get(b->p + (size_t)i * 4, 4);
}

void msg_u32_put(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static struct msg_member get_member(struct reader *r)
{
    struct msg_member m = {0};

    m.pid = (uint32_t)get_num(r, 4);
    m.host = get_text(r, NET_HOST_MAX - 1);
    m.node = get_text(r, NET_TEXT_MAX - 1);
    m.instance = get_text(r, NET_TEXT_MAX - 1);
    m.blob = get_bytes(r, NET_BLOB_MAX);
    return m;
}

static void get_challenge(struct reader *r, struct msg_challenge *m)
{
    m->source = (uint8_t)get_num(r, 1);
    if (m->source >= MSG_KEY_SOURCE_END)
        r->bad = true;
    m->key_id = take(r, MSG_KEY_ID);
    m->nonce = take(r, MSG_NONCE);
    m->version = get_text(r, NET_TEXT_MAX - 1);
}

static void get_join(struct reader *r, struct msg_join *m)
{
    const uint8_t *body = r->p;
    struct msg_member who;

    m->rank = (uint32_t)get_num(r, 4);
    m->world = (uint32_t)get_num(r, 4);
    m->unkeyed = get_flag(r);
    m->nonce = take(r, MSG_NONCE);
    m->version = get_text(r, NET_TEXT_MAX - 1);
    who = get_member(r);
    m->pid = who.pid;
    m->host = who.host;
    m->node = who.node;
    m->instance = who.instance;
    m->blob = who.blob;
    m->signed_part = (struct msg_bytes){.p = body, .n = (uint32_t)(r->p - body)};
    m->mac = take(r, MSG_MAC);
}

static void get_roster(struct reader *r, struct msg_roster *m)
{
    m->world = (uint32_t)get_num(r, 4);
    m->cluster_id = get_num(r, 8);
    m->epoch = get_num(r, 8);
    m->keyed = get_flag(r);
    m->members.p = r->p;
    if (m->world > NET_WORLD_MAX)
        r->bad = true;
    for (uint32_t i = 0; i < m->world && !r->bad; i++)
        get_member(r);
    if (!r->bad)
        m->members.n = (uint32_t)(r->p - m->members.p);
}

static void get_waiting(struct reader *r, struct msg_waiting *m)
{
    m->group = (uint32_t)get_num(r, 4);
    m->seq = (uint32_t)get_num(r, 4);
    m->missing = (uint32_t)get_num(r, 4);
    m->n = (uint32_t)get_num(r, 1);
    if (m->n > MSG_MISSING_MAX || m->n > m->missing)
        r->bad = true;
    m->ranks = get_u32s(r, m->n);
}

static void get_op(struct reader *r, struct msg_op *m)
{
    m->group = (uint32_t)get_num(r, 4);
    m->seq = (uint32_t)get_num(r, 4);
    m->kind = (uint8_t)get_num(r, 1);
    if (m->kind < NET_OP_BARRIER || m->kind > NET_OP_GATHER_V)
        r->bad = true;
    m->leaves = get_flag(r);
    m->limit_ms = (uint32_t)get_num(r, 4);
    m->call = get_text(r, MSG_CALL_MAX - 1);
    m->n = (uint32_t)get_num(r, 4);
    m->ranks = get_u32s(r, m->n);
    m->part = get_bytes(r, NET_PART_MAX);
}

static void get_result(struct reader *r, struct msg_result *m)
{
    uint64_t sum = 0;

    m->group = (uint32_t)get_num(r, 4);
    m->seq = (uint32_t)get_num(r, 4);
    m->n = (uint32_t)get_num(r, 4);
    m->sizes = get_u32s(r, m->n);
    m->parts = get_bytes(r, NET_TOTAL_MAX);
    if (r->bad)
        return;
    for (uint32_t i = 0; i < m->n; i++)
        sum += msg_u32_at(&m->sizes, i);
    if (sum != m->parts.n)
        r->bad = true;
}

static void get_fail(struct reader *r, struct msg_fail *m)
{
    m->whole_job = get_flag(r);
    m->group = (uint32_t)get_num(r, 4);
    m->seq = (uint32_t)get_num(r, 4);
    m->status = (uint32_t)get_num(r, 4);
    m->culprit = (uint32_t)get_num(r, 4);
    m->text = get_text(r, MSG_TEXT_MAX - 1);
}

static struct msg_home get_home(struct reader *r)
{
    struct msg_home h = {0};

    h.pid = (uint32_t)get_num(r, 4);
    h.serial = get_num(r, 8);
    h.host = get_text(r, NET_HOST_MAX - 1);
    return h;
}

static void get_call(struct reader *r, struct msg_call *m)
{
    const uint8_t *body = r->p;

    m->from = (uint32_t)get_num(r, 4);
    m->to = (uint32_t)get_num(r, 4);
    m->port = (uint32_t)get_num(r, 2);
    m->unkeyed = get_flag(r);
    m->nonce = take(r, MSG_NONCE);
    m->home = get_home(r);
    m->signed_part = (struct msg_bytes){.p = body, .n = (uint32_t)(r->p - body)};
    m->mac = take(r, MSG_MAC);
}

static void get_transfer(struct reader *r, enum msg_type type, struct msg_transfer *m)
{
    m->index = get_num(r, 8);
    if (type == MSG_GOT || type == MSG_KEPT)
        return;
    m->size = get_num(r, 8);
    if (type == MSG_WANT || type == MSG_ENDED)
        return;
    m->how = (uint8_t)get_num(r, 1);
    if (m->how >= MSG_HOW_END)
        r->bad = true;
    m->addr = get_num(r, 8);
}

static void get_body(struct reader *r, struct msg *m)
{
    switch (m->type) {
    case MSG_CHALLENGE:
        get_challenge(r, &m->u.challenge);
        break;
    case MSG_JOIN:
        get_join(r, &m->u.join);
        break;
    case MSG_REJECT:
        m->u.reject.status = (uint32_t)get_num(r, 4);
        m->u.reject.again = get_flag(r);
        m->u.reject.text = get_text(r, MSG_TEXT_MAX - 1);
        break;
    case MSG_WELCOME:
        m->u.welcome.keyed = get_flag(r);
        m->u.welcome.mac = take(r, MSG_MAC);
        break;
    case MSG_ROSTER:
        get_roster(r, &m->u.roster);
        break;
    case MSG_WAITING:
        get_waiting(r, &m->u.waiting);
        break;
    case MSG_OP:
        get_op(r, &m->u.op);
        break;
    case MSG_RESULT:
        get_result(r, &m->u.result);
        break;
    case MSG_FAIL:
        get_fail(r, &m->u.fail);
        break;
    case MSG_CALL:
        get_call(r, &m->u.call);
        break;
    case MSG_PAIRED:
        m->u.paired = get_home(r);
        break;
    case MSG_WANT:
    case MSG_HAVE:
    case MSG_GOT:
    case MSG_KEPT:
    case MSG_ENDED:
        get_transfer(r, m->type, &m->u.transfer);
        break;
    case MSG_FABRIC:
        m->u.fabric.provider = get_text(r, MSG_PROVIDER_MAX - 1);
        m->u.fabric.address = get_bytes(r, MSG_ADDRESS_MAX);
        break;
    case MSG_SHARE:
        m->u.share.addr = get_num(r, 8);
        m->u.share.generation = get_num(r, 8);
        m->u.share.extent = (uint32_t)get_num(r, 4);
        break;
    default: /* MSG_BYE and MSG_LOOK have no body */
        break;
    }
}

NRT_STATUS msg_frame_size(const uint8_t *p, size_t size, size_t limit, size_t *ret_total,
                          struct err *err)
{
    uint32_t magic, protocol, body;

    *ret_total = 0;
    if (size < MSG_HEAD)
        return NRT_SUCCESS;
    magic = (uint32_t)le_get(p, 4);
    protocol = (uint32_t)le_get(p + 6, 2);
    body = (uint32_t)le_get(p + 8, 4);
    if (magic != MSG_MAGIC)
        return err_set(err, NRT_INVALID, "no OpenNRT speaks there (first bytes %08x)", magic);
    if (protocol != MSG_PROTOCOL)
        return err_set(err, NRT_INVALID,
                       "bootstrap protocol %u there and %u here: install the same version of "
                       "OpenNRT on all hosts",
                       protocol, MSG_PROTOCOL);
    if (limit < MSG_HEAD || body > limit - MSG_HEAD)
        return err_set(err, NRT_INVALID, "a message of %u bytes where %zu are allowed", body,
                       limit);
    *ret_total = MSG_HEAD + (size_t)body;
    return NRT_SUCCESS;
}

NRT_STATUS msg_parse(const uint8_t *p, size_t size, struct msg *ret, struct err *err)
{
    struct reader r;
    size_t total;
    uint32_t type;
    NRT_STATUS st = msg_frame_size(p, size, MSG_MAX, &total, err);

    if (st != NRT_SUCCESS)
        return st;
    if (total == 0 || total != size)
        return err_set(err, NRT_INVALID, "a message of %zu bytes in a frame of %zu", total, size);
    type = (uint32_t)le_get(p + 4, 2);
    if (type == 0 || type >= MSG_TYPE_END)
        return err_set(err, NRT_INVALID, "a message of unknown type %u", type);
    memset(ret, 0, sizeof(*ret));
    ret->type = (enum msg_type)type;
    r = (struct reader){.p = p + MSG_HEAD, .n = size - MSG_HEAD};
    get_body(&r, ret);
    if (r.bad || r.n != 0)
        return err_set(err, NRT_INVALID, "a malformed message of type %u, %zu bytes", type, size);
    return NRT_SUCCESS;
}

bool msg_roster_next(const struct msg_roster *m, uint32_t *at, struct msg_member *ret)
{
    struct reader r = {.p = m->members.p + *at, .n = m->members.n - *at};

    if (r.n == 0)
        return false;
    *ret = get_member(&r);
    *at = (uint32_t)(r.p - m->members.p);
    return !r.bad;
}

void msg_text_copy(char *buf, size_t size, const struct msg_text *t)
{
    snprintf(buf, size, "%.*s", (int)t->n, t->s);
}

struct msg_text msg_text_of(const char *s)
{
    size_t n = strlen(s);

    return (struct msg_text){.s = s, .n = (uint16_t)(n < MSG_TEXT_MAX ? n : MSG_TEXT_MAX - 1)};
}

/* --- writing -----------------------------------------------------------------------------------
 */

/* Two passes over the same code: with p NULL it counts, then it writes. */
struct writer {
    uint8_t *p;
    size_t n;
};

static void put(struct writer *w, const void *data, size_t n)
{
    if (w->p != NULL && n > 0)
        memcpy(w->p + w->n, data, n);
    w->n += n;
}

static void put_num(struct writer *w, uint64_t v, unsigned n)
{
    uint8_t b[8];

    for (unsigned i = 0; i < n; i++)
        b[i] = (uint8_t)(v >> (8 * i));
    put(w, b, n);
}

static void put_text(struct writer *w, const struct msg_text *t)
{
    put_num(w, t->n, 2);
    put(w, t->s, t->n);
}

static void put_bytes(struct writer *w, const struct msg_bytes *b)
{
    put_num(w, b->n, 4);
    put(w, b->p, b->n);
}

static void put_member(struct writer *w, const struct msg_member *m)
{
    put_num(w, m->pid, 4);
    put_text(w, &m->host);
    put_text(w, &m->node);
    put_text(w, &m->instance);
    put_bytes(w, &m->blob);
}

static void put_challenge(struct writer *w, const struct msg_challenge *m)
{
    put_num(w, m->source, 1);
    put(w, m->key_id, MSG_KEY_ID);
    put(w, m->nonce, MSG_NONCE);
    put_text(w, &m->version);
}

/* Without the proof. */
static void put_join(struct writer *w, const struct msg_join *m)
{
    struct msg_member who = {
        .pid = m->pid, .host = m->host, .node = m->node, .instance = m->instance, .blob = m->blob};

    put_num(w, m->rank, 4);
    put_num(w, m->world, 4);
    put_num(w, m->unkeyed, 1);
    put(w, m->nonce, MSG_NONCE);
    put_text(w, &m->version);
    put_member(w, &who);
}

static void put_waiting(struct writer *w, const struct msg_waiting *m)
{
    put_num(w, m->group, 4);
    put_num(w, m->seq, 4);
    put_num(w, m->missing, 4);
    put_num(w, m->n, 1);
    put(w, m->ranks.p, m->ranks.n);
}

static void put_op(struct writer *w, const struct msg_op *m)
{
    put_num(w, m->group, 4);
    put_num(w, m->seq, 4);
    put_num(w, m->kind, 1);
    put_num(w, m->leaves, 1);
    put_num(w, m->limit_ms, 4);
    put_text(w, &m->call);
    put_num(w, m->n, 4);
    put(w, m->ranks.p, m->ranks.n);
    put_bytes(w, &m->part);
}

static void put_fail(struct writer *w, const struct msg_fail *m)
{
    put_num(w, m->whole_job, 1);
    put_num(w, m->group, 4);
    put_num(w, m->seq, 4);
    put_num(w, m->status, 4);
    put_num(w, m->culprit, 4);
    put_text(w, &m->text);
}

static void put_roster(struct writer *w, const struct msg_roster *m)
{
    put_num(w, m->world, 4);
    put_num(w, m->cluster_id, 8);
    put_num(w, m->epoch, 8);
    put_num(w, m->keyed, 1);
    put(w, m->members.p, m->members.n);
}

static void put_result(struct writer *w, const struct msg_result *m)
{
    put_num(w, m->group, 4);
    put_num(w, m->seq, 4);
    put_num(w, m->n, 4);
    put(w, m->sizes.p, m->sizes.n);
    put_bytes(w, &m->parts);
}

static void put_home(struct writer *w, const struct msg_home *h)
{
    put_num(w, h->pid, 4);
    put_num(w, h->serial, 8);
    put_text(w, &h->host);
}

/* Without the proof. */
static void put_call(struct writer *w, const struct msg_call *m)
{
    put_num(w, m->from, 4);
    put_num(w, m->to, 4);
    put_num(w, m->port, 2);
    put_num(w, m->unkeyed, 1);
    put(w, m->nonce, MSG_NONCE);
    put_home(w, &m->home);
}

static void put_transfer(struct writer *w, enum msg_type type, const struct msg_transfer *m)
{
    put_num(w, m->index, 8);
    if (type == MSG_GOT || type == MSG_KEPT)
        return;
    put_num(w, m->size, 8);
    if (type == MSG_WANT || type == MSG_ENDED)
        return;
    put_num(w, m->how, 1);
    put_num(w, m->addr, 8);
}

static void put_body(struct writer *w, const struct msg *m)
{
    switch (m->type) {
    case MSG_CHALLENGE:
        put_challenge(w, &m->u.challenge);
        break;
    case MSG_JOIN:
        put_join(w, &m->u.join);
        break;
    case MSG_REJECT:
        put_num(w, m->u.reject.status, 4);
        put_num(w, m->u.reject.again, 1);
        put_text(w, &m->u.reject.text);
        break;
    case MSG_WELCOME:
        put_num(w, m->u.welcome.keyed, 1);
        break;
    case MSG_ROSTER:
        put_roster(w, &m->u.roster);
        break;
    case MSG_WAITING:
        put_waiting(w, &m->u.waiting);
        break;
    case MSG_OP:
        put_op(w, &m->u.op);
        break;
    case MSG_RESULT:
        put_result(w, &m->u.result);
        break;
    case MSG_FAIL:
        put_fail(w, &m->u.fail);
        break;
    case MSG_CALL:
        put_call(w, &m->u.call);
        break;
    case MSG_PAIRED:
        put_home(w, &m->u.paired);
        break;
    case MSG_WANT:
    case MSG_HAVE:
    case MSG_GOT:
    case MSG_KEPT:
    case MSG_ENDED:
        put_transfer(w, m->type, &m->u.transfer);
        break;
    case MSG_FABRIC:
        put_text(w, &m->u.fabric.provider);
        put_bytes(w, &m->u.fabric.address);
        break;
    case MSG_SHARE:
        put_num(w, m->u.share.addr, 8);
        put_num(w, m->u.share.generation, 8);
        put_num(w, m->u.share.extent, 4);
        break;
    default:
        break;
    }
}

static void put_head(struct writer *w, enum msg_type type, size_t body)
{
    put_num(w, MSG_MAGIC, 4);
    put_num(w, (uint64_t)type, 2);
    put_num(w, MSG_PROTOCOL, 2);
    put_num(w, body, 4);
}

static struct frame *frame_new(enum msg_type type, size_t body)
{
    struct frame *f;
    struct writer w;

    if (body > MSG_MAX - MSG_HEAD)
        return NULL;
    f = mem_alloc(sizeof(*f) + MSG_HEAD + body);
    if (f == NULL)
        return NULL;
    f->refs = 1;
    f->len = MSG_HEAD + body;
    w = (struct writer){.p = f->bytes};
    put_head(&w, type, body);
    return f;
}

void frame_drop(struct frame *f)
{
    if (f != NULL && --f->refs == 0)
        mem_free(f);
}

struct frame *msg_build(const struct msg *m, msg_sign *sign, void *arg)
{
    struct writer w = {0};
    struct frame *f;
    size_t proof =
        m->type == MSG_JOIN || m->type == MSG_CALL || m->type == MSG_WELCOME ? MSG_MAC : 0;

    put_body(&w, m);
    f = frame_new(m->type, w.n + proof);
    if (f == NULL)
        return NULL;
    w = (struct writer){.p = f->bytes + MSG_HEAD};
    put_body(&w, m);
    if (proof != 0)
        memset(w.p + w.n, 0, proof);
    if (proof != 0 && sign != NULL && !sign(arg, w.p, w.n, w.p + w.n)) {
        frame_drop(f);
        return NULL;
    }
    return f;
}

static void put_rank(struct writer *w, const struct net_rank *r)
{
    struct msg_member m = {.pid = r->pid,
                           .host = msg_text_of(r->host),
                           .node = msg_text_of(r->node),
                           .instance = msg_text_of(r->instance),
                           .blob = {.p = r->blob, .n = (uint32_t)r->blob_size}};

    put_member(w, &m);
}

struct frame *msg_build_roster(const struct msg_roster *head, const struct net_rank *ranks)
{
    struct writer w = {0};
    struct frame *f;

    put_roster(&w, head);
    for (uint32_t i = 0; i < head->world; i++)
        put_rank(&w, &ranks[i]);
    f = frame_new(MSG_ROSTER, w.n);
    if (f == NULL)
        return NULL;
    w = (struct writer){.p = f->bytes + MSG_HEAD};
    put_roster(&w, head);
    for (uint32_t i = 0; i < head->world; i++)
        put_rank(&w, &ranks[i]);
    return f;
}

struct frame *msg_build_result(uint32_t group, uint32_t seq, uint32_t n,
                               const struct msg_bytes *parts)
{
    struct frame *f;
    struct writer w;
    uint64_t total = 0;

    for (uint32_t i = 0; i < n; i++)
        total += parts[i].n;
    if (total > NET_TOTAL_MAX)
        return NULL;
    f = frame_new(MSG_RESULT, MSG_RESULT_HEAD - MSG_HEAD + (size_t)n * 4 + total);
    if (f == NULL)
        return NULL;
    w = (struct writer){.p = f->bytes + MSG_HEAD};
    put_num(&w, group, 4);
    put_num(&w, seq, 4);
    put_num(&w, n, 4);
    for (uint32_t i = 0; i < n; i++)
        put_num(&w, parts[i].n, 4);
    put_num(&w, total, 4);
    for (uint32_t i = 0; i < n; i++)
        put(&w, parts[i].p, parts[i].n);
    return f;
}
