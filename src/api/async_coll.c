/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives that the host drives: docs/spec/api.md 5, functions 47 and 48.
 *
 * A context holds what was asked for: it keeps no tensor, so that one that is never scheduled keeps
 * nothing from being freed. The request that is made of it pins the tensors. Meeting the other
 * ranks is left to the request: neither call waits for them. */
#include <inttypes.h>
#include <string.h>

#include "api/async_int.h"

/* One block with its arrays. */
struct cc_job {
    struct coll_driven op;
    uint32_t vnc;
    uint32_t count; /* tensors: inputs, then outputs */
    uint64_t *addr, *tokens;
    struct handle_slot **slots; /* pinned while it is a request */
    uint32_t *attached;         /* how often the storage was replaced, when it was prepared */
    uint32_t *group;
};

/* Behind a handle until it is scheduled. */
struct api_context {
    _Atomic(struct cc_job *) job; /* NULL: some thread is scheduling it */
};

/* ---- arguments ---- */

/* *ret_first: of the job's ranks, as the global communicator counts. */
static NRT_STATUS comm_check(const char *func, const nrt_cc_comm_t *c, uint32_t *ret_first)
{
    struct err err = {0};
    NRT_STATUS status;

    if (c->vnc >= api_.vnc_count)
        return api_fail(func, NRT_INVALID, "core %" PRIu32 " is not one of the %" PRIu32 " owned",
                        c->vnc, api_.vnc_count);
    if (!c->replica_group || c->rank >= c->rank_n)
        return api_fail(func, NRT_INVALID,
                        "replica_group is NULL, or rank %" PRIu32 " is not below rank_n %" PRIu32,
                        c->rank, c->rank_n);
    if (c->ctx_device_id >= c->ctx_device_count)
        return api_fail(func, NRT_INVALID,
                        "ctx_device_id %" PRIu32 " is not below ctx_device_count %" PRIu32,
                        c->ctx_device_id, c->ctx_device_count);
    status = coll_world_drive_check(api_.world, c->vnc, c->ctx_device_id, c->ctx_device_count,
                                    ret_first, &err);
    if (status != NRT_SUCCESS)
        return api_fail(func, status, "%s", err.text);
    if (c->rank_n > c->ctx_device_count || c->replica_group[c->rank] != c->ctx_device_id)
        return api_fail(func, NRT_INVALID,
                        "replica_group has more than ctx_device_count members, or ctx_device_id "
                        "%" PRIu32 " is not its member %" PRIu32,
                        c->ctx_device_id, c->rank);
    for (uint32_t i = 0; i < c->rank_n; i++) {
        uint32_t k = 0;

        while (k < i && c->replica_group[k] != c->replica_group[i])
            k++;
        if (k < i || c->replica_group[i] >= c->ctx_device_count)
            return api_fail(func, NRT_INVALID,
                            "member %" PRIu32 " of replica_group, %" PRIu32
                            ", is there twice or not below ctx_device_count %" PRIu32,
                            i, c->replica_group[i], c->ctx_device_count);
    }
    return NRT_SUCCESS;
}

/* Operation, type and reduction, as the rooms below call them. */
static NRT_STATUS op_check(const char *func, nrt_dtype_t dtype, nrt_op_type_t op,
                           nrt_cc_op_type_t cc_op, struct coll_driven *ret)
{
    static const enum sched_op ops[] = {[NRT_CC_ALLGATHER] = SCHED_ALL_GATHER,
                                        [NRT_CC_ALLREDUCE] = SCHED_ALL_REDUCE,
                                        [NRT_CC_REDUCESCATTER] = SCHED_REDUCE_SCATTER};

    if ((unsigned)cc_op >= sizeof(ops) / sizeof(ops[0]))
        return api_fail(func, NRT_INVALID, "cc_op %d is not an operation", (int)cc_op);
    if ((unsigned)dtype > NRT_DTYPE_FP8_E5 || dtype == NRT_DTYPE_INVALID)
        return api_fail(func, NRT_INVALID, "dtype %d is not a type", (int)dtype);
    ret->op = ops[cc_op];
    ret->dtype = (enum dtype)dtype;
    if (cc_op == NRT_CC_ALLGATHER)
        return NRT_SUCCESS;
    if (op != NRT_OP_ADD && op != NRT_OP_MAX && op != NRT_OP_MIN)
        return api_fail(func, NRT_INVALID, "op %d is not a reduction", (int)op);
    ret->reduce = op == NRT_OP_MAX   ? KERNEL_COMBINE_MAX
                  : op == NRT_OP_MIN ? KERNEL_COMBINE_MIN
                                     : KERNEL_COMBINE_SUM;
    return NRT_SUCCESS;
}

