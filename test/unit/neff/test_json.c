/* SPDX-License-Identifier: Apache-2.0 */
/* Long arrays element by element: what the callback sees of each is what json_parse makes of the
 * element's own text. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "draw.h"
#include "neff/json.h"
#include "seed.h"

enum { ELEMENTS = 300, DOCUMENTS = 200 };

static uint64_t state_;

static unsigned drawn(unsigned n)
{
    return (unsigned)(draw_next(&state_) % n);
}

static void text_value(struct strbuf *b, unsigned depth);

static void text_members(struct strbuf *b, unsigned depth, bool object)
{
    unsigned n = drawn(4);

    for (unsigned i = 0; i < n; i++) {
        strbuf_put(b, i > 0 ? " , " : "");
        if (object && drawn(6) == 0)
            strbuf_printf(b, "\"#%u\": ", i);
        else if (object && drawn(2) == 0)
            strbuf_printf(
                b, "\"%s\": ", (const char *[]){"line", "file", "label", "op"}[i]); /* known ones */
        else if (object)
            strbuf_printf(b, "\"k%u\": ", i);
        text_value(b, depth + 1);
    }
}

static void text_value(struct strbuf *b, unsigned depth)
{
    switch (drawn(depth < 5 ? 8 : 6)) {
    case 0:
        strbuf_put(b, "null");
        break;
    case 1:
        strbuf_put(b, drawn(2) ? "true" : "false");
        break;
    case 2:
        strbuf_printf(b, "%d", (int)drawn(2000) - 1000);
        break;
    case 3:
        strbuf_printf(b, "%u.%ue%d", drawn(100), drawn(1000), (int)drawn(20) - 10);
        break;
    case 4:
        strbuf_put(b, "\"\"");
        break;
    case 5:
        strbuf_printf(b, "\"text \\\"%u\\\" \\u00e9\"", drawn(1000000));
        break;
    case 6:
        strbuf_put(b, "{ ");
        text_members(b, depth, true);
        strbuf_put(b, " }");
        break;
    default:
        strbuf_put(b, "[");
        text_members(b, depth, false);
        strbuf_put(b, "]");
        break;
    }
}

static void same(const struct json_doc *a, const struct json_node *x, const struct json_doc *b,
                 const struct json_node *y)
{
    const struct json_node *cx = json_first(x), *cy = json_first(y);

    assert_int_equal(x->type, y->type);
    assert_int_equal(x->key_id, y->key_id);
    if (x->type == JSON_STRING)
        assert_string_equal(json_text(a, x), json_text(b, y));
    else if (x->type == JSON_BOOL)
        assert_int_equal(x->u.b, y->u.b);
    else if (x->type == JSON_REAL)
        assert_memory_equal(&x->u.d, &y->u.d, sizeof(x->u.d));
    else if (x->type != JSON_NULL)
        assert_int_equal(x->u.i, y->u.i);
    for (uint64_t i = 0; x->type >= JSON_ARRAY && i < x->u.count; i++) {
        if (x->type == JSON_OBJECT)
            assert_string_equal(json_name(a, cx), json_name(b, cy));
        same(a, cx, b, cy);
        cx = json_next(a, cx);
        cy = json_next(b, cy);
    }
}

struct seen {
    const char *text[ELEMENTS];
    size_t size[ELEMENTS];
    uint64_t count, stop;
    size_t most; /* nodes of one element */
};

static NRT_STATUS element(void *arg, const struct json_doc *doc, uint64_t index)
{
    struct seen *s = arg;
    struct json_doc alone;
    struct err err;

    assert_int_equal(index, s->count);
    assert_int_equal(json_parse(&alone, "alone", s->text[index], s->size[index], &err),
                     NRT_SUCCESS);
    assert_int_equal(doc->nodes->type, JSON_ARRAY);
    assert_int_equal(doc->count, alone.count + 1);
    same(doc, json_first(doc->nodes), &alone, alone.nodes);
    s->most = alone.count > s->most ? alone.count : s->most;
    json_doc_fini(&alone);
    return s->count++ == s->stop ? NRT_TIMEOUT : NRT_SUCCESS;
}

/* An array of n elements; offsets of them in at. */
static void array_text(struct strbuf *b, unsigned n, size_t at[][2])
{
    strbuf_put(b, "[");
    for (unsigned i = 0; i < n; i++) {
        strbuf_put(b, i > 0 ? ",\n" : "");
        at[i][0] = b->len;
        text_value(b, 0);
        at[i][1] = b->len;
    }
    strbuf_put(b, "]");
}

static void elements_are_what_they_are_alone(void **state)
{
    static size_t at[ELEMENTS][2];

    (void)state;
    for (unsigned d = 0; d < DOCUMENTS; d++) {
        unsigned n = drawn(ELEMENTS);
        struct seen s = {.stop = drawn(2) ? UINT64_MAX : drawn(ELEMENTS)};
        struct strbuf b = {0};
        struct json_doc doc;
        NRT_STATUS st;
        struct err err;

        array_text(&b, n, at);
        assert_false(b.failed);
        for (unsigned i = 0; i < n; i++) {
            s.text[i] = b.s + at[i][0];
            s.size[i] = at[i][1] - at[i][0];
        }
        st = json_parse_elements(&doc, "array", b.s, b.len, element, &s, &err);
        if (s.stop < n) { /* what the callback says, and nothing is handed over after it */
            assert_int_equal(st, NRT_TIMEOUT);
            assert_int_equal(s.count, s.stop + 1);
            assert_null(doc.nodes);
        } else {
            assert_int_equal(st, NRT_SUCCESS);
            assert_int_equal(s.count, n);
            assert_int_equal(doc.count, 1);
            assert_int_equal(doc.nodes->u.count, n);
            assert_true(doc.cap <= 2 * (s.most + 1) + 8); /* the largest one's, not all of them */
        }
        json_doc_fini(&doc);
        strbuf_fini(&b);
    }
}

static NRT_STATUS count_it(void *arg, const struct json_doc *doc, uint64_t index)
{
    (void)doc;
    (void)index;
    ++*(unsigned *)arg;
    return NRT_SUCCESS;
}

/* Errors, and a root that is no array: as json_parse has them. */
static void all_else_is_as_in_a_tree(void **state)
{
    static const struct {
        const char *text;
        unsigned elements;
    } texts[] = {
        {"[1, 2, {\"x\": 1, \"x\": 2}, 4]", 2},
        {"[1, [2, {}], 3", 3},
        {"[[1], 99999999999999999999]", 1},
        {"[\"a\", \"b\"] x", 2},
        {"[{\"a\": \"\\u0000\"}]", 0},
        {"", 0},
        {"{\"a\": [1, 2, 3]}", 0},
        {"7", 0},
        {"[]", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct err tree = {0}, each = {0};
        struct json_doc a, b;
        unsigned count = 0;
        size_t size = strlen(texts[i].text);
        NRT_STATUS st = json_parse(&a, "m", texts[i].text, size, &tree);

        assert_int_equal(json_parse_elements(&b, "m", texts[i].text, size, count_it, &count, &each),
                         st);
        assert_string_equal(each.text, tree.text);
        assert_int_equal(count, texts[i].elements);
        if (st == NRT_SUCCESS)
            same(&a, a.nodes, &b, b.nodes);
        json_doc_fini(&a);
        json_doc_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_are_what_they_are_alone),
        cmocka_unit_test(all_else_is_as_in_a_tree),
    };

    state_ = seed_take_new();
    return cmocka_run_group_tests_name("neff-json", tests, NULL, NULL);
}
