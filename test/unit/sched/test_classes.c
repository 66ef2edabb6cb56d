/* SPDX-License-Identifier: Apache-2.0 */
/* sched_class against the steps: the streams of all ranks of a class are equal when ranks are named
 * in the order of their appearance, offsets are left out, operands of a reduction are a set, and
 * what was moved between two signals is added up. And there are few classes where chunks are even.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/sched.h"
#include "topo/group.h"

struct names {
    uint32_t of[4096];
    uint32_t count;
};

static uint32_t name_of(struct names *n, uint32_t rank)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (n->of[i] == rank)
            return i;
    n->of[n->count] = rank;
    return n->count++;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

/* Sums of what moved, per kind of step and pair of buffers: independent of order and joining. */
static uint64_t data_print(const struct sched_step *step, const struct topo_group *g, uint32_t me)
{
    uint64_t h = 0, refs = 0;

    for (unsigned i = 0; i < step->nsrc; i++) {
        const struct sched_ref *r = &step->src[i];

        refs += mix(1, r->buf * 4u + (r->rank == me ? 0 : g->node[r->rank] == g->node[me] ? 1 : 2));
    }
    for (unsigned i = 0; i < step->ndst; i++) {
        const struct sched_ref *r = &step->dst[i];

        refs += mix(2, r->buf * 4u + (r->rank == me ? 0 : g->node[r->rank] == g->node[me] ? 1 : 2));
    }
    h = mix(h, step->kind);
    h = mix(h, refs);
    return h * step->count * step->repeat;
}

static uint64_t stream_print(const struct sched *s, uint32_t rank)
{
    const struct topo_group *g = sched_request_of(s)->group;
    uint64_t h = 1, data = 0;

    for (uint32_t c = 0; c < sched_channels(s); c++) {
        const struct sched_step *step;
        struct names names = {.count = 0};
        struct sched_iter *it;
        uint64_t expects = 0;

        assert_int_equal(sched_iter_create(s, rank, c, &it), NRT_SUCCESS);
        name_of(&names, rank);
        while ((step = sched_iter_next(it))) {
            switch (step->kind) {
            case SCHED_COPY:
            case SCHED_REDUCE:
                data += data_print(step, g, rank);
                break;
            case SCHED_EXPECT: /* in no order */
                expects += mix(mix(7, step->sem), step->value);
                break;
            default:
                h = mix(h, data);
                data = 0;
                h = mix(h, step->kind * 16u + step->sem);
                h = mix(h, name_of(&names, step->peer));
                h = mix(h, step->value);
                h = mix(h, step->count);
                break;
            }
        }
        h = mix(mix(h, data), expects);
        data = 0;
        sched_iter_destroy(it);
    }
    return h;
}

/* Number of classes; fails when two ranks of one class differ. 0: the algorithm cannot. */
static uint32_t check(const struct sched_request *req)
{
    struct err err = {0};
    struct sched *s;
    uint32_t count, sizes = 0;
    NRT_STATUS st = sched_create(req, &s, &err);

    if (st == NRT_FAILURE)
        return 0;
    if (st)
        fail_msg("%s", err.text);
    count = sched_class_count(s);
    for (uint32_t k = 0; k < count; k++) {
        assert_int_equal(sched_class(s, sched_class_rank(s, k)), k);
        sizes += sched_class_size(s, k);
    }
    assert_int_equal(sizes, sched_ranks(s));
    for (uint32_t r = 0; r < sched_ranks(s); r++) {
        uint32_t first = sched_class_rank(s, sched_class(s, r));

        assert_true(first <= r);
        if (first != r && stream_print(s, first) != stream_print(s, r))
            fail_msg("%s by %s (%s, %s) %s, %u ranks on %u nodes: rank %u is not like %u",
                     sched_op_name(req->op), sched_alg_name(req->alg), sched_alg_name(req->intra),
                     sched_alg_name(req->inter), sched_variant_name(req->variant), sched_ranks(s),
                     req->group->nodes, r, first);
    }
    sched_destroy(s);
    return count;
}

struct kit {
    struct topo_fabric fabric;
    struct topo_world world;
    struct topo_group group;
};

static void kit_open(struct kit *k, const char *type, unsigned lnc, uint32_t nodes, uint32_t per)
{
    struct err err = {0};

    memset(k, 0, sizeof(*k));
    if (topo_fabric_init(&k->fabric, topo_instance_find(type), 1, &err) ||
        topo_world_init(&k->world, &k->fabric, lnc, nodes, per, &err) ||
        topo_group_init(&k->group, &k->world, NULL, 0, &err))
        fail_msg("%s", err.text);
}

static const enum sched_op ops[] = {SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER, SCHED_ALL_REDUCE,
                                    SCHED_ALL_TO_ALL, SCHED_BARRIER};

