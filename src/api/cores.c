/* SPDX-License-Identifier: Apache-2.0 */
/* Which cores the environment asks for: behaviour.md section 2. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "base/settings.h"

#define CORE_DIGITS_MAX 6

static const char *skip_blanks(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

static bool parse_index(const char **pp, uint32_t *ret)
{
    const char *p = skip_blanks(*pp);
    uint32_t v = 0;
    int digits = 0;

    for (; isdigit((unsigned char)*p); p++) {
        if (++digits > CORE_DIGITS_MAX)
            return false;
        v = v * 10 + (uint32_t)(*p - '0');
    }
    *pp = skip_blanks(p);
    *ret = v;
    return digits > 0;
}

/* "3-5,6": contiguous and in increasing order. */
static bool parse_list(const char *text, uint32_t *ret_first, uint32_t *ret_count)
{
    const char *p = text;
    uint32_t next = 0, count = 0;

    for (;;) {
        uint32_t a, b;

        if (!parse_index(&p, &a))
            return false;
        b = a;
        if (*p == '-') {
            p++;
            if (!parse_index(&p, &b) || b < a)
                return false;
        }
        if (count == 0)
            *ret_first = a;
        else if (a != next)
            return false;
        count += b - a + 1;
        next = b + 1;
        if (*p == '\0')
            break;
        if (*p++ != ',')
            return false;
    }
    *ret_count = count;
    return true;
}

NRT_STATUS cores_wish_env(uint32_t total, const struct diag_sink *sink, struct cores_wish *ret,
                          struct err *err)
{
    const char *visible = getenv("NEURON_RT_VISIBLE_CORES");
    int64_t num;

    *ret = (struct cores_wish){.count = total};
    if (visible && *skip_blanks(visible)) {
        ret->fixed = true;
        if (!parse_list(visible, &ret->first, &ret->count))
            return err_set(err, NRT_INVALID,
                           "NEURON_RT_VISIBLE_CORES=%s is not a contiguous, increasing list of "
                           "cores",
                           visible);
        if (ret->first >= total || ret->count > total - ret->first)
            return err_set(err, NRT_INVALID,
                           "NEURON_RT_VISIBLE_CORES=%s: the instance has %u cores", visible, total);
        return NRT_SUCCESS;
    }
    num = settings_int("NEURON_RT_NUM_CORES", 0, 0, UINT32_MAX, sink);
    if (num > 0)
        ret->count = (uint32_t)num;
    return NRT_SUCCESS;
}
