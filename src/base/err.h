/* SPDX-License-Identifier: Apache-2.0 */
/* The error record: pure rooms log nothing, they fill one of these and return its status. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdarg.h>

#include "nrt/nrt_status.h"

#define ERR_TEXT_MAX 480

/* One error, as text for a person and a status for the caller. Zero-initialise. The first error set
 * stays: later err_set calls on a record that already carries one change nothing. */
struct err {
    NRT_STATUS status;
    char text[ERR_TEXT_MAX];
};

/* No error, without the cost of zeroing the whole text: where every operation has a record. */
static inline void err_clear(struct err *err)
{
    err->status = NRT_SUCCESS;
    err->text[0] = '\0';
}

/* Fill err (may be NULL) unless it already carries an error; returns status, so that callers write
 * `return err_set(err, NRT_INVALID, "..."):`. The text is cut, never overrun. Any thread. */
NRT_STATUS err_set(struct err *err, NRT_STATUS status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
NRT_STATUS err_vset(struct err *err, NRT_STATUS status, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

/* Name of a status ("NRT_INVALID"), never NULL; base's own table behind nrt_get_status_as_str
 * (which a program may define itself, so no code of ours calls that one). */
const char *status_name(NRT_STATUS status);

/* Warnings found by a pure room: a callback, so that the caller decides where they go. */
struct diag_sink {
    void (*warn)(void *arg, const char *text);
    void (*debug)(void *arg, const char *text);
    void *arg;
};
void diag_warn(const struct diag_sink *sink, const char *fmt, ...) /* sink may be NULL */
    __attribute__((format(printf, 2, 3)));
void diag_debug(const struct diag_sink *sink, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
