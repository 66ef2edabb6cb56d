/* SPDX-License-Identifier: Apache-2.0 */
/* Loading NEFFs with collectives: ranks that differ, that cannot load, that share. They have a
 * root, so that loads wait for each other; without one, test_api_coll_late.c. */
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
#include "coll_ranks.h"
#include "models.h"
#include "proves.h"

static void session(unsigned cores)
{
    coll_root_env();
    coll_session(cores);
}

/* ---- differences ---- */

static void tables_that_differ_are_refused_at_load_by_name(void **state)
{
    struct bytes f[2] = {coll_neff(2, 16, 1, 0, 1), coll_neff(2, 15, 1, 0, 1)};
    struct coll_caller k[2] = {0};

    session(2);
    api_log_clear();
    coll_callers_run(k, 2, f);
    assert_int_equal(k[0].loaded, NRT_INVALID);
    assert_int_equal(k[1].loaded, NRT_INVALID);
    assert_true(api_log_has("sg00/collectives.json: [0]: rank 1 has another operation, size, type "
                            "or algorithm here than rank 0: all_reduce (add) of float32, 60 to 60 "
                            "bytes, and not all_reduce (add) of float32, 64 to 64 bytes"));
    coll_nothing_held(2);

    /* nothing is left of it */
    neff_free(&f[1]);
    f[1] = f[0];
    memset(k, 0, sizeof(k));
    coll_callers_run(k, 2, f);
    assert_int_equal(k[0].ran, NRT_SUCCESS);
    assert_true(k[0].got == 3 && k[1].got == 3);
    neff_free(&f[0]);
    nrt_close();
}

/* One entry, and how often it stands in the table. */
struct declared {
    const char *op, *reduce, *dtype, *algorithm;
    uint32_t ranks[2];
    unsigned members, entries;
    uint64_t bytes;
};

static struct bytes declared_neff(const struct declared *d)
{
    struct neff_build *b = neff_build_create("declared");
    struct neff_build_coll_group group = {d->ranks, d->members};
    uint64_t n = d->bytes / 4;
    struct neff_build_coll_range in = {neff_build_input(b, 0, "a", d->dtype, 1, &n), 0, d->bytes};
    struct neff_build_coll_range out = {neff_build_output(b, 0, "c", d->dtype, 1, &n), 0, d->bytes};
    struct neff_build_coll c = coll_floats(d->op, &group, &in, &out);
    struct prog p;

    c.reduce = d->reduce;
    c.dtype = d->dtype;
    c.algorithm = d->algorithm;
    for (unsigned i = 0; i < d->entries; i++)
        neff_build_collective(b, 0, &c);
    prog_init(&p, ISA_SP);
    coll_prog(&p, 0, 1);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

/* Rank 1 declares one thing otherwise: neither loads, and both are told who differs in what. */
static void whatever_differs_is_refused_at_load_by_name(void **state)
{
    static const struct declared same = {"all_reduce", "add", "float32", "mesh", {0, 1}, 2, 1, 64};
    static const char another[] = "sg00/collectives.json: [0]: rank 1 has another operation, size, "
                                  "type or algorithm here than rank 0: ";
    static const char apart[] =
        "sg00/collectives.json: [0]: of its group of 2, whose first is rank ";
    static const struct {
        struct declared d;
        const char *text;
    } others[] = {
        {{"all_to_all", NULL, "float32", "mesh", {0, 1}, 2, 1, 64}, another},
        {{"all_reduce", "max", "float32", "mesh", {0, 1}, 2, 1, 64}, another},
        {{"all_reduce", "add", "int32", "mesh", {0, 1}, 2, 1, 64}, another},
        {{"all_reduce", "add", "float32", "ring", {0, 1}, 2, 1, 64}, another},
        {{"all_reduce", "add", "float32", "mesh", {0, 1}, 2, 1, 60}, another},
        {{"all_reduce", "add", "float32", "mesh", {1, 0}, 2, 1, 64}, apart},
        {{"all_reduce", "add", "float32", "mesh", {1}, 1, 1, 64}, apart},
        {{"all_reduce", "add", "float32", "mesh", {0, 1}, 2, 2, 64},
         "sg00/collectives.json: rank 1 has 2 collectives with this group, rank 0 has 1"},
    };
    struct bytes f[2] = {declared_neff(&same), {0}};

    session(2);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct coll_caller k[2] = {0};

        f[1] = declared_neff(&others[i].d);
        api_log_clear();
        coll_callers_run(k, 2, f);
        for (unsigned r = 0; r < 2; r++)
            assert_int_equal(k[r].loaded, NRT_INVALID);
        if (!api_log_has(others[i].text))
            fail_msg("case %zu: log is\n%s", i, api_log());
        coll_nothing_held(2);
        neff_free(&f[1]);
    }
    neff_free(&f[0]);
    nrt_close();
}

