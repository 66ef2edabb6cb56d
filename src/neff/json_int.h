/* SPDX-License-Identifier: Apache-2.0 */
/* Private to neff: the keys that its reader knows, and typed fields with its messages. */
#ifndef NEFF_JSON_INT_H
#define NEFF_JSON_INT_H

#include "neff/json.h"

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
    X(opcode_table) X(ops) X(out) X(outputs) X(owner) X(pairs) X(partition_step) X(partitions) X(pe) X(pe_instr) X(pinned) \
    X(pool) X(pool_instr) X(queue) X(queue_instances) X(reduce) X(referenced_var_id) \
    X(remote_semaphores) X(scale) X(scale_dtype) X(section_start_desc) X(semaphore) \
    X(semaphore_set) X(shape) X(size) X(sp) X(sp_instr) X(step) X(stream) X(time_series) X(to) \
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
