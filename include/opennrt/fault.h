/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on demand: makes executions, operations and ranks of this process fail as devices do, so
 * that a program can be tested for it. Ours: no other runtime has these calls, and a program that
 * may run with one looks them up (dlsym). What can be asked for is in docs/faults.md.
 *
 * All may be called from any thread between nrt_init and nrt_close; before and after, they return
 * NRT_UNINITIALIZED or NRT_CLOSED. */
#ifndef OPENNRT_FAULT_H
#define OPENNRT_FAULT_H

#include <stdint.h>

#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Puts items in force, besides those that are: a list as in the variable OPENNRT_FAULT, which
 * nrt_init has read. Borrowed for the call. Executions and operations are counted from now on; one
 * that is under way may not meet them yet.
 * NRT_INVALID: NULL, or the log names an item that is none, and nothing has changed. NRT_RESOURCE:
 * no host memory. */
NRT_STATUS opennrt_fault_add(const char *items);

/* Takes all items back, those of the variable too. */
NRT_STATUS opennrt_fault_clear(void);

/* How many faults have struck since nrt_init, but those that only fail an operation of the host or
 * its memory (alloc, mmap, file, lock, backing, thread, queue, hbm-full, queue-full, net-loss).
 * NRT_INVALID: NULL. */
NRT_STATUS opennrt_fault_struck(uint64_t *ret_count);

#ifdef __cplusplus
}
#endif

#endif
