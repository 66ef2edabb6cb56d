/* SPDX-License-Identifier: Apache-2.0 */
/* Every operation by every algorithm and variant, executed on numbers in random order, against the
 * definitions of collectives.md section 2. OPENNRT_SEED replays a failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proves.h"
#include "runner.h"
#include "sched/sched.h"
#include "sim.h"
#include "topo/group.h"
#include "seed.h"

static uint64_t rng;

static uint32_t draw(uint32_t n)
{
    rng = rng * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)((rng >> 33) % n);
}

/* ---- expected outputs ---- */

static uint64_t sum_in(const struct sched *s, uint64_t salt, uint32_t t, uint64_t i)
{
    uint64_t sum = 0;

    for (uint32_t r = 0; r < sched_ranks(s); r++)
        sum += sim_in(salt, r, t, i);
    return sum;
}

/* True when the definition says what element i is; *ret is it. */
static bool expected(const struct sched *s, const struct sched_request *req, uint64_t salt,
                     uint32_t r, uint32_t t, uint64_t i, uint64_t *ret)
{
    uint32_t n = sched_ranks(s);
    uint64_t c = req->counts ? req->counts[t] : 0;

    switch (req->op) {
    case SCHED_ALL_GATHER:
        *ret = sim_in(salt, (uint32_t)(i / c), t, i % c);
        return true;
    case SCHED_REDUCE_SCATTER:
        *ret = sum_in(s, salt, t, r * c + i);
        return true;
    case SCHED_ALL_REDUCE:
        *ret = sum_in(s, salt, t, i);
        return true;
    case SCHED_ALL_TO_ALL:
        c /= n;
        *ret = sim_in(salt, (uint32_t)(i / c), t, r * c + i % c);
        return true;
    case SCHED_SENDRECV:
        *ret = sim_in(salt, (r + n - 1) % n, t, i);
        return true;
    case SCHED_PERMUTE:
        for (uint32_t p = 0; p < req->pair_count; p++)
            if (req->pairs[p].target == r) {
                *ret = sim_in(salt, req->pairs[p].source, t, i);
                return true;
            }
        return false;
    case SCHED_ALL_GATHER_V:
    case SCHED_ALL_TO_ALL_V:
        for (uint32_t from = 0; from < n; from++) {
            uint32_t col = req->op == SCHED_ALL_GATHER_V ? 0 : r;
            uint64_t count = req->send_count[from * n + col];
            uint64_t at =
                req->recv_displ ? req->recv_displ[r * n + from] : from * (req->out_elems / n);

            if (i >= at && i < at + count) {
                *ret = sim_in(salt, from, 0, req->send_displ[from * n + col] + i - at);
                return true;
            }
        }
        return false;
    case SCHED_REDUCE_SCATTER_V:
        if (i >= req->send_count[r])
            return false;
        *ret = 0;
        for (uint32_t from = 0; from < n; from++)
            *ret += sim_in(salt, from, 0, req->send_displ[from * n + r] + i);
        return true;
    default:
        return false;
    }
}

/* Whether every rank is to have the same. */
static bool same_everywhere(enum sched_op op)
{
    return op == SCHED_ALL_GATHER || op == SCHED_ALL_REDUCE;
}

static void check_outputs(const struct sched *s, const struct sched_request *req,
                          const struct sim *sim, uint64_t salt)
{
    uint32_t tensors = sched_op_varies(req->op) ? 1 : sched_request_of(s)->tensors;

    for (uint32_t t = 0; t < tensors; t++)
        for (uint64_t i = 0; i < sched_tensor_elems(s, SCHED_OUT, 0, t); i++) {
            uint64_t want;
            bool said = false;

            for (uint32_t r = 0; r < sched_ranks(s); r++) {
                if (r == 0 || !same_everywhere(req->op))
                    said = expected(s, req, salt, r, t, i, &want);
                if (said && sim_out(sim, r, t, i) != want)
                    fail_msg("rank %u tensor %u element %llu is wrong", r, t,
                             (unsigned long long)i);
            }
        }
}

