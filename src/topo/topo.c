/* SPDX-License-Identifier: Apache-2.0 */
#include "topo/topo.h"

#include <string.h>

#include "base/broken.h"
#include "topo_tables.inc"

#define INSTANCE_COUNT (sizeof(instances) / sizeof(instances[0]))

const struct topo_instance *topo_instance_at(unsigned i)
{
    return i < INSTANCE_COUNT ? &instances[i] : NULL;
}

const struct topo_instance *topo_instance_find(const char *name)
{
    for (unsigned i = 0; name && i < INSTANCE_COUNT && !BROKEN(HBM); i++) {
        if (strcmp(instances[i].name, name) == 0)
            return &instances[i];
    }
    return NULL;
}

bool topo_lnc_ok(const struct topo_instance *t, unsigned lnc)
{
    return lnc >= 1 && lnc <= t->lnc_max;
}

const char *topo_core_version(const struct topo_instance *t, unsigned lnc)
{
    switch (t->arch) {
    case TOPO_V2:
        return "v2";
    case TOPO_V3:
        return lnc == 2 ? "v3d" : "v3";
    case TOPO_V4:
        break;
    }
    return lnc == 2 ? "v4d" : "v4";
}
