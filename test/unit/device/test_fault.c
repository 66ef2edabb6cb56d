/* SPDX-License-Identifier: Apache-2.0 */
/* Every fault point failed at every hit, one by one: a status, nothing leaked, and the next call
 * works. And the hardware errors on demand. */
#include "audit.h"

#include <sys/wait.h>

#include "base/fault.h"
#include "device/scratchpad.h"
#include "runner.h"

#define MIB (UINT64_C(1) << 20)

static unsigned mappings(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned n = 0;

    while (fgets(line, sizeof(line), f))
        n += strstr(line, "opennrt") != NULL;
    fclose(f);
    return n;
}

/* Everything once; the first status that is not success, or success. */
static NRT_STATUS tour(const struct device_config *cfg)
{
    struct device_instance *in = NULL;
    struct scratchpad *sp = NULL;
    struct device_extent x = {0}, y = {0};
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 3 * MIB);
    const struct scratch_var v[] = {{0, 64 * MIB}, {64 * MIB, 600 * MIB}};
    struct scratch_config sc = {.page_bytes = 512 * MIB};
    struct scratch_lease *l;
    uint64_t lease, addrs[2];
    uint32_t first, self;
    void *p;
    NRT_STATUS st = device_instance_open(cfg, &in, NULL);

    if (st != NRT_SUCCESS)
        return st;
    self = device_slot(in);
    if ((st = device_cores_claim_run(in, 1, &first, NULL)) != NRT_SUCCESS ||
        (st = device_neff_add(in, 0, 1001, "toy", NULL, NULL)) != NRT_SUCCESS ||
        (st = device_alloc(in, &a, &x, NULL)) != NRT_SUCCESS ||
        (st = device_map(in, x.addr, x.size, DEVICE_RW, &p, NULL)) != NRT_SUCCESS)
        goto out;
    memset(p, 1, x.size);
    a.flags = DEVICE_ALLOC_BACK;
    if ((st = device_alloc(in, &a, &y, NULL)) != NRT_SUCCESS ||
        (st = device_extent_grow(in, &y, 5 * MIB, NULL)) != NRT_SUCCESS ||
        (st = device_lease_open(in, &self, 1, &lease, NULL)) != NRT_SUCCESS ||
        (st = device_lease_add(in, lease, &x, NULL)) != NRT_SUCCESS ||
        (st = device_free(in, &x, NULL)) != NRT_SUCCESS ||
        (st = device_lease_leave(in, lease, NULL)) != NRT_SUCCESS ||
        (st = scratchpad_create(in, 0, sc, &sp, NULL)) != NRT_SUCCESS ||
        (st = scratchpad_load(sp, 1001, v, 2, addrs, &l, NULL)) != NRT_SUCCESS)
        goto out;
    scratchpad_unload(sp, l);
out:
    scratchpad_destroy(sp);
    device_instance_close(in);
    return st;
}

static const char *const point_names[] = {"alloc", "mmap", "file", "lock", "backing"};

static void fail_every_hit(const char *hbm_dir)
{
    for (int p = 0; p <= FAULT_BACKING; p++) { /* the others are of rooms above */
        struct fixture *f = fixture_new("trn1.2xlarge");
        uint64_t hits, failed = 0;
        bool removed;

        f->cfg.log = NULL;
        f->cfg.hbm_bytes = 8 * runner_hbm_bytes(); /* the scratchpad has two pages of 512 MiB */
        f->cfg.hbm_dir = hbm_dir ? f->dir : NULL;
        assert_int_equal(tour(&f->cfg), NRT_SUCCESS);
        unsigned fds = runner_open_fds(), maps = mappings();
        assert_int_equal(device_instance_reset(&f->cfg, false, &removed, NULL), NRT_SUCCESS);
        fault_count_start();
        assert_int_equal(tour(&f->cfg), NRT_SUCCESS);
        hits = fault_count((enum fault_point)p);
        fault_disarm();
        for (uint64_t n = 1; n <= hits; n++) {
            NRT_STATUS st;

            device_instance_reset(&f->cfg, false, &removed, NULL); /* creation, too */
            fault_arm((enum fault_point)p, n);
            st = tour(&f->cfg);
            fault_disarm();
            failed += st != NRT_SUCCESS;
            if (st != NRT_SUCCESS && st != NRT_RESOURCE && st != NRT_FAILURE && st != NRT_TIMEOUT)
                fail_msg("point %s hit %llu: status %d", point_names[p], (unsigned long long)n, st);
            assert_int_equal(runner_open_fds(), fds);
            assert_int_equal(mappings(), maps);
            assert_int_equal(tour(&f->cfg), NRT_SUCCESS);
            struct device_instance *in = fixture_open(f);
            assert_true(used_on(in, 0) == 0);
            assert_int_equal(device_cores_free_count(in), 2);
            audit(in);
            device_instance_close(in);
        }
        print_message("%s: %llu hits, %llu failures\n", point_names[p], (unsigned long long)hits,
                      (unsigned long long)failed);
        assert_true(failed > 0);
        fixture_free(f);
    }
}

