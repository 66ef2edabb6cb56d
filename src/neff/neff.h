/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a NEFF: bytes in, one immutable checked description out. Pure: no I/O, no log, no thread;
 * errors go to struct err, warnings to a diag_sink. Format and rules: docs/spec/neff.md; each rule
 * of its section 10 is named in the code that applies it.
 *
 * Tree of ownership: struct neff owns everything reachable from it (one arena plus the copies of
 * gzip members) and borrows the caller's bytes, which must stay readable until neff_destroy. A
 * struct neff never changes after neff_create, so any number of threads may read it. */
#ifndef NEFF_NEFF_H
#define NEFF_NEFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/err.h"
#include "neff/format.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NEFF_NONE        UINT32_MAX /* no variable, queue, semaphore, event, member */
#define NEFF_MAX_DIMS    4u
#define NEFF_MAX_SOURCES 16u
#define NEFF_MAX_QUEUES  16u
#define NEFF_SEMAPHORES  256u
#define NEFF_EVENTS      256u
#define NEFF_PARTITIONS  128u
#define NEFF_SBUF_STRIDE 262144u   /* bytes between partitions in a state-buffer offset */
#define NEFF_ISA_NAME    "opennrt" /* def.json isa.name of engine programs that can run here */

/* ---- what is asked of the reader ---- */

struct neff_options {
    bool lenient;                 /* tools that inspect; OPENNRT_NEFF_LENIENT */
    bool validate_hash;           /* NEURON_RT_VALIDATE_HASH */
    bool skip_debug;              /* do not parse debug_info/ */
    bool index_only;              /* members only: no JSON is read, there are no graphs and nodes */
    uint64_t max_json;            /* largest JSON member, bytes; 0: 256 MiB (OPENNRT_MAX_JSON) */
    uint64_t max_unpacked;        /* payload after decompression, bytes; 0: 16 GiB */
    const struct diag_sink *sink; /* may be NULL; used during neff_create only */
};

/* ---- members ---- */

/* A regular file of the tar. */
struct neff_member {
    const char *name;    /* relative, '/'-separated, without a leading "./" */
    uint64_t size;       /* bytes */
    const uint8_t *data; /* NULL when not in memory (gzip members that nothing parsed needs) */
    /* .npy members: what the header says; npy_ok false when it is damaged. */
    bool is_npy, npy_ok;
    bool npy_fortran;
    enum dtype npy_dtype;    /* DT_INVALID when legal but not a type of ours */
    uint64_t npy_data_off;   /* first byte of the array data inside the member */
    uint64_t npy_data_bytes; /* bytes of the array data by the header */
    unsigned npy_ndim;
    const uint64_t *npy_shape;
};

/* ---- subgraphs ---- */

enum neff_queue_type {
    NEFF_QUEUE_IN,
    NEFF_QUEUE_OUT,
    NEFF_QUEUE_DATA,
    NEFF_QUEUE_EMBEDDING_UPDATE,
    NEFF_QUEUE_DYNAMIC
};

struct neff_queue {
    const char *name;
    enum neff_queue_type type;
    unsigned num_queues;      /* 1..16; what a completion adds to the semaphore */
    int owner;                /* enum neff_engine, -1: none */
    bool fabric_alt;          /* fabric_path "alt" */
    bool pinned;              /* parsed, without effect */
    uint32_t semaphore;       /* NEFF_NONE: none */
    unsigned semaphore_count; /* semaphore_set: reserved numbers */
    const uint32_t *semaphores;
    unsigned instance_count;
    const char *const *instances; /* queue_instances, unique in the subgraph */
};

enum neff_var_type {
    NEFF_VAR_STATE_BUFFER,
    NEFF_VAR_INPUT,
    NEFF_VAR_OUTPUT,
    NEFF_VAR_FILE,
    NEFF_VAR_TMP_BUF,
    NEFF_VAR_VIRTUAL,
    NEFF_VAR_POINTER,
    NEFF_VAR_DGE_TABLE,
    NEFF_VAR_TYPE_COUNT
};

struct neff_var {
    const char *name;
    enum neff_var_type type;
    int64_t var_id;
    uint64_t size;      /* bytes; for state-buffer 0 when not given */
    uint64_t alignment; /* 0 or a power of two */
    bool fabric_alt;
    /* file: size bytes are file_bytes of the member from file_off on, the rest zero */
    uint32_t file_member; /* index in neff.members, NEFF_NONE otherwise */
    uint64_t file_off;    /* first data byte inside the member (past an npy header) */
    uint64_t file_bytes;  /* data bytes, at most size */
    /* virtual */
    const char *area;     /* backing_buf, "" when not named */
    uint64_t area_off;    /* backing_variable_off, inside the area */
    uint64_t scratch_off; /* offset in the subgraph's scratchpad: area start + area_off */
    /* pointer */
    uint32_t ref; /* index of the variable referenced, NEFF_NONE otherwise */
    /* dge-table */
    uint32_t list_count;
    const uint32_t *list; /* variable indices, 8 bytes of address each in the table */
};

