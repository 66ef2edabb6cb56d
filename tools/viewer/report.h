/* SPDX-License-Identifier: Apache-2.0 */
/* The report: one page of HTML that needs nothing else, no network and no other file. Texts of
 * profiles are escaped, and the page forbids itself to load anything. Pure. */
#ifndef VIEWER_REPORT_H
#define VIEWER_REPORT_H

#include "viewer/system.h"

#define VIEWER_SLICES_MAX \
    200000u /* of a timeline; of more the shortest are left out, and it says so */

/* systems: of their memory over time. NRT_FAILURE: the sink; NRT_RESOURCE. */
NRT_STATUS viewer_report(const struct viewer_shown *const *s, size_t count,
                         const struct viewer_system *systems, size_t system_count,
                         const struct viewer_sink *sink, struct err *err);

/* Text inside of an element or of an attribute in quotes; appended. */
void viewer_html_put(struct strbuf *out, const char *text);

#endif
