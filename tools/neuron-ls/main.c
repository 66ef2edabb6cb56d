/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-ls: the devices of the instance and the processes that use them (behaviour.md 19.1). */
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/settings.h"
#include "base/strbuf.h"
#include "device/device.h"

#define GIB           (UINT64_C(1) << 30)
#define COMMAND_WIDE  80
#define COMMAND_SHORT 40
#define MAX_PROCESSES 64 /* shown per device */
#define MAX_COLUMNS   16
#define TORUS_SIDE    4

enum mode { MODE_DEFAULT, MODE_WIDE, MODE_ALL, MODE_TOPOLOGY, MODE_JSON };

/* What is shown: an instance that lives, or the one that the first process would create. */
struct view {
    struct device_instance *in; /* NULL: not created yet */
    const struct topo_instance *topo;
    const char *name;
    unsigned lnc;
};

struct process {
    int pid;
    char command[COMMAND_WIDE + 1];
    char version[64];
};

struct processes {
    struct process p[MAX_PROCESSES];
    unsigned count;
};

/* ---- facts ---- */

static bool view_open(struct view *v)
{
    struct device_config cfg = {0};
    struct err err = {0};

    memset(v, 0, sizeof(*v));
    if (strcmp(settings_str("OPENNRT_INSTANCE_TYPE", ""), "none") == 0) {
        fprintf(stderr, "neuron-ls: no neuron device found\n");
        return false;
    }
    if (device_config_env(&cfg, &err) != NRT_SUCCESS) {
        fprintf(stderr, "neuron-ls: %s\n", err.text);
        return false;
    }
    cfg.observe = true;
    v->name = cfg.name ? cfg.name : "default";
    if (device_instance_open(&cfg, &v->in, NULL) == NRT_SUCCESS)
        v->topo = device_topo(v->in);
    else
        v->topo = topo_instance_find(cfg.type ? cfg.type : "trn1.2xlarge");
    if (!v->topo) {
        fprintf(stderr, "neuron-ls: no instance type \"%s\"\n", cfg.type);
        return false;
    }
    v->lnc = cfg.lnc && topo_lnc_ok(v->topo, cfg.lnc) ? cfg.lnc : v->topo->lnc_default;
    return true;
}

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
    for (unsigned i = 0; i < ps->count; i++)
        if (ps->p[i].pid == pid)
            return true;
    return false;
}

