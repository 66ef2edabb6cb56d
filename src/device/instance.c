/* SPDX-License-Identifier: Apache-2.0 */
/* An open instance in a process: control block, slot, mappings. */
#include "device/device_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/broken.h"
#include "base/settings.h"

static void config_free(struct device_config *c)
{
    mem_free((char *)(uintptr_t)c->type);
    mem_free((char *)(uintptr_t)c->name);
    mem_free((char *)(uintptr_t)c->dir);
    mem_free((char *)(uintptr_t)c->hbm_dir);
    mem_free((char *)(uintptr_t)c->report_dir);
    mem_free((char *)(uintptr_t)c->tag);
    mem_free((char *)(uintptr_t)c->runtime_version);
}

static bool dup_to(const char **dst, const char *src)
{
    *dst = NULL;
    return !src || (*dst = mem_strdup(src)) != NULL;
}

static bool config_copy(struct device_config *dst, const struct device_config *src)
{
    *dst = *src;
    dst->type = dst->name = dst->dir = dst->hbm_dir = dst->report_dir = NULL;
    dst->tag = dst->runtime_version = NULL;
    return dup_to(&dst->type, src->type) && dup_to(&dst->name, src->name) &&
           dup_to(&dst->dir, src->dir) && dup_to(&dst->hbm_dir, src->hbm_dir) &&
           dup_to(&dst->report_dir, src->report_dir) && dup_to(&dst->tag, src->tag) &&
           dup_to(&dst->runtime_version, src->runtime_version);
}

/* Everything that fork must not share goes by: one page that the kernel zeroes in the child. */
static NRT_STATUS fork_page_make(struct device_instance *in, struct err *err)
{
    void *p = MAP_FAILED;

    if (!fault_hit(FAULT_MMAP))
        p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return err_set(err, NRT_RESOURCE, "no memory");
    in->fork_page = p;
    /* An emulator may say yes to any advice and follow none; it also takes one that does not exist.
     */
    in->fork_page[0] =
        madvise(p, 4096, MADV_WIPEONFORK) == 0 && madvise(p, 4096, 0x7FFF) != 0 ? 1 : 2;
    return NRT_SUCCESS;
}

bool device_instance_forked(const struct device_instance *in)
{
    if (in->fork_page[0] == 2) /* no such advice on this kernel */
        return getpid() != in->pid;
    return in->fork_page[0] == 0;
}

static NRT_STATUS instance_check(const struct device_config *cfg, struct err *err)
{
    if (!paths_name_ok(cfg->name ? cfg->name : "default"))
        return err_set(err, NRT_INVALID,
                       "instance name \"%s\": 1 to %d letters, digits, dots, dashes, underscores",
                       cfg->name, DEVICE_NAME_MAX - 1);
    if (cfg->type && !topo_instance_find(cfg->type))
        return err_set(err, NRT_INVALID, "unknown instance type \"%s\"", cfg->type);
    if (cfg->hbm_dir && (cfg->hbm_dir[0] != '/' || strlen(cfg->hbm_dir) >= CTL_PATH_MAX))
        return err_set(err, NRT_INVALID, "OPENNRT_DIR \"%s\" is not an absolute path",
                       cfg->hbm_dir);
    return NRT_SUCCESS;
}

static void instance_free(struct device_instance *in)
{
    if (in->ctl) {
        if (!device_instance_forked(in) && !slot_kept(in))
            in->slot = DEVICE_NONE; /* lost; nothing of it is touched any more */
        hbm_fini(in);
        if (!device_instance_forked(in))
            slot_release(in);
        else if (in->slot_fd >= 0)
            close(in->slot_fd);
        ctl_close(in);
    }
    if (in->fork_page)
        munmap(in->fork_page, 4096);
    memlog_destroy(in->memlog);
    run_place_free(in->place);
    faults_destroy(in->faults);
    pthread_mutex_destroy(&in->map_lock);
    config_free(&in->cfg);
    lease_watches_free(in);
    mem_free(in);
}

/* Attach once; NRT_QUEUE_EMPTY: the instance was reset meanwhile. */
static NRT_STATUS instance_attach(struct device_instance *in, struct err *err)
{
    NRT_STATUS st = ctl_open(in, err);

    if (st != NRT_SUCCESS)
        return st;
    in->lnc = in->cfg.lnc ? in->cfg.lnc : in->topo->lnc_default;
    if (!topo_lnc_ok(in->topo, in->lnc))
        st = err_set(err, NRT_INVALID, "logical NeuronCore size %u is not possible on %s", in->lnc,
                     in->topo->name);
    else if (!in->cfg.observe)
        st = slot_claim(in, err);
    if (st != NRT_SUCCESS)
        ctl_close(in);
    return st;
}

static void warn_log(void *arg, const char *text)
{
    LOGW((struct log *)arg, LOG_NRT, "nrt_init", "%s", text);
}

static NRT_STATUS place_make(struct device_instance *in, struct err *err)
{
    const struct diag_sink sink = {.warn = warn_log, .arg = in->log};
    struct run_place_config cfg = {.topo = in->topo, .log = in->log};

    if (in->cfg.observe)
        return NRT_SUCCESS;
    run_place_config_env(&cfg, &sink);
    return run_place_new(&cfg, &in->place, err);
}

