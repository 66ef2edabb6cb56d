/* SPDX-License-Identifier: Apache-2.0 */
/* Inspect: api.md 8, functions 87 to 103, behaviour.md 15 and variables 50 to 59. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "models.h"
#include "neffs.h"
#include "nrt/nrt_profile.h"
#include "nrt/nrt_sys_trace.h"
#include "proves.h"
#include "time/ntff.h"

static char folder[64], tree[256];

/* Files of the tree whose names end like this; the last one's path in name (may be NULL). */
static unsigned files(const char *end, char name[512])
{
    DIR *d = opendir(tree);
    struct dirent *e;
    unsigned n = 0;

    while (d && (e = readdir(d))) {
        size_t len = strlen(e->d_name), k = strlen(end);

        if (len < k || strcmp(e->d_name + len - k, end) != 0 || e->d_name[0] == '.')
            continue;
        if (name)
            snprintf(name, 512, "%s/%s", tree, e->d_name);
        n++;
    }
    if (d)
        closedir(d);
    return n;
}

/* Of process pid, empty. */
static void tree_of(int pid)
{
    char cmd[400];

    snprintf(tree, sizeof(tree), "%s/opennrt-%s_pid_%d", folder, getenv("OPENNRT_INSTANCE"), pid);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", tree);
    assert_int_equal(system(cmd), 0);
}

/* ---- protocol buffers, read by their definition ---- */

struct pb {
    const uint8_t *at, *end;
    unsigned field;
    uint64_t value;      /* of a number */
    const uint8_t *data; /* of bytes: data, value of them */
};

static uint64_t varint(struct pb *p)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        assert_true(p->at < p->end);
        v |= (uint64_t)(*p->at & 0x7f) << shift;
        if (!(*p->at++ & 0x80))
            return v;
    }
    fail_msg("a number is too long");
    return 0;
}

static bool pb_next(struct pb *p)
{
    uint64_t key;

    if (p->at == p->end)
        return false;
    key = varint(p);
    p->field = (unsigned)(key >> 3);
    p->value = varint(p);
    p->data = NULL;
    if ((key & 7) == 2) {
        assert_true(p->value <= (uint64_t)(p->end - p->at));
        p->data = p->at;
        p->at += p->value;
    } else {
        assert_int_equal(key & 7, 0);
    }
    return true;
}

struct pb_file {
    uint8_t *bytes;
    size_t size;
};

static struct pb pb_open(struct pb_file *f, const char *end)
{
    char path[512];

    assert_int_equal(files(end, path), 1);
    f->bytes = read_file(path, &f->size);
    return (struct pb){.at = f->bytes, .end = f->bytes + f->size};
}

/* Events of ntrace.pb with this type (field 1) and core (field 5; UINT64_MAX: any). */
static unsigned traced(const char *type, uint64_t core)
{
    struct pb_file f;
    struct pb p = pb_open(&f, "ntrace.pb");
    unsigned n = 0;

    while (pb_next(&p)) {
        struct pb e = {.at = p.data, .end = p.data + p.value};
        uint64_t nc = UINT64_MAX;
        bool is = !type;

        if (p.field != 1)
            continue;
        while (pb_next(&e)) {
            if (e.field == 1 && type)
                is = e.value == strlen(type) && memcmp(e.data, type, e.value) == 0;
            if (e.field == 5)
                nc = e.value;
        }
        n += is && (core == UINT64_MAX || core == nc);
    }
    free(f.bytes);
    return n;
}

/* ---- work ---- */

static void work(int vnc, unsigned times)
{
    struct add_job j;

    add_job_init(&j, vnc, 16);
    add_job_run(&j, times - 1);
    add_job_fini(&j);
}

/* On: the folder of this process is moved away, so that no file can be made in it. Returns what
 * rename does. */
static int files_forbid(bool on)
{
    char other[300];

    snprintf(other, sizeof(other), "%s.away", tree);
    return on ? rename(tree, other) : rename(other, tree);
}

/* The teardown of a test that may fail in between. */
static int folder_back(void **state)
{
    (void)state;
    (void)files_forbid(false); /* mostly it is back */
    return 0;
}

