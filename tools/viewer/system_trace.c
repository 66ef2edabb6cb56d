/* SPDX-License-Identifier: Apache-2.0 */
/* system_profile.pftrace: a process of the trace for each value of the primary group, a track for
 * each of the secondary one; calls that overlap get several tracks of one name, which Perfetto
 * shows as one. Memory and CPU use are counters. */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "time/perfetto.h"
#include "viewer/system.h"
#include "viewer/system_int.h"

#define PRIMARY   "instance_id,process_id"
#define SECONDARY "worker_gid,lnc_idx,thread_id"
#define ROWS_MAX  4096u /* tracks and groups */

struct row {
    char *name; /* group and, below it, track: separated by a newline; a group has none */
    uint64_t uuid, end_ns;
};

struct drawing {
    struct perfetto out;
    const struct viewer_sink *sink;
    struct row *row;
    size_t rows, cap;
    bool ok;
};

static void flush(struct drawing *d, bool all)
{
    const size_t much = 1u << 16;

    if (d->ok && d->out.size > 0 && (all || d->out.size >= much)) {
        d->ok = d->sink->write(d->sink->arg, d->out.bytes, d->out.size);
        perfetto_drop(&d->out);
    }
}

/* ---- groups ---- */

static void value_put(struct strbuf *b, const struct viewer_system *s, size_t folder,
                      const struct viewer_call *c, enum viewer_field f)
{
    strbuf_printf(b, "%s%s ", b->len ? " " : "", viewer_field_name(f));
    if (f == VIEWER_FIELD_INSTANCE)
        strbuf_put(b, viewer_system_text(s, s->instance));
    else if (f == VIEWER_FIELD_PROCESS)
        strbuf_printf(b, "%" PRIu64, s->process);
    else if (f == VIEWER_FIELD_THREAD)
        strbuf_printf(b, "%" PRIu64, c->thread);
    else if (c->core == VIEWER_NO_CORE)
        strbuf_put(b, "none");
    else if (f == VIEWER_FIELD_CORE)
        strbuf_printf(b, "%" PRIu64, c->core);
    else
        strbuf_printf(b, "%zu.%" PRIu64, folder, c->core);
}

static void group_put(struct strbuf *b, const char *list, const struct viewer_system *s,
                      size_t folder, const struct viewer_call *c)
{
    size_t size;

    for (const char *at = list, *word; (word = viewer_word_next(&at, &size)) != NULL;) {
        enum viewer_field f = viewer_field_find(word, size);

        if (f != VIEWER_FIELDS)
            value_put(b, s, folder, c, f);
    }
}

static struct row *row_add(struct drawing *d, const char *name, const struct perfetto_track *t)
{
    char *copy = mem_strdup(name);

    if (!copy || !mem_grow((void **)&d->row, &d->cap, d->rows + 1, sizeof(*d->row))) {
        mem_free(copy);
        d->out.failed = true;
        return NULL;
    }
    perfetto_track(&d->out, t);
    d->row[d->rows] = (struct row){.name = copy, .uuid = t->uuid};
    return &d->row[d->rows++];
}

static struct row *group_find(struct drawing *d, const char *name)
{
    for (size_t i = 0; i < d->rows; i++)
        if (strcmp(d->row[i].name, name) == 0)
            return &d->row[i];
    return row_add(
        d, name,
        &(struct perfetto_track){
            .uuid = d->rows + 1, .process = true, .pid = (int32_t)d->rows + 1, .pname = name});
}

/* A track of that name which is free at ns. */
static struct row *track_find(struct drawing *d, uint64_t parent, const char *whole,
                              const char *name, uint64_t ns)
{
    struct row *last = NULL;

    for (size_t i = 0; i < d->rows; i++)
        if (strcmp(d->row[i].name, whole) == 0) {
            last = &d->row[i];
            if (last->end_ns <= ns)
                return last;
        }
    if (d->rows >= ROWS_MAX)
        return NULL;
    return row_add(d, whole,
                   &(struct perfetto_track){.uuid = d->rows + 1, .parent = parent, .name = name});
}

/* ---- events ---- */

