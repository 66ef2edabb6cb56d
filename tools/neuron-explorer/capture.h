/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-explorer capture: its options, and a worker that executes the NEFF on one core. */
#ifndef EXPLORER_CAPTURE_H
#define EXPLORER_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/tensor_io.h"
#include "explorer.h"

#define CAPTURE         "neuron-explorer capture"
#define CAPTURE_FILTERS 64u

enum cap_mode { CAP_SYNC, CAP_ASYNC, CAP_ASYNC_WAIT };

struct cap_options {
    const char *neff, *session, *multi_input;
    unsigned num_exec, nth; /* nth 0: no profile */
    enum cap_mode mode;
    bool systrace, ignore_errors, single_io, save_raw, save_npy, check_crc;
    unsigned single_io_threshold; /* bytes */
    bool collectives;
    unsigned workers, world, first_rank;
    unsigned profiled; /* rank, UINT32_MAX: all */
    const char **filters;
    size_t filter_count;
};

/* "<name> <file>" pairs: 2 * count words, owned by whoever made the list. */
struct cap_inputs {
    char **words;
    size_t count;
};

/* Executes o->neff, mapped at file, on core vnc; rank is o->first_rank + vnc. False: something
 * failed, and the standard error says what. */
bool cap_worker_run(const struct cap_options *o, const struct tool_file *file, unsigned vnc,
                    const struct cap_inputs *inputs);

/* The session file of a worker: with _rank_<r> in front of its suffix where there are several, and
 * _exec_<n> where n is not 0. False: too long. */
bool cap_session_name(const struct cap_options *o, unsigned rank, unsigned exec,
                      char ret[EXPLORER_PATH_MAX]);

/* record.c. A capture of one execution, or of all of them, of one worker. */
bool cap_profile_begin(nrt_model_t *model, const char *path);
bool cap_profile_end(const char *path);

/* The system trace is one for all workers; each writes what concerns its core. */
bool cap_systrace_begin(const struct cap_options *o);
bool cap_systrace_write(unsigned vnc, const char *path);
void cap_systrace_end(void);
/* Prints the names of events, a line each. */
bool cap_systrace_types(void);

/* Says that the call failed, where it did; returns whether it succeeded. */
bool cap_good(NRT_STATUS status, const char *what);

#endif
