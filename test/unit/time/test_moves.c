/* SPDX-License-Identifier: Apache-2.0 */
/* What a rank moves in an operation, for timelines: against sums worked out by hand, against the
 * rank's own steps, and as tracks of links and of the network. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "time/timeline.h"
#include "topo/group.h"
#include "seed.h"

static uint64_t seed;

static uint64_t draw(void) /* xorshift64 */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

struct place {
    struct topo_fabric fabric;
    struct topo_world world;
    struct topo_group group;
};

static void place_open(struct place *p, const char *type, unsigned servers, unsigned lnc,
                       uint32_t nodes, const uint32_t *ranks, uint32_t n)
{
    struct err err = {0};

    assert_int_equal(topo_fabric_init(&p->fabric, topo_instance_find(type), servers, &err),
                     NRT_SUCCESS);
    assert_int_equal(topo_world_init(&p->world, &p->fabric, lnc, nodes, 0, &err), NRT_SUCCESS);
    assert_int_equal(topo_group_init(&p->group, &p->world, ranks, n, &err), NRT_SUCCESS);
}

static struct sched *sched_of(const struct place *p, enum sched_op op, enum sched_alg alg,
                              uint64_t count)
{
    struct sched_request req = {.op = op,
                                .alg = alg,
                                .variant = SCHED_STAGED,
                                .intra = SCHED_MESH,
                                .inter = SCHED_RING,
                                .group = &p->group,
                                .tensors = 1,
                                .counts = &count,
                                .elem_size = 4};
    struct sched *s = NULL;
    struct err err = {0};
    NRT_STATUS st = sched_create(&req, &s, &err);

    if (st == NRT_FAILURE)
        return NULL; /* not on this group */
    if (st)
        print_error("%s\n", err.text);
    assert_int_equal(st, NRT_SUCCESS);
    return s;
}

static struct time_moves moves_of(const struct sched *s, uint32_t rank)
{
    struct time_collective with, without;
    struct time_moves m;
    struct err err = {0};

    assert_int_equal(time_collective_moves(s, NULL, rank, &with, &m, &err), NRT_SUCCESS);
    assert_int_equal(time_collective(s, NULL, &without, &err), NRT_SUCCESS);
    assert_memory_equal(&with, &without, sizeof(with));
    assert_int_equal(m.total_ps, (uint64_t)(with.ns * 1e3));
    return m;
}

/* A ring: every rank passes n - 1 parts on to the one behind it, which is a link away where the
 * cycle is made of links. */
static void a_ring_hands_on(void **state)
{
    const uint32_t n = 16, part = 3000;
    struct place p;

    (void)state;
    place_open(&p, "trn1.32xlarge", 1, 1, 1,
               (const uint32_t[]){0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30}, n);
    for (uint32_t r = 0; r < n; r++) {
        struct sched *s = sched_of(&p, SCHED_ALL_GATHER, SCHED_RING, part);
        struct time_moves m = moves_of(s, r);
        uint64_t away = 0;

        for (size_t i = 0; i < m.count; i++) {
            const struct time_move *x = &m.move[i];

            assert_true(x->start_ps <= x->end_ps && x->end_ps <= m.total_ps);
            assert_int_equal(x->peer % 2, 0); /* a rank of the world, not a place in the list */
            if (x->peer == 2 * r) {
                assert_int_equal(x->route.hops, 0);
                continue;
            }
            away += x->bytes;
            assert_int_equal(x->route.hops, 1);
            assert_int_equal(x->route.chips[0], r);
            assert_int_equal(x->route.chips[1], x->peer / 2);
        }
        assert_int_equal(away, (uint64_t)(n - 1) * part * 4);
        time_moves_fini(&m);
        sched_destroy(s);
    }
    topo_group_fini(&p.group);
}

