/* SPDX-License-Identifier: Apache-2.0 */
/* Processes: core selection and ownership, the environment, fork, dlopen, copies of the library.
 * behaviour.md 1.1, 2 and 3; api.md 4.3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "device/device.h"
#include "neffs.h"
#include "proves.h"
#include "runner.h"

static NRT_STATUS init(void)
{
    return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
}

static uint32_t visible(void)
{
    uint32_t n = 9999;

    assert_ok(nrt_get_visible_vnc_count(&n));
    return n;
}

/* ---- selection ---- */

static void cores_before_init_are_what_init_takes(void **state)
{
    static const struct {
        const char *visible, *num;
        NRT_STATUS status;
        uint32_t count;
    } rows[] = {
        {NULL, NULL, NRT_SUCCESS, 32},   {"3", NULL, NRT_SUCCESS, 1},
        {"3-5", NULL, NRT_SUCCESS, 3},   {"3-5,6", NULL, NRT_SUCCESS, 4},
        {"0-31", NULL, NRT_SUCCESS, 32}, {" 4 , 5 ", NULL, NRT_SUCCESS, 2},
        {"31", NULL, NRT_SUCCESS, 1},    {"7-7", NULL, NRT_SUCCESS, 1},
        {"3,5,6", NULL, NRT_INVALID, 0}, {"5,4", NULL, NRT_INVALID, 0},
        {"5-3", NULL, NRT_INVALID, 0},   {"3,3", NULL, NRT_INVALID, 0},
        {"32", NULL, NRT_INVALID, 0},    {"30-32", NULL, NRT_INVALID, 0},
        {"a", NULL, NRT_INVALID, 0},     {"1-", NULL, NRT_INVALID, 0},
        {"-1", NULL, NRT_INVALID, 0},    {"1,", NULL, NRT_INVALID, 0},
        {"1 2", NULL, NRT_INVALID, 0},   {"99999999999", NULL, NRT_INVALID, 0},
        {NULL, "2", NRT_SUCCESS, 2},     {NULL, "0", NRT_SUCCESS, 32},
        {"4-6", "2", NRT_SUCCESS, 3}, /* VISIBLE_CORES wins */
        {"", "2", NRT_SUCCESS, 2},       {NULL, "32", NRT_SUCCESS, 32},
        {NULL, "33", NRT_INVALID, 0},    {NULL, "4294967295", NRT_INVALID, 0},
    };

    api_env("trn1.32xlarge", 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t n = 777, total = 0;

        rows[i].visible ? setenv("NEURON_RT_VISIBLE_CORES", rows[i].visible, 1)
                        : unsetenv("NEURON_RT_VISIBLE_CORES");
        rows[i].num ? setenv("NEURON_RT_NUM_CORES", rows[i].num, 1)
                    : unsetenv("NEURON_RT_NUM_CORES");
        assert_int_equal(nrt_get_visible_vnc_count(&n), rows[i].status);
        assert_int_equal(n, rows[i].status == NRT_SUCCESS ? rows[i].count : 777);
        assert_ok(nrt_get_total_vnc_count(&total));
        assert_int_equal(total, 32); /* whatever is selected */
        api_log_clear();
        assert_int_equal(init(), rows[i].status);
        if (rows[i].status == NRT_SUCCESS) {
            assert_int_equal(visible(), rows[i].count);
            assert_ok(nrt_get_visible_nc_count(&n));
            assert_int_equal(n, rows[i].count);
            assert_ok(nrt_get_total_nc_count(&n));
            assert_int_equal(n, 32);
            nrt_close();
        } else {
            assert_int_equal(api_log_errors(), 1);
            assert_true(
                api_log_has(rows[i].num ? "Could not open the nd" : "NEURON_RT_VISIBLE_CORES"));
        }
    }
    unsetenv("NEURON_RT_NUM_CORES");
    api_env_end();
    PROVES("api-006");
    PROVES("api-007");
    PROVES("api-008");
    PROVES("api-009");
    PROVES("api-195");
    PROVES("api-196");
    PROVES("api-207");
    PROVES("api-208");
}

