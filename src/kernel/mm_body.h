/* SPDX-License-Identifier: Apache-2.0 */
/* The microkernels in terms of a few vector operations that the including file defines: V (vector),
 * MM_LANES, MM_NR (vectors per block), LOADU, STOREU, BCAST, MADD(a, b, c) = a * b + c. */

static inline __attribute__((always_inline)) void tile(const struct mm_block *b, const float *panel,
                                                       uint32_t m0, uint32_t v, const int mr,
                                                       const int nr)
{
    V acc[MM_MR][MM_NR];
    uint8_t *out = b->out + m0 * b->out_stride + (size_t)v * MM_LANES * 4;

    for (int i = 0; i < mr; i++) {
        for (int j = 0; j < nr; j++) {
            acc[i][j] = ZERO();
            _mm_prefetch((const char *)(out + i * b->out_stride + (size_t)j * MM_LANES * 4),
                         _MM_HINT_T0);
        }
    }
    for (uint32_t g = 0; g < b->segs; g++) {
        const uint8_t *x = b->seg[g].x + (size_t)v * MM_LANES * 4;
        size_t stride = b->seg[g].stride;

        for (uint32_t k = 0; k < b->seg[g].k; k++, x += stride, panel += mr) {
            V xv[MM_NR];

#pragma GCC unroll 8
            for (int j = 0; j < nr; j++)
                xv[j] = LOADU(x + (size_t)j * MM_LANES * 4);
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++) {
                V s = BCAST(panel + i);

#pragma GCC unroll 8
                for (int j = 0; j < nr; j++)
                    acc[i][j] = MADD(s, xv[j], acc[i][j]);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < nr; j++) {
            uint8_t *to = out + i * b->out_stride + (size_t)j * MM_LANES * 4;

            STOREU(to, b->acc ? ADD(LOADU(to), acc[i][j]) : acc[i][j]);
        }
    }
}

#define TILE(mr, nr)                                                           \
    static __attribute__((noinline)) void tile_##mr##_##nr(                    \
        const struct mm_block *b, const float *panel, uint32_t m0, uint32_t v) \
    {                                                                          \
        tile(b, panel, m0, v, mr, nr);                                         \
    }
#define TILES(nr) TILE(1, nr) TILE(2, nr) TILE(3, nr) TILE(4, nr) TILE(5, nr) TILE(6, nr)
TILES(1)
TILES(2)
#if MM_NR > 2
TILES(3)
TILES(4)
#endif
typedef void (*tile_fn)(const struct mm_block *b, const float *panel, uint32_t m0, uint32_t v);
#define ROW(nr)                                                                            \
    {                                                                                      \
        NULL, tile_1_##nr, tile_2_##nr, tile_3_##nr, tile_4_##nr, tile_5_##nr, tile_6_##nr \
    }
static const tile_fn TILE_FN[MM_NR + 1][MM_MR + 1] = {{NULL},
                                                      ROW(1),
                                                      ROW(2),
#if MM_NR > 2
                                                      ROW(3),
                                                      ROW(4)
#endif
};

/* The rows between the fractions i / n and e / n. */
static void prefetch(const struct mm_prefetch *f, uint32_t i, uint32_t e, uint32_t n)
{
    if (f->p == NULL)
        return;
    for (uint32_t r = f->rows * i / n; r < f->rows * e / n; r++)
        for (uint32_t at = 0; at < f->bytes; at += 64)
            _mm_prefetch((const char *)(f->p + r * f->stride + at), _MM_HINT_T1);
}

static void run(const struct mm_block *b)
{
    for (uint32_t v = 0; v < b->vecs; v += MM_NR) {
        uint32_t nr = b->vecs - v < MM_NR ? b->vecs - v : MM_NR;
        const float *panel = b->panels;

        for (uint32_t m = 0; m < b->m;) {
            uint32_t mr = mm_block_rows(b->m, m);

            for (uint32_t i = 0; i <= MM_SEGS && v == 0; i++)
                prefetch(&b->next[i], m, m + mr, b->m);
            TILE_FN[nr][mr](b, panel, m, v);
            panel += (size_t)mr * b->k;
            m += mr;
        }
    }
}
