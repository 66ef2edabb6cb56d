/* SPDX-License-Identifier: Apache-2.0 */
/* An all_reduce goes over memory once: all ranks together meet every page of every input once, and
 * by direct memory every page of every output, too (touches.h). Staged ways pass results on: what
 * was written to an output is read once for that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "cases.h"
#include "coll/coll.h"
#include "runner.h"
#include "touches.h"

#define MOST_RANKS 4u
#define PAGES      32u /* of each rank's part: more than are open at a time */

/* By all ranks: [input, output][rank whose it is][page]. Forked ranks share it. */
struct table {
    _Atomic uint32_t met[2][MOST_RANKS][MOST_RANKS * PAGES];
};
static struct table *table;

/* Where this process has that device memory. */
static void *here(struct rank *r, uint64_t addr)
{
    uint32_t hbm = DEVICE_ADDR_HBM(addr), per = device_topo(r->in)->hbms_per_device;
    struct err err = {0};
    void *base;
    uint64_t size;

    if (device_hbm_va(r->in, hbm / per, hbm % per, &base, &size, &err) != NRT_SUCCESS)
        return NULL;
    return (uint8_t *)base + DEVICE_ADDR_OFF(addr);
}

static const char *counted_run(struct rank *r, struct case_kit *k, uint64_t bytes)
{
    static struct err err;
    uint64_t(*addr)[2] = ranks_shared(r); /* by rank: input, output */
    NRT_STATUS st;

    addr[r->me][0] = k->ts.in_addr[0];
    addr[r->me][1] = k->ts.out_addr[0];
    ranks_barrier(r);
    for (uint32_t i = 0; i < 2 * r->n; i++) {
        void *p = here(r, addr[i / 2][i % 2]);

        if (!p)
            return "an HBM is not mapped";
        touches_watch(p, bytes);
    }
    touches_start();
    st = coll_begin(k->plan, k->ts.in_addr, k->ts.out_addr, &err);
    if (!st)
        st = coll_wait(r->comm, &err);
    touches_stop();
    for (uint32_t i = 0; i < 2 * r->n; i++)
        for (size_t page = 0; page < touches_pages(i); page++)
            atomic_fetch_add(&table->met[i % 2][i / 2][page], touches_of(i, page));
    touches_forget();
    ranks_barrier(r);
    return st ? err.text : NULL;
}

/* Once as usual, so that all that is made at first use is there, then counted. */
static const char *body(struct rank *r)
{
    static struct err err;
    const struct op_case *c = r->arg;
    struct case_kit k;
    const char *text = NULL;

    if (case_open(r, &k, c, &err) || case_run_once(r, &k, 1, &err))
        text = err.text;
    if (!text)
        text = counted_run(r, &k, c->counts[0] * dtype_size(c->dtype));
    if (!text && !case_check(r, &k, 1, &err)) /* inputs are as they were, and so is the result */
        text = err.text;
    case_close(&k);
    return text;
}

/* The least and most that a page of inputs or outputs was met. */
static void met(unsigned which, uint32_t n, uint32_t *ret_least, uint32_t *ret_most)
{
    *ret_least = UINT32_MAX;
    *ret_most = 0;
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t page = 0; page < n * PAGES; page++) {
            uint32_t m = atomic_load(&table->met[which][r][page]);

            *ret_least = m < *ret_least ? m : *ret_least;
            *ret_most = m > *ret_most ? m : *ret_most;
        }
}

/* inputs: what a page of an input is met; outputs: the most that one of an output is. */
static void all_reduce(enum sched_alg alg, enum sched_variant variant, enum dtype t, uint32_t n,
                       uint32_t inputs, uint32_t outputs)
{
    struct op_case c = {.op = SCHED_ALL_REDUCE,
                        .alg = alg,
                        .variant = variant,
                        .dtype = t,
                        .reduce = KERNEL_COMBINE_MAX,
                        .tensors = 1};
    uint32_t least, most;
    const char *text;

    c.counts[0] = n * PAGES * touches_page_size() / dtype_size(t);
    if (case_sum_is_exact(t, n))
        c.reduce = KERNEL_COMBINE_SUM;
    memset(table, 0, sizeof(*table));
    text = ranks_run(RANKS_PROCESSES, n, 120000, body, &c);
    if (text)
        fail_msg("%s", text);
    met(0, n, &least, &most);
    print_message("%s %s of %s on %u ranks: inputs %u to %u", sched_alg_name(alg),
                  sched_variant_name(variant), dtype_name(t), n, least, most);
    assert_int_equal(least, inputs);
    assert_int_equal(most, inputs);
    met(1, n, &least, &most);
    print_message(", outputs %u to %u\n", least, most);
    assert_int_equal(least, 1);
    assert_in_range(most, 1, outputs);
}

static void direct_memory(void **state)
{
    static const enum dtype types[] = {DT_FP32, DT_BF16, DT_INT64, DT_FP8_E4};

    for (uint32_t n = 2; n <= MOST_RANKS; n++)
        for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
            all_reduce(SCHED_MESH, SCHED_DIRECT, types[i], n, 1, 1);
    (void)state;
}

static void staged(void **state)
{
    for (uint32_t n = 2; n <= MOST_RANKS; n++) {
        all_reduce(SCHED_RING, SCHED_STAGED, DT_FP32, n, 1, 2);
        all_reduce(SCHED_MESH, SCHED_STAGED, DT_FP32, n, 1, 2);
        all_reduce(SCHED_MESH_ONE, SCHED_STAGED, DT_FP32, n, n, 1); /* every rank sums all */
    }
    all_reduce(SCHED_KANGARING, SCHED_STAGED, DT_FP32, 4, 1, 2);
    all_reduce(SCHED_RDH, SCHED_STAGED, DT_FP32, 4, 1, 4); /* sums of sums are in outputs */
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(direct_memory), cmocka_unit_test(staged)};
    int rc;

    if (!ranks_have_emulator_room())
        return RUNNER_SKIP;
    runner_watchdog(120);
    table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(table != MAP_FAILED);
    rc = cmocka_run_group_tests_name("coll-one_pass", tests, NULL, NULL);
    munmap(table, sizeof(*table));
    return rc;
}
