/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"
#include "topo/group.h"

struct message {
    uint64_t *at;
    uint64_t count;
};

struct queue {
    struct message *m;
    uint32_t n, cap, done;
};

struct cursor {
    struct sched_iter *it;
    const struct sched_step *step;
};

struct sim {
    const struct sched *s;
    uint32_t n, channels, tensors;
    uint64_t rng;
    uint64_t **in, **out;       /* [n * tensors] */
    uint64_t *in_len, *out_len; /* [tensors] */
    uint64_t **slot, **temp;    /* [n * channels] */
    uint64_t **line;            /* [n * n] */
    uint64_t *line_put;         /* [n * n]: PUT steps and elements of this operation */
    uint32_t *counter, *base;   /* [to][from][sem][channel] */
    uint32_t *account;
    struct queue *sends, *recvs; /* [from][to][channel] */
    struct cursor *cursors;
    bool alias_in_out;
    char text[256];
};

uint64_t sim_in(uint64_t salt, uint32_t r, uint32_t t, uint64_t i)
{
    return draw_mix(salt ^ draw_mix(((uint64_t)r << 40) ^ ((uint64_t)t << 32) ^ i));
}

static void *zalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);

    if (!p)
        abort();
    return p;
}

static uint64_t *garbage(uint64_t elems)
{
    uint64_t *p = zalloc(elems, sizeof(*p));

    memset(p, 0xa5, elems * sizeof(*p));
    return p;
}

static bool is_variable(const struct sched *s)
{
    return sched_op_varies(sched_request_of(s)->op);
}

struct sim *sim_new(const struct sched *s, uint64_t seed)
{
    struct sim *sim = zalloc(1, sizeof(*sim));
    uint32_t n = sched_ranks(s), c = sched_channels(s);
    bool in_place = sched_request_of(s)->in_place;
    enum sched_op op = sched_request_of(s)->op;

    *sim = (struct sim){.s = s, .n = n, .channels = c, .rng = seed};
    sim->tensors = is_variable(s) ? 1 : sched_request_of(s)->tensors;
    sim->in = zalloc((size_t)n * sim->tensors, sizeof(*sim->in));
    sim->out = zalloc((size_t)n * sim->tensors, sizeof(*sim->out));
    sim->in_len = zalloc(sim->tensors, sizeof(*sim->in_len));
    sim->out_len = zalloc(sim->tensors, sizeof(*sim->out_len));
    for (uint32_t t = 0; t < sim->tensors; t++) {
        sim->in_len[t] = sched_tensor_elems(s, SCHED_IN, 0, t);
        sim->out_len[t] = sched_tensor_elems(s, SCHED_OUT, 0, t);
        for (uint32_t r = 0; r < n; r++) {
            size_t at = (size_t)r * sim->tensors + t;

            if (!in_place) {
                sim->in[at] = garbage(sim->in_len[t]);
                sim->out[at] = garbage(sim->out_len[t]);
            } else if (op == SCHED_ALL_GATHER) {
                sim->out[at] = garbage(sim->out_len[t]);
                sim->in[at] = sim->out[at] + r * sim->in_len[t];
            } else {
                sim->in[at] = garbage(sim->in_len[t]);
                sim->out[at] = sim->in[at] + (op == SCHED_REDUCE_SCATTER ? r * sim->out_len[t] : 0);
            }
        }
    }
    sim->slot = zalloc((size_t)n * c, sizeof(*sim->slot));
    sim->temp = zalloc((size_t)n * c, sizeof(*sim->temp));
    for (uint32_t i = 0; i < n * c; i++) {
        sim->slot[i] = garbage(sched_buffer_elems(s, SCHED_SLOT, i / c, i % c));
        sim->temp[i] = garbage(sched_buffer_elems(s, SCHED_TEMP, i / c, i % c));
    }
    sim->line = zalloc((size_t)n * n, sizeof(*sim->line));
    sim->line_put = zalloc((size_t)n * n * 2, sizeof(*sim->line_put));
    for (uint32_t i = 0; i < n * n; i++)
        sim->line[i] = garbage(sched_buffer_elems(s, SCHED_LINE, 0, 0));
    sim->counter = zalloc((size_t)n * n * SCHED_SEM_COUNT * c, sizeof(uint32_t));
    sim->base = zalloc((size_t)n * n * SCHED_SEM_COUNT * c, sizeof(uint32_t));
    sim->account = zalloc((size_t)n * n * SCHED_SEM_COUNT * c, sizeof(uint32_t));
    sim->sends = zalloc((size_t)n * n * c, sizeof(*sim->sends));
    sim->recvs = zalloc((size_t)n * n * c, sizeof(*sim->recvs));
    sim->cursors = zalloc((size_t)n * c, sizeof(*sim->cursors));
    for (uint32_t i = 0; i < n * c; i++)
        if (sched_iter_create(s, i / c, i % c, &sim->cursors[i].it))
            abort();
    return sim;
}