static void every_fault_point_with_memfds(void **state)
{
    (void)state;
    fail_every_hit(NULL);
}

static void every_fault_point_with_files(void **state)
{
    (void)state;
    fail_every_hit("here");
}

static void hardware_errors_strike_once(void **state)
{
    static const struct {
        enum device_hw_error kind;
        NRT_STATUS status;
        int ecc;
        const char *line, *kernel;
    } rows[] = {
        {DEVICE_HW_SRAM, NRT_EXEC_HW_ERR_NC_UE, DEVICE_ECC_SRAM_UNCORRECTED,
         "Uncorrectable memory error is detected, metadata: 0x2a. Please terminate or stop/start "
         "this instance",
         "NEURON_HW_ERR=SRAM_UNCORRECTABLE_ERROR instance-id=default"},
        {DEVICE_HW_HBM, NRT_EXEC_HW_ERR_HBM_UE, DEVICE_ECC_MEM_UNCORRECTED,
         "Uncorrectable HBM memory error is detected. Execution results may be invalid. Please "
         "terminate this instance",
         "NEURON_HW_ERR=HBM_UNCORRECTABLE_ERROR instance-id=default"},
        {DEVICE_HW_HBM_REPAIRABLE, NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE, DEVICE_ECC_MEM_REPAIRABLE,
         "Please reload the neuron driver or reboot your EC2 instance",
         "NEURON_HW_ERR=HBM_UNCORRECTABLE_ERROR instance-id=default"},
        {DEVICE_HW_DMA_TX, NRT_EXEC_HW_ERR_DMA_ABORT, -1,
         "[MLA 1][NC 1] DMA TX engine 42 is in an abort state", "NEURON_HW_ERR=DMA_ERROR"},
        {DEVICE_HW_DMA_RX, NRT_EXEC_HW_ERR_DMA_ABORT, -1,
         "[MLA 1][NC 1] DMA RX engine 42 is in an abort state", "NEURON_HW_ERR=DMA_ERROR"},
        {DEVICE_HW_DEVICE, NRT_HW_ERROR, -1, "Neuron Device 1 has failed", NULL},
        {DEVICE_HW_PARITY, NRT_EXEC_COMPLETED_WITH_ERR, DEVICE_ECC_SRAM_UNCORRECTED,
         "Uncorrectable memory error is detected, metadata: 0x2a.",
         "NEURON_HW_ERR=SRAM_UNCORRECTABLE_ERROR"},
        /* The caller's to say: */
        {DEVICE_HW_NQ, NRT_EXEC_SW_NQ_OVERFLOW, -1, NULL, NULL},
        {DEVICE_HW_NOTIFICATION, NRT_TIMEOUT, -1, NULL, NULL},
    };
    struct fixture *f = fixture_new("trn1.32xlarge");
    struct device_instance *in = fixture_open(f);
    char serial[64];

    snprintf(serial, sizeof(serial), "nd-id=1 nc-id=1 serial-num=%016llx action=",
             (unsigned long long)device_serial(in, 1));
    assert_int_equal(device_hw_check(in, 3, NULL), NRT_SUCCESS);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t before = rows[i].ecc < 0 ? 0 : device_ecc_get(in, 1, (enum device_ecc)rows[i].ecc);

        log_tap_clear(&f->tap);
        assert_int_equal(device_hw_inject(in, 3, rows[i].kind, 42, 2, NULL), NRT_SUCCESS);
        assert_int_equal(device_hw_check(in, 3, NULL), NRT_SUCCESS);
        assert_int_equal(device_hw_check(in, 2, NULL), NRT_SUCCESS); /* another core */
        assert_int_equal(device_hw_check(in, 3, NULL), NRT_SUCCESS);
        assert_int_equal(device_hw_check(in, 3, NULL), rows[i].status);
        assert_int_equal(device_hw_check(in, 3, NULL), NRT_SUCCESS);
        if (rows[i].line)
            assert_int_equal(log_tap_find(&f->tap, rows[i].line), 1);
        if (rows[i].kernel)
            assert_int_equal(log_tap_find(&f->tap, rows[i].kernel), 1);
        assert_int_equal(log_tap_find(&f->tap, serial), rows[i].kernel ? 1 : 0);
        if (rows[i].ecc >= 0)
            assert_int_equal(device_ecc_get(in, 1, (enum device_ecc)rows[i].ecc), before + 1);
    }
    assert_int_equal(device_ecc_get(in, 0, DEVICE_ECC_MEM_UNCORRECTED), 0);
    assert_int_equal(device_hw_inject(in, 32, DEVICE_HW_HBM, 0, 0, NULL), NRT_INVALID);
    assert_int_equal(device_hw_inject(in, 0, DEVICE_HW_COUNT, 0, 0, NULL), NRT_INVALID);
    assert_true(device_serial(in, 0) != device_serial(in, 1));
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void count_warning(void *arg, const char *text)
{
    (void)text;
    ++*(int *)arg;
}

