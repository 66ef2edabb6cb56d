/* SPDX-License-Identifier: Apache-2.0 */
/* Trace rings: events of the runtime and of the software device, with host time, kept per logical
 * core until somebody fetches them. docs/profiling.md, docs/spec/traces.md.
 *
 * The api room owns one struct trace and hands it down. While no capture runs, an event costs the
 * load of one flag (trace_on). While one runs, it is one clock reading and one short lock of its
 * ring; when a ring is full its oldest event goes, and is counted.
 *
 * Threads: any, for all functions, but trace_open, trace_close and trace_forget, which have the
 * object to themselves. */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "base/trace_types.h"
#include "base/watched.h"

enum trace_type {
    TRACE_NONE = 0, /* no event */
#define TRACE_T(name, group, key0, key1) TRACE_##name,
#define TRACE_C(name)                    TRACE_##name,
    TRACE_HARDWARE(TRACE_T) TRACE_SOFTWARE(TRACE_T) TRACE_CALLS(TRACE_C)
#undef TRACE_T
#undef TRACE_C
        TRACE_TYPE_COUNT
};

enum trace_group { TRACE_HARDWARE_GROUP, TRACE_SOFTWARE_GROUP };

const char *trace_type_name(enum trace_type t);
enum trace_group trace_type_group(enum trace_type t);
enum trace_type trace_type_find(const char *name); /* TRACE_NONE: there is none */

enum trace_phase { TRACE_START, TRACE_STOP, TRACE_INSTANT };

#define TRACE_NO_CORE  UINT32_MAX /* an event that concerns none: the process's own ring */
#define TRACE_ALL      UINT64_MAX
#define TRACE_CORE_MAX 1024u /* cores that a capture can leave out by number */
#define TRACE_DATA     2     /* values of an event */

struct trace_event {
    uint64_t ns;       /* CLOCK_MONOTONIC; 0: trace_put reads it */
    uint64_t tracking; /* the same for start and stop: trace_id */
    uint64_t seq;      /* of its execution on the core, from 1; 0: none */
    uint64_t data[TRACE_DATA];
    uint32_t tid;  /* trace_put fills it in */
    uint32_t name; /* of a model: trace_name_id; 0: none */
    uint32_t rank; /* of the model's collectives; meaningful with a name */
    uint16_t type; /* enum trace_type */
    uint8_t phase;
    uint8_t data_count;
};
static_assert(sizeof(struct trace_event) == 56, "a ring of a million events is 56 MB");

struct trace_ring {
    pthread_mutex_t lock;
    struct trace_event *ev;   /* NULL: nothing is captured for this core */
    bool fresh;               /* made by the start that is under way */
    uint64_t cap;             /* of ev */
    uint64_t first, count;    /* oldest event, events that are there */
    uint64_t stored, dropped; /* since the capture began: all that came, those that went unseen */
    uint64_t seen;            /* of stored: the events before this number are in somebody's batch */
};

struct trace {
    /* Accessed atomically: on: whether a capture runs, all that a hook looks at. */
    uint32_t on;
    uint64_t next_id;
    uint64_t types_off[(TRACE_TYPE_COUNT + 63) / 64];
    pthread_mutex_t
        fetch; /* one look at the rings at a time, until what it saw is taken; before lock */
    pthread_mutex_t lock; /* start and stop, and the names */
    uint32_t owner;       /* of the capture that runs */
    uint32_t starts;      /* of this owner, each of which a stop answers */
    uint32_t cores;
    struct trace_ring *rings; /* [cores], then the process's; made by trace_open */
    uint64_t epoch_ns;        /* CLOCK_REALTIME minus CLOCK_MONOTONIC when the capture began */
    char **names;
    uint32_t name_count;
};

#define TRACE_INIT                                                            \
    {                                                                         \
        .fetch = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER \
    }

