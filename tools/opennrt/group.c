/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of ranks that need not be there, for the commands that only compute: numbers of the
 * command line, worlds, pairs. */
#include "group.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
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

bool group_cores_parse(const char *text, struct group_place *ret)
{
    char *rest = (char *)text;

    for (ret->core_count = 0; ret->core_count < GROUP_CORES_MAX; rest++) {
        unsigned long core = *rest >= '0' && *rest <= '9' ? strtoul(rest, &rest, 10) : ULONG_MAX;

        if (core > UINT32_MAX - 1 || (*rest && *rest != ','))
            break;
        ret->core[ret->core_count++] = (uint32_t)core;
        if (!*rest)
            return true;
    }
    return false;
}

bool group_cores(const char *command, const char *text, struct group_place *ret)
{
    if (group_cores_parse(text, ret))
        return true;
    fprintf(stderr, "%s: --cores wants logical cores, A,B,..., not \"%s\"\n", command, text);
    return false;
}

/* The group of the cores that the place names, of every node. */
static NRT_STATUS group_of_cores(const struct group_place *p, const struct topo_world *world,
                                 struct topo_group *ret, struct err *err)
{
    uint32_t cores = world->ranks / world->nodes, n = 0;
    uint32_t *list = calloc((size_t)world->nodes * p->core_count, sizeof(*list));
    NRT_STATUS st = list ? NRT_SUCCESS : err_set(err, NRT_RESOURCE, "no memory for a group");

    for (uint32_t node = 0; node < world->nodes && !st; node++)
        for (uint32_t i = 0; i < p->core_count && !st; i++) {
            if (p->core[i] >= cores)
                st = err_set(err, NRT_INVALID, "core %u: a node has %u", p->core[i], cores);
            list[n++] = node * cores + p->core[i];
        }
    if (!st)
        st = topo_group_init(ret, world, list, n, err);
    free(list);
    return st;
}

/* The world of a place with --cores has every core of every node, with a rank or not. */
static bool too_many_cores(const struct group_place *p, const struct topo_instance *type)
{
    unsigned lnc = p->lnc ? (unsigned)p->lnc : type->lnc_default;

    return lnc <= type->lnc_max &&
           p->nodes > TOPO_MAX_RANKS / (topo_vnc_count(type, lnc) * p->servers);
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
    if (p->core_count && p->ranks && p->ranks != p->core_count * p->nodes) {
        fprintf(stderr, "%s: %" PRIu64 " ranks on %u cores of %" PRIu64 " nodes\n", command,
                p->ranks, p->core_count, p->nodes);
        return EXIT_USAGE;
    }
    if (p->ranks % servers) {
        fprintf(stderr, "%s: %" PRIu64 " ranks do not divide over %" PRIu64 " %s\n", command,
                p->ranks, servers, p->servers == 1 ? "nodes" : "servers");
        return EXIT_USAGE;
    }
    if (topo_fabric_init(&fabric, type, (unsigned)p->servers, &err) != NRT_SUCCESS ||
        topo_world_init(world, &fabric, p->lnc ? (unsigned)p->lnc : type->lnc_default,
                        (uint32_t)p->nodes, p->core_count ? 0 : (uint32_t)(p->ranks / servers),
                        &err) != NRT_SUCCESS ||
        (p->core_count ? group_of_cores(p, world, ret, &err)
                       : topo_group_init(ret, world, NULL, 0, &err)) != NRT_SUCCESS) {
        fprintf(stderr, "%s: %s%s\n", command, err.text,
                p->core_count && too_many_cores(p, type)
                    ? "; with --cores all cores of all nodes count"
                    : "");
        return EXIT_FAILED;
    }
    return EXIT_OK;
}
