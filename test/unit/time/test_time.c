/* SPDX-License-Identifier: Apache-2.0 */
/* Costs against figures worked out by hand from docs/spec/neuroncore.md 5.6 and 7 and the formulas
 * of the instruction pages (data/isa_costs.json names the source of each). */
#include "time/time.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "proves.h"

static struct isa_tensor tile(unsigned mem, enum dtype t, unsigned nparts, unsigned n)
{
    struct isa_tensor r = {.mem = (uint8_t)mem,
                           .dtype = (uint8_t)t,
                           .nparts = (uint8_t)nparts,
                           .ndim = 1,
                           .off_reg = ISA_NO_REG};

    r.dim[0] = (struct isa_dim){1, (uint16_t)n};
    return r;
}

static struct isa_record rec(unsigned engine, unsigned opcode)
{
    struct isa_record r = {.opcode = (uint16_t)opcode, .version = 1, .engine = (uint8_t)engine};

    return r;
}

static uint32_t ps_of(double cycles, double ghz)
{
    return (uint32_t)llround(cycles * 1000.0 / ghz);
}

#define EXPECT(r, gen, cycles, ghz, is_guess)                                           \
    do {                                                                                \
        struct time_cost c_ = time_cost_record(&(r), (gen));                            \
        assert_in_range(c_.ps, ps_of((cycles), (ghz)) - 1, ps_of((cycles), (ghz)) + 1); \
        assert_int_equal(c_.guess, (is_guess));                                         \
    } while (0)

static void matmul(void **state)
{
    static const double clock[3] = {2.8, 2.4, 2.4};
    struct isa_record r = rec(ISA_PE, ISA_OP_NC_MATMUL);

    for (unsigned g = 0; g < 3; g++) {
        enum isa_gen gen = (enum isa_gen)(ISA_V2 + g);

        r.body.c.t[0] = tile(ISA_PSUM, DT_FP32, 128, 512);
        r.body.c.t[1] = tile(ISA_SBUF, DT_BF16, 128, 128);
        r.body.c.t[2] = tile(ISA_SBUF, DT_BF16, 128, 512);
        EXPECT(r, gen, 512, clock[g], false); /* max(min(64, M), N) */
        r.body.c.t[2] = tile(ISA_SBUF, DT_BF16, 128, 8);
        EXPECT(r, gen, 64, clock[g], false);
        r.body.c.t[1] = tile(ISA_SBUF, DT_BF16, 128, 40);
        EXPECT(r, gen, 40, clock[g], false);
        r.body.c.t[1] = tile(ISA_SBUF, DT_FP32, 128, 128);
        r.body.c.t[2] = tile(ISA_SBUF, DT_FP32, 128, 512);
        EXPECT(r, gen, 4 * 512, clock[g], false);
        r.body.c.transpose = 1; /* transpose mode doubles fp32 from v3 */
        EXPECT(r, gen, (gen == ISA_V2 ? 4 : 2) * 512, clock[g], false);
        r.body.c.transpose = 0;
        r.body.c.t[1].dtype = DT_FP32R; /* nothing published */
        EXPECT(r, gen, 64, clock[g], true);
    }
}

