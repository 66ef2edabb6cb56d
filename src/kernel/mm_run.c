/* SPDX-License-Identifier: Apache-2.0 */
/* nc_matmul through the microkernels: packing, blocks of columns, host threads, in the order of
 * mm_plan.h. Every element is summed in the order of its records and of k, from what lay in dst on,
 * whatever the passes, blocks and threads are: these change no bit. */
#include "kernel/kernel_int.h"

#include <string.h>

#include "kernel/mm.h"
#include "kernel/mm_plan.h"
#include "run/run.h"

#define X_BYTES ((size_t)MM_DEPTH * MM_WIDTH * 4) /* moving cells of a pass */
#define OUT_BYTES \
    ((size_t)ISA_PARTITIONS * MM_WIDTH * 4) /* sums that dst cannot take as they are */
#define PART_BYTES (X_BYTES + OUT_BYTES)
#define MAX_PARTS  ((unsigned)((K_PACK_BYTES - MM_STATIONARY) / PART_BYTES))

/* One record of the plan. */
struct job {
    struct k_run r;
    const struct mm_kernel *mm;
    uint32_t pairs; /* elements of one k row: 2 with double_row */
    uint32_t k, m, n;
    uint32_t depth;   /* rows of cells */
    bool in_plain[2]; /* stationary, moving: elements lie in memory as the kernel packs them */
    bool out_direct;  /* dst rows are fp32 in memory */
};

/* A set on its way. Parts take tiles, then units. */
struct work {
    const struct mm_plan *plan;
    const struct mm_set *set;
    const struct job *job; /* by item of the plan */
    float *panels;         /* packed stationary tiles */
    uint32_t units;
    uint32_t next_item, next_unit; /* atomic: not yet taken */
};

/* Columns of one team: what one part computes at a time. Of more than MM_WIDTH, each pass takes
 * block after block, so that its stationary tiles come from afar once for all of them. */
struct unit {
    const struct mm_group *lead; /* the first of the team's groups */
    uint32_t groups;
    uint32_t c, n; /* columns [c, c + n) */
};

/* Up to MM_WIDTH columns of a unit. */
struct block {
    uint32_t c, n;
};

/* Buffers of one part. */
struct part {
    float *x;
    uint8_t *out;
};

static uint8_t *pack_area(const struct kernel_core *kc)
{
    return (uint8_t *)kc->scratch + K_SCRATCH_PACK;
}

static struct part part_buffers(const struct kernel_core *kc, unsigned part)
{
    uint8_t *p = pack_area(kc) + MM_STATIONARY + part * PART_BYTES;

    return (struct part){(float *)(void *)p, p + X_BYTES};
}

/* ---- packing --------------------------------------------------------------------------------- */

/* Whether rows of tile i lie in memory as rows of cells. */
static bool are_cells(const struct job *j, unsigned i)
{
    return j->in_plain[i - 1] && !j->mm->pairs;
}

/* Columns [c, c + n) of k row `k` of tile i, which is `width` wide, as the kernel packs them. */
static const uint8_t *row_in(const struct job *j, unsigned i, uint32_t k, uint32_t width,
                             uint32_t c, uint32_t n, float *buf)
{
    const struct k_tile *t = &j->r.rec->t[i];
    uint32_t part = k / j->pairs, start = k % j->pairs * width + c;

    if (!j->mm->pairs)
        return (const uint8_t *)k_read(&j->r, i, part, start, n, buf);
    k_gather(t, k_row(&j->r, i, part), start, n, buf);
    return (const uint8_t *)buf;
}

