/* SPDX-License-Identifier: Apache-2.0 */
/* Two ranks of MPI, a core each: messages and one-sided writes between their device memories, by
 * the addresses that nrt_tensor_get_va gives. */
#include <stdio.h>
#include <stdlib.h>
#include <mpi.h>

#include "nrt/nrt.h"

#define SIZE   ((size_t)4 << 20)
#define PUT    ((size_t)1 << 20)
#define OFFSET 4096

static void must(int bad, const char *what)
{
    if (!bad)
        return;
    fprintf(stderr, "mpi_peers: %s\n", what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static unsigned char content(size_t i, int rank, size_t size)
{
    return (unsigned char)(i * 7 + (size_t)rank + size);
}

static unsigned char *tensor(nrt_tensor_t **t)
{
    unsigned char *va;

    must(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, SIZE, "t", t), "nrt_tensor_allocate");
    va = nrt_tensor_get_va(*t);
    must(!va, "nrt_tensor_get_va");
    return va;
}

static void messages(unsigned char *out, const unsigned char *in, int rank)
{
    for (size_t n = 1; n <= SIZE; n *= 4) {
        for (size_t i = 0; i < n; i++)
            out[i] = content(i, rank, n);
        MPI_Sendrecv(out, (int)n, MPI_BYTE, !rank, 0, (void *)in, (int)n, MPI_BYTE, !rank, 0,
                     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        for (size_t i = 0; i < n; i++)
            must(in[i] != content(i, !rank, n), "a message came wrong");
    }
}

static void one_sided(unsigned char *out, unsigned char *in, const nrt_tensor_t *t, int rank)
{
    unsigned char *got = malloc(PUT);
    MPI_Win win;

    must(!got, "malloc");
    for (size_t i = 0; i < PUT; i++)
        out[i] = content(i, rank, PUT);
    MPI_Win_create(in, (MPI_Aint)SIZE, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &win);
    MPI_Win_fence(0, win);
    MPI_Put(out, (int)PUT, MPI_BYTE, !rank, OFFSET, (int)PUT, MPI_BYTE, win);
    MPI_Win_fence(0, win);
    must(nrt_tensor_read(t, got, OFFSET, PUT), "nrt_tensor_read");
    for (size_t i = 0; i < PUT; i++)
        must(got[i] != content(i, !rank, PUT), "a put came wrong");
    MPI_Win_free(&win);
    free(got);
}

int main(int argc, char **argv)
{
    nrt_tensor_t *out, *in;
    unsigned char *out_va, *in_va;
    char core[16];
    int rank;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    snprintf(core, sizeof(core), "%d", rank);
    setenv("NEURON_RT_VISIBLE_CORES", core, 1);
    must(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
    out_va = tensor(&out);
    in_va = tensor(&in);
    messages(out_va, in_va, rank);
    one_sided(out_va, in_va, in, rank);
    nrt_tensor_free(&out);
    nrt_tensor_free(&in);
    nrt_close();
    printf("rank %d: messages and a put\n", rank);
    MPI_Finalize();
    return 0;
}
