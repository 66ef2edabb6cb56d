/* SPDX-License-Identifier: Apache-2.0 */
/* One rank of a job: loads the NEFF of allreduce_build, gives its x, and checks the sum in y.
 *
 *     allreduce_rank FILE.neff RANK RANKS COUNT
 *
 * Every rank is a process of its own with a logical core of its own (NEURON_RT_VISIBLE_CORES); all
 * know where rank 0 listens (NEURON_RT_ROOT_COMM_ID). run.sh starts them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"

static void check(NRT_STATUS status, const char *what)
{
    if (status == NRT_SUCCESS)
        return;
    fprintf(stderr, "allreduce_rank: %s: %s\n", what, nrt_get_status_as_str(status));
    exit(1);
}

static void *file_read(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    void *bytes = NULL;
    long size;

    if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) > 0) {
        rewind(f);
        bytes = malloc((size_t)size);
        if (bytes && fread(bytes, 1, (size_t)size, f) != (size_t)size) {
            free(bytes);
            bytes = NULL;
        }
        *ret_size = (size_t)size;
    }
    if (f)
        fclose(f);
    if (!bytes) {
        fprintf(stderr, "allreduce_rank: cannot read %s\n", path);
        exit(1);
    }
    return bytes;
}

/* Element i of what a rank gives: small whole numbers, whose sums are exact. */
static float given(unsigned rank, size_t i)
{
    return (float)((rank + 1) * (i % 7));
}

static int compare(const float *y, unsigned ranks, size_t count)
{
    int wrong = 0;

    for (size_t i = 0; i < count; i++) {
        float want = 0;

        for (unsigned r = 0; r < ranks; r++)
            want += given(r, i);
        if (y[i] != want && wrong++ < 5)
            fprintf(stderr, "allreduce_rank: y[%zu] is %g, not %g\n", i, (double)y[i],
                    (double)want);
    }
    return wrong;
}

int main(int argc, char **argv)
{
    unsigned rank = argc == 5 ? (unsigned)atoi(argv[2]) : 0;
    unsigned ranks = argc == 5 ? (unsigned)atoi(argv[3]) : 0;
    size_t count = argc == 5 ? strtoull(argv[4], NULL, 0) : 0, bytes = count * sizeof(float), size;
    nrt_tensor_set_t *inputs, *outputs;
    nrt_tensor_t *x, *y;
    nrt_model_t *model;
    float *host;
    void *neff;
    int wrong;

    if (rank >= ranks || count == 0) {
        fprintf(stderr, "usage: %s FILE.neff RANK RANKS COUNT\n", argv[0]);
        return 2;
    }
    neff = file_read(argv[1], &size);
    host = malloc(bytes);
    if (!host)
        return 1;

    check(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
    check(nrt_load_collectives(neff, size, 0, -1, rank, ranks, &model), "nrt_load_collectives");
    free(neff);

    check(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, bytes, "x", &x), "allocate x");
    check(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, bytes, "y", &y), "allocate y");
    check(nrt_allocate_tensor_set(&inputs), "allocate inputs");
    check(nrt_allocate_tensor_set(&outputs), "allocate outputs");
    check(nrt_add_tensor_to_tensor_set(inputs, "x", x), "add x");
    check(nrt_add_tensor_to_tensor_set(outputs, "y", y), "add y");

    for (size_t i = 0; i < count; i++)
        host[i] = given(rank, i);
    check(nrt_tensor_write(x, host, 0, bytes), "write x");
    check(nrt_execute(model, inputs, outputs), "nrt_execute");
    check(nrt_tensor_read(y, host, 0, bytes), "read y");
    wrong = compare(host, ranks, count);
    printf("rank %u of %u: %zu sums, %d wrong\n", rank, ranks, count, wrong);

    check(nrt_barrier(0, rank, ranks), "nrt_barrier");
    nrt_destroy_tensor_set(&inputs);
    nrt_destroy_tensor_set(&outputs);
    nrt_tensor_free(&x);
    nrt_tensor_free(&y);
    check(nrt_unload(model), "nrt_unload");
    nrt_close();
    free(host);
    return wrong != 0;
}
