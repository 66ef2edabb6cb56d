/* SPDX-License-Identifier: Apache-2.0 */
/* From the NEFF's nodes to tensors of the model: a node's input that an earlier node writes is an
 * intermediate, every other input is the model's; what a node writes and a later node
 * reads last is an intermediate, every other output is the model's (behaviour.md 7). */
#include <string.h>

#include "model/model_int.h"

/* What is known of one tensor name while the graph is built. */
struct name_info {
    const struct neff_tensor *t;
    uint32_t first_writer; /* node, UINT32_MAX: none */
    uint32_t last_writer;
    uint32_t last_reader; /* node + 1, 0: none */
    bool is_in, is_out, is_mid, numbered;
    uint32_t in, out, mid;
};

struct build {
    struct model *m;
    struct str_map map;
    struct name_info *names;
    size_t count, cap;
};

static NRT_STATUS name_get(struct build *b, const struct neff_tensor *t, struct name_info **ret,
                           struct err *err)
{
    uint64_t at;
    bool existed;

    if (!str_map_get(&b->map, t->name, &at)) {
        if (!mem_grow((void **)&b->names, &b->cap, b->count + 1, sizeof(*b->names)) ||
            !str_map_put(&b->map, t->name, b->count, &existed))
            return err_set(err, NRT_RESOURCE, "no host memory for the graph");
        at = b->count++;
        b->names[at] = (struct name_info){.t = t, .first_writer = UINT32_MAX};
    }
    if (b->names[at].t->size != t->size)
        return err_set(err, NRT_INVALID, "tensor %s: size %llu, expected %llu", t->name,
                       (unsigned long long)t->size, (unsigned long long)b->names[at].t->size);
    *ret = &b->names[at];
    return NRT_SUCCESS;
}

static NRT_STATUS scan_names(struct build *b, struct err *err)
{
    const struct neff *neff = b->m->neff;

    for (uint32_t i = 0; i < neff->node_count; i++) {
        const struct neff_node *n = &neff->nodes[i];
        struct name_info *ni;
        NRT_STATUS status;

        for (uint32_t k = 0; k < n->input_count; k++) {
            status = name_get(b, &n->inputs[k], &ni, err);
            if (status != NRT_SUCCESS)
                return status;
            ni->last_reader = i + 1;
            if (ni->first_writer == UINT32_MAX)
                ni->is_in = true;
        }
        for (uint32_t k = 0; k < n->output_count; k++) {
            status = name_get(b, &n->outputs[k], &ni, err);
            if (status != NRT_SUCCESS)
                return status;
            if (ni->first_writer == UINT32_MAX)
                ni->first_writer = i;
            ni->last_writer = i;
        }
    }
    for (size_t i = 0; i < b->count; i++) {
        struct name_info *ni = &b->names[i];

        if (ni->first_writer == UINT32_MAX)
            continue;
        if (ni->last_reader > ni->last_writer + 1)
            ni->is_mid = true;
        else
            ni->is_out = true;
    }
    return NRT_SUCCESS;
}

static void describe(struct model_tensor *mt, const struct neff_tensor *t)
{
    mt->name = t->name;
    mt->size = t->size;
    mt->ndim = t->ndim;
    mt->shape = t->shape;
    mt->dtype = t->dtype;
}

/* Number the model's tensors in the order in which the nodes name them. */
static NRT_STATUS number_names(struct build *b, struct err *err)
{
    struct model *m = b->m;
    uint32_t total_in = 0, total_out = 0;

    for (size_t i = 0; i < b->count; i++) {
        total_in += b->names[i].is_in;
        total_out += b->names[i].is_out;
        m->mid_count += b->names[i].is_mid;
    }
    m->in = arena_calloc(&m->arena, total_in + 1, sizeof(*m->in));
    m->out = arena_calloc(&m->arena, total_out + 1, sizeof(*m->out));
    m->mids = arena_calloc(&m->arena, m->mid_count + 1, sizeof(*m->mids));
    if (!m->in || !m->out || !m->mids)
        return err_set(err, NRT_RESOURCE, "no host memory for the graph");

    m->mid_count = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct name_info *ni = &b->names[i];

        if (ni->is_in) {
            ni->in = m->in_count++;
            describe(&m->in[ni->in], ni->t);
        }
        if (ni->is_mid) {
            ni->mid = m->mid_count++;
            m->mids[ni->mid].size = ni->t->size;
        }
    }
    for (uint32_t i = 0; i < m->neff->node_count; i++)
        for (uint32_t k = 0; k < m->neff->nodes[i].output_count; k++) {
            const struct neff_tensor *t = &m->neff->nodes[i].outputs[k];
            struct name_info *ni;
            uint64_t at = 0;

            str_map_get(&b->map, t->name, &at);
            ni = &b->names[at];
            if (ni->is_out && !ni->numbered) {
                ni->numbered = true;
                ni->out = m->out_count++;
                describe(&m->out[ni->out], ni->t);
            }
        }
    return NRT_SUCCESS;
}

