/* SPDX-License-Identifier: Apache-2.0 */
/* The logical cores of this process. */
#include "base/settings.h"
#include "model/model_int.h"
#include "run/place.h"

static void warn_log(void *arg, const char *text)
{
    struct model_host *h = arg;

    LOGW(h->cfg.log, LOG_NMGR, "kmgr_load_nn", "%s", text);
}

static void debug_log(void *arg, const char *text)
{
    struct model_host *h = arg;

    LOGD(h->cfg.log, LOG_NMGR, "kmgr_load_nn", "%s", text);
}

static NRT_STATUS phys_create(struct model_host *h, struct phys *p, uint32_t index,
                              struct scratch_config scratch, struct err *err)
{
    struct core_config cc = {.gen = h->gen, .pool = h->pool, .live = device_live(h->cfg.in, index)};
    NRT_STATUS status;

    p->index = index;
    p->device = topo_core_device(h->topo, index);
    p->nc = index - p->device * h->topo->cores_per_device;
    status = h->cfg.account_only ? NRT_SUCCESS : core_create(&cc, &p->core, err);
    if (status != NRT_SUCCESS)
        return status;
    return scratchpad_create(h->cfg.in, index, scratch, &p->pad, err);
}

/* Where no capture ever runs. */
static struct trace no_trace = TRACE_INIT;

NRT_STATUS model_host_create(const struct model_host_config *cfg, struct model_host **ret,
                             struct err *err)
{
    struct model_host *h = mem_zalloc(sizeof(*h));
    struct scratch_config scratch;
    struct run_cpus cpus;
    unsigned threads;
    NRT_STATUS status;

    if (!h)
        return err_set(err, NRT_RESOURCE, "no host memory for the cores");

    h->cfg = *cfg;
    if (!h->cfg.trace)
        h->cfg.trace = &no_trace;
    h->topo = device_topo(cfg->in);
    h->lnc = device_lnc(cfg->in);
    h->gen = (enum isa_gen)h->topo->arch;
    h->faults = device_faults_armed(cfg->in);
    h->next_id = MODEL_FIRST_ID;
    h->sink = (struct diag_sink){.warn = warn_log, .debug = debug_log, .arg = h};
    pthread_mutex_init(&h->lock, NULL);
    late_init(&h->late);
    /* Its threads start with the first kernel that wants them. */
    threads = (unsigned)settings_int("OPENNRT_HOST_THREADS", 0, 0, RUN_CPUS_MAX, &h->sink);
    if (threads == 0)
        threads = run_place_pool_size(device_place(cfg->in));
    if (threads > 1 && !cfg->account_only) {
        h->pool = run_pool_new(threads);
        if (!h->pool) {
            status = err_set(err, NRT_RESOURCE, "no host memory for %u threads", threads);
            goto out_host;
        }
        if (run_place_pool(device_place(cfg->in), &cpus))
            run_pool_keep(h->pool, &cpus);
    }
    scratch = scratch_config_env(h->topo, h->lnc, &h->sink);
    h->share_weights = settings_bool("NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS", false, &h->sink);

    h->cores = mem_calloc(cfg->vnc_count, sizeof(*h->cores));
    if (!h->cores) {
        status = err_set(err, NRT_RESOURCE, "no host memory for %u cores", cfg->vnc_count);
        goto out_host;
    }
    for (h->count = 0; h->count < cfg->vnc_count; h->count++) {
        struct logical *lc = &h->cores[h->count];

        lc->vnc = cfg->first_vnc + h->count;
        lc->hbm = topo_core_hbm(h->topo, device_vnc_core(cfg->in, lc->vnc));
        pthread_mutex_init(&lc->stage, NULL);
        for (unsigned i = 0; i < h->lnc; i++) {
            status =
                phys_create(h, &lc->phys[i], device_vnc_core(cfg->in, lc->vnc) + i, scratch, err);
            if (status != NRT_SUCCESS) {
                h->count++;
                goto out_host;
            }
        }
    }
    *ret = h;
    return NRT_SUCCESS;

out_host:
    model_host_destroy(h);
    return status;
}

void model_host_destroy(struct model_host *h)
{
    if (!h)
        return;
    for (uint32_t i = 0; i < h->count; i++) {
        struct logical *lc = &h->cores[i];

        for (unsigned k = 0; k < h->lnc; k++) {
            scratchpad_destroy(lc->phys[k].pad);
            core_destroy(lc->phys[k].core);
        }
        pthread_mutex_destroy(&lc->stage);
    }
    run_pool_free(h->pool);
    late_fini(&h->late);
    pthread_mutex_destroy(&h->lock);
    mem_free(h->cores);
    mem_free(h);
}
