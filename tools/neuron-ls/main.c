/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-ls: the devices of the instance and the processes that use them (behaviour.md 19.1). */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/broken.h"
#include "base/mem.h"
#include "common/json_out.h"
#include "common/options.h"
#include "common/view.h"
#include "neuron-ls/lookers.h"

#define MIB           (UINT64_C(1) << 20)
#define GIB           (UINT64_C(1) << 30)
#define COMMAND_WIDE  80
#define COMMAND_SHORT 40
#define MAX_COLUMNS   16
#define TORUS_SIDE    4

enum mode { MODE_DEFAULT, MODE_WIDE, MODE_ALL, MODE_TOPOLOGY, MODE_JSON };

struct process {
    int pid;
    char command[COMMAND_WIDE + 1];
    char version[64];
};

struct processes {
    struct process *p;
    size_t count, cap;
};

/* ---- facts ---- */

static unsigned logical_cores(const struct view *v)
{
    return v->topo->cores_per_device / v->lnc;
}

/* At most max characters, a longer text cut and ended with dots. */
static void cut(char *to, size_t size, const char *from, unsigned max)
{
    if (strlen(from) <= max)
        snprintf(to, size, "%s", from);
    else
        snprintf(to, size, "%.*s...", (int)max - 3, from);
}

static bool listed(const struct processes *ps, int pid)
{
    for (size_t i = 0; i < ps->count; i++)
        if (ps->p[i].pid == pid)
            return true;
    return false;
}

static bool process_add(struct processes *ps, int pid, const char *command, unsigned max,
                        const char *version)
{
    struct process *p;

    if (!mem_grow((void **)&ps->p, &ps->cap, ps->count + 1, sizeof(*ps->p)))
        return false;
    p = &ps->p[ps->count++];
    p->pid = pid;
    cut(p->command, sizeof(p->command), command, max);
    snprintf(p->version, sizeof(p->version), "%s", version);
    return true;
}

/* Processes that own a core of the device. */
static bool processes_of(const struct view *v, unsigned dev, unsigned max, struct processes *ps)
{
    for (unsigned c = 0; v->in && c < v->topo->cores_per_device; c++) {
        uint32_t slot = device_core_owner(v->in, dev * v->topo->cores_per_device + c);
        struct device_process dp;

        if (slot == DEVICE_NONE || !device_process_get(v->in, slot, &dp) || !dp.live ||
            listed(ps, dp.pid))
            continue;
        if (!process_add(ps, dp.pid, dp.command, max, dp.runtime_version))
            return false;
    }
    return true;
}

static const char *or_na(const char *text)
{
    return text && text[0] ? text : "NA";
}

/* "0000:cc:00.0" without its domain. */
static const char *short_bdf(const char *bdf)
{
    const char *colon = bdf ? strchr(bdf, ':') : NULL;

    return or_na(colon && strchr(colon + 1, ':') ? colon + 1 : bdf);
}

/* ---- tables ---- */

struct table {
    const char *head[MAX_COLUMNS][2];
    size_t width[MAX_COLUMNS];
    unsigned columns;
    char (*cells)[COMMAND_WIDE + 1]; /* rows * columns */
    size_t rows, cap;
    bool *rule_after; /* a separator line after this row */
    size_t rule_cap;
};

static void column(struct table *t, const char *first, const char *second)
{
    size_t a = strlen(first), b = strlen(second);

    t->head[t->columns][0] = first;
    t->head[t->columns][1] = second;
    t->width[t->columns++] = a > b ? a : b;
}

static bool row_add(struct table *t)
{
    if (!mem_grow((void **)&t->cells, &t->cap, (t->rows + 1) * t->columns, sizeof(*t->cells)) ||
        !mem_grow((void **)&t->rule_after, &t->rule_cap, t->rows + 1, sizeof(*t->rule_after)))
        return false;
    for (unsigned c = 0; c < t->columns; c++)
        t->cells[t->rows * t->columns + c][0] = '\0';
    t->rule_after[t->rows++] = false;
    return true;
}

