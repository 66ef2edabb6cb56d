/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON file of one engine: DMA trigger groups and the extras of Activation and DVE.
 * docs/spec/neff.md sections 7.1 and 8, rules A01 to A07, X01. */
#include "neff/neff_int.h"

#include <stdlib.h>
#include <string.h>

struct engine_reader {
    struct neff_sg_reader *s;
    const struct json_ctx *c;
    struct neff_engine_code *code;
};

static NRT_STATUS group_fail(const struct engine_reader *r, uint64_t i, const char *what,
                             const char *value)
{
    return neff_fail(r->c->err, NRT_INVALID, "%s: dma[%llu]%s%s", r->c->member,
                     (unsigned long long)i, what, value);
}

/* The queue set: by instance name, which wins, or by its own name. A01, A02. */
static NRT_STATUS group_queue(const struct engine_reader *r, const struct json_path *p,
                              const struct json_node *obj, struct neff_dma_group *g)
{
    const char *queue = "", *instance = "";
    uint64_t v;
    NRT_STATUS st = json_field_str(r->c, p, obj, K_queue, JSON_OPTIONAL, &queue);

    if (st == NRT_SUCCESS)
        st = json_field_str(r->c, p, obj, K_instance_name, JSON_OPTIONAL, &instance);
    if (st != NRT_SUCCESS)
        return st;
    g->instance = NEFF_NONE;
    if (*instance != '\0') {
        if (!str_map_get(&r->s->instance_by_name, instance, &v))
            return group_fail(r, p->index, ": unknown queue ", instance);
        g->queue = (uint32_t)(v >> 32);
        g->instance = (uint32_t)v;
        return NRT_SUCCESS;
    }
    if (*queue == '\0')
        return group_fail(r, p->index, " has no queue", "");
    if (!str_map_get(&r->s->queue_by_name, queue, &v))
        return group_fail(r, p->index, ": unknown queue ", queue);
    g->queue = (uint32_t)v;
    return NRT_SUCCESS;
}

/* An event or semaphore number, NEFF_NONE when absent. A05. */
static NRT_STATUS group_signal(const struct engine_reader *r, const struct json_path *p,
                               const struct json_node *obj, enum json_key k, uint32_t limit,
                               uint32_t *ret)
{
    int64_t v = -1;
    NRT_STATUS st = json_field_int(r->c, p, obj, k, JSON_OPTIONAL, &v);

    *ret = NEFF_NONE;
    if (st != NRT_SUCCESS || json_get(r->c->doc, obj, k) == NULL)
        return st;
    if (v < 0 || v >= limit)
        return neff_fail(r->c->err, NRT_INVALID, "%s: dma[%llu]: invalid %s %lld", r->c->member,
                         (unsigned long long)p->index, json_key_name(k), (long long)v);
    *ret = (uint32_t)v;
    return NRT_SUCCESS;
}

