/* SPDX-License-Identifier: Apache-2.0 */
/* The table of section 10: its facts, every case it speaks of, and what may be overridden. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proves.h"
#include "sched/select.h"

#define KB UINT64_C(1024)
#define MB (KB * 1024)

static struct sched_choice select_ok(const struct sched_question *q)
{
    struct sched_rules rules;
    struct sched_choice c;
    struct err err = {0};

    sched_rules_default(&rules);
    if (sched_select(&rules, q, &c, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
    return c;
}

/* The group of the first `ranks` ranks on each of `nodes` nodes. */
static struct topo_dims dims_of(const char *type, unsigned lnc, uint32_t nodes, uint32_t ranks)
{
    struct topo_fabric f;
    struct topo_world w;
    struct topo_group g;
    struct topo_dims d;

    assert_int_equal(topo_fabric_init(&f, topo_instance_find(type), 1, NULL), NRT_SUCCESS);
    assert_int_equal(topo_world_init(&w, &f, lnc, nodes, ranks, NULL), NRT_SUCCESS);
    assert_int_equal(topo_group_init(&g, &w, NULL, 0, NULL), NRT_SUCCESS);
    d = g.dims;
    topo_group_fini(&g);
    return d;
}

static const char *printed(enum sched_op op, struct topo_dims d, uint64_t size)
{
    struct sched_choice c = select_ok(&(struct sched_question){op, false, size, d});

    return sched_choice_printed(&c);
}

/* Fact 1: full nodes of trn2, at the borders of the published ranges. */
static void full_node_follows_the_published_ranges(void **state)
{
    struct topo_dims d = dims_of("trn2.48xlarge", 2, 1, 0);
    static const enum sched_op ops[] = {SCHED_ALL_REDUCE, SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER};

    for (int i = 0; i < 3; i++) {
        assert_string_equal(printed(ops[i], d, 1), "mesh");
        assert_string_equal(printed(ops[i], d, MB - 1), "mesh");
    }
    PROVES("intra-014");
    for (int i = 0; i < 3; i++) {
        assert_string_equal(printed(ops[i], d, MB), "rdh");
        assert_string_equal(printed(ops[i], d, 56 * MB), "rdh");
    }
    PROVES("intra-015");
    for (int i = 0; i < 3; i++) {
        assert_string_equal(printed(ops[i], d, 56 * MB + 1), "kangaring");
        assert_string_equal(printed(ops[i], d, UINT64_MAX), "kangaring");
    }
    PROVES("intra-016");
    (void)state;
}

/* Facts 2 and 3: the guide's sample of 16 ranks, the report of 8 ranks on one chip. */
static void published_samples(void **state)
{
    struct topo_dims d = dims_of("trn2.48xlarge", 2, 1, 16);

    for (uint64_t size = 4; size <= 131072; size *= 2)
        assert_string_equal(printed(SCHED_ALL_REDUCE, d, size), "mesh");
    assert_string_equal(printed(SCHED_ALL_REDUCE, d, 2 * MB), "rdh");
    assert_string_equal(printed(SCHED_ALL_REDUCE, d, 32 * MB), "kangaring");
    assert_string_equal(printed(SCHED_ALL_REDUCE, d, 512 * MB), "kangaring");
    d = dims_of("trn2.3xlarge", 1, 1, 0);
    assert_int_equal(d.ranks, 8);
    for (uint64_t size = 256 * KB; size <= 64 * MB; size *= 2)
        assert_string_equal(printed(SCHED_ALL_REDUCE, d, size), "rdh");
    (void)state;
}

/* Fact 6, and the fallback. */
static void parts_of_devices_fall_back_to_ring(void **state)
{
    struct topo_dims whole = dims_of("trn2.48xlarge", 2, 1, 60);
    struct topo_dims part = dims_of("trn2.48xlarge", 2, 1, 62);

    assert_string_equal(printed(SCHED_ALL_GATHER, whole, 100 * MB), "kangaring");
    assert_string_equal(printed(SCHED_ALL_GATHER, part, 100 * MB), "ring");
    PROVES("intra-018");
    assert_string_equal(printed(SCHED_ALL_GATHER, part, 10 * MB), "ring");
    PROVES("intra-017");
    assert_string_equal(printed(SCHED_ALL_GATHER, part, 10), "mesh");
    (void)state;
}

