/* SPDX-License-Identifier: Apache-2.0 */
/* The builder: queue sets, trigger groups and their descriptors. */
#include <math.h>
#include <string.h>

#include "neff/build_int.h"
#include "neff/neff_int.h"

static void put_u32_array(struct strbuf *s, const char *key, const uint32_t *v, unsigned n)
{
    if (n == 0)
        return;
    strbuf_printf(s, ", \"%s\": [", key);
    for (unsigned i = 0; i < n; i++)
        strbuf_printf(s, "%s%u", i > 0 ? ", " : "", v[i]);
    strbuf_put(s, "]");
}

static bool queue_lists_ok(struct neff_build *b, const struct neff_build_queue *q)
{
    if ((q->semaphore_set_count > 0 && !build_given(b, q->semaphore_set, "semaphore_set")) ||
        (q->instance_count > 0 && !build_given(b, q->instances, "instances")))
        return false;
    for (unsigned i = 0; i < q->instance_count; i++)
        if (!build_given(b, q->instances[i], "the name of an instance"))
            return false;
    return true;
}

int neff_build_queue(struct neff_build *b, int graph, const struct neff_build_queue *q)
{
    struct build_graph *g = build_graph_at(b, graph);
    struct strbuf *s;
    bool existed;

    if (g == NULL || !build_given(b, q, "a queue") || !queue_lists_ok(b, q))
        return -1;
    if (q->name == NULL || *q->name == '\0' || *q->name == '#' || q->type == NULL)
        return build_fail(b, "a queue needs a name that does not begin with # and a type");
    if (!str_map_put(&g->queue_names, q->name, g->queue_count, &existed))
        return build_oom(b);
    if (existed)
        return build_fail(b, "queue %s is declared twice", q->name);
    if (!mem_grow((void **)&g->queue_name, &g->queue_cap, g->queue_count + 1,
                  sizeof(*g->queue_name)))
        return build_oom(b);
    g->queue_name[g->queue_count] = mem_strdup(q->name);
    if (g->queue_name[g->queue_count] == NULL)
        return build_oom(b);
    s = &g->queues;
    strbuf_put(s, g->queue_count > 0 ? ",\n    " : "\n    ");
    strbuf_put_json(s, q->name);
    strbuf_put(s, ": {\"type\": ");
    strbuf_put_json(s, q->type);
    strbuf_printf(s, ", \"num_queues\": %u", q->num_queues != 0 ? q->num_queues : 1);
    if (q->owner != NULL) {
        strbuf_put(s, ", \"owner\": ");
        strbuf_put_json(s, q->owner);
    }
    if (q->has_semaphore)
        strbuf_printf(s, ", \"semaphore\": %u", q->semaphore);
    put_u32_array(s, "semaphore_set", q->semaphore_set, q->semaphore_set_count);
    for (unsigned i = 0; i < q->instance_count; i++) {
        strbuf_put(s, i == 0 ? ", \"queue_instances\": [" : ", ");
        strbuf_put_json(s, q->instances[i]);
    }
    if (q->instance_count > 0)
        strbuf_put(s, "]");
    if (q->fabric_alt)
        strbuf_put(s, ", \"fabric_path\": \"alt\"");
    strbuf_put(s, "}");
    g->queue_count++;
    return s->failed ? build_oom(b) : (int)(g->queue_count - 1);
}

static bool put_queue_name(struct neff_build *b, const struct build_graph *g, int queue,
                           struct strbuf *s)
{
    if (queue < 0 || (size_t)queue >= g->queue_count) {
        build_fail(b, "there is no queue %d", queue);
        return false;
    }
    strbuf_put_json(s, g->queue_name[queue]);
    return true;
}

int neff_build_group(struct neff_build *b, int graph, enum neff_engine engine,
                     const struct neff_build_group *d)
{
    struct build_engine *e = build_engine_at(b, graph, engine);
    struct build_group *g;
    struct strbuf *s;

    if (e == NULL || !build_given(b, d, "a trigger group") ||
        (d->remote_semaphore_count > 0 &&
         !build_given(b, d->remote_semaphores, "remote_semaphores")))
        return -1;
    if (!mem_grow((void **)&e->groups, &e->group_cap, e->group_count + 1, sizeof(*e->groups)))
        return build_oom(b);
    g = &e->groups[e->group_count];
    memset(g, 0, sizeof(*g));
    e->group_count++;
    s = &g->head;
    strbuf_printf(s, "{\"id\": %u, ", d->id);
    strbuf_put(s, d->instance_name != NULL ? "\"instance_name\": " : "\"queue\": ");
    if (d->instance_name != NULL)
        strbuf_put_json(s, d->instance_name);
    else if (!put_queue_name(b, &b->graphs[graph], d->queue, s))
        return -1;
    if (d->function_start != NULL) {
        strbuf_put(s, ", \"function_start\": ");
        strbuf_put_json(s, d->function_start);
    }
    if (d->section_start_desc)
        strbuf_put(s, ", \"section_start_desc\": true");
    if (d->has_event)
        strbuf_printf(s, ", \"event\": %u", d->event);
    if (d->has_semaphore)
        strbuf_printf(s, ", \"semaphore\": %u", d->semaphore);
    put_u32_array(s, "remote_semaphores", d->remote_semaphores, d->remote_semaphore_count);
    strbuf_put(s, ",\n     \"desc\": [");
    return s->failed ? build_oom(b) : (int)(e->group_count - 1);
}

