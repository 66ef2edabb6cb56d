/* SPDX-License-Identifier: Apache-2.0 */
#include "trace_doc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "models.h"

static void doc_read(struct fetched *f)
{
    struct err err = {0};

    memset(&f->doc, 0, sizeof(f->doc));
    assert_int_equal(f->text[f->size], '\0');
    assert_int_equal(strlen(f->text), f->size);
    if (json_parse(&f->doc, "events", f->text, f->size, &err) != NRT_SUCCESS)
        fail_msg("%s in\n%s", err.text, f->text);
    f->events = json_member(&f->doc, f->doc.nodes, "events");
    assert_non_null(f->events);
    assert_int_equal(f->events->type, JSON_ARRAY);
}

void fetched_init(struct fetched *f, const nrt_sys_trace_fetch_options_t *o)
{
    f->text = NULL;
    f->size = SIZE_MAX;
    assert_ok(nrt_sys_trace_fetch_events(&f->text, &f->size, o));
    doc_read(f);
}

void fetched_fini(struct fetched *f)
{
    json_doc_fini(&f->doc);
    nrt_sys_trace_buffer_free(f->text);
}

void fetched_open(struct fetched *f, const char *path)
{
    char *read = read_file(path, &f->size);

    f->text = realloc(read, f->size + 1);
    assert_non_null(f->text);
    f->text[f->size] = '\0';
    doc_read(f);
}

void fetched_close(struct fetched *f)
{
    json_doc_fini(&f->doc);
    free(f->text);
}

uint64_t fetched_number(const struct fetched *f, const struct json_node *obj, const char *name)
{
    const struct json_node *n = json_member(&f->doc, obj, name);

    assert_non_null(n);
    assert_int_equal(n->type, JSON_INT);
    return (uint64_t)n->u.i;
}

const char *fetched_text(const struct fetched *f, const struct json_node *obj, const char *name)
{
    const struct json_node *n = json_member(&f->doc, obj, name);

    assert_non_null(n);
    assert_int_equal(n->type, JSON_STRING);
    return json_text(&f->doc, n);
}

bool fetched_is(const struct fetched *f, const struct json_node *e, const char *type,
                const char *phase)
{
    return strcmp(fetched_text(f, e, "event_type"), type) == 0 &&
           (!phase || strcmp(fetched_text(f, e, "phase"), phase) == 0);
}

const struct json_node *fetched_find(const struct fetched *f, const char *type, const char *phase,
                                     unsigned n)
{
    const struct json_node *e = json_first(f->events);

    for (uint64_t i = 0; i < f->events->u.count; i++, e = json_next(&f->doc, e))
        if (fetched_is(f, e, type, phase) && n-- == 0)
            return e;
    return NULL;
}

unsigned fetched_count(const struct fetched *f, const char *type, const char *phase)
{
    unsigned n = 0;

    while (fetched_find(f, type, phase, n))
        n++;
    return n;
}
