/* SPDX-License-Identifier: Apache-2.0 */
/* nrt_execute: from sets of handles to memory, and down to the model.
 *
 * A binding is what looking up a pair of sets for a model gave. It is kept with the model and used
 * again while it still describes the sets: the sets' tokens and versions (nrt_add_tensor_... counts
 * a set's version up), the tensors' tokens (freeing one ends its token) and how often their storage
 * was replaced (nrt_tensor_attach_buffer). It holds no reference on anything; the tensors are
 * pinned while an execution uses their memory. */
#include <string.h>

#include "api/api_int.h"

/* Synchronization: busy is taken by exchange; the other fields belong to who took it, except that
 * the key is peeked at before. */
struct binding {
    _Atomic uint32_t busy;
    _Atomic uint64_t in_token, out_token; /* 0: nothing bound */
    uint64_t in_version, out_version;
    uint64_t serial;
    uint32_t instance;
    uint32_t in_count, out_count;
    struct model_arg *args;     /* inputs, then outputs */
    uint64_t *tensors;          /* their tokens */
    uint32_t *attached;         /* their tensor.attached */
    struct handle_slot **slots; /* their pins during an execution */
};

static _Atomic uint64_t serial_;

struct binding *api_bindings_create(void)
{
    return mem_calloc(API_BINDINGS, sizeof(struct binding));
}

static void binding_fini(struct binding *b)
{
    mem_free(b->args);
    mem_free(b->tensors);
    mem_free(b->attached);
    mem_free(b->slots);
    b->args = NULL;
    b->tensors = NULL;
    b->attached = NULL;
    b->slots = NULL;
}

void api_bindings_destroy(struct binding *b)
{
    for (int i = 0; b && i < API_BINDINGS; i++)
        binding_fini(&b[i]);
    mem_free(b);
}

/* ---- finding a binding ---- */

static bool binding_take(struct binding *b)
{
    return atomic_exchange_explicit(&b->busy, 1, memory_order_acquire) == 0;
}

static void binding_give(struct binding *b)
{
    atomic_store_explicit(&b->busy, 0, memory_order_release);
}

static bool binding_is(const struct binding *b, uint64_t in, uint64_t out)
{
    return atomic_load_explicit(&b->in_token, memory_order_relaxed) == in &&
           atomic_load_explicit(&b->out_token, memory_order_relaxed) == out;
}

/* The binding of this pair of sets if there is one, else one to fill; taken. NULL: all are in use.
 */
static struct binding *binding_find(struct api_model *am, uint64_t in, uint64_t out)
{
    uint32_t last = atomic_load_explicit(&am->last, memory_order_relaxed);

    for (uint32_t i = 0; i < API_BINDINGS; i++) {
        uint32_t at = (last + i) % API_BINDINGS;
        struct binding *b = &am->bindings[at];

        if (!binding_is(b, in, out) || !binding_take(b))
            continue;
        if (binding_is(b, in, out)) {
            if (i)
                atomic_store_explicit(&am->last, at, memory_order_relaxed);
            return b;
        }
        binding_give(b);
    }
    for (uint32_t i = 1; i <= API_BINDINGS; i++) {
        uint32_t at = (last + i) % API_BINDINGS;

        if (binding_take(&am->bindings[at])) {
            atomic_store_explicit(&am->last, at, memory_order_relaxed);
            atomic_store_explicit(&am->bindings[at].in_token, 0, memory_order_relaxed);
            return &am->bindings[at];
        }
    }
    return NULL;
}

/* ---- making one ---- */

static bool binding_room(struct binding *b, uint32_t in_count, uint32_t out_count)
{
    uint32_t n = in_count + out_count;

    if (!b->slots) { /* the last of the four: a failure in between starts again */
        binding_fini(b);
        b->args = mem_calloc(n, sizeof(*b->args));
        b->tensors = mem_calloc(n, sizeof(*b->tensors));
        b->attached = mem_calloc(n, sizeof(*b->attached));
        b->slots = mem_calloc(n, sizeof(*b->slots));
    }
    b->in_count = in_count;
    b->out_count = out_count;
    return b->args && b->tensors && b->attached && b->slots;
}

static void unpin_args(struct binding *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        handle_unpin(b->slots[i]);
}

/* Pin the tensors of a finished binding; false when one of them changed since. */
static bool pin_args(struct binding *b)
{
    uint32_t n = b->in_count + b->out_count;

    for (uint32_t i = 0; i < n; i++) {
        struct handle_slot *s = handle_pin(&api_.tensors, b->tensors[i]);

        if (!s) {
            unpin_args(b, i);
            return false;
        }
        b->slots[i] = s;
        if (((struct tensor *)s->obj)->attached != b->attached[i]) {
            unpin_args(b, i + 1);
            return false;
        }
    }
    return true;
}

