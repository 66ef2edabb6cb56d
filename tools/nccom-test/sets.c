/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON inputs, from a tree that neff/json.h has made. */
#include "sets.h"

#include <stdio.h>
#include <string.h>

#include "base/broken.h"
#include "base/mem.h"
#include "neff/json.h"

struct reader {
    struct json_doc doc;
    const char *name;
    struct err *err;
};

static NRT_STATUS fail(const struct reader *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static NRT_STATUS fail(const struct reader *r, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return err_set(r->err, NRT_INVALID, "%s: %s", r->name, text);
}

static NRT_STATUS no_memory(const struct reader *r)
{
    return err_set(r->err, NRT_RESOURCE, "%s: out of host memory", r->name);
}

/* The array that is the file's one member. */
static NRT_STATUS open_array(struct reader *r, const char *name, const void *text, size_t size,
                             const char *key, const struct json_node **ret, struct err *err)
{
    const struct json_node *root;
    NRT_STATUS st;

    *r = (struct reader){.name = name, .err = err};
    st = json_parse(&r->doc, name, text, size, err);
    if (st != NRT_SUCCESS)
        return st;
    root = r->doc.nodes;
    *ret = root->type == JSON_OBJECT ? json_member(&r->doc, root, key) : NULL;
    if (*ret == NULL || (*ret)->type != JSON_ARRAY || (*ret)->u.count == 0 || BROKEN(TOOL))
        return fail(r, "not an object with an array \"%s\"", key);
    return NRT_SUCCESS;
}

/* An array of integers 0 .. max; *ret is the caller's. */
static NRT_STATUS numbers(const struct reader *r, const struct json_node *a, uint32_t max,
                          uint32_t **ret, uint32_t *ret_count)
{
    const struct json_node *n = json_first(a);
    uint32_t *v;

    if (a->type != JSON_ARRAY || a->u.count > CC_RANKS_MAX)
        return fail(r, "not an array of at most %u numbers", CC_RANKS_MAX);
    v = mem_calloc(a->u.count + 1, sizeof(*v));
    if (v == NULL)
        return no_memory(r);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(&r->doc, n)) {
        if (n->type != JSON_INT || n->u.i < 0 || n->u.i > (int64_t)max) {
            mem_free(v);
            return fail(r, "not a number from 0 to %u", max);
        }
        v[i] = (uint32_t)n->u.i;
    }
    *ret = v;
    *ret_count = (uint32_t)a->u.count;
    return NRT_SUCCESS;
}

/* ---- groups ---- */

/* Marks a rank; false: it had been marked. */
static bool first_time(uint8_t *seen, uint32_t rank)
{
    bool first = (seen[rank / 8] >> rank % 8 & 1) == 0;

    seen[rank / 8] |= (uint8_t)(1u << rank % 8);
    return first;
}

static NRT_STATUS grouping_read(const struct reader *r, const struct json_node *a, uint32_t ranks,
                                struct cc_grouping *g)
{
    const struct json_node *n = json_first(a);
    uint8_t seen[CC_RANKS_MAX / 8] = {0};
    uint32_t *one = NULL, size = 0;
    NRT_STATUS st = NRT_SUCCESS;

    if (a->type != JSON_ARRAY || a->u.count == 0 || a->u.count > ranks)
        return fail(r, "an operation needs an array of 1 to %u groups", ranks);
    g->ranks = mem_calloc(ranks, sizeof(*g->ranks));
    if (g->ranks == NULL)
        return no_memory(r);
    for (uint64_t i = 0; i < a->u.count && st == NRT_SUCCESS; i++, n = json_next(&r->doc, n)) {
        st = numbers(r, n, ranks - 1, &one, &size);
        if (st != NRT_SUCCESS)
            break;
        if (i == 0)
            g->size = size;
        if (size == 0 || size != g->size)
            st = fail(r, size == 0 ? "an empty group" : "groups differ in size");
        for (uint32_t k = 0; k < size && st == NRT_SUCCESS; k++) {
            if (!first_time(seen, one[k]))
                st = fail(r, "rank %u is in two places", one[k]);
            else
                g->ranks[g->groups * g->size + k] = one[k];
        }
        g->groups++;
        mem_free(one);
    }
    return st;
}

