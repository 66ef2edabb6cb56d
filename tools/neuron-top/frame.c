/* SPDX-License-Identifier: Apache-2.0 */
#include "neuron-top/frame.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define BAR_WIDTH 20

static void line_add(struct frame *f, enum line_look look, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void line_add(struct frame *f, enum line_look look, const char *fmt, ...)
{
    struct strbuf b = {0};
    va_list ap;

    va_start(ap, fmt);
    strbuf_vprintf(&b, fmt, ap);
    va_end(ap);
    if (b.failed || !mem_grow((void **)&f->lines, &f->cap, f->count + 1, sizeof(*f->lines))) {
        f->failed = true;
        strbuf_fini(&b);
        return;
    }
    for (char *p = b.s; *p; p++) /* names come from other processes */
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    f->lines[f->count++] = (struct line){.text = b.s, .look = look};
}

void frame_fini(struct frame *f)
{
    for (size_t i = 0; i < f->count; i++)
        mem_free(f->lines[i].text);
    mem_free(f->lines);
    memset(f, 0, sizeof(*f));
}

const char *frame_tab(const struct sample *s, unsigned i)
{
    if (i == 0)
        return "all";
    return i <= s->snap.process_count ? s->snap.processes[i - 1].p.tag : NULL;
}

/* ---- what the user chose ---- */

void choice_keep(struct choice *c, const struct sample *s)
{
    if (c->tab == 0 || c->tab > s->snap.process_count)
        c->slot = DEVICE_NONE;
    if (c->slot != DEVICE_NONE && s->snap.processes[c->tab - 1].p.slot == c->slot)
        return;
    c->tab = 0;
    for (size_t i = 0; c->slot != DEVICE_NONE && i < s->snap.process_count; i++)
        if (s->snap.processes[i].p.slot == c->slot)
            c->tab = (unsigned)i + 1;
    if (c->tab == 0)
        c->slot = DEVICE_NONE;
}

static bool shown(const struct choice *c, uint32_t slot)
{
    return c->slot == DEVICE_NONE || c->slot == slot;
}

static size_t flip_of(const struct choice *c, uint32_t slot, uint32_t id)
{
    size_t i = 0;

    while (i < c->flips && (c->flip[i].slot != slot || c->flip[i].id != id))
        i++;
    return i;
}

static bool open_row(const struct choice *c, uint32_t slot, uint32_t id)
{
    return c->expanded != (flip_of(c, slot, id) < c->flips);
}

/* ---- utilization ---- */

static void bar(char buf[BAR_WIDTH + 3], double percent)
{
    unsigned full = (unsigned)(percent / 100 * BAR_WIDTH + 0.5);

    memset(buf, ' ', BAR_WIDTH + 2);
    memset(buf + 1, '|', full < BAR_WIDTH ? full : BAR_WIDTH);
    buf[0] = '[';
    buf[BAR_WIDTH + 1] = ']';
    buf[BAR_WIDTH + 2] = '\0';
}

static void core_lines(struct frame *f, const struct view *v, const struct sample *prev,
                       const struct sample *cur, const struct choice *c)
{
    unsigned lnc = v->lnc, per_device = v->topo->cores_per_device / lnc;
    char text[96], gauge[BAR_WIDTH + 3];

    line_add(f, LOOK_HEAD, "NeuronCore %s Utilization%s", topo_core_version(v->topo, lnc),
             c->flops ? " (TFLOPS)" : " (%)");
    for (unsigned d = 0; d < v->topo->device_count; d++) {
        struct strbuf row = {0};

        for (unsigned i = 0; i < per_device; i++) {
            uint32_t nc = d * per_device + i, first = nc * lnc;
            double flops = 0, use = 0;
            bool mine = first < cur->snap.core_count &&
                        cur->snap.cores[first].process != DEVICE_NONE &&
                        shown(c, cur->snap.processes[cur->snap.cores[first].process].p.slot);

            if (mine)
                use = sample_vnc_utilization(prev, cur, nc, lnc, &flops);
            bar(gauge, use);
            if (c->flops)
                snprintf(text, sizeof(text), "  NC%-2u %10.4f", nc, flops / 1e12);
            else
                snprintf(text, sizeof(text), "  NC%-2u %s %6.2f%%", nc, gauge, use);
            strbuf_put(&row, text);
        }
        line_add(f, LOOK_PLAIN, "  ND%-2u%s", d, row.s ? row.s : "");
        strbuf_fini(&row);
    }
}

static void vcpu_lines(struct frame *f, const struct sample *prev, const struct sample *cur,
                       const struct choice *c)
{
    double share[HOST_USE_COUNT] = {0}, user = 0, system = 0;

    if (cur->cpus_ok && prev->cpus_ok)
        host_cpu_shares(&prev->cpus.all, &cur->cpus.all, share);
    for (size_t i = 0; i < cur->snap.process_count; i++) {
        double u, s;

        if (shown(c, cur->snap.processes[i].p.slot) && sample_vcpu(prev, cur, i, &u, &s)) {
            user += u;
            system += s;
        }
    }
    line_add(f, LOOK_HEAD, "VCPU Utilization");
    line_add(f, LOOK_PLAIN, "  System   [%6.2f%%, %6.2f%%]    Runtime  [%6.2f%%, %6.2f%%]",
             share[HOST_USER] + share[HOST_NICE], share[HOST_SYSTEM], user, system);
}

/* ---- memory ---- */

static void memory_lines(struct frame *f, const struct sample *cur, const struct choice *c)
{
    uint64_t host[DEVICE_HOST_COUNT] = {0}, host_sum = 0;
    const struct snap *s = &cur->snap;
    struct device_usage u = {.total = 0};
    char t[6][32];
    uint64_t scratch, named;

    for (size_t i = 0; i < s->process_count; i++) {
        uint64_t one[DEVICE_HOST_COUNT];
        struct device_usage d;

        if (!shown(c, s->processes[i].p.slot))
            continue;
        host_sum += sample_host_bytes(cur, i, one);
        for (unsigned k = 0; k < DEVICE_HOST_COUNT; k++)
            host[k] += one[k];
        snap_usage(s, s->processes[i].p.slot, DEVICE_NONE, SNAP_ANY_NEFF, &d);
        for (unsigned k = 0; k < DEVICE_CAT_COUNT; k++)
            u.bytes[k] += d.bytes[k];
        u.total += d.total;
    }
    line_add(f, LOOK_HEAD, "Memory Usage Summary");
    size_text(t[0], sizeof(t[0]), host_sum);
    size_text(t[1], sizeof(t[1]), host[DEVICE_HOST_TENSOR]);
    size_text(t[2], sizeof(t[2]), host[DEVICE_HOST_CONST]);
    size_text(t[3], sizeof(t[3]), host[DEVICE_HOST_DMA]);
    size_text(t[4], sizeof(t[4]), host[DEVICE_HOST_APP]);
    line_add(f, LOOK_PLAIN,
             "  Host    Total: %s  Tensors: %s  Constants: %s  DMA Buffers: %s  App. Memory: %s",
             t[0], t[1], t[2], t[3], t[4]);
    scratch = u.bytes[DEVICE_CAT_SHARED_SCRATCH] + u.bytes[DEVICE_CAT_SCRATCH];
    named =
        u.bytes[DEVICE_CAT_TENSOR] + u.bytes[DEVICE_CAT_CONST] + u.bytes[DEVICE_CAT_CODE] + scratch;
    size_text(t[0], sizeof(t[0]), u.total);
    size_text(t[1], sizeof(t[1]), u.bytes[DEVICE_CAT_TENSOR]);
    size_text(t[2], sizeof(t[2]), u.bytes[DEVICE_CAT_CONST]);
    size_text(t[3], sizeof(t[3]), u.bytes[DEVICE_CAT_CODE]);
    size_text(t[4], sizeof(t[4]), u.total - named);
    size_text(t[5], sizeof(t[5]), scratch);
    line_add(f, LOOK_PLAIN,
             "  Device  Total: %s  Tensors: %s  Constants: %s  Model Code: %s  Runtime Memory: %s  "
             "Model Scratchpad: %s",
             t[0], t[1], t[2], t[3], t[4], t[5]);
}

/* ---- the tree: processes, their models, and the cores of a model ---- */

struct tree {
    struct frame *f; /* NULL: only looking for the row under the cursor */
    const struct choice *c;
    size_t rows;
    uint32_t slot, id; /* of the row under the cursor */
};

static void tree_row(struct tree *t, uint32_t slot, uint32_t id, const char *label,
                     const char *host, uint64_t device)
{
    char size[32];

    if (t->rows == t->c->cursor) {
        t->slot = slot;
        t->id = id;
    }
    size_text(size, sizeof(size), device);
    if (t->f)
        line_add(t->f, t->rows == t->c->cursor ? LOOK_CURSOR : LOOK_PLAIN, "  %-40s %14s %14s",
                 label, host, size);
    t->rows++;
}

static void model_rows(struct tree *t, const struct snap *s, uint32_t slot)
{
    char label[96];

    for (size_t i = 0; i < s->neff_count; i++) {
        const struct device_neff_info *n = &s->neffs[i];
        struct device_usage u;
        size_t more = i;

        if (n->slot != slot)
            continue;
        snap_usage(s, slot, DEVICE_NONE, n->id, &u);
        snprintf(label, sizeof(label), "  [%c] Model %u %.20s",
                 open_row(t->c, slot, n->id) ? '-' : '+', n->id, n->name);
        tree_row(t, slot, n->id, label, "0.000B", u.total);
        for (; more < s->neff_count && s->neffs[more].slot == slot && s->neffs[more].id == n->id;
             more++) {
            if (!open_row(t->c, slot, n->id))
                continue;
            snap_usage(s, slot, s->neffs[more].core, n->id, &u);
            snprintf(label, sizeof(label), "      core %u", s->neffs[more].core);
            tree_row(t, slot, n->id, label, "0.000B", u.total);
        }
        i = more - 1;
    }
}

static void tree_walk(struct tree *t, const struct sample *cur)
{
    const struct snap *s = &cur->snap;
    uint64_t host[DEVICE_HOST_COUNT];
    char label[96], bytes[32];

    for (size_t i = 0; i < s->process_count; i++) {
        const struct snap_process *p = &s->processes[i];
        bool open = open_row(t->c, p->p.slot, DEVICE_NONE);

        if (!shown(t->c, p->p.slot))
            continue;
        size_text(bytes, sizeof(bytes), sample_host_bytes(cur, i, host));
        snprintf(label, sizeof(label), "[%c] %.32s", open ? '-' : '+', p->p.tag);
        tree_row(t, p->p.slot, DEVICE_NONE, label, bytes, p->device_bytes);
        if (open)
            model_rows(t, s, p->p.slot);
    }
}

void choice_flip(struct choice *c, const struct sample *s)
{
    struct tree t = {.c = c, .slot = DEVICE_NONE};
    size_t at;

    tree_walk(&t, s);
    if (t.slot == DEVICE_NONE)
        return;
    at = flip_of(c, t.slot, t.id);
    if (at < c->flips)
        c->flip[at] = c->flip[--c->flips];
    else if (c->flips < sizeof(c->flip) / sizeof(c->flip[0]))
        c->flip[c->flips++] = (struct tree_flip){t.slot, t.id};
}

/* ---- all ---- */

void frame_make(struct frame *f, const struct view *v, const struct sample *prev,
                const struct sample *cur, struct choice *c)
{
    struct tree t = {.f = f, .c = c};

    memset(f, 0, sizeof(*f));
    choice_keep(c, cur);
    line_add(f, LOOK_TITLE, "neuron-top %s   instance: opennrt-%s   type: %s", OPENNRT_VERSION,
             v->name, v->topo->name);
    if (v->err.status != NRT_SUCCESS)
        line_add(f, LOOK_TITLE, "%s", v->err.text);
    core_lines(f, v, prev, cur, c);
    vcpu_lines(f, prev, cur, c);
    memory_lines(f, cur, c);
    line_add(f, LOOK_HEAD, "%-42s %14s %14s", "Memory Usage Details", "", "");
    line_add(f, LOOK_PLAIN, "  %-40s %14s %14s", "Model ID", "Host Memory", "Device Memory");
    tree_walk(&t, cur);
    f->tree = t.rows;
    if (c->cursor >= t.rows && c->cursor > 0)
        c->cursor = t.rows ? t.rows - 1 : 0;
}
