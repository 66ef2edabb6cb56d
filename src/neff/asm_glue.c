/* SPDX-License-Identifier: Apache-2.0 */
/* From the assembler's result to a builder: the one place where neff looks down at isa's text. */
#include "neff/asm.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/npy.h"
#include "isa/asm.h"
#include "neff/build_int.h"
#include "neff/file.h"

static NRT_STATUS report(struct neff_error *error, NRT_STATUS status, const char *text)
{
    if (error && error->status == NRT_SUCCESS) {
        error->status = status;
        snprintf(error->text, sizeof(error->text), "%s", text);
    }
    return status;
}

/* With the line in front, if there is one. */
static NRT_STATUS report_at(struct neff_error *error, NRT_STATUS status, const char *file,
                            uint32_t line, const char *text)
{
    char buf[sizeof(error->text)];

    if (line == 0 || status == NRT_RESOURCE)
        return report(error, status, text);
    snprintf(buf, sizeof(buf), "%s:%u: %s", file, line, text);
    return report(error, status, buf);
}

/* ---- one core ---- */

/* Whether the file has the bytes of the declared shape. What is no array is left to the write. */
static bool file_fits(struct neff_build *b, const struct isa_asm_var *v, const char *path)
{
    size_t n = strlen(path);
    struct neff_map map;
    struct npy_desc d;
    uint64_t bytes;

    if (neff_file_map(path, &map, &b->err) != NRT_SUCCESS)
        return false;
    bytes = map.size;
    if (n > 4 && strcmp(path + n - 4, ".npy") == 0)
        bytes = npy_parse(map.bytes, map.size, &d, NULL) == NRT_SUCCESS ? d.data_bytes : v->size;
    neff_file_unmap(&map);
    if (bytes != v->size)
        build_fail(b, "%s has %llu bytes, %s has %llu", path, (unsigned long long)bytes, v->name,
                   (unsigned long long)v->size);
    return bytes == v->size;
}

static int add_file(struct neff_build *b, int graph, const struct isa_asm_var *v, const char *dir)
{
    char path[4096];
    int var;

    if (v->data)
        return neff_build_constant(b, graph, v->name, dtype_name(v->dtype), v->ndim, v->shape,
                                   v->data);
    snprintf(path, sizeof(path), "%s%s%s", dir && v->file_name[0] != '/' ? dir : "",
             dir && v->file_name[0] != '/' ? "/" : "", v->file_name);
    var = neff_build_constant_file(b, graph, v->name, path);
    return var >= 0 && !file_fits(b, v, path) ? -1 : var;
}

static int add_table(struct neff_build *b, int graph, const struct isa_asm_var *v)
{
    int list[256];

    if (v->n_list > 256)
        return -1;
    for (size_t i = 0; i < v->n_list; i++)
        list[i] = (int)v->list[i];
    return neff_build_dge_table(b, graph, v->name, list, (unsigned)v->n_list);
}

static int add_var(struct neff_build *b, int graph, const struct isa_asm_var *v, const char *dir)
{
    if (strcmp(v->type, "input") == 0)
        return build_io_var(b, graph, v->name, dtype_name(v->dtype), v->ndim, v->shape, 'i',
                            v->alignment);
    if (strcmp(v->type, "output") == 0)
        return build_io_var(b, graph, v->name, dtype_name(v->dtype), v->ndim, v->shape, 'o',
                            v->alignment);
    if (strcmp(v->type, "file") == 0)
        return add_file(b, graph, v, dir);
    if (strcmp(v->type, "tmp-buf") == 0)
        return neff_build_tmp(b, graph, v->name, v->size, v->alignment);
    if (strcmp(v->type, "virtual") == 0)
        return neff_build_virtual(b, graph, v->name, v->size, v->backing_buf,
                                  (uint64_t)v->backing_off);
    if (strcmp(v->type, "pointer") == 0)
        return neff_build_pointer(b, graph, v->name, (int)v->referenced);
    if (strcmp(v->type, "dge-table") == 0)
        return add_table(b, graph, v);
    return neff_build_state_buffer(b, graph, v->name);
}

