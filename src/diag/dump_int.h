/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the dump files: lines `kind name=value name="text" ...` into a file. */
#ifndef DIAG_DUMP_INT_H
#define DIAG_DUMP_INT_H

#include "base/plain.h"
#include "diag/dump.h"
#include "isa/isa.h"

#define DUMP_VERSION 1

/* Lines are handed to the file whole. */
struct dump_out {
    int fd;
    int error; /* errno of the first write that failed */
    uint64_t lines;
    struct plain line;
    char buf[8192];
};
/* A new file in the directory. False: errno. */
bool dump_out_open(struct dump_out *o, int dir, const char *name);
/* Writes the last line and closes. False: something was not written, errno. */
bool dump_out_close(struct dump_out *o);

void dump_out_begin(struct dump_out *o, const char *kind);
void dump_out_u64(struct dump_out *o, const char *name, uint64_t v);
void dump_out_i64(struct dump_out *o, const char *name, int64_t v);
void dump_out_text(struct dump_out *o, const char *name, const char *v);
void dump_out_end(struct dump_out *o);
void dump_out_line(void *out, const char *text); /* a whole line, made by somebody else */

/* The programs of a core as they lie in HBM: hostile bytes. */
struct dump_code {
    const uint8_t *base;                             /* NULL: not to be had */
    uint64_t first[ISA_ENGINES], count[ISA_ENGINES]; /* records */
    struct device_look look;                         /* of an HBM that is not mapped here */
};
void dump_code_open(struct dump_code *c, struct device_instance *in,
                    const struct device_live_page *p, bool quick);
void dump_code_close(struct dump_code *c);
/* Record `number` of an engine. False: there is none. */
bool dump_code_get(const struct dump_code *c, unsigned engine, uint64_t number,
                   struct isa_record *ret);

/* dump_raise.c: for every wait of the core's engines, who changes what it waits for. */
struct dump_raiser {
    uint32_t core; /* whose program */
    bool peer;     /* it is the other core of the logical core */
    const struct dump_code *code;
    const struct neff_subgraph *sg; /* NULL: not known */
    const struct device_live_page *page;
};
void dump_raises(struct dump_out *o, const struct device_live_page *waiting,
                 const struct dump_raiser *from, unsigned count);

/* dump_later.c: dump_tool, now or behind the caller's back. */
void dump_tool_later(struct dump *d);

/* dump_cc.c */
void dump_cc(struct dump *d, uint32_t core);

/* dump.c */
void dump_name(const struct dump *d, uint32_t core, const char *middle, uint32_t number,
               struct plain *p);
void dump_head(struct dump_out *o, const struct dump *d, const char *kind, uint32_t core);
void dump_warn(const struct dump *d, const char *what, int error);

#endif
