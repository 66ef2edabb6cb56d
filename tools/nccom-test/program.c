/* SPDX-License-Identifier: Apache-2.0 */
/* The NEFF of a rank. The text form declares tensors and programs, the builder the collectives. An
 * engine triggers an operation, waits until it has ended, and triggers the next: so operations of a
 * stream follow each other as dependent ones do, and streams run beside each other. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "isa/isa.h"
#include "job.h"
#include "neff/asm.h"

#define NAME_MAX_BYTES 48
#define GROUPS_MAX     16u /* of a NEFF */

static const char *const engines[CC_STREAMS_MAX] = {"sp", "act", "dve", "pool"};

static uint64_t at_least_one(uint64_t n)
{
    return n > 0 ? n : 1; /* an empty range still lies in a variable */
}

/* ---- the text ---- */

static bool uses_sbuf(const struct cc_job *j, const struct cc_case *cases)
{
    bool used = false;

    for (unsigned s = 0; s < j->stream_count; s++)
        used |= cases[s].tiles.used;
    return used;
}

static void variables_put(struct strbuf *t, const struct cc_job *j, const struct cc_case *cases,
                          uint32_t ops)
{
    char name[NAME_MAX_BYTES];

    if (uses_sbuf(j, cases)) /* the first one: entries_add */
        strbuf_put(t, "var SB: state-buffer\n");
    for (unsigned s = 0; s < j->stream_count; s++) {
        const struct cc_case *c = &cases[s];

        for (uint32_t b = 0; b < cc_job_buffers(j, s, ops); b++)
            for (unsigned p = 0; p < c->parts; p++) {
                cc_tensor_name(name, sizeof(name), s, b, p, "in");
                strbuf_printf(t, "var %s: input %s[%llu]\n", name, dtype_name(c->dtype),
                              (unsigned long long)at_least_one(c->in[p]));
                cc_tensor_name(name, sizeof(name), s, b, p, "out");
                strbuf_printf(t, "var %s: output %s[%llu]\n", name, dtype_name(c->dtype),
                              (unsigned long long)at_least_one(c->out[p]));
            }
        if (cc_op_varies(c->op)) {
            cc_table_name(name, sizeof(name), s);
            strbuf_printf(t, "var %s: input uint32[%u, %u]\n", name,
                          c->tables.has_recv_displ ? 4 : 3, c->n);
        }
    }
}

/* ---- tiles ---- */

/* Where the tiles of buffer b of a stream lie in every partition: all inputs and outputs follow
 * each other. */
static uint64_t tile_at(const struct cc_job *j, const struct cc_case *cases, uint32_t ops,
                        unsigned stream, uint32_t b, bool out)
{
    uint64_t at = 0;

    for (unsigned s = 0; s <= stream; s++) {
        const struct cc_tiles *x = &cases[s].tiles;
        uint32_t n = s < stream ? cc_job_buffers(j, s, ops) : b;

        if (x->used)
            at += n *
                  (cc_tile_bytes(&x->in, cases[s].dtype) + cc_tile_bytes(&x->out, cases[s].dtype));
    }
    return out ? at + cc_tile_bytes(&cases[stream].tiles.in, cases[stream].dtype) : at;
}

/* The last output ends where the tiles end. */
static NRT_STATUS tiles_fit(const struct cc_job *j, const struct cc_case *cases, uint32_t ops,
                            struct err *err)
{
    uint32_t most = isa_sbuf_bytes((enum isa_gen)j->type->arch);
    uint64_t end = tile_at(j, cases, ops, j->stream_count - 1,
                           cc_job_buffers(j, j->stream_count - 1, ops), false);

    return end <= most
               ? NRT_SUCCESS
               : err_set(err, NRT_INVALID,
                         "--sb2sb: the tensors need %llu bytes of each partition, SBUF has %u",
                         (unsigned long long)end, most);
}