static uint64_t execs(const char *path)
{
    struct ntff n;
    struct err err = {0};
    size_t size;
    void *bytes = read_file(path, &size);
    uint64_t count;

    if (ntff_open(bytes, size, &n, &err) != NRT_SUCCESS)
        fail_msg("%s: %s", path, err.text);
    count = n.exec_count;
    free(bytes);
    return count;
}

static const char *const variables[] = {"NEURON_RT_INSPECT_ENABLE",
                                        "NEURON_RT_INSPECT_SYSTEM_PROFILE",
                                        "NEURON_RT_INSPECT_DEVICE_PROFILE",
                                        "NEURON_RT_INSPECT_ON_FAIL",
                                        "NEURON_RT_INSPECT_CPU_UTIL",
                                        "NEURON_RT_INSPECT_HOST_MEMORY",
                                        "NEURON_RT_INSPECT_EVENT_FILTER_NC",
                                        "NEURON_RT_INSPECT_EVENT_FILTER_TYPE",
                                        "NEURON_RT_INSPECT_SYS_TRACE_MAX_EVENTS_PER_NC"};

/* NULL-terminated pairs of variable (without its common beginning) and value. */
static void env(const char *name, ...)
{
    char full[128];
    va_list ap;

    for (unsigned i = 0; i < sizeof(variables) / sizeof(*variables); i++)
        unsetenv(variables[i]);
    setenv("NEURON_RT_INSPECT_OUTPUT_DIR", folder, 1);
    va_start(ap, name);
    for (; name; name = va_arg(ap, const char *)) {
        snprintf(full, sizeof(full), "NEURON_RT_INSPECT_%s", name);
        setenv(full, va_arg(ap, const char *), 1);
    }
    va_end(ap);
    tree_of((int)getpid());
}

/* A session from nrt_init to nrt_close. */
static void session(unsigned first, unsigned second)
{
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    if (first)
        work(0, first);
    if (second)
        work(1, second);
    nrt_close();
}

/* ---- the environment ---- */

static void environment_turns_it_on(void **state)
{
    env(NULL);
    session(1, 0);
    assert_int_equal(access(tree, F_OK), -1); /* off */
    env("ENABLE", "1", NULL);
    session(3, 0);
    assert_int_equal(files(".neff", NULL), 1);
    assert_int_equal(files("trace_info.pb", NULL), 1);
    assert_true(traced("device_exec", 0) == 6);
    assert_true(traced("nrt_load", UINT64_MAX) == 2);
    assert_int_equal(files(".ntff", NULL), 0);
    assert_int_equal(files("cpu_util.pb", NULL) + files("host_mem.pb", NULL), 0);
    PROVES("api-256");
    PROVES("api-257"); /* env() sets another folder than the default */

    env("ENABLE", "1", "SYSTEM_PROFILE", "0", NULL);
    session(1, 0);
    assert_int_equal(files("ntrace.pb", NULL), 0);
    assert_int_equal(files("trace_info.pb", NULL), 1);
    PROVES("api-258");
    env("ENABLE", "1", "SYSTEM_PROFILE", "0", "CPU_UTIL", "1", NULL);
    session(1, 0);
    assert_int_equal(files("cpu_util.pb", NULL), 1);
    assert_int_equal(files("host_mem.pb", NULL), 0);
    PROVES("api-261");
    env("ENABLE", "1", "SYSTEM_PROFILE", "0", "HOST_MEMORY", "1", NULL);
    session(1, 0);
    assert_int_equal(files("host_mem.pb", NULL), 1);
    assert_int_equal(files("cpu_util.pb", NULL), 0);
    PROVES("api-262");
}

static void environment_chooses_device_profiles(void **state)
{
    static const char *const modes[] = {"1", "model", "session"};
    char path[512];

    for (unsigned i = 0; i < 3; i++) {
        env("ENABLE", "1", "DEVICE_PROFILE", modes[i], NULL);
        session(4, 2);
        if (i < 2) { /* of each NEFF on each core, the first execution */
            assert_int_equal(files("_instid_0_vnc_0.ntff", path), 1);
            assert_int_equal(execs(path), 1);
            assert_int_equal(files("_instid_0_vnc_1.ntff", path), 1);
            assert_int_equal(execs(path), 1);
            assert_int_equal(files(".ntff", NULL), 2);
        } else {
            assert_int_equal(files("profile_nc_0_session_1.ntff", path), 1);
            assert_int_equal(execs(path), 4);
            assert_int_equal(files("profile_nc_1_session_1.ntff", path), 1);
            assert_int_equal(execs(path), 2);
            assert_int_equal(files(".ntff", NULL), 2);
        }
    }
    PROVES("api-259");
    PROVES("api-204");
}

