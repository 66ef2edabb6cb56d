/* SPDX-License-Identifier: Apache-2.0 */
/* The microkernels in terms of a few vector operations that the including file defines: V (vector),
 * MM_LANES, MM_NR (vectors per block), ZERO, LOADU, STOREU, BCAST, MADD(c, s, x): c += s * x. Where
 * an instruction has forms that overwrite a factor, MADD is the machine instruction that adds to c:
 * of intrinsics compilers make the other forms, too, and copy registers around them. MM_AHEAD, if
 * defined: how many bytes ahead a tile asks for its panel and, before it begins, for the sums of
 * the next tile; the hardware is slower to see that it goes on elsewhere. */

/* Rows that a tile asks for while it multiplies: one every STEP rows of its own, so that they do
 * not keep these from the first-level cache. */
struct ahead {
    const uint8_t *p;
    size_t stride;
    uint32_t rows;
    const uint8_t *sums; /* of the next tile; NULL: it is the last one */
};

#ifdef MM_PAIRS
#define ROW_LINES 2 /* of MM_WIDTH columns */
#else
#define ROW_LINES 4
#endif

static inline __attribute__((always_inline)) void ask(const uint8_t *row)
{
#pragma GCC unroll 4
    for (int i = 0; i < ROW_LINES; i++)
        _mm_prefetch((const char *)row + (size_t)i * 64, _MM_HINT_T1);
}

/* Rows of cells in one go of the loop: what is not a multiplication fills slots that other work of
 * the same physical core may need, too. */
#define STEP 4

/* Columns of a microtile. */
#define STRIP (MM_NR * MM_LANES)

/* Loads stay in their row: compilers that move them ahead of the rows before run out of registers.
 */
#define IN_ORDER() __asm__ volatile("" ::: "memory")

/* The lines that a tile needs soon: of its panel, those of STEP rows some way ahead. */
static inline __attribute__((always_inline)) void panel_ahead(const float *panel)
{
#ifdef MM_AHEAD
    _mm_prefetch((const char *)panel + MM_AHEAD, _MM_HINT_T0);
    _mm_prefetch((const char *)panel + MM_AHEAD + STEP * MM_MR * sizeof(*panel) / 2, _MM_HINT_T0);
#else
    (void)panel;
#endif
}

static inline __attribute__((always_inline)) void sums_ahead(const uint8_t *sums, size_t stride)
{
#ifdef MM_AHEAD
    if (sums == NULL)
        return;
#pragma GCC unroll 8
    for (int i = 0; i < MM_MR; i++)
        _mm_prefetch((const char *)sums + i * stride, _MM_HINT_T0);
#else
    (void)sums;
    (void)stride;
#endif
}

/* cells: where the moving cells are stored, or NULL. */
static inline __attribute__((always_inline)) void multiply(V acc[MM_MR][MM_NR], const float *panel,
                                                           const uint8_t *x, size_t stride,
                                                           uint8_t *cells, const int mr,
                                                           const int nr, const int rows)
{
#pragma GCC unroll 8
    for (int k = 0; k < rows; k++) {
        V xv[MM_NR];

        IN_ORDER();
#pragma GCC unroll 8
        for (int j = 0; j < nr; j++)
            xv[j] = LOADU(x + k * stride + (size_t)j * MM_LANES * 4);
        if (cells != NULL) {
#pragma GCC unroll 8
            for (int j = 0; j < nr; j++)
                STOREU(cells + (k * STRIP + (size_t)j * MM_LANES) * 4, xv[j]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            V s = BCAST(panel + k * mr + i);

#pragma GCC unroll 8
            for (int j = 0; j < nr; j++)
                MADD(acc[i][j], s, xv[j]);
        }
    }
}

/* The packed cells that begin with vector v. */
static inline __attribute__((always_inline)) uint8_t *strip_of(const struct mm_seg *seg, uint32_t v)
{
    return (uint8_t *)(seg->cells + (size_t)v * MM_LANES * seg->depth);
}

static inline __attribute__((always_inline)) void tile(const struct mm_block *b, uint32_t m0,
                                                       uint32_t v, const struct ahead *ahead,
                                                       const int mr, const int nr, const bool packs)
{
    const uint8_t *row = ahead->p;
    uint32_t left = ahead->rows, line = 0;
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
    sums_ahead(ahead->sums, b->out_stride);
    for (uint32_t g = 0; g < b->segs; g++) {
        const struct mm_seg *seg = &b->seg[g];
        const float *panel = seg->panels + (size_t)m0 * seg->depth;
        uint8_t *cells = NULL;
        const uint8_t *x = seg->x + v / MM_NR * seg->x_strip;
        size_t stride = seg->x_stride;
        uint32_t k = seg->depth;

        if (packs) {
            cells = strip_of(seg, v);
        } else if (seg->cells != NULL) {
            x = strip_of(seg, v);
            stride = STRIP * 4;
        }
#define ADVANCE(rows)                                     \
    (k -= (rows), x += (rows)*stride, panel += (rows)*mr, \
     cells = packs ? cells + (rows)*STRIP * 4 : NULL)
        for (; k >= STEP && left > 0; ADVANCE(STEP)) {
            _mm_prefetch((const char *)row + line, _MM_HINT_T1);
            line += 64;
            if (line == ROW_LINES * 64) {
                row += ahead->stride;
                left--;
                line = 0;
            }
            panel_ahead(panel);
            multiply(acc, panel, x, stride, cells, mr, nr, STEP);
        }
        for (; k >= STEP; ADVANCE(STEP)) {
            panel_ahead(panel);
            multiply(acc, panel, x, stride, cells, mr, nr, STEP);
        }
        for (; k > 0; ADVANCE(1))
            multiply(acc, panel, x, stride, cells, mr, nr, 1);
#undef ADVANCE
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < nr; j++)
            STOREU(out + i * b->out_stride + (size_t)j * MM_LANES * 4, acc[i][j]);
    }
    for (; left > 0; left--, row += ahead->stride)
        ask(row);
}

