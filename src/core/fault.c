/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of a run (core_run.fault). Nothing of them is looked at while a program runs: the lowered
 * program itself is changed for the run, and put back from a list of what it was. */
#include "core/exec.h"

#include <string.h>

struct fault_patch {
    struct fault_patch *before; /* made before this one */
    void *at;
    size_t size;
    uint8_t was[];
};

static bool patch(struct core_exec *x, void *at, const void *now, size_t size)
{
    struct fault_patch *p = arena_alloc(&x->patches, sizeof(*p) + size);

    if (p == NULL)
        return false;
    p->before = x->patch;
    p->at = at;
    p->size = size;
    memcpy(p->was, at, size);
    x->patch = p;
    memcpy(at, now, size);
    return true;
}

void fault_end(struct core_exec *x)
{
    for (struct fault_patch *p = x->patch; p != NULL; p = p->before)
        memcpy(p->at, p->was, p->size);
    x->patch = NULL;
    arena_fini(&x->patches);
}

/* ---- at a record ---- */

static bool record_patch(struct core_exec *x, const struct core_fault *f)
{
    const struct core_code *code = &x->run->program[f->core]->code[f->engine];
    struct core_op op;
    uint32_t i = f->record;

    if (i >= code->count)
        return true; /* it is never met */
    while (i > 0 && code->ops[i].kind == OP_COVERED)
        i--;
    op = code->ops[i];
    op.kind = OP_FAULT;
    return patch(x, &code->ops[i], &op, sizeof(op));
}

void fault_strike(struct core_exec *x, unsigned core, unsigned engine)
{
    const struct core_fault *f = x->run->fault;

    rows_flush(x);
    exec_fail(x, CORE_END_FAULT, f->strike(f->arg, &x->report->err), core, engine);
}

/* ---- a semaphore that does not change ---- */

/* What updates of the program on core `from` do to it. */
static bool updates_patch(struct core_exec *x, const struct core_fault *f, unsigned from)
{
    struct core_program *p = x->run->program[from];

    for (size_t i = 0; i < p->nupdates; i++) {
        struct core_upd u = p->updates[i];

        if (u.index != f->semaphore || (u.peer != 0) != (from != f->core) || u.kind < ISA_UPD_INC ||
            u.kind > ISA_UPD_WRITE)
            continue;
        u.kind = ISA_UPD_ADD;
        u.reg = ISA_NO_REG;
        u.value = 0;
        if (!patch(x, &p->updates[i], &u, sizeof(u)))
            return false;
    }
    return true;
}

/* Semaphores of the other core that the group raises, without this one. */
static bool remote_without(struct core_exec *x, struct dma_group *g, int semaphore)
{
    uint32_t *keep = arena_alloc(&x->patches, (size_t)g->nremote * sizeof(*keep) + 1), n = 0;

    if (keep == NULL)
        return false;
    for (uint32_t i = 0; i < g->nremote; i++)
        if ((int)g->remote[i] != semaphore)
            keep[n++] = g->remote[i];
    g->remote = keep;
    g->nremote = n;
    return true;
}

static bool groups_patch(struct core_exec *x, const struct core_fault *f, unsigned from)
{
    struct core_program *p = x->run->program[from];

    for (size_t i = 0; i < p->ngroups; i++) {
        struct dma_group g = p->groups[i];

        if (from == f->core && g.sem == f->semaphore)
            g.sem = -1;
        if (from != f->core && g.nremote > 0 && !remote_without(x, &g, f->semaphore))
            return false;
        if (!patch(x, &p->groups[i], &g, sizeof(g)))
            return false;
    }
    return true;
}

static bool collectives_patch(struct core_exec *x, const struct core_fault *f)
{
    const struct core_program *p = x->run->program[f->core];

    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        for (uint32_t i = 0; i < p->code[e].count; i++) {
            struct core_op op = p->code[e].ops[i];

            if (op.kind != OP_COLLECTIVE || op.imm != f->semaphore)
                continue;
            op.imm = -1;
            if (!patch(x, &p->code[e].ops[i], &op, sizeof(op)))
                return false;
        }
    }
    return true;
}

static bool semaphore_patch(struct core_exec *x, const struct core_fault *f)
{
    for (unsigned from = 0; from < x->count; from++)
        if (!updates_patch(x, f, from) || !groups_patch(x, f, from))
            return false;
    return collectives_patch(x, f);
}

bool fault_begin(struct core_exec *x)
{
    const struct core_fault *f = x->run->fault;

    if (f->core >= x->count ||
        ((f->engine < 0 || record_patch(x, f)) && (f->semaphore < 0 || semaphore_patch(x, f))))
        return true;
    fault_end(x);
    return false;
}
