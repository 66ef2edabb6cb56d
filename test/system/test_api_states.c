/* SPDX-License-Identifier: Apache-2.0 */
/* Every function in every state, and with each pointer NULL: api.md 0, 4.3, 13. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "proves.h"

/* What calls use that do not test their own arguments: valid memory, handles of nothing. */
static int dummy_;
static uint8_t buffer[4096];
#define SOME_MODEL  ((nrt_model_t *)&dummy_)
#define SOME_TENSOR ((nrt_tensor_t *)&dummy_)
#define SOME_SET    ((nrt_tensor_set_t *)&dummy_)

/* The calls that need an initialised runtime and return a status. arg selects the pointer that is
 * NULL, counted from 1; 0: none. Returns -1 when there is no such pointer. */
#define P(n, v) (arg == (n) ? NULL : (v))
#define ARGS(n)    \
    if (arg > (n)) \
    return -1

#define CALL(func, n, ...)             \
    static int call_##func(int arg)    \
    {                                  \
        ARGS(n);                       \
        return (int)func(__VA_ARGS__); \
    }

static nrt_model_t *model_out;
static nrt_tensor_t *tensor_out;
static nrt_tensor_set_t *set_out;
static nrt_tensor_info_array_t *info_out;
static void *va_out;
static size_t size_out;
static uint32_t u32_out, map_out[64];
static int fd_out;
static nrt_tensor_device_allocation_info_t alloc_out;
static nrt_vnc_memory_stats_t stats_out;
static nrt_model_info_t model_info_out;
static char bdf_out[32];
static nrt_tensor_batch_op_t op = {0, 16, buffer};
static nrt_tensor_batch_t batch_some = {SOME_TENSOR, &op, 1};

CALL(nrt_load, 2, P(1, buffer), sizeof(buffer), -1, -1, P(2, &model_out))
CALL(nrt_unload, 1, P(1, SOME_MODEL))
CALL(nrt_get_model_nc_count, 2, P(1, SOME_MODEL), P(2, &u32_out))
CALL(nrt_get_model_vnc_count, 2, P(1, SOME_MODEL), P(2, &u32_out))
CALL(nrt_execute, 3, P(1, SOME_MODEL), P(2, SOME_SET), P(3, SOME_SET))
CALL(nrt_execute_repeat, 3, P(1, SOME_MODEL), P(2, SOME_SET), P(3, SOME_SET), 2)
CALL(nrt_allocate_tensor_set, 1, P(1, &set_out))
CALL(nrt_add_tensor_to_tensor_set, 3, P(1, SOME_SET), P(2, "x"), P(3, SOME_TENSOR))
CALL(nrt_get_tensor_from_tensor_set, 3, P(1, SOME_SET), P(2, "x"), P(3, &tensor_out))
CALL(nrt_tensor_allocate, 1, NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "t", P(1, &tensor_out))
CALL(nrt_tensor_read, 2, P(1, SOME_TENSOR), P(2, buffer), 0, 16)
CALL(nrt_tensor_write, 2, P(1, SOME_TENSOR), P(2, buffer), 0, 16)
CALL(nrt_tensor_read_batch, 1, P(1, &batch_some), 1, false)
CALL(nrt_tensor_write_batch, 1, P(1, &batch_some), 1, true)
CALL(nrt_tensor_copy, 2, P(1, SOME_TENSOR), 0, P(2, SOME_TENSOR), 0, 16)
CALL(nrt_tensor_memset, 1, P(1, SOME_TENSOR), 0, 1, 16)
CALL(nrt_tensor_allocate_empty, 1, "t", P(1, &tensor_out))
CALL(nrt_tensor_attach_buffer, 1, P(1, SOME_TENSOR), buffer, 16)
CALL(nrt_tensor_allocate_slice, 2, P(1, SOME_TENSOR), 0, 16, "s", P(2, &tensor_out))
CALL(nrt_tensor_get_device_allocation_info, 2, P(1, SOME_TENSOR), P(2, &alloc_out))
CALL(nrt_tensor_check_output_completion, 1, P(1, SOME_TENSOR), 0, 1)
CALL(nrt_tensor_reset_output_completion, 1, P(1, SOME_TENSOR))
CALL(nrt_get_dmabuf_fd, 1, 4096, 4096, P(1, &fd_out))
CALL(nrt_host_device_id_get, 1, 0, P(1, &u32_out))
CALL(nrt_host_device_id_rid_map_get, 2, P(1, &u32_out), P(2, map_out))
CALL(nrt_get_hbm_mmap_va, 2, 0, 0, P(1, &va_out), P(2, &size_out))
CALL(nrt_get_vnc_memory_stats, 2, 0, P(1, &stats_out), sizeof(stats_out), P(2, &size_out))
CALL(nrt_get_attached_efa_bdf, 3, P(1, buffer), P(2, bdf_out), P(3, &size_out))
CALL(nrt_get_model_tensor_info, 2, P(1, SOME_MODEL), P(2, &info_out))
CALL(nrt_get_model_instance_count, 2, P(1, SOME_MODEL), P(2, &u32_out))
CALL(nrt_memcpy_to_device, 2, P(1, buffer), P(2, buffer), 16)
CALL(nrt_get_model_info, 3, P(1, SOME_MODEL), P(2, &model_info_out), sizeof(model_info_out),
     P(3, &size_out))

