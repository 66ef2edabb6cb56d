/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of times: intervals are collected, joined once, then measured. Pure. */
#ifndef VIEWER_SPANS_H
#define VIEWER_SPANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spans_one {
    uint64_t from, to; /* ps; from < to */
};
/* Zero-initialise. After a failed allocation `failed` stays set. */
struct spans {
    struct spans_one *one;
    size_t count, cap;
    bool failed;
};

/* What of [from, to) lies below limit; nothing when that is empty. */
void spans_add(struct spans *s, uint64_t from, uint64_t to, uint64_t limit);
/* Puts them in order and makes one of those that touch: spans_sum and spans_common need it. */
void spans_join(struct spans *s);
uint64_t spans_sum(const struct spans *s);
/* How long both are at work. */
uint64_t spans_common(const struct spans *a, const struct spans *b);
/* Empty again; the memory stays. */
void spans_clear(struct spans *s);
void spans_fini(struct spans *s);

#endif
