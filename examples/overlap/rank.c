/* SPDX-License-Identifier: Apache-2.0 */
/* One rank of a job: loads a NEFF, reads each input from a file, executes, writes each output.
 *
 *     overlap_rank FILE.neff RANK RANKS DIR TIMES
 *
 * Input x of rank 2 is DIR/2.x.in, output y goes to DIR/2.y.out: the tensors' bytes as they are.
 * Every rank is a process of its own with a logical core of its own (NEURON_RT_VISIBLE_CORES);
 * overlap.py starts them. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"

static void check(NRT_STATUS status, const char *what)
{
    if (status == NRT_SUCCESS)
        return;
    fprintf(stderr, "overlap_rank: %s: %s\n", what, nrt_get_status_as_str(status));
    exit(1);
}

static void *file_read(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    void *bytes = NULL;
    long size = -1;

    if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) > 0) {
        rewind(f);
        bytes = malloc((size_t)size);
    }
    if (!bytes || fread(bytes, 1, (size_t)size, f) != (size_t)size) {
        fprintf(stderr, "overlap_rank: cannot read %s\n", path);
        exit(1);
    }
    fclose(f);
    *ret_size = (size_t)size;
    return bytes;
}

static void file_write(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0) {
        fprintf(stderr, "overlap_rank: cannot write %s\n", path);
        exit(1);
    }
}

/* Makes the tensor, and fills it from its file if it is an input. */
static nrt_tensor_t *tensor_make(const nrt_tensor_info_t *t, nrt_tensor_set_t *set,
                                 const char *path)
{
    nrt_tensor_t *made;
    size_t size;

    check(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, t->size, t->name, &made), t->name);
    check(nrt_add_tensor_to_tensor_set(set, t->name, made), t->name);
    if (t->usage == NRT_TENSOR_USAGE_INPUT) {
        void *bytes = file_read(path, &size);

        if (size != t->size) {
            fprintf(stderr, "overlap_rank: %s has %zu bytes, not %zu\n", path, size, t->size);
            exit(1);
        }
        check(nrt_tensor_write(made, bytes, 0, size), t->name);
        free(bytes);
    }
    return made;
}

static void tensor_save(const nrt_tensor_info_t *t, nrt_tensor_t *from, const char *path)
{
    void *bytes = malloc(t->size);

    if (!bytes)
        exit(1);
    check(nrt_tensor_read(from, bytes, 0, t->size), t->name);
    file_write(path, bytes, t->size);
    free(bytes);
}

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    unsigned rank = argc == 6 ? (unsigned)atoi(argv[2]) : 0;
    unsigned ranks = argc == 6 ? (unsigned)atoi(argv[3]) : 0;
    long times = argc == 6 ? atol(argv[5]) : 0;
    nrt_tensor_info_array_t *infos;
    nrt_tensor_set_t *inputs, *outputs;
    nrt_tensor_t **tensors;
    nrt_model_t *model;
    char path[4096];
    double start;
    size_t size;
    void *neff;

    if (rank >= ranks || times < 1) {
        fprintf(stderr, "usage: %s FILE.neff RANK RANKS DIR TIMES\n", argv[0]);
        return 2;
    }
    neff = file_read(argv[1], &size);
    check(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
    check(nrt_load_collectives(neff, size, 0, -1, rank, ranks, &model), "nrt_load_collectives");
    free(neff);
    check(nrt_get_model_tensor_info(model, &infos), "nrt_get_model_tensor_info");
    check(nrt_allocate_tensor_set(&inputs), "allocate inputs");
    check(nrt_allocate_tensor_set(&outputs), "allocate outputs");
    tensors = calloc(infos->tensor_count, sizeof(*tensors));
    if (!tensors)
        return 1;
    for (uint64_t i = 0; i < infos->tensor_count; i++) {
        const nrt_tensor_info_t *t = &infos->tensor_array[i];

        (void)snprintf(path, sizeof(path), "%s/%u.%s.in", argv[4], rank, t->name);
        tensors[i] = tensor_make(t, t->usage == NRT_TENSOR_USAGE_INPUT ? inputs : outputs, path);
    }

    check(nrt_execute(model, inputs, outputs), "nrt_execute"); /* the first one is for warming up */
    check(nrt_barrier(0, rank, ranks), "nrt_barrier");
    start = seconds();
    for (long i = 0; i < times; i++)
        check(nrt_execute(model, inputs, outputs), "nrt_execute");
    printf("wall %.9f s\n", (seconds() - start) / (double)times);

    for (uint64_t i = 0; i < infos->tensor_count; i++) {
        const nrt_tensor_info_t *t = &infos->tensor_array[i];

        (void)snprintf(path, sizeof(path), "%s/%u.%s.out", argv[4], rank, t->name);
        if (t->usage == NRT_TENSOR_USAGE_OUTPUT)
            tensor_save(t, tensors[i], path);
    }
    check(nrt_barrier(0, rank, ranks), "nrt_barrier");
    nrt_destroy_tensor_set(&inputs);
    nrt_destroy_tensor_set(&outputs);
    for (uint64_t i = 0; i < infos->tensor_count; i++)
        nrt_tensor_free(&tensors[i]);
    free(tensors);
    nrt_free_model_tensor_info(infos);
    check(nrt_unload(model), "nrt_unload");
    nrt_close();
    return 0;
}
