/* SPDX-License-Identifier: Apache-2.0 */
/* The back-end seam (decision 7 of the design): what turns a subgraph into something that runs. A
 * back end is a set of files of this room. The room keeps cores and their memories, bindings,
 * reports, what lies outside and the order of calls (backend.c checks all of it once); a back end
 * keeps what it made of the subgraph, dereferences the memory that bindings and cores hold, and
 * nothing else. The first one walks lowered records (program.c, lower.c, loop.c and what they
 * call). */
#ifndef CORE_BACKEND_H
#define CORE_BACKEND_H

#include "core/core.h"

struct core_backend {
    const char *name;
    /* Check and translate p->sg for p->core by p->opt; all of p's head is set, the rest is zero.
     * Names the variables it will access with program_use_var. On failure discard follows. */
    NRT_STATUS (*prepare)(struct core_program *p, struct err *err);
    /* Free what prepare made, complete or not. */
    void (*discard)(struct core_program *p);
    void (*info)(const struct core_program *p, struct core_program_info *ret);
    /* Variable var of b has a new address; no run uses b. NULL: the back end reads b when it runs.
     */
    void (*bind)(struct core_binding *b, uint32_t var);
    /* As core_start, core_progress, core_wait and core_finish say, which have checked that programs
     * and bindings are this back end's and fit together, that all addresses are there, and that
     * calls come in their order: run and wait between a start that succeeded and its finish. */
    NRT_STATUS (*start)(const struct core_run *run, struct core_report *report);
    enum core_step (*run)(struct core *core, uint64_t budget, uint64_t *ret_did);
    void (*wait)(struct core *core);
    NRT_STATUS (*finish)(struct core *core);
};

extern const struct core_backend core_walker;

#endif
