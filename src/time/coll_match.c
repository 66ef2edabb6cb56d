/* SPDX-License-Identifier: Apache-2.0 */
/* Signals of representatives: when each was sent, and which answers a wait. See coll_int.h. */
#include <string.h>

#include "time/coll_int.h"

#define NOTHING UINT32_MAX
#define FIRST   (UINT32_MAX - 1) /* instead of a number: that peer's first row */

/* The signals of one sequencer to one peer, in order. The first ones may be forgotten. */
struct row {
    uint32_t sequencer;
    struct moment *at;
    uint64_t forgotten;
    size_t count, cap;
};

/* One entry of the map: keys are unlike for the three kinds of question. */
enum entry_kind {
    ENTRY_NONE,
    ENTRY_TO,      /* (sequencer, sem, peer): the row of signals to that rank */
    ENTRY_FROM,    /* (sequencer, sem, peer): number of the rank among those of its role */
    ENTRY_NUMBER,  /* (sequencer, sem, role and number): the row */
    ENTRY_FIRST,   /* (sequencer, sem): the row of its first peer */
    ENTRY_NEXT_TO, /* (sequencer, sem, role): numbers given */
    ENTRY_NEXT_FROM
};

struct entry {
    uint32_t kind, sequencer, sem, a, b;
    uint32_t value;
};

struct match {
    const struct sched *s;
    uint32_t channels;
    struct entry *entry;
    uint32_t cap, count; /* cap: a power of two */
    struct row *row;
    size_t rows, row_cap;
};

static uint32_t hash(const struct entry *e)
{
    uint32_t h = e->kind * 0x9e3779b1u ^ e->sequencer * 0x85ebca6bu ^ e->sem * 0xc2b2ae35u ^
                 e->a * 0x27d4eb2fu ^ e->b * 0x165667b1u;

    h ^= h >> 15;
    h *= 0x2c1b3c6du;
    return h ^ h >> 13;
}

static bool same(const struct entry *x, const struct entry *y)
{
    return x->kind == y->kind && x->sequencer == y->sequencer && x->sem == y->sem && x->a == y->a &&
           x->b == y->b;
}

static struct entry *find(const struct match *m, const struct entry *key)
{
    uint32_t at = hash(key) & (m->cap - 1);

    while (m->entry[at].kind != ENTRY_NONE && !same(&m->entry[at], key))
        at = (at + 1) & (m->cap - 1);
    return &m->entry[at];
}

static bool grow(struct match *m)
{
    struct match old = *m;

    if ((m->count + 1) * 2 <= m->cap)
        return true;
    m->cap *= 2;
    m->entry = mem_calloc(m->cap, sizeof(*m->entry));
    if (!m->entry) {
        *m = old;
        return false;
    }
    for (uint32_t i = 0; i < old.cap; i++)
        if (old.entry[i].kind != ENTRY_NONE)
            *find(m, &old.entry[i]) = old.entry[i];
    mem_free(old.entry);
    return true;
}

/* The entry of a key, made with value 0 if it is new; NULL: no memory. */
static struct entry *take(struct match *m, struct entry key, bool *ret_new)
{
    struct entry *e = find(m, &key);

    *ret_new = e->kind == ENTRY_NONE;
    if (!*ret_new)
        return e;
    if (!grow(m))
        return NULL;
    e = find(m, &key);
    *e = key;
    m->count++;
    return e;
}

NRT_STATUS match_make(const struct sched *s, struct match **ret)
{
    struct match *m = mem_zalloc(sizeof(*m));

    if (!m)
        return NRT_RESOURCE;
    m->s = s;
    m->channels = sched_channels(s);
    m->cap = 256;
    m->entry = mem_calloc(m->cap, sizeof(*m->entry));
    if (!m->entry) {
        mem_free(m);
        return NRT_RESOURCE;
    }
    *ret = m;
    return NRT_SUCCESS;
}

void match_free(struct match *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->rows; i++)
        mem_free(m->row[i].at);
    mem_free(m->row);
    mem_free(m->entry);
    mem_free(m);
}

/* Number of a peer among those of its role, in the order in which a sequencer meets them. */
static uint32_t number_of(struct match *m, enum entry_kind kind, uint32_t sequencer, unsigned sem,
                          uint32_t peer)
{
    uint32_t next_kind = kind == ENTRY_TO ? ENTRY_NEXT_TO : ENTRY_NEXT_FROM, number;
    bool fresh;
    struct entry *e =
        take(m, (struct entry){next_kind, sequencer, sem, sched_role(m->s, peer), 0, 0}, &fresh);

    if (!e)
        return NOTHING;
    number = e->value++;
    return number;
}

/* A new row of signals to a peer, found by rank and by role and number. */
static bool row_make(struct match *m, uint32_t sequencer, unsigned sem, uint32_t peer)
{
    uint32_t number = number_of(m, ENTRY_TO, sequencer, sem, peer);
    struct entry key = {ENTRY_NUMBER, sequencer, sem, sched_role(m->s, peer), number, 0}, *e;
    bool fresh;

    if (number == NOTHING || !mem_grow((void **)&m->row, &m->row_cap, m->rows + 1, sizeof(*m->row)))
        return false;
    m->row[m->rows] = (struct row){.sequencer = sequencer};
    e = take(m, key, &fresh);
    if (!e)
        return false;
    e->value = (uint32_t)m->rows;
    e = take(m, (struct entry){ENTRY_FIRST, sequencer, sem, 0, 0, 0}, &fresh);
    if (!e)
        return false;
    if (fresh)
        e->value = (uint32_t)m->rows;
    m->rows++;
    return true;
}

