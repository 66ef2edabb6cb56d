/* SPDX-License-Identifier: Apache-2.0 */
/* The graph level: kelf-0.json, info.json, neff.json. docs/spec/neff.md section 5. */
#include "neff/neff_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static NRT_STATUS dup_str(struct neff_reader *r, const char *s, const char **ret)
{
    if (s == NULL)
        return NRT_SUCCESS;
    *ret = arena_strdup(r->arena, s);
    return *ret != NULL ? NRT_SUCCESS : neff_oom(r->err);
}

/* The directory part of a member name, with its '/'. */
static NRT_STATUS dup_dir(struct neff_reader *r, const char *member, const char **ret)
{
    const char *slash = strrchr(member, '/');

    *ret = arena_strndup(r->arena, member, slash != NULL ? (size_t)(slash - member) + 1 : 0);
    return *ret != NULL ? NRT_SUCCESS : neff_oom(r->err);
}

static NRT_STATUS graph_entry(struct neff_reader *r, const struct json_ctx *c,
                              const struct json_node *obj, uint64_t i, struct neff_subgraph *sg)
{
    struct json_path top = {NULL, "graphs", 0}, p = {&top, NULL, i};
    const char *name = NULL, *definition = NULL;
    NRT_STATUS st;

    if (obj->type != JSON_OBJECT)
        return json_must_be(c, &p, "an object");
    st = json_field_str(c, &p, obj, K_name, JSON_REQUIRED, &name);
    if (st == NRT_SUCCESS)
        st = json_field_str(c, &p, obj, K_definition, JSON_REQUIRED, &definition);
    if (st != NRT_SUCCESS)
        return st;
    if (neff_member_find(r->neff, definition) == NEFF_NONE)
        return neff_fail(r->err, NRT_INVALID, "%s not found in NEFF", definition);
    st = dup_str(r, name, &sg->name);
    if (st == NRT_SUCCESS)
        st = dup_str(r, definition, &sg->definition);
    if (st == NRT_SUCCESS)
        st = dup_dir(r, definition, &sg->dir);
    return st;
}

static NRT_STATUS kelf_graphs(struct neff_reader *r, const struct json_ctx *c)
{
    const struct json_node *root = c->doc->nodes, *graphs, *n;
    uint32_t lnc = r->neff->header.lnc_size;
    struct neff_subgraph *sg;
    const char *version = NULL;
    NRT_STATUS st;

    graphs = root->type == JSON_OBJECT ? json_get(c->doc, root, K_graphs) : NULL;
    if (graphs == NULL || graphs->type != JSON_ARRAY || graphs->u.count == 0)
        return neff_fail(r->err, NRT_INVALID, "%s: invalid graphs", c->member);
    neff_unknown_keys(r, c, root, "");
    st = json_field_str(c, NULL, root, K_version, JSON_OPTIONAL, &version);
    if (st == NRT_SUCCESS)
        st = dup_str(r, version, &r->neff->kelf_version);
    if (st != NRT_SUCCESS)
        return st;

    /* the rest of K04, with the runtime's size, is in neff_check */
    if (graphs->u.count != 1 && graphs->u.count != (lnc == 0 ? NEFF_MAX_GRAPHS : lnc))
        return neff_fail(r->err, NRT_INVALID, "NEFF has %llu subgraphs, LNC size is %u",
                         (unsigned long long)graphs->u.count, lnc == 0 ? NEFF_MAX_GRAPHS : lnc);
    sg = arena_calloc(r->arena, graphs->u.count, sizeof(*sg));
    if (sg == NULL)
        return neff_oom(r->err);
    r->neff->graphs = sg;
    n = json_first(graphs);
    for (uint64_t i = 0; i < graphs->u.count; i++, n = json_next(c->doc, n)) {
        st = graph_entry(r, c, n, i, &sg[i]);
        if (st != NRT_SUCCESS)
            return st;
        if (i > 0 && strcmp(sg[i].definition, sg[0].definition) == 0)
            return neff_fail(r->err, NRT_INVALID, "%s: invalid graphs", c->member);
        r->neff->graph_count++;
    }
    return NRT_SUCCESS;
}

