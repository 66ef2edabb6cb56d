/* SPDX-License-Identifier: Apache-2.0 */
/* JSON inputs of nccom-test: docs/spec/collectives.md 16.3 and 16.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nccom-test/sets.h"
#include "proves.h"

static struct err E;

static void said(NRT_STATUS st, const char *text)
{
    assert_int_equal(st, NRT_INVALID);
    if (strstr(E.text, text) == NULL)
        fail_msg("\"%s\" has no \"%s\"", E.text, text);
    E = (struct err){0};
}

/* ---- groups ---- */

static NRT_STATUS groups(struct cc_groups *g, const char *text, uint32_t ranks)
{
    E = (struct err){0};
    return cc_groups_read(g, "g.json", text, strlen(text), ranks, &E);
}

static void groups_are_read(void **state)
{
    struct cc_groups g;

    (void)state;
    assert_int_equal(groups(&g, "{\"replica_groups\": [[[0, 1], [3, 2]]]}", 4), NRT_SUCCESS);
    assert_int_equal(g.count, 1);
    assert_int_equal(g.list[0].groups, 2);
    assert_int_equal(g.list[0].size, 2);
    assert_memory_equal(g.list[0].ranks, ((uint32_t[]){0, 1, 3, 2}), 16);
    cc_groups_fini(&g);
    assert_int_equal(groups(&g, "{\"replica_groups\": [[[0, 1]], [[1, 2], [0, 3]]]}", 4),
                     NRT_SUCCESS);
    assert_int_equal(g.count, 2);
    assert_int_equal(g.list[1].groups, 2);
    cc_groups_fini(&g);
    cc_groups_fini(&g); /* again: nothing */
}

static void wrong_groups_are_refused(void **state)
{
    struct cc_groups g;

    (void)state;
    said(groups(&g, "{\"replica_groups\": [[[0, 1], [1, 2]]]}", 4), "rank 1 is in two places");
    said(groups(&g, "{\"replica_groups\": [[[0, 1], [2]]]}", 4), "groups differ in size");
    said(groups(&g, "{\"replica_groups\": [[[0, 1]], [[2]]]}", 4), "groups differ in size");
    said(groups(&g, "{\"replica_groups\": [[[0, 4]]]}", 4), "not a number from 0 to 3");
    said(groups(&g, "{\"replica_groups\": [[[-1]]]}", 4), "not a number from 0 to 3");
    said(groups(&g, "{\"replica_groups\": [[[0.5]]]}", 4), "not a number from 0 to 3");
    said(groups(&g, "{\"replica_groups\": [[[]]]}", 4), "an empty group");
    said(groups(&g, "{\"replica_groups\": [[]]}", 4), "1 to 4 groups");
    said(groups(&g, "{\"replica_groups\": []}", 4), "not an object with an array");
    said(groups(&g, "{\"groups\": [[[0]]]}", 4), "not an object with an array");
    said(groups(&g, "[[[0]]]", 4), "not an object with an array");
    said(groups(&g, "{\"replica_groups\": [[[0]]]", 4), "g.json:1:");
    said(groups(&g, "{\"replica_groups\": [[0], [1]]}", 4), "not an array");
    said(groups(&g, "", 4), "g.json");
    said(groups(&g,
                "{\"replica_groups\": [[[0]],[[0]],[[0]],[[0]],[[0]],[[0]],[[0]],[[0]],[[0]],"
                "[[0]],[[0]],[[0]],[[0]],[[0]],[[0]],[[0]],[[0]]]}",
                4),
         "more than 16 operations");
}

/* 128 ranks by 2: 64 groups; rank i with i + 64. */
static void data_parallel_groups(void **state)
{
    struct cc_groups g;

    (void)state;
    assert_int_equal(cc_groups_make(&g, 128, 2, &E), NRT_SUCCESS);
    assert_int_equal(g.list[0].groups, 64);
    for (uint32_t i = 0; i < 64; i++) {
        assert_int_equal(g.list[0].ranks[2 * i], i);
        assert_int_equal(g.list[0].ranks[2 * i + 1], i + 64);
    }
    cc_groups_fini(&g);
}

/* ---- pairs ---- */

static NRT_STATUS pairs(struct cc_pairs *p, const char *text, uint32_t ranks)
{
    E = (struct err){0};
    return cc_pairs_read(p, "p.json", text, strlen(text), ranks, &E);
}

static void pairs_are_read(void **state)
{
    struct cc_pairs p;

    (void)state;
    assert_int_equal(pairs(&p,
                           "{\"src_target_pairs\": [[[0, 1], [1, 0], [2, 3], [3, 2], [4, 4], [5, "
                           "5], [6, 6], [7, 7]]]}",
                           8),
                     NRT_SUCCESS); /* the guide's */
    assert_int_equal(p.count, 1);
    assert_int_equal(p.list[0].count, 8);
    assert_int_equal(p.list[0].pair[3][1], 2);
    cc_pairs_fini(&p);
}

