/* SPDX-License-Identifier: Apache-2.0 */
/* Cycles and labels of section 4 and 6.5, against permutations and backtracking over the graph. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph.h"
#include "topo/fabric.h"

static struct topo_fabric fabric(const char *type, unsigned servers)
{
    struct topo_fabric f;

    assert_int_equal(topo_fabric_init(&f, topo_instance_find(type), servers, NULL), NRT_SUCCESS);
    return f;
}

static struct topo_cycles cycles(const struct topo_fabric *f, const uint16_t *chips, unsigned n)
{
    struct topo_cycles c;
    struct err err = {0};

    assert_int_equal(topo_cycles_find(f, chips, n, &c, &err), NRT_SUCCESS);
    assert_int_equal(c.chips, n);
    return c;
}

/* n chips from first on. */
static struct topo_cycles cycles_run(const struct topo_fabric *f, unsigned first, unsigned n)
{
    uint16_t chips[TOPO_MAX_CHIPS];

    for (unsigned i = 0; i < n; i++)
        chips[i] = (uint16_t)(first + i);
    return cycles(f, chips, n);
}

/* Each channel visits each chip once, `reversed` channels read backwards, and the steps use no
 * directed link twice over all channels. Returns the undirected links used. */
static unsigned check_disjoint(const struct graph *g, const struct topo_cycles *c)
{
    static uint8_t used[TOPO_MAX_CHIPS][TOPO_MAX_CHIPS];
    unsigned links = 0;

    memset(used, 0, sizeof(used));
    for (unsigned k = 0; k < c->channels; k++) {
        uint8_t seen[TOPO_MAX_CHIPS] = {0};

        for (unsigned i = 0; i < c->chips; i++) {
            unsigned a = c->order[k][i], b = c->order[k][(i + 1) % c->chips];

            assert_int_equal(seen[a]++, 0);
            assert_true(g->linked[a][b]);
            assert_int_equal(used[a][b]++, 0);
            if (k % 2)
                assert_int_equal(a, c->order[k - 1][c->chips - 1 - i]);
            links += used[b][a] == 0;
        }
    }
    return links;
}

static void full_torus_has_the_two_listed_cycles(void **state)
{
    static const uint16_t a[16] = {0, 12, 8, 4, 7, 3, 15, 11, 10, 6, 2, 14, 13, 9, 5, 1};
    static const uint16_t b[16] = {0, 3, 2, 1, 13, 12, 15, 14, 10, 9, 8, 11, 7, 6, 5, 4};
    static const char *const names[] = {"trn1.32xlarge", "trn1n.32xlarge", "trn2.48xlarge"};

    for (int k = 0; k < 3; k++) {
        struct topo_fabric f = fabric(names[k], 1);
        struct graph *g = graph_create(names[k], 1);
        struct topo_cycles c = cycles_run(&f, 0, 16);

        assert_int_equal(c.channels, 4);
        assert_true(c.linked);
        assert_memory_equal(c.order[0], a, sizeof(a));
        assert_memory_equal(c.order[2], b, sizeof(b));
        assert_int_equal(check_disjoint(g, &c), 32); /* all links of the torus */
        free(g);
    }
    (void)state;
}

static void ultraserver_cycles_close_and_share_no_link(void **state)
{
    static const unsigned parts[][3] = {
        {2, 0, 2}, {4, 0, 4}, {4, 0, 2}, {4, 1, 2},
        {4, 2, 2}, {4, 2, 1}, {2, 1, 1}}; /* servers, first, count */

    for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++) {
        struct topo_fabric f = fabric("trn2-ultraserver", parts[k][0]);
        struct graph *g = graph_create("trn2-ultraserver", parts[k][0]);
        struct topo_cycles c = cycles_run(&f, parts[k][1] * 16, parts[k][2] * 16);

        assert_int_equal(c.channels, 4);
        assert_true(c.linked);
        check_disjoint(g, &c);
        assert_int_equal(c.order[0][0] % 16, 0);
        assert_int_equal(c.order[0][15] % 16, 1); /* crosses where A ends */
        if (parts[k][2] > 1) {
            assert_int_equal(c.order[2][0] % 16, 2); /* 2 1 13 12 ... 0 3 */
            assert_int_equal(c.order[2][1] % 16, 1);
            assert_int_equal(c.order[2][14] % 16, 0);
            assert_int_equal(c.order[2][15] % 16, 3);
        }
        free(g);
    }
    (void)state;
}

