/* SPDX-License-Identifier: Apache-2.0 */
/* Times of collectives against sums worked out by hand from the steps that docs/spec/collectives.md
 * 5 to 8 give each rank: every cost rule of section 12 alone, with all other costs at nothing; the
 * counts of HBM touches and of routes over a link that the documentation states; groups of 65,536
 * ranks; costs that nobody knows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "draw.h"
#include "time/collective.h"
#include "seed.h"

#define MANY 1e300 /* bytes per ns that cost nothing */

/* ---- groups and free rates ---- */

struct place {
    struct topo_fabric fabric;
    struct topo_world world;
    struct topo_group group;
};

static void place_open(struct place *p, const char *type, unsigned lnc, uint32_t nodes,
                       uint32_t server_ranks, const uint32_t *ranks, uint32_t n)
{
    struct err err = {0};

    assert_int_equal(topo_fabric_init(&p->fabric, topo_instance_find(type), 1, &err), NRT_SUCCESS);
    assert_int_equal(topo_world_init(&p->world, &p->fabric, lnc, nodes, server_ranks, &err),
                     NRT_SUCCESS);
    assert_int_equal(topo_group_init(&p->group, &p->world, ranks, n, &err), NRT_SUCCESS);
}

static struct time_rates free_rates(void)
{
    struct time_rates r = {.spread = 1};

    for (int i = 0; i < TIME_RATE_COUNT; i++)
        r.value[i] = i <= TIME_RATE_NET ? 0 : 1;
    for (int i = TIME_RATE_ENGINE_GBPS; i < TIME_RATE_COUNT; i++)
        r.value[i] = MANY;
    r.value[TIME_RATE_ENGINES] = 1;
    return r;
}

static struct time_answer ask(const struct place *p, enum sched_op op, enum sched_alg alg,
                              uint64_t size, const struct time_rates *rates)
{
    struct time_question q = {
        .op = op, .group = &p->group, .size = size, .elem_size = 4, .alg = &alg, .rates = rates};
    struct time_answer a;
    struct err err = {0};
    NRT_STATUS st = time_predict(&q, &a, &err);

    if (st)
        print_error("%s\n", err.text);
    assert_int_equal(st, NRT_SUCCESS);
    assert_int_equal(a.time.loose, 0);
    return a;
}

#define assert_near(a, b)                           \
    do {                                            \
        double x_ = (a), y_ = (b);                  \
        if (fabs(x_ - y_) > 1e-6 * fabs(y_) + 1e-9) \
            fail_msg("%.9g is not %.9g", x_, y_);   \
    } while (0)

/* ---- one rule at a time ---- */

/* Ring all_gather over the n ranks of one chip: launch, one handshake, and n - 1 hops; each passes
 * on a signal after its transfer's start. */
static void latencies_add_up(void **state)
{
    struct time_rates r = free_rates();
    struct place p;

    (void)state;
    r.value[TIME_RATE_LAUNCH] = 1e6;
    r.value[TIME_RATE_DMA_START] = 1000;
    r.value[TIME_RATE_SIGNAL] = 10;
    for (uint32_t n = 2; n <= 4; n++) {
        place_open(&p, "trn2.3xlarge", 2, 1, n, NULL, 0);
        assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_RING, 4096 * n, &r).time.ns,
                    1e6 + 10 + (n - 1) * 1010.0);
        topo_group_fini(&p.group);
    }
}

/* Every signal along a cycle has the cycle's latency on top: the handshake and n - 1 hops of a
 * ring; those of a mesh and of an exchange have not. */
static void cycles_cost_more(void **state)
{
    struct time_rates r = free_rates();
    struct place p;

    (void)state;
    r.value[TIME_RATE_CYCLE_HOP] = 100;
    for (uint32_t n = 2; n <= 4; n++) {
        place_open(&p, "trn2.3xlarge", 2, 1, n, NULL, 0);
        assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_RING, 4096 * n, &r).time.ns, n * 100);
        assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_MESH, 4096 * n, &r).time.ns, 0);
        assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_RDH, 4096 * n, &r).time.ns, 0);
        topo_group_fini(&p.group);
    }
}

/* A link between two chips of trn1 adds its hop to the handshake and to the data: 2 ranks on
 * neighbours, then on chips two links apart. */
