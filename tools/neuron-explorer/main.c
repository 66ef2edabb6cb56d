/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-explorer: profiles of NEFFs. One file per command. */
#include <stdio.h>
#include <string.h>

#include "common/commands.h"
#include "explorer.h"
#include "viewer/command.h"

static int cmd_view(int argc, char **argv)
{
    return viewer_command("neuron-explorer view", true, argc, argv);
}

static const struct tool_command commands[] = {
    {"capture", cmd_capture, "execute a NEFF and save what the device did"},
    {"inspect", cmd_inspect, "run a command with its profiles written to a folder"},
    {"view", cmd_view, "show profiles as tables, JSON, traces or a page"},
};

int main(int argc, char **argv)
{
    const struct tool_suite suite = {
        "neuron-explorer", " (OpenNRT, software device)",
        "      --show-profile-schema  the tables that view writes as JSON\n", commands,
        sizeof(commands) / sizeof(commands[0])};

    if (argc > 1 && strcmp(argv[1], "--show-profile-schema") == 0) {
        return viewer_schema_command("neuron-explorer");
    }
    return tool_suite_run(&suite, argc, argv);
}
