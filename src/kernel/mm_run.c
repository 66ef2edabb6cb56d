/* SPDX-License-Identifier: Apache-2.0 */
/* nc_matmul through the microkernels: packing, blocks of columns, host threads. Every element is
 * summed in the order of k whatever the blocks and threads are, so their number changes no bit. */
#include "kernel/kernel_int.h"

#include <string.h>

#include "kernel/mm.h"
#include "run/run.h"

#define AHEAD      8  /* rows that packing fetches ahead */
#define JOBS       32 /* records that one pass prepares */
#define OUT_BYTES  ((size_t)ISA_PARTITIONS * MM_WIDTH * 4)
#define PART_BYTES (MM_PANELS + MM_BLOCK + OUT_BYTES)
#define MAX_PARTS  ((unsigned)(K_PACK_BYTES / PART_BYTES))

struct job {
    struct k_run r;
    const struct mm_kernel *mm;
    uint32_t pairs; /* elements of one k row: 2 with double_row */
    uint32_t k, m, n;
    uint32_t depth;  /* rows of cells: k, or pairs of them */
    bool x_direct;   /* moving rows are fp32 in memory */
    bool out_direct; /* dst rows are fp32 in memory */
};

/* The records of one op. */
struct jobs {
    const struct job *job;
    unsigned count, parts;
};

/* Buffers of one part. */
struct part {
    float *panels;
    uint8_t *x, *out;
};

static struct part part_buffers(const struct kernel_core *kc, unsigned part)
{
    uint8_t *p = (uint8_t *)kc->scratch + K_SCRATCH_PACK + part * PART_BYTES;

    return (struct part){(float *)(void *)p, p + MM_PANELS, p + MM_PANELS + MM_BLOCK};
}

/* ---- packing --------------------------------------------------------------------------------- */

/* n elements from column c of k row `k` of tile i as fp32. */
static const float *row_f32(const struct job *j, unsigned i, uint32_t k, uint32_t width, uint32_t c,
                            uint32_t n, float *buf)
{
    return k_read(&j->r, i, k / j->pairs, k % j->pairs * width + c, n, buf);
}

/* The same as bf16, which both tiles are then. */
static const uint16_t *row_bf16(const struct job *j, unsigned i, uint32_t k, uint32_t width,
                                uint32_t c, uint32_t n, uint16_t *buf)
{
    const struct k_tile *t = &j->r.rec->t[i];
    const uint8_t *row = k_row(&j->r, i, k / j->pairs);
    uint32_t start = k % j->pairs * width + c;

    if (t->contig)
        return (const uint16_t *)(const void *)(row + (size_t)start * 2);
    k_gather(t, row, start, n, buf);
    return buf;
}

/* Row kk of cells of tile i: columns [c, c + n) of a tile of the given width. */
static const float *cells(const struct job *j, unsigned i, uint32_t kk, uint32_t width, uint32_t c,
                          uint32_t n, float *buf)
{
    uint16_t a[ISA_PARTITIONS], b[ISA_PARTITIONS];
    const uint16_t *lo, *hi;

    if (!j->mm->pairs)
        return row_f32(j, i, kk, width, c, n, buf);
    lo = row_bf16(j, i, 2 * kk, width, c, n, a);
    hi = 2 * kk + 1 < j->k ? row_bf16(j, i, 2 * kk + 1, width, c, n, b) : NULL;
    j->mm->interleave((uint32_t *)(void *)buf, lo, hi, n);
    return buf;
}

/* Spread row kk (m cells) over the panels, which are depth rows long. */
static void to_panels(float *panels, uint32_t kk, uint32_t depth, const float *row, uint32_t n)
{
    uint32_t m = 0;

    for (; n - m > 8 || n - m == MM_MR; m += MM_MR, panels += (size_t)MM_MR * depth)
        memcpy(panels + (size_t)kk * MM_MR, row + m, MM_MR * sizeof(*row));
    while (m < n) {
        uint32_t mr = mm_block_rows(n, m);

        memcpy(panels + (size_t)kk * mr, row + m, mr * sizeof(*row));
        panels += (size_t)mr * depth;
        m += mr;
    }
}

