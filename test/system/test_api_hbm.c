/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory through the public API: mappings, addresses, exports, statistics, and when it is
 * full: api.md 4.8 and 7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "models.h"
#include "proves.h"

#define MIB (1024u * 1024u)
#define GIB ((size_t)1024 * MIB)

static bool all_are(const uint8_t *p, size_t n, uint8_t v)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != v)
            return false;
    return true;
}

static void hbm_mapping_ends_with_invalid_handle_and_holds_tensors(void **state)
{
    nrt_tensor_t *t = device_tensor(1, 4096);
    char *va = nrt_tensor_get_va(t), *base = NULL;
    size_t size = 0, n = 0;
    void *addr = &n;
    int hbm = 0;

    while (nrt_get_hbm_mmap_va(0, hbm, &addr, &size) == NRT_SUCCESS) {
        assert_int_equal(size, 16 * GIB);
        if ((char *)addr <= va && va < (char *)addr + size)
            base = addr;
        hbm++;
    }
    assert_int_equal(hbm, 2);
    addr = &n;
    assert_int_equal(nrt_get_hbm_mmap_va(0, 2, &addr, &size), NRT_INVALID_HANDLE);
    assert_ptr_equal(addr, &n);
    assert_non_null(base);
    assert_fails(nrt_get_hbm_mmap_va(1, 0, &addr, &size), NRT_INVALID, "nrt_get_hbm_mmap_va");
    assert_fails(nrt_get_hbm_mmap_va(-1, 0, &addr, &size), NRT_INVALID, "nrt_get_hbm_mmap_va");
    assert_fails(nrt_get_hbm_mmap_va(0, -1, &addr, &size), NRT_INVALID, "nrt_get_hbm_mmap_va");
    nrt_tensor_free(&t);
    PROVES("hbm-011");
    PROVES("api-040");
}

static void memcpy_to_device_stays_in_one_mapping(void **state)
{
    nrt_tensor_t *t = device_tensor(0, 4096);
    char *va = nrt_tensor_get_va(t), got[64] = "", src[64] = "plain bytes";
    void *base;
    size_t size;

    assert_ok(nrt_memcpy_to_device(va + 100, src, sizeof(src))); /* any offset inside */
    assert_ok(nrt_tensor_read(t, got, 100, sizeof(got)));
    assert_string_equal(got, src);
    memcpy(va + 200, src, sizeof(src)); /* and without the call */
    assert_ok(nrt_tensor_read(t, got, 200, sizeof(got)));
    assert_string_equal(got, src);
    assert_ok(nrt_memcpy_to_device(NULL, NULL, 0));
    assert_fails(nrt_memcpy_to_device(got, src, 8), NRT_INVALID, "nrt_memcpy_to_device");
    assert_ok(nrt_get_hbm_mmap_va(0, 0, &base, &size));
    assert_fails(nrt_memcpy_to_device((char *)base + size - 4, src, 8), NRT_INVALID,
                 "nrt_memcpy_to_device");
    assert_fails(nrt_memcpy_to_device(va, src, SIZE_MAX), NRT_INVALID, "nrt_memcpy_to_device");
    nrt_tensor_free(&t);
    PROVES("hbm-013");
    PROVES("api-075");
}

static void dmabuf_is_one_or_the_call_is_invalid(void **state)
{
    nrt_tensor_t *t = device_tensor(0, 2 * MIB);
    uint64_t va = (uint64_t)(uintptr_t)nrt_tensor_get_va(t);
    struct stat st;
    int fd = -7, on_stack;
    NRT_STATUS status = nrt_get_dmabuf_fd(va, 2 * MIB, &fd);

    /* Where the host has the facility a descriptor, else the one status after which callers
     * register the plain address. */
    if (status == NRT_SUCCESS) {
        assert_int_equal(fstat(fd, &st), 0);
        close(fd);
    } else {
        assert_int_equal(status, NRT_INVALID);
        assert_int_equal(fd, -7);
    }
    fd = -7;
    assert_fails(nrt_get_dmabuf_fd(va + 1, 4096, &fd), NRT_INVALID, "nrt_get_dmabuf_fd");
    assert_fails(nrt_get_dmabuf_fd(va, 4095, &fd), NRT_INVALID, "nrt_get_dmabuf_fd");
    assert_fails(nrt_get_dmabuf_fd(va, UINT64_MAX - 4095, &fd), NRT_INVALID, "nrt_get_dmabuf_fd");
    assert_fails(nrt_get_dmabuf_fd((uint64_t)(uintptr_t)&on_stack, 4096, &fd), NRT_INVALID,
                 "nrt_get_dmabuf_fd");
    assert_int_equal(fd, -7);
    nrt_tensor_free(&t);
    PROVES("hbm-012");
    PROVES("api-037");
}

