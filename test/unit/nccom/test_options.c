/* SPDX-License-Identifier: Apache-2.0 */
/* Options of nccom-test, sweeps and counts: docs/spec/collectives.md 16.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "nccom-test/options.h"
#include "proves.h"

#define WORDS_MAX 40

static struct cc_options O;
static struct err E;

/* A command line without its first word, cut at blanks. */
static NRT_STATUS parse(const char *line)
{
    static char text[1024];
    char *argv[WORDS_MAX] = {"nccom-test"}, *save = NULL;
    int argc = 1;

    snprintf(text, sizeof(text), "%s", line);
    for (char *w = strtok_r(text, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    cc_options_init(&O);
    E = (struct err){0};
    return cc_options_parse(&O, argc, argv, &E);
}

static void good(const char *line)
{
    if (parse(line) != NRT_SUCCESS || cc_options_check(&O, &E) != NRT_SUCCESS)
        fail_msg("%s: %s", line, E.text);
}

static void refused(const char *line, const char *text)
{
    NRT_STATUS st = parse(line);

    if (st == NRT_SUCCESS)
        st = cc_options_check(&O, &E);
    assert_int_equal(st, NRT_INVALID);
    if (strstr(E.text, text) == NULL)
        fail_msg("%s: \"%s\" has no \"%s\"", line, E.text, text);
}

static void defaults(void **state)
{
    (void)state;
    good("-r 2 allr");
    assert_int_equal(O.ranks, 2);
    assert_int_equal(O.nodes, 1);
    assert_int_equal(O.all.op, CC_ALL_REDUCE);
    assert_true(O.all.min == 33554432 && O.all.max == 33554432);
    assert_int_equal(O.iters, 20);
    assert_int_equal(O.warmup_iters, 5);
    assert_false(O.has_neff_iters || O.has_neff_warmup);
    assert_int_equal(O.all.dtype, DT_UINT8);
    assert_string_equal(O.all.dtype_name, "uint8");
    assert_int_equal(O.check, CC_CHECK_OFF);
    assert_int_equal(O.stat_count, 1);
    assert_int_equal(O.stats[0], CC_STAT_AVG);
    assert_int_equal(O.collector_port, 60006);
    assert_int_equal(O.all.cc_dim, 1);
    assert_false(O.non_interactive || O.show_algorithm || O.show_sizes || O.debug || O.slurm);
}

static void every_operation_by_both_names(void **state)
{
    static const struct {
        const char *name;
        enum cc_op op;
    } names[] = {
        {"all_reduce", CC_ALL_REDUCE},
        {"allr", CC_ALL_REDUCE},
        {"all_gather", CC_ALL_GATHER},
        {"allg", CC_ALL_GATHER},
        {"all_gatherv", CC_ALL_GATHER_V},
        {"allgv", CC_ALL_GATHER_V},
        {"reduce_scatter", CC_REDUCE_SCATTER},
        {"redsct", CC_REDUCE_SCATTER},
        {"sendrecv", CC_SENDRECV},
        {"alltoall", CC_ALL_TO_ALL},
        {"alltoallv", CC_ALL_TO_ALL_V},
        {"permute", CC_PERMUTE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char line[64];

        snprintf(line, sizeof(line), "-r 4 %s", names[i].name);
        good(line);
        assert_int_equal(O.all.op, names[i].op);
    }
    refused("-r 2 broadcast", "not a collective operation");
    refused("-r 2", "no operation");
    refused("allr", "-r/--nworkers is required");
    refused("-r 2 allr allg", "there is an operation already");
}

static void the_guides_command_lines(void **state)
{
    (void)state;
    good("-r 2 --minbytes 1kb --maxbytes 1gb --stepfactor 4 --datatype fp32 allr");
    assert_true(O.all.min == 1024 && O.all.max == 1073741824 && O.all.factor == 4);
    assert_int_equal(O.all.dtype, DT_FP32);
    good("-r 32 --minbytes 1kb --maxbytes 1mb --stepfactor 8 --datatype fp32 --check allg");
    assert_int_equal(O.check, CC_CHECK_RANDOM);
    assert_int_equal(O.all.op, CC_ALL_GATHER);
    good("-r 64 -N 2 -b 8 -e 1GB -f 2 -n 50 -w 5 -d fp32 allr --hosts 127.0.0.1 10.1.4.138");
    assert_int_equal(O.nodes, 2);
    assert_int_equal(O.host_count, 2);
    assert_string_equal(O.hosts[1], "10.1.4.138");
    good(
        "-r 8 --minbytes 1kb --maxbytes 1mb --stepfactor 8 --datatype fp32 --stats avg p25 p50 p90 "
        "p99 --iters 1000 allg");
    assert_int_equal(O.stat_count, 5);
    assert_int_equal(O.stats[1], 25);
    assert_int_equal(O.stats[4], 99);
    assert_int_equal(O.iters, 1000);
    good("allgv -r 4 -N 1 -b 2048 -e 2048 -d fp16 --variable-size-op-metadata m.json");
    assert_string_equal(O.all.metadata, "m.json");
    good("-r 64 -N 2 allr --slurm-mode --slurm-job-id 12345");
    assert_true(O.slurm);
    assert_string_equal(O.slurm_job, "12345");
    good("allg -r 64 -c --streams-json streams_example.json");
    assert_int_equal(O.check, CC_CHECK_RANDOM);
    assert_string_equal(O.streams_json, "streams_example.json");
    good("-r 2 --f 4 -b 1 -e 64 allr");
    assert_true(O.all.factor == 4);
}

static void every_other_option(void **state)
{
    (void)state;
    good("-r2 -Sc all_ones -I 3 -W 4 --seed 7 --unique-buff --coalesced-cc-size-ratio [1,2,1] "
         "--hosts-file h --mpi-log-dir d -u 8 --slurm-setup-script default "
         "--slurm-use-head-node-neuron-bench --non-interactive --report-to-json-file=r.json "
         "-t p0 avg --show-algorithm --show-input-output-size allr");
    assert_true(O.slurm && O.slurm_copy_bench && O.non_interactive && O.show_algorithm);
    assert_true(O.show_sizes && O.all.unique_buff && O.has_seed && O.seed == 7);
    assert_int_equal(O.check, CC_CHECK_ALL_ONES);
    assert_int_equal(O.neff_iters, 3);
    assert_int_equal(O.neff_warmup_iters, 4);
    assert_int_equal(O.all.parts, 3);
    assert_int_equal(O.all.ratio[1], 2);
    assert_string_equal(O.hosts_file, "h");
    assert_string_equal(O.mpi_log_dir, "d");
    assert_int_equal(O.slurm_vcpus, 8);
    assert_string_equal(O.slurm_setup, "default");
    assert_string_equal(O.json, "r.json");
    assert_int_equal(O.stats[0], 0);
    assert_int_equal(O.all.op, CC_ALL_REDUCE);
    good("-r 2 -t p50 avg p50 p99 avg -- allg");
    assert_int_equal(O.stat_count, 3); /* each is one column and one key of the report */
    assert_true(O.stats[0] == 50 && O.stats[1] == CC_STAT_AVG && O.stats[2] == 99);
    assert_int_equal(O.all.op, CC_ALL_GATHER);
    good("-r 4 --debug --shared-output-buff --data-parallel-dimension 2 --vcpu-pin-mode "
         "--data-collector-port 7000 --data-collector-host h1 --gib allg");
    assert_true(O.debug && O.non_interactive && O.all.shared_output && O.pin && O.gib);
    assert_int_equal(O.all.parallel, 2);
    assert_int_equal(O.collector_port, 7000);
    assert_string_equal(O.collector_host, "h1");
    good("-r 4 --custom-src-target-pairs p.json --custom-replica-groups g.json permute");
    assert_string_equal(O.all.pairs, "p.json");
    assert_string_equal(O.all.groups, "g.json");
    assert_int_equal(parse("-r 4 --sb2sb --input-shape [1,2][3,4] --output-shape [0,1][128,2] "
                           "--cc-dim 0 allg"),
                     NRT_SUCCESS);
    assert_true(O.all.sb2sb && O.all.cc_dim == 0);
    assert_true(O.all.in_shape.step[1] == 2 && O.all.in_shape.num[0] == 3);
    assert_true(O.all.out_shape.step[0] == 0 && O.all.out_shape.num[1] == 2);
}

static void every_datatype(void **state)
{
    static const struct {
        const char *name;
        enum dtype type;
    } names[] = {{"uint8", DT_UINT8}, {"int8", DT_INT8}, {"fp8", DT_FP8_E4},  {"uint16", DT_UINT16},
                 {"int16", DT_INT16}, {"fp16", DT_FP16}, {"bf16", DT_BF16},   {"uint32", DT_UINT32},
                 {"int32", DT_INT32}, {"fp32", DT_FP32}, {"fp8e4", DT_FP8_E4}};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char line[64];

        snprintf(line, sizeof(line), "-r 2 -d %s allr", names[i].name);
        good(line);
        assert_int_equal(O.all.dtype, names[i].type);
    }
    PROVES("tool-078");
    refused("-r 2 -d fp64 allr", "is not uint8 int8");
}

static void wrong_command_lines(void **state)
{
    (void)state;
    refused("-r 0 allr", "not a number from 1");
    refused("-r x allr", "not a number");
    refused("-r 99999999999999999999 allr", "not a number");
    refused("-r 3 -N 2 allr", "3 ranks do not divide over 2 nodes");
    refused("-r 2 -b 0 allr", "0 bytes");
    refused("-r 2 -b 2 -e 1 allr", "more than --maxbytes");
    refused("-r 2 -b 1 -e 1gb -i 1 allr", "more than 4096 sizes");
    refused("-r 2 -f 1 allr", "a factor from 2 on");
    refused("-r 2 -b 12q allr", "is not a size");
    refused("-r 2 -b 99999999999999999999 allr", "is not a size");
    refused("-r 2 -b 18014398509481984k allr", "is not a size");
    refused("-r 2 -b -1 allr", "is not a size");
    refused("-r 2 --nosuch allr", "unknown option --nosuch");
    refused("-r 2 --ne 3 allr", "unknown option --ne"); /* neff_iters, neff_warmup_iters */
    refused("-r 2 -x allr", "unknown option -x");
    refused("-r 2 -- -c allr", "\"-c\" is not a collective operation");
    refused("-r 2 -- allr --", "there is an operation already");
    refused("-r 2 -b", "--minbytes needs a value");
    refused("-r 2 --debug=yes allr", "--debug takes no value");
    refused("-r 2 --stats p101 allr", "is not avg or p0 to p100");
    refused("-r 2 --stats median allr", "is not avg or p0 to p100");
    refused("-r 2 -c=maybe allr", "is not random or all_ones");
    refused("-r 2 --coalesced-cc-size-ratio [1,2 allr", "is not a list");
    refused("-r 2 --coalesced-cc-size-ratio [0] allr", "numbers 1 to 65535");
    refused("-r 2 --coalesced-cc-size-ratio [1,2] permute", "is for all_reduce");
    refused("-r 2 --input-shape [1][2] allr", "is not a shape");
    refused("-r 2 --cc-dim 2 allr", "not a number from 0 to 1");
    refused("-r 2 --cc-dim 1 allr", "is for --sb2sb");
    refused("-r 2 --sb2sb alltoall", "is for all_reduce, all_gather and reduce_scatter");
    refused("-r 2 --variable-size-op-metadata m allr", "is for alltoallv and all_gatherv");
    refused("-r 2 --custom-src-target-pairs p allr", "is for permute");
    refused("-r 2 --shared-output-buff redsct", "outputs are equal");
    refused("-r 4 --data-parallel-dimension 3 allr", "4 ranks are no groups of 3");
    refused("-r 4 --data-parallel-dimension 2 --custom-replica-groups g allr", "exclude");
    refused("-r 2 --hosts a,b allr", "is not a host name");
    refused("-r 2 --data-collector-port 65536 allr", "not a number from 1 to 65535");
}

static void sizes_take_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t v;
    } sizes[] = {{"8", 8},
                 {"2048", 2048},
                 {"2kb", 2048},
                 {"2KB", 2048},
                 {"2k", 2048},
                 {"2K", 2048},
                 {"1MB", 1048576},
                 {"1mb", 1048576},
                 {"32M", 33554432},
                 {"32m", 33554432},
                 {"1GB", 1073741824},
                 {"1gb", 1073741824},
                 {"1g", 1073741824},
                 {"17179869183g", UINT64_C(17179869183) << 30},
                 {"7b", 7}};
    uint64_t v;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_true(cc_size_parse(sizes[i].text, &v));
        assert_true(v == sizes[i].v);
    }
    assert_false(cc_size_parse("", &v) || cc_size_parse("kb", &v) || cc_size_parse("1kk", &v) ||
                 cc_size_parse("1 kb", &v) || cc_size_parse("1.5k", &v) ||
                 cc_size_parse("17179869184g", &v) || cc_size_parse("0x10", &v));
    PROVES("tool-120");
}