NRT_STATUS cc_groups_read(struct cc_groups *g, const char *name, const void *text, size_t size,
                          uint32_t ranks, struct err *err)
{
    const struct json_node *a, *n;
    struct reader r;
    NRT_STATUS st = open_array(&r, name, text, size, "replica_groups", &a, err);

    memset(g, 0, sizeof(*g));
    if (st == NRT_SUCCESS && (ranks > CC_RANKS_MAX || a->u.count > CC_LISTS_MAX))
        st = fail(&r, "groups of more than %u operations", CC_LISTS_MAX);
    n = st == NRT_SUCCESS ? json_first(a) : NULL;
    while (st == NRT_SUCCESS && g->count < a->u.count) {
        st = grouping_read(&r, n, ranks, &g->list[g->count++]);
        if (st == NRT_SUCCESS && g->list[g->count - 1].size != g->list[0].size)
            st = fail(&r, "groups differ in size");
        n = json_next(&r.doc, n);
    }
    if (st != NRT_SUCCESS)
        cc_groups_fini(g);
    json_doc_fini(&r.doc);
    return st;
}

NRT_STATUS cc_groups_make(struct cc_groups *g, uint32_t ranks, uint32_t size, struct err *err)
{
    struct cc_grouping *l = &g->list[0];

    memset(g, 0, sizeof(*g));
    l->ranks = mem_calloc(ranks, sizeof(*l->ranks));
    if (l->ranks == NULL)
        return err_set(err, NRT_RESOURCE, "out of host memory");
    g->count = 1;
    l->size = size;
    l->groups = ranks / size;
    for (uint32_t i = 0; i < l->groups; i++)
        for (uint32_t k = 0; k < size; k++)
            l->ranks[i * size + k] = i + k * l->groups;
    return NRT_SUCCESS;
}

void cc_groups_fini(struct cc_groups *g)
{
    for (unsigned i = 0; i < g->count; i++)
        mem_free(g->list[i].ranks);
    memset(g, 0, sizeof(*g));
}

/* ---- pairs ---- */

static NRT_STATUS pairing_read(const struct reader *r, const struct json_node *a, uint32_t ranks,
                               struct cc_pairing *p)
{
    const struct json_node *n = json_first(a);
    uint8_t source[CC_RANKS_MAX / 8] = {0}, target[CC_RANKS_MAX / 8] = {0};
    uint32_t *one, size;
    NRT_STATUS st;

    if (a->type != JSON_ARRAY || a->u.count == 0 || a->u.count > ranks)
        return fail(r, "an operation needs an array of 1 to %u pairs", ranks);
    p->pair = mem_calloc(a->u.count, sizeof(*p->pair));
    if (p->pair == NULL)
        return no_memory(r);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(&r->doc, n)) {
        st = numbers(r, n, ranks - 1, &one, &size);
        if (st != NRT_SUCCESS)
            return st;
        if (size == 2)
            memcpy(p->pair[p->count++], one, sizeof(p->pair[0]));
        mem_free(one);
        if (size != 2)
            return fail(r, "a pair is [source, target]");
        if (!first_time(source, p->pair[i][0]))
            return fail(r, "rank %u is a source twice", p->pair[i][0]);
        if (!first_time(target, p->pair[i][1]))
            return fail(r, "rank %u is a target twice", p->pair[i][1]);
    }
    /* closed cycles: collectives.md 2.2 */
    if (memcmp(source, target, sizeof(source)) != 0)
        return fail(r, "the sources are not the targets: pairs must form closed rings");
    return NRT_SUCCESS;
}

NRT_STATUS cc_pairs_read(struct cc_pairs *p, const char *name, const void *text, size_t size,
                         uint32_t ranks, struct err *err)
{
    const struct json_node *a, *n;
    struct reader r;
    NRT_STATUS st = open_array(&r, name, text, size, "src_target_pairs", &a, err);

    memset(p, 0, sizeof(*p));
    if (st == NRT_SUCCESS && (ranks > CC_RANKS_MAX || a->u.count > CC_LISTS_MAX))
        st = fail(&r, "pairs of more than %u operations", CC_LISTS_MAX);
    n = st == NRT_SUCCESS ? json_first(a) : NULL;
    while (st == NRT_SUCCESS && p->count < a->u.count) {
        st = pairing_read(&r, n, ranks, &p->list[p->count++]);
        n = json_next(&r.doc, n);
    }
    if (st != NRT_SUCCESS)
        cc_pairs_fini(p);
    json_doc_fini(&r.doc);
    return st;
}

