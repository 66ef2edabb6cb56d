/* SPDX-License-Identifier: Apache-2.0 */
/* Writing JSON: commas, line breaks and escapes in one place. Values are members of the object or
 * elements of the array that was opened last; key is NULL in an array and at the root. Texts may
 * hold any bytes: what is not UTF-8 becomes '?'. Zero-initialise, set indent; after a failed
 * allocation out.failed stays set. */
#ifndef TOOLS_COMMON_JSON_OUT_H
#define TOOLS_COMMON_JSON_OUT_H

#include <stdint.h>

#include "base/strbuf.h"

#define JSON_OUT_DEPTH 16

struct json_out {
    struct strbuf out;
    unsigned indent; /* blanks per level; 0: all on one line */
    unsigned depth;
    bool some[JSON_OUT_DEPTH]; /* something has been written at this level */
};

void json_out_open(struct json_out *j, const char *key, char bracket); /* '{' or '[' */
void json_out_close(struct json_out *j, char bracket);                 /* '}' or ']' */
void json_out_text(struct json_out *j, const char *key, const char *text);
void json_out_uint(struct json_out *j, const char *key, uint64_t v);
void json_out_int(struct json_out *j, const char *key, int64_t v);
void json_out_bool(struct json_out *j, const char *key, bool v);
/* v / 1000, exactly: 12.340. */
void json_out_thousandths(struct json_out *j, const char *key, uint64_t v);
/* Not a number and infinities become null. */
void json_out_real(struct json_out *j, const char *key, double v);
void json_out_null(struct json_out *j, const char *key);

#endif
