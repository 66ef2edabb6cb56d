/* SPDX-License-Identifier: Apache-2.0 */
/* Traces that ui.perfetto.dev opens: messages TracePacket, TrackDescriptor and TrackEvent of the
 * published format (github.com/google/perfetto, protos/perfetto/trace), in protobuf's wire form,
 * written one after the other into memory. A trace is a row of packets, so the bytes of several
 * writers may be joined as long as their tracks and sequences have different numbers.
 *
 * Times are whole nanoseconds. Slices of one track must nest; of two events of a track at the same
 * nanosecond the one that was written first counts as the earlier. Texts may be any bytes: what is
 * not UTF-8 is written as '?'.
 *
 * Pure. One thread at a time per writer. */
#ifndef TIME_PERFETTO_H
#define TIME_PERFETTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PERFETTO_TEXT_MAX 65536u /* bytes of one text; longer ones are cut there */

/* Zero-initialise, with sequence set; perfetto_fini frees. After a failed allocation `failed` stays
 * set, and nothing more is written. */
struct perfetto {
    uint8_t *bytes; /* the trace so far; perfetto_drop empties it */
    size_t size, cap;
    uint32_t sequence; /* of all packets; not 0, and another one for every writer of a trace */
    bool failed;
};

struct perfetto_track {
    uint64_t uuid;     /* not 0, unique in the trace */
    uint64_t parent;   /* 0: none */
    const char *name;  /* NULL: the process's */
    const char *unit;  /* of a counter track: "B", "us"; "": none. NULL: a track of slices */
    bool process;      /* the track of a process, which is the group of its children */
    int32_t pid;       /* then */
    const char *pname; /* then: the process's name; NULL: none */
    bool ordered;      /* its children are shown by their order, else by name */
    int32_t order;     /* its place below a parent that is ordered */
};
/* A track must be described before its first event. */
void perfetto_track(struct perfetto *p, const struct perfetto_track *t);

enum perfetto_type {
    PERFETTO_BEGIN = 1, /* the numbers of TrackEvent.Type */
    PERFETTO_END = 2,
    PERFETTO_INSTANT = 3,
    PERFETTO_COUNTER = 4
};
enum perfetto_value { PERFETTO_TEXT, PERFETTO_UINT, PERFETTO_INT, PERFETTO_DOUBLE, PERFETTO_BOOL };

/* What is shown of a slice that is picked. */
struct perfetto_arg {
    const char *name;
    enum perfetto_value type;
    union {
        const char *text; /* NULL: as if the argument were not there */
        uint64_t u;
        int64_t i;
        double d;
        bool b;
    };
};

struct perfetto_event {
    enum perfetto_type type;
    uint64_t ns;
    uint64_t track;
    const char *category, *name; /* NULL: none; an END has neither */
    unsigned arg_count;
    const struct perfetto_arg *args;
    /* Arrows between slices: from every event with a number in flows to the next one, in time, that
     * has it in flows or flow_ends; the latter is the last of its number. */
    unsigned flow_count, flow_end_count;
    const uint64_t *flows, *flow_ends;
    const char *file; /* where in a source; NULL: unknown */
    uint32_t line;
    double counter; /* PERFETTO_COUNTER */
};
void perfetto_event(struct perfetto *p, const struct perfetto_event *e);
/* e (its type is not looked at) from e->ns to end_ns, which counts as e->ns when it is less. */
void perfetto_slice(struct perfetto *p, const struct perfetto_event *e, uint64_t end_ns);

void perfetto_drop(struct perfetto *p); /* the bytes written so far; the memory stays */
void perfetto_fini(struct perfetto *p);

#ifdef __cplusplus
}
#endif
#endif