/* One side of a descriptor: ndim pairs, innermost first. sizes[0] and all steps are bytes, the
 * other sizes counts. The bytes touched were checked against the variable. For a state-buffer off
 * is partition * NEFF_SBUF_STRIDE + byte (partition size of the core: neff_check). */
struct neff_access {
    uint32_t var;  /* index in vars[] */
    uint8_t ndim;  /* 1..4 */
    uint8_t dtype; /* enum dtype */
    uint64_t off;
    int64_t steps[NEFF_MAX_DIMS];
    uint64_t sizes[NEFF_MAX_DIMS]; /* a 0 moves nothing and still signals */
};

enum neff_op {
    NEFF_OP_COPY,
    NEFF_OP_CAST,
    NEFF_OP_ADD,
    NEFF_OP_FMA,
    NEFF_OP_MIN,
    NEFF_OP_MAX,
    NEFF_OP_TRANSPOSE,
    NEFF_OP_COUNT
};

struct neff_desc {
    uint8_t op;                      /* enum neff_op; copy with two dtypes is reported as cast */
    uint8_t from_count;              /* 1..16 */
    uint8_t has_constant;            /* min, max: fold starts from constant */
    uint8_t constant_dtype;          /* DT_FP32, DT_INT32 or DT_UINT32 */
    int8_t num_tiling_dimensions;    /* -1: not given; no effect on results */
    uint32_t transpose_element_size; /* transpose only: 1, 2, 4 or 8 bytes */
    uint32_t transpose_shape[4];     /* source shape, outermost first; given or derived */
    struct neff_access to;
    const struct neff_access *from; /* from_count of them */
    const float *scale;             /* fma: from_count of them; NULL for other ops */
    double constant;                /* exact for every value of constant_dtype */
};

/* One DMA trigger group: everything with this id is started by DMA_TRIGGER id of the engine. */
struct neff_dma_group {
    uint32_t id;
    uint32_t queue;             /* index in queues[] */
    uint32_t instance;          /* index in the queue's instances[], NEFF_NONE: named by queue */
    const char *function_start; /* "" when none */
    bool section_start_desc;
    uint32_t event;     /* NEFF_NONE: none */
    uint32_t semaphore; /* NEFF_NONE: none (then queue.semaphore counts if there is no event) */
    unsigned remote_semaphore_count;
    const uint32_t *remote_semaphores;
    uint32_t desc_count;
    const struct neff_desc *descs;
};

struct neff_dve_table {
    uint32_t control_member, datapath_member, opcode_member;
};

/* One instruction record's source position; any text may be NULL, line 0 when missing. */
struct neff_debug_record {
    const char *file, *label, *op;
    uint32_t line;
};

struct neff_engine_code {
    bool present;
    const char *json_member; /* member names, for messages */
    const char *instr_member;
    const uint8_t *instr; /* the instruction stream; any alignment */
    uint64_t instr_bytes;
    uint32_t group_count;
    const struct neff_dma_group *groups; /* in file order */
    unsigned act_set_count;              /* ACT: activation_function_sets */
    const char *const *act_sets;
    unsigned dve_table_count; /* DVE */
    const struct neff_dve_table *dve_tables;
    uint32_t debug_count; /* records of debug_info/<sg>-<engine>.json, 0: none */
    const struct neff_debug_record *debug;
};

enum neff_coll_op {
    NEFF_COLL_ALL_GATHER,
    NEFF_COLL_REDUCE_SCATTER,
    NEFF_COLL_ALL_REDUCE,
    NEFF_COLL_ALL_TO_ALL,
    NEFF_COLL_ALL_GATHER_V,
    NEFF_COLL_ALL_TO_ALL_V,
    NEFF_COLL_REDUCE_SCATTER_V,
    NEFF_COLL_PERMUTE,
    NEFF_COLL_SEND,
    NEFF_COLL_RECV,
    NEFF_COLL_BARRIER,
    NEFF_COLL_OP_COUNT
};

enum neff_coll_reduce { NEFF_REDUCE_NONE, NEFF_REDUCE_ADD, NEFF_REDUCE_MIN, NEFF_REDUCE_MAX };

