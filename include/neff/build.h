/* SPDX-License-Identifier: Apache-2.0 */
/* Building a NEFF: declare variables, queues, DMA descriptors, constants and engine programs, then
 * write the file. What is written has passed the strict reader (docs/spec/neff.md).
 *
 * Errors stick: the first call that fails keeps its reason in the builder, the calls after it do
 * nothing and return a negative number, and the write reports it. So a program may declare
 * everything and look once, at the end. A pointer that is NULL is such an error too, unless a
 * comment allows it or nothing is to be read there (a count or size of 0). All texts and data are
 * copied, except where a comment says "borrowed". One thread at a time per builder. */
#ifndef NEFF_BUILD_H
#define NEFF_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "neff/format.h"
#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NEFF_API __attribute__((visibility("default")))

struct neff_build;

/* A builder with one subgraph, "sg00" (index 0), for instructions in the project's encoding.
 * name is the network's, at most 255 bytes; NULL is none. Returns NULL when memory is out. */
NEFF_API struct neff_build *neff_build_create(const char *name);
NEFF_API void neff_build_destroy(struct neff_build *b); /* NULL is fine */
/* Why a call failed; "" when none has. Valid until the builder is destroyed. */
NEFF_API const char *neff_build_error(const struct neff_build *b);

/* Another subgraph (at most two: LNC 2). Returns its index: 1. */
NEFF_API int neff_build_subgraph(struct neff_build *b);
/* def.json isa of a subgraph; name NULL writes none: the programs are in a compiler's encoding. */
NEFF_API int neff_build_isa(struct neff_build *b, int graph, const char *name, int64_t version);

/* ---- variables: each returns the variable's index, which is also its var_id ---- */

/* The on-chip memory of the core. */
NEFF_API int neff_build_state_buffer(struct neff_build *b, int graph, const char *name);
/* A tensor of the caller. dtype is a name of neff.md 7.2 ("float32", "bfloat16", ...) or "bool".
 * ndim 0 is a scalar. The size follows. */
NEFF_API int neff_build_input(struct neff_build *b, int graph, const char *name, const char *dtype,
                              unsigned ndim, const uint64_t *shape);
NEFF_API int neff_build_output(struct neff_build *b, int graph, const char *name, const char *dtype,
                               unsigned ndim, const uint64_t *shape);
/* Private scratch memory in HBM; alignment 0 or a power of two. */
NEFF_API int neff_build_tmp(struct neff_build *b, int graph, const char *name, uint64_t size,
                            uint64_t alignment);
/* A piece of the shared scratchpad: bytes [off, off + size) of the area (NULL: the unnamed one). */
NEFF_API int neff_build_virtual(struct neff_build *b, int graph, const char *name, uint64_t size,
                                const char *area, uint64_t off);
/* A constant in HBM, kept as an .npy member; data are size_of(dtype) times the product of shape
 * bytes, in C order. */
NEFF_API int neff_build_constant(struct neff_build *b, int graph, const char *name,
                                 const char *dtype, unsigned ndim, const uint64_t *shape,
                                 const void *data);
/* A constant of size bytes from a raw member; data_size may be smaller (the rest is zero). */
NEFF_API int neff_build_constant_raw(struct neff_build *b, int graph, const char *name,
                                     uint64_t size, const void *data, size_t data_size);
/* A constant from a file (.npy by its name, else raw), read when the NEFF is written: it must stay
 * unchanged until then. */
NEFF_API int neff_build_constant_file(struct neff_build *b, int graph, const char *name,
                                      const char *path);
/* 8 bytes of HBM holding the address of another variable. */
NEFF_API int neff_build_pointer(struct neff_build *b, int graph, const char *name, int var);
/* A table of 8-byte addresses of variables. */
NEFF_API int neff_build_dge_table(struct neff_build *b, int graph, const char *name,
                                  const int *vars, unsigned count);

/* ---- DMA ---- */

