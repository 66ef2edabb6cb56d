/* SPDX-License-Identifier: Apache-2.0 */
/* What let a wait go is not in the file: it is the last update of its semaphore or event, in time
 * and then in the file, that is not later than the wait's end. So the updates are put in order by
 * what they change, and each wait looks its own up. */
#include "viewer/profile.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ---- models ---- */

NRT_STATUS viewer_file_init(struct viewer_file *ret, const struct ntff *n, struct err *err)
{
    struct viewer_file f = {.n = n,
                            .first = mem_calloc(n->model_count + 1, sizeof(*f.first)),
                            .next = mem_calloc(n->exec_count + 1, sizeof(*f.next))};

    if (!f.first || !f.next) {
        viewer_file_fini(&f);
        return err_set(err, NRT_RESOURCE, "no memory for the executions of a profile");
    }
    for (uint64_t i = n->exec_count; i-- > 0;) {
        f.next[i] = f.first[n->execs[i].model];
        f.first[n->execs[i].model] = i + 1;
    }
    *ret = f;
    return NRT_SUCCESS;
}

void viewer_file_fini(struct viewer_file *f)
{
    mem_free(f->first);
    mem_free(f->next);
    *f = (struct viewer_file){0};
}

const struct ntff_exec *viewer_exec_first(const struct viewer_model *m)
{
    uint64_t i = m->file->first[m->m - m->n->models];

    return i ? &m->n->execs[i - 1] : NULL;
}

const struct ntff_exec *viewer_exec_next(const struct viewer_model *m, const struct ntff_exec *e)
{
    uint64_t i = m->file->next[e - m->n->execs];

    return i ? &m->n->execs[i - 1] : NULL;
}

void viewer_model_init(struct viewer_model *ret, const struct viewer_file *f, uint64_t index,
                       const struct neff *neff)
{
    const struct ntff *n = f->n;
    const struct ntff_model *m = &n->models[index];

    *ret = (struct viewer_model){.n = n, .file = f, .m = m, .neff = neff};
    memset(ret->first_record, 0xff, sizeof(ret->first_record)); /* VIEWER_NONE */
    memset(ret->first_xfer, 0xff, sizeof(ret->first_xfer));
    for (uint32_t i = m->records; i-- > 0;) {
        const struct ntff_record *r = &n->records[m->first_record + i];

        if (r->record == 0)
            ret->first_record[TIME_UNIT(r->core, r->engine)] = i;
    }
    for (uint32_t i = m->xfers; i-- > 0;)
        if (n->xfers[m->first_xfer + i].index == 0)
            ret->first_xfer[n->xfers[m->first_xfer + i].core] = i;
}

/* Item `id` of the model's items that begin at first, if it is where its number says: same tells
 * whether the item at a place is it. Its place, VIEWER_NONE: there is none. */
static uint32_t item_find(const struct viewer_model *m, uint32_t first, uint32_t id, uint32_t count,
                          unsigned owner,
                          bool (*same)(const struct viewer_model *m, uint32_t place, unsigned owner,
                                       uint32_t id))
{
    uint32_t i = first < count && id < count - first ? first + id : VIEWER_NONE;

    return i != VIEWER_NONE && same(m, i, owner, id) ? i : VIEWER_NONE;
}

static bool same_record(const struct viewer_model *m, uint32_t place, unsigned unit, uint32_t id)
{
    const struct ntff_record *r = &m->n->records[m->m->first_record + place];

    return r->record == id && TIME_UNIT(r->core, r->engine) == unit;
}

static bool same_xfer(const struct viewer_model *m, uint32_t place, unsigned core, uint32_t index)
{
    const struct ntff_xfer *x = &m->n->xfers[m->m->first_xfer + place];

    return x->index == index && x->core == core;
}

const struct ntff_record *viewer_record(const struct viewer_model *m, unsigned unit, uint32_t id,
                                        uint32_t *ret_index)
{
    uint32_t i =
        item_find(m, m->first_record[unit % VIEWER_UNITS], id, m->m->records, unit, same_record);

    if (ret_index && i != VIEWER_NONE)
        *ret_index = i;
    return i == VIEWER_NONE ? NULL : &m->n->records[m->m->first_record + i];
}

const struct ntff_xfer *viewer_xfer(const struct viewer_model *m, unsigned core, uint32_t index,
                                    uint32_t *ret_index)
{
    uint32_t i =
        item_find(m, m->first_xfer[core % TIME_CORES], index, m->m->xfers, core, same_xfer);

    if (ret_index && i != VIEWER_NONE)
        *ret_index = i;
    return i == VIEWER_NONE ? NULL : &m->n->xfers[m->m->first_xfer + i];
}

const struct neff_subgraph *viewer_subgraph(const struct viewer_model *m, unsigned core)
{
    return m->neff && core < m->neff->graph_count ? &m->neff->graphs[core] : NULL;
}

const char *viewer_queue_name(const struct viewer_model *m, unsigned core, uint32_t queue)
{
    const struct neff_subgraph *sg = viewer_subgraph(m, core);

    return sg && queue < sg->queue_count ? sg->queues[queue].name : NULL;
}

bool viewer_record_text(const struct viewer_model *m, const struct ntff_record *r,
                        struct strbuf *out)
{
    const struct neff_subgraph *sg = viewer_subgraph(m, r->core);
    struct isa_record rec;

    if (!sg || !sg->isa_name || strcmp(sg->isa_name, NEFF_ISA_NAME) != 0 ||
        r->record >= sg->engines[r->engine].instr_bytes / sizeof(rec))
        return false;
    memcpy(&rec, sg->engines[r->engine].instr + (size_t)r->record * sizeof(rec), sizeof(rec));
    if (rec.opcode != r->opcode) /* not the program that was executed */
        return false;
    isa_print_record(&rec, out);
    return true;
}

