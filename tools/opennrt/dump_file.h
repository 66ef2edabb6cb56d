/* SPDX-License-Identifier: Apache-2.0 */
/* Files of core dumps (docs/dumps.md), read: any bytes, cut off anywhere. What is not understood is
 * skipped, so that dumps of later versions can be read too. Texts are printable ASCII; what a file
 * has escaped stays so. */
#ifndef TOOLS_OPENNRT_DUMP_FILE_H
#define TOOLS_OPENNRT_DUMP_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "isa/isa.h"

#define DUMP_TEXT   512 /* of a text, with NUL; longer ones are cut */
#define DUMP_WORD   80
#define DUMP_RAISES 128
#define DUMP_OPS    32
#define DUMP_RINGS  64
#define DUMP_BYTES  (64u << 20) /* of a file */

enum dump_of { DUMP_OF_NOTHING, DUMP_OF_CORE, DUMP_OF_CC };

struct dump_engine {
    bool present, ended;
    uint64_t record, records, retired;
    char waits[DUMP_WORD]; /* "semaphore>=", "semaphore==", "event==", "": for nothing */
    uint32_t id;
    int64_t wanted, value;
    bool has_since;    /* files from before it was written have not */
    uint64_t since_us; /* that it waits */
    bool has_instr;    /* the record it is at */
    struct isa_record instr;
    char op[DUMP_WORD]; /* its name, where the record itself is not there */
    char file[DUMP_TEXT], label[DUMP_WORD];
    uint64_t line; /* 0: not known */
};

/* Who changes a semaphore or an event: so many records behind and ahead of where it is. */
struct dump_raise {
    bool event;
    uint32_t id, core;
    unsigned engine;
    char by[DUMP_WORD], queue[DUMP_TEXT];
    uint64_t record, behind, ahead;
};

struct dump_op { /* of a collective */
    uint64_t sequence, age_us;
    uint32_t status, culprit, waits_for;
    bool over, waits, failed;
    char name[DUMP_WORD], text[DUMP_TEXT];
};

struct dump_ring {
    char queue[DUMP_TEXT];
    uint64_t number, head, tail;
};

struct dump_file {
    enum dump_of of;
    uint64_t version;
    bool complete, host; /* the runtime has written all; neuron-dump has added to it */
    /* why */
    uint32_t status;
    char status_name[DUMP_WORD], call[DUMP_WORD], text[DUMP_TEXT];
    int64_t signal;
    bool dead;
    /* who and where */
    int64_t pid, tid, written_by;
    uint64_t log_id, time;
    char instance[DUMP_TEXT], type[DUMP_WORD];
    uint32_t device, nc, core;
    bool has_job; /* the file does not end before it */
    uint32_t rank, world;
    char cluster[DUMP_WORD];
    /* the model */
    char neff_name[DUMP_TEXT], neff_uuid[DUMP_WORD];
    bool has_since;
    uint64_t model, since_us;
    bool running;
    /* how the run ended */
    bool has_end;
    char end[DUMP_WORD];
    uint32_t end_core;
    unsigned end_engine;
    uint64_t end_record, device_ns;
    struct dump_engine engine[ISA_ENGINES];
    unsigned raises, ops, rings;
    struct dump_raise raise[DUMP_RAISES];
    struct dump_op op[DUMP_OPS]; /* newest first */
    struct dump_ring ring[DUMP_RINGS];
    uint64_t semaphores, events, transfers, memory_bytes;
};

/* ret->of is DUMP_OF_NOTHING for bytes that do not begin as a core dump does. */
void dump_file_parse(const char *bytes, size_t size, struct dump_file *ret);

#endif
