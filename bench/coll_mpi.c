/* SPDX-License-Identifier: Apache-2.0 */
/* An MPI library as a side: the same source for Open MPI and for MPICH. Settings come from the
 * launcher's command line. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "coll_job.h"

struct mpi_side {
    enum job_op op;
    int rank, ranks, count; /* elements of the larger side */
    float *x, *y;
};

static bool prepare(void *arg, enum job_op op, uint64_t bytes, float **x, float **y)
{
    struct mpi_side *m = arg;

    m->op = op;
    m->count = (int)(bytes / sizeof(float));
    *x = m->x = bytes ? job_alloc(bytes) : NULL;
    *y = m->y = bytes ? job_alloc(bytes) : NULL;
    return true;
}

static void trip(const struct mpi_side *m)
{
    if (m->rank == 0)
        MPI_Send(m->x, m->count, MPI_FLOAT, 1, 0, MPI_COMM_WORLD);
    MPI_Recv(m->y, m->count, MPI_FLOAT, 1 - m->rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (m->rank != 0)
        MPI_Send(m->y, m->count, MPI_FLOAT, 0, 0, MPI_COMM_WORLD);
}

static void window(const struct mpi_side *m)
{
    int piece = m->count / JOB_WINDOW_MESSAGES;
    MPI_Request r[JOB_WINDOW_MESSAGES];
    MPI_Status done[JOB_WINDOW_MESSAGES];

    for (int i = 0; i < JOB_WINDOW_MESSAGES; i++)
        if (m->rank == 0)
            MPI_Isend(m->x + i * piece, piece, MPI_FLOAT, 1, 0, MPI_COMM_WORLD, &r[i]);
        else
            MPI_Irecv(m->y + i * piece, piece, MPI_FLOAT, 0, 0, MPI_COMM_WORLD, &r[i]);
    MPI_Waitall(JOB_WINDOW_MESSAGES, r, done);
    if (m->rank == 0)
        MPI_Recv(m->y, 1, MPI_FLOAT, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    else
        MPI_Send(m->x, 1, MPI_FLOAT, 0, 0, MPI_COMM_WORLD);
}

static void run(void *arg, bool flipped)
{
    struct mpi_side *m = arg;
    const float *in = flipped ? m->y : m->x;
    float *out = flipped ? m->x : m->y;
    int block = m->count / m->ranks;

    switch (m->op) {
    case JOB_ALL_REDUCE:
        MPI_Allreduce(in, out, m->count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        break;
    case JOB_ALL_GATHER:
        MPI_Allgather(in, block, MPI_FLOAT, out, block, MPI_FLOAT, MPI_COMM_WORLD);
        break;
    case JOB_REDUCE_SCATTER:
        MPI_Reduce_scatter_block(in, out, block, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        break;
    case JOB_TRIP:
        trip(m);
        break;
    case JOB_WINDOW:
        window(m);
        break;
    default:
        MPI_Barrier(MPI_COMM_WORLD);
        break;
    }
}

static void settle(void *arg)
{
    (void)arg;
    MPI_Barrier(MPI_COMM_WORLD);
}

static void progress(void *arg)
{
    int flag;

    (void)arg;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE);
}

static void release(void *arg)
{
    struct mpi_side *m = arg;

    free(m->x);
    free(m->y);
    m->x = m->y = NULL;
}

int main(int argc, char **argv)
{
    static const struct job_library lib = {
        .prepare = prepare, .run = run, .settle = settle, .progress = progress, .release = release};
    struct mpi_side m = {0};

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &m.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &m.ranks);
    if (argc != 2) {
        fprintf(stderr, "usage: %s REGION\n", argv[0]);
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    job_serve(job_region_open(argv[1]), (uint32_t)m.rank, &lib, &m);
    MPI_Finalize();
    return 0;
}
