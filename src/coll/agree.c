/* SPDX-License-Identifier: Apache-2.0 */
/* What the ranks of a model tell each other when they load it: that they can or cannot, what their
 * tables are, and how it went.
 *
 * Tables are compared before any communicator is opened: every rank tells all which communicators
 * its table wants, by name, and with which collectives. Each finds by itself, from the same data,
 * whether every communicator is wanted by all of its members and by them alike; so a difference
 * anywhere fails the load on all, also on ranks that have nothing to do with it. From the same data
 * they order the communicators: making one waits for its members only, and in one order for all no
 * two wait for each other, whatever the tables look like.
 *
 * What others tell is bytes: sizes are checked, names only compared. */
#include <stdlib.h>
#include <string.h>

#include "coll/world_int.h"

#define WHY_MAX 200 /* bytes of a reason */

/* What a rank says: byte 0, that it can load (which may be followed by a number or a table); or
 * byte 1, that it cannot, and then why, unless it has that from another one. */
struct reason {
    size_t size;
    uint8_t bytes[1 + WHY_MAX];
};

struct comm_head {
    uint64_t key;
    uint32_t n, me, count, unused;
};
struct comm_entry {
    uint64_t signature;
    uint32_t graph, entry;
    struct agree_words words;
};

/* A communicator as a rank wants it. */
struct wanted {
    uint32_t rank;  /* of the model, by position */
    uint32_t place; /* among those of that rank */
    struct comm_head head;
    const uint8_t *entries;
};

struct agreement {
    const uint32_t *model;
    const struct neff *neff;
    struct wanted *wanted;
    size_t count, cap;
    struct err *err;
};

/* ---- reasons ---- */

/* NULL: there is none. */
static struct reason reason_of(const char *why)
{
    struct reason r = {.size = 1, .bytes = {why != NULL}};
    size_t n = why ? strnlen(why, WHY_MAX) : 0;

    if (n)
        memcpy(r.bytes + 1, why, n);
    r.size += n;
    return r;
}

/* What others wrote, as far as it can be printed. */
static void reason_text(const uint8_t *p, size_t size, char text[WHY_MAX + 1])
{
    size = size < WHY_MAX ? size : WHY_MAX;
    for (size_t k = 0; k < size; k++)
        text[k] = (char)(p[k] < 0x20 || p[k] > 0x7e ? '?' : p[k]);
    text[size] = '\0';
}

static size_t part_size(const struct coll_parts *all, uint32_t i)
{
    return all->off[i + 1] - all->off[i];
}

/* The first rank that gave a reason of its own, else the first that cannot load. */
static NRT_STATUS reasons_check(const uint32_t *model, uint32_t n, const struct coll_parts *all,
                                struct err *err)
{
    uint32_t first = n;
    char text[WHY_MAX + 1];

    for (uint32_t i = n; i-- > 0;) {
        if (part_size(all, i) == 0 || all->data[all->off[i]] == 0)
            continue;
        if (first == n || part_size(all, i) > 1 || part_size(all, first) == 1)
            first = i;
    }
    if (first == n)
        return NRT_SUCCESS;
    reason_text(all->data + all->off[first] + 1, part_size(all, first) - 1, text);
    return err_set(err, NRT_FAILURE, "rank %u cannot load the model%s%s", model[first],
                   text[0] ? ": " : "", text);
}

/* The number of this load: above those of all loads before it, on every rank. */
static NRT_STATUS number_take(struct coll_rank *r, const uint32_t *model, uint32_t n,
                              const struct coll_parts *all, struct err *err)
{
    uint32_t most = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t theirs;

        if (part_size(all, i) != 1 + sizeof(theirs))
            return err_set(err, NRT_INVALID, "rank %u speaks another protocol", model[i]);
        memcpy(&theirs, all->data + all->off[i] + 1, sizeof(theirs));
        most = theirs > most ? theirs : most;
    }
    if (most >= LOADS_MAX)
        return err_set(err, NRT_RESOURCE, "too many loads");
    r->loads = most + 1;
    return NRT_SUCCESS;
}

NRT_STATUS agree_ready(struct coll_rank *r, const uint32_t *model, uint32_t n, struct err *err)
{
    const struct coll_terms terms = {.call = CALL_LOAD, .limit_ms = r->w->join_ms, .counted = true};
    uint8_t mine[1 + sizeof(r->loads)] = {0};
    struct coll_parts all;
    NRT_STATUS st;

    memcpy(mine + 1, &r->loads, sizeof(r->loads));
    st = coll_meet_gather(r->meet, model, n, TAG_READY, mine, sizeof(mine), &terms, &all, err);
    if (!st)
        st = reasons_check(model, n, &all, err);
    if (!st)
        st = number_take(r, model, n, &all, err);
    coll_parts_free(&all);
    return st;
}