/* The replica whose turn it is, or the next one on whose HBM the device tensors lie. */
static NRT_STATUS choose_instance(struct api_model *am, struct binding *b, struct err *err)
{
    uint32_t count = model_instance_count(am->m), n = b->in_count + b->out_count;
    uint32_t turn = count > 1 ? atomic_fetch_add(&am->turn, 1) % count : 0;

    for (uint32_t k = 0; k < count; k++) {
        uint32_t at = (turn + k) % count, hbm = model_hbm(am->m, at);
        const struct tensor *wrong = NULL;
        bool is_input = false;

        for (uint32_t i = 0; i < n && !wrong; i++) {
            const struct tensor *t = b->slots[i]->obj;

            if (tensor_is_device(t) && tensor_hbm(t) != hbm) {
                wrong = t;
                is_input = i < b->in_count;
            }
        }
        if (!wrong) {
            b->instance = at;
            return NRT_SUCCESS;
        }
        if (k + 1 == count)
            return err_set(err, NRT_EXEC_BAD_INPUT,
                           "%s tensor \"%s\" is on HBM %u, core %u of model %s needs HBM %u",
                           is_input ? "input" : "output", wrong->name ? wrong->name : "",
                           tensor_hbm(wrong), model_vnc(am->m, at), model_name(am->m), hbm);
    }
    return NRT_SUCCESS;
}

static NRT_STATUS bind_one(struct binding *b, uint32_t at, const struct tensor_set *set,
                           const struct model_tensor *mt, const char *kind, struct err *err)
{
    struct handle_slot *s;
    struct tensor *t;
    NRT_STATUS status;

    if (!tensor_set_get(set, mt->name, &b->tensors[at]))
        return err_set(err, NRT_EXEC_BAD_INPUT, "no %s tensor \"%s\" in the set", kind, mt->name);
    s = handle_pin(&api_.tensors, b->tensors[at]);
    if (!s)
        return err_set(err, NRT_EXEC_BAD_INPUT, "%s tensor \"%s\" was freed", kind, mt->name);
    t = s->obj;
    if (t->size < mt->size) {
        status = err_set(err, NRT_EXEC_BAD_INPUT,
                         "%s tensor \"%s\" has %llu bytes, the model needs %llu", kind, mt->name,
                         (unsigned long long)t->size, (unsigned long long)mt->size);
        goto out_unpin;
    }
    status = tensor_prepare(t, err);
    if (status != NRT_SUCCESS)
        goto out_unpin;

    b->slots[at] = s;
    b->attached[at] = t->attached;
    b->args[at] = (struct model_arg){.va = t->va, .size = t->size};
    if (tensor_is_device(t)) {
        b->args[at].device = true;
        b->args[at].addr = t->store->mem.addr + t->off;
    }
    return NRT_SUCCESS;

out_unpin:
    handle_unpin(s);
    return status;
}

/* Fill a taken binding; on success its tensors are pinned. */
static NRT_STATUS binding_make(struct api_model *am, struct binding *b, const struct tensor_set *in,
                               const struct tensor_set *out, struct err *err)
{
    uint32_t n_in = model_input_count(am->m), n_out = model_output_count(am->m), at = 0;
    NRT_STATUS status = NRT_SUCCESS;

    if (!binding_room(b, n_in, n_out))
        return err_set(err, NRT_RESOURCE, "no host memory to bind %u tensors", n_in + n_out);
    for (; at < n_in + n_out && status == NRT_SUCCESS; at++)
        status = at < n_in ? bind_one(b, at, in, model_input(am->m, at), "input", err)
                           : bind_one(b, at, out, model_output(am->m, at - n_in), "output", err);
    if (status != NRT_SUCCESS) {
        unpin_args(b, at - 1);
        return status;
    }
    status = choose_instance(am, b, err);
    if (status != NRT_SUCCESS)
        unpin_args(b, at);
    b->serial = atomic_fetch_add(&serial_, 1) + 1;
    return status;
}

/* ---- the call ---- */

static void count_completions(struct binding *b, int repeat)
{
    for (uint32_t i = b->in_count; i < b->in_count + b->out_count; i++)
        for (int k = 0; k < repeat; k++)
            tensor_complete(b->slots[i]->obj);
}

