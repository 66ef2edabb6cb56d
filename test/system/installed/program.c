/* SPDX-License-Identifier: Apache-2.0 */
/* A program outside the tree: it makes a NEFF from text, runs it and prints the result. Built by
 * test_install.py with nothing but what was installed. */
#include <neff/asm.h>
#include <neff/build.h>
#include <nrt/nrt.h>
#include <nrt/nrt_experimental.h>

#include <stdio.h>
#include <string.h>

static const char text[] = "var a, b: input f32[4, 8]\n"
                           "var c: output f32[4, 8]\n"
                           "queue qIn: in owner=sp\n"
                           "queue qOut: out owner=sp\n"
                           "tile ta, tb: sbuf f32[4, 8]\n"
                           "sem loaded, added, stored\n"
                           "sp: dma on qIn -> loaded: ta <- a\n"
                           "    dma on qIn -> loaded: tb <- b\n"
                           "    wait added >= 1: dma on qOut -> stored: c <- ta\n"
                           "    wait stored >= 1: end\n"
                           "dve: wait loaded >= 2: tensor_tensor ta, ta, tb, multiply -> added++\n"
                           "     end\n";

static int run(const void *neff, size_t size)
{
    const char *names[] = {"a", "b", "c"};
    nrt_tensor_set_t *in = NULL, *out = NULL;
    nrt_tensor_t *t[3] = {NULL};
    nrt_model_t *model = NULL;
    float values[32];
    int bad = 0;

    bad += nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS;
    bad += nrt_load(neff, size, -1, -1, &model) != NRT_SUCCESS;
    bad += nrt_allocate_tensor_set(&in) != NRT_SUCCESS;
    bad += nrt_allocate_tensor_set(&out) != NRT_SUCCESS;
    for (int i = 0; i < 3 && bad == 0; i++) {
        for (int k = 0; k < 32; k++)
            values[k] = (float)(k + i);
        bad += nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, sizeof(values), names[i],
                                   &t[i]) != NRT_SUCCESS;
        bad += nrt_tensor_write(t[i], values, 0, sizeof(values)) != NRT_SUCCESS;
        bad += nrt_add_tensor_to_tensor_set(i < 2 ? in : out, names[i], t[i]) != NRT_SUCCESS;
    }
    bad += bad == 0 && nrt_execute(model, in, out) != NRT_SUCCESS;
    bad += bad == 0 && nrt_tensor_read(t[2], values, 0, sizeof(values)) != NRT_SUCCESS;
    if (bad == 0)
        printf("%g * %g = %g\n", 6.0, 7.0, (double)values[6]);
    if (model != NULL)
        nrt_unload(model);
    for (int i = 0; i < 3; i++)
        nrt_tensor_free(&t[i]);
    nrt_destroy_tensor_set(&in);
    nrt_destroy_tensor_set(&out);
    nrt_close();
    return bad != 0;
}

int main(void)
{
    struct neff_asm_info info;
    struct neff_error error;
    struct neff_build *b;
    void *neff;
    size_t size;
    int rc;

    if (neff_asm_text(text, strlen(text), NULL, &b, &info, &error) != NRT_SUCCESS)
        return 1;
    if (neff_build_write_memory(b, NULL, &neff, &size) != NRT_SUCCESS)
        return 1;
    neff_build_destroy(b);
    rc = run(neff, size);
    neff_build_free(neff);
    return rc;
}