NRT_STATUS agree_leave(struct coll_rank *r, const uint32_t *model, uint32_t n, const char *why,
                       struct err *err)
{
    struct reason mine = reason_of(why);

    return coll_meet_leave(r->meet, model, n, TAG_READY, mine.bytes, mine.size, true, err);
}

NRT_STATUS agree_done(struct coll_rank *r, const uint32_t *model, uint32_t n, struct err *err)
{
    struct reason mine = reason_of(!err->status ? NULL : r->heard ? "" : err->text);
    /* The last word of the load: who has said that all is well can take what the others say. */
    const struct coll_terms terms = {
        .call = CALL_LOAD, .limit_ms = r->w->limit_ms, .most = sizeof(mine.bytes)};
    uint32_t tag = load_tag(r, TAG_DONE);
    struct coll_parts all;

    if (!coll_meet_gather(r->meet, model, n, tag, mine.bytes, mine.size, &terms, &all, err))
        (void)reasons_check(model, n, &all, err);
    coll_parts_free(&all);
    coll_meet_forget(r->meet, model, n, tag);
    return err->status;
}

/* ---- tables: telling ---- */

static uint64_t mix(uint64_t h, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        h = (h ^ (uint8_t)(v >> 8 * i)) * UINT64_C(1099511628211);
    return h;
}

static uint64_t key_of(const struct agree_comm *c)
{
    uint64_t h = mix(mix(UINT64_C(14695981039346656037), c->stream), c->n);

    for (uint32_t i = 0; i < c->n; i++)
        h = mix(h, c->ranks[i]);
    return h;
}

static bool comm_put(struct strbuf *b, const struct agree_comm *c)
{
    struct comm_head head = {.key = c->key, .n = c->n, .me = c->me, .count = (uint32_t)c->count};

    strbuf_putn(b, (const char *)&head, sizeof(head));
    for (size_t i = 0; i < c->count; i++) {
        struct comm_entry e = {c->signature[i], c->graph[i], c->entry[i], c->words[i]};

        strbuf_putn(b, (const char *)&e, sizeof(e));
    }
    return !b->failed;
}

static NRT_STATUS table_put(struct strbuf *b, const struct agree_comm *comms, size_t count,
                            struct err *err)
{
    bool good;

    strbuf_putn(b, "", 1);
    good = !b->failed;
    for (size_t i = 0; i < count && good; i++)
        good = comm_put(b, &comms[i]);
    return good ? NRT_SUCCESS
                : err_set(err, NRT_RESOURCE, "no memory for the collectives of a model");
}

/* ---- tables: hearing ---- */

static NRT_STATUS nonsense(const struct agreement *a, uint32_t rank)
{
    return err_set(a->err, NRT_INVALID, "rank %u speaks another protocol", a->model[rank]);
}

static NRT_STATUS table_take(struct agreement *a, uint32_t rank, const uint8_t *p, size_t size)
{
    uint32_t place = 0;

    if (size == 0 || p[0] != 0)
        return nonsense(a, rank);
    for (p++, size--; size; place++) {
        struct wanted w = {.rank = rank, .place = place};

        if (size < sizeof(w.head))
            return nonsense(a, rank);
        memcpy(&w.head, p, sizeof(w.head));
        p += sizeof(w.head);
        size -= sizeof(w.head);
        if (w.head.count > size / sizeof(struct comm_entry))
            return nonsense(a, rank);
        w.entries = p;
        p += w.head.count * sizeof(struct comm_entry);
        size -= w.head.count * sizeof(struct comm_entry);
        if (!mem_grow((void **)&a->wanted, &a->cap, a->count + 1, sizeof(w)))
            return err_set(a->err, NRT_RESOURCE, "no memory for the collectives of a model");
        a->wanted[a->count++] = w;
    }
    return NRT_SUCCESS;
}