/* The first order by (sum, longest hop, lexicographic), by trying all that start at chip 0. */
struct best {
    const struct graph *g;
    const uint16_t *chips; /* ascending */
    unsigned n, sum, hop;
    uint16_t at[16], order[16];
    bool used[16], found;
};

static void permute(struct best *b, unsigned k, unsigned sum, unsigned hop)
{
    if (k == b->n) {
        unsigned d = b->g->dist[b->at[k - 1]][b->at[0]];

        sum += d;
        hop = d > hop ? d : hop;
        if (!b->found || sum < b->sum || (sum == b->sum && hop < b->hop)) {
            b->found = true;
            b->sum = sum;
            b->hop = hop;
            memcpy(b->order, b->at, sizeof(b->at));
        }
        return;
    }
    for (unsigned i = 1; i < b->n; i++) {
        if (b->used[i])
            continue;
        unsigned d = b->g->dist[b->at[k - 1]][b->chips[i]];

        b->used[i] = true;
        b->at[k] = b->chips[i];
        permute(b, k + 1, sum + d, d > hop ? d : hop);
        b->used[i] = false;
    }
}

static unsigned random_subset(struct rng *r, unsigned of, unsigned n, uint16_t *ret)
{
    bool in[TOPO_MAX_CHIPS] = {false};
    unsigned k = 0;

    for (unsigned i = 0; i < n;) {
        unsigned c = rng_below(r, of);

        i += !in[c];
        in[c] = true;
    }
    for (unsigned c = 0; c < of; c++) {
        if (in[c])
            ret[k++] = (uint16_t)c;
    }
    return k;
}

static void shuffle(struct rng *r, uint16_t *a, unsigned n)
{
    for (unsigned i = n; i > 1; i--) {
        unsigned j = rng_below(r, i);
        uint16_t t = a[i - 1];

        a[i - 1] = a[j];
        a[j] = t;
    }
}

static void small_subsets_match_all_permutations(void **state)
{
    static const struct {
        const char *type;
        unsigned servers;
    } rows[] = {{"trn2.48xlarge", 1},
                {"trn1.32xlarge", 1},
                {"inf2.48xlarge", 1},
                {"inf2.24xlarge", 1},
                {"trn2-ultraserver", 4}};
    struct rng rng = rng_start(20261128);

    for (int round = 0; round < 400; round++) {
        unsigned k = (unsigned)round % 5;
        struct topo_fabric f = fabric(rows[k].type, rows[k].servers);
        struct graph *g = graph_create(rows[k].type, rows[k].servers);
        uint16_t chips[16], listed[16];
        unsigned most = g->n < 8 ? g->n : 8, n = 1 + rng_below(&rng, most);
        struct best b = {.g = g, .chips = chips, .n = n};

        random_subset(&rng, g->n, n, chips);
        memcpy(listed, chips, sizeof(chips));
        shuffle(&rng, listed, n); /* the order of the list does not matter */
        struct topo_cycles c = cycles(&f, listed, n);
        b.at[0] = chips[0];
        permute(&b, 1, 0, 0);
        assert_memory_equal(c.order[0], b.order, n * sizeof(*b.order));
        assert_int_equal(c.linked, n == 1 || b.hop == 1);
        assert_int_equal(c.channels, c.linked && n > 2 ? 2 : 1);
        for (unsigned i = 0; i < n && c.channels == 2; i++)
            assert_int_equal(c.order[1][i], c.order[0][n - 1 - i]);
        free(g);
    }
    (void)state;
}

