/* SPDX-License-Identifier: Apache-2.0 */
/* Why an execution did not end well, as facts and as text. Only failures come here. */
#include "core/core_int.h"

#include <stdio.h>
#include <string.h>

static void engine_state(const struct core_exec *x, unsigned core, unsigned engine,
                         struct core_engine_state *ret)
{
    const struct core *c = x->core[core];
    const struct core_program *p = x->run->program[core];
    const struct core_engine *e = &c->engine[engine];
    const struct neff_engine_code *ec = &p->sg->engines[engine];
    const struct isa_op_info *info;

    memset(ret, 0, sizeof(*ret));
    if (!e->present)
        return;
    ret->present = true;
    ret->ended = e->ended;
    ret->stalled = e->stalled;
    ret->record = e->pc;
    ret->opcode = p->code[engine].opcodes[e->pc];
    info = isa_op_info(ret->opcode);
    ret->op_name = info != NULL ? info->name : "?";
    ret->barrier = e->barrier;
    ret->full = e->full;
    if (e->pc < ec->debug_count) {
        const struct neff_debug_record *d = &ec->debug[e->pc];

        ret->file = d->file;
        ret->label = d->label;
        ret->source_op = d->op;
        ret->line = d->line;
    }
    for (unsigned i = 0; e->stalled && i < e->nconds; i++) {
        const struct core_cond *w = &e->conds[i];
        int32_t want = w->reg != ISA_NO_REG ? (int32_t)e->regs[w->reg] : w->value;
        bool sem = w->kind == ISA_WAIT_SEM_GE || w->kind == ISA_WAIT_SEM_EQ;
        int32_t have = sem ? core_semaphore(c, w->index) : core_event(c, w->index);

        if (!sem)
            want = w->kind == ISA_WAIT_EVENT_SET;
        if (sem && w->kind == ISA_WAIT_SEM_GE ? have >= want : have == want)
            continue;
        ret->wait_kind = w->kind;
        ret->wait_index = w->index;
        ret->wanted = want;
        ret->value = have;
        ret->since_ns = e->since_ns;
        break;
    }
}

/* "pe record 12 nc_matmul (attn.nasm:14 loop)" */
static void state_where(const struct core_engine_state *s, unsigned core, unsigned count,
                        unsigned engine, struct strbuf *out)
{
    if (count > 1)
        strbuf_printf(out, "core %u ", core);
    strbuf_printf(out, "%s record %u %s", isa_engine_name(engine), s->record, s->op_name);
    if (s->file != NULL || s->label != NULL || s->source_op != NULL) {
        strbuf_put(out, " (");
        if (s->file != NULL)
            strbuf_printf(out, "%s:%u", s->file, s->line);
        if (s->label != NULL)
            strbuf_printf(out, "%s%s", s->file != NULL ? " " : "", s->label);
        if (s->source_op != NULL)
            strbuf_printf(out, "%s%s", s->file != NULL || s->label != NULL ? " " : "",
                          s->source_op);
        strbuf_put(out, ")");
    }
}

static void state_wait(const struct core_engine_state *s, struct strbuf *out)
{
    if (s->barrier)
        strbuf_put(out, " in a core barrier");
    if (s->full)
        strbuf_put(out, " waits for room in the stream of its collective");
    switch (s->wait_kind) {
    case ISA_WAIT_SEM_GE:
    case ISA_WAIT_SEM_EQ:
        strbuf_printf(out, " waits for semaphore %u %s %d, value %d", s->wait_index,
                      s->wait_kind == ISA_WAIT_SEM_GE ? ">=" : "==", s->wanted, s->value);
        break;
    case ISA_WAIT_EVENT_SET:
    case ISA_WAIT_EVENT_CLEAR:
        strbuf_printf(out, " waits for event %u to be %s", s->wait_index,
                      s->wait_kind == ISA_WAIT_EVENT_SET ? "set" : "cleared");
        break;
    default:
        break;
    }
}

/* One line into report->err: what happened and where. */
static void fill_err(struct core_exec *x, struct core_report *r)
{
    const struct core_engine_state *s = &r->engines[r->core][r->engine];
    char what[ERR_TEXT_MAX];
    struct strbuf b = {0};

    if (r->end == CORE_END_CHECK)
        return; /* names its records itself */
    snprintf(what, sizeof(what), "%s", r->err.text);
    r->err.status = NRT_SUCCESS;
    state_where(s, r->core, r->count, r->engine, &b);
    switch (r->end) {
    case CORE_END_HANG:
        state_wait(s, &b);
        strbuf_put(&b, ", which nothing can change any more");
        break;
    case CORE_END_STALL:
        state_wait(s, &b);
        strbuf_printf(&b, ", and what it waits for did nothing for %llu ms",
                      (unsigned long long)(x->run->timeout_ns / 1000000));
        break;
    case CORE_END_TIMEOUT:
        strbuf_printf(&b, " reached %llu ms of device time",
                      (unsigned long long)(x->limit_ps / 1000000000));
        break;
    case CORE_END_CANCELLED:
        strbuf_put(&b, " was cancelled");
        break;
    default:
        strbuf_printf(&b, ": %s", what);
        break;
    }
    err_set(&r->err, r->status, "%s", b.failed || b.s == NULL ? what : b.s);
    strbuf_fini(&b);
}

void report_fill(struct core_exec *x)
{
    struct core_report *r = x->report;

    r->count = x->count;
    r->core = x->fail_core;
    r->engine = x->fail_engine;
    r->record = x->core[x->fail_core]->engine[x->fail_engine].pc;
    r->dynamic_dma = x->fail_dynamic;
    r->embedding_update = x->fail_embedding;
    r->pending_transfers = x->npending;
    for (unsigned i = 0; i < x->count; i++) {
        unsigned n = 0;

        for (unsigned e = 0; e < ISA_ENGINES; e++)
            engine_state(x, i, e, &r->engines[i][e]);
        for (unsigned s = 0; s < ISA_SEMAPHORES; s++) {
            int32_t v = core_semaphore(x->core[i], s);

            if (v != 0) {
                r->semaphores[i][n].index = (uint8_t)s;
                r->semaphores[i][n++].value = v;
            }
        }
        r->semaphore_count[i] = (uint16_t)n;
    }
    fill_err(x, r);
}

void core_report_text(const struct core_report *r, struct strbuf *out)
{
    if (r->end == CORE_END_DONE || r->count == 0) {
        strbuf_printf(out, "%s\n", r->err.text);
        return;
    }
    for (unsigned i = 0; i < r->count; i++) {
        for (unsigned e = 0; e < ISA_ENGINES; e++) {
            const struct core_engine_state *s = &r->engines[i][e];

            if (!s->present)
                continue;
            state_where(s, i, r->count, e, out);
            if (s->ended)
                strbuf_put(out, " ended");
            else if (s->stalled || s->full)
                state_wait(s, out);
            else
                strbuf_put(out, " was running");
            strbuf_put(out, "\n");
        }
    }
    for (unsigned i = 0; i < r->count; i++) {
        if (r->count > 1)
            strbuf_printf(out, "core %u ", i);
        strbuf_put(out, "semaphores");
        for (unsigned k = 0; k < r->semaphore_count[i]; k++)
            strbuf_printf(out, " %u:%d", r->semaphores[i][k].index, r->semaphores[i][k].value);
        strbuf_put(out, r->semaphore_count[i] == 0 ? " all 0\n" : "\n");
    }
    if (r->pending_transfers > 0)
        strbuf_printf(out, "%u transfers not done\n", r->pending_transfers);
}
