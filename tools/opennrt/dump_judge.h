/* SPDX-License-Identifier: Apache-2.0 */
/* Who is to blame: from the files of a directory to one rank, engine and instruction. Pure. */
#ifndef TOOLS_OPENNRT_DUMP_JUDGE_H
#define TOOLS_OPENNRT_DUMP_JUDGE_H

#include "base/strbuf.h"
#include "dump_file.h"

struct dump_set {
    struct dump_file *file;
    char (*name)[256];
    unsigned n;
};

/* What a failure came from. */
enum dump_cause {
    DUMP_CAUSE_UNKNOWN,
    DUMP_CAUSE_NEVER_RAISED,  /* nothing that is left changes what an engine waits for */
    DUMP_CAUSE_DEADLOCK,      /* engines wait for each other */
    DUMP_CAUSE_ENDLESS,       /* an engine that others wait for, or nobody, runs on and on */
    DUMP_CAUSE_OUT_OF_BOUNDS, /* of an instruction or transfer */
    DUMP_CAUSE_INSTRUCTION,   /* another mistake of an instruction */
    DUMP_CAUSE_CHECK,         /* what OPENNRT_CHECK found */
    DUMP_CAUSE_HARDWARE,      /* memory, DMA, the device */
    DUMP_CAUSE_DEATH,         /* a process that is gone */
    DUMP_CAUSE_COLLECTIVE,    /* a rank that others wait for, or that does something else */
};
const char *dump_cause_name(enum dump_cause c);

struct dump_verdict {
    enum dump_cause cause;
    int file; /* index of the core's file; -1: there is none (a rank that left no dump) */
    bool has_rank;
    uint32_t rank; /* of a job */
    bool has_engine;
    unsigned engine;
    struct strbuf text; /* one sentence; strbuf_fini */
};
/* Of the whole directory. */
void dump_judge(const struct dump_set *s, struct dump_verdict *ret);
/* Of one core's file alone. */
void dump_judge_core(const struct dump_set *s, unsigned file, struct dump_verdict *ret);

/* "sp record 4 `nop wait sem[9] >= 1` (toy.nasm:42)" */
void dump_engine_text(const struct dump_file *f, unsigned engine, struct strbuf *out);

#endif
