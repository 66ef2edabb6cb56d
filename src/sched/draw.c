/* SPDX-License-Identifier: Apache-2.0 */
/* The drawing: the checker's events of one run are kept, then written as SVG in layers (grid,
 * waits, arrows, boxes), so that boxes lie above the arrows that leave them. */
#include "draw.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sched/text.h"

enum { LEFT = 110, TOP = 76, UNIT = 112, ROW = 46, BOX = 26, RIGHT = 40, LEGEND = 22, GAP = 20 };
enum { LEGEND_ENDS = 240 }; /* data, signal, waits */

#define PHASES 64 /* more than any schedule has; what is beyond shares their names and colours */

static const char *const colours[] = {"#56b4e9", "#e69f00", "#2ca877", "#cc79a7",
                                      "#f0e442", "#d55e00", "#8fa8d8", "#b5b5b5"};

struct drawn { /* one executed step */
    struct sched_check_event event;
    struct sched_step step;
};

struct drawing {
    const struct sched_draw_options *options;
    uint32_t ranks, channels;
    struct drawn *drawn;
    size_t count, cap;
    uint64_t end;
    bool full, no_memory;
    bool used[PHASES];          /* phases that move data */
    unsigned colour_of[PHASES]; /* they get the colours in turn */
    struct strbuf *svg;
};

static void event_keep(void *arg, const struct sched_check_event *e)
{
    struct drawing *d = arg;

    if (d->count == SCHED_DRAW_STEPS_MAX)
        d->full = true;
    else if (!mem_grow((void **)&d->drawn, &d->cap, d->count + 1, sizeof(*d->drawn)))
        d->no_memory = true;
    if (d->full || d->no_memory)
        return;
    d->drawn[d->count].event = *e;
    d->drawn[d->count].step = *e->step;
    d->count++;
    if (d->end < e->end)
        d->end = e->end;
}

/* ---- places ---- */

static int x_of(uint64_t time)
{
    return LEFT + (int)(time * UNIT);
}

static int y_of(const struct drawing *d, uint32_t rank, uint32_t channel)
{
    return TOP + (int)(rank * d->channels + channel) * ROW + ROW / 2;
}

static bool is_move(const struct sched_step *st)
{
    return st->kind != SCHED_WAIT && st->kind != SCHED_SIGNAL && st->kind != SCHED_EXPECT &&
           st->kind != SCHED_TAKE;
}

/* ---- pieces of SVG ---- */

static void xml_put(struct strbuf *b, const char *s)
{
    for (; *s; s++)
        switch (*s) {
        case '<':
            strbuf_put(b, "&lt;");
            break;
        case '>':
            strbuf_put(b, "&gt;");
            break;
        case '&':
            strbuf_put(b, "&amp;");
            break;
        case '"':
            strbuf_put(b, "&quot;");
            break;
        default:
            if ((unsigned char)*s >= ' ') /* XML knows no other control characters */
                strbuf_putn(b, s, 1);
        }
}

static void text_put(const struct drawing *d, int x, int y, const char *class, const char *text)
{
    strbuf_printf(d->svg, "<text x=\"%d\" y=\"%d\" class=\"%s\">", x, y, class);
    xml_put(d->svg, text);
    strbuf_put(d->svg, "</text>\n");
}

static void arrow_put(const struct drawing *d, int x1, int y1, int x2, int y2, const char *class)
{
    strbuf_printf(d->svg,
                  "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" class=\"%s\" "
                  "marker-end=\"url(#%s-head)\"/>\n",
                  x1, y1, x2, y2, class, class);
}

/* The step in words, which viewers show when the pointer rests on the box. */
static void tip_put(const struct drawing *d, const struct drawn *n)
{
    struct strbuf words = {0};

    sched_text_step_print(&n->step, n->event.rank, &words);
    strbuf_printf(d->svg, "<title>rank %u, channel %u, step %" PRIu64 ": ", n->event.rank,
                  n->event.channel, n->event.index);
    xml_put(d->svg, words.s ? words.s : "");
    strbuf_put(d->svg, "</title>");
    strbuf_fini(&words);
}

static void head_put(const struct drawing *d, int width, int height)
{
    static const char *const heads[][2] = {{"data", "#333"}, {"signal", "#999"}};

    strbuf_printf(d->svg,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                  "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\">\n<defs>\n",
                  width, height, width, height);
    for (size_t i = 0; i < 2; i++)
        strbuf_printf(d->svg,
                      "<marker id=\"%s-head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" "
                      "markerWidth=\"7\" markerHeight=\"7\" markerUnits=\"userSpaceOnUse\" "
                      "orient=\"auto\"><path d=\"M0 0 L8 4 L0 8 z\" fill=\"%s\"/></marker>\n",
                      heads[i][0], heads[i][1]);
    strbuf_put(d->svg, "<style>\n"
                       ".title{font-size:18px;font-weight:bold}\n"
                       ".small{font-size:11px;fill:#555}\n"
                       ".row{font-size:12px;text-anchor:end}\n"
                       ".box{font-size:11px;text-anchor:middle}\n"
                       ".flaw{font-size:12px;fill:#c00;font-weight:bold}\n"
                       ".grid{stroke:#e4e4e4}\n"
                       ".data{stroke:#333;stroke-width:1.3}\n"
                       ".signal{stroke:#999;stroke-width:0.8;stroke-dasharray:3 3}\n"
                       ".wait{fill:#dcdcdc}\n"
                       "</style>\n</defs>\n");
    strbuf_printf(d->svg, "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", width, height);
}

