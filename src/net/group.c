/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives over the bootstrap connections, a member's side: one operation at a time per group,
 * numbered from 0. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "net/net_int.h"

struct net_group {
    struct net_job *j;
    struct net_group *next;
    uint32_t id, n;
    bool world;
    uint8_t *ranks; /* n numbers as in a message; NULL: the world */
    uint32_t seq;   /* of the next, or of the one under way */
    bool busy;
    enum net_op kind;
    uint64_t start, next_line;
    struct waiting waiting;
    struct err failure; /* of the last operation */
    uint8_t *result;
    size_t result_cap;
    struct msg_bytes *parts; /* n; into result */
};

static struct net_group *find(const struct net_job *j, uint32_t id)
{
    struct net_group *g = j->groups;

    while (g != NULL && g->id != id)
        g = g->next;
    return g;
}

static NRT_STATUS ranks_check(const struct net_job *j, uint32_t id, const uint32_t *ranks,
                              uint32_t n, struct err *err)
{
    bool *seen, ok = true;

    if (id == MSG_GROUP_JOIN || find(j, id) != NULL)
        return err_set(err, NRT_INVALID, "rank %u: a group %u exists already, or cannot be",
                       j->s.cfg.rank, id);
    if (ranks == NULL)
        return NRT_SUCCESS;
    seen = mem_calloc(j->s.cfg.world, sizeof(*seen));
    if (seen == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for a group");
    for (uint32_t i = 0; i < n && ok; i++) {
        ok = ranks[i] < j->s.cfg.world && !seen[ranks[i]];
        if (ok)
            seen[ranks[i]] = true;
    }
    ok = ok && seen[j->s.cfg.rank];
    mem_free(seen);
    if (!ok)
        return err_set(err, NRT_INVALID,
                       "group %u of rank %u names a rank twice, or outside the world of %u, or not "
                       "rank %u itself",
                       id, j->s.cfg.rank, j->s.cfg.world, j->s.cfg.rank);
    return NRT_SUCCESS;
}

static void group_free(struct net_group *g)
{
    mem_free(g->ranks);
    mem_free(g->result);
    mem_free(g->parts);
    mem_free(g);
}

static NRT_STATUS group_make(struct net_job *j, uint32_t id, const uint32_t *ranks, uint32_t n,
                             struct net_group **ret, struct err *err)
{
    struct net_group *g = mem_zalloc(sizeof(*g));

    if (g != NULL) {
        g->j = j;
        g->id = id;
        g->world = ranks == NULL;
        g->n = g->world ? j->s.cfg.world : n;
        g->parts = mem_calloc(g->n, sizeof(*g->parts));
        g->ranks = g->world ? NULL : mem_calloc(g->n, 4);
    }
    if (g == NULL || g->parts == NULL || (!g->world && g->ranks == NULL)) {
        if (g != NULL)
            group_free(g);
        return err_set(err, NRT_RESOURCE, "out of memory for a group");
    }
    for (uint32_t i = 0; !g->world && i < n; i++)
        msg_u32_put(g->ranks + 4 * (size_t)i, ranks[i]);
    g->next = j->groups;
    j->groups = g;
    *ret = g;
    return NRT_SUCCESS;
}

NRT_STATUS net_group_open(struct net_job *j, uint32_t id, const uint32_t *ranks, uint32_t n,
                          struct net_group **ret, struct err *err)
{
    NRT_STATUS st;

    *ret = NULL;
    pthread_mutex_lock(&j->lock);
    st = ranks_check(j, id, ranks, n, err);
    if (st == NRT_SUCCESS)
        st = group_make(j, id, ranks, n, ret, err);
    pthread_mutex_unlock(&j->lock);
    return st;
}

void net_group_close(struct net_group *g)
{
    struct net_job *j = g->j;
    struct net_group **at = &j->groups;

    pthread_mutex_lock(&j->lock);
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    pthread_mutex_unlock(&j->lock);
    group_free(g);
}

void group_free_all(struct net_job *j)
{
    while (j->groups != NULL) {
        struct net_group *g = j->groups;

        j->groups = g->next;
        group_free(g);
    }
}

uint32_t net_group_size(const struct net_group *g)
{
    return g->n;
}

/* --- operations --------------------------------------------------------------------------------
 */

static NRT_STATUS start_check(const struct net_group *g, enum net_op kind, size_t size,
                              struct err *err)
{
    char name[64];

    op_text(name, sizeof(name), kind, g->id, g->seq);
    if (g->busy)
        return err_set(err, NRT_INVALID, "%s: the one before is still under way", name);
    if (kind < NET_OP_BARRIER || kind > NET_OP_GATHER_V)
        return err_set(err, NRT_INVALID, "operation %d is not known", (int)kind);
    if ((kind == NET_OP_BARRIER && size != 0) || size > NET_PART_MAX ||
        (uint64_t)size * g->n > NET_TOTAL_MAX)
        return err_set(err, NRT_INVALID,
                       "%s: %zu bytes of each of %u ranks, at most %u each and %u together", name,
                       size, g->n, NET_PART_MAX, NET_TOTAL_MAX);
    return NRT_SUCCESS;
}

/* At most what a message takes. */
static struct msg_text call_text(const char *call)
{
    struct msg_text t = msg_text_of(call ? call : "");

    if (t.n >= MSG_CALL_MAX)
        t.n = MSG_CALL_MAX - 1;
    return t;
}

static void finish(struct net_group *g)
{
    g->busy = false;
    g->seq++;
}

/* What a member needs when the result comes: it has that before it enters. With the job's lock, and
 * no message of the root in hand (conn_reserve_in). The result may move, also where the connection
 * then lacks memory: the parts of the last operation end here. */
static bool result_reserve(struct net_group *g, size_t bytes)
{
    memset(g->parts, 0, g->n * sizeof(*g->parts));
    return mem_grow((void **)&g->result, &g->result_cap, bytes, 1) &&
           conn_reserve_in(&g->j->m.c, MSG_RESULT_HEAD + 4 * (size_t)g->n + bytes);
}

static NRT_STATUS enter_locked(struct net_group *g, enum net_op kind, const void *data, size_t size,
                               const struct net_op_terms *terms, struct err *err)
{
    struct net_job *j = g->j;
    struct msg m = {.type = MSG_OP,
                    .u.op = {.group = g->id,
                             .seq = g->seq,
                             .kind = (uint8_t)kind,
                             .leaves = terms->leaves,
                             .limit_ms = terms->limit_ms,
                             .call = call_text(terms->call),
                             .n = g->world ? 0 : g->n,
                             .ranks = {.p = g->ranks, .n = g->world ? 0 : 4 * g->n},
                             .part = {.p = data, .n = (uint32_t)size}}};
    struct frame *f;
    NRT_STATUS st;

    if (j->failure.status != NRT_SUCCESS)
        return err_set(err, j->failure.status, "%s", j->failure.text);
    if (!j->running)
        return err_set(err, NRT_INVALID, "rank %u: not everybody has joined yet", j->s.cfg.rank);
    st = start_check(g, kind, size, err);
    if (st != NRT_SUCCESS)
        return st;
    f = terms->result_max > 0 && !result_reserve(g, terms->result_max) ? NULL
                                                                       : msg_build(&m, NULL, NULL);
    if (f == NULL || !member_offer(j, f))
        return err_set(err, NRT_RESOURCE, "out of memory for an operation of group %u", g->id);
    g->busy = true;
    g->kind = kind;
    g->start = setup_now(&j->s);
    g->next_line = g->start + j->s.cfg.retry_ms * NSEC_PER_MS;
    memset(&g->failure, 0, sizeof(g->failure));
    memset(&g->waiting, 0, sizeof(g->waiting));
    if (terms->leaves) /* how it ends is not addressed to this member any more */
        finish(g);
    return NRT_SUCCESS;
}

NRT_STATUS net_op_enter(struct net_group *g, enum net_op kind, const void *data, size_t size,
                        const struct net_op_terms *terms, struct err *err)
{
    NRT_STATUS st;

    pthread_mutex_lock(&g->j->lock);
    st = enter_locked(g, kind, data, size, terms, err);
    pthread_mutex_unlock(&g->j->lock);
    return st;
}

NRT_STATUS net_op_start(struct net_group *g, enum net_op kind, const void *data, size_t size,
                        struct err *err)
{
    const struct net_op_terms none = {0};

    return net_op_enter(g, kind, data, size, &none, err);
}

void net_op_skip(struct net_group *g)
{
    pthread_mutex_lock(&g->j->lock);
    g->seq++;
    pthread_mutex_unlock(&g->j->lock);
}

/* The group and operation that a message is about; NULL: the root speaks of what is not. */
static struct net_group *addressed(struct net_job *j, uint32_t id, uint32_t seq)
{
    struct net_group *g = find(j, id);

    return g != NULL && g->busy && g->seq == seq ? g : NULL;
}

void group_result(struct net_job *j, const struct msg_result *m)
{
    struct net_group *g = addressed(j, m->group, m->seq);
    uint8_t *p;

    if (g == NULL) /* closed since, or left */
        return;
    if (m->n != g->n) {
        job_fail(j, false, NRT_FAILURE, 0, "rank 0 sent %u parts to group %u of %u ranks", m->n,
                 g->id, g->n);
        return;
    }
    if (!mem_grow((void **)&g->result, &g->result_cap, m->parts.n > 0 ? m->parts.n : 1, 1)) {
        err_set(&g->failure, NRT_RESOURCE, "out of memory for %u bytes of a result", m->parts.n);
        finish(g);
        return;
    }
    p = g->result;
    if (m->parts.n > 0)
        memcpy(p, m->parts.p, m->parts.n);
    for (uint32_t i = 0; i < g->n; i++) {
        g->parts[i] = (struct msg_bytes){.p = p, .n = msg_u32_at(&m->sizes, i)};
        p += g->parts[i].n;
    }
    finish(g);
}

void group_failed(struct net_job *j, const struct msg_fail *m)
{
    struct net_group *g = addressed(j, m->group, m->seq);
    char text[MSG_TEXT_MAX];

    if (g == NULL)
        return;
    msg_text_copy(text, sizeof(text), &m->text);
    err_set(&g->failure, wire_status(m->status), "%s", text);
    LOGE(j->s.cfg.log, LOG_NRT, "net_job", "%s", g->failure.text);
    finish(g);
}

void group_waiting(struct net_job *j, const struct msg_waiting *m)
{
    struct net_group *g = addressed(j, m->group, m->seq);
    struct waiting *w;

    if (g == NULL)
        return;
    w = &g->waiting;
    w->when = setup_now(&j->s);
    w->missing = m->missing;
    w->n = m->n;
    for (uint32_t i = 0; i < m->n; i++)
        w->ranks[i] = msg_u32_at(&m->ranks, i);
}

/* Who keeps an operation waiting, as the root said, unless the root itself has gone quiet. */
static void who_is_missing(const struct net_group *g, uint64_t now, char *buf, size_t size)
{
    const struct waiting *w = &g->waiting;
    uint64_t quiet = 5 * g->j->s.cfg.report_ms * NSEC_PER_MS + 1000 * NSEC_PER_MS;
    uint64_t heard = w->when != 0 ? w->when : g->start;

    char list[160];

    ranks_text(list, sizeof(list), w->ranks, w->n, w->missing);
    if (now - heard > quiet)
        snprintf(buf, size, "rank 0 does not answer");
    else if (w->when == 0)
        snprintf(buf, size, "not entered by all ranks");
    else
        snprintf(buf, size, "not entered by ranks %s", list);
}

void group_tick(struct net_job *j, uint64_t now)
{
    for (struct net_group *g = j->groups; g != NULL; g = g->next) {
        char name[64], who[200];

        if (!g->busy || now < g->next_line || j->failure.status != NRT_SUCCESS)
            continue;
        g->next_line = now + j->s.cfg.retry_ms * NSEC_PER_MS;
        op_text(name, sizeof(name), g->kind, g->id, g->seq);
        who_is_missing(g, now, who, sizeof(who));
        LOGW(j->s.cfg.log, LOG_NRT, "net_job",
             "Timeout waiting for RX (waited %u sec) - retrying (rank %u, %s: %s)",
             (unsigned)(j->s.cfg.retry_ms / 1000), j->s.cfg.rank, name, who);
    }
}

static bool op_over(void *arg)
{
    const struct net_group *g = arg;

    return !g->busy || g->j->failure.status != NRT_SUCCESS;
}

static NRT_STATUS test_locked(struct net_group *g, bool *ret_done, struct err *err)
{
    const struct net_job *j = g->j;

    *ret_done = !g->busy;
    if (!g->busy && g->failure.status != NRT_SUCCESS)
        return err_set(err, g->failure.status, "%s", g->failure.text);
    if (g->busy && j->failure.status != NRT_SUCCESS)
        return err_set(err, j->failure.status, "%s", j->failure.text);
    return NRT_SUCCESS;
}

NRT_STATUS net_op_test(struct net_group *g, bool *ret_done, struct err *err)
{
    NRT_STATUS st;

    pthread_mutex_lock(&g->j->lock);
    st = test_locked(g, ret_done, err);
    pthread_mutex_unlock(&g->j->lock);
    return st;
}

static NRT_STATUS timed_out(const struct net_group *g, struct err *err)
{
    uint64_t now = setup_now(&g->j->s);
    char name[64], who[200];

    op_text(name, sizeof(name), g->kind, g->id, g->seq);
    who_is_missing(g, now, who, sizeof(who));
    LOGE(g->j->s.cfg.log, LOG_NRT, "net_job", "rank %u waited %llu ms in %s: %s", g->j->s.cfg.rank,
         (unsigned long long)((now - g->start) / NSEC_PER_MS), name, who);
    return err_set(err, NRT_TIMEOUT, "rank %u waited %llu ms in %s: %s", g->j->s.cfg.rank,
                   (unsigned long long)((now - g->start) / NSEC_PER_MS), name, who);
}

NRT_STATUS net_op_wait(struct net_group *g, uint64_t limit_ns, struct err *err)
{
    struct net_job *j = g->j;
    bool done;
    NRT_STATUS st;

    pthread_mutex_lock(&j->lock);
    job_wait_locked(j, op_over, g, limit_ns);
    st = test_locked(g, &done, err);
    if (st == NRT_SUCCESS && !done)
        st = timed_out(g, err);
    pthread_mutex_unlock(&j->lock);
    return st;
}

const void *net_op_part(const struct net_group *g, uint32_t i, size_t *ret_size)
{
    *ret_size = i < g->n ? g->parts[i].n : 0;
    return i < g->n ? g->parts[i].p : NULL;
}