/* Calls of any state; the last three are in other tests. */
static nrt_version_t version_out;
static nrt_instance_info_t instance_out;
static nrt_ucode_info ucode = {{buffer, 16}, {buffer, 16}};
CALL(nrt_get_version, 1, P(1, &version_out), sizeof(version_out))
CALL(nrt_get_instance_info, 1, P(1, &instance_out), sizeof(instance_out))
CALL(nrt_get_total_nc_count, 1, P(1, &u32_out))
CALL(nrt_get_total_vnc_count, 1, P(1, &u32_out))
CALL(nrt_get_visible_nc_count, 1, P(1, &u32_out))
CALL(nrt_get_visible_vnc_count, 1, P(1, &u32_out))

struct row {
    const char *name;
    int (*call)(int arg);
    bool handle; /* with valid pointers in the ready state: NRT_INVALID_HANDLE */
};

#define ROW(func, handle)          \
    {                              \
#func, call_##func, handle \
    }
static const struct row need_init[] = {
    ROW(nrt_load, false),
    ROW(nrt_unload, true),
    ROW(nrt_get_model_nc_count, true),
    ROW(nrt_get_model_vnc_count, true),
    ROW(nrt_execute, true),
    ROW(nrt_execute_repeat, true),
    ROW(nrt_allocate_tensor_set, false),
    ROW(nrt_add_tensor_to_tensor_set, true),
    ROW(nrt_get_tensor_from_tensor_set, true),
    ROW(nrt_tensor_allocate, false),
    ROW(nrt_tensor_read, true),
    ROW(nrt_tensor_write, true),
    ROW(nrt_tensor_read_batch, true),
    ROW(nrt_tensor_write_batch, true),
    ROW(nrt_tensor_copy, true),
    ROW(nrt_tensor_memset, true),
    ROW(nrt_tensor_allocate_empty, false),
    ROW(nrt_tensor_attach_buffer, true),
    ROW(nrt_tensor_allocate_slice, true),
    ROW(nrt_tensor_get_device_allocation_info, true),
    ROW(nrt_tensor_check_output_completion, true),
    ROW(nrt_tensor_reset_output_completion, true),
    ROW(nrt_get_dmabuf_fd, false),
    ROW(nrt_host_device_id_get, false),
    ROW(nrt_host_device_id_rid_map_get, false),
    ROW(nrt_get_hbm_mmap_va, false),
    ROW(nrt_get_vnc_memory_stats, false),
    ROW(nrt_get_attached_efa_bdf, false),
    ROW(nrt_get_model_tensor_info, true),
    ROW(nrt_get_model_instance_count, true),
    ROW(nrt_memcpy_to_device, false),
    ROW(nrt_get_model_info, true),
};
static const struct row any_state[] = {
    ROW(nrt_get_version, false),          ROW(nrt_get_instance_info, false),
    ROW(nrt_get_total_nc_count, false),   ROW(nrt_get_total_vnc_count, false),
    ROW(nrt_get_visible_nc_count, false), ROW(nrt_get_visible_vnc_count, false),
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* One line at ERROR for the function, whatever the call was. */
static void expect_logged(const char *name)
{
    char head[80];

    snprintf(head, sizeof(head), "NRT:%s ", name);
    if (api_log_errors() != 1 || !api_log_has(head))
        fail_msg("%s: log is\n%s", name, api_log());
    api_log_clear();
}

static void expect_refused(int status)
{
    nrt_tensor_t *t = SOME_TENSOR;
    nrt_tensor_set_t *s = SOME_SET;

    for (size_t i = 0; i < COUNT(need_init); i++) {
        api_log_clear();
        if (need_init[i].call(0) != status)
            fail_msg("%s does not give %d", need_init[i].name, status);
        expect_logged(need_init[i].name);
    }
    for (size_t i = 0; i < COUNT(any_state); i++)
        if (any_state[i].call(0) != NRT_SUCCESS)
            fail_msg("%s: %s", any_state[i].name, api_log());
    /* Pointers, sizes and nothing. */
    assert_null(nrt_tensor_get_va(SOME_TENSOR));
    assert_int_equal(nrt_tensor_get_size(SOME_TENSOR), 0);
    nrt_tensor_free(&t);
    assert_null(t);
    nrt_destroy_tensor_set(&s);
    assert_null(s);
    assert_string_equal(nrt_get_status_as_str(NRT_CLOSED), "NRT_CLOSED");
    PROVES("api-192");
}

static void before_init_calls_give_uninitialized(void **state)
{
    expect_refused(NRT_UNINITIALIZED);
    PROVES("api-138");
    nrt_close(); /* no effect */
    expect_refused(NRT_UNINITIALIZED);
}

static void ready_null_pointers_are_invalid(void **state)
{
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, NULL, NULL)); /* again: no effect */
    for (size_t i = 0; i < COUNT(need_init); i++)
        for (int arg = 1; need_init[i].call(arg) != -1; arg++) {
            api_log_clear();
            if (need_init[i].call(arg) != NRT_INVALID)
                fail_msg("%s does not refuse NULL as its pointer %d", need_init[i].name, arg);
            expect_logged(need_init[i].name);
        }
    for (size_t i = 0; i < COUNT(any_state); i++)
        for (int arg = 1; any_state[i].call(arg) != -1; arg++) {
            api_log_clear();
            if (any_state[i].call(arg) != NRT_INVALID)
                fail_msg("%s does not refuse NULL as its pointer %d", any_state[i].name, arg);
            expect_logged(any_state[i].name);
        }
    assert_fails(nrt_free_model_tensor_info(NULL), NRT_INVALID, "nrt_free_model_tensor_info");
    assert_null(nrt_tensor_get_va(NULL));
    assert_int_equal(nrt_tensor_get_size(NULL), 0);
    nrt_tensor_free(NULL);
    nrt_tensor_free(&(nrt_tensor_t *){NULL});
    nrt_destroy_tensor_set(NULL);
    nrt_destroy_tensor_set(&(nrt_tensor_set_t *){NULL});
    PROVES("api-018");
    PROVES("api-193");
}

