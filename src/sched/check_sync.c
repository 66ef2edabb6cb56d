/* SPDX-License-Identifier: Apache-2.0 */
/* Steps that order: signals and waits, lines, the network. */
#include "base/mem.h"
#include "check_int.h"

/* ---- steps: signals and waits ---- */

static bool counter_raise(struct chk *c, uint32_t to, uint32_t from, unsigned sem, uint32_t channel,
                          uint32_t operation, struct chk_stamp stamp)
{
    struct chk_counter *n = chk_counter_get(c, to, from, sem, channel);
    struct chk_signal *g = c->free_signals;

    if (g)
        c->free_signals = g->next;
    else
        g = mem_alloc(sizeof(*g));
    if (!n || !g) {
        chk_clock_put(&c->clocks, stamp.clock);
        mem_free(g);
        return chk_no_memory(c);
    }
    *g = (struct chk_signal){stamp, NULL};
    if (n->last)
        n->last->next = g;
    else
        n->first = g;
    n->last = g;
    n->raised++;
    n->gained[operation]++;
    chk_seq_wake(c, to, channel, from, sem);
    return true;
}

/* s has seen the counter at `target`: it learns what the last of these signals carries, which is
 * all that the earlier ones carried. */
static bool counter_join(struct chk *c, struct chk_seq *s, struct chk_counter *n, int64_t target)
{
    bool ok = true;

    while (n->joined < target) {
        struct chk_signal *g = n->first;

        if (++n->joined == target)
            ok = chk_seq_learn(c, s, &g->stamp);
        chk_clock_put(&c->clocks, g->stamp.clock);
        n->first = g->next;
        if (!n->first)
            n->last = NULL;
        g->next = c->free_signals;
        c->free_signals = g;
    }
    return ok;
}

/* s has seen that the messages up to number `target` of a wire are complete at its side. */
static void wire_see(struct chk *c, const struct chk_seq *s, struct chk_wire *w, bool sender,
                     int64_t target)
{
    struct chk_access by = {s->id, s->epoch};
    uint32_t *seen = sender ? &w->sent : &w->arrived;

    for (; *seen < target; ++*seen) {
        struct chk_transfer *t = &c->transfer[w->transfer[*seen]];

        *(sender ? &t->sent : &t->arrived) = by;
    }
}

bool chk_step_wait(struct chk *c, struct chk_seq *s, bool *ret_waits)
{
    const struct sched_step *st = s->step;
    struct chk_counter *n = chk_counter_get(c, s->rank, st->peer, st->sem, s->channel);
    int64_t target;

    if (!n)
        return chk_no_memory(c);
    target = n->base + (int32_t)st->value;
    if (n->largest < (int32_t)st->value)
        n->largest = (int32_t)st->value;
    if ((int64_t)n->raised < target) {
        *ret_waits = true;
        return true;
    }
    if (!counter_join(c, s, n, target))
        return false;
    if (st->sem == SCHED_SEM_SENT || st->sem == SCHED_SEM_ARRIVED) {
        bool sender = st->sem == SCHED_SEM_SENT;
        struct chk_wire *w =
            chk_wire_get(c, sender ? s->rank : st->peer, sender ? st->peer : s->rank, s->channel);

        if (!w)
            return chk_no_memory(c);
        wire_see(c, s, w, sender, target);
    }
    return true;
}

bool chk_step_signal(struct chk *c, struct chk_seq *s)
{
    const struct sched_step *st = s->step;

    if (chk_node_of(c, st->peer) != chk_node_of(c, s->rank))
        return chk_fail(c, s, SCHED_FLAW_NODE, NULL, "signals rank %u on another node", st->peer);
    return counter_raise(c, st->peer, s->rank, st->sem, s->channel, c->rank[s->rank].operation,
                         chk_seq_stamp(s));
}

bool chk_step_expect(struct chk *c, const struct chk_seq *s)
{
    struct chk_counter *n = chk_counter_get(c, s->rank, s->step->peer, s->step->sem, s->channel);

    if (!n)
        return chk_no_memory(c);
    n->expects = true;
    n->expected = s->step->value;
    return true;
}

/* ---- steps: lines ---- */

static bool puts_overlap(const struct chk_put *p, uint32_t operation, uint64_t off, uint64_t len)
{
    if (p->operation != operation)
        return false;
    if (len == 0 || p->len == 0)
        return p->off == off && p->len == len;
    return p->off < off + len && off < p->off + p->len;
}

