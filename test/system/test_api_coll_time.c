/* SPDX-License-Identifier: Apache-2.0 */
/* Device time of collectives in NEFFs (OPENNRT_DEVICE_TIME): what an operation lasts is what
 * time_predict says of it, a member that comes late is waited for, packets decide who gives way,
 * and results do not change. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "coll_ranks.h"
#include "time/collective.h"

#define NOPS 100

/* An all_reduce of n floats among 2 ranks, `nops` records of SP after the start. */
static struct bytes late_neff(uint64_t n, unsigned nops)
{
    struct neff_build *b = neff_build_create("late");
    struct neff_build_coll_range in = {neff_build_input(b, 0, "a", "float32", 1, &n), 0, 4 * n};
    struct neff_build_coll_range out = {neff_build_output(b, 0, "c", "float32", 1, &n), 0, 4 * n};
    uint32_t list[] = {0, 1};
    struct neff_build_coll_group group = {list, 2};
    struct neff_build_coll c = coll_floats("all_reduce", &group, &in, &out);
    static struct isa_record rec[NOPS + 8];
    struct prog p, nop;

    neff_build_collective(b, 0, &c);
    prog_init(&p, ISA_SP);
    coll_prog(&p, 0, 1);
    prog_op(&p, ISA_OP_END);
    prog_init(&nop, ISA_SP);
    prog_op(&nop, ISA_OP_NOP);
    for (unsigned i = 0; i < nops; i++)
        rec[i] = nop.rec[0];
    memcpy(rec + nops, p.rec, p.n * sizeof(rec[0]));
    assert_int_equal(neff_build_program(b, 0, NEFF_SP, rec, (nops + p.n) * sizeof(rec[0])), 0);
    return neff_finish(b, NULL);
}

/* The figure behind `text` in every log record that has it, in ascending order. */
static unsigned figures(const char *text, double *ret, unsigned max)
{
    unsigned count = 0;

    for (const char *p = api_log(); (p = strstr(p, text)); p++) {
        double got = strtod(p + strlen(text), NULL);
        unsigned at = count;

        assert_true(count < max);
        for (; at > 0 && ret[at - 1] > got; at--)
            ret[at] = ret[at - 1];
        ret[at] = got;
        count++;
    }
    return count;
}

/* Two ranks on one chip of trn2.48xlarge, as coll_setup has it. */
static struct time_collective predicted(enum sched_op op, uint64_t size)
{
    struct topo_fabric fabric;
    struct topo_world world;
    struct topo_group group;
    struct time_answer a;
    struct err err = {0};
    struct time_question q = {.op = op, .group = &group, .size = size, .elem_size = 4};

    assert_int_equal(topo_fabric_init(&fabric, topo_instance_find("trn2.48xlarge"), 1, &err), 0);
    assert_int_equal(topo_world_init(&world, &fabric, 1, 1, 2, &err), 0);
    assert_int_equal(topo_group_init(&group, &world, NULL, 0, &err), 0);
    assert_int_equal(time_predict(&q, &a, &err), 0);
    topo_group_fini(&group);
    return a.time;
}

static float run_both(struct bytes *f, bool timed)
{
    struct coll_caller k[2];
    float got;

    coll_session(2);
    if (timed)
        setenv("OPENNRT_DEVICE_TIME", "1", 1);
    coll_callers_load(k, 2, f);
    unsetenv("OPENNRT_DEVICE_TIME");
    coll_run_both(k, 3);
    got = k[0].got;
    assert_true(k[0].got == k[1].got);
    nrt_close();
    return got;
}

static void an_operation_lasts_what_is_predicted(void **state)
{
    struct bytes f[2] = {late_neff(16, 0), late_neff(16, 0)};
    double want = predicted(SCHED_ALL_REDUCE, 64).ns / 1e3, got[8];
    float plain, timed;

    (void)state;
    setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    api_log_clear();
    plain = run_both(f, false);
    assert_int_equal(figures("collectives ", got, 8), 0);
    timed = run_both(f, true);
    assert_memory_equal(&plain, &timed, sizeof(plain));
    assert_int_equal(figures("all_reduce of 2 ranks lasts ", got, 8), 2); /* at the load */
    for (unsigned k = 0; k < 2; k++)
        assert_true(got[k] > want - 0.001 && got[k] < want + 0.001);
    assert_int_equal(figures("; 1 collectives ", got, 8), 6); /* ranks, executions */
    for (unsigned k = 0; k < 6; k++)
        assert_true(got[k] > want - 0.001 && got[k] < want + 0.001);
    assert_int_equal(figures("waited for others ", got, 8), 6);
    assert_true(got[5] == 0);
    assert_int_equal(figures("late: device time ", got, 8), 6);
    assert_true(got[0] >= want);
    neff_free(&f[0]);
    neff_free(&f[1]);
    unsetenv("NEURON_RT_LOG_LEVEL");
}

