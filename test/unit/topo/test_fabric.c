/* SPDX-License-Identifier: Apache-2.0 */
/* Distances and routes against a graph search over the published links. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph.h"
#include "proves.h"
#include "topo/fabric.h"

static const struct {
    const char *type;
    unsigned servers;
} fabrics[] = {
    {"trn1.2xlarge", 1},          {"trn1.32xlarge", 1},
    {"trn1n.32xlarge", 1},        {"inf2.xlarge", 1},
    {"inf2.8xlarge", 1},          {"inf2.24xlarge", 1},
    {"inf2.48xlarge", 1},         {"trn2.3xlarge", 1},
    {"trn2.48xlarge", 1},         {"trn2u.48xlarge", 1},
    {"trn2-ultraserver", 1},      {"trn2-ultraserver", 2},
    {"trn2-ultraserver", 4},      {"trn3-gen1-ultraserver", 1},
    {"trn3-gen1-ultraserver", 4}, {"trn3-gen2-ultraserver", 36},
};
#define FABRICS (sizeof(fabrics) / sizeof(fabrics[0]))

static struct topo_fabric fabric(const char *type, unsigned servers)
{
    struct topo_fabric f;

    assert_int_equal(topo_fabric_init(&f, topo_instance_find(type), servers, NULL), NRT_SUCCESS);
    return f;
}

static void every_type_of_the_table_has_a_fabric(void **state)
{
    for (unsigned i = 0; topo_instance_at(i); i++) {
        bool found = false;

        for (size_t k = 0; k < FABRICS; k++)
            found |= strcmp(fabrics[k].type, topo_instance_at(i)->name) == 0;
        assert_true(found);
    }
    (void)state;
}

static void number_of_servers_is_checked(void **state)
{
    static const struct {
        const char *type;
        unsigned servers;
        bool ok;
    } rows[] = {
        {"trn2-ultraserver", 0, false},      {"trn2-ultraserver", 3, false},
        {"trn2-ultraserver", 8, false},      {"trn2.48xlarge", 2, false},
        {"inf2.48xlarge", 2, false},         {"trn1.2xlarge", 0, false},
        {"trn3-gen1-ultraserver", 3, true},  {"trn3-gen1-ultraserver", 5, false},
        {"trn3-gen2-ultraserver", 36, true}, {"trn3-gen2-ultraserver", 37, false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct topo_fabric f = {0};
        struct err err = {0};
        NRT_STATUS st =
            topo_fabric_init(&f, topo_instance_find(rows[i].type), rows[i].servers, &err);

        assert_int_equal(st, rows[i].ok ? NRT_SUCCESS : NRT_INVALID);
        assert_int_equal(f.type != NULL, rows[i].ok);
        if (!rows[i].ok)
            assert_non_null(strstr(err.text, rows[i].type));
    }
    assert_int_equal(topo_fabric_init(&(struct topo_fabric){0}, NULL, 1, NULL), NRT_INVALID);
    (void)state;
}

static void distances_are_those_of_the_graph(void **state)
{
    for (size_t k = 0; k < FABRICS; k++) {
        struct topo_fabric f = fabric(fabrics[k].type, fabrics[k].servers);
        struct graph *g = graph_create(fabrics[k].type, fabrics[k].servers);

        assert_int_equal(topo_fabric_chips(&f), g->n);
        for (unsigned a = 0; a < g->n; a++) {
            uint16_t next[TOPO_MAX_CHIPS];
            unsigned n = topo_neighbours(&f, a, next), links = 0;

            for (unsigned b = 0; b < g->n; b++) {
                assert_int_equal(topo_distance(&f, a, b), g->dist[a][b]);
                assert_int_equal(topo_linked(&f, a, b), g->linked[a][b]);
                links += g->linked[a][b];
            }
            assert_int_equal(n, links);
            for (unsigned i = 0; i < n; i++)
                assert_true(g->linked[a][next[i]]);
        }
        free(g);
    }
    (void)state;
}

/* Neighbours in the order that neuron-ls prints, and 32 links in all. */
static void torus_neighbours_are_row_and_column(void **state)
{
    static const char *const names[] = {"trn1.32xlarge", "trn1n.32xlarge", "trn2.48xlarge",
                                        "trn2u.48xlarge"};

    for (int k = 0; k < 4; k++) {
        struct topo_fabric f = fabric(names[k], 1);
        unsigned links = 0;

        for (unsigned d = 0; d < 16; d++) {
            unsigned row = d / 4, col = d % 4;
            uint16_t next[TOPO_MAX_CHIPS];

            assert_int_equal(topo_neighbours(&f, d, next), 4);
            assert_int_equal(next[0], (row + 3) % 4 * 4 + col);
            assert_int_equal(next[1], row * 4 + (col + 3) % 4);
            assert_int_equal(next[2], (row + 1) % 4 * 4 + col);
            assert_int_equal(next[3], row * 4 + (col + 1) % 4);
            links += 4;
        }
        assert_int_equal(links / 2, 32);
    }
    PROVES("intra-025");
    (void)state;
}

/* Every step of a route is a link, the length is the distance, and a link id stands for one ordered
 * pair of chips. */