/* Turns a byte of the instance's control block over: 0 of its magic number, 8 of its version. */
static void control_flip(off_t at)
{
    struct device_config cfg = {.name = getenv("OPENNRT_INSTANCE"), .observe = true};
    static char path[4096];
    struct device_instance *in;
    char byte;
    int fd;

    if (device_instance_open(&cfg, &in, NULL) == NRT_SUCCESS) {
        snprintf(path, sizeof(path), "%s/control", device_instance_dir(in));
        device_instance_close(in);
    } /* else it was flipped before */
    fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

typedef NRT_STATUS count_of(uint32_t *ret);

/* What is there and cannot be used is not taken for nothing: init does not take the cores. */
static void cores_before_init_are_refused_as_init_refuses(void **state)
{
    static const struct {
        const char *type, *text;
        off_t flip;
    } rows[] = {
        {"trn1.32xlarge", "trn1.2xlarge", -1},
        {"trn1.2xlarge", "was made by version", 8},
        {"trn1.2xlarge", "is not a control block", 0},
    };
    static count_of *const calls[] = {nrt_get_total_nc_count, nrt_get_total_vnc_count,
                                      nrt_get_visible_nc_count, nrt_get_visible_vnc_count};
    nrt_instance_info_t info;

    api_env("trn1.2xlarge", 0);
    assert_ok(init());
    nrt_close(); /* the instance stays */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        NRT_STATUS refused;

        setenv("OPENNRT_INSTANCE_TYPE", rows[i].type, 1);
        if (rows[i].flip >= 0)
            control_flip(rows[i].flip);
        refused = init();
        assert_int_not_equal(refused, NRT_SUCCESS);
        for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
            uint32_t n = 777;

            api_log_clear();
            assert_int_equal(calls[c](&n), refused);
            assert_int_equal(n, 777);
            assert_int_equal(api_log_errors(), 1);
            assert_true(api_log_has(rows[i].text));
        }
        assert_int_equal(nrt_get_instance_info(&info, sizeof(info)), refused);
        if (rows[i].flip >= 0)
            control_flip(rows[i].flip);
    }
    assert_int_equal(visible(), 2);
    api_env_end();
    (void)state;
}

/* One client asks for counts, then sets the number of cores, then initialises. */
static void environment_is_read_at_each_init(void **state)
{
    api_env("trn1.2xlarge", 0);
    assert_int_equal(visible(), 2);
    setenv("NEURON_RT_NUM_CORES", "1", 1);
    assert_ok(init());
    assert_int_equal(visible(), 1);
    setenv("NEURON_RT_NUM_CORES", "2", 1);
    assert_int_equal(visible(), 1); /* this session's */
    nrt_close();
    assert_int_equal(visible(), 2);
    assert_ok(init());
    assert_int_equal(visible(), 2);
    nrt_close();
    api_env_end();
    PROVES("hbm-020");
}

static void init_again_with_another_lnc_regroups_the_cores(void **state)
{
    static const struct {
        const char *lnc, *older;
        NRT_STATUS status;
        uint32_t total;
    } rows[] = {{NULL, NULL, NRT_SUCCESS, 64}, {"1", NULL, NRT_SUCCESS, 128},
                {"2", NULL, NRT_SUCCESS, 64},  {NULL, "1", NRT_SUCCESS, 128},
                {"2", "1", NRT_SUCCESS, 64},   {"3", NULL, NRT_INVALID, 0}};

    api_env("trn2.48xlarge", 0);
    setenv("NEURON_RT_NUM_CORES", "2", 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t n = 0;

        rows[i].lnc ? setenv("NEURON_LOGICAL_NC_CONFIG", rows[i].lnc, 1)
                    : unsetenv("NEURON_LOGICAL_NC_CONFIG");
        rows[i].older ? setenv("NEURON_RT_VIRTUAL_CORE_SIZE", rows[i].older, 1)
                      : unsetenv("NEURON_RT_VIRTUAL_CORE_SIZE");
        assert_int_equal(nrt_get_total_vnc_count(&n), rows[i].status);
        assert_int_equal(n, rows[i].total);
        assert_int_equal(init(), rows[i].status);
        if (rows[i].status == NRT_SUCCESS) {
            assert_ok(nrt_get_total_vnc_count(&n));
            assert_int_equal(n, rows[i].total);
            nrt_close();
        }
    }
    unsetenv("NEURON_LOGICAL_NC_CONFIG");
    unsetenv("NEURON_RT_VIRTUAL_CORE_SIZE");
    unsetenv("NEURON_RT_NUM_CORES");
    api_env_end();
    PROVES("api-194");
    PROVES("api-209");
    PROVES("api-210");
}

