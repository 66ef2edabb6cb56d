/* SPDX-License-Identifier: Apache-2.0 */
/* Times of executions that were seen before: to compare events costs a hundredth of replaying them.
 */
#include <string.h>

#include "base/mem.h"
#include "time/time.h"

#define KEPT_EVENTS 65536u /* of an execution with more, only the last one is kept */

static bool is_kept(const struct time_kept *t, const struct time_program *const *progs,
                    unsigned cores, const struct time_events *events)
{
    const struct time_events *have = &t->events;

    if (t->number == 0 || t->cores != cores || have->count != events->count ||
        have->dropped != events->dropped)
        return false;
    for (unsigned c = 0; c < cores; c++)
        if (t->prog[c] != progs[c])
            return false;
    return events->count == 0 ||
           memcmp(have->ev, events->ev, events->count * sizeof(*events->ev)) == 0;
}

static NRT_STATUS keep(struct time_kept *t, const struct time_program *const *progs, unsigned cores,
                       const struct time_events *events, bool spans, struct err *err)
{
    size_t count = events->count;
    NRT_STATUS st;

    t->number = 0;
    if (!mem_grow((void **)&t->events.ev, &t->events.cap, count + 1, sizeof(*t->events.ev)) ||
        (spans && !mem_grow((void **)&t->spans, &t->span_cap, count + 1, sizeof(*t->spans))))
        return err_set(err, NRT_RESOURCE, "no host memory for the times of %zu events", count);
    if (!spans) {
        mem_free(t->spans);
        t->spans = NULL;
        t->span_cap = 0;
    }
    st = time_replay(progs, cores, events, t->spans, &t->report, err);
    if (st != NRT_SUCCESS)
        return st;
    if (count > 0)
        memcpy(t->events.ev, events->ev, count * sizeof(*events->ev));
    t->events.count = count;
    t->events.dropped = events->dropped;
    t->cores = cores;
    memcpy(t->prog, progs, cores * sizeof(progs[0]));
    return NRT_SUCCESS;
}

NRT_STATUS time_keeper_replay(struct time_keeper *k, const struct time_program *const *progs,
                              unsigned cores, const struct time_events *events, bool spans,
                              const struct time_kept **ret, struct err *err)
{
    struct time_kept *t = NULL;
    NRT_STATUS st;

    for (unsigned i = 0; i < TIME_KEPT && t == NULL; i++)
        if (is_kept(&k->kept[i], progs, cores, events))
            t = &k->kept[i];
    if (t == NULL || (spans && t->spans == NULL)) {
        if (t == NULL) {
            if (events->count > KEPT_EVENTS)
                time_keeper_drop(k);
            t = &k->kept[k->oldest];
            k->oldest = (k->oldest + 1) % TIME_KEPT;
        }
        st = keep(t, progs, cores, events, spans, err);
        if (st != NRT_SUCCESS)
            return st;
        t->number = ++k->numbers;
    }
    *ret = t;
    return NRT_SUCCESS;
}

void time_keeper_drop(struct time_keeper *k)
{
    for (unsigned i = 0; i < TIME_KEPT; i++) {
        mem_free(k->kept[i].events.ev);
        mem_free(k->kept[i].spans);
        k->kept[i] = (struct time_kept){0};
    }
}
