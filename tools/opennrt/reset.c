/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt reset: remove what an instance left in shared memory. */
#include "opennrt.h"

#include <stdio.h>

#include "device/device.h"

static void help(FILE *to)
{
    fprintf(to,
            "usage: opennrt reset [--instance NAME] [--force]\n\n"
            "Removes the control block, slot files and device memory files of an instance.\n"
            "Refuses while a process is attached, unless --force is given.\n\n"
            "  -i, --instance NAME  the instance (default: OPENNRT_INSTANCE, else \"default\")\n"
            "  -f, --force          also while processes are attached; they fail afterwards\n"
            "  -h, --help           this text\n");
}

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
    const struct cmd_option options[] = {{"instance", 'i', NULL, &cfg.name},
                                         {"force", 'f', &force, NULL}};
    int rc;

    if (!cmd_options(argc, argv, options, 2, 0, help, &rc))
        return rc;
    return reset(&cfg, force);
}
