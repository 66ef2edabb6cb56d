/* SPDX-License-Identifier: Apache-2.0 */
/* Operations at the root: a member enters with its part; when the last one has entered, everybody
 * gets all parts. The first member's word on the group, the kind and the size is what the others
 * are compared with. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "net/cross.h"
#include "net/net_int.h"

struct root_op {
    struct root_op *next;
    uint32_t group, seq, n;
    uint8_t kind;
    char call[MSG_CALL_MAX]; /* what the first member is in; "": it did not say */
    bool failed;             /* kept so that late members learn it, too */
    NRT_STATUS status;
    uint32_t culprit;
    char text[MSG_TEXT_MAX];
    uint32_t *ranks;         /* n, in the group's order */
    bool *in;                /* n: has entered */
    bool *waits;             /* n: and does nothing else */
    struct msg_bytes *parts; /* n; owned copies */
    uint32_t entered, first; /* how many; index of the one that came first */
    uint64_t begun, deadline, next_report;
    struct net_cross cross;
};

void op_text(char *buf, size_t size, unsigned kind, uint32_t group, uint32_t seq)
{
    snprintf(buf, size, "%s #%u of group %u", kind == NET_OP_BARRIER ? "barrier" : "all_gather",
             seq, group);
}

void ranks_text(char *buf, size_t size, const uint32_t *ranks, uint32_t listed, uint32_t all)
{
    size_t n = 0;

    buf[0] = '\0';
    for (uint32_t i = 0; i < listed && n < size; i++) {
        int k = snprintf(buf + n, size - n, i == 0 ? "%u" : ", %u", ranks[i]);

        n += k > 0 ? (size_t)k : 0;
    }
    if (listed < all && n < size)
        snprintf(buf + n, size - n, " and %u more", all - listed);
}

static void parts_free(struct root_op *op)
{
    for (uint32_t i = 0; op->parts != NULL && i < op->n; i++)
        mem_free((void *)op->parts[i].p);
    mem_free(op->parts);
    op->parts = NULL;
}

static void op_free(struct root_op *op)
{
    parts_free(op);
    mem_free(op->in);
    mem_free(op->waits);
    mem_free(op->ranks);
    mem_free(op);
}

static void op_remove(struct root_ops *o, struct root_op *op)
{
    struct root_op **at = &o->head;

    while (*at != op)
        at = &(*at)->next;
    *at = op->next;
    o->failed -= op->failed;
    op_free(op);
}

void root_op_free_all(struct root_ops *o)
{
    while (o->head != NULL)
        op_remove(o, o->head);
}

/* The ranks of a message: n = 0 is the world. False: no such group, or self is not in it. seen: of
 * the world, all false. */
static bool op_ranks(const struct root_ops *o, uint32_t self, const struct msg_op *m,
                     struct root_op *op, bool *seen)
{
    bool ok = true;

    for (uint32_t i = 0; ok && i < op->n; i++) {
        uint32_t rank = m->n == 0 ? i : msg_u32_at(&m->ranks, i);

        ok = rank < o->world && !seen[rank];
        if (ok)
            seen[rank] = true;
        op->ranks[i] = rank;
    }
    return ok && seen[self];
}