static void call_put(struct drawing *d, const struct viewer_choice *choice,
                     const struct viewer_system *s, size_t folder, const struct viewer_call *c)
{
    struct strbuf group = {0}, track = {0}, whole = {0};
    struct perfetto_arg args[] = {
        {.name = "id", .type = PERFETTO_UINT, .u = c->tracking},
        {.name = "details", .type = PERFETTO_TEXT, .text = viewer_system_text(s, c->details)},
    };
    struct perfetto_event e = {.ns = c->from_ns,
                               .category = "runtime",
                               .name = viewer_system_text(s, c->type),
                               .arg_count = sizeof(args) / sizeof(args[0]),
                               .args = args};
    struct row *row = NULL;
    uint64_t parent = 0;

    group_put(&group, choice->primary ? choice->primary : PRIMARY, s, folder, c);
    group_put(&track, choice->secondary ? choice->secondary : SECONDARY, s, folder, c);
    strbuf_printf(&whole, "%s\n%s", group.s ? group.s : "", track.s ? track.s : "");
    if (group.s && track.s && !whole.failed && (row = group_find(d, group.s)) != NULL) {
        parent = row->uuid;
        row = track_find(d, parent, whole.s, track.s, c->from_ns);
    }
    if (row) {
        e.track = row->uuid;
        perfetto_slice(&d->out, &e, c->to_ns);
        row->end_ns = c->to_ns > c->from_ns ? c->to_ns : c->from_ns;
    } else {
        d->out.failed = true;
    }
    strbuf_fini(&group);
    strbuf_fini(&track);
    strbuf_fini(&whole);
}

static void counter_put(struct drawing *d, const char *name, const char *unit, uint64_t ns,
                        double value)
{
    struct row *row = NULL;

    for (size_t i = 0; !row && i < d->rows; i++)
        if (strcmp(d->row[i].name, name) == 0)
            row = &d->row[i];
    if (!row)
        row = row_add(d, name,
                      &(struct perfetto_track){.uuid = d->rows + 1, .name = name, .unit = unit});
    if (row)
        perfetto_event(
            &d->out, &(struct perfetto_event){
                         .type = PERFETTO_COUNTER, .ns = ns, .track = row->uuid, .counter = value});
}

static void counters_put(struct drawing *d, const struct viewer_system *s)
{
    struct strbuf name = {0};

    for (size_t i = 0; i < s->memory_count && !d->out.failed; i++) {
        name.len = 0;
        strbuf_printf(&name, "host memory, process %" PRIu64, s->process);
        if (!name.failed)
            counter_put(d, name.s, "B", s->memory[i].ns, (double)s->memory[i].a);
    }
    for (size_t i = 1; i < s->cpu_count && !d->out.failed; i++) {
        name.len = 0;
        strbuf_printf(&name, "CPU use, process %" PRIu64, s->process);
        if (!name.failed)
            counter_put(d, name.s, "%", s->cpu[i].ns, 100 * viewer_system_cpu(s, i));
    }
    d->out.failed |= name.failed;
    strbuf_fini(&name);
}

NRT_STATUS viewer_system_trace(const struct viewer_system *s, size_t count,
                               const struct viewer_choice *c, const struct viewer_sink *sink,
                               struct err *err)
{
    struct drawing d = {.out = {.sequence = 1}, .sink = sink, .ok = true};
    bool failed;

    for (size_t k = 0; k < count; k++) {
        for (size_t i = 0; d.ok && !d.out.failed && i < s[k].call_count; i++)
            if (viewer_choice_has(c, &s[k], &s[k].calls[i])) {
                call_put(&d, c, &s[k], k, &s[k].calls[i]);
                flush(&d, false);
            }
        counters_put(&d, &s[k]);
        flush(&d, false);
    }
    failed = d.out.failed;
    flush(&d, true);
    for (size_t i = 0; i < d.rows; i++)
        mem_free(d.row[i].name);
    mem_free(d.row);
    perfetto_fini(&d.out);
    if (failed)
        return err_set(err, NRT_RESOURCE,
                       "no memory for a trace, or calls that overlap more than "
                       "%u times",
                       ROWS_MAX);
    return d.ok ? NRT_SUCCESS : err_set(err, NRT_FAILURE, "the trace could not be written");
}
