/* SPDX-License-Identifier: Apache-2.0 */
/* The checker on schedules written by hand: right ones pass, and each way to be wrong is caught at
 * its step and by its name. A wrong schedule is a right one with one edit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "sched/text.h"
#include "topo/group.h"

/* ---- right schedules ---- */

struct base {
    const char *text;
    enum sched_op op;
    uint64_t count;
    bool in_place;
    const struct topo_pair *pairs;
    uint32_t pair_count;
};

/* Each rank writes its chunk into both outputs. */
static const struct base gather = {"schedule ranks 2 channels 1\n"
                                   "rank 0 channel 0\n"
                                   "0 signal out_ready to 1\n"
                                   "1 wait out_ready 1 from 1\n"
                                   "2 copy 4 in[0] -> out[0], out[0]@1\n"
                                   "3 signal recv to 1\n"
                                   "4 wait recv 1 from 1\n"
                                   "rank 1 channel 0\n"
                                   "0 signal out_ready to 0\n"
                                   "1 wait out_ready 1 from 0\n"
                                   "2 copy 4 in[0] -> out[0]+4, out[0]+4@0\n"
                                   "3 signal recv to 0\n"
                                   "4 wait recv 1 from 0\n",
                                   SCHED_ALL_GATHER,
                                   4,
                                   false,
                                   NULL,
                                   0};

/* The same in place, strided and on two channels: channel 0 moves even elements, channel 1 odd. */
static const struct base gather_two = {"schedule ranks 2 channels 2\n"
                                       "rank 0 channel 0\n"
                                       "0 signal out_ready to 1\n"
                                       "1 wait out_ready 1 from 1\n"
                                       "2 copy 1 x 2 in[0]*2 -> out[0]*2@1\n"
                                       "3 signal recv to 1\n"
                                       "4 wait recv 1 from 1\n"
                                       "rank 0 channel 1\n"
                                       "0 signal out_ready to 1\n"
                                       "1 wait out_ready 1 from 1\n"
                                       "2 copy 1 x 2 in[0]+1*2 -> out[0]+1*2@1\n"
                                       "3 signal recv to 1\n"
                                       "4 wait recv 1 from 1\n"
                                       "rank 1 channel 0\n"
                                       "0 signal out_ready to 0\n"
                                       "1 wait out_ready 1 from 0\n"
                                       "2 copy 1 x 2 in[0]+2*-2 -> out[0]+6*-2@0\n"
                                       "3 signal recv to 0\n"
                                       "4 wait recv 1 from 0\n"
                                       "rank 1 channel 1\n"
                                       "0 signal out_ready to 0\n"
                                       "1 wait out_ready 1 from 0\n"
                                       "2 copy 1 x 2 out[0]+5*2 -> out[0]+5*2@0\n"
                                       "3 signal recv to 0\n"
                                       "4 wait recv 1 from 0\n",
                                       SCHED_ALL_GATHER,
                                       4,
                                       true,
                                       NULL,
                                       0};

/* One slot at each rank, with credit from one operation to the next. */
static const struct base scatter = {"schedule ranks 2 channels 1\n"
                                    "rank 0 channel 0 slot 4\n"
                                    "0 wait credit 0 from 1\n"
                                    "1 copy 4 in[0]+4 -> slot@1\n"
                                    "2 signal recv to 1\n"
                                    "3 wait recv 1 from 1\n"
                                    "4 reduce 4 slot, in[0] -> out[0]\n"
                                    "5 signal credit to 1\n"
                                    "6 expect credit 1 from 1\n"
                                    "rank 1 channel 0 slot 4\n"
                                    "0 wait credit 0 from 0\n"
                                    "1 copy 4 in[0] -> slot@0\n"
                                    "2 signal recv to 0\n"
                                    "3 wait recv 1 from 0\n"
                                    "4 reduce 4 slot, in[0]+4 -> out[0]\n"
                                    "5 signal credit to 0\n"
                                    "6 expect credit 1 from 0\n",
                                    SCHED_REDUCE_SCATTER,
                                    4,
                                    false,
                                    NULL,
                                    0};

