/* SPDX-License-Identifier: Apache-2.0 */
/* The published tables of a system profile. Times are nanoseconds of the day's clock. */
#include <inttypes.h>
#include <stdio.h>

#include "viewer/system.h"

static void call_put(struct viewer_rows *r, const struct viewer_system *s,
                     const struct viewer_call *c)
{
    char text[32];

    viewer_row(r, true);
    viewer_tag_text(r, "name", viewer_system_text(s, c->type));
    viewer_time_ns(r, c->from_ns);
    viewer_put_uint(r, "duration", c->to_ns - c->from_ns);
    viewer_put_uint(r, "id", c->tracking);
    viewer_tag_text(r, "instance_id", viewer_system_text(s, s->instance));
    (void)snprintf(text, sizeof(text), "%" PRIu64, s->process);
    viewer_tag_text(r, "process_id", text);
    viewer_put_uint(r, "thread_id", c->thread);
    if (c->core != VIEWER_NO_CORE) {
        (void)snprintf(text, sizeof(text), "nrt-nc-%03" PRIu64, c->core);
        viewer_put_text(r, "group", text);
        (void)snprintf(text, sizeof(text), "%" PRIu64, c->core);
        viewer_tag_text(r, "lnc_idx", text);
    } else {
        viewer_put_text(r, "group", "nrt");
    }
    viewer_put_text(r, "details", viewer_system_text(s, c->details));
    viewer_row(r, false);
}

static void sample_open(struct viewer_rows *r, const struct viewer_system *s, uint64_t ns)
{
    viewer_row(r, true);
    viewer_time_ns(r, ns);
    viewer_put_uint(r, "duration", 1);
    viewer_tag_text(r, "instance_id", viewer_system_text(s, s->instance));
}

static void memory_put(struct viewer_rows *r, const struct viewer_system *s, size_t i)
{
    const struct viewer_sample *m = &s->memory[i];

    sample_open(r, s, m->ns);
    viewer_put_uint(r, "usage", m->a);
    viewer_put_real(r, "percent_usage", 100 * (double)m->a / ((double)m->a + (double)m->b));
    viewer_row(r, false);
}

static void cpu_put(struct viewer_rows *r, const struct viewer_system *s, size_t i)
{
    sample_open(r, s, s->cpu[i].ns);
    viewer_tag_text(r, "cpu_id", "all");
    viewer_put_real(r, "util", 100 * viewer_system_cpu(s, i));
    viewer_row(r, false);
}

void viewer_system_tables(const struct viewer_system *s, size_t count,
                          const struct viewer_choice *c, struct viewer_rows *r)
{
    viewer_table(r, "trace_events");
    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; r->ok && i < s[k].call_count; i++)
            if (viewer_choice_has(c, &s[k], &s[k].calls[i]))
                call_put(r, &s[k], &s[k].calls[i]);
    viewer_table(r, NULL);
    viewer_table(r, "mem_usage");
    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; r->ok && i < s[k].memory_count; i++)
            memory_put(r, &s[k], i);
    viewer_table(r, NULL);
    viewer_table(r, "cpu_util");
    for (size_t k = 0; k < count; k++)
        for (size_t i = 1; r->ok && i < s[k].cpu_count; i++)
            cpu_put(r, &s[k], i);
    viewer_table(r, NULL);
}

NRT_STATUS viewer_system_json(const struct viewer_system *s, size_t count,
                              const struct viewer_choice *c, const struct viewer_sink *sink,
                              struct err *err)
{
    struct json_out j = {.indent = 1};
    struct viewer_rows_json w;
    bool ok, failed;

    viewer_rows_json_init(&w, &j, sink);
    json_out_open(&j, NULL, '{');
    viewer_system_tables(s, count, c, &w.rows);
    json_out_close(&j, '}');
    strbuf_put(&j.out, "\n");
    ok = w.rows.ok && viewer_flush(&j.out, sink, true);
    failed = j.out.failed;
    strbuf_fini(&j.out);
    if (failed)
        return err_set(err, NRT_RESOURCE, "no memory for a system profile as JSON");
    return ok ? NRT_SUCCESS : err_set(err, NRT_FAILURE, "the profile could not be written");
}