static NRT_STATUS bind_core_io(struct model *m, struct node *nd, struct node_io *io, bool is_input,
                               struct err *err)
{
    enum neff_var_type want = is_input ? NEFF_VAR_INPUT : NEFF_VAR_OUTPUT;
    bool found = false;

    for (unsigned c = 0; c < CORE_MAX; c++)
        io->var[c] = NEFF_NONE;
    for (uint32_t c = 0; c < m->neff->graph_count && c < CORE_MAX; c++) {
        const struct neff_subgraph *sg = &m->neff->graphs[c];
        uint32_t v = neff_subgraph_find(sg, io->t->name);

        if (v == NEFF_NONE || (sg->vars[v].type != want && sg->vars[v].type != NEFF_VAR_INPUT &&
                               sg->vars[v].type != NEFF_VAR_OUTPUT))
            continue;
        if (sg->vars[v].size > io->t->size)
            return err_set(err, NRT_INVALID, "tensor %s: size %llu, expected %llu", io->t->name,
                           (unsigned long long)io->t->size, (unsigned long long)sg->vars[v].size);
        io->var[c] = v;
        found = true;
    }
    if (!found)
        return err_set(err, NRT_INVALID, "neff.json: node %s: no variable %s", nd->n->name,
                       io->t->name);
    return NRT_SUCCESS;
}

static NRT_STATUS node_io_build(struct build *b, struct node *nd, uint32_t index, bool is_input,
                                struct err *err)
{
    struct model *m = b->m;
    uint32_t count = is_input ? nd->n->input_count : nd->n->output_count;
    const struct neff_tensor *ts = is_input ? nd->n->inputs : nd->n->outputs;
    struct node_io *io = arena_calloc(&m->arena, count + 1, sizeof(*io));

    if (!io)
        return err_set(err, NRT_RESOURCE, "no host memory for the graph");
    for (uint32_t k = 0; k < count; k++) {
        struct name_info *ni;
        uint64_t at = 0;
        NRT_STATUS status;

        str_map_get(&b->map, ts[k].name, &at);
        ni = &b->names[at];
        io[k].t = &ts[k];
        /* A name that is an input and later a result: reads before the first writer see the input.
         */
        if (is_input && ni->is_in && (ni->first_writer == UINT32_MAX || ni->first_writer >= index))
            io[k].ref = (struct slot_ref){SLOT_IN, ni->in};
        else if (ni->is_mid)
            io[k].ref = (struct slot_ref){SLOT_MID, ni->mid};
        else
            io[k].ref = (struct slot_ref){SLOT_OUT, ni->out};
        if (!nd->n->is_cpu) {
            status = bind_core_io(m, nd, &io[k], is_input, err);
            if (status != NRT_SUCCESS)
                return status;
        }
    }
    if (is_input) {
        nd->in = io;
        nd->in_count = count;
    } else {
        nd->out = io;
        nd->out_count = count;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS nodes_build(struct build *b, struct err *err)
{
    struct model *m = b->m;
    NRT_STATUS status;

    m->nodes = arena_calloc(&m->arena, m->neff->node_count + 1, sizeof(*m->nodes));
    if (!m->nodes)
        return err_set(err, NRT_RESOURCE, "no host memory for the graph");
    for (; m->node_count < m->neff->node_count; m->node_count++) {
        struct node *nd = &m->nodes[m->node_count];

        nd->n = &m->neff->nodes[m->node_count];
        status = node_io_build(b, nd, m->node_count, true, err);
        if (status == NRT_SUCCESS)
            status = node_io_build(b, nd, m->node_count, false, err);
        if (status == NRT_SUCCESS && nd->n->is_cpu && !m->h->cfg.account_only)
            status = cpu_open(m, nd, err);
        if (status != NRT_SUCCESS) {
            m->node_count++; /* what cpu_open may have left is closed with the others */
            return status;
        }
        if (nd->n->is_cpu) {
            if (nd->in_count + nd->out_count > m->cpu_io_max)
                m->cpu_io_max = nd->in_count + nd->out_count;
        }
    }
    return NRT_SUCCESS;
}

NRT_STATUS graph_build(struct model *m, struct err *err)
{
    struct build b = {.m = m};
    NRT_STATUS status;

    status = scan_names(&b, err);
    if (status == NRT_SUCCESS)
        status = number_names(&b, err);
    if (status == NRT_SUCCESS)
        status = nodes_build(&b, err);
    str_map_fini(&b.map);
    mem_free(b.names);
    return status;
}
