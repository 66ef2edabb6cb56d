/* SPDX-License-Identifier: Apache-2.0 */
#include "proof.h"
#include "seed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

uint32_t proof_draw(struct proof_random *r, uint32_t below)
{
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((r->state >> 33) * below) >> 31);
}

struct proof_random proof_seed(void)
{
    return (struct proof_random){seed_take(20260828)};
}

/* ---- groups ---- */

void proof_group_list(struct proof_group *g, const struct proof_world *w, const uint32_t *list,
                      uint32_t n)
{
    struct err err = {0};

    memset(g, 0, sizeof(*g));
    if (topo_fabric_init(&g->fabric, topo_instance_find(w->type), w->servers ? w->servers : 1,
                         &err) != NRT_SUCCESS ||
        topo_world_init(&g->world, &g->fabric, w->lnc, w->nodes, w->per_node, &err) !=
            NRT_SUCCESS ||
        topo_group_init(&g->group, &g->world, list, n, &err) != NRT_SUCCESS)
        fail_msg("%s: %s", w->type, err.text);
}

void proof_list_shuffle(uint32_t *list, uint32_t n, struct proof_random *r)
{
    for (uint32_t i = n; i > 1; i--) {
        uint32_t k = proof_draw(r, i), t = list[i - 1];

        list[i - 1] = list[k];
        list[k] = t;
    }
}

void proof_group_init(struct proof_group *g, const struct proof_world *w, struct proof_random *r)
{
    uint32_t n = w->nodes * (w->servers ? w->servers : 1) * w->per_node;
    uint32_t *list = malloc(n * sizeof(*list));

    assert_non_null(list);
    for (uint32_t i = 0; i < n; i++)
        list[i] = i;
    if (w->shuffled)
        proof_list_shuffle(list, n, r);
    proof_group_list(g, w, list, n);
    assert_int_equal(g->world.ranks, n);
    free(list);
}

void proof_group_fini(struct proof_group *g)
{
    topo_group_fini(&g->group);
}

/* ---- requests ---- */

static uint64_t size_of(unsigned size, uint64_t n, struct proof_random *r)
{
    switch (size) {
    case 0:
        return 0;
    case 1:
        return 1;
    case 2:
        return n - 1;
    case 3:
        return n;
    case 4:
        return n + 1;
    case 5:
        return 8 * n + 3;
    case 6:
        return 64 * n;
    case 7:
        return 1 + proof_draw(r, 4000);
    default:
        return 100 + proof_draw(r, 100);
    }
}

/* Rows: N * N send counts, send places, receive places. Blocks lie one after another with gaps, in
 * an order that differs from rank to rank. */
static void table_fill(struct proof_case *c, uint32_t n, unsigned size, struct proof_random *r)
{
    size_t cells = (size_t)n * n;
    bool gather = c->req.op == SCHED_ALL_GATHER_V, sum = c->req.op == SCHED_REDUCE_SCATTER_V;
    bool placed = proof_draw(r, 2);
    uint32_t most = 1 + (uint32_t)size * 3, *count, *from, *to;

    c->table = calloc(3 * cells, sizeof(*c->table));
    assert_non_null(c->table);
    count = c->table;
    from = count + cells;
    to = from + cells;
    c->req.in_elems = c->req.out_elems = (uint64_t)n * (most + 4);
    for (uint32_t s = 0; s < n; s++)
        for (uint32_t d = 0; d < n; d++) {
            size_t i = (size_t)s * n + d;

            if (gather && d) { /* one block for all; only column 0 is read */
                count[i] = 12345;
                from[i] = 54321;
            } else {
                count[i] = proof_draw(r, 3) ? proof_draw(r, most) : 0;
                if (sum && s > 0)
                    count[i] = count[d]; /* terms of one sum are equally long */
                from[i] = (s + d) % n * (most + 4) + proof_draw(r, 4);
            }
            to[(size_t)d * n + s] = (s * 3 + d) % n * (most + 4) + proof_draw(r, 4);
        }
    /* (3 s + d) mod n must differ for every s, else blocks would meet. */
    for (uint32_t s = 0; n % 3 == 0 && s < n; s++)
        for (uint32_t d = 0; d < n; d++)
            to[(size_t)d * n + s] = (s + d) % n * (most + 4) + 1;
    c->req.send_count = count;
    c->req.send_displ = from;
    c->req.recv_displ = placed ? to : NULL;
    c->req.tensors = 1;
}