NRT_STATUS neff_kelf_read(struct neff_reader *r)
{
    static const char *const spellings[] = {"kelf-0.json", "kelf-a.json"};
    uint32_t member = NEFF_NONE;
    struct json_ctx c;
    struct json_doc doc;
    NRT_STATUS st;

    for (unsigned i = 0; i < 2 && member == NEFF_NONE; i++)
        member = neff_member_find(r->neff, spellings[i]);
    if (member == NEFF_NONE)
        return neff_fail(r->err, NRT_INVALID, "kelf-0.json not found in NEFF");
    r->neff->kelf = r->neff->members[member].name;
    st = neff_json_open(r, member, &doc);
    if (st != NRT_SUCCESS)
        return st;
    c = (struct json_ctx){&doc, r->neff->kelf, r->err};
    st = kelf_graphs(r, &c);
    json_doc_fini(&doc);
    return st;
}

NRT_STATUS neff_info_read(struct neff_reader *r)
{
    uint32_t member = neff_member_find(r->neff, "info.json");
    const char *tool = NULL, *arch = NULL;
    struct json_doc doc;
    struct json_ctx c;
    NRT_STATUS st;

    if (member == NEFF_NONE)
        return NRT_SUCCESS;
    st = neff_json_open(r, member, &doc);
    if (st != NRT_SUCCESS)
        return st;
    c = (struct json_ctx){&doc, "info.json", r->err};
    if (doc.nodes[0].type != JSON_OBJECT)
        st = json_must_be(&c, NULL, "an object");
    if (st == NRT_SUCCESS)
        st = json_field_str(&c, NULL, doc.nodes, K_tool_version, JSON_OPTIONAL, &tool);
    if (st == NRT_SUCCESS)
        st = json_field_str(&c, NULL, doc.nodes, K_arch, JSON_OPTIONAL, &arch);
    if (st == NRT_SUCCESS)
        st = dup_str(r, tool, &r->neff->tool_version);
    if (st == NRT_SUCCESS)
        st = dup_str(r, arch, &r->neff->arch);
    json_doc_fini(&doc);
    return st;
}

/* ---- neff.json ---- */

/* Bytes that shape and dtype ask for; UINT64_MAX when the dtype is unknown or on overflow. */
static uint64_t tensor_bytes(const struct neff_tensor *t)
{
    uint64_t n = dtype_size(t->dtype);

    if (n == 0)
        return UINT64_MAX;
    for (unsigned i = 0; i < t->ndim; i++) {
        if (u64_mul_over(n, t->shape[i], &n))
            return UINT64_MAX;
    }
    return n;
}

/* G01 against the variable of that name: in every subgraph that declares it. */
static NRT_STATUS tensor_against_var(struct neff_reader *r, const struct neff_tensor *t)
{
    bool found = false;

    for (uint32_t g = 0; g < r->neff->graph_count; g++) {
        const struct neff_subgraph *sg = &r->neff->graphs[g];
        uint32_t v = neff_subgraph_find(sg, t->name);

        if (v == NEFF_NONE)
            continue;
        found = true;
        if (sg->vars[v].size != t->size)
            return neff_fail(r->err, NRT_INVALID, "tensor %s: size %llu, expected %llu", t->name,
                             (unsigned long long)t->size, (unsigned long long)sg->vars[v].size);
    }
    if (!found && !r->opt->lenient)
        return neff_fail(r->err, NRT_INVALID, "tensor %s: no such variable", t->name);
    return NRT_SUCCESS;
}

static NRT_STATUS tensor_shape(struct neff_reader *r, const struct json_ctx *c,
                               const struct json_path *p, const struct json_node *obj,
                               struct neff_tensor *t)
{
    const struct json_node *a, *n;
    uint64_t *shape;
    NRT_STATUS st = neff_int_array(r, c, p, obj, K_shape, &a);