static void element_wise(void **state)
{
    struct isa_record r = rec(ISA_DVE, ISA_OP_TENSOR_TENSOR);
    struct time_cost c;

    r.body.c.op0 = ISA_ALU_ADD;
    r.body.c.t[0] = r.body.c.t[1] = r.body.c.t[2] = tile(ISA_SBUF, DT_FP32, 128, 512);
    EXPECT(r, ISA_V3, 2 * 512, 0.96, false);
    EXPECT(r, ISA_V2, 2 * 512, 1.12, false);
    EXPECT(r, ISA_V4, 2 * 512, 1.2, false);
    r.body.c.t[2].mem = ISA_PSUM; /* one input in PSUM */
    EXPECT(r, ISA_V3, 512, 0.96, false);
    r.body.c.t[2].mem = ISA_SBUF;
    r.body.c.t[0].dtype = r.body.c.t[1].dtype = r.body.c.t[2].dtype = DT_BF16;
    EXPECT(r, ISA_V2, 512, 1.12, false); /* bf16 add, contiguous */
    r.body.c.t[1].dim[0].step = 2;
    EXPECT(r, ISA_V2, 2 * 512, 1.12, false);
    EXPECT(r, ISA_V3, 512, 0.96, false); /* performance mode 2x */
    r.body.c.op0 = ISA_ALU_MAX;
    r.body.c.t[1].dim[0].step = 1;
    EXPECT(r, ISA_V2, 2 * 512, 1.12, false);
    c = time_cost_record(&r, ISA_V2);
    assert_int_equal(c.dependent_ps, ps_of(100, 1.12));

    r = rec(ISA_DVE, ISA_OP_TENSOR_COPY);
    r.body.c.t[0] = r.body.c.t[1] = tile(ISA_SBUF, DT_BF16, 128, 1024);
    EXPECT(r, ISA_V2, 1024, 1.12, false);
    EXPECT(r, ISA_V3, 1024 / 4, 0.96, false);
    r.body.c.t[1].dim[0].step = 2;
    EXPECT(r, ISA_V3, 1024 / 2, 0.96, false);
    r.body.c.t[1].dim[0].step = 1;
    r.body.c.t[1].mem = ISA_PSUM;
    EXPECT(r, ISA_V3, 1024 / 2, 0.96, false);
    r.body.c.t[0].mem = ISA_PSUM;
    EXPECT(r, ISA_V3, 1024, 0.96, false);
    r.body.c.t[0].off_reg = 5; /* run-time offset */
    r.body.c.t[0].dim[0].num = r.body.c.t[1].dim[0].num = 128;
    EXPECT(r, ISA_V3, 600, 0.96, false);

    r = rec(ISA_DVE, ISA_OP_RECIPROCAL);
    r.body.c.t[0] = r.body.c.t[1] = tile(ISA_SBUF, DT_FP32, 128, 200);
    EXPECT(r, ISA_V3, 8 * 200, 0.96, false);
    r = rec(ISA_DVE, ISA_OP_BN_AGGR);
    r.body.c.t[0] = tile(ISA_SBUF, DT_FP32, 128, 2);
    r.body.c.t[1] = tile(ISA_SBUF, DT_FP32, 128, 300);
    EXPECT(r, ISA_V3, 1300, 0.96, false);
}

/* N < 128: 100 cycles more on DVE and ACT, and then no second time for a dependence. */
static void small_instructions(void **state)
{
    struct isa_record r = rec(ISA_ACT, ISA_OP_ACTIVATION);

    r.body.c.t[0] = r.body.c.t[1] = tile(ISA_SBUF, DT_FP32, 128, 1);
    EXPECT(r, ISA_V2, 64 + 100, 1.4, false);
    assert_int_equal(time_cost_record(&r, ISA_V2).dependent_ps, 0);
    r.body.c.t[2] = tile(ISA_SBUF, DT_FP32, 128, 1); /* read-out of the accumulator */
    EXPECT(r, ISA_V2, 64 + 64 + 100, 1.4, false);
    r.body.c.t[0] = r.body.c.t[1] = tile(ISA_SBUF, DT_FP32, 128, 2048);
    EXPECT(r, ISA_V3, 2048 + 64, 1.2, false);
    r.body.c.t[0] = r.body.c.t[1] = tile(ISA_SBUF, DT_FP32, 128, 127);
    EXPECT(r, ISA_V3, 127 + 64 + 100, 1.2, false);
    r.body.c.t[0] = r.body.c.t[1] = tile(ISA_SBUF, DT_FP32, 128, 128);
    EXPECT(r, ISA_V3, 128 + 64, 1.2, false);
    r = rec(ISA_POOL, ISA_OP_IOTA);
    r.body.c.t[0] = tile(ISA_SBUF, DT_INT32, 128, 64);
    EXPECT(r, ISA_V3, 150 + 64, 1.2, false);
}

