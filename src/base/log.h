/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's log: docs/spec/behaviour.md section 4, byte for byte. A struct log is made by the
 * api room from the settings and handed down; NULL is a log that drops everything. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>

enum log_level { LOG_QUIET = -1, LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };
enum log_comp { LOG_NRT, LOG_TDRV, LOG_NMGR, LOG_HAL, LOG_COMP_COUNT };

struct log;

/* Reads NEURON_RT_LOG_* from the environment (general, then per component; location unset means the
 * console at ERROR and, where a syslog listens, syslog at INFO; a set location is the only target).
 * Never fails: bad values warn and give the default; NULL only when memory is out. */
struct log *log_open_env(void);
void log_close(struct log *lg);

/* Whether a record of this level would go anywhere: one predictable branch for the caller. */
bool log_on(const struct log *lg, enum log_comp comp, enum log_level level);

/* One record. func is the name printed in the function column (documented names where the page
 * gives one). The prefix is on the first line only; the text may hold newlines (section 4). Any
 * thread. */
void log_msg(struct log *lg, enum log_comp comp, enum log_level level, const char *func,
             const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void log_vmsg(struct log *lg, enum log_comp comp, enum log_level level, const char *func,
              const char *fmt, va_list ap) __attribute__((format(printf, 5, 0)));
/* Text without a prefix, to the targets of the component at this level (tables, the infodump's
 * blank line). A newline is added. */
void log_raw(struct log *lg, enum log_comp comp, enum log_level level, const char *text);

/* The last records at ERROR and WARN, whatever the targets admit, oldest first: what a core dump
 * keeps of the log. line is called with one record each, without its last newline, while no other
 * thread can add one. False: a thread holds the records just now (wait: it is waited for). */
#define LOG_TAIL 1000
bool log_tail(struct log *lg, bool wait, void (*line)(void *arg, const char *text), void *arg);

/* Tests see every record of every level, whatever the targets admit: called with the formatted line
 * (no newline), after the targets. Set it before other threads use the log. NULL removes it. */
void log_set_tap(struct log *lg, void (*tap)(void *arg, enum log_level level, const char *line),
                 void *arg);

#define LOGE(lg, comp, func, ...) log_msg(lg, comp, LOG_ERROR, func, __VA_ARGS__)
#define LOGW(lg, comp, func, ...) log_msg(lg, comp, LOG_WARN, func, __VA_ARGS__)
#define LOGI(lg, comp, func, ...)                           \
    do {                                                    \
        if (log_on(lg, comp, LOG_INFO))                     \
            log_msg(lg, comp, LOG_INFO, func, __VA_ARGS__); \
    } while (0)
#define LOGD(lg, comp, func, ...)                            \
    do {                                                     \
        if (log_on(lg, comp, LOG_DEBUG))                     \
            log_msg(lg, comp, LOG_DEBUG, func, __VA_ARGS__); \
    } while (0)

#define LOGT(lg, comp, func, ...)                            \
    do {                                                     \
        if (log_on(lg, comp, LOG_TRACE))                     \
            log_msg(lg, comp, LOG_TRACE, func, __VA_ARGS__); \
    } while (0)

#endif
