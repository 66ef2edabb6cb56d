/* SPDX-License-Identifier: Apache-2.0 */
/* A profile as JSON: the tables, each an array of objects. */
#include "viewer/views.h"

NRT_STATUS viewer_json_profile(const struct viewer_shown *const *s, size_t count,
                               const struct viewer_sink *sink, struct err *err)
{
    struct json_out j = {.indent = 1};
    struct viewer_rows_json w;
    NRT_STATUS st;

    viewer_rows_json_init(&w, &j, sink);
    json_out_open(&j, NULL, '{');
    st = viewer_tables_put(s, count, &w.rows, err);
    json_out_close(&j, '}');
    strbuf_put(&j.out, "\n");
    w.rows.ok = w.rows.ok && viewer_flush(&j.out, sink, true);
    if (st == NRT_SUCCESS && j.out.failed)
        st = err_set(err, NRT_RESOURCE, "no memory for a profile as JSON");
    else if (st == NRT_SUCCESS && !w.rows.ok)
        st = err_set(err, NRT_FAILURE, "the profile could not be written");
    strbuf_fini(&j.out);
    return st;
}
