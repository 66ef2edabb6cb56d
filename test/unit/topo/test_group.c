/* SPDX-License-Identifier: Apache-2.0 */
/* Groups: what the page says of them, read off each description again with plain loops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "graph.h"
#include "proves.h"
#include "topo/group.h"

static struct topo_world world(const char *type, unsigned servers, unsigned lnc, uint32_t nodes,
                               uint32_t server_ranks)
{
    struct topo_fabric f;
    struct topo_world w;
    struct err err = {0};

    assert_int_equal(topo_fabric_init(&f, topo_instance_find(type), servers, &err), NRT_SUCCESS);
    assert_int_equal(topo_world_init(&w, &f, lnc, nodes, server_ranks, &err), NRT_SUCCESS);
    return w;
}

static struct topo_group group(const struct topo_world *w, const uint32_t *ranks, uint32_t n)
{
    struct topo_group g;
    struct err err = {0};

    if (topo_group_init(&g, w, ranks, n, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
    return g;
}

/* ---- worlds ---- */

static void rank_counts_of_trn2(void **state)
{
    struct topo_world w = world("trn2.48xlarge", 1, 2, 1, 0);

    assert_int_equal(w.ranks, 64);
    assert_int_equal(topo_world_chip_cores(&w), 4);
    w = world("trn2.48xlarge", 1, 1, 1, 0);
    assert_int_equal(w.ranks, 128);
    assert_int_equal(topo_world_chip_cores(&w), 8);
    PROVES("intra-026");
    w = world("trn2-ultraserver", 4, 2, 1, 0);
    assert_int_equal(w.ranks, 256);
    (void)state;
}

static void places_follow_servers_chips_and_cores(void **state)
{
    struct topo_world w = world("trn2-ultraserver", 2, 2, 3, 10);

    assert_int_equal(w.ranks, 60);
    for (uint32_t r = 0, node = 0; node < 3; node++) {
        for (unsigned server = 0; server < 2; server++) {
            for (unsigned core = 0; core < 10; core++, r++) {
                struct topo_place p = topo_world_place(&w, r);

                assert_int_equal(p.node, node);
                assert_int_equal(p.chip, server * 16 + core / 4);
                assert_int_equal(p.core, core % 4);
            }
        }
    }
    (void)state;
}