struct neff_build_queue {
    const char *name;
    const char *type;    /* "in", "out", "data", "embedding_update", "dynamic" */
    unsigned num_queues; /* 1..16; 0 means 1 */
    const char *owner;   /* "pe", "dve", "act", "pool", "sp"; NULL: none */
    bool has_semaphore;
    uint32_t semaphore;
    const uint32_t *semaphore_set;
    unsigned semaphore_set_count;
    const char *const *instances;
    unsigned instance_count;
    bool fabric_alt;
};
/* Returns the queue's index. */
NEFF_API int neff_build_queue(struct neff_build *b, int graph, const struct neff_build_queue *q);

struct neff_build_group {
    uint32_t id; /* of the trigger in the engine's program */
    int queue;   /* index; used when instance_name is NULL */
    const char *instance_name;
    const char *function_start; /* NULL: none */
    bool section_start_desc;
    bool has_event, has_semaphore;
    uint32_t event, semaphore;
    const uint32_t *remote_semaphores;
    unsigned remote_semaphore_count;
};
/* A trigger group of the engine, to be filled with descriptors. Returns its index. */
NEFF_API int neff_build_group(struct neff_build *b, int graph, enum neff_engine engine,
                              const struct neff_build_group *g);

/* One side: ndim pairs, innermost first; steps and sizes[0] in bytes, other sizes counts. For a
 * state-buffer off is partition * 262144 + byte, and a step of 262144 is the next partition. */
struct neff_build_side {
    int var;
    uint64_t off;
    unsigned ndim; /* 1..4 */
    int64_t steps[4];
    uint64_t sizes[4];
    const char *dtype; /* NULL: uint8 */
};

struct neff_build_desc {
    const char *op; /* NULL: copy; "cast" "add" "fma" "min" "max" "transpose" */
    const struct neff_build_side *from;
    unsigned from_count; /* 1..16 */
    struct neff_build_side to;
    const float *scales;        /* fma: from_count of them, or NULL */
    const char *constant_dtype; /* min, max: "float32" "int32" "uint32", or NULL: no constant */
    double constant;
    bool has_transpose_shape;
    uint32_t transpose_shape[4];     /* source shape, outermost first */
    unsigned transpose_element_size; /* 0: of the source's dtype */
};
NEFF_API int neff_build_desc(struct neff_build *b, int graph, enum neff_engine engine, int group,
                             const struct neff_build_desc *d);
/* A copy of size bytes, both sides contiguous. */
NEFF_API int neff_build_copy(struct neff_build *b, int graph, enum neff_engine engine, int group,
                             int from, uint64_t from_off, int to, uint64_t to_off, uint64_t size);

/* ---- programs ---- */

/* The instruction stream of an engine (records of the isa, see neff/asm.h); set once. Every engine
 * with groups needs one. */
NEFF_API int neff_build_program(struct neff_build *b, int graph, enum neff_engine engine,
                                const void *code, size_t size);
/* Source position of the next instruction record of the engine; texts may be NULL, line 0. */
NEFF_API int neff_build_debug(struct neff_build *b, int graph, enum neff_engine engine,
                              const char *file, uint32_t line, const char *label, const char *op);
/* Names of activation function sets (ACT). */
NEFF_API int neff_build_act_set(struct neff_build *b, int graph, const char *name);
/* A table of DVE: three members made from the bytes. */
NEFF_API int neff_build_dve_table(struct neff_build *b, int graph, const void *control,
                                  size_t control_size, const void *datapath, size_t datapath_size,
                                  const void *opcode, size_t opcode_size);

/* ---- collectives (neff.md 7.3): trigger_collective names an entry by its index ---- */

/* Bytes of a variable in HBM. Of a state-buffer, a tile: partitions is not 0, off is partition *
 * 262144 + byte, size counts the bytes of all its rows, one to a partition. Steps from partition to
 * partition, and from element to element in bytes; 0: the next one. */