/* LNC 1: two neighbours share an HBM; LNC 2: one logical core, one HBM. */
static void hbm_of_a_core_follows_the_lnc(void **state)
{
    nrt_tensor_device_allocation_info_t info;
    static const int want[2][4] = {{0, 0, 1, 1}, {0, 1, 2, 3}};

    for (unsigned lnc = 1; lnc <= 2; lnc++) {
        nrt_vnc_memory_stats_t stats;
        size_t n;

        api_env("trn2.48xlarge", lnc);
        setenv("NEURON_RT_NUM_CORES", "4", 1);
        assert_ok(init());
        for (int vnc = 0; vnc < 4; vnc++) {
            nrt_tensor_t *t;

            assert_ok(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, vnc, 64, "", &t));
            assert_ok(nrt_tensor_get_device_allocation_info(t, &info));
            assert_int_equal(info.hbm_index, want[lnc - 1][vnc]);
            assert_ok(nrt_get_vnc_memory_stats((uint32_t)vnc, &stats, sizeof(stats), &n));
            assert_int_equal(stats.bytes_limit, (size_t)24 << 30);
            assert_int_equal(stats.bytes_used, 64);
        }
        nrt_close();
        unsetenv("NEURON_RT_NUM_CORES");
        api_env_end();
    }
    PROVES("mem-046");
    PROVES("mem-047");
}

static void no_devices_give_zero_and_the_documented_line(void **state)
{
    uint32_t n = 7;

    api_env("none", 0);
    assert_ok(nrt_get_total_vnc_count(&n));
    assert_int_equal(n, 0);
    assert_int_equal(visible(), 0);
    assert_fails(init(), NRT_FAILURE, "nrt_init");
    api_log_clear();
    init();
    assert_true(
        api_log_has("NRT:nrt_init                                Unable to determine Neuron "
                    "Driver version. Please check aws-neuron-dkms package is installed.\n"));
    PROVES("api-199");
    api_env_end();
}

/* ---- ownership ---- */

static int helper_owner(int argc, char **argv)
{
    char line[64];

    setenv("NEURON_RT_VISIBLE_CORES", argv[1], 1);
    if (init() != NRT_SUCCESS) {
        runner_say("refused");
        return 1;
    }
    runner_say("owns");
    if (!runner_hear(line, sizeof(line)))
        return 0; /* without nrt_close */
    nrt_close();
    return 0;
}

static void cores_of_another_process_are_refused_until_it_ends(void **state)
{
    struct runner_proc p;
    const char *args[] = {"1-2", NULL};

    api_env("trn1.32xlarge", 0);
    for (int how = 0; how < 3; how++) {
        nrt_tensor_t *t;

        assert_true(runner_start(&p, "owner", args, NULL));
        assert_true(runner_expect(&p, "owns", RUNNER_WAIT_MS));
        setenv("NEURON_RT_VISIBLE_CORES", "2-3", 1);
        assert_fails(init(), NRT_RESOURCE, "nrt_allocate_neuron_cores");
        api_log_clear();
        assert_int_equal(init(), NRT_RESOURCE);
        assert_true(api_log_has("NeuronCore(s) not available - Requested:nc2-nc3 Available:30"));
        PROVES("api-198");
        unsetenv("NEURON_RT_VISIBLE_CORES");
        setenv("NEURON_RT_NUM_CORES", "29", 1); /* the free run behind it */
        assert_ok(init());
        assert_ok(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 28, 64, "", &t));
        assert_int_equal(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 29, 64, "", &t),
                         NRT_INVALID);
        nrt_close();
        setenv("NEURON_RT_NUM_CORES", "30", 1);
        assert_int_equal(init(), NRT_RESOURCE);
        unsetenv("NEURON_RT_NUM_CORES");

        if (how == 0)
            assert_true(runner_tell(&p, "close"));
        else if (how == 1)
            runner_kill(&p, 9);
        runner_wait(&p, RUNNER_WAIT_MS); /* how 2: its input ends, it leaves without closing */
        setenv("NEURON_RT_VISIBLE_CORES", "2-3", 1);
        assert_ok(init());
        nrt_close();
        unsetenv("NEURON_RT_VISIBLE_CORES");
    }
    api_env_end();
    PROVES("api-197");
}

