/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware errors on demand: what a broken device would say, so that programs can be tested for it.
 */
#include "device/device_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define AFTER_MAX 0xffffffu

static const struct {
    NRT_STATUS status;
    int ecc;                   /* enum device_ecc; -1: none */
    const char *type, *action; /* of the kernel-log style record */
} kinds[DEVICE_HW_COUNT] = {
    [DEVICE_HW_NONE] = {NRT_SUCCESS, -1, "", ""},
    [DEVICE_HW_SRAM] = {NRT_EXEC_HW_ERR_NC_UE, DEVICE_ECC_SRAM_UNCORRECTED,
                        "SRAM_UNCORRECTABLE_ERROR", "TERMINATE_INSTANCE"},
    [DEVICE_HW_HBM] = {NRT_EXEC_HW_ERR_HBM_UE, DEVICE_ECC_MEM_UNCORRECTED,
                       "HBM_UNCORRECTABLE_ERROR", "TERMINATE_INSTANCE"},
    [DEVICE_HW_HBM_REPAIRABLE] = {NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE, DEVICE_ECC_MEM_REPAIRABLE,
                                  "HBM_UNCORRECTABLE_ERROR", "RELOAD_DRIVER"},
    [DEVICE_HW_DMA_TX] = {NRT_EXEC_HW_ERR_DMA_ABORT, -1, "DMA_ERROR", "RELOAD_DRIVER"},
    [DEVICE_HW_DMA_RX] = {NRT_EXEC_HW_ERR_DMA_ABORT, -1, "DMA_ERROR", "RELOAD_DRIVER"},
    [DEVICE_HW_DEVICE] = {NRT_HW_ERROR, -1, "", ""},
    [DEVICE_HW_NQ] = {NRT_EXEC_SW_NQ_OVERFLOW, -1, "", ""},
    [DEVICE_HW_PARITY] = {NRT_EXEC_COMPLETED_WITH_ERR, DEVICE_ECC_SRAM_UNCORRECTED,
                          "SRAM_UNCORRECTABLE_ERROR", "TERMINATE_INSTANCE"},
    [DEVICE_HW_NOTIFICATION] = {NRT_TIMEOUT, -1, "", ""},
};

NRT_STATUS device_hw_inject(struct device_instance *in, uint32_t core, enum device_hw_error kind,
                            uint32_t arg, uint32_t after, struct err *err)
{
    if (core >= in->lay.cores || (unsigned)kind >= DEVICE_HW_COUNT || after > AFTER_MAX ||
        in->cfg.observe)
        return err_set(err, NRT_INVALID, "hardware error %u for core %u after %u executions",
                       (unsigned)kind, core, after);
    atomic_store_explicit(&ctl_core(in, core)->hw_error,
                          (uint64_t)kind | (uint64_t)after << 8 | (uint64_t)arg << 32,
                          memory_order_release);
    return NRT_SUCCESS;
}

/* The line that names the error; texts of the documentation. */
static void say(struct device_instance *in, enum device_hw_error kind, uint32_t core, uint32_t arg,
                struct err *err)
{
    uint32_t dev = topo_core_device(in->topo, core), nc = core % in->topo->cores_per_device;

    switch (kind) {
    case DEVICE_HW_SRAM:
    case DEVICE_HW_PARITY:
        err_set(err, kinds[kind].status,
                "Uncorrectable memory error is detected, metadata: 0x%x. Please terminate or "
                "stop/start this instance to recover from bad hardware.",
                arg);
        break;
    case DEVICE_HW_HBM:
        err_set(err, kinds[kind].status,
                "Uncorrectable HBM memory error is detected. Execution results may be invalid. "
                "Please terminate this instance to recover from bad hardware.");
        break;
    case DEVICE_HW_HBM_REPAIRABLE:
        err_set(err, kinds[kind].status,
                "Uncorrectable HBM memory error is detected. Execution results may be invalid. "
                "Please reload the neuron driver or reboot your EC2 instance to recover.");
        break;
    case DEVICE_HW_DEVICE:
        err_set(
            err, kinds[kind].status,
            "Neuron Device %u has failed: it does not answer any more. Please reload the neuron "
            "driver or reboot the instance to recover.",
            dev);
        break;
    case DEVICE_HW_NQ: /* not errors of hardware: whoever executes names the model */
    case DEVICE_HW_NOTIFICATION:
        return;
    default:
        err_set(err, kinds[kind].status, "[MLA %u][NC %u] DMA %s engine %u is in an abort state",
                dev, nc, kind == DEVICE_HW_DMA_TX ? "TX" : "RX", arg);
        break;
    }
    LOGE(in->log, LOG_TDRV, "exec_hw_error", "%s", err->text);
}