/* Three operations one after another in one set of buffers. False: the algorithm cannot. */
static bool run(const struct sched_request *req, const char *what)
{
    struct err err = {0};
    struct sched *s = NULL;
    uint64_t seed = rng;
    NRT_STATUS st = sched_create(req, &s, &err);

    if (st == NRT_FAILURE) {
        assert_true(err.text[0]);
        return false;
    }
    if (st)
        fail_msg("%s: %s", what, err.text);
    struct sim *sim = sim_new(s, seed);

    for (uint64_t op = 0; op < 3; op++) {
        const char *text = sim_run(sim, seed + op);

        if (text)
            fail_msg("%s %s %s, %u ranks on %u nodes, %s in place, %u channels, operation %u: %s "
                     "(seed %llu)",
                     sched_op_name(req->op), sched_alg_name(req->alg),
                     sched_variant_name(req->variant), sched_ranks(s), req->group->nodes,
                     req->in_place ? "" : "not", sched_channels(s), (unsigned)op, text,
                     (unsigned long long)seed);
        check_outputs(s, req, sim, seed + op);
    }
    sim_free(sim);
    sched_destroy(s);
    return true;
}

/* ---- groups ---- */

struct place_set {
    struct topo_fabric fabric;
    struct topo_world world;
    struct topo_group group;
};

static void group_open(struct place_set *p, const char *type, unsigned servers, unsigned lnc,
                       uint32_t nodes, uint32_t per_server, const uint32_t *list, uint32_t n)
{
    struct err err = {0};

    memset(p, 0, sizeof(*p));
    if (topo_fabric_init(&p->fabric, topo_instance_find(type), servers, &err) ||
        topo_world_init(&p->world, &p->fabric, lnc, nodes, per_server, &err) ||
        topo_group_init(&p->group, &p->world, list, n, &err))
        fail_msg("%s: %s", type, err.text);
}

static void group_close(struct place_set *p)
{
    topo_group_fini(&p->group);
}

/* ---- sweeps ---- */

static const uint64_t some_counts[] = {0, 1, 2, 5, 16, 17, 63, 64, 100, 257, 1000};

static uint32_t sweep_group(const struct topo_group *g, const enum sched_op *ops, unsigned nops,
                            unsigned rounds)
{
    uint32_t did = 0;

    for (unsigned o = 0; o < nops; o++)
        for (int alg = 0; alg < SCHED_ALG_COUNT; alg++)
            for (int variant = 0; variant < SCHED_VARIANT_COUNT; variant++)
                for (unsigned k = 0; k < rounds; k++) {
                    uint64_t counts[3];
                    struct sched_request req = {.op = ops[o],
                                                .alg = (enum sched_alg)alg,
                                                .variant = (enum sched_variant)variant,
                                                .intra = (enum sched_alg)draw(SCHED_RDH + 1),
                                                .inter = (enum sched_alg)draw(SCHED_RDH + 1),
                                                .group = g,
                                                .counts = counts,
                                                .elem_size = 1u << draw(4),
                                                .in_place = draw(2),
                                                .slices = draw(4),
                                                .chunk_bytes = draw(2) ? 64 << draw(4) : 0,
                                                .pipeline = draw(4)};
                    bool one = req.op == SCHED_PERMUTE || req.op == SCHED_SENDRECV;

                    req.tensors = req.op == SCHED_BARRIER ? 0 : one ? 1 : 1 + draw(3);
                    for (uint32_t t = 0; t < req.tensors; t++) {
                        counts[t] = some_counts[draw(sizeof(some_counts) / 8)];
                        if (req.op == SCHED_ALL_TO_ALL)
                            counts[t] *= g->n;
                    }
                    if (draw(2))
                        req.slots = (req.slices ? req.slices : 2) + 1 + draw(3);
                    did += run(&req, sched_alg_name(req.alg));
                }
    return did;
}

static const enum sched_op plain_ops[] = {SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER, SCHED_ALL_REDUCE,
                                          SCHED_ALL_TO_ALL, SCHED_SENDRECV,       SCHED_BARRIER};

