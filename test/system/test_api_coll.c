/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives in NEFFs through the public functions: ranks as threads of one process and as
 * processes, random tables against the definitions, and what happens when ranks differ, are absent
 * or die. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "coll_case.h"
#include "models.h"
#include "proves.h"
#include "runner.h"

#define TYPE "trn2.48xlarge"

static uint64_t seed;

/* ---- ranks as threads ---- */

struct rank_thread {
    pthread_t thread;
    unsigned rank, ranks;
    const struct coll_case *c;
    struct bytes neff;
    NRT_STATUS loaded;
    const char *text;
    char copy[256];
};

static void *case_thread(void *arg)
{
    struct rank_thread *t = arg;
    nrt_model_t *m;

    t->loaded = nrt_load_collectives(t->neff.data, t->neff.size, (int32_t)t->rank, -1, t->rank,
                                     t->ranks, &m);
    if (t->loaded != NRT_SUCCESS)
        return NULL;
    t->text = case_run(t->c, t->rank, (int)t->rank, m, 2);
    if (t->text)
        snprintf(t->copy, sizeof(t->copy), "%s", t->text);
    if (nrt_unload(m) != NRT_SUCCESS)
        abort();
    return NULL;
}

static void case_as_threads(const struct coll_case *c)
{
    struct rank_thread t[CASE_RANKS] = {0};
    struct bytes f = case_neff(c);

    for (unsigned r = 0; r < c->ranks; r++) {
        t[r].rank = r;
        t[r].ranks = c->ranks;
        t[r].c = c;
        t[r].neff = f;
        assert_int_equal(pthread_create(&t[r].thread, NULL, case_thread, &t[r]), 0);
    }
    for (unsigned r = 0; r < c->ranks; r++)
        pthread_join(t[r].thread, NULL);
    neff_free(&f);
    for (unsigned r = 0; r < c->ranks; r++) {
        if (t[r].loaded != NRT_SUCCESS)
            fail_msg("seed %llu: rank %u cannot load: %d", (unsigned long long)c->seed, r,
                     t[r].loaded);
        if (t[r].text)
            fail_msg("%s", t[r].copy);
    }
}

static void root_env(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof(a);
    char text[64];

    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
                getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    close(fd);
    snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(a.sin_port));
    setenv("NEURON_RT_ROOT_COMM_ID", text, 1);
}

static void session(unsigned cores)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", cores);
    setenv("NEURON_RT_NUM_CORES", text, 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
}

static void nothing_held(unsigned cores)
{
    nrt_vnc_memory_stats_t stats;
    size_t n;

    for (uint32_t i = 0; i < cores; i++) {
        assert_ok(nrt_get_vnc_memory_stats(i, &stats, sizeof(stats), &n));
        assert_int_equal(stats.bytes_used, 0);
    }
}

/* What has been compared, among groups of two and more ranks. */
static struct {
    unsigned kind[CASE_KINDS], reduce[3], dtype[DT_COUNT], stream[2], in_place, coalesced, idle;
} seen;

static void see(const struct coll_case *c)
{
    for (unsigned k = 0; k < c->ops; k++) {
        const struct case_op *op = &c->op[k];

        seen.idle += op->group_size * op->groups < c->ranks;
        if (op->group_size < 2)
            continue;
        seen.kind[op->kind]++;
        seen.dtype[op->dtype] += op->kind != CASE_BARRIER;
        seen.stream[op->stream]++;
        seen.coalesced += op->tensors > 1;
        seen.in_place += op->in_place && op->kind == CASE_ALL_REDUCE;
        if (op->kind == CASE_ALL_REDUCE || op->kind == CASE_REDUCE_SCATTER)
            seen.reduce[op->reduce]++;
    }
}

/* A seed that misses one of these is one in millions. */
static void all_was_seen(void)
{
    for (unsigned i = 0; i < CASE_KINDS; i++)
        assert_true(seen.kind[i] > 0);
    for (unsigned i = DT_UINT64; i <= DT_FP8_E5; i++)
        assert_true(seen.dtype[i] > 0 || i == DT_FP32R);
    assert_true(seen.reduce[0] && seen.reduce[1] && seen.reduce[2]);
    assert_true(seen.stream[0] && seen.stream[1] && seen.in_place && seen.coalesced && seen.idle);
    PROVES("intra-001");
    PROVES("intra-002");
    PROVES("intra-003");
    PROVES("intra-004");
    PROVES("intra-005");
    PROVES("intra-006");
    PROVES("intra-007");
    PROVES("intra-009");
    PROVES("intra-010");
    PROVES("intra-011");
    PROVES("intra-012");
    PROVES("intra-013");
    PROVES("intra-021");
    PROVES("ovl-004");
}

static void random_tables_by_threads_of_one_process(void **state)
{
    static const unsigned sizes[] = {1, 2, 3, 4, 5, 8};

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        session(sizes[i]);
        for (unsigned k = 0; k < 12; k++) {
            struct coll_case c = case_draw(seed + 100 * i + k, sizes[i]);

            case_as_threads(&c);
            see(&c);
        }
        nothing_held(sizes[i]);
        nrt_close();
    }
    all_was_seen();
}

static void threads_meet_over_the_root_when_it_is_given(void **state)
{
    root_env();
    session(4);
    for (unsigned k = 0; k < 10; k++) {
        struct coll_case c = case_draw(seed + 1000 + k, 4);

        case_as_threads(&c);
    }
    nothing_held(4);
    nrt_close();
    unsetenv("NEURON_RT_ROOT_COMM_ID");
}

/* ---- ranks as processes ---- */

