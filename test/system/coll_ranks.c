/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "coll_case.h"
#include "coll_ranks.h"
#include "models.h"

int coll_setup(void **state)
{
    api_env("trn2.48xlarge", 1);
    return 0;
}

int coll_teardown(void **state)
{
    api_env_end();
    return 0;
}

int coll_program_begin(int argc, char **argv, const struct runner_helper *helpers)
{
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc < 0 && runner_emulated()) {
        print_message("NOT RUN: emulated, the memories of many cores are slow to map\n");
        return RUNNER_SKIP;
    }
    return rc;
}

int coll_ranks_drop(void **state)
{
    runner_drop_all();
    return 0;
}

/* ---- NEFFs ---- */

struct neff_build_coll coll_floats(const char *op, struct neff_build_coll_group *group,
                                   struct neff_build_coll_range *in,
                                   struct neff_build_coll_range *out)
{
    return (struct neff_build_coll){.op = op,
                                    .reduce = strstr(op, "reduce") ? "add" : NULL,
                                    .dtype = "float32",
                                    .groups = group,
                                    .group_count = 1,
                                    .in = in,
                                    .in_count = 1,
                                    .out = out,
                                    .out_count = 1};
}

void coll_prog(struct prog *p, int32_t entry, int32_t times)
{
    prog_op(p, ISA_OP_TRIGGER_COLLECTIVE)->body.s.first = 1 + 3;
    p->rec[p->n - 1].body.s.imm = entry;
    prog_op(p, ISA_OP_NOP);
    prog_wait(p, 3, times);
}

void coll_root_env(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static int fd = -1; /* bound, without listening, until the next: nobody else gets the port */
    socklen_t len = sizeof(a);
    char text[64];
    int yes = 1;

    if (fd >= 0)
        close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
                bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
                getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(a.sin_port));
    setenv("NEURON_RT_ROOT_COMM_ID", text, 1);
}

void coll_session(unsigned cores)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", cores);
    setenv("NEURON_RT_NUM_CORES", text, 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
}

void coll_nothing_held(unsigned cores)
{
    nrt_vnc_memory_stats_t stats;
    size_t n;

    for (uint32_t i = 0; i < cores; i++) {
        assert_ok(nrt_get_vnc_memory_stats(i, &stats, sizeof(stats), &n));
        assert_int_equal(stats.bytes_used, 0);
    }
}

/* Entries: all_reduce of n floats of "a" to "c" on stream i for every entry i; SP starts `which`
 * and waits. */
struct bytes coll_neff(unsigned ranks, uint64_t n, unsigned entries, unsigned which,
                       unsigned streams)
{
    struct neff_build *b = neff_build_create("one_of");
    struct neff_build_coll_range in = {neff_build_input(b, 0, "a", "float32", 1, &n), 0, 4 * n};
    struct neff_build_coll_range out = {neff_build_output(b, 0, "c", "float32", 1, &n), 0, 4 * n};
    uint32_t list[CASE_RANKS];
    struct neff_build_coll_group group = {list, ranks};
    struct neff_build_coll c = coll_floats("all_reduce", &group, &in, &out);
    struct prog p;

    for (uint32_t r = 0; r < ranks; r++)
        list[r] = r;
    for (unsigned i = 0; i < entries; i++) {
        c.reduce = i % 2 ? "max" : "add";
        c.stream = i % streams;
        neff_build_collective(b, 0, &c);
    }
    prog_init(&p, ISA_SP);
    coll_prog(&p, (int32_t)which, 1);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

static void *caller_thread(void *arg)
{
    struct coll_caller *k = arg;
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
void coll_callers_run(struct coll_caller *k, unsigned ranks, struct bytes *f)
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

void *coll_load_thread(void *arg)
{
    struct coll_caller *k = arg;

    k->loaded = nrt_load_collectives(k->neff.data, k->neff.size, (int32_t)k->rank, -1, k->rank,
                                     k->ranks, &k->m);
    return NULL;
}

void coll_callers_load(struct coll_caller *k, unsigned ranks, const struct bytes *f)
{
    for (unsigned r = 0; r < ranks; r++) {
        k[r] = (struct coll_caller){.rank = r, .ranks = ranks, .neff = f[r]};
        assert_int_equal(pthread_create(&k[r].thread, NULL, coll_load_thread, &k[r]), 0);
    }
    for (unsigned r = 0; r < ranks; r++)
        pthread_join(k[r].thread, NULL);
}

/* Loads on both ranks of a session of two; the models stay. */
void coll_load_both(struct coll_caller *k, struct bytes f)
{
    for (unsigned r = 0; r < 2; r++) {
        k[r] = (struct coll_caller){.rank = r, .ranks = 2, .neff = f};
        assert_int_equal(pthread_create(&k[r].thread, NULL, coll_load_thread, &k[r]), 0);
    }
    for (unsigned r = 0; r < 2; r++) {
        pthread_join(k[r].thread, NULL);
        assert_int_equal(k[r].loaded, NRT_SUCCESS);
    }
}

NRT_STATUS coll_run(struct coll_caller *k, unsigned repeat)
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

void *coll_run_thread(void *arg)
{
    struct coll_caller *k = arg;

    k->ran = coll_run(k, k->ranks); /* ranks: how often */
    return NULL;
}

void coll_run_both(struct coll_caller *k, unsigned repeat)
{
    for (unsigned r = 0; r < 2; r++) {
        k[r].ranks = repeat;
        assert_int_equal(pthread_create(&k[r].thread, NULL, coll_run_thread, &k[r]), 0);
    }
    for (unsigned r = 0; r < 2; r++) {
        pthread_join(k[r].thread, NULL);
        assert_int_equal(k[r].ran, NRT_SUCCESS);
    }
}