static void faults_from_the_environment(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    int warned = 0;
    struct diag_sink sink = {.warn = count_warning, .arg = &warned};
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 64);
    struct device_fault fault;
    struct device_extent x;
    const uint32_t cores[] = {0, 1};

    setenv("OPENNRT_FAULT", "hbm:1, lock:2,dma-tx:0:1:7", 1);
    device_fault_env(in, &sink);
    assert_int_equal(warned, 0);
    assert_int_equal(*device_faults_armed(in), 2);
    assert_true(device_fault_of_run(in, &cores[1], 1, "m", &fault));
    assert_int_equal(fault.hw, DEVICE_HW_HBM);
    assert_int_equal(fault.core, 1);
    assert_false(device_fault_of_run(in, &cores[0], 1, "m", &fault));
    assert_true(device_fault_of_run(in, cores, 2, "m", &fault));
    assert_int_equal(fault.hw, DEVICE_HW_DMA_TX);
    assert_int_equal(fault.detail, 7);
    assert_int_equal(fault.core, 0);
    assert_int_equal(device_faults_struck(in), 2);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_TIMEOUT);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
    fault_disarm();
    setenv("OPENNRT_FAULT", "hbm,hbm:2,nothing:1,alloc:0,sram:0:x,sram:0:1:2:3", 1);
    device_fault_env(in, &sink);
    assert_int_equal(warned, 6);
    fault_disarm();
    unsetenv("OPENNRT_FAULT");
    device_fault_env(in, &sink);
    assert_int_equal(warned, 6);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* A dead process's slot, marked by one who then could not get the lock again, is the next one's to
 * reclaim, although the first lives. */
static void a_slot_that_cannot_be_cleared_is_for_others(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f), *other = fixture_open(f), *theirs;
    pid_t pid = fork();

    if (pid == 0) {
        f->cfg.log = NULL;
        _exit(device_instance_open(&f->cfg, &theirs, NULL) != NRT_SUCCESS);
    }
    assert_int_equal(waitpid(pid, &(int){0}, 0), pid);
    fault_arm(FAULT_LOCK, 2);
    assert_int_equal(device_reclaim(in), 0);
    fault_disarm();
    assert_int_equal(device_reclaim(other), 1);
    assert_int_equal(device_reclaim(in), 0);
    device_instance_close(in);
    device_instance_close(other);
    (void)state;
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_that_cannot_be_cleared_is_for_others),
        cmocka_unit_test(every_fault_point_with_memfds),
        cmocka_unit_test(every_fault_point_with_files),
        cmocka_unit_test(hardware_errors_strike_once),
        cmocka_unit_test(faults_from_the_environment),
    };

    runner_watchdog(250);
    return cmocka_run_group_tests_name("device-fault", tests, NULL, NULL);
}
