/* SPDX-License-Identifier: Apache-2.0 */
/* Executing NEFFs with collectives: streams, engines that go on meanwhile, an absent rank,
 * groups of many orders. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "coll_ranks.h"
#include "models.h"
#include "proves.h"
#include "runner.h"

static void a_rank_that_does_not_come_is_named_at_the_timeout(void **state)
{
    struct bytes f = coll_neff(2, 16, 1, 0, 1);
    struct coll_caller k[2];

    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    coll_session(2);
    coll_load_both(k, f);
    api_log_clear();
    assert_int_equal(coll_run(&k[0], 1), NRT_EXEC_HW_ERR_COLLECTIVES);
    assert_true(api_log_has("nothing moves any more"));
    assert_true(api_log_has("rank 1 has not begun any operation"));
    assert_true(api_log_has("suspected hang in collectives operation 0 out of 1"));
    PROVES("dump-056");
    assert_int_equal(coll_run(&k[1], 1), NRT_EXEC_HW_ERR_COLLECTIVES); /* it was told */
    for (unsigned r = 0; r < 2; r++)
        assert_ok(nrt_unload(k[r].m));
    coll_nothing_held(2);
    unsetenv("NEURON_RT_EXEC_TIMEOUT"); /* read at load */
    coll_load_both(k, f);
    coll_run_both(k, 1);
    assert_true(k[0].got == 3 && k[1].got == 3);
    neff_free(&f);
    nrt_close();
}

/* Ranks 0 and 1 have entry 0, ranks 0 and 2 entry 1, on one stream. Each starts what it has, rank 0
 * both without waiting in between. */
static struct bytes behind_neff(uint32_t rank)
{
    struct neff_build *b = neff_build_create("behind");
    uint32_t lists[2][2] = {{0, 1}, {0, 2}};
    uint64_t count = 16;
    struct neff_build_coll_range in = {neff_build_input(b, 0, "a", "float32", 1, &count), 0, 64};
    struct neff_build_coll_range out = {neff_build_output(b, 0, "c", "float32", 1, &count), 0, 64};
    struct prog p;

    prog_init(&p, ISA_SP);
    for (unsigned i = 0; i < 2; i++) {
        struct neff_build_coll_group group = {lists[i], 2};
        struct neff_build_coll c = coll_floats("all_reduce", &group, &in, &out);
        int entry = neff_build_collective(b, 0, &c);
        struct isa_record *r;

        if (rank != 0 && rank != lists[i][1])
            continue;
        r = prog_op(&p, ISA_OP_TRIGGER_COLLECTIVE);
        r->body.s.first = 1 + 3;
        r->body.s.imm = entry;
    }
    prog_op(&p, ISA_OP_NOP);
    prog_wait(&p, 3, rank == 0 ? 2 : 1);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

/* Rank 1 does not come, so rank 0 fails, and with it the operation that stood behind: rank 2 hears
 * of it and does not wait for the timeout. */
static void who_stands_behind_a_failed_operation_is_told(void **state)
{
    struct coll_caller k[3];
    struct bytes f[3];

    for (uint32_t r = 0; r < 3; r++)
        f[r] = behind_neff(r);
    coll_session(3);
    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    coll_callers_load(k, 3, f);
    unsetenv("NEURON_RT_EXEC_TIMEOUT"); /* read at load */
    for (unsigned r = 0; r < 3; r++)
        assert_int_equal(k[r].loaded, NRT_SUCCESS);
    api_log_clear();
    assert_int_equal(coll_run(&k[0], 1), NRT_EXEC_HW_ERR_COLLECTIVES);
    assert_true(api_log_has("  nothing moves any more")); /* of a line of its own */
    api_log_clear();
    assert_int_equal(coll_run(&k[2], 1), NRT_EXEC_HW_ERR_COLLECTIVES);
    assert_true(api_log_has("was stopped: rank 0 failed: the execution of rank 0 ended before its "
                            "operation: nothing moves any more")); /* which is rank 0's reason */
    assert_false(api_log_has("  nothing moves any more"));
    for (unsigned r = 0; r < 3; r++) {
        assert_ok(nrt_unload(k[r].m));
        neff_free(&f[r]);
    }
    coll_nothing_held(3);
    nrt_close();
}

/* An all_reduce of two; rank 1's engine also waits for a semaphore that nobody raises, before it
 * starts the operation or after that has ended. */
static struct bytes hanging_neff(uint32_t rank, bool before)
{
    struct neff_build *b = neff_build_create("hanging");
    uint32_t list[2] = {0, 1};
    uint64_t count = 16;
    struct neff_build_coll_group group = {list, 2};
    struct neff_build_coll_range in = {neff_build_input(b, 0, "a", "float32", 1, &count), 0, 64};
    struct neff_build_coll_range out = {neff_build_output(b, 0, "c", "float32", 1, &count), 0, 64};
    struct neff_build_coll c = coll_floats("all_reduce", &group, &in, &out);
    struct prog p;

