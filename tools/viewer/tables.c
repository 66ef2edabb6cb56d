/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of a profile, row by row. Times of events are nanoseconds since the first execution of
 * the model in the file began; executions follow each other. */
#include "viewer/scratch.h"

/* What all rows have: which model and execution they belong to, and when they were. */
static void row_open(struct viewer_rows *r, const struct viewer_exec *x, uint64_t base,
                     const struct ntff_event *e)
{
    viewer_row(r, true);
    viewer_tag_uint(r, "model_id", x->model->m->id);
    viewer_tag_uint(r, "nc_idx", x->model->m->vnc);
    viewer_tag_uint(r, "execution", x->e->run);
    viewer_time_ps(r, base + e->start_ps);
    viewer_put_ns(r, "duration", e->end_ps - e->start_ps);
    viewer_tag_uint(r, "core", e->unit >> 3);
    viewer_tag_text(r, "engine", isa_engine_name(e->unit & 7));
}

static void row_close(struct viewer_rows *r)
{
    viewer_row(r, false);
}

static void instruction_put(struct viewer_rows *w, const struct viewer_shown *s,
                            const struct viewer_exec *x, uint64_t base, const struct ntff_event *e,
                            uint64_t stalled)
{
    const struct viewer_model *m = x->model;
    const struct ntff_record *r = viewer_record(m, e->unit, e->id, NULL);
    const char *root = NULL, *line = r ? viewer_source_line(s, r, &root) : NULL;
    struct strbuf text = {0};

    row_open(w, x, base, e);
    viewer_put_uint(w, "id", e->id);
    viewer_put_text(w, "opcode", viewer_opcode_name((unsigned)e->value & 0xffff));
    viewer_put_text(w, "label", r ? ntff_text(m->n, r->label) : "");
    viewer_put_text(w, "hlo_name", r ? ntff_text(m->n, r->op) : "");
    if (r)
        (void)viewer_record_text(m, r, &text);
    w->ok = w->ok && !text.failed;
    viewer_put_text(w, "operands", text.s ? text.s : "");
    viewer_put_text(w, "source_file", r ? ntff_text(m->n, r->file) : "");
    viewer_put_uint(w, "source_line", r ? r->line : 0);
    viewer_put_text(w, "source_root", line ? root : "");
    viewer_put_text(w, "source_text", line ? line : "");
    viewer_put_ns(w, "semaphore_wait", stalled);
    row_close(w);
    strbuf_fini(&text);
}

static void instructions_put(struct viewer_rows *w, const struct viewer_shown *s,
                             const struct viewer_exec *x, uint64_t base)
{
    uint64_t since[VIEWER_UNITS];
    bool waits[VIEWER_UNITS] = {false};

    for (uint32_t i = 0; w->ok && i < x->count; i++) {
        const struct ntff_event *e = &x->ev[i];
        unsigned u = e->unit % VIEWER_UNITS;

        if (viewer_is_wait(e) && !waits[u]) {
            waits[u] = true;
            since[u] = e->start_ps;
        }
        if (e->kind != TIME_EV_RECORD)
            continue;
        instruction_put(w, s, x, base, e,
                        waits[u] && since[u] < e->start_ps ? e->start_ps - since[u] : 0);
        waits[u] = false;
    }
}

static void transfers_put(struct viewer_rows *w, const struct viewer_shown *s,
                          const struct viewer_exec *x, uint64_t base)
{
    for (uint32_t i = 0; w->ok && i < x->count; i++) {
        const struct ntff_event *e = &x->ev[i];
        const struct ntff_xfer *t;
        const char *name;

        if (e->kind != TIME_EV_XFER)
            continue;
        t = viewer_xfer(x->model, e->unit >> 3, (uint32_t)e->value, NULL);
        row_open(w, x, base, e);
        viewer_put_uint(w, "id", e->id);
        if (t) {
            name = viewer_queue_name(x->model, t->core, t->queue);
            viewer_put_uint(w, "queue", t->queue);
            viewer_put_text(w, "queue_name", name ? name : "");
            viewer_put_uint(w, "first_dma_engine", t->first_engine);
            viewer_put_uint(w, "dma_engines", t->engines);
            viewer_put_uint(w, "bytes", t->bytes);
        }
        row_close(w);
    }
}

