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
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/settings.h"
#include "common/tensor_io.h"
#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"
#include "nrt/nrt_version.h"

#define TOOL         "opennrt run"
#define NPY          ".npy" /* how the files of outputs end */
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

/* ---- inputs ---- */

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
    return tool_tensor_fill(TOOL, &s->infos->tensor_array[i], s->tensors[i], eq + 1);
}

/* ---- outputs ---- */

static void describe(const nrt_tensor_info_t *t)
{
    printf("%-6s %s: %s [", t->usage == NRT_TENSOR_USAGE_INPUT ? "input" : "output", t->name,
           t->dtype == NRT_DTYPE_UNKNOWN ? "unknown type" : dtype_name(tool_tensor_dtype(t)));
    for (uint32_t d = 0; d < t->ndim; d++)
        printf("%s%u", d ? ", " : "", t->shape[d]);
    printf("], %zu bytes\n", t->size);
}

static void show(const nrt_tensor_info_t *t, const uint8_t *data)
{
    enum dtype dt = tool_tensor_dtype(t);
    size_t each = dtype_size(dt), n = each ? t->size / each : 0;

    printf("  %s =", t->name);
    for (size_t i = 0; i < n && i < SHOWN_VALUES; i++)
        printf(" %g", (double)dtype_load(dt, data + i * each));
    printf(n > SHOWN_VALUES ? " ...\n" : "\n");
}

static bool save(const char *dir, const nrt_tensor_info_t *t, const uint8_t *data)
{
    char path[4096];

    if (!tool_tensor_save(TOOL, dir, NPY, true, t, data, path, sizeof(path)))
        return false;
    printf("  %s -> %s\n", t->name, path);
    return true;
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
    struct tool_file f;

    if (!tool_file_map(TOOL, o->neff, &f))
        return false;
    s->ready = good(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
    if (s->ready && good(nrt_get_version(&version, sizeof(version)), "nrt_get_version"))
        printf("%s\n", version.rt_detail);
    if (s->ready && !good(nrt_load(f.bytes, f.size, -1, -1, &s->model), "nrt_load"))
        s->model = NULL;
    tool_file_unmap(&f);
    if (!s->model ||
        !good(nrt_get_model_info(s->model, &info, sizeof(info), &size), "nrt_get_model_info") ||
        !good(nrt_get_model_tensor_info(s->model, &s->infos), "nrt_get_model_tensor_info") ||
        !good(nrt_allocate_tensor_set(&s->in), "nrt_allocate_tensor_set") ||
        !good(nrt_allocate_tensor_set(&s->out), "nrt_allocate_tensor_set") ||
        (o->output && !tool_outputs_apart(TOOL, s->infos, (const char *const[]){NPY, NULL})) ||
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
