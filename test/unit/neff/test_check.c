/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that need facts of the runtime (neff_check) and the collectives table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "maker.h"
#include "neff/neff.h"
#include "proves.h"
#include "seed.h"

#define SP  "sg00/SP.json"
#define DEF "sg00/def.json"

static const struct neff_facts usual = {
    .lnc = 1, .owned_cores = 2, .arch = "trn2", .sbuf_partition_bytes = 229376, .world_size = 4};

static char said[2048];

static void listen(void *arg, const char *text)
{
    (void)arg;
    strcat(strcat(said, text), "\n");
}

/* Reads m and checks it against the facts. */
static NRT_STATUS check(struct maker *m, const struct neff_facts *facts, struct err *err)
{
    struct diag_sink sink = {.warn = listen};
    struct neff *neff = NULL;
    uint8_t *file;
    size_t size;
    NRT_STATUS st;

    memset(err, 0, sizeof(*err));
    said[0] = '\0';
    file = maker_write(m, &size);
    st = neff_create(file, size, NULL, &neff, err);
    if (st == NRT_SUCCESS)
        st = neff_check(neff, facts, &sink, err);
    neff_destroy(neff);
    free(file);
    return st;
}

static void expect(struct maker *m, const struct neff_facts *facts, NRT_STATUS status,
                   const char *text)
{
    struct err err;
    NRT_STATUS st = check(m, facts, &err);

    assert_string_equal(err.text, text);
    assert_int_equal(st, status);
}

static void core_rules(void **state)
{
    struct neff_facts f = usual;
    struct maker m;

    (void)state;
    maker_example(&m);
    expect(&m, &f, NRT_SUCCESS, "");

    f.lnc = 2;
    expect(&m, &f, NRT_INVALID,
           "NEFF needs logical core size 1, runtime uses 2; set NEURON_LOGICAL_NC_CONFIG=1");
    PROVES("neff-136");
    PROVES("neff-205");
    maker_set_u32(&m, 552, 0); /* unspecified: the runtime's */
    expect(&m, &f, NRT_SUCCESS, "");
    f.lnc = 1;

    maker_set_u32(&m, 168, 3);
    expect(&m, &f, NRT_LOAD_NOT_ENOUGH_NC, "Could not find VNC id 2");
    f.lnc = 2; /* three physical cores are two logical ones */
    expect(&m, &f, NRT_SUCCESS, "");
    maker_set_u32(&m, 168, 5);
    expect(&m, &f, NRT_LOAD_NOT_ENOUGH_NC, "Could not find VNC id 2");
    PROVES("neff-137");
    maker_fini(&m);

    maker_two_cores(&m);
    expect(&m, &f, NRT_SUCCESS, "");
    maker_set_u32(&m, 552, 0);
    f.lnc = 1;
    expect(&m, &f, NRT_INVALID, "NEFF has 2 subgraphs, LNC size is 1");
    PROVES("neff-142");
    maker_fini(&m);
}

static void arch_rules(void **state)
{
    struct neff_facts f = usual;
    struct maker m;

    (void)state;
    maker_example(&m);
    f.arch = "trn3";
    expect(&m, &f, NRT_UNSUPPORTED_NEFF_VERSION, "NEFF was built for trn2, device is trn3");
    PROVES("neff-194");
    PROVES("neff-206");
    f.allow_legacy = true;
    expect(&m, &f, NRT_SUCCESS, "");
    assert_string_equal(said, "NEFF was built for trn2, device is trn3\n");
    f.arch = "trn1"; /* legacy is for older NEFFs only */
    expect(&m, &f, NRT_UNSUPPORTED_NEFF_VERSION, "NEFF was built for trn2, device is trn1");
    PROVES("neff-204");
    maker_remove(&m, "info.json");
    expect(&m, &f, NRT_SUCCESS, "");
    maker_fini(&m);
}

static void remote_semaphores_need_two_cores(void **state)
{
    struct neff_facts f = usual;
    struct maker m;

    (void)state;
    maker_two_cores(&m);
    maker_edit(&m, SP, "\"event\": 1", "\"event\": 1, \"remote_semaphores\": [255]");
    f.lnc = 2;
    expect(&m, &f, NRT_SUCCESS, "");
    PROVES("neff-082");
    f.arch = "trn1";
    maker_edit(&m, "info.json", "trn2", "trn1");
    expect(&m, &f, NRT_INVALID, "sg00/SP.json: dma[1]: remote_semaphores needs LNC size 2");
    PROVES("neff-174");
    maker_edit(&m, SP, "[255]", "[256]");
    expect(&m, &f, NRT_INVALID, "sg00/SP.json: dma[1]: invalid semaphore 256");
    maker_fini(&m);
}

