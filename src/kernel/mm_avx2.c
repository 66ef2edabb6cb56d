/* SPDX-License-Identifier: Apache-2.0 */
/* fp32 products with AVX2 and FMA: 6 rows by 2 vectors in 12 registers. */
#include "kernel/mm.h"

#include <immintrin.h>
#include <string.h>

#define V             __m256
#define MM_LANES      8
#define MM_NR         2
#define ZERO()        _mm256_setzero_ps()
#define LOADU(p)      _mm256_loadu_ps((const float *)(const void *)(p))
#define STOREU(p, v)  _mm256_storeu_ps((float *)(void *)(p), v)
#define BCAST(p)      _mm256_broadcast_ss(p)
#define MADD(c, s, x) __asm__("vfmadd231ps %2, %1, %0" : "+x"(c) : "x"(s), "x"(x))
#define MM_AHEAD      768
#include "kernel/mm_body.h"

const struct mm_kernel mm_avx2 = {.name = "avx2",
                                  .lanes = MM_LANES,
                                  .strip = STRIP,
                                  .near = 256,
                                  .blocks = 4,
                                  .run = run,
                                  .pack = pack};
