/* SPDX-License-Identifier: Apache-2.0 */
/* The costs of a type of instance, from the tables that the build makes of data/. */
#include <math.h>
#include <string.h>

#include "time/coll_int.h"
#include "topo/group.h"

struct chip_rates {
    double engine_gbps, engines, hbm_gbps;
    unsigned dies;
};

struct link_rates {
    const char *name;
    double inside_gbps, between_gbps;
};

#include "coll_rates.inc"

static_assert(sizeof(fitted_rates[0]) / sizeof(double) == TIME_RATE_FITTED_END,
              "the file and enum time_rate name the same parameters");

static const char *const published_names[] = {"engine_gbps", "engines",          "hbm_gbps",
                                              "link_gbps",   "server_link_gbps", "nic_gbps"};

const char *time_rate_name(enum time_rate rate)
{
    if (rate < TIME_RATE_FITTED_END)
        return fitted_names[rate];
    return rate < TIME_RATE_COUNT ? published_names[rate - TIME_RATE_FITTED_END] : "unknown";
}

enum time_rate time_rate_from_name(const char *name)
{
    int i = 0;

    while (i < TIME_RATE_COUNT && strcmp(time_rate_name((enum time_rate)i), name) != 0)
        i++;
    return (enum time_rate)i;
}

const char *time_part_name(enum time_part part)
{
    static const char *const names[TIME_PART_COUNT] = {"launch",          "sequencer", "latency",
                                                       "DMA engines",     "HBM",       "links",
                                                       "network latency", "network"};

    return part < TIME_PART_COUNT ? names[part] : "unknown";
}

/* One network interface, GB/s one way. */
static double nic_gbps(const struct topo_instance *t)
{
    if (t->net_gbps == 0)
        return NAN;
    return t->net_gbps / 8.0 / (t->nic_count ? t->nic_count : 1);
}

void time_rates_find(const struct topo_group *g, struct time_rates *ret)
{
    const struct topo_instance *t = g->world.fabric.type;
    const unsigned gen = t->arch - TOPO_V2;
    const struct chip_rates *chip = &chip_rates[gen];

    for (int i = 0; i < TIME_RATE_COUNT; i++)
        ret->value[i] = i < TIME_RATE_FITTED_END ? fitted_rates[gen][i] : NAN;
    ret->spread = rate_spread[gen];
    ret->dies = chip->dies;
    ret->value[TIME_RATE_ENGINE_GBPS] = chip->engine_gbps;
    ret->value[TIME_RATE_ENGINES] = chip->engines;
    ret->value[TIME_RATE_HBM_GBPS] = chip->hbm_gbps;
    ret->value[TIME_RATE_NIC_GBPS] = nic_gbps(t);
    for (size_t i = 0; i < sizeof(link_rates) / sizeof(link_rates[0]); i++)
        if (strcmp(link_rates[i].name, t->name) == 0) {
            ret->value[TIME_RATE_LINK_GBPS] = link_rates[i].inside_gbps;
            ret->value[TIME_RATE_SERVER_LINK_GBPS] = link_rates[i].between_gbps;
        }
}
