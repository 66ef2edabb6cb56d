/* SPDX-License-Identifier: Apache-2.0 */
/* What is seen of the runs of a core: events of the system trace (docs/spec/traces.md), and by
 * whoever records what instructions do.
 *
 * The core's own clock follows the host's, but a run takes device time there, which is not what it
 * takes here: the clock shows the host's time at the start of a run, or the end of the run before
 * when that is later, and moves on by the run's device time. */
#include <stdio.h>
#include <string.h>

#include "base/watched.h"
#include "model/model_int.h"

/* What has run on a core stands in the page of its first physical core, whoever looks. */
static const struct device_live_page *page_of(const struct model_host *h, const struct logical *lc)
{
    return device_live(h->cfg.in, lc->phys[0].index);
}

uint64_t model_core_ran(const struct model_host *h, const struct logical *lc)
{
    return atomic_load_explicit(&page_of(h, lc)->op_seq, memory_order_relaxed);
}

static uint32_t last_model(const struct model_host *h, const struct logical *lc)
{
    return atomic_load_explicit(&page_of(h, lc)->last_neff, memory_order_relaxed);
}

void model_trace_fields(const struct model *m, struct trace_event *e)
{
    e->name = m->trace_name;
    e->rank = m->rank;
}

static void put(struct model *m, struct instance *in, const struct observed *o,
                enum trace_type type, enum trace_phase phase, struct trace_event e)
{
    e.type = (uint16_t)type;
    e.phase = (uint8_t)phase;
    e.seq = o->seq;
    model_trace_fields(m, &e);
    trace_put(m->h->cfg.trace, in->lc->vnc - m->h->cfg.first_vnc, &e);
}

/* ---- who looks on ---- */

static struct time_events *watch_begin(struct model *m, struct instance *in, uint64_t start_ns,
                                       struct observed *o)
{
    struct logical *lc = in->lc;

    o->watch = atomic_load(&m->h->watch);
    if (!o->watch) /* it has gone since */
        return NULL;
    o->run = (struct model_seen){.model = m,
                                 .instance = (uint32_t)(in - m->inst),
                                 .vnc = lc->vnc - m->h->cfg.first_vnc,
                                 .cores = in->stage_count,
                                 .run = o->seq,
                                 .start_ns = start_ns};
    for (uint32_t c = 0; c < in->stage_count; c++) {
        o->run.prog[c] = in->stage[c].prog;
        o->run.sg[c] = in->stage[c].sg;
    }
    return o->watch->begin(o->watch->arg, &o->run);
}

static void watch_end(NRT_STATUS status, const struct observed *o)
{
    struct model_seen run = o->run;

    run.end_ns = run_now_ns();
    run.status = status;
    o->watch->end(o->watch->arg, &run, o->events);
}

void model_core_hold(struct model_host *h, uint32_t vnc)
{
    run_owner_take(&h->cores[vnc].owner, NULL);
}

void model_core_release(struct model_host *h, uint32_t vnc)
{
    run_owner_give(&h->cores[vnc].owner);
}

void model_host_watch(struct model_host *h, const struct model_watch *w)
{
    watched_count(atomic_exchange(&h->watch, w) != NULL, w != NULL);
}

/* ---- the system trace ---- */

static void trace_begin(struct model *m, struct instance *in, uint64_t start_ns,
                        struct observed *ret)
{
    struct logical *lc = in->lc;
    struct trace *t = m->h->cfg.trace;
    uint32_t before = ret->seq > 1 ? last_model(m->h, lc) : 0;

    ret->exec_id = trace_id(t);
    ret->running_id = trace_id(t);
    ret->clock_ns = start_ns > lc->clock_ns ? start_ns : lc->clock_ns;
    if (before != 0 && before != m->id)
        put(m, in, ret, TRACE_nrt_model_switch, TRACE_INSTANT,
            (struct trace_event){
                .ns = start_ns, .tracking = trace_id(t), .data = {before, m->id}, .data_count = 2});
    put(m, in, ret, TRACE_device_exec, TRACE_START,
        (struct trace_event){.ns = start_ns, .tracking = ret->exec_id});
    put(m, in, ret, TRACE_timestamp_sync_point, TRACE_INSTANT,
        (struct trace_event){.ns = start_ns,
                             .tracking = ret->running_id,
                             .data = {start_ns, ret->clock_ns},
                             .data_count = 2});
    put(m, in, ret, TRACE_nc_exec_running, TRACE_START,
        (struct trace_event){.ns = start_ns,
                             .tracking = ret->running_id,
                             .data = {ret->clock_ns, ret->seq},
                             .data_count = 2});
}

