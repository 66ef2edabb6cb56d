/* SPDX-License-Identifier: Apache-2.0 */
/* A small program on the Neuron Runtime: load a NEFF, fill its inputs from files, run it once, and
 * write every output to a file of its name.
 *
 *     cc run_neff.c -o run_neff -I PREFIX/include -L PREFIX/lib -lnrt -pthread
 *     ./run_neff my.neff [input_1] [input_1.bin] [input_2] [input_2.bin] ...
 *
 * Inputs that are not named are zero. Files hold the raw bytes of a tensor; outputs go to
 * "<name>.out" in the working directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"

#define MAX_INPUTS 256

struct file {
    void *data;
    size_t size;
};

struct input {
    const char *name;
    struct file file;
};

/* Prints what failed; true when nothing did. */
static bool good(NRT_STATUS status, const char *what)
{
    if (status == NRT_SUCCESS)
        return true;
    fprintf(stderr, "run_neff: %s: %s (%d)\n", what, nrt_get_status_as_str(status), (int)status);
    return false;
}

/* Mapped until the program ends: constants go from the page cache straight to the device. */
static bool file_map(const char *path, struct file *ret)
{
    struct stat st;
    int fd = open(path, O_RDONLY);

    ret->data = MAP_FAILED;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0)
        ret->data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (ret->data == MAP_FAILED) {
        fprintf(stderr, "run_neff: %s: %s\n", path, errno ? strerror(errno) : "empty file");
        ret->data = NULL;
    } else {
        ret->size = (size_t)st.st_size;
    }
    if (fd >= 0)
        close(fd);
    return ret->data != NULL;
}

static const struct input *input_find(const struct input *inputs, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(inputs[i].name, name) == 0)
            return &inputs[i];
    return NULL;
}

static bool tensor_fill(nrt_tensor_t *tensor, const nrt_tensor_info_t *info,
                        const struct input *input)
{
    if (!input)
        return true; /* new tensors are zero */
    if (input->file.size != info->size) {
        fprintf(stderr, "run_neff: input %s has %zu bytes, the file %zu\n", info->name, info->size,
                input->file.size);
        return false;
    }
    return good(nrt_tensor_write(tensor, input->file.data, 0, info->size), info->name);
}

static bool tensor_save(nrt_tensor_t *tensor, const nrt_tensor_info_t *info)
{
    char path[NRT_TENSOR_NAME_MAX + 8];
    void *data = malloc(info->size ? info->size : 1);
    FILE *f = NULL;
    bool ok = false;

    snprintf(path, sizeof(path), "%s.out", info->name);
    for (char *p = path; *p; p++)
        if (*p == '/')
            *p = '_';
    if (data && good(nrt_tensor_read(tensor, data, 0, info->size), info->name))
        f = fopen(path, "wb");
    if (f) {
        ok = fwrite(data, 1, info->size, f) == info->size;
        ok = fclose(f) == 0 && ok;
    }
    if (ok)
        printf("output %s: %zu bytes to %s\n", info->name, info->size, path);
    else
        fprintf(stderr, "run_neff: cannot save output %s\n", info->name);
    free(data);
    return ok;
}

/* One tensor per input and output on the model's core, in the set it belongs to. */
static bool tensors_make(const nrt_tensor_info_array_t *infos, const struct input *inputs,
                         int count, int vnc, nrt_tensor_set_t *in, nrt_tensor_set_t *out,
                         nrt_tensor_t **ret)
{
    for (uint64_t i = 0; i < infos->tensor_count; i++) {
        const nrt_tensor_info_t *info = &infos->tensor_array[i];
        bool is_input = info->usage == NRT_TENSOR_USAGE_INPUT;

        printf("%s %s: %zu bytes\n", is_input ? "input" : "output", info->name, info->size);
        if (!good(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, vnc, info->size, info->name,
                                      &ret[i]),
                  "nrt_tensor_allocate") ||
            !good(nrt_add_tensor_to_tensor_set(is_input ? in : out, info->name, ret[i]),
                  "nrt_add_tensor_to_tensor_set"))
            return false;
        if (is_input && !tensor_fill(ret[i], info, input_find(inputs, count, info->name)))
            return false;
    }
    return true;
}

static bool outputs_save(const nrt_tensor_info_array_t *infos, nrt_tensor_t **tensors)
{
    for (uint64_t i = 0; i < infos->tensor_count; i++)
        if (infos->tensor_array[i].usage == NRT_TENSOR_USAGE_OUTPUT &&
            !tensor_save(tensors[i], &infos->tensor_array[i]))
            return false;
    return true;
}

static bool model_run(nrt_model_t *model, const struct input *inputs, int count)
{
    nrt_tensor_info_array_t *infos = NULL;
    nrt_tensor_set_t *in = NULL, *out = NULL;
    nrt_tensor_t **tensors = NULL;
    nrt_model_info_t info = {0};
    size_t size = 0;
    bool ok;

    ok = good(nrt_get_model_info(model, &info, sizeof(info), &size), "nrt_get_model_info") &&
         good(nrt_get_model_tensor_info(model, &infos), "nrt_get_model_tensor_info") &&
         good(nrt_allocate_tensor_set(&in), "nrt_allocate_tensor_set") &&
         good(nrt_allocate_tensor_set(&out), "nrt_allocate_tensor_set");
    if (ok)
        tensors = calloc(infos->tensor_count + 1, sizeof(*tensors));
    ok = ok && tensors && tensors_make(infos, inputs, count, (int)info.vnc, in, out, tensors) &&
         good(nrt_execute(model, in, out), "nrt_execute") && outputs_save(infos, tensors);

    for (uint64_t i = 0; tensors && i < infos->tensor_count; i++)
        nrt_tensor_free(&tensors[i]);
    free(tensors);
    nrt_destroy_tensor_set(&in);
    nrt_destroy_tensor_set(&out);
    if (infos)
        nrt_free_model_tensor_info(infos);
    return ok;
}

int main(int argc, char **argv)
{
    struct input inputs[MAX_INPUTS];
    nrt_model_t *model = NULL;
    struct file neff = {0};
    int count = 0;
    bool ok;

    if (argc < 2 || argc % 2 != 0 || (argc - 2) / 2 > MAX_INPUTS) {
        fprintf(stderr, "usage: %s my.neff [input_1] [input_1.bin] [input_2] [input_2.bin] ...\n",
                argv[0]);
        return 2;
    }
    ok = file_map(argv[1], &neff);
    for (int i = 2; ok && i < argc; i += 2) {
        inputs[count].name = argv[i];
        ok = file_map(argv[i + 1], &inputs[count].file);
        count += ok;
    }

    if (ok && good(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init")) {
        ok = good(nrt_load(neff.data, neff.size, -1, -1, &model), "nrt_load") &&
             model_run(model, inputs, count);
        if (model)
            ok = good(nrt_unload(model), "nrt_unload") && ok;
        nrt_close();
    } else {
        ok = false;
    }
    return ok ? 0 : 1;
}