/* rank ranks seed cases */
static int case_helper(int argc, char **argv)
{
    unsigned rank = (unsigned)atoi(argv[1]), ranks = (unsigned)atoi(argv[2]);
    uint64_t first = strtoull(argv[3], NULL, 10);

    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS)
        return 1;
    for (unsigned k = 0; k < (unsigned)atoi(argv[4]); k++) {
        struct coll_case c = case_draw(first + k, ranks);
        struct bytes f = case_neff(&c);
        const char *text;
        nrt_model_t *m;

        if (nrt_load_collectives(f.data, f.size, 0, -1, rank, ranks, &m) != NRT_SUCCESS)
            return 2;
        text = case_run(&c, rank, 0, m, 2);
        if (text) {
            fprintf(stderr, "%s\n", text);
            return 3;
        }
        if (nrt_unload(m) != NRT_SUCCESS)
            return 4;
        neff_free(&f);
    }
    if (nrt_barrier(0, rank, ranks) != NRT_SUCCESS)
        return 5;
    nrt_close();
    return 0;
}

static void rank_start(struct runner_proc *p, const char *helper, unsigned rank, unsigned ranks,
                       const char *a, const char *b)
{
    char r[16], n[16], cores[40];

    snprintf(r, sizeof(r), "%u", rank);
    snprintf(n, sizeof(n), "%u", ranks);
    snprintf(cores, sizeof(cores), "NEURON_RT_VISIBLE_CORES=%u", rank);
    assert_true(runner_start(p, helper, (const char *[]){r, n, a, b, NULL},
                             (const char *[]){cores, "NEURON_RT_NUM_CORES", NULL}));
}

static void random_tables_by_processes(void **state)
{
    static const unsigned sizes[] = {2, 3, 4, 5, 8};

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct runner_proc p[CASE_RANKS];
        char first[32];

        root_env();
        snprintf(first, sizeof(first), "%llu", (unsigned long long)(seed + 2000 + 100 * i));
        for (unsigned r = 0; r < sizes[i]; r++)
            rank_start(&p[r], "case", r, sizes[i], first, "8");
        for (unsigned r = 0; r < sizes[i]; r++)
            assert_int_equal(runner_wait(&p[r], 120000), 0);
    }
    unsetenv("NEURON_RT_ROOT_COMM_ID");
    PROVES("api-011");
}

/* ---- NEFFs of this test ---- */

/* Entries: all_reduce of n floats of "a" to "c" on stream i for every entry i; SP starts `which`
 * and waits. */
