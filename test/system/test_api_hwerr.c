/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware errors on demand through the whole library: behaviour.md 8.5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "neffs.h"
#include "proves.h"

static const struct row {
    const char *fault;
    NRT_STATUS status;
    const char *line, *kernel, *infodump; /* kernel NULL: the driver has no record for it */
    const char *proves_line, *proves_status;
} rows[] = {
    {"sram:0:1:77", NRT_EXEC_HW_ERR_NC_UE,
     "Uncorrectable memory error is detected, metadata: 0x4d. Please terminate or stop/start this "
     "instance",
     "NEURON_HW_ERR=SRAM_UNCORRECTABLE_ERROR", "Failure: NRT_EXEC_HW_ERR_NC_UE in nrt_execute()",
     "dump-066", "api-150"},
    {"hbm:0:1", NRT_EXEC_HW_ERR_HBM_UE,
     "Uncorrectable HBM memory error is detected. Execution results may be invalid. Please "
     "terminate this instance",
     "NEURON_HW_ERR=HBM_UNCORRECTABLE_ERROR", "Failure: NRT_EXEC_HW_ERR_HBM_UE in nrt_execute()",
     "dump-067", "api-149"},
    {"hbm-repairable:0:1", NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE,
     "Uncorrectable HBM memory error is detected. Execution results may be invalid. Please reload "
     "the neuron driver or reboot your EC2 instance",
     "NEURON_HW_ERR=HBM_UNCORRECTABLE_ERROR",
     "Failure: NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE in nrt_execute()", "dump-068", "api-153"},
    {"dma-rx:0:1:5", NRT_EXEC_HW_ERR_DMA_ABORT,
     "[MLA 0][NC 0] DMA RX engine 5 is in an abort state", "NEURON_HW_ERR=DMA_ERROR",
     "Failure: NRT_EXEC_HW_ERR_DMA_ABORT in nrt_execute()", "dump-069", "api-151"},
    {"device:0:1", NRT_HW_ERROR, "Neuron Device 0 has failed", NULL,
     "Failure: NRT_HW_ERROR in nrt_execute()", NULL, "api-133"},
    {"nq-overflow:0:1", NRT_EXEC_SW_NQ_OVERFLOW,
     "(FATAL-RT-UNDEFINED-STATE) execution timeout (30000 ms) on Neuron Device 0 NC 0, model copy, "
     "waiting for execution completion notification, potentially caused by DGE notifications "
     "enabled. Please disable it (set NEURON_RT_ENABLE_DGE_NOTIFICATIONS to 0) and try again.\n",
     NULL, "Failure: NRT_EXEC_SW_NQ_OVERFLOW in nrt_execute()", "dump-055", "api-152"},
};

/* A model that copies a to c, on an instance of its own where `fault` waits. */
struct job {
    struct bytes f;
    nrt_tensor_set_t *in, *out;
    nrt_tensor_t *a, *c;
    nrt_model_t *m;
};

static void job_open(struct job *j, const char *fault)
{
    j->f = neff_copy(64, false);
    api_env("trn1.2xlarge", 0);
    setenv("OPENNRT_FAULT", fault, 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    unsetenv("OPENNRT_FAULT");
    assert_ok(nrt_load(j->f.data, j->f.size, -1, -1, &j->m));
    assert_ok(nrt_allocate_tensor_set(&j->in));
    assert_ok(nrt_allocate_tensor_set(&j->out));
    assert_ok(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "a", &j->a));
    assert_ok(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "c", &j->c));
    assert_ok(nrt_add_tensor_to_tensor_set(j->in, "a", j->a));
    assert_ok(nrt_add_tensor_to_tensor_set(j->out, "c", j->c));
    api_log_clear();
}

static void job_close(struct job *j)
{
    assert_ok(nrt_unload(j->m));
    nrt_tensor_free(&j->a);
    nrt_tensor_free(&j->c);
    nrt_destroy_tensor_set(&j->in);
    nrt_destroy_tensor_set(&j->out);
    nrt_close();
    api_env_end();
    neff_free(&j->f);
}

/* The first execution is fine, the second meets the error, the third is fine again. */
static void error_strikes_one_execution(const struct row *r)
{
    struct job j;

    job_open(&j, r->fault);
    assert_ok(nrt_execute(j.m, j.in, j.out));
    api_log_clear();
    assert_int_equal(nrt_execute(j.m, j.in, j.out), r->status);
    if (!api_log_has(r->line) || !api_log_has(r->infodump) ||
        api_log_has("NEURON_HW_ERR") != (r->kernel != NULL) ||
        (r->kernel && (!api_log_has(r->kernel) || !api_log_has("nd-id=0 nc-id=0 serial-num="))))
        fail_msg("%s: log is\n%s", r->fault, api_log());
    if (r->proves_line)
        PROVES(r->proves_line);
    PROVES(r->proves_status);
    if (r->kernel)
        PROVES("dump-070");
    api_log_clear();
    assert_ok(nrt_execute(j.m, j.in, j.out));
    assert_int_equal(api_log_errors(), 0);
    job_close(&j);
}

static void every_kind_of_error(void **state)
{
    (void)state;
    setenv("NEURON_RT_ENABLE_DGE_NOTIFICATIONS", "1", 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        error_strikes_one_execution(&rows[i]);
    unsetenv("NEURON_RT_ENABLE_DGE_NOTIFICATIONS");
}

/* Without notifications there is no queue that could overflow. */
static void no_overflow_without_notifications(void **state)
{
    struct job j;

    (void)state;
    job_open(&j, "nq-overflow:0:0");
    assert_ok(nrt_execute(j.m, j.in, j.out));
    assert_int_equal(api_log_errors(), 0);
    PROVES("api-238");
    job_close(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_kind_of_error),
                                       cmocka_unit_test(no_overflow_without_notifications)};

    return cmocka_run_group_tests_name("api-hwerr", tests, NULL, NULL);
}