static void unpublished_is_marked(void **state)
{
    struct isa_record r = rec(ISA_SP, ISA_OP_NOP);

    EXPECT(r, ISA_V2, 64, 1.4, true);
    EXPECT(r, ISA_V3, 64, 1.2, true);
    r = rec(ISA_PE, ISA_OP_BRANCH); /* sequencer: ACT's clock on every engine */
    EXPECT(r, ISA_V3, 64, 1.2, true);
    r = rec(ISA_POOL, ISA_OP_NC_N_GATHER);
    r.body.c.t[0] = r.body.c.t[1] = tile(ISA_SBUF, DT_FP32, 128, 100);
    EXPECT(r, ISA_V3, 150 + 100, 1.2, true);
    r = rec(ISA_DVE, ISA_OP_SELECT_REDUCE);
    r.body.c.t[0] = r.body.c.t[1] = r.body.c.t[2] = tile(ISA_SBUF, DT_FP32, 128, 512);
    EXPECT(r, ISA_V3, 64, 0.96, true);
}

static void dependence(void **state)
{
    struct isa_record a = rec(ISA_DVE, ISA_OP_RECIPROCAL), b = a;

    a.body.c.t[0] = tile(ISA_SBUF, DT_FP32, 128, 16);
    a.body.c.t[1] = tile(ISA_SBUF, DT_FP32, 128, 16);
    a.body.c.t[0].offset = 1000;
    b.body.c.t[0] = b.body.c.t[1] = a.body.c.t[0];
    assert_true(time_record_dependent(&a, &b));
    b.body.c.t[1].offset = 1064;
    assert_false(time_record_dependent(&a, &b));
    b.body.c.t[1].offset = 1060;
    assert_true(time_record_dependent(&a, &b));
    b.body.c.t[1].mem = ISA_PSUM;
    assert_false(time_record_dependent(&a, &b));
    b = rec(ISA_DVE, ISA_OP_TENSOR_SCALAR); /* through a [P,1] operand */
    b.body.c.t[0] = b.body.c.t[1] = tile(ISA_SBUF, DT_FP32, 128, 16);
    b.body.c.s[0] =
        (struct isa_scalar){.kind = ISA_SC_TILE, .mem = ISA_SBUF, .dtype = DT_FP32, .v = 1012};
    assert_true(time_record_dependent(&a, &b));
}

static void dma_figures(void **state)
{
    /* 32 KiB on one v3 engine: 1416 ns were measured; 1424.7 ns is 32768 / 23 */
    assert_int_equal(time_dma_ps(ISA_V3, TIME_DMA_COPY, 32768), 32768 * 1000ull / 23);
    assert_int_equal(time_dma_ps(ISA_V2, TIME_DMA_COPY, 17000), 1000000);
    assert_int_equal(time_dma_ps(ISA_V4, TIME_DMA_COPY, 33000), 1000000);
    assert_int_equal(time_dma_ps(ISA_V3, TIME_DMA_COMPUTE, 23000), 2000000);
    assert_in_range(time_dma_ps(ISA_V3, TIME_DMA_TRANSPOSE, 20700), 999999, 1000000);
    assert_int_equal(time_dma_ps(ISA_V3, TIME_DMA_TRANSPOSE_SBUF, 23000), 2000000);
    assert_int_equal(time_dma_start_ps(ISA_V2), 1300000);
    assert_int_equal(time_dma_hwdge_ps(ISA_V3), 600000);
    assert_int_equal(time_dge_blocks(ISA_V2), 0);
    assert_int_equal(time_dge_blocks(ISA_V3), 2);
}

/* ---- replay ---- */

#define US 1000000u

static struct time_cost costs[2][8];
static uint8_t depend[8];
static uint64_t share[2][2] = {{2 * US, 1 * US}, {4 * US, 0}};
static struct time_xfer xfers[3];
static struct time_program prog;
static struct time_event ev[64];
static struct time_events events = {.ev = ev, .cap = 64};

static void event(unsigned kind, unsigned engine, unsigned index, unsigned op, int32_t value,
                  uint32_t id)
{
    ev[events.count++] = (struct time_event){.kind = (uint8_t)kind,
                                             .unit = TIME_UNIT(0, engine),
                                             .index = (uint8_t)index,
                                             .op = (uint8_t)op,
                                             .value = value,
                                             .id = id};
}