static struct bytes one_of(unsigned ranks, uint64_t n, unsigned entries, unsigned which,
                           unsigned streams)
{
    struct neff_build *b = neff_build_create("one_of");
    struct neff_build_coll_range in = {neff_build_input(b, 0, "a", "float32", 1, &n), 0, 4 * n};
    struct neff_build_coll_range out = {neff_build_output(b, 0, "c", "float32", 1, &n), 0, 4 * n};
    uint32_t list[CASE_RANKS];
    struct neff_build_coll_group group = {list, ranks};
    struct neff_build_coll c = {.op = "all_reduce",
                                .dtype = "float32",
                                .groups = &group,
                                .group_count = 1,
                                .in = &in,
                                .in_count = 1,
                                .out = &out,
                                .out_count = 1};
    struct prog p;

    for (uint32_t r = 0; r < ranks; r++)
        list[r] = r;
    for (unsigned i = 0; i < entries; i++) {
        c.reduce = i % 2 ? "max" : "add";
        c.stream = i % streams;
        neff_build_collective(b, 0, &c);
    }
    prog_init(&p, ISA_SP);
    prog_op(&p, ISA_OP_TRIGGER_COLLECTIVE)->body.s.first = 1 + 3;
    p.rec[p.n - 1].body.s.imm = (int32_t)which;
    prog_op(&p, ISA_OP_NOP);
    prog_wait(&p, 3, 1);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

struct caller {
    pthread_t thread;
    unsigned rank, ranks;
    struct bytes neff;
    NRT_STATUS loaded, ran, again;
    nrt_model_t *m;
    float got;
    bool keep; /* the model */
};

static void *caller_thread(void *arg)
{
    struct caller *k = arg;
    struct io io;

    k->loaded = nrt_load_collectives(k->neff.data, k->neff.size, (int32_t)k->rank, -1, k->rank,
                                     k->ranks, &k->m);
    if (k->loaded != NRT_SUCCESS)
        return NULL;
    io_init(&io);
    put_floats(io_add(&io, true, "a", DEV, (int)k->rank, 64), &(float){(float)k->rank + 1}, 1);
    io_add(&io, false, "c", DEV, (int)k->rank, 64);
    k->ran = nrt_execute(k->m, io.in, io.out);
    k->got = get_float(io.t[1], 0);
    k->again = nrt_execute(k->m, io.in, io.out);
    io_fini(&io);
    if (!k->keep && nrt_unload(k->m) != NRT_SUCCESS)
        abort();
    return NULL;
}

/* Rank r loads f[r]; all run together. */
static void callers_run(struct caller *k, unsigned ranks, struct bytes *f)
{
    for (unsigned r = 0; r < ranks; r++) {
        k[r].rank = r;
        k[r].ranks = ranks;
        k[r].neff = f[r];
        assert_int_equal(pthread_create(&k[r].thread, NULL, caller_thread, &k[r]), 0);
    }
    for (unsigned r = 0; r < ranks; r++)
        pthread_join(k[r].thread, NULL);
}

/* ---- differences ---- */

static void tables_that_differ_are_refused_at_load_by_name(void **state)
{
    struct bytes f[2] = {one_of(2, 16, 1, 0, 1), one_of(2, 15, 1, 0, 1)};
    struct caller k[2] = {0};

    session(2);
    api_log_clear();
    callers_run(k, 2, f);
    assert_int_equal(k[0].loaded, NRT_INVALID);
    assert_int_equal(k[1].loaded, NRT_INVALID);
    assert_true(api_log_has("sg00/collectives.json: [0]: rank 1 has another operation, size, type "
                            "or algorithm here than rank 0"));
    nothing_held(2);

    /* nothing is left of it */
    neff_free(&f[1]);
    f[1] = f[0];
    memset(k, 0, sizeof(k));
    callers_run(k, 2, f);
    assert_int_equal(k[0].ran, NRT_SUCCESS);
    assert_true(k[0].got == 3 && k[1].got == 3);
    neff_free(&f[0]);
    nrt_close();
}

static void operations_in_another_order_break_the_communicator(void **state)
{
    struct bytes f[2] = {one_of(2, 16, 2, 0, 1), one_of(2, 16, 2, 1, 1)};
    struct caller k[2] = {0};

    setenv("NEURON_RT_EXEC_TIMEOUT", "10", 1);
    session(2);
    api_log_clear();
    callers_run(k, 2, f);
    for (unsigned r = 0; r < 2; r++) {
        assert_int_equal(k[r].loaded, NRT_SUCCESS);
        assert_int_equal(k[r].ran, NRT_EXEC_HW_ERR_COLLECTIVES);
        assert_int_equal(k[r].again, NRT_EXEC_HW_ERR_COLLECTIVES); /* and it could be unloaded */
    }
    assert_true(api_log_has("missing collectives status on Neuron Device 0 NC "));
    assert_true(api_log_has("model one_of - suspected hang in collectives operation 0 out of 2"));
    nothing_held(2);
    PROVES("api-148");

    neff_free(&f[1]);
    f[1] = f[0];
    memset(k, 0, sizeof(k));
    callers_run(k, 2, f); /* the next load gets a new one */
    assert_int_equal(k[0].ran, NRT_SUCCESS);
    assert_int_equal(k[1].again, NRT_SUCCESS);
    assert_true(k[0].got == 3 && k[1].got == 3);
    neff_free(&f[0]);
    nrt_close();
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
}

static void *load_only(void *arg)
{
    struct caller *k = arg;

    k->loaded = nrt_load_collectives(k->neff.data, k->neff.size, (int32_t)k->rank, -1, k->rank,
                                     k->ranks, &k->m);
    return NULL;
}

/* ---- a rank that cannot load ---- */

static void callers_load(struct caller *k, unsigned ranks, const struct bytes *f)
{
    for (unsigned r = 0; r < ranks; r++) {
        k[r] = (struct caller){.rank = r, .ranks = ranks, .neff = f[r]};
        assert_int_equal(pthread_create(&k[r].thread, NULL, load_only, &k[r]), 0);
    }
    for (unsigned r = 0; r < ranks; r++)
        pthread_join(k[r].thread, NULL);
}

/* The file is bad at one rank: the others, which wait for it, fail by its name, in the first load
 * of a world and later, and the next load is as if nothing had been. */
static void a_rank_that_cannot_load_fails_the_others_by_name(void **state)
{
    struct bytes good = one_of(3, 16, 1, 0, 1), f[3], all[3] = {good, good, good};
    char line[64];

    for (unsigned root = 0; root < 2; root++) {
        if (root)
            root_env();
        session(3);
        for (unsigned i = 0; i < 6; i++) {
            unsigned victim = (unsigned)(seed + i) % 3;
            struct caller k[3] = {0};

            memcpy(f, all, sizeof(f));
            f[victim].size = 2000; /* cut off */
            api_log_clear();
            callers_load(k, 3, f);
            snprintf(line, sizeof(line), "rank %u cannot load the model: ", victim);
            assert_true(api_log_has(line));
            for (unsigned r = 0; r < 3; r++)
                assert_int_equal(k[r].loaded, r == victim ? NRT_INVALID : NRT_FAILURE);
            nothing_held(3);

            memset(k, 0, sizeof(k));
            callers_run(k, 3, all);
            for (unsigned r = 0; r < 3; r++) {
                assert_int_equal(k[r].again, NRT_SUCCESS);
                assert_true(k[r].got == 6);
            }
        }
        nothing_held(3);
        nrt_close();
    }
    unsetenv("NEURON_RT_ROOT_COMM_ID");
    neff_free(&good);
}

/* Device memory that runs out at any point of a load, at one rank or at both: nobody waits for who
 * has given up, and all of it comes back. */
static void device_memory_runs_out_during_a_load(void **state)
{
    struct bytes f = one_of(2, 70000, 1, 0, 1), all[2] = {f, f};
    unsigned failed = 0, worked = 0;

    session(2);
    for (size_t room = 4096; room <= (size_t)64 << 20; room *= 2) {
        struct caller k[2];
        nrt_tensor_t *held[256], *gap;
        unsigned n = 0;

        assert_ok(nrt_tensor_allocate(DEV, 1, room, NULL, &gap));
        for (size_t size = (size_t)1 << 34; size >= 4096 && n < 256;)
            if (nrt_tensor_allocate(DEV, 1, size, NULL, &held[n]) == NRT_SUCCESS)
                n++;
            else
                size /= 2;
        nrt_tensor_free(&gap);
        callers_load(k, 2, all);
        for (unsigned r = 0; r < 2; r++) {
            if (k[r].loaded == NRT_SUCCESS)
                assert_ok(nrt_unload(k[r].m));
            failed += k[r].loaded != NRT_SUCCESS;
            worked += k[r].loaded == NRT_SUCCESS;
        }
        while (n > 0)
            nrt_tensor_free(&held[--n]);
        nothing_held(2);
    }
    assert_true(failed > 0 && worked > 0);
    nrt_close();
    neff_free(&f);
}

/* Where all fail, one after the other and waiting for nobody, nothing of it is left. */
static void a_file_that_no_rank_can_load_leaves_nothing(void **state)
{
    struct bytes good = one_of(3, 16, 1, 0, 1), all[3] = {good, good, good};
    struct caller k[3] = {0};
    nrt_model_t *m;

    session(3);
    callers_run(k, 3, all); /* the first load of a world is where the ranks wait for each other */
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(nrt_load_collectives(good.data, 2000, (int32_t)i % 3, -1, i % 3, 3, &m),
                         NRT_INVALID);
    memset(k, 0, sizeof(k));
    callers_run(k, 3, all);
    for (unsigned r = 0; r < 3; r++)
        assert_int_equal(k[r].again, NRT_SUCCESS);
    nothing_held(3);
    nrt_close();
    neff_free(&good);
}

/* Loads on both ranks of a session of two; the models stay. */
static void load_both(struct caller *k, struct bytes f)
{
    for (unsigned r = 0; r < 2; r++) {
        k[r] = (struct caller){.rank = r, .ranks = 2, .neff = f};
        assert_int_equal(pthread_create(&k[r].thread, NULL, load_only, &k[r]), 0);
    }
    for (unsigned r = 0; r < 2; r++) {
        pthread_join(k[r].thread, NULL);
        assert_int_equal(k[r].loaded, NRT_SUCCESS);
    }
}

static NRT_STATUS run_one(struct caller *k, unsigned repeat)
{
    struct io io;
    NRT_STATUS st;

    io_init(&io);
    put_floats(io_add(&io, true, "a", DEV, (int)k->rank, 64), &(float){(float)k->rank + 1}, 1);
    io_add(&io, false, "c", DEV, (int)k->rank, 64);
    st = nrt_execute_repeat(k->m, io.in, io.out, (int)repeat);
    k->got = get_float(io.t[1], 0);
    io_fini(&io);
    return st;
}

static void *run_thread(void *arg)
{
    struct caller *k = arg;

    k->ran = run_one(k, k->ranks); /* ranks: how often */
    return NULL;
}

static void run_both(struct caller *k, unsigned repeat)
{
    for (unsigned r = 0; r < 2; r++) {
        k[r].ranks = repeat;
        assert_int_equal(pthread_create(&k[r].thread, NULL, run_thread, &k[r]), 0);
    }
    for (unsigned r = 0; r < 2; r++) {
        pthread_join(k[r].thread, NULL);
        assert_int_equal(k[r].ran, NRT_SUCCESS);
    }
}

static void a_rank_that_does_not_come_is_named_at_the_timeout(void **state)
{
    struct bytes f = one_of(2, 16, 1, 0, 1);
    struct caller k[2];

    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    session(2);
    load_both(k, f);
    api_log_clear();
    assert_int_equal(run_one(&k[0], 1), NRT_EXEC_HW_ERR_COLLECTIVES);
    assert_true(api_log_has("nothing moves any more"));
    assert_true(api_log_has("rank 1 has not begun any operation"));
    assert_true(api_log_has("suspected hang in collectives operation 0 out of 1"));
    PROVES("dump-056");
    assert_int_equal(run_one(&k[1], 1), NRT_EXEC_HW_ERR_COLLECTIVES); /* it was told */
    for (unsigned r = 0; r < 2; r++)
        assert_ok(nrt_unload(k[r].m));
    nothing_held(2);
    load_both(k, f);
    run_both(k, 1);
    assert_true(k[0].got == 3 && k[1].got == 3);
    neff_free(&f);
    nrt_close();
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
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
    struct bytes f = one_of(2, 16, 1, 0, 1), other = one_of(2, 16, 2, 1, 2);
    struct caller a[2], b[2], c[2];
    uint64_t one;

    session(2);
    load_both(a, f);
    one = coll_bytes(0);
    assert_true(one > 0);
    load_both(b, f);
    assert_int_equal(coll_bytes(0), one); /* the same group: nothing new */
    load_both(c, other);
    assert_true(coll_bytes(0) > one); /* a second stream is a communicator of its own */
    run_both(a, 1);
    assert_true(a[0].got == 3 && a[1].got == 3);
    run_both(b, 4); /* each run adds what both had: 3, 6, 12, 24 */
    assert_true(b[0].got == 24 && b[1].got == 24);
    run_both(c, 1);
    assert_true(c[0].got == 2 && c[1].got == 2);
    assert_ok(nrt_unload(a[0].m)); /* the others keep theirs */
    assert_ok(nrt_unload(a[1].m));
    run_both(b, 1);
    assert_true(b[0].got == 3 && b[1].got == 3);
    for (unsigned r = 0; r < 2; r++) {
        assert_ok(nrt_unload(b[r].m));
        assert_ok(nrt_unload(c[r].m));
    }
    nothing_held(2);
    neff_free(&f);
    neff_free(&other);
    nrt_close();
    PROVES("intra-027");
}

struct loader {
    struct caller k;
    unsigned times;
};

static void *loader_thread(void *arg)
{
    struct loader *l = arg;

    for (unsigned i = 0; i < l->times; i++) {
        load_only(&l->k);
        if (l->k.loaded != NRT_SUCCESS || nrt_unload(l->k.m) != NRT_SUCCESS)
            break;
    }
    return NULL;
}

/* What a load asks of a communicator while the operations of another model use it. */
static void models_come_and_go_while_another_executes_on_the_core(void **state)
{
    struct bytes f = one_of(2, 16, 1, 0, 1), other = one_of(2, 16, 2, 1, 1);
    struct loader l[2] = {0};
    struct caller a[2];

    session(2);
    load_both(a, f);
    for (unsigned r = 0; r < 2; r++) {
        l[r].k = (struct caller){.rank = r, .ranks = 2, .neff = other};
        l[r].times = 30;
        a[r].ranks = 300;
        assert_int_equal(pthread_create(&a[r].thread, NULL, run_thread, &a[r]), 0);
        assert_int_equal(pthread_create(&l[r].k.thread, NULL, loader_thread, &l[r]), 0);
    }
    for (unsigned r = 0; r < 2; r++) {
        pthread_join(a[r].thread, NULL);
        pthread_join(l[r].k.thread, NULL);
        assert_int_equal(a[r].ran, NRT_SUCCESS);
        assert_int_equal(l[r].k.loaded, NRT_SUCCESS);
        assert_ok(nrt_unload(a[r].m));
    }
    nothing_held(2);
    neff_free(&f);
    neff_free(&other);
    nrt_close();
}

/* The two ranks of a model start different operations, which breaks their communicator, at any time
 * of the loads of another model: each load gets the old one or a new one, and no rank waits alone.
 */
static void a_communicator_breaks_while_models_load(void **state)
{
    struct bytes f = one_of(2, 16, 2, 0, 1), wrong = one_of(2, 16, 2, 1, 1);
    struct bytes other = one_of(2, 16, 3, 2, 1);

    session(2);
    for (unsigned i = 0; i < 30; i++) {
        struct loader l[2] = {0};
        struct caller a[2];

        for (unsigned r = 0; r < 2; r++) {
            a[r] = (struct caller){.rank = r, .ranks = 2, .neff = r ? wrong : f};
            assert_int_equal(pthread_create(&a[r].thread, NULL, load_only, &a[r]), 0);
        }
        for (unsigned r = 0; r < 2; r++)
            pthread_join(a[r].thread, NULL);
        for (unsigned r = 0; r < 2; r++) {
            assert_int_equal(a[r].loaded, NRT_SUCCESS);
            l[r].k = (struct caller){.rank = r, .ranks = 2, .neff = other};
            l[r].times = 3;
            a[r].ranks = 1;
            assert_int_equal(pthread_create(&l[r].k.thread, NULL, loader_thread, &l[r]), 0);
            assert_int_equal(pthread_create(&a[r].thread, NULL, run_thread, &a[r]), 0);
        }
        for (unsigned r = 0; r < 2; r++) {
            pthread_join(a[r].thread, NULL);
            pthread_join(l[r].k.thread, NULL);
            assert_int_equal(a[r].ran, NRT_EXEC_HW_ERR_COLLECTIVES);
            assert_int_equal(l[r].k.loaded, NRT_SUCCESS);
            assert_ok(nrt_unload(a[r].m));
        }
    }
    nothing_held(2);
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
    struct bytes two = one_of(2, 16, 1, 0, 1), four = one_of(4, 16, 1, 0, 1);
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
    neff_free(&two);
    neff_free(&four);
    nrt_close();
}

/* ---- one variable on both sides ---- */

struct shared_op {
    const char *op;
    bool placed; /* declared in place: the smaller side lies in the larger at this rank's place */
    unsigned in_blocks, out_blocks; /* 0: one for each rank */
    bool halfway;                   /* the output begins in the middle of the first block */
};

static const struct shared_op shared_ops[] = {
    {"all_gather", true, 1, 0, false},      {"reduce_scatter", true, 0, 1, false},
    {"all_gather", false, 1, 0, false},     {"all_gather", false, 1, 0, true},
    {"reduce_scatter", false, 0, 1, false}, {"reduce_scatter", false, 0, 1, true},
    {"all_reduce", true, 1, 1, false},      {"all_reduce", false, 1, 1, true},
    {"all_to_all", false, 0, 0, true},
};
#define SHARED_RANKS 5

struct sharer {
    pthread_t thread;
    const struct shared_op *o;
    unsigned rank, ranks;
    uint64_t n; /* elements of a block */
    uint64_t in_at, out_at, in_n, out_n, total;
    float *x; /* [total], after each run */
    NRT_STATUS st;
};

static float shared_value(unsigned rank, uint64_t i)
{
    return (float)((rank * 31 + i * 7) % 13);
}

/* The operation as docs/spec/collectives.md 2 defines it, from what all ranks had. */
static float shared_expected(const struct sharer *k, uint64_t i)
{
    uint64_t at = i - k->out_at, block = at / k->n;
    const struct sharer *all = k - k->rank;
    float sum = 0;

    if (i < k->out_at || i >= k->out_at + k->out_n)
        return shared_value(k->rank, i);
    if (strcmp(k->o->op, "all_gather") == 0)
        return shared_value((unsigned)block, all[block].in_at + at % k->n);
    if (strcmp(k->o->op, "all_to_all") == 0)
        return shared_value((unsigned)block, all[block].in_at + k->rank * k->n + at % k->n);
    if (strcmp(k->o->op, "reduce_scatter") == 0)
        at += k->rank * k->n;
    for (unsigned r = 0; r < k->ranks; r++)
        sum += shared_value(r, all[r].in_at + at);
    return sum;
}

static struct bytes shared_neff(const struct sharer *k)
{
    struct neff_build *b = neff_build_create("shared");
    int x = neff_build_output(b, 0, "x", "float32", 1, &k->total);
    struct neff_build_coll_range in = {x, 4 * k->in_at, 4 * k->in_n},
                                 out = {x, 4 * k->out_at, 4 * k->out_n};
    uint32_t list[SHARED_RANKS] = {0, 1, 2, 3, 4};
    struct neff_build_coll_group group = {list, k->ranks};
    struct neff_build_coll c = {.op = k->o->op,
                                .dtype = "float32",
                                .groups = &group,
                                .group_count = 1,
                                .in = &in,
                                .in_count = 1,
                                .out = &out,
                                .out_count = 1};
    struct prog p;

    if (strstr(k->o->op, "reduce"))
        c.reduce = "add";
    assert_int_equal(neff_build_collective(b, 0, &c), 0);
    prog_init(&p, ISA_SP);
    prog_op(&p, ISA_OP_TRIGGER_COLLECTIVE)->body.s.first = 1 + 3;
    prog_op(&p, ISA_OP_NOP);
    prog_wait(&p, 3, 1);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

static void *sharer_thread(void *arg)
{
    struct sharer *k = arg;
    struct bytes f = shared_neff(k);
    nrt_tensor_t *x;
    nrt_model_t *m;
    struct io io;

    k->st = nrt_load_collectives(f.data, f.size, (int32_t)k->rank, -1, k->rank, k->ranks, &m);
    neff_free(&f);
    if (k->st != NRT_SUCCESS)
        return NULL;
    io_init(&io);
    x = io_add(&io, false, "x", DEV, (int)k->rank, 4 * k->total);
    for (unsigned i = 0; i < 2 && k->st == NRT_SUCCESS; i++) { /* the second finds its copy made */
        for (uint64_t e = 0; e < k->total; e++)
            k->x[e] = shared_value(k->rank, e);
        assert_ok(nrt_tensor_write(x, k->x, 0, 4 * k->total));
        k->st = nrt_execute(m, io.in, io.out);
        assert_ok(nrt_tensor_read(x, k->x, 0, 4 * k->total));
        for (uint64_t e = 0; e < k->total && k->st == NRT_SUCCESS; e++)
            if (k->x[e] != shared_expected(k, e)) {
                fprintf(stderr, "%s%s of %u ranks, %llu elements: rank %u, run %u: %llu is %g\n",
                        k->o->op, k->o->placed ? " in place" : "", k->ranks,
                        (unsigned long long)k->n, k->rank, i, (unsigned long long)e,
                        (double)k->x[e]);
                k->st = NRT_FAILURE;
            }
    }
    io_fini(&io);
    if (nrt_unload(m) != NRT_SUCCESS)
        abort();
    return NULL;
}

static void shared_run(const struct shared_op *o, unsigned ranks, uint64_t n)
{
    struct sharer k[SHARED_RANKS] = {0};

    for (unsigned r = 0; r < ranks; r++) {
        k[r] = (struct sharer){.o = o, .rank = r, .ranks = ranks, .n = n};
        k[r].in_n = n * (o->in_blocks ? o->in_blocks : ranks);
        k[r].out_n = n * (o->out_blocks ? o->out_blocks : ranks);
        k[r].out_at = o->halfway ? n / 2 : 0;
        if (o->placed && k[r].in_n < k[r].out_n)
            k[r].in_at = r * n;
        if (o->placed && k[r].out_n < k[r].in_n)
            k[r].out_at = r * n;
        k[r].total = n * (ranks + 1);
        k[r].x = malloc(4 * k[r].total);
    }
    for (unsigned r = 0; r < ranks; r++)
        assert_int_equal(pthread_create(&k[r].thread, NULL, sharer_thread, &k[r]), 0);
    for (unsigned r = 0; r < ranks; r++)
        pthread_join(k[r].thread, NULL);
    for (unsigned r = 0; r < ranks; r++) {
        free(k[r].x);
        assert_int_equal(k[r].st, NRT_SUCCESS);
    }
}

/* Inputs in place, and inputs that an output overlaps without being so: those go as if the output
 * lay elsewhere. */
static void one_variable_is_input_and_output(void **state)
{
    static const uint64_t sizes[] = {2, 16, 250, 5000, 70000};
    uint64_t draw = seed;

    for (unsigned ranks = 2; ranks <= SHARED_RANKS; ranks++) {
        session(ranks);
        for (unsigned i = 0; i < sizeof(shared_ops) / sizeof(shared_ops[0]); i++) {
            draw = draw * UINT64_C(6364136223846793005) + 1442695040888963407u;
            shared_run(&shared_ops[i], ranks, sizes[(draw >> 33) % 5]);
        }
        nothing_held(ranks);
        nrt_close();
    }
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
    struct neff_build_coll c = {.op = "all_reduce",
                                .reduce = "add",
                                .dtype = "float32",
                                .groups = &group,
                                .group_count = 1,
                                .in = &in,
                                .in_count = 1,
                                .out = &out,
                                .out_count = 1};
    struct isa_record rec[203];
    struct caller k[2];
    struct bytes f;
    struct prog p;

    neff_build_collective(b, 0, &c);
    prog_init(&p, ISA_SP);
    prog_op(&p, ISA_OP_TRIGGER_COLLECTIVE)->body.s.first = 1 + 3;
    prog_op(&p, ISA_OP_NOP);
    prog_wait(&p, 3, 200);
    prog_op(&p, ISA_OP_END);
    for (unsigned i = 0; i < 200; i++) /* the stream holds 64 */
        rec[i] = p.rec[0];
    memcpy(rec + 200, p.rec + 1, 2 * sizeof(rec[0]));
    assert_int_equal(neff_build_program(b, 0, NEFF_SP, rec, 202 * sizeof(rec[0])), 0);
    f = neff_finish(b, NULL);
    session(2);
    load_both(k, f);
    run_both(k, 1);
    assert_true(k[0].got == 3 && k[1].got == 3);
    neff_free(&f);
    nrt_close();
}

static void *streams_thread(void *arg)
{
    struct caller *k = arg;
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
    struct caller k[2];
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
    session(2);
    load_both(k, f);
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
    struct bytes f = one_of(1, 16, 3, 0, 3);
    nrt_model_t *m;

    session(1); /* a physical core of a Trainium2 has two CC-cores */
    assert_int_equal(nrt_load_collectives(f.data, f.size, 0, -1, 0, 1, &m), NRT_INVALID);
    neff_free(&f);
    f = one_of(1, 16, 2, 1, 2);
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
    struct caller k[2];
    uint64_t act = 0, started = 0;
    bool waits = false;
    struct timespec since, now;
    struct neff_build *b = neff_build_create("overlap");
    uint64_t n = 16;
    struct neff_build_coll_range in = {neff_build_input(b, 0, "a", "float32", 1, &n), 0, 64};
    struct neff_build_coll_range out = {neff_build_output(b, 0, "c", "float32", 1, &n), 0, 64};
    uint32_t list[] = {0, 1};
    struct neff_build_coll_group group = {list, 2};
    struct prog p;

    neff_build_collective(b, 0,
                          &(struct neff_build_coll){.op = "all_reduce",
                                                    .reduce = "add",
                                                    .dtype = "float32",
                                                    .groups = &group,
                                                    .group_count = 1,
                                                    .in = &in,
                                                    .in_count = 1,
                                                    .out = &out,
                                                    .out_count = 1});
    prog_init(&p, ISA_SP);
    prog_op(&p, ISA_OP_TRIGGER_COLLECTIVE)->body.s.first = 1 + 3;
    prog_op(&p, ISA_OP_NOP);
    prog_wait(&p, 3, 1);
    prog_done(&p, b, 0);
    prog_init(&p, ISA_ACT);
    for (unsigned i = 0; i < 50; i++)
        prog_op(&p, ISA_OP_NOP);
    prog_done(&p, b, 0);
    f = neff_finish(b, NULL);

    session(2);
    load_both(k, f);
    k[0].ranks = 1;
    assert_int_equal(pthread_create(&k[0].thread, NULL, run_thread, &k[0]), 0);
    clock_gettime(CLOCK_MONOTONIC, &since);
    do { /* until both are seen at once; only a failure takes the whole limit */
        sched_yield();
        engines_read(&act, &waits, &started);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (!(act >= 50 && waits && started == 1) && now.tv_sec - since.tv_sec < 20);
    assert_true(act >= 50 && waits);
    assert_int_equal(started, 1);
    PROVES("ovl-001");
    assert_int_equal(run_one(&k[1], 1), NRT_SUCCESS); /* the absent one comes */
    pthread_join(k[0].thread, NULL);
    assert_int_equal(k[0].ran, NRT_SUCCESS);
    assert_true(k[0].got == 3 && k[1].got == 3);
    neff_free(&f);
    nrt_close();
}

/* ---- death ---- */

/* Rank 1 of 2 executes for ever, and says when it has done so ten times. */
static int loop_helper(int argc, char **argv)
{
    unsigned rank = (unsigned)atoi(argv[1]), ranks = (unsigned)atoi(argv[2]);
    struct bytes f = one_of(ranks, 16, 1, 0, 1);
    struct caller k = {.rank = 0};
    NRT_STATUS st = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
    char line[64];

    if (st == NRT_SUCCESS)
        st = nrt_load_collectives(f.data, f.size, 0, -1, rank, ranks, &k.m);
    for (unsigned i = 0; st == NRT_SUCCESS; i++) {
        st = run_one(&k, 1);
        if (i == 10)
            runner_say("busy");
    }
    neff_free(&f);
    snprintf(line, sizeof(line), "ended %d", (int)st);
    runner_say(line);
    if (nrt_unload(k.m) != NRT_SUCCESS)
        return 1;
    nrt_close();
    return 0;
}

static void a_killed_rank_fails_the_others_and_not_the_next_job(void **state)
{
    static const unsigned ranks = 3;
    struct runner_proc p[3];
    char first[32];

    for (unsigned victim = 0; victim < ranks; victim++) {
        root_env();
        for (unsigned r = 0; r < ranks; r++)
            rank_start(&p[r], "loop", r, ranks, "", "");
        for (unsigned r = 0; r < ranks; r++)
            assert_true(runner_expect(&p[r], "busy", 60000));
        runner_kill(&p[victim], SIGKILL);
        for (unsigned r = 0; r < ranks; r++) {
            if (r == victim) {
                assert_int_equal(runner_wait(&p[r], 10000), RUNNER_SIGNAL(SIGKILL));
                continue;
            }
            assert_true(runner_expect(&p[r], "ended 1200", 60000));
            assert_int_equal(runner_wait(&p[r], 30000), 0);
        }
    }
    root_env();
    snprintf(first, sizeof(first), "%llu", (unsigned long long)(seed + 5000));
    for (unsigned r = 0; r < ranks; r++)
        rank_start(&p[r], "case", r, ranks, first, "2");
    for (unsigned r = 0; r < ranks; r++)
        assert_int_equal(runner_wait(&p[r], 60000), 0);
    unsetenv("NEURON_RT_ROOT_COMM_ID");
}

/* ---- the functions ---- */

static void wrong_numbers_and_a_missing_root_are_refused_at_once(void **state)
{
    struct bytes f = one_of(2, 16, 1, 0, 1), big = one_of(4, 16, 1, 0, 1);
    uint8_t in[4] = {1, 2, 3, 4}, out[8] = {0};
    nrt_model_t *m;

    assert_int_equal(nrt_build_global_comm(0, 0, 1), NRT_UNINITIALIZED);
    session(2);
    assert_fails(nrt_load_collectives(f.data, f.size, 0, -1, 2, 2, &m), NRT_INVALID,
                 "nrt_load_collectives");
    assert_fails(nrt_load_collectives(f.data, f.size, 0, -1, 0, 0, &m), NRT_INVALID,
                 "nrt_load_collectives");
    assert_fails(nrt_load_collectives(f.data, f.size, 0, 2, 0, 2, &m), NRT_INVALID,
                 "nrt_load_collectives");
    assert_fails(nrt_load_collectives(NULL, f.size, 0, -1, 0, 2, &m), NRT_INVALID,
                 "nrt_load_collectives");
    assert_fails(nrt_build_global_comm(2, 0, 1), NRT_INVALID, "nrt_build_global_comm");
    assert_fails(nrt_build_global_comm(-1, 0, 1), NRT_INVALID, "nrt_build_global_comm");
    assert_fails(nrt_build_global_comm(0, 1, 1), NRT_INVALID, "nrt_build_global_comm");
    assert_fails(nrt_barrier(0, 3, 3), NRT_INVALID, "nrt_barrier");
    assert_fails(nrt_all_gather(0, 0, 1, 4, NULL, out), NRT_INVALID, "nrt_all_gather");

    /* four ranks cannot all be here, and nobody said where the others are */
    api_log_clear();
    assert_int_equal(nrt_load_collectives(big.data, big.size, 0, -1, 0, 4, &m), NRT_INVALID);
    assert_true(api_log_has("NEURON_RT_ROOT_COMM_ID is not set"));

    /* a NEFF for more ranks than the world has; nrt_load is a world of one */
    api_log_clear();
    assert_int_equal(nrt_load(f.data, f.size, 0, -1, &m), NRT_INVALID);
    assert_true(api_log_has("rank 1 outside a job of 1"));

    assert_ok(nrt_build_global_comm(0, 0, 1));
    assert_ok(nrt_build_global_comm(0, 0, 1));
    api_log_clear();
    assert_int_equal(nrt_build_global_comm(0, 0, 2), NRT_INVALID);
    assert_true(api_log_has("is rank 0 of 1 already, not rank 0 of 2"));
    assert_ok(nrt_barrier(0, 0, 1));
    assert_ok(nrt_all_gather(0, 0, 1, 4, in, out));
    assert_memory_equal(in, out, 4);
    assert_ok(nrt_all_gather(0, 0, 1, 0, NULL, NULL));
    nrt_close();
    assert_int_equal(nrt_barrier(0, 0, 1), NRT_CLOSED);
    neff_free(&f);
    neff_free(&big);
}

struct gatherer {
    pthread_t thread;
    unsigned rank;
    NRT_STATUS st, twice;
    uint32_t out[3];
};

static void *gather_thread(void *arg)
{
    struct gatherer *g = arg;
    uint32_t mine = 100 + g->rank;

    g->st = nrt_barrier((int32_t)g->rank, g->rank, 3);
    if (g->st == NRT_SUCCESS)
        g->st = nrt_all_gather((int32_t)g->rank, g->rank, 3, sizeof(mine), &mine, g->out);
    return NULL;
}

static void host_bytes_are_gathered_in_rank_order(void **state)
{
    for (unsigned root = 0; root < 2; root++) {
        struct gatherer g[3] = {0};

        if (root)
            root_env();
        session(3);
        for (unsigned r = 0; r < 3; r++) {
            g[r].rank = r;
            assert_int_equal(pthread_create(&g[r].thread, NULL, gather_thread, &g[r]), 0);
        }
        for (unsigned r = 0; r < 3; r++) {
            pthread_join(g[r].thread, NULL);
            assert_int_equal(g[r].st, NRT_SUCCESS);
            for (uint32_t i = 0; i < 3; i++)
                assert_int_equal(g[r].out[i], 100 + i);
        }
        nrt_close();
    }
    unsetenv("NEURON_RT_ROOT_COMM_ID");
}

static int setup(void **state)
{
    const char *s = getenv("OPENNRT_SEED");

    seed = s ? strtoull(s, NULL, 10) : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid() % 1000;
    printf("OPENNRT_SEED=%llu\n", (unsigned long long)seed);
    api_env(TYPE, 1);
    return 0;
}

static int teardown(void **state)
{
    api_env_end();
    return 0;
}

int main(int argc, char **argv)
{
    static const struct runner_helper helpers[] = {
        {"case", case_helper}, {"loop", loop_helper}, {NULL, NULL}};
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_numbers_and_a_missing_root_are_refused_at_once),
        cmocka_unit_test(host_bytes_are_gathered_in_rank_order),
        cmocka_unit_test(random_tables_by_threads_of_one_process),
        cmocka_unit_test(threads_meet_over_the_root_when_it_is_given),
        cmocka_unit_test(random_tables_by_processes),
        cmocka_unit_test(tables_that_differ_are_refused_at_load_by_name),
        cmocka_unit_test(a_rank_that_cannot_load_fails_the_others_by_name),
        cmocka_unit_test(device_memory_runs_out_during_a_load),
        cmocka_unit_test(a_file_that_no_rank_can_load_leaves_nothing),
        cmocka_unit_test(operations_in_another_order_break_the_communicator),
        cmocka_unit_test(a_rank_that_does_not_come_is_named_at_the_timeout),
        cmocka_unit_test(models_share_a_communicator_and_repeat),
        cmocka_unit_test(models_come_and_go_while_another_executes_on_the_core),
        cmocka_unit_test(a_communicator_breaks_while_models_load),
        cmocka_unit_test(models_of_several_world_sizes),
        cmocka_unit_test(one_variable_is_input_and_output),
        cmocka_unit_test(a_stream_without_room_makes_the_engine_wait),
        cmocka_unit_test(four_streams_of_two_cores_each_in_order),
        cmocka_unit_test(more_streams_than_cc_cores_are_refused),
        cmocka_unit_test(engines_go_on_while_an_operation_waits_for_an_absent_rank),
        cmocka_unit_test(a_killed_rank_fails_the_others_and_not_the_next_job),
    };
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    return cmocka_run_group_tests_name("api-coll", tests, setup, teardown);
}
