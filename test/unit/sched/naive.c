/* SPDX-License-Identifier: Apache-2.0 */
#include "naive_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topo/group.h"

#define SIGNALS  20000
#define MESSAGES 2000

static struct naive_value cell[NAIVE_CELLS];

static struct signal {
    uint32_t to, from, channel, sem, node;
} signal_sent[SIGNALS];
static unsigned signals;

static struct message {
    uint32_t from, to, channel, operation;
    uint32_t reads, writes; /* nodes, when both sides are there */
    uint64_t send_at, send_count, recv_at, recv_count;
    uint32_t send_node, recv_node;
    bool sent, posted, moved;
} message[MESSAGES];
static unsigned messages;

static struct put {
    uint32_t to, from, channel, operation, node;
    uint64_t off, count;
    bool taken;
} put[SIGNALS];
static unsigned put_count;

static struct lane { /* a rank's channel */
    const struct sched_step *step;
    uint32_t last; /* node */
    size_t index;  /* of the step */
    bool ended;
} lane[1024];

static struct base { /* what earlier operations added to a counter */
    uint32_t to, from, channel, sem;
    int64_t base, most, expect;
    bool expects;
} base[SIGNALS];
static unsigned bases;

static const struct sched_request *req;
static const struct sched_check_source *source;
static uint32_t ranks, channels, runs, at[256], tensor_cell[256][SCHED_TENSORS_MAX][2];
static uint64_t extra[256 * 4][3]; /* first cell of slot, temp; elements of a line */
static uint32_t line_cell[256][256], slot_cell[1024], temp_cell[1024];
static unsigned cells;
static char wrong[200];
static struct { /* the step that is looked at */
    const struct lane *lane;
    size_t index;
    bool now, changes;
} watch;

bool naive_bad(const char *what, uint32_t a, uint32_t b)
{
    if (!wrong[0])
        snprintf(wrong, sizeof(wrong), "%s (%u, %u)", what, a, b);
    return false;
}

/* ---- where things lie ---- */

static bool variable(void)
{
    return sched_op_varies(req->op);
}

static uint64_t elems(unsigned buf, uint32_t t)
{
    if (variable())
        return buf == SCHED_IN ? req->in_elems : req->out_elems;

    bool wide = (req->op == SCHED_ALL_GATHER && buf == SCHED_OUT) ||
                (req->op == SCHED_REDUCE_SCATTER && buf == SCHED_IN);

    return req->counts[t] * (wide ? ranks : 1);
}

static uint32_t tensor_at(unsigned buf, uint32_t r, uint32_t t)
{
    uint32_t c = (uint32_t)req->counts[t];

    if (!req->in_place)
        return tensor_cell[r][t][buf];
    if ((req->op == SCHED_ALL_GATHER && buf == SCHED_IN) ||
        (req->op == SCHED_REDUCE_SCATTER && buf == SCHED_OUT))
        return tensor_cell[r][t][0] + c * r;
    return tensor_cell[r][t][0];
}

static void layout(void)
{
    cells = 0;
    for (uint32_t r = 0; r < ranks; r++) {
        for (uint32_t t = 0; t < req->tensors; t++) {
            uint64_t in = elems(SCHED_IN, t), out = elems(SCHED_OUT, t);

            tensor_cell[r][t][0] = cells;
            cells += (unsigned)(req->in_place && out > in ? out : in);
            tensor_cell[r][t][1] = cells;
            cells += req->in_place ? 0 : (unsigned)out;
        }
        for (uint32_t ch = 0; ch < channels; ch++) {
            uint32_t k = r * channels + ch;

            for (int b = 0; b < 3; b++)
                extra[k][b] =
                    source->buffer_elems(source->ctx, (enum sched_buf)(SCHED_SLOT + b), r, ch);
            slot_cell[k] = cells;
            cells += (unsigned)extra[k][0];
            temp_cell[k] = cells;
            cells += (unsigned)extra[k][1];
        }
        for (uint32_t w = 0; w < ranks; w++) { /* two sets, all channels */
            line_cell[r][w] = cells;
            cells += (unsigned)(2 * channels * extra[r * channels][2]);
        }
    }
    if (cells >= NAIVE_CELLS)
        abort();
    memset(cell, 0, sizeof(cell));
    naive_graph_clear();
}

