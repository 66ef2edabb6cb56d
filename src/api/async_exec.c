/* SPDX-License-Identifier: Apache-2.0 */
/* Executions that are left to the compute unit: docs/spec/api.md 5, function 46, and the implicit
 * mode of behaviour.md 9, in which nrt_execute leaves them there, too.
 *
 * A request pins its model and its tensors, so that unloading or freeing one waits for it. The sets
 * were looked up when it was scheduled: they may change or go at once.
 *
 * A callback runs on a worker, holding nothing. What would have to wait for an execution there, it
 * might be waiting for itself, and is refused (api_may_wait, handle_take_now). */
#include <inttypes.h>

#include "api/async_int.h"
#include "api/exec_int.h"

/* An execution that took longer, or may wait for somebody, lets other units of the core have a
 * thread of their own. */
#define SHORT_US 20u

struct job {
    struct handle_slot *model; /* pinned */
    struct api_model *am;
    struct bound *bound; /* pinned */
    const char *func;
    uint32_t instance;
    int repeat;
    uint32_t model_id, vnc;
    bool implicit;
};
static_assert(sizeof(struct job) <= QUEUE_ARG, "a request holds it");

static NRT_STATUS job_run(void *arg)
{
    struct job *j = arg;
    uint64_t start = run_now_ns(), us;
    NRT_STATUS status = bound_run(j->func, j->am, j->bound, j->instance, j->repeat);

    us = (run_now_ns() - start) / 1000;
    atomic_store_explicit(&j->am->last_us, us < UINT32_MAX ? (uint32_t)us : UINT32_MAX,
                          memory_order_relaxed);
    return status;
}

static void job_drop(void *arg)
{
    struct job *j = arg;

    if (j->implicit)
        for (uint32_t i = 0; i < j->bound->in_count + j->bound->out_count; i++)
            tensor_queued(bound_tensor(j->bound, i), false);
    bound_give(j->bound);
    handle_unpin(j->model);
}

/* ---- callbacks ---- */

/* Synchronization: lock protects all; the function is called without it. */
static struct {
    pthread_mutex_t lock;
    NRT_ASYNC_EXEC_STATUS_CALLBACK fn; /* NULL: the default */
    void *params;
} callback_ = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void default_callback(uint32_t model_id, uint32_t vnc, uint64_t job_id, NRT_STATUS status)
{
    if (status != NRT_SUCCESS)
        LOGE(api_.log, LOG_NRT, "nrt_execute",
             "execution %" PRIu64 " of core %" PRIu32 ", of model %" PRIu32
             ", ended with status %d, %s",
             job_id, vnc, model_id, (int)status, status_name(status));
}

static void job_told(void *arg, uint64_t seq, NRT_STATUS status)
{
    const struct job *j = arg;
    uint64_t job_id = seq & QUEUE_NUM_MAX;
    NRT_ASYNC_EXEC_STATUS_CALLBACK fn;
    void *params;

    pthread_mutex_lock(&callback_.lock);
    fn = callback_.fn;
    params = callback_.params;
    pthread_mutex_unlock(&callback_.lock);
    if (fn)
        fn(params, j->model_id, j->vnc, job_id, status);
    else
        default_callback(j->model_id, j->vnc, job_id, status);
}

void async_exec_forget(void)
{
    pthread_mutex_init(&callback_.lock, NULL);
}

API_EXPORT NRT_STATUS nrt_register_async_exec_callback(NRT_ASYNC_EXEC_STATUS_CALLBACK callback,
                                                       void *params)
{
    pthread_mutex_lock(&callback_.lock);
    callback_.fn = callback;
    callback_.params = params;
    pthread_mutex_unlock(&callback_.lock);
    return NRT_SUCCESS;
}

/* ---- leaving an execution ---- */

static const struct queue_ops explicit_ops = {.run = job_run, .drop = job_drop};
static const struct queue_ops implicit_ops = {.run = job_run, .drop = job_drop, .told = job_told};

static bool may_last(const struct api_model *am)
{
    return !model_runs_alone(am->m) ||
           atomic_load_explicit(&am->last_us, memory_order_relaxed) > SHORT_US;
}

NRT_STATUS async_exec_leave(const struct exec_later *l, const char *func, struct handle_slot *model,
                            struct bound *b, uint32_t instance, int repeat)
{
    struct api_model *am = model->obj;
    struct job j = {.model = model,
                    .am = am,
                    .bound = b,
                    .func = func,
                    .instance = instance,
                    .repeat = repeat,
                    .model_id = model_id(am->m),
                    .vnc = model_vnc(am->m, instance),
                    .implicit = l->implicit};
    struct async_to to = {.func = func,
                          .core = j.vnc,
                          .kind = QUEUE_COMPUTE,
                          .queue = l->queue,
                          .lasts = may_last(am)};
    NRT_STATUS status;

    api_call_core(j.vnc);
    if (!l->implicit)
        return async_push(&to, &explicit_ops, &j, sizeof(j), l->tracker, l->seq);
    for (uint32_t i = 0; i < b->in_count + b->out_count; i++)
        tensor_queued(bound_tensor(b, i), true);
    status = async_push_implicit(&to, &implicit_ops, &j, sizeof(j), api_.inflight);
    for (uint32_t i = 0; status != NRT_SUCCESS && i < b->in_count + b->out_count; i++)
        tensor_queued(bound_tensor(b, i), false);
    return status;
}

API_EXPORT NRT_STATUS nrta_execute_schedule(nrt_model_t *model, const nrt_tensor_set_t *input,
                                            nrt_tensor_set_t *output, int queue,
                                            nrta_error_tracker_t *err, nrta_seq_t *req_sequence)
{
    struct exec_later later = {.queue = queue, .tracker = err, .seq = req_sequence};

    API_NEED_READY();
    API_NEED(model && input && output && err && req_sequence,
             "model, a tensor set, err or req_sequence is NULL");
    return api_execute(__func__, model, input, output, 1, &later);
}

/* ---- waiting ---- */

bool api_may_wait(void)
{
    uint32_t core;

    return !queue_worker_of(&core);
}

API_EXPORT NRT_STATUS nrt_async_drain_queued_execs(int32_t vnc)
{
    struct run_caller caller;

    API_NEED_READY();
    if (vnc < -1 || (vnc >= 0 && (uint32_t)vnc >= api_.vnc_count))
        return api_fail(__func__, NRT_INVALID,
                        "core %" PRId32 " is not one of the %" PRIu32 " owned", vnc,
                        api_.vnc_count);
    if (!api_may_wait())
        return api_fail(__func__, NRT_INVALID, "a callback must not wait for executions");
    run_caller_enter(&caller);
    for (uint32_t i = 0; i < api_.vnc_count; i++)
        if (vnc < 0 || (uint32_t)vnc == i)
            queue_drain(api_.queues, i, QUEUE_COMPUTE, 0);
    run_caller_leave(&caller);
    return NRT_SUCCESS;
}
