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

/* ---- confirming ---- */

/* Of many choices the one that measurements favoured most may be the luckiest, and what one set of
 * processes shows another need not. So a table is confirmed before it is kept: at every size where
 * it takes other ways than the fixed one, both are measured anew, in trials that have nothing in
 * common, and what is not shown to be faster falls back. */
#define SCHED_TUNE_TRIALS    7
#define SCHED_TUNE_CASES_MAX 512

enum sched_tune_verdict {
    SCHED_TUNE_OPEN,
    SCHED_TUNE_KEPT,    /* by its figures */
    SCHED_TUNE_REFUSED, /* by its figures */
    SCHED_TUNE_BESIDE,  /* between two measured sizes of which one was refused */
};

/* A size at which a table has other means or another patience than the fixed one. */
struct sched_tune_case {
    uint8_t op; /* enum sched_op */
    bool crowded;
    uint64_t size;
    struct sched_means means[2];       /* of the fixed table, and of the other */
    struct sched_patience patience[2]; /* likewise */
    unsigned trials;
    double ratio[SCHED_TUNE_TRIALS]; /* of its time to that of the fixed table, by trial */
    uint8_t verdict;                 /* enum sched_tune_verdict */
};

/* What a confirmation found, in the order in which it was found: what fell, then what is kept. */
struct sched_tune_record {
    size_t count;
    struct sched_tune_case c[2 * SCHED_TUNE_CASES_MAX];
};

/* The sizes at which both tables are to be compared: every size among the samples, and the middle
 * of every stretch between two of them in which neither table has a limit. Returns those at which
 * they differ; *ret_sizes: how many there are in all. NRT_INVALID: more than SCHED_TUNE_CASES_MAX
 * differ. */
NRT_STATUS sched_tuning_cases(const struct sched_tune_sample *samples, size_t n,
                              const struct sched_tuning *tuned, struct sched_tune_case *ret,
                              size_t *ret_count, unsigned *ret_sizes, struct err *err);

/* The table made of the samples, but for what was refused: a refused size has the means of the
 * fixed table, and so have the stretches beside it; a refused stretch has them. A refused case
 * whose means are those of the fixed table refuses the patience of its crowd. Nothing is chosen
 * that would not have been without the record. */
NRT_STATUS sched_tuning_decide_but(const struct sched_tune_sample *samples, size_t n,
                                   const struct sched_tune_record *but, struct sched_tuning *ret,
                                   struct err *err);

/* Takes a trial: sets ratio[i] of each case; what is no number above 0 was not measured. False: no
 * trial is possible. */
typedef bool sched_tune_trial(void *arg, const struct sched_tune_case *cases, size_t n,
                              double *ratio);

/* The table of sched_tuning_decide, confirmed. Other means are kept at a size where they were
 * slower in one trial of SCHED_TUNE_TRIALS at most, and faster by 5 % in the median; another
 * patience, if it is so at one of the sizes where only it differs, and at none slower by more than
 * 3 % in the median. Whenever something falls, what is left is confirmed from the start, until
 * nothing falls. NRT_FAILURE: a trial was not possible; NRT_INVALID: as above. */
NRT_STATUS sched_tuning_confirm(const struct sched_tune_sample *samples, size_t n,
                                sched_tune_trial *trial, void *arg, struct sched_tuning *ret,
                                struct sched_tune_record *record, struct err *err);

/* The median of the ratios of a case that has had a trial, and the least and the largest. */
double sched_tune_case_ratio(const struct sched_tune_case *c, double *least, double *most);

bool sched_means_equal(struct sched_means a, struct sched_means b);
bool sched_patience_equal(struct sched_patience a, struct sched_patience b);

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