static int add_queue(struct neff_build *b, int graph, const struct isa_asm_queue *q)
{
    struct neff_build_queue n = {.name = q->name,
                                 .type = q->type,
                                 .num_queues = q->num_queues,
                                 .owner = q->owner < 0 ? NULL : isa_engine_name((unsigned)q->owner),
                                 .has_semaphore = q->semaphore >= 0,
                                 .semaphore = q->semaphore < 0 ? 0 : (uint32_t)q->semaphore,
                                 .instances = (const char *const *)q->instances,
                                 .instance_count = (unsigned)q->n_instances,
                                 .fabric_alt = q->fabric && strcmp(q->fabric, "alt") == 0};

    return neff_build_queue(b, graph, &n);
}

static int var_index(const struct isa_asm_core *c, const char *name)
{
    for (size_t i = 0; i < c->n_vars; i++)
        if (c->vars[i].name == name)
            return (int)i;
    return -1;
}

static struct neff_build_side side_of(const struct isa_asm_core *c, const struct isa_asm_side *s,
                                      bool typed)
{
    struct neff_build_side n = {.var = var_index(c, s->var),
                                .off = (uint64_t)s->off,
                                .ndim = s->ndim,
                                .dtype = typed ? dtype_name(s->dtype) : NULL};

    for (unsigned k = 0; k < s->ndim; k++) {
        n.steps[k] = s->steps[k];
        n.sizes[k] = (uint64_t)s->sizes[k];
    }
    return n;
}

static int add_desc(struct neff_build *b, int graph, const struct isa_asm_core *c,
                    const struct isa_asm_dma *g, int group, const struct isa_asm_desc *d)
{
    struct neff_build_side from[16];
    float scale[16];
    bool typed = d->op != ISA_DMA_COPY;
    struct neff_build_desc n = {.op = isa_dma_op_name(d->op),
                                .from = from,
                                .from_count = (unsigned)d->n_from,
                                .to = side_of(c, &d->to, typed)};

    for (size_t i = 0; i < d->n_from; i++) {
        from[i] = side_of(c, &d->from[i], typed);
        scale[i] = (float)d->from[i].scale;
    }
    if (d->op == ISA_DMA_FMA)
        n.scales = scale;
    if (d->constant_dtype != DT_INVALID) {
        n.constant_dtype = dtype_name(d->constant_dtype);
        n.constant = d->constant;
    }
    if (d->op == ISA_DMA_TRANSPOSE) {
        n.has_transpose_shape = true;
        for (unsigned k = 0; k < 4; k++)
            n.transpose_shape[k] = (uint32_t)d->transpose_shape[k];
        n.transpose_element_size = d->transpose_element_size;
    }
    return neff_build_desc(b, graph, (enum neff_engine)g->engine, group, &n);
}

static int add_dma(struct neff_build *b, int graph, const struct isa_asm_core *c,
                   const struct isa_asm_dma *g)
{
    uint32_t remote[4];
    struct neff_build_group n = {.id = (uint32_t)g->id,
                                 .queue = -1,
                                 .instance_name = g->instance,
                                 .has_event = g->event >= 0,
                                 .has_semaphore = g->semaphore >= 0,
                                 .event = g->event < 0 ? 0 : (uint32_t)g->event,
                                 .semaphore = g->semaphore < 0 ? 0 : (uint32_t)g->semaphore,
                                 .remote_semaphores = remote,
                                 .remote_semaphore_count = g->n_remote};
    int group;

    for (unsigned i = 0; i < g->n_remote; i++)
        remote[i] = (uint32_t)g->remote[i];
    for (size_t i = 0; i < c->n_queues; i++)
        if (c->queues[i].name == g->queue)
            n.queue = (int)i;
    group = neff_build_group(b, graph, (enum neff_engine)g->engine, &n);
    if (group < 0)
        return -1;
    for (size_t i = 0; i < g->n_desc; i++)
        if (add_desc(b, graph, c, g, group, &g->desc[i]) < 0)
            return -1;
    return 0;
}

static int add_program(struct neff_build *b, int graph, enum neff_engine e,
                       const struct isa_asm_program *p, const char *file)
{
    if (p->n == 0)
        return 0;
    if (neff_build_program(b, graph, e, p->records, p->n * sizeof(*p->records)) < 0)
        return -1;
    for (size_t i = 0; i < p->n; i++)
        if (neff_build_debug(b, graph, e, file, p->lines[i].line, p->lines[i].label,
                             p->lines[i].op) < 0)
            return -1;
    return 0;
}

