/* SPDX-License-Identifier: Apache-2.0 */
/* The groups of metrics as JSON objects: the fields of behaviour.md 19.3. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "neuron-monitor/groups.h"

/* ---- of an application ---- */

static void cores(struct json_out *j, const struct view *v, const struct sample *prev,
                  const struct sample *cur, size_t process)
{
    unsigned lnc = cur->snap.processes[process].p.lnc;
    char key[32];
    double flops;

    json_out_open(j, "neuroncores_in_use", '{');
    for (uint32_t nc = 0; lnc && (nc + 1) * lnc <= cur->snap.core_count; nc++) {
        if (cur->snap.cores[nc * lnc].process != process)
            continue;
        snprintf(key, sizeof(key), "%u", nc);
        json_out_open(j, key, '{');
        json_out_real(j, "neuroncore_utilization",
                      sample_vnc_utilization(prev, cur, nc, lnc, &flops));
        json_out_real(j, "flops", flops);
        if (strcmp(topo_core_version(v->topo, lnc), "v3d") == 0) {
            json_out_open(j, "v3d", '{');
            for (uint32_t c = nc * lnc; c < (nc + 1) * lnc; c++) {
                snprintf(key, sizeof(key), "nc_v3.%u", c);
                json_out_open(j, key, '{');
                json_out_real(j, "neuroncore_utilization",
                              100 * rate_utilization(&prev->snap, &cur->snap, c));
                json_out_close(j, '}');
            }
            json_out_close(j, '}');
        }
        json_out_close(j, '}');
    }
    json_out_close(j, '}');
}

static void host_breakdown(struct json_out *j, const uint64_t host[DEVICE_HOST_COUNT])
{
    json_out_open(j, "host", '{');
    json_out_uint(j, "application_memory", host[DEVICE_HOST_APP]);
    json_out_uint(j, "constants", host[DEVICE_HOST_CONST]);
    json_out_uint(j, "dma_buffers", host[DEVICE_HOST_DMA]);
    json_out_uint(j, "tensors", host[DEVICE_HOST_TENSOR]);
    json_out_close(j, '}');
}

/* The monitor's keys of the categories (behaviour.md 11). scratch: of a core, with the pages that
 * all NEFFs of the core share. */
static void device_breakdown(struct json_out *j, const struct device_usage *u, bool scratch)
{
    const uint64_t *b = u->bytes;
    uint64_t named = b[DEVICE_CAT_CONST] + b[DEVICE_CAT_CODE] + b[DEVICE_CAT_TENSOR] +
                     b[DEVICE_CAT_SHARED_SCRATCH];

    json_out_uint(j, "constants", b[DEVICE_CAT_CONST]);
    json_out_uint(j, "model_code", b[DEVICE_CAT_CODE]);
    if (scratch)
        json_out_uint(j, "model_shared_scratchpad", b[DEVICE_CAT_SHARED_SCRATCH]);
    json_out_uint(j, "runtime_memory", u->total - named);
    json_out_uint(j, "tensors", b[DEVICE_CAT_TENSOR]);
}

static void usage_sum(const struct snap *s, uint32_t slot, uint32_t first, uint32_t count,
                      struct device_usage *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (uint32_t c = first; c < first + count; c++) {
        struct device_usage u;

        snap_usage(s, slot, c, SNAP_ANY_NEFF, &u);
        for (unsigned k = 0; k < DEVICE_CAT_COUNT; k++)
            ret->bytes[k] += u.bytes[k];
        ret->total += u.total;
    }
}

