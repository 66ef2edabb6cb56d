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
    uint64_t count = 2, addr[2];
    struct sched_request req = {.op = SCHED_ALL_REDUCE,
                                .alg = SCHED_MESH_ONE,
                                .group = r->group,
                                .tensors = 1,
                                .counts = &count,
                                .elem_size = sizeof(float)};
    float *x = rank_memory(r, sizeof(float) * count, &addr[0]);
    float *y = rank_memory(r, sizeof(float) * count, &addr[1]);
    struct rusage before, after;
    struct coll_plan *plan;
    struct err err = {0};
    static char text[128];
    struct sched *s;

    if (!cpu_take(r->me))
        return "no CPU";
    x[0] = x[1] = (float)r->me + 1;
    coll_request_tune(r->comm, &req);
    if (sched_create(&req, &s, &err) ||
        coll_plan_create(r->comm, s, DT_FP32, KERNEL_COMBINE_SUM, &plan, &err))
        return "no plan";
    ranks_barrier(r);
    getrusage(RUSAGE_SELF, &before);
    for (unsigned i = 0; i < OPERATIONS; i++)
        if (coll_begin(plan, &addr[0], &addr[1], &err) || coll_wait(r->comm, &err))
            return "failed";
    getrusage(RUSAGE_SELF, &after);
    ranks_barrier(r);
    coll_plan_destroy(plan);
    sched_destroy(s);
    if (y[0] != 3 || y[1] != 3)
        return "wrong sum";
    if ((after.ru_nvcsw - before.ru_nvcsw) * 100 < OPERATIONS)
        return NULL;
    snprintf(text, sizeof(text), "%ld switches in %d operations", after.ru_nvcsw - before.ru_nvcsw,
             OPERATIONS);
    return text;
}

static void two_ranks(void **state)
{
    const char *text = ranks_run(RANKS_PROCESSES, 2, 20000, body, NULL);

    if (text)
        fail_msg("%s", text);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_ranks)};

    if (runner_emulated() || run_cpu_count() < 2) {
        printf("NOT RUN coll-switches: it takes two CPUs\n");
        return RUNNER_SKIP;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
