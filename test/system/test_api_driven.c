/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives that the host drives, through the public functions: results of random operations
 * among ranks of one process and of several, work of the core beside them, order and arguments.
 * docs/spec/api.md 5. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "async_held.h"
#include "coll_ranks.h"
#include "driven_world.h"
#include "models.h"
#include "proves.h"
#include "runner.h"
#include "seed.h"

static uint64_t seed;

/* ---- results ---- */

#define BURST 6 /* operations under way at once */

static struct {
    unsigned op[3], reduce[4], dtype[DT_FP8_E5 + 1], place[DRIVEN_PLACES], idle;
} seen;

static void see(const struct driven_run *r)
{
    seen.idle += r->idle;
    if (r->idle || r->c->n < 2 || r->c->elems == 0)
        return;
    seen.op[r->c->cc_op]++;
    seen.dtype[r->c->dtype]++;
    seen.place[r->c->place[r->rank]]++;
    if (r->c->cc_op != NRT_CC_ALLGATHER)
        seen.reduce[r->c->op]++;
}

/* One thread drives all ranks: no call waits for another rank. */
static void random_operations(unsigned ranks, nrta_error_tracker_t **t, uint64_t first)
{
    struct driven_run r[BURST][DRIVEN_RANKS];
    struct driven_case c[BURST];

    for (unsigned k = 0; k < BURST; k++) {
        c[k] = driven_draw(first + k, ranks);
        driven_make_all(r[k], &c[k]);
    }
    for (unsigned i = 0; i < ranks; i++)
        for (unsigned k = 0; k < BURST; k++) {
            driven_schedule(&r[k][i], t[i]);
            see(&r[k][i]);
        }
    for (unsigned k = 0; k < BURST; k++) {
        driven_finish_all(r[k], ranks);
        driven_free_all(r[k], ranks);
    }
    for (unsigned i = 0; i < ranks; i++)
        assert_int_equal(async_errors(t[i]), 0);
}

static void random_operations_of_one_process(void **state)
{
    static const unsigned sizes[] = {1, 2, 3, 4, 5, 8};
    nrta_error_tracker_t *t[DRIVEN_RANKS];

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        driven_session(sizes[i], t);
        for (unsigned k = 0; k < 12; k++)
            random_operations(sizes[i], t, seed + 1000 * i + k * BURST);
        nrt_close();
    }
    for (unsigned i = 0; i < 3; i++)
        assert_true(seen.op[i] > 0);
    assert_true(seen.reduce[NRT_OP_ADD] && seen.reduce[NRT_OP_MAX] && seen.reduce[NRT_OP_MIN]);
    for (unsigned i = DT_UINT64; i <= DT_FP8_E5; i++)
        assert_true(seen.dtype[i] > 0);
    for (unsigned i = 0; i < DRIVEN_PLACES; i++)
        assert_true(seen.place[i] > 0);
    assert_true(seen.idle > 0);
    PROVES("api-044");
    PROVES("api-049");
    PROVES("api-050");
    PROVES("intra-022");
    PROVES("intra-023"); /* DRIVEN_LISTS has been seen */
}

/* More sizes than plans are kept, twice. */
static void many_sizes(void **state)
{
    nrta_error_tracker_t *t[2];
    struct driven_run r[2];

    driven_session(2, t);
    for (unsigned k = 0; k < 150; k++) {
        struct driven_case c = driven_sum_of(seed, 2, 1 + k % 75);

        driven_make_all(r, &c);
        driven_schedule_all(r, 2, t);
        driven_finish_all(r, 2);
        driven_free_all(r, 2);
    }
    nrt_close();
}

/* argv: rank, ranks, first seed, "whole" for groups of all ranks (those between nodes have as many
 * members on each). */