static struct root_op *op_new(struct root_ops *o, uint32_t rank, const struct msg_op *m,
                              uint64_t now)
{
    bool *seen = NULL, known;
    struct root_op *op;

    if (m->n > o->world) {
        o->fail(o->arg, NRT_INVALID, rank, "named a group larger than the world");
        return NULL;
    }
    op = mem_zalloc(sizeof(*op));
    if (op != NULL) {
        op->n = m->n == 0 ? o->world : m->n;
        op->ranks = mem_calloc(op->n, sizeof(*op->ranks));
        op->in = mem_calloc(op->n, sizeof(*op->in));
        op->waits = mem_calloc(op->n, sizeof(*op->waits));
        op->parts = mem_calloc(op->n, sizeof(*op->parts));
        seen = mem_calloc(o->world, sizeof(*seen));
    }
    if (op == NULL || op->ranks == NULL || op->in == NULL || op->waits == NULL ||
        op->parts == NULL || seen == NULL) {
        if (op != NULL)
            op_free(op);
        mem_free(seen);
        o->fail(o->arg, NRT_RESOURCE, 0, "the root is out of memory");
        return NULL;
    }
    op->group = m->group;
    op->seq = m->seq;
    op->kind = m->kind;
    msg_text_copy(op->call, sizeof(op->call), &m->call);
    op->cross = (struct net_cross){
        .call = op->call, .n = op->n, .ranks = op->ranks, .in = op->in, .waits = op->waits};
    op->deadline = UINT64_MAX;
    op->culprit = NET_NO_RANK;
    op->next_report = now + o->report_ns;
    known = op_ranks(o, rank, m, op, seen);
    mem_free(seen);
    if (!known) {
        op_free(op);
        o->fail(o->arg, NRT_INVALID, rank, "named a group that cannot be, or without itself");
        return NULL;
    }
    op->next = o->head;
    o->head = op;
    return op;
}

static void tell_failure(struct root_ops *o, const struct root_op *op, uint32_t rank)
{
    struct msg m = {.type = MSG_FAIL,
                    .u.fail = {.group = op->group,
                               .seq = op->seq,
                               .status = (uint32_t)op->status,
                               .culprit = op->culprit,
                               .text = msg_text_of(op->text)}};

    o->send(o->arg, rank, msg_build(&m, NULL, NULL));
}

/* Whether a member that has not entered it may still do so. */
static bool somebody_comes(const struct root_ops *o, const struct root_op *op)
{
    for (uint32_t i = 0; i < op->n; i++)
        if (!op->in[i] && !o->left(o->arg, op->ranks[i]))
            return true;
    return false;
}

static struct root_op *failed_oldest(const struct root_ops *o)
{
    struct root_op *oldest = NULL;

    for (struct root_op *op = o->head; op != NULL; op = op->next)
        if (op->failed)
            oldest = op;
    return oldest;
}

/* Of the failed ones: those that nobody will enter any more, and, where there are too many, the
 * oldest. */
static void failed_trim(struct root_ops *o)
{
    struct root_op *next;

    for (struct root_op *op = o->head; op != NULL; op = next) {
        next = op->next;
        if (op->failed && !somebody_comes(o, op))
            op_remove(o, op);
    }
    while (o->failed > ROOT_FAILED_MAX)
        op_remove(o, failed_oldest(o));
}

/* To everybody who has entered; those who come later are told then. What has failed stays in the
 * list until failed_trim. */
static void op_fail(struct root_ops *o, struct root_op *op, NRT_STATUS status, uint32_t culprit)
{
    op->failed = true;
    o->failed++;
    parts_free(op);
    op->status = status;
    op->culprit = culprit;
    for (uint32_t i = 0; i < op->n; i++) {
        if (op->in[i])
            tell_failure(o, op, op->ranks[i]);
    }
}

static bool same_group(const struct root_op *op, const struct msg_op *m, uint32_t world)
{
    if (op->n != (m->n == 0 ? world : m->n))
        return false;
    for (uint32_t i = 0; i < op->n; i++) {
        if (op->ranks[i] != (m->n == 0 ? i : msg_u32_at(&m->ranks, i)))
            return false;
    }
    return true;
}

/* Whether what rank announces fits what the first member announced; else the text says how not. */
static bool agrees(struct root_op *op, uint32_t rank, const struct msg_op *m, uint32_t world)
{
    uint32_t first = op->ranks[op->first], size = op->parts[op->first].n;
    char name[64], other[64];

    op_text(name, sizeof(name), op->kind, op->group, op->seq);
    if (!same_group(op, m, world)) {
        snprintf(op->text, sizeof(op->text),
                 "%s: ranks %u and %u name other members, or another order: all members of a group "
                 "must give the same list",
                 name, first, rank);
        return false;
    }
    if (op->kind != m->kind) {
        op_text(other, sizeof(other), m->kind, m->group, m->seq);
        snprintf(op->text, sizeof(op->text),
                 "rank %u entered %s, rank %u entered %s: all members must call in the same order",
                 first, name, rank, other);
        return false;
    }
    if (m->kind == NET_OP_GATHER && size != m->part.n) {
        snprintf(op->text, sizeof(op->text),
                 "%s: rank %u gave %u bytes, rank %u gave %u: all members must give the same size",
                 name, first, size, rank, m->part.n);
        return false;
    }
    return true;
}

