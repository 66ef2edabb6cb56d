/* SPDX-License-Identifier: Apache-2.0 */
/* The microkernels in terms of a few vector operations that the including file defines: V (vector),
 * MM_LANES, MM_NR (vectors per block), ZERO, LOADU, STOREU, BCAST, MADD(c, s, x): c += s * x. Where
 * an instruction has forms that overwrite a factor, MADD is the machine instruction that adds to c:
 * of intrinsics compilers make the other forms, too, and copy registers around them. MM_AHEAD, if
 * defined: how many bytes ahead a tile asks for its panel and, before it begins, for the sums of
 * the next tile; the hardware is slower to see that it goes on elsewhere. */

/* Rows that a tile asks for while it multiplies, a line every STEP rows of its own, so that they do
 * not keep these from the first-level cache. */
struct ahead {
    const uint8_t *p;
    size_t stride;
    uint32_t rows;
    uint32_t bytes; /* of a row */
    uint32_t at;    /* bytes of the first one that were asked for */
};

static inline __attribute__((always_inline)) void ask_line(struct ahead *a)
{
    _mm_prefetch((const char *)a->p + a->at, _MM_HINT_T1);
    a->at += 64;
    if (a->at >= a->bytes) {
        a->p += a->stride;
        a->rows--;
        a->at = 0;
    }
}

/* Rows of cells in one go of the loop: what is not a multiplication fills slots that other work of
 * the same physical core may need, too. */
#ifndef STEP
#define STEP 4
#endif

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

/* Where asking for rows stands. */
struct cursor {
    const struct mm_fetch *fetch, *end;
    uint32_t row;   /* of *fetch */
    uint32_t share; /* rows of one tile */
};

static struct cursor cursor_of(const struct mm_fetch *fetch, uint32_t fetches, uint32_t tiles)
{
    struct cursor c = {.fetch = fetch, .end = fetch + fetches};
    uint32_t rows = 0;

    for (const struct mm_fetch *f = c.fetch; f != c.end; f++)
        rows += f->rows;
    c.share = (rows + tiles - 1) / tiles;
    return c;
}

/* What the next tile asks for. */
static inline __attribute__((always_inline)) struct ahead take(struct cursor *c)
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
    a.bytes = c->fetch->bytes;
    a.rows = left < c->share ? left : c->share;
    c->row += a.rows;
    return a;
}

/* Tiles of the same vectors and of as many rows, one below the other: entering each by a call of
 * its own took twice as long as what is left. */
struct stack {
    uint32_t v; /* first vector */
    uint32_t m; /* first row */
    uint32_t tiles;
    const uint8_t *next; /* sums of the tile after them; NULL: there is none */
};

/* A segment as the tiles of a stack meet it, one after the other. */
struct meet {
    const float *panel;
    const uint8_t *x;
    size_t stride;
    uint8_t *cells; /* where the moving cells are stored; NULL: nowhere */
    uint32_t depth;
};

static inline __attribute__((always_inline)) struct meet meet_of(const struct mm_seg *seg,
                                                                 const struct stack *at,
                                                                 const bool packs)
{
    struct meet t = {.panel = seg->panels + (size_t)at->m * seg->depth,
                     .x = seg->x + at->v / MM_NR * seg->x_strip,
                     .stride = seg->x_stride,
                     .depth = seg->depth};
    uint8_t *cells;

    if (seg->cells == NULL)
        return t;
    cells = (uint8_t *)(seg->cells + (size_t)at->v * MM_LANES * seg->depth);
    if (packs) {
        t.cells = cells;
    } else {
        t.x = cells;
        t.stride = STRIP * 4;
    }
    return t;
}

/* The segment's products; its panel is the next tile's afterwards. */
static inline __attribute__((always_inline)) void meet(V acc[MM_MR][MM_NR], struct meet *seg,
                                                       struct ahead *ahead, const int mr,
                                                       const int nr, const bool packs)
{
    const float *panel = seg->panel;
    const uint8_t *x = seg->x;
    const size_t stride = seg->stride;
    uint8_t *cells = packs ? seg->cells : NULL;
    uint32_t k = seg->depth;

#define ADVANCE(rows)                                     \
    (k -= (rows), x += (rows)*stride, panel += (rows)*mr, \
     cells = packs ? cells + (rows)*STRIP * 4 : NULL)
    for (; k >= STEP && ahead->rows > 0; ADVANCE(STEP)) {
        ask_line(ahead);
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
    seg->panel = panel;
}

static inline __attribute__((always_inline)) void load_sums(V acc[MM_MR][MM_NR], const uint8_t *out,
                                                            size_t stride, const int mr,
                                                            const int nr, bool acc_in)
{
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < nr; j++)
            acc[i][j] = acc_in ? LOADU(out + i * stride + (size_t)j * MM_LANES * 4) : ZERO();
    }
}

static inline __attribute__((always_inline)) void store_sums(uint8_t *out, size_t stride,
                                                             V acc[MM_MR][MM_NR], const int mr,
                                                             const int nr)
{
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < nr; j++)
            STOREU(out + i * stride + (size_t)j * MM_LANES * 4, acc[i][j]);
    }
}

