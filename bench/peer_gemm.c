/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products of oneDNN (weights packed as the library likes) and OpenBLAS. */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_ONEDNN
#include <dnnl.h>
#include <omp.h>
#endif
#ifdef HAVE_OPENBLAS
#include <cblas.h>
#endif

#if defined(HAVE_ONEDNN) || defined(HAVE_OPENBLAS)
/* Small eighths: exact in bf16 too. */
static float *fill(int rows, int cols, int a, int b)
{
    size_t count = (size_t)rows * (size_t)cols;
    float *p = bench_buffer(count * sizeof(float), true);

    for (size_t i = 0; i < count; i++)
        p[i] = (float)((int)(i * (size_t)a % (size_t)b) - b / 2) / 8;
    return p;
}

/* Sampled check of c = a b against a plain loop: a peer that computes nothing is no peer. */
static bool product_ok(const float *a, const float *b, const float *c, int m, int k, int n)
{
    for (int i = 0; i < 64; i++) {
        int row = i * 131 % m, col = i * 197 % n;
        double sum = 0;

        for (int j = 0; j < k; j++)
            sum += (double)a[(size_t)row * k + j] * b[(size_t)j * n + col];
        if (fabs(sum - c[(size_t)row * n + col]) > 1e-3 * (1 + fabs(sum)))
            return false;
    }
    return true;
}
#endif

#ifdef HAVE_ONEDNN
static dnnl_engine_t engine;
static dnnl_stream_t stream;

struct onednn {
    dnnl_primitive_t prim;
    dnnl_exec_arg_t args[3];
    int threads;
};

static int onednn_threads = 1;

bool peer_onednn_open(int threads)
{
    onednn_threads = threads;
    omp_set_num_threads(threads);
    if (engine)
        return true;
    return dnnl_engine_create(&engine, dnnl_cpu, 0) == dnnl_success &&
           dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success;
}

/* A memory in layout md that holds the plain f32 matrix src. */
static bool to_layout(const dnnl_memory_desc_t *md, int rows, int cols, float *src,
                      dnnl_memory_t *ret)
{
    dnnl_memory_desc_t plain;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t prim;
    dnnl_memory_t from;
    dnnl_dims_t dims = {rows, cols};

    if (dnnl_memory_desc_init_by_tag(&plain, 2, dims, dnnl_f32, dnnl_ab) ||
        dnnl_memory_create(&from, &plain, engine, src) ||
        dnnl_memory_create(ret, md, engine, DNNL_MEMORY_ALLOCATE) ||
        dnnl_reorder_primitive_desc_create(&pd, &plain, engine, md, engine, NULL) ||
        dnnl_primitive_create(&prim, pd))
        return false;
    dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, *ret}};

    return dnnl_primitive_execute(prim, stream, 2, args) == dnnl_success &&
           dnnl_stream_wait(stream) == dnnl_success;
}

static double onednn_run(void *arg, unsigned n)
{
    struct onednn *o = arg;
    double t;

    omp_set_num_threads(o->threads);
    t = bench_now();
    for (unsigned i = 0; i < n; i++) {
        if (dnnl_primitive_execute(o->prim, stream, 3, o->args) || dnnl_stream_wait(stream))
            return -1;
    }
    return bench_now() - t;
}

bool peer_onednn_gemm(int m, int k, int n, bool bf16, struct bench_side *ret)
{
    dnnl_data_type_t dt = bf16 ? dnnl_bf16 : dnnl_f32;
    dnnl_memory_desc_t da, db, dc;
    dnnl_matmul_desc_t md;
    dnnl_primitive_desc_t pd;
    dnnl_memory_t ma, mb, mc;
    dnnl_dims_t sa = {m, k}, sb = {k, n}, sc = {m, n};
    struct onednn *o = calloc(1, sizeof(*o));
    float *a = fill(m, k, 7, 17), *b = fill(k, n, 5, 13);
    float *c = bench_buffer((size_t)m * (size_t)n * 4, true);

    if (!o || dnnl_memory_desc_init_by_tag(&da, 2, sa, dt, dnnl_ab) ||
        dnnl_memory_desc_init_by_tag(&db, 2, sb, dt, dnnl_format_tag_any) ||
        dnnl_memory_desc_init_by_tag(&dc, 2, sc, dnnl_f32, dnnl_ab) ||
        dnnl_matmul_desc_init(&md, &da, &db, NULL, &dc) ||
        dnnl_primitive_desc_create(&pd, &md, NULL, engine, NULL) ||
        dnnl_primitive_create(&o->prim, pd) || dnnl_memory_create(&mc, &dc, engine, c) ||
        !to_layout(&da, m, k, a, &ma) ||
        !to_layout(dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), k, n, b, &mb))
        return false;
    o->args[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, ma};
    o->args[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, mb};
    o->args[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, mc};
    o->threads = onednn_threads;
    *ret = (struct bench_side){.name = "onednn packed", .run = onednn_run, .arg = o};
    return onednn_run(o, 1) >= 0 && product_ok(a, b, c, m, k, n);
}
#else
bool peer_onednn_open(int threads)
{
    (void)threads;
    return false;
}

bool peer_onednn_gemm(int m, int k, int n, bool bf16, struct bench_side *ret)
{
    (void)m, (void)k, (void)n, (void)bf16, (void)ret;
    return false;
}
#endif

#ifdef HAVE_OPENBLAS
struct blas {
    int m, k, n, threads;
    float *a, *b, *c;
};

static double blas_run(void *arg, unsigned n)
{
    struct blas *g = arg;
    double t;

    openblas_set_num_threads(g->threads);
    t = bench_now();
    for (unsigned i = 0; i < n; i++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, g->m, g->n, g->k, 1.0f, g->a, g->k,
                    g->b, g->n, 0.0f, g->c, g->n);
    return bench_now() - t;
}

bool peer_openblas_gemm(int m, int k, int n, int threads, struct bench_side *ret)
{
    struct blas *g = calloc(1, sizeof(*g));

    if (!g)
        return false;
    *g = (struct blas){m, k, n, threads, fill(m, k, 7, 17), fill(k, n, 5, 13), NULL};
    g->c = bench_buffer((size_t)m * (size_t)n * 4, true);
    *ret = (struct bench_side){.name = "openblas", .run = blas_run, .arg = g};
    return blas_run(g, 1) >= 0 && product_ok(g->a, g->b, g->c, m, k, n);
}
#else
bool peer_openblas_gemm(int m, int k, int n, int threads, struct bench_side *ret)
{
    (void)m, (void)k, (void)n, (void)threads, (void)ret;
    return false;
}
#endif
