/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives that the builder writes, on variables and on tiles: what is declared is what the
 * reader finds, and what breaks a rule is refused with its reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "neff/build.h"
#include "neff/neff.h"
#include "proves.h"

static void collectives_are_read_as_declared(void **state)
{
    static const uint32_t first[] = {3, 0}, second[] = {1, 2}, pair[][2] = {{0, 1}, {1, 0}};
    static const struct neff_build_coll_group groups[] = {{first, 2}, {second, 2}};
    static const uint64_t shape[] = {64};
    struct neff_build *b = neff_build_create("colls");
    int x = neff_build_input(b, 0, "x", "bfloat16", 1, shape);
    int y = neff_build_output(b, 0, "y", "bfloat16", 1, shape);
    int m = neff_build_tmp(b, 0, "m \"t\"", 64, 0);
    struct neff_build_coll_range in[] = {{x, 0, 16}, {x, 16, 4}}, out[] = {{y, 8, 32}, {y, 40, 8}};
    struct neff_build_coll gather = {.op = "all_gather",
                                     .dtype = "bfloat16",
                                     .stream = 2,
                                     .groups = groups,
                                     .group_count = 2,
                                     .in = in,
                                     .in_count = 2,
                                     .out = out,
                                     .out_count = 2,
                                     .algorithm = "mesh"};
    struct neff_build_coll swap = {.op = "permute",
                                   .reduce = "max",
                                   .dtype = "bfloat16",
                                   .pairs = pair,
                                   .pair_count = 2,
                                   .in = &in[0],
                                   .in_count = 1,
                                   .out = &(struct neff_build_coll_range){y, 0, 16},
                                   .out_count = 1};
    struct neff_build_coll vary = {.op = "all_to_all_v",
                                   .dtype = "bfloat16",
                                   .groups = groups,
                                   .group_count = 1,
                                   .in = in,
                                   .in_count = 1,
                                   .out = out,
                                   .out_count = 1,
                                   .has_metadata = true,
                                   .metadata_var = m,
                                   .metadata_off = 8};
    struct neff_build_coll barrier = {.op = "barrier", .groups = groups, .group_count = 1};
    const struct neff_coll *c;
    struct err err = {0};
    struct neff *n;
    void *bytes;
    size_t size;

    (void)state;
    assert_int_equal(neff_build_program(b, 0, NEFF_SP, "program", 7), 0);
    assert_int_equal(neff_build_collective(b, 0, &gather), 0);
    assert_int_equal(neff_build_collective(b, 0, &swap), 1);
    assert_int_equal(neff_build_collective(b, 0, &vary), 2);
    assert_int_equal(neff_build_collective(b, 0, &barrier), 3);
    assert_string_equal(neff_build_error(b), "");
    assert_int_equal(neff_build_write_memory(b, NULL, &bytes, &size), NRT_SUCCESS);
    neff_build_destroy(b);
    if (neff_create(bytes, size, &(struct neff_options){0}, &n, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
    assert_int_equal(n->graphs[0].coll_count, 4);

    c = &n->graphs[0].colls[0];
    assert_int_equal(c->op, NEFF_COLL_ALL_GATHER);
    assert_int_equal(c->dtype, DT_BF16);
    assert_int_equal(c->stream, 2);
    assert_string_equal(c->algorithm, "mesh");
    assert_int_equal(c->group_count, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(c->groups[0].ranks[i], first[i]); /* the order is the caller's */
        assert_int_equal(c->groups[1].ranks[i], second[i]);
        assert_int_equal(c->in[i].var, x);
        assert_int_equal(c->in[i].off, in[i].off);
        assert_int_equal(c->in[i].size, in[i].size);
        assert_int_equal(c->out[i].var, y);
        assert_int_equal(c->out[i].off, out[i].off);
        assert_int_equal(c->out[i].size, out[i].size);
    }
    c = &n->graphs[0].colls[1];
    assert_int_equal(c->op, NEFF_COLL_PERMUTE);
    assert_int_equal(c->reduce, NEFF_REDUCE_MAX);
    assert_int_equal(c->pair_count, 2);
    assert_memory_equal(c->pairs, pair, sizeof(pair));
    assert_null(c->algorithm);
    c = &n->graphs[0].colls[2];
    assert_int_equal(c->op, NEFF_COLL_ALL_TO_ALL_V);
    assert_int_equal(c->metadata_var, m);
    assert_int_equal(c->metadata_off, 8);
    c = &n->graphs[0].colls[3];
    assert_int_equal(c->op, NEFF_COLL_BARRIER);
    assert_int_equal(c->in_count + c->out_count, 0);
    neff_destroy(n);
    neff_build_free(bytes);
}

static void a_collective_that_breaks_a_rule_is_refused(void **state)
{
    static const uint32_t ranks[] = {0, 1};
    static const struct neff_build_coll_group group = {ranks, 2};
    static const uint64_t shape[] = {64};
    struct neff_build *b = neff_build_create("colls");
    struct neff_build_coll_range in, out;
    struct neff_build_coll c = {.op = "all_gather",
                                .dtype = "uint8",
                                .groups = &group,
                                .group_count = 1,
                                .in = &in,
                                .in_count = 1,
                                .out = &out,
                                .out_count = 1};
    void *bytes;
    size_t size;

    (void)state;
    in = out = (struct neff_build_coll_range){neff_build_input(b, 0, "x", "uint8", 1, shape), 0, 8};
    assert_int_equal(neff_build_program(b, 0, NEFF_SP, "program", 7), 0);
    assert_int_equal(neff_build_collective(b, 0, &c), 0);
    assert_int_equal(neff_build_write_memory(b, NULL, &bytes, &size), NRT_INVALID);
    assert_string_equal(neff_build_error(b),
                        "sg00/collectives.json: [0]: sizes do not fit all_gather");
    neff_build_destroy(b);

    b = neff_build_create("colls");
    assert_int_equal(neff_build_collective(b, 0, &c), -1); /* no such variable in this one */
    neff_build_destroy(b);
}

/* A table of one entry on tiles, between four ranks. With t NULL the NEFF is read and returned, the
 * caller's; else t is the reason of the builder, and NULL is returned. */
static struct neff *tiles_neff(const char *op, struct neff_build_coll_range in,
                               struct neff_build_coll_range out, bool twice, bool hbm_out,
                               const char *t, void **ret_bytes)
{
    static const uint32_t ranks[] = {0, 1, 2, 3};
    static const struct neff_build_coll_group group = {ranks, 4};
    static const uint64_t shape[] = {4096};
    struct neff_build *b = neff_build_create("tiles");
    struct neff_build_coll_range ins[2], outs[2];
    struct neff_build_coll c = {.op = op,
                                .reduce = strstr(op, "reduce") != NULL ? "add" : NULL,
                                .dtype = "float32",
                                .groups = &group,
                                .group_count = 1,
                                .in = ins,
                                .in_count = twice ? 2 : 1,
                                .out = outs,
                                .out_count = twice ? 2 : 1};
    int y = neff_build_output(b, 0, "y", "float32", 1, shape);
    struct neff *n = NULL;
    struct err err = {0};
    size_t size;

    in.var = out.var = neff_build_state_buffer(b, 0, "SB");
    if (hbm_out)
        out = (struct neff_build_coll_range){.var = y, .size = out.size};
    ins[0] = ins[1] = in;
    outs[0] = outs[1] = out;
    assert_int_equal(neff_build_program(b, 0, NEFF_SP, "program", 7), 0);
    assert_int_equal(neff_build_collective(b, 0, &c), 0);
    assert_int_equal(neff_build_write_memory(b, NULL, ret_bytes, &size),
                     t == NULL ? NRT_SUCCESS : NRT_INVALID);
    if (t != NULL)
        assert_string_equal(neff_build_error(b), t);
    else if (neff_create(*ret_bytes, size, &(struct neff_options){0}, &n, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
    neff_build_destroy(b);
    return n;
}

#define PART(p) ((uint64_t)(p)*NEFF_SBUF_STRIDE)
#define AT      "sg00/collectives.json: [0]: "

static void tiles_of_collectives_are_read_as_declared(void **state)
{
    static const struct neff_build_coll_range in = {
        .off = PART(3) + 64, .size = 2 * 5 * 4, .partitions = 2, .partition_step = 7, .step = 12};
    static const struct neff_build_coll_range out = {
        .off = PART(100), .size = 4 * 2 * 5 * 4, .partitions = 4};
    struct neff_facts facts = {.lnc = 1, .owned_cores = 1, .sbuf_partition_bytes = 64 + 4 * 12 + 4};
    const struct neff_coll *c;
    struct neff *n;
    struct err err = {0};
    void *bytes;

    n = tiles_neff("all_gather", in, out, false, false, NULL, &bytes);
    c = &n->graphs[0].colls[0];
    assert_int_equal(c->in->off, in.off);
    assert_int_equal(c->in->size, in.size);
    assert_int_equal(c->in->partitions, 2);
    assert_int_equal(c->in->partition_step, 7);
    assert_int_equal(c->in->step, 12);
    assert_int_equal(c->out->partitions, 4);
    assert_int_equal(c->out->partition_step, 1); /* the next one */
    assert_int_equal(c->out->step, 4);
    /* the last element ends where the partition does, and then one byte behind it */
    assert_int_equal(neff_check(n, &facts, NULL, &err), NRT_SUCCESS);
    facts.sbuf_partition_bytes--;
    assert_int_equal(neff_check(n, &facts, NULL, &err), NRT_INVALID);
    assert_string_equal(err.text, AT "range outside SB of 14720 bytes");
    neff_destroy(n);
    neff_build_free(bytes);
    (void)state;
}

static void tiles_that_break_a_rule_are_refused(void **state)
{
    static const struct {
        const char *op;
        struct neff_build_coll_range in, out;
        bool twice, hbm_out;
        const char *text;
    } cases[] = {
        {"all_reduce",
         {.size = 64},
         {.size = 64},
         false,
         false,
         "sg00/collectives.json: [0].in[0].partitions is missing"},
        {"all_reduce",
         {.size = 64, .partitions = 129},
         {.size = 64, .partitions = 4},
         false,
         false,
         AT "partitions or steps out of range in SB"},
        {"all_reduce",
         {.size = 64, .partitions = 4, .step = 3},
         {.size = 64, .partitions = 4},
         false,
         false,
         AT "partitions or steps out of range in SB"},
        {"all_reduce",
         {.size = 64, .partitions = 4, .partition_step = 129},
         {.size = 64, .partitions = 4},
         false,
         false,
         AT "partitions or steps out of range in SB"},
        {"all_reduce",
         {.size = 64, .partitions = 3},
         {.size = 64, .partitions = 4},
         false,
         false,
         AT "size is not whole rows of elements: SB"},
        {"all_reduce",
         {.partitions = 3},
         {.size = 64, .partitions = 4},
         false,
         false,
         AT "size is not whole rows of elements: SB"},
        {"all_reduce",
         {.off = PART(125), .size = 64, .partitions = 4},
         {.size = 64, .partitions = 4},
         false,
         false,
         AT "range outside SB"},
        {"all_reduce",
         {.off = PART(1) - 4, .size = 8, .partitions = 1},
         {.size = 8, .partitions = 1},
         false,
         false,
         AT "range outside SB"},
        {"all_reduce",
         {.off = PART(128), .size = 64, .partitions = 4},
         {.size = 64, .partitions = 4},
         false,
         false,
         AT "range outside SB"},
        {"all_reduce",
         {.size = 64, .partitions = 4, .partition_step = 64},
         {.size = 64, .partitions = 4},
         false,
         false,
         AT "range outside SB"},
        {"all_reduce",
         {.size = 64, .partitions = 4},
         {.size = 64, .partitions = 2},
         false,
         false,
         AT "partitions do not fit all_reduce"},
        {"all_gather",
         {.size = 64, .partitions = 4},
         {.size = 256, .partitions = 2},
         false,
         false,
         AT "partitions do not fit all_gather"},
        {"all_gather",
         {.size = 48, .partitions = 4},
         {.size = 192, .partitions = 12},
         false,
         false,
         AT "partitions do not fit all_gather"},
        {"reduce_scatter",
         {.size = 256, .partitions = 2},
         {.size = 64, .partitions = 4},
         false,
         false,
         AT "partitions do not fit reduce_scatter"},
        {"all_to_all",
         {.size = 64, .partitions = 4},
         {.size = 64, .partitions = 4},
         false,
         false,
         AT "tensors in SBUF are not valid for op all_to_all"},
        {"all_reduce",
         {.size = 64, .partitions = 4},
         {.size = 64, .partitions = 4},
         true,
         false,
         AT "one tensor on each side is needed"},
        {"all_reduce",
         {.size = 64, .partitions = 4},
         {.size = 64},
         false,
         true,
         AT "tensors in HBM and in SBUF"},
    };
    void *bytes;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_null(tiles_neff(cases[i].op, cases[i].in, cases[i].out, cases[i].twice,
                               cases[i].hbm_out, cases[i].text, &bytes));
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(collectives_are_read_as_declared),
        cmocka_unit_test(a_collective_that_breaks_a_rule_is_refused),
        cmocka_unit_test(tiles_of_collectives_are_read_as_declared),
        cmocka_unit_test(tiles_that_break_a_rule_are_refused),
    };

    return cmocka_run_group_tests_name("neff-build-coll", tests, NULL, NULL);
}
