/* SPDX-License-Identifier: Apache-2.0 */
/* Which events of a system profile are shown: comma-separated lists of the command line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/system.h"
#include "viewer/system_int.h"

const char *viewer_word_next(const char **at, size_t *ret_size)
{
    const char *word;

    if (!*at)
        return NULL;
    word = *at + strspn(*at, " ");
    *ret_size = strcspn(word, ",");
    *at = word[*ret_size] ? word + *ret_size + 1 : NULL;
    while (*ret_size > 0 && word[*ret_size - 1] == ' ')
        --*ret_size;
    return word;
}

static bool is_number(const char *word, size_t size, uint64_t *ret)
{
    char copy[24], *end;

    if (size == 0 || size >= sizeof(copy) || word[0] < '0' || word[0] > '9')
        return false;
    memcpy(copy, word, size);
    copy[size] = '\0';
    errno = 0;
    *ret = strtoull(copy, &end, 10);
    return !*end && !errno;
}

/* Whether the list has the text; a list that is not there has all. */
static bool has_text(const char *list, const char *text)
{
    size_t size;

    for (const char *at = list, *word; (word = viewer_word_next(&at, &size)) != NULL;)
        if (size == strlen(text) && memcmp(word, text, size) == 0)
            return true;
    return !list;
}

static bool has_core(const char *list, uint64_t core)
{
    uint64_t v;
    size_t size;

    for (const char *at = list, *word; (word = viewer_word_next(&at, &size)) != NULL;)
        if (is_number(word, size, &v) && v == core)
            return true;
    return !list;
}

bool viewer_choice_has(const struct viewer_choice *c, const struct viewer_system *s,
                       const struct viewer_call *call)
{
    return has_core(c->cores, call->core) &&
           has_text(c->types, viewer_system_text(s, call->type)) &&
           has_text(c->instances, viewer_system_text(s, s->instance));
}

static const char *const fields[VIEWER_FIELDS] = {
    [VIEWER_FIELD_INSTANCE] = "instance_id", [VIEWER_FIELD_PROCESS] = "process_id",
    [VIEWER_FIELD_THREAD] = "thread_id",     [VIEWER_FIELD_CORE] = "lnc_idx",
    [VIEWER_FIELD_WORKER] = "worker_gid",
};

const char *viewer_field_name(enum viewer_field f)
{
    return fields[f];
}

enum viewer_field viewer_field_find(const char *word, size_t size)
{
    for (unsigned i = 0; i < VIEWER_FIELDS; i++)
        if (strlen(fields[i]) == size && memcmp(fields[i], word, size) == 0)
            return (enum viewer_field)i;
    return VIEWER_FIELDS;
}

static NRT_STATUS groups_check(const char *list, bool workers, struct err *err)
{
    size_t size;

    for (const char *at = list, *word; (word = viewer_word_next(&at, &size)) != NULL;) {
        enum viewer_field f = viewer_field_find(word, size);

        if (f == VIEWER_FIELDS || (f == VIEWER_FIELD_WORKER && !workers))
            return err_set(err, NRT_INVALID, "nothing can be grouped by \"%.*s\"",
                           (int)(size < 64 ? size : 64), word);
    }
    return NRT_SUCCESS;
}

NRT_STATUS viewer_choice_check(const struct viewer_choice *c, struct err *err)
{
    NRT_STATUS st;
    uint64_t v;
    size_t size;

    for (const char *at = c->cores, *word; (word = viewer_word_next(&at, &size)) != NULL;)
        if (!is_number(word, size, &v))
            return err_set(err, NRT_INVALID, "\"%.*s\" is no core", (int)(size < 64 ? size : 64),
                           word);
    st = groups_check(c->primary, false, err);
    return st == NRT_SUCCESS ? groups_check(c->secondary, true, err) : st;
}