/* ---- layers ---- */

static void grid_put(const struct drawing *d, int bottom)
{
    char text[48];

    for (uint64_t t = 0; t <= d->end; t++) {
        strbuf_printf(d->svg, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" class=\"grid\"/>\n",
                      x_of(t), TOP, x_of(t), bottom);
        snprintf(text, sizeof(text), "%" PRIu64, t);
        text_put(d, x_of(t) - 4, TOP - 6, "small", text);
    }
    for (uint32_t r = 0; r < d->ranks; r++)
        for (uint32_t ch = 0; ch < d->channels; ch++) {
            int y = y_of(d, r, ch);

            if (d->channels > 1)
                snprintf(text, sizeof(text), "rank %u, ch %u", r, ch);
            else
                snprintf(text, sizeof(text), "rank %u", r);
            text_put(d, LEFT - 10, y + 4, "row", text);
            strbuf_printf(d->svg,
                          "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" class=\"grid\"/>\n", LEFT,
                          y, x_of(d->end), y);
        }
}

static void waits_put(const struct drawing *d)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct drawn *n = &d->drawn[i];

        if (is_move(&n->step) || n->event.end == n->event.begin)
            continue;
        strbuf_printf(d->svg, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"8\" class=\"wait\">",
                      x_of(n->event.begin), y_of(d, n->event.rank, n->event.channel) - 4,
                      (int)(n->event.end - n->event.begin) * UNIT);
        tip_put(d, n);
        strbuf_put(d->svg, "</rect>\n");
    }
}

/* Remote sources and destinations of one box; the arrows of a duplicated write start together. */
static void moves_put(const struct drawing *d, const struct drawn *n)
{
    const struct sched_step *st = &n->step;
    uint32_t me = n->event.rank, ch = n->event.channel;
    int left = x_of(n->event.begin) + GAP, right = x_of(n->event.end) - GAP, y = y_of(d, me, ch);

    for (unsigned k = 0; k < st->nsrc; k++)
        if (st->src[k].rank != me)
            arrow_put(d, left - GAP, y_of(d, st->src[k].rank, ch), left + 4,
                      y + (st->src[k].rank < me ? -BOX / 2 : BOX / 2), "data");
    for (unsigned k = 0; k < st->ndst; k++)
        if (st->dst[k].rank != me)
            arrow_put(d, right - 4, y + (st->dst[k].rank < me ? -BOX / 2 : BOX / 2),
                      right + 2 * GAP - 4, y_of(d, st->dst[k].rank, ch), "data");
    if (st->kind == SCHED_NET_SEND)
        arrow_put(d, right - 4, y + (st->peer < me ? -BOX / 2 : BOX / 2), right + 2 * GAP - 4,
                  y_of(d, st->peer, ch), "data");
}

static void arrows_put(const struct drawing *d)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct drawn *n = &d->drawn[i];
        int x = x_of(n->event.end), y = y_of(d, n->event.rank, n->event.channel);

        if (is_move(&n->step))
            moves_put(d, n);
        else if (n->step.kind == SCHED_SIGNAL && n->step.peer != n->event.rank)
            arrow_put(d, x - 4, y, x + GAP - 6, y_of(d, n->step.peer, n->event.channel), "signal");
    }
}

/* ---- phases ---- */

static void phases_find(struct drawing *d)
{
    unsigned found = 0;

    for (size_t i = 0; i < d->count; i++)
        if (is_move(&d->drawn[i].step))
            d->used[d->drawn[i].step.phase % PHASES] = true;
    for (unsigned p = 0; p < PHASES; p++)
        if (d->used[p])
            d->colour_of[p] = found++ % (sizeof(colours) / sizeof(colours[0]));
}

static const char *phase_colour(const struct drawing *d, unsigned phase)
{
    return colours[d->colour_of[phase % PHASES]];
}

static void phase_text(const struct drawing *d, unsigned p, char *text, size_t size)
{
    const char *name = d->options->phase ? d->options->phase(d->options->arg, p) : NULL;

    if (name)
        snprintf(text, size, "%s", name);
    else
        snprintf(text, size, "phase %u", p);
}

static int legend_step(const char *text)
{
    return 44 + 7 * (int)strlen(text);
}

static int legend_width(const struct drawing *d)
{
    char text[64];
    int x = LEFT;

    for (unsigned p = 0; p < PHASES; p++) {
        if (!d->used[p])
            continue;
        phase_text(d, p, text, sizeof(text));
        x += legend_step(text);
    }
    return x + LEGEND_ENDS;
}

