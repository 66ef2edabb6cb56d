/* SPDX-License-Identifier: Apache-2.0 */
/* NTFF: what is written is read, and nothing else is accepted that leads out of the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "time/ntff.h"

/* Two models with two records each, one with a transfer; three executions. */
static void doc_make(struct strbuf *out)
{
    static const struct time_event ev[] = {
        {.kind = TIME_EV_RECORD, .unit = TIME_UNIT(0, 2), .value = 7, .id = 1},
        {.kind = TIME_EV_XFER, .unit = TIME_UNIT(1, 4), .id = 9}};
    static const struct time_span spans[] = {{.start_ps = 10, .end_ps = 20},
                                             {.start_ps = 15, .end_ps = 400}};
    struct ntff_doc d = {0};
    struct err err = {0};

    for (uint32_t m = 0; m < 2; m++) {
        struct ntff_model model = {.gen = 2, .cores = 1 + m, .id = 1001 + m};

        model.name = ntff_doc_text(&d, m ? "second" : "first");
        memset(model.hash, (int)m, sizeof(model.hash));
        assert_int_equal(ntff_doc_model(&d, &model), m);
        for (uint32_t k = 0; k < 2; k++) {
            struct ntff_record r = {.engine = 2, .opcode = 7, .record = k, .line = 40 + k};

            r.label = ntff_doc_text(&d, "there");
            ntff_doc_record(&d, &r);
        }
        if (m == 1)
            ntff_doc_xfer(&d, &(struct ntff_xfer){.engines = 16, .bytes = 4096});
    }
    for (uint32_t i = 0; i < 3; i++) {
        struct ntff_exec e = {.model = i % 2, .run = i + 1, .total_ps = 400};

        ntff_doc_exec(&d, &e, ev, spans, 1 + i % 2);
    }
    d.dropped_execs = 5;
    assert_int_equal(ntff_doc_write(&d, out, &err), NRT_SUCCESS);
    ntff_doc_fini(&d);
}

static void what_is_written_is_read(void **state)
{
    struct strbuf out = {0};
    struct err err = {0};
    struct ntff n;

    doc_make(&out);
    assert_int_equal(ntff_open(out.s, out.len, &n, &err), NRT_SUCCESS);
    assert_int_equal(n.model_count, 2);
    assert_int_equal(n.record_count, 4);
    assert_int_equal(n.xfer_count, 1);
    assert_int_equal(n.exec_count, 3);
    assert_int_equal(n.event_count, 4);
    assert_int_equal(n.head->dropped_execs, 5);
    assert_string_equal(ntff_text(&n, n.models[0].name), "first");
    assert_string_equal(ntff_text(&n, n.models[1].name), "second");
    assert_int_equal(n.models[1].first_record, 2);
    assert_int_equal(n.models[1].records, 2);
    assert_int_equal(n.models[0].xfers, 0);
    assert_int_equal(n.models[1].xfers, 1);
    assert_string_equal(ntff_text(&n, n.records[3].label), "there");
    assert_string_equal(ntff_text(&n, n.records[3].file), "");
    assert_int_equal(n.execs[1].first_event, 1);
    assert_int_equal(n.execs[1].events, 2);
    assert_int_equal(n.events[2].start_ps, 15);
    assert_int_equal(n.events[2].end_ps, 400);
    assert_int_equal(n.events[2].id, 9);
    strbuf_fini(&out);
}

/* A document that keeps events of executions alike once gives the same file as one that does not.
 */
static void alike_is_written_in_full(void **state)
{
    static const struct time_event ev[] = {
        {.kind = TIME_EV_RECORD, .unit = TIME_UNIT(0, 2), .value = 7, .id = 1},
        {.kind = TIME_EV_XFER, .unit = TIME_UNIT(1, 4), .id = 9},
        {.kind = TIME_EV_RECORD, .unit = TIME_UNIT(0, 2), .value = 8}};
    static const struct time_span spans[] = {{.end_ps = 20}, {.end_ps = 400}, {.end_ps = 30}};
    static const struct {
        unsigned first, count, like;
    } execs[] = {{0, 2, 0}, {1, 2, 1}, {0, 2, 0}, {2, 1, 3}, {1, 2, 1}, {0, 0, 5}, {0, 0, 5}};
    const unsigned count = sizeof(execs) / sizeof(execs[0]);
    struct ntff_doc once = {0}, each = {0};
    struct strbuf got = {0}, want = {0};
    struct err err = {0};

    (void)ntff_doc_model(&once, &(struct ntff_model){.gen = 2, .cores = 2});
    (void)ntff_doc_model(&each, &(struct ntff_model){.gen = 2, .cores = 2});
    for (uint32_t i = 0; i < count; i++) {
        const struct ntff_exec e = {.run = i + 1, .total_ps = 10 * i};

        ntff_doc_exec(&each, &e, ev + execs[i].first, spans + execs[i].first, execs[i].count);
        if (execs[i].like < i)
            ntff_doc_exec_like(&once, &e, execs[i].like);
        else
            ntff_doc_exec(&once, &e, ev + execs[i].first, spans + execs[i].first, execs[i].count);
    }
    assert_int_equal(once.events.len, 5 * sizeof(struct ntff_event));
    assert_int_equal(ntff_doc_write(&once, &got, &err), NRT_SUCCESS);
    assert_int_equal(ntff_doc_write(&each, &want, &err), NRT_SUCCESS);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.s, want.s, want.len);
    strbuf_fini(&got);
    strbuf_fini(&want);
    ntff_doc_fini(&once);
    ntff_doc_fini(&each);
}