static void routes_are_shortest_ways_over_links(void **state)
{
    for (size_t k = 0; k < FABRICS; k++) {
        struct topo_fabric f = fabric(fabrics[k].type, fabrics[k].servers);
        struct graph *g = graph_create(fabrics[k].type, fabrics[k].servers);
        unsigned count = topo_fabric_links(&f);
        int *from = malloc(count * sizeof(*from)), *to = malloc(count * sizeof(*to));

        memset(from, 0xff, count * sizeof(*from));
        for (unsigned a = 0; a < g->n; a++) {
            for (unsigned b = 0; b < g->n; b++) {
                struct topo_route r;

                topo_route(&f, a, b, &r);
                assert_int_equal(r.hops, g->dist[a][b]);
                assert_int_equal(r.chips[0], a);
                assert_int_equal(r.chips[r.hops], b);
                if (f.type->shape == TOPO_SWITCH) {
                    assert_int_equal(r.link_count, a == b ? 0 : 2);
                    continue;
                }
                assert_int_equal(r.link_count, r.hops);
                for (unsigned i = 0; i < r.hops; i++) {
                    unsigned id = r.links[i];

                    assert_true(g->linked[r.chips[i]][r.chips[i + 1]]);
                    assert_true(id < count);
                    if (from[id] < 0) {
                        from[id] = r.chips[i];
                        to[id] = r.chips[i + 1];
                    }
                    assert_int_equal(from[id], r.chips[i]);
                    assert_int_equal(to[id], r.chips[i + 1]);
                }
            }
        }
        free(from);
        free(to);
        free(g);
    }
    (void)state;
}

/* The rule of 6.3, on the torus, walked by hand: the row first; at distance 2 the direction is that
 * of the parity of the source. */
static void torus_routes_follow_the_rule(void **state)
{
    struct topo_fabric f = fabric("trn2.48xlarge", 1);

    for (unsigned a = 0; a < 16; a++) {
        for (unsigned b = 0; b < 16; b++) {
            unsigned row = a / 4, col = a % 4, hop = 0;
            unsigned half = (row + col) % 2 == 0 ? 1 : 3;
            unsigned right = (b % 4 + 4 - col) % 4, down = (b / 4 + 4 - row) % 4;
            struct topo_route r;

            topo_route(&f, a, b, &r);
            for (unsigned i = 0; i < (right == 3 ? 1 : right); i++) {
                col = (col + (right == 2 ? half : right)) % 4;
                assert_int_equal(r.chips[++hop], row * 4 + col);
            }
            for (unsigned i = 0; i < (down == 3 ? 1 : down); i++) {
                row = (row + (down == 2 ? half : down)) % 4;
                assert_int_equal(r.chips[++hop], row * 4 + col);
            }
            assert_int_equal(r.hops, hop);
        }
    }
    (void)state;
}

/* Every pair once: 8 routes on each of the 64 directed links of a torus (6.3). In general the load
 * is even where the fabric looks the same from everywhere, and then it is hops / links. */
static void load_of_all_pairs_is_even(void **state)
{
    static const struct {
        const char *type;
        unsigned servers, links, each;
    } rows[] = {{"trn1.32xlarge", 1, 64, 8},
                {"trn2.48xlarge", 1, 64, 8},
                {"trn2-ultraserver", 4, 384, 32},
                {"inf2.48xlarge", 1, 24, 18},
                {"trn3-gen1-ultraserver", 4, 128, 63}};

    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        struct topo_fabric f = fabric(rows[k].type, rows[k].servers);
        unsigned n = topo_fabric_chips(&f), used = 0;
        struct topo_flow *flows = malloc(sizeof(*flows) * n * n);
        uint32_t *load = malloc(sizeof(*load) * topo_fabric_links(&f));

        for (unsigned i = 0; i < n * n; i++)
            flows[i] = (struct topo_flow){(uint16_t)(i / n), (uint16_t)(i % n)};
        assert_int_equal(topo_load(&f, flows, (size_t)n * n, load), rows[k].each);
        for (unsigned i = 0; i < topo_fabric_links(&f); i++) {
            if (load[i]) {
                assert_int_equal(load[i], rows[k].each);
                used++;
            }
        }
        assert_int_equal(used, rows[k].links);
        assert_int_equal(topo_load(&f, flows, 0, load), 0);
        assert_int_equal(load[0], 0);
        free(flows);
        free(load);
    }
    (void)state;
}

/* The line is not even: its middle link carries 3 x 3 routes each way. */
static void load_of_the_line_peaks_in_the_middle(void **state)
{
    struct topo_fabric f = fabric("inf2.24xlarge", 1);
    struct topo_flow flows[36];
    uint32_t load[TOPO_MAX_DEVICES * TOPO_MAX_PORTS];
    struct topo_route r;

    for (unsigned i = 0; i < 36; i++)
        flows[i] = (struct topo_flow){(uint16_t)(i / 6), (uint16_t)(i % 6)};
    assert_int_equal(topo_load(&f, flows, 36, load), 9);
    for (unsigned i = 0; i < 5; i++) {
        topo_route(&f, i, i + 1, &r);
        assert_int_equal(load[r.links[0]], (i + 1) * (5 - i));
        topo_route(&f, i + 1, i, &r);
        assert_int_equal(load[r.links[0]], (i + 1) * (5 - i));
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_of_the_table_has_a_fabric),
        cmocka_unit_test(number_of_servers_is_checked),
        cmocka_unit_test(distances_are_those_of_the_graph),
        cmocka_unit_test(torus_neighbours_are_row_and_column),
        cmocka_unit_test(routes_are_shortest_ways_over_links),
        cmocka_unit_test(torus_routes_follow_the_rule),
        cmocka_unit_test(load_of_all_pairs_is_even),
        cmocka_unit_test(load_of_the_line_peaks_in_the_middle),
    };

    return cmocka_run_group_tests_name("topo fabric", tests, NULL, NULL);
}
