/* SPDX-License-Identifier: Apache-2.0 */
/* nc_matmul through the microkernels: packing, blocks of columns, host threads. Every element is
 * summed in the order of k whatever the blocks and threads are, so their number changes no bit. */
#include "kernel/kernel_int.h"

#include <string.h>

#include "kernel/mm.h"
#include "run/run.h"

#define OUT_BYTES  ((size_t)ISA_PARTITIONS * MM_WIDTH * 4)
#define PART_BYTES (MM_PANELS + MM_BLOCK + OUT_BYTES)
#define MAX_PARTS  ((unsigned)(K_PACK_BYTES / PART_BYTES))

struct job {
    struct k_run *r;
    const struct mm_kernel *mm;
    uint32_t pairs; /* elements of one k row: 2 with double_row */
    uint32_t k, m, n;
    unsigned parts;
    bool x_direct;   /* moving rows are fp32 in memory */
    bool out_direct; /* dst rows are fp32 in memory */
};

/* Buffers of one part. */
struct part {
    float *panels;
    uint8_t *x, *out;
};

static struct part part_buffers(const struct job *j, unsigned part)
{
    uint8_t *p = (uint8_t *)j->r->kc->scratch + K_SCRATCH_PACK + part * PART_BYTES;

    return (struct part){(float *)(void *)p, p + MM_PANELS, p + MM_PANELS + MM_BLOCK};
}

/* n elements from column c of k row `k` of tile i as fp32. */
static const float *row_f32(const struct job *j, unsigned i, uint32_t k, uint32_t width, uint32_t c,
                            uint32_t n, float *buf)
{
    return k_read(j->r, i, k / j->pairs, k % j->pairs * width + c, n, buf);
}

/* The same as bf16, which both tiles are then. */
static const uint16_t *row_bf16(const struct job *j, unsigned i, uint32_t k, uint32_t width,
                                uint32_t c, uint32_t n, uint16_t *buf)
{
    const struct k_tile *t = &j->r->rec->t[i];
    const uint8_t *row = k_row(j->r, i, k / j->pairs);
    uint32_t start = k % j->pairs * width + c;

    if (t->contig)
        return (const uint16_t *)(const void *)(row + (size_t)start * 2);
    k_gather(t, row, start, n, buf);
    return buf;
}

/* Spread one k row (rows of cells) over the panels. */
static void to_panels(const struct job *j, float *panels, uint32_t kk, uint32_t depth,
                      const float *row)
{
    for (uint32_t m = 0; m < j->m;) {
        uint32_t mr = mm_block_rows(j->m, m);

        memcpy(panels + (size_t)kk * mr, row + m, mr * sizeof(*row));
        panels += (size_t)mr * depth;
        m += mr;
    }
}

static uint32_t depth_of(const struct job *j)
{
    return j->mm->pairs ? (j->k + 1) / 2 : j->k;
}

static void pack_stationary(const struct job *j, float *panels)
{
    uint32_t depth = depth_of(j);
    float row[ISA_PARTITIONS];
    uint16_t a[ISA_PARTITIONS], b[ISA_PARTITIONS];

    for (uint32_t kk = 0; kk < depth; kk++) {
        if (j->mm->pairs) {
            uint32_t k = 2 * kk;
            const uint16_t *lo = row_bf16(j, 1, k, j->m, 0, j->m, a);
            const uint16_t *hi = k + 1 < j->k ? row_bf16(j, 1, k + 1, j->m, 0, j->m, b) : NULL;

            j->mm->interleave((uint32_t *)(void *)row, lo, hi, j->m);
            to_panels(j, panels, kk, depth, row);
        } else {
            to_panels(j, panels, kk, depth, row_f32(j, 1, kk, j->m, 0, j->m, row));
        }
    }
}

/* Columns [c, c + n) of the moving tile into x, rows of MM_WIDTH cells; columns up to the next
 * vector are zero. */
static void pack_moving(const struct job *j, uint8_t *x, uint32_t c, uint32_t n, uint32_t padded)
{
    uint32_t depth = depth_of(j);
    uint16_t a[MM_WIDTH], b[MM_WIDTH];

    for (uint32_t kk = 0; kk < depth; kk++) {
        float *out = (float *)(void *)(x + (size_t)kk * MM_WIDTH * 4);

        if (j->mm->pairs) {
            uint32_t k = 2 * kk;
            const uint16_t *lo = row_bf16(j, 2, k, j->n, c, n, a);
            const uint16_t *hi = k + 1 < j->k ? row_bf16(j, 2, k + 1, j->n, c, n, b) : NULL;

            j->mm->interleave((uint32_t *)(void *)out, lo, hi, n);
        } else {
            const float *in = row_f32(j, 2, kk, j->n, c, n, out);

            if (in != out)
                memcpy(out, in, n * sizeof(*out));
        }
        for (uint32_t i = n; i < padded; i++)
            out[i] = 0.0f;
    }
}