/* Row 4 holds up to these sizes, in whole 4-byte elements, with 50 Gbps a rank. */
static void single_step_between_nodes_ends_where_the_page_says(void **state)
{
    static const struct {
        uint32_t nodes;
        uint64_t most;
    } rows[] = {{2, MB}, {3, 140624}, {4, 62496}, {8, 17856}, {16, 7140}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sched_question q = {SCHED_ALL_REDUCE, false, rows[i].most,
                                   dims_of("trn2.48xlarge", 2, rows[i].nodes, 1)};

        assert_int_equal(q.dims.net_bytes_us, 6250);
        assert_int_equal(select_ok(&q).alg, SCHED_MESH_ONE);
        q.size += 4;
        assert_int_not_equal(select_ok(&q).alg, SCHED_MESH_ONE);
    }
    (void)state;
}

static void hierarchical_stages_have_their_own_sizes(void **state)
{
    struct topo_dims d = dims_of("trn2.48xlarge", 2, 4, 0);
    struct sched_question q = {SCHED_ALL_REDUCE, false, 128 * MB, d};
    struct sched_choice c = select_ok(&q);

    assert_int_equal(c.alg, SCHED_HIER);
    assert_string_equal(sched_choice_printed(&c), "hier");
    assert_int_equal(c.intra, SCHED_KANGARING); /* 128 MB over 64 ranks */
    assert_int_equal(c.inter, SCHED_RDH);       /* 2 MB over 4 nodes */
    q.size = 64 * KB;
    c = select_ok(&q);
    assert_int_equal(c.intra, SCHED_MESH);
    assert_int_equal(c.inter, SCHED_MESH_ONE); /* 1 KB */
    q.op = SCHED_ALL_GATHER;
    c = select_ok(&q);
    assert_int_equal(c.inter, SCHED_MESH); /* X chunks of C: 1 KB */
    q.host = true;
    c = select_ok(&q);
    assert_int_equal(c.alg, SCHED_HIER);
    assert_int_equal(c.intra, SCHED_RING);
    assert_int_equal(c.inter, SCHED_RING);
    assert_string_equal(sched_choice_printed(&c), "ring");
    (void)state;
}

static void flat_ring_is_for_large_sizes_on_trn1(void **state)
{
    struct sched_question q = {SCHED_ALL_REDUCE, false, 256 * MB,
                               dims_of("trn1.32xlarge", 1, 2, 0)};

    assert_int_equal(select_ok(&q).alg, SCHED_FLAT_RING);
    q.size--;
    assert_int_equal(select_ok(&q).alg, SCHED_HIER);
    q.size++;
    q.dims = dims_of("trn1.32xlarge", 1, 2, 30);
    assert_int_equal(select_ok(&q).alg, SCHED_HIER);
    q.dims = dims_of("trn2.48xlarge", 2, 2, 0);
    assert_int_equal(select_ok(&q).alg, SCHED_HIER);
    (void)state;
}

/* ---- every case ---- */

/* The table again, as the page has it, row by row. */
static int row_of_the_page(const struct sched_question *q)
{
    const struct topo_dims *d = &q->dims;
    bool ar = q->op == SCHED_ALL_REDUCE || q->op == SCHED_BARRIER;
    double x = d->nodes, size = (double)q->size, w = d->net_bytes_us;
    uint64_t rdh = d->chips == 1 ? 64 * MB : d->ranks <= 16 ? 16 * MB : 56 * MB;

    if (q->op == SCHED_PERMUTE || q->op == SCHED_SENDRECV)
        return 1;
    if (d->ranks == 1)
        return 0;
    if (q->op == SCHED_ALL_TO_ALL || sched_op_varies(q->op))
        return 2;
    if (q->host)
        return 3;
    if (d->nodes > 1 && d->per_node == 1) {
        if (ar && d->nodes <= 16 && q->size <= MB &&
            (x - 1) * size / w < 15 + 2 * (x - 1) * size / (x * w))
            return 4;
        if (d->nodes <= 8 && q->size < MB)
            return 5;
        if (q->size < d->nodes * 16 * MB)
            return (d->nodes & (d->nodes - 1)) == 0 ? 6 : 7;
        return 8;
    }
    if (d->nodes > 1)
        return d->flat && q->size >= 256 * MB ? 9 : 10;
    if (ar && d->ranks <= 16 && q->size <= 16 * KB)
        return 11;
    if (q->size < (d->chips == 1 ? 256 * KB : MB))
        return 12;
    if (d->uniform && (d->chips & (d->chips - 1)) == 0 && q->size <= rdh)
        return 13;
    if (d->whole_chips && d->chip_ranks % d->members == 0 && d->ranks / d->members >= 2 &&
        d->ranks <= 256)
        return 14;
    return 15;
}

