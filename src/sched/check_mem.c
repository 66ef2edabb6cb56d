/* SPDX-License-Identifier: Apache-2.0 */
/* One buffer as a sorted array of pieces: runs of elements with one value and one history. An
 * access cuts pieces at its ends, and neighbours that became equal are joined again. */
#include <string.h>

#include "base/mem.h"
#include "check_int.h"

bool chk_runs_add(struct chk_runs *r, uint64_t len, uint32_t value, uint64_t off)
{
    struct chk_run *last = r->count ? &r->run[r->count - 1] : NULL;

    if (len == 0)
        return true;
    if (last && last->value == value && last->off + last->len == off) {
        last->len += len;
        return true;
    }
    if (!mem_grow((void **)&r->run, &r->cap, r->count + 1, sizeof(*r->run)))
        return false;
    r->run[r->count++] = (struct chk_run){len, off, value};
    return true;
}

bool chk_mem_init(struct chk_mem *m, uint64_t elems)
{
    m->elems = elems;
    if (elems == 0)
        return true;
    if (!mem_grow((void **)&m->piece, &m->cap, 1, sizeof(*m->piece)))
        return false;
    m->piece[0] = (struct chk_piece){0};
    m->count = 1;
    return true;
}

void chk_mem_fini(struct chk_mem *m)
{
    for (size_t i = 0; i < m->count; i++)
        mem_free(m->piece[i].more_reads);
    mem_free(m->piece);
}

static uint64_t piece_end(const struct chk_mem *m, size_t i)
{
    return i + 1 < m->count ? m->piece[i + 1].begin : m->elems;
}

