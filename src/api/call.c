/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the program as trace events: what the hooks of api_int.h do while a capture runs. */
#include "api/api_int.h"

static __thread struct api_call *current_;

void api_call_begin(struct api_call *c, const char *func, _Atomic uint16_t *known)
{
    uint16_t k = atomic_load_explicit(known, memory_order_relaxed);

    if (k == 0) {
        k = (uint16_t)(trace_type_find(func) + 1);
        atomic_store_explicit(known, k, memory_order_relaxed);
    }
    if (k == TRACE_NONE + 1)
        return;
    *c = (struct api_call){.ns = trace_now_ns(),
                           .id = trace_id(&api_.trace),
                           .core = TRACE_NO_CORE,
                           .type = (uint16_t)(k - 1),
                           .outer = current_};
    current_ = c;
}

static void tell_start(struct api_call *c)
{
    struct trace_event e = {.ns = c->ns, .tracking = c->id, .type = c->type, .phase = TRACE_START};

    c->told = true;
    trace_put(&api_.trace, c->core, &e);
}

void api_call_core_traced(uint32_t core)
{
    struct api_call *c = current_;

    if (!c || c->told)
        return;
    c->core = core;
    tell_start(c);
}

void api_call_end_traced(struct api_call *c)
{
    struct trace_event e = {.tracking = c->id, .type = c->type, .phase = TRACE_STOP};

    current_ = c->outer;
    if (!trace_on(&api_.trace)) /* the capture has ended, and perhaps the session */
        return;
    if (!c->told)
        tell_start(c);
    trace_put(&api_.trace, c->core, &e);
}

void api_trace_start(enum trace_type type, uint32_t core, const struct model *m, uint64_t id)
{
    struct trace_event e = {.tracking = id, .type = (uint16_t)type, .phase = TRACE_START};

    if (m)
        model_trace_fields(m, &e);
    trace_put(&api_.trace, core, &e);
}

void api_trace_stop(enum trace_type type, uint32_t core, const struct model *m, uint64_t id,
                    uint64_t value)
{
    struct trace_event e = {.tracking = id,
                            .data = {value},
                            .type = (uint16_t)type,
                            .phase = TRACE_STOP,
                            .data_count = 1};

    if (m)
        model_trace_fields(m, &e);
    trace_put(&api_.trace, core, &e);
}

/* ---- texts for the program ---- */

void api_strings_free(const char **texts, size_t n)
{
    for (size_t i = 0; texts && i < n; i++)
        mem_free((void *)(uintptr_t)texts[i]);
    mem_free((void *)(uintptr_t)texts);
}

NRT_STATUS api_strings(const char *func, const char *const *texts, size_t n, const char ***ret,
                       size_t *ret_count)
{
    const char **copy = mem_calloc(n + 1, sizeof(*copy));
    bool ok = copy != NULL;

    for (size_t i = 0; ok && i < n; i++) {
        copy[i] = mem_strdup(texts[i]);
        ok = copy[i] != NULL;
    }
    if (!ok) {
        api_strings_free(copy, n);
        return api_fail(func, NRT_RESOURCE, "no host memory for a list of texts");
    }
    *ret = copy;
    *ret_count = n;
    return NRT_SUCCESS;
}
