/* SPDX-License-Identifier: Apache-2.0 */
/* Private to neff: the builder's memory. */
#ifndef NEFF_BUILD_INT_H
#define NEFF_BUILD_INT_H

#include "base/dtype.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "neff/build.h"
#include "neff/write.h"

struct build_var {
    char *name;
    int usage;            /* 'i' input, 'o' output, 0 other */
    struct strbuf tensor; /* JSON of its neff.json entry (input and output) */
};

struct build_group {
    struct strbuf head, descs;
};

struct build_engine {
    bool has_program;
    uint8_t *code;
    size_t code_size;
    struct build_group *groups;
    size_t group_count, group_cap;
    struct strbuf debug;
    struct strbuf act_sets, dve_tables; /* JSON elements, comma-separated */
};

struct build_graph {
    struct strbuf vars, queues; /* JSON members, comma-separated */
    struct build_var *var;
    size_t var_count, var_cap;
    struct str_map var_names, queue_names;
    char **queue_name;
    size_t queue_count, queue_cap;
    struct build_engine engines[NEFF_ENGINE_COUNT];
    struct strbuf isa_name;
    bool has_isa;
    int64_t isa_version;
    struct strbuf collectives; /* JSON elements, comma-separated */
    unsigned coll_count;
    unsigned dve_table_count;
};

/* A member that is not made from the declarations. */
struct build_member {
    char *name;
    void *data;
    uint64_t size;
    char *path; /* read when written */
};

struct neff_build {
    struct strbuf name;
    struct build_graph graphs[2];
    int graph_count;
    struct build_member *members;
    size_t member_count, member_cap;
    struct str_map member_names;
    struct strbuf nodes;
    unsigned node_count;
    struct err err;
};

/* Members of the finished file, in order; generated names and texts are owned by it. */
struct build_image {
    struct neff_source *sources;
    bool *owned; /* parallel: data is a generated text */
    size_t count, cap, owned_cap;
    struct arena names;
};
NRT_STATUS build_image_make(struct neff_build *b, const struct neff_build_options *o,
                            struct build_image *img);
void build_image_fini(struct build_image *img);
NRT_STATUS build_header(struct neff_build *b, const struct neff_build_options *o,
                        struct neff_header *h);

/* Note the first error of the builder; -1. */
int build_fail(struct neff_build *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int build_oom(struct neff_build *b);
/* Whether p is a pointer; else the error names `what`. */
bool build_given(struct neff_build *b, const void *p, const char *what);

/* NULL, with the error noted, when b has failed before or holds no such subgraph or engine. */
struct build_graph *build_graph_at(struct neff_build *b, int graph);
struct build_engine *build_engine_at(struct neff_build *b, int graph, enum neff_engine e);

/* A new member of that name, empty; NULL with the error noted. */
struct build_member *build_member_new(struct neff_build *b, const char *name);

/* neff_build_input and _output (usage 'i' and 'o') with an alignment: 0 or a power of two. */
int build_io_var(struct neff_build *b, int graph, const char *name, const char *dtype,
                 unsigned ndim, const uint64_t *shape, int usage, uint64_t alignment);
/* Bytes of a tensor; false with the error noted for an unknown dtype or an overflow. */
bool build_shape_bytes(struct neff_build *b, const char *name, const char *dtype, unsigned ndim,
                       const uint64_t *shape, uint64_t *ret);
/* The entry of a tensor in neff.json. */
void build_put_tensor(struct strbuf *s, const char *name, uint64_t size,
                      const struct neff_build_tensor *t, bool input);
/* Whether var is a variable of g; else the error is noted. */
bool build_var_ok(struct neff_build *b, const struct build_graph *g, int var);

/* JSON text. */
void build_json_num(struct strbuf *s, double v);

/* neff_file.c: a member that is read from a file when the NEFF is written. */
NRT_STATUS neff_file_size(const char *path, uint64_t *ret, struct err *err);
NRT_STATUS neff_file_read(void *path, uint64_t off, void *dst, size_t size, struct err *err);

#endif
