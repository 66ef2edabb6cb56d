/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt reset: remove what an instance left in shared memory. */
#include "opennrt.h"

#include <stdio.h>

#include "device/device.h"

static int reset(struct device_config *cfg, bool force)
{
    const char *name = cfg->name ? cfg->name : "default";
    struct err err = {0};
    bool removed = false;

    if (device_instance_reset(cfg, force, &removed, &err) != NRT_SUCCESS) {
        fprintf(stderr, "opennrt reset: %s\n", err.text);
        return EXIT_FAILED;
    }
    if (removed)
        printf("instance \"%s\" removed\n", name);
    else
        printf("there is no instance \"%s\"\n", name);
    return EXIT_OK;
}

int cmd_reset(int argc, char **argv)
{
    struct device_config cfg = {.name = device_env("OPENNRT_INSTANCE"),
                                .hbm_dir = device_env("OPENNRT_DIR")};
    bool force = false;
    const struct tool_option options[] = {
        OPTION_INSTANCE(&cfg.name),
        {'f', "force", NULL, "also while processes are attached; they fail afterwards",
         .flag = &force}};
    const struct tool t = {
        "opennrt reset",
        "[--instance NAME] [--force]",
        "Removes the control block, slot files and device memory files of an\n"
        "instance. Refuses while a process is attached, unless --force is given.\n",
        options,
        sizeof(options) / sizeof(options[0]),
        .mixed = true};
    int first, rc;

    if (!tool_parse(&t, argc, argv, &first, &rc))
        return rc;
    if (first < argc)
        return tool_usage(&t, "unexpected \"%s\"", argv[first]);
    return reset(&cfg, force);
}
