/* SPDX-License-Identifier: Apache-2.0 */
/* Runs many NEFFs through libnrt for the oracle (test/oracle/run_programs.py). The list has one
 * command per line:
 *
 *   neff PATH              load
 *   in NAME PATH           an input tensor with the file's bytes
 *   out NAME SIZE PATH     an output tensor, saved there after the run
 *   run                    execute, save, unload; prints "<status>" on a line of its own */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nrt/nrt.h"

#define MAX_TENSORS 512
#define MAX_PATH    1024

struct tensor {
    nrt_tensor_t *handle;
    size_t size;
    char path[MAX_PATH]; /* outputs; empty for inputs */
};

static struct tensor tensors[MAX_TENSORS];
static unsigned tensor_count;
static nrt_tensor_set_t *inputs, *outputs;
static char neff_path[MAX_PATH];

static void die(const char *what)
{
    fprintf(stderr, "neff_driver: %s\n", what);
    exit(2);
}

static void *file_read(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    char *data = NULL;
    long size = 0;

    if (!f || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0)
        die(path);
    rewind(f);
    data = malloc(size ? (size_t)size : 1);
    if (!data || fread(data, 1, (size_t)size, f) != (size_t)size)
        die(path);
    fclose(f);
    *ret_size = (size_t)size;
    return data;
}

static void must(NRT_STATUS status, const char *what)
{
    if (status != NRT_SUCCESS) {
        fprintf(stderr, "neff_driver: %s: status %d\n", what, (int)status);
        exit(2);
    }
}

static struct tensor *tensor_add(nrt_tensor_set_t *set, const char *name, size_t size)
{
    struct tensor *t = &tensors[tensor_count];

    if (tensor_count == MAX_TENSORS)
        die("too many tensors");
    must(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, size, name, &t->handle), "allocate");
    must(nrt_add_tensor_to_tensor_set(set, name, t->handle), "add");
    t->size = size;
    t->path[0] = '\0';
    tensor_count++;
    return t;
}

static void tensor_save(const struct tensor *t)
{
    void *data = malloc(t->size ? t->size : 1);
    FILE *f = fopen(t->path, "wb");

    if (!data || !f)
        die(t->path);
    must(nrt_tensor_read(t->handle, data, 0, t->size), "read");
    if (fwrite(data, 1, t->size, f) != t->size || fclose(f) != 0)
        die(t->path);
    free(data);
}

static void program_run(void)
{
    size_t size;
    void *neff = file_read(neff_path, &size);
    nrt_model_t *model = NULL;
    NRT_STATUS status = nrt_load(neff, size, 0, 1, &model);

    free(neff);
    if (status == NRT_SUCCESS)
        status = nrt_execute(model, inputs, outputs);
    printf("%d\n", (int)status);
    fflush(stdout);
    for (unsigned i = 0; i < tensor_count; i++) {
        if (status == NRT_SUCCESS && tensors[i].path[0])
            tensor_save(&tensors[i]);
        nrt_tensor_free(&tensors[i].handle);
    }
    if (model)
        must(nrt_unload(model), "unload");
    nrt_destroy_tensor_set(&inputs);
    nrt_destroy_tensor_set(&outputs);
    tensor_count = 0;
}

static void command(char *line)
{
    char name[256], path[MAX_PATH];
    size_t size;

    line[strcspn(line, "\n")] = '\0';
    if (sscanf(line, "neff %1023s", neff_path) == 1) {
        must(nrt_allocate_tensor_set(&inputs), "set");
        must(nrt_allocate_tensor_set(&outputs), "set");
    } else if (sscanf(line, "in %255s %1023s", name, path) == 2) {
        void *data = file_read(path, &size);
        struct tensor *t = tensor_add(inputs, name, size);

        must(nrt_tensor_write(t->handle, data, 0, size), "write");
        free(data);
    } else if (sscanf(line, "out %255s %zu %1023s", name, &size, path) == 3) {
        snprintf(tensor_add(outputs, name, size)->path, MAX_PATH, "%s", path);
    } else if (strcmp(line, "run") == 0) {
        program_run();
    } else {
        die(line);
    }
}

int main(int argc, char **argv)
{
    char line[4096];
    FILE *list;

    if (argc != 2)
        die("usage: neff_driver LIST");
    list = fopen(argv[1], "r");
    if (!list)
        die("cannot open the list");
    must(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "init");
    while (fgets(line, sizeof(line), list))
        command(line);
    fclose(list);
    nrt_close();
    return 0;
}