/* ---- fork ---- */

static int child_checks(nrt_tensor_t *t)
{
    nrt_tensor_t *mine = NULL;
    uint32_t n = 0;
    char own[32], c;

    if (nrt_tensor_write(t, "x", 0, 1) != NRT_UNINITIALIZED)
        return 1;
    if (nrt_tensor_get_va(t) || nrt_tensor_get_size(t))
        return 2;
    if (nrt_get_visible_vnc_count(&n) != NRT_SUCCESS || n != 2)
        return 3;
    nrt_close(); /* not ours to close */
    if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, -1, 8, "", &mine) != NRT_UNINITIALIZED)
        return 4;
    /* The parent has all cores. */
    if (init() != NRT_RESOURCE)
        return 5;
    /* On an instance of its own it can begin anew; the parent's handles stay dead. */
    snprintf(own, sizeof(own), "forked-child-%d", (int)getpid());
    setenv("OPENNRT_INSTANCE", own, 1);
    if (init() != NRT_SUCCESS)
        return 6;
    if (nrt_tensor_read(t, &c, 0, 1) != NRT_INVALID_HANDLE)
        return 7;
    if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 8, "", &mine) != NRT_SUCCESS ||
        nrt_tensor_write(mine, "12345678", 0, 8) != NRT_SUCCESS)
        return 8;
    nrt_close();
    api_env_end();
    return 0;
}

static void forked_child_is_uninitialised_and_releases_nothing(void **state)
{
    nrt_tensor_t *t;
    char c = 0;
    int status;
    pid_t pid;

    api_env("trn1.2xlarge", 0);
    assert_ok(init());
    assert_ok(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "", &t));
    assert_ok(nrt_tensor_write(t, "p", 0, 1));
    pid = fork();
    if (pid == 0)
        _exit(child_checks(t));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    /* A second child that ends through exit handlers. */
    pid = fork();
    if (pid == 0)
        exit(0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    /* A third without the tensor's page: libraries of network devices keep what they registered
     * from children. */
    assert_int_equal(madvise(nrt_tensor_get_va(t), 4096, MADV_DONTFORK), 0);
    pid = fork();
    if (pid == 0)
        exit(child_checks(t));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_ok(nrt_tensor_read(t, &c, 0, 1));
    assert_int_equal(c, 'p');
    {
        struct runner_proc p;
        const char *args[] = {"0", NULL};

        assert_true(runner_start(&p, "owner", args, NULL));
        assert_true(runner_expect(&p, "refused", RUNNER_WAIT_MS)); /* the cores are still ours */
        runner_wait(&p, RUNNER_WAIT_MS);
    }
    nrt_tensor_free(&t);
    nrt_close();
    api_env_end();
}

/* ---- loading the library ---- */

#define LOOK(lib, name) (*(typeof(&name) *)(void *[]){dlsym(lib, #name)})

static bool copy_file(const char *from, const char *to)
{
    char cmd[1200];

    snprintf(cmd, sizeof(cmd), "cp '%s' '%s'", from, to);
    return system(cmd) == 0;
}