/* One tensor on either side, or on the larger one as many as there are ranks. */
static NRT_STATUS lists_check(const char *func, const nrt_tensor_list_t *in,
                              const nrt_tensor_list_t *out, nrt_cc_op_type_t cc_op, uint32_t n)
{
    bool ins = cc_op == NRT_CC_REDUCESCATTER && in->num_tensors == n;
    bool outs = cc_op == NRT_CC_ALLGATHER && out->num_tensors == n;

    if (!in->tensors || !out->tensors)
        return api_fail(func, NRT_INVALID, "a list of tensors is NULL");
    if ((in->num_tensors != 1 && !ins) || (out->num_tensors != 1 && !outs))
        return api_fail(func, NRT_INVALID,
                        "%zu inputs and %zu outputs: this operation of %" PRIu32
                        " ranks takes one and one%s",
                        in->num_tensors, out->num_tensors, n,
                        cc_op == NRT_CC_ALLGATHER       ? ", or as many outputs as ranks"
                        : cc_op == NRT_CC_REDUCESCATTER ? ", or as many inputs as ranks"
                                                        : "");
    return NRT_SUCCESS;
}

/* ---- tensors ---- */

static bool on_core(const struct tensor *t, uint32_t vnc)
{
    uint32_t core = device_vnc_core(api_.in, api_.first_vnc + vnc);

    return tensor_is_device(t) && tensor_hbm(t) == topo_core_hbm(device_topo(api_.in), core);
}

/* bytes: of the others of its side. */
static NRT_STATUS tensor_check(const char *func, const struct cc_job *j, const struct tensor *t,
                               uint64_t bytes)
{
    const char *name = t->name ? t->name : "", *type = dtype_name(j->op.dtype);
    uint64_t elem = dtype_size(j->op.dtype);
    struct err err = {0};
    NRT_STATUS status;

    if (t->size != bytes)
        return api_fail(func, NRT_INVALID,
                        "tensor \"%s\" has %" PRIu64 " bytes, another one of its list %" PRIu64,
                        name, t->size, bytes);
    if (t->size == 0)
        return NRT_SUCCESS;
    if (!on_core(t, j->vnc))
        return api_fail(func, NRT_INVALID, "tensor \"%s\" is not on the HBM of core %" PRIu32, name,
                        j->vnc);
    if (t->size % elem != 0 || (t->store->mem.addr + t->off) % elem != 0)
        return api_fail(func, NRT_INVALID,
                        "tensor \"%s\", %" PRIu64 " bytes at offset %" PRIu64
                        " of its storage, is no row of %s",
                        name, t->size, t->off, type);
    status = tensor_prepare(t, &err);
    return status == NRT_SUCCESS ? status : api_fail(func, status, "%s", err.text);
}

/* Tensor i of a job. *bytes: of the tensors of its side; UINT64_MAX: it is the first. */
static NRT_STATUS tensor_take(const char *func, struct cc_job *j, uint32_t i, uint64_t *bytes)
{
    struct handle_slot *s = handle_pin(&api_.tensors, j->tokens[i]);
    const struct tensor *t;
    NRT_STATUS status;

    if (!s)
        return api_fail(func, NRT_INVALID_HANDLE, "tensor %" PRIu32 " is none of this session", i);
    t = s->obj;
    if (*bytes == UINT64_MAX)
        *bytes = t->size;
    status = tensor_check(func, j, t, *bytes);
    if (status == NRT_SUCCESS) {
        j->addr[i] = t->size ? t->store->mem.addr + t->off : 0;
        j->attached[i] = t->attached;
    }
    handle_unpin(s);
    return status;
}

