/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that wait for each other (src/coll/circle.c) among simulated ranks, which run in any order
 * and for any time: each begins operations of some communicators at once, and goes on when those
 * members have begun them that it needs. Who is told that nobody will go on never could, whatever
 * comes; and when nothing moves any more everybody is told who can know. OPENNRT_SEED draws. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coll/coll_int.h"
#include "coll/world_int.h"
#include "draw.h"
#include "seed.h"

static void fails(struct coll_comm *c);

/* What it decides is looked at here; what follows of it, in test_api_coll_stream. */
#define circle_look      look_here
#define circle_moved     moved_here
#define coll_circle_fail fails
void look_here(struct coll_streams *s);
void moved_here(struct coll_streams *s);
#include "../../../src/coll/circle.c"

#define RANKS  5u
#define COMMS  TOPO_MAX_STREAMS /* one a stream */
#define BLOCKS 6u
#define CASES  4000u
#define STEPS  600u

struct sim_rank {
    struct coll_streams s;
    struct coll_table table;
    struct shared_comm shared[COMMS], *list[COMMS];
    struct coll_comm comm[COMMS];
    struct coll_peer peer[COMMS][RANKS];
    struct coll_entry entry[COMMS];
    uint8_t block[BLOCKS]; /* communicators begun at once, a bit each */
    uint32_t blocks, at, begun[COMMS];
    bool moving; /* has moved, and not said so */
    bool told;
};

static struct sim {
    struct sim_rank r[RANKS];
    struct coll_area area[COMMS][RANKS];
    uint8_t members[COMMS];      /* ranks, a bit each */
    uint8_t needs[COMMS][RANKS]; /* of the members, whom each cannot do without */
    bool far[RANKS];             /* of another node */
    uint64_t draw;
} sim;

static uint32_t drawn(uint32_t below)
{
    return (uint32_t)(draw_mix(++sim.draw) % below);
}

/* ---- the operations ---- */

static bool in_block(const struct sim_rank *r, uint32_t k)
{
    return r->at < r->blocks && r->block[r->at] >> k & 1;
}

static bool complete(const struct sim_rank *all, uint32_t me)
{
    for (uint32_t k = 0; k < COMMS; k++)
        for (uint32_t m = 0; m < RANKS && in_block(&all[me], k); m++)
            if (sim.needs[k][me] >> m & 1 && all[m].begun[k] < all[me].begun[k])
                return false;
    return true;
}

static void begin(struct sim_rank *r)
{
    for (uint32_t k = 0; k < COMMS; k++)
        r->begun[k] += in_block(r, k);
}

/* Whether the rank gets any further when everybody goes on as far as possible. */
static bool will_go_on(uint32_t me)
{
    static struct sim_rank all[RANKS];
    bool moved = true;

    memcpy(all, sim.r, sizeof(all));
    while (moved) {
        moved = false;
        for (uint32_t i = 0; i < RANKS; i++)
            if (all[i].at < all[i].blocks && complete(all, i)) {
                all[i].at++;
                begin(&all[i]);
                moved = true;
            }
    }
    return all[me].at > sim.r[me].at;
}

static void fails(struct coll_comm *c)
{
    for (uint32_t i = 0; i < RANKS; i++)
        if (c >= sim.r[i].comm && c < sim.r[i].comm + COMMS) {
            if (will_go_on(i) || !in_block(&sim.r[i], (uint32_t)(c - sim.r[i].comm)))
                fail_msg("rank %u is told that nobody goes on", i);
            sim.r[i].told = true;
        }
}

/* ---- ranks ---- */

static void busy_set(struct sim_rank *r)
{
    r->s.busy = 0;
    for (uint32_t k = 0; k < COMMS; k++)
        r->s.busy |= (uint32_t)in_block(r, k) << k;
}

static void rank_init(uint32_t me)
{
    struct sim_rank *r = &sim.r[me];

    r->s.table = &r->table;
    r->table.comms = r->list;
    for (uint32_t k = 0; k < COMMS; k++) {
        if (!(sim.members[k] >> me & 1))
            continue;
        r->list[r->table.comm_count++] = &r->shared[k];
        r->shared[k].id = 100 + k;
        r->shared[k].comm = &r->comm[k];
        r->comm[k].n = RANKS; /* who is no member says nothing and is asked nothing: n below */
        r->comm[k].peers = r->peer[k];
        r->comm[k].n = 0;
        for (uint32_t m = 0; m < RANKS; m++)
            if (sim.members[k] >> m & 1) {
                if (m == me)
                    r->comm[k].me = r->comm[k].n;
                r->peer[k][r->comm[k].n++].area =
                    sim.far[m] == sim.far[me] ? &sim.area[k][m] : NULL;
            }
        r->entry[k].comm = &r->shared[k];
        r->s.stream[k].op[0].e = &r->entry[k];
    }
}

