/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the files of the sysfs tree: where a file's text comes from. sysfs_tree.c says which
 * files there are, sysfs_text.c what they say and what writing does. */
#ifndef TOOLS_OPENNRT_SYSFS_INT_H
#define TOOLS_OPENNRT_SYSFS_INT_H

#include "sysfs_tree.h"

enum sysfs_what {
    WHAT_TEXT,       /* constant of the type; which: enum sysfs_constant */
    WHAT_COUNTER,    /* which: enum device_counter */
    WHAT_DEVICE_MEM, /* which: enum device_mem_node */
    WHAT_HOST_MEM,   /* of a device; which: enum device_host_mem, DEVICE_HOST_COUNT: never used */
    WHAT_HOST_CORE,  /* of a core */
    WHAT_ECC,        /* which: enum device_ecc */
    WHAT_HW_ERRORS,
    WHAT_UNHEALTHY,
    WHAT_HEARTBEAT,
    WHAT_POWER,
    WHAT_POWER_RAW,
    WHAT_SERIAL,
    WHAT_NOTIFY,
    WHAT_RESET,
    WHAT_ULTRA_NODE, /* which: servers of the UltraServer */
    WHAT_ULTRA_SERVER,
    WHAT_ULTRA_MODE
};

enum sysfs_constant {
    TEXT_CONNECTED,
    TEXT_CORE_COUNT,
    TEXT_DEVICE_ARCH,
    TEXT_CORE_ARCH,
    TEXT_INSTANCE_TYPE,
    TEXT_DEVICE_NAME,
    TEXT_EMPTY,
    TEXT_DISABLED,
    TEXT_AUTO,
    TEXT_UNSUPPORTED,
    TEXT_ZERO
};

enum sysfs_part { PART_TOTAL, PART_PRESENT, PART_PEAK, PARTS };

#endif