/* All of them; and that the sides fit each other (docs/spec/behaviour.md 17). */
static NRT_STATUS tensors_take(const char *func, struct cc_job *j)
{
    struct coll_driven *d = &j->op;
    uint64_t in = UINT64_MAX, out = UINT64_MAX;
    uint64_t in_parts = d->op == SCHED_REDUCE_SCATTER ? d->n / d->in_count : 1;
    uint64_t out_parts = d->op == SCHED_ALL_GATHER ? d->n / d->out_count : 1;
    NRT_STATUS status = NRT_SUCCESS;

    for (uint32_t i = 0; i < j->count && status == NRT_SUCCESS; i++)
        status = tensor_take(func, j, i, i < d->in_count ? &in : &out);
    if (status != NRT_SUCCESS)
        return status;
    if (in % in_parts != 0 || out % out_parts != 0 || in / in_parts != out / out_parts)
        return api_fail(func, NRT_INVALID,
                        "%s of %" PRIu32 " ranks: %" PRIu64 " bytes in and %" PRIu64
                        " out do not fit each other",
                        sched_op_name(d->op), d->n, in, out);
    d->elems = in / in_parts / dtype_size(d->dtype);
    return NRT_SUCCESS;
}

/* ---- contexts ---- */

static struct cc_job *job_make(const nrt_cc_comm_t *c, uint32_t first, const nrt_tensor_list_t *in,
                               const nrt_tensor_list_t *out)
{
    size_t n = in->num_tensors + out->num_tensors;
    struct cc_job *j = mem_zalloc(
        sizeof(*j) +
        n * (sizeof(*j->addr) + sizeof(*j->tokens) + sizeof(*j->slots) + sizeof(*j->attached)) +
        c->rank_n * sizeof(*j->group));

    if (!j)
        return NULL;
    j->addr = (uint64_t *)(j + 1);
    j->tokens = j->addr + n;
    j->slots = (struct handle_slot **)(j->tokens + n);
    j->attached = (uint32_t *)(j->slots + n);
    j->group = j->attached + n;
    j->vnc = c->vnc;
    j->count = (uint32_t)n;
    for (uint32_t i = 0; i < c->rank_n; i++)
        j->group[i] = first + c->replica_group[i];
    for (size_t i = 0; i < n; i++)
        j->tokens[i] =
            token_of(i < in->num_tensors ? in->tensors[i] : out->tensors[i - in->num_tensors]);
    j->op = (struct coll_driven){.group = j->group,
                                 .n = c->rank_n,
                                 .me = c->rank,
                                 .in = j->addr,
                                 .out = j->addr + in->num_tensors,
                                 .in_count = (uint32_t)in->num_tensors,
                                 .out_count = (uint32_t)out->num_tensors};
    return j;
}

static NRT_STATUS context_make(const char *func, struct cc_job *j, nrt_cc_context_t **ret)
{
    struct api_context *ctx = mem_zalloc(sizeof(*ctx));
    uint64_t token = 0;

    if (ctx) {
        atomic_init(&ctx->job, j);
        token = handle_new(&api_.contexts, api_.session, ctx);
    }
    if (!token) {
        mem_free(ctx);
        return api_fail(func, NRT_RESOURCE, "no room for another context");
    }
    *ret = (nrt_cc_context_t *)(uintptr_t)token;
    return NRT_SUCCESS;
}

void api_context_destroy(struct api_context *ctx)
{
    mem_free(atomic_load(&ctx->job));
    mem_free(ctx);
}

static NRT_STATUS prepare(const char *func, const nrt_cc_comm_t *comm, uint32_t first,
                          const nrt_tensor_list_t *in, const nrt_tensor_list_t *out,
                          const struct coll_driven *what, nrt_cc_context_t **ret)
{
    struct cc_job *j = job_make(comm, first, in, out);
    NRT_STATUS status;

    if (!j)
        return api_fail(func, NRT_RESOURCE, "no host memory for a context");
    j->op.op = what->op;
    j->op.dtype = what->dtype;
    j->op.reduce = what->reduce;
    status = tensors_take(func, j);
    if (status == NRT_SUCCESS)
        status = context_make(func, j, ret);
    if (status != NRT_SUCCESS)
        mem_free(j);
    return status;
}