/* Which algorithm a row names. */
static enum sched_alg algorithm_of_row(int row)
{
    static const enum sched_alg algs[16] = {
        SCHED_MESH, SCHED_PAIRS, SCHED_MESH,      SCHED_RING,      SCHED_MESH_ONE, SCHED_MESH,
        SCHED_RDH,  SCHED_RDH,   SCHED_RING,      SCHED_FLAT_RING, SCHED_HIER,     SCHED_MESH_ONE,
        SCHED_MESH, SCHED_RDH,   SCHED_KANGARING, SCHED_RING};

    return algs[row];
}

static void check_case(const struct sched_question *q)
{
    struct sched_choice c = select_ok(q);
    int row = row_of_the_page(q);
    bool two_level = q->dims.nodes > 1 && q->dims.per_node > 1;
    enum sched_alg alg = row == 3 && two_level ? SCHED_HIER : algorithm_of_row(row);

    assert_int_equal(atoi(c.row), row);
    assert_int_equal(c.alg, alg);
    assert_true(sched_alg_can(c.alg, q->op, &q->dims));
    if (c.alg != SCHED_HIER)
        return;
    bool gather = q->op == SCHED_ALL_GATHER, reduce = q->op == SCHED_REDUCE_SCATTER;
    struct sched_question in = *q, out = *q;
    in.op = gather ? SCHED_ALL_GATHER : SCHED_REDUCE_SCATTER;
    out.op = gather || reduce ? q->op : SCHED_ALL_REDUCE;
    out.size = (q->size + q->dims.per_node - 1) / q->dims.per_node;
    in.dims.nodes = 1;
    in.dims.ranks = q->dims.per_node;
    out.dims.per_node = 1;
    out.dims.ranks = q->dims.nodes;
    assert_int_equal(c.intra, algorithm_of_row(row_of_the_page(&in)));
    assert_int_equal(c.inter, algorithm_of_row(row_of_the_page(&out)));
}

/* Operations, X = 1 .. 64, D = 1 .. 17, L = 1 .. 8, sizes around every threshold. */
static void every_case_matches_the_page(void **state)
{
    static const uint64_t sizes[] = {
        0,       4,           16 * KB,      16 * KB + 1, 256 * KB - 1,  256 * KB,
        MB - 1,  MB,          16 * MB,      16 * MB + 1, 56 * MB,       56 * MB + 1,
        64 * MB, 64 * MB + 1, 256 * MB - 1, 256 * MB,    1024 * MB - 1, 1024 * MB};
    unsigned long cases = 0;

    for (uint32_t x = 1; x <= 64; x += x < 18 ? 1 : 23) {
        for (uint32_t d = 1; d <= 17; d++) {
            for (uint32_t l = 1; l <= 8; l++) {
                for (unsigned kind = 0; kind < 8; kind++) {
                    struct topo_dims dims = {.ranks = x * d * l,
                                             .nodes = x,
                                             .per_node = d * l,
                                             .chips = d,
                                             .chip_ranks = l,
                                             .uniform = true,
                                             .whole_chips = kind & 1,
                                             .whole_nodes = kind & 1,
                                             .members = kind & 4 ? 4 : 2,
                                             .flat = kind & 2 && kind & 1 && x > 1,
                                             .net_bytes_us = 6250};

                    if (kind & 2 && !(kind & 1)) { /* chips that differ */
                        dims.uniform = false;
                        dims.chip_ranks = 0;
                    }
                    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                        for (unsigned op = 0; op < SCHED_OP_COUNT; op++) {
                            check_case(&(struct sched_question){(enum sched_op)op, kind == 7,
                                                                sizes[i], dims});
                            cases++;
                        }
                    }
                }
            }
        }
    }
    assert_true(cases > 1000000);
    (void)state;
}

