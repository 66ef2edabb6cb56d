/* SPDX-License-Identifier: Apache-2.0 */
/* System trace: what the runtime and its cores did when, as events that are captured in memory and
 * fetched as JSON. Names are those of the header nrt/nrt_sys_trace.h of the AWS Neuron SDK;
 * docs/spec/api.md section 9, docs/spec/traces.md. The rules on states, handles, arguments and
 * threads at the head of nrt/nrt.h hold here too.
 *
 * The functions on options may be called in any state; an object of options belongs to one thread
 * at a time. Starting, stopping and fetching need nrt_init and may be called from any thread. */
#ifndef NRT_NRT_SYS_TRACE_H
#define NRT_NRT_SYS_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nrt/nrt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- capture ---- */

typedef struct nrt_sys_trace_config nrt_sys_trace_config_t;

/* Options with their defaults: all cores of the process and all types of event, 1,000,000 events
 * per core. Owned by the caller until nrt_sys_trace_config_free. NRT_INVALID: options is NULL;
 * NRT_RESOURCE. */
NRT_STATUS nrt_sys_trace_config_allocate(nrt_sys_trace_config_t **options);

/* In these five, NULL options: nothing happens. */
void nrt_sys_trace_config_set_defaults(nrt_sys_trace_config_t *options);
void nrt_sys_trace_config_free(nrt_sys_trace_config_t *options);

/* Events that the ring of a core holds; when it is full, the oldest one goes. */
void nrt_sys_trace_config_set_max_events_per_nc(nrt_sys_trace_config_t *options,
                                                uint64_t max_events_per_nc);

/* Whether a core (as the calls on models and tensors count them) has a ring. A number that is no
 * core's has no effect. When none has one, nothing is captured. */
void nrt_sys_trace_config_set_capture_enabled_for_nc(nrt_sys_trace_config_t *options,
                                                     uint32_t nc_idx, bool enabled);

/* NRT_INVALID: options or event_type is NULL, or event_type is no type. */
NRT_STATUS nrt_sys_trace_config_set_capture_enabled_for_event_type(nrt_sys_trace_config_t *options,
                                                                   const char *event_type,
                                                                   bool enabled);

/* All types of event. The array and each string are the caller's, for free() or
 * nrt_sys_trace_free_event_types. NRT_INVALID: an argument is NULL; NRT_RESOURCE. */
NRT_STATUS nrt_sys_trace_get_event_types(const char ***event_types, size_t *count);
void nrt_sys_trace_free_event_types(const char **event_types, size_t count); /* NULL: nothing */

/* Those that options enable, in the same way. */
NRT_STATUS nrt_sys_trace_config_get_enabled_event_types(nrt_sys_trace_config_t *options,
                                                        const char ***event_types, size_t *count);

/* Begin to capture; NULL options: the defaults. options stay the caller's. While a capture runs
 * that was begun so, as another thread's may, it is shared: from now on it holds every core and
 * type that one of its starts asked for, its rings as long as the first start wanted them, and it
 * ends with as many stops. NRT_FAILURE: a capture of nrt_trace_start or nrt_inspect_begin runs;
 * NRT_RESOURCE: no memory for the rings, what runs goes on. */
NRT_STATUS nrt_sys_trace_start(nrt_sys_trace_config_t *options);

/* The last of as many stops as there were starts ends it; what was not fetched is lost then.
 * NRT_FAILURE: none runs. */
NRT_STATUS nrt_sys_trace_stop(void);

/* ---- fetching ---- */

typedef struct nrt_sys_trace_fetch_options nrt_sys_trace_fetch_options_t;

/* Options with their defaults: everything. NRT_INVALID: options is NULL; NRT_RESOURCE. */
NRT_STATUS nrt_sys_trace_fetch_options_allocate(nrt_sys_trace_fetch_options_t **options);

/* In these four, NULL options: nothing happens. */
void nrt_sys_trace_fetch_options_set_defaults(nrt_sys_trace_fetch_options_t *options);
void nrt_sys_trace_fetch_options_free(nrt_sys_trace_fetch_options_t *options);

/* At most this many events of each core; the others stay for the next time. */
void nrt_sys_trace_fetch_options_set_max_events_per_nc(nrt_sys_trace_fetch_options_t *options,
                                                       uint64_t max_events_per_nc);

/* Only events of this core. */
void nrt_sys_trace_fetch_options_set_nc_idx(nrt_sys_trace_fetch_options_t *options,
                                            uint64_t nc_idx);

/* Take captured events, oldest first for each core, as a document of JSON with an array "events"
 * (docs/spec/traces.md): *buffer is text that ends with a NUL, to be freed with
 * nrt_sys_trace_buffer_free; *written_size is its length without the NUL. Nothing was captured: the
 * array is empty. NULL options: everything. NRT_INVALID: buffer or written_size is NULL;
 * NRT_FAILURE: no capture runs; NRT_RESOURCE. */
NRT_STATUS nrt_sys_trace_fetch_events(char **buffer, size_t *written_size,
                                      const nrt_sys_trace_fetch_options_t *options);

void nrt_sys_trace_buffer_free(char *buffer); /* NULL: nothing */

#ifdef __cplusplus
}
#endif
#endif