/* Rows lie far apart, where hardware does not look ahead. */
static void fetch_row(const struct job *j, unsigned i, uint32_t kk, uint32_t c, uint32_t n)
{
    const struct k_tile *t = &j->r.rec->t[i];
    uint32_t k = kk * (j->mm->pairs ? 2 : 1);
    const uint8_t *p;

    if (!t->contig || j->pairs > 1 || k + 1 >= t->nparts)
        return;
    p = k_row(&j->r, i, k) + (size_t)c * t->esize;
    for (uint32_t at = 0; at < n * t->esize; at += 64) {
        __builtin_prefetch(p + at);
        if (j->mm->pairs)
            __builtin_prefetch(p + j->r.stride[i] + at);
    }
}

/* The stationary tiles of n joined records. */
static void pack_stationary(const struct job *j, unsigned n, float *panels)
{
    uint32_t depth = 0, at = 0;
    float row[ISA_PARTITIONS];

    for (unsigned g = 0; g < n; g++)
        depth += j[g].depth;
    for (unsigned g = 0; g < n; g++)
        for (uint32_t kk = 0; kk < j[g].depth; kk++) {
            fetch_row(&j[g], 1, kk + AHEAD, 0, j->m);
            to_panels(panels, at++, depth, cells(&j[g], 1, kk, j->m, 0, j->m, row), j->m);
        }
}

/* Columns [c, c + n) of the moving tile into x, rows of MM_WIDTH cells; columns up to the next
 * vector are zero. */
