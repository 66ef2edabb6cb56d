/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that view writes, with what each column is. Pure. */
#ifndef VIEWER_SCHEMA_H
#define VIEWER_SCHEMA_H

#include "base/strbuf.h"

/* In YAML, a document for each table; appended. */
void viewer_schema_put(struct strbuf *out);
/* The keys of a summary and what they mean, a line each; appended. */
void viewer_terms_put(struct strbuf *out);

#endif