static int by_key(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;

    if (x->head.key != y->head.key)
        return x->head.key < y->head.key ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static struct comm_entry entry_at(const struct wanted *w, size_t i)
{
    struct comm_entry e;

    memcpy(&e, w->entries + i * sizeof(e), sizeof(e));
    return e;
}

/* ---- tables: comparing ---- */

static void words_text(const struct agree_words *w, char text[WHY_MAX + 1])
{
    reason_text((const uint8_t *)w->text, strnlen(w->text, sizeof(w->text)), text);
}

static const char *member_of(const struct agreement *a, uint32_t graph)
{
    const char *name = graph < a->neff->graph_count ? a->neff->graphs[graph].coll_member : NULL;

    return name ? name : "collectives";
}

/* Two ranks that want one communicator. */
static NRT_STATUS pair_check(const struct agreement *a, const struct wanted *x,
                             const struct wanted *y)
{
    if (x->rank == y->rank || x->head.n != y->head.n)
        return nonsense(a, y->rank);
    if (x->head.count != y->head.count)
        return err_set(a->err, NRT_INVALID,
                       "%s: rank %u has %u collectives with this group, rank %u has %u",
                       member_of(a, x->head.count ? entry_at(x, 0).graph : 0), a->model[y->rank],
                       y->head.count, a->model[x->rank], x->head.count);
    for (size_t i = 0; i < x->head.count; i++) {
        struct comm_entry mine = entry_at(x, i), theirs = entry_at(y, i);
        char here[WHY_MAX + 1], there[WHY_MAX + 1];

        if (((mine.signature ^ theirs.signature) & ~SHARED_IN_PLACE) == 0)
            continue;
        words_text(&mine.words, here);
        words_text(&theirs.words, there);
        return err_set(a->err, NRT_INVALID,
                       "%s: [%u]: rank %u has another operation, size, type or algorithm here than "
                       "rank %u: %s, and not %s",
                       member_of(a, mine.graph), mine.entry, a->model[y->rank], a->model[x->rank],
                       there, here);
    }
    return NRT_SUCCESS;
}

/* Which position of the group nobody has; all of them are below n and differ, or there is one. */
static uint32_t position_missing(const struct wanted *w, size_t count)
{
    uint32_t missing = 0;
    bool found = true;

    while (found) {
        found = false;
        for (size_t i = 0; i < count && !found; i++)
            found = w[i].head.me == missing;
        missing += found;
    }
    return missing;
}

/* w[0 .. count - 1] want the same communicator, which all of its members must. */
static NRT_STATUS comm_check(const struct agreement *a, const struct wanted *w, size_t count)
{
    NRT_STATUS st = NRT_SUCCESS;

    for (size_t i = 1; i < count && !st; i++)
        st = pair_check(a, &w[0], &w[i]);
    if (!st && count != w->head.n) {
        struct comm_entry e = entry_at(w, 0);

        st =
            err_set(a->err, NRT_INVALID,
                    "%s: [%u]: of its group of %u, whose first is rank %u, only %zu ranks have it: "
                    "not the one at position %u",
                    member_of(a, e.graph), e.entry, w->head.n, a->model[w->rank], count,
                    position_missing(w, count));
    }
    return st;
}

/* What this rank takes from it: where the communicator comes, and which are in place everywhere. */
static void comm_take(const struct agreement *a, const struct wanted *w, size_t count,
                      struct agree_comm *c)
{
    uint32_t place = UINT32_MAX;

    for (size_t i = 0; i < count; i++) {
        place = w[i].place < place ? w[i].place : place;
        for (size_t k = 0; k < c->count; k++)
            c->signature[k] &= entry_at(&w[i], k).signature | ~SHARED_IN_PLACE;
    }
    /* the earliest first, so that equal tables are walked in their order; ties by rank */
    c->order = (uint64_t)place << 32 | a->model[w->rank];
}

static NRT_STATUS compare(struct agreement *a, struct agree_comm *comms, size_t count)
{
    NRT_STATUS st = NRT_SUCCESS;

    if (a->count)
        qsort(a->wanted, a->count, sizeof(*a->wanted), by_key);
    for (size_t first = 0, end; first < a->count && !st; first = end) {
        const struct wanted *w = &a->wanted[first];

        for (end = first + 1; end < a->count && a->wanted[end].head.key == w->head.key;)
            end++;
        st = comm_check(a, w, end - first);
        for (size_t i = 0; i < count && !st; i++)
            if (comms[i].key == w->head.key)
                comm_take(a, w, end - first, &comms[i]);
    }
    return st;
}

NRT_STATUS agree_tables(struct coll_rank *r, const uint32_t *model, uint32_t n,
                        const struct neff *neff, struct agree_comm *comms, size_t count,
                        struct err *err)
{
    const struct coll_terms terms = {.call = CALL_LOAD, .limit_ms = r->w->limit_ms};
    struct agreement a = {.model = model, .neff = neff, .err = err};
    struct coll_parts all = {0};
    struct strbuf table = {0};
    struct reason why;
    uint32_t tag = load_tag(r, TAG_TABLE);
    NRT_STATUS st;

    for (size_t i = 0; i < count; i++)
        comms[i].key = key_of(&comms[i]);
    if (!err->status)
        (void)table_put(&table, comms, count, err);
    why = reason_of(err->status ? err->text : NULL);
    st = coll_meet_gather(r->meet, model, n, tag, err->status ? (void *)why.bytes : table.s,
                          err->status ? why.size : table.len, &terms, &all, err);
    r->heard = !st && !err->status && reasons_check(model, n, &all, err);
    for (uint32_t i = 0; i < n && !err->status; i++)
        (void)table_take(&a, i, all.data + all.off[i], part_size(&all, i));
    if (!err->status)
        (void)compare(&a, comms, count);
    coll_meet_forget(r->meet, model, n, tag);
    strbuf_fini(&table);
    coll_parts_free(&all);
    mem_free(a.wanted);
    return err->status;
}
