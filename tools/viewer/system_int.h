/* SPDX-License-Identifier: Apache-2.0 */
/* What the files about system profiles share: lists and the fields that a trace is grouped by. */
#ifndef VIEWER_SYSTEM_INT_H
#define VIEWER_SYSTEM_INT_H

#include <stddef.h>

enum viewer_field {
    VIEWER_FIELD_INSTANCE,
    VIEWER_FIELD_PROCESS,
    VIEWER_FIELD_THREAD,
    VIEWER_FIELD_CORE,
    VIEWER_FIELD_WORKER, /* a core of a process, counted over all of them */
    VIEWER_FIELDS
};
const char *viewer_field_name(enum viewer_field f);
enum viewer_field viewer_field_find(const char *word, size_t size); /* VIEWER_FIELDS: none */

/* The next word of a comma-separated list, without blanks around it; *at moves behind it. NULL: no
 * more, or there is no list. */
const char *viewer_word_next(const char **at, size_t *ret_size);

#endif
