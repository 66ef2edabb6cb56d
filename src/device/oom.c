/* SPDX-License-Identifier: Apache-2.0 */
/* The out-of-memory report: behaviour.md section 13. */
#include "device/device_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_WIDTH 14
#define COLUMNS     (DEVICE_CAT_COUNT + 1)

static const char *const head1[COLUMNS] = {
    "",          "Model",     "Model",     "",          "Shared", "", "",
    "DMA Rings", "DMA Rings", "DMA Rings", "DMA Rings", "",       "", "Profiler"};
static const char *const head2[COLUMNS] = {
    "TOTAL", "Code",  "Constants",   "Tensors", "Scratchpad",  "Scratchpad", "Runtime",
    "IO",    "Spill", "Collectives", "Runtime", "Collectives", "XT CC",      "Buffers"};

static int column_width(unsigned col)
{
    return col == 9 || col == 11 ? 11 : 10; /* the columns headed "Collectives" */
}

static void put_cell(struct strbuf *b, unsigned col, const char *text)
{
    int width = column_width(col), n = (int)strlen(text);
    int left = n < width ? (width - n) / 2 : 0, right = n < width ? width - n - left : 0;

    strbuf_printf(b, "%*s%s%*s|", left, "", text, right, "");
}

static void put_header(struct strbuf *b, const char *const *cells)
{
    strbuf_printf(b, "%-*s|", LABEL_WIDTH, "");
    for (unsigned c = 0; c < COLUMNS; c++)
        put_cell(b, c, cells[c]);
    strbuf_put(b, "\n");
}

static bool neff_has_no(unsigned cat)
{
    return cat == DEVICE_CAT_TENSOR || cat == DEVICE_CAT_SHARED_SCRATCH ||
           cat == DEVICE_CAT_XT_CC || cat == DEVICE_CAT_PROFILER;
}

static void put_row(struct strbuf *b, const char *label, const struct device_usage *u, bool neff)
{
    char text[32];
    uint64_t total = 0;

    for (unsigned c = 0; c < DEVICE_CAT_COUNT; c++)
        total += neff && neff_has_no(c) ? 0 : u->bytes[c];
    strbuf_printf(b, "%-*s|", LABEL_WIDTH, label);
    size_text(text, sizeof(text), total);
    put_cell(b, 0, text);
    for (unsigned c = 0; c < DEVICE_CAT_COUNT; c++) {
        size_text(text, sizeof(text), u->bytes[c]);
        put_cell(b, c + 1, neff && neff_has_no(c) ? "n/a" : text);
    }
    strbuf_put(b, "\n");
}

/* A row of the table, gathered before printing. */
struct neff_row {
    uint32_t core, slot, id;
    struct device_usage use;
    char name[256];
};

struct report {
    struct device_instance *in;
    uint32_t hbm, first_core, core_count;
    struct device_usage core[8], all;
    struct neff_row *neffs;
    size_t neff_count, neff_cap;
    bool failed;
};

static struct neff_row *report_neff(struct report *r, uint32_t core, uint32_t slot, uint32_t id)
{
    for (size_t i = 0; i < r->neff_count; i++) {
        struct neff_row *n = &r->neffs[i];

        if (n->core == core && n->slot == slot && n->id == id)
            return n;
    }
    if (!mem_grow((void **)&r->neffs, &r->neff_cap, r->neff_count + 1, sizeof(*r->neffs))) {
        r->failed = true;
        return NULL;
    }
    struct neff_row *n = &r->neffs[r->neff_count++];
    memset(n, 0, sizeof(*n));
    n->core = core;
    n->slot = slot;
    n->id = id;
    return n;
}

static void report_extent(void *arg, const struct device_extent_info *x)
{
    struct report *r = arg;
    uint32_t c = x->core - r->first_core;

    if (DEVICE_ADDR_HBM(x->addr) != r->hbm || c >= r->core_count)
        return;
    r->core[c].bytes[x->cat] += x->size;
    r->all.bytes[x->cat] += x->size;
    if (x->neff != DEVICE_NONE) {
        struct neff_row *n = report_neff(r, x->core, x->slot, x->neff);

        if (n)
            n->use.bytes[x->cat] += x->size;
    }
}

