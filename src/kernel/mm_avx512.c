/* SPDX-License-Identifier: Apache-2.0 */
/* fp32 products with AVX-512: 6 rows by 4 vectors in 24 registers. */
#include "kernel/mm.h"

#include <immintrin.h>
#include <string.h>

#define V             __m512
#define MM_LANES      16
#define MM_NR         4
#define ZERO()        _mm512_setzero_ps()
#define LOADU(p)      _mm512_loadu_ps(p)
#define STOREU(p, v)  _mm512_storeu_ps(p, v)
#define BCAST(p)      _mm512_set1_ps(*(p))
#define MADD(c, s, x) __asm__("vfmadd231ps %2, %1, %0" : "+v"(c) : "v"(s), "v"(x))
#include "kernel/mm_body.h"

const struct mm_kernel mm_avx512 = {.name = "avx512",
                                    .lanes = MM_LANES,
                                    .strip = STRIP,
                                    .near = 128,
                                    .blocks = 2,
                                    .run = run,
                                    .pack = pack};
