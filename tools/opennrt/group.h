/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of ranks that need not be there: see group.c. `command` begins messages on standard error.
 */
#ifndef TOOLS_OPENNRT_GROUP_H
#define TOOLS_OPENNRT_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "topo/group.h"

/* A number of the command line; false: it is none from min to max, and a message said so. */
bool group_number(const char *command, const char *option, const char *text, uint64_t min,
                  uint64_t max, uint64_t *ret);

/* Each rank swaps with its neighbour in the list: a permute that every group allows. n pairs, to be
 * freed; NULL: no memory. */
struct topo_pair *group_pairs(uint32_t n);

#define GROUP_CORES_MAX 512

struct group_place {
    const char *instance;
    uint64_t nodes, servers; /* at least 1; servers: that NeuronLink joins to one node */
    uint64_t ranks;          /* in all; 0: every logical core */
    uint64_t lnc;            /* 0: of the type */
    /* Logical cores of every node that have ranks; count 0: the first ones, as many as are needed.
     */
    uint32_t core[GROUP_CORES_MAX];
    uint32_t core_count;
};
/* A list "A,B,..." of logical cores. False: it is none, and of the second a message said so. */
bool group_cores_parse(const char *text, struct group_place *ret);
bool group_cores(const char *command, const char *text, struct group_place *ret);

/* The group of all these ranks. world: the caller's, for the group's life. Not EXIT_OK: a message
 * said why, and there is nothing to close. topo_group_fini closes. */
int group_open(const char *command, const struct group_place *p, struct topo_world *world,
               struct topo_group *ret);

#endif