/* Positions of a group in the order of a cycle, node after node, every second one backwards. False:
 * it would not close over links. */
static bool cycle_of(const struct topo_group *g, uint32_t *order)
{
    if (g->per_node > 2 && !g->layout.linked)
        return false;
    if (g->nodes > 1 && g->nodes % 2 != 0 && g->per_node > 1)
        return false;
    for (uint32_t x = 0; x < g->nodes; x++)
        for (uint32_t i = 0; i < g->per_node; i++) {
            uint32_t place = x % 2 == 0 ? i : g->per_node - 1 - i;

            order[x * g->per_node + i] = g->at[x * g->per_node + g->layout.order[place]];
        }
    return true;
}

static NRT_STATUS group_pair(struct cc_pairing *to, const uint32_t *ranks, uint32_t n,
                             const struct topo_world *world, struct err *err)
{
    uint32_t *order = mem_calloc(n, sizeof(*order));
    struct topo_group g;
    NRT_STATUS st = order != NULL ? topo_group_init(&g, world, ranks, n, err)
                                  : err_set(err, NRT_RESOURCE, "out of host memory");
    bool cycle;

    if (st != NRT_SUCCESS) {
        mem_free(order);
        return st;
    }
    cycle = cycle_of(&g, order);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t *pair = to->pair[to->count++];

        pair[0] = cycle ? ranks[order[i]] : ranks[i];
        pair[1] = cycle ? ranks[order[(i + 1) % n]] : ranks[(i ^ 1) < n ? i ^ 1 : i];
    }
    topo_group_fini(&g);
    mem_free(order);
    return NRT_SUCCESS;
}

NRT_STATUS cc_pairs_make(struct cc_pairs *p, const struct cc_groups *g,
                         const struct topo_world *world, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    memset(p, 0, sizeof(*p));
    for (unsigned i = 0; i < g->count && st == NRT_SUCCESS; i++) {
        const struct cc_grouping *l = &g->list[i];
        struct cc_pairing *to = &p->list[p->count++];

        to->pair = mem_calloc((size_t)l->groups * l->size, sizeof(*to->pair));
        if (to->pair == NULL)
            st = err_set(err, NRT_RESOURCE, "out of host memory");
        for (uint32_t k = 0; k < l->groups && st == NRT_SUCCESS; k++)
            st = group_pair(to, l->ranks + (size_t)k * l->size, l->size, world, err);
    }
    if (st != NRT_SUCCESS)
        cc_pairs_fini(p);
    return st;
}

void cc_pairs_fini(struct cc_pairs *p)
{
    for (unsigned i = 0; i < p->count; i++)
        mem_free(p->list[i].pair);
    memset(p, 0, sizeof(*p));
}

/* ---- counts of variable size ---- */

/* Counts and displacements of one direction; both empty or missing: not given. */
static NRT_STATUS direction_read(const struct reader *r, const struct json_node *obj,
                                 const char *count_key, const char *displ_key, uint32_t **count,
                                 uint32_t **displ, uint32_t *ret_n)
{
    const struct json_node *c = json_member(&r->doc, obj, count_key);
    const struct json_node *d = json_member(&r->doc, obj, displ_key);
    uint32_t n = 0;
    NRT_STATUS st = NRT_SUCCESS;

    *ret_n = 0;
    if (c != NULL)
        st = numbers(r, c, INT32_MAX, count, ret_n);
    if (st == NRT_SUCCESS && d != NULL)
        st = numbers(r, d, INT32_MAX, displ, &n);
    if (st == NRT_SUCCESS && n != *ret_n)
        st = fail(r, "%s and %s differ in length", count_key, displ_key);
    return st;
}

static NRT_STATUS entry_read(const struct reader *r, const struct json_node *obj,
                             struct cc_counts_entry *e)
{
    NRT_STATUS st;

    if (obj->type != JSON_OBJECT)
        return fail(r, "an entry of metadata is an object");
    st = direction_read(r, obj, "send_counts", "send_displs", &e->send_count, &e->send_displ,
                        &e->sends);
    if (st == NRT_SUCCESS && e->sends == 0)
        st = fail(r, "no send_counts");
    if (st == NRT_SUCCESS)
        st = direction_read(r, obj, "recv_counts", "recv_displs", &e->recv_count, &e->recv_displ,
                            &e->receives);
    return st;
}

