/* SPDX-License-Identifier: Apache-2.0 */
/* One buffer as pieces in order: runs of elements with one value and one history. An access cuts
 * pieces at its ends, and neighbours that became equal are joined again. Pieces lie in bunches of a
 * few dozen, so that neither moves more than a bunch and the list of bunches, however many there
 * are.
 */
#include <string.h>

#include "base/mem.h"
#include "check_int.h"

#define BUNCH_MOST 64u /* pieces; a bunch that would have more is cut in halves */
#define BUNCH_FEW  32u /* neighbours with fewer together become one */

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
    struct chk_bunch *l;

    m->elems = elems;
    if (elems == 0)
        return true;
    l = mem_zalloc(sizeof(*l));
    if (!l)
        return false;
    m->bunch = l;
    m->cap = 1;
    if (!mem_grow((void **)&l->piece, &l->cap, 1, sizeof(*l->piece)))
        return false;
    l->piece[0] = (struct chk_piece){0};
    l->count = 1;
    m->bunches = 1;
    return true;
}

/* Forget pieces of a bunch; it may become empty. */
static void pieces_drop(struct chk_bunch *l, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++)
        mem_free(l->piece[i].more_reads);
    memmove(&l->piece[first], &l->piece[end], (l->count - end) * sizeof(*l->piece));
    l->count -= end - first;
}

void chk_mem_fini(struct chk_mem *m)
{
    for (size_t k = 0; k < m->bunches; k++) {
        pieces_drop(&m->bunch[k], 0, m->bunch[k].count);
        mem_free(m->bunch[k].piece);
    }
    mem_free(m->bunch);
}

/* ---- bunches ---- */

/* Bunches first .. end-1, which are empty, go. */
static void bunches_remove(struct chk_mem *m, size_t first, size_t end)
{
    for (size_t k = first; k < end; k++)
        mem_free(m->bunch[k].piece);
    memmove(&m->bunch[first], &m->bunch[end], (m->bunches - end) * sizeof(*m->bunch));
    m->bunches -= end - first;
}

/* The second half of bunch k becomes a bunch of its own. */
static bool bunch_halve(struct chk_mem *m, size_t k)
{
    struct chk_bunch *l, new = {.count = m->bunch[k].count / 2};

    if (!mem_grow((void **)&m->bunch, &m->cap, m->bunches + 1, sizeof(*m->bunch)) ||
        !mem_grow((void **)&new.piece, &new.cap, BUNCH_MOST, sizeof(*new.piece)))
        return false;
    l = &m->bunch[k];
    l->count -= new.count;
    memcpy(new.piece, &l->piece[l->count], new.count * sizeof(*new.piece));
    new.begin = new.piece[0].begin;
    memmove(l + 2, l + 1, (m->bunches - k - 1) * sizeof(*l));
    l[1] = new;
    m->bunches++;
    return true;
}

/* Where a piece is. Any change may make it another's place. */
struct place {
    size_t bunch, i;
};

static struct chk_piece *piece_at(const struct chk_mem *m, struct place at)
{
    return at.bunch < m->bunches ? &m->bunch[at.bunch].piece[at.i] : NULL;
}

static struct place place_next(const struct chk_mem *m, struct place at)
{
    return at.i + 1 < m->bunch[at.bunch].count ? (struct place){at.bunch, at.i + 1}
                                               : (struct place){at.bunch + 1, 0};
}

static uint64_t piece_end(const struct chk_mem *m, struct place at)
{
    const struct chk_piece *next = piece_at(m, place_next(m, at));

    return next ? next->begin : m->elems;
}

/* The last piece that begins at or before `at`, which lies in the buffer. */
static struct place piece_find(const struct chk_mem *m, uint64_t at)
{
    struct place ret = {0, 0};
    size_t hi = m->bunches;

    while (hi - ret.bunch > 1) {
        size_t mid = ret.bunch + (hi - ret.bunch) / 2;

        if (m->bunch[mid].begin <= at)
            ret.bunch = mid;
        else
            hi = mid;
    }
    hi = m->bunch[ret.bunch].count;
    while (hi - ret.i > 1) {
        size_t mid = ret.i + (hi - ret.i) / 2;

        if (m->bunch[ret.bunch].piece[mid].begin <= at)
            ret.i = mid;
        else
            hi = mid;
    }
    return ret;
}

/* Put a piece at a place, in front of what is there; *at becomes where it is. */
static bool piece_insert(struct chk_mem *m, struct place *at, const struct chk_piece *piece)
{
    struct chk_bunch *l;

    if (m->bunch[at->bunch].count == BUNCH_MOST) {
        if (!bunch_halve(m, at->bunch))
            return false;
        if (at->i > m->bunch[at->bunch].count)
            *at = (struct place){at->bunch + 1, at->i - m->bunch[at->bunch].count};
    }
    l = &m->bunch[at->bunch];
    if (!mem_grow((void **)&l->piece, &l->cap, l->count + 1, sizeof(*l->piece)))
        return false;
    memmove(&l->piece[at->i + 1], &l->piece[at->i], (l->count - at->i) * sizeof(*l->piece));
    l->piece[at->i] = *piece;
    l->begin = l->piece[0].begin;
    l->count++;
    return true;
}

/* Make a piece begin at `at`, unless that is the end of the buffer. */
static bool piece_split(struct chk_mem *m, uint64_t at)
{
    struct chk_piece new, *p;
    struct place place;

    if (at >= m->elems)
        return true;
    place = piece_find(m, at);
    p = piece_at(m, place);
    if (p->begin == at)
        return true;
    new = *p;
    new.begin = at;
    new.off += at - p->begin;
    new.more_reads = NULL;
    new.more_cap = 0;
    if (new.more) {
        new.more_reads = mem_calloc(new.more, sizeof(*new.more_reads));
        if (!new.more_reads)
            return false;
        memcpy(new.more_reads, p->more_reads, new.more * sizeof(*new.more_reads));
        new.more_cap = new.more;
    }
    place.i++;
    if (piece_insert(m, &place, &new))
        return true;
    mem_free(new.more_reads);
    return false;
}