const char *viewer_opcode_name(unsigned opcode)
{
    const struct isa_op_info *op = isa_op_info(opcode);

    return op ? op->name : "unknown";
}

/* ---- executions ---- */

struct change {
    uint64_t ps;
    uint32_t key, event;
};

enum { KEY_EVENT = 256, KEY_CORE = 512 };

static uint32_t key_of(unsigned core, bool event, unsigned index)
{
    return core * KEY_CORE + (event ? KEY_EVENT : 0) + index;
}

static bool is_update(const struct ntff_event *e)
{
    return e->kind == TIME_EV_READ || e->kind == TIME_EV_COMPLETE || e->kind == TIME_EV_XFER_UPDATE;
}

static int in_order(const void *a, const void *b)
{
    const struct change *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    if (x->ps != y->ps)
        return x->ps < y->ps ? -1 : 1;
    return (x->event > y->event) - (x->event < y->event);
}

/* The last change of that key until ps. */
static uint32_t change_find(const struct change *c, size_t count, uint32_t key, uint64_t ps)
{
    size_t low = 0, high = count; /* all before low are not later */

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (c[mid].key < key || (c[mid].key == key && c[mid].ps <= ps))
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 && c[low - 1].key == key ? c[low - 1].event : VIEWER_NONE;
}

static void causes_find(struct viewer_exec *x, struct change *c)
{
    size_t n = 0;

    for (uint32_t i = 0; i < x->count; i++) {
        const struct ntff_event *e = &x->ev[i];
        unsigned kind = e->op & 0x3f;
        unsigned core = (unsigned)(e->unit >> 3) ^ (e->op & TIME_OP_PEER ? 1u : 0u);

        if (is_update(e))
            c[n++] =
                (struct change){e->start_ps, key_of(core, kind >= ISA_UPD_EVENT_SET, e->index), i};
    }
    if (n > 1)
        qsort(c, n, sizeof(*c), in_order);
    for (uint32_t i = 0; i < x->count; i++) {
        const struct ntff_event *e = &x->ev[i];

        x->by[i] =
            e->kind == TIME_EV_WAIT
                ? change_find(c, n,
                              key_of(e->unit >> 3, (e->op & 0x3f) >= ISA_WAIT_EVENT_SET, e->index),
                              e->end_ps)
                : VIEWER_NONE;
    }
}

static bool is_start(const struct ntff_event *e)
{
    return e->kind == TIME_EV_XFER || e->kind == TIME_EV_COLL;
}

NRT_STATUS viewer_exec_init(struct viewer_exec *ret, const struct viewer_model *m,
                            const struct ntff_exec *e, struct err *err)
{
    struct viewer_exec x = {.model = m, .e = e, .ev = m->n->events + e->first_event};
    struct change *c = NULL;

    if (e->events < VIEWER_NONE) {
        x.count = (uint32_t)e->events;
        x.by = mem_calloc((size_t)x.count + 1, sizeof(*x.by));
        x.starts = mem_calloc((size_t)x.count + 1, sizeof(*x.starts));
        c = mem_calloc((size_t)x.count + 1, sizeof(*c));
    }
    if (!x.by || !x.starts || !c) {
        mem_free(c);
        viewer_exec_fini(&x);
        return err_set(err, NRT_RESOURCE, "no memory for the %llu events of an execution",
                       (unsigned long long)e->events);
    }
    for (uint32_t i = 0; i < x.count; i++)
        if (is_start(&x.ev[i]))
            x.starts[x.serials++] = i;
    causes_find(&x, c);
    mem_free(c);
    *ret = x;
    return NRT_SUCCESS;
}

void viewer_exec_fini(struct viewer_exec *x)
{
    mem_free(x->by);
    mem_free(x->starts);
    *x = (struct viewer_exec){0};
}

const struct ntff_event *viewer_start(const struct viewer_exec *x, uint32_t serial)
{
    return serial < x->serials ? &x->ev[x->starts[serial]] : NULL;
}

/* ---- for timelines ---- */

static const char *text_of(const struct viewer_model *m, uint32_t text)
{
    return text ? ntff_text(m->n, text) : NULL;
}

static void record_facts(const void *arg, unsigned core, unsigned engine, uint32_t id,
                         struct timeline_record *ret, struct strbuf *text)
{
    const struct viewer_model *m = arg;
    const struct ntff_record *r = viewer_record(m, TIME_UNIT(core, engine), id, NULL);

    if (!r)
        return;
    (void)viewer_record_text(m, r, text);
    ret->name = viewer_opcode_name(r->opcode);
    ret->label = text_of(m, r->label);
    ret->op = text_of(m, r->op);
    ret->file = text_of(m, r->file);
    ret->line = r->line;
}

static void xfer_facts(const void *arg, unsigned core, uint32_t index, struct timeline_xfer *ret)
{
    const struct viewer_model *m = arg;
    const struct ntff_xfer *x = viewer_xfer(m, core, index, NULL);
    const struct neff_subgraph *sg = viewer_subgraph(m, core);

    if (!x)
        return;
    ret->queue_name = viewer_queue_name(m, core, x->queue);
    if (ret->queue_name)
        ret->type = neff_queue_type_name(sg->queues[x->queue].type);
    ret->queue = x->queue;
    ret->first_engine = x->first_engine;
    ret->engines = x->engines;
    ret->bytes = x->bytes;
}

static void coll_facts(const void *arg, unsigned core, uint32_t entry, struct timeline_coll *ret)
{
    const struct neff_subgraph *sg = viewer_subgraph(arg, core);

    if (sg)
        timeline_coll_facts(sg, entry, ret);
}

const struct timeline_facts viewer_facts = {record_facts, xfer_facts, coll_facts};