static void collectives_put(struct viewer_rows *w, const struct viewer_shown *s,
                            const struct viewer_exec *x, uint64_t base)
{
    for (uint32_t i = 0; w->ok && i < x->count; i++) {
        const struct ntff_event *e = &x->ev[i];
        struct timeline_coll c = {0};

        if (e->kind != TIME_EV_COLL)
            continue;
        viewer_facts.coll(x->model, e->unit >> 3, (uint32_t)e->value, &c);
        row_open(w, x, base, e);
        viewer_put_uint(w, "id", e->id);
        viewer_put_uint(w, "entry", (uint32_t)e->value);
        viewer_put_uint(w, "stream", e->index);
        viewer_put_text(w, "operation", c.name ? c.name : "");
        row_close(w);
    }
}

typedef void (*table_put)(struct viewer_rows *w, const struct viewer_shown *s,
                          const struct viewer_exec *x, uint64_t base);

static NRT_STATUS execs_put(struct viewer_rows *w, const struct viewer_shown *s, table_put put,
                            struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;
    const struct viewer_figures *f = s->f;
    uint64_t base = 0;

    for (const struct ntff_exec *e = viewer_exec_first(f->model); w->ok && e;
         e = viewer_exec_next(f->model, e)) {
        struct viewer_exec x;

        st = viewer_exec_init(&x, f->model, e, err);
        if (st != NRT_SUCCESS)
            break;
        put(w, s, &x, base);
        base += e->total_ps;
        viewer_exec_fini(&x);
    }
    return st;
}

static NRT_STATUS table_write(struct viewer_rows *w, const char *name, table_put put,
                              const struct viewer_shown *const *s, size_t count, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    viewer_table(w, name);
    for (size_t i = 0; st == NRT_SUCCESS && i < count; i++)
        st = execs_put(w, s[i], put, err);
    viewer_table(w, NULL);
    return st;
}

/* How busy and why idle each engine was, in numbers: what the summary says in words. */
static void engines_put(struct viewer_rows *w, const struct viewer_figures *f)
{
    static const char *const why[VIEWER_IDLE_COUNT] = {
        [VIEWER_IDLE_ENGINE] = "idle_engine",   [VIEWER_IDLE_TRANSFER] = "idle_transfer",
        [VIEWER_IDLE_COLL] = "idle_collective", [VIEWER_IDLE_OTHER] = "idle_unknown",
        [VIEWER_IDLE_BETWEEN] = "idle_between", [VIEWER_IDLE_ENDED] = "idle_ended",
    };

    for (unsigned u = 0; u < VIEWER_UNITS; u++) {
        const struct viewer_engine *e = &f->engine[u];

        if (!e->used)
            continue;
        viewer_row(w, true);
        viewer_tag_uint(w, "model_id", f->model->m->id);
        viewer_tag_uint(w, "nc_idx", f->model->m->vnc);
        viewer_tag_uint(w, "core", u >> 3);
        viewer_tag_text(w, "engine", isa_engine_name(u & 7));
        viewer_put_uint(w, "instruction_count", e->records);
        viewer_put_ns(w, "active", e->busy_ps);
        for (unsigned i = 0; i < VIEWER_IDLE_COUNT; i++)
            viewer_put_ns(w, why[i], e->idle_ps[i]);
        row_close(w);
    }
}

