/* SPDX-License-Identifier: Apache-2.0 */
/* Faults that are in force in this process, and when they strike: docs/faults.md.
 *
 * Each item counts what it is meant for (executions of a model or of any on a core, operations of a
 * rank) and decides from that number alone, so that a replay fails the same way, however the host
 * schedules other cores. An execution looks at one word of the process first (base/watched.h), at
 * `armed` if that is not 0, and comes here if both are not; an operation looks at `armed` alone. */
#include <inttypes.h>
#include <string.h>

#include "base/settings.h"
#include "base/watched.h"
#include "device/device_int.h"
#include "device/fault_item.h"
#include "isa/isa.h"

#define SEPARATORS ", \t\n"

struct rule {
    struct fault_item it;
    uint64_t seen; /* of what it is meant for */
    uint64_t struck;
};

struct faults {
    pthread_mutex_t lock;
    uint32_t armed; /* rules, which are no points; written under lock, through __atomic */
    struct rule *rules;
    size_t count, cap;
    uint64_t struck;
};

/* With the lock, or nobody else has it. */
static void armed_set(struct faults *f, uint32_t count)
{
    uint32_t before = __atomic_exchange_n(&f->armed, count, __ATOMIC_SEQ_CST);

    watched_count(before != 0, count != 0);
}

struct faults *faults_create(void)
{
    struct faults *f = mem_zalloc(sizeof(*f));

    if (f)
        pthread_mutex_init(&f->lock, NULL);
    return f;
}

void faults_destroy(struct faults *f)
{
    if (!f)
        return;
    armed_set(f, 0);
    pthread_mutex_destroy(&f->lock);
    mem_free(f->rules);
    mem_free(f);
}

const uint32_t *device_faults_armed(const struct device_instance *in)
{
    return &in->faults->armed;
}

/* ---- coming into force ---- */

static NRT_STATUS item_read(const struct device_instance *in, const char *text, size_t size,
                            struct fault_item *ret, struct err *err)
{
    struct err why = {0};
    NRT_STATUS st = fault_item_parse(text, size, ret, &why);

    if (st == NRT_SUCCESS && ret->core != DEVICE_NONE && ret->core >= in->lay.cores)
        st = err_set(&why, NRT_INVALID, "there is no core %u", ret->core);
    if (st != NRT_SUCCESS)
        return err_set(err, st, "\"%.*s\": %s", (int)(size < 80 ? size : 80), text, why.text);
    return NRT_SUCCESS;
}

/* The next item of a list; false: there is none. */
static bool item_next(const char **list, size_t *ret_size)
{
    *list += strspn(*list, SEPARATORS);
    *ret_size = strcspn(*list, SEPARATORS);
    return *ret_size > 0;
}

static void point_arm(const struct fault_item *it)
{
    fault_arm_many(it->point, (uint64_t)it->after + 1, it->count, &it->odds);
}

/* With the lock; there is room. */
static void rule_add(struct faults *f, const struct fault_item *it)
{
    f->rules[f->count++] = (struct rule){.it = *it};
    armed_set(f, (uint32_t)f->count);
}

static NRT_STATUS items_add(struct device_instance *in, const char *items, struct err *err)
{
    struct faults *f = in->faults;
    struct fault_item it;
    size_t size, rules = 0;

    for (const char *t = items; item_next(&t, &size); t += size) {
        NRT_STATUS st = item_read(in, t, size, &it, err);

        if (st != NRT_SUCCESS)
            return st;
        rules += it.kind != DEVICE_FAULT_POINT;
    }
    if (!mem_grow((void **)&f->rules, &f->cap, f->count + rules, sizeof(*f->rules)))
        return err_set(err, NRT_RESOURCE, "no host memory for faults on demand");
    for (const char *t = items; item_next(&t, &size); t += size) {
        if (item_read(in, t, size, &it, err) != NRT_SUCCESS)
            continue; /* somebody writes into the caller's text */
        if (it.kind == DEVICE_FAULT_POINT)
            point_arm(&it);
        else if (f->count < f->cap)
            rule_add(f, &it);
    }
    return NRT_SUCCESS;
}

NRT_STATUS device_faults_add(struct device_instance *in, const char *items, struct err *err)
{
    NRT_STATUS st;

    pthread_mutex_lock(&in->faults->lock);
    st = items_add(in, items, err);
    pthread_mutex_unlock(&in->faults->lock);
    return st;
}

void device_faults_clear(struct device_instance *in)
{
    pthread_mutex_lock(&in->faults->lock);
    armed_set(in->faults, 0);
    in->faults->count = 0;
    pthread_mutex_unlock(&in->faults->lock);
    fault_disarm();
}

