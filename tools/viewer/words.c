/* SPDX-License-Identifier: Apache-2.0 */
/* The summary for people: one screen of tables and sentences for each model of a profile. */
#include "viewer/scratch.h"

#include <inttypes.h>
#include <stdio.h>

#include "topo/topo.h"

#define PS_PER_US 1e6

void viewer_text_plain(struct strbuf *out, const char *text)
{
    for (size_t n; *text; text += n ? n : 1) {
        unsigned char c = (unsigned char)text[0];

        n = utf8_size(text);
        if (n == 0 || c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)text[1] < 0xa0))
            strbuf_put(out, "?");
        else
            strbuf_putn(out, text, n);
    }
}

const char *viewer_source_line(const struct viewer_shown *s, const struct ntff_record *r,
                               const char **ret_root)
{
    const char *root;

    if (!s->source || !r->line)
        return NULL;
    return s->source->line(s->source->arg, ntff_text(s->f->model->n, r->file), r->line,
                           ret_root ? ret_root : &root);
}

uint32_t viewer_device(const struct ntff_model *m)
{
    const struct topo_instance *t;

    for (unsigned i = 0; (t = topo_instance_at(i)) != NULL; i++)
        if ((uint32_t)t->arch == m->gen)
            return (uint32_t)((uint64_t)m->vnc * m->cores / t->cores_per_device);
    return 0;
}

void viewer_hash_text(const struct ntff_model *m, char ret[VIEWER_HASH_SIZE])
{
    for (unsigned i = 0; i < VIEWER_HASH_SIZE / 2; i++)
        (void)snprintf(ret + 2 * i, 3, "%02x", m->hash[i]);
}

static double us(uint64_t ps)
{
    return (double)ps / PS_PER_US;
}

static double percent(uint64_t part, uint64_t whole)
{
    return 100 * viewer_share(part, whole);
}

static void head_put(const struct viewer_shown *s, struct strbuf *out)
{
    const struct viewer_figures *f = s->f;
    const struct ntff_model *m = f->model->m;

    viewer_text_plain(out, s->file);
    strbuf_put(out, ": model ");
    viewer_text_plain(out, ntff_text(f->model->n, m->name));
    strbuf_printf(out, " (%u), core %u, rank %u\n", m->id, m->vnc, m->rank);
    strbuf_printf(out, "%" PRIu64 " execution%s, %.3f us of device time", f->executions,
                  f->executions == 1 ? "" : "s", us(f->total_ps));
    if (f->failed)
        strbuf_printf(out, ", %" PRIu64 " failed", f->failed);
    strbuf_put(out, "\n");
}

/* The reasons of an engine, the longest first, as long as they are one percent. */
static void reasons_put(const struct viewer_figures *f, unsigned unit, struct strbuf *out)
{
    struct viewer_engine e = f->engine[unit];
    const char *sep = "";

    for (unsigned n = 0; n < VIEWER_IDLE_COUNT; n++) {
        enum viewer_idle why = viewer_idle_first(&e);

        if (why == VIEWER_IDLE_COUNT || (n > 0 && percent(e.idle_ps[why], f->total_ps) < 1))
            break;
        strbuf_put(out, sep);
        viewer_idle_words(f, unit, why, out);
        strbuf_printf(out, " (%.1f %%)", percent(e.idle_ps[why], f->total_ps));
        e.idle_ps[why] = 0;
        sep = "; ";
    }
    if (!*sep)
        strbuf_put(out, "never idle");
}

static void engines_put(const struct viewer_figures *f, struct strbuf *out)
{
    strbuf_put(out, "\n  core engine  instructions      busy us   busy %  while idle\n");
    for (unsigned u = 0; u < VIEWER_UNITS; u++) {
        const struct viewer_engine *e = &f->engine[u];

        if (!e->used)
            continue;
        strbuf_printf(out, "  %4u %-6s  %12" PRIu64 " %12.3f %8.1f  ", u >> 3,
                      isa_engine_name(u & 7), e->records, us(e->busy_ps),
                      percent(e->busy_ps, f->total_ps));
        reasons_put(f, u, out);
        strbuf_put(out, "\n");
    }
}

