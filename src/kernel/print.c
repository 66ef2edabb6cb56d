/* SPDX-License-Identifier: Apache-2.0 */
/* device_print: gathers a tile into memory of the program, where kernel_print_get finds it. */
#include <string.h>

#include "base/mem.h"
#include "kernel/kernel_int.h"

static NRT_STATUS run_print(const struct kernel_op *op, struct kernel_core *kc,
                            const uint32_t *regs, struct err *err)
{
    const struct kernel_print *p = (const struct kernel_print *)(uintptr_t)op->priv[1];
    uint8_t *to = (uint8_t *)(uintptr_t)op->priv[2];
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_tile *t;

    if (st != NRT_SUCCESS)
        return st;
    t = &r.rec->t[1];
    for (unsigned k = 0; k < t->nparts; k++)
        k_gather(t, k_row(&r, 1, k), 0, t->n, to + k * (p->bytes / t->nparts));
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_print(struct k_lower *l)
{
    const struct isa_tensor *x = &l->r->body.c.t[1];
    struct kernel_print *p;
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_print, &st);
    uint8_t *data;

    if (rec == NULL)
        return st;
    if (rec->t[1].n == 0)
        return k_refuse(l, "absent operand", 1);
    p = arena_calloc(l->arena, 1, sizeof(*p));
    data = arena_calloc(l->arena, (size_t)rec->t[1].nparts * rec->t[1].n, rec->t[1].esize);
    if (p == NULL || data == NULL)
        return err_set(l->err, NRT_RESOURCE, "no host memory for a device print");
    *p = (struct kernel_print){.data = data,
                               .bytes = (uint64_t)rec->t[1].nparts * rec->t[1].n * rec->t[1].esize,
                               .dtype = (enum dtype)x->dtype,
                               .id = l->r->body.c.x.v.n,
                               .shape = {x->nparts},
                               .ndim = 1u + x->ndim};
    for (unsigned d = 0; d < x->ndim; d++) /* outermost first, as the partitions are */
        p->shape[1 + d] = x->dim[x->ndim - 1 - d].num;
    l->op->priv[1] = (uint64_t)(uintptr_t)p;
    l->op->priv[2] = (uint64_t)(uintptr_t)data;
    return NRT_SUCCESS;
}

const struct kernel_print *kernel_print_get(const struct kernel_op *op)
{
    return (const struct kernel_print *)(uintptr_t)op->priv[1];
}
