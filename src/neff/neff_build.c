/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations of the builder. Each becomes JSON text at once; the strict reader, run over the
 * finished file, is what checks it, so that rules are written down in one place only. */
#include "neff/build.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/npy.h"
#include "neff/build_int.h"
#include "neff/neff_int.h"

void build_json_str(struct strbuf *s, const char *text)
{
    strbuf_put(s, "\"");
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            strbuf_printf(s, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            strbuf_printf(s, "\\u%04x", (unsigned)*text);
        else
            strbuf_putn(s, text, 1);
    }
    strbuf_put(s, "\"");
}

void build_json_num(struct strbuf *s, double v)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "%.17g", v);

    for (int i = 0; i < n; i++) { /* the program's locale may print another point */
        if (strchr("0123456789+-e", text[i]) == NULL)
            text[i] = '.';
    }
    strbuf_put(s, text);
}

static int fail(struct neff_build *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct neff_build *b, const char *fmt, ...)
{
    char text[300];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    neff_note(&b->err, NRT_INVALID, "%s", text);
    return -1;
}

static int oom(struct neff_build *b)
{
    neff_note(&b->err, NRT_RESOURCE, "out of host memory building the NEFF");
    return -1;
}

static struct build_graph *graph_at(struct neff_build *b, int graph)
{
    if (b == NULL || b->err.status != NRT_SUCCESS)
        return NULL;
    if (graph < 0 || graph >= b->graph_count) {
        fail(b, "there is no subgraph %d", graph);
        return NULL;
    }
    return &b->graphs[graph];
}

static struct build_engine *engine_at(struct neff_build *b, int graph, enum neff_engine e)
{
    struct build_graph *g = graph_at(b, graph);

    if (g == NULL)
        return NULL;
    if ((unsigned)e >= NEFF_ENGINE_COUNT) {
        fail(b, "there is no engine %d", (int)e);
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
    if (graph_at(b, 0) == NULL)
        return -1;
    if (b->graph_count == 2)
        return fail(b, "a NEFF has at most two subgraphs");
    b->graphs[1].has_isa = true;
    b->graphs[1].isa_version = 1;
    strbuf_put(&b->graphs[1].isa_name, NEFF_ISA_NAME);
    if (b->graphs[1].isa_name.failed)
        return oom(b);
    return b->graph_count++;
}

int neff_build_isa(struct neff_build *b, int graph, const char *name, int64_t version)
{
    struct build_graph *g = graph_at(b, graph);

    if (g == NULL)
        return -1;
    strbuf_fini(&g->isa_name);
    g->has_isa = name != NULL;
    g->isa_version = version;
    strbuf_put(&g->isa_name, name != NULL ? name : "");
    return g->isa_name.failed ? oom(b) : 0;
}

/* ---- members ---- */

static struct build_member *member_new(struct neff_build *b, const char *name)
{
    struct build_member *m;
    bool existed;

