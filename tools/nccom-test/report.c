/* SPDX-License-Identifier: Apache-2.0 */
/* Figures, and how they are shown. Every cell of the table is right-aligned in a column as wide as
 * the wider of its header and its longest value; four blanks stand between columns. */
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/broken.h"

#define COLUMNS_MAX (8 + CC_STATS_MAX)
#define CELL_MAX    40
#define GAP         4

/* ---- statistics ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void cc_sort(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), ascending);
}

double cc_percentile(const double *sorted, size_t n, unsigned p)
{
    size_t rank = (n * p + 99) / 100; /* the smallest value that p % of all do not exceed */

    return sorted[rank > 0 && !BROKEN(TOOL) ? rank - 1 : 0];
}

double cc_mean(const double *values, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += values[i];
    return sum / (double)n;
}

void cc_round_text(char *buf, size_t size, double value)
{
    size_t n = (size_t)snprintf(buf, size, "%.2f", value);

    if (n < size && n > 2 && buf[n - 1] == '0')
        buf[n - 1] = '\0';
}

void cc_row_fill(struct cc_row *row, const struct cc_case *c, const struct cc_options *o,
                 double *us, size_t n)
{
    double unit = o->gib ? 1024.0 * 1024 * 1024 : 1e9;

    cc_sort(us, n);
    row->avg_us = cc_mean(us, n);
    for (unsigned i = 0; i < o->stat_count; i++)
        row->stats[i] =
            o->stats[i] == CC_STAT_AVG ? row->avg_us : cc_percentile(us, n, (unsigned)o->stats[i]);
    row->algbw = row->avg_us > 0 ? (double)c->bytes / (row->avg_us * 1e-6) / unit : 0;
    row->busbw = row->algbw * cc_bus_factor(c->op, c->n);
}

/* ---- the table ---- */

struct column {
    char head[CELL_MAX];
    size_t width;
};

struct table {
    struct column column[COLUMNS_MAX];
    unsigned columns;
    const struct cc_options *o;
};

static void stat_name(char *buf, size_t size, int stat)
{
    if (stat == CC_STAT_AVG)
        snprintf(buf, size, "time:avg(us)");
    else
        snprintf(buf, size, "time:p%d(us)", stat);
}

static void column_add(struct table *t, const char *head)
{
    snprintf(t->column[t->columns].head, CELL_MAX, "%s", head);
    t->column[t->columns++].width = strlen(head);
}

static void columns_make(struct table *t)
{
    const struct cc_options *o = t->o;

    column_add(t, "size(B)");
    column_add(t, "count(elems)");
    if (o->show_sizes) {
        column_add(t, "total_input_size(B)");
        column_add(t, "total_output_size(B)");
    }
    column_add(t, "type");
    for (unsigned i = 0; i < o->stat_count; i++) {
        char head[CELL_MAX];

        stat_name(head, sizeof(head), o->stats[i]);
        column_add(t, head);
    }
    column_add(t, o->gib ? "algbw(GiB/s)" : "algbw(GB/s)");
    column_add(t, o->gib ? "busbw(GiB/s)" : "busbw(GB/s)");
    if (o->show_algorithm)
        column_add(t, "algorithm");
}

/* The cells of a row; a failed one has the first only. Returns how many. */
static unsigned cells_make(const struct table *t, const struct cc_row *row,
                           char cells[COLUMNS_MAX][CELL_MAX])
{
    const struct cc_options *o = t->o;
    unsigned c = 0;

    snprintf(cells[c++], CELL_MAX, "%llu", (unsigned long long)row->bytes);
    if (row->failed)
        return c;
    snprintf(cells[c++], CELL_MAX, "%llu", (unsigned long long)row->count);
    if (o->show_sizes) {
        snprintf(cells[c++], CELL_MAX, "%llu", (unsigned long long)row->in_bytes);
        snprintf(cells[c++], CELL_MAX, "%llu", (unsigned long long)row->out_bytes);
    }
    snprintf(cells[c++], CELL_MAX, "%s", row->type);
    for (unsigned i = 0; i < o->stat_count; i++) {
        if (o->stats[i] == CC_STAT_AVG)
            cc_round_text(cells[c++], CELL_MAX, row->stats[i]);
        else
            snprintf(cells[c++], CELL_MAX, "%.0f", row->stats[i]);
    }
    snprintf(cells[c++], CELL_MAX, "%.2f", row->algbw);
    snprintf(cells[c++], CELL_MAX, "%.2f", row->busbw);
    if (o->show_algorithm)
        snprintf(cells[c++], CELL_MAX, "%s", row->algorithm);
    return c;
}

static void cell_print(struct strbuf *to, const struct table *t, unsigned c, const char *text)
{
    strbuf_printf(to, "%*s%*s", c > 0 ? GAP : 0, "", (int)t->column[c].width, text);
}

