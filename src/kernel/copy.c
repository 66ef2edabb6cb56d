/* SPDX-License-Identifier: Apache-2.0 */
/* Large copies, by what measures best (docs/kernels.md): the C library up to where the second-level
 * cache ends; then the processor's own string copy, where it is a fast one; for what no cache
 * holds, and elsewhere, stores that go around the caches and do not first read what they overwrite.
 */
#include "kernel/kernel.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define STRING_MIN ((size_t)768 << 10)
#define STREAM_MIN ((size_t)2 << 20)  /* without a fast string copy */
#define STRING_MAX ((size_t)48 << 20) /* with one */
#define LINE       64u

#ifdef __SSE2__
static void stream_copy(uint8_t *d, const uint8_t *s, size_t n)
{
    size_t head = (size_t)(-(uintptr_t)d & (LINE - 1));

    memcpy(d, s, head);
    d += head;
    s += head;
    n -= head;
    for (; n >= LINE; n -= LINE, d += LINE, s += LINE) {
        const __m128i *from = (const __m128i *)(const void *)s;
        __m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
        __m128i c = _mm_loadu_si128(from + 2), e = _mm_loadu_si128(from + 3);
        __m128i *to = (__m128i *)(void *)d;

        _mm_prefetch((const char *)(s + 512), _MM_HINT_NTA);
        _mm_stream_si128(to, a);
        _mm_stream_si128(to + 1, b);
        _mm_stream_si128(to + 2, c);
        _mm_stream_si128(to + 3, e);
    }
    _mm_sfence(); /* ordered before whatever announces the data */
    memcpy(d, s, n);
}
#endif

void kernel_copy(void *dst, const void *src, size_t n)
{
#ifdef __SSE2__
    /* Every processor with AVX-512 has the fast one. */
    bool fast = n >= STRING_MIN && __builtin_cpu_supports("avx512f");

    if (fast && n < STRING_MAX) {
        __asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
        return;
    }
    if (n >= STREAM_MIN) {
        stream_copy(dst, src, n);
        return;
    }
#endif
    memcpy(dst, src, n);
}
