/* SPDX-License-Identifier: Apache-2.0 */
/* Environment variables of the runtime: one X-list with name, type, default and help; the parser,
 * the infodump's Environment section and the manual come from it. behaviour.md section 1. */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Parsers of the reading rules (behaviour.md 1.1). False: malformed, *ret untouched. */
bool settings_parse_int(const char *text, int64_t *ret);
bool settings_parse_bool(const char *text, bool *ret);

/* Value of one variable by the rules: unset or malformed gives def; malformed also warns. */
int64_t settings_int(const char *name, int64_t def, int64_t min, int64_t max,
                     const struct diag_sink *sink);
bool settings_bool(const char *name, bool def, const struct diag_sink *sink);
const char *settings_str(const char *name, const char *def); /* the environment's own storage */

struct settings_row {
    const char *name, *type, *def, *help;
};
const struct settings_row *settings_rows(unsigned *ret_count); /* every documented variable */

#endif
