/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, statistics, the table and the JSON report of nccom-test, with the figures of the public
 * guide's samples (docs/spec/collectives.md 16.1 to 16.4). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nccom-test/report.h"
#include "proves.h"

static struct cc_options O;
static struct err E;

static void start(enum cc_op op, enum dtype t, const char *name)
{
    cc_options_init(&O);
    O.stats[O.stat_count++] = CC_STAT_AVG;
    O.all.op = op;
    O.all.has_op = true;
    O.all.dtype = t;
    snprintf(O.all.dtype_name, sizeof(O.all.dtype_name), "%s", name);
    E = (struct err){0};
}

/* ---- sizes ---- */

static struct cc_case made(uint64_t size, uint32_t ranks, const struct cc_metadata *m)
{
    struct cc_groups g;
    struct cc_case c;

    assert_int_equal(cc_groups_make(&g, ranks, ranks, &E), NRT_SUCCESS);
    if (cc_case_make(&c, &O.all, size, &g, m, ranks, &E) != NRT_SUCCESS)
        fail_msg("%s", E.text);
    cc_groups_fini(&g);
    return c;
}

static void sizes_are_rounded_up(void **state)
{
    struct cc_case c;

    (void)state;
    start(CC_ALL_REDUCE, DT_FP32, "fp32");
    c = made(7, 3, NULL);
    assert_true(c.bytes == 8 && c.count == 2 && c.in[0] == 2 && c.out[0] == 2);
    start(CC_ALL_GATHER, DT_FP32, "fp32");
    c = made(1024, 32, NULL); /* the guide's --show-input-output-size */
    assert_true(c.bytes == 1024 && c.count == 256);
    assert_true(cc_case_in_bytes(&c) == 32 && cc_case_out_bytes(&c) == 1024);
    c = made(1025, 32, NULL);
    assert_true(c.bytes == 1152 && c.in[0] == 9 && c.out[0] == 288);
    start(CC_REDUCE_SCATTER, DT_BF16, "bf16");
    c = made(1, 4, NULL);
    assert_true(c.bytes == 8 && c.in[0] == 4 && c.out[0] == 1);
    start(CC_SENDRECV, DT_UINT16, "uint16");
    c = made(3, 2, NULL);
    assert_true(c.bytes == 4 && c.in[0] == 2 && c.out[0] == 2);
}

static void alltoall_refuses_what_does_not_divide(void **state)
{
    struct cc_groups g;
    struct cc_case c;

    (void)state;
    start(CC_ALL_TO_ALL, DT_FP32, "fp32");
    c = made(32, 4, NULL);
    assert_true(c.in[0] == 8 && c.out[0] == 8);
    assert_int_equal(cc_groups_make(&g, 4, 4, &E), NRT_SUCCESS);
    assert_int_equal(cc_case_make(&c, &O.all, 36, &g, NULL, 4, &E), NRT_INVALID);
    assert_string_equal(E.text,
                        "alltoall: 36 bytes are not a multiple of 4 ranks of 4 bytes (fp32)");
    cc_groups_fini(&g);
}

static void coalesced_sizes(void **state)
{
    struct cc_case c;
    uint64_t sum = 0;

    (void)state;
    start(CC_ALL_REDUCE, DT_UINT8, "uint8");
    O.all.parts = 3;
    memcpy(O.all.ratio, (uint32_t[]){1, 2, 1}, 12);
    c = made(4 << 20, 2, NULL); /* the guide's: 4 MB by [1,2,1] */
    assert_true(c.parts == 3 && c.in[0] == 1 << 20 && c.in[1] == 2 << 20 && c.in[2] == 1 << 20);
    memcpy(O.all.ratio, (uint32_t[]){1, 3, 7}, 12);
    c = made(1000, 2, NULL); /* floor(1000/11), floor(4000/11) */
    assert_true(c.in[0] == 90 && c.in[1] == 363 - 90 && c.in[2] == 1000 - 363);
    start(CC_ALL_GATHER, DT_FP32, "fp32");
    O.all.parts = 2;
    memcpy(O.all.ratio, (uint32_t[]){1, 2}, 8);
    c = made(4 * 10 * 8, 8, NULL); /* 10 elements of a rank: 3 and 7 */
    assert_true(c.in[0] == 3 && c.in[1] == 7 && c.out[0] == 24 && c.out[1] == 56);
    for (unsigned i = 0; i < c.parts; i++)
        sum += c.out[i];
    assert_true(sum * 4 == c.bytes);
}

