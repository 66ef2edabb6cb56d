/* SPDX-License-Identifier: Apache-2.0 */
/* Sending and receiving tensors (nrt_async_sendrecv.h) as a side: two processes, a core each, of
 * one instance or of two that share nothing.
 *
 *     coll_sendrecv REGION [nodes]          nodes: each rank has an instance of its own
 *
 * Whoever waits tests again and again, as a program with nothing else to do would: a test moves
 * bytes itself. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coll_job.h"
#include "nrt/nrt.h"
#include "nrt/nrt_async_sendrecv.h"

typedef nrt_async_sendrecv_request_t request;

struct sendrecv_side {
    struct job_region *r;
    uint32_t rank;
    int core; /* as the host counts them */
    enum job_op op;
    uint64_t bytes;
    nrt_tensor_t *x, *y;
    nrt_async_sendrecv_comm_t *out, *in;
};

static void must(NRT_STATUS st, const char *what)
{
    if (st == NRT_SUCCESS)
        return;
    fprintf(stderr, "coll_sendrecv: %s: status %d\n", what, (int)st);
    exit(1);
}

/* ---- messages ---- */

static request *send_start(const struct sendrecv_side *s, nrt_tensor_t *t, uint64_t at,
                           uint64_t bytes)
{
    request *ret;

    must(nrt_async_sendrecv_send_tensor(t, at, bytes, s->out, &ret), "send");
    return ret;
}

static request *receive_start(const struct sendrecv_side *s, nrt_tensor_t *t, uint64_t at,
                              uint64_t bytes)
{
    request *ret;

    must(nrt_async_sendrecv_recv_tensor(t, at, bytes, s->in, &ret), "receive");
    return ret;
}

static void finish(request *r)
{
    bool done = false;
    size_t size;

    while (!done)
        must(nrt_async_sendrecv_test_request(r, &done, &size), "test of a request");
}

static void trip(const struct sendrecv_side *s)
{
    if (s->rank == 0)
        finish(send_start(s, s->x, 0, s->bytes));
    finish(receive_start(s, s->y, 0, s->bytes));
    if (s->rank != 0)
        finish(send_start(s, s->y, 0, s->bytes));
}

/* The last thing is a word of the receiver that it has all of them. */
static void window(const struct sendrecv_side *s)
{
    uint64_t piece = s->bytes / JOB_WINDOW_MESSAGES;
    request *r[JOB_WINDOW_MESSAGES];

    for (uint64_t i = 0; i < JOB_WINDOW_MESSAGES; i++)
        r[i] = s->rank == 0 ? send_start(s, s->x, i * piece, piece)
                            : receive_start(s, s->y, i * piece, piece);
    for (uint64_t i = 0; i < JOB_WINDOW_MESSAGES; i++)
        finish(r[i]);
    finish(s->rank == 0 ? receive_start(s, s->y, 0, sizeof(float))
                        : send_start(s, s->x, 0, sizeof(float)));
}

/* ---- the library ---- */

static bool prepare(void *arg, enum job_op op, uint64_t bytes, float **x, float **y)
{
    struct sendrecv_side *s = arg;

    s->op = op;
    s->bytes = bytes;
    if (op != JOB_TRIP && op != JOB_WINDOW)
        return false;
    must(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, bytes, "x", &s->x), "allocate");
    must(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, bytes, "y", &s->y), "allocate");
    *x = nrt_tensor_get_va(s->x);
    *y = nrt_tensor_get_va(s->y);
    return true;
}

static void run(void *arg, bool flipped)
{
    const struct sendrecv_side *s = arg;

    (void)flipped;
    if (s->op == JOB_TRIP)
        trip(s);
    else
        window(s);
}

static void release(void *arg)
{
    struct sendrecv_side *s = arg;

    if (!s->x)
        return; /* nothing was prepared */
    nrt_tensor_free(&s->x);
    nrt_tensor_free(&s->y);
    s->x = s->y = NULL;
}

/* ---- the start ---- */

/* port: at which each rank's core listens, which is the one of its process and its number. */
static void environment(const struct sendrecv_side *s, bool nodes, const unsigned port[2])
{
    const char *name = getenv("OPENNRT_INSTANCE"); /* of run_coll.sh, which removes what is left */
    char text[64];

    snprintf(text, sizeof(text), "%d", s->core);
    setenv("NEURON_RT_VISIBLE_CORES", text, 1);
    snprintf(text, sizeof(text), "%u", port[s->rank] - (unsigned)s->core);
    setenv("NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", text, 1);
    setenv("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED", "1", 1);
    setenv("NEURON_LOGICAL_NC_CONFIG", "1", 1);
    setenv("OPENNRT_INSTANCE_TYPE", "trn2.48xlarge", 1);
    snprintf(text, sizeof(text), "%s-%u-%u", name ? name : "bench-coll", nodes ? s->rank : 0,
             port[0]);
    setenv("OPENNRT_INSTANCE", text, 1);
}

static void connected(nrt_async_sendrecv_comm_t *c)
{
    bool done = false;

    for (;;) {
        must(nrt_async_sendrecv_test_comm(c, &done), "test of a communicator");
        if (done)
            return;
        sched_yield();
    }
}

static void meet(struct sendrecv_side *s, bool nodes, const unsigned port[2])
{
    int peer = nodes ? 0 : 1 - (int)s->rank;
    char address[64];

    must(nrt_async_sendrecv_init(s->core), "nrt_async_sendrecv_init");
    snprintf(address, sizeof(address), "127.0.0.1:%u", port[1 - s->rank] - (unsigned)peer);
    must(nrt_async_sendrecv_connect(address, peer, s->core, &s->out), "connect");
    must(nrt_async_sendrecv_accept(address, peer, s->core, &s->in), "accept");
    connected(s->out);
    connected(s->in);
}

int main(int argc, char **argv)
{
    static const struct job_library lib = {.prepare = prepare, .run = run, .release = release};
    unsigned port[2] = {job_port_free(), job_port_free()};
    bool nodes = argc == 3 && strcmp(argv[2], "nodes") == 0;
    struct sendrecv_side s = {0};

    if (argc != 2 && !nodes)
        return 2;
    s.r = job_region_open(argv[1]);
    s.rank = job_ranks_start(s.r);
    s.core = nodes ? 0 : (int)s.rank;
    environment(&s, nodes, port);
    must(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
    meet(&s, nodes, port);
    job_serve(s.r, s.rank, &lib, &s);
    (void)nrt_async_sendrecv_close(s.core);
    nrt_close();
    while (wait(NULL) > 0)
        ;
    return 0;
}
