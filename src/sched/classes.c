/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of ranks: those whose steps are equal up to the names of ranks and chunks. */
#include "sched/plan_int.h"

NRT_STATUS sched_classify(struct sched *s, struct err *err)
{
    s->classes = arena_calloc(&s->mem, s->n, sizeof(*s->classes));
    s->class_rank = arena_calloc(&s->mem, s->n, sizeof(*s->class_rank));
    s->class_size = arena_calloc(&s->mem, s->n, sizeof(*s->class_size));
    if (!s->classes || !s->class_rank || !s->class_size)
        return err_set(err, NRT_RESOURCE, "no memory for a schedule");
    for (uint32_t r = 0; r < s->n; r++) {
        s->classes[r] = s->class_rank[r] = r;
        s->class_size[r] = 1;
    }
    s->class_count = s->n;
    return NRT_SUCCESS;
}
