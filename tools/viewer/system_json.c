/* SPDX-License-Identifier: Apache-2.0 */
/* system_profile.json: the published tables. Times are nanoseconds of the day's clock. */
#include <inttypes.h>
#include <stdio.h>

#include "viewer/system.h"

static void call_put(struct json_out *j, const struct viewer_system *s, const struct viewer_call *c)
{
    char text[32];

    json_out_open(j, NULL, '{');
    json_out_text(j, "name", viewer_system_text(s, c->type));
    json_out_uint(j, "timestamp", c->from_ns);
    json_out_uint(j, "duration", c->to_ns - c->from_ns);
    json_out_uint(j, "id", c->tracking);
    json_out_text(j, "instance_id", viewer_system_text(s, s->instance));
    (void)snprintf(text, sizeof(text), "%" PRIu64, s->process);
    json_out_text(j, "process_id", text);
    json_out_uint(j, "thread_id", c->thread);
    if (c->core != VIEWER_NO_CORE) {
        (void)snprintf(text, sizeof(text), "nrt-nc-%03" PRIu64, c->core);
        json_out_text(j, "group", text);
        (void)snprintf(text, sizeof(text), "%" PRIu64, c->core);
        json_out_text(j, "lnc_idx", text);
    } else {
        json_out_text(j, "group", "nrt");
    }
    json_out_text(j, "details", viewer_system_text(s, c->details));
    json_out_close(j, '}');
}

static void sample_open(struct json_out *j, const struct viewer_system *s, uint64_t ns)
{
    json_out_open(j, NULL, '{');
    json_out_uint(j, "timestamp", ns);
    json_out_uint(j, "duration", 1);
    json_out_text(j, "instance_id", viewer_system_text(s, s->instance));
}

static void memory_put(struct json_out *j, const struct viewer_system *s, size_t i)
{
    const struct viewer_sample *m = &s->memory[i];

    sample_open(j, s, m->ns);
    json_out_uint(j, "usage", m->a);
    json_out_real(j, "percent_usage", 100 * (double)m->a / ((double)m->a + (double)m->b));
    json_out_close(j, '}');
}

static void cpu_put(struct json_out *j, const struct viewer_system *s, size_t i)
{
    sample_open(j, s, s->cpu[i].ns);
    json_out_text(j, "cpu_id", "all");
    json_out_real(j, "util", 100 * viewer_system_cpu(s, i));
    json_out_close(j, '}');
}

NRT_STATUS viewer_system_json(const struct viewer_system *s, size_t count,
                              const struct viewer_choice *c, const struct viewer_sink *sink,
                              struct err *err)
{
    struct json_out j = {.indent = 1};
    bool ok = true, failed;

    json_out_open(&j, NULL, '{');
    json_out_open(&j, "trace_events", '[');
    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; ok && i < s[k].call_count; i++)
            if (viewer_choice_has(c, &s[k], &s[k].calls[i])) {
                call_put(&j, &s[k], &s[k].calls[i]);
                ok = viewer_flush(&j.out, sink, false);
            }
    json_out_close(&j, ']');
    json_out_open(&j, "mem_usage", '[');
    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; ok && i < s[k].memory_count; i++)
            memory_put(&j, &s[k], i);
    json_out_close(&j, ']');
    json_out_open(&j, "cpu_util", '[');
    for (size_t k = 0; k < count; k++)
        for (size_t i = 1; ok && i < s[k].cpu_count; i++)
            cpu_put(&j, &s[k], i);
    json_out_close(&j, ']');
    json_out_close(&j, '}');
    strbuf_put(&j.out, "\n");
    ok = ok && viewer_flush(&j.out, sink, true);
    failed = j.out.failed;
    strbuf_fini(&j.out);
    if (failed)
        return err_set(err, NRT_RESOURCE, "no memory for a system profile as JSON");
    return ok ? NRT_SUCCESS : err_set(err, NRT_FAILURE, "the profile could not be written");
}