/* False: the reason is in the builder. */
static struct neff_build_coll_range coll_range(const struct isa_asm_core *c,
                                               const struct isa_asm_range *r)
{
    return (struct neff_build_coll_range){.var = var_index(c, r->var),
                                          .off = (uint64_t)r->off,
                                          .size = (uint64_t)r->size,
                                          .partitions = r->partitions,
                                          .step = r->step};
}

static bool add_coll(struct neff_build *b, int graph, const struct isa_asm_core *core,
                     const struct isa_asm_coll *c)
{
    struct neff_build_coll_range ranges[128];
    struct neff_build_coll_group groups[64];
    struct neff_build_coll n = {.op = c->op,
                                .reduce = c->reduce,
                                .dtype = c->dtype == DT_INVALID ? NULL : dtype_name(c->dtype),
                                .stream = c->stream,
                                .groups = groups,
                                .group_count = (unsigned)c->n_groups,
                                .pairs = (const uint32_t(*)[2])c->pairs,
                                .pair_count = (unsigned)c->n_pairs,
                                .in = ranges,
                                .in_count = (unsigned)c->n_in,
                                .out = ranges + c->n_in,
                                .out_count = (unsigned)c->n_out,
                                .algorithm = c->algorithm};

    if (c->n_in + c->n_out > 128 || c->n_groups > 64)
        return false;
    for (size_t i = 0; i < c->n_groups; i++)
        groups[i] = (struct neff_build_coll_group){c->groups[i].rank, (unsigned)c->groups[i].n};
    for (size_t i = 0; i < c->n_in; i++)
        ranges[i] = coll_range(core, &c->in[i]);
    for (size_t i = 0; i < c->n_out; i++)
        ranges[c->n_in + i] = coll_range(core, &c->out[i]);
    n.has_metadata = c->metadata.var != NULL;
    if (n.has_metadata) {
        n.metadata_var = var_index(core, c->metadata.var);
        n.metadata_off = (uint64_t)c->metadata.off;
    }
    return neff_build_collective(b, graph, &n) >= 0;
}

/* *ret_line: of the declaration that was refused, 0 when it is none. */
static bool add_core(struct neff_build *b, int graph, const struct isa_asm_result *res,
                     const struct isa_asm_core *c, const char *dir, uint32_t *ret_line)
{
    for (size_t i = 0; i < c->n_vars; i++) {
        *ret_line = c->vars[i].line;
        if (add_var(b, graph, &c->vars[i], dir) != (int)c->vars[i].var_id)
            return false;
    }
    for (size_t i = 0; i < c->n_colls; i++) {
        *ret_line = c->colls[i].line;
        if (!add_coll(b, graph, c, &c->colls[i]))
            return false;
    }
    for (size_t i = 0; i < c->n_queues; i++) {
        *ret_line = c->queues[i].line;
        if (add_queue(b, graph, &c->queues[i]) != (int)i)
            return false;
    }
    for (size_t i = 0; i < c->n_dmas; i++) {
        *ret_line = c->dmas[i].line;
        if (add_dma(b, graph, c, &c->dmas[i]) < 0)
            return false;
    }
    *ret_line = 0;
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        if (add_program(b, graph, (enum neff_engine)e, &c->engine[e], res->file) < 0)
            return false;
    return true;
}

/* ---- the functions of neff/asm.h ---- */

static NRT_STATUS assemble(const char *text, size_t size, const struct neff_asm_options *o,
                           struct isa_asm_result **ret, struct neff_error *error)
{
    const char *name = o->arch ? o->arch : "trn1";
    const struct isa_arch *arch = isa_arch_find(name, strlen(name));
    struct isa_asm_opts opts = {.file = o->file};
    struct diag_sink sink = {.warn = o->warn, .arg = o->arg};
    struct isa_asm_define *d = NULL;
    struct err err = {0};
    NRT_STATUS st;

