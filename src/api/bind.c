/* SPDX-License-Identifier: Apache-2.0 */
/* Bindings: what a model's last pairs of sets were. One is used again while it still describes the
 * sets, for which these need not be pinned: the sets' tokens and versions (nrt_add_tensor_...
 * counts a set's version up), the tensors' tokens (freeing one ends its token) and how often their
 * storage was replaced (nrt_tensor_attach_buffer). A binding keeps no tensor alive. */
#include <string.h>

#include "api/exec_int.h"

/* Synchronization: busy is taken by exchange, by an execution until its end; the other fields
 * belong to who took it, except that the key is peeked at before. */
struct binding {
    _Atomic uint32_t busy;
    _Atomic uint64_t in_token, out_token; /* 0: nothing bound */
    uint64_t in_version, out_version;
    struct bound *bound;
};

static _Atomic uint64_t serial_;

struct binding *api_bindings_create(void)
{
    return mem_calloc(API_BINDINGS, sizeof(struct binding));
}

/* ---- what is bound ---- */

/* One block: the arrays follow, those with the strictest alignment first. */
static struct bound *bound_create(uint32_t in_count, uint32_t out_count)
{
    size_t n = (size_t)in_count + out_count;
    struct bound *b = mem_zalloc(sizeof(*b) + n * (sizeof(*b->args) + sizeof(*b->tensors) +
                                                   sizeof(*b->slots) + sizeof(*b->attached)));

    if (!b)
        return NULL;
    b->refs = 1;
    b->in_count = in_count;
    b->out_count = out_count;
    b->serial = atomic_fetch_add(&serial_, 1) + 1;
    b->args = (struct model_arg *)(b + 1);
    b->tensors = (uint64_t *)(b->args + n);
    b->slots = (struct handle_slot **)(b->tensors + n);
    b->attached = (uint32_t *)(b->slots + n);
    return b;
}

static void bound_unref(struct bound *b)
{
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        mem_free(b);
}

void api_bindings_destroy(struct binding *b)
{
    for (int i = 0; b && i < API_BINDINGS; i++)
        if (b[i].bound)
            bound_unref(b[i].bound);
    mem_free(b);
}

static void unpin_args(struct bound *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        handle_unpin(b->slots[i]);
}

void bound_give(struct bound *b)
{
    unpin_args(b, b->in_count + b->out_count);
    bound_unref(b);
}

/* Pin its tensors; false when one of them changed since. */
static bool pin_args(struct bound *b)
{
    uint32_t n = b->in_count + b->out_count;

    for (uint32_t i = 0; i < n; i++) {
        if (!handle_pin_slot(b->slots[i], b->tensors[i])) {
            unpin_args(b, i);
            return false;
        }
        if (bound_tensor(b, i)->attached != b->attached[i]) {
            unpin_args(b, i + 1);
            return false;
        }
    }
    return true;
}

