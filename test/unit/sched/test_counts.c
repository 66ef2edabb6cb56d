/* SPDX-License-Identifier: Apache-2.0 */
/* Staged schedules against the totals that docs/spec/collectives.md sections 6 to 9 state or
 * derive: HBM touches, bytes sent, the links that channels use, and steps. C is a chunk. */
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
    struct proof_case c = {.req = {.op = op,
                                   .alg = alg,
                                   .intra = SCHED_RING, /* of two levels */
                                   .inter = SCHED_RING,
                                   .group = g,
                                   .tensors = 1,
                                   .elem_size = 4}};
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

/* The same with members of four at LNC 1: AG 6P+1, RS 6P-1. */
static void kangaring_of_four(void **state)
{
    for (uint32_t chips = 1; chips <= 16; chips *= 2) {
        uint32_t n = 8 * chips, p = n / 4;
        struct proof_group g;

        group_of(&g, "trn2.48xlarge", 1, n);
        assert_int_equal(g.group.layout.members, 4);
        assert_int_equal(totals(&g.group, SCHED_ALL_GATHER, SCHED_KANGARING).touches,
                         n * (6 * p + 1));
        assert_int_equal(totals(&g.group, SCHED_REDUCE_SCATTER, SCHED_KANGARING).touches,
                         n * (6 * p - 1));
        proof_group_fini(&g);
    }
    (void)state;
}

/* The table of section 7: a rank sends (N-1) C, twice that in all_reduce, (N-1) N C in one step. */
static void between_nodes(void **state)
{
    static const enum sched_alg algs[] = {SCHED_RING, SCHED_MESH, SCHED_RDH};

    for (uint32_t n = 2; n <= 17; n++) {
        struct proof_world w = {"trn2.48xlarge", 2, 1, n, 1, false};
        struct proof_random r = {1};
        struct proof_group g;

        proof_group_init(&g, &w, &r);
        for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
            bool folded = algs[i] == SCHED_RDH && (n & (n - 1));

            assert_int_equal(totals(&g.group, SCHED_ALL_GATHER, algs[i]).sent, n * (n - 1));
            assert_int_equal(totals(&g.group, SCHED_REDUCE_SCATTER, algs[i]).sent, n * (n - 1));
            if (!folded) /* a fold also sends whole vectors to and fro */
                assert_int_equal(totals(&g.group, SCHED_ALL_REDUCE, algs[i]).sent, 2 * n * (n - 1));
        }
        assert_int_equal(totals(&g.group, SCHED_ALL_REDUCE, SCHED_MESH_ONE).sent, n * (n - 1) * n);
        proof_group_fini(&g);
    }
    (void)state;
}

/* Section 8, per rank: all_gather C between nodes and (Y-1) X C inside, reduce_scatter the
 * same, all_reduce twice that. */