static void boxes_put(const struct drawing *d)
{
    char text[48];

    for (size_t i = 0; i < d->count; i++) {
        const struct drawn *n = &d->drawn[i];
        int x = x_of(n->event.begin), y = y_of(d, n->event.rank, n->event.channel);

        if (!is_move(&n->step))
            continue;
        strbuf_printf(d->svg,
                      "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"4\" fill=\"%s\" "
                      "stroke=\"#333\">",
                      x + GAP, y - BOX / 2, UNIT - 2 * GAP, BOX, phase_colour(d, n->step.phase));
        tip_put(d, n);
        strbuf_put(d->svg, "</rect>\n");
        snprintf(text, sizeof(text), "%s %" PRIu64, sched_kind_name((enum sched_kind)n->step.kind),
                 n->step.count * n->step.repeat);
        text_put(d, x + UNIT / 2, y + 4, "box",
                 strlen(text) <= 11 ? text : sched_kind_name((enum sched_kind)n->step.kind));
    }
}

static void legend_put(const struct drawing *d, int y)
{
    int x = LEFT;
    char text[64];

    for (unsigned p = 0; p < PHASES; p++) {
        if (!d->used[p])
            continue;
        phase_text(d, p, text, sizeof(text));
        strbuf_printf(d->svg,
                      "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" rx=\"3\" fill=\"%s\" "
                      "stroke=\"#333\"/>\n",
                      x, y - 11, phase_colour(d, p));
        text_put(d, x + 20, y, "small", text);
        x += legend_step(text);
    }
    arrow_put(d, x, y - 4, x + 26, y - 4, "data");
    text_put(d, x + 32, y, "small", "data");
    arrow_put(d, x + 72, y - 4, x + 98, y - 4, "signal");
    text_put(d, x + 104, y, "small", "signal");
    strbuf_printf(d->svg, "<rect x=\"%d\" y=\"%d\" width=\"26\" height=\"8\" class=\"wait\"/>\n",
                  x + 154, y - 9);
    text_put(d, x + 186, y, "small", "waits");
}

static void flaw_put(const struct drawing *d, const struct sched_violation *v, const char *text,
                     int y)
{
    int x = LEFT;

    for (size_t i = 0; i < d->count; i++)
        if (d->drawn[i].event.rank == v->rank && d->drawn[i].event.channel == v->channel)
            x = x_of(d->drawn[i].event.end);
    strbuf_printf(d->svg,
                  "<circle cx=\"%d\" cy=\"%d\" r=\"9\" fill=\"none\" stroke=\"#c00\" "
                  "stroke-width=\"3\"/>\n",
                  x, y_of(d, v->rank, v->channel));
    text_put(d, 12, y, "flaw", text);
}

static void svg_write(const struct drawing *d, const struct sched_violation *v, const char *flaw)
{
    int bottom = TOP + (int)(d->ranks * d->channels) * ROW;
    int width = x_of(d->end) + RIGHT, height = bottom + 2 * LEGEND + (v->flaw ? LEGEND : 0);

    if (width < LEFT + 560)
        width = LEFT + 560; /* room for the title */
    if (width < legend_width(d))
        width = legend_width(d);
    head_put(d, width, height);
    text_put(d, 12, 28, "title", d->options->title ? d->options->title : "schedule");
    text_put(d, 12, 48, "small", "ranks by logical time: a step that moves data lasts 1");
    grid_put(d, bottom);
    waits_put(d);
    arrows_put(d);
    boxes_put(d);
    legend_put(d, bottom + LEGEND);
    if (v->flaw)
        flaw_put(d, v, flaw, bottom + 2 * LEGEND);
    strbuf_put(d->svg, "</svg>\n");
}

NRT_STATUS sched_draw(const struct sched_request *req, uint32_t ranks, uint32_t channels,
                      const struct sched_check_source *source,
                      const struct sched_draw_options *options, struct strbuf *svg, struct err *err)
{
    static const struct sched_draw_options plain = {0};
    struct drawing d = {
        .options = options ? options : &plain, .ranks = ranks, .channels = channels, .svg = svg};
    struct sched_check_options check = {.runs = 1, .event = event_keep, .arg = &d};
    struct sched_violation v;
    struct err own = {0};
    NRT_STATUS status;

    if (ranks == 0 || channels == 0 || ranks > SCHED_DRAW_ROWS_MAX / channels)
        return err_set(err, NRT_INVALID,
                       "%u ranks with %u channels make no picture (at most %u rows)", ranks,
                       channels, SCHED_DRAW_ROWS_MAX);
    status = sched_check(req, ranks, channels, source, &check, &v, NULL, &own);
    if (d.no_memory)
        status = err_set(&own, NRT_RESOURCE, "no memory for a picture");
    else if (d.full)
        status =
            err_set(&own, NRT_INVALID, "more than %u steps make no picture", SCHED_DRAW_STEPS_MAX);
    else if (status == NRT_SUCCESS || status == NRT_FAILURE) {
        phases_find(&d);
        svg_write(&d, &v, own.text);
    }
    if (svg->failed && (status == NRT_SUCCESS || status == NRT_FAILURE))
        status = err_set(&own, NRT_RESOURCE, "no memory for a picture");
    if (own.status != NRT_SUCCESS)
        err_set(err, status, "%s", own.text);
    mem_free(d.drawn);
    return status;
}