/* First cell of a place at repetition i; false: outside. */
static bool find(const struct sched_ref *ref, uint32_t r, uint32_t ch, uint64_t count, uint32_t i,
                 uint32_t *ret)
{
    uint32_t k = ref->rank * channels + ch;
    int64_t off = (int64_t)ref->off + ref->stride * (int64_t)i, limit;

    if (ref->rank >= ranks)
        return naive_bad("rank", ref->rank, 0);
    if (source->node && source->node(source->ctx, ref->rank) != source->node(source->ctx, r))
        return naive_bad("other node", r, ref->rank);
    if (count == 0) {
        *ret = 0;
        return true;
    }
    if (ref->buf <= SCHED_OUT) {
        if (ref->tensor >= req->tensors)
            return naive_bad("tensor", ref->tensor, 0);
        limit = (int64_t)elems(ref->buf, ref->tensor);
        *ret = tensor_at(ref->buf, ref->rank, ref->tensor);
    } else if (ref->buf == SCHED_LINE) {
        if (ref->tensor >= ranks)
            return naive_bad("line", ref->tensor, 0);
        limit = (int64_t)extra[k][2];
        *ret =
            line_cell[ref->rank][ref->tensor] + (uint32_t)(limit * (2 * (int64_t)ch + (at[r] & 1)));
    } else {
        limit = (int64_t)extra[k][ref->buf - SCHED_SLOT];
        *ret = ref->buf == SCHED_SLOT ? slot_cell[k] : temp_cell[k];
    }
    if (off < 0 || off + (int64_t)count > limit)
        return naive_bad("outside a buffer", ref->rank, ref->buf);
    *ret += (uint32_t)off;
    return true;
}

/* ---- steps ---- */

static bool move_once(const struct sched_step *st, uint32_t r, uint32_t ch, uint32_t node,
                      uint32_t i)
{
    uint32_t src[SCHED_REFS_MAX], dst[SCHED_REFS_MAX];

    for (unsigned k = 0; k < st->nsrc; k++)
        if (!find(&st->src[k], r, ch, st->count, i, &src[k]))
            return false;
    for (unsigned k = 0; k < st->ndst; k++)
        if (!find(&st->dst[k], r, ch, st->count, i, &dst[k]))
            return false;
    for (unsigned k = 0; st->count && k < st->ndst; k++) {
        for (unsigned j = 0; j < k; j++)
            if (dst[j] < dst[k] + st->count && dst[k] < dst[j] + st->count)
                return naive_bad("destinations overlap", r, k);
        for (unsigned j = 0; j < st->nsrc; j++)
            if (src[j] != dst[k] && src[j] < dst[k] + st->count && dst[k] < src[j] + st->count)
                return naive_bad("a destination overlaps a source", r, k);
    }
    for (uint32_t e = 0; e < st->count; e++) {
        struct naive_value v = {0};

        for (unsigned k = 0; k < st->nsrc; k++) {
            struct naive_value x = cell[src[k] + e];

            if (!naive_touch(src[k] + e, node, false))
                return false;
            if (!x.set)
                return naive_bad("reads what nobody wrote", r, k);
            v.sum += x.sum;
            v.order = k ? naive_mix(v.order, x.order) : x.order;
        }
        v.set = true;
        for (unsigned k = 0; k < st->ndst; k++) {
            if (!naive_touch(dst[k] + e, node, true))
                return false;
            if (watch.now && (cell[dst[k] + e].order != v.order || !cell[dst[k] + e].set))
                watch.changes = true;
            cell[dst[k] + e] = v;
        }
    }
    return true;
}