/* All members get it, or none: nobody is told that all is well before there is memory to tell the
 * last one. */
static void op_finish(struct root_ops *o, struct root_op *op)
{
    struct frame *f = msg_build_result(op->group, op->seq, op->n, op->parts);
    bool room = f != NULL;

    for (uint32_t i = 0; i < op->n && room; i++)
        room = o->reserve(o->arg, op->ranks[i]);
    if (!room) {
        frame_drop(f);
        o->fail(o->arg, NRT_RESOURCE, 0, "the root is out of memory, or the result too large");
        return;
    }
    f->refs += op->n;
    for (uint32_t i = 0; i < op->n; i++)
        o->send(o->arg, op->ranks[i], f);
    frame_drop(f);
}

static bool part_keep(struct root_op *op, uint32_t i, const struct msg_bytes *part)
{
    uint8_t *copy = NULL;

    if (part->n > 0) {
        copy = mem_alloc(part->n);
        if (copy == NULL)
            return false;
        memcpy(copy, part->p, part->n);
    }
    op->parts[i] = (struct msg_bytes){.p = copy, .n = part->n};
    return true;
}

static uint32_t op_index(const struct root_op *op, uint32_t rank)
{
    uint32_t i = 0;

    while (i < op->n && op->ranks[i] != rank)
        i++;
    return i;
}

static void left_check(struct root_ops *o, struct root_op *op)
{
    for (uint32_t i = 0; i < op->n && !op->failed; i++) {
        char name[64];

        if (op->in[i] || !o->left(o->arg, op->ranks[i]))
            continue;
        op_text(name, sizeof(name), op->kind, op->group, op->seq);
        snprintf(op->text, sizeof(op->text), "%s: rank %u has left the job", name, op->ranks[i]);
        op_fail(o, op, NRT_FAILURE, op->ranks[i]);
    }
}

static void limit_take(struct root_op *op, uint32_t limit_ms, uint64_t now)
{
    uint64_t end;

    if (op->entered == 1)
        op->begun = now;
    end = op->begun + limit_ms * NSEC_PER_MS;
    if (limit_ms != 0 && end < op->deadline)
        op->deadline = end;
}

void root_op_enter(struct root_ops *o, uint32_t rank, const struct msg_op *m, uint64_t now)
{
    struct root_op *op = o->head;
    uint32_t i;

    while (op != NULL && (op->group != m->group || op->seq != m->seq))
        op = op->next;
    if (op == NULL)
        op = op_new(o, rank, m, now);
    if (op == NULL)
        return;
    i = op_index(op, rank);
    if (i < op->n && op->in[i]) {
        o->fail(o->arg, NRT_INVALID, rank, "entered one operation twice");
        return;
    }
    if (op->entered == 0)
        op->first = i;
    else if (!op->failed && !agrees(op, rank, m, o->world))
        op_fail(o, op, NRT_INVALID, rank);
    if (op->failed)
        tell_failure(o, op, rank);
    if (i == op->n) { /* in nobody's list: not counted */
        if (op->failed)
            failed_trim(o);
        return;
    }
    if (!op->failed && !part_keep(op, i, &m->part)) {
        o->fail(o->arg, NRT_RESOURCE, 0, "the root is out of memory");
        return;
    }
    op->in[i] = true;
    op->waits[i] = !m->leaves;
    op->entered++;
    limit_take(op, m->limit_ms, now);
    if (!op->failed)
        left_check(o, op);
    if (op->entered < op->n) {
        if (op->failed)
            failed_trim(o);
        return;
    }
    if (!op->failed)
        op_finish(o, op);
    op_remove(o, op);
}

