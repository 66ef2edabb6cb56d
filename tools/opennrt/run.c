/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt run: load a NEFF, give it inputs, execute it, show or save its outputs. A plain client of
 * libnrt. */
#include "opennrt.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/npy.h"
#include "base/settings.h"
#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"
#include "nrt/nrt_version.h"

#define MAX_INPUTS   1024
#define SHOWN_VALUES 8

struct options {
    const char *neff;
    const char *inputs[MAX_INPUTS]; /* "name=file" */
    int input_count;
    const char *output;   /* folder, NULL: show */
    const char *timeline; /* file, NULL: none */
    long repeat;
    bool cpu_nodes;
};

struct file {
    uint8_t *data;
    size_t size;
};

/* What one run holds. */
struct session {
    nrt_model_t *model;
    nrt_tensor_info_array_t *infos;
    nrt_tensor_set_t *in, *out;
    nrt_tensor_t **tensors;
    bool ready; /* nrt_init succeeded */
};

static void help(FILE *to)
{
    fprintf(
        to,
        "usage: opennrt run file.neff [--input name=file] ... [--output dir] [--repeat n]\n"
        "                   [--timeline file] [--allow-cpu-nodes]\n\n"
        "Loads the NEFF on the first free core of the software device, executes it, and\n"
        "shows the outputs, or saves them as <dir>/<name>.npy.\n\n"
        "  -i, --input NAME=FILE  bytes of an input: .npy, or raw; others are zero\n"
        "  -o, --output DIR       folder for the outputs, made if it is missing\n"
        "  -n, --repeat N         executions (default 1), timed\n"
        "  -t, --timeline FILE    what the executions take on a device, by the published costs,\n"
        "                         as a trace for ui.perfetto.dev\n"
        "      --allow-cpu-nodes  run native code that the NEFF carries\n"
        "  -h, --help             this text\n");
}

static bool good(NRT_STATUS status, const char *what)
{
    if (status == NRT_SUCCESS)
        return true;
    fprintf(stderr, "opennrt run: %s: %s (%d)\n", what, status_name(status), (int)status);
    return false;
}

static bool file_map(const char *path, struct file *ret)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *p = MAP_FAILED;

    errno = fd < 0 ? errno : 0;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0)
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        fprintf(stderr, "opennrt run: %s: %s\n", path, errno ? strerror(errno) : "empty file");
    if (fd >= 0)
        close(fd);
    if (p == MAP_FAILED)
        return false;
    ret->data = p;
    ret->size = (size_t)st.st_size;
    return true;
}

/* ---- inputs ---- */

/* The bytes of the array in an .npy file, else all of the file. */
static bool payload(const char *path, const struct file *f, const uint8_t **ret, size_t *ret_size)
{
    size_t n = strlen(path);
    struct npy_desc d;
    struct err err = {0};

    *ret = f->data;
    *ret_size = f->size;
    if (n < 4 || strcmp(path + n - 4, ".npy") != 0)
        return true;
    if (npy_parse(f->data, f->size, &d, &err) != NRT_SUCCESS) {
        fprintf(stderr, "opennrt run: %s: %s\n", path, err.text);
        return false;
    }
    if (d.fortran_order || d.data_off > f->size || d.data_bytes > f->size - d.data_off) {
        fprintf(stderr, "opennrt run: %s: %s\n", path,
                d.fortran_order ? "Fortran order" : "the data end early");
        return false;
    }
    *ret = f->data + d.data_off;
    *ret_size = d.data_bytes;
    return true;
}

static int tensor_find(const struct session *s, const char *name, size_t len)
{
    for (uint64_t i = 0; i < s->infos->tensor_count; i++) {
        const nrt_tensor_info_t *t = &s->infos->tensor_array[i];

        if (t->usage == NRT_TENSOR_USAGE_INPUT && strlen(t->name) == len &&
            memcmp(t->name, name, len) == 0)
            return (int)i;
    }
    return -1;
}

static bool input_write(struct session *s, const char *arg)
{
    const char *eq = strchr(arg, '=');
    const uint8_t *bytes;
    struct file f;
    size_t size;
    bool ok = false;
    int i;

    if (!eq) {
        fprintf(stderr, "opennrt run: --input %s is not name=file\n", arg);
        return false;
    }
    i = tensor_find(s, arg, (size_t)(eq - arg));
    if (i < 0) {
        fprintf(stderr, "opennrt run: the model has no input %.*s\n", (int)(eq - arg), arg);
        return false;
    }
    if (!file_map(eq + 1, &f))
        return false;
    if (payload(eq + 1, &f, &bytes, &size)) {
        const nrt_tensor_info_t *t = &s->infos->tensor_array[i];

        if (size != t->size)
            fprintf(stderr, "opennrt run: %s has %zu bytes, input %s needs %zu\n", eq + 1, size,
                    t->name, t->size);
        else
            ok = good(nrt_tensor_write(s->tensors[i], bytes, 0, size), t->name);
    }
    munmap(f.data, f.size);
    return ok;
}

