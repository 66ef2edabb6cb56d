/* SPDX-License-Identifier: Apache-2.0 */
/* The dump of a process that is gone, by whoever reclaims its slot: decision 10 of the design. */
#include <stdatomic.h>

#include "base/plain.h"
#include "device/flight.h"
#include "diag/dump.h"

/* Processes that end without nrt_close while their cores are idle leave nothing worth a file. */
static bool worth_a_dump(const struct device_live_page *p)
{
    struct device_flight_view v;

    if (atomic_load_explicit(&p->dumped, memory_order_relaxed))
        return false;
    if (atomic_load_explicit(&p->neff, memory_order_relaxed) != DEVICE_NONE)
        return true;
    for (unsigned back = 0; back < DEVICE_FLIGHTS; back++)
        if (device_flight_read(&p->flights, back, &v) && !v.over)
            return true;
    return false;
}

void dump_dead(const struct dump_config *cfg, int pid, uint32_t core)
{
    const struct device_live_page *p = device_live(cfg->in, core);
    struct dump d = {.cfg = cfg,
                     .status = NRT_FAILURE,
                     .call = "nrt_execute",
                     .pid = pid,
                     .tid = pid,
                     .dead = true};
    char text[96];
    struct plain why;

    if (!p || !worth_a_dump(p) || !dump_enabled(cfg))
        return;
    plain_init(&why, text, sizeof(text));
    plain_put(&why, "process ");
    plain_i64(&why, pid);
    plain_put(&why, " has died in an execution");
    d.text = text;
    dump_begin(&d, core);
    dump_core(&d, core, NULL, 0);
    dump_tool(&d);
    dump_end(&d);
}