/* Every step of the rank itself that moves bytes is there, in its order. */
static void check(const struct place *p, const struct sched *s, uint32_t rank)
{
    struct time_moves m = moves_of(s, rank);
    uint64_t moving = 0;

    for (uint32_t c = 0; c < sched_channels(s); c++) {
        const struct sched_step *step;
        struct sched_iter *it;
        uint64_t queue_end = 0, net_end = 0;
        size_t at = 0;

        assert_int_equal(sched_iter_create(s, rank, c, &it), NRT_SUCCESS);
        while ((step = sched_iter_next(it))) {
            const struct time_move *x;
            bool net = step->kind == SCHED_NET_SEND;
            uint64_t *end = net ? &net_end : &queue_end;

            if ((step->kind != SCHED_COPY && step->kind != SCHED_REDUCE && !net) ||
                step->count == 0)
                continue;
            moving++;
            while (at < m.count && m.move[at].channel != c)
                at++;
            if (at == m.count)
                continue;
            x = &m.move[at++];
            if (x->kind != step->kind)
                fail_msg("%s by %s of %u ranks: rank %u channel %u move %zu",
                         sched_op_name(sched_request_of(s)->op),
                         sched_alg_name(sched_request_of(s)->alg), p->group.n, rank, c, at);
            assert_int_equal(x->kind, step->kind);
            assert_int_equal(x->net, net);
            assert_string_equal(x->phase, sched_phase_name(s, step->phase));
            assert_int_equal(x->bytes, step->count * 4 * (net ? 1 : step->repeat));
            if (net)
                assert_int_equal(x->peer, p->group.rank[step->peer]);
            assert_int_equal(x->node == topo_world_place(&p->world, p->group.rank[rank]).node,
                             !net);
            assert_true(x->end_ps >= x->start_ps);
            if (x->end_ps == x->start_ps)
                continue; /* in no time: of a part that is empty at the rank of its role */
            assert_true(x->start_ps + 1 >= *end);
            *end = x->end_ps;
        }
        sched_iter_destroy(it);
    }
    assert_int_equal(m.count + m.left_out, moving);
    time_moves_fini(&m);
}

static void moves_are_the_steps(void **state)
{
    static const struct {
        const char *type;
        unsigned servers, lnc, nodes;
    } places[] = {{"trn1.32xlarge", 1, 1, 1},        {"trn2.48xlarge", 1, 2, 1},
                  {"trn1.32xlarge", 1, 1, 2},        {"inf2.24xlarge", 1, 1, 1},
                  {"trn2.48xlarge", 1, 2, 2},        {"trn2.3xlarge", 1, 2, 1},
                  {"trn3-gen1-ultraserver", 1, 2, 1}};
    static const enum sched_alg algs[] = {SCHED_RING, SCHED_MESH, SCHED_KANGARING,
                                          SCHED_RDH,  SCHED_HIER, SCHED_FLAT_RING};
    static const enum sched_op ops[] = {SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER, SCHED_ALL_REDUCE,
                                        SCHED_ALL_TO_ALL};
    unsigned done = 0;

    (void)state;
    seed = seed_take(20261129) | 1;
    for (unsigned k = 0; k < sizeof(places) / sizeof(places[0]); k++) {
        struct place p;

        place_open(&p, places[k].type, places[k].servers, places[k].lnc, places[k].nodes, NULL, 0);
        for (unsigned i = 0; i < sizeof(algs) / sizeof(algs[0]); i++)
            for (unsigned o = 0; o < sizeof(ops) / sizeof(ops[0]); o++) {
                uint64_t n = p.group.n, count = 1 + draw() % 20000;
                struct sched *s = sched_of(&p, ops[o], algs[i],
                                           ops[o] == SCHED_ALL_TO_ALL ? count / n * n + n : count);

                if (!s)
                    continue;
                for (unsigned x = 0; x < 3; x++)
                    check(&p, s, (uint32_t)(draw() % n));
                sched_destroy(s);
                done++;
            }
        topo_group_fini(&p.group);
    }
    assert_true(done > 20);
}

/* More steps than anybody looks at: those behind are counted. */
static void the_most_are_kept(void **state)
{
    struct place p;
    struct sched *s;
    struct time_moves m;

    (void)state;
    place_open(&p, "trn2.48xlarge", 1, 2, 1, NULL, 0);
    s = sched_of(&p, SCHED_ALL_GATHER, SCHED_RING, UINT64_C(1) << 28);
    m = moves_of(s, 5);
    assert_int_equal(m.count, TIME_MOVES_MAX);
    assert_true(m.left_out > 0);
    time_moves_fini(&m);
    sched_destroy(s);
    topo_group_fini(&p.group);
}

