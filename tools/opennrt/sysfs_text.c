/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the sysfs tree say, at the moment they are read, and what writing to them does.
 */
#include "sysfs_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- what they say ---- */

static void text_connected(const struct topo_instance *topo, uint32_t dev,
                           char text[SYSFS_TEXT_MAX])
{
    const struct topo_device *d = &topo->devices[dev];
    size_t n = 0;

    text[0] = 0;
    for (unsigned i = 0; i < d->connected_count && n < SYSFS_TEXT_MAX; i++)
        n += (size_t)snprintf(text + n, SYSFS_TEXT_MAX - n, "%s%u", i ? ", " : "", d->connected[i]);
    if (n < SYSFS_TEXT_MAX)
        snprintf(text + n, SYSFS_TEXT_MAX - n, "\n");
}

static void text_constant(const struct topo_instance *topo, const struct sysfs_source *s,
                          char text[SYSFS_TEXT_MAX])
{
    char number[16];
    const char *say = "";

    switch ((enum sysfs_constant)s->which) {
    case TEXT_CONNECTED:
        text_connected(topo, s->dev, text);
        return;
    case TEXT_CORE_COUNT:
        snprintf(number, sizeof(number), "%u", topo->cores_per_device);
        say = number;
        break;
    case TEXT_DEVICE_ARCH:
        say = topo->device_arch;
        break;
    case TEXT_CORE_ARCH:
        say = topo->core_arch;
        break;
    case TEXT_INSTANCE_TYPE:
        say = topo->family;
        break;
    case TEXT_DEVICE_NAME:
        say = topo->device_name;
        break;
    case TEXT_EMPTY:
        text[0] = 0;
        return;
    case TEXT_DISABLED:
        say = "disabled";
        break;
    case TEXT_AUTO:
        say = "auto";
        break;
    case TEXT_UNSUPPORTED:
        say = "unsupported";
        break;
    case TEXT_ZERO:
        say = "0";
        break;
    }
    snprintf(text, SYSFS_TEXT_MAX, "%s\n", say);
}

static uint64_t count_of(const struct view *v, uint32_t core, enum device_counter c,
                         enum sysfs_part part)
{
    uint64_t total, present;

    device_counter_get(v->in, core, c, &total, &present);
    return part == PART_TOTAL ? total : present;
}

static uint64_t level_part(const struct device_level *l, unsigned part)
{
    return part == PART_TOTAL ? l->total : part == PART_PRESENT ? l->present : l->peak;
}

/* Executions that the hardware failed, over the cores of a device. */
static uint64_t hw_errors(const struct view *v, uint32_t dev)
{
    static const enum device_counter hw[] = {
        DEVICE_CTR_HW_ERROR, DEVICE_CTR_HW_HBM_UE_ERROR, DEVICE_CTR_HW_NC_UE_ERROR,
        DEVICE_CTR_HW_DMA_ABORT_ERROR, DEVICE_CTR_HW_REPAIRABLE_HBM_UE_ERROR};
    uint32_t per = v->topo->cores_per_device;
    uint64_t sum = 0;

    for (uint32_t c = dev * per; c < (dev + 1) * per; c++)
        for (size_t i = 0; i < sizeof(hw) / sizeof(hw[0]); i++)
            sum += count_of(v, c, hw[i], PART_TOTAL);
    return sum;
}

/* Files that hold one number; false: another kind of file. */
static bool number_of(const struct view *v, const struct sysfs_source *s, uint64_t *ret)
{
    struct device_level l = {0};

    switch ((enum sysfs_what)s->what) {
    case WHAT_COUNTER:
        *ret = v->in ? count_of(v, s->core, (enum device_counter)s->which, (enum sysfs_part)s->part)
                     : 0;
        return true;
    case WHAT_DEVICE_MEM:
        if (v->in)
            (void)device_mem_node_get(v->in, s->core, (enum device_mem_node)s->which, &l);
        break;
    case WHAT_HOST_MEM:
        if (v->in)
            device_host_get(v->in, s->dev, (enum device_host_mem)s->which, &l);
        break;
    case WHAT_HOST_CORE:
        if (v->in)
            device_host_core_get(v->in, s->core, &l);
        break;
    case WHAT_ECC:
        *ret = v->in ? device_ecc_get(v->in, s->dev, (enum device_ecc)s->which) : 0;
        return true;
    case WHAT_HW_ERRORS:
        *ret = v->in ? hw_errors(v, s->dev) : 0;
        return true;
    case WHAT_HEARTBEAT:
        *ret = (uint64_t)time(NULL);
        return true;
    default:
        return false;
    }
    *ret = level_part(&l, s->part);
    return true;
}