/* The replica whose turn it is, or the next one on whose HBM the device tensors lie. */
static NRT_STATUS choose_instance(struct api_model *am, const struct bound *b,
                                  uint32_t *ret_instance, struct err *err)
{
    uint32_t count = model_instance_count(am->m), n = b->in_count + b->out_count;
    uint32_t turn = count > 1 ? atomic_fetch_add(&am->turn, 1) % count : 0;

    for (uint32_t k = 0; k < count; k++) {
        uint32_t at = (turn + k) % count, hbm = model_hbm(am->m, at);
        const struct tensor *wrong = NULL;
        bool is_input = false;

        for (uint32_t i = 0; i < n && !wrong; i++) {
            const struct tensor *t = bound_tensor(b, i);

            if (tensor_is_device(t) && tensor_hbm(t) != hbm) {
                wrong = t;
                is_input = i < b->in_count;
            }
        }
        if (!wrong) {
            *ret_instance = at;
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

static NRT_STATUS bind_one(struct bound *b, uint32_t at, const struct tensor_set *set,
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

/* On success its tensors are pinned. */
static NRT_STATUS bound_make(struct api_model *am, const struct tensor_set *in,
                             const struct tensor_set *out, struct bound **ret,
                             uint32_t *ret_instance, struct err *err)
{
    uint32_t n_in = model_input_count(am->m), n_out = model_output_count(am->m), at = 0;
    struct bound *b = bound_create(n_in, n_out);
    NRT_STATUS status = NRT_SUCCESS;

    if (!b)
        return err_set(err, NRT_RESOURCE, "no host memory to bind %u tensors", n_in + n_out);
    for (; at < n_in + n_out && status == NRT_SUCCESS; at++)
        status = at < n_in ? bind_one(b, at, in, model_input(am->m, at), "input", err)
                           : bind_one(b, at, out, model_output(am->m, at - n_in), "output", err);
    if (status != NRT_SUCCESS) {
        unpin_args(b, at - 1);
        bound_unref(b);
        return status;
    }
    status = choose_instance(am, b, ret_instance, err);
    if (status != NRT_SUCCESS)
        bound_give(b);
    else
        *ret = b;
    return status;
}

/* ---- finding one ---- */

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

/* The binding of this pair of sets, taken. NULL: there is none, or it is in use. */
static struct binding *binding_of(struct api_model *am, uint64_t in, uint64_t out)
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
    return NULL;
}

/* The binding of this pair of sets if there is one, else one to fill; taken. NULL: all are in use.
 */
static struct binding *binding_find(struct api_model *am, uint64_t in, uint64_t out)
{
    uint32_t last = atomic_load_explicit(&am->last, memory_order_relaxed);
    struct binding *b = binding_of(am, in, out);

    if (b)
        return b;
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

/* What a taken binding holds for the sets as they are now, pinned and not counted; NULL: it must be
 * made. */
static struct bound *binding_use(struct binding *b, uint64_t in_token, uint64_t out_token)
{
    if (!binding_is(b, in_token, out_token) || !handle_is(&api_.sets, in_token, b->in_version) ||
        !handle_is(&api_.sets, out_token, b->out_version) || !pin_args(b->bound))
        return NULL;
    return b->bound;
}

static void bound_ref(struct bound *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
}

/* A taken binding holds this from now on. */
static void binding_keep(struct binding *b, struct bound *bound, uint64_t in_token,
                         uint64_t out_token, const struct tensor_set *in,
                         const struct tensor_set *out)
{
    if (b->bound)
        bound_unref(b->bound);
    bound_ref(bound);
    b->bound = bound;
    b->in_version = in->version;
    b->out_version = out->version;
    atomic_store_explicit(&b->out_token, out_token, memory_order_relaxed);
    atomic_store_explicit(&b->in_token, in_token, memory_order_relaxed);
}

static void count_refused(struct api_model *am, NRT_STATUS status)
{
    uint32_t core = device_vnc_core(api_.in, api_.first_vnc + model_vnc(am->m, 0));

    device_counter_add(api_.in, core, device_status_counter(status), 1);
}

static NRT_STATUS bound_new(const char *func, struct api_model *am, struct binding *keep,
                            uint64_t in_token, uint64_t out_token, const struct tensor_set *in,
                            const struct tensor_set *out, struct bound **ret,
                            uint32_t *ret_instance)
{
    struct err err = {0};
    NRT_STATUS status;

    if (keep)
        atomic_store_explicit(&keep->in_token, 0, memory_order_relaxed);
    status = bound_make(am, in, out, ret, ret_instance, &err);
    if (status != NRT_SUCCESS) {
        api_fail(func, status, "%s", err.text);
        count_refused(am, status);
        return status;
    }
    if (keep)
        binding_keep(keep, *ret, in_token, out_token, in, out);
    return NRT_SUCCESS;
}

struct bound *bound_find(struct api_model *am, uint64_t in_token, uint64_t out_token,
                         struct binding **ret_taken)
{
    struct bound *bound;
    struct binding *b;

    if (model_instance_count(am->m) > 1) /* which one is chosen anew each time */
        return NULL;
    b = binding_of(am, in_token, out_token);
    if (!b)
        return NULL;
    bound = binding_use(b, in_token, out_token);
    if (bound)
        *ret_taken = b;
    else
        binding_give(b);
    return bound;
}

void bound_end(struct bound *b, struct binding *taken)
{
    unpin_args(b, b->in_count + b->out_count);
    binding_give(taken);
}

void bound_keep(struct bound *b, struct binding *taken)
{
    bound_ref(b);
    binding_give(taken);
}

NRT_STATUS bound_get(const char *func, struct api_model *am, uint64_t in_token, uint64_t out_token,
                     const struct tensor_set *in, const struct tensor_set *out, struct bound **ret,
                     uint32_t *ret_instance)
{
    /* NULL: more threads than bindings */
    struct binding *b = binding_find(am, in_token, out_token);
    struct bound *bound = b ? binding_use(b, in_token, out_token) : NULL;
    NRT_STATUS status = NRT_SUCCESS;

    *ret_instance = 0;
    if (bound)
        bound_ref(bound);
    if (__builtin_expect(!bound, 0)) {
        status = bound_new(func, am, b, in_token, out_token, in, out, &bound, ret_instance);
    } else if (model_instance_count(am->m) > 1) {
        struct err err = {0};

        status = choose_instance(am, bound, ret_instance, &err); /* they suited one before */
        if (status != NRT_SUCCESS)
            bound_give(bound);
    }
    if (b)
        binding_give(b);
    *ret = bound;
    return status;
}
