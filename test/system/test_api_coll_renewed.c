/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs between nodes of which one rank is stopped (SIGSTOP) while others send to it, until they
 * give up, which costs them their links, and goes on (SIGCONT). Ranks are processes; each loads the
 * model again, in the same session, and what it executes then is right on all. docs/modules/net.md,
 * "A new endpoint". */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "coll_ranks.h"
#include "driven_world.h"
#include "models.h"
#include "runner.h"

#define RANKS_MAX 3u
/* Of a tensor: what goes to one rank is more than a connection's buffers hold. */
#define FLOATS (UINT64_C(126) << 18)
#define FEW    UINT64_C(1000)

/* ---- a rank ---- */

struct rank {
    unsigned rank, ranks, runs;
    nrt_model_t *m;
    struct bytes neff;
    struct io io;
    float *x;
};

/* What rank r gives at i, in its k-th run. */
static float given(unsigned r, uint64_t i, unsigned k)
{
    return (float)((r + 1) * (i % 97 + k));
}

/* An all_to_all of "a" to "c", then a sum of "b" to "d". */
static struct bytes model_make(unsigned ranks)
{
    static uint32_t list[RANKS_MAX] = {0, 1, 2};
    struct neff_build *b = neff_build_create("renewed");
    struct neff_build_coll_group group = {list, ranks};
    const uint64_t n[2] = {FLOATS, FEW};
    struct prog p;

    prog_init(&p, ISA_SP);
    for (unsigned i = 0; i < 2; i++) {
        const char *in_name = i ? "b" : "a", *out_name = i ? "d" : "c";
        struct neff_build_coll_range in = {neff_build_input(b, 0, in_name, "float32", 1, &n[i]), 0,
                                           4 * n[i]};
        struct neff_build_coll_range out = {neff_build_output(b, 0, out_name, "float32", 1, &n[i]),
                                            0, 4 * n[i]};
        struct neff_build_coll c = coll_floats(i ? "all_reduce" : "all_to_all", &group, &in, &out);

        c.stream = i;
        neff_build_collective(b, 0, &c);
        coll_prog(&p, (int32_t)i, (int32_t)i + 1);
    }
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

/* limit: seconds in which nothing moves. */
static NRT_STATUS model_load(struct rank *s, const char *limit)
{
    if (s->m && nrt_unload(s->m) != NRT_SUCCESS)
        abort();
    s->m = NULL;
    setenv("NEURON_RT_EXEC_TIMEOUT", limit, 1);
    return nrt_load_collectives(s->neff.data, s->neff.size, 0, -1, s->rank, s->ranks, &s->m);
}

/* Ends the process where the value is wrong. */
static void need(const struct rank *s, const char *of, uint64_t i, float want)
{
    if (s->x[i] == want)
        return;
    fprintf(stderr, "rank %u, run %u: element %llu of %s is %g, not %g\n", s->rank, s->runs,
            (unsigned long long)i, of, s->x[i], want);
    abort();
}

static void move(const struct rank *s, unsigned tensor, uint64_t n, bool write)
{
    NRT_STATUS st = write ? nrt_tensor_write(s->io.t[tensor], s->x, 0, n * sizeof(float))
                          : nrt_tensor_read(s->io.t[tensor], s->x, 0, n * sizeof(float));

    if (st != NRT_SUCCESS)
        abort();
}

/* Ends the process where the result is wrong. */
static NRT_STATUS model_run(struct rank *s)
{
    uint64_t block = FLOATS / s->ranks;
    unsigned k = ++s->runs;
    NRT_STATUS st;

    for (uint64_t i = 0; i < FLOATS; i++)
        s->x[i] = given(s->rank, i, k);
    move(s, 0, FLOATS, true);
    move(s, 1, FEW, true);
    st = nrt_execute(s->m, s->io.in, s->io.out);
    if (st != NRT_SUCCESS)
        return st;
    move(s, 2, FLOATS, false);
    for (uint64_t i = 0; i < FLOATS; i++)
        need(s, "c", i, given((unsigned)(i / block), s->rank * block + i % block, k));
    move(s, 3, FEW, false);
    for (uint64_t i = 0; i < FEW; i++) {
        float sum = 0;

        for (unsigned r = 0; r < s->ranks; r++)
            sum += given(r, i, k);
        need(s, "d", i, sum);
    }
    return st;
}

/* Does what the test says, until it closes its end. argv: rank, ranks. */
static int rank_helper(int argc, char **argv)
{
    struct rank s = {.rank = (unsigned)atoi(argv[1]), .ranks = (unsigned)atoi(argv[2])};
    char line[32], said[32];

    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS)
        return 1;
    s.neff = model_make(s.ranks);
    s.x = malloc(FLOATS * sizeof(float));
    io_init(&s.io);
    io_add(&s.io, true, "a", DEV, 0, FLOATS * sizeof(float));
    io_add(&s.io, true, "b", DEV, 0, FEW * sizeof(float));
    io_add(&s.io, false, "c", DEV, 0, FLOATS * sizeof(float));
    io_add(&s.io, false, "d", DEV, 0, FEW * sizeof(float));
    while (s.x && runner_hear(line, sizeof(line))) {
        NRT_STATUS st = strncmp(line, "load ", 5) == 0 ? model_load(&s, line + 5) : model_run(&s);

        snprintf(said, sizeof(said), "%d", (int)st);
        runner_say(said);
    }
    if (s.m && nrt_unload(s.m) != NRT_SUCCESS)
        return 2;
    io_fini(&s.io);
    coll_nothing_held(1);
    nrt_close();
    free(s.x);
    neff_free(&s.neff);
    return 0;
}

