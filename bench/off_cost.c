/* SPDX-License-Identifier: Apache-2.0 */
/* What the places that traces, profiles and the record of device time have in the code cost while
 * nobody looks on: executions by the library, by one that was built without those places
 * (src/base/watched.h), and by a second copy of the first take turns in one process. The second
 * copy says what two libraries differ by that are the same. Nanoseconds of this thread's processor
 * time per execution: the median of the library, and of what a round of the others took more than
 * the same round of the library.
 *
 *     off_cost FILE.neff libnrt.so libnrt.so-without [rounds] [executions per round]
 *
 * It attaches to instances NAME-off0 to NAME-off2, NAME being OPENNRT_INSTANCE or off_cost; as any
 * instance they outlast it, until `opennrt reset`.
 */
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

enum { HERE, BLIND, AGAIN, SIDES };
static const char *const side_names[SIDES] = {"nobody looks on", "nobody can look on",
                                              "the same again"};

/* One library: a session of its own, with one model. */
struct side {
    void *lib;
    __typeof__(nrt_execute) *execute;
    __typeof__(nrt_close) *close;
    nrt_model_t *model;
    nrt_tensor_set_t *in, *out;
};

static void ended(const char *what, const char *why)
{
    fprintf(stderr, "off_cost: %s: %s\n", what, why);
    exit(1);
}

static void *found(const struct side *s, const char *name)
{
    void *f = dlsym(s->lib, name);

    if (!f)
        ended(name, dlerror());
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
        ended(lib, dlerror());
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
            ended("nrt_execute", "failed");
    return (now_ns() - start) / times;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof(*v), by_value);
    return v[n / 2];
}

/* A round of all sides, in an order that turns with the rounds. */
static void measure(const struct side *side, unsigned rounds, unsigned times)
{
    double *took[SIDES], base;

    for (int i = 0; i < SIDES; i++) {
        took[i] = calloc(rounds, sizeof(*took[i]));
        if (!took[i])
            ended("calloc", "no memory");
        round_ns(&side[i], times); /* warm */
    }
    for (unsigned r = 0; r < rounds; r++)
        for (unsigned k = 0; k < SIDES; k++)
            took[(r + k) % SIDES][r] = round_ns(&side[(r + k) % SIDES], times);
    for (int i = SIDES - 1; i > HERE; i--)
        for (unsigned r = 0; r < rounds; r++)
            took[i][r] -= took[HERE][r];
    base = median(took[HERE], rounds);
    for (int i = 0; i < SIDES; i++) {
        double more = i == HERE ? 0 : median(took[i], rounds);

        printf("%-18s %10.1f ns an execution  %+8.1f ns  %+6.2f %%\n", side_names[i], base + more,
               more, 100.0 * more / base);
        free(took[i]);
    }
}

static void *file_read(const char *path, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *data;

    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
        ended(path, "cannot be read");
    data = malloc((size_t)st.st_size);
    if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
        ended(path, "cannot be read");
    close(fd);
    *ret_size = (size_t)st.st_size;
    return data;
}

/* The loader gives one file one place: a copy is a library of its own. In memory, so that nothing
 * of it is left however this ends; ret_path is its name here. */
static void copy_make(const char *from, char *ret_path, size_t path_size)
{
    size_t size;
    char *bytes = file_read(from, &size);
    int fd = memfd_create("libnrt-again", MFD_CLOEXEC);

    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        ended("the copy of the library", "cannot be written");
    snprintf(ret_path, path_size, "/proc/self/fd/%d", fd);
    free(bytes);
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 4 ? (unsigned)atoi(argv[4]) : 21;
    unsigned times = argc > 5 ? (unsigned)atoi(argv[5]) : 500;
    const char *given = getenv("OPENNRT_INSTANCE"), *base = given && given[0] ? given : "off_cost";
    char copy[32], prefix[48], name[64];
    const char *lib[SIDES] = {argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL, copy};
    struct side side[SIDES];
    size_t size;
    void *neff;

    if (argc < 4 || rounds < 1 || times < 1) {
        fprintf(stderr, "usage: off_cost FILE.neff LIBNRT LIBNRT-WITHOUT [rounds] [executions]\n");
        return 2;
    }
    neff = file_read(argv[1], &size);
    copy_make(lib[HERE], copy, sizeof(copy));
    snprintf(prefix, sizeof(prefix), "%s", base); /* side_open changes what base points to */
    for (int i = 0; i < SIDES; i++) {
        snprintf(name, sizeof(name), "%s-off%d", prefix, i);
        side_open(&side[i], lib[i], name, neff, size);
    }
    measure(side, rounds, times);
    for (int i = 0; i < SIDES; i++)
        side[i].close();
    free(neff);
    return 0;
}