/* Copies between a tile and its tensor in HBM; a descriptor for each row where rows are not in
 * neighbouring partitions. */
static void copies_put(struct strbuf *t, const char *tensor, const char *tile,
                       const struct cc_tile *x, bool into_sbuf)
{
    uint64_t end = (x->cols - 1) * x->step + 1, each = x->row_step == 1 ? x->rows : 1;

    for (uint64_t row = 0; row < x->rows; row += each) {
        struct strbuf a = {0}, b = {0};

        strbuf_printf(&a, "%s[%llu +: %llu, 0:%llu:%llu]", tile,
                      (unsigned long long)(row * x->row_step), (unsigned long long)each,
                      (unsigned long long)end, (unsigned long long)x->step);
        strbuf_printf(&b, "%s[%llu +: %llu].reshape(%llu, %llu)", tensor,
                      (unsigned long long)(row * x->cols), (unsigned long long)(each * x->cols),
                      (unsigned long long)each, (unsigned long long)x->cols);
        if (a.failed || b.failed)
            t->failed = true;
        else
            strbuf_printf(t, "        %s <- %s\n", into_sbuf ? a.s : b.s, into_sbuf ? b.s : a.s);
        strbuf_fini(&a);
        strbuf_fini(&b);
    }
}

static void tile_declare(struct strbuf *t, const char *name, const struct cc_tile *x,
                         enum dtype dtype, uint64_t at)
{
    strbuf_printf(t, "tile %s_tile: sbuf %s[%llu, %llu] @ %llu\n", name, dtype_name(dtype),
                  (unsigned long long)((x->rows - 1) * x->row_step + 1),
                  (unsigned long long)((x->cols - 1) * x->step + 1), (unsigned long long)at);
}

static void tiles_declare(struct strbuf *t, const struct cc_job *j, const struct cc_case *cases,
                          uint32_t ops)
{
    char name[NAME_MAX_BYTES];

    for (unsigned s = 0; s < j->stream_count; s++) {
        const struct cc_case *c = &cases[s];

        if (!c->tiles.used)
            continue;
        strbuf_printf(t, "queue in%u: in owner=%s n=16\nqueue out%u: out owner=%s n=16\n", s,
                      engines[s], s, engines[s]);
        strbuf_printf(t, "sem put%u, got%u\n", s, s);
        for (uint32_t b = 0; b < cc_job_buffers(j, s, ops); b++) {
            cc_tensor_name(name, sizeof(name), s, b, 0, "in");
            tile_declare(t, name, &c->tiles.in, c->dtype, tile_at(j, cases, ops, s, b, false));
            cc_tensor_name(name, sizeof(name), s, b, 0, "out");
            tile_declare(t, name, &c->tiles.out, c->dtype, tile_at(j, cases, ops, s, b, true));
        }
    }
}

/* All tiles of a stream come from HBM, or go there. Outputs come, too: a rank in no group gives
 * back what it had. */
static void tiles_move(struct strbuf *t, const struct cc_job *j, const struct cc_case *cases,
                       unsigned s, uint32_t ops, bool into_sbuf)
{
    const char *sem = into_sbuf ? "put" : "got";
    char name[NAME_MAX_BYTES], tile[NAME_MAX_BYTES + 8];

    if (!cases[s].tiles.used)
        return;
    strbuf_printf(t, "    dma on %s%u -> %s%u {\n", into_sbuf ? "in" : "out", s, sem, s);
    for (uint32_t b = 0; b < cc_job_buffers(j, s, ops); b++)
        for (int out = into_sbuf ? 0 : 1; out < 2; out++) {
            cc_tensor_name(name, sizeof(name), s, b, 0, out ? "out" : "in");
            snprintf(tile, sizeof(tile), "%s_tile", name);
            copies_put(t, name, tile, out ? &cases[s].tiles.out : &cases[s].tiles.in, into_sbuf);
        }
    strbuf_printf(t, "    }\n    wait %s%u >= 16\n", sem, s);
}