static int replay_setup(void **state)
{
    prog = (struct time_program){.gen = ISA_V3, .xfers = xfers, .xfer_count = 3};
    for (unsigned i = 0; i < 8; i++) {
        costs[0][i] = (struct time_cost){.ps = 1 * US, .dependent_ps = US / 10};
        costs[1][i] = (struct time_cost){.ps = 3 * US, .guess = true};
        depend[i] = i == 2;
    }
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        prog.cost[e] = costs[e == ISA_SP];
        prog.dependent[e] = depend;
        prog.count[e] = 8;
    }
    xfers[0] =
        (struct time_xfer){.queue = 0, .first_engine = 0, .engines = 2, .engine_ps = share[0]};
    xfers[1] =
        (struct time_xfer){.queue = 1, .first_engine = 0, .engines = 2, .engine_ps = share[1]};
    xfers[2] = (struct time_xfer){
        .queue = 1, .first_engine = 2, .engines = 2, .hwdge = true, .engine_ps = share[0]};
    events.count = 0;
    return 0;
}

static void run_replay(struct time_report *rep, struct time_span *spans)
{
    const struct time_program *p = &prog;
    struct err err = {0};

    if (time_replay(&p, 1, &events, spans, rep, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
}

/* DVE works 1 us, signals; ACT waits for it from the start; SP is on its own with a guess. */
static void engines_overlap(void **state)
{
    struct time_report rep;
    struct time_span s[64];

    event(TIME_EV_RECORD, ISA_DVE, 0, 0, 0, 0); /* 0: 0..1 us */
    event(TIME_EV_COMPLETE, ISA_DVE, 5, ISA_UPD_INC, 1, 0);
    event(TIME_EV_RECORD, ISA_DVE, 0, 0, 0, 1); /* 1..2 */
    event(TIME_EV_RECORD, ISA_DVE, 0, 0, 0, 2); /* dependent: 2..3.1 */
    event(TIME_EV_READ, ISA_DVE, 5, ISA_UPD_INC, 1, 0);
    event(TIME_EV_WAIT, ISA_ACT, 5, ISA_WAIT_SEM_GE, 1, 0);
    event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 0); /* 6: 1..2 */
    event(TIME_EV_WAIT, ISA_ACT, 5, ISA_WAIT_SEM_EQ, 2, 0);
    event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 1); /* 8: @read of the third: 2..3 */
    event(TIME_EV_RECORD, ISA_SP, 0, 0, 0, 0);  /* 0..3 */
    run_replay(&rep, s);
    assert_int_equal(s[0].end_ps, 1 * US);
    assert_int_equal(s[3].end_ps, 3 * US + US / 10);
    assert_int_equal(s[6].start_ps, 1 * US);
    assert_int_equal(s[8].start_ps, 2 * US);
    assert_int_equal(rep.total_ps, 3 * US + US / 10);
    assert_int_equal(rep.busy_ps[0][ISA_DVE], 3 * US + US / 10);
    assert_int_equal(rep.wait_ps[0][ISA_ACT], 1 * US);
    assert_int_equal(rep.guess_ps[0][ISA_SP], 3 * US);
    assert_int_equal(rep.guess_ps[0][ISA_DVE], 0);
    assert_int_equal(rep.forced, 0);
}

/* Of one engine, after the start latency: ring 0 has 2 us in packets of 500 ns, ring 1 has 4 us in
 * packets of 250 ns. They take turns, 500 and 250 ns, so ring 0 has two thirds of the engine until
 * it is done with its fourth packet, after three of ring 1: 2750 ns. */
