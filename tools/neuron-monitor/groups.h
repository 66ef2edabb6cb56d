/* SPDX-License-Identifier: Apache-2.0 */
/* The groups of metrics as JSON objects. */
#ifndef TOOLS_NEURON_MONITOR_GROUPS_H
#define TOOLS_NEURON_MONITOR_GROUPS_H

#include "common/json_out.h"
#include "common/sample.h"
#include "neuron-monitor/config.h"

/* The object of one group, with its measured period. */
void group_app(struct json_out *j, const struct view *v, enum mon_group g,
               const struct sample *prev, const struct sample *cur, size_t process);
void group_system(struct json_out *j, const struct view *v, enum mon_group g,
                  const struct sample *prev, const struct sample *cur);
void group_instance(struct json_out *j, const struct view *v);
void group_hardware(struct json_out *j, const struct view *v);
/* "trainium" and "v2" of the devices. */
void group_device_names(const struct view *v, char *type, size_t size, const char **ret_version);

#endif