static void environment_filters_events(void **state)
{
    env("ENABLE", "1", "EVENT_FILTER_NC", "1", NULL);
    session(2, 3);
    assert_int_equal(traced("device_exec", UINT64_MAX), 6);
    assert_int_equal(traced("device_exec", 1), 6);
    PROVES("api-264");
    env("ENABLE", "1", "EVENT_FILTER_TYPE", "hardware,nrt_load,^timestamp_sync_point", NULL);
    session(2, 0);
    assert_int_equal(traced("nc_exec_running", UINT64_MAX), 4);
    assert_int_equal(traced("nrt_load", UINT64_MAX), 2);
    assert_int_equal(traced("timestamp_sync_point", UINT64_MAX), 0);
    assert_int_equal(traced("device_exec", UINT64_MAX), 0);
    env("ENABLE", "1", "EVENT_FILTER_TYPE", "^software", NULL);
    session(2, 0);
    assert_int_equal(traced("nc_exec_running", UINT64_MAX), 4);
    assert_int_equal(traced("nrt_load", UINT64_MAX), 0);
    PROVES("api-265");
    setenv("NEURON_RT_LOG_LEVEL", "WARN", 1);
    env("ENABLE", "1", "SYS_TRACE_MAX_EVENTS_PER_NC", "5", "EVENT_FILTER_TYPE", "device_exec",
        NULL);
    session(40, 0);
    assert_int_equal(traced(NULL, UINT64_MAX), 5);
    assert_true(api_log_has("75 trace events were dropped during capture (stored 5 out of 80 "
                            "total events)"));
    unsetenv("NEURON_RT_LOG_LEVEL");
    PROVES("api-263");
}

/* A program that fails leaves the profile of that execution, and of no other. */
static void failures_leave_profiles(void **state)
{
    nrt_model_t *m;
    struct io io;
    char path[512];

    env("ON_FAIL", "1", NULL);
    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    work(0, 3);
    assert_int_equal(files(".ntff", NULL), 0);
    m = load_at(neff_hang(), 0, 1);
    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_TIMEOUT);
    assert_int_equal(files(".ntff", path), 1); /* there already */
    assert_int_equal(execs(path), 1);
    assert_non_null(strstr(path, "_failed_"));
    io_fini(&io);
    assert_ok(nrt_unload(m));
    nrt_close();
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    assert_int_equal(files("ntrace.pb", NULL), 0);
    PROVES("api-260");
}

/* ---- the calls ---- */

