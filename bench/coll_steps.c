/* SPDX-License-Identifier: Apache-2.0 */
/* What the executor itself costs: schedules that move almost nothing, all ranks of them carried out
 * by one thread in turns, so that nobody waits; time by the number of steps.
 *
 *     coll_steps           one line of the table */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coll/coll.h"
#include "coll_job.h"
#include "device/device.h"
#include "topo/group.h"

#define INSTANCE "trn2.48xlarge"
#define RANKS    8
#define BLOCK    512
#define ROUNDS   15
#define CALLS    2000
#define GOAL_NS  15.0

struct rank {
    uint32_t me;
    struct device_instance *in;
    struct coll_comm *comm;
    struct coll_plan *plan;
    struct device_extent x, y;
};

static struct topo_group group;
static struct sched *schedule;
static struct rank ranks[RANKS];
static pthread_barrier_t barrier;
static uint8_t table[RANKS][BLOCK];

static void must(NRT_STATUS st, const struct err *err)
{
    if (st == NRT_SUCCESS)
        return;
    fprintf(stderr, "coll_steps: %s\n", err->text);
    exit(1);
}

static NRT_STATUS exchange(void *arg, const void *mine, size_t size, void *all, struct err *err)
{
    const struct rank *r = arg;

    if (size > BLOCK)
        return err_set(err, NRT_RESOURCE, "more than %d bytes", BLOCK);
    memcpy(table[r->me], mine, size);
    pthread_barrier_wait(&barrier);
    for (uint32_t i = 0; i < RANKS; i++)
        memcpy((uint8_t *)all + i * size, table[i], size);
    pthread_barrier_wait(&barrier);
    return NRT_SUCCESS;
}

static void memory(struct rank *r, struct device_extent *x)
{
    struct device_alloc a = {.core = r->me * 2,
                             .neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_TENSOR,
                             .size = RANKS * sizeof(float)};
    struct err err = {0};

    must(device_alloc(r->in, &a, x, &err), &err);
}

/* Opening is collective: a thread a rank. */
static void *rank_open(void *arg)
{
    struct rank *r = arg;
    struct coll_config cfg = {
        .in = r->in, .group = &group, .rank = r->me, .core = r->me * 2, .exchange = {r, exchange}};
    struct err err = {0};

    memory(r, &r->x);
    memory(r, &r->y);
    must(coll_comm_open(&cfg, &r->comm, &err), &err);
    must(coll_plan_create(r->comm, schedule, DT_FP32, KERNEL_COMBINE_SUM, &r->plan, &err), &err);
    return NULL;
}

static void operation(void)
{
    uint32_t done = 0;
    struct err err = {0};

    for (uint32_t i = 0; i < RANKS; i++)
        must(coll_begin(ranks[i].plan, &ranks[i].x.addr, &ranks[i].y.addr, &err), &err);
    while (done < RANKS) {
        done = 0;
        for (uint32_t i = 0; i < RANKS; i++)
            done += coll_progress(ranks[i].comm, 256) == COLL_DONE;
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double step_ns(void)
{
    double ns[ROUNDS];
    uint64_t steps = 0;

    for (uint32_t i = 0; i < RANKS; i++)
        steps += coll_plan_steps(ranks[i].plan);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double start = job_now_us();

        for (unsigned i = 0; i < CALLS; i++)
            operation();
        ns[round] = (job_now_us() - start) * 1e3 / CALLS / (double)steps;
    }
    qsort(ns, ROUNDS, sizeof(ns[0]), compare);
    return ns[ROUNDS / 2];
}

int main(void)
{
    char dir[] = "/tmp/bench-steps-XXXXXX";
    struct device_config cfg = {.type = INSTANCE};
    uint64_t count = RANKS;
    struct sched_request req = {.op = SCHED_ALL_REDUCE,
                                .alg = SCHED_RING,
                                .group = &group,
                                .tensors = 1,
                                .counts = &count,
                                .elem_size = sizeof(float)};
    struct topo_fabric fabric;
    struct topo_world world;
    struct err err = {0};
    pthread_t threads[RANKS];
    double ns;

    if (!mkdtemp(dir))
        return 1;
    cfg.dir = cfg.report_dir = dir;
    must(topo_fabric_init(&fabric, topo_instance_find(INSTANCE), 1, &err), &err);
    must(topo_world_init(&world, &fabric, 2, 1, RANKS, &err), &err);
    must(topo_group_init(&group, &world, NULL, 0, &err), &err);
    must(sched_create(&req, &schedule, &err), &err);
    pthread_barrier_init(&barrier, NULL, RANKS);
    for (uint32_t i = 0; i < RANKS; i++) {
        ranks[i].me = i;
        must(device_instance_open(&cfg, &ranks[i].in, &err), &err);
        if (pthread_create(&threads[i], NULL, rank_open, &ranks[i]))
            return 1;
    }
    for (uint32_t i = 0; i < RANKS; i++)
        pthread_join(threads[i], NULL);
    ns = step_ns();
    printf("%-46s %9.1f ns, begin and end of the operation included  <= %.0f %s\n",
           "executor, one step of a ring of 8 ranks", ns, GOAL_NS,
           ns <= GOAL_NS ? "met" : "MISSED");
    fflush(stdout);
    for (uint32_t i = 0; i < RANKS; i++) {
        coll_plan_destroy(ranks[i].plan);
        coll_comm_close(ranks[i].comm);
        device_instance_close(ranks[i].in);
    }
    sched_destroy(schedule);
    topo_group_fini(&group);
    execlp("rm", "rm", "-rf", dir, (char *)NULL);
    return 1;
}