static int case_helper(int argc, char **argv)
{
    uint64_t first = strtoull(argv[3], NULL, 0);
    nrta_error_tracker_t *t;
    unsigned rank, ranks;

    if (!driven_rank_join(argv, &rank, &ranks, &t))
        return 1;
    for (unsigned k = 0; k < 20; k++) {
        struct driven_case c = driven_draw(first + k, ranks);
        struct driven_run r;
        const char *wrong;

        if (strcmp(argv[4], "whole") == 0)
            c.n = ranks;

        driven_make(&r, &c, rank, 0);
        driven_schedule(&r, t);
        if (!r.idle)
            async_finish(r.seq);
        wrong = driven_compare(&r);
        if (wrong || async_errors(t) != 0) {
            fprintf(stderr, "%s\n", wrong ? wrong : "an operation failed");
            return 2;
        }
        driven_free(&r);
    }
    if (nrt_barrier(0, rank, ranks))
        return 3;
    nrt_close();
    return 0;
}

static void processes_run(unsigned ranks, unsigned per_node, uint64_t from)
{
    struct runner_proc p[DRIVEN_RANKS];
    char first[32];

    coll_root_env();
    snprintf(first, sizeof(first), "%llu", (unsigned long long)from);
    for (unsigned r = 0; r < ranks; r++)
        driven_rank_start(&p[r], "case", r, ranks, per_node, first);
    for (unsigned r = 0; r < ranks; r++)
        if (runner_wait(&p[r], RUNNER_WAIT_MS) != 0)
            fail_msg("seed %s: rank %u of %u, %u a node, fails; log is\n%s", first, r, ranks,
                     per_node, api_log());
    unsetenv("NEURON_RT_ROOT_COMM_ID");
}

static void random_operations_of_processes(void **state)
{
    static const unsigned sizes[] = {2, 3, 8};

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        processes_run(sizes[i], 0, seed + 9000 + 100 * i);
}

static void random_operations_between_nodes(void **state)
{
    static const unsigned shapes[][2] = {{2, 1}, {4, 2}};

    for (unsigned i = 0; i < 2; i++)
        processes_run(shapes[i][0], shapes[i][1], seed + 12000 + 100 * i);
    driven_nodes_remove();
}

/* ---- beside other work ---- */

/* An execution of core 0 stands still in its middle while a collective of the core is carried out,
 * and a collective waits for its peer while executions of the core are carried out. */
static void compute_and_collectives_do_not_wait_for_each_other(void **state)
{
    struct driven_case c = driven_sum_of(seed, 2, 1000);
    nrta_error_tracker_t *t[2];
    struct driven_run r[2];
    struct held h;
    nrta_seq_t ran;

    driven_session(2, t);
    driven_make_all(r, &c);
    held_init(&h, CPU_NODE, 0);
    held_close(&h);
    assert_ok(nrta_execute_schedule(h.m, h.io.in, h.io.out, 0, t[0], &ran));
    held_reach(&h);
    driven_schedule_all(r, 2, t);
    driven_finish_all(r, 2);
    assert_false(async_completed(ran));
    held_open(&h);
    async_finish(ran);

    held_none(&h);
    driven_schedule(&r[0], t[0]);
    for (unsigned i = 0; i < 3; i++) {
        assert_ok(nrta_execute_schedule(h.m, h.io.in, h.io.out, 0, t[0], &ran));
        async_finish(ran);
    }
    assert_false(async_completed(r[0].seq));
    driven_schedule(&r[1], t[1]);
    driven_finish_all(r, 2);
    PROVES("ovl-014");
    assert_int_equal(async_errors(t[0]) + async_errors(t[1]), 0);
    held_fini(&h);
    nrt_close();
}

/* Programs with collectives on the same ranks, at the same time. */
static void programs_with_collectives_run_beside(void **state)
{
    struct driven_case c = driven_sum_of(seed, 2, 3000);
    struct coll_caller k[2] = {{.rank = 0}, {.rank = 0}};
    struct bytes f = coll_neff(2, 16, 1, 0, 1);
    nrta_error_tracker_t *t[2];
    struct driven_run r[20][2];

    driven_session(2, t);
    coll_load_both(k, f);
    for (unsigned i = 0; i < 20; i++) {
        driven_make_all(r[i], &c);
        driven_schedule_all(r[i], 2, t);
    }
    coll_run_both(k, 100);
    for (unsigned i = 0; i < 20; i++) {
        driven_finish_all(r[i], 2);
        driven_free_all(r[i], 2);
    }
    for (unsigned i = 0; i < 2; i++)
        assert_ok(nrt_unload(k[i].m));
    neff_free(&f);
    nrt_close();
}