/* E07 on the real partitions, against enumeration of every byte. */
static void partitions_have_their_real_size(void **state)
{
    unsigned inside = 0, outside = 0;

    (void)state;
    srand((unsigned)seed_take(5));
    for (unsigned round = 0; round < 400; round++) {
        static const long long strides[] = {1, 4, 262144, -262144, 262140, 524288, 131072},
                               starts[] = {0, 76000, 152000, 229374};
        unsigned ndim = 1 + (unsigned)rand() % 3;
        long long steps[3], sizes[3], total = 1, lo = 1ll << 40, hi = 0;
        long long off = (rand() % 128) * 262144ll + starts[rand() % 4];
        char pattern[400], st[100] = "", sz[100] = "", want[200];
        bool ok = true, mapped = true;
        struct neff_facts f = usual;
        struct maker m;

        for (unsigned i = 0; i < ndim; i++) {
            steps[i] = strides[rand() % 7];
            sizes[i] = 1 + rand() % 6;
            total *= sizes[i];
            snprintf(st + strlen(st), sizeof(st) - strlen(st), "%s%lld", i ? ", " : "", steps[i]);
            snprintf(sz + strlen(sz), sizeof(sz) - strlen(sz), "%s%lld", i ? ", " : "", sizes[i]);
        }
        for (long long k = 0; k < total; k++) {
            long long at = off, r = k;

            for (unsigned i = 0; i < ndim; i++) {
                at += r % sizes[i] * steps[i];
                r /= sizes[i];
            }
            lo = at < lo ? at : lo;
            hi = at + 1 > hi ? at + 1 : hi;
            if (at < 0 || at >= 128 * 262144)
                mapped = false;
            else if (at % 262144 >= 229376)
                ok = false;
        }
        snprintf(pattern, sizeof(pattern),
                 "{\"dma\": [{\"id\": 0, \"queue\": \"qIn\", \"desc\": {\"from\": \"SB\", "
                 "\"from_off\": %lld, \"from_steps\": [%s], \"from_sizes\": [%s], \"to\": \"t0\", "
                 "\"to_off\": 0, \"to_steps\": [1], \"to_sizes\": [%lld]}}]}",
                 off, st, sz, total);
        maker_example(&m);
        maker_text(&m, SP, pattern);
        snprintf(want, sizeof(want),
                 "sg00/SP.json: dma[0].desc[0]: access [%lld,%lld) outside SB of %u bytes", lo, hi,
                 mapped ? 229376 * 128 : 262144 * 128);
        if (ok && mapped)
            expect(&m, &f, NRT_SUCCESS, "");
        else
            expect(&m, &f, NRT_INVALID, want);
        inside += ok && mapped;
        outside += !ok && mapped;
        maker_fini(&m);
    }
    assert_true(inside > 20 && outside > 20);
    PROVES("neff-182");
}

/* The last byte of a partition and the one after it. */
static void the_edge_of_a_partition_is_exact(void **state)
{
    (void)state;
    for (unsigned n = 4; n <= 5; n++) {
        char pattern[400], want[200];
        struct maker m;

        snprintf(pattern, sizeof(pattern),
                 "{\"dma\": [{\"id\": 0, \"queue\": \"qIn\", \"desc\": {\"from\": \"SB\", "
                 "\"from_off\": %u, \"from_steps\": [1, 262144], \"from_sizes\": [%u, 2], \"to\": "
                 "\"t0\", \"to_off\": 0, \"to_steps\": [1], \"to_sizes\": [%u]}}]}",
                 126 * 262144 + 229376 - 4, n, 2 * n);
        snprintf(want, sizeof(want),
                 "sg00/SP.json: dma[0].desc[0]: access [%u,%u) outside SB of 29360128 bytes",
                 126 * 262144 + 229376 - 4, 127 * 262144 + 229376 - 4 + n);
        maker_example(&m);
        maker_text(&m, SP, pattern);
        if (n == 4)
            expect(&m, &usual, NRT_SUCCESS, "");
        else
            expect(&m, &usual, NRT_INVALID, want);
        maker_fini(&m);
    }
}