    if (neff_name_safe(name) != name || name[strlen(name) - 1] == '/') {
        fail(b, "Invalid NEFF member name %s", name);
        return NULL;
    }
    if (!str_map_put(&b->member_names, name, b->member_count, &existed) ||
        !mem_grow((void **)&b->members, &b->member_cap, b->member_count + 1, sizeof(*b->members))) {
        oom(b);
        return NULL;
    }
    if (existed) {
        fail(b, "member %s is declared twice", name);
        return NULL;
    }
    m = &b->members[b->member_count];
    memset(m, 0, sizeof(*m));
    m->name = mem_strdup(name);
    if (m->name == NULL) {
        oom(b);
        return NULL;
    }
    b->member_count++;
    return m;
}

int neff_build_member(struct neff_build *b, const char *name, const void *data, size_t size)
{
    struct build_member *m;

    if (graph_at(b, 0) == NULL)
        return -1;
    m = member_new(b, name);
    if (m == NULL)
        return -1;
    m->data = mem_alloc(size);
    if (m->data == NULL)
        return oom(b);
    if (size > 0)
        memcpy(m->data, data, size);
    m->size = size;
    return 0;
}

/* A member name in the subgraph's directory from a variable's name: "<name><suffix>" with unusual
 * characters replaced, a number added when it is taken. */
static bool file_member_name(struct neff_build *b, int graph, const char *var, const char *suffix,
                             char *buf, size_t size)
{
    char base[100];
    size_t n = 0;

    for (; *var != '\0' && n < sizeof(base) - 1; var++)
        base[n++] =
            strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", *var) != NULL
                ? *var
                : '_';
    base[n] = '\0';
    for (unsigned k = 0; k < 1000000; k++) {
        uint64_t i;

        if (k == 0)
            (void)snprintf(buf, size, "sg%02d/%s%s", graph, base, suffix);
        else
            (void)snprintf(buf, size, "sg%02d/%s_%u%s", graph, base, k, suffix);
        if (!str_map_get(&b->member_names, buf, &i))
            return true;
    }
    fail(b, "no free member name for %s", base);
    return false;
}

/* ---- variables ---- */

/* Opens the JSON of a new variable: `"name": {"type": ..., "var_id": n`; the caller adds fields and
 * var_close. NULL on error. */
static struct build_var *var_open(struct neff_build *b, struct build_graph *g, const char *name,
                                  const char *type)
{
    struct build_var *v;
    bool existed;

    if (name == NULL || *name == '\0' || *name == '#') {
        fail(b, "a variable needs a name that does not begin with #");
        return NULL;
    }
    if (!mem_grow((void **)&g->var, &g->var_cap, g->var_count + 1, sizeof(*g->var)) ||
        !str_map_put(&g->var_names, name, g->var_count, &existed)) {
        oom(b);
        return NULL;
    }
    if (existed) {
        fail(b, "variable %s is declared twice", name);
        return NULL;
    }
    v = &g->var[g->var_count];
    memset(v, 0, sizeof(*v));
    v->name = mem_strdup(name);
    if (v->name == NULL) {
        oom(b);
        return NULL;
    }
    strbuf_put(&g->vars, g->var_count > 0 ? ",\n    " : "\n    ");
    build_json_str(&g->vars, name);
    strbuf_printf(&g->vars, ": {\"type\": \"%s\", \"var_id\": %zu", type, g->var_count);
    g->var_count++;
    return v;
}

static int var_close(struct neff_build *b, struct build_graph *g)
{
    strbuf_put(&g->vars, "}");
    return g->vars.failed ? oom(b) : (int)(g->var_count - 1);
}

static void put_size(struct build_graph *g, uint64_t size)
{
    strbuf_printf(&g->vars, ", \"size\": %llu", (unsigned long long)size);
}

int neff_build_state_buffer(struct neff_build *b, int graph, const char *name)
{
    struct build_graph *g = graph_at(b, graph);

    if (g == NULL || var_open(b, g, name, "state-buffer") == NULL)
        return -1;
    return var_close(b, g);
}

/* Bytes of a tensor; false (and the error is set) for an unknown dtype or an overflow. */
static bool shape_bytes(struct neff_build *b, const char *name, const char *dtype, unsigned ndim,
                        const uint64_t *shape, uint64_t *ret)
{
    enum dtype t = dtype != NULL ? neff_dtype(dtype, true) : DT_INVALID;

    *ret = dtype_size(t);
    if (t == DT_INVALID) {
        fail(b, "variable %s: unknown dtype %s", name, dtype != NULL ? dtype : "(null)");
        return false;
    }
    if (ndim > NPY_MAX_DIMS) {
        fail(b, "variable %s: more than %d dimensions", name, NPY_MAX_DIMS);
        return false;
    }
    for (unsigned i = 0; i < ndim; i++) {
        if (u64_mul_over(*ret, shape[i], ret) || *ret > INT64_MAX) {
            fail(b, "variable %s: the shape is too large", name);
            return false;
        }
    }
    return true;
}

static void put_tensor(struct strbuf *s, const char *name, uint64_t size,
                       const struct neff_build_tensor *t, bool input)
{
    strbuf_put(s, "{\"name\": ");
    build_json_str(s, name);
    strbuf_printf(s, ", \"size\": %llu, \"shape\": [", (unsigned long long)size);
    for (unsigned i = 0; i < t->ndim; i++)
        strbuf_printf(s, "%s%llu", i > 0 ? ", " : "", (unsigned long long)t->shape[i]);
    strbuf_put(s, "], \"dtype\": ");
    build_json_str(s, t->dtype);
    if (t->format != NULL) {
        strbuf_put(s, ", \"format\": ");
        build_json_str(s, t->format);
    }
    if (!input || t->time_series)
        strbuf_printf(s, ", \"time_series\": %s", t->time_series ? "true" : "false");
    strbuf_put(s, "}");
}

static int io_var(struct neff_build *b, int graph, const char *name, const char *dtype,
                  unsigned ndim, const uint64_t *shape, int usage)
{
    struct neff_build_tensor t = {.dtype = dtype, .ndim = ndim, .shape = shape};
    struct build_graph *g = graph_at(b, graph);
    struct build_var *v;
    uint64_t size;

    if (g == NULL || !shape_bytes(b, name, dtype, ndim, shape, &size))
        return -1;
    v = var_open(b, g, name, usage == 'i' ? "input" : "output");
    if (v == NULL)
        return -1;
    v->usage = usage;
    put_size(g, size);
    put_tensor(&v->tensor, name, size, &t, usage == 'i');
    if (v->tensor.failed)
        return oom(b);
    return var_close(b, g);
}

int neff_build_input(struct neff_build *b, int graph, const char *name, const char *dtype,
                     unsigned ndim, const uint64_t *shape)
{
    return io_var(b, graph, name, dtype, ndim, shape, 'i');
}

int neff_build_output(struct neff_build *b, int graph, const char *name, const char *dtype,
                      unsigned ndim, const uint64_t *shape)
{
    return io_var(b, graph, name, dtype, ndim, shape, 'o');
}

int neff_build_tmp(struct neff_build *b, int graph, const char *name, uint64_t size,
                   uint64_t alignment)
{
    struct build_graph *g = graph_at(b, graph);

    if (g == NULL || var_open(b, g, name, "tmp-buf") == NULL)
        return -1;
    put_size(g, size);
    if (alignment != 0)
        strbuf_printf(&g->vars, ", \"alignment\": %llu", (unsigned long long)alignment);
    return var_close(b, g);
}

int neff_build_virtual(struct neff_build *b, int graph, const char *name, uint64_t size,
                       const char *area, uint64_t off)
{
    struct build_graph *g = graph_at(b, graph);

    if (g == NULL || var_open(b, g, name, "virtual") == NULL)
        return -1;
    put_size(g, size);
    strbuf_printf(&g->vars, ", \"backing_variable_off\": %llu", (unsigned long long)off);
    if (area != NULL) {
        strbuf_put(&g->vars, ", \"backing_buf\": ");
        build_json_str(&g->vars, area);
    }
    return var_close(b, g);
}

static int file_var(struct neff_build *b, struct build_graph *g, const char *name,
                    const char *member, bool has_size, uint64_t size)
{
    if (var_open(b, g, name, "file") == NULL)
        return -1;
    if (has_size)
        put_size(g, size);
    strbuf_put(&g->vars, ", \"file_name\": ");
    build_json_str(&g->vars, strchr(member, '/') + 1);
    return var_close(b, g);
}

int neff_build_constant(struct neff_build *b, int graph, const char *name, const char *dtype,
                        unsigned ndim, const uint64_t *shape, const void *data)
{
    struct build_graph *g = graph_at(b, graph);
    struct build_member *m;
    struct strbuf head = {0};
    char member[200];
    uint64_t size;

    if (g == NULL || !shape_bytes(b, name, dtype, ndim, shape, &size) ||
        !file_member_name(b, graph, name, ".npy", member, sizeof(member)))
        return -1;
    m = member_new(b, member);
    if (m == NULL)
        return -1;
    if (!npy_write_header(&head, neff_dtype(dtype, true), ndim, shape)) {
        strbuf_fini(&head);
        return oom(b);
    }
    m->size = head.len + size;
    m->data = mem_alloc(m->size);
    if (m->data == NULL) {
        strbuf_fini(&head);
        return oom(b);
    }
    memcpy(m->data, head.s, head.len);
    if (size > 0)
        memcpy((char *)m->data + head.len, data, size);
    strbuf_fini(&head);
    return file_var(b, g, name, member, true, size);
}

int neff_build_constant_raw(struct neff_build *b, int graph, const char *name, uint64_t size,
                            const void *data, size_t data_size)
{
    struct build_graph *g = graph_at(b, graph);
    char member[200];

    if (g == NULL || !file_member_name(b, graph, name, ".raw", member, sizeof(member)) ||
        neff_build_member(b, member, data, data_size) < 0)
        return -1;
    return file_var(b, g, name, member, true, size);
}

int neff_build_constant_file(struct neff_build *b, int graph, const char *name, const char *path)
{
    struct build_graph *g = graph_at(b, graph);
    size_t n;
    struct build_member *m;
    char member[200];
    uint64_t size;

    if (g == NULL || neff_file_size(path, &size, &b->err) != NRT_SUCCESS)
        return -1;
    n = strlen(path);
    if (!file_member_name(b, graph, name,
                          n > 4 && strcmp(path + n - 4, ".npy") == 0 ? ".npy" : ".raw", member,
                          sizeof(member)))
        return -1;
    m = member_new(b, member);
    if (m == NULL)
        return -1;
    m->size = size;
    m->path = mem_strdup(path);
    if (m->path == NULL)
        return oom(b);
    return file_var(b, g, name, member, false, 0);
}

static bool var_ok(struct neff_build *b, const struct build_graph *g, int var)
{
    if (var >= 0 && (size_t)var < g->var_count)
        return true;
    fail(b, "there is no variable %d", var);
    return false;
}

int neff_build_pointer(struct neff_build *b, int graph, const char *name, int var)
{
    struct build_graph *g = graph_at(b, graph);

    if (g == NULL || !var_ok(b, g, var) || var_open(b, g, name, "pointer") == NULL)
        return -1;
    put_size(g, 8);
    strbuf_printf(&g->vars, ", \"referenced_var_id\": %d", var);
    return var_close(b, g);
}

int neff_build_dge_table(struct neff_build *b, int graph, const char *name, const int *vars,
                         unsigned count)
{
    struct build_graph *g = graph_at(b, graph);

    if (g == NULL)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        if (!var_ok(b, g, vars[i]))
            return -1;
    }
    if (var_open(b, g, name, "dge-table") == NULL)
        return -1;
    put_size(g, 8ull * count);
    strbuf_put(&g->vars, ", \"list\": [");
    for (unsigned i = 0; i < count; i++)
        strbuf_printf(&g->vars, "%s%d", i > 0 ? ", " : "", vars[i]);
    strbuf_put(&g->vars, "]");
    return var_close(b, g);
}