/* Sequences and order: a handle per request, the last one first. */
static void requests_complete_in_their_order(void **state)
{
    struct driven_case c = driven_sum_of(seed, 2, 16);
    nrta_error_tracker_t *t[2];
    struct driven_run r[5][2];
    nrta_seq_t last;

    driven_session(2, t);
    for (unsigned k = 0; k < 5; k++) {
        driven_make_all(r[k], &c);
        driven_schedule(&r[k][0], t[0]);
        assert_int_equal(NRTA_SEQ_GET_SEQ_NUM(r[k][0].seq), k + 1);
    }
    assert_ok(nrta_get_sequence(0, NRTA_XU_COLLECTIVES, 0, &last));
    assert_int_equal(NRTA_SEQ_GET_SEQ_NUM(last), 0);
    assert_int_equal(NRTA_SEQ_GET_XU_ID(last), NRTA_SEQ_GET_XU_ID(r[0][0].seq));
    assert_false(async_completed(r[0][0].seq)); /* and its status is no other one */
    PROVES("api-147");
    for (unsigned k = 0; k < 5; k++)
        driven_schedule(&r[k][1], t[1]);
    async_finish(r[4][0].seq);
    for (unsigned k = 0; k < 5; k++)
        assert_true(async_completed(r[k][0].seq));
    assert_ok(nrta_get_sequence(0, NRTA_XU_COLLECTIVES, 0, &last));
    assert_true(last == r[4][0].seq);
    for (unsigned k = 0; k < 5; k++)
        driven_finish_all(r[k], 2);
    nrt_close();
}

static void a_full_queue_says_so_and_keeps_the_context(void **state)
{
    struct driven_case c = driven_sum_of(seed, 2, 4);
    nrt_cc_context_t *ctx, *kept;
    nrta_error_tracker_t *t[2];
    struct driven_run r[2];
    nrta_seq_t seq;

    driven_session(2, t);
    driven_make_all(r, &c);
    for (unsigned k = 0; k < 63; k++)
        driven_schedule(&r[0], t[0]);
    assert_ok(driven_prepare(&r[0], &ctx));
    kept = ctx;
    assert_fails(nrta_cc_schedule(&ctx, 0, t[0], &seq), NRT_QUEUE_FULL, "nrta_cc_schedule");
    PROVES("api-134");
    assert_ptr_equal(ctx, kept);
    for (unsigned k = 0; k < 63; k++)
        driven_schedule(&r[1], t[1]);
    driven_finish_all(r, 2);
    assert_ok(nrta_cc_schedule(&ctx, 0, t[0], &r[0].seq));
    driven_schedule(&r[1], t[1]);
    driven_finish_all(r, 2);
    nrt_close();
}

/* ---- arguments ---- */

struct arguments {
    nrt_cc_comm_t comm;
    nrt_tensor_list_t in, out;
    nrt_dtype_t dtype;
    nrt_op_type_t op;
    nrt_cc_op_type_t cc_op;
};

static void refused(const struct arguments *good, const struct arguments *bad, NRT_STATUS status)
{
    struct arguments a = *bad;
    nrt_cc_context_t *ctx = NULL;

    assert_fails(nrta_cc_prepare(&a.comm, &a.in, &a.out, a.dtype, a.op, a.cc_op, &ctx), status,
                 "nrta_cc_prepare");
    assert_null(ctx);
    a = *good;
    assert_ok(nrta_cc_prepare(&a.comm, &a.in, &a.out, a.dtype, a.op, a.cc_op, &ctx));
}

#define REFUSED(status, ...)          \
    do {                              \
        struct arguments bad = good;  \
        __VA_ARGS__;                  \
        refused(&good, &bad, status); \
    } while (0)

