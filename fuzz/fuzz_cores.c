/* SPDX-License-Identifier: Apache-2.0 */
/* The list of --cores: taken is what is one by its definition, decimal numbers with commas between
 * them, and what was taken means these numbers. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opennrt/group.h"

#define CORE_MAX (UINT32_MAX - 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A number's digits at s; NULL: there is none, or it is too large. */
static const char *number(const char *s, uint64_t *ret)
{
    const char *first = s;

    for (*ret = 0; *s >= '0' && *s <= '9'; s++) {
        *ret = *ret * 10 + (uint64_t)(*s - '0');
        if (*ret > CORE_MAX)
            return NULL;
    }
    return s > first ? s : NULL;
}

/* Whether the text is a list, and then that of the place. */
static bool is_list(const char *s, bool taken, const struct group_place *p)
{
    uint32_t n = 0;

    for (;; s++) {
        uint64_t core;

        s = number(s, &core);
        if (!s || n == GROUP_CORES_MAX)
            return false;
        if (taken && (n == p->core_count || p->core[n] != core))
            abort();
        n++;
        if (!*s)
            break;
        if (*s != ',')
            return false;
    }
    if (taken && n != p->core_count)
        abort();
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct group_place p;
    char *text = malloc(size + 1);
    bool taken;

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    taken = group_cores_parse(text, &p);
    if (taken != is_list(text, taken, &p))
        abort();
    free(text);
    return 0;
}