/* Lexicographically first Hamiltonian cycle by backtracking. */
static bool backtrack(const struct graph *g, const uint16_t *chips, unsigned n, uint32_t used,
                      unsigned k, uint16_t *order)
{
    if (k == n)
        return g->linked[order[n - 1]][order[0]];
    for (unsigned i = 1; i < n; i++) {
        if (used >> i & 1 || !g->linked[order[k - 1]][chips[i]])
            continue;
        order[k] = chips[i];
        if (backtrack(g, chips, n, used | 1u << i, k + 1, order))
            return true;
    }
    return false;
}

static void larger_subsets_match_backtracking(void **state)
{
    struct rng rng = rng_start(4242);
    unsigned with = 0, without = 0;

    for (int round = 0; round < 60; round++) {
        bool ultra = round % 3 == 2;
        unsigned servers = ultra ? 2 : 1;
        const char *type = ultra ? "trn2-ultraserver" : "trn2.48xlarge";
        struct topo_fabric f = fabric(type, servers);
        struct graph *g = graph_create(type, servers);
        uint16_t chips[16], order[16];
        unsigned n = 9 + rng_below(&rng, ultra ? 6 : 7);

        random_subset(&rng, g->n, n, chips);
        struct topo_cycles c = cycles(&f, chips, n);
        order[0] = chips[0];
        if (backtrack(g, chips, n, 1, 1, order)) {
            assert_int_equal(c.channels, 2);
            assert_memory_equal(c.order[0], order, n * sizeof(*order));
            check_disjoint(g, &c);
            with++;
        } else {
            assert_int_equal(c.channels, 1);
            assert_false(c.linked);
            without++;
        }
        free(g);
    }
    assert_true(with > 0 && without > 0);
    (void)state;
}

static void known_orders(void **state)
{
    struct topo_fabric line = fabric("inf2.24xlarge", 1), ring = fabric("inf2.48xlarge", 1);
    struct topo_fabric torus = fabric("trn2.48xlarge", 1);
    struct topo_cycles c = cycles_run(&line, 0, 6);
    static const uint16_t of_line[6] = {0, 1, 3, 5, 4, 2};
    unsigned sum = 0;

    assert_memory_equal(c.order[0], of_line, sizeof(of_line)); /* printed in section 4 */
    assert_int_equal(c.channels, 1);
    for (unsigned i = 0; i < 6; i++)
        sum += topo_distance(&line, c.order[0][i], c.order[0][(i + 1) % 6]);
    assert_int_equal(sum, 10);

    c = cycles_run(&ring, 0, 12);
    assert_int_equal(c.channels, 2);
    for (unsigned i = 0; i < 12; i++)
        assert_int_equal(c.order[0][i], i);

    /* Rows and columns are 4-rings. */
    for (unsigned i = 0; i < 4; i++) {
        uint16_t row[4], column[4];

        for (unsigned k = 0; k < 4; k++) {
            row[k] = (uint16_t)(4 * i + k);
            column[k] = (uint16_t)(4 * k + i);
        }
        c = cycles(&torus, row, 4);
        assert_int_equal(c.channels, 2);
        assert_memory_equal(c.order[0], row, sizeof(row));
        c = cycles(&torus, column, 4);
        assert_int_equal(c.channels, 2);
        assert_memory_equal(c.order[0], column, sizeof(column));
    }
    /* One and two chips: one channel. */
    assert_int_equal(cycles_run(&torus, 5, 1).channels, 1);
    assert_int_equal(cycles_run(&torus, 5, 2).channels, 1);
    assert_true(cycles_run(&torus, 5, 2).linked);
    (void)state;
}

static void switch_cycle_is_the_list(void **state)
{
    struct topo_fabric f = fabric("trn3-gen2-ultraserver", 36);
    struct rng rng = rng_start(7);
    uint16_t chips[TOPO_MAX_CHIPS];

    for (unsigned i = 0; i < 144; i++)
        chips[i] = (uint16_t)i;
    shuffle(&rng, chips, 144);
    struct topo_cycles c = cycles(&f, chips, 144);
    assert_int_equal(c.channels, 2);
    assert_true(c.linked);
    assert_memory_equal(c.order[0], chips, sizeof(chips));
    assert_int_equal(cycles(&f, chips, 2).channels, 1);
    assert_int_equal(cycles(&f, chips, 3).channels, 2);
    (void)state;
}