static NRT_STATUS run_bound(struct api_model *am, struct binding *b, int repeat, struct err *err)
{
    struct model_call call = {
        .serial = b->serial, .in = b->args, .out = b->args + b->in_count, .repeat = repeat};
    NRT_STATUS status = model_execute(am->m, b->instance, &call, err);

    if (__builtin_expect(status == NRT_SUCCESS, 1) || status == NRT_EXEC_COMPLETED_WITH_NUM_ERR)
        count_completions(b, repeat);
    if (__builtin_expect(status != NRT_SUCCESS, 0) && status == api_.dump_inputs_on)
        api_dump_inputs(am->m, call.in);
    return status;
}

static void count_refused(struct api_model *am, NRT_STATUS status)
{
    uint32_t core = device_vnc_core(api_.in, api_.first_vnc + model_vnc(am->m, 0));

    device_counter_add(api_.in, core, device_status_counter(status), 1);
}

/* *ret_instance: where it ran. */
static NRT_STATUS run_sets(struct api_model *am, uint64_t in_token, uint64_t out_token,
                           const struct tensor_set *in, const struct tensor_set *out, int repeat,
                           uint32_t *ret_instance, struct err *err)
{
    struct binding *b = binding_find(am, in_token, out_token), own = {0};
    bool fresh = true;
    NRT_STATUS status = NRT_SUCCESS;

    if (__builtin_expect(!b, 0))
        b = &own; /* more threads than bindings */
    else if (__builtin_expect(binding_is(b, in_token, out_token), 1) &&
             b->in_version == in->version && b->out_version == out->version && pin_args(b))
        fresh = false;

    if (fresh) {
        atomic_store_explicit(&b->in_token, 0, memory_order_relaxed);
        status = binding_make(am, b, in, out, err);
        if (status != NRT_SUCCESS) {
            api_fail("nrt_execute_repeat", status, "%s", err->text);
            count_refused(am, status);
            goto out_give;
        }
        b->in_version = in->version;
        b->out_version = out->version;
        atomic_store_explicit(&b->out_token, out_token, memory_order_relaxed);
        atomic_store_explicit(&b->in_token, in_token, memory_order_relaxed);
    } else if (model_instance_count(am->m) > 1) {
        status = choose_instance(am, b, err); /* the same tensors suited one before */
    }
    *ret_instance = b->instance;
    if (status == NRT_SUCCESS)
        status = run_bound(am, b, repeat, err);
    unpin_args(b, b->in_count + b->out_count);

out_give:
    if (b == &own)
        binding_fini(&own);
    else
        binding_give(b);
    return status;
}

static NRT_STATUS execute(const char *func, nrt_model_t *model, const nrt_tensor_set_t *input_set,
                          nrt_tensor_set_t *output_set, int repeat)
{
    struct handle_slot *ms, *is, *os;
    struct run_caller caller;
    uint32_t instance = 0;
    struct err err;
    NRT_STATUS status;

    if (!api_ready())
        return api_refuse(func);
    if (!model || !input_set || !output_set)
        return api_fail(func, NRT_INVALID, "model or a tensor set is NULL");
    if (repeat < 1)
        return api_fail(func, NRT_INVALID, "repeat_count %d is less than 1", repeat);

    run_caller_enter(&caller);
    err.status = NRT_SUCCESS;
    err.text[0] = '\0';
    ms = handle_pin(&api_.models, token_of(model));
    is = handle_pin(&api_.sets, token_of(input_set));
    os = handle_pin(&api_.sets, token_of(output_set));
    if (__builtin_expect(!ms || !is || !os, 0)) {
        status = api_fail(func, NRT_INVALID_HANDLE, "not a %s of this session",
                          !ms ? "model" : "tensor set");
    } else {
        struct api_model *am = ms->obj;

        status = run_sets(am, token_of(input_set), token_of(output_set), is->obj, os->obj, repeat,
                          &instance, &err);
        if (__builtin_expect(status != NRT_SUCCESS, 0)) {
            if (api_infodump_wanted(status))
                api_infodump(status, func, model_vnc(am->m, instance));
            LOGE(api_.log, LOG_NRT, "nrt_execute_repeat",
                 "Failed to execute model %s with status %d", model_name(am->m), (int)status);
        }
    }
    if (os)
        handle_unpin(os);
    if (is)
        handle_unpin(is);
    if (ms)
        handle_unpin(ms);
    run_caller_leave(&caller);
    return status;
}

API_EXPORT NRT_STATUS nrt_execute(nrt_model_t *model, const nrt_tensor_set_t *input_set,
                                  nrt_tensor_set_t *output_set)
{
    return execute(__func__, model, input_set, output_set, 1);
}

API_EXPORT NRT_STATUS nrt_execute_repeat(nrt_model_t *model, const nrt_tensor_set_t *input_set,
                                         nrt_tensor_set_t *output_set, int repeat_count)
{
    return execute(__func__, model, input_set, output_set, repeat_count);
}