static void two_levels(void **state)
{
    static const enum sched_op ops[] = {SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER, SCHED_ALL_REDUCE};

    for (uint32_t x = 2; x <= 4; x++) {
        struct proof_world w = {"trn2.48xlarge", 2, 1, x, 8, false};
        struct proof_random r = {1};
        struct proof_group g;

        proof_group_init(&g, &w, &r);
        for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
            uint64_t net = 0, times = ops[i] == SCHED_ALL_REDUCE ? 2 : 1, chunk = 4 * CHUNK;
            struct sched_counts n;
            struct totals t;

            count(&g.group, ops[i], SCHED_HIER, &n, &t);
            for (uint32_t k = 0; k < g.group.n; k++)
                net += n.rank[k].net_bytes;
            assert_int_equal(net, times * g.group.n * (x - 1) * chunk);
            assert_int_equal(t.sent, times * g.group.n * ((x - 1) + 7 * x));
            sched_counts_fini(&n);
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

/* ---- steps ---- */

/* A step is what ranks do at the same time: a movement between ranks comes one step after the
 * latest one that its rank has been told of, by a signal or by the network, and one step after what
 * its rank itself put into TEMP, where it reads that. What a rank does one after the other without
 * either (a mesh writes to all) is one step. */
#define KEYS (SCHED_SEM_COUNT + 1u) /* messages of the network come after the counters */

struct told { /* by each signal of one counter, in order: the step after which it was raised */
    uint32_t *step;
    size_t count;
};

struct steps {
    uint32_t ranks, channels;
    uint32_t *known, *done; /* [sequencer]: the latest step it knows of, and that it did itself */
    uint32_t *temp;         /* [sequencer]: the latest step that put something into TEMP */
    struct told *told;      /* [to][from][key][channel] */
};

static struct told *told_at(struct steps *x, uint32_t to, uint32_t from, unsigned key,
                            uint32_t channel)
{
    return &x->told[(((size_t)to * x->ranks + from) * KEYS + key) * x->channels + channel];
}

static void tell(struct told *t, uint32_t step)
{
    t->step = realloc(t->step, (t->count + 1) * sizeof(*t->step));
    assert_non_null(t->step);
    t->step[t->count] = step;
    t->count++;
}

static uint32_t told_by(const struct told *t, int32_t signals)
{
    uint32_t latest = 0;

    for (int32_t i = 0; i < signals && (size_t)i < t->count; i++)
        latest = t->step[i] > latest ? t->step[i] : latest;
    return latest;
}

static bool moves_between_ranks(const struct sched_step *st, uint32_t me)
{
    if (st->count == 0 || (st->kind != SCHED_COPY && st->kind != SCHED_REDUCE))
        return st->count != 0 && st->kind == SCHED_NET_SEND;
    for (unsigned i = 0; i < st->nsrc; i++)
        if (st->src[i].rank != me)
            return true;
    for (unsigned i = 0; i < st->ndst; i++)
        if (st->dst[i].rank != me)
            return true;
    return false;
}

static void move_see(struct steps *x, const struct sched_step *st, uint32_t me, size_t seq)
{
    bool between = moves_between_ranks(st, me);
    uint32_t after = x->known[seq];

    if (!between && st->kind != SCHED_COPY && st->kind != SCHED_REDUCE)
        return;
    for (unsigned i = 0; i < st->nsrc; i++)
        if (st->src[i].buf == SCHED_TEMP && st->src[i].rank == me && x->temp[seq] > after)
            after = x->temp[seq];
    after += between;
    if (between && x->done[seq] < after)
        x->done[seq] = after;
    for (unsigned i = 0; i < st->ndst; i++)
        if (st->dst[i].buf == SCHED_TEMP && st->dst[i].rank == me && x->temp[seq] < after)
            x->temp[seq] = after;
}

static void step_see(void *arg, const struct sched_check_event *e)
{
    struct steps *x = arg;
    const struct sched_step *st = e->step;
    size_t seq = (size_t)e->rank * x->channels + e->channel;
    uint32_t latest = 0;

    move_see(x, st, e->rank, seq);
    if (st->kind == SCHED_SIGNAL)
        tell(told_at(x, st->peer, e->rank, st->sem, e->channel), x->done[seq]);
    if (st->kind == SCHED_NET_SEND)
        tell(told_at(x, st->peer, e->rank, SCHED_SEM_COUNT, e->channel), x->done[seq]);
    if (st->kind == SCHED_WAIT && st->sem != SCHED_SEM_SENT)
        latest = told_by(told_at(x, e->rank, st->peer,
                                 st->sem == SCHED_SEM_ARRIVED ? (unsigned)SCHED_SEM_COUNT : st->sem,
                                 e->channel),
                         (int32_t)st->value);
    if (latest > x->known[seq])
        x->known[seq] = latest;
}

static uint32_t steps_of(const struct topo_group *g, const struct sched_request *like)
{
    struct sched_request req = *like;
    struct proof_random r = {1};
    struct sched_check_options options = {.runs = 1, .event = step_see};
    struct sched_check_source source;
    struct proof_case c;
    struct steps x = {.ranks = g->n};
    struct err err = {0};
    uint32_t most = 0;
    struct sched *s;
    char text[400];
    size_t told;

    req.group = g;
    req.elem_size = 4;
    proof_case_init(&c, &req, 6, &r);
    proof_case_text(&c, text, sizeof(text));
    c.req.counts = c.counts;
    if (sched_create(&c.req, &s, &err) != NRT_SUCCESS)
        fail_msg("%s: %s", text, err.text);
    x.channels = sched_channels(s);
    told = (size_t)x.ranks * x.ranks * KEYS * x.channels;
    x.known = calloc((size_t)x.ranks * x.channels, sizeof(*x.known));
    x.done = calloc((size_t)x.ranks * x.channels, sizeof(*x.done));
    x.temp = calloc((size_t)x.ranks * x.channels, sizeof(*x.temp));
    x.told = calloc(told, sizeof(*x.told));
    assert_true(x.known && x.done && x.temp && x.told);
    options.arg = &x;
    assert_int_equal(sched_check_open(s, &source), NRT_SUCCESS);
    if (sched_check(&c.req, x.ranks, x.channels, &source, &options, NULL, NULL, &err) !=
        NRT_SUCCESS)
        fail_msg("%s: %s", text, err.text);
    for (size_t i = 0; i < (size_t)x.ranks * x.channels; i++)
        most = x.done[i] > most ? x.done[i] : most;
    for (size_t i = 0; i < told; i++)
        free(x.told[i].step);
    free(x.told);
    free(x.temp);
    free(x.done);
    free(x.known);
    sched_check_close(&source);
    sched_destroy(s);
    proof_case_fini(&c);
    return most;
}

static void steps_are(const struct topo_group *g, enum sched_op op, enum sched_alg alg,
                      uint32_t expected)
{
    struct sched_request req = {.op = op, .alg = alg};
    uint32_t steps = steps_of(g, &req);

    if (steps != expected)
        fail_msg("%s by %s on %u ranks of %u nodes: %u steps, documented are %u", sched_op_name(op),
                 sched_alg_name(alg), g->n, g->nodes, steps, expected);
}

/* The three operations that every algorithm but the single-step mesh has. */
static void steps_of_three(const struct topo_group *g, enum sched_alg alg, uint32_t ag, uint32_t rs,
                           uint32_t ar)
{
    steps_are(g, SCHED_ALL_GATHER, alg, ag);
    steps_are(g, SCHED_REDUCE_SCATTER, alg, rs);
    steps_are(g, SCHED_ALL_REDUCE, alg, ar);
}

static uint32_t log2_floor(uint32_t n)
{
    return n < 2 ? 0 : 1 + log2_floor(n / 2);
}

/* 6.1 to 6.6, in a node. Ring: N-1, 2(N-1). KangaRing: P-1 to the next position and one on the
 * chip; in all_reduce the primary, which nobody has to tell, does the last of one half and the
 * first of the other at once. Mesh: two of all_gather where chips have several ranks, one of
 * reduce_scatter, whose second only reduces what has come. RDH: p = log2 D exchanges and one on the
 * chip. */
static void steps_in_a_node(void **state)
{
    static const uint32_t sizes[] = {2, 3, 4, 5, 8, 12, 16, 24, 32, 64};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint32_t n = sizes[i], l = n % 4 ? 1 : 4, d = n / l, p = n / 2;
        struct proof_group g;

        group_of(&g, "trn2.48xlarge", 2, n);
        steps_of_three(&g.group, SCHED_RING, n - 1, n - 1, 2 * (n - 1));
        steps_are(&g.group, SCHED_ALL_REDUCE, SCHED_MESH_ONE, 1);
        steps_are(&g.group, SCHED_ALL_TO_ALL, SCHED_MESH, 1);
        steps_are(&g.group, SCHED_ALL_TO_ALL_V, SCHED_MESH, 1);
        steps_are(&g.group, SCHED_ALL_GATHER_V, SCHED_MESH, 1);
        steps_are(&g.group, SCHED_REDUCE_SCATTER_V, SCHED_MESH, 1);
        if (n % 4 == 0) {
            uint32_t ag = d > 1 ? 2 : 1;

            steps_of_three(&g.group, SCHED_KANGARING, p, p, 2 * p - 1);
            steps_of_three(&g.group, SCHED_MESH, ag, 1, ag + 1);
            if (d > 1)
                steps_are(&g.group, SCHED_ALL_TO_ALL, SCHED_MESH_TWO, 2);
        }
        if (n % 4 == 0 && (d & (d - 1)) == 0) {
            uint32_t e = log2_floor(d) + 1;

            steps_of_three(&g.group, SCHED_RDH, e, e, 2 * e);
        }
        proof_group_fini(&g);
    }
    (void)state;
}

/* 2.2: one step; each rank sends once. */
static void steps_of_pairs(void **state)
{
    struct proof_group g;

    group_of(&g, "trn2.48xlarge", 2, 16);
    steps_are(&g.group, SCHED_PERMUTE, SCHED_PAIRS, 1);
    steps_are(&g.group, SCHED_SENDRECV, SCHED_PAIRS, 1);
    proof_group_fini(&g);
    (void)state;
}

/* The table of section 7, one rank a node, and what stands for RDH where N is no power of two: fold
 * 2 floor(log2 N) + 2, Bruck and its mirror ceil(log2 N). */
static void steps_between_nodes(void **state)
{
    for (uint32_t n = 2; n <= 33; n++) {
        uint32_t below = log2_floor(n), above = below + ((n & (n - 1)) != 0);
        struct proof_world w = {"trn2.48xlarge", 2, 1, n, 1, false};
        struct proof_random r = {1};
        struct proof_group g;

        proof_group_init(&g, &w, &r);
        steps_of_three(&g.group, SCHED_RING, n - 1, n - 1, 2 * (n - 1));
        steps_of_three(&g.group, SCHED_MESH, 1, 1, 2);
        steps_are(&g.group, SCHED_ALL_REDUCE, SCHED_MESH_ONE, 1);
        steps_of_three(&g.group, SCHED_RDH, above, above,
                       above == below ? 2 * below : 2 * below + 2);
        proof_group_fini(&g);
    }
    (void)state;
}

/* Section 8: the steps of the stages add up. */
static void steps_of_two_levels(void **state)
{
    for (uint32_t x = 2; x <= 5; x++) {
        struct proof_world w = {"trn2.48xlarge", 2, 1, x, 8, false};
        struct proof_random r = {1};
        struct proof_group g;

        proof_group_init(&g, &w, &r);
        for (int op = 0; op < 3; op++) {
            static const enum sched_op ops[] = {SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER,
                                                SCHED_ALL_REDUCE};
            struct sched_request req = {.op = ops[op],
                                        .alg = SCHED_HIER,
                                        .intra = SCHED_RING,
                                        .inter = SCHED_RING,
                                        .pipeline = 1};
            uint32_t once = (x - 1) + 7;

            assert_int_equal(steps_of(&g.group, &req),
                             ops[op] == SCHED_ALL_REDUCE ? 2 * once : once);
            req.intra = SCHED_KANGARING; /* P = 4 */
            req.inter = SCHED_MESH;
            assert_int_equal(steps_of(&g.group, &req), ops[op] == SCHED_ALL_REDUCE ? 10 : 5);
        }
        proof_group_fini(&g);
    }
    (void)state;
}

/* Section 9: O(X * Y), as one ring over all ranks. */
static void steps_of_the_flat_ring(void **state)
{
    struct proof_world w = {"trn1.32xlarge", 1, 1, 2, 32, false};
    struct proof_random r = {1};
    struct proof_group g;

    proof_group_init(&g, &w, &r);
    steps_of_three(&g.group, SCHED_FLAT_RING, 63, 63, 126);
    proof_group_fini(&g);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring),
        cmocka_unit_test(kangaring),
        cmocka_unit_test(mesh),
        cmocka_unit_test(rdh),
        cmocka_unit_test(links),
        cmocka_unit_test(kangaring_of_four),
        cmocka_unit_test(between_nodes),
        cmocka_unit_test(two_levels),
        cmocka_unit_test(steps_in_a_node),
        cmocka_unit_test(steps_of_pairs),
        cmocka_unit_test(steps_between_nodes),
        cmocka_unit_test(steps_of_two_levels),
        cmocka_unit_test(steps_of_the_flat_ring),
    };

    return cmocka_run_group_tests_name("sched-counts", tests, NULL, NULL);
}