    if (!arch)
        return report(error, NRT_INVALID, "the architecture is trn1, inf2, trn2 or trn3");
    for (size_t i = 0; i < o->define_count; i++)
        if (!o->defines || !o->defines[i].name || !o->defines[i].value)
            return report(error, NRT_INVALID, "a definition has a name and a value");
    opts.gen = arch->gen;
    if (o->define_count) {
        d = mem_calloc(o->define_count, sizeof(*d));
        if (!d)
            return report(error, NRT_RESOURCE, "out of memory");
        for (size_t i = 0; i < o->define_count; i++)
            d[i] = (struct isa_asm_define){o->defines[i].name, o->defines[i].value};
        opts.defines = d;
        opts.n_defines = o->define_count;
    }
    st = isa_asm(text, size, &opts, o->warn ? &sink : NULL, ret, &err);
    mem_free(d);
    return st == NRT_SUCCESS ? st : report(error, st, err.text);
}

NRT_STATUS neff_asm_text(const char *text, size_t size, const struct neff_asm_options *options,
                         struct neff_build **ret_builder, struct neff_asm_info *info,
                         struct neff_error *error)
{
    static const struct neff_asm_options none;
    const struct neff_asm_options *o = options ? options : &none;
    struct isa_asm_result *res;
    struct neff_build *b;
    uint32_t line = 0;
    NRT_STATUS st;
    bool ok;

    if (!text || !ret_builder)
        return report(error, NRT_INVALID, "text and builder are needed");
    st = assemble(text, size, o, &res, error);
    if (st != NRT_SUCCESS)
        return st;
    b = neff_build_create(res->name ? res->name : "subgraph");
    if (!b) {
        isa_asm_free(res);
        return report(error, NRT_RESOURCE, "out of memory");
    }
    ok = res->n_cores == 1 || neff_build_subgraph(b) == 1;
    for (unsigned c = 0; ok && c < res->n_cores; c++)
        ok = add_core(b, (int)c, res, &res->core[c], o->dir, &line);
    if (!ok) {
        st = report_at(error, b->err.status ? b->err.status : NRT_INVALID, res->file, line,
                       b->err.status ? neff_build_error(b) : "the text does not fit a NEFF");
        neff_build_destroy(b);
    } else {
        if (info)
            *info = (struct neff_asm_info){res->name ? b->name.s : NULL,
                                           res->arch ? res->arch : o->arch, res->n_cores};
        *ret_builder = b;
    }
    isa_asm_free(res);
    return st;
}

NRT_STATUS neff_asm_records(const char *text, size_t size, const struct neff_asm_options *options,
                            enum neff_engine engine, void **ret_bytes, size_t *ret_size,
                            struct neff_error *error)
{
    static const struct neff_asm_options none;
    struct isa_asm_result *res;
    struct isa_asm_program *p;
    NRT_STATUS st;

    if (!text || !ret_bytes || !ret_size || (unsigned)engine >= NEFF_ENGINE_COUNT)
        return report(error, NRT_INVALID, "an argument is missing");
    st = assemble(text, size, options ? options : &none, &res, error);
    if (st != NRT_SUCCESS)
        return st;
    p = &res->core[0].engine[engine];
    if (p->n == 0) {
        st = report(error, NRT_INVALID, "the text has no program for that engine");
    } else {
        *ret_size = p->n * sizeof(*p->records);
        *ret_bytes = p->records; /* changes hands */
        p->records = NULL;
    }
    isa_asm_free(res);
    return st;
}

NRT_STATUS neff_asm_print(const void *code, size_t size, enum neff_engine engine, char **ret_text,
                          struct neff_error *error)
{
    struct strbuf out = {0};
    struct isa_record *copy;

    if (!code || !ret_text || (unsigned)engine >= NEFF_ENGINE_COUNT)
        return report(error, NRT_INVALID, "an argument is missing");
    if (!isa_looks_ours(code, size))
        return report(error, NRT_INVALID,
                      "the program is not in this encoding; it can be inspected, not printed");
    copy = mem_alloc(size); /* the bytes may lie anywhere */
    if (!copy)
        return report(error, NRT_RESOURCE, "out of memory");
    memcpy(copy, code, size);
    isa_print_program(copy, size / sizeof(*copy), (enum isa_engine)engine, &out);
    mem_free(copy);
    if (out.failed) {
        strbuf_fini(&out);
        return report(error, NRT_RESOURCE, "out of memory");
    }
    *ret_text = out.s;
    return NRT_SUCCESS;
}