/* Two copies in one process: each a session of its own. */
static int helper_copies(int argc, char **argv)
{
    char path[2][64];
    void *lib[2];
    nrt_tensor_t *t[2];
    char c;

    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof(path[i]), "/tmp/opennrt-copy-%d-%d.so", (int)getpid(), i);
        if (!copy_file(argv[1], path[i]))
            return 1;
        lib[i] = dlopen(path[i], RTLD_NOW | RTLD_LOCAL);
        unlink(path[i]);
        if (!lib[i])
            return 2;
    }
    setenv("NEURON_RT_NUM_CORES", "1", 1);
    for (int i = 0; i < 2; i++) {
        if (LOOK(lib[i], nrt_init)(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS)
            return 3 + i;
        if (LOOK(lib[i], nrt_tensor_allocate)(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "", &t[i]) !=
            NRT_SUCCESS)
            return 5;
    }
    for (int i = 0; i < 2; i++) {
        if (LOOK(lib[i], nrt_tensor_read)(t[!i], &c, 0, 1) != NRT_INVALID_HANDLE)
            return 6;
        if (LOOK(lib[i], nrt_tensor_write)(t[i], "x", 0, 1) != NRT_SUCCESS)
            return 10;
    }
    LOOK(lib[0], nrt_close)();
    if (LOOK(lib[1], nrt_tensor_read)(t[1], &c, 0, 1) != NRT_SUCCESS || c != 'x')
        return 7;
    /* The second copy still owns its core; the first one's is free again. */
    if (LOOK(lib[0], nrt_init)(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS)
        return 8;
    setenv("NEURON_RT_VISIBLE_CORES", "0-1", 1);
    LOOK(lib[0], nrt_close)();
    if (LOOK(lib[0], nrt_init)(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_RESOURCE)
        return 9;
    LOOK(lib[1], nrt_close)();
    return 0;
}

static int run_helper(const char *name, const char *arg)
{
    const char *args[] = {arg, NULL};
    struct runner_proc p;

    assert_true(runner_start(&p, name, arg ? args : NULL, NULL));
    return runner_wait(&p, RUNNER_WAIT_MS);
}

/* Whether a library with that beginning of a name is mapped. */
static bool mapped(const char *name)
{
    FILE *f = fopen("/proc/self/maps", "r");
    bool found = false;
    char line[4400];

    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        found = found || strstr(line, name);
    fclose(f);
    return found;
}

/* Topology and network start on first need: 1, 2: they were there too early; 3: it cannot be told.
 */
static int helper_early(int argc, char **argv)
{
    static const char *const names[] = {"libhwloc.so", "libfabric.so"};
    static const char *const files[] = {"libhwloc.so.15", "libfabric.so.1"};
    int rc = 0;

    (void)argc;
    (void)argv;
    if (init() != NRT_SUCCESS)
        return 9;
    for (int i = 0; i < 2; i++)
        rc = mapped(names[i]) ? i + 1 : rc;
    nrt_close();
    for (int i = 0; i < 2 && !rc; i++)
        if (dlopen(files[i], RTLD_NOW | RTLD_LOCAL) && !mapped(names[i]))
            rc = 3;
    return rc;
}

static void init_starts_no_other_library(void **state)
{
    (void)state;
    api_env("trn1.32xlarge", 0);
    assert_int_equal(run_helper("early", NULL), 0);
    api_env_end();
}

static void library_is_found_by_name_and_stays_loaded(void **state)
{
    const char *argv[] = {PROG_DLOPEN, "libnrt.so.1", NULL};
    char path[4200], *slash;
    struct runner_proc p;
    Dl_info info;

    assert_true(dladdr((void *)(uintptr_t)nrt_init, &info) != 0);
    snprintf(path, sizeof(path), "LD_LIBRARY_PATH=%s", info.dli_fname);
    slash = strrchr(path, '/');
    assert_non_null(slash);
    *slash = '\0';
    api_env("trn1.2xlarge", 0);
    assert_true(runner_start_program(&p, argv, (const char *[]){path, NULL}));
    assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 0);
    api_env_end();
    PROVES("api-189");
}

static void program_may_define_a_name_of_the_library(void **state)
{
    const char *argv[] = {PROG_OWN_NAME, NULL};
    struct runner_proc p;

    api_env("trn1.2xlarge", 0);
    assert_true(runner_start_program(&p, argv, NULL));
    assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 0);
    api_env_end();
}

static void library_copies_live_side_by_side(void **state)
{
    Dl_info info;

    assert_true(dladdr((void *)(uintptr_t)nrt_init, &info) != 0);
    api_env("trn1.2xlarge", 0);
    assert_int_equal(run_helper("copies", info.dli_fname), 0);
    api_env_end();
}

/* ---- a program in a bad state ---- */

/* Standard descriptors closed: no file of the library takes their place, so what is logged to
 * standard error lands nowhere, not in device memory and not in the control block. */