/* ---- DMA ---- */

static void put_u32_array(struct strbuf *s, const char *key, const uint32_t *v, unsigned n)
{
    if (n == 0)
        return;
    strbuf_printf(s, ", \"%s\": [", key);
    for (unsigned i = 0; i < n; i++)
        strbuf_printf(s, "%s%u", i > 0 ? ", " : "", v[i]);
    strbuf_put(s, "]");
}

int neff_build_queue(struct neff_build *b, int graph, const struct neff_build_queue *q)
{
    struct build_graph *g = graph_at(b, graph);
    struct strbuf *s;
    bool existed;

    if (g == NULL)
        return -1;
    if (q->name == NULL || *q->name == '\0' || *q->name == '#' || q->type == NULL)
        return fail(b, "a queue needs a name that does not begin with # and a type");
    if (!str_map_put(&g->queue_names, q->name, g->queue_count, &existed))
        return oom(b);
    if (existed)
        return fail(b, "queue %s is declared twice", q->name);
    if (!mem_grow((void **)&g->queue_name, &g->queue_cap, g->queue_count + 1,
                  sizeof(*g->queue_name)))
        return oom(b);
    g->queue_name[g->queue_count] = mem_strdup(q->name);
    if (g->queue_name[g->queue_count] == NULL)
        return oom(b);
    s = &g->queues;
    strbuf_put(s, g->queue_count > 0 ? ",\n    " : "\n    ");
    build_json_str(s, q->name);
    strbuf_put(s, ": {\"type\": ");
    build_json_str(s, q->type);
    strbuf_printf(s, ", \"num_queues\": %u", q->num_queues != 0 ? q->num_queues : 1);
    if (q->owner != NULL) {
        strbuf_put(s, ", \"owner\": ");
        build_json_str(s, q->owner);
    }
    if (q->has_semaphore)
        strbuf_printf(s, ", \"semaphore\": %u", q->semaphore);
    put_u32_array(s, "semaphore_set", q->semaphore_set, q->semaphore_set_count);
    for (unsigned i = 0; i < q->instance_count; i++) {
        strbuf_put(s, i == 0 ? ", \"queue_instances\": [" : ", ");
        build_json_str(s, q->instances[i]);
    }
    if (q->instance_count > 0)
        strbuf_put(s, "]");
    if (q->fabric_alt)
        strbuf_put(s, ", \"fabric_path\": \"alt\"");
    strbuf_put(s, "}");
    g->queue_count++;
    return s->failed ? oom(b) : (int)(g->queue_count - 1);
}

