/* SPDX-License-Identifier: Apache-2.0 */
#include "off_cost.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"

/* One library: a session of its own, with one model. */
struct side {
    void *lib;
    __typeof__(nrt_execute) *execute;
    __typeof__(nrt_close) *close;
    nrt_model_t *model;
    nrt_tensor_set_t *in, *out;
};

void off_ended(const char *what, const char *why)
{
    fprintf(stderr, "off_cost: %s: %s\n", what, why);
    exit(1);
}

static void *found(const struct side *s, const char *name)
{
    void *f = dlsym(s->lib, name);

    if (!f)
        off_ended(name, dlerror());
    return f;
}

/* Calls NAME of the side's library. */
#define CALL(s, name, ...)                                              \
    do {                                                                \
        __typeof__(name) *f_ = (__typeof__(name) *)found(s, #name);     \
        NRT_STATUS status_ = f_(__VA_ARGS__);                           \
        if (status_ != NRT_SUCCESS) {                                   \
            fprintf(stderr, "off_cost: " #name ": %d\n", (int)status_); \
            exit(1);                                                    \
        }                                                               \
    } while (0)

static void tensors_make(struct side *s)
{
    nrt_tensor_info_array_t *info;

    CALL(s, nrt_allocate_tensor_set, &s->in);
    CALL(s, nrt_allocate_tensor_set, &s->out);
    CALL(s, nrt_get_model_tensor_info, s->model, &info);
    for (uint64_t i = 0; i < info->tensor_count; i++) {
        const nrt_tensor_info_t *t = &info->tensor_array[i];
        nrt_tensor_t *tensor;

        CALL(s, nrt_tensor_allocate, NRT_TENSOR_PLACEMENT_DEVICE, 0, t->size, t->name, &tensor);
        CALL(s, nrt_add_tensor_to_tensor_set, t->usage == NRT_TENSOR_USAGE_INPUT ? s->in : s->out,
             t->name, tensor);
    }
    CALL(s, nrt_free_model_tensor_info, info);
}

/* instance: a name of its own, since a process attaches to an instance once. */
static void side_open(struct side *s, const char *lib, const char *instance, const void *neff,
                      size_t size)
{
    setenv("OPENNRT_INSTANCE", instance, 1);
    s->lib = dlopen(lib, RTLD_NOW | RTLD_LOCAL);
    if (!s->lib)
        off_ended(lib, dlerror());
    CALL(s, nrt_init, NRT_FRAMEWORK_TYPE_NO_FW, "", "");
    CALL(s, nrt_load, neff, size, 0, 1, &s->model);
    s->execute = (__typeof__(nrt_execute) *)found(s, "nrt_execute");
    s->close = (__typeof__(nrt_close) *)found(s, "nrt_close");
    tensors_make(s);
}

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double round_ns(const struct side *s, unsigned times)
{
    double start = now_ns();

    for (unsigned i = 0; i < times; i++)
        if (s->execute(s->model, s->in, s->out) != NRT_SUCCESS)
            off_ended("nrt_execute", "failed");
    return (now_ns() - start) / times;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double off_median(double *v, unsigned n)
{
    qsort(v, n, sizeof(*v), by_value);
    return v[n / 2];
}

/* A round of all sides, in an order that turns with the rounds. ret_took: of the library; of the
 * others, what the library took more in the same round. */
static void measure(const struct side *side, unsigned rounds, unsigned times, double *ret_took)
{
    double *took[OFF_SIDES];

    for (int i = 0; i < OFF_SIDES; i++) {
        took[i] = calloc(rounds, sizeof(*took[i]));
        if (!took[i])
            off_ended("calloc", "no memory");
        round_ns(&side[i], times); /* warm */
    }
    for (unsigned r = 0; r < rounds; r++)
        for (unsigned k = 0; k < OFF_SIDES; k++)
            took[(r + k) % OFF_SIDES][r] = round_ns(&side[(r + k) % OFF_SIDES], times);
    for (int i = OFF_SIDES - 1; i > OFF_HERE; i--)
        for (unsigned r = 0; r < rounds; r++)
            took[i][r] = took[OFF_HERE][r] - took[i][r];
    for (int i = 0; i < OFF_SIDES; i++) {
        ret_took[i] = off_median(took[i], rounds);
        free(took[i]);
    }
}

static void *file_read(const char *path, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *data;

    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
        off_ended(path, "cannot be read");
    data = malloc((size_t)st.st_size);
    if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
        off_ended(path, "cannot be read");
    close(fd);
    *ret_size = (size_t)st.st_size;
    return data;
}

/* The loader gives one file one place: a copy is a library of its own. In memory, so that nothing
 * of it is left however this ends; ret_path is its name here. All sides are such copies. */
static void copy_make(const char *from, char *ret_path, size_t path_size)
{
    size_t size;
    char *bytes = file_read(from, &size);
    int fd = memfd_create("libnrt-copy", MFD_CLOEXEC);

    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        off_ended("the copy of the library", "cannot be written");
    snprintf(ret_path, path_size, "/proc/self/fd/%d", fd);
    free(bytes);
}

/* The sides are opened in the order of this number: the first of those that are left, and so on. */
static void order_make(unsigned order, int *ret_order)
{
    int left[OFF_SIDES] = {OFF_HERE, OFF_OTHER, OFF_AGAIN};

    for (unsigned n = OFF_SIDES; n > 0; n--) {
        unsigned k = order % n;

        order /= n;
        *ret_order++ = left[k];
        memmove(&left[k], &left[k + 1], (n - k - 1) * sizeof(*left));
    }
}

void off_sides(const struct off_job *job, unsigned order, double *ret_took)
{
    const char *lib[OFF_SIDES] = {job->lib, job->other, job->lib};
    struct side side[OFF_SIDES];
    int opened[OFF_SIDES];
    char copy[32], name[64];
    size_t size;
    void *neff = file_read(job->neff, &size);

    order_make(order, opened);
    for (int i = 0; i < OFF_SIDES; i++) {
        copy_make(lib[opened[i]], copy, sizeof(copy));
        snprintf(name, sizeof(name), "%s-off%d", job->instance, i);
        side_open(&side[opened[i]], copy, name, neff, size);
    }
    measure(side, job->rounds, job->times, ret_took);
    for (int i = 0; i < OFF_SIDES; i++)
        side[i].close();
    free(neff);
}