/* Whether the line's sizes are those listed, 0 at the end. */
static void sweeps(const char *line, const uint64_t *want)
{
    uint64_t sizes[64];
    unsigned n;

    good(line);
    n = cc_sweep(&O.all, sizes, 64);
    for (unsigned i = 0; i < n; i++)
        if (sizes[i] != want[i])
            fail_msg("%s: size %u is %llu", line, i, (unsigned long long)sizes[i]);
    assert_true(want[n] == 0);
}

static void sweeps_of_the_guide(void **state)
{
    uint64_t tenths[12] = {0};

    (void)state;
    sweeps("-r 2 -b 8 -e 16 -i 4 allr", (uint64_t[]){8, 12, 16, 0});
    PROVES("tool-072");
    sweeps("-r 2 -b 8 -e 32 -f 2 allr", (uint64_t[]){8, 16, 32, 0});
    PROVES("tool-073");
    sweeps("-r 2 allr", (uint64_t[]){33554432, 0});
    sweeps("-r 2 --minbytes 1kb --maxbytes 1mb --stepfactor 8 allg",
           (uint64_t[]){1024, 8192, 65536, 524288, 0});
    PROVES("tool-070");
    PROVES("tool-071");
    for (unsigned i = 0; i < 11; i++) /* step (1100 - 100) / 10 */
        tenths[i] = 100 + 100 * i;
    sweeps("-r 2 -b 100 -e 1100 allr", tenths);
    sweeps("-r 2 -b 4 -e 7 -i 0 allr", (uint64_t[]){4, 0});              /* a step of 0: one size */
    sweeps("-r 2 -b 4 -e 20 -i 4 -f 2 allr", (uint64_t[]){4, 8, 16, 0}); /* -f wins */
    sweeps("-r 2 -b 17179869183g -e 17179869183g -f 4 allr",
           (uint64_t[]){UINT64_C(17179869183) << 30, 0}); /* no overflow */
}

