/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of variable-size collectives are tensors: what stands in them is found out when they run,
 * and may be anything. Wrong ones fail the execution on every rank, change nothing, and the model
 * executes the next ones, with what its program does behind them in the same group. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "coll_ranks.h"
#include "models.h"
#include "proves.h"

#define RANKS 2
#define IN    8u /* elements of the input, and of the output */
#define SLOT  (IN / RANKS)

/* Of every rank: counts and places of the blocks for ranks 0 and 1. */
struct table {
    uint32_t count[RANKS][RANKS], at[RANKS][RANKS];
};

struct job {
    pthread_t thread;
    const char *op;
    unsigned rank;
    struct table wrong, right;
    NRT_STATUS loaded, refused, ran;
    bool kept; /* the outputs, by the refused execution */
    float y[IN], z[IN];
};

/* y: of the operation; z: of the sum of x behind it. */
static struct bytes table_neff(const char *op)
{
    struct neff_build *b = neff_build_create("tables");
    uint64_t n = IN;
    int x = neff_build_input(b, 0, "x", "float32", 1, &n);
    int y = neff_build_output(b, 0, "y", "float32", 1, &n);
    int z = neff_build_output(b, 0, "z", "float32", 1, &n);
    struct neff_build_coll_range in = {x, 0, 4 * n}, out = {y, 0, 4 * n}, sum = {z, 0, 4 * n};
    uint32_t list[RANKS] = {0, 1};
    struct neff_build_coll_group group = {list, RANKS};
    struct neff_build_coll c = coll_floats(op, &group, &in, &out);
    struct neff_build_coll behind = coll_floats("all_reduce", &group, &in, &sum);
    struct prog p;

