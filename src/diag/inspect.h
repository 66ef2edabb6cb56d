/* SPDX-License-Identifier: Apache-2.0 */
/* Inspect: a capture of a whole process to a folder, as files (docs/spec/inspect.md): system trace,
 * device profiles, use of CPU and host memory. One at a time, per session.
 *
 * Threads: any, but create, destroy, start and stop one at a time. A thread of its own takes
 * samples, and ends the capture when a signal is about to end the process (inspect_signal). */
#ifndef DIAG_INSPECT_H
#define DIAG_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

struct log;
struct device_instance;
struct model;
struct profiler;
struct inspect;

/* ---- what is captured ---- */

enum inspect_activity {
    INSPECT_SYSTEM,
    INSPECT_DEVICE,
    INSPECT_HOST_MEMORY,
    INSPECT_CPU,
    INSPECT_ACTIVITIES
};
const char *inspect_activity_name(enum inspect_activity a); /* "system_profile", ... */

struct inspect_config {
    int session;
    char *dir;            /* owned; NULL: INSPECT_DIR */
    unsigned activities;  /* bit per enum inspect_activity */
    bool enable, on_fail; /* neither: nothing is captured */
    bool whole_session;   /* device profiles: everything of a core, else first executions */
    struct trace_config trace;
};
#define INSPECT_DIR "./output"
void inspect_config_defaults(struct inspect_config *c); /* frees nothing */
void inspect_config_fini(struct inspect_config *c);
/* From NEURON_RT_INSPECT_*. NRT_RESOURCE. */
NRT_STATUS inspect_config_env(struct inspect_config *c, const struct diag_sink *sink,
                              struct err *err);

/* ---- capturing ---- */

struct inspect_host {
    struct device_instance *in; /* borrowed, as the others */
    struct profiler *profiler;
    struct trace *trace;
    struct log *log;
    uint32_t first_vnc, vnc_count;
    void (*resume)(int sig); /* inspect_signal's signal may now do what it was meant to do */
};
NRT_STATUS inspect_create(const struct inspect_host *h, struct inspect **ret, struct err *err);
void inspect_destroy(struct inspect *i); /* after inspect_stop; NULL is fine */

/* c is copied. NRT_FAILURE: a capture is on, or of system traces or device profiles, or the folder
 * cannot be made; NRT_RESOURCE. Nothing to capture: NRT_SUCCESS, and inspect_on stays false. */
NRT_STATUS inspect_start(struct inspect *i, const struct inspect_config *c, struct err *err);
/* Write the files and end the capture; nothing happens when none is on. NRT_FAILURE: a file could
 * not be written, NRT_RESOURCE; with INSPECT_STOP the capture then goes on, and another call writes
 * all of it again. */
enum inspect_end {
    INSPECT_STOP,  /* the program asks for it */
    INSPECT_CLOSE, /* it ends, whatever can be written */
    INSPECT_EXIT   /* the same, and the process is about to end: the cores are left as they are */
};
NRT_STATUS inspect_stop(struct inspect *i, enum inspect_end how, struct err *err);
bool inspect_on(const struct inspect *i);

/* A model was loaded from these bytes: a copy goes to the folder. */
void inspect_loaded(struct inspect *i, const struct model *m, const void *neff, size_t size);

/* In a signal handler: the capture's thread writes the files, then calls resume. */
void inspect_signal(struct inspect *i, int sig);
/* After inspect_stop: a signal that the thread, which ended before, has not taken; 0: none. */
int inspect_signal_left(struct inspect *i);

#ifdef __cplusplus
}
#endif
#endif
