/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware errors on demand: what a broken device would say, so that programs can be tested for it.
 */
#include "device/device_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/settings.h"

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
    case DEVICE_HW_NQ: /* not an error of hardware: whoever executes names the model */
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

NRT_STATUS device_hw_check(struct device_instance *in, uint32_t core, struct err *err)
{
    struct err own = {0};

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
    if (kinds[kind].ecc >= 0)
        atomic_fetch_add_explicit(
            &ctl_head(in)->ecc[topo_core_device(in->topo, core)][kinds[kind].ecc], 1,
            memory_order_relaxed);
    say(in, (enum device_hw_error)kind, core, (uint32_t)(w >> 32), err ? err : &own);
    say_kernel(in, (enum device_hw_error)kind, core);
    return kinds[kind].status;
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

/* --- the variable OPENNRT_FAULT -----------------------------------------------------------------
 */

static const char *const hw_words[DEVICE_HW_COUNT] = {
    "none", "sram", "hbm", "hbm-repairable", "dma-tx", "dma-rx", "device", "nq-overflow"};
static const char *const point_words[FAULT_POINT_COUNT] = {"alloc",   "mmap",   "file", "lock",
                                                           "backing", "thread", "queue"};

enum device_hw_error device_hw_error_from_name(const char *name)
{
    unsigned k = 0;

    while (k < DEVICE_HW_COUNT && strcmp(hw_words[k], name) != 0)
        k++;
    return (enum device_hw_error)k;
}

/* Up to three numbers, each after a colon; missing ones keep what they were. */
static bool numbers(char *text, int64_t v[3])
{
    char *save = NULL;
    unsigned n = 0;

    for (char *t = strtok_r(text, ":", &save); t; t = strtok_r(NULL, ":", &save), n++) {
        if (n == 3 || !settings_parse_int(t, &v[n]) || v[n] < 0 || v[n] > UINT32_MAX)
            return false;
    }
    return n > 0;
}

static bool fault_item(struct device_instance *in, char *item)
{
    char *rest = strchr(item, ':');
    int64_t v[3] = {0};

    if (!rest)
        return false;
    *rest++ = 0;
    if (!numbers(rest, v))
        return false;
    for (unsigned p = 0; p < FAULT_POINT_COUNT; p++) {
        if (strcmp(item, point_words[p]) == 0) {
            fault_arm((enum fault_point)p, (uint64_t)v[0]);
            return v[0] > 0;
        }
    }
    enum device_hw_error kind = device_hw_error_from_name(item);
    return device_hw_inject(in, (uint32_t)v[0], kind, (uint32_t)v[2], (uint32_t)v[1], NULL) ==
           NRT_SUCCESS;
}

void device_fault_env(struct device_instance *in, const struct diag_sink *sink)
{
    const char *text = settings_str("OPENNRT_FAULT", NULL);
    char *copy = text ? mem_strdup(text) : NULL, *save = NULL;

    for (char *t = copy ? strtok_r(copy, ", ", &save) : NULL; t; t = strtok_r(NULL, ", ", &save)) {
        char item[64];

        snprintf(item, sizeof(item), "%s", t);
        if (!fault_item(in, item))
            diag_warn(sink,
                      "OPENNRT_FAULT: \"%s\" is not <point>:<hit> nor "
                      "<error>:<core>[:<after>[:<detail>]]; ignored",
                      t);
    }
    mem_free(copy);
}
