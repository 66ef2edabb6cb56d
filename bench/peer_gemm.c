/* SPDX-License-Identifier: Apache-2.0 */
/* OpenBLAS and oneDNN. */
#include "peers.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef HAVE_OPENBLAS
#include <cblas.h>
#endif
#ifdef HAVE_DNNL
#include <dnnl.h>
#endif

struct peer_gemm {
    enum peer_gemm_kind kind;
    int n;
    const float *a, *b;
    float *c;
#ifdef HAVE_DNNL
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[3];
#endif
};

#ifdef HAVE_DNNL
/* A memory of layout md that holds the plain fp32 matrix src. */
static bool memory_from(struct peer_gemm *g, const dnnl_memory_desc_t *md, const float *src,
                        dnnl_memory_t *ret)
{
    dnnl_dims_t dims = {g->n, g->n};
    dnnl_memory_desc_t plain;
    dnnl_memory_t from = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t reorder = NULL;
    bool ok;

    ok = dnnl_memory_desc_init_by_tag(&plain, 2, dims, dnnl_f32, dnnl_ab) == dnnl_success &&
         dnnl_memory_create(&from, &plain, g->engine, (void *)src) == dnnl_success &&
         dnnl_memory_create(ret, md, g->engine, DNNL_MEMORY_ALLOCATE) == dnnl_success &&
         dnnl_reorder_primitive_desc_create(&desc, &plain, g->engine, md, g->engine, NULL) ==
             dnnl_success &&
         dnnl_primitive_create(&reorder, desc) == dnnl_success;
    if (ok) {
        dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, *ret}};

        ok = dnnl_primitive_execute(reorder, g->stream, 2, args) == dnnl_success &&
             dnnl_stream_wait(g->stream) == dnnl_success;
    }
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(desc);
    dnnl_memory_destroy(from);
    return ok;
}

static bool dnnl_prepare(struct peer_gemm *g)
{
    dnnl_data_type_t type = g->kind == PEER_ONEDNN_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_dims_t dims = {g->n, g->n};
    dnnl_memory_desc_t a, b, c;
    dnnl_matmul_desc_t op;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_t mem[3] = {NULL};
    bool ok;

    ok = dnnl_engine_create(&g->engine, dnnl_cpu, 0) == dnnl_success &&
         dnnl_stream_create(&g->stream, g->engine, dnnl_stream_default_flags) == dnnl_success &&
         dnnl_memory_desc_init_by_tag(&a, 2, dims, type, dnnl_ab) == dnnl_success &&
         dnnl_memory_desc_init_by_tag(&b, 2, dims, type, dnnl_format_tag_any) == dnnl_success &&
         dnnl_memory_desc_init_by_tag(&c, 2, dims, dnnl_f32, dnnl_ab) == dnnl_success &&
         dnnl_matmul_desc_init(&op, &a, &b, NULL, &c) == dnnl_success &&
         dnnl_primitive_desc_create(&desc, &op, NULL, g->engine, NULL) == dnnl_success &&
         dnnl_primitive_create(&g->primitive, desc) == dnnl_success &&
         memory_from(g, &a, g->a, &mem[0]) &&
         memory_from(g, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0), g->b,
                     &mem[1]) &&
         dnnl_memory_create(&mem[2], &c, g->engine, g->c) == dnnl_success;
    dnnl_primitive_desc_destroy(desc);
    g->args[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, mem[0]};
    g->args[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, mem[1]};
    g->args[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, mem[2]};
    return ok;
}
#endif

struct peer_gemm *peer_gemm_open(enum peer_gemm_kind kind, int n, const float *a, const float *b,
                                 const char **why)
{
    struct peer_gemm *g = calloc(1, sizeof(*g));

    *why = "no memory";
    if (!g)
        return NULL;
    g->kind = kind;
    g->n = n;
    g->a = a;
    g->b = b;
    g->c = calloc((size_t)n * (size_t)n, sizeof(float));
    if (kind == PEER_OPENBLAS_F32) {
#ifdef HAVE_OPENBLAS
        return g;
#endif
        *why = "OpenBLAS was not there at build time";
    } else {
#ifdef HAVE_DNNL
        if (dnnl_prepare(g))
            return g;
        *why = "oneDNN refuses this product on this machine";
#else
        *why = "oneDNN was not there at build time";
#endif
    }
    peer_gemm_close(g);
    return NULL;
}

void peer_gemm_run(void *gemm)
{
    struct peer_gemm *g = gemm;

#ifdef HAVE_OPENBLAS
    if (g->kind == PEER_OPENBLAS_F32)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, g->n, g->n, g->n, 1.0f, g->a, g->n,
                    g->b, g->n, 0.0f, g->c, g->n);
#endif
#ifdef HAVE_DNNL
    if (g->kind != PEER_OPENBLAS_F32) {
        if (dnnl_primitive_execute(g->primitive, g->stream, 3, g->args) != dnnl_success ||
            dnnl_stream_wait(g->stream) != dnnl_success) {
            fprintf(stderr, "bench: oneDNN failed\n");
            exit(1);
        }
    }
#endif
}

const float *peer_gemm_result(const struct peer_gemm *gemm)
{
    return gemm->c;
}

void peer_gemm_close(struct peer_gemm *g)
{
    if (!g)
        return;
#ifdef HAVE_DNNL
    for (unsigned i = 0; i < 3; i++)
        dnnl_memory_destroy(g->args[i].memory);
    dnnl_primitive_destroy(g->primitive);
    dnnl_stream_destroy(g->stream);
    dnnl_engine_destroy(g->engine);
#endif
    free(g->c);
    free(g);
}
