/* SPDX-License-Identifier: Apache-2.0 */
/* Staged schedules against the totals that docs/spec/collectives.md sections 6 and 7 derive: HBM
 * touches, bytes sent, and the links that channels use. C is a chunk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proof.h"

#define CHUNK 192u /* elements of 4 bytes; several u of cut, also for three channels */

/* Totals over all ranks, in units of C. */
struct totals {
    uint64_t touches, writes, sent;
};

static void count(const struct topo_group *g, enum sched_op op, enum sched_alg alg,
                  struct sched_counts *ret, struct totals *t)
{
    struct proof_case c = {.req = {.op = op, .alg = alg, .group = g, .tensors = 1, .elem_size = 4}};
    struct err err = {0};
    char text[400];

    c.counts[0] = op == SCHED_ALL_REDUCE || op == SCHED_ALL_TO_ALL ? (uint64_t)CHUNK * g->n : CHUNK;
    *ret = (struct sched_counts){0};
    if (proof_run(&c, ret, &err) != PROOF_PROVED) {
        proof_case_text(&c, text, sizeof(text));
        fail_msg("%s: %s", text, err.text);
    }
    *t = (struct totals){0, 0, 0};
    for (uint32_t r = 0; r < g->n; r++) {
        t->touches += ret->rank[r].reads + ret->rank[r].writes;
        t->writes += ret->rank[r].writes;
        t->sent += ret->rank[r].sent_bytes;
    }
    assert_int_equal(t->touches % CHUNK, 0);
    assert_int_equal(t->sent % (4 * CHUNK), 0);
    t->touches /= CHUNK;
    t->writes /= CHUNK;
    t->sent /= (uint64_t)4 * CHUNK;
}

static struct totals totals(const struct topo_group *g, enum sched_op op, enum sched_alg alg)
{
    struct sched_counts n;
    struct totals t;

    count(g, op, alg, &n, &t);
    sched_counts_fini(&n);
    return t;
}

static void group_of(struct proof_group *g, const char *type, uint8_t lnc, uint32_t ranks)
{
    struct proof_random r = {1};
    struct proof_world w = {type, lnc, 1, 1, ranks, false};

    proof_group_init(g, &w, &r);
}

/* 6.1: per rank AG 2N-1, RS 3N-1, AR 5N-4; each sends N-1, all_reduce twice that. */
static void ring(void **state)
{
    static const uint32_t sizes[] = {2, 3, 4, 5, 8, 13, 16, 32, 64};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint32_t n = sizes[i];
        struct proof_group g;
        struct totals t;

        group_of(&g, "trn2.48xlarge", 2, n);
        t = totals(&g.group, SCHED_ALL_GATHER, SCHED_RING);
        assert_int_equal(t.touches, n * (2 * n - 1));
        assert_int_equal(t.sent, n * (n - 1));
        t = totals(&g.group, SCHED_REDUCE_SCATTER, SCHED_RING);
        assert_int_equal(t.touches, n * (3 * n - 1));
        assert_int_equal(t.sent, n * (n - 1));
        t = totals(&g.group, SCHED_ALL_REDUCE, SCHED_RING);
        assert_int_equal(t.touches, n * (5 * n - 4));
        assert_int_equal(t.sent, 2 * n * (n - 1));
        proof_group_fini(&g);
    }
    (void)state;
}

/* 6.2: per rank, m = 2: AG 3P+1, RS 4P-1. A quarter and a third less than Ring as P grows. */
static void kangaring(void **state)
{
    for (uint32_t p = 2; p <= 32; p *= 2) {
        uint32_t n = 2 * p;
        struct proof_group g;
        struct totals ag, rs;

        if (n % 4)
            continue;
        group_of(&g, "trn2.48xlarge", 2, n);
        assert_int_equal(g.group.layout.members, 2);
        ag = totals(&g.group, SCHED_ALL_GATHER, SCHED_KANGARING);
        rs = totals(&g.group, SCHED_REDUCE_SCATTER, SCHED_KANGARING);
        assert_int_equal(ag.touches, n * (3 * p + 1));
        assert_int_equal(rs.touches, n * (4 * p - 1));
        if (p == 32) { /* against Ring's 2N-1 and 3N-1 */
            double less_ag = 1 - (3.0 * p + 1) / (2.0 * n - 1);
            double less_rs = 1 - (4.0 * p - 1) / (3.0 * n - 1);

            assert_true(less_ag > 0.23 && less_ag < 0.25);
            assert_true(less_rs > 1 / 3.0 && less_rs < 0.345);
        }
        proof_group_fini(&g);
    }
    (void)state;
}