static void trace_end(struct model *m, struct instance *in, const struct core_report *r,
                      NRT_STATUS status, const struct observed *o)
{
    uint64_t now = run_now_ns();

    in->lc->clock_ns = o->clock_ns + r->stats.device_ns;
    put(m, in, o, TRACE_nc_exec_running, TRACE_STOP,
        (struct trace_event){.ns = now,
                             .tracking = o->running_id,
                             .data = {in->lc->clock_ns, o->seq},
                             .data_count = 2});
    if (r->stats.nan_count > 0)
        put(m, in, o, TRACE_numerical_err, TRACE_INSTANT,
            (struct trace_event){.ns = now,
                                 .tracking = o->running_id,
                                 .data = {r->stats.nan_count},
                                 .data_count = 1});
    if (status != NRT_SUCCESS && r->status == NRT_SUCCESS)
        put(m, in, o, TRACE_hw_notify, TRACE_INSTANT,
            (struct trace_event){
                .ns = now, .tracking = o->running_id, .data = {(uint64_t)status}, .data_count = 1});
    put(m, in, o, TRACE_device_exec, TRACE_STOP,
        (struct trace_event){
            .ns = now, .tracking = o->exec_id, .data = {(uint64_t)status}, .data_count = 1});
}

/* A run is recorded once, for whoever looks on; the log of device times has its copy. */
static void events_copy(struct time_events *to, const struct time_events *from)
{
    to->count = from->count < to->cap ? from->count : to->cap;
    to->dropped = from->dropped + (from->count - to->count);
    memcpy(to->ev, from->ev, to->count * sizeof(*to->ev));
}

/* ---- what is printed ---- */

static void print_one(void *arg, const struct core_print *c)
{
    struct printing *p = arg;
    const struct neff_engine_code *code = &p->in->stage[c->core].sg->engines[c->engine];
    const char *label = c->record < code->debug_count ? code->debug[c->record].label : NULL;
    char number[24];
    struct model_print out = {.vnc = p->in->lc->vnc - p->m->h->cfg.first_vnc,
                              .prefix = label,
                              .dtype = c->tile->dtype,
                              .ndim = c->tile->ndim,
                              .shape = c->tile->shape,
                              .data = c->tile->data,
                              .bytes = c->tile->bytes};

    if (!label || !label[0]) {
        snprintf(number, sizeof(number), "print_%u", c->tile->id);
        out.prefix = number;
    }
    p->count++;
    p->m->h->cfg.printer->print(p->m->h->cfg.printer->arg, &out);
}

static void printing_begin(const struct model *m, const struct instance *in, struct printing *ret)
{
    *ret = (struct printing){.m = m, .in = in, .printer = {.arg = ret, .print = print_one}};
}

static void printing_end(const struct printing *p)
{
    if (p->count > 0)
        p->m->h->cfg.printer->ended(p->m->h->cfg.printer->arg,
                                    p->in->lc->vnc - p->m->h->cfg.first_vnc);
}

/* ---- a run ---- */

void observe_begin(struct model *m, struct instance *in, struct frame *f, struct core_run *run,
                   struct observed *ret)
{
    ret->seq = model_core_ran(m->h, in->lc) + 1;
    f->events.count = 0;
    f->events.dropped = 0;
    ret->events =
        WATCHED(atomic_load(&m->h->watch) != NULL) ? watch_begin(m, in, run->start_ns, ret) : NULL;
    run->events = WATCHED(ret->events != NULL)    ? ret->events
                  : WATCHED(f->events.ev != NULL) ? &f->events
                                                  : NULL;
    ret->traced = trace_on(m->h->cfg.trace);
    if (WATCHED(ret->traced))
        trace_begin(m, in, run->start_ns, ret);
    ret->fault.strikes = false;
    run->fault = device_faults_any(m->h->faults) ? fault_of_run(m, in, &ret->fault) : NULL;
    printing_begin(m, in, &ret->printing);
    run->printer = m->h->cfg.printer ? &ret->printing.printer : NULL;
}

const struct device_fault *observe_ran(struct frame *f, struct core_run *run,
                                       const struct observed *o)
{
    if (WATCHED(o->events && f->events.ev))
        events_copy(&f->events, o->events);
    printing_end(&o->printing);
    run->printer = NULL;
    run->events = NULL;
    run->fault = NULL;
    return o->fault.strikes ? &o->fault.what : NULL;
}

void observe_end(struct model *m, struct instance *in, const struct frame *f, NRT_STATUS status,
                 const struct observed *o)
{
    if (WATCHED(o->events != NULL))
        watch_end(status, o);
    if (WATCHED(o->traced))
        trace_end(m, in, &f->report, status, o);
}
