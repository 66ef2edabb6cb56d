/* SPDX-License-Identifier: Apache-2.0 */
/* A sorted list of paths; each file knows from which number of the account, the tally or the type
 * it is read, at the moment it is read. */
#include "sysfs_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define PATH_ROOM 192 /* a directory of 127 characters and the longest name in it */
static const char *const part_names[PARTS] = {"total", "present", "peak"};

/* ---- which nodes there are ---- */

static struct sysfs_entry *add(struct sysfs_tree *t, enum sysfs_kind kind, unsigned mode,
                               const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static struct sysfs_entry *add(struct sysfs_tree *t, enum sysfs_kind kind, unsigned mode,
                               const char *fmt, ...)
{
    static struct sysfs_entry nowhere;
    char path[PATH_ROOM];
    struct sysfs_entry *e = &nowhere;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    if (t->failed || !mem_grow((void **)&t->entries, &t->cap, t->count + 1, sizeof(*t->entries))) {
        t->failed = true;
        return e;
    }
    e = &t->entries[t->count];
    *e = (struct sysfs_entry){.path = mem_strdup(path), .kind = kind, .mode = mode};
    if (e->path)
        t->count++;
    else
        t->failed = true;
    return e;
}

static void add_file(struct sysfs_tree *t, unsigned mode, const char *dir, const char *name,
                     struct sysfs_source from)
{
    struct sysfs_entry *e = add(t, SYSFS_FILE, mode, "%s%s%s", dir, *dir ? "/" : "", name);

    e->source = from;
}

/* The files of a counter, in its directory. */
static void add_parts(struct sysfs_tree *t, const char *dir, enum sysfs_part parts,
                      struct sysfs_source from)
{
    for (unsigned p = 0; p < parts; p++) {
        struct sysfs_entry *e = add(t, SYSFS_FILE, 0644, "%s/%s", dir, part_names[p]);

        e->source = from;
        e->source.part = p;
        e->counter = true;
    }
}

static void add_counter(struct sysfs_tree *t, const char *dir, const char *name,
                        enum sysfs_part parts, struct sysfs_source from)
{
    char path[PATH_ROOM];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    add(t, SYSFS_DIR, 0755, "%s", path);
    add_parts(t, path, parts, from);
}

/* Names of the guide for nodes that the driver calls otherwise. */
static void add_guide_names(struct sysfs_tree *t, const char *dir)
{
    static const char *const names[][2] = {
        {"infer_completed_with_error", "execute_completed_with_error"},
        {"infer_completed_with_num_error", "execute_completed_with_num_error"},
        {"infer_failed_to_queue", "execute_failed_to_queue"}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct sysfs_entry *e = add(t, SYSFS_LINK, 0777, "%s/%s", dir, names[i][0]);

        snprintf(e->link, sizeof(e->link), "%s", names[i][1]);
    }
}

static void add_core(struct sysfs_tree *t, uint32_t dev, uint32_t core)
{
    struct sysfs_source from = {.dev = dev, .core = core};
    char base[64], dir[128];

    snprintf(base, sizeof(base), "neuron%u/neuron_core%u", dev, core % t->topo->cores_per_device);
    add(t, SYSFS_DIR, 0755, "%s", base);
    add(t, SYSFS_DIR, 0755, "%s/info", base);
    add(t, SYSFS_DIR, 0755, "%s/info/architecture", base);
    from.what = WHAT_TEXT;
    from.which = TEXT_CORE_ARCH;
    add_file(t, 0444, base, "info/architecture/arch_type", from);
    add(t, SYSFS_DIR, 0755, "%s/stats", base);
    add(t, SYSFS_DIR, 0755, "%s/stats/status", base);
    add(t, SYSFS_DIR, 0755, "%s/stats/other_info", base);
    from.what = WHAT_COUNTER;
    for (unsigned c = 0; c < DEVICE_CTR_COUNT; c++) {
        snprintf(dir, sizeof(dir), "%s/stats/%s", base,
                 c < DEVICE_CTR_FLOP_COUNT ? "status" : "other_info");
        from.which = c;
        add_counter(t, dir, device_counter_name((enum device_counter)c), PART_PEAK, from);
    }
    snprintf(dir, sizeof(dir), "%s/stats/status", base);
    add_guide_names(t, dir);
    add(t, SYSFS_DIR, 0755, "%s/stats/memory_usage", base);
    snprintf(dir, sizeof(dir), "%s/stats/memory_usage", base);
    from.what = WHAT_DEVICE_MEM;
    from.which = DEVICE_MEM_ALL;
    add_counter(t, dir, "device_mem", PARTS, from);
    snprintf(dir, sizeof(dir), "%s/stats/memory_usage/device_mem", base);
    for (unsigned n = 0; n < DEVICE_MEM_ALL; n++) {
        from.which = n;
        add_counter(t, dir, device_mem_node_name((enum device_mem_node)n), PARTS, from);
    }
    snprintf(dir, sizeof(dir), "%s/stats/memory_usage", base);
    from.what = WHAT_HOST_CORE;
    add_counter(t, dir, "host_mem", PARTS, from);
}

static void add_texts(struct sysfs_tree *t, const char *dev_dir, uint32_t dev)
{
    static const struct {
        const char *name;
        enum sysfs_constant text;
    } files[] = {{"connected_devices", TEXT_CONNECTED},
                 {"core_count", TEXT_CORE_COUNT},
                 {"info/architecture/arch_type", TEXT_DEVICE_ARCH},
                 {"info/architecture/instance_type", TEXT_INSTANCE_TYPE},
                 {"info/architecture/device_name", TEXT_DEVICE_NAME},
                 {"uevent", TEXT_EMPTY},
                 {"power/async", TEXT_DISABLED},
                 {"power/control", TEXT_AUTO},
                 {"power/runtime_status", TEXT_UNSUPPORTED},
                 {"power/runtime_active_time", TEXT_ZERO},
                 {"power/runtime_active_kids", TEXT_ZERO},
                 {"power/runtime_suspended_time", TEXT_ZERO}};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        add_file(t, 0444, dev_dir, files[i].name,
                 (struct sysfs_source){.what = WHAT_TEXT, .which = files[i].text, .dev = dev});
}

static void add_hardware(struct sysfs_tree *t, const char *dev_dir, uint32_t dev)
{
    static const char *const ecc[DEVICE_ECC_COUNT] = {
        [DEVICE_ECC_SRAM_UNCORRECTED] = "sram_ecc_uncorrected",
        [DEVICE_ECC_MEM_UNCORRECTED] = "mem_ecc_uncorrected",
        [DEVICE_ECC_MEM_REPAIRABLE] = "mem_ecc_repairable_uncorrected",
        [DEVICE_ECC_SRAM_CORRECTED] = "sram_ecc_corrected",
        [DEVICE_ECC_MEM_CORRECTED] = "mem_ecc_corrected"};
    static const struct {
        const char *name;
        enum sysfs_what what;
    } files[] = {{"stats/hardware/health_status/hw_error_count", WHAT_HW_ERRORS},
                 {"stats/hardware/health_status/unhealthy_components", WHAT_UNHEALTHY},
                 {"stats/hardware/health_status/healthcheck_heartbeat", WHAT_HEARTBEAT},
                 {"stats/power/utilization", WHAT_POWER},
                 {"stats/power/utilization_raw", WHAT_POWER_RAW}};
    struct sysfs_source from = {.what = WHAT_ECC, .dev = dev};
    char dir[128];

    for (unsigned i = 0; i < DEVICE_ECC_COUNT; i++) {
        from.which = i;
        snprintf(dir, sizeof(dir), "%s/stats/hardware", dev_dir);
        add_file(t, 0444, dir, ecc[i], from);
        snprintf(dir, sizeof(dir), "%s/stats/hardware/health_status", dev_dir);
        add_file(t, 0444, dir, ecc[i], from);
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        add_file(t, 0444, dev_dir, files[i].name,
                 (struct sysfs_source){.what = files[i].what, .dev = dev});
}

static void add_device(struct sysfs_tree *t, uint32_t dev)
{
    static const char *const dirs[] = {"",
                                       "/info",
                                       "/info/architecture",
                                       "/power",
                                       "/stats",
                                       "/stats/hardware",
                                       "/stats/hardware/health_status",
                                       "/stats/memory_usage",
                                       "/stats/memory_usage/host_mem",
                                       "/stats/power"};
    static const struct {
        const char *name;
        enum device_host_mem kind;
    } host[] = {{"application_memory", DEVICE_HOST_APP}, {"constants", DEVICE_HOST_CONST},
                {"dma_buffers", DEVICE_HOST_DMA},        {"dma_rings", DEVICE_HOST_COUNT},
                {"driver_memory", DEVICE_HOST_COUNT},    {"notifications", DEVICE_HOST_COUNT},
                {"tensors", DEVICE_HOST_TENSOR},         {"uncategorized", DEVICE_HOST_COUNT}};
    struct sysfs_source from = {.dev = dev};
    char base[32], dir[64];
    struct sysfs_entry *e;

    snprintf(base, sizeof(base), "neuron%u", dev);
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
        add(t, SYSFS_DIR, 0755, "%s%s", base, dirs[i]);
    e = add(t, SYSFS_LINK, 0777, "%s/subsystem", base);
    snprintf(e->link, sizeof(e->link), "..");
    add_texts(t, base, dev);
    add_hardware(t, base, dev);
    from.what = WHAT_SERIAL;
    add_file(t, 0444, base, "info/serial_number", from);
    from.what = WHAT_NOTIFY;
    add_file(t, 0644, base, "info/notify_delay", from);
    from.what = WHAT_RESET;
    add_file(t, 0200, base, "reset", from);
    snprintf(dir, sizeof(dir), "%s/stats/memory_usage/host_mem", base);
    from.what = WHAT_HOST_MEM;
    for (size_t i = 0; i < sizeof(host) / sizeof(host[0]); i++) {
        from.which = host[i].kind;
        add_counter(t, dir, host[i].name, PARTS, from);
    }
    for (unsigned c = 0; c < t->topo->cores_per_device; c++)
        add_core(t, dev, dev * t->topo->cores_per_device + c);
}

/* Attributes of the class: the place in an UltraServer. */
static void add_class(struct sysfs_tree *t)
{
    static const struct {
        const char *name;
        enum sysfs_what what;
        unsigned servers;
    } files[] = {{"node_id_2", WHAT_ULTRA_NODE, 2},
                 {"node_id_4", WHAT_ULTRA_NODE, 4},
                 {"server_id_2", WHAT_ULTRA_SERVER, 2},
                 {"server_id_4", WHAT_ULTRA_SERVER, 4},
                 {"ultraserver_mode", WHAT_ULTRA_MODE, 0}};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        add_file(t, 0444, "", files[i].name,
                 (struct sysfs_source){.what = files[i].what, .which = files[i].servers});
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct sysfs_entry *)a)->path, ((const struct sysfs_entry *)b)->path);
}

