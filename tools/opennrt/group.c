/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of ranks that need not be there, for the commands that only compute: numbers of the
 * command line, worlds, pairs. */
#include "group.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "opennrt.h"

bool group_number(const char *command, const char *option, const char *text, uint64_t min,
                  uint64_t max, uint64_t *ret)
{
    char *end;
    unsigned long long v;

    errno = 0;
    v = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || v < min || v > max) {
        fprintf(stderr, "%s: --%s wants a number from %" PRIu64 " to %" PRIu64 ", not \"%s\"\n",
                command, option, min, max, text);
        return false;
    }
    *ret = v;
    return true;
}

struct topo_pair *group_pairs(uint32_t n)
{
    struct topo_pair *pairs = calloc(n, sizeof(*pairs));

    for (uint32_t i = 0; pairs && i < n; i++)
        pairs[i] = (struct topo_pair){i, (i ^ 1) < n ? i ^ 1 : i};
    return pairs;
}

int group_open(const char *command, const struct group_place *p, struct topo_world *world,
               struct topo_group *ret)
{
    const struct topo_instance *type = topo_instance_find(p->instance);
    uint64_t servers = p->nodes * p->servers;
    struct topo_fabric fabric;
    struct err err = {0};

    if (!type) {
        fprintf(stderr, "%s: unknown instance type \"%s\"\n", command, p->instance);
        return EXIT_USAGE;
    }
    if (p->ranks % servers) {
        fprintf(stderr, "%s: %" PRIu64 " ranks do not divide over %" PRIu64 " %s\n", command,
                p->ranks, servers, p->servers == 1 ? "nodes" : "servers");
        return EXIT_USAGE;
    }
    if (topo_fabric_init(&fabric, type, (unsigned)p->servers, &err) != NRT_SUCCESS ||
        topo_world_init(world, &fabric, p->lnc ? (unsigned)p->lnc : type->lnc_default,
                        (uint32_t)p->nodes, (uint32_t)(p->ranks / servers), &err) != NRT_SUCCESS ||
        topo_group_init(ret, world, NULL, 0, &err) != NRT_SUCCESS) {
        fprintf(stderr, "%s: %s\n", command, err.text);
        return EXIT_FAILED;
    }
    return EXIT_OK;
}