/* Everything of everybody, in the same order at both. */
static const struct base reduce = {"schedule ranks 2 channels 1\n"
                                   "rank 0 channel 0 slot 4\n"
                                   "0 wait credit 0 from 1\n"
                                   "1 copy 4 in[0] -> slot@1\n"
                                   "2 signal recv to 1\n"
                                   "3 wait recv 1 from 1\n"
                                   "4 reduce 4 in[0], slot -> out[0]\n"
                                   "5 signal credit to 1\n"
                                   "6 expect credit 1 from 1\n"
                                   "rank 1 channel 0 slot 4\n"
                                   "0 wait credit 0 from 0\n"
                                   "1 copy 4 in[0] -> slot@0\n"
                                   "2 signal recv to 0\n"
                                   "3 wait recv 1 from 0\n"
                                   "4 reduce 4 slot, in[0] -> out[0]\n"
                                   "5 signal credit to 0\n"
                                   "6 expect credit 1 from 0\n",
                                   SCHED_ALL_REDUCE,
                                   4,
                                   true,
                                   NULL,
                                   0};

/* The same with lines, of which there are two sets in turn: no credit. */
static const struct base lines = {"schedule ranks 2 channels 1\n"
                                  "rank 0 channel 0 line 4\n"
                                  "0 put 4 in[0] -> line[0]@1 to 1\n"
                                  "1 take 4 line[1] from 1\n"
                                  "2 reduce 4 in[0], line[1] -> out[0]\n"
                                  "rank 1 channel 0 line 4\n"
                                  "0 put 4 in[0] -> line[1]@0 to 0\n"
                                  "1 take 4 line[0] from 0\n"
                                  "2 reduce 4 line[0], in[0] -> out[0]\n",
                                  SCHED_ALL_REDUCE,
                                  4,
                                  false,
                                  NULL,
                                  0};

/* Two nodes, two messages each way. */
static const struct base network = {"schedule ranks 2 channels 1\n"
                                    "rank 0 channel 0 node 0\n"
                                    "0 net_recv 3 out[0] from 1\n"
                                    "1 net_recv 1 out[0]+3 from 1\n"
                                    "2 net_send 3 in[0] to 1\n"
                                    "3 net_send 1 in[0]+3 to 1\n"
                                    "4 wait sent 2 from 1\n"
                                    "5 wait arrived 2 from 1\n"
                                    "rank 1 channel 0 node 1\n"
                                    "0 net_recv 3 out[0] from 0\n"
                                    "1 net_recv 1 out[0]+3 from 0\n"
                                    "2 net_send 3 in[0] to 0\n"
                                    "3 net_send 1 in[0]+3 to 0\n"
                                    "4 wait sent 2 from 0\n"
                                    "5 wait arrived 2 from 0\n",
                                    SCHED_SENDRECV,
                                    4,
                                    false,
                                    NULL,
                                    0};

/* In place over the network: the message back lands where the message out was read, which is over
 * when that has arrived. */
static const struct base echo = {"schedule ranks 2 channels 1\n"
                                 "rank 0 channel 0 node 0 temp 4\n"
                                 "0 net_recv 4 temp from 1\n"
                                 "1 wait arrived 1 from 1\n"
                                 "2 reduce 4 in[0], temp -> out[0]\n"
                                 "3 net_send 4 out[0] to 1\n"
                                 "4 wait sent 1 from 1\n"
                                 "rank 1 channel 0 node 1 temp 4\n"
                                 "0 net_recv 4 out[0] from 0\n"
                                 "1 net_send 4 in[0] to 0\n"
                                 "2 wait arrived 1 from 0\n"
                                 "3 expect sent 1 from 0\n",
                                 SCHED_ALL_REDUCE,
                                 4,
                                 true,
                                 NULL,
                                 0};

