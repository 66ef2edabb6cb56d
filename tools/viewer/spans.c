/* SPDX-License-Identifier: Apache-2.0 */
#include "viewer/spans.h"

#include <stdlib.h>

#include "base/mem.h"

void spans_add(struct spans *s, uint64_t from, uint64_t to, uint64_t limit)
{
    to = to < limit ? to : limit;
    if (from >= to || s->failed)
        return;
    if (!mem_grow((void **)&s->one, &s->cap, s->count + 1, sizeof(*s->one))) {
        s->failed = true;
        return;
    }
    s->one[s->count++] = (struct spans_one){from, to};
}

static int by_start(const void *a, const void *b)
{
    const struct spans_one *x = a, *y = b;

    return (x->from > y->from) - (x->from < y->from);
}

void spans_join(struct spans *s)
{
    size_t n = 0;

    if (s->count > 1)
        qsort(s->one, s->count, sizeof(*s->one), by_start);
    for (size_t i = 0; i < s->count; i++) {
        if (n > 0 && s->one[i].from <= s->one[n - 1].to) {
            if (s->one[i].to > s->one[n - 1].to)
                s->one[n - 1].to = s->one[i].to;
        } else {
            s->one[n++] = s->one[i];
        }
    }
    s->count = n;
}

uint64_t spans_sum(const struct spans *s)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < s->count; i++)
        sum += s->one[i].to - s->one[i].from;
    return sum;
}

uint64_t spans_common(const struct spans *a, const struct spans *b)
{
    uint64_t sum = 0;
    size_t i = 0, k = 0;

    while (i < a->count && k < b->count) {
        uint64_t from = a->one[i].from > b->one[k].from ? a->one[i].from : b->one[k].from;
        uint64_t to = a->one[i].to < b->one[k].to ? a->one[i].to : b->one[k].to;

        sum += to > from ? to - from : 0;
        if (a->one[i].to < b->one[k].to)
            i++;
        else
            k++;
    }
    return sum;
}

void spans_clear(struct spans *s)
{
    s->count = 0;
}

void spans_fini(struct spans *s)
{
    mem_free(s->one);
    *s = (struct spans){0};
}