/* Processes that own a core of the device. */
static void processes_of(const struct view *v, unsigned dev, unsigned max, struct processes *ps)
{
    ps->count = 0;
    for (unsigned c = 0; v->in && c < v->topo->cores_per_device; c++) {
        uint32_t slot = device_core_owner(v->in, dev * v->topo->cores_per_device + c);
        struct device_process dp;

        if (slot == DEVICE_NONE || !device_process_get(v->in, slot, &dp) || !dp.live ||
            listed(ps, dp.pid) || ps->count == MAX_PROCESSES)
            continue;
        ps->p[ps->count].pid = dp.pid;
        cut(ps->p[ps->count].command, sizeof(ps->p[0].command), dp.command, max);
        snprintf(ps->p[ps->count].version, sizeof(ps->p[0].version), "%s", dp.runtime_version);
        ps->count++;
    }
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
    cell(t, c++, "%llu GB",
         (unsigned long long)(v->topo->hbm_bytes * v->topo->hbms_per_device / GIB));
    connected_text(d, text, sizeof(text));
    cell(t, c++, "%s", text);
    if (mode != MODE_DEFAULT) {
        cell(t, c++, "%s", short_bdf(d->pci_bdf));
        return;
    }
    cell(t, c++, "%s", or_na(d->pci_bdf));
    cell(t, c++, "%s", or_na(d->cpu_affinity));
    if (d->numa_node >= 0)
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

/* This process looks at every device and has no runtime. */
static void add_self(struct processes *ps)
{
    struct process *p = &ps->p[ps->count < MAX_PROCESSES ? ps->count++ : MAX_PROCESSES - 1];

    p->pid = (int)getpid();
    snprintf(p->command, sizeof(p->command), "neuron-ls --show-all-procs");
    snprintf(p->version, sizeof(p->version), "NA");
}

static bool device_rows(struct table *t, const struct view *v, unsigned dev, enum mode mode)
{
    struct processes ps = {.count = 0};
    unsigned c = t->columns - 3;

    if (!row_add(t))
        return false;
    device_cells(t, v, dev, mode);
    if (mode != MODE_WIDE && mode != MODE_ALL)
        return true;

    processes_of(v, dev, mode == MODE_WIDE ? COMMAND_WIDE : COMMAND_SHORT, &ps);
    if (mode == MODE_ALL)
        add_self(&ps);
    for (unsigned i = 0; i < ps.count; i++) {
        if (i && !row_add(t))
            return false;
        cell(t, c, "%d", ps.p[i].pid);
        cell(t, c + 1, "%s", ps.p[i].command);
        cell(t, c + 2, "%s", ps.p[i].version);
    }
    t->rule_after[t->rows - 1] = mode == MODE_ALL;
    return true;
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

static void json_text(const char *s)
{
    putchar('"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void json_numbers(const char *key, const uint8_t *from, unsigned first, unsigned count)
{
    printf("        \"%s\": [", key);
    for (unsigned i = 0; i < count; i++)
        printf("%s\n            %u", i ? "," : "", from ? from[i] : first + i);
    printf(count ? "\n        ],\n" : "],\n");
}

static void json_device(const struct view *v, unsigned dev)
{
    const struct topo_device *d = &v->topo->devices[dev];
    unsigned cores = logical_cores(v);
    struct processes ps;

    printf("    {\n        \"neuron_device\": %u,\n        \"bdf\": ", dev);
    json_text(short_bdf(d->pci_bdf));
    printf(",\n        \"cpu_affinity\": ");
    json_text(or_na(d->cpu_affinity));
    if (d->numa_node >= 0)
        printf(",\n        \"numa_node\": \"%d\",\n", d->numa_node);
    else
        printf(",\n        \"numa_node\": \"NA\",\n");
    json_numbers("connected_to", d->connected, 0, d->connected_count);
    printf("        \"nc_count\": %u,\n        \"logical_neuroncore_config\": %u,\n", cores,
           v->lnc);
    printf("        \"memory_size\": %llu,\n",
           (unsigned long long)(v->topo->hbm_bytes * v->topo->hbms_per_device));
    json_numbers("neuroncore_ids", NULL, dev * cores, cores);
    processes_of(v, dev, COMMAND_SHORT, &ps);
    printf("        \"neuron_processes\": [");
    for (unsigned i = 0; i < ps.count; i++) {
        printf("%s\n            {\n                \"pid\": %d,\n                \"command\": ",
               i ? "," : "", ps.p[i].pid);
        json_text(ps.p[i].command);
        printf(",\n                \"neuron_runtime_version\": ");
        json_text(ps.p[i].version);
        printf("\n            }");
    }
    printf(ps.count ? "\n        ]\n    }" : "]\n    }");
}

static void print_json(const struct view *v)
{
    printf("[\n");
    for (unsigned d = 0; d < v->topo->device_count; d++) {
        json_device(v, d);
        puts(d + 1 < v->topo->device_count ? "," : "");
    }
    printf("]\n");
}

/* ---- main ---- */

static void help(FILE *to)
{
    fprintf(
        to,
        "usage: neuron-ls [options]\n\n"
        "Shows the Neuron devices of the instance (here a software one: see OPENNRT_INSTANCE and\n"
        "OPENNRT_INSTANCE_TYPE) and the processes that use them.\n\n"
        "  -w, --wide            one line per device with its processes\n"
        "  -a, --show-all-procs  also processes without a runtime\n"
        "  -t, --topology        draw how the devices are connected\n"
        "  -j, --json-output     the same facts as JSON\n"
        "  -h, --help            this text\n"
        "      --version         version of this tool\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"wide", no_argument, NULL, 'w'},
                                            {"show-all-procs", no_argument, NULL, 'a'},
                                            {"topology", no_argument, NULL, 't'},
                                            {"json-output", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'V'},
                                            {NULL, 0, NULL, 0}};
    enum mode mode = MODE_DEFAULT;
    struct view v;
    bool ok = true;
    int c;

    while ((c = getopt_long(argc, argv, "watjh", options, NULL)) != -1) {
        switch (c) {
        case 'w':
            mode = MODE_WIDE;
            break;
        case 'a':
            mode = MODE_ALL;
            break;
        case 't':
            mode = MODE_TOPOLOGY;
            break;
        case 'j':
            mode = MODE_JSON;
            break;
        case 'h':
            help(stdout);
            return 0;
        case 'V':
            printf("neuron-ls %s (OpenNRT, software device)\n", OPENNRT_VERSION);
            return 0;
        default:
            help(stderr);
            return 2;
        }
    }
    if (optind < argc) {
        help(stderr);
        return 2;
    }
    if (!view_open(&v))
        return 1;
    if (mode == MODE_JSON)
        print_json(&v);
    else
        ok = print_text(&v, mode);
    device_instance_close(v.in);
    return ok && fflush(stdout) == 0 ? 0 : 1;
}
