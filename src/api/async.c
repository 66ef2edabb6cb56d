/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduling, completion and failures of requests: docs/spec/api.md 5. */
#include <inttypes.h>

#include "api/async_int.h"

static_assert((int)QUEUE_TENSOR_READ == NRTA_XU_TENSOR_READ &&
                  (int)QUEUE_TENSOR_WRITE == NRTA_XU_TENSOR_WRITE &&
                  (int)QUEUE_TENSOR_OP == NRTA_XU_TENSOR_OP &&
                  (int)QUEUE_COMPUTE == NRTA_XU_COMPUTE &&
                  (int)QUEUE_COLLECTIVES == NRTA_XU_COLLECTIVES &&
                  (int)QUEUE_KINDS == NRTA_XU_TYPE_NUM,
              "units are numbered as in the public header");
static_assert(sizeof(struct queue_error) == sizeof(nrta_error_t) &&
                  offsetof(struct queue_error, seq) == offsetof(nrta_error_t, seq_id) &&
                  offsetof(struct queue_error, status) == offsetof(nrta_error_t, error_code),
              "the list of a tracker is given out as it is");

/* ---- scheduling ---- */

static struct handle_slot *pin_tracker(const nrta_error_tracker_t *t)
{
    return handle_pin(&api_.trackers, token_of(t));
}

static NRT_STATUS bad_tracker(const char *func)
{
    return api_fail(func, NRT_INVALID_HANDLE, "not an error tracker of this session");
}

bool async_tensor_core(const struct tensor *t, uint32_t *ret_core)
{
    if (!tensor_is_device(t))
        return false;
    *ret_core = t->store->core / device_lnc(api_.in) - api_.first_vnc;
    return true;
}

static NRT_STATUS push(const struct async_to *to, const struct queue_ops *ops, const void *arg,
                       size_t arg_size, struct queue_tracker *tracker, unsigned limit,
                       nrta_seq_t *seq)
{
    struct queue_request req = {
        .ops = ops, .tracker = tracker, .lasts = to->lasts, .copies = to->copies};
    struct err err;
    NRT_STATUS status;

    err.status = NRT_SUCCESS;
    err.text[0] = '\0';
    status = queue_push(api_.queues, to->core, to->kind, (unsigned)to->queue, &req, arg, arg_size,
                        limit, seq, &err);
    if (__builtin_expect(status != NRT_SUCCESS, 0))
        return api_fail(to->func, status, "%s", err.text);
    return status;
}

static NRT_STATUS check(const struct async_to *to, const struct queue_tracker *tracker)
{
    if (to->queue < 0 || (unsigned)to->queue >= queue_count(to->kind))
        return api_fail(to->func, NRT_INVALID, "queue %d is not one of the unit's %u", to->queue,
                        queue_count(to->kind));
    if (queue_tracker_core(tracker) != to->core)
        return api_fail(to->func, NRT_INVALID,
                        "the error tracker is of core %" PRIu32 ", the request of core %" PRIu32,
                        queue_tracker_core(tracker), to->core);
    return NRT_SUCCESS;
}

NRT_STATUS async_push(const struct async_to *to, const struct queue_ops *ops, const void *arg,
                      size_t arg_size, nrta_error_tracker_t *tracker, nrta_seq_t *seq)
{
    struct handle_slot *slot = pin_tracker(tracker);
    NRT_STATUS status;

    if (!slot)
        return bad_tracker(to->func);
    status = check(to, slot->obj);
    if (status == NRT_SUCCESS)
        status = push(to, ops, arg, arg_size, slot->obj, QUEUE_DEPTH, seq);
    handle_unpin(slot);
    return status;
}

NRT_STATUS async_push_implicit(const struct async_to *to, const struct queue_ops *ops,
                               const void *arg, size_t arg_size, unsigned limit)
{
    nrta_seq_t seq;

    return push(to, ops, arg, arg_size, NULL, limit, &seq);
}

/* ---- completion ---- */

API_EXPORT NRT_STATUS nrta_is_completed(nrta_seq_t seq, bool *is_completed)
{
    API_NEED_READY();
    API_NEED(is_completed, "is_completed is NULL");
    if (queue_completed(api_.queues, seq, is_completed) != NRT_SUCCESS)
        return api_fail(__func__, NRT_INVALID, "no request has sequence %#" PRIx64, seq);
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrta_get_sequence(uint32_t lnc, nrta_xu_t xu, int queue, nrta_seq_t *seq)
{
    API_NEED_READY();
    API_NEED(seq, "seq is NULL");
    if (queue < 0 ||
        queue_last(api_.queues, lnc, (enum queue_kind)xu, (unsigned)queue, seq) != NRT_SUCCESS)
        return api_fail(__func__, NRT_INVALID,
                        "core %" PRIu32 " has no queue %d of a unit %d, or is not owned", lnc,
                        queue, (int)xu);
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrta_get_completion_handle(nrta_seq_t seq, int *fd)
{
    struct run_caller caller;
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(fd, "fd is NULL");
    run_caller_enter(&caller);
    status = queue_notice_fd(api_.queues, seq, fd, &err);
    if (status != NRT_SUCCESS)
        api_fail(__func__, status, "%s", err.text);
    run_caller_leave(&caller);
    return status;
}

/* ---- failures ---- */

API_EXPORT NRT_STATUS nrta_error_tracker_create(uint32_t lnc_idx,
                                                nrta_error_tracker_t **error_tracker)
{
    struct queue_tracker *t;
    uint64_t token;

    API_NEED_READY();
    API_NEED(error_tracker, "error_tracker is NULL");
    if (lnc_idx >= api_.vnc_count)
        return api_fail(__func__, NRT_INVALID,
                        "core %" PRIu32 " is not one of the %" PRIu32 " owned", lnc_idx,
                        api_.vnc_count);
    t = queue_tracker_create(lnc_idx);
    if (!t)
        return api_fail(__func__, NRT_RESOURCE, "no host memory for an error tracker");
    token = handle_new(&api_.trackers, api_.session, t);
    if (!token) {
        queue_tracker_unref(t);
        return api_fail(__func__, NRT_RESOURCE, "no room for another error tracker");
    }
    *error_tracker = (nrta_error_tracker_t *)(uintptr_t)token;
    return NRT_SUCCESS;
}

API_EXPORT void nrta_error_tracker_destroy(nrta_error_tracker_t *error_tracker)
{
    struct queue_tracker *t;

    API_CALL();
    if (!error_tracker || !api_ready())
        return;
    t = handle_take(&api_.trackers, token_of(error_tracker));
    if (t)
        queue_tracker_unref(t);
}

API_EXPORT NRT_STATUS nrta_error_tracker_get_list(nrta_error_tracker_t *error_tracker,
                                                  const nrta_error_t **list, size_t *error_count)
{
    const struct queue_error *got;
    struct handle_slot *slot;
    NRT_STATUS status;
    size_t count;

    API_NEED_READY();
    API_NEED(error_tracker && list && error_count, "error_tracker, list or error_count is NULL");
    slot = pin_tracker(error_tracker);
    if (!slot)
        return bad_tracker(__func__);
    status = queue_tracker_list(slot->obj, &got, &count);
    handle_unpin(slot);
    if (status != NRT_SUCCESS)
        return api_fail(__func__, status, "no host memory for a list of failures");
    *list = (const nrta_error_t *)got;
    *error_count = count;
    return NRT_SUCCESS;
}