static void calls_begin_and_stop(void **state)
{
    nrt_inspect_config_t *c;
    char path[512];

    env("ENABLE", "1", NULL);
    unsetenv("NEURON_RT_INSPECT_ENABLE"); /* not by itself */
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    work(0, 1);
    assert_ok(nrt_inspect_stop()); /* nothing to stop */
    setenv("NEURON_RT_INSPECT_ENABLE", "1", 1);
    assert_ok(nrt_inspect_begin());
    assert_fails(nrt_inspect_begin(), NRT_FAILURE, "nrt_inspect_begin");
    assert_fails(nrt_inspect_begin_with_options(NULL), NRT_FAILURE,
                 "nrt_inspect_begin_with_options"); /* its stop would end the other's */
    assert_fails(nrt_sys_trace_start(NULL), NRT_FAILURE, "nrt_sys_trace_start");
    work(0, 2);
    assert_int_equal(files("ntrace.pb", NULL), 0);
    assert_ok(nrt_inspect_stop());
    assert_int_equal(traced("device_exec", UINT64_MAX), 4);
    PROVES("api-089");
    assert_ok(nrt_inspect_stop());
    PROVES("api-090");

    /* With options the environment does not count. */
    assert_ok(nrt_inspect_config_allocate(&c));
    tree_of((int)getpid());
    assert_ok(nrt_inspect_begin_with_options(NULL));
    work(0, 1);
    assert_ok(nrt_inspect_stop());
    assert_int_equal(access(tree, F_OK), -1); /* the defaults capture nothing */
    assert_ok(nrt_inspect_config_set_output_dir(c, folder));
    assert_ok(nrt_inspect_config_set_session_id(c, 42));
    PROVES("api-094");
    assert_ok(nrt_inspect_config_set_enable_inspect(c, true));
    assert_ok(nrt_inspect_config_set_sys_trace_max_events_per_nc(c, 7));
    assert_ok(nrt_inspect_config_set_capture_enabled_for_nc(c, 0, false));
    assert_ok(
        nrt_inspect_config_set_capture_enabled_for_event_type_string(c, "nc_exec_running", false));
    assert_ok(nrt_inspect_begin_with_options(c));
    work(0, 3);
    work(1, 9);
    assert_ok(nrt_inspect_stop());
    assert_int_equal(traced(NULL, 0), 0);
    assert_int_equal(traced(NULL, 1), 7);
    assert_int_equal(traced("nc_exec_running", UINT64_MAX), 0);
    PROVES("api-095");
    PROVES("api-096");
    PROVES("api-097");
    PROVES("api-098");
    PROVES("api-099");
    assert_int_equal(files("_vnc_0.ntff", path), 1); /* all activities are on */
    assert_int_equal(files("cpu_util.pb", NULL), 1);
    assert_int_equal(files("host_mem.pb", NULL), 1);
    {
        struct pb_file f;
        struct pb p = pb_open(&f, "trace_info.pb");
        bool id = false;

        while (pb_next(&p))
            id = id || (p.field == 3 && p.value == 42);
        assert_true(id);
        free(f.bytes);
    }
    PROVES("api-101");
    assert_ok(nrt_inspect_config_free(c));
    nrt_close();
}

/* A disk that is full costs nothing of a capture: the next stop writes all of it. nrt_close ends it
 * whatever can be written. */
static void a_full_disk_ends_no_capture(void **state)
{
    enum { TIMES = 40 };
    char path[512];

    env("ENABLE", "1", "DEVICE_PROFILE", "session", "CPU_UTIL", "1", NULL);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    work(0, TIMES);
    api_disk_full(true);
    assert_fails(nrt_inspect_stop(), NRT_FAILURE, "nrt_inspect_stop");
    api_disk_full(false);
    assert_fails(nrt_inspect_begin(), NRT_FAILURE, "nrt_inspect_begin"); /* it goes on */
    work(0, 1);
    assert_ok(nrt_inspect_stop());
    assert_int_equal(traced("device_exec", 0), 2 * (TIMES + 1));
    assert_int_equal(files("profile_nc_0_session_1.ntff", path), 1);
    assert_int_equal(execs(path), TIMES + 1);
    assert_int_equal(files("cpu_util.pb", NULL), 1);

    assert_ok(nrt_inspect_begin());
    work(0, TIMES);
    api_disk_full(true);
    api_log_clear();
    nrt_close();
    api_disk_full(false);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    work(0, 1);
    nrt_close();
    assert_int_equal(execs(path), 1);
}

/* A model whose first profile cannot be written has its next one written; the log has one line. */
static void a_full_disk_delays_a_models_profile(void **state)
{
    struct io io;
    nrt_model_t *m;
    char path[512];

    env("ENABLE", "1", "DEVICE_PROFILE", "1", NULL);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    m = load_at(neff_add(16), 0, 1);
    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 64);
    io_add(&io, true, "b", DEV, 0, 64);
    io_add(&io, false, "c", DEV, 0, 64);
    assert_int_equal(files_forbid(true), 0);
    api_log_clear();
    for (int i = 0; i < 3; i++)
        assert_ok(nrt_execute(m, io.in, io.out));
    assert_int_equal(files_forbid(false), 0);
    assert_int_equal(api_log_errors(), 1);
    assert_int_equal(files("_vnc_0.ntff", NULL), 0);
    assert_ok(nrt_execute(m, io.in, io.out));
    assert_ok(nrt_execute(m, io.in, io.out));
    assert_int_equal(files("_vnc_0.ntff", path), 1);
    assert_int_equal(execs(path), 1);
    io_fini(&io);
    assert_ok(nrt_unload(m));
    nrt_close();
}