/* counts 512 and 1024 of 1 MB: 1048608 bytes, 262152 elements. */
static void alltoallv_of_the_guide(void **state)
{
    struct cc_counts_entry e = {
        .sends = 2, .send_count = (uint32_t[]){512, 1024}, .send_displ = (uint32_t[]){0, 512}};
    struct cc_metadata m = {1, &e};
    struct cc_case c;

    (void)state;
    start(CC_ALL_TO_ALL_V, DT_FP32, "fp32");
    c = made(1048576, 2, &m);
    assert_true(c.bytes == 1048608 && c.count == 262152);
    assert_int_equal(c.tables.send_count[0], 87384);
    assert_int_equal(c.tables.send_count[1], 174768);
    assert_int_equal(c.tables.send_displ[1], 87384);
    assert_int_equal(c.tables.recv_count[1], 87384); /* rank 0 from rank 1 */
    assert_int_equal(c.tables.recv_count[2], 174768);
    assert_false(c.tables.has_recv_displ);
    assert_int_equal(c.tables.recv_displ[1], 174768); /* source s at s * (out / n) */
    assert_true(c.out[0] == 2 * 174768 && c.in[0] == 262152);
    cc_case_fini(&c);
}

static void all_gatherv_of_the_guide(void **state)
{
    struct cc_counts_entry e = {.sends = 1,
                                .receives = 4,
                                .send_count = (uint32_t[]){256},
                                .send_displ = (uint32_t[]){0},
                                .recv_count = (uint32_t[]){256, 256, 256, 256},
                                .recv_displ = (uint32_t[]){0, 256, 512, 768}};
    struct cc_metadata m = {1, &e};
    struct cc_case c;

    (void)state;
    start(CC_ALL_GATHER_V, DT_FP16, "fp16");
    c = made(2048, 4, &m);
    assert_true(c.bytes == 2048 && c.count == 1024);
    assert_true(c.in[0] == 256 && c.out[0] == 1024);
    assert_false(c.tables.has_recv_displ);
    assert_int_equal(c.tables.recv_displ[3], 768);
    cc_case_fini(&c);
}

static void metadata_must_fit(void **state)
{
    struct cc_counts_entry e[2] = {
        {.sends = 2, .send_count = (uint32_t[]){8, 16}, .send_displ = (uint32_t[]){0, 8}},
        {.sends = 2,
         .receives = 2,
         .send_count = (uint32_t[]){24, 8},
         .send_displ = (uint32_t[]){0, 24},
         .recv_count = (uint32_t[]){16, 8},
         .recv_displ = (uint32_t[]){40, 0}}};
    struct cc_metadata m = {2, e};
    struct cc_groups g;
    struct cc_case c;

    (void)state;
    start(CC_ALL_TO_ALL_V, DT_UINT8, "uint8");
    c = made(32, 2, &m); /* the busiest rank sends 32: factors of 1 */
    assert_int_equal(c.tables.send_count[2], 24);
    assert_true(c.tables.has_recv_displ);
    assert_int_equal(c.tables.recv_displ[2], 40);
    assert_true(c.out[0] == 56 && c.bytes == 32);
    cc_case_fini(&c);
    assert_int_equal(cc_groups_make(&g, 2, 2, &E), NRT_SUCCESS);
    e[1].recv_count[0] = 17;
    assert_int_equal(cc_case_make(&c, &O.all, 32, &g, &m, 2, &E), NRT_INVALID);
    assert_string_equal(E.text, "metadata: rank 1 receives 17 from rank 0, which sends 16");
    E = (struct err){0};
    m.count = 1;
    e[0].sends = 1;
    assert_int_equal(cc_case_make(&c, &O.all, 32, &g, &m, 2, &E), NRT_INVALID);
    assert_string_equal(E.text, "metadata: entry 0: 1 send_counts, not 2");
    cc_groups_fini(&g);
}

