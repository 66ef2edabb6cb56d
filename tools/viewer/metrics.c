/* SPDX-License-Identifier: Apache-2.0 */
/* The figures under their keys: one list for every form. Where the
 * published tool has a key for a figure it is used: times in seconds, "_percent" from 0 to 1.
 * Engines of a logical core of two physical cores: the mean of both. */
#include "viewer/scratch.h"

#include <inttypes.h>
#include <stdio.h>

#define PS_PER_S 1e12

static void put_time(struct viewer_rows *t, const char *key, double ps)
{
    viewer_put_real(t, key, ps / PS_PER_S);
}

/* "<key>" in seconds and "<key>_percent" of whole. */
static void put_part(struct viewer_rows *t, const char *key, double ps, uint64_t whole)
{
    char percent[96];

    (void)snprintf(percent, sizeof(percent), "%s_percent", key);
    put_time(t, key, ps);
    viewer_put_real(t, percent, whole ? ps / (double)whole : 0);
}

/* ---- engines ---- */

const char *viewer_engine_key(unsigned engine)
{
    static const char *const names[ISA_ENGINES] = {
        [ISA_PE] = "tensor_engine",   [ISA_DVE] = "vector_engine", [ISA_ACT] = "scalar_engine",
        [ISA_POOL] = "gpsimd_engine", [ISA_SP] = "sync_engine",
    };

    return names[engine];
}

/* Why it was idle, of the physical core where it was so longest. */
static void put_idle(struct viewer_rows *t, const struct viewer_figures *f, unsigned engine)
{
    struct strbuf why = {0};
    unsigned unit = TIME_UNIT(0, engine), other = TIME_UNIT(1, engine);
    enum viewer_idle first;
    char key[80];

    if (viewer_idle_sum(&f->engine[other]) > viewer_idle_sum(&f->engine[unit]))
        unit = other;
    first = viewer_idle_first(&f->engine[unit]);
    viewer_idle_words(f, unit, first, &why);
    (void)snprintf(key, sizeof(key), "%s_idle_reason", viewer_engine_key(engine));
    viewer_put_text(t, key, why.s ? why.s : "");
    strbuf_fini(&why);
}

static void put_engine(struct viewer_rows *t, const struct viewer_figures *f, unsigned engine)
{
    const char *name = viewer_engine_key(engine);
    uint64_t records = 0;
    double busy = 0;
    bool used = false;
    char key[80];

    for (unsigned c = 0; c < f->model->m->cores; c++) {
        const struct viewer_engine *e = &f->engine[TIME_UNIT(c, engine)];

        busy += (double)e->busy_ps / f->model->m->cores;
        records += e->records;
        used = used || e->used;
    }
    (void)snprintf(key, sizeof(key), "%s_active_time", name);
    put_part(t, key, busy, f->total_ps);
    (void)snprintf(key, sizeof(key), "%s_instruction_count", name);
    viewer_put_uint(t, key, records);
    if (used)
        put_idle(t, f, engine);
}

/* ---- the list ---- */

static void put_communication(struct viewer_rows *t, const struct viewer_figures *f)
{
    put_part(t, "dma_active_time", (double)f->dma_active_ps / f->model->m->cores, f->total_ps);
    viewer_put_uint(t, "dma_transfer_count", f->transfers);
    viewer_put_uint(t, "dma_transfer_total_bytes", f->transfer_bytes);
    viewer_put_real(t, "dma_transfer_average_bytes", viewer_share(f->transfer_bytes, f->transfers));
    viewer_put_real(t, "dma_efficiency_percent", viewer_share(f->dma_ideal_ps, f->dma_active_ps));
    viewer_put_uint(t, "cc_op_count", f->colls);
    put_part(t, "cc_active_time", (double)f->coll_any_ps, f->total_ps);
    put_time(t, "cc_late_member_time", (double)f->coll_late_ps);
    put_part(t, "compute_active_time", (double)f->compute_ps, f->total_ps);
    put_part(t, "dma_overlap_compute_time", (double)f->dma_hidden_ps, f->dma_any_ps);
    put_part(t, "cc_overlap_compute_time", (double)f->coll_hidden_ps, f->coll_any_ps);
}

void viewer_summary_put(const struct viewer_shown *s, struct viewer_rows *t)
{
    const struct viewer_figures *f = s->f;
    const struct ntff_model *m = f->model->m;

    viewer_put_text(t, "profile", s->file);
    viewer_put_text(t, "model_name", ntff_text(f->model->n, m->name));
    viewer_tag_uint(t, "model_id", m->id);
    viewer_tag_uint(t, "nd_idx", viewer_device(m));
    viewer_tag_uint(t, "nc_idx", m->vnc);
    viewer_tag_uint(t, "rank_id", m->rank);
    viewer_put_uint(t, "execution_count", f->executions);
    viewer_put_uint(t, "failed_execution_count", f->failed);
    put_time(t, "total_time", (double)f->total_ps);
    put_part(t, "total_active_time", (double)f->active_ps, f->total_ps);
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        put_engine(t, f, e);
    viewer_put_uint(t, "matmul_instruction_count", f->matmuls);
    put_communication(t, f);
    if (s->scratch)
        viewer_put_uint(t, "scratchpad_peak_bytes", s->scratch->peak_bytes);
    viewer_put_uint(t, "dropped_event_count", f->model->n->head->dropped_events);
    viewer_put_uint(t, "dropped_execution_count", f->model->n->head->dropped_execs);
}

bool viewer_text_keys(const struct viewer_shown *s, struct strbuf *out)
{
    struct viewer_rows_text t;

    viewer_rows_text_init(&t, out);
    viewer_summary_put(s, &t.rows);
    return t.rows.ok;
}
