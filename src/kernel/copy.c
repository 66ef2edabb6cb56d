/* SPDX-License-Identifier: Apache-2.0 */
/* Large copies. Stores that go around the caches do not first read what they overwrite, which is
 * worth a third of the traffic once the data do not stay in the caches anyway. */
#include "kernel/kernel.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define STREAM_MIN ((size_t)2 << 20) /* measured: below, cached stores are at least as fast */
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
    if (n >= STREAM_MIN) {
        stream_copy(dst, src, n);
        return;
    }
#endif
    memcpy(dst, src, n);
}