static void pack_moving(const struct job *j, uint8_t *x, uint32_t c, uint32_t n, uint32_t padded)
{
    for (uint32_t kk = 0; kk < j->depth; kk++) {
        float *out = (float *)(void *)(x + (size_t)kk * MM_WIDTH * 4);
        const float *in;

        fetch_row(j, 2, kk + AHEAD, c, n);
        in = cells(j, 2, kk, j->n, c, n, out);

        if (in != out)
            memcpy(out, in, n * sizeof(*out));
        for (uint32_t i = n; i < padded; i++)
            out[i] = 0.0f;
    }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* A block's result rows from the buffer to dst. */
static void deliver(const struct job *j, const struct mm_block *b, uint32_t c, uint32_t n)
{
    const struct k_run *r = &j->r;
    float old[MM_WIDTH];

    for (uint32_t m = 0; m < j->m; m++) {
        float *sum = (float *)(void *)(b->out + m * b->out_stride);

        if (r->rec->acc)
            r->vec->bin[ISA_ALU_ADD](sum, k_read(r, 0, m, c, n, old), sum, n);
        k_write(r, 0, m, c, n, sum);
    }
}

/* Columns [c, c + n) of n_jobs joined records. */
static void one_block(const struct job *j, unsigned n_jobs, const struct part *p, uint32_t c,
                      uint32_t n, struct mm_block *b)
{
    const struct k_run *r = &j->r;
    uint32_t vecs = (n + j->mm->lanes - 1) / j->mm->lanes, padded = vecs * j->mm->lanes;
    bool whole = padded == n;
    uint8_t *x = p->x;

    b->panels = p->panels;
    b->m = j->m;
    b->vecs = vecs;
    b->k = 0;
    b->segs = n_jobs;
    b->acc = false;
    for (unsigned g = 0; g < n_jobs; g++) {
        b->seg[g].k = j[g].depth;
        b->k += j[g].depth;
        if (j[g].x_direct && whole) {
            b->seg[g].x = k_row(&j[g].r, 2, 0) + (size_t)c * 4;
            b->seg[g].stride = j[g].r.stride[2];
        } else {
            pack_moving(&j[g], x, c, n, padded);
            b->seg[g].x = x;
            b->seg[g].stride = MM_WIDTH * 4;
            x += (size_t)j[g].depth * MM_WIDTH * 4;
        }
    }
    if (j->out_direct && whole) {
        b->out = k_row(r, 0, 0) + (size_t)c * 4;
        b->out_stride = r->stride[0];
        b->acc = r->rec->acc;
        j->mm->run(b);
    } else {
        b->out = p->out;
        b->out_stride = MM_WIDTH * 4;
        j->mm->run(b);
        deliver(j, b, c, n);
    }
}

/* Rows of tile i from element c on, n of them, for a prefetch; nothing for scattered patterns. */
static struct mm_prefetch rows_of(const struct k_run *r, unsigned i, uint32_t c, uint32_t n)
{
    const struct k_tile *t = &r->rec->t[i];

    if (!t->contig || c >= t->n)
        return (struct mm_prefetch){0};
    if (n > t->n - c)
        n = t->n - c;
    return (struct mm_prefetch){k_row(r, i, 0) + (size_t)c * t->esize, r->stride[i], t->nparts,
                                n * t->esize};
}

/* Column blocks [first, last) of j that the part takes. */
static void share(const struct job *j, unsigned parts, unsigned part, uint32_t *first,
                  uint32_t *last)
{
    uint32_t blocks = (j->n + MM_WIDTH - 1) / MM_WIDTH;

    *first = blocks * part / parts;
    *last = blocks * (part + 1) / parts;
}

static bool same_place(const struct job *a, const struct job *b, unsigned tile)
{
    const struct k_tile *x = &a->r.rec->t[tile], *y = &b->r.rec->t[tile];

    return a->r.row[tile] == b->r.row[tile] && x->mem == y->mem && x->dtype == y->dtype &&
           x->n == y->n && x->nparts == y->nparts && x->ndim == y->ndim &&
           memcmp(x->dim, y->dim, x->ndim * sizeof(x->dim[0])) == 0;
}

/* How many records from j on (at most left) may be summed in one pass: each accumulates into the
 * fp32 cells of the one before. */
static unsigned joined(const struct job *j, unsigned left)
{
    uint32_t depth = j->depth;
    unsigned n = 1;

    if (!j->out_direct)
        return 1;
    for (; n < left && n < MM_SEGS; n++) {
        const struct job *a = &j[n];

        depth += a->depth;
        if (!a->r.rec->acc || a->mm != j->mm || a->m != j->m || a->n != j->n || depth > MM_K_MAX ||
            !same_place(j, a, 0))
            break;
    }
    return n;
}

/* What the block after block b (of [first, last)) reads: its moving columns, or those of the first
 * block of the records that follow, and a share of their stationary tiles. */
static void plan_prefetch(const struct jobs *all, unsigned part, unsigned i, unsigned n, uint32_t b,
                          uint32_t first, uint32_t last, struct mm_prefetch *next)
{
    const struct job *j = &all->job[i];
    unsigned after = i + n < all->count ? joined(j + n, all->count - i - n) : 0;

    memset(next, 0, (MM_SEGS + 1) * sizeof(*next));
    if (b + 1 < last) {
        for (unsigned g = 0; g < n; g++)
            next[g] = rows_of(&j[g].r, 2, (b + 1) * MM_WIDTH, MM_WIDTH);
    } else if (after > 0) {
        uint32_t f, l;

        share(j + n, all->parts, part, &f, &l);
        for (unsigned g = 0; g < after; g++)
            next[g] = rows_of(&j[n + g].r, 2, f * MM_WIDTH, MM_WIDTH);
    }
    if (after > 0) {
        /* block q of the share brings part of tile q * after / blocks */
        uint32_t q = b - first, blocks = last - first, g = q * after / blocks;
        struct mm_prefetch s = rows_of(&j[n + g].r, 1, 0, j[n + g].m);
        uint32_t q0 = (g * blocks + after - 1) / after;
        uint32_t q1 = ((g + 1) * blocks + after - 1) / after;
        uint32_t from = s.rows * (q - q0) / (q1 - q0);

        s.rows = s.rows * (q + 1 - q0) / (q1 - q0) - from;
        if (s.p != NULL)
            s.p += from * s.stride;
        next[MM_SEGS] = s;
    }
}

/* Part p takes a contiguous share of the column blocks of every record. */
static void run_part(void *arg, unsigned part)
{
    const struct jobs *all = arg;
    struct part p = part_buffers(all->job[0].r.kc, part);
    const struct job *packed = NULL;
    unsigned n;

    for (unsigned i = 0; i < all->count; i += n) {
        const struct job *j = &all->job[i];
        uint32_t first, last;

        n = joined(j, all->count - i);
        share(j, all->parts, part, &first, &last);
        if (first == last)
            continue;
        /* a stationary tile that stays needs no second packing */
        if (n > 1 || packed == NULL || packed->mm != j->mm || packed->k != j->k ||
            !same_place(packed, j, 1))
            pack_stationary(j, n, p.panels);
        packed = n == 1 ? j : NULL;
        for (uint32_t b = first; b < last; b++) {
            uint32_t c = b * MM_WIDTH;
            struct mm_block block;

            plan_prefetch(all, part, i, n, b, first, last, block.next);
            one_block(j, n, &p, c, j->n - c < MM_WIDTH ? j->n - c : MM_WIDTH, &block);
        }
    }
}

/* ---- records --------------------------------------------------------------------------------- */

static bool f32_like(uint8_t dtype)
{
    return dtype == DT_FP32 || dtype == DT_FP32R || dtype == DT_TF32;
}

static void job_init(struct job *j)
{
    const struct k_rec *rec = j->r.rec;

    j->mm = rec->mm;
    j->pairs = rec->perf_mode == 1 ? 2 : 1;
    j->k = rec->t[1].nparts * j->pairs;
    j->m = rec->t[1].n / j->pairs;
    j->n = rec->t[2].n / j->pairs;
    j->depth = j->mm->pairs ? (j->k + 1) / 2 : j->k;
    j->x_direct = !j->mm->pairs && j->pairs == 1 && rec->t[2].contig && f32_like(rec->t[2].dtype);
    j->out_direct = rec->t[0].contig && f32_like(rec->t[0].dtype) && rec->t[0].dtype != DT_TF32;
}

/* Gathering uses the core's one set of buffers and rounding its generators, so only plain rows are
 * shared out between threads. */
static bool shareable(const struct job *j)
{
    const struct k_rec *rec = j->r.rec;

    return rec->t[0].contig && rec->t[1].contig && rec->t[2].contig &&
           !j->r.kc->stochastic_rounding;
}

/* Multiplications below which waking another thread costs more than it brings (some 40 us). */
#define SHARE_MIN (1u << 21)

static void run_jobs(struct kernel_core *kc, const struct job *job, unsigned count)
{
    struct jobs all = {.job = job, .count = count, .parts = run_pool_size(kc->pool)};
    uint64_t work = 0;

    for (unsigned i = 0; i < count; i++) {
        work += (uint64_t)job[i].k * job[i].m * job[i].n;
        if (!shareable(&job[i]))
            all.parts = 1;
    }
    if (work < SHARE_MIN)
        all.parts = 1;
    if (all.parts > MAX_PARTS)
        all.parts = MAX_PARTS;
    if (all.parts <= 1) {
        all.parts = 1;
        run_part(&all, 0);
    } else {
        run_pool_for(kc->pool, all.parts, run_part, &all);
    }
}

NRT_STATUS k_run_matmul_fast(const struct kernel_op *op, struct kernel_core *kc,
                             const uint32_t *regs, struct err *err)
{
    const struct k_rec *rec = (const struct k_rec *)(uintptr_t)op->priv[0];
    struct job job[JOBS];
    unsigned count = 0;

    if (kc->check_nan)
        return k_run_matmul(op, kc, regs, err);
    for (; rec != NULL; rec = rec->next) {
        NRT_STATUS st = k_run_start(&job[count].r, rec, kc, regs, err);

        if (st != NRT_SUCCESS) /* only a single record has dynamic offsets */
            return st;
        job_init(&job[count++]);
        if (count == JOBS || rec->next == NULL) {
            run_jobs(kc, job, count);
            count = 0;
        }
    }
    return NRT_SUCCESS;
}

const struct mm_kernel *k_mm_choose(const struct k_rec *rec, enum kernel_math math)
{
#if defined(__x86_64__)
    const struct k_vec *v = k_vec_choose(math);

    if (v == &k_vec_avx512)
        return rec->t[1].dtype == DT_BF16 && rec->t[2].dtype == DT_BF16 &&
                       __builtin_cpu_supports("avx512bf16")
                   ? &mm_avx512_bf16
                   : &mm_avx512;
    if (v == &k_vec_avx2)
        return &mm_avx2;
#else
    (void)rec;
    (void)math;
#endif
    return NULL;
}
