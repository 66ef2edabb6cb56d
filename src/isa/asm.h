/* SPDX-License-Identifier: Apache-2.0 */
/* The text form: an assembler from text to records and declarations, and the printers. Pure: text
 * in, structs out. The grammar is in docs/isa.md. */
#ifndef ISA_ASM_H
#define ISA_ASM_H

#include "isa/isa.h"

/* Ids, semaphores, events, owners that are not given. */
#define ISA_ASM_NONE (-1)

struct isa_asm_define {
    const char *name;
    const char *value; /* an expression, or a word */
};

struct isa_asm_opts {
    const char *file; /* name in messages and debug info; NULL: "<text>" */
    const struct isa_asm_define *defines;
    size_t n_defines;
    enum isa_gen gen;   /* 0: what .arch says, else v2 */
    bool no_check;      /* leave out isa_check_program on the result */
    size_t max_records; /* per engine; 0: 4 Mi */
};

struct isa_asm_var {
    const char *name;
    const char *type; /* as in def.json */
    int64_t var_id;   /* the index in vars */
    uint64_t size;    /* bytes */
    uint64_t alignment;
    enum dtype dtype; /* DT_INVALID for state-buffer, pointer, dge-table */
    unsigned ndim;
    uint64_t shape[8];       /* slowest first */
    const char *file_name;   /* file: member name, or the path of a file to be read */
    const uint8_t *data;     /* file: bytes given in the text; NULL otherwise */
    int64_t backing_off;     /* virtual */
    const char *backing_buf; /* virtual; NULL: none */
    int64_t referenced;      /* pointer: var_id */
    int64_t *list;           /* dge-table: var_ids */
    size_t n_list;
    uint32_t line; /* in the text */
};

struct isa_asm_queue {
    const char *name;
    const char *type;
    int owner; /* enum isa_engine or ISA_ASM_NONE */
    unsigned num_queues;
    int semaphore;
    const char **instances;
    size_t n_instances;
    const char *fabric; /* NULL: default */
    unsigned number;    /* in order of names: what DMA_DYN carries */
    uint32_t line;
};

enum isa_dma_op {
    ISA_DMA_COPY = 0,
    ISA_DMA_CAST,
    ISA_DMA_ADD,
    ISA_DMA_MIN,
    ISA_DMA_MAX,
    ISA_DMA_FMA,
    ISA_DMA_TRANSPOSE,
    ISA_DMA_OP_COUNT
};
const char *isa_dma_op_name(unsigned op); /* as in descriptors; NULL when unknown */

/* One side of a descriptor, as in the engine JSON: innermost first, steps in bytes, sizes[0] the
 * bytes of the innermost run. */
struct isa_asm_side {
    const char *var;
    int64_t off;
    unsigned ndim;
    int64_t steps[4], sizes[4];
    enum dtype dtype;
    double scale; /* fma */
};

struct isa_asm_desc {
    enum isa_dma_op op;
    struct isa_asm_side to;
    size_t n_from; /* 1 for copy, cast, transpose; up to 16 */
    struct isa_asm_side *from;
    enum dtype constant_dtype; /* min, max; DT_INVALID: none */
    double constant;
    int64_t transpose_shape[4];
    unsigned transpose_element_size;
};

struct isa_asm_dma {
    const char *name; /* NULL: anonymous */
    int64_t id;
    enum isa_engine engine; /* in whose JSON it stands */
    const char *queue;
    const char *instance; /* NULL: none */
    int semaphore, event;
    int remote[4];
    unsigned n_remote;
    struct isa_asm_desc *desc;
    size_t n_desc;
    uint32_t line;
};

/* Bytes of a variable in HBM; or a tile in SBUF: off and step as in descriptors, size the bytes of
 * all its rows. */
struct isa_asm_range {
    const char *var; /* NULL: none */
    int64_t off, size;
    uint32_t partitions; /* 0: in HBM */
    uint32_t step;       /* bytes from element to element of a row */
};

struct isa_asm_ranks {
    uint32_t *rank;
    size_t n;
};

/* An entry of the collectives table (neff.md 7.3); names are as in the text. */
struct isa_asm_coll {
    const char *op, *reduce, *algorithm; /* reduce, algorithm: NULL when not given */
    enum dtype dtype;                    /* DT_INVALID: no tensors */
    unsigned stream;
    struct isa_asm_ranks *groups;
    size_t n_groups;
    uint32_t *pairs; /* source, target, source, ... */
    size_t n_pairs;
    struct isa_asm_range *in, *out;
    size_t n_in, n_out;
    struct isa_asm_range metadata;
    uint32_t line;
};

struct isa_asm_line {
    uint32_t line;     /* in the text */
    const char *label; /* the label that stands at or before the record; NULL */
    const char *op;    /* name given with `.op`; NULL */
};

struct isa_asm_program {
    struct isa_record *records;
    struct isa_asm_line *lines;
    size_t n;
};

struct isa_asm_core {
    struct isa_asm_var *vars;
    size_t n_vars;
    struct isa_asm_queue *queues;
    size_t n_queues;
    struct isa_asm_dma *dmas;
    size_t n_dmas;
    struct isa_asm_coll *colls;
    size_t n_colls;
    struct isa_asm_program engine[ISA_ENGINES]; /* n 0: the engine has no program */
};

struct isa_asm_result {
    const char *name; /* .name, or NULL */
    const char *file;
    const char *arch; /* "trn1" ... as def.json's info wants it; NULL when not given */
    enum isa_gen gen;
    unsigned n_cores; /* 1, or 2 with .lnc 2 */
    struct isa_asm_core core[2];
    struct arena *arena; /* owns everything but the records and lines */
};

/* Assemble text [0, size) (any bytes; untrusted). On success *ret is owned by the caller, freed
 * with isa_asm_free. Errors: NRT_INVALID with "file:line: message"; NRT_RESOURCE. Thread-safe. */
NRT_STATUS isa_asm(const char *text, size_t size, const struct isa_asm_opts *opts,
                   const struct diag_sink *sink, struct isa_asm_result **ret, struct err *err);
void isa_asm_free(struct isa_asm_result *res); /* NULL is fine */

/* Append the text of a whole program: a section header, one line per record, labels where branches
 * land. Assembles back to the same bytes. */
void isa_print_program(const struct isa_record *r, size_t n, enum isa_engine engine,
                       struct strbuf *out);

#endif