static void text_unhealthy(const struct view *v, uint32_t dev, char text[SYSFS_TEXT_MAX])
{
    bool hbm = false, sram = false;

    if (v->in) {
        hbm = device_ecc_get(v->in, dev, DEVICE_ECC_MEM_UNCORRECTED) ||
              device_ecc_get(v->in, dev, DEVICE_ECC_MEM_REPAIRABLE);
        sram = device_ecc_get(v->in, dev, DEVICE_ECC_SRAM_UNCORRECTED) != 0;
    }
    snprintf(text, SYSFS_TEXT_MAX, "%s%s%s\n", hbm ? "hbm" : "", hbm && sram ? "," : "",
             sram ? "sram" : "");
}

static void text_ultra(const struct view *v, const struct sysfs_source *s,
                       char text[SYSFS_TEXT_MAX])
{
    unsigned servers = v->topo->servers;

    if (s->what == WHAT_ULTRA_MODE)
        snprintf(text, SYSFS_TEXT_MAX, "%s\n", servers == 4 ? "4,2,1" : servers == 2 ? "2,1" : "1");
    else if (s->what == WHAT_ULTRA_NODE)
        snprintf(text, SYSFS_TEXT_MAX, "%d\n", servers >= s->which ? 0 : -1);
    else
        snprintf(text, SYSFS_TEXT_MAX, "%016" PRIx64 "\n",
                 servers >= s->which && v->in ? device_instance_serial(v->in) : 0);
}

bool sysfs_read(struct sysfs_tree *t, const struct sysfs_entry *e, char text[SYSFS_TEXT_MAX])
{
    const struct view *v = t->view;
    const struct sysfs_source *s = &e->source;
    uint64_t n;

    text[0] = 0;
    if (e->kind != SYSFS_FILE)
        return false;
    if (number_of(v, s, &n)) {
        snprintf(text, SYSFS_TEXT_MAX, "%" PRIu64 "\n", n);
        return true;
    }
    switch ((enum sysfs_what)s->what) {
    case WHAT_TEXT:
        text_constant(v->topo, s, text);
        break;
    case WHAT_UNHEALTHY:
        text_unhealthy(v, s->dev, text);
        break;
    case WHAT_POWER: /* nothing draws power that could be measured */
        snprintf(text, SYSFS_TEXT_MAX, "POWER_STATUS_NO_DATA,%lld,0.00,0.00,0.00\n",
                 (long long)time(NULL));
        break;
    case WHAT_POWER_RAW:
        snprintf(text, SYSFS_TEXT_MAX, "POWER_STATUS_NO_DATA,%lld,0,0,0\n", (long long)time(NULL));
        break;
    case WHAT_SERIAL:
        snprintf(text, SYSFS_TEXT_MAX, "%016" PRIx64 "\n",
                 v->in ? device_serial(v->in, s->dev) : 0);
        break;
    case WHAT_NOTIFY:
        snprintf(text, SYSFS_TEXT_MAX, "%d\n", t->notify[s->dev]);
        break;
    case WHAT_ULTRA_NODE:
    case WHAT_ULTRA_SERVER:
    case WHAT_ULTRA_MODE:
        text_ultra(v, s, text);
        break;
    default:
        break;
    }
    return true;
}

/* ---- writing ---- */

static int write_notify(struct sysfs_tree *t, uint32_t dev, const char *text, size_t size)
{
    while (size && (text[size - 1] == '\n' || text[size - 1] == ' '))
        size--;
    if (size == 1 && text[0] == '0')
        t->notify[dev] = 0;
    else if (size == 2 && memcmp(text, "-1", 2) == 0)
        t->notify[dev] = -1;
    else
        return EINVAL;
    return 0;
}

static int clear(const struct view *v, const struct sysfs_source *s)
{
    if (!v->in)
        return 0; /* nothing has been counted */
    switch ((enum sysfs_what)s->what) {
    case WHAT_COUNTER:
        device_counter_clear(v->in, s->core, (enum device_counter)s->which);
        return 0;
    case WHAT_DEVICE_MEM:
        device_mem_node_clear(v->in, s->core, (enum device_mem_node)s->which);
        return 0;
    case WHAT_HOST_MEM:
        device_host_clear(v->in, s->dev, (enum device_host_mem)s->which);
        return 0;
    case WHAT_HOST_CORE:
        device_host_core_clear(v->in, s->core);
        return 0;
    default:
        return EACCES;
    }
}

int sysfs_write(struct sysfs_tree *t, const struct sysfs_entry *e, const char *text, size_t size)
{
    const struct sysfs_source *s = &e->source;
    struct err err = {0};

    if (e->kind != SYSFS_FILE)
        return EISDIR;
    if (s->what == WHAT_NOTIFY)
        return write_notify(t, s->dev, text, size);
    if (s->what == WHAT_RESET)
        return t->view->in && device_reset(t->view->in, s->dev, &err) != NRT_SUCCESS ? EBUSY : 0;
    return clear(t->view, s);
}
