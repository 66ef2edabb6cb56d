/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the base room and its tests: a log from explicit values instead of the environment. */
#ifndef BASE_LOG_INT_H
#define BASE_LOG_INT_H

#include "base/log.h"

/* Where syslog listens; tests give a socket of their own. */
#define LOG_SYSLOG_PATH "/dev/log"

/* log_open_env with getenv and the syslog socket replaced. */
struct log *log_open_with(const char *(*get)(const char *name), const char *syslog_path);

#endif
