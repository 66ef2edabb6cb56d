/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives between tiles in SBUF: drawn shapes, steps, places and types. A program brings its
 * tiles from HBM, starts the operation and takes both tiles back, so that every byte of them is
 * looked at, those between the elements too. The oracle is the definition of each operation
 * (docs/spec/collectives.md 2) in loops over rows and columns; values are small whole numbers, so
 * that sums are exact in every order and type. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "base/dtype.h"
#include "coll_ranks.h"
#include "draw.h"
#include "models.h"
#include "neff/asm.h"
#include "runner.h"
#include "seed.h"

#define RANKS_MOST 4u
#define TIMES      2u /* executions of each case: the second one finds the copies of the first */

enum op { GATHER, SCATTER, REDUCE, OPS };

/* A tile in SBUF: so many partitions from `part` on, `width` elements each; the operation's are
 * every step-th of them. */
struct tile {
    unsigned part, rows, cols, step, width, byte;
};

struct tile_case {
    enum op op;
    enum dtype dtype;
    unsigned ranks, lnc, core; /* core: the one of LNC 2 that has the tiles */
    unsigned reduce;           /* 0 add, 1 min, 2 max */
    bool in_place;
    unsigned rows, cols, across; /* of a block; blocks over the partitions of the larger side */
    struct tile in, out;
    uint64_t seed;
};

static unsigned draw(uint64_t *s, unsigned below)
{
    *s = draw_mix(*s + 1);
    return (unsigned)(*s % below);
}

/* ---- drawing ---- */

static struct tile tile_draw(unsigned rows, unsigned cols, unsigned elem, unsigned byte,
                             uint64_t *s)
{
    struct tile t = {.rows = rows, .cols = cols, .step = 1 + draw(s, 3)};

    t.width = (cols - 1) * t.step + 1 + draw(s, 3);
    t.part = draw(s, 129 - rows);
    t.byte = byte + elem * draw(s, 50);
    return t;
}

static struct tile_case case_draw(uint64_t seed, unsigned lnc)
{
    static const enum dtype types[] = {DT_FP32,  DT_BF16,   DT_FP16,  DT_INT32,
                                       DT_UINT8, DT_UINT16, DT_UINT32};
    uint64_t s = draw_mix(seed);
    struct tile_case c = {.op = (enum op)draw(&s, OPS),
                          .dtype = types[draw(&s, sizeof(types) / sizeof(types[0]))],
                          .ranks = 1 + draw(&s, RANKS_MOST),
                          .lnc = lnc,
                          .core = draw(&s, lnc),
                          .reduce = draw(&s, 3),
                          .seed = seed};
    unsigned elem = (unsigned)dtype_size(c.dtype), large;

    c.in_place = c.op == REDUCE && draw(&s, 2);
    do
        c.across = 1 + draw(&s, c.ranks);
    while (c.op == REDUCE ? c.across != 1 : c.ranks % c.across != 0);
    c.rows = 1 + draw(&s, 128 / c.across);
    c.cols = 1 + draw(&s, 40);
    large = c.op == REDUCE ? c.cols : c.ranks / c.across * c.cols;
    c.in = tile_draw(c.op == SCATTER ? c.rows * c.across : c.rows, c.op == SCATTER ? large : c.cols,
                     elem, 0, &s);
    c.out = tile_draw(c.op == GATHER ? c.rows * c.across : c.rows, c.op == GATHER ? large : c.cols,
                      elem, 8192, &s);
    if (c.in_place)
        c.out = c.in;
    return c;
}

/* ---- the NEFF ---- */

static void tile_put(struct strbuf *t, const char *name, const struct tile *x, const char *type)
{
    strbuf_printf(t, "tile %s: sbuf %s[%u, %u] @ %u part=%u\n", name, type, x->rows, x->width,
                  x->byte, x->part);
}

static struct bytes case_neff(const struct tile_case *c)
{
    static const char *const ops[OPS] = {"all_gather(", "reduce_scatter(", "all_reduce("};
    static const char *const reduces[] = {"add, ", "min, ", "max, "};
    const char *type = dtype_name(c->dtype), *o = c->in_place ? "I" : "O";
    struct neff_asm_options options = {.file = "tiles"};
    struct neff_error error = {0};
    struct neff_build *b;
    struct strbuf t = {0};

