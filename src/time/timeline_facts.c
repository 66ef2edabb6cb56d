/* SPDX-License-Identifier: Apache-2.0 */
/* What the numbers of an execution's events mean, from the programs and subgraphs it ran. */
#include <string.h>

#include "time/timeline.h"

static void record_of(const void *arg, unsigned core, unsigned engine, uint32_t id,
                      struct timeline_record *ret, struct strbuf *text)
{
    const struct timeline_programs *p = arg;
    const struct neff_engine_code *code = &p->sg[core]->engines[engine];
    struct isa_record r = {0};
    const struct isa_op_info *op;

    if ((id + (uint64_t)1) * sizeof(r) <= code->instr_bytes)
        memcpy(&r, code->instr + (size_t)id * sizeof(r), sizeof(r));
    isa_print_record(&r, text);
    op = isa_op_info(r.opcode);
    ret->name = op != NULL ? op->name : NULL;
    ret->guess = p->progs[core]->cost[engine][id].guess;
    if (id < code->debug_count) {
        const struct neff_debug_record *d = &code->debug[id];

        ret->label = d->label;
        ret->op = d->op;
        ret->file = d->file;
        ret->line = d->line;
    }
}

static void xfer_of(const void *arg, unsigned core, uint32_t index, struct timeline_xfer *ret)
{
    const struct timeline_programs *p = arg;
    const struct time_xfer *x = &p->progs[core]->xfers[index];
    const struct neff_subgraph *sg = p->sg[core];

    if (x->queue < sg->queue_count) {
        ret->queue_name = sg->queues[x->queue].name;
        ret->type = neff_queue_type_name(sg->queues[x->queue].type);
    }
    ret->descriptors = x->hwdge ? "hardware DGE" : NULL;
    ret->queue = x->queue;
    ret->first_engine = x->first_engine;
    ret->engines = x->engines;
    ret->bytes = x->bytes;
    ret->packet_ps = x->packet_ps;
}

void timeline_coll_facts(const struct neff_subgraph *sg, uint32_t entry, struct timeline_coll *ret)
{
    const struct neff_coll *c;

    if (entry >= sg->coll_count)
        return;
    c = &sg->colls[entry];
    ret->name = neff_coll_op_name(c->op);
    ret->algorithm = c->algorithm;
    ret->sizes = true;
    for (uint32_t k = 0; k < c->in_count; k++)
        ret->bytes_in += c->in[k].size;
    for (uint32_t k = 0; k < c->out_count; k++)
        ret->bytes_out += c->out[k].size;
}

static void coll_of(const void *arg, unsigned core, uint32_t entry, struct timeline_coll *ret)
{
    const struct timeline_programs *p = arg;

    timeline_coll_facts(p->sg[core], entry, ret);
    if (p->moves)
        ret->moves = p->moves(p->moves_arg, core, entry);
}

const struct timeline_facts timeline_program_facts = {record_of, xfer_of, coll_of};