/* The record that the driver would leave in the kernel's log. */
static void say_kernel(struct device_instance *in, enum device_hw_error kind, uint32_t core)
{
    char host[65] = "unknown";
    uint32_t dev = topo_core_device(in->topo, core);

    if (!kinds[kind].type[0])
        return; /* the driver has no record for it */
    if (gethostname(host, sizeof(host)) != 0)
        host[0] = 0;
    host[sizeof(host) - 1] = 0;
    LOGE(in->log, LOG_TDRV, "exec_hw_error",
         "NEURON_HW_ERR=%s instance-id=%s hostname=%s nd-id=%u nc-id=%u serial-num=%016" PRIx64
         " action=%s",
         kinds[kind].type, in->name, host, dev, core % in->topo->cores_per_device,
         device_serial(in, dev), kinds[kind].action);
}

NRT_STATUS device_hw_strike(struct device_instance *in, uint32_t core, enum device_hw_error kind,
                            uint32_t arg, struct err *err)
{
    struct err own = {0};

    if (core >= in->lay.cores || (unsigned)kind >= DEVICE_HW_COUNT || kind == DEVICE_HW_NONE)
        return err_set(err, NRT_INVALID, "hardware error %u of core %u", (unsigned)kind, core);
    if (kinds[kind].ecc >= 0)
        atomic_fetch_add_explicit(
            &ctl_head(in)->ecc[topo_core_device(in->topo, core)][kinds[kind].ecc], 1,
            memory_order_relaxed);
    say(in, kind, core, arg, err ? err : &own);
    say_kernel(in, kind, core);
    return kinds[kind].status;
}

NRT_STATUS device_hw_check(struct device_instance *in, uint32_t core, struct err *err)
{
    if (core >= in->lay.cores)
        return NRT_SUCCESS;
    _Atomic uint64_t *word = &ctl_core(in, core)->hw_error;
    uint64_t w = atomic_load_explicit(word, memory_order_acquire), next;
    if (__builtin_expect(w == 0, 1))
        return NRT_SUCCESS;
    unsigned kind = (unsigned)(w & 0xff);
    uint32_t after = (uint32_t)(w >> 8) & AFTER_MAX;
    next = after ? w - (UINT64_C(1) << 8) : 0;
    if (!atomic_compare_exchange_strong(word, &w, next) || after || kind == DEVICE_HW_NONE ||
        kind >= DEVICE_HW_COUNT)
        return NRT_SUCCESS; /* later, or somebody changed it this moment */
    return device_hw_strike(in, core, (enum device_hw_error)kind, (uint32_t)(w >> 32), err);
}

uint64_t device_ecc_get(const struct device_instance *in, uint32_t dev, enum device_ecc which)
{
    if (dev >= in->topo->device_count || (unsigned)which >= DEVICE_ECC_COUNT)
        return 0;
    return atomic_load_explicit(&ctl_head(in)->ecc[dev][which], memory_order_relaxed);
}

uint64_t device_serial(const struct device_instance *in, uint32_t dev)
{
    uint64_t x = ctl_head(in)->serial + (dev + 1) * UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static const char *const hw_words[DEVICE_HW_COUNT] = {
    "none",   "sram",   "hbm",         "hbm-repairable", "dma-tx",
    "dma-rx", "device", "nq-overflow", "parity",         "notification"};

enum device_hw_error device_hw_error_from_name(const char *name)
{
    unsigned k = 0;

    while (k < DEVICE_HW_COUNT && strcmp(hw_words[k], name) != 0)
        k++;
    return (enum device_hw_error)k;
}
