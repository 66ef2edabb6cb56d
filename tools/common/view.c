/* SPDX-License-Identifier: Apache-2.0 */
#include "common/view.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/settings.h"

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- the instance ---- */

bool view_open(struct view *v, const char *tool)
{
    struct err err = {0};

    memset(v, 0, sizeof(*v));
    if (strcmp(settings_str("OPENNRT_INSTANCE_TYPE", ""), "none") == 0) {
        fprintf(stderr, "%s: no neuron device found\n", tool);
        return false;
    }
    if (device_config_env(&v->cfg, &err) != NRT_SUCCESS) {
        fprintf(stderr, "%s: %s\n", tool, err.text);
        return false;
    }
    v->cfg.observe = true;
    v->name = v->cfg.name ? v->cfg.name : "default";
    view_refresh(v);
    if (!v->topo || (v->cfg.type && !topo_instance_find(v->cfg.type))) {
        fprintf(stderr, "%s: no instance type \"%s\"\n", tool, v->cfg.type);
        view_close(v);
        return false;
    }
    if (v->err.status != NRT_SUCCESS) { /* nothing is open */
        fprintf(stderr, "%s: %s\n", tool, v->err.text);
        return false;
    }
    return true;
}

void view_refresh(struct view *v)
{
    struct device_config cfg = v->cfg;
    NRT_STATUS status = NRT_SUCCESS;

    cfg.type = NULL; /* what is there is shown, whatever a new process would want */
    cfg.lnc = 0;
    if (v->in && device_instance_gone(v->in)) {
        device_instance_close(v->in);
        v->in = NULL;
    }
    v->err = (struct err){.status = NRT_SUCCESS};
    if (!v->in)
        status = device_instance_open(&cfg, &v->in, &v->err);
    if (status != NRT_SUCCESS)
        v->in = NULL;
    if (status == NRT_INVALID_HANDLE) /* there is none */
        v->err = (struct err){.status = NRT_SUCCESS};
    v->topo =
        v->in ? device_topo(v->in) : topo_instance_find(v->cfg.type ? v->cfg.type : "trn1.2xlarge");
    if (v->topo)
        v->lnc = v->cfg.lnc && topo_lnc_ok(v->topo, v->cfg.lnc) ? v->cfg.lnc : v->topo->lnc_default;
}

void view_close(struct view *v)
{
    device_instance_close(v->in);
    v->in = NULL;
}

/* ---- a snapshot ---- */

static bool take_processes(struct view *v, struct snap *s)
{
    struct device_process p;

    for (uint32_t i = 0; i < device_slot_count(v->in); i++) {
        if (!device_process_get(v->in, i, &p) || !p.live)
            continue;
        if (!mem_grow((void **)&s->processes, &s->process_cap, s->process_count + 1,
                      sizeof(*s->processes)))
            return false;
        s->processes[s->process_count++] = (struct snap_process){.p = p};
    }
    return true;
}

static uint32_t process_of(const struct snap *s, uint32_t slot)
{
    for (size_t i = 0; slot != DEVICE_NONE && i < s->process_count; i++)
        if (s->processes[i].p.slot == slot)
            return (uint32_t)i;
    return DEVICE_NONE;
}

static bool take_cores(struct view *v, struct snap *s)
{
    uint32_t n = topo_core_count(v->topo);

    s->cores = mem_calloc(n, sizeof(*s->cores));
    if (!s->cores)
        return false;
    s->core_count = n;
    for (uint32_t c = 0; c < n; c++) {
        const struct device_live_page *page = device_live(v->in, c);
        struct snap_core *k = &s->cores[c];

        k->process = process_of(s, device_core_owner(v->in, c));
        k->running = atomic_load_explicit(&page->neff, memory_order_relaxed);
        if (k->running != DEVICE_NONE && k->process != DEVICE_NONE)
            k->running_us = atomic_load_explicit(&page->since_us, memory_order_relaxed);
        device_tally_read(v->in, c, &k->tally);
        if (k->process != DEVICE_NONE)
            s->processes[k->process].cores++;
    }
    return true;
}

struct use_taker {
    struct snap *s;
    bool failed;
};

