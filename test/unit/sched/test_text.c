/* SPDX-License-Identifier: Apache-2.0 */
/* The text form: the grammar of text.h by examples, random steps there and back, and what is
 * refused and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/text.h"
#include "seed.h"

static struct sched_step parsed(const char *line, uint32_t rank)
{
    struct sched_step st;
    struct err err = {0};

    if (sched_text_step_parse(line, strlen(line), rank, &st, &err) != NRT_SUCCESS)
        fail_msg("\"%s\": %s", line, err.text);
    return st;
}

static void fields(void **state)
{
    struct sched_step st = parsed("  7 wait credit -2 from 5 ; 3 rs hop", 1);

    assert_int_equal(st.kind, SCHED_WAIT);
    assert_int_equal(st.sem, SCHED_SEM_CREDIT);
    assert_int_equal((int32_t)st.value, -2);
    assert_int_equal(st.peer, 5);
    assert_int_equal(st.phase, 3);
    st = parsed("reduce 64 x 3 slot+128*64, in[2]+7@4 -> out[1], slot@2 # both", 1);
    assert_int_equal(st.kind, SCHED_REDUCE);
    assert_true(st.count == 64 && st.repeat == 3 && st.nsrc == 2 && st.ndst == 2);
    assert_true(st.src[0].buf == SCHED_SLOT && st.src[0].off == 128 && st.src[0].stride == 64 &&
                st.src[0].rank == 1);
    assert_true(st.src[1].buf == SCHED_IN && st.src[1].tensor == 2 && st.src[1].off == 7 &&
                st.src[1].stride == 0 && st.src[1].rank == 4);
    assert_true(st.dst[0].buf == SCHED_OUT && st.dst[0].tensor == 1 && st.dst[0].rank == 1);
    assert_true(st.dst[1].buf == SCHED_SLOT && st.dst[1].rank == 2);
    st = parsed("take 4 line[3] from 3", 0);
    assert_true(st.kind == SCHED_TAKE && st.nsrc == 1 && st.ndst == 0 && st.peer == 3);
    st = parsed("net_recv 0 temp+1 from 3", 0);
    assert_true(st.kind == SCHED_NET_RECV && st.nsrc == 0 && st.ndst == 1 && st.count == 0);
    st = parsed("signal in_done to 9", 0);
    assert_true(st.kind == SCHED_SIGNAL && st.sem == SCHED_SEM_IN_DONE && st.peer == 9);
    (void)state;
}

/* The whole of a text, as printed, to the letter. */
static void printed(void **state)
{
    static const char text[] =
        "schedule ranks 2 channels 1\n"
        "rank 0 channel 0 node 0 slot 256 temp 0 line 0\n"
        "    0  wait out_ready 1 from 1                              ; 0\n"
        "    1  copy 128 in[0] -> out[0], out[0]@1                   ; 1\n"
        "    2  copy 8 x 4 in[0]+2*64 -> slot*-8                     ; 1\n"
        "    3  signal recv to 1                                     ; 2\n"
        "rank 1 channel 0 node 0 slot 0 temp 16 line 4\n"
        "    0  put 4 temp -> line[1]@0 to 0                         ; 0\n"
        "    1  net_send 18446744073709551615 in[63]+18446744073709551615 to 4294967295 ; 65535\n";
    struct sched_text *t;
    struct strbuf b = {0};
    struct err err = {0};

    if (sched_text_parse(text, strlen(text), &t, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
    sched_text_print(t, &b);
    assert_string_equal(b.s, text);
    strbuf_fini(&b);
    sched_text_line_print(&t->stream[0].step[3], 0, 3, "ag hop", &b);
    assert_string_equal(b.s,
                        "    3  signal recv to 1                                     ; 2 ag hop\n");
    strbuf_fini(&b);
    sched_text_destroy(t);
    (void)state;
}

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static struct sched_ref random_ref(void)
{
    struct sched_ref ref = {.buf = (uint8_t)draw(SCHED_BUF_COUNT),
                            .rank = draw(4),
                            .off = draw(2) ? draw(1000) : 0,
                            .stride = draw(2) ? (int64_t)draw(2000) - 1000 : 0};

    if (ref.buf != SCHED_SLOT && ref.buf != SCHED_TEMP)
        ref.tensor = draw(70000);
    return ref;
}

static struct sched_step random_step(void)
{
    struct sched_step st;

    memset(&st, 0, sizeof(st));
    st.kind = (uint8_t)draw(SCHED_KIND_COUNT);
    st.phase = (uint16_t)draw(10);
    if (st.kind <= SCHED_EXPECT) {
        st.sem = (uint8_t)draw(SCHED_SEM_COUNT);
        st.peer = draw(70000);
        st.value = st.kind == SCHED_SIGNAL ? 0 : draw(100) - 50;
        return st;
    }
    st.repeat = 1 + (draw(2) ? draw(100) : 0);
    st.count = draw(100000);
    st.nsrc = st.kind == SCHED_NET_RECV ? 0 : (uint8_t)(1 + draw(SCHED_REFS_MAX));
    st.ndst = st.kind == SCHED_NET_SEND || st.kind == SCHED_TAKE
                  ? 0
                  : (uint8_t)(1 + draw(SCHED_REFS_MAX));
    for (unsigned i = 0; i < st.nsrc; i++)
        st.src[i] = random_ref();
    for (unsigned i = 0; i < st.ndst; i++)
        st.dst[i] = random_ref();
    if (st.kind != SCHED_COPY && st.kind != SCHED_REDUCE)
        st.peer = draw(70000);
    return st;
}

static void there_and_back(void **state)
{
    seed = seed_take(20260828);
    for (int i = 0; i < 20000; i++) {
        struct sched_step st = random_step(), back;
        struct strbuf b = {0};

        sched_text_line_print(&st, 2, (uint64_t)i, i % 2 ? "a name" : NULL, &b);
        assert_false(b.failed);
        b.s[b.len - 1] = 0;
        back = parsed(b.s, 2);
        if (!sched_step_equal(&st, &back))
            fail_msg("\"%s\" reads as another step", b.s);
        strbuf_fini(&b);
    }
    (void)state;
}

static void refused(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "no schedule in the text"},
        {"# nothing\n\n", "no schedule in the text"},
        {"rank 0 channel 0\n", "line 1: schedule expected, found \"rank 0 channel 0\""},
        {"schedule ranks 0 channels 1", "line 1: 0 ranks with 1 channels"},
        {"schedule ranks 1 channels 33", "line 1: 1 ranks with 33 channels"},
        {"schedule ranks 65537 channels 1", "line 1: 65537 ranks with 1 channels"},
        {"schedule ranks 4294967296 channels 1",
         "line 1: a number of ranks expected, found \"4294967296 channels 1\""},
        {"schedule ranks 1 channels 1 x", "line 1: the end of the line expected, found \"x\""},
        {"schedule ranks 1 channels 1\nsignal recv to 0", "line 2: rank expected, found \"signal "
                                                          "recv to 0\""},
        {"schedule ranks 1 channels 1\nrank 1 channel 0", "line 2: rank 1, channel 0 of 1 and 1"},
        {"schedule ranks 1 channels 1\nrank 0 channel 0\nsignal recv to 0\nrank 0 channel 0",
         "line 4: a second stream of rank 0, channel 0"},
    };
    static const struct {
        const char *line, *why;
    } steps[] = {
        {"jump 3", "a step expected, found \"jump 3\""},
        {"wait recv from 1", "a value expected, found \"from 1\""},
        {"wait recv 2147483648 from 1", "a value expected, found \"2147483648 from 1\""},
        {"wait post 1 from 1", "a counter expected, found \"post 1 from 1\""},
        {"signal recv from 1", "to expected, found \"from 1\""},
        {"copy in[0] -> out[0]", "a count expected, found \"in[0] -> out[0]\""},
        {"copy 4 in -> out[0]", "[ expected, found \"-> out[0]\""},
        {"copy 4 in[4294967296] -> out[0]", "a tensor expected, found \"4294967296] -> out[0]\""},
        {"copy 4 x 0 in[0] -> out[0]", "a repeat of 1 or more expected, found \"in[0] -> out[0]\""},
        {"copy 4 in[0]", "-> expected, found \"\""},
        {"copy 4 in[0] -> ", "a buffer expected, found \"\""},
        {"copy 18446744073709551616 in[0] -> out[0]",
         "a count expected, found \"18446744073709551616 in[\""},
        {"copy 4 in[0] -> out[0] to 1", "the end of the line expected, found \"to 1\""},
        {"copy 4 inn[0] -> out[0]", "a buffer expected, found \"inn[0] -> out[0]\""},
        {"reduce 1 temp,temp,temp,temp,temp,temp,temp,temp,temp,temp,temp,temp,temp,temp,temp,temp,"
         "temp -> out[0]",
         "no more places expected, found \"temp -> out[0]\""},
        {"take 4 line[1]", "from expected, found \"\""},
        {"copy 4 in[0] -> out[0] ; x", "a phase expected, found \"x\""},
        {"copy 4 \x01", "a buffer expected, found \"\""},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct sched_text *t;
        struct err err = {0};

        assert_int_equal(sched_text_parse(bad[i].text, strlen(bad[i].text), &t, &err), NRT_INVALID);
        assert_string_equal(err.text, bad[i].why);
    }
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct sched_step st;
        struct err err = {0};

        assert_int_equal(sched_text_step_parse(steps[i].line, strlen(steps[i].line), 0, &st, &err),
                         NRT_INVALID);
        assert_string_equal(err.text, steps[i].why);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),
        cmocka_unit_test(printed),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests_name("sched-text", tests, NULL, NULL);
}