/* Rows of cells [kk, kk + rows) of tile i: columns [c, c + n) of `width`, into strips of `rows`. */
static void pack(const struct job *j, unsigned i, uint32_t kk, uint32_t rows, uint32_t width,
                 uint32_t c, uint32_t n, float *cells)
{
    uint32_t per = j->mm->pairs ? 2 : 1, k = kk * per, end = (kk + rows) * per;
    const struct k_tile *t = &j->r.rec->t[i];

    if (end > j->k)
        end = j->k;
    if (j->in_plain[i - 1]) {
        j->mm->pack(cells, k_row(&j->r, i, k) + (size_t)c * t->esize, j->r.stride[i], end - k, n,
                    rows);
        return;
    }
    for (; k < end; k += per, cells += j->mm->strip) {
        float buf[2][ISA_PARTITIONS];
        const uint8_t *lo = row_in(j, i, k, width, c, n, buf[0]);

        if (per == 2 && k + 1 < end)
            row_in(j, i, k + 1, width, c, n, buf[1]);
        j->mm->pack(cells, lo, sizeof(buf[0]), k + per < end ? per : end - k, n, rows);
    }
}

#define ROWS 8 /* of cells that are spread together: those of a panel then fill lines */

/* Spread `rows` rows of n cells, from row kk on, over the panels, which are depth rows long. */
static void to_panels(float *panels, uint32_t kk, uint32_t depth, const float *const *row,
                      uint32_t rows, uint32_t n)
{
    for (uint32_t m = 0, mr; m < n; m += mr, panels += (size_t)mr * depth) {
        float *to = panels + (size_t)kk * (mr = mm_block_rows(n, m));

        if (mr == MM_MR)
            for (uint32_t i = 0; i < rows; i++, to += MM_MR)
                memcpy(to, row[i] + m, MM_MR * sizeof(*to));
        else
            for (uint32_t i = 0; i < rows; i++, to += mr)
                memcpy(to, row[i] + m, mr * sizeof(*to));
    }
}

#define AHEAD 8 /* rows that packing a stationary tile fetches ahead */

static void fetch_rows(const struct job *j, uint32_t kk)
{
    uint32_t per = j->mm->pairs ? 2 : 1;

    if (!j->in_plain[0] || (kk + 1) * per > j->k)
        return;
    for (uint32_t k = kk * per; k < (kk + 1) * per; k++)
        for (uint32_t at = 0; at < j->m * j->r.rec->t[1].esize; at += 64)
            __builtin_prefetch(k_row(&j->r, 1, k) + at);
}

static void pack_stationary(const struct job *j, float *panels)
{
    float buf[ROWS][ISA_PARTITIONS];

    for (uint32_t kk = 0, rows; kk < j->depth; kk += rows) {
        const float *row[ROWS];

        rows = j->depth - kk < ROWS ? j->depth - kk : ROWS;
        for (uint32_t i = 0; i < rows; i++) {
            fetch_rows(j, kk + i + AHEAD);
            row[i] = buf[i];
            if (are_cells(j, 1))
                row[i] = (const float *)(const void *)k_row(&j->r, 1, kk + i);
            else
                pack(j, 1, kk + i, 1, j->m, 0, j->m, buf[i]);
        }
        to_panels(panels, kk, j->depth, row, rows, j->m);
    }
}