static int helper_closed(int argc, char **argv)
{
    static uint8_t want[65536], got[65536];
    nrt_tensor_t *t;

    for (int i = 0; i <= STDERR_FILENO; i++)
        close(i);
    for (const char *const *c = (const char *const[]){"NRT", "TDRV", "NMGR", "HAL", NULL}; *c;
         c++) {
        char name[64];

        snprintf(name, sizeof(name), "NEURON_RT_LOG_LOCATION_%s", *c);
        unsetenv(name); /* console */
    }
    memset(want, 0x5a, sizeof(want));
    if (init() != NRT_SUCCESS)
        return 1;
    for (int vnc = 0; vnc < 2; vnc++) {
        if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, vnc, sizeof(want), "", &t) ||
            nrt_tensor_write(t, want, 0, sizeof(want)))
            return 2;
        for (int i = 0; i < 20; i++) /* records, if they went anywhere */
            if (nrt_tensor_read(NULL, got, 0, 1) != NRT_INVALID)
                return 3;
        if (nrt_tensor_read(t, got, 0, sizeof(got)) || memcmp(want, got, sizeof(got)) != 0)
            return 4;
    }
    for (int i = 0; i <= STDERR_FILENO; i++)
        if (fcntl(i, F_GETFD) >= 0)
            return 5;
    nrt_close();
    if (init() != NRT_SUCCESS) /* the control block is what it was */
        return 6;
    nrt_close();
    return 0;
}

static void closed_standard_descriptors_stay_closed(void **state)
{
    api_env("trn1.2xlarge", 0);
    assert_int_equal(run_helper("closed", NULL), 0);
    assert_ok(init());
    nrt_close();
    api_env_end();
}

/* A log that nobody reads is no reason to end. */
static int helper_deaf(int argc, char **argv)
{
    int p[2];

    unsetenv("NEURON_RT_LOG_LOCATION_NRT");
    if (pipe(p) != 0 || dup2(p[1], STDERR_FILENO) < 0 || close(p[0]) != 0 || close(p[1]) != 0)
        return 1;
    signal(SIGPIPE, SIG_DFL);
    if (init() != NRT_SUCCESS || nrt_tensor_read(NULL, NULL, 0, 1) != NRT_INVALID)
        return 2;
    nrt_close();
    return 0;
}

static void log_that_nobody_reads_is_no_signal(void **state)
{
    api_env("trn1.2xlarge", 0);
    assert_int_equal(run_helper("deaf", NULL), 0);
    api_env_end();
}

/* A limit of the file size: a status that names it, wherever it bites; with a limit that comes
 * later what is there goes on. */
static int helper_file_limit(int argc, char **argv)
{
    uint64_t bytes = strtoull(argv[1], NULL, 10);
    bool later = bytes == 1;
    struct rlimit limit = {bytes, bytes};
    static char data[3 << 20];
    nrt_tensor_t *t = NULL, *v;
    NRT_STATUS status;

    if (!later && setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 1;
    status = init();
    if (status == NRT_RESOURCE && !later)
        return 0;
    if (status != NRT_SUCCESS)
        return 2;
    status = nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, sizeof(data), "", &t);
    if (!later) {
        if (status != NRT_RESOURCE)
            return 3;
    } else {
        if (status != NRT_SUCCESS || setrlimit(RLIMIT_FSIZE, &limit) != 0 ||
            nrt_tensor_write(t, data, 0, sizeof(data)) != NRT_SUCCESS)
            return 4;
    }
    if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_VIRTUAL, -1, 64, "", &v) != NRT_SUCCESS)
        return 5;
    nrt_close();
    return 0;
}

static void limited_file_size_is_a_status(void **state)
{
    /* Too small for the control block, for an HBM, and one that comes later. */
    static const char *const bytes[] = {"1000", "100000000", "1"};

    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        api_env("trn1.2xlarge", 0);
        setenv("NEURON_RT_LOG_LEVEL", "ERROR", 1);
        api_log_clear();
        assert_int_equal(run_helper("file-limit", bytes[i]), 0);
        assert_int_equal(api_log_has("(ulimit -f)"), i < 2);
        unsetenv("NEURON_RT_LOG_LEVEL");
        api_env_end();
    }
}

/* ---- an end without nrt_close ---- */

/* Runs after whatever was registered later. Threads of the runtime still live then, so what they
 * use is still there: random numbers for a new file, and its digest. */
static void leaver_at_exit(void)
{
    struct bytes f = neff_add(4);
    nrt_model_t *m = NULL;

    _exit(nrt_load(f.data, f.size, -1, -1, &m) == NRT_SUCCESS ? 7 : 8);
}