/* A record of SP about which nothing is published takes 64 cycles of 1.2 GHz: 53.333 ns. */
static void a_late_member_is_waited_for(void **state)
{
    struct bytes f[2] = {late_neff(16, 0), late_neff(16, NOPS)};
    const double late = NOPS * 64 / 1.2 / 1e3;
    double got[8], total[8];

    (void)state;
    setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    api_log_clear();
    assert_true(run_both(f, true) == 3 * 2 * 2); /* an output is the next input */
    assert_int_equal(figures("waited for others ", got, 8), 6);
    assert_int_equal(figures("late: device time ", total, 8), 6);
    for (unsigned k = 0; k < 6; k++) {
        double want = k < 3 ? 0 : late; /* the late rank waits for nobody */

        assert_true(got[k] > want - 0.01 && got[k] < want + 0.01);
        /* both end together, but for what they do after the operation, which is the same */
        assert_true(total[k] > total[0] - 0.01 && total[k] < total[0] + 0.01);
    }
    neff_free(&f[0]);
    neff_free(&f[1]);
    unsetenv("NEURON_RT_LOG_LEVEL");
}

/* ---- packets ---- */

#define GATHERED (UINT64_C(4) << 20)
#define COPIED   (UINT64_C(32) << 20)

/* A transfer on all DMA engines, which meanwhile also serve an all_gather of 2 ranks on a stream.
 */
static struct bytes busy_neff(unsigned stream)
{
    struct neff_build *b = neff_build_create("busy");
    uint32_t list[] = {0, 1};
    struct neff_build_coll_group ranks = {list, 2};
    struct neff_build_queue q = {.name = "q", .type = "data", .num_queues = 16, .owner = "sp"};
    struct neff_build_group g = {.has_semaphore = true, .semaphore = 4};
    struct neff_build_coll_range in = {neff_build_tmp(b, 0, "x", GATHERED / 2, 0), 0, GATHERED / 2};
    struct neff_build_coll_range out = {neff_build_tmp(b, 0, "y", GATHERED, 0), 0, GATHERED};
    int from = neff_build_tmp(b, 0, "from", COPIED, 0), to = neff_build_tmp(b, 0, "to", COPIED, 0);
    struct neff_build_coll c = coll_floats("all_gather", &ranks, &in, &out);
    uint64_t n = 16;
    struct prog p;

    neff_build_input(b, 0, "a", "float32", 1, &n);
    neff_build_output(b, 0, "c", "float32", 1, &n);
    c.stream = stream;
    neff_build_collective(b, 0, &c);
    g.queue = neff_build_queue(b, 0, &q);
    neff_build_copy(b, 0, NEFF_SP, neff_build_group(b, 0, NEFF_SP, &g), from, 0, to, 0, COPIED);
    prog_init(&p, ISA_SP);
    prog_trigger(&p, 0);
    coll_prog(&p, 0, 1);
    prog_op(&p, ISA_OP_NOP);
    prog_wait(&p, 4, 1);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

/* How long the operation lasts with these packets; NULL: the default. */
static double busy_us(struct bytes f[2], const char *transfers, const char *streams)
{
    double got[8];

    if (transfers)
        setenv("NEURON_RT_DBG_DMA_PACKETIZATION_SIZE", transfers, 1);
    if (streams)
        setenv("NEURON_RT_DBG_CC_DMA_PACKET_SIZE", streams, 1);
    api_log_clear();
    (void)run_both(f, true);
    unsetenv("NEURON_RT_DBG_DMA_PACKETIZATION_SIZE");
    unsetenv("NEURON_RT_DBG_CC_DMA_PACKET_SIZE");
    assert_int_equal(figures("; 1 collectives ", got, 8), 6);
    assert_true(got[5] - got[0] < 0.01);
    return got[0];
}

/* Of an engine that a transfer with packets of 4096 bytes shares, an operation with packets of
 * 65536 has 16/17, which is enough: other limits make it last what it lasts alone. With packets of
 * 512 it has a ninth. Larger packets of the transfer make it wait until that is over. Packets of
 * other streams change nothing. */
static void packets_of_a_stream_decide_who_gives_way(void **state)
{
    struct time_collective c = predicted(SCHED_ALL_GATHER, GATHERED);
    double alone = c.ns / 1e3, work = c.engines_ns / 1e3, start = 1.3; /* of the transfer */
    double ninth = start + 9 * (work - start);

    (void)state;
    setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    for (unsigned stream = 0; stream < 2; stream++) {
        static const char *const large[] = {"65536,512", "512,65536"}, *const small[] = {
                                                                           "512,65536",
                                                                           "65536,512"};
        struct bytes f[2] = {busy_neff(stream), busy_neff(stream)};
        double first = busy_us(f, NULL, large[stream]), gives = busy_us(f, NULL, small[stream]);

        assert_true(fabs(first - alone) < 0.001);
        assert_true(first == busy_us(f, NULL, NULL));
        assert_true(fabs(gives - ninth) < 0.5); /* a packet of the transfer takes 0.18 us */
        assert_true(busy_us(f, "65536", small[stream]) > gives + 5);
        neff_free(&f[0]);
        neff_free(&f[1]);
    }
    unsetenv("NEURON_RT_LOG_LEVEL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_operation_lasts_what_is_predicted),
        cmocka_unit_test(a_late_member_is_waited_for),
        cmocka_unit_test(packets_of_a_stream_decide_who_gives_way),
    };

    return cmocka_run_group_tests(tests, coll_setup, coll_teardown);
}
