/* SPDX-License-Identifier: Apache-2.0 */
/* The other side of the comparisons. Each open function returns NULL and sets *why when the peer is
 * not there. One thread at a time. */
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include <stdbool.h>
#include <stddef.h>

/* ---- matrix products: C[m,n] = A[m,k] B[k,n], row major fp32 contents ---- */

struct peer_gemm;
enum peer_gemm_kind { PEER_OPENBLAS_F32, PEER_ONEDNN_F32, PEER_ONEDNN_BF16 };
/* oneDNN multiplies with B in the order it likes best, packed beforehand. */
struct peer_gemm *peer_gemm_open(enum peer_gemm_kind kind, int n, const float *a, const float *b,
                                 const char **why);
void peer_gemm_run(void *gemm);
const float *peer_gemm_result(const struct peer_gemm *gemm);
void peer_gemm_close(struct peer_gemm *gemm);

/* ---- PoCL, its device that runs on the calling thread ---- */

struct peer_ocl;
/* kind: how the device's name begins, "basic" or "pthread". */
struct peer_ocl *peer_ocl_open(const char *kind, size_t buffer_bytes, const char **why);
void peer_ocl_launch(void *ocl); /* an empty kernel with four arguments, enqueue and finish */
#define PEER_OCL_MANY 64
void peer_ocl_launch_many(void *ocl); /* that many of them, then finish */
void peer_ocl_write(void *ocl);       /* blocking write of transfer bytes */
void peer_ocl_read(void *ocl);
void peer_ocl_transfer(struct peer_ocl *ocl, void *host, size_t bytes);
void peer_ocl_close(struct peer_ocl *ocl);

/* ---- plain memory ---- */

struct peer_copy {
    void *dst;
    const void *src;
    size_t bytes;
};
void peer_copy_libc(void *copy); /* memcpy */
void peer_copy_streaming(
    void *copy); /* stores that bypass the caches; memcpy where there are none */
void peer_malloc_copy_free(void *copy); /* malloc, memcpy, free */

/* ---- NumPy, in a process of its own that answers with times ---- */

struct peer_numpy;
struct peer_numpy *peer_numpy_open(const char *script, const char **why);
struct peer_numpy_op {
    struct peer_numpy *numpy;
    const char *name; /* "softmax" "layernorm" "tanh" "gelu" "add" */
};
double peer_numpy_time_us(void *op, unsigned calls);
void peer_numpy_close(struct peer_numpy *numpy);

#endif
