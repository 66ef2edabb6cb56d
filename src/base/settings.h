/* SPDX-License-Identifier: Apache-2.0 */
/* Environment variables of the runtime: one X-list (settings_list.h) with name, type, default and
 * help; the checks and the manual come from it. docs/spec/behaviour.md section 1. */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Parsers of the reading rules (behaviour.md 1.1). False: malformed, *ret untouched. An integer is
 * decimal, with an optional minus sign and blanks around it, and fits 64 bits. */
bool settings_parse_int(const char *text, int64_t *ret);
bool settings_parse_bool(const char *text, bool *ret);

/* Value of one variable by the rules: unset or malformed (or outside min..max) gives def; malformed
 * also warns. sink may be NULL. */
int64_t settings_int(const char *name, int64_t def, int64_t min, int64_t max,
                     const struct diag_sink *sink);
bool settings_bool(const char *name, bool def, const struct diag_sink *sink);
/* The environment's own storage; an empty value counts as set. */
const char *settings_str(const char *name, const char *def);
/* Whether the variable is set to word, whatever the case. */
bool settings_is_word(const char *name, const char *word);

struct settings_row {
    const char *name, *type, *def, *help; /* type: INT BOOL WORD LIST LEVEL TARGET PATH TEXT */
    char effect;                          /* Y, P or R: settings_list.h */
};
/* Of a variable with documented limits: its value, brought into them; malformed gives def. Silent,
 * since settings_check warns. Of a list: item `at`, def where the list is shorter; a single number
 * counts for all. */
int64_t settings_limited(const char *name, unsigned at, int64_t def);
const struct settings_row *settings_rows(unsigned *ret_count); /* every documented variable */

/* Called once by nrt_init: warns about every set variable that was removed, and about malformed
 * values of those that are accepted without effect (the others are checked where they are read). */
void settings_check(const struct diag_sink *sink);

#endif
