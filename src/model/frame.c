/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: what one execution in flight needs, made once and bound to memory per call. */
#include <string.h>

#include "model/model_int.h"

static uint8_t no_bytes[64]; /* address of tensors and variables without bytes; never accessed */

/* Zeroed HBM of the instance that goes with the NEFF. */
static NRT_STATUS arg_alloc(struct model *m, struct instance *in, enum device_cat cat,
                            uint64_t size, struct model_arg *ret, struct err *err)
{
    struct device_alloc a = {.core = in->lc->phys[0].index,
                             .neff = m->id,
                             .cat = cat,
                             .size = size,
                             .name = m->neff->name};
    struct device_extent x;
    void *va;
    NRT_STATUS status;

    if (size == 0) {
        *ret = (struct model_arg){.va = no_bytes, .device = true};
        return NRT_SUCCESS;
    }
    status = device_alloc(m->h->cfg.in, &a, &x, err);
    if (status != NRT_SUCCESS)
        return status;
    va = no_bytes; /* which nobody accesses where memory is only accounted */
    status = m->h->cfg.account_only ? NRT_SUCCESS : extent_va(m->h, &x, &va, err);
    if (status != NRT_SUCCESS) {
        device_free(m->h->cfg.in, &x, NULL);
        return status;
    }
    *ret = (struct model_arg){.va = va, .size = size, .addr = x.addr, .device = true};
    return NRT_SUCCESS;
}

static bool frame_arrays(struct model *m, struct frame *f)
{
    f->binding = mem_calloc((size_t)m->node_count * CORE_MAX, sizeof(*f->binding));
    f->run = mem_calloc(m->node_count, sizeof(*f->run));
    f->in = mem_calloc(m->in_count, sizeof(*f->in));
    f->out = mem_calloc(m->out_count, sizeof(*f->out));
    f->in_from = mem_calloc(m->in_count, sizeof(*f->in_from));
    f->out_to = mem_calloc(m->out_count, sizeof(*f->out_to));
    f->stage_in = mem_calloc(m->in_count, sizeof(*f->stage_in));
    f->stage_out = mem_calloc(m->out_count, sizeof(*f->stage_out));
    f->mid = mem_calloc(m->mid_count, sizeof(*f->mid));
    f->cpu = mem_calloc(m->cpu_io_max, sizeof(*f->cpu));
    return f->binding && f->run && f->in && f->out && f->in_from && f->out_to && f->stage_in &&
           f->stage_out && f->mid && f->cpu;
}

/* Bindings of a NeuronCore node, with every address that no call changes. */
static NRT_STATUS node_bindings(struct model *m, struct instance *in, struct frame *f, uint32_t at,
                                struct err *err)
{
    struct core_run *run = &f->run[at];
    NRT_STATUS status;

    run->count = in->stage_count;
    run->timeout_ns = m->env.timeout_ns;
    run->neff = m->id;
    for (uint32_t c = 0; c < in->stage_count; c++) {
        struct stage *st = &in->stage[c];
        struct core_binding *b;

        status = core_binding_create(st->prog, &f->binding[at * CORE_MAX + c], err);
        if (status != NRT_SUCCESS)
            return status;
        b = f->binding[at * CORE_MAX + c];
        run->program[c] = st->prog;
        if (st->has[EXT_CODE]) {
            run->code_addr[c] = st->ext[EXT_CODE].addr;
            run->code_bytes[c] = st->ext[EXT_CODE].size;
        }
        run->binding[c] = b;
        for (uint32_t v = 0; v < st->sg->var_count; v++) {
            const struct neff_var *var = &st->sg->vars[v];

            if (var->type == NEFF_VAR_STATE_BUFFER || (!st->vars[v].placed && var->size != 0))
                continue;
            status = core_binding_set(b, v, st->vars[v].placed ? st->vars[v].va : no_bytes,
                                      var->size, err);
            if (status != NRT_SUCCESS)
                return status;
        }
    }
    return NRT_SUCCESS;
}