static void ready_foreign_handles_are_refused(void **state)
{
    for (size_t i = 0; i < COUNT(need_init); i++) {
        if (!need_init[i].handle)
            continue;
        api_log_clear();
        if (need_init[i].call(0) != NRT_INVALID_HANDLE)
            fail_msg("%s takes an address for a handle", need_init[i].name);
        expect_logged(need_init[i].name);
    }
    PROVES("api-130");
}

static void ready_bad_arguments_are_invalid(void **state)
{
    nrt_tensor_t *t = NULL;

    assert_fails(nrt_load(buffer, sizeof(buffer), -2, -1, &model_out), NRT_INVALID, "nrt_load");
    assert_fails(nrt_load(buffer, sizeof(buffer), 0, 0, &model_out), NRT_INVALID, "nrt_load");
    assert_fails(nrt_load(buffer, sizeof(buffer), 0, -2, &model_out), NRT_INVALID, "nrt_load");
    assert_fails(nrt_execute_repeat(SOME_MODEL, SOME_SET, SOME_SET, 0), NRT_INVALID,
                 "nrt_execute_repeat");
    assert_fails(nrt_tensor_allocate((nrt_tensor_placement_t)3, 0, 16, "", &t), NRT_INVALID,
                 "nrt_tensor_allocate");
    assert_fails(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, -1, 16, "", &t), NRT_INVALID,
                 "nrt_tensor_allocate");
    assert_fails(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 2, 16, "", &t), NRT_INVALID,
                 "nrt_tensor_allocate");
    assert_null(t);
    assert_fails(nrt_set_pool_eng_ucode(&ucode), NRT_FAILURE, "nrt_set_pool_eng_ucode");
    assert_fails(nrt_host_device_id_get(1, &u32_out), NRT_INVALID, "nrt_host_device_id_get");
    assert_fails(nrt_host_device_id_get(-1, &u32_out), NRT_INVALID, "nrt_host_device_id_get");
    PROVES("api-129");
}