NRT_STATUS device_instance_open(const struct device_config *cfg, struct device_instance **ret_in,
                                struct err *err)
{
    NRT_STATUS st = instance_check(cfg, err);

    if (st != NRT_SUCCESS)
        return st;
    struct device_instance *in = mem_zalloc(sizeof(*in));
    if (!in)
        return err_set(err, NRT_RESOURCE, "no memory");
    in->slot = DEVICE_NONE;
    in->slot_fd = in->ctl_fd = -1;
    in->pid = getpid();
    in->log = cfg->log;
    pthread_mutex_init(&in->map_lock, NULL);
    snprintf(in->name, sizeof(in->name), "%s", cfg->name ? cfg->name : "default");
    in->faults = faults_create();
    if (!in->faults || !config_copy(&in->cfg, cfg)) {
        st = err_set(err, NRT_RESOURCE, "no memory");
        goto fail;
    }
    st = fork_page_make(in, err);
    for (int tries = 0; st == NRT_SUCCESS; tries++) {
        st = instance_attach(in, err);
        if (st != NRT_QUEUE_EMPTY)
            break;
        st = tries < 10
                 ? NRT_SUCCESS
                 : err_set(err, NRT_FAILURE, "instance \"%s\" is reset again and again", in->name);
    }
    if (st == NRT_SUCCESS)
        st = place_make(in, err);
    if (st != NRT_SUCCESS)
        goto fail;
    in->memlog = memlog_create(cfg->observe ? 0 : cfg->memlog_max);
    *ret_in = in;
    return NRT_SUCCESS;
fail:
    instance_free(in);
    return st;
}

void device_instance_close(struct device_instance *in)
{
    if (in)
        instance_free(in);
}

const char *device_env(const char *name)
{
    const char *v = settings_str(name, NULL);

    return v && v[0] ? v : NULL;
}

NRT_STATUS device_hbm_env(uint64_t *ret, struct err *err)
{
    const char *text = device_env("OPENNRT_HBM_MIB");
    int64_t v = 0;

    if (text && (!settings_parse_int(text, &v) || v <= 0 || v >> 40 != 0))
        return err_set(err, NRT_INVALID, "OPENNRT_HBM_MIB \"%s\" is no number of MiB", text);
    *ret = (uint64_t)v << 20;
    return NRT_SUCCESS;
}

NRT_STATUS device_hbm_check(const struct topo_instance *t, uint64_t bytes, struct err *err)
{
    if (bytes == 0 ||
        (bytes >= DEVICE_HBM_MIN && bytes <= t->hbm_bytes && bytes % DEVICE_BLOCK == 0))
        return NRT_SUCCESS;
    return err_set(err, NRT_INVALID,
                   "HBMs of %llu MiB (OPENNRT_HBM_MIB): those of a %s can have an even number from "
                   "%u to %llu",
                   (unsigned long long)bytes >> 20, t->name, DEVICE_HBM_MIN >> 20,
                   (unsigned long long)t->hbm_bytes >> 20);
}

NRT_STATUS device_config_env(struct device_config *cfg, struct err *err)
{
    const char *lnc = getenv("NEURON_LOGICAL_NC_CONFIG");
    int64_t v = 0;

    if (!lnc)
        lnc = getenv("NEURON_RT_VIRTUAL_CORE_SIZE");
    if (lnc && (!settings_parse_int(lnc, &v) || v < 1 || v > 2))
        return err_set(err, NRT_INVALID, "NEURON_LOGICAL_NC_CONFIG \"%s\" is neither 1 nor 2", lnc);
    cfg->lnc = (unsigned)v;
    cfg->type = device_env("OPENNRT_INSTANCE_TYPE");
    cfg->name = device_env("OPENNRT_INSTANCE");
    cfg->hbm_dir = device_env("OPENNRT_DIR");
    if (device_hbm_env(&cfg->hbm_bytes, err) != NRT_SUCCESS)
        return err->status;
    cfg->tag = device_env("NEURON_PROCESS_TAG");
    cfg->no_oom_log =
        !settings_bool("NEURON_RT_ENABLE_DEVICE_MEMORY_OOM_LOG", true, NULL) && !BROKEN(MEM);
    cfg->memlog_max = (uint64_t)settings_int("NEURON_RT_DEBUG_MEMLOG_MAX_SIZE", 1048576, 0,
                                             INT64_C(1) << 32, NULL);
    return NRT_SUCCESS;
}

uint64_t device_hbm_bytes(const struct device_instance *in)
{
    return in->hbm_bytes;
}

const struct topo_instance *device_topo(const struct device_instance *in)
{
    return in->topo;
}

struct run_place *device_place(const struct device_instance *in)
{
    return in->place;
}

unsigned device_lnc(const struct device_instance *in)
{
    return in->lnc;
}

const char *device_instance_name(const struct device_instance *in)
{
    return in->name;
}

const char *device_instance_dir(const struct device_instance *in)
{
    return in->dir;
}

uint64_t device_instance_serial(const struct device_instance *in)
{
    return ctl_head(in)->serial;
}