uint64_t device_faults_struck(struct device_instance *in)
{
    uint64_t n;

    pthread_mutex_lock(&in->faults->lock);
    n = in->faults->struck;
    pthread_mutex_unlock(&in->faults->lock);
    return n;
}

void device_fault_env(struct device_instance *in, const struct diag_sink *sink)
{
    char *copy = mem_strdup(settings_str("OPENNRT_FAULT", "")), *save = NULL;

    if (!copy)
        diag_warn(sink, "OPENNRT_FAULT: no host memory; ignored");
    for (char *t = copy ? strtok_r(copy, SEPARATORS, &save) : NULL; t;
         t = strtok_r(NULL, SEPARATORS, &save)) {
        struct err err = {0};

        if (device_faults_add(in, t, &err) != NRT_SUCCESS)
            diag_warn(sink, "OPENNRT_FAULT: %s; ignored", err.text);
    }
    mem_free(copy);
}

/* ---- striking ---- */

static const char *what_of(const struct fault_item *it)
{
    switch (it->kind) {
    case DEVICE_FAULT_SEMAPHORE:
        return "a semaphore does not change";
    case DEVICE_FAULT_DEAD:
        return "the process dies";
    case DEVICE_FAULT_LATE:
        return "a rank is late";
    default:
        return "an error of the hardware";
    }
}

/* One more of what the rule is meant for: does it strike? Before another rule that struck already
 * it stays as it was, and its turn is the next. */
static bool rule_due(struct rule *r, bool other)
{
    uint64_t n = r->seen + 1;
    bool due = n > r->it.after && (r->it.count == 0 || r->struck < r->it.count) &&
               fault_drawn(&r->it.odds, n);

    if (due && other)
        return false;
    r->seen = n;
    r->struck += due;
    return due;
}

static void fault_tell(struct device_instance *in, const struct rule *r, struct device_fault *ret)
{
    in->faults->struck++;
    ret->kind = r->it.kind;
    ret->hw = r->it.hw;
    ret->detail = r->it.detail;
    ret->engine = r->it.engine;
    ret->record = r->it.record;
    LOGI(in->log, LOG_TDRV, "device_fault",
         "fault on demand: %s, core %u, number %" PRIu64 " of those that were asked for",
         what_of(&r->it), ret->core, r->struck);
}

/* The core that the rule means, of these; false: none. */
static bool core_meant(const struct rule *r, const uint32_t *cores, unsigned count, uint32_t *ret)
{
    for (unsigned i = 0; i < count; i++)
        if (r->it.core == DEVICE_NONE || r->it.core == cores[i]) {
            *ret = cores[i];
            return true;
        }
    return false;
}

static bool is_of_rank(const struct fault_item *it)
{
    return it->kind == DEVICE_FAULT_LATE || (it->kind == DEVICE_FAULT_DEAD && it->engine < 0);
}

/* model NULL: an operation of a rank. */
static bool strikes(struct device_instance *in, const uint32_t *cores, unsigned count,
                    const char *model, struct device_fault *ret)
{
    struct faults *f = in->faults;
    bool found = false;

    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->count; i++) {
        struct rule *r = &f->rules[i];
        uint32_t core;

        if (r->it.kind == DEVICE_FAULT_LINK || is_of_rank(&r->it) != !model ||
            !core_meant(r, cores, count, &core) ||
            (model && r->it.model[0] && strcmp(r->it.model, model) != 0))
            continue;
        if (!rule_due(r, found))
            continue;
        found = true;
        ret->core = core;
        fault_tell(in, r, ret);
    }
    pthread_mutex_unlock(&f->lock);
    return found;
}

bool device_fault_of_run(struct device_instance *in, const uint32_t *cores, unsigned count,
                         const char *model, struct device_fault *ret)
{
    return strikes(in, cores, count, model, ret);
}

bool device_fault_of_rank(struct device_instance *in, uint32_t core, struct device_fault *ret)
{
    return strikes(in, &core, 1, NULL, ret);
}

uint32_t device_fault_link(struct device_instance *in, uint32_t core)
{
    struct faults *f = in->faults;
    uint32_t device = topo_core_device(in->topo, core), slower = 1;

    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->count; i++) {
        const struct fault_item *it = &f->rules[i].it;

        if (it->kind == DEVICE_FAULT_LINK && it->detail > slower &&
            (it->core == DEVICE_NONE || topo_core_device(in->topo, it->core) == device))
            slower = it->detail;
    }
    pthread_mutex_unlock(&f->lock);
    return slower;
}