/* ---- tracks ---- */

static struct time_moves shown;

static void record_fact(const void *arg, unsigned core, unsigned engine, uint32_t id,
                        struct timeline_record *ret, struct strbuf *text)
{
    (void)arg;
    (void)core;
    (void)engine;
    (void)id;
    (void)text;
    ret->file = "the-source.nasm";
    ret->line = 7;
}

static void xfer_fact(const void *arg, unsigned core, uint32_t index, struct timeline_xfer *ret)
{
    (void)arg;
    (void)core;
    (void)index;
    (void)ret;
}

static void coll_fact(const void *arg, unsigned core, uint32_t entry, struct timeline_coll *ret)
{
    (void)arg;
    (void)core;
    (void)entry;
    ret->name = "all_gather";
    ret->moves = &shown;
}

static bool trace_has(const uint8_t *bytes, size_t size, const char *text)
{
    return memmem(bytes, size, text, strlen(text)) != NULL;
}

/* An operation with one move of each kind of way: none, links, a switch, the network. */
static void ways_are_tracks(void **state)
{
    struct time_move move[] = {
        {.start_ps = 0, .end_ps = 10000, .bytes = 64, .phase = "at home", .kind = SCHED_COPY},
        {.start_ps = 10000, .end_ps = 20000, .bytes = 64, .phase = "two links", .kind = SCHED_COPY},
        {.start_ps = 20000,
         .end_ps = 30000,
         .bytes = 64,
         .phase = "switched",
         .kind = SCHED_REDUCE},
        {.start_ps = 30000,
         .end_ps = 40000,
         .bytes = 64,
         .phase = "sent",
         .kind = SCHED_NET_SEND,
         .net = true,
         .node = 3}};
    struct time_event ev[] = {{.kind = TIME_EV_RECORD},
                              {.kind = TIME_EV_COLL},
                              {.kind = TIME_EV_COLL_ARRIVAL},
                              {.kind = TIME_EV_XFER_DONE}};
    struct time_span spans[] = {{0, 1000, TIME_NONE},
                                {1000, 81000, TIME_NONE},
                                {0, 0, TIME_NONE},
                                {81000, 81000, TIME_NONE}};
    const struct timeline_facts facts = {record_fact, xfer_fact, coll_fact};
    const struct time_events events = {.ev = ev, .count = 4, .cap = 4};
    const struct timeline_core core = {.name = "x", .pid = 1, .ranks = 1};
    const struct timeline_run run = {
        .core = &core, .facts = &facts, .events = &events, .spans = spans, .total_ps = 81000};
    static const char *const names[] = {"stream 0 channel 0",
                                        "link chip 5 to chip 6",
                                        "link chip 6 to chip 2",
                                        "link chip 5 to the switch",
                                        "link the switch to chip 9",
                                        "network to node 3",
                                        "net_send",
                                        "the-source.nasm"};
    struct timeline *t = timeline_create(1, 0);
    const uint8_t *bytes;
    struct err err = {0};
    size_t size;

    (void)state;
    move[1].route =
        (struct topo_route){.hops = 2, .link_count = 2, .chips = {5, 6, 2}, .links = {30, 36}};
    move[2].route =
        (struct topo_route){.hops = 1, .link_count = 2, .chips = {5, 9}, .links = {40, 55}};
    shown = (struct time_moves){.move = move, .count = 4, .total_ps = 40000};
    assert_non_null(t);
    assert_int_equal(timeline_add(t, &run, &bytes, &size, &err), NRT_SUCCESS);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (!trace_has(bytes, size, names[i]))
            fail_msg("no %s", names[i]);
    assert_false(trace_has(bytes, size, "link chip 0"));
    timeline_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_hands_on),
        cmocka_unit_test(moves_are_the_steps),
        cmocka_unit_test(the_most_are_kept),
        cmocka_unit_test(ways_are_tracks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