static void signal_send(uint32_t to, uint32_t from, uint32_t ch, uint32_t sem, uint32_t node)
{
    if (signals == SIGNALS)
        abort();
    signal_sent[signals++] = (struct signal){to, from, ch, sem, node};
}

static struct base *base_of(uint32_t to, uint32_t from, uint32_t ch, uint32_t sem)
{
    for (unsigned i = 0; i < bases; i++)
        if (base[i].to == to && base[i].from == from && base[i].channel == ch && base[i].sem == sem)
            return &base[i];
    if (bases == SIGNALS)
        abort();
    base[bases] = (struct base){.to = to, .from = from, .channel = ch, .sem = sem};
    return &base[bases++];
}

/* Signals of a counter so far; the first `number` of them lead to `node` (UINT32_MAX: none do). */
static int64_t signals_follow(const struct base *b, int64_t number, uint32_t node)
{
    int64_t n = 0;

    for (unsigned i = 0; i < signals; i++) {
        const struct signal *s = &signal_sent[i];

        if (s->to == b->to && s->from == b->from && s->channel == b->channel && s->sem == b->sem &&
            ++n <= number && node != UINT32_MAX)
            naive_edge(s->node, node);
    }
    return n;
}

static bool message_move(struct message *m)
{
    if (m->send_count != m->recv_count)
        return naive_bad("sizes of a message", m->from, m->to);
    m->reads = naive_node_new(m->send_node);
    m->writes = naive_node_new(m->reads);
    naive_edge(m->recv_node, m->writes);
    for (uint32_t e = 0; e < m->send_count; e++) {
        struct naive_value v = cell[m->send_at + e];

        if (!naive_touch((uint32_t)m->send_at + e, m->reads, false))
            return false;
        if (!v.set)
            return naive_bad("sends what nobody wrote", m->from, m->to);
        if (!naive_touch((uint32_t)m->recv_at + e, m->writes, true))
            return false;
        cell[m->recv_at + e] = v;
    }
    m->moved = true;
    signal_send(m->from, m->to, m->channel, SCHED_SEM_SENT, m->reads);
    signal_send(m->to, m->from, m->channel, SCHED_SEM_ARRIVED, m->writes);
    return true;
}

static bool net(const struct sched_step *st, uint32_t r, uint32_t ch, uint32_t node)
{
    bool send = st->kind == SCHED_NET_SEND;
    uint32_t from = send ? r : st->peer, to = send ? st->peer : r, c;
    struct message *m = NULL;

    if (st->peer >= ranks)
        return naive_bad("peer", r, st->peer);
    if ((send ? st->src[0].rank : st->dst[0].rank) != r)
        return naive_bad("memory of another rank", r, 0);
    if (!find(send ? &st->src[0] : &st->dst[0], r, ch, st->count, 0, &c))
        return false;
    for (unsigned i = 0; i < messages && !m; i++)
        if (message[i].from == from && message[i].to == to && message[i].channel == ch &&
            !(send ? message[i].sent : message[i].posted))
            m = &message[i];
    if (!m) {
        if (messages == MESSAGES)
            abort();
        m = &message[messages++];
        *m = (struct message){.from = from, .to = to, .channel = ch, .operation = at[r]};
    } else if (m->operation != at[r]) {
        return naive_bad("a message of another operation", from, to);
    }
    if (send) {
        m->sent = true;
        m->send_at = c;
        m->send_count = st->count;
        m->send_node = node;
    } else {
        m->posted = true;
        m->recv_at = c;
        m->recv_count = st->count;
        m->recv_node = node;
    }
    return !m->sent || !m->posted || message_move(m);
}