bool chk_step_put(struct chk *c, struct chk_seq *s)
{
    const struct sched_ref *ref = &s->step->dst[0];
    uint32_t operation = c->rank[s->rank].operation;
    struct chk_line *line = chk_line_get(c, ref->rank, s->rank, s->channel);
    size_t kept = 0;

    if (!line)
        return chk_no_memory(c);
    for (size_t i = 0; i < line->put_count; i++) { /* forget what earlier operations finished */
        if (line->put[i].taken && line->put[i].operation != operation)
            chk_clock_put(&c->clocks, line->put[i].stamp.clock);
        else
            line->put[kept++] = line->put[i];
    }
    line->put_count = kept;
    for (size_t i = 0; i < kept; i++)
        if (puts_overlap(&line->put[i], operation, ref->off, s->step->count)) {
            struct chk_spot spot = chk_ref_spot(ref);

            return chk_fail(c, s, SCHED_FLAW_LINE, &spot, "is put twice in one operation");
        }
    if (!chk_step_move(c, s))
        return false;
    line = chk_line_get(c, ref->rank, s->rank, s->channel); /* the table may have moved */
    if (!mem_grow((void **)&line->put, &line->put_cap, kept + 1, sizeof(*line->put)))
        return chk_no_memory(c);
    line->put[line->put_count++] =
        (struct chk_put){operation, ref->off, s->step->count, false, chk_seq_stamp(s)};
    chk_seq_wake(c, ref->rank, s->channel, s->rank, SCHED_SEM_COUNT);
    return true;
}

/* Elements of [off, off + len) that this operation's PUTs have brought; ends of a line without
 * elements count as one. */
static uint64_t line_filled(const struct chk_line *line, uint32_t operation, uint64_t off,
                            uint64_t len)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < line->put_count; i++) {
        const struct chk_put *p = &line->put[i];
        uint64_t begin = p->off > off ? p->off : off;
        uint64_t end = p->off + p->len < off + len ? p->off + p->len : off + len;

        if (puts_overlap(p, operation, off, len))
            sum += len ? end - begin : 1;
    }
    return sum;
}

/* The lines of a message carry a sequence number each: seeing some says nothing of the others. */
static bool part_report(struct chk *c, const struct chk_seq *s, const struct sched_ref *ref)
{
    struct chk_spot spot = chk_ref_spot(ref);

    return chk_fail(c, s, SCHED_FLAW_LINE, &spot, "begins a part of what was put in one step");
}

bool chk_step_take(struct chk *c, struct chk_seq *s, bool *ret_waits)
{
    const struct sched_ref *ref = &s->step->src[0];
    uint32_t operation = c->rank[s->rank].operation;
    uint64_t len = s->step->count;
    struct chk_line *line = chk_line_get(c, s->rank, ref->tensor, s->channel);
    struct chk_operand o;

    if (!line)
        return chk_no_memory(c);
    if (!chk_operand_find(c, s, ref, &o))
        return false;
    if (line_filled(line, operation, ref->off, len) < (len ? len : 1)) {
        *ret_waits = true;
        return true;
    }
    for (size_t i = 0; i < line->put_count; i++)
        if (puts_overlap(&line->put[i], operation, ref->off, len)) {
            if (line->put[i].off < ref->off || line->put[i].off + line->put[i].len > ref->off + len)
                return part_report(c, s, ref);
            line->put[i].taken = true;
            if (!chk_seq_learn(c, s, &line->put[i].stamp))
                return false;
        }
    return chk_operand_read(c, s, ref, &o, (struct chk_access){s->id, s->epoch}, &c->read[0]);
}

/* ---- steps: network ---- */

/* Transfer number j of a wire, new when neither side has come to it. */
static struct chk_transfer *transfer_get(struct chk *c, struct chk_wire *w, uint32_t j,
                                         uint32_t *ret_number)
{
    uint32_t known = w->sends > w->posts ? w->sends : w->posts;

    if (j == known) {
        if (!mem_grow((void **)&w->transfer, &w->cap, (size_t)j + 1, sizeof(*w->transfer)) ||
            !mem_grow((void **)&c->transfer, &c->transfer_cap, c->transfer_count + 1,
                      sizeof(*c->transfer)))
            return NULL;
        c->transfer[c->transfer_count] = (struct chk_transfer){0};
        w->transfer[j] = (uint32_t)c->transfer_count++;
    }
    *ret_number = w->transfer[j];
    return &c->transfer[w->transfer[j]];
}