static void communication_put(const struct viewer_figures *f, struct strbuf *out)
{
    strbuf_printf(out, "\ntransfers: %" PRIu64 ", %" PRIu64 " bytes", f->transfers,
                  f->transfer_bytes);
    if (f->transfers)
        strbuf_printf(out,
                      ", %.0f each; under way %.1f %% of the time; the DMA engines move %.1f %%"
                      " of what they could meanwhile",
                      viewer_share(f->transfer_bytes, f->transfers),
                      percent(f->dma_any_ps, f->total_ps),
                      percent(f->dma_ideal_ps, f->dma_active_ps));
    strbuf_printf(out, "\ncollectives: %" PRIu64, f->colls);
    if (f->colls)
        strbuf_printf(out,
                      "; under way %.1f %% of the time, %.3f us; before that %.3f us until the"
                      " last member came",
                      percent(f->coll_any_ps, f->total_ps), us(f->coll_any_ps),
                      us(f->coll_late_ps));
    strbuf_printf(out, "\noverlap: an engine computes %.1f %% of the time",
                  percent(f->compute_ps, f->total_ps));
    if (f->transfers)
        strbuf_printf(out, ", %.1f %% of the time of transfers",
                      percent(f->dma_hidden_ps, f->dma_any_ps));
    if (f->coll_any_ps)
        strbuf_printf(out, ", %.1f %% of that of collectives",
                      percent(f->coll_hidden_ps, f->coll_any_ps));
    strbuf_put(out, "\n");
}

static void top_put(const struct viewer_shown *s, struct strbuf *out)
{
    const struct viewer_figures *f = s->f;
    const struct viewer_model *m = f->model;
    uint32_t top[VIEWER_TOP];
    size_t n = viewer_figures_top(f, top, VIEWER_TOP);

    strbuf_put(out, "\nlongest instructions\n            us   of all  times  core engine\n");
    for (size_t i = 0; i < n; i++) {
        const struct ntff_record *r = &m->n->records[m->m->first_record + top[i]];
        const struct viewer_instruction *in = &f->instructions[top[i]];
        const char *line = viewer_source_line(s, r, NULL);

        strbuf_printf(out, "  %12.3f %6.1f %% %6" PRIu64 "  %4u %-6s  %s %u", us(in->ps),
                      percent(in->ps, f->total_ps), in->count, r->core, isa_engine_name(r->engine),
                      viewer_opcode_name(r->opcode), r->record);
        if (r->label) {
            strbuf_put(out, ", ");
            viewer_text_plain(out, ntff_text(m->n, r->label));
        }
        if (r->line) {
            strbuf_put(out, "  ");
            viewer_text_plain(out, ntff_text(m->n, r->file));
            strbuf_printf(out, ":%u", r->line);
        }
        strbuf_put(out, line && *line ? "  | " : "");
        viewer_text_plain(out, line ? line : "");
        strbuf_put(out, "\n");
    }
}

/* The tensors of the scratchpad in one execution of one core, and the most that was in use. */
static void scratch_put(const struct viewer_shown *s, struct strbuf *out)
{
    const struct viewer_scratch *t = s->scratch;

    strbuf_printf(out, "\nscratchpad: at most %" PRIu64 " bytes in use", t->peak_bytes);
    if (t->peak_bytes)
        strbuf_printf(out, ", from %.3f us on", us(t->peak_ps));
    strbuf_put(out, "\n");
    if (t->use_count == 0)
        return;
    strbuf_put(out, "        from us        to us         bytes       written          read  core"
                    " tensor, first execution\n");
    for (size_t i = 0; i < t->use_count && t->uses[i].run == t->uses[0].run; i++) {
        const struct viewer_scratch_use *u = &t->uses[i];

        strbuf_printf(out, "  %13.3f %12.3f %13" PRIu64 " %13" PRIu64 " %13" PRIu64 "  %4u ",
                      us(u->from_ps), us(u->to_ps), u->var->size, u->written, u->read, u->core);
        viewer_text_plain(out, u->var->name);
        strbuf_put(out, "\n");
    }
}

bool viewer_text_words(const struct viewer_shown *s, struct strbuf *out)
{
    head_put(s, out);
    engines_put(s->f, out);
    communication_put(s->f, out);
    top_put(s, out);
    if (s->scratch)
        scratch_put(s, out);
    return !out->failed;
}
