/* SPDX-License-Identifier: Apache-2.0 */
/* mem, strbuf, err and fault. */
#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/strbuf.h"
#include "proves.h"

static void arena_hands_out_zeroed_aligned_memory(void **state)
{
    struct arena a = {.head = NULL};
    unsigned char *kept[2000];
    size_t size[2000];

    for (size_t i = 0; i < 2000; i++) {
        size[i] = i * 37 % 5000;
        kept[i] = arena_alloc(&a, size[i]);
        assert_non_null(kept[i]);
        assert_int_equal((uintptr_t)kept[i] % 16, 0);
        for (size_t k = 0; k < size[i]; k++)
            assert_int_equal(kept[i][k], 0);
        memset(kept[i], (int)(i & 255), size[i]);
    }
    for (size_t i = 0; i < 2000; i++) { /* nothing overlapped */
        for (size_t k = 0; k < size[i]; k++)
            assert_int_equal(kept[i][k], i & 255);
    }
    assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(&a, "ab", 30), "ab");
    assert_string_equal(arena_strdup(&a, ""), "");
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 3));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_non_null(arena_alloc(&a, 8 << 20));
    arena_fini(&a);
    assert_null(a.head);
    assert_int_equal(a.used_bytes, 0);
    assert_non_null(arena_alloc(&a, 1));
    arena_fini(&a);
}

/* Tens of MiB, where blocks are large: every piece is whole, zeroed and its own. */
static void arena_of_much(void **state)
{
    enum { PIECES = 12000, FIRST = 64 };
    static unsigned char *kept[PIECES];
    struct arena a = {.head = NULL};
    size_t total = 0;

    (void)state;
    for (size_t i = 0; i < PIECES; i++) {
        size_t size = FIRST + i * 7919 % 8000;

        kept[i] = arena_alloc(&a, size);
        assert_non_null(kept[i]);
        assert_int_equal((uintptr_t)kept[i] % 16, 0);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(kept[i][k], 0);
        memset(kept[i], (int)(i % 251 + 1), size);
        total += (size + 15) / 16 * 16;
    }
    assert_int_equal(a.used_bytes, total);
    for (size_t i = 0; i < PIECES; i++) {
        for (size_t k = 0; k < FIRST + i * 7919 % 8000; k++)
            assert_int_equal(kept[i][k], i % 251 + 1);
    }
    arena_fini(&a);
}

static void grow_doubles_and_refuses_overflow(void **state)
{
    int *p = NULL;
    size_t cap = 0;

    for (int i = 0; i < 1000; i++) {
        assert_true(mem_grow((void **)&p, &cap, (size_t)i + 1, sizeof(*p)));
        p[i] = i;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(p[i], i);
    assert_int_equal(cap, 1024);
    assert_false(mem_grow((void **)&p, &cap, SIZE_MAX / 2, sizeof(*p)));
    assert_int_equal(cap, 1024);
    mem_free(p);
}

static void map_finds_every_key_and_keeps_first_value(void **state)
{
    struct str_map m = {.slots = NULL};
    char key[32];
    uint64_t v;
    bool existed;

    assert_false(str_map_get(&m, "x", &v));
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "key-%.*s%u", (int)(i % 9), "########", i);
        assert_true(str_map_put(&m, key, i, &existed));
        assert_false(existed);
    }
    assert_int_equal(m.count, 5000);
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "key-%.*s%u", (int)(i % 9), "########", i);
        assert_true(str_map_put(&m, key, 7, &existed));
        assert_true(existed);
        assert_true(str_map_get(&m, key, &v));
        assert_int_equal(v, i);
    }
    assert_false(str_map_get(&m, "key-5000", &v));
    assert_true(str_map_put(&m, "", 3, NULL));
    assert_true(str_map_get(&m, "", &v));
    assert_int_equal(v, 3);
    str_map_fini(&m);
}

static void fault_hits_exactly_the_nth_time(void **state)
{
    void *p;

    fault_arm(FAULT_ALLOC, 3);
    p = mem_alloc(8);
    assert_non_null(p);
    mem_free(p);
    assert_false(fault_hit(FAULT_FILE));
    p = mem_calloc(2, 8);
    assert_non_null(p);
    errno = 0;
    assert_null(mem_realloc(p, 100));
    assert_int_equal(errno, ENOMEM);
    p = mem_realloc(p, 100);
    assert_non_null(p);
    mem_free(p);
    fault_count_start();
    mem_free(mem_alloc(1));
    mem_free(mem_strdup("x"));
    mem_free(mem_aligned(64, 64));
    assert_int_equal(fault_count(FAULT_ALLOC), 3);
    assert_int_equal(fault_count(FAULT_MMAP), 0);
    fault_disarm();
    mem_free(mem_alloc(1));
    assert_int_equal(fault_count(FAULT_ALLOC), 3);
    assert_int_equal(fault_armed_, 0);
}