void root_op_left(struct root_ops *o, uint32_t rank)
{
    for (struct root_op *op = o->head; op != NULL; op = op->next) {
        if (!op->failed)
            left_check(o, op);
    }
    failed_trim(o);
}

static uint32_t missing_list(const struct root_op *op, uint32_t list[MSG_MISSING_MAX],
                             uint32_t *ret_all)
{
    uint32_t n = 0;

    *ret_all = 0;
    for (uint32_t i = 0; i < op->n; i++) {
        if (op->in[i])
            continue;
        if (n < MSG_MISSING_MAX)
            list[n++] = op->ranks[i];
        ++*ret_all;
    }
    return n;
}

static void op_report(struct root_ops *o, const struct root_op *op)
{
    uint32_t list[MSG_MISSING_MAX];
    uint8_t ranks[4 * MSG_MISSING_MAX];
    struct msg m = {.type = MSG_WAITING, .u.waiting = {.group = op->group, .seq = op->seq}};
    struct msg_waiting *w = &m.u.waiting;
    struct frame *f;

    w->n = missing_list(op, list, &w->missing);
    for (uint32_t i = 0; i < w->n; i++)
        msg_u32_put(ranks + 4 * (size_t)i, list[i]);
    w->ranks = (struct msg_bytes){.p = ranks, .n = 4 * w->n};
    f = msg_build(&m, NULL, NULL);
    for (uint32_t i = 0; f != NULL && i < op->n; i++) {
        /* a report is no reason to end the job: without memory it waits for its next turn */
        if (op->waits[i] && o->idle(o->arg, op->ranks[i]) && o->reserve(o->arg, op->ranks[i])) {
            f->refs++;
            o->send(o->arg, op->ranks[i], f);
        }
    }
    frame_drop(f);
}

static void op_time_out(struct root_ops *o, struct root_op *op)
{
    uint32_t list[MSG_MISSING_MAX], all, n = missing_list(op, list, &all);
    char name[64], who[160];

    op_text(name, sizeof(name), op->kind, op->group, op->seq);
    ranks_text(who, sizeof(who), list, n, all);
    snprintf(op->text, sizeof(op->text), "%s%s%s: not entered by ranks %s within %llu ms", op->call,
             op->call[0] ? ", " : "", name, who,
             (unsigned long long)((op->deadline - op->begun) / NSEC_PER_MS));
    op_fail(o, op, NRT_TIMEOUT, n ? list[0] : NET_NO_RANK);
}

/* Ends operations that ranks have entered crosswise. */
static void cross_check(struct root_ops *o, uint64_t now)
{
    struct net_cross *list = NULL;

    for (struct root_op *op = o->head; op != NULL; op = op->next) {
        if (op->failed)
            continue;
        op->cross.next = list;
        list = &op->cross;
    }
    if (!net_cross_look(list, now, o->cross_ns))
        return;
    for (struct root_op *op = o->head; op != NULL; op = op->next) {
        if (!op->failed && op->cross.stuck)
            op->culprit = net_cross_text(list, &op->cross, op->text, sizeof(op->text));
    }
    for (struct root_op *op = o->head; op != NULL; op = op->next) {
        if (!op->failed && op->cross.stuck)
            op_fail(o, op, NRT_TIMEOUT, op->culprit);
    }
}

void root_op_report(struct root_ops *o, uint64_t now)
{
    uint32_t before = o->failed;
    bool cross = false;

    for (struct root_op *op = o->head; op != NULL; op = op->next) {
        if (!op->failed && now >= op->deadline)
            op_time_out(o, op);
        if (op->failed || now < op->next_report)
            continue;
        op->next_report = now + o->report_ns;
        op_report(o, op);
        cross = true;
    }
    if (cross)
        cross_check(o, now);
    if (o->failed != before)
        failed_trim(o);
}

uint64_t root_op_next_report(const struct root_ops *o)
{
    uint64_t next = UINT64_MAX;

    for (const struct root_op *op = o->head; op != NULL; op = op->next) {
        if (op->failed)
            continue;
        next = op->next_report < next ? op->next_report : next;
        next = op->deadline < next ? op->deadline : next;
    }
    return next;
}
