/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on demand, as ranks and their links meet them: docs/faults.md. */
#include <signal.h>
#include <time.h>

#include "base/log.h"
#include "coll/coll_int.h"
#include "time/collective.h"

#define NS_PER_MS UINT64_C(1000000)
#define PS_PER_MS UINT64_C(1000000000)
#define NAP_NS    (10 * NS_PER_MS)

/* The host's time passes as the device's does; not longer than until the others have given up. */
static void stay_away(struct coll_comm *c, uint32_t ms)
{
    uint64_t end = run_now_ns() + ms * NS_PER_MS, now;

    while ((now = run_now_ns()) < end && !c->status && !coll_failed_elsewhere(c)) {
        uint64_t nap = end - now < NAP_NS ? end - now : NAP_NS;

        (void)nanosleep(&(struct timespec){.tv_nsec = (long)nap}, NULL);
    }
}

uint64_t coll_fault_enter(struct coll_comm *c)
{
    struct device_fault f;

    if (!device_fault_of_rank(c->cfg.in, c->cfg.core, &f))
        return 0;
    if (f.kind == DEVICE_FAULT_DEAD)
        (void)raise(SIGKILL); /* nothing more is done, as when somebody kills the process */
    stay_away(c, f.detail);
    return f.detail * PS_PER_MS;
}

bool coll_fault_rates(const struct coll_comm *c, struct time_rates *ret)
{
    uint32_t slower = 1;

    for (uint32_t i = 0; i < c->near_count; i++) {
        uint32_t k = device_fault_link(c->cfg.in, c->peers[c->near[i]].core);

        slower = k > slower ? k : slower;
    }
    if (slower == 1)
        return false;
    time_rates_find(c->cfg.group, ret);
    ret->value[TIME_RATE_LINK_GBPS] /= slower;
    ret->value[TIME_RATE_SERVER_LINK_GBPS] /= slower;
    LOGW(c->cfg.log, LOG_TDRV, "device_fault",
         "fault on demand: links of the devices of a group of %u ranks are %u times slower", c->n,
         slower);
    return true;
}