void sim_free(struct sim *sim)
{
    bool in_place = sched_request_of(sim->s)->in_place;
    bool gather = sched_request_of(sim->s)->op == SCHED_ALL_GATHER;

    for (uint32_t i = 0; i < sim->n * sim->tensors; i++) {
        if (!in_place || !gather)
            free(sim->in[i]);
        if (!in_place || gather)
            free(sim->out[i]);
    }
    for (uint32_t i = 0; i < sim->n * sim->channels; i++) {
        free(sim->slot[i]);
        free(sim->temp[i]);
        sched_iter_destroy(sim->cursors[i].it);
    }
    for (uint32_t i = 0; i < sim->n * sim->n; i++)
        free(sim->line[i]);
    for (uint32_t i = 0; i < sim->n * sim->n * sim->channels; i++) {
        free(sim->sends[i].m);
        free(sim->recvs[i].m);
    }
    free(sim->in);
    free(sim->out);
    free(sim->in_len);
    free(sim->out_len);
    free(sim->slot);
    free(sim->temp);
    free(sim->line);
    free(sim->line_put);
    free(sim->counter);
    free(sim->base);
    free(sim->account);
    free(sim->sends);
    free(sim->recvs);
    free(sim->cursors);
    free(sim);
}

static bool wrong(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(struct sim *sim, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (!sim->text[0])
        vsnprintf(sim->text, sizeof(sim->text), fmt, ap);
    va_end(ap);
    return false;
}

static size_t counter_at(const struct sim *sim, uint32_t to, uint32_t from, unsigned sem,
                         uint32_t c)
{
    return (((size_t)to * sim->n + from) * SCHED_SEM_COUNT + sem) * sim->channels + c;
}

/* The memory of a reference, count elements for each of repeat repetitions; NULL: out of bounds. */
static uint64_t *memory(struct sim *sim, const struct sched_ref *ref, uint32_t c, uint64_t count,
                        uint32_t repeat)
{
    uint64_t *base = NULL, len = 0;
    int64_t last = (int64_t)ref->off + ref->stride * (int64_t)(repeat - 1);
    uint64_t low = (int64_t)ref->off < last ? ref->off : (uint64_t)last;
    uint64_t high = (int64_t)ref->off < last ? (uint64_t)last : ref->off;

    if (ref->rank < sim->n)
        switch (ref->buf) {
        case SCHED_IN:
        case SCHED_OUT:
            if (ref->tensor < sim->tensors) {
                bool in = ref->buf == SCHED_IN;

                base = (in ? sim->in : sim->out)[(size_t)ref->rank * sim->tensors + ref->tensor];
                len = (in ? sim->in_len : sim->out_len)[ref->tensor];
            }
            break;
        case SCHED_SLOT:
        case SCHED_TEMP:
            base = (ref->buf == SCHED_SLOT ? sim->slot
                                           : sim->temp)[(size_t)ref->rank * sim->channels + c];
            len = sched_buffer_elems(sim->s, ref->buf, ref->rank, c);
            break;
        default:
            if (ref->tensor < sim->n) {
                base = sim->line[(size_t)ref->rank * sim->n + ref->tensor];
                len = sched_buffer_elems(sim->s, SCHED_LINE, 0, 0);
            }
        }
    if (last < 0 || low > len || count > len || high > len - count) {
        wrong(sim, "%s of rank %u: [%llu, +%llu) x %u is outside %llu elements",
              sched_buf_name(ref->buf), ref->rank, (unsigned long long)low,
              (unsigned long long)count, repeat, (unsigned long long)len);
        return NULL;
    }
    return base ? base + ref->off : NULL;
}

static bool move(struct sim *sim, const struct sched_step *step, uint32_t c)
{
    uint64_t *src[SCHED_REFS_MAX], *dst[SCHED_REFS_MAX];

    if (step->count == 0)
        return true;
    for (unsigned i = 0; i < step->nsrc; i++)
        if (!(src[i] = memory(sim, &step->src[i], c, step->count, step->repeat)))
            return wrong(sim, "no memory");
    for (unsigned i = 0; i < step->ndst; i++)
        if (!(dst[i] = memory(sim, &step->dst[i], c, step->count, step->repeat)))
            return wrong(sim, "no memory");
    for (uint32_t k = 0; k < step->repeat; k++)
        for (uint64_t e = 0; e < step->count; e++) {
            uint64_t sum = 0;

            for (unsigned i = 0; i < step->nsrc; i++)
                sum += src[i][step->src[i].stride * (int64_t)k + (int64_t)e];
            for (unsigned i = 0; i < step->ndst; i++)
                dst[i][step->dst[i].stride * (int64_t)k + (int64_t)e] = sum;
        }
    return true;
}

/* Match posted sends and receives in order. */
static bool deliver(struct sim *sim, uint32_t from, uint32_t to, uint32_t c)
{
    size_t at = ((size_t)from * sim->n + to) * sim->channels + c;
    struct queue *s = &sim->sends[at], *r = &sim->recvs[at];

    while (s->done < s->n && r->done < r->n) {
        struct message *a = &s->m[s->done++], *b = &r->m[r->done++];

        if (a->count != b->count)
            return wrong(sim, "rank %u sends %llu elements, rank %u posted %llu", from,
                         (unsigned long long)a->count, to, (unsigned long long)b->count);
        if (a->count)
            memcpy(b->at, a->at, a->count * sizeof(*a->at));
        sim->counter[counter_at(sim, from, to, SCHED_SEM_SENT, c)]++;
        sim->counter[counter_at(sim, to, from, SCHED_SEM_ARRIVED, c)]++;
    }
    return true;
}

static bool post(struct sim *sim, const struct sched_step *step, uint32_t me, uint32_t c)
{
    bool send = step->kind == SCHED_NET_SEND;
    uint32_t from = send ? me : step->peer, to = send ? step->peer : me;
    struct queue *q =
        &(send ? sim->sends : sim->recvs)[((size_t)from * sim->n + to) * sim->channels + c];
    const struct topo_group *g = sched_request_of(sim->s)->group;
    struct message m = {NULL, step->count};

    if (g->node[from] == g->node[to])
        return wrong(sim, "rank %u and %u are on one node", from, to);
    if (step->count &&
        !(m.at = memory(sim, send ? &step->src[0] : &step->dst[0], c, step->count, 1)))
        return wrong(sim, "no memory");
    if (q->n == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 8;
        q->m = realloc(q->m, q->cap * sizeof(*q->m));
    }
    q->m[q->n++] = m;
    return deliver(sim, from, to, c);
}

static bool near_only(struct sim *sim, const struct sched_step *step, uint32_t me)
{
    const struct topo_group *g = sched_request_of(sim->s)->group;

    for (unsigned i = 0; i < step->nsrc; i++)
        if (g->node[step->src[i].rank] != g->node[me])
            return wrong(sim, "rank %u reads memory of another node", me);
    for (unsigned i = 0; i < step->ndst; i++)
        if (g->node[step->dst[i].rank] != g->node[me])
            return wrong(sim, "rank %u writes memory of another node", me);
    return true;
}

/* 1: done, 0: waits, -1: wrong. */
static int execute(struct sim *sim, const struct sched_step *step, uint32_t me, uint32_t c)
{
    size_t at = counter_at(sim, me, step->peer, step->sem, c), line;

    if (!near_only(sim, step, me))
        return -1;
    switch (step->kind) {
    case SCHED_WAIT:
        if ((int32_t)(sim->counter[at] - sim->base[at] - step->value) < 0)
            return 0;
        if (step->value > sim->account[at])
            sim->account[at] = step->value;
        return 1;
    case SCHED_EXPECT:
        if (step->value > sim->account[at])
            sim->account[at] = step->value;
        return 1;
    case SCHED_SIGNAL:
        sim->counter[counter_at(sim, step->peer, me, step->sem, c)]++;
        return 1;
    case SCHED_PUT:
        line = ((size_t)step->peer * sim->n + me) * 2;
        if (!move(sim, step, c))
            return -1;
        sim->line_put[line]++;
        sim->line_put[line + 1] += step->count;
        return 1;
    case SCHED_TAKE:
        line = ((size_t)me * sim->n + step->peer) * 2;
        return sim->line_put[line] > 0 && sim->line_put[line + 1] >= step->count;
    case SCHED_NET_SEND:
    case SCHED_NET_RECV:
        return post(sim, step, me, c) ? 1 : -1;
    default:
        return move(sim, step, c) ? 1 : -1;
    }
}

static void operation_begin(struct sim *sim, uint64_t salt)
{
    for (uint32_t r = 0; r < sim->n; r++)
        for (uint32_t t = 0; t < sim->tensors; t++)
            for (uint64_t i = 0; i < sim->in_len[t]; i++)
                sim->in[(size_t)r * sim->tensors + t][i] = sim_in(salt, r, t, i);
    for (uint32_t i = 0; i < sim->n * sim->channels; i++) {
        sched_iter_rewind(sim->cursors[i].it);
        sim->cursors[i].step = sched_iter_next(sim->cursors[i].it);
    }
    memset(sim->line_put, 0, (size_t)sim->n * sim->n * 2 * sizeof(*sim->line_put));
    memset(sim->account, 0,
           (size_t)sim->n * sim->n * SCHED_SEM_COUNT * sim->channels * sizeof(*sim->account));
}

static const char *operation_end(struct sim *sim)
{
    size_t counters = (size_t)sim->n * sim->n * SCHED_SEM_COUNT * sim->channels;

    for (size_t i = 0; i < counters; i++) {
        if (sim->counter[i] - sim->base[i] != sim->account[i]) {
            wrong(sim, "counter %s at rank %zu from %zu: %u signals, %u accounted for",
                  sched_sem_name((enum sched_sem)(i / sim->channels % SCHED_SEM_COUNT)),
                  i / sim->channels / SCHED_SEM_COUNT / sim->n,
                  i / sim->channels / SCHED_SEM_COUNT % sim->n, sim->counter[i] - sim->base[i],
                  sim->account[i]);
            return sim->text;
        }
        sim->base[i] = sim->counter[i];
    }
    return NULL;
}

const char *sim_run(struct sim *sim, uint64_t salt)
{
    uint32_t count = sim->n * sim->channels, live = count, stuck = 0;

    sim->text[0] = 0;
    operation_begin(sim, salt);
    while (live > 0) {
        uint32_t i = (uint32_t)((sim->rng = draw_mix(sim->rng)) % count), tried = 0;

        /* from a random cursor on, the first that can move; a few steps of it */
        for (live = 0; tried < count; tried++, i = (i + 1) % count) {
            struct cursor *cur = &sim->cursors[i];
            int did = 0;

            for (uint32_t k = (uint32_t)(sim->rng >> 40) % 5 + 1; k > 0 && cur->step; k--) {
                did = execute(sim, cur->step, i / sim->channels, i % sim->channels);
                if (did < 0)
                    return sim->text;
                if (did == 0)
                    break;
                cur->step = sched_iter_next(cur->it);
                stuck = 0;
            }
            live += cur->step != NULL;
            if (did > 0 && cur->step)
                break;
        }
        if (live > 0 && ++stuck > 2) {
            for (i = 0; i < count; i++)
                if (sim->cursors[i].step)
                    wrong(sim, "deadlock: rank %u waits for %s from %u, value %u (%s)",
                          i / sim->channels, sched_sem_name(sim->cursors[i].step->sem),
                          sim->cursors[i].step->peer, sim->cursors[i].step->value,
                          sched_phase_name(sim->s, sim->cursors[i].step->phase));
            return sim->text;
        }
    }
    return operation_end(sim);
}

uint64_t sim_out(const struct sim *sim, uint32_t r, uint32_t t, uint64_t i)
{
    return sim->out[(size_t)r * sim->tensors + t][i];
}