static void take_use(void *arg, const struct device_extent_info *x)
{
    struct use_taker *t = arg;
    struct snap *s = t->s;
    struct snap_use *u = NULL;

    for (size_t i = s->use_count; i-- > 0 && !u;)
        if (s->uses[i].slot == x->slot && s->uses[i].core == x->core && s->uses[i].neff == x->neff)
            u = &s->uses[i];
    if (!u) {
        if (!mem_grow((void **)&s->uses, &s->use_cap, s->use_count + 1, sizeof(*s->uses))) {
            t->failed = true;
            return;
        }
        u = &s->uses[s->use_count++];
        *u = (struct snap_use){.slot = x->slot, .core = x->core, .neff = x->neff};
    }
    u->use.bytes[x->cat] += x->size;
    u->use.total += x->size;
}

static int use_order(const void *a, const void *b)
{
    const struct snap_use *x = a, *y = b;

    if (x->slot != y->slot)
        return x->slot < y->slot ? -1 : 1;
    if (x->core != y->core)
        return x->core < y->core ? -1 : 1;
    return x->neff < y->neff ? -1 : x->neff > y->neff;
}

static bool take_uses(struct view *v, struct snap *s)
{
    struct use_taker t = {.s = s};
    uint32_t p;

    if (device_extents_visit(v->in, take_use, &t) != NRT_SUCCESS || t.failed)
        return false;
    if (s->use_count)
        qsort(s->uses, s->use_count, sizeof(*s->uses), use_order);
    for (size_t i = 0; i < s->use_count; i++) {
        p = process_of(s, s->uses[i].slot);
        if (p != DEVICE_NONE)
            s->processes[p].device_bytes += s->uses[i].use.total;
    }
    return true;
}

static int neff_order(const void *a, const void *b)
{
    const struct device_neff_info *x = a, *y = b;

    if (x->slot != y->slot)
        return x->slot < y->slot ? -1 : 1;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->core < y->core ? -1 : x->core > y->core;
}

static bool take_neffs(struct view *v, struct snap *s)
{
    struct device_neff_info n;

    for (uint32_t i = 0; i < device_neff_count(v->in); i++) {
        if (!device_neff_get(v->in, i, &n) || process_of(s, n.slot) == DEVICE_NONE)
            continue;
        if (!mem_grow((void **)&s->neffs, &s->neff_cap, s->neff_count + 1, sizeof(*s->neffs)))
            return false;
        s->neffs[s->neff_count++] = n;
    }
    if (s->neff_count)
        qsort(s->neffs, s->neff_count, sizeof(*s->neffs), neff_order);
    return true;
}

bool snap_take(struct view *v, struct snap *ret)
{
    *ret = (struct snap){.ns = now_ns()};
    if (!v->in)
        return true;
    return take_processes(v, ret) && take_cores(v, ret) && take_uses(v, ret) && take_neffs(v, ret);
}

void snap_fini(struct snap *s)
{
    mem_free(s->cores);
    mem_free(s->processes);
    mem_free(s->uses);
    mem_free(s->neffs);
    memset(s, 0, sizeof(*s));
}

void snap_usage(const struct snap *s, uint32_t slot, uint32_t core, uint32_t neff,
                struct device_usage *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < s->use_count; i++) {
        const struct snap_use *u = &s->uses[i];

        if ((slot != DEVICE_NONE && u->slot != slot) || (core != DEVICE_NONE && u->core != core) ||
            (neff != SNAP_ANY_NEFF && u->neff != neff))
            continue;
        for (unsigned k = 0; k < DEVICE_CAT_COUNT; k++)
            ret->bytes[k] += u->use.bytes[k];
        ret->total += u->use.total;
    }
}

/* ---- rates ---- */

const unsigned rate_percentiles[RATE_PERCENTILES] = {0, 1, 25, 50, 75, 99, 100};

double rate_seconds(const struct snap *prev, const struct snap *cur)
{
    return prev->ns && cur->ns > prev->ns ? (double)(cur->ns - prev->ns) / 1e9 : 0;
}

/* The tally that the period began with: NULL when the core has another owner since, whose tally
 * began with nothing. */