/* ---- programs ---- */

static void op_put(struct strbuf *t, unsigned s, uint32_t entry)
{
    strbuf_printf(t,
                  "        trigger_collective %u, done%u\n"
                  "        wait done%u >= 1 -> done%u--\n",
                  entry, s, s, s);
}

/* first: index of the stream's first entry of the collectives table. */
static void engine_put(struct strbuf *t, const struct cc_job *j, const struct cc_case *cases,
                       unsigned s, uint32_t ops, uint32_t first)
{
    uint32_t all = ops * j->stream[s].ops_per_iter, buffers = cc_job_buffers(j, s, ops);

    strbuf_printf(t, "%s:\n", engines[s]);
    tiles_move(t, j, cases, s, ops, true);
    strbuf_printf(t, "    for i in 0..%u {\n", all / buffers);
    for (uint32_t b = 0; b < buffers; b++)
        op_put(t, s, first + b);
    strbuf_put(t, "    }\n");
    for (uint32_t b = 0; b < all % buffers; b++)
        op_put(t, s, first + b);
    tiles_move(t, j, cases, s, ops, false);
    strbuf_put(t, "    end\n");
}

static void text_put(struct strbuf *t, const struct cc_job *j, const struct cc_case *cases,
                     uint32_t ops)
{
    uint32_t first = 0;

    strbuf_printf(t, ".name nccom_test\n.arch v%u\n%s", (unsigned)j->type->arch,
                  j->lnc == 2 ? ".lnc 2\n" : "");
    for (unsigned s = 0; s < j->stream_count; s++)
        strbuf_printf(t, "sem done%u\n", s);
    variables_put(t, j, cases, ops);
    tiles_declare(t, j, cases, ops);
    strbuf_put(t, "if core == 0 {\n"); /* the second physical core has nothing to do */
    for (unsigned s = 0; s < j->stream_count; s++) {
        engine_put(t, j, cases, s, ops, first);
        first += cc_job_buffers(j, s, ops);
    }
    strbuf_put(t, "} else {\nsp:\n    end\n}\n");
}

/* ---- the collectives ---- */

const char *cc_job_op(enum cc_op op)
{
    static const char *const names[CC_OP_COUNT] = {
        [CC_ALL_REDUCE] = "all_reduce",     [CC_ALL_GATHER] = "all_gather",
        [CC_ALL_GATHER_V] = "all_gather_v", [CC_REDUCE_SCATTER] = "reduce_scatter",
        [CC_SENDRECV] = "permute",          [CC_ALL_TO_ALL] = "all_to_all",
        [CC_ALL_TO_ALL_V] = "all_to_all_v", [CC_PERMUTE] = "permute"};

    return names[op];
}

/* The groups of one operation: all, or where there are more than a NEFF may have, the rank's own.
 */
static unsigned groups_of(const struct cc_grouping *g, uint32_t rank,
                          struct neff_build_coll_group ret[GROUPS_MAX])
{
    uint32_t own = 0, position;

    if (g->groups > GROUPS_MAX) {
        (void)cc_rank_place(g, rank, &own, &position); /* in none: it takes no part in the first */
        ret[0] = (struct neff_build_coll_group){g->ranks + (size_t)own * g->size, g->size};
        return 1;
    }
    for (uint32_t i = 0; i < g->groups; i++)
        ret[i] = (struct neff_build_coll_group){g->ranks + (size_t)i * g->size, g->size};
    return g->groups;
}

static struct neff_build_coll_range tile_range(const struct cc_tile *x, enum dtype dtype,
                                               uint64_t at)
{
    uint64_t each = dtype_size(dtype);

    return (struct neff_build_coll_range){.var = 0, /* variables_put */
                                          .off = at,
                                          .size = x->rows * x->cols * each,
                                          .partitions = (uint32_t)x->rows,
                                          .partition_step = (uint32_t)x->row_step,
                                          .step = (uint32_t)(x->step * each)};
}