NRT_STATUS frame_create(struct model *m, struct instance *in, struct frame **ret, struct err *err)
{
    struct frame *f = mem_zalloc(sizeof(*f));
    NRT_STATUS status = NRT_SUCCESS;

    if (!f || !frame_arrays(m, f)) {
        status = err_set(err, NRT_RESOURCE, "no host memory for an execution");
        goto out_frame;
    }
    if ((m->env.device_time || m->env.timeline) && !devtime_open(f)) {
        status = err_set(err, NRT_RESOURCE, "no host memory for the record of events");
        goto out_frame;
    }
    for (uint32_t i = 0; i < m->mid_count; i++) {
        status = arg_alloc(m, in, DEVICE_CAT_SCRATCH, m->mids[i].size, &f->mid[i], err);
        if (status != NRT_SUCCESS)
            goto out_frame;
    }
    for (uint32_t i = 0; i < m->node_count; i++) {
        if (m->nodes[i].n->is_cpu || m->h->cfg.account_only)
            continue;
        status = node_bindings(m, in, f, i, err);
        if (status != NRT_SUCCESS)
            goto out_frame;
    }
    *ret = f;
    return NRT_SUCCESS;

out_frame:
    frame_destroy(m, f);
    return status;
}

void frame_destroy(struct model *m, struct frame *f)
{
    if (!f)
        return;
    for (uint32_t i = 0; f->binding && i < m->node_count * CORE_MAX; i++)
        core_binding_destroy(f->binding[i]);
    mem_free(f->binding);
    mem_free(f->run);
    mem_free(f->in);
    mem_free(f->out);
    mem_free(f->in_from);
    mem_free(f->out_to);
    mem_free(f->stage_in);
    mem_free(f->stage_out);
    mem_free(f->mid);
    mem_free(f->cpu);
    devtime_close(f);
    mem_free(f);
}

static struct model_arg *frame_arg(struct frame *f, struct slot_ref ref)
{
    switch (ref.kind) {
    case SLOT_IN:
        return &f->in[ref.index];
    case SLOT_OUT:
        return &f->out[ref.index];
    default:
        return &f->mid[ref.index];
    }
}

/* The core reaches this argument directly, or through staging memory of the frame. */
static NRT_STATUS bind_arg(struct model *m, struct instance *in, const struct model_arg *user,
                           bool staged, uint64_t size, struct model_arg *stage,
                           struct model_arg *ret, struct err *err)
{
    if (size == 0) {
        *ret = (struct model_arg){.va = no_bytes, .device = true};
        return NRT_SUCCESS;
    }
    if (!staged) {
        *ret = *user;
        return NRT_SUCCESS;
    }
    if (!stage->va) {
        NRT_STATUS status = arg_alloc(m, in, DEVICE_CAT_RUNTIME, size, stage, err);

        if (status != NRT_SUCCESS)
            return status;
    }
    *ret = *stage;
    return NRT_SUCCESS;
}

NRT_STATUS frame_account_copies(struct model *m, struct instance *in, struct err *err)
{
    struct frame *f = in->frames;
    NRT_STATUS status = NRT_SUCCESS;

    for (uint32_t i = 0; i < m->in_count + m->out_count && status == NRT_SUCCESS; i++) {
        bool is_in = i < m->in_count;
        uint32_t k = is_in ? i : i - m->in_count;

        status = bind_arg(m, in, NULL, true, is_in ? m->in[k].size : m->out[k].size,
                          is_in ? &f->stage_in[k] : &f->stage_out[k],
                          is_in ? &f->in[k] : &f->out[k], err);
    }
    return status;
}

static NRT_STATUS bind_node(struct model *m, struct instance *in, struct frame *f, uint32_t at,
                            struct err *err)
{
    struct node *nd = &m->nodes[at];

