/* SPDX-License-Identifier: Apache-2.0 */
/* The builder: what is being built, and its members. Each declaration becomes JSON text at once;
 * the strict reader, run over the finished file, is what checks it, so that rules are written down
 * in one place only. Variables, DMA and programs have files of their own. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "neff/build_int.h"
#include "neff/neff_int.h"

void build_json_num(struct strbuf *s, double v)
{
    char text[64];
    int n = snprintf(text, sizeof(text), v == 0 && signbit(v) ? "-0.0" : "%.17g", v);

    for (int i = 0; i < n; i++) { /* the program's locale may print another point */
        if (strchr("0123456789+-e", text[i]) == NULL)
            text[i] = '.';
    }
    strbuf_put(s, text);
}

int build_fail(struct neff_build *b, const char *fmt, ...)
{
    char text[300];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    neff_note(&b->err, NRT_INVALID, "%s", text);
    return -1;
}

bool build_given(struct neff_build *b, const void *p, const char *what)
{
    if (p == NULL)
        build_fail(b, "%s is missing", what);
    return p != NULL;
}

int build_oom(struct neff_build *b)
{
    neff_note(&b->err, NRT_RESOURCE, "out of host memory building the NEFF");
    return -1;
}

struct build_graph *build_graph_at(struct neff_build *b, int graph)
{
    if (b == NULL || b->err.status != NRT_SUCCESS)
        return NULL;
    if (graph < 0 || graph >= b->graph_count) {
        build_fail(b, "there is no subgraph %d", graph);
        return NULL;
    }
    return &b->graphs[graph];
}

struct build_engine *build_engine_at(struct neff_build *b, int graph, enum neff_engine e)
{
    struct build_graph *g = build_graph_at(b, graph);

    if (g == NULL)
        return NULL;
    if ((unsigned)e >= NEFF_ENGINE_COUNT) {
        build_fail(b, "there is no engine %d", (int)e);
        return NULL;
    }
    return &g->engines[e];
}

struct neff_build *neff_build_create(const char *name)
{
    struct neff_build *b = mem_zalloc(sizeof(*b));

    if (b == NULL)
        return NULL;
    strbuf_put(&b->name, name != NULL ? name : "");
    b->graph_count = 1;
    b->graphs[0].has_isa = true;
    b->graphs[0].isa_version = 1;
    strbuf_put(&b->graphs[0].isa_name, NEFF_ISA_NAME);
    if (b->name.failed || b->graphs[0].isa_name.failed) {
        neff_build_destroy(b);
        return NULL;
    }
    return b;
}

static void graph_fini(struct build_graph *g)
{
    strbuf_fini(&g->vars);
    strbuf_fini(&g->queues);
    strbuf_fini(&g->isa_name);
    strbuf_fini(&g->collectives);
    str_map_fini(&g->var_names);
    str_map_fini(&g->queue_names);
    for (size_t i = 0; i < g->var_count; i++) {
        mem_free(g->var[i].name);
        strbuf_fini(&g->var[i].tensor);
    }
    mem_free(g->var);
    for (size_t i = 0; i < g->queue_count; i++)
        mem_free(g->queue_name[i]);
    mem_free(g->queue_name);
    for (unsigned e = 0; e < NEFF_ENGINE_COUNT; e++) {
        struct build_engine *en = &g->engines[e];

        for (size_t i = 0; i < en->group_count; i++) {
            strbuf_fini(&en->groups[i].head);
            strbuf_fini(&en->groups[i].descs);
        }
        mem_free(en->groups);
        mem_free(en->code);
        strbuf_fini(&en->debug);
        strbuf_fini(&en->act_sets);
        strbuf_fini(&en->dve_tables);
    }
}

void neff_build_destroy(struct neff_build *b)
{
    if (b == NULL)
        return;
    for (int g = 0; g < 2; g++)
        graph_fini(&b->graphs[g]);
    for (size_t i = 0; i < b->member_count; i++) {
        mem_free(b->members[i].name);
        mem_free(b->members[i].data);
        mem_free(b->members[i].path);
    }
    mem_free(b->members);
    str_map_fini(&b->member_names);
    strbuf_fini(&b->nodes);
    strbuf_fini(&b->name);
    mem_free(b);
}

const char *neff_build_error(const struct neff_build *b)
{
    return b == NULL ? "out of host memory building the NEFF" : b->err.text;
}

int neff_build_subgraph(struct neff_build *b)
{
    if (build_graph_at(b, 0) == NULL)
        return -1;
    if (b->graph_count == 2)
        return build_fail(b, "a NEFF has at most two subgraphs");
    b->graphs[1].has_isa = true;
    b->graphs[1].isa_version = 1;
    strbuf_put(&b->graphs[1].isa_name, NEFF_ISA_NAME);
    if (b->graphs[1].isa_name.failed)
        return build_oom(b);
    return b->graph_count++;
}

int neff_build_isa(struct neff_build *b, int graph, const char *name, int64_t version)
{
    struct build_graph *g = build_graph_at(b, graph);

    if (g == NULL)
        return -1;
    strbuf_fini(&g->isa_name);
    g->has_isa = name != NULL;
    g->isa_version = version;
    strbuf_put(&g->isa_name, name != NULL ? name : "");
    return g->isa_name.failed ? build_oom(b) : 0;
}

/* ---- members ---- */

struct build_member *build_member_new(struct neff_build *b, const char *name)
{
    struct build_member *m;
    bool existed;

    if (neff_name_safe(name) != name || name[strlen(name) - 1] == '/') {
        build_fail(b, "Invalid NEFF member name %s", name);
        return NULL;
    }
    if (!str_map_put(&b->member_names, name, b->member_count, &existed) ||
        !mem_grow((void **)&b->members, &b->member_cap, b->member_count + 1, sizeof(*b->members))) {
        build_oom(b);
        return NULL;
    }
    if (existed) {
        build_fail(b, "member %s is declared twice", name);
        return NULL;
    }
    m = &b->members[b->member_count];
    memset(m, 0, sizeof(*m));
    m->name = mem_strdup(name);
    if (m->name == NULL) {
        build_oom(b);
        return NULL;
    }
    b->member_count++;
    return m;
}

int neff_build_member(struct neff_build *b, const char *name, const void *data, size_t size)
{
    struct build_member *m;

    if (build_graph_at(b, 0) == NULL || !build_given(b, name, "the name of a member") ||
        (size > 0 && !build_given(b, data, "the data of a member")))
        return -1;
    m = build_member_new(b, name);
    if (m == NULL)
        return -1;
    m->data = mem_alloc(size);
    if (m->data == NULL)
        return build_oom(b);
    if (size > 0)
        memcpy(m->data, data, size);
    m->size = size;
    return 0;
}
