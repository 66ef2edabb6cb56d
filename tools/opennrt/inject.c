/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt inject: a hardware error for a core of a running instance. */
#include "opennrt.h"

#include <stdio.h>
#include <unistd.h>

#include "base/settings.h"
#include "device/device.h"

static int inject(const char *name, enum device_hw_error kind, const int64_t v[3])
{
    struct device_config cfg = {.name = name, .observe = true};
    struct device_instance *in = NULL;
    struct err err = {0};
    NRT_STATUS st = device_instance_open(&cfg, &in, &err); /* there must be one: make none */

    device_instance_close(in);
    cfg.observe = false;
    if (st == NRT_SUCCESS)
        st = device_instance_open(&cfg, &in, &err);
    if (st == NRT_SUCCESS) {
        st = device_hw_inject(in, (uint32_t)v[0], kind, (uint32_t)v[2], (uint32_t)v[1], &err);
        device_instance_close(in);
    }
    if (st != NRT_SUCCESS)
        fprintf(stderr, "opennrt inject: %s\n", err.text);
    return st == NRT_SUCCESS ? EXIT_OK : EXIT_FAILED;
}

int cmd_inject(int argc, char **argv)
{
    const char *name = device_env("OPENNRT_INSTANCE");
    const struct tool_option options[] = {OPTION_INSTANCE(&name)};
    const struct tool t = {
        "opennrt inject",
        "[--instance NAME] ERROR CORE [AFTER [DETAIL]]",
        "Makes the next execution of physical core CORE, or the one after AFTER others, meet a\n"
        "hardware error.\n\n"
        "  ERROR                sram, hbm, hbm-repairable, dma-tx, dma-rx, device, parity,\n"
        "                       notification, nq-overflow\n"
        "                       (with NEURON_RT_ENABLE_DGE_NOTIFICATIONS), none (takes it back)\n"
        "  DETAIL               metadata of an SRAM error, number of the DMA engine\n",
        options,
        sizeof(options) / sizeof(options[0]),
        .mixed = true};
    enum device_hw_error kind = DEVICE_HW_COUNT;
    int64_t v[3] = {0};
    bool good;
    int first, rc;

    if (!tool_parse(&t, argc, argv, &first, &rc))
        return rc;
    argc -= first;
    argv += first;
    good = argc >= 2 && argc <= 4;
    if (good)
        kind = device_hw_error_from_name(argv[0]);
    for (int i = 1; good && i < argc; i++)
        good = settings_parse_int(argv[i], &v[i - 1]) && v[i - 1] >= 0 && v[i - 1] <= UINT32_MAX;
    if (!good || kind == DEVICE_HW_COUNT)
        return tool_usage(&t, "an error, a core and at most two numbers are expected");
    return inject(name, kind, v);
}
