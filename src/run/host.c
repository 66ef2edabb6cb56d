/* SPDX-License-Identifier: Apache-2.0 */
/* The host's NUMA nodes, CPUs and physical cores, by hwloc. The library is loaded when somebody
 * asks, and let go again: a program that never needs it does not pay for it. */
#include <hwloc.h>
#include <string.h>

#include "base/dl.h"
#include "run/place.h"

struct hwloc {
    void *handle;
    unsigned (*version)(void);
    int (*init)(hwloc_topology_t *);
    int (*set_flags)(hwloc_topology_t, unsigned long);
    int (*load)(hwloc_topology_t);
    void (*destroy)(hwloc_topology_t);
    int (*type_depth)(hwloc_topology_t, hwloc_obj_type_t);
    unsigned (*count)(hwloc_topology_t, int);
    hwloc_obj_t (*object)(hwloc_topology_t, int, unsigned);
    int (*next)(hwloc_const_bitmap_t, int);
};

static NRT_STATUS lib_load(struct hwloc *h, struct err *err)
{
    h->handle = dlopen("libhwloc.so.15", RTLD_NOW | RTLD_LOCAL);
    if (h->handle == NULL)
        return err_set(err, NRT_FAILURE, "%s; install hwloc (package libhwloc15)", dlerror());
    if (!dl_symbol(h->handle, "hwloc_get_api_version", &h->version) ||
        !dl_symbol(h->handle, "hwloc_topology_init", &h->init) ||
        !dl_symbol(h->handle, "hwloc_topology_set_flags", &h->set_flags) ||
        !dl_symbol(h->handle, "hwloc_topology_load", &h->load) ||
        !dl_symbol(h->handle, "hwloc_topology_destroy", &h->destroy) ||
        !dl_symbol(h->handle, "hwloc_get_type_depth", &h->type_depth) ||
        !dl_symbol(h->handle, "hwloc_get_nbobjs_by_depth", &h->count) ||
        !dl_symbol(h->handle, "hwloc_get_obj_by_depth", &h->object) ||
        !dl_symbol(h->handle, "hwloc_bitmap_next", &h->next))
        return err_set(err, NRT_FAILURE, "libhwloc.so.15 lacks a function: %s", dlerror());
    if (h->version() >> 16 != HWLOC_API_VERSION >> 16)
        return err_set(err, NRT_FAILURE, "libhwloc has interface %#x, this library needs %#x",
                       h->version(), HWLOC_API_VERSION);
    return NRT_SUCCESS;
}

static bool cpus_any(const struct run_cpus *c)
{
    for (size_t i = 0; i < sizeof(c->bits) / sizeof(c->bits[0]); i++)
        if (c->bits[i] != 0)
            return true;
    return false;
}

static void cpus_of(const struct hwloc *h, hwloc_const_cpuset_t set, struct run_cpus *ret)
{
    *ret = (struct run_cpus){{0}};
    for (int c = h->next(set, -1); c >= 0 && c < RUN_CPUS_MAX; c = h->next(set, c))
        ret->bits[c / 64] |= UINT64_C(1) << c % 64;
}

static bool within(const struct run_cpus *a, const struct run_cpus *b)
{
    for (size_t i = 0; i < sizeof(a->bits) / sizeof(a->bits[0]); i++)
        if (a->bits[i] & ~b->bits[i])
            return false;
    return true;
}

static void nodes_all(const struct hwloc *h, hwloc_topology_t t, struct run_host *ret)
{
    int depth = h->type_depth(t, HWLOC_OBJ_NUMANODE);

    for (unsigned i = 0; i < h->count(t, depth) && ret->count < RUN_NODES_MAX; i++) {
        hwloc_obj_t o = h->object(t, depth, i);
        struct run_node n = {.os = o->os_index};
        unsigned at = ret->count;

        cpus_of(h, o->cpuset, &n.cpus);
        if (!cpus_any(&n.cpus))
            continue;
        for (; at > 0 && ret->node[at - 1].os > n.os; at--)
            ret->node[at] = ret->node[at - 1];
        ret->node[at] = n;
        ret->count++;
    }
}

/* Memory without CPUs of its own has those that reach it: all, or those of another node. No thread
 * could be nearer to it than to theirs. */
static void nodes_read(const struct hwloc *h, hwloc_topology_t t, struct run_host *ret)
{
    struct run_host all = {0};

    nodes_all(h, t, &all);
    for (unsigned i = 0; i < all.count; i++) {
        const struct run_cpus *mine = &all.node[i].cpus;
        bool own = true;

        for (unsigned k = 0; k < all.count; k++)
            if (k != i && within(&all.node[k].cpus, mine) &&
                (k < i || !within(mine, &all.node[k].cpus)))
                own = false;
        if (own)
            ret->node[ret->count++] = all.node[i];
    }
}

static void cores_read(const struct hwloc *h, hwloc_topology_t t, struct run_host *ret)
{
    int depth = h->type_depth(t, HWLOC_OBJ_CORE);

    for (unsigned c = 0; c < RUN_CPUS_MAX; c++)
        ret->core[c] = (uint16_t)c;
    for (unsigned i = 0; depth >= 0 && i < h->count(t, depth); i++) {
        hwloc_const_cpuset_t set = h->object(t, depth, i)->cpuset;
        int first = h->next(set, -1);

        for (int c = first; c >= 0 && c < RUN_CPUS_MAX; c = h->next(set, c))
            ret->core[c] = (uint16_t)first;
    }
}

static NRT_STATUS topology_read(const struct hwloc *h, struct run_host *ret, struct err *err)
{
    hwloc_topology_t t;

    if (h->init(&t) != 0)
        return err_set(err, NRT_FAILURE, "hwloc cannot begin");
    /* The caller's thread is the program's: discovery must not move it. */
    if (h->set_flags(t, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING) != 0 || h->load(t) != 0) {
        h->destroy(t);
        return err_set(err, NRT_FAILURE, "hwloc cannot read the machine");
    }
    nodes_read(h, t, ret);
    cores_read(h, t, ret);
    h->destroy(t);
    return ret->count > 0 ? NRT_SUCCESS
                          : err_set(err, NRT_FAILURE, "hwloc knows no NUMA node with CPUs");
}

NRT_STATUS run_host_read(struct run_host *ret, struct err *err)
{
    struct hwloc h = {0};
    NRT_STATUS st = lib_load(&h, err);

    memset(ret, 0, sizeof(*ret));
    if (st == NRT_SUCCESS)
        st = topology_read(&h, ret, err);
    if (h.handle != NULL)
        dlclose(h.handle);
    return st;
}