static void queues_put(struct viewer_rows *w, const struct viewer_figures *f)
{
    for (size_t i = 0; w->ok && i < f->queue_count; i++) {
        const struct viewer_queue *q = &f->queues[i];
        const char *name = viewer_queue_name(f->model, q->core, q->queue);

        viewer_row(w, true);
        viewer_tag_uint(w, "model_id", f->model->m->id);
        viewer_tag_uint(w, "nc_idx", f->model->m->vnc);
        viewer_tag_uint(w, "core", q->core);
        viewer_tag_uint(w, "queue", q->queue);
        viewer_put_text(w, "queue_name", name ? name : "");
        viewer_put_uint(w, "transfer_count", q->transfers);
        viewer_put_uint(w, "bytes", q->bytes);
        viewer_put_ns(w, "active", q->active_ps);
        row_close(w);
    }
}

/* ---- the scratchpad ---- */

static void scratch_open(struct viewer_rows *w, const struct viewer_model *m, uint64_t run,
                         uint64_t from_ps, uint64_t to_ps, unsigned core)
{
    viewer_row(w, true);
    viewer_tag_uint(w, "model_id", m->m->id);
    viewer_tag_uint(w, "nc_idx", m->m->vnc);
    viewer_tag_uint(w, "execution", run);
    viewer_time_ps(w, from_ps);
    viewer_put_ns(w, "duration", to_ps - from_ps);
    viewer_tag_uint(w, "core", core);
}

static void usage_put(struct viewer_rows *w, const struct viewer_shown *s)
{
    for (size_t i = 0; w->ok && i < s->scratch->step_count; i++) {
        const struct viewer_scratch_step *t = &s->scratch->steps[i];

        scratch_open(w, s->f->model, t->run, t->from_ps, t->to_ps, t->core);
        viewer_put_uint(w, "usage", t->bytes);
        row_close(w);
    }
}

static void tensors_put(struct viewer_rows *w, const struct viewer_shown *s)
{
    for (size_t i = 0; w->ok && i < s->scratch->use_count; i++) {
        const struct viewer_scratch_use *u = &s->scratch->uses[i];

        scratch_open(w, s->f->model, u->run, u->from_ps, u->to_ps, u->core);
        viewer_tag_text(w, "tensor_name", u->var->name);
        viewer_put_text(w, "type", neff_var_type_name(u->var->type));
        viewer_put_uint(w, "size", u->var->size);
        viewer_put_uint(w, "written", u->written);
        viewer_put_uint(w, "read", u->read);
        row_close(w);
    }
}

static void scratch_table(struct viewer_rows *w, const char *name,
                          void (*put)(struct viewer_rows *w, const struct viewer_shown *s),
                          const struct viewer_shown *const *s, size_t count)
{
    viewer_table(w, name);
    for (size_t i = 0; i < count; i++)
        if (s[i]->scratch)
            put(w, s[i]);
    viewer_table(w, NULL);
}

/* ---- all of them ---- */

static void figures_table(struct viewer_rows *w, const char *name,
                          void (*put)(struct viewer_rows *w, const struct viewer_figures *f),
                          const struct viewer_shown *const *s, size_t count)
{
    viewer_table(w, name);
    for (size_t i = 0; i < count; i++)
        put(w, s[i]->f);
    viewer_table(w, NULL);
}

NRT_STATUS viewer_tables_put(const struct viewer_shown *const *s, size_t count,
                             struct viewer_rows *w, struct err *err)
{
    bool scratch = count > 0 && s[0]->scratch;
    NRT_STATUS st;

    viewer_table(w, "summary");
    for (size_t i = 0; i < count; i++) {
        viewer_row(w, true);
        viewer_summary_put(s[i], w);
        row_close(w);
    }
    viewer_table(w, NULL);
    figures_table(w, "engine", engines_put, s, count);
    figures_table(w, "queue", queues_put, s, count);
    st = table_write(w, "instruction", instructions_put, s, count, err);
    if (st == NRT_SUCCESS)
        st = table_write(w, "dma", transfers_put, s, count, err);
    if (st == NRT_SUCCESS)
        st = table_write(w, "collective", collectives_put, s, count, err);
    if (st == NRT_SUCCESS && scratch) {
        scratch_table(w, "scratchpad_usage", usage_put, s, count);
        scratch_table(w, "scratchpad_tensor", tensors_put, s, count);
    }
    return st;
}