#define TILE(mr, nr)                                                                              \
    static __attribute__((noinline)) void tile_##mr##_##nr(const struct mm_block *b, uint32_t m0, \
                                                           uint32_t v, const struct ahead *ahead) \
    {                                                                                             \
        tile(b, m0, v, ahead, mr, nr, false);                                                     \
    }
#define TILES(nr) TILE(1, nr) TILE(2, nr) TILE(3, nr) TILE(4, nr) TILE(5, nr) TILE(6, nr)
TILES(1)
TILES(2)
#if MM_NR > 2
TILES(3)
TILES(4)
#endif
/* The first tile of a column of tiles that packs. */
static __attribute__((noinline)) void tile_packs(const struct mm_block *b, uint32_t v,
                                                 const struct ahead *ahead)
{
    tile(b, 0, v, ahead, MM_MR, MM_NR, true);
}
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

/* Where asking for the rows of a block's mm_fetch stands. */
struct cursor {
    const struct mm_fetch *fetch, *end;
    uint32_t row;   /* of *fetch */
    uint32_t share; /* rows of one tile */
};

static struct cursor cursor_of(const struct mm_block *b)
{
    struct cursor c = {.fetch = b->fetch, .end = b->fetch + b->fetches};
    uint32_t rows = 0, tiles = (b->m + MM_MR - 1) / MM_MR;

    for (const struct mm_fetch *f = c.fetch; f != c.end; f++)
        rows += f->rows;
    c.share = (rows + tiles - 1) / tiles;
    return c;
}

/* What the next tile asks for. */
static struct ahead take(struct cursor *c)
{
    struct ahead a = {0};
    uint32_t left;

    while (c->fetch != c->end && c->row == c->fetch->rows) {
        c->fetch++;
        c->row = 0;
    }
    if (c->fetch == c->end)
        return a;
    left = c->fetch->rows - c->row;
    a.p = c->fetch->p + c->row * c->fetch->stride;
    a.stride = c->fetch->stride;
    a.rows = left < c->share ? left : c->share;
    c->row += a.rows;
    return a;
}

/* Where the sums of the tile after row m of vector v begin, if there is one. */
static const uint8_t *next_sums(const struct mm_block *b, uint32_t m, uint32_t v)
{
    if (m < b->m)
        return b->out + m * b->out_stride + (size_t)v * MM_LANES * 4;
    v += MM_NR;
    return v < b->vecs ? b->out + (size_t)v * MM_LANES * 4 : NULL;
}

static void run(const struct mm_block *b)
{
    struct cursor cursor = cursor_of(b);

    for (uint32_t v = 0; v < b->vecs; v += MM_NR) {
        uint32_t nr = b->vecs - v < MM_NR ? b->vecs - v : MM_NR;

        for (uint32_t m = 0, mr; m < b->m; m += mr) {
            struct ahead ahead = take(&cursor);

            mr = mm_block_rows(b->m, m);
            ahead.sums = next_sums(b, m + mr, v);
            if (m == 0 && b->seg->cells != NULL)
                tile_packs(b, v, &ahead);
            else
                TILE_FN[nr][mr](b, m, v, &ahead);
        }
    }
}

#ifndef MM_PAIRS
static void pack(float *cells, const uint8_t *x, size_t stride, uint32_t k, uint32_t n,
                 uint32_t depth)
{
    for (; k > 0; k--, x += stride, cells += STRIP) {
        float *to = cells;
        uint32_t i = 0;

        for (; i + STRIP <= n; i += STRIP, to += (size_t)depth * STRIP)
            for (uint32_t j = 0; j < STRIP; j += MM_LANES)
                STOREU((uint8_t *)(to + j), LOADU(x + (size_t)(i + j) * 4));
        memcpy(to, x + (size_t)i * 4, (n - i) * sizeof(*to));
    }
}
#endif
