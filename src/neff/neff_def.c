/* SPDX-License-Identifier: Apache-2.0 */
/* def.json of one subgraph: queue sets, engines, isa, and the order in which its files are read.
 * docs/spec/neff.md sections 6 and 6.1. */
#include "neff/neff_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static int engine_from_name(const char *s)
{
    for (int e = 0; e < NEFF_ENGINE_COUNT; e++) {
        if (strcmp(s, neff_engine_key((enum neff_engine)e)) == 0)
            return e;
    }
    return -1;
}

static NRT_STATUS queue_invalid(struct neff_sg_reader *s, const char *name, const char *what,
                                const char *value)
{
    return neff_fail(s->r->err, NRT_INVALID, "dma_queue %s: invalid %s %s", name, what, value);
}

static NRT_STATUS queue_type(struct neff_sg_reader *s, struct neff_queue *q, const char *type)
{
    for (unsigned t = NEFF_QUEUE_IN; t <= NEFF_QUEUE_DYNAMIC; t++) {
        if (strcmp(type, neff_queue_type_name((enum neff_queue_type)t)) == 0) {
            q->type = (enum neff_queue_type)t;
            return NRT_SUCCESS;
        }
    }
    return queue_invalid(s, q->name, "type", type);
}

static NRT_STATUS queue_semaphore_check(struct neff_sg_reader *s, const struct neff_queue *q,
                                        int64_t v)
{
    if (v >= 0 && v < NEFF_SEMAPHORES)
        return NRT_SUCCESS;
    return neff_fail(s->r->err, NRT_INVALID, "dma_queue %s: invalid semaphore %lld", q->name,
                     (long long)v);
}

static NRT_STATUS queue_semaphores(struct neff_sg_reader *s, const struct json_ctx *c,
                                   const struct json_path *p, const struct json_node *obj,
                                   struct neff_queue *q)
{
    const struct json_node *a, *n;
    int64_t semaphore = -1;
    uint32_t *set;
    NRT_STATUS st;

    q->semaphore = NEFF_NONE;
    st = json_field_int(c, p, obj, K_semaphore, JSON_OPTIONAL, &semaphore);
    if (st == NRT_SUCCESS && json_get(c->doc, obj, K_semaphore) != NULL) {
        st = queue_semaphore_check(s, q, semaphore);
        q->semaphore = (uint32_t)semaphore;
    }
    if (st == NRT_SUCCESS)
        st = neff_int_array(s->r, c, p, obj, K_semaphore_set, &a);
    if (st != NRT_SUCCESS || a == NULL)
        return st;