static void closed_calls_give_closed_and_init_makes_ready_again(void **state)
{
    nrt_tensor_t *t, *old;
    nrt_tensor_set_t *s;

    assert_ok(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "live", &t));
    assert_ok(nrt_allocate_tensor_set(&s));
    assert_ok(nrt_add_tensor_to_tensor_set(s, "live", t));
    nrt_close();
    expect_refused(NRT_CLOSED);
    PROVES("api-139");
    nrt_close(); /* again: no effect */
    expect_refused(NRT_CLOSED);
    PROVES("api-004");

    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    PROVES("api-003");
    /* Handles of the session that ended are not handles of this one. */
    assert_fails(nrt_tensor_write(t, buffer, 0, 16), NRT_INVALID_HANDLE, "nrt_tensor_write");
    assert_fails(nrt_add_tensor_to_tensor_set(s, "x", t), NRT_INVALID_HANDLE,
                 "nrt_add_tensor_to_tensor_set");
    assert_ok(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "new", &old));
    nrt_tensor_free(&t);
    assert_null(t);
    nrt_destroy_tensor_set(&s);
    assert_null(s);
    assert_ok(nrt_tensor_write(old, buffer, 0, 16)); /* untouched by that */
    nrt_tensor_free(&old);
    PROVES("hbm-017");
    nrt_close();
}

static void status_names_are_the_enumerators(void **state)
{
#define NAME(s) assert_string_equal(nrt_get_status_as_str(s), #s)
    NAME(NRT_SUCCESS);
    NAME(NRT_FAILURE);
    NAME(NRT_INVALID);
    NAME(NRT_INVALID_HANDLE);
    NAME(NRT_RESOURCE);
    NAME(NRT_TIMEOUT);
    NAME(NRT_HW_ERROR);
    NAME(NRT_QUEUE_FULL);
    NAME(NRT_LOAD_NOT_ENOUGH_NC);
    NAME(NRT_UNSUPPORTED_NEFF_VERSION);
    NAME(NRT_FAIL_HOST_MEM_ALLOC);
    NAME(NRT_UNINITIALIZED);
    NAME(NRT_CLOSED);
    NAME(NRT_QUEUE_EMPTY);
    NAME(NRT_EXEC_UNIT_UNRECOVERABLE);
    NAME(NRT_EXEC_BAD_INPUT);
    NAME(NRT_EXEC_COMPLETED_WITH_NUM_ERR);
    NAME(NRT_EXEC_COMPLETED_WITH_ERR);
    NAME(NRT_EXEC_NC_BUSY);
    NAME(NRT_EXEC_OOB);
    NAME(NRT_COLL_PENDING);
    NAME(NRT_EXEC_HW_ERR_COLLECTIVES);
    NAME(NRT_EXEC_HW_ERR_HBM_UE);
    NAME(NRT_EXEC_HW_ERR_NC_UE);
    NAME(NRT_EXEC_HW_ERR_DMA_ABORT);
    NAME(NRT_EXEC_SW_NQ_OVERFLOW);
    NAME(NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE);
    NAME(NRT_NETWORK_PROXY_FAILURE);
    assert_string_equal(nrt_get_status_as_str((NRT_STATUS)8), "UNKNOWN STATUS");
    assert_string_equal(nrt_get_status_as_str((NRT_STATUS)12), "UNKNOWN STATUS");
    assert_string_equal(nrt_get_status_as_str((NRT_STATUS)-1), "UNKNOWN STATUS");
    PROVES("api-001");
}

