/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON inputs of nccom-test: the bytes are read as each of them. What is read is consistent: a
 * case made of it has tables within its tensors, and golden elements can be computed. */
#include <stdint.h>
#include <stdlib.h>

#include "nccom-test/data.h"

#define RANKS 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every block of every rank lies inside the tensors. */
static void tables_check(const struct cc_case *c)
{
    const struct cc_tables *t = &c->tables;

    for (size_t i = 0; i < (size_t)c->ranks * c->n; i++)
        if (t->send_displ[i] + (uint64_t)t->send_count[i] > c->in[0] ||
            t->recv_displ[i] + (uint64_t)t->recv_count[i] > c->out[0])
            abort();
}

static void metadata_use(const struct cc_metadata *m, enum cc_op op)
{
    struct cc_options o;
    struct cc_groups g;
    struct cc_case c;
    struct err err = {.status = NRT_SUCCESS};

    cc_options_init(&o);
    o.all.op = op;
    if (cc_groups_make(&g, RANKS, RANKS, &err) != NRT_SUCCESS)
        return;
    if (cc_case_make(&c, &o.all, 1000, &g, m, RANKS, &err) == NRT_SUCCESS) {
        struct cc_data d = {.c = &c, .groups = &g.list[0], .check = CC_CHECK_RANDOM};

        tables_check(&c);
        for (uint32_t r = 0; r < RANKS; r++)
            (void)cc_data_golden(&d, r, 0, c.out[0] / 2);
        cc_case_fini(&c);
    } else if (err.text[0] == '\0') {
        abort();
    }
    cc_groups_fini(&g);
}

static void groups_use(const struct cc_groups *g)
{
    uint32_t group, position;

    for (unsigned i = 0; i < g->count; i++)
        for (uint32_t k = 0; k < g->list[i].groups * g->list[i].size; k++)
            if (!cc_rank_place(&g->list[i], g->list[i].ranks[k], &group, &position) ||
                group * g->list[i].size + position != k)
                abort(); /* a rank in two places */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cc_stream streams[CC_STREAMS_MAX];
    struct cc_options o;
    struct cc_groups g;
    struct cc_pairs p;
    struct cc_metadata m;
    struct err err = {.status = NRT_SUCCESS};
    unsigned n;

    cc_options_init(&o);
    o.ranks = RANKS;
    if (cc_groups_read(&g, "x", data, size, RANKS, &err) == NRT_SUCCESS) {
        groups_use(&g);
        cc_groups_fini(&g);
    }
    if (cc_pairs_read(&p, "x", data, size, RANKS, NULL) == NRT_SUCCESS)
        cc_pairs_fini(&p);
    if (cc_metadata_read(&m, "x", data, size, NULL) == NRT_SUCCESS) {
        metadata_use(&m, CC_ALL_TO_ALL_V);
        metadata_use(&m, CC_ALL_GATHER_V);
        cc_metadata_fini(&m);
    }
    if (cc_streams_read(streams, &n, &o.all, "x", data, size, NULL) == NRT_SUCCESS)
        for (unsigned i = 0; i < n; i++)
            (void)cc_stream_check(&streams[i], &o, NULL);
    return 0;
}
