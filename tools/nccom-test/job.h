/* SPDX-License-Identifier: Apache-2.0 */
/* nccom-test: everything that one run of it is, made from the options and the files that they name,
 * the same in the launcher and on every node; and the NEFFs of one step of it. */
#ifndef NCCOM_JOB_H
#define NCCOM_JOB_H

#include "data.h"
#include "topo/group.h"

struct cc_job {
    struct cc_options o;
    unsigned stream_count;
    struct cc_stream stream[CC_STREAMS_MAX];
    struct cc_groups groups[CC_STREAMS_MAX];
    struct cc_pairs pairs[CC_STREAMS_MAX]; /* permute, sendrecv; else count 0 */
    struct cc_metadata metadata[CC_STREAMS_MAX];
    struct cc_counts counts;
    unsigned steps; /* until every stream has had its last size */
    const struct topo_instance *type;
    unsigned lnc;
};

/* From checked options: reads the files. The instance's type and LNC come from the environment.
 * NRT_INVALID with a text for the user; NRT_RESOURCE. */
NRT_STATUS cc_job_make(struct cc_job *j, const struct cc_options *o, struct err *err);
void cc_job_fini(struct cc_job *j);
/* Logical cores of one node. */
unsigned cc_job_node_cores(const struct cc_job *j);

/* Where the job's ranks sit. */
NRT_STATUS cc_job_world(const struct cc_job *j, struct topo_world *ret, struct err *err);

/* The cases of one step; a stream that has had its last size repeats it. cases[stream_count] are
 * freed with cc_case_fini. */
NRT_STATUS cc_job_cases(const struct cc_job *j, unsigned step, struct cc_case *cases,
                        struct err *err);

/* Buffers of a stream in a NEFF with `ops` operations for each iteration: operation i uses buffer
 * i % buffers and, of the groups or pairs, list i % lists. */
uint32_t cc_job_buffers(const struct cc_job *j, unsigned stream, uint32_t ops);
unsigned cc_job_lists(const struct cc_job *j, unsigned stream);
/* What buffer b of a stream holds. */
struct cc_data cc_job_data(const struct cc_job *j, const struct cc_case *cases, unsigned stream,
                           uint32_t buffer);
/* Names of the NEFF's tensors. side: "in" or "out"; the table of a variable form: "meta". */
void cc_tensor_name(char *buf, size_t size, unsigned stream, uint32_t buffer, unsigned part,
                    const char *side);
void cc_table_name(char *buf, size_t size, unsigned stream);

/* The NEFF of one rank with `ops` iterations: every stream triggers its operations one after the
 * other on an engine of its own. *ret_bytes: freed with neff_build_free. */
NRT_STATUS cc_job_neff(const struct cc_job *j, const struct cc_case *cases, uint32_t rank,
                       uint32_t ops, void **ret_bytes, size_t *ret_size, struct err *err);

/* The operation's name in a NEFF and in the runtime's log. */
const char *cc_job_op(enum cc_op op);

#endif