static void init_refuses_what_is_no_framework(void **state)
{
    assert_fails(nrt_init(NRT_FRAMEWORK_TYPE_INVALID, "", ""), NRT_INVALID, "nrt_init");
    assert_fails(nrt_init((nrt_framework_type_t)6, "", ""), NRT_INVALID, "nrt_init");
    assert_fails(nrt_init((nrt_framework_type_t)-1, "", ""), NRT_INVALID, "nrt_init");
}

static void ucode_is_taken_before_init_only(void **state)
{
    nrt_ucode_info none = {{NULL, 16}, {buffer, 16}};

    assert_ok(nrt_set_pool_eng_ucode(&ucode));
    assert_fails(nrt_set_pool_eng_ucode(NULL), NRT_INVALID, "nrt_set_pool_eng_ucode");
    assert_fails(nrt_set_pool_eng_ucode(&none), NRT_INVALID, "nrt_set_pool_eng_ucode");
    PROVES("api-074");
}

/* ---- sized structs ---- */

static void version_of_any_size_is_written_that_far(void **state)
{
    struct {
        nrt_version_t v;
        char more[16];
    } full, part;

    memset(&full, 0xAA, sizeof(full));
    assert_ok(nrt_get_version(&full.v, sizeof(full)));
    assert_int_equal(full.v.rt_major, NRT_MAJOR_VERSION);
    assert_non_null(strstr(full.v.rt_detail, "software device"));
    for (size_t i = 0; i < sizeof(full.more); i++)
        assert_int_equal((uint8_t)full.more[i], 0xAA);
    for (size_t n = 1; n <= sizeof(nrt_version_t); n++) {
        memset(&part, 0xAA, sizeof(part));
        assert_ok(nrt_get_version(&part.v, n));
        assert_int_equal(((uint8_t *)&part)[n], 0xAA);
        if (n <= offsetof(nrt_version_t, rt_detail))
            assert_memory_equal(&part, &full, n);
        else
            assert_memory_equal(&part, &full, n - 1);
        if (n > offsetof(nrt_version_t, rt_detail))
            assert_true(memchr(part.v.rt_detail, 0, n - offsetof(nrt_version_t, rt_detail)));
    }
    assert_fails(nrt_get_version(&part.v, 0), NRT_INVALID, "nrt_get_version");
    PROVES("api-002");
}

static void instance_info_of_any_size_is_written_that_far(void **state)
{
    struct {
        nrt_instance_info_t v;
        char more[16];
    } full, part;

    memset(&full, 0xAA, sizeof(full));
    assert_ok(nrt_get_instance_info(&full.v, sizeof(full)));
    assert_int_equal(full.v.family, NRT_INSTANCE_TRN1);
    assert_int_equal(full.v.size, NRT_INSTANCE_SIZE_2XL);
    assert_int_equal((uint8_t)full.more[0], 0xAA);
    for (size_t n = 1; n <= sizeof(nrt_instance_info_t); n++) {
        memset(&part, 0xAA, sizeof(part));
        assert_ok(nrt_get_instance_info(&part.v, n));
        assert_memory_equal(&part, &full, n);
        assert_int_equal(((uint8_t *)&part)[n], 0xAA);
    }
    assert_fails(nrt_get_instance_info(&part.v, 0), NRT_INVALID, "nrt_get_instance_info");
    PROVES("api-005");
}

static int setup(void **state)
{
    api_env("trn1.2xlarge", 0);
    return 0;
}

static int teardown(void **state)
{
    api_env_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_names_are_the_enumerators),
        cmocka_unit_test(init_refuses_what_is_no_framework),
        cmocka_unit_test(ucode_is_taken_before_init_only),
        cmocka_unit_test(version_of_any_size_is_written_that_far),
        cmocka_unit_test(instance_info_of_any_size_is_written_that_far),
        cmocka_unit_test(before_init_calls_give_uninitialized),
        cmocka_unit_test(ready_null_pointers_are_invalid),
        cmocka_unit_test(ready_foreign_handles_are_refused),
        cmocka_unit_test(ready_bad_arguments_are_invalid),
        cmocka_unit_test(closed_calls_give_closed_and_init_makes_ready_again),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
