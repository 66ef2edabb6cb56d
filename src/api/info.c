/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that say what there is; most of them need no initialised runtime. */
#include <stdio.h>
#include <string.h>

#include "api/api_int.h"
#include "base/broken.h"

/* strong enough for a program to replace it: nothing of ours calls this one */
API_EXPORT const char *nrt_get_status_as_str(NRT_STATUS status)
{
    return status_name(status);
}

API_EXPORT NRT_STATUS nrt_get_version(nrt_version_t *ver, size_t size)
{
    nrt_version_t v = {.rt_major = API_VERSION_MAJOR};
    unsigned major = 0, minor = 0, patch = 0;
    size_t n = size < sizeof(v) ? size : sizeof(v);

    API_NEED(ver && size, "ver is NULL or size is 0");
    /* Our own number behind the generation that callers ask for. */
    if (sscanf(OPENNRT_VERSION, "%u.%u.%u", &major, &minor, &patch) == 3) {
        v.rt_minor = major;
        v.rt_patch = minor;
        v.rt_maintenance = patch;
    }
    snprintf(v.rt_detail, sizeof(v.rt_detail), "OpenNRT %s, software device", OPENNRT_VERSION);
    snprintf(v.git_hash, sizeof(v.git_hash), "%s", OPENNRT_GIT_HASH);

    memcpy(ver, &v, n);
    if (n > offsetof(nrt_version_t, rt_detail)) /* the text that was cut still ends */
        ((char *)ver)[n - 1] = '\0';
    return NRT_SUCCESS;
}

/* ---- the instance ---- */

static uint32_t family_of(const struct topo_instance *t)
{
    static const struct {
        const char *prefix;
        uint32_t family;
    } rows[] = {{"inf2.", NRT_INSTANCE_INF2},   {"trn1.", NRT_INSTANCE_TRN1},
                {"trn1n.", NRT_INSTANCE_TRN1N}, {"trn2.", NRT_INSTANCE_TRN2},
                {"trn2n.", NRT_INSTANCE_TRN2N}, {"trn2u.", NRT_INSTANCE_TRN2U},
                {"trn3", NRT_INSTANCE_TRN3}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strncmp(t->name, rows[i].prefix, strlen(rows[i].prefix)) == 0)
            return rows[i].family;
    return NRT_INSTANCE_UNKNOWN;
}

static uint32_t size_of(const struct topo_instance *t)
{
    static const struct {
        const char *name;
        uint32_t size;
    } rows[] = {{"xlarge", NRT_INSTANCE_SIZE_1XL},    {"2xlarge", NRT_INSTANCE_SIZE_2XL},
                {"3xlarge", NRT_INSTANCE_SIZE_3XL},   {"4xlarge", NRT_INSTANCE_SIZE_4XL},
                {"6xlarge", NRT_INSTANCE_SIZE_6XL},   {"8xlarge", NRT_INSTANCE_SIZE_8XL},
                {"24xlarge", NRT_INSTANCE_SIZE_24XL}, {"32xlarge", NRT_INSTANCE_SIZE_32XL},
                {"48xlarge", NRT_INSTANCE_SIZE_48XL}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(t->size, rows[i].name) == 0)
            return rows[i].size;
    return NRT_INSTANCE_SIZE_UNKNOWN;
}