static const struct snap_core *before(const struct snap *prev, const struct snap *cur,
                                      uint32_t core)
{
    const struct snap_core *was, *is = &cur->cores[core];
    const struct device_process *a, *b;

    if (core >= prev->core_count || is->process == DEVICE_NONE)
        return NULL;
    was = &prev->cores[core];
    if (was->process == DEVICE_NONE)
        return NULL;
    a = &prev->processes[was->process].p;
    b = &cur->processes[is->process].p;
    return a->slot == b->slot && a->pid == b->pid && a->start_us == b->start_us ? was : NULL;
}

/* now - then of a counter that only grows; one that did not is of another owner. */
static uint64_t grown(uint64_t then, uint64_t now)
{
    return now > then ? now - then : 0;
}

/* Microseconds that a core has been busy since it was claimed. */
static double busy_us(const struct snap *s, const struct snap_core *k)
{
    double us = (double)k->tally.count[DEVICE_CTR_NC_TIME_IN_USE];

    if (k->running_us && s->ns / 1000 > k->running_us)
        us += (double)(s->ns / 1000 - k->running_us);
    return us;
}

double rate_utilization(const struct snap *prev, const struct snap *cur, uint32_t core)
{
    double seconds = rate_seconds(prev, cur), busy;
    const struct snap_core *was;

    if (core >= cur->core_count || cur->cores[core].process == DEVICE_NONE || seconds <= 0)
        return 0;
    was = before(prev, cur, core);
    busy = busy_us(cur, &cur->cores[core]) - (was ? busy_us(prev, was) : 0);
    return busy <= 0 ? 0 : busy >= seconds * 1e6 ? 1 : busy / (seconds * 1e6);
}

double rate_flops(const struct snap *prev, const struct snap *cur, uint32_t core)
{
    double seconds = rate_seconds(prev, cur);
    const struct snap_core *was;

    if (core >= cur->core_count || cur->cores[core].process == DEVICE_NONE || seconds <= 0)
        return 0;
    was = before(prev, cur, core);
    return (double)grown(was ? was->tally.count[DEVICE_CTR_FLOP_COUNT] : 0,
                         cur->cores[core].tally.count[DEVICE_CTR_FLOP_COUNT]) /
           seconds;
}

struct histogram {
    double n[DEVICE_TALLY_BUCKETS], total;
};

/* The middle of the bucket in which the p-th percentile lies. */
static double percentile(const struct histogram *h, unsigned p)
{
    double rank = h->total * p / 100, sum = 0;
    uint32_t last = 0;

    for (uint32_t b = 0; b < DEVICE_TALLY_BUCKETS; b++) {
        if (h->n[b] <= 0)
            continue;
        last = b;
        sum += h->n[b];
        if (sum > 0 && sum >= rank)
            break;
    }
    return ((double)device_tally_first(last) + (double)device_tally_first(last + 1)) / 2;
}

static void histogram_add(struct histogram *h, const uint32_t *then, const uint32_t *now)
{
    for (uint32_t b = 0; b < DEVICE_TALLY_BUCKETS; b++) {
        double n = (double)(now[b] - (then ? then[b] : 0)); /* 32 bits, around the end too */

        h->n[b] += n;
        h->total += n;
    }
}

void rate_executions(const struct snap *prev, const struct snap *cur, uint32_t process,
                     struct rate_executions *ret)
{
    struct histogram core = {.total = 0}, whole = {.total = 0};
    unsigned lnc = cur->processes[process].p.lnc;

    memset(ret, 0, sizeof(*ret));
    for (uint32_t c = 0; c < cur->core_count; c += lnc ? lnc : 1) {
        const struct snap_core *k = &cur->cores[c], *was;

        if (k->process != process)
            continue;
        was = before(prev, cur, c);
        for (unsigned i = 0; i < DEVICE_CTR_COUNT; i++)
            ret->count[i] += grown(was ? was->tally.count[i] : 0, k->tally.count[i]);
        histogram_add(&core, was ? was->tally.core : NULL, k->tally.core);
        histogram_add(&whole, was ? was->tally.whole : NULL, k->tally.whole);
    }
    ret->timed = (uint64_t)core.total;
    for (unsigned i = 0; ret->timed && i < RATE_PERCENTILES; i++) {
        ret->core[i] = percentile(&core, rate_percentiles[i]) * 1e-9;
        ret->whole[i] = percentile(&whole, rate_percentiles[i]) * 1e-9;
    }
}