static bool put_queue_name(struct neff_build *b, const struct build_graph *g, int queue,
                           struct strbuf *s)
{
    if (queue < 0 || (size_t)queue >= g->queue_count) {
        fail(b, "there is no queue %d", queue);
        return false;
    }
    build_json_str(s, g->queue_name[queue]);
    return true;
}

int neff_build_group(struct neff_build *b, int graph, enum neff_engine engine,
                     const struct neff_build_group *d)
{
    struct build_engine *e = engine_at(b, graph, engine);
    struct build_group *g;
    struct strbuf *s;

    if (e == NULL)
        return -1;
    if (!mem_grow((void **)&e->groups, &e->group_cap, e->group_count + 1, sizeof(*e->groups)))
        return oom(b);
    g = &e->groups[e->group_count];
    memset(g, 0, sizeof(*g));
    e->group_count++;
    s = &g->head;
    strbuf_printf(s, "{\"id\": %u, ", d->id);
    strbuf_put(s, d->instance_name != NULL ? "\"instance_name\": " : "\"queue\": ");
    if (d->instance_name != NULL)
        build_json_str(s, d->instance_name);
    else if (!put_queue_name(b, &b->graphs[graph], d->queue, s))
        return -1;
    if (d->function_start != NULL) {
        strbuf_put(s, ", \"function_start\": ");
        build_json_str(s, d->function_start);
    }
    if (d->section_start_desc)
        strbuf_put(s, ", \"section_start_desc\": true");
    if (d->has_event)
        strbuf_printf(s, ", \"event\": %u", d->event);
    if (d->has_semaphore)
        strbuf_printf(s, ", \"semaphore\": %u", d->semaphore);
    put_u32_array(s, "remote_semaphores", d->remote_semaphores, d->remote_semaphore_count);
    strbuf_put(s, ",\n     \"desc\": [");
    return s->failed ? oom(b) : (int)(e->group_count - 1);
}