static void rings_share_by_packets(void **state)
{
    struct time_report rep;
    struct time_span s[64];

    (void)state;
    xfers[0].engines = xfers[1].engines = 1;
    xfers[0].packet_ps = US / 2;
    xfers[1].packet_ps = US / 4;
    event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 0); /* 0..1 us */
    event(TIME_EV_XFER, ISA_ACT, 0, 0, 0, 0);
    event(TIME_EV_XFER, ISA_ACT, 0, 0, 1, 1);
    run_replay(&rep, s);
    assert_int_equal(s[1].end_ps - s[1].start_ps, 2750000);
    assert_int_equal(s[2].end_ps - s[2].start_ps, 6 * US);
    assert_int_equal(rep.dma_busy_ps[0][0], 6 * US);
    /* larger packets of ring 1: two of them between the packets of ring 0 last as long as these */
    replay_setup(NULL);
    xfers[0].engines = xfers[1].engines = 1;
    xfers[0].packet_ps = xfers[1].packet_ps = US / 2;
    event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 0);
    event(TIME_EV_XFER, ISA_ACT, 0, 0, 0, 0);
    event(TIME_EV_XFER, ISA_ACT, 0, 0, 1, 1);
    run_replay(&rep, s);
    assert_int_equal(s[1].end_ps - s[1].start_ps, 3500000);
    assert_int_equal(s[2].end_ps - s[2].start_ps, 6 * US);
}

/* Ring 1 comes 1 us after ring 0, whose third packet of 400 ns is under way: it waits for its end.
 */
static void a_switch_waits_for_the_packet(void **state)
{
    struct time_report rep;
    struct time_span s[64];

    (void)state;
    xfers[0].engines = xfers[1].engines = 1;
    xfers[0].packet_ps = 2 * US / 5;
    xfers[1].packet_ps = 4 * US;                /* all of it */
    event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 0); /* 0..1 us */
    event(TIME_EV_XFER, ISA_ACT, 0, 0, 0, 0);
    event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 1); /* 1..2 us */
    event(TIME_EV_XFER, ISA_ACT, 0, 0, 1, 1);
    run_replay(&rep, s);
    assert_int_equal(s[3].start_ps - s[1].start_ps, 1 * US);
    assert_int_equal(s[3].end_ps - s[1].start_ps, 3 * 2 * US / 5 + 4 * US);
    assert_int_equal(s[1].end_ps - s[1].start_ps, 6 * US);
}

/* A packet may be larger than any transfer: then each is one. Ring 1 comes 1 us after ring 0. */
static void packets_larger_than_all(void **state)
{
    static const uint64_t sizes[] = {4 * US, 1000 * US, UINT64_MAX - 3 * US, UINT64_MAX - 1,
                                     UINT64_MAX};
    struct time_report rep;
    struct time_span s[64];

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        replay_setup(NULL);
        xfers[0].engines = xfers[1].engines = 1;
        xfers[0].packet_ps = xfers[1].packet_ps = sizes[i];
        event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 0); /* 0..1 us */
        event(TIME_EV_XFER, ISA_ACT, 0, 0, 0, 0);
        event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 1); /* 1..2 us */
        event(TIME_EV_XFER, ISA_ACT, 0, 0, 1, 1);
        run_replay(&rep, s);
        assert_int_equal(s[1].end_ps - s[1].start_ps, 2 * US);
        assert_int_equal(s[3].end_ps - s[1].start_ps, 6 * US);
        assert_int_equal(rep.dma_busy_ps[0][0], 6 * US);
    }
    /* what takes longer than there are picoseconds is as long as can be said */
    assert_int_equal(time_dma_ps(ISA_V2, TIME_DMA_COPY, INT64_MAX), UINT64_MAX);
}

/* Sixteen rings with four packets each take turns: ring i ends after three rounds and i + 1
 * packets.
 */
static void sixteen_rings_take_turns(void **state)
{
    static const uint64_t work[] = {4 * US};
    static struct time_xfer many[16];
    struct time_report rep;
    struct time_span s[64];

    (void)state;
    for (uint32_t i = 0; i < 16; i++)
        many[i] =
            (struct time_xfer){.queue = i, .engines = 1, .engine_ps = work, .packet_ps = 1 * US};
    prog.xfers = many;
    prog.xfer_count = 16;
    event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 0);
    for (uint32_t i = 0; i < 16; i++)
        event(TIME_EV_XFER, ISA_ACT, 0, 0, (int32_t)i, i);
    run_replay(&rep, s);
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(s[1 + i].end_ps - s[1 + i].start_ps, (3 * 16 + i + 1) * US);
    PROVES("ovl-010");
}

/* Two transfers share a DMA engine; a third on the second's set comes later and is served by others
 * but completes after it. */
