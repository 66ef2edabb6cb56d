/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles: what instructions, transfers, waits and collectives take on the device, and captures of
 * a whole process. Names are those of the header nrt/nrt_profile.h of the AWS Neuron SDK;
 * docs/spec/api.md section 8, docs/profiling.md. The rules on states, handles, arguments and
 * threads at the head of nrt/nrt.h hold here too.
 *
 * The functions on options may be called in any state; an object of options belongs to one thread
 * at a time. A start and its stop are ordered by the caller. */
#ifndef NRT_NRT_PROFILE_H
#define NRT_NRT_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nrt/nrt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- one model ---- */

/* Record the executions of the model from now on, for a file, which is made or emptied. Several
 * models may be recorded at once, under different names. NRT_INVALID: an argument is NULL, the
 * model is being recorded, the name is in use, or the file cannot be made; NRT_RESOURCE: no device
 * memory for the profile buffers. */
NRT_STATUS nrt_profile_start(nrt_model_t *model, const char *filename);

/* End that, and write the file (docs/spec/ntff.md). NRT_INVALID: no profile was started for this
 * name; NRT_FAILURE: the file cannot be written, NRT_RESOURCE: the profile goes on, without the
 * executions that ended during this call. Unloading the model ends its profile without a file. */
NRT_STATUS nrt_profile_stop(const char *filename);

/* ---- continuous: the latest execution of each core, on demand ---- */

typedef struct nrt_profile_continuous_options nrt_profile_continuous_options_t;

/* Options with their default: the folder "./output". Owned by the caller until
 * nrt_profile_continuous_options_free. NRT_INVALID: options is NULL; NRT_RESOURCE. */
NRT_STATUS
nrt_profile_continuous_options_allocate(nrt_profile_continuous_options_t **options);
NRT_STATUS nrt_profile_continuous_options_free(nrt_profile_continuous_options_t *options);

/* The folder for the files. NRT_INVALID: an argument is NULL, or the text is empty; NRT_RESOURCE.
 */
NRT_STATUS
nrt_profile_continuous_options_set_output_dir(nrt_profile_continuous_options_t *options,
                                              const char *output_dir);

/* Begin to record every execution, keeping the latest one of each core. NRT_INVALID: options is
 * NULL; NRT_FAILURE: it is on already, inspect records devices, or executions are asynchronous
 * (NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS); NRT_RESOURCE. */
NRT_STATUS nrt_profile_continuous_start(nrt_profile_continuous_options_t *options);

/* Write the latest execution on core vnc to a new file in the folder of these options, and go on.
 * NRT_INVALID: options is NULL, or not a core of this process; NRT_FAILURE: it is not on, nothing
 * was executed there yet, or the file cannot be written; NRT_RESOURCE. */
NRT_STATUS nrt_profile_continuous_save(uint32_t vnc, nrt_profile_continuous_options_t *options);

/* End it, without a file. NRT_FAILURE: it is not on. */
NRT_STATUS nrt_profile_continuous_stop(void);

/* ---- inspect: a whole process, to a folder ---- */

/* Begin to capture what the variables NEURON_RT_INSPECT_* ask for; before nrt_init: the capture
 * begins with it. It ends, and writes its files, with nrt_inspect_stop, nrt_close, the end of the
 * process, SIGTERM or SIGINT. With NEURON_RT_INSPECT_ENABLE or NEURON_RT_INSPECT_ON_FAIL set,
 * nrt_init does this by itself. NRT_FAILURE: a capture is on already, or one of system traces or
 * continuous profiling, which it would need; or the folder cannot be made; NRT_RESOURCE. */
NRT_STATUS nrt_inspect_begin(void);

/* End the capture and write its files; nothing happens when none is on. NRT_FAILURE: a file cannot
 * be written, NRT_RESOURCE: the capture goes on. */
NRT_STATUS nrt_inspect_stop(void);

typedef struct nrt_inspect_config nrt_inspect_config_t;

/* Options with their defaults, whatever the environment says: session 1, the folder "./output", all
 * activities, cores and types of event, 1,000,000 events per core, neither enable_inspect nor
 * enable_inspect_on_fail. Owned by the caller until nrt_inspect_config_free. In all of these,
 * NRT_INVALID: a pointer is NULL. */
NRT_STATUS nrt_inspect_config_allocate(nrt_inspect_config_t **options); /* NRT_RESOURCE */
NRT_STATUS nrt_inspect_config_set_defaults(nrt_inspect_config_t *options);
NRT_STATUS nrt_inspect_config_free(nrt_inspect_config_t *options);

NRT_STATUS nrt_inspect_config_set_session_id(nrt_inspect_config_t *options, int session_id);

/* NRT_INVALID also: the text is empty; NRT_RESOURCE. The text is copied. */
NRT_STATUS nrt_inspect_config_set_output_dir(nrt_inspect_config_t *options, const char *output_dir);

/* As the functions of nrt/nrt_sys_trace.h. */
NRT_STATUS
nrt_inspect_config_set_sys_trace_max_events_per_nc(nrt_inspect_config_t *options,
                                                   uint64_t sys_trace_max_events_per_nc);
NRT_STATUS nrt_inspect_config_set_capture_enabled_for_nc(nrt_inspect_config_t *options,
                                                         uint32_t nc_idx, bool enabled);
/* NRT_INVALID also: not a type of event. */
NRT_STATUS
nrt_inspect_config_set_capture_enabled_for_event_type_string(nrt_inspect_config_t *options,
                                                             const char *event_type, bool enabled);

/* Whether executions are captured, and whether those that fail leave a device profile. With neither
 * nothing is captured. */
NRT_STATUS nrt_inspect_config_set_enable_inspect(nrt_inspect_config_t *options,
                                                 bool enable_inspect);
NRT_STATUS nrt_inspect_config_set_enable_inspect_on_fail(nrt_inspect_config_t *options,
                                                         bool enable_inspect_on_fail);

/* As nrt_inspect_begin, with these options (NULL: the defaults) in place of the environment. */
NRT_STATUS nrt_inspect_begin_with_options(nrt_inspect_config_t *options);

/* All activities, and those that are on: "system_profile", "device_profile", "host_memory",
 * "cpu_util". The array and each string are the caller's, for free() or
 * nrt_inspect_config_free_activity_types. NRT_RESOURCE. */
NRT_STATUS nrt_inspect_config_get_all_activity_types(const char ***activity_types, size_t *count);
NRT_STATUS nrt_inspect_config_get_enabled_activity_types(nrt_inspect_config_t *options,
                                                         const char ***activity_types,
                                                         size_t *count);
void nrt_inspect_config_free_activity_types(const char **activity_types, size_t count);

/* One of them, or "all". NRT_INVALID also: another name. */
NRT_STATUS nrt_inspect_config_set_activity(nrt_inspect_config_t *options, const char *activity_type,
                                           bool enabled);

#ifdef __cplusplus
}
#endif
#endif