static void hops_count(void **state)
{
    static const uint32_t near[] = {0, 2}, far[] = {0, 4};
    struct time_rates r = free_rates();
    struct place p;

    (void)state;
    r.value[TIME_RATE_HOP] = 100;
    place_open(&p, "trn1.32xlarge", 1, 1, 0, near, 2);
    assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_RING, 8192, &r).time.ns, 200);
    topo_group_fini(&p.group);
    place_open(&p, "trn1.32xlarge", 1, 1, 0, far, 2);
    assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_RING, 8192, &r).time.ns, 400);
    topo_group_fini(&p.group);
}

/* The other die of a chip is as far for the handshake and for the data. trn2.3xlarge has cores 0 to
 * 3 on one and 4 to 7 on the other; at LNC 2 these are 0 and 1, 2 and 3. */
static void dies_are_apart(void **state)
{
    static const struct {
        unsigned lnc;
        uint32_t core[2];
        double ns;
    } of[] = {{1, {0, 1}, 0},   {1, {0, 3}, 0}, {1, {3, 4}, 200},
              {1, {0, 7}, 200}, {2, {0, 1}, 0}, {2, {1, 2}, 200}};
    struct time_rates r = free_rates();
    struct place p;

    (void)state;
    r.value[TIME_RATE_DIE] = 100;
    for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++)
        for (r.dies = 1; r.dies <= 2; r.dies++) {
            place_open(&p, "trn2.3xlarge", of[i].lnc, 1, 0, of[i].core, 2);
            assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_RING, 8192, &r).time.ns,
                        r.dies == 1 ? 0 : of[i].ns);
            topo_group_fini(&p.group);
        }
}

/* The duplicated first write of an all_gather reads C like a copy, a reduction of two sources 2C.
 * Engines of both cores work at LNC 2; a cycle has its part of them. */
static void engines_move_bytes(void **state)
{
    struct time_rates r = free_rates();
    const double c = 1 << 16;
    struct place p;

    (void)state;
    r.value[TIME_RATE_ENGINE_GBPS] = 2;
    r.value[TIME_RATE_ENGINES] = 16;
    r.value[TIME_RATE_CYCLE] = 0.25;
    place_open(&p, "trn2.3xlarge", 2, 1, 4, NULL, 0); /* 2 * 16 * 2 / 4 = 16 bytes per ns */
    assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_RING, 4 * (uint64_t)c, &r).time.ns,
                (1 + 1 + 1) * c / 16);
    /* reduce_scatter: a copy, two hops of two sources, the last reduction; in two slices, of which
     * the first has gone on when the second comes */
    assert_near(ask(&p, SCHED_REDUCE_SCATTER, SCHED_RING, 4 * (uint64_t)c, &r).time.ns,
                (1 + 2 + 2 + 2) * c / 16);
    r.value[TIME_RATE_REDUCE] = 0.5;
    assert_near(ask(&p, SCHED_REDUCE_SCATTER, SCHED_RING, 4 * (uint64_t)c, &r).time.ns,
                (1 + 4 + 4 + 4) * c / 16);
    topo_group_fini(&p.group);
    place_open(&p, "trn2.3xlarge", 1, 1, 4, NULL, 0); /* one core: half the engines */
    r.value[TIME_RATE_REDUCE] = 1;
    assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_RING, 4 * (uint64_t)c, &r).time.ns, 3 * c / 8);
    topo_group_fini(&p.group);
}

/* Documented totals of HBM touches per rank in units of C, out of place (6.1, 6.2): Ring AG 2N - 1,
 * RS 3N - 1; KangaRing with two members AG 3P + 1, RS 4P - 1. */
static void hbm_touches_as_documented(void **state)
{
    const double n = 64, positions = 32, c = 1 << 20;
    const uint64_t size = UINT64_C(64) << 20;
    struct time_rates r = free_rates();
    struct place p;

    (void)state;
    r.value[TIME_RATE_HBM_GBPS] = 1;
    place_open(&p, "trn2.48xlarge", 2, 1, 0, NULL, 0);
    assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_RING, size, &r).time.ns, (2 * n - 1) * c);
    assert_near(ask(&p, SCHED_REDUCE_SCATTER, SCHED_RING, size, &r).time.ns, (3 * n - 1) * c);
    assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_KANGARING, size, &r).time.ns,
                (3 * positions + 1) * c);
    assert_near(ask(&p, SCHED_REDUCE_SCATTER, SCHED_KANGARING, size, &r).time.ns,
                (4 * positions - 1) * c);
    topo_group_fini(&p.group);
}