/* ---- statistics ---- */

static void statistics(void **state)
{
    double v[100];
    char text[32];

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        v[i] = (i * 37) % 100 + 1; /* 1..100, mixed */
    cc_sort(v, 100);
    assert_true(cc_percentile(v, 100, 0) == 1 && cc_percentile(v, 100, 1) == 1);
    assert_true(cc_percentile(v, 100, 50) == 50 && cc_percentile(v, 100, 99) == 99);
    assert_true(cc_percentile(v, 100, 100) == 100);
    assert_true(cc_percentile(v, 1, 50) == 1 && cc_percentile(v, 3, 50) == 2);
    assert_true(cc_mean(v, 100) == 50.5);
    cc_round_text(text, sizeof(text), 10);
    assert_string_equal(text, "10.0");
    cc_round_text(text, sizeof(text), 260.6);
    assert_string_equal(text, "260.6");
    cc_round_text(text, sizeof(text), 574.151);
    assert_string_equal(text, "574.15");
    cc_round_text(text, sizeof(text), 0.004);
    assert_string_equal(text, "0.0");
}

static void bus_factors(void **state)
{
    (void)state;
    for (uint32_t r = 1; r <= 64; r++) {
        assert_true(cc_bus_factor(CC_ALL_REDUCE, r) == 2.0 * (r - 1) / r);
        for (unsigned op = CC_ALL_GATHER; op < CC_OP_COUNT; op++)
            if (op != CC_PERMUTE && op != CC_SENDRECV)
                assert_true(cc_bus_factor((enum cc_op)op, r) == 1.0 * (r - 1) / r);
        assert_true(cc_bus_factor(CC_SENDRECV, r) == 1 && cc_bus_factor(CC_PERMUTE, r) == 1);
    }
}

/* ---- tables ---- */

static struct cc_row row(uint64_t size, uint32_t ranks, double us)
{
    struct cc_row r = {.algorithm = ""};
    struct cc_case c = made(size, ranks, NULL);

    r.bytes = c.bytes;
    r.count = c.count;
    r.in_bytes = cc_case_in_bytes(&c);
    r.out_bytes = cc_case_out_bytes(&c);
    snprintf(r.type, sizeof(r.type), "%s", O.all.dtype_name);
    cc_row_fill(&r, &c, &O, &us, 1);
    return r;
}

static void printed(const struct cc_row *rows, size_t n, unsigned failed, const char *want)
{
    struct strbuf b = {0};

    assert_int_equal(cc_table_print(&b, &O, rows, n), failed);
    assert_string_equal(b.s, want);
    strbuf_fini(&b);
}

static void table_of_a_permute(void **state)
{
    struct cc_row r;

    (void)state;
    start(CC_PERMUTE, DT_UINT8, "uint8");
    r = row(33554432, 8, 894.2364);
    printed(&r, 1, 0,
            " size(B)    count(elems)     type    time:avg(us)    algbw(GB/s)    busbw(GB/s)\n"
            "33554432        33554432    uint8          894.24          37.52          37.52\n"
            "Avg bus bandwidth:\t37.5230GB/s\n");
    PROVES("tool-110");
}

