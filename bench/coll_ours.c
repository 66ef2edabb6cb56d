/* SPDX-License-Identifier: Apache-2.0 */
/* Our collectives as a side, straight through the coll room: processes, each with a core of one
 * instance, tensors in its HBM.
 *
 *     coll_ours REGION [staged|direct|inline]      default: what the runtime chooses */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "coll/coll.h"
#include "coll_job.h"
#include "device/device.h"
#include "sched/select.h"
#include "topo/group.h"

#define INSTANCE "trn2.48xlarge"
#define BLOCK    256

struct table { /* what ranks tell each other */
    uint8_t block[JOB_RANKS][BLOCK];
};

struct ours_side {
    struct job_region *r;
    struct table *table;
    uint32_t rank;
    const char *variant; /* NULL: chosen */
    struct topo_group group;
    struct device_instance *in;
    struct coll_comm *comm;
    struct sched *schedule;
    struct coll_plan *plan;
    struct device_extent x, y;
};

static void must(NRT_STATUS st, const struct err *err)
{
    if (st == NRT_SUCCESS)
        return;
    fprintf(stderr, "coll_ours: %s\n", err->text);
    exit(1);
}

static NRT_STATUS exchange(void *arg, const void *mine, size_t size, void *all, struct err *err)
{
    struct ours_side *o = arg;
    static const struct job_library none = {0};

    if (size > BLOCK)
        return err_set(err, NRT_RESOURCE, "more than %d bytes", BLOCK);
    memcpy(o->table->block[o->rank], mine, size);
    job_start_line(o->r, &none, NULL);
    for (uint32_t i = 0; i < o->r->ranks; i++)
        memcpy((uint8_t *)all + i * size, o->table->block[i], size);
    job_start_line(o->r, &none, NULL);
    return NRT_SUCCESS;
}

static float *memory(struct ours_side *o, uint64_t size, struct device_extent *x)
{
    struct device_alloc a = {.core = o->rank * 2, /* two physical cores a logical one */
                             .neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_TENSOR,
                             .size = size ? size : 64};
    struct err err = {0};
    void *p;

    must(device_alloc(o->in, &a, x, &err), &err);
    must(device_map(o->in, x->addr, a.size, DEVICE_RW, &p, &err), &err);
    return p;
}

static const enum sched_op ops[] = {SCHED_ALL_REDUCE, SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER,
                                    SCHED_BARRIER};

static void plan_make(struct ours_side *o, enum job_op op, uint64_t bytes)
{
    uint64_t count = bytes / sizeof(float);
    struct sched_request req = {.op = ops[op],
                                .group = &o->group,
                                .tensors = op == JOB_BARRIER ? 0 : 1,
                                .counts = &count,
                                .elem_size = sizeof(float)};
    struct sched_question q = {.op = ops[op], .size = bytes, .dims = o->group.dims};
    struct sched_rules rules;
    struct sched_choice choice;
    struct err err = {0};

    if (op == JOB_ALL_GATHER || op == JOB_REDUCE_SCATTER)
        count /= o->r->ranks;
    sched_rules_default(&rules);
    must(sched_select(&rules, &q, &choice, &err), &err);
    req.alg = choice.alg;
    if (o->variant) {
        req.alg = SCHED_MESH;
        req.variant = sched_variant_from_name(o->variant);
    } else {
        coll_request_tune(o->comm, &req);
    }
    must(sched_create(&req, &o->schedule, &err), &err);
    must(coll_plan_create(o->comm, o->schedule, DT_FP32, KERNEL_COMBINE_SUM, &o->plan, &err), &err);
}

static bool prepare(void *arg, enum job_op op, uint64_t bytes, float **x, float **y)
{
    struct ours_side *o = arg;

    *x = memory(o, bytes, &o->x);
    *y = memory(o, bytes, &o->y);
    plan_make(o, op, bytes);
    return true;
}

static void run(void *arg, bool flipped)
{
    struct ours_side *o = arg;
    struct err err = {0};

    must(coll_begin(o->plan, flipped ? &o->y.addr : &o->x.addr, flipped ? &o->x.addr : &o->y.addr,
                    &err),
         &err);
    must(coll_wait(o->comm, &err), &err);
}

static void release(void *arg)
{
    struct ours_side *o = arg;
    struct err err = {0};

    coll_plan_destroy(o->plan);
    sched_destroy(o->schedule);
    must(device_free(o->in, &o->x, &err), &err);
    must(device_free(o->in, &o->y, &err), &err);
}

static void serve(struct ours_side *o, const char *dir)
{
    static const struct job_library lib = {.prepare = prepare, .run = run, .release = release};
    struct device_config cfg = {.type = INSTANCE, .dir = dir, .report_dir = dir};
    struct topo_fabric fabric;
    struct topo_world world;
    struct err err = {0};

    must(topo_fabric_init(&fabric, topo_instance_find(INSTANCE), 1, &err), &err);
    must(topo_world_init(&world, &fabric, 2, 1, o->r->ranks, &err), &err);
    must(topo_group_init(&o->group, &world, NULL, 0, &err), &err);
    must(device_instance_open(&cfg, &o->in, &err), &err);
    struct coll_config cc = {.in = o->in,
                             .group = &o->group,
                             .rank = o->rank,
                             .core = o->rank * 2,
                             .exchange = {o, exchange}};

    device_runnable_add(o->in, 1);
    must(coll_comm_open(&cc, &o->comm, &err), &err);
    job_serve(o->r, o->rank, &lib, o);
    device_runnable_add(o->in, -1);
    coll_comm_close(o->comm);
    device_instance_close(o->in);
    topo_group_fini(&o->group);
}

int main(int argc, char **argv)
{
    char dir[256];
    struct ours_side o = {0};

    if (argc < 2 || !job_folder_make(dir, sizeof(dir)))
        return 2;
    o.r = job_region_open(argv[1]);
    o.variant = argc > 2 ? argv[2] : NULL;
    o.table =
        mmap(NULL, sizeof(*o.table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (o.table == MAP_FAILED)
        return 1;
    o.rank = job_ranks_start(o.r);
    serve(&o, dir);
    if (o.rank + 1 < o.r->ranks)
        return 0;
    while (wait(NULL) > 0)
        ;
    execlp("rm", "rm", "-rf", dir, (char *)NULL);
    return 1;
}