/* The same operations of a communicator for all members, each with an order and blocks of its own,
 * which may well not fit. */
static void program_draw(uint32_t me, const uint32_t times[COMMS], bool alike)
{
    struct sim_rank *r = &sim.r[me];
    uint32_t left[COMMS] = {0};
    uint64_t own = sim.draw;

    if (alike)
        sim.draw = 7;
    for (uint32_t k = 0; k < COMMS; k++)
        left[k] = sim.members[k] >> me & 1 ? times[k] : 0;
    while (r->blocks < BLOCKS) {
        uint8_t block = (uint8_t)drawn(1u << COMMS), any = 0;

        for (uint32_t k = 0; k < COMMS; k++) {
            any |= (uint8_t)((left[k] > 0) << k);
            if (block >> k & 1 && left[k] == 0)
                block &= (uint8_t) ~(1u << k);
        }
        if (!any)
            break;
        if (!block)
            block = any & (uint8_t)-any;
        for (uint32_t k = 0; k < COMMS; k++)
            left[k] -= block >> k & 1;
        r->block[r->blocks++] = block;
    }
    if (alike)
        sim.draw = own;
    begin(r);
    busy_set(r);
}

/* A moment of a rank: it goes on, says that it has, or looks in vain. */
static void rank_step(uint32_t me)
{
    struct sim_rank *r = &sim.r[me];

    if (r->told || r->at == r->blocks)
        return;
    if (r->moving) {
        r->moving = false;
        circle_moved(&r->s);
        busy_set(r);
    } else if (complete(sim.r, me)) {
        r->at++;
        begin(r);
        r->moving = true;
    } else {
        circle_look(&r->s);
    }
}

/* Whether all who could move the rank wait, and it shares their communicators. */
static bool can_know(uint32_t me)
{
    uint8_t set = sim.r[me].block[sim.r[me].at], before = 0;

    while (set != before) {
        before = set;
        for (uint32_t k = 0; k < COMMS; k++)
            for (uint32_t m = 0; m < RANKS && set >> k & 1; m++) {
                if (!(sim.members[k] >> m & 1))
                    continue;
                if (!(sim.members[k] >> me & 1) || sim.r[m].at == sim.r[m].blocks ||
                    sim.far[m] != sim.far[me])
                    return false;
                set |= sim.r[m].block[sim.r[m].at];
            }
    }
    return true;
}

struct counts {
    uint32_t told, ended, unknown;
};

static void case_run(uint64_t seed, struct counts *n)
{
    uint32_t times[COMMS], awake = (1u << RANKS) - 1;
    bool alike;

    memset(&sim, 0, sizeof(sim));
    sim.draw = seed;
    for (uint32_t k = 0; k < COMMS; k++) {
        sim.members[k] = (uint8_t)drawn(1u << RANKS);
        times[k] = 1 + drawn(2);
        for (uint32_t i = 0; i < RANKS; i++)
            sim.needs[k][i] = sim.members[k] & (uint8_t)(drawn(2) ? UINT8_MAX : drawn(1u << RANKS));
    }
    for (uint32_t i = 0; i < RANKS; i++)
        sim.far[i] = drawn(12) == 0;
    alike = drawn(3) == 0;
    for (uint32_t i = 0; i < RANKS; i++) {
        rank_init(i);
        program_draw(i, times, alike);
    }
    for (uint32_t i = 0; i < STEPS; i++) {
        uint32_t me = drawn(RANKS);

        if (drawn(40) == 0) /* some get no processor for a while */
            awake = 1 + drawn((1u << RANKS) - 1);
        if (awake >> me & 1)
            rank_step(me);
    }
    for (uint32_t i = 0; i < STEPS; i++) /* and everybody to the end */
        rank_step(i % RANKS);
    for (uint32_t i = 0; i < RANKS; i++) {
        struct sim_rank *r = &sim.r[i];

        if (r->at == r->blocks) {
            n->ended++;
            continue;
        }
        if (!r->told && can_know(i)) {
            bool other = false; /* who was told is no more: its words stand still */

            for (uint32_t m = 0; m < RANKS; m++)
                other = other || sim.r[m].told;
            if (!other)
                fail_msg("case %llu: rank %u is not told", (unsigned long long)seed, i);
        }
        n->told += r->told;
        n->unknown += !r->told;
    }
}

static void who_is_told_would_have_waited_for_ever(void **state)
{
    uint64_t seed = seed_take_new();
    struct counts n = {0};

    for (uint32_t i = 0; i < CASES; i++)
        case_run(draw_mix(seed + i), &n);
    print_message("%u ranks ended, %u were told, %u wait\n", n.ended, n.told, n.unknown);
    assert_true(n.ended > CASES / 4 && n.told > CASES / 8);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_told_would_have_waited_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
