/* SPDX-License-Identifier: Apache-2.0 */
/* What traces, profiles and the record of device time cost an execution: rounds without, with a
 * system trace, with a device profile, with an inspection of everything, and of a second copy of
 * the model that was loaded with OPENNRT_DEVICE_TIME take turns; nanoseconds of processor time per
 * execution, which other work on the machine changes least: the median without, and of what a round
 * cost more than the same round without.
 *
 *     trace_cost FILE.neff [rounds] [executions per round]
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"
#include "nrt/nrt_profile.h"
#include "nrt/nrt_sys_trace.h"

#define OK(call)                                                          \
    do {                                                                  \
        NRT_STATUS status_ = (call);                                      \
        if (status_ != NRT_SUCCESS) {                                     \
            fprintf(stderr, "trace_cost: %s: %d\n", #call, (int)status_); \
            exit(1);                                                      \
        }                                                                 \
    } while (0)

enum { WITHOUT, TRACED, PROFILED, RECORDED, INSPECTED, WAYS };
static const char *const way_names[WAYS] = {"nothing looks on", "system trace", "device profile",
                                            "device time", "inspection"};

static char folder_[] = "/tmp/trace_cost-XXXXXX"; /* of what profiles and inspections write */

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

/* However main ends. */
static void folder_remove(void)
{
    if (nftw(folder_, entry_remove, 16, FTW_DEPTH | FTW_PHYS) != 0)
        perror("trace_cost: remove its folder");
}

static void *file_read(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    void *data = NULL;
    long size;

    if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) > 0) {
        rewind(f);
        data = malloc((size_t)size);
        if (data && fread(data, 1, (size_t)size, f) == (size_t)size)
            *ret_size = (size_t)size;
    }
    if (f)
        fclose(f);
    return data;
}

static void tensors_make(nrt_model_t *m, nrt_tensor_set_t **in, nrt_tensor_set_t **out)
{
    nrt_tensor_info_array_t *info;

    OK(nrt_allocate_tensor_set(in));
    OK(nrt_allocate_tensor_set(out));
    OK(nrt_get_model_tensor_info(m, &info));
    for (uint64_t i = 0; i < info->tensor_count; i++) {
        const nrt_tensor_info_t *t = &info->tensor_array[i];
        nrt_tensor_t *tensor;

        OK(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, t->size, t->name, &tensor));
        OK(nrt_add_tensor_to_tensor_set(t->usage == NRT_TENSOR_USAGE_INPUT ? *in : *out, t->name,
                                        tensor));
    }
    OK(nrt_free_model_tensor_info(info));
}

/* Everything that an inspection can take, to files below the folder. */
static nrt_inspect_config_t *inspection_make(const char *folder)
{
    nrt_inspect_config_t *c;

    OK(nrt_inspect_config_allocate(&c));
    OK(nrt_inspect_config_set_output_dir(c, folder));
    OK(nrt_inspect_config_set_enable_inspect(c, true));
    OK(nrt_inspect_config_set_activity(c, "all", true));
    return c;
}

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 21;
    unsigned times = argc > 3 ? (unsigned)atoi(argv[3]) : 500;
    char profile[64];
    nrt_inspect_config_t *inspection;
    double *took[WAYS];
    size_t size = 0;
    void *neff = argc > 1 ? file_read(argv[1], &size) : NULL;
    nrt_tensor_set_t *in, *out;
    nrt_model_t *m, *recorded;

    if (!neff || size == 0 || rounds < 1 || times < 1) {
        fprintf(stderr, "usage: trace_cost FILE.neff [rounds] [executions per round]\n");
        return 2;
    }
    if (!mkdtemp(folder_)) {
        perror("trace_cost: mkdtemp");
        return 1;
    }
    atexit(folder_remove);
    snprintf(profile, sizeof(profile), "%s/one.ntff", folder_);
    OK(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    OK(nrt_load(neff, size, 0, 1, &m));
    setenv("OPENNRT_DEVICE_TIME", "1", 1);
    OK(nrt_load(neff, size, 0, 1, &recorded));
    tensors_make(m, &in, &out);
    inspection = inspection_make(folder_);
    for (int w = 0; w < WAYS; w++)
        took[w] = calloc(rounds, sizeof(*took[w]));
    for (unsigned i = 0; i < times; i++) { /* warm */
        OK(nrt_execute(m, in, out));
        OK(nrt_execute(recorded, in, out));
    }
    for (unsigned r = 0; r < rounds; r++)
        for (int w = 0; w < WAYS; w++) {
            nrt_model_t *run = w == RECORDED ? recorded : m;
            double start;

            if (w == TRACED)
                OK(nrt_sys_trace_start(NULL));
            if (w == PROFILED)
                OK(nrt_profile_start(m, profile));
            if (w == INSPECTED)
                OK(nrt_inspect_begin_with_options(inspection));
            start = now_ns();
            for (unsigned i = 0; i < times; i++)
                OK(nrt_execute(run, in, out));
            took[w][r] = (now_ns() - start) / times;
            if (w == TRACED)
                OK(nrt_sys_trace_stop());
            if (w == PROFILED)
                OK(nrt_profile_stop(profile));
            if (w == INSPECTED)
                OK(nrt_inspect_stop());
        }
    for (int w = WAYS - 1; w >= 0; w--) /* what each round cost beyond the same round without */
        for (unsigned r = 0; r < rounds; r++)
            took[w][r] -= w != WITHOUT ? took[WITHOUT][r] : 0;
    for (int w = 0; w < WAYS; w++)
        qsort(took[w], rounds, sizeof(*took[w]), by_value);
    for (int w = 0; w < WAYS; w++) {
        double base = took[WITHOUT][rounds / 2], cost = w != WITHOUT ? took[w][rounds / 2] : 0;

        printf("%-18s %10.0f ns an execution  %+8.0f ns  %+6.1f %%\n", way_names[w], base + cost,
               cost, 100.0 * cost / base);
    }
    for (int w = 0; w < WAYS; w++)
        free(took[w]);
    OK(nrt_inspect_config_free(inspection));
    nrt_close();
    free(neff);
    return 0;
}