static inline __attribute__((always_inline)) void tiles(const struct mm_block *b,
                                                        const struct stack *at,
                                                        struct cursor *cursor, const int mr,
                                                        const int nr, const bool packs)
{
    const uint32_t segs = b->segs;
    const size_t stride = b->out_stride;
    uint8_t *out = b->out + at->m * stride + (size_t)at->v * MM_LANES * 4;
    struct meet seg[MM_SEGS];

    for (uint32_t g = 0; g < segs; g++)
        seg[g] = meet_of(&b->seg[g], at, packs);
    for (uint32_t left = at->tiles; left > 0; left--, out += mr * stride) {
        struct ahead ahead = take(cursor);
        V acc[MM_MR][MM_NR];

        load_sums(acc, out, stride, mr, nr, b->acc);
        sums_ahead(left > 1 ? out + mr * stride : at->next, stride);
        for (uint32_t g = 0; g < segs; g++)
            meet(acc, &seg[g], &ahead, mr, nr, packs);
        store_sums(out, stride, acc, mr, nr);
        while (ahead.rows > 0)
            ask_line(&ahead);
    }
}

#define TILES_FN(mr, nr)                                                         \
    static __attribute__((noinline)) void tiles_##mr##_##nr(                     \
        const struct mm_block *b, const struct stack *at, struct cursor *cursor) \
    {                                                                            \
        tiles(b, at, cursor, mr, nr, false);                                     \
    }
#define TILES(nr)   \
    TILES_FN(1, nr) \
    TILES_FN(2, nr) TILES_FN(3, nr) TILES_FN(4, nr) TILES_FN(5, nr) TILES_FN(6, nr)
TILES(1)
TILES(2)
#if MM_NR > 2
TILES(3)
TILES(4)
#endif
/* The first tile of a column of tiles that packs. */
static __attribute__((noinline)) void tile_packs(const struct mm_block *b, const struct stack *at,
                                                 struct cursor *cursor)
{
    tiles(b, at, cursor, MM_MR, MM_NR, true);
}
typedef void (*tiles_fn)(const struct mm_block *b, const struct stack *at, struct cursor *cursor);
#define ROW(nr)                                                                                  \
    {                                                                                            \
        NULL, tiles_1_##nr, tiles_2_##nr, tiles_3_##nr, tiles_4_##nr, tiles_5_##nr, tiles_6_##nr \
    }
static const tiles_fn TILES_OF[MM_NR + 1][MM_MR + 1] = {{NULL},
                                                        ROW(1),
                                                        ROW(2),
#if MM_NR > 2
                                                        ROW(3),
                                                        ROW(4)
#endif
};

/* Where the sums of the tile at row m of vector v begin; if m is no row, of the next column of
 * tiles; NULL: there is none. */
static const uint8_t *sums_from(const struct mm_block *b, uint32_t m, uint32_t v)
{
    if (m < b->m)
        return b->out + m * b->out_stride + (size_t)v * MM_LANES * 4;
    v += MM_NR;
    return v < b->vecs ? b->out + (size_t)v * MM_LANES * 4 : NULL;
}

/* All rows of the vectors from v on, the width of a tile. */
static void column(const struct mm_block *b, uint32_t v, struct cursor *cursor)
{
    uint32_t nr = b->vecs - v < MM_NR ? b->vecs - v : MM_NR;

    for (uint32_t m = 0; m < b->m;) {
        const bool packs = m == 0 && b->seg->cells != NULL;
        const uint32_t mr = mm_block_rows(b->m, m);
        struct stack at = {.v = v, .m = m};

        do {
            m += mr;
            at.tiles++;
        } while (!packs && m < b->m && mm_block_rows(b->m, m) == mr);
        at.next = sums_from(b, m, v);
        (packs ? tile_packs : TILES_OF[nr][mr])(b, &at, cursor);
    }
}

/* What column(v) reads where it lies if the block packs on its way; returns how many. */
static uint32_t strip_at(const struct mm_block *b, uint32_t v, struct mm_fetch *fetch)
{
    if (b->seg->cells == NULL)
        return 0;
    for (uint32_t g = 0; g < b->segs; g++) {
        const struct mm_seg *seg = &b->seg[g];

        fetch[g] = (struct mm_fetch){seg->x + v / MM_NR * seg->x_strip, seg->x_stride, seg->depth,
                                     STRIP * 4};
    }
    return b->segs;
}

static void run(const struct mm_block *b)
{
    const uint32_t tiles = (b->m + MM_MR - 1) / MM_MR;

    for (uint32_t v = 0; v < b->vecs; v += MM_NR) {
        struct mm_fetch strip[MM_SEGS];
        struct cursor cursor = v + MM_NR < b->vecs
                                   ? cursor_of(strip, strip_at(b, v + MM_NR, strip), tiles)
                                   : cursor_of(b->fetch, b->fetches, tiles);

        column(b, v, &cursor);
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