    neff_build_collective(b, 0, &c);
    prog_init(&p, ISA_SP);
    for (unsigned i = 0; i < 2; i++) {
        if (i == (before ? 1 : 0)) {
            coll_prog(&p, 0, 1);
        } else if (rank == 1) {
            prog_op(&p, ISA_OP_NOP);
            prog_wait(&p, 9, 1);
        }
    }
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

static void hanging_run(struct coll_caller *k, bool before)
{
    struct bytes f[2] = {hanging_neff(0, before), hanging_neff(1, before)};

    memset(k, 0, 2 * sizeof(*k));
    api_log_clear();
    coll_callers_run(k, 2, f);
    for (unsigned r = 0; r < 2; r++) {
        assert_int_equal(k[r].loaded, NRT_SUCCESS);
        neff_free(&f[r]);
    }
    assert_int_equal(k[1].ran, NRT_TIMEOUT); /* a local hang, seen at once */
    coll_nothing_held(2);
}

/* Rank 1's run fails before it triggers the operation that rank 0 waits for: it is told why, long
 * before the limit. Where the run fails after all its operations, nobody is told anything. */
static void a_run_that_fails_before_its_operation_tells_the_others(void **state)
{
    struct coll_caller k[2];

    setenv("NEURON_RT_EXEC_TIMEOUT", "3600", 1);
    coll_session(2);
    hanging_run(k, true);
    assert_int_equal(k[0].ran, NRT_EXEC_HW_ERR_COLLECTIVES);
    assert_int_equal(k[0].again, NRT_EXEC_HW_ERR_COLLECTIVES);
    assert_true(api_log_has("the execution of rank 1 ended before its all_reduce: "));
    assert_true(
        api_log_has("rank 1 failed: the execution of rank 1 ended before its all_reduce: "));
    assert_false(api_log_has("  nothing moves any more"));

    hanging_run(k, false); /* the next load works, too */
    assert_int_equal(k[0].ran, NRT_SUCCESS);
    assert_int_equal(k[0].again, NRT_SUCCESS);
    assert_int_equal(k[1].again, NRT_TIMEOUT);
    assert_true(k[0].got == 3);
    nrt_close();
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
}

/* Two operations of two ranks on two streams. Rank 0 begins entry 1 when entry 0 has ended, rank 1
 * the other way round. */
static struct bytes crossed_neff(uint32_t rank)
{
    struct neff_build *b = neff_build_create("crossed");
    uint32_t list[2] = {0, 1};
    uint64_t count = 16;
    struct neff_build_coll_group group = {list, 2};
    struct neff_build_coll_range in = {neff_build_input(b, 0, "a", "float32", 1, &count), 0, 64};
    struct neff_build_coll_range out = {neff_build_output(b, 0, "c", "float32", 1, &count), 0, 64};
    struct prog p;

