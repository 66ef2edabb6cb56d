/* SPDX-License-Identifier: Apache-2.0 */
/* WATCHED(cond): whether somebody looks on, by a trace, a profile or a record of device time;
 * seldom. Every place of a call, an execution or an instruction that asks for it asks through this,
 * or looks at what such a place found in the same call (an ID of trace events that is not 0).
 * In a build with -DOPENNRT_BLIND it is the constant 0 and the compiler drops what hangs on it:
 * beside such a build bench/off_cost.c measures what the places cost while nobody looks on. */
#ifndef BASE_WATCHED_H
#define BASE_WATCHED_H

#ifdef OPENNRT_BLIND
#define WATCHED(cond) ((void)sizeof(cond), 0)
#else
#define WATCHED(cond) __builtin_expect((cond) ? 1 : 0, 0)
#endif

#endif