/* Index of the last piece that begins at or before `at`. */
static size_t piece_find(const struct chk_mem *m, uint64_t at)
{
    size_t lo = 0, hi = m->count;

    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;

        if (m->piece[mid].begin <= at)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* Make a piece begin at `at`; *ret is its index, m->count when `at` is the end of the buffer. */
static bool piece_split(struct chk_mem *m, uint64_t at, size_t *ret)
{
    struct chk_piece *p;
    size_t i;

    if (at >= m->elems) {
        *ret = m->count;
        return true;
    }
    i = piece_find(m, at);
    *ret = i;
    if (m->piece[i].begin == at)
        return true;
    if (!mem_grow((void **)&m->piece, &m->cap, m->count + 1, sizeof(*m->piece)))
        return false;
    p = &m->piece[i];
    memmove(p + 2, p + 1, (m->count - i - 1) * sizeof(*p));
    p[1] = p[0];
    p[1].begin = at;
    p[1].off = p[0].off + (at - p[0].begin);
    m->count++;
    *ret = i + 1;
    if (p[0].more) {
        p[1].more_reads = NULL;
        p[1].more = p[1].more_cap = 0;
        p[1].more_reads = mem_calloc(p[0].more, sizeof(*p[0].more_reads));
        if (!p[1].more_reads)
            return false;
        memcpy(p[1].more_reads, p[0].more_reads, p[0].more * sizeof(*p[0].more_reads));
        p[1].more = p[1].more_cap = p[0].more;
    } else {
        p[1].more_reads = NULL;
        p[1].more_cap = 0;
    }
    return true;
}

static bool access_equal(struct chk_access a, struct chk_access b)
{
    return a.seq == b.seq && a.epoch == b.epoch;
}

static bool piece_continues(const struct chk_piece *a, const struct chk_piece *b)
{
    return a->value == b->value &&
           (a->value == CHK_NOTHING || b->off - a->off == b->begin - a->begin) &&
           access_equal(a->write, b->write) && access_equal(a->read, b->read) &&
           a->more == b->more &&
           (a->more == 0 ||
            memcmp(a->more_reads, b->more_reads, a->more * sizeof(*a->more_reads)) == 0);
}

/* Join equal neighbours among the pieces first-1 .. last. */
static void piece_merge(struct chk_mem *m, size_t first, size_t last)
{
    size_t out, in;

    if (first)
        first--;
    if (last >= m->count)
        last = m->count - 1;
    if (m->count < 2 || first >= last)
        return;
    out = first;
    for (in = first + 1; in <= last; in++) {
        if (piece_continues(&m->piece[out], &m->piece[in]))
            mem_free(m->piece[in].more_reads);
        else
            m->piece[++out] = m->piece[in];
    }
    if (out == last)
        return;
    memmove(&m->piece[out + 1], &m->piece[last + 1], (m->count - last - 1) * sizeof(m->piece[0]));
    m->count -= last - out;
}

/* Whether what happened at `a` is known to who. */
static bool known(const struct chk_who *who, struct chk_access a)
{
    return a.seq == who->seq ? a.epoch <= who->epoch : chk_clock_get(who->clock, a.seq) >= a.epoch;
}

/* Whether an access is over, as far as who knows. */
static bool ordered(const struct chk_who *who, struct chk_access a)
{
    const struct chk_transfer *t;

    if (a.epoch == 0)
        return true;
    if (a.epoch < CHK_MESSAGE_READ)
        return known(who, a);
    t = &who->transfer[a.seq];
    if (t->arrived.epoch && known(who, t->arrived))
        return true;
    return a.epoch == CHK_MESSAGE_READ && t->sent.epoch && known(who, t->sent);
}

/* Note a read. Earlier reads that are ordered before it need not be kept: what is ordered after
 * this one is ordered after them. */
static bool read_note(struct chk_piece *p, const struct chk_who *who, struct chk_access as)
{
    uint32_t kept = 0;
    size_t cap = p->more_cap;

    for (uint32_t i = 0; i < p->more; i++)
        if (!ordered(who, p->more_reads[i]))
            p->more_reads[kept++] = p->more_reads[i];
    p->more = kept;
    if (ordered(who, p->read)) {
        p->read = as;
        return true;
    }
    if (!mem_grow((void **)&p->more_reads, &cap, (size_t)kept + 1, sizeof(*p->more_reads)))
        return false;
    p->more_cap = (uint32_t)cap;
    p->more_reads[p->more++] = as;
    return true;
}

static enum chk_clash clash_at(enum chk_clash clash, const struct chk_piece *p, uint64_t off,
                               struct chk_access other, struct chk_found *found)
{
    found->element = p->begin > off ? p->begin : off;
    found->other = other;
    return clash;
}

enum chk_clash chk_mem_read(struct chk_mem *m, uint64_t off, uint64_t len,
                            const struct chk_who *who, struct chk_access as, struct chk_runs *runs,
                            struct chk_found *found)
{
    size_t first, last;

    runs->count = 0;
    if (len == 0)
        return CHK_FINE;
    if (!piece_split(m, off, &first) || !piece_split(m, off + len, &last))
        return CHK_MEMORY;
    for (size_t i = first; i < last; i++) {
        struct chk_piece *p = &m->piece[i];

        if (!ordered(who, p->write))
            return clash_at(CHK_READ_RACE, p, off, p->write, found);
        if (p->value == CHK_NOTHING)
            return clash_at(CHK_UNWRITTEN, p, off, p->write, found);
        if (!read_note(p, who, as) ||
            !chk_runs_add(runs, piece_end(m, i) - p->begin, p->value, p->off))
            return CHK_MEMORY;
    }
    piece_merge(m, first, last);
    return CHK_FINE;
}

static enum chk_clash write_check(const struct chk_piece *p, const struct chk_who *who,
                                  uint64_t off, struct chk_found *found)
{
    if (!ordered(who, p->write))
        return clash_at(CHK_WRITE_RACE, p, off, p->write, found);
    if (!ordered(who, p->read))
        return clash_at(CHK_REUSE, p, off, p->read, found);
    for (uint32_t k = 0; k < p->more; k++)
        if (!ordered(who, p->more_reads[k]))
            return clash_at(CHK_REUSE, p, off, p->more_reads[k], found);
    return CHK_FINE;
}

/* Put the runs in the place of the pieces first .. last-1. */
static bool pieces_replace(struct chk_mem *m, size_t first, size_t last, uint64_t off,
                           struct chk_access write, const struct chk_runs *runs)
{
    size_t old = last - first, now = runs->count;

    if (now > old &&
        !mem_grow((void **)&m->piece, &m->cap, m->count + (now - old), sizeof(*m->piece)))
        return false;
    for (size_t i = first; i < last; i++)
        mem_free(m->piece[i].more_reads);
    memmove(&m->piece[first + now], &m->piece[last], (m->count - last) * sizeof(m->piece[0]));
    m->count = m->count - old + now;
    for (size_t i = 0; i < now; i++) {
        m->piece[first + i] = (struct chk_piece){
            .begin = off, .off = runs->run[i].off, .value = runs->run[i].value, .write = write};
        off += runs->run[i].len;
    }
    piece_merge(m, first, first + now);
    return true;
}

enum chk_clash chk_mem_write(struct chk_mem *m, uint64_t off, uint64_t len,
                             const struct chk_who *who, struct chk_access as,
                             const struct chk_runs *runs, struct chk_found *found)
{
    size_t first, last;

    if (len == 0)
        return CHK_FINE;
    if (!piece_split(m, off, &first) || !piece_split(m, off + len, &last))
        return CHK_MEMORY;
    for (size_t i = first; i < last; i++) {
        enum chk_clash clash = write_check(&m->piece[i], who, off, found);

        if (clash != CHK_FINE)
            return clash;
    }
    return pieces_replace(m, first, last, off, as, runs) ? CHK_FINE : CHK_MEMORY;
}