static void writes_to_read_mostly_variables(void **state)
{
    struct neff_facts f = usual;
    struct maker m;

    (void)state;
    maker_example(&m);
    maker_edit(&m, SP,
               "\"to\": \"t0\", \"to_off\": 0, \"to_steps\": [1], \"to_sizes\": [256]}]}, "
               "{\"id\": 1",
               "\"to\": \"w\", \"to_off\": 0, \"to_steps\": [1], \"to_sizes\": [256]}]}, "
               "{\"id\": 1");
    expect(&m, &f, NRT_SUCCESS, "");
    assert_string_equal(said, "sg00/SP.json: dma[0].desc[0]: writes file variable w\n");
    f.weights_shared = true;
    expect(&m, &f, NRT_INVALID, "sg00/SP.json: dma[0].desc[0]: w is read-only");
    maker_edit(&m, SP, "\"to\": \"w\"", "\"to\": \"b\"");
    expect(&m, &f, NRT_SUCCESS, "");
    assert_string_equal(said, "sg00/SP.json: dma[0].desc[0]: writes input variable b\n");
    PROVES("neff-190");
    maker_fini(&m);
}

/* ---- collectives ---- */

#define TABLE(entry) "[{\"op\": \"barrier\", \"groups\": [[0, 1, 2, 3]]}, " entry "]"
#define IO           "\"in\": [{\"var\": \"a\", \"off\": 0, \"size\": 64}], "

static const struct {
    const char *entry, *text; /* text NULL: accepted */
} tables[] = {
    {"{\"op\": \"all_gather\", \"dtype\": \"float32\", \"groups\": [[0, 1], [2, 3]], " IO
     "\"out\": [{\"var\": \"c\", \"off\": 128, \"size\": 128}], \"stream\": 3, "
     "\"algorithm\": \"ring\"}",
     NULL},
    {"{\"op\": \"reduce_scatter\", \"reduce\": \"add\", \"dtype\": \"float32\", \"groups\": [[0, "
     "1]], " IO "\"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 32}]}",
     NULL},
    {"{\"op\": \"all_reduce\", \"reduce\": \"max\", \"dtype\": \"bfloat16\", \"groups\": [[0, 1]], "
     "\"in\": [{\"var\": \"a\", \"off\": 0, \"size\": 64}, {\"var\": \"b\", \"off\": 2, \"size\": "
     "4}], \"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 64}, {\"var\": \"c\", \"off\": 64, "
     "\"size\": 4}]}",
     NULL},
    {"{\"op\": \"all_to_all\", \"dtype\": \"float32\", \"groups\": [[0, 1]], " IO
     "\"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 64}]}",
     NULL},
    {"{\"op\": \"all_to_all_v\", \"dtype\": \"float32\", \"groups\": [[0, 1]], " IO
     "\"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 128}], \"metadata\": {\"var\": \"b\", "
     "\"off\": 0}}",
     NULL},
    {"{\"op\": \"permute\", \"dtype\": \"float32\", \"pairs\": [[0, 1], [1, 0]], " IO
     "\"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 64}]}",
     NULL},
    {"{\"op\": \"send\", \"dtype\": \"uint8\", \"pairs\": [[0, 1]], " IO
     "\"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 64}]}",
     NULL},
    {"{\"op\": \"scan\"}", "unknown op scan"},
    {"{\"op\": \"all_reduce\", \"reduce\": \"mul\"}", "unknown reduce mul"},
    {"{\"op\": \"all_gather\", \"reduce\": \"add\"}", "reduce is not valid for op all_gather"},
    {"{\"op\": \"all_gather\", \"dtype\": \"bool\"}", "unknown dtype bool"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"stream\": 4}", "stream out of range"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"groups\": []}", "no groups"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"groups\": [[0, 1], [1, 2]]}",
     "groups overlap"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"groups\": [[0, 0]]}", "groups overlap"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"groups\": [[]]}", "empty group"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"groups\": [[0], [1, 2]]}",
     "groups differ in size"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"groups\": [[-1]]}", "rank out of range"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"groups\": [[0, 9]], "
     "\"in\": [{\"var\": \"a\", \"off\": 0, \"size\": 64}], "
     "\"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 128}]}",
     "rank 9 outside a job of 4"},
    {"{\"op\": \"permute\", \"dtype\": \"int8\", \"pairs\": [[0, 7]], " IO
     "\"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 64}]}",
     "rank 7 outside a job of 4"},
    {"{\"op\": \"permute\", \"dtype\": \"int8\", \"pairs\": [[0, 1, 2]]}",
     "a pair must be [source, target]"},
    {"{\"op\": \"permute\", \"dtype\": \"int8\", \"pairs\": []}", "no pairs"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"groups\": [[0]], \"pairs\": [[0, 1]]}",
     "pairs is not valid for op all_gather"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"groups\": [[0]], \"in\": []}",
     "no tensors in in"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"groups\": [[0]], \"in\": [{\"var\": \"zz\", "
     "\"off\": 0, \"size\": 1}]}",
     "unknown variable zz"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"groups\": [[0]], \"in\": [{\"var\": \"a\", "
     "\"off\": 200, \"size\": 57}]}",
     "range outside a"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int8\", \"groups\": [[0]], \"in\": [{\"var\": \"a\", "
     "\"off\": 9223372036854775807, \"size\": 9223372036854775807}]}",
     "range outside a"},
    {"{\"op\": \"all_gather\", \"dtype\": \"int32\", \"groups\": [[0]], \"in\": [{\"var\": \"a\", "
     "\"off\": 0, \"size\": 7}]}",
     "size is not a multiple of the element size: a"},
    {"{\"op\": \"all_gather\", \"dtype\": \"float32\", \"groups\": [[0, 1]], " IO
     "\"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 64}]}",
     "sizes do not fit all_gather"},
    {"{\"op\": \"all_to_all\", \"dtype\": \"float32\", \"groups\": [[0, 1, 2]], " IO
     "\"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 64}]}",
     "sizes do not fit all_to_all"},
    {"{\"op\": \"permute\", \"dtype\": \"float32\", \"pairs\": [[0, 1]], \"in\": [{\"var\": \"a\", "
     "\"off\": 0, \"size\": 64}, {\"var\": \"a\", \"off\": 0, \"size\": 64}], \"out\": [{\"var\": "
     "\"c\", \"off\": 0, \"size\": 64}]}",
     "one tensor on each side is needed"},
    {"{\"op\": \"all_reduce\", \"reduce\": \"add\", \"dtype\": \"float32\", \"groups\": [[0, "
     "1]], " IO "\"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 64}, {\"var\": \"c\", \"off\": "
     "64, \"size\": "
     "64}]}",
     "in and out differ in length"},
    {"{\"op\": \"all_to_all_v\", \"dtype\": \"float32\", \"groups\": [[0, 1]], " IO
     "\"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 128}], \"metadata\": {\"var\": \"b\", "
     "\"off\": 233}}",
     "range outside b"},
    {"{\"op\": \"all_to_all\", \"dtype\": \"float32\", \"groups\": [[0, 1]], " IO
     "\"out\": [{\"var\": \"c\", \"off\": 0, \"size\": 64}], \"metadata\": {\"var\": \"b\", "
     "\"off\": 0}}",
     "metadata is not valid for op all_to_all"},
};