/* Swaps inside the chip order, a self pair where one is left over; or nobody. */
static void pairs_fill(struct proof_case *c, uint32_t n, unsigned size)
{
    c->pairs = calloc(n, sizeof(*c->pairs));
    assert_non_null(c->pairs);
    for (uint32_t i = 0; i < n; i++)
        c->pairs[i] = (struct topo_pair){i, (i ^ 1) < n ? i ^ 1 : i};
    c->req.pairs = c->pairs;
    c->req.pair_count = size % 3 == 2 ? n / 2 / 2 * 2 : n; /* some ranks are in no pair */
    c->req.tensors = 1;
}

void proof_request_vary(struct sched_request *req, struct proof_random *r)
{
    static const uint8_t sizes[] = {1, 2, 4, 8};

    req->elem_size = sizes[proof_draw(r, 4)];
    req->channels = proof_draw(r, 2);
    if (proof_draw(r, 2)) { /* several rounds */
        req->chunk_bytes = 64u << proof_draw(r, 3);
        req->slices = 1 + proof_draw(r, 3);
        req->slots = req->slices + 1 + proof_draw(r, 3);
    }
    req->pipeline = proof_draw(r, 5);
}

void proof_case_init(struct proof_case *c, const struct sched_request *req, unsigned size,
                     struct proof_random *r)
{
    uint32_t n = req->group->n;

    memset(c, 0, sizeof(*c));
    c->req = *req;
    for (unsigned t = 0; t < PROOF_TENSORS; t++) {
        c->counts[t] = size_of(t ? proof_draw(r, 6) : size, n, r);
        if (req->op == SCHED_ALL_TO_ALL)
            c->counts[t] *= n;
    }
    switch (req->op) {
    case SCHED_BARRIER:
        c->req.tensors = 0;
        break;
    case SCHED_ALL_GATHER_V:
    case SCHED_ALL_TO_ALL_V:
    case SCHED_REDUCE_SCATTER_V:
        table_fill(c, n, size, r);
        break;
    case SCHED_PERMUTE:
        pairs_fill(c, n, size);
        break;
    case SCHED_SENDRECV:
        c->req.tensors = 1;
        break;
    default:
        c->req.tensors = proof_draw(r, 3) ? 1 : 1 + proof_draw(r, PROOF_TENSORS);
    }
}

void proof_case_fini(struct proof_case *c)
{
    free(c->table);
    free(c->pairs);
}

void proof_case_text(const struct proof_case *c, char *text, size_t size)
{
    const struct sched_request *q = &c->req;
    char hier[64] = "";

    if (q->alg == SCHED_HIER)
        snprintf(hier, sizeof(hier), " (%s, %s)", sched_alg_name(q->intra),
                 sched_alg_name(q->inter));
    snprintf(text, size,
             "%s %s%s %s%s: %u ranks on %u nodes of %s, %u tensors, count %llu, %u bytes, %u "
             "channels, chunk %u, slots %u, slices %u",
             sched_op_name(q->op), sched_alg_name(q->alg), hier, sched_variant_name(q->variant),
             q->in_place ? " in place" : "", q->group->n, q->group->nodes,
             q->group->world.fabric.type->name, q->tensors, (unsigned long long)c->counts[0],
             q->elem_size, q->channels, q->chunk_bytes, q->slots, q->slices);
}

enum proof_outcome proof_run(const struct proof_case *c, struct sched_counts *counts,
                             struct err *err)
{
    struct sched_request req = c->req;
    struct sched_check_source source;
    struct sched_violation v;
    struct sched *s;
    NRT_STATUS status;

    req.counts = c->counts;
    status = sched_create(&req, &s, err);
    if (status == NRT_FAILURE)
        return PROOF_UNSUPPORTED;
    if (status != NRT_SUCCESS)
        return PROOF_WRONG;
    if (sched_check_open(s, &source) != NRT_SUCCESS)
        fail_msg("no memory");
    status = sched_check(&req, sched_ranks(s), sched_channels(s), &source, NULL, &v, counts, err);
    sched_check_close(&source);
    sched_destroy(s);
    return status == NRT_SUCCESS ? PROOF_PROVED : PROOF_WRONG;
}