static void table_with_sizes(void **state)
{
    struct cc_row rows[4];

    (void)state;
    start(CC_ALL_GATHER, DT_FP32, "fp32");
    O.show_sizes = true;
    rows[0] = row(1024, 32, 6.16);
    rows[1] = row(8192, 32, 6.476);
    rows[2] = row(65536, 32, 8.17);
    rows[3] = row(524288, 32, 23.16167);
    printed(rows, 4, 0,
            "size(B)    count(elems)    total_input_size(B)    total_output_size(B)    type    "
            "time:avg(us)    algbw(GB/s)    busbw(GB/s)\n"
            "   1024             256                     32                    1024    fp32    "
            "        6.16           0.17           0.16\n"
            "   8192            2048                    256                    8192    fp32    "
            "        6.48           1.26           1.23\n"
            "  65536           16384                   2048                   65536    fp32    "
            "        8.17           8.02           7.77\n"
            " 524288          131072                  16384                  524288    fp32    "
            "       23.16          22.64          21.93\n"
            "Avg bus bandwidth:\t7.7715GB/s\n");
    PROVES("tool-111");
    PROVES("tool-097");
}

static void table_with_algorithms(void **state)
{
    static const struct {
        uint64_t size;
        double us;
        const char *algorithm;
    } samples[] = {{4, 299.91, "mesh"},
                   {32, 299.69, "mesh"},
                   {131072, 574.15, "mesh"},
                   {2097152, 686.32, "rdh"},
                   {33554432, 2754.15, "kangaring"},
                   {536870912, 9689.51, "kangaring"}};
    struct cc_row rows[6];

    (void)state;
    start(CC_ALL_REDUCE, DT_FP32, "fp32");
    O.show_algorithm = true;
    for (unsigned i = 0; i < 6; i++) {
        rows[i] = row(samples[i].size, 16, samples[i].us);
        snprintf(rows[i].algorithm, sizeof(rows[i].algorithm), "%s", samples[i].algorithm);
    }
    printed(rows, 6, 0,
            "  size(B)    count(elems)    type    time:avg(us)    algbw(GB/s)    busbw(GB/s)    "
            "algorithm\n"
            "        4               1    fp32          299.91           0.00           0.00    "
            "     mesh\n"
            "       32               8    fp32          299.69           0.00           0.00    "
            "     mesh\n"
            "   131072           32768    fp32          574.15           0.23           0.43    "
            "     mesh\n"
            "  2097152          524288    fp32          686.32           3.06           5.73    "
            "      rdh\n"
            " 33554432         8388608    fp32         2754.15          12.18          22.84    "
            "kangaring\n"
            "536870912       134217728    fp32         9689.51          55.41         103.89    "
            "kangaring\n"
            "Avg bus bandwidth:\t22.1483GB/s\n");
    PROVES("tool-112");
}

static void table_with_percentiles(void **state)
{
    static const int stats[] = {CC_STAT_AVG, 25, 50, 90, 99};
    struct cc_row r;
    double us[4] = {9.4, 10.4, 9.6, 10.6};
    struct cc_case c;

    (void)state;
    start(CC_ALL_GATHER, DT_FP32, "fp32");
    memcpy(O.stats, stats, sizeof(stats));
    O.stat_count = 5;
    r = row(1024, 8, 1);
    c = made(1024, 8, NULL);
    cc_row_fill(&r, &c, &O, us, 4);
    printed(&r, 1, 0,
            "size(B)    count(elems)    type    time:avg(us)    time:p25(us)    time:p50(us)    "
            "time:p90(us)    time:p99(us)    algbw(GB/s)    busbw(GB/s)\n"
            "   1024             256    fp32            10.0               9              10    "
            "          11              11           0.10           0.09\n"
            "Avg bus bandwidth:\t0.0896GB/s\n");
    PROVES("tool-095");
}

static void table_with_failures(void **state)
{
    struct cc_row rows[2];

    (void)state;
    start(CC_ALL_REDUCE, DT_UINT8, "uint8");
    memset(rows, 0, sizeof(rows));
    rows[0].bytes = 33554432;
    rows[0].failed = true;
    snprintf(rows[0].log, sizeof(rows[0].log), "/tmp/nccom_test_log_7pqpdfjf.log");
    printed(rows, 1, 1,
            " size(B)    count(elems)    type    time:avg(us)    algbw(GB/s)    busbw(GB/s)\n"
            "33554432    Failure running neuron-bench - log file "
            "/tmp/nccom_test_log_7pqpdfjf.log\n");
    rows[1] = row(4, 2, 4);
    printed(rows, 2, 1,
            " size(B)    count(elems)     type    time:avg(us)    algbw(GB/s)    busbw(GB/s)\n"
            "33554432    Failure running neuron-bench - log file "
            "/tmp/nccom_test_log_7pqpdfjf.log\n"
            "       4               4    uint8             4.0           0.00           0.00\n"
            "Avg bus bandwidth:\t0.0010GB/s\n");
}