static void operations_in_another_order_break_the_communicator(void **state)
{
    struct bytes f[2] = {coll_neff(2, 16, 2, 0, 1), coll_neff(2, 16, 2, 1, 1)};
    struct coll_caller k[2] = {0};

    setenv("NEURON_RT_EXEC_TIMEOUT", "10", 1);
    session(2);
    api_log_clear();
    coll_callers_run(k, 2, f);
    unsetenv("NEURON_RT_EXEC_TIMEOUT"); /* read at load */
    for (unsigned r = 0; r < 2; r++) {
        assert_int_equal(k[r].loaded, NRT_SUCCESS);
        assert_int_equal(k[r].ran, NRT_EXEC_HW_ERR_COLLECTIVES);
        assert_int_equal(k[r].again, NRT_EXEC_HW_ERR_COLLECTIVES); /* and it could be unloaded */
    }
    assert_true(api_log_has("missing collectives status on Neuron Device 0 NC "));
    assert_true(api_log_has("model one_of - suspected hang in collectives operation 0 out of 2"));
    coll_nothing_held(2);
    PROVES("api-148");

    neff_free(&f[1]);
    f[1] = f[0];
    memset(k, 0, sizeof(k));
    coll_callers_run(k, 2, f); /* the next load gets a new one */
    assert_int_equal(k[0].ran, NRT_SUCCESS);
    assert_int_equal(k[1].again, NRT_SUCCESS);
    assert_true(k[0].got == 3 && k[1].got == 3);
    neff_free(&f[0]);
    nrt_close();
}

/* ---- a rank that cannot load ---- */

/* The file is bad at one rank: the others, which wait for it, fail by its name, in the first load
 * of a world and later, and the next load is as if nothing had been. */
static void a_rank_that_cannot_load_fails_the_others_by_name(void **state)
{
    struct bytes good = coll_neff(3, 16, 1, 0, 1), f[3], all[3] = {good, good, good};
    char line[64];

    for (unsigned round = 0; round < 2; round++) {
        session(3);
        for (unsigned i = 0; i < 6; i++) {
            unsigned victim = (round + i) % 3;
            struct coll_caller k[3] = {0};

            memcpy(f, all, sizeof(f));
            f[victim].size = 2000; /* cut off */
            api_log_clear();
            coll_callers_load(k, 3, f);
            snprintf(line, sizeof(line), "rank %u cannot load the model: ", victim);
            assert_true(api_log_has(line));
            for (unsigned r = 0; r < 3; r++)
                assert_int_equal(k[r].loaded, r == victim ? NRT_INVALID : NRT_FAILURE);
            coll_nothing_held(3);

            memset(k, 0, sizeof(k));
            coll_callers_run(k, 3, all);
            for (unsigned r = 0; r < 3; r++) {
                assert_int_equal(k[r].again, NRT_SUCCESS);
                assert_true(k[r].got == 6);
            }
        }
        coll_nothing_held(3);
        nrt_close();
    }
    neff_free(&good);
}

/* Device memory that runs out at any point of a load, at one rank or at both: nobody waits for who
 * has given up, and all of it comes back. */
static void device_memory_runs_out_during_a_load(void **state)
{
    struct bytes f = coll_neff(2, 70000, 1, 0, 1), all[2] = {f, f};
    unsigned failed = 0, worked = 0;

    session(2);
    for (size_t room = 4096; room <= (size_t)64 << 20; room *= 2) {
        struct coll_caller k[2];
        nrt_tensor_t *held[256], *gap;
        unsigned n = 0;

        assert_ok(nrt_tensor_allocate(DEV, 1, room, NULL, &gap));
        for (size_t size = (size_t)1 << 34; size >= 4096 && n < 256;)
            if (nrt_tensor_allocate(DEV, 1, size, NULL, &held[n]) == NRT_SUCCESS)
                n++;
            else
                size /= 2;
        nrt_tensor_free(&gap);
        coll_callers_load(k, 2, all);
        assert_int_equal(k[0].loaded == NRT_SUCCESS, k[1].loaded == NRT_SUCCESS);
        for (unsigned r = 0; r < 2; r++) {
            if (k[r].loaded == NRT_SUCCESS)
                assert_ok(nrt_unload(k[r].m));
            failed += k[r].loaded != NRT_SUCCESS;
            worked += k[r].loaded == NRT_SUCCESS;
        }
        while (n > 0)
            nrt_tensor_free(&held[--n]);
        coll_nothing_held(2);
    }
    assert_true(failed > 0 && worked > 0);
    nrt_close();
    neff_free(&f);
}