/* A scenario over every user of memory in base: it must survive each allocation failing in turn. */
static bool scenario(void)
{
    struct arena a = {.head = NULL};
    struct str_map m = {.slots = NULL};
    struct strbuf b = {.s = NULL};
    char key[16];
    bool ok = true;

    for (int i = 0; i < 100 && ok; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        ok = arena_alloc(&a, 1000) != NULL && str_map_put(&m, key, 1, NULL);
        strbuf_printf(&b, "%s %d;", key, i);
        ok = ok && !b.failed;
    }
    str_map_fini(&m);
    strbuf_fini(&b);
    arena_fini(&a);
    return ok;
}

static void every_allocation_may_fail(void **state)
{
    uint64_t n;

    fault_count_start();
    assert_true(scenario());
    n = fault_count(FAULT_ALLOC);
    assert_true(n > 50);
    for (uint64_t i = 1; i <= n; i++) {
        fault_arm(FAULT_ALLOC, i);
        assert_false(scenario());
        fault_disarm();
        assert_true(scenario());
    }
}

static void strbuf_grows_and_stays_terminated(void **state)
{
    struct strbuf b = {.s = NULL};
    size_t want = 0;

    for (int i = 0; i < 3000; i++) {
        char num[16];

        want += (size_t)snprintf(num, sizeof(num), "%d,", i);
        strbuf_printf(&b, "%d,", i);
        assert_int_equal(b.len, want);
        assert_int_equal(strlen(b.s), want);
    }
    strbuf_putn(&b, "a\0b", 3);
    assert_int_equal(b.len, want + 3);
    strbuf_put(&b, "");
    assert_false(b.failed);
    strbuf_fini(&b);
    assert_null(b.s);
    strbuf_printf(&b, "%0*d", 5000, 1); /* longer than the first buffer */
    assert_int_equal(b.len, 5000);
    strbuf_fini(&b);
}

static void size_text_has_three_decimals_and_base_1024(void **state)
{
    static const struct {
        unsigned long long bytes;
        const char *text;
    } want[] = {{0, "0.000B"},
                {1, "1.000B"},
                {1023, "1023.000B"},
                {1024, "1.000KB"},
                {31295, "30.562KB"},
                {1048576, "1.000MB"},
                {1536ull << 20, "1.500GB"},
                {3ull << 40, "3072.000GB"}};
    char buf[32];

    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        size_text(buf, sizeof(buf), want[i].bytes);
        assert_string_equal(buf, want[i].text);
    }
    PROVES("mem-024");
}

static void err_keeps_the_first_and_is_cut(void **state)
{
    struct err err = {.status = NRT_SUCCESS};
    char big[2000];

    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    assert_int_equal(err_set(NULL, NRT_RESOURCE, "%d", 1), NRT_RESOURCE);
    assert_int_equal(err_set(&err, NRT_INVALID, "%s", big), NRT_INVALID);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    assert_int_equal(err_set(&err, NRT_RESOURCE, "later"), NRT_RESOURCE);
    assert_int_equal(err.status, NRT_INVALID);
    assert_int_equal(err.text[0], 'x');
}

static void status_names(void **state)
{
    assert_string_equal(status_name(NRT_SUCCESS), "NRT_SUCCESS");
    assert_string_equal(status_name((NRT_STATUS)9), "NRT_LOAD_NOT_ENOUGH_NC");
    assert_string_equal(status_name((NRT_STATUS)101), "NRT_EXEC_UNIT_UNRECOVERABLE");
    assert_string_equal(status_name((NRT_STATUS)1206), "NRT_NETWORK_PROXY_FAILURE");
    assert_string_equal(status_name((NRT_STATUS)8), "UNKNOWN STATUS");
    assert_string_equal(status_name((NRT_STATUS)-1), "UNKNOWN STATUS");
}

static void keep(void *arg, const char *text)
{
    snprintf(arg, 64, "%s", text);
}

static void diag_sinks_are_optional(void **state)
{
    char got[64] = "";
    struct diag_sink sink = {.warn = keep, .debug = NULL, .arg = got};

    diag_warn(NULL, "x %d", 1);
    diag_debug(&sink, "y %d", 2);
    assert_string_equal(got, "");
    diag_warn(&sink, "z %d", 3);
    assert_string_equal(got, "z 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_hands_out_zeroed_aligned_memory),
        cmocka_unit_test(arena_of_much),
        cmocka_unit_test(grow_doubles_and_refuses_overflow),
        cmocka_unit_test(map_finds_every_key_and_keeps_first_value),
        cmocka_unit_test(fault_hits_exactly_the_nth_time),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(strbuf_grows_and_stays_terminated),
        cmocka_unit_test(size_text_has_three_decimals_and_base_1024),
        cmocka_unit_test(err_keeps_the_first_and_is_cut),
        cmocka_unit_test(status_names),
        cmocka_unit_test(diag_sinks_are_optional),
    };

    return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