static void wrong_arguments_are_refused_by_prepare(void **state)
{
    uint32_t group[2] = {0, 1}, twice[2] = {0, 0}, beyond[2] = {0, 2};
    nrta_error_tracker_t *tr[3];
    nrt_tensor_t *a, *b, *half, *odd, *host, *away, *gone, *two[2];

    driven_session(3, tr);
    a = device_tensor(0, 64);
    b = device_tensor(0, 64);
    half = device_tensor(0, 32);
    away = device_tensor(2, 64);
    gone = device_tensor(0, 64);
    assert_ok(nrt_tensor_allocate(VIRT, 0, 64, NULL, &host));
    assert_ok(nrt_tensor_allocate_slice(b, 2, 32, NULL, &odd));
    two[0] = half;
    two[1] = b;
    struct arguments good = {.comm = {group, 0, 2, 0, 2, 0},
                             .in = {&a, 1},
                             .out = {&b, 1},
                             .dtype = NRT_DTYPE_FLOAT32,
                             .op = NRT_OP_ADD,
                             .cc_op = NRT_CC_ALLREDUCE};
    nrt_tensor_t *freed = gone;

    nrt_tensor_free(&gone);
    REFUSED(NRT_INVALID, bad.comm.vnc = 2);
    REFUSED(NRT_INVALID, bad.comm.replica_group = NULL);
    REFUSED(NRT_INVALID, bad.comm.rank = 2);
    REFUSED(NRT_INVALID, bad.comm.rank = 1); /* is rank 1 of the world */
    REFUSED(NRT_INVALID, bad.comm.rank_n = 0);
    REFUSED(NRT_INVALID, bad.comm.ctx_device_id = 2);
    REFUSED(NRT_INVALID, bad.comm.ctx_device_count = 4); /* the world has 3 */
    REFUSED(NRT_INVALID, bad.comm.replica_group = twice);
    REFUSED(NRT_INVALID, bad.comm.replica_group = beyond);
    PROVES("intra-024");
    REFUSED(NRT_INVALID, bad.cc_op = (nrt_cc_op_type_t)3);
    REFUSED(NRT_INVALID, bad.dtype = NRT_DTYPE_INVALID);
    REFUSED(NRT_INVALID, bad.dtype = (nrt_dtype_t)16);
    REFUSED(NRT_INVALID, bad.op = NRT_OP_FMA);
    REFUSED(NRT_INVALID, bad.op = NRT_OP_INVALID);
    REFUSED(NRT_INVALID, bad.in.tensors = NULL);
    REFUSED(NRT_INVALID, bad.in.num_tensors = 0);
    REFUSED(NRT_INVALID, bad.out.tensors = two; bad.out.num_tensors = 2);
    REFUSED(NRT_INVALID, bad.out.tensors = &half);
    REFUSED(NRT_INVALID, bad.in.tensors = &half; bad.cc_op = NRT_CC_REDUCESCATTER);
    REFUSED(NRT_INVALID, bad.cc_op = NRT_CC_ALLGATHER); /* as many bytes out as in */
    REFUSED(NRT_INVALID, bad.in.tensors = &half; bad.out.tensors = two; bad.out.num_tensors = 2;
            bad.cc_op = NRT_CC_ALLGATHER); /* outputs of two sizes */
    REFUSED(NRT_INVALID, bad.in.tensors = bad.out.tensors = &odd);
    REFUSED(NRT_INVALID, bad.in.tensors = &host);
    REFUSED(NRT_INVALID, bad.in.tensors = &away);
    REFUSED(NRT_INVALID_HANDLE, bad.in.tensors = &freed);
    REFUSED(NRT_INVALID_HANDLE, bad.out.tensors = (nrt_tensor_t *[]){NULL});
    nrt_close();
}