/* A cell of the last row. */
static void cell(struct table *t, unsigned c, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void cell(struct table *t, unsigned c, const char *fmt, ...)
{
    char *to = t->cells[(t->rows - 1) * t->columns + c];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(to, sizeof(t->cells[0]), fmt, ap);
    va_end(ap);
    if (strlen(to) > t->width[c])
        t->width[c] = strlen(to);
}

static void rule(const struct table *t)
{
    for (unsigned c = 0; c < t->columns; c++) {
        putchar('+');
        for (size_t i = 0; i < t->width[c] + 2; i++)
            putchar('-');
    }
    puts("+");
}

static void centred(const char *text, size_t width)
{
    size_t blank = width - strlen(text), left = blank / 2;

    printf("%*s%s%*s", (int)left, "", text, (int)(blank - left), "");
}

static void table_print(const struct table *t)
{
    rule(t);
    for (int line = 0; line < 2; line++) {
        for (unsigned c = 0; c < t->columns; c++) {
            putchar('|');
            centred(t->head[c][line], t->width[c] + 2);
        }
        puts("|");
    }
    rule(t);
    for (size_t r = 0; r < t->rows; r++) {
        for (unsigned c = 0; c < t->columns; c++)
            printf("| %-*s ", (int)t->width[c], t->cells[r * t->columns + c]);
        puts("|");
        if (t->rule_after[r] && r + 1 < t->rows)
            rule(t);
    }
    rule(t);
}

static void table_fini(struct table *t)
{
    mem_free(t->cells);
    mem_free(t->rule_after);
}

/* ---- text modes ---- */

static void connected_text(const struct topo_device *d, char *buf, size_t size)
{
    size_t n = 0;

    snprintf(buf, size, "None");
    for (unsigned i = 0; i < d->connected_count && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%u", i ? ", " : "", d->connected[i]);
}

/* In MB where it is no whole number of GB (OPENNRT_HBM_MIB). */
static void memory_text(uint64_t bytes, char *buf, size_t size)
{
    bool whole = bytes % GIB == 0;

    snprintf(buf, size, "%llu %s", (unsigned long long)(bytes / (whole ? GIB : MIB)),
             whole ? "GB" : "MB");
}

static void device_cells(struct table *t, const struct view *v, unsigned dev, enum mode mode)
{
    const struct topo_device *d = &v->topo->devices[dev];
    unsigned cores = logical_cores(v), c = 0;
    char text[COMMAND_WIDE + 1];

    cell(t, c++, "%u", dev);
    cell(t, c++, "%u", cores);
    if (mode == MODE_DEFAULT && cores > 1)
        cell(t, c++, "%u-%u", dev * cores, dev * cores + cores - 1);
    else if (mode == MODE_DEFAULT)
        cell(t, c++, "%u", dev * cores);
    memory_text(view_device_bytes(v), text, sizeof(text));
    cell(t, c++, "%s", text);
    connected_text(d, text, sizeof(text));
    cell(t, c++, "%s", text);
    if (mode != MODE_DEFAULT) {
        cell(t, c++, "%s", short_bdf(d->pci_bdf));
        return;
    }
    cell(t, c++, "%s", or_na(d->pci_bdf));
    cell(t, c++, "%s", or_na(d->cpu_affinity));
    if (d->numa_node >= 0 && !BROKEN(PERF))
        cell(t, c, "%d", d->numa_node);
    else
        cell(t, c, "NA");
}

static void columns(struct table *t, enum mode mode)
{
    column(t, "NEURON", "DEVICE");
    column(t, "NEURON", "CORES");
    if (mode == MODE_DEFAULT)
        column(t, "NEURON", "CORE IDS");
    column(t, "NEURON", "MEMORY");
    column(t, "CONNECTED", "DEVICES");
    column(t, "PCI", "BDF");
    if (mode == MODE_DEFAULT) {
        column(t, "CPU", "AFFINITY");
        column(t, "NUMA", "NODE");
    } else if (mode != MODE_TOPOLOGY) {
        column(t, "PID", "");
        column(t, "COMMAND", "");
        column(t, "RUNTIME", "VERSION");
    }
}

/* Processes that look at the instance and have no runtime, this one among them: at every device. */
static bool add_lookers(const struct view *v, struct processes *ps)
{
    struct lookers list;
    bool ok = lookers_find(v, &list);

    for (size_t i = 0; ok && i < list.count; i++)
        if (!listed(ps, list.l[i].pid))
            ok = process_add(ps, list.l[i].pid, list.l[i].command, COMMAND_SHORT, "NA");
    lookers_fini(&list);
    return ok;
}

static bool process_rows(struct table *t, const struct processes *ps)
{
    unsigned c = t->columns - 3;

    for (size_t i = 0; i < ps->count; i++) {
        if (i && !row_add(t))
            return false;
        cell(t, c, "%d", ps->p[i].pid);
        cell(t, c + 1, "%s", ps->p[i].command);
        cell(t, c + 2, "%s", ps->p[i].version);
    }
    return true;
}

static bool device_rows(struct table *t, const struct view *v, unsigned dev, enum mode mode)
{
    struct processes ps = {.count = 0};
    bool ok;

    if (!row_add(t))
        return false;
    device_cells(t, v, dev, mode);
    if (mode != MODE_WIDE && mode != MODE_ALL)
        return true;

    ok = processes_of(v, dev, mode == MODE_WIDE ? COMMAND_WIDE : COMMAND_SHORT, &ps) &&
         (mode != MODE_ALL || add_lookers(v, &ps)) && process_rows(t, &ps);
    mem_free(ps.p);
    t->rule_after[t->rows - 1] = mode == MODE_ALL;
    return ok;
}

static void arrows(const char *what, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        printf("%s%s", i ? "        " : "      ", what);
    puts("      ");
}

/* A row of devices that wraps around, as a torus and a ring do. */
static void drawn_row(unsigned first, unsigned count, bool wraps)
{
    printf(wraps ? "*\u2013\u2013\u25ba" : "    ");
    for (unsigned i = 0; i < count; i++)
        printf("%s[%2u ]", i ? "\u25c4\u2013\u2013\u25ba" : "", first + i);
    puts(wraps ? "\u25c4\u2013\u2013*" : "");
}

static void drawing(const struct view *v)
{
    unsigned n = v->topo->device_count, side = TORUS_SIDE;

    puts("\n\nNeuron Device Topology");
    if (n == side * side) {
        arrows("*", side);
        for (unsigned r = 0; r < side; r++) {
            arrows("\u2502", side);
            arrows("\u25bc", side);
            drawn_row(r * side, side, true);
            arrows("\u25b2", side);
        }
        arrows("\u2502", side);
        arrows("*", side);
    } else {
        drawn_row(0, n, n > 2);
    }
    if (n > 2)
        puts("\nLegend:\n\n        *\u2013\u2013\u25ba = Wrap-around link");
}

static bool print_text(const struct view *v, enum mode mode)
{
    struct table t = {.columns = 0};
    bool ok = true;

    printf("instance-type: %s\n", v->topo->name);
    printf("instance-id: opennrt-%s (software device)\n", v->name);
    if (v->topo->lnc_max > 1)
        printf("logical-neuroncore-config: %u\n", v->lnc);
    columns(&t, mode);
    for (unsigned d = 0; ok && d < v->topo->device_count; d++)
        ok = device_rows(&t, v, d, mode);
    if (ok)
        table_print(&t);
    if (ok && mode == MODE_TOPOLOGY)
        drawing(v);
    table_fini(&t);
    return ok;
}

/* ---- JSON ---- */

static bool json_processes(struct json_out *j, const struct view *v, unsigned dev)
{
    struct processes ps = {.count = 0};
    bool ok = processes_of(v, dev, COMMAND_SHORT, &ps);

    json_out_open(j, "neuron_processes", '[');
    for (size_t i = 0; ok && i < ps.count; i++) {
        json_out_open(j, NULL, '{');
        json_out_int(j, "pid", ps.p[i].pid);
        json_out_text(j, "command", ps.p[i].command);
        json_out_text(j, "neuron_runtime_version", ps.p[i].version);
        json_out_close(j, '}');
    }
    json_out_close(j, ']');
    mem_free(ps.p);
    return ok;
}

static bool json_device(struct json_out *j, const struct view *v, unsigned dev)
{
    const struct topo_device *d = &v->topo->devices[dev];
    unsigned cores = logical_cores(v);
    char numa[8] = "NA";
    bool ok;

    if (d->numa_node >= 0)
        snprintf(numa, sizeof(numa), "%d", d->numa_node);
    json_out_open(j, NULL, '{');
    json_out_uint(j, "neuron_device", dev);
    json_out_text(j, "bdf", short_bdf(d->pci_bdf));
    json_out_text(j, "cpu_affinity", or_na(d->cpu_affinity));
    json_out_text(j, "numa_node", numa);
    json_out_open(j, "connected_to", '[');
    for (unsigned i = 0; i < d->connected_count; i++)
        json_out_uint(j, NULL, d->connected[i]);
    json_out_close(j, ']');
    json_out_uint(j, "nc_count", cores);
    json_out_uint(j, "logical_neuroncore_config", v->lnc);
    json_out_uint(j, "memory_size", view_device_bytes(v));
    json_out_open(j, "neuroncore_ids", '[');
    for (unsigned i = 0; i < cores; i++)
        json_out_uint(j, NULL, dev * cores + i);
    json_out_close(j, ']');
    ok = json_processes(j, v, dev);
    json_out_close(j, '}');
    return ok;
}

static bool print_json(const struct view *v)
{
    struct json_out j = {.indent = 4};
    bool ok = true;

    json_out_open(&j, NULL, '[');
    for (unsigned d = 0; ok && d < v->topo->device_count; d++)
        ok = json_device(&j, v, d);
    json_out_close(&j, ']');
    ok = ok && !j.out.failed;
    if (ok)
        puts(j.out.s);
    strbuf_fini(&j.out);
    return ok;
}

/* ---- main ---- */

int main(int argc, char **argv)
{
    int mode = MODE_DEFAULT, first, code;
    const struct tool_option options[] = {
        {'w', "wide", NULL, "one line per device with its processes", &mode, MODE_WIDE},
        {'a', "show-all-procs", NULL, "also processes without a runtime", &mode, MODE_ALL},
        {'t', "topology", NULL, "draw how the devices are connected", &mode, MODE_TOPOLOGY},
        {'j', "json-output", NULL, "the same facts as JSON", &mode, MODE_JSON},
    };
    const struct tool tool = {
        .name = "neuron-ls",
        .arguments = "[options]",
        .about = "Shows the Neuron devices of the instance (here a software one: see\n"
                 "OPENNRT_INSTANCE and OPENNRT_INSTANCE_TYPE) and the processes that use them.\n",
        .options = options,
        .count = sizeof(options) / sizeof(options[0])};
    struct view v;
    bool ok;

    if (!tool_parse(&tool, argc, argv, &first, &code))
        return code;
    if (first < argc)
        return tool_usage(&tool, "unexpected \"%s\"", argv[first]);
    if (!view_open(&v, tool.name))
        return TOOL_FAILED;
    ok = mode == MODE_JSON ? print_json(&v) : print_text(&v, (enum mode)mode);
    view_close(&v);
    return tool_end(tool.name, ok ? TOOL_OK : TOOL_FAILED);
}