static NRT_STATUS group_remote(const struct engine_reader *r, const struct json_path *p,
                               const struct json_node *obj, struct neff_dma_group *g)
{
    const struct json_node *a, *n;
    uint32_t *list;
    NRT_STATUS st = neff_int_array(r->s->r, r->c, p, obj, K_remote_semaphores, &a);

    if (st != NRT_SUCCESS || a == NULL || a->u.count == 0)
        return st;
    if (r->s->r->neff->graph_count < 2) /* A06; the architecture is neff_check's */
        return group_fail(r, p->index, ": remote_semaphores needs LNC size 2", "");
    list = arena_calloc(r->s->r->arena, a->u.count, sizeof(*list));
    if (list == NULL)
        return neff_oom(r->c->err);
    g->remote_semaphores = list;
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(r->c->doc, n)) {
        if (n->u.i < 0 || n->u.i >= NEFF_SEMAPHORES)
            return neff_fail(r->c->err, NRT_INVALID, "%s: dma[%llu]: invalid semaphore %lld",
                             r->c->member, (unsigned long long)p->index, (long long)n->u.i);
        list[g->remote_semaphore_count++] = (uint32_t)n->u.i;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS group_descs(const struct engine_reader *r, const struct json_path *p,
                              const struct json_node *obj, struct neff_dma_group *g)
{
    struct json_path list = {p, "desc", 0};
    const struct json_node *desc = json_get(r->c->doc, obj, K_desc), *n;
    struct neff_desc *descs;
    uint64_t count;

    if (desc == NULL)
        return group_fail(r, p->index, ": no descriptors", "");
    if (desc->type != JSON_ARRAY && desc->type != JSON_OBJECT)
        return json_must_be(r->c, &list, "an array");
    count = desc->type == JSON_ARRAY ? desc->u.count : 1; /* a single object stands for itself */
    if (count == 0)
        return group_fail(r, p->index, ": no descriptors", "");
    descs = arena_calloc(r->s->r->arena, count, sizeof(*descs));
    if (descs == NULL)
        return neff_oom(r->c->err);
    g->descs = descs;
    n = desc->type == JSON_ARRAY ? json_first(desc) : desc;
    for (uint64_t i = 0; i < count; i++, n = json_next(r->c->doc, n)) {
        struct json_path e = {&list, NULL, i};
        NRT_STATUS st = neff_desc_read(r->s, r->c, &e, n, &descs[i]);

        if (st != NRT_SUCCESS)
            return st;
        g->desc_count++;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS group_function(const struct engine_reader *r, const struct json_path *p,
                                 const struct json_node *obj, struct neff_dma_group *g)
{
    const char *function = "";
    NRT_STATUS st = json_field_str(r->c, p, obj, K_function_start, JSON_OPTIONAL, &function);

    if (st != NRT_SUCCESS)
        return st;
    /* A04: programs in the project's encoding declare one function, named "" */
    if (*function != '\0' && r->s->sg->isa_name != NULL &&
        strcmp(r->s->sg->isa_name, NEFF_ISA_NAME) == 0)
        return group_fail(r, p->index, ": unknown function ", function);
    g->function_start = arena_strdup(r->s->r->arena, function);
    return g->function_start != NULL ? NRT_SUCCESS : neff_oom(r->c->err);
}

static NRT_STATUS group_read(const struct engine_reader *r, const struct json_path *p,
                             const struct json_node *obj, struct neff_dma_group *g)
{
    const struct json_node *id;
    NRT_STATUS st;

    if (obj->type != JSON_OBJECT)
        return json_must_be(r->c, p, "an object");
    neff_unknown_keys(r->s->r, r->c, obj, "dma");
    id = json_get(r->c->doc, obj, K_id);
    if (id == NULL || id->type != JSON_INT || id->u.i < 0 || id->u.i >= UINT32_MAX)
        return group_fail(r, p->index, ": invalid id", "");
    g->id = (uint32_t)id->u.i;
    st = group_queue(r, p, obj, g);
    if (st == NRT_SUCCESS)
        st = group_function(r, p, obj, g);
    if (st == NRT_SUCCESS)
        st = json_field_bool(r->c, p, obj, K_section_start_desc, &g->section_start_desc);
    if (st == NRT_SUCCESS)
        st = group_signal(r, p, obj, K_event, NEFF_EVENTS, &g->event);
    if (st == NRT_SUCCESS)
        st = group_signal(r, p, obj, K_semaphore, NEFF_SEMAPHORES, &g->semaphore);
    if (st == NRT_SUCCESS)
        st = group_remote(r, p, obj, g);
    return st == NRT_SUCCESS ? group_descs(r, p, obj, g) : st;
}

/* ---- A03: equal ids in one function section must trigger equal amounts ---- */

struct id_row {
    uint32_t id, section, index;
    uint32_t amount;
};

static int id_row_cmp(const void *a, const void *b)
{
    const struct id_row *x = a, *y = b;

    if (x->section != y->section)
        return x->section < y->section ? -1 : 1;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static NRT_STATUS group_ids_check(const struct engine_reader *r)
{
    uint32_t n = r->code->group_count, section = 0;
    struct id_row *rows = mem_calloc(n, sizeof(*rows));
    NRT_STATUS st = NRT_SUCCESS;

    if (rows == NULL)
        return neff_oom(r->c->err);
    for (uint32_t i = 0; i < n; i++) {
        section += r->code->groups[i].function_start[0] != '\0';
        rows[i] = (struct id_row){r->code->groups[i].id, section, i, r->code->groups[i].desc_count};
    }
    qsort(rows, n, sizeof(*rows), id_row_cmp);
    for (uint32_t i = 1; i < n && st == NRT_SUCCESS; i++) {
        if (rows[i].section == rows[i - 1].section && rows[i].id == rows[i - 1].id &&
            rows[i].amount != rows[i - 1].amount)
            st = group_fail(r, rows[i].index, ": invalid id", "");
    }
    mem_free(rows);
    return st;
}

static NRT_STATUS groups_read(const struct engine_reader *r)
{
    struct json_path list = {NULL, "dma", 0};
    const struct json_node *a, *n;
    struct neff_dma_group *groups;
    NRT_STATUS st = json_field_array(r->c, NULL, r->c->doc->nodes, K_dma, JSON_OPTIONAL, &a);

    if (st != NRT_SUCCESS || a == NULL)
        return st;
    groups = arena_calloc(r->s->r->arena, a->u.count, sizeof(*groups));
    if (groups == NULL)
        return neff_oom(r->c->err);
    r->code->groups = groups;
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(r->c->doc, n)) {
        struct json_path p = {&list, NULL, i};

        st = group_read(r, &p, n, &groups[i]);
        if (st != NRT_SUCCESS)
            return st;
        r->code->group_count++;
    }
    return group_ids_check(r);
}

/* ---- extras ---- */

static int text_cmp(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static NRT_STATUS act_sets_read(const struct engine_reader *r)
{
    struct json_path list = {NULL, "activation_function_sets", 0};
    const struct json_node *a, *n;
    const char **names, **sorted;
    NRT_STATUS st;

    st = json_field_array(r->c, NULL, r->c->doc->nodes, K_activation_function_sets, JSON_OPTIONAL,
                          &a);
    if (st != NRT_SUCCESS || a == NULL)
        return st;
    names = arena_calloc(r->s->r->arena, a->u.count, sizeof(*names));
    sorted = arena_calloc(r->s->r->arena, a->u.count, sizeof(*sorted));
    if (names == NULL || sorted == NULL)
        return neff_oom(r->c->err);
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(r->c->doc, n)) {
        struct json_path p = {&list, NULL, i};

        if (n->type != JSON_STRING || *json_text(r->c->doc, n) == '\0')
            return json_must_be(r->c, &p, "a name");
        names[i] = arena_strdup(r->s->r->arena, json_text(r->c->doc, n));
        if (names[i] == NULL)
            return neff_oom(r->c->err);
        sorted[i] = names[i];
    }
    qsort(sorted, a->u.count, sizeof(*sorted), text_cmp);
    for (uint64_t i = 1; i < a->u.count && !r->s->r->opt->lenient; i++) {
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            return json_must_be(r->c, &list, "an array of different names");
    }
    r->code->act_sets = names;
    r->code->act_set_count = (unsigned)a->u.count;
    return NRT_SUCCESS;
}

static NRT_STATUS dve_table_member(const struct engine_reader *r, const struct json_path *p,
                                   const struct json_node *obj, enum json_key k, uint32_t *ret)
{
    const char *name = NULL, *full;
    NRT_STATUS st = json_field_str(r->c, p, obj, k, JSON_REQUIRED, &name);

    if (st == NRT_SUCCESS)
        st = neff_sibling(r->s->r, r->s->sg->dir, name, &full, ret);
    if (st == NRT_SUCCESS && *ret == NEFF_NONE)
        st = neff_fail(r->c->err, NRT_INVALID, "%s not found in NEFF", full);
    return st;
}

static NRT_STATUS dve_tables_read(const struct engine_reader *r)
{
    struct json_path list = {NULL, "dve_tables", 0};
    const struct json_node *a, *n;
    struct neff_dve_table *tables;
    NRT_STATUS st = json_field_array(r->c, NULL, r->c->doc->nodes, K_dve_tables, JSON_OPTIONAL, &a);

    if (st != NRT_SUCCESS || a == NULL)
        return st;
    tables = arena_calloc(r->s->r->arena, a->u.count, sizeof(*tables));
    if (tables == NULL)
        return neff_oom(r->c->err);
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(r->c->doc, n)) {
        struct json_path p = {&list, NULL, i};

        if (n->type != JSON_OBJECT)
            return json_must_be(r->c, &p, "an object");
        st = dve_table_member(r, &p, n, K_control_table, &tables[i].control_member);
        if (st == NRT_SUCCESS)
            st = dve_table_member(r, &p, n, K_datapath_table, &tables[i].datapath_member);
        if (st == NRT_SUCCESS)
            st = dve_table_member(r, &p, n, K_opcode_table, &tables[i].opcode_member);
        if (st != NRT_SUCCESS)
            return st;
    }
    r->code->dve_tables = tables;
    r->code->dve_table_count = (unsigned)a->u.count;
    return NRT_SUCCESS;
}

NRT_STATUS neff_engine_read(struct neff_sg_reader *s, enum neff_engine e)
{
    struct neff_engine_code *code = &s->sg->engines[e];
    struct engine_reader r = {.s = s, .code = code};
    struct json_doc doc;
    struct json_ctx c;
    NRT_STATUS st = neff_json_open(s->r, neff_member_find(s->r->neff, code->json_member), &doc);

    if (st != NRT_SUCCESS)
        return st;
    c = (struct json_ctx){&doc, code->json_member, s->r->err};
    r.c = &c;
    if (doc.nodes[0].type != JSON_OBJECT)
        st = json_must_be(&c, NULL, "an object");
    if (st == NRT_SUCCESS)
        neff_unknown_keys(s->r, &c, doc.nodes, "");
    if (st == NRT_SUCCESS)
        st = groups_read(&r);
    if (st == NRT_SUCCESS && e == NEFF_ACT)
        st = act_sets_read(&r);
    if (st == NRT_SUCCESS && e == NEFF_DVE)
        st = dve_tables_read(&r);
    json_doc_fini(&doc);
    return st;
}
