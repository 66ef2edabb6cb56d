/* SPDX-License-Identifier: Apache-2.0 */
/* The table of options of nccom-test, which its two readers share: cmdline.c reads the command
 * line, options.c sets one option. */
#ifndef NCCOM_OPTIONS_INT_H
#define NCCOM_OPTIONS_INT_H

#include "options.h"

enum id {
    ID_OPERATION,
    ID_NWORKERS,
    ID_NNODES,
    ID_MIN,
    ID_MAX,
    ID_STEP,
    ID_FACTOR,
    ID_ITERS,
    ID_WARMUP,
    ID_NEFF_ITERS,
    ID_NEFF_WARMUP,
    ID_DATATYPE,
    ID_CHECK,
    ID_SEED,
    ID_UNIQUE,
    ID_RATIO,
    ID_SHARED,
    ID_METADATA,
    ID_HOSTS,
    ID_HOSTS_FILE,
    ID_MPI_LOG_DIR,
    ID_SLURM,
    ID_SLURM_VCPUS,
    ID_SLURM_SETUP,
    ID_SLURM_JOB,
    ID_SLURM_COPY,
    ID_NON_INTERACTIVE,
    ID_JSON,
    ID_STATS,
    ID_SHOW_ALGORITHM,
    ID_SHOW_SIZES,
    ID_DEBUG,
    ID_SB2SB,
    ID_INPUT_SHAPE,
    ID_OUTPUT_SHAPE,
    ID_CC_DIM,
    ID_PARALLEL,
    ID_GROUPS,
    ID_PAIRS,
    ID_STREAMS,
    ID_OPS_PER_ITER,
    ID_PIN,
    ID_PORT,
    ID_COLLECTOR,
    ID_GIB,
    ID_HELP,
    ID_VERSION
};

enum takes { FLAG, ONE, MAYBE, MANY };

struct cc_row_option {
    enum id id;
    const char *name;
    char letter;
    enum takes takes;
    bool stream; /* may stand in a stream of a streams file */
    const char *metavar, *help;
};

extern const struct cc_row_option cc_rows[];
extern const size_t cc_row_count;

/* Sets one option; value: NULL for a flag, and for --check without a word. */
NRT_STATUS cc_row_set(struct cc_options *o, const struct cc_row_option *row, const char *value,
                      struct err *err);

#endif