/* Elements of a line that this operation's PUTs have brought. */
static bool take(const struct sched_step *st, uint32_t r, uint32_t ch, uint32_t node,
                 bool *ret_waits)
{
    uint64_t have = 0;

    for (int pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < put_count; i++) {
            struct put *p = &put[i];
            uint64_t lo = st->src[0].off, hi = lo + st->count;

            if (p->to != r || p->from != st->peer || p->channel != ch || p->operation != at[r])
                continue;
            if (st->count == 0 || p->count == 0 ? p->off != lo || p->count != st->count
                                                : p->off >= hi || p->off + p->count <= lo)
                continue;
            if (st->count && (p->off < lo || p->off + p->count > hi))
                return naive_bad("takes a part of what was put", r, st->peer);
            if (pass) {
                naive_edge(p->node, node);
                p->taken = true;
                continue;
            }
            lo = p->off > lo ? p->off : lo;
            hi = p->off + p->count < hi ? p->off + p->count : hi;
            have += st->count ? hi - lo : 1;
        }
        if (have < (st->count ? st->count : 1)) {
            *ret_waits = true;
            return true;
        }
    }
    return move_once(st, r, ch, node, 0);
}

static bool lines_right(const struct sched_step *st, uint32_t r)
{
    for (unsigned k = 0; k < st->ndst; k++)
        if (st->dst[k].buf == SCHED_LINE && st->kind != SCHED_PUT)
            return naive_bad("a line is written", r, k);
    for (unsigned k = 0; k < st->nsrc; k++)
        if (st->src[k].buf == SCHED_LINE && st->src[k].rank != r)
            return naive_bad("a line of another is read", r, k);
    return true;
}

static bool put_note(const struct sched_step *st, uint32_t r, uint32_t ch, uint32_t node)
{
    const struct sched_ref *d = &st->dst[0];

    if (d->buf != SCHED_LINE || d->rank != st->peer || d->tensor != r)
        return naive_bad("put elsewhere", r, st->peer);
    for (unsigned i = 0; i < put_count; i++)
        if (put[i].to == d->rank && put[i].from == r && put[i].channel == ch &&
            put[i].operation == at[r] &&
            (st->count == 0 || put[i].count == 0
                 ? put[i].off == d->off && put[i].count == st->count
                 : put[i].off < d->off + st->count && d->off < put[i].off + put[i].count))
            return naive_bad("put twice", r, d->rank);
    if (put_count == SIGNALS)
        abort();
    put[put_count++] = (struct put){d->rank, r, ch, at[r], node, d->off, st->count, false};
    return move_once(st, r, ch, node, 0);
}

static bool wait_step(const struct sched_step *st, uint32_t r, uint32_t ch, uint32_t node,
                      bool *ret_waits)
{
    struct base *b = base_of(r, st->peer, ch, st->sem);
    int64_t number = b->base + (int32_t)st->value;

    if (b->most < (int32_t)st->value)
        b->most = (int32_t)st->value;
    if (signals_follow(b, 0, UINT32_MAX) < number)
        *ret_waits = true;
    else
        signals_follow(b, number, node);
    return true;
}

static bool step_do(const struct sched_step *st, uint32_t r, uint32_t ch, uint32_t node,
                    bool *ret_waits)
{
    bool same = !source->node || (st->peer < ranks && source->node(source->ctx, r) ==
                                                          source->node(source->ctx, st->peer));

    if (st->kind != SCHED_COPY && st->kind != SCHED_REDUCE && st->peer >= ranks)
        return naive_bad("peer", r, st->peer);
    if (!lines_right(st, r))
        return false;
    switch (st->kind) {
    case SCHED_WAIT:
        return wait_step(st, r, ch, node, ret_waits);
    case SCHED_SIGNAL:
        if (!same)
            return naive_bad("signal over the network", r, st->peer);
        signal_send(st->peer, r, ch, st->sem, node);
        return true;
    case SCHED_EXPECT:
        base_of(r, st->peer, ch, st->sem)->expects = true;
        base_of(r, st->peer, ch, st->sem)->expect = (int32_t)st->value;
        return true;
    case SCHED_PUT:
        return put_note(st, r, ch, node);
    case SCHED_TAKE:
        if (st->src[0].rank != r || st->src[0].tensor != st->peer)
            return naive_bad("takes elsewhere", r, st->peer);
        return take(st, r, ch, node, ret_waits);
    case SCHED_NET_SEND:
    case SCHED_NET_RECV:
        return net(st, r, ch, node);
    default:
        for (uint32_t i = 0; i < st->repeat; i++)
            if (!move_once(st, r, ch, node, i))
                return false;
        return true;
    }
}