/* The library is the first here to use libcrypto: it checks the hash. */
static int helper_leaver(int argc, char **argv)
{
    static char neff[1 << 16];
    nrt_model_t *m = NULL;
    size_t size;
    FILE *f;

    if (argc != 2 || atexit(leaver_at_exit) != 0 || init() != NRT_SUCCESS)
        return 1;
    f = fopen(argv[1], "rb");
    if (!f)
        return 2;
    size = fread(neff, 1, sizeof(neff), f);
    fclose(f);
    if (nrt_load(neff, size, -1, -1, &m) != NRT_SUCCESS)
        return 3;
    exit(0);
}

static void exit_takes_nothing_from_threads_that_live(void **state)
{
    char path[] = "/tmp/opennrt-test-XXXXXX";
    struct bytes f = neff_add(4);
    int fd = mkstemp(path);

    api_env("trn1.2xlarge", 0);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, f.data, f.size), f.size);
    close(fd);
    setenv("NEURON_RT_VALIDATE_HASH", "1", 1);
    assert_int_equal(run_helper("leaver", path), 7);
    unsetenv("NEURON_RT_VALIDATE_HASH");
    unlink(path);
    neff_free(&f);
    api_env_end();
    (void)state;
}

static void init_does_not_warn_and_legacy_names_do_once(void **state)
{
    const char *log;

    api_env("trn1.2xlarge", 0);
    api_log_clear();
    assert_ok(init());
    assert_string_equal(api_log(), "");
    nrt_close();
    setenv("NEURONCORE_GROUP_SIZES", "1", 1);
    setenv("NEURON_RT_NOBODY_KNOWS", "1", 1);
    setenv("NEURON_CC_FLAGS", "--x", 1);
    setenv("NEURON_RT_LOG_LEVEL", "WARN", 1);
    api_log_clear();
    assert_ok(init());
    assert_true(api_log_has("WARN   NRT:nrt_init"));
    assert_true(api_log_has("NEURONCORE_GROUP_SIZES"));
    assert_false(api_log_has("NOBODY"));
    assert_false(api_log_has("CC_FLAGS"));
    log = api_log();
    assert_ptr_equal(strchr(log, '\n'), strrchr(log, '\n')); /* once */
    nrt_close();
    unsetenv("NEURONCORE_GROUP_SIZES");
    unsetenv("NEURON_RT_NOBODY_KNOWS");
    unsetenv("NEURON_CC_FLAGS");
    unsetenv("NEURON_RT_LOG_LEVEL");
    api_env_end();
    PROVES("api-267");
    PROVES("api-268");
}

int main(int argc, char **argv)
{
    static const struct runner_helper helpers[] = {
        {"owner", helper_owner},           {"copies", helper_copies},
        {"closed", helper_closed},         {"deaf", helper_deaf},
        {"file-limit", helper_file_limit}, {"leaver", helper_leaver},
        {"early", helper_early},           {NULL, NULL}};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cores_before_init_are_what_init_takes),
        cmocka_unit_test(cores_before_init_are_refused_as_init_refuses),
        cmocka_unit_test(environment_is_read_at_each_init),
        cmocka_unit_test(init_again_with_another_lnc_regroups_the_cores),
        cmocka_unit_test(hbm_of_a_core_follows_the_lnc),
        cmocka_unit_test(no_devices_give_zero_and_the_documented_line),
        cmocka_unit_test(cores_of_another_process_are_refused_until_it_ends),
        cmocka_unit_test(forked_child_is_uninitialised_and_releases_nothing),
        cmocka_unit_test(init_starts_no_other_library),
        cmocka_unit_test(library_is_found_by_name_and_stays_loaded),
        cmocka_unit_test(program_may_define_a_name_of_the_library),
        cmocka_unit_test(library_copies_live_side_by_side),
        cmocka_unit_test(closed_standard_descriptors_stay_closed),
        cmocka_unit_test(log_that_nobody_reads_is_no_signal),
        cmocka_unit_test(limited_file_size_is_a_status),
        cmocka_unit_test(exit_takes_nothing_from_threads_that_live),
        cmocka_unit_test(init_does_not_warn_and_legacy_names_do_once),
    };
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    runner_watchdog(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
