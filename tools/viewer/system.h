/* SPDX-License-Identifier: Apache-2.0 */
/* System profiles: what an inspection wrote about the host's side of a process
 * (docs/spec/inspect.md). The reader takes any bytes: what is not protobuf's wire form is refused,
 * fields that nobody knows are passed over. Pure. */
#ifndef VIEWER_SYSTEM_H
#define VIEWER_SYSTEM_H

#include "viewer/views.h"

#define VIEWER_NO_CORE UINT64_MAX

enum viewer_phase { VIEWER_START, VIEWER_STOP, VIEWER_INSTANT };

/* Something that happened: a start and its stop are one. */
struct viewer_call {
    size_t type, details; /* texts; details: the last event in JSON, as the capture wrote it */
    uint64_t tracking, thread;
    uint64_t core;           /* VIEWER_NO_CORE */
    uint64_t from_ns, to_ns; /* time of day; equal: of an instant, or a start that has no stop */
};

struct viewer_sample {
    uint64_t ns, a, b; /* memory: resident, available bytes. CPU: user, system us, summed */
};

/* Of one folder. Zero-initialise; viewer_system_fini frees. */
struct viewer_system {
    struct strbuf texts; /* each ends with NUL; the first is "" */
    size_t instance;     /* text */
    uint64_t process, cpus;
    uint64_t stored, dropped;  /* events that came, and those of them that are lost */
    struct viewer_call *calls; /* in time order */
    size_t call_count, call_cap;
    struct viewer_sample *memory, *cpu;
    size_t memory_count, memory_cap, cpu_count, cpu_cap;
};
static inline const char *viewer_system_text(const struct viewer_system *s, size_t text)
{
    return s->texts.s + text;
}

/* Takes in one of the four files, named without ".pb": trace_info, ntrace, cpu_util, host_mem.
 * NRT_INVALID: it is not one; NRT_RESOURCE. */
NRT_STATUS viewer_system_read(struct viewer_system *s, const char *name, const void *bytes,
                              size_t size, struct err *err);
void viewer_system_fini(struct viewer_system *s);

/* What is left out, and how a trace is grouped: comma-separated lists as they were given. */
struct viewer_choice {
    const char *cores, *types, *instances; /* NULL: all */
    const char *primary, *secondary;       /* NULL: the published defaults */
};
/* NRT_INVALID: a list is none: err says which word of it. */
NRT_STATUS viewer_choice_check(const struct viewer_choice *c, struct err *err);
bool viewer_choice_has(const struct viewer_choice *c, const struct viewer_system *s,
                       const struct viewer_call *call);

/* Its tables; what rows fail at is in r->ok. */
void viewer_system_tables(const struct viewer_system *s, size_t count,
                          const struct viewer_choice *c, struct viewer_rows *r);
/* "system_profile": as JSON and as a trace. NRT_FAILURE: the sink; NRT_RESOURCE. */
NRT_STATUS viewer_system_json(const struct viewer_system *s, size_t count,
                              const struct viewer_choice *c, const struct viewer_sink *sink,
                              struct err *err);
NRT_STATUS viewer_system_trace(const struct viewer_system *s, size_t count,
                               const struct viewer_choice *c, const struct viewer_sink *sink,
                               struct err *err);
/* Share of all CPUs that the process used before sample i, 0 to 1. */
double viewer_system_cpu(const struct viewer_system *s, size_t i);

#endif
