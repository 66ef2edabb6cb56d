/* SPDX-License-Identifier: Apache-2.0 */
/* Device profiles: what every instruction, transfer, wait and collective of an execution took on
 * the device, as NTFF files (time/ntff.h). One profiler per session looks on at all cores
 * (model_host_watch) while anybody wants a profile; otherwise the cores record nothing.
 *
 * Who wants one: nrt_profile_start (a model, to a file), continuous profiling (the latest execution
 * of each core, on demand), inspect (diag/inspect.h: models or sessions, to a folder).
 *
 * Threads: any, for all functions but create and destroy. Errors are given in err; what happens
 * while the cores run, and cannot be told to anybody, is logged here. */
#ifndef DIAG_PROFILE_H
#define DIAG_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct log;
struct device_instance;
struct model;
struct model_host;
struct profiler;

struct profiler_config {
    struct device_instance *in; /* borrowed, as the others */
    struct model_host *host;
    struct log *log;
    uint32_t first_vnc, vnc_count; /* owned logical cores */
    struct diag_sink sink;         /* warnings about variables; for create only */
};
/* Reads NEURON_RT_PROFILE_BUF_*. */
NRT_STATUS profiler_create(const struct profiler_config *cfg, struct profiler **ret,
                           struct err *err);
void profiler_destroy(struct profiler *p); /* nothing is written; NULL is fine */

/* Record the executions of a model from now on, for this file, which is made or emptied.
 * NRT_INVALID: the model is being profiled, or the name is used, or the file cannot be made;
 * NRT_RESOURCE: no room for the profile buffers. */
NRT_STATUS profiler_start(struct profiler *p, const struct model *m, const char *path,
                          struct err *err);
/* Write the file, and end the profile. NRT_INVALID: no profile of that name; NRT_FAILURE: it cannot
 * be written, NRT_RESOURCE: the profile goes on, without the executions that ended meanwhile. */
NRT_STATUS profiler_stop(struct profiler *p, const char *path, struct err *err);
/* The model goes: its profile ends without a file, its latest execution is kept. */
void profiler_forget(struct profiler *p, const struct model *m);

/* Keep the latest execution of each core. NRT_FAILURE: that is on already, or inspect records
 * devices; NRT_RESOURCE. */
NRT_STATUS profiler_continuous_start(struct profiler *p, struct err *err);
/* Write it to a new file in the folder, which is made. NRT_FAILURE: not on, nothing was executed on
 * the core yet, or the file cannot be written. */
NRT_STATUS profiler_continuous_save(struct profiler *p, uint32_t vnc, const char *folder,
                                    struct err *err);
NRT_STATUS profiler_continuous_stop(struct profiler *p, struct err *err); /* NRT_FAILURE: not on */

/* For inspect: what to record, and the folder for the files. */
enum profiler_capture {
    PROFILER_MODELS = 1,  /* the first execution of each model on each core, written at its end */
    PROFILER_SESSION = 2, /* all executions of a core in one file, written by stop */
    PROFILER_ON_FAIL = 4  /* each execution that fails, written at its end */
};
/* NRT_FAILURE: a capture or continuous profiling is on; NRT_RESOURCE. */
NRT_STATUS profiler_capture_start(struct profiler *p, unsigned what, const char *folder,
                                  int session, struct err *err);
/* Write what a session's capture holds, which stays. NRT_FAILURE: a file cannot be written;
 * NRT_RESOURCE. The others are tried all the same. */
NRT_STATUS profiler_capture_write(struct profiler *p, struct err *err);
/* The capture ends, and nothing more is written. quiesce: wait for the executions under way and
 * give back the cores; false: leave them as they are, when the process is likely to end: another
 * call, with quiesce, gives them back if it did not. */
void profiler_capture_stop(struct profiler *p, bool quiesce);

/* The first 16 bytes of a NEFF's hash, as file names carry them. */
#define PROFILER_HASH_TEXT 33
void profiler_hash_text(const uint8_t *hash, char text[PROFILER_HASH_TEXT]);

#ifdef __cplusplus
}
#endif
#endif