static void all_algorithms(const struct topo_group *g, uint64_t per_rank)
{
    for (unsigned o = 0; o < 5; o++)
        for (int alg = 0; alg < SCHED_ALG_COUNT; alg++)
            for (int variant = 0; variant < SCHED_VARIANT_COUNT; variant++)
                for (int pair = 0; pair < (alg == SCHED_HIER ? 9 : 1); pair++) {
                    static const enum sched_alg stages[] = {SCHED_RING, SCHED_MESH, SCHED_RDH};
                    uint64_t count = ops[o] == SCHED_ALL_REDUCE || ops[o] == SCHED_ALL_TO_ALL
                                         ? per_rank * g->n
                                         : per_rank;
                    struct sched_request req = {.op = ops[o],
                                                .alg = (enum sched_alg)alg,
                                                .variant = (enum sched_variant)variant,
                                                .intra = stages[pair % 3],
                                                .inter = stages[pair / 3],
                                                .group = g,
                                                .tensors = ops[o] != SCHED_BARRIER,
                                                .counts = &count,
                                                .elem_size = 4,
                                                .chunk_bytes = 512};

                    (void)check(&req);
                }
}

static void classes_are_alike(void **state)
{
    static const struct {
        const char *type;
        unsigned lnc;
        uint32_t nodes, per;
    } worlds[] = {
        {"trn2.48xlarge", 2, 1, 64}, {"trn2.48xlarge", 2, 1, 4},  {"trn2.48xlarge", 2, 1, 7},
        {"trn1.32xlarge", 1, 1, 32}, {"trn1.32xlarge", 1, 2, 32}, {"trn1.32xlarge", 1, 8, 1},
        {"trn1.32xlarge", 1, 6, 1},  {"trn1.32xlarge", 1, 4, 8},  {"trn1.32xlarge", 1, 3, 5},
        {"inf2.24xlarge", 1, 1, 12},
    };

    for (unsigned i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++) {
        struct kit k;

        kit_open(&k, worlds[i].type, worlds[i].lnc, worlds[i].nodes, worlds[i].per);
        all_algorithms(&k.group, 0);
        all_algorithms(&k.group, 16 * 3);
        if (k.group.n <= 12) /* several rounds */
            all_algorithms(&k.group, 16 * 37);
        all_algorithms(&k.group, 13); /* not even: chunks are cut in units of 64 bytes */
        topo_group_fini(&k.group);
    }
    (void)state;
}

static void even_rings_have_one_class(void **state)
{
    uint64_t count = 64 * 1024 * 16;
    struct sched_request req = {
        .op = SCHED_ALL_REDUCE, .alg = SCHED_RING, .tensors = 1, .counts = &count, .elem_size = 4};
    struct kit k;

    kit_open(&k, "trn2.48xlarge", 2, 1, 64);
    req.group = &k.group;
    assert_int_equal(check(&req), 1);
    req.alg = SCHED_KANGARING; /* primaries of channels 0 and 2, and of 1 and 3 */
    assert_int_equal(check(&req), 2);
    req.alg = SCHED_MESH; /* local ranks 0 to 3 */
    assert_int_equal(check(&req), 4);
    req.alg = SCHED_RDH;
    assert_int_equal(check(&req), 1);
    count = 64 * 16 + 16; /* the last chunks are shorter */
    req.alg = SCHED_RING;
    assert_int_equal(check(&req), 64);
    topo_group_fini(&k.group);
    (void)state;
}

/* In an exchange of all with all a rank's place in its node says which peers are on other nodes; if
 * its node's ranks follow each other. */
static void nodes_of_an_exchange_are_alike(void **state)
{
    static const struct {
        uint32_t list[8], classes;
    } lists[] = {{{0, 1, 2, 3, 4, 5, 6, 7}, 4},
                 {{5, 7, 4, 6, 1, 3, 0, 2}, 4},
                 {{0, 4, 1, 5, 2, 6, 3, 7}, 8},
                 {{7, 0, 1, 2, 3, 4, 5, 6}, 8}};
    uint64_t count = 8 * 16;
    struct sched_request req = {
        .op = SCHED_ALL_TO_ALL, .alg = SCHED_MESH, .tensors = 1, .counts = &count, .elem_size = 4};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct err err = {0};
        struct kit k;

        kit_open(&k, "trn1.32xlarge", 1, 2, 4);
        topo_group_fini(&k.group);
        if (topo_group_init(&k.group, &k.world, lists[i].list, 8, &err))
            fail_msg("%s", err.text);
        req.group = &k.group;
        assert_int_equal(check(&req), lists[i].classes);
        req.in_place = true;
        assert_int_equal(check(&req), lists[i].classes);
        req.in_place = false;
        topo_group_fini(&k.group);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(classes_are_alike),
                                       cmocka_unit_test(even_rings_have_one_class),
                                       cmocka_unit_test(nodes_of_an_exchange_are_alike)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