    if (st != NRT_SUCCESS)
        return st;
    t->scalar = a != NULL && a->u.count == 0;
    t->ndim = a == NULL || a->u.count == 0 ? 1 : (unsigned)a->u.count;
    shape = arena_calloc(r->arena, t->ndim, sizeof(*shape));
    if (shape == NULL)
        return neff_oom(r->err);
    t->shape = shape;
    shape[0] = 1;  /* rank 0 */
    if (a == NULL) /* no shape at all: one dimension over all elements */
        shape[0] = t->dtype != DT_INVALID ? t->size / dtype_size(t->dtype) : t->size;
    if (a == NULL || a->u.count == 0)
        return NRT_SUCCESS;
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(c->doc, n)) {
        if (n->u.i < 0 || n->u.i > UINT32_MAX)
            return neff_fail(r->err, NRT_INVALID, "tensor %s: shape entry %lld out of range",
                             t->name, (long long)n->u.i);
        shape[i] = (uint64_t)n->u.i;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS tensor_read(struct neff_reader *r, const struct json_ctx *c,
                              const struct json_path *p, const struct json_node *obj, bool is_cpu,
                              struct neff_tensor *t)
{
    const char *name = NULL, *dtype = NULL, *format = NULL;
    int64_t size = 0;
    uint64_t want;
    NRT_STATUS st;

    if (obj->type != JSON_OBJECT)
        return json_must_be(c, p, "an object");
    neff_unknown_keys(r, c, obj, "tensor");
    st = json_field_str(c, p, obj, K_name, JSON_REQUIRED, &name);
    if (st == NRT_SUCCESS)
        st = json_field_int(c, p, obj, K_size, JSON_REQUIRED, &size);
    if (st == NRT_SUCCESS)
        st = json_field_str(c, p, obj, K_dtype, JSON_OPTIONAL, &dtype);
    if (st == NRT_SUCCESS)
        st = json_field_str(c, p, obj, K_format, JSON_OPTIONAL, &format);
    if (st == NRT_SUCCESS)
        st = json_field_bool(c, p, obj, K_time_series, &t->time_series);
    if (st == NRT_SUCCESS)
        st = dup_str(r, name, &t->name);
    if (st == NRT_SUCCESS)
        st = dup_str(r, dtype, &t->dtype_text);
    if (st == NRT_SUCCESS)
        st = dup_str(r, format, &t->format);
    if (st != NRT_SUCCESS)
        return st;
    if (size < 0)
        return json_must_be(c, p, "a tensor of size 0 or more");
    t->size = (uint64_t)size;
    t->dtype = dtype != NULL ? neff_dtype(dtype, true) : DT_INVALID;
    st = tensor_shape(r, c, p, obj, t);
    if (st != NRT_SUCCESS)
        return st;

    want = tensor_bytes(t);
    if (t->dtype == DT_INVALID)
        diag_warn(r->opt->sink, "tensor %s: dtype %s is unknown", name,
                  dtype != NULL ? dtype : "(missing)");
    else if (want != t->size)
        return neff_fail(r->err, NRT_INVALID, "tensor %s: size %llu, expected %llu", name,
                         (unsigned long long)t->size, (unsigned long long)want);
    return is_cpu ? NRT_SUCCESS : tensor_against_var(r, t);
}

static NRT_STATUS tensors_read(struct neff_reader *r, const struct json_ctx *c,
                               const struct json_path *up, const struct json_node *node,
                               enum json_key k, bool is_cpu, uint32_t *ret_count,
                               const struct neff_tensor **ret)
{
    struct json_path list = {up, json_key_name(k), 0};
    const struct json_node *a, *n;
    struct neff_tensor *t;
    NRT_STATUS st = json_field_array(c, up, node, k, JSON_OPTIONAL, &a);

    if (st != NRT_SUCCESS || a == NULL)
        return st;
    t = arena_calloc(r->arena, a->u.count, sizeof(*t));
    if (t == NULL)
        return neff_oom(r->err);
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(c->doc, n)) {
        struct json_path p = {&list, NULL, i};

        st = tensor_read(r, c, &p, n, is_cpu, &t[i]);
        if (st != NRT_SUCCESS)
            return st;
    }
    *ret = t;
    *ret_count = (uint32_t)a->u.count;
    return NRT_SUCCESS;
}