static void efa_and_ids_of_a_software_device(void **state)
{
    nrt_tensor_t *t = device_tensor(0, 4096);
    uint32_t id = 99, map[4] = {99, 99, 99, 99}, n = 4;
    char bdf[32];
    size_t len = sizeof(bdf);

    assert_fails(nrt_get_attached_efa_bdf(nrt_tensor_get_va(t), bdf, &len), NRT_FAILURE,
                 "nrt_get_attached_efa_bdf");
    PROVES("api-042");
    PROVES("inter-026");
    assert_ok(nrt_host_device_id_get(0, &id));
    assert_int_equal(id, 0);
    PROVES("api-038");
    assert_ok(nrt_host_device_id_rid_map_get(&n, map));
    assert_int_equal(n, 1);
    assert_int_equal(map[0], 0);
    assert_int_equal(map[1], 99);
    n = 0;
    assert_fails(nrt_host_device_id_rid_map_get(&n, map), NRT_INVALID,
                 "nrt_host_device_id_rid_map_get");
    assert_int_equal(n, 1); /* the need */
    PROVES("api-039");
    PROVES("inter-028");
    nrt_tensor_free(&t);
}

static void memory_stats_of_any_size_are_written_that_far(void **state)
{
    struct {
        nrt_vnc_memory_stats_t v;
        uint8_t more[8];
    } full, part;
    size_t n = 0;

    memset(&full, 0xAA, sizeof(full));
    assert_ok(nrt_get_vnc_memory_stats(1, &full.v, sizeof(full), &n));
    assert_int_equal(n, sizeof(nrt_vnc_memory_stats_t));
    assert_int_equal(full.v.bytes_limit, 16 * GIB);
    PROVES("mem-048");
    assert_true(all_are(full.more, sizeof(full.more), 0xAA));
    for (size_t k = 1; k <= sizeof(nrt_vnc_memory_stats_t); k++) {
        memset(&part, 0xAA, sizeof(part));
        assert_ok(nrt_get_vnc_memory_stats(1, &part.v, k, &n));
        assert_int_equal(n, k);
        assert_memory_equal(&part, &full, k);
        assert_int_equal(((uint8_t *)&part)[k], 0xAA);
    }
    assert_fails(nrt_get_vnc_memory_stats(2, &full.v, sizeof(full.v), &n), NRT_INVALID,
                 "nrt_get_vnc_memory_stats");
    assert_fails(nrt_get_vnc_memory_stats(0, &full.v, 0, &n), NRT_INVALID,
                 "nrt_get_vnc_memory_stats");
    PROVES("api-041");
}

/* Out of device memory: the report, the status, and the next call works. */
static void tensor_too_large_gives_resource_and_the_next_works(void **state)
{
    nrt_tensor_t *t = (nrt_tensor_t *)&state, *u;

    api_log_clear();
    assert_int_equal(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 17 * GIB, "big", &t),
                     NRT_RESOURCE);
    assert_true(api_log_has("TDRV:log_dev_mem "));
    PROVES("api-131");
    assert_ptr_equal(t, &state);
    assert_int_equal(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, SIZE_MAX, "big", &t),
                     NRT_RESOURCE);
    assert_int_equal(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, 0, SIZE_MAX, "big", &t),
                     NRT_RESOURCE);
    u = device_tensor(0, 16 * GIB); /* a whole HBM */
    assert_ok(nrt_tensor_write(u, "x", 16 * GIB - 1, 1));
    nrt_tensor_free(&u);
    u = device_tensor(0, 64);
    nrt_tensor_free(&u);
    PROVES("mem-022");
    api_log_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dmabuf_is_one_or_the_call_is_invalid),
        cmocka_unit_test(efa_and_ids_of_a_software_device),
        cmocka_unit_test(memory_stats_of_any_size_are_written_that_far),
        cmocka_unit_test(tensor_too_large_gives_resource_and_the_next_works),
        /* these two last: from then on every allocation of this process is backed at once */
        cmocka_unit_test(memcpy_to_device_stays_in_one_mapping),
        cmocka_unit_test(hbm_mapping_ends_with_invalid_handle_and_holds_tensors),
    };

    return cmocka_run_group_tests(tests, models_setup, models_teardown);
}