static void wrong_arguments_are_refused_by_schedule(void **state)
{
    struct driven_case c = driven_sum_of(seed, 2, 4);
    nrta_error_tracker_t *t[2];
    nrt_cc_context_t *ctx = NULL, *kept;
    struct driven_run r[2];
    nrta_seq_t seq;

    driven_session(2, t);
    driven_make_all(r, &c);
    assert_ok(driven_prepare(&r[0], &ctx));
    kept = ctx;
    assert_fails(nrta_cc_schedule(NULL, 0, t[0], &seq), NRT_INVALID, "nrta_cc_schedule");
    assert_fails(nrta_cc_schedule(&ctx, 1, t[0], &seq), NRT_INVALID, "nrta_cc_schedule");
    assert_fails(nrta_cc_schedule(&ctx, -1, t[0], &seq), NRT_INVALID, "nrta_cc_schedule");
    assert_fails(nrta_cc_schedule(&ctx, 0, NULL, &seq), NRT_INVALID, "nrta_cc_schedule");
    assert_fails(nrta_cc_schedule(&ctx, 0, t[1], &seq), NRT_INVALID, "nrta_cc_schedule");
    assert_fails(nrta_cc_schedule(&ctx, 0, t[0], NULL), NRT_INVALID, "nrta_cc_schedule");
    assert_ptr_equal(ctx, kept);
    assert_ok(nrta_cc_schedule(&ctx, 0, t[0], &r[0].seq));
    assert_fails(nrta_cc_schedule(&kept, 0, t[0], &seq), NRT_INVALID_HANDLE, "nrta_cc_schedule");
    assert_fails(nrta_cc_schedule(&ctx, 0, t[0], &seq), NRT_INVALID, "nrta_cc_schedule");
    driven_schedule(&r[1], t[1]);
    driven_finish_all(r, 2);
    nrt_close();
}

static void states_and_the_global_communicator(void **state)
{
    struct driven_case c = driven_sum_of(seed, 1, 4);
    nrt_cc_context_t *ctx = NULL;
    nrta_error_tracker_t *t;
    struct driven_run r;
    nrta_seq_t seq;

    coll_session(1);
    driven_make(&r, &c, 0, 0);
    assert_ok(nrta_error_tracker_create(0, &t));
    assert_fails(driven_prepare(&r, &ctx), NRT_INVALID, "nrta_cc_prepare"); /* not joined */
    assert_fails(nrt_cc_global_comm_init(1, 0, 1), NRT_INVALID, "nrt_cc_global_comm_init");
    assert_fails(nrt_cc_global_comm_init(UINT32_MAX, 0, 1), NRT_INVALID, "nrt_cc_global_comm_init");
    assert_fails(nrt_cc_global_comm_init(0, 1, 1), NRT_INVALID, "nrt_cc_global_comm_init");
    assert_ok(nrt_cc_global_comm_init(0, 0, 1));
    assert_ok(nrt_cc_global_comm_init(0, 0, 1));
    assert_ok(nrt_build_global_comm(0, 0, 1));
    assert_int_equal(nrt_cc_global_comm_init(0, 0, 2), NRT_INVALID);
    driven_schedule(&r, t);
    async_finish(r.seq);
    assert_null(driven_compare(&r));
    assert_ok(driven_prepare(&r, &ctx)); /* never scheduled */
    nrt_close();
    assert_fails(nrta_cc_schedule(&ctx, 0, t, &seq), NRT_CLOSED, "nrta_cc_schedule");
    assert_fails(driven_prepare(&r, &ctx), NRT_CLOSED, "nrta_cc_prepare");
    assert_fails(nrt_cc_global_comm_init(0, 0, 1), NRT_CLOSED, "nrt_cc_global_comm_init");
    coll_session(1);
    assert_ok(nrta_error_tracker_create(0, &t));
    assert_fails(nrta_cc_schedule(&ctx, 0, t, &seq), NRT_INVALID_HANDLE, "nrta_cc_schedule");
    nrt_close();
}

static int setup(void **state)
{
    seed = seed_take_new();
    return coll_setup(state);
}

int main(int argc, char **argv)
{
    static const struct runner_helper helpers[] = {{"case", case_helper}, {NULL, NULL}};
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_of_one_process),
        cmocka_unit_test(many_sizes),
        cmocka_unit_test(random_operations_of_processes),
        cmocka_unit_test(random_operations_between_nodes),
        cmocka_unit_test(compute_and_collectives_do_not_wait_for_each_other),
        cmocka_unit_test(programs_with_collectives_run_beside),
        cmocka_unit_test(requests_complete_in_their_order),
        cmocka_unit_test(a_full_queue_says_so_and_keeps_the_context),
        cmocka_unit_test(wrong_arguments_are_refused_by_prepare),
        cmocka_unit_test(wrong_arguments_are_refused_by_schedule),
        cmocka_unit_test(states_and_the_global_communicator),
    };
    int rc = coll_program_begin(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    return cmocka_run_group_tests_name("api-driven", tests, setup, coll_teardown);
}