NRT_STATUS cc_metadata_read(struct cc_metadata *m, const char *name, const void *text, size_t size,
                            struct err *err)
{
    const struct json_node *a, *n;
    struct reader r;
    NRT_STATUS st = open_array(&r, name, text, size, "metadata", &a, err);

    memset(m, 0, sizeof(*m));
    if (st == NRT_SUCCESS && a->u.count > CC_ENTRIES_MAX)
        st = fail(&r, "more than %u entries", CC_ENTRIES_MAX);
    if (st == NRT_SUCCESS) {
        m->entry = mem_calloc(a->u.count, sizeof(*m->entry));
        st = m->entry != NULL ? NRT_SUCCESS : no_memory(&r);
    }
    n = st == NRT_SUCCESS ? json_first(a) : NULL;
    while (st == NRT_SUCCESS && m->count < a->u.count) {
        st = entry_read(&r, n, &m->entry[m->count++]);
        n = json_next(&r.doc, n);
    }
    if (st != NRT_SUCCESS)
        cc_metadata_fini(m);
    json_doc_fini(&r.doc);
    return st;
}

void cc_metadata_fini(struct cc_metadata *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        mem_free(m->entry[i].send_count);
        mem_free(m->entry[i].send_displ);
        mem_free(m->entry[i].recv_count);
        mem_free(m->entry[i].recv_displ);
    }
    mem_free(m->entry);
    memset(m, 0, sizeof(*m));
}

/* ---- streams ---- */

/* The value of a key as the command line would have it; arrays: "[1,2,1]". */
static NRT_STATUS value_text(const struct reader *r, const struct json_node *n, struct strbuf *to)
{
    const struct json_node *e = json_first(n);

    switch (n->type) {
    case JSON_STRING:
        strbuf_put(to, json_text(&r->doc, n));
        break;
    case JSON_INT:
        strbuf_printf(to, "%lld", (long long)n->u.i);
        break;
    case JSON_BOOL:
        strbuf_put(to, n->u.b ? "true" : "false");
        break;
    case JSON_ARRAY:
        strbuf_put(to, "[");
        for (uint64_t i = 0; i < n->u.count; i++, e = json_next(&r->doc, e)) {
            if (e->type != JSON_INT)
                return fail(r, "%s: not a list of integers", json_name(&r->doc, n));
            strbuf_printf(to, "%s%lld", i > 0 ? "," : "", (long long)e->u.i);
        }
        strbuf_put(to, "]");
        break;
    default:
        return fail(r, "%s: not a value of an option", json_name(&r->doc, n));
    }
    return to->failed ? no_memory(r) : NRT_SUCCESS;
}

static NRT_STATUS stream_read(const struct reader *r, unsigned index, const struct json_node *obj,
                              struct cc_stream *s)
{
    const struct json_node *n = json_first(obj);
    NRT_STATUS st = NRT_SUCCESS;
    struct err why = {0};

    if (obj->type != JSON_OBJECT)
        return fail(r, "stream %u is not an object", index);
    for (uint64_t i = 0; i < obj->u.count && st == NRT_SUCCESS; i++, n = json_next(&r->doc, n)) {
        struct strbuf text = {0};

        st = value_text(r, n, &text);
        if (st == NRT_SUCCESS)
            st = cc_stream_set(s, json_name(&r->doc, n), text.s != NULL ? text.s : "", &why);
        strbuf_fini(&text);
    }
    if (why.status != NRT_SUCCESS)
        return fail(r, "stream %u: %s", index, why.text);
    return st;
}

NRT_STATUS cc_streams_read(struct cc_stream streams[CC_STREAMS_MAX], unsigned *ret_count,
                           const struct cc_stream *all, const char *name, const void *text,
                           size_t size, struct err *err)
{
    const struct json_node *a, *n;
    struct reader r;
    NRT_STATUS st = open_array(&r, name, text, size, "streams", &a, err);

    *ret_count = 0;
    if (st == NRT_SUCCESS && a->u.count > CC_STREAMS_MAX)
        st = fail(&r, "more than %u streams", CC_STREAMS_MAX);
    n = st == NRT_SUCCESS ? json_first(a) : NULL;
    for (unsigned i = 0; st == NRT_SUCCESS && i < a->u.count; i++, n = json_next(&r.doc, n)) {
        streams[i] = *all;
        st = stream_read(&r, i, n, &streams[i]);
        *ret_count = i + 1;
    }
    json_doc_fini(&r.doc);
    return st;
}