static int neff_order(const void *a, const void *b)
{
    const struct neff_row *x = a, *y = b;

    if (x->core != y->core)
        return x->core < y->core ? -1 : 1;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* NEFFs that are loaded have a row even when they hold nothing yet; names come from here too. */
static void report_names(struct report *r)
{
    struct device_instance *in = r->in;

    for (uint32_t i = 0; i < in->lay.neffs; i++) {
        const struct ctl_neff *n = ctl_neff(in, i);
        struct neff_row *row;

        if (!atomic_load_explicit(&n->used, memory_order_acquire) ||
            n->core - r->first_core >= r->core_count)
            continue;
        row = report_neff(r, n->core, n->slot, n->id);
        if (row)
            snprintf(row->name, sizeof(row->name), "%.*s", (int)sizeof(n->name) - 1, n->name);
    }
}

static void report_gather(struct report *r, struct device_instance *in, uint32_t hbm)
{
    uint32_t per_hbm = in->topo->cores_per_device / in->topo->hbms_per_device;

    memset(r, 0, sizeof(*r));
    r->in = in;
    r->hbm = hbm;
    r->core_count = per_hbm < 8 ? per_hbm : 8;
    r->first_core = hbm * per_hbm;
    if (device_extents_visit(in, report_extent, r) != NRT_SUCCESS)
        r->failed = true;
    report_names(r);
    if (r->neff_count)
        qsort(r->neffs, r->neff_count, sizeof(*r->neffs), neff_order);
}

static void report_print(const struct report *r, struct strbuf *b)
{
    const struct topo_instance *t = r->in->topo;
    char label[32];

    strbuf_put(b, "(NOTE: the lines are LONG, and NEFF id to name mapping is printed after)\n\n");
    put_header(b, head1);
    put_header(b, head2);
    snprintf(label, sizeof(label), "ND %u Overall", topo_hbm_device(t, r->hbm));
    put_row(b, label, &r->all, false);
    for (uint32_t c = 0; c < r->core_count; c++) {
        uint32_t core = r->first_core + c;

        snprintf(label, sizeof(label), "\\_NC %u", core % t->cores_per_device);
        put_row(b, label, &r->core[c], false);
        for (size_t i = 0; i < r->neff_count; i++) {
            if (r->neffs[i].core != core)
                continue;
            snprintf(label, sizeof(label), "  \\_NEFF %u", r->neffs[i].id);
            put_row(b, label, &r->neffs[i].use, true);
        }
    }
    strbuf_put(b, "\nNEFF id to name mapping:\n");
    for (size_t i = 0; i < r->neff_count; i++)
        strbuf_printf(b, "%u: \"%s\"\n", r->neffs[i].id, r->neffs[i].name);
}

static void report_file(struct device_instance *in, uint32_t hbm, const char *text)
{
    char name[64];

    snprintf(name, sizeof(name), "neuron_mem_table_device_%u_hbm_%u.log",
             topo_hbm_device(in->topo, hbm), hbm % in->topo->hbms_per_device);
    report_write(in, "log_dev_mem_usage_table", name, text, strlen(text));
}

static void report_head(struct device_instance *in, const struct device_alloc *a,
                        const struct report *r, struct strbuf *b)
{
    const struct topo_instance *t = in->topo;
    char size[32], align[24] = "none", line[160];

    if (in->lnc == 1 && r->core_count == 2) {
        snprintf(line, sizeof(line), "LNC size is 1. Neuron Cores using this HBM: NC %u and NC %u",
                 r->first_core % t->cores_per_device, r->first_core % t->cores_per_device + 1);
        log_msg(in->log, LOG_TDRV, LOG_ERROR, "print_lnc_hbm_details", "%s", line);
        strbuf_printf(b, "%s\n", line);
    }
    size_text(size, sizeof(size), a->size);
    if (a->align)
        snprintf(align, sizeof(align), "%" PRIu64, a->align);
    snprintf(line, sizeof(line), "Failed to allocate %s (alignment: %s, usage: %s) on ND %u:NC %u",
             size, align, device_cat_name(a->cat), topo_core_device(t, a->core),
             a->core % t->cores_per_device);
    log_msg(in->log, LOG_TDRV, LOG_ERROR, "log_dev_mem", "%s", line);
    strbuf_printf(b, "%s\n", line);
}

NRT_STATUS device_usage_table(struct device_instance *in, uint32_t hbm, struct strbuf *b)
{
    struct report r;

    if (hbm >= in->lay.hbms)
        return NRT_INVALID;
    report_gather(&r, in, hbm);
    report_print(&r, b);
    mem_free(r.neffs);
    return r.failed || b->failed ? NRT_RESOURCE : NRT_SUCCESS;
}

void oom_report(struct device_instance *in, const struct device_alloc *a)
{
    struct strbuf file = {0}, table = {0};
    struct report r;

    report_gather(&r, in, topo_core_hbm(in->topo, a->core));
    report_head(in, a, &r, &file);
    report_print(&r, &table);
    if (!r.failed && !table.failed) {
        log_msg(in->log, LOG_TDRV, LOG_ERROR, "log_dev_mem_usage_table",
                "Displaying Current Memory Utilization:\n%s", table.s);
        strbuf_printf(&file, "Displaying Current Memory Utilization:\n%s", table.s);
        if (!file.failed)
            report_file(in, r.hbm, file.s);
    }
    strbuf_fini(&table);
    strbuf_fini(&file);
    mem_free(r.neffs);
}