/* ---- outputs ---- */

static enum dtype dtype_of(const nrt_tensor_info_t *t)
{
    return t->dtype == NRT_DTYPE_UNKNOWN ? DT_UINT8 : (enum dtype)t->dtype;
}

static void describe(const nrt_tensor_info_t *t)
{
    printf("%-6s %s: %s [", t->usage == NRT_TENSOR_USAGE_INPUT ? "input" : "output", t->name,
           t->dtype == NRT_DTYPE_UNKNOWN ? "unknown type" : dtype_name(dtype_of(t)));
    for (uint32_t d = 0; d < t->ndim; d++)
        printf("%s%u", d ? ", " : "", t->shape[d]);
    printf("], %zu bytes\n", t->size);
}

static void show(const nrt_tensor_info_t *t, const uint8_t *data)
{
    enum dtype dt = dtype_of(t);
    size_t each = dtype_size(dt), n = each ? t->size / each : 0;

    printf("  %s =", t->name);
    for (size_t i = 0; i < n && i < SHOWN_VALUES; i++)
        printf(" %g", (double)dtype_load(dt, data + i * each));
    printf(n > SHOWN_VALUES ? " ...\n" : "\n");
}

static bool save(const char *dir, const nrt_tensor_info_t *t, const uint8_t *data)
{
    uint64_t shape[NPY_MAX_DIMS], n = t->size;
    char name[NRT_TENSOR_NAME_MAX], path[4096];
    struct strbuf head = {0};
    enum dtype dt = dtype_of(t);
    bool known = t->dtype != NRT_DTYPE_UNKNOWN && t->ndim <= NPY_MAX_DIMS, ok = false;
    FILE *f = NULL;

    snprintf(name, sizeof(name), "%s", t->name);
    for (char *p = name; *p; p++)
        if (*p == '/')
            *p = '_';
    for (uint32_t d = 0; known && d < t->ndim; d++)
        shape[d] = t->shape[d];
    if ((size_t)snprintf(path, sizeof(path), "%s/%s.npy", dir, name) < sizeof(path) &&
        npy_write_header(&head, known ? dt : DT_UINT8, known ? t->ndim : 1, known ? shape : &n))
        f = fopen(path, "wb");
    if (f) {
        ok = fwrite(head.s, 1, head.len, f) == head.len && fwrite(data, 1, n, f) == n;
        ok = fclose(f) == 0 && ok;
    }
    strbuf_fini(&head);
    if (ok)
        printf("  %s -> %s\n", t->name, path);
    else
        fprintf(stderr, "opennrt run: cannot write %s: %s\n", path, strerror(errno));
    return ok;
}