static void put_side(struct strbuf *s, const struct build_graph *g, const char *prefix,
                     const struct neff_build_side *a)
{
    strbuf_printf(s, "\"%s\": ", prefix);
    build_json_str(s, g->var[a->var].name);
    strbuf_printf(s, ", \"%s_off\": %llu, \"%s_steps\": [", prefix, (unsigned long long)a->off,
                  prefix);
    for (unsigned i = 0; i < a->ndim; i++)
        strbuf_printf(s, "%s%lld", i > 0 ? ", " : "", (long long)a->steps[i]);
    strbuf_printf(s, "], \"%s_sizes\": [", prefix);
    for (unsigned i = 0; i < a->ndim; i++)
        strbuf_printf(s, "%s%llu", i > 0 ? ", " : "", (unsigned long long)a->sizes[i]);
    strbuf_put(s, "]");
    if (a->dtype != NULL) {
        strbuf_printf(s, ", \"%s_dtype\": ", prefix);
        build_json_str(s, a->dtype);
    }
}

static bool side_ok(struct neff_build *b, const struct build_graph *g,
                    const struct neff_build_side *a)
{
    if (a->ndim < 1 || a->ndim > 4) {
        fail(b, "an access pattern has 1 to 4 dimensions, not %u", a->ndim);
        return false;
    }
    return var_ok(b, g, a->var);
}