/* Bytes of a variable in HBM, or a tile of a state-buffer: off is then partition *
 * NEFF_SBUF_STRIDE + byte, as in struct neff_access, and size counts the bytes of all its rows, one
 * to each of `partitions` partitions, partition_step apart. The elements of a row are step bytes
 * apart. */
struct neff_coll_range {
    uint32_t var;
    uint64_t off, size;
    uint32_t partitions; /* 0: in HBM */
    uint32_t partition_step, step;
};

/* Whether every element (of elem bytes) of a tile, which has some, lies in partitions of so many
 * bytes. */
bool neff_tile_inside(const struct neff_coll_range *r, uint64_t elem, uint64_t partition_bytes);

struct neff_coll_group {
    uint32_t rank_count;
    const uint32_t *ranks;
};

/* One entry of the collectives table; ranks are checked against the job by neff_check. */
struct neff_coll {
    enum neff_coll_op op;
    enum neff_coll_reduce reduce;
    enum dtype dtype; /* DT_INVALID for barrier */
    unsigned stream;  /* 0..3 */
    uint32_t group_count;
    const struct neff_coll_group *groups;
    uint32_t pair_count;
    const uint32_t (*pairs)[2];   /* source, target */
    uint32_t in_count, out_count; /* more than one: coalesced */
    const struct neff_coll_range *in, *out;
    uint32_t metadata_var; /* the _v forms; NEFF_NONE: none */
    uint64_t metadata_off;
    const char *algorithm; /* NULL: chosen by the runtime */
};

struct neff_subgraph {
    const char *name;       /* "sg00" */
    const char *definition; /* member name of def.json */
    const char *dir;        /* directory of the definition, with a trailing '/' or empty */
    const char *isa_name;   /* NULL: a compiler's own encoding, not executable here */
    int64_t isa_version;
    uint32_t queue_count;
    const struct neff_queue *queues;
    uint32_t var_count;
    const struct neff_var *vars; /* in file order */
    struct neff_engine_code engines[NEFF_ENGINE_COUNT];
    const char *coll_member; /* the collectives table, NULL: none */
    uint32_t coll_count;
    const struct neff_coll *colls;
    uint64_t
        scratch_bytes; /* scratchpad need: sum over areas of max(off + size), 64-aligned starts */
    uint64_t constant_bytes;                  /* sum of file variables */
    uint64_t ring_io_bytes, ring_spill_bytes; /* size model of behaviour.md section 12 */
    uint32_t input_count, output_count;
    const uint32_t *inputs, *outputs; /* variable indices, natural name order */
    const void *name_index;           /* private: neff_subgraph_find */
};

/* ---- graph level ---- */

struct neff_tensor {
    const char *name;
    uint64_t size; /* bytes */
    unsigned ndim; /* at least 1: rank 0 is given as [1] */
    bool scalar;   /* the file says rank 0 */
    const uint64_t *shape;
    enum dtype dtype;       /* DT_INVALID: unknown */
    const char *dtype_text; /* as in the file, NULL when missing */
    const char *format;     /* NULL when missing */
    bool time_series;
};

struct neff_node {
    int64_t id;
    bool is_cpu; /* executor CPU, else NeuronCore */
    const char *name;
    const char *library, *function; /* CPU only, else NULL */
    uint32_t library_member;        /* its bytes are in memory after neff_create */
    uint32_t input_count, output_count;
    const struct neff_tensor *inputs, *outputs;
};

/* ---- the whole ---- */

struct neff {
    struct neff_header header;    /* host byte order */
    char name[NEFF_NAME_MAX + 1]; /* NUL-terminated copies of the header's texts */
    char build_version[NEFF_BUILD_VERSION_MAX + 1];
    bool is_gzip;           /* payload form */
    const uint8_t *payload; /* in the caller's bytes */
    uint64_t payload_bytes;
    uint32_t member_count;
    const struct neff_member *members; /* in tar order */
    const char *kelf;                  /* "kelf-0.json" or "kelf-a.json" */
    const char *kelf_version;          /* NULL when missing */
    const char *tool_version;          /* info.json, NULL when missing */
    const char *arch;                  /* info.json arch, NULL when missing */
    uint32_t graph_count;
    const struct neff_subgraph *graphs; /* physical cores of the logical core, in order */
    uint32_t node_count;
    const struct neff_node *nodes; /* executed in order */
    bool nodes_derived;            /* no neff.json: one node made from the first subgraph */
    uint64_t code_bytes;           /* sum of *.bin members */
    uint64_t constant_bytes;       /* sum over subgraphs */
    const struct neff_priv *priv;
};