/* More than 16 chips that are not whole servers: every chip once, server by server. */
static void large_parts_of_an_ultraserver(void **state)
{
    struct topo_fabric f = fabric("trn2-ultraserver", 4);
    struct graph *g = graph_create("trn2-ultraserver", 4);
    struct rng rng = rng_start(99);
    uint16_t chips[TOPO_MAX_CHIPS];

    /* The same eight devices (two rows) on every server: all steps are links. */
    for (unsigned i = 0; i < 32; i++)
        chips[i] = (uint16_t)(i / 8 * 16 + i % 8);
    struct topo_cycles c = cycles(&f, chips, 32);
    assert_int_equal(c.channels, 2);
    check_disjoint(g, &c);
    for (int round = 0; round < 6; round++) {
        unsigned n = 17 + rng_below(&rng, 47);
        uint8_t seen[64] = {0};

        random_subset(&rng, 64, n, chips);
        c = cycles(&f, chips, n);
        for (unsigned i = 0; i < n; i++) {
            assert_int_equal(seen[c.order[0][i]]++, 0);
            assert_true(i == 0 || c.order[0][i] / 16 >= c.order[0][i - 1] / 16);
        }
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(seen[chips[i]], 1);
        if (c.channels == 2)
            check_disjoint(g, &c);
    }
    /* Two servers that are no neighbours; three in a row. */
    for (unsigned i = 0; i < 48; i++)
        chips[i] = (uint16_t)i;
    assert_int_equal(cycles(&f, chips, 48).channels, 1);
    for (unsigned i = 0; i < 32; i++)
        chips[i] = (uint16_t)(i / 16 * 32 + i % 16);
    assert_false(cycles(&f, chips, 32).linked);
    free(g);
    (void)state;
}

static void bad_sets_are_refused(void **state)
{
    struct topo_fabric f = fabric("trn2.48xlarge", 1);
    static const uint16_t twice[3] = {3, 4, 3}, outside[2] = {3, 16};
    struct topo_cycles c = {.chips = 77};
    struct err err = {0};

    assert_int_equal(topo_cycles_find(&f, twice, 3, &c, &err), NRT_INVALID);
    assert_string_equal(err.text, "chip 3 twice in a cycle");
    assert_int_equal(topo_cycles_find(&f, outside, 2, &c, NULL), NRT_INVALID);
    assert_int_equal(topo_cycles_find(&f, outside, 0, &c, NULL), NRT_INVALID);
    assert_int_equal(c.chips, 77);
    (void)state;
}

/* Each flip of one bit is one link; a permutation. */
static void check_cube(const struct graph *g, const uint16_t *chips, unsigned n,
                       const uint16_t *label)
{
    uint16_t of[TOPO_MAX_CHIPS];

    memset(of, 0xff, sizeof(of));
    for (unsigned i = 0; i < n; i++) {
        assert_true(label[i] < n && of[label[i]] == 0xffff);
        of[label[i]] = chips[i];
    }
    for (unsigned v = 0; v < n; v++) {
        for (unsigned bit = 1; bit < n; bit *= 2)
            assert_true(g->linked[of[v]][of[v ^ bit]]);
    }
}

