/* SPDX-License-Identifier: Apache-2.0 */
/* What an execution would take on a device, by the published costs. */
#include "model/model_int.h"

#define EVENTS_MAX (1u << 20)
#define PS_PER_US  1e6

bool devtime_open(struct frame *f)
{
    f->events.ev = mem_calloc(EVENTS_MAX, sizeof(*f->events.ev));
    f->events.cap = f->events.ev ? EVENTS_MAX : 0;
    return f->events.ev != NULL;
}

void devtime_report(struct model *m, struct instance *in, struct frame *f)
{
    const struct time_program *progs[CORE_MAX];
    struct time_report r;
    struct err err = {0};
    struct strbuf engines = {0}, colls = {0};
    uint64_t busy = 0, guess = 0;

    for (uint32_t c = 0; c < in->stage_count; c++)
        progs[c] = core_program_time(in->stage[c].prog);
    if (time_replay(progs, in->stage_count, &f->events, NULL, &r, &err) != NRT_SUCCESS) {
        LOGW(m->h->cfg.log, LOG_NMGR, "device_time", "model %s: no device time: %s", m->neff->name,
             err.text);
        return;
    }
    for (uint32_t c = 0; c < in->stage_count; c++)
        for (unsigned e = 0; e < ISA_ENGINES; e++) {
            busy += r.busy_ps[c][e];
            guess += r.guess_ps[c][e];
            if (r.busy_ps[c][e] > 0)
                strbuf_printf(&engines, ", %s %.3f", isa_engine_name(e),
                              (double)r.busy_ps[c][e] / PS_PER_US);
        }
    if (r.colls > 0)
        strbuf_printf(
            &colls,
            "; %llu collectives %.3f us, waited for others %.3f us, behind others %.3f us, "
            "under way %.3f us, alone %.3f us",
            (unsigned long long)r.colls, (double)r.coll_ps / PS_PER_US,
            (double)r.coll_late_ps / PS_PER_US, (double)r.coll_behind_ps / PS_PER_US,
            (double)r.coll_any_ps / PS_PER_US, (double)r.coll_alone_ps / PS_PER_US);
    LOGI(m->h->cfg.log, LOG_NMGR, "device_time",
         "model %s: device time %.3f us%s; busy (us)%s%s; unpublished costs guessed %.0f %%",
         m->neff->name, (double)r.total_ps / PS_PER_US, r.truncated ? " at least" : "",
         engines.s ? engines.s : "", colls.s ? colls.s : "",
         busy > 0 ? 100.0 * (double)guess / (double)busy : 0.0);
    strbuf_fini(&engines);
    strbuf_fini(&colls);
}
