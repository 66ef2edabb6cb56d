/* SPDX-License-Identifier: Apache-2.0 */
/* Summaries and memory charts are part of the page's text; timelines are JSON that its script
 * draws. Three forms of escape keep texts of files what they are: entities in the text, JSON's own
 * in the data, and there '<' as a number, since the data stand inside an element. */
#include "viewer/report.h"

#include <inttypes.h>
#include <string.h>

#include "page.inc"
#include "viewer/scratch.h"

#define CHART_WIDTH  1000u
#define CHART_HEIGHT 100u

struct page {
    struct strbuf text;
    struct json_out j;
    const struct viewer_sink *sink;
    uint64_t room; /* slices that the timeline can still take */
    bool ok;
};

/* ---- escapes ---- */

void viewer_html_put(struct strbuf *out, const char *text)
{
    for (; *text; text++) {
        size_t n = strcspn(text, "&<>\"'");

        strbuf_putn(out, text, n);
        text += n;
        if (!*text)
            break;
        strbuf_printf(out, "&#%d;", *text);
    }
}

static void flush(struct page *p, bool all)
{
    p->ok = p->ok && viewer_flush(&p->text, p->sink, all);
}

/* JSON so far, as text of a script element. */
static void data_flush(struct page *p, bool all)
{
    const size_t much = 1u << 16;

    if (p->j.out.failed || (!all && p->j.out.len < much)) {
        p->ok = p->ok && !p->j.out.failed;
        return;
    }
    for (size_t i = 0; i < p->j.out.len; i++) {
        const char *at = p->j.out.s + i;
        const char *open = memchr(at, '<', p->j.out.len - i);
        size_t n = open ? (size_t)(open - at) : p->j.out.len - i;

        strbuf_putn(&p->text, at, n);
        strbuf_put(&p->text, open ? "\\u003c" : "");
        i += n;
    }
    p->j.out.len = 0;
    flush(p, all);
}

/* ---- the text ---- */

static bool has_scratch(const struct viewer_scratch *t, unsigned core)
{
    for (size_t i = 0; i < t->use_count; i++)
        if (t->uses[i].core == core)
            return true;
    return false;
}

/* The scratchpad of a core over time: a line that steps. */
static void scratch_put(struct page *p, const struct viewer_shown *s, unsigned core)
{
    const struct viewer_scratch *t = s->scratch;
    uint64_t whole = s->f->total_ps;
    const char *sep = "";

    strbuf_printf(&p->text,
                  "<h3>Scratchpad of core %u over time</h3>\n<svg class=\"scratchpad\" viewBox=\"0"
                  " 0 %u %u\" preserveAspectRatio=\"none\"><polyline fill=\"none\""
                  " stroke=\"#59a14f\" points=\"",
                  core, CHART_WIDTH, CHART_HEIGHT);
    for (size_t i = 0; i < t->step_count; i++) {
        double y = CHART_HEIGHT * (1 - viewer_share(t->steps[i].bytes, t->peak_bytes));

        if (t->steps[i].core != core)
            continue;
        strbuf_printf(&p->text, "%s%.2f,%.2f %.2f,%.2f", sep,
                      CHART_WIDTH * viewer_share(t->steps[i].from_ps, whole), y,
                      CHART_WIDTH * viewer_share(t->steps[i].to_ps, whole), y);
        sep = " ";
        flush(p, false);
    }
    strbuf_printf(&p->text,
                  "\"/></svg>\n<div class=\"hint\">From 0 to %.3f us; the top is %" PRIu64
                  " bytes.</div>\n",
                  (double)whole / 1e6, t->peak_bytes);
    flush(p, false);
}

