/* SPDX-License-Identifier: Apache-2.0 */
/* The allocation log: the last n allocations and frees of this process, written as CSV when an
 * allocation fails. The ring grows as it fills, so that a short program pays for what it used. */
#include "device/device_int.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct memlog_entry {
    uint64_t addr, size;
    uint32_t core;
    uint8_t cat;
    bool alloc;
    char name[34];
};

struct memlog {
    pthread_mutex_t lock;
    struct memlog_entry *ring;
    size_t cap;
    uint64_t max, count; /* count: entries ever */
};

struct memlog *memlog_create(uint64_t max_entries)
{
    struct memlog *ml = max_entries ? mem_zalloc(sizeof(*ml)) : NULL;

    if (ml) {
        pthread_mutex_init(&ml->lock, NULL);
        ml->max = max_entries;
    }
    return ml;
}

void memlog_destroy(struct memlog *ml)
{
    if (!ml)
        return;
    pthread_mutex_destroy(&ml->lock);
    mem_free(ml->ring);
    mem_free(ml);
}

void memlog_add(struct device_instance *in, bool alloc, const struct ctl_extent *x,
                const char *name)
{
    struct memlog *ml = in->memlog;

    if (!ml)
        return;
    pthread_mutex_lock(&ml->lock);
    if (ml->count < ml->max && ml->count >= ml->cap &&
        !mem_grow((void **)&ml->ring, &ml->cap, ml->count + 1, sizeof(*ml->ring)))
        ml->max = ml->cap; /* as long as memory allowed */
    if (ml->max) {
        struct memlog_entry *e = &ml->ring[ml->count % ml->max];

        e->addr = DEVICE_ADDR(x->hbm, x->off);
        e->size = atomic_load_explicit(&x->size, memory_order_relaxed);
        e->core = x->core;
        e->cat = (uint8_t)x->cat;
        e->alloc = alloc;
        snprintf(e->name, sizeof(e->name), "%s", name ? name : "");
        ml->count++;
    }
    pthread_mutex_unlock(&ml->lock);
}

/* Quotes as CSV wants them. */
static void put_name(struct strbuf *b, const char *name)
{
    if (!strpbrk(name, ",\"\n\r")) {
        strbuf_put(b, name);
        return;
    }
    strbuf_put(b, "\"");
    for (; *name; name++)
        strbuf_printf(b, *name == '"' ? "\"\"" : "%c", *name);
    strbuf_put(b, "\"");
}

static void put_entry(struct device_instance *in, struct strbuf *b, uint64_t index,
                      const struct memlog_entry *e)
{
    const struct topo_instance *t = in->topo;

    strbuf_printf(b, "%" PRIu64 ",%s,%u,%u,%u,%s,0x%" PRIx64 ",%" PRIu64 ",", index,
                  e->alloc ? "alloc" : "free", topo_core_device(t, e->core),
                  e->core % t->cores_per_device, DEVICE_ADDR_HBM(e->addr) % t->hbms_per_device,
                  device_cat_name((enum device_cat)e->cat), e->addr, e->size);
    put_name(b, e->name);
    strbuf_put(b, "\n");
}

void report_write(struct device_instance *in, const char *func, const char *name, const char *text,
                  size_t size)
{
    char path[CTL_PATH_MAX + 96];
    struct stat st;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", in->cfg.report_dir ? in->cfg.report_dir : "/tmp", name);
    fd = fd_keep(open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644));
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || ftruncate(fd, 0) != 0 ||
        !fd_write_all(fd, text, size))
        LOGW(in->log, LOG_TDRV, func, "cannot write %s", path);
    if (fd >= 0)
        close(fd);
}

void memlog_write_csv(struct device_instance *in)
{
    struct memlog *ml = in->memlog;
    char name[40];
    struct strbuf b = {0};

    if (!ml)
        return;
    strbuf_put(&b, "index,op,device,nc,hbm,category,address,size,name\n");
    pthread_mutex_lock(&ml->lock);
    for (uint64_t i = ml->count > ml->max ? ml->count - ml->max : 0; i < ml->count; i++)
        put_entry(in, &b, i, &ml->ring[i % ml->max]);
    pthread_mutex_unlock(&ml->lock);

    snprintf(name, sizeof(name), "neuron_memlog_%d.csv", (int)in->pid);
    if (b.failed)
        LOGW(in->log, LOG_TDRV, "log_dev_mem", "no memory for %s", name);
    else
        report_write(in, "log_dev_mem", name, b.s, b.len);
    strbuf_fini(&b);
}