static void options_have_defaults(void **state)
{
    static const char *const all[] = {"system_profile", "device_profile", "host_memory",
                                      "cpu_util"};
    nrt_inspect_config_t *c;
    const char **names;
    size_t n;

    assert_fails(nrt_inspect_config_allocate(NULL), NRT_INVALID, "nrt_inspect_config_allocate");
    assert_ok(nrt_inspect_config_allocate(&c));
    PROVES("api-091");
    assert_ok(nrt_inspect_config_get_all_activity_types(&names, &n));
    assert_int_equal(n, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_string_equal(names[i], all[i]);
    PROVES("api-102");
    for (unsigned i = 0; i < 4; i++)
        free((void *)(uintptr_t)names[i]);
    free((void *)(uintptr_t)names);
    assert_ok(nrt_inspect_config_set_activity(c, "device_profile", false));
    assert_ok(nrt_inspect_config_get_enabled_activity_types(c, &names, &n));
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++)
        assert_string_not_equal(names[i], "device_profile");
    PROVES("api-103");
    nrt_inspect_config_free_activity_types(names, n);
    nrt_inspect_config_free_activity_types(NULL, 2);
    PROVES("api-104");
    assert_ok(nrt_inspect_config_set_activity(c, "all", false));
    assert_ok(nrt_inspect_config_get_enabled_activity_types(c, &names, &n));
    assert_int_equal(n, 0);
    nrt_inspect_config_free_activity_types(names, n);
    assert_fails(nrt_inspect_config_set_activity(c, "none", true), NRT_INVALID,
                 "nrt_inspect_config_set_activity");
    assert_fails(nrt_inspect_config_set_activity(c, NULL, true), NRT_INVALID,
                 "nrt_inspect_config_set_activity");
    PROVES("api-105");
    assert_ok(nrt_inspect_config_set_defaults(c));
    assert_ok(nrt_inspect_config_get_enabled_activity_types(c, &names, &n));
    assert_int_equal(n, 4);
    nrt_inspect_config_free_activity_types(names, n);
    PROVES("api-092");
    assert_fails(nrt_inspect_config_set_output_dir(c, ""), NRT_INVALID,
                 "nrt_inspect_config_set_output_dir");
    assert_fails(nrt_inspect_config_set_output_dir(c, NULL), NRT_INVALID,
                 "nrt_inspect_config_set_output_dir");
    assert_fails(nrt_inspect_config_set_capture_enabled_for_event_type_string(c, "x", true),
                 NRT_INVALID, "nrt_inspect_config_set_capture_enabled_for_event_type_string");
    assert_fails(nrt_inspect_config_set_defaults(NULL), NRT_INVALID,
                 "nrt_inspect_config_set_defaults");
    assert_fails(nrt_inspect_config_set_session_id(NULL, 1), NRT_INVALID,
                 "nrt_inspect_config_set_session_id");
    assert_fails(nrt_inspect_config_set_enable_inspect(NULL, true), NRT_INVALID,
                 "nrt_inspect_config_set_enable_inspect");
    assert_fails(nrt_inspect_config_set_enable_inspect_on_fail(NULL, true), NRT_INVALID,
                 "nrt_inspect_config_set_enable_inspect_on_fail");
    assert_ok(nrt_inspect_config_set_enable_inspect_on_fail(c, true));
    assert_ok(nrt_inspect_config_free(c));
    assert_fails(nrt_inspect_config_free(NULL), NRT_INVALID, "nrt_inspect_config_free");
    PROVES("api-093");
}