/* RDH of 64 ranks: in exchange k the four ranks of a chip send 8, 4, 2, 1 (all_gather: 1, 2, 4, 8)
 * chunks each over the one link of that axis: 60 chunks one after another. KangaRing: 31 steps, 16
 * of them between chips (the last position of a chip), 2 chunks each in four parts on links of
 * their own.
 */
static void links_are_shared(void **state)
{
    const uint64_t size = UINT64_C(64) << 20;
    const double c = 1 << 20;
    struct time_rates r = free_rates();
    struct place p;

    (void)state;
    r.value[TIME_RATE_LINK_GBPS] = 1;
    place_open(&p, "trn2.48xlarge", 2, 1, 0, NULL, 0);
    assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_RDH, size, &r).time.ns, 60 * c);
    assert_near(ask(&p, SCHED_REDUCE_SCATTER, SCHED_RDH, size, &r).time.ns, 60 * c);
    topo_group_fini(&p.group);
}

/* Section 6.3: with every pair of the 16 devices once each of the 64 directed links carries 8
 * routes. A mesh all_gather sends the 4 chunks of a chip over each route, so a link is busy for 32
 * chunks at least. A rank serves four chips one after another, 16 chunks in all, and no link is on
 * more than four of the ways that the ranks of a node take at one time: at most 64. */
static void mesh_crowds_links(void **state)
{
    const uint64_t size = UINT64_C(64) << 20;
    const double c = 1 << 20;
    struct time_rates r = free_rates();
    struct place p;
    double ns;

    (void)state;
    r.value[TIME_RATE_LINK_GBPS] = 1;
    place_open(&p, "trn2.48xlarge", 2, 1, 0, NULL, 0);
    ns = ask(&p, SCHED_ALL_GATHER, SCHED_MESH, size, &r).time.ns;
    assert_true(ns >= 32 * c && ns <= 64 * c);
    topo_group_fini(&p.group);
}

/* Between nodes: w, one rank's part of the interfaces, is that of section 10: 200 Gbps shared by
 * the four ranks of a chip of trn2. Mesh all_gather of 2 nodes: everybody sends C. */
static void interfaces_are_shared(void **state)
{
    static const uint32_t one[] = {0, 64};
    const double c = 1 << 20;
    struct time_rates r = free_rates();
    struct place p;

    (void)state;
    r.value[TIME_RATE_NIC_GBPS] = 25;
    r.value[TIME_RATE_NET] = 15000;
    place_open(&p, "trn2.48xlarge", 2, 2, 0, one, 2);
    assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_MESH, 2 << 20, &r).time.ns, 15000 + c / 25);
    topo_group_fini(&p.group);
    place_open(&p, "trn2.48xlarge", 2, 2, 0, NULL, 0);
    assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_RDH, 128 << 20, &r).time.part_ns[TIME_PART_NIC],
                c / 6.25);
    topo_group_fini(&p.group);
}

/* A mesh of two nodes crosses the network twice (all_gather: once), and so does every slice of it:
 * there is one until a rank sends two slots of 1 MiB, three from three on. */
static void short_messages_are_not_cut(void **state)
{
    static const struct {
        uint64_t each; /* bytes that a rank sends between nodes */
        double slices;
    } of[] = {{4, 1}, {1 << 20, 1}, {(2 << 20) - 64, 1}, {2 << 20, 2}, {3 << 20, 3}};
    struct time_rates r = free_rates();
    struct place p;

    (void)state;
    r.value[TIME_RATE_NET] = 15000;
    place_open(&p, "trn2.48xlarge", 2, 2, 0, NULL, 0);
    for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        assert_near(ask(&p, SCHED_ALL_REDUCE, SCHED_MESH, of[i].each * 64, &r).time.ns,
                    2 * 15000 * of[i].slices);
        assert_near(ask(&p, SCHED_ALL_GATHER, SCHED_MESH, of[i].each * 64, &r).time.ns,
                    15000 * of[i].slices);
    }
    topo_group_fini(&p.group);
}

/* ---- what is not known ---- */

