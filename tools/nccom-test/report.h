/* SPDX-License-Identifier: Apache-2.0 */
/* nccom-test: statistics of latencies, the table and the JSON report
 * (docs/spec/collectives.md 16.2, 16.3). Pure. */
#ifndef NCCOM_REPORT_H
#define NCCOM_REPORT_H

#include "case.h"

/* Percentile p (0..100) by nearest rank of n >= 1 ascending values. */
double cc_percentile(const double *sorted, size_t n, unsigned p);
double cc_mean(const double *values, size_t n);
void cc_sort(double *values, size_t n);
/* "10.0", "574.15": two decimals, rounded half to even as printf does, without padding but for one
 * digit. */
void cc_round_text(char *buf, size_t size, double value);

/* One line of a table. */
struct cc_row {
    uint64_t bytes, count, in_bytes, out_bytes;
    char type[8];
    bool failed;
    char log[CC_PATH_MAX]; /* failed: where the reason is */
    double avg_us;
    double stats[CC_STATS_MAX]; /* us, as asked for */
    double algbw, busbw;        /* GB/s, or GiB/s */
    char algorithm[16];
};

/* Fills the figures of a row from latencies of single operations, us; sorts them. */
void cc_row_fill(struct cc_row *row, const struct cc_case *c, const struct cc_options *o,
                 double *us, size_t n);

/* The table of one stream with its last line. Returns how many rows failed. */
unsigned cc_table_print(struct strbuf *to, const struct cc_options *o, const struct cc_row *rows,
                        size_t n);
/* The report of all streams: counts[s] rows for stream s, one stream's after the other's. */
void cc_json_print(struct strbuf *to, const struct cc_options *o, const struct cc_stream *streams,
                   unsigned stream_count, const struct cc_row *rows, const size_t *counts);

#endif