static bool outputs(struct session *s, const char *dir)
{
    if (dir && mkdir(dir, 0755) != 0 && errno != EEXIST) {
        fprintf(stderr, "opennrt run: %s: %s\n", dir, strerror(errno));
        return false;
    }
    for (uint64_t i = 0; i < s->infos->tensor_count; i++) {
        const nrt_tensor_info_t *t = &s->infos->tensor_array[i];
        uint8_t *data;
        bool ok;

        if (t->usage != NRT_TENSOR_USAGE_OUTPUT)
            continue;
        data = malloc(t->size ? t->size : 1);
        ok = data && good(nrt_tensor_read(s->tensors[i], data, 0, t->size), t->name);
        if (ok && dir)
            ok = save(dir, t, data);
        else if (ok)
            show(t, data);
        free(data);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- the run ---- */

static bool tensors_make(struct session *s, int vnc)
{
    s->tensors = calloc(s->infos->tensor_count + 1, sizeof(*s->tensors));
    if (!s->tensors)
        return good(NRT_RESOURCE, "memory");
    for (uint64_t i = 0; i < s->infos->tensor_count; i++) {
        const nrt_tensor_info_t *t = &s->infos->tensor_array[i];

        describe(t);
        if (!good(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, vnc, t->size, t->name,
                                      &s->tensors[i]),
                  t->name) ||
            !good(nrt_add_tensor_to_tensor_set(t->usage == NRT_TENSOR_USAGE_INPUT ? s->in : s->out,
                                               t->name, s->tensors[i]),
                  t->name))
            return false;
    }
    return true;
}

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static bool execute(struct session *s, long repeat)
{
    double start = now(), seconds;

    for (long i = 0; i < repeat; i++)
        if (!good(nrt_execute(s->model, s->in, s->out), "nrt_execute"))
            return false;
    seconds = now() - start;
    printf("%ld execution%s, %.3f ms each on this host\n", repeat, repeat == 1 ? "" : "s",
           seconds * 1e3 / (double)repeat);
    return true;
}

static bool session_open(struct session *s, const struct options *o)
{
    nrt_model_info_t info = {0};
    nrt_version_t version;
    size_t size = 0;
    struct file f;

    if (!file_map(o->neff, &f))
        return false;
    s->ready = good(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
    if (s->ready && good(nrt_get_version(&version, sizeof(version)), "nrt_get_version"))
        printf("%s\n", version.rt_detail);
    if (s->ready && !good(nrt_load(f.data, f.size, -1, -1, &s->model), "nrt_load"))
        s->model = NULL;
    munmap(f.data, f.size);
    if (!s->model ||
        !good(nrt_get_model_info(s->model, &info, sizeof(info), &size), "nrt_get_model_info") ||
        !good(nrt_get_model_tensor_info(s->model, &s->infos), "nrt_get_model_tensor_info") ||
        !good(nrt_allocate_tensor_set(&s->in), "nrt_allocate_tensor_set") ||
        !good(nrt_allocate_tensor_set(&s->out), "nrt_allocate_tensor_set") ||
        !tensors_make(s, (int)info.vnc))
        return false;
    for (int i = 0; i < o->input_count; i++)
        if (!input_write(s, o->inputs[i]))
            return false;
    return true;
}

static void session_close(struct session *s)
{
    for (uint64_t i = 0; s->tensors && i < s->infos->tensor_count; i++)
        nrt_tensor_free(&s->tensors[i]);
    free(s->tensors);
    nrt_destroy_tensor_set(&s->in);
    nrt_destroy_tensor_set(&s->out);
    if (s->infos)
        nrt_free_model_tensor_info(s->infos);
    if (s->model)
        nrt_unload(s->model);
    if (s->ready)
        nrt_close();
}

static bool parse(int argc, char **argv, struct options *o, bool *ret_help)
{
    static const struct option options[] = {{"input", required_argument, NULL, 'i'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"repeat", required_argument, NULL, 'n'},
                                            {"timeline", required_argument, NULL, 't'},
                                            {"allow-cpu-nodes", no_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int64_t n;
    int c;

    while ((c = getopt_long(argc, argv, "i:o:n:t:h", options, NULL)) != -1) {
        switch (c) {
        case 'i':
            if (o->input_count == MAX_INPUTS) {
                fprintf(stderr, "opennrt run: more than %d inputs\n", MAX_INPUTS);
                return false;
            }
            o->inputs[o->input_count++] = optarg;
            break;
        case 'o':
            o->output = optarg;
            break;
        case 'n':
            if (!settings_parse_int(optarg, &n) || n < 1 || n > INT32_MAX) {
                fprintf(stderr, "opennrt run: --repeat %s is not a count from 1 on\n", optarg);
                return false;
            }
            o->repeat = (long)n;
            break;
        case 't':
            o->timeline = optarg;
            break;
        case 'c':
            o->cpu_nodes = true;
            break;
        case 'h':
            *ret_help = true;
            return true;
        default:
            return false;
        }
    }
    if (optind + 1 != argc)
        return false;
    o->neff = argv[optind];
    return true;
}

/* The executions add to the file; it begins empty. */
static bool timeline_begin(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (fd < 0 || setenv("OPENNRT_TIMELINE", path, 1) != 0) {
        fprintf(stderr, "opennrt run: %s: %s\n", path, strerror(errno));
        return false;
    }
    close(fd);
    return true;
}

int cmd_run(int argc, char **argv)
{
    struct options o = {.repeat = 1};
    struct session s = {0};
    bool want_help = false, ok;

    if (!parse(argc, argv, &o, &want_help)) {
        help(stderr);
        return EXIT_USAGE;
    }
    if (want_help) {
        help(stdout);
        return EXIT_OK;
    }
    /* Native code in a file runs only when the user says so. */
    setenv("OPENNRT_CPU_NODES", o.cpu_nodes ? "1" : "0", 1);
    ok = (!o.timeline || timeline_begin(o.timeline)) && session_open(&s, &o) &&
         execute(&s, o.repeat) && outputs(&s, o.output);
    session_close(&s);
    return ok ? EXIT_OK : EXIT_FAILED;
}
