/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the naive proof (naive.h): its graph (naive_graph.c) and the results that it wants
 * (naive_want.c). One check at a time. */
#ifndef TEST_SCHED_NAIVE_INT_H
#define TEST_SCHED_NAIVE_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "naive.h"

#define NAIVE_CELLS 20000 /* elements of all memory, numbered */

/* ---- naive.c ---- */

/* False. The first thing that is wrong is the verdict. */
bool naive_bad(const char *what, uint32_t a, uint32_t b);

/* ---- naive_graph.c ---- */

void naive_graph_clear(void);
uint32_t naive_node_new(uint32_t after); /* UINT32_MAX: after nothing */
void naive_node_drop(void);              /* the newest, to which nothing refers */
void naive_edge(uint32_t from, uint32_t to);
bool naive_is_before(uint32_t a, uint32_t b);
/* A node reads or writes a cell; false: unordered with another access of it. */
bool naive_touch(uint32_t cell, uint32_t node, bool write);

/* ---- naive_want.c ---- */

struct naive_value {
    uint64_t order, sum; /* of how it was added up; of whose contributions, each random */
    bool set;
};

uint64_t naive_mix(uint64_t a, uint64_t b);
/* Element i of tensor t of rank r before the operation of that run: of its input; of its output. */
struct naive_value naive_input(uint32_t run, uint32_t r, uint32_t t, uint64_t i);
struct naive_value naive_stale(uint32_t run, uint32_t r, uint32_t t, uint64_t i);
/* Element i of the output after it; not set: a sum, of which any order is right. */
struct naive_value naive_want(const struct sched_request *req, uint32_t ranks, uint32_t run,
                              uint32_t r, uint32_t t, uint32_t i);

#endif