static void unknown_costs_are_named(void **state)
{
    struct time_rates r = free_rates();
    struct time_answer a;
    struct place p;

    (void)state;
    r.value[TIME_RATE_SIGNAL] = NAN;
    r.value[TIME_RATE_NIC_GBPS] = NAN; /* not needed inside a node */
    r.value[TIME_RATE_DMA_START] = 1000;
    place_open(&p, "trn2.3xlarge", 2, 1, 0, NULL, 0);
    a = ask(&p, SCHED_ALL_GATHER, SCHED_RING, 4096, &r);
    assert_int_equal(a.time.unknown, 1u << TIME_RATE_SIGNAL);
    assert_near(a.time.ns, 3 * 1000.0);
    assert_true(isnan(a.low_ns) && isnan(a.high_ns));
    topo_group_fini(&p.group);
    place_open(&p, "trn3-gen1-ultraserver", 2, 1, 0, NULL, 0);
    a = ask(&p, SCHED_ALL_REDUCE, SCHED_KANGARING, 1 << 26, NULL);
    assert_true(a.time.unknown >> TIME_RATE_SIGNAL & 1);
    assert_true(a.time.ns > 0);
    topo_group_fini(&p.group);
}

static void only_staged_schedules(void **state)
{
    uint64_t count = 1024;
    struct sched_request req = {.op = SCHED_ALL_REDUCE,
                                .alg = SCHED_MESH,
                                .variant = SCHED_DIRECT,
                                .tensors = 1,
                                .counts = &count,
                                .elem_size = 4};
    struct time_collective t;
    struct err err = {0};
    struct sched *s;
    struct place p;

    (void)state;
    place_open(&p, "trn2.3xlarge", 2, 1, 0, NULL, 0);
    req.group = &p.group;
    assert_int_equal(sched_create(&req, &s, &err), NRT_SUCCESS);
    assert_int_equal(time_collective(s, NULL, &t, &err), NRT_INVALID);
    sched_destroy(s);
    topo_group_fini(&p.group);
}

/* ---- every algorithm; many ranks ---- */

/* No wait is left unanswered, parts sum up to the whole, and the same question has the same answer.
 */
static void check(const struct place *p, enum sched_op op, enum sched_alg alg, uint64_t size)
{
    struct time_answer a = ask(p, op, alg, size, NULL), b = ask(p, op, alg, size, NULL);
    double sum = 0;

    for (int i = 0; i < TIME_PART_COUNT; i++)
        sum += a.time.part_ns[i];
    assert_near(sum, a.time.ns);
    assert_true(a.time.ns > 0);
    assert_memory_equal(&a.time, &b.time, sizeof(a.time));
    assert_true(a.low_ns <= a.time.ns && a.time.ns <= a.high_ns);
}

static void all_algorithms(void **state)
{
    static const enum sched_op ops[] = {SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER, SCHED_ALL_REDUCE};
    static const enum sched_alg algs[] = {SCHED_RING, SCHED_MESH, SCHED_KANGARING, SCHED_RDH};
    static const uint64_t sizes[] = {4, 4100, 1 << 20, 64 << 20};
    struct place p;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        static const char *const types[] = {"trn1.32xlarge", "trn2.48xlarge", "trn1.32xlarge",
                                            "trn2.48xlarge"};

        place_open(&p, types[i], i % 2 + 1, i < 2 ? 1 : 3, 0, NULL, 0);
        for (unsigned o = 0; o < 3; o++)
            for (unsigned a = 0; a < 4; a++)
                for (unsigned s = 0; s < 4; s++)
                    check(&p, ops[o], algs[a], sizes[s]);
        check(&p, SCHED_SENDRECV, SCHED_PAIRS, 4096);
        check(&p, SCHED_BARRIER, SCHED_MESH, 0);
        topo_group_fini(&p.group);
    }
    place_open(&p, "trn1.32xlarge", 1, 2, 0, NULL, 0);
    check(&p, SCHED_ALL_REDUCE, SCHED_FLAT_RING, UINT64_C(1) << 30);
    topo_group_fini(&p.group);
    place_open(&p, "trn2.48xlarge", 2, 1, 0, NULL, 0);
    check(&p, SCHED_ALL_TO_ALL, SCHED_MESH, 1 << 20);
    topo_group_fini(&p.group);
}