    set = arena_calloc(s->r->arena, a->u.count, sizeof(*set));
    if (set == NULL)
        return neff_oom(s->r->err);
    q->semaphores = set;
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(c->doc, n)) {
        st = queue_semaphore_check(s, q, n->u.i);
        if (st != NRT_SUCCESS)
            return st;
        set[q->semaphore_count++] = (uint32_t)n->u.i;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS queue_instances(struct neff_sg_reader *s, const struct json_ctx *c,
                                  const struct json_path *p, const struct json_node *obj,
                                  struct neff_queue *q)
{
    struct json_path list = {p, "queue_instances", 0};
    const struct json_node *a, *n;
    const char **names;
    NRT_STATUS st = json_field_array(c, p, obj, K_queue_instances, JSON_OPTIONAL, &a);

    if (st != NRT_SUCCESS || a == NULL)
        return st;
    names = arena_calloc(s->r->arena, a->u.count, sizeof(*names));
    if (names == NULL)
        return neff_oom(s->r->err);
    q->instances = names;
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(c->doc, n)) {
        uint64_t where = (uint64_t)(q - s->queues) << 32 | i;
        struct json_path e = {&list, NULL, i};
        bool existed;

        if (n->type != JSON_STRING)
            return json_must_be(c, &e, "a string");
        names[i] = arena_strdup(s->r->arena, json_text(c->doc, n));
        if (names[i] == NULL || !str_map_put(&s->instance_by_name, names[i], where, &existed))
            return neff_oom(s->r->err);
        if (existed)
            return neff_fail(s->r->err, NRT_INVALID, "queue instance %s declared twice", names[i]);
        q->instance_count++;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS queue_read(struct neff_sg_reader *s, const struct json_ctx *c,
                             const struct json_node *obj, struct neff_queue *q)
{
    struct json_path top = {NULL, "dma_queue", 0}, p = {&top, q->name, 0};
    const char *type = NULL, *owner = NULL, *fabric = "main";
    int64_t num = 1;
    NRT_STATUS st;

    if (obj->type != JSON_OBJECT)
        return json_must_be(c, &p, "an object");
    neff_unknown_keys(s->r, c, obj, "dma_queue");
    st = json_field_str(c, &p, obj, K_type, JSON_REQUIRED, &type);
    if (st == NRT_SUCCESS)
        st = queue_type(s, q, type);
    if (st == NRT_SUCCESS)
        st = json_field_int(c, &p, obj, K_num_queues, JSON_OPTIONAL, &num);
    if (st != NRT_SUCCESS)
        return st;
    if (num < 1 || num > (int64_t)NEFF_MAX_QUEUES)
        return neff_fail(s->r->err, NRT_INVALID, "dma_queue %s: num_queues %lld out of range",
                         q->name, (long long)num);
    q->num_queues = (unsigned)num;

    q->owner = -1;
    st = json_field_str(c, &p, obj, K_owner, JSON_OPTIONAL, &owner);
    if (st != NRT_SUCCESS)
        return st;
    if (owner != NULL) {
        q->owner = engine_from_name(owner);
        if (q->owner < 0)
            return neff_fail(s->r->err, NRT_INVALID, "dma_queue %s: unknown owner %s", q->name,
                             owner);
    }
    st = json_field_bool(c, &p, obj, K_pinned, &q->pinned);
    if (st == NRT_SUCCESS)
        st = json_field_str(c, &p, obj, K_fabric_path, JSON_OPTIONAL, &fabric);
    if (st != NRT_SUCCESS)
        return st;
    if (json_get(c->doc, obj, K_pinned) != NULL)
        diag_warn(s->r->opt->sink, "dma_queue %s: pinned has no effect", q->name);
    q->fabric_alt = strcmp(fabric, "alt") == 0;
    if (!q->fabric_alt && strcmp(fabric, "main") != 0)
        return queue_invalid(s, q->name, "fabric_path", fabric);
    st = queue_semaphores(s, c, &p, obj, q);
    return st == NRT_SUCCESS ? queue_instances(s, c, &p, obj, q) : st;
}

static NRT_STATUS queues_read(struct neff_sg_reader *s, const struct json_ctx *c)
{
    const struct json_node *obj, *n;
    NRT_STATUS st = json_field_object(c, NULL, c->doc->nodes, K_dma_queue, JSON_OPTIONAL, &obj);

    if (st != NRT_SUCCESS || obj == NULL)
        return st;
    s->queues = arena_calloc(s->r->arena, obj->u.count, sizeof(*s->queues));
    if (s->queues == NULL)
        return neff_oom(s->r->err);
    s->sg->queues = s->queues;
    n = json_first(obj);
    for (uint64_t i = 0; i < obj->u.count; i++, n = json_next(c->doc, n)) {
        struct neff_queue *q = &s->queues[i];

        q->name = arena_strdup(s->r->arena, json_name(c->doc, n));
        if (q->name == NULL || !str_map_put(&s->queue_by_name, q->name, i, NULL))
            return neff_oom(s->r->err);
        st = queue_read(s, c, n, q);
        if (st != NRT_SUCCESS)
            return st;
        s->sg->queue_count++;
    }
    return NRT_SUCCESS;
}

/* One engine key of def.json with its instruction member (D01). */
static NRT_STATUS engine_files(struct neff_sg_reader *s, const struct json_ctx *c,
                               enum neff_engine e)
{
    static const enum json_key keys[NEFF_ENGINE_COUNT][2] = {{K_pe, K_pe_instr},
                                                             {K_dve, K_dve_instr},
                                                             {K_act, K_act_instr},
                                                             {K_pool, K_pool_instr},
                                                             {K_sp, K_sp_instr}};
    struct neff_engine_code *code = &s->sg->engines[e];
    const char *json = NULL, *instr = NULL;
    uint32_t m_json, m_instr;
    size_t n;
    NRT_STATUS st;

    st = json_field_str(c, NULL, c->doc->nodes, keys[e][0], JSON_OPTIONAL, &json);
    if (st == NRT_SUCCESS)
        st = json_field_str(c, NULL, c->doc->nodes, keys[e][1], json != NULL, &instr);
    if (st != NRT_SUCCESS || json == NULL)
        return st;
    n = strlen(instr);
    if (n < 4 || strcmp(instr + n - 4, ".bin") != 0) {
        struct json_path p = {NULL, json_key_name(keys[e][1]), 0};

        return json_must_be(c, &p, "a name that ends in .bin");
    }
    st = neff_sibling(s->r, s->sg->dir, json, &code->json_member, &m_json);
    if (st == NRT_SUCCESS)
        st = neff_sibling(s->r, s->sg->dir, instr, &code->instr_member, &m_instr);
    if (st != NRT_SUCCESS)
        return st;
    if (m_json == NEFF_NONE || m_instr == NEFF_NONE)
        return neff_fail(s->r->err, NRT_INVALID, "%s not found in NEFF",
                         m_json == NEFF_NONE ? code->json_member : code->instr_member);
    st = neff_member_need(s->r->neff, s->r->priv, m_instr, s->r->err);
    if (st != NRT_SUCCESS)
        return st;
    code->instr = s->r->neff->members[m_instr].data;
    code->instr_bytes = s->r->neff->members[m_instr].size;
    code->present = true;
    return NRT_SUCCESS;
}

static NRT_STATUS isa_read(struct neff_sg_reader *s, const struct json_ctx *c)
{
    struct json_path p = {NULL, "isa", 0};
    const struct json_node *obj;
    const char *name = NULL;
    NRT_STATUS st = json_field_object(c, NULL, c->doc->nodes, K_isa, JSON_OPTIONAL, &obj);

    if (st != NRT_SUCCESS || obj == NULL)
        return st;
    st = json_field_str(c, &p, obj, K_name, JSON_REQUIRED, &name);
    if (st == NRT_SUCCESS)
        st = json_field_int(c, &p, obj, K_version, JSON_REQUIRED, &s->sg->isa_version);
    if (st != NRT_SUCCESS)
        return st;
    s->sg->isa_name = arena_strdup(s->r->arena, name);
    return s->sg->isa_name != NULL ? NRT_SUCCESS : neff_oom(s->r->err);
}

static int by_name(const void *a, const void *b, void *arg)
{
    const struct neff_var *vars = arg;

    return neff_natural_cmp(vars[*(const uint32_t *)a].name, vars[*(const uint32_t *)b].name);
}

/* The variables of one type, in natural order of their names. */
static NRT_STATUS var_list(struct neff_sg_reader *s, enum neff_var_type type, uint32_t *ret_count,
                           const uint32_t **ret)
{
    uint32_t n = 0, *list;

    for (uint32_t i = 0; i < s->sg->var_count; i++)
        n += s->vars[i].type == type;
    list = arena_calloc(s->r->arena, n, sizeof(*list));
    if (list == NULL)
        return neff_oom(s->r->err);
    n = 0;
    for (uint32_t i = 0; i < s->sg->var_count; i++) {
        if (s->vars[i].type == type)
            list[n++] = i;
    }
    qsort_r(list, n, sizeof(*list), by_name, s->vars);
    *ret = list;
    *ret_count = n;
    return NRT_SUCCESS;
}

/* Bytes of ring of one side (behaviour.md section 12): 16 per descriptor. */
static uint64_t side_ring_bytes(const struct neff_access *a)
{
    uint64_t n = 1;

    for (unsigned i = 1; i < a->ndim; i++) {
        if (u64_mul_over(n, a->sizes[i], &n))
            return UINT64_MAX;
    }
    return u64_mul_over(n, 16, &n) ? UINT64_MAX : n;
}

static bool is_io(const struct neff_sg_reader *s, const struct neff_access *a)
{
    enum neff_var_type t = s->vars[a->var].type;

    return t == NEFF_VAR_INPUT || t == NEFF_VAR_OUTPUT;
}

static uint64_t add_sat(uint64_t a, uint64_t b)
{
    return u64_add_over(a, b, &a) ? UINT64_MAX : a;
}

static void ring_bytes(struct neff_sg_reader *s)
{
    for (unsigned e = 0; e < NEFF_ENGINE_COUNT; e++) {
        const struct neff_engine_code *code = &s->sg->engines[e];

        for (uint32_t g = 0; g < code->group_count; g++) {
            for (uint32_t d = 0; d < code->groups[g].desc_count; d++) {
                const struct neff_desc *desc = &code->groups[g].descs[d];
                uint64_t bytes = add_sat(side_ring_bytes(&desc->to), 16);
                bool io = is_io(s, &desc->to);

                for (unsigned k = 0; k < desc->from_count; k++) {
                    bytes = add_sat(bytes, side_ring_bytes(&desc->from[k]));
                    io = io || is_io(s, &desc->from[k]);
                }
                if (io)
                    s->sg->ring_io_bytes = add_sat(s->sg->ring_io_bytes, bytes);
                else
                    s->sg->ring_spill_bytes = add_sat(s->sg->ring_spill_bytes, bytes);
            }
        }
    }
}

static NRT_STATUS definition_read(struct neff_sg_reader *s, const struct json_ctx *c,
                                  const char **ret_collectives)
{
    const struct json_node *root = c->doc->nodes, *vars;
    const char *text = NULL;
    bool any = false;
    NRT_STATUS st;

    if (root->type != JSON_OBJECT)
        return json_must_be(c, NULL, "an object");
    neff_unknown_keys(s->r, c, root, "");
    st = json_field_str(c, NULL, root, K_name, JSON_OPTIONAL, &text);
    if (st == NRT_SUCCESS)
        st = json_field_str(c, NULL, root, K_version, JSON_OPTIONAL, &text);
    if (st == NRT_SUCCESS)
        st = json_field_str(c, NULL, root, K_host, JSON_OPTIONAL, &text);
    if (st == NRT_SUCCESS)
        st = isa_read(s, c);
    for (unsigned e = 0; e < NEFF_ENGINE_COUNT && st == NRT_SUCCESS; e++) {
        st = engine_files(s, c, (enum neff_engine)e);
        any = any || s->sg->engines[e].present;
    }
    if (st == NRT_SUCCESS && !any)
        st = neff_fail(s->r->err, NRT_INVALID, "%s: no engine", c->member);
    if (st == NRT_SUCCESS)
        st = queues_read(s, c);
    if (st == NRT_SUCCESS)
        st = json_field_object(c, NULL, root, K_var, JSON_REQUIRED, &vars);
    if (st == NRT_SUCCESS)
        st = neff_vars_read(s, c, vars);
    text = NULL;
    if (st == NRT_SUCCESS)
        st = json_field_str(c, NULL, root, K_collectives, JSON_OPTIONAL, &text);
    if (st != NRT_SUCCESS || text == NULL)
        return st;
    *ret_collectives = arena_strdup(s->r->arena, text);
    return *ret_collectives != NULL ? NRT_SUCCESS : neff_oom(s->r->err);
}

/* The other files of the directory. */
static NRT_STATUS rest_read(struct neff_sg_reader *s, const char *collectives)
{
    NRT_STATUS st = NRT_SUCCESS;

    for (unsigned e = 0; e < NEFF_ENGINE_COUNT && st == NRT_SUCCESS; e++) {
        if (!s->sg->engines[e].present)
            continue;
        st = neff_engine_read(s, (enum neff_engine)e);
        if (st == NRT_SUCCESS && !s->r->opt->skip_debug)
            st = neff_debug_read(s, (enum neff_engine)e);
    }
    if (st == NRT_SUCCESS && collectives != NULL) {
        const char *full;
        uint32_t member;

        st = neff_sibling(s->r, s->sg->dir, collectives, &full, &member);
        if (st == NRT_SUCCESS && member == NEFF_NONE)
            st = neff_fail(s->r->err, NRT_INVALID, "%s not found in NEFF", full);
        if (st == NRT_SUCCESS)
            st = neff_colls_read(s, member);
    }
    return st;
}

NRT_STATUS neff_subgraph_read(struct neff_reader *r, struct neff_subgraph *sg)
{
    struct neff_sg_reader s = {.r = r, .sg = sg};
    const char *collectives = NULL;
    struct str_map *index;
    struct json_doc doc;
    struct json_ctx c;
    NRT_STATUS st;

    st = neff_json_open(r, neff_member_find(r->neff, sg->definition), &doc);
    if (st != NRT_SUCCESS)
        return st;
    c = (struct json_ctx){&doc, sg->definition, r->err};
    st = definition_read(&s, &c, &collectives);
    json_doc_fini(&doc);
    if (st == NRT_SUCCESS)
        st = rest_read(&s, collectives);
    if (st == NRT_SUCCESS)
        st = var_list(&s, NEFF_VAR_INPUT, &sg->input_count, &sg->inputs);
    if (st == NRT_SUCCESS)
        st = var_list(&s, NEFF_VAR_OUTPUT, &sg->output_count, &sg->outputs);
    if (st == NRT_SUCCESS)
        ring_bytes(&s);

    /* the name index lives on with the subgraph; neff_destroy empties it */
    index = arena_alloc(r->arena, sizeof(*index));
    if (index != NULL) {
        *index = s.var_by_name;
        sg->name_index = index;
    } else {
        str_map_fini(&s.var_by_name);
        st = st == NRT_SUCCESS ? neff_oom(r->err) : st;
    }
    str_map_fini(&s.queue_by_name);
    str_map_fini(&s.instance_by_name);
    return st;
}
