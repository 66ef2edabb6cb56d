/* SPDX-License-Identifier: Apache-2.0 */
#include "neuron-monitor/config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "neff/json.h"

#define FILTER_MAX 256
#define REPEAT_MAX 1024

const char *const mon_group_names[MON_GROUP_COUNT] = {
    "neuroncore_counters", "memory_used", "neuron_runtime_vcpu_usage", "execution_stats",
    "vcpu_usage",          "memory_info", "neuron_hw_counters"};

void mon_config_default(struct mon_config *c)
{
    memset(c, 0, sizeof(*c));
    c->runtime_count = 1;
    for (unsigned g = 0; g < MON_APP_COUNT; g++)
        c->runtime[0].period[g] = MON_PERIOD;
    for (unsigned g = MON_VCPU; g < MON_GROUP_COUNT; g++)
        c->period[g] = MON_PERIOD;
}

void mon_config_fini(struct mon_config *c)
{
    for (size_t i = 0; i < c->runtime_count; i++)
        if (c->runtime[i].filtered)
            regfree(&c->runtime[i].filter);
    c->runtime_count = 0;
}

bool mon_runtime_matches(const struct mon_runtime *r, const char *tag)
{
    return !r->filtered || regexec(&r->filter, tag, 0, NULL, 0) == 0;
}

/* ---- members ---- */

struct reader {
    struct json_doc doc;
    struct mon_config *c;
    struct err *err;
};

static const struct json_node *member(const struct reader *r, const struct json_node *obj,
                                      const char *name, enum json_type type, NRT_STATUS *status)
{
    const struct json_node *n = json_member(&r->doc, obj, name);

    if (n && n->type != type) {
        *status = err_set(r->err, NRT_INVALID, "\"%s\" has the wrong type", name);
        return NULL;
    }
    return n;
}

/* Members that are none of the names, a list that NULL ends, are counted. */
static void note_unknown(struct reader *r, const struct json_node *obj, const char *const *names)
{
    const struct json_node *n = json_first(obj);

    for (uint64_t i = 0; i < obj->u.count; i++, n = json_next(&r->doc, n)) {
        size_t k = 0;

        while (names[k] && strcmp(names[k], json_name(&r->doc, n)) != 0)
            k++;
        if (!names[k] && r->c->unknown++ == 0)
            snprintf(r->c->unknown_name, sizeof(r->c->unknown_name), "%s", json_name(&r->doc, n));
    }
}

static bool period_seconds(const char *text, double *ret)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
    char *end;
    double v;

    if (!isdigit((unsigned char)text[0]) || strpbrk(text, "xXpPeE"))
        return false;
    v = strtod(text, &end);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(end, units[i].unit) == 0) {
            *ret = v * units[i].seconds;
            return *ret >= MON_PERIOD_MIN && *ret <= MON_PERIOD_MAX;
        }
    return false;
}

/* The object's own period, else that of what it is in. */
static NRT_STATUS period(const struct reader *r, const struct json_node *obj, double inherited,
                         double *ret)
{
    NRT_STATUS status = NRT_SUCCESS;
    const struct json_node *n = member(r, obj, "period", JSON_STRING, &status);

    *ret = inherited;
    if (n && !period_seconds(json_text(&r->doc, n), ret))
        return err_set(r->err, NRT_INVALID,
                       "period \"%.32s\" is not a time from 1 ms to a day, such as \"1s\"",
                       json_text(&r->doc, n));
    return status;
}

/* A list of {type, period}: the groups [from, to). */
static NRT_STATUS metrics(struct reader *r, const struct json_node *list, unsigned from,
                          unsigned to, double inherited, double *ret)
{
    static const char *const names[] = {"type", "period", NULL};
    const struct json_node *n = json_first(list), *type;
    NRT_STATUS status = NRT_SUCCESS;
    unsigned g;

    for (uint64_t i = 0; i < list->u.count; i++, n = json_next(&r->doc, n)) {
        if (n->type != JSON_OBJECT)
            return err_set(r->err, NRT_INVALID, "a metric is not an object");
        note_unknown(r, n, names);
        type = member(r, n, "type", JSON_STRING, &status);
        if (status != NRT_SUCCESS)
            return status;
        if (!type)
            return err_set(r->err, NRT_INVALID, "a metric has no \"type\"");
        for (g = from; g < to && strcmp(mon_group_names[g], json_text(&r->doc, type)) != 0;)
            g++;
        if (g == to)
            return err_set(r->err, NRT_INVALID, "there is no group \"%.48s\" here",
                           json_text(&r->doc, type));
        status = period(r, n, inherited, &ret[g]);
        if (status != NRT_SUCCESS)
            return status;
    }
    return NRT_SUCCESS;
}