static const struct base barrier = {"schedule ranks 2 channels 1\n"
                                    "rank 0 channel 0\n"
                                    "0 signal sync to 1\n"
                                    "1 wait sync 1 from 1\n"
                                    "rank 1 channel 0\n"
                                    "0 signal sync to 0\n"
                                    "1 wait sync 1 from 0\n",
                                    SCHED_BARRIER,
                                    0,
                                    false,
                                    NULL,
                                    0};

/* Rank 2 is in no pair. */
static const struct topo_pair swap_pairs[] = {{0, 1}, {1, 0}};
static const struct base permute = {"schedule ranks 3 channels 1\n"
                                    "rank 0 channel 0\n"
                                    "0 signal out_ready to 1\n"
                                    "1 wait out_ready 1 from 1\n"
                                    "2 copy 4 in[0] -> out[0]@1\n"
                                    "3 signal recv to 1\n"
                                    "4 wait recv 1 from 1\n"
                                    "rank 1 channel 0\n"
                                    "0 signal out_ready to 0\n"
                                    "1 wait out_ready 1 from 0\n"
                                    "2 copy 4 in[0] -> out[0]@0\n"
                                    "3 signal recv to 0\n"
                                    "4 wait recv 1 from 0\n"
                                    "rank 2 channel 0\n",
                                    SCHED_PERMUTE,
                                    4,
                                    false,
                                    swap_pairs,
                                    2};

/* Blocks are pulled: rank 0 and 1 read each other's input. */
static const struct base exchange = {"schedule ranks 2 channels 1\n"
                                     "rank 0 channel 0\n"
                                     "0 signal in_ready to 1\n"
                                     "1 copy 2 in[0] -> out[0]\n"
                                     "2 wait in_ready 1 from 1\n"
                                     "3 copy 2 in[0]@1 -> out[0]+2\n"
                                     "4 signal in_done to 1\n"
                                     "5 wait in_done 1 from 1\n"
                                     "rank 1 channel 0\n"
                                     "0 signal in_ready to 0\n"
                                     "1 copy 2 in[0]+2 -> out[0]+2\n"
                                     "2 wait in_ready 1 from 0\n"
                                     "3 copy 2 in[0]+2@0 -> out[0]\n"
                                     "4 signal in_done to 0\n"
                                     "5 wait in_done 1 from 0\n",
                                     SCHED_ALL_TO_ALL,
                                     4,
                                     false,
                                     NULL,
                                     0};

/* ---- running them ---- */

static NRT_STATUS check_text(const struct base *b, const char *text,
                             struct sched_violation *violation, struct sched_counts *counts,
                             struct err *err)
{
    struct sched_request req = {.op = b->op,
                                .tensors = b->op == SCHED_BARRIER ? 0 : 1,
                                .counts = &b->count,
                                .elem_size = 4,
                                .in_place = b->in_place,
                                .pairs = b->pairs,
                                .pair_count = b->pair_count};
    struct sched_check_source source;
    struct sched_text_reader reader;
    struct sched_text *t;
    NRT_STATUS status;

    status = sched_text_parse(text, strlen(text), &t, err);
    if (status == NRT_RESOURCE)
        return status;
    if (status != NRT_SUCCESS)
        fail_msg("%s", err->text);
    reader = (struct sched_text_reader){t, calloc((size_t)t->ranks * t->channels, sizeof(size_t))};
    assert_non_null(reader.at);
    sched_text_source(&reader, &source);
    status = sched_check(&req, t->ranks, t->channels, &source, NULL, violation, counts, err);
    free(reader.at);
    sched_text_destroy(t);
    return status;
}