/* ---- against the generators ---- */

/* Whether there is a schedule: the same question, asked of sched_create. */
static bool schedule_exists(const struct topo_group *g, enum sched_op op, enum sched_alg alg,
                            enum sched_alg intra, enum sched_alg inter)
{
    uint64_t count = op == SCHED_ALL_TO_ALL ? g->n : 3;
    uint32_t *zeros = calloc((size_t)g->n * g->n, sizeof(*zeros));
    bool variable = sched_op_varies(op);
    struct sched_request r = {.op = op,
                              .alg = alg,
                              .intra = intra,
                              .inter = inter,
                              .group = g,
                              .tensors = variable || op == SCHED_BARRIER ? 0 : 1,
                              .counts = &count,
                              .elem_size = 4,
                              .send_count = zeros,
                              .send_displ = zeros};
    struct sched *s = NULL;
    NRT_STATUS st = sched_create(&r, &s, NULL);

    sched_destroy(s);
    free(zeros);
    return st == NRT_SUCCESS;
}

/* What can be selected can be scheduled, and nothing else can: sched_alg_can and sched_create agree
 * on groups of every shape, and each choice has a schedule. */
static void choices_and_generators_agree(void **state)
{
    static const struct {
        const char *type;
        unsigned lnc;
        uint32_t nodes, ranks;
    } rows[] = {
        {"trn2.48xlarge", 2, 1, 64}, {"trn2.48xlarge", 1, 1, 16}, {"trn2.48xlarge", 2, 1, 7},
        {"trn2.48xlarge", 2, 1, 12}, {"trn2.48xlarge", 2, 1, 4},  {"trn2.48xlarge", 2, 1, 2},
        {"trn2.48xlarge", 2, 3, 8},  {"trn2.48xlarge", 2, 5, 1},  {"trn2.48xlarge", 2, 8, 1},
        {"trn1.32xlarge", 1, 2, 32}, {"trn1.32xlarge", 1, 2, 31}, {"inf2.24xlarge", 1, 1, 12},
        {"inf2.48xlarge", 1, 1, 5},  {"trn1.2xlarge", 1, 3, 2}};
    static const uint64_t sizes[] = {4, 16 * KB, 300 * KB, 3 * MB, 40 * MB, 60 * MB, 512 * MB};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct topo_fabric f;
        struct topo_world w;
        struct topo_group g;

        assert_int_equal(topo_fabric_init(&f, topo_instance_find(rows[i].type), 1, NULL), 0);
        assert_int_equal(topo_world_init(&w, &f, rows[i].lnc, rows[i].nodes, rows[i].ranks, NULL),
                         NRT_SUCCESS);
        assert_int_equal(topo_group_init(&g, &w, NULL, 0, NULL), NRT_SUCCESS);
        for (unsigned op = 0; op < SCHED_OP_COUNT; op++) {
            for (unsigned a = 0; a < SCHED_ALG_COUNT; a++)
                assert_int_equal(sched_alg_can((enum sched_alg)a, (enum sched_op)op, &g.dims),
                                 schedule_exists(&g, (enum sched_op)op, (enum sched_alg)a,
                                                 SCHED_RING, SCHED_RING));
            for (size_t k = 0; k < 2 * sizeof(sizes) / sizeof(sizes[0]); k++) {
                struct sched_choice c = select_ok(
                    &(struct sched_question){(enum sched_op)op, k % 2 == 1, sizes[k / 2], g.dims});

                assert_true(schedule_exists(&g, (enum sched_op)op, c.alg, c.intra, c.inter));
            }
        }
        topo_group_fini(&g);
    }
    (void)state;
}

/* ---- overrides ---- */

