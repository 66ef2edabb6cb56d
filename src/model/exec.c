/* SPDX-License-Identifier: Apache-2.0 */
/* Execution: the graph walker. */
#include <string.h>

#include "base/watched.h"
#include "device/tally.h"
#include "model/model_int.h"

#define NS_PER_US 1000

/* Copying, timed when there is something to copy: an execution on device tensors reads no clock for
 * it. */
static void copy_bytes(struct frame *f, void *to, const void *from, uint64_t size)
{
    uint64_t start = run_now_ns();

    memcpy(to, from, size);
    f->host_ns += run_now_ns() - start;
}

/* Copy what the core does not reach directly. Outputs go in too: a program may write a part of one.
 */
static void copy_in(struct model *m, const struct node *nd, struct frame *f)
{
    for (uint32_t k = 0; k < nd->in_count + nd->out_count; k++) {
        const struct slot_ref r = k < nd->in_count ? nd->in[k].ref : nd->out[k - nd->in_count].ref;

        if (r.kind == SLOT_IN && f->in[r.index].va != f->in_from[r.index])
            copy_bytes(f, f->in[r.index].va, f->in_from[r.index], m->in[r.index].size);
        else if (r.kind == SLOT_OUT && f->out[r.index].va != f->out_to[r.index])
            copy_bytes(f, f->out[r.index].va, f->out_to[r.index], m->out[r.index].size);
    }
}

static void copy_out(struct model *m, const struct node *nd, struct frame *f)
{
    for (uint32_t k = 0; k < nd->out_count; k++) {
        const struct slot_ref r = nd->out[k].ref;

        if (r.kind == SLOT_OUT && f->out[r.index].va != f->out_to[r.index])
            copy_bytes(f, f->out_to[r.index], f->out[r.index].va, m->out[r.index].size);
    }
}

/* What a run of the core took; counted with the status when the execution is over. */
static void count_run(struct frame *f, uint64_t ns)
{
    f->core_ns += ns;
    f->flops += f->report.stats.flops;
}

/* Errors of the hardware at the end of a run, which only somebody's wish makes (behaviour.md 8.5):
 * one that the process was asked for, or one that waits at the core. */
static NRT_STATUS hw_errors(struct model *m, struct instance *in, const struct device_fault *asked,
                            struct err *err)
{
    NRT_STATUS status = NRT_SUCCESS;

    if (__builtin_expect(asked != NULL, 0))
        status = device_hw_strike(m->h->cfg.in, asked->core, asked->hw, asked->detail, err);
    for (uint32_t c = 0; status == NRT_SUCCESS && c < in->stage_count; c++)
        status = device_hw_check(m->h->cfg.in, in->stage[c].phys->index, err);
    return __builtin_expect(status == NRT_SUCCESS, 1) ? status : fault_ended(m, in, status, err);
}

static uint32_t runnable_with_me(void *arg)
{
    return device_runnable(arg) + 1;
}

/* Requests of one logical core run in the order in which they came. Returns the nanoseconds that
 * were waited. */
static uint64_t owner_take(struct model *m, struct logical *lc)
{
    struct run_policy policy = {.runnable = runnable_with_me, .arg = m->h->cfg.in};
    uint64_t start;

    if (__builtin_expect(run_owner_try(&lc->owner), 1))
        return 0;
    start = run_now_ns();
    run_owner_take(&lc->owner, &policy);
    return run_now_ns() - start;
}

/* The caller may want to keep what the cores are at. report NULL: they did not run, or to the end.
 */
static void tell_failure(const struct model *m, const struct instance *in,
                         const struct model_call *call, const struct core_report *report,
                         const struct err *err)
{
    struct model_failure f = {.status = err->status,
                              .text = err->text,
                              .model = m,
                              .uuid = m->neff->header.uuid,
                              .report = report,
                              .count = in->stage_count};

    if (!call->failed)
        return;
    for (uint32_t c = 0; c < in->stage_count; c++)
        f.core[c] = (struct model_failure_core){.index = in->stage[c].phys->index,
                                                .core = in->stage[c].phys->core,
                                                .program = in->stage[c].prog,
                                                .sg = in->stage[c].sg};
    call->failed(call->failed_arg, &f);
}

/* The core's program does not begin: other ranks must not wait for operations that nobody will
 * trigger. The core is owned. */
static void colls_fail(const struct model *m, struct instance *in, const struct err *err)
{
    coll_table_use(in->colls, m->env.timeout_ns);
    coll_table_failed(in->colls, err->text);
}

/* The same, for a node of the host that has failed before it. */
static void colls_fail_owning(struct model *m, struct instance *in, const struct err *err)
{
    if (!m->solo)
        (void)owner_take(m, in->lc);
    colls_fail(m, in, err);
    if (!m->solo)
        run_owner_give(&in->lc->owner);
}

