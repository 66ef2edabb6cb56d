/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of the two traces, read with the JSON reader as a client would. All end the test when
 * something is not as it must be. */
#ifndef TEST_SYSTEM_TRACE_DOC_H
#define TEST_SYSTEM_TRACE_DOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "neff/json.h"
#include "nrt/nrt_sys_trace.h"

struct fetched {
    char *text;
    size_t size;
    struct json_doc doc;
    const struct json_node *events;
};
/* What the system trace has to fetch. */
void fetched_init(struct fetched *f, const nrt_sys_trace_fetch_options_t *o);
void fetched_fini(struct fetched *f);
/* What the API trace has written to a file. */
void fetched_open(struct fetched *f, const char *path);
void fetched_close(struct fetched *f);

/* A member of an object of the document. */
uint64_t fetched_number(const struct fetched *f, const struct json_node *obj, const char *name);
const char *fetched_text(const struct fetched *f, const struct json_node *obj, const char *name);
/* Of this type, and of this phase unless it is NULL. */
bool fetched_is(const struct fetched *f, const struct json_node *e, const char *type,
                const char *phase);
/* The n-th event of this type and phase; NULL: there are fewer. */
const struct json_node *fetched_find(const struct fetched *f, const char *type, const char *phase,
                                     unsigned n);
unsigned fetched_count(const struct fetched *f, const char *type, const char *phase);

#endif
