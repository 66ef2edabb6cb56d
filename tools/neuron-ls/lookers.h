/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that look at an instance without a runtime: tools such as neuron-monitor, which have
 * its control block open and no slot. */
#ifndef TOOLS_NEURON_LS_LOOKERS_H
#define TOOLS_NEURON_LS_LOOKERS_H

#include "common/view.h"

struct looker {
    int pid;
    char command[256];
};

struct lookers {
    struct looker *l;
    size_t count, cap;
};

/* All of this user's that /proc shows, this process among them; those with a runtime are left out.
 * False: no memory. lookers_fini frees in every case. */
bool lookers_find(const struct view *v, struct lookers *ret);
void lookers_fini(struct lookers *l);

#endif
