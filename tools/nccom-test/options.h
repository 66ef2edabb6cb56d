/* SPDX-License-Identifier: Apache-2.0 */
/* nccom-test: what the command line and a streams file say (docs/spec/collectives.md 16.1). One
 * table of options serves both: a stream's keys are the long names with '_'. Pure: no I/O. */
#ifndef NCCOM_OPTIONS_H
#define NCCOM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/err.h"
#include "base/strbuf.h"

#define CC_STREAMS_MAX 4u    /* streams of a core */
#define CC_PARTS_MAX   64u   /* coalesced tensors of one operation */
#define CC_SIZES_MAX   4096u /* sizes of one sweep (ours) */
#define CC_STATS_MAX   16u
#define CC_HOSTS_MAX   1024u
#define CC_PATH_MAX    4096u

enum cc_op {
    CC_ALL_REDUCE,
    CC_ALL_GATHER,
    CC_ALL_GATHER_V,
    CC_REDUCE_SCATTER,
    CC_SENDRECV,
    CC_ALL_TO_ALL,
    CC_ALL_TO_ALL_V,
    CC_PERMUTE,
    CC_OP_COUNT
};

/* By the long or the short name; CC_OP_COUNT if there is none. */
enum cc_op cc_op_from_name(const char *name);
const char *cc_op_name(enum cc_op op);  /* the long name */
const char *cc_op_alias(enum cc_op op); /* the short one, or the same */
/* Counts of the variable-size forms come from a table. */
static inline bool cc_op_varies(enum cc_op op)
{
    return op == CC_ALL_GATHER_V || op == CC_ALL_TO_ALL_V;
}

static inline bool cc_op_reduces(enum cc_op op)
{
    return op == CC_ALL_REDUCE || op == CC_REDUCE_SCATTER;
}

/* Every rank of a group ends with the same output. */
static inline bool cc_op_same_output(enum cc_op op)
{
    return op == CC_ALL_REDUCE || op == CC_ALL_GATHER || op == CC_ALL_GATHER_V;
}

/* [step0,step1][num0,num1]: 0 is the free dimension of SBUF, 1 the partitions. */
struct cc_shape {
    bool given;
    uint64_t step[2], num[2];
};

/* What belongs to one operation: each stream may have its own. */
struct cc_stream {
    bool has_op, has_step;
    enum cc_op op;
    uint64_t min, max, step, factor; /* bytes; factor 0: additive */
    enum dtype dtype;
    char dtype_name[8]; /* as it is printed */
    bool unique_buff, shared_output, sb2sb;
    unsigned parts; /* of the coalesced ratio; 0: one tensor */
    uint32_t ratio[CC_PARTS_MAX];
    struct cc_shape in_shape, out_shape;
    unsigned cc_dim;
    bool has_cc_dim;
    uint32_t parallel; /* --data-parallel-dimension: ranks of a group; 0: none */
    char metadata[CC_PATH_MAX], groups[CC_PATH_MAX], pairs[CC_PATH_MAX]; /* files; "": none */
    uint32_t ops_per_iter;
};

enum cc_check { CC_CHECK_OFF, CC_CHECK_RANDOM, CC_CHECK_ALL_ONES };

/* A statistic of latency: the mean, or a percentile. */
#define CC_STAT_AVG (-1)

struct cc_options {
    struct cc_stream all; /* of the command line: each stream begins as a copy */
    uint32_t ranks, nodes;
    uint32_t iters, warmup_iters, neff_iters, neff_warmup_iters;
    bool has_neff_iters, has_neff_warmup;
    enum cc_check check;
    uint64_t seed;
    bool has_seed;
    const char *streams_json;
    const char *hosts[CC_HOSTS_MAX];
    unsigned host_count;
    const char *hosts_file, *mpi_log_dir;
    bool slurm, slurm_copy_bench;
    uint32_t slurm_vcpus; /* 0: ask the nodes */
    const char *slurm_setup, *slurm_job;
    bool non_interactive, show_algorithm, show_sizes, debug, pin, gib;
    const char *json;
    int stats[CC_STATS_MAX]; /* CC_STAT_AVG or 0..100 */
    unsigned stat_count;
    uint32_t collector_port;
    const char *collector_host;
    bool help, version;
};

void cc_options_init(struct cc_options *o);
/* Reads argv[1..argc-1]; texts are borrowed. NRT_INVALID with a text for the user. */
NRT_STATUS cc_options_parse(struct cc_options *o, int argc, char **argv, struct err *err);
/* One option of a stream by its key ("minbytes", "custom_replica_groups", "operation"). value: its
 * text; a flag takes "true" or "false". */
NRT_STATUS cc_stream_set(struct cc_stream *s, const char *key, const char *value, struct err *err);
/* What can be said of options without the files that they name. */
NRT_STATUS cc_options_check(const struct cc_options *o, struct err *err);
NRT_STATUS cc_stream_check(const struct cc_stream *s, const struct cc_options *o, struct err *err);
void cc_options_help(struct strbuf *to);

/* A size with a unit ("32M", "1kb", "1GB"; 1 MB = 1048576). */
bool cc_size_parse(const char *text, uint64_t *ret);
/* The sizes of the sweep, ascending, at most max of them are written; returns how many there are
 * (capped at CC_SIZES_MAX + 1). */
unsigned cc_sweep(const struct cc_stream *s, uint64_t *sizes, unsigned max);

/* How many executions of how many operations. Warm-up operations form a NEFF of their own, so that
 * the measured ones can be timed from outside. */
struct cc_counts {
    uint32_t warm_ops, ops;     /* in the warm-up and in the measured NEFF */
    uint32_t warm_execs, execs; /* executions whose times are dropped, and kept */
    uint32_t warm_ups;          /* executions of the warm-up NEFF before the first execution */
    bool warm_each;             /* the warm-up NEFF runs before every execution */
};
struct cc_counts cc_counts_of(const struct cc_options *o);

#endif
