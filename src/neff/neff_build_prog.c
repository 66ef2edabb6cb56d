/* SPDX-License-Identifier: Apache-2.0 */
/* The builder: programs with their tables and debug lines, and the nodes of the whole. */
#include <stdio.h>
#include <string.h>

#include "neff/build_int.h"
#include "neff/neff_int.h"

/* ---- programs ---- */

int neff_build_program(struct neff_build *b, int graph, enum neff_engine engine, const void *code,
                       size_t size)
{
    struct build_engine *e = build_engine_at(b, graph, engine);

    if (e == NULL)
        return -1;
    if (size > 0 && !build_given(b, code, "the code of an engine"))
        return -1;
    if (e->has_program)
        return build_fail(b, "engine %s has a program already", neff_engine_key(engine));
    e->code = mem_alloc(size);
    if (e->code == NULL)
        return build_oom(b);
    if (size > 0)
        memcpy(e->code, code, size);
    e->code_size = size;
    e->has_program = true;
    return 0;
}

int neff_build_debug(struct neff_build *b, int graph, enum neff_engine engine, const char *file,
                     uint32_t line, const char *label, const char *op)
{
    struct build_engine *e = build_engine_at(b, graph, engine);
    const struct {
        const char *key, *text;
    } texts[] = {{"file", file}, {"label", label}, {"op", op}};
    const char *comma = "";

    if (e == NULL)
        return -1;
    strbuf_put(&e->debug, e->debug.len > 0 ? ",\n{" : "{");
    for (unsigned i = 0; i < 3; i++) {
        if (texts[i].text == NULL)
            continue;
        strbuf_printf(&e->debug, "%s\"%s\": ", comma, texts[i].key);
        strbuf_put_json(&e->debug, texts[i].text);
        comma = ", ";
    }
    if (line != 0)
        strbuf_printf(&e->debug, "%s\"line\": %u", comma, line);
    strbuf_put(&e->debug, "}");
    return e->debug.failed ? build_oom(b) : 0;
}

int neff_build_act_set(struct neff_build *b, int graph, const char *name)
{
    struct build_engine *e = build_engine_at(b, graph, NEFF_ACT);

    if (e == NULL || !build_given(b, name, "the name of a function set"))
        return -1;
    strbuf_put(&e->act_sets, e->act_sets.len > 0 ? ", " : "");
    strbuf_put_json(&e->act_sets, name);
    return e->act_sets.failed ? build_oom(b) : 0;
}

int neff_build_dve_table(struct neff_build *b, int graph, const void *control, size_t control_size,
                         const void *datapath, size_t datapath_size, const void *opcode,
                         size_t opcode_size)
{
    struct build_engine *e = build_engine_at(b, graph, NEFF_DVE);
    const struct {
        const char *key;
        const void *data;
        size_t size;
    } parts[] = {{"control", control, control_size},
                 {"datapath", datapath, datapath_size},
                 {"opcode", opcode, opcode_size}};
    unsigned k;

    if (e == NULL)
        return -1;
    k = b->graphs[graph].dve_table_count++;
    for (unsigned i = 0; i < 3; i++) {
        char name[64];

        (void)snprintf(name, sizeof(name), "sg%02d/dve_%s_%u.bin", graph, parts[i].key, k);
        if (neff_build_member(b, name, parts[i].data, parts[i].size) < 0)
            return -1;
        strbuf_printf(&e->dve_tables, "%s\"%s_table\": \"dve_%s_%u.bin\"",
                      i > 0                   ? ", "
                      : e->dve_tables.len > 0 ? "}, {"
                                              : "{",
                      parts[i].key, parts[i].key, k);
    }
    return e->dve_tables.failed ? build_oom(b) : 0;
}

/* ---- graph level ---- */

static bool put_node_tensors(struct neff_build *b, const char *key,
                             const struct neff_build_tensor *t, unsigned n, bool input)
{
    struct strbuf *s = &b->nodes;

    if (n > 0 && !build_given(b, t, key))
        return false;
    strbuf_printf(s, ",\n   \"%s\": [", key);
    for (unsigned i = 0; i < n; i++) {
        uint64_t size;

        if (!build_given(b, t[i].name, "the name of a tensor") ||
            !build_shape_bytes(b, t[i].name, t[i].dtype, t[i].ndim, t[i].shape, &size))
            return false;
        strbuf_put(s, i > 0 ? ",\n    " : "\n    ");
        build_put_tensor(s, t[i].name, size, &t[i], input);
    }
    strbuf_put(s, "]");
    return true;
}

/* The tensors declared as variables of any subgraph, each name once. */
static void put_declared(struct neff_build *b, const char *key, int usage)
{
    struct strbuf *s = &b->nodes;
    bool any = false;

    strbuf_printf(s, ",\n   \"%s\": [", key);
    for (int k = 0; k < b->graph_count; k++) {
        const struct build_graph *g = &b->graphs[k];

        for (size_t i = 0; i < g->var_count; i++) {
            uint64_t v;

            if (g->var[i].usage != usage ||
                (k > 0 && str_map_get(&b->graphs[0].var_names, g->var[i].name, &v)))
                continue;
            strbuf_put(s, any ? ",\n    " : "\n    ");
            strbuf_putn(s, g->var[i].tensor.s, g->var[i].tensor.len);
            any = true;
        }
    }
    strbuf_put(s, "]");
}

int neff_build_node(struct neff_build *b, const struct neff_build_node *n)
{
    struct strbuf *s;

    if (build_graph_at(b, 0) == NULL || !build_given(b, n, "a node"))
        return -1;
    if (n->is_cpu && (n->library == NULL || n->function == NULL))
        return build_fail(b, "a CPU node needs a library and a function");
    s = &b->nodes;
    strbuf_printf(
        s, "%s{\"id\": %u, \"executor\": \"%s\", \"name\": ", b->node_count > 0 ? ",\n  " : "",
        b->node_count + 1, n->is_cpu ? "CPU" : "NeuronCore");
    strbuf_put_json(s, n->name != NULL ? n->name : "sg00");
    if (n->is_cpu) {
        strbuf_put(s, ", \"library\": ");
        strbuf_put_json(s, n->library);
        strbuf_put(s, ", \"function\": ");
        strbuf_put_json(s, n->function);
    }
    if (n->is_cpu || n->input_count + n->output_count > 0) {
        if (!put_node_tensors(b, "inputs", n->inputs, n->input_count, true) ||
            !put_node_tensors(b, "outputs", n->outputs, n->output_count, false))
            return -1;
    } else {
        put_declared(b, "inputs", 'i');
        put_declared(b, "outputs", 'o');
    }
    strbuf_put(s, "}");
    return s->failed ? build_oom(b) : (int)b->node_count++;
}
