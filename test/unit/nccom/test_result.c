/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes tell the launcher of nccom-test (tools/nccom-test/result.h), and what strangers may
 * try to tell it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "nccom-test/result.h"

#define TOKEN "0123456789abcdef0123456789abcdef"
#define HELLO "nccom-test 1 " TOKEN " 0 2\n"

static struct cc_job J;
static struct err E;

static NRT_STATUS take(struct cc_result *r, const char *text)
{
    J.o.nodes = 2;
    J.o.ranks = 4;
    J.stream_count = 2;
    J.counts.execs = 2;
    E = (struct err){0};
    cc_result_init(r, &J, TOKEN);
    return cc_result_take(r, text, strlen(text), &E);
}

static void refused(const char *text, const char *why)
{
    struct cc_result r;

    assert_int_equal(take(&r, text), NRT_INVALID);
    if (strstr(E.text, why) == NULL)
        fail_msg("\"%s\" has no \"%s\"", E.text, why);
    cc_result_fini(&r);
}

static const char good[] = HELLO "progress 1 3\n"
                                 "times 0 2\n1000.0\n2500.5\n"
                                 "times 1 2\n0\n7e3\n"
                                 "hash 1 0 0 ffffffffffffffff\n"
                                 "means 1 mesh inline\n"
                                 "end ok\n";

/* In one piece and byte by byte. */
static void a_result_is_read(void **state)
{
    struct cc_result r;

    (void)state;
    for (unsigned bytes = 0; bytes < 2; bytes++) {
        assert_int_equal(take(&r, bytes ? "" : good), NRT_SUCCESS);
        for (size_t i = 0; bytes && i < strlen(good); i++)
            assert_int_equal(cc_result_take(&r, good + i, 1, &E), NRT_SUCCESS);
        assert_true(r.greeted && r.ended && r.ok);
        assert_int_equal(r.node, 0);
        assert_int_equal(r.done, 1);
        assert_int_equal(r.of, 3);
        assert_true(r.us[0][0] == 1.0 && r.us[0][1] == 2.5005);
        assert_true(r.us[1][0] == 0.0 && r.us[1][1] == 7.0);
        assert_string_equal(r.algorithm[1], "mesh");
        assert_string_equal(r.variant[1], "inline");
        assert_string_equal(r.algorithm[0], "");
        assert_int_equal(r.hash_count, 1);
        assert_true(r.hash[0].stream == 1 && r.hash[0].hash == UINT64_MAX);
        cc_result_fini(&r);
    }
    assert_int_equal(take(&r, HELLO "end failed rank 3 failed: why\n"), NRT_SUCCESS);
    assert_true(r.ended && !r.ok);
    assert_string_equal(r.text, "rank 3 failed: why");
    cc_result_fini(&r);
}

static void strangers_are_refused(void **state)
{
    char line[2 * CC_LINE_MAX];

    (void)state;
    refused("GET / HTTP/1.1\r\n", "not a line of text");
    refused("GET / HTTP/1.1\n", "no greeting");
    refused("\n", "an empty line");
    refused("nccom-test 2 " TOKEN " 0 2\n", "another version");
    refused("nccom-test 1 0123456789abcdef0123456789abcdee 0 2\n", "a node of another job");
    refused("nccom-test 1 0123456789abcdef 0 2\n", "a node of another job");
    refused("nccom-test 1 " TOKEN "0 0 2\n", "a node of another job");
    refused("nccom-test 1 " TOKEN " 2 2\n", "not a node of this job");
    refused("nccom-test 1 " TOKEN " 0 3\n", "not a node of this job");
    refused("nccom-test 1 " TOKEN " -1 2\n", "no node");
    refused(good + strlen(HELLO), "no greeting");
    memset(line, 'a', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    refused(line, "not a line of text");
}

static void wrong_results_are_refused(void **state)
{
    (void)state;
    refused(HELLO "times 2 2\n", "not the times of a stream");
    refused(HELLO "times 0 3\n", "not the times of a stream");
    refused(HELLO "times 0 2\n1\n1\ntimes 0 2\n", "not the times of a stream");
    refused(HELLO "times 0 2\nnan\n", "not a time");
    refused(HELLO "times 0 2\n-1\n", "not a time");
    refused(HELLO "times 0 2\n1e300\n", "not a time");
    refused(HELLO "times 0 2\n\n", "not a time");
    refused(HELLO "times 0 2\n1\nend ok\n", "not a time");
    refused(HELLO "times 0 2\n1\n1\nend ok\n", "times are missing");
    refused(HELLO "end\n", "no end");
    refused(HELLO "end ok\n", "times are missing");
    refused(HELLO "end failed x\nend failed y\n", "more after the end");
    refused(HELLO "progress 3 2\n", "not a progress");
    refused(HELLO "progress 99999999999999999999999 2\n", "not a progress");
    refused(HELLO "hash 0 16 0 0\n", "not a hash");
    refused(HELLO "hash 0 0 4 0\n", "not a hash");
    refused(HELLO "hash 0 0 0 10000000000000000\n", "not a hash");
    refused(HELLO "means 2 mesh inline\n", "not an algorithm");
    refused(HELLO "means 0 mesh\n", "not an algorithm");
    refused(HELLO "means 0 \"mesh inline\n", "not an algorithm");
    refused(HELLO "means 0 abcdefghijklmnop inline\n", "not an algorithm");
    refused(HELLO "what 1\n", "not understood");
}

/* Of each execution the longest; groups that span nodes must agree. */
static void nodes_are_merged(void **state)
{
    struct cc_result nodes[2];
    struct cc_hash_line where;
    double us[2];

    (void)state;
    assert_int_equal(take(&nodes[0], HELLO "times 0 2\n1000\n5000\ntimes 1 2\n1\n1\n"
                                           "hash 0 0 1 a\nhash 0 0 0 7\nend ok\n"),
                     NRT_SUCCESS);
    assert_int_equal(take(&nodes[1], HELLO "times 0 2\n3000\n4000\ntimes 1 2\n1\n1\n"
                                           "hash 0 0 0 7\nhash 0 0 3 b\nend ok\n"),
                     NRT_SUCCESS);
    cc_results_merge(nodes, 2, 0, us);
    assert_true(us[0] == 3.0 && us[1] == 5.0);
    assert_true(cc_results_equal(nodes, 2, &where));
    nodes[1].hash[0].hash = 8;
    assert_false(cc_results_equal(nodes, 2, &where));
    assert_int_equal(where.group, 0);
    cc_result_fini(&nodes[0]);
    cc_result_fini(&nodes[1]);
}

static void first_hosts(void **state)
{
    static const struct {
        const char *list, *first;
    } lists[] = {{"n[01-04,7],m1", "n01"},
                 {"node1", "node1"},
                 {"a,b", "a"},
                 {"n[7,9]", "n7"},
                 {"n[12]", "n12"}};
    char host[16];

    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        assert_true(cc_first_host(lists[i].list, host, sizeof(host)));
        assert_string_equal(host, lists[i].first);
    }
    assert_false(cc_first_host("", host, sizeof(host)));
    assert_false(cc_first_host("n[", host, sizeof(host)));
    assert_false(cc_first_host("n[1", host, sizeof(host)));
    assert_false(cc_first_host("n[x]", host, sizeof(host)));
    assert_false(cc_first_host("a-name-that-is-longer", host, sizeof(host)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_is_read),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(wrong_results_are_refused),
        cmocka_unit_test(nodes_are_merged),
        cmocka_unit_test(first_hosts),
    };

    return cmocka_run_group_tests_name("nccom-result", tests, NULL, NULL);
}
