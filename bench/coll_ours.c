/* SPDX-License-Identifier: Apache-2.0 */
/* Our collectives as a side, straight through the coll room: processes, each with a core of one
 * instance, tensors in its HBM; or each a node, which is an instance of its own, with a link over
 * loopback.
 *
 *     coll_ours REGION [staged|direct|inline]            default: what the runtime chooses
 *     coll_ours REGION nodes [ALGORITHM]                 provider: of libfabric's FI_PROVIDER */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "coll/choose.h"
#include "coll_job.h"
#include "device/device.h"
#include "net/link.h"

#define INSTANCE "trn2.48xlarge"
#define BLOCK    320

struct table { /* what ranks tell each other */
    uint8_t block[JOB_RANKS][BLOCK];
};

struct ours_side {
    struct job_region *r;
    struct table *table;
    uint32_t rank;
    bool nodes;
    const char *variant, *alg; /* NULL: chosen */
    struct log *log;
    struct topo_group group;
    struct device_instance *in;
    struct net_link *link; /* of nodes */
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

/* Two physical cores are a logical one. */
static uint32_t core_of(const struct ours_side *o)
{
    return o->nodes ? 0 : o->rank * 2;
}

static float *memory(struct ours_side *o, uint64_t size, struct device_extent *x)
{
    struct device_alloc a = {.core = core_of(o),
                             .neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_TENSOR,
                             .size = size ? size : 64};
    struct err err = {0};
    void *p;

    must(device_alloc(o->in, &a, x, &err), &err);
    must(device_map(o->in, x->addr, a.size, DEVICE_RW, &p, &err), &err);
    return p;
}

static void plan_make(struct ours_side *o, enum job_op op, uint64_t bytes)
{
    static const enum sched_op ops[] = {SCHED_ALL_REDUCE, SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER,
                                        SCHED_BARRIER};
    uint64_t count = bytes / sizeof(float);
    struct coll_wish wish = {.op = ops[op],
                             .dtype = DT_FP32,
                             .reduce = KERNEL_COMBINE_SUM,
                             .tensors = op == JOB_BARRIER ? 0 : 1,
                             .counts = &count,
                             .algorithm = o->alg};
    struct sched_request req = {.op = ops[op],
                                .alg = SCHED_MESH,
                                .group = &o->group,
                                .tensors = wish.tensors,
                                .counts = &count,
                                .elem_size = sizeof(float)};
    struct err err = {0};

    if (op == JOB_ALL_GATHER || op == JOB_REDUCE_SCATTER)
        count /= o->r->ranks;
    if (o->variant) {
        req.variant = sched_variant_from_name(o->variant);
        must(sched_create(&req, &o->schedule, &err), &err);
    } else {
        must(coll_choose(o->comm, &wish, &o->schedule, &err), &err);
    }
    must(coll_plan_create(o->comm, o->schedule, DT_FP32, KERNEL_COMBINE_SUM, &o->plan, &err), &err);
    snprintf(o->r->said[o->rank], sizeof(o->r->said[0]), "%s%s%s",
             sched_alg_name(sched_request_of(o->schedule)->alg), o->link ? ", " : "",
             o->link ? net_link_provider(o->link) : "");
}

static bool prepare(void *arg, enum job_op op, uint64_t bytes, float **x, float **y)
{
    struct ours_side *o = arg;

    if (op == JOB_TRIP || op == JOB_WINDOW)
        return false; /* coll_sendrecv's */
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

    if (!o->plan)
        return; /* nothing was prepared */
    coll_plan_destroy(o->plan);
    sched_destroy(o->schedule);
    o->plan = NULL;
    must(device_free(o->in, &o->x, &err), &err);
    must(device_free(o->in, &o->y, &err), &err);
}

/* Every rank's end of the link, known to all. */
static void link_make(struct ours_side *o)
{
    struct net_link_config cfg = {.rank = o->rank, .world = o->r->ranks, .log = o->log};
    struct card {
        uint32_t size;
        uint8_t address[NET_ADDRESS_MAX];
    } mine = {0}, all[JOB_RANKS];
    struct err err = {0};

    must(net_link_open(&cfg, &o->link, &err), &err);
    mine.size = (uint32_t)net_link_address(o->link, mine.address);
    must(exchange(o, &mine, sizeof(mine), all, &err), &err);
    for (uint32_t i = 0; i < o->r->ranks; i++)
        must(net_link_peer(o->link, i, all[i].address, all[i].size, &err), &err);
}

static void serve(struct ours_side *o, const char *dir)
{
    static const struct job_library lib = {.prepare = prepare, .run = run, .release = release};
    uint32_t nodes = o->nodes ? o->r->ranks : 1;
    char name[16];
    struct device_config cfg = {.type = INSTANCE,
                                .name = o->nodes ? name : NULL,
                                .dir = dir,
                                .report_dir = dir,
                                .log = o->log};
    struct topo_fabric fabric;
    struct topo_world world;
    struct err err = {0};

    snprintf(name, sizeof(name), "node%u", o->rank);
    must(topo_fabric_init(&fabric, topo_instance_find(INSTANCE), 1, &err), &err);
    must(topo_world_init(&world, &fabric, 2, nodes, o->r->ranks / nodes, &err), &err);
    must(topo_group_init(&o->group, &world, NULL, 0, &err), &err);
    must(device_instance_open(&cfg, &o->in, &err), &err);
    if (o->nodes)
        link_make(o);
    struct coll_config cc = {.in = o->in,
                             .group = &o->group,
                             .rank = o->rank,
                             .core = core_of(o),
                             .exchange = {o, exchange},
                             .link = o->link,
                             .log = o->log};

    device_runnable_add(o->in, 1);
    must(coll_comm_open(&cc, &o->comm, &err), &err);
    job_serve(o->r, o->rank, &lib, o);
    device_runnable_add(o->in, -1);
    coll_comm_close(o->comm);
    net_link_close(o->link);
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
    o.nodes = argc > 2 && strcmp(argv[2], "nodes") == 0;
    if (o.nodes)
        o.alg = argc > 3 ? argv[3] : NULL;
    else
        o.variant = argc > 2 ? argv[2] : NULL;
    o.table =
        mmap(NULL, sizeof(*o.table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (o.table == MAP_FAILED)
        return 1;
    o.rank = job_ranks_start(o.r);
    o.log = log_open_env();
    serve(&o, dir);
    log_close(o.log);
    if (o.rank + 1 < o.r->ranks)
        return 0;
    while (wait(NULL) > 0)
        ;
    execlp("rm", "rm", "-rf", dir, (char *)NULL);
    return 1;
}