/* One entry of the table. var: of the buffer's first tensor; table: the variable of counts. */
static void entry_add(struct neff_build *b, const struct cc_job *j, const struct cc_case *cases,
                      unsigned s, uint32_t buffer, uint32_t rank, uint32_t ops, int var, int table)
{
    const struct cc_case *c = &cases[s];
    const struct cc_data d = cc_job_data(j, cases, s, buffer);
    struct neff_build_coll_range in[CC_PARTS_MAX], out[CC_PARTS_MAX];
    struct neff_build_coll_group groups[GROUPS_MAX];
    struct neff_build_coll e = {.op = cc_job_op(c->op),
                                .reduce = cc_op_reduces(c->op) ? "add" : NULL,
                                .dtype = dtype_name(c->dtype),
                                .stream = s,
                                .in = in,
                                .out = out,
                                .in_count = c->parts,
                                .out_count = c->parts,
                                .has_metadata = cc_op_varies(c->op),
                                .metadata_var = table};

    for (unsigned p = 0; p < c->parts; p++) {
        in[p] =
            (struct neff_build_coll_range){var + (int)(2 * p), 0, c->in[p] * dtype_size(c->dtype)};
        out[p] = (struct neff_build_coll_range){var + (int)(2 * p) + 1, 0,
                                                c->out[p] * dtype_size(c->dtype)};
    }
    if (c->tiles.used) {
        in[0] = tile_range(&c->tiles.in, c->dtype, tile_at(j, cases, ops, s, buffer, false));
        out[0] = tile_range(&c->tiles.out, c->dtype, tile_at(j, cases, ops, s, buffer, true));
    }
    if (d.pairs != NULL) {
        e.pairs = (const uint32_t(*)[2])d.pairs->pair;
        e.pair_count = d.pairs->count;
    } else {
        e.groups = groups;
        e.group_count = groups_of(d.groups, rank, groups);
    }
    neff_build_collective(b, 0, &e); /* an error sticks to the builder */
}

static void entries_add(struct neff_build *b, const struct cc_job *j, const struct cc_case *cases,
                        uint32_t rank, uint32_t ops)
{
    int var = uses_sbuf(j, cases); /* numbers of variables follow their declaration */

    for (unsigned s = 0; s < j->stream_count; s++) {
        uint32_t buffers = cc_job_buffers(j, s, ops);
        int each = (int)(2 * cases[s].parts), table = var + (int)buffers * each;

        for (uint32_t k = 0; k < buffers; k++, var += each)
            entry_add(b, j, cases, s, k, rank, ops, var, table);
        var += cc_op_varies(cases[s].op);
    }
}

NRT_STATUS cc_job_neff(const struct cc_job *j, const struct cc_case *cases, uint32_t rank,
                       uint32_t ops, void **ret_bytes, size_t *ret_size, struct err *err)
{
    struct neff_asm_options ao = {.file = "nccom-test"};
    struct neff_build_options bo = {.level = 1};
    struct neff_error why = {0};
    struct neff_build *b;
    struct strbuf text = {0};
    NRT_STATUS st;

    if (tiles_fit(j, cases, ops, err) != NRT_SUCCESS)
        return err->status;
    text_put(&text, j, cases, ops);
    if (text.failed) {
        strbuf_fini(&text);
        return err_set(err, NRT_RESOURCE, "out of host memory");
    }
    st = neff_asm_text(text.s, text.len, &ao, &b, NULL, &why);
    strbuf_fini(&text);
    if (st != NRT_SUCCESS)
        return err_set(err, st, "%s", why.text);
    entries_add(b, j, cases, rank, ops);
    st = neff_build_write_memory(b, &bo, ret_bytes, ret_size);
    if (st != NRT_SUCCESS)
        err_set(err, st, "%s", neff_build_error(b));
    neff_build_destroy(b);
    return st;
}
