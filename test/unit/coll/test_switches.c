/* SPDX-License-Identifier: Apache-2.0 */
/* Two ranks with a CPU each do not sleep between small operations: they give up their CPUs less
 * than once per hundred all_reduces. Only switches that a rank asked for are counted: what else
 * runs on the machine takes CPUs away whatever we do. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "cases.h"
#include "ranks.h"
#include "run/run.h"
#include "runner.h"

#define OPERATIONS 20000

/* The CPU with that number among those of this process. */
static bool cpu_take(uint32_t number)
{
    cpu_set_t mine, one;

    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof(mine), &mine) != 0)
        return false;
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &mine) && number-- == 0)
            CPU_SET(i, &one);
    return sched_setaffinity(0, sizeof(one), &one) == 0;
}

static const char *body(struct rank *r)
{
    const struct op_case c = {.op = SCHED_ALL_REDUCE,
                              .alg = SCHED_MESH_ONE,
                              .dtype = DT_FP32,
                              .reduce = KERNEL_COMBINE_SUM,
                              .tensors = 1,
                              .counts = {2},
                              .tuned = true};
    struct rusage before, after;
    static char text[128];
    struct case_kit k;
    struct err err = {0};

    if (!cpu_take(r->me))
        return "no CPU";
    if (case_open(r, &k, &c, &err))
        return "no plan";
    case_fill(r, &k, 1);
    ranks_barrier(r);
    getrusage(RUSAGE_SELF, &before);
    for (unsigned i = 0; i < OPERATIONS; i++)
        if (coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err) || coll_wait(r->comm, &err))
            return "failed";
    getrusage(RUSAGE_SELF, &after);
    ranks_barrier(r);
    if (!case_check(r, &k, 1, &err))
        return "a wrong sum";
    case_close(&k);
    if ((after.ru_nvcsw - before.ru_nvcsw) * 100 < OPERATIONS)
        return NULL;
    snprintf(text, sizeof(text), "%ld switches in %d operations", after.ru_nvcsw - before.ru_nvcsw,
             OPERATIONS);
    return text;
}

static void two_ranks(void **state)
{
    const char *text = ranks_run(RANKS_PROCESSES, 2, 90000, body, NULL);

    if (text)
        fail_msg("%s", text);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_ranks)};

    if (run_cpu_count() < 2) {
        printf("NOT RUN coll-switches: it takes two CPUs\n");
        return RUNNER_SKIP;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
