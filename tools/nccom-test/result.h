/* SPDX-License-Identifier: Apache-2.0 */
/* nccom-test: what a node tells the launcher of one step, as text. The launcher reads it from a
 * socket that strangers may reach, so it is hostile. Pure.
 *
 *     nccom-test 1 <token> <node> <nodes>
 *     progress <executions done> <of all>          any number of times
 *     times <stream> <count>                       then so many lines: ns of one operation
 *     hash <stream> <list> <group> <hex>           of the outputs of its ranks there
 *     means <stream> <algorithm> <variant>         as the runtime chose them
 *     end ok   |   end failed <text>
 */
#ifndef NCCOM_RESULT_H
#define NCCOM_RESULT_H

#include "job.h"

#define CC_TOKEN_MAX 33u  /* 128 bits in hexadecimal, and the NUL */
#define CC_WORD_MAX  16u  /* an algorithm, a variant */
#define CC_LINE_MAX  512u /* of one line of the text */

struct cc_hash_line {
    uint32_t stream, list, group;
    uint64_t hash;
};

/* One node's text, read as it comes. */
struct cc_result {
    const struct cc_job *job;
    const char *token;
    char line[CC_LINE_MAX];
    size_t len;
    bool greeted, ended, ok;
    uint32_t node;
    uint32_t done, of;
    double *us[CC_STREAMS_MAX]; /* [counts.execs], NULL: not said yet */
    uint32_t times[CC_STREAMS_MAX];
    char algorithm[CC_STREAMS_MAX][CC_WORD_MAX], variant[CC_STREAMS_MAX][CC_WORD_MAX];
    int reading; /* stream whose times are read; -1 */
    struct cc_hash_line *hash;
    size_t hash_count, hash_cap;
    char text[CC_LINE_MAX]; /* why it failed */
};

void cc_result_init(struct cc_result *r, const struct cc_job *job, const char *token);
void cc_result_fini(struct cc_result *r);
/* More bytes of the text. NRT_INVALID with a text: it is not one; the caller drops the sender. */
NRT_STATUS cc_result_take(struct cc_result *r, const char *bytes, size_t size, struct err *err);

/* Latencies of one stream over the nodes: of each execution the longest. us has room for
 * counts.execs. */
void cc_results_merge(const struct cc_result *nodes, uint32_t count, unsigned stream, double *us);
/* Ranks of a group on different nodes must have equal outputs. False: *ret tells where they have
 * not. */
bool cc_results_equal(const struct cc_result *nodes, uint32_t count, struct cc_hash_line *ret);

/* The first host of a Slurm node list: "n[01-04,7],m1" gives "n01". False: it is none, or does not
 * fit. */
bool cc_first_host(const char *list, char *buf, size_t size);

#endif