static uint64_t measured(const struct cc_counts *c)
{
    return (uint64_t)c->ops * c->execs;
}

static uint64_t run(const struct cc_counts *c)
{
    return measured(c) + (uint64_t)c->ops * c->warm_execs + (uint64_t)c->warm_ops * c->warm_ups +
           (c->warm_each ? (uint64_t)c->warm_ops * (c->execs + c->warm_execs) : 0);
}

static void counts_of_the_guide(void **state)
{
    struct cc_counts c;

    (void)state;
    good("-r 2 -n 15 -w 5 -I 10 allr");
    c = cc_counts_of(&O);
    assert_int_equal(run(&c), 200);
    assert_int_equal(measured(&c), 150);
    PROVES("tool-076");
    good("-r 2 -n 15 -w 5 -I 10 -W 5 allr");
    c = cc_counts_of(&O);
    assert_int_equal(run(&c), 300);
    assert_int_equal(measured(&c), 150);
    PROVES("tool-077");
    for (unsigned n = 1; n <= 300; n++) { /* without -I and -W: iters + warmup in all */
        char line[64];

        snprintf(line, sizeof(line), "-r 2 -n %u -w %u allr", n, n % 7);
        good(line);
        c = cc_counts_of(&O);
        assert_int_equal(run(&c), n + n % 7);
        assert_int_equal(measured(&c), n);
    }
    PROVES("tool-074");
    PROVES("tool-075");
    PROVES("tool-118");
}

