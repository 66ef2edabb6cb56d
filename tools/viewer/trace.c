/* SPDX-License-Identifier: Apache-2.0 */
/* A profile for Perfetto, through the timeline that `opennrt run --timeline` writes. */
#include "viewer/views.h"

#include "base/mem.h"

/* The events and spans of an execution as a replay gives them. */
static NRT_STATUS exec_put(struct timeline *t, const struct timeline_core *core,
                           const struct viewer_exec *x, bool arrows, const struct viewer_sink *sink,
                           struct err *err)
{
    struct time_events events = {.ev = mem_calloc((size_t)x->count + 1, sizeof(*events.ev)),
                                 .count = x->count};
    struct time_span *spans = mem_calloc((size_t)x->count + 1, sizeof(*spans));
    struct timeline_run run = {.core = core,
                               .facts = &viewer_facts,
                               .arg = x->model,
                               .events = &events,
                               .spans = spans,
                               .total_ps = x->e->total_ps};
    const uint8_t *bytes;
    size_t size;
    NRT_STATUS st = NRT_RESOURCE;

    for (uint32_t i = 0; events.ev && spans && i < x->count; i++) {
        const struct ntff_event *e = &x->ev[i];

        events.ev[i] = (struct time_event){.kind = e->kind,
                                           .unit = e->unit,
                                           .index = e->index,
                                           .op = e->op,
                                           .value = e->value,
                                           .id = e->id,
                                           .extra = e->extra};
        spans[i] = (struct time_span){e->start_ps, e->end_ps, arrows ? x->by[i] : VIEWER_NONE};
    }
    if (events.ev && spans)
        st = timeline_add(t, &run, &bytes, &size, err);
    else
        err_set(err, NRT_RESOURCE, "no memory for the %u events of an execution", x->count);
    if (st == NRT_SUCCESS && size > 0 && !sink->write(sink->arg, bytes, size))
        st = err_set(err, NRT_FAILURE, "the trace could not be written");
    mem_free(events.ev);
    mem_free(spans);
    return st;
}

static NRT_STATUS model_put(const struct viewer_shown *s, int32_t number, bool arrows,
                            const struct viewer_sink *sink, struct err *err)
{
    const struct viewer_model *m = s->f->model;
    struct timeline_core core = {.name = ntff_text(m->n, m->m->name),
                                 .pid = number,
                                 .vnc = m->m->vnc,
                                 .rank = m->m->rank,
                                 .ranks = 1};
    struct timeline *t = timeline_create(number, m->m->vnc);
    NRT_STATUS st = NRT_SUCCESS;

    if (!t)
        return err_set(err, NRT_RESOURCE, "no memory for a timeline");
    for (const struct ntff_exec *e = viewer_exec_first(m); st == NRT_SUCCESS && e;
         e = viewer_exec_next(m, e)) {
        struct viewer_exec x;

        st = viewer_exec_init(&x, m, e, err);
        if (st != NRT_SUCCESS)
            break;
        st = exec_put(t, &core, &x, arrows, sink, err);
        viewer_exec_fini(&x);
    }
    timeline_destroy(t);
    return st;
}

NRT_STATUS viewer_trace_profile(const struct viewer_shown *const *s, size_t count, bool arrows,
                                const struct viewer_sink *sink, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    /* A process of the trace for each; there is no process of the host to name. */
    for (size_t i = 0; st == NRT_SUCCESS && i < count; i++)
        st = model_put(s[i], (int32_t)i + 1, arrows, sink, err);
    return st;
}