static void summary_put(struct page *p, const struct viewer_shown *s, size_t number, bool all)
{
    struct strbuf plain = {0}, words = {0};

    viewer_text_plain(&plain, s->file);
    (void)viewer_text_words(s, &words);
    strbuf_put(&p->text, "<h2>");
    viewer_html_put(&p->text, plain.s ? plain.s : "");
    strbuf_put(&p->text, "</h2>\n<pre>");
    viewer_html_put(&p->text, words.s ? words.s : "");
    strbuf_put(&p->text, "</pre>\n");
    strbuf_printf(&p->text,
                  "<canvas id=\"timeline%zu\"></canvas>\n<div class=\"tip\" id=\"tip%zu\"></div>\n"
                  "<div class=\"hint\">Wheel: zoom; drag: move; double click: all.%s</div>\n",
                  number, number,
                  all ? "" : " The shortest slices are not drawn: there are too many.");
    p->ok = p->ok && !plain.failed && !words.failed;
    strbuf_fini(&plain);
    strbuf_fini(&words);
    flush(p, false);
    for (unsigned c = 0; c < TIME_CORES && s->scratch; c++)
        if (has_scratch(s->scratch, c))
            scratch_put(p, s, c);
}

static void memory_put(struct page *p, const struct viewer_system *s)
{
    uint64_t most = 1, first, span;
    struct strbuf plain = {0};

    if (s->memory_count < 2)
        return;
    first = s->memory[0].ns;
    span = s->memory[s->memory_count - 1].ns - first;
    for (size_t i = 0; i < s->memory_count; i++)
        most = s->memory[i].a > most ? s->memory[i].a : most;
    viewer_text_plain(&plain, viewer_system_text(s, s->instance));
    strbuf_put(&p->text, "<h2>Memory of the host over time: ");
    viewer_html_put(&p->text, plain.s ? plain.s : "");
    strbuf_printf(
        &p->text,
        ", process %" PRIu64 "</h2>\n<svg class=\"memory\" viewBox=\"0 0 %u %u\""
        " preserveAspectRatio=\"none\"><polyline fill=\"none\" stroke=\"#4e79a7\" points=\"",
        s->process, CHART_WIDTH, CHART_HEIGHT);
    for (size_t i = 0; i < s->memory_count; i++) {
        strbuf_printf(&p->text, "%s%.2f,%.2f", i ? " " : "",
                      CHART_WIDTH * viewer_share(s->memory[i].ns - first, span),
                      CHART_HEIGHT * (1 - viewer_share(s->memory[i].a, most)));
        flush(p, false);
    }
    strbuf_printf(&p->text,
                  "\"/></svg>\n<div class=\"hint\">From 0 to %.3f s; the top is %" PRIu64
                  " bytes.</div>\n",
                  (double)span / 1e9, most);
    strbuf_fini(&plain);
    flush(p, false);
}

/* ---- timelines ---- */

enum slice_kind { SLICE_RECORD, SLICE_XFER, SLICE_COLL, SLICE_WAIT };

/* Rows: the engines, then the queues in the order of the figures, then the streams. */
static size_t stream_row(const struct viewer_figures *f, unsigned stream)
{
    return VIEWER_UNITS + f->queue_count + stream;
}

static size_t queue_row(const struct viewer_figures *f, const struct ntff_xfer *x)
{
    size_t low = 0, high = f->queue_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct viewer_queue *q = &f->queues[mid];

        if (q->core < x->core || (q->core == x->core && q->queue < x->queue))
            low = mid + 1;
        else
            high = mid;
    }
    return VIEWER_UNITS + low;
}

/* What must be as long to be drawn, ps: 0 while all of them fit. */
static uint64_t least_ps(const struct viewer_figures *f)
{
    uint64_t slices = f->transfers + f->colls;

    for (unsigned u = 0; u < VIEWER_UNITS; u++)
        slices += 2 * f->engine[u].records;
    return slices <= VIEWER_SLICES_MAX ? 0 : f->total_ps / VIEWER_SLICES_MAX + 1;
}