/* Where all fail, one after the other and waiting for nobody, nothing of it is left. */
static void a_file_that_no_rank_can_load_leaves_nothing(void **state)
{
    struct bytes good = coll_neff(3, 16, 1, 0, 1), all[3] = {good, good, good};
    struct coll_caller k[3] = {0};
    nrt_model_t *m;

    session(3);
    coll_callers_run(k, 3,
                     all); /* the first load of a world is where the ranks wait for each other */
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(nrt_load_collectives(good.data, 2000, (int32_t)i % 3, -1, i % 3, 3, &m),
                         NRT_INVALID);
    memset(k, 0, sizeof(k));
    coll_callers_run(k, 3, all);
    for (unsigned r = 0; r < 3; r++)
        assert_int_equal(k[r].again, NRT_SUCCESS);
    coll_nothing_held(3);
    nrt_close();
    neff_free(&good);
}

/* ---- sharing ---- */

static uint64_t coll_bytes(unsigned core)
{
    struct device_config cfg = {.observe = true};
    struct device_instance *in;
    struct device_usage u;
    struct err err = {0};

    assert_int_equal(device_config_env(&cfg, &err), NRT_SUCCESS);
    assert_int_equal(device_instance_open(&cfg, &in, &err), NRT_SUCCESS);
    assert_int_equal(device_usage_core(in, core, &u), NRT_SUCCESS);
    device_instance_close(in);
    return u.bytes[DEVICE_CAT_COLL];
}

static void models_share_a_communicator_and_repeat(void **state)
{
    struct bytes f = coll_neff(2, 16, 1, 0, 1), other = coll_neff(2, 16, 2, 1, 2);
    struct coll_caller a[2], b[2], c[2];
    uint64_t one;

    session(2);
    coll_load_both(a, f);
    one = coll_bytes(0);
    assert_true(one > 0);
    coll_load_both(b, f);
    assert_int_equal(coll_bytes(0), one); /* the same group: nothing new */
    coll_load_both(c, other);
    assert_true(coll_bytes(0) > one); /* a second stream is a communicator of its own */
    coll_run_both(a, 1);
    assert_true(a[0].got == 3 && a[1].got == 3);
    coll_run_both(b, 4); /* each run adds what both had: 3, 6, 12, 24 */
    assert_true(b[0].got == 24 && b[1].got == 24);
    coll_run_both(c, 1);
    assert_true(c[0].got == 2 && c[1].got == 2);
    assert_ok(nrt_unload(a[0].m)); /* the others keep theirs */
    assert_ok(nrt_unload(a[1].m));
    coll_run_both(b, 1);
    assert_true(b[0].got == 3 && b[1].got == 3);
    for (unsigned r = 0; r < 2; r++) {
        assert_ok(nrt_unload(b[r].m));
        assert_ok(nrt_unload(c[r].m));
    }
    coll_nothing_held(2);
    neff_free(&f);
    neff_free(&other);
    nrt_close();
    PROVES("intra-027");
}

struct loader {
    struct coll_caller k;
    unsigned times;
};

static void *loader_thread(void *arg)
{
    struct loader *l = arg;

    for (unsigned i = 0; i < l->times; i++) {
        coll_load_thread(&l->k);
        if (l->k.loaded != NRT_SUCCESS || nrt_unload(l->k.m) != NRT_SUCCESS)
            break;
    }
    return NULL;
}

/* What a load asks of a communicator while the operations of another model use it. */
static void models_come_and_go_while_another_executes_on_the_core(void **state)
{
    struct bytes f = coll_neff(2, 16, 1, 0, 1), other = coll_neff(2, 16, 2, 1, 1);
    struct loader l[2] = {0};
    struct coll_caller a[2];

    session(2);
    coll_load_both(a, f);
    for (unsigned r = 0; r < 2; r++) {
        l[r].k = (struct coll_caller){.rank = r, .ranks = 2, .neff = other};
        l[r].times = 30;
        a[r].ranks = 300;
        assert_int_equal(pthread_create(&a[r].thread, NULL, coll_run_thread, &a[r]), 0);
        assert_int_equal(pthread_create(&l[r].k.thread, NULL, loader_thread, &l[r]), 0);
    }
    for (unsigned r = 0; r < 2; r++) {
        pthread_join(a[r].thread, NULL);
        pthread_join(l[r].k.thread, NULL);
        assert_int_equal(a[r].ran, NRT_SUCCESS);
        assert_int_equal(l[r].k.loaded, NRT_SUCCESS);
        assert_ok(nrt_unload(a[r].m));
    }
    coll_nothing_held(2);
    neff_free(&f);
    neff_free(&other);
    nrt_close();
}

/* The two ranks of a model start different operations, which breaks their communicator, at any time
 * of the loads of another model: each load gets the old one or a new one, and no rank waits alone.
 */