/* What a capture holds. */
struct trace_config {
    uint64_t max_events; /* per ring */
    uint64_t cores_off[TRACE_CORE_MAX / 64];
    uint64_t types_off[(TRACE_TYPE_COUNT + 63) / 64];
};
#define TRACE_MAX_EVENTS 1000000u /* the default */
void trace_config_defaults(struct trace_config *c);
void trace_config_core(struct trace_config *c, uint64_t core, bool on); /* beyond the limit: none */
void trace_config_type(struct trace_config *c, enum trace_type t, bool on);
static inline bool trace_config_has_type(const struct trace_config *c, enum trace_type t)
{
    return !(c->types_off[t / 64] >> t % 64 & 1);
}

/* Make it ready for a process's cores; close: nobody uses it any more, a capture ends.
 * NRT_RESOURCE. forget: in the child of a fork, where nothing is given back. */
NRT_STATUS trace_open(struct trace *t, uint32_t cores, struct err *err);
void trace_close(struct trace *t);
void trace_forget(struct trace *t);

/* Who has begun the capture, ends it and takes its events: there is one at a time. Threads of a
 * program that start each their own share it (docs/spec/api.md 9): rings and types are what all of
 * them ask for, a ring is as long as who asked first wants it, and the last stop ends it. */
enum trace_owner { TRACE_BY_PROGRAM = 1, TRACE_BY_API_TRACE, TRACE_BY_INSPECT };
/* NRT_FAILURE: another's capture runs (or, for stop, none of this owner does); NRT_RESOURCE: what
 * runs goes on as it was. The stop that ends it drops what was not fetched. */
NRT_STATUS trace_start(struct trace *t, enum trace_owner owner, const struct trace_config *c,
                       struct err *err);
NRT_STATUS trace_stop(struct trace *t, enum trace_owner owner, struct err *err);
NRT_STATUS trace_running(struct trace *t, enum trace_owner owner, struct err *err);

/* Take at most max events of each ring, oldest first, of core (TRACE_ALL: of all, and those of the
 * process), as a document of JSON appended to out. NRT_FAILURE: no capture of this owner runs;
 * NRT_RESOURCE: the events stay. */
NRT_STATUS trace_fetch(struct trace *t, enum trace_owner owner, uint64_t core, uint64_t max,
                       struct strbuf *out, struct err *err);
/* The document of all events, which stay, for a file that may fail. As trace_fetch. */
NRT_STATUS trace_document(struct trace *t, enum trace_owner owner, struct strbuf *out,
                          struct err *err);

/* All events as they are, for other forms; they stay. ret: trace_batch_fini. NRT_FAILURE: no
 * capture of this owner runs; NRT_RESOURCE. */
struct trace_batch {
    struct trace_event *ev;
    uint32_t *core; /* TRACE_NO_CORE: the process's */
    uint64_t count;
    uint64_t stored, dropped; /* of the rings looked at, since the capture began */
};
NRT_STATUS trace_look(struct trace *t, enum trace_owner owner, struct trace_batch *ret,
                      struct err *err);
void trace_batch_fini(struct trace_batch *b);
/* One event as JSON. */
void trace_event_json(struct trace *t, const struct trace_event *e, uint32_t core,
                      struct strbuf *out);

static inline bool trace_on(const struct trace *t)
{
    return WATCHED(__atomic_load_n(&t->on, __ATOMIC_RELAXED) != 0);
}

uint64_t trace_now_ns(void); /* CLOCK_MONOTONIC */
/* A number for a pair of start and stop, never 0. */
static inline uint64_t trace_id(struct trace *t)
{
    return __atomic_fetch_add(&t->next_id, 1, __ATOMIC_RELAXED) + 1;
}
/* A number for a model's name, the same for the same name; 0 when memory is out. It holds until
 * trace_close. */
uint32_t trace_name_id(struct trace *t, const char *name);
/* "" for 0. */
const char *trace_name(struct trace *t, uint32_t id);

/* Store an event in the ring of core (logical, counted from the first owned one). Nothing happens
 * when no capture runs or this one leaves out the core or the type. */
void trace_put(struct trace *t, uint32_t core, const struct trace_event *e);

#endif