static void transfers_queue(void **state)
{
    struct time_report rep;
    struct time_span s[64];

    event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 0); /* 0..1 us: triggers all three */
    event(TIME_EV_XFER, ISA_ACT, 0, 0, 0, 0);
    event(TIME_EV_XFER, ISA_ACT, 0, 0, 1, 1);
    event(TIME_EV_XFER, ISA_ACT, 0, 0, 2, 2);
    event(TIME_EV_XFER_DONE, ISA_ACT, 0, 0, 0, 0);
    event(TIME_EV_XFER_UPDATE, ISA_ACT, 9, ISA_UPD_ADD, 2, 0);
    event(TIME_EV_XFER_DONE, ISA_ACT, 0, 0, 0, 1);
    event(TIME_EV_XFER_UPDATE, ISA_ACT, 9, ISA_UPD_ADD, 2, 1);
    event(TIME_EV_XFER_DONE, ISA_ACT, 0, 0, 0, 2);
    event(TIME_EV_WAIT, ISA_DVE, 9, ISA_WAIT_SEM_GE, 4, 0);
    event(TIME_EV_RECORD, ISA_DVE, 0, 0, 0, 0);
    run_replay(&rep, s);
    assert_int_equal(s[1].start_ps, 2300000); /* 1 us + 1300 ns */
    assert_int_equal(s[1].end_ps, 4300000);
    assert_int_equal(s[2].end_ps, 8300000);   /* engine 0 is busy until 4.3 us */
    assert_int_equal(s[3].start_ps, 2900000); /* the DGE's 600 ns first */
    assert_int_equal(s[3].end_ps, 8300000);   /* not before the other of its set */
    assert_int_equal(s[10].start_ps, 8300000);
    assert_int_equal(rep.total_ps, 9300000);
    assert_int_equal(rep.dma_busy_ps[0][0], 6 * US);
    assert_int_equal(rep.dma_busy_ps[0][1], 1 * US);
}

/* ---- collectives ---- */

static void collective(uint32_t serial, int32_t arrival, int32_t lasts, int32_t engines,
                       int32_t packet)
{
    event(TIME_EV_COLL_ARRIVAL, ISA_ACT, 0, 0, arrival, serial);
    event(TIME_EV_COLL_LASTS, ISA_ACT, 0, 0, lasts, serial);
    event(TIME_EV_COLL_ENGINES, ISA_ACT, 0, 0, engines, serial);
    event(TIME_EV_COLL_PACKET, ISA_ACT, 0, 0, packet, serial);
    event(TIME_EV_XFER_DONE, ISA_ACT, 0, 0, 0, serial);
    event(TIME_EV_XFER_UPDATE, ISA_ACT, (unsigned)(20 + serial), ISA_UPD_INC, 1, serial);
}

/* Three operations are triggered at 1 us: two of stream 0, which last 5 and 3 us, one of stream 1,
 * whose last member comes at 2 us and which lasts 4. Engines work until 1 us, and from 6 to 7. */
static void streams_are_in_order(void **state)
{
    struct time_report rep;
    struct time_span s[64];

    event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 0);
    event(TIME_EV_COLL, ISA_ACT, 0, 0, 0, 0);
    event(TIME_EV_COLL, ISA_ACT, 0, 0, 0, 1);
    event(TIME_EV_COLL, ISA_ACT, 1, 0, 0, 2);
    collective(0, 0, 5 * US, 0, 0);
    collective(1, 0, 3 * US, 0, 0);
    collective(2, 2 * US, 4 * US, 0, 0);
    event(TIME_EV_WAIT, ISA_DVE, 20, ISA_WAIT_SEM_GE, 1, 0); /* event 22 */
    event(TIME_EV_RECORD, ISA_DVE, 0, 0, 0, 0);
    run_replay(&rep, s);
    assert_int_equal(s[1].start_ps, 1 * US);
    assert_int_equal(s[1].end_ps, 6 * US);
    assert_int_equal(s[2].start_ps, 6 * US); /* its turn */
    assert_int_equal(s[2].end_ps, 9 * US);
    assert_int_equal(s[3].start_ps, 1 * US);
    assert_int_equal(s[3].end_ps, 6 * US);
    assert_int_equal(rep.total_ps, 9 * US);
    assert_int_equal(rep.colls, 3);
    assert_int_equal(rep.coll_ps, 12 * US);
    assert_int_equal(rep.coll_late_ps, 1 * US);
    assert_int_equal(rep.coll_behind_ps, 5 * US);
    assert_int_equal(rep.coll_any_ps, 8 * US);
    assert_int_equal(rep.coll_alone_ps, 7 * US); /* DVE works from 6 to 7 us */
    assert_int_equal(s[22].start_ps, 0);
    assert_int_equal(s[22].end_ps, 6 * US);
    assert_int_equal(s[22].by, 9); /* the update of operation 0 */
    assert_int_equal(s[0].by, TIME_NONE);
}