static void nothing_is_a_profile(void **state)
{
    struct ntff_doc d = {0};
    struct strbuf out = {0};
    struct err err = {0};
    struct ntff n;

    assert_int_equal(ntff_doc_write(&d, &out, &err), NRT_SUCCESS);
    assert_int_equal(ntff_open(out.s, out.len, &n, &err), NRT_SUCCESS);
    assert_int_equal(n.exec_count, 0);
    strbuf_fini(&out);
}

/* Every length but the right one is refused. */
static void cut_files_are_refused(void **state)
{
    struct strbuf out = {0};
    struct ntff n;

    doc_make(&out);
    for (size_t size = 0; size < out.len; size++) {
        void *copy = malloc(size + 1); /* its end is the end of the memory */
        struct err err = {0};

        memcpy(copy, out.s, size);
        assert_int_equal(ntff_open(copy, size, &n, &err), NRT_INVALID);
        assert_true(err.text[0]);
        free(copy);
    }
    strbuf_fini(&out);
}

/* Each field that names something, set out of range, is refused. */
static void wrong_numbers_are_refused(void **state)
{
    struct strbuf out = {0};
    struct ntff n;
    struct err err = {0};

    doc_make(&out);
    assert_int_equal(ntff_open(out.s, out.len, &n, &err), NRT_SUCCESS);
#define REFUSED(object, field, bad)                                                        \
    do {                                                                                   \
        uint8_t *at = (uint8_t *)(uintptr_t) & (object).field;                             \
        uint64_t was = 0, is = (uint64_t)(bad);                                            \
        struct err why = {0};                                                              \
        struct ntff again;                                                                 \
        memcpy(&was, at, sizeof((object).field));                                          \
        memcpy(at, &is, sizeof((object).field));                                           \
        if (ntff_open(out.s, out.len, &again, &why) != NRT_INVALID)                        \
            fail_msg("%s = %llu is accepted", #object "." #field, (unsigned long long)is); \
        memcpy(at, &was, sizeof((object).field));                                          \
    } while (0)
    REFUSED(n.head[0], magic, 0);
    REFUSED(n.head[0], version, 2);
    REFUSED(n.head[0], sections, 7);
    REFUSED(n.head[0], size, out.len + 8);
    {
        struct ntff_section *s = (struct ntff_section *)(void *)(out.s + sizeof(struct ntff_head));

        for (unsigned i = 0; i < NTFF_SECTIONS; i++) {
            REFUSED(s[i], type, 9);
            REFUSED(s[i], item, s[i].item + 8);
            REFUSED(s[i], off, out.len + 8);
            REFUSED(s[i], off, s[i].off + 1);
            REFUSED(s[i], count, UINT64_MAX);
            REFUSED(s[i], count, UINT64_MAX / s[i].item);
        }
        REFUSED(s[0], count, 0);
        REFUSED(s[0], count, s[0].count - 1); /* the last text does not end */
    }
    REFUSED(n.models[0], name, n.text_bytes);
    REFUSED(n.models[0], gen, ISA_V2 - 1);
    REFUSED(n.models[1], gen, ISA_V4 + 1);
    REFUSED(n.models[1], cores, 3);
    REFUSED(n.models[1], cores, 0);
    REFUSED(n.models[0], first_record, UINT32_MAX);
    REFUSED(n.models[0], records, 5);
    REFUSED(n.models[0], records, 3); /* one is the second model's */
    REFUSED(n.models[1], first_record, 1);
    REFUSED(n.models[0], xfers, 1);
    REFUSED(n.models[1], first_xfer, 1);
    REFUSED(n.models[1], xfers, UINT32_MAX);
    REFUSED(n.records[1], core, 2);
    REFUSED(n.records[1], engine, ISA_ENGINES);
    REFUSED(n.records[2], file, n.text_bytes);
    REFUSED(n.records[2], label, UINT32_MAX);
    REFUSED(n.records[2], op, n.text_bytes);
    REFUSED(n.xfers[0], core, 2);
    REFUSED(n.xfers[0], first_engine, TIME_DMA_ENGINES);
    REFUSED(n.xfers[0], engines, TIME_DMA_ENGINES + 1);
    REFUSED(n.execs[2], model, 2);
    REFUSED(n.execs[2], first_event, n.event_count);
    REFUSED(n.execs[2], events, UINT64_MAX);
    REFUSED(n.execs[1], first_event, 0); /* the first execution's */
    REFUSED(n.execs[0], events, 2);
    REFUSED(n.events[3], kind, 0);
    REFUSED(n.events[3], kind, TIME_EV_COLL_PACKET + 1);
    REFUSED(n.events[3], unit, 16);
    REFUSED(n.events[3], unit, 5);
    REFUSED(n.events[2], start_ps, 401);
    strbuf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),   cmocka_unit_test(alike_is_written_in_full),
        cmocka_unit_test(nothing_is_a_profile),      cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(wrong_numbers_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