static void slice_put(struct page *p, size_t row, uint64_t start_ps, uint64_t ps, int64_t label,
                      enum slice_kind kind)
{
    p->room--;
    json_out_open(&p->j, NULL, '[');
    json_out_uint(&p->j, NULL, row);
    json_out_thousandths(&p->j, NULL, start_ps);
    json_out_thousandths(&p->j, NULL, ps);
    json_out_int(&p->j, NULL, label);
    json_out_uint(&p->j, NULL, kind);
    json_out_close(&p->j, ']');
    data_flush(p, false);
}

static void slices_put(struct page *p, const struct viewer_figures *f, const struct viewer_exec *x,
                       uint64_t base, uint64_t least)
{
    for (uint32_t i = 0; p->ok && p->room > 0 && i < x->count; i++) {
        const struct ntff_event *e = &x->ev[i];
        uint64_t ps = e->end_ps - e->start_ps;
        uint32_t index;

        if (ps < least)
            continue;
        if (e->kind == TIME_EV_RECORD)
            slice_put(p, e->unit, base + e->start_ps, ps,
                      viewer_record(x->model, e->unit, e->id, &index) ? (int64_t)index : -1,
                      SLICE_RECORD);
        else if (e->kind == TIME_EV_COLL)
            slice_put(p, stream_row(f, e->index), base + e->start_ps, ps, -1, SLICE_COLL);
        else if (viewer_is_wait(e) && ps > 0)
            slice_put(p, e->unit, base + e->start_ps, ps, -1, SLICE_WAIT);
        else if (e->kind == TIME_EV_XFER) {
            const struct ntff_xfer *t =
                viewer_xfer(x->model, e->unit >> 3, (uint32_t)e->value, &index);

            if (t)
                slice_put(p, queue_row(f, t), base + e->start_ps, ps,
                          (int64_t)x->model->m->records + index, SLICE_XFER);
        }
    }
}

static void row_put(struct page *p, size_t row, const char *name)
{
    json_out_open(&p->j, NULL, '[');
    json_out_uint(&p->j, NULL, row);
    json_out_text(&p->j, NULL, name);
    json_out_close(&p->j, ']');
    data_flush(p, false);
}

static void rows_put(struct page *p, const struct viewer_figures *f, const bool streams[256])
{
    struct strbuf name = {0};

    for (unsigned u = 0; u < VIEWER_UNITS; u++)
        if (f->engine[u].used) {
            name.len = 0;
            strbuf_printf(&name, "core %u %s", u >> 3, isa_engine_name(u & 7));
            row_put(p, u, name.s ? name.s : "");
        }
    for (size_t q = 0; p->ok && q < f->queue_count; q++) {
        const char *text = viewer_queue_name(f->model, f->queues[q].core, f->queues[q].queue);

        if (f->queues[q].transfers == 0)
            continue;
        name.len = 0;
        strbuf_printf(&name, "core %u queue ", f->queues[q].core);
        if (text)
            viewer_text_plain(&name, text);
        else
            strbuf_printf(&name, "%u", f->queues[q].queue);
        row_put(p, VIEWER_UNITS + q, name.s ? name.s : "");
    }
    for (unsigned i = 0; i < 256; i++)
        if (streams[i]) {
            name.len = 0;
            strbuf_printf(&name, "stream %u", i);
            row_put(p, stream_row(f, i), name.s ? name.s : "");
        }
    p->ok = p->ok && !name.failed;
    strbuf_fini(&name);
}