/* The cores' run failed, or ended with a numerical error: report says how. The core is owned. */
static void core_failed(struct model *m, struct instance *in, const struct core_report *report,
                        const struct model_call *call, NRT_STATUS status, struct err *err)
{
    bool done = report->end == CORE_END_DONE;

    err_set(err, status, "%s", report->err.text[0] ? report->err.text : "failed");
    report_failure(m, in, report);
    tell_failure(m, in, call, done ? NULL : report, err);
    if (done)
        return;
    for (uint32_t c = 0; c < in->stage_count; c++)
        core_reset(in->stage[c].phys->core);
    if (in->colls && report->end != CORE_END_CHECK) /* CHECK: the program has ended */
        coll_table_failed(in->colls, err->text);
}

/* One NeuronCore node; the core is owned. */
static NRT_STATUS run_core_node(struct model *m, struct instance *in, struct frame *f, uint32_t at,
                                const struct model_call *call, struct err *err)
{
    const struct node *nd = &m->nodes[at];
    const struct device_fault *asked = NULL;
    struct observed seen;
    uint64_t start;
    bool pooled;
    NRT_STATUS status;
    bool looked;

    if (in->colls) {
        status = coll_table_status(in->colls, err);
        if (status != NRT_SUCCESS) {
            LOGE(m->h->cfg.log, LOG_NMGR, "dlr_infer", "%s", err->text);
            tell_failure(m, in, call, NULL, err);
            colls_fail(m, in, err);
            return status;
        }
        coll_table_use(in->colls, m->env.timeout_ns);
    }
    if (in->stage[0].has[EXT_CELLS] || in->stage[1].has[EXT_CELLS])
        frame_cells(m, in, f);
    if (f->copies)
        copy_in(m, nd, f);
    device_runnable_add(m->h->cfg.in, 1);
    /* Workers that this execution starts do not spin in it: it has not told of itself. */
    pooled = run_pool_started(m->h->pool);
    if (pooled)
        run_pool_begin(m->h->pool);
    start = f->run[at].start_ns = run_now_ns();
    looked = watched_any();
    if (looked)
        observe_begin(m, in, f, &f->run[at], &seen);
    status = core_run(&f->run[at], &f->report);
    count_run(f, run_now_ns() - start);
    if (pooled)
        run_pool_end(m->h->pool);
    device_runnable_add(m->h->cfg.in, -1);
    if (looked)
        asked = observe_ran(f, &f->run[at], &seen);
    if (status == NRT_SUCCESS)
        status = hw_errors(m, in, asked, err);
    if (looked)
        observe_end(m, in, f, status, &seen);
    if (status != NRT_SUCCESS && f->report.status == NRT_SUCCESS) {
        tell_failure(m, in, call, NULL, err); /* an error of the hardware */
        return status;
    }

    if (looked && WATCHED(f->events.ev != NULL) && f->report.end == CORE_END_DONE)
        devtime_report(m, in, f);
    /* A numerical error leaves outputs that can be read. */
    if (f->copies && f->report.end == CORE_END_DONE)
        copy_out(m, nd, f);
    if (__builtin_expect(status != NRT_SUCCESS, 0))
        core_failed(m, in, &f->report, call, status, err);
    return status;
}

/* A numerical error does not end the walk: the outputs are complete. */
static NRT_STATUS run_nodes(struct model *m, struct instance *in, struct frame *f,
                            const struct model_call *call, struct err *err)
{
    NRT_STATUS ret = NRT_SUCCESS;
    bool core_ran = false;

    for (uint32_t i = 0; i < m->node_count; i++) {
        NRT_STATUS status;

        if (m->nodes[i].n->is_cpu) {
            uint64_t start = run_now_ns();

            status = cpu_run(m, &m->nodes[i], f, err);
            f->host_ns += run_now_ns() - start;
            if (status != NRT_SUCCESS)
                LOGE(m->h->cfg.log, LOG_NMGR, "dlr_infer", "%s", err->text);
            if (status != NRT_SUCCESS && in->colls && !core_ran)
                colls_fail_owning(m, in, err);
        } else if (m->solo) {
            status = run_core_node(m, in, f, i, call, err);
        } else {
            f->host_ns += owner_take(m, in->lc);
            status = run_core_node(m, in, f, i, call, err);
            run_owner_give(&in->lc->owner);
        }
        core_ran = core_ran || !m->nodes[i].n->is_cpu;
        if (status != NRT_SUCCESS) {
            ret = status;
            if (status != NRT_EXEC_COMPLETED_WITH_NUM_ERR)
                break;
        }
    }
    return ret;
}

/* Inputs of the runs after the first are the outputs of the run before. */
static void feed_back(struct model *m, struct frame *f)
{
    for (uint32_t k = 0; k < m->in_count && k < m->out_count; k++)
        f->in_from[k] = f->out_to[k];
}

static NRT_STATUS frame_get(struct model *m, struct instance *in, struct frame **ret,
                            struct err *err)
{
    pthread_mutex_lock(&in->frames_lock);
    *ret = in->frames;
    if (*ret)
        in->frames = (*ret)->next;
    pthread_mutex_unlock(&in->frames_lock);
    return *ret ? NRT_SUCCESS : frame_create(m, in, ret, err);
}

static void frame_put(struct instance *in, struct frame *f)
{
    pthread_mutex_lock(&in->frames_lock);
    f->next = in->frames;
    in->frames = f;
    pthread_mutex_unlock(&in->frames_lock);
}

