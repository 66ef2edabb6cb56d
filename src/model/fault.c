/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on demand, as executions of a model meet them: docs/faults.md. */
#include <signal.h>

#include "model/model_int.h"

/* The record that the fault was to strike at: called by the core room. */
static NRT_STATUS strike(void *arg, struct err *err)
{
    struct run_fault *f = arg;

    if (f->what.kind == DEVICE_FAULT_DEAD)
        (void)raise(SIGKILL); /* nothing more is done, as when somebody kills the process */
    return device_hw_strike(f->m->h->cfg.in, f->what.core, f->what.hw, f->what.detail, err);
}

const struct core_fault *fault_of_run(struct model *m, const struct instance *in,
                                      struct run_fault *ret)
{
    uint32_t cores[CORE_MAX];
    unsigned at = 0;

    for (uint32_t c = 0; c < in->stage_count; c++)
        cores[c] = in->stage[c].phys->index;
    ret->strikes =
        device_fault_of_run(m->h->cfg.in, cores, in->stage_count, m->neff->name, &ret->what);
    if (!ret->strikes)
        return NULL;
    ret->m = m;
    while (at + 1 < in->stage_count && cores[at] != ret->what.core)
        at++;
    ret->run = (struct core_fault){.core = at, .engine = -1, .semaphore = -1};
    if (ret->what.kind == DEVICE_FAULT_SEMAPHORE) {
        ret->run.semaphore = (int)ret->what.detail;
    } else if (ret->what.engine >= 0) {
        ret->run.engine = ret->what.engine;
        ret->run.record = ret->what.record;
        ret->run.arg = ret;
        ret->run.strike = strike;
    } else {
        return NULL; /* at the end */
    }
    ret->strikes = false;
    return &ret->run;
}

NRT_STATUS fault_ended(struct model *m, struct instance *in, NRT_STATUS status, struct err *err)
{
    if (status == NRT_EXEC_SW_NQ_OVERFLOW && !m->h->cfg.dge_notifications)
        return NRT_SUCCESS; /* nothing is notified of, so nothing overflows */
    if (status == NRT_EXEC_SW_NQ_OVERFLOW || status == NRT_TIMEOUT)
        report_no_notification(m, in, status, err);
    return status;
}
