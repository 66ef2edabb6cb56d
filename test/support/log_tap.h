/* SPDX-License-Identifier: Apache-2.0 */
/* Collects what a struct log is given, so that a test can ask for a record, and fail on one that it
 * did not expect. */
#ifndef TEST_SUPPORT_LOG_TAP_H
#define TEST_SUPPORT_LOG_TAP_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"

struct log_tap_line {
    enum log_level level;
    char *text; /* the whole record, prefix included, no newline */
};

/* Synchronization: lock protects lines. */
struct log_tap {
    pthread_mutex_t lock;
    struct log_tap_line *lines;
    size_t count, cap;
};

void log_tap_init(struct log_tap *t);
void log_tap_attach(struct log_tap *t, struct log *lg); /* from now on t sees lg's records */
void log_tap_clear(struct log_tap *t);
void log_tap_fini(struct log_tap *t);
/* Records of this level; all records that contain text. */
size_t log_tap_count(struct log_tap *t, enum log_level level);
size_t log_tap_find(struct log_tap *t, const char *text);
/* Prints the records to stderr, for a failing test. */
void log_tap_dump(struct log_tap *t);

#endif