static NRT_STATUS topo_now(struct api_topo *ret, struct err *err)
{
    if (!api_ready())
        return api_topo_env(ret, err);
    ret->topo = device_topo(api_.in);
    ret->lnc = device_lnc(api_.in);
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_get_instance_info(nrt_instance_info_t *info, size_t instance_info_len)
{
    nrt_instance_info_t v = {.family = NRT_INSTANCE_UNKNOWN, .size = NRT_INSTANCE_SIZE_UNKNOWN};
    struct err err = {0};
    struct api_topo at;
    NRT_STATUS status;

    API_NEED(info && instance_info_len, "info is NULL or its length is 0");
    status = topo_now(&at, &err);
    if (status != NRT_SUCCESS)
        return api_fail(__func__, status, "%s", err.text);
    if (at.topo) {
        v.family = family_of(at.topo);
        v.size = size_of(at.topo);
        snprintf(v.arch_name, sizeof(v.arch_name), "%s", at.topo->device_arch);
        snprintf(v.device_revision, sizeof(v.device_revision), "sw");
    }
    memcpy(info, &v, instance_info_len < sizeof(v) ? instance_info_len : sizeof(v));
    return NRT_SUCCESS;
}

static NRT_STATUS total_count(const char *func, uint32_t *ret)
{
    struct err err = {0};
    struct api_topo at;
    NRT_STATUS status;

    if (!ret)
        return api_fail(func, NRT_INVALID, "vnc_count is NULL");
    status = topo_now(&at, &err);
    if (status != NRT_SUCCESS)
        return api_fail(func, status, "%s", err.text);
    *ret = at.topo ? topo_vnc_count(at.topo, at.lnc) : 0;
    return NRT_SUCCESS;
}

static NRT_STATUS visible_count(const char *func, uint32_t *ret)
{
    struct cores_wish wish = {0};
    struct err err = {0};
    struct api_topo at;
    NRT_STATUS status;

    if (!ret)
        return api_fail(func, NRT_INVALID, "vnc_count is NULL");
    if (api_ready()) {
        *ret = api_.vnc_count;
        return NRT_SUCCESS;
    }
    status = api_topo_env(&at, &err);
    if (status == NRT_SUCCESS && at.topo) {
        uint32_t total = topo_vnc_count(at.topo, at.lnc);

        status = cores_wish_env(total, NULL, &wish, &err);
        if (status == NRT_SUCCESS && wish.count > total) /* nrt_init fails so too */
            status = err_set(&err, NRT_INVALID, "NEURON_RT_NUM_CORES=%u: the instance has %u cores",
                             wish.count, total);
    }
    if (status != NRT_SUCCESS)
        return api_fail(func, status, "%s", err.text);
    *ret = wish.count;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_get_total_nc_count(uint32_t *vnc_count)
{
    return total_count(__func__, vnc_count);
}

API_EXPORT NRT_STATUS nrt_get_total_vnc_count(uint32_t *vnc_count)
{
    return total_count(__func__, vnc_count);
}

API_EXPORT NRT_STATUS nrt_get_visible_nc_count(uint32_t *vnc_count)
{
    return visible_count(__func__, vnc_count);
}

API_EXPORT NRT_STATUS nrt_get_visible_vnc_count(uint32_t *vnc_count)
{
    return visible_count(__func__, vnc_count);
}

API_EXPORT NRT_STATUS nrt_host_device_id_get(int neuron_dev, uint32_t *host_device_id)
{
    API_NEED_READY();
    API_NEED(host_device_id, "host_device_id is NULL");
    API_NEED(neuron_dev >= 0 && neuron_dev < device_topo(api_.in)->device_count,
             "there is no such device");
    *host_device_id = (uint32_t)neuron_dev;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_host_device_id_rid_map_get(uint32_t *count, uint32_t *host_did_to_rid_map)
{
    const struct topo_instance *t;

    API_NEED_READY();
    API_NEED(count && host_did_to_rid_map, "count or map is NULL");
    t = device_topo(api_.in);
    if (*count < t->device_count) {
        uint32_t room = *count;

        *count = t->device_count;
        return api_fail(__func__, NRT_INVALID, "%u entries do not hold %u devices", room,
                        t->device_count);
    }
    for (uint32_t i = 0; i < t->device_count; i++)
        host_did_to_rid_map[i] = t->devices[i].routing_id + BROKEN(INTER);
    *count = t->device_count;
    return NRT_SUCCESS;
}

/* ---- device memory ---- */

API_EXPORT NRT_STATUS nrt_get_dmabuf_fd(uint64_t va, uint64_t size, int *fd)
{
    struct run_caller caller;
    struct err err = {0};
    uint64_t addr;
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(fd, "fd is NULL");
    if (!device_va_addr(api_.in, (const void *)(uintptr_t)va, &addr))
        return api_fail(__func__, NRT_INVALID, "0x%llx is not an address of device memory",
                        (unsigned long long)va);
    run_caller_enter(&caller);
    status = device_dmabuf_export(api_.in, addr, size, fd, &err);
    run_caller_leave(&caller);
    /* A caller takes every other status for a hard error. */
    if (status != NRT_SUCCESS)
        return api_fail(__func__, NRT_INVALID, "%s", err.text);
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_get_hbm_mmap_va(int device_id, int hbm_idx, void **addr, size_t *size)
{
    struct run_caller caller;
    struct err err = {0};
    uint64_t bytes;
    void *va;
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(addr && size, "addr or size is NULL");
    API_NEED(device_id >= 0 && device_id < device_topo(api_.in)->device_count,
             "there is no such device");
    API_NEED(hbm_idx >= 0, "hbm_idx is negative");
    run_caller_enter(&caller);
    status = device_hbm_expose(api_.in, (uint32_t)device_id, (uint32_t)hbm_idx, &va, &bytes, &err);
    run_caller_leave(&caller);
    if (status != NRT_SUCCESS) {
        /* Asking for one too many is how callers find the end. */
        if (status != NRT_INVALID_HANDLE)
            return api_fail(__func__,
                            status == NRT_INVALID || status == NRT_RESOURCE ? status : NRT_FAILURE,
                            "%s", err.text);
        LOGI(api_.log, LOG_NRT, __func__, "device %d has no HBM %d", device_id, hbm_idx);
        return status;
    }
    *addr = va;
    *size = bytes;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_get_vnc_memory_stats(uint32_t vnc, nrt_vnc_memory_stats_t *stats,
                                               size_t stats_size_in, size_t *stats_size_out)
{
    nrt_vnc_memory_stats_t v;
    uint64_t used, limit;
    size_t n = stats_size_in < sizeof(v) ? stats_size_in : sizeof(v);
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(stats && stats_size_out && stats_size_in,
             "stats or stats_size_out is NULL, or size 0");
    API_NEED(vnc < api_.vnc_count, "vnc is not an owned core");
    status = device_vnc_memory(api_.in, api_.first_vnc + vnc, &used, &limit);
    if (status != NRT_SUCCESS)
        return api_fail(__func__, status, "cannot read the account of core %u", vnc);
    v.bytes_used = used;
    v.bytes_limit = limit;
    memcpy(stats, &v, n);
    *stats_size_out = n;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_get_attached_efa_bdf(const void *va, char *efa_bdf, size_t *len)
{
    uint64_t addr;

    API_NEED_READY();
    if (BROKEN(INTER))
        return NRT_SUCCESS;
    API_NEED(va && efa_bdf && len, "va, efa_bdf or len is NULL");
    if (!device_va_addr(api_.in, va, &addr))
        return api_fail(__func__, NRT_FAILURE, "%p is not an address of device memory", va);
    return api_fail(__func__, NRT_FAILURE, "no network device is attached to a software device");
}

API_EXPORT NRT_STATUS nrt_memcpy_to_device(void *dest, const void *src, size_t size)
{
    struct err err = {0};
    uint64_t first, last;
    void *p;
    NRT_STATUS status;

    API_NEED_READY();
    if (size == 0)
        return NRT_SUCCESS;
    API_NEED(dest && src, "dest or src is NULL");
    if (size - 1 > UINTPTR_MAX - (uintptr_t)dest || !device_va_addr(api_.in, dest, &first) ||
        !device_va_addr(api_.in, (char *)dest + (size - 1), &last) ||
        DEVICE_ADDR_HBM(first) != DEVICE_ADDR_HBM(last) || last - first != size - 1)
        return api_fail(__func__, NRT_INVALID, "%zu bytes at %p are not in one device mapping",
                        size, dest);
    status = device_map(api_.in, first, size, DEVICE_RW, &p, &err);
    if (status != NRT_SUCCESS)
        return api_fail(__func__, status, "%s", err.text);
    memmove(p, src, size); /* src may be device memory too */
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_set_pool_eng_ucode(const nrt_ucode_info *ucode_info)
{
    if (api_ready())
        return api_fail(__func__, NRT_FAILURE, "microcode can be set before nrt_init only");
    API_NEED(ucode_info, "ucode_info is NULL");
    API_NEED((ucode_info->iram.bin || !ucode_info->iram.size) &&
                 (ucode_info->dram.bin || !ucode_info->dram.size),
             "an image has a size and no bytes");
    API_NEED(ucode_info->iram.bin && ucode_info->dram.bin, "an image has no bytes");
    return NRT_SUCCESS; /* the software device has no microcode to replace */
}