/* Every rank of a group is a source and a target once, and the runtime's own rule accepts the
 * pairs; a whole node is one ring. */
static void pairs_of_a_group_are_accepted(void **state)
{
    static const struct {
        const char *type;
        uint32_t nodes, ranks; /* of a node */
    } worlds[] = {{"trn1.2xlarge", 1, 2},   {"trn1.32xlarge", 1, 32}, {"trn1.32xlarge", 1, 6},
                  {"trn1.32xlarge", 2, 2},  {"trn1.32xlarge", 3, 2},  {"trn1.32xlarge", 4, 32},
                  {"trn2.48xlarge", 1, 64}, {"trn2.48xlarge", 3, 1},  {"trn2.48xlarge", 1, 5},
                  {"inf2.48xlarge", 1, 24}, {"inf2.24xlarge", 1, 12}};

    (void)state;
    for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++) {
        const struct topo_instance *type = topo_instance_find(worlds[i].type);
        uint32_t n = worlds[i].nodes * worlds[i].ranks, seen = 0, at = 0;
        struct topo_fabric fabric;
        struct topo_world world;
        struct topo_group group;
        struct cc_groups g;
        struct cc_pairs p;

        E = (struct err){0};
        assert_int_equal(topo_fabric_init(&fabric, type, 1, &E), NRT_SUCCESS);
        assert_int_equal(topo_world_init(&world, &fabric, type->lnc_default, worlds[i].nodes,
                                         worlds[i].ranks, &E),
                         NRT_SUCCESS);
        assert_int_equal(cc_groups_make(&g, n, n, &E), NRT_SUCCESS);
        assert_int_equal(cc_pairs_make(&p, &g, &world, &E), NRT_SUCCESS);
        assert_int_equal(p.list[0].count, n);
        assert_int_equal(topo_group_init(&group, &world, NULL, 0, &E), NRT_SUCCESS);
        if (topo_pairs_check(&group, (const struct topo_pair *)(const void *)p.list[0].pair, n,
                             &E) != NRT_SUCCESS)
            fail_msg("%s, %u nodes of %u: %s", worlds[i].type, worlds[i].nodes, worlds[i].ranks,
                     E.text);
        do { /* the ring of rank 0 */
            uint32_t k = 0;

            while (k < n && p.list[0].pair[k][0] != at)
                k++;
            assert_true(k < n);
            at = p.list[0].pair[k][1];
            seen++;
        } while (at != 0 && seen <= n);
        if (worlds[i].ranks == 32 || worlds[i].ranks == 64 || worlds[i].ranks == 24)
            assert_int_equal(seen, n);
        topo_group_fini(&group);
        cc_pairs_fini(&p);
        cc_groups_fini(&g);
    }
}

static void wrong_pairs_are_refused(void **state)
{
    struct cc_pairs p;

    (void)state;
    said(pairs(&p, "{\"src_target_pairs\": [[[0, 1], [0, 2]]]}", 4), "rank 0 is a source twice");
    said(pairs(&p, "{\"src_target_pairs\": [[[0, 1], [2, 1]]]}", 4), "rank 1 is a target twice");
    said(pairs(&p, "{\"src_target_pairs\": [[[0, 1], [1, 2]]]}", 4), "closed rings");
    said(pairs(&p, "{\"src_target_pairs\": [[[0, 1, 2]]]}", 4), "a pair is [source, target]");
    said(pairs(&p, "{\"src_target_pairs\": [[[0, 9]]]}", 4), "not a number from 0 to 3");
    said(pairs(&p, "{\"src_target_pairs\": [[0, 1]]}", 4), "not an array");
    said(pairs(&p, "{\"src_target_pairs\": [[]]}", 4), "1 to 4 pairs");
}

/* ---- metadata ---- */

static NRT_STATUS metadata(struct cc_metadata *m, const char *text)
{
    E = (struct err){0};
    return cc_metadata_read(m, "m.json", text, strlen(text), &E);
}

