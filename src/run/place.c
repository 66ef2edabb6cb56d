/* SPDX-License-Identifier: Apache-2.0 */
/* Placement: the documented nodes of the devices mapped onto those of the host, and which CPUs a
 * thread of ours gets. With as many nodes as the type or more, each of the type's nodes is a run of
 * the host's, over which its devices are spread; with fewer, neighbouring nodes of the type share
 * one of the host's. The mapping follows from type and host alone, so that all processes of an
 * instance find a device's memory where its other users expect it; masks only say which of the CPUs
 * there a thread may have. */
#include "run/place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/settings.h"
#include "base/strbuf.h"

#define WORDS (RUN_CPUS_MAX / 64)

struct run_place {
    struct run_place_config cfg;
    struct run_cpus proxies; /* of the variable, those that it may have; empty: not set, or none */
    pthread_mutex_t lock;
    bool mapped; /* under lock; what follows is constant from then on */
    struct run_host host;
    int at[TOPO_MAX_DEVICES]; /* index into host.node; -1: anywhere */
};

/* --- sets of CPUs ------------------------------------------------------------------------------
 */

static bool has(const struct run_cpus *c, unsigned cpu)
{
    return c->bits[cpu / 64] >> cpu % 64 & 1;
}

static unsigned count(const struct run_cpus *c)
{
    unsigned n = 0;

    for (unsigned w = 0; w < WORDS; w++)
        n += (unsigned)__builtin_popcountll(c->bits[w]);
    return n;
}

static struct run_cpus common(const struct run_cpus *a, const struct run_cpus *b)
{
    struct run_cpus r;

    for (unsigned w = 0; w < WORDS; w++)
        r.bits[w] = a->bits[w] & b->bits[w];
    return r;
}

static struct run_cpus either(const struct run_cpus *a, const struct run_cpus *b)
{
    struct run_cpus r;

    for (unsigned w = 0; w < WORDS; w++)
        r.bits[w] = a->bits[w] | b->bits[w];
    return r;
}

static struct run_cpus without(const struct run_cpus *a, const struct run_cpus *b)
{
    struct run_cpus r;

    for (unsigned w = 0; w < WORDS; w++)
        r.bits[w] = a->bits[w] & ~b->bits[w];
    return r;
}

/* --- the mapping -------------------------------------------------------------------------------
 */

/* Nodes that the documentation names for the type; 0: none. */
static unsigned nodes_published(const struct topo_instance *t)
{
    int most = -1;

    for (unsigned d = 0; d < t->device_count; d++)
        if (t->devices[d].numa_node > most)
            most = t->devices[d].numa_node;
    return (unsigned)(most + 1);
}

/* Where device d is among those of its node, and how many they are. */
static void place_in_node(const struct topo_instance *t, unsigned d, unsigned *ret_i,
                          unsigned *ret_n)
{
    *ret_i = *ret_n = 0;
    for (unsigned e = 0; e < t->device_count; e++) {
        if (t->devices[e].numa_node != t->devices[d].numa_node)
            continue;
        *ret_i += e < d;
        ++*ret_n;
    }
}

static int host_index(const struct topo_instance *t, unsigned d, unsigned types, unsigned hosts)
{
    int node = t->devices[d].numa_node;
    unsigned first, end, i, n;

    if (node < 0)
        return -1;
    first = (unsigned)node * hosts / types;
    end = ((unsigned)node + 1) * hosts / types;
    if (end <= first + 1)
        return (int)first;
    place_in_node(t, d, &i, &n);
    return (int)(first + i * (end - first) / n);
}