/* Read and check [bytes, bytes + size). On success *ret_neff is owned by the caller
 * (neff_destroy) and borrows bytes. On failure *ret_neff is untouched, err says why:
 * NRT_INVALID, NRT_UNSUPPORTED_NEFF_VERSION, or NRT_RESOURCE (memory, payload limit). opt may be
 * NULL (strict, hash not checked). */
NRT_STATUS neff_create(const void *bytes, size_t size, const struct neff_options *opt,
                       struct neff **ret_neff, struct err *err);
void neff_destroy(struct neff *neff); /* NULL is fine */

/* Header, versions, features and hash only (rules N01-N08, N11): what `info` can always show. */
NRT_STATUS neff_header_read(const void *bytes, size_t size, const struct neff_options *opt,
                            struct neff_header *ret_header, struct err *err);

/* What the loading runtime knows and the file does not. */
struct neff_facts {
    unsigned lnc;         /* logical core size in use, 1 or 2 */
    unsigned owned_cores; /* logical cores the process owns */
    const char *arch;     /* "trn1", "inf2", "trn2", "trn3" */
    bool allow_legacy;    /* NEURON_RT_ALLOW_LEGACY_NEFF */
    bool weights_shared;  /* file variables are shared between instances: E15 is an error */
    uint32_t sbuf_partition_bytes; /* real bytes of a partition; 0: not checked */
    uint32_t world_size;           /* ranks of the job; 0: ranks of collectives not checked */
};

/* Rules N12, N13, K04, A06, R02, E07 of state-buffers, E15 and ranks of collectives, in load
 * order. Status as in section 10. For N13 the text is "Could not find VNC id <n>". */
NRT_STATUS neff_check(const struct neff *neff, const struct neff_facts *facts,
                      const struct diag_sink *sink, struct err *err);

/* Copy [off, off + size) of a member. Plain tar and members in memory: a memcpy. Other gzip members
 * are decompressed from the start of the payload: for many members use neff_stream. The range must
 * be inside the member. Any thread. */
NRT_STATUS neff_member_read(const struct neff *neff, uint32_t member, uint64_t off, void *dst,
                            size_t size, struct err *err);

/* Index of a member by name, NEFF_NONE if absent. */
uint32_t neff_member_find(const struct neff *neff, const char *name);

/* Stream members once, in tar order, in bounded memory. want(arg, member) chooses; chunk is called
 * with consecutive pieces of each chosen member, off counting from 0 to its size; a status other
 * than NRT_SUCCESS from chunk stops and is returned (chunk fills err itself). For a plain tar a
 * piece is the whole member in the caller's bytes. */
struct neff_sink {
    bool (*want)(void *arg, uint32_t member);
    NRT_STATUS(*chunk)
    (void *arg, uint32_t member, uint64_t off, const void *data, size_t size, struct err *err);
    void *arg;
};
NRT_STATUS neff_stream(const struct neff *neff, const struct neff_sink *sink, struct err *err);

/* Fill the constants of all subgraphs in one pass: put is called with pieces of file variables,
 * var_off counting from 0 to var->file_bytes (bytes past file_bytes are zero and not given); one
 * member may feed several variables. The same bounds on memory as neff_stream. */
struct neff_constant_sink {
    NRT_STATUS(*put)
    (void *arg, uint32_t graph, uint32_t var, uint64_t var_off, const void *data, size_t size,
     struct err *err);
    void *arg;
};
NRT_STATUS neff_constants_stream(const struct neff *neff, const struct neff_constant_sink *sink,
                                 struct err *err);

/* Index of a variable by name, NEFF_NONE if absent. */
uint32_t neff_subgraph_find(const struct neff_subgraph *sg, const char *name);

/* Names as they stand in the files. */
const char *neff_engine_key(enum neff_engine e); /* "pe" "dve" "act" "pool" "sp" */
const char *neff_var_type_name(enum neff_var_type t);
const char *neff_queue_type_name(enum neff_queue_type t);
const char *neff_op_name(enum neff_op op);
const char *neff_coll_op_name(enum neff_coll_op op); /* "all_gather", ... */
const char *neff_feature_name(unsigned bit);         /* NULL when the bit has no name */

/* Bytes one side of a descriptor moves: the product of its sizes. */
static inline uint64_t neff_access_bytes(const struct neff_access *a)
{
    uint64_t n = 1;

    for (unsigned i = 0; i < a->ndim; i++)
        n *= a->sizes[i]; /* checked at load: cannot overflow */
    return n;
}

#ifdef __cplusplus
}
#endif
#endif
