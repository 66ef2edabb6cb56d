/* SPDX-License-Identifier: Apache-2.0 */
/* The dump of a process that is gone, by whoever reclaims its slot: decision 10 of the design. */
#include <stdatomic.h>

#include "base/plain.h"
#include "device/flight.h"
#include "diag/dump_int.h"

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

/* The cores from `first` on that are of one job; takes them from the list. */
static void dump_job(const struct dump_config *cfg, int pid, const uint32_t *cores, bool *worth,
                     unsigned first, unsigned count)
{
    struct dump d = {.cfg = cfg,
                     .status = NRT_FAILURE,
                     .call = "nrt_execute",
                     .pid = pid,
                     .tid = pid,
                     .dead = true};
    char text[96];
    struct plain why;

    plain_init(&why, text, sizeof(text));
    plain_put(&why, "process ");
    plain_i64(&why, pid);
    plain_put(&why, " has died in an execution");
    d.text = text;
    dump_begin(&d, cores[first]);
    for (unsigned i = first; i < count; i++) {
        if (!worth[i] || !dump_turn(&d, cores[i]))
            continue;
        dump_core(&d, cores[i], NULL, 0);
        worth[i] = false;
    }
    worth[first] = false; /* whatever its page says by now */
    dump_tool_later(&d);
    dump_end(&d);
}

void dump_dead(const struct dump_config *cfg, int pid, const uint32_t *cores, unsigned count)
{
    bool worth[TOPO_MAX_CORES], any = false;

    for (unsigned i = 0; i < count; i++) {
        const struct device_live_page *p = device_live(cfg->in, cores[i]);

        worth[i] = p && worth_a_dump(p);
        any = any || worth[i];
    }
    if (!any || !dump_enabled(cfg))
        return;
    for (unsigned i = 0; i < count; i++)
        if (worth[i])
            dump_job(cfg, pid, cores, worth, i, count);
}
