/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors and sets: docs/spec/api.md 4.6 and 4.7. */
#include <string.h>

#include "api/api_int.h"

static struct handle_slot *pin_tensor(const nrt_tensor_t *tensor)
{
    return handle_pin(&api_.tensors, token_of(tensor));
}

static NRT_STATUS bad_tensor(const char *func)
{
    return api_fail(func, NRT_INVALID_HANDLE, "not a tensor of this session");
}

/* For a status from the tensor room. */
static NRT_STATUS finish(const char *func, NRT_STATUS status, const struct err *err)
{
    if (__builtin_expect(status == NRT_SUCCESS, 1))
        return status;
    return api_fail(func, status, "%s", err->text);
}

#define PIN_TENSOR(slot, t, handle, what) \
    struct handle_slot *slot;             \
    struct tensor *t;                     \
    API_NEED(handle, what " is NULL");    \
    slot = pin_tensor(handle);            \
    if (__builtin_expect(!slot, 0))       \
        return bad_tensor(__func__);      \
    t = slot->obj;                        \
    if (trace_on(&api_.trace))            \
    api_call_core_traced(core_of(t))

/* The core whose ring takes events about a tensor: the one it was allocated for. */
static uint32_t core_of(const struct tensor *t)
{
    if (!tensor_is_device(t))
        return TRACE_NO_CORE;
    return t->store->core / device_lnc(api_.in) - api_.first_vnc;
}

/* Seen from outside, and inside that the copy of bytes between host and device memory. */
NRT_STATUS api_move_traced(struct tensor *t, bool in, void *buf, uint64_t off, uint64_t size,
                           struct err *err)
{
    enum trace_type outer = in ? TRACE_tensor_write : TRACE_tensor_read;
    enum trace_type inner = in ? TRACE_dmem_buf_copyin : TRACE_dmem_buf_copyout;
    uint64_t id = trace_id(&api_.trace), copy_id = trace_id(&api_.trace);
    bool device = tensor_is_device(t) && size > 0;
    uint32_t core = core_of(t);
    NRT_STATUS status;

    api_trace_start(outer, core, NULL, id);
    if (device)
        api_trace_start(inner, core, NULL, copy_id);
    status = in ? tensor_write(t, buf, off, size, err) : tensor_read(t, buf, off, size, err);
    if (device)
        api_trace_stop(inner, core, NULL, copy_id, status == NRT_SUCCESS ? size : 0);
    api_trace_stop(outer, core, NULL, id, status == NRT_SUCCESS ? size : 0);
    return status;
}

/* In the implicit mode: until no queued execution uses the tensor. A failure is logged. */
static NRT_STATUS wait_idle(const char *func, struct tensor *t)
{
    struct run_caller caller;

    if (__builtin_expect(api_.inflight == 0, 1) || !tensor_is_queued(t))
        return NRT_SUCCESS;
    if (!api_may_wait())
        return api_fail(func, NRT_INVALID, "a callback must not wait for a tensor in use");
    run_caller_enter(&caller);
    tensor_wait_idle(t);
    run_caller_leave(&caller);
    return NRT_SUCCESS;
}

/* ---- making and freeing ---- */