/* One known node: what is on it alone needs no threads or memory moved. */
static bool host_is_simple(void)
{
    char text[64];
    int fd;
    ssize_t n;

    if (getenv("HWLOC_SYNTHETIC") != NULL || getenv("HWLOC_XMLFILE") != NULL)
        return false;
    fd = open("/sys/devices/system/node/has_cpu", O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return true; /* a kernel without NUMA */
    text[n] = '\0';
    return strpbrk(text, ",-") == NULL;
}

static void mapping_log(const struct run_place *p, unsigned types)
{
    const struct topo_instance *t = p->cfg.topo;
    struct strbuf b = {0};

    if (types == 0) {
        LOGI(p->cfg.log, LOG_NRT, "nrt_init",
             "no NUMA nodes are published for %s: threads and device memory are where the system "
             "puts them",
             t->name);
        return;
    }
    if (p->host.count < 2) {
        LOGI(p->cfg.log, LOG_NRT, "nrt_init",
             "%s has %u NUMA nodes, this host one: its devices are all there", t->name, types);
        return;
    }
    for (unsigned d = 0; d < t->device_count; d++)
        strbuf_printf(&b, "%snd%u on %u", d > 0 ? ", " : "", d, p->host.node[p->at[d]].os);
    LOGI(p->cfg.log, LOG_NRT, "nrt_init", "NUMA nodes: %s has %u, this host %u%s: %s", t->name,
         types, p->host.count, p->host.count < types ? ", so that several share one" : "",
         b.failed ? "" : b.s);
    strbuf_fini(&b);
}

/* Without a topology every CPU is a core of its own, and all memory is equally near. */
static void host_get(struct run_place *p)
{
    struct err why = {0};

    if (p->cfg.host != NULL)
        return;
    for (unsigned c = 0; c < RUN_CPUS_MAX; c++)
        p->host.core[c] = (uint16_t)c;
    if (!p->cfg.one_per_core && host_is_simple())
        return;
    if (run_host_read(&p->host, &why) != NRT_SUCCESS)
        LOGW(p->cfg.log, LOG_NRT, "nrt_init", "threads and device memory are not placed: %s",
             why.text);
}

static void map(struct run_place *p)
{
    unsigned types = nodes_published(p->cfg.topo);

    pthread_mutex_lock(&p->lock);
    if (!p->mapped) {
        host_get(p);
        for (unsigned d = 0; d < TOPO_MAX_DEVICES; d++)
            p->at[d] = d < p->cfg.topo->device_count && p->host.count > 1
                           ? host_index(p->cfg.topo, d, types, p->host.count)
                           : -1;
        mapping_log(p, types);
        p->mapped = true;
    }
    pthread_mutex_unlock(&p->lock);
}

/* The device's node; NULL: anywhere. */
static const struct run_node *node_of(struct run_place *p, unsigned device)
{
    map(p);
    return device < TOPO_MAX_DEVICES && p->at[device] >= 0 ? &p->host.node[p->at[device]] : NULL;
}

/* --- making one --------------------------------------------------------------------------------
 */

void run_place_config_env(struct run_place_config *cfg, const struct diag_sink *sink)
{
    run_cpus_mine(&cfg->mask);
    cfg->low_latency = settings_str("NEURON_RT_LOW_LATENCY_TASKS_CPU_AFFINITY", NULL);
    if (cfg->low_latency != NULL)
        run_cpus_allowed(&cfg->allowed);
    cfg->one_per_core = settings_bool("NEURON_RT_ONE_THREAD_PER_CORE", false, sink);
    cfg->quota = run_quota_cpus("");
}

/* What is wrong with the variable, once. Its CPUs need not be in the mask: who keeps a program off
 * them with taskset, as the documentation advises, wants the proxies there. */
static void proxies_set(struct run_place *p)
{
    struct run_cpus wanted, may = either(&p->cfg.mask, &p->cfg.allowed);

    if (p->cfg.low_latency == NULL || p->cfg.low_latency[0] == '\0')
        return;
    if (!run_cpus_parse(p->cfg.low_latency, &wanted)) {
        LOGW(p->cfg.log, LOG_NRT, "nrt_init",
             "NEURON_RT_LOW_LATENCY_TASKS_CPU_AFFINITY: \"%s\" is no list of CPUs",
             p->cfg.low_latency);
        return;
    }
    p->proxies = common(&wanted, &may);
    if (count(&p->proxies) == 0)
        LOGW(p->cfg.log, LOG_NRT, "nrt_init",
             "NEURON_RT_LOW_LATENCY_TASKS_CPU_AFFINITY: this process may use none of the CPUs %s",
             p->cfg.low_latency);
}

NRT_STATUS run_place_new(const struct run_place_config *cfg, struct run_place **ret,
                         struct err *err)
{
    struct run_place *p = mem_zalloc(sizeof(*p));

    if (p == NULL)
        return err_set(err, NRT_RESOURCE, "no memory");
    p->cfg = *cfg;
    pthread_mutex_init(&p->lock, NULL);
    proxies_set(p);
    p->cfg.low_latency = NULL;
    if (cfg->host != NULL)
        p->host = *cfg->host;
    *ret = p;
    return NRT_SUCCESS;
}

void run_place_free(struct run_place *p)
{
    if (p == NULL)
        return;
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

/* --- answers -----------------------------------------------------------------------------------
 */

int run_place_node(struct run_place *p, unsigned device)
{
    const struct run_node *n = p != NULL ? node_of(p, device) : NULL;

    return n != NULL ? (int)n->os : -1;
}

/* Those of the mask that are on the device's node; all of the mask if none is. */
static struct run_cpus near(struct run_place *p, unsigned device)
{
    const struct run_node *n = node_of(p, device);
    struct run_cpus r = p->cfg.mask;

    if (n != NULL) {
        r = common(&n->cpus, &p->cfg.mask);
        if (count(&r) == 0)
            r = p->cfg.mask;
    }
    return r;
}

/* What the proxies leave of the mask; all of it if they leave nothing. */
static struct run_cpus spared(const struct run_place *p)
{
    struct run_cpus r = without(&p->cfg.mask, &p->proxies);

    return count(&r) != 0 ? r : p->cfg.mask;
}

/* Nothing is told of what is the whole mask: such a thread goes where its creator may. */
static bool answer(const struct run_place *p, const struct run_cpus *c, struct run_cpus *ret)
{
    if (memcmp(c, &p->cfg.mask, sizeof(*c)) == 0)
        return false;
    *ret = *c;
    return true;
}

bool run_place_worker(struct run_place *p, unsigned device, struct run_cpus *ret)
{
    struct run_cpus there, rest, mine;

    if (p == NULL)
        return false;
    there = near(p, device);
    rest = spared(p);
    mine = common(&there, &rest);
    return answer(p, count(&mine) != 0 ? &mine : &rest, ret); /* rest: the node is all proxies' */
}

bool run_place_pool(struct run_place *p, struct run_cpus *ret)
{
    struct run_cpus rest;

    if (p == NULL)
        return false;
    rest = spared(p);
    return answer(p, &rest, ret);
}

/* How many CPUs of the core before this one are in the set. */
static unsigned rank_in_core(const struct run_place *p, const struct run_cpus *c, unsigned cpu)
{
    unsigned n = 0;

    for (unsigned other = p->host.core[cpu]; other < cpu; other++)
        n += has(c, other) && p->host.core[other] == p->host.core[cpu];
    return n;
}

/* The CPU at a place of the order: the first of every core, then the second of every core. c is not
 * empty. */
static void keep_one(const struct run_place *p, unsigned number, struct run_cpus *c)
{
    unsigned skip = number % count(c);

    for (unsigned round = 0;; round++)
        for (unsigned cpu = 0; cpu < RUN_CPUS_MAX; cpu++) {
            if (!has(c, cpu) || rank_in_core(p, c, cpu) != round || skip-- != 0)
                continue;
            *c = (struct run_cpus){{0}};
            c->bits[cpu / 64] = UINT64_C(1) << cpu % 64;
            return;
        }
}

bool run_place_proxy(struct run_place *p, unsigned device, unsigned number, struct run_cpus *ret)
{
    struct run_cpus c;

    if (p == NULL)
        return false;
    c = near(p, device); /* and reads the topology */
    if (count(&p->proxies) != 0)
        c = p->proxies;
    if (count(&c) == 0)
        return false;
    if (p->cfg.one_per_core)
        keep_one(p, number, &c);
    return answer(p, &c, ret);
}

unsigned run_place_pool_size(struct run_place *p)
{
    struct run_cpus c;
    unsigned n;

    if (p == NULL || count(&p->cfg.mask) == 0)
        return run_cpu_count();
    c = spared(p);
    n = count(&c);
    return p->cfg.quota != 0 && p->cfg.quota < n ? p->cfg.quota : n;
}

bool run_memory_prefer(void *mem, size_t size, unsigned node)
{
    unsigned long mask[RUN_CPUS_MAX / (8 * sizeof(unsigned long))] = {0};
    const unsigned bits = 8 * sizeof(mask[0]);

    if (node >= RUN_CPUS_MAX) {
        errno = EINVAL;
        return false;
    }
    mask[node / bits] = 1ul << node % bits;
    /* The kernel takes one bit less than it is told of. */
    return syscall(SYS_mbind, mem, size, MPOL_PREFERRED, mask, RUN_CPUS_MAX + 1ul, 0) == 0;
}
