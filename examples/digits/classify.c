/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the digits NEFF on batches and compares the classes with the data set and the reference.
 *
 *     digits_classify DIGITS.neff DIRECTORY [REPEAT]
 *
 * DIRECTORY holds what reference.py wrote. REPEAT executions (default 200) are timed. Ends with 1
 * when a class differs from the reference, or when fewer than 97 % of the images are right. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"

#define BATCH    128
#define PIXELS   64
#define CLASSES  10
#define MAX_RUNS 10000

struct run {
    nrt_model_t *model;
    nrt_tensor_t *images, *probs, *labels;
    nrt_tensor_set_t *in, *out;
};

static bool good(NRT_STATUS status, const char *what)
{
    if (status == NRT_SUCCESS)
        return true;
    fprintf(stderr, "digits_classify: %s: %s\n", what, nrt_get_status_as_str(status));
    return false;
}

/* The whole file; NULL when it is missing. */
static void *file_read(const char *dir, const char *name, size_t *ret_size)
{
    char path[4096];
    void *data = NULL;
    FILE *f;
    long size;

    snprintf(path, sizeof(path), "%s%s%s", dir, dir[0] ? "/" : "", name);
    f = fopen(path, "rb");
    if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) > 0) {
        rewind(f);
        data = malloc((size_t)size);
        if (data && fread(data, 1, (size_t)size, f) != (size_t)size) {
            free(data);
            data = NULL;
        }
        *ret_size = (size_t)size;
    }
    if (f)
        fclose(f);
    return data;
}

static bool run_open(struct run *r, const char *path)
{
    size_t size = 0;
    void *neff = file_read("", path, &size);
    bool ok =
        neff && good(nrt_load(neff, size, -1, -1, &r->model), "nrt_load") &&
        good(nrt_allocate_tensor_set(&r->in), "set") &&
        good(nrt_allocate_tensor_set(&r->out), "set") &&
        good(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, BATCH * PIXELS * 4, "images",
                                 &r->images),
             "images") &&
        good(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, BATCH * CLASSES * 4, "probs",
                                 &r->probs),
             "probs") &&
        good(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, BATCH * 4, "labels", &r->labels),
             "labels") &&
        good(nrt_add_tensor_to_tensor_set(r->in, "images", r->images), "images") &&
        good(nrt_add_tensor_to_tensor_set(r->out, "probs", r->probs), "probs") &&
        good(nrt_add_tensor_to_tensor_set(r->out, "labels", r->labels), "labels");

    if (!neff)
        fprintf(stderr, "digits_classify: cannot read %s\n", path);
    free(neff);
    return ok;
}

static void run_close(struct run *r)
{
    if (r->model)
        nrt_unload(r->model);
    nrt_tensor_free(&r->images);
    nrt_tensor_free(&r->probs);
    nrt_tensor_free(&r->labels);
    nrt_destroy_tensor_set(&r->in);
    nrt_destroy_tensor_set(&r->out);
}

/* One batch: classes into labels, the largest distance of a probability from the reference. */
static bool batch_run(struct run *r, const char *dir, unsigned k, uint32_t *labels,
                      double *ret_error, bool *ret_more)
{
    float probs[BATCH * CLASSES];
    size_t size = 0, ref_size = 0;
    char name[32];
    void *images;
    float *ref;
    bool ok;

    snprintf(name, sizeof(name), "batch%u.bin", k);
    images = file_read(dir, name, &size);
    *ret_more = images != NULL;
    if (!images)
        return true;
    snprintf(name, sizeof(name), "probs%u.bin", k);
    ref = file_read(dir, name, &ref_size);
    ok = ref && size == BATCH * PIXELS * 4 && ref_size == sizeof(probs) &&
         good(nrt_tensor_write(r->images, images, 0, size), "write") &&
         good(nrt_execute(r->model, r->in, r->out), "nrt_execute") &&
         good(nrt_tensor_read(r->labels, labels, 0, BATCH * 4), "read") &&
         good(nrt_tensor_read(r->probs, probs, 0, sizeof(probs)), "read");
    for (unsigned i = 0; ok && i < BATCH * CLASSES; i++)
        *ret_error = fmax(*ret_error, fabs((double)probs[i] - (double)ref[i]));
    free(images);
    free(ref);
    return ok;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static bool time_print(struct run *r, unsigned repeat)
{
    static double us[MAX_RUNS];

    for (unsigned i = 0; i < repeat; i++) {
        struct timespec a, b;

        clock_gettime(CLOCK_MONOTONIC, &a);
        if (!good(nrt_execute(r->model, r->in, r->out), "nrt_execute"))
            return false;
        clock_gettime(CLOCK_MONOTONIC, &b);
        us[i] = (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) * 1e-3;
    }
    qsort(us, repeat, sizeof(us[0]), compare);
    printf("time per batch of %d images: %.1f us (median of %u), %.1f us (fastest)\n", BATCH,
           us[repeat / 2], repeat, us[0]);
    return true;
}

static bool classify(struct run *r, const char *dir, unsigned repeat)
{
    size_t size = 0, truth_size = 0;
    uint32_t *reference = file_read(dir, "labels.bin", &size);
    uint32_t *truth = file_read(dir, "truth.bin", &truth_size);
    unsigned count = (unsigned)(size / 4), right = 0, equal = 0;
    bool ok = reference && truth && size == truth_size, more = true;
    double error = 0;

    for (unsigned k = 0; ok && more; k++) {
        uint32_t labels[BATCH];

        ok = batch_run(r, dir, k, labels, &error, &more);
        for (unsigned i = 0; ok && more && i < BATCH && k * BATCH + i < count; i++) {
            right += labels[i] == truth[k * BATCH + i];
            equal += labels[i] == reference[k * BATCH + i];
        }
    }
    if (!ok)
        fprintf(stderr, "digits_classify: no result from %s\n", dir);
    free(reference);
    free(truth);
    if (!ok || !time_print(r, repeat))
        return false;
    printf("accuracy on %u images held out of training: %.2f %%\n", count, 100.0 * right / count);
    printf("classes equal to the NumPy reference: %u of %u; largest difference of a probability "
           "%.1e\n",
           equal, count, error);
    return equal == count && 100 * right >= 97 * count && error < 1e-5;
}

int main(int argc, char **argv)
{
    unsigned repeat = argc == 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 200;
    struct run run = {0};
    bool ok;

    if (argc < 3 || argc > 4 || repeat == 0 || repeat > MAX_RUNS) {
        fprintf(stderr, "usage: %s DIGITS.neff DIRECTORY [REPEAT]\n", argv[0]);
        return 2;
    }
    if (!good(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init"))
        return 1;
    ok = run_open(&run, argv[1]) && classify(&run, argv[2], repeat);
    run_close(&run);
    nrt_close();
    return ok ? 0 : 1;
}
