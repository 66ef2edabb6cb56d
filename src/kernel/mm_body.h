/* SPDX-License-Identifier: Apache-2.0 */
/* The microkernels in terms of a few vector operations that the including file defines: V (vector),
 * MM_LANES, MM_NR (vectors per block), ZERO, LOADU, STOREU, BCAST, MADD(a, b, c) = a * b + c. */

/* Lines that a tile asks for while it multiplies: one every AHEAD_EVERY rows, so that they do not
 * keep its own from the first-level cache. */
struct ahead {
    const uint8_t *line[MM_DEPTH];
    uint32_t n;
};

#define AHEAD_EVERY 4

static inline __attribute__((always_inline)) void tile(const struct mm_block *b, uint32_t m0,
                                                       uint32_t v, const struct ahead *ahead,
                                                       const int mr, const int nr)
{
    const uint8_t *const *line = ahead->line, *const *end = line + ahead->n;
    V acc[MM_MR][MM_NR];
    uint8_t *out = b->out + m0 * b->out_stride + (size_t)v * MM_LANES * 4;

#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < nr; j++) {
            const uint8_t *from = out + i * b->out_stride + (size_t)j * MM_LANES * 4;

            acc[i][j] = b->acc ? LOADU(from) : ZERO();
        }
    }
    for (uint32_t g = 0; g < b->segs; g++) {
        const float *panel = b->seg[g].panels + (size_t)m0 * b->seg[g].depth;
        const uint8_t *x = b->seg[g].x + (size_t)v * MM_LANES * 4;
        size_t stride = b->seg[g].x_stride;

        for (uint32_t k = b->seg[g].depth; k > 0; k--, x += stride, panel += mr) {
            V xv[MM_NR];

            if (k % AHEAD_EVERY == 0 && line != end)
                _mm_prefetch((const char *)*line++, _MM_HINT_T1);
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
        for (int j = 0; j < nr; j++)
            STOREU(out + i * b->out_stride + (size_t)j * MM_LANES * 4, acc[i][j]);
    }
    while (line != end)
        _mm_prefetch((const char *)*line++, _MM_HINT_T1);
}

#define TILE(mr, nr)                                                                              \
    static __attribute__((noinline)) void tile_##mr##_##nr(const struct mm_block *b, uint32_t m0, \
                                                           uint32_t v, const struct ahead *ahead) \
    {                                                                                             \
        tile(b, m0, v, ahead, mr, nr);                                                            \
    }
#define TILES(nr) TILE(1, nr) TILE(2, nr) TILE(3, nr) TILE(4, nr) TILE(5, nr) TILE(6, nr)
TILES(1)
TILES(2)
#if MM_NR > 2
TILES(3)
TILES(4)
#endif
typedef void (*tile_fn)(const struct mm_block *b, uint32_t m0, uint32_t v,
                        const struct ahead *ahead);
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

static void fetch_row(struct ahead *a, const uint8_t *p, uint32_t bytes)
{
    for (uint32_t at = 0; at < bytes; at += 64) {
        if (a->n < MM_DEPTH)
            a->line[a->n++] = p + at;
        else
            _mm_prefetch((const char *)(p + at), _MM_HINT_T1);
    }
}

/* Computing rows m to e: their share of what is to be fetched. */
static void fetch_share(const struct mm_block *b, uint32_t m, uint32_t e, struct ahead *a)
{
    for (uint32_t i = 0; i < b->fetches; i++) {
        const struct mm_fetch *f = &b->fetch[i];

        for (uint32_t r = f->rows * m / b->m; r < f->rows * e / b->m; r++)
            fetch_row(a, f->p + r * f->stride, f->bytes);
    }
}

static void run(const struct mm_block *b)
{
    struct ahead ahead;

    for (uint32_t v = 0; v < b->vecs; v += MM_NR) {
        uint32_t nr = b->vecs - v < MM_NR ? b->vecs - v : MM_NR;

        for (uint32_t m = 0, mr; m < b->m; m += mr) {
            mr = mm_block_rows(b->m, m);
            ahead.n = 0;
            if (v == 0)
                fetch_share(b, m, m + mr, &ahead);
            TILE_FN[nr][mr](b, m, v, &ahead);
        }
    }
}

#ifndef MM_PAIRS
static void pack(float *cells, const uint8_t *x, size_t stride, uint32_t k, uint32_t n)
{
    for (; k > 0; k--, x += stride, cells += MM_WIDTH) {
        uint32_t i = 0;

        for (; i + MM_LANES <= n; i += MM_LANES)
            STOREU((uint8_t *)(cells + i), LOADU(x + (size_t)i * 4));
        memcpy(cells + i, x + (size_t)i * 4, (n - i) * sizeof(*cells));
    }
}
#endif
