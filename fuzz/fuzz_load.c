/* SPDX-License-Identifier: Apache-2.0 */
/* A whole load and execution through the public API: any bytes as a NEFF. What loads is executed
 * with inputs of a fixed pattern. CPU nodes are forbidden: they are native code by design. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"

#define MAX_TENSOR (4u << 20) /* bytes; larger tensors are not worth the time */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static void close_down(void)
{
    char path[128];

    nrt_close();
    snprintf(path, sizeof(path), "/tmp/opennrt-fuzz-%d", (int)getpid());
    rmdir(path);
}

static void open_once(void)
{
    static int opened;
    char name[64];

    if (opened)
        return;
    opened = 1;
    snprintf(name, sizeof(name), "fuzz-%d", (int)getpid());
    setenv("OPENNRT_INSTANCE", name, 1);
    setenv("OPENNRT_INSTANCE_TYPE", "trn1.2xlarge", 1);
    setenv("OPENNRT_CPU_NODES", "0", 1);
    setenv("OPENNRT_HOST_THREADS", "1", 1);
    setenv("NEURON_RT_LOG_LEVEL", "QUIET", 0);
    setenv("NEURON_RT_ENABLE_DEVICE_MEMORY_OOM_LOG", "0", 1);
    setenv("NEURON_RT_NUM_CORES", "1", 1);
    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) {
        fprintf(stderr, "fuzz_load: nrt_init failed\n");
        abort();
    }
    atexit(close_down);
}

struct sets {
    nrt_tensor_set_t *set[2];
    nrt_tensor_t **tensors;
    uint64_t count;
};

/* Tensors for all that the model wants; 0 when one is too large or memory is out. */
static int sets_open(struct sets *s, const nrt_tensor_info_array_t *info)
{
    static uint8_t pattern[MAX_TENSOR];

    s->tensors = calloc(info->tensor_count ? info->tensor_count : 1, sizeof(*s->tensors));
    if (!s->tensors || nrt_allocate_tensor_set(&s->set[0]) || nrt_allocate_tensor_set(&s->set[1]))
        return 0;
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 7 + (i >> 8));
    for (uint64_t i = 0; i < info->tensor_count; i++) {
        const nrt_tensor_info_t *t = &info->tensor_array[i];

        if (t->size > MAX_TENSOR || nrt_tensor_allocate(i % 3 == 2 ? NRT_TENSOR_PLACEMENT_VIRTUAL
                                                                   : NRT_TENSOR_PLACEMENT_DEVICE,
                                                        0, t->size, t->name, &s->tensors[i]))
            return 0;
        s->count = i + 1;
        if (nrt_tensor_write(s->tensors[i], pattern, 0, t->size) ||
            nrt_add_tensor_to_tensor_set(s->set[t->usage == NRT_TENSOR_USAGE_OUTPUT], t->name,
                                         s->tensors[i]))
            return 0;
    }
    return 1;
}

static void sets_close(struct sets *s)
{
    for (uint64_t i = 0; i < s->count; i++)
        nrt_tensor_free(&s->tensors[i]);
    free(s->tensors);
    nrt_destroy_tensor_set(&s->set[0]);
    nrt_destroy_tensor_set(&s->set[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nrt_tensor_info_array_t *info = NULL;
    struct sets sets = {0};
    nrt_model_t *model = NULL;

    open_once();
    if (nrt_load(data, size, -1, -1, &model) != NRT_SUCCESS)
        return 0;
    if (nrt_get_model_tensor_info(model, &info) == NRT_SUCCESS) {
        if (sets_open(&sets, info)) {
            (void)nrt_execute(model, sets.set[0], sets.set[1]);
            (void)nrt_execute(model, sets.set[0], sets.set[1]);
        }
        sets_close(&sets);
        nrt_free_model_tensor_info(info);
    }
    if (nrt_unload(model) != NRT_SUCCESS)
        abort();
    return 0;
}

/* Mutations that keep the container whole reach the checks behind it: change bytes in place, past
 * the header and, mostly, not in a tar header (512-byte blocks that begin a member name). */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static const uint8_t interesting[] = {0,  1,  2,  3,  4,  7,   8,   15,
                                          16, 31, 32, 63, 64, 127, 128, 255};
    unsigned n, r = seed * 2654435761u + 1;

    if (size < 2048 || seed % 16 == 0) {
#ifdef FUZZ_LIBFUZZER
        return LLVMFuzzerMutate(data, size, max_size);
#else
        (void)max_size;
        return size;
#endif
    }
    n = 1 + seed % 5;
    while (n--) {
        size_t at;

        r = r * 1664525u + 1013904223u;
        at = 1536 + (r >> 4) % (size - 1536);
        r = r * 1664525u + 1013904223u;
        switch (r >> 28) {
        case 0:
        case 1:
        case 2:
        case 3:
            data[at] ^= (uint8_t)(1u << (r >> 8 & 7));
            break;
        case 4:
        case 5:
        case 6:
            data[at] = (uint8_t)(data[at] + 1);
            break;
        case 7:
        case 8:
            data[at] = (uint8_t)(data[at] - 1);
            break;
        default:
            data[at] = interesting[r >> 8 & 15];
            break;
        }
    }
    return size;
}
