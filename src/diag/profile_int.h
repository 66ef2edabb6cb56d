/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the profiler's files: who wants a profile, and what it is given.
 *
 *   profile.c             its life, the runs of the cores it looks on at, models that go
 *   profile_core.c        the record of a core, and the device memory that it is accounted with
 *   profile_model.c       a model's profile, to a file: nrt_profile_start
 *   profile_continuous.c  the latest execution of each core, on demand
 *   profile_capture.c     what inspect wants: models or sessions, to a folder
 *
 * A core's record belongs to whoever holds the core: the thread that runs a program on it, or
 * profiler_continuous_save. Everything else is under the profiler's lock. */
#ifndef DIAG_PROFILE_INT_H
#define DIAG_PROFILE_INT_H

#include <limits.h>
#include <pthread.h>

#include "device/device.h"
#include "diag/profile.h"
#include "diag/profile_doc.h"
#include "model/model.h"

#define PROFILER_PATH_BYTES (PATH_MAX + 160) /* a folder and a name in it */

/* Profile buffers (behaviour.md 1.2 numbers 27 to 31). */
enum { BUF_EVENT, BUF_DMA, BUF_THROTTLE, BUF_CC_INSTRUCTION, BUF_CC_EVENT, BUF_COUNT };

struct core_record {
    unsigned users;
    struct device_extent ext[BUF_COUNT]; /* the account of it: the record itself is host memory */
    unsigned have;
    struct time_events rec;
    struct time_keeper times; /* of rec, and of what came before */
    bool seen;                /* rec holds an execution of last */
    struct model_seen last;
    struct profile_doc *kept; /* of the latest one when its model went */
};

/* Of nrt_profile_start. */
struct target {
    struct target *next;
    const struct model *m;
    char *path;
    struct profile_doc *doc;
};

/* A model that a capture has on file, or tries to have with every execution. */
struct on_file {
    const struct model *m;
    uint32_t instance;
    bool written;
};

struct profiler {
    struct profiler_config cfg;
    struct model_watch watch;
    uint64_t room[BUF_COUNT]; /* bytes */
    pthread_mutex_t change;   /* starting and stopping; before lock, and never by a run */
    pthread_mutex_t lock;
    struct core_record *cores;
    unsigned users;
    struct target *targets;
    bool continuous;
    unsigned capture; /* enum profiler_capture */
    char *folder;
    int session;
    struct profile_doc **session_docs; /* [vnc_count], while capture & PROFILER_SESSION */
    struct on_file *on_file;
    size_t on_file_count, on_file_cap;
    bool cores_left; /* a capture has ended, and did not wait for its cores */
};

/* ---- profile_core.c ---- */

/* One more who wants the records of these cores, and one less; change is held. NRT_RESOURCE. */
NRT_STATUS profiler_cores_take(struct profiler *p, uint32_t first, uint32_t count, struct err *err);
void profiler_cores_give(struct profiler *p, uint32_t first, uint32_t count);
/* The record goes; nobody runs on the core. */
void profiler_core_drop(struct profiler *p, struct core_record *c);
/* What a document may hold. */
void profiler_room(const struct profiler *p, struct profile_room *ret);

/* ---- profile_model.c ---- */

/* The lock is held. */
struct target *profiler_target_of(struct profiler *p, const struct model *m);
/* The model's, out of the list, its cores given back; NULL: there is none. change is held. */
struct target *profiler_target_take(struct profiler *p, const struct model *m);
void profiler_target_free(struct target *t);

/* ---- profile_continuous.c ---- */

/* The document of a core's latest execution; change is held, and the core. NRT_RESOURCE. */
NRT_STATUS profiler_last_make(struct profiler *p, uint32_t vnc, struct profile_doc **ret,
                              struct err *err);

/* ---- profile_capture.c; the lock is held ---- */

/* Whether the model is on file. */
bool profiler_capture_has(const struct profiler *p, const struct model_seen *s);
void profiler_capture_run(struct profiler *p, const struct model_seen *s,
                          const struct profile_run *run);
void profiler_capture_drop(struct profiler *p);

#endif
