/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on tensors: docs/spec/api.md 5, functions 43 to 45. A request pins its tensors, so that
 * freeing one waits for it. */
#include "api/async_int.h"

struct move {
    struct handle_slot *slot[2]; /* pinned; the second one of a copy, else NULL */
    void *buf;
    uint64_t off[2], size;
};
static_assert(sizeof(struct move) <= QUEUE_ARG, "a request holds it");

static void move_drop(void *arg)
{
    struct move *m = arg;

    handle_unpin(m->slot[0]);
    if (m->slot[1])
        handle_unpin(m->slot[1]);
}

static NRT_STATUS move_end(const char *func, NRT_STATUS status, const struct err *err)
{
    return __builtin_expect(status == NRT_SUCCESS, 1) ? status
                                                      : api_fail(func, status, "%s", err->text);
}

static void err_none(struct err *err)
{
    err->status = NRT_SUCCESS;
    err->text[0] = '\0';
}

static NRT_STATUS write_run(void *arg)
{
    struct move *m = arg;
    struct err err;

    err_none(&err);
    return move_end("nrta_tensor_write",
                    api_move_in(m->slot[0]->obj, m->buf, m->off[0], m->size, &err), &err);
}

static NRT_STATUS read_run(void *arg)
{
    struct move *m = arg;
    struct err err;

    err_none(&err);
    return move_end("nrta_tensor_read",
                    api_move_out(m->slot[0]->obj, m->buf, m->off[0], m->size, &err), &err);
}

static NRT_STATUS copy_run(void *arg)
{
    struct move *m = arg;
    struct err err;

    err_none(&err);
    return move_end(
        "nrta_tensor_copy",
        tensor_copy(m->slot[0]->obj, m->off[0], m->slot[1]->obj, m->off[1], m->size, &err), &err);
}

static const struct queue_ops write_ops = {.run = write_run, .drop = move_drop};
static const struct queue_ops read_ops = {.run = read_run, .drop = move_drop};
static const struct queue_ops copy_ops = {.run = copy_run, .drop = move_drop};

/* Gives back what m holds unless it is scheduled. */
static NRT_STATUS schedule(struct async_to *to, const struct queue_ops *ops, struct move *m,
                           nrta_error_tracker_t *tracker, nrta_seq_t *seq)
{
    NRT_STATUS status;

    to->lasts = m->size > ASYNC_SHORT;
    to->copies = m->size <= ASYNC_LONG;
    status = async_push(to, ops, m, sizeof(*m), tracker, seq);
    if (__builtin_expect(status != NRT_SUCCESS, 0))
        move_drop(m);
    return status;
}

/* Between the tensor and buf. */
static NRT_STATUS schedule_move(struct async_to *to, const struct queue_ops *ops,
                                const nrt_tensor_t *tensor, struct move *m,
                                nrta_error_tracker_t *tracker, nrta_seq_t *seq)
{
    struct err err;
    NRT_STATUS status;

    if (!api_ready())
        return api_refuse(to->func);
    if (!tensor || !tracker || !seq || (!m->buf && m->size))
        return api_fail(to->func, NRT_INVALID, "tensor, buf, err or req_sequence is NULL");
    m->slot[0] = handle_pin(&api_.tensors, token_of(tensor));
    if (!m->slot[0])
        return api_fail(to->func, NRT_INVALID_HANDLE, "not a tensor of this session");
    err_none(&err);
    status = tensor_check_range(m->slot[0]->obj, m->off[0], m->size, m->buf, &err);
    if (status != NRT_SUCCESS) {
        handle_unpin(m->slot[0]);
        return api_fail(to->func, status, "%s", err.text);
    }
    async_tensor_core(m->slot[0]->obj, &to->core);
    return schedule(to, ops, m, tracker, seq);
}

API_EXPORT NRT_STATUS nrta_tensor_write(nrt_tensor_t *tensor, const void *buf, uint64_t offset,
                                        uint64_t size, int queue, nrta_error_tracker_t *err,
                                        nrta_seq_t *req_sequence)
{
    struct async_to to = {.func = __func__, .kind = QUEUE_TENSOR_WRITE, .queue = queue};
    struct move m = {.buf = (void *)(uintptr_t)buf, .off = {offset}, .size = size};

    return schedule_move(&to, &write_ops, tensor, &m, err, req_sequence);
}

API_EXPORT NRT_STATUS nrta_tensor_read(void *buf, nrt_tensor_t *tensor, uint64_t offset,
                                       uint64_t size, int queue, nrta_error_tracker_t *err,
                                       nrta_seq_t *req_sequence)
{
    struct async_to to = {.func = __func__, .kind = QUEUE_TENSOR_READ, .queue = queue};
    struct move m = {.buf = buf, .off = {offset}, .size = size};

    return schedule_move(&to, &read_ops, tensor, &m, err, req_sequence);
}

/* Both tensors are pinned. */
static NRT_STATUS copy_check(struct async_to *to, const struct move *m)
{
    const struct tensor *src = m->slot[0]->obj, *dst = m->slot[1]->obj;
    uint32_t from, into;
    bool from_device = async_tensor_core(src, &from), into_device = async_tensor_core(dst, &into);
    struct err err;
    NRT_STATUS status;

    err_none(&err);
    status = tensor_check_range(src, m->off[0], m->size, src, &err);
    if (status == NRT_SUCCESS)
        status = tensor_check_range(dst, m->off[1], m->size, dst, &err);
    if (status != NRT_SUCCESS)
        return api_fail(to->func, status, "%s", err.text);
    if (from_device && into_device && from != into)
        return api_fail(to->func, NRT_INVALID,
                        "the tensors were allocated on different logical cores, %u and %u", from,
                        into);
    if (from_device)
        to->core = from;
    else if (into_device)
        to->core = into;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrta_tensor_copy(nrt_tensor_t *src, uint64_t src_offset, nrt_tensor_t *dst,
                                       uint64_t dst_offset, uint64_t size, int queue,
                                       nrta_error_tracker_t *err, nrta_seq_t *req_sequence)
{
    struct async_to to = {.func = __func__, .kind = QUEUE_TENSOR_OP, .queue = queue};
    struct move m = {.off = {src_offset, dst_offset}, .size = size};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(src && dst && err && req_sequence, "src, dst, err or req_sequence is NULL");
    m.slot[0] = handle_pin(&api_.tensors, token_of(src));
    m.slot[1] = handle_pin(&api_.tensors, token_of(dst));
    if (!m.slot[0] || !m.slot[1])
        status = api_fail(__func__, NRT_INVALID_HANDLE, "not a tensor of this session");
    else
        status = copy_check(&to, &m);
    if (status == NRT_SUCCESS)
        return schedule(&to, &copy_ops, &m, err, req_sequence);
    for (unsigned i = 0; i < 2; i++)
        if (m.slot[i])
            handle_unpin(m.slot[i]);
    return status;
}