static void metadata_is_read(void **state)
{
    struct cc_metadata m;

    (void)state;
    assert_int_equal(metadata(&m, "{\"metadata\": [{\"send_counts\": [512, 1024], \"send_displs\": "
                                  "[0, 512], \"recv_counts\": [], \"recv_displs\": []}]}"),
                     NRT_SUCCESS);
    assert_int_equal(m.count, 1);
    assert_int_equal(m.entry[0].sends, 2);
    assert_int_equal(m.entry[0].send_count[1], 1024);
    assert_int_equal(m.entry[0].send_displ[1], 512);
    assert_int_equal(m.entry[0].receives, 0);
    cc_metadata_fini(&m);
    assert_int_equal(metadata(&m, "{\"metadata\": [{\"send_counts\": [1], \"send_displs\": [0]}, "
                                  "{\"send_counts\": [2], \"send_displs\": [0], \"recv_counts\": "
                                  "[1, 2], \"recv_displs\": [0, 1]}]}"),
                     NRT_SUCCESS);
    assert_int_equal(m.count, 2);
    assert_int_equal(m.entry[1].recv_displ[1], 1);
    cc_metadata_fini(&m);

    said(metadata(&m, "{\"metadata\": [{}]}"), "no send_counts");
    said(metadata(&m, "{\"metadata\": [{\"send_counts\": [1, 2], \"send_displs\": [0]}]}"),
         "send_counts and send_displs differ in length");
    said(metadata(&m, "{\"metadata\": [{\"send_counts\": [2147483648], \"send_displs\": [0]}]}"),
         "not a number from 0 to 2147483647");
    said(metadata(&m, "{\"metadata\": [{\"send_counts\": [\"1\"], \"send_displs\": [0]}]}"),
         "not a number");
    said(metadata(&m, "{\"metadata\": [7]}"), "an entry of metadata is an object");
    said(metadata(&m, "{\"metadata\": {}}"), "not an object with an array");
}

/* ---- streams ---- */

static struct cc_stream S[CC_STREAMS_MAX];
static unsigned N;

static NRT_STATUS streams(const char *text)
{
    struct cc_options o;

    cc_options_init(&o);
    o.all.has_op = true;
    o.all.op = CC_ALL_GATHER;
    E = (struct err){0};
    return cc_streams_read(S, &N, &o.all, "s.json", text, strlen(text), &E);
}

static void streams_are_read(void **state)
{
    (void)state;
    assert_int_equal(
        streams("{\"streams\": [{\"operation\": \"all_reduce\", \"datatype\": \"bf16\", "
                "\"stepfactor\": 2, \"minbytes\": \"1KB\", \"maxbytes\": \"1MB\", "
                "\"custom_replica_groups\": \"stream_0_rg.json\"}, {\"operation\": \"allg\", "
                "\"datatype\": \"fp32\", \"ops_per_iter\": 2, \"minbytes\": \"1KB\", \"maxbytes\": "
                "\"1KB\", \"unique_buff\": true, \"coalesced_cc_size_ratio\": [1, 2]}, {}]}"),
        NRT_SUCCESS); /* the guide's, and a third with the options of the command line */
    assert_int_equal(N, 3);
    assert_int_equal(S[0].op, CC_ALL_REDUCE);
    assert_int_equal(S[0].dtype, DT_BF16);
    assert_true(S[0].min == 1024 && S[0].max == 1048576 && S[0].factor == 2);
    assert_string_equal(S[0].groups, "stream_0_rg.json");
    assert_int_equal(S[0].ops_per_iter, 1);
    assert_int_equal(S[1].op, CC_ALL_GATHER);
    assert_int_equal(S[1].ops_per_iter, 2);
    assert_true(S[1].unique_buff);
    assert_int_equal(S[1].parts, 2);
    assert_int_equal(S[1].ratio[1], 2);
    assert_int_equal(S[2].op, CC_ALL_GATHER);
    assert_true(S[2].min == 33554432);
    assert_false(S[2].unique_buff);
    PROVES("tool-121");
}

static void wrong_streams_are_refused(void **state)
{
    (void)state;
    said(streams("{\"streams\": [{\"nworkers\": 2}]}"), "stream 0: --nworkers: not an option");
    said(streams("{\"streams\": [{}, {\"size\": 2}]}"), "stream 1: \"size\" is not an option");
    said(streams("{\"streams\": [{\"operation\": \"bcast\"}]}"), "not a collective operation");
    said(streams("{\"streams\": [{\"minbytes\": 1.5}]}"), "minbytes: not a value");
    said(streams("{\"streams\": [{\"minbytes\": {}}]}"), "minbytes: not a value");
    said(streams("{\"streams\": [{\"unique_buff\": 1}]}"), "is not true or false");
    said(streams("{\"streams\": [{\"coalesced_cc_size_ratio\": [\"1\"]}]}"), "list of integers");
    said(streams("{\"streams\": [{\"ops_per_iter\": 0}]}"), "not a number from 1");
    said(streams("{\"streams\": [{}, {}, {}, {}, {}]}"), "more than 4 streams");
    said(streams("{\"streams\": [[]]}"), "stream 0 is not an object");
    said(streams("{\"streams\": [{\"datatype\": \"fp32\", \"datatype\": \"fp16\"}]}"), "s.json:1:");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_are_read),
        cmocka_unit_test(wrong_groups_are_refused),
        cmocka_unit_test(data_parallel_groups),
        cmocka_unit_test(pairs_are_read),
        cmocka_unit_test(pairs_of_a_group_are_accepted),
        cmocka_unit_test(wrong_pairs_are_refused),
        cmocka_unit_test(metadata_is_read),
        cmocka_unit_test(streams_are_read),
        cmocka_unit_test(wrong_streams_are_refused),
    };

    return cmocka_run_group_tests_name("nccom-sets", tests, NULL, NULL);
}