/* ---- the test ---- */

static void tell(struct runner_proc *p, unsigned ranks, unsigned but, const char *what)
{
    for (unsigned r = 0; r < ranks; r++)
        if (r != but)
            assert_true(runner_tell(&p[r], what));
}

static NRT_STATUS hear(struct runner_proc *p)
{
    char line[64];

    assert_true(runner_line(p, line, sizeof(line), RUNNER_WAIT_MS));
    return (NRT_STATUS)atoi(line);
}

/* All do it, and succeed. */
static void all_do(struct runner_proc *p, unsigned ranks, const char *what)
{
    tell(p, ranks, ranks, what);
    for (unsigned r = 0; r < ranks; r++) {
        NRT_STATUS st = hear(&p[r]);

        if (st != NRT_SUCCESS)
            fail_msg("rank %u: %s gives %d\n%s", r, what, (int)st, api_log());
    }
}

static bool lost(NRT_STATUS st)
{
    return st == NRT_EXEC_HW_ERR_COLLECTIVES || st == NRT_NETWORK_PROXY_FAILURE;
}

/* What the kernel gives a connection at most on one side; where it does not say: nothing that
 * counts. */
static uint64_t buffers(const char *which)
{
    unsigned long long least, usual, most = 0;
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", which);
    f = fopen(path, "r");
    if (!f || fscanf(f, "%llu %llu %llu", &least, &usual, &most) != 3)
        most = FLOATS * sizeof(float);
    if (f)
        fclose(f);
    return most;
}

static void stop_and_go_on(unsigned ranks, unsigned victim, unsigned rounds)
{
    struct runner_proc p[RANKS_MAX];
    uint64_t fits = buffers("tcp_wmem") + buffers("tcp_rmem");
    char name[16];

    snprintf(name, sizeof(name), "rank %u", victim);
    coll_root_env();
    for (unsigned r = 0; r < ranks; r++)
        driven_rank_start(&p[r], "rank", r, ranks, 1, "");
    all_do(p, ranks, "load 3600");
    all_do(p, ranks, "run");
    all_do(p, ranks, "load 1");
    for (unsigned round = 0; round < rounds; round++) {
        api_log_clear();
        runner_kill(&p[victim], SIGSTOP);
        tell(p, ranks, victim, "run");
        for (unsigned r = 0; r < ranks; r++)
            if (r != victim)
                assert_true(lost(hear(&p[r])));
        assert_true(api_log_has(name));
        runner_kill(&p[victim], SIGCONT);
        assert_true(runner_tell(&p[victim], "run"));
        assert_true(lost(hear(&p[victim])));
        all_do(p, ranks, "load 3600");
        if (!api_log_has("has a new endpoint") && fits < FLOATS / ranks * sizeof(float))
            fail_msg("no link was lost\n%s", api_log());
        all_do(p, ranks, "run");
        all_do(p, ranks, "run");
        all_do(p, ranks, "load 1");
    }
    for (unsigned r = 0; r < ranks; r++) /* who hears of the end of its input, ends */
        close(p[r].to);
    for (unsigned r = 0; r < ranks; r++) {
        p[r].to = -1;
        assert_int_equal(runner_wait(&p[r], RUNNER_WAIT_MS), 0);
    }
    unsetenv("NEURON_RT_ROOT_COMM_ID");
    driven_nodes_remove();
    api_log_clear();
}

static void of_two_nodes(void **state)
{
    stop_and_go_on(2, 1, 2);
    stop_and_go_on(2, 0, 1);
}

static void of_three_nodes(void **state)
{
    stop_and_go_on(3, 1, 1);
}

static int setup(void **state)
{
    setenv("OPENNRT_HOST_THREADS", "1", 1);
    setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    return coll_setup(state);
}

int main(int argc, char **argv)
{
    static const struct runner_helper helpers[] = {{"rank", rank_helper}, {NULL, NULL}};
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(of_two_nodes, coll_ranks_drop),
        cmocka_unit_test_teardown(of_three_nodes, coll_ranks_drop)};
    int rc = coll_program_begin(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    runner_watchdog(280);
    return cmocka_run_group_tests_name("api-coll-renewed", tests, setup, coll_teardown);
}