/* glibc expands repetitions: what they multiply to is bounded before it gets to see them. */
static bool filter_harmless(const char *text)
{
    unsigned long product = 1;

    if (strlen(text) > FILTER_MAX)
        return false;
    for (const char *p = text; *p; p++) {
        unsigned long most = 1;

        if (*p == '\\' && isdigit((unsigned char)p[1]))
            return false;
        if (*p != '{')
            continue;
        for (const char *q = p + 1; *q && *q != '}'; q++)
            if (isdigit((unsigned char)*q)) {
                unsigned long v = strtoul(q, (char **)&q, 10);

                most = v > most ? v : most;
                q--;
            }
        if (most > REPEAT_MAX || (product *= most) > REPEAT_MAX)
            return false;
    }
    return true;
}

static NRT_STATUS tag_filter(struct reader *r, const struct json_node *obj, struct mon_runtime *rt)
{
    NRT_STATUS status = NRT_SUCCESS;
    const struct json_node *n = member(r, obj, "tag_filter", JSON_STRING, &status);

    if (!n)
        return status;
    if (!filter_harmless(json_text(&r->doc, n)) ||
        regcomp(&rt->filter, json_text(&r->doc, n), REG_EXTENDED | REG_NOSUB) != 0)
        return err_set(r->err, NRT_INVALID, "tag_filter \"%.48s\" is no regular expression for us",
                       json_text(&r->doc, n));
    rt->filtered = true;
    return NRT_SUCCESS;
}

static NRT_STATUS runtimes(struct reader *r, const struct json_node *list, double inherited)
{
    static const char *const names[] = {"tag_filter", "period", "metrics", NULL};
    const struct json_node *n = json_first(list), *m;

    for (uint64_t i = 0; i < list->u.count; i++, n = json_next(&r->doc, n)) {
        struct mon_runtime *rt = &r->c->runtime[r->c->runtime_count];
        NRT_STATUS status;
        double own;

        if (r->c->runtime_count == MON_RUNTIMES_MAX)
            return err_set(r->err, NRT_INVALID, "more than %d neuron_runtimes", MON_RUNTIMES_MAX);
        if (n->type != JSON_OBJECT)
            return err_set(r->err, NRT_INVALID, "an entry of neuron_runtimes is not an object");
        note_unknown(r, n, names);
        status = tag_filter(r, n, rt);
        if (status != NRT_SUCCESS)
            return status;
        r->c->runtime_count++; /* what it holds is finished from here on */
        status = period(r, n, inherited, &own);
        if (status != NRT_SUCCESS)
            return status;
        m = member(r, n, "metrics", JSON_ARRAY, &status);
        if (status == NRT_SUCCESS && m)
            status = metrics(r, m, 0, MON_APP_COUNT, own, rt->period);
        if (status != NRT_SUCCESS)
            return status;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS root(struct reader *r)
{
    static const char *const names[] = {"period", "neuron_runtimes", "system_metrics", NULL};
    const struct json_node *n = r->doc.nodes, *list;
    NRT_STATUS status;
    double own;

    if (n->type != JSON_OBJECT)
        return err_set(r->err, NRT_INVALID, "the configuration is not an object");
    note_unknown(r, n, names);
    status = period(r, n, MON_PERIOD, &own);
    if (status != NRT_SUCCESS)
        return status;
    list = member(r, n, "neuron_runtimes", JSON_ARRAY, &status);
    if (status == NRT_SUCCESS && list)
        status = runtimes(r, list, own);
    if (status != NRT_SUCCESS)
        return status;
    list = member(r, n, "system_metrics", JSON_ARRAY, &status);
    if (status == NRT_SUCCESS && list)
        status = metrics(r, list, MON_VCPU, MON_GROUP_COUNT, own, r->c->period);
    return status;
}

NRT_STATUS mon_config_parse(struct mon_config *ret, const void *bytes, size_t size, struct err *err)
{
    struct reader r = {.c = ret, .err = err};
    NRT_STATUS status;

    memset(ret, 0, sizeof(*ret));
    status = json_parse(&r.doc, "configuration", bytes, size, err);
    if (status == NRT_SUCCESS)
        status = root(&r);
    json_doc_fini(&r.doc);
    if (status != NRT_SUCCESS)
        mon_config_fini(ret);
    return status;
}
