/* SPDX-License-Identifier: Apache-2.0 */
/* A client as network libraries are: not linked with the runtime, opens it by name, looks names up
 * one at a time, asks for the count before init, and closes it without nrt_close. argv[1]: the
 * name. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "nrt/nrt.h"

#define LOOK(lib, name) (*(typeof(&name) *)(void *[]){dlsym(lib, #name)})

int main(int argc, char **argv)
{
    void *lib = dlopen(argv[1], RTLD_NOW);
    uint32_t n = 0;
    nrt_tensor_t *t;
    char c = 0;

    if (!lib) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    if (dlsym(lib, "nrt_get_dmabuf_fd_v2") || !dlsym(lib, "nrt_get_dmabuf_fd"))
        return 2;
    if (LOOK(lib, nrt_get_total_nc_count)(&n) != NRT_SUCCESS || n != 2)
        return 3;
    setenv("NEURON_RT_NUM_CORES", "1", 1);
    if (LOOK(lib, nrt_init)(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS)
        return 4;
    if (LOOK(lib, nrt_get_visible_nc_count)(&n) != NRT_SUCCESS || n != 1)
        return 5;
    if (LOOK(lib, nrt_tensor_allocate)(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "", &t) != NRT_SUCCESS)
        return 6;
    dlclose(lib);
    lib = dlopen(argv[1], RTLD_NOW);
    /* It stayed: the same session, the same handles. */
    if (!lib || LOOK(lib, nrt_tensor_read)(t, &c, 0, 1) != NRT_SUCCESS)
        return 7;
    dlclose(lib);
    return 0;
}