/* The text with the first `from` replaced, which must be there. */
static char *edited(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    size_t size = strlen(text) + strlen(to) + 1;
    char *s = malloc(size);

    assert_non_null(s);
    if (!at)
        fail_msg("no \"%s\" in the text", from);
    snprintf(s, size, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return s;
}

static void right_ones(void **state)
{
    static const struct {
        const char *name;
        const struct base *base;
    } right[] = {{"gather", &gather},   {"gather_two", &gather_two},
                 {"scatter", &scatter}, {"reduce", &reduce},
                 {"lines", &lines},     {"network", &network},
                 {"barrier", &barrier}, {"echo", &echo},
                 {"permute", &permute}, {"exchange", &exchange}};

    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        struct sched_violation v;
        struct err err = {0};

        if (check_text(right[i].base, right[i].base->text, &v, NULL, &err) != NRT_SUCCESS)
            fail_msg("%s: %s", right[i].name, err.text);
        assert_int_equal(v.flaw, SCHED_FLAW_NONE);
    }
    (void)state;
}

#define END      SCHED_AT_END
#define NO_PLACE UINT64_MAX

static const struct wrong {
    const struct base *base;
    const char *from, *to;
    enum sched_flaw flaw;
    uint32_t operation, rank;
    uint64_t step, element;
} wrongs[] = {
    /* Not a step. */
    {&gather, "0]@1\n", "0]@2\n", SCHED_FLAW_STEP, 0, 0, 2, NO_PLACE},
    {&gather, "in[0]", "in[1]", SCHED_FLAW_STEP, 0, 0, 2, NO_PLACE},
    {&gather, "in[0] ->", "in[0], in[0] ->", SCHED_FLAW_STEP, 0, 0, 2, NO_PLACE},
    {&gather, "recv to 1", "recv to 2", SCHED_FLAW_STEP, 0, 0, 3, NO_PLACE},
    {&gather, "signal recv", "signal sent", SCHED_FLAW_STEP, 0, 0, 3, NO_PLACE},
    {&scatter, "slot@1", "slot@2", SCHED_FLAW_STEP, 0, 0, 1, NO_PLACE},
    /* Bounds: count, offset, stride either way. */
    {&gather, "copy 4 in", "copy 5 in", SCHED_FLAW_BOUNDS, 0, 0, 2, 0},
    {&gather, "out[0], ", "out[0]+5, ", SCHED_FLAW_BOUNDS, 0, 0, 2, 5},
    {&gather_two, "2 in[0]*2", "2 in[0]*4", SCHED_FLAW_BOUNDS, 0, 0, 2, 0},
    {&gather_two, "+2*-2", "+2*-3", SCHED_FLAW_BOUNDS, 0, 1, 2, 2},
    {&gather_two, "1 x 2 in[0]*2", "1 x 2 in[0]*9223372036854775807", SCHED_FLAW_BOUNDS, 0, 0, 2,
     0},
    {&reduce, "rank 1 channel 0 slot 4", "rank 1 channel 0 slot 3", SCHED_FLAW_BOUNDS, 0, 0, 1, 0},
    {&lines, "rank 1 channel 0 line 4", "rank 1 channel 0 line 3", SCHED_FLAW_BOUNDS, 0, 0, 0, 0},
    {&scatter, "rank 1 channel 0 slot 4", "rank 1 channel 0", SCHED_FLAW_BOUNDS, 0, 0, 1, 0},
    /* Overlap in one step. */
    {&gather, "out[0], out[0]@1", "out[0], out[0]+3, out[0]@1", SCHED_FLAW_OVERLAP, 0, 0, 2, 3},
    {&reduce, "in[0], slot -> out[0]", "in[0], slot -> slot", SCHED_FLAW_RESULT, 0, 0, END, 0},
    {&gather_two, "1 x 2 out[0]+5*2 -> out[0]+5*2@0", "2 out[0]+4 -> out[0]+5", SCHED_FLAW_OVERLAP,
     0, 1, 2, 5},
    /* Nobody wrote it. */
    {&scatter, "4 slot, in[0] ->", "4 slot, temp ->", SCHED_FLAW_BOUNDS, 0, 0, 4, 0},
    {&scatter, "copy 4 in[0]+4 -> slot@1", "copy 3 in[0]+4 -> slot@1", SCHED_FLAW_UNWRITTEN, 0, 1,
     4, 3},
    /* Reads that nothing orders. */
    {&gather, "4 wait recv 1 from 1\n", "4 expect recv 1 from 1\n", SCHED_FLAW_READ_RACE, 0, 0, END,
     4},
    {&gather_two, "3 signal recv to 1\n4 wait recv 1 from 1\nrank 1 channel 0",
     "3 signal recv to 1\n4 expect recv 1 from 1\nrank 1 channel 0", SCHED_FLAW_READ_RACE, 0, 0,
     END, 5},
    {&scatter, "3 wait recv 1 from 1", "3 expect recv 1 from 1", SCHED_FLAW_UNWRITTEN, 0, 0, 4, 0},
    {&scatter, "3 wait recv 1 from 0", "3 expect recv 1 from 0", SCHED_FLAW_READ_RACE, 0, 1, 4, 0},
    {&exchange, "2 wait in_ready 1 from 1", "2 expect in_ready 1 from 1", SCHED_FLAW_READ_RACE, 0,
     0, 3, 0},
    {&network, "5 wait arrived 2 from 0", "5 wait arrived 1 from 0", SCHED_FLAW_READ_RACE, 0, 1,
     END, 3},
    /* Signals before their data. */
    {&gather, "2 copy 4 in[0] -> out[0], out[0]@1\n3 signal recv to 1\n",
     "2 signal recv to 1\n3 copy 4 in[0] -> out[0], out[0]@1\n", SCHED_FLAW_READ_RACE, 0, 1, END,
     0},
    /* Writes that nothing orders: with the application, with another rank. */
    {&gather, "1 wait out_ready 1 from 1", "1 expect out_ready 1 from 1", SCHED_FLAW_WRITE_RACE, 0,
     0, 2, 0},
    {&gather, "2 copy 4 in[0] -> out[0], out[0]@1", "2 copy 4 in[0] -> out[0], out[0]+4@1",
     SCHED_FLAW_WRITE_RACE, 0, 0, 2, 4},
    /* Overwritten while it may still be read: slot, half, line, input, message. */
    {&scatter, "0 wait credit 0 from 1", "0 expect credit 1 from 1", SCHED_FLAW_REUSE, 1, 0, 1, 0},
    {&scatter, "0 wait credit 0 from 0", "0 wait credit -1 from 0", SCHED_FLAW_REUSE, 1, 1, 1, 0},
    {&exchange, "5 wait in_done 1 from 1", "5 expect in_done 1 from 1", SCHED_FLAW_REUSE, 0, 0, END,
     2},
    {&exchange, "5 wait in_done 1 from 0", "5 expect in_done 1 from 0", SCHED_FLAW_READ_RACE, 0, 0,
     3, 0},
    {&network, "4 wait sent 2 from 1", "4 wait sent 1 from 1", SCHED_FLAW_REUSE, 0, 0, END, 3},
    /* Lines. */
    {&lines, "2 reduce", "2 put 4 in[0] -> line[0]@1 to 1\n3 reduce", SCHED_FLAW_LINE, 0, 0, 2, 0},
    {&lines, "0 put 4 in[0] -> line[0]@1 to 1", "0 copy 4 in[0] -> line[0]@1", SCHED_FLAW_LINE, 0,
     0, 0, NO_PLACE},
    {&lines, "1 take 4 line[1] from 1", "1 copy 4 line[1] -> out[0]", SCHED_FLAW_UNWRITTEN, 0, 0, 1,
     0},
    {&lines, "1 take 4 line[0] from 0", "1 take 3 line[0] from 0", SCHED_FLAW_LINE, 0, 1, 1, 0},
    {&lines, "0 put 4 in[0] -> line[0]@1 to 1\n", "0 put 3 in[0] -> line[0]@1 to 1\n",
     SCHED_FLAW_DEADLOCK, 1, 0, 1, NO_PLACE},
    /* Network. */
    {&network, "2 net_send 3 in[0] to 1", "2 net_send 2 in[0] to 1", SCHED_FLAW_NET, 0, 1, 0,
     NO_PLACE},
    {&network, "2 net_send 3 in[0] to 1\n3 net_send 1 in[0]+3 to 1",
     "2 net_send 1 in[0]+3 to 1\n3 net_send 3 in[0] to 1", SCHED_FLAW_NET, 0, 1, 0, NO_PLACE},
    {&network, "4 wait sent 2 from 1", "4 wait sent 2 from 1\n4 net_send 0 in[0] to 1",
     SCHED_FLAW_NET, 1, 1, 0, NO_PLACE},
    {&network, "1 net_recv 1 out[0]+3 from 1", "1 copy 1 in[0]@1 -> out[0]+3", SCHED_FLAW_NODE, 0,
     0, 1, 0},
    {&network, "4 wait sent 2 from 1", "4 signal sync to 1", SCHED_FLAW_NODE, 0, 0, 4, NO_PLACE},
    {&echo, "1 net_send 4 in[0] to 0", "1 net_send 4 in[0] to 0\n1 copy 4 in[0] -> temp",
     SCHED_FLAW_REUSE, 0, 0, 3, 0},
    {&echo, "2 wait arrived 1 from 0", "2 expect arrived 1 from 0", SCHED_FLAW_RESULT, 0, 1, END,
     0},
    {&echo, "4 wait sent 1 from 1", "4 expect sent 1 from 1", SCHED_FLAW_REUSE, 0, 0, END, 0},
    /* Waits for ever: in a circle, for one that has ended. */
    {&gather, "0 signal out_ready to 1\n1 wait out_ready 1 from 1\n",
     "0 wait out_ready 1 from 1\n1 wait recv 1 from 1\n2 signal out_ready to 1\n",
     SCHED_FLAW_DEADLOCK, 0, 0, 1, NO_PLACE},
    {&gather, "4 wait recv 1 from 1", "4 wait recv 2 from 1", SCHED_FLAW_DEADLOCK, 0, 0, 4,
     NO_PLACE},
    {&permute, "rank 2 channel 0\n", "rank 2 channel 0\n0 wait sync 1 from 1\n",
     SCHED_FLAW_DEADLOCK, 0, 2, 0, NO_PLACE},
    /* Counters. */
    {&barrier, "1 wait sync 1 from 1", "1 wait sync 2 from 1", SCHED_FLAW_COUNTER, 0, 0, END,
     NO_PLACE},
    {&gather, "4 wait recv 1 from 1", "4 wait recv 1 from 1\n5 signal sync to 1",
     SCHED_FLAW_COUNTER, 0, 1, END, NO_PLACE},
    {&scatter, "6 expect credit 1 from 1\n", "", SCHED_FLAW_COUNTER, 0, 0, END, NO_PLACE},
    {&scatter, "6 expect credit 1 from 0\n", "6 expect credit 2 from 0\n", SCHED_FLAW_COUNTER, 0, 1,
     END, NO_PLACE},
    {&gather, "4 wait recv 1 from 1", "4 wait recv 1 from 1\n5 expect recv 0 from 1",
     SCHED_FLAW_COUNTER, 0, 0, END, NO_PLACE},
    /* Results: shifted, not moved at all, from elsewhere, contributions missing, twice, of other
     * elements, in another order. */
    {&gather, "copy 4 in[0] -> out[0]+4, out[0]+4@0", "copy 3 in[0] -> out[0]+4, out[0]+4@0",
     SCHED_FLAW_RESULT, 0, 0, END, 7},
    {&exchange, "1 copy 2 in[0] -> out[0]", "1 copy 2 in[0]+1 -> out[0]", SCHED_FLAW_RESULT, 0, 0,
     END, 0},
    {&exchange, "3 copy 2 in[0]@1 -> out[0]+2", "3 copy 2 in[0] -> out[0]+2", SCHED_FLAW_RESULT, 0,
     0, END, 2},
    {&scatter, "4 reduce 4 slot, in[0] ->", "4 reduce 4 slot ->", SCHED_FLAW_RESULT, 0, 0, END, 0},
    {&scatter, "4 reduce 4 slot, in[0] ->", "4 reduce 4 slot, in[0], slot ->", SCHED_FLAW_RESULT, 0,
     0, END, 0},
    {&scatter, "4 reduce 4 slot, in[0] ->", "4 reduce 4 slot, in[0]+1 ->", SCHED_FLAW_RESULT, 0, 0,
     END, 0},
    {&reduce, "reduce 4 in[0], slot", "reduce 4 slot, in[0]", SCHED_FLAW_RESULT, 0, 0, END, 0},
    /* What must stay. */
    {&exchange, "1 copy 2 in[0] -> out[0]", "1 copy 2 in[0] -> out[0], in[0]+1", SCHED_FLAW_OVERLAP,
     0, 0, 1, 1},
    {&exchange, "4 signal in_done to 1", "4 signal in_done to 1\n4 copy 1 in[0] -> in[0]+1",
     SCHED_FLAW_INPUT, 0, 0, END, 1},
    {&permute, "rank 2 channel 0\n", "rank 2 channel 0\n0 copy 2 in[0] -> out[0]+1\n",
     SCHED_FLAW_OUTSIDE, 0, 2, END, 1},
    /* Barrier. */
    {&barrier, "1 wait sync 1 from 1", "1 expect sync 1 from 1", SCHED_FLAW_BARRIER, 0, 0, END,
     NO_PLACE},
    {&barrier, "1 wait sync 1 from 0", "1 wait sync 0 from 0\n2 expect sync 1 from 0",
     SCHED_FLAW_BARRIER, 0, 1, END, NO_PLACE},
};

