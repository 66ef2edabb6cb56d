/* SPDX-License-Identifier: Apache-2.0 */
/* Rows in InfluxDB's line protocol: a table is a measurement, tags are tags, and a row without a
 * time has time 0. The database knows a point by measurement, tags and time and keeps one of each,
 * so rows that would meet get one more tag, "lane", from 1 on. Pure. */
#ifndef VIEWER_LINES_H
#define VIEWER_LINES_H

#include "base/mem.h"
#include "viewer/rows.h"

struct viewer_lines {
    struct viewer_rows rows;
    const struct viewer_sink *sink;
    const char *table;
    struct strbuf out;          /* whole lines */
    struct strbuf tags, fields; /* of the row that is open */
    uint64_t ns;
    struct str_map series; /* measurement and tags: index in lanes */
    struct viewer_lanes *lanes;
    size_t count, cap;
};
/* What the sink gets ends with a whole line. */
void viewer_lines_init(struct viewer_lines *ret, const struct viewer_sink *sink);
/* Gives on what is left; false: sink or memory failed at some time. Then viewer_lines_fini. */
bool viewer_lines_end(struct viewer_lines *l);
void viewer_lines_fini(struct viewer_lines *l);

#endif