static void world_values_are_checked(void **state)
{
    struct topo_fabric trn2, inf2;
    struct topo_world w = {.ranks = 7};
    struct err err = {0};

    assert_int_equal(topo_fabric_init(&trn2, topo_instance_find("trn2.48xlarge"), 1, NULL), 0);
    assert_int_equal(topo_fabric_init(&inf2, topo_instance_find("inf2.48xlarge"), 1, NULL), 0);
    assert_int_equal(topo_world_init(&w, &trn2, 3, 1, 0, NULL), NRT_INVALID);
    assert_int_equal(topo_world_init(&w, &trn2, 0, 1, 0, NULL), NRT_INVALID);
    assert_int_equal(topo_world_init(&w, &inf2, 2, 1, 0, NULL), NRT_INVALID);
    assert_int_equal(topo_world_init(&w, &trn2, 2, 0, 0, NULL), NRT_INVALID);
    assert_int_equal(topo_world_init(&w, &trn2, 2, 1, 65, NULL), NRT_INVALID);
    assert_int_equal(topo_world_init(&w, &trn2, 2, UINT32_MAX, 64, NULL), NRT_INVALID);
    assert_int_equal(topo_world_init(&w, &trn2, 2, TOPO_MAX_RANKS / 64 + 1, 64, NULL), NRT_INVALID);
    assert_int_equal(topo_world_init(&w, &inf2, 1, 2, 0, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, "stay in one node"));
    assert_int_equal(w.ranks, 7);
    assert_int_equal(topo_world_init(&w, &trn2, 2, TOPO_MAX_RANKS / 64, 64, NULL), NRT_SUCCESS);

    static const struct topo_place good[2] = {{0, 15, 3}, {1, 0, 0}};
    static const struct topo_place bad[3][1] = {{{2, 0, 0}}, {{0, 16, 0}}, {{0, 0, 4}}};
    w = world("trn2.48xlarge", 1, 2, 2, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(topo_world_set_places(&w, bad[i], 1, NULL), NRT_INVALID);
    assert_int_equal(topo_world_set_places(&w, good, 0, NULL), NRT_INVALID);
    assert_int_equal(w.ranks, 128);
    assert_int_equal(topo_world_set_places(&w, good, 2, NULL), NRT_SUCCESS);
    assert_int_equal(w.ranks, 2);
    assert_int_equal(topo_world_place(&w, 0).chip, 15);
    (void)state;
}

/* ---- the properties of every description ---- */

static void check_numbers(const struct topo_group *g, const uint32_t *ranks)
{
    assert_int_equal(g->n, g->nodes * g->per_node);
    assert_int_equal(g->layout.n, g->per_node);
    for (uint32_t r = 0; r < g->n; r++) {
        struct topo_place p = topo_world_place(&g->world, ranks[r]);
        uint32_t x = g->node[r], y = g->index[r];
        struct topo_place first = topo_world_place(&g->world, g->rank[g->at[y]]);

        assert_int_equal(g->rank[r], ranks[r]);
        assert_int_equal(g->at[x * g->per_node + y], r);
        assert_int_equal(g->node_id[x], p.node);
        assert_true(p.chip == first.chip && p.core == first.core); /* one y, one core */
        assert_int_equal(g->layout.core[y], p.core);
        assert_int_equal(g->layout.chip_id[g->layout.chip[y]], p.chip);
    }
    /* Nodes by first place; y by the list of the first node. */
    for (uint32_t x = 1, last = 0; x < g->nodes; x++) {
        uint32_t r = 0;

        while (g->node[r] != x)
            r++;
        assert_true(r > last);
        last = r;
    }
    for (uint32_t y = 1; y < g->per_node; y++)
        assert_true(g->at[y] > g->at[y - 1]);
}

/* D, L, and the numbering of mesh and RDH: chips and their ranks in list order. */
static void check_mesh(const struct topo_group *g)
{
    const struct topo_layout *o = &g->layout;
    uint32_t size[TOPO_MAX_CHIPS] = {0}, chips = 0, least = UINT32_MAX, most = 0;

    for (uint32_t y = 0; y < o->n; y++)
        chips += size[topo_world_place(&g->world, g->rank[g->at[y]]).chip]++ == 0;
    for (unsigned c = 0; c < TOPO_MAX_CHIPS; c++) {
        if (size[c]) {
            least = size[c] < least ? size[c] : least;
            most = size[c] > most ? size[c] : most;
        }
    }
    assert_int_equal(g->dims.chips, chips);
    assert_int_equal(g->dims.uniform, least == most);
    assert_int_equal(g->dims.chip_ranks, least == most ? most : 0);
    assert_int_equal(g->dims.whole_chips, least == topo_world_chip_cores(&g->world));
    assert_int_equal(o->chips, least == most ? chips : o->n);
    assert_int_equal(o->chip_ranks, least == most ? most : 1);
    for (uint32_t y = 0, next = 0; y < o->n; y++) {
        uint32_t before = 0;

        assert_int_equal(o->at[o->chip[y] * o->chip_ranks + o->local[y]], y);
        for (uint32_t k = 0; k < y; k++)
            before += o->chip[k] == o->chip[y];
        assert_int_equal(o->local[y], before);
        assert_true(o->chip[y] <= next);
        next += o->chip[y] == next;
    }
    bool cube = least == most && (chips & (chips - 1)) == 0;
    assert_int_equal(o->label != NULL, cube);
    for (uint32_t d = 0; cube && d < chips; d++)
        assert_int_equal(o->labelled[o->label[d]], d);
}

/* Rings: each rank once, the chips in the order of their cycle, cores ascending; reversed pairs. */
static void check_rings(const struct topo_group *g, const struct graph *graph)
{
    const struct topo_layout *o = &g->layout;

    for (unsigned c = 0; c < o->channels; c++) {
        const uint32_t *order = o->order + (size_t)c * o->n;

        for (uint32_t i = 0; i < o->n; i++) {
            uint32_t y = order[i], z = order[(i + 1) % o->n];
            unsigned a = o->chip_id[o->chip[y]], b = o->chip_id[o->chip[z]];

            assert_int_equal(o->place[(size_t)c * o->n + y], i);
            if (c % 2)
                assert_int_equal(y, order[(ptrdiff_t)-1 - (ptrdiff_t)i]);
            else if (a == b && i + 1 < o->n)
                assert_true(o->core[y] < o->core[z]);
            if (o->linked && a != b)
                assert_true(graph->linked[a][b]);
        }
    }
}

/* KangaRing: eligible as 6.2 says; members are neighbouring cores of one chip; positions run along
 * the ring of the channel. */
static void check_kanga(const struct topo_group *g)
{
    const struct topo_layout *o = &g->layout;
    unsigned cores = topo_world_chip_cores(&g->world);
    unsigned m = g->world.lnc == 1 && g->world.fabric.type->cores_per_device == 8 ? 4 : 2;
    bool ok = g->dims.whole_chips && cores % m == 0 && o->n / m >= 2 && o->n <= 256;

    assert_int_equal(o->members, ok ? m : 0);
    assert_int_equal(o->kanga != NULL, ok);
    if (!ok)
        return;
    assert_int_equal(o->positions, o->n / m);
    for (unsigned c = 0; c < o->channels; c++) {
        const uint32_t *kanga = o->kanga + (size_t)c * o->n;

        for (uint32_t q = 0; q < o->positions; q++) {
            uint32_t along = o->place[(size_t)c * o->n + kanga[q * m]] / m;

            assert_int_equal(along, q);
            for (unsigned i = 0; i < m; i++) {
                assert_int_equal(o->chip[kanga[q * m + i]], o->chip[kanga[q * m]]);
                assert_int_equal(o->core[kanga[q * m + i]] % m, i);
                assert_int_equal(o->core[kanga[q * m + i]] / m, o->core[kanga[q * m]] / m);
            }
        }
    }
}

static void check_group(const struct topo_group *g, const uint32_t *ranks,
                        const struct graph *graph)
{
    check_numbers(g, ranks);
    check_mesh(g);
    check_rings(g, graph);
    check_kanga(g);
}

/* ---- named groups ---- */

static void full_node_of_trn2(void **state)
{
    static const unsigned a[16] = {0, 12, 8, 4, 7, 3, 15, 11, 10, 6, 2, 14, 13, 9, 5, 1};
    static const unsigned rids[16] = {0, 3, 4, 7, 12, 15, 8, 11, 1, 2, 5, 6, 13, 14, 9, 10};
    struct topo_world w = world("trn2.48xlarge", 1, 2, 1, 0);
    struct graph *graph = graph_create("trn2.48xlarge", 1);
    struct topo_group g = group(&w, NULL, 0);
    const struct topo_layout *o = &g.layout;

    check_group(&g, g.rank, graph);
    assert_int_equal(g.dims.ranks, 64);
    assert_int_equal(o->chips, 16);
    assert_int_equal(o->chip_ranks, 4);
    assert_int_equal(o->channels, 4);
    assert_true(o->linked && o->label_linked && g.dims.whole_nodes);
    for (unsigned i = 0; i < 64; i++) {
        assert_int_equal(o->order[i], a[i / 4] * 4 + i % 4);
        assert_int_equal(o->order[64 + i], o->order[63 - i]);
    }
    for (unsigned v = 0; v < 16; v++)
        assert_int_equal(o->labelled[v], rids[v]);
    /* 32 positions of two; the published pairs are 0 with 1, 2 with 3. */
    assert_int_equal(o->positions, 32);
    assert_int_equal(o->kanga[0], 0);
    assert_int_equal(o->kanga[1], 1);
    assert_int_equal(o->kanga[2], 2);
    assert_int_equal(o->kanga[3], 3);
    /* Channel 1, reversed: the last position of device 1 first, its members as they are. */
    assert_int_equal(o->kanga[64], 6);
    assert_int_equal(o->kanga[65], 7);
    assert_int_equal(o->kanga[66], 4);
    assert_int_equal(o->kanga[67], 5);
    assert_int_equal(g.dims.net_bytes_us, 6250); /* 50 Gbps */
    topo_group_fini(&g);

    w = world("trn2.48xlarge", 1, 1, 1, 0);
    g = group(&w, NULL, 0);
    check_group(&g, g.rank, graph);
    assert_int_equal(g.layout.members, 4);
    assert_int_equal(g.layout.positions, 32);
    assert_int_equal(g.dims.net_bytes_us, 3125);
    topo_group_fini(&g);
    free(graph);
    (void)state;
}

/* Whole devices make a KangaRing, parts of devices do not, nor does one rank per device. */
static void kangaring_needs_whole_devices(void **state)
{
    struct topo_world w = world("trn2.48xlarge", 1, 2, 1, 0);
    static const struct {
        uint32_t ranks[8];
        uint32_t n, members;
    } rows[] = {{{0, 1, 2, 3, 4, 5, 6, 7}, 8, 2},
                {{0, 1, 2, 3}, 4, 2},
                {{0, 1, 2, 3, 4, 5, 6}, 7, 0},
                {{0, 1, 4, 5}, 4, 0},
                {{0, 4, 8, 12}, 4, 0},
                {{3, 1, 0, 2, 7, 4, 5, 6}, 8, 2}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct topo_group g = group(&w, rows[i].ranks, rows[i].n);

        assert_int_equal(g.layout.members, rows[i].members);
        check_kanga(&g);
        topo_group_fini(&g);
    }
    /* One device of two cores has one position. */
    w = world("inf2.xlarge", 1, 1, 1, 0);
    struct topo_group g = group(&w, NULL, 0);
    assert_int_equal(g.layout.members, 0);
    topo_group_fini(&g);
    /* 512 ranks are more than a KangaRing has. */
    w = world("trn2-ultraserver", 4, 1, 1, 0);
    g = group(&w, NULL, 0);
    assert_int_equal(g.n, 512);
    assert_int_equal(g.layout.members, 0);
    topo_group_fini(&g);
    w = world("trn2-ultraserver", 4, 2, 1, 0);
    g = group(&w, NULL, 0);
    assert_int_equal(g.layout.members, 2);
    assert_int_equal(g.layout.positions, 128);
    assert_int_equal(g.layout.channels, 4);
    topo_group_fini(&g);
    (void)state;
}

/* ---- random groups ---- */

static void random_groups_describe_themselves(void **state)
{
    static const struct {
        const char *type;
        unsigned servers, lnc, nodes;
    } rows[] = {{"trn2.48xlarge", 1, 2, 5},         {"trn2.48xlarge", 1, 1, 3},
                {"trn1.32xlarge", 1, 1, 4},         {"inf2.48xlarge", 1, 1, 1},
                {"inf2.24xlarge", 1, 1, 1},         {"trn2-ultraserver", 4, 2, 2},
                {"trn3-gen1-ultraserver", 4, 2, 2}, {"trn2.3xlarge", 1, 1, 6}};
    struct rng rng = rng_start(31337);

    for (int round = 0; round < 160; round++) {
        unsigned k = (unsigned)round % 8;
        struct topo_world w = world(rows[k].type, rows[k].servers, rows[k].lnc, rows[k].nodes, 0);
        struct graph *graph = graph_create(rows[k].type, rows[k].servers);
        uint32_t per_node = w.ranks / w.nodes, nodes = 1 + rng_below(&rng, w.nodes), n = 0;
        uint32_t *ranks = malloc(w.ranks * sizeof(*ranks));
        /* Of each chip all cores, or some, or a random set of cores of the node. */
        unsigned style = rng_below(&rng, 3), cores = topo_world_chip_cores(&w);
        unsigned keep = 1 + rng_below(&rng, cores), odds = 1 + rng_below(&rng, 4);
        uint32_t limit = 1 + rng_below(&rng, per_node);

        for (uint32_t core = 0; core < per_node; core++) {
            bool in = style == 2 ? rng_below(&rng, odds) == 0
                                 : core % cores < (style == 0 ? cores : keep) && core < limit;

            for (uint32_t x = 0; in && x < nodes; x++)
                ranks[n++] = x * per_node + core;
        }
        if (!n)
            ranks[n++] = rng_below(&rng, w.ranks);
        for (uint32_t i = n; i > 1 && rng_below(&rng, 4); i--) {
            uint32_t j = rng_below(&rng, i), t = ranks[i - 1];

            ranks[i - 1] = ranks[j];
            ranks[j] = t;
        }
        struct topo_group g = group(&w, ranks, n);
        check_group(&g, ranks, graph);
        topo_group_fini(&g);
        free(graph);
        free(ranks);
    }
    (void)state;
}

static void memory_of_large_groups_grows_with_ranks(void **state)
{
    struct topo_world w = world("trn2.48xlarge", 1, 2, 1024, 0);
    struct topo_group g = group(&w, NULL, 0);

    assert_int_equal(g.n, 65536);
    assert_int_equal(g.nodes, 1024);
    assert_int_equal(g.per_node, 64);
    assert_int_equal(g.layout.channels, 4);
    assert_true(g.mem.used_bytes < 20u * g.n);
    for (uint32_t r = 0; r < g.n; r += 977) {
        assert_int_equal(g.node[r], r / 64);
        assert_int_equal(g.index[r], r % 64);
        assert_int_equal(g.at[r], r);
    }
    topo_group_fini(&g);

    /* One rank per node, 65,536 nodes. */
    w = world("trn2.48xlarge", 1, 2, 65536, 1);
    g = group(&w, NULL, 0);
    assert_int_equal(g.nodes, 65536);
    assert_int_equal(g.layout.n, 1);
    assert_int_equal(g.layout.channels, 1);
    topo_group_fini(&g);
    (void)state;
}

/* ---- what is refused ---- */

static void check_refused(const struct topo_world *w, const uint32_t *ranks, uint32_t n,
                          const char *text)
{
    struct topo_group g;
    struct err err = {0};

    assert_int_equal(topo_group_init(&g, w, ranks, n, &err), NRT_INVALID);
    if (!strstr(err.text, text))
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
    assert_null(g.rank);
}

static void bad_groups_are_refused_by_name(void **state)
{
    struct topo_world w = world("trn2.48xlarge", 1, 2, 2, 0);
    static const uint32_t twice[4] = {9, 5, 7, 5}, outside[2] = {0, 128};
    static const uint32_t counts[3] = {0, 1, 64}, cores[2] = {0, 65};

    check_refused(&w, twice, 4, "rank 5 twice in a group, at positions 1 and 3");
    check_refused(&w, twice, 0, "no ranks");
    check_refused(&w, outside, 2, "position 1: rank 128 outside the world of 128");
    check_refused(&w, counts, 3, "not symmetric: 2 ranks on node 0, 1 on node 1");
    check_refused(&w, cores, 2, "not symmetric: rank 65 is on chip 0, core 1 of node 1");
    PROVES("inter-009");
    check_refused(&w, twice, 129, "in a world of 128");

    static const struct topo_place same[2] = {{1, 2, 3}, {1, 2, 3}};
    assert_int_equal(topo_world_set_places(&w, same, 2, NULL), NRT_SUCCESS);
    check_refused(&w, NULL, 0, "on one core: node 1, chip 2, core 3");
    (void)state;
}

/* Every allocation fails once: a status, nothing kept, and the next call works. */
static void memory_runs_out_anywhere(void **state)
{
    struct topo_world w = world("trn2.48xlarge", 1, 2, 2, 0);
    uint32_t ranks[88], sizes[2] = {40, 48};
    static const struct topo_pair pair = {0, 0};
    struct topo_group g;

    for (uint32_t i = 0; i < 88; i++) /* 11 devices on two nodes: searched, and whole */
        ranks[i] = i < 44 ? i : 64 + i - 44;
    fault_count_start();
    g = group(&w, ranks, 88);
    assert_int_equal(topo_pairs_check(&g, &pair, 1, NULL), NRT_SUCCESS);
    assert_int_equal(topo_replicas_check(ranks, sizes, 2, 128, NULL), NRT_SUCCESS);
    topo_group_fini(&g);
    uint64_t hits = fault_count(FAULT_ALLOC), refused = 0;
    assert_true(hits >= 5); /* two arenas, the search, both checks */
    for (uint64_t nth = 1; nth <= hits; nth++) {
        struct err err = {0};
        NRT_STATUS st;

        fault_arm(FAULT_ALLOC, nth);
        st = topo_group_init(&g, &w, ranks, 88, &err);
        if (st == NRT_SUCCESS) {
            st = topo_pairs_check(&g, &pair, 1, &err);
            topo_group_fini(&g);
        }
        if (st == NRT_SUCCESS)
            st = topo_replicas_check(ranks, sizes, 2, 128, &err);
        fault_disarm();
        assert_int_equal(st, NRT_RESOURCE);
        assert_non_null(strstr(err.text, "no memory"));
        assert_null(g.rank);
        refused++;
    }
    assert_int_equal(refused, hits);
    g = group(&w, ranks, 88);
    topo_group_fini(&g);
    (void)state;
}

static void replica_groups_are_checked(void **state)
{
    static const uint32_t good[6] = {0, 2, 4, 1, 3, 5}, sizes[2] = {3, 3};
    static const uint32_t shared[4] = {0, 1, 1, 2}, twos[2] = {2, 2}, with_empty[2] = {3, 0};
    struct err err = {0};

    assert_int_equal(topo_replicas_check(good, sizes, 2, 6, &err), NRT_SUCCESS);
    assert_int_equal(topo_replicas_check(good, sizes, 2, 5, &err), NRT_INVALID);
    assert_string_equal(err.text, "replica group 1: rank 5 outside the world of 5");
    err = (struct err){0};
    assert_int_equal(topo_replicas_check(shared, twos, 2, 6, &err), NRT_INVALID);
    assert_string_equal(err.text, "rank 1 in replica groups 0 and 1");
    err = (struct err){0};
    assert_int_equal(topo_replicas_check(good, with_empty, 2, 6, &err), NRT_INVALID);
    assert_string_equal(err.text, "replica group 1 is empty");
    assert_int_equal(topo_replicas_check(good, sizes, 0, 6, NULL), NRT_INVALID);
    assert_int_equal(topo_replicas_check(good, sizes, 1, 0, NULL), NRT_INVALID);
    (void)state;
}

/* ---- permute ---- */

static NRT_STATUS pairs(const struct topo_group *g, const uint32_t *list, uint32_t count,
                        struct err *err)
{
    struct topo_pair p[16];

    *err = (struct err){0};
    for (uint32_t i = 0; i < count; i++)
        p[i] = (struct topo_pair){list[2 * i], list[2 * i + 1]};
    return topo_pairs_check(g, p, count, err);
}

static void permute_pairs_form_rings_of_neighbours(void **state)
{
    struct topo_world w = world("trn2.48xlarge", 1, 2, 2, 0);
    struct topo_group g = group(&w, NULL, 0);
    struct err err;
    static const uint32_t example[] = {4, 4, 0, 1, 1, 0}; /* of the nccom-test guide */
    static const uint32_t chip[] = {0, 1, 1, 2, 2, 3, 3, 0};
    static const uint32_t row[] = {0, 4, 4, 8, 8, 12, 12, 0};     /* devices 0 1 2 3 */
    static const uint32_t nodes[] = {0, 64, 64, 68, 68, 4, 4, 0}; /* over the network and back */
    static const uint32_t far2[] = {0, 40, 40, 0};                /* a cycle of two, anywhere */
    static const uint32_t far3[] = {0, 4, 4, 40, 40, 0};          /* devices 1 and 10 */
    static const uint32_t cross[] = {0, 65, 65, 64, 64, 0};       /* another index elsewhere */
    static const uint32_t open[] = {0, 1, 1, 2};
    static const uint32_t sends[] = {0, 1, 1, 0, 0, 2}, receives[] = {0, 1, 2, 1};
    static const uint32_t outside[] = {0, 128};

    assert_int_equal(pairs(&g, example, 3, &err), NRT_SUCCESS);
    assert_int_equal(pairs(&g, chip, 4, &err), NRT_SUCCESS);
    assert_int_equal(pairs(&g, row, 4, &err), NRT_SUCCESS);
    assert_int_equal(pairs(&g, nodes, 4, &err), NRT_SUCCESS);
    assert_int_equal(pairs(&g, far2, 2, &err), NRT_SUCCESS);
    assert_int_equal(pairs(&g, far3, 3, &err), NRT_INVALID);
    assert_string_equal(err.text, "pair [4,40]: ranks 4 and 40 are not adjacent");
    assert_int_equal(pairs(&g, cross, 3, &err), NRT_INVALID);
    assert_int_equal(pairs(&g, open, 2, &err), NRT_INVALID);
    assert_string_equal(err.text, "pair [1,2]: 2 sends to nobody, so no ring closes");
    assert_int_equal(pairs(&g, sends, 3, &err), NRT_INVALID);
    assert_string_equal(err.text, "pair [0,2]: 0 already sends to 1");
    assert_int_equal(pairs(&g, receives, 2, &err), NRT_INVALID);
    assert_string_equal(err.text, "pair [2,1]: 1 already receives from 0");
    assert_int_equal(pairs(&g, outside, 1, &err), NRT_INVALID);
    topo_group_fini(&g);
    (void)state;
}

/* ---- flat ring ---- */

/* Section 9: an open chain of the node's chips from the one with interface c on, node after node.
 */
static void flat_ring_starts_at_the_interface(void **state)
{
    static const unsigned a[16] = {0, 12, 8, 4, 7, 3, 15, 11, 10, 6, 2, 14, 13, 9, 5, 1};
    /* Interfaces of trn1.32xlarge and the PCI buses they are on, as lspci lists them; the devices
     * of each bus by the table of the page. */
    static const unsigned trn1_nics[8] = {2, 3, 6, 7, 4, 5, 0, 1};

    for (uint32_t nodes = 2; nodes <= 4; nodes++) {
        for (int n = 0; n < 2; n++) {
            struct topo_world w = world(n ? "trn1n.32xlarge" : "trn1.32xlarge", 1, 1, nodes, 0);
            struct topo_group g = group(&w, NULL, 0);

            assert_int_equal(g.flat_channels, n ? 16 : 8);
            for (unsigned c = 0; c < g.flat_channels; c++) {
                unsigned i_c = 0;

                while (a[i_c] != (n ? c : trn1_nics[c]))
                    i_c++;
                for (uint32_t q = 0; q < g.n; q++) {
                    uint32_t x = q / 32, j = q % 32 / 2, l = q % 2;
                    uint32_t r = x * 32 + a[(i_c + j) % 16] * 2 + l;

                    assert_int_equal(topo_group_flat_at(&g, c, q), r);
                    assert_int_equal(topo_group_flat_place(&g, c, r), q);
                }
            }
            topo_group_fini(&g);
        }
    }
    /* Not for one node, parts of nodes, or other types. */
    struct topo_world w = world("trn1.32xlarge", 1, 1, 1, 0);
    struct topo_group g = group(&w, NULL, 0);
    assert_int_equal(g.flat_channels, 0);
    topo_group_fini(&g);
    w = world("trn1.32xlarge", 1, 1, 2, 31);
    g = group(&w, NULL, 0);
    assert_int_equal(g.flat_channels, 0);
    topo_group_fini(&g);
    w = world("trn2.48xlarge", 1, 2, 2, 0);
    g = group(&w, NULL, 0);
    assert_int_equal(g.flat_channels, 0);
    topo_group_fini(&g);
    (void)state;
}

/* ---- CC-cores ---- */

static void surplus_cc_cores_go_to_stream_0(void **state)
{
    static const unsigned shares[5][4] = {{0}, {4}, {3, 1}, {2, 1, 1}, {1, 1, 1, 1}};
    const struct topo_instance *trn2 = topo_instance_find("trn2.48xlarge");
    const struct topo_instance *trn1 = topo_instance_find("trn1.32xlarge");
    struct topo_cc cc;

    for (unsigned streams = 1; streams <= 4; streams++) {
        for (unsigned core = 0; core < 4; core++) {
            unsigned next = core * 4;

            for (unsigned s = 0; s < streams; s++) {
                assert_int_equal(topo_cc_cores(trn2, 2, core, streams, s, &cc, NULL), NRT_SUCCESS);
                assert_int_equal(cc.count, shares[streams][s]);
                assert_int_equal(cc.first, next);
                next += cc.count;
            }
            assert_int_equal(next, core * 4 + 4);
        }
    }
    PROVES("ovl-003");
    /* The published list [8,9,10,11]: the third rank of a chip with one stream. */
    assert_int_equal(topo_cc_cores(trn2, 2, 2, 1, 0, &cc, NULL), NRT_SUCCESS);
    for (unsigned channel = 0; channel < 8; channel++)
        assert_int_equal(topo_cc_of_channel(cc, channel), 8 + channel % 4);
    /* 16 on a chip of Trainium2, 6 on one of Trainium. */
    assert_int_equal(topo_cc_cores(trn2, 1, 7, 1, 0, &cc, NULL), NRT_SUCCESS);
    assert_int_equal(cc.first + cc.count, 16);
    assert_int_equal(topo_cc_cores(trn1, 1, 1, 1, 0, &cc, NULL), NRT_SUCCESS);
    assert_int_equal(cc.first + cc.count, 6);

    struct err err = {0};
    assert_int_equal(topo_cc_cores(trn2, 1, 0, 2, 1, &cc, NULL), NRT_SUCCESS);
    assert_int_equal(topo_cc_cores(trn2, 1, 0, 3, 0, &cc, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, "3 streams"));
    assert_int_equal(topo_cc_cores(trn1, 1, 0, 3, 2, &cc, NULL), NRT_SUCCESS);
    assert_int_equal(topo_cc_cores(trn1, 1, 0, 4, 0, &cc, NULL), NRT_INVALID);
    assert_int_equal(topo_cc_cores(trn2, 2, 0, 5, 0, &cc, NULL), NRT_INVALID);
    assert_int_equal(topo_cc_cores(trn2, 2, 0, 0, 0, &cc, NULL), NRT_INVALID);
    assert_int_equal(topo_cc_cores(trn2, 2, 0, 2, 2, &cc, NULL), NRT_INVALID);
    assert_int_equal(topo_cc_cores(trn2, 2, 4, 1, 0, &cc, NULL), NRT_INVALID);
    assert_int_equal(topo_cc_cores(trn2, 0, 0, 1, 0, &cc, NULL), NRT_INVALID);
    assert_int_equal(topo_cc_cores(trn1, 2, 0, 1, 0, &cc, NULL), NRT_INVALID);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rank_counts_of_trn2),
        cmocka_unit_test(places_follow_servers_chips_and_cores),
        cmocka_unit_test(world_values_are_checked),
        cmocka_unit_test(full_node_of_trn2),
        cmocka_unit_test(kangaring_needs_whole_devices),
        cmocka_unit_test(random_groups_describe_themselves),
        cmocka_unit_test(memory_of_large_groups_grows_with_ranks),
        cmocka_unit_test(bad_groups_are_refused_by_name),
        cmocka_unit_test(memory_runs_out_anywhere),
        cmocka_unit_test(replica_groups_are_checked),
        cmocka_unit_test(permute_pairs_form_rings_of_neighbours),
        cmocka_unit_test(flat_ring_starts_at_the_interface),
        cmocka_unit_test(surplus_cc_cores_go_to_stream_0),
    };

    return cmocka_run_group_tests_name("topo group", tests, NULL, NULL);
}