/* Make pieces begin at both ends of a range inside the buffer; *ret is the first of them. */
static bool range_cut(struct chk_mem *m, uint64_t off, uint64_t len, struct place *ret)
{
    if (!piece_split(m, off + len) || !piece_split(m, off))
        return false;
    *ret = piece_find(m, off);
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

/* Join equal neighbours among the pieces first .. last of a bunch. */
static void bunch_merge(struct chk_bunch *l, size_t first, size_t last)
{
    size_t out = first;

    for (size_t in = first + 1; in <= last; in++) {
        if (piece_continues(&l->piece[out], &l->piece[in]))
            mem_free(l->piece[in].more_reads);
        else
            l->piece[++out] = l->piece[in];
    }
    memmove(&l->piece[out + 1], &l->piece[last + 1], (l->count - last - 1) * sizeof(*l->piece));
    l->count -= last - out;
}

/* Make one of bunch k and the next where they have few pieces, or both sides are equal where they
 * meet. False: memory. */
static bool bunch_join(struct chk_mem *m, size_t k)
{
    struct chk_bunch *l = &m->bunch[k], *next = l + 1;
    size_t count = l->count;

    if (k + 1 >= m->bunches || count + next->count > BUNCH_FEW)
        return true;
    if (!mem_grow((void **)&l->piece, &l->cap, count + next->count, sizeof(*l->piece)))
        return false;
    memcpy(&l->piece[count], next->piece, next->count * sizeof(*next->piece));
    l->count += next->count;
    bunches_remove(m, k + 1, k + 2);
    bunch_merge(l, count - 1, count);
    return true;
}

/* Join equal neighbours among the pieces that begin in [off, end], and the one before. Neighbours
 * in different bunches stay two until their bunches are joined. */
static bool range_merge(struct chk_mem *m, uint64_t off, uint64_t end)
{
    struct place at = piece_find(m, off);
    size_t k = at.bunch;

    for (; k < m->bunches && m->bunch[k].begin <= end; k++) {
        struct chk_bunch *l = &m->bunch[k];
        size_t first = k > at.bunch || at.i == 0 ? 0 : at.i - 1, last = first;

        while (last + 1 < l->count && l->piece[last + 1].begin <= end)
            last++;
        bunch_merge(l, first, last);
    }
    for (size_t i = k < m->bunches ? k + 1 : k; i-- > at.bunch;)
        if (!bunch_join(m, i))
            return false;
    return at.bunch == 0 || bunch_join(m, at.bunch - 1);
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
    struct chk_piece *p;
    struct place at;

    runs->count = 0;
    if (len == 0)
        return CHK_FINE;
    if (!range_cut(m, off, len, &at))
        return CHK_MEMORY;
    for (; (p = piece_at(m, at)) != NULL && p->begin < off + len; at = place_next(m, at)) {
        if (!ordered(who, p->write))
            return clash_at(CHK_READ_RACE, p, off, p->write, found);
        if (p->value == CHK_NOTHING)
            return clash_at(CHK_UNWRITTEN, p, off, p->write, found);
        if (!read_note(p, who, as) ||
            !chk_runs_add(runs, piece_end(m, at) - p->begin, p->value, p->off))
            return CHK_MEMORY;
    }
    return range_merge(m, off, off + len) ? CHK_FINE : CHK_MEMORY;
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

/* Forget the pieces of a bunch from number i on that begin before `end`; it may become empty. */
static void bunch_drop(struct chk_bunch *l, size_t i, uint64_t end)
{
    size_t last = i;

    while (last < l->count && l->piece[last].begin < end)
        last++;
    pieces_drop(l, i, last);
    if (l->count > 0)
        l->begin = l->piece[0].begin;
}

/* Forget the pieces from `at` on that begin before `end`. The bunch of `at` stays, be it empty. */
static void range_drop(struct chk_mem *m, struct place at, uint64_t end)
{
    size_t k = at.bunch + 1;

    bunch_drop(&m->bunch[at.bunch], at.i, end);
    for (; k < m->bunches && m->bunch[k].begin < end; k++) {
        bunch_drop(&m->bunch[k], 0, end);
        if (m->bunch[k].count > 0)
            break;
    }
    bunches_remove(m, at.bunch + 1, k);
}

enum chk_clash chk_mem_write(struct chk_mem *m, uint64_t off, uint64_t len,
                             const struct chk_who *who, struct chk_access as,
                             const struct chk_runs *runs, struct chk_found *found)
{
    struct chk_piece *p;
    struct place first, at;
    uint64_t begin = off;

    if (len == 0)
        return CHK_FINE;
    if (!range_cut(m, off, len, &first))
        return CHK_MEMORY;
    for (at = first; (p = piece_at(m, at)) != NULL && p->begin < off + len;
         at = place_next(m, at)) {
        enum chk_clash clash = write_check(p, who, off, found);

        if (clash != CHK_FINE)
            return clash;
    }
    range_drop(m, first, off + len);
    for (size_t i = 0; i < runs->count; i++, first.i++) {
        struct chk_piece new = {
            .begin = begin, .off = runs->run[i].off, .value = runs->run[i].value, .write = as};

        if (!piece_insert(m, &first, &new))
            return CHK_MEMORY;
        begin += runs->run[i].len;
    }
    return range_merge(m, off, off + len) ? CHK_FINE : CHK_MEMORY;
}
