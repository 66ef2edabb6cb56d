/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-explorer inspect: sets the variables of the runtime's inspection and becomes the command.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "explorer.h"

int cmd_inspect(int argc, char **argv)
{
    const char *output = ".";
    unsigned events = 0;
    int system = 0, device = 0, first, code;
    const struct tool_option options[] = {
        {'o', "output-dir", "DIR", "folder for the results (default .)", .text = &output},
        {'n', "num-trace-events", "N", "events a core's ring holds before the oldest goes",
         .number = &events, .min = 1, .max = UINT_MAX},
        {0, "capture-system-profiles", NULL,
         "what the runtime did; both, where neither is asked for", .choice = &system, .value = 1},
        {0, "capture-device-profiles", NULL, "what the cores did", .choice = &device, .value = 1},
    };
    const struct tool t = {"neuron-explorer inspect", "[options] command [arguments]",
                           "Runs a command that uses the runtime; its profiles go to the folder.\n",
                           options, sizeof(options) / sizeof(options[0])};
    char text[16];

    if (!tool_parse(&t, argc, argv, &first, &code))
        return code;
    if (first == argc)
        return tool_usage(&t, "which command?");
    if (!system && !device)
        system = device = 1;
    setenv("NEURON_RT_INSPECT_ENABLE", "1", 1);
    setenv("NEURON_RT_INSPECT_OUTPUT_DIR", output, 1);
    setenv("NEURON_RT_INSPECT_SYSTEM_PROFILE", system ? "1" : "0", 1);
    setenv("NEURON_RT_INSPECT_DEVICE_PROFILE", device ? "1" : "0", 1);
    if (events) {
        snprintf(text, sizeof(text), "%u", events);
        setenv("NEURON_RT_INSPECT_SYS_TRACE_MAX_EVENTS_PER_NC", text, 1);
    }
    execvp(argv[first], argv + first);
    fprintf(stderr, "%s: %s: %s\n", t.name, argv[first], strerror(errno));
    return TOOL_FAILED;
}