static void put_op_fields(struct strbuf *s, const struct neff_build_desc *d)
{
    if (d->scales != NULL) {
        strbuf_put(s, ", \"scale_dtype\": \"float32\", \"scale\": [");
        for (unsigned i = 0; i < d->from_count; i++) {
            strbuf_put(s, i > 0 ? ", " : "");
            build_json_num(s, d->scales[i]);
        }
        strbuf_put(s, "]");
    }
    if (d->constant_dtype != NULL) {
        strbuf_put(s, ", \"constant_dtype\": ");
        build_json_str(s, d->constant_dtype);
        strbuf_put(s, ", \"constant\": ");
        build_json_num(s, d->constant);
    }
    if (d->has_transpose_shape)
        strbuf_printf(s, ", \"transpose_shape\": [%u, %u, %u, %u]", d->transpose_shape[0],
                      d->transpose_shape[1], d->transpose_shape[2], d->transpose_shape[3]);
    if (d->transpose_element_size != 0)
        strbuf_printf(s, ", \"transpose_element_size\": %u", d->transpose_element_size);
}

/* JSON has no number for them, so the text would be wrong rather than refused. */
static bool numbers_ok(struct neff_build *b, const struct neff_build_desc *d)
{
    bool ok = d->constant_dtype == NULL || isfinite(d->constant);

    for (unsigned i = 0; d->scales != NULL && i < d->from_count; i++)
        ok = ok && isfinite(d->scales[i]);
    if (!ok)
        fail(b, "a scale or constant of a descriptor is not finite");
    return ok;
}

int neff_build_desc(struct neff_build *b, int graph, enum neff_engine engine, int group,
                    const struct neff_build_desc *d)
{
    struct build_engine *e = engine_at(b, graph, engine);
    const struct build_graph *g;
    struct strbuf *s;

    if (e == NULL)
        return -1;
    g = &b->graphs[graph];
    if (group < 0 || (size_t)group >= e->group_count)
        return fail(b, "engine %s has no group %d", neff_engine_key(engine), group);
    if (d->from_count < 1 || d->from_count > NEFF_MAX_SOURCES)
        return fail(b, "%u sources, at most 16", d->from_count);
    for (unsigned i = 0; i < d->from_count; i++) {
        if (!side_ok(b, g, &d->from[i]))
            return -1;
    }
    if (!side_ok(b, g, &d->to) || !numbers_ok(b, d))
        return -1;

    s = &e->groups[group].descs;
    strbuf_put(s, s->len > 0 ? ",\n      {" : "\n      {");
    if (d->op != NULL) {
        strbuf_put(s, "\"op\": ");
        build_json_str(s, d->op);
        strbuf_put(s, ", ");
    }
    if (d->from_count > 1 || d->scales != NULL) { /* a list of scales goes with from_arr */
        for (unsigned i = 0; i < d->from_count; i++) {
            strbuf_put(s, i == 0 ? "\"from_arr\": [{" : ", {");
            put_side(s, g, "from", &d->from[i]);
            strbuf_put(s, "}");
        }
        strbuf_put(s, "]");
    } else {
        put_side(s, g, "from", &d->from[0]);
    }
    strbuf_put(s, ", ");
    put_side(s, g, "to", &d->to);
    put_op_fields(s, d);
    strbuf_put(s, "}");
    return s->failed ? oom(b) : 0;
}