static NRT_STATUS publish(const char *func, struct tensor *t, nrt_tensor_t **ret)
{
    uint64_t token = handle_new(&api_.tensors, api_.session, t);

    if (!token) {
        tensor_destroy(t);
        return api_fail(func, NRT_RESOURCE, "no room for another tensor");
    }
    *ret = (nrt_tensor_t *)(uintptr_t)token;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_tensor_allocate(nrt_tensor_placement_t tensor_placement, int vnc,
                                          size_t size, const char *name, nrt_tensor_t **tensor)
{
    struct run_caller caller;
    struct err err = {0};
    struct tensor *t = NULL;
    bool logged = false;
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(tensor, "tensor is NULL");
    run_caller_enter(&caller);
    switch (tensor_placement) {
    case NRT_TENSOR_PLACEMENT_DEVICE:
        if (vnc < 0 || (uint32_t)vnc >= api_.vnc_count)
            status = err_set(&err, NRT_INVALID, "core %d is not one of the %u owned", vnc,
                             api_.vnc_count);
        else
            status = tensor_create_device(api_.in,
                                          device_vnc_core(api_.in, api_.first_vnc + (uint32_t)vnc),
                                          size, name, &t, &logged, &err);
        break;
    case NRT_TENSOR_PLACEMENT_HOST:
        status = tensor_create_host(api_.in, TENSOR_HOST, size, name, &t, &err);
        break;
    case NRT_TENSOR_PLACEMENT_VIRTUAL:
        status = tensor_create_host(api_.in, TENSOR_VIRTUAL, size, name, &t, &err);
        break;
    default:
        status = err_set(&err, NRT_INVALID, "%d is not a placement", (int)tensor_placement);
        break;
    }
    if (status == NRT_SUCCESS)
        status = publish(__func__, t, tensor);
    else if (!logged)
        status = finish(__func__, status, &err);
    run_caller_leave(&caller);
    return status;
}

API_EXPORT NRT_STATUS nrt_tensor_allocate_empty(const char *name, nrt_tensor_t **tensor)
{
    struct err err = {0};
    struct tensor *t;
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(tensor, "tensor is NULL");
    status = tensor_create_empty(name, &t, &err);
    if (status != NRT_SUCCESS)
        return finish(__func__, status, &err);
    return publish(__func__, t, tensor);
}

API_EXPORT NRT_STATUS nrt_tensor_allocate_slice(const nrt_tensor_t *tensor_source, size_t offset,
                                                size_t size, const char *name,
                                                nrt_tensor_t **tensor_slice)
{
    struct err err = {0};
    struct tensor *ret;
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(tensor_slice, "tensor_slice is NULL");
    PIN_TENSOR(slot, t, tensor_source, "tensor_source");
    status = tensor_create_slice(t, offset, size, name, &ret, &err);
    handle_unpin(slot);
    if (status != NRT_SUCCESS)
        return finish(__func__, status, &err);
    return publish(__func__, ret, tensor_slice);
}

API_EXPORT void nrt_tensor_free(nrt_tensor_t **tensor)
{
    struct run_caller caller;

    API_CALL();
    if (!tensor || !*tensor)
        return;
    if (api_ready()) {
        bool busy = false;

        run_caller_enter(&caller);
        tensor_destroy(api_may_wait() ? handle_take(&api_.tensors, token_of(*tensor))
                                      : handle_take_now(&api_.tensors, token_of(*tensor), &busy));
        if (busy)
            api_fail(__func__, NRT_INVALID, "a callback must not wait for a tensor in use");
        run_caller_leave(&caller);
        if (busy)
            return;
    }
    *tensor = NULL;
}

API_EXPORT NRT_STATUS nrt_tensor_attach_buffer(nrt_tensor_t *tensor, void *buffer, size_t size)
{
    struct run_caller caller;
    struct err err = {0};
    struct handle_slot *slot;
    bool busy = false;
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(tensor, "tensor is NULL");
    run_caller_enter(&caller);
    slot = api_may_wait() ? handle_lock(&api_.tensors, token_of(tensor))
                          : handle_lock_now(&api_.tensors, token_of(tensor), &busy);
    if (busy) {
        status = api_fail(__func__, NRT_INVALID, "a callback must not wait for a tensor in use");
    } else if (slot) {
        status = tensor_attach(slot->obj, buffer, size, &err);
        handle_unlock(slot);
        status = finish(__func__, status, &err);
    } else {
        status = bad_tensor(__func__);
    }
    run_caller_leave(&caller);
    return status;
}

/* ---- transfers ---- */

API_EXPORT NRT_STATUS nrt_tensor_read(const nrt_tensor_t *tensor, void *buf, size_t offset,
                                      size_t size)
{
    struct err err;
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(buf || size == 0, "buf is NULL");
    PIN_TENSOR(slot, t, tensor, "tensor");
    err.status = NRT_SUCCESS;
    err.text[0] = '\0';
    status = wait_idle(__func__, t);
    if (status == NRT_SUCCESS)
        status = finish(__func__, api_move_out(t, buf, offset, size, &err), &err);
    handle_unpin(slot);
    return status;
}

API_EXPORT NRT_STATUS nrt_tensor_write(nrt_tensor_t *tensor, const void *buf, size_t offset,
                                       size_t size)
{
    struct err err;
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(buf || size == 0, "buf is NULL");
    PIN_TENSOR(slot, t, tensor, "tensor");
    err.status = NRT_SUCCESS;
    err.text[0] = '\0';
    status = wait_idle(__func__, t);
    if (status == NRT_SUCCESS)
        status = finish(__func__, api_move_in(t, buf, offset, size, &err), &err);
    handle_unpin(slot);
    return status;
}

API_EXPORT NRT_STATUS nrt_tensor_memset(nrt_tensor_t *tensor, uint64_t offset, int value,
                                        size_t size)
{
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    PIN_TENSOR(slot, t, tensor, "tensor");
    status = wait_idle(__func__, t);
    if (status == NRT_SUCCESS)
        status = finish(__func__, tensor_memset(t, offset, value, size, &err), &err);
    handle_unpin(slot);
    return status;
}

API_EXPORT NRT_STATUS nrt_tensor_copy(const nrt_tensor_t *src, size_t src_offset, nrt_tensor_t *dst,
                                      size_t dst_offset, size_t size)
{
    struct handle_slot *from, *to;
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(src && dst, "src or dst is NULL");
    from = pin_tensor(src);
    if (!from)
        return bad_tensor(__func__);
    to = pin_tensor(dst);
    if (!to) {
        handle_unpin(from);
        return bad_tensor(__func__);
    }
    status = wait_idle(__func__, from->obj);
    if (status == NRT_SUCCESS)
        status = wait_idle(__func__, to->obj);
    if (status == NRT_SUCCESS)
        status = finish(__func__,
                        tensor_copy(from->obj, src_offset, to->obj, dst_offset, size, &err), &err);
    handle_unpin(to);
    handle_unpin(from);
    return status;
}

/* What a pass over a batch does. */
enum pass { PASS_CHECK, PASS_READ, PASS_WRITE };

static NRT_STATUS batch_pass(const nrt_tensor_batch_t *b, enum pass pass, struct err *err)
{
    struct handle_slot *slot;
    struct tensor *t;
    NRT_STATUS status = NRT_SUCCESS;

    if (!b->tensor)
        return err_set(err, NRT_INVALID, "a batch has no tensor");
    if (!b->ops && b->num_ops)
        return err_set(err, NRT_INVALID, "a batch has %u operations at NULL", b->num_ops);
    slot = pin_tensor(b->tensor);
    if (!slot)
        return err_set(err, NRT_INVALID_HANDLE, "a batch's tensor is not one of this session");
    t = slot->obj;
    for (uint32_t i = 0; i < b->num_ops && status == NRT_SUCCESS; i++) {
        const nrt_tensor_batch_op_t *op = &b->ops[i];

        if (pass == PASS_CHECK)
            status = tensor_check_range(t, op->offset, op->size, op->buffer, err);
        else if (pass == PASS_WRITE)
            status = api_move_in(t, op->buffer, op->offset, op->size, err);
        else
            status = api_move_out(t, op->buffer, op->offset, op->size, err);
    }
    handle_unpin(slot);
    return status;
}

/* The tensor of a batch that has been checked. */
static NRT_STATUS batch_wait(const char *func, const nrt_tensor_batch_t *b)
{
    struct handle_slot *slot = pin_tensor(b->tensor);
    NRT_STATUS status;

    if (!slot)
        return bad_tensor(func);
    status = wait_idle(func, slot->obj);
    handle_unpin(slot);
    return status;
}

static NRT_STATUS batch(const char *func, const nrt_tensor_batch_t *batches, uint64_t num_batches,
                        enum pass move, bool unsafe)
{
    struct err err = {0};
    NRT_STATUS status = NRT_SUCCESS;

    if (num_batches == 0)
        return NRT_SUCCESS;
    if (!batches)
        return api_fail(func, NRT_INVALID, "batches is NULL");
    for (uint64_t i = 0; i < num_batches && status == NRT_SUCCESS; i++)
        status = batch_pass(&batches[i], PASS_CHECK, &err);
    if (status != NRT_SUCCESS)
        return finish(func, status, &err);
    for (uint64_t i = 0; !unsafe && i < num_batches && status == NRT_SUCCESS; i++)
        status = batch_wait(func, &batches[i]);
    if (status != NRT_SUCCESS)
        return status;
    for (uint64_t i = 0; i < num_batches && status == NRT_SUCCESS; i++)
        status = batch_pass(&batches[i], move, &err);
    return finish(func, status, &err);
}

API_EXPORT NRT_STATUS nrt_tensor_read_batch(const nrt_tensor_batch_t *batches, uint64_t num_batches,
                                            bool unsafe)
{
    API_NEED_READY();
    return batch(__func__, batches, num_batches, PASS_READ, unsafe);
}

API_EXPORT NRT_STATUS nrt_tensor_write_batch(const nrt_tensor_batch_t *batches,
                                             uint64_t num_batches, bool unsafe)
{
    API_NEED_READY();
    return batch(__func__, batches, num_batches, PASS_WRITE, unsafe);
}

/* ---- facts ---- */

API_EXPORT size_t nrt_tensor_get_size(const nrt_tensor_t *tensor)
{
    struct handle_slot *slot;
    size_t size;

    API_CALL();
    slot = api_ready() && tensor ? pin_tensor(tensor) : NULL;
    if (!slot)
        return 0;
    size = ((struct tensor *)slot->obj)->size;
    handle_unpin(slot);
    return size;
}

API_EXPORT void *nrt_tensor_get_va(const nrt_tensor_t *tensor)
{
    struct handle_slot *slot;
    struct err err = {0};
    struct tensor *t;
    NRT_STATUS status;
    void *va;

    API_CALL();
    if (!api_ready()) {
        api_refuse(__func__);
        return NULL;
    }
    slot = tensor ? pin_tensor(tensor) : NULL;
    if (!slot) {
        api_fail(__func__, NRT_INVALID_HANDLE, "not a tensor of this session");
        return NULL;
    }
    t = slot->obj;
    status = tensor_prepare(t, &err);
    va = t->va;
    handle_unpin(slot);
    if (status != NRT_SUCCESS) {
        api_fail(__func__, status, "%s", err.text);
        return NULL;
    }
    return va;
}

API_EXPORT NRT_STATUS nrt_tensor_get_device_allocation_info(
    const nrt_tensor_t *tensor, nrt_tensor_device_allocation_info_t *alloc_info)
{
    nrt_tensor_device_allocation_info_t v = {0};
    bool device;

    API_NEED_READY();
    API_NEED(alloc_info, "alloc_info is NULL");
    PIN_TENSOR(slot, t, tensor, "tensor");
    device = tensor_is_device(t);
    if (device) {
        v.physical_address = t->store->mem.addr + t->off;
        v.size = t->store->mem.size - t->off;
        v.hbm_index = (int)(tensor_hbm(t) % device_topo(api_.in)->hbms_per_device);
    }
    handle_unpin(slot);
    if (!device)
        return api_fail(__func__, NRT_INVALID, "not a device tensor");
    *alloc_info = v;
    return NRT_SUCCESS;
}

/* ---- completions ---- */

struct wait_arg {
    struct handle_slot *slot;
    uint64_t token;
    uint64_t count;
};

static void wait_warn(void *arg)
{
    struct wait_arg *w = arg;

    LOGW(api_.log, LOG_NRT, "nrt_tensor_check_output_completion",
         "waiting without a limit for completion %llu of an output tensor since 30 seconds",
         (unsigned long long)w->count);
}

static bool wait_live(void *arg)
{
    struct wait_arg *w = arg;

    return handle_live(w->slot, w->token);
}

API_EXPORT NRT_STATUS nrt_tensor_check_output_completion(const nrt_tensor_t *output_tensor,
                                                         int64_t timeout,
                                                         uint64_t expected_completion_count)
{
    struct tensor_wait_ops ops = {.warn = wait_warn, .live = wait_live};
    struct run_caller caller;
    struct wait_arg arg;
    NRT_STATUS status;

    API_NEED_READY();
    PIN_TENSOR(slot, t, output_tensor, "output_tensor");
    arg = (struct wait_arg){
        .slot = slot, .token = token_of(output_tensor), .count = expected_completion_count};
    ops.arg = &arg;
    run_caller_enter(&caller);
    status = tensor_wait(t, api_may_wait() ? timeout : 0, expected_completion_count, &ops);
    run_caller_leave(&caller);
    handle_unpin(slot);
    if (status == NRT_TIMEOUT && timeout != 0 && !api_may_wait())
        return api_fail(__func__, NRT_INVALID, "a callback must not wait for an execution");
    if (status == NRT_TIMEOUT && timeout != 0)
        return api_fail(__func__, status, "completion %llu was not reached in %lld microseconds",
                        (unsigned long long)expected_completion_count, (long long)timeout);
    if (status == NRT_INVALID_HANDLE)
        return api_fail(__func__, status, "the tensor was freed");
    return status;
}

API_EXPORT NRT_STATUS nrt_tensor_reset_output_completion(nrt_tensor_t *output_tensor)
{
    API_NEED_READY();
    PIN_TENSOR(slot, t, output_tensor, "output_tensor");
    tensor_reset(t);
    handle_unpin(slot);
    return NRT_SUCCESS;
}

/* ---- sets ---- */

static NRT_STATUS bad_set(const char *func)
{
    return api_fail(func, NRT_INVALID_HANDLE, "not a tensor set of this session");
}

API_EXPORT NRT_STATUS nrt_allocate_tensor_set(nrt_tensor_set_t **result)
{
    struct err err = {0};
    struct tensor_set *s;
    uint64_t token;
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(result, "result is NULL");
    status = tensor_set_create(&s, &err);
    if (status != NRT_SUCCESS)
        return finish(__func__, status, &err);
    token = handle_new(&api_.sets, api_.session, s);
    if (!token) {
        tensor_set_destroy(s);
        return api_fail(__func__, NRT_RESOURCE, "no room for another tensor set");
    }
    *result = (nrt_tensor_set_t *)(uintptr_t)token;
    return NRT_SUCCESS;
}

API_EXPORT void nrt_destroy_tensor_set(nrt_tensor_set_t **tensor_set)
{
    API_CALL();
    if (!tensor_set || !*tensor_set)
        return;
    if (api_ready())
        tensor_set_destroy(handle_take(&api_.sets, token_of(*tensor_set)));
    *tensor_set = NULL;
}

/* The one way to change a set: its slot, which is locked, gets the version for handle_is. */
static NRT_STATUS set_put(struct handle_slot *slot, const char *name, uint64_t tensor,
                          struct err *err)
{
    struct tensor_set *set = slot->obj;
    NRT_STATUS status = tensor_set_put(set, name, tensor, err);

    atomic_store_explicit(&slot->version, set->version, memory_order_release);
    return status;
}

API_EXPORT NRT_STATUS nrt_add_tensor_to_tensor_set(nrt_tensor_set_t *tensor_set,
                                                   const char *tensor_name, nrt_tensor_t *tensor)
{
    struct handle_slot *set;
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(tensor_set && tensor_name, "tensor_set or tensor_name is NULL");
    PIN_TENSOR(slot, t, tensor, "tensor");
    (void)t;
    set = handle_lock(&api_.sets, token_of(tensor_set));
    if (!set) {
        handle_unpin(slot);
        return bad_set(__func__);
    }
    status = set_put(set, tensor_name, token_of(tensor), &err);
    handle_unlock(set);
    handle_unpin(slot);
    return finish(__func__, status, &err);
}

API_EXPORT NRT_STATUS nrt_get_tensor_from_tensor_set(nrt_tensor_set_t *tensor_set,
                                                     const char *tensor_name, nrt_tensor_t **tensor)
{
    struct handle_slot *set;
    uint64_t token;
    bool found;

    API_NEED_READY();
    API_NEED(tensor_set && tensor_name && tensor, "tensor_set, tensor_name or tensor is NULL");
    set = handle_pin(&api_.sets, token_of(tensor_set));
    if (!set)
        return bad_set(__func__);
    found = tensor_set_get(set->obj, tensor_name, &token);
    handle_unpin(set);
    if (!found)
        return api_fail(__func__, NRT_FAILURE, "no tensor \"%s\" in the set", tensor_name);
    *tensor = (nrt_tensor_t *)(uintptr_t)token;
    return NRT_SUCCESS;
}
