/* SPDX-License-Identifier: Apache-2.0 */
#include "log_tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Plain malloc throughout: fault points of the code under test must not hit the test itself. */
static void tap(void *arg, enum log_level level, const char *line)
{
    struct log_tap *t = arg;

    pthread_mutex_lock(&t->lock);
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->lines = realloc(t->lines, t->cap * sizeof(*t->lines));
        if (t->lines == NULL)
            abort();
    }
    t->lines[t->count].level = level;
    t->lines[t->count].text = strdup(line);
    if (t->lines[t->count].text == NULL)
        abort();
    t->count++;
    pthread_mutex_unlock(&t->lock);
}

void log_tap_init(struct log_tap *t)
{
    memset(t, 0, sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
}

void log_tap_attach(struct log_tap *t, struct log *lg)
{
    log_set_tap(lg, tap, t);
}

void log_tap_clear(struct log_tap *t)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->count; i++)
        free(t->lines[i].text);
    t->count = 0;
    pthread_mutex_unlock(&t->lock);
}

void log_tap_fini(struct log_tap *t)
{
    log_tap_clear(t);
    free(t->lines);
    pthread_mutex_destroy(&t->lock);
    memset(t, 0, sizeof(*t));
}

size_t log_tap_count(struct log_tap *t, enum log_level level)
{
    size_t n = 0;

    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->count; i++)
        n += t->lines[i].level == level;
    pthread_mutex_unlock(&t->lock);
    return n;
}

size_t log_tap_find(struct log_tap *t, const char *text)
{
    size_t n = 0;

    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->count; i++)
        n += strstr(t->lines[i].text, text) != NULL;
    pthread_mutex_unlock(&t->lock);
    return n;
}

void log_tap_dump(struct log_tap *t)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->count; i++)
        fprintf(stderr, "%s\n", t->lines[i].text);
    pthread_mutex_unlock(&t->lock);
}
