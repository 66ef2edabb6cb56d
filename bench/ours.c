/* SPDX-License-Identifier: Apache-2.0 */
#include "ours.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nrt/nrt_experimental.h"

static void must(NRT_STATUS st, const char *what)
{
    if (st != NRT_SUCCESS) {
        fprintf(stderr, "bench: %s: status %d\n", what, (int)st);
        exit(1);
    }
}

void ours_open(int host_threads)
{
    char text[16];

    nrt_close();
    snprintf(text, sizeof(text), "%d", host_threads);
    setenv("OPENNRT_HOST_THREADS", text, 1);
    must(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
}

struct tensor_arg {
    nrt_tensor_t *tensor;
    char *host;
    size_t bytes;
};

static double write_run(void *arg, unsigned n)
{
    struct tensor_arg *a = arg;
    double t = bench_now();

    for (unsigned i = 0; i < n; i++) {
        if (nrt_tensor_write(a->tensor, a->host, 0, a->bytes) != NRT_SUCCESS)
            return -1;
    }
    return bench_now() - t;
}

static double read_run(void *arg, unsigned n)
{
    struct tensor_arg *a = arg;
    double t = bench_now();

    for (unsigned i = 0; i < n; i++) {
        if (nrt_tensor_read(a->tensor, a->host, 0, a->bytes) != NRT_SUCCESS)
            return -1;
    }
    return bench_now() - t;
}

struct bench_side ours_copy(bool write, size_t bytes)
{
    struct tensor_arg *a = calloc(1, sizeof(*a));

    if (!a)
        exit(1);
    a->bytes = bytes;
    a->host = bench_buffer(bytes, true);
    must(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, bytes, "bench", &a->tensor),
         "nrt_tensor_allocate");
    must(nrt_tensor_write(a->tensor, a->host, 0, bytes), "nrt_tensor_write");
    return (struct bench_side){.name = "opennrt", .run = write ? write_run : read_run, .arg = a};
}

static double allocate_run(void *arg, unsigned n)
{
    struct tensor_arg *a = arg;
    double t = bench_now();

    for (unsigned i = 0; i < n; i++) {
        if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, a->bytes, NULL, &a->tensor) ||
            nrt_tensor_write(a->tensor, a->host, 0, a->bytes))
            return -1;
        nrt_tensor_free(&a->tensor);
    }
    return bench_now() - t;
}

struct bench_side ours_allocate(size_t bytes)
{
    struct tensor_arg *a = calloc(1, sizeof(*a));

    if (!a)
        exit(1);
    a->bytes = bytes;
    a->host = bench_buffer(bytes, true);
    return (struct bench_side){.name = "opennrt", .run = allocate_run, .arg = a};
}