int neff_build_copy(struct neff_build *b, int graph, enum neff_engine engine, int group, int from,
                    uint64_t from_off, int to, uint64_t to_off, uint64_t size)
{
    struct neff_build_side side = {
        .var = from, .off = from_off, .ndim = 1, .steps = {1}, .sizes = {size}};
    struct neff_build_desc d = {.from = &side, .from_count = 1, .to = side};

    d.to.var = to;
    d.to.off = to_off;
    return neff_build_desc(b, graph, engine, group, &d);
}

/* ---- programs ---- */

int neff_build_program(struct neff_build *b, int graph, enum neff_engine engine, const void *code,
                       size_t size)
{
    struct build_engine *e = engine_at(b, graph, engine);

    if (e == NULL)
        return -1;
    if (e->has_program)
        return fail(b, "engine %s has a program already", neff_engine_key(engine));
    e->code = mem_alloc(size);
    if (e->code == NULL)
        return oom(b);
    if (size > 0)
        memcpy(e->code, code, size);
    e->code_size = size;
    e->has_program = true;
    return 0;
}

int neff_build_debug(struct neff_build *b, int graph, enum neff_engine engine, const char *file,
                     uint32_t line, const char *label, const char *op)
{
    struct build_engine *e = engine_at(b, graph, engine);
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
        build_json_str(&e->debug, texts[i].text);
        comma = ", ";
    }
    if (line != 0)
        strbuf_printf(&e->debug, "%s\"line\": %u", comma, line);
    strbuf_put(&e->debug, "}");
    return e->debug.failed ? oom(b) : 0;
}

int neff_build_act_set(struct neff_build *b, int graph, const char *name)
{
    struct build_engine *e = engine_at(b, graph, NEFF_ACT);

    if (e == NULL)
        return -1;
    strbuf_put(&e->act_sets, e->act_sets.len > 0 ? ", " : "");
    build_json_str(&e->act_sets, name);
    return e->act_sets.failed ? oom(b) : 0;
}

int neff_build_dve_table(struct neff_build *b, int graph, const void *control, size_t control_size,
                         const void *datapath, size_t datapath_size, const void *opcode,
                         size_t opcode_size)
{
    struct build_engine *e = engine_at(b, graph, NEFF_DVE);
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
    return e->dve_tables.failed ? oom(b) : 0;
}

int neff_build_collectives(struct neff_build *b, int graph, const char *json)
{
    struct build_graph *g = graph_at(b, graph);

    if (g == NULL)
        return -1;
    strbuf_fini(&g->collectives);
    strbuf_put(&g->collectives, json);
    return g->collectives.failed ? oom(b) : 0;
}

/* ---- graph level ---- */

static bool put_node_tensors(struct neff_build *b, const char *key,
                             const struct neff_build_tensor *t, unsigned n, bool input)
{
    struct strbuf *s = &b->nodes;

    strbuf_printf(s, ",\n   \"%s\": [", key);
    for (unsigned i = 0; i < n; i++) {
        uint64_t size;

        if (!shape_bytes(b, t[i].name, t[i].dtype, t[i].ndim, t[i].shape, &size))
            return false;
        strbuf_put(s, i > 0 ? ",\n    " : "\n    ");
        put_tensor(s, t[i].name, size, &t[i], input);
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

    if (graph_at(b, 0) == NULL)
        return -1;
    if (n->is_cpu && (n->library == NULL || n->function == NULL))
        return fail(b, "a CPU node needs a library and a function");
    s = &b->nodes;
    strbuf_printf(
        s, "%s{\"id\": %u, \"executor\": \"%s\", \"name\": ", b->node_count > 0 ? ",\n  " : "",
        b->node_count + 1, n->is_cpu ? "CPU" : "NeuronCore");
    build_json_str(s, n->name != NULL ? n->name : "sg00");
    if (n->is_cpu) {
        strbuf_put(s, ", \"library\": ");
        build_json_str(s, n->library);
        strbuf_put(s, ", \"function\": ");
        build_json_str(s, n->function);
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
    return s->failed ? oom(b) : (int)b->node_count++;
}