/* Both sides are there: the bytes move. They are written at some time after both have posted, so
 * what the receiver did in that memory must be ordered before one of the two, or come after it has
 * seen the message arrive. */
static bool transfer_write(struct chk *c, const struct chk_seq *s, struct chk_transfer *t,
                           uint32_t number)
{
    struct chk_who who = {.seq = UINT32_MAX, .transfer = c->transfer};
    struct chk_clock *clock = chk_clock_ref(t->post_stamp.clock);
    struct chk_spot spot = chk_ref_spot(&t->to_ref);
    struct chk_found found;
    enum chk_clash clash = CHK_MEMORY;

    if (chk_clock_join(&c->clocks, &clock, &t->post_stamp) &&
        chk_clock_join(&c->clocks, &clock, &t->stamp)) {
        who.clock = clock;
        clash = chk_mem_write(t->to_mem, t->to_off, t->to_len, &who,
                              (struct chk_access){number, CHK_MESSAGE_WRITE}, &t->runs, &found);
    }
    chk_clock_put(&c->clocks, clock);
    spot.element = 0;
    return clash == CHK_FINE ||
           chk_clash_report(c, s, clash, spot, t->to_off - t->to_ref.off, &found);
}

static bool transfer_move(struct chk *c, const struct chk_seq *s, struct chk_wire *w,
                          struct chk_transfer *t, uint32_t number)
{
    struct chk_stamp stamp = t->stamp;

    if (t->len != t->to_len)
        return chk_fail(c, s, SCHED_FLAW_NET, NULL,
                        "a message from rank %u to rank %u: %llu elements sent at step %llu, %llu "
                        "expected at step %llu",
                        w->from, w->to, (unsigned long long)t->len,
                        (unsigned long long)t->send_step, (unsigned long long)t->to_len,
                        (unsigned long long)t->post_step);
    if (t->send_operation != t->post_operation)
        return chk_fail(c, s, SCHED_FLAW_NET, NULL,
                        "a message of operation %u from rank %u meets operation %u of rank %u",
                        t->send_operation, w->from, t->post_operation, w->to);
    if (!transfer_write(c, s, t, number))
        return false;
    mem_free(t->runs.run);
    t->runs = (struct chk_runs){0};
    chk_clock_put(&c->clocks, t->post_stamp.clock);
    chk_clock_ref(stamp.clock); /* one for each counter */
    t->stamp.clock = t->post_stamp.clock = NULL;
    if (!counter_raise(c, w->from, w->to, SCHED_SEM_SENT, w->channel, t->send_operation, stamp)) {
        chk_clock_put(&c->clocks, stamp.clock);
        return false;
    }
    return counter_raise(c, w->to, w->from, SCHED_SEM_ARRIVED, w->channel, t->post_operation,
                         stamp);
}

bool chk_step_net(struct chk *c, struct chk_seq *s)
{
    const struct sched_step *st = s->step;
    bool send = st->kind == SCHED_NET_SEND;
    struct chk_wire *w = send ? chk_wire_get(c, s->rank, st->peer, s->channel)
                              : chk_wire_get(c, st->peer, s->rank, s->channel);
    uint32_t number;
    struct chk_transfer *t = w ? transfer_get(c, w, send ? w->sends : w->posts, &number) : NULL;
    struct chk_operand o;

    if (!t)
        return chk_no_memory(c);
    if (!chk_operand_find(c, s, send ? &st->src[0] : &st->dst[0], &o))
        return false;
    if (send) {
        if (!chk_operand_read(c, s, &st->src[0], &o, (struct chk_access){number, CHK_MESSAGE_READ},
                              &t->runs))
            return false;
        w->sends++;
        t->given = true;
        t->send_operation = c->rank[s->rank].operation;
        t->send_step = s->index;
        t->mem = o.mem;
        t->off = o.off;
        t->len = st->count;
        t->stamp = chk_seq_stamp(s);
    } else {
        w->posts++;
        t->posted = true;
        t->post_operation = c->rank[s->rank].operation;
        t->post_step = s->index;
        t->to_ref = st->dst[0];
        t->to_mem = o.mem;
        t->to_off = o.off;
        t->to_len = st->count;
        t->post_stamp = chk_seq_stamp(s);
    }
    s->now++;
    return !t->given || !t->posted || transfer_move(c, s, w, t, number);
}
