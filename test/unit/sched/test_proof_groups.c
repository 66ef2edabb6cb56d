/* SPDX-License-Identifier: Apache-2.0 */
/* Proofs on every type of the table of instances, with groups that are parts of it: some devices,
 * some cores of each, any cores, on one node or several, in any order.
 *
 *     test_sched_proof_groups [GROUPS [RANKS]]
 *
 * GROUPS of each type and size of logical cores (24), of at most RANKS ranks (20). Each gets every
 * operation by every algorithm and variant once, with drawn sizes. OPENNRT_SEED replays a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proof.h"

#define RANKS_MOST 64

static uint32_t groups = 24, most = 20;
static struct proof_random rnd;

static struct {
    unsigned long proved, unsupported;
    bool met[SCHED_OP_COUNT][SCHED_ALG_COUNT];
} run;

static uint32_t draw(uint32_t below)
{
    return proof_draw(&rnd, below);
}

/* ---- what is proved ---- */

static void case_prove(struct sched_request req)
{
    struct proof_case c;
    struct err err = {0};
    char text[400];

    proof_request_vary(&req, &rnd);
    proof_case_init(&c, &req, draw(PROOF_SIZES), &rnd);
    switch (proof_run(&c, NULL, &err)) {
    case PROOF_WRONG:
        proof_case_text(&c, text, sizeof(text));
        for (uint32_t i = 0; i < req.group->n; i++)
            print_message("%s%u", i ? "," : "world ranks ", req.group->rank[i]);
        fail_msg("\n%s: %s", text, err.text);
        break;
    case PROOF_UNSUPPORTED:
        run.unsupported++;
        break;
    case PROOF_PROVED:
        run.proved++;
        run.met[req.op][req.alg] |= req.group->n > 1;
    }
    proof_case_fini(&c);
}

static void group_prove(const struct topo_group *g)
{
    for (int op = 0; op < SCHED_OP_COUNT; op++)
        for (int alg = 0; alg < SCHED_ALG_COUNT; alg++)
            for (int v = 0; v < SCHED_VARIANT_COUNT; v++) {
                struct sched_request req = {.op = (enum sched_op)op,
                                            .alg = (enum sched_alg)alg,
                                            .variant = (enum sched_variant)v,
                                            .group = g,
                                            .in_place = draw(2)};

                for (unsigned pair = 0; pair < (alg == SCHED_HIER ? 4 : 1); pair++) {
                    req.intra = (enum sched_alg)draw(SCHED_RDH + 1);
                    req.inter = (enum sched_alg)draw(SCHED_RDH + 1);
                    case_prove(req);
                }
            }
}

/* ---- which groups ---- */

enum style { WHOLE_CHIPS, PARTS_OF_CHIPS, ANY_CORES, STYLES };

/* Which logical cores of a node are in, true for at least one and at most `limit`. */
static void cores_choose(bool *in, uint32_t chips, uint32_t cores, enum style style, uint32_t limit)
{
    uint32_t keep = style == WHOLE_CHIPS ? cores : 1 + draw(cores), room, want;
    uint32_t order[TOPO_MAX_CHIPS];

    if (keep > limit)
        keep = limit;
    if (style == ANY_CORES) {
        for (uint32_t k = 1 + draw(limit); k > 0; k--)
            in[draw(chips * cores)] = true;
        return;
    }
    for (uint32_t i = 0; i < chips; i++)
        order[i] = i;
    proof_list_shuffle(order, chips, &rnd);
    room = limit / keep < chips ? limit / keep : chips;
    want = draw(2) ? 1u << draw(3) : 1 + draw(room);
    for (uint32_t i = 0; i < want && i < room; i++)
        for (uint32_t c = 0; c < keep; c++)
            in[order[i] * cores + c] = true;
}

static void one_group(struct proof_world w, enum style style, uint32_t limit)
{
    const struct topo_instance *type = topo_instance_find(w.type);
    uint32_t cores = type->cores_per_device / w.lnc,
             chips = (uint32_t)type->device_count * w.servers;
    uint32_t per_node = chips * cores, n = 0, list[RANKS_MOST];
    bool *in = calloc(per_node, sizeof(*in));
    struct proof_group g;

    assert_non_null(in);
    cores_choose(in, chips, cores, style, limit / w.nodes);
    for (uint32_t x = 0; x < w.nodes; x++) /* the same local cores on every node */
        for (uint32_t i = 0; i < per_node; i++)
            if (in[i])
                list[n++] = x * per_node + i;
    assert_true(n >= 1 && n <= limit);
    if (draw(4))
        proof_list_shuffle(list, n, &rnd);
    proof_group_list(&g, &w, list, n);
    group_prove(&g.group);
    proof_group_fini(&g);
    free(in);
}

static void type_prove(const struct topo_instance *type, unsigned lnc)
{
    unsigned long before = run.proved;
    bool network = strcmp(type->family, "Inf2") != 0;

    for (uint32_t k = 0; k < groups; k++) {
        struct proof_world w = {.type = type->name, .lnc = (uint8_t)lnc, .servers = 1, .nodes = 1};

        if (type->servers > 1 && k % 2)
            w.servers = type->servers <= 4 && k % 4 == 1 ? type->servers : 2;
        if (network && k % 4 >= 2)
            w.nodes = 2 + draw(3);
        one_group(w, (enum style)(k % STYLES), most);
    }
    print_message("%s, logical cores of %u: %lu proved\n", type->name, lnc, run.proved - before);
}

static void every_type(void **state)
{
    const struct topo_instance *type;

    for (unsigned i = 0; (type = topo_instance_at(i)); i++)
        for (unsigned lnc = 1; lnc <= type->lnc_max; lnc++)
            type_prove(type, lnc);
    (void)state;
}

static void nothing_was_refused(void **state)
{
    static const enum sched_alg algs[] = {SCHED_RING, SCHED_MESH, SCHED_KANGARING, SCHED_RDH,
                                          SCHED_HIER};

    print_message("%lu proved, %lu not supported\n", run.proved, run.unsupported);
    for (int op = SCHED_ALL_GATHER; op <= SCHED_ALL_REDUCE; op++)
        for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++)
            if (!run.met[op][algs[i]])
                fail_msg("%s %s was never accepted", sched_op_name((enum sched_op)op),
                         sched_alg_name(algs[i]));
    assert_true(run.met[SCHED_ALL_REDUCE][SCHED_MESH_ONE]);
    assert_true(run.met[SCHED_ALL_TO_ALL][SCHED_MESH_TWO]);
    for (int op = SCHED_ALL_GATHER_V; op <= SCHED_REDUCE_SCATTER_V; op++)
        assert_true(run.met[op][SCHED_MESH]);
    assert_true(run.met[SCHED_PERMUTE][SCHED_PAIRS] && run.met[SCHED_SENDRECV][SCHED_PAIRS]);
    (void)state;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),
        cmocka_unit_test(nothing_was_refused),
    };

    if (argc > 1)
        groups = (uint32_t)atoi(argv[1]);
    if (argc > 2)
        most = (uint32_t)atoi(argv[2]);
    if (most < 4 || most > RANKS_MOST) {
        fprintf(stderr, "usage: %s [GROUPS [RANKS, 4 to %u]]\n", argv[0], RANKS_MOST);
        return 2;
    }
    rnd = proof_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