/* Tensors of a node from the variables of the first subgraph (neff.md 5.2: the default). */
static NRT_STATUS tensors_derive(struct neff_reader *r, bool inputs, uint32_t *ret_count,
                                 const struct neff_tensor **ret)
{
    const struct neff_subgraph *sg = &r->neff->graphs[0];
    const uint32_t *list = inputs ? sg->inputs : sg->outputs;
    uint32_t count = inputs ? sg->input_count : sg->output_count;
    struct neff_tensor *t = arena_calloc(r->arena, count, sizeof(*t));

    if (t == NULL)
        return neff_oom(r->err);
    for (uint32_t i = 0; i < count; i++) {
        const struct neff_var *v = &sg->vars[list[i]];
        uint64_t *shape = arena_alloc(r->arena, sizeof(*shape));

        if (shape == NULL)
            return neff_oom(r->err);
        *shape = v->size;
        t[i] = (struct neff_tensor){.name = v->name, .size = v->size, .ndim = 1, .shape = shape};
    }
    *ret = t;
    *ret_count = count;
    return NRT_SUCCESS;
}

static NRT_STATUS cpu_node_read(struct neff_reader *r, const struct json_ctx *c,
                                const struct json_path *p, const struct json_node *obj,
                                struct neff_node *node)
{
    const char *library = NULL, *function = NULL;
    NRT_STATUS st = json_field_str(c, p, obj, K_library, JSON_REQUIRED, &library);

    if (st == NRT_SUCCESS)
        st = json_field_str(c, p, obj, K_function, JSON_REQUIRED, &function);
    if (st != NRT_SUCCESS)
        return st;
    node->library_member = neff_member_find(r->neff, library);
    if (node->library_member == NEFF_NONE)
        return neff_fail(r->err, NRT_INVALID, "%s not found in NEFF", library);
    st = neff_member_need(r->neff, r->priv, node->library_member, r->err);
    if (st == NRT_SUCCESS)
        st = dup_str(r, library, &node->library);
    if (st == NRT_SUCCESS)
        st = dup_str(r, function, &node->function);
    return st;
}

static NRT_STATUS node_read(struct neff_reader *r, const struct json_ctx *c,
                            const struct json_path *p, const struct json_node *obj,
                            struct neff_node *node)
{
    const char *executor = "NeuronCore", *name = NULL;
    NRT_STATUS st;

    if (obj->type != JSON_OBJECT)
        return json_must_be(c, p, "an object");
    neff_unknown_keys(r, c, obj, "nodes");
    st = json_field_int(c, p, obj, K_id, JSON_OPTIONAL, &node->id);
    if (st == NRT_SUCCESS)
        st = json_field_str(c, p, obj, K_executor, JSON_OPTIONAL, &executor);
    if (st == NRT_SUCCESS)
        st = json_field_str(c, p, obj, K_name, JSON_REQUIRED, &name);
    if (st == NRT_SUCCESS)
        st = dup_str(r, name, &node->name);
    if (st != NRT_SUCCESS)
        return st;
    node->is_cpu = strcmp(executor, "CPU") == 0;
    if (!node->is_cpu && strcmp(executor, "NeuronCore") != 0) {
        struct json_path e = {p, "executor", 0};

        return json_must_be(c, &e, "NeuronCore or CPU");
    }
    if (node->is_cpu)
        st = cpu_node_read(r, c, p, obj, node);
    if (st == NRT_SUCCESS)
        st = tensors_read(r, c, p, obj, K_inputs, node->is_cpu, &node->input_count, &node->inputs);
    if (st == NRT_SUCCESS)
        st = tensors_read(r, c, p, obj, K_outputs, node->is_cpu, &node->output_count,
                          &node->outputs);
    if (st == NRT_SUCCESS && !node->is_cpu && node->inputs == NULL)
        st = tensors_derive(r, true, &node->input_count, &node->inputs);
    if (st == NRT_SUCCESS && !node->is_cpu && node->outputs == NULL)
        st = tensors_derive(r, false, &node->output_count, &node->outputs);
    return st;
}