/* ---- operations ---- */

static bool fill(uint32_t r, uint32_t run, uint32_t node)
{
    for (uint32_t t = 0; t < req->tensors; t++) {
        uint32_t in = tensor_at(SCHED_IN, r, t), out = tensor_at(SCHED_OUT, r, t);

        for (uint32_t i = 0; i < elems(SCHED_OUT, t); i++) {
            if (!naive_touch(out + i, node, true))
                return false;
            cell[out + i] = naive_stale(run, r, t, i);
        }
        for (uint32_t i = 0; i < elems(SCHED_IN, t); i++) {
            if (!naive_touch(in + i, node, true))
                return false;
            cell[in + i] = naive_input(run, r, t, i);
        }
    }
    return true;
}

static bool look_one(uint32_t r, uint32_t run, uint32_t t, uint32_t i, uint32_t node)
{
    uint32_t k = tensor_at(SCHED_OUT, r, t) + i;
    struct naive_value have = cell[k], want = naive_want(req, ranks, run, r, t, i);

    if (!naive_touch(k, node, false))
        return false;
    if (!want.set) /* a sum, added up in any order */
        want.order = have.order;
    return (have.sum == want.sum && have.order == want.order) || naive_bad("a result", r, i);
}

static struct naive_value finals[SCHED_CHECK_RUNS_MAX][256][SCHED_TENSORS_MAX];

static bool look(uint32_t r, uint32_t run, uint32_t node)
{
    for (uint32_t t = 0; t < req->tensors; t++) {
        uint64_t order = 0, c = req->counts[t];

        for (uint32_t i = 0; i < elems(SCHED_OUT, t); i++) {
            if (!look_one(r, run, t, i, node))
                return false;
            order = naive_mix(order, cell[tensor_at(SCHED_OUT, r, t) + i].order);
        }
        finals[run][r][t] = (struct naive_value){order, 0, true};
        for (uint32_t i = 0; i < elems(SCHED_IN, t); i++) {
            uint32_t k = tensor_at(SCHED_IN, r, t) + i;

            if (req->in_place && (req->op != SCHED_REDUCE_SCATTER || i / (c ? c : 1) == r))
                continue;
            if (!naive_touch(k, node, false))
                return false;
            if (cell[k].order != naive_input(run, r, t, i).order)
                return naive_bad("an input", r, i);
        }
    }
    return true;
}

static void account(uint32_t r)
{
    for (unsigned i = 0; i < bases; i++)
        if (base[i].to == r) {
            if (base[i].expects && base[i].most > base[i].expect)
                naive_bad("waits for more than it expects", r, base[i].from);
            base[i].base += base[i].expects ? base[i].expect : base[i].most;
            base[i].most = base[i].expect = 0;
            base[i].expects = false;
        }
}

/* Nodes at which ranks entered an operation. */
static uint32_t entered[SCHED_CHECK_RUNS_MAX + 1][256];

/* Of a barrier: nobody is over with it before all have entered. */
static bool all_entered(uint32_t run, uint32_t r, uint32_t node)
{
    for (uint32_t q = 0; q < ranks; q++)
        if (q != r && (at[q] < run || !naive_is_before(entered[run][q], node)))
            return naive_bad("leaves a barrier before another has entered", r, q);
    return true;
}