/* 6.3 and 6.4, D chips of L ranks, means over the ranks: AG 2 + 2(D-1) + 2D(L-1), of which the
 * half are writes (reads may be fewer where one serves two destinations), RS D(L+1) + D + 1.
 * The single step writes its whole buffer of N chunks to N-1 peers and reduces N of them. */
static void mesh(void **state)
{
    static const uint32_t chips[] = {1, 2, 3, 5, 16};

    for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++) {
        uint32_t d = chips[i], l = 4, n = d * l;
        struct proof_group g;
        struct totals t;

        group_of(&g, "trn2.48xlarge", 2, n);
        t = totals(&g.group, SCHED_ALL_GATHER, SCHED_MESH);
        assert_int_equal(t.writes, n * (1 + (d - 1) + d * (l - 1)));
        assert_true(t.touches <= 2 * t.writes);
        t = totals(&g.group, SCHED_REDUCE_SCATTER, SCHED_MESH);
        assert_int_equal(t.touches, n * (d * (l + 1) + d + 1));
        if (n <= 16) {
            t = totals(&g.group, SCHED_ALL_REDUCE, SCHED_MESH_ONE);
            assert_int_equal(t.sent, n * (n - 1) * n);
        }
        proof_group_fini(&g);
    }
    (void)state;
}

/* 6.5: the exchange sends D-1 chunks each way; on chip AG writes D chunks to each of L-1 peers. */
static void rdh(void **state)
{
    for (uint32_t d = 1; d <= 16; d *= 2) {
        uint32_t l = 4, n = d * l;
        struct proof_group g;

        group_of(&g, "trn2.48xlarge", 2, n);
        assert_int_equal(totals(&g.group, SCHED_ALL_GATHER, SCHED_RDH).sent,
                         n * ((d - 1) + d * (l - 1)));
        assert_int_equal(totals(&g.group, SCHED_REDUCE_SCATTER, SCHED_RDH).sent, n * (d - 1));
        proof_group_fini(&g);
    }
    (void)state;
}

/* Section 4: on a whole server the four channels of the ring run on links of their own, all 64
 * directed ones together; nothing moves but to the next rank. */
static void links(void **state)
{
    struct proof_group g;
    struct sched_counts n;
    struct totals t;
    const struct topo_layout *y;
    unsigned used = 0;
    bool seen[16][16] = {{false}};

    group_of(&g, "trn2.48xlarge", 2, 64);
    y = &g.group.layout;
    assert_int_equal(y->channels, 4);
    count(&g.group, SCHED_ALL_GATHER, SCHED_RING, &n, &t);
    assert_int_equal(n.flow_count, 4 * 64);
    for (size_t i = 0; i < n.flow_count; i++) {
        unsigned a = y->chip_id[y->chip[n.flow[i].from]], b = y->chip_id[y->chip[n.flow[i].to]];

        if (a == b)
            continue;
        assert_true(topo_linked(&g.fabric, a, b));
        assert_false(seen[a][b]);
        seen[a][b] = true;
        used++;
    }
    assert_int_equal(used, 64);
    sched_counts_fini(&n);
    proof_group_fini(&g);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring), cmocka_unit_test(kangaring), cmocka_unit_test(mesh),
        cmocka_unit_test(rdh),  cmocka_unit_test(links),
    };

    return cmocka_run_group_tests_name("sched-counts", tests, NULL, NULL);
}
