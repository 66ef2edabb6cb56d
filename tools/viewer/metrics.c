/* SPDX-License-Identifier: Apache-2.0 */
/* The figures under their keys: one list, which summary-text and summary-json both show. Where the
 * published tool has a key for a figure it is used: times in seconds, "_percent" from 0 to 1.
 * Engines of a logical core of two physical cores: the mean of both. */
#include "viewer/views.h"

#include <inttypes.h>
#include <stdio.h>

#define PS_PER_S 1e12

/* Where a figure goes: exactly one of the two is set. */
struct target {
    struct strbuf *text;
    struct json_out *json;
};

static void put_uint(const struct target *t, const char *key, uint64_t v)
{
    if (t->json)
        json_out_uint(t->json, key, v);
    else
        strbuf_printf(t->text, "%-44s  %" PRIu64 "\n", key, v);
}

static void put_real(const struct target *t, const char *key, double v)
{
    if (t->json)
        json_out_real(t->json, key, v);
    else
        strbuf_printf(t->text, "%-44s  %.9g\n", key, v);
}

/* A text of a file stays on its line. */
static void put_text(const struct target *t, const char *key, const char *v)
{
    if (t->json) {
        json_out_text(t->json, key, v);
        return;
    }
    strbuf_printf(t->text, "%-44s  ", key);
    viewer_text_plain(t->text, v);
    strbuf_put(t->text, "\n");
}

static void put_time(const struct target *t, const char *key, double ps)
{
    put_real(t, key, ps / PS_PER_S);
}

/* "<key>" in seconds and "<key>_percent" of whole. */
static void put_part(const struct target *t, const char *key, double ps, uint64_t whole)
{
    char percent[96];

    (void)snprintf(percent, sizeof(percent), "%s_percent", key);
    put_time(t, key, ps);
    put_real(t, percent, whole ? ps / (double)whole : 0);
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
static void put_idle(const struct target *t, const struct viewer_figures *f, unsigned engine)
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
    put_text(t, key, why.s ? why.s : "");
    strbuf_fini(&why);
}

static void put_engine(const struct target *t, const struct viewer_figures *f, unsigned engine)
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
    put_uint(t, key, records);
    if (used)
        put_idle(t, f, engine);
}

/* ---- the list ---- */

static void put_communication(const struct target *t, const struct viewer_figures *f)
{
    put_part(t, "dma_active_time", (double)f->dma_active_ps / f->model->m->cores, f->total_ps);
    put_uint(t, "dma_transfer_count", f->transfers);
    put_uint(t, "dma_transfer_total_bytes", f->transfer_bytes);
    put_real(t, "dma_transfer_average_bytes", viewer_share(f->transfer_bytes, f->transfers));
    put_real(t, "dma_efficiency_percent", viewer_share(f->dma_ideal_ps, f->dma_active_ps));
    put_uint(t, "cc_op_count", f->colls);
    put_part(t, "cc_active_time", (double)f->coll_any_ps, f->total_ps);
    put_time(t, "cc_late_member_time", (double)f->coll_late_ps);
    put_part(t, "compute_active_time", (double)f->compute_ps, f->total_ps);
    put_part(t, "dma_overlap_compute_time", (double)f->dma_hidden_ps, f->dma_any_ps);
    put_part(t, "cc_overlap_compute_time", (double)f->coll_hidden_ps, f->coll_any_ps);
}

static void put_all(const struct target *t, const struct viewer_shown *s)
{
    const struct viewer_figures *f = s->f;
    const struct ntff_model *m = f->model->m;

    put_text(t, "profile", s->file);
    put_text(t, "model_name", ntff_text(f->model->n, m->name));
    put_uint(t, "model_id", m->id);
    put_uint(t, "nd_idx", viewer_device(m));
    put_uint(t, "nc_idx", m->vnc);
    put_uint(t, "rank_id", m->rank);
    put_uint(t, "execution_count", f->executions);
    put_uint(t, "failed_execution_count", f->failed);
    put_time(t, "total_time", (double)f->total_ps);
    put_part(t, "total_active_time", (double)f->active_ps, f->total_ps);
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        put_engine(t, f, e);
    put_uint(t, "matmul_instruction_count", f->matmuls);
    put_communication(t, f);
    put_uint(t, "dropped_event_count", f->model->n->head->dropped_events);
    put_uint(t, "dropped_execution_count", f->model->n->head->dropped_execs);
}

bool viewer_text_keys(const struct viewer_shown *s, struct strbuf *out)
{
    put_all(&(struct target){.text = out}, s);
    return !out->failed;
}

void viewer_json_summary(const struct viewer_shown *s, struct json_out *j)
{
    put_all(&(struct target){.json = j}, s);
}
