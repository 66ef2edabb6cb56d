/* SPDX-License-Identifier: Apache-2.0 */
/* The builder: tensors, constants and other variables. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/npy.h"
#include "neff/build_int.h"
#include "neff/neff_int.h"

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
    build_fail(b, "no free member name for %s", base);
    return false;
}

static bool var_name_ok(struct neff_build *b, const char *name)
{
    if (name != NULL && *name != '\0' && *name != '#')
        return true;
    build_fail(b, "a variable needs a name that does not begin with #");
    return false;
}

/* Opens the JSON of a new variable: `"name": {"type": ..., "var_id": n`; the caller adds fields and
 * var_close. NULL on error. */
static struct build_var *var_open(struct neff_build *b, struct build_graph *g, const char *name,
                                  const char *type)
{
    struct build_var *v;
    bool existed;

    if (!var_name_ok(b, name))
        return NULL;
    if (!mem_grow((void **)&g->var, &g->var_cap, g->var_count + 1, sizeof(*g->var)) ||
        !str_map_put(&g->var_names, name, g->var_count, &existed)) {
        build_oom(b);
        return NULL;
    }
    if (existed) {
        build_fail(b, "variable %s is declared twice", name);
        return NULL;
    }
    v = &g->var[g->var_count];
    memset(v, 0, sizeof(*v));
    v->name = mem_strdup(name);
    if (v->name == NULL) {
        build_oom(b);
        return NULL;
    }
    strbuf_put(&g->vars, g->var_count > 0 ? ",\n    " : "\n    ");
    strbuf_put_json(&g->vars, name);
    strbuf_printf(&g->vars, ": {\"type\": \"%s\", \"var_id\": %zu", type, g->var_count);
    g->var_count++;
    return v;
}

static int var_close(struct neff_build *b, struct build_graph *g)
{
    strbuf_put(&g->vars, "}");
    return g->vars.failed ? build_oom(b) : (int)(g->var_count - 1);
}

static void put_size(struct build_graph *g, uint64_t size)
{
    strbuf_printf(&g->vars, ", \"size\": %llu", (unsigned long long)size);
}

static void put_alignment(struct build_graph *g, uint64_t alignment)
{
    if (alignment != 0)
        strbuf_printf(&g->vars, ", \"alignment\": %llu", (unsigned long long)alignment);
}

int neff_build_state_buffer(struct neff_build *b, int graph, const char *name)
{
    struct build_graph *g = build_graph_at(b, graph);

    if (g == NULL || var_open(b, g, name, "state-buffer") == NULL)
        return -1;
    return var_close(b, g);
}

bool build_shape_bytes(struct neff_build *b, const char *name, const char *dtype, unsigned ndim,
                       const uint64_t *shape, uint64_t *ret)
{
    enum dtype t = dtype != NULL ? neff_dtype(dtype, true) : DT_INVALID;

    *ret = dtype_size(t);
    if (t == DT_INVALID) {
        build_fail(b, "variable %s: unknown dtype %s", name, dtype != NULL ? dtype : "(null)");
        return false;
    }
    if (ndim > NPY_MAX_DIMS) {
        build_fail(b, "variable %s: more than %d dimensions", name, NPY_MAX_DIMS);
        return false;
    }
    if (ndim > 0 && !build_given(b, shape, "a shape"))
        return false;
    for (unsigned i = 0; i < ndim; i++) {
        if (u64_mul_over(*ret, shape[i], ret) || *ret > INT64_MAX) {
            build_fail(b, "variable %s: the shape is too large", name);
            return false;
        }
    }
    return true;
}

void build_put_tensor(struct strbuf *s, const char *name, uint64_t size,
                      const struct neff_build_tensor *t, bool input)
{
    strbuf_put(s, "{\"name\": ");
    strbuf_put_json(s, name);
    strbuf_printf(s, ", \"size\": %llu, \"shape\": [", (unsigned long long)size);
    for (unsigned i = 0; i < t->ndim; i++)
        strbuf_printf(s, "%s%llu", i > 0 ? ", " : "", (unsigned long long)t->shape[i]);
    strbuf_put(s, "], \"dtype\": ");
    strbuf_put_json(s, t->dtype);
    if (t->format != NULL) {
        strbuf_put(s, ", \"format\": ");
        strbuf_put_json(s, t->format);
    }
    if (!input || t->time_series)
        strbuf_printf(s, ", \"time_series\": %s", t->time_series ? "true" : "false");
    strbuf_put(s, "}");
}

int build_io_var(struct neff_build *b, int graph, const char *name, const char *dtype,
                 unsigned ndim, const uint64_t *shape, int usage, uint64_t alignment)
{
    struct neff_build_tensor t = {.dtype = dtype, .ndim = ndim, .shape = shape};
    struct build_graph *g = build_graph_at(b, graph);
    struct build_var *v;
    uint64_t size;

    if (g == NULL || !var_name_ok(b, name) ||
        !build_shape_bytes(b, name, dtype, ndim, shape, &size))
        return -1;
    v = var_open(b, g, name, usage == 'i' ? "input" : "output");
    if (v == NULL)
        return -1;
    v->usage = usage;
    put_size(g, size);
    put_alignment(g, alignment);
    build_put_tensor(&v->tensor, name, size, &t, usage == 'i');
    if (v->tensor.failed)
        return build_oom(b);
    return var_close(b, g);
}