struct neff_build_coll_range {
    int var;
    uint64_t off, size;
    uint32_t partitions, partition_step, step;
};
struct neff_build_coll_group {
    const uint32_t *ranks; /* in the order that chunks and blocks follow */
    unsigned count;
};
struct neff_build_coll {
    const char *op;     /* "all_gather", "reduce_scatter", "all_reduce", "all_to_all",
                           "all_gather_v", "all_to_all_v", "reduce_scatter_v", "permute", "send",
                           "recv",     "barrier" */
    const char *reduce; /* "add", "min", "max"; NULL: the operation reduces nothing */
    const char *dtype;  /* a name of neff.md 7.2; NULL: barrier */
    unsigned stream;    /* 0..3; operations of one stream run in order */
    const struct neff_build_coll_group *groups;
    unsigned group_count;
    const uint32_t (*pairs)[2]; /* permute, send, recv: source and target ranks */
    unsigned pair_count;
    const struct neff_build_coll_range *in, *out; /* more than one: coalesced */
    unsigned in_count, out_count;
    bool has_metadata; /* the variable-size forms: where the table of counts lies */
    int metadata_var;
    uint64_t metadata_off;
    const char *algorithm; /* "ring", "mesh", ...; NULL: the runtime chooses */
};
/* Adds an entry to the subgraph's collectives table; returns its index. What the table's rules
 * refuse is found by the write. */
NEFF_API int neff_build_collective(struct neff_build *b, int graph,
                                   const struct neff_build_coll *c);

/* ---- graph level ---- */

struct neff_build_tensor {
    const char *name;
    const char *dtype;
    unsigned ndim;
    const uint64_t *shape;
    const char *format; /* NULL: none */
    bool time_series;
};

struct neff_build_node {
    const char *name; /* NULL: "sg00" */
    bool is_cpu;
    const char *library, *function; /* CPU: member (neff_build_member) and symbol; else NULL */
    const struct neff_build_tensor *inputs, *outputs;
    unsigned input_count, output_count;
};
/* Nodes of neff.json, in order of execution. Without any, one NeuronCore node is written with the
 * inputs and outputs declared as variables; a NeuronCore node without tensors gets the same. */
NEFF_API int neff_build_node(struct neff_build *b, const struct neff_build_node *n);
/* Any other member of the archive (CPU libraries, statistics). */
NEFF_API int neff_build_member(struct neff_build *b, const char *name, const void *data,
                               size_t size);

/* ---- writing ---- */

/* Zero-initialised gives the defaults. */
struct neff_build_options {
    uint64_t pkg_version;  /* 0: 2 (MD5) */
    bool has_neff_version; /* false: 2.0 */
    uint64_t neff_version_major, neff_version_minor;
    const char *build_version; /* NULL: project name and version; at most 127 bytes */
    uint32_t requested_cores;  /* 0: 1 */
    uint64_t feature_bits;
    uint32_t lnc_size; /* 0: number of subgraphs */
    const char *arch;  /* info.json arch ("trn1" ...), NULL: none */
    bool has_uuid;     /* false: random; with a uuid equal calls write equal bytes */
    uint8_t uuid[NEFF_UUID_SIZE];
    bool plain_tar; /* else gzip */
    int level;      /* gzip 1..9; 0: 6 */
};

/* Write to memory: *ret_bytes is freed with neff_build_free. options may be NULL. On failure the
 * reason is in neff_build_error. The builder can be written again. */
NEFF_API NRT_STATUS neff_build_write_memory(struct neff_build *b,
                                            const struct neff_build_options *options,
                                            void **ret_bytes, size_t *ret_size);
NEFF_API void neff_build_free(void *bytes);
/* Write to a file, in bounded memory; an existing file is replaced only on success. */
NEFF_API NRT_STATUS neff_build_write_file(struct neff_build *b,
                                          const struct neff_build_options *options,
                                          const char *path);

#ifdef __cplusplus
}
#endif
#endif