static void help_names_every_option(void **state)
{
    static const char *const names[] = {"-r, --nworkers",
                                        "-N, --nnodes",
                                        "-b, --minbytes",
                                        "-e, --maxbytes",
                                        "-i, --stepbytes",
                                        "-f, --stepfactor",
                                        "-n, --iters",
                                        "-w, --warmup_iters",
                                        "-I, --neff_iters",
                                        "-W, --neff_warmup_iters",
                                        "-d, --datatype",
                                        "-c, --check",
                                        "--seed",
                                        "--unique-buff",
                                        "--coalesced-cc-size-ratio",
                                        "--shared-output-buff",
                                        "--variable-size-op-metadata",
                                        "-s, --hosts",
                                        "--hosts-file",
                                        "--mpi-log-dir",
                                        "-S, --slurm-mode",
                                        "-u, --slurm-vcpus-per-node",
                                        "--slurm-setup-script",
                                        "--slurm-job-id",
                                        "--slurm-use-head-node-neuron-bench",
                                        "--non-interactive",
                                        "--report-to-json-file",
                                        "-t, --stats",
                                        "--show-algorithm",
                                        "--show-input-output-size",
                                        "--debug",
                                        "--sb2sb",
                                        "--input-shape",
                                        "--output-shape",
                                        "--cc-dim",
                                        "--data-parallel-dimension",
                                        "--custom-replica-groups",
                                        "--custom-src-target-pairs",
                                        "--streams-json",
                                        "--vcpu-pin-mode",
                                        "--data-collector-port",
                                        "--data-collector-host"};
    struct strbuf b = {0};

    (void)state;
    cc_options_help(&b);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strstr(b.s, names[i]) == NULL)
            fail_msg("no %s", names[i]);
    strbuf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(every_operation_by_both_names),
        cmocka_unit_test(the_guides_command_lines),
        cmocka_unit_test(every_other_option),
        cmocka_unit_test(every_datatype),
        cmocka_unit_test(wrong_command_lines),
        cmocka_unit_test(sizes_take_units),
        cmocka_unit_test(sweeps_of_the_guide),
        cmocka_unit_test(counts_of_the_guide),
        cmocka_unit_test(help_names_every_option),
    };

    return cmocka_run_group_tests_name("nccom-options", tests, NULL, NULL);
}
