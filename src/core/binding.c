/* SPDX-License-Identifier: Apache-2.0 */
/* Where the variables of a program lie in this process. */
#include "core/core_int.h"

#include <stdatomic.h>
#include <string.h>

static _Atomic uint64_t serials_;

static void serial_next(struct core_binding *b)
{
    b->serial = atomic_fetch_add_explicit(&serials_, 1, memory_order_relaxed) + 1;
}

NRT_STATUS core_binding_create(const struct core_program *p, struct core_binding **ret,
                               struct err *err)
{
    struct core_binding *b =
        mem_zalloc(sizeof(*b) + (p->sg->var_count + (size_t)1) * sizeof(b->var[0]));

    if (b == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for a binding");
    b->program = p;
    b->missing = p->nvar_used;
    serial_next(b);
    *ret = b;
    return NRT_SUCCESS;
}

void core_binding_destroy(struct core_binding *b)
{
    mem_free(b);
}

NRT_STATUS core_binding_set(struct core_binding *b, uint32_t var, void *host, uint64_t size,
                            struct err *err)
{
    const struct neff_subgraph *sg = b->program->sg;

    if (var >= sg->var_count || host == NULL)
        return err_set(err, NRT_INVALID, "no such variable or no address");
    if (size < sg->vars[var].size)
        return err_set(err, NRT_INVALID, "variable %s has %llu bytes, %llu bound",
                       sg->vars[var].name, (unsigned long long)sg->vars[var].size,
                       (unsigned long long)size);
    if (b->var[var].host == NULL && b->program->var_used[var])
        b->missing--;
    b->var[var] = (struct core_addr){host, size};
    serial_next(b);
    if (b->program->backend->bind != NULL)
        b->program->backend->bind(b, var);
    return NRT_SUCCESS;
}

void core_binding_copy(struct core_binding *b, const struct core_binding *from)
{
    uint32_t count = b->program->sg->var_count;

    memcpy(b->var, from->var, count * sizeof(b->var[0]));
    b->missing = from->missing;
    serial_next(b);
    for (uint32_t i = 0; b->program->backend->bind != NULL && i < count; i++)
        b->program->backend->bind(b, i);
}

void *core_binding_get(const struct core_binding *b, uint32_t var, uint64_t *ret_size)
{
    if (var >= b->program->sg->var_count)
        return NULL;
    *ret_size = b->var[var].size;
    return b->var[var].host;
}

uint64_t core_binding_serial(const struct core_binding *b)
{
    return b->serial;
}

uint8_t *core_binding_sbuf(const struct core_binding *b, size_t *ret_stride)
{
    const struct kernel_core *kc = &b->program->core->kc;

    *ret_stride = kc->sbuf_stride;
    return kc->sbuf;
}

NRT_STATUS core_binding_check(const struct core_binding *b, struct err *err)
{
    const struct neff_subgraph *sg = b->program->sg;

    for (uint32_t i = 0; b->missing > 0 && i < sg->var_count; i++)
        if (b->program->var_used[i] && b->var[i].host == NULL)
            return err_set(err, NRT_INVALID, "variable %s has no address", sg->vars[i].name);
    return NRT_SUCCESS;
}
