/* SPDX-License-Identifier: Apache-2.0 */
#include "common/sample.h"

#include <string.h>

#include "base/mem.h"

struct sample *sample_take(struct view *v)
{
    struct sample *s = mem_zalloc(sizeof(*s));
    size_t n;

    if (!s)
        return NULL;
    s->refs = 1;
    view_refresh(v);
    if (!snap_take(v, &s->snap))
        goto out;
    n = s->snap.process_count;
    s->process = mem_calloc(n + 1, sizeof(*s->process));
    s->process_ok = mem_calloc(n + 1, sizeof(*s->process_ok));
    if (!s->process || !s->process_ok)
        goto out;
    for (size_t i = 0; i < n; i++)
        s->process_ok[i] = host_process_read(s->snap.processes[i].p.pid, &s->process[i]);
    s->cpus_ok = host_cpus_read(&s->cpus);
    s->memory_ok = host_memory_read(&s->memory);
    return s;
out:
    sample_unref(s);
    return NULL;
}

struct sample *sample_ref(struct sample *s)
{
    if (s)
        s->refs++;
    return s;
}

void sample_unref(struct sample *s)
{
    if (!s || --s->refs)
        return;
    snap_fini(&s->snap);
    mem_free(s->process);
    mem_free(s->process_ok);
    mem_free(s);
}

static bool same_process(const struct device_process *a, const struct device_process *b)
{
    return a->slot == b->slot && a->pid == b->pid && a->start_us == b->start_us;
}

bool sample_vcpu(const struct sample *prev, const struct sample *cur, size_t process,
                 double *ret_user, double *ret_system)
{
    double ticks = rate_seconds(&prev->snap, &cur->snap) * host_ticks_per_second();

    for (size_t i = 0; i < prev->snap.process_count; i++) {
        const struct host_process *was = &prev->process[i], *is = &cur->process[process];

        if (!same_process(&prev->snap.processes[i].p, &cur->snap.processes[process].p))
            continue;
        if (!prev->process_ok[i] || !cur->process_ok[process] || ticks <= 0 ||
            is->user_ticks < was->user_ticks || is->system_ticks < was->system_ticks)
            return false;
        *ret_user = 100 * (double)(is->user_ticks - was->user_ticks) / ticks;
        *ret_system = 100 * (double)(is->system_ticks - was->system_ticks) / ticks;
        return true;
    }
    return false;
}

uint64_t sample_host_bytes(const struct sample *s, size_t process, uint64_t ret[DEVICE_HOST_COUNT])
{
    const struct device_process *p = &s->snap.processes[process].p;
    uint64_t sum = 0, resident = s->process_ok[process] ? s->process[process].resident : 0;

    for (unsigned k = 0; k < DEVICE_HOST_COUNT; k++) {
        ret[k] = p->host_mem[k];
        sum += ret[k];
    }
    /* What is resident and not one of the runtime's kinds is the application's. */
    if (resident > sum) {
        ret[DEVICE_HOST_APP] += resident - sum;
        sum = resident;
    }
    return sum;
}

double sample_vnc_utilization(const struct sample *prev, const struct sample *cur, uint32_t vnc,
                              unsigned lnc, double *ret_flops)
{
    double sum = 0;

    *ret_flops = 0;
    for (uint32_t c = vnc * lnc; c < (vnc + 1) * lnc; c++) {
        sum += rate_utilization(&prev->snap, &cur->snap, c);
        *ret_flops += rate_flops(&prev->snap, &cur->snap, c);
    }
    return 100 * sum / lnc;
}

const char *const sample_error_names[SAMPLE_ERRORS] = {"generic", "numerical", "transient",
                                                       "model",   "runtime",   "hardware"};
const char *const sample_status_names[SAMPLE_STATUSES] = {
    "completed", "completed_with_err", "completed_with_num_err",
    "timed_out", "incorrect_input",    "failed_to_queue"};

enum { GENERIC, NUMERICAL, TRANSIENT, MODEL, RUNTIME, HARDWARE, NO_ERROR };

static unsigned error_class(enum device_counter c)
{
    switch (c) {
    case DEVICE_CTR_FAILURE:
    case DEVICE_CTR_GENERIC_ERROR:
        return GENERIC;
    case DEVICE_CTR_COMPLETED_WITH_NUM_ERROR:
        return NUMERICAL;
    case DEVICE_CTR_HW_DMA_ABORT_ERROR:
    case DEVICE_CTR_HW_REPAIRABLE_HBM_UE_ERROR:
        return TRANSIENT;
    case DEVICE_CTR_OOB_ERROR:
    case DEVICE_CTR_COMPLETED_WITH_ERROR:
    case DEVICE_CTR_EXEC_BAD_INPUT:
    case DEVICE_CTR_SW_SEMAPHORE_ERROR:
    case DEVICE_CTR_SW_EVENT_ERROR:
    case DEVICE_CTR_SW_PSUM_COLLISION:
    case DEVICE_CTR_SW_SEQUENCER_FATAL:
    case DEVICE_CTR_UNSUPPORTED_NEFF_VERSION:
        return MODEL;
    case DEVICE_CTR_TIMEOUT:
    case DEVICE_CTR_RESOURCE_ERROR:
    case DEVICE_CTR_RESOURCE_NC_ERROR:
    case DEVICE_CTR_INVALID_ERROR:
    case DEVICE_CTR_FAILED_TO_QUEUE:
    case DEVICE_CTR_SW_NQ_OVERFLOW:
        return RUNTIME;
    case DEVICE_CTR_HW_ERROR:
    case DEVICE_CTR_HW_COLLECTIVES_ERROR:
    case DEVICE_CTR_HW_HBM_UE_ERROR:
    case DEVICE_CTR_HW_NC_UE_ERROR:
        return HARDWARE;
    default:
        return NO_ERROR;
    }
}

void sample_outcomes(const uint64_t count[DEVICE_CTR_COUNT], uint64_t ret_errors[SAMPLE_ERRORS],
                     uint64_t ret_statuses[SAMPLE_STATUSES])
{
    static const enum device_counter statuses[SAMPLE_STATUSES] = {
        DEVICE_CTR_SUCCESS, DEVICE_CTR_COMPLETED_WITH_ERROR, DEVICE_CTR_COMPLETED_WITH_NUM_ERROR,
        DEVICE_CTR_TIMEOUT, DEVICE_CTR_EXEC_BAD_INPUT,       DEVICE_CTR_FAILED_TO_QUEUE};

    for (unsigned i = 0; i < SAMPLE_STATUSES; i++)
        ret_statuses[i] = count[statuses[i]];
    memset(ret_errors, 0, SAMPLE_ERRORS * sizeof(*ret_errors));
    for (unsigned c = 0; c < DEVICE_CTR_COUNT; c++)
        if (error_class((enum device_counter)c) != NO_ERROR)
            ret_errors[error_class((enum device_counter)c)] += count[c];
}