/* Asked for before nrt_init, it begins there; on failures only, by the option. */
static void begin_may_come_before_init(void **state)
{
    nrt_inspect_config_t *c;
    nrt_model_t *m;
    struct io io;

    env(NULL);
    assert_ok(nrt_inspect_config_allocate(&c));
    assert_ok(nrt_inspect_config_set_output_dir(c, folder));
    assert_ok(nrt_inspect_config_set_enable_inspect_on_fail(c, true));
    assert_ok(nrt_inspect_begin_with_options(c));
    assert_ok(nrt_inspect_config_free(c));
    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    m = load_at(neff_hang(), 0, 1);
    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_TIMEOUT);
    io_fini(&io);
    assert_ok(nrt_unload(m));
    nrt_close();
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    assert_int_equal(files(".ntff", NULL), 1);
    PROVES("api-100");
}

/* ---- the end of a process ---- */

static volatile sig_atomic_t own_signals;
static struct sigaction under[2]; /* what own_over replaced: of SIGTERM, of SIGINT */

static void own_handler(int sig)
{
    own_signals++;
    (void)sig;
}

/* As programs do that want to see a signal and pass it on. */
static void own_over(int sig, siginfo_t *info, void *context)
{
    const struct sigaction *next = &under[sig == SIGINT];

    own_signals++;
    if (next->sa_flags & SA_SIGINFO) {
        next->sa_sigaction(sig, info, context);
    } else if (next->sa_handler == SIG_DFL) {
        sigaction(sig, next, NULL);
        raise(sig);
    }
}

static void put_over(int sig)
{
    struct sigaction act = {.sa_sigaction = own_over, .sa_flags = SA_SIGINFO};

    if (sigaction(sig, &act, &under[sig == SIGINT]) != 0)
        _exit(92);
}

static bool is_over(int sig)
{
    struct sigaction now;

    return sigaction(sig, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
           now.sa_sigaction == own_over;
}

/* Sends it to this process, until a handler of the program has had it, or the process ends. */
static void send_to_self(int sig)
{
    sigset_t held, before;

    sigemptyset(&held);
    sigaddset(&held, sig);
    sigprocmask(SIG_BLOCK, &held, &before);
    kill(getpid(), sig);
    while (own_signals == 0)
        sigsuspend(&before);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

/* Bytes of device memory that core 0 has given out. */
static uint64_t used(void)
{
    nrt_vnc_memory_stats_t stats;
    size_t n;

    if (nrt_get_vnc_memory_stats(0, &stats, sizeof(stats), &n) != NRT_SUCCESS)
        _exit(94);
    return stats.bytes_used;
}

/* A program that lives on behind the signal: the capture is over, and has left nothing of its own
 * on the cores; another one may begin, and gives back what it took. */
static void child_survives(int sig)
{
    uint64_t before, during;

    work(0, 1);
    before = used();
    setenv("NEURON_RT_INSPECT_ENABLE", "1", 1);
    assert_ok(nrt_inspect_begin());
    during = used();
    work(0, 2);
    send_to_self(sig);
    assert_ok(nrt_inspect_stop()); /* it is over; this waits for its thread */
    if (during <= before || used() != before)
        _exit(95);
    assert_ok(nrt_inspect_begin());
    if (used() != during)
        _exit(96);
    assert_ok(nrt_inspect_stop());
    _exit(used() == before ? 8 : 97);
}

enum ending {
    END_EXIT,
    END_SIGNAL,
    END_OWN,        /* with a handler of its own from before nrt_init, after which it exits */
    END_NOT,        /* with one after which it goes on */
    END_OVER,       /* with one that was put over the capture's */
    END_OVER_LATER, /* when the capture is over */
    END_OVER_AGAIN, /* in another capture */
    END_PUT_BACK    /* which was taken away when the capture was over */
};

static void child_main(int sig, enum ending how)
{
    struct sigaction act = {.sa_handler = own_handler};

    alarm(1000);              /* a signal that goes round and round is an end as well */
    signal(SIGTERM, SIG_DFL); /* whoever runs the test in the background may ignore them */
    signal(SIGINT, SIG_DFL);
    if ((how == END_OWN || how == END_NOT) && sigaction(sig, &act, NULL) != 0)
        _exit(90);
    if (how == END_NOT)
        unsetenv("NEURON_RT_INSPECT_ENABLE"); /* not from the beginning */
    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS)
        _exit(91);
    if (how == END_NOT)
        child_survives(sig);
    work(0, 2);
    if (how == END_EXIT)
        exit(0);
    if (how >= END_OVER) {
        put_over(SIGTERM);
        put_over(SIGINT);
    }
    if (how > END_OVER) {
        assert_ok(nrt_inspect_stop());
        if (!is_over(SIGTERM) || !is_over(SIGINT))
            _exit(93);
    }
    if (how == END_OVER_AGAIN) {
        assert_ok(nrt_inspect_begin());
        work(0, 2);
    }
    if (how == END_PUT_BACK)
        sigaction(sig, &under[sig == SIGINT], NULL);
    send_to_self(sig);
    while (how != END_OWN)
        pause();
    exit(7);
}

/* How a child ends. */
static int child(int sig, enum ending how)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        child_main(sig, how);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    tree[0] = '\0';
    snprintf(tree, sizeof(tree), "%s/opennrt-%s_pid_%d", folder, getenv("OPENNRT_INSTANCE"), pid);
    return status;
}