unsigned cc_table_print(struct strbuf *to, const struct cc_options *o, const struct cc_row *rows,
                        size_t n)
{
    struct table t = {.o = o};
    char cells[COLUMNS_MAX][CELL_MAX];
    unsigned failed = 0, count;
    double sum = 0;

    if (BROKEN(TOOL))
        return 0;
    columns_make(&t);
    for (size_t i = 0; i < n; i++) {
        count = cells_make(&t, &rows[i], cells);
        for (unsigned c = 0; c < count; c++)
            if (strlen(cells[c]) > t.column[c].width)
                t.column[c].width = strlen(cells[c]);
    }
    for (unsigned c = 0; c < t.columns; c++)
        cell_print(to, &t, c, t.column[c].head);
    strbuf_put(to, "\n");
    for (size_t i = 0; i < n; i++) {
        count = cells_make(&t, &rows[i], cells);
        for (unsigned c = 0; c < count; c++)
            cell_print(to, &t, c, cells[c]);
        if (rows[i].failed)
            strbuf_printf(to, "%*sFailure running neuron-bench - log file %s", GAP, "",
                          rows[i].log);
        strbuf_put(to, "\n");
        failed += rows[i].failed;
        sum += rows[i].failed ? 0 : rows[i].busbw;
    }
    if (failed < n)
        strbuf_printf(to, "Avg bus bandwidth:\t%.4f%s\n", sum / (double)(n - failed),
                      o->gib ? "GiB/s" : "GB/s");
    return failed;
}

/* ---- JSON ---- */

/* A number as Python's json would write it: the shortest text that reads back the same. */
static void json_double(struct strbuf *to, double v)
{
    char text[40] = "0";

    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    strbuf_put(to, text);
    if (strpbrk(text, ".en") == NULL)
        strbuf_put(to, ".0");
}

static void json_row(struct strbuf *to, const struct cc_options *o, const struct cc_row *row,
                     unsigned stream, bool many)
{
    const char *gb = o->gib ? "GiB/s" : "GB/s";
    char name[CELL_MAX], text[CELL_MAX];

    strbuf_put(to, "        {\n");
    if (many)
        strbuf_printf(to, "            \"stream\": %u,\n", stream);
    strbuf_printf(to, "            \"size(B)\": %llu,\n", (unsigned long long)row->bytes);
    if (row->failed) {
        strbuf_put(to, "            \"error\": ");
        strbuf_put_json(to, row->log);
        strbuf_put(to, "\n        }");
        return;
    }
    strbuf_printf(to, "            \"count(elems)\": %llu,\n", (unsigned long long)row->count);
    if (o->show_sizes)
        strbuf_printf(to,
                      "            \"total_input_size(B)\": %llu,\n"
                      "            \"total_output_size(B)\": %llu,\n",
                      (unsigned long long)row->in_bytes, (unsigned long long)row->out_bytes);
    strbuf_printf(to, "            \"type\": \"%s\",\n            \"algbw(%s)\": ", row->type, gb);
    json_double(to, row->algbw);
    strbuf_printf(to, ",\n            \"busbw(%s)\": ", gb);
    json_double(to, row->busbw);
    for (unsigned i = 0; i < o->stat_count; i++) {
        stat_name(name, sizeof(name), o->stats[i]);
        strbuf_printf(to, ",\n            \"%s\": ", name);
        /* as the table shows it */
        cc_round_text(text, sizeof(text), row->stats[i]);
        json_double(to, o->stats[i] == CC_STAT_AVG ? strtod(text, NULL) : rint(row->stats[i]));
    }
    if (o->show_algorithm)
        strbuf_printf(to, ",\n            \"algorithm\": \"%s\"", row->algorithm);
    strbuf_put(to, "\n        }");
}

static void json_config(struct strbuf *to, const struct cc_options *o,
                        const struct cc_stream *streams, unsigned stream_count)
{
    strbuf_printf(to,
                  "    \"config\": {\n        \"nworkers\": %u,\n        \"nnodes\": %u,\n"
                  "        \"iters\": %u,\n        \"warmup_iters\": %u,\n        \"streams\": [",
                  o->ranks, o->nodes, o->iters, o->warmup_iters);
    for (unsigned i = 0; i < stream_count; i++)
        strbuf_printf(to,
                      "%s\n            {\"operation\": \"%s\", \"datatype\": \"%s\", "
                      "\"minbytes\": %llu, \"maxbytes\": %llu, \"ops_per_iter\": %u}",
                      i > 0 ? "," : "", cc_op_name(streams[i].op), streams[i].dtype_name,
                      (unsigned long long)streams[i].min, (unsigned long long)streams[i].max,
                      streams[i].ops_per_iter);
    strbuf_put(to, "\n        ]\n    }\n");
}

void cc_json_print(struct strbuf *to, const struct cc_options *o, const struct cc_stream *streams,
                   unsigned stream_count, const struct cc_row *rows, const size_t *counts)
{
    const struct cc_row *row = rows;
    const char *comma = "";

    if (BROKEN(TOOL))
        return;
    strbuf_put(to, "{\n    \"results\": [");
    for (unsigned s = 0; s < stream_count; s++)
        for (size_t i = 0; i < counts[s]; i++, row++) {
            strbuf_printf(to, "%s\n", comma);
            json_row(to, o, row, s, stream_count > 1);
            comma = ",";
        }
    strbuf_put(to, "\n    ],\n");
    json_config(to, o, streams, stream_count);
    strbuf_put(to, "}\n");
}