static void entries_free(struct sysfs_tree *t)
{
    for (size_t i = 0; i < t->count; i++)
        mem_free(t->entries[i].path);
    mem_free(t->entries);
    t->entries = NULL;
    t->count = t->cap = 0;
}

static bool entries_make(struct sysfs_tree *t)
{
    entries_free(t);
    t->failed = false;
    t->topo = t->view->topo;
    add(t, SYSFS_DIR, 0755, "%s", "");
    add_class(t);
    for (uint32_t d = 0; d < t->topo->device_count; d++)
        add_device(t, d);
    if (t->count)
        qsort(t->entries, t->count, sizeof(*t->entries), by_path);
    return !t->failed;
}

bool sysfs_tree_open(struct sysfs_tree *t, struct view *v)
{
    *t = (struct sysfs_tree){.view = v};
    for (unsigned d = 0; d < TOPO_MAX_DEVICES; d++)
        t->notify[d] = -1;
    return entries_make(t);
}

void sysfs_tree_close(struct sysfs_tree *t)
{
    entries_free(t);
}

bool sysfs_tree_refresh(struct sysfs_tree *t)
{
    view_refresh(t->view);
    return (t->topo == t->view->topo && !t->failed) || entries_make(t);
}

const struct sysfs_entry *sysfs_find(const struct sysfs_tree *t, const char *path)
{
    size_t low = 0, high = t->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(path, t->entries[mid].path);

        if (order == 0)
            return &t->entries[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

const struct sysfs_entry *sysfs_child(const struct sysfs_tree *t, const struct sysfs_entry *dir,
                                      size_t *at, const char **ret_name)
{
    size_t n = strlen(dir->path);

    for (; *at < t->count; (*at)++) {
        const char *path = t->entries[*at].path;
        const char *name = n ? path + n + 1 : path;

        if (!*path || strncmp(path, dir->path, n) != 0 || (n && path[n] != '/') ||
            strchr(name, '/'))
            continue;
        *ret_name = name;
        return &t->entries[(*at)++];
    }
    return NULL;
}