static void a_communicator_breaks_while_models_load(void **state)
{
    struct bytes f = coll_neff(2, 16, 2, 0, 1), wrong = coll_neff(2, 16, 2, 1, 1);
    struct bytes other = coll_neff(2, 16, 3, 2, 1);

    session(2);
    for (unsigned i = 0; i < 30; i++) {
        struct loader l[2] = {0};
        struct coll_caller a[2];

        for (unsigned r = 0; r < 2; r++) {
            a[r] = (struct coll_caller){.rank = r, .ranks = 2, .neff = r ? wrong : f};
            assert_int_equal(pthread_create(&a[r].thread, NULL, coll_load_thread, &a[r]), 0);
        }
        for (unsigned r = 0; r < 2; r++)
            pthread_join(a[r].thread, NULL);
        for (unsigned r = 0; r < 2; r++) {
            assert_int_equal(a[r].loaded, NRT_SUCCESS);
            l[r].k = (struct coll_caller){.rank = r, .ranks = 2, .neff = other};
            l[r].times = 3;
            a[r].ranks = 1;
            assert_int_equal(pthread_create(&l[r].k.thread, NULL, loader_thread, &l[r]), 0);
            assert_int_equal(pthread_create(&a[r].thread, NULL, coll_run_thread, &a[r]), 0);
        }
        for (unsigned r = 0; r < 2; r++) {
            pthread_join(a[r].thread, NULL);
            pthread_join(l[r].k.thread, NULL);
            assert_int_equal(a[r].ran, NRT_EXEC_HW_ERR_COLLECTIVES);
            assert_int_equal(l[r].k.loaded, NRT_SUCCESS);
            assert_ok(nrt_unload(a[r].m));
        }
    }
    coll_nothing_held(2);
    neff_free(&f);
    neff_free(&wrong);
    neff_free(&other);
    nrt_close();
}

struct sized {
    pthread_t thread;
    unsigned vnc, rank, ranks;
    struct bytes neff;
    NRT_STATUS st;
    float got;
};

static void *sized_thread(void *arg)
{
    struct sized *s = arg;
    struct io io;
    nrt_model_t *m;

    s->st = nrt_build_global_comm((int32_t)s->vnc, s->vnc, 4);
    if (s->st == NRT_SUCCESS)
        s->st = nrt_load_collectives(s->neff.data, s->neff.size, (int32_t)s->vnc, -1, s->rank,
                                     s->ranks, &m);
    if (s->st != NRT_SUCCESS)
        return NULL;
    io_init(&io);
    put_floats(io_add(&io, true, "a", DEV, (int)s->vnc, 64), &(float){(float)(1 << s->vnc)}, 1);
    io_add(&io, false, "c", DEV, (int)s->vnc, 64);
    s->st = nrt_execute(m, io.in, io.out);
    s->got = get_float(io.t[1], 0);
    io_fini(&io);
    if (nrt_unload(m) != NRT_SUCCESS)
        abort();
    return NULL;
}

/* A global communicator of four; models of two ranks on each half, then one of four. */
static void models_of_several_world_sizes(void **state)
{
    struct bytes two = coll_neff(2, 16, 1, 0, 1), four = coll_neff(4, 16, 1, 0, 1);
    static const float halves[] = {3, 3, 12, 12};
    struct sized s[4];

    session(4);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned r = 0; r < 4; r++) {
            s[r] = (struct sized){.vnc = r,
                                  .rank = round ? r : r % 2,
                                  .ranks = round ? 4 : 2,
                                  .neff = round ? four : two};
            assert_int_equal(pthread_create(&s[r].thread, NULL, sized_thread, &s[r]), 0);
        }
        for (unsigned r = 0; r < 4; r++) {
            pthread_join(s[r].thread, NULL);
            assert_int_equal(s[r].st, NRT_SUCCESS);
            assert_true(s[r].got == (round ? 15 : halves[r]));
        }
    }
    PROVES("inter-018");
    neff_free(&two);
    neff_free(&four);
    nrt_close();
}

static int teardown(void **state)
{
    unsetenv("NEURON_RT_ROOT_COMM_ID");
    return coll_teardown(state);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_that_differ_are_refused_at_load_by_name),
        cmocka_unit_test(whatever_differs_is_refused_at_load_by_name),
        cmocka_unit_test(a_rank_that_cannot_load_fails_the_others_by_name),
        cmocka_unit_test(device_memory_runs_out_during_a_load),
        cmocka_unit_test(a_file_that_no_rank_can_load_leaves_nothing),
        cmocka_unit_test(operations_in_another_order_break_the_communicator),
        cmocka_unit_test(models_share_a_communicator_and_repeat),
        cmocka_unit_test(models_come_and_go_while_another_executes_on_the_core),
        cmocka_unit_test(a_communicator_breaks_while_models_load),
        cmocka_unit_test(models_of_several_world_sizes),
    };

    return cmocka_run_group_tests_name("api-coll-load", tests, coll_setup, teardown);
}
