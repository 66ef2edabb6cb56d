/* SPDX-License-Identifier: Apache-2.0 */
/* A profile as JSON: tables, each an array of objects. Times of events are nanoseconds since the
 * first execution of the model in the file began; executions follow each other. */
#include "viewer/views.h"

struct writing {
    struct json_out j;
    const struct viewer_sink *sink;
    bool ok;
};

static void flush(struct writing *w, bool all)
{
    w->ok = w->ok && viewer_flush(&w->j.out, w->sink, all);
}

/* What all rows have: which model and execution they belong to, and when they were. */
static void row_open(struct writing *w, const struct viewer_exec *x, uint64_t base,
                     const struct ntff_event *e)
{
    json_out_open(&w->j, NULL, '{');
    json_out_uint(&w->j, "model_id", x->model->m->id);
    json_out_uint(&w->j, "nc_idx", x->model->m->vnc);
    json_out_uint(&w->j, "execution", x->e->run);
    json_out_thousandths(&w->j, "timestamp", base + e->start_ps);
    json_out_thousandths(&w->j, "duration", e->end_ps - e->start_ps);
    json_out_uint(&w->j, "core", e->unit >> 3);
    json_out_text(&w->j, "engine", isa_engine_name(e->unit & 7));
}

static void row_close(struct writing *w)
{
    json_out_close(&w->j, '}');
    flush(w, false);
}

static void instruction_put(struct writing *w, const struct viewer_exec *x, uint64_t base,
                            const struct ntff_event *e, uint64_t stalled)
{
    const struct viewer_model *m = x->model;
    const struct ntff_record *r = viewer_record(m, e->unit, e->id, NULL);
    struct strbuf text = {0};

    row_open(w, x, base, e);
    json_out_uint(&w->j, "id", e->id);
    json_out_text(&w->j, "opcode", viewer_opcode_name((unsigned)e->value & 0xffff));
    json_out_text(&w->j, "label", r ? ntff_text(m->n, r->label) : "");
    json_out_text(&w->j, "hlo_name", r ? ntff_text(m->n, r->op) : "");
    if (r)
        (void)viewer_record_text(m, r, &text);
    w->ok = w->ok && !text.failed;
    json_out_text(&w->j, "operands", text.s ? text.s : "");
    json_out_text(&w->j, "source_file", r ? ntff_text(m->n, r->file) : "");
    json_out_uint(&w->j, "source_line", r ? r->line : 0);
    json_out_thousandths(&w->j, "semaphore_wait", stalled);
    row_close(w);
    strbuf_fini(&text);
}

static void instructions_put(struct writing *w, const struct viewer_exec *x, uint64_t base)
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
        instruction_put(w, x, base, e,
                        waits[u] && since[u] < e->start_ps ? e->start_ps - since[u] : 0);
        waits[u] = false;
    }
}

static void transfers_put(struct writing *w, const struct viewer_exec *x, uint64_t base)
{
    for (uint32_t i = 0; w->ok && i < x->count; i++) {
        const struct ntff_event *e = &x->ev[i];
        const struct ntff_xfer *t;
        const char *name;

        if (e->kind != TIME_EV_XFER)
            continue;
        t = viewer_xfer(x->model, e->unit >> 3, (uint32_t)e->value, NULL);
        row_open(w, x, base, e);
        json_out_uint(&w->j, "id", e->id);
        if (t) {
            name = viewer_queue_name(x->model, t->core, t->queue);
            json_out_uint(&w->j, "queue", t->queue);
            json_out_text(&w->j, "queue_name", name ? name : "");
            json_out_uint(&w->j, "first_dma_engine", t->first_engine);
            json_out_uint(&w->j, "dma_engines", t->engines);
            json_out_uint(&w->j, "bytes", t->bytes);
        }
        row_close(w);
    }
}

static void collectives_put(struct writing *w, const struct viewer_exec *x, uint64_t base)
{
    for (uint32_t i = 0; w->ok && i < x->count; i++) {
        const struct ntff_event *e = &x->ev[i];
        struct timeline_coll c = {0};

        if (e->kind != TIME_EV_COLL)
            continue;
        viewer_facts.coll(x->model, e->unit >> 3, (uint32_t)e->value, &c);
        row_open(w, x, base, e);
        json_out_uint(&w->j, "id", e->id);
        json_out_uint(&w->j, "entry", (uint32_t)e->value);
        json_out_uint(&w->j, "stream", e->index);
        json_out_text(&w->j, "operation", c.name ? c.name : "");
        row_close(w);
    }
}