    if (strcmp(op, "reduce_scatter_v") == 0)
        c.reduce = "add";
    c.has_metadata = true;
    c.metadata_var = neff_build_input(b, 0, "m", "uint32", 2, (uint64_t[]){3, RANKS});
    assert_int_equal(neff_build_collective(b, 0, &c), 0);
    assert_int_equal(neff_build_collective(b, 0, &behind), 1);
    prog_init(&p, ISA_SP);
    coll_prog(&p, 0, 1);
    coll_prog(&p, 1, 2);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

static float value(unsigned rank, uint32_t i)
{
    return (float)(1 + rank * 100 + i);
}

static void put_table(nrt_tensor_t *m, const struct table *t, unsigned rank)
{
    uint32_t row[3 * RANKS] = {0};

    memcpy(row, t->count[rank], sizeof(t->count[rank]));
    memcpy(row + RANKS, t->at[rank], sizeof(t->at[rank]));
    assert_ok(nrt_tensor_write(m, row, 0, sizeof(row)));
}

static void *job_run(void *arg)
{
    struct job *j = arg;
    struct bytes f = table_neff(j->op);
    float x[IN];
    nrt_tensor_t *xt, *yt, *zt, *mt;
    nrt_model_t *m;
    struct io io;

    j->loaded = nrt_load_collectives(f.data, f.size, (int32_t)j->rank, -1, j->rank, RANKS, &m);
    neff_free(&f);
    if (j->loaded != NRT_SUCCESS)
        return NULL;
    io_init(&io);
    xt = io_add(&io, true, "x", DEV, (int)j->rank, sizeof(x));
    mt = io_add(&io, true, "m", DEV, (int)j->rank, 3 * RANKS * sizeof(uint32_t));
    yt = io_add(&io, false, "y", DEV, (int)j->rank, sizeof(j->y));
    zt = io_add(&io, false, "z", DEV, (int)j->rank, sizeof(j->z));
    for (uint32_t i = 0; i < IN; i++)
        x[i] = value(j->rank, i);
    assert_ok(nrt_tensor_write(xt, x, 0, sizeof(x)));
    put_table(mt, &j->wrong, j->rank);
    j->refused = nrt_execute(m, io.in, io.out);
    assert_ok(nrt_tensor_read(yt, j->y, 0, sizeof(j->y)));
    assert_ok(nrt_tensor_read(zt, j->z, 0, sizeof(j->z)));
    j->kept = true;
    for (uint32_t i = 0; i < IN; i++)
        j->kept = j->kept && j->y[i] == 0 && j->z[i] == 0;
    put_table(mt, &j->right, j->rank);
    j->ran = nrt_execute(m, io.in, io.out);
    assert_ok(nrt_tensor_read(yt, j->y, 0, sizeof(j->y)));
    assert_ok(nrt_tensor_read(zt, j->z, 0, sizeof(j->z)));
    io_fini(&io);
    assert_ok(nrt_unload(m));
    return NULL;
}

/* Element i of the output of `me`, as docs/spec/collectives.md 2.1 has it; 0: as it was. */
static float expected(const char *op, const struct table *t, unsigned me, uint32_t i)
{
    unsigned from = i / SLOT, column = strcmp(op, "all_gather_v") == 0 ? 0 : me;

    if (strcmp(op, "reduce_scatter_v") == 0)
        return i < t->count[0][me] ? value(0, t->at[0][me] + i) + value(1, t->at[1][me] + i) : 0;
    return i % SLOT < t->count[from][column] ? value(from, t->at[from][column] + i % SLOT) : 0;
}

static void wrong_then_right(const char *op, const struct table *wrong, const char *text)
{
    static const struct table right = {{{2, 3}, {2, 3}}, {{1, 4}, {6, 0}}};
    struct job j[RANKS] = {0};

    api_log_clear();
    for (unsigned r = 0; r < RANKS; r++) {
        j[r] = (struct job){.op = op, .rank = r, .wrong = *wrong, .right = right};
        assert_int_equal(pthread_create(&j[r].thread, NULL, job_run, &j[r]), 0);
    }
    for (unsigned r = 0; r < RANKS; r++)
        pthread_join(j[r].thread, NULL);
    if (!api_log_has(text))
        fail_msg("%s: \"%s\" is not in the log:\n%s", op, text, api_log());
    for (unsigned r = 0; r < RANKS; r++) {
        assert_int_equal(j[r].loaded, NRT_SUCCESS);
        assert_int_equal(j[r].refused, NRT_INVALID);
        assert_true(j[r].kept);
        assert_int_equal(j[r].ran, NRT_SUCCESS);
        for (uint32_t i = 0; i < IN; i++) {
            if (j[r].y[i] != expected(op, &right, r, i))
                fail_msg("%s: element %u at rank %u is %g, not %g", op, i, r, (double)j[r].y[i],
                         (double)expected(op, &right, r, i));
            if (j[r].z[i] != value(0, i) + value(1, i))
                fail_msg("the sum behind %s: element %u at rank %u is %g, not %g", op, i, r,
                         (double)j[r].z[i], (double)(value(0, i) + value(1, i)));
        }
    }
}

static void wrong_tables_are_refused(void **state)
{
    static const struct {
        const char *op, *text;
        struct table t;
    } cases[] = {
        {"all_gather_v", "outside its tensor", {{{2, 0}, {4, 0}}, {{0, 0}, {5, 0}}}},
        {"all_gather_v", "longer than its slot", {{{5, 0}, {0, 0}}, {{0, 0}, {0, 0}}}},
        {"all_to_all_v", "outside its tensor", {{{1, 1}, {1, 1}}, {{0, 8}, {0, 1}}}},
        {"all_to_all_v",
         "outside its tensor",
         {{{UINT32_MAX, 1}, {1, 1}}, {{UINT32_MAX, 0}, {0, 1}}}},
        {"all_to_all_v", "longer than its slot", {{{1, 5}, {1, 1}}, {{0, 1}, {0, 1}}}},
        {"reduce_scatter_v", "outside its tensor", {{{1, 3}, {1, 3}}, {{0, 1}, {0, 6}}}},
        {"reduce_scatter_v",
         "outside its tensor",
         {{{UINT32_MAX, 1}, {UINT32_MAX, 1}}, {{0, 1}, {0, 1}}}},
        {"reduce_scatter_v",
         "the block of rank 1 has 2 elements, that of rank 0 3",
         {{{1, 3}, {1, 2}}, {{0, 1}, {0, 1}}}},
    };

    coll_session(RANKS);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        wrong_then_right(cases[i].op, &cases[i].t, cases[i].text);
    coll_nothing_held(RANKS);
    nrt_close();
    PROVES("intra-008");
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wrong_tables_are_refused)};

    return cmocka_run_group_tests_name("api-coll-tables", tests, coll_setup, coll_teardown);
}