/* A collective has 4 us of work for each DMA engine and lasts 4 us when it is alone. From its
 * beginning a transfer has 4 us of work for engine 0. coll, xfer: packets. Returns how long
 * the transfer took on the engine and how long the collective took. */
static void shared(int32_t coll_packet, uint64_t xfer_packet, uint64_t ret[2])
{
    static const uint64_t work[] = {4 * US};
    struct time_report rep;
    struct time_span s[64];

    replay_setup(NULL);
    xfers[0] =
        (struct time_xfer){.queue = 0, .engines = 1, .engine_ps = work, .packet_ps = xfer_packet};
    event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 0); /* 0..1 us */
    event(TIME_EV_XFER, ISA_ACT, 0, 0, 0, 0);   /* at the engine at 2.3 us */
    event(TIME_EV_COLL, ISA_ACT, 0, 0, 0, 1);
    collective(1, 2300000, 4 * US, 4 * US, coll_packet);
    run_replay(&rep, s);
    ret[0] = s[1].end_ps - s[1].start_ps;
    ret[1] = s[2].end_ps - 2300000;
    assert_int_equal(rep.dma_busy_ps[0][0], 8 * US);
    assert_int_equal(rep.dma_busy_ps[0][1], 4 * US); /* the collective alone */
}

/* Shares are as packets: share_i = packet_i / sum(packet). */
static void collectives_share_dma_engines(void **state)
{
    uint64_t took[2];

    (void)state;
    shared(US / 2, US / 2, took); /* halves: who came first ends one packet earlier */
    assert_int_equal(took[0], 15 * US / 2);
    assert_int_equal(took[1], 8 * US);
    shared(US / 2, US / 10, took); /* the transfer has a sixth until the collective is done */
    assert_int_equal(took[0], 8 * US);
    assert_int_equal(took[1], 4 * US + 8 * (US / 10));
    shared(US / 10, US / 2, took); /* the other way round: the collective has a sixth */
    assert_int_equal(took[0], 4 * US + 7 * (US / 10));
    assert_int_equal(took[1], 8 * US);
}

/* A record of a racing program may have no order in device time: it is let through and counted. */
static void races_are_counted(void **state)
{
    struct time_report rep;

    event(TIME_EV_WAIT, ISA_ACT, 9, ISA_WAIT_SEM_EQ, 7, 0);
    event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 0);
    run_replay(&rep, NULL);
    assert_int_equal(rep.forced, 1);
    assert_int_equal(rep.total_ps, 1 * US);
}

static void foreign_events_are_refused(void **state)
{
    const struct time_program *p = &prog;
    struct time_report rep;
    struct err err = {0};

    event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 8);
    assert_int_equal(time_replay(&p, 1, &events, NULL, &rep, &err), NRT_INVALID);
    events.count = 0;
    event(TIME_EV_XFER_DONE, ISA_ACT, 0, 0, 0, 0);
    assert_int_equal(time_replay(&p, 1, &events, NULL, &rep, &err), NRT_INVALID);
    events.count = 0;
    event(TIME_EV_COMPLETE, ISA_ACT, 0, 0, 0, 0);
    assert_int_equal(time_replay(&p, 1, &events, NULL, &rep, &err), NRT_INVALID);
}