static void wrong_ones(void **state)
{
    unsigned other = 0;

    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        const struct wrong *w = &wrongs[i];
        char *text = edited(w->base->text, w->from, w->to);
        struct sched_violation v;
        struct err err = {0};
        NRT_STATUS status = check_text(w->base, text, &v, NULL, &err);

        if (status != (w->flaw ? NRT_FAILURE : NRT_SUCCESS) || v.flaw != w->flaw ||
            v.operation != w->operation || v.rank != w->rank || v.step != w->step ||
            (w->flaw &&
             (w->element != NO_PLACE ? v.element != w->element : v.buf != SCHED_BUF_COUNT))) {
            print_error("\"%s\" -> \"%s\": status %d, %s, element %llu: %s\n", w->from, w->to,
                        status, sched_flaw_name(v.flaw), (unsigned long long)v.element, err.text);
            other++;
        }
        free(text);
    }
    assert_int_equal(other, 0);
    (void)state;
}

/* Counts of the first operation, by hand from the texts above. */
static void counts(void **state)
{
    struct sched_counts n = {0};
    struct err err = {0};

    assert_int_equal(check_text(&scatter, scatter.text, NULL, &n, &err), NRT_SUCCESS);
    assert_int_equal(n.ranks, 2);
    for (unsigned r = 0; r < 2; r++) {
        assert_int_equal(n.rank[r].steps, 7);
        assert_int_equal(n.rank[r].sent_bytes, 16); /* 4 elements of 4 bytes, to the slot */
        assert_int_equal(n.rank[r].net_bytes, 0);
        assert_int_equal(n.rank[r].reads, 4 + 2 * 4);
        assert_int_equal(n.rank[r].writes, 4 + 4);
    }
    assert_int_equal(n.flow_count, 2);
    assert_true(n.flow[0].from == 0 && n.flow[0].to == 1 && n.flow[0].elems == 4);
    assert_true(n.flow[1].from == 1 && n.flow[1].to == 0 && n.flow[1].elems == 4);
    sched_counts_fini(&n);
    assert_int_equal(check_text(&network, network.text, NULL, &n, &err), NRT_SUCCESS);
    assert_int_equal(n.rank[1].sent_bytes, 16);
    assert_int_equal(n.rank[1].net_bytes, 16);
    assert_true(n.rank[1].reads == 4 && n.rank[1].writes == 4);
    sched_counts_fini(&n);
    assert_int_equal(check_text(&gather_two, gather_two.text, NULL, &n, &err), NRT_SUCCESS);
    assert_int_equal(n.flow_count, 4); /* either way on two channels */
    assert_true(n.flow[2].channel == 1 && n.flow[2].from == 0 && n.flow[2].elems == 2);
    assert_true(n.rank[0].reads == 4 && n.rank[0].writes == 4 && n.rank[0].sent_bytes == 16);
    sched_counts_fini(&n);
    (void)state;
}