/* The application's node between operations; the next operation begins after it. */
static bool boundary(uint32_t r, uint32_t run)
{
    uint32_t node = naive_node_new(lane[r * channels].last);

    for (uint32_t ch = 1; ch < channels; ch++)
        if (lane[r * channels + ch].last != UINT32_MAX)
            naive_edge(lane[r * channels + ch].last, node);
    if (run && !look(r, run - 1, node))
        return false;
    if (run && req->op == SCHED_BARRIER && !all_entered(run - 1, r, node))
        return false;
    entered[run][r] = node;
    account(r);
    if (!fill(r, run, node))
        return false;
    at[r] = run;
    for (uint32_t ch = 0; ch < channels; ch++) {
        struct lane *l = &lane[r * channels + ch];

        l->last = naive_node_new(node);
        l->index = 0;
        l->ended = run == runs;
        l->step = NULL;
        if (run < runs)
            source->rewind(source->ctx, r, ch);
    }
    return true;
}

/* One step of a lane, or its end; *ret_moved: something happened. */
static bool lane_run(uint32_t r, uint32_t ch, bool *ret_moved)
{
    struct lane *l = &lane[r * channels + ch];
    bool waits = false;
    uint32_t node;

    if (l->ended)
        return true;
    if (!l->step && !(l->step = source->next(source->ctx, r, ch))) {
        l->ended = *ret_moved = true;
        for (uint32_t k = 0; k < channels; k++)
            if (!lane[r * channels + k].ended)
                return true;
        return boundary(r, at[r] + 1);
    }
    node = naive_node_new(l->last);
    watch.now = watch.lane == l && watch.index == l->index;
    if (!step_do(l->step, r, ch, node, &waits))
        return false;
    if (waits) {
        naive_node_drop(); /* nothing refers to it */
        return true;
    }
    l->last = node;
    l->index++;
    l->step = NULL;
    *ret_moved = true;
    return true;
}

static bool ends(void)
{
    for (unsigned i = 0; i < signals; i++)
        base_of(signal_sent[i].to, signal_sent[i].from, signal_sent[i].channel, signal_sent[i].sem);
    for (unsigned i = 0; i < bases; i++) {
        if (signals_follow(&base[i], 0, UINT32_MAX) != base[i].base)
            return naive_bad("a counter", base[i].to, base[i].from);
    }
    for (unsigned i = 0; i < messages; i++)
        if (!message[i].moved)
            return naive_bad("a message alone", message[i].from, message[i].to);
    for (unsigned i = 0; i < put_count; i++)
        if (!put[i].taken)
            return naive_bad("a line not taken", put[i].from, put[i].to);
    for (uint32_t run = 0; req->op == SCHED_ALL_REDUCE && run < runs; run++)
        for (uint32_t r = 1; r < ranks; r++)
            for (uint32_t t = 0; t < req->tensors; t++)
                if (finals[run][r][t].order != finals[run][0][t].order)
                    return naive_bad("other bits", r, t);
    return true;
}

const char *naive_check(const struct sched_request *request, uint32_t n, uint32_t c,
                        const struct sched_check_source *src, uint32_t how_often)
{
    bool moved = true;

    req = request;
    source = src;
    ranks = n;
    channels = c;
    runs = how_often;
    signals = messages = put_count = bases = 0;
    wrong[0] = 0;
    layout();
    for (uint32_t i = 0; i < n * c; i++)
        lane[i] = (struct lane){.last = UINT32_MAX};
    for (uint32_t r = 0; r < n; r++)
        if (!boundary(r, 0))
            return wrong;
    while (moved) {
        moved = false;
        for (uint32_t r = 0; r < n; r++)
            for (uint32_t ch = 0; ch < c; ch++)
                if (!lane_run(r, ch, &moved))
                    return wrong;
    }
    for (uint32_t r = 0; r < n; r++)
        if (at[r] < runs)
            naive_bad("waits for ever", r, 0);
    if (!wrong[0])
        ends();
    return wrong[0] ? wrong : NULL;
}

bool naive_changes(const struct sched_request *request, uint32_t n, uint32_t c,
                   const struct sched_check_source *src, uint32_t how_often, uint32_t rank,
                   uint32_t channel, size_t step)
{
    const char *found;

    watch.lane = &lane[rank * c + channel];
    watch.index = step;
    watch.changes = false;
    found = naive_check(request, n, c, src, how_often);
    watch.lane = NULL;
    return found || watch.changes;
}
