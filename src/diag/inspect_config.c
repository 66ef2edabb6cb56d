/* SPDX-License-Identifier: Apache-2.0 */
/* What a capture is asked for: defaults, and NEURON_RT_INSPECT_* (behaviour.md 1.2, 50 to 59). */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/settings.h"
#include "diag/inspect.h"
#include "run/run.h"

static const char *const names[INSPECT_ACTIVITIES] = {[INSPECT_SYSTEM] = "system_profile",
                                                      [INSPECT_DEVICE] = "device_profile",
                                                      [INSPECT_HOST_MEMORY] = "host_memory",
                                                      [INSPECT_CPU] = "cpu_util"};

const char *inspect_activity_name(enum inspect_activity a)
{
    return names[a];
}

void inspect_config_defaults(struct inspect_config *c)
{
    *c = (struct inspect_config){.session = 1, .activities = (1u << INSPECT_ACTIVITIES) - 1};
    trace_config_defaults(&c->trace);
}

void inspect_config_fini(struct inspect_config *c)
{
    mem_free(c->dir);
    c->dir = NULL;
}

/* ---- filters ---- */

static void group_set(struct trace_config *c, enum trace_group g, bool on)
{
    for (unsigned t = TRACE_NONE + 1; t < TRACE_TYPE_COUNT; t++)
        if (trace_type_group((enum trace_type)t) == g)
            trace_config_type(c, (enum trace_type)t, on);
}

/* One word of the list; false: it names nothing. */
static bool word_set(struct trace_config *c, const char *word, bool on)
{
    enum trace_type t = trace_type_find(word);

    if (t != TRACE_NONE)
        trace_config_type(c, t, on);
    else if (strcmp(word, "hardware") == 0)
        group_set(c, TRACE_HARDWARE_GROUP, on);
    else if (strcmp(word, "software") == 0)
        group_set(c, TRACE_SOFTWARE_GROUP, on);
    else
        return false;
    return true;
}

/* "hardware,^cc_running": from left to right; a list whose first word adds begins with nothing, one
 * whose first word removes begins with all. */
static void filter_types(struct trace_config *c, char *list, const struct diag_sink *sink)
{
    bool first = true;
    char *save, *word;

    for (word = strtok_r(list, ", \t", &save); word; word = strtok_r(NULL, ", \t", &save)) {
        bool on = word[0] != '^';

        if (first && on) {
            group_set(c, TRACE_HARDWARE_GROUP, false);
            group_set(c, TRACE_SOFTWARE_GROUP, false);
        }
        first = false;
        if (!word_set(c, word + !on, on))
            diag_warn(sink, "NEURON_RT_INSPECT_EVENT_FILTER_TYPE: \"%s\" is no type of event",
                      word + !on);
    }
}

static void filter_cores(struct trace_config *c, const char *list, const struct diag_sink *sink)
{
    struct run_cpus set; /* a list of numbers in the same form */

    if (!run_cpus_parse(list, &set)) {
        diag_warn(sink, "NEURON_RT_INSPECT_EVENT_FILTER_NC: \"%s\" is no list of cores", list);
        return;
    }
    for (uint64_t i = 0; i < TRACE_CORE_MAX; i++)
        trace_config_core(c, i, set.bits[i / 64] >> i % 64 & 1);
}
_Static_assert((int)RUN_CPUS_MAX >= (int)TRACE_CORE_MAX, "every core has a bit");

/* ---- the environment ---- */

static void device_env(struct inspect_config *c, const struct diag_sink *sink)
{
    const char *name = "NEURON_RT_INSPECT_DEVICE_PROFILE";
    bool on = false;

    if (settings_is_word(name, "session")) {
        on = c->whole_session = true;
    } else if (settings_is_word(name, "model")) {
        on = true;
    } else {
        on = settings_bool(name, false, sink);
    }
    if (on)
        c->activities |= 1u << INSPECT_DEVICE;
}

NRT_STATUS inspect_config_env(struct inspect_config *c, const struct diag_sink *sink,
                              struct err *err)
{
    const char *list;
    char *copy;

    inspect_config_defaults(c);
    c->activities = 0;
    c->enable = settings_bool("NEURON_RT_INSPECT_ENABLE", false, sink);
    c->on_fail = settings_bool("NEURON_RT_INSPECT_ON_FAIL", false, sink);
    if (settings_bool("NEURON_RT_INSPECT_SYSTEM_PROFILE", true, sink))
        c->activities |= 1u << INSPECT_SYSTEM;
    if (settings_bool("NEURON_RT_INSPECT_CPU_UTIL", false, sink))
        c->activities |= 1u << INSPECT_CPU;
    if (settings_bool("NEURON_RT_INSPECT_HOST_MEMORY", false, sink))
        c->activities |= 1u << INSPECT_HOST_MEMORY;
    device_env(c, sink);
    c->trace.max_events = (uint64_t)settings_int("NEURON_RT_INSPECT_SYS_TRACE_MAX_EVENTS_PER_NC",
                                                 TRACE_MAX_EVENTS, 0, INT64_MAX, sink);
    list = settings_str("NEURON_RT_INSPECT_EVENT_FILTER_NC", "");
    if (list[0])
        filter_cores(&c->trace, list, sink);
    copy = mem_strdup(settings_str("NEURON_RT_INSPECT_EVENT_FILTER_TYPE", ""));
    c->dir = mem_strdup(settings_str("NEURON_RT_INSPECT_OUTPUT_DIR", INSPECT_DIR));
    if (!copy || !c->dir) {
        mem_free(copy);
        inspect_config_fini(c);
        return err_set(err, NRT_RESOURCE, "no host memory for a capture's options");
    }
    if (copy[0])
        filter_types(&c->trace, copy, sink);
    if (!c->dir[0]) {
        mem_free(c->dir);
        c->dir = NULL;
    }
    mem_free(copy);
    return NRT_SUCCESS;
}
