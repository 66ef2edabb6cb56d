/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "neuron-monitor/prometheus.h"

struct text {
    struct strbuf *b;
    const struct view *v;
    const struct mon_config *c;
    const struct sample *prev, *cur;
};

static void family(struct text *t, const char *name, const char *type, const char *help)
{
    strbuf_printf(t->b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: escapes of the format; what is not UTF-8 becomes '?'. */
static void label(struct text *t, bool first, const char *name, const char *value)
{
    strbuf_printf(t->b, "%s%s=\"", first ? "{" : ",", name);
    while (*value) {
        size_t n = utf8_size(value);

        if (*value == '\n')
            strbuf_put(t->b, "\\n");
        else if (*value == '"' || *value == '\\')
            strbuf_printf(t->b, "\\%c", *value);
        else if (n == 0)
            strbuf_put(t->b, "?");
        else
            strbuf_putn(t->b, value, n);
        value += n ? n : 1;
    }
    strbuf_put(t->b, "\"");
}

static void process_labels(struct text *t, const char *name, size_t process)
{
    const struct device_process *p = &t->cur->snap.processes[process].p;
    char pid[16];

    snprintf(pid, sizeof(pid), "%d", p->pid);
    strbuf_put(t->b, name);
    label(t, true, "runtime_tag", p->tag);
    label(t, false, "pid", pid);
}

static void real(struct text *t, double v)
{
    strbuf_printf(t->b, "} %.9g\n", v);
}

static void whole(struct text *t, uint64_t v)
{
    strbuf_printf(t->b, "} %" PRIu64 "\n", v);
}

static bool wanted(const struct text *t, size_t process)
{
    for (size_t r = 0; r < t->c->runtime_count; r++)
        if (mon_runtime_matches(&t->c->runtime[r], t->cur->snap.processes[process].p.tag))
            return true;
    return false;
}

/* ---- of the applications ---- */

static void cores(struct text *t, bool flops)
{
    const char *name = flops ? "neuroncore_flops" : "neuroncore_utilization_ratio";
    const struct snap *s = &t->cur->snap;
    char nc[16];

    family(t, name, "gauge",
           flops ? "Floating point operations per second of a NeuronCore."
                 : "Share of the time in which a NeuronCore was busy.");
    for (size_t i = 0; i < s->process_count; i++) {
        unsigned lnc = s->processes[i].p.lnc;

        for (uint32_t c = 0; wanted(t, i) && lnc && (c + 1) * lnc <= s->core_count; c++) {
            double rate, utilization;

            if (s->cores[c * lnc].process != i)
                continue;
            utilization = sample_vnc_utilization(t->prev, t->cur, c, lnc, &rate);
            snprintf(nc, sizeof(nc), "%u", c);
            process_labels(t, name, i);
            label(t, false, "neuroncore", nc);
            real(t, flops ? rate : utilization / 100);
        }
    }
}

static void memory(struct text *t)
{
    const char *name = "neuron_runtime_memory_used_bytes";
    uint64_t host[DEVICE_HOST_COUNT];

    family(t, name, "gauge", "Memory that a process uses.");
    for (size_t i = 0; i < t->cur->snap.process_count; i++) {
        if (!wanted(t, i))
            continue;
        process_labels(t, name, i);
        label(t, false, "memory_location", "host");
        whole(t, sample_host_bytes(t->cur, i, host));
        process_labels(t, name, i);
        label(t, false, "memory_location", "neuron_device");
        whole(t, t->cur->snap.processes[i].device_bytes);
    }
}

static void latency(struct text *t, const char *name, const char *help, bool core)
{
    struct rate_executions x;
    char percentile[8];

    family(t, name, "gauge", help);
    for (size_t i = 0; i < t->cur->snap.process_count; i++) {
        if (!wanted(t, i))
            continue;
        rate_executions(&t->prev->snap, &t->cur->snap, (uint32_t)i, &x);
        for (unsigned k = 0; x.timed && k < RATE_PERCENTILES; k++) {
            snprintf(percentile, sizeof(percentile), "p%u", rate_percentiles[k]);
            process_labels(t, name, i);
            label(t, false, "percentile", percentile);
            real(t, core ? x.core[k] : x.whole[k]);
        }
    }
}

/* Since the process claimed its cores. */
static void outcomes(struct text *t, bool of_errors)
{
    const char *name = of_errors ? "execution_errors_total" : "execution_status_total";
    static const struct snap none;
    struct rate_executions x;

    family(t, name, "counter",
           of_errors ? "Failed executions by kind of error." : "Executions by how they ended.");
    for (size_t i = 0; i < t->cur->snap.process_count; i++) {
        uint64_t errors[SAMPLE_ERRORS], statuses[SAMPLE_STATUSES];

        if (!wanted(t, i))
            continue;
        rate_executions(&none, &t->cur->snap, (uint32_t)i, &x);
        sample_outcomes(x.count, errors, statuses);
        for (unsigned k = 0; k < (of_errors ? SAMPLE_ERRORS : SAMPLE_STATUSES); k++) {
            process_labels(t, name, i);
            label(t, false, of_errors ? "error_type" : "status_type",
                  of_errors ? sample_error_names[k] : sample_status_names[k]);
            whole(t, of_errors ? errors[k] : statuses[k]);
        }
    }
}

static void runtime_vcpu(struct text *t)
{
    const char *name = "neuron_runtime_vcpu_usage_ratio";
    double user, system;

    family(t, name, "gauge", "CPU time of a process, as a share of one CPU.");
    for (size_t i = 0; i < t->cur->snap.process_count; i++) {
        if (!wanted(t, i) || !sample_vcpu(t->prev, t->cur, i, &user, &system))
            continue;
        process_labels(t, name, i);
        label(t, false, "usage_type", "user");
        real(t, user / 100);
        process_labels(t, name, i);
        label(t, false, "usage_type", "system");
        real(t, system / 100);
    }
}

/* ---- of the system ---- */

static void system_vcpu(struct text *t)
{
    double share[HOST_USE_COUNT];

    if (!t->cur->cpus_ok || !t->prev->cpus_ok)
        return;
    family(t, "system_vcpu_usage_ratio", "gauge", "Shares of the time of all CPUs.");
    host_cpu_shares(&t->prev->cpus.all, &t->cur->cpus.all, share);
    for (unsigned i = 0; i < HOST_USE_COUNT; i++) {
        strbuf_put(t->b, "system_vcpu_usage_ratio");
        label(t, true, "usage_type", host_use_names[i]);
        real(t, share[i] / 100);
    }
    family(t, "system_vcpu_count", "gauge", "CPUs of the host.");
    strbuf_printf(t->b, "system_vcpu_count %zu\n", t->cur->cpus.count);
}

static void system_memory(struct text *t)
{
    const struct host_memory *m = &t->cur->memory;
    const struct {
        const char *name, *help;
        uint64_t bytes;
    } rows[] = {
        {"system_memory_total_bytes", "Memory of the host.", m->total},
        {"system_memory_used_bytes", "Memory of the host that is not available.", m->used},
        {"system_swap_total_bytes", "Swap space of the host.", m->swap_total},
        {"system_swap_used_bytes", "Swap space that is used.", m->swap_used},
    };

    for (size_t i = 0; t->cur->memory_ok && i < sizeof(rows) / sizeof(rows[0]); i++) {
        family(t, rows[i].name, "gauge", rows[i].help);
        strbuf_printf(t->b, "%s %" PRIu64 "\n", rows[i].name, rows[i].bytes);
    }
}

static void hardware(struct text *t)
{
    static const char *const names[DEVICE_ECC_COUNT] = {
        "sram_ecc_uncorrected", "mem_ecc_uncorrected", "mem_ecc_repairable_uncorrected",
        "sram_ecc_corrected", "mem_ecc_corrected"};
    char device[16];

    family(t, "hardware_ecc_events_total", "counter", "Errors of memories of a device.");
    for (unsigned d = 0; t->v->in && d < t->v->topo->device_count; d++) {
        snprintf(device, sizeof(device), "%u", d);
        for (unsigned e = 0; e < DEVICE_ECC_COUNT; e++) {
            strbuf_put(t->b, "hardware_ecc_events_total");
            label(t, true, "neuron_device_index", device);
            label(t, false, "event_type", names[e]);
            whole(t, device_ecc_get(t->v->in, d, (enum device_ecc)e));
        }
    }
}

static void instance(struct text *t)
{
    char id[96];

    snprintf(id, sizeof(id), "opennrt-%s", t->v->name);
    family(t, "instance_info", "gauge", "Labels of the instance; the value is 1.");
    strbuf_put(t->b, "instance_info");
    label(t, true, "instance_name", t->v->name);
    label(t, false, "instance_id", id);
    label(t, false, "instance_type", t->v->topo->name);
    whole(t, 1);
}

void prometheus_text(struct strbuf *b, const struct view *v, const struct mon_config *c,
                     const struct sample *prev, const struct sample *cur)
{
    struct text t = {.b = b, .v = v, .c = c, .prev = prev, .cur = cur};

    cores(&t, false);
    cores(&t, true);
    memory(&t);
    latency(&t, "execution_latency_seconds",
            "Time of executions with waits and copies, over the last period.", false);
    latency(&t, "execution_device_latency_seconds",
            "Time of executions on the core, over the last period.", true);
    outcomes(&t, false);
    outcomes(&t, true);
    runtime_vcpu(&t);
    system_vcpu(&t);
    system_memory(&t);
    hardware(&t);
    instance(&t);
}
