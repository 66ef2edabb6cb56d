/* SPDX-License-Identifier: Apache-2.0 */
/* The room's calls, on one side of the seam: they check what every back end may rely on, then call
 * the program's. */
#include "core/backend.h"

#include <string.h>

#include "base/broken.h"
#include "base/watched.h"
#include "core/core_int.h"

/* ---- programs ---- */

NRT_STATUS core_program_create(struct core *core, const struct neff_subgraph *sg,
                               const struct core_options *opt, struct core_program **ret,
                               struct err *err)
{
    struct core_program *p = mem_zalloc(sizeof(*p));
    NRT_STATUS st;

    if (p == NULL)
        return program_no_memory(err);
    if (BROKEN(NEFF)) {
        mem_free(p);
        return err_set(err, NRT_FAILURE, "broken on purpose");
    }
    p->backend = opt->backend != NULL ? opt->backend : &core_walker;
    p->core = core;
    p->sg = sg;
    p->opt = *opt;
    if (p->opt.lnc == 0)
        p->opt.lnc = 1;
    p->var_used = arena_calloc(&p->arena, sg->var_count + 1, sizeof(p->var_used[0]));
    st = p->var_used != NULL ? p->backend->prepare(p, err) : program_no_memory(err);
    if (st != NRT_SUCCESS) {
        core_program_destroy(p);
        return st;
    }
    p->opt.sink = NULL;
    *ret = p;
    return NRT_SUCCESS;
}

void core_program_destroy(struct core_program *p)
{
    if (p == NULL)
        return;
    p->backend->discard(p);
    watched_count(p->prints, false);
    arena_fini(&p->arena);
    mem_free(p);
}

void core_program_info(const struct core_program *p, struct core_program_info *ret)
{
    p->backend->info(p, ret);
}

uint64_t core_program_xfer_bytes(const struct core_program *p, uint32_t index)
{
    return index < p->ngroups ? p->groups[index].bytes : 0;
}

uint32_t core_program_records(const struct core_program *p, unsigned engine)
{
    return p->code[engine].count;
}

uint32_t core_program_opcode(const struct core_program *p, unsigned engine, uint32_t record)
{
    return p->code[engine].opcodes[record];
}

const struct time_program *core_program_time(const struct core_program *p)
{
    return &p->time;
}

/* ---- executions ---- */

static NRT_STATUS run_check(const struct core_run *run, struct err *err)
{
    const struct core_program *first = run->program[0];

    if (first->core->running != NULL)
        return err_set(err, NRT_FAILURE, "the core runs already");
    for (unsigned i = 0; i < run->count; i++) {
        const struct core_program *p = run->program[i];

        if (run->binding[i]->program != p || run->binding[i]->missing != 0)
            return core_binding_check(run->binding[i], err) != NRT_SUCCESS
                       ? NRT_INVALID
                       : err_set(err, NRT_INVALID, "binding of another program");
        if (p->uses_peer && run->count != 2)
            return err_set(err, NRT_INVALID, "the program signals a second core that does not run");
        if (p->backend != first->backend || p->opt.outside != first->opt.outside)
            return err_set(err, NRT_INVALID, "the programs were prepared in different ways");
    }
    return NRT_SUCCESS;
}

NRT_STATUS core_start(const struct core_run *run, struct core_report *report)
{
    const struct core_backend *be = run->program[0]->backend;
    NRT_STATUS st;

    report->err.status = NRT_SUCCESS;
    report->err.text[0] = '\0';
    st = run_check(run, &report->err);
    if (st == NRT_SUCCESS)
        st = BROKEN(PERF) ? NRT_FAILURE : be->start(run, report);
    if (st == NRT_SUCCESS) {
        run->program[0]->core->running = be;
        return NRT_SUCCESS;
    }
    memset(&report->stats, 0, sizeof(report->stats));
    report->status = st;
    report->end = CORE_END_FAULT;
    report->count = 0;
    report->core = report->engine = 0;
    report->record = 0;
    report->dynamic_dma = report->embedding_update = false;
    report->pending_transfers = 0;
    return st;
}

enum core_step core_progress(struct core *core, uint64_t budget, uint64_t *ret_did)
{
    uint64_t did = 0;
    enum core_step step = CORE_STEP_IDLE;

    if (core->running != NULL)
        step = core->running->run(core, budget != 0 ? budget : 1, &did);
    if (ret_did != NULL)
        *ret_did = did;
    return step;
}

void core_wait(struct core *core)
{
    if (core->running != NULL)
        core->running->wait(core);
}

NRT_STATUS core_finish(struct core *core)
{
    NRT_STATUS st;

    if (core->running == NULL)
        return NRT_FAILURE;
    st = core->running->finish(core);
    core->running = NULL;
    return st;
}

/* Budget of core_run: how often the outside is driven, and cancelling looked at, while engines are
 * busy. */
#define SLICE 65536

NRT_STATUS core_run(const struct core_run *run, struct core_report *report)
{
    struct core *core = run->program[0]->core;
    enum core_step step;
    NRT_STATUS st = core_start(run, report);

    if (st != NRT_SUCCESS)
        return st;
    while ((step = core_progress(core, SLICE, NULL)) < CORE_STEP_DONE)
        if (step == CORE_STEP_OUTSIDE)
            core_wait(core);
    return core_finish(core);
}