static void collectives_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        char text[1024], want[256] = "";
        struct maker m;

        snprintf(text, sizeof(text), TABLE("%s"), tables[i].entry);
        if (tables[i].text != NULL)
            snprintf(want, sizeof(want), "sg00/cc.json: [1]: %s", tables[i].text);
        maker_example(&m);
        maker_edit(&m, DEF, "\"version\": \"0.1\"", "\"collectives\": \"cc.json\"");
        maker_text(&m, "sg00/cc.json", text);
        expect(&m, &usual, tables[i].text == NULL ? NRT_SUCCESS : NRT_INVALID, want);
        maker_fini(&m);
    }
}

static void a_neff_has_at_most_16_groups(void **state)
{
    struct neff_facts f = usual;

    (void)state;
    f.world_size = 0; /* ranks not checked */
    for (unsigned n = 16; n <= 17; n++) {
        char text[4096] = "[";
        struct maker m;

        for (unsigned i = 0; i < 2 * n; i++) /* every group twice: only different ones count */
            snprintf(text + strlen(text), sizeof(text) - strlen(text),
                     "%s{\"op\": \"barrier\", \"groups\": [[%u, 100]]}", i > 0 ? ", " : "", i / 2);
        strcat(text, "]");
        maker_example(&m);
        maker_edit(&m, DEF, "\"version\": \"0.1\"", "\"collectives\": \"cc.json\"");
        maker_text(&m, "sg00/cc.json", text);
        if (n == 16)
            expect(&m, &f, NRT_SUCCESS, "");
        else
            expect(&m, &f, NRT_INVALID, "sg00/cc.json: [32]: more than 16 groups");
        maker_fini(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(core_rules),
        cmocka_unit_test(arch_rules),
        cmocka_unit_test(remote_semaphores_need_two_cores),
        cmocka_unit_test(partitions_have_their_real_size),
        cmocka_unit_test(the_edge_of_a_partition_is_exact),
        cmocka_unit_test(writes_to_read_mostly_variables),
        cmocka_unit_test(collectives_are_checked),
        cmocka_unit_test(a_neff_has_at_most_16_groups),
    };

    return cmocka_run_group_tests_name("neff-check", tests, NULL, NULL);
}