    for (uint32_t k = 0; k < nd->in_count + nd->out_count; k++) {
        struct node_io *io = k < nd->in_count ? &nd->in[k] : &nd->out[k - nd->in_count];
        struct model_arg *a = frame_arg(f, io->ref);

        for (uint32_t c = 0; c < in->stage_count; c++) {
            NRT_STATUS status;

            if (io->var[c] == NEFF_NONE)
                continue;
            status =
                core_binding_set(f->binding[at * CORE_MAX + c], io->var[c], a->va, a->size, err);
            if (status != NRT_SUCCESS)
                return status;
        }
    }
    return NRT_SUCCESS;
}

static bool any_apart(const struct model *m, const struct frame *f)
{
    bool apart = false;

    for (uint32_t i = 0; i < m->in_count; i++)
        apart = apart || f->in[i].va != f->in_from[i];
    for (uint32_t i = 0; i < m->out_count; i++)
        apart = apart || f->out[i].va != f->out_to[i];
    return apart;
}

NRT_STATUS frame_bind(struct model *m, struct instance *in, struct frame *f,
                      const struct model_call *call, struct err *err)
{
    uint64_t key = call->serial << 1 | (call->repeat > 1);
    NRT_STATUS status;

    if (f->bound == key)
        return NRT_SUCCESS;

    f->bound = 0;
    for (uint32_t i = 0; i < m->in_count; i++) {
        bool again = call->repeat > 1 && i < m->out_count;

        f->in_from[i] = call->in[i].va;
        status = bind_arg(m, in, &call->in[i], again || !call->in[i].device, m->in[i].size,
                          &f->stage_in[i], &f->in[i], err);
        if (status != NRT_SUCCESS)
            return status;
    }
    for (uint32_t i = 0; i < m->out_count; i++) {
        f->out_to[i] = call->out[i].va;
        status = bind_arg(m, in, &call->out[i], !call->out[i].device, m->out[i].size,
                          &f->stage_out[i], &f->out[i], err);
        if (status != NRT_SUCCESS)
            return status;
    }
    for (uint32_t i = 0; i < m->node_count; i++) {
        if (m->nodes[i].n->is_cpu)
            continue;
        status = bind_node(m, in, f, i, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    f->copies = call->repeat > 1 || any_apart(m, f);
    f->bound = key;
    return NRT_SUCCESS;
}

/* Address of variable v of a stage as the frame binds it; 0: state buffers, which have none in HBM.
 */
static uint64_t var_addr(struct model *m, struct frame *f, struct stage *st, uint32_t core,
                         uint32_t v)
{
    if (st->vars[v].placed)
        return st->vars[v].addr;
    for (uint32_t i = 0; i < m->node_count; i++) {
        struct node *nd = &m->nodes[i];

        for (uint32_t k = 0; !nd->n->is_cpu && k < nd->in_count + nd->out_count; k++) {
            struct node_io *io = k < nd->in_count ? &nd->in[k] : &nd->out[k - nd->in_count];

            if (io->var[core] == v)
                return frame_arg(f, io->ref)->addr;
        }
    }
    return 0;
}

void frame_cells(struct model *m, struct instance *in, struct frame *f)
{
    if (in->cells_of == f && in->cells_bound == f->bound)
        return;
    for (uint32_t c = 0; c < in->stage_count; c++) {
        struct stage *st = &in->stage[c];

        for (uint32_t v = 0; st->has[EXT_CELLS] && v < st->sg->var_count; v++) {
            const struct neff_var *var = &st->sg->vars[v];
            uint32_t n = var->type == NEFF_VAR_POINTER     ? 1
                         : var->type == NEFF_VAR_DGE_TABLE ? var->list_count
                                                           : 0;

            for (uint32_t i = 0; i < n; i++) {
                uint32_t to = var->type == NEFF_VAR_POINTER ? var->ref : var->list[i];
                uint64_t addr = var_addr(m, f, st, c, to);

                memcpy((uint8_t *)st->vars[v].va + i * sizeof(addr), &addr, sizeof(addr));
            }
        }
    }
    in->cells_of = f;
    in->cells_bound = f->bound;
}
