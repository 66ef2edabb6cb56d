/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines of failed executions: behaviour.md section 8. */
#include <inttypes.h>
#include <stdio.h>

#include "model/model_int.h"

/* " (file:line)" of the record that failed, or nothing. */
static void source_text(const struct core_report *r, char *buf, size_t size)
{
    const struct core_engine_state *e;

    buf[0] = '\0';
    if (r->core >= CORE_MAX || r->engine >= ISA_ENGINES)
        return;
    e = &r->engines[r->core][r->engine];
    if (e->file && e->line)
        snprintf(buf, size, " (%s:%u)", e->file, e->line);
}

/* Where the engines were, and the semaphores. */
static void report_engines(struct model *m, const struct phys *p, const struct core_report *r)
{
    struct strbuf text = {0};

    core_report_text(r, &text);
    if (text.s && text.len)
        LOGE(m->h->cfg.log, LOG_TDRV, "exec_log_engines", "[ND %u][NC %u] state of the engines\n%s",
             p->device, p->nc, text.s);
    strbuf_fini(&text);
}

static void report_timeout(struct model *m, const struct phys *p, const struct core_report *r)
{
    struct log *lg = m->h->cfg.log;
    uint64_t ms =
        r->end == CORE_END_HANG ? r->stats.device_ns / 1000000 : m->env.timeout_ns / 1000000;

    LOGE(
        lg, LOG_TDRV, "exec_wait_round_robin",
        "(FATAL-RT-UNDEFINED-STATE) execution timeout (%" PRIu64
        " ms) on Neuron Device %u NC %u, model %s, waiting for execution completion notification%s",
        ms, p->device, p->nc, m->neff->name,
        r->end == CORE_END_HANG ? " (nothing outstanding can wake the engines)" : "");
    report_engines(m, p, r);
}

void report_no_notification(struct model *m, struct instance *in, NRT_STATUS status,
                            struct err *err)
{
    const struct phys *p = in->stage[0].phys;

    err_set(err, status,
            "(FATAL-RT-UNDEFINED-STATE) execution timeout (%" PRIu64
            " ms) on Neuron Device %u NC %u, model %s, waiting for execution completion "
            "notification%s",
            m->env.timeout_ns / 1000000, p->device, p->nc, m->neff->name,
            status == NRT_EXEC_SW_NQ_OVERFLOW
                ? ", potentially caused by DGE notifications enabled. Please disable it (set "
                  "NEURON_RT_ENABLE_DGE_NOTIFICATIONS to 0) and try again."
                : "");
    LOGE(m->h->cfg.log, LOG_TDRV, "exec_wait_round_robin", "%s", err->text);
}

static void report_oob(struct model *m, const struct phys *p, const struct core_report *r)
{
    struct log *lg = m->h->cfg.log;
    char source[160];

    source_text(r, source, sizeof(source));
    LOGE(
        lg, LOG_TDRV, "exec_process_custom_notification",
        "nd%u:nc%u:h_model.id%u: Received notification generated at runtime: failed to run %s, due "
        "to out-of-bound access. model name = %s.%s",
        p->device, p->nc, m->id,
        r->embedding_update ? "embedding table update"
                            : "scatter/gather (indirect memory copy via vector DGE)",
        m->neff->name, source);
    LOGE(lg, LOG_TDRV, "exec_wait_round_robin", "[ND %u][NC %u] Out of bounds access on model %s",
         p->device, p->nc, m->neff->name);
}

/* A collective that failed; the room that knows has logged what happened to it. */
static void report_collective(struct model *m, struct instance *in, const struct core_report *r)
{
    struct log *lg = m->h->cfg.log;
    struct coll_suspect s;
    const struct phys *p;

    if (!in->colls || !coll_table_suspect(in->colls, &s))
        return;
    p = in->stage[s.core].phys;
    LOGE(lg, LOG_TDRV, "exec_wait_round_robin",
         "missing collectives status on Neuron Device %u NC %u, model %s - suspected hang in "
         "collectives operation %u out of %u",
         p->device, p->nc, m->neff->name, s.op, s.count);
    report_engines(m, p, r);
}

void report_failure(struct model *m, struct instance *in, const struct core_report *r)
{
    unsigned core = r->core < in->stage_count ? r->core : 0;
    const struct phys *p = in->stage[core].phys;
    struct log *lg = m->h->cfg.log;

    switch (r->end) {
    case CORE_END_HANG:
    case CORE_END_TIMEOUT:
    case CORE_END_STALL:
        report_timeout(m, in->stage[0].phys, r);
        break;
    case CORE_END_OUTSIDE:
        LOGE(lg, LOG_TDRV, "exec_wait_round_robin", "[ND %u][NC %u] %s on model %s", p->device,
             p->nc, r->err.text, m->neff->name);
        report_collective(m, in, r);
        break;
    case CORE_END_OOB:
        report_oob(m, p, r);
        break;
    case CORE_END_DONE:
        LOGE(lg, LOG_TDRV, "exec_wait_round_robin",
             "[ND %u][NC %u] NaN generated %" PRIu64 " times on model %s", p->device, p->nc,
             r->stats.nan_count, m->neff->name);
        break;
    default:
        LOGE(lg, LOG_TDRV, "exec_wait_round_robin", "[ND %u][NC %u] %s on model %s", p->device,
             p->nc, r->err.text, m->neff->name);
        break;
    }
    LOGE(lg, LOG_NMGR, "dlr_infer", "Inference completed with err: %d. mode->h_nn=%u, lnc=%u",
         (int)r->status, m->id, in->lc->vnc - m->h->cfg.first_vnc);
}