typedef void (*table_put)(struct writing *w, const struct viewer_exec *x, uint64_t base);

static NRT_STATUS execs_put(struct writing *w, const struct viewer_figures *f, table_put put,
                            struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;
    uint64_t base = 0;

    for (const struct ntff_exec *e = viewer_exec_first(f->model); w->ok && e;
         e = viewer_exec_next(f->model, e)) {
        struct viewer_exec x;

        st = viewer_exec_init(&x, f->model, e, err);
        if (st != NRT_SUCCESS)
            break;
        put(w, &x, base);
        base += e->total_ps;
        viewer_exec_fini(&x);
    }
    return st;
}

static NRT_STATUS table_write(struct writing *w, const char *name, table_put put,
                              const struct viewer_shown *const *s, size_t count, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    json_out_open(&w->j, name, '[');
    for (size_t i = 0; st == NRT_SUCCESS && i < count; i++)
        st = execs_put(w, s[i]->f, put, err);
    json_out_close(&w->j, ']');
    return st;
}

/* How busy and why idle each engine was, in numbers: what the summary says in words. */
static void engines_put(struct writing *w, const struct viewer_figures *f)
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
        json_out_open(&w->j, NULL, '{');
        json_out_uint(&w->j, "model_id", f->model->m->id);
        json_out_uint(&w->j, "nc_idx", f->model->m->vnc);
        json_out_uint(&w->j, "core", u >> 3);
        json_out_text(&w->j, "engine", isa_engine_name(u & 7));
        json_out_uint(&w->j, "instruction_count", e->records);
        json_out_thousandths(&w->j, "active", e->busy_ps);
        for (unsigned i = 0; i < VIEWER_IDLE_COUNT; i++)
            json_out_thousandths(&w->j, why[i], e->idle_ps[i]);
        row_close(w);
    }
}

static void queues_put(struct writing *w, const struct viewer_figures *f)
{
    for (size_t i = 0; w->ok && i < f->queue_count; i++) {
        const struct viewer_queue *q = &f->queues[i];
        const char *name = viewer_queue_name(f->model, q->core, q->queue);

        json_out_open(&w->j, NULL, '{');
        json_out_uint(&w->j, "model_id", f->model->m->id);
        json_out_uint(&w->j, "nc_idx", f->model->m->vnc);
        json_out_uint(&w->j, "core", q->core);
        json_out_uint(&w->j, "queue", q->queue);
        json_out_text(&w->j, "queue_name", name ? name : "");
        json_out_uint(&w->j, "transfer_count", q->transfers);
        json_out_uint(&w->j, "bytes", q->bytes);
        json_out_thousandths(&w->j, "active", q->active_ps);
        row_close(w);
    }
}

NRT_STATUS viewer_json_profile(const struct viewer_shown *const *s, size_t count,
                               const struct viewer_sink *sink, struct err *err)
{
    struct writing w = {.j = {.indent = 1}, .sink = sink, .ok = true};
    NRT_STATUS st;

    json_out_open(&w.j, NULL, '{');
    json_out_open(&w.j, "summary", '[');
    for (size_t i = 0; i < count; i++) {
        json_out_open(&w.j, NULL, '{');
        viewer_json_summary(s[i], &w.j);
        row_close(&w);
    }
    json_out_close(&w.j, ']');
    json_out_open(&w.j, "engine", '[');
    for (size_t i = 0; i < count; i++)
        engines_put(&w, s[i]->f);
    json_out_close(&w.j, ']');
    json_out_open(&w.j, "queue", '[');
    for (size_t i = 0; i < count; i++)
        queues_put(&w, s[i]->f);
    json_out_close(&w.j, ']');
    st = table_write(&w, "instruction", instructions_put, s, count, err);
    if (st == NRT_SUCCESS)
        st = table_write(&w, "dma", transfers_put, s, count, err);
    if (st == NRT_SUCCESS)
        st = table_write(&w, "collective", collectives_put, s, count, err);
    json_out_close(&w.j, '}');
    strbuf_put(&w.j.out, "\n");
    flush(&w, true);
    if (st == NRT_SUCCESS && w.j.out.failed)
        st = err_set(err, NRT_RESOURCE, "no memory for a profile as JSON");
    else if (st == NRT_SUCCESS && !w.ok)
        st = err_set(err, NRT_FAILURE, "the profile could not be written");
    strbuf_fini(&w.j.out);
    return st;
}