static void thresholds_can_be_overridden(void **state)
{
    struct sched_rules rules;
    struct sched_question q = {SCHED_ALL_REDUCE, false, 8 * MB, dims_of("trn2.48xlarge", 2, 1, 0)};
    struct sched_choice c;

    sched_rules_default(&rules);
    assert_null(sched_rules_find(&rules, "16"));
    sched_rules_find(&rules, "12b")->size_max = 8 * MB;
    assert_int_equal(sched_select(&rules, &q, &c, NULL), NRT_SUCCESS);
    assert_int_equal(c.alg, SCHED_MESH);
    assert_string_equal(c.row, "12b");
    sched_rules_find(&rules, "12b")->size_max = 8 * MB - 1;
    assert_int_equal(sched_select(&rules, &q, &c, NULL), NRT_SUCCESS);
    assert_int_equal(c.alg, SCHED_RDH);
    (void)state;
}

/* A preferred algorithm is taken wherever it can, and nowhere else. */
static void preferred_algorithm_never_does_what_it_cannot(void **state)
{
    struct topo_dims whole = dims_of("trn2.48xlarge", 2, 1, 0);
    struct topo_dims part = dims_of("trn2.48xlarge", 2, 1, 7);
    struct topo_dims nodes = dims_of("trn2.48xlarge", 2, 2, 0);

    for (unsigned a = 0; a < SCHED_ALG_COUNT; a++) {
        struct sched_rules rules;
        struct sched_choice c;

        sched_rules_default(&rules);
        assert_true(sched_rules_prefer(&rules, (enum sched_alg)a));
        for (unsigned op = 0; op < SCHED_OP_COUNT; op++) {
            const struct topo_dims *all[] = {&whole, &part, &nodes};

            for (int i = 0; i < 3; i++) {
                struct sched_question q = {(enum sched_op)op, false, 4 * MB, *all[i]};
                bool can = sched_alg_can((enum sched_alg)a, q.op, &q.dims);

                assert_int_equal(sched_select(&rules, &q, &c, NULL), NRT_SUCCESS);
                assert_int_equal(strcmp(c.row, "set") == 0, can);
                assert_true(sched_alg_can(c.alg, q.op, &q.dims));
                if (can)
                    assert_int_equal(c.alg, a);
            }
        }
        /* Spelled out where it matters. */
        assert_int_equal(sched_alg_can((enum sched_alg)a, SCHED_ALL_GATHER, &part),
                         a == SCHED_RING || a == SCHED_MESH);
        assert_int_equal(sched_alg_can((enum sched_alg)a, SCHED_ALL_GATHER, &nodes),
                         a == SCHED_HIER);
        assert_int_equal(sched_alg_can((enum sched_alg)a, SCHED_PERMUTE, &whole), a == SCHED_PAIRS);
    }
    (void)state;
}

static void rules_run_out_in_both_directions(void **state)
{
    struct sched_rules rules;
    struct sched_question q = {SCHED_ALL_REDUCE, false, 4, dims_of("trn2.48xlarge", 2, 1, 0)};
    struct sched_choice c = {.alg = SCHED_PAIRS};
    struct err err = {0};

    sched_rules_default(&rules);
    while (sched_rules_prefer(&rules, SCHED_MESH_TWO))
        ;
    assert_int_equal(rules.count, SCHED_RULES_MAX);
    assert_int_equal(sched_select(&rules, &q, &c, NULL), NRT_SUCCESS);
    assert_string_equal(c.row, "12b");
    rules.count = 0;
    c.alg = SCHED_PAIRS;
    assert_int_equal(sched_select(&rules, &q, &c, &err), NRT_INVALID);
    assert_string_equal(err.text, "no algorithm for all_reduce of 4 bytes on 1 nodes of 64 ranks");
    assert_int_equal(c.alg, SCHED_PAIRS);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_node_follows_the_published_ranges),
        cmocka_unit_test(published_samples),
        cmocka_unit_test(parts_of_devices_fall_back_to_ring),
        cmocka_unit_test(single_step_between_nodes_ends_where_the_page_says),
        cmocka_unit_test(hierarchical_stages_have_their_own_sizes),
        cmocka_unit_test(flat_ring_is_for_large_sizes_on_trn1),
        cmocka_unit_test(every_case_matches_the_page),
        cmocka_unit_test(choices_and_generators_agree),
        cmocka_unit_test(thresholds_can_be_overridden),
        cmocka_unit_test(preferred_algorithm_never_does_what_it_cannot),
        cmocka_unit_test(rules_run_out_in_both_directions),
    };

    return cmocka_run_group_tests_name("sched select", tests, NULL, NULL);
}