API_EXPORT NRT_STATUS nrta_cc_prepare(nrt_cc_comm_t *comm, nrt_tensor_list_t *input,
                                      nrt_tensor_list_t *output, nrt_dtype_t dtype,
                                      nrt_op_type_t op, nrt_cc_op_type_t cc_op,
                                      nrt_cc_context_t **cc_ctx)
{
    struct coll_driven what = {0};
    struct run_caller caller;
    uint32_t first = 0;
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(comm && input && output && cc_ctx, "comm, a list of tensors or cc_ctx is NULL");
    run_caller_enter(&caller);
    status = comm_check(__func__, comm, &first);
    if (status == NRT_SUCCESS) {
        api_call_core(comm->vnc);
        status = op_check(__func__, dtype, op, cc_op, &what);
    }
    if (status == NRT_SUCCESS)
        status = lists_check(__func__, input, output, cc_op, comm->rank_n);
    if (status == NRT_SUCCESS)
        status = prepare(__func__, comm, first, input, output, &what, cc_ctx);
    run_caller_leave(&caller);
    return status;
}

/* ---- requests ---- */

static void job_unpin(struct cc_job *j, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        handle_unpin(j->slots[i]);
}

/* The tensors are what they were when the context was prepared. */
static NRT_STATUS job_pin(const char *func, struct cc_job *j)
{
    for (uint32_t i = 0; i < j->count; i++) {
        const struct tensor *t;

        j->slots[i] = handle_pin(&api_.tensors, j->tokens[i]);
        if (!j->slots[i]) {
            job_unpin(j, i);
            return api_fail(func, NRT_INVALID_HANDLE, "tensor %" PRIu32 " was freed", i);
        }
        t = j->slots[i]->obj;
        if (t->attached != j->attached[i]) {
            job_unpin(j, i + 1);
            return api_fail(func, NRT_INVALID, "tensor %" PRIu32 " has other storage now", i);
        }
    }
    return NRT_SUCCESS;
}

static NRT_STATUS job_run(void *arg)
{
    struct cc_job *j = *(struct cc_job **)arg;
    struct err err = {0};
    uint64_t traced = 0;
    NRT_STATUS status;

    if (trace_on(&api_.trace))
        api_trace_start(TRACE_cc_exec, j->vnc, NULL, traced = trace_id(&api_.trace));
    status = coll_world_drive(api_.world, j->vnc, &j->op, &err); /* logs */
    if (traced != 0)
        api_trace_stop(TRACE_cc_exec, j->vnc, NULL, traced, (uint64_t)status);
    return status;
}

static void job_drop(void *arg)
{
    struct cc_job *j = *(struct cc_job **)arg;

    job_unpin(j, j->count);
    mem_free(j);
}

static const struct queue_ops cc_ops = {.run = job_run, .drop = job_drop};

static NRT_STATUS job_leave(struct async_to *to, struct cc_job *j, nrta_error_tracker_t *tracker,
                            nrta_seq_t *seq)
{
    NRT_STATUS status;

    api_call_core(j->vnc);
    status = job_pin(to->func, j);
    if (status != NRT_SUCCESS)
        return status;
    to->core = j->vnc;
    status = async_push(to, &cc_ops, &j, sizeof(struct cc_job *), tracker, seq);
    if (status != NRT_SUCCESS)
        job_unpin(j, j->count);
    return status;
}

API_EXPORT NRT_STATUS nrta_cc_schedule(nrt_cc_context_t **cc_ctx, int queue,
                                       nrta_error_tracker_t *err, nrta_seq_t *req_sequence)
{
    struct async_to to = {
        .func = __func__, .kind = QUEUE_COLLECTIVES, .queue = queue, .lasts = true};
    struct handle_slot *slot;
    struct api_context *ctx;
    struct cc_job *j;
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(cc_ctx && *cc_ctx && err && req_sequence,
             "cc_ctx, the context, err or req_sequence is NULL");
    slot = handle_pin(&api_.contexts, token_of(*cc_ctx));
    ctx = slot ? slot->obj : NULL;
    j = ctx ? atomic_exchange(&ctx->job, NULL) : NULL; /* of two threads one gets it */
    if (!j) {
        if (slot)
            handle_unpin(slot);
        return api_fail(__func__, NRT_INVALID_HANDLE, "not a context of this session");
    }
    status = job_leave(&to, j, err, req_sequence);
    if (status != NRT_SUCCESS)
        atomic_store(&ctx->job, j);
    handle_unpin(slot);
    if (status != NRT_SUCCESS)
        return status;
    ctx = handle_take(&api_.contexts, token_of(*cc_ctx));
    if (ctx)
        api_context_destroy(ctx);
    *cc_ctx = NULL;
    return NRT_SUCCESS;
}