static void uuid_text(const uint8_t *u, char *buf, size_t size)
{
    size_t n = 0;

    for (unsigned i = 0; i < 16 && n + 4 < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%02x",
                              i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
}

static void subgraph(struct json_out *j, const struct view *v, const struct snap *s,
                     const struct device_neff_info *n, unsigned lnc)
{
    static const uint64_t host[DEVICE_HOST_COUNT]; /* a model's memory is all on the device */
    struct device_usage u;
    char key[16];

    snap_usage(s, n->slot, n->core, n->id, &u);
    snprintf(key, sizeof(key), "sg_%02u", n->core % lnc);
    json_out_open(j, key, '{');
    json_out_open(j, "memory_used_bytes", '{');
    json_out_uint(j, "host", 0);
    json_out_uint(j, "neuron_device", u.total);
    json_out_open(j, "usage_breakdown", '{');
    host_breakdown(j, host);
    json_out_open(j, "neuron_device", '{');
    device_breakdown(j, &u, false);
    json_out_close(j, '}');
    json_out_close(j, '}');
    json_out_close(j, '}');
    json_out_uint(j, "neuroncore_index", n->core / lnc);
    json_out_uint(j, "neuron_device_index", topo_core_device(v->topo, n->core));
    json_out_close(j, '}');
}

/* One object per model and logical core. */
static void models(struct json_out *j, const struct view *v, const struct snap *s, size_t process)
{
    const struct device_process *p = &s->processes[process].p;
    unsigned lnc = p->lnc;

    json_out_open(j, "loaded_models", '[');
    for (size_t i = 0; lnc && i < s->neff_count; i++) {
        const struct device_neff_info *n = &s->neffs[i];
        char uuid[40] = "";
        bool running = false;
        size_t more = i;

        if (n->slot != p->slot)
            continue;
        for (; more < s->neff_count && s->neffs[more].slot == n->slot &&
               s->neffs[more].id == n->id && s->neffs[more].core / lnc == n->core / lnc;
             more++)
            running = running || (s->neffs[more].core < s->core_count &&
                                  s->cores[s->neffs[more].core].running == n->id);
        uuid_text(n->uuid, uuid, sizeof(uuid));
        json_out_open(j, NULL, '{');
        json_out_text(j, "name", n->name);
        json_out_text(j, "uuid", uuid);
        json_out_uint(j, "model_id", n->id);
        json_out_bool(j, "is_running", running);
        json_out_open(j, "subgraphs", '{');
        for (size_t k = i; k < more; k++)
            subgraph(j, v, s, &s->neffs[k], lnc);
        json_out_close(j, '}');
        json_out_close(j, '}');
        i = more - 1;
    }
    json_out_close(j, ']');
}

static void memory(struct json_out *j, const struct view *v, const struct sample *cur,
                   size_t process)
{
    const struct snap_process *p = &cur->snap.processes[process];
    uint64_t host[DEVICE_HOST_COUNT], host_sum = sample_host_bytes(cur, process, host);
    unsigned lnc = p->p.lnc;
    struct device_usage u;
    char key[32];

    json_out_open(j, "neuron_runtime_used_bytes", '{');
    json_out_uint(j, "host", host_sum);
    json_out_uint(j, "neuron_device", p->device_bytes);
    json_out_open(j, "usage_breakdown", '{');
    host_breakdown(j, host);
    json_out_open(j, "neuroncore_memory_usage", '{');
    for (uint32_t nc = 0; lnc && (nc + 1) * lnc <= cur->snap.core_count; nc++) {
        usage_sum(&cur->snap, p->p.slot, nc * lnc, lnc, &u);
        if (cur->snap.cores[nc * lnc].process != process && u.total == 0)
            continue;
        snprintf(key, sizeof(key), "%u", nc);
        json_out_open(j, key, '{');
        device_breakdown(j, &u, true);
        json_out_close(j, '}');
    }
    json_out_close(j, '}');
    json_out_close(j, '}');
    json_out_close(j, '}');
    models(j, v, &cur->snap, process);
}

static void latency(struct json_out *j, const char *key, const double seconds[RATE_PERCENTILES],
                    bool any)
{
    char name[8];

    if (!any) {
        json_out_null(j, key);
        return;
    }
    json_out_open(j, key, '{');
    for (unsigned i = 0; i < RATE_PERCENTILES; i++) {
        snprintf(name, sizeof(name), "p%u", rate_percentiles[i]);
        json_out_real(j, name, seconds[i]);
    }
    json_out_close(j, '}');
}

static void executions(struct json_out *j, const struct sample *prev, const struct sample *cur,
                       size_t process)
{
    uint64_t errors[SAMPLE_ERRORS], statuses[SAMPLE_STATUSES];
    struct rate_executions x;

    rate_executions(&prev->snap, &cur->snap, (uint32_t)process, &x);
    sample_outcomes(x.count, errors, statuses);
    json_out_open(j, "error_summary", '{');
    for (unsigned i = 0; i < SAMPLE_ERRORS; i++)
        json_out_uint(j, sample_error_names[i], errors[i]);
    json_out_close(j, '}');
    json_out_open(j, "execution_summary", '{');
    for (unsigned i = 0; i < SAMPLE_STATUSES; i++)
        json_out_uint(j, sample_status_names[i], statuses[i]);
    json_out_close(j, '}');
    json_out_open(j, "latency_stats", '{');
    latency(j, "total_latency", x.whole, x.timed != 0);
    latency(j, "device_latency", x.core, x.timed != 0);
    json_out_close(j, '}');
}

/* "" when it could be measured. */
static const char *runtime_vcpu(struct json_out *j, const struct sample *prev,
                                const struct sample *cur, size_t process)
{
    double user, system;

    json_out_open(j, "vcpu_usage", '{');
    if (!sample_vcpu(prev, cur, process, &user, &system)) {
        json_out_null(j, "user");
        json_out_null(j, "system");
        json_out_close(j, '}');
        return "the process is new or gone";
    }
    json_out_real(j, "user", user);
    json_out_real(j, "system", system);
    json_out_close(j, '}');
    return "";
}

void group_app(struct json_out *j, const struct view *v, enum mon_group g,
               const struct sample *prev, const struct sample *cur, size_t process)
{
    const char *error = "";

    json_out_open(j, mon_group_names[g], '{');
    json_out_real(j, "period", rate_seconds(&prev->snap, &cur->snap));
    if (g == MON_CORES)
        cores(j, v, prev, cur, process);
    else if (g == MON_MEMORY)
        memory(j, v, cur, process);
    else if (g == MON_EXECUTIONS)
        executions(j, prev, cur, process);
    else
        error = runtime_vcpu(j, prev, cur, process);
    json_out_text(j, "error", error);
    json_out_close(j, '}');
}

/* ---- of the system ---- */

static void cpu(struct json_out *j, const char *key, const struct host_cpu *prev,
                const struct host_cpu *cur)
{
    double share[HOST_USE_COUNT];

    host_cpu_shares(prev, cur, share);
    json_out_open(j, key, '{');
    for (unsigned i = 0; i < HOST_USE_COUNT; i++)
        json_out_real(j, host_use_names[i], share[i]);
    json_out_close(j, '}');
}

static const char *vcpu(struct json_out *j, const struct sample *prev, const struct sample *cur)
{
    static const struct host_cpu none;
    char key[16];

    if (!cur->cpus_ok || !prev->cpus_ok)
        return "/proc/stat cannot be read";
    cpu(j, "average_usage", &prev->cpus.all, &cur->cpus.all);
    json_out_open(j, "usage_data", '{');
    for (size_t i = 0; i < cur->cpus.count; i++) {
        const struct host_cpu *c = &cur->cpus.cpu[i], *was = &none;

        for (size_t k = 0; k < prev->cpus.count; k++)
            if (prev->cpus.cpu[k].number == c->number)
                was = &prev->cpus.cpu[k];
        snprintf(key, sizeof(key), "%u", c->number);
        cpu(j, key, was, c);
    }
    json_out_close(j, '}');
    json_out_uint(j, "context_switch_count",
                  cur->cpus.context_switches - prev->cpus.context_switches);
    return "";
}

static const char *memory_info(struct json_out *j, const struct sample *cur)
{
    if (!cur->memory_ok)
        return "/proc/meminfo cannot be read";
    json_out_uint(j, "memory_total_bytes", cur->memory.total);
    json_out_uint(j, "memory_used_bytes", cur->memory.used);
    json_out_uint(j, "swap_total_bytes", cur->memory.swap_total);
    json_out_uint(j, "swap_used_bytes", cur->memory.swap_used);
    return "";
}

static const char *hw_counters(struct json_out *j, const struct view *v)
{
    json_out_open(j, "neuron_devices", '[');
    for (unsigned d = 0; v->in && d < v->topo->device_count; d++) {
        json_out_open(j, NULL, '{');
        json_out_uint(j, "neuron_device_index", d);
        json_out_uint(j, "mem_ecc_corrected", device_ecc_get(v->in, d, DEVICE_ECC_MEM_CORRECTED));
        json_out_uint(j, "mem_ecc_uncorrected",
                      device_ecc_get(v->in, d, DEVICE_ECC_MEM_UNCORRECTED));
        json_out_uint(j, "mem_ecc_repairable_uncorrected",
                      device_ecc_get(v->in, d, DEVICE_ECC_MEM_REPAIRABLE));
        json_out_uint(j, "sram_ecc_uncorrected",
                      device_ecc_get(v->in, d, DEVICE_ECC_SRAM_UNCORRECTED));
        json_out_uint(j, "sram_ecc_corrected", device_ecc_get(v->in, d, DEVICE_ECC_SRAM_CORRECTED));
        json_out_close(j, '}');
    }
    json_out_close(j, ']');
    return v->in ? "" : "the instance has not been made yet";
}

void group_system(struct json_out *j, const struct view *v, enum mon_group g,
                  const struct sample *prev, const struct sample *cur)
{
    const char *error;

    json_out_open(j, mon_group_names[g], '{');
    json_out_real(j, "period", rate_seconds(&prev->snap, &cur->snap));
    if (g == MON_VCPU)
        error = vcpu(j, prev, cur);
    else if (g == MON_MEMORY_INFO)
        error = memory_info(j, cur);
    else
        error = hw_counters(j, v);
    json_out_text(j, "error", error);
    json_out_close(j, '}');
}

/* ---- of the instance ---- */

void group_instance(struct json_out *j, const struct view *v)
{
    static const char *const none[] = {"instance_availability_zone",
                                       "instance_availability_zone_id", "instance_region", "ami_id",
                                       "subnet_id"};
    char id[96];

    snprintf(id, sizeof(id), "opennrt-%s", v->name);
    json_out_open(j, "instance_info", '{');
    json_out_text(j, "instance_name", v->name);
    json_out_text(j, "instance_id", id);
    json_out_text(j, "instance_type", v->topo->name);
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        json_out_text(j, none[i], "");
    json_out_text(j, "error", "a software device: there is no instance metadata service");
    json_out_close(j, '}');
}

void group_device_names(const struct view *v, char *type, size_t size, const char **ret_version)
{
    size_t n = 0;

    for (const char *p = v->topo->device_name; *p && !isdigit((unsigned char)*p) && n + 1 < size;
         p++)
        type[n++] = (char)tolower((unsigned char)*p);
    type[n] = '\0';
    *ret_version = v->topo->device_arch + 2; /* "NDv2" */
}

void group_hardware(struct json_out *j, const struct view *v)
{
    const char *version;
    char type[32];

    group_device_names(v, type, sizeof(type), &version);
    json_out_open(j, "neuron_hardware_info", '{');
    json_out_text(j, "neuron_device_type", type);
    json_out_text(j, "neuron_device_version", version);
    json_out_text(j, "neuroncore_version", topo_core_version(v->topo, v->lnc));
    json_out_uint(j, "neuron_device_count", v->topo->device_count);
    json_out_uint(j, "neuron_device_memory_size", view_device_bytes(v));
    json_out_uint(j, "neuroncore_per_device_count", v->topo->cores_per_device / v->lnc);
    json_out_uint(j, "logical_neuroncore_config", v->lnc);
    json_out_text(j, "error", v->err.status == NRT_SUCCESS ? "" : v->err.text);
    json_out_close(j, '}');
}