static void put_side(struct strbuf *s, const struct build_graph *g, const char *prefix,
                     const struct neff_build_side *a)
{
    strbuf_printf(s, "\"%s\": ", prefix);
    strbuf_put_json(s, g->var[a->var].name);
    strbuf_printf(s, ", \"%s_off\": %llu, \"%s_steps\": [", prefix, (unsigned long long)a->off,
                  prefix);
    for (unsigned i = 0; i < a->ndim; i++)
        strbuf_printf(s, "%s%lld", i > 0 ? ", " : "", (long long)a->steps[i]);
    strbuf_printf(s, "], \"%s_sizes\": [", prefix);
    for (unsigned i = 0; i < a->ndim; i++)
        strbuf_printf(s, "%s%llu", i > 0 ? ", " : "", (unsigned long long)a->sizes[i]);
    strbuf_put(s, "]");
    if (a->dtype != NULL) {
        strbuf_printf(s, ", \"%s_dtype\": ", prefix);
        strbuf_put_json(s, a->dtype);
    }
}

static bool side_ok(struct neff_build *b, const struct build_graph *g,
                    const struct neff_build_side *a)
{
    if (a->ndim < 1 || a->ndim > 4) {
        build_fail(b, "an access pattern has 1 to 4 dimensions, not %u", a->ndim);
        return false;
    }
    return build_var_ok(b, g, a->var);
}

static void put_op_fields(struct strbuf *s, const struct neff_build_desc *d)
{
    if (d->scales != NULL) {
        strbuf_put(s, ", \"scale_dtype\": \"float32\", \"scale\": [");
        for (unsigned i = 0; i < d->from_count; i++) {
            strbuf_put(s, i > 0 ? ", " : "");
            build_json_num(s, d->scales[i]);
        }
        strbuf_put(s, "]");
    }
    if (d->constant_dtype != NULL) {
        strbuf_put(s, ", \"constant_dtype\": ");
        strbuf_put_json(s, d->constant_dtype);
        strbuf_put(s, ", \"constant\": ");
        build_json_num(s, d->constant);
    }
    if (d->has_transpose_shape)
        strbuf_printf(s, ", \"transpose_shape\": [%u, %u, %u, %u]", d->transpose_shape[0],
                      d->transpose_shape[1], d->transpose_shape[2], d->transpose_shape[3]);
    if (d->transpose_element_size != 0)
        strbuf_printf(s, ", \"transpose_element_size\": %u", d->transpose_element_size);
}

/* JSON has no number for them, so the text would be wrong rather than refused. */
static bool numbers_ok(struct neff_build *b, const struct neff_build_desc *d)
{
    bool ok = d->constant_dtype == NULL || isfinite(d->constant);

    for (unsigned i = 0; d->scales != NULL && i < d->from_count; i++)
        ok = ok && isfinite(d->scales[i]);
    if (!ok)
        build_fail(b, "a scale or constant of a descriptor is not finite");
    return ok;
}

int neff_build_desc(struct neff_build *b, int graph, enum neff_engine engine, int group,
                    const struct neff_build_desc *d)
{
    struct build_engine *e = build_engine_at(b, graph, engine);
    const struct build_graph *g;
    struct strbuf *s;

    if (e == NULL || !build_given(b, d, "a descriptor"))
        return -1;
    g = &b->graphs[graph];
    if (group < 0 || (size_t)group >= e->group_count)
        return build_fail(b, "engine %s has no group %d", neff_engine_key(engine), group);
    if (d->from_count < 1 || d->from_count > NEFF_MAX_SOURCES)
        return build_fail(b, "%u sources, at most 16", d->from_count);
    if (!build_given(b, d->from, "the source of a descriptor"))
        return -1;
    for (unsigned i = 0; i < d->from_count; i++) {
        if (!side_ok(b, g, &d->from[i]))
            return -1;
    }
    if (!side_ok(b, g, &d->to) || !numbers_ok(b, d))
        return -1;

    s = &e->groups[group].descs;
    strbuf_put(s, s->len > 0 ? ",\n      {" : "\n      {");
    if (d->op != NULL) {
        strbuf_put(s, "\"op\": ");
        strbuf_put_json(s, d->op);
        strbuf_put(s, ", ");
    }
    if (d->from_count > 1 || d->scales != NULL) { /* a list of scales goes with from_arr */
        for (unsigned i = 0; i < d->from_count; i++) {
            strbuf_put(s, i == 0 ? "\"from_arr\": [{" : ", {");
            put_side(s, g, "from", &d->from[i]);
            strbuf_put(s, "}");
        }
        strbuf_put(s, "]");
    } else {
        put_side(s, g, "from", &d->from[0]);
    }
    strbuf_put(s, ", ");
    put_side(s, g, "to", &d->to);
    put_op_fields(s, d);
    strbuf_put(s, "}");
    return s->failed ? build_oom(b) : 0;
}

int neff_build_copy(struct neff_build *b, int graph, enum neff_engine engine, int group, int from,
                    uint64_t from_off, int to, uint64_t to_off, uint64_t size)
{
    struct neff_build_side side = {
        .var = from, .off = from_off, .ndim = 1, .steps = {1}, .sizes = {size}};
    struct neff_build_desc d = {.from = &side, .from_count = 1, .to = side};

    d.to.var = to;
    d.to.off = to_off;
    return neff_build_desc(b, graph, engine, group, &d);
}
