/* SPDX-License-Identifier: Apache-2.0 */
/* The text form of a subgraph (docs/isa.md): assemble it into a builder, or print an engine's
 * program. A text declares variables, queues, DMA groups and the programs of the engines; with
 * `.lnc 2` it makes both subgraphs. */
#ifndef NEFF_ASM_H
#define NEFF_ASM_H

#include <stddef.h>
#include <stdint.h>

#include "neff/build.h"
#include "neff/inspect.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A constant of the text: `param NAME = ...` takes it instead of its own value; one that no param
 * takes is refused. */
struct neff_asm_define {
    const char *name;
    const char *value; /* an expression ("4 * 128", "1e-5") or a word ("bf16") */
};

/* Zero-initialised gives the defaults. */
struct neff_asm_options {
    const char *file; /* name of the text in messages and debug info */
    const char *dir;  /* where the files of `file` variables are; NULL: as written in the text */
    const struct neff_asm_define *defines;
    size_t define_count;
    const char *arch; /* "trn1", "inf2", "trn2", "trn3" for a text without .arch; NULL: trn1 */
    void (*warn)(void *arg, const char *text); /* may be NULL */
    void *arg;
};

struct neff_asm_info {
    const char *name; /* .name; NULL when not given; lives as long as the builder */
    const char *arch; /* for neff_build_options.arch; NULL when the text names none; static */
    unsigned cores;   /* subgraphs: 1 or 2 */
};

/* Assemble text [0, size) and check every program as the loader would. The builder is the caller's;
 * it can declare more before it writes. info and error may be NULL. Any thread. Errors: NRT_INVALID
 * with "file:line: message", NRT_FAILURE with the same when the file of a constant cannot be read,
 * NRT_RESOURCE. */
NEFF_API NRT_STATUS neff_asm_text(const char *text, size_t size,
                                  const struct neff_asm_options *options,
                                  struct neff_build **ret_builder, struct neff_asm_info *info,
                                  struct neff_error *error);

/* Assemble and give the bare records of one engine of subgraph 0, as they stand in a NEFF: freed
 * with neff_build_free. NRT_INVALID when the text has no program for it. */
NEFF_API NRT_STATUS neff_asm_records(const char *text, size_t size,
                                     const struct neff_asm_options *options,
                                     enum neff_engine engine, void **ret_bytes, size_t *ret_size,
                                     struct neff_error *error);

/* The program of an engine as text that assembles back to the same bytes, NUL-terminated, freed
 * with neff_build_free. NRT_INVALID when the bytes are not in this encoding. */
NEFF_API NRT_STATUS neff_asm_print(const void *code, size_t size, enum neff_engine engine,
                                   char **ret_text, struct neff_error *error);

#ifdef __cplusplus
}
#endif
#endif