static void pack_part(void *arg, unsigned part)
{
    struct work *w = arg;
    uint32_t i;

    (void)part;
    while ((i = __atomic_fetch_add(&w->next_item, 1, __ATOMIC_RELAXED)) < w->set->items) {
        const struct mm_item *item = &w->plan->item[w->set->item + i];

        if (item->packs)
            pack_stationary(&w->job[w->set->item + i], w->panels + item->panels);
    }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Columns [c, c + n) of dst between memory and rows of MM_WIDTH fp32 values. */
static void fetch_sums(const struct job *j, uint8_t *out, uint32_t c, uint32_t n)
{
    for (uint32_t m = 0; m < j->m; m++) {
        float *sum = (float *)(void *)(out + (size_t)m * MM_WIDTH * 4);
        const float *old = k_read(&j->r, 0, m, c, n, sum);

        if (old != sum)
            memcpy(sum, old, n * sizeof(*sum));
    }
}

static void store_sums(const struct job *j, const uint8_t *out, uint32_t c, uint32_t n)
{
    for (uint32_t m = 0; m < j->m; m++)
        k_write(&j->r, 0, m, c, n, (const float *)(const void *)(out + (size_t)m * MM_WIDTH * 4));
}

/* Rows of moving cells. */
struct moving {
    const uint8_t *cells;
    size_t stride, strip; /* from row to row and from strip to strip */
    float *pack;          /* where the first block that reads them packs them; NULL: nowhere */
};

/* Columns [c, c + n) of `count` items of one group from `job` on; x: their moving cells. */
static void run_pass(const struct work *w, const struct mm_item *item, const struct job *job,
                     uint32_t count, const struct moving *x, const struct part *p, uint32_t c,
                     uint32_t n, struct mm_block *b)
{
    struct mm_seg seg[MM_SEGS];
    uint32_t lanes = job->mm->lanes;

    for (uint32_t i = 0; i < count; i++)
        seg[i] = (struct mm_seg){w->panels + item[i].panels,
                                 x[i].cells,
                                 x[i].stride,
                                 x[i].strip,
                                 x[i].pack,
                                 job[i].depth};
    b->seg = seg;
    b->segs = count;
    b->m = job->m;
    b->vecs = (n + lanes - 1) / lanes;
    b->acc = job->r.rec->acc;
    if (job->out_direct && b->vecs * lanes == n) {
        b->out = k_row(&job->r, 0, 0) + (size_t)c * 4;
        b->out_stride = job->r.stride[0];
        job->mm->run(b);
        return;
    }
    b->out = p->out;
    b->out_stride = MM_WIDTH * 4;
    if (b->acc)
        fetch_sums(job, p->out, c, n);
    job->mm->run(b);
    store_sums(job, p->out, c, n);
}

/* Whether the moving cells of a pass stay in the first-level cache, packed. */
static bool mm_near(const struct job *j)
{
    size_t strip = (size_t)j->mm->near * j->mm->strip * sizeof(float);

    return strip > 0 && strip <= j->r.kc->mm_near;
}

/* How many items from job on (at most left) one pass sums. Where dst is narrower than the sums,
 * every record rounds for itself. */
static uint32_t pass_length(const struct job *job, uint32_t left)
{
    uint32_t n = 1, depth = job->depth, most = mm_near(job) ? job->mm->near : MM_DEPTH;

    while (n < left && job->out_direct && depth + job[n].depth <= most)
        depth += job[n++].depth;
    return n;
}

/* Columns of a unit of the team: more than one block where its passes are short. */
static uint32_t unit_width(const struct job *job)
{
    return mm_near(job) ? job->mm->blocks * MM_WIDTH : MM_WIDTH;
}

static uint32_t team_units(const struct work *w, const struct mm_team *team)
{
    const struct job *job = &w->job[w->plan->group[team->first].first];

    return (job->n + unit_width(job) - 1) / unit_width(job);
}

static void unit_at(const struct work *w, uint32_t index, struct unit *u)
{
    const struct mm_team *team = &w->plan->team[w->set->first];
    const struct job *job;
    uint32_t left;

    for (; index >= team_units(w, team); team++)
        index -= team_units(w, team);
    u->lead = &w->plan->group[team->first];
    u->groups = team->count;
    job = &w->job[u->lead->first];
    u->c = index * unit_width(job);
    left = job->n - u->c;
    u->n = left < unit_width(job) ? left : unit_width(job);
}

static struct block block_at(const struct unit *u, uint32_t c)
{
    uint32_t left = u->c + u->n - c;

    return (struct block){c, left < MM_WIDTH ? left : MM_WIDTH};
}

static struct moving packed_cells(const struct job *j, const float *cells)
{
    size_t row = j->mm->strip * sizeof(*cells);

    return (struct moving){(const uint8_t *)cells, row, row * j->depth, NULL};
}

/* Columns [c, c + n) of a record's moving tile as cells: where they lie, or packed to *cells, which
 * moves on, by the first block that reads them where `later` says so. */
static struct moving moving_cells(const struct job *j, const struct block *at, bool later,
                                  float **cells)
{
    struct moving x = {0};
    float *to = *cells;

    if (later || (!mm_near(j) && are_cells(j, 2) && at->n % j->mm->lanes == 0)) {
        x.cells = k_row(&j->r, 2, 0) + (size_t)at->c * 4;
        x.stride = j->r.stride[2];
        x.strip = j->mm->strip * sizeof(float);
        if (!later)
            return x;
        x.pack = to;
    } else {
        pack(j, 2, 0, j->depth, j->n, at->c, at->n, to);
        x = packed_cells(j, to);
    }
    *cells = to + (size_t)j->depth * MM_WIDTH;
    return x;
}

/* Whether a block packs its moving cells on its way: `count` items from job on. */
static bool packs_later(const struct job *job, uint32_t count, const struct block *at)
{
    bool later = mm_packs(job->m, at->n);

    for (uint32_t s = 0; s < count; s++)
        later = later && mm_near(&job[s]) && are_cells(&job[s], 2);
    return later;
}

/* The moving cells of a block of a pass of `count` items from job on, into x. */
static void block_cells(const struct job *job, uint32_t count, const struct block *at,
                        const struct part *p, struct moving *x)
{
    float *cells = p->x;
    bool later = packs_later(job, count, at);

    for (uint32_t s = 0; s < count; s++)
        x[s] = moving_cells(&job[s], at, later, &cells);
}

/* What a block has packed is read there from now on. */
static void block_packed(const struct job *job, struct moving *x, uint32_t count)
{
    for (uint32_t s = 0; s < count; s++)
        if (x[s].pack != NULL)
            x[s] = packed_cells(&job[s], x[s].pack);
}

/* A block of a pass: of which unit, from which of its items and at which column. */
struct place {
    const struct unit *u; /* NULL: none */
    uint32_t item, count; /* of the lead */
    uint32_t c;
};

static struct place place_of(const struct work *w, const struct unit *u, uint32_t item)
{
    struct place p = {u, item, 0, 0};

    if (u == NULL)
        return p;
    p.count = pass_length(&w->job[u->lead->first + item], u->lead->count - item);
    p.c = u->c;
    return p;
}

/* The block after p: the next one of its pass, the first of the next pass or of the next unit. */
static struct place place_next(const struct work *w, const struct place *p, const struct unit *next)
{
    struct place n = *p;

    n.c += MM_WIDTH;
    if (n.c < p->u->c + p->u->n)
        return n;
    if (p->item + p->count < p->u->lead->count)
        return place_of(w, p->u, p->item + p->count);
    return place_of(w, next, 0);
}

/* What group g of `of` asks for, of what the block that comes next packs or reads where it lies:
 * its share of all columns; of the first strip the last group does, where strips are narrower, for
 * the block asks for the others itself. */
static uint32_t plan_fetch(const struct work *w, const struct place *at, uint32_t g, uint32_t of,
                           struct mm_fetch *fetch)
{
    const struct job *job;
    struct block cols;
    uint32_t n = 0, width = MM_WIDTH;

    if (at->u == NULL)
        return 0;
    job = &w->job[at->u->lead->first + at->item];
    cols = block_at(at->u, at->c);
    if (job->mm->strip < MM_WIDTH && packs_later(job, at->count, &cols)) {
        if (g + 1 < of)
            return 0;
        width = job->mm->strip;
        g = 0;
        of = 1;
    }
    for (uint32_t s = 0; s < at->count; s++) {
        const struct k_tile *t = &job[s].r.rec->t[2];
        uint32_t first = job[s].k * g / of;

        if (job[s].in_plain[1])
            fetch[n++] = (struct mm_fetch){k_row(&job[s].r, 2, first) + (size_t)at->c * t->esize,
                                           job[s].r.stride[2], job[s].k * (g + 1) / of - first,
                                           width * t->esize};
    }
    return n;
}

static void run_block(const struct work *w, const struct place *at, const struct place *next,
                      const struct part *p)
{
    const struct unit *u = at->u;
    struct block cols = block_at(u, at->c);
    struct moving x[MM_RECORDS];

    block_cells(&w->job[u->lead->first + at->item], at->count, &cols, p, x);
    for (uint32_t g = 0; g < u->groups; g++) {
        uint32_t first = u->lead[g].first + at->item;
        struct mm_fetch fetch[MM_RECORDS];
        struct mm_block b = {.fetch = fetch};

        b.fetches = plan_fetch(w, next, g, u->groups, fetch);
        run_pass(w, &w->plan->item[first], &w->job[first], at->count, x, p, cols.c, cols.n, &b);
        block_packed(&w->job[first], x, at->count);
    }
}

/* next: the unit that comes after u, whose first block is fetched during the last one of u; or
 * NULL. */
static void run_unit(const struct work *w, const struct unit *u, const struct unit *next,
                     const struct part *p)
{
    struct place at = place_of(w, u, 0);

    while (at.u == u) {
        struct place after = place_next(w, &at, next);

        run_block(w, &at, &after, p);
        at = after;
    }
}

static void unit_part(void *arg, unsigned part)
{
    struct work *w = arg;
    struct part p = part_buffers(w->job->r.kc, part);
    uint32_t index;

    while ((index = __atomic_fetch_add(&w->next_unit, 1, __ATOMIC_RELAXED)) < w->units) {
        uint32_t after = __atomic_load_n(&w->next_unit, __ATOMIC_RELAXED);
        struct unit u, next;

        unit_at(w, index, &u);
        if (after < w->units)
            unit_at(w, after, &next);
        run_unit(w, &u, after < w->units ? &next : NULL, &p);
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
    j->k = mm_rows(rec);
    j->m = rec->t[1].n / j->pairs;
    j->n = rec->t[2].n / j->pairs;
    j->depth = mm_depth(rec);
    for (unsigned i = 0; i < 2; i++)
        j->in_plain[i] = j->pairs == 1 && rec->t[i + 1].contig &&
                         (j->mm->pairs || f32_like(rec->t[i + 1].dtype));
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

static unsigned set_parts(const struct work *w, const struct kernel_core *kc)
{
    unsigned parts = run_pool_size(kc->pool);
    uint64_t size = 0;

    for (uint32_t i = w->set->item; i < w->set->item + w->set->items; i++) {
        size += (uint64_t)w->job[i].k * w->job[i].m * w->job[i].n;
        if (!shareable(&w->job[i]))
            return 1;
    }
    if (size < SHARE_MIN)
        return 1;
    if (parts > w->units)
        parts = w->units;
    return parts < MAX_PARTS ? parts : MAX_PARTS;
}

static void run_set(const struct mm_plan *plan, const struct mm_set *set, const struct job *job,
                    struct kernel_core *kc)
{
    struct work w = {
        .plan = plan, .set = set, .job = job, .panels = (float *)(void *)pack_area(kc)};
    unsigned parts;

    for (uint32_t t = 0; t < set->count; t++)
        w.units += team_units(&w, &plan->team[set->first + t]);
    parts = set_parts(&w, kc);
    if (parts == 1) {
        pack_part(&w, 0);
        unit_part(&w, 0);
        return;
    }
    run_pool_for(kc->pool, parts, pack_part, &w);
    run_pool_for(kc->pool, parts, unit_part, &w);
}

NRT_STATUS k_run_matmul_fast(const struct kernel_op *op, struct kernel_core *kc,
                             const uint32_t *regs, struct err *err)
{
    const struct mm_plan *plan = (const struct mm_plan *)(uintptr_t)op->priv[1];
    struct job job[MM_RECORDS];

    if (kc->check_nan)
        return k_run_matmul(op, kc, regs, err);
    for (uint32_t i = 0; i < plan->items; i++) {
        NRT_STATUS st = k_run_start(&job[i].r, plan->item[i].rec, kc, regs, err);

        if (st != NRT_SUCCESS) /* only a single record has dynamic offsets */
            return st;
        job_init(&job[i]);
    }
    for (uint32_t s = 0; s < plan->sets; s++)
        run_set(plan, &plan->set[s], job, kc);
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