/* Asks the keeper, and compares with the clock itself. Returns the number of the times. */
static uint64_t kept(struct time_keeper *k, bool spans)
{
    const struct time_program *p = &prog;
    const struct time_kept *t;
    struct time_report rep;
    struct time_span s[64];
    struct err err = {0};

    run_replay(&rep, s);
    assert_int_equal(time_keeper_replay(k, &p, 1, &events, spans, &t, &err), NRT_SUCCESS);
    assert_memory_equal(&t->report, &rep, sizeof(rep));
    if (spans)
        assert_memory_equal(t->spans, s, events.count * sizeof(s[0]));
    return t->number;
}

/* What is kept is what a replay says, for any change of an event; the same events are replayed
 * once. */
static void executions_alike_are_replayed_once(void **state)
{
    struct time_keeper k = {0};
    uint64_t number[TIME_KEPT + 1], other;

    for (int32_t i = 0; i <= TIME_KEPT; i++) { /* the cost of a record is another one each time */
        costs[0][i].ps = (1 + (uint32_t)i) * US;
        events.count = 0;
        event(TIME_EV_RECORD, ISA_DVE, 0, 0, 0, (uint32_t)i);
        event(TIME_EV_COMPLETE, ISA_DVE, 5, ISA_UPD_INC, 1, 0);
        event(TIME_EV_WAIT, ISA_ACT, 5, ISA_WAIT_SEM_GE, 1, 0);
        event(TIME_EV_RECORD, ISA_ACT, 0, 0, 0, 0);
        number[i] = kept(&k, i % 2 == 0);
        assert_int_equal(number[i], i + 1);
        assert_int_equal(kept(&k, i % 2 == 0), number[i]);
    }
    other = kept(&k, true); /* times of each event have been asked for, or now are */
    assert_int_equal(other, number[TIME_KEPT]);
    ev[0].id = 1; /* kept, but without the times of its events */
    other = kept(&k, false);
    assert_int_equal(other, number[1]);
    assert_int_not_equal(kept(&k, true), other);
    ev[0].id = 0; /* its place was taken by the last of the five */
    assert_int_not_equal(kept(&k, true), number[0]);
    other = kept(&k, true);
    for (size_t i = 0; i < sizeof(ev[0]) * 4; i++) { /* one bit of any event that may be set */
        uint8_t *byte = (uint8_t *)ev + i, was = *byte;
        const struct time_program *p = &prog;
        struct time_report rep;
        struct err err = {0};

        *byte ^= 1;
        if (time_replay(&p, 1, &events, NULL, &rep, &err) == NRT_SUCCESS)
            assert_int_not_equal(kept(&k, true), other);
        *byte = was;
    }
    events.count--;
    assert_int_not_equal(kept(&k, true), other);
    events.dropped++;
    other = kept(&k, true);
    events.dropped = 0;
    assert_int_not_equal(kept(&k, true), other);
    time_keeper_drop(&k); /* a program may have changed: 7 us at its address */
    costs[0][ev[0].id].ps = 7 * US;
    assert_int_not_equal(kept(&k, true), other);
    time_keeper_drop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul),
        cmocka_unit_test(element_wise),
        cmocka_unit_test(small_instructions),
        cmocka_unit_test(unpublished_is_marked),
        cmocka_unit_test(dependence),
        cmocka_unit_test(dma_figures),
        cmocka_unit_test_setup(engines_overlap, replay_setup),
        cmocka_unit_test_setup(rings_share_by_packets, replay_setup),
        cmocka_unit_test_setup(a_switch_waits_for_the_packet, replay_setup),
        cmocka_unit_test_setup(packets_larger_than_all, replay_setup),
        cmocka_unit_test_setup(sixteen_rings_take_turns, replay_setup),
        cmocka_unit_test_setup(transfers_queue, replay_setup),
        cmocka_unit_test_setup(streams_are_in_order, replay_setup),
        cmocka_unit_test_setup(collectives_share_dma_engines, replay_setup),
        cmocka_unit_test_setup(races_are_counted, replay_setup),
        cmocka_unit_test_setup(foreign_events_are_refused, replay_setup),
        cmocka_unit_test_setup(executions_alike_are_replayed_once, replay_setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