static NRT_STATUS nodes_derive(struct neff_reader *r)
{
    struct neff_node *node = arena_calloc(r->arena, 1, sizeof(*node));
    NRT_STATUS st;

    if (node == NULL)
        return neff_oom(r->err);
    node->name = r->neff->graphs[0].name;
    node->library_member = NEFF_NONE;
    st = tensors_derive(r, true, &node->input_count, &node->inputs);
    if (st == NRT_SUCCESS)
        st = tensors_derive(r, false, &node->output_count, &node->outputs);
    r->neff->nodes = node;
    r->neff->node_count = 1;
    r->neff->nodes_derived = true;
    return st;
}

static NRT_STATUS nodes_parse(struct neff_reader *r, const struct json_ctx *c)
{
    struct json_path list = {NULL, "nodes", 0};
    const struct json_node *root = c->doc->nodes, *a, *n;
    struct neff_node *nodes;
    NRT_STATUS st;

    if (root->type != JSON_OBJECT)
        return json_must_be(c, NULL, "an object");
    neff_unknown_keys(r, c, root, "");
    st = json_field_array(c, NULL, root, K_nodes, JSON_OPTIONAL, &a);
    if (st != NRT_SUCCESS)
        return st;
    if (a == NULL || a->u.count == 0)
        return nodes_derive(r);

    nodes = arena_calloc(r->arena, a->u.count, sizeof(*nodes));
    if (nodes == NULL)
        return neff_oom(r->err);
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(c->doc, n)) {
        struct json_path p = {&list, NULL, i};

        nodes[i].id = (int64_t)i;
        nodes[i].library_member = NEFF_NONE;
        st = node_read(r, c, &p, n, &nodes[i]);
        if (st != NRT_SUCCESS)
            return st;
    }
    r->neff->nodes = nodes;
    r->neff->node_count = (uint32_t)a->u.count;
    return NRT_SUCCESS;
}

/* V12 and V13, which look at all subgraphs. */
static NRT_STATUS io_check(struct neff_reader *r)
{
    const struct neff_subgraph *a = &r->neff->graphs[0], *b;
    bool any = a->input_count + a->output_count > 0;

    for (uint32_t g = 1; g < r->neff->graph_count; g++) {
        b = &r->neff->graphs[g];
        any = any || b->input_count + b->output_count > 0;
        for (uint32_t i = 0; i < b->var_count; i++) {
            const struct neff_var *v = &b->vars[i];
            uint32_t k;

            if (v->type != NEFF_VAR_INPUT && v->type != NEFF_VAR_OUTPUT)
                continue;
            k = neff_subgraph_find(a, v->name);
            if (k != NEFF_NONE && a->vars[k].size != v->size)
                return neff_fail(r->err, NRT_INVALID, "tensor %s: size differs between subgraphs",
                                 v->name);
        }
    }
    if (!any)
        diag_warn(r->opt->sink, "the NEFF has no input and no output");
    return NRT_SUCCESS;
}

NRT_STATUS neff_nodes_read(struct neff_reader *r)
{
    uint32_t member = neff_member_find(r->neff, "neff.json");
    struct json_doc doc;
    struct json_ctx c;
    NRT_STATUS st = io_check(r);

    if (st != NRT_SUCCESS)
        return st;
    if (member == NEFF_NONE)
        return nodes_derive(r);
    st = neff_json_open(r, member, &doc);
    if (st != NRT_SUCCESS)
        return st;
    c = (struct json_ctx){&doc, "neff.json", r->err};
    st = nodes_parse(r, &c);
    json_doc_fini(&doc);
    return st;
}