    strbuf_printf(&t, ".name tiles\n.arch v3\n%ssem done, put, got\n",
                  c->lnc == 2 ? ".lnc 2\n" : "");
    strbuf_put(&t, "queue qi: in owner=sp n=16\nqueue qo: out owner=sp n=16\n");
    tile_put(&t, "I", &c->in, type);
    if (!c->in_place)
        tile_put(&t, "O", &c->out, type);
    strbuf_printf(&t, "var x: input %s[%u, %u]\n", type, c->in.rows, c->in.width);
    strbuf_printf(&t, "var z: input %s[%u, %u]\n", type, c->out.rows, c->out.width);
    strbuf_printf(&t, "var w: output %s[%u, %u]\n", type, c->in.rows, c->in.width);
    strbuf_printf(&t, "var y: output %s[%u, %u]\n", type, c->out.rows, c->out.width);
    strbuf_printf(&t, "if core == %u {\n", c->core);
    strbuf_printf(&t, "collective k: %s[:, 0:%u:%u] <- %s%sI[:, 0:%u:%u]) ranks=%u\n", o,
                  (c->out.cols - 1) * c->out.step + 1, c->out.step, ops[c->op],
                  c->op == GATHER ? "" : reduces[c->reduce], (c->in.cols - 1) * c->in.step + 1,
                  c->in.step, c->ranks);
    strbuf_printf(&t, "sp: dma on qi -> put {\n%s    I <- x\n}\n", c->in_place ? "" : "O <- z\n");
    strbuf_printf(&t,
                  "wait put >= 16: trigger_collective k, done\n"
                  "wait done >= 1: dma on qo -> got {\n w <- I\n y <- %s\n}\n"
                  "wait got >= 16: end\n",
                  o);
    strbuf_put(&t, "} else {\nsp: end\n}\n");
    if (neff_asm_text(t.s, t.len, &options, &b, NULL, &error) != NRT_SUCCESS)
        fail_msg("%s\n%s", error.text, t.s);
    strbuf_fini(&t);
    return neff_finish(b, NULL);
}

/* ---- values ---- */

enum what { INPUT, BEFORE /* what the output tile holds */ };

static unsigned value(const struct tile_case *c, enum what what, unsigned rank, unsigned row,
                      unsigned at)
{
    return (unsigned)(draw_mix(c->seed ^ draw_mix((uint64_t)what << 56 | (uint64_t)rank << 48 |
                                                  (uint64_t)row << 32 | at)) %
                      (what == INPUT ? 3 : 100));
}

static void store(enum dtype t, uint8_t *to, unsigned v)
{
    uint64_t bits = v;

    if (dtype_is_float(t))
        dtype_store(t, to, (float)v);
    else
        memcpy(to, &bits, dtype_size(t));
}

/* Element (row, col) of a rank's input, which stands at every step-th place. */
static unsigned input(const struct tile_case *c, unsigned rank, unsigned row, unsigned col)
{
    return value(c, INPUT, rank, row, col * c->in.step);
}

static unsigned reduced(const struct tile_case *c, unsigned row, unsigned col)
{
    unsigned acc = input(c, 0, row, col);

    for (unsigned r = 1; r < c->ranks; r++) {
        unsigned v = input(c, r, row, col);

        acc = c->reduce == 0 ? acc + v : (c->reduce == 1) == (v < acc) ? v : acc;
    }
    return acc;
}

static unsigned expected(const struct tile_case *c, unsigned rank, unsigned row, unsigned col)
{
    switch (c->op) {
    case GATHER: /* blocks fill the partitions first, then the free dimension */
        return input(c, col / c->cols * c->across + row / c->rows, row % c->rows, col % c->cols);
    case SCATTER:
        return reduced(c, rank % c->across * c->rows + row, rank / c->across * c->cols + col);
    default:
        return reduced(c, row, col);
    }
}

/* ---- a rank ---- */

struct caller {
    pthread_t thread;
    const struct tile_case *c;
    struct bytes neff;
    unsigned rank;
    NRT_STATUS st;
    char text[128]; /* what was wrong */
};

static void tile_write(const struct tile_case *c, unsigned rank, enum what what, nrt_tensor_t *to)
{
    const struct tile *t = what == INPUT ? &c->in : &c->out;
    size_t elem = dtype_size(c->dtype), size = t->rows * t->width * elem;
    uint8_t *host = malloc(size);

    for (unsigned row = 0; row < t->rows; row++)
        for (unsigned at = 0; at < t->width; at++)
            store(c->dtype, host + (row * t->width + at) * elem, value(c, what, rank, row, at));
    if (nrt_tensor_write(to, host, 0, size) != NRT_SUCCESS)
        abort();
    free(host);
}

/* A tile as the program left it: the operation's elements are its result (of an output), all
 * others as they were. */
static void tile_compare(struct caller *k, bool output, nrt_tensor_t *from)
{
    const struct tile_case *c = k->c;
    const struct tile *t = output ? &c->out : &c->in;
    enum what what = output && !c->in_place ? BEFORE : INPUT;
    bool result = output || c->in_place;
    size_t elem = dtype_size(c->dtype), size = t->rows * t->width * elem;
    uint8_t *host = malloc(size), want[8];

    if (nrt_tensor_read(from, host, 0, size) != NRT_SUCCESS)
        abort();
    for (unsigned row = 0; row < t->rows && !k->text[0]; row++)
        for (unsigned at = 0; at < t->width && !k->text[0]; at++) {
            bool member = result && at % t->step == 0 && at / t->step < t->cols;
            unsigned v =
                member ? expected(c, k->rank, row, at / t->step) : value(c, what, k->rank, row, at);

            store(c->dtype, want, v);
            if (memcmp(want, host + (row * t->width + at) * elem, elem) != 0)
                snprintf(k->text, sizeof(k->text), "%s row %u place %u is not %u",
                         output ? "output" : "input", row, at, v);
        }
    free(host);
}