/* A block's result rows from the buffer to dst. */
static void deliver(const struct job *j, const struct mm_block *b, uint32_t c, uint32_t n)
{
    struct k_run *r = j->r;
    float old[MM_WIDTH];

    for (uint32_t m = 0; m < j->m; m++) {
        float *sum = (float *)(void *)(b->out + m * b->out_stride);

        if (r->rec->acc)
            r->vec->bin[ISA_ALU_ADD](sum, k_read(r, 0, m, c, n, old), sum, n);
        k_write(r, 0, m, c, n, sum);
    }
}

static void one_block(const struct job *j, const struct part *p, uint32_t c, uint32_t n)
{
    const struct k_run *r = j->r;
    uint32_t vecs = (n + j->mm->lanes - 1) / j->mm->lanes, padded = vecs * j->mm->lanes;
    bool whole = padded == n;
    struct mm_block b = {.panels = p->panels, .k = depth_of(j), .m = j->m, .vecs = vecs};

    if (j->x_direct && whole) {
        b.x = k_row(r, 2, 0) + (size_t)c * 4;
        b.x_stride = r->stride[2];
    } else {
        pack_moving(j, p->x, c, n, padded);
        b.x = p->x;
        b.x_stride = MM_WIDTH * 4;
    }
    if (j->out_direct && whole) {
        b.out = k_row(r, 0, 0) + (size_t)c * 4;
        b.out_stride = r->stride[0];
        b.acc = r->rec->acc;
        j->mm->run(&b);
    } else {
        b.out = p->out;
        b.out_stride = MM_WIDTH * 4;
        j->mm->run(&b);
        deliver(j, &b, c, n);
    }
}

/* Part p takes a contiguous share of the column blocks. */
static void run_part(void *arg, unsigned part)
{
    const struct job *j = arg;
    struct part p = part_buffers(j, part);
    uint32_t blocks = (j->n + MM_WIDTH - 1) / MM_WIDTH;
    uint32_t first = blocks * part / j->parts, last = blocks * (part + 1) / j->parts;

    pack_stationary(j, p.panels);
    for (uint32_t i = first; i < last; i++) {
        uint32_t c = i * MM_WIDTH;

        one_block(j, &p, c, j->n - c < MM_WIDTH ? j->n - c : MM_WIDTH);
    }
}

static bool f32_like(uint8_t dtype)
{
    return dtype == DT_FP32 || dtype == DT_FP32R || dtype == DT_TF32;
}

NRT_STATUS k_run_matmul_fast(const struct kernel_op *op, struct kernel_core *kc,
                             const uint32_t *regs, struct err *err)
{
    struct k_run r;
    const struct k_rec *rec;
    struct job j = {.r = &r};
    unsigned threads;
    NRT_STATUS st;

    if (kc->check_nan)
        return k_run_matmul(op, kc, regs, err);
    st = k_run_begin(&r, op, kc, regs, err);
    if (st != NRT_SUCCESS)
        return st;
    rec = r.rec;
    j.mm = rec->mm;
    j.pairs = rec->perf_mode == 1 ? 2 : 1;
    j.k = rec->t[1].nparts * j.pairs;
    j.m = rec->t[1].n / j.pairs;
    j.n = rec->t[2].n / j.pairs;
    j.x_direct = !j.mm->pairs && j.pairs == 1 && rec->t[2].contig && f32_like(rec->t[2].dtype);
    j.out_direct = rec->t[0].contig && f32_like(rec->t[0].dtype) && rec->t[0].dtype != DT_TF32;
    threads = run_pool_size(kc->pool);
    j.parts = 1;
    /* Gathering uses the run's own buffers, so only plain rows are shared out. */
    if (threads > 1 && rec->t[0].contig && rec->t[1].contig && rec->t[2].contig &&
        !kc->stochastic_rounding && op->flops >= 1u << 20) {
        uint32_t blocks = (j.n + MM_WIDTH - 1) / MM_WIDTH;

        j.parts = threads < blocks ? threads : blocks;
        if (j.parts > MAX_PARTS)
            j.parts = MAX_PARTS;
    }
    if (j.parts == 1)
        run_part(&j, 0);
    else
        run_pool_for(kc->pool, j.parts, run_part, &j);
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