static void torus_and_ultraserver_labels_are_cubes(void **state)
{
    static const unsigned trn2_rids[16] = {0, 3, 4, 7, 12, 15, 8, 11, 1, 2, 5, 6, 13, 14, 9, 10};
    static const unsigned trn1_rids[16] = {0, 4, 1, 5, 3, 7, 2, 6, 12, 8, 13, 9, 15, 11, 14, 10};
    static const unsigned servers[] = {1, 2, 4};
    uint16_t chips[64], label[64];

    for (unsigned i = 0; i < 64; i++)
        chips[i] = (uint16_t)i;
    for (int k = 0; k < 3; k++) {
        struct topo_fabric f = fabric("trn2-ultraserver", servers[k]);
        struct graph *g = graph_create("trn2-ultraserver", servers[k]);

        assert_true(topo_labels(&f, chips, 16 * servers[k], label));
        check_cube(g, chips, 16 * servers[k], label);
        for (unsigned i = 0; i < 16 * servers[k]; i++) {
            unsigned gray = i / 16 ^ i / 16 >> 1;

            assert_int_equal(trn2_rids[label[i] % 16], i % 16);
            assert_int_equal(label[i] / 16, gray);
        }
        free(g);
    }
    struct topo_fabric f = fabric("trn1.32xlarge", 1);
    struct graph *g = graph_create("trn1.32xlarge", 1);
    assert_true(topo_labels(&f, chips, 16, label));
    check_cube(g, chips, 16, label);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(trn1_rids[label[i]], i);
    free(g);
    (void)state;
}

/* Rows, columns, 2x2 blocks of neighbours, two adjacent rows or columns: cubes of links (6.5). */
static void parts_of_a_torus_are_cubes(void **state)
{
    struct topo_fabric f = fabric("trn2.48xlarge", 1);
    struct graph *g = graph_create("trn2.48xlarge", 1);
    struct rng rng = rng_start(5);
    static const unsigned shapes[][2] = {{1, 4}, {4, 1}, {2, 2}, {2, 4},
                                         {4, 2}, {1, 2}, {2, 1}, {1, 1}};

    for (unsigned k = 0; k < 8 * 16; k++) {
        unsigned rows = shapes[k % 8][0], columns = shapes[k % 8][1], n = rows * columns;
        unsigned row = k / 8 / 4, column = k / 8 % 4;
        uint16_t chips[8], label[8];

        for (unsigned i = 0; i < n; i++)
            chips[i] = (uint16_t)((row + i / columns) % 4 * 4 + (column + i % columns) % 4);
        shuffle(&rng, chips, n);
        assert_true(topo_labels(&f, chips, n, label));
        check_cube(g, chips, n, label);
        /* Packed from low to high: the labels order the chips as their routing ids do. */
        for (unsigned i = 0; i < n; i++) {
            for (unsigned j = 0; j < n; j++)
                assert_int_equal(label[i] < label[j], f.type->devices[chips[i]].routing_id <
                                                          f.type->devices[chips[j]].routing_id);
        }
    }
    free(g);
    (void)state;
}

static void other_sets_take_the_place_in_the_list(void **state)
{
    struct topo_fabric torus = fabric("trn2.48xlarge", 1), ring = fabric("inf2.48xlarge", 1);
    struct topo_fabric sw = fabric("trn3-gen1-ultraserver", 4);
    static const uint16_t bend[4] = {5, 0, 1, 4 + 2}, arc[4] = {3, 1, 2, 0};
    uint16_t label[4];

    assert_false(topo_labels(&torus, bend, 4, label));
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(label[i], i);
    assert_false(topo_labels(&ring, arc, 4, label));
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(label[i], i);
    assert_true(topo_labels(&sw, bend, 4, label)); /* a switch links all */
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(label[i], i);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_torus_has_the_two_listed_cycles),
        cmocka_unit_test(ultraserver_cycles_close_and_share_no_link),
        cmocka_unit_test(small_subsets_match_all_permutations),
        cmocka_unit_test(larger_subsets_match_backtracking),
        cmocka_unit_test(known_orders),
        cmocka_unit_test(switch_cycle_is_the_list),
        cmocka_unit_test(large_parts_of_an_ultraserver),
        cmocka_unit_test(bad_sets_are_refused),
        cmocka_unit_test(torus_and_ultraserver_labels_are_cubes),
        cmocka_unit_test(parts_of_a_torus_are_cubes),
        cmocka_unit_test(other_sets_take_the_place_in_the_list),
    };

    return cmocka_run_group_tests_name("topo cycles", tests, NULL, NULL);
}