    for (unsigned i = 0; i < 2; i++) {
        struct neff_build_coll c = coll_floats("all_reduce", &group, &in, &out);

        c.stream = i;
        neff_build_collective(b, 0, &c);
    }
    prog_init(&p, ISA_SP);
    coll_prog(&p, (int32_t)rank, 1);
    coll_prog(&p, (int32_t)(1 - rank), 2);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

/* Each rank waits for the other one, in operations of two communicators: found long before the
 * limit. */
static void ranks_that_wait_for_each_other_are_told(void **state)
{
    struct bytes f[2] = {crossed_neff(0), crossed_neff(1)};
    struct coll_caller k[2];

    coll_session(2);
    setenv("NEURON_RT_EXEC_TIMEOUT", "3600", 1);
    coll_callers_load(k, 2, f);
    unsetenv("NEURON_RT_EXEC_TIMEOUT"); /* read at load */
    api_log_clear();
    for (unsigned r = 0; r < 2; r++) {
        assert_int_equal(k[r].loaded, NRT_SUCCESS);
        k[r].ranks = 1;
        assert_int_equal(pthread_create(&k[r].thread, NULL, coll_run_thread, &k[r]), 0);
    }
    for (unsigned r = 0; r < 2; r++) {
        pthread_join(k[r].thread, NULL);
        assert_int_equal(k[r].ran, NRT_EXEC_HW_ERR_COLLECTIVES);
    }
    assert_true(api_log_has("the ranks wait for each other: operation 1 (all_reduce by "));
    assert_true(api_log_has("has not begun any operation"));
    assert_true(api_log_has("suspected hang in collectives operation"));
    assert_false(api_log_has("nothing moves any more"));
    for (unsigned r = 0; r < 2; r++) {
        assert_ok(nrt_unload(k[r].m));
        neff_free(&f[r]);
    }
    coll_nothing_held(2);
    nrt_close();
}

/* ---- streams and engines ---- */

/* SP starts one all_reduce `times` times without waiting for any, then waits for all. */
static void a_stream_without_room_makes_the_engine_wait(void **state)
{
    uint64_t n = 16;
    struct neff_build *b = neff_build_create("full");
    struct neff_build_coll_range in = {neff_build_input(b, 0, "a", "float32", 1, &n), 0, 64};
    struct neff_build_coll_range out = {neff_build_output(b, 0, "c", "float32", 1, &n), 0, 64};
    uint32_t list[] = {0, 1};
    struct neff_build_coll_group group = {list, 2};
    struct neff_build_coll c = coll_floats("all_reduce", &group, &in, &out);
    struct isa_record rec[203];
    struct coll_caller k[2];
    struct bytes f;
    struct prog p;

    neff_build_collective(b, 0, &c);
    prog_init(&p, ISA_SP);
    coll_prog(&p, 0, 200);
    prog_op(&p, ISA_OP_END);
    for (unsigned i = 0; i < 200; i++) /* the stream holds 64 */
        rec[i] = p.rec[0];
    memcpy(rec + 200, p.rec + 1, 2 * sizeof(rec[0]));
    assert_int_equal(neff_build_program(b, 0, NEFF_SP, rec, 202 * sizeof(rec[0])), 0);
    f = neff_finish(b, NULL);
    coll_session(2);
    coll_load_both(k, f);
    coll_run_both(k, 1);
    assert_true(k[0].got == 3 && k[1].got == 3);
    neff_free(&f);
    nrt_close();
}

static void *streams_thread(void *arg)
{
    struct coll_caller *k = arg;
    float *a = malloc(4000), *got = malloc(4000);
    nrt_tensor_set_t *in, *out;
    nrt_tensor_t *t[9];
    char name[16];

    for (unsigned i = 0; i < 1000; i++)
        a[i] = (float)k->rank + 1;
    assert_ok(nrt_allocate_tensor_set(&in));
    assert_ok(nrt_allocate_tensor_set(&out));
    for (unsigned i = 0; i < 9; i++) {
        snprintf(name, sizeof(name), i ? "%c%u" : "a", "cd"[(i - 1) % 2 & 1], (i - 1) / 2);
        assert_ok(nrt_tensor_allocate(DEV, (int)k->rank, 4000, name, &t[i]));
        assert_ok(nrt_add_tensor_to_tensor_set(i ? out : in, name, t[i]));
    }
    assert_ok(nrt_tensor_write(t[0], a, 0, 4000));
    k->ran = nrt_execute(k->m, in, out);
    k->got = 0;
    for (unsigned i = 1; i < 9; i++) {
        assert_ok(nrt_tensor_read(t[i], got, 0, 4000));
        k->got += got[i * 100];
    }
    nrt_destroy_tensor_set(&in);
    nrt_destroy_tensor_set(&out);
    for (unsigned i = 0; i < 9; i++)
        nrt_tensor_free(&t[i]);
    free(a);
    free(got);
    return NULL;
}

/* Both cores of a logical core: core i starts, on streams 2i and 2i + 1, c = sum of a and then, on
 * the same stream and without waiting in between, d = sum of c. Only in order is d right. */
static void four_streams_of_two_cores_each_in_order(void **state)
{
    struct neff_build *b = neff_build_create("streams");
    uint32_t list[] = {0, 1};
    struct neff_build_coll_group group = {list, 2};
    uint64_t n = 1000;
    struct coll_caller k[2];
    struct bytes f;

    neff_build_subgraph(b);
    for (int g = 0; g < 2; g++) {
        struct prog p;

        prog_init(&p, ISA_SP);
        for (unsigned i = 0; i < 2; i++) {
            char names[3][8];
            int vars[3];

            for (unsigned v = 0; v < 3; v++)
                snprintf(names[v], sizeof(names[v]), v ? "%c%u" : "a", 'b' + v, 2 * g + i);
            vars[0] = i == 0 ? neff_build_input(b, g, names[0], "float32", 1, &n) : 0;
            for (unsigned v = 1; v < 3; v++)
                vars[v] = neff_build_output(b, g, names[v], "float32", 1, &n);
            for (unsigned v = 0; v < 2; v++) {
                struct neff_build_coll_range in = {vars[v], 0, 4 * n},
                                             out = {vars[v + 1], 0, 4 * n};
                struct isa_record *r = prog_op(&p, ISA_OP_TRIGGER_COLLECTIVE);

                r->body.s.first = 1 + 3;
                r->body.s.imm =
                    neff_build_collective(b, g,
                                          &(struct neff_build_coll){.op = "all_reduce",
                                                                    .reduce = "add",
                                                                    .dtype = "float32",
                                                                    .stream = 2 * (unsigned)g + i,
                                                                    .groups = &group,
                                                                    .group_count = 1,
                                                                    .in = &in,
                                                                    .in_count = 1,
                                                                    .out = &out,
                                                                    .out_count = 1});
            }
        }
        prog_op(&p, ISA_OP_NOP);
        prog_wait(&p, 3, 4);
        prog_done(&p, b, g);
    }
    f = neff_finish(b, NULL);
    setenv("NEURON_LOGICAL_NC_CONFIG", "2", 1);
    coll_session(2);
    coll_load_both(k, f);
    for (unsigned r = 0; r < 2; r++)
        assert_int_equal(pthread_create(&k[r].thread, NULL, streams_thread, &k[r]), 0);
    for (unsigned r = 0; r < 2; r++) {
        pthread_join(k[r].thread, NULL);
        assert_int_equal(k[r].ran, NRT_SUCCESS);
        assert_true(k[r].got == 4 * (3 + 6)); /* of all four streams */
    }
    PROVES("ovl-002");
    PROVES("ovl-005");
    neff_free(&f);
    nrt_close();
    setenv("NEURON_LOGICAL_NC_CONFIG", "1", 1);
}

static void more_streams_than_cc_cores_are_refused(void **state)
{
    struct bytes f = coll_neff(1, 16, 3, 0, 3);
    nrt_model_t *m;

    coll_session(1); /* a physical core of a Trainium2 has two CC-cores */
    assert_int_equal(nrt_load_collectives(f.data, f.size, 0, -1, 0, 1, &m), NRT_INVALID);
    neff_free(&f);
    f = coll_neff(1, 16, 2, 1, 2);
    assert_ok(nrt_load_collectives(f.data, f.size, 0, -1, 0, 1, &m));
    assert_ok(nrt_unload(m));
    neff_free(&f);
    nrt_close();
}

/* Of core 0, read by an observer: records that ACT has retired, and whether SP waits. */
static void engines_read(uint64_t *ret_act, bool *ret_sp_waits, uint64_t *ret_started)
{
    struct device_config cfg = {.observe = true};
    struct device_instance *in;
    struct device_live_page *live;
    struct err err = {0};

    assert_int_equal(device_config_env(&cfg, &err), NRT_SUCCESS);
    assert_int_equal(device_instance_open(&cfg, &in, &err), NRT_SUCCESS);
    live = device_live(in, 0);
    *ret_act = atomic_load(&live->engine[ISA_ACT].retired);
    *ret_sp_waits = atomic_load(&live->engine[ISA_SP].wait_kind) == DEVICE_WAIT_SEMAPHORE;
    *ret_started = atomic_load(&live->op_seq);
    device_instance_close(in);
}

/* SP starts an operation and waits; ACT retires 50 records meanwhile, although rank 1 is absent. */
static void engines_go_on_while_an_operation_waits_for_an_absent_rank(void **state)
{
    struct bytes f;
    struct coll_caller k[2];
    uint64_t act = 0, started = 0;
    bool waits = false;
    struct timespec since, now;
    struct neff_build *b = neff_build_create("overlap");
    uint64_t n = 16;
    struct neff_build_coll_range in = {neff_build_input(b, 0, "a", "float32", 1, &n), 0, 64};
    struct neff_build_coll_range out = {neff_build_output(b, 0, "c", "float32", 1, &n), 0, 64};
    uint32_t list[] = {0, 1};
    struct neff_build_coll_group group = {list, 2};
    struct neff_build_coll c = coll_floats("all_reduce", &group, &in, &out);
    struct prog p;

    neff_build_collective(b, 0, &c);
    prog_init(&p, ISA_SP);
    coll_prog(&p, 0, 1);
    prog_done(&p, b, 0);
    prog_init(&p, ISA_ACT);
    for (unsigned i = 0; i < 50; i++)
        prog_op(&p, ISA_OP_NOP);
    prog_done(&p, b, 0);
    f = neff_finish(b, NULL);

    coll_session(2);
    coll_load_both(k, f);
    k[0].ranks = 1;
    assert_int_equal(pthread_create(&k[0].thread, NULL, coll_run_thread, &k[0]), 0);
    clock_gettime(CLOCK_MONOTONIC, &since);
    do { /* until both are seen at once; only a failure takes the whole limit */
        sched_yield();
        engines_read(&act, &waits, &started);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (!(act >= 50 && waits && started == 1) &&
             now.tv_sec - since.tv_sec < RUNNER_WAIT_MS / 1000);
    assert_true(act >= 50 && waits);
    assert_int_equal(started, 1);
    PROVES("ovl-001");
    assert_int_equal(coll_run(&k[1], 1), NRT_SUCCESS); /* the absent one comes */
    pthread_join(k[0].thread, NULL);
    assert_int_equal(k[0].ran, NRT_SUCCESS);
    assert_true(k[0].got == 3 && k[1].got == 3);
    neff_free(&f);
    nrt_close();
}

/* A NEFF of two ranks in which nothing happens but a barrier. */
static struct bytes barrier_neff(void)
{
    struct neff_build *b = neff_build_create("barrier");
    uint32_t list[] = {0, 1};
    struct neff_build_coll_group group = {list, 2};
    struct neff_build_coll c = {.op = "barrier", .groups = &group, .group_count = 1};
    struct prog p;

    assert_int_equal(neff_build_collective(b, 0, &c), 0);
    prog_init(&p, ISA_SP);
    coll_prog(&p, 0, 1);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

static void *barrier_thread(void *arg)
{
    struct coll_caller *k = arg;
    struct io io;

    io_init(&io);
    k->ran = nrt_execute(k->m, io.in, io.out);
    io_fini(&io);
    return NULL;
}

static void a_barrier_alone_ends_at_the_timeout_when_a_rank_is_absent(void **state)
{
    struct bytes f = barrier_neff();
    struct coll_caller k[2];

    coll_session(2);
    coll_load_both(k, f);
    for (unsigned r = 0; r < 2; r++)
        assert_int_equal(pthread_create(&k[r].thread, NULL, barrier_thread, &k[r]), 0);
    for (unsigned r = 0; r < 2; r++) {
        pthread_join(k[r].thread, NULL);
        assert_ok(k[r].ran);
        assert_ok(nrt_unload(k[r].m));
    }
    nrt_close();

    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    coll_session(2);
    coll_load_both(k, f);
    api_log_clear();
    (void)barrier_thread(&k[0]);
    assert_int_equal(k[0].ran, NRT_EXEC_HW_ERR_COLLECTIVES);
    assert_true(api_log_has("nothing moves any more"));
    assert_true(api_log_has("rank 1 has not begun any operation"));
    PROVES("ovl-015");
    for (unsigned r = 0; r < 2; r++)
        assert_ok(nrt_unload(k[r].m));
    nrt_close();
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    neff_free(&f);
    api_log_clear();
}

/* ---- many groups ---- */

#define GROUPS  16u
#define MEMBERS 4u

struct grouper {
    pthread_t thread;
    unsigned rank;
    NRT_STATUS st;
    float got[GROUPS][MEMBERS];
};

/* The i-th order of four ranks: each of the first sixteen is another one. */
static void order_of(unsigned i, uint32_t list[MEMBERS])
{
    uint32_t left[MEMBERS] = {0, 1, 2, 3};

    for (unsigned n = MEMBERS, k = 0; n > 0; n--, k++) {
        unsigned at = i % n;

        i /= n;
        list[k] = left[at];
        memmove(left + at, left + at + 1, (n - 1 - at) * sizeof(*left));
    }
}

/* An all_gather of each group: entry i writes the part i of y. */
static struct bytes groups_neff(void)
{
    struct neff_build *b = neff_build_create("groups");
    uint64_t one = 1, all = GROUPS * MEMBERS;
    struct neff_build_coll_range in = {neff_build_input(b, 0, "x", "float32", 1, &one), 0, 4};
    int y = neff_build_output(b, 0, "y", "float32", 1, &all);
    struct prog p;

    prog_init(&p, ISA_SP);
    for (unsigned i = 0; i < GROUPS; i++) {
        uint32_t list[MEMBERS];
        struct neff_build_coll_group group = {list, MEMBERS};
        struct neff_build_coll_range out = {y, (uint64_t)i * 4 * MEMBERS, 4 * MEMBERS};
        struct neff_build_coll c = coll_floats("all_gather", &group, &in, &out);

        order_of(i, list);
        assert_int_equal(neff_build_collective(b, 0, &c), (int)i);
        coll_prog(&p, (int32_t)i, (int32_t)i + 1);
    }
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

static void *grouper_thread(void *arg)
{
    struct grouper *g = arg;
    struct bytes f = groups_neff();
    float mine = 100 + (float)g->rank;
    nrt_model_t *m;
    struct io io;

    g->st = nrt_load_collectives(f.data, f.size, (int32_t)g->rank, -1, g->rank, MEMBERS, &m);
    neff_free(&f);
    if (g->st != NRT_SUCCESS)
        return NULL;
    io_init(&io);
    put_floats(io_add(&io, true, "x", DEV, (int)g->rank, 4), &mine, 1);
    io_add(&io, false, "y", DEV, (int)g->rank, sizeof(g->got));
    g->st = nrt_execute(m, io.in, io.out);
    assert_ok(nrt_tensor_read(io.t[1], g->got, 0, sizeof(g->got)));
    io_fini(&io);
    if (nrt_unload(m) != NRT_SUCCESS)
        abort();
    return NULL;
}

static void sixteen_groups_in_one_neff(void **state)
{
    struct grouper g[MEMBERS] = {0};

    coll_session(MEMBERS);
    for (unsigned r = 0; r < MEMBERS; r++) {
        g[r].rank = r;
        assert_int_equal(pthread_create(&g[r].thread, NULL, grouper_thread, &g[r]), 0);
    }
    for (unsigned r = 0; r < MEMBERS; r++)
        pthread_join(g[r].thread, NULL);
    for (unsigned r = 0; r < MEMBERS; r++) {
        assert_int_equal(g[r].st, NRT_SUCCESS);
        for (unsigned i = 0; i < GROUPS; i++) {
            uint32_t list[MEMBERS];

            order_of(i, list);
            for (unsigned k = 0; k < MEMBERS; k++)
                assert_true(g[r].got[i][k] == 100 + (float)list[k]);
        }
    }
    nrt_close();
    PROVES("intra-020");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_that_does_not_come_is_named_at_the_timeout),
        cmocka_unit_test(who_stands_behind_a_failed_operation_is_told),
        cmocka_unit_test(a_run_that_fails_before_its_operation_tells_the_others),
        cmocka_unit_test(ranks_that_wait_for_each_other_are_told),
        cmocka_unit_test(a_stream_without_room_makes_the_engine_wait),
        cmocka_unit_test(four_streams_of_two_cores_each_in_order),
        cmocka_unit_test(more_streams_than_cc_cores_are_refused),
        cmocka_unit_test(engines_go_on_while_an_operation_waits_for_an_absent_rank),
        cmocka_unit_test(a_barrier_alone_ends_at_the_timeout_when_a_rank_is_absent),
        cmocka_unit_test(sixteen_groups_in_one_neff),
    };

    return cmocka_run_group_tests_name("api-coll-stream", tests, coll_setup, coll_teardown);
}
