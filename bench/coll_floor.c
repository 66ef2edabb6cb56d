/* SPDX-License-Identifier: Apache-2.0 */
/* The floor: what memory and the transfer of cache lines allow, with nothing but the loads and
 * stores that the operation cannot do without, and a start line after them.
 *
 *     coll_floor REGION WAY
 *
 * WAY: `half`, each rank computes its part of the result and writes it to all outputs; `around`,
 * the same with stores that go around the caches; `full`, each rank reads all inputs and writes its
 * own output only. Which one is lowest depends on the size. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coll_job.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define MOST ((size_t)64 << 20)

struct floor_side {
    struct job_region *r;
    uint32_t rank;
    bool full, around;
    float *buf[2][JOB_RANKS]; /* x and y of every rank, all in one shared mapping */
    enum job_op op;
    size_t count;
};

static bool prepare(void *arg, enum job_op op, uint64_t bytes, float **x, float **y)
{
    struct floor_side *f = arg;

    f->op = op;
    f->count = bytes / sizeof(float);
    *x = f->buf[0][f->rank];
    *y = f->buf[1][f->rank];
    return bytes <= MOST && op != JOB_TRIP && op != JOB_WINDOW &&
           (op == JOB_ALL_REDUCE || !f->full);
}

/* Sum of src[0..nsrc) (a copy of one) to every dst, elements [from, to). */
typedef void combine_fn(float *const *dst, unsigned ndst, float *const *src, unsigned nsrc,
                        size_t from, size_t to);

static void combine_plain(float *const *dst, unsigned ndst, float *const *src, unsigned nsrc,
                          size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        float sum = src[0][i];

        for (unsigned s = 1; s < nsrc; s++)
            sum += src[s][i];
        for (unsigned d = 0; d < ndst; d++)
            dst[d][i] = sum;
    }
}

#if defined(__x86_64__)
/* combine_through and combine_around of a vector type, whose intrinsics begin with MM. */
#define VECTOR_LOOP(VECTOR, MM, STORE)                                                      \
    for (; i + sizeof(VECTOR) / sizeof(float) <= to; i += sizeof(VECTOR) / sizeof(float)) { \
        VECTOR sum = MM##loadu_ps(src[0] + i);                                              \
                                                                                            \
        for (unsigned s = 1; s < nsrc; s++)                                                 \
            sum = MM##add_ps(sum, MM##loadu_ps(src[s] + i));                                \
        for (unsigned d = 0; d < ndst; d++)                                                 \
            MM##STORE(dst[d] + i, sum);                                                     \
    }

#define VECTOR_COMBINE(SET, VECTOR, MM)                                                  \
    __attribute__((target(#SET))) static void combine_through_##SET(                     \
        float *const *dst, unsigned ndst, float *const *src, unsigned nsrc, size_t from, \
        size_t to)                                                                       \
    {                                                                                    \
        size_t i = from;                                                                 \
                                                                                         \
        VECTOR_LOOP(VECTOR, MM, storeu_ps)                                               \
        combine_plain(dst, ndst, src, nsrc, i, to);                                      \
    }                                                                                    \
                                                                                         \
    __attribute__((target(#SET))) static void combine_around_##SET(                      \
        float *const *dst, unsigned ndst, float *const *src, unsigned nsrc, size_t from, \
        size_t to)                                                                       \
    {                                                                                    \
        size_t i = from;                                                                 \
                                                                                         \
        for (; i < to && (uintptr_t)(dst[0] + i) % sizeof(VECTOR) != 0; i++)             \
            combine_plain(dst, ndst, src, nsrc, i, i + 1);                               \
        VECTOR_LOOP(VECTOR, MM, stream_ps)                                               \
        _mm_sfence();                                                                    \
        combine_plain(dst, ndst, src, nsrc, i, to);                                      \
    }

VECTOR_COMBINE(avx512f, __m512, _mm512_)
VECTOR_COMBINE(avx2, __m256, _mm256_)
#endif

static combine_fn *combine_choose(const struct floor_side *f)
{
    bool around = f->around && f->count >= 1024;

    (void)around;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return around ? combine_around_avx512f : combine_through_avx512f;
    if (__builtin_cpu_supports("avx2"))
        return around ? combine_around_avx2 : combine_through_avx2;
#endif
    return combine_plain;
}

static void run(void *arg, bool flipped)
{
    struct floor_side *f = arg;
    uint32_t n = f->r->ranks, me = f->rank;
    float **in = f->buf[flipped], **out = f->buf[!flipped];
    size_t from = f->count * me / n, to = f->count * (me + 1) / n;
    float *shifted[JOB_RANKS];
    combine_fn *combine = combine_choose(f);

    switch (f->op) {
    case JOB_ALL_REDUCE:
        if (f->full)
            combine(&out[me], 1, in, n, 0, f->count);
        else
            combine(out, n, in, n, from, to);
        break;
    case JOB_ALL_GATHER: /* my block to its place in all outputs */
        for (uint32_t i = 0; i < n; i++)
            shifted[i] = out[i] + from;
        combine(shifted, n, &in[me], 1, 0, to - from);
        break;
    case JOB_REDUCE_SCATTER:
        for (uint32_t i = 0; i < n; i++)
            shifted[i] = in[i] + from;
        combine(&out[me], 1, shifted, n, 0, to - from);
        break;
    default:
        break;
    }
    job_start_line(f->r, &(struct job_library){0}, NULL);
}

static void release(void *arg)
{
    (void)arg; /* the mapping serves all points */
}

int main(int argc, char **argv)
{
    static const struct job_library lib = {.prepare = prepare, .run = run, .release = release};
    struct floor_side f = {0};
    size_t size;

    if (argc != 3)
        return 2;
    f.r = job_region_open(argv[1]);
    f.full = strcmp(argv[2], "full") == 0;
    f.around = strcmp(argv[2], "around") == 0;
    size = MOST * 2 * f.r->ranks;
    float *all = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (all == MAP_FAILED)
        return 1;
    (void)madvise(all, size, MADV_HUGEPAGE);
    for (uint32_t i = 0; i < f.r->ranks; i++)
        for (unsigned k = 0; k < 2; k++)
            f.buf[k][i] = all + (2 * i + k) * (MOST / sizeof(float));
    f.rank = job_ranks_start(f.r);
    job_serve(f.r, f.rank, &lib, &f);
    while (wait(NULL) > 0)
        ;
    return 0;
}