static void process_ends_and_data_are_there(void **state)
{
    static const int ends[] = {SIGTERM, SIGINT, 0};
    int status;

    for (unsigned i = 0; i < 3; i++) {
        env("ENABLE", "1", "DEVICE_PROFILE", "session", "CPU_UTIL", "1", NULL);
        status = child(ends[i], ends[i] ? END_SIGNAL : END_EXIT);
        if (ends[i] == 0)
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        else
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == ends[i]);
        assert_int_equal(traced("device_exec", 0), 4);
        assert_int_equal(files("profile_nc_0_session_1.ntff", NULL), 1);
        assert_int_equal(files("cpu_util.pb", NULL), 1);
        assert_int_equal(files("trace_info.pb", NULL), 1);
    }
    PROVES("api-205");
    env("ENABLE", "1", NULL);
    status = child(SIGTERM, END_OWN); /* the program's own handler gets the signal */
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    assert_int_equal(traced("device_exec", 0), 4);
}

static void a_capture_leaves_a_program_that_survives(void **state)
{
    static const int ends[] = {SIGTERM, SIGINT};

    for (unsigned i = 0; i < 2; i++) {
        int status;

        env("ENABLE", "1", "DEVICE_PROFILE", "1", NULL);
        status = child(ends[i], END_NOT);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 8)
            fail_msg("signal %d: status %#x", ends[i], (unsigned)status);
    }
}

/* An action that the program puts over the handler of a capture, and which calls it, stays, and the
 * signal ends the process as it would without the runtime: in the capture, behind it, and in
 * another one. */
static void handlers_over_the_captures_stay(void **state)
{
    static const int ends[] = {SIGTERM, SIGINT};

    for (unsigned i = 0; i < 2; i++)
        for (enum ending how = END_OVER; how <= END_PUT_BACK; how++) {
            int status;

            env("ENABLE", "1", NULL);
            status = child(ends[i], how);
            if (!WIFSIGNALED(status) || WTERMSIG(status) != ends[i])
                fail_msg("signal %d, ending %d: status %#x", ends[i], (int)how, (unsigned)status);
            assert_int_equal(traced("device_exec", 0), 4);
        }
}

static int setup(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/test-inspect-XXXXXX");
    api_env("trn1.2xlarge", 0);
    return mkdtemp(folder) ? 0 : 1;
}

static int teardown(void **state)
{
    char cmd[96];

    snprintf(cmd, sizeof(cmd), "rm -rf %s", folder);
    api_env_end();
    return system(cmd) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(process_ends_and_data_are_there), /* forks: before there is a session */
        cmocka_unit_test(a_capture_leaves_a_program_that_survives), /* as well */
        cmocka_unit_test(handlers_over_the_captures_stay),          /* as well */
        cmocka_unit_test(environment_turns_it_on),
        cmocka_unit_test(environment_chooses_device_profiles),
        cmocka_unit_test(environment_filters_events),
        cmocka_unit_test(failures_leave_profiles),
        cmocka_unit_test(options_have_defaults),
        cmocka_unit_test(calls_begin_and_stop),
        cmocka_unit_test_teardown(a_full_disk_ends_no_capture, api_disk_free),
        cmocka_unit_test_teardown(a_full_disk_delays_a_models_profile, folder_back),
        cmocka_unit_test(begin_may_come_before_init),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
