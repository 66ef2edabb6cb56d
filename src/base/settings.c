/* SPDX-License-Identifier: Apache-2.0 */
#include "base/settings.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/broken.h"
#include "base/checked.h"
#include "base/settings_list.h"

static const struct settings_row rows[] = {
#define ROW(name, type, def, effect, help) {#name, #type, def, help, #effect[0]},
    SETTINGS_LIST(ROW)
#undef ROW
};

const struct settings_row *settings_rows(unsigned *ret_count)
{
    *ret_count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool settings_parse_int(const char *text, int64_t *ret)
{
    bool negative;
    int64_t v = 0;

    while (is_blank(*text))
        text++;
    negative = *text == '-';
    text += negative;
    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        int64_t digit = *text - '0';

        if (i64_mul_over(v, 10, &v) || i64_add_over(v, negative ? -digit : digit, &v))
            return false;
    }
    while (is_blank(*text))
        text++;
    if (*text != '\0')
        return false;
    *ret = v;
    return true;
}

bool settings_parse_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"1", "true", "TRUE", "True", "on"};
    static const char *const no[] = {"0", "false", "FALSE", "False", "off", ""};

    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (strcmp(text, yes[i]) == 0) {
            *ret = true;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        if (strcmp(text, no[i]) == 0) {
            *ret = false;
            return true;
        }
    }
    return false;
}

int64_t settings_int(const char *name, int64_t def, int64_t min, int64_t max,
                     const struct diag_sink *sink)
{
    const char *text = getenv(name);
    int64_t v;

    if (text == NULL)
        return def;
    if (!settings_parse_int(text, &v)) {
        diag_warn(sink, "%s: \"%s\" is not an integer, using %lld", name, text, (long long)def);
        return def;
    }
    if (v < min || v > max) {
        diag_warn(sink, "%s: %lld is outside %lld..%lld, using %lld", name, (long long)v,
                  (long long)min, (long long)max, (long long)def);
        return def;
    }
    return v;
}

bool settings_bool(const char *name, bool def, const struct diag_sink *sink)
{
    const char *text = getenv(name);
    bool v;

    if (text == NULL)
        return def;
    if (!settings_parse_bool(text, &v)) {
        diag_warn(sink, "%s: \"%s\" is not a boolean, using %d", name, text, def);
        return def;
    }
    return v;
}

const char *settings_str(const char *name, const char *def)
{
    const char *text = getenv(name);

    return text != NULL ? text : def;
}

bool settings_is_word(const char *name, const char *word)
{
    const char *text = getenv(name);

    return text != NULL && strcasecmp(text, word) == 0;
}

/* Limits that the documentation gives to values without effect. */
static const struct {
    const char *name;
    int64_t min, max;
} limits[] = {{"NEURON_RT_DBG_DMA_PACKETIZATION_SIZE", 4096, INT64_MAX}, /* may only grow */
              {"NEURON_RT_DBG_CC_DMA_PACKET_SIZE", 1, 65536}};           /* may only shrink */

static int64_t clamped(const char *name, int64_t v)
{
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        if (strcmp(limits[i].name, name) == 0)
            return v < limits[i].min ? limits[i].min : v > limits[i].max ? limits[i].max : v;
    }
    return v;
}

int64_t settings_limited(const char *name, unsigned at, int64_t def)
{
    const char *text = getenv(name);
    char item[32];
    size_t n;
    int64_t v;

    if (text == NULL)
        return def;
    if (strchr(text, ',') == NULL)
        return settings_parse_int(text, &v) ? clamped(name, v) : def;
    for (unsigned i = 0; i < at; i++) {
        text += strcspn(text, ",");
        if (*text++ == '\0')
            return def;
    }
    n = strcspn(text, ",");
    if (n >= sizeof(item))
        return def;
    memcpy(item, text, n);
    item[n] = '\0';
    return settings_parse_int(item, &v) ? clamped(name, v) : def;
}

/* Whether text is one integer, or for a list several of them separated by commas; each that is
 * outside its limits is clamped with a warning. */
static bool int_list_ok(const char *name, const char *text, bool list, const struct diag_sink *sink)
{
    char item[32];
    int64_t v;

    for (;;) {
        size_t n = list ? strcspn(text, ",") : strlen(text);

        if (n >= sizeof(item))
            return false;
        memcpy(item, text, n);
        item[n] = '\0';
        if (!settings_parse_int(item, &v))
            return false;
        if (clamped(name, v) != v && !BROKEN(OVL))
            diag_warn(sink, "%s: %lld is out of range, using %lld", name, (long long)v,
                      (long long)clamped(name, v));
        if (text[n] == '\0')
            return true;
        text += n + 1;
    }
}

void settings_check(const struct diag_sink *sink)
{
    if (BROKEN(PERF))
        return;
    if (BROKEN(OVL) || BROKEN(INTER))
        diag_warn(sink, "a deliberate defect");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct settings_row *r = &rows[i];
        const char *text = getenv(r->name);
        bool ignored;

        if (text == NULL)
            continue;
        if (r->effect == 'R')
            diag_warn(sink, "%s is no longer supported and is ignored (%s)", r->name, r->help);
        if (r->effect != 'P')
            continue;
        if (strcmp(r->type, "BOOL") == 0 && !settings_parse_bool(text, &ignored))
            diag_warn(sink, "%s: \"%s\" is not a boolean, using the default", r->name, text);
        if (strcmp(r->type, "INT") == 0 && !int_list_ok(r->name, text, false, sink))
            diag_warn(sink, "%s: \"%s\" is not an integer, using the default", r->name, text);
        if (strcmp(r->type, "LIST") == 0 && !int_list_ok(r->name, text, true, sink))
            diag_warn(sink, "%s: \"%s\" is not a list of integers, using the default", r->name,
                      text);
    }
}