static size_t tile_bytes(const struct tile_case *c, const struct tile *t)
{
    return (size_t)t->rows * t->width * dtype_size(c->dtype);
}

static void *caller_thread(void *arg)
{
    struct caller *k = arg;
    const struct tile_case *c = k->c;
    nrt_model_t *m;
    struct io io;

    k->st = nrt_load_collectives(k->neff.data, k->neff.size, (int32_t)k->rank, -1, k->rank,
                                 c->ranks, &m);
    if (k->st != NRT_SUCCESS)
        return NULL;
    io_init(&io);
    tile_write(c, k->rank, INPUT, io_add(&io, true, "x", DEV, (int)k->rank, tile_bytes(c, &c->in)));
    tile_write(c, k->rank, BEFORE,
               io_add(&io, true, "z", DEV, (int)k->rank, tile_bytes(c, &c->out)));
    io_add(&io, false, "w", DEV, (int)k->rank, tile_bytes(c, &c->in));
    io_add(&io, false, "y", DEV, (int)k->rank, tile_bytes(c, &c->out));
    for (unsigned i = 0; i < TIMES && k->st == NRT_SUCCESS && !k->text[0]; i++) {
        k->st = nrt_execute(m, io.in, io.out);
        if (k->st == NRT_SUCCESS) {
            tile_compare(k, false, io.t[2]);
            tile_compare(k, true, io.t[3]);
        }
    }
    io_fini(&io);
    if (nrt_unload(m) != NRT_SUCCESS)
        abort();
    return NULL;
}

static void case_run(const struct tile_case *c)
{
    static const char *const ops[OPS] = {"all_gather", "reduce_scatter", "all_reduce"};
    struct bytes f = case_neff(c);
    struct caller k[RANKS_MOST];

    for (unsigned r = 0; r < c->ranks; r++) {
        k[r] = (struct caller){.c = c, .neff = f, .rank = r};
        assert_int_equal(pthread_create(&k[r].thread, NULL, caller_thread, &k[r]), 0);
    }
    for (unsigned r = 0; r < c->ranks; r++)
        pthread_join(k[r].thread, NULL);
    for (unsigned r = 0; r < c->ranks; r++)
        if (k[r].st != NRT_SUCCESS || k[r].text[0])
            fail_msg("OPENNRT_SEED=%llu: %s of %s, %u ranks, LNC %u core %u, blocks of %u x %u, %u "
                     "over the partitions%s, rank %u: status %d %s; log is\n%s",
                     (unsigned long long)c->seed, ops[c->op], dtype_name(c->dtype), c->ranks,
                     c->lnc, c->core, c->rows, c->cols, c->across, c->in_place ? ", in place" : "",
                     r, (int)k[r].st, k[r].text, api_log());
    neff_free(&f);
}

/* The session's communicator is made for the largest world before a smaller model is loaded. */
static void *world_thread(void *arg)
{
    struct caller *k = arg;

    k->st = nrt_build_global_comm((int32_t)k->rank, k->rank, RANKS_MOST);
    return NULL;
}

static void world_make(void)
{
    struct caller k[RANKS_MOST];

    for (unsigned r = 0; r < RANKS_MOST; r++) {
        k[r] = (struct caller){.rank = r};
        assert_int_equal(pthread_create(&k[r].thread, NULL, world_thread, &k[r]), 0);
    }
    for (unsigned r = 0; r < RANKS_MOST; r++) {
        pthread_join(k[r].thread, NULL);
        assert_int_equal(k[r].st, NRT_SUCCESS);
    }
}

static uint64_t seed;
static unsigned cases = 60;

static void tiles_hold_what_the_operation_defines(void **state)
{
    for (unsigned lnc = 1; lnc <= 2; lnc++) {
        api_env("trn2.48xlarge", lnc);
        coll_session(RANKS_MOST);
        world_make();
        for (unsigned i = 0; i < cases / 2; i++) {
            struct tile_case c = case_draw(seed + i, lnc);

            case_run(&c);
        }
        coll_nothing_held(RANKS_MOST);
        nrt_close();
        api_env_end();
    }
    (void)state;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_hold_what_the_operation_defines)};

    if (runner_emulated()) {
        print_message("NOT RUN: several HBMs do not fit an emulator\n");
        return RUNNER_SKIP;
    }
    if (argc > 1)
        cases = (unsigned)atoi(argv[1]);
    seed = seed_take_new();
    return cmocka_run_group_tests_name("api-coll-sbuf", tests, NULL, NULL);
}
