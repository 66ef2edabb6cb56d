/* SPDX-License-Identifier: Apache-2.0 */
/* Who could have ended a wait: the records of the programs that change the semaphore or event, by
 * their own updates, by transfers that they start, or by collectives. One line per wait and engine
 * tells how many of them lie behind the engine's program counter and how many ahead, and the
 * nearest: a wait for which there is none ahead is for ever. The page and the code are read as
 * hostile. */
#include "diag/dump_int.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "neff/neff.h"

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

/* ---- the code ---- */

/* The streams lie one after the other in the order of the engines; zeros follow. What the page says
 * of their place may be anything: no memory is made for it. */
void dump_code_open(struct dump_code *c, struct device_instance *in,
                    const struct device_live_page *p, bool quick)
{
    uint64_t addr = LOAD(p->code_addr), bytes = LOAD(p->code_bytes), got, i;
    const void *at = NULL;
    unsigned engine = 0;

    *c = (struct dump_code){.base = NULL};
    got = device_peek(in, addr, bytes, &at);
    if (got == 0 && !quick && device_look(in, addr, bytes, &c->look)) {
        got = c->look.size;
        at = c->look.at;
    }
    bytes = got;
    c->base = at;
    for (i = 0; i < bytes / sizeof(struct isa_record); i++) {
        struct isa_record r;

        memcpy(&r, c->base + i * sizeof(r), offsetof(struct isa_record, body));
        if (r.opcode == 0 || r.version != ISA_VERSION || r.engine >= ISA_ENGINES ||
            r.engine < engine)
            break;
        engine = r.engine;
        if (c->count[engine] == 0)
            c->first[engine] = i;
        c->count[engine]++;
    }
}

void dump_code_close(struct dump_code *c)
{
    device_look_end(&c->look);
    c->base = NULL;
}

bool dump_code_get(const struct dump_code *c, unsigned engine, uint64_t number,
                   struct isa_record *ret)
{
    if (!c->base || engine >= ISA_ENGINES || number >= c->count[engine])
        return false;
    memcpy(ret, c->base + (c->first[engine] + number) * sizeof(*ret), sizeof(*ret));
    return true;
}

/* ---- who changes what ---- */

/* Triggers times transfers can be many: after so many comparisons the rest is left out. */
#define WORK_MAX 50000000u

struct wait {
    bool event;
    uint32_t id;
    uint64_t work;
};

static bool update_changes(const struct isa_record *r, const struct wait *w, bool peer)
{
    for (unsigned i = 0; i < r->nupdates && i < 4; i++) {
        const struct isa_update *u = &r->update[i];
        bool event = u->kind == ISA_UPD_EVENT_SET || u->kind == ISA_UPD_EVENT_CLEAR;

        if (u->kind != ISA_UPD_NONE && event == w->event && u->index == w->id &&
            ((u->flags & ISA_UPD_PEER) != 0) == peer)
            return true;
    }
    return false;
}

static bool group_changes(const struct neff_subgraph *sg, const struct neff_dma_group *g,
                          const struct wait *w, bool peer)
{
    uint32_t sem = g->semaphore;

    if (sem == NEFF_NONE && g->event == NEFF_NONE && g->queue < sg->queue_count)
        sem = sg->queues[g->queue].semaphore;
    if (w->event)
        return !peer && g->event == w->id;
    for (unsigned i = 0; peer && i < g->remote_semaphore_count; i++)
        if (g->remote_semaphores[i] == w->id)
            return true;
    return !peer && sem == w->id;
}

/* The queue set of a transfer that the record starts and that changes it; NULL: none. */
static const char *transfer_changes(const struct neff_subgraph *sg, const struct isa_record *r,
                                    struct wait *w, bool peer)
{
    const struct neff_engine_code *code;

    if (r->opcode == ISA_OP_DMA_DYN && !w->event && !peer && r->body.d.semaphore == (int32_t)w->id)
        return "a dynamic transfer";
    if (r->opcode != ISA_OP_DMA_TRIGGER || !sg || r->engine >= NEFF_ENGINE_COUNT)
        return NULL;
    code = &sg->engines[r->engine];
    for (uint32_t i = 0; i < code->group_count && w->work < WORK_MAX; i++, w->work++)
        if (code->groups[i].id == (uint32_t)r->body.s.imm &&
            group_changes(sg, &code->groups[i], w, peer))
            return sg->queues[code->groups[i].queue].name;
    return NULL;
}

/* How the record changes it; NULL: not at all. *ret_what: the queue set, or "". */
static const char *changes(const struct dump_raiser *from, const struct isa_record *r,
                           struct wait *w, const char **ret_what)
{
    *ret_what = "";
    if (update_changes(r, w, from->peer))
        return "update";
    if (r->opcode == ISA_OP_TRIGGER_COLLECTIVE && !w->event && !from->peer &&
        r->body.s.first == w->id + 1)
        return "collective";
    *ret_what = transfer_changes(from->sg, r, w, from->peer);
    return *ret_what ? "transfer" : NULL;
}

static void raise_line(struct dump_out *o, const struct dump_raiser *from, unsigned engine,
                       struct wait *w)
{
    uint64_t pc = LOAD(from->page->engine[engine].pc), ahead = 0, behind = 0, record = 0;
    const char *how = NULL, *what = "", *h, *q;
    bool ended = LOAD(from->page->engine[engine].ended) != 0;
    struct isa_record r;

    for (uint64_t i = 0; dump_code_get(from->code, engine, i, &r); i++) {
        bool is_behind = i < pc || ended;

        h = changes(from, &r, w, &q);
        if (!h)
            continue;
        if (is_behind || ahead == 0) { /* the last one behind, or the first one ahead */
            record = i;
            how = h;
            what = q;
        }
        is_behind ? behind++ : ahead++;
    }
    if (!how)
        return;
    dump_out_begin(o, "raise");
    dump_out_u64(o, w->event ? "event" : "semaphore", w->id);
    dump_out_u64(o, "core", from->core);
    dump_out_text(o, "engine", isa_engine_name(engine));
    dump_out_text(o, "by", how);
    if (what[0])
        dump_out_text(o, "queue", what);
    dump_out_u64(o, "record", record);
    dump_out_u64(o, "behind", behind);
    dump_out_u64(o, "ahead", ahead);
    if (w->work >= WORK_MAX)
        dump_out_u64(o, "cut", 1);
    dump_out_end(o);
}

void dump_raises(struct dump_out *o, const struct device_live_page *waiting,
                 const struct dump_raiser *from, unsigned count)
{
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        const struct device_live_engine *l = &waiting->engine[e];
        uint32_t kind = LOAD(l->wait_kind);
        struct wait w = {.event = kind == DEVICE_WAIT_EVENT, .id = LOAD(l->wait_id)};

        if (LOAD(l->ended) || w.id >= DEVICE_SEMS ||
            (kind != DEVICE_WAIT_EVENT && kind != DEVICE_WAIT_SEMAPHORE &&
             kind != DEVICE_WAIT_SEMAPHORE_EQUAL))
            continue;
        for (unsigned i = 0; i < count; i++)
            for (unsigned f = 0; f < ISA_ENGINES; f++)
                raise_line(o, &from[i], f, &w);
    }
}