bool match_signal(struct match *m, uint32_t sequencer, unsigned sem, uint32_t peer,
                  const struct moment *at)
{
    bool fresh;
    struct entry *e = take(m, (struct entry){ENTRY_TO, sequencer, sem, peer, 0, 0}, &fresh);
    struct row *row;

    if (!e)
        return false;
    if (fresh) {
        e->value = (uint32_t)m->rows;
        if (!row_make(m, sequencer, sem, peer))
            return false;
        e = find(m, &(struct entry){ENTRY_TO, sequencer, sem, peer, 0, 0});
    }
    row = &m->row[e->value];
    if (!mem_grow((void **)&row->at, &row->cap, row->count + 1, sizeof(*row->at)))
        return false;
    row->at[row->count++] = *at;
    return true;
}

static const struct moment *row_at(const struct match *m, const struct entry *e, uint32_t value)
{
    static const struct moment start;

    const struct row *row;

    if (value == 0)
        return &start;
    if (e->kind == ENTRY_NONE)
        return NULL;
    row = &m->row[e->value];
    if (value > row->forgotten + row->count)
        return NULL;
    /* what is forgotten was sent before the oldest that is kept */
    return &row->at[value > row->forgotten ? value - row->forgotten - 1 : 0];
}

const struct moment *match_wait(struct match *m, uint32_t sequencer, unsigned sem, uint32_t peer,
                                uint32_t value, bool *ret_memory)
{
    uint32_t me = sequencer / m->channels, channel = sequencer % m->channels, other;
    struct entry key;
    bool fresh;
    struct entry *e = take(m, (struct entry){ENTRY_FROM, sequencer, sem, peer, 0, 0}, &fresh);

    *ret_memory = e != NULL;
    if (!e)
        return NULL;
    if (fresh) {
        uint32_t number = number_of(m, ENTRY_FROM, sequencer, sem, peer);

        *ret_memory = number != NOTHING;
        if (!*ret_memory)
            return NULL;
        e = find(m, &(struct entry){ENTRY_FROM, sequencer, sem, peer, 0, 0});
        e->value = number;
    }
    other = sched_role(m->s, peer) * m->channels + channel;
    key = e->value == FIRST ? (struct entry){ENTRY_FIRST, other, sem, 0, 0, 0}
                            : (struct entry){ENTRY_NUMBER, other, sem, me, e->value, 0};
    return row_at(m, find(m, &key), value);
}

bool match_loosen(struct match *m, uint32_t sequencer, unsigned sem, uint32_t peer)
{
    struct entry *e = find(m, &(struct entry){ENTRY_FROM, sequencer, sem, peer, 0, 0});

    if (e->kind == ENTRY_NONE || e->value == FIRST)
        return false;
    e->value = FIRST;
    return true;
}

const struct moment *match_own(const struct match *m, uint32_t sequencer, unsigned sem,
                               uint32_t peer, uint32_t value)
{
    return row_at(m, find(m, &(struct entry){ENTRY_TO, sequencer, sem, peer, 0, 0}), value);
}

/* ---- repeating ---- */

bool match_counts(const struct match *m, size_t **ret, size_t *ret_rows)
{
    *ret = mem_calloc(m->rows + 1, sizeof(**ret));
    if (!*ret)
        return false;
    for (size_t i = 0; i < m->rows; i++)
        (*ret)[i] = m->row[i].count;
    *ret_rows = m->rows;
    return true;
}

/* By what the row's last `kept` signals are later than as many before its last `sent`; NULL: they
 * differ by this and that. */
static const struct moment *row_step(const struct row *row, size_t sent, size_t kept,
                                     const struct steps *steps)
{
    const struct moment *last = &row->at[row->count - 1];
    const struct moment *step = moment_step_of(last - sent, last, &steps[row->sequencer]);

    for (size_t k = 1; k < kept && step; k++)
        if (moment_step_of(last - k - sent, last - k, &steps[row->sequencer]) != step)
            step = NULL;
    return step;
}

bool match_repeats(const struct match *m, const size_t *counts, size_t rows, size_t more,
                   const struct steps *steps)
{
    if (m->rows != rows)
        return false;
    for (size_t i = 0; i < rows; i++) {
        const struct row *row = &m->row[i];
        size_t sent = row->count - counts[i], kept = sent + more;

        if (sent > 0 && (kept > counts[i] || !row_step(row, sent, kept, steps)))
            return false;
    }
    return true;
}

void match_repeat(struct match *m, const size_t *counts, size_t more, const struct steps *steps,
                  uint64_t times)
{
    for (size_t i = 0; i < m->rows; i++) {
        struct row *row = &m->row[i];
        size_t sent = row->count - counts[i], kept = sent + more;
        const struct moment *step;

        if (sent == 0)
            continue;
        step = row_step(row, sent, kept, steps);
        row->forgotten += row->count - kept + times * sent;
        memmove(row->at, row->at + row->count - kept, kept * sizeof(*row->at));
        row->count = kept;
        for (size_t k = 0; k < kept; k++)
            moment_later(&row->at[k], step, times);
    }
}
