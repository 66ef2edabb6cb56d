/* SPDX-License-Identifier: Apache-2.0 */
/* Gloo as a side, over TCP on the loopback interface, which is what it has between processes of one
 * machine.
 *
 *     coll_gloo REGION ring|bcube
 *
 * Its reduce_scatter works in place only and is left out. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include <gloo/allgather.h>
#include <gloo/allreduce.h>
#include <gloo/barrier.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>

#include "coll_job.h"

namespace
{

struct Side {
    std::shared_ptr<gloo::rendezvous::Context> context;
    bool bcube;
    int ranks;
    float *x, *y;
    std::function<void(bool)> run;
};

std::function<void(bool)> all_reduce(Side *s, size_t count)
{
    return [s, count](bool flipped) {
        gloo::AllreduceOptions o(s->context);

        o.setAlgorithm(s->bcube ? gloo::AllreduceOptions::Algorithm::BCUBE
                                : gloo::AllreduceOptions::Algorithm::RING);
        o.setInput(flipped ? s->y : s->x, count);
        o.setOutput(flipped ? s->x : s->y, count);
        o.setReduceFunction(
            static_cast<void (*)(void *, const void *, const void *, size_t)>(&gloo::sum<float>));
        gloo::allreduce(o);
    };
}

std::function<void(bool)> all_gather(Side *s, size_t count)
{
    return [s, count](bool) {
        gloo::AllgatherOptions o(s->context);

        o.setInput(s->x, count / s->ranks);
        o.setOutput(s->y, count);
        gloo::allgather(o);
    };
}

bool prepare(void *arg, enum job_op op, uint64_t bytes, float **x, float **y)
{
    Side *s = static_cast<Side *>(arg);
    size_t count = bytes / sizeof(float);

    *x = s->x = bytes ? static_cast<float *>(job_alloc(bytes)) : nullptr;
    *y = s->y = bytes ? static_cast<float *>(job_alloc(bytes)) : nullptr;
    switch (op) {
    case JOB_ALL_REDUCE:
        s->run = all_reduce(s, count);
        return true;
    case JOB_ALL_GATHER:
        s->run = all_gather(s, count);
        return true;
    case JOB_BARRIER:
        s->run = [s](bool) {
            gloo::BarrierOptions o(s->context);

            gloo::barrier(o);
        };
        return true;
    default:
        return false;
    }
}

void run(void *arg, bool flipped)
{
    static_cast<Side *>(arg)->run(flipped);
}

void release(void *arg)
{
    Side *s = static_cast<Side *>(arg);

    free(s->x);
    free(s->y);
    s->x = s->y = nullptr;
}

void serve(struct job_region *r, int rank, const char *dir, bool bcube)
{
    struct job_library lib = {};
    Side s = {};
    auto device = gloo::transport::tcp::CreateDevice(gloo::transport::tcp::attr("127.0.0.1"));
    gloo::rendezvous::FileStore store(dir);

    lib.prepare = prepare;
    lib.run = run;
    lib.release = release;
    s.bcube = bcube;
    s.ranks = static_cast<int>(r->ranks);
    s.context = std::make_shared<gloo::rendezvous::Context>(rank, s.ranks);
    s.context->connectFullMesh(store, device);
    job_serve(r, static_cast<uint32_t>(rank), &lib, &s);
}

} // namespace

int main(int argc, char **argv)
{
    char dir[256];

    if (argc != 3 || !job_folder_make(dir, sizeof(dir)))
        return 2;
    struct job_region *r = job_region_open(argv[1]);

    const uint32_t rank = job_ranks_start(r);

    try {
        serve(r, static_cast<int>(rank), dir, strcmp(argv[2], "bcube") == 0);
    } catch (const std::exception &e) {
        fprintf(stderr, "gloo: %s\n", e.what());
        return 1;
    }
    if (rank + 1 == r->ranks) {
        while (wait(nullptr) > 0)
            ;
        execlp("rm", "rm", "-rf", dir, static_cast<char *>(nullptr));
    }
    return 0;
}
