/* SPDX-License-Identifier: Apache-2.0 */
/* Large copies, by what measures best. Up to where the second-level cache ends that is the C
 * library everywhere. Beyond, it is either a copy through the caches (the processor's string copy
 * where it is a fast one) or stores that go around them and do not first read what they overwrite,
 * and for these the source is asked for ahead, as lines to keep or as lines that are read once.
 * Which one, and from what size on, depends on the processor and on the cache that this process
 * gets of a machine that others use too, and what the processor says of it does not help
 * (docs/kernels.md). So the first copies of a size class are made each way in turns and timed, the
 * later ones by the way that was fastest. */
#include "kernel/kernel_int.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#ifdef __SSE2__

#define STRING_MIN ((size_t)768 << 10)
#define TRY_SHIFT  21 /* classes begin at 2 MiB, each twice as large as the one before */
#define CLASSES    6
#define TRIES      12 /* timed copies of a class, the ways in turns */
#define LINE       64u
#define AHEAD      4096u /* how far ahead of the copy its source is asked for */
#define NEAR       512u  /* the same for pieces */

enum way { THROUGH, AROUND, AROUND_ONCE, WAYS };
enum ask { ASK_KEEP, ASK_ONCE, ASK_NEAR };

/* The source is asked for a page ahead: where its pages are small, the walk of the next page's
 * table is over when the copy gets there. Behind a piece of a source lies what is not copied, and
 * another rank may be writing it, so for these it is asked for nearby. */
#define ASK_AHEAD(s, ask)                                          \
    do {                                                           \
        if ((ask) == ASK_KEEP)                                     \
            _mm_prefetch((const char *)(s) + AHEAD, _MM_HINT_T0);  \
        else if ((ask) == ASK_ONCE)                                \
            _mm_prefetch((const char *)(s) + AHEAD, _MM_HINT_NTA); \
        else                                                       \
            _mm_prefetch((const char *)(s) + NEAR, _MM_HINT_NTA);  \
    } while (0)

static void stream_copy(uint8_t *d, const uint8_t *s, size_t n, enum ask ask)
{
    for (; n >= LINE; n -= LINE, d += LINE, s += LINE) {
        const __m128i *from = (const __m128i *)(const void *)s;
        __m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
        __m128i c = _mm_loadu_si128(from + 2), e = _mm_loadu_si128(from + 3);
        __m128i *to = (__m128i *)(void *)d;

        ASK_AHEAD(s, ask);
        _mm_stream_si128(to, a);
        _mm_stream_si128(to + 1, b);
        _mm_stream_si128(to + 2, c);
        _mm_stream_si128(to + 3, e);
    }
    memcpy(d, s, n);
}

/* A whole line per store. */
__attribute__((target("avx512f"))) static void stream_copy512(uint8_t *d, const uint8_t *s,
                                                              size_t n, enum ask ask)
{
    for (; n >= 4 * LINE; n -= 4 * LINE, d += 4 * LINE, s += 4 * LINE)
        for (unsigned i = 0; i < 4 * LINE; i += LINE) {
            ASK_AHEAD(s + i, ask);
            _mm512_stream_si512((__m512i *)(void *)(d + i), _mm512_loadu_si512(s + i));
        }
    memcpy(d, s, n);
}

static void copy_around(void *dst, const void *src, size_t n, bool avx512, enum ask ask)
{
    uint8_t *d = dst;
    const uint8_t *s = src;
    size_t head = (size_t)(-(uintptr_t)d & (LINE - 1));

    head = head < n ? head : n;
    memcpy(d, s, head);
    (avx512 ? stream_copy512 : stream_copy)(d + head, s + head, n - head, ask);
}

static void copy_through(void *dst, const void *src, size_t n, bool avx512)
{
    if (avx512) /* every processor with AVX-512 has the fast string copy */
        __asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
    else
        memcpy(dst, src, n);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* What was measured of a size class: picoseconds per KiB, the least of each way. Threads that
 * measure at once may lose a figure to each other; any value is a legal choice. */
struct copy_class {
    _Atomic uint32_t tries;
    _Atomic uint64_t best[WAYS]; /* 0: none yet */
};

static enum way fastest(struct copy_class *c)
{
    uint64_t best[WAYS];
    enum way way = THROUGH;

    for (unsigned i = 0; i < WAYS; i++) {
        best[i] = atomic_load_explicit(&c->best[i], memory_order_relaxed);
        if (best[i] < best[way])
            way = i;
    }
    return way;
}

static void class_copy(struct copy_class *c, void *dst, const void *src, size_t n, bool avx512)
{
    uint32_t tries = atomic_load_explicit(&c->tries, memory_order_relaxed);
    bool timed = tries < TRIES;
    enum way way = timed ? (enum way)(tries % WAYS) : fastest(c);
    uint64_t start = 0, took, best;

    if (timed) {
        atomic_store_explicit(&c->tries, tries + 1, memory_order_relaxed);
        start = now_ns();
    }
    if (way == THROUGH)
        copy_through(dst, src, n, avx512);
    else
        copy_around(dst, src, n, avx512, way == AROUND_ONCE ? ASK_ONCE : ASK_KEEP);
    k_around_end();
    if (!timed)
        return;
    took = (now_ns() - start) * 1000 / (n >> 10) + 1;
    best = atomic_load_explicit(&c->best[way], memory_order_relaxed);
    if (best == 0 || took < best)
        atomic_store_explicit(&c->best[way], took, memory_order_relaxed);
}

#endif

#ifdef __SSE2__
/* What is read once goes to all destinations, which begin lines. */
__attribute__((target("avx512f"))) static void stream_spread512(void *const *dst, unsigned ndst,
                                                                size_t at, const uint8_t *s,
                                                                size_t n)
{
    for (size_t i = 0; i < n; i += LINE) {
        __m512i v = _mm512_loadu_si512(s + i);

        for (unsigned d = 0; d < ndst; d++)
            _mm512_stream_si512((__m512i *)(void *)((uint8_t *)dst[d] + at + i), v);
    }
}
#endif

void k_around_copy(void *const *dst, unsigned ndst, size_t at, const void *src, size_t n)
{
#ifdef __SSE2__
    bool avx512 = __builtin_cpu_supports("avx512f"), lines = n % LINE == 0;

    for (unsigned d = 0; d < ndst; d++)
        lines = lines && ((uintptr_t)dst[d] + at) % LINE == 0;
    if (avx512 && lines) {
        stream_spread512(dst, ndst, at, src, n);
        return;
    }
    for (unsigned d = 0; d < ndst; d++)
        copy_around((uint8_t *)dst[d] + at, src, n, avx512, ASK_NEAR);
#else
    for (unsigned d = 0; d < ndst; d++)
        memcpy((uint8_t *)dst[d] + at, src, n);
#endif
}

/* Orders the stores before whatever announces the data. */
void k_around_end(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}

void kernel_copy(void *dst, const void *src, size_t n)
{
#ifdef __SSE2__
    static struct copy_class classes[CLASSES];

    if (n >= (size_t)1 << TRY_SHIFT) {
        unsigned class = 63u - (unsigned)__builtin_clzll(n) - TRY_SHIFT;

        class_copy(&classes[class < CLASSES ? class : CLASSES - 1], dst, src, n,
                   __builtin_cpu_supports("avx512f"));
        return;
    }
    if (n >= STRING_MIN && __builtin_cpu_supports("avx512f")) {
        copy_through(dst, src, n, true);
        return;
    }
#endif
    memcpy(dst, src, n);
}