/* Every allocation in turn fails: a status, no crash, and (under the sanitizers) no leak. */
static void out_of_memory(void **state)
{
    static const struct base *const bases[] = {&scatter, &lines, &network, &gather_two, &reduce};

    for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        uint64_t hits;
        struct sched_counts n = {0};
        struct err err = {0};

        fault_count_start();
        assert_int_equal(check_text(bases[i], bases[i]->text, NULL, &n, &err), NRT_SUCCESS);
        hits = fault_count(FAULT_ALLOC);
        fault_disarm();
        sched_counts_fini(&n);
        assert_true(hits > 20);
        for (uint64_t nth = 1; nth <= hits; nth++) {
            struct sched_violation v = {.flaw = SCHED_FLAW_NONE};

            fault_arm(FAULT_ALLOC, nth);
            err = (struct err){0};
            assert_int_equal(check_text(bases[i], bases[i]->text, &v, &n, &err), NRT_RESOURCE);
            fault_disarm();
            assert_int_equal(v.flaw, SCHED_FLAW_NONE);
            assert_true(err.text[0]);
        }
    }
    (void)state;
}

/* What makes no sense is refused before anything runs. */
static void bad_requests(void **state)
{
    struct sched_check_source source = {0};
    uint64_t count = 5, huge = UINT64_MAX / 2;
    struct topo_pair outside = {0, 2};
    struct sched_request req = {
        .op = SCHED_ALL_TO_ALL, .tensors = 1, .counts = &count, .elem_size = 4};
    struct err err = {0};

    assert_int_equal(sched_check(&req, 2, 1, &source, NULL, NULL, NULL, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, "no multiple"));
    req.op = SCHED_ALL_REDUCE;
    assert_int_equal(sched_check(&req, 0, 1, &source, NULL, NULL, NULL, NULL), NRT_INVALID);
    assert_int_equal(sched_check(&req, 1, 33, &source, NULL, NULL, NULL, NULL), NRT_INVALID);
    req.elem_size = 0;
    assert_int_equal(sched_check(&req, 1, 1, &source, NULL, NULL, NULL, NULL), NRT_INVALID);
    req.elem_size = 4;
    req.counts = &huge;
    assert_int_equal(sched_check(&req, 4, 1, &source, NULL, NULL, NULL, NULL), NRT_INVALID);
    req.op = SCHED_ALL_GATHER_V;
    assert_int_equal(sched_check(&req, 4, 1, &source, NULL, NULL, NULL, NULL), NRT_INVALID);
    req.op = SCHED_PERMUTE;
    req.counts = &count;
    req.pairs = &outside;
    req.pair_count = 1;
    assert_int_equal(sched_check(&req, 2, 1, &source, NULL, NULL, NULL, NULL), NRT_INVALID);
    req.op = SCHED_OP_COUNT;
    assert_int_equal(sched_check(&req, 2, 1, &source, NULL, NULL, NULL, NULL), NRT_INVALID);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_ones),    cmocka_unit_test(wrong_ones),   cmocka_unit_test(counts),
        cmocka_unit_test(out_of_memory), cmocka_unit_test(bad_requests),
    };

    return cmocka_run_group_tests_name("sched-check", tests, NULL, NULL);
}