/* One execution is over; the core is owned. */
static void count_end(struct model *m, struct instance *in, const struct frame *f,
                      NRT_STATUS status)
{
    struct device_tally_end end = {.status = device_status_counter(status)};
    uint64_t ns = in->busy_ns + f->core_ns;

    end.busy_us = ns / NS_PER_US;
    in->busy_ns = ns % NS_PER_US;
    if (status == NRT_SUCCESS || status == NRT_EXEC_COMPLETED_WITH_NUM_ERR) {
        end.core_ns = f->core_ns;
        end.whole_ns = f->core_ns + f->host_ns;
    }
    for (uint32_t c = 0; c < in->stage_count; c++) {
        end.flops = c == 0 ? f->flops : 0;
        device_tally_add(m->h->cfg.in, in->stage[c].phys->index, &end);
    }
}

/* An execution that did not begin. */
static void count_refused(struct model *m, struct instance *in, NRT_STATUS status)
{
    for (uint32_t c = 0; c < in->stage_count; c++)
        device_counter_add(m->h->cfg.in, in->stage[c].phys->index, device_status_counter(status),
                           1);
}

/* One execution of all nodes, bound, for which the core has been waited for. */
static NRT_STATUS run_once(struct model *m, struct instance *in, struct frame *f, uint64_t waited,
                           const struct model_call *call, struct err *err)
{
    NRT_STATUS status;

    f->core_ns = f->flops = 0;
    f->host_ns = waited;
    status = run_nodes(m, in, f, call, err);
    if (!m->solo)
        (void)owner_take(m, in->lc);
    count_end(m, in, f, status);
    if (!m->solo)
        run_owner_give(&in->lc->owner);
    return status;
}

static NRT_STATUS check_repeat(struct model *m, const struct model_call *call, struct err *err)
{
    for (uint32_t k = 0; call->repeat > 1 && k < m->in_count && k < m->out_count; k++)
        if (m->in[k].size != m->out[k].size)
            return err_set(err, NRT_EXEC_BAD_INPUT,
                           "model %s cannot be repeated: output %s has %llu bytes, input %s %llu",
                           m->neff->name, m->out[k].name, (unsigned long long)m->out[k].size,
                           m->in[k].name, (unsigned long long)m->in[k].size);
    return NRT_SUCCESS;
}

/* The core of a process that lost its slot (device_core_mine) may be driven by another one now. */
static NRT_STATUS core_check(struct model *m, struct instance *in, struct err *err)
{
    struct device_instance *dev = m->h->cfg.in;

    for (uint32_t c = 0; c < in->stage_count; c++) {
        const struct phys *p = in->stage[c].phys;

        if (__builtin_expect(device_core_mine(dev, p->index), 1))
            continue;
        err_set(err, NRT_EXEC_NC_BUSY,
                "[ND %u][NC %u] is not this process's any more%s: the lock of its slot was lost, "
                "as when a program closes all its descriptors",
                p->device, p->nc,
                device_core_owner(dev, p->index) == DEVICE_NONE ? "" : ", another one has it");
        LOGE(m->h->cfg.log, LOG_NMGR, "dlr_infer", "%s", err->text);
        return NRT_EXEC_NC_BUSY;
    }
    return NRT_SUCCESS;
}

NRT_STATUS model_execute(struct model *m, uint32_t instance, const struct model_call *call,
                         struct err *err)
{
    struct instance *in = &m->inst[instance];
    uint64_t waited = 0;
    struct frame *f;
    NRT_STATUS status = core_check(m, in, err);

    if (status != NRT_SUCCESS)
        return status; /* not counted: the counters are the core's */
    if (__builtin_expect(atomic_load_explicit(&m->late.state, memory_order_acquire), LATE_NOT)) {
        status = late_wait(m, err);
        if (status != NRT_SUCCESS) {
            count_refused(m, in, status);
            return status;
        }
    }
    if (call->repeat > 1) {
        status = check_repeat(m, call, err);
        if (status != NRT_SUCCESS) {
            LOGE(m->h->cfg.log, LOG_NMGR, "dlr_infer", "%s", err->text);
            count_refused(m, in, status);
            return status;
        }
    }

    if (m->solo) {
        waited = owner_take(m, in->lc);
        f = in->frames;
    } else {
        status = frame_get(m, in, &f, err);
        if (status != NRT_SUCCESS)
            return status; /* the device room has reported it */
    }
    status = frame_bind(m, in, f, call, err);
    for (int i = 0; status == NRT_SUCCESS && i < call->repeat; i++) {
        if (i == 1)
            feed_back(m, f);
        status = run_once(m, in, f, i == 0 ? waited : 0, call, err);
        if (status == NRT_EXEC_COMPLETED_WITH_NUM_ERR && i + 1 < call->repeat)
            status = NRT_SUCCESS; /* told by the last run if it still holds */
    }
    if (call->repeat > 1)
        f->bound = 0; /* in_from was changed */
    if (m->solo)
        run_owner_give(&in->lc->owner);
    else
        frame_put(in, f);
    return status;
}