static void one_node(void **state)
{
    struct place_set p;
    uint32_t did = 0;

    /* in an emulator a quarter: every size once, of the small ones every second */
    for (uint32_t n = 1; n <= 64; n += n < 17 ? (runner_emulated() ? 2 : 1) : 4 + draw(12)) {
        uint32_t list[64];

        for (uint32_t i = 0; i < n; i++)
            list[i] = i;
        group_open(&p, "trn2.48xlarge", 1, 2, 1, 0, list, n);
        did += sweep_group(&p.group, plain_ops, 6, n <= 16 ? runner_rounds(2) : 1);
        group_close(&p);
    }
    assert_true(did > runner_rounds(300));
    (void)state;
}

static void several_nodes(void **state)
{
    struct place_set p;

    for (uint32_t nodes = 2; nodes <= 9; nodes++)
        for (uint32_t per = 1; per <= 8; per = per == 1 ? 2 : per + 2) {
            group_open(&p, "trn1.32xlarge", 1, 1, nodes, per, NULL, 0);
            assert_true(sweep_group(&p.group, plain_ops, 6, runner_rounds(per == 1 ? 4 : 6)) > 0);
            group_close(&p);
        }
    (void)state;
}

static void flat_rings(void **state)
{
    struct place_set p;

    for (uint32_t nodes = 2; nodes <= (runner_emulated() ? 2 : 3); nodes++) {
        group_open(&p, "trn1.32xlarge", 1, 1, nodes, 0, NULL, 0);
        assert_true(sweep_group(&p.group, plain_ops, 3, 1) > 0);
        group_close(&p);
    }
    (void)state;
}

static void variable_forms(void **state)
{
    static const enum sched_op ops[] = {SCHED_ALL_GATHER_V, SCHED_ALL_TO_ALL_V,
                                        SCHED_REDUCE_SCATTER_V};
    struct place_set p;

    for (unsigned k = 0; k < runner_rounds(200); k++) {
        uint32_t nodes = 1 + draw(3), per = 1 + draw(5), n = nodes * per, slot = 1 + draw(9);
        uint32_t count[15 * 15], sd[15 * 15], rd[15 * 15];
        struct sched_request req = {.op = ops[draw(3)],
                                    .alg = SCHED_MESH,
                                    .elem_size = 4,
                                    .send_count = count,
                                    .send_displ = sd,
                                    .recv_displ = draw(2) ? rd : NULL,
                                    .in_elems = 40,
                                    .out_elems = n * slot,
                                    .in_place = false};

        for (uint32_t i = 0; i < n * n; i++) {
            count[i] = draw(3) ? draw(slot + 1) : 0;
            if (req.op == SCHED_REDUCE_SCATTER_V && i >= n)
                count[i] = count[i % n]; /* terms of one sum are equally long */
            sd[i] = draw(40 - count[i]);
            rd[i] = (n - 1 - i % n) * slot; /* the reverse of the default order */
        }
        group_open(&p, "trn1.32xlarge", 1, 1, nodes, per, NULL, 0);
        req.group = &p.group;
        assert_true(run(&req, "variable"));
        group_close(&p);
    }
    (void)state;
}

static void permutes(void **state)
{
    struct place_set p;

    for (unsigned k = 0; k < runner_rounds(100); k++) {
        uint32_t n = 2 + draw(7), len = 1 + draw(n);
        struct topo_pair pairs[16];
        uint64_t count = draw(300);
        struct sched_request req = {.op = SCHED_PERMUTE,
                                    .alg = SCHED_PAIRS,
                                    .tensors = 1,
                                    .counts = &count,
                                    .elem_size = 4,
                                    .in_place = draw(2),
                                    .pairs = pairs,
                                    .pair_count = len};

        for (uint32_t i = 0; i < len; i++) /* one cycle over the first ranks, all on one chip */
            pairs[i] = (struct topo_pair){i, (i + 1) % len};
        group_open(&p, "trn2.48xlarge", 1, 1, 1, n, NULL, 0);
        req.group = &p.group;
        assert_true(run(&req, "permute"));
        group_close(&p);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node),   cmocka_unit_test(several_nodes),
        cmocka_unit_test(flat_rings), cmocka_unit_test(variable_forms),
        cmocka_unit_test(permutes),
    };

    rng = seed_take(20);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