/* One rank of each role, however many there are. */
static void many_ranks(void **state)
{
    static const uint64_t sizes[] = {1024, 1 << 20, UINT64_C(1) << 30};
    struct time_answer a;
    struct place p;

    (void)state;
    place_open(&p, "trn2.48xlarge", 2, 1024, 0, NULL, 0);
    assert_int_equal(p.group.n, 65536);
    for (unsigned i = 0; i < 3; i++) {
        struct time_question q = {
            .op = SCHED_ALL_REDUCE, .group = &p.group, .size = sizes[i], .elem_size = 2};
        struct err err = {0};

        assert_int_equal(time_predict(&q, &a, &err), NRT_SUCCESS);
        assert_true(a.time.roles <= 8);
        assert_int_equal(a.time.loose, 0);
        assert_true(a.time.steps < 1000000);
    }
    topo_group_fini(&p.group);
}

/* Long rings are not walked hop by hop once they repeat. Whoever wants to know what a rank moves
 * walks all of them: that is the oracle. Times may differ by rounding, steps not at all. Returns
 * how many steps were gone over at once. */
static uint64_t ring_is_walked(enum sched_op op, uint32_t nodes, uint64_t count)
{
    struct place p;
    struct sched_request req = {.op = op,
                                .group = &p.group,
                                .alg = SCHED_FLAT_RING,
                                .tensors = 1,
                                .elem_size = 4,
                                .counts = &count};
    struct time_collective gone, walked;
    struct time_moves moves;
    struct err err = {0};
    struct sched *s;

    place_open(&p, "trn1.32xlarge", 1, nodes, 0, NULL, 0);
    if (sched_create(&req, &s, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
    assert_int_equal(time_collective(s, NULL, &gone, &err), NRT_SUCCESS);
    assert_int_equal(time_collective_moves(s, NULL, 0, &walked, &moves, &err), NRT_SUCCESS);
    assert_near(gone.ns, walked.ns);
    assert_near(gone.engines_ns, walked.engines_ns);
    for (int i = 0; i < TIME_PART_COUNT; i++)
        assert_true(fabs(gone.part_ns[i] - walked.part_ns[i]) <= 1e-6 * walked.ns);
    assert_int_equal(gone.steps, walked.steps);
    assert_int_equal(walked.repeated, 0);
    assert_int_equal(gone.loose, walked.loose);
    time_moves_fini(&moves);
    sched_destroy(s);
    topo_group_fini(&p.group);
    return gone.repeated;
}

static void long_rings_repeat(void **state)
{
    static const enum sched_op ops[] = {SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER, SCHED_ALL_REDUCE};
    uint64_t drawn = seed_take(4231);

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        uint32_t nodes = 32 + (uint32_t)(draw_next(&drawn) % 16);
        uint64_t count = 1 + draw_next(&drawn) % (64 << 10);

        if (ops[i / 2] == SCHED_ALL_REDUCE)
            count = count % 300 * 1024 + 1 + count; /* chunks of several lengths, some empty */
        ring_is_walked(ops[i / 2], nodes, count);   /* some repeat nothing */
    }
    for (unsigned i = 0; i < 3; i++)
        assert_true(ring_is_walked(ops[i], 32, 1 << (i < 2 ? 14 : 24)) > 0);
}

static void names_are_reversible(void **state)
{
    (void)state;
    for (int i = 0; i < TIME_RATE_COUNT; i++)
        assert_int_equal(time_rate_from_name(time_rate_name((enum time_rate)i)), i);
    assert_int_equal(time_rate_from_name("speed"), TIME_RATE_COUNT);
    assert_string_equal(time_part_name(TIME_PART_LINK), "links");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(latencies_add_up),
        cmocka_unit_test(cycles_cost_more),
        cmocka_unit_test(hops_count),
        cmocka_unit_test(dies_are_apart),
        cmocka_unit_test(engines_move_bytes),
        cmocka_unit_test(hbm_touches_as_documented),
        cmocka_unit_test(links_are_shared),
        cmocka_unit_test(mesh_crowds_links),
        cmocka_unit_test(interfaces_are_shared),
        cmocka_unit_test(short_messages_are_not_cut),
        cmocka_unit_test(unknown_costs_are_named),
        cmocka_unit_test(only_staged_schedules),
        cmocka_unit_test(all_algorithms),
        cmocka_unit_test(many_ranks),
        cmocka_unit_test(long_rings_repeat),
        cmocka_unit_test(names_are_reversible),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