int neff_build_input(struct neff_build *b, int graph, const char *name, const char *dtype,
                     unsigned ndim, const uint64_t *shape)
{
    return build_io_var(b, graph, name, dtype, ndim, shape, 'i', 0);
}

int neff_build_output(struct neff_build *b, int graph, const char *name, const char *dtype,
                      unsigned ndim, const uint64_t *shape)
{
    return build_io_var(b, graph, name, dtype, ndim, shape, 'o', 0);
}

int neff_build_tmp(struct neff_build *b, int graph, const char *name, uint64_t size,
                   uint64_t alignment)
{
    struct build_graph *g = build_graph_at(b, graph);

    if (g == NULL || var_open(b, g, name, "tmp-buf") == NULL)
        return -1;
    put_size(g, size);
    put_alignment(g, alignment);
    return var_close(b, g);
}

int neff_build_virtual(struct neff_build *b, int graph, const char *name, uint64_t size,
                       const char *area, uint64_t off)
{
    struct build_graph *g = build_graph_at(b, graph);

    if (g == NULL || var_open(b, g, name, "virtual") == NULL)
        return -1;
    put_size(g, size);
    strbuf_printf(&g->vars, ", \"backing_variable_off\": %llu", (unsigned long long)off);
    if (area != NULL) {
        strbuf_put(&g->vars, ", \"backing_buf\": ");
        strbuf_put_json(&g->vars, area);
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
    strbuf_put_json(&g->vars, strchr(member, '/') + 1);
    return var_close(b, g);
}

int neff_build_constant(struct neff_build *b, int graph, const char *name, const char *dtype,
                        unsigned ndim, const uint64_t *shape, const void *data)
{
    struct build_graph *g = build_graph_at(b, graph);
    struct build_member *m;
    struct strbuf head = {0};
    char member[200];
    uint64_t size;

    if (g == NULL || !var_name_ok(b, name) ||
        !build_shape_bytes(b, name, dtype, ndim, shape, &size) ||
        (size > 0 && !build_given(b, data, "the data of a constant")) ||
        !file_member_name(b, graph, name, ".npy", member, sizeof(member)))
        return -1;
    m = build_member_new(b, member);
    if (m == NULL)
        return -1;
    if (!npy_write_header(&head, neff_dtype(dtype, true), ndim, shape)) {
        strbuf_fini(&head);
        return build_oom(b);
    }
    m->size = head.len + size;
    m->data = mem_alloc(m->size);
    if (m->data == NULL) {
        strbuf_fini(&head);
        return build_oom(b);
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
    struct build_graph *g = build_graph_at(b, graph);
    char member[200];

    if (g == NULL || !var_name_ok(b, name) ||
        !file_member_name(b, graph, name, ".raw", member, sizeof(member)) ||
        neff_build_member(b, member, data, data_size) < 0)
        return -1;
    return file_var(b, g, name, member, true, size);
}

int neff_build_constant_file(struct neff_build *b, int graph, const char *name, const char *path)
{
    struct build_graph *g = build_graph_at(b, graph);
    size_t n;
    struct build_member *m;
    char member[200];
    uint64_t size;

    if (g == NULL || !var_name_ok(b, name) || !build_given(b, path, "the path of a constant") ||
        neff_file_size(path, &size, &b->err) != NRT_SUCCESS)
        return -1;
    n = strlen(path);
    if (!file_member_name(b, graph, name,
                          n > 4 && strcmp(path + n - 4, ".npy") == 0 ? ".npy" : ".raw", member,
                          sizeof(member)))
        return -1;
    m = build_member_new(b, member);
    if (m == NULL)
        return -1;
    m->size = size;
    m->path = mem_strdup(path);
    if (m->path == NULL)
        return build_oom(b);
    return file_var(b, g, name, member, false, 0);
}

bool build_var_ok(struct neff_build *b, const struct build_graph *g, int var)
{
    if (var >= 0 && (size_t)var < g->var_count)
        return true;
    build_fail(b, "there is no variable %d", var);
    return false;
}

int neff_build_pointer(struct neff_build *b, int graph, const char *name, int var)
{
    struct build_graph *g = build_graph_at(b, graph);

    if (g == NULL || !build_var_ok(b, g, var) || var_open(b, g, name, "pointer") == NULL)
        return -1;
    put_size(g, 8);
    strbuf_printf(&g->vars, ", \"referenced_var_id\": %d", var);
    return var_close(b, g);
}

int neff_build_dge_table(struct neff_build *b, int graph, const char *name, const int *vars,
                         unsigned count)
{
    struct build_graph *g = build_graph_at(b, graph);

    if (g == NULL || (count > 0 && !build_given(b, vars, "the list of a table")))
        return -1;
    for (unsigned i = 0; i < count; i++) {
        if (!build_var_ok(b, g, vars[i]))
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