/* Of the records, then of the transfers. */
static void labels_put(struct page *p, const struct viewer_shown *s)
{
    const struct viewer_model *m = s->f->model;
    struct strbuf label = {0};

    for (uint32_t i = 0; p->ok && i < m->m->records; i++) {
        const struct ntff_record *r = &m->n->records[m->m->first_record + i];
        const char *line;

        label.len = 0;
        strbuf_printf(&label, "%s %u", viewer_opcode_name(r->opcode), r->record);
        if (r->label) {
            strbuf_put(&label, " ");
            viewer_text_plain(&label, ntff_text(m->n, r->label));
        }
        if (r->line) {
            strbuf_put(&label, " (");
            viewer_text_plain(&label, ntff_text(m->n, r->file));
            strbuf_printf(&label, ":%u)", r->line);
        }
        line = viewer_source_line(s, r, NULL);
        strbuf_put(&label, line && *line ? " | " : "");
        viewer_text_plain(&label, line ? line : "");
        json_out_text(&p->j, NULL, label.s ? label.s : "");
        data_flush(p, false);
    }
    for (uint32_t i = 0; p->ok && i < m->m->xfers; i++) {
        label.len = 0;
        strbuf_printf(&label, "transfer %u, %" PRIu64 " bytes", i,
                      m->n->xfers[m->m->first_xfer + i].bytes);
        json_out_text(&p->j, NULL, label.s ? label.s : "");
        data_flush(p, false);
    }
    p->ok = p->ok && !label.failed;
    strbuf_fini(&label);
}

static NRT_STATUS timeline_put(struct page *p, const struct viewer_shown *s, struct err *err)
{
    const struct viewer_figures *f = s->f;
    uint64_t base = 0, least = least_ps(f);
    bool streams[256] = {false};
    NRT_STATUS st = NRT_SUCCESS;

    p->room = VIEWER_SLICES_MAX;
    json_out_open(&p->j, NULL, '{');
    json_out_thousandths(&p->j, "total_ns", f->total_ps);
    json_out_open(&p->j, "kinds", '[');
    json_out_text(&p->j, NULL, "instruction");
    json_out_text(&p->j, NULL, "transfer");
    json_out_text(&p->j, NULL, "collective");
    json_out_text(&p->j, NULL, "wait");
    json_out_close(&p->j, ']');
    json_out_open(&p->j, "slices", '[');
    for (const struct ntff_exec *e = viewer_exec_first(f->model); p->ok && st == NRT_SUCCESS && e;
         e = viewer_exec_next(f->model, e)) {
        struct viewer_exec x;

        st = viewer_exec_init(&x, f->model, e, err);
        if (st != NRT_SUCCESS)
            break;
        for (uint32_t i = 0; i < x.count; i++)
            if (x.ev[i].kind == TIME_EV_COLL)
                streams[x.ev[i].index] = true;
        slices_put(p, f, &x, base, least);
        base += e->total_ps;
        viewer_exec_fini(&x);
    }
    json_out_close(&p->j, ']');
    json_out_open(&p->j, "rows", '[');
    rows_put(p, f, streams);
    json_out_close(&p->j, ']');
    json_out_open(&p->j, "labels", '[');
    labels_put(p, s);
    json_out_close(&p->j, ']');
    json_out_close(&p->j, '}');
    return st;
}

NRT_STATUS viewer_report(const struct viewer_shown *const *s, size_t count,
                         const struct viewer_system *systems, size_t system_count,
                         const struct viewer_sink *sink, struct err *err)
{
    struct page p = {.sink = sink, .ok = true};
    NRT_STATUS st = NRT_SUCCESS;

    strbuf_put(&p.text, page_head);
    for (size_t i = 0; i < count; i++)
        summary_put(&p, s[i], i, least_ps(s[i]->f) == 0);
    for (size_t i = 0; i < system_count; i++)
        memory_put(&p, &systems[i]);
    strbuf_put(&p.text, page_middle);
    json_out_open(&p.j, NULL, '[');
    for (size_t i = 0; st == NRT_SUCCESS && i < count; i++)
        st = timeline_put(&p, s[i], err);
    json_out_close(&p.j, ']');
    data_flush(&p, true);
    strbuf_put(&p.text, page_tail);
    flush(&p, true);
    if (st == NRT_SUCCESS && (p.text.failed || p.j.out.failed))
        st = err_set(err, NRT_RESOURCE, "no memory for a report");
    else if (st == NRT_SUCCESS && !p.ok)
        st = err_set(err, NRT_FAILURE, "the report could not be written");
    strbuf_fini(&p.text);
    strbuf_fini(&p.j.out);
    return st;
}
