/* SPDX-License-Identifier: Apache-2.0 */
/* How a host carries out operations between ranks that share its memory: the variant of the
 * schedule, how much is moved at a time, how results are stored, how long a rank that waits keeps
 * its CPU. The documented table (select.h) names the algorithm; this chooses what stands for it
 * here (decision 9), by a fixed table or by one that `opennrt tune` measured.
 *
 * Every choice is valid on every host: a wrong one costs time and nothing else. Pure. */
#ifndef SCHED_TUNE_H
#define SCHED_TUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "sched/sched.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sched_means {
    uint8_t variant; /* enum sched_variant */
    bool around;     /* results are stored around the caches */
    uint32_t slice;  /* bytes moved before other channels are looked at */
};

/* Of a rank that waits: polls, then yields of its CPU, then it sleeps. */
struct sched_patience {
    uint32_t spins, yields;
};

#define SCHED_TUNE_RULES_MAX 192
#define SCHED_TUNE_HOST_MAX  160
#define SCHED_TUNE_TEXT_MAX  (64u << 10) /* of a file */
#define SCHED_SLICE_MIN      4096u
#define SCHED_SLICE_MAX      (16u << 20)
#define SCHED_PATIENCE_MAX   1000000u

struct sched_tune_rule {
    uint8_t op;        /* enum sched_op */
    bool crowded;      /* more ranks than CPUs */
    uint64_t size_max; /* bytes, of the larger side, inclusive; 0: no limit */
    struct sched_means means;
};

struct sched_tuning {
    char host[SCHED_TUNE_HOST_MAX]; /* what it holds for; "": any */
    unsigned count;                 /* the first rule that applies is taken */
    struct sched_tune_rule rule[SCHED_TUNE_RULES_MAX];
    struct sched_patience patience[2]; /* by crowded */
};

/* The fixed table. */
void sched_tuning_default(struct sched_tuning *ret);
/* The means for an operation; staged, in slices of 64 KiB, where no rule applies. */
struct sched_means sched_tuning_choose(const struct sched_tuning *t, enum sched_op op, bool crowded,
                                       uint64_t bytes);
/* Larger side of an operation at one rank, bytes; the largest number where that overflows. */
uint64_t sched_request_bytes(const struct sched_request *req);
/* Algorithm and variant of a request become what stands for them here: a mesh through direct memory
 * or lines. Nothing changes where that cannot be: several nodes, more ranks than it takes, messages
 * longer than lines carry, operations that have no such form. */
void sched_request_tune(struct sched_request *req, const struct sched_tuning *t, bool crowded);

/* ---- deciding ---- */

/* One way of carrying out an operation, as measured. */
struct sched_tune_sample {
    uint8_t op;
    bool crowded;
    uint64_t size;
    struct sched_means means;
    struct sched_patience patience;
    double us; /* not above 0, or no number: not measured */
};

/* For every operation, crowd and size among the samples: the fastest means, but those of the fixed
 * table where they are as fast (within 10 %), or where they were not measured. Between two sizes:
 * means that are slower than those of the fixed table at neither, with the least sum of the two
 * ratios, by the same rule. Below the first size and above the last as there, as far as the fixed
 * table is as there. Samples differ either in means (with the patience of the fixed table) or in
 * patience (with its means): the patience of a crowd is that with the least sum over the points
 * that have samples of several, by the same rule; it was measured at all of them, and is at none
 * slower by more than 3 %. NRT_INVALID: more rules than a table holds. */
NRT_STATUS sched_tuning_decide(const struct sched_tune_sample *samples, size_t n,
                               struct sched_tuning *ret, struct err *err);

/* ---- as text ---- */

/*     opennrt-tune 1
 *     host <text to the end of the line>
 *     wait spread|crowded spins <n> yields <n>
 *     <op> spread|crowded to <bytes>|any <variant> through|around slice <bytes>
 *
 * and comments from # to the end of a line. */
void sched_tuning_print(const struct sched_tuning *t, struct strbuf *out);
void sched_tune_rule_print(const struct sched_tune_rule *r, struct strbuf *out);
/* The reverse. text need not end in NUL; nothing in it is believed. NRT_INVALID: the text names the
 * line. */
NRT_STATUS sched_tuning_parse(const char *text, size_t size, struct sched_tuning *ret,
                              struct err *err);

#ifdef __cplusplus
}
#endif
#endif
