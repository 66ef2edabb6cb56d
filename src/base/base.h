/* SPDX-License-Identifier: Apache-2.0 */
/* The lowest room: what every other room may use. Pure helpers; the only process-wide state is in
 * log.h (a caller's struct log) and fault.h (a debugging facility, off by default). */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include "base/err.h"
#include "base/checked.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "base/dtype.h"

#endif
