/* SPDX-License-Identifier: Apache-2.0 */
/* The memory tracker: which tensors of the scratchpad (tmp-buf and virtual variables of the NEFF)
 * are in use when. A tensor is in use in an execution from the start of the first transfer or
 * collective that touches it to the end of the last. Pure. */
#ifndef VIEWER_SCRATCH_H
#define VIEWER_SCRATCH_H

#include "viewer/views.h"

/* A tensor in an execution. Times: since the first execution of the model began. */
struct viewer_scratch_use {
    const struct neff_var *var;
    uint64_t run;
    uint32_t core;
    uint64_t from_ps, to_ps;
    uint64_t written, read; /* bytes */
};
/* While the same tensors of a core are in use; those of an execution follow each other. */
struct viewer_scratch_step {
    uint64_t run;
    uint32_t core;
    uint64_t from_ps, to_ps;
    uint64_t bytes; /* sum of the tensors' sizes */
};
struct viewer_scratch {
    struct viewer_scratch_use *uses; /* by execution, core and variable */
    size_t use_count, use_cap;
    struct viewer_scratch_step *steps; /* by execution, core and time */
    size_t step_count, step_cap;
    uint64_t peak_bytes, peak_ps; /* of one core */
};
/* Of all executions of the model; one whose NEFF is not known has none. NRT_RESOURCE.
 * viewer_scratch_fini frees in every case. */
NRT_STATUS viewer_scratch_make(struct viewer_scratch *ret, const struct viewer_model *m,
                               struct err *err);
void viewer_scratch_fini(struct viewer_scratch *s);

#endif
