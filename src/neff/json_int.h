/* SPDX-License-Identifier: Apache-2.0 */
/* Private to neff: JSON text in, a flat tree out. The lexer is yajl's (docs/modules/neff.md has the
 * measurement); the tree is one array of nodes in document order, so that an engine file of a
 * hundred thousand descriptors costs two allocations that grow, not a million small ones. */
#ifndef NEFF_JSON_INT_H
#define NEFF_JSON_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

#define JSON_MAX_DEPTH  32u
#define JSON_MAX_PARSER 4294967295ull /* published limit of a JSON member, bytes */

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,  /* fits in 64 signed bits */
    JSON_REAL, /* any other number */
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

/* Keys that the reader knows, as small numbers: finding a field compares numbers, not text. */
/* clang-format off */
#define JSON_KEYS(X) \
    X(act) X(act_instr) X(activation_function_sets) X(algorithm) X(alignment) X(arch) \
    X(backing_buf) X(backing_variable_off) X(collectives) X(constant) X(constant_dtype) \
    X(control_table) X(datapath_table) X(definition) X(desc) X(dma) X(dma_queue) X(dtype) \
    X(dve) X(dve_instr) X(dve_tables) X(event) X(executor) X(fabric_path) X(file) \
    X(file_name) X(file_off) X(format) X(from) X(from_arr) X(from_dtype) X(from_off) \
    X(from_sizes) X(from_steps) X(function) X(function_start) X(graphs) X(groups) X(host) \
    X(id) X(in) X(inputs) X(instance_name) X(instr) X(isa) X(label) X(library) X(line) \
    X(list) X(metadata) X(name) X(nodes) X(num_queues) X(num_tiling_dimensions) X(off) X(op) \
    X(opcode_table) X(ops) X(out) X(outputs) X(owner) X(pairs) X(pe) X(pe_instr) X(pinned) \
    X(pool) X(pool_instr) X(queue) X(queue_instances) X(reduce) X(referenced_var_id) \
    X(remote_semaphores) X(scale) X(scale_dtype) X(section_start_desc) X(semaphore) \
    X(semaphore_set) X(shape) X(size) X(sp) X(sp_instr) X(stream) X(time_series) X(to) \
    X(to_dtype) X(to_off) X(to_sizes) X(to_steps) X(tool_version) X(transpose_element_size) \
    X(transpose_shape) X(type) X(var) X(var_id) X(version)
/* clang-format on */

enum json_key {
    K_OTHER,
#define X(k) K_##k,
    JSON_KEYS(X)
#undef X
        K_COUNT
};

const char *json_key_name(enum json_key k);

/* 24 bytes. Children of an array or object follow it; next is the node after the whole subtree. */
struct json_node {
    union {
        int64_t i;
        double d;
        uint64_t str;   /* JSON_STRING: offset of the text in json_doc.text */
        uint64_t count; /* elements or members, comment keys not counted */
        bool b;
    } u;
    uint32_t key; /* offset of the member's name in json_doc.text; 0: no name */
    uint32_t next;
    uint16_t key_id; /* enum json_key */
    uint8_t type;    /* enum json_type */
};

/* Zero-initialise; json_doc_fini frees it. Node 0 is the root. */
struct json_doc {
    struct json_node *nodes;
    size_t count, cap;
    char *text;
    size_t text_len, text_cap;
};

/* Parse the whole of bytes. member names the file in messages (J01): syntax, duplicate keys, depth,
 * numbers outside 64 bits, NUL characters in strings. Members whose key starts with '#' are left
 * out. */
NRT_STATUS json_parse(struct json_doc *doc, const char *member, const void *bytes, size_t size,
                      struct err *err);
void json_doc_fini(struct json_doc *doc);

static inline const char *json_text(const struct json_doc *d, const struct json_node *n)
{
    return d->text + n->u.str;
}

/* Name of a member of an object. */
static inline const char *json_name(const struct json_doc *d, const struct json_node *n)
{
    return n->key_id != K_OTHER ? json_key_name((enum json_key)n->key_id) : d->text + n->key;
}

/* First child, and the sibling after a child; the caller counts to u.count. */
static inline const struct json_node *json_first(const struct json_node *n)
{
    return n + 1;
}

static inline const struct json_node *json_next(const struct json_doc *d, const struct json_node *n)
{
    return d->nodes + n->next;
}

/* Member of an object by known key; NULL if absent. */
const struct json_node *json_get(const struct json_doc *d, const struct json_node *obj,
                                 enum json_key k);

/* ---- typed fields with the messages of J03 and J04 ---- */

/* Where a value is: a chain on the stack, turned to text ("dma[3].desc[0].to_off") only for a
 * message. An element with a NULL key is an index. */
struct json_path {
    const struct json_path *up;
    const char *key;
    uint64_t index;
};
void json_path_text(const struct json_path *p, char *buf, size_t size);

struct json_ctx {
    const struct json_doc *doc;
    const char *member;
    struct err *err;
};

#define JSON_REQUIRED true
#define JSON_OPTIONAL false

/* Each finds the field, checks its type and writes *ret; an absent optional field leaves *ret as it
 * is. NRT_INVALID with err filled otherwise. */
NRT_STATUS json_field_int(const struct json_ctx *c, const struct json_path *up,
                          const struct json_node *obj, enum json_key k, bool required,
                          int64_t *ret);
NRT_STATUS json_field_num(const struct json_ctx *c, const struct json_path *up,
                          const struct json_node *obj, enum json_key k, bool required, double *ret);
NRT_STATUS json_field_bool(const struct json_ctx *c, const struct json_path *up,
                           const struct json_node *obj, enum json_key k, bool *ret);
NRT_STATUS json_field_str(const struct json_ctx *c, const struct json_path *up,
                          const struct json_node *obj, enum json_key k, bool required,
                          const char **ret);
/* *ret is NULL when absent. */
NRT_STATUS json_field_array(const struct json_ctx *c, const struct json_path *up,
                            const struct json_node *obj, enum json_key k, bool required,
                            const struct json_node **ret);
NRT_STATUS json_field_object(const struct json_ctx *c, const struct json_path *up,
                             const struct json_node *obj, enum json_key k, bool required,
                             const struct json_node **ret);
/* "<member>: <path> must be <what>" for path itself. */
NRT_STATUS json_must_be(const struct json_ctx *c, const struct json_path *p, const char *what);

#endif