static void units_of_two_to_the_thirty(void **state)
{
    struct cc_row r;

    (void)state;
    start(CC_ALL_REDUCE, DT_UINT8, "uint8");
    O.gib = true;
    r = row(33554432, 2, 768); /* the guide's old table: 40.69 GiB/s */
    assert_true(fabs(r.busbw - 40.6901) < 0.0001);
}

/* ---- JSON ---- */

static void json_of_the_guide(void **state)
{
    static const size_t counts[] = {1, 1};
    struct cc_row rows[2];
    struct cc_stream streams[2];
    struct strbuf b = {0};
    const char *head;
    char *end;

    (void)state;
    start(CC_ALL_GATHER, DT_FP32, "fp32");
    O.ranks = 32;
    rows[0] = row(1024, 32, 6.1859375);
    rows[1] = rows[0];
    rows[1].failed = true;
    snprintf(rows[1].log, sizeof(rows[1].log), "/tmp/\"x");
    streams[0] = streams[1] = O.all;
    cc_json_print(&b, &O, streams, 1, rows, counts);
    head = "{\n    \"results\": [\n        {\n            \"size(B)\": 1024,\n"
           "            \"count(elems)\": 256,\n            \"type\": \"fp32\",\n"
           "            \"algbw(GB/s)\": ";
    assert_memory_equal(b.s, head, strlen(head));
    assert_true(fabs(strtod(b.s + strlen(head), &end) - 0.16553675170497603) < 1e-15);
    head = ",\n            \"busbw(GB/s)\": ";
    assert_memory_equal(end, head, strlen(head));
    assert_true(fabs(strtod(end + strlen(head), &end) - 0.16036372821419553) < 1e-15);
    assert_string_equal(
        end, ",\n            \"time:avg(us)\": 6.19\n        }\n    ],\n    \"config\": {\n"
             "        \"nworkers\": 32,\n        \"nnodes\": 1,\n        \"iters\": 20,\n"
             "        \"warmup_iters\": 5,\n        \"streams\": [\n"
             "            {\"operation\": \"all_gather\", \"datatype\": \"fp32\", "
             "\"minbytes\": 33554432, \"maxbytes\": 33554432, \"ops_per_iter\": 1}\n"
             "        ]\n    }\n}\n");
    PROVES("tool-113");
    strbuf_fini(&b);
    cc_json_print(&b, &O, streams, 2, rows, counts);
    assert_non_null(strstr(b.s, "\"stream\": 1,\n            \"size(B)\": 1024,\n            "
                                "\"error\": \"/tmp/\\\"x\"\n"));
    strbuf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_rounded_up),
        cmocka_unit_test(alltoall_refuses_what_does_not_divide),
        cmocka_unit_test(coalesced_sizes),
        cmocka_unit_test(alltoallv_of_the_guide),
        cmocka_unit_test(all_gatherv_of_the_guide),
        cmocka_unit_test(metadata_must_fit),
        cmocka_unit_test(statistics),
        cmocka_unit_test(bus_factors),
        cmocka_unit_test(table_of_a_permute),
        cmocka_unit_test(table_with_sizes),
        cmocka_unit_test(table_with_algorithms),
        cmocka_unit_test(table_with_percentiles),
        cmocka_unit_test(table_with_failures),
        cmocka_unit_test(units_of_two_to_the_thirty),
        cmocka_unit_test(json_of_the_guide),
    };

    return cmocka_run_group_tests_name("nccom-report", tests, NULL, NULL);
}
